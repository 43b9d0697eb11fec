/* attention.h: scaled dot-product attention over a paged cache of keys and values (Vaswani et al. 2017,
 * arXiv:1706.03762; one key head for several query heads: Ainslie et al. 2023, arXiv:2305.13245).
 *
 * A page holds 64 positions of one layer. Keys of a head lie in tiles of 16 positions, transposed:
 * [n_head_kv][4][head_dim_k][16], so that the scores of 16 keys come out as one vector; values lie
 * [n_head_kv][64][head_dim_v]. Any head_dim goes; multiples of 16 are fastest. Types: F32, F16, BF16, and
 *
 *   Q8_0   int8 with one float32 scale per position and head; the scales lie behind all quants of the page's
 *          keys, or values: [n_head_kv][64].
 *   Q4_0   codes 0..15 for -8..7 with one scale per position, head and group of 32 dimensions, behind the
 *          codes: [n_head_kv][n_groups][64], as BF16, which has all magnitudes of a float. head_dim is filled
 *          up to whole groups with zeros, 16 bytes of codes each. A tile of keys is [16 n_groups][16] bytes,
 *          where byte line i holds dimension 2 i in its low and 2 i + 1 in its high half; a value is
 *          [n_groups][16], where byte i of a group holds dimensions i and i + 16, as in GGUF's Q4_0.
 *
 * Keys and values are read as float32: F16 and BF16 exactly, Q8_0 as the bare integers, whose scale comes in
 * later, Q4_0 as (code - 8) * scale, which is exact too (4 bits times 8), or infinite.
 *
 * The order of arithmetic (contract C4). The keys of a query are walked in chunks of 256 positions that
 * begin at absolute multiples of 256. Within a chunk a score is one chain over the dimensions, ascending:
 * acc = fma(q, k, acc); score = acc * scale, for Q8_0 keys (acc * key's scale) * scale; then the soft cap,
 * then score = fma(-slope, distance, score) where heads have slopes. The chunk gives a
 * partial result: the greatest score m, the sum l of p = exp(score - m) in 16 stripes (as in vector.h,
 * by position % 16), and the vector acc = fma(p, value, acc), positions ascending (for Q8_0 values
 * fma(p * value's scale, value, acc)). Partials are joined in ascending order into (M, L, O), which starts
 * as (-inf, 0, 0): with M' = max(M, m), f = exp(M - M'), g = exp(m - M'): L = fma(l, g, L * f),
 * O = fma(acc, g, O * f). A sink joins last, as a partial with m = sink, l = 1, acc = 0. The result is
 * O * (1 / L). (Online softmax: Milakov and Gimelshein 2018, arXiv:1805.02867; tiles as in FlashAttention:
 * Dao et al. 2022, arXiv:2205.14135.) A position that a query may not see takes no part in any of this,
 * so whatever lies there does not matter. The result for a query depends on its position, the window,
 * and the keys and values alone, in prefill and decode alike. */
#ifndef QN_KERNEL_ATTENTION_H
#define QN_KERNEL_ATTENTION_H

#include "gguf/tensor_type.h"

#include <stdint.h>

enum {
    QN_PAGE_POSITIONS = 64,
    QN_TILE_POSITIONS = 16,   /* keys that lie side by side */
    QN_KV_GROUP = 32,         /* dimensions that share a scale in Q4_0 */
    QN_ATTENTION_CHUNK = 256, /* positions of one partial result */
    QN_ATTENTION_ROWS = 96,   /* query heads that are worked on together in prefill */
    QN_ATTENTION_PANEL =
        128 * 64, /* values, and, per row, sums of them that a kernel may have in its scratch */
    QN_ATTENTION_SUMS = 64
};

typedef struct qn_kv_layout {
    qn_tensor_type type_k, type_v; /* F32, F16, BF16, Q8_0 or Q4_0 */
    size_t n_head_kv, head_dim_k, head_dim_v;
    size_t v_offset, layer_bytes; /* of one layer's part of a page; multiples of 64 */
} qn_kv_layout;

bool qn_kv_type_supported(qn_tensor_type type);
static inline size_t qn_kv_groups(size_t head_dim)
{
    return (head_dim + QN_KV_GROUP - 1) / QN_KV_GROUP;
}
/* Of one element; Q4_0: of two. */
static inline size_t qn_kv_elem_bytes(qn_tensor_type type)
{
    return type == QN_TYPE_F32 ? 4 : type == QN_TYPE_F16 || type == QN_TYPE_BF16 ? 2 : 1;
}
/* Of the elements of one head at one position. */
static inline size_t qn_kv_row_bytes(qn_tensor_type type, size_t head_dim)
{
    if (type == QN_TYPE_Q4_0) return qn_kv_groups(head_dim) * (QN_KV_GROUP / 2);
    return head_dim * qn_kv_elem_bytes(type);
}
/* Of its scales. */
static inline size_t qn_kv_scale_bytes(qn_tensor_type type, size_t head_dim)
{
    if (type == QN_TYPE_Q4_0) return qn_kv_groups(head_dim) * sizeof(uint16_t);
    return type == QN_TYPE_Q8_0 ? sizeof(float) : 0;
}
/* Where the scales of a head begin, counted from where the page's keys, or values, begin. */
static inline size_t qn_kv_scale_offset(qn_tensor_type type, size_t n_head_kv, size_t head_dim, size_t head)
{
    return QN_PAGE_POSITIONS *
           (n_head_kv * qn_kv_row_bytes(type, head_dim) + head * qn_kv_scale_bytes(type, head_dim));
}

/* Fills in the offsets. Dimensions have been bounded at load. */
void qn_kv_layout_init(qn_kv_layout *l, qn_tensor_type type_k, qn_tensor_type type_v, size_t n_head_kv,
                       size_t head_dim_k, size_t head_dim_v);

/* Writes one position: k [n_head_kv][head_dim_k], v [n_head_kv][head_dim_v], to slot 0..63 of the
 * layer's part of a page (64-byte aligned). F16, BF16: nearest even. Q8_0: scale = max|x| / 127, quants =
 * x * (1 / scale) rounded to nearest even, in [-127, 127]; a vector that is not finite gets a scale that is
 * not. Q4_0: scale and inverse from kv_q4_0.h, code - 8 = x * inverse rounded to nearest even, in [-8, 7]; a
 * group that is not finite gets a scale that is not. NaN is quantized as the least. */
typedef void qn_kv_write_fn(const qn_kv_layout *l, void *page, size_t slot, const float *k, const float *v);

/* Consecutive new positions of one sequence. */
typedef struct qn_attention {
    qn_kv_layout layout;
    const char *layer_base; /* page p of this layer begins at layer_base + p * page_stride */
    size_t page_stride;
    const int32_t *pages; /* page of positions [64 i, 64 i + 64); entries before the window may be -1 */
    size_t n_head;        /* a multiple of n_head_kv */
    float scale, softcap; /* score = scale * q.k; softcap > 0: cap * tanh(score / cap) */
    int32_t window;       /* > 0: a query at p sees positions p - window + 1 .. p; 0: all up to p */
    int32_t length;   /* > 0: attention both ways, every query sees positions 0 .. length - 1, and there is
                         no window; 0: as above */
    int32_t position; /* of the first query; query i stands at position + i */
    const float *q;   /* [n_tokens][q_stride], heads of head_dim_k side by side */
    float *out;       /* [n_tokens][out_stride], heads of head_dim_v side by side */
    size_t q_stride, out_stride;
    const float *sinks;  /* [n_head]: a score that takes part in the softmax without a value; or NULL */
    const float *slopes; /* [n_head]: a key n positions away from the query scores slope * n less (ALiBi:
                            Press et al. 2021, arXiv:2108.12409); or NULL */
} qn_attention;

/* Rows (query heads of tokens) that the scratch has room for: a multiple of 16, as vectors want, and of 6, as
 * register tiles do. */
size_t qn_attention_scratch_rows(const qn_kv_layout *l, size_t n_head);
/* Scratch per thread, bytes, 64-byte aligned; for all instruction sets. */
size_t qn_attention_scratch_bytes(const qn_kv_layout *l, size_t n_head);

/* All keys for queries [token_begin, token_end) and the query heads of one kv head; writes out. Keys and
 * values of these tokens have been written before. Any split of the tokens gives the same bits; pieces of
 * QN_ATTENTION_ROWS / (n_head / n_head_kv) tokens are efficient. */
typedef void qn_attention_fn(const qn_attention *a, size_t head_kv, size_t token_begin, size_t token_end,
                             void *scratch);

/* The same in two steps, for few queries over many keys: the partial result of one chunk of keys (chunk c:
 * positions [256 c, 256 c + 256), at least one of them visible) for the query heads of one kv head of query
 * `token`, written to partial [n_head / n_head_kv][qn_attention_partial_floats] as acc, m, l; then the join
 * of all chunks that the query sees, whose partials lie partial_stride floats apart, into out. */
static inline size_t qn_attention_partial_floats(const qn_kv_layout *l)
{
    return (l->head_dim_v + 2 + 15) / 16 * 16;
}
typedef void qn_attention_chunk_fn(const qn_attention *a, size_t head_kv, size_t token, size_t chunk,
                                   float *partial, void *scratch);

/* A query whose partial result of a chunk is wanted. */
typedef struct qn_attention_query {
    size_t token;   /* its row of q */
    float *partial; /* as above */
} qn_attention_query;
/* The same chunk for several queries, which may be of different sequences whose page tables have the same
 * pages there: its keys and values are read once for all. Each sees all positions of the chunk, wherever it
 * stands, so `position` is not looked at; there are no slopes. At most QN_ATTENTION_ROWS / (n_head /
 * n_head_kv) queries, or one. */
typedef void qn_attention_chunk_many_fn(const qn_attention *a, size_t head_kv,
                                        const qn_attention_query *queries, size_t n_queries, size_t chunk,
                                        void *scratch);
typedef void qn_attention_join_fn(const qn_attention *a, size_t head_kv, size_t token, size_t n_chunks,
                                  const float *partials, size_t partial_stride);

/* The first position that the query at `position` sees. */
static inline size_t qn_attention_first(int32_t position, int32_t window)
{
    return (size_t)(window > 0 && position >= window ? position - window + 1 : 0);
}

/* The last position that query `token` sees. What it sees is what a query sees that stands there. */
static inline int32_t qn_attention_last(const qn_attention *a, size_t token)
{
    return a->length > 0 ? a->length - 1 : a->position + (int32_t)token;
}

/* The chunks of keys that end with `last`, the last position that a query sees: [*begin, *end). */
static inline void qn_attention_chunks(int32_t last, int32_t window, size_t *begin, size_t *end)
{
    *begin = qn_attention_first(last, window) / QN_ATTENTION_CHUNK;
    *end = (size_t)last / QN_ATTENTION_CHUNK + 1;
}

#endif
