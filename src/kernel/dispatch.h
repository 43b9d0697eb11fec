/* dispatch.h: the tables built into this program, for dispatch.c and the tests. */
#ifndef QN_KERNEL_DISPATCH_H
#define QN_KERNEL_DISPATCH_H

#include "kernel/kernel.h"

extern const qn_kernels qn_kernels_scalar;
#if defined(__x86_64__)
extern const qn_kernels qn_kernels_avx2, qn_kernels_avx512, qn_kernels_avx512_emulated, qn_kernels_amx,
    qn_kernels_amx_emulated;
#elif defined(__aarch64__)
extern const qn_kernels qn_kernels_neon;
#endif

#endif
