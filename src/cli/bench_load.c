/* bench_load.c: `quern bench --clients N` and `--trace FILE`: an engine under load. Clients send their
 * requests one after the other, or jobs come when a trace says. What is told: speed of all together, times to
 * the first token and between tokens (medians and 99th percentiles), and how alike clients were served
 * (Jain, Chiu and Hawe 1984: 1 is perfectly alike, 1 / n one client alone). */
#include "cli/bench.h"

#include "base/clock.h"
#include "base/random.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct samples {
    double *items;
    size_t n, capacity;
    bool failed;
} samples;

typedef struct load_run load_run;

typedef struct running_job {
    load_run *run;
    const bench_job *job;
    quern_request *request;
    uint64_t last_ns; /* of its latest text */
} running_job;

struct load_run {
    const bench_load *options;
    quern_engine *engine;
    const quern_model *model, *draft; /* draft: or NULL */
    uint32_t n_vocab;
    bench_job *jobs;
    running_job *running; /* [n_jobs] */
    size_t n_jobs;
    qn_progress progress;

    pthread_mutex_t mutex; /* for n_ended */
    pthread_cond_t ended;
    size_t n_ended, n_failed;

    samples first_s, gaps_s; /* of the engine's thread */
    quern_engine_metrics metrics;
    uint64_t n_prompt, n_cached, n_generated, n_preempted, n_guessed, n_guessed_right;
    double seconds;
    quern_error error;
};

/* ---- numbers ----------------------------------------------------------------------------------- */

static void add_sample(samples *s, double x)
{
    if (s->n == s->capacity) {
        double *more = realloc(s->items, (2 * s->capacity + 1024) * sizeof *more);
        if (more == NULL) s->failed = true;
        if (more == NULL) return;
        s->items = more;
        s->capacity = 2 * s->capacity + 1024;
    }
    s->items[s->n++] = x;
}

static int by_value(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* The samples are in order. */
static double percentile(const samples *s, double share)
{
    return s->n > 0 ? s->items[(size_t)(share * (double)(s->n - 1))] : 0.0;
}

/* Of tokens per second of each client, while it had work. */
static double fairness(const load_run *r)
{
    double sum = 0.0, squares = 0.0;
    size_t n = 0;
    for (size_t i = 0; i < r->n_jobs; i++) {
        double tokens = 0.0;
        bool is_first = true;
        for (size_t k = 0; k < i && is_first; k++)
            is_first = strcmp(r->jobs[k].client, r->jobs[i].client) != 0;
        for (size_t k = i; k < r->n_jobs && is_first; k++)
            if (strcmp(r->jobs[k].client, r->jobs[i].client) == 0)
                tokens += (double)r->jobs[k].n_gen / ((double)(r->running[k].last_ns) * 1e-9);
        if (!is_first) continue;
        sum += tokens;
        squares += tokens * tokens;
        n++;
    }
    return squares > 0.0 ? sum * sum / ((double)n * squares) : 1.0;
}

/* ---- requests ---------------------------------------------------------------------------------- */

static void start_job(load_run *r, size_t i);

/* The next job of the same client that waits for this one. */
static void start_next(load_run *r, size_t i)
{
    for (size_t k = i + 1; k < r->n_jobs; k++)
        if (r->jobs[k].at_s < 0.0 && strcmp(r->jobs[k].client, r->jobs[i].client) == 0) {
            start_job(r, k);
            return;
        }
}

static void end_job(load_run *r, size_t i, const quern_request_result *result, const quern_error *error)
{
    if (error != NULL) r->error = *error;
    if (result != NULL) {
        add_sample(&r->first_s, (double)(result->queued_ns + result->prompt_ns) * 1e-9);
        r->n_prompt += result->n_prompt;
        r->n_cached += result->n_cached;
        r->n_generated += result->n_generated;
        r->n_preempted += result->n_preempted;
        r->n_guessed += result->n_guessed;
        r->n_guessed_right += result->n_guessed_right;
        r->running[i].last_ns = result->queued_ns + result->prompt_ns + result->generate_ns;
    }
    start_next(r, i);
    pthread_mutex_lock(&r->mutex);
    r->n_ended++;
    r->n_failed += error != NULL;
    pthread_cond_signal(&r->ended);
    pthread_mutex_unlock(&r->mutex);
}

static void hear(void *user, quern_request *request, const quern_event *event)
{
    running_job *j = user;
    load_run *r = j->run;
    (void)request;
    if (event->kind == QUERN_EVENT_TEXT) {
        const uint64_t now = qn_clock_ns();
        if (j->last_ns != 0) add_sample(&r->gaps_s, (double)(now - j->last_ns) * 1e-9);
        j->last_ns = now;
    } else if (event->kind == QUERN_EVENT_FINISHED || event->kind == QUERN_EVENT_FAILED) {
        end_job(r, (size_t)(j - r->running), &event->result, event->error);
    }
}

static quern_token *make_prompt(const load_run *r, size_t i)
{
    const bench_job *j = &r->jobs[i];
    quern_token *tokens = malloc(j->n_prompt * sizeof *tokens);
    qn_random common = {.seed = 1}, own = {.seed = 2, .stream = i};
    for (size_t k = 0; tokens != NULL && k < j->n_prompt; k++)
        tokens[k] = (quern_token)(qn_random_u64(k < j->n_common ? &common : &own) % r->n_vocab);
    return tokens;
}

static void start_job(load_run *r, size_t i)
{
    running_job *j = &r->running[i];
    quern_sampler_params sampler = quern_sampler_params_default();
    quern_request_params p = quern_request_params_default();
    quern_error err = {.message = "no memory"};
    quern_token *prompt = make_prompt(r, i);
    *j = (running_job){.run = r, .job = &r->jobs[i]};
    sampler.seed = i;
    p.prompt = prompt, p.n_prompt = j->job->n_prompt, p.max_tokens = j->job->n_gen, p.ignore_end = true;
    p.sampler = &sampler, p.priority = j->job->priority, p.client = j->job->client, p.cache_scope = "bench";
    p.on_event = hear, p.user = j;
    const bool ok = prompt != NULL && quern_submit(r->engine, &p, &j->request, &err) == QUERN_OK;
    free(prompt);
    if (!ok) end_job(r, i, NULL, &err);
}

static void sleep_until(uint64_t ns)
{
    for (uint64_t now; (now = qn_clock_ns()) < ns;)
        nanosleep(&(struct timespec){.tv_sec = (time_t)((ns - now) / 1000000000),
                                     .tv_nsec = (long)((ns - now) % 1000000000)},
                  NULL);
}

/* Jobs with a time come then; of the others the first of each client at once. */
static void submit_all(load_run *r, uint64_t start)
{
    for (size_t i = 0; i < r->n_jobs; i++) {
        bool is_first = true;
        for (size_t k = 0; k < i && r->jobs[i].at_s < 0.0 && is_first; k++)
            is_first = strcmp(r->jobs[k].client, r->jobs[i].client) != 0;
        if (!is_first) continue;
        if (r->jobs[i].at_s > 0.0) sleep_until(start + (uint64_t)(r->jobs[i].at_s * 1e9));
        start_job(r, i);
    }
}

static void run(load_run *r)
{
    const uint64_t start = qn_clock_ns();
    submit_all(r, start);
    pthread_mutex_lock(&r->mutex);
    while (r->n_ended < r->n_jobs) {
        qn_progress_update(&r->progress, r->n_ended, r->n_jobs);
        pthread_cond_wait(&r->ended, &r->mutex);
    }
    pthread_mutex_unlock(&r->mutex);
    qn_progress_finish(&r->progress);
    r->seconds = (double)(qn_clock_ns() - start) * 1e-9;
    for (size_t i = 0; i < r->n_jobs; i++) quern_request_release(r->running[i].request);
    if (r->first_s.n > 0) qsort(r->first_s.items, r->first_s.n, sizeof(double), by_value);
    if (r->gaps_s.n > 0) qsort(r->gaps_s.items, r->gaps_s.n, sizeof(double), by_value);
}

/* ---- report ------------------------------------------------------------------------------------ */

/* Where the time of the engine's thread went. */
typedef struct time_part {
    const char *name;
    uint64_t ns;
} time_part;
enum { N_TIME_PARTS = 6 };

static void time_parts(const quern_engine_metrics *m, time_part parts[N_TIME_PARTS])
{
    const time_part all[N_TIME_PARTS] = {{"model", m->model_ns}, {"draft", m->draft_ns},
                                         {"draw", m->draw_ns},   {"schedule", m->schedule_ns},
                                         {"tell", m->tell_ns},   {"idle", m->idle_ns}};
    memcpy(parts, all, sizeof all);
}

static json_t *times_json(const quern_engine_metrics *m)
{
    time_part parts[N_TIME_PARTS];
    json_t *times = json_object();
    time_parts(m, parts);
    for (size_t i = 0; i < N_TIME_PARTS; i++)
        json_object_set_new(times, parts[i].name, json_real((double)parts[i].ns * 1e-9));
    return times;
}

static void print_times(const quern_engine_metrics *m)
{
    time_part parts[N_TIME_PARTS];
    time_parts(m, parts);
    printf("time         ");
    for (size_t i = 0; i < N_TIME_PARTS; i++)
        printf(" %s %.1f %%%s", parts[i].name, 100.0 * (double)parts[i].ns / (double)m->wall_ns,
               i + 1 < N_TIME_PARTS ? "," : "");
    printf("; %llu steps, %.1f us each beside the model\n", (unsigned long long)m->n_steps,
           m->n_steps > 0 ? (double)(m->schedule_ns + m->tell_ns) * 1e-3 / (double)m->n_steps : 0.0);
}

static int report_json(const load_run *r)
{
    json_t *times[2];
    const samples *const of[2] = {&r->first_s, &r->gaps_s};
    for (size_t i = 0; i < 2; i++)
        times[i] =
            json_pack("{s:f, s:f, s:f, s:I}", "p50", percentile(of[i], 0.5), "p99", percentile(of[i], 0.99),
                      "max", percentile(of[i], 1.0), "n", (json_int_t)of[i]->n);
    return qn_cli_print_json(
        json_pack("{s:I, s:I, s:f, s:I, s:I, s:I, s:f, s:o, s:o, s:f, s:I, s:I, s:I, s:I, s:o}", "requests",
                  (json_int_t)r->n_jobs, "failed", (json_int_t)r->n_failed, "seconds", r->seconds,
                  "prompt_tokens", (json_int_t)r->n_prompt, "cached_tokens", (json_int_t)r->n_cached,
                  "generated_tokens", (json_int_t)r->n_generated, "tokens_per_second",
                  (double)r->n_generated / r->seconds, "first_token_seconds", times[0], "gap_seconds",
                  times[1], "fairness", fairness(r), "preempted", (json_int_t)r->n_preempted, "guessed",
                  (json_int_t)r->n_guessed, "guessed_right", (json_int_t)r->n_guessed_right, "steps",
                  (json_int_t)r->metrics.n_steps, "time_seconds", times_json(&r->metrics)));
}

static int report(const load_run *r)
{
    if (r->options->json) return report_json(r);
    printf("%zu requests in %.2f s: %.1f tokens/s generated, %.1f tokens/s of prompts read\n", r->n_jobs,
           r->seconds, (double)r->n_generated / r->seconds, (double)(r->n_prompt - r->n_cached) / r->seconds);
    printf("prompts       %llu tokens, %llu of them found computed\n", (unsigned long long)r->n_prompt,
           (unsigned long long)r->n_cached);
    printf("first token   median %.3f s, p99 %.3f s, longest %.3f s\n", percentile(&r->first_s, 0.5),
           percentile(&r->first_s, 0.99), percentile(&r->first_s, 1.0));
    printf("gaps          median %.1f ms, p99 %.1f ms, longest %.1f ms\n", percentile(&r->gaps_s, 0.5) * 1e3,
           percentile(&r->gaps_s, 0.99) * 1e3, percentile(&r->gaps_s, 1.0) * 1e3);
    printf("fairness      %.3f (1: all clients were served alike)\n", fairness(r));
    printf("guesses       %llu, %llu right\n", (unsigned long long)r->n_guessed,
           (unsigned long long)r->n_guessed_right);
    printf("made room     %llu times\n", (unsigned long long)r->n_preempted);
    print_times(&r->metrics);
    return qn_cli_flush();
}

/* ---- the whole --------------------------------------------------------------------------------- */

/* n_clients with n_requests each, one after the other. */
static int make_jobs(load_run *r)
{
    const bench_load *o = r->options;
    if (o->trace != NULL) return bench_trace_read(o->trace, &r->jobs, &r->n_jobs);
    r->n_jobs = (size_t)(o->n_clients * o->n_requests);
    r->jobs = calloc(r->n_jobs, sizeof *r->jobs);
    if (r->jobs == NULL) return qn_cli_fail_text("bench: no memory");
    for (size_t i = 0; i < r->n_jobs; i++) {
        bench_job *j = &r->jobs[i];
        *j = (bench_job){.at_s = -1.0,
                         .n_prompt = (uint32_t)o->n_prompt,
                         .n_common = (uint32_t)o->n_common,
                         .n_gen = (uint32_t)o->n_gen,
                         .priority = QUERN_PRIORITY_NORMAL};
        snprintf(j->client, sizeof j->client, "client %zu", i % (size_t)o->n_clients);
    }
    return -1;
}

static int open_engine(load_run *r)
{
    const bench_load *o = r->options;
    quern_error err;
    quern_engine_params params = quern_engine_params_default();
    params.n_threads = (int)o->n_threads;
    params.cache_directory = o->directory;
    quern_engine_model_params m = quern_engine_model_params_default();
    m.n_ctx = (uint32_t)o->n_ctx;
    for (size_t i = 0; i < r->n_jobs && o->n_ctx == 0; i++)
        if (r->jobs[i].n_prompt + r->jobs[i].n_gen > m.n_ctx)
            m.n_ctx = r->jobs[i].n_prompt + r->jobs[i].n_gen;
    if (o->n_parallel > 0) m.n_parallel = (uint32_t)o->n_parallel;
    m.n_positions = (uint64_t)o->n_positions;
    m.no_guesses = o->no_guesses;
    m.draft = r->draft;
    m.n_draft = (uint32_t)o->n_draft;
    m.type_k = o->type_k;
    m.type_v = o->type_v;
    if (quern_engine_create(&r->engine, &params, &err) != QUERN_OK) return qn_cli_fail(&err);
    if (quern_engine_add_model(r->engine, "bench", r->model, &m, &err) != QUERN_OK) return qn_cli_fail(&err);
    return -1;
}

int bench_load_run(const bench_load *load, const char *path, const qn_pack_choice *pack)
{
    load_run r = {.options = load, .progress = {.label = "requests"}};
    quern_model_info info;
    int code = make_jobs(&r);
    quern_model *model = code < 0 ? qn_cli_open_packed(path, QN_OPEN_FULL, (int)load->n_threads, pack) : NULL;
    if (code < 0 && model == NULL) code = QN_EXIT_FAILURE;
    quern_model *draft = NULL;
    if (code < 0 && load->draft != NULL) {
        draft = qn_cli_open_packed(load->draft, QN_OPEN_FULL, (int)load->n_threads, pack);
        if (draft == NULL) code = QN_EXIT_FAILURE;
    }
    r.model = model;
    r.draft = draft;
    r.running = calloc(r.n_jobs + 1, sizeof *r.running);
    if (code < 0 && r.running == NULL) code = qn_cli_fail_text("bench: no memory");
    if (code < 0) code = open_engine(&r);
    if (code < 0) {
        quern_model_get_info(model, &info);
        r.n_vocab = info.n_vocab;
        pthread_mutex_init(&r.mutex, NULL);
        pthread_cond_init(&r.ended, NULL);
        run(&r);
        quern_engine_get_metrics(r.engine, &r.metrics);
        code = report(&r);
        if (r.n_failed > 0) code = qn_cli_fail(&r.error);
        pthread_cond_destroy(&r.ended);
        pthread_mutex_destroy(&r.mutex);
    }
    quern_engine_destroy(r.engine);
    quern_model_close(draft);
    quern_model_close(model);
    free(r.first_s.items), free(r.gaps_s.items), free(r.running), free(r.jobs);
    return code;
}
