/* peak_avx2.c: peaks of AVX2 (kernel/peak.h). */
#include "kernel/inline.h"
#include "kernel/peak.h"

#include <immintrin.h>
#include <string.h>

enum { FLOAT_CHAINS = 12, INT8_CHAINS = 8 }; /* fma: 4 or 5 cycles, two a cycle; 16 registers in all */

QN_INLINE void add_words(__m256i sum[8], const uint64_t *data)
{
    prefetch((const char *)data + QN_PEAK_AHEAD, QN_PEAK_READ_WORDS / 2 * sizeof *data);
    QN_EACH (k, 8) sum[k] = _mm256_add_epi64(sum[k], _mm256_load_si256((const void *)(data + 4 * k)));
}

uint64_t qn_peak_read_avx2(const uint64_t *data, size_t n)
{
    const size_t step = QN_PEAK_READ_WORDS / 2, length = n / step / QN_PEAK_STREAMS * step; /* of a part */
    __m256i sum[8];
    QN_EACH (k, 8) sum[k] = _mm256_setzero_si256();
    for (size_t i = 0; i < length; i += step)
        QN_EACH (s, QN_PEAK_STREAMS) add_words(sum, data + (size_t)s * length + i);
    for (size_t i = length * QN_PEAK_STREAMS; i < n; i += step) add_words(sum, data + i);
    QN_EACH (k, 7) sum[0] = _mm256_add_epi64(sum[0], sum[k + 1]);
    uint64_t lanes[4];
    _mm256_storeu_si256((void *)lanes, sum[0]);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

uint64_t qn_peak_float_avx2(size_t n_rounds, uint64_t *sum)
{
    const __m256 a = _mm256_loadu_ps(qn_peak_ones_f32), b = _mm256_loadu_ps(qn_peak_ones_f32 + 8);
    __m256 chain[FLOAT_CHAINS]; /* they begin apart, so that none can stand for another */
    for (int k = 0; k < FLOAT_CHAINS; k++) chain[k] = _mm256_set1_ps((float)k);
    for (size_t r = 0; r < n_rounds; r++) {
#pragma GCC unroll 12
        for (int k = 0; k < FLOAT_CHAINS; k++) chain[k] = _mm256_fmadd_ps(a, b, chain[k]);
    }
    *sum = 0;
    for (int k = 0; k < FLOAT_CHAINS; k++) {
        float lanes[8];
        _mm256_storeu_ps(lanes, chain[k]);
        for (int i = 0; i < 8; i++) *sum += (uint64_t)(lanes[i] - (float)k);
    }
    return n_rounds * FLOAT_CHAINS * 8;
}

/* AVX2 multiplies bytes with vpmaddubsw and adds the 16-bit pairs with vpaddw: the two count as one. In
 * assembly, because compilers take products of the same operands out of the loop, or copy the sums. */
uint64_t qn_peak_int8_avx2(size_t n_rounds, uint64_t *sum)
{
    const __m256i a = _mm256_loadu_si256((const void *)qn_peak_ones_i8), zero = _mm256_setzero_si256();
    __m256i c0 = zero, c1 = zero, c2 = zero, c3 = zero, c4 = zero, c5 = zero, c6 = zero, c7 = zero, product;
#define STEP(chain)                                                                                          \
    __asm__ volatile("vpmaddubsw %2, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(chain), "=&x"(product) : "x"(a))
    for (size_t r = 0; r < n_rounds; r++) {
        STEP(c0);
        STEP(c1);
        STEP(c2);
        STEP(c3);
        STEP(c4);
        STEP(c5);
        STEP(c6);
        STEP(c7);
    }
#undef STEP
    const __m256i chains[INT8_CHAINS] = {c0, c1, c2, c3, c4, c5, c6, c7};
    uint16_t lanes[16 * INT8_CHAINS];
    memcpy(lanes, chains, sizeof lanes);
    *sum = 0;
    for (int i = 0; i < 16 * INT8_CHAINS; i++) *sum += lanes[i];
    return n_rounds * INT8_CHAINS * 32;
}
