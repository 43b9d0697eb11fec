/* table_vector.h: the vector and attention half of a kernel table. QN_VECTOR_DECLARE(isa) declares the
 * functions of one instruction set, QN_VECTOR_ENTRIES(isa) enters them into its table. */
#ifndef QN_KERNEL_TABLE_VECTOR_H
#define QN_KERNEL_TABLE_VECTOR_H

#include "kernel/attention.h"
#include "kernel/vector.h"

#define QN_VECTOR_DECLARE(isa)                                                                               \
    qn_rms_norm_fn qn_rms_norm_##isa;                                                                        \
    qn_layer_norm_fn qn_layer_norm_##isa;                                                                    \
    qn_add_fn qn_add_##isa;                                                                                  \
    qn_scale_fn qn_scale_##isa;                                                                              \
    qn_softcap_fn qn_softcap_##isa;                                                                          \
    qn_glu_fn qn_silu_mul_##isa, qn_gelu_mul_##isa;                                                          \
    qn_activation_fn qn_silu_##isa, qn_gelu_##isa;                                                           \
    qn_softmax_fn qn_softmax_##isa;                                                                          \
    qn_rope_fn qn_rope_##isa;                                                                                \
    qn_argmax_fn qn_argmax_##isa;                                                                            \
    qn_f16_to_f32_row_fn qn_f16_to_f32_row_##isa;                                                            \
    qn_f32_to_f16_row_fn qn_f32_to_f16_row_##isa;                                                            \
    qn_kv_write_fn qn_kv_write_##isa;                                                                        \
    qn_attention_fn qn_attention_##isa;                                                                      \
    qn_attention_chunk_fn qn_attention_chunk_##isa;                                                          \
    qn_attention_chunk_many_fn qn_attention_chunk_many_##isa;                                                \
    qn_attention_join_fn qn_attention_join_##isa

#define QN_VECTOR_ENTRIES(isa)                                                                               \
    .rms_norm = qn_rms_norm_##isa, .layer_norm = qn_layer_norm_##isa, .add = qn_add_##isa,                   \
    .scale = qn_scale_##isa, .softcap = qn_softcap_##isa, .silu_mul = qn_silu_mul_##isa,                     \
    .gelu_mul = qn_gelu_mul_##isa, .silu = qn_silu_##isa, .gelu = qn_gelu_##isa,                             \
    .softmax = qn_softmax_##isa, .rope = qn_rope_##isa, .argmax = qn_argmax_##isa,                           \
    .f16_to_f32_row = qn_f16_to_f32_row_##isa, .f32_to_f16_row = qn_f32_to_f16_row_##isa,                    \
    .kv_write = qn_kv_write_##isa, .attention = qn_attention_##isa,                                          \
    .attention_chunk = qn_attention_chunk_##isa, .attention_chunk_many = qn_attention_chunk_many_##isa,      \
    .attention_join = qn_attention_join_##isa,

QN_VECTOR_DECLARE(scalar);
#if defined(__x86_64__)
QN_VECTOR_DECLARE(avx2);
QN_VECTOR_DECLARE(avx512);
QN_VECTOR_DECLARE(avx512_emulated);
#endif

#endif
