/* chat_test.c: answers over HTTP are those of the engine, streamed or whole, alone or among many. */
#include "serve_util.h"

#include "support/cmocka_all.h"

#include "base/buffer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int setup(void **state)
{
    static test_server t;
    test_server_open(&t, NULL);
    *state = &t;
    return 0;
}

static int teardown(void **state)
{
    test_server_close(*state);
    return 0;
}

static void body_of(char *body, size_t size, int question, bool streams, int n)
{
    snprintf(
        body, size,
        "{\"messages\":[{\"role\":\"user\",\"content\":\"question %d\"}],\"seed\":%d,\"temperature\":1.2,"
        "\"max_tokens\":24,\"stream\":%s,\"n\":%d}",
        question, question, streams ? "true" : "false", n);
}

/* The text of a stream's first answer; owned by the caller (quern_free). */
static char *text_of_stream(const client_reply *r)
{
    qn_buffer text = {0};
    bool is_done = false;
    qn_buffer_puts(&text, "");
    for (const char *line = r->body; line != NULL && *line != '\0'; line = strstr(line, "\n\n")) {
        line += line == r->body ? 0 : 2;
        if (strncmp(line, "data: ", 6) != 0) continue;
        if (strncmp(line, "data: [DONE]", 12) == 0) {
            is_done = true;
            continue;
        }
        json_error_t where;
        json_t *chunk = json_loads(line + 6, JSON_DISABLE_EOF_CHECK, &where),
               *choice = json_array_get(json_object_get(chunk, "choices"), 0);
        const json_t *content = json_object_get(json_object_get(choice, "delta"), "content");
        assert_non_null(chunk);
        if (json_integer_value(json_object_get(choice, "index")) == 0 && content != NULL)
            qn_buffer_append(&text, json_string_value(content), json_string_length(content));
        json_decref(chunk);
    }
    assert_true(is_done);
    return qn_buffer_take(&text, NULL);
}

/* Of the first answer. */
static char *ask(const test_server *t, int question, bool streams, int n)
{
    char body[512];
    body_of(body, sizeof body, question, streams, n);
    client_reply r = client_ask(t, "POST", "/v1/chat/completions", body);
    if (r.status != 200) fail_msg("%d: %s", r.status, r.body);
    char *text;
    if (streams) {
        text = text_of_stream(&r);
    } else {
        json_t *reply = client_json(&r), *choices = json_object_get(reply, "choices"),
               *message = json_object_get(json_array_get(choices, 0), "message");
        assert_int_equal(json_array_size(choices), n);
        qn_buffer copy = {0};
        qn_buffer_puts(&copy, json_string_value(json_object_get(message, "content")));
        text = qn_buffer_take(&copy, NULL);
        json_decref(reply);
    }
    client_reply_free(&r);
    return text;
}

static void a_stream_says_what_the_whole_says(void **state)
{
    for (int question = 0; question < 6; question++) {
        char *whole = ask(*state, question, false, 1), *stream = ask(*state, question, true, 1),
             *of_three = ask(*state, question, true, 3);
        assert_string_equal(whole, stream);
        assert_string_equal(whole, of_three);
        assert_true(strlen(whole) > 0);
        quern_free(whole), quern_free(stream), quern_free(of_three);
    }
}

enum { CLIENTS = 24, QUESTIONS = 6 };

typedef struct client {
    const test_server *t;
    char **alone;
    int index, n_equal;
} client;

static void *run_client(void *user)
{
    client *c = user;
    for (int i = 0; i < QUESTIONS; i++) {
        const int question = (c->index + i) % QUESTIONS;
        char *text = ask(c->t, question, (c->index + i) % 2 == 0, 1 + i % 2);
        c->n_equal += strcmp(text, c->alone[question]) == 0;
        quern_free(text);
    }
    return NULL;
}

static void among_many_every_answer_is_the_one_alone(void **state)
{
    char *alone[QUESTIONS];
    client clients[CLIENTS];
    pthread_t threads[CLIENTS];
    for (int i = 0; i < QUESTIONS; i++) alone[i] = ask(*state, i, false, 1);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (client){.t = *state, .alone = alone, .index = i};
        assert_int_equal(pthread_create(&threads[i], NULL, run_client, &clients[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < CLIENTS; i++) assert_int_equal(clients[i].n_equal, QUESTIONS);
    for (int i = 0; i < QUESTIONS; i++) quern_free(alone[i]);
}

static void a_schema_binds_the_answer(void **state)
{
    static const char body[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":200,"
                               "\"seed\":1,\"response_format\":{\"type\":"
                               "\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":"
                               "\"object\",\"properties\":{\"a\":{\"type\":"
                               "\"integer\",\"minimum\":0,\"maximum\":99},\"b\":{\"enum\":[\"x\",\"y\"]}},"
                               "\"required\":[\"a\",\"b\"]}}}}";
    client_reply r = client_ask(*state, "POST", "/v1/chat/completions", body);
    assert_int_equal(r.status, 200);
    json_t *reply = client_json(&r),
           *message = json_object_get(json_array_get(json_object_get(reply, "choices"), 0), "message"),
           *content = json_loads(json_string_value(json_object_get(message, "content")), 0, NULL);
    assert_non_null(content);
    assert_true(json_is_integer(json_object_get(content, "a")) &&
                json_is_string(json_object_get(content, "b")));
    json_decref(content), json_decref(reply);
    client_reply_free(&r);
}

static void log_probabilities_come_with_their_tokens(void **state)
{
    static const char body[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":5,\"temperature\":0,"
        "\"logprobs\":true,\"top_logprobs\":3,\"logit_bias\":{\"2\":-100}}";
    client_reply r = client_ask(*state, "POST", "/v1/chat/completions", body);
    assert_int_equal(r.status, 200);
    json_t *reply = client_json(&r), *choice = json_array_get(json_object_get(reply, "choices"), 0),
           *items = json_object_get(json_object_get(choice, "logprobs"), "content"), *item;
    size_t i;
    assert_int_equal(json_array_size(items), 5);
    json_array_foreach(items, i, item)
    {
        assert_true(json_real_value(json_object_get(item, "logprob")) <= 0);
        assert_int_equal(json_array_size(json_object_get(item, "top_logprobs")), 3);
    }
    assert_string_equal(json_string_value(json_object_get(choice, "finish_reason")), "length");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(reply, "usage"), "completion_tokens")), 5);
    json_decref(reply);
    client_reply_free(&r);
}

/* The j-th number of the i-th vector. */
static double number_of(const json_t *reply, const char *list, const char *field, size_t i, size_t j)
{
    const json_t *item = json_array_get(json_object_get(reply, list), i);
    return json_real_value(json_array_get(field != NULL ? json_object_get(item, field) : item, j));
}

static void vectors_are_the_same_in_both_forms(void **state)
{
    client_reply r =
        client_ask(*state, "POST", "/v1/embeddings", "{\"input\":[\"a b\",\"c\",\"a b\"],\"dimensions\":8}");
    assert_int_equal(r.status, 200);
    json_t *openai = client_json(&r);
    client_reply_free(&r);
    r = client_ask(*state, "POST", "/api/embed",
                   "{\"input\":[\"a b\",\"c\"],\"dimensions\":8,\"model\":\"tiny:latest\"}");
    assert_int_equal(r.status, 200);
    json_t *ollama = client_json(&r);
    client_reply_free(&r);
    for (size_t j = 0; j < 8; j++) {
        assert_true(number_of(openai, "data", "embedding", 0, j) ==
                    number_of(ollama, "embeddings", NULL, 0, j));
        assert_true(number_of(openai, "data", "embedding", 0, j) ==
                    number_of(openai, "data", "embedding", 2, j));
    }
    json_decref(openai), json_decref(ollama);
}

static void texts_go_on_as_the_conversation_does(void **state)
{
    client_reply r = client_ask(
        *state, "POST", "/v1/completions",
        "{\"prompt\":[\"ab\",[5,200,6]],\"n\":2,\"max_tokens\":6,\"echo\":true,\"logprobs\":2,\"seed\":4}");
    assert_int_equal(r.status, 200);
    json_t *reply = client_json(&r), *choices = json_object_get(reply, "choices");
    assert_int_equal(json_array_size(choices), 4);
    assert_memory_equal(json_string_value(json_object_get(json_array_get(choices, 0), "text")), "ab", 2);
    json_decref(reply);
    client_reply_free(&r);
    r = client_ask(*state, "POST", "/detokenize", "{\"tokens\":[200]}"); /* half a character */
    assert_int_equal(r.status, 200);
    json_decref(client_json(&r));
    client_reply_free(&r);
}

/* The text of a reply in another dialect, whole, to the first question. */
static char *ask_dialect(const test_server *t, const char *path, const char *body, const char *list,
                         const char *field)
{
    client_reply r = client_ask(t, "POST", path, body);
    if (r.status != 200) fail_msg("%d: %s", r.status, r.body);
    json_t *reply = client_json(&r), *place = json_object_get(reply, list);
    qn_buffer text = {0};
    if (json_is_array(place)) place = json_array_get(place, 0);
    qn_buffer_puts(&text, json_string_value(json_object_get(place, field)));
    json_decref(reply);
    client_reply_free(&r);
    return qn_buffer_take(&text, NULL);
}

static void dialects_get_the_same_answer(void **state)
{
    char *openai = ask(*state, 3, false, 1),
         *anthropic = ask_dialect(
             *state, "/v1/messages",
             "{\"messages\":[{\"role\":\"user\",\"content\":\"question 3\"}],\"seed\":3,\"temperature\":1.2,"
             "\"max_tokens\":24}",
             "content", "text"),
         *ollama = ask_dialect(
             *state, "/api/chat",
             "{\"messages\":[{\"role\":\"user\",\"content\":\"question 3\"}],\"stream\":false,\"options\":{"
             "\"seed\":3,\"temperature\":1.2,\"num_predict\":24}}",
             "message", "content");
    assert_string_equal(openai, anthropic);
    assert_string_equal(openai, ollama);
    quern_free(openai), quern_free(anthropic), quern_free(ollama);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_says_what_the_whole_says),
        cmocka_unit_test(among_many_every_answer_is_the_one_alone),
        cmocka_unit_test(a_schema_binds_the_answer),
        cmocka_unit_test(log_probabilities_come_with_their_tokens),
        cmocka_unit_test(vectors_are_the_same_in_both_forms),
        cmocka_unit_test(texts_go_on_as_the_conversation_does),
        cmocka_unit_test(dialects_get_the_same_answer),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
