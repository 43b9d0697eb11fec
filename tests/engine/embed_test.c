/* embed_test.c: texts to vectors and scores. Each result is bitwise the one that the text gets alone
 * (contract C4), for every family that sees texts both ways and for one that does not; poolings are what they
 * say; and what cannot be done is refused. */
#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "base/alloc.h"
#include "base/random.h"
#include "model/architecture.h"
#include "quern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_EMBD = 256, N_VOCAB = 320, N_CTX = 320, N_TEXTS = 9 };

static char model_path[] = "/tmp/quern_embed_XXXXXX";
/* Around pages of 64, tiles of 16, chunks of 256, and few tokens, which take another way through products. */
static const size_t lengths[N_TEXTS] = {1, 2, 7, 64, 65, 9, 270, 16, 3};
static quern_token tokens_of[N_TEXTS][N_CTX];
static quern_embed_text texts[N_TEXTS];

static int make_texts(void **state)
{
    (void)state;
    qn_random r = {.seed = 7};
    for (size_t i = 0; i < N_TEXTS; i++) {
        for (size_t k = 0; k < N_CTX; k++) tokens_of[i][k] = (quern_token)(qn_random_u64(&r) % N_VOCAB);
        texts[i] = (quern_embed_text){tokens_of[i], lengths[i]};
    }
    const int file = mkstemp(model_path);
    return file >= 0 ? close(file) : -1;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(model_path);
}

static quern_model *open_model(const tiny_model *m)
{
    quern_error err = {0};
    quern_model *model;
    tiny_model with_size = *m;
    if (with_size.n_ctx == 0) with_size.n_ctx = N_CTX;
    assert_true(tiny_model_write(model_path, &with_size));
    quern_model_params params = quern_model_params_default();
    params.n_threads = 1;
    if (quern_model_open(&model, model_path, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    return model;
}

static quern_context *open_context(const quern_model *model, int n_threads, uint32_t n_sequences,
                                   uint32_t n_batch)
{
    quern_error err = {0};
    quern_context *ctx;
    quern_context_params params = quern_context_params_default();
    params.n_ctx = N_CTX, params.n_threads = n_threads, params.n_sequences = n_sequences;
    params.n_batch = n_batch;
    if (quern_context_create(&ctx, model, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    return ctx;
}

static size_t size_of(const quern_model *model, const quern_embed_text *t, size_t n, quern_pooling pooling)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += quern_embed_size(model, pooling, t[i].n_tokens);
    return sum;
}

/* free() the result. */
static float *embed(quern_context *ctx, const quern_embed_text *t, size_t n, quern_embed_params params)
{
    quern_error err = {0};
    const size_t size = size_of(quern_context_model(ctx), t, n, params.pooling);
    float *out = malloc((size + 1) * sizeof *out);
    out[size] = 1234.5f;
    if (quern_embed(ctx, t, n, &params, out, size, &err) != QUERN_OK) fail_msg("%s", err.message);
    assert_true(out[size] == 1234.5f);
    return out;
}

static quern_embed_params with(quern_pooling pooling)
{
    quern_embed_params params = quern_embed_params_default();
    params.pooling = pooling;
    return params;
}

/* ---- the same bits ---- */

/* All texts, each alone, on one thread. */
static float *one_by_one(const quern_model *model, quern_pooling pooling)
{
    quern_context *ctx = open_context(model, 1, 1, 512);
    float *all = malloc(size_of(model, texts, N_TEXTS, pooling) * sizeof *all), *at = all;
    for (size_t i = 0; i < N_TEXTS; i++) {
        const size_t size = size_of(model, &texts[i], 1, pooling);
        float *one = embed(ctx, &texts[i], 1, with(pooling));
        memcpy(at, one, size * sizeof *one);
        at += size;
        free(one);
    }
    quern_context_destroy(ctx);
    return all;
}

static void check_company(const quern_model *model, const char *what, quern_pooling pooling)
{
    static const struct {
        int threads;
        uint32_t sequences, batch;
    } cases[] = {{3, 4, 77}, {1, N_TEXTS, 2048}, {2, N_TEXTS, 13}, {2, 2, 512}};
    float *alone = one_by_one(model, pooling);
    const size_t n =
        pooling == QUERN_POOLING_NONE ? sizeof cases / sizeof cases[0] : 1; /* what all are made of */
    for (size_t i = 0; i < n; i++) {
        quern_context *ctx = open_context(model, cases[i].threads, cases[i].sequences, cases[i].batch);
        for (int again = 0; again < (i == 0 ? 2 : 1); again++) { /* in pages that others have had */
            float *together = embed(ctx, texts, N_TEXTS, with(pooling));
            if (memcmp(alone, together, size_of(model, texts, N_TEXTS, pooling) * sizeof *alone) != 0)
                fail_msg("%s, pooling %d: %d threads, %u sequences, batch %u differ", what, (int)pooling,
                         cases[i].threads, cases[i].sequences, cases[i].batch);
            free(together);
        }
        quern_context_destroy(ctx);
    }
    free(alone);
}

static void company_changes_no_bit(void **state)
{
    (void)state;
    static const tiny_model models[] = {
        {.arch = "bert", .seed = 1, .n_scores = 1},
        {.arch = "bert", .seed = 2, .type = QN_TYPE_Q8_0, .together = true, .n_scores = 3},
        {.arch = "jina-bert-v2", .seed = 3, .more_norms = true, .n_scores = 1},
        {.arch = "jina-bert-v2", .seed = 4, .type = QN_TYPE_Q4_K, .together = true, .n_scores = 1},
        {.arch = "nomic-bert", .seed = 5, .type = QN_TYPE_F16, .n_scores = 1},
        {.arch = "nomic-bert-moe", .seed = 6, .n_expert = 6, .type = QN_TYPE_Q8_0, .n_scores = 1},
        {.arch = "qwen3", .seed = 7, .n_scores = 2},
        {.arch = "gemma3", .seed = 8, .n_scores = 1},
        {.arch = "qwen2", .seed = 9, .type = QN_TYPE_Q8_0, .both_ways = true, .n_scores = 1}};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        quern_model *model = open_model(&models[i]);
        check_company(model, models[i].arch, QUERN_POOLING_NONE);
        for (quern_pooling p = QUERN_POOLING_MEAN; p <= QUERN_POOLING_RANK && i % 6 == 0; p++)
            check_company(model, models[i].arch, p); /* of an encoder and of another */
        quern_model_close(model);
    }
}

/* The last rows of logits are made of the same hidden states, so a model's generation is not touched. */
static void embedding_leaves_generation_alone(void **state)
{
    (void)state;
    quern_model *model = open_model(&(tiny_model){.seed = 11});
    quern_context *ctx = open_context(model, 2, 2, 64);
    const quern_input input = {.tokens = tokens_of[3], .n_tokens = 64, .logits = QUERN_LOGITS_LAST};
    quern_error err = {0};
    float before[N_VOCAB];
    assert_int_equal(quern_decode(ctx, &input, 1, &err), QUERN_OK);
    memcpy(before, quern_logits(ctx, 0), sizeof before);
    free(embed(ctx, texts, N_TEXTS, with(QUERN_POOLING_LAST)));
    assert_null(quern_logits(ctx, 0));
    assert_int_equal(quern_sequence_length(ctx, 0), 0);
    assert_int_equal(quern_decode(ctx, &input, 1, &err), QUERN_OK);
    assert_memory_equal(before, quern_logits(ctx, 0), sizeof before);
    quern_context_destroy(ctx);
    quern_model_close(model);
}

/* Tensors that hold several matrices are these matrices. */
static void tensors_may_be_together(void **state)
{
    (void)state;
    static const qn_tensor_type types[] = {QN_TYPE_F32, QN_TYPE_Q8_0, QN_TYPE_F16};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        tiny_model m = {.arch = "jina-bert-v2", .seed = 21, .type = types[i]};
        float *result[2];
        for (int together = 0; together < 2; together++) {
            m.together = together;
            quern_model *model = open_model(&m);
            quern_context *ctx = open_context(model, 1, 1, 512);
            result[together] = embed(ctx, &texts[4], 1, with(QUERN_POOLING_MEAN));
            quern_context_destroy(ctx);
            quern_model_close(model);
        }
        assert_memory_equal(result[0], result[1], N_EMBD * sizeof(float));
        free(result[0]), free(result[1]);
    }
}

/* ---- what is seen ---- */

/* Whether another token at `changed` changes the hidden state at `at`. */
static bool touches(const quern_model *model, size_t changed, size_t at)
{
    quern_context *ctx = open_context(model, 1, 1, 512);
    quern_token other[64];
    memcpy(other, tokens_of[3], sizeof other);
    other[changed] = (other[changed] + 1) % N_VOCAB;
    float *before = embed(ctx, &texts[3], 1, with(QUERN_POOLING_NONE));
    float *after = embed(ctx, &(quern_embed_text){other, 64}, 1, with(QUERN_POOLING_NONE));
    const bool differs = memcmp(before + at * N_EMBD, after + at * N_EMBD, N_EMBD * sizeof *after) != 0;
    free(before), free(after);
    quern_context_destroy(ctx);
    return differs;
}

/* Whether the same tokens in another order have the same vectors in that order. */
static bool minds_order(const quern_model *model)
{
    quern_context *ctx = open_context(model, 1, 1, 512);
    const quern_token there[] = {5, 9, 30, 7}, swapped[] = {9, 5, 30, 7};
    float *a = embed(ctx, &(quern_embed_text){there, 4}, 1, with(QUERN_POOLING_NONE));
    float *b = embed(ctx, &(quern_embed_text){swapped, 4}, 1, with(QUERN_POOLING_NONE));
    double difference = 0;
    for (size_t i = 0; i < N_EMBD; i++) difference += fabs((double)a[i] - (double)b[N_EMBD + i]);
    free(a), free(b);
    quern_context_destroy(ctx);
    return difference / N_EMBD > 1e-3;
}

static void encoders_see_both_ways_and_positions(void **state)
{
    (void)state;
    static const tiny_model models[] = {{.arch = "bert", .seed = 31},
                                        {.arch = "jina-bert-v2", .seed = 32},
                                        {.arch = "nomic-bert", .seed = 33},
                                        {.arch = "qwen2", .seed = 34, .both_ways = true}};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        quern_model *model = open_model(&models[i]);
        assert_true(touches(model, 63, 0));
        assert_true(touches(model, 0, 63));
        assert_true(minds_order(model));
        quern_model_close(model);
    }
    quern_model *model = open_model(&(tiny_model){.arch = "qwen2", .seed = 34});
    assert_false(touches(model, 63, 62));
    assert_true(touches(model, 0, 63));
    quern_model_close(model);
}

/* ---- poolings ---- */

static double length_of_vector(const float *x)
{
    double squares = 0;
    for (size_t i = 0; i < N_EMBD; i++) squares += (double)x[i] * (double)x[i];
    return sqrt(squares);
}

static void check_poolings(quern_context *ctx, const quern_embed_text *t)
{
    float *none = embed(ctx, t, 1, with(QUERN_POOLING_NONE)),
          *cls = embed(ctx, t, 1, with(QUERN_POOLING_CLS)),
          *last = embed(ctx, t, 1, with(QUERN_POOLING_LAST)),
          *mean = embed(ctx, t, 1, with(QUERN_POOLING_MEAN));
    quern_embed_params params = with(QUERN_POOLING_MEAN);
    params.normalize = true;
    float *unit = embed(ctx, t, 1, params);
    params.pooling = QUERN_POOLING_NONE;
    float *units = embed(ctx, t, 1, params);
    const double length = length_of_vector(mean);
    assert_memory_equal(cls, none, N_EMBD * sizeof *cls);
    assert_memory_equal(last, none + (t->n_tokens - 1) * N_EMBD, N_EMBD * sizeof *last);
    for (size_t i = 0; i < N_EMBD; i++) {
        double sum = 0;
        for (size_t k = 0; k < t->n_tokens; k++) sum += (double)none[k * N_EMBD + i];
        assert_true(fabs(sum / (double)t->n_tokens - (double)mean[i]) < 1e-6);
        assert_true(fabs((double)mean[i] / length - (double)unit[i]) < 1e-6);
    }
    for (size_t k = 0; k < t->n_tokens; k++)
        assert_true(fabs(length_of_vector(units + k * N_EMBD) - 1) < 1e-5);
    free(none), free(cls), free(last), free(mean), free(unit), free(units);
}

static void poolings_are_what_they_say(void **state)
{
    (void)state;
    static const tiny_model models[] = {{.arch = "bert", .seed = 41}, {.arch = "llama", .seed = 42}};
    for (size_t i = 0; i < 2; i++) {
        quern_model *model = open_model(&models[i]);
        quern_context *ctx = open_context(model, 2, 1, 100);
        for (size_t k = 0; k < N_TEXTS; k++) check_poolings(ctx, &texts[k]);
        quern_context_destroy(ctx);
        quern_model_close(model);
    }
}

static void the_file_says_which_pooling(void **state)
{
    (void)state;
    static const struct {
        tiny_model model;
        quern_pooling pooling;
    } cases[] = {{{.arch = "bert"}, QUERN_POOLING_MEAN},
                 {{.arch = "llama"}, QUERN_POOLING_LAST},
                 {{.arch = "bert", .n_scores = 1}, QUERN_POOLING_RANK},
                 {{.arch = "bert", .has_pooling = true, .pooling = 0}, QUERN_POOLING_NONE},
                 {{.arch = "bert", .has_pooling = true, .pooling = 2, .n_scores = 1}, QUERN_POOLING_CLS},
                 {{.arch = "qwen3", .has_pooling = true, .pooling = 3}, QUERN_POOLING_LAST}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        quern_model *model = open_model(&cases[i].model);
        quern_context *ctx = open_context(model, 1, 1, 512);
        quern_model_info info;
        quern_model_get_info(model, &info);
        assert_int_equal(info.pooling, cases[i].pooling);
        assert_int_equal(info.n_scores, cases[i].model.n_scores);
        assert_int_equal(info.generates, strcmp(cases[i].model.arch, "bert") != 0);
        const size_t size = quern_embed_size(model, QUERN_POOLING_DEFAULT, 7);
        assert_int_equal(size, quern_embed_size(model, cases[i].pooling, 7));
        float *meant = embed(ctx, &texts[2], 1, with(QUERN_POOLING_DEFAULT)),
              *named = embed(ctx, &texts[2], 1, with(cases[i].pooling));
        assert_memory_equal(meant, named, size * sizeof *named);
        free(meant), free(named);
        quern_context_destroy(ctx);
        quern_model_close(model);
    }
}

/* ---- refusals ---- */

static void check_refused(quern_context *ctx, quern_embed_text text, quern_embed_params params, size_t n_out,
                          quern_status status, const char *reason)
{
    static float out[N_CTX * N_EMBD];
    quern_error err = {0};
    const quern_embed_text two[] = {texts[0], text}; /* the first is fine */
    out[0] = 77.0f;
    assert_int_equal(quern_embed(ctx, two, 2, &params, out, n_out, &err), status);
    if (strstr(err.message, reason) == NULL) fail_msg("'%s' does not tell: %s", err.message, reason);
    assert_true(out[0] == 77.0f); /* nothing was computed */
}

static void what_cannot_be_embedded_is_refused(void **state)
{
    (void)state;
    quern_model *model = open_model(&(tiny_model){.arch = "bert", .seed = 51, .n_ctx = 100});
    quern_context_params params = quern_context_params_default();
    quern_context *ctx;
    quern_error err = {0};
    params.n_ctx = 101;
    assert_int_equal(quern_context_create(&ctx, model, &params, &err), QUERN_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "table of 100"));
    params.n_ctx = 0, params.n_batch = 4;
    assert_int_equal(quern_context_create(&ctx, model, &params, &err), QUERN_OK);
    assert_int_equal(quern_context_size(ctx), 100);
    static quern_token bad[3] = {1, N_VOCAB, 1}, negative[2] = {-1, 1};
    const quern_embed_params mean = with(QUERN_POOLING_MEAN);
    check_refused(ctx, (quern_embed_text){bad, 0}, mean, 2 * N_EMBD, QUERN_ERR_ARGUMENT, "text 1: no tokens");
    check_refused(ctx, (quern_embed_text){bad, 3}, mean, 2 * N_EMBD, QUERN_ERR_ARGUMENT, "token 320 at 1");
    check_refused(ctx, (quern_embed_text){negative, 2}, mean, 2 * N_EMBD, QUERN_ERR_ARGUMENT,
                  "token -1 at 0");
    check_refused(ctx, texts[6], mean, 2 * N_EMBD, QUERN_ERR_CTX_FULL, "270 tokens do not fit");
    check_refused(ctx, texts[1], mean, 2 * N_EMBD - 1, QUERN_ERR_ARGUMENT, "room for 511");
    check_refused(ctx, texts[1], with((quern_pooling)6), 2 * N_EMBD, QUERN_ERR_ARGUMENT, "pooling 6");
    check_refused(ctx, texts[1], with(QUERN_POOLING_RANK), 2, QUERN_ERR_UNSUPPORTED, "cls.output.weight");
    assert_int_equal(quern_embed_size(model, QUERN_POOLING_RANK, 1), 0);
    assert_int_equal(quern_embed(ctx, NULL, 0, NULL, NULL, 0, &err), QUERN_OK);
    quern_context_destroy(ctx);
    quern_model_close(model);
}

static void a_long_text_is_cut_only_if_asked(void **state)
{
    (void)state;
    quern_model *model = open_model(&(tiny_model){.arch = "bert", .seed = 52, .n_ctx = 100});
    quern_context_params context = quern_context_params_default();
    context.n_threads = 1;
    quern_context *ctx;
    quern_error err = {0};
    assert_int_equal(quern_context_create(&ctx, model, &context, &err), QUERN_OK);
    quern_token cut[100];
    memcpy(cut, tokens_of[6], sizeof cut);
    cut[99] = tokens_of[6][269];
    quern_embed_params params = with(QUERN_POOLING_MEAN);
    float *expected = embed(ctx, &(quern_embed_text){cut, 100}, 1, params);
    params.truncate = true;
    float *got = embed(ctx, &texts[6], 1, params);
    assert_memory_equal(expected, got, N_EMBD * sizeof *got);
    free(expected), free(got);
    quern_context_destroy(ctx);
    quern_model_close(model);
}

/* A model that sees texts both ways does not continue them, anywhere. */
static void encoders_do_not_generate(void **state)
{
    (void)state;
    static const tiny_model models[] = {{.arch = "bert", .seed = 53},
                                        {.arch = "llama", .seed = 54, .both_ways = true}};
    for (size_t i = 0; i < 2; i++) {
        quern_model *model = open_model(&models[i]);
        quern_context *ctx = open_context(model, 1, 1, 512);
        quern_error err = {0};
        const quern_input input = {.tokens = tokens_of[0], .n_tokens = 2, .logits = QUERN_LOGITS_LAST};
        assert_int_equal(quern_decode(ctx, &input, 1, &err), QUERN_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, "makes embeddings"));
        quern_context_destroy(ctx);
        quern_model_close(model);
    }
}

/* Each allocation fails in turn; then the same call works. */
static void every_allocation_may_fail(void **state)
{
    (void)state;
    quern_model *model = open_model(&(tiny_model){.arch = "bert", .seed = 55, .n_scores = 2});
    quern_context *ctx = open_context(model, 1, 1, 512);
    const char *const documents[] = {"the world", "a"};
    float expected[2], scores[2] = {0};
    quern_error err = {0};
    assert_int_equal(quern_rerank(ctx, "hello", documents, 2, false, expected, &err), QUERN_OK);
    const long live = qn_alloc_live();
    int k = 0;
    for (bool failed = true; failed; k++) {
        qn_alloc_fail_at(k);
        const quern_status s = quern_rerank(ctx, "hello", documents, 2, false, scores, &err);
        failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_int_equal(s, failed ? QUERN_ERR_NOMEM : QUERN_OK);
        assert_int_equal(qn_alloc_live(), live);
    }
    assert_true(k > 8);
    assert_memory_equal(expected, scores, sizeof scores);
    quern_context_destroy(ctx);
    quern_model_close(model);
}

/* Files that lack what the family needs, or have it in another shape. */
static void broken_encoders_are_refused(void **state)
{
    (void)state;
    quern_model *model;
    quern_error err = {0};
    assert_true(tiny_model_write(model_path, &(tiny_model){.arch = "nomic-bert", .seed = 56, .n_ctx = 64}));
    FILE *file = fopen(model_path, "r+b");
    static char bytes[1 << 16]; /* names and metadata stand at the begin */
    const size_t n = fread(bytes, 1, sizeof bytes, file);
    static const char *const names[] = {"token_embd_norm.weight", "blk.1.attn_output_norm.weight",
                                        "blk.2.ffn_gate.weight", "blk.0.layer_output_norm.weight"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *at = memmem(bytes, n, names[i], strlen(names[i]));
        assert_non_null(at);
        *at = 'X'; /* there is no such tensor any more */
        rewind(file);
        assert_int_equal(fwrite(bytes, 1, n, file), n);
        fflush(file);
        assert_int_equal(quern_model_open(&model, model_path, NULL, &err), QUERN_ERR_FORMAT);
        if (strstr(err.message, names[i]) == NULL) fail_msg("'%s' does not name %s", err.message, names[i]);
        *at = names[i][0];
    }
    fclose(file);
}

/* ---- reranking ---- */

/* Puts the tokens of a text behind the others. */
static void add_text(const quern_model *model, const char *text, quern_token *tokens, size_t *n)
{
    quern_token *more;
    size_t n_more;
    quern_error err = {0};
    assert_int_equal(quern_tokenize(model, text, strlen(text), 0, &more, &n_more, &err), QUERN_OK);
    memcpy(tokens + *n, more, n_more * sizeof *more);
    *n += n_more;
    quern_free(more);
}

/* n_between: of </s> between the two. */
static void check_pair(const quern_model *model, size_t n_between)
{
    quern_token *pair, expected[64] = {1};
    size_t n_pair, n = 1;
    quern_error err = {0};
    add_text(model, "hello", expected, &n);
    for (size_t i = 0; i < n_between; i++) expected[n++] = 2;
    add_text(model, "<s> world", expected, &n); /* what looks like a control token is text */
    expected[n++] = 2;
    if (quern_rank_pair(model, "hello", 5, "<s> world", 9, &pair, &n_pair, &err) != QUERN_OK)
        fail_msg("%s", err.message);
    assert_int_equal(n_pair, n);
    assert_memory_equal(pair, expected, n * sizeof *pair);
    quern_free(pair);
}

/* Of the tiny vocabulary 1 is <s>, 2 is </s>. */
static void pairs_have_the_form_that_models_know(void **state)
{
    (void)state;
    quern_error err = {0};
    quern_model *model = open_model(&(tiny_model){.arch = "bert", .seed = 61});
    check_pair(model, 2); /* as RoBERTa: this vocabulary has no pieces of words */
    quern_model_close(model);
    model = open_model(&(tiny_model){.arch = "llama", .seed = 62});
    check_pair(model, 1);
    quern_model_close(model);
    model = open_model(&(tiny_model){.arch = "llama", .rerank_template = "{document}</s>{query}{x}"});
    quern_token *pair, *same;
    size_t n, n_same;
    assert_int_equal(quern_rank_pair(model, "hello", 5, "{query}", 7, &pair, &n, &err), QUERN_OK);
    static const char text[] = "{query}</s>hello{x}"; /* what is filled in is not filled in again */
    assert_int_equal(
        quern_tokenize(model, text, strlen(text), QUERN_TOKENIZE_PARSE_SPECIAL, &same, &n_same, &err),
        QUERN_OK);
    assert_int_equal(n, n_same);
    assert_memory_equal(pair, same, n * sizeof *pair);
    quern_free(pair), quern_free(same);
    quern_model_close(model);
}

/* y = w x + bias, [n_rows][N_EMBD], in double precision. */
static void multiply(const qn_gguf *g, const char *name, const double *x, size_t n_rows, double *y)
{
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    const float *w = (const float *)(const void *)qn_gguf_find_tensor(g, full)->data;
    snprintf(full, sizeof full, "%s.bias", name);
    const float *bias = (const float *)(const void *)qn_gguf_find_tensor(g, full)->data;
    for (size_t r = 0; r < n_rows; r++) {
        y[r] = (double)bias[r];
        for (size_t i = 0; i < N_EMBD; i++) y[r] += (double)w[r * N_EMBD + i] * x[i];
    }
}

/* RoBERTa's head, of the first token's hidden state. */
static double score_in_double(const qn_gguf *g, const float *hidden)
{
    double x[N_EMBD], dense[N_EMBD], score;
    for (size_t i = 0; i < N_EMBD; i++) x[i] = (double)hidden[i];
    multiply(g, "cls", x, N_EMBD, dense);
    for (size_t i = 0; i < N_EMBD; i++) dense[i] = tanh(dense[i]);
    multiply(g, "cls.output", dense, 1, &score);
    return score;
}

static void scores_are_what_the_head_gives(void **state)
{
    (void)state;
    quern_model *model = open_model(&(tiny_model){.arch = "bert", .seed = 63, .n_scores = 1});
    quern_context *ctx = open_context(model, 2, 4, 512);
    static const char *const documents[] = {"the world on a", "he", "", "hello word300 word301"};
    float scores[4];
    quern_error err = {0};
    qn_gguf g;
    assert_int_equal(qn_gguf_open(&g, model_path, &err), QUERN_OK);
    if (quern_rerank(ctx, "hello world", documents, 4, false, scores, &err) != QUERN_OK)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < 4; i++) {
        quern_token *pair;
        size_t n;
        assert_int_equal(
            quern_rank_pair(model, "hello world", 11, documents[i], strlen(documents[i]), &pair, &n, &err),
            QUERN_OK);
        float *score = embed(ctx, &(quern_embed_text){pair, n}, 1, with(QUERN_POOLING_RANK));
        float *cls = embed(ctx, &(quern_embed_text){pair, n}, 1, with(QUERN_POOLING_CLS));
        assert_true(score[0] == scores[i]);
        assert_true(fabs((double)scores[i] - score_in_double(&g, cls)) < 1e-5);
        for (size_t k = 0; k < i; k++) assert_true(scores[k] != scores[i]);
        free(score), free(cls);
        quern_free(pair);
    }
    qn_gguf_close(&g);
    quern_context_destroy(ctx);
    quern_model_close(model);
}

/* Two scores of a causal model are yes and no, whose probabilities sum to one. */
static void yes_and_no_are_probabilities(void **state)
{
    (void)state;
    quern_model *model = open_model(&(tiny_model){.arch = "qwen3", .seed = 64, .n_scores = 2});
    quern_context *ctx = open_context(model, 2, 4, 512);
    float *scores = embed(ctx, &texts[4], 1, with(QUERN_POOLING_RANK));
    assert_true(scores[0] > 0 && scores[0] < 1);
    assert_true(fabsf(scores[0] + scores[1] - 1) < 1e-6f);
    free(scores);
    quern_context_destroy(ctx);
    quern_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(company_changes_no_bit),
                                       cmocka_unit_test(embedding_leaves_generation_alone),
                                       cmocka_unit_test(tensors_may_be_together),
                                       cmocka_unit_test(encoders_see_both_ways_and_positions),
                                       cmocka_unit_test(poolings_are_what_they_say),
                                       cmocka_unit_test(the_file_says_which_pooling),
                                       cmocka_unit_test(what_cannot_be_embedded_is_refused),
                                       cmocka_unit_test(a_long_text_is_cut_only_if_asked),
                                       cmocka_unit_test(encoders_do_not_generate),
                                       cmocka_unit_test(every_allocation_may_fail),
                                       cmocka_unit_test(broken_encoders_are_refused),
                                       cmocka_unit_test(pairs_have_the_form_that_models_know),
                                       cmocka_unit_test(scores_are_what_the_head_gives),
                                       cmocka_unit_test(yes_and_no_are_probabilities)};
    return cmocka_run_group_tests(tests, make_texts, remove_file);
}
