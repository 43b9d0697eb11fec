/* decoders.h: the list of decoders, one line for each type. A new format adds its line here and its
 * function in the file of its family. */
#ifndef QN_QUANT_DECODERS_H
#define QN_QUANT_DECODERS_H

#include "quant/blocks.h"
#include "quant/decode.h"

/*    type, decoder, the struct of one block */
#define QN_DECODER_MAP(X)                                                                                    \
    X(F32, qn_decode_f32, float)                                                                             \
    X(F16, qn_decode_f16, uint16_t)                                                                          \
    X(BF16, qn_decode_bf16, uint16_t)                                                                        \
    X(Q4_0, qn_decode_q4_0, qn_block_q4_0)                                                                   \
    X(Q4_1, qn_decode_q4_1, qn_block_q4_1)                                                                   \
    X(Q5_0, qn_decode_q5_0, qn_block_q5_0)                                                                   \
    X(Q5_1, qn_decode_q5_1, qn_block_q5_1)                                                                   \
    X(Q8_0, qn_decode_q8_0, qn_block_q8_0)                                                                   \
    X(Q2_K, qn_decode_q2_k, qn_block_q2_k)                                                                   \
    X(Q3_K, qn_decode_q3_k, qn_block_q3_k)                                                                   \
    X(Q4_K, qn_decode_q4_k, qn_block_q4_k)                                                                   \
    X(Q5_K, qn_decode_q5_k, qn_block_q5_k)                                                                   \
    X(Q6_K, qn_decode_q6_k, qn_block_q6_k)                                                                   \
    X(IQ4_NL, qn_decode_iq4_nl, qn_block_iq4_nl)                                                             \
    X(IQ4_XS, qn_decode_iq4_xs, qn_block_iq4_xs)                                                             \
    X(IQ2_XXS, qn_decode_iq2_xxs, qn_block_iq2_xxs)                                                          \
    X(IQ2_XS, qn_decode_iq2_xs, qn_block_iq2_xs)                                                             \
    X(IQ2_S, qn_decode_iq2_s, qn_block_iq2_s)                                                                \
    X(IQ3_XXS, qn_decode_iq3_xxs, qn_block_iq3_xxs)                                                          \
    X(IQ3_S, qn_decode_iq3_s, qn_block_iq3_s)                                                                \
    X(IQ1_S, qn_decode_iq1_s, qn_block_iq1_s)                                                                \
    X(IQ1_M, qn_decode_iq1_m, qn_block_iq1_m)                                                                \
    X(TQ1_0, qn_decode_tq1_0, qn_block_tq1_0)                                                                \
    X(TQ2_0, qn_decode_tq2_0, qn_block_tq2_0)                                                                \
    X(Q1_0, qn_decode_q1_0, qn_block_q1_0)                                                                   \
    X(Q2_0, qn_decode_q2_0, qn_block_q2_0)                                                                   \
    X(MXFP4, qn_decode_mxfp4, qn_block_mxfp4)                                                                \
    X(NVFP4, qn_decode_nvfp4, qn_block_nvfp4)

#define X(type, decoder, block) qn_decode_fn decoder;
QN_DECODER_MAP(X)
#undef X

#endif
