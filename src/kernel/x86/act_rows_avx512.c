/* act_rows_avx512.c: activation rows with AVX-512; the same values as ref/act_rows.c. */
#include "base/float16.h"
#include "kernel/inline.h"
#include "kernel/panel.h"
#include "kernel/table_matrix.h"
#include "kernel/x86/avx512.h"

#include <stdbool.h>
#include <string.h>

/* Elements 4 i + k and 4 k + i of 16 change places. */
QN_INLINE __m512i transpose_4x4(__m512i a)
{
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
                                    a);
}

/* Element 4 i + k of the k-th. */
QN_INLINE __m512i blend_4(__m512i a, __m512i b, __m512i c, __m512i d)
{
    const __m512i ab = _mm512_mask_mov_epi32(a, 0x2222, b), cd = _mm512_mask_mov_epi32(c, 0x8888, d);
    return _mm512_mask_mov_epi32(ab, 0xcccc, cd);
}

/* The bits of a magnitude. As integers NaN > infinity > every number. */
QN_INLINE __m512i magnitude(const float *x)
{
    return _mm512_and_si512(_mm512_castps_si512(_mm512_loadu_ps(x)), _mm512_set1_epi32(0x7fffffff));
}

/* In every element the greatest of its four neighbours. */
QN_INLINE __m512i max_of_4(__m512i a)
{
    a = _mm512_max_epi32(a, _mm512_shuffle_epi32(a, 0x4e));
    return _mm512_max_epi32(a, _mm512_shuffle_epi32(a, 0xb1));
}

/* Pairs of 16 bits: in every element the sum of its four neighbours. */
QN_INLINE __m512i sum_of_4(__m512i a)
{
    a = _mm512_add_epi16(a, _mm512_shuffle_epi32(a, 0x4e));
    return _mm512_add_epi16(a, _mm512_shuffle_epi32(a, 0xb1));
}

QN_INLINE __m512i quantize_16(const float *x, __m512 inverse)
{
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), inverse));
}

/* 64 values times `low` (the first 32) or `high`, to the nearest even integer. */
QN_INLINE __m512i quantize_64(const float *x, __m512 low, __m512 high)
{
    const __m512i a = _mm512_packs_epi32(quantize_16(x, low), quantize_16(x + 16, low));
    const __m512i b = _mm512_packs_epi32(quantize_16(x + 32, high), quantize_16(x + 48, high));
    return transpose_4x4(_mm512_packs_epi16(a, b)); /* packs works by quarters */
}

/* Sums of neighbours: of columns k % 4 < 2 in even lanes of 16 bits, of the others in odd ones. */
QN_INLINE __m512i sum_neighbours(__m512i q)
{
    return _mm512_maddubs_epi16(_mm512_set1_epi8(1), q);
}

/* Blocks that have something else than an inverse: not finite, or too small. */
QN_INLINE bool is_special(__m512i max_bits)
{
    const __m512i least = _mm512_set1_epi32(0x0d800000), most = _mm512_set1_epi32(0x7f7fffff); /* 2^-100 */
    return (_mm512_cmpgt_epi32_mask(max_bits, most) | _mm512_cmpgt_epi32_mask(least, max_bits)) != 0;
}

/* Four blocks, each in a quarter of the registers; false if one is special. */
QN_INLINE bool quantize_4_blocks(qn_act_q8_32 *a, const float *x)
{
    const __m512i m0 = _mm512_max_epi32(magnitude(x), magnitude(x + 16)),
                  m1 = _mm512_max_epi32(magnitude(x + 32), magnitude(x + 48)),
                  m2 = _mm512_max_epi32(magnitude(x + 64), magnitude(x + 80)),
                  m3 = _mm512_max_epi32(magnitude(x + 96), magnitude(x + 112));
    const __m512i m01 =
        _mm512_max_epi32(_mm512_shuffle_i32x4(m0, m1, 0x44), _mm512_shuffle_i32x4(m0, m1, 0xee));
    const __m512i m23 =
        _mm512_max_epi32(_mm512_shuffle_i32x4(m2, m3, 0x44), _mm512_shuffle_i32x4(m2, m3, 0xee));
    const __m512i max = max_of_4(
        _mm512_max_epi32(_mm512_shuffle_i32x4(m01, m23, 0x88), _mm512_shuffle_i32x4(m01, m23, 0xdd)));
    if (is_special(max)) return false;
    const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(127.0f), _mm512_castsi512_ps(max)),
                 scale = _mm512_div_ps(_mm512_castsi512_ps(max), _mm512_set1_ps(127.0f));
    const __m512i q01 = quantize_64(x, _mm512_permutexvar_ps(_mm512_set1_epi32(0), inverse),
                                    _mm512_permutexvar_ps(_mm512_set1_epi32(4), inverse));
    const __m512i q23 = quantize_64(x + 64, _mm512_permutexvar_ps(_mm512_set1_epi32(8), inverse),
                                    _mm512_permutexvar_ps(_mm512_set1_epi32(12), inverse));
    const __m512i s01 = sum_neighbours(q01), s23 = sum_neighbours(q23);
    const __m512i both = sum_of_4(
        _mm512_add_epi16(_mm512_shuffle_i32x4(s01, s23, 0x88), _mm512_shuffle_i32x4(s01, s23, 0xdd)));
    const __m512 sum = _mm512_cvtepi32_ps(_mm512_madd_epi16(both, _mm512_set1_epi16(1)));
    const __m512i start = _mm512_mullo_epi16(both, _mm512_set1_epi16(-16));
    const __m512i facts = blend_4(_mm512_castps_si512(scale), _mm512_castps_si512(_mm512_mul_ps(scale, sum)),
                                  _mm512_castps_si512(sum), start);
    _mm256_storeu_si256((__m256i *)(void *)a[0].q, _mm512_castsi512_si256(q01));
    _mm256_storeu_si256((__m256i *)(void *)a[1].q, _mm512_extracti64x4_epi64(q01, 1));
    _mm256_storeu_si256((__m256i *)(void *)a[2].q, _mm512_castsi512_si256(q23));
    _mm256_storeu_si256((__m256i *)(void *)a[3].q, _mm512_extracti64x4_epi64(q23, 1));
    _mm_storeu_si128((__m128i *)(void *)&a[0].scale, _mm512_extracti32x4_epi32(facts, 0));
    _mm_storeu_si128((__m128i *)(void *)&a[1].scale, _mm512_extracti32x4_epi32(facts, 1));
    _mm_storeu_si128((__m128i *)(void *)&a[2].scale, _mm512_extracti32x4_epi32(facts, 2));
    _mm_storeu_si128((__m128i *)(void *)&a[3].scale, _mm512_extracti32x4_epi32(facts, 3));
    return true;
}

/* The last four may overlap those before. */
void QN_AVX512(qn_act_row_q8_32)(void *row, const float *x, size_t n_cols)
{
    qn_act_q8_32 *a = row;
    const size_t n = n_cols / 32;
    if (n < 4) {
        qn_act_row_q8_32_avx2(row, x, n_cols);
        return;
    }
    for (size_t b = 0; b < n; b += 4) {
        const size_t first = b + 4 <= n ? b : n - 4;
        if (!quantize_4_blocks(a + first, x + 32 * first))
            qn_act_row_q8_32_avx2(a + first, x + 32 * first, 128);
    }
}

QN_INLINE bool quantize_256(qn_act_q8_256 *a, const float *x)
{
    __m512i m[4], q[4], sums[4];
    for (size_t i = 0; i < 4; i++)
        m[i] = _mm512_max_epi32(_mm512_max_epi32(magnitude(x + 64 * i), magnitude(x + 64 * i + 16)),
                                _mm512_max_epi32(magnitude(x + 64 * i + 32), magnitude(x + 64 * i + 48)));
    __m512i max = _mm512_max_epi32(_mm512_max_epi32(m[0], m[1]), _mm512_max_epi32(m[2], m[3]));
    max = _mm512_max_epi32(max, _mm512_shuffle_i32x4(max, max, 0x4e));
    max = max_of_4(_mm512_max_epi32(max, _mm512_shuffle_i32x4(max, max, 0xb1)));
    if (is_special(max)) return false;
    const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(127.0f), _mm512_castsi512_ps(max));
    for (size_t i = 0; i < 4; i++) {
        q[i] = quantize_64(x + 64 * i, inverse, inverse);
        _mm512_storeu_si512((void *)(a->q + 64 * i), q[i]);
        sums[i] = sum_of_4(sum_neighbours(q[i])); /* every quarter: of its 16 columns */
    }
    const __m512i by_16 = transpose_4x4(blend_4(sums[0], sums[1], sums[2], sums[3]));
    _mm512_storeu_si512((void *)a->start, _mm512_mullo_epi16(by_16, _mm512_set1_epi16(-32)));
    const __m512i total = _mm512_madd_epi16(by_16, _mm512_set1_epi16(1)),
                  by_32 = _mm512_permutexvar_epi32(
                      _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0),
                      _mm512_add_epi32(total, _mm512_shuffle_epi32(total, 0xb1)));
    _mm_storeu_si128((__m128i *)(void *)a->sum32, _mm_packs_epi32(_mm512_extracti32x4_epi32(by_32, 0),
                                                                  _mm512_extracti32x4_epi32(by_32, 1)));
    a->scale = _mm_cvtss_f32(_mm512_castps512_ps128(_mm512_castsi512_ps(max))) / 127.0f;
    memset(a->pad, 0, sizeof a->pad);
    return true;
}

void QN_AVX512(qn_act_row_q8_256)(void *row, const float *x, size_t n_cols)
{
    qn_act_q8_256 *a = row;
    for (size_t b = 0; b < n_cols / 256; b++, a++, x += 256)
        if (!quantize_256(a, x)) qn_act_row_q8_256_avx2(a, x, 256);
}
