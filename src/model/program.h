/* program.h: a model as a short linear list of typed instructions over named buffers (contract C2).
 *
 * Compiled once at load. Running a step is walking the list: no allocation, no graph building. Every
 * buffer holds one row a token of the batch; widths are known here, so memory is planned here. */
#ifndef QN_MODEL_PROGRAM_H
#define QN_MODEL_PROGRAM_H

#include "base/buffer.h"
#include "model/weights.h"

typedef enum qn_buffer_name {                  /* float32 rows */
                              QN_BUFFER_X,     /* the residual stream, [n_embd] */
                              QN_BUFFER_Q,     /* queries, [n_head * head_dim_k] */
                              QN_BUFFER_K,     /* keys, [n_head_kv * head_dim_k] */
                              QN_BUFFER_V,     /* values, [n_head_kv * head_dim_v] */
                              QN_BUFFER_A,     /* what attention gives, [n_head * head_dim_v] */
                              QN_BUFFER_GATE,  /* feed-forward, [n_ff] */
                              QN_BUFFER_UP,    /* [n_ff] */
                              QN_BUFFER_T,     /* a block's result before it is normed and added, [n_embd] */
                              QN_BUFFER_ROUTE, /* scores of the experts, [n_expert] */
                              QN_BUFFER_EXPERT_GATE, /* [n_expert_used * n_ff_expert], a row for each chosen
                                                        expert */
                              QN_BUFFER_EXPERT_UP,
                              QN_BUFFER_EXPERT_DOWN, /* [n_expert_used * n_embd] */
                              QN_BUFFER_LOGITS,      /* [n_vocab], rows only for the outputs */
                              QN_BUFFERS,
                              QN_BUFFER_NONE = QN_BUFFERS
} qn_buffer_name;

typedef enum qn_op {
    QN_OP_EMBED,    /* X = embedding row * scale, and what else says kind and position of the token */
    QN_OP_NORM,     /* act = norm(in), made ready in every format that follows; perhaps kept in X and T */
    QN_OP_PREPARE,  /* act = in, made ready */
    QN_OP_MATMUL,   /* up to three products of the same activations */
    QN_OP_ROTATE,   /* norm of q and k heads, rotary embedding (where there is one), k and v into the cache */
    QN_OP_ATTEND,   /* A = attention of Q over the cache */
    QN_OP_GLU,      /* GATE, UP = two products of act; then glu act = activation(GATE) * UP; or UP alone and
                       activation(UP) */
    QN_OP_RESIDUAL, /* X += scale * (norm of T, or T) */
    QN_OP_ROUTE,    /* choose experts from ROUTE, sort tokens by expert */
    QN_OP_EXPERT_GLU,  /* the same with EXPERT_GATE and EXPERT_UP, a row for each chosen expert */
    QN_OP_EXPERT_DOWN, /* EXPERT_DOWN = chosen experts' products of the glu act */
    QN_OP_EXPERT_SUM,  /* T = sum of weight * EXPERT_DOWN over the chosen; then as RESIDUAL */
    QN_OP_OUTPUT_NORM, /* as NORM, for the rows whose logits are wanted */
    QN_OP_OUTPUT,      /* LOGITS = output matrix * act, scaled and capped; the greatest of every block */
    QN_OP_HIDDEN,      /* X = norm(X): the final hidden states, where they are wanted */
    QN_OPS
} qn_op;

typedef struct qn_product {
    const qn_matrix *matrix;
    const float *bias;
    qn_buffer_name out;
    bool add;
} qn_product;

typedef struct qn_instruction {
    qn_op op;
    uint32_t layer; /* QN_NO_LAYER before and after the layers */
    qn_buffer_name in;
    unsigned act_formats;     /* bit f: the act (GLU, EXPERT_GLU: the glu act) of format f is written */
    qn_norm norm;             /* weight NULL: no norm */
    bool keep, copy;          /* NORM: in X, in T */
    float scale;              /* EMBED, RESIDUAL, EXPERT_SUM, OUTPUT */
    qn_activation activation; /* GLU, EXPERT_GLU */
    bool windowed;            /* ROTATE, ATTEND */
    uint32_t group, slot;     /* ROTATE, ATTEND: which cache group, which layer of it */
    size_t width;             /* of the row that is normed, made ready or added */
    uint32_t n_products;
    qn_product products[3];
    const qn_layer_weights *weights; /* ROTATE, EXPERT_* */
} qn_instruction;

#define QN_NO_LAYER UINT32_MAX
enum { QN_CACHE_GROUPS = 2 };

/* Layers that keep their keys and values alike share pages: all without a window, all with one. A text that
 * is seen both ways comes in one piece and is not continued, so there all layers use the memory of one by
 * turns. */
typedef struct qn_cache_group {
    uint32_t n_layers; /* 0: no such layers */
    uint32_t window;   /* 0: all positions are kept */
} qn_cache_group;

typedef struct qn_program {
    const qn_hparams *hparams;
    const qn_weights *weights;
    qn_instruction *code;
    size_t n_code;
    size_t buffer_width[QN_BUFFERS];  /* float32 values a token; 0: unused */
    size_t act_width[QN_ACT_FORMATS]; /* values a token; 0: unused */
    size_t
        glu_act_width[QN_ACT_FORMATS]; /* the same after GLU, and a chosen expert's row after EXPERT_GLU: */
    size_t slot_act_width[QN_ACT_FORMATS]; /* they share memory */
    qn_cache_group groups[QN_CACHE_GROUPS];
} qn_program;

/* Compiles; weights may still be unloaded (a plan), then matrices have no data yet but everything else
 * is final. h and w must outlive the program. */
quern_status qn_program_compile(qn_program *p, const qn_hparams *h, const qn_weights *w, quern_error *err);
void qn_program_deinit(qn_program *p);

/* A person's view, one line an instruction; layers that repeat are folded. */
void qn_program_explain(const qn_program *p, bool fold, qn_buffer *out);

const char *qn_op_name(qn_op op);
const char *qn_buffer_label(qn_buffer_name buffer);

#endif
