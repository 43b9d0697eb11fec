/* attention_avx2.c: attention for AVX2 with FMA and F16C. */
#define QN_ISA(name) name##_avx2
#include "kernel/attention_v16.h"
