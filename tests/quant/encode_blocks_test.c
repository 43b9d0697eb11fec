/* encode_blocks_test.c: what the tests' own encoders and random blocks promise to other tests. */
#include "base/alloc.h"
#include "quant/decoders.h"
#include "support/encode_blocks.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

enum { N_VALUES = 4096 };

/* A normal distribution (Box and Muller 1958) of deviation 1. */
static void fill_gaussian(float *x, size_t n)
{
    qn_random random = {11, 3, 0};
    for (size_t i = 0; i < n; i++) {
        const double radius = sqrt(-2.0 * log(1.0 - qn_random_unit(&random)));
        x[i] = (float)(radius * cos(6.283185307179586 * qn_random_unit(&random)));
    }
}

static double round_trip_rmse(qn_tensor_type type, const float *x, float *out)
{
    const size_t n_bytes = qn_row_bytes(type, N_VALUES);
    char *blocks = qn_malloc(n_bytes + 1);
    assert_non_null(blocks);
    qn_test_encode(type, x, N_VALUES, blocks + 1);
    qn_decode_get(type)(blocks + 1, out, N_VALUES);
    qn_free(blocks);
    double sum = 0.0;
    for (int i = 0; i < N_VALUES; i++) sum += ((double)out[i] - x[i]) * ((double)out[i] - x[i]);
    return sqrt(sum / N_VALUES);
}

/* The limits are about a quarter above what encoders with a search reach on such values. */
static const struct {
    qn_tensor_type type;
    double rmse;
} limits[] = {
    {QN_TYPE_F32, 0.0},     {QN_TYPE_F16, 0.0003}, {QN_TYPE_BF16, 0.0021}, {QN_TYPE_Q4_0, 0.12},
    {QN_TYPE_Q4_1, 0.105},  {QN_TYPE_Q5_0, 0.06},  {QN_TYPE_Q5_1, 0.053},  {QN_TYPE_Q8_0, 0.007},
    {QN_TYPE_Q4_K, 0.105},  {QN_TYPE_Q5_K, 0.053}, {QN_TYPE_Q6_K, 0.025},  {QN_TYPE_IQ4_NL, 0.11},
    {QN_TYPE_IQ4_XS, 0.11},
};
enum { N_ENCODERS = sizeof limits / sizeof *limits };

static void encoded_values_come_back_nearly(void **state)
{
    (void)state;
    float *x = qn_malloc(N_VALUES * sizeof *x), *out = qn_malloc(N_VALUES * sizeof *out);
    assert_true(x != NULL && out != NULL);
    fill_gaussian(x, N_VALUES);
    for (size_t t = 0; t < N_ENCODERS; t++) {
        const double rmse = round_trip_rmse(limits[t].type, x, out);
        if (rmse > limits[t].rmse) fail_msg("%s: error %g", qn_tensor_type_get(limits[t].type)->name, rmse);
    }
    qn_free(x), qn_free(out);
}

/* Blocks of one value, of zeros, of one sign, and with values too small for a scale. */
static void degenerate_blocks(void **state)
{
    (void)state;
    float *x = qn_malloc(N_VALUES * sizeof *x), *out = qn_malloc(N_VALUES * sizeof *out);
    assert_true(x != NULL && out != NULL);
    for (size_t t = 0; t < N_ENCODERS; t++) {
        memset(x, 0, N_VALUES * sizeof *x);
        assert_true(round_trip_rmse(limits[t].type, x, out) == 0.0);
        for (int i = 0; i < N_VALUES; i++) x[i] = -3.0f;
        assert_true(round_trip_rmse(limits[t].type, x, out) < 0.1);
        for (int i = 0; i < N_VALUES; i++) x[i] = 5.0f + 0.5f * (float)(i % 32);
        assert_true(round_trip_rmse(limits[t].type, x, out) < 1.0);
        for (int i = 0; i < N_VALUES; i++) x[i] = i % 2 == 0 ? 1e-9f : -1e-12f;
        assert_true(round_trip_rmse(limits[t].type, x, out) < 1e-8);
    }
    qn_free(x), qn_free(out);
}

static void only_the_listed_types_can_be_encoded(void **state)
{
    (void)state;
    size_t n = 0;
    for (int type = 0; type < QN_TYPE_LIMIT; type++) n += qn_test_can_encode((qn_tensor_type)type);
    assert_int_equal(n, N_ENCODERS);
    for (size_t t = 0; t < N_ENCODERS; t++) assert_true(qn_test_can_encode(limits[t].type));
    assert_false(qn_test_can_encode(QN_TYPE_LIMIT));
}

/* Values stay within the limit, come near it, take both signs, and depend on the seed alone. */
static void check_random_blocks(qn_tensor_type type, float limit)
{
    const qn_tensor_type_info *info = qn_tensor_type_get(type);
    const size_t n_blocks = 8192 / info->block_values, n_bytes = n_blocks * info->block_bytes,
                 n_values = 8192;
    char *blocks = qn_malloc(n_bytes), *again = qn_malloc(n_bytes);
    float *out = qn_malloc(n_values * sizeof *out);
    assert_true(blocks != NULL && again != NULL && out != NULL);
    qn_test_random_blocks(type, blocks, n_blocks, limit, &(qn_random){5, type, 0});
    qn_test_random_blocks(type, again, n_blocks, limit, &(qn_random){5, type, 0});
    assert_memory_equal(blocks, again, n_bytes);
    qn_decode_get(type)(blocks, out, n_values);
    float low = 0.0f, high = 0.0f;
    for (size_t i = 0; i < n_values; i++) {
        if (!(fabsf(out[i]) <= limit))
            fail_msg("%s: value %g beyond %g", info->name, (double)out[i], (double)limit);
        low = fminf(low, out[i]), high = fmaxf(high, out[i]);
    }
    assert_true(low < -0.2f * limit && high > 0.2f * limit);
    qn_free(blocks), qn_free(again), qn_free(out);
}

static void random_blocks_keep_their_limit(void **state)
{
    (void)state;
#define X(type, decoder, block)                                                                              \
    for (float limit = 0.1f; limit < 2000.0f; limit *= 10.0f) check_random_blocks(QN_TYPE_##type, limit);
    QN_DECODER_MAP(X)
#undef X
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoded_values_come_back_nearly),
        cmocka_unit_test(degenerate_blocks),
        cmocka_unit_test(only_the_listed_types_can_be_encoded),
        cmocka_unit_test(random_blocks_keep_their_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
