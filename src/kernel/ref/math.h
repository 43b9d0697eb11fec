/* math.h: exp and what is made of it, one float at a time. The vector variants execute the same
 * operations on 16 lanes (v16_math.h), so both give the same bits.
 *
 * exp(x) = 2^n * exp(r) with n = round(x / ln 2) and r = x - n ln 2, |r| <= ln(2)/2. exp(r) is
 * 1 + r + r^2 q(r); q is the polynomial of degree 4 whose relative error is the least possible (3e-9, found
 * with the Remez algorithm), so what is left is rounding: less than 1.2e-7. The method is that of Cody and
 * Waite, Software Manual for the Elementary Functions, 1980. */
#ifndef QN_KERNEL_REF_MATH_H
#define QN_KERNEL_REF_MATH_H

#include "base/float16.h"

#include <math.h>

#define QN_EXP_MIN      (-86.9f) /* below: 0, so results are never subnormal */
#define QN_EXP_MAX      89.0f    /* from here on the result is infinite */
#define QN_EXP_LOG2E    0x1.715476p+0f
#define QN_EXP_LN2_HIGH 0x1.62e430p-1f
#define QN_EXP_LN2_LOW  (-0x1.05c610p-29f)
#define QN_EXP_Q0       0x1.fffffcp-2f
#define QN_EXP_Q1       0x1.555492p-3f
#define QN_EXP_Q2       0x1.5558f2p-5f
#define QN_EXP_Q3       0x1.123a20p-7f
#define QN_EXP_Q4       0x1.6a23d0p-10f
/* 1.5 * 2^23 + 126: adding it rounds to an integer n, and n + 126 then stands in the low bits: the exponent
 * of 2^(n - 1). The polynomial is doubled so that 2^128 can be reached. */
#define QN_EXP_ROUND  0x1.8000fcp+23f
#define QN_EXP_SHIFT  23
#define QN_TANH_MIN   (-40.0f)             /* exp(-40) is nothing beside 1 */
#define QN_GELU_SCALE 1.59576912160573071f /* 2 sqrt(2/pi) */
#define QN_GELU_CUBE  0.044715f

/* The parts of exp(x), x in [-87, 89]: exp(x) = 2^n (1 + tail); *half_power = 2^(n - 1). */
static inline float qn_exp_parts(float x, float *half_power)
{
    const float shifted = fmaf(x, QN_EXP_LOG2E, QN_EXP_ROUND), n = shifted - QN_EXP_ROUND;
    const float r = fmaf(n, -QN_EXP_LN2_LOW, fmaf(n, -QN_EXP_LN2_HIGH, x));
    *half_power = qn_f32_from_bits(qn_f32_to_bits(shifted) << QN_EXP_SHIFT);
    float q = fmaf(QN_EXP_Q4, r, QN_EXP_Q3);
    q = fmaf(q, r, QN_EXP_Q2);
    q = fmaf(q, r, QN_EXP_Q1);
    q = fmaf(q, r, QN_EXP_Q0);
    return fmaf(q * r, r, r);
}

static inline float qn_exp(float x)
{
    if (x < QN_EXP_MIN) return 0.0f;
    float half_power;
    const float tail = qn_exp_parts(x > QN_EXP_MAX ? QN_EXP_MAX : x, &half_power);
    return fmaf(tail, 2.0f, 2.0f) * half_power;
}

/* tanh(|x|) = -e / (e + 2) with e = exp(-2|x|) - 1, which keeps its relative precision near 0. */
static inline float qn_tanh(float x)
{
    float y = -2.0f * fabsf(x), half_power;
    if (y < QN_TANH_MIN) y = QN_TANH_MIN;
    const float tail = qn_exp_parts(y, &half_power), power = half_power + half_power;
    const float e = fmaf(tail, power, power - 1.0f);
    return copysignf(e / (e + 2.0f), x);
}

static inline float qn_silu(float x)
{
    return x / (qn_exp(-x) + 1.0f);
}

/* The tanh form of Hendrycks and Gimpel 2016, arXiv:1606.08415, through 1 + tanh(u) = 2 / (1 + exp(-2u)). */
static inline float qn_gelu(float x)
{
    const float inner = fmaf(x * x, QN_GELU_CUBE, 1.0f) * x;
    return x / (qn_exp(inner * -QN_GELU_SCALE) + 1.0f);
}

static inline float qn_softcap(float x, float cap, float inverse)
{
    return cap * qn_tanh(x * inverse);
}

/* Joins 16 stripes by the fixed tree: s and s + 8, then s + 4, s + 2, s + 1. */
static inline float qn_stripes_sum(float stripe[16])
{
    for (int width = 8; width > 0; width /= 2)
        for (int s = 0; s < width; s++) stripe[s] += stripe[s + width];
    return stripe[0];
}

#endif
