/* memory.h: how much memory this machine can still give. */
#ifndef QN_BASE_MEMORY_H
#define QN_BASE_MEMORY_H

#include <stdint.h>

/* Bytes that can be taken without swapping: what the kernel calls available, and no more than what is
 * left of the control group's limit. UINT64_MAX if neither is known. */
uint64_t qn_memory_available(void);

#endif
