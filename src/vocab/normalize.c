/* normalize.c: see normalize.h. */
#include "vocab/normalize.h"

#include "base/utf8.h"

#include <stdint.h>
#include <utf8proc.h>

enum {
    STRETCH = 128, /* characters, each of which becomes at most 4 when decomposed */
    DECOMPOSED = 4 * STRETCH + 16,
};

/* Stable in NFC, combining class 0, and never the second half of a composition. */
static bool is_boundary(uint32_t c)
{
    if (c < 0x300 || (c >= 0x4e00 && c <= 0x9fff) || (c >= 0xac00 && c <= 0xd7a3)) return true;
    if (c >= 0x1160 && c <= 0x11ff) return false; /* conjoining vowels and final consonants */
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)c);
    if (p->category == UTF8PROC_CATEGORY_MN || p->category == UTF8PROC_CATEGORY_MC) return false;
    if (p->combining_class != 0) return false;
    return p->decomp_seqindex == UINT16_MAX || p->decomp_type != 0; /* has no canonical decomposition */
}

bool qn_normalize_may_change(const char *text, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes;) {
        if ((unsigned char)text[i] < 0xcc) { /* U+0300 is the first that can change: 0xcc 0x80 */
            i++;
            continue;
        }
        uint32_t c;
        const size_t n = qn_utf8_decode(text + i, n_bytes - i, &c);
        if (n > 0 && !is_boundary(c)) return true;
        i += n > 0 ? n : 1;
    }
    return false;
}

static bool normalize_stretch(qn_buffer *out, const char *text, size_t n_bytes)
{
    utf8proc_int32_t codepoints[DECOMPOSED];
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    const utf8proc_ssize_t n = utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n_bytes,
                                                  codepoints, DECOMPOSED, options);
    if (n < 0 || n > DECOMPOSED) return qn_buffer_append(out, text, n_bytes); /* cannot be; keep the text */
    const utf8proc_ssize_t composed = utf8proc_normalize_utf32(codepoints, n, options);
    if (composed < 0) return qn_buffer_append(out, text, n_bytes);
    for (utf8proc_ssize_t i = 0; i < composed; i++) {
        char bytes[4];
        if (!qn_buffer_append(out, bytes, qn_utf8_encode((uint32_t)codepoints[i], bytes))) return false;
    }
    return true;
}

bool qn_normalize_nfc(qn_buffer *out, const char *text, size_t n_bytes)
{
    size_t copied = 0; /* text[0, copied) is in out */
    size_t last = 0;   /* where the last boundary character begins */
    for (size_t i = 0; i < n_bytes;) {
        uint32_t c;
        const size_t n = qn_utf8_decode(text + i, n_bytes - i, &c);
        if (n == 0 || is_boundary(c)) {
            last = n == 0 ? i + 1 : i; /* nothing joins an invalid byte */
            i += n == 0 ? 1 : n;
            continue;
        }
        if (last < copied) last = copied;
        size_t end = i + n;
        for (int count = 2; end < n_bytes && count < STRETCH; count++) {
            const size_t next = qn_utf8_decode(text + end, n_bytes - end, &c);
            if (next == 0 || is_boundary(c)) break;
            end += next;
        }
        if (!qn_buffer_append(out, text + copied, last - copied)) return false;
        if (!normalize_stretch(out, text + last, end - last)) return false;
        copied = last = i = end;
    }
    return qn_buffer_append(out, text + copied, n_bytes - copied);
}
