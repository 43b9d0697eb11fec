/* same_bits_test.c: contract C4. The logits of a sequence are bitwise the same whatever the number of
 * threads, the size of the pieces in which the prompt comes, the pages it lies in, and the sequences
 * beside it: for each instruction set, cache type and family. */
#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "base/random.h"
#include "engine/model.h"
#include "quern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Past a chunk of attention and five pages; the last ROWS rows are compared. */
enum { N_TOKENS = 290, N_VOCAB = 320, ROWS = 40 };

static char model_path[] = "/tmp/quern_same_bits_XXXXXX";

static void fill_tokens(quern_token *tokens, size_t n, uint64_t seed)
{
    qn_random r = {.seed = seed};
    for (size_t i = 0; i < n; i++) tokens[i] = (quern_token)(qn_random_u64(&r) % N_VOCAB);
}

static quern_model *open_model(const tiny_model *m)
{
    quern_error err = {0};
    quern_model *model;
    assert_true(tiny_model_write(model_path, m));
    quern_model_params params = quern_model_params_default();
    params.n_threads = 2;
    if (quern_model_open(&model, model_path, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    return model;
}

static quern_context *open_context(const quern_model *model, int n_threads, uint32_t n_batch,
                                   uint32_t n_sequences, quern_kv_type kv)
{
    quern_context_params params = quern_context_params_default();
    params.n_ctx = N_TOKENS + 64, params.n_threads = n_threads, params.n_batch = n_batch,
    params.n_sequences = n_sequences;
    params.n_outputs = ROWS * n_sequences, params.type_k = params.type_v = kv;
    quern_error err = {0};
    quern_context *ctx;
    if (quern_context_create(&ctx, model, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    return ctx;
}

static void decode(quern_context *ctx, const quern_input *inputs, size_t n)
{
    quern_error err = {0};
    if (quern_decode(ctx, inputs, n, &err) != QUERN_OK) fail_msg("%s", err.message);
}

/* What the sampler is told of logits it need not read. */
static void check_greatest(const quern_context *ctx, size_t row, const float *logits)
{
    const float *known = qn_context_logit_max(ctx, row);
    for (size_t i = 0; i < N_VOCAB; i += QN_LOGIT_BLOCK) {
        float most = -INFINITY;
        for (size_t k = i; k < N_VOCAB && k < i + QN_LOGIT_BLOCK; k++) most = fmaxf(most, logits[k]);
        assert_true(known[i / QN_LOGIT_BLOCK] == most);
    }
}

/* Feeds all but the last ROWS tokens in calls of `piece`, then these likewise; rows: [ROWS][N_VOCAB]. */
static void feed(quern_context *ctx, uint32_t sequence, const quern_token *tokens, size_t piece, float *rows)
{
    for (size_t done = 0; done < N_TOKENS;) {
        const size_t border = done < N_TOKENS - ROWS ? N_TOKENS - ROWS : N_TOKENS;
        const size_t n = border - done < piece ? border - done : piece;
        const bool wanted = border == N_TOKENS;
        const quern_input input = {sequence, tokens + done, n, wanted ? QUERN_LOGITS_ALL : QUERN_LOGITS_NONE};
        decode(ctx, &input, 1);
        for (size_t i = 0; wanted && i < n; i++) {
            check_greatest(ctx, i, quern_logits(ctx, i));
            memcpy(rows + (done + i - (N_TOKENS - ROWS)) * N_VOCAB, quern_logits(ctx, i),
                   N_VOCAB * sizeof *rows);
        }
        done += n;
    }
}

static void check_splits(const quern_model *model, quern_kv_type kv, const char *what)
{
    static quern_token tokens[N_TOKENS], other[N_TOKENS];
    static float reference[ROWS * N_VOCAB], rows[ROWS * N_VOCAB];
    static const struct {
        int threads;
        uint32_t batch;
        size_t piece;
    } cases[] = {{1, 512, 1}, {2, 7, 512}, {2, 512, 7}, {3, 64, 64}, {4, 512, 512}, {4, 1, 512}};
    fill_tokens(tokens, N_TOKENS, 1), fill_tokens(other, N_TOKENS, 2);
    quern_context *ctx = open_context(model, 1, 512, 1, kv);
    feed(ctx, 0, tokens, 512, reference);
    assert_int_equal(quern_sequence_truncate(ctx, 0, 0), 0);
    feed(ctx, 0, other, 512, rows);
    assert_memory_not_equal(reference, rows, sizeof rows);
    quern_context_destroy(ctx);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ctx = open_context(model, cases[i].threads, cases[i].batch, 1, kv);
        feed(ctx, 0, tokens, cases[i].piece, rows);
        if (memcmp(reference, rows, sizeof rows) != 0)
            fail_msg("%s: %d threads, batch %u, pieces of %zu differ", what, cases[i].threads, cases[i].batch,
                     cases[i].piece);
        quern_context_destroy(ctx);
    }
}

/* Two and three sequences in the same calls, and pages used before by others. */
static void check_company(const quern_model *model, quern_kv_type kv, const char *what)
{
    static quern_token tokens[N_TOKENS], other[N_TOKENS];
    static float reference[ROWS * N_VOCAB], rows[ROWS * N_VOCAB];
    fill_tokens(tokens, N_TOKENS, 1), fill_tokens(other, N_TOKENS, 2);
    quern_context *ctx = open_context(model, 2, 512, 1, kv);
    feed(ctx, 0, tokens, 512, reference);
    quern_context_destroy(ctx);

    ctx = open_context(model, 2, 128, 3, kv);
    feed(ctx, 1, other, 100, rows); /* pages get used, given back, and taken by others */
    assert_int_equal(quern_sequence_truncate(ctx, 1, 0), 0);
    for (size_t done = 0; done < N_TOKENS;) {
        const size_t border = done < N_TOKENS - ROWS ? N_TOKENS - ROWS : N_TOKENS;
        const size_t n = border - done < 37 ? border - done : 37;
        const bool wanted = border == N_TOKENS;
        const quern_input inputs[3] = {{1, other + done, n, QUERN_LOGITS_LAST},
                                       {2, tokens + done, n, wanted ? QUERN_LOGITS_ALL : QUERN_LOGITS_NONE},
                                       {0, other + N_TOKENS - 1 - done, 1, QUERN_LOGITS_NONE}};
        decode(ctx, inputs, 3);
        for (size_t i = 0; wanted && i < n; i++)
            memcpy(rows + (done + i - (N_TOKENS - ROWS)) * N_VOCAB, quern_logits(ctx, 1 + i),
                   N_VOCAB * sizeof *rows);
        done += n;
    }
    if (memcmp(reference, rows, sizeof rows) != 0)
        fail_msg("%s: in company of other sequences differs", what);
    quern_context_destroy(ctx);
}

/* Cut back to a prefix and go on: the same as never having been further. */
static void check_truncate(const quern_model *model, quern_kv_type kv, const char *what)
{
    static quern_token tokens[N_TOKENS];
    static float reference[ROWS * N_VOCAB], rows[ROWS * N_VOCAB];
    fill_tokens(tokens, N_TOKENS, 1);
    quern_context *ctx = open_context(model, 2, 512, 1, kv);
    feed(ctx, 0, tokens, 512, reference);
    uint32_t kept = quern_sequence_truncate(ctx, 0, N_TOKENS - 3);
    assert_true(kept == N_TOKENS - 3 || kept == 0);
    const quern_input rest = {0, tokens + kept, N_TOKENS - kept, QUERN_LOGITS_LAST};
    decode(ctx, &rest, 1);
    memcpy(rows, quern_logits(ctx, 0), N_VOCAB * sizeof *rows);
    if (memcmp(reference + (ROWS - 1) * N_VOCAB, rows, N_VOCAB * sizeof *rows) != 0)
        fail_msg("%s: cut back and gone on differs", what);
    kept = quern_sequence_truncate(ctx, 0, 100); /* far behind any window */
    assert_true(kept == 100 || kept == 0);
    quern_context_destroy(ctx);
}

/* The scalar set is slow; what it shares with the others is held by instruction_sets_agree. */
static bool is_slow(const char *isa)
{
    return strcmp(isa, "scalar") == 0;
}

static void check(const tiny_model *m, quern_kv_type kv, const char *isa)
{
    char what[96];
    snprintf(what, sizeof what, "%s, %s, type %d, cache %d", isa, m->arch, (int)m->type, (int)kv);
    quern_model *model = open_model(m);
    quern_model_info info;
    quern_model_get_info(model, &info);
    assert_string_equal(info.instruction_set, isa);
    check_splits(model, kv, what);
    check_company(model, kv, what);
    check_truncate(model, kv, what);
    quern_model_close(model);
}

static void with_instruction_set(const char *isa)
{
    setenv("QUERN_ISA", isa, 1);
    quern_model *probe;
    quern_error err = {0};
    assert_true(tiny_model_write(model_path, &(tiny_model){0}));
    if (quern_model_open(&probe, model_path, NULL, &err) != QUERN_OK) {
        printf("skipped: %s\n", err.message);
        unsetenv("QUERN_ISA");
        return;
    }
    quern_model_close(probe);
    check(&(tiny_model){.arch = "llama", .type = QN_TYPE_Q4_K, .seed = 1, .n_layer = 1}, QUERN_KV_F16, isa);
    if (is_slow(isa)) {
        unsetenv("QUERN_ISA");
        return;
    }
    check(&(tiny_model){.arch = "gemma3", .type = QN_TYPE_Q8_0, .seed = 2, .n_layer = 6}, QUERN_KV_F16, isa);
    check(&(tiny_model){.arch = "gemma2", .type = QN_TYPE_F16, .seed = 3}, QUERN_KV_F32, isa);
    check(&(tiny_model){.arch = "qwen3moe", .type = QN_TYPE_Q5_0, .seed = 4, .n_expert = 6, .n_layer = 1},
          QUERN_KV_Q8_0, isa);
    check(&(tiny_model){.arch = "gemma2", .type = QN_TYPE_Q4_0, .seed = 5}, QUERN_KV_BF16, isa);
    check(&(tiny_model){.arch = "llama", .type = QN_TYPE_Q4_1, .seed = 7, .n_layer = 1}, QUERN_KV_Q4_0, isa);
    check(&(tiny_model){.arch = "llama", .type = QN_TYPE_Q2_K, .seed = 6, .n_layer = 1}, QUERN_KV_F16, isa);
    unsetenv("QUERN_ISA");
}

static void scalar(void **state)
{
    (void)state;
    with_instruction_set("scalar");
}
static void avx2(void **state)
{
    (void)state;
    with_instruction_set("avx2");
}
static void avx512(void **state)
{
    (void)state;
    with_instruction_set("avx512");
}
static void amx(void **state)
{
    (void)state;
    with_instruction_set("amx");
}
static void neon(void **state)
{
    (void)state;
    with_instruction_set("neon");
}

/* Weights and cache of a model. */
typedef struct agreement {
    qn_tensor_type type;
    quern_kv_type kv;
} agreement;

/* Whole models give the same bits on every instruction set: they are one definition. */
static void instruction_sets_agree(void **state)
{
    (void)state;
    static const char *const sets[] = {"scalar", "avx2", "avx512", "amx", "neon"};
    static quern_token tokens[N_TOKENS];
    static float reference[ROWS * N_VOCAB], rows[ROWS * N_VOCAB];
    fill_tokens(tokens, N_TOKENS, 1);
#if defined(__SANITIZE_THREAD__)
    /* threads share all types alike */
    static const agreement cases[] = {{QN_TYPE_Q4_K, QUERN_KV_F16}, {QN_TYPE_IQ3_S, QUERN_KV_Q4_0}};
#else
    static const agreement cases[] = {
        {QN_TYPE_F32, QUERN_KV_F16},   {QN_TYPE_F32, QUERN_KV_BF16},   {QN_TYPE_BF16, QUERN_KV_Q8_0},
        {QN_TYPE_Q4_0, QUERN_KV_Q4_0}, {QN_TYPE_Q4_1, QUERN_KV_F16},   {QN_TYPE_Q5_1, QUERN_KV_F16},
        {QN_TYPE_Q4_K, QUERN_KV_F16},  {QN_TYPE_Q5_K, QUERN_KV_F16},   {QN_TYPE_IQ4_XS, QUERN_KV_F16},
        {QN_TYPE_IQ3_S, QUERN_KV_F16}, {QN_TYPE_IQ4_NL, QUERN_KV_F16}, {QN_TYPE_MXFP4, QUERN_KV_F16}};
#endif
    for (size_t t = 0; t < sizeof cases / sizeof cases[0]; t++) {
        const tiny_model m = {.arch = "gemma2", .type = cases[t].type, .seed = 9};
        assert_true(tiny_model_write(model_path, &m));
        bool have_reference = false;
        for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
            quern_model *model;
            setenv("QUERN_ISA", sets[i], 1);
            if (quern_model_open(&model, model_path, NULL, NULL) != QUERN_OK)
                continue; /* not on this machine */
            quern_context *ctx = open_context(model, 2, 512, 1, cases[t].kv);
            feed(ctx, 0, tokens, 512, have_reference ? rows : reference);
            if (have_reference && memcmp(reference, rows, sizeof rows) != 0)
                fail_msg("%s differs from scalar with %s, cache %d", sets[i],
                         qn_tensor_type_get((uint32_t)cases[t].type)->name, (int)cases[t].kv);
            have_reference = true;
            quern_context_destroy(ctx);
            quern_model_close(model);
        }
        unsetenv("QUERN_ISA");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(scalar), cmocka_unit_test(avx2),
                                       cmocka_unit_test(avx512), cmocka_unit_test(amx),
                                       cmocka_unit_test(neon),   cmocka_unit_test(instruction_sets_agree)};
    const int fd = mkstemp(model_path);
    if (fd >= 0) close(fd);
    const int result = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(model_path);
    return result;
}
