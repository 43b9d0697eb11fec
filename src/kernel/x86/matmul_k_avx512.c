/* matmul_k_avx512.c: AVX-512 VNNI products of the types with super-blocks of 256 columns; the order of
 * arithmetic is that of ref/matmul_k.c. Sums of a sub-block are multiplied by its scale as integers;
 * minimums, and the zero point of IQ4_XS, meet the sums of activations in pairs of 16 bits. Q3_K and Q6_K
 * take their zero points off by where their sums begin. */
#include "kernel/table_matrix.h"
#include "kernel/x86/k_scales.h"
#include "kernel/x86/matmul_avx512.h"
#include "quant/blocks.h"

/* Scales of a super-block for 16 rows: as integers of 32 bits, and as pairs of 16 bits (sub-blocks 2 p and
 * 2 p + 1) for what meets the sums of activations. The minimums of Q2_K are pairs (m, m), [16]. */
typedef struct k_scales {
    int32_t scale[16][16]; /* of 16 columns or, [8], of 32 */
    int16_t min[16][16][2];
    __m512 d, dmin;
} k_scales;

/* A byte for each row to integers; bytes are signed, and unsigned ones below 128. */
QN_INLINE void put_scale(int32_t out[16], __m128i bytes)
{
    _mm512_storeu_si512((void *)out, _mm512_cvtepi8_epi32(bytes));
}

/* Q4_K, Q5_K */
QN_INLINE void expand_k_scales(k_scales *s, const uint8_t scales[12][16])
{
    QN_EACH (j, 8) put_scale(s->scale[j], q4_k_scale(scales, j));
    QN_EACH (p, 4) put_pairs(s->min[p], q4_k_min(scales, 2 * p), q4_k_min(scales, 2 * p + 1));
}

QN_INLINE void expand_iq4_xs_scales(k_scales *s, const qn_panel_iq4_xs *p)
{
    __m128i v[8];
    QN_EACH (j, 8) {
        v[j] = iq4_xs_scale(p, j);
        put_scale(s->scale[j], v[j]);
    }
    QN_EACH (i, 4) put_pairs(s->min[i], v[2 * i], v[2 * i + 1]);
}

QN_INLINE void expand_q2_k_scales(k_scales *s, const qn_panel_q2_k *p)
{
    for (int j = 0; j < 16; j++) {
        const __m128i both = load_16(p->scales[j]), low4 = _mm_set1_epi8(15);
        const __m128i m = _mm_and_si128(_mm_srli_epi16(both, 4), low4);
        put_scale(s->scale[j], _mm_and_si128(both, low4));
        put_pairs(s->min[j], m, m);
    }
}

QN_INLINE void expand_scales(k_scales *s, const uint8_t *block, qn_tensor_type type)
{
    if (type == QN_TYPE_Q2_K) {
        const qn_panel_q2_k *p = (const void *)block;
        expand_q2_k_scales(s, p);
        s->d = load_f16(p->d);
        s->dmin = load_f16(p->dmin);
    } else if (type == QN_TYPE_Q3_K) {
        const qn_panel_q3_k *p = (const void *)block;
        QN_EACH (j, 16) put_scale(s->scale[j], q3_k_scale(p, j));
        s->d = load_f16(p->d);
    } else if (type == QN_TYPE_Q4_K) {
        const qn_panel_q4_k *p = (const void *)block;
        expand_k_scales(s, p->scales);
        s->d = load_f16(p->d);
        s->dmin = load_f16(p->dmin);
    } else if (type == QN_TYPE_Q5_K) {
        const qn_panel_q5_k *p = (const void *)block;
        expand_k_scales(s, p->scales);
        s->d = load_f16(p->d);
        s->dmin = load_f16(p->dmin);
    } else if (type == QN_TYPE_Q6_K) {
        const qn_panel_q6_k *p = (const void *)block;
        QN_EACH (j, 16) put_scale(s->scale[j], load_16(p->scales[j]));
        s->d = load_f16(p->d);
    } else {
        const qn_panel_iq4_xs *p = (const void *)block;
        expand_iq4_xs_scales(s, p);
        s->d = load_f16(p->d);
    }
}

QN_INLINE __m512i load_scale(const k_scales *s, int j)
{
    return _mm512_loadu_si512((const void *)s->scale[j]);
}

QN_INLINE __m512i codes(const uint8_t *p, qn_tensor_type type, int g)
{
    if (type == QN_TYPE_IQ4_XS) return table_codes(p, qn_iq4_values, -128, g);
    return code_bits(type) < 4 ? few_codes(p, code_bits(type), g) : narrow_codes(p, code_bits(type), g);
}

/* Where sums of 16 columns begin: -32, or -4, times the sum of activations. */
QN_INLINE __m512i sum_start(qn_tensor_type type, const qn_act_q8_256 *a, int j)
{
    if (!has_start(type)) return _mm512_setzero_si512();
    const __m512i start =
        _mm512_dpwssd_epi32(_mm512_setzero_si512(), _mm512_set1_epi16(1), broadcast_4(a->start[j]));
    return type == QN_TYPE_Q3_K ? _mm512_srai_epi32(start, 3) : start;
}

/* Adds sub-block j to the integer sums of T tokens. */
QN_INLINE void sub_block_product(__m512i is[GROUP], qn_tensor_type type, int T, const uint8_t *p,
                                 const k_scales *s, int j, const qn_act_q8_256 *const a[])
{
    __m512i w[8];
    QN_EACH (g, 8) w[g] = codes(p, type, g);
    QN_EACH (t, T) {
        const int8_t *q = a[t]->q + 32 * j;
        __m512i first = sum_start(type, a[t], 2 * j), second = sum_start(type, a[t], 2 * j + 1);
        QN_EACH (g, 4) {
            first = _mm512_dpbusd_epi32(first, w[g], broadcast_4(q + 4 * g));
            second = _mm512_dpbusd_epi32(second, w[g + 4], broadcast_4(q + 16 + 4 * g));
        }
        if (is_fine(type)) {
            is[t] = _mm512_add_epi32(is[t], _mm512_mullo_epi32(first, load_scale(s, 2 * j)));
            is[t] = _mm512_add_epi32(is[t], _mm512_mullo_epi32(second, load_scale(s, 2 * j + 1)));
        } else {
            const __m512i sum = _mm512_add_epi32(first, second);
            is[t] = _mm512_add_epi32(is[t], _mm512_mullo_epi32(sum, load_scale(s, j)));
        }
    }
}

/* Sum over sub-blocks of minimum * (sum of activations). */
QN_INLINE __m512i min_sum(qn_tensor_type type, const k_scales *s, const qn_act_q8_256 *a)
{
    const bool is_q2 = type == QN_TYPE_Q2_K;
    const int n_pairs = is_q2 ? 16 : 4;
    __m512i ms = _mm512_setzero_si512();
    QN_EACH (p, n_pairs) {
        const __m512i sums = is_q2 ? broadcast_4(a->start[p]) : broadcast_4(a->sum32 + 2 * p);
        ms = _mm512_dpwssd_epi32(ms, _mm512_loadu_si512((const void *)s->min[p]), sums);
    }
    /* start is -32 times the sums */
    return is_q2 ? _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_srai_epi32(ms, 5)) : ms;
}

/* acc = fma(d * is - dmin * ms, a.scale, acc) */
QN_INLINE __m512 add_block(__m512 acc, qn_tensor_type type, __m512i is, const k_scales *s,
                           const qn_act_q8_256 *a)
{
    __m512i ms = _mm512_setzero_si512();
    if (has_min(type) || type == QN_TYPE_IQ4_XS) ms = min_sum(type, s, a);
    if (type == QN_TYPE_IQ4_XS) is = _mm512_sub_epi32(is, _mm512_slli_epi32(ms, 7));
    __m512 v = _mm512_mul_ps(s->d, _mm512_cvtepi32_ps(is));
    if (has_min(type)) v = _mm512_fnmadd_ps(s->dmin, _mm512_cvtepi32_ps(ms), v);
    return _mm512_fmadd_ps(v, _mm512_set1_ps(a->scale), acc);
}

QN_INLINE void k_product(qn_tensor_type type, int T, const uint8_t *p, size_t n_blocks,
                         const uint8_t *const act[], float *acc)
{
    QN_EACH (t, T) _mm512_storeu_ps(acc + 16 * t, _mm512_setzero_ps());
    for (size_t b = 0; b < n_blocks; b++, p += panel_block_bytes(type)) {
        k_scales s;
        const qn_act_q8_256 *a[GROUP];
        __m512i is[GROUP];
        QN_EACH (t, T) {
            a[t] = (const qn_act_q8_256 *)(const void *)(act[t] + b * sizeof(qn_act_q8_256));
            is[t] = _mm512_setzero_si512();
        }
        expand_scales(&s, p, type);
        for (int j = 0; j < 8; j++) {
            const uint8_t *sub = p + (size_t)j * sub_block_bytes(type);
            if (T <= 4) prefetch(sub + PREFETCH, sub_block_bytes(type));
            sub_block_product(is, type, T, sub, &s, j, a);
        }
        QN_EACH (t, T)
            _mm512_storeu_ps(acc + 16 * t, add_block(_mm512_loadu_ps(acc + 16 * t), type, is[t], &s, a[t]));
    }
}

QN_DEFINE_MATMUL(q2_k, Q2_K, QN_ACT_Q8_256, 256, k_product)
QN_DEFINE_MATMUL(q3_k, Q3_K, QN_ACT_Q8_256, 256, k_product)
QN_DEFINE_MATMUL(q4_k, Q4_K, QN_ACT_Q8_256, 256, k_product)
QN_DEFINE_MATMUL(q5_k, Q5_K, QN_ACT_Q8_256, 256, k_product)
QN_DEFINE_MATMUL(q6_k, Q6_K, QN_ACT_Q8_256, 256, k_product)
QN_DEFINE_MATMUL(iq4_xs, IQ4_XS, QN_ACT_Q8_256, 256, k_product)
