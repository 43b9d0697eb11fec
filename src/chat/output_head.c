/* output_head.c: the heads of calls, up to their arguments, and of messages (see output_state.h). From its
 * head on it is certain that a call is one: its form was seen, and its name is that of a tool. */
#include "chat/output_state.h"

#define TRY(look)                                                                                            \
    do {                                                                                                     \
        const qn_match match_ = (look);                                                                      \
        if (match_ != QN_MATCH_FULL) return match_;                                                          \
    } while (0)

size_t qn_output_begin_bytes(const char *begin)
{
    size_t n = strlen(begin);
    while (n > 0 && qn_is_blank(begin[n - 1])) n--;
    if (n > 0 && begin[n - 1] == '[') n--;
    while (n > 0 && qn_is_blank(begin[n - 1])) n--;
    return n;
}

const char *qn_output_end_text(const char *end)
{
    while (qn_is_blank(*end)) end++;
    if (*end == ']') end++;
    return end;
}

/* Whether the text of the span is the name of a tool that was offered. */
static bool is_tool(const qn_output_parser *p, const char *name, size_t n_bytes)
{
    if (p->tools == NULL) return n_bytes > 0;
    for (size_t i = 0; i < json_array_size(p->tools); i++) {
        const json_t *offered =
            json_object_get(json_object_get(json_array_get(p->tools, i), "function"), "name");
        if (json_string_length(offered) == n_bytes && n_bytes > 0 &&
            memcmp(json_string_value(offered), name, n_bytes) == 0)
            return true;
    }
    return false;
}

static qn_match known(const qn_output_parser *p, const qn_look *l, qn_span name)
{
    return is_tool(p, l->bytes + name.begin, name.end - name.begin) ? QN_MATCH_FULL : QN_MATCH_NONE;
}

static bool is_one_of(const qn_look *l, qn_span text, const char *const words[3])
{
    for (size_t i = 0; i < 3 && words[i] != NULL; i++)
        if (strlen(words[i]) == text.end - text.begin &&
            memcmp(words[i], l->bytes + text.begin, text.end - text.begin) == 0)
            return true;
    return false;
}

/* ---- objects ---- */

/* The arguments of an object whose name is known: an object, JSON text in a string, or null. */
static qn_match look_arguments(qn_look *l, qn_call_head *head)
{
    qn_look_blanks(l);
    if (l->at == l->n_bytes) return QN_MATCH_PART;
    const char c = l->bytes[l->at];
    if (c != '{' && c != '"') return QN_MATCH_NONE;
    head->arguments = c == '{' ? QN_ARGUMENTS_JSON : QN_ARGUMENTS_STRING;
    l->at += c == '"';
    return QN_MATCH_FULL;
}

/* One member of the object. FULL with *done: the head is complete. */
static qn_match look_member(const qn_output_parser *p, qn_look *l, qn_call_head *head, bool *done)
{
    static const char *const name_keys[3] = {"name", "tool_name", NULL};
    static const char *const argument_keys[3] = {"arguments", "parameters", NULL};
    qn_span key, name;
    TRY(qn_look_string(l, &key));
    TRY(qn_look_byte(l, ':'));
    qn_look_blanks(l);
    if (l->at == l->n_bytes) return QN_MATCH_PART;
    const char c = l->bytes[l->at];
    const bool has_name = head->name.end > head->name.begin;
    if (is_one_of(l, key, name_keys) && c == '"' && !has_name) {
        TRY(qn_look_string(l, &name));
        head->name = name;
        return known(p, l, name);
    }
    if (is_one_of(l, key, argument_keys) && has_name && c != 'n') {
        *done = true;
        return look_arguments(l, head);
    }
    if (is_one_of(l, key, (const char *const[3]){"function"}) && c == '{') {
        head->nest++;
        l->at++;
        return QN_MATCH_FULL;
    }
    const size_t begin = l->at;
    TRY(qn_look_value(l));
    if (is_one_of(l, key, argument_keys) && (c == '{' || c == 'n'))
        head->held = (qn_span){begin, c == '{' ? l->at : begin};
    return QN_MATCH_FULL;
}

/* Behind the brace of an object: up to the arguments, or to its end if they come before the name. */
static qn_match look_object(const qn_output_parser *p, qn_look *l, bool bare, qn_call_head *head)
{
    head->nest = 1;
    for (bool done = false; !done;) {
        qn_look_blanks(l);
        if (l->at == l->n_bytes) return QN_MATCH_PART;
        if (l->bytes[l->at] == '}') {
            l->at++;
            if (--head->nest > 0) continue;
            head->arguments = QN_ARGUMENTS_HELD;
            return head->name.end > head->name.begin && (!bare || head->held.end > 0) ? QN_MATCH_FULL
                                                                                      : QN_MATCH_NONE;
        }
        if (l->bytes[l->at] == ',') l->at++;
        TRY(look_member(p, l, head, &done));
    }
    return QN_MATCH_FULL;
}

static qn_match look_name_key(const qn_output_parser *p, qn_look *l, qn_call_head *head)
{
    TRY(qn_look_string(l, &head->name));
    TRY(known(p, l, head->name));
    TRY(qn_look_byte(l, ':'));
    head->nest = 1;
    return look_arguments(l, head);
}

/* ---- names between texts ---- */

static qn_match look_whole_text(qn_look *l, const char *text)
{
    return text == NULL ? QN_MATCH_FULL : qn_look_text(l, text, strlen(text));
}

/* What of the call follows its name, up to the arguments. */
static qn_match look_arguments_begin(const qn_output_format *f, qn_look *l)
{
    qn_span id;
    if (f->numbered) {
        TRY(qn_look_byte(l, ':'));
        TRY(qn_look_name(l, &id));
    }
    if (f->id_begin != NULL) {
        qn_look with_id = *l;
        const qn_match match = look_whole_text(&with_id, f->id_begin);
        if (match == QN_MATCH_PART) return match;
        if (match == QN_MATCH_FULL) {
            TRY(qn_look_name(&with_id, &id));
            *l = with_id;
        }
    }
    TRY(look_whole_text(l, f->arguments_begin));
    qn_look_blanks(l);
    return QN_MATCH_FULL;
}

static qn_match look_either(const qn_look *l, const char *a, const char *b)
{
    qn_look first = *l, second = *l;
    qn_look_blanks(&first);
    qn_look_blanks(&second);
    const qn_match match = look_whole_text(&first, a);
    return match != QN_MATCH_NONE ? match : look_whole_text(&second, b);
}

static qn_match look_named(const qn_output_parser *p, qn_look *l, qn_call_head *head)
{
    const qn_output_format *f = p->format;
    qn_span id;
    TRY(look_whole_text(l, f->name_begin));
    if (f->id_end != NULL) {
        TRY(qn_look_name(l, &id));
        TRY(look_whole_text(l, f->id_end));
    }
    TRY(qn_look_name(l, &head->name));
    TRY(known(p, l, head->name));
    TRY(look_arguments_begin(f, l));
    if (f->syntax == QN_CALLS_NAME_JSON) {
        head->arguments = QN_ARGUMENTS_JSON;
        if (l->at == l->n_bytes) return QN_MATCH_PART;
        return l->bytes[l->at] == '{' ? QN_MATCH_FULL : QN_MATCH_NONE;
    }
    if (f->syntax == QN_CALLS_BARE_KEYS) {
        head->arguments = QN_ARGUMENTS_LITERAL;
        head->closes = '}';
        return QN_MATCH_FULL;
    }
    head->arguments = QN_ARGUMENTS_PARAMETERS;
    return look_either(l, f->parameter_begin, f->arguments_end);
}

/* NAME( with nothing or a name and '=' behind it. */
static qn_match look_python(const qn_output_parser *p, qn_look *l, qn_call_head *head)
{
    qn_span key;
    qn_look_blanks(l);
    TRY(qn_look_name(l, &head->name));
    TRY(known(p, l, head->name));
    TRY(qn_look_byte(l, '('));
    head->arguments = QN_ARGUMENTS_LITERAL;
    head->closes = ')';
    qn_look after = *l;
    const qn_match closed = qn_look_byte(&after, ')');
    if (closed != QN_MATCH_NONE) return closed;
    TRY(qn_look_name(&after, &key));
    return qn_look_byte(&after, '=');
}

/* ---- calls ---- */

/* A call behind whatever begins calls. */
static qn_match look_body(const qn_output_parser *p, qn_look *l, bool bare, qn_call_head *head)
{
    const qn_call_syntax syntax = p->format->syntax;
    if (syntax == QN_CALLS_NAME_JSON || syntax == QN_CALLS_PARAMETERS || syntax == QN_CALLS_BARE_KEYS)
        return look_named(p, l, head);
    const bool object = syntax == QN_CALLS_OBJECT || syntax == QN_CALLS_NAME_KEY || p->format->bare_object;
    const bool python = syntax == QN_CALLS_PYTHON || p->format->bare_python;
    if (!head->in_array) {
        const qn_match array = qn_look_byte(l, '[');
        if (array == QN_MATCH_PART) return array;
        head->in_array = array == QN_MATCH_FULL;
    }
    const qn_match brace = object ? qn_look_byte(l, '{') : QN_MATCH_NONE;
    if (brace == QN_MATCH_PART) return brace;
    if (brace == QN_MATCH_FULL)
        return syntax == QN_CALLS_NAME_KEY ? look_name_key(p, l, head) : look_object(p, l, bare, head);
    return python ? look_python(p, l, head) : QN_MATCH_NONE;
}

/* A call behind one of the texts that begin calls. */
static qn_match look_begun(const qn_output_parser *p, size_t at, qn_call_head *head, size_t *end)
{
    const qn_output_format *f = p->format;
    for (size_t i = 0; i < QN_FORMAT_TEXTS && f->begin[i] != NULL; i++) {
        qn_look l = qn_look_at(p, at);
        const size_t n_begin = qn_output_begin_bytes(f->begin[i]);
        *head = (qn_call_head){.in_section = true};
        qn_match match = n_begin > 0 ? qn_look_text(&l, f->begin[i], n_begin) : QN_MATCH_NONE;
        if (match == QN_MATCH_FULL) {
            qn_look_blanks(&l);
            match = look_body(p, &l, false, head);
        }
        *end = l.at;
        if (match != QN_MATCH_NONE) return match;
    }
    return QN_MATCH_NONE;
}

/* PART is NONE when it has taken all of our patience. */
static qn_match patient(const qn_output_parser *p, size_t at, qn_match match)
{
    return match == QN_MATCH_PART && p->pending.n_bytes - at >= QN_OUTPUT_MAX_HEAD ? QN_MATCH_NONE : match;
}

qn_match qn_output_look_call(const qn_output_parser *p, size_t at, bool inside, qn_call_head *head,
                             size_t *end)
{
    const qn_output_format *f = p->format;
    if (p->n_calls == QN_OUTPUT_MAX_CALLS || (p->tools != NULL && json_array_size(p->tools) == 0))
        return QN_MATCH_NONE;
    qn_match match = patient(p, at, look_begun(p, at, head, end));
    if (match != QN_MATCH_NONE) return match;
    const bool bare = !inside && p->fresh && p->n_calls == 0 && (f->bare_object || f->bare_python);
    const bool named =
        f->name_begin != NULL && (f->syntax == QN_CALLS_NAME_JSON || f->syntax == QN_CALLS_PARAMETERS ||
                                  f->syntax == QN_CALLS_BARE_KEYS);
    if (!inside && !bare && !named) return QN_MATCH_NONE;
    qn_look l = qn_look_at(p, at);
    *head = (qn_call_head){.in_section = inside ? p->in_section : bare, .in_array = inside && p->in_array};
    match = look_body(p, &l, bare, head);
    *end = l.at;
    if (bare && match != QN_MATCH_NONE && !head->in_array && l.bytes[at] != '{') return QN_MATCH_NONE;
    return patient(p, at, match);
}

/* ---- messages ---- */

/* to=NAME, or, behind that or a channel, a word that says nothing. */
static qn_match look_word(qn_look *l, bool any, qn_span *recipient)
{
    qn_look to = *l;
    qn_span word;
    const qn_match match = look_whole_text(&to, "to=");
    if (match == QN_MATCH_NONE) return any ? qn_look_name(l, &word) : QN_MATCH_NONE;
    *l = to;
    return match == QN_MATCH_PART ? match : qn_look_name(l, recipient);
}

static qn_match look_message_head(const qn_output_parser *p, qn_look *l, qn_span *channel, qn_span *recipient)
{
    static const char *const marks[] = {"<|channel|>", "<|constrain|>"};
    for (;;) {
        qn_match match = QN_MATCH_NONE;
        qn_look_blanks(l);
        qn_look next = *l;
        match = look_whole_text(&next, p->format->message_body);
        if (match != QN_MATCH_NONE) return l->at = next.at, match;
        for (size_t i = 0; i < 2 && match == QN_MATCH_NONE; i++) {
            next = *l;
            match = look_whole_text(&next, marks[i]);
            if (match == QN_MATCH_PART) return match;
            if (match == QN_MATCH_FULL && i == 0) TRY(qn_look_name(&next, channel));
        }
        if (match == QN_MATCH_NONE) {
            next = *l;
            TRY(look_word(&next, channel->end + recipient->end > 0, recipient));
        }
        *l = next;
    }
}

qn_match qn_output_look_message(const qn_output_parser *p, size_t at, qn_message_target *target,
                                qn_span *name, size_t *end)
{
    const qn_output_format *f = p->format;
    qn_span channel = {0}, recipient = {0};
    qn_look l = qn_look_at(p, at), begun = l;
    qn_match match = look_whole_text(&begun, f->message_begin);
    if (match == QN_MATCH_PART) return patient(p, at, match);
    if (match == QN_MATCH_FULL) l = begun;
    match = patient(p, at, look_message_head(p, &l, &channel, &recipient));
    if (match != QN_MATCH_FULL) return match;
    *end = l.at;
    *target = is_one_of(&l, channel, (const char *const[3]){"analysis"}) ||
                      is_one_of(&l, recipient, (const char *const[3]){"self"})
                  ? QN_TO_REASONING
                  : QN_TO_CONTENT;
    const size_t n_prefix = f->tool_recipient != NULL ? strlen(f->tool_recipient) : 0;
    if (f->syntax != QN_CALLS_MESSAGE || recipient.end - recipient.begin <= n_prefix ||
        memcmp(l.bytes + recipient.begin, f->tool_recipient, n_prefix) != 0)
        return QN_MATCH_FULL;
    *name = (qn_span){recipient.begin + n_prefix, recipient.end};
    if (p->n_calls < QN_OUTPUT_MAX_CALLS && known(p, &l, *name) == QN_MATCH_FULL) *target = QN_TO_TOOL;
    return QN_MATCH_FULL;
}
