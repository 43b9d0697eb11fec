/* measure_test.c: profiles count what ran, and the machine's limits are numbers. */
#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "quern.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static quern_context *open_context(const tiny_model *m, quern_model **model)
{
    const quern_model_params params = quern_model_params_default();
    quern_context_params context = quern_context_params_default();
    quern_context *ctx;
    context.n_ctx = 512, context.n_batch = 128; /* so 300 tokens are three steps */
    context.n_threads = 2;
    assert_true(tiny_model_write(path, m));
    assert_int_equal(quern_model_open(model, path, &params, NULL), QUERN_OK);
    assert_int_equal(quern_context_create(&ctx, *model, &context, NULL), QUERN_OK);
    return ctx;
}

static void feed(quern_context *ctx, size_t n)
{
    quern_token tokens[300];
    for (size_t i = 0; i < n; i++) tokens[i] = (quern_token)(i % 200 + 5);
    const quern_input input = {.tokens = tokens, .n_tokens = n, .logits = QUERN_LOGITS_LAST};
    assert_int_equal(quern_decode(ctx, &input, 1, NULL), QUERN_OK);
}

static const quern_profile_row *row_of(const quern_profile *p, const char *instruction)
{
    for (size_t i = 0; i < p->n_rows; i++)
        if (strcmp(p->rows[i].instruction, instruction) == 0) return &p->rows[i];
    return NULL;
}

static void a_profile_counts_what_ran(void **state)
{
    (void)state;
    quern_model *model;
    quern_profile p;
    quern_model_info info;
    quern_context *ctx = open_context(&(tiny_model){.type = QN_TYPE_Q8_0}, &model);
    quern_model_get_info(model, &info);
    quern_context_profile_stop(ctx, &p); /* never started */
    assert_int_equal(p.n_rows, 0);
    feed(ctx, 4);
    assert_int_equal(quern_context_profile_start(ctx, NULL), QUERN_OK);
    feed(ctx, 1); /* position 4: five keys are seen */
    quern_context_profile_stop(ctx, &p);
    feed(ctx, 1);
    const quern_profile_row *attend = row_of(&p, "attend"), *output = row_of(&p, "output");
    assert_non_null(attend);
    assert_non_null(output);
    assert_int_equal(attend->calls, info.n_layer);
    assert_int_equal(attend->float_multiply_adds, info.n_layer * 5 * info.n_head * 2 * (256 / info.n_head));
    assert_int_equal(attend->kv_bytes, info.n_layer * 5 * info.n_head_kv * 2 * (256 / info.n_head) * 2);
    assert_int_equal(output->calls, 1);
    assert_int_equal(output->int8_multiply_adds, info.n_vocab * info.n_embd);
    uint64_t bytes = 0, products = 0;
    for (size_t i = 0; i < p.n_rows; i++) {
        bytes += p.rows[i].weight_bytes;
        products += p.rows[i].int8_multiply_adds;
    }
    assert_in_range(bytes, info.weight_bytes / 2, info.weight_bytes * 3 / 2);
    assert_in_range(products, 1, info.n_parameters);
    quern_context_destroy(ctx);
    quern_model_close(model);
}

/* 300 tokens make three passes over the weights: the later ones of 128 and 44 tokens count again. */
static void passes_over_the_weights_are_counted(void **state)
{
    (void)state;
    quern_model *model;
    quern_profile one, many;
    quern_context *ctx = open_context(&(tiny_model){.type = QN_TYPE_Q8_0}, &model);
    assert_int_equal(quern_context_profile_start(ctx, NULL), QUERN_OK);
    feed(ctx, 1);
    quern_context_profile_stop(ctx, &one);
    quern_sequence_truncate(ctx, 0, 0);
    assert_int_equal(quern_context_profile_start(ctx, NULL), QUERN_OK);
    feed(ctx, 300);
    quern_context_profile_stop(ctx, &many);
    assert_int_equal(row_of(&many, "matmul")->weight_bytes, 3 * row_of(&one, "matmul")->weight_bytes);
    assert_int_equal(row_of(&many, "matmul")->int8_multiply_adds,
                     300 * row_of(&one, "matmul")->int8_multiply_adds);
    assert_int_equal(row_of(&many, "attend")->float_multiply_adds /
                         row_of(&one, "attend")->float_multiply_adds,
                     300 * 301 / 2);
    quern_context_destroy(ctx);
    quern_model_close(model);
}

static void experts_count_only_where_they_are_used(void **state)
{
    (void)state;
    quern_model *model;
    quern_profile p;
    quern_context *ctx = open_context(&(tiny_model){.arch = "qwen3moe", .n_expert = 8}, &model);
    assert_int_equal(quern_context_profile_start(ctx, NULL), QUERN_OK);
    feed(ctx, 1);
    quern_context_profile_stop(ctx, &p);
    uint64_t expert_bytes = 0, matrix_bytes = 0;
    for (size_t i = 0; i < p.n_rows; i++)
        if (strncmp(p.rows[i].instruction, "expert", 6) == 0) expert_bytes += p.rows[i].weight_bytes;
    quern_tensor_info t;
    for (size_t i = 0; quern_model_tensor(model, i, &t); i++)
        if (strstr(t.name, "_exps.weight") != NULL) matrix_bytes += t.n_bytes;
    assert_int_equal(expert_bytes, matrix_bytes / 4); /* 2 of 8 */
    quern_context_destroy(ctx);
    quern_model_close(model);
}

static void limits_are_measured(void **state)
{
    (void)state;
    quern_limits limits;
    assert_int_equal(quern_measure_limits(2, 1 << 22, &limits, NULL), QUERN_OK);
    assert_int_equal(limits.n_threads, 2);
    assert_int_equal(limits.read_bytes, 1 << 22);
    for (int i = 0; i < 2; i++)
        assert_true(limits.bytes_per_s[i] > 0 && limits.int8_ops_per_s[i] > 0 &&
                    limits.float_ops_per_s[i] > 0);
    assert_true(limits.barrier_s > 0 && limits.barrier_s < 1);
    assert_int_equal(quern_measure_limits(1, 1, &limits, NULL), QUERN_OK); /* rounded up */
    quern_error err;
    assert_int_equal(quern_measure_limits(100000, 0, &limits, &err), QUERN_ERR_ARGUMENT);
    assert_int_equal(quern_measure_limits(1, UINT64_MAX, &limits, &err), QUERN_ERR_ARGUMENT);
    assert_int_equal(quern_measure_limits(1, (uint64_t)1 << 60, &limits, &err), QUERN_ERR_NOMEM);
}

int main(void)
{
    snprintf(path, sizeof path, "/tmp/quern_measure_%ld.gguf", (long)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_profile_counts_what_ran),
        cmocka_unit_test(passes_over_the_weights_are_counted),
        cmocka_unit_test(experts_count_only_where_they_are_used),
        cmocka_unit_test(limits_are_measured),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
