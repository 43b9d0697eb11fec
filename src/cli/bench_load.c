/* bench_load.c: `quern bench --clients N` and `--trace FILE`: an engine under load. Clients send their
 * requests one after the other, or jobs come when a trace says. Where several models are named, the jobs of
 * each are first run alone, then all together. */
#include "cli/bench_load.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash_map.h"
#include "base/random.h"

#include <stdlib.h>
#include <string.h>

enum { NO_JOB = -1 };

typedef struct running run_state;

typedef struct running_job {
    run_state *run;
    size_t job;
    ptrdiff_t next; /* the job that waits for this one; NO_JOB: none */
    quern_request *request;
    uint64_t last_ns; /* of its latest text */
} running_job;

/* A run while it goes on. Samples are of the engine's thread. */
struct running {
    const bench_load_setup *setup;
    bench_load_run *result;
    running_job *jobs; /* [n_jobs] of the setup; those that take part have ->run */
    size_t n_jobs;     /* that take part */
    uint64_t number;   /* of the run: prompts are others each time */
    uint64_t start_ns;
    double *tokens, *seconds; /* [n_clients] what each got, and while it had work */
    qn_progress progress;

    pthread_mutex_t mutex; /* for n_ended */
    pthread_cond_t ended;
    size_t n_ended;
};

/* ---- numbers ----------------------------------------------------------------------------------- */

/* Where there is no memory the sample is missing. */
static void add_sample(bench_samples *s, double x)
{
    if (s->n == s->capacity) {
        double *more = realloc(s->items, (2 * s->capacity + 1024) * sizeof *more);
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

static void sort_samples(bench_load_part *p)
{
    if (p->first_s.n > 0) qsort(p->first_s.items, p->first_s.n, sizeof(double), by_value);
    if (p->gaps_s.n > 0) qsort(p->gaps_s.items, p->gaps_s.n, sizeof(double), by_value);
}

double bench_fairness(const double *shares, size_t n)
{
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < n; i++) sum += shares[i], squares += shares[i] * shares[i];
    return squares > 0.0 ? sum * sum / ((double)n * squares) : 1.0;
}

/* Among the clients that took part: of tokens per second of each while it had work. */
static double fairness_of_clients(const run_state *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->setup->n_clients; i++)
        if (r->seconds[i] > 0.0) r->tokens[n++] = r->tokens[i] / r->seconds[i];
    return bench_fairness(r->tokens, n);
}

/* Where a job is counted. */
enum { N_PARTS = 3 };
static void parts_of(const run_state *r, const bench_job *job, bench_load_part *parts[N_PARTS])
{
    parts[0] = &r->result->all;
    parts[1] = &r->result->models[job->model];
    parts[2] = &r->result->priorities[job->priority];
}

static void count_ended(bench_load_part *p, const quern_request_result *result, double at_s)
{
    p->n_jobs++;
    p->seconds = at_s;
    p->n_prompt += result->n_prompt;
    p->n_cached += result->n_cached;
    p->n_generated += result->n_generated;
    p->n_preempted += result->n_preempted;
    p->n_guessed += result->n_guessed;
    p->n_guessed_right += result->n_guessed_right;
    add_sample(&p->first_s, (double)(result->queued_ns + result->prompt_ns) * 1e-9);
}

/* ---- requests ---------------------------------------------------------------------------------- */

static void start_from(run_state *r, ptrdiff_t i);

static void end_job(run_state *r, size_t i, const quern_request_result *result, const quern_error *error)
{
    const bench_job *job = &r->setup->jobs[i];
    if (error == NULL) {
        const double at_s = (double)(qn_clock_ns() - r->start_ns) * 1e-9;
        bench_load_part *parts[N_PARTS];
        parts_of(r, job, parts);
        for (size_t k = 0; k < N_PARTS; k++) count_ended(parts[k], result, at_s);
        r->tokens[job->client_index] += (double)result->n_generated;
        r->seconds[job->client_index] +=
            (double)(result->queued_ns + result->prompt_ns + result->generate_ns) * 1e-9;
    }
    pthread_mutex_lock(&r->mutex);
    r->n_ended++;
    if (error != NULL) r->result->error = *error, r->result->n_failed++;
    pthread_cond_signal(&r->ended);
    pthread_mutex_unlock(&r->mutex);
}

static void hear(void *user, quern_request *request, const quern_event *event)
{
    running_job *j = user;
    run_state *r = j->run;
    (void)request;
    if (event->kind == QUERN_EVENT_TEXT) {
        const uint64_t now = qn_clock_ns();
        bench_load_part *parts[N_PARTS];
        parts_of(r, &r->setup->jobs[j->job], parts);
        for (size_t k = 0; k < N_PARTS && j->last_ns != 0; k++)
            add_sample(&parts[k]->gaps_s, (double)(now - j->last_ns) * 1e-9);
        j->last_ns = now;
    } else if (event->kind == QUERN_EVENT_FINISHED || event->kind == QUERN_EVENT_FAILED) {
        const ptrdiff_t next = r->jobs[j->job].next; /* first: who waits for all to end then goes on */
        start_from(r, next);
        end_job(r, j->job, &event->result, event->error);
    }
}

/* The text's tokens, or random ones; owned by the caller (quern_free). NULL: *err says why. */
static quern_token *make_prompt(const run_state *r, size_t i, size_t *n_tokens, quern_error *err)
{
    const bench_job *j = &r->setup->jobs[i];
    const quern_model *model = quern_engine_model(r->setup->engine, r->setup->options->models[j->model]);
    const unsigned flags = QUERN_TOKENIZE_ADD_SPECIAL | QUERN_TOKENIZE_PARSE_SPECIAL;
    quern_token *tokens = NULL;
    if (j->text != NULL) {
        quern_tokenize(model, j->text, strlen(j->text), flags, &tokens, n_tokens, err);
        return tokens;
    }
    tokens = qn_malloc(j->n_prompt * sizeof *tokens);
    if (tokens == NULL) qn_fail(err, QUERN_ERR_NOMEM, "bench: no memory");
    qn_random common = {.seed = 2 * r->number}, own = {.seed = 2 * r->number + 1, .stream = i};
    for (size_t k = 0; tokens != NULL && k < j->n_prompt; k++)
        tokens[k] =
            (quern_token)(qn_random_u64(k < j->n_common ? &common : &own) % r->setup->n_vocab[j->model]);
    *n_tokens = j->n_prompt;
    return tokens;
}

/* False: it has ended already. */
static bool start_job(run_state *r, size_t i)
{
    const bench_load *o = r->setup->options;
    const bench_job *j = &r->setup->jobs[i];
    quern_sampler_params sampler = quern_sampler_params_default();
    quern_request_params p = quern_request_params_default();
    quern_error err = {0};
    quern_token *prompt = make_prompt(r, i, &p.n_prompt, &err);
    char scope[32] = "bench";
    if (o->shares_nothing) snprintf(scope, sizeof scope, "job %zu", i);
    sampler.seed = i;
    if (j->temperature >= 0.0) sampler.temperature = (float)j->temperature;
    p.model = o->models[j->model];
    p.prompt = prompt, p.max_tokens = j->n_gen, p.ignore_end = true;
    p.sampler = &sampler, p.priority = j->priority, p.client = j->client, p.cache_scope = scope;
    p.on_event = hear, p.user = &r->jobs[i];
    const bool ok =
        prompt != NULL && quern_submit(r->setup->engine, &p, &r->jobs[i].request, &err) == QUERN_OK;
    quern_free(prompt);
    if (!ok) end_job(r, i, NULL, &err);
    return ok;
}

/* The first of a job and those behind it that can be submitted. */
static void start_from(run_state *r, ptrdiff_t i)
{
    while (i != NO_JOB && !start_job(r, (size_t)i)) i = r->jobs[i].next;
}

static void sleep_until(uint64_t ns)
{
    for (uint64_t now; (now = qn_clock_ns()) < ns;)
        nanosleep(&(struct timespec){.tv_sec = (time_t)((ns - now) / 1000000000),
                                     .tv_nsec = (long)((ns - now) % 1000000000)},
                  NULL);
}

/* ---- a run ------------------------------------------------------------------------------------- */

/* Which jobs take part (those of one model, or of all: SIZE_MAX), and who waits for whom. */
static void choose_jobs(run_state *r, size_t model, ptrdiff_t *last)
{
    const bench_load_setup *s = r->setup;
    for (size_t i = 0; i < s->n_clients; i++) last[i] = NO_JOB;
    for (size_t i = 0; i < s->n_jobs; i++) {
        const bench_job *j = &s->jobs[i];
        if (model != SIZE_MAX && j->model != model) continue;
        r->jobs[i] = (running_job){.run = r, .job = i, .next = NO_JOB};
        r->n_jobs++;
        if (j->at_s >= 0.0) continue;
        if (last[j->client_index] != NO_JOB) r->jobs[last[j->client_index]].next = (ptrdiff_t)i;
        last[j->client_index] = (ptrdiff_t)i;
    }
}

/* Jobs with a time come then; of the others the first of each client at once. has_begun: [n_clients] false.
 */
static void submit_all(run_state *r, bool *has_begun)
{
    const bench_load_setup *s = r->setup;
    for (size_t i = 0; i < s->n_jobs; i++) {
        const bench_job *j = &s->jobs[i];
        if (r->jobs[i].run == NULL) continue;
        if (j->at_s < 0.0 && has_begun[j->client_index]) continue;
        if (j->at_s < 0.0) has_begun[j->client_index] = true;
        if (j->at_s > 0.0) sleep_until(r->start_ns + (uint64_t)(j->at_s * 1e9));
        if (j->at_s < 0.0) start_from(r, (ptrdiff_t)i);
        else start_job(r, i);
    }
}

/* What an engine did between two moments, as far as a report tells it. */
static void subtract(quern_engine_metrics *m, const quern_engine_metrics *before)
{
    m->wall_ns -= before->wall_ns;
    m->idle_ns -= before->idle_ns;
    m->schedule_ns -= before->schedule_ns;
    m->model_ns -= before->model_ns;
    m->draft_ns -= before->draft_ns;
    m->draw_ns -= before->draw_ns;
    m->tell_ns -= before->tell_ns;
    m->n_steps -= before->n_steps;
    m->n_step_tokens -= before->n_step_tokens;
    m->n_loads -= before->n_loads;
}

static void run_jobs(run_state *r, bool *has_begun)
{
    quern_engine_metrics before;
    quern_engine_get_metrics(r->setup->engine, &before);
    r->start_ns = qn_clock_ns();
    submit_all(r, has_begun);
    pthread_mutex_lock(&r->mutex);
    while (r->n_ended < r->n_jobs) {
        qn_progress_update(&r->progress, r->n_ended, r->n_jobs);
        pthread_cond_wait(&r->ended, &r->mutex);
    }
    pthread_mutex_unlock(&r->mutex);
    qn_progress_finish(&r->progress);
    quern_engine_get_metrics(r->setup->engine, &r->result->metrics);
    subtract(&r->result->metrics, &before);
    for (size_t i = 0; i < r->setup->n_jobs; i++) quern_request_release(r->jobs[i].request);
    r->result->fairness = fairness_of_clients(r);
    sort_samples(&r->result->all);
    for (size_t i = 0; i < r->setup->options->n_models; i++) sort_samples(&r->result->models[i]);
    for (size_t i = 0; i < BENCH_PRIORITIES; i++) sort_samples(&r->result->priorities[i]);
}

/* Runs the jobs of a model, or all (SIZE_MAX). An exit code, or -1. */
static int run(const bench_load_setup *s, uint64_t number, size_t model, bench_load_run *result)
{
    run_state r = {.setup = s, .result = result, .number = number, .progress = {.label = "requests"}};
    ptrdiff_t *last = malloc(s->n_clients * sizeof *last);
    bool *has_begun = calloc(s->n_clients, sizeof *has_begun);
    r.jobs = calloc(s->n_jobs, sizeof *r.jobs);
    r.tokens = calloc(s->n_clients, sizeof *r.tokens);
    r.seconds = calloc(s->n_clients, sizeof *r.seconds);
    result->models = calloc(s->options->n_models, sizeof *result->models);
    int code = -1;
    if (last == NULL || has_begun == NULL || r.jobs == NULL || r.tokens == NULL || r.seconds == NULL ||
        result->models == NULL) {
        code = qn_cli_fail_text("bench: no memory");
    } else {
        pthread_mutex_init(&r.mutex, NULL);
        pthread_cond_init(&r.ended, NULL);
        choose_jobs(&r, model, last);
        run_jobs(&r, has_begun);
        pthread_cond_destroy(&r.ended);
        pthread_mutex_destroy(&r.mutex);
    }
    free(last), free(has_begun), free(r.jobs), free(r.tokens), free(r.seconds);
    return code;
}

static void free_part(bench_load_part *p)
{
    free(p->first_s.items), free(p->gaps_s.items);
}

static void free_run(bench_load_run *r, size_t n_models)
{
    free_part(&r->all);
    for (size_t i = 0; i < n_models && r->models != NULL; i++) free_part(&r->models[i]);
    for (size_t i = 0; i < BENCH_PRIORITIES; i++) free_part(&r->priorities[i]);
    free(r->models);
}

/* ---- the jobs ---------------------------------------------------------------------------------- */

/* n_clients with n_requests each, one after the other, and by turns of the models. */
static int make_jobs(bench_load_setup *s)
{
    const bench_load *o = s->options;
    const size_t n_clients = (size_t)o->n_clients;
    if (o->trace != NULL) return bench_trace_read(o, &s->jobs, &s->n_jobs);
    if (n_clients < o->n_models)
        return qn_cli_usage("bench: --clients %zu are too few for %zu models", n_clients, o->n_models);
    s->n_jobs = n_clients * (size_t)o->n_requests;
    s->jobs = calloc(s->n_jobs, sizeof *s->jobs);
    if (s->jobs == NULL) return qn_cli_fail_text("bench: no memory");
    for (size_t i = 0; i < s->n_jobs; i++) {
        bench_job *j = &s->jobs[i];
        *j = (bench_job){.at_s = -1.0,
                         .model = i % n_clients % o->n_models,
                         .n_prompt = (uint32_t)o->n_prompt,
                         .n_common = (uint32_t)o->n_common,
                         .n_gen = (uint32_t)o->n_gen,
                         .temperature = -1.0,
                         .priority = QUERN_PRIORITY_NORMAL};
        snprintf(j->client, sizeof j->client, "client %zu", i % n_clients);
    }
    return -1;
}

static int number_clients(bench_load_setup *s)
{
    qn_hash_map clients = {0};
    bool ok = true;
    for (size_t i = 0; i < s->n_jobs && ok; i++) {
        bench_job *j = &s->jobs[i];
        int64_t known;
        ok = qn_hash_map_add(&clients, j->client, strlen(j->client), (uint32_t)s->n_clients, &known);
        j->client_index = known != QN_HASH_NONE ? (size_t)known : s->n_clients++;
    }
    qn_hash_map_deinit(&clients);
    return ok ? -1 : qn_cli_fail_text("bench: no memory");
}

/* ---- the engine -------------------------------------------------------------------------------- */

static quern_engine_model_params model_params(const bench_load_setup *s, size_t model)
{
    const bench_load *o = s->options;
    quern_engine_model_params m = quern_engine_model_params_default();
    m.n_ctx = (uint32_t)o->n_ctx;
    for (size_t i = 0; i < s->n_jobs && o->n_ctx == 0; i++)
        if (s->jobs[i].model == model && s->jobs[i].n_prompt + s->jobs[i].n_gen > m.n_ctx)
            m.n_ctx = s->jobs[i].n_prompt + s->jobs[i].n_gen;
    if (o->n_parallel > 0) m.n_parallel = (uint32_t)o->n_parallel;
    m.n_positions = o->n_positions > 0 ? (uint64_t)o->n_positions : UINT64_MAX; /* as many as can be used */
    m.no_guesses = o->no_guesses;
    m.draft = s->draft;
    m.n_draft = (uint32_t)o->n_draft;
    m.type_k = o->type_k;
    m.type_v = o->type_v;
    return m;
}

/* Makes a model known and loads it. An exit code, or -1. */
static int add_model(bench_load_setup *s, size_t model, const qn_pack_choice *pack)
{
    const char *name = s->options->models[model];
    const quern_engine_model_params m = model_params(s, model);
    quern_model_params params;
    quern_model_info info;
    quern_error err;
    if (!qn_cli_model_params(&params, (int)s->options->n_threads, pack, &s->loading)) return QN_EXIT_FAILURE;
    char *path = qn_cli_model_path(name, true);
    if (path == NULL) return QN_EXIT_FAILURE;
    const bool ok = quern_engine_register_model(s->engine, name, path, &params, &m, &err) == QUERN_OK &&
                    quern_engine_load_model(s->engine, name, true, &err) == QUERN_OK;
    qn_progress_finish(&s->loading);
    quern_free(path);
    if (!ok) return qn_cli_fail(&err);
    quern_model_get_info(quern_engine_model(s->engine, name), &info);
    s->n_vocab[model] = info.n_vocab;
    return -1;
}

static int open_engine(bench_load_setup *s, const qn_pack_choice *pack)
{
    const bench_load *o = s->options;
    quern_error err;
    quern_engine_params params = quern_engine_params_default();
    params.n_threads = (int)o->n_threads;
    params.cache_directory = o->directory;
    params.memory_limit = (uint64_t)(o->memory_mb * 1e6);
    if (o->draft != NULL) {
        s->draft = qn_cli_open_packed(o->draft, QN_OPEN_FULL, (int)o->n_threads, pack);
        if (s->draft == NULL) return QN_EXIT_FAILURE;
    }
    if (quern_engine_create(&s->engine, &params, &err) != QUERN_OK) return qn_cli_fail(&err);
    int code = -1;
    for (size_t i = 0; i < o->n_models && code < 0; i++) code = add_model(s, i, pack);
    return code;
}

/* ---- the whole --------------------------------------------------------------------------------- */

/* Each model alone, if there are several, then all. */
static int run_and_report(const bench_load_setup *s)
{
    const size_t n_models = s->options->n_models, n_alone = n_models > 1 ? n_models : 0;
    bench_load_run together = {0}, *alone = calloc(n_models, sizeof *alone);
    quern_error err;
    int code = alone != NULL ? -1 : qn_cli_fail_text("bench: no memory");
    for (size_t i = 0; i < n_alone && code < 0; i++) {
        if (quern_engine_load_model(s->engine, s->options->models[i], true, &err) != QUERN_OK)
            code = qn_cli_fail(&err);
        else code = run(s, i + 1, i, &alone[i]);
        if (code < 0 && alone[i].n_failed > 0) code = qn_cli_fail(&alone[i].error);
    }
    if (code < 0) code = run(s, 0, SIZE_MAX, &together);
    if (code < 0) code = bench_load_report(s, &together, alone);
    if (together.n_failed > 0) code = qn_cli_fail(&together.error);
    for (size_t i = 0; i < n_alone && alone != NULL; i++) free_run(&alone[i], n_models);
    free_run(&together, n_models);
    free(alone);
    return code;
}

int bench_load_main(const bench_load *load, const qn_pack_choice *pack)
{
    bench_load_setup s = {.options = load, .loading = {.label = "loading"}};
    int code = make_jobs(&s);
    if (code < 0) code = number_clients(&s);
    if (code < 0) code = open_engine(&s, pack);
    if (code < 0) code = run_and_report(&s);
    quern_engine_destroy(s.engine);
    quern_model_close(s.draft);
    bench_jobs_free(s.jobs, s.n_jobs);
    return code;
}
