/* random.h: counter-based random numbers. The n-th number of a stream depends on (seed, stream, n)
 * alone, so a draw for a position is the same whatever was drawn before, by whom, or how often. */
#ifndef QN_BASE_RANDOM_H
#define QN_BASE_RANDOM_H

#include <stdint.h>

typedef struct qn_random {
    uint64_t seed, stream, counter;
} qn_random;

uint64_t qn_random_u64(qn_random *r);
double qn_random_unit(qn_random *r); /* uniform in [0, 1), 53 bits */
uint64_t qn_random_seed(void);       /* from the system's entropy */

#endif
