/* state.h: what the files of the CPU device share. */
#ifndef QN_DEVICE_CPU_STATE_H
#define QN_DEVICE_CPU_STATE_H

#include "device/cpu/cpu.h"

#include "base/checked.h"

/* Tokens that share one pass over a piece of a weight matrix: their activations stay in the
 * second-level cache while panels of weights stream by. */
enum { QN_TOKEN_BLOCK = 128 };

/* Attention of one kv head: a block of queries over all their keys, or one query over one chunk. */
typedef struct qn_attention_item {
    uint32_t segment, head_kv, token_begin, token_end; /* tokens counted within the segment */
    uint32_t chunk;
    int32_t partial; /* first float of this chunk's partials / 16, or -1: whole block */
} qn_attention_item;

typedef struct qn_attention_join_item {
    uint32_t segment, head_kv, token, n_chunks;
    int32_t partial;
} qn_attention_join_item;

typedef struct qn_attention_work { /* of one cache group, for one batch */
    qn_attention_item *items;
    qn_attention_join_item *joins;
    size_t n_items, n_joins;
} qn_attention_work;

struct qn_cpu {
    const qn_program *program;
    const qn_kernels *kernels;
    qn_device_params params;
    qn_thread_pool *pool;
    qn_arena arena;
    const qn_batch *batch; /* of the running step */
    qn_op_count *profile;  /* [n_code] or NULL */

    float *buffers[QN_BUFFERS];     /* [n_batch][buffer_width], logits [n_outputs][n_vocab] */
    char *act[QN_ACT_FORMATS];      /* [n_batch or n_threads, whichever is more] rows of
                                       qn_act_row_bytes(format, width of the instruction) */
    char *slot_act[QN_ACT_FORMATS]; /* [n_batch * n_expert_used] rows */
    double *radians[2];             /* [n_rot / 2] a position: without and with a window */
    float *cos_sin[2];              /* [n_batch][n_rot] */
    uint32_t *token_segment;        /* [n_batch] */
    char *attention_scratch;        /* [n_threads][attention_scratch_bytes] */
    size_t attention_scratch_bytes;
    qn_attention_work attention[QN_CACHE_GROUPS];
    size_t max_items, max_joins, max_partials; /* max_partials: units of 16 floats */
    float *partials;

    float *norm_scratch; /* [n_threads][widest normed row] */
    size_t norm_width;
    int32_t *expert_of;       /* [n_batch][n_expert_used] chosen experts */
    float *expert_weight;     /* [n_batch][n_expert_used] */
    uint32_t *expert_begin;   /* [n_expert + 1] into the lists */
    uint32_t *active_experts; /* [n_expert] those with tokens */
    size_t n_active_experts;
    int32_t *expert_tokens, *expert_slots; /* [n_batch * n_expert_used], by expert, tokens ascending */
};

/* Queries of one piece of attention work: with their group of heads, as many rows as a kernel takes at once.
 */
static inline size_t qn_query_block(const qn_hparams *h)
{
    return qn_max_size(1, QN_ATTENTION_ROWS / (h->n_head / h->n_head_kv));
}

/* One function an instruction (run.c, attend.c, experts.c); called by all workers together. */
void qn_cpu_attend(qn_cpu *c, const qn_worker *w, const qn_instruction *i);
void qn_cpu_plan_attention(qn_cpu *c); /* before the workers start */
/* Adds what the instruction, just run, read and multiplied (count.c). */
void qn_cpu_count(const qn_cpu *c, const qn_instruction *i, qn_op_count *count);
void qn_cpu_route(qn_cpu *c, const qn_worker *w, const qn_instruction *i);
void qn_cpu_expert_up(qn_cpu *c, const qn_worker *w, const qn_instruction *i);
void qn_cpu_expert_glu(qn_cpu *c, const qn_worker *w, const qn_instruction *i);
void qn_cpu_expert_down(qn_cpu *c, const qn_worker *w, const qn_instruction *i);
void qn_cpu_expert_sum(qn_cpu *c, const qn_worker *w, const qn_instruction *i);

static inline float *qn_cpu_row(const qn_cpu *c, qn_buffer_name b, size_t row)
{
    return c->buffers[b] + row * c->program->buffer_width[b];
}

#endif
