/* bench_trace.c: who asks for what and when, from a file of JSON lines: the load for `quern bench --trace`.
 */
#include "cli/bench_load.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_JOBS = 1 << 20, MAX_JOB_TOKENS = 1 << 24, MAX_ADDED = 2 /* tokens around a text */ };

static bool read_count(const json_t *line, const char *key, uint32_t otherwise, uint32_t *out)
{
    const json_t *value = json_object_get(line, key);
    const json_int_t n = value != NULL ? json_integer_value(value) : otherwise;
    if ((value != NULL && !json_is_integer(value)) || n < 0 || n > MAX_JOB_TOKENS) return false;
    *out = (uint32_t)n;
    return true;
}

const char *const bench_priority_names[BENCH_PRIORITIES] = {[QUERN_PRIORITY_INTERACTIVE] = "interactive",
                                                            [QUERN_PRIORITY_NORMAL] = "normal",
                                                            [QUERN_PRIORITY_LOW] = "low",
                                                            [QUERN_PRIORITY_BACKGROUND] = "background"};

static bool read_priority(const json_t *line, quern_priority *out)
{
    const json_t *value = json_object_get(line, "priority");
    *out = QUERN_PRIORITY_NORMAL;
    if (value == NULL) return true;
    for (size_t i = 0; i < BENCH_PRIORITIES; i++)
        if (json_is_string(value) && strcmp(json_string_value(value), bench_priority_names[i]) == 0)
            return *out = (quern_priority)i, true;
    return false;
}

/* A model by its name on the command line; none: the first. */
static bool read_model(const bench_load *load, const json_t *line, size_t *out)
{
    const json_t *value = json_object_get(line, "model");
    for (*out = 0; value != NULL && *out < load->n_models; ++*out)
        if (json_is_string(value) && strcmp(json_string_value(value), load->models[*out]) == 0) break;
    return *out < load->n_models;
}

/* A prompt as text. False: it is none, or there is no memory. */
static bool read_text(const json_t *line, bench_job *job)
{
    const json_t *value = json_object_get(line, "text");
    if (value == NULL) return true;
    if (!json_is_string(value) || json_string_length(value) >= MAX_JOB_TOKENS) return false;
    job->text = strdup(json_string_value(value));
    job->n_prompt = (uint32_t)json_string_length(value) + MAX_ADDED;
    job->n_common = 0;
    return job->text != NULL;
}

static bool read_temperature(const json_t *line, double *out)
{
    const json_t *value = json_object_get(line, "temperature");
    *out = value != NULL ? json_number_value(value) : -1.0;
    return value == NULL || (json_is_number(value) && *out >= 0.0 && *out <= 100.0);
}

/* What is wrong with a line; NULL: nothing. */
static const char *read_job(const bench_load *load, const json_t *line, bench_job *job)
{
    const char *client = json_string_value(json_object_get(line, "client"));
    const json_t *at = json_object_get(line, "at");
    *job = (bench_job){.at_s = at != NULL ? json_number_value(at) : -1.0};
    if (!json_is_object(line)) return "expected an object";
    snprintf(job->client, sizeof job->client, "%s", client != NULL ? client : "");
    if (!read_model(load, line, &job->model)) return "\"model\": none of the command line's has this name";
    if (at != NULL && (!json_is_number(at) || job->at_s < 0.0 || job->at_s > 1e6))
        return "\"at\": expected seconds from 0 on";
    if (!read_count(line, "prompt", 512, &job->n_prompt) || job->n_prompt == 0)
        return "\"prompt\": expected a number of tokens";
    if (!read_count(line, "common", 0, &job->n_common) || job->n_common > job->n_prompt)
        return "\"common\": expected a number of tokens, at most those of the prompt";
    if (!read_count(line, "gen", 64, &job->n_gen) || job->n_gen == 0)
        return "\"gen\": expected a number of tokens";
    if (!read_priority(line, &job->priority))
        return "\"priority\": expected interactive, normal, low or background";
    if (!read_temperature(line, &job->temperature)) return "\"temperature\": expected a number from 0 to 100";
    if (!read_text(line, job)) return "\"text\": expected the text of a prompt";
    return NULL;
}

void bench_jobs_free(bench_job *jobs, size_t n_jobs)
{
    for (size_t i = 0; i < n_jobs && jobs != NULL; i++) free(jobs[i].text);
    free(jobs);
}

static int by_time(const void *x, const void *y)
{
    const bench_job *a = x, *b = y;
    if (a->at_s != b->at_s) return a->at_s < b->at_s ? -1 : 1;
    return (a->line > b->line) - (a->line < b->line);
}

int bench_trace_read(const bench_load *load, bench_job **jobs, size_t *n_jobs)
{
    const char *path = load->trace;
    size_t n_bytes, capacity = 0, n_line = 0;
    char *text = qn_cli_read_text(path, &n_bytes, NULL);
    int code = text != NULL ? -1 : QN_EXIT_FAILURE;
    *jobs = NULL;
    *n_jobs = 0;
    for (char *at = text, *end; code < 0 && at != NULL && *at != '\0'; at = end) {
        json_error_t error;
        const size_t n = strcspn(at, "\n");
        end = at + n + (at[n] == '\n');
        n_line++;
        if (strspn(at, " \t\r") >= n) continue;
        if (*n_jobs == capacity) {
            bench_job *more = realloc(*jobs, (capacity = 2 * capacity + 64) * sizeof *more);
            if (more == NULL) code = qn_cli_fail_text("%s: no memory", path);
            else *jobs = more;
        }
        if (code < 0 && *n_jobs == MAX_JOBS)
            code = qn_cli_fail_text("%s: more than %d lines", path, MAX_JOBS);
        if (code >= 0) break;
        (*jobs)[*n_jobs] = (bench_job){0};
        json_t *line = json_loadb(at, n, 0, &error);
        const char *wrong = line != NULL ? read_job(load, line, &(*jobs)[*n_jobs]) : error.text;
        (*jobs)[*n_jobs].line = n_line;
        if (wrong != NULL) code = qn_cli_fail_text("%s: line %zu: %s", path, n_line, wrong);
        json_decref(line);
        ++*n_jobs; /* also one that is wrong: what it owns is freed with the others */
    }
    quern_free(text);
    if (code < 0 && *n_jobs == 0) code = qn_cli_fail_text("%s: no jobs", path);
    if (code < 0) qsort(*jobs, *n_jobs, sizeof **jobs, by_time);
    return code;
}
