/* generate.c: the way of a token, for one sequence: prompt in, text out. What the sequence already holds of
 * the prompt is not computed again; by contract C4 that changes no bit of the answer. */
#include "engine/answer.h"

#include "base/checked.h"
#include "base/clock.h"

#include <string.h>

enum { PROMPT_PIECE = 128 /* with a callback to tell, a prompt is read in pieces of this many tokens */ };

typedef struct generation {
    quern_context *ctx;
    const quern_model *model;
    quern_generate_params params;
    quern_generated *result;
    qn_answer answer;
} generation;

const char *quern_finish_text(quern_finish finish)
{
    switch (finish) {
#define X(name, text)                                                                                        \
    case QUERN_FINISH_##name:                                                                                \
        return text;
        QUERN_FINISH_MAP(X)
#undef X
    }
    return "unknown";
}

quern_generate_params quern_generate_params_default(void)
{
    return (quern_generate_params){.struct_bytes = sizeof(quern_generate_params)};
}

static quern_status check(const generation *g, quern_error *err)
{
    const quern_generate_params *p = &g->params;
    const size_t n_ctx = quern_context_size(g->ctx);
    if (quern_sequence_tokens(g->ctx, p->sequence) == NULL)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "sequence %u: there is none", p->sequence);
    if (p->n_prompt == 0)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "the prompt is empty: at least one token is needed");
    if (p->n_prompt > n_ctx)
        return qn_fail(err, QUERN_ERR_CTX_FULL,
                       "the prompt has %zu tokens, the context %zu (use a larger -c, or a shorter text)",
                       p->n_prompt, n_ctx);
    for (size_t i = 0; i < p->n_prompt; i++)
        if (p->prompt[i] < 0 || (uint32_t)p->prompt[i] >= g->model->hparams.n_vocab)
            return qn_fail(err, QUERN_ERR_ARGUMENT, "prompt token %zu: %d is not in the vocabulary of %u", i,
                           (int)p->prompt[i], g->model->hparams.n_vocab);
    return QUERN_OK;
}

/* Forgets what differs from the prompt; one token at least is left to compute, for its logits. */
static size_t keep_prefix(generation *g)
{
    const quern_generate_params *p = &g->params;
    const quern_token *held = quern_sequence_tokens(g->ctx, p->sequence);
    const size_t n = qn_min_size(quern_sequence_length(g->ctx, p->sequence), p->n_prompt - 1);
    size_t same = 0;
    while (same < n && held[same] == p->prompt[same]) same++;
    return quern_sequence_truncate(g->ctx, p->sequence, (uint32_t)same);
}

static bool tell_prompt(const generation *g, size_t done)
{
    return g->params.on_prompt == NULL || g->params.on_prompt(g->params.user, done, g->params.n_prompt);
}

static quern_status feed(generation *g, const quern_token *tokens, size_t n, bool wants_logits,
                         quern_error *err)
{
    const quern_input input = {g->params.sequence, tokens, n,
                               wants_logits ? QUERN_LOGITS_LAST : QUERN_LOGITS_NONE};
    return quern_decode(g->ctx, &input, 1, err);
}

/* QUERN_ERR_CANCELED if it was asked to stop. */
static quern_status read_prompt(generation *g, quern_error *err)
{
    const quern_generate_params *p = &g->params;
    const size_t piece = p->on_prompt != NULL ? PROMPT_PIECE : p->n_prompt;
    size_t done = keep_prefix(g);
    g->result->n_cached = done;
    while (done < p->n_prompt) {
        if (!tell_prompt(g, done)) return qn_fail(err, QUERN_ERR_CANCELED, "stopped");
        const size_t n = qn_min_size(p->n_prompt - done, piece);
        const quern_status s = feed(g, p->prompt + done, n, done + n == p->n_prompt, err);
        if (s != QUERN_OK) return s;
        done += n;
    }
    return tell_prompt(g, done) ? QUERN_OK : qn_fail(err, QUERN_ERR_CANCELED, "stopped");
}

/* Draws until the answer ends. */
static quern_status draw_all(generation *g, quern_error *err)
{
    qn_answer *a = &g->answer;
    quern_status s = QUERN_OK;
    for (;;) {
        a->n_held = quern_sequence_length(g->ctx, g->params.sequence);
        if (!qn_answer_draw(a, quern_logits(g->ctx, 0), qn_context_logit_max(g->ctx, 0), &s, err)) return s;
        s = feed(g, a->step, a->n_step, true, err);
        if (s != QUERN_OK) return s == QUERN_ERR_CANCELED ? QUERN_OK : s;
    }
}

static quern_status run(generation *g, quern_error *err)
{
    const quern_generate_params *p = &g->params;
    const uint64_t start = qn_clock_ns();
    quern_status s = read_prompt(g, err);
    const uint64_t middle = qn_clock_ns();
    g->result->prompt_ns = middle - start;
    if (s != QUERN_OK) return s == QUERN_ERR_CANCELED ? QUERN_OK : s;
    s = qn_answer_begin(&g->answer, p->prompt, p->n_prompt, err);
    if (s == QUERN_OK) s = draw_all(g, err);
    if (s == QUERN_OK) s = qn_answer_finish(&g->answer, err);
    g->result->generate_ns = qn_clock_ns() - middle;
    return s;
}

quern_status quern_generate(quern_context *ctx, quern_sampler *sampler, const quern_generate_params *params,
                            quern_generated *result, quern_error *err)
{
    generation g = {.ctx = ctx,
                    .model = quern_context_model(ctx),
                    .params = quern_generate_params_default(),
                    .result = result};
    const quern_generate_params *p = &g.params;
    memcpy(&g.params, params, qn_min_size(params->struct_bytes, sizeof g.params));
    *result = (quern_generated){.finish = QUERN_FINISH_CANCELED, .stop = -1, .n_prompt = p->n_prompt};
    quern_status s = check(&g, err);
    const qn_answer_params answer = {.model = g.model,
                                     .sampler = sampler,
                                     .grammar = p->grammar,
                                     .stops = p->stops,
                                     .n_stops = p->n_stops,
                                     .n_ctx = quern_context_size(ctx),
                                     .max_tokens = p->max_tokens,
                                     .ignore_end = p->ignore_end,
                                     .continues_prompt = p->continues_prompt,
                                     .show_special = p->show_special,
                                     .on_text = p->on_text,
                                     .user = p->user};
    if (s == QUERN_OK) s = qn_answer_init(&g.answer, &answer, err);
    if (s != QUERN_OK) return s;
    s = run(&g, err);
    result->finish = g.answer.finish;
    result->stop = g.answer.stop_index;
    result->n_generated = g.answer.n_generated;
    qn_answer_deinit(&g.answer);
    return s;
}
