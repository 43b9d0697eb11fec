/* attention.c: where keys and values lie within a page. */
#include "kernel/attention.h"

#include "base/checked.h"

bool qn_kv_type_supported(qn_tensor_type type)
{
    return type == QN_TYPE_F32 || type == QN_TYPE_F16 || type == QN_TYPE_BF16 || type == QN_TYPE_Q8_0 ||
           type == QN_TYPE_Q4_0;
}

/* Bytes of n_head_kv heads of 64 positions, with the scales. */
static size_t part_bytes(qn_tensor_type type, size_t n_head_kv, size_t head_dim)
{
    return qn_round_up(qn_kv_scale_offset(type, n_head_kv, head_dim, n_head_kv), 64);
}

void qn_kv_layout_init(qn_kv_layout *l, qn_tensor_type type_k, qn_tensor_type type_v, size_t n_head_kv,
                       size_t head_dim_k, size_t head_dim_v)
{
    *l = (qn_kv_layout){.type_k = type_k,
                        .type_v = type_v,
                        .n_head_kv = n_head_kv,
                        .head_dim_k = head_dim_k,
                        .head_dim_v = head_dim_v};
    l->v_offset = part_bytes(type_k, n_head_kv, head_dim_k);
    l->layer_bytes = l->v_offset + part_bytes(type_v, n_head_kv, head_dim_v);
}

size_t qn_attention_scratch_rows(const qn_kv_layout *l, size_t n_head)
{
    return qn_round_up(qn_max_size(n_head / l->n_head_kv, QN_ATTENTION_ROWS), 48);
}

/* Per row: scores, sums of values, a partial result, six floats; and a page of keys, a panel of values, the
 * chunk's scales. */
size_t qn_attention_scratch_bytes(const qn_kv_layout *l, size_t n_head)
{
    const size_t row = QN_ATTENTION_CHUNK + QN_ATTENTION_SUMS + qn_attention_partial_floats(l) + 6;
    const size_t shared = QN_PAGE_POSITIONS * l->head_dim_k + QN_ATTENTION_PANEL + QN_ATTENTION_CHUNK * 2;
    return qn_round_up((qn_attention_scratch_rows(l, n_head) * row + shared) * sizeof(float), 64);
}
