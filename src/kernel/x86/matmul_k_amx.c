/* matmul_k_amx.c: AMX products of the types with super-blocks of 256 columns; the order of arithmetic is
 * that of ref/matmul_k.c.
 *
 * A tile multiplication adds up 64 columns, but scales change every 16 or 32. So codes are multiplied by
 * their scales first, as integers: at most 13 bits and a sign, which are kept as two bytes, 256 * high + low.
 * Four tile multiplications with each then give the sums of 256 columns, exact as any other way. The minimums
 * meet the sums of activations in pairs of 16 bits, as with AVX-512. */
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
    _Alignas(64) uint8_t low[STEPS][16][64]; /* unsigned */
    int8_t high[STEPS][16][64];
    int16_t min[16][16][2]; /* pairs of sub-blocks; Q2_K: each twice */
    _Alignas(64) float d[16], dmin[16];
} k_chunk;

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

/* The scale of each row twice, as the columns of its codes lie in words of 16 bits. */
QN_INLINE __m512i spread_scale(__m128i bytes)
{
    const __m512i v = _mm512_cvtepi8_epi32(bytes);
    return _mm512_or_si512(_mm512_and_si512(v, _mm512_set1_epi32(0xffff)), _mm512_slli_epi32(v, COUNT(16)));
}

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

/* One block. Words of 16 bits hold the products of columns 0 and 2 of a line's four, and of columns 1 and 3;
 * their low and their high bytes, put side by side again, are the two lines. */
QN_INLINE void k_expand(qn_tensor_type type, k_chunk *chunk, const uint8_t *block)
{
    const __m512i low_bytes = _mm512_set1_epi16(0xff);
    for (int j = 0; j < 8; j++) {
        const uint8_t *p = block + (size_t)j * sub_block_bytes(type);
        const __m512i first = spread_scale(k_scale(type, block, is_fine(type) ? 2 * j : j)),
                      second = is_fine(type) ? spread_scale(k_scale(type, block, 2 * j + 1)) : first;
        QN_EACH (g, 8) {
            const __m512i codes = signed_codes(type, p, g), scale = g < 4 ? first : second;
            const __m512i even = _mm512_srai_epi16(_mm512_slli_epi16(codes, COUNT(8)), COUNT(8)),
                          odd = _mm512_srai_epi16(codes, COUNT(8)),
                          product_02 = _mm512_mullo_epi16(even, scale),
                          product_13 = _mm512_mullo_epi16(odd, scale);
            const size_t step = (size_t)j / 2, line = (size_t)(j % 2) * 8 + (size_t)g;
            _mm512_store_si512((void *)chunk->low[step][line],
                               _mm512_or_si512(_mm512_and_si512(product_02, low_bytes),
                                               _mm512_slli_epi16(product_13, COUNT(8))));
            _mm512_store_si512((void *)chunk->high[step][line],
                               _mm512_or_si512(_mm512_srli_epi16(product_02, COUNT(8)),
                                               _mm512_andnot_si512(low_bytes, product_13)));
        }
    }
    if (has_min(type)) expand_mins(type, chunk, block);
    const uint16_t *d = block_d(type, block); /* and the minimums' behind it */
    _mm512_storeu_ps(chunk->d, load_f16(d));
    if (has_min(type)) _mm512_storeu_ps(chunk->dmin, load_f16(d + 16));
}

/* The sums of 16 tokens and one panel, or two: low and high of each, [16][16]. */
QN_INLINE void multiply_panels(int n_panels, int32_t sums[4][16 * 16], const k_chunk *chunk, amx_rows rows)
{
    tile_zero(LOW_0);
    tile_zero(HIGH_0);
    tile_zero(LOW_1);
    tile_zero(HIGH_1);
    for (size_t step = 0; step < STEPS; step++) {
        tile_load(TOKENS, rows.first + 64 * step, rows.stride);
        tile_load(WEIGHTS_A, chunk[0].low[step], 64);
        tile_multiply_su(LOW_0, TOKENS, WEIGHTS_A);
        tile_load(WEIGHTS_B, chunk[0].high[step], 64);
        tile_multiply_ss(HIGH_0, TOKENS, WEIGHTS_B);
        if (n_panels == 1) continue;
        tile_load(WEIGHTS_A, chunk[1].low[step], 64);
        tile_multiply_su(LOW_1, TOKENS, WEIGHTS_A);
        tile_load(WEIGHTS_B, chunk[1].high[step], 64);
        tile_multiply_ss(HIGH_1, TOKENS, WEIGHTS_B);
    }
    tile_store(LOW_0, sums[0], 64);
    tile_store(HIGH_0, sums[1], 64);
    if (n_panels == 1) return;
    tile_store(LOW_1, sums[2], 64);
    tile_store(HIGH_1, sums[3], 64);
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

/* Adds the block's sums of 16 tokens to acc, [16][16]. */
QN_INLINE void add_sums(qn_tensor_type type, float (*acc)[16], int32_t sums[2][16 * 16], const k_chunk *chunk,
                        amx_rows rows)
{
    const __m512 d = _mm512_load_ps(chunk->d),
                 dmin = has_min(type) ? _mm512_load_ps(chunk->dmin) : _mm512_setzero_ps();
    QN_EACH (t, TILE_TOKENS) {
        const qn_act_q8_256 *a = (const void *)rows.first;
        const __m512i low = _mm512_load_si512((const void *)(sums[0] + 16 * t)),
                      high = _mm512_load_si512((const void *)(sums[1] + 16 * t)),
                      is = _mm512_add_epi32(_mm512_slli_epi32(high, COUNT(8)), low);
        __m512 v = _mm512_mul_ps(d, _mm512_cvtepi32_ps(is));
        if (has_min(type)) v = _mm512_fnmadd_ps(dmin, _mm512_cvtepi32_ps(min_sum(type, chunk, a)), v);
        _mm512_store_ps(acc[t], _mm512_fmadd_ps(v, _mm512_set1_ps(a->scale), _mm512_load_ps(acc[t])));
        rows.first += rows.stride;
    }
}

/* One block of one panel, or two. */
QN_INLINE void k_block(qn_tensor_type type, int n_panels, const k_chunk *chunk, const amx_tokens *tokens,
                       size_t act_offset, amx_sums *acc)
{
    _Alignas(64) int32_t sums[2][4][16 * 16];
    amx_rows rows = tile_rows(tokens, 0, act_offset);
    multiply_panels(n_panels, sums[0], chunk, rows);
    for (size_t t = 0, i = 0; t < tokens->n; t += TILE_TOKENS, i ^= 1) {
        const amx_rows these = rows;
        if (t + TILE_TOKENS < tokens->n) { /* the next products run while these sums are scaled */
            rows = tile_rows(tokens, t + TILE_TOKENS, act_offset);
            multiply_panels(n_panels, sums[i ^ 1], chunk, rows);
        }
        add_sums(type, acc[0] + t, sums[i], chunk, these);
        if (n_panels == 2) add_sums(type, acc[1] + t, sums[i] + 2, chunk + 1, these);
    }
}

/* Takes a panel's block apart, and asks for the one that is wanted after it. */
QN_INLINE void take_apart(qn_tensor_type type, k_chunk *chunk, const amx_panels *panels, size_t panel)
{
    const uint8_t *block = panels->first + panel * panels->panel_bytes;
    k_expand(type, chunk, block);
    prefetch(block + panels->ahead, panel_block_bytes(type));
}

QN_INLINE void k_products(qn_tensor_type type, const amx_panels *panels, const amx_tokens *tokens,
                          size_t act_offset, amx_sums *acc)
{
    k_chunk chunk[2];
    for (size_t p = 0; p < panels->n_panels; p += 2) {
        take_apart(type, &chunk[0], panels, p);
        if (p + 1 < panels->n_panels) {
            take_apart(type, &chunk[1], panels, p + 1);
            k_block(type, 2, chunk, tokens, act_offset, acc + p);
        } else {
            k_block(type, 1, chunk, tokens, act_offset, acc + p);
        }
    }
}

#define TRAITS                                                                                               \
    .sizes = {.palette = 1,                                                                                  \
              .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},                                                 \
              .rows = {16, 16, 16, 16, 16, 16, 16, 16}},                                                     \
    .block_columns = 256, .act = QN_ACT_Q8_256

QN_DEFINE_AMX(k, q2_k, Q2_K, TRAITS, 12)
QN_DEFINE_AMX(k, q3_k, Q3_K, TRAITS, 12)
QN_DEFINE_AMX(k, q4_k, Q4_K, TRAITS, 12)
QN_DEFINE_AMX(k, q5_k, Q5_K, TRAITS, 12)
QN_DEFINE_AMX(k, q6_k, Q6_K, TRAITS, 12)
QN_DEFINE_AMX(k, iq4_xs, IQ4_XS, TRAITS, 12)
