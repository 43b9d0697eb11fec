/* ascii.h: what eight bytes of a text hold of ASCII, found out at once in one 64-bit register (Warren 2012,
 * "Hacker's Delight", chapter 6). The first byte is the lowest: gguf.c asserts that the machine is
 * little-endian. */
#ifndef QN_VOCAB_ASCII_H
#define QN_VOCAB_ASCII_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { QN_ASCII_STEP = 8 /* bytes that are looked at together */ };

#define QN_ASCII_EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static inline uint64_t qn_ascii_load(const char *text)
{
    uint64_t bytes;
    memcpy(&bytes, text, sizeof bytes);
    return bytes;
}

/* How many bytes come before the first whose upper bit is set. */
static inline size_t qn_ascii_before(uint64_t marks)
{
    return marks == 0 ? QN_ASCII_STEP : (size_t)__builtin_ctzll(marks) / 8;
}

/* How many letters of ASCII the eight bytes begin with; of small ones alone, if any_case is false. */
static inline size_t qn_ascii_letters(const char *text, bool any_case)
{
    const uint64_t bytes = qn_ascii_load(text);
    const uint64_t low = (bytes | (any_case ? QN_ASCII_EACH(0x20) : 0)) & QN_ASCII_EACH(0x7f);
    const uint64_t from_a = low + QN_ASCII_EACH(0x80 - 'a'), beyond_z = low + QN_ASCII_EACH(0x7f - 'z');
    return qn_ascii_before(~(from_a & ~beyond_z & ~bytes) & QN_ASCII_EACH(0x80));
}

/* How many of the eight bytes come before a blank or a control character of ASCII. */
static inline size_t qn_ascii_above_blank(const char *text)
{
    const uint64_t bytes = qn_ascii_load(text);
    const uint64_t above = (bytes & QN_ASCII_EACH(0x7f)) + QN_ASCII_EACH(0x7f - ' ');
    return qn_ascii_before(~(above | bytes) & QN_ASCII_EACH(0x80));
}

/* Whether all bytes are ASCII. */
static inline bool qn_ascii_is(const char *text, size_t n_bytes)
{
    uint64_t all = 0;
    size_t i = 0;
    for (; i + QN_ASCII_STEP <= n_bytes; i += QN_ASCII_STEP) all |= qn_ascii_load(text + i);
    for (; i < n_bytes; i++) all |= (uint8_t)text[i];
    return (all & QN_ASCII_EACH(0x80)) == 0;
}

#endif
