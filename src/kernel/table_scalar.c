/* table_scalar.c: the reference table: plain C, for any processor. */
#include "kernel/dispatch.h"
#include "kernel/table_matrix.h"
#include "kernel/table_vector.h"

const qn_kernels qn_kernels_scalar = {.isa = "scalar",
                                      QN_MATRIX_ENTRIES(scalar, scalar, scalar) QN_VECTOR_ENTRIES(scalar)
                                          QN_PEAK_ENTRIES(scalar, scalar)};
