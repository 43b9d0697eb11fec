/* output_look.c: matching of text that may not be complete yet (see output_state.h). */
#include "chat/output_state.h"

qn_look qn_look_at(const qn_output_parser *p, size_t at)
{
    const size_t rest = p->pending.n_bytes - at;
    return (qn_look){p->pending.data, at + (rest < QN_OUTPUT_MAX_HEAD ? rest : QN_OUTPUT_MAX_HEAD), at};
}

void qn_look_blanks(qn_look *l)
{
    while (l->at < l->n_bytes && qn_is_blank(l->bytes[l->at])) l->at++;
}

qn_match qn_look_text(qn_look *l, const char *text, size_t n_bytes)
{
    while (n_bytes > 0 && qn_is_blank(text[n_bytes - 1])) n_bytes--; /* how many come is not yet known */
    for (size_t i = 0; i < n_bytes; i++) {
        if (qn_is_blank(text[i])) {
            qn_look_blanks(l);
            continue;
        }
        if (l->at == l->n_bytes) return QN_MATCH_PART;
        if (l->bytes[l->at] != text[i]) return QN_MATCH_NONE;
        l->at++;
    }
    return QN_MATCH_FULL;
}

qn_match qn_look_byte(qn_look *l, char c)
{
    qn_look_blanks(l);
    if (l->at == l->n_bytes) return QN_MATCH_PART;
    if (l->bytes[l->at] != c) return QN_MATCH_NONE;
    l->at++;
    return QN_MATCH_FULL;
}

static bool is_name_byte(char c)
{
    return (unsigned char)c > ' ' && c != 0x7f && strchr("<>[]{}()\"'`=,:;|\\", c) == NULL;
}

qn_match qn_look_name(qn_look *l, qn_span *name)
{
    name->begin = l->at;
    while (l->at < l->n_bytes && is_name_byte(l->bytes[l->at]) && l->at - name->begin <= QN_OUTPUT_MAX_NAME)
        l->at++;
    name->end = l->at;
    if (l->at - name->begin > QN_OUTPUT_MAX_NAME) return QN_MATCH_NONE;
    if (l->at == l->n_bytes) return QN_MATCH_PART;
    return l->at > name->begin ? QN_MATCH_FULL : QN_MATCH_NONE;
}

qn_match qn_look_string(qn_look *l, qn_span *text)
{
    const qn_match quote = qn_look_byte(l, '"');
    if (quote != QN_MATCH_FULL) return quote;
    text->begin = l->at;
    for (; l->at < l->n_bytes; l->at++) {
        const char c = l->bytes[l->at];
        if (c == '\\' || (unsigned char)c < ' ' || l->at - text->begin > QN_OUTPUT_MAX_NAME)
            return QN_MATCH_NONE;
        if (c != '"') continue;
        text->end = l->at++;
        return QN_MATCH_FULL;
    }
    return QN_MATCH_PART;
}

qn_match qn_look_value(qn_look *l)
{
    qn_look_blanks(l);
    if (l->at == l->n_bytes) return QN_MATCH_PART;
    const char c = l->bytes[l->at];
    if (c == '{' || c == '[' || c == '"') {
        qn_json_scan scan = {0};
        l->at += qn_json_scan_push(&scan, l->bytes + l->at, l->n_bytes - l->at);
        return scan.state == QN_SCAN_DONE     ? QN_MATCH_FULL
               : scan.state == QN_SCAN_BROKEN ? QN_MATCH_NONE
                                              : QN_MATCH_PART;
    }
    const size_t begin = l->at; /* a number, true, false, null */
    while (l->at < l->n_bytes && is_name_byte(l->bytes[l->at])) l->at++;
    if (l->at == begin) return QN_MATCH_NONE;
    return l->at == l->n_bytes ? QN_MATCH_PART : QN_MATCH_FULL;
}
