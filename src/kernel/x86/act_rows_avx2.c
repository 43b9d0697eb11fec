/* act_rows_avx2.c: activation rows with AVX2; the same values as ref/act_rows.c. */
#include "base/float16.h"
#include "kernel/panel.h"
#include "kernel/table_matrix.h"

#include <immintrin.h>
#include <string.h>

/* The largest magnitude's bits. As integers NaN > infinity > every number. */
static inline uint32_t max_bits(__m256i max)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

static inline __m256i max_magnitude(__m256i max, const float *x)
{
    const __m256i bits =
        _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x)), _mm256_set1_epi32(0x7fffffff));
    return _mm256_max_epi32(max, bits);
}

/* 32 values times `inverse`, to the nearest even integer. */
static inline __m256i quantize_32(const float *x, __m256 inverse)
{
    const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
    const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8), inverse));
    const __m256i c = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 16), inverse));
    const __m256i d = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 24), inverse));
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    return _mm256_permutevar8x32_epi32(bytes,
                                       _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)); /* packs works by halves */
}

/* Adds neighbours: sums over 16 columns, k % 4 < 2 in even lanes of 16 bits and the others in odd ones, in
 * the lowest 32 bits of each half. */
static inline __m256i sum_halves(__m256i q)
{
    __m256i s = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
    s = _mm256_add_epi16(s, _mm256_shuffle_epi32(s, 0x4e));
    return _mm256_add_epi16(s, _mm256_shuffle_epi32(s, 0xb1));
}

void qn_act_row_q8_32_avx2(void *row, const float *x, size_t n_cols)
{
    qn_act_q8_32 *a = row;
    for (size_t b = 0; b < n_cols / 32; b++, a++, x += 32) {
        __m256i max = _mm256_setzero_si256();
        for (size_t i = 0; i < 32; i += 8) max = max_magnitude(max, x + i);
        const uint32_t bits = max_bits(max);
        const float m = qn_f32_from_bits(bits);
        memset(a, 0, sizeof *a);
        if (bits >= 0x7f800000u) {
            a->scale = m;
            a->scaled_sum = m * 0.0f;
            continue;
        }
        if (m < 0x1p-100f) continue;
        const __m256i q = quantize_32(x, _mm256_set1_ps(127.0f / m)), sums = sum_halves(q);
        const __m128i both = _mm_add_epi16(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
        const int sum = _mm_cvtsi128_si32(_mm_madd_epi16(both, _mm_set1_epi16(1)));
        const int start = _mm_cvtsi128_si32(_mm_mullo_epi16(both, _mm_set1_epi16(-16)));
        _mm256_storeu_si256((__m256i *)(void *)a->q, q);
        a->scale = m / 127.0f;
        a->sum = (float)sum;
        a->scaled_sum = a->scale * a->sum;
        memcpy(a->start, &start, sizeof a->start);
    }
}

void qn_act_row_q8_256_avx2(void *row, const float *x, size_t n_cols)
{
    qn_act_q8_256 *a = row;
    for (size_t b = 0; b < n_cols / 256; b++, a++, x += 256) {
        __m256i max = _mm256_setzero_si256();
        for (size_t i = 0; i < 256; i += 8) max = max_magnitude(max, x + i);
        const uint32_t bits = max_bits(max);
        const float m = qn_f32_from_bits(bits);
        if (bits >= 0x7f800000u || m < 0x1p-100f) {
            memset(a, 0, sizeof *a);
            if (bits >= 0x7f800000u) a->scale = m;
            continue;
        }
        const __m256 inverse = _mm256_set1_ps(127.0f / m);
        a->scale = m / 127.0f;
        for (size_t j = 0; j < 8; j++) {
            const __m256i q = quantize_32(x + 32 * j, inverse), sums = sum_halves(q);
            const __m256i start = _mm256_mullo_epi16(sums, _mm256_set1_epi16(-32));
            const __m256i total = _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
            const int low = _mm256_cvtsi256_si32(start),
                      high = _mm_cvtsi128_si32(_mm256_extracti128_si256(start, 1));
            _mm256_storeu_si256((__m256i *)(void *)(a->q + 32 * j), q);
            memcpy(a->start[2 * j], &low, sizeof low);
            memcpy(a->start[2 * j + 1], &high, sizeof high);
            a->sum32[j] = (int16_t)(_mm256_cvtsi256_si32(total) +
                                    _mm_cvtsi128_si32(_mm256_extracti128_si256(total, 1)));
        }
        memset(a->pad, 0, sizeof a->pad);
    }
}
