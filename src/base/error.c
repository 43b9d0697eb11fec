/* error.c: building error messages; everything quoted from outside is made harmless first. */
#include "base/error.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

/* Copies text with control bytes and broken UTF-8 as \xNN; stops before the buffer is full. */
static void copy_visible(char *out, size_t out_size, const char *text, size_t n_bytes)
{
    static const char hex[] = "0123456789abcdef";
    size_t used = 0;
    for (size_t i = 0; i < n_bytes;) {
        uint32_t codepoint = 0;
        const size_t n = qn_utf8_decode(text + i, n_bytes - i, &codepoint);
        const bool shown =
            n > 0 && codepoint >= 0x20 && codepoint != 0x7f && !(codepoint >= 0x80 && codepoint < 0xa0);
        const size_t need = shown ? n : 4;
        if (out_size - used <= need) break;
        if (shown) {
            memcpy(out + used, text + i, n);
            i += n;
        } else {
            const unsigned char byte = (unsigned char)text[i++];
            out[used] = '\\', out[used + 1] = 'x', out[used + 2] = hex[byte >> 4],
            out[used + 3] = hex[byte & 15];
        }
        used += need;
    }
    out[used] = '\0';
}

quern_status qn_fail(quern_error *err, quern_status status, const char *format, ...)
{
    if (err == NULL) return status;
    char raw[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    if (n < 0) n = 0;
    err->status = status;
    copy_visible(err->message, sizeof err->message, raw, (size_t)n < sizeof raw ? (size_t)n : sizeof raw - 1);
    return status;
}

void qn_fail_prefix(quern_error *err, const char *format, ...)
{
    if (err == NULL) return;
    char prefix[512], joined[sizeof prefix + sizeof err->message + 4];
    va_list args;
    va_start(args, format);
    if (vsnprintf(prefix, sizeof prefix, format, args) < 0) prefix[0] = '\0';
    va_end(args);
    const int n = snprintf(joined, sizeof joined, "%s: %s", prefix, err->message);
    if (n > 0) copy_visible(err->message, sizeof err->message, joined, strlen(joined));
}

qn_quoted qn_quote(const char *bytes, size_t n_bytes)
{
    qn_quoted q;
    size_t shown = n_bytes < 100 ? n_bytes : 100;
    if (shown < n_bytes) shown -= qn_utf8_incomplete_tail(bytes, shown); /* cut between characters */
    copy_visible(q.text, sizeof q.text - 4, bytes, shown);
    if (shown < n_bytes) strcat(q.text, "...");
    return q;
}
