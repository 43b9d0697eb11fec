/* encode_blocks.h: quantized weights for tests.
 *
 * The encoders round every value to the nearest level under the obvious scale, without any search: good
 * enough to build small models whose decoded values are near what was asked for. The program's own
 * encoders are another matter. */
#ifndef QN_TESTS_SUPPORT_ENCODE_BLOCKS_H
#define QN_TESTS_SUPPORT_ENCODE_BLOCKS_H

#include "base/random.h"
#include "gguf/tensor_type.h"

/* F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS. */
bool qn_test_can_encode(qn_tensor_type type);

/* Encodes n_values finite values of moderate size (scales are binary16), a multiple of the type's
 * block_values, to blocks (qn_row_bytes(type, n_values), unaligned). The type must be one that can be
 * encoded. Rows may be encoded together when each is a multiple of block_values. */
void qn_test_encode(qn_tensor_type type, const float *values, size_t n_values, void *blocks);

/* Fills blocks of any type that has a decoder with random quants and scales, such that every value is
 * finite and at most `limit` in magnitude. Limits from 0.1 to 1000 make sense for all types. */
void qn_test_random_blocks(qn_tensor_type type, void *blocks, size_t n_blocks, float limit,
                           qn_random *random);

#endif
