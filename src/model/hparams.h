/* hparams.h: the numbers of a model, read from its metadata and checked once. Everything after this
 * may trust them: counts are in range, divide as they must, and their products cannot overflow. */
#ifndef QN_MODEL_HPARAMS_H
#define QN_MODEL_HPARAMS_H

#include "kernel/rope_table.h"
#include "model/architecture.h"
#include "quern.h"

enum { QN_MAX_LAYERS = 1024, QN_MAX_WIDTH = 1 << 20, QN_MAX_EXPERTS = 1024, QN_MAX_EXPERTS_USED = 64 };

typedef struct qn_hparams {
    const qn_architecture *arch;
    uint32_t n_layer, n_embd, n_vocab, n_ctx_train;
    uint32_t n_head, n_head_kv, head_dim_k, head_dim_v;
    uint32_t n_ff; /* of the dense feed-forward; 0 where all layers have experts */
    uint32_t n_expert, n_expert_used, n_ff_expert;
    uint32_t expert_period;           /* n: of n consecutive layers the second has experts; 0: all have */
    bool causal;                      /* a position sees none behind it; else every one sees the whole text */
    float alibi_max_bias;             /* of heads' slopes; 0: attention does not mind distance */
    quern_pooling pooling;            /* QUERN_POOLING_DEFAULT where the file says nothing */
    uint32_t window;                  /* positions a windowed layer sees; 0: no layer has one */
    uint32_t n_rot;                   /* rotated dimensions of a head; 0: positions come in otherwise */
    qn_rope_params rope, rope_window; /* of layers without and with a window */
    float norm_eps;
    float attn_scale, attn_softcap, final_softcap;
    float embed_scale, residual_scale, logit_scale; /* factors; 1 where the family has none */
} qn_hparams;

/* Reads and checks; the rotary frequency factors are a tensor and are bound later. */
quern_status qn_hparams_read(qn_hparams *h, const qn_gguf *g, quern_error *err);

/* Whether a layer sees only the last `window` positions. */
static inline bool qn_layer_has_window(const qn_hparams *h, uint32_t layer)
{
    return h->window > 0 && (layer + 1) % h->arch->window_period != 0;
}

/* Whether a layer of a model that has experts must have some. */
static inline bool qn_layer_needs_experts(const qn_hparams *h, uint32_t layer)
{
    return h->n_expert > 0 && (h->expert_period == 0 || layer % h->expert_period == 1);
}

#endif
