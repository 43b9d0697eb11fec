/* byte_alphabet.h: the characters that stand for bytes in the stored texts of byte-level vocabularies
 * (Radford et al. 2019): printable Latin-1 bytes are themselves, the other 68 (0 to 32, 127 to 160, and 173)
 * are U+0100 and up, in order. */
#ifndef QN_VOCAB_BYTE_ALPHABET_H
#define QN_VOCAB_BYTE_ALPHABET_H

#include "base/utf8.h"

static inline bool qn_byte_is_printable(unsigned b)
{
    return (b >= 33 && b <= 126) || (b >= 161 && b != 173 && b <= 255);
}

static inline uint32_t qn_byte_to_character(unsigned b)
{
    if (qn_byte_is_printable(b)) return b;
    return 256 + (b <= 32 ? b : b == 173 ? 67 : b - 127 + 33);
}

/* -1: stands for none. */
static inline int qn_byte_from_character(uint32_t c)
{
    if (c < 256) return qn_byte_is_printable(c) ? (int)c : -1;
    if (c <= 256 + 32) return (int)(c - 256);
    if (c <= 256 + 66) return (int)(c - 256 - 33 + 127);
    return c == 256 + 67 ? 173 : -1;
}

/* The bytes of a stored text; what is not of the alphabet stays as it is. out has room for n_bytes. */
static inline size_t qn_byte_decode(const char *text, size_t n_bytes, char *out)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n_bytes;) {
        uint32_t c;
        const size_t n = qn_utf8_decode(text + i, n_bytes - i, &c);
        const int byte = n > 0 ? qn_byte_from_character(c) : -1;
        if (byte >= 0) {
            out[n_out++] = (char)byte;
            i += n;
        } else {
            for (size_t k = n > 0 ? n : 1; k > 0; k--) out[n_out++] = text[i++];
        }
    }
    return n_out;
}

#endif
