/* matrix.c: which types have panels, of what size, and what activations they meet. */
#include "kernel/matrix.h"

#include "kernel/pack.h"
#include "quant/decode.h"

/* One row per type that can be multiplied. */
typedef struct qn_matrix_type {
    qn_pack_fn *pack; /* NULL: decoded from the file's rows while multiplying */
    qn_act_format act;
    bool known;
} qn_matrix_type;

static const qn_matrix_type *matrix_type(qn_tensor_type type)
{
    static const qn_matrix_type types[QN_TYPE_LIMIT] = {
        [QN_TYPE_F32] = {qn_pack_f32, QN_ACT_F32, true},
        [QN_TYPE_F16] = {qn_pack_16bit, QN_ACT_F32, true},
        [QN_TYPE_BF16] = {qn_pack_16bit, QN_ACT_F32, true},
        [QN_TYPE_Q4_0] = {qn_pack_q4_0, QN_ACT_Q8_32, true},
        [QN_TYPE_Q4_1] = {qn_pack_q4_1, QN_ACT_Q8_32, true},
        [QN_TYPE_Q5_0] = {qn_pack_q5_0, QN_ACT_Q8_32, true},
        [QN_TYPE_Q5_1] = {qn_pack_q5_1, QN_ACT_Q8_32, true},
        [QN_TYPE_Q8_0] = {qn_pack_q8_0, QN_ACT_Q8_32, true},
        [QN_TYPE_IQ4_NL] = {qn_pack_q4_0, QN_ACT_Q8_32, true},
        [QN_TYPE_MXFP4] = {qn_pack_mxfp4, QN_ACT_Q8_32, true},
        [QN_TYPE_Q2_K] = {qn_pack_q2_k, QN_ACT_Q8_256, true},
        [QN_TYPE_Q3_K] = {qn_pack_q3_k, QN_ACT_Q8_256, true},
        [QN_TYPE_Q4_K] = {qn_pack_q4_k, QN_ACT_Q8_256, true},
        [QN_TYPE_Q5_K] = {qn_pack_q5_k, QN_ACT_Q8_256, true},
        [QN_TYPE_Q6_K] = {qn_pack_q6_k, QN_ACT_Q8_256, true},
        [QN_TYPE_IQ4_XS] = {qn_pack_iq4_xs, QN_ACT_Q8_256, true},
    };
    static const qn_matrix_type decoded = {NULL, QN_ACT_F32, true};
    if ((unsigned)type >= QN_TYPE_LIMIT) return NULL;
    if (types[type].known) return &types[type];
    return qn_decode_get(type) != NULL ? &decoded : NULL;
}

bool qn_matrix_supported(qn_tensor_type type, size_t n_cols)
{
    return matrix_type(type) != NULL && n_cols > 0 &&
           n_cols % qn_tensor_type_get((uint32_t)type)->block_values == 0;
}

bool qn_matrix_is_packed(qn_tensor_type type)
{
    const qn_matrix_type *t = matrix_type(type);
    return t != NULL && t->pack != NULL;
}

size_t qn_matrix_panel_bytes(qn_tensor_type type, size_t n_cols)
{
    return QN_PANEL_ROWS * qn_row_bytes(type, n_cols);
}

void qn_matrix_pack(qn_tensor_type type, size_t n_rows, size_t n_cols, const void *source, void *dst,
                    size_t panel_begin, size_t panel_end)
{
    qn_pack_fn *pack = matrix_type(type)->pack;
    const size_t row_bytes = qn_row_bytes(type, n_cols), panel_bytes = QN_PANEL_ROWS * row_bytes;
    for (size_t p = panel_begin; p < panel_end; p++) {
        const size_t rows = n_rows - p * QN_PANEL_ROWS;
        pack((uint8_t *)dst + p * panel_bytes, (const uint8_t *)source + p * panel_bytes, row_bytes,
             rows < QN_PANEL_ROWS ? rows : QN_PANEL_ROWS, n_cols);
    }
}

qn_act_format qn_matrix_act_format(qn_tensor_type type)
{
    return matrix_type(type)->act;
}

size_t qn_act_row_bytes(qn_act_format format, size_t n_cols)
{
    size_t bytes = n_cols * sizeof(float);
    if (format == QN_ACT_Q8_32) bytes = n_cols / 32 * sizeof(qn_act_q8_32);
    if (format == QN_ACT_Q8_256) bytes = n_cols / 256 * sizeof(qn_act_q8_256);
    return (bytes + 63) / 64 * 64;
}
