/* answer.c: see answer.h. */
#include "engine/answer.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <math.h>
#include <string.h>

/* ---- text -------------------------------------------------------------------------------------- */

static bool tell(const qn_answer *a, const char *text, size_t n_bytes)
{
    return a->params.on_text == NULL || a->params.on_text(a->params.user, text, n_bytes);
}

/* Passes text on. False: the answer ends here (finish says why), or there is no memory (*s). */
static bool emit(qn_answer *a, const char *text, size_t n_bytes, bool is_last, quern_status *s)
{
    size_t n_clear = 0;
    const char *clear = qn_stop_push(&a->stop, text, n_bytes, &n_clear);
    bool told = clear == NULL || tell(a, clear, n_clear);
    if (clear != NULL && is_last && a->stop.found < 0) {
        clear = qn_stop_finish(&a->stop, &n_clear);
        if (clear != NULL && n_clear > 0) told = tell(a, clear, n_clear) && told;
    }
    if (clear == NULL) *s = QUERN_ERR_NOMEM;
    if (a->stop.found >= 0) {
        a->finish = QUERN_FINISH_STOP;
        a->stop_index = a->stop.found;
    } else if (!told) {
        a->finish = QUERN_FINISH_CANCELED;
    }
    return clear != NULL && told && a->stop.found < 0;
}

/* ---- drawing ----------------------------------------------------------------------------------- */

/* Tokens that may still be drawn; the last one need not find room in the context. */
static size_t count_left(const qn_answer *a)
{
    const size_t room = a->params.shifts ? SIZE_MAX : a->params.n_ctx - (a->n_held + a->n_step) + 1;
    return a->params.max_tokens > 0 ? qn_min_size(room, a->params.max_tokens - a->n_generated) : room;
}

/* If the token drawn would leave too few for any end that the grammar allows, the shortest end is begun in
 * its place: so there are always enough, if there were at first. */
static quern_token keep_closable(qn_answer *a, qn_matcher *m, quern_token token)
{
    const size_t left = count_left(a);
    if (qn_matcher_can_end_after(m, token, left - 1) || !qn_matcher_can_end(m, left)) return token;
    const quern_token closing = qn_matcher_closing_token(m);
    a->was_closed |= closing >= 0;
    return closing >= 0 ? closing : token;
}

static quern_token draw_freely(qn_answer *a, float *logits, const float *block_max)
{
    for (size_t i = 0; i < a->n_ends; i++) logits[a->ends[i]] = -INFINITY;
    return qn_sample_row(a->params.sampler, logits, a->n_ends == 0 ? block_max : NULL);
}

/* Takes the next token into the step and tells its text. False: the answer ends; finish says why, or *s is an
 * error. */
static bool take(qn_answer *a, quern_token token, quern_status *s)
{
    const qn_answer_params *p = &a->params;
    size_t n_bytes = 0;
    quern_sampler_accept(p->sampler, token);
    a->n_generated++;
    a->finish = QUERN_FINISH_STOP;
    if (quern_token_is_end(p->model, token) && (!p->ignore_end || p->grammar != NULL)) return false;
    const char *text = quern_text_stream_push(a->stream, token, &n_bytes);
    if (!emit(a, text, n_bytes, false, s)) return a->was_closed = false;
    a->step[a->n_step++] = token;
    const qn_matcher *m = qn_sampler_matcher(p->sampler);
    a->finish = QUERN_FINISH_STOP;
    if (m != NULL && qn_matcher_must_end(m)) return false;
    a->finish = QUERN_FINISH_LENGTH;
    if (a->n_generated == p->max_tokens) return false;
    a->finish = QUERN_FINISH_CONTEXT;
    return count_left(a) > 0;
}

/* One token by its logits, and what the grammar then leaves no choice about. */
static bool draw_step(qn_answer *a, float *logits, const float *block_max, quern_status *s, quern_error *err)
{
    qn_matcher *m = qn_sampler_matcher(a->params.sampler);
    quern_token token = draw_freely(a, logits, block_max);
    a->n_step = 0;
    a->drawn = -1;
    if (token < 0) {
        *s = quern_sampler_status(a->params.sampler, err);
        return false;
    }
    if (m != NULL) token = keep_closable(a, m, token);
    a->drawn = token;
    while (take(a, token, s)) {
        if (m == NULL || a->params.one_by_one || a->n_step == QN_ANSWER_STEP) return true;
        token = qn_sample_only(a->params.sampler);
        if (token < 0) return true;
    }
    if (*s != QUERN_OK) qn_fail(err, *s, "generation: no memory");
    return false;
}

bool qn_answer_draw(qn_answer *a, float *logits, const float *block_max, quern_status *s, quern_error *err)
{
    if (draw_step(a, logits, block_max, s, err)) {
        a->finish = QUERN_FINISH_CANCELED; /* until it ends */
        return true;
    }
    if (a->was_closed && a->finish == QUERN_FINISH_STOP) a->finish = QUERN_FINISH_LENGTH;
    return false;
}

/* What is still held back belongs to the answer, unless a stop text ended it. */
quern_status qn_answer_finish(qn_answer *a, quern_error *err)
{
    quern_status s = QUERN_OK;
    size_t n_bytes;
    if (a->stop_index >= 0) return s;
    const quern_finish finish = a->finish;
    const char *text = quern_text_stream_finish(a->stream, &n_bytes);
    emit(a, text, n_bytes, true, &s);
    if (a->stop_index < 0) a->finish = finish;
    return s == QUERN_OK ? s : qn_fail(err, s, "generation: no memory");
}

/* ---- life -------------------------------------------------------------------------------------- */

/* The tokens that end an answer, if they shall not be drawn. */
static quern_status find_ends(qn_answer *a, quern_error *err)
{
    size_t capacity = 0;
    const qn_vocab *vocab = a->params.model->vocab;
    const size_t n_vocab = a->params.ignore_end ? qn_vocab_size(vocab) : 0;
    for (size_t id = 0; id < n_vocab; id++) {
        if (!qn_vocab_is_end(vocab, (quern_token)id)) continue;
        if (!qn_grow(&a->ends, &capacity, a->n_ends + 1, n_vocab, sizeof *a->ends))
            return qn_fail(err, QUERN_ERR_NOMEM, "generation: no memory");
        a->ends[a->n_ends++] = (quern_token)id;
    }
    return QUERN_OK;
}

quern_status qn_answer_init(qn_answer *a, const qn_answer_params *params, quern_error *err)
{
    *a = (qn_answer){.params = *params, .finish = QUERN_FINISH_CANCELED, .stop_index = -1};
    quern_status s = find_ends(a, err);
    if (s == QUERN_OK) s = qn_stop_init(&a->stop, params->stops, params->n_stops, err);
    if (s == QUERN_OK) s = quern_text_stream_create(&a->stream, params->model, params->show_special, err);
    if (s != QUERN_OK) qn_answer_deinit(a);
    return s;
}

void qn_answer_deinit(qn_answer *a)
{
    quern_text_stream_destroy(a->stream);
    qn_stop_deinit(&a->stop);
    qn_free(a->ends);
    *a = (qn_answer){0};
}

quern_status qn_answer_begin(qn_answer *a, const quern_token *prompt, size_t n_prompt, quern_error *err)
{
    const qn_answer_params *p = &a->params;
    quern_sampler_reset(p->sampler);
    for (size_t i = 0; i < n_prompt; i++) quern_sampler_accept(p->sampler, prompt[i]);
    if (p->continues_prompt) quern_text_stream_push(a->stream, prompt[n_prompt - 1], NULL);
    return quern_sampler_constrain(p->sampler, p->grammar, !p->continues_prompt, err);
}
