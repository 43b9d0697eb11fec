/* architecture_test.c: logits and embeddings of tiny models of every supported family against reference data,
 * within the tolerances that its manifest gives: max(1e-6, 20 x the reference's own noise). */
#include "support/cmocka_all.h"
#include "support/golden.h"

#include "model/architecture.h"
#include "quern.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NMSE = sum((reference - x)^2) / sum(reference^2) */
static double nmse(const float *reference, const float *x, size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)reference[i] - x[i]) * ((double)reference[i] - x[i]);
        size += (double)reference[i] * reference[i];
    }
    return difference / size;
}

static quern_token *read_ids(const char *path, size_t *n)
{
    size_t n_bytes;
    char *text = golden_read(path, &n_bytes), *p = text;
    quern_token *ids = malloc((n_bytes + 1) * sizeof *ids);
    for (*n = 0;;) {
        char *end;
        const long id = strtol(p, &end, 10);
        if (end == p) break;
        ids[(*n)++] = (quern_token)id;
        p = end;
    }
    free(text);
    return ids;
}

/* Logits of all positions, fed in calls of `chunk` tokens; [n][n_vocab], free() it. */
static float *run(const quern_model *model, const quern_token *ids, size_t n, size_t chunk, quern_kv_type kv)
{
    quern_model_info info;
    quern_model_get_info(model, &info);
    quern_context_params params = quern_context_params_default();
    params.n_ctx = (uint32_t)n, params.n_outputs = (uint32_t)chunk, params.n_threads = 2;
    params.type_k = params.type_v = kv;
    quern_error err = {0};
    quern_context *ctx;
    if (quern_context_create(&ctx, model, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    float *all = malloc(n * info.n_vocab * sizeof *all);
    for (size_t done = 0; done < n; done += chunk) {
        const size_t count = n - done < chunk ? n - done : chunk;
        const quern_input input = {.tokens = ids + done, .n_tokens = count, .logits = QUERN_LOGITS_ALL};
        if (quern_decode(ctx, &input, 1, &err) != QUERN_OK) fail_msg("%s", err.message);
        for (size_t i = 0; i < count; i++)
            memcpy(all + (done + i) * info.n_vocab, quern_logits(ctx, i), info.n_vocab * sizeof *all);
    }
    quern_context_destroy(ctx);
    return all;
}

/* One case of the manifest; returns 1 if it failed. */
static int check_case(const json_t *item)
{
    const char *name = json_string_value(json_object_get(item, "name"));
    const json_t *files = json_object_get(item, "files");
    char model_path[1024], ids_path[1024], logits_path[1024], relative[512];
    snprintf(relative, sizeof relative, "arch/%s", json_string_value(json_object_get(files, "model")));
    if (!golden_path(model_path, relative)) return 1;
    snprintf(relative, sizeof relative, "arch/%s", json_string_value(json_object_get(files, "ids")));
    if (!golden_path(ids_path, relative)) return 1;
    snprintf(relative, sizeof relative, "arch/%s", json_string_value(json_object_get(files, "logits")));
    if (!golden_path(logits_path, relative)) return 1;

    quern_model *model;
    quern_error err = {0};
    quern_model_params params = quern_model_params_default();
    params.n_threads = 1;
    if (quern_model_open(&model, model_path, &params, &err) != QUERN_OK) {
        print_error("%s: %s\n", name, err.message);
        return 1;
    }
    size_t n_ids, n_bytes;
    quern_token *ids = read_ids(ids_path, &n_ids);
    float *reference = (float *)(void *)golden_read(logits_path, &n_bytes);
    const size_t n_vocab = (size_t)json_integer_value(json_object_get(item, "n_vocab"));
    const size_t first = (size_t)json_integer_value(json_object_get(item, "first_position"));
    const double tolerance = json_real_value(json_object_get(item, "tolerance_nmse"));
    float *whole = run(model, ids, n_ids, n_ids, QUERN_KV_F16),
          *single = run(model, ids, n_ids, 1, QUERN_KV_F16);
    float *exact = run(model, ids, n_ids, n_ids, QUERN_KV_F32);
    const double error = nmse(reference, whole + first * n_vocab, n_bytes / sizeof(float));
    const double exact_error = nmse(reference, exact + first * n_vocab, n_bytes / sizeof(float));
    const json_t *strict = json_object_get(item, "strict_nmse");
    int failed = 0;
    if (!(error <= tolerance))
        failed = 1, print_error("%s: NMSE %.3g, at most %.3g is allowed\n", name, error, tolerance);
    if (json_is_number(strict) && !(exact_error <= json_number_value(strict)))
        failed = 1, print_error("%s: with an F32 cache NMSE %.3g, at most %.3g is allowed\n", name,
                                exact_error, json_number_value(strict));
    if (memcmp(whole, single, n_ids * n_vocab * sizeof *whole) != 0)
        failed = 1, print_error("%s: one by one differs from all at once\n", name);
    if (!failed)
        printf("%-32s NMSE %.2e (limit %.2e), F32 cache %.2e\n", name, error, tolerance, exact_error);
    free(whole), free(single), free(exact), free(reference), free(ids);
    quern_model_close(model);
    return failed;
}

/* ---- embeddings ---- */

static float *embed(const quern_model *model, const quern_token *ids, size_t n, quern_pooling pooling,
                    quern_kv_type kv, size_t *n_values)
{
    quern_context_params context = quern_context_params_default();
    context.n_ctx = (uint32_t)n, context.n_threads = 2, context.type_k = context.type_v = kv;
    quern_embed_params params = quern_embed_params_default();
    params.pooling = pooling;
    const quern_embed_text text = {ids, n};
    quern_error err = {0};
    quern_context *ctx;
    if (quern_context_create(&ctx, model, &context, &err) != QUERN_OK) fail_msg("%s", err.message);
    *n_values = quern_embed_size(model, pooling, n);
    float *out = malloc(*n_values * sizeof *out);
    if (quern_embed(ctx, &text, 1, &params, out, *n_values, &err) != QUERN_OK) fail_msg("%s", err.message);
    quern_context_destroy(ctx);
    return out;
}

static double limit_of(const json_t *item, const char *name, double otherwise)
{
    const json_t *limit = json_object_get(item, name);
    return json_is_number(limit) ? json_number_value(limit) : otherwise;
}

/* One file of an embedding case; `file` its name in the manifest. Without one of that name nothing fails. */
static int check_vectors(const json_t *item, const quern_model *model, const quern_token *ids, size_t n_ids,
                         const char *file, quern_pooling pooling, bool exact)
{
    const char *name = json_string_value(json_object_get(item, "name"));
    const json_t *path = json_object_get(json_object_get(item, "files"), file);
    char full[1024], relative[512];
    size_t n_bytes, n_values;
    if (!json_is_string(path)) return 0;
    snprintf(relative, sizeof relative, "arch/%s", json_string_value(path));
    if (!golden_path(full, relative)) return 1;
    float *reference = (float *)(void *)golden_read(full, &n_bytes);
    float *got = embed(model, ids, n_ids, pooling, exact ? QUERN_KV_F32 : QUERN_KV_F16, &n_values);
    const double loose = limit_of(item, "tolerance_nmse", 0);
    const double limit = exact ? limit_of(item, "strict_nmse", loose) : loose;
    const double error = n_bytes == n_values * sizeof(float) ? nmse(reference, got, n_values) : INFINITY;
    free(reference), free(got);
    if (error <= limit) {
        printf("%-24s %-12s NMSE %.2e (limit %.2e)%s\n", name, file, error, limit,
               exact ? ", F32 cache" : "");
        return 0;
    }
    print_error("%s, %s%s: NMSE %.3g, at most %.3g is allowed\n", name, file, exact ? ", F32 cache" : "",
                error, limit);
    return 1;
}

static int check_embeddings(const json_t *item)
{
    static const struct {
        const char *file;
        quern_pooling pooling;
    } kinds[] = {{"embeddings", QUERN_POOLING_NONE},
                 {"pooled_mean", QUERN_POOLING_MEAN},
                 {"pooled_cls", QUERN_POOLING_CLS},
                 {"pooled_last", QUERN_POOLING_LAST},
                 {"pooled", QUERN_POOLING_DEFAULT}};
    const json_t *files = json_object_get(item, "files");
    char model_path[1024], ids_path[1024], relative[512];
    snprintf(relative, sizeof relative, "arch/%s", json_string_value(json_object_get(files, "model")));
    if (!golden_path(model_path, relative)) return 1;
    snprintf(relative, sizeof relative, "arch/%s", json_string_value(json_object_get(files, "ids")));
    if (!golden_path(ids_path, relative)) return 1;
    quern_model *model;
    quern_error err = {0};
    if (quern_model_open(&model, model_path, NULL, &err) != QUERN_OK) {
        print_error("%s\n", err.message);
        return 1;
    }
    size_t n_ids;
    quern_token *ids = read_ids(ids_path, &n_ids);
    int failed = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int exact = 0; exact < 2; exact++)
            failed |= check_vectors(item, model, ids, n_ids, kinds[i].file, kinds[i].pooling, exact);
    free(ids);
    quern_model_close(model);
    return failed;
}

static void embeddings_equal_the_reference(void **state)
{
    (void)state;
    char path[1024];
    if (!golden_path(path, "arch/MANIFEST.json")) return;
    json_error_t problem;
    json_t *manifest = json_load_file(path, 0, &problem), *item;
    assert_non_null(manifest);
    size_t i;
    int n_checked = 0, n_failed = 0;
    json_array_foreach(json_object_get(manifest, "cases"), i, item)
    {
        if (strcmp(json_string_value(json_object_get(item, "kind")), "embeddings") != 0) continue;
        n_checked++;
        n_failed += check_embeddings(item);
    }
    printf("%d cases of embeddings, %d failed\n", n_checked, n_failed);
    assert_int_equal(n_failed, 0);
    assert_true(n_checked >= 7);
    json_decref(manifest);
}

/* ---- logits ---- */

static void families_equal_the_reference(void **state)
{
    (void)state;
    char path[1024];
    if (!golden_path(path, "arch/MANIFEST.json")) return;
    json_error_t problem;
    json_t *manifest = json_load_file(path, 0, &problem), *item;
    assert_non_null(manifest);
    size_t i;
    int n_checked = 0, n_failed = 0;
    json_array_foreach(json_object_get(manifest, "cases"), i, item)
    {
        const char *arch = json_string_value(json_object_get(item, "arch"));
        if (strcmp(json_string_value(json_object_get(item, "kind")), "logits") != 0) continue;
        if (qn_architecture_find((qn_string){arch, strlen(arch)}) == NULL) continue;
        n_checked++;
        n_failed += check_case(item);
    }
    printf("%d cases, %d failed\n", n_checked, n_failed);
    assert_int_equal(n_failed, 0);
    assert_true(n_checked >= 45);
    json_decref(manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(embeddings_equal_the_reference),
                                       cmocka_unit_test(families_equal_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
