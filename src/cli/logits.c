/* logits.c: `quern logits`: raw logits for every position, for tests and for other programs. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct logits_run {
    quern_context *ctx;
    const quern_token *ids;
    size_t n_ids, n_batch, n_vocab;
    FILE *out;
    const char *out_path;
} logits_run;

static int write_batches(const logits_run *r)
{
    quern_error err;
    for (size_t done = 0; done < r->n_ids;) {
        const size_t n = r->n_ids - done < r->n_batch ? r->n_ids - done : r->n_batch;
        const quern_input input = {.tokens = r->ids + done, .n_tokens = n, .logits = QUERN_LOGITS_ALL};
        if (quern_decode(r->ctx, &input, 1, &err) != QUERN_OK) return qn_cli_fail(&err);
        for (size_t i = 0; i < n; i++)
            if (fwrite(quern_logits(r->ctx, i), sizeof(float), r->n_vocab, r->out) != r->n_vocab)
                return qn_cli_fail_text("%s: %s", r->out_path, strerror(errno));
        done += n;
    }
    return QN_EXIT_OK;
}

static int run_model(quern_model *model, logits_run *r, int n_threads, quern_kv_type type_k,
                     quern_kv_type type_v)
{
    quern_model_info info;
    quern_model_get_info(model, &info);
    r->n_vocab = info.n_vocab;
    quern_context_params params = quern_context_params_default();
    params.n_ctx = (uint32_t)r->n_ids;
    params.n_batch = params.n_outputs = (uint32_t)r->n_batch;
    params.n_threads = n_threads;
    params.type_k = type_k, params.type_v = type_v;
    quern_error err;
    if (quern_context_create(&r->ctx, model, &params, &err) != QUERN_OK) return qn_cli_fail(&err);
    const int code = write_batches(r);
    quern_context_destroy(r->ctx);
    return code;
}

int qn_cli_logits(int argc, char **argv)
{
    const char *ids_path = NULL, *out_path = NULL, *kv_name = "f16";
    long n_batch = 64, n_threads = 0;
    qn_pack_choice pack = {0};
    const qn_option options[] = {
        {"--ids", QN_TEXT, &ids_path, 0, 0, "FILE", "token ids separated by blanks (-: standard input)"},
        {"--out", QN_TEXT, &out_path, 0, 0, "FILE", "where to write [positions][n_vocab] float32"},
        {"-b, --batch", QN_INT, &n_batch, 1, 65536, "N", "tokens a step (changes no bit of the result)"},
        {"-t, --threads", QN_INT, &n_threads, 0, 256, "N", "threads (changes no bit of the result)"},
        {"-ctk, --cache-type", QN_TEXT, &kv_name, 0, 0, "TYPE",
         "cached keys and values: " QN_KV_TYPE_NAMES ", or KEYS/VALUES"},
        QN_PACK_OPTIONS(&pack),
    };
    const int code =
        qn_options_parse("logits", options, sizeof options / sizeof options[0], &argc, argv, 1, 1);
    if (code >= 0) return code;
    if (ids_path == NULL || out_path == NULL)
        return qn_cli_usage("logits: --ids and --out are needed (see quern logits --help)");
    quern_kv_type type_k, type_v;
    if (!qn_cli_kv_types(kv_name, &type_k, &type_v))
        return qn_cli_usage("logits: cache type '%s' (" QN_KV_TYPE_NAMES " are possible, or KEYS/VALUES)",
                            kv_name);
    logits_run r = {.out_path = out_path};
    quern_token *ids = qn_cli_read_ids(ids_path, &r.n_ids);
    if (ids == NULL) return QN_EXIT_FAILURE;
    r.ids = ids;
    r.n_batch = r.n_ids < (size_t)n_batch ? r.n_ids : (size_t)n_batch;
    int result = QN_EXIT_FAILURE;
    quern_model *model =
        r.n_ids > 0 ? qn_cli_open_packed(argv[1], QN_OPEN_FULL, (int)n_threads, &pack) : NULL;
    if (r.n_ids == 0) qn_cli_fail_text("%s: holds no token ids", ids_path);
    if (model != NULL && (r.out = fopen(out_path, "wb")) == NULL)
        qn_cli_fail_text("%s: %s", out_path, strerror(errno));
    if (r.out != NULL) {
        result = run_model(model, &r, (int)n_threads, type_k, type_v);
        if (fclose(r.out) != 0 && result == QN_EXIT_OK)
            result = qn_cli_fail_text("%s: %s", out_path, strerror(errno));
    }
    quern_model_close(model);
    quern_free(ids);
    return result;
}
