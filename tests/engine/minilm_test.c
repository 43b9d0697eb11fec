/* minilm_test.c: a published sentence encoder, all-MiniLM-L6-v2, against vectors that were computed with its
 * weights in double precision. Runs where minilm-f16.gguf or minilm-f32.gguf lies in a folder named by
 * QUERN_MODELS_REAL; the folder of the reference data has the script that makes them. */
#include "support/cmocka_all.h"
#include "support/golden.h"

#include "quern.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_EMBD = 384, MAX_TOKENS = 512 };

static void check_tokens(const quern_model *model, const json_t *sentence, const quern_token *ids, size_t n)
{
    const json_t *text = json_object_get(sentence, "text");
    quern_token *tokens;
    size_t n_tokens;
    quern_error err = {0};
    assert_int_equal(quern_tokenize(model, json_string_value(text), json_string_length(text),
                                    QUERN_TOKENIZE_ADD_SPECIAL | QUERN_TOKENIZE_PARSE_SPECIAL, &tokens,
                                    &n_tokens, &err),
                     QUERN_OK);
    assert_int_equal(n_tokens, json_integer_value(json_object_get(sentence, "n_untruncated")));
    if (n_tokens == n) assert_memory_equal(tokens, ids, n * sizeof *ids);
    quern_free(tokens);
}

static double cosine(const float *x, const json_t *vector)
{
    double dot = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < N_EMBD; i++) {
        const double y = json_number_value(json_array_get(vector, i));
        dot += (double)x[i] * y, xx += (double)x[i] * (double)x[i], yy += y * y;
    }
    return dot / sqrt(xx * yy);
}

static void check_file(const char *path, const json_t *sentences)
{
    quern_model *model;
    quern_context *ctx;
    quern_error err = {0};
    if (quern_model_open(&model, path, NULL, &err) != QUERN_OK) fail_msg("%s", err.message);
    quern_context_params context = quern_context_params_default();
    context.n_sequences = 8;
    if (quern_context_create(&ctx, model, &context, &err) != QUERN_OK) fail_msg("%s", err.message);
    const size_t n = json_array_size(sentences);
    quern_embed_text *texts = calloc(n, sizeof *texts);
    float *vectors = calloc(n * N_EMBD, sizeof *vectors);
    for (size_t i = 0; i < n; i++) {
        const json_t *sentence = json_array_get(sentences, i), *ids = json_object_get(sentence, "ids");
        quern_token *tokens = calloc(MAX_TOKENS, sizeof *tokens);
        texts[i] = (quern_embed_text){tokens, json_array_size(ids)};
        for (size_t k = 0; k < texts[i].n_tokens; k++)
            tokens[k] = (quern_token)json_integer_value(json_array_get(ids, k));
        check_tokens(model, sentence, tokens, texts[i].n_tokens);
    }
    quern_embed_params params = quern_embed_params_default();
    params.normalize = true;
    if (quern_embed(ctx, texts, n, &params, vectors, n * N_EMBD, &err) != QUERN_OK)
        fail_msg("%s", err.message);
    double worst = 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *vector = json_object_get(json_array_get(sentences, i), "vector");
        worst = fmin(worst, cosine(vectors + i * N_EMBD, vector));
        free((void *)(uintptr_t)texts[i].tokens);
    }
    printf("%s: %zu sentences, least cosine %.7f\n", path, n, worst);
    assert_true(worst > 0.9999);
    free(texts), free(vectors);
    quern_context_destroy(ctx);
    quern_model_close(model);
}

static void sentences_have_the_published_vectors(void **state)
{
    (void)state;
    static const char *const names[] = {"minilm-f16.gguf", "minilm-f32.gguf"};
    const char *folder = getenv("QUERN_MODELS_REAL");
    char golden[1024], path[1024];
    if (folder == NULL || !golden_path(golden, "real/minilm.json")) return;
    json_t *all = json_load_file(golden, 0, NULL);
    assert_non_null(all);
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (access(path, R_OK) == 0) check_file(path, json_object_get(all, "sentences"));
        else printf("skipped: %s is not there\n", path);
    }
    json_decref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sentences_have_the_published_vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
