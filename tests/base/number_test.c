/* number_test.c: 16-bit floats by the definition of rounding, the random numbers, and hexadecimal digits. */
#include "base_test.h"

#include "base/float16.h"
#include "base/hexadecimal.h"
#include "base/random.h"

#include <math.h>

/* ---- binary16 ---- */

static double f16_by_definition(uint16_t h)
{
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    const double magnitude = exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
    return h & 0x8000 ? -magnitude : magnitude;
}

static bool f16_is_nan(unsigned h)
{
    return (h & 0x7c00) == 0x7c00 && (h & 0x3ff) != 0;
}

static void all_halfs(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        const float f = qn_f16_to_f32((uint16_t)h);
        const uint16_t back = qn_f32_to_f16(f);
        if (f16_is_nan(h)) {
            assert_true(isnan(f));
            assert_int_equal(back, h | 0x200); /* sign and payload stay, made quiet */
        } else {
            if ((h & 0x7c00) != 0x7c00) assert_true((double)f == f16_by_definition((uint16_t)h));
            else assert_true(isinf(f));
            assert_int_equal(signbit(f) != 0, h >> 15);
            assert_int_equal(back, h);
        }
    }
}

/* Between two neighbours everything goes to the nearer one, and the middle to the even one. */
static void rounding_to_half(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x7c00; h++) {
        const float low = qn_f16_to_f32((uint16_t)h);
        const float high = h + 1 == 0x7c00 ? 65536.0f : qn_f16_to_f32((uint16_t)(h + 1));
        const float middle = low + (high - low) / 2; /* exact: one more bit */
        const unsigned even = h & 1 ? h + 1 : h;
        assert_int_equal(qn_f32_to_f16(middle), even);
        assert_int_equal(qn_f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(qn_f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(qn_f32_to_f16(-middle), even | 0x8000);
        assert_int_equal(qn_f32_to_f16(nextafterf(-middle, -INFINITY)), (h + 1) | 0x8000);
    }
}

static void known_halfs(void **state)
{
    (void)state;
    static const struct {
        float f;
        uint16_t h;
    } cases[] = {
        {0.0f, 0x0000},         {-0.0f, 0x8000},        {1.0f, 0x3c00},
        {-2.0f, 0xc000},        {65504.0f, 0x7bff},     {65519.0f, 0x7bff},
        {65520.0f, 0x7c00},     {1e30f, 0x7c00},        {-1e30f, 0xfc00},
        {INFINITY, 0x7c00},     {-INFINITY, 0xfc00},    {0x1p-14f, 0x0400},
        {0x1p-24f, 0x0001},     {0x1p-25f, 0x0000},     {0x1.000002p-25f, 0x0001},
        {1e-30f, 0x0000},       {-1e-45f, 0x8000},      {0.333251953125f, 0x3555},
        {0x1.ff8p-15f, 0x03ff}, {0x1.ffcp-15f, 0x0400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (qn_f32_to_f16(cases[i].f) != cases[i].h)
            fail_msg("%a gives %04x instead of %04x", (double)cases[i].f, qn_f32_to_f16(cases[i].f),
                     cases[i].h);
    assert_true(f16_is_nan(qn_f32_to_f16(NAN)));
    assert_true(f16_is_nan(qn_f32_to_f16(qn_f32_from_bits(0x7f800001)))); /* its payload has no place */
    assert_true(f16_is_nan(qn_f32_to_f16(qn_f32_from_bits(0xffffffff))));
}

/* ---- bfloat16 ---- */

static void all_bfloats(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 65536; b++) {
        const float f = qn_bf16_to_f32((uint16_t)b);
        if (isnan(f)) {
            assert_int_equal(qn_f32_to_bf16(f), b | 0x40);
            continue;
        }
        assert_int_equal(qn_f32_to_bf16(f), b);
        if (isinf(f)) continue;
        const uint32_t middle = (uint32_t)b << 16 | 0x8000; /* in steps of magnitude, for either sign */
        assert_int_equal(qn_f32_to_bf16(qn_f32_from_bits(middle - 1)), b);
        assert_int_equal(qn_f32_to_bf16(qn_f32_from_bits(middle)), b + (b & 1));
        assert_int_equal(qn_f32_to_bf16(qn_f32_from_bits(middle + 1)), b + 1);
    }
    assert_true(isnan(qn_bf16_to_f32(qn_f32_to_bf16(qn_f32_from_bits(0x7f800001)))));
}

/* ---- random ---- */

static void a_draw_depends_on_its_place_alone(void **state)
{
    (void)state;
    enum { N = 1000 };
    uint64_t draws[N];
    qn_random r = {.seed = 42, .stream = 7};
    for (int i = 0; i < N; i++) draws[i] = qn_random_u64(&r);
    assert_int_equal(r.counter, N);
    for (int i = N - 1; i >= 0; i--) {
        qn_random one = {.seed = 42, .stream = 7, .counter = (uint64_t)i};
        assert_true(qn_random_u64(&one) == draws[i]);
        for (int j = 0; j < i; j++) assert_true(draws[j] != draws[i]);
    }
    qn_random other_seed = {.seed = 43, .stream = 7}, other_stream = {.seed = 42, .stream = 8};
    for (int i = 0; i < N; i++) {
        assert_true(qn_random_u64(&other_seed) != draws[i]);
        assert_true(qn_random_u64(&other_stream) != draws[i]);
    }
}

/* Chi-square over 256 cells: 255 degrees of freedom, mean 255, deviation 22.6; seven deviations. */
static void check_uniform(const size_t cells[256], size_t n, const char *what)
{
    double chi = 0;
    for (int i = 0; i < 256; i++) {
        const double expected = (double)n / 256, off = (double)cells[i] - expected;
        chi += off * off / expected;
    }
    if (chi < 255 - 7 * 22.6 || chi > 255 + 7 * 22.6) fail_msg("%s: chi-square %.1f", what, chi);
}

static void draws_are_uniform(void **state)
{
    (void)state;
    enum { N = 200000 };
    size_t high[256] = {0}, low[256] = {0}, unit[256] = {0}, by_stream[256] = {0}, by_seed[256] = {0},
           pairs[256] = {0};
    qn_random r = {.seed = 1};
    unsigned last = 0;
    for (uint64_t i = 0; i < N; i++) {
        const uint64_t x = qn_random_u64(&r);
        high[x >> 56]++;
        low[x & 255]++;
        pairs[(last << 4 | (unsigned)(x >> 60)) & 255]++;
        last = (unsigned)(x >> 60);
        qn_random a = {.seed = 1, .stream = i}, b = {.seed = i}; /* the first draw of each */
        by_stream[qn_random_u64(&a) >> 56]++;
        by_seed[qn_random_u64(&b) >> 56]++;
        const double u = qn_random_unit(&r);
        assert_true(u >= 0 && u < 1);
        unit[(size_t)(u * 256)]++;
    }
    check_uniform(high, N, "high byte");
    check_uniform(low, N, "low byte");
    check_uniform(pairs, N, "pairs of draws");
    check_uniform(by_stream, N, "streams");
    check_uniform(by_seed, N, "seeds");
    check_uniform(unit, N, "unit interval");
}

static void seeds_from_the_system_differ(void **state)
{
    (void)state;
    assert_true(qn_random_seed() != qn_random_seed());
}

/* ---- hexadecimal ---- */

static void hexadecimal_digits(void **state)
{
    (void)state;
    static const char small[] = "0123456789abcdef", large[] = "0123456789ABCDEF";
    for (int c = -128; c < 256; c++) {
        const char *at = c != 0 ? strchr(small, c) : NULL;
        const char *at_large = c != 0 ? strchr(large, c) : NULL;
        const long expected = at != NULL ? at - small : at_large != NULL ? at_large - large : -1;
        assert_int_equal(qn_hex_digit((char)c), expected);
    }
}

static void hexadecimal_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n_bytes, max_digits, n_read;
        uint32_t value;
    } cases[] = {{"", 0, 4, 0, 0},
                 {"g", 1, 4, 0, 0},
                 {"1aG", 3, 4, 2, 0x1a},
                 {"1aF2", 4, 2, 2, 0x1a},
                 {"1aF2", 3, 4, 3, 0x1af},
                 {"ffffffff", 8, 8, 8, 0xffffffff},
                 {"0000000000000000041", 19, SIZE_MAX, 19, 0x41},
                 {"123456789", 9, SIZE_MAX, 8, 0x12345678}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t value = 7;
        char *exact = malloc(cases[i].n_bytes + 1); /* so that a sanitizer sees an over-read */
        memcpy(exact + 1, cases[i].text, cases[i].n_bytes);
        assert_int_equal(qn_hex_read(exact + 1, cases[i].n_bytes, cases[i].max_digits, &value),
                         cases[i].n_read);
        assert_int_equal(value, cases[i].value);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_halfs),
        cmocka_unit_test(rounding_to_half),
        cmocka_unit_test(known_halfs),
        cmocka_unit_test(all_bfloats),
        cmocka_unit_test(a_draw_depends_on_its_place_alone),
        cmocka_unit_test(draws_are_uniform),
        cmocka_unit_test(seeds_from_the_system_differ),
        cmocka_unit_test(hexadecimal_digits),
        cmocka_unit_test(hexadecimal_numbers),
    };
    return cmocka_run_group_tests_name("base numbers", tests, NULL, NULL);
}
