/* matmul_legacy_avx512.c: AVX-512 VNNI products of the types with one scale per 32 columns; the order of
 * arithmetic is that of ref/matmul_legacy.c. Zero points (8, 16, 128) are taken off in float32, where all
 * these integers are exact. */
#include "kernel/table_matrix.h"
#include "kernel/x86/codes_avx512.h"
#include "kernel/x86/matmul_avx512.h"

/* What the sum of unsigned codes lacks, per unit of the sum of activations. */
QN_INLINE float zero_point(qn_tensor_type type)
{
    if (has_min(type)) return 0.0f;
    return type == QN_TYPE_Q4_0 ? -8.0f : type == QN_TYPE_Q5_0 || type == QN_TYPE_MXFP4 ? -16.0f : -128.0f;
}

QN_INLINE __m512i codes(const uint8_t *p, qn_tensor_type type, int g)
{
    if (type == QN_TYPE_Q8_0) return _mm512_xor_si512(load_line(p + 64 * g), _mm512_set1_epi8(-128));
    if (type == QN_TYPE_IQ4_NL) return table_codes(p, qn_iq4_values, -128, g);
    if (type == QN_TYPE_MXFP4) return table_codes(p, qn_fp4_values, 16, g);
    return narrow_codes(p, code_bits(type), g);
}

/* Adds a block for T tokens. */
QN_INLINE void multiply_block(__m512 acc[GROUP], qn_tensor_type type, int T, const uint8_t *p,
                              const uint8_t *const act[], size_t b)
{
    const __m512 d = load_d(p, type), m = has_min(type) ? load_m(p, type) : d;
    __m512i w[8];
    QN_EACH (g, 8) w[g] = codes(p, type, g);
    QN_EACH (t, T) {
        const qn_act_q8_32 *a = (const qn_act_q8_32 *)(const void *)(act[t] + b * sizeof(qn_act_q8_32));
        __m512i even = _mm512_setzero_si512(), odd = even; /* two chains: the instruction takes 4 cycles */
        QN_EACH (g, 4) {
            even = _mm512_dpbusd_epi32(even, w[2 * g], broadcast_4(a->q + 8 * g));
            odd = _mm512_dpbusd_epi32(odd, w[2 * g + 1], broadcast_4(a->q + 8 * g + 4));
        }
        __m512 s = _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd));
        if (!has_min(type)) s = _mm512_fmadd_ps(_mm512_set1_ps(a->sum), _mm512_set1_ps(zero_point(type)), s);
        acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(a->scale)), s, acc[t]);
        if (has_min(type)) acc[t] = _mm512_fmadd_ps(m, _mm512_set1_ps(a->scaled_sum), acc[t]);
    }
}

/* The accumulators of one panel are in registers, those of several in memory. */
QN_INLINE void legacy_product(qn_tensor_type type, int T, const uint8_t *const panel[], size_t n_panels,
                              size_t n_blocks, bool from_memory, const uint8_t *const act[], float *out)
{
    __m512 acc[GROUP];
    QN_EACH (t, T) acc[t] = _mm512_setzero_ps();
    if (n_panels > 1) memset(out, 0, n_panels * (size_t)T * 16 * sizeof *out);
    for (size_t b = 0; b < n_blocks; b++) {
        for (size_t s = 0; s < n_panels; s++) {
            const uint8_t *p = panel[s] + b * panel_block_bytes(type);
            float *at = out + 16 * s * (size_t)T;
            if (from_memory) prefetch(p + PREFETCH, panel_block_bytes(type));
            if (n_panels > 1)
                QN_EACH (t, T) acc[t] = _mm512_loadu_ps(at + 16 * t);
            multiply_block(acc, type, T, p, act, b);
            if (n_panels > 1)
                QN_EACH (t, T) _mm512_storeu_ps(at + 16 * t, acc[t]);
        }
    }
    if (n_panels == 1)
        QN_EACH (t, T) _mm512_storeu_ps(out + 16 * t, acc[t]);
}

QN_DEFINE_MATMUL(q4_0, Q4_0, QN_ACT_Q8_32, 32, legacy_product)
QN_DEFINE_MATMUL(q4_1, Q4_1, QN_ACT_Q8_32, 32, legacy_product)
QN_DEFINE_MATMUL(q5_0, Q5_0, QN_ACT_Q8_32, 32, legacy_product)
QN_DEFINE_MATMUL(q5_1, Q5_1, QN_ACT_Q8_32, 32, legacy_product)
QN_DEFINE_MATMUL(q8_0, Q8_0, QN_ACT_Q8_32, 32, legacy_product)
QN_DEFINE_MATMUL(iq4_nl, IQ4_NL, QN_ACT_Q8_32, 32, legacy_product)
QN_DEFINE_MATMUL(mxfp4, MXFP4, QN_ACT_Q8_32, 32, legacy_product)
