/* matmul_legacy_avx2.c: AVX2 products of the types with one scale per 32 columns; the order of arithmetic
 * is that of ref/matmul_legacy.c.
 *
 * Codes of 4 bits: 16 sums of two products, at most 15 * 127 each, stay within 16 bits. Codes of 5 bits do
 * so when the accumulators begin at -16 * (sum of the activations): adding wraps around, the end fits.
 * MXFP4 looks up w + 16, which is then taken off in the same way.
 * Signed bytes become words for many tokens. For few, Q8_0 is |w| * (a with the sign of w), widened at
 * once; IQ4_NL looks up w + 128 = 16 * high + low, two codes of 4 bits with an accumulator each. Zero points
 * that are left (8 of Q4_0, 128 of IQ4_NL) are taken off in float32, where all these integers are exact. */
#include "kernel/table_matrix.h"
#include "kernel/x86/matmul_avx2.h"

enum { CHUNK_NARROW = 16, CHUNK_WIDE = WORDS / 32 };

/* An expanded block: unsigned codes by lines, numbers for scales. */
typedef struct narrow_block {
    uint8_t codes[8][64];
    float d[16], m[16];
} narrow_block;

/* Signed codes as words, by steps. */
typedef struct wide_block {
    int16_t words[16][STEP];
    float d[16];
} wide_block;

/* What the sum of unsigned codes lacks, per unit of the sum of activations. */
QN_INLINE float zero_point(qn_tensor_type type)
{
    return type == QN_TYPE_Q4_0     ? -8.0f
           : type == QN_TYPE_Q5_1   ? 16.0f
           : type == QN_TYPE_IQ4_NL ? -128.0f
                                    : 0.0f;
}

/* qn_e8m0_half of 8 exponents: 2^(e - 128), which is subnormal for 0 and 1. */
QN_INLINE __m256 load_e8m0(const uint8_t *p)
{
    const __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x200000), e);
    return _mm256_castsi256_ps(
        _mm256_blendv_epi8(normal, subnormal, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
}

/* Scales and minimums of 8 rows. */
QN_INLINE __m256 load_d(const uint8_t *p, qn_tensor_type type, int h)
{
    const uint8_t *scales = panel_scales(p, type);
    if (type == QN_TYPE_MXFP4) return load_e8m0(scales + 8 * h);
    return load_f16((const uint16_t *)(const void *)scales + 8 * h);
}
QN_INLINE __m256 load_m(const uint8_t *p, qn_tensor_type type, int h)
{
    return load_f16((const uint16_t *)(const void *)panel_scales(p, type) + 16 + 8 * h);
}

/* Unsigned codes of at most 5 bits. */
QN_INLINE __m256i codes(const uint8_t *p, qn_tensor_type type, int g, int h)
{
    if (type != QN_TYPE_MXFP4) return narrow_codes(p, code_bits(type), g, h);
    const __m128i values = _mm_loadu_si128((const __m128i *)(const void *)qn_fp4_values);
    return table_codes(p, _mm256_broadcastsi128_si256(_mm_add_epi8(values, _mm_set1_epi8(16))), g, h);
}

/* acc = fma(d * a.scale, sum, acc), where the sum still lacks zero * (sum of a). */
QN_INLINE __m256 add_block(__m256 acc, __m256i sum, float zero, __m256 d, const qn_act_q8_32 *a)
{
    __m256 s = _mm256_cvtepi32_ps(sum);
    if (zero != 0.0f) s = _mm256_fmadd_ps(_mm256_set1_ps(a->sum), _mm256_set1_ps(zero), s);
    return _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(a->scale)), s, acc);
}
QN_INLINE __m256 add_min(__m256 acc, __m256 m, const qn_act_q8_32 *a)
{
    return _mm256_fmadd_ps(m, _mm256_set1_ps(a->scaled_sum), acc);
}

/* Adds a block's sums to eight accumulators in memory. */
QN_INLINE void accumulate(float *at, qn_tensor_type type, __m256i sum, float zero, __m256 d, __m256 m,
                          const qn_act_q8_32 *a)
{
    __m256 v = add_block(_mm256_loadu_ps(at), sum, zero, d, a);
    if (has_min(type)) v = add_min(v, m, a);
    _mm256_storeu_ps(at, v);
}

QN_INLINE const qn_act_q8_32 *act_block(const uint8_t *row, size_t b)
{
    return (const qn_act_q8_32 *)(const void *)(row + b * sizeof(qn_act_q8_32));
}

/* One narrow block for T tokens. codes: from the panel, or the lines of an expanded block. */
QN_INLINE void narrow_product(__m256i sum[GROUP][2], qn_tensor_type type, int T, const uint8_t *p,
                              bool expanded, const uint8_t *const act[], size_t b)
{
    QN_EACH (t, T)
        sum[t][0] = sum[t][1] =
            has_start(type) ? broadcast_4(act_block(act[t], b)->start) : _mm256_setzero_si256();
    QN_EACH (i, 8) {
        const int g = expanded ? i : i / 2 + 4 * (i % 2); /* both nibbles of a line together */
        const __m256i w0 = expanded ? load_line(p + 64 * g) : codes(p, type, g, 0);
        const __m256i w1 = expanded ? load_line(p + 64 * g + 32) : codes(p, type, g, 1);
        QN_EACH (t, T) {
            const __m256i a = broadcast_4(act_block(act[t], b)->q + 4 * g);
            const __m256i p0 = _mm256_maddubs_epi16(w0, a), p1 = _mm256_maddubs_epi16(w1, a);
            sum[t][0] = i == 0 && !has_start(type) ? p0 : _mm256_add_epi16(sum[t][0], p0);
            sum[t][1] = i == 0 && !has_start(type) ? p1 : _mm256_add_epi16(sum[t][1], p1);
            PIN(sum[t][0]);
            PIN(sum[t][1]);
        }
    }
    QN_EACH (t, T)
        for (int h = 0; h < 2; h++) sum[t][h] = _mm256_madd_epi16(sum[t][h], _mm256_set1_epi16(1));
}

QN_INLINE void narrow_expand(qn_tensor_type type, narrow_block *e, const uint8_t *p, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, e++, p += panel_block_bytes(type)) {
        QN_EACH (h, 2) {
            QN_EACH (g, 8) store_line(e->codes[g] + 32 * h, codes(p, type, g, h));
            _mm256_storeu_ps(e->d + 8 * h, load_d(p, type, h));
            if (has_min(type)) _mm256_storeu_ps(e->m + 8 * h, load_m(p, type, h));
        }
    }
}

/* The accumulators stay in memory: there are no registers left for them. */
QN_INLINE void narrow_chunk(qn_tensor_type type, int T, const narrow_block *e, size_t n_blocks,
                            const uint8_t *const act[], size_t act_offset, float *acc)
{
    const uint8_t *a[GROUP];
    QN_EACH (t, T) a[t] = act[t] + act_offset;
    for (size_t b = 0; b < n_blocks; b++, e++) {
        __m256i sum[GROUP][2];
        narrow_product(sum, type, T, e->codes[0], true, a, b);
        QN_EACH (t, T) {
            QN_EACH (h, 2) {
                const __m256 d = _mm256_loadu_ps(e->d + 8 * h);
                accumulate(acc + 16 * t + 8 * h, type, sum[t][h], zero_point(type), d,
                           has_min(type) ? _mm256_loadu_ps(e->m + 8 * h) : d, act_block(a[t], b));
            }
        }
        IN_MEMORY;
    }
}

/* ---- bytes: Q8_0, IQ4_NL ---- */

/* One packed block of IQ4_NL for T tokens, at most 2. */
QN_INLINE void table_product(__m256i sum[GROUP][2], int T, const uint8_t *p, const uint8_t *const act[],
                             size_t b)
{
    __m256i low[2][2], high[2][2];
    QN_EACH (t, T) low[t][0] = low[t][1] = high[t][0] = high[t][1] = _mm256_setzero_si256();
    QN_EACH (i, 8) {
        const int g = i / 2 + 4 * (i % 2); /* both nibbles of a line together */
        QN_EACH (h, 2) {
            const __m256i w0 = table_codes(p, iq4_part(0), g, h), w1 = table_codes(p, iq4_part(1), g, h);
            QN_EACH (t, T) {
                const __m256i a = broadcast_4(act_block(act[t], b)->q + 4 * g);
                low[t][h] = _mm256_add_epi16(low[t][h], _mm256_maddubs_epi16(w0, a));
                high[t][h] = _mm256_add_epi16(high[t][h], _mm256_maddubs_epi16(w1, a));
                PIN(low[t][h]);
                PIN(high[t][h]);
            }
        }
    }
    QN_EACH (t, T)
        for (int h = 0; h < 2; h++)
            sum[t][h] = _mm256_add_epi32(_mm256_madd_epi16(low[t][h], _mm256_set1_epi16(1)),
                                         _mm256_madd_epi16(high[t][h], _mm256_set1_epi16(16)));
}

/* One packed block of Q8_0. */
QN_INLINE void signed_product(__m256i sum[GROUP][2], int T, const uint8_t *p, const uint8_t *const act[],
                              size_t b)
{
    QN_EACH (t, T) sum[t][0] = sum[t][1] = _mm256_setzero_si256();
    QN_EACH (g, 8) {
        const __m256i w0 = load_line(p + 64 * g), w1 = load_line(p + 64 * g + 32);
        const __m256i abs0 = _mm256_abs_epi8(w0), abs1 = _mm256_abs_epi8(w1), ones = _mm256_set1_epi16(1);
        QN_EACH (t, T) {
            const __m256i a = broadcast_4(act_block(act[t], b)->q + 4 * g);
            const __m256i p0 = _mm256_maddubs_epi16(abs0, _mm256_sign_epi8(a, w0));
            const __m256i p1 = _mm256_maddubs_epi16(abs1, _mm256_sign_epi8(a, w1));
            sum[t][0] = _mm256_add_epi32(sum[t][0], _mm256_madd_epi16(p0, ones));
            sum[t][1] = _mm256_add_epi32(sum[t][1], _mm256_madd_epi16(p1, ones));
            PIN(sum[t][0]);
            PIN(sum[t][1]);
        }
    }
}

/* Packed blocks of any type: the panels take turns. */
QN_INLINE void legacy_direct(qn_tensor_type type, int T, const uint8_t *const panel[], size_t n_panels,
                             size_t n_blocks, const uint8_t *const act[], float *acc)
{
    for (size_t b = 0; b < n_blocks; b++) {
        for (size_t s = 0; s < n_panels; s++) {
            const uint8_t *p = panel[s] + b * panel_block_bytes(type);
            __m256i sum[GROUP][2];
            prefetch(p + PREFETCH, panel_block_bytes(type));
            if (type == QN_TYPE_Q8_0) signed_product(sum, T, p, act, b);
            else if (type == QN_TYPE_IQ4_NL) table_product(sum, T, p, act, b);
            else narrow_product(sum, type, T, p, false, act, b);
            QN_EACH (h, 2) {
                const __m256 d = load_d(p, type, h), m = has_min(type) ? load_m(p, type, h) : d;
                QN_EACH (t, T)
                    accumulate(acc + (s * GROUP + (size_t)t) * 16 + 8 * h, type, sum[t][h], zero_point(type),
                               d, m, act_block(act[t], b));
            }
        }
    }
}

QN_INLINE void wide_expand(qn_tensor_type type, wide_block *e, const uint8_t *p, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, e++, p += panel_block_bytes(type)) {
        QN_EACH (h, 2) {
            QN_EACH (g, 8) {
                const __m256i w = type == QN_TYPE_Q8_0 ? load_line(p + 64 * g + 32 * h)
                                                       : table_codes(p, iq4_values(), g, h);
                store_line((uint8_t *)(e->words[2 * g] + 16 * h), word_pairs(w, 0));
                store_line((uint8_t *)(e->words[2 * g + 1] + 16 * h), word_pairs(w, 1));
            }
            _mm256_storeu_ps(e->d + 8 * h, load_d(p, type, h));
        }
    }
}

QN_INLINE void wide_chunk(qn_tensor_type type, int T, const wide_block *e, size_t n_blocks,
                          const uint8_t *const act[], size_t act_offset, float *acc)
{
    _Alignas(32) int16_t x[GROUP][WORDS];
    const uint8_t *a[GROUP];
    (void)type;
    for (int t = 0; t < T; t++) {
        a[t] = act[t] + act_offset;
        for (size_t b = 0; b < n_blocks; b++) widen_32(x[t] + 32 * b, act_block(a[t], b)->q);
    }
    for (size_t b = 0; b < n_blocks; b++, e++) {
        __m256i sum[GROUP][2];
        QN_EACH (t, T) sum[t][0] = sum[t][1] = _mm256_setzero_si256();
        words_product(sum, T, e->words[0], x, 32 * b);
        QN_EACH (t, T) {
            QN_EACH (h, 2) {
                const __m256 d = _mm256_loadu_ps(e->d + 8 * h);
                accumulate(acc + 16 * t + 8 * h, QN_TYPE_Q8_0, sum[t][h], 0.0f, d, d, act_block(a[t], b));
            }
        }
        IN_MEMORY;
    }
}

/* ---- one set of functions per type ---- */

QN_DEFINE_GROUP_4(legacy, narrow, q4_0, Q4_0, 8, narrow_block, CHUNK_NARROW, Q8_32)
QN_DEFINE_GROUP_4(legacy, narrow, q4_1, Q4_1, 8, narrow_block, CHUNK_NARROW, Q8_32)
QN_DEFINE_GROUP_4(legacy, narrow, q5_0, Q5_0, 4, narrow_block, CHUNK_NARROW, Q8_32)
QN_DEFINE_GROUP_4(legacy, narrow, q5_1, Q5_1, 4, narrow_block, CHUNK_NARROW, Q8_32)
QN_DEFINE_GROUP_4(legacy, narrow, mxfp4, MXFP4, 4, narrow_block, CHUNK_NARROW, Q8_32)

/* Expanded blocks of words are the same for both types. */
QN_TOKENS_4(QN_DEFINE_CHUNK, wide, wide, Q8_0)

QN_TOKENS_4(QN_DEFINE_DIRECT, legacy, q8_0, Q8_0)
QN_DEFINE_EXPAND(wide, q8_0, Q8_0)
QN_DEFINE_MATMUL(q8_0, 4, 8, wide, 4, wide_block, CHUNK_WIDE, Q8_32)

QN_TOKENS_2(QN_DEFINE_DIRECT, legacy, iq4_nl, IQ4_NL)
QN_DEFINE_EXPAND(wide, iq4_nl, IQ4_NL)
QN_DEFINE_MATMUL(iq4_nl, 2, 8, wide, 4, wide_block, CHUNK_WIDE, Q8_32)
