/* slow_test.c: clients that are slow, silent, or gone cost nobody but themselves. */
#include "serve_util.h"

#include "support/cmocka_all.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHAT_HEAD "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static const qn_server_limits *short_limits(void)
{
    static qn_server_limits limits;
    limits = qn_server_limits_default();
    limits.header_ms = limits.body_ms = limits.idle_ms = limits.stall_ms = 300;
    limits.sign_ms = 100;
    limits.unread_bytes = 16 * 1024;
    return &limits;
}

static int setup(void **state)
{
    static test_server t;
    test_server_open(&t, short_limits());
    *state = &t;
    return 0;
}

static int teardown(void **state)
{
    test_server_close(*state);
    return 0;
}

/* Sends a byte of the text again and again; how long the server bears it. */
static double seconds_borne(const test_server *t, const char *begin, const char *drip)
{
    const int fd = client_connect(t);
    const uint64_t start = qn_clock_ns();
    assert_true(client_send(fd, begin, strlen(begin)));
    for (int i = 0; i < 400; i++) {
        char byte;
        pause_ms(25);
        if (drip[0] != '\0' && !client_send(fd, drip + (size_t)i % strlen(drip), 1)) break;
        if (recv(fd, &byte, 1, MSG_DONTWAIT) == 0) break;
    }
    close(fd);
    return (double)(qn_clock_ns() - start) * 1e-9;
}

static void expect_healthy(const test_server *t)
{
    const uint64_t start = qn_clock_ns();
    client_reply r = client_ask(t, "GET", "/health", NULL);
    assert_int_equal(r.status, 200);
    client_reply_free(&r);
    assert_true(qn_clock_ns() - start < 1000000000u);
}

static void slow_clients_are_given_up(void **state)
{
    const test_server *t = *state;
    assert_true(seconds_borne(t, "", "") < 5);                                        /* nothing at all */
    assert_true(seconds_borne(t, "GET /health HTTP/1.1\r\n", "X-Slow: yes\r\n") < 5); /* headers, by bytes */
    assert_true(seconds_borne(t, CHAT_HEAD "Content-Length: 100\r\n\r\n{", "") < 5);  /* half a body */
    assert_true(seconds_borne(t, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", "") < 5); /* idle */
    expect_healthy(t);
}

static size_t count_canceled(const test_server *t)
{
    quern_engine_metrics m;
    quern_engine_get_metrics(t->engine, &m);
    return (size_t)m.n_finished[QUERN_FINISH_CANCELED];
}

static size_t count_running(const test_server *t)
{
    quern_engine_metrics m;
    quern_engine_get_metrics(t->engine, &m);
    return m.n_begun + m.n_waiting;
}

/* Whether there is a canceled answer more before long. */
static bool is_canceled_soon(const test_server *t, size_t before)
{
    for (int i = 0; i < 6000 && count_canceled(t) == before; i++) pause_ms(10);
    return count_canceled(t) > before;
}

/* An answer that takes a while; more: fields of the request. */
static int start_long(const test_server *t, bool streams, const char *more)
{
    char body[512], request[1024];
    snprintf(body, sizeof body,
             "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stream\":%s,\"temperature\":1,\"max_"
             "tokens\":400,"
             "\"logit_bias\":{\"2\":-100}%s}",
             streams ? "true" : "false", more);
    snprintf(request, sizeof request, CHAT_HEAD "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    const int fd = client_connect(t);
    assert_true(client_send(fd, request, strlen(request)));
    return fd;
}

static void whoever_hangs_up_is_not_answered(void **state)
{
    const test_server *t = *state;
    for (int streams = 0; streams < 2; streams++) {
        const size_t before = count_canceled(t);
        const int fd = start_long(t, streams == 1, "");
        for (int i = 0; i < 500 && count_running(t) == 0; i++) pause_ms(1);
        close(fd);
        assert_true(is_canceled_soon(t, before));
    }
    expect_healthy(t);
}

/* What is sent to it fills the buffers of the system, then those of the server; then it is given up. */
static void whoever_does_not_read_is_given_up(void **state)
{
    const test_server *t = *state;
    const size_t before = count_canceled(t);
    const int fd = start_long(t, true, ",\"n\":16,\"logprobs\":true,\"top_logprobs\":20");
    assert_true(is_canceled_soon(t, before));
    expect_healthy(t);
    close(fd);
    for (int i = 0; i < 500 && count_running(t) > 0; i++) pause_ms(10);
    assert_int_equal(count_running(t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_clients_are_given_up),
        cmocka_unit_test(whoever_hangs_up_is_not_answered),
        cmocka_unit_test(whoever_does_not_read_is_given_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
