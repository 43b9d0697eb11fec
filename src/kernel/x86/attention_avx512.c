/* attention_avx512.c: attention for AVX-512. */
#include "kernel/x86/avx512.h"
#define QN_ISA(name) QN_AVX512(name)
#include "kernel/attention_v16.h"
