/* vector.h: operations on rows of float32.
 *
 * Sums over a row (norms, softmax) use 16 stripes (element i belongs to stripe i % 16, each summed in
 * ascending order) joined by one fixed tree: stripes s and s + 8, then s + 4, s + 2, s + 1. exp is one
 * polynomial, and tanh, silu and gelu are made of it (ref/math.h). So all instruction sets give the same
 * bits; of a NaN only that it is one. exp and tanh are within 1.2e-7 and 3e-7 of the true value, relatively
 * (tests/kernel/checkmath.c); results of exp below 1.9e-38 are 0. */
#ifndef QN_KERNEL_VECTOR_H
#define QN_KERNEL_VECTOR_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* y[i] = x[i] * (1 / sqrt(mean(x^2) + eps)) * weight[i]; weight NULL: 1. In place is fine, here and below.
 * RMSNorm: Zhang and Sennrich 2019, arXiv:1910.07467. */
typedef void qn_rms_norm_fn(float *y, const float *x, const float *weight, size_t n, float eps);
/* y[i] = (x[i] - mean) * (1 / sqrt(var + eps)) * weight[i] + bias[i]; weight, bias may be NULL.
 * Ba et al. 2016, arXiv:1607.06450. */
typedef void qn_layer_norm_fn(float *y, const float *x, const float *weight, const float *bias, size_t n,
                              float eps);
typedef void qn_add_fn(float *y, const float *x, size_t n);                     /* y += x */
typedef void qn_scale_fn(float *y, float factor, size_t n);                     /* y *= factor */
typedef void qn_softcap_fn(float *y, float cap, size_t n);                      /* y = cap * tanh(y / cap) */
typedef void qn_glu_fn(float *y, const float *gate, const float *up, size_t n); /* y = act(gate) * up */
typedef void qn_activation_fn(float *y, const float *x, size_t n);              /* y = act(x) */
/* x = exp(x - max) / sum; the usual softmax over n. */
typedef void qn_softmax_fn(float *x, size_t n);

/* Rotary embedding (RoFormer: Su et al. 2021, arXiv:2104.09864), in place on n_head heads of head_dim.
 * cos_sin: [n_rot / 2][2] for this token's position. neox: pairs (i, i + n_rot/2), else (2i, 2i + 1).
 * Dimensions from n_rot on stay. */
typedef void qn_rope_fn(float *x, size_t n_head, size_t head_dim, size_t n_rot, bool neox,
                        const float *cos_sin);

/* The largest element's index (first one on ties; NaN compares lowest; 0 if all are NaN) of x[n]. */
typedef size_t qn_argmax_fn(const float *x, size_t n);

/* Whoever makes logits notes the greatest of every so many, so that whoever draws from them need not read
 * all again. */
enum { QN_LOGIT_BLOCK = 128 };

/* The greatest of a block, NaN counting as -infinity. */
static inline float qn_greatest_logit(qn_argmax_fn *argmax, const float *logits, size_t n)
{
    const float most = logits[argmax(logits, n)];
    return most > -INFINITY ? most : -INFINITY; /* NaN only if there is nothing else */
}

/* Rows of F16 to float32 and back, as base/float16.h converts one value. */
typedef void qn_f16_to_f32_row_fn(float *y, const uint16_t *x, size_t n);
typedef void qn_f32_to_f16_row_fn(uint16_t *y, const float *x, size_t n);

#endif
