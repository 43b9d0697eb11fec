/* matmul_float_avx512.c: AVX-512 products of weights that are float32 or become it: F32, F16, BF16, and the
 * types that are decoded on the way. Per output one chain over the columns, ascending, as in
 * ref/matmul_float.c. */
#include "kernel/table_matrix.h"
#include "kernel/x86/matmul_avx512.h"
#include "quant/decode.h"

enum { COLUMNS = 256 }; /* of a chunk: a multiple of every block */

/* The weights of one column. */
QN_INLINE __m512 load_weights(const uint8_t *p, qn_tensor_type type)
{
    if (type == QN_TYPE_F32) return _mm512_loadu_ps((const float *)(const void *)p);
    if (type == QN_TYPE_F16) return load_f16((const uint16_t *)(const void *)p);
    const __m256i halves = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

/* Of P panels, each with its own weights: acc += w * x over n columns; the activations begin at column
 * `first`. acc: [P][T][16], the panels acc_stride floats apart. */
QN_INLINE void add_columns(qn_tensor_type type, int P, int T, const uint8_t *const panel[], size_t n,
                           const uint8_t *const act[], size_t first, float *acc, size_t acc_stride,
                           bool from_memory)
{
    const uint8_t *w[STREAMS];
    const float *x[GROUP];
    __m512 sum[STREAMS][GROUP];
    QN_EACH (t, T) x[t] = (const float *)(const void *)act[t] + first;
    QN_EACH (p, P) {
        w[p] = panel[p];
        QN_EACH (t, T) sum[p][t] = _mm512_loadu_ps(acc + (size_t)p * acc_stride + 16 * t);
    }
    for (size_t k = 0; k < n; k++) {
        __m512 v[STREAMS];
        QN_EACH (p, P) {
            const uint8_t *at = w[p] + k * panel_block_bytes(type);
            v[p] = load_weights(at, type);
            if (from_memory) _mm_prefetch((const char *)at + PREFETCH, _MM_HINT_T0);
        }
        QN_EACH (t, T) {
            const __m512 y = _mm512_set1_ps(x[t][k]);
            QN_EACH (p, P) sum[p][t] = _mm512_fmadd_ps(v[p], y, sum[p][t]);
        }
    }
    QN_EACH (p, P)
        QN_EACH (t, T) _mm512_storeu_ps(acc + (size_t)p * acc_stride + 16 * t, sum[p][t]);
}

/* ---- few tokens: panels as they lie, in turns ---- */

enum { TURN = 32 }; /* columns before the next panel has its turn, if there are not four */

QN_INLINE void float_product(qn_tensor_type type, int T, const uint8_t *const panel[], size_t n_panels,
                             size_t n_cols, bool from_memory, const uint8_t *const act[], float *acc)
{
    const size_t stride = (size_t)T * 16;
    memset(acc, 0, n_panels * stride * sizeof *acc);
    if (n_panels == STREAMS) {
        add_columns(type, STREAMS, T, panel, n_cols, act, 0, acc, stride, from_memory);
        return;
    }
    for (size_t k = 0; k < n_cols; k += TURN) {
        for (size_t s = 0; s < n_panels; s++) {
            const uint8_t *at = panel[s] + k * panel_block_bytes(type);
            add_columns(type, 1, T, &at, qn_min_size(TURN, n_cols - k), act, k, acc + s * stride, stride,
                        from_memory);
        }
    }
}

/* ---- many tokens: two panels at once ----
 *
 * Eight tokens by two panels are 16 chains, and every activation that is loaded is used twice. Columns that
 * many groups of tokens meet are made float32 once, and are few enough to stay in the first-level cache. */

enum { PAIR = 2, TOKENS = 8, NARROW = 128, GROUPS_AS_PACKED = 2 };

/* Of a pair of panels, or of one: n columns, at most NARROW at once, for all tokens. acc:
 * [PAIR][TOKEN_BLOCK][16]. */
#define ADD_CHUNK(P, T)                                                                                      \
    add_columns(type, P, T, w, n, act + t, first, acc[0][t], TOKEN_BLOCK * 16, from_memory)
QN_INLINE void add_chunk(qn_tensor_type type, const uint8_t *const w[PAIR], size_t n_panels, size_t n,
                         const uint8_t *const act[], size_t n_tokens, size_t first,
                         float acc[PAIR][TOKEN_BLOCK][16], bool from_memory)
{
    size_t t = 0;
    if (n_panels == PAIR) {
        for (; t + TOKENS <= n_tokens; t += TOKENS) ADD_CHUNK(PAIR, 8);
        for (; t + 2 <= n_tokens; t += 2) ADD_CHUNK(PAIR, 2);
        if (t < n_tokens) ADD_CHUNK(PAIR, 1);
    } else {
        for (; t + TOKENS <= n_tokens; t += TOKENS) ADD_CHUNK(1, 8);
        for (; t + 2 <= n_tokens; t += 2) ADD_CHUNK(1, 2);
        if (t < n_tokens) ADD_CHUNK(1, 1);
    }
}
#undef ADD_CHUNK

static void add_expanded(float w[PAIR][COLUMNS][16], size_t n_panels, size_t n, const uint8_t *const act[],
                         size_t n_tokens, size_t first, float acc[PAIR][TOKEN_BLOCK][16])
{
    for (size_t k = 0; k < n; k += NARROW) {
        const uint8_t *const chunk[PAIR] = {(const uint8_t *)w[0][k], (const uint8_t *)w[1][k]};
        add_chunk(QN_TYPE_F32, chunk, n_panels, qn_min_size(NARROW, n - k), act, n_tokens, first + k, acc,
                  false);
    }
}

/* From the file's rows; the rows that are missing are zeros. */
static void decode_chunk(float (*w)[16], const qn_matrix *matrix, size_t panel, size_t first, size_t n)
{
    qn_decode_fn *decode = qn_decode_get(matrix->type);
    const size_t n_rows = qn_min_size(16, matrix->n_rows - panel * 16), row_bytes = matrix->panel_bytes / 16;
    const uint8_t *source = matrix->data + panel * matrix->panel_bytes + qn_row_bytes(matrix->type, first);
    if (n_rows < 16) memset(w, 0, n * sizeof *w);
    for (size_t r = 0; r < n_rows; r++) {
        float row[COLUMNS];
        decode(source + r * row_bytes, row, n);
        for (size_t k = 0; k < n; k++) w[k][r] = row[k];
    }
}

/* A function each: the product with all columns of a pair of panels, or of one. */
typedef void pair_fn(const qn_matrix *matrix, size_t panel, size_t n_panels, const uint8_t *const act[],
                     size_t n_tokens, float acc[PAIR][TOKEN_BLOCK][16]);

static void decoded_pair(const qn_matrix *matrix, size_t panel, size_t n_panels, const uint8_t *const act[],
                         size_t n_tokens, float acc[PAIR][TOKEN_BLOCK][16])
{
    _Alignas(64) float w[PAIR][COLUMNS][16];
    for (size_t k = 0; k < matrix->n_cols; k += COLUMNS) {
        const size_t n = qn_min_size(COLUMNS, matrix->n_cols - k);
        for (size_t p = 0; p < n_panels; p++) decode_chunk(w[p], matrix, panel + p, k, n);
        add_expanded(w, n_panels, n, act, n_tokens, k, acc);
    }
}

QN_INLINE void packed_pair(qn_tensor_type type, const qn_matrix *matrix, size_t panel, size_t n_panels,
                           const uint8_t *const act[], size_t n_tokens, float acc[PAIR][TOKEN_BLOCK][16])
{
    const size_t column_bytes = panel_block_bytes(type);
    _Alignas(64) float w[PAIR][COLUMNS][16];
    for (size_t k = 0; k < matrix->n_cols; k += NARROW) {
        const size_t n = qn_min_size(NARROW, matrix->n_cols - k);
        const uint8_t *at[PAIR];
        for (size_t p = 0; p < n_panels; p++)
            at[p] = matrix->data + (panel + p) * matrix->panel_bytes + k * column_bytes;
        if (type == QN_TYPE_F32 || n_tokens <= GROUPS_AS_PACKED * TOKENS) {
            add_chunk(type, at, n_panels, n, act, n_tokens, k, acc, true);
            continue;
        }
        for (size_t p = 0; p < n_panels; p++) {
            for (size_t i = 0; i < n; i++) {
                prefetch(at[p] + i * column_bytes + NARROW * column_bytes, 1);
                _mm512_storeu_ps(w[p][i], load_weights(at[p] + i * column_bytes, type));
            }
        }
        add_expanded(w, n_panels, n, act, n_tokens, k, acc);
    }
}

QN_INLINE void multiply_pairs(pair_fn *fn, const qn_matmul *m, size_t panel_begin, size_t panel_end,
                              size_t token_begin, size_t token_end)
{
    const size_t act_bytes = qn_act_row_bytes(QN_ACT_F32, m->w->n_cols);
    for (size_t t0 = token_begin; t0 < token_end; t0 += TOKEN_BLOCK) {
        const size_t n_tokens = qn_min_size(TOKEN_BLOCK, token_end - t0);
        const uint8_t *act[TOKEN_BLOCK];
        for (size_t t = 0; t < n_tokens; t++) act[t] = qn_matmul_act(m, act_bytes, t0 + t);
        for (size_t panel = panel_begin; panel < panel_end; panel += PAIR) {
            const size_t n_panels = qn_min_size(PAIR, panel_end - panel);
            float acc[PAIR][TOKEN_BLOCK][16];
            for (size_t p = 0; p < n_panels; p++) memset(acc[p], 0, n_tokens * sizeof acc[p][0]);
            fn(m->w, panel, n_panels, act, n_tokens, acc);
            for (size_t p = 0; p < n_panels; p++)
                for (size_t t = 0; t < n_tokens; t++) store_panel(m, panel + p, t0 + t, acc[p][t]);
        }
    }
}

/* ---- one function per type ---- */

#define FLOAT(name, TYPE)                                                                                    \
    QN_DEFINE_FEW(name, TYPE, float_product)                                                                 \
    static void pair_##name(const qn_matrix *matrix, size_t panel, size_t n_panels,                          \
                            const uint8_t *const act[], size_t n_tokens, float acc[PAIR][TOKEN_BLOCK][16])   \
    {                                                                                                        \
        packed_pair(QN_TYPE_##TYPE, matrix, panel, n_panels, act, n_tokens, acc);                            \
    }                                                                                                        \
    void QN_AVX512(qn_matmul_##name)(const qn_matmul *m, size_t panel_begin, size_t panel_end,               \
                                     size_t token_begin, size_t token_end)                                   \
    {                                                                                                        \
        static const panel_fns fns = QN_FNS(name, NULL, NULL);                                               \
        if (token_end - token_begin <= FEW)                                                                  \
            multiply(&fns, m, QN_ACT_F32, 1, panel_begin, panel_end, token_begin, token_end);                \
        else multiply_pairs(pair_##name, m, panel_begin, panel_end, token_begin, token_end);                 \
    }
FLOAT(f32, F32)
FLOAT(f16, F16)
FLOAT(bf16, BF16)

void QN_AVX512(qn_matmul_decoded)(const qn_matmul *m, size_t panel_begin, size_t panel_end,
                                  size_t token_begin, size_t token_end)
{
    multiply_pairs(decoded_pair, m, panel_begin, panel_end, token_begin, token_end);
}
