/* kernel.h: every hot operation once, in a table (contract C3).
 *
 * There is one table per instruction set. The scalar one is the reference: plain C that can be held
 * against the papers. The best table that the processor can run is chosen when a model is opened;
 * QUERN_ISA=scalar|avx2|avx512|amx|neon forces one. Tables are constant: threads share them. */
#ifndef QN_KERNEL_KERNEL_H
#define QN_KERNEL_KERNEL_H

#include "base/error.h"
#include "kernel/attention.h"
#include "kernel/matrix.h"
#include "kernel/peak.h"
#include "kernel/vector.h"

typedef struct qn_kernels {
    const char *isa; /* "scalar", "avx2", "avx512", "amx", "neon" */

    qn_matmul_fn *matmul[QN_TYPE_LIMIT]; /* NULL: not a weight type */
    qn_act_row_fn *act_row[QN_ACT_FORMATS];

    qn_rms_norm_fn *rms_norm;
    qn_layer_norm_fn *layer_norm;
    qn_add_fn *add;
    qn_scale_fn *scale;
    qn_softcap_fn *softcap;
    qn_glu_fn *silu_mul, *gelu_mul; /* gelu: the tanh form */
    qn_activation_fn *silu, *gelu;
    qn_softmax_fn *softmax;
    qn_rope_fn *rope;
    qn_argmax_fn *argmax;
    qn_f16_to_f32_row_fn *f16_to_f32_row;
    qn_f32_to_f16_row_fn *f32_to_f16_row;

    qn_kv_write_fn *kv_write;
    qn_attention_fn *attention;
    qn_attention_chunk_fn *attention_chunk;
    qn_attention_chunk_many_fn *attention_chunk_many;
    qn_attention_join_fn *attention_join;

    qn_peak_read_fn *peak_read; /* for measuring the machine */
    qn_peak_ops_fn *peak_float, *peak_int8;
} qn_kernels;

/* The names of all tables built into this program, best last; NULL-terminated. */
const char *const *qn_kernels_names(void);

/* The table of that name, or NULL if it is unknown or this processor cannot run it. */
const qn_kernels *qn_kernels_by_name(const char *isa);

/* The table to use: QUERN_ISA if set (an error if it cannot be had), else the best. */
quern_status qn_kernels_choose(const qn_kernels **out, quern_error *err);

#endif
