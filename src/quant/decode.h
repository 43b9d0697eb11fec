/* decode.h: block formats to float32, bit for bit as their definition says. One file a family of
 * formats in this room; the layouts are facts of the GGUF format. */
#ifndef QN_QUANT_DECODE_H
#define QN_QUANT_DECODE_H

#include "gguf/tensor_type.h"

/* Decodes n_values (a multiple of the type's block_values) from packed blocks (unaligned) to out. */
typedef void qn_decode_fn(const void *blocks, float *out, size_t n_values);

/* NULL for types that are not weights (I8..I64, F64, Q8_1, Q8_K) or unknown. */
qn_decode_fn *qn_decode_get(qn_tensor_type type);

#endif
