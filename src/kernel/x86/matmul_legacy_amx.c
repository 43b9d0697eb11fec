/* matmul_legacy_amx.c: AMX products of the types with one scale per 32 columns; the order of arithmetic is
 * that of ref/matmul_legacy.c. A block is one tile multiplication, whose sums are scaled while the next one
 * runs. */
#include "kernel/table_matrix.h"
#include "kernel/x86/codes_avx512.h"
#include "kernel/x86/matmul_amx.h"

enum { CHUNK_BLOCKS = CHUNK_COLUMNS / 32 };
/* Tiles. */
#define SUMS    0
#define TOKENS  1
#define WEIGHTS 2

typedef struct legacy_chunk {
    _Alignas(64) int8_t w[CHUNK_BLOCKS][8][64]; /* lines of signed codes */
    float d[CHUNK_BLOCKS][16], m[CHUNK_BLOCKS][16];
} legacy_chunk;

/* Takes one block apart, and asks for the one that is wanted after it. */
QN_INLINE void legacy_expand(qn_tensor_type type, legacy_chunk *chunk, const uint8_t *panel, size_t ahead,
                             size_t b)
{
    const uint8_t *p = panel + b * panel_block_bytes(type);
    prefetch(p + ahead, panel_block_bytes(type));
    QN_EACH (g, 8) _mm512_store_si512((void *)chunk->w[b][g], signed_codes(type, p, g));
    _mm512_store_ps(chunk->d[b], load_d(p, type));
    if (has_min(type)) _mm512_store_ps(chunk->m[b], load_m(p, type));
}

/* The sums of products of one block and 16 tokens, [16][16]. */
QN_INLINE void multiply_tile(int32_t *sums, int8_t w[8][64], const uint8_t *q, size_t stride)
{
    tile_zero(SUMS);
    tile_load(TOKENS, q, stride);
    tile_load(WEIGHTS, w, 64);
    tile_multiply_ss(SUMS, TOKENS, WEIGHTS);
    tile_store(SUMS, sums, 64);
}

/* Adds the products of 16 tokens to out, [16][16]. panel: taken apart into the chunk, two blocks before they
 * are multiplied; or NULL, it has been. */
QN_INLINE void legacy_tile(qn_tensor_type type, legacy_chunk *chunk, const uint8_t *panel, size_t ahead,
                           size_t n_blocks, amx_rows rows, float *out)
{
    _Alignas(64) int32_t sums[2][16 * 16];
    __m512 acc[TILE_TOKENS];
    const uint8_t *block = rows.first;
    QN_EACH (t, TILE_TOKENS) acc[t] = _mm512_load_ps(out + 16 * t);
    if (panel != NULL)
        for (size_t b = 0; b < 2 && b < n_blocks; b++) legacy_expand(type, chunk, panel, ahead, b);
    multiply_tile(sums[0], chunk->w[0], block, rows.stride);
    for (size_t b = 0; b < n_blocks; b++, block += sizeof(qn_act_q8_32)) {
        const int32_t *s = sums[b % 2];
        const uint8_t *next = block + sizeof(qn_act_q8_32), *row = block;
        if (panel != NULL && b + 2 < n_blocks) legacy_expand(type, chunk, panel, ahead, b + 2);
        if (b + 1 < n_blocks) multiply_tile(sums[(b + 1) % 2], chunk->w[b + 1], next, rows.stride);
        const __m512 d = _mm512_load_ps(chunk->d[b]), m = has_min(type) ? _mm512_load_ps(chunk->m[b]) : d;
        QN_EACH (t, TILE_TOKENS) {
            const qn_act_q8_32 *a = (const void *)row;
            const __m512 dot = _mm512_cvtepi32_ps(_mm512_load_si512((const void *)(s + 16 * t)));
            acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(a->scale)), dot, acc[t]);
            if (has_min(type)) acc[t] = _mm512_fmadd_ps(m, _mm512_set1_ps(a->scaled_sum), acc[t]);
            row += rows.stride;
        }
    }
    QN_EACH (t, TILE_TOKENS) _mm512_store_ps(out + 16 * t, acc[t]);
}

QN_INLINE void legacy_products(qn_tensor_type type, const amx_panels *panels, const amx_tokens *tokens,
                               size_t act_offset, amx_sums *acc)
{
    legacy_chunk chunk[BLOCK_PANELS];
    for (size_t p = 0; p < panels->n_panels; p++)
        legacy_tile(type, &chunk[p], panels->first + p * panels->panel_bytes, panels->ahead, panels->n_blocks,
                    tile_rows(tokens, 0, act_offset), acc[p][0]);
    for (size_t t = TILE_TOKENS; t < tokens->n;
         t += TILE_TOKENS) /* whose activations are in the first-level cache */
        for (size_t p = 0; p < panels->n_panels; p++)
            legacy_tile(type, &chunk[p], NULL, 0, panels->n_blocks, tile_rows(tokens, t, act_offset),
                        acc[p][t]);
}

#define TRAITS                                                                                               \
    .sizes = {.palette = 1, .row_bytes = {64, 32, 64}, .rows = {16, 16, 8}}, .block_columns = 32,            \
    .act = QN_ACT_Q8_32, .few_panels = 2

QN_DEFINE_AMX(legacy, q4_0, Q4_0, TRAITS, 12)
QN_DEFINE_AMX(legacy, q4_1, Q4_1, TRAITS, 12)
QN_DEFINE_AMX(legacy, q5_0, Q5_0, TRAITS, 12)
QN_DEFINE_AMX(legacy, q5_1, Q5_1, TRAITS, 12)
QN_DEFINE_AMX(legacy, q8_0, Q8_0, TRAITS, 12)
QN_DEFINE_AMX(legacy, iq4_nl, IQ4_NL, TRAITS, 12)
QN_DEFINE_AMX(legacy, mxfp4, MXFP4, TRAITS, 12)
