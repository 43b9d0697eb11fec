/* avx512.h: the AVX-512 intrinsics, or the same in portable C (SIMDe) where a test runs the kernels on
 * a processor without them. QN_AVX512(name) is the name of a function in either build. */
#ifndef QN_KERNEL_X86_AVX512_H
#define QN_KERNEL_X86_AVX512_H

#ifdef QN_EMULATED
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#include <string.h>

/* Conversions that the portable library lacks, by halves. */
static inline __m512i qn_emulated_join(__m256i low, __m256i high)
{
    __m256i halves[2] = {low, high};
    return _mm512_loadu_si512((const void *)halves);
}
static inline __m256i qn_emulated_half(__m512i v, size_t half)
{
    __m256i halves[2];
    _mm512_storeu_si512((void *)halves, v);
    return halves[half];
}
static inline __m512 qn_emulated_join_ps(__m256 low, __m256 high)
{
    return _mm512_castsi512_ps(qn_emulated_join(_mm256_castps_si256(low), _mm256_castps_si256(high)));
}
#ifndef _mm512_cvtph_ps
#define _mm512_cvtph_ps(v)                                                                                   \
    qn_emulated_join_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(v)),                                          \
                        _mm256_cvtph_ps(_mm256_extracti128_si256(v, 1)))
#endif
#ifndef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps(v)                                                                                \
    qn_emulated_join_ps(_mm256_cvtepi32_ps(qn_emulated_half(v, 0)),                                          \
                        _mm256_cvtepi32_ps(qn_emulated_half(v, 1)))
#endif
#ifndef _mm512_cvtepi8_epi32
#define _mm512_cvtepi8_epi32(v)                                                                              \
    qn_emulated_join(_mm256_cvtepi8_epi32(v), _mm256_cvtepi8_epi32(_mm_srli_si128(v, 8)))
#endif
#ifndef _mm512_srai_epi32
#define _mm512_srai_epi32(v, n)                                                                              \
    qn_emulated_join(_mm256_srai_epi32(qn_emulated_half(v, 0), n),                                           \
                     _mm256_srai_epi32(qn_emulated_half(v, 1), n))
#endif
#ifndef _mm512_cvtepu8_epi32
#define _mm512_cvtepu8_epi32(v)                                                                              \
    qn_emulated_join(_mm256_cvtepu8_epi32(v), _mm256_cvtepu8_epi32(_mm_srli_si128(v, 8)))
#endif
#ifndef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32(v)                                                                             \
    qn_emulated_join(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(v)),                                       \
                     _mm256_cvtepu16_epi32(_mm256_extracti128_si256(v, 1)))
#endif
#ifndef _mm512_cvtepi32_epi16 /* of elements that fit */
#define _mm512_cvtepi32_epi16(v)                                                                             \
    _mm256_permute4x64_epi64(_mm256_packus_epi32(qn_emulated_half(v, 0), qn_emulated_half(v, 1)), 0xd8)
#endif
#undef _mm512_madd_epi16 /* the library's takes the arguments of the masked one */
#define _mm512_madd_epi16 simde_mm512_madd_epi16
#ifndef _mm512_shuffle_epi32
#define _mm512_shuffle_epi32(v, order)                                                                       \
    qn_emulated_join(_mm256_shuffle_epi32(qn_emulated_half(v, 0), order),                                    \
                     _mm256_shuffle_epi32(qn_emulated_half(v, 1), order))
#endif
#ifndef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32(v)                                                                                \
    qn_emulated_join(_mm256_cvtps_epi32(_mm256_castsi256_ps(qn_emulated_half(_mm512_castps_si512(v), 0))),   \
                     _mm256_cvtps_epi32(_mm256_castsi256_ps(qn_emulated_half(_mm512_castps_si512(v), 1))))
#endif
#define QN_AVX512(name) name##_avx512_emulated
#else
#include <immintrin.h>
#define QN_AVX512(name) name##_avx512
#endif

#endif
