/* bench_load.h: what the files of a load share (`quern bench --clients`, `--trace`): who asks which model for
 * what and when, how that is run (bench_load.c), and what is told of it (bench_load_report.c). */
#ifndef QN_CLI_BENCH_LOAD_H
#define QN_CLI_BENCH_LOAD_H

#include "cli/cli.h"

#include <pthread.h>

typedef struct bench_job { /* one request */
    char client[32];
    size_t line;         /* of the trace */
    size_t client_index; /* of the clients, in the order of their first jobs */
    size_t model;        /* index */
    double at_s;         /* when it comes; negative: when the one before it of its client has ended */
    char *text;          /* the prompt, owned; NULL: n_prompt random tokens */
    uint32_t n_prompt, n_common, n_gen; /* n_prompt: of a text at most; n_common: of the prompt, the same
                                           tokens in all jobs */
    double temperature;                 /* negative: the default */
    quern_priority priority;
} bench_job;

enum { BENCH_MAX_MODELS = 64, BENCH_PRIORITIES = QUERN_PRIORITY_BACKGROUND + 1 };

typedef struct bench_load { /* what is asked for */
    char *const *models;    /* [n_models] as they were named */
    size_t n_models;
    const char *trace;     /* a file of jobs, or NULL: the numbers that follow */
    const char *directory; /* for pages on the disk; NULL: none are kept */
    const char *draft;     /* a model that guesses; NULL: none */
    long n_draft;          /* tokens at once; 0: as many as save time */
    long n_clients, n_requests, n_prompt, n_common, n_gen;
    long n_parallel, n_ctx, n_positions, n_threads; /* of the engine; 0: its defaults */
    double memory_mb;                               /* that all models may take; 0: what there is */
    bool no_guesses, shares_nothing, json;
    quern_kv_type type_k, type_v;
} bench_load;

typedef struct bench_samples {
    double *items;
    size_t n, capacity;
} bench_samples;

/* What came of the jobs of one model, or of all. */
typedef struct bench_load_part {
    size_t n_jobs;
    bench_samples first_s, gaps_s; /* in order, once the run is over */
    uint64_t n_prompt, n_cached, n_generated, n_preempted, n_guessed, n_guessed_right;
    double seconds; /* until the last of them had ended */
} bench_load_part;

/* Jobs of one model or of all, run once. */
typedef struct bench_load_run {
    bench_load_part all, *models; /* [n_models] */
    bench_load_part priorities[BENCH_PRIORITIES];
    quern_engine_metrics metrics; /* of the engine, during it */
    double fairness;              /* among clients: 1 is alike */
    size_t n_failed;
    quern_error error; /* of one that failed */
} bench_load_run;

/* The engine with its models, and the jobs. */
typedef struct bench_load_setup {
    const bench_load *options;
    quern_engine *engine;
    quern_model *draft;  /* or NULL */
    qn_progress loading; /* of the model that is being loaded */
    uint32_t n_vocab[BENCH_MAX_MODELS];
    bench_job *jobs; /* [n_jobs] by time */
    size_t n_jobs, n_clients;
} bench_load_setup;

int bench_load_main(const bench_load *load, const qn_pack_choice *pack); /* an exit code */

/* Jain, Chiu and Hawe's index: 1 where all n shares are alike, 1 / n where one has everything. */
double bench_fairness(const double *shares, size_t n);

/* ---- bench_load_report.c ---- */

/* together: all jobs; alone: [n_models] those of each model while no other was asked, if there are several.
 * Returns an exit code. */
int bench_load_report(const bench_load_setup *s, const bench_load_run *together, const bench_load_run *alone);

/* ---- bench_trace.c ---- */

/* Reads lines {"client": "a", "model": "m", "at": 1.5, "prompt": 512, "common": 400, "gen": 64, "priority":
 * "low"}, or with {"text": "...", "temperature": 0}; owned by the caller (bench_jobs_free). An exit code with
 * a message, or -1. */
int bench_trace_read(const bench_load *load, bench_job **jobs, size_t *n_jobs);
extern const char *const bench_priority_names[BENCH_PRIORITIES];
void bench_jobs_free(bench_job *jobs, size_t n_jobs);

#endif
