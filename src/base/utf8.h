/* utf8.h: UTF-8 as RFC 3629 defines it (no overlong forms, no surrogates, at most U+10FFFF). */
#ifndef QN_BASE_UTF8_H
#define QN_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes the first character. Returns its length in bytes, or 0 if the bytes do not begin with a
 * whole valid character (or n_bytes is 0); *codepoint is then untouched. */
size_t qn_utf8_decode_any(const char *bytes, size_t n_bytes, uint32_t *codepoint);

/* The same; most characters are told apart without a call. */
static inline size_t qn_utf8_decode(const char *bytes, size_t n_bytes, uint32_t *codepoint)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (n_bytes >= 1 && b[0] < 0x80) return *codepoint = b[0], 1;
    if (n_bytes >= 3 && b[0] >= 0xe1 && b[0] <= 0xec && (b[1] & 0xc0) == 0x80 && (b[2] & 0xc0) == 0x80)
        return *codepoint = (b[0] & 0x0fu) << 12 | (b[1] & 0x3fu) << 6 | (b[2] & 0x3fu), 3;
    return qn_utf8_decode_any(bytes, n_bytes, codepoint);
}

/* Writes 1 to 4 bytes and returns how many; 0 for surrogates and numbers above U+10FFFF. */
size_t qn_utf8_encode(uint32_t codepoint, char out[4]);

/* Unicode's property White_Space. */
bool qn_utf8_is_white_space(uint32_t codepoint);

bool qn_utf8_valid(const char *bytes, size_t n_bytes);

/* How many bytes at the end may be the beginning of a character that is not yet complete (0 to 3).
 * Bytes that can no longer become valid do not count. */
size_t qn_utf8_incomplete_tail(const char *bytes, size_t n_bytes);

#endif
