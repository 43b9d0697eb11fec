/* pooling.h: from the final hidden states of a text's tokens, one after the other, to what is wanted of the
 * text: a vector, one for each token, scores, or how likely a few tokens are to come next. It does not matter
 * how the text was cut into steps (contract C4). */
#ifndef QN_ENGINE_POOLING_H
#define QN_ENGINE_POOLING_H

#include "engine/choice_head.h"
#include "engine/rank_head.h"

/* What QUERN_POOLING_DEFAULT stands for; others stay as they are. */
quern_pooling qn_model_pooling(const quern_model *model, quern_pooling pooling);

typedef struct qn_pooler {
    quern_pooling pooling;
    bool normalize;
    double *sum;     /* [n_embd] for the mean; or NULL */
    bool wants_last; /* nothing but the last token's state: then what comes before may be known already */
    qn_rank_scratch rank;
    qn_choice_head choices; /* n_tokens 0: they are not asked for */
    /* the text that is being read: */
    const quern_model *model;
    size_t n_tokens;
    float *out; /* where the next vector goes */
} qn_pooler;

/* The model may have been opened with header_only. QUERN_ERR_ARGUMENT: such a pooling does not exist;
 * _UNSUPPORTED: the model has no head that gives scores. On failure there is nothing to undo. */
quern_status qn_pooler_init(qn_pooler *p, const quern_model *model, quern_pooling pooling, bool normalize,
                            quern_error *err);
/* Likewise, of logits of tokens. */
quern_status qn_pooler_init_choices(qn_pooler *p, const quern_model *model, const quern_token *choices,
                                    size_t n_choices, quern_error *err);
void qn_pooler_deinit(qn_pooler *p); /* all zeros is fine */

/* A text of n_tokens comes, or comes again from its beginning; out: as qn_pooler_size says. The model has its
 * weights now, which outlive the text. */
void qn_pooler_begin(qn_pooler *p, const quern_model *model, size_t n_tokens, float *out);
/* The hidden state of the token at a position, [n_embd]: one after the other. */
void qn_pooler_add(qn_pooler *p, size_t position, const float *hidden);
/* Values that a text of n_tokens gives. */
size_t qn_pooler_size(const qn_pooler *p, const quern_model *model, size_t n_tokens);

#endif
