/* hexadecimal.h: reading hexadecimal digits, large or small, as escapes in many languages have them. */
#ifndef QN_BASE_HEXADECIMAL_H
#define QN_BASE_HEXADECIMAL_H

#include <stddef.h>
#include <stdint.h>

/* 0 to 15, or -1 for what is no digit. */
static inline int qn_hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Reads the digits at the beginning of bytes, at most max_digits of them, and as many as 32 bits hold.
 * Returns how many; *value is 0 where there are none. */
static inline size_t qn_hex_read(const char *bytes, size_t n_bytes, size_t max_digits, uint32_t *value)
{
    size_t n = 0;
    *value = 0;
    for (; n < n_bytes && n < max_digits && qn_hex_digit(bytes[n]) >= 0 && *value <= UINT32_MAX >> 4; n++)
        *value = *value << 4 | (uint32_t)qn_hex_digit(bytes[n]);
    return n;
}

#endif
