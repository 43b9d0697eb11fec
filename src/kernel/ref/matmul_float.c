/* matmul_float.c: the reference for weights that are float32, or become it by an exact conversion or by
 * decoding. Per output one chain over the columns, ascending: acc = fma(w, x, acc). */
#include "base/float16.h"
#include "kernel/matmul.h"
#include "kernel/table_matrix.h"
#include "quant/decode.h"

#include <math.h>
#include <string.h>

enum { TOKENS = 32, COLUMNS = 256 }; /* per pass over a chunk of a panel */

/* Columns [begin, begin + n) of a panel as w[k][row]. */
typedef void qn_expand_float_fn(float w[COLUMNS][16], const qn_matrix *matrix, size_t panel, size_t begin,
                                size_t n);

static void expand_f32(float w[COLUMNS][16], const qn_matrix *matrix, size_t panel, size_t begin, size_t n)
{
    const float *p = (const float *)(const void *)(matrix->data + panel * matrix->panel_bytes);
    memcpy(w, p + begin * 16, n * 16 * sizeof *p);
}

static void expand_f16(float w[COLUMNS][16], const qn_matrix *matrix, size_t panel, size_t begin, size_t n)
{
    const uint16_t *p =
        (const uint16_t *)(const void *)(matrix->data + panel * matrix->panel_bytes) + begin * 16;
    for (size_t i = 0; i < n * 16; i++) w[i / 16][i % 16] = qn_f16_to_f32(p[i]);
}

static void expand_bf16(float w[COLUMNS][16], const qn_matrix *matrix, size_t panel, size_t begin, size_t n)
{
    const uint16_t *p =
        (const uint16_t *)(const void *)(matrix->data + panel * matrix->panel_bytes) + begin * 16;
    for (size_t i = 0; i < n * 16; i++) w[i / 16][i % 16] = qn_bf16_to_f32(p[i]);
}

/* From the file's rows; COLUMNS is a multiple of every block. */
static void expand_decoded(float w[COLUMNS][16], const qn_matrix *matrix, size_t panel, size_t begin,
                           size_t n)
{
    qn_decode_fn *decode = qn_decode_get(matrix->type);
    const size_t n_rows = qn_min_size(16, matrix->n_rows - panel * 16), row_bytes = matrix->panel_bytes / 16;
    const uint8_t *source = matrix->data + panel * matrix->panel_bytes + qn_row_bytes(matrix->type, begin);
    memset(w, 0, sizeof(float[COLUMNS][16]));
    for (size_t r = 0; r < n_rows; r++) {
        float row[COLUMNS];
        decode(source + r * row_bytes, row, n);
        for (size_t k = 0; k < n; k++) w[k][r] = row[k];
    }
}

static void multiply_chunk(float acc[16], const float (*w)[16], const float *x, size_t n)
{
    for (size_t k = 0; k < n; k++)
        for (size_t r = 0; r < 16; r++) acc[r] = fmaf(w[k][r], x[k], acc[r]);
}

static void multiply(const qn_matmul *m, size_t panel_begin, size_t panel_end, size_t token_begin,
                     size_t token_end, qn_expand_float_fn *expand)
{
    const size_t n_cols = m->w->n_cols, row_bytes = qn_act_row_bytes(QN_ACT_F32, n_cols);
    for (size_t t0 = token_begin; t0 < token_end; t0 += TOKENS) {
        const size_t n_tokens = qn_min_size(TOKENS, token_end - t0);
        for (size_t panel = panel_begin; panel < panel_end; panel++) {
            float acc[TOKENS][16] = {{0}};
            for (size_t k = 0; k < n_cols; k += COLUMNS) {
                const size_t n = qn_min_size(COLUMNS, n_cols - k);
                float w[COLUMNS][16];
                expand(w, m->w, panel, k, n);
                for (size_t t = 0; t < n_tokens; t++)
                    multiply_chunk(acc[t], (const float(*)[16])w,
                                   (const float *)qn_matmul_act(m, row_bytes, t0 + t) + k, n);
            }
            for (size_t t = 0; t < n_tokens; t++) qn_matmul_store(m, panel, t0 + t, acc[t]);
        }
    }
}

#define QN_DEFINE_MATMUL(name)                                                                               \
    void qn_matmul_##name##_scalar(const qn_matmul *m, size_t panel_begin, size_t panel_end,                 \
                                   size_t token_begin, size_t token_end)                                     \
    {                                                                                                        \
        multiply(m, panel_begin, panel_end, token_begin, token_end, expand_##name);                          \
    }
QN_DEFINE_MATMUL(f32)
QN_DEFINE_MATMUL(f16)
QN_DEFINE_MATMUL(bf16)
QN_DEFINE_MATMUL(decoded)
