/* checksum.c: XXH64, after the specification in doc/xxhash_spec.md of xxHash. */
#include "base/checksum.h"

#include <string.h>

static const uint64_t P1 = 0x9E3779B185EBCA87u, P2 = 0xC2B2AE3D27D4EB4Fu, P3 = 0x165667B19E3779F9u,
                      P4 = 0x85EBCA77C2B2AE63u, P5 = 0x27D4EB2F165667C5u;

static uint64_t rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}
static uint64_t lane64(const uint8_t *p) /* little-endian machines only, as the whole program */
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static uint64_t take(uint64_t acc, uint64_t lane)
{
    return rotl(acc + lane * P2, 31) * P1;
}

uint64_t qn_checksum(const void *bytes, size_t n_bytes)
{
    const uint8_t *p = bytes;
    size_t left = n_bytes;
    uint64_t h = P5;
    if (left >= 32) {
        uint64_t acc[4] = {P1 + P2, P2, 0, 0 - P1};
        for (; left >= 32; p += 32, left -= 32)
            for (int i = 0; i < 4; i++) acc[i] = take(acc[i], lane64(p + 8 * i));
        h = rotl(acc[0], 1) + rotl(acc[1], 7) + rotl(acc[2], 12) + rotl(acc[3], 18);
        for (int i = 0; i < 4; i++) h = (h ^ take(0, acc[i])) * P1 + P4;
    }
    h += n_bytes;
    for (; left >= 8; p += 8, left -= 8) h = rotl(h ^ take(0, lane64(p)), 27) * P1 + P4;
    if (left >= 4) {
        uint32_t lane;
        memcpy(&lane, p, sizeof lane);
        h = rotl(h ^ lane * P1, 23) * P2 + P3;
        p += 4, left -= 4;
    }
    for (; left > 0; p++, left--) h = rotl(h ^ *p * P5, 11) * P1;
    h = (h ^ h >> 33) * P2;
    h = (h ^ h >> 29) * P3;
    return h ^ h >> 32;
}
