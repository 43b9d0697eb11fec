/* pack_float.c: panels of F32, F16 and BF16: the 16 rows side by side, column by column. */
#include "kernel/pack.h"

#include <string.h>

void qn_pack_f32(void *panel, const uint8_t *source, size_t row_bytes, size_t n_rows, size_t n_cols)
{
    uint32_t *out = panel;
    memset(out, 0, n_cols * QN_PANEL_ROWS * sizeof *out);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t k = 0; k < n_cols; k++)
            memcpy(&out[k * QN_PANEL_ROWS + r], source + r * row_bytes + k * sizeof *out, sizeof *out);
}

void qn_pack_16bit(void *panel, const uint8_t *source, size_t row_bytes, size_t n_rows, size_t n_cols)
{
    uint16_t *out = panel;
    memset(out, 0, n_cols * QN_PANEL_ROWS * sizeof *out);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t k = 0; k < n_cols; k++)
            memcpy(&out[k * QN_PANEL_ROWS + r], source + r * row_bytes + k * sizeof *out, sizeof *out);
}
