/* matmul_k_avx2.c: AVX2 products of the types with super-blocks of 256 columns; the order of arithmetic is
 * that of ref/matmul_k.c.
 *
 * 16-bit sums of two products are multiplied by their sub-block's scale while they are widened (vpmaddwd).
 * Until then 8 of them fit for codes of 4 bits, 4 for codes of 5 bits; 6 bits: 4, when they begin at -32
 * times the sum of the activations, which takes the zero point off as well (Q3_K does the same with -4).
 * IQ4_XS: as words, scale * w, for many tokens; for few w + 128 in two codes of 4 bits (see
 * matmul_legacy_avx2.c). */
#include "kernel/table_matrix.h"
#include "kernel/x86/k_scales.h"
#include "kernel/x86/matmul_avx2.h"

enum { CHUNK_NARROW = 2, CHUNK_WIDE = WORDS / 256 };

/* Scales of a super-block, ready to multiply: a pair (s, s) for each row. Minimums are pairs (m of sub-block
 * 2 p, m of 2 p + 1), [4], which meet the pairs of sums of activations; IQ4_XS keeps its scales a second time
 * as if they were minimums: they meet the zero point. The minimums of Q2_K are pairs (m, m), [16]. */
typedef struct k_scales {
    int16_t scale[16][16][2]; /* of 16 columns or, [8], of 32 */
    int16_t min[16][16][2];
    float d[16], dmin[16];
} k_scales;

typedef struct narrow_block {
    uint8_t codes[8][8][64];
    k_scales s;
} narrow_block;

/* scale * w as words, by steps: at most 32 * 127, and 133 million for the sum. */
typedef struct wide_block {
    int16_t words[8][16][STEP];
    float d[16];
} wide_block;

QN_INLINE const qn_act_q8_256 *act_block(const uint8_t *row, size_t b)
{
    return (const qn_act_q8_256 *)(const void *)(row + b * sizeof(qn_act_q8_256));
}

/* ---- scales ---- */

/* 16 words, one a row, to pairs of the same. */
QN_INLINE void put_twice(int16_t out[16][2], __m256i words)
{
    const __m256i low = _mm256_unpacklo_epi16(words, words), high = _mm256_unpackhi_epi16(words, words);
    store_line((uint8_t *)out, _mm256_permute2x128_si256(low, high, 0x20));
    store_line((uint8_t *)out + 32, _mm256_permute2x128_si256(low, high, 0x31));
}

QN_INLINE void expand_d(float out[16], const uint16_t in[16])
{
    _mm256_storeu_ps(out, load_f16(in));
    _mm256_storeu_ps(out + 8, load_f16(in + 8));
}

/* Q4_K, Q5_K */
QN_INLINE void expand_k_scales(k_scales *s, const uint8_t scales[12][16])
{
    QN_EACH (j, 8) put_twice(s->scale[j], _mm256_cvtepu8_epi16(q4_k_scale(scales, j)));
    QN_EACH (p, 4) put_pairs(s->min[p], q4_k_min(scales, 2 * p), q4_k_min(scales, 2 * p + 1));
}

QN_INLINE void expand_iq4_xs_scales(k_scales *s, const qn_panel_iq4_xs *p)
{
    __m128i v[8];
    QN_EACH (j, 8) {
        v[j] = iq4_xs_scale(p, j);
        put_twice(s->scale[j], _mm256_cvtepi8_epi16(v[j]));
    }
    QN_EACH (i, 4) put_pairs(s->min[i], v[2 * i], v[2 * i + 1]);
}

QN_INLINE void expand_q2_k_scales(k_scales *s, const qn_panel_q2_k *p)
{
    for (int j = 0; j < 16; j++) {
        const __m256i both = _mm256_cvtepu8_epi16(load_16(p->scales[j]));
        put_twice(s->scale[j], _mm256_and_si256(both, _mm256_set1_epi16(15)));
        put_twice(s->min[j], _mm256_srli_epi16(both, 4));
    }
}

QN_INLINE void expand_scales(k_scales *s, const uint8_t *block, qn_tensor_type type)
{
    if (type == QN_TYPE_Q2_K) {
        const qn_panel_q2_k *p = (const void *)block;
        expand_q2_k_scales(s, p);
        expand_d(s->d, p->d);
        expand_d(s->dmin, p->dmin);
    } else if (type == QN_TYPE_Q3_K) {
        const qn_panel_q3_k *p = (const void *)block;
        QN_EACH (j, 16) put_twice(s->scale[j], _mm256_cvtepi8_epi16(q3_k_scale(p, j)));
        expand_d(s->d, p->d);
    } else if (type == QN_TYPE_Q4_K) {
        const qn_panel_q4_k *p = (const void *)block;
        expand_k_scales(s, p->scales);
        expand_d(s->d, p->d);
        expand_d(s->dmin, p->dmin);
    } else if (type == QN_TYPE_Q5_K) {
        const qn_panel_q5_k *p = (const void *)block;
        expand_k_scales(s, p->scales);
        expand_d(s->d, p->d);
        expand_d(s->dmin, p->dmin);
    } else if (type == QN_TYPE_Q6_K) {
        const qn_panel_q6_k *p = (const void *)block;
        for (int j = 0; j < 16; j++) put_twice(s->scale[j], _mm256_cvtepi8_epi16(load_16(p->scales[j])));
        expand_d(s->d, p->d);
    } else {
        const qn_panel_iq4_xs *p = (const void *)block;
        expand_iq4_xs_scales(s, p);
        expand_d(s->d, p->d);
    }
}

/* ---- products ---- */

/* Integer sums of a super-block: with few tokens the compiler keeps them in registers. */
typedef struct k_sums {
    __m256i is[GROUP][2];
} k_sums;

QN_INLINE __m256i scale_pairs(const k_scales *s, int j, int h)
{
    return load_line((const uint8_t *)s->scale[j] + 32 * h);
}

QN_INLINE __m256i codes(const uint8_t *p, qn_tensor_type type, int g, int h)
{
    return code_bits(type) < 4 ? few_codes(p, code_bits(type), g, h) : narrow_codes(p, code_bits(type), g, h);
}

/* Where 16-bit sums of 16 columns begin: -32, or -4, times the sums of activations. */
QN_INLINE __m256i sum_start(qn_tensor_type type, const qn_act_q8_256 *a, int j)
{
    const __m256i start = broadcast_4(a->start[j]);
    return type == QN_TYPE_Q3_K ? _mm256_srai_epi16(start, 3) : start;
}

/* Adds sub-block j for T tokens. p: its lines, packed or expanded. Two parts where the sums of 32 columns
 * would not fit, or have two scales. */
QN_INLINE void narrow_product(k_sums *sums, qn_tensor_type type, int T, const uint8_t *p, bool expanded,
                              const k_scales *s, int j, const qn_act_q8_256 *const a[])
{
    const int parts = code_bits(type) == 4 ? 1 : 2, steps = 8 / parts;
    QN_EACH (part, parts) {
        __m256i sum[GROUP][2];
        if (has_start(type))
            QN_EACH (t, T) sum[t][0] = sum[t][1] = sum_start(type, a[t], 2 * j + part);
        QN_EACH (i, steps) {
            const int g = parts == 2 ? 4 * part + i : expanded ? i : i / 2 + 4 * (i % 2);
            const __m256i w0 = expanded ? load_line(p + 64 * g) : codes(p, type, g, 0);
            const __m256i w1 = expanded ? load_line(p + 64 * g + 32) : codes(p, type, g, 1);
            QN_EACH (t, T) {
                const __m256i x = broadcast_4(a[t]->q + 32 * j + 4 * g);
                const __m256i p0 = _mm256_maddubs_epi16(w0, x), p1 = _mm256_maddubs_epi16(w1, x);
                sum[t][0] = i == 0 && !has_start(type) ? p0 : _mm256_add_epi16(sum[t][0], p0);
                sum[t][1] = i == 0 && !has_start(type) ? p1 : _mm256_add_epi16(sum[t][1], p1);
                PIN(sum[t][0]);
                PIN(sum[t][1]);
            }
        }
        QN_EACH (h, 2) {
            const __m256i scale = scale_pairs(s, is_fine(type) ? 2 * j + part : j, h);
            QN_EACH (t, T)
                sums->is[t][h] = _mm256_add_epi32(sums->is[t][h], _mm256_madd_epi16(sum[t][h], scale));
        }
    }
}

/* The same for packed IQ4_XS; T is at most 2. */
QN_INLINE void table_product(k_sums *sums, int T, const uint8_t *p, const k_scales *s, int j,
                             const qn_act_q8_256 *const a[])
{
    __m256i low[2][2], high[2][2];
    QN_EACH (t, T) low[t][0] = low[t][1] = high[t][0] = high[t][1] = _mm256_setzero_si256();
    QN_EACH (i, 8) {
        const int g = i / 2 + 4 * (i % 2);
        QN_EACH (h, 2) {
            const __m256i w0 = table_codes(p, iq4_part(0), g, h), w1 = table_codes(p, iq4_part(1), g, h);
            QN_EACH (t, T) {
                const __m256i x = broadcast_4(a[t]->q + 32 * j + 4 * g);
                low[t][h] = _mm256_add_epi16(low[t][h], _mm256_maddubs_epi16(w0, x));
                high[t][h] = _mm256_add_epi16(high[t][h], _mm256_maddubs_epi16(w1, x));
                PIN(low[t][h]);
                PIN(high[t][h]);
            }
        }
    }
    QN_EACH (h, 2) {
        const __m256i scale = scale_pairs(s, j, h), scale_16 = _mm256_slli_epi16(scale, 4);
        QN_EACH (t, T)
            sums->is[t][h] =
                _mm256_add_epi32(sums->is[t][h], _mm256_add_epi32(_mm256_madd_epi16(low[t][h], scale),
                                                                  _mm256_madd_epi16(high[t][h], scale_16)));
    }
}

/* Sum over sub-blocks of minimum * (sum of activations). */
QN_INLINE __m256i min_sum(qn_tensor_type type, const k_scales *s, int h, const qn_act_q8_256 *a)
{
    const bool is_q2 = type == QN_TYPE_Q2_K;
    const int n_pairs = is_q2 ? 16 : 4;
    __m256i ms = _mm256_setzero_si256();
    QN_EACH (p, n_pairs) {
        const __m256i pair = load_line((const uint8_t *)s->min[p] + 32 * h);
        const __m256i sums = is_q2 ? broadcast_4(a->start[p]) : broadcast_4(a->sum32 + 2 * p);
        ms = _mm256_add_epi32(ms, _mm256_madd_epi16(pair, sums));
    }
    /* start is -32 times the sums */
    return is_q2 ? _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_srai_epi32(ms, 5)) : ms;
}

/* acc = fma(d * is - dmin * ms, a.scale, acc) for one half of the rows. */
QN_INLINE __m256 add_block(__m256 acc, qn_tensor_type type, __m256i is, const k_scales *s, int h,
                           const qn_act_q8_256 *a)
{
    __m256i ms = _mm256_setzero_si256();
    if (has_min(type) || type == QN_TYPE_IQ4_XS) ms = min_sum(type, s, h, a);
    if (type == QN_TYPE_IQ4_XS) is = _mm256_sub_epi32(is, _mm256_slli_epi32(ms, 7));
    __m256 v = _mm256_mul_ps(_mm256_loadu_ps(s->d + 8 * h), _mm256_cvtepi32_ps(is));
    if (has_min(type)) v = _mm256_fnmadd_ps(_mm256_loadu_ps(s->dmin + 8 * h), _mm256_cvtepi32_ps(ms), v);
    return _mm256_fmadd_ps(v, _mm256_set1_ps(a->scale), acc);
}

/* Sub-block j of a super-block for T tokens. */
QN_INLINE void multiply_sub_block(k_sums *sums, qn_tensor_type type, int T, const uint8_t *codes,
                                  bool expanded, const k_scales *s, int j, const qn_act_q8_256 *const a[])
{
    if (type == QN_TYPE_IQ4_XS) table_product(sums, T, codes, s, j, a);
    else narrow_product(sums, type, T, codes, expanded, s, j, a);
}

/* The integer sums of a super-block to the accumulators, which are in memory. */
QN_INLINE void accumulate(float *acc, qn_tensor_type type, int T, const k_sums *sums, const k_scales *s,
                          const qn_act_q8_256 *const a[])
{
    QN_EACH (t, T) {
        QN_EACH (h, 2) {
            float *at = acc + 16 * t + 8 * h;
            _mm256_storeu_ps(at, add_block(_mm256_loadu_ps(at), type, sums->is[t][h], s, h, a[t]));
        }
    }
    IN_MEMORY;
}

/* The panels take turns at every sub-block, and fetch a part of their next block, scales included: those are
 * wanted at its begin. */
QN_INLINE void k_direct(qn_tensor_type type, int T, const uint8_t *const panel[], size_t n_panels,
                        size_t n_blocks, const uint8_t *const act[], float *acc)
{
    const size_t part = panel_block_bytes(type) / 8;
    for (size_t b = 0; b < n_blocks; b++) {
        k_scales scales[STREAMS];
        k_sums sums[STREAMS];
        const qn_act_q8_256 *a[GROUP];
        QN_EACH (t, T) a[t] = act_block(act[t], b);
        for (size_t s = 0; s < n_panels; s++) {
            expand_scales(&scales[s], panel[s] + b * panel_block_bytes(type), type);
            QN_EACH (t, T) sums[s].is[t][0] = sums[s].is[t][1] = _mm256_setzero_si256();
        }
        for (int j = 0; j < 8; j++) {
            for (size_t s = 0; s < n_panels; s++) {
                const uint8_t *p = panel[s] + b * panel_block_bytes(type) + (size_t)j * sub_block_bytes(type);
                prefetch(panel[s] + (b + 1) * panel_block_bytes(type) + (size_t)j * part, part);
                multiply_sub_block(&sums[s], type, T, p, false, &scales[s], j, a);
                IN_MEMORY;
            }
        }
        for (size_t s = 0; s < n_panels; s++)
            accumulate(acc + s * GROUP * 16, type, T, &sums[s], &scales[s], a);
    }
}

QN_INLINE void k_expand(qn_tensor_type type, narrow_block *e, const uint8_t *p, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, e++, p += panel_block_bytes(type)) {
        for (size_t j = 0; j < 8; j++) {
            QN_EACH (g, 8)
                for (int h = 0; h < 2; h++)
                    store_line(e->codes[j][g] + 32 * h, codes(p + j * sub_block_bytes(type), type, g, h));
        }
        expand_scales(&e->s, p, type);
    }
}

QN_INLINE void k_chunk(qn_tensor_type type, int T, const narrow_block *e, size_t n_blocks,
                       const uint8_t *const act[], size_t act_offset, float *acc)
{
    for (size_t b = 0; b < n_blocks; b++, e++) {
        const qn_act_q8_256 *a[GROUP];
        QN_EACH (t, T) a[t] = act_block(act[t] + act_offset, b);
        k_sums sums;
        QN_EACH (t, T) sums.is[t][0] = sums.is[t][1] = _mm256_setzero_si256();
        for (int j = 0; j < 8; j++) {
            if (T > 2) __asm__ volatile("" : : "r"(&sums) : "memory"); /* no registers are left for them */
            multiply_sub_block(&sums, type, T, e->codes[j][0], true, &e->s, j, a);
        }
        accumulate(acc, type, T, &sums, &e->s, a);
    }
}

/* Expanded blocks of IQ4_XS. */
QN_INLINE void wide_expand(qn_tensor_type type, wide_block *e, const uint8_t *p, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, e++, p += panel_block_bytes(type)) {
        k_scales s;
        expand_scales(&s, p, type);
        memcpy(e->d, s.d, sizeof e->d);
        for (int j = 0; j < 8; j++) {
            for (int i = 0; i < 32; i++) {
                const int g = i / 4, h = i / 2 % 2, part = i % 2;
                const __m256i w = word_pairs(table_codes(p + 256 * j, iq4_values(), g, h), part);
                store_line((uint8_t *)(e->words[j][2 * g + part] + 16 * h),
                           _mm256_mullo_epi16(w, scale_pairs(&s, j, h)));
            }
        }
    }
}

QN_INLINE void wide_chunk(qn_tensor_type type, int T, const wide_block *e, size_t n_blocks,
                          const uint8_t *const act[], size_t act_offset, float *acc)
{
    (void)type;
    for (size_t b = 0; b < n_blocks; b++, e++) {
        _Alignas(32) int16_t x[GROUP][WORDS];
        const qn_act_q8_256 *a[GROUP];
        __m256i is[GROUP][2];
        for (int t = 0; t < T; t++) {
            a[t] = act_block(act[t] + act_offset, b);
            for (int k = 0; k < WORDS; k += 32) widen_32(x[t] + k, a[t]->q + k);
        }
        QN_EACH (t, T) is[t][0] = is[t][1] = _mm256_setzero_si256();
        for (size_t j = 0; j < 8; j++) words_product(is, T, e->words[j][0], x, 32 * j);
        QN_EACH (t, T) {
            QN_EACH (h, 2) {
                float *at = acc + 16 * t + 8 * h;
                const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(e->d + 8 * h), _mm256_cvtepi32_ps(is[t][h]));
                _mm256_storeu_ps(at, _mm256_fmadd_ps(v, _mm256_set1_ps(a[t]->scale), _mm256_loadu_ps(at)));
            }
        }
        IN_MEMORY;
    }
}

/* ---- one set of functions per type ---- */

QN_DEFINE_GROUP_4(k, k, q2_k, Q2_K, 8, narrow_block, CHUNK_NARROW, Q8_256)
QN_DEFINE_GROUP_4(k, k, q3_k, Q3_K, 4, narrow_block, CHUNK_NARROW, Q8_256)
QN_DEFINE_GROUP_4(k, k, q4_k, Q4_K, 8, narrow_block, CHUNK_NARROW, Q8_256)
QN_DEFINE_GROUP_4(k, k, q5_k, Q5_K, 4, narrow_block, CHUNK_NARROW, Q8_256)
QN_DEFINE_GROUP_4(k, k, q6_k, Q6_K, 4, narrow_block, CHUNK_NARROW, Q8_256)

QN_TOKENS_2(QN_DEFINE_DIRECT, k, iq4_xs, IQ4_XS)
QN_TOKENS_4(QN_DEFINE_CHUNK, wide, iq4_xs, IQ4_XS)
QN_DEFINE_EXPAND(wide, iq4_xs, IQ4_XS)
QN_DEFINE_MATMUL(iq4_xs, 2, 8, iq4_xs, 4, wide_block, CHUNK_WIDE, Q8_256)
