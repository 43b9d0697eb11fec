/* choice_head.h: how likely a few tokens are to come next: their rows of the output matrix alone, which is a
 * hundred thousand rows less than what a row of logits takes. */
#ifndef QN_ENGINE_CHOICE_HEAD_H
#define QN_ENGINE_CHOICE_HEAD_H

#include "engine/model.h"

typedef struct qn_choice_head {
    qn_arena arena;
    quern_token *tokens; /* [n_tokens] */
    size_t n_tokens;
    char *act; /* a row of activations */
} qn_choice_head;

/* Copies the tokens, at least one, of the vocabulary. The model may have been opened with header_only.
 * QUERN_ERR_ARGUMENT: a token does not exist, or the model gives no logits. On failure there is nothing to
 * undo. */
quern_status qn_choice_head_init(qn_choice_head *h, const quern_model *model, const quern_token *tokens,
                                 size_t n_tokens, quern_error *err);
void qn_choice_head_deinit(qn_choice_head *h); /* all zeros is fine */

/* From the final hidden state of a token, [n_embd], to the logits of the tokens behind it, [n_tokens]:
 * bitwise those of a whole row. The model, or its like, has weights. */
void qn_choice_head_logits(qn_choice_head *h, const quern_model *model, const float *hidden, float *logits);

#endif
