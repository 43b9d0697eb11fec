/* state.h: what the files of the CPU device share. */
#ifndef QN_DEVICE_CPU_STATE_H
#define QN_DEVICE_CPU_STATE_H

#include "device/cpu/cpu.h"

#include "base/checked.h"

#include <stdatomic.h>

/* Tokens that share one pass over a piece of a weight matrix. Kernels take as many of them at once as suits
 * their caches; those that take panels apart for all of them want many. */
enum { QN_TOKEN_BLOCK = 512 };

/* For up to QN_GLU_TOKENS tokens gate and up are multiplied by turns, as many columns of each: whoever
 * completes the two makes them ready. Whole blocks of activations in every format, and 64-byte lines of them.
 */
enum { QN_GLU_TOKENS = 8, QN_GLU_COLUMNS = 512, QN_GLU_PANELS = QN_GLU_COLUMNS / QN_PANEL_ROWS };

enum { QN_MORE_SPLITS = 64 }; /* queries that are worked on by chunks, beside one of each segment */

/* Attention of one kv head: a block of queries of one segment, over all their keys. */
typedef struct qn_attention_item {
    uint32_t segment, head_kv, token_begin, token_end; /* tokens counted within the segment */
} qn_attention_item;

/* A query that is worked on by chunks of keys. */
typedef struct qn_attention_split {
    uint32_t segment, token, row; /* token: within the segment; row: within the batch */
    uint32_t first_chunk, n_chunks;
    size_t partial; /* its first float / 16: [n_head_kv][n_chunks][heads of a group] partial results */
} qn_attention_split;

/* One chunk of keys, for the splits that see it in the same pages: members[first] and on by ->next. */
typedef struct qn_attention_chunk {
    uint32_t chunk, n_members, first, last;
} qn_attention_chunk;

typedef struct qn_attention_member {
    uint32_t split, next;
} qn_attention_member;

typedef struct qn_attention_work { /* of one cache group, for one batch */
    qn_attention_item *items;
    qn_attention_split *splits;
    qn_attention_chunk *chunks; /* each for all kv heads */
    qn_attention_member *members;
    size_t n_items, n_splits, n_chunks, n_members;
    size_t n_partials; /* units of 16 floats */
} qn_attention_work;

struct qn_cpu {
    const qn_program *program;
    const qn_kernels *kernels;
    qn_device_params params;
    qn_thread_pool *pool;
    qn_arena arena;
    const qn_batch *batch; /* of the running step */
    qn_op_count *profile;  /* [n_code] or NULL */

    float *buffers[QN_BUFFERS];    /* [n_batch][buffer_width], logits [n_outputs][n_vocab] */
    char *act[QN_ACT_FORMATS];     /* [n_batch or n_threads, whichever is more] rows of
                                      qn_act_row_bytes(format, width of the instruction) */
    char *glu_act[QN_ACT_FORMATS]; /* [n_batch] rows after GLU, or [n_batch * n_expert_used] after
                                      EXPERT_GLU */
    _Atomic uint32_t *glu_done;    /* panels of each QN_GLU_COLUMNS of gate and up that are multiplied; 0
                                      between instructions */
    float *logit_max;              /* [n_outputs][blocks of QN_LOGIT_BLOCK in a row] */
    double *radians[2];            /* [n_rot / 2] a position: without and with a window */
    float *cos_sin[2];             /* [n_batch][n_rot] */
    float *slopes;                 /* [n_head] or NULL */
    uint32_t *token_segment;       /* [n_batch] */
    char *attention_scratch;       /* [n_threads][attention_scratch_bytes] */
    size_t attention_scratch_bytes;
    qn_attention_work attention[QN_CACHE_GROUPS];
    size_t max_splits, max_members, max_partials; /* max_partials: units of 16 floats */
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

/* Panels of weights that a worker takes at once, of all that an instruction has. */
static inline size_t qn_piece_of_panels(size_t n_panels, int n_threads)
{
    const size_t share = qn_max_size(1, qn_min_size(n_panels / ((size_t)n_threads * 6), 32));
    return share > QN_PANELS_AT_ONCE ? share - share % QN_PANELS_AT_ONCE : share;
}

/* Rows of a pass over all tokens that a worker takes at once: to take them one by one costs as much as the
 * work, and workers side by side would write the same lines of the cache's key tiles. */
static inline size_t qn_piece_of_rows(size_t n_rows, int n_threads)
{
    return qn_max_size(1, qn_min_size(n_rows / ((size_t)n_threads * 8), QN_TILE_POSITIONS));
}

/* The body for every row in [0, n) that this worker takes. */
#define QN_EACH_ROW(w, row, n)                                                                               \
    for (size_t row, row##_end;                                                                              \
         qn_worker_take(w, n, qn_piece_of_rows(n, (w)->n_threads), &row, &row##_end);)                       \
        for (; row < row##_end; row++)

/* The rows that an instruction works on. */
static inline size_t qn_cpu_n_rows(const qn_cpu *c, const qn_instruction *i)
{
    return i->op == QN_OP_OUTPUT_NORM || i->op == QN_OP_OUTPUT ? c->batch->n_outputs : c->batch->n_tokens;
}

static inline float *qn_cpu_row(const qn_cpu *c, qn_buffer_name b, size_t row)
{
    return c->buffers[b] + row * c->program->buffer_width[b];
}

/* A worker's own row of norm_width. */
static inline float *qn_cpu_scratch_row(const qn_cpu *c, const qn_worker *w)
{
    return c->norm_scratch + (size_t)w->index * c->norm_width;
}

/* Blocks of logits in a row. */
static inline size_t qn_cpu_logit_blocks(const qn_program *p)
{
    return (p->buffer_width[QN_BUFFER_LOGITS] + QN_LOGIT_BLOCK - 1) / QN_LOGIT_BLOCK;
}

/* ---- run.c ---- */

/* Makes columns [begin, end) of a row ready in the formats of i; begin is a multiple of QN_GLU_COLUMNS. */
void qn_cpu_prepare_columns(const qn_cpu *c, const qn_instruction *i, char *const act[], size_t row,
                            const float *x, size_t begin, size_t end);
/* Whether each worker makes the row for itself, in row number w->index of act. */
bool qn_cpu_is_private(const qn_cpu *c, const qn_instruction *i);
/* y = norm(x), in place or not. */
void qn_cpu_norm_row(const qn_cpu *c, qn_norm norm, float *y, const float *x, size_t n);
/* What RESIDUAL does to a token. */
void qn_cpu_add_residual(const qn_cpu *c, const qn_instruction *i, size_t token);

/* ---- products.c ---- */

/* Position `at` of gate and up by turns: which of the two (0, 1), where, and how many panels follow there. */
typedef struct qn_glu_run {
    size_t group, product, panel, n_panels;
} qn_glu_run;
/* n_products: 2, or 1 where there is no gate and all are up's. */
qn_glu_run qn_cpu_glu_run(size_t n_products, size_t panels, size_t at, size_t end);

/* Counts panels of a run as multiplied; true for whoever completes the columns. tile numbers them. */
bool qn_cpu_glu_completes(qn_cpu *c, size_t tile, const qn_glu_run *run, size_t n_products, size_t panels);

/* Columns of a group: activation(gate) * up, to row `row` of the glu act. gate, up: rows of i->width; gate
 * NULL: activation(up). */
void qn_cpu_glu_columns(qn_cpu *c, const qn_worker *w, const qn_instruction *i, const float *gate,
                        const float *up, size_t row, size_t group);

/* ---- one function an instruction: run.c, products.c, attend.c, experts.c; called by all workers together.
 * ---- */
void qn_cpu_matmul(qn_cpu *c, const qn_worker *w, const qn_instruction *i);
void qn_cpu_glu(qn_cpu *c, const qn_worker *w, const qn_instruction *i);
void qn_cpu_output(qn_cpu *c, const qn_worker *w, const qn_instruction *i);
void qn_cpu_attend(qn_cpu *c, const qn_worker *w, const qn_instruction *i);
void qn_cpu_plan_attention(qn_cpu *c); /* before the workers start */
void qn_cpu_route(qn_cpu *c, const qn_worker *w, const qn_instruction *i);
void qn_cpu_expert_glu(qn_cpu *c, const qn_worker *w, const qn_instruction *i);
void qn_cpu_expert_down(qn_cpu *c, const qn_worker *w, const qn_instruction *i);
void qn_cpu_expert_sum(qn_cpu *c, const qn_worker *w, const qn_instruction *i);

/* Adds what the instruction, just run, read and multiplied (count.c). */
void qn_cpu_count(const qn_cpu *c, const qn_instruction *i, qn_op_count *count);

#endif
