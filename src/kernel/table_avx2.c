/* table_avx2.c: kernels for x86-64 with AVX2, FMA and F16C (Haswell, Zen and later). */
#include "kernel/dispatch.h"
#include "kernel/table_matrix.h"
#include "kernel/table_vector.h"

const qn_kernels qn_kernels_avx2 = {
    .isa = "avx2", QN_MATRIX_ENTRIES(avx2, avx2, avx2) QN_VECTOR_ENTRIES(avx2) QN_PEAK_ENTRIES(avx2, avx2)};
