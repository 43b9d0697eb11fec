/* vector.c: the reference of the operations on rows, to be read beside vector.h. It states the order of
 * arithmetic; the variants for instruction sets are held to it bit for bit. */
#include "kernel/ref/math.h"
#include "kernel/table_vector.h"

#include <string.h>

void qn_rms_norm_scalar(float *y, const float *x, const float *weight, size_t n, float eps)
{
    float stripe[16] = {0};
    for (size_t i = 0; i < n; i++) stripe[i % 16] = fmaf(x[i], x[i], stripe[i % 16]);
    const float scale = 1.0f / sqrtf(qn_stripes_sum(stripe) / (float)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = weight ? x[i] * scale * weight[i] : x[i] * scale;
}

void qn_layer_norm_scalar(float *y, const float *x, const float *weight, const float *bias, size_t n,
                          float eps)
{
    float sum[16] = {0}, squares[16] = {0};
    for (size_t i = 0; i < n; i++) sum[i % 16] += x[i];
    const float mean = qn_stripes_sum(sum) / (float)n;
    for (size_t i = 0; i < n; i++) squares[i % 16] = fmaf(x[i] - mean, x[i] - mean, squares[i % 16]);
    const float scale = 1.0f / sqrtf(qn_stripes_sum(squares) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        float value = (x[i] - mean) * scale;
        if (weight) value *= weight[i];
        y[i] = bias ? value + bias[i] : value;
    }
}

void qn_add_scalar(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

void qn_scale_scalar(float *y, float factor, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] *= factor;
}

void qn_softcap_scalar(float *y, float cap, size_t n)
{
    const float inverse = 1.0f / cap;
    for (size_t i = 0; i < n; i++) y[i] = qn_softcap(y[i], cap, inverse);
}

void qn_silu_mul_scalar(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = qn_silu(gate[i]) * up[i];
}

void qn_gelu_mul_scalar(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = qn_gelu(gate[i]) * up[i];
}

void qn_silu_scalar(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = qn_silu(x[i]);
}

void qn_gelu_scalar(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = qn_gelu(x[i]);
}

void qn_softmax_scalar(float *x, size_t n)
{
    float max = -INFINITY, stripe[16] = {0};
    for (size_t i = 0; i < n; i++)
        if (x[i] > max) max = x[i];
    for (size_t i = 0; i < n; i++) {
        x[i] = qn_exp(x[i] - max);
        stripe[i % 16] += x[i];
    }
    const float scale = 1.0f / qn_stripes_sum(stripe);
    for (size_t i = 0; i < n; i++) x[i] *= scale;
}

void qn_rope_scalar(float *x, size_t n_head, size_t head_dim, size_t n_rot, bool neox, const float *cos_sin)
{
    const size_t n_pairs = n_rot / 2;
    for (size_t head = 0; head < n_head; head++, x += head_dim) {
        for (size_t i = 0; i < n_pairs; i++) {
            float *a = neox ? &x[i] : &x[2 * i], *b = neox ? &x[i + n_pairs] : &x[2 * i + 1];
            const float c = cos_sin[2 * i], s = cos_sin[2 * i + 1], old_a = *a, old_b = *b;
            *a = fmaf(old_a, c, -(old_b * s));
            *b = fmaf(old_b, c, old_a * s);
        }
    }
}

size_t qn_argmax_scalar(const float *x, size_t n)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (x[i] == x[i] && (best == n || x[i] > x[best])) best = i;
    return best == n ? 0 : best;
}

void qn_f16_to_f32_row_scalar(float *y, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = qn_f16_to_f32(x[i]);
}

void qn_f32_to_f16_row_scalar(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = qn_f32_to_f16(x[i]);
}
