/* text_test.c: error messages, quoted text, log lines, status texts, the clock. */
#include "base_test.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/utf8.h"

static void a_message_is_one_harmless_line(void **state)
{
    (void)state;
    quern_error err;
    assert_int_equal(qn_fail(&err, QUERN_ERR_IO, "%s: %d of %zu", "x.gguf", -3, (size_t)7), QUERN_ERR_IO);
    assert_int_equal(err.status, QUERN_ERR_IO);
    assert_string_equal(err.message, "x.gguf: -3 of 7");
    qn_fail(&err, QUERN_ERR_IO, "a\nb\tc\x1b[31m\x7f%s", "\r");
    assert_string_equal(err.message, "a\\x0ab\\x09c\\x1b[31m\\x7f\\x0d");
    qn_fail(&err, QUERN_ERR_IO, "%s",
            "Gr\xc3\xbc\xc3\x9f"
            "e \xc2\x9b"
            "1m \xff\xc3"); /* C1 controls and broken UTF-8 too */
    assert_string_equal(err.message, "Gr\xc3\xbc\xc3\x9f"
                                     "e \\xc2\\x9b1m \\xff\\xc3");
    qn_fail(&err, QUERN_ERR_IO, "%s", "%s%n%d"); /* outside text is no format */
    assert_string_equal(err.message, "%s%n%d");
    assert_int_equal(qn_fail(NULL, QUERN_ERR_NOMEM, "nobody listens"), QUERN_ERR_NOMEM);
}

static void a_long_message_is_cut_between_characters(void **state)
{
    (void)state;
    char text[3001];
    for (size_t shift = 0; shift < 4; shift++) {
        quern_error err;
        memset(text, 'a', shift);
        for (size_t i = shift; i + 3 < sizeof text; i += 3) memcpy(text + i, "\xe2\x82\xac", 4);
        qn_fail(&err, QUERN_ERR_IO, "%s", text);
        const size_t n = strlen(err.message);
        assert_true(n < sizeof err.message && n >= sizeof err.message - 4);
        assert_true(qn_utf8_valid(err.message, n));
        assert_memory_equal(err.message, text, n);
    }
    memset(text, '\x01', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    quern_error err;
    qn_fail(&err, QUERN_ERR_IO, "%s", text);
    assert_string_equal(err.message + strlen(err.message) - 4, "\\x01"); /* never half an escape */
}

static void prefixes(void **state)
{
    (void)state;
    quern_error err;
    qn_fail(&err, QUERN_ERR_FORMAT, "is broken");
    qn_fail_prefix(&err, "part %d", 2);
    qn_fail_prefix(&err, "%s", "x.gguf");
    assert_string_equal(err.message, "x.gguf: part 2: is broken");
    assert_int_equal(err.status, QUERN_ERR_FORMAT);
    for (int i = 0; i < 100; i++) qn_fail_prefix(&err, "a rather long prefix");
    assert_true(strlen(err.message) < sizeof err.message);
    qn_fail_prefix(NULL, "nobody listens");
}

static void quoted_text(void **state)
{
    (void)state;
    char bytes[300];
    assert_string_equal(qn_quote("", 0).text, "");
    assert_string_equal(qn_quote("plain 'text'", 12).text, "plain 'text'");
    assert_string_equal(qn_quote("a\0b\x1b", 4).text, "a\\x00b\\x1b");
    memset(bytes, 'a', sizeof bytes);
    assert_int_equal(strlen(qn_quote(bytes, 100).text), 100);
    assert_int_equal(strlen(qn_quote(bytes, 101).text), 103);
    assert_string_equal(qn_quote(bytes, 101).text + 97, "aaa...");
    memset(bytes, '\x07', sizeof bytes); /* the longest that can be */
    assert_int_equal(strlen(qn_quote(bytes, sizeof bytes).text), 403);
    for (size_t i = 0; i < sizeof bytes; i += 3) memcpy(bytes + i, "\xe2\x82\xac", 3);
    const qn_quoted q = qn_quote(bytes, sizeof bytes); /* cut between characters */
    assert_int_equal(strlen(q.text), 99 + 3);
    assert_memory_equal(q.text, bytes, 99);
    assert_string_equal(qn_quote("\xe2\x82", 2).text, "\\xe2\\x82"); /* its end is its own */
}

typedef struct heard {
    int n_lines;
    quern_log_level level;
    char line[1024];
} heard;

static void hear(void *user, quern_log_level level, const char *line)
{
    heard *h = user;
    h->n_lines++;
    h->level = level;
    snprintf(h->line, sizeof h->line, "%s", line);
}

static void log_lines(void **state)
{
    (void)state;
    heard h = {0};
    const qn_log log = {hear, &h}, silent = {NULL, NULL};
    qn_log_write(&log, QUERN_LOG_WARN, "%d\x1b[2J", 5);
    assert_int_equal(h.n_lines, 1);
    assert_int_equal(h.level, QUERN_LOG_WARN);
    assert_string_equal(h.line, "5\\x1b[2J");
    qn_log_write(&silent, QUERN_LOG_WARN, "x");
    qn_log_write(NULL, QUERN_LOG_WARN, "x");
    assert_int_equal(h.n_lines, 1);
}

static void every_status_has_a_text(void **state)
{
    (void)state;
#define X(name, value, text) assert_string_equal(quern_status_text(QUERN_##name), text);
    QUERN_STATUS_MAP(X)
#undef X
    assert_non_null(quern_status_text((quern_status)-999));
    assert_true(strlen(quern_version()) >= 5);
}

static void time_does_not_go_back(void **state)
{
    (void)state;
    uint64_t last = qn_clock_ns();
    for (int i = 0; i < 10000; i++) {
        const uint64_t now = qn_clock_ns();
        assert_true(now >= last);
        last = now;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_one_harmless_line),
        cmocka_unit_test(a_long_message_is_cut_between_characters),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(quoted_text),
        cmocka_unit_test(log_lines),
        cmocka_unit_test(every_status_has_a_text),
        cmocka_unit_test(time_does_not_go_back),
    };
    return cmocka_run_group_tests_name("base text", tests, NULL, NULL);
}
