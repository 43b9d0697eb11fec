/* matmul_float_avx2.c: AVX2 products of weights that are float32 or become it: F32, F16, BF16, and the types
 * that are decoded on the way. Per output one chain over the columns, ascending, as in ref/matmul_float.c;
 * four tokens give the eight chains that keep both multipliers busy. */
#include "kernel/table_matrix.h"
#include "kernel/x86/matmul_avx2.h"
#include "quant/decode.h"

enum {
    COLUMNS = 256, /* of a chunk */
    UNIT = 32,     /* divides the block of every decoded type */
    TURN = 16      /* columns before the next of several panels has its turn */
};

/* Expanded blocks, of one column or of UNIT. */
typedef float column_block[16];
typedef float unit_block[UNIT][16];

/* Eight weights of one column. */
QN_INLINE __m256 load_weights(const uint8_t *p, qn_tensor_type type, size_t index)
{
    if (type == QN_TYPE_F32) return _mm256_loadu_ps((const float *)(const void *)p + index);
    const __m128i halves = _mm_loadu_si128((const __m128i *)(const void *)(p + 2 * index));
    if (type == QN_TYPE_F16) return _mm256_cvtph_ps(halves);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

/* acc += w * x over n columns of 16 rows. */
QN_INLINE void float_product(qn_tensor_type type, int T, const uint8_t *w, size_t n,
                             const uint8_t *const act[], size_t act_offset, float *acc, bool from_memory)
{
    const size_t column_bytes = panel_block_bytes(type);
    const float *x[GROUP];
    __m256 sum[GROUP][2];
    QN_EACH (t, T) {
        x[t] = (const float *)(const void *)(act[t] + act_offset);
        QN_EACH (h, 2) sum[t][h] = _mm256_loadu_ps(acc + 16 * t + 8 * h);
    }
    for (size_t k = 0; k < n; k++, w += column_bytes) {
        if (from_memory) prefetch(w + PREFETCH, 1);
        const __m256 w0 = load_weights(w, type, 0), w1 = load_weights(w, type, 8);
        QN_EACH (t, T) {
            const __m256 v = _mm256_set1_ps(x[t][k]);
            sum[t][0] = _mm256_fmadd_ps(w0, v, sum[t][0]);
            sum[t][1] = _mm256_fmadd_ps(w1, v, sum[t][1]);
        }
    }
    QN_EACH (t, T)
        QN_EACH (h, 2) _mm256_storeu_ps(acc + 16 * t + 8 * h, sum[t][h]);
}

QN_INLINE void float_direct(qn_tensor_type type, int T, const uint8_t *const panel[], size_t n_panels,
                            size_t n, const uint8_t *const act[], float *acc)
{
    for (size_t k = 0; k < n; k += TURN)
        for (size_t s = 0; s < n_panels; s++)
            float_product(type, T, panel[s] + k * panel_block_bytes(type), qn_min_size(TURN, n - k), act,
                          k * sizeof(float), acc + s * GROUP * 16, true);
}

QN_INLINE void column_chunk(qn_tensor_type type, int T, const uint8_t *chunk, size_t n_blocks,
                            const uint8_t *const act[], size_t act_offset, float *acc)
{
    float_product(type, T, chunk, n_blocks, act, act_offset, acc, false);
}
QN_INLINE void unit_chunk(qn_tensor_type type, int T, const uint8_t *chunk, size_t n_blocks,
                          const uint8_t *const act[], size_t act_offset, float *acc)
{
    float_product(type, T, chunk, n_blocks * UNIT, act, act_offset, acc, false);
}

QN_INLINE void float_expand(qn_tensor_type type, float *chunk, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n * 16; i += 8) _mm256_storeu_ps(chunk + i, load_weights(p, type, i));
}

/* rows [8][stride] to columns [8][16], 8 of each. */
QN_INLINE void transpose_8(float *out, const float *rows, size_t stride)
{
    __m256 r[8], s[8];
    QN_EACH (i, 8) r[i] = _mm256_loadu_ps(rows + (size_t)i * stride);
    QN_EACH (i, 4) {
        s[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        s[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    QN_EACH (i, 2) {
        r[4 * i] = _mm256_shuffle_ps(s[4 * i], s[4 * i + 2], 0x44);
        r[4 * i + 1] = _mm256_shuffle_ps(s[4 * i], s[4 * i + 2], 0xee);
        r[4 * i + 2] = _mm256_shuffle_ps(s[4 * i + 1], s[4 * i + 3], 0x44);
        r[4 * i + 3] = _mm256_shuffle_ps(s[4 * i + 1], s[4 * i + 3], 0xee);
    }
    QN_EACH (i, 4) {
        _mm256_storeu_ps(out + 16 * i, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(out + 16 * (i + 4), _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

/* Blocks of UNIT columns from the file's rows; the rows that are missing are zeros. */
static void expand_decoded(void *chunk, const qn_matrix *w, size_t panel, size_t block, size_t n_blocks)
{
    qn_decode_fn *decode = qn_decode_get(w->type);
    const size_t n_rows = qn_min_size(16, w->n_rows - panel * 16), row_bytes = w->panel_bytes / 16,
                 n = n_blocks * UNIT;
    const uint8_t *source = w->data + panel * w->panel_bytes + qn_row_bytes(w->type, block * UNIT);
    float rows[16][COLUMNS];
    for (size_t r = 0; r < n_rows; r++) decode(source + r * row_bytes, rows[r], n);
    for (size_t r = n_rows; r < 16; r++) memset(rows[r], 0, n * sizeof rows[r][0]);
    for (size_t k = 0; k < n; k += 8)
        for (size_t h = 0; h < 16; h += 8) transpose_8((float *)chunk + 16 * k + h, rows[h] + k, COLUMNS);
}

/* ---- one set of functions per type ---- */

#define QN_ACT_TRAITS_COLUMN .block_columns = 1, .act = QN_ACT_F32, .act_block_bytes = sizeof(float)
#define QN_ACT_TRAITS_UNIT   .block_columns = UNIT, .act = QN_ACT_F32, .act_block_bytes = UNIT * sizeof(float)

/* Whatever the type, a chunk is float32. */
QN_TOKENS_4(QN_DEFINE_CHUNK, column, column, F32)
QN_TOKENS_4(QN_DEFINE_CHUNK, unit, unit, F32)

#define FLOAT(name, TYPE)                                                                                    \
    QN_TOKENS_4(QN_DEFINE_DIRECT, float, name, TYPE)                                                         \
    QN_DEFINE_EXPAND(float, name, TYPE)                                                                      \
    QN_DEFINE_MATMUL(name, 4, 8, column, 4, column_block, COLUMNS, COLUMN)
FLOAT(f32, F32)
FLOAT(f16, F16)
FLOAT(bf16, BF16)

QN_DEFINE_MATMUL(decoded, 0, 0, unit, 4, unit_block, COLUMNS / UNIT, UNIT)
