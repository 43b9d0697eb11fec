/* clock.h: monotonic time, for measuring only. */
#ifndef QN_BASE_CLOCK_H
#define QN_BASE_CLOCK_H

#include <stdint.h>

uint64_t qn_clock_ns(void); /* nanoseconds since some fixed moment; never goes back */

#endif
