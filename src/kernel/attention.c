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
    return qn_round_up(qn_max_size(n_head / l->n_head_kv, QN_ATTENTION_ROWS), 12);
}

/* Per row: scores, a packed query, a partial result, four floats; and a tile of keys, 16 dimensions of a
 * chunk's values, the chunk's scales. */
size_t qn_attention_scratch_bytes(const qn_kv_layout *l, size_t n_head)
{
    const size_t row = QN_ATTENTION_CHUNK + l->head_dim_k + qn_attention_partial_floats(l) + 4;
    const size_t shared = QN_TILE_POSITIONS * l->head_dim_k + QN_ATTENTION_CHUNK * (16 + 2);
    return qn_round_up((qn_attention_scratch_rows(l, n_head) * row + shared) * sizeof(float), 64);
}
