/* kv_q4_0.h: the scale of 32 cached numbers of 4 bits, for the reference and the vectors alike.
 *
 * As in GGUF's Q4_0 the number of greatest magnitude becomes -8 and the scale takes its sign with it: of the
 * 16 codes the one without a counterpart is then always used. Quantizing with the scale as it is stored makes
 * up for its rounding. */
#ifndef QN_KERNEL_KV_Q4_0_H
#define QN_KERNEL_KV_Q4_0_H

#include "base/float16.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

/* The BF16 scale of a group; positive: the greatest magnitude belongs (also) to a positive number. */
static inline uint16_t qn_kv_q4_0_scale(float magnitude, bool positive)
{
    if (isnan(magnitude)) return 0x7fc0; /* one NaN, whatever the sign and payload were */
    return qn_f32_to_bf16(magnitude * (positive ? -0.125f : 0.125f));
}

/* What numbers are multiplied by; where the scale is subnormal, 0, as its inverse would be infinite. */
static inline float qn_kv_q4_0_inverse(uint16_t scale)
{
    const float value = qn_bf16_to_f32(scale);
    return fabsf(value) >= FLT_MIN ? 1.0f / value : 0.0f;
}

#endif
