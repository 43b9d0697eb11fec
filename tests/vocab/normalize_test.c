/* normalize_test.c: form C against utf8proc on whole strings, invalid bytes, and runs of marks. */
#include "vocab_util.h"

#include "base/random.h"
#include "base/utf8.h"
#include "vocab/normalize.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static void check(const char *text, const char *wanted)
{
    qn_buffer out = {0};
    assert_true(qn_normalize_nfc(&out, text, strlen(text)));
    assert_string_equal(out.data, wanted);
    if (strcmp(text, wanted) != 0) assert_true(qn_normalize_may_change(text, strlen(text)));
    qn_buffer_deinit(&out);
}

static void known_texts(void **state)
{
    (void)state;
    check("", "");
    check("plain", "plain");
    check("e\xcc\x81", "\xc3\xa9");
    check("xe\xcc\x81y", "x\xc3\xa9y");
    check("\xe2\x84\xab", "\xc3\x85");                             /* U+212B */
    check("\xe2\x84\xaa", "K");                                    /* U+212A */
    check("\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81"); /* conjoining jamo */
    check("\xea\xb0\x80\xe1\x86\xa8", "\xea\xb0\x81");             /* syllable and final */
    check("a\xcc\x81\xcc\xa3", "\xe1\xba\xa1\xcc\x81");            /* marks change their order */
    check("e\xff\xcc\x81", "e\xff\xcc\x81");                       /* nothing joins an invalid byte */
    check("\xcc\x81", "\xcc\x81");
    check("e\xcc", "e\xcc");
    assert_false(qn_normalize_may_change("caf\xc3\xa9 \xe4\xb8\xad\xe6\x96\x87 \xea\xb0\x81", 17));
}

static void random_texts_equal_the_library(void **state)
{
    (void)state;
    static const uint32_t interesting[] = {'a',    'e',     'q',    ' ',    0xe9,   0x301,  0x302,  0x323,
                                           0x327,  0x345,   0x3b1,  0x1100, 0x1161, 0x11a8, 0xac00, 0xac01,
                                           0x9c7,  0x9be,   0x9dc,  0x212b, 0x1f71, 0xf900, 0x1e69, 0x2126,
                                           0x4e2d, 0x1f600, 0xfb1d, 0x344,  0xdda};
    qn_random r = {.seed = 7};
    for (int round = 0; round < 20000; round++) {
        char text[160];
        size_t n = 0;
        for (uint64_t count = qn_random_u64(&r) % 30; count > 0; count--) {
            uint32_t c = interesting[qn_random_u64(&r) % (sizeof interesting / sizeof *interesting)];
            if (qn_random_u64(&r) % 8 == 0) c = (uint32_t)(qn_random_u64(&r) % 0x3100) + 1;
            n += qn_utf8_encode(c, text + n);
        }
        text[n] = '\0';
        char *wanted = (char *)utf8proc_NFC((const utf8proc_uint8_t *)text);
        assert_non_null(wanted);
        check(text, wanted);
        free(wanted);
    }
}

static void a_million_marks_take_linear_time(void **state)
{
    (void)state;
    enum { MARKS = 500000 };
    char *text = malloc(2 * MARKS + 1);
    assert_non_null(text);
    for (size_t i = 0; i < MARKS; i++) memcpy(text + 2 * i, i % 2 != 0 ? "\xcc\x96" : "\xcc\x81", 2);
    qn_buffer out = {0};
    assert_true(qn_normalize_nfc(&out, text, 2 * MARKS));
    assert_int_equal(out.n_bytes, 2 * MARKS);
    qn_buffer_deinit(&out);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts),
        cmocka_unit_test(random_texts_equal_the_library),
        cmocka_unit_test(a_million_marks_take_linear_time),
    };
    return cmocka_run_group_tests_name("vocab normalize", tests, NULL, NULL);
}
