/* bench.h: what the files of `quern bench` share: what is to be measured, and what was. */
#ifndef QN_CLI_BENCH_H
#define QN_CLI_BENCH_H

#include "cli/cli.h"

#include <stdio.h>
#include <time.h>

enum { QN_MAX_BENCH_LIST = 64, QN_MAX_BENCH_CASES = 4096, QN_MAX_BENCH_REPS = 1000 };

typedef struct bench_numbers {
    uint32_t items[QN_MAX_BENCH_LIST];
    size_t n_items;
} bench_numbers;

/* Appends "1,2,4", "1-4" (each), "0-4096+1024" (steps) or "1-16*2" (doublings), or lists of these. -1: done,
 * else an exit code, message printed with the option's name. */
int bench_numbers_parse(bench_numbers *list, const char *option, const char *text, uint32_t min,
                        uint32_t max);

/* One row of the report: what is measured. */
typedef struct bench_case {
    uint32_t n_prompt, n_gen; /* tokens of each sequence; both: a mixed test */
    uint32_t depth, n_batch, n_sequences;
    int n_threads;
    quern_kv_type type_k, type_v;
} bench_case;

typedef struct bench_row { /* and what it gave; speeds are tokens/s of all sequences together */
    bench_case what;
    char test[48], cache_type[16]; /* "gen128", "f16" */
    double samples[QN_MAX_BENCH_REPS];
    size_t n_samples;
    double median, mean, stddev, min, max;
    quern_profile profile;                                                  /* of one run */
    double weight_bytes, kv_bytes, int8_multiply_adds, float_multiply_adds; /* a token, counted */
    const quern_limits *limits;                                             /* NULL: not measured */
    double memory_share, vector_share;                                      /* of limits, 0 to about 1 */
    double load_seconds;
    uint64_t peak_bytes; /* resident so far; 0: unknown */
    time_t time;         /* when it was measured */
} bench_row;

typedef enum bench_format { BENCH_TEXT, BENCH_MARKDOWN, BENCH_JSON, BENCH_CSV } bench_format;

typedef struct bench {
    quern_model *model;
    quern_model_info info;
    double open_seconds;
    long reps;
    bool profile, with_limits;
    bench_format format;
    const char *plot_path; /* or NULL */
    bench_case *cases;     /* [n_cases] */
    bench_row *rows;       /* [n_cases], n_rows are done */
    size_t n_cases, n_rows;
    quern_limits *limits; /* [n_limits], one for each number of threads */
    size_t n_limits;
} bench;

/* ---- bench_measure.c ---- */

void bench_test_name(const bench_case *c, char *name, size_t size);
bool bench_limits(bench *b); /* fills limits; false: message printed */
/* Runs one case; false: message printed. progress: shown while it runs. */
bool bench_measure(const bench *b, const bench_case *c, const char *progress, bench_row *row);
/* The shares that a count of bytes and multiply-adds done in `seconds` has of the limits. */
void bench_shares(const quern_limits *l, double bytes, double int8_multiply_adds, double float_multiply_adds,
                  double seconds, double *memory, double *vector);

/* ---- bench_report.c ---- */

void bench_report_begin(const bench *b);
void bench_report_row(const bench *b, const bench_row *row); /* text and Markdown: as soon as it is known */
int bench_report_end(const bench *b);                        /* an exit code */
void bench_profile_text(const bench_row *row);
json_t *bench_row_json(const bench *b, const bench_row *row);

/* ---- bench_plot.c ---- */

int bench_plot(const bench *b); /* writes the SVG; an exit code */

#endif
