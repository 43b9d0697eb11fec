/* vector_avx512.c: the operations on rows for AVX-512. */
#include "kernel/x86/avx512.h"
#define QN_ISA(name) QN_AVX512(name)
#include "kernel/vector_v16.h"
