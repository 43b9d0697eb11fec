/* weights.h: the tensors of a model, found by name, checked for shape, laid out in one arena.
 *
 * The layout runs twice: measuring gives the bytes that a plan prints, then the same code hands out
 * the memory (contract C6). Matrices with an integer product are packed into panels; the others stay
 * in the mapped file. Norms and biases become float32. */
#ifndef QN_MODEL_WEIGHTS_H
#define QN_MODEL_WEIGHTS_H

#include "base/arena.h"
#include "base/thread_pool.h"
#include "kernel/matrix.h"
#include "model/hparams.h"

/* n_expert matrices of one shape, one after the other. */
typedef struct qn_expert_matrices {
    qn_matrix first;
    size_t expert_bytes; /* from one expert's data to the next */
} qn_expert_matrices;

typedef struct qn_norm {
    const float *weight, *bias;
} qn_norm;

typedef struct qn_layer_weights { /* pointers are NULL where the model has no such tensor */
    qn_norm attn_norm, attn_post_norm, ffn_norm, ffn_post_norm; /* [n_embd] of a block's input and output */
    qn_norm attn_sum_norm, attn_second_norm, ffn_sum_norm;      /* [n_embd] of a block's output with its input
                                                                   added; after another addition of it */
    qn_norm q_norm, k_norm;                                     /* RMS: [head_dim_k]; else of the whole row */
    const float *q_bias, *k_bias, *v_bias, *o_bias, *gate_bias, *up_bias, *down_bias;
    qn_matrix q, k, v, o;     /* [n_head * head_dim_k][n_embd] ... */
    qn_matrix gate, up, down; /* [n_ff][n_embd], [n_ff][n_embd], [n_embd][n_ff] */
    qn_matrix router;         /* [n_expert][n_embd] */
    qn_expert_matrices gate_exps, up_exps, down_exps;
    bool has_experts, gated;
} qn_layer_weights;

/* What makes scores of a pooled hidden state: tanh(dense x + bias), then out x + bias. n_rows 0: not there.
 */
typedef struct qn_rank_head {
    qn_matrix dense, out;
    const float *dense_bias, *out_bias; /* or NULL */
    uint32_t n_scores;                  /* 0: the model has no head */
} qn_rank_head;

typedef struct qn_load_job { /* one tensor to bring into the arena */
    const qn_gguf_tensor *tensor;
    size_t offset;                     /* within the arena */
    size_t n_matrices, n_rows, n_cols; /* n_cols 0: a vector to be decoded to float32, or the first n_rows
                                          values of a tensor */
    size_t matrix_bytes;
    size_t first_row; /* of the tensor's, where a matrix is a part of it */
} qn_load_job;

typedef struct qn_weights {
    qn_layer_weights *layers;        /* [n_layer] */
    const qn_gguf_tensor *embedding; /* rows are read from the mapped file */
    size_t embedding_row_bytes;
    const qn_gguf_tensor *position_embedding; /* [n_ctx_train] rows, read likewise; or NULL */
    size_t position_row_bytes;
    const float *token_type;   /* [n_embd] of all tokens, or NULL */
    qn_norm embedding_norm;    /* [n_embd] */
    qn_norm output_norm;       /* [n_embd]; encoders have none */
    const float *rope_factors; /* [n_rot / 2] or NULL */
    qn_matrix output;          /* [n_vocab][n_embd], the embedding where tied; no rows: hidden states only */
    qn_rank_head head;
    bool tied;
    qn_arena arena;
    bool borrowed;     /* the arena's memory is another's: qn_weights_attach */
    qn_load_job *jobs; /* [n_jobs] the tensors of the arena, in its order */
    size_t n_jobs, jobs_capacity;
    size_t mapped_bytes; /* of matrices multiplied straight from the file */
    uint64_t n_parameters;
} qn_weights;

/* Finds and checks every tensor and measures the arena; h->n_vocab is set from the embedding. */
quern_status qn_weights_bind(qn_weights *w, qn_hparams *h, const qn_gguf *g, quern_error *err);

/* Progress of loading; called from the thread that called qn_weights_load; false stops it. */
typedef bool qn_load_progress_fn(void *user, size_t done_bytes, size_t total_bytes);

/* Allocates what was measured, packs and decodes with all threads, releases the file's pages. */
quern_status qn_weights_load(qn_weights *w, const qn_hparams *h, const qn_gguf *g, qn_thread_pool *pool,
                             qn_load_progress_fn *progress, void *user, quern_error *err);

/* Instead of loading: the arena's contents are there already, as an earlier load left them. `base` has what
 * was measured, is aligned like an arena, is only read, and outlives w. */
quern_status qn_weights_attach(qn_weights *w, const qn_hparams *h, const qn_gguf *g, const char *base,
                               quern_error *err);
void qn_weights_deinit(qn_weights *w);

/* The matrix of one expert. */
static inline qn_matrix qn_expert_matrix(const qn_expert_matrices *m, size_t expert)
{
    qn_matrix one = m->first;
    one.data += expert * m->expert_bytes;
    return one;
}

#endif
