/* architecture.h: a model family is a row of data (contract C2).
 *
 * A row says what cannot be read from the file: which pairs rotary embedding turns, which activation
 * the feed-forward has, which norms stand where, which layers have a window. Numbers come from the file's
 * metadata (hparams.h); optional tensors (biases, frequency factors) are used where the file has them. A
 * family that is a recombination of these costs a row in architecture.c and nothing else. */
#ifndef QN_MODEL_ARCHITECTURE_H
#define QN_MODEL_ARCHITECTURE_H

#include "gguf/gguf.h"

typedef enum qn_activation { QN_SILU, QN_GELU } qn_activation;

/* How a model knows where a token stands: its queries and keys are turned; a row of a table is added to its
 * embedding; what is far away counts less in attention (ALiBi). */
typedef enum qn_position { QN_POSITION_ROTARY, QN_POSITION_TABLE, QN_POSITION_ALIBI } qn_position;

/* The feed-forward is activation(gate) * up, or activation(up), or whichever the file has tensors for. */
typedef enum qn_gate { QN_GATED, QN_UNGATED, QN_GATE_OF_FILE } qn_gate;

typedef struct qn_architecture {
    const char *name;         /* general.architecture */
    const char *description;  /* the published models of this family */
    bool rope_neox;           /* rotary pairs (i, i + n_rot/2); else (2i, 2i + 1) */
    qn_activation activation; /* of the feed-forward */
    qn_gate gate;
    qn_position position;
    bool encoder;     /* gives hidden states, not logits: no output matrix; every position sees all of
                         the text; embeddings are normed, and so is the sum of a block and its input,
                         where others norm a block's input */
    bool layer_norm;  /* norms subtract the mean and may have a bias; else RMS norms */
    bool qk_norm;     /* RMS norm over each head of q and k, before the rotation */
    bool post_norms;  /* RMS norm of what attention and feed-forward give, before it is added */
    bool embed_scale; /* embeddings times sqrt(n_embd) */
    bool softcaps;    /* reads attn_logit_softcapping and final_logit_softcapping */
    float default_attn_softcap, default_final_softcap;
    uint32_t window_period;  /* 0: no windows; n: of n consecutive layers all but the last have a window */
    uint32_t default_window; /* where attention.sliding_window is missing */
    float window_freq_base;  /* rotary base of windowed layers, unscaled; 0: as the others */
    uint32_t embd_scaled_attention_layers; /* a model with this many layers scales scores by
                                              1/sqrt(n_embd/n_head) */
    bool scales;             /* reads embedding_scale, residual_scale, logit_scale, attention.scale */
    bool reads_experts;      /* expert_count and its tensors may be there */
    bool experts_in_turn;    /* only in some layers, by moe_every_n_layers */
    bool raw_expert_weights; /* those of the chosen ones stay as the softmax over all experts left them */
} qn_architecture;

/* The row of a family, or NULL. */
const qn_architecture *qn_architecture_find(qn_string name);

/* All rows, for documentation and messages. */
const qn_architecture *qn_architecture_all(size_t *count);

#endif
