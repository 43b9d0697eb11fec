/* v16_avx512.h: v16 (see kernel/v16.h) as one register of AVX-512 F, BW, DQ and VL. */
#ifndef QN_KERNEL_X86_V16_AVX512_H
#define QN_KERNEL_X86_V16_AVX512_H

#include "kernel/x86/avx512.h"

typedef __m512 v16;
typedef __mmask16 v16_mask;

QN_INLINE v16 v16_zero(void)
{
    return _mm512_setzero_ps();
}
QN_INLINE v16 v16_set1(float x)
{
    return _mm512_set1_ps(x);
}
QN_INLINE v16 v16_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
QN_INLINE void v16_store(float *p, v16 a)
{
    _mm512_storeu_ps(p, a);
}

QN_INLINE v16 v16_add(v16 a, v16 b)
{
    return _mm512_add_ps(a, b);
}
QN_INLINE v16 v16_sub(v16 a, v16 b)
{
    return _mm512_sub_ps(a, b);
}
QN_INLINE v16 v16_mul(v16 a, v16 b)
{
    return _mm512_mul_ps(a, b);
}
QN_INLINE v16 v16_div(v16 a, v16 b)
{
    return _mm512_div_ps(a, b);
}
QN_INLINE v16 v16_max(v16 a, v16 b)
{
    return _mm512_max_ps(a, b);
}
QN_INLINE v16 v16_min(v16 a, v16 b)
{
    return _mm512_min_ps(a, b);
}
QN_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    return _mm512_fmadd_ps(a, b, c);
}

QN_INLINE v16 v16_bit_and(v16 a, v16 b)
{
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}
QN_INLINE v16 v16_bit_xor(v16 a, v16 b)
{
    return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}
QN_INLINE v16 v16_abs(v16 a)
{
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff)));
}
QN_INLINE v16 v16_negate(v16 a)
{
    return v16_bit_xor(a, _mm512_set1_ps(-0.0f));
}
QN_INLINE v16 v16_copysign(v16 magnitude, v16 sign)
{
    const __m512i bit = _mm512_castps_si512(v16_bit_and(_mm512_set1_ps(-0.0f), sign));
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(v16_abs(magnitude)), bit));
}

/* ---- masks ---- */

QN_INLINE v16_mask v16_less(v16 a, v16 b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
QN_INLINE v16_mask v16_not_less(v16 a, v16 b) /* also where one is NaN */
{
    return _mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ);
}
QN_INLINE v16_mask v16_equal(v16 a, v16 b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
QN_INLINE uint32_t v16_mask_bits(v16_mask m)
{
    return m;
}
/* Lanes [begin, end), 0 <= begin, end <= 16. */
QN_INLINE v16_mask v16_lanes(int begin, int end)
{
    return (v16_mask)(((1u << end) - 1) & ~((1u << begin) - 1));
}
QN_INLINE v16 v16_select(v16_mask m, v16 yes, v16 no)
{
    return _mm512_mask_mov_ps(no, m, yes);
}
/* a * b in lanes where m, 0 in the others. */
QN_INLINE v16 v16_mul_where(v16_mask m, v16 a, v16 b)
{
    return _mm512_maskz_mul_ps(m, a, b);
}

/* ---- within a vector ---- */

/* The fixed tree of vector.h. */
QN_INLINE float v16_sum(v16 a)
{
    const __m256 low = _mm512_castps512_ps256(a);
    const __m256 high = _mm256_castsi256_ps(_mm512_extracti64x4_epi64(_mm512_castps_si512(a), 1));
    const __m256 by8 = _mm256_add_ps(low, high);
    const __m128 by4 = _mm_add_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
    const __m128 by2 = _mm_add_ps(by4, _mm_movehl_ps(by4, by4));
    return _mm_cvtss_f32(_mm_add_ss(by2, _mm_movehdup_ps(by2)));
}
QN_INLINE float v16_max_lane(v16 a) /* no NaN in a */
{
    const __m256 low = _mm512_castps512_ps256(a);
    const __m256 high = _mm256_castsi256_ps(_mm512_extracti64x4_epi64(_mm512_castps_si512(a), 1));
    const __m256 by8 = _mm256_max_ps(low, high);
    const __m128 by4 = _mm_max_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
    const __m128 by2 = _mm_max_ps(by4, _mm_movehl_ps(by4, by4));
    return _mm_cvtss_f32(_mm_max_ss(by2, _mm_movehdup_ps(by2)));
}
QN_INLINE v16 v16_swap_pairs(v16 a)
{
    return _mm512_shuffle_ps(a, a, 0xb1);
}
QN_INLINE v16 v16_even_twice(v16 a)
{
    return _mm512_shuffle_ps(a, a, 0xa0);
}
QN_INLINE v16 v16_odd_twice(v16 a)
{
    return _mm512_shuffle_ps(a, a, 0xf5);
}
QN_INLINE v16 v16_negate_even(v16 a)
{
    return v16_bit_xor(a, _mm512_castsi512_ps(_mm512_set1_epi64(0x80000000)));
}
/* The even and the odd elements of 32 (a, then b). */
QN_INLINE void v16_split_pairs(v16 a, v16 b, v16 *even, v16 *odd)
{
    const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odds = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    *even = _mm512_permutex2var_ps(a, evens, b);
    *odd = _mm512_permutex2var_ps(a, odds, b);
}

/* ---- other types ---- */

/* 2^(n - 1) from exp's shifted argument (ref/math.h). */
QN_INLINE v16 v16_half_power(v16 shifted)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(shifted), QN_EXP_SHIFT));
}
QN_INLINE v16 v16_round(v16 a)
{
    return _mm512_roundscale_ps(a, 0);
}
/* max by the bits of non-negative floats: NaN above infinity above all else. */
QN_INLINE v16 v16_max_bits(v16 a, v16 b)
{
    return _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}

QN_INLINE v16 v16_load_bf16(const uint16_t *p)
{
    const __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}
/* As qn_f32_to_bf16. */
QN_INLINE void v16_store_bf16(uint16_t *p, v16 a)
{
    const __m512i bits = _mm512_castps_si512(a), kept = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(kept, _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
    const __mmask16 is_nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(_mm512_mask_or_epi32(
                                                  rounded, is_nan, kept, _mm512_set1_epi32(0x40))));
}
/* The low or the high halves of 16 bytes, less 8: looked up by the low four bits of each element. */
QN_INLINE v16 v16_load_i4(const uint8_t *p, bool high)
{
    const __m512 values = _mm512_setr_ps(-8.0f, -7.0f, -6.0f, -5.0f, -4.0f, -3.0f, -2.0f, -1.0f, 0.0f, 1.0f,
                                         2.0f, 3.0f, 4.0f, 5.0f, 6.0f, 7.0f);
    __m512i codes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    if (high) codes = _mm512_srli_epi32(codes, 4);
    return _mm512_permutexvar_ps(codes, values);
}

/* ---- conversions while loading and storing, which the emulation lacks ---- */

#ifdef QN_EMULATED
QN_INLINE v16 v16_load_partial(const float *p, size_t n)
{
    float lane[16] = {0};
    for (size_t i = 0; i < n; i++) lane[i] = p[i];
    return _mm512_loadu_ps(lane);
}
QN_INLINE void v16_store_partial(float *p, v16 a, size_t n)
{
    float lane[16];
    _mm512_storeu_ps(lane, a);
    for (size_t i = 0; i < n; i++) p[i] = lane[i];
}
QN_INLINE v16 v16_load_f16(const uint16_t *p)
{
    float lane[16];
    for (int i = 0; i < 16; i++) lane[i] = qn_f16_to_f32(p[i]);
    return _mm512_loadu_ps(lane);
}
QN_INLINE void v16_store_f16(uint16_t *p, v16 a)
{
    float lane[16];
    _mm512_storeu_ps(lane, a);
    for (int i = 0; i < 16; i++) p[i] = qn_f32_to_f16(lane[i]);
}
QN_INLINE v16 v16_load_i8(const int8_t *p)
{
    float lane[16];
    for (int i = 0; i < 16; i++) lane[i] = p[i];
    return _mm512_loadu_ps(lane);
}
QN_INLINE void v16_store_i8(int8_t *p, v16 a)
{
    float lane[16];
    _mm512_storeu_ps(lane, a);
    for (int i = 0; i < 16; i++) p[i] = (int8_t)lane[i];
}
#else
QN_INLINE v16 v16_load_partial(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(v16_lanes(0, (int)n), p);
}
QN_INLINE void v16_store_partial(float *p, v16 a, size_t n)
{
    _mm512_mask_storeu_ps(p, v16_lanes(0, (int)n), a);
}
QN_INLINE v16 v16_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
QN_INLINE void v16_store_f16(uint16_t *p, v16 a)
{
    _mm256_storeu_si256((__m256i *)(void *)p,
                        _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
QN_INLINE v16 v16_load_i8(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}
/* Integers in [-127, 127], stored as bytes. */
QN_INLINE void v16_store_i8(int8_t *p, v16 a)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
}
#endif

#endif
