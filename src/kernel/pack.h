/* pack.h: the functions behind qn_matrix_pack, one per type. Each packs one panel of n_rows (1..16) rows,
 * row_bytes apart at `source`; the rows that are missing become zeros. */
#ifndef QN_KERNEL_PACK_H
#define QN_KERNEL_PACK_H

#include "kernel/panel.h"

#include <string.h>

typedef void qn_pack_fn(void *panel, const uint8_t *source, size_t row_bytes, size_t n_rows, size_t n_cols);

qn_pack_fn qn_pack_16bit, qn_pack_f32;
qn_pack_fn qn_pack_q4_0, qn_pack_q4_1, qn_pack_q5_0, qn_pack_q5_1,
    qn_pack_q8_0; /* IQ4_NL is packed as Q4_0 */
qn_pack_fn qn_pack_mxfp4, qn_pack_q2_k, qn_pack_q3_k, qn_pack_q4_k, qn_pack_q5_k, qn_pack_q6_k,
    qn_pack_iq4_xs;

/* Four codes of one byte each; the lines are built from these. */
static inline uint32_t qn_load_u32(const uint8_t *bytes)
{
    uint32_t v;
    memcpy(&v, bytes, sizeof v);
    return v;
}

/* Writes the four codes of row r to a line. */
static inline void qn_line_put(uint8_t line[64], size_t r, uint32_t codes)
{
    memcpy(line + 4 * r, &codes, sizeof codes);
}

/* qn_pack_NAME: the walk over blocks and rows is the same for all; put_NAME(p, r, block) moves one block of
 * row r to *p. */
#define QN_DEFINE_PACK(name, block_columns)                                                                  \
    void qn_pack_##name(void *panel, const uint8_t *source, size_t row_bytes, size_t n_rows, size_t n_cols)  \
    {                                                                                                        \
        const size_t n_blocks = n_cols / (block_columns);                                                    \
        qn_panel_##name *p = panel;                                                                          \
        if (n_rows < QN_PANEL_ROWS) memset(p, 0, n_blocks * sizeof *p);                                      \
        for (size_t b = 0; b < n_blocks; b++, p++) {                                                         \
            for (size_t r = 0; r < n_rows; r++) {                                                            \
                const qn_block_##name *block = (const qn_block_##name *)(source + r * row_bytes) + b;        \
                put_##name(p, r, block);                                                                     \
            }                                                                                                \
        }                                                                                                    \
    }

#endif
