/* matmul_blocks.h: what the references for block types share: how codes are read from the lines of a panel,
 * and the walk over panels, tokens and blocks. The file that includes this has defined before
 *
 *     BLOCK_COLUMNS, ACT_FORMAT    the columns of a block, and what the activations are quantized to
 *     act_block                    their type
 *     block_weights                16 rows by one block, as numbers
 *
 * and defines after it multiply_block, and for each type expand_NAME and QN_DEFINE_MATMUL(NAME, has_min). */
#ifndef QN_KERNEL_REF_MATMUL_BLOCKS_H
#define QN_KERNEL_REF_MATMUL_BLOCKS_H

#include "base/float16.h"
#include "kernel/matmul.h"

/* Row r, column k of 32; the lines are told in kernel/panel.h. */
static inline int nibble(const uint8_t low[4][64], size_t r, size_t k)
{
    return low[k / 4 % 4][4 * r + k % 4] >> (k < 16 ? 0 : 4) & 15;
}
static inline int two_bits(const uint8_t two[2][64], size_t r, size_t k)
{
    return two[k / 16][4 * r + k % 4] >> 2 * (k / 4 % 4) & 3;
}
static inline int one_bit(const uint8_t line[64], size_t r, size_t k)
{
    return line[4 * r + k % 4] >> k / 4 & 1;
}

static inline void expand_f16(float out[16], const uint16_t in[16])
{
    for (size_t r = 0; r < 16; r++) out[r] = qn_f16_to_f32(in[r]);
}

/* Adds the product with the activations of one token to acc. */
static void multiply_block(float acc[16], const block_weights *e, const act_block *a, bool has_min);

typedef void expand_fn(block_weights *e, const void *panel_block);

/* A block of weights is expanded once for up to TOKENS tokens. */
static inline void multiply(const qn_matmul *m, size_t panel_begin, size_t panel_end, size_t token_begin,
                            size_t token_end, expand_fn *expand, size_t block_bytes, bool has_min)
{
    enum { TOKENS = 64 };
    const size_t n_blocks = m->w->n_cols / BLOCK_COLUMNS,
                 row_bytes = qn_act_row_bytes(ACT_FORMAT, m->w->n_cols);
    for (size_t t0 = token_begin; t0 < token_end; t0 += TOKENS) {
        const size_t n_tokens = qn_min_size(TOKENS, token_end - t0);
        for (size_t panel = panel_begin; panel < panel_end; panel++) {
            const uint8_t *w = m->w->data + panel * m->w->panel_bytes;
            float acc[TOKENS][16] = {{0}};
            for (size_t b = 0; b < n_blocks; b++) {
                block_weights e;
                expand(&e, w + b * block_bytes);
                for (size_t t = 0; t < n_tokens; t++)
                    multiply_block(acc[t], &e, (const act_block *)qn_matmul_act(m, row_bytes, t0 + t) + b,
                                   has_min);
            }
            for (size_t t = 0; t < n_tokens; t++) qn_matmul_store(m, panel, t0 + t, acc[t]);
        }
    }
}

#define QN_DEFINE_MATMUL(name, has_min)                                                                      \
    void qn_matmul_##name##_scalar(const qn_matmul *m, size_t panel_begin, size_t panel_end,                 \
                                   size_t token_begin, size_t token_end)                                     \
    {                                                                                                        \
        multiply(m, panel_begin, panel_end, token_begin, token_end, expand_##name, sizeof(qn_panel_##name),  \
                 has_min);                                                                                   \
    }

#endif
