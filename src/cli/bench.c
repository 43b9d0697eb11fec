/* bench.c: `quern bench`: prompt and generation speed, medians of several runs (contract C7).
 *
 * The tokens are arbitrary: speed does not depend on them. Each test runs once to warm up, then
 * --reps times; sequences start empty, or --depth tokens deep. */
#include "cli/cli.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench {
    quern_model *model;
    quern_context *ctx;
    quern_model_info info;
    long n_prompt, n_gen, depth, n_batch, reps, n_threads;
    bool as_json, profile;
    json_t *rows;
} bench;

static quern_token token_at(const bench *b, size_t i)
{
    return (quern_token)((7 * i + 11) % b->info.n_vocab);
}

/* Feeds n tokens, `step` of them a call. */
static quern_status feed(bench *b, size_t begin, size_t n, size_t step, quern_error *err)
{
    quern_token tokens[512];
    for (size_t done = 0; done < n;) {
        size_t count = n - done < step ? n - done : step;
        if (count > 512) count = 512;
        for (size_t i = 0; i < count; i++) tokens[i] = token_at(b, begin + done + i);
        const quern_input input = {.tokens = tokens, .n_tokens = count, .logits = QUERN_LOGITS_LAST};
        const quern_status s = quern_decode(b->ctx, &input, 1, err);
        if (s != QUERN_OK) return s;
        done += count;
    }
    return QUERN_OK;
}

static int by_value(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void print_row(const bench *b, const char *test, double *speeds, size_t n)
{
    double mean = 0, variance = 0;
    qsort(speeds, n, sizeof *speeds, by_value);
    for (size_t i = 0; i < n; i++) mean += speeds[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        variance += (speeds[i] - mean) * (speeds[i] - mean) / (double)(n > 1 ? n - 1 : 1);
    const double median = n % 2 == 1 ? speeds[n / 2] : (speeds[n / 2 - 1] + speeds[n / 2]) / 2;
    if (b->as_json) {
        json_array_append_new(b->rows, json_pack("{s:s, s:s, s:s, s:s, s:I, s:i, s:f, s:f, s:f, s:f, s:i}",
                                                 "engine", "quern", "test", test, "model", b->info.name,
                                                 "type", b->info.file_type, "depth", (json_int_t)b->depth,
                                                 "threads", quern_context_threads(b->ctx),
                                                 "tokens_per_second", median, "stddev", sqrt(variance), "min",
                                                 speeds[0], "max", speeds[n - 1], "reps", (int)n));
        return;
    }
    printf("%-12s %10.2f tokens/s   +/- %.2f   (%.2f to %.2f, %zu runs)\n", test, median, sqrt(variance),
           speeds[0], speeds[n - 1], n);
    fflush(stdout);
}

/* n tokens in calls of `step`; returns false after printing an error. */
static bool measure(bench *b, const char *label, size_t n, size_t step)
{
    char test[32];
    double *speeds = calloc((size_t)b->reps, sizeof *speeds);
    quern_error err;
    quern_status s = speeds != NULL ? QUERN_OK : QUERN_ERR_NOMEM;
    snprintf(test, sizeof test, "%s%zu", label, n);
    for (long rep = -1; rep < b->reps && s == QUERN_OK; rep++) {
        quern_sequence_truncate(b->ctx, 0, 0);
        s = feed(b, 0, (size_t)b->depth, 512, &err);
        const uint64_t start = qn_clock_ns();
        if (s == QUERN_OK) s = feed(b, (size_t)b->depth, n, step, &err);
        if (rep >= 0 && s == QUERN_OK) speeds[rep] = (double)n * 1e9 / (double)(qn_clock_ns() - start);
    }
    if (s == QUERN_OK) print_row(b, test, speeds, (size_t)b->reps);
    else if (speeds != NULL) qn_cli_fail(&err);
    free(speeds);
    return s == QUERN_OK;
}

static bool print_profile(bench *b, const char *what, size_t n, size_t step)
{
    quern_error err;
    char *text;
    if (quern_context_profile(b->ctx, &text, &err) != QUERN_OK) return qn_cli_fail(&err), false;
    quern_free(text);
    quern_sequence_truncate(b->ctx, 0, 0);
    quern_status s = feed(b, 0, (size_t)b->depth, 512, &err);
    if (s == QUERN_OK && quern_context_profile(b->ctx, &text, &err) == QUERN_OK)
        quern_free(text); /* forgets the depth */
    if (s == QUERN_OK) s = feed(b, (size_t)b->depth, n, step, &err);
    if (s == QUERN_OK) s = quern_context_profile(b->ctx, &text, &err);
    if (s != QUERN_OK) return qn_cli_fail(&err), false;
    printf("\n%s of %zu tokens\n%s", what, n, text);
    quern_free(text);
    return true;
}

static int run(bench *b)
{
    quern_context_params params = quern_context_params_default();
    const long most = b->n_prompt > b->n_gen ? b->n_prompt : b->n_gen;
    params.n_ctx = (uint32_t)(b->depth + most + 8);
    params.n_batch = (uint32_t)b->n_batch;
    params.n_threads = (int)b->n_threads;
    quern_error err;
    if (quern_context_create(&b->ctx, b->model, &params, &err) != QUERN_OK) return qn_cli_fail(&err);
    quern_model_get_info(b->model, &b->info);
    b->rows = json_array();
    if (!b->as_json)
        printf("%s, %s, %.1f M parameters, %d threads, %s\n", b->info.name, b->info.file_type,
               (double)b->info.n_parameters * 1e-6, quern_context_threads(b->ctx), b->info.instruction_set);
    bool ok = true;
    if (b->n_prompt > 0) ok = measure(b, "prompt", (size_t)b->n_prompt, (size_t)b->n_batch);
    if (ok && b->n_gen > 0) ok = measure(b, "gen", (size_t)b->n_gen, 1);
    if (ok && b->profile && b->n_prompt > 0)
        ok = print_profile(b, "prompt", (size_t)b->n_prompt, (size_t)b->n_batch);
    if (ok && b->profile && b->n_gen > 0) ok = print_profile(b, "generation", (size_t)b->n_gen, 1);
    quern_context_destroy(b->ctx);
    if (ok && b->as_json) return qn_cli_print_json(b->rows);
    json_decref(b->rows);
    return ok ? qn_cli_flush() : QN_EXIT_FAILURE;
}

int qn_cli_bench(int argc, char **argv)
{
    bench b = {.n_prompt = 512, .n_gen = 128, .n_batch = 512, .reps = 5};
    const qn_option options[] = {
        {"-p, --prompt", QN_INT, &b.n_prompt, 0, 1 << 24, "N",
         "tokens of the prompt test (0: skip it; default 512)"},
        {"-n, --gen", QN_INT, &b.n_gen, 0, 1 << 24, "N",
         "tokens of the generation test (0: skip it; default 128)"},
        {"-d, --depth", QN_INT, &b.depth, 0, 1 << 24, "N",
         "tokens already there before the timed part (default 0)"},
        {"-b, --batch", QN_INT, &b.n_batch, 1, 512, "N", "tokens a step of the prompt (default 512)"},
        {"-t, --threads", QN_INT, &b.n_threads, 0, 256, "N", "threads (default: 75 % of the processors)"},
        {"-r, --reps", QN_INT, &b.reps, 1, 1000, "N",
         "timed runs of each test; the median is shown (default 5)"},
        {"--profile", QN_FLAG, &b.profile, 0, 0, NULL, "show where the time goes, by kind of instruction"},
        {"--json", QN_FLAG, &b.as_json, 0, 0, NULL, "print JSON"},
    };
    const int code =
        qn_options_parse("bench", options, sizeof options / sizeof options[0], &argc, argv, 1, 1);
    if (code >= 0) return code;
    if (b.as_json && b.profile) return qn_cli_usage("bench: --profile prints text; leave --json out");
    b.model = qn_cli_open(argv[1], QN_OPEN_FULL, (int)b.n_threads);
    if (b.model == NULL) return QN_EXIT_FAILURE;
    const int result = run(&b);
    quern_model_close(b.model);
    return result;
}
