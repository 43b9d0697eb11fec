/* cache_types_test.c: what the types of the cache lose, as the root mean square of the logits' differences
 * to those with an F32 cache, relative to the logits; and what they take. */
#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "base/random.h"
#include "quern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_TOKENS = 200, N_VOCAB = 320, N_LOGITS = N_TOKENS * N_VOCAB };

static char model_path[] = "/tmp/quern_cache_types_XXXXXX";

static void run(const quern_model *model, quern_kv_type type_k, quern_kv_type type_v, float *logits)
{
    quern_token tokens[N_TOKENS];
    qn_random r = {.seed = 3};
    for (size_t i = 0; i < N_TOKENS; i++) tokens[i] = (quern_token)(qn_random_u64(&r) % N_VOCAB);
    quern_context_params params = quern_context_params_default();
    params.n_ctx = params.n_outputs = N_TOKENS, params.n_threads = 2;
    params.type_k = type_k, params.type_v = type_v;
    quern_context *ctx;
    quern_error err = {0};
    if (quern_context_create(&ctx, model, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    const quern_input input = {.tokens = tokens, .n_tokens = N_TOKENS, .logits = QUERN_LOGITS_ALL};
    if (quern_decode(ctx, &input, 1, &err) != QUERN_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < N_TOKENS; i++)
        memcpy(logits + i * N_VOCAB, quern_logits(ctx, i), N_VOCAB * sizeof *logits);
    quern_context_destroy(ctx);
}

static double relative_rms(const float *truth, const float *x)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < N_LOGITS; i++) {
        difference += ((double)truth[i] - (double)x[i]) * ((double)truth[i] - (double)x[i]);
        size += (double)truth[i] * (double)truth[i];
    }
    return sqrt(difference / size);
}

/* The bounds are about twice what these models show. Random weights are the hardest case: 32 normal numbers
 * are off by 7.5 % in Q4_0 (root mean square), and nothing in the values outweighs that. */
static void losses_stay_within_their_bounds(void **state)
{
    (void)state;
    static const struct {
        quern_kv_type type_k, type_v;
        double bound;
    } cases[] = {{QUERN_KV_F16, QUERN_KV_F16, 1e-3},     {QUERN_KV_BF16, QUERN_KV_BF16, 8e-3},
                 {QUERN_KV_Q8_0, QUERN_KV_Q8_0, 2.5e-2}, {QUERN_KV_Q8_0, QUERN_KV_Q4_0, 0.3},
                 {QUERN_KV_Q4_0, QUERN_KV_Q8_0, 0.25},   {QUERN_KV_Q4_0, QUERN_KV_Q4_0, 0.4}};
    static const char *const families[] = {"llama", "gemma3"};
    static float truth[N_LOGITS], logits[N_LOGITS];
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
        quern_model *model;
        assert_true(tiny_model_write(model_path, &(tiny_model){.arch = families[f], .seed = 11}));
        assert_int_equal(quern_model_open(&model, model_path, NULL, NULL), QUERN_OK);
        run(model, QUERN_KV_F32, QUERN_KV_F32, truth);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            run(model, cases[i].type_k, cases[i].type_v, logits);
            const double loss = relative_rms(truth, logits);
            print_message("%s, cache %d/%d: %.2e of the logits\n", families[f], (int)cases[i].type_k,
                          (int)cases[i].type_v, loss);
            assert_true(loss > 0 && loss < cases[i].bound);
        }
        quern_model_close(model);
    }
}

/* Heads of 32: 64 positions take what their elements and scales take. */
static void sizes_are_those_of_elements_and_scales(void **state)
{
    (void)state;
    static const size_t head_bytes[] = {[QUERN_KV_F16] = 64,
                                        [QUERN_KV_F32] = 128,
                                        [QUERN_KV_Q8_0] = 32 + 4,
                                        [QUERN_KV_BF16] = 64,
                                        [QUERN_KV_Q4_0] = 16 + 2};
    quern_model *model;
    quern_model_info info;
    assert_true(tiny_model_write(model_path, &(tiny_model){0}));
    assert_int_equal(quern_model_open(&model, model_path, NULL, NULL), QUERN_OK);
    quern_model_get_info(model, &info);
    for (int k = QUERN_KV_F16; k <= QUERN_KV_Q4_0; k++) {
        for (int v = QUERN_KV_F16; v <= QUERN_KV_Q4_0; v++) {
            quern_context_params params = quern_context_params_default();
            quern_plan small, large;
            params.type_k = (quern_kv_type)k, params.type_v = (quern_kv_type)v;
            params.n_ctx = 64;
            assert_int_equal(quern_model_plan(model, &params, &small, NULL), QUERN_OK);
            params.n_ctx = 64 + 16 * 64; /* 16 more entries of the page table fill a line */
            assert_int_equal(quern_model_plan(model, &params, &large, NULL), QUERN_OK);
            const size_t page = 64 * info.n_layer * info.n_head_kv * (head_bytes[k] + head_bytes[v]);
            assert_in_range(large.kv_bytes - small.kv_bytes, 16 * page, 16 * page + 192);
        }
    }
    quern_context_params params = quern_context_params_default();
    quern_plan plan;
    params.type_v = (quern_kv_type)(QUERN_KV_Q4_0 + 1);
    assert_int_equal(quern_model_plan(model, &params, &plan, NULL), QUERN_ERR_ARGUMENT);
    quern_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(losses_stay_within_their_bounds),
                                       cmocka_unit_test(sizes_are_those_of_elements_and_scales)};
    const int fd = mkstemp(model_path);
    if (fd >= 0) close(fd);
    const int result = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(model_path);
    return result;
}
