/* k_scales.h: scales and minimums of super-blocks as bytes, one for each of the 16 rows of a panel, out of
 * their packed form (see quant/blocks.h); the types that are missing have them as bytes. Instructions of 128
 * bits only: AVX2 and AVX-512 widen the bytes in their own ways. */
#ifndef QN_KERNEL_X86_K_SCALES_H
#define QN_KERNEL_X86_K_SCALES_H

#include "kernel/inline.h"
#include "kernel/panel.h"
#include "kernel/x86/avx512.h" /* the intrinsics, of all instruction sets */

QN_INLINE __m128i load_16(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

/* Bits 4 and 5 of each byte: v shifted by an even number of bits. */
QN_INLINE __m128i bits_45(__m128i v, int left)
{
    const __m128i at_4 = left >= 0 ? _mm_slli_epi16(v, left) : _mm_srli_epi16(v, -left);
    return _mm_and_si128(at_4, _mm_set1_epi8(48));
}
/* The low or the high four bits of each byte. */
QN_INLINE __m128i bits_03(__m128i v, bool is_high)
{
    return _mm_and_si128(is_high ? _mm_srli_epi16(v, 4) : v, _mm_set1_epi8(15));
}

/* Q4_K, Q5_K: the scale and the minimum of sub-block j, below 64. */
QN_INLINE __m128i q4_k_scale(const uint8_t scales[12][16], int j)
{
    const __m128i low = load_16(scales[j % 4]);
    if (j < 4) return _mm_and_si128(low, _mm_set1_epi8(63));
    return _mm_or_si128(bits_03(load_16(scales[4 + j]), false), bits_45(low, -2));
}
QN_INLINE __m128i q4_k_min(const uint8_t scales[12][16], int j)
{
    const __m128i low = load_16(scales[4 + j % 4]);
    if (j < 4) return _mm_and_si128(low, _mm_set1_epi8(63));
    return _mm_or_si128(bits_03(load_16(scales[4 + j]), true), bits_45(low, -2));
}

/* Q3_K: of 16 columns, signed. */
QN_INLINE __m128i q3_k_scale(const qn_panel_q3_k *p, int j)
{
    const __m128i low = bits_03(load_16(p->scales[j % 8]), j >= 8);
    const __m128i high = bits_45(load_16(p->scales[8 + j % 4]), 4 - 2 * (j / 4));
    return _mm_sub_epi8(_mm_or_si128(low, high), _mm_set1_epi8(32));
}

/* IQ4_XS: signed. */
QN_INLINE __m128i iq4_xs_scale(const qn_panel_iq4_xs *p, int j)
{
    const __m128i low = bits_03(load_16(p->scales_l[j / 2]), j % 2 != 0);
    const __m128i high = bits_45(load_16(p->scales_h[j / 4]), 4 - 2 * (j % 4));
    return _mm_sub_epi8(_mm_or_si128(low, high), _mm_set1_epi8(32));
}

/* Signed bytes, or unsigned ones below 128, of two sub-blocks to pairs of 16 bits. */
QN_INLINE void put_pairs(int16_t out[16][2], __m128i first, __m128i second)
{
    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(first, second)));
    _mm256_storeu_si256((__m256i *)(void *)(out + 8), _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(first, second)));
}

#endif
