/* number_test.c: 16-bit floats over all their values, and random numbers. */
#include "base_test.h"

#include "base/float16.h"
#include "base/random.h"

#include <float.h>
#include <math.h>

/* The value by its definition: sign * mantissa * 2^exponent. */
static double f16_by_definition(uint16_t h)
{
    const int exponent = h >> 10 & 31, mantissa = h & 0x3ff;
    const double sign = h & 0x8000 ? -1.0 : 1.0;
    if (exponent == 31) return mantissa ? (double)NAN : sign * (double)INFINITY;
    return exponent == 0 ? sign * ldexp(mantissa, -24) : sign * ldexp(1024 + mantissa, exponent - 25);
}

static void every_half_is_exact_and_comes_back(void **state)
{
    (void)state;
    for (uint32_t i = 0; i <= 0xffff; i++) {
        const uint16_t h = (uint16_t)i;
        const double want = f16_by_definition(h);
        const float got = qn_f16_to_f32(h);
        if (isnan(want)) {
            if (!isnan(got) || !isnan(qn_f16_to_f32(qn_f32_to_f16(got)))) fail_msg("0x%04x is a NaN", h);
        } else if ((double)got != want || (signbit(got) != 0) != (h >> 15 != 0) || qn_f32_to_f16(got) != h) {
            fail_msg("0x%04x", h);
        }
    }
}

static void rounding_to_half_is_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 0x7c00; i++) { /* every two neighbours, and what lies between them */
        const float low = qn_f16_to_f32((uint16_t)i);
        const float high = i == 0x7bff ? 65536.0f : qn_f16_to_f32((uint16_t)(i + 1));
        const float middle = (low + high) / 2; /* exact in float32 */
        const uint16_t even = (uint16_t)(i & 1 ? i + 1 : i);
        if (qn_f32_to_f16(middle) != even || qn_f32_to_f16(nextafterf(middle, 0.0f)) != i ||
            qn_f32_to_f16(nextafterf(middle, INFINITY)) != i + 1 || qn_f32_to_f16(-middle) != (even | 0x8000))
            fail_msg("between 0x%04x and the next", i);
    }
    assert_int_equal(qn_f32_to_f16(FLT_MAX), 0x7c00);
    assert_int_equal(qn_f32_to_f16(-FLT_MIN), 0x8000);
    assert_int_equal(qn_f32_to_f16(-INFINITY), 0xfc00);
    assert_true(isnan(qn_f16_to_f32(qn_f32_to_f16(NAN))));
}

static void bfloat16_keeps_the_upper_half(void **state)
{
    (void)state;
    for (uint32_t i = 0; i <= 0xffff; i++) {
        const float f = qn_bf16_to_f32((uint16_t)i);
        if (isnan(f)) {
            if (!isnan(qn_bf16_to_f32(qn_f32_to_bf16(f)))) fail_msg("0x%04x is a NaN", i);
        } else if (qn_f32_to_bf16(f) != i) {
            fail_msg("0x%04x", i);
        }
    }
    assert_int_equal(qn_f32_to_bf16(qn_f32_from_bits(0x3f808000)), 0x3f80); /* a tie goes to the even one */
    assert_int_equal(qn_f32_to_bf16(qn_f32_from_bits(0x3f818000)), 0x3f82);
    assert_int_equal(qn_f32_to_bf16(qn_f32_from_bits(0x3f808001)), 0x3f81);
    assert_int_equal(qn_f32_to_bf16(FLT_MAX), 0x7f80);
    assert_true(isnan(qn_bf16_to_f32(qn_f32_to_bf16(qn_f32_from_bits(0x7f800001))))); /* payload in the lower half only */
}

static void random_numbers_depend_on_seed_stream_and_counter_alone(void **state)
{
    (void)state;
    qn_random a = {.seed = 1, .stream = 2}, b = {.seed = 1, .stream = 2}, c = {.seed = 1, .stream = 3}, d = {.seed = 2, .stream = 2};
    int equal = 0;
    for (int i = 0; i < 1000; i++) {
        const uint64_t x = qn_random_u64(&a);
        assert_true(x == qn_random_u64(&b));
        equal += (x == qn_random_u64(&c)) + (x == qn_random_u64(&d));
    }
    assert_int_equal(equal, 0);
    qn_random late = {.seed = 1, .stream = 2, .counter = 999};
    b.counter = 999;
    assert_true(qn_random_u64(&late) == qn_random_u64(&b));
}

static void units_are_uniform_in_their_interval(void **state)
{
    (void)state;
    enum { N = 100000, BINS = 50 };
    qn_random r = {.seed = 42};
    int bins[BINS] = {0};
    double sum = 0;
    for (int i = 0; i < N; i++) {
        const double u = qn_random_unit(&r);
        assert_true(u >= 0.0 && u < 1.0);
        bins[(int)(u * BINS)]++;
        sum += u;
    }
    double chi2 = 0;
    for (int i = 0; i < BINS; i++) {
        const double expected = (double)N / BINS;
        chi2 += (bins[i] - expected) * (bins[i] - expected) / expected;
    }
    assert_true(chi2 < 95.0); /* 49 degrees of freedom: p < 1e-4 above it */
    assert_true(fabs(sum / N - 0.5) < 0.005);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_is_exact_and_comes_back),
        cmocka_unit_test(rounding_to_half_is_to_nearest_even),
        cmocka_unit_test(bfloat16_keeps_the_upper_half),
        cmocka_unit_test(random_numbers_depend_on_seed_stream_and_counter_alone),
        cmocka_unit_test(units_are_uniform_in_their_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
