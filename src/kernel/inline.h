/* inline.h: what the kernels ask of the compiler: functions that vanish into their callers, so that what is
 * constant there (a type, a number of tokens) folds, and loops over registers that are unrolled. */
#ifndef QN_KERNEL_INLINE_H
#define QN_KERNEL_INLINE_H

#include <stddef.h>

#define QN_INLINE static inline __attribute__((always_inline))
/* Loops over registers. Builds that are for testing only are left as loops: they compile much faster. */
#if !defined(__OPTIMIZE__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||               \
    defined(QN_EMULATED)
#define QN_UNROLL
#elif defined(__clang__)
#define QN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define QN_UNROLL _Pragma("GCC unroll 16")
#endif
#define QN_EACH(i, n) QN_UNROLL for (int i = 0; i < (n); i++)

/* Asks for memory that will be read soon; any address goes. */
QN_INLINE void prefetch(const void *p, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i += 64) __builtin_prefetch((const char *)p + i, 0, 3);
}

#endif
