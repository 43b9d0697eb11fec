/* peak_avx512.c: peaks of AVX-512 with VNNI (kernel/peak.h). */
#include "kernel/inline.h"
#include "kernel/peak.h"
#include "kernel/x86/avx512.h"

#include <string.h>

enum { CHAINS = 12 }; /* vpdpbusd: 4 or 5 cycles, at most two a cycle */

QN_INLINE void add_words(__m512i sum[8], const uint64_t *data)
{
    prefetch((const char *)data + QN_PEAK_AHEAD, QN_PEAK_READ_WORDS * sizeof *data);
    QN_EACH (k, 8) sum[k] = _mm512_add_epi64(sum[k], _mm512_loadu_si512((const void *)(data + 8 * k)));
}

uint64_t QN_AVX512(qn_peak_read)(const uint64_t *data, size_t n)
{
    const size_t step = QN_PEAK_READ_WORDS, length = n / step / QN_PEAK_STREAMS * step; /* of a part */
    __m512i sum[8];
    QN_EACH (k, 8) sum[k] = _mm512_setzero_si512();
    for (size_t i = 0; i < length; i += step)
        QN_EACH (s, QN_PEAK_STREAMS) add_words(sum, data + (size_t)s * length + i);
    for (size_t i = length * QN_PEAK_STREAMS; i < n; i += step) add_words(sum, data + i);
    uint64_t lanes[8], total = 0;
    QN_EACH (k, 7) sum[0] = _mm512_add_epi64(sum[0], sum[k + 1]);
    _mm512_storeu_si512((void *)lanes, sum[0]);
    for (int i = 0; i < 8; i++) total += lanes[i];
    return total;
}

uint64_t QN_AVX512(qn_peak_float)(size_t n_rounds, uint64_t *sum)
{
    const __m512 a = _mm512_loadu_ps(qn_peak_ones_f32), b = _mm512_loadu_ps(qn_peak_ones_f32);
    __m512 chain[CHAINS]; /* they begin apart, so that none can stand for another */
    for (int k = 0; k < CHAINS; k++) chain[k] = _mm512_set1_ps((float)k);
    for (size_t r = 0; r < n_rounds; r++) {
#pragma GCC unroll 12
        for (int k = 0; k < CHAINS; k++) chain[k] = _mm512_fmadd_ps(a, b, chain[k]);
    }
    *sum = 0;
    for (int k = 0; k < CHAINS; k++) {
        float lanes[16];
        _mm512_storeu_ps(lanes, chain[k]);
        for (int i = 0; i < 16; i++) *sum += (uint64_t)(lanes[i] - (float)k);
    }
    return n_rounds * CHAINS * 16;
}

/* In assembly, because gcc copies the sums at every step. */
#ifdef QN_EMULATED
#define STEP(chain) chain = _mm512_dpbusd_epi32(chain, a, a)
#else
#define STEP(chain) __asm__ volatile("vpdpbusd %1, %1, %0" : "+v"(chain) : "v"(a))
#endif

uint64_t QN_AVX512(qn_peak_int8)(size_t n_rounds, uint64_t *sum)
{
    const __m512i a = _mm512_loadu_si512((const void *)qn_peak_ones_i8), zero = _mm512_setzero_si512();
    __m512i c0 = zero, c1 = zero, c2 = zero, c3 = zero, c4 = zero, c5 = zero, c6 = zero, c7 = zero, c8 = zero,
            c9 = zero, c10 = zero, c11 = zero;
    for (size_t r = 0; r < n_rounds; r++) {
        STEP(c0);
        STEP(c1);
        STEP(c2);
        STEP(c3);
        STEP(c4);
        STEP(c5);
        STEP(c6);
        STEP(c7);
        STEP(c8);
        STEP(c9);
        STEP(c10);
        STEP(c11);
    }
    const __m512i chains[CHAINS] = {c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11};
    int32_t lanes[16 * CHAINS];
    memcpy(lanes, chains, sizeof lanes);
    *sum = 0;
    for (int i = 0; i < 16 * CHAINS; i++) *sum += (uint64_t)lanes[i];
    return n_rounds * CHAINS * 64;
}
