/* avx512.h: the AVX-512 intrinsics, or the same in portable C (SIMDe) where a test runs the kernels on
 * a processor without them. QN_AVX512(name) is the name of a function in either build. */
#ifndef QN_KERNEL_X86_AVX512_H
#define QN_KERNEL_X86_AVX512_H

#ifdef QN_EMULATED
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>
#include <simde/x86/f16c.h>
#define QN_AVX512(name) name##_avx512_emulated
#else
#include <immintrin.h>
#define QN_AVX512(name) name##_avx512
#endif

#endif
