/* utf8.h: UTF-8 as RFC 3629 defines it (no overlong forms, no surrogates, at most U+10FFFF). */
#ifndef QN_BASE_UTF8_H
#define QN_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes the first character. Returns its length in bytes, or 0 if the bytes do not begin with a
 * whole valid character (or n_bytes is 0); *codepoint is then untouched. */
size_t qn_utf8_decode(const char *bytes, size_t n_bytes, uint32_t *codepoint);

/* Writes 1 to 4 bytes and returns how many; 0 for surrogates and numbers above U+10FFFF. */
size_t qn_utf8_encode(uint32_t codepoint, char out[4]);

bool qn_utf8_valid(const char *bytes, size_t n_bytes);

/* How many bytes at the end may be the beginning of a character that is not yet complete (0 to 3).
 * Bytes that can no longer become valid do not count. */
size_t qn_utf8_incomplete_tail(const char *bytes, size_t n_bytes);

#endif
