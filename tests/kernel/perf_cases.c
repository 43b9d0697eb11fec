/* perf_cases.c: small fixed pieces of work for bench/perfcheck.py, which counts their instructions.
 *
 *     perf_cases               lists the names
 *     perf_cases NAME TIMES    does that piece so many times over, on one thread
 *
 * Contents do not matter, so there are no random numbers in the kernels' inputs; shapes are those of small
 * models. A piece touches all that it needs before the first time, so that two counts differ by the work. */
#include "kernel/kernel.h"
#include "quern.h"
#include "support/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 64, COLUMNS = 1024, MANY = 16, DEPTH = 256, GENERATED = 8 };

typedef struct perf_case {
    const char *name;
    void (*run)(const struct perf_case *c, long times);
    qn_tensor_type type;
    size_t n_tokens;
} perf_case;

static void fail(const char *what)
{
    fprintf(stderr, "perf_cases: %s\n", what);
    exit(1);
}

static const qn_kernels *kernels(void)
{
    const qn_kernels *k;
    quern_error err;
    if (qn_kernels_choose(&k, &err) != QUERN_OK) fail(err.message);
    return k;
}

static void *zeroed(size_t n_bytes)
{
    void *p = aligned_alloc(64, (n_bytes + 63) / 64 * 64);
    if (p == NULL) fail("out of memory");
    return memset(p, 0, n_bytes);
}

static float *wave(size_t n)
{
    float *x = zeroed(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)((i * 37) % 101) / 50.0f - 1.0f;
    return x;
}

static void run_matmul(const perf_case *c, long times)
{
    const qn_kernels *k = kernels();
    const qn_act_format format = qn_matrix_act_format(c->type);
    const size_t row_bytes = qn_act_row_bytes(format, COLUMNS);
    const qn_matrix w = {c->type, ROWS, COLUMNS, zeroed(ROWS / 16 * qn_matrix_panel_bytes(c->type, COLUMNS)),
                         qn_matrix_panel_bytes(c->type, COLUMNS)};
    char *act = zeroed(c->n_tokens * row_bytes);
    const float *x = wave(COLUMNS);
    for (size_t t = 0; t < c->n_tokens; t++) k->act_row[format](act + t * row_bytes, x, COLUMNS);
    const qn_matmul m = {
        .w = &w, .act = act, .y = zeroed(c->n_tokens * ROWS * sizeof(float)), .y_stride = ROWS};
    while (times-- > 0) k->matmul[c->type](&m, 0, ROWS / 16, 0, c->n_tokens);
}

static void run_act_row(const perf_case *c, long times)
{
    const qn_act_format format = qn_matrix_act_format(c->type);
    const float *x = wave(COLUMNS);
    void *act = zeroed(qn_act_row_bytes(format, COLUMNS));
    while (times-- > 0) kernels()->act_row[format](act, x, COLUMNS);
}

static void run_rms_norm(const perf_case *c, long times)
{
    (void)c;
    float *x = wave(COLUMNS), *weight = wave(COLUMNS), *y = zeroed(COLUMNS * sizeof *y);
    while (times-- > 0) kernels()->rms_norm(y, x, weight, COLUMNS, 1e-6f);
}

static void run_silu_mul(const perf_case *c, long times)
{
    (void)c;
    float *gate = wave(COLUMNS), *up = wave(COLUMNS), *y = zeroed(COLUMNS * sizeof *y);
    while (times-- > 0) kernels()->silu_mul(y, gate, up, COLUMNS);
}

static void run_gelu_mul(const perf_case *c, long times)
{
    (void)c;
    float *gate = wave(COLUMNS), *up = wave(COLUMNS), *y = zeroed(COLUMNS * sizeof *y);
    while (times-- > 0) kernels()->gelu_mul(y, gate, up, COLUMNS);
}

static void run_softmax(const perf_case *c, long times)
{
    (void)c;
    float *x = wave(COLUMNS);
    while (times-- > 0) kernels()->softmax(x, COLUMNS);
}

static void run_rope(const perf_case *c, long times)
{
    (void)c;
    float *x = wave(COLUMNS), *cos_sin = wave(64);
    while (times-- > 0) kernels()->rope(x, COLUMNS / 64, 64, 64, true, cos_sin);
}

/* A whole model of 256 dimensions: attention and everything between. */
static quern_context *tiny_context(void)
{
    static char path[] = "/tmp/quern_perf_XXXXXX";
    const int fd = mkstemp(path);
    if (fd < 0) fail("cannot make a temporary file");
    close(fd);
    if (!tiny_model_write(path, &(tiny_model){.type = QN_TYPE_Q4_K, .seed = 1})) fail("cannot write a model");
    quern_model_params model_params = quern_model_params_default();
    model_params.n_threads = 1;
    quern_context_params params = quern_context_params_default();
    params.n_threads = 1, params.n_ctx = DEPTH + GENERATED, params.n_batch = DEPTH;
    quern_error err;
    quern_model *model;
    quern_context *ctx = NULL;
    if (quern_model_open(&model, path, &model_params, &err) != QUERN_OK ||
        quern_context_create(&ctx, model, &params, &err) != QUERN_OK)
        fail(err.message);
    unlink(path);
    return ctx;
}

static void decode(quern_context *ctx, size_t position, size_t n)
{
    quern_token tokens[DEPTH];
    quern_error err;
    for (size_t i = 0; i < n; i++) tokens[i] = (quern_token)(3 + (position + i) * 7 % 256);
    const quern_input input = {.tokens = tokens, .n_tokens = n, .logits = QUERN_LOGITS_LAST};
    if (quern_decode(ctx, &input, 1, &err) != QUERN_OK) fail(err.message);
}

static void run_prompt(const perf_case *c, long times)
{
    (void)c;
    quern_context *ctx = tiny_context();
    while (times-- > 0) {
        quern_sequence_truncate(ctx, 0, 0);
        decode(ctx, 0, DEPTH);
    }
}

static void run_generation(const perf_case *c, long times)
{
    (void)c;
    quern_context *ctx = tiny_context();
    decode(ctx, 0, DEPTH);
    while (times-- > 0) {
        quern_sequence_truncate(ctx, 0, DEPTH);
        for (size_t i = 0; i < GENERATED; i++) decode(ctx, DEPTH + i, 1);
    }
}

#define MATMUL(type)                                                                                         \
    {"matmul " #type ", 1 token", run_matmul, QN_TYPE_##type, 1},                                            \
    {                                                                                                        \
        "matmul " #type ", 16 tokens", run_matmul, QN_TYPE_##type, MANY                                      \
    }

static const perf_case cases[] = {
    MATMUL(Q4_0),
    MATMUL(Q4_1),
    MATMUL(Q5_0),
    MATMUL(Q8_0),
    MATMUL(IQ4_NL),
    MATMUL(MXFP4),
    MATMUL(Q2_K),
    MATMUL(Q3_K),
    MATMUL(Q4_K),
    MATMUL(Q5_K),
    MATMUL(Q6_K),
    MATMUL(IQ4_XS),
    MATMUL(IQ2_XXS),
    MATMUL(F32),
    MATMUL(F16),
    MATMUL(BF16),
    {"activations by 32", run_act_row, QN_TYPE_Q4_0, 1},
    {"activations by 256", run_act_row, QN_TYPE_Q4_K, 1},
    {"rms_norm", run_rms_norm, QN_TYPE_F32, 1},
    {"silu_mul", run_silu_mul, QN_TYPE_F32, 1},
    {"gelu_mul", run_gelu_mul, QN_TYPE_F32, 1},
    {"softmax", run_softmax, QN_TYPE_F32, 1},
    {"rope", run_rope, QN_TYPE_F32, 1},
    {"model, prompt of 256", run_prompt, QN_TYPE_Q4_K, 1},
    {"model, 8 tokens after 256", run_generation, QN_TYPE_Q4_K, 1},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (argc != 3) puts(cases[i].name);
        else if (strcmp(argv[1], cases[i].name) == 0) return cases[i].run(&cases[i], atol(argv[2])), 0;
    }
    return argc == 1 ? 0 : 2;
}
