/* sha256_none.c: stands in for sha256_openssl.c in a build without libcrypto. */
#include "store/sha256.h"

quern_status qn_sha256_create(qn_sha256 **out, quern_error *err)
{
    *out = NULL;
    return qn_fail(err, QUERN_ERR_UNSUPPORTED,
                   "this build of quern has no libcrypto, so it can check no download (install libssl-dev "
                   "and build again)");
}

void qn_sha256_destroy(qn_sha256 *h)
{
    (void)h;
}

bool qn_sha256_reset(qn_sha256 *h)
{
    (void)h;
    return false;
}

bool qn_sha256_update(qn_sha256 *h, const void *bytes, size_t n_bytes)
{
    (void)h, (void)bytes, (void)n_bytes;
    return false;
}

bool qn_sha256_finish(qn_sha256 *h, char hex[QN_SHA256_HEX + 1])
{
    (void)h;
    hex[0] = '\0';
    return false;
}
