/* http_test.c: what the network is refused, and with what words. Requests come as bytes, as no well-behaved
 * client would write them. */
#include "serve_util.h"

#include "support/cmocka_all.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int setup(void **state)
{
    static test_server t;
    qn_server_limits limits = qn_server_limits_default();
    limits.body_bytes = 4096;
    test_server_open(&t, &limits);
    *state = &t;
    return 0;
}

static int teardown(void **state)
{
    test_server_close(*state);
    return 0;
}

/* Each is refused with this status, and the next request is answered. */
static void expect_raw(const test_server *t, const char *request, int status)
{
    client_reply r = client_ask_raw(t, request, strlen(request));
    if (r.status != status) fail_msg("%d in place of %d for: %s", r.status, status, request);
    client_reply_free(&r);
    r = client_ask(t, "GET", "/health", NULL);
    assert_int_equal(r.status, 200);
    client_reply_free(&r);
}

/* The problem that a body is refused with. */
static void expect_problem(const test_server *t, const char *json, const char *field, const char *code)
{
    client_reply r = client_ask(t, "POST", "/v1/chat/completions", json);
    json_t *reply = client_json(&r), *error = json_object_get(reply, "error");
    assert_int_equal(r.status, strcmp(code, "model_not_found") == 0 ? 404 : 400);
    assert_string_equal(json_string_value(json_object_get(error, "code")), code);
    const char *named = json_string_value(json_object_get(error, "param"));
    if (field != NULL && (named == NULL || strcmp(named, field) != 0))
        fail_msg("%s in place of %s for: %s", named != NULL ? named : "null", field, json);
    assert_true(json_string_length(json_object_get(error, "message")) > 10);
    json_decref(reply);
    client_reply_free(&r);
}

#define CHAT "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"

static void framing_is_strict(void **state)
{
    const test_server *t = *state;
    expect_raw(t, CHAT "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    expect_raw(t, CHAT "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400);
    expect_raw(t, CHAT "Content-Length: -2\r\n\r\n{}", 400);
    expect_raw(t, CHAT "Content-Length: +2\r\n\r\n{}", 400);
    expect_raw(t, CHAT "Content-Length: 0x2\r\n\r\n{}", 400);
    expect_raw(t, CHAT "Content-Length: 99999999999999999999\r\n\r\n", 413);
    expect_raw(t, CHAT "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", 400);
    expect_raw(t, CHAT "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400);
    expect_raw(t, CHAT "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n", 400);
    expect_raw(t, "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400);
}

static void limits_hold(void **state)
{
    const test_server *t = *state;
    qn_buffer b = {0};
    expect_raw(t, CHAT "Content-Length: 4097\r\n\r\n", 413);
    qn_buffer_puts(&b, "GET /health HTTP/1.1\r\nHost: localhost\r\n");
    for (int i = 0; i < 120; i++) qn_buffer_printf(&b, "X-%d: 1\r\n", i);
    qn_buffer_puts(&b, "\r\n");
    expect_raw(t, b.data, 431);
    qn_buffer_clear(&b);
    qn_buffer_puts(&b, "GET /");
    for (int i = 0; i < 9000; i++) qn_buffer_putc(&b, 'a');
    qn_buffer_puts(&b, " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect_raw(t, b.data, 414);
    qn_buffer_clear(&b);
    qn_buffer_puts(&b,
                   CHAT "Transfer-Encoding: chunked\r\n\r\n1400\r\n"); /* 5120 bytes, more than the limit */
    for (int i = 0; i < 5120; i++) qn_buffer_putc(&b, ' ');
    qn_buffer_puts(&b, "\r\n0\r\n\r\n");
    expect_raw(t, b.data, 413);
    qn_buffer_deinit(&b);
}

static void unknown_places_and_methods_are_named(void **state)
{
    const test_server *t = *state;
    client_reply r = client_ask(t, "GET", "/v1/nothing", NULL);
    assert_int_equal(r.status, 404);
    assert_non_null(strstr(r.body, "/v1/nothing"));
    client_reply_free(&r);
    r = client_ask(t, "DELETE", "/v1/chat/completions", NULL);
    assert_int_equal(r.status, 405);
    assert_non_null(strstr(r.head, "Allow: POST"));
    client_reply_free(&r);
}

/* What is quoted from outside need not be text, and is cut: replies are JSON all the same. */
static void problems_are_text_whatever_is_quoted(void **state)
{
    const test_server *t = *state;
    client_reply r = client_ask(t, "GET", "/%ff%fe", NULL);
    assert_int_equal(r.status, 404);
    json_decref(client_json(&r));
    client_reply_free(&r);
    expect_problem(t,
                   "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"model\":"
                   "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa4\xc3\xa4\xc3\xa4\"}",
                   "model", "model_not_found");
}

static void foreign_hosts_are_refused(void **state)
{
    const test_server *t = *state;
    expect_raw(t, "GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403);
    expect_raw(t, "GET /health HTTP/1.1\r\nHost: localhost.evil.example:8080\r\n\r\n", 403);
    expect_raw(t, "GET /health HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n", 403);
    expect_raw(t, "GET /health HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n", 403);
    expect_raw(t, "GET /health HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3000\r\n\r\n", 200);
    expect_raw(t, "GET /health HTTP/1.1\r\nHost: localhost:8080\r\n\r\n", 200);
    expect_raw(t, "GET /health HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n", 200);
    expect_raw(t, "GET /health HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", 200);
    expect_raw(t, "GET /health HTTP/1.0\r\n\r\n", 200);
}

static void a_connection_takes_one_request_after_the_other(void **state)
{
    const test_server *t = *state;
    static const char one[] = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const int fd = client_connect(t);
    for (int i = 0; i < 3; i++) {
        assert_true(client_send(fd, one, sizeof one - 1));
        client_reply r = client_receive(fd);
        assert_int_equal(r.status, 200);
        client_reply_free(&r);
    }
    assert_true(client_send(fd, one, sizeof one - 1) && client_send(fd, one, sizeof one - 1)); /* at once */
    for (int i = 0; i < 2; i++) {
        client_reply r = client_receive(fd);
        assert_int_equal(r.status, 200);
        client_reply_free(&r);
    }
    close(fd);
}

#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void fields_are_checked(void **state)
{
    const test_server *t = *state;
    expect_problem(t, "", NULL, "invalid_json");
    expect_problem(t, "[]", NULL, "invalid_json");
    expect_problem(t, "{\"messages\":", NULL, "invalid_json");
    expect_problem(t, "{\"a\":\"\\u0000\"}", NULL, "invalid_json");
    expect_problem(t, "{\"a\":1e999}", NULL, "invalid_json");
    expect_problem(t, "{\"a\":123456789012345678901234567890}", NULL, "invalid_json");
    expect_problem(t, "{\"a\":\"\xff\"}", NULL, "invalid_json");
    expect_problem(t, "{}", "messages", "missing_required_parameter");
    expect_problem(t, "{\"messages\":[]}", "messages", "missing_required_parameter");
    expect_problem(t, "{\"messages\":{}}", "messages", "invalid_type");
    expect_problem(t, "{\"messages\":[1]}", "messages[0]", "invalid_type");
    expect_problem(t, "{\"messages\":[{}]}", "messages[0].role", "missing_required_parameter");
    expect_problem(t, "{\"messages\":[{\"role\":\"user\",\"content\":1}]}", "messages[0].content",
                   "invalid_type");
    expect_problem(t, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}",
                   "messages[0].content[0].type", "unsupported_value");
    expect_problem(t, "{" MESSAGES ",\"model\":\"other\"}", "model", "model_not_found");
    expect_problem(t, "{" MESSAGES ",\"n\":0}", "n", "invalid_value");
    expect_problem(t, "{" MESSAGES ",\"n\":1000000}", "n", "invalid_value");
    expect_problem(t, "{" MESSAGES ",\"n\":1.5}", "n", "invalid_type");
    expect_problem(t, "{" MESSAGES ",\"temperature\":\"1\"}", "temperature", "invalid_type");
    expect_problem(t, "{" MESSAGES ",\"top_p\":2}", "top_p", "invalid_value");
    expect_problem(t, "{" MESSAGES ",\"max_tokens\":-5}", "max_tokens", "invalid_value");
    expect_problem(t, "{" MESSAGES ",\"stream\":1}", "stream", "invalid_type");
    expect_problem(t, "{" MESSAGES ",\"stop\":\"\"}", "stop", "invalid_value");
    expect_problem(t, "{" MESSAGES ",\"stop\":[1]}", "stop", "invalid_type");
    expect_problem(t, "{" MESSAGES ",\"logit_bias\":{\"-1\":0}}", "logit_bias", "invalid_value");
    expect_problem(t, "{" MESSAGES ",\"logit_bias\":{\"99999\":0}}", "logit_bias", "invalid_value");
    expect_problem(t, "{" MESSAGES ",\"logit_bias\":{\"1\":1e30}}", "logit_bias.1", "invalid_value");
    expect_problem(t, "{" MESSAGES ",\"top_logprobs\":5}", "top_logprobs", "invalid_value");
    expect_problem(t, "{" MESSAGES ",\"logprobs\":true,\"top_logprobs\":21}", "top_logprobs",
                   "invalid_value");
    expect_problem(t, "{" MESSAGES ",\"samplers\":\"nothing\"}", NULL, "invalid_value");
    expect_problem(t, "{" MESSAGES ",\"response_format\":{\"type\":\"xml\"}}", "response_format.type",
                   "invalid_value");
    expect_problem(t, "{" MESSAGES ",\"response_format\":{\"type\":\"json_schema\"}}",
                   "response_format.json_schema", "missing_required_parameter");
    expect_problem(t, "{" MESSAGES ",\"tool_choice\":\"required\"}", "tools", "missing_required_parameter");
}

static void a_prompt_that_is_too_long_names_both_numbers(void **state)
{
    const test_server *t = *state;
    qn_buffer b = {0};
    qn_buffer_puts(&b, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
    for (int i = 0; i < 3000; i++) qn_buffer_putc(&b, 'a');
    qn_buffer_puts(&b, "\"}]}");
    client_reply r = client_ask(t, "POST", "/v1/chat/completions", b.data);
    assert_int_equal(r.status, 400);
    assert_non_null(strstr(r.body, "context_length_exceeded"));
    assert_non_null(strstr(r.body, "512"));
    client_reply_free(&r);
    qn_buffer_deinit(&b);
}

static void deep_nesting_is_refused_before_it_is_read(void **state)
{
    const test_server *t = *state;
    qn_buffer b = {0};
    qn_buffer_puts(&b, "{\"a\":");
    for (int i = 0; i < 1500; i++) qn_buffer_putc(&b, '[');
    expect_problem(t, b.data, NULL, "invalid_json");
    qn_buffer_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(framing_is_strict),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(unknown_places_and_methods_are_named),
        cmocka_unit_test(problems_are_text_whatever_is_quoted),
        cmocka_unit_test(foreign_hosts_are_refused),
        cmocka_unit_test(a_connection_takes_one_request_after_the_other),
        cmocka_unit_test(fields_are_checked),
        cmocka_unit_test(a_prompt_that_is_too_long_names_both_numbers),
        cmocka_unit_test(deep_nesting_is_refused_before_it_is_read),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
