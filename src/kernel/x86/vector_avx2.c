/* vector_avx2.c: the operations on rows for AVX2 with FMA and F16C. */
#define QN_ISA(name) name##_avx2
#include "kernel/vector_v16.h"
