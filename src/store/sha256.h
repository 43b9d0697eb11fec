/* sha256.h: SHA-256 of a stream, from libcrypto (which uses the processor's instructions for it). */
#ifndef QN_STORE_SHA256_H
#define QN_STORE_SHA256_H

#include "store/source.h"

typedef struct qn_sha256 qn_sha256;

/* QUERN_ERR_UNSUPPORTED in a build without libcrypto. */
quern_status qn_sha256_create(qn_sha256 **out, quern_error *err);
void qn_sha256_destroy(qn_sha256 *h); /* NULL is fine */
bool qn_sha256_reset(qn_sha256 *h);
bool qn_sha256_update(qn_sha256 *h, const void *bytes, size_t n_bytes);
/* Lower-case hex; the stream ends here until the next reset. */
bool qn_sha256_finish(qn_sha256 *h, char hex[QN_SHA256_HEX + 1]);

#endif
