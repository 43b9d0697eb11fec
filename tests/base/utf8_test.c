/* utf8_test.c: all of Unicode, and every way of not being UTF-8, against a decoder of another make. */
#include "base_test.h"

#include "base/utf8.h"

/* Bytes at which the table of well-formed sequences (The Unicode Standard, table 3-7) changes its mind. */
static const unsigned char edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f,
                                      0xa0, 0xbf, 0xc0, 0xc2, 0xe0, 0xf4, 0xff};
enum { N_EDGES = sizeof edges };

/* By arithmetic instead of by table: collect the bits, then ask whether this was the shortest form of
 * a scalar value. Returns the length or 0. */
static size_t decode_by_arithmetic(const unsigned char *b, size_t n, uint32_t *codepoint)
{
    if (n == 0) return 0;
    const size_t length = b[0] < 0x80       ? 1
                          : b[0] >> 5 == 6  ? 2
                          : b[0] >> 4 == 14 ? 3
                          : b[0] >> 3 == 30 ? 4
                                            : 0;
    if (length == 0 || length > n) return 0;
    uint32_t c = length == 1 ? b[0] : b[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if (b[i] >> 6 != 2) return 0;
        c = c * 64 + b[i] % 64;
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return 0;
    *codepoint = c;
    return length;
}

static void all_of_unicode(void **state)
{
    (void)state;
    size_t n_valid = 0;
    for (uint32_t c = 0; c < 0x110100; c++) {
        char bytes[5] = "????";
        uint32_t back = 0xdead;
        const size_t n = qn_utf8_encode(c, bytes);
        const bool scalar = c < 0xd800 || (c >= 0xe000 && c <= 0x10ffff);
        if ((n > 0) != scalar) fail_msg("U+%04X", c);
        if (n == 0) continue;
        n_valid++;
        if (n != (c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4)) fail_msg("U+%04X has %zu bytes", c, n);
        bytes[n] = 'x';
        if (qn_utf8_decode(bytes, n + 1, &back) != n || back != c) fail_msg("U+%04X", c);
        for (size_t cut = 0; cut < n; cut++) { /* not whole: nothing, and nothing is touched */
            back = 0xdead;
            if (qn_utf8_decode(bytes, cut, &back) != 0 || back != 0xdead)
                fail_msg("U+%04X cut to %zu", c, cut);
            if (qn_utf8_incomplete_tail(bytes, cut) != cut) fail_msg("tail of U+%04X cut to %zu", c, cut);
        }
        if (qn_utf8_incomplete_tail(bytes, n) != 0) fail_msg("tail of the whole U+%04X", c);
    }
    assert_int_equal(n_valid, 0x110000 - 0x800);
    char out[4];
    assert_int_equal(qn_utf8_encode(UINT32_MAX, out), 0);
}

static void all_sequences_of_edges(void **state)
{
    (void)state;
    unsigned char b[4];
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            for (unsigned rest = 0; rest < N_EDGES * N_EDGES; rest++) {
                b[0] = (unsigned char)first, b[1] = (unsigned char)second;
                b[2] = edges[rest / N_EDGES], b[3] = edges[rest % N_EDGES];
                uint32_t expected = 7, found = 7;
                const size_t n = decode_by_arithmetic(b, 4, &expected);
                if (qn_utf8_decode((const char *)b, 4, &found) != n || found != expected)
                    fail_msg("%02x %02x %02x %02x", b[0], b[1], b[2], b[3]);
            }
        }
    }
}

static bool valid_by_arithmetic(const unsigned char *b, size_t n)
{
    uint32_t c;
    for (size_t i = 0; i < n;) {
        const size_t length = decode_by_arithmetic(b + i, n - i, &c);
        if (length == 0) return false;
        i += length;
    }
    return true;
}

/* What the definition says: the shortest suffix that some further bytes complete to one character. */
static size_t tail_by_trying(const unsigned char *b, size_t n)
{
    for (size_t tail = 1; tail <= 3 && tail <= n; tail++) {
        unsigned char whole[4];
        uint32_t c;
        memcpy(whole, b + n - tail, tail);
        for (unsigned try = 0; try < N_EDGES * N_EDGES * N_EDGES; try++) {
            whole[tail] = edges[try % N_EDGES];
            if (tail < 3) whole[tail + 1] = edges[try / N_EDGES % N_EDGES];
            if (tail < 2) whole[tail + 2] = edges[try / N_EDGES / N_EDGES];
            if (decode_by_arithmetic(whole, 4, &c) > tail) return tail;
        }
    }
    return 0;
}

static void tails_and_validity(void **state)
{
    (void)state;
    static const unsigned char set[] = {0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2,
                                        0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff};
    enum { N = sizeof set };
    for (unsigned i = 0; i < N * N * N; i++) {
        const unsigned char b[] = {set[i % N], set[i / N % N], set[i / N / N]};
        for (size_t n = 0; n <= 3; n++) {
            if (qn_utf8_incomplete_tail((const char *)b, n) != tail_by_trying(b, n))
                fail_msg("tail of the first %zu of %02x %02x %02x", n, b[0], b[1], b[2]);
            if (qn_utf8_valid((const char *)b, n) != valid_by_arithmetic(b, n))
                fail_msg("validity of the first %zu of %02x %02x %02x", n, b[0], b[1], b[2]);
        }
    }
    assert_true(qn_utf8_valid("", 0));
    assert_true(qn_utf8_valid("a\0b", 3)); /* NUL is a character */
    assert_int_equal(qn_utf8_incomplete_tail("Gr\xc3", 3), 1);
    assert_int_equal(qn_utf8_incomplete_tail("\xf0\x9f\x98", 3), 3);
    assert_int_equal(qn_utf8_incomplete_tail("\x80\x80\x80\x80\x80", 5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_unicode),
        cmocka_unit_test(all_sequences_of_edges),
        cmocka_unit_test(tails_and_validity),
    };
    return cmocka_run_group_tests_name("base utf8", tests, NULL, NULL);
}
