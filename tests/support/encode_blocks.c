/* encode_blocks.c: round-to-nearest encoders and random blocks, for tests only. */
#include "support/encode_blocks.h"

#include "base/float16.h"
#include "quant/blocks.h"
#include "quant/codebooks.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static int nearest(float x, int low, int high)
{
    const long rounded = lrintf(x);
    return rounded < low ? low : rounded > high ? high : (int)rounded;
}

static float reciprocal(float x)
{
    return x == 0.0f ? 0.0f : 1.0f / x;
}

static float smallest(const float *x, int n)
{
    float min = x[0];
    for (int i = 1; i < n; i++) min = fminf(min, x[i]);
    return min;
}

static float greatest(const float *x, int n)
{
    float max = x[0];
    for (int i = 1; i < n; i++) max = fmaxf(max, x[i]);
    return max;
}

/* The value of greatest magnitude, with its sign. */
static float extreme(const float *x, int n)
{
    const float min = smallest(x, n), max = greatest(x, n);
    return -min > max ? min : max;
}

/* Stores a scale as binary16 and returns what a decoder will read. */
static float store_scale(uint16_t *at, float scale)
{
    const uint16_t half = qn_f32_to_f16(scale);
    memcpy(at, &half, sizeof half);
    return qn_f16_to_f32(half);
}

/* ---- 32 values, one scale -------------------------------------------------------------------------- */

/* The extreme value gets the lowest level, -half_range, exactly. */
static void quantize_symmetric(const float x[32], int half_range, uint16_t *d_at, uint8_t q[32])
{
    uint16_t half;
    const float d = store_scale(&half, extreme(x, 32) / (float)-half_range);
    for (int i = 0; i < 32; i++)
        q[i] = (uint8_t)(nearest(x[i] * reciprocal(d), -half_range, half_range - 1) + half_range);
    *d_at = half;
}

static void quantize_from_minimum(const float x[32], int levels, uint16_t scales[2], uint8_t q[32])
{
    const float min = smallest(x, 32), max = greatest(x, 32);
    const float d = store_scale(&scales[0], (max - min) / (float)(levels - 1)),
                m = store_scale(&scales[1], min);
    for (int i = 0; i < 32; i++) q[i] = (uint8_t)nearest((x[i] - m) * reciprocal(d), 0, levels - 1);
}

/* Two halves of 16 side by side: value i in the low four bits, value i + 16 in the high ones. */
static void pack_nibbles(const uint8_t q[32], uint8_t qs[16])
{
    for (int i = 0; i < 16; i++) qs[i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
}

static uint32_t fifth_bits(const uint8_t q[32])
{
    uint32_t bits = 0;
    for (int i = 0; i < 32; i++) bits |= (uint32_t)(q[i] >> 4 & 1) << i;
    return bits;
}

static void encode_q4_0(const float *x, void *out)
{
    qn_block_q4_0 b;
    uint16_t d;
    uint8_t q[32];
    quantize_symmetric(x, 8, &d, q);
    b.d = d;
    pack_nibbles(q, b.qs);
    memcpy(out, &b, sizeof b);
}

static void encode_q4_1(const float *x, void *out)
{
    qn_block_q4_1 b;
    uint16_t scales[2];
    uint8_t q[32];
    quantize_from_minimum(x, 16, scales, q);
    b.d = scales[0], b.m = scales[1];
    pack_nibbles(q, b.qs);
    memcpy(out, &b, sizeof b);
}

static void encode_q5_0(const float *x, void *out)
{
    qn_block_q5_0 b;
    uint16_t d;
    uint8_t q[32];
    quantize_symmetric(x, 16, &d, q);
    b.d = d, b.qh = fifth_bits(q);
    pack_nibbles(q, b.qs);
    memcpy(out, &b, sizeof b);
}

static void encode_q5_1(const float *x, void *out)
{
    qn_block_q5_1 b;
    uint16_t scales[2];
    uint8_t q[32];
    quantize_from_minimum(x, 32, scales, q);
    b.d = scales[0], b.m = scales[1], b.qh = fifth_bits(q);
    pack_nibbles(q, b.qs);
    memcpy(out, &b, sizeof b);
}

static void encode_q8_0(const float *x, void *out)
{
    qn_block_q8_0 b;
    uint16_t half;
    const float d = store_scale(&half, fabsf(extreme(x, 32)) / 127.0f);
    b.d = half;
    for (int i = 0; i < 32; i++) b.qs[i] = (int8_t)nearest(x[i] * reciprocal(d), -127, 127);
    memcpy(out, &b, sizeof b);
}

static void quantize_iq4(const float x[32], float d, uint8_t qs[16])
{
    uint8_t q[32];
    for (int i = 0; i < 32; i++) {
        q[i] = 0;
        for (uint8_t level = 1; level < 16; level++)
            if (fabsf(d * (float)qn_iq4_values[level] - x[i]) < fabsf(d * (float)qn_iq4_values[q[i]] - x[i]))
                q[i] = level;
    }
    pack_nibbles(q, qs);
}

static void encode_iq4_nl(const float *x, void *out)
{
    qn_block_iq4_nl b;
    uint16_t half;
    const float d = store_scale(&half, extreme(x, 32) / -127.0f);
    b.d = half;
    quantize_iq4(x, d, b.qs);
    memcpy(out, &b, sizeof b);
}

/* ---- 256 values, scaled scales ---------------------------------------------------------------------- */

static void encode_iq4_xs(const float *x, void *out)
{
    qn_block_iq4_xs b = {0};
    float scales[8];
    uint16_t half;
    for (int j = 0; j < 8; j++) scales[j] = extreme(x + 32 * j, 32) / -127.0f;
    const float d = store_scale(&half, extreme(scales, 8) / -32.0f);
    b.d = half;
    unsigned high = 0;
    for (int j = 0; j < 8; j++) {
        const int s = nearest(scales[j] * reciprocal(d), -32, 31);
        const unsigned stored = (unsigned)(s + 32);
        b.scales_l[j / 2] = (uint8_t)(b.scales_l[j / 2] | (stored & 15) << 4 * (j % 2));
        high |= stored >> 4 << 2 * j;
        quantize_iq4(x + 32 * j, d * (float)s, b.qs + 16 * j);
    }
    b.scales_h = (uint16_t)high;
    memcpy(out, &b, sizeof b);
}

/* The inverse of qn_q4_k_scales. */
static void pack_scales_and_minimums(const uint8_t s[8], const uint8_t m[8], uint8_t packed[12])
{
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(s[j] | s[4 + j] >> 4 << 6);
        packed[4 + j] = (uint8_t)(m[j] | m[4 + j] >> 4 << 6);
        packed[8 + j] = (uint8_t)((s[4 + j] & 15) | (m[4 + j] & 15) << 4);
    }
}

/* What Q4_K (levels 16) and Q5_K (levels 32) share: d, dmin, the packed scales, 256 quants. */
static void quantize_super_block(const float *x, int levels, uint16_t d_dmin[2], uint8_t packed[12],
                                 uint8_t q[256])
{
    float scales[8], minimums[8]; /* a minimum is subtracted, and not negative */
    for (int j = 0; j < 8; j++) {
        const float min = fminf(0.0f, smallest(x + 32 * j, 32));
        scales[j] = (greatest(x + 32 * j, 32) - min) / (float)(levels - 1);
        minimums[j] = -min;
    }
    const float d = store_scale(&d_dmin[0], greatest(scales, 8) / 63.0f);
    const float dmin = store_scale(&d_dmin[1], greatest(minimums, 8) / 63.0f);
    uint8_t s[8], m[8];
    for (int j = 0; j < 8; j++) {
        s[j] = (uint8_t)nearest(scales[j] * reciprocal(d), 0, 63);
        m[j] = (uint8_t)nearest(minimums[j] * reciprocal(dmin), 0, 63);
        const float inverse = reciprocal(d * (float)s[j]), min = dmin * (float)m[j];
        for (int i = 32 * j; i < 32 * j + 32; i++)
            q[i] = (uint8_t)nearest((x[i] + min) * inverse, 0, levels - 1);
    }
    pack_scales_and_minimums(s, m, packed);
}

/* The low four bits: 32 values in low halves of bytes, the next 32 in their high halves. */
static void pack_k_nibbles(const uint8_t q[256], uint8_t qs[128])
{
    for (int p = 0; p < 4; p++)
        for (int i = 0; i < 32; i++)
            qs[32 * p + i] = (uint8_t)((q[64 * p + i] & 15) | (q[64 * p + 32 + i] & 15) << 4);
}

static void encode_q4_k(const float *x, void *out)
{
    qn_block_q4_k b;
    uint16_t d_dmin[2];
    uint8_t q[256];
    quantize_super_block(x, 16, d_dmin, b.scales, q);
    b.d = d_dmin[0], b.dmin = d_dmin[1];
    pack_k_nibbles(q, b.qs);
    memcpy(out, &b, sizeof b);
}

static void encode_q5_k(const float *x, void *out)
{
    qn_block_q5_k b = {0};
    uint16_t d_dmin[2];
    uint8_t q[256];
    quantize_super_block(x, 32, d_dmin, b.scales, q);
    b.d = d_dmin[0], b.dmin = d_dmin[1];
    pack_k_nibbles(q, b.qs);
    for (int i = 0; i < 256; i++) b.qh[i % 32] = (uint8_t)(b.qh[i % 32] | q[i] >> 4 << i / 32);
    memcpy(out, &b, sizeof b);
}

static void encode_q6_k(const float *x, void *out)
{
    qn_block_q6_k b = {0};
    float scales[16];
    uint16_t half;
    for (int s = 0; s < 16; s++) scales[s] = extreme(x + 16 * s, 16) / -32.0f;
    const float d = store_scale(&half, extreme(scales, 16) / -128.0f);
    b.d = half;
    for (int i = 0; i < 256; i++) {
        b.scales[i / 16] = (int8_t)nearest(scales[i / 16] * reciprocal(d), -128, 127);
        const int q = nearest(x[i] * reciprocal(d * (float)b.scales[i / 16]), -32, 31) + 32;
        const int h = i / 128, j = i / 32 % 4, l = i % 32;
        uint8_t *low = &b.ql[64 * h + 32 * (j % 2) + l], *high = &b.qh[32 * h + l];
        *low = (uint8_t)(*low | (q & 15) << 4 * (j / 2));
        *high = (uint8_t)(*high | q >> 4 << 2 * j);
    }
    memcpy(out, &b, sizeof b);
}

/* ---- floats ------------------------------------------------------------------------------------------- */

static void encode_f32(const float *x, void *out)
{
    memcpy(out, x, sizeof *x);
}

static void encode_f16(const float *x, void *out)
{
    const uint16_t half = qn_f32_to_f16(*x);
    memcpy(out, &half, sizeof half);
}

static void encode_bf16(const float *x, void *out)
{
    const uint16_t half = qn_f32_to_bf16(*x);
    memcpy(out, &half, sizeof half);
}

typedef void encode_fn(const float *values, void *block);

static encode_fn *const encoders[QN_TYPE_LIMIT] = {
    [QN_TYPE_F32] = encode_f32,       [QN_TYPE_F16] = encode_f16,   [QN_TYPE_BF16] = encode_bf16,
    [QN_TYPE_Q4_0] = encode_q4_0,     [QN_TYPE_Q4_1] = encode_q4_1, [QN_TYPE_Q5_0] = encode_q5_0,
    [QN_TYPE_Q5_1] = encode_q5_1,     [QN_TYPE_Q8_0] = encode_q8_0, [QN_TYPE_Q4_K] = encode_q4_k,
    [QN_TYPE_Q5_K] = encode_q5_k,     [QN_TYPE_Q6_K] = encode_q6_k, [QN_TYPE_IQ4_NL] = encode_iq4_nl,
    [QN_TYPE_IQ4_XS] = encode_iq4_xs,
};

bool qn_test_can_encode(qn_tensor_type type)
{
    return (unsigned)type < QN_TYPE_LIMIT && encoders[type] != NULL;
}

void qn_test_encode(qn_tensor_type type, const float *values, size_t n_values, void *blocks)
{
    assert(qn_test_can_encode(type));
    const qn_tensor_type_info *info = qn_tensor_type_get((uint32_t)type);
    assert(n_values % info->block_values == 0);
    for (size_t b = 0; b < n_values / info->block_values; b++)
        encoders[type](values + b * info->block_values, (char *)blocks + b * info->block_bytes);
}

/* ---- random blocks --------------------------------------------------------------------------------------
 */

/* Where a type keeps its binary16 scale; the greatest magnitude of a value when that scale is 1; and, for
 * types with a minimum, where it is and what it is for a scale of 1 (so that values lie around zero). */
static const struct scale_place {
    qn_tensor_type type;
    size_t d_at;
    float greatest;
    size_t min_at;
    float min; /* 0: none */
} scale_places[] = {
    {QN_TYPE_Q4_0, offsetof(qn_block_q4_0, d), 8, 0, 0},
    {QN_TYPE_Q4_1, offsetof(qn_block_q4_1, d), 7.5f, offsetof(qn_block_q4_1, m), -7.5f},
    {QN_TYPE_Q5_0, offsetof(qn_block_q5_0, d), 16, 0, 0},
    {QN_TYPE_Q5_1, offsetof(qn_block_q5_1, d), 15.5f, offsetof(qn_block_q5_1, m), -15.5f},
    {QN_TYPE_Q8_0, offsetof(qn_block_q8_0, d), 128, 0, 0},
    {QN_TYPE_Q2_K, offsetof(qn_block_q2_k, d), 15 * 3, offsetof(qn_block_q2_k, dmin), 1.5f},
    {QN_TYPE_Q3_K, offsetof(qn_block_q3_k, d), 32 * 4, 0, 0},
    {QN_TYPE_Q4_K, offsetof(qn_block_q4_k, d), 63 * 15, offsetof(qn_block_q4_k, dmin), 7.5f},
    {QN_TYPE_Q5_K, offsetof(qn_block_q5_k, d), 63 * 31, offsetof(qn_block_q5_k, dmin), 15.5f},
    {QN_TYPE_Q6_K, offsetof(qn_block_q6_k, d), 128 * 32, 0, 0},
    {QN_TYPE_IQ4_NL, offsetof(qn_block_iq4_nl, d), 127, 0, 0},
    {QN_TYPE_IQ4_XS, offsetof(qn_block_iq4_xs, d), 32 * 127, 0, 0},
    {QN_TYPE_IQ2_XXS, offsetof(qn_block_iq2_xxs, d), 15.5f * 0.25f * 43, 0, 0},
    {QN_TYPE_IQ2_XS, offsetof(qn_block_iq2_xs, d), 15.5f * 0.25f * 43, 0, 0},
    {QN_TYPE_IQ2_S, offsetof(qn_block_iq2_s, d), 15.5f * 0.25f * 43, 0, 0},
    {QN_TYPE_IQ3_XXS, offsetof(qn_block_iq3_xxs, d), 15.5f * 0.5f * 62, 0, 0},
    {QN_TYPE_IQ3_S, offsetof(qn_block_iq3_s, d), 31 * 15, 0, 0},
    {QN_TYPE_IQ1_S, offsetof(qn_block_iq1_s, d), 15 * 1.125f, 0, 0},
    {QN_TYPE_TQ1_0, offsetof(qn_block_tq1_0, d), 1, 0, 0},
    {QN_TYPE_TQ2_0, offsetof(qn_block_tq2_0, d), 2, 0, 0},
    {QN_TYPE_Q1_0, offsetof(qn_block_q1_0, d), 1, 0, 0},
    {QN_TYPE_Q2_0, offsetof(qn_block_q2_0, d), 2, 0, 0},
};

/* A scale between half of the greatest allowed and that, less what binary16 may add in rounding. */
static float random_scale(float limit, float values_greatest, qn_random *random)
{
    return limit / values_greatest * (0.5f + 0.495f * (float)qn_random_unit(random));
}

static void set_iq1_m_scale(qn_block_iq1_m *b, float scale)
{
    const unsigned half = qn_f32_to_f16(scale);
    for (int i = 0; i < 4; i++)
        b->scales[i] = (uint16_t)((b->scales[i] & 0x0fff) | (half >> 4 * i & 15) << 12);
}

/* Types whose scale is not one binary16 in one place. */
static void set_special_scale(qn_tensor_type type, void *block, float limit, qn_random *random)
{
    if (type == QN_TYPE_IQ1_M) {
        set_iq1_m_scale(block, random_scale(limit, 15 * 1.125f, random));
    } else if (type == QN_TYPE_MXFP4) {
        const int top = 127 + (int)floorf(log2f(limit / 6.0f)), below = (int)(qn_random_u64(random) & 3);
        ((qn_block_mxfp4 *)block)->e = (uint8_t)(top - below < 0 ? 0 : top - below > 254 ? 254 : top - below);
    } else {
        assert(type == QN_TYPE_NVFP4);
        int top = 0x7e;
        while (top > 0 && qn_ue4m3_half((uint8_t)top) * 12.0f > limit) top--;
        for (int s = 0; s < 4; s++) {
            const int below = (int)(qn_random_u64(random) & 7);
            ((qn_block_nvfp4 *)block)->d[s] = (uint8_t)(top > below ? top - below : top);
        }
    }
}

static void set_scale(qn_tensor_type type, void *block, float limit, qn_random *random)
{
    for (size_t i = 0; i < sizeof scale_places / sizeof *scale_places; i++) {
        const struct scale_place *p = &scale_places[i];
        if (p->type != type) continue;
        const float d = random_scale(limit, p->greatest, random);
        const bool negative = p->min == 0.0f && (qn_random_u64(random) & 1) != 0;
        const uint16_t half = qn_f32_to_f16(negative ? -d : d), min = qn_f32_to_f16(d * p->min);
        memcpy((char *)block + p->d_at, &half, sizeof half);
        if (p->min != 0.0f) memcpy((char *)block + p->min_at, &min, sizeof min);
        return;
    }
    set_special_scale(type, block, limit, random);
}

void qn_test_random_blocks(qn_tensor_type type, void *blocks, size_t n_blocks, float limit, qn_random *random)
{
    const size_t block_bytes = qn_tensor_type_get((uint32_t)type)->block_bytes;
    unsigned char *block = blocks;
    for (size_t b = 0; b < n_blocks; b++, block += block_bytes) {
        if (type == QN_TYPE_F32 || type == QN_TYPE_F16 || type == QN_TYPE_BF16) {
            const float value = limit * 0.99f * (float)(2.0 * qn_random_unit(random) - 1.0);
            qn_test_encode(type, &value, 1, block);
            continue;
        }
        for (size_t i = 0; i < block_bytes; i++) block[i] = (unsigned char)(qn_random_u64(random) >> 32);
        set_scale(type, block, limit, random);
    }
}
