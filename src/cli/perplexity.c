/* perplexity.c: `quern perplexity`: exp of the mean negative log-likelihood of a text.
 *
 * The text is cut into chunks of --ctx tokens, each read from an empty cache; the second half of a
 * chunk is scored, so every scored token has at least half a chunk before it. The first token of a chunk is
 * the begin token where the model adds one. */
#include "cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP = 64 }; /* rows of logits held at once */

typedef struct scores {
    double sum, sum_of_squares; /* of negative log-likelihoods, nats */
    size_t n;
} scores;

/* -ln softmax(logits)[target], in double precision. */
static double negative_log_likelihood(const float *logits, size_t n_vocab, quern_token target)
{
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n_vocab; i++)
        if ((double)logits[i] > max) max = (double)logits[i];
    for (size_t i = 0; i < n_vocab; i++) sum += exp((double)logits[i] - max);
    return log(sum) + max - (double)logits[target];
}

/* Scores tokens first+1 .. n_ctx-1 of one chunk. */
static quern_status score_chunk(quern_context *ctx, const quern_token *chunk, size_t n_ctx, size_t n_vocab,
                                scores *s, quern_error *err)
{
    const size_t first = n_ctx / 2;
    quern_sequence_truncate(ctx, 0, 0);
    for (size_t done = 0; done < n_ctx;) {
        const bool scored = done >= first;
        size_t n = scored ? STEP : first - done;
        if (n > n_ctx - done) n = n_ctx - done;
        const quern_input input = {
            .tokens = chunk + done, .n_tokens = n, .logits = scored ? QUERN_LOGITS_ALL : QUERN_LOGITS_NONE};
        const quern_status status = quern_decode(ctx, &input, 1, err);
        if (status != QUERN_OK) return status;
        for (size_t i = 0; scored && i < n && done + i + 1 < n_ctx; i++) {
            const double nll = negative_log_likelihood(quern_logits(ctx, i), n_vocab, chunk[done + i + 1]);
            s->sum += nll;
            s->sum_of_squares += nll * nll;
            s->n++;
        }
        done += n;
    }
    return QUERN_OK;
}

static double standard_error(const scores *s, double ppl)
{
    const double mean = s->sum / (double)s->n, variance = s->sum_of_squares / (double)s->n - mean * mean;
    return s->n > 1 && variance > 0 ? sqrt(variance / (double)(s->n - 1)) * ppl : 0;
}

static int score_text(quern_model *model, quern_token *tokens, size_t n_tokens, long n_ctx, int n_threads,
                      quern_kv_type type_k, quern_kv_type type_v, bool as_json)
{
    quern_model_info info;
    quern_model_get_info(model, &info);
    quern_context_params params = quern_context_params_default();
    params.n_ctx = (uint32_t)n_ctx, params.n_outputs = STEP, params.n_threads = n_threads;
    params.type_k = type_k, params.type_v = type_v;
    quern_error err;
    quern_context *ctx;
    quern_token *begin;
    size_t n_begin;
    if (quern_context_create(&ctx, model, &params, &err) != QUERN_OK) return qn_cli_fail(&err);
    quern_status s = quern_tokenize(model, "", 0, QUERN_TOKENIZE_ADD_SPECIAL, &begin, &n_begin, &err);
    scores total = {0};
    qn_progress progress = {.label = "perplexity"};
    const size_t n_chunks = n_tokens / (size_t)n_ctx;
    for (size_t c = 0; c < n_chunks && s == QUERN_OK; c++) {
        quern_token *chunk = tokens + c * (size_t)n_ctx;
        if (n_begin > 0) chunk[0] = begin[0];
        s = score_chunk(ctx, chunk, (size_t)n_ctx, info.n_vocab, &total, &err);
        qn_progress_update(&progress, c + 1, n_chunks);
    }
    qn_progress_finish(&progress);
    quern_free(begin);
    quern_context_destroy(ctx);
    if (s != QUERN_OK) return qn_cli_fail(&err);
    const double ppl = exp(total.sum / (double)total.n), stderr_ppl = standard_error(&total, ppl);
    if (as_json)
        return qn_cli_print_json(json_pack("{s:f, s:f, s:I, s:I, s:I}", "ppl", ppl, "stderr", stderr_ppl,
                                           "tokens", (json_int_t)total.n, "chunks", (json_int_t)n_chunks,
                                           "ctx", (json_int_t)n_ctx));
    printf("perplexity %.4f +/- %.4f over %zu tokens in %zu chunks of %ld\n", ppl, stderr_ppl, total.n,
           n_chunks, n_ctx);
    return qn_cli_flush();
}

int qn_cli_perplexity(int argc, char **argv)
{
    bool as_json = false;
    long n_ctx = 512, n_threads = 0;
    qn_pack_choice pack = {0};
    const char *kv_name = "f16";
    const qn_option options[] = {
        {"-c, --ctx", QN_INT, &n_ctx, 4, 1 << 24, "N", "tokens a chunk (default 512)"},
        {"-t, --threads", QN_INT, &n_threads, 0, 256, "N", "threads"},
        QN_PACK_OPTIONS(&pack),
        {"-ctk, --cache-type", QN_TEXT, &kv_name, 0, 0, "TYPE",
         "cached keys and values: " QN_KV_TYPE_NAMES ", or KEYS/VALUES"},
        {"--json", QN_FLAG, &as_json, 0, 0, NULL, "print JSON"},
    };
    const int code =
        qn_options_parse("perplexity", options, sizeof options / sizeof options[0], &argc, argv, 2, 2);
    if (code >= 0) return code;
    quern_kv_type type_k, type_v;
    if (!qn_cli_kv_types(kv_name, &type_k, &type_v))
        return qn_cli_usage("perplexity: cache type '%s' (" QN_KV_TYPE_NAMES " are possible, or KEYS/VALUES)",
                            kv_name);
    size_t n_bytes, n_tokens = 0;
    char *text = qn_cli_read_text(argv[2], &n_bytes, NULL);
    quern_model *model =
        text != NULL ? qn_cli_open_packed(argv[1], QN_OPEN_FULL, (int)n_threads, &pack) : NULL;
    quern_token *tokens = NULL;
    quern_error err;
    int result = QN_EXIT_FAILURE;
    if (model != NULL && quern_tokenize(model, text, n_bytes, QUERN_TOKENIZE_ADD_SPECIAL, &tokens, &n_tokens,
                                        &err) != QUERN_OK)
        qn_cli_fail(&err);
    else if (model != NULL && n_tokens < (size_t)n_ctx)
        qn_cli_fail_text(
            "%s: %zu tokens are less than one chunk of %ld (use a longer text or a smaller --ctx)", argv[2],
            n_tokens, n_ctx);
    else if (model != NULL)
        result = score_text(model, tokens, n_tokens, n_ctx, (int)n_threads, type_k, type_v, as_json);
    quern_free(tokens);
    quern_free(text);
    quern_model_close(model);
    return result;
}
