/* bench_load_report.c: what came of a load: speed of all together, times to the first token and between
 * tokens (medians and 99th percentiles), where the engine's time went, and how alike clients were served; of
 * several models what each did alone and beside the others. */
#include "cli/bench_load.h"

#include <stdlib.h>
#include <string.h>

/* The samples are in order. */
static double percentile(const bench_samples *s, double share)
{
    return s->n > 0 ? s->items[(size_t)(share * (double)(s->n - 1))] : 0.0;
}

static double speed_of(const bench_load_part *p)
{
    return p->seconds > 0.0 ? (double)p->n_generated / p->seconds : 0.0;
}

/* Of the share of its own speed that each model kept beside the others. */
static double fairness_of_models(size_t n, const bench_load_run *together, const bench_load_run *alone)
{
    double kept[BENCH_MAX_MODELS];
    size_t n_kept = 0;
    for (size_t i = 0; i < n; i++)
        if (together->models[i].n_jobs > 0 && speed_of(&alone[i].models[i]) > 0.0)
            kept[n_kept++] = speed_of(&together->models[i]) / speed_of(&alone[i].models[i]);
    return bench_fairness(kept, n_kept);
}

/* What a model takes, by the engine's word. */
static quern_engine_model_info info_of(const bench_load_setup *s, size_t i)
{
    quern_engine_model_info info = {0};
    quern_engine_get_model(s->engine, i, &info);
    return info;
}

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

/* ---- JSON -------------------------------------------------------------------------------------- */

static json_t *samples_json(const bench_samples *s)
{
    return json_pack("{s:f, s:f, s:f, s:I}", "p50", percentile(s, 0.5), "p99", percentile(s, 0.99), "max",
                     percentile(s, 1.0), "n", (json_int_t)s->n);
}

static json_t *part_json(const bench_load_part *p)
{
    return json_pack("{s:I, s:f, s:I, s:I, s:I, s:f, s:o, s:o, s:I, s:I, s:I}", "requests",
                     (json_int_t)p->n_jobs, "seconds", p->seconds, "prompt_tokens", (json_int_t)p->n_prompt,
                     "cached_tokens", (json_int_t)p->n_cached, "generated_tokens", (json_int_t)p->n_generated,
                     "tokens_per_second", speed_of(p), "first_token_seconds", samples_json(&p->first_s),
                     "gap_seconds", samples_json(&p->gaps_s), "preempted", (json_int_t)p->n_preempted,
                     "guessed", (json_int_t)p->n_guessed, "guessed_right", (json_int_t)p->n_guessed_right);
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

static json_t *models_json(const bench_load_setup *s, const bench_load_run *together,
                           const bench_load_run *alone)
{
    json_t *models = json_array();
    for (size_t i = 0; i < s->options->n_models; i++) {
        const quern_engine_model_info info = info_of(s, i);
        json_t *model = json_pack("{s:o, s:I, s:I, s:o}", "model", json_string(s->options->models[i]),
                                  "memory_bytes", (json_int_t)info.full_bytes, "loads",
                                  (json_int_t)info.n_loads, "together", part_json(&together->models[i]));
        if (s->options->n_models > 1) json_object_set_new(model, "alone", part_json(&alone[i].models[i]));
        json_array_append_new(models, model);
    }
    return models;
}

static json_t *priorities_json(const bench_load_run *r)
{
    json_t *priorities = json_object();
    for (size_t i = 0; i < BENCH_PRIORITIES; i++)
        if (r->priorities[i].n_jobs > 0)
            json_object_set_new(priorities, bench_priority_names[i], part_json(&r->priorities[i]));
    return priorities;
}

static int report_json(const bench_load_setup *s, const bench_load_run *together, const bench_load_run *alone)
{
    json_t *o = part_json(&together->all);
    json_object_update_new(
        o,
        json_pack("{s:I, s:f, s:I, s:I, s:I, s:o, s:o, s:o}", "failed", (json_int_t)together->n_failed,
                  "fairness", together->fairness, "steps", (json_int_t)together->metrics.n_steps, "loads",
                  (json_int_t)together->metrics.n_loads, "memory_bytes",
                  (json_int_t)together->metrics.memory_bytes, "time_seconds", times_json(&together->metrics),
                  "models", models_json(s, together, alone), "priorities", priorities_json(together)));
    if (s->options->n_models > 1)
        json_object_set_new(o, "fairness_of_models",
                            json_real(fairness_of_models(s->options->n_models, together, alone)));
    return qn_cli_print_json(o);
}

/* ---- text -------------------------------------------------------------------------------------- */

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

static void print_models(const bench_load_setup *s, const bench_load_run *together,
                         const bench_load_run *alone)
{
    const size_t n = s->options->n_models;
    int widest = 5;
    for (size_t i = 0; i < n; i++)
        if ((int)strlen(s->options->models[i]) > widest) widest = (int)strlen(s->options->models[i]);
    printf("\n%-*s  %22s  %33s\n", widest, "", "alone", "beside the others");
    printf("%-*s  %10s  %10s  %10s  %10s  %9s  %9s  %s\n", widest, "model", "tokens/s", "first", "tokens/s",
           "first", "p99 gap", "memory", "loads");
    for (size_t i = 0; i < n; i++) {
        const bench_load_part *a = &alone[i].models[i], *t = &together->models[i];
        const quern_engine_model_info info = info_of(s, i);
        printf("%-*s  %10.1f  %8.3f s  %10.1f  %8.3f s  %6.1f ms  %9s  %5zu\n", widest, s->options->models[i],
               speed_of(a), percentile(&a->first_s, 0.5), speed_of(t), percentile(&t->first_s, 0.5),
               percentile(&t->gaps_s, 0.99) * 1e3, qn_cli_bytes(info.full_bytes).text, info.n_loads);
    }
    printf("fairness of models %.3f (of the share of its speed alone that each kept; 1: alike)\n",
           fairness_of_models(n, together, alone));
}

static void print_waits(const bench_load_part *p, const char *label)
{
    printf("%-13s first token median %.3f s, p99 %.3f s, longest %.3f s; gaps median %.1f ms, p99 %.1f ms, "
           "longest %.1f ms\n",
           label, percentile(&p->first_s, 0.5), percentile(&p->first_s, 0.99), percentile(&p->first_s, 1.0),
           percentile(&p->gaps_s, 0.5) * 1e3, percentile(&p->gaps_s, 0.99) * 1e3,
           percentile(&p->gaps_s, 1.0) * 1e3);
}

static void print_all(const bench_load_run *r)
{
    const bench_load_part *p = &r->all;
    printf("%zu requests in %.2f s: %.1f tokens/s generated, %.1f tokens/s of prompts read\n", p->n_jobs,
           p->seconds, speed_of(p),
           p->seconds > 0.0 ? (double)(p->n_prompt - p->n_cached) / p->seconds : 0.0);
    printf("prompts       %llu tokens, %llu of them found computed\n", (unsigned long long)p->n_prompt,
           (unsigned long long)p->n_cached);
    print_waits(p, "waits");
    for (size_t i = 0; i < BENCH_PRIORITIES; i++)
        if (r->priorities[i].n_jobs > 0 && r->priorities[i].n_jobs < p->n_jobs)
            print_waits(&r->priorities[i], bench_priority_names[i]);
    printf("fairness      %.3f (1: all clients were served alike)\n", r->fairness);
    printf("guesses       %llu, %llu right\n", (unsigned long long)p->n_guessed,
           (unsigned long long)p->n_guessed_right);
    printf("made room     %llu times\n", (unsigned long long)p->n_preempted);
    printf("memory        %s, %llu models loaded meanwhile\n", qn_cli_bytes(r->metrics.memory_bytes).text,
           (unsigned long long)r->metrics.n_loads);
    print_times(&r->metrics);
}

int bench_load_report(const bench_load_setup *s, const bench_load_run *together, const bench_load_run *alone)
{
    if (s->options->json) return report_json(s, together, alone);
    print_all(together);
    if (s->options->n_models > 1) print_models(s, together, alone);
    return qn_cli_flush();
}
