/* matmul_k_amx.c: AMX products of the types with super-blocks of 256 columns; the order of arithmetic is
 * that of ref/matmul_k.c.
 *
 * A tile multiplication adds up 64 columns, but scales change every 16 or 32. So codes are multiplied by
 * their scales first, and the products kept as two planes of bytes. Four tile multiplications with each then
 * give the sums of 256 columns, exact as any other way. Codes of 3 to 5 bits meet the low three bits of
 * their scale and the others apart: 31 * 7 is a byte. Codes of 2 bits times their scales are bytes, one
 * plane. The products of Q6_K and IQ4_XS, 13 bits and a sign, are 256 * high + low. The minimums meet the
 * sums of activations in pairs of 16 bits, as with AVX-512. */
#include "kernel/table_matrix.h"
#include "kernel/x86/codes_avx512.h"
#include "kernel/x86/k_scales.h"
#include "kernel/x86/matmul_amx.h"

enum { STEPS = 4 }; /* of 64 columns */
/* Tiles: the sums of two panels, the activations, the weights. */
#define LOW_0     0
#define HIGH_0    1
#define LOW_1     2
#define HIGH_1    3
#define TOKENS    4
#define WEIGHTS_A 5
#define WEIGHTS_B 6

typedef struct k_chunk {
    _Alignas(64) uint8_t low[STEPS][16][64]; /* the planes */
    uint8_t high[STEPS][16][64];
    int16_t min[16][16][2]; /* pairs of sub-blocks; Q2_K: each twice */
    _Alignas(64) float d[16], dmin[16];
} k_chunk;

/* ---- planes ---- */

/* A code times a part of its scale is a byte. */
QN_INLINE bool has_byte_products(qn_tensor_type type)
{
    return code_bits(type) <= 5 && type != QN_TYPE_IQ4_XS;
}
/* A code of 2 bits times a scale of 4 is a byte. */
QN_INLINE bool has_high(qn_tensor_type type)
{
    return type != QN_TYPE_Q2_K;
}
QN_INLINE bool has_signed_high(qn_tensor_type type)
{
    return !has_min(type);
}
/* The products are (high << this) + low. */
QN_INLINE unsigned high_shift(qn_tensor_type type)
{
    return has_byte_products(type) ? 3 : 8;
}

/* Of 16 columns, or 32: signed bytes, or unsigned ones below 128. */
QN_INLINE __m128i k_scale(qn_tensor_type type, const uint8_t *block, int j)
{
    if (type == QN_TYPE_Q2_K)
        return _mm_and_si128(load_16(((const qn_panel_q2_k *)(const void *)block)->scales[j]),
                             _mm_set1_epi8(15));
    if (type == QN_TYPE_Q3_K) return q3_k_scale((const void *)block, j);
    if (type == QN_TYPE_Q4_K) return q4_k_scale(((const qn_panel_q4_k *)(const void *)block)->scales, j);
    if (type == QN_TYPE_Q5_K) return q4_k_scale(((const qn_panel_q5_k *)(const void *)block)->scales, j);
    if (type == QN_TYPE_Q6_K) return load_16(((const qn_panel_q6_k *)(const void *)block)->scales[j]);
    return iq4_xs_scale((const void *)block, j);
}

/* What a line of codes meets; the four bytes of each row belong to its scale. Cut scales: `low` and `high`
 * have in each word of 16 bits the low three bits and the others, and the zeros are what Q3_K takes off the
 * products. Whole scales: `low` has them in the even bytes, `high` in the odd ones, and low_zero, a word,
 * takes the zero point off. */
typedef struct line_scale {
    __m512i low, high, low_zero, high_zero;
} line_scale;

/* A scale of Q3_K is 8 * (u / 8 - 4) + u % 8, where u is by 32 greater, and a code is by 4 less than it is
 * stored. */
QN_INLINE line_scale cut_scale(qn_tensor_type type, __m128i bytes)
{
    const bool is_q3 = type == QN_TYPE_Q3_K;
    if (is_q3) bytes = _mm_add_epi8(bytes, _mm_set1_epi8(32));
    const __m512i v = _mm512_cvtepu8_epi32(bytes),
                  twice = _mm512_or_si512(v, _mm512_slli_epi32(v, COUNT(16)));
    if (!has_high(type)) return (line_scale){.low = twice};
    const __m512i low = _mm512_and_si512(twice, _mm512_set1_epi16(7)),
                  high = _mm512_srli_epi16(twice, COUNT(3));
    if (!is_q3) return (line_scale){.low = low, .high = high};
    const __m512i four = _mm512_set1_epi16(0x0404);
    return (line_scale){low, high, _mm512_mullo_epi16(low, four),
                        _mm512_sub_epi8(_mm512_mullo_epi16(high, four), _mm512_set1_epi8(16))};
}

QN_INLINE line_scale whole_scale(qn_tensor_type type, __m128i bytes)
{
    const __m512i v = _mm512_cvtepu8_epi32(bytes), even = _mm512_or_si512(v, _mm512_slli_epi32(v, COUNT(16))),
                  odd = _mm512_slli_epi16(even, COUNT(8)),
                  zero = type == QN_TYPE_Q6_K ? _mm512_srai_epi16(odd, COUNT(3)) /* 32 * scale */
                                              : _mm512_srai_epi16(odd, COUNT(1));
    return (line_scale){.low = even, .high = odd, .low_zero = zero};
}

/* A line of either plane. */
QN_INLINE void cut_planes(qn_tensor_type type, uint8_t low[64], uint8_t high[64], __m512i codes,
                          const line_scale *scale)
{
    __m512i first = _mm512_mullo_epi16(codes, scale->low), second = first;
    if (has_high(type)) second = _mm512_mullo_epi16(codes, scale->high);
    if (type == QN_TYPE_Q3_K) {
        first = _mm512_sub_epi8(first, scale->low_zero);
        second =
            _mm512_sub_epi8(second, _mm512_add_epi8(_mm512_slli_epi16(codes, COUNT(2)), scale->high_zero));
    }
    _mm512_store_si512((void *)low, first);
    if (has_high(type)) _mm512_store_si512((void *)high, second);
}

/* The bits of a where the mask has ones, else those of b. */
QN_INLINE __m512i pick_bits(__m512i mask, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi32(mask, a, b, 0xca);
}

/* Words of 16 bits hold the products of columns 0 and 2 of a line's four, and of columns 1 and 3; their low
 * and their high bytes, put side by side again, are the lines. */
QN_INLINE void whole_planes(uint8_t low[64], uint8_t high[64], __m512i codes, const line_scale *scale)
{
    const __m512i even_bytes = _mm512_set1_epi16(0xff);
    const __m512i product_02 = _mm512_sub_epi16(_mm512_maddubs_epi16(codes, scale->low), scale->low_zero),
                  product_13 = _mm512_sub_epi16(_mm512_maddubs_epi16(codes, scale->high), scale->low_zero);
    _mm512_store_si512((void *)low,
                       pick_bits(even_bytes, product_02, _mm512_slli_epi16(product_13, COUNT(8))));
    _mm512_store_si512((void *)high,
                       pick_bits(even_bytes, _mm512_srli_epi16(product_02, COUNT(8)), product_13));
}

/* Columns 64 step .. 64 step + 63 of a block. */
QN_INLINE void expand_step(qn_tensor_type type, k_chunk *chunk, const uint8_t *block, size_t ahead,
                           size_t step)
{
    const size_t part = panel_block_bytes(type) / 8;
    for (int half = 0; half < 2; half++) {
        const int j = 2 * (int)step + half;
        const uint8_t *p = block + (size_t)j * sub_block_bytes(type);
        line_scale scale[2];
        prefetch(block + ahead + (size_t)j * part, part);
        QN_EACH (i, 2) {
            const __m128i bytes = k_scale(type, block, is_fine(type) ? 2 * j + i : j);
            scale[i] = has_byte_products(type) ? cut_scale(type, bytes) : whole_scale(type, bytes);
        }
        QN_EACH (g, 8) {
            uint8_t *low = chunk->low[step][8 * half + g], *high = chunk->high[step][8 * half + g];
            const __m512i codes = k_codes(type, p, g);
            if (has_byte_products(type)) cut_planes(type, low, high, codes, &scale[g / 4]);
            else whole_planes(low, high, codes, &scale[g / 4]);
        }
    }
}

QN_INLINE void expand_both(qn_tensor_type type, int n_panels, k_chunk *chunk, const uint8_t *const *blocks,
                           size_t ahead, size_t step)
{
    expand_step(type, &chunk[0], blocks[0], ahead, step);
    if (n_panels == 2) expand_step(type, &chunk[1], blocks[1], ahead, step);
}

/* ---- what is scaled afterwards ---- */

QN_INLINE void expand_mins(qn_tensor_type type, k_chunk *chunk, const uint8_t *block)
{
    if (type == QN_TYPE_Q2_K) {
        for (int j = 0; j < 16; j++) {
            const __m128i both = load_16(((const qn_panel_q2_k *)(const void *)block)->scales[j]);
            const __m128i m = bits_03(both, true);
            put_pairs(chunk->min[j], m, m);
        }
        return;
    }
    const uint8_t(*scales)[16] = type == QN_TYPE_Q4_K ? ((const qn_panel_q4_k *)(const void *)block)->scales
                                                      : ((const qn_panel_q5_k *)(const void *)block)->scales;
    QN_EACH (p, 4) put_pairs(chunk->min[p], q4_k_min(scales, 2 * p), q4_k_min(scales, 2 * p + 1));
}

QN_INLINE const uint16_t *block_d(qn_tensor_type type, const uint8_t *block)
{
    return type == QN_TYPE_Q2_K   ? ((const qn_panel_q2_k *)(const void *)block)->d
           : type == QN_TYPE_Q3_K ? ((const qn_panel_q3_k *)(const void *)block)->d
           : type == QN_TYPE_Q4_K ? ((const qn_panel_q4_k *)(const void *)block)->d
           : type == QN_TYPE_Q5_K ? ((const qn_panel_q5_k *)(const void *)block)->d
           : type == QN_TYPE_Q6_K ? ((const qn_panel_q6_k *)(const void *)block)->d
                                  : ((const qn_panel_iq4_xs *)(const void *)block)->d;
}

QN_INLINE void expand_scales(qn_tensor_type type, k_chunk *chunk, const uint8_t *block)
{
    const uint16_t *d = block_d(type, block); /* and the minimums' behind it */
    _mm512_store_ps(chunk->d, load_f16(d));
    if (!has_min(type)) return;
    _mm512_store_ps(chunk->dmin, load_f16(d + 16));
    expand_mins(type, chunk, block);
}

/* ---- products ---- */

QN_INLINE void begin_sums(void)
{
    tile_zero(LOW_0);
    tile_zero(HIGH_0);
    tile_zero(LOW_1);
    tile_zero(HIGH_1);
}
/* Adds the products of 64 columns of one panel and the tokens that are loaded. */
#define ADD_PRODUCTS(type, LOW, HIGH, chunk, step)                                                           \
    do {                                                                                                     \
        tile_load(WEIGHTS_A, (chunk)->low[step], 64);                                                        \
        if ((type) == QN_TYPE_Q3_K) tile_multiply_ss(LOW, TOKENS, WEIGHTS_A);                                \
        else tile_multiply_su(LOW, TOKENS, WEIGHTS_A);                                                       \
        if (!has_high(type)) break;                                                                          \
        tile_load(WEIGHTS_B, (chunk)->high[step], 64);                                                       \
        if (has_signed_high(type)) tile_multiply_ss(HIGH, TOKENS, WEIGHTS_B);                                \
        else tile_multiply_su(HIGH, TOKENS, WEIGHTS_B);                                                      \
    } while (0)

/* Of each panel its low and its high sums, [16][16]. */
QN_INLINE void end_sums(qn_tensor_type type, int n_panels, int32_t sums[4][16 * 16])
{
    tile_store(LOW_0, sums[0], 64);
    if (has_high(type)) tile_store(HIGH_0, sums[1], 64);
    if (n_panels == 1) return;
    tile_store(LOW_1, sums[2], 64);
    if (has_high(type)) tile_store(HIGH_1, sums[3], 64);
}

/* The sums of 16 tokens and one panel, or two. blocks: these are taken apart on the way, each step before the
 * last one is multiplied: a tile is loaded late out of lines that were just written. NULL: the chunks are as
 * they should be. */
QN_INLINE void multiply_panels(qn_tensor_type type, int n_panels, int32_t sums[4][16 * 16], k_chunk *chunk,
                               const uint8_t *const *blocks, size_t ahead, amx_rows rows)
{
    begin_sums();
    if (blocks != NULL) expand_both(type, n_panels, chunk, blocks, ahead, 0);
    for (size_t step = 0; step < STEPS; step++) {
        if (blocks != NULL && step + 1 < STEPS) expand_both(type, n_panels, chunk, blocks, ahead, step + 1);
        tile_load(TOKENS, rows.first + 64 * step, rows.stride);
        ADD_PRODUCTS(type, LOW_0, HIGH_0, &chunk[0], step);
        if (n_panels == 2) ADD_PRODUCTS(type, LOW_1, HIGH_1, &chunk[1], step);
    }
    end_sums(type, n_panels, sums);
}

/* Sum over sub-blocks of minimum * (sum of activations). */
QN_INLINE __m512i min_sum(qn_tensor_type type, const k_chunk *chunk, const qn_act_q8_256 *a)
{
    const bool is_q2 = type == QN_TYPE_Q2_K;
    const int n_pairs = is_q2 ? 16 : 4;
    __m512i ms = _mm512_setzero_si512();
    QN_EACH (p, n_pairs) {
        const __m512i sums = is_q2 ? broadcast_4(a->start[p]) : broadcast_4(a->sum32 + 2 * p);
        ms = _mm512_dpwssd_epi32(ms, _mm512_loadu_si512((const void *)chunk->min[p]), sums);
    }
    /* start is -32 times the sums */
    return is_q2 ? _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_srai_epi32(ms, COUNT(5))) : ms;
}

QN_INLINE __m512i high_sums(qn_tensor_type type, const int32_t *sums)
{
    return _mm512_slli_epi32(_mm512_load_si512((const void *)sums), COUNT(high_shift(type)));
}

/* Adds the block's sums of 16 tokens to acc, [16][16]. */
QN_INLINE void add_sums(qn_tensor_type type, float (*acc)[16], int32_t sums[2][16 * 16], const k_chunk *chunk,
                        amx_rows rows)
{
    const __m512 d = _mm512_load_ps(chunk->d),
                 dmin = has_min(type) ? _mm512_load_ps(chunk->dmin) : _mm512_setzero_ps();
    QN_EACH (t, TILE_TOKENS) {
        const qn_act_q8_256 *a = (const void *)rows.first;
        const __m512i low = _mm512_load_si512((const void *)(sums[0] + 16 * t)),
                      is = has_high(type) ? _mm512_add_epi32(low, high_sums(type, sums[1] + 16 * t)) : low;
        __m512 v = _mm512_mul_ps(d, _mm512_cvtepi32_ps(is));
        if (has_min(type)) v = _mm512_fnmadd_ps(dmin, _mm512_cvtepi32_ps(min_sum(type, chunk, a)), v);
        _mm512_store_ps(acc[t], _mm512_fmadd_ps(v, _mm512_set1_ps(a->scale), _mm512_load_ps(acc[t])));
        rows.first += rows.stride;
    }
}

/* One block of one panel, or two, which is taken apart into `chunk`. */
QN_INLINE void k_block(qn_tensor_type type, int n_panels, k_chunk *chunk, const uint8_t *const *blocks,
                       size_t ahead, const amx_tokens *tokens, size_t act_offset, amx_sums *acc)
{
    _Alignas(64) int32_t sums[2][4][16 * 16];
    amx_rows rows = tile_rows(tokens, 0, act_offset);
    for (int p = 0; p < n_panels; p++) expand_scales(type, &chunk[p], blocks[p]);
    multiply_panels(type, n_panels, sums[0], chunk, blocks, ahead, rows);
    for (size_t t = 0, i = 0; t < tokens->n; t += TILE_TOKENS, i ^= 1) {
        const amx_rows these = rows;
        if (t + TILE_TOKENS < tokens->n) { /* the next products run while these sums are scaled */
            rows = tile_rows(tokens, t + TILE_TOKENS, act_offset);
            multiply_panels(type, n_panels, sums[i ^ 1], chunk, NULL, 0, rows);
        }
        add_sums(type, acc[0] + t, sums[i], chunk, these);
        if (n_panels == 2) add_sums(type, acc[1] + t, sums[i] + 2, chunk + 1, these);
    }
}

QN_INLINE void k_products(qn_tensor_type type, const amx_panels *panels, const amx_tokens *tokens,
                          size_t act_offset, amx_sums *acc)
{
    k_chunk chunk[2];
    for (size_t p = 0; p < panels->n_panels; p += 2) {
        const uint8_t *first = panels->first + p * panels->panel_bytes;
        const uint8_t *const blocks[2] = {first, first + panels->panel_bytes};
        const bool are_two = p + 1 < panels->n_panels;
        if (are_two) k_block(type, 2, chunk, blocks, panels->ahead, tokens, act_offset, acc + p);
        else k_block(type, 1, chunk, blocks, panels->ahead, tokens, act_offset, acc + p);
    }
}

#define TRAITS                                                                                               \
    .sizes = {.palette = 1,                                                                                  \
              .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},                                                 \
              .rows = {16, 16, 16, 16, 16, 16, 16, 16}},                                                     \
    .block_columns = 256, .act = QN_ACT_Q8_256, .few_panels = 4

QN_DEFINE_AMX(k, q2_k, Q2_K, TRAITS, 9)
QN_DEFINE_AMX(k, q3_k, Q3_K, TRAITS, 9)
QN_DEFINE_AMX(k, q4_k, Q4_K, TRAITS, 9)
QN_DEFINE_AMX(k, q5_k, Q5_K, TRAITS, 9)
QN_DEFINE_AMX(k, q6_k, Q6_K, TRAITS, 9)
QN_DEFINE_AMX(k, iq4_xs, IQ4_XS, TRAITS, 9)
