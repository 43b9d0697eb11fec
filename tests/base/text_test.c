/* text_test.c: UTF-8, error messages, quoting of outside text, the log, and the hash map. */
#include "base_test.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash_map.h"
#include "base/log.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

static void every_codepoint_goes_there_and_back(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x110100; c++) {
        char bytes[4];
        const size_t n = qn_utf8_encode(c, bytes);
        if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
            assert_int_equal(n, 0);
            continue;
        }
        uint32_t back = 0;
        if (n != (c < 0x80 ? 1u : c < 0x800 ? 2u : c < 0x10000 ? 3u : 4u) || qn_utf8_decode(bytes, n, &back) != n || back != c)
            fail_msg("U+%04X", c);
        for (size_t cut = 1; cut < n; cut++) {
            if (qn_utf8_decode(bytes, cut, &back) != 0 || qn_utf8_incomplete_tail(bytes, cut) != cut) fail_msg("U+%04X", c);
        }
    }
    assert_int_equal(qn_utf8_encode(UINT32_MAX, (char[4]){0}), 0);
}

static void malformed_bytes_are_no_characters(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xed\xa0\x80",
        "\xed\xbf\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xe2\x82\x28",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint32_t untouched = 77;
        assert_int_equal(qn_utf8_decode(bad[i], strlen(bad[i]), &untouched), 0);
        assert_int_equal(untouched, 77);
        assert_false(qn_utf8_valid(bad[i], strlen(bad[i])));
    }
    assert_true(qn_utf8_valid("", 0));
    assert_true(qn_utf8_valid("a\0b", 3));
    assert_true(qn_utf8_valid("Mühle \xf0\x9f\x8c\xbe", 11));
    assert_int_equal(qn_utf8_incomplete_tail("ab\xe2\x82", 4), 2);
    assert_int_equal(qn_utf8_incomplete_tail("ab\xed\xa0", 4), 0); /* can only become a surrogate */
    assert_int_equal(qn_utf8_incomplete_tail("ab\xf5", 3), 0);
    assert_int_equal(qn_utf8_incomplete_tail("ab", 2), 0);
    assert_int_equal(qn_utf8_incomplete_tail("", 0), 0);
}

static void messages_are_one_harmless_line(void **state)
{
    (void)state;
    quern_error err;
    assert_int_equal(qn_fail(&err, QUERN_ERR_FORMAT, "tensor '%s': %d", "a\x1b[31m\nb\xff", 7), QUERN_ERR_FORMAT);
    assert_int_equal(err.status, QUERN_ERR_FORMAT);
    assert_string_equal(err.message, "tensor 'a\\x1b[31m\\x0ab\\xff': 7");
    qn_fail_prefix(&err, "%s", "m.gguf");
    assert_string_equal(err.message, "m.gguf: tensor 'a\\x1b[31m\\x0ab\\xff': 7");
    qn_fail_prefix(NULL, "%s", "x");
    assert_int_equal(qn_fail(NULL, QUERN_ERR_IO, "nobody listens"), QUERN_ERR_IO);

    char endless[5000];
    memset(endless, 0x01, sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    qn_fail(&err, QUERN_ERR_IO, "%s", endless);
    assert_true(strlen(err.message) < sizeof err.message);
    assert_int_equal(strncmp(err.message, "\\x01\\x01", 8), 0);
    assert_int_equal(strlen(err.message) % 4, 0); /* nothing is cut in half */
    for (int i = 0; i < 100; i++) qn_fail_prefix(&err, "%s", "prefix");
    assert_true(strlen(err.message) < sizeof err.message);
}

static void quoted_text_is_short_and_visible(void **state)
{
    (void)state;
    assert_string_equal(qn_quote("ok", 2).text, "ok");
    assert_string_equal(qn_quote("", 0).text, "");
    assert_string_equal(qn_quote("a\0b", 3).text, "a\\x00b");
    assert_string_equal(qn_quote("\xc2\x85\x7f", 3).text, "\\xc2\\x85\\x7f"); /* C1 controls too */
    char many[200];
    memset(many, 0xff, sizeof many);
    const qn_quoted q = qn_quote(many, sizeof many);
    assert_int_equal(strlen(q.text), 403);
    assert_string_equal(q.text + 400, "...");
}

static void every_status_has_its_text(void **state)
{
    (void)state;
    assert_string_equal(quern_status_text(QUERN_OK), "success");
#define X(name, value, text) assert_string_equal(quern_status_text((quern_status)(value)), text);
    QUERN_STATUS_MAP(X)
#undef X
    assert_non_null(quern_status_text((quern_status)-1000));
}

static void keep_line(void *user, quern_log_level level, const char *line)
{
    snprintf(user, 64, "%d %s", (int)level, line);
}

static void log_lines_reach_whoever_asked(void **state)
{
    (void)state;
    char got[64] = "";
    const qn_log log = {.fn = keep_line, .user = got}, silent = {0};
    qn_log_write(&log, QUERN_LOG_WARN, "token %d", 5);
    assert_string_equal(got, "2 token 5");
    qn_log_write(&silent, QUERN_LOG_WARN, "nobody");
    qn_log_write(NULL, QUERN_LOG_WARN, "nobody");
}

enum { N_KEYS = 50000 };

static void a_map_finds_what_was_added_first(void **state)
{
    (void)state;
    static char keys[N_KEYS][8];
    qn_hash_map m = {0};
    int64_t existing;
    assert_int_equal(qn_hash_map_get(&m, "any", 3), QN_HASH_NONE); /* a zeroed map is an empty map */
    for (uint32_t i = 0; i < N_KEYS; i++) {
        const int n = snprintf(keys[i], sizeof keys[i], "k%u", i);
        assert_true(qn_hash_map_add(&m, keys[i], (size_t)n, i, &existing));
        assert_int_equal(existing, QN_HASH_NONE);
    }
    for (uint32_t i = 0; i < N_KEYS; i++) assert_int_equal(qn_hash_map_get(&m, keys[i], strlen(keys[i])), i);
    assert_int_equal(qn_hash_map_get(&m, "k", 1), QN_HASH_NONE);
    assert_true(qn_hash_map_add(&m, "k7", 2, 1234, &existing));
    assert_int_equal(existing, 7);
    assert_int_equal(qn_hash_map_get(&m, "k7", 2), 7);
    assert_int_equal(m.n_items, N_KEYS);
    assert_true(qn_hash_map_add(&m, "", 0, 9, NULL)); /* keys may be empty, or hold NUL */
    assert_true(qn_hash_map_add(&m, "a\0b", 3, 10, NULL));
    assert_int_equal(qn_hash_map_get(&m, "", 0), 9);
    assert_int_equal(qn_hash_map_get(&m, "a\0c", 3), QN_HASH_NONE);
    qn_hash_map_deinit(&m);

    assert_false(qn_hash_map_init(&m, SIZE_MAX));
    qn_hash_map_deinit(&m);
    qn_alloc_fail_at(0);
    assert_false(qn_hash_map_init(&m, 4));
    qn_alloc_fail_at(-1);
    qn_hash_map_deinit(&m);
}

static void hashes_depend_on_every_byte_the_length_and_the_seed(void **state)
{
    (void)state;
    unsigned char bytes[40] = {0};
    for (size_t n = 0; n < sizeof bytes; n++) {
        const uint64_t h = qn_hash_bytes(bytes, n, 1);
        assert_true(h != qn_hash_bytes(bytes, n, 2));
        assert_true(h != qn_hash_bytes(bytes, n + 1, 1));
        for (size_t i = 0; i < n; i++) {
            bytes[i] = 1;
            if (h == qn_hash_bytes(bytes, n, 1)) fail_msg("byte %zu of %zu does not count", i, n);
            bytes[i] = 0;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_codepoint_goes_there_and_back),
        cmocka_unit_test(malformed_bytes_are_no_characters),
        cmocka_unit_test(messages_are_one_harmless_line),
        cmocka_unit_test(quoted_text_is_short_and_visible),
        cmocka_unit_test(every_status_has_its_text),
        cmocka_unit_test(log_lines_reach_whoever_asked),
        cmocka_unit_test(a_map_finds_what_was_added_first),
        cmocka_unit_test(hashes_depend_on_every_byte_the_length_and_the_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
