/* table_avx512.c: kernels for x86-64 with AVX-512 F, BW, DQ, VL and VNNI (Ice Lake, Zen 4 and later).
 * Compiled a second time with QN_EMULATED for the tests, over a portable library of the intrinsics. */
#include "kernel/dispatch.h"
#include "kernel/table_matrix.h"
#include "kernel/table_vector.h"

#ifdef QN_EMULATED
const qn_kernels qn_kernels_avx512_emulated = {
    .isa = "avx512",
    QN_MATRIX_ENTRIES(avx512_emulated, avx512_emulated, avx512_emulated) QN_VECTOR_ENTRIES(avx512_emulated)
        QN_PEAK_ENTRIES(avx512_emulated, avx512_emulated)};
#else
const qn_kernels qn_kernels_avx512 = {.isa = "avx512",
                                      QN_MATRIX_ENTRIES(avx512, avx512, avx512) QN_VECTOR_ENTRIES(avx512)
                                          QN_PEAK_ENTRIES(avx512, avx512)};
#endif
