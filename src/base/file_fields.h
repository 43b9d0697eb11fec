/* file_fields.h: what files of our own are made of: little-endian numbers, and 128-bit digests (XXH3) against
 * damage, not forgery. */
#ifndef QN_BASE_FILE_FIELDS_H
#define QN_BASE_FILE_FIELDS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <xxhash.h>

enum { QN_DIGEST_BYTES = 16 };

static inline void qn_field_put(uint8_t *p, uint64_t v, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++) p[i] = (uint8_t)(v >> 8 * i);
}

static inline uint64_t qn_field_get(const uint8_t *p, int n_bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < n_bytes; i++) v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static inline void qn_digest_put(uint8_t out[QN_DIGEST_BYTES], const void *bytes, size_t n_bytes)
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, n_bytes));
    memcpy(out, canonical.digest, QN_DIGEST_BYTES);
}

static inline bool qn_digest_is(const uint8_t expected[QN_DIGEST_BYTES], const void *bytes, size_t n_bytes)
{
    uint8_t digest[QN_DIGEST_BYTES];
    qn_digest_put(digest, bytes, n_bytes);
    return memcmp(digest, expected, QN_DIGEST_BYTES) == 0;
}

#endif
