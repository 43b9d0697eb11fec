/* matmul_k_avx512.c: AVX-512 VNNI products of the types with super-blocks of 256 columns; the order of
 * arithmetic is that of ref/matmul_k.c. Sums of a sub-block are multiplied by its scale as integers;
 * minimums, and the zero point of IQ4_XS, meet the sums of activations in pairs of 16 bits. Q3_K and Q6_K
 * take their zero points off by where their sums begin. */
#include "kernel/table_matrix.h"
#include "kernel/x86/codes_avx512.h"
#include "kernel/x86/k_scales.h"
#include "kernel/x86/matmul_avx512.h"
#include "quant/blocks.h"

/* Scales of a super-block for 16 rows, as bytes: of 16 columns or, [8], of 32. What meets sums of
 * activations: pairs of 16 bits (sub-blocks 2 p and 2 p + 1), [8] for Q2_K. */
typedef struct k_scales {
    int8_t scale[16][16];
    int16_t min[8][16][2];
    __m512 d, dmin;
} k_scales;

/* What a super-block of activations gives beside its quants: for each 16 columns where the sums of products
 * begin, or the sum of the quants. */
typedef union k_sums {
    int32_t start[16];
    int16_t sum16[16];
} k_sums;

QN_INLINE const qn_act_q8_256 *act_block(const uint8_t *row, size_t b)
{
    return (const qn_act_q8_256 *)(const void *)(row + b * sizeof(qn_act_q8_256));
}

/* ---- scales: four sub-blocks by 16 rows are a line ---- */

QN_INLINE void put_line(int8_t scale[4][16], __m512i v)
{
    _mm512_storeu_si512((void *)scale, v);
}

/* Bits 4 and 5 of each byte: v shifted by an even number of bits. */
QN_INLINE __m512i line_bits_45(__m512i v, int left)
{
    const __m512i at_4 = left >= 0 ? _mm512_slli_epi16(v, COUNT(left)) : _mm512_srli_epi16(v, COUNT(-left));
    return _mm512_and_si512(at_4, _mm512_set1_epi8(48));
}
/* The low or the high four bits of each byte. */
QN_INLINE __m512i line_bits_03(__m512i v, bool is_high)
{
    return _mm512_and_si512(is_high ? _mm512_srli_epi16(v, 4) : v, _mm512_set1_epi8(15));
}

/* The same bytes as pairs of 16 bits: row by row, those of the first two sub-blocks and those of the others.
 */
QN_INLINE void put_line_pairs(int16_t pairs[2][16][2], __m512i v, bool is_signed)
{
    const __m512i rows = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m128i turn = _mm_setr_epi8(0, 8, 4, 12, 1, 9, 5, 13, 2, 10, 6, 14, 3, 11, 7, 15);
    const __m512i by_row =
        _mm512_shuffle_epi8(_mm512_permutexvar_epi32(rows, v), _mm512_broadcast_i32x4(turn));
    const __m512i first = is_signed ? _mm512_srai_epi16(_mm512_slli_epi16(by_row, 8), 8)
                                    : _mm512_and_si512(by_row, _mm512_set1_epi16(255));
    _mm512_storeu_si512((void *)pairs[0], first);
    _mm512_storeu_si512((void *)pairs[1],
                        is_signed ? _mm512_srai_epi16(by_row, 8) : _mm512_srli_epi16(by_row, 8));
}

/* Q4_K, Q5_K */
QN_INLINE void expand_k_scales(k_scales *s, const uint8_t scales[12][16])
{
    const __m512i low = load_line(scales[0]), low_m = load_line(scales[4]), high = load_line(scales[8]),
                  low6 = _mm512_set1_epi8(63);
    put_line(s->scale, _mm512_and_si512(low, low6));
    put_line(s->scale + 4, _mm512_or_si512(line_bits_03(high, false), line_bits_45(low, -2)));
    put_line_pairs(s->min, _mm512_and_si512(low_m, low6), false);
    put_line_pairs(s->min + 2, _mm512_or_si512(line_bits_03(high, true), line_bits_45(low_m, -2)), false);
}

QN_INLINE void expand_q2_k_scales(k_scales *s, const uint8_t scales[16][16])
{
    QN_EACH (i, 4) {
        const __m512i both = load_line(scales[4 * i]);
        put_line(s->scale + 4 * i, line_bits_03(both, false));
        put_line_pairs(s->min + 2 * i, line_bits_03(both, true), false);
    }
}

/* Signed. */
QN_INLINE void expand_q3_k_scales(k_scales *s, const uint8_t scales[12][16])
{
    QN_EACH (i, 4) {
        const __m512i low = line_bits_03(load_line(scales[4 * (i % 2)]), i >= 2),
                      high = line_bits_45(load_line(scales[8]), 4 - 2 * i);
        put_line(s->scale + 4 * i, _mm512_sub_epi8(_mm512_or_si512(low, high), _mm512_set1_epi8(32)));
    }
}

QN_INLINE void expand_iq4_xs_scales(k_scales *s, const qn_panel_iq4_xs *p)
{
    QN_EACH (j, 8) _mm_storeu_si128((__m128i *)(void *)s->scale[j], iq4_xs_scale(p, j));
    QN_EACH (i, 2) put_line_pairs(s->min + 2 * i, _mm512_loadu_si512((const void *)s->scale[4 * i]), true);
}

QN_INLINE void expand_scales(k_scales *s, const uint8_t *block, qn_tensor_type type)
{
    if (type == QN_TYPE_Q2_K) {
        const qn_panel_q2_k *p = (const void *)block;
        expand_q2_k_scales(s, p->scales);
        s->d = load_f16(p->d);
        s->dmin = load_f16(p->dmin);
    } else if (type == QN_TYPE_Q3_K) {
        const qn_panel_q3_k *p = (const void *)block;
        expand_q3_k_scales(s, p->scales);
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
        memcpy(s->scale, p->scales, sizeof s->scale);
        s->d = load_f16(p->d);
    } else {
        const qn_panel_iq4_xs *p = (const void *)block;
        expand_iq4_xs_scales(s, p);
        s->d = load_f16(p->d);
    }
}

/* ---- products ---- */

/* The sums of 16 columns fit 16 bits: at most 15 * 16 * 127. */
QN_INLINE bool has_short_sums(qn_tensor_type type)
{
    return type == QN_TYPE_Q2_K || type == QN_TYPE_Q3_K || type == QN_TYPE_Q4_K;
}

/* `start` is -32 times the sums of the activations, in two parts: what takes 32 of Q6_K off, 4 of Q3_K, and
 * gives the sums that the minimums of Q2_K meet. */
QN_INLINE void sum_activations(k_sums *out, qn_tensor_type type, const qn_act_q8_256 *a)
{
    const __m512i parts = _mm512_loadu_si512((const void *)a->start);
    if (type == QN_TYPE_Q2_K) {
        const __m512i sums = _mm512_madd_epi16(_mm512_srai_epi16(parts, 5), _mm512_set1_epi16(-1));
        _mm256_storeu_si256((__m256i *)(void *)out->sum16, _mm512_cvtsepi32_epi16(sums));
    } else if (has_start(type)) {
        const __m512i start = _mm512_madd_epi16(parts, _mm512_set1_epi16(1));
        _mm512_storeu_si512((void *)out->start, type == QN_TYPE_Q3_K ? _mm512_srai_epi32(start, 3) : start);
    }
}

/* is + sum * scale. A short sum meets the scale as 16 bits: one instruction does it. */
QN_INLINE __m512i add_scaled(__m512i is, qn_tensor_type type, __m512i sum, __m512i scale)
{
    return has_short_sums(type) ? _mm512_dpwssd_epi32(is, sum, scale)
                                : _mm512_add_epi32(is, _mm512_mullo_epi32(sum, scale));
}

/* The scales of sub-block j, as integers of 32 bits; with upper halves of 0 where they meet short sums. */
QN_INLINE __m512i load_scale(const k_scales *s, qn_tensor_type type, int j)
{
    const __m512i scale = _mm512_cvtepi8_epi32(load_16(s->scale[j]));
    return type == QN_TYPE_Q3_K ? _mm512_and_si512(scale, _mm512_set1_epi32(0xffff)) : scale;
}

/* Adds sub-block j to the integer sums of T tokens. */
QN_INLINE void sub_block_product(__m512i is[GROUP], qn_tensor_type type, int T, const uint8_t *p,
                                 const k_scales *s, int j, const qn_act_q8_256 *const a[], const k_sums *sums)
{
    const __m512i scale = load_scale(s, type, is_fine(type) ? 2 * j : j),
                  scale_2 = is_fine(type) ? load_scale(s, type, 2 * j + 1) : scale;
    __m512i w[8];
    QN_EACH (g, 8) w[g] = k_codes(type, p, g);
    QN_EACH (t, T) {
        const int8_t *q = a[t]->q + 32 * j;
        __m512i first = _mm512_setzero_si512(), second = first;
        if (has_start(type)) {
            first = broadcast_4(&sums[t].start[2 * j]);
            second = broadcast_4(&sums[t].start[2 * j + 1]);
        }
        QN_EACH (g, 4) {
            first = _mm512_dpbusd_epi32(first, w[g], broadcast_4(q + 4 * g));
            second = _mm512_dpbusd_epi32(second, w[g + 4], broadcast_4(q + 16 + 4 * g));
        }
        if (is_fine(type) || has_short_sums(type)) {
            is[t] = add_scaled(is[t], type, first, scale);
            is[t] = add_scaled(is[t], type, second, scale_2);
        } else {
            is[t] = add_scaled(is[t], type, _mm512_add_epi32(first, second), scale);
        }
    }
}

/* Sum over sub-blocks of minimum * (sum of activations). */
QN_INLINE __m512i min_sum(qn_tensor_type type, const k_scales *s, const qn_act_q8_256 *a, const k_sums *sums)
{
    const int16_t *sum = type == QN_TYPE_Q2_K ? sums->sum16 : a->sum32;
    const int n_pairs = type == QN_TYPE_Q2_K ? 8 : 4;
    __m512i ms = _mm512_setzero_si512();
    QN_EACH (p, n_pairs)
        ms = _mm512_dpwssd_epi32(ms, _mm512_loadu_si512((const void *)s->min[p]), broadcast_4(sum + 2 * p));
    return ms;
}

/* acc = fma(d * is - dmin * ms, a.scale, acc) */
QN_INLINE __m512 add_block(__m512 acc, qn_tensor_type type, __m512i is, const k_scales *s,
                           const qn_act_q8_256 *a, const k_sums *sums)
{
    __m512i ms = _mm512_setzero_si512();
    if (has_min(type) || type == QN_TYPE_IQ4_XS) ms = min_sum(type, s, a, sums);
    if (type == QN_TYPE_IQ4_XS) is = _mm512_sub_epi32(is, _mm512_slli_epi32(ms, 7));
    __m512 v = _mm512_mul_ps(s->d, _mm512_cvtepi32_ps(is));
    if (has_min(type)) v = _mm512_fnmadd_ps(s->dmin, _mm512_cvtepi32_ps(ms), v);
    return _mm512_fmadd_ps(v, _mm512_set1_ps(a->scale), acc);
}

/* The panels take turns at every sub-block, and fetch a part of their next block but one, scales included:
 * those are wanted at its begin. */
QN_INLINE void k_product(qn_tensor_type type, int T, const uint8_t *const panel[], size_t n_panels,
                         size_t n_blocks, bool from_memory, const uint8_t *const act[], float *acc)
{
    const size_t part = panel_block_bytes(type) / 8;
    memset(acc, 0, n_panels * (size_t)T * 16 * sizeof *acc);
    for (size_t b = 0; b < n_blocks; b++) {
        k_scales scales[STREAMS];
        k_sums sums[GROUP];
        const qn_act_q8_256 *a[GROUP];
        __m512i is[STREAMS][GROUP];
        QN_EACH (t, T) {
            a[t] = act_block(act[t], b);
            sum_activations(&sums[t], type, a[t]);
        }
        for (size_t s = 0; s < n_panels; s++) {
            expand_scales(&scales[s], panel[s] + b * panel_block_bytes(type), type);
            QN_EACH (t, T) is[s][t] = _mm512_setzero_si512();
        }
        for (int j = 0; j < 8; j++) {
            for (size_t s = 0; s < n_panels; s++) {
                const uint8_t *p = panel[s] + b * panel_block_bytes(type);
                if (from_memory) prefetch(p + 2 * panel_block_bytes(type) + (size_t)j * part, part);
                sub_block_product(is[s], type, T, p + (size_t)j * sub_block_bytes(type), &scales[s], j, a,
                                  sums);
            }
        }
        for (size_t s = 0; s < n_panels; s++) {
            QN_EACH (t, T) {
                float *at = acc + 16 * (s * (size_t)T + (size_t)t);
                _mm512_storeu_ps(at,
                                 add_block(_mm512_loadu_ps(at), type, is[s][t], &scales[s], a[t], &sums[t]));
            }
        }
    }
}

QN_DEFINE_MATMUL(q2_k, Q2_K, QN_ACT_Q8_256, 256, k_product)
QN_DEFINE_MATMUL(q3_k, Q3_K, QN_ACT_Q8_256, 256, k_product)
QN_DEFINE_MATMUL(q4_k, Q4_K, QN_ACT_Q8_256, 256, k_product)
QN_DEFINE_MATMUL(q5_k, Q5_K, QN_ACT_Q8_256, 256, k_product)
QN_DEFINE_MATMUL(q6_k, Q6_K, QN_ACT_Q8_256, 256, k_product)
QN_DEFINE_MATMUL(iq4_xs, IQ4_XS, QN_ACT_Q8_256, 256, k_product)
