/* metrics.c: GET /metrics, in the text format of Prometheus
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). */
#include "serve/native.h"
#include "serve/server_parts.h"

#include <inttypes.h>
#include <math.h>

static void head(qn_buffer *out, const char *name, const char *type, const char *help)
{
    qn_buffer_printf(out, "# HELP quern_%s %s\n# TYPE quern_%s %s\n", name, help, name, type);
}

static void counter(qn_buffer *out, const char *name, const char *help, uint64_t value)
{
    head(out, name, "counter", help);
    qn_buffer_printf(out, "quern_%s %" PRIu64 "\n", name, value);
}

static void gauge(qn_buffer *out, const char *name, const char *help, uint64_t value)
{
    head(out, name, "gauge", help);
    qn_buffer_printf(out, "quern_%s %" PRIu64 "\n", name, value);
}

static void histogram(qn_buffer *out, const char *name, const char *help, const quern_histogram *h)
{
    uint64_t n = 0;
    head(out, name, "histogram", help);
    for (size_t i = 0; i < QUERN_HISTOGRAM_BUCKETS; i++) {
        const double bound = quern_histogram_bound(i);
        n += h->counts[i];
        if (isinf(bound)) qn_buffer_printf(out, "quern_%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, n);
        else qn_buffer_printf(out, "quern_%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bound, n);
    }
    qn_buffer_printf(out, "quern_%s_sum %.9g\nquern_%s_count %" PRIu64 "\n", name, h->sum, name, h->n);
}

static void write_requests(qn_buffer *out, const quern_engine_metrics *m)
{
    counter(out, "requests_total", "Answers that were taken on.", m->n_submitted);
    counter(out, "requests_refused_total", "Requests that were not.", m->n_refused);
    counter(out, "requests_failed_total", "Answers that ended with an error.", m->n_failed);
    head(out, "requests_finished_total", "counter", "Answers by how they ended.");
    for (int i = 0; i <= QUERN_FINISH_TIMEOUT; i++)
        qn_buffer_printf(out, "quern_requests_finished_total{reason=\"%s\"} %" PRIu64 "\n",
                         quern_finish_text((quern_finish)i), m->n_finished[i]);
    gauge(out, "requests_running", "Answers that were begun and have not ended.", m->n_begun);
    gauge(out, "requests_waiting", "Answers that wait.", m->n_waiting);
    counter(out, "preemptions_total", "Times that an answer had to make room.", m->n_preempted);
}

static void write_tokens(qn_buffer *out, const quern_engine_metrics *m)
{
    counter(out, "prompt_tokens_total", "Tokens of prompts of answers that have ended.", m->n_prompt_tokens);
    counter(out, "prompt_tokens_cached_total", "Of these, found computed.", m->n_cached_tokens);
    counter(out, "generated_tokens_total", "Tokens drawn.", m->n_generated_tokens);
    counter(out, "guessed_tokens_total", "Tokens guessed ahead.", m->n_guessed);
    counter(out, "guessed_right_tokens_total", "Of these, came true.", m->n_guessed_right);
    counter(out, "steps_total", "Steps of models.", m->n_steps);
    counter(out, "step_tokens_total", "Tokens that steps computed.", m->n_step_tokens);
}

static void write_times(qn_buffer *out, const quern_engine_metrics *m)
{
    const struct {
        const char *what;
        uint64_t ns;
    } parts[] = {{"idle", m->idle_ns},   {"schedule", m->schedule_ns}, {"model", m->model_ns},
                 {"draft", m->draft_ns}, {"draw", m->draw_ns},         {"tell", m->tell_ns}};
    head(out, "engine_seconds_total", "counter",
         "Seconds by what the engine did; they add up to all that have passed.");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        qn_buffer_printf(out, "quern_engine_seconds_total{part=\"%s\"} %.6f\n", parts[i].what,
                         (double)parts[i].ns / 1e9);
    histogram(out, "queued_seconds", "From the request to its begin.", &m->queued);
    histogram(out, "first_token_seconds", "From the request to the first token.", &m->first_token);
    histogram(out, "inter_token_seconds", "Between two steps in which an answer drew tokens.", &m->gap);
    histogram(out, "request_seconds", "From the request to its end.", &m->duration);
    histogram(out, "request_tokens_per_second", "Of an answer after its first token.", &m->tokens_per_second);
}

/* In a label backslashes, quotes and line ends are escaped. */
static void label(qn_buffer *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n') qn_buffer_puts(out, "\\n");
        else if (*text == '"' || *text == '\\') qn_buffer_printf(out, "\\%c", *text);
        else qn_buffer_putc(out, *text);
    }
}

static void model_bytes(qn_buffer *out, const char *model, const char *purpose, uint64_t n_bytes)
{
    qn_buffer_puts(out, "quern_model_memory_bytes{model=\"");
    label(out, model);
    qn_buffer_printf(out, "\",purpose=\"%s\"} %" PRIu64 "\n", purpose, n_bytes);
}

static void write_models(qn_buffer *out, qn_server *s, const quern_engine_metrics *m)
{
    quern_engine_model_info info;
    counter(out, "model_loads_total", "Models that were loaded.", m->n_loads);
    counter(out, "model_loads_failed_total", "Models that could not be.", m->n_failed_loads);
    gauge(out, "memory_bytes", "Bytes that all models take.", m->memory_bytes);
    gauge(out, "memory_limit_bytes", "Bytes that they may take.", m->limit_bytes);
    head(out, "model_memory_bytes", "gauge", "Bytes that a model takes, by purpose.");
    for (size_t i = 0; quern_engine_get_model(s->engine, i, &info); i++) {
        model_bytes(out, info.name, "weights", info.weight_bytes);
        model_bytes(out, info.name, "cache", info.kv_bytes);
        model_bytes(out, info.name, "scratch", info.scratch_bytes);
    }
}

void qn_native_metrics(qn_exchange *x)
{
    quern_engine_metrics m;
    qn_buffer out = {0};
    quern_engine_get_metrics(x->server->engine, &m);
    write_requests(&out, &m);
    write_tokens(&out, &m);
    write_times(&out, &m);
    write_models(&out, x->server, &m);
    gauge(&out, "http_exchanges", "Requests over HTTP that have not ended.",
          atomic_load(&x->server->n_exchanges));
    if (out.failed) qn_problem_set(&x->problem, QN_PROBLEM_NO_MEMORY, NULL, "no memory for the metrics");
    else qn_reply_text(x, 200, "text/plain; version=0.0.4; charset=utf-8", out.data);
    qn_buffer_deinit(&out);
}
