/* rank_head.h: the classification head of a reranker: from one hidden state to scores. */
#ifndef QN_ENGINE_RANK_HEAD_H
#define QN_ENGINE_RANK_HEAD_H

#include "engine/model.h"

typedef struct qn_rank_scratch {
    qn_arena arena;
    char *act[QN_ACT_FORMATS]; /* a row of activations; NULL: no matrix wants that format */
    float *dense;              /* [n_embd] */
} qn_rank_scratch;

/* Takes memory for qn_rank_scores. The model has a head. On failure there is nothing to undo. */
quern_status qn_rank_scratch_init(qn_rank_scratch *s, const quern_model *model, quern_error *err);
void qn_rank_scratch_deinit(qn_rank_scratch *s); /* all zeros is fine */

/* hidden [n_embd] to scores [n_scores], by that model or its like with weights. */
void qn_rank_scores(qn_rank_scratch *s, const quern_model *model, const float *hidden, float *scores);

#endif
