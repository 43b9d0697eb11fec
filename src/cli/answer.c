/* answer.c: one answer: streamed as it comes, ended by Ctrl-C, measured. */
#include "cli/answer_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;
static int wake[2] = {-1, -1};          /* a pipe that holds a byte after Ctrl-C */
static quern_context *volatile running; /* what Ctrl-C stops */

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    const int before = errno;
    interrupted = 1;
    if (write(wake[1], "", 1) < 0) errno = EAGAIN; /* full: there is a byte already */
    quern_context *ctx = running;
    if (ctx != NULL) quern_cancel(ctx);
    errno = before;
}

int qn_interrupt_install(bool once)
{
    if (wake[0] < 0 && pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0) wake[0] = wake[1] = -1;
    const struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = once ? (int)SA_RESETHAND : 0};
    sigaction(SIGINT, &action, NULL);
    return wake[0];
}

bool qn_interrupt_seen(void)
{
    const bool seen = interrupted != 0;
    char bytes[64];
    interrupted = 0;
    while (read(wake[0], bytes, sizeof bytes) > 0) {
    }
    return seen;
}

typedef struct printer {
    qn_answer_writer writer;
    qn_progress progress;
} printer;

static bool print_text(void *user, const char *text, size_t n_bytes)
{
    printer *p = user;
    return qn_answer_writer_add(&p->writer, text, n_bytes) && interrupted == 0;
}

static bool show_prompt(void *user, size_t done, size_t total)
{
    printer *p = user;
    if (done == total) qn_progress_finish(&p->progress);
    else qn_progress_update(&p->progress, done, total);
    return interrupted == 0;
}

/* The grammar of the options, after reasoning where that may come. NULL in *bound: that of the options as it
 * is. False: message printed. */
static bool bind_after_reasoning(quern_grammar **bound, const qn_run_options *o, const quern_model *model,
                                 const char *prompt)
{
    quern_error err;
    *bound = NULL;
    if (o->grammar == NULL || prompt == NULL) return true;
    char *options = qn_answer_options(prompt);
    if (options == NULL) return false;
    const quern_status s = quern_chat_grammar_after_reasoning(bound, model, o->grammar, options, &err);
    free(options);
    if (s != QUERN_OK && s != QUERN_ERR_UNSUPPORTED) qn_cli_fail(&err);
    return s == QUERN_OK || s == QUERN_ERR_UNSUPPORTED;
}

static quern_status generate(printer *p, quern_context *ctx, quern_sampler *sampler,
                             const quern_generate_params *params, quern_error *err)
{
    qn_answer *answer = p->writer.answer;
    interrupted = 0;
    running = ctx;
    const quern_status s = quern_generate(ctx, sampler, params, &answer->generated, err);
    running = NULL;
    answer->interrupted = interrupted != 0;
    qn_progress_finish(&p->progress);
    return s;
}

int qn_answer_generate(qn_answer *answer, quern_context *ctx, const qn_run_options *o,
                       const quern_token *prompt, size_t n_prompt, uint64_t seed, qn_answer_how how)
{
    const quern_model *model = quern_context_model(ctx);
    printer p = {.progress = {.label = "reading the prompt"}};
    quern_generate_params params = quern_generate_params_default();
    params.prompt = prompt, params.n_prompt = n_prompt;
    params.max_tokens = o->max_tokens > 0 ? (size_t)o->max_tokens : 0;
    params.stops = o->stops.items, params.n_stops = o->stops.n_items;
    params.ignore_end = o->ignore_end, params.continues_prompt = how.continues_prompt;
    params.show_special = how.show_special || how.prompt != NULL;
    params.on_text = print_text, params.on_prompt = show_prompt, params.user = &p;
    quern_grammar *bound;
    if (!bind_after_reasoning(&bound, o, model, how.prompt)) return QN_EXIT_FAILURE;
    params.grammar = bound != NULL ? bound : o->grammar;
    quern_sampler *sampler = qn_run_sampler(o, model, seed);
    quern_error err;
    quern_status s = QUERN_OK;
    int code = QN_EXIT_FAILURE;
    answer->seed = seed;
    if (sampler != NULL &&
        qn_answer_writer_begin(&p.writer, answer, model, how.tells_apart ? how.prompt : NULL, o->reasoning,
                               how.silent)) {
        s = generate(&p, ctx, sampler, &params, &err);
        code = qn_answer_writer_end(&p.writer, s != QUERN_OK);
    }
    quern_sampler_destroy(sampler);
    quern_grammar_destroy(bound);
    return s == QUERN_OK || p.writer.failed ? code : qn_cli_fail(&err);
}

void qn_answer_warn_of_reasoning(const qn_answer *a)
{
    if (a->text.n_bytes == 0 && a->reasoning.n_bytes > 0 && !a->interrupted)
        fputs("quern: the answer ended within its reasoning (-n allows more tokens, -c a longer context)\n",
              stderr);
}

static double rate(size_t n, uint64_t ns)
{
    return ns > 0 ? (double)n * 1e9 / (double)ns : 0;
}

/* "1m2.5s", "3.25s", "87.1ms" */
static void print_duration(const char *name, double seconds)
{
    if (seconds >= 60)
        fprintf(stderr, "%-22s%dm%.1fs\n", name, (int)(seconds / 60), seconds - 60 * (int)(seconds / 60));
    else if (seconds >= 1) fprintf(stderr, "%-22s%.3fs\n", name, seconds);
    else fprintf(stderr, "%-22s%.3fms\n", name, seconds * 1e3);
}

void qn_answer_print_timings(const qn_answer *a)
{
    const quern_generated *g = &a->generated;
    const size_t n_read = g->n_prompt - g->n_cached;
    print_duration("total duration:", a->load_seconds + (double)(g->prompt_ns + g->generate_ns) * 1e-9);
    print_duration("load duration:", a->load_seconds);
    fprintf(stderr, "%-22s%zu token(s), %zu of them cached\n", "prompt eval count:", g->n_prompt,
            g->n_cached);
    print_duration("prompt eval duration:", (double)g->prompt_ns * 1e-9);
    fprintf(stderr, "%-22s%.2f tokens/s\n", "prompt eval rate:", rate(n_read, g->prompt_ns));
    fprintf(stderr, "%-22s%zu token(s)\n", "eval count:", g->n_generated);
    print_duration("eval duration:", (double)g->generate_ns * 1e-9);
    fprintf(stderr, "%-22s%.2f tokens/s\n", "eval rate:", rate(g->n_generated, g->generate_ns));
    fprintf(stderr, "%-22s%llu\n", "seed:", (unsigned long long)a->seed);
}

json_t *qn_answer_json(const qn_answer *a, const char *model, json_t *message)
{
    const quern_generated *g = &a->generated;
    json_t *timings =
        json_pack("{s:f, s:f, s:f, s:f, s:f}", "load_ms", a->load_seconds * 1e3, "prompt_ms",
                  (double)g->prompt_ns * 1e-6, "prompt_per_second",
                  rate(g->n_prompt - g->n_cached, g->prompt_ns), "generate_ms", (double)g->generate_ns * 1e-6,
                  "generate_per_second", rate(g->n_generated, g->generate_ns));
    return json_pack("{s:s, s:s%, s:o*, s:s, s:I, s:I, s:I, s:I, s:o}", "model", model, "text",
                     a->text.data != NULL ? a->text.data : "", a->text.n_bytes, "message", message,
                     "finish_reason", quern_finish_text(g->finish), "prompt_tokens", (json_int_t)g->n_prompt,
                     "cached_tokens", (json_int_t)g->n_cached, "completion_tokens",
                     (json_int_t)g->n_generated, "seed", (json_int_t)a->seed, "timings", timings);
}
