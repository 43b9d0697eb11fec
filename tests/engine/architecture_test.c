/* architecture_test.c: logits of tiny models of every supported family against reference data, within
 * the tolerances that its manifest gives: max(1e-6, 20 x the reference's own noise). */
#include "support/cmocka_all.h"
#include "support/golden.h"

#include "model/architecture.h"
#include "quern.h"

#include <jansson.h>
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(families_equal_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
