/* panel_facts.h: what the vector kernels ask about the panels of a type. The type is a constant where these
 * are called, and so is the answer. A block is that of the file: 32 columns, 256 of the types with
 * super-blocks, one of the float types. */
#ifndef QN_KERNEL_PANEL_FACTS_H
#define QN_KERNEL_PANEL_FACTS_H

#include "kernel/inline.h"
#include "kernel/panel.h"

/* 16 rows by one block; 0: the type has no panel, it is decoded. */
QN_INLINE size_t panel_block_bytes(qn_tensor_type type)
{
    return type == QN_TYPE_F32                              ? QN_PANEL_ROWS * sizeof(float)
           : type == QN_TYPE_F16 || type == QN_TYPE_BF16    ? QN_PANEL_ROWS * sizeof(uint16_t)
           : type == QN_TYPE_Q4_0 || type == QN_TYPE_IQ4_NL ? sizeof(qn_panel_q4_0)
           : type == QN_TYPE_Q4_1                           ? sizeof(qn_panel_q4_1)
           : type == QN_TYPE_Q5_0                           ? sizeof(qn_panel_q5_0)
           : type == QN_TYPE_Q5_1                           ? sizeof(qn_panel_q5_1)
           : type == QN_TYPE_Q8_0                           ? sizeof(qn_panel_q8_0)
           : type == QN_TYPE_MXFP4                          ? sizeof(qn_panel_mxfp4)
           : type == QN_TYPE_Q2_K                           ? sizeof(qn_panel_q2_k)
           : type == QN_TYPE_Q3_K                           ? sizeof(qn_panel_q3_k)
           : type == QN_TYPE_Q4_K                           ? sizeof(qn_panel_q4_k)
           : type == QN_TYPE_Q5_K                           ? sizeof(qn_panel_q5_k)
           : type == QN_TYPE_Q6_K                           ? sizeof(qn_panel_q6_k)
           : type == QN_TYPE_IQ4_XS                         ? sizeof(qn_panel_iq4_xs)
                                                            : 0;
}

/* Bits of a code as it is stored. */
QN_INLINE int code_bits(qn_tensor_type type)
{
    return type == QN_TYPE_Q2_K                                                   ? 2
           : type == QN_TYPE_Q3_K                                                 ? 3
           : type == QN_TYPE_Q5_0 || type == QN_TYPE_Q5_1 || type == QN_TYPE_Q5_K ? 5
           : type == QN_TYPE_Q6_K                                                 ? 6
           : type == QN_TYPE_Q8_0                                                 ? 8
                                                                                  : 4;
}

/* The lines of 32 columns. Behind them, in the types of 32 columns, lie the scales. */
QN_INLINE size_t sub_block_bytes(qn_tensor_type type)
{
    return (size_t)code_bits(type) * 64;
}
QN_INLINE const uint8_t *panel_scales(const uint8_t *p, qn_tensor_type type)
{
    return p + sub_block_bytes(type);
}

QN_INLINE bool has_min(qn_tensor_type type)
{
    return type == QN_TYPE_Q4_1 || type == QN_TYPE_Q5_1 || type == QN_TYPE_Q2_K || type == QN_TYPE_Q4_K ||
           type == QN_TYPE_Q5_K;
}

/* Of a super-block: scales for 16 columns, not 32. */
QN_INLINE bool is_fine(qn_tensor_type type)
{
    return type == QN_TYPE_Q2_K || type == QN_TYPE_Q3_K || type == QN_TYPE_Q6_K;
}

/* Sums begin at a multiple of the sums of activations (`start` in panel.h), which takes a zero point off or
 * keeps sums of 16 bits in their range. With sums of 32 bits, of use in super-blocks only. */
QN_INLINE bool has_start(qn_tensor_type type)
{
    return type == QN_TYPE_Q5_0 || type == QN_TYPE_Q5_1 || type == QN_TYPE_MXFP4 || type == QN_TYPE_Q3_K ||
           type == QN_TYPE_Q6_K;
}

#endif
