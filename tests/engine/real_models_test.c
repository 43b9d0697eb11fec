/* real_models_test.c: two published models against what the reference implementation computed with
 * them. Runs where the models lie in a folder named by QUERN_MODELS_REAL (or were pulled into the store);
 * sanitized and emulated builds set it to "no", for it would take them long.
 *
 * A choice at a step is right when it is the reference's, or among the three best of the exact
 * computation and at most 0.5 below its best, or the reference's second where its gap is below 0.5, or
 * where more than three are tied: the exact third is within 0.5 of the first, and here the choice is
 * within 0.5 of the exact first. The last logits of prompts may differ from the exact ones by at most
 * 1.5 times what the reference's do (root mean square, the mean over the prompts: one prompt is one
 * draw of rounding noise), for one prompt by at most twice. The 20 best are the reference's but for
 * near-ties at the border. */
#include "support/cmocka_all.h"
#include "support/golden.h"

#include "quern.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static quern_model *model;
static quern_context *ctx;
static quern_model_info info;

/* The folder of QUERN_MODELS_REAL, else the store. */
static bool find_model(char out[1024], const char *file, const char *name)
{
    const char *folder = getenv("QUERN_MODELS_REAL");
    if (folder != NULL && strcmp(folder, "no") == 0) {
        printf("skipped: QUERN_MODELS_REAL=no\n");
        return false;
    }
    if (folder != NULL) {
        snprintf(out, 1024, "%s/%s", folder, file);
        if (access(out, R_OK) == 0) return true;
    }
    quern_store *store = NULL;
    const quern_store_entry *entry = NULL;
    bool found = quern_store_open(&store, NULL, NULL) == QUERN_OK &&
                 quern_store_resolve(store, name, &entry, NULL) == QUERN_OK && entry->path != NULL;
    if (found) snprintf(out, 1024, "%s", entry->path);
    quern_store_close(store);
    if (!found) printf("skipped: %s is not installed (quern pull %s, or QUERN_MODELS_REAL)\n", file, name);
    return found;
}

static json_t *open_all(const char *file, const char *name, const char *prompts)
{
    char model_path[1024], prompts_path[1024];
    if (!golden_path(prompts_path, prompts) || !find_model(model_path, file, name)) return NULL;
    quern_error err = {0};
    if (quern_model_open(&model, model_path, NULL, &err) != QUERN_OK) fail_msg("%s", err.message);
    quern_model_get_info(model, &info);
    quern_context_params params = quern_context_params_default();
    params.n_ctx = 2048;
    if (quern_context_create(&ctx, model, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    json_t *all = json_load_file(prompts_path, 0, NULL);
    assert_non_null(all);
    return all;
}

static void close_all(json_t *all)
{
    json_decref(all);
    quern_context_destroy(ctx);
    quern_model_close(model);
}

static size_t read_ids(const json_t *array, quern_token *ids)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        ids[i] = (quern_token)json_integer_value(json_array_get(array, i));
    return json_array_size(array);
}

static const float *feed(const quern_token *ids, size_t n)
{
    quern_error err = {0};
    const quern_input input = {.tokens = ids, .n_tokens = n, .logits = QUERN_LOGITS_LAST};
    if (quern_decode(ctx, &input, 1, &err) != QUERN_OK) fail_msg("%s", err.message);
    return quern_logits(ctx, 0);
}

static int check_tokens(const json_t *prompt, const quern_token *ids, size_t n)
{
    const json_t *text = json_object_get(prompt, "text");
    if (text == NULL) return 0; /* the long one is given by its ids alone */
    unsigned flags = 0;
    if (json_is_true(json_object_get(prompt, "add_special"))) flags |= QUERN_TOKENIZE_ADD_SPECIAL;
    if (json_is_true(json_object_get(prompt, "parse_special"))) flags |= QUERN_TOKENIZE_PARSE_SPECIAL;
    quern_token *own;
    size_t n_own;
    assert_int_equal(
        quern_tokenize(model, json_string_value(text), json_string_length(text), flags, &own, &n_own, NULL),
        QUERN_OK);
    const bool same = n_own == n && memcmp(own, ids, n * sizeof *ids) == 0;
    quern_free(own);
    if (!same) print_error("%s: tokens differ\n", json_string_value(json_object_get(prompt, "name")));
    return !same;
}

/* Every one of the reference's 20 best must be at least as good here as our 20th, within 0.5. */
static int check_top20(const json_t *prompt, const float *logits)
{
    const json_t *top = json_object_get(prompt, "top20");
    int n_missing = 0;
    for (size_t i = 0; i < json_array_size(top); i++) {
        const quern_token id = (quern_token)json_integer_value(json_array_get(json_array_get(top, i), 0));
        int better = 0;
        for (uint32_t k = 0; k < info.n_vocab; k++) better += logits[k] > logits[id] + 0.5f;
        n_missing += better >= 20;
    }
    if (n_missing > 0)
        print_error("%s: %d of the 20 best differ\n", json_string_value(json_object_get(prompt, "name")),
                    n_missing);
    return n_missing;
}

static double sum_of_rms, sum_of_reference_rms;

/* Root mean square distance from the exact logits, if the file has them. */
static int check_exact(const json_t *prompt, const float *logits)
{
    const char *file = json_string_value(json_object_get(prompt, "logits_exact_file"));
    char path[1024], relative[512];
    if (file == NULL) return 0;
    snprintf(relative, sizeof relative, "real/%s", file);
    if (!golden_path(path, relative)) return 1;
    size_t n_bytes;
    float *exact = (float *)(void *)golden_read(path, &n_bytes);
    double sum = 0;
    for (uint32_t i = 0; i < info.n_vocab; i++)
        sum += ((double)exact[i] - logits[i]) * ((double)exact[i] - logits[i]);
    free(exact);
    const double rms = sqrt(sum / info.n_vocab);
    const double reference =
        json_real_value(json_object_get(json_object_get(prompt, "reference_vs_exact"), "rms"));
    printf("  %-14s rms from exact %.4f, the reference's %.4f\n",
           json_string_value(json_object_get(prompt, "name")), rms, reference);
    sum_of_rms += rms;
    sum_of_reference_rms += reference;
    return rms > 2 * reference;
}

static bool choice_is_right(const json_t *step, quern_token choice, const float *logits)
{
    if (choice == json_integer_value(json_object_get(step, "id"))) return true;
    if (choice == json_integer_value(json_object_get(step, "second")) &&
        json_real_value(json_object_get(step, "gap")) < 0.5)
        return true;
    const json_t *top = json_object_get(step, "exact_top3");
    const double best = json_number_value(json_array_get(json_array_get(top, 0), 1));
    const double third = json_number_value(json_array_get(json_array_get(top, 2), 1));
    const quern_token exact = (quern_token)json_integer_value(json_array_get(json_array_get(top, 0), 0));
    for (size_t i = 0; i < json_array_size(top); i++) {
        const json_t *pair = json_array_get(top, i);
        if (choice == json_integer_value(json_array_get(pair, 0)))
            return json_number_value(json_array_get(pair, 1)) >= best - 0.5;
    }
    return third > best - 0.5 && logits[choice] - logits[exact] < 0.5f;
}

/* Feeds the reference's greedy ids, so that step k sees the same past. Returns how many steps are wrong. */
static int check_steps(const json_t *prompt, const float *logits, int *n_equal)
{
    const json_t *steps = json_object_get(prompt, "steps");
    int n_wrong = 0;
    for (size_t k = 0; k < json_array_size(steps); k++) {
        const json_t *step = json_array_get(steps, k);
        quern_token best = 0;
        for (uint32_t i = 1; i < info.n_vocab; i++)
            if (logits[i] > logits[best]) best = (quern_token)i;
        *n_equal += best == json_integer_value(json_object_get(step, "id"));
        if (!choice_is_right(step, best, logits)) {
            n_wrong++;
            print_error("%s: step %zu: %d\n", json_string_value(json_object_get(prompt, "name")), k, best);
        }
        const quern_token next = (quern_token)json_integer_value(json_object_get(step, "id"));
        if (k + 1 < json_array_size(steps)) logits = feed(&next, 1);
    }
    return n_wrong;
}

static void check_model(const char *file, const char *name, const char *prompts)
{
    static quern_token ids[4096];
    json_t *all = open_all(file, name, prompts), *prompt;
    if (all == NULL) return;
    int n_failed = 0, n_equal = 0, n_steps = 0;
    size_t i;
    sum_of_rms = sum_of_reference_rms = 0;
    json_array_foreach(json_object_get(all, "prompts"), i, prompt)
    {
        const size_t n = read_ids(json_object_get(prompt, "prompt_ids"), ids);
        n_failed += check_tokens(prompt, ids, n);
        quern_sequence_truncate(ctx, 0, 0);
        const float *logits = feed(ids, n);
        n_failed += check_top20(prompt, logits);
        n_failed += check_exact(prompt, logits);
        n_failed += check_steps(prompt, logits, &n_equal);
        n_steps += (int)json_array_size(json_object_get(prompt, "steps"));
    }
    printf("%s: %zu prompts, %d of %d greedy choices equal, the others near-ties; %d failures\n", name, i,
           n_equal, n_steps, n_failed);
    close_all(all);
    assert_int_equal(n_failed, 0);
    assert_true(sum_of_rms <= 1.5 * sum_of_reference_rms);
}

static void smollm2(void **state)
{
    (void)state;
    check_model("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2:135m", "real/smollm2-q4_1.prompts.json");
}

static void gemma3(void **state)
{
    (void)state;
    check_model("gemma-3-270m-q4_k_m.gguf", "gemma3:270m", "real/gemma3-270m-q4_k_m.prompts.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(smollm2), cmocka_unit_test(gemma3)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
