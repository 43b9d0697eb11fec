/* codes_avx512.h: the codes of a line, signed or as they are stored, and the scales of the types with 32
 * columns in a block. */
#ifndef QN_KERNEL_X86_CODES_AVX512_H
#define QN_KERNEL_X86_CODES_AVX512_H

#include "kernel/x86/matmul_avx512.h"

/* What is taken off the unsigned codes. */
QN_INLINE char code_zero(qn_tensor_type type)
{
    return type == QN_TYPE_Q4_0 ? 8 : type == QN_TYPE_Q5_0 ? 16 : 0;
}

/* Of the types with 32 columns in a block, columns 4 g .. 4 g + 3 as the signed numbers they stand for. p:
 * the lines of the block. */
QN_INLINE __m512i signed_codes(qn_tensor_type type, const uint8_t *p, int g)
{
    if (type == QN_TYPE_Q8_0) return load_line(p + 64 * g);
    if (type == QN_TYPE_IQ4_NL) return table_codes(p, qn_iq4_values, 0, g);
    if (type == QN_TYPE_MXFP4) return table_codes(p, qn_fp4_values, 0, g);
    const __m512i codes = narrow_codes(p, code_bits(type), g);
    return code_zero(type) != 0 ? _mm512_sub_epi8(codes, _mm512_set1_epi8(code_zero(type))) : codes;
}

/* Of the types with super-blocks, unsigned: as they are stored, those of IQ4_XS greater by 128. */
QN_INLINE __m512i k_codes(qn_tensor_type type, const uint8_t *p, int g)
{
    if (type == QN_TYPE_IQ4_XS) return table_codes(p, qn_iq4_values, -128, g);
    return code_bits(type) < 4 ? few_codes(p, code_bits(type), g) : narrow_codes(p, code_bits(type), g);
}

/* qn_e8m0_half of 16 exponents: 2^(e - 128), which is subnormal for 0 and 1. */
QN_INLINE __m512 load_e8m0(const uint8_t *p)
{
    const __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    const __m512i subnormal = _mm512_sllv_epi32(_mm512_set1_epi32(0x200000), e);
    const __mmask16 is_subnormal = _mm512_cmpgt_epi32_mask(_mm512_set1_epi32(2), e);
    return _mm512_castsi512_ps(_mm512_mask_mov_epi32(normal, is_subnormal, subnormal));
}

QN_INLINE __m512 load_d(const uint8_t *p, qn_tensor_type type)
{
    const uint8_t *scales = panel_scales(p, type);
    return type == QN_TYPE_MXFP4 ? load_e8m0(scales) : load_f16((const uint16_t *)(const void *)scales);
}
QN_INLINE __m512 load_m(const uint8_t *p, qn_tensor_type type)
{
    return load_f16((const uint16_t *)(const void *)panel_scales(p, type) + 16);
}

#endif
