/* check_matrix.h: what the parts of checkkernel share. */
#ifndef QN_TESTS_KERNEL_CHECK_MATRIX_H
#define QN_TESTS_KERNEL_CHECK_MATRIX_H

#include "kernel/dispatch.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Deterministic random numbers, one stream for the program. */
uint32_t check_random(void);
float check_random_float(void); /* uniform in (-1, 1) */
size_t check_random_below(size_t n);

/* Heap memory of exactly n_bytes, aligned to 64, so that a sanitizer sees any step over its end. */
void *check_alloc(size_t n_bytes);

/* Bits equal, or both NaN (processors differ in which NaN). */
bool check_same(float a, float b);

/* Reports a failure; after a few, only counts. */
__attribute__((format(printf, 1, 2))) void check_fail(const char *format, ...);
long check_failures(void);

/* Best thread CPU time in seconds of several calls, for about 0.2 s. */
double check_best_seconds(void (*fn)(void *), void *user);

/* Blocks as a file has them, with contents of a kind. */
typedef enum check_fill {
    FILL_RANDOM,
    FILL_LOWEST,
    FILL_HIGHEST,
    FILL_ZERO_SCALE,
    FILL_HUGE,
    FILL_INFINITE,
    FILL_NAN,
    FILL_KINDS
} check_fill;
extern const char *const check_fill_names[FILL_KINDS];
void check_fill_blocks(qn_tensor_type type, uint8_t *blocks, size_t n_values, check_fill fill);

/* The greatest minimum (as a magnitude) that a block subtracts or adds; 0 for types without. */
double check_block_min(qn_tensor_type type, const uint8_t *block);

/* The parts. `only`: a type's name, or NULL for all. */
void check_matrix_reference(const char *only);
void check_matrix_variant(const qn_kernels *k, const char *label, const char *only);
void bench_matrix(const qn_kernels *k, const char *only);

#endif
