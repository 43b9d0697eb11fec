/* matmul_k_avx512.c: AVX-512 VNNI products of the types with super-blocks of 256 columns; the order of
 * arithmetic is that of ref/matmul_k.c. Sums of a sub-block are multiplied by its scale as integers;
 * minimums, and the zero point of IQ4_XS, meet the sums of activations in pairs of 16 bits. Q6_K takes its
 * zero point off by where its sums begin. */
#include "kernel/table_matrix.h"
#include "kernel/x86/matmul_avx512.h"
#include "quant/blocks.h"

/* Scales of a super-block for 16 rows: as integers of 32 bits, and as pairs of 16 bits (sub-blocks 2 p and
 * 2 p + 1) for what meets the sums of activations. */
typedef struct k_scales {
    int32_t scale[16][16]; /* of 16 columns for Q6_K, else [8] of 32 */
    int16_t min[4][16][2];
    __m512 d, dmin;
} k_scales;

QN_INLINE int code_bits(qn_tensor_type type)
{
    return type == QN_TYPE_Q6_K ? 6 : type == QN_TYPE_Q5_K ? 5 : 4;
}
QN_INLINE size_t sub_block_bytes(qn_tensor_type type)
{
    return type == QN_TYPE_Q6_K ? 384 : type == QN_TYPE_Q5_K ? 320 : 256;
}
QN_INLINE bool has_min(qn_tensor_type type)
{
    return type == QN_TYPE_Q4_K || type == QN_TYPE_Q5_K;
}
QN_INLINE size_t panel_block_bytes(qn_tensor_type type)
{
    return 16 * (type == QN_TYPE_Q4_K   ? 144u
                 : type == QN_TYPE_Q5_K ? 176u
                 : type == QN_TYPE_Q6_K ? 210u
                                        : 136u);
}

QN_INLINE __m128i load_16(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

/* A byte for each row to integers; bytes are signed, and unsigned ones below 128. */
QN_INLINE void put_scale(int32_t out[16], __m128i bytes)
{
    _mm512_storeu_si512((void *)out, _mm512_cvtepi8_epi32(bytes));
}

QN_INLINE void put_pairs(int16_t out[16][2], __m128i first, __m128i second)
{
    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(first, second)));
    _mm256_storeu_si256((__m256i *)(void *)(out + 8), _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(first, second)));
}

/* Q4_K, Q5_K: see qn_q4_k_scales in quant/blocks.h; here 16 rows at once. */
QN_INLINE void expand_k_scales(k_scales *s, const uint8_t scales[12][16])
{
    const __m128i low4 = _mm_set1_epi8(15), low6 = _mm_set1_epi8(63), bits45 = _mm_set1_epi8(48);
    __m128i m[8];
    QN_EACH (j, 4) {
        const __m128i a = load_16(scales[j]), b = load_16(scales[4 + j]), c = load_16(scales[8 + j]);
        put_scale(s->scale[j], _mm_and_si128(a, low6));
        put_scale(s->scale[4 + j],
                  _mm_or_si128(_mm_and_si128(c, low4), _mm_and_si128(_mm_srli_epi16(a, 2), bits45)));
        m[j] = _mm_and_si128(b, low6);
        m[4 + j] = _mm_or_si128(_mm_and_si128(_mm_srli_epi16(c, 4), low4),
                                _mm_and_si128(_mm_srli_epi16(b, 2), bits45));
    }
    QN_EACH (p, 4) put_pairs(s->min[p], m[2 * p], m[2 * p + 1]);
}

QN_INLINE void expand_iq4_xs_scales(k_scales *s, const qn_panel_iq4_xs *p)
{
    __m128i v[8];
    QN_EACH (j, 8) {
        const __m128i l = load_16(p->scales_l[j / 2]), h = load_16(p->scales_h[j / 4]);
        const __m128i low = _mm_and_si128(j % 2 == 0 ? l : _mm_srli_epi16(l, 4), _mm_set1_epi8(15));
        const int left = 4 - 2 * (j % 4);
        const __m128i high = left >= 0 ? _mm_slli_epi16(h, left) : _mm_srli_epi16(h, -left);
        v[j] = _mm_sub_epi8(_mm_or_si128(low, _mm_and_si128(high, _mm_set1_epi8(48))), _mm_set1_epi8(32));
        put_scale(s->scale[j], v[j]);
    }
    QN_EACH (i, 4) put_pairs(s->min[i], v[2 * i], v[2 * i + 1]);
}

QN_INLINE void expand_scales(k_scales *s, const uint8_t *block, qn_tensor_type type)
{
    if (type == QN_TYPE_Q4_K) {
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

/* Adds sub-block j to the integer sums of T tokens. */
QN_INLINE void sub_block_product(__m512i is[GROUP], qn_tensor_type type, int T, const uint8_t *p,
                                 const k_scales *s, int j, const qn_act_q8_256 *const a[])
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i w[8];
    QN_EACH (g, 8) w[g] = type == QN_TYPE_IQ4_XS ? table_codes(p, g) : narrow_codes(p, code_bits(type), g);
    QN_EACH (t, T) {
        const int8_t *q = a[t]->q + 32 * j;
        __m512i first = zero, second = zero; /* of 16 columns each */
        if (type == QN_TYPE_Q6_K) {
            first = _mm512_dpwssd_epi32(zero, _mm512_set1_epi16(1), broadcast_4(a[t]->start[2 * j]));
            second = _mm512_dpwssd_epi32(zero, _mm512_set1_epi16(1), broadcast_4(a[t]->start[2 * j + 1]));
        }
        QN_EACH (g, 4) {
            first = _mm512_dpbusd_epi32(first, w[g], broadcast_4(q + 4 * g));
            second = _mm512_dpbusd_epi32(second, w[g + 4], broadcast_4(q + 16 + 4 * g));
        }
        if (type == QN_TYPE_Q6_K) {
            is[t] = _mm512_add_epi32(is[t], _mm512_mullo_epi32(first, load_scale(s, 2 * j)));
            is[t] = _mm512_add_epi32(is[t], _mm512_mullo_epi32(second, load_scale(s, 2 * j + 1)));
        } else {
            is[t] = _mm512_add_epi32(is[t],
                                     _mm512_mullo_epi32(_mm512_add_epi32(first, second), load_scale(s, j)));
        }
    }
}

/* acc = fma(d * is - dmin * ms, a.scale, acc) */
QN_INLINE __m512 add_block(__m512 acc, qn_tensor_type type, __m512i is, const k_scales *s,
                           const qn_act_q8_256 *a)
{
    __m512i ms = _mm512_setzero_si512();
    if (type != QN_TYPE_Q6_K)
        QN_EACH (p, 4)
            ms = _mm512_dpwssd_epi32(ms, _mm512_loadu_si512((const void *)s->min[p]),
                                     broadcast_4(a->sum32 + 2 * p));
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
            if (T <= 4) prefetch_block(sub, sub_block_bytes(type));
            sub_block_product(is, type, T, sub, &s, j, a);
        }
        QN_EACH (t, T)
            _mm512_storeu_ps(acc + 16 * t, add_block(_mm512_loadu_ps(acc + 16 * t), type, is[t], &s, a[t]));
    }
}

#define PRODUCT_Q4_K(T)   k_product(QN_TYPE_Q4_K, T, panel, n_blocks, act, acc)
#define PRODUCT_Q5_K(T)   k_product(QN_TYPE_Q5_K, T, panel, n_blocks, act, acc)
#define PRODUCT_Q6_K(T)   k_product(QN_TYPE_Q6_K, T, panel, n_blocks, act, acc)
#define PRODUCT_IQ4_XS(T) k_product(QN_TYPE_IQ4_XS, T, panel, n_blocks, act, acc)

QN_DEFINE_MATMUL(q4_k, QN_ACT_Q8_256, 256, PRODUCT_Q4_K)
QN_DEFINE_MATMUL(q5_k, QN_ACT_Q8_256, 256, PRODUCT_Q5_K)
QN_DEFINE_MATMUL(q6_k, QN_ACT_Q8_256, 256, PRODUCT_Q6_K)
QN_DEFINE_MATMUL(iq4_xs, QN_ACT_Q8_256, 256, PRODUCT_IQ4_XS)
