/* matrix.h: weight matrices as the kernels want them, and activations quantized to meet them.
 *
 * Weights are packed once at load into panels of 16 output rows ("P16"): within a block of 32 input
 * columns a 64-byte line g holds, for rows 0..15 in order, the four weights of columns 4g..4g+3. One
 * layout serves AVX-512 (a line is a register), AVX2 (two) and NEON (four). Types without an integer
 * product are kept as the file has them and decoded a panel at a time while multiplying.
 * src/kernel/README.md describes every layout.
 *
 * The order of arithmetic (contract C4): an output is one chain of float operations over ascending
 * blocks of columns, with explicit fused multiply-adds; integer sums within a block are exact. The
 * chain depends on the type and n_cols alone: not on the instruction set, on how many tokens or
 * panels are done at once, or on threads. So every variant equals the reference bit for bit. */
#ifndef QN_KERNEL_MATRIX_H
#define QN_KERNEL_MATRIX_H

#include "gguf/tensor_type.h"

enum { QN_PANEL_ROWS = 16 };

/* Of the packed form of all types. Packed weights are kept on disk and used again by later versions: a
 * change of what qn_matrix_pack writes for any type raises this number (tests/model/pack_file_test.c). */
enum { QN_MATRIX_LAYOUT = 1 };

typedef struct qn_matrix {
    qn_tensor_type type;   /* of the file's tensor */
    size_t n_rows, n_cols; /* outputs, inputs */
    const uint8_t *data;   /* qn_matrix_bytes(): panels, 64-byte aligned; see qn_matrix_is_packed */
    size_t panel_bytes;    /* distance of one panel of 16 rows to the next */
} qn_matrix;

/* True if a matrix of this type and width can be multiplied. */
bool qn_matrix_supported(qn_tensor_type type, size_t n_cols);

/* False for types that are multiplied straight from the file's rows: such a matrix needs no memory of
 * its own, its data points into the file (any alignment) and panel_bytes is 16 rows. */
bool qn_matrix_is_packed(qn_tensor_type type);

/* Bytes of the packed form, the last panel padded with zero rows. Dimensions are bounded by the file. */
size_t qn_matrix_panel_bytes(qn_tensor_type type, size_t n_cols);
static inline size_t qn_matrix_panels(size_t n_rows)
{
    return (n_rows + QN_PANEL_ROWS - 1) / QN_PANEL_ROWS;
}

/* Packs panels [begin, end) from the file's rows (`source`: whole tensor, unaligned) to dst (whole
 * matrix, 64-byte aligned). Panels are independent: threads may share the work. */
void qn_matrix_pack(qn_tensor_type type, size_t n_rows, size_t n_cols, const void *source, void *dst,
                    size_t panel_begin, size_t panel_end);

/* Activations: float32 rows made ready for one family of weight types.
 *   F32     as they are
 *   Q8_32   int8 with one float32 scale per 32 values, and sums of the 32 (legacy types, IQ4_NL, MXFP4)
 *   Q8_256  int8 with one float32 scale per 256, and sums of each 16 or 32 (K types and IQ4_XS)
 * scale = max|x| / 127 (0 for a zero block), q = round to nearest even, in [-127, 127]. */
typedef enum qn_act_format { QN_ACT_F32, QN_ACT_Q8_32, QN_ACT_Q8_256, QN_ACT_FORMATS } qn_act_format;

qn_act_format qn_matrix_act_format(qn_tensor_type type);

/* Bytes of one row of n_cols; rows lie one after the other (64-byte aligned). n_cols is a multiple of
 * the block of every type that will meet it. */
size_t qn_act_row_bytes(qn_act_format format, size_t n_cols);

typedef struct qn_matmul {
    const qn_matrix *w;
    const void *act; /* rows in w's act format */
    float *y;        /* y[row * y_stride + output] */
    size_t y_stride;
    const float *bias;        /* [n_rows] or NULL, added last */
    bool add;                 /* add to what y holds instead of overwriting it: y + (product + bias) */
    const int32_t *act_index; /* token t reads activation row act_index[t]; NULL: row t */
    const int32_t *y_index;   /* and writes output row y_index[t]; NULL: row t. No duplicates. */
} qn_matmul;

/* Few tokens: kernels may read as many panels at once, so pieces of a multiple of that are good. */
enum { QN_PANELS_AT_ONCE = 4 };

/* Tokens [token_begin, token_end) times panels [panel_begin, panel_end). Any split gives the same bits. */
typedef void qn_matmul_fn(const qn_matmul *m, size_t panel_begin, size_t panel_end, size_t token_begin,
                          size_t token_end);

/* Makes one activation row of x [n_cols]. Not-finite values give a scale that is not finite or zero
 * quants, never undefined behaviour. */
typedef void qn_act_row_fn(void *row, const float *x, size_t n_cols);

#endif
