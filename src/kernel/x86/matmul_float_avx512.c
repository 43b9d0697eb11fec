/* matmul_float_avx512.c: AVX-512 products of weights that are float32 or become it: F32, F16, BF16, and the
 * types that are decoded on the way. Per output one chain over the columns, ascending, as in
 * ref/matmul_float.c. */
#include "kernel/table_matrix.h"
#include "kernel/x86/matmul_avx512.h"
#include "quant/decode.h"

enum { COLUMNS = 256 }; /* of a decoded chunk: a multiple of every block */

/* The weights of one column. */
QN_INLINE __m512 load_weights(const uint8_t *p, qn_tensor_type type)
{
    if (type == QN_TYPE_F32) return _mm512_loadu_ps((const float *)(const void *)p);
    if (type == QN_TYPE_F16) return load_f16((const uint16_t *)(const void *)p);
    const __m256i halves = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

/* acc += w * x over n columns; the activations begin at column `first`. */
QN_INLINE void add_columns(qn_tensor_type type, int T, const uint8_t *w, size_t n, const uint8_t *const act[],
                           size_t first, float *acc)
{
    const size_t column_bytes = panel_block_bytes(type);
    __m512 sum[GROUP];
    QN_EACH (t, T) sum[t] = _mm512_loadu_ps(acc + 16 * t);
    for (size_t k = first; k < first + n; k++, w += column_bytes) {
        const __m512 v = load_weights(w, type);
        if (T <= 4) _mm_prefetch((const char *)w + PREFETCH, _MM_HINT_T0);
        QN_EACH (t, T)
            sum[t] = _mm512_fmadd_ps(v, _mm512_set1_ps(((const float *)(const void *)act[t])[k]), sum[t]);
    }
    QN_EACH (t, T) _mm512_storeu_ps(acc + 16 * t, sum[t]);
}

QN_INLINE void float_product(qn_tensor_type type, int T, const uint8_t *panel, size_t n_cols,
                             const uint8_t *const act[], float *acc)
{
    memset(acc, 0, (size_t)T * 16 * sizeof *acc);
    add_columns(type, T, panel, n_cols, act, 0, acc);
}

QN_DEFINE_MATMUL(f32, F32, QN_ACT_F32, 1, float_product)
QN_DEFINE_MATMUL(f16, F16, QN_ACT_F32, 1, float_product)
QN_DEFINE_MATMUL(bf16, BF16, QN_ACT_F32, 1, float_product)

/* ---- decoded ---- */

/* Columns [first, first + n) of a panel as w[k][row]; the rows that are missing are zeros. */
static void decode_chunk(float w[COLUMNS][16], const qn_matrix *matrix, size_t panel, size_t first, size_t n)
{
    qn_decode_fn *decode = qn_decode_get(matrix->type);
    const size_t n_rows = qn_min_size(16, matrix->n_rows - panel * 16), row_bytes = matrix->panel_bytes / 16;
    const uint8_t *source = matrix->data + panel * matrix->panel_bytes + qn_row_bytes(matrix->type, first);
    if (n_rows < 16) memset(w, 0, sizeof(float[COLUMNS][16]));
    for (size_t r = 0; r < n_rows; r++) {
        float row[COLUMNS];
        decode(source + r * row_bytes, row, n);
        for (size_t k = 0; k < n; k++) w[k][r] = row[k];
    }
}

static void add_chunk(const float *w, size_t n, const uint8_t *const act[], size_t n_tokens, size_t first,
                      float *acc)
{
    const uint8_t *bytes = (const uint8_t *)(const void *)w;
    size_t t = 0;
    for (; t + 8 <= n_tokens; t += 8) add_columns(QN_TYPE_F32, 8, bytes, n, act + t, first, acc + 16 * t);
    for (; t + 2 <= n_tokens; t += 2) add_columns(QN_TYPE_F32, 2, bytes, n, act + t, first, acc + 16 * t);
    if (t < n_tokens) add_columns(QN_TYPE_F32, 1, bytes, n, act + t, first, acc + 16 * t);
}

void QN_AVX512(qn_matmul_decoded)(const qn_matmul *m, size_t panel_begin, size_t panel_end,
                                  size_t token_begin, size_t token_end)
{
    const size_t n_cols = m->w->n_cols, act_bytes = qn_act_row_bytes(QN_ACT_F32, n_cols);
    for (size_t t0 = token_begin; t0 < token_end; t0 += TOKEN_BLOCK) {
        const size_t n_tokens = qn_min_size(TOKEN_BLOCK, token_end - t0);
        const uint8_t *act[TOKEN_BLOCK];
        for (size_t t = 0; t < n_tokens; t++) act[t] = qn_matmul_act(m, act_bytes, t0 + t);
        for (size_t panel = panel_begin; panel < panel_end; panel++) {
            float acc[TOKEN_BLOCK][16] = {{0}};
            for (size_t k = 0; k < n_cols; k += COLUMNS) {
                const size_t n = qn_min_size(COLUMNS, n_cols - k);
                float w[COLUMNS][16];
                decode_chunk(w, m->w, panel, k, n);
                add_chunk(w[0], n, act, n_tokens, k, acc[0]);
            }
            for (size_t t = 0; t < n_tokens; t++) store_panel(m, panel, t0 + t, acc[t]);
        }
    }
}
