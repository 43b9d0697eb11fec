/* check_blocks.c: blocks of every type, as a file may have them: random codes under sane scales, and the
 * extremes that a hostile file may choose. */
#include "check_matrix.h"

#include "base/float16.h"
#include "quant/blocks.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

const char *const check_fill_names[FILL_KINDS] = {"random", "lowest",   "highest", "zero scale",
                                                  "huge",   "infinite", "NaN"};

/* Where a block has its binary16 scales: up to two; -1 ends. */
static void scale_offsets(qn_tensor_type type, int offsets[2])
{
    offsets[0] = offsets[1] = -1;
#define AT(block, field) (int)offsetof(qn_block_##block, field)
    switch ((int)type) {
    case QN_TYPE_F16:
        offsets[0] = 0;
        break;
    case QN_TYPE_Q4_0:
    case QN_TYPE_Q5_0:
    case QN_TYPE_Q8_0:
    case QN_TYPE_IQ4_NL:
        offsets[0] = 0;
        break;
    case QN_TYPE_Q4_1:
    case QN_TYPE_Q5_1:
        offsets[0] = 0, offsets[1] = 2;
        break;
    case QN_TYPE_Q2_K:
        offsets[0] = AT(q2_k, d), offsets[1] = AT(q2_k, dmin);
        break;
    case QN_TYPE_Q3_K:
        offsets[0] = AT(q3_k, d);
        break;
    case QN_TYPE_Q4_K:
        offsets[0] = AT(q4_k, d), offsets[1] = AT(q4_k, dmin);
        break;
    case QN_TYPE_Q5_K:
        offsets[0] = AT(q5_k, d), offsets[1] = AT(q5_k, dmin);
        break;
    case QN_TYPE_Q6_K:
        offsets[0] = AT(q6_k, d);
        break;
    case QN_TYPE_TQ1_0:
        offsets[0] = AT(tq1_0, d);
        break;
    case QN_TYPE_TQ2_0:
        offsets[0] = AT(tq2_0, d);
        break;
    case QN_TYPE_IQ1_M:
        break; /* d is spread over its scales */
    case QN_TYPE_MXFP4:
    case QN_TYPE_NVFP4:
        break;
    default:
        offsets[0] = 0;
        break; /* IQ types, Q1_0, Q2_0 begin with d */
    }
#undef AT
}

static uint16_t scale_of(check_fill fill)
{
    switch ((int)fill) {
    case FILL_ZERO_SCALE:
        return 0;
    case FILL_HUGE:
        return check_random() & 1 ? 0x7bff : 0xfbff;
    case FILL_INFINITE:
        return check_random() & 1 ? 0x7c00 : 0xfc00;
    case FILL_NAN:
        return 0x7e01;
    default:
        return qn_f32_to_f16(0.01f * check_random_float());
    }
}

static void fill_float(qn_tensor_type type, uint8_t *out, check_fill fill)
{
    float v = check_random_float();
    if (fill == FILL_LOWEST) v = -1.0f;
    if (fill == FILL_HIGHEST) v = 1.0f;
    if (fill == FILL_ZERO_SCALE) v = check_random() & 1 ? 0.0f : -0.0f;
    if (fill == FILL_HUGE) v = 60000.0f;
    if (fill == FILL_INFINITE) v = -INFINITY;
    if (fill == FILL_NAN) v = NAN;
    const uint16_t half = type == QN_TYPE_F16 ? qn_f32_to_f16(v) : qn_f32_to_bf16(v);
    if (type == QN_TYPE_F32) memcpy(out, &v, sizeof v);
    else memcpy(out, &half, sizeof half);
}

void check_fill_blocks(qn_tensor_type type, uint8_t *blocks, size_t n_values, check_fill fill)
{
    const qn_tensor_type_info *t = qn_tensor_type_get((uint32_t)type);
    int offsets[2];
    scale_offsets(type, offsets);
    for (size_t i = 0; i < n_values / t->block_values; i++) {
        uint8_t *b = blocks + i * t->block_bytes;
        if (t->block_values == 1) {
            fill_float(type, b, fill);
            continue;
        }
        for (size_t k = 0; k < t->block_bytes; k++) b[k] = (uint8_t)check_random();
        if (fill == FILL_LOWEST) memset(b, type == QN_TYPE_Q8_0 ? 0x80 : 0x00, t->block_bytes);
        if (fill == FILL_HIGHEST) memset(b, type == QN_TYPE_Q8_0 ? 0x7f : 0xff, t->block_bytes);
        if (type == QN_TYPE_Q6_K && fill == FILL_HIGHEST)
            memset(b + offsetof(qn_block_q6_k, scales), 127, 16);
        if (type == QN_TYPE_Q6_K && fill == FILL_LOWEST)
            memset(b + offsetof(qn_block_q6_k, scales), 0x80, 16);
        for (int k = 0; k < 2; k++) {
            const uint16_t d = scale_of(fill);
            if (offsets[k] >= 0) memcpy(b + offsets[k], &d, sizeof d);
        }
        if (type == QN_TYPE_IQ1_M)
            b[49] = (uint8_t)(b[49] & 15), b[51] = (uint8_t)(b[51] & 15), b[53] = (uint8_t)(b[53] & 15),
            b[55] = (uint8_t)(b[55] & 0x0f);
        if (type == QN_TYPE_MXFP4) b[0] = (uint8_t)(fill == FILL_HUGE ? 254 : 110 + b[0] % 16);
    }
}

double check_block_min(qn_tensor_type type, const uint8_t *block)
{
    uint16_t m = 0;
    double factor = 1;
    if (type == QN_TYPE_Q4_1 || type == QN_TYPE_Q5_1) memcpy(&m, block + 2, sizeof m);
    if (type == QN_TYPE_Q2_K) memcpy(&m, block + offsetof(qn_block_q2_k, dmin), sizeof m), factor = 15;
    if (type == QN_TYPE_Q4_K || type == QN_TYPE_Q5_K) memcpy(&m, block + 2, sizeof m), factor = 63;
    return fabs(factor * (double)qn_f16_to_f32(m));
}
