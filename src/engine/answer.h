/* answer.h: one answer as it comes. Rows of logits go in; out come the tokens of the next step, text that is
 * certain, and the end. Who computes the logits, and beside whom, is the caller's business: quern_generate
 * has one sequence, an engine many. */
#ifndef QN_ENGINE_ANSWER_H
#define QN_ENGINE_ANSWER_H

#include "engine/sampler.h"
#include "engine/stop.h"

enum {
    QN_ANSWER_STEP = 32 /* tokens at once: one drawn, and those that the grammar leaves no choice about */
};

typedef struct qn_answer_params {
    const quern_model *model;
    quern_sampler *sampler; /* the answer's alone while it lasts */
    const quern_grammar *grammar;
    const char *const *stops; /* [n_stops], these and grammar borrowed until the end */
    size_t n_stops, n_ctx, max_tokens;
    bool ignore_end, continues_prompt, show_special;
    bool shifts;     /* the context is no end: the caller makes room in it */
    bool one_by_one; /* every token from a row of logits of its own, the only one possible too */
    quern_generate_text_fn *on_text; /* or NULL */
    void *user;
} qn_answer_params;

typedef struct qn_answer {
    qn_answer_params params;
    quern_text_stream *stream;
    qn_stop stop;
    quern_token *ends; /* [n_ends] tokens that are never drawn */
    size_t n_ends;
    size_t n_held; /* positions that the sequence has, kept by the caller; `step` comes behind them */
    quern_token step[QN_ANSWER_STEP];
    size_t n_step; /* tokens that are part of the answer and not yet of the sequence */
    size_t n_generated;
    quern_token drawn;   /* from the last row; -1: none could be */
    quern_finish finish; /* why it ended, or CANCELED if it has not */
    int stop_index;      /* of params.stops that ended it; -1: none */
    bool was_closed;     /* the grammar's shortest end was taken, for want of room */
} qn_answer;

/* QUERN_ERR_ARGUMENT: a stop text that cannot be one; _NOMEM. On failure there is nothing to deinit. */
quern_status qn_answer_init(qn_answer *a, const qn_answer_params *params, quern_error *err);
void qn_answer_deinit(qn_answer *a);

/* Tells sampler and grammar that the answer follows this prompt, [n_prompt] with n_prompt > 0. */
quern_status qn_answer_begin(qn_answer *a, const quern_token *prompt, size_t n_prompt, quern_error *err);

/* Draws from a row of logits, which it changes (qn_sampler_sample says what block_max is). True: `step` is to
 * be computed, and the logits of its last token are the next row. False: the answer has ended (finish), or
 * *s is an error. */
bool qn_answer_draw(qn_answer *a, float *logits, const float *block_max, quern_status *s, quern_error *err);

/* After the end: the text that was held back, and the reason as it is told. */
quern_status qn_answer_finish(qn_answer *a, quern_error *err);

#endif
