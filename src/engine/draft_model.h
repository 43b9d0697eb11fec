/* draft_model.h: guesses what comes next by asking a smaller model of the same vocabulary (speculative
 * decoding: Leviathan et al. 2023, arXiv:2211.17192). Its most probable tokens are the guesses; they are
 * checked by the model that answers, so they change how long an answer takes and nothing else (contract C4).
 *
 * It has keys and values of its own for each slot, and reads the text of a slot in pieces before it can guess
 * for it. What it computed for its guesses is kept until it is known which came true: those it need not read
 * again. All texts are guessed for side by side, so that its weights are read once for each guess of all.
 *
 * All memory is taken at creation. Everything here is of the engine's thread, between the steps of the model
 * that it guesses for, on the same threads. */
#ifndef QN_ENGINE_DRAFT_MODEL_H
#define QN_ENGINE_DRAFT_MODEL_H

#include "engine/draft_length.h"
#include "engine/model.h"

typedef struct qn_draft_model qn_draft_model;

typedef struct qn_draft_model_params {
    const quern_model *model;
    const quern_model *target;     /* for which it guesses */
    const qn_context_setup *setup; /* of that: slots, positions, types */
} qn_draft_model_params;

/* What creation will take. QUERN_ERR_ARGUMENT: it has other tokens, or was opened without its weights. */
quern_status qn_draft_model_plan(const qn_draft_model_params *params, uint64_t *n_bytes, quern_error *err);
quern_status qn_draft_model_create(qn_draft_model **out, const qn_draft_model_params *params,
                                   quern_error *err);
void qn_draft_model_destroy(qn_draft_model *d); /* NULL is fine */

/* A text that it guesses for: as long as nobody says forget, the text of a slot only grows. */
typedef struct qn_draft_text {
    size_t slot;
    const quern_token *tokens; /* [n_tokens], at least 1 */
    size_t n_tokens;
    size_t most;                     /* guesses wanted, up to QN_MAX_DRAFT */
    quern_token guess[QN_MAX_DRAFT]; /* [n_guessed], fewer than wanted where the draft ends the answer, or
                                        there is no room */
    size_t n_guessed;
} qn_draft_text;

/* The slot's text is another one from now on. */
void qn_draft_model_forget(qn_draft_model *d, size_t slot);

/* Whether it has read the text but for what it can read while it guesses. */
bool qn_draft_model_can_guess(const qn_draft_model *d, const qn_draft_text *text);
/* What one guess takes for a text of this length, if n_texts are guessed for at once. */
double qn_draft_model_guess_ns(const qn_draft_model *d, size_t n_texts, size_t n_tokens);

/* Reads on in texts that it cannot guess for yet, the first ones first: one step of at most budget_ns.
 * is_free: also where reading has not been earned. */
void qn_draft_model_read(qn_draft_model *d, const qn_draft_text *texts, size_t n_texts, uint64_t budget_ns,
                         bool is_free);
/* Guesses for all that it can guess for; n_guessed is 0 for the others. */
void qn_draft_model_guess(qn_draft_model *d, qn_draft_text *texts, size_t n_texts);

/* What its guesses saved (below 0: lost). Reading is paid from that, so that a draft model that does not help
 * costs a hundredth of the time at most, which qn_draft_model_allow grants for each step of step_ns, beside a
 * sum at the start. */
void qn_draft_model_earn(qn_draft_model *d, double saved_ns);
void qn_draft_model_allow(qn_draft_model *d, uint64_t step_ns);

#endif
