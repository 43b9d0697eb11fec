/* json_text.h: JSON as text that is still arriving: where a value ends, and other text as a JSON string
 * (RFC 8259). Nothing is checked that need not be known: a model's arguments are handed on as they are. */
#ifndef QN_CHAT_JSON_TEXT_H
#define QN_CHAT_JSON_TEXT_H

#include "base/buffer.h"

typedef enum qn_scan_state {
    QN_SCAN_MORE,  /* within the value */
    QN_SCAN_DONE,  /* the value has ended */
    QN_SCAN_BROKEN /* a byte that JSON does not have outside of strings; it is not read */
} qn_scan_state;

/* Zeroed: before an object, an array or a string. Brackets are counted, whichever they are, so depth needs
 * no limit. */
typedef struct qn_json_scan {
    size_t depth;
    bool in_string, escaped;
    qn_scan_state state;
} qn_json_scan;

/* Reads until the value ends or breaks; returns how many bytes were read. */
size_t qn_json_scan_push(qn_json_scan *s, const char *bytes, size_t n_bytes);

/* Appends what stands between the quotes of a JSON string with this text. */
void qn_json_escape(qn_buffer *out, const char *bytes, size_t n_bytes);

/* Reads one character or escape of what stands between the quotes of a JSON string, and appends what it
 * means. Returns how many bytes it took, or 0 if it may be incomplete. The quote is not for this function. An
 * escape that means nothing stands for itself. */
size_t qn_json_unescape(qn_buffer *out, const char *bytes, size_t n_bytes, bool final);

/* A blank of JSON: space, tab, line end. */
static inline bool qn_is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

#endif
