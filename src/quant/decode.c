/* decode.c: the table of decoders, and the formats that are plain floats. */
#include "base/float16.h"
#include "quant/decoders.h"

#include <string.h>

void qn_decode_f32(const void *blocks, float *restrict out, size_t n_values)
{
    if (n_values > 0) memcpy(out, blocks, n_values * sizeof *out);
}

/* binary16 to float32 without branches, so that compilers vectorize it: shifted into place, the exponent
 * is 112 too small, which a multiplication repairs exactly, for subnormals too. */
static inline float widen_f16(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, magnitude = (uint32_t)(half & 0x7fffu) << 13;
    const uint32_t scaled = qn_f32_to_bits(qn_f32_from_bits(magnitude) * 0x1p112f);
    const uint32_t special = magnitude >= 0x0f800000u ? 0x7f800000u : 0; /* infinity or NaN */
    const uint32_t quiet = magnitude > 0x0f800000u ? 0x00400000u : 0;
    return qn_f32_from_bits(sign | scaled | special | quiet);
}

void qn_decode_f16(const void *blocks, float *restrict out, size_t n_values)
{
    const char *in = blocks;
    for (size_t i = 0; i < n_values; i++) {
        uint16_t half;
        memcpy(&half, in + 2 * i, sizeof half);
        out[i] = widen_f16(half);
    }
}

void qn_decode_bf16(const void *blocks, float *restrict out, size_t n_values)
{
    const char *in = blocks;
    for (size_t i = 0; i < n_values; i++) {
        uint16_t half;
        memcpy(&half, in + 2 * i, sizeof half);
        out[i] = qn_bf16_to_f32(half);
    }
}

qn_decode_fn *qn_decode_get(qn_tensor_type type)
{
    static qn_decode_fn *const table[QN_TYPE_LIMIT] = {
#define X(type, decoder, block) [QN_TYPE_##type] = decoder,
        QN_DECODER_MAP(X)
#undef X
    };
    return (unsigned)type < QN_TYPE_LIMIT ? table[type] : NULL;
}

/* The structs agree with the table that file sizes are computed from. */
enum {
#define X(name, id, values, bytes) BLOCK_BYTES_##name = bytes,
    QN_TENSOR_TYPE_MAP(X)
#undef X
};
#define X(type, decoder, block)                                                                              \
    _Static_assert(sizeof(block) == (unsigned)BLOCK_BYTES_##type, #type ": struct and type table differ");
QN_DECODER_MAP(X)
#undef X
