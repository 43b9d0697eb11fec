/* peak.c: peaks of plain C (kernel/peak.h): whatever instructions the compiler's baseline has. */
#include "kernel/peak.h"

#include <math.h>

const int8_t qn_peak_ones_i8[64] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
const float qn_peak_ones_f32[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

uint64_t qn_peak_read_scalar(const uint64_t *data, size_t n)
{
    uint64_t sum[8] = {0}, total = 0;
    for (size_t i = 0; i < n; i += 8)
        for (size_t k = 0; k < 8; k++) sum[k] += data[i + k];
    for (size_t k = 0; k < 8; k++) total += sum[k];
    return total;
}

enum { CHAINS = 16 };

uint64_t qn_peak_float_scalar(size_t n_rounds, uint64_t *sum)
{
    float chain[CHAINS];
    for (int k = 0; k < CHAINS; k++) chain[k] = (float)k;
    for (size_t r = 0; r < n_rounds; r++)
        for (int k = 0; k < CHAINS; k++)
            chain[k] = fmaf(qn_peak_ones_f32[k], qn_peak_ones_f32[CHAINS - 1 - k], chain[k]);
    *sum = 0;
    for (int k = 0; k < CHAINS; k++) *sum += (uint64_t)(chain[k] - (float)k);
    return n_rounds * CHAINS;
}

uint64_t qn_peak_int8_scalar(size_t n_rounds, uint64_t *sum)
{
    int32_t chain[CHAINS] = {0};
    const int8_t *volatile hidden =
        qn_peak_ones_i8; /* read anew every round: the products are done each time */
    for (size_t r = 0; r < n_rounds; r++) {
        const int8_t *ones = hidden;
        for (int k = 0; k < CHAINS; k++)
            for (int i = 0; i < 4; i++) chain[k] += ones[4 * k + i] * ones[63 - 4 * k - i];
    }
    *sum = 0;
    for (int k = 0; k < CHAINS; k++) *sum += (uint64_t)chain[k];
    return n_rounds * CHAINS * 4;
}
