/* peak_amx.c: the peak of AMX-INT8 (kernel/peak.h). */
#include "kernel/peak.h"
#include "kernel/x86/amx.h"

#include <stddef.h>

/* Four chains, each 16 by 16 sums of 64 columns at a step. */
uint64_t QN_AMX(qn_peak_int8)(size_t n_rounds, uint64_t *sum)
{
    static const tile_sizes sizes = {
        .palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16}};
    enum { CHAINS = 4, STEP = 16 * 16 * 64 };
    int32_t sums[CHAINS][16][16];
    tile_begin(&sizes);
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
    tile_load(4, qn_peak_ones_i8, 0); /* every row the same */
    tile_load(5, qn_peak_ones_i8, 0);
    for (size_t r = 0; r < n_rounds; r++) {
        tile_multiply_ss(0, 4, 5);
        tile_multiply_ss(1, 4, 5);
        tile_multiply_ss(2, 4, 5);
        tile_multiply_ss(3, 4, 5);
    }
    tile_store(0, sums[0], 64);
    tile_store(1, sums[1], 64);
    tile_store(2, sums[2], 64);
    tile_store(3, sums[3], 64);
    tile_end();
    *sum = 0;
    for (size_t k = 0; k < CHAINS; k++)
        for (size_t i = 0; i < 256; i++) *sum += (uint64_t)sums[k][i / 16][i % 16];
    return n_rounds * CHAINS * STEP;
}
