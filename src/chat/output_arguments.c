/* output_arguments.c: the arguments of a call as JSON text, delta by delta (see output_state.h).
 *
 * Arguments that are JSON go out as they were written. Parameters between texts become the members of an
 * object: one that the tool's schema says is a string goes out as it comes; any other is held until its end,
 * and is then the JSON or the Python value that it looks like, or else text. */
#include "chat/output_state.h"

#include "base/utf8.h"

/* The unread text of which no character is cut. */
static size_t whole_bytes(const qn_output_parser *p)
{
    const size_t n = p->pending.n_bytes - p->at;
    return p->final ? n : n - qn_utf8_incomplete_tail(p->pending.data + p->at, n);
}

static const char *unread(const qn_output_parser *p)
{
    return p->pending.data + p->at;
}

void qn_output_start_arguments(qn_output_parser *p, const qn_call_head *head)
{
    p->arguments = head->arguments;
    p->some_arguments = p->some_parameters = false;
    p->scan = (qn_json_scan){0};
    if (head->arguments == QN_ARGUMENTS_LITERAL) {
        qn_literal_begin_object(&p->literal, head->closes, p->format->quote, &p->out);
        qn_output_emit_arguments(p);
    }
}

/* ---- JSON ---- */

static bool json_step(qn_output_parser *p)
{
    const size_t n = qn_json_scan_push(&p->scan, unread(p), whole_bytes(p));
    qn_buffer_append(&p->out, unread(p), n);
    p->at += n;
    qn_output_emit_arguments(p);
    if (p->scan.state == QN_SCAN_MORE) return false;
    qn_output_end_call(p, p->scan.state == QN_SCAN_DONE);
    return true;
}

static bool string_step(qn_output_parser *p)
{
    const size_t end = p->at + whole_bytes(p);
    bool ended = false;
    while (p->at < end && !ended) {
        ended = *unread(p) == '"';
        const size_t n = ended ? 1 : qn_json_unescape(&p->out, unread(p), end - p->at, p->final);
        if (n == 0) break;
        p->at += n;
    }
    qn_output_emit_arguments(p);
    if (!ended) return false;
    qn_output_end_call(p, true);
    return true;
}

static bool literal_step(qn_output_parser *p)
{
    p->at += qn_literal_push(&p->literal, unread(p), p->pending.n_bytes - p->at, p->final, &p->out);
    qn_output_emit_arguments(p);
    if (p->literal.state == QN_LITERAL_MORE) return false;
    qn_output_end_call(p, p->literal.state == QN_LITERAL_DONE);
    return true;
}

/* ---- the body of a message ---- */

/* The first of the texts that end a message; PART: one may begin there. */
static qn_match find_message_end(const qn_output_parser *p, size_t *at)
{
    const qn_output_format *f = p->format;
    const size_t n = p->pending.n_bytes;
    for (*at = p->at; *at < n; ++*at) {
        qn_match match = QN_MATCH_NONE;
        if (!p->marks[(unsigned char)p->pending.data[*at]]) continue;
        for (size_t i = 0; i <= QN_FORMAT_TEXTS && match == QN_MATCH_NONE; i++) {
            const char *text = i < QN_FORMAT_TEXTS ? f->message_end[i] : f->message_begin;
            qn_look l = qn_look_at(p, *at);
            if (text != NULL) match = qn_look_text(&l, text, strlen(text));
        }
        if (match != QN_MATCH_NONE) return match;
    }
    return QN_MATCH_NONE;
}

static bool body_step(qn_output_parser *p)
{
    size_t at;
    const qn_match match = find_message_end(p, &at);
    if (match == QN_MATCH_NONE || (match == QN_MATCH_PART && p->final)) at = p->at + whole_bytes(p);
    qn_json_scan_push(&p->scan, unread(p), at - p->at); /* only to know at the end whether it was whole */
    qn_buffer_append(&p->out, unread(p), at - p->at);
    p->at = at;
    qn_output_emit_arguments(p);
    const bool ended = match == QN_MATCH_FULL || (p->final && p->scan.state == QN_SCAN_DONE);
    if (ended) qn_output_end_call(p, true);
    return ended;
}

/* ---- parameters ---- */

typedef enum value_type { TYPE_UNKNOWN, TYPE_STRING, TYPE_OTHER } value_type;

/* What the schema says of a parameter. Text that may also be null is a string. */
static value_type type_of(const qn_output_parser *p, const char *key, size_t n_bytes)
{
    char name[QN_OUTPUT_MAX_NAME + 1];
    if (n_bytes > QN_OUTPUT_MAX_NAME) return TYPE_UNKNOWN;
    memcpy(name, key, n_bytes);
    name[n_bytes] = '\0';
    const json_t *type = json_object_get(json_object_get(p->properties, name), "type");
    if (json_is_array(type)) {
        const json_t *first = json_array_get(type, 0);
        const bool is_null = json_is_string(first) && strcmp(json_string_value(first), "null") == 0;
        type = json_array_size(type) == 1 || !is_null ? first : json_array_get(type, 1);
    }
    if (!json_is_string(type)) return TYPE_UNKNOWN;
    return strcmp(json_string_value(type), "string") == 0 ? TYPE_STRING : TYPE_OTHER;
}

/* text without the blanks around it: what must be found for certain. */
static const char *trimmed(const char *text, size_t *n_bytes)
{
    while (qn_is_blank(*text)) text++;
    *n_bytes = strlen(text);
    while (*n_bytes > 0 && qn_is_blank(text[*n_bytes - 1])) --*n_bytes;
    return text;
}

/* text, and behind it one line end if text ends so. */
static qn_match look_key_end(qn_look *l, const char *text)
{
    size_t n;
    if (text == NULL) return QN_MATCH_NONE;
    const bool line = text[strlen(text) - 1] == '\n';
    text = trimmed(text, &n);
    const qn_match match = qn_look_text(l, text, n);
    if (match != QN_MATCH_FULL || !line) return match;
    if (l->at == l->n_bytes) return QN_MATCH_PART;
    l->at += l->bytes[l->at] == '\n';
    return QN_MATCH_FULL;
}

/* KEY and key_end. *is_text: by the text behind the key. */
static qn_match look_key(const qn_output_parser *p, qn_look *l, qn_span *key, bool *is_text)
{
    const qn_output_format *f = p->format;
    key->begin = l->at;
    for (; l->at < l->n_bytes && l->at - key->begin <= QN_OUTPUT_MAX_NAME; l->at++) {
        if (strchr("<>\"\n", l->bytes[l->at]) == NULL || l->bytes[l->at] == '\0') continue;
        key->end = l->at;
        qn_look as_text = *l;
        const qn_match match = look_key_end(&as_text, f->string_key_end);
        *is_text = match == QN_MATCH_FULL;
        if (match == QN_MATCH_PART) return match;
        if (match == QN_MATCH_NONE) return look_key_end(l, f->key_end);
        *l = as_text;
        return match;
    }
    return l->at == l->n_bytes && l->at - key->begin <= QN_OUTPUT_MAX_NAME ? QN_MATCH_PART : QN_MATCH_NONE;
}

static void begin_parameter(qn_output_parser *p, qn_span key, bool is_text)
{
    const qn_output_format *f = p->format;
    const char *name = p->pending.data + key.begin;
    const size_t n = key.end - key.begin;
    const bool typed = f->string_key_end != NULL && f->string_value_end == NULL; /* the model told the type */
    p->value_end = is_text && f->string_value_end != NULL ? f->string_value_end : f->value_end;
    is_text = is_text || (!typed && type_of(p, name, n) == TYPE_STRING);
    qn_buffer_puts(&p->out, p->some_parameters ? ", \"" : "{\"");
    qn_json_escape(&p->out, name, n);
    qn_buffer_puts(&p->out, is_text ? "\": \"" : "\": ");
    qn_output_emit_arguments(p);
    p->some_parameters = true;
    p->n_scanned = 0;
    p->arguments = is_text ? QN_ARGUMENTS_TEXT_VALUE : QN_ARGUMENTS_HELD_VALUE;
}

static bool end_parameters(qn_output_parser *p, bool complete)
{
    qn_buffer_puts(&p->out, p->some_parameters ? "}" : "{}");
    qn_output_emit_arguments(p);
    qn_output_end_call(p, complete);
    return true;
}

/* Before a parameter or the end of the call. */
static bool parameters_step(qn_output_parser *p)
{
    const qn_output_format *f = p->format;
    qn_look l = qn_look_at(p, p->at), end = l;
    qn_span key = {0};
    bool is_text = false;
    qn_look_blanks(&l);
    qn_look_blanks(&end);
    qn_match match = qn_look_text(&l, f->parameter_begin, strlen(f->parameter_begin));
    if (match == QN_MATCH_FULL) match = look_key(p, &l, &key, &is_text);
    const bool impatient = p->pending.n_bytes - p->at >= QN_OUTPUT_MAX_HEAD;
    if (match == QN_MATCH_PART && !impatient) return false;
    if (match == QN_MATCH_FULL) {
        p->at = l.at;
        begin_parameter(p, key, is_text);
        return true;
    }
    match = qn_look_text(&end, f->arguments_end, strlen(f->arguments_end));
    if (match == QN_MATCH_PART && !impatient) return false;
    if (match != QN_MATCH_FULL) return end_parameters(p, false);
    p->at = end.at;
    p->call_open = false;
    return end_parameters(p, true);
}

/* Where the value ends: FULL with *n_value, and *n_all with what ends it. PART: *n_value bytes are certainly
 * part of it. Looks from `from` bytes on. */
static qn_match find_value_end(const qn_output_parser *p, size_t from, size_t *n_value, size_t *n_all)
{
    const char *text = unread(p);
    const size_t n = p->pending.n_bytes - p->at;
    size_t n_end;
    const char *end = trimmed(p->value_end, &n_end);
    const bool line = p->value_end[0] == '\n';
    const char *found = from < n ? memmem(text + from, n - from, end, n_end) : NULL;
    size_t value = n;
    if (found != NULL) value = (size_t)(found - text);
    else
        for (size_t tail = n_end - 1 < n ? n_end - 1 : n; tail > 0 && value == n; tail--)
            if (memcmp(text + n - tail, end, tail) == 0) value = n - tail;
    *n_all = value + n_end;
    if (line && value > 0 && text[value - 1] == '\n') value--;
    if (found == NULL) value -= qn_utf8_incomplete_tail(text, value);
    *n_value = value;
    return found != NULL ? QN_MATCH_FULL : QN_MATCH_PART;
}

static bool text_value_step(qn_output_parser *p)
{
    size_t n_value, n_all;
    const qn_match match = find_value_end(p, 0, &n_value, &n_all);
    qn_json_escape(&p->out, unread(p), n_value);
    p->at += match == QN_MATCH_FULL ? n_all : n_value;
    if (match == QN_MATCH_FULL) qn_buffer_putc(&p->out, '"');
    qn_output_emit_arguments(p);
    if (match == QN_MATCH_FULL) p->arguments = QN_ARGUMENTS_PARAMETERS;
    return match == QN_MATCH_FULL;
}

/* Appends a Python value as JSON; false: it is none. */
static bool append_python(qn_buffer *out, const char *text, size_t n_bytes)
{
    qn_buffer json = {0};
    qn_literal l;
    qn_literal_begin(&l, NULL);
    const size_t n = qn_literal_push(&l, text, n_bytes, true, &json);
    const bool ok = l.state == QN_LITERAL_DONE && n == n_bytes;
    if (ok) qn_buffer_append(out, json.data, json.n_bytes);
    out->failed = out->failed || json.failed;
    qn_buffer_deinit(&json);
    return ok;
}

/* Appends the value that the text looks like. */
static void append_value(qn_buffer *out, const char *text, size_t n_bytes)
{
    size_t begin = 0, end = n_bytes;
    while (begin < end && qn_is_blank(text[begin])) begin++;
    while (begin < end && qn_is_blank(text[end - 1])) end--;
    const char first = begin < end ? text[begin] : '"';
    json_t *value = first != '"' ? json_loadb(text + begin, end - begin, JSON_DECODE_ANY, NULL) : NULL;
    const bool constant = (end - begin == 4 && memcmp(text + begin, "True", 4) == 0) ||
                          (end - begin == 4 && memcmp(text + begin, "None", 4) == 0) ||
                          (end - begin == 5 && memcmp(text + begin, "False", 5) == 0);
    if (value != NULL) {
        qn_buffer_append(out, text + begin, end - begin);
    } else if (!(constant || first == '{' || first == '[') ||
               !append_python(out, text + begin, end - begin)) {
        qn_buffer_putc(out, '"');
        qn_json_escape(out, text, n_bytes);
        qn_buffer_putc(out, '"');
    }
    json_decref(value);
}

static bool held_value_step(qn_output_parser *p)
{
    size_t n_value, n_all;
    const size_t n = p->pending.n_bytes - p->at, n_end = strlen(p->value_end);
    const qn_match match = find_value_end(p, p->n_scanned, &n_value, &n_all);
    if (match == QN_MATCH_FULL && n_value <= QN_OUTPUT_MAX_VALUE) {
        append_value(&p->out, unread(p), n_value);
        p->at += n_all;
        p->arguments = QN_ARGUMENTS_PARAMETERS;
    } else if (match == QN_MATCH_FULL || n > QN_OUTPUT_MAX_VALUE + n_end) {
        qn_buffer_putc(&p->out, '"');
        p->arguments = QN_ARGUMENTS_TEXT_VALUE;
    } else {
        p->n_scanned = n > n_end ? n - n_end : 0;
        if (!p->final) return false;
        append_value(&p->out, unread(p), n_value); /* it broke off */
        p->at += n;
        qn_output_emit_arguments(p);
        qn_output_end_call(p, false);
        return true;
    }
    qn_output_emit_arguments(p);
    return true;
}

bool qn_output_arguments_step(qn_output_parser *p)
{
    switch (p->arguments) {
    case QN_ARGUMENTS_JSON:
        return json_step(p);
    case QN_ARGUMENTS_STRING:
        return string_step(p);
    case QN_ARGUMENTS_LITERAL:
        return literal_step(p);
    case QN_ARGUMENTS_BODY:
        return body_step(p);
    case QN_ARGUMENTS_PARAMETERS:
        return parameters_step(p);
    case QN_ARGUMENTS_TEXT_VALUE:
        return text_value_step(p);
    case QN_ARGUMENTS_HELD_VALUE:
        return held_value_step(p);
    case QN_ARGUMENTS_HELD:
        break;
    }
    qn_output_end_call(p, true);
    return true;
}
