/* bench_measure.c: one row of `quern bench`: a context of its own, a run to warm up, then the timed runs.
 *
 * The tokens are arbitrary: speed does not depend on them. What a depth asks for is computed once; after
 * every run the sequences are cut back to it. The run that warms up is counted too (quern_profile), so that
 * bytes and multiply-adds of a token are what really ran, not an estimate. */
#include "cli/bench.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct runner {
    const bench *b;
    const bench_case *c;
    quern_context *ctx;
    quern_token *tokens; /* [depth + n_prompt + n_gen], the same in every sequence */
    quern_input *inputs; /* [n_sequences] */
    qn_progress progress;
    uint64_t done_tokens, all_tokens; /* of all runs, for the progress */
} runner;

void bench_test_name(const bench_case *c, char *name, size_t size)
{
    if (c->n_prompt > 0 && c->n_gen > 0) snprintf(name, size, "prompt%u+gen%u", c->n_prompt, c->n_gen);
    else snprintf(name, size, "%s%u", c->n_gen > 0 ? "gen" : "prompt", c->n_gen > 0 ? c->n_gen : c->n_prompt);
}

static int by_value(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void summarize(bench_row *row)
{
    const size_t n = row->n_samples;
    double sorted[QN_MAX_BENCH_REPS], variance = 0;
    memcpy(sorted, row->samples, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_value);
    row->mean = 0;
    for (size_t i = 0; i < n; i++) row->mean += sorted[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        variance += (sorted[i] - row->mean) * (sorted[i] - row->mean) / (double)(n > 1 ? n - 1 : 1);
    row->stddev = sqrt(variance);
    row->median = n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    row->min = sorted[0];
    row->max = sorted[n - 1];
}

void bench_shares(const quern_limits *l, double bytes, double int8_multiply_adds, double float_multiply_adds,
                  double seconds, double *memory, double *vector)
{
    *memory = *vector = 0;
    if (seconds <= 0) return;
    *memory = bytes / l->bytes_per_s[1] / seconds;
    *vector = 2 * (int8_multiply_adds / l->int8_ops_per_s[1] + float_multiply_adds / l->float_ops_per_s[1]) /
              seconds;
}

/* Positions [begin, end) of every sequence, `step` tokens of each a call. */
static quern_status feed(runner *r, size_t begin, size_t end, size_t step, quern_error *err)
{
    const uint32_t n_sequences = r->c->n_sequences;
    for (size_t at = begin; at < end;) {
        const size_t n = end - at < step ? end - at : step;
        for (uint32_t s = 0; s < n_sequences; s++)
            r->inputs[s] = (quern_input){
                .sequence = s, .tokens = r->tokens + at, .n_tokens = n, .logits = QUERN_LOGITS_LAST};
        const quern_status status = quern_decode(r->ctx, r->inputs, n_sequences, err);
        if (status != QUERN_OK) return status;
        at += n;
        r->done_tokens += n * n_sequences;
        qn_progress_update(&r->progress, r->done_tokens < r->all_tokens ? r->done_tokens : r->all_tokens,
                           r->all_tokens);
    }
    return QUERN_OK;
}

/* Tokens of each sequence that go into one call of a prompt: a step's worth of all together. */
static size_t prompt_step(const bench_case *c)
{
    return c->n_batch > c->n_sequences ? c->n_batch / c->n_sequences : 1;
}

/* Brings every sequence to the depth: cut back, or computed where that is not possible. */
static quern_status go_to_depth(runner *r, quern_error *err)
{
    uint32_t least = r->c->depth;
    for (uint32_t s = 0; s < r->c->n_sequences; s++) {
        uint32_t length = quern_sequence_length(r->ctx, s);
        if (length > r->c->depth) length = quern_sequence_truncate(r->ctx, s, r->c->depth);
        if (length < least) least = length;
    }
    for (uint32_t s = 0; s < r->c->n_sequences && least < r->c->depth; s++)
        least = quern_sequence_truncate(r->ctx, s, least); /* all alike */
    return feed(r, least, r->c->depth, prompt_step(r->c), err);
}

/* One timed run; seconds is set on success. */
static quern_status run_once(runner *r, double *seconds, quern_error *err)
{
    const size_t depth = r->c->depth, prompt_end = depth + r->c->n_prompt;
    quern_status s = go_to_depth(r, err);
    const uint64_t start = qn_clock_ns();
    if (s == QUERN_OK) s = feed(r, depth, prompt_end, prompt_step(r->c), err);
    if (s == QUERN_OK) s = feed(r, prompt_end, prompt_end + r->c->n_gen, 1, err);
    *seconds = (double)(qn_clock_ns() - start) * 1e-9;
    return s;
}

/* The same, with everything counted but the way to the depth. */
static quern_status run_counted(runner *r, quern_profile *profile, quern_error *err)
{
    double seconds;
    quern_status s = go_to_depth(r, err);
    if (s == QUERN_OK) s = quern_context_profile_start(r->ctx, err);
    if (s == QUERN_OK) s = run_once(r, &seconds, err);
    quern_context_profile_stop(r->ctx, profile);
    return s;
}

static void count_per_token(bench_row *row)
{
    const double tokens = (double)(row->what.n_prompt + row->what.n_gen) * row->what.n_sequences;
    for (size_t i = 0; i < row->profile.n_rows; i++) {
        const quern_profile_row *p = &row->profile.rows[i];
        row->weight_bytes += (double)p->weight_bytes / tokens;
        row->kv_bytes += (double)p->kv_bytes / tokens;
        row->int8_multiply_adds += (double)p->int8_multiply_adds / tokens;
        row->float_multiply_adds += (double)p->float_multiply_adds / tokens;
    }
}

/* The most memory that was resident since the start, or since it was forgotten; 0: unknown. */
static uint64_t peak_resident_bytes(void)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    if (f == NULL) return 0;
    while (kib == 0 && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0) kib = strtoull(line + 6, NULL, 10);
    fclose(f);
    return kib * 1024;
}

static void forget_peak(void) /* proc(5): writing 5 resets VmHWM; where it cannot be written the peak stays */
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (f == NULL) return;
    fputs("5", f);
    fclose(f);
}

static quern_status create_context(runner *r, quern_error *err)
{
    const bench_case *c = r->c;
    quern_context_params params = quern_context_params_default();
    params.n_ctx = c->depth + c->n_prompt + c->n_gen;
    params.n_sequences = c->n_sequences;
    params.n_batch = c->n_batch > c->n_sequences ? c->n_batch : c->n_sequences;
    params.n_threads = c->n_threads;
    params.type_k = c->type_k;
    params.type_v = c->type_v;
    return quern_context_create(&r->ctx, r->b->model, &params, err);
}

static quern_status run_all(runner *r, bench_row *row, quern_error *err)
{
    const bench_case *c = r->c;
    const double tokens = (double)(c->n_prompt + c->n_gen) * c->n_sequences;
    quern_status s = run_counted(r, &row->profile, err);
    for (long rep = 0; rep < r->b->reps && s == QUERN_OK; rep++) {
        double seconds;
        s = run_once(r, &seconds, err);
        row->samples[row->n_samples++] = tokens / (seconds > 1e-9 ? seconds : 1e-9);
    }
    if (s == QUERN_OK && r->b->profile) s = run_counted(r, &row->profile, err); /* now that all is warm */
    return s;
}

bool bench_measure(const bench *b, const bench_case *c, const char *progress, bench_row *row)
{
    const size_t n_tokens = (size_t)c->depth + c->n_prompt + c->n_gen;
    runner r = {.b = b, .c = c, .progress = {.label = progress}};
    quern_error err;
    *row = (bench_row){.what = *c, .time = time(NULL)};
    bench_test_name(c, row->test, sizeof row->test);
    snprintf(row->cache_type, sizeof row->cache_type, "%s%s%s", qn_cli_kv_type_name(c->type_k),
             c->type_k != c->type_v ? "/" : "", c->type_k != c->type_v ? qn_cli_kv_type_name(c->type_v) : "");
    for (size_t i = 0; i < b->n_limits; i++)
        if (b->limits[i].n_threads == c->n_threads) row->limits = &b->limits[i];
    r.all_tokens = c->n_sequences *
                   (c->depth + (uint64_t)(c->n_prompt + c->n_gen) * (uint64_t)(b->reps + 1 + b->profile));
    r.tokens = calloc(n_tokens, sizeof *r.tokens);
    r.inputs = calloc(c->n_sequences, sizeof *r.inputs);
    if (r.tokens == NULL || r.inputs == NULL) {
        free(r.tokens), free(r.inputs);
        return qn_cli_fail_text("bench: %zu tokens: no memory", n_tokens), false;
    }
    for (size_t i = 0; i < n_tokens; i++) r.tokens[i] = (quern_token)((7 * i + 11) % b->info.n_vocab);
    const uint64_t start = qn_clock_ns();
    quern_status s = create_context(&r, &err);
    row->load_seconds = b->open_seconds + (double)(qn_clock_ns() - start) * 1e-9;
    if (s == QUERN_OK) s = run_all(&r, row, &err);
    qn_progress_finish(&r.progress);
    if (s == QUERN_OK) {
        summarize(row);
        count_per_token(row);
        row->peak_bytes = peak_resident_bytes();
        if (row->limits != NULL)
            bench_shares(row->limits, row->weight_bytes + row->kv_bytes, row->int8_multiply_adds,
                         row->float_multiply_adds, 1 / row->median, &row->memory_share, &row->vector_share);
    }
    quern_context_destroy(r.ctx);
    free(r.tokens), free(r.inputs);
    if (s != QUERN_OK) qn_cli_fail(&err);
    return s == QUERN_OK;
}

bool bench_limits(bench *b)
{
    b->limits = calloc(b->n_cases, sizeof *b->limits);
    if (b->limits == NULL) return qn_cli_fail_text("bench: no memory"), false;
    for (size_t i = 0; i < b->n_cases; i++) {
        bool known = false;
        for (size_t k = 0; k < b->n_limits; k++) known |= b->limits[k].n_threads == b->cases[i].n_threads;
        quern_error err;
        if (known) continue;
        if (quern_measure_limits(b->cases[i].n_threads, 0, &b->limits[b->n_limits], &err) != QUERN_OK)
            return qn_cli_fail(&err), false;
        b->n_limits++;
    }
    forget_peak(); /* it was not the model's */
    return true;
}
