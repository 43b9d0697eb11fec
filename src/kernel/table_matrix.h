/* table_matrix.h: the matrix half of a kernel table. QN_MATRIX_ENTRIES(integer_isa, float_isa, act_isa)
 * names the function of every type; a table file expands it. Each of the three may be that of a narrower
 * instruction set. Types that are decoded while multiplying share one function. */
#ifndef QN_KERNEL_TABLE_MATRIX_H
#define QN_KERNEL_TABLE_MATRIX_H

#include "kernel/matrix.h"

/* Products of integers, with quantized activations. */
#define QN_MATMUL_INTEGER_MAP(X, isa)                                                                        \
    X(Q4_0, q4_0, isa)                                                                                       \
    X(Q4_1, q4_1, isa)                                                                                       \
    X(Q5_0, q5_0, isa)                                                                                       \
    X(Q5_1, q5_1, isa)                                                                                       \
    X(Q8_0, q8_0, isa)                                                                                       \
    X(IQ4_NL, iq4_nl, isa)                                                                                   \
    X(Q4_K, q4_k, isa)                                                                                       \
    X(Q5_K, q5_k, isa)                                                                                       \
    X(Q6_K, q6_k, isa)                                                                                       \
    X(IQ4_XS, iq4_xs, isa)                                                                                   \
    X(Q2_K, q2_k, isa)                                                                                       \
    X(Q3_K, q3_k, isa)                                                                                       \
    X(MXFP4, mxfp4, isa)

/* Products of float32. */
#define QN_MATMUL_FLOAT_MAP(X, isa)                                                                          \
    X(F32, f32, isa)                                                                                         \
    X(F16, f16, isa)                                                                                         \
    X(BF16, bf16, isa)                                                                                       \
    X(IQ2_XXS, decoded, isa)                                                                                 \
    X(IQ2_XS, decoded, isa)                                                                                  \
    X(IQ2_S, decoded, isa)                                                                                   \
    X(IQ3_XXS, decoded, isa)                                                                                 \
    X(IQ3_S, decoded, isa)                                                                                   \
    X(IQ1_S, decoded, isa)                                                                                   \
    X(IQ1_M, decoded, isa)                                                                                   \
    X(TQ1_0, decoded, isa)                                                                                   \
    X(TQ2_0, decoded, isa)                                                                                   \
    X(NVFP4, decoded, isa)                                                                                   \
    X(Q1_0, decoded, isa)                                                                                    \
    X(Q2_0, decoded, isa)

#define QN_MATMUL_ENTRY(type, name, isa) [QN_TYPE_##type] = qn_matmul_##name##_##isa,

#define QN_MATRIX_ENTRIES(integer_isa, float_isa, act_isa)                                                   \
    .matmul = {QN_MATMUL_INTEGER_MAP(QN_MATMUL_ENTRY, integer_isa)                                           \
                   QN_MATMUL_FLOAT_MAP(QN_MATMUL_ENTRY, float_isa)},                                         \
    .act_row = {[QN_ACT_F32] = qn_act_row_f32,                                                               \
                [QN_ACT_Q8_32] = qn_act_row_q8_32_##act_isa,                                                 \
                [QN_ACT_Q8_256] = qn_act_row_q8_256_##act_isa},

#define QN_MATRIX_DECLARE_INTEGER(isa)                                                                       \
    qn_matmul_fn qn_matmul_q4_0_##isa, qn_matmul_q4_1_##isa, qn_matmul_q5_0_##isa, qn_matmul_q5_1_##isa,     \
        qn_matmul_q8_0_##isa, qn_matmul_iq4_nl_##isa, qn_matmul_q4_k_##isa, qn_matmul_q5_k_##isa,            \
        qn_matmul_q6_k_##isa, qn_matmul_iq4_xs_##isa, qn_matmul_mxfp4_##isa, qn_matmul_q2_k_##isa,           \
        qn_matmul_q3_k_##isa
#define QN_MATRIX_DECLARE(isa)                                                                               \
    QN_MATRIX_DECLARE_INTEGER(isa);                                                                          \
    qn_matmul_fn qn_matmul_f32_##isa, qn_matmul_f16_##isa, qn_matmul_bf16_##isa, qn_matmul_decoded_##isa

qn_act_row_fn qn_act_row_f32; /* a copy; the same everywhere */
qn_act_row_fn qn_act_row_q8_32_scalar, qn_act_row_q8_256_scalar, qn_act_row_q8_32_avx2,
    qn_act_row_q8_256_avx2, qn_act_row_q8_32_avx512, qn_act_row_q8_256_avx512,
    qn_act_row_q8_32_avx512_emulated, qn_act_row_q8_256_avx512_emulated;
QN_MATRIX_DECLARE(scalar);
QN_MATRIX_DECLARE(avx2);
QN_MATRIX_DECLARE(avx512);
QN_MATRIX_DECLARE(avx512_emulated);
QN_MATRIX_DECLARE_INTEGER(amx);
QN_MATRIX_DECLARE_INTEGER(amx_emulated);

#endif
