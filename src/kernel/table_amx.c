/* table_amx.c: kernels for x86-64 with AMX-INT8 beside all that AVX-512 needs (Sapphire Rapids and later
 * Xeons): products of integers with many tokens; all else is that of AVX-512. Compiled a second time with
 * QN_EMULATED for the tests. */
#include "kernel/dispatch.h"
#include "kernel/table_matrix.h"
#include "kernel/table_vector.h"

#ifdef QN_EMULATED
const qn_kernels qn_kernels_amx_emulated = {.isa = "amx",
                                            QN_MATRIX_ENTRIES(amx_emulated, avx512_emulated, avx512_emulated)
                                                QN_VECTOR_ENTRIES(avx512_emulated)
                                                    QN_PEAK_ENTRIES(amx_emulated, avx512_emulated)};
#else
const qn_kernels qn_kernels_amx = {.isa = "amx",
                                   QN_MATRIX_ENTRIES(amx, avx512, avx512) QN_VECTOR_ENTRIES(avx512)
                                       QN_PEAK_ENTRIES(amx, avx512)};
#endif
