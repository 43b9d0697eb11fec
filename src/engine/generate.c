/* generate.c: the way of a token, for one sequence: prompt in, text out. What the sequence already holds of
 * the prompt is not computed again; by contract C4 that changes no bit of the answer. */
#include "engine/sampler.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "engine/stop.h"

#include <math.h>
#include <string.h>

enum {
    PROMPT_PIECE = 128, /* with a callback to tell, a prompt is read in pieces of this many tokens */
    MAX_STEP = 32,      /* tokens in one step: one drawn, and those that the grammar leaves no choice about */
};

typedef struct generation {
    quern_context *ctx;
    const quern_model *model;
    quern_sampler *sampler;
    quern_generate_params params;
    quern_generated *result;
    quern_text_stream *stream;
    qn_stop stop;
    quern_token *ends; /* [n_ends] tokens that are never drawn */
    size_t n_ends;
    quern_token step[MAX_STEP]; /* [n_step] drawn, and not yet part of the sequence */
    size_t n_step;
    bool was_closed; /* the grammar's shortest end was taken, for want of room */
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

/* The tokens that end an answer, if they shall not be drawn. */
static quern_status find_ends(generation *g, quern_error *err)
{
    size_t capacity = 0;
    const size_t n_vocab = g->params.ignore_end ? qn_vocab_size(g->model->vocab) : 0;
    for (size_t id = 0; id < n_vocab; id++) {
        if (!qn_vocab_is_end(g->model->vocab, (quern_token)id)) continue;
        if (!qn_grow(&g->ends, &capacity, g->n_ends + 1, n_vocab, sizeof *g->ends))
            return qn_fail(err, QUERN_ERR_NOMEM, "generation: no memory");
        g->ends[g->n_ends++] = (quern_token)id;
    }
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

/* Passes text on. False: the answer ends here (result->finish says why), or there is no memory (*s). */
static bool emit(generation *g, const char *text, size_t n_bytes, bool is_last, quern_status *s)
{
    size_t n_clear = 0;
    const char *clear = qn_stop_push(&g->stop, text, n_bytes, &n_clear);
    bool told = true;
    if (clear != NULL && g->params.on_text != NULL) told = g->params.on_text(g->params.user, clear, n_clear);
    if (clear != NULL && is_last && g->stop.found < 0) {
        clear = qn_stop_finish(&g->stop, &n_clear);
        if (clear != NULL && n_clear > 0 && g->params.on_text != NULL)
            told = g->params.on_text(g->params.user, clear, n_clear) && told;
    }
    if (clear == NULL) *s = QUERN_ERR_NOMEM;
    if (g->stop.found >= 0) {
        g->result->finish = QUERN_FINISH_STOP;
        g->result->stop = g->stop.found;
    } else if (!told) {
        g->result->finish = QUERN_FINISH_CANCELED;
    }
    return clear != NULL && told && g->stop.found < 0;
}

/* ---- drawing ----------------------------------------------------------------------------------- */

/* Tokens that may still be drawn; the last one need not find room in the context. */
static size_t count_left(const generation *g)
{
    const quern_generate_params *p = &g->params;
    const size_t n_held = quern_sequence_length(g->ctx, p->sequence) + g->n_step,
                 room = quern_context_size(g->ctx) - n_held + 1;
    return p->max_tokens > 0 ? qn_min_size(room, p->max_tokens - g->result->n_generated) : room;
}

/* If the token drawn would leave too few for any end that the grammar allows, the shortest end is begun in
 * its place: so there are always enough, if there were at first. */
static quern_token keep_closable(generation *g, qn_matcher *m, quern_token token)
{
    const size_t left = count_left(g);
    if (qn_matcher_can_end_after(m, token, left - 1) || !qn_matcher_can_end(m, left)) return token;
    const quern_token closing = qn_matcher_closing_token(m);
    g->was_closed |= closing >= 0;
    return closing >= 0 ? closing : token;
}

static quern_token draw_freely(generation *g)
{
    float *logits = quern_logits(g->ctx, 0);
    for (size_t i = 0; i < g->n_ends; i++) logits[g->ends[i]] = -INFINITY;
    return g->n_ends == 0 ? qn_sample_output(g->sampler, g->ctx, 0)
                          : quern_sampler_sample(g->sampler, logits);
}

/* Takes the next token into the step and tells its text. False: the answer ends; result->finish says why, or
 * *s is an error. */
static bool take(generation *g, quern_token token, quern_status *s)
{
    const quern_generate_params *p = &g->params;
    size_t n_bytes = 0;
    quern_sampler_accept(g->sampler, token);
    g->result->n_generated++;
    g->result->finish = QUERN_FINISH_STOP;
    if (quern_token_is_end(g->model, token) && (!p->ignore_end || p->grammar != NULL)) return false;
    const char *text = quern_text_stream_push(g->stream, token, &n_bytes);
    if (!emit(g, text, n_bytes, false, s)) return g->was_closed = false;
    g->step[g->n_step++] = token;
    const qn_matcher *m = qn_sampler_matcher(g->sampler);
    g->result->finish = QUERN_FINISH_STOP;
    if (m != NULL && qn_matcher_must_end(m)) return false;
    g->result->finish = QUERN_FINISH_LENGTH;
    if (g->result->n_generated == p->max_tokens) return false;
    g->result->finish = QUERN_FINISH_CONTEXT;
    return count_left(g) > 0;
}

/* One token by its logits, and what the grammar then leaves no choice about. */
static bool draw_step(generation *g, quern_status *s, quern_error *err)
{
    qn_matcher *m = qn_sampler_matcher(g->sampler);
    quern_token token = draw_freely(g);
    g->n_step = 0;
    if (token < 0) {
        *s = quern_sampler_status(g->sampler, err);
        return false;
    }
    if (m != NULL) token = keep_closable(g, m, token);
    while (take(g, token, s)) {
        if (m == NULL || g->n_step == MAX_STEP) return true;
        token = qn_sample_only(g->sampler);
        if (token < 0) return true;
    }
    return false;
}

/* Draws until the answer ends; sets result->finish. */
static quern_status draw_all(generation *g, quern_error *err)
{
    quern_status s = QUERN_OK;
    while (draw_step(g, &s, err)) {
        g->result->finish = QUERN_FINISH_CANCELED;
        s = feed(g, g->step, g->n_step, true, err);
        if (s != QUERN_OK) return s == QUERN_ERR_CANCELED ? QUERN_OK : s;
    }
    if (g->was_closed && g->result->finish == QUERN_FINISH_STOP) g->result->finish = QUERN_FINISH_LENGTH;
    return s == QUERN_ERR_NOMEM ? qn_fail(err, s, "generation: no memory") : s;
}

/* What is still held back belongs to the answer, unless a stop text ended it. */
static quern_status finish_text(generation *g, quern_error *err)
{
    quern_status s = QUERN_OK;
    size_t n_bytes;
    if (g->result->stop >= 0) return s;
    const quern_finish finish = g->result->finish;
    const char *text = quern_text_stream_finish(g->stream, &n_bytes);
    emit(g, text, n_bytes, true, &s);
    if (g->result->stop < 0) g->result->finish = finish;
    return s == QUERN_OK ? s : qn_fail(err, s, "generation: no memory");
}

static quern_status run(generation *g, quern_error *err)
{
    const quern_generate_params *p = &g->params;
    const uint64_t start = qn_clock_ns();
    quern_sampler_reset(g->sampler);
    for (size_t i = 0; i < p->n_prompt; i++) quern_sampler_accept(g->sampler, p->prompt[i]);
    if (p->continues_prompt) quern_text_stream_push(g->stream, p->prompt[p->n_prompt - 1], NULL);
    quern_status s = read_prompt(g, err);
    const uint64_t middle = qn_clock_ns();
    g->result->prompt_ns = middle - start;
    g->result->finish = QUERN_FINISH_CANCELED;
    if (s != QUERN_OK) return s == QUERN_ERR_CANCELED ? QUERN_OK : s;
    s = quern_sampler_constrain(g->sampler, p->grammar, !p->continues_prompt, err);
    if (s == QUERN_OK) s = draw_all(g, err);
    if (s == QUERN_OK) s = finish_text(g, err);
    g->result->generate_ns = qn_clock_ns() - middle;
    return s;
}

quern_status quern_generate(quern_context *ctx, quern_sampler *sampler, const quern_generate_params *params,
                            quern_generated *result, quern_error *err)
{
    generation g = {.ctx = ctx,
                    .model = quern_context_model(ctx),
                    .sampler = sampler,
                    .params = quern_generate_params_default(),
                    .result = result};
    memcpy(&g.params, params, qn_min_size(params->struct_bytes, sizeof g.params));
    *result = (quern_generated){.finish = QUERN_FINISH_CANCELED, .stop = -1, .n_prompt = g.params.n_prompt};
    quern_status s = check(&g, err);
    if (s == QUERN_OK) s = find_ends(&g, err);
    if (s == QUERN_OK) s = qn_stop_init(&g.stop, g.params.stops, g.params.n_stops, err);
    if (s == QUERN_OK) s = quern_text_stream_create(&g.stream, g.model, g.params.show_special, err);
    if (s == QUERN_OK) s = run(&g, err);
    quern_text_stream_destroy(g.stream);
    qn_stop_deinit(&g.stop);
    qn_free(g.ends);
    return s;
}
