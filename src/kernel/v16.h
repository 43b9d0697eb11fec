/* v16.h: 16 floats side by side, in the registers of whatever instruction set this is compiled for. The
 * operations of vector_v16.h and attention_v16.h are written once over it; since every lane executes the
 * same IEEE operations everywhere, all instruction sets give the same bits. A further one needs its part
 * here (and perhaps other register tiles in attention_v16.h).
 *
 * The semantics of max and min are those of x86: max(a, b) = a > b ? a : b, so that a NaN in a gives b. */
#ifndef QN_KERNEL_V16_H
#define QN_KERNEL_V16_H

#include "kernel/inline.h"
#include "kernel/ref/math.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef QN_EMULATED
#include "kernel/x86/v16_avx512.h"
#elif defined(__AVX512F__)
#include "kernel/x86/v16_avx512.h"
#elif defined(__AVX2__)
#include "kernel/x86/v16_avx2.h"
#else
#error "no 16-lane vector for this instruction set"
#endif

/* ---- what follows from the basic operations ---- */

QN_INLINE v16 v16_load_n(const float *p, size_t n) /* the first n <= 16 lanes, the others 0 */
{
    return n == 16 ? v16_load(p) : v16_load_partial(p, n);
}

QN_INLINE void v16_store_n(float *p, v16 a, size_t n)
{
    if (n == 16) v16_store(p, a);
    else v16_store_partial(p, a, n);
}

/* exp's parts and exp: the operations of ref/math.h. */
QN_INLINE v16 v16_exp_parts(v16 x, v16 *half_power)
{
    const v16 round = v16_set1(QN_EXP_ROUND), shifted = v16_fma(x, v16_set1(QN_EXP_LOG2E), round);
    const v16 n = v16_sub(shifted, round);
    const v16 r = v16_fma(n, v16_set1(-QN_EXP_LN2_LOW), v16_fma(n, v16_set1(-QN_EXP_LN2_HIGH), x));
    *half_power = v16_half_power(shifted);
    v16 q = v16_fma(v16_set1(QN_EXP_Q4), r, v16_set1(QN_EXP_Q3));
    q = v16_fma(q, r, v16_set1(QN_EXP_Q2));
    q = v16_fma(q, r, v16_set1(QN_EXP_Q1));
    q = v16_fma(q, r, v16_set1(QN_EXP_Q0));
    return v16_fma(v16_mul(q, r), r, r);
}

/* exp of what is not greater than QN_EXP_MAX, as in a softmax; NaN is fine. */
QN_INLINE v16 v16_exp_bounded(v16 x)
{
    v16 half_power;
    const v16 tail = v16_exp_parts(x, &half_power), two = v16_set1(2.0f);
    return v16_mul_where(v16_not_less(x, v16_set1(QN_EXP_MIN)), v16_fma(tail, two, two), half_power);
}

QN_INLINE v16 v16_exp(v16 x)
{
    return v16_exp_bounded(v16_min(v16_set1(QN_EXP_MAX), x));
}

QN_INLINE v16 v16_tanh(v16 x)
{
    const v16 y = v16_max(v16_set1(QN_TANH_MIN), v16_mul(v16_abs(x), v16_set1(-2.0f)));
    v16 half_power;
    const v16 tail = v16_exp_parts(y, &half_power), power = v16_add(half_power, half_power);
    const v16 e = v16_fma(tail, power, v16_sub(power, v16_set1(1.0f)));
    return v16_copysign(v16_div(e, v16_add(e, v16_set1(2.0f))), x);
}

QN_INLINE v16 v16_silu(v16 x)
{
    return v16_div(x, v16_add(v16_exp(v16_negate(x)), v16_set1(1.0f)));
}

QN_INLINE v16 v16_gelu(v16 x)
{
    const v16 one = v16_set1(1.0f), inner = v16_mul(v16_fma(v16_mul(x, x), v16_set1(QN_GELU_CUBE), one), x);
    return v16_div(x, v16_add(v16_exp(v16_mul(inner, v16_set1(-QN_GELU_SCALE))), one));
}

QN_INLINE v16 v16_softcap(v16 x, v16 cap, v16 inverse)
{
    return v16_mul(cap, v16_tanh(v16_mul(x, inverse)));
}

#endif
