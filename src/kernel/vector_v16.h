/* vector_v16.h: the operations on rows, written once over v16 and included by one file per instruction
 * set, which defines QN_ISA(name), the function's name there. The order of arithmetic is that of
 * ref/vector.c. */
#ifndef QN_KERNEL_VECTOR_V16_H
#define QN_KERNEL_VECTOR_V16_H

#include "kernel/table_vector.h"
#include "kernel/v16.h"

QN_INLINE size_t lanes_left(size_t i, size_t n)
{
    return n - i < 16 ? n - i : 16;
}

/* for i = 0, 16, ...: `lanes` elements (16, in the end perhaps less) begin at i. */
#define QN_FOR_LANES(i, lanes, n)                                                                            \
    for (size_t i = 0, lanes; i < (n) && (lanes = lanes_left(i, n), true); i += 16)

/* Lanes that are beyond the end are zero in a sum and nothing in a maximum. */
QN_INLINE v16 keep_lanes(v16 a, size_t lanes, float other)
{
    return lanes == 16 ? a : v16_select(v16_lanes(0, (int)lanes), a, v16_set1(other));
}

void QN_ISA(qn_rms_norm)(float *y, const float *x, const float *weight, size_t n, float eps)
{
    v16 squares = v16_zero();
    QN_FOR_LANES (i, lanes, n) {
        const v16 value = v16_load_n(x + i, lanes);
        squares = v16_fma(value, value, squares);
    }
    const v16 scale = v16_set1(1.0f / sqrtf(v16_sum(squares) / (float)n + eps));
    QN_FOR_LANES (i, lanes, n) {
        v16 value = v16_mul(v16_load_n(x + i, lanes), scale);
        if (weight) value = v16_mul(value, v16_load_n(weight + i, lanes));
        v16_store_n(y + i, value, lanes);
    }
}

void QN_ISA(qn_layer_norm)(float *y, const float *x, const float *weight, const float *bias, size_t n,
                           float eps)
{
    v16 sum = v16_zero(), squares = v16_zero();
    QN_FOR_LANES (i, lanes, n) sum = v16_add(sum, v16_load_n(x + i, lanes));
    const v16 mean = v16_set1(v16_sum(sum) / (float)n);
    QN_FOR_LANES (i, lanes, n) {
        const v16 value = keep_lanes(v16_sub(v16_load_n(x + i, lanes), mean), lanes, 0.0f);
        squares = v16_fma(value, value, squares);
    }
    const v16 scale = v16_set1(1.0f / sqrtf(v16_sum(squares) / (float)n + eps));
    QN_FOR_LANES (i, lanes, n) {
        v16 value = v16_mul(v16_sub(v16_load_n(x + i, lanes), mean), scale);
        if (weight) value = v16_mul(value, v16_load_n(weight + i, lanes));
        if (bias) value = v16_add(value, v16_load_n(bias + i, lanes));
        v16_store_n(y + i, value, lanes);
    }
}

void QN_ISA(qn_add)(float *y, const float *x, size_t n)
{
    QN_FOR_LANES (i, lanes, n)
        v16_store_n(y + i, v16_add(v16_load_n(y + i, lanes), v16_load_n(x + i, lanes)), lanes);
}

void QN_ISA(qn_scale)(float *y, float factor, size_t n)
{
    QN_FOR_LANES (i, lanes, n) v16_store_n(y + i, v16_mul(v16_load_n(y + i, lanes), v16_set1(factor)), lanes);
}

void QN_ISA(qn_softcap)(float *y, float cap, size_t n)
{
    const v16 caps = v16_set1(cap), inverse = v16_set1(1.0f / cap);
    QN_FOR_LANES (i, lanes, n)
        v16_store_n(y + i, v16_softcap(v16_load_n(y + i, lanes), caps, inverse), lanes);
}

void QN_ISA(qn_silu_mul)(float *y, const float *gate, const float *up, size_t n)
{
    QN_FOR_LANES (i, lanes, n)
        v16_store_n(y + i, v16_mul(v16_silu(v16_load_n(gate + i, lanes)), v16_load_n(up + i, lanes)), lanes);
}

void QN_ISA(qn_gelu_mul)(float *y, const float *gate, const float *up, size_t n)
{
    QN_FOR_LANES (i, lanes, n)
        v16_store_n(y + i, v16_mul(v16_gelu(v16_load_n(gate + i, lanes)), v16_load_n(up + i, lanes)), lanes);
}

void QN_ISA(qn_silu)(float *y, const float *x, size_t n)
{
    QN_FOR_LANES (i, lanes, n) v16_store_n(y + i, v16_silu(v16_load_n(x + i, lanes)), lanes);
}

void QN_ISA(qn_gelu)(float *y, const float *x, size_t n)
{
    QN_FOR_LANES (i, lanes, n) v16_store_n(y + i, v16_gelu(v16_load_n(x + i, lanes)), lanes);
}

void QN_ISA(qn_softmax)(float *x, size_t n)
{
    v16 max = v16_set1(-INFINITY), sum = v16_zero();
    QN_FOR_LANES (i, lanes, n) max = v16_max(keep_lanes(v16_load_n(x + i, lanes), lanes, -INFINITY), max);
    max = v16_set1(v16_max_lane(max));
    QN_FOR_LANES (i, lanes, n) {
        const v16 e = keep_lanes(v16_exp_bounded(v16_sub(v16_load_n(x + i, lanes), max)), lanes, 0.0f);
        sum = v16_add(sum, e);
        v16_store_n(x + i, e, lanes);
    }
    QN_ISA(qn_scale)(x, 1.0f / v16_sum(sum), n);
}

/* Pairs (i, i + n_pairs): 16 cosines and sines serve all heads. */
static void rope_halves(float *x, size_t n_head, size_t head_dim, size_t n_pairs, const float *cos_sin)
{
    QN_FOR_LANES (i, lanes, n_pairs) {
        const size_t first = lanes < 8 ? 2 * lanes : 16, second = 2 * lanes - first;
        v16 c, s;
        v16_split_pairs(v16_load_n(cos_sin + 2 * i, first), v16_load_n(cos_sin + 2 * i + first, second), &c,
                        &s);
        for (size_t head = 0; head < n_head; head++) {
            float *low = x + head * head_dim + i, *high = low + n_pairs;
            const v16 a = v16_load_n(low, lanes), b = v16_load_n(high, lanes);
            v16_store_n(low, v16_fma(a, c, v16_negate(v16_mul(b, s))), lanes);
            v16_store_n(high, v16_fma(b, c, v16_mul(a, s)), lanes);
        }
    }
}

/* Pairs (2i, 2i + 1). */
static void rope_neighbours(float *x, size_t n_head, size_t head_dim, size_t n_rot, const float *cos_sin)
{
    QN_FOR_LANES (i, lanes, n_rot) {
        const v16 pairs = v16_load_n(cos_sin + i, lanes);
        const v16 c = v16_even_twice(pairs), s = v16_negate_even(v16_odd_twice(pairs));
        for (size_t head = 0; head < n_head; head++) {
            float *at = x + head * head_dim + i;
            const v16 a = v16_load_n(at, lanes);
            v16_store_n(at, v16_fma(a, c, v16_mul(v16_swap_pairs(a), s)), lanes);
        }
    }
}

void QN_ISA(qn_rope)(float *x, size_t n_head, size_t head_dim, size_t n_rot, bool neox, const float *cos_sin)
{
    if (neox) rope_halves(x, n_head, head_dim, n_rot / 2, cos_sin);
    else rope_neighbours(x, n_head, head_dim, n_rot, cos_sin);
}

/* Two passes: the maximum in four independent chains, then the first place where it stands. */
size_t QN_ISA(qn_argmax)(const float *x, size_t n)
{
    v16 max[4];
    for (int k = 0; k < 4; k++) max[k] = v16_set1(-INFINITY);
    size_t i = 0;
    for (; i + 64 <= n; i += 64)
        for (size_t k = 0; k < 4; k++) max[k] = v16_max(v16_load(x + i + 16 * k), max[k]);
    QN_FOR_LANES (j, lanes, n - i)
        max[0] = v16_max(keep_lanes(v16_load_n(x + i + j, lanes), lanes, -INFINITY), max[0]);
    const v16 best = v16_set1(v16_max_lane(v16_max(v16_max(max[0], max[1]), v16_max(max[2], max[3]))));
    QN_FOR_LANES (j, lanes, n) {
        const uint32_t hits = v16_mask_bits(v16_equal(v16_load_n(x + j, lanes), best)) & ((1u << lanes) - 1);
        if (hits) return j + (size_t)__builtin_ctz(hits);
    }
    return 0; /* nothing but NaN */
}

void QN_ISA(qn_f16_to_f32_row)(float *y, const uint16_t *x, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) v16_store(y + i, v16_load_f16(x + i));
    for (; i < n; i++) y[i] = qn_f16_to_f32(x[i]);
}

void QN_ISA(qn_f32_to_f16_row)(uint16_t *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) v16_store_f16(y + i, v16_load(x + i));
    for (; i < n; i++) y[i] = qn_f32_to_f16(x[i]);
}

#endif
