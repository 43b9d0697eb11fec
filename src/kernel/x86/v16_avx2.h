/* v16_avx2.h: v16 (see kernel/v16.h) as two registers of AVX2 with FMA and F16C. */
#ifndef QN_KERNEL_X86_V16_AVX2_H
#define QN_KERNEL_X86_V16_AVX2_H

#include <immintrin.h>

typedef struct v16 {
    __m256 low, high;
} v16;
typedef v16 v16_mask; /* lanes of all ones or all zeros */

QN_INLINE v16 v16_zero(void)
{
    return (v16){_mm256_setzero_ps(), _mm256_setzero_ps()};
}
QN_INLINE v16 v16_set1(float x)
{
    return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
QN_INLINE v16 v16_load(const float *p)
{
    return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
QN_INLINE void v16_store(float *p, v16 a)
{
    _mm256_storeu_ps(p, a.low), _mm256_storeu_ps(p + 8, a.high);
}

QN_INLINE v16 v16_add(v16 a, v16 b)
{
    return (v16){_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
QN_INLINE v16 v16_sub(v16 a, v16 b)
{
    return (v16){_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
QN_INLINE v16 v16_mul(v16 a, v16 b)
{
    return (v16){_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
QN_INLINE v16 v16_div(v16 a, v16 b)
{
    return (v16){_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
QN_INLINE v16 v16_max(v16 a, v16 b)
{
    return (v16){_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
QN_INLINE v16 v16_min(v16 a, v16 b)
{
    return (v16){_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
QN_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    return (v16){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}

QN_INLINE v16 v16_bit_and(v16 a, v16 b)
{
    return (v16){_mm256_and_ps(a.low, b.low), _mm256_and_ps(a.high, b.high)};
}
QN_INLINE v16 v16_bit_andnot(v16 a, v16 b) /* ~a & b */
{
    return (v16){_mm256_andnot_ps(a.low, b.low), _mm256_andnot_ps(a.high, b.high)};
}
QN_INLINE v16 v16_bit_or(v16 a, v16 b)
{
    return (v16){_mm256_or_ps(a.low, b.low), _mm256_or_ps(a.high, b.high)};
}
QN_INLINE v16 v16_abs(v16 a)
{
    return v16_bit_andnot(v16_set1(-0.0f), a);
}
QN_INLINE v16 v16_negate(v16 a)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return (v16){_mm256_xor_ps(a.low, sign), _mm256_xor_ps(a.high, sign)};
}
QN_INLINE v16 v16_copysign(v16 magnitude, v16 sign)
{
    return v16_bit_or(v16_abs(magnitude), v16_bit_and(v16_set1(-0.0f), sign));
}

/* ---- masks ---- */

QN_INLINE v16_mask v16_less(v16 a, v16 b)
{
    return (v16){_mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ)};
}
QN_INLINE v16_mask v16_not_less(v16 a, v16 b) /* also where one is NaN */
{
    return (v16){_mm256_cmp_ps(a.low, b.low, _CMP_NLT_UQ), _mm256_cmp_ps(a.high, b.high, _CMP_NLT_UQ)};
}
QN_INLINE v16_mask v16_equal(v16 a, v16 b)
{
    return (v16){_mm256_cmp_ps(a.low, b.low, _CMP_EQ_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_EQ_OQ)};
}
QN_INLINE uint32_t v16_mask_bits(v16_mask m)
{
    return (uint32_t)_mm256_movemask_ps(m.low) | (uint32_t)_mm256_movemask_ps(m.high) << 8;
}
/* Lanes [begin, end), 0 <= begin, end <= 16. */
QN_INLINE v16_mask v16_lanes(int begin, int end)
{
    const __m256i low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                  high = _mm256_add_epi32(low, _mm256_set1_epi32(8));
    const __m256i before = _mm256_set1_epi32(begin - 1), after = _mm256_set1_epi32(end);
    return (v16){_mm256_castsi256_ps(
                     _mm256_and_si256(_mm256_cmpgt_epi32(low, before), _mm256_cmpgt_epi32(after, low))),
                 _mm256_castsi256_ps(
                     _mm256_and_si256(_mm256_cmpgt_epi32(high, before), _mm256_cmpgt_epi32(after, high)))};
}
QN_INLINE v16 v16_select(v16_mask m, v16 yes, v16 no)
{
    return (v16){_mm256_blendv_ps(no.low, yes.low, m.low), _mm256_blendv_ps(no.high, yes.high, m.high)};
}
/* a * b in lanes where m, 0 in the others. */
QN_INLINE v16 v16_mul_where(v16_mask m, v16 a, v16 b)
{
    return v16_bit_and(m, v16_mul(a, b));
}

QN_INLINE v16 v16_load_partial(const float *p, size_t n)
{
    const v16_mask m = v16_lanes(0, (int)n);
    return (v16){_mm256_maskload_ps(p, _mm256_castps_si256(m.low)),
                 _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.high))};
}
QN_INLINE void v16_store_partial(float *p, v16 a, size_t n)
{
    const v16_mask m = v16_lanes(0, (int)n);
    _mm256_maskstore_ps(p, _mm256_castps_si256(m.low), a.low);
    _mm256_maskstore_ps(p + 8, _mm256_castps_si256(m.high), a.high);
}

/* ---- within a vector ---- */

/* The fixed tree of vector.h. */
QN_INLINE float v16_sum(v16 a)
{
    const __m256 by8 = _mm256_add_ps(a.low, a.high);
    const __m128 by4 = _mm_add_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
    const __m128 by2 = _mm_add_ps(by4, _mm_movehl_ps(by4, by4));
    return _mm_cvtss_f32(_mm_add_ss(by2, _mm_movehdup_ps(by2)));
}
QN_INLINE float v16_max_lane(v16 a) /* no NaN in a */
{
    const __m256 by8 = _mm256_max_ps(a.low, a.high);
    const __m128 by4 = _mm_max_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
    const __m128 by2 = _mm_max_ps(by4, _mm_movehl_ps(by4, by4));
    return _mm_cvtss_f32(_mm_max_ss(by2, _mm_movehdup_ps(by2)));
}
QN_INLINE v16 v16_swap_pairs(v16 a)
{
    return (v16){_mm256_permute_ps(a.low, 0xb1), _mm256_permute_ps(a.high, 0xb1)};
}
QN_INLINE v16 v16_even_twice(v16 a)
{
    return (v16){_mm256_moveldup_ps(a.low), _mm256_moveldup_ps(a.high)};
}
QN_INLINE v16 v16_odd_twice(v16 a)
{
    return (v16){_mm256_movehdup_ps(a.low), _mm256_movehdup_ps(a.high)};
}
QN_INLINE v16 v16_negate_even(v16 a)
{
    const __m256 sign = _mm256_setr_ps(-0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f);
    return (v16){_mm256_xor_ps(a.low, sign), _mm256_xor_ps(a.high, sign)};
}
/* The even and the odd elements of 32 (a, then b). */
QN_INLINE void v16_split_pairs(v16 a, v16 b, v16 *even, v16 *odd)
{
#define QN_SPLIT(x, y, pick)                                                                                 \
    _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(x, y, pick)), 0xd8))
    *even = (v16){QN_SPLIT(a.low, a.high, 0x88), QN_SPLIT(b.low, b.high, 0x88)};
    *odd = (v16){QN_SPLIT(a.low, a.high, 0xdd), QN_SPLIT(b.low, b.high, 0xdd)};
#undef QN_SPLIT
}

/* ---- other types ---- */

/* 2^(n - 1) from exp's shifted argument (ref/math.h). */
QN_INLINE v16 v16_half_power(v16 shifted)
{
    return (v16){_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(shifted.low), QN_EXP_SHIFT)),
                 _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(shifted.high), QN_EXP_SHIFT))};
}
QN_INLINE v16 v16_load_f16(const uint16_t *p)
{
    return (v16){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)),
                 _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + 8)))};
}
QN_INLINE void v16_store_f16(uint16_t *p, v16 a)
{
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm256_cvtps_ph(a.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    _mm_storeu_si128((__m128i *)(void *)(p + 8),
                     _mm256_cvtps_ph(a.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
QN_INLINE v16 v16_load_bf16(const uint16_t *p)
{
    const __m256i low = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    const __m256i high = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p + 8)));
    return (v16){_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)),
                 _mm256_castsi256_ps(_mm256_slli_epi32(high, 16))};
}
/* qn_f32_to_bf16 in the low halves of 8 elements. */
QN_INLINE __m256i v16_half_to_bf16(__m256 a)
{
    const __m256i bits = _mm256_castps_si256(a), kept = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(kept, _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd), 16);
    const __m256i quiet = _mm256_or_si256(kept, _mm256_set1_epi32(0x40));
    return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)));
}
QN_INLINE void v16_store_bf16(uint16_t *p, v16 a)
{
    const __m256i words = _mm256_packus_epi32(v16_half_to_bf16(a.low), v16_half_to_bf16(a.high));
    _mm256_storeu_si256((__m256i *)(void *)p, _mm256_permute4x64_epi64(words, 0xd8));
}
/* The low or the high halves of 16 bytes, less 8. */
QN_INLINE v16 v16_load_i4(const uint8_t *p, bool high)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    if (high) bytes = _mm_srli_epi16(bytes, 4);
    bytes = _mm_sub_epi8(_mm_and_si128(bytes, _mm_set1_epi8(15)), _mm_set1_epi8(8));
    return (v16){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
                 _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes)))};
}
QN_INLINE v16 v16_load_i8(const int8_t *p)
{
    return (v16){
        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p))),
        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p + 8))))};
}
/* Integers in [-127, 127], stored as bytes. */
QN_INLINE void v16_store_i8(int8_t *p, v16 a)
{
    const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)));
}
QN_INLINE v16 v16_round(v16 a)
{
    return (v16){_mm256_round_ps(a.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                 _mm256_round_ps(a.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
/* max by the bits of non-negative floats: NaN above infinity above all else. */
QN_INLINE v16 v16_max_bits(v16 a, v16 b)
{
    return (v16){
        _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(a.low), _mm256_castps_si256(b.low))),
        _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(a.high), _mm256_castps_si256(b.high)))};
}

#endif
