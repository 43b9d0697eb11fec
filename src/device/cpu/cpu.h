/* cpu.h: runs programs on the processor. All threads walk the same program side by side; each takes
 * pieces of an instruction's outputs from a counter; a barrier stands between instructions. */
#ifndef QN_DEVICE_CPU_CPU_H
#define QN_DEVICE_CPU_CPU_H

#include "base/thread_pool.h"
#include "device/device.h"
#include "kernel/kernel.h"

typedef struct qn_cpu qn_cpu;

/* Bytes of scratch memory that qn_cpu_create will take for these parameters. */
size_t qn_cpu_scratch_bytes(const qn_program *p, const qn_device_params *params);

/* Takes all memory and threads that running will ever need. The program must outlive it. */
quern_status qn_cpu_create(qn_cpu **out, const qn_program *p, const qn_kernels *kernels,
                           const qn_device_params *params, quern_error *err);
void qn_cpu_destroy(qn_cpu *c); /* NULL is fine */

/* Runs one step within the limits given at creation. Cannot fail. One call at a time. */
void qn_cpu_step(qn_cpu *c, const qn_batch *batch);

/* Row of logits, [n_vocab]: the i-th output of a step has row first_logits + i. May be changed. */
float *qn_cpu_logits(const qn_cpu *c, size_t row);

/* What that row's greatest logits were when the step ended: of each block of QN_LOGIT_BLOCK. */
const float *qn_cpu_logit_max(const qn_cpu *c, size_t row);

/* The final hidden state of a token of the last step, [n_embd]; if the step wanted them. Valid until the
 * next step; may be changed. */
float *qn_cpu_hidden(const qn_cpu *c, size_t token);

int qn_cpu_threads(const qn_cpu *c);
size_t qn_cpu_taken_bytes(const qn_cpu *c); /* of scratch memory, really taken */

/* What the runs of an instruction took, read and multiplied, added up. */
typedef struct qn_op_count {
    uint64_t ns; /* on worker 0, until the last worker was done */
    uint64_t calls;
    uint64_t weight_bytes; /* read from weights: once for each block of tokens that shares a pass */
    uint64_t kv_bytes;     /* read from cached keys and values */
    uint64_t int8_multiply_adds, float_multiply_adds;
} qn_op_count;

/* Optional profile: from now on every step adds to counts, [n_code], one an instruction; NULL: off. */
void qn_cpu_profile(qn_cpu *c, qn_op_count *counts);

#endif
