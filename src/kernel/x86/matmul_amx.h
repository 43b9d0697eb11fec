/* matmul_amx.h: what the AMX matrix kernels share: products with many tokens.
 *
 * A tile multiplication takes 16 tokens by 64 columns and 64 columns by 16 rows; the latter are 16 lines of a
 * panel, as they lie. Its sums of 32 bits are exact, so the order of arithmetic, and every bit, is that of
 * the references. Panels are taken apart chunk by chunk, each once for up to BLOCK_TOKENS tokens, while the
 * activations of the chunk stay in the second-level cache for BLOCK_PANELS panels. Few tokens are left to
 * AVX-512, which multiplies them faster than panels can be taken apart. */
#ifndef QN_KERNEL_X86_MATMUL_AMX_H
#define QN_KERNEL_X86_MATMUL_AMX_H

#include "kernel/x86/amx.h"
#include "kernel/x86/matmul_avx512.h"

enum {
    TILE_TOKENS = 16,
    BLOCK_TOKENS = 256,
    BLOCK_PANELS = 8,      /* BLOCK_PANELS * BLOCK_TOKENS * 64 bytes of sums lie on the stack */
    CHUNK_COLUMNS = 256,   /* of a panel, taken apart at once */
    CHUNK_ACT_BYTES = 384, /* the activations of a token that meet them, in either format */
    MAX_GATHERED = 64
};

_Static_assert(CHUNK_COLUMNS / 32 * sizeof(qn_act_q8_32) == CHUNK_ACT_BYTES &&
                   sizeof(qn_act_q8_256) == CHUNK_ACT_BYTES,
               "both formats");

/* The activations of a block of tokens. Those of the first n_direct, whole tiles, are read as they lie, one
 * row `stride` bytes after the other. Others, when rows are anywhere or do not fill a tile, are gathered
 * chunk by chunk; the last row is repeated until the tile is full. */
typedef struct amx_tokens {
    size_t n, n_direct, stride;
    const uint8_t *row[BLOCK_TOKENS];
    _Alignas(64) uint8_t gathered[MAX_GATHERED][CHUNK_ACT_BYTES];
} amx_tokens;

/* 16 rows of a chunk. */
typedef struct amx_rows {
    const uint8_t *first;
    size_t stride;
} amx_rows;

static inline size_t whole_tiles(size_t n_tokens)
{
    return (n_tokens + TILE_TOKENS - 1) / TILE_TOKENS * TILE_TOKENS;
}

static inline void take_tokens(amx_tokens *tokens, const qn_matmul *m, size_t act_bytes, size_t begin,
                               size_t n)
{
    tokens->n = n;
    tokens->stride = act_bytes;
    tokens->n_direct = m->act_index == NULL ? n / TILE_TOKENS * TILE_TOKENS : 0;
    for (size_t t = 0; t < n; t++) tokens->row[t] = qn_matmul_act(m, act_bytes, begin + t);
}

static inline void gather_chunk(amx_tokens *tokens, size_t act_offset, size_t n_bytes)
{
    const size_t end = whole_tiles(tokens->n);
    for (size_t t = tokens->n_direct; t < end; t++)
        memcpy(tokens->gathered[t - tokens->n_direct],
               tokens->row[qn_min_size(t, tokens->n - 1)] + act_offset, n_bytes);
}

/* The tile that begins with token t. */
QN_INLINE amx_rows tile_rows(const amx_tokens *tokens, size_t t, size_t act_offset)
{
    if (t < tokens->n_direct) return (amx_rows){tokens->row[t] + act_offset, tokens->stride};
    return (amx_rows){tokens->gathered[t - tokens->n_direct], CHUNK_ACT_BYTES};
}

typedef float amx_sums[BLOCK_TOKENS][16];

/* One chunk of several panels, as packed. */
typedef struct amx_panels {
    const uint8_t *first;
    size_t panel_bytes, n_panels, n_blocks;
    size_t ahead; /* bytes from each panel's blocks to those that are wanted after these */
} amx_panels;

/* Adds their products to acc[n_panels]. */
typedef void amx_chunk_fn(const amx_panels *panels, const amx_tokens *tokens, size_t act_offset,
                          amx_sums *acc);

typedef struct amx_type {
    tile_sizes sizes;
    amx_chunk_fn *chunk;
    qn_matmul_fn *few; /* for fewer than min_tokens */
    size_t min_tokens;
    size_t few_panels; /* at once for one tile: what is asked for ahead then stays in the first-level cache */
    size_t block_columns, block_bytes;
    qn_act_format act;
} amx_type;

/* At most BLOCK_TOKENS tokens and BLOCK_PANELS panels. */
static inline void multiply_block(const amx_type *type, const qn_matmul *m, size_t panel_begin,
                                  size_t n_panels, amx_tokens *tokens, size_t first_token)
{
    _Alignas(64) amx_sums acc[BLOCK_PANELS];
    const size_t n_blocks = m->w->n_cols / type->block_columns, at_once = CHUNK_COLUMNS / type->block_columns,
                 act_block_bytes = CHUNK_ACT_BYTES / at_once;
    amx_panels panels = {m->w->data + panel_begin * m->w->panel_bytes, m->w->panel_bytes, n_panels, 0, 0};
    for (size_t p = 0; p < n_panels; p++) memset(acc[p], 0, whole_tiles(tokens->n) * sizeof acc[p][0]);
    for (size_t b = 0; b < n_blocks; b += at_once, panels.first += panels.ahead) {
        const bool is_last = b + at_once >= n_blocks;
        panels.n_blocks = qn_min_size(at_once, n_blocks - b);
        panels.ahead =
            is_last ? n_panels * panels.panel_bytes - b * type->block_bytes : at_once * type->block_bytes;
        gather_chunk(tokens, b * act_block_bytes, panels.n_blocks * act_block_bytes);
        type->chunk(&panels, tokens, b * act_block_bytes, acc);
    }
    for (size_t p = 0; p < n_panels; p++)
        for (size_t t = 0; t < tokens->n; t++) store_panel(m, panel_begin + p, first_token + t, acc[p][t]);
}

static inline void multiply_tiles(const amx_type *type, const qn_matmul *m, size_t panel_begin,
                                  size_t panel_end, size_t token_begin, size_t token_end)
{
    if (token_end - token_begin < type->min_tokens) {
        type->few(m, panel_begin, panel_end, token_begin, token_end);
        return;
    }
    const size_t act_bytes = qn_act_row_bytes(type->act, m->w->n_cols),
                 at_once = m->act_index == NULL ? BLOCK_TOKENS : MAX_GATHERED;
    amx_tokens tokens;
    tile_begin(&type->sizes);
    for (size_t t = token_begin; t < token_end; t += at_once) {
        take_tokens(&tokens, m, act_bytes, t, qn_min_size(at_once, token_end - t));
        const size_t n_panels = tokens.n <= TILE_TOKENS ? type->few_panels : BLOCK_PANELS;
        for (size_t p = panel_begin; p < panel_end; p += n_panels)
            multiply_block(type, m, p, qn_min_size(n_panels, panel_end - p), &tokens, t);
    }
    tile_end();
}

/* Defines the function of the table. A file has for its types kind_products(type, panels, tokens, act_offset,
 * acc), and TRAITS, the members of amx_type that all of them share. */
#define QN_DEFINE_AMX(kind, name, TYPE, TRAITS, least_tokens)                                                \
    static void chunk_##name(const amx_panels *panels, const amx_tokens *tokens, size_t act_offset,          \
                             amx_sums *acc)                                                                  \
    {                                                                                                        \
        kind##_products(QN_TYPE_##TYPE, panels, tokens, act_offset, acc);                                    \
    }                                                                                                        \
    void QN_AMX(qn_matmul_##name)(const qn_matmul *m, size_t panel_begin, size_t panel_end,                  \
                                  size_t token_begin, size_t token_end)                                      \
    {                                                                                                        \
        static const amx_type type = {TRAITS, .chunk = chunk_##name, .few = QN_AVX512(qn_matmul_##name),     \
                                      .min_tokens = least_tokens, .block_bytes = sizeof(qn_panel_##name)};   \
        multiply_tiles(&type, m, panel_begin, panel_end, token_begin, token_end);                            \
    }

#endif
