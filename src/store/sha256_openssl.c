/* sha256_openssl.c: SHA-256 through OpenSSL's EVP interface. */
#include "store/sha256.h"

#include "base/alloc.h"

#include <openssl/evp.h>

struct qn_sha256 {
    EVP_MD_CTX *ctx;
};

quern_status qn_sha256_create(qn_sha256 **out, quern_error *err)
{
    qn_sha256 *h = *out = qn_calloc(1, sizeof *h);
    if (h != NULL) h->ctx = EVP_MD_CTX_new();
    if (h != NULL && h->ctx != NULL && qn_sha256_reset(h)) return QUERN_OK;
    qn_sha256_destroy(h);
    *out = NULL;
    return qn_fail(err, QUERN_ERR_NOMEM, "no memory for a SHA-256 state");
}

void qn_sha256_destroy(qn_sha256 *h)
{
    if (h == NULL) return;
    EVP_MD_CTX_free(h->ctx);
    qn_free(h);
}

bool qn_sha256_reset(qn_sha256 *h)
{
    return EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) == 1;
}

bool qn_sha256_update(qn_sha256 *h, const void *bytes, size_t n_bytes)
{
    return EVP_DigestUpdate(h->ctx, bytes, n_bytes) == 1;
}

bool qn_sha256_finish(qn_sha256 *h, char hex[QN_SHA256_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (EVP_DigestFinal_ex(h->ctx, digest, &n) != 1 || n != QN_SHA256_HEX / 2) return false;
    for (unsigned i = 0; i < n; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[QN_SHA256_HEX] = '\0';
    return true;
}
