/* checked.h: arithmetic on numbers that came from outside. Each returns false on overflow. */
#ifndef QN_BASE_CHECKED_H
#define QN_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool qn_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool qn_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}
static inline bool qn_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool qn_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Rounds up to a multiple of `alignment`, a power of two. */
static inline bool qn_align_up_u64(uint64_t value, uint64_t alignment, uint64_t *out)
{
    if (!qn_add_u64(value, alignment - 1, out)) return false;
    *out &= ~(alignment - 1);
    return true;
}

/* For numbers already known to be small (bounded at load). */
static inline size_t qn_round_up(size_t value, size_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}
static inline size_t qn_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}
static inline size_t qn_max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
