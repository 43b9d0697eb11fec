/* digest.h: SHA-256 (FIPS 180-4) for names and keys in the core, which does without libcrypto. Some
 * 300 MB/s: for headers, not for weights. */
#ifndef QN_BASE_DIGEST_H
#define QN_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum { QN_DIGEST_BYTES = 32 };

typedef struct qn_digest {
    uint32_t state[8];
    uint64_t n_bytes;
    uint8_t pending[64];
} qn_digest;

void qn_digest_init(qn_digest *d);
void qn_digest_add(qn_digest *d, const void *bytes, size_t n_bytes);
void qn_digest_finish(qn_digest *d, uint8_t out[QN_DIGEST_BYTES]);

#endif
