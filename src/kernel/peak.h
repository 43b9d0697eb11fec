/* peak.h: what a processor can do at best: the measures that `quern bench --limits` holds results against.
 *
 * Every function does work whose amount is known and gives back a number that only the work itself can
 * give, so that neither a compiler nor a mistake can leave it out unseen. */
#ifndef QN_KERNEL_PEAK_H
#define QN_KERNEL_PEAK_H

#include <stddef.h>
#include <stdint.h>

/* Reads with the widest loads: the sum of n words, modulo 2^64. data is 64-byte aligned, n a multiple of
 * QN_PEAK_READ_WORDS. Memory answers several sequences of addresses faster than one, and faster still when
 * asked ahead, so the vector variants read four parts in turns, as the matrix kernels do. */
enum {
    QN_PEAK_READ_WORDS = 64,
    QN_PEAK_STREAMS = 4,
    QN_PEAK_AHEAD = 1024 /* bytes */
};
typedef uint64_t qn_peak_read_fn(const uint64_t *data, size_t n);

/* Rounds of multiply-adds with all operands in registers, in as many independent chains as hide the latency,
 * with the instructions that the matrix kernels of this instruction set use. All operands are 1, so *sum, the
 * total of all chains, is the number of multiply-adds, which is returned; exact up to 16000 rounds. */
typedef uint64_t qn_peak_ops_fn(size_t n_rounds, uint64_t *sum);

/* The operands: 64 bytes of 1, and 16 times 1.0f, where no compiler of a kernel sees their values. */
extern const int8_t qn_peak_ones_i8[64];
extern const float qn_peak_ones_f32[16];

#define QN_PEAK_DECLARE(isa)                                                                                 \
    qn_peak_read_fn qn_peak_read_##isa;                                                                      \
    qn_peak_ops_fn qn_peak_float_##isa, qn_peak_int8_##isa

#define QN_PEAK_ENTRIES(integer_isa, isa)                                                                    \
    .peak_read = qn_peak_read_##isa, .peak_float = qn_peak_float_##isa,                                      \
    .peak_int8 = qn_peak_int8_##integer_isa,

QN_PEAK_DECLARE(scalar);
QN_PEAK_DECLARE(avx2);
QN_PEAK_DECLARE(avx512);
QN_PEAK_DECLARE(avx512_emulated);
qn_peak_ops_fn qn_peak_int8_amx, qn_peak_int8_amx_emulated;

#endif
