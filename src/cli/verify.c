/* verify.c: `quern verify`: is this model file whole and sane? Structure (by opening it), every weight
 * finite, SHA-256 against the catalogue's, and a first generation that gives finite logits. */
#include "cli/cli.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct verification {
    json_t *checks; /* [{"check", "ok", "detail"}] */
    bool as_json, ok;
} verification;

static void record(verification *v, const char *check, bool ok, const char *detail)
{
    v->ok = v->ok && ok;
    json_array_append_new(v->checks,
                          json_pack("{s:s, s:b, s:s}", "check", check, "ok", (int)ok, "detail", detail));
    if (!v->as_json) printf("%-11s %-7s %s\n", check, ok ? "ok" : "FAILED", detail);
}

static void check_tensors(verification *v, const quern_model *model)
{
    quern_tensor_scan scan;
    quern_error err;
    char detail[256];
    qn_progress progress = {.label = "reading"};
    uint64_t n_bad = 0;
    char worst[72] = "";
    size_t i = 0;
    for (; quern_model_scan_tensor(model, i, &scan, &err) == QUERN_OK; i++) {
        if (scan.n_not_finite > 0 && worst[0] == '\0') snprintf(worst, sizeof worst, "%s", scan.name);
        n_bad += scan.n_not_finite;
        qn_progress_update(&progress, scan.done_bytes, scan.total_bytes);
    }
    qn_progress_finish(&progress);
    if (n_bad > 0)
        snprintf(detail, sizeof detail, "%llu values are NaN or infinite, first in '%s'",
                 (unsigned long long)n_bad, worst);
    else snprintf(detail, sizeof detail, "%zu tensors, every value is finite", i);
    record(v, "tensors", n_bad == 0, detail);
}

/* In place of a generation, where the model makes embeddings only. */
static void check_embedding(verification *v, const quern_model *model, const quern_model_info *info)
{
    enum { TOKENS = 16 };
    quern_context_params params = quern_context_params_default();
    quern_embed_params embed = quern_embed_params_default();
    params.n_ctx = TOKENS, embed.pooling = QUERN_POOLING_NONE;
    quern_context *ctx;
    quern_error err;
    char detail[512];
    quern_token tokens[TOKENS];
    for (int i = 0; i < TOKENS; i++) tokens[i] = (quern_token)((uint32_t)i % info->n_vocab);
    const size_t n = quern_embed_size(model, QUERN_POOLING_NONE, TOKENS);
    float *vectors = calloc(n, sizeof *vectors);
    quern_status s = quern_context_create(&ctx, model, &params, &err);
    const quern_embed_text text = {tokens, TOKENS};
    const uint64_t start = qn_clock_ns();
    if (s == QUERN_OK && vectors != NULL) s = quern_embed(ctx, &text, 1, &embed, vectors, n, &err);
    const double seconds = (double)(qn_clock_ns() - start) * 1e-9;
    bool finite = vectors != NULL;
    for (size_t i = 0; finite && i < n; i++) finite = isfinite(vectors[i]);
    if (s != QUERN_OK) snprintf(detail, sizeof detail, "%s", err.message);
    else
        snprintf(detail, sizeof detail, "%d tokens, %.1f tokens/s, hidden states %s", TOKENS,
                 TOKENS / seconds, finite ? "all finite" : "not all finite");
    record(v, "embedding", s == QUERN_OK && finite, detail);
    quern_context_destroy(ctx);
    free(vectors);
}

static void check_generation(verification *v, quern_model *model)
{
    quern_context_params params = quern_context_params_default();
    params.n_ctx = 64, params.n_batch = 16;
    quern_context *ctx;
    quern_error err;
    char detail[512];
    if (quern_context_create(&ctx, model, &params, &err) != QUERN_OK) {
        record(v, "generation", false, err.message);
        return;
    }
    quern_model_info info;
    quern_model_get_info(model, &info);
    quern_token token = info.n_vocab > 1 ? 1 : 0;
    bool finite = true;
    size_t done = 0;
    const uint64_t start = qn_clock_ns();
    quern_status s = QUERN_OK;
    for (; done < 16 && s == QUERN_OK && finite; done++) {
        const quern_input input = {.tokens = &token, .n_tokens = 1, .logits = QUERN_LOGITS_LAST};
        s = quern_decode(ctx, &input, 1, &err);
        const float *logits = s == QUERN_OK ? quern_logits(ctx, 0) : NULL;
        for (uint32_t i = 0; s == QUERN_OK && i < info.n_vocab; i++) {
            finite = finite && isfinite(logits[i]);
            if (logits[i] > logits[token]) token = (quern_token)i;
        }
    }
    const double seconds = (double)(qn_clock_ns() - start) * 1e-9;
    if (s != QUERN_OK) snprintf(detail, sizeof detail, "%s", err.message);
    else if (!finite) snprintf(detail, sizeof detail, "logits at position %zu are not finite", done);
    else
        snprintf(detail, sizeof detail, "%zu tokens, %.1f tokens/s, all logits finite", done,
                 (double)done / seconds);
    record(v, "generation", s == QUERN_OK && finite, detail);
    quern_context_destroy(ctx);
}

static bool show_progress(void *user, const quern_store_progress *p)
{
    qn_progress_update(user, p->done_bytes, p->total_bytes);
    return true;
}

/* Against the checksum that the catalogue or the hub gave when the model was pulled. */
static void check_checksum(verification *v, const char *argument)
{
    quern_store *store = NULL;
    const quern_store_entry *entry;
    quern_error err;
    char detail[640];
    qn_progress progress = {.label = "hashing"};
    quern_status s = quern_store_open(&store, NULL, &err);
    if (s == QUERN_OK) s = quern_store_resolve(store, argument, &entry, &err);
    if (s == QUERN_OK && entry->sha256 == NULL) {
        record(v, "checksum", true, "none is known for this file");
    } else {
        char expected[65] = "";
        if (s == QUERN_OK) snprintf(expected, sizeof expected, "%s", entry->sha256);
        if (s == QUERN_OK) s = quern_store_verify(store, argument, show_progress, &progress, &err);
        snprintf(detail, sizeof detail, "%s%s", s == QUERN_OK ? "SHA-256 " : err.message, expected);
        if (s != QUERN_OK) snprintf(detail, sizeof detail, "%s", err.message);
        record(v, "checksum", s == QUERN_OK, detail);
    }
    qn_progress_finish(&progress);
    quern_store_close(store);
}

static bool show_reading(void *user, uint64_t done, uint64_t total)
{
    qn_progress_update(user, done, total);
    return true;
}

/* The data of a pack is not read at every load; here it is. */
static void check_pack(verification *v, const quern_model *model)
{
    quern_error err;
    qn_progress progress = {.label = "reading"};
    const quern_status s = quern_model_verify_pack(model, show_reading, &progress, &err);
    qn_progress_finish(&progress);
    if (s == QUERN_ERR_NOT_FOUND) return;
    record(v, "pack", s == QUERN_OK,
           s == QUERN_OK ? "packed weights on disk, every checksum matches" : err.message);
}

static void verify(verification *v, const char *argument, int n_threads)
{
    const uint64_t start = qn_clock_ns();
    char detail[256];
    quern_model *model = qn_cli_open(argument, QN_OPEN_FULL, n_threads);
    if (model == NULL) {
        record(v, "structure", false, "the file cannot be opened as a model");
        return;
    }
    quern_model_info info;
    quern_model_get_info(model, &info);
    snprintf(detail, sizeof detail, "%s, %s, %.1f M parameters, loaded in %.2f s", info.architecture,
             info.file_type, (double)info.n_parameters * 1e-6, (double)(qn_clock_ns() - start) * 1e-9);
    record(v, "structure", true, detail);
    check_checksum(v, argument);
    check_tensors(v, model);
    check_pack(v, model);
    if (info.generates) check_generation(v, model);
    else check_embedding(v, model, &info);
    quern_model_close(model);
}

int qn_cli_verify(int argc, char **argv)
{
    verification v = {.ok = true};
    long n_threads = 0;
    const qn_option options[] = {
        {"-t, --threads", QN_INT, &n_threads, 0, 256, "N", "threads"},
        {"--json", QN_FLAG, &v.as_json, 0, 0, NULL, "print JSON"},
    };
    const int code =
        qn_options_parse("verify", options, sizeof options / sizeof options[0], &argc, argv, 1, 1);
    if (code >= 0) return code;
    v.checks = json_array();
    verify(&v, argv[1], (int)n_threads);
    int result = QN_EXIT_OK;
    if (v.as_json)
        result = qn_cli_print_json(
            json_pack("{s:s, s:b, s:O}", "model", argv[1], "ok", (int)v.ok, "checks", v.checks));
    else result = qn_cli_flush();
    json_decref(v.checks);
    return v.ok ? result : QN_EXIT_FAILURE;
}
