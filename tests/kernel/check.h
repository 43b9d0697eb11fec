/* check.h: what the kernel checks share: counted failures, hostile numbers, exact-size buffers (so that
 * AddressSanitizer sees a stray access), and a clock for --bench. */
#ifndef QN_TEST_KERNEL_CHECK_H
#define QN_TEST_KERNEL_CHECK_H

#include "base/clock.h"
#include "base/float16.h"
#include "base/random.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long check_count, check_failures;

#define CHECK(condition, ...)                                                                                \
    do {                                                                                                     \
        check_count++;                                                                                       \
        if (!(condition) && ++check_failures <= 20) {                                                        \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                  \
            fprintf(stderr, __VA_ARGS__);                                                                    \
            fputc('\n', stderr);                                                                             \
        }                                                                                                    \
    } while (0)

/* At the end of main. */
static inline int check_report(const char *name)
{
    printf("%s: %ld checks, %ld failures\n", name, check_count, check_failures);
    return check_failures != 0;
}

/* The same bits, or both a NaN. */
static inline bool check_same_float(float a, float b)
{
    return qn_f32_to_bits(a) == qn_f32_to_bits(b) || (isnan(a) && isnan(b));
}

/* The first difference, or n. */
static inline size_t check_differ(const float *a, const float *b, size_t n)
{
    size_t i = 0;
    while (i < n && check_same_float(a[i], b[i])) i++;
    return i;
}

#define CHECK_SAME(a, b, n, ...)                                                                             \
    do {                                                                                                     \
        const size_t check_at = check_differ(a, b, n);                                                       \
        if (check_at < (n))                                                                                  \
            fprintf(stderr, "[%zu]: %a is not %a: ", check_at, (double)(a)[check_at],                        \
                    (double)(b)[check_at]);                                                                  \
        CHECK(check_at == (n), __VA_ARGS__);                                                                 \
    } while (0)

/* All tables that can run here, the reference first; with QN_HAVE_EMULATED also the emulated ones of those
 * that this processor cannot run. */
enum { CHECK_TABLES = 8 };
#ifdef QN_HAVE_EMULATED
extern const qn_kernels qn_kernels_avx512_emulated, qn_kernels_amx_emulated;
#endif
static inline size_t check_tables(const qn_kernels *tables[CHECK_TABLES])
{
    size_t n = 0;
    for (const char *const *name = qn_kernels_names(); *name != NULL && n < CHECK_TABLES - 2; name++) {
        tables[n] = qn_kernels_by_name(*name);
        if (tables[n] != NULL) n++;
    }
#ifdef QN_HAVE_EMULATED
    if (qn_kernels_by_name("avx512") == NULL) tables[n++] = &qn_kernels_avx512_emulated;
    if (qn_kernels_by_name("amx") == NULL) tables[n++] = &qn_kernels_amx_emulated;
#endif
    return n;
}

/* The same for rows and attention: a table that shares these functions with one before it is left out. */
static inline size_t check_vector_tables(const qn_kernels *tables[CHECK_TABLES])
{
    const qn_kernels *all[CHECK_TABLES];
    const size_t n_all = check_tables(all);
    size_t n = 0;
    for (size_t i = 0; i < n_all; i++) {
        bool is_new = true;
        for (size_t k = 0; k < n; k++) is_new = is_new && tables[k]->attention != all[i]->attention;
        if (is_new) tables[n++] = all[i];
    }
    return n;
}

/* 64-byte aligned, exactly n_bytes long; free() it. */
static inline void *check_alloc(size_t n_bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, n_bytes ? n_bytes : 1) != 0) exit(2);
    memset(p, 0xff, n_bytes); /* floats: NaN */
    return p;
}

static inline float *check_floats(size_t n)
{
    return check_alloc(n * sizeof(float));
}

typedef enum check_kind {
    CHECK_NORMAL,
    CHECK_ZERO,
    CHECK_TINY,
    CHECK_HUGE,
    CHECK_HOSTILE,
    CHECK_KINDS
} check_kind;

static inline float check_normal(qn_random *r) /* Box and Muller 1958 */
{
    const double u = 1.0 - qn_random_unit(r), v = qn_random_unit(r);
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

/* Any of the values that break kernels. */
static inline float check_hostile(qn_random *r)
{
    static const float values[] = {
        0.0f,     -0.0f,  INFINITY, -INFINITY, NAN,    1e-45f,  -1e-45f,  1.17549435e-38f, 3.4e38f,
        -3.4e38f, 88.72f, 88.73f,   -86.9f,    -87.4f, -104.0f, 65504.0f, 65520.0f,        5.96e-8f,
        0.5f,     1.5f,   2.5f,     -126.5f,   127.5f, 1e20f,   -1e20f};
    return values[qn_random_u64(r) % (sizeof values / sizeof *values)];
}

static inline float check_value(qn_random *r, check_kind kind)
{
    switch (kind) {
    case CHECK_ZERO:
        return qn_random_u64(r) % 8 ? 0.0f : -0.0f;
    case CHECK_TINY:
        return check_normal(r) * 1e-38f;
    case CHECK_HUGE:
        return check_normal(r) * 1e30f;
    case CHECK_HOSTILE:
        return qn_random_u64(r) % 4 ? check_normal(r) * 10 : check_hostile(r);
    default:
        return check_normal(r);
    }
}

static inline void check_fill(float *x, size_t n, qn_random *r, check_kind kind)
{
    for (size_t i = 0; i < n; i++) x[i] = check_value(r, kind);
}

static inline float *check_random(size_t n, qn_random *r, check_kind kind)
{
    float *x = check_floats(n);
    check_fill(x, n, r, kind);
    return x;
}

static inline float *check_copy(const float *x, size_t n)
{
    float *copy = check_floats(n);
    memcpy(copy, x, n * sizeof *x);
    return copy;
}

/* Best of several runs of `code`, in nanoseconds each; repeats until about 50 ms have passed. */
#define CHECK_TIME(nanoseconds, code)                                                                        \
    do {                                                                                                     \
        const uint64_t check_begin = qn_clock_ns();                                                          \
        (nanoseconds) = 1e30;                                                                                \
        for (int check_run = 0; check_run < 3 || qn_clock_ns() - check_begin < 50000000u; check_run++) {     \
            const uint64_t check_t = qn_clock_ns();                                                          \
            code;                                                                                            \
            const double check_took = (double)(qn_clock_ns() - check_t);                                     \
            if (check_took < (nanoseconds)) (nanoseconds) = check_took;                                      \
        }                                                                                                    \
    } while (0)

#endif
