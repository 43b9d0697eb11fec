/* utf8.c: decoding and encoding of UTF-8, by the table of well-formed sequences in The Unicode
 * Standard, chapter 3 (table 3-7). */
#include "base/utf8.h"

/* Length that a lead byte announces, and the allowed range of the second byte; 0: not a lead byte. */
static size_t sequence(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80, *high = 0xbf;
    if (lead < 0x80) return 1;
    if (lead >= 0xc2 && lead <= 0xdf) return 2;
    if (lead >= 0xe0 && lead <= 0xef) {
        if (lead == 0xe0) *low = 0xa0;  /* overlong */
        if (lead == 0xed) *high = 0x9f; /* surrogates */
        return 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (lead == 0xf0) *low = 0x90;  /* overlong */
        if (lead == 0xf4) *high = 0x8f; /* above U+10FFFF */
        return 4;
    }
    return 0;
}

/* How many of the bytes form a correct beginning of one character. */
static size_t valid_prefix(const unsigned char *b, size_t n_bytes, size_t *length)
{
    unsigned char low, high;
    *length = n_bytes > 0 ? sequence(b[0], &low, &high) : 0;
    if (*length == 0) return 0;
    size_t i = 1;
    while (i < *length && i < n_bytes && b[i] >= low && b[i] <= high) low = 0x80, high = 0xbf, i++;
    return i;
}

size_t qn_utf8_decode_any(const char *bytes, size_t n_bytes, uint32_t *codepoint)
{
    const unsigned char *b = (const unsigned char *)bytes;
    size_t length;
    if (valid_prefix(b, n_bytes, &length) < length || length == 0) return 0;
    static const unsigned char lead_mask[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t value = b[0] & lead_mask[length];
    for (size_t i = 1; i < length; i++) value = value << 6 | (b[i] & 0x3f);
    *codepoint = value;
    return length;
}

size_t qn_utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) return out[0] = (char)c, 1;
    if (c < 0x800) return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 0x3f)), 2;
    if (c >= 0xd800 && c < 0xe000) return 0;
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 0x3f)),
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    if (c > 0x10ffff) return 0;
    out[0] = (char)(0xf0 | c >> 18), out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f)), out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

bool qn_utf8_is_white_space(uint32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool qn_utf8_valid(const char *bytes, size_t n_bytes)
{
    uint32_t codepoint;
    for (size_t i = 0; i < n_bytes;) {
        const size_t n = qn_utf8_decode(bytes + i, n_bytes - i, &codepoint);
        if (n == 0) return false;
        i += n;
    }
    return true;
}

size_t qn_utf8_incomplete_tail(const char *bytes, size_t n_bytes)
{
    for (size_t tail = 1; tail <= 3 && tail <= n_bytes; tail++) {
        const unsigned char *b = (const unsigned char *)bytes + n_bytes - tail;
        size_t length;
        if (valid_prefix(b, tail, &length) == tail && length > tail) return tail;
    }
    return 0;
}
