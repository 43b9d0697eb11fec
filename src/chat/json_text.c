/* json_text.c: see json_text.h. */
#include "chat/json_text.h"

#include "base/hexadecimal.h"
#include "base/utf8.h"

#include <string.h>

/* What may stand outside of strings: brackets, separators, blanks, numbers, true, false, null. */
static bool is_json_byte(char c)
{
    return qn_is_blank(c) || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("\"{}[]:,+-._", c) != NULL);
}

static void scan_byte(qn_json_scan *s, char c)
{
    if (s->in_string) {
        if (s->escaped) s->escaped = false;
        else if (c == '\\') s->escaped = true;
        else if (c == '"') s->in_string = false;
        if (!s->in_string && s->depth == 0) s->state = QN_SCAN_DONE;
    } else if (c == '"') {
        s->in_string = true;
    } else if (c == '{' || c == '[') {
        s->depth++;
    } else if (c == '}' || c == ']') {
        if (s->depth <= 1) s->state = QN_SCAN_DONE;
        if (s->depth > 0) s->depth--;
    }
}

size_t qn_json_scan_push(qn_json_scan *s, const char *bytes, size_t n_bytes)
{
    size_t i = 0;
    while (i < n_bytes && s->state == QN_SCAN_MORE) {
        if (!s->in_string && !is_json_byte(bytes[i])) s->state = QN_SCAN_BROKEN;
        else scan_byte(s, bytes[i++]);
    }
    return i;
}

void qn_json_escape(qn_buffer *out, const char *bytes, size_t n_bytes)
{
    static const char names[] = "btn\0fr"; /* of 8 to 13 */
    for (size_t i = 0, plain = 0; i <= n_bytes; i++) {
        const unsigned char c = i < n_bytes ? (unsigned char)bytes[i] : 0;
        if (i < n_bytes && c >= 0x20 && c != '"' && c != '\\') continue;
        qn_buffer_append(out, bytes + plain, i - plain);
        plain = i + 1;
        if (i == n_bytes) break;
        if (c == '"' || c == '\\') qn_buffer_printf(out, "\\%c", c);
        else if (c >= 8 && c <= 13 && names[c - 8] != '\0') qn_buffer_printf(out, "\\%c", names[c - 8]);
        else qn_buffer_printf(out, "\\u%04x", c);
    }
}

/* \uXXXX, or two of them that make a surrogate pair. 0: may be incomplete. */
static size_t unescape_unicode(qn_buffer *out, const char *bytes, size_t n_bytes, bool final)
{
    uint32_t code = 0, low = 0;
    size_t taken = 6;
    char text[4];
    if (n_bytes < 6 && !final) return 0;
    if (n_bytes < 6 || qn_hex_read(bytes + 2, 4, 4, &code) < 4) {
        qn_buffer_append(out, bytes, 1);
        return 1;
    }
    if (code >= 0xD800 && code < 0xDC00) {
        if (n_bytes < 12 && !final && memcmp(bytes + 6, "\\u", n_bytes - 6 < 2 ? n_bytes - 6 : 2) == 0)
            return 0;
        if (n_bytes >= 12 && bytes[6] == '\\' && bytes[7] == 'u' && qn_hex_read(bytes + 8, 4, 4, &low) == 4 &&
            low >= 0xDC00 && low < 0xE000) {
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            taken = 12;
        }
    }
    const size_t n = qn_utf8_encode(code, text);
    qn_buffer_append(out, n > 0 ? text : "\xEF\xBF\xBD", n > 0 ? n : 3); /* half a pair is no character */
    return taken;
}

size_t qn_json_unescape(qn_buffer *out, const char *bytes, size_t n_bytes, bool final)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (n_bytes == 0) return 0;
    if (bytes[0] != '\\') {
        size_t n = 1;
        while (n < n_bytes && bytes[n] != '\\' && bytes[n] != '"') n++;
        qn_buffer_append(out, bytes, n);
        return n;
    }
    if (n_bytes == 1) {
        if (final) qn_buffer_putc(out, '\\');
        return final ? 1 : 0;
    }
    if (bytes[1] == 'u') return unescape_unicode(out, bytes, n_bytes, final);
    const char *known = bytes[1] != '\0' ? strchr(from, bytes[1]) : NULL;
    if (known != NULL) qn_buffer_putc(out, to[known - from]);
    else qn_buffer_append(out, bytes, 1);
    return known != NULL ? 2 : 1;
}
