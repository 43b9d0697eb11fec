/* checksum.h: XXH64 (Yann Collet, xxHash specification 0.2) against damage, not against forgery: as fast
 * as memory is read. */
#ifndef QN_BASE_CHECKSUM_H
#define QN_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Seed 0. */
uint64_t qn_checksum(const void *bytes, size_t n_bytes);

#endif
