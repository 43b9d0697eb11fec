/* output_parser.c: see output_parser.h; output_state.h tells how it is built. Here: the text outside of
 * calls, what stands between calls, and the events. */
#include "chat/output_parser.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "chat/output_state.h"

/* ---- events ---- */

static void send(qn_output_parser *p, const qn_output_event *event)
{
    if (!p->failed && !p->emit(p->user, event)) p->failed = true;
}

void qn_output_emit(qn_output_parser *p, qn_output_kind kind, const char *text, size_t n_bytes)
{
    if (n_bytes == 0) return;
    if (kind == QN_OUTPUT_CONTENT) p->said = true;
    send(p, &(qn_output_event){.kind = kind, .call = p->n_calls - 1, .text = text, .n_bytes = n_bytes});
}

void qn_output_emit_arguments(qn_output_parser *p)
{
    if (p->out.failed) p->failed = true;
    if (p->out.n_bytes > 0) p->some_arguments = true;
    qn_output_emit(p, QN_OUTPUT_ARGUMENTS, p->out.data, p->out.n_bytes);
    qn_buffer_clear(&p->out);
}

/* SplitMix64 (Steele, Lea, Flood 2014): a number for each call of a seed. */
static uint64_t id_number(uint64_t seed, int call)
{
    uint64_t z = seed + (uint64_t)(call + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static const json_t *properties_of(const json_t *tools, const char *name)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *function = json_object_get(json_array_get(tools, i), "function");
        const char *offered = json_string_value(json_object_get(function, "name"));
        if (offered != NULL && strcmp(offered, name) == 0)
            return json_object_get(json_object_get(function, "parameters"), "properties");
    }
    return NULL;
}

static void begin_call(qn_output_parser *p, const char *name_bytes, size_t n_bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    char name[QN_OUTPUT_MAX_NAME + 2], id[QN_OUTPUT_ID_BYTES + 1];
    uint64_t number = id_number(p->id_seed, p->n_calls);
    if (n_bytes > sizeof name - 1) n_bytes = sizeof name - 1;
    memcpy(name, name_bytes, n_bytes);
    name[n_bytes] = '\0';
    for (size_t i = 0; i < QN_OUTPUT_ID_BYTES; i++, number /= 62) id[i] = digits[number % 62];
    id[QN_OUTPUT_ID_BYTES] = '\0';
    p->properties = properties_of(p->tools, name);
    send(p, &(qn_output_event){.kind = QN_OUTPUT_CALL, .call = p->n_calls++, .id = id, .name = name});
    p->state = QN_STATE_ARGUMENTS;
    p->call_open = true;
}

void qn_output_end_call(qn_output_parser *p, bool complete)
{
    if (complete && !p->some_arguments) {
        qn_buffer_puts(&p->out, "{}");
        qn_output_emit_arguments(p);
    }
    send(p, &(qn_output_event){.kind = QN_OUTPUT_CALL_END, .call = p->n_calls - 1, .complete = complete});
    p->state = p->arguments == QN_ARGUMENTS_BODY ? QN_STATE_MESSAGE
               : complete && p->nest > 0         ? QN_STATE_TAIL
                                                 : QN_STATE_BETWEEN;
    p->scan = (qn_json_scan){.depth = p->nest};
    p->drop_blank = true;
    p->n_blank = 0;
}

/* ---- text outside of calls ---- */

typedef enum mark {
    MARK_REASONING,
    MARK_REASONING_END,
    MARK_SKIP,
    MARK_MESSAGE_END,
    MARK_CALL,
    MARK_MESSAGE
} mark;

typedef struct found {
    mark mark;
    size_t end;
    qn_call_head head;
    qn_message_target target;
    qn_span name;
} found;

static qn_match look_texts(const qn_output_parser *p, size_t at, const char *const texts[QN_FORMAT_TEXTS],
                           size_t *end)
{
    for (size_t i = 0; i < QN_FORMAT_TEXTS && texts[i] != NULL; i++) {
        qn_look l = qn_look_at(p, at);
        const qn_match match = qn_look_text(&l, texts[i], strlen(texts[i]));
        *end = l.at;
        if (match != QN_MATCH_NONE) return match;
    }
    return QN_MATCH_NONE;
}

/* A marker that begins at `at`; the order is that of `mark`. */
static qn_match look_mark(const qn_output_parser *p, size_t at, found *f)
{
    const qn_output_format *format = p->format;
    const bool reasoning = p->state == QN_STATE_REASONING, told = !p->reasoning_is_content;
    qn_match match = QN_MATCH_NONE;
    f->mark = MARK_REASONING;
    if ((!reasoning || p->fresh) && told) match = look_texts(p, at, format->reasoning_begin, &f->end);
    if (match != QN_MATCH_NONE) return match;
    f->mark = MARK_REASONING_END; /* without a beginning only where the prompt may have begun it */
    if (reasoning || (told && p->fresh && p->n_calls == 0))
        match = look_texts(p, at, format->reasoning_end, &f->end);
    if (match != QN_MATCH_NONE) return match;
    f->mark = MARK_SKIP;
    if (!reasoning) match = look_texts(p, at, format->skip, &f->end);
    if (match != QN_MATCH_NONE) return match;
    f->mark = MARK_MESSAGE_END;
    match = look_texts(p, at, format->message_end, &f->end);
    if (match != QN_MATCH_NONE) return match;
    f->mark = MARK_CALL;
    if (!reasoning && format->syntax != QN_CALLS_NONE && format->syntax != QN_CALLS_MESSAGE)
        match = qn_output_look_call(p, at, false, &f->head, &f->end);
    if (match != QN_MATCH_NONE) return match;
    f->mark = MARK_MESSAGE;
    if (format->message_begin == NULL) return QN_MATCH_NONE;
    return qn_output_look_message(p, at, &f->target, &f->name, &f->end);
}

static void start_text(qn_output_parser *p, qn_output_state state)
{
    p->state = state;
    p->drop_blank = true;
    p->n_blank = 0;
}

static void start_call(qn_output_parser *p, const qn_call_head *head)
{
    begin_call(p, p->pending.data + head->name.begin, head->name.end - head->name.begin);
    qn_output_start_arguments(p, head);
    p->in_array = head->in_array;
    p->in_section = head->in_section;
    if (head->arguments == QN_ARGUMENTS_HELD) {
        qn_buffer_append(&p->out, p->pending.data + head->held.begin, head->held.end - head->held.begin);
        qn_output_emit_arguments(p);
    }
    p->nest = head->nest;
}

static void start_message(qn_output_parser *p, const found *f)
{
    if (f->target == QN_TO_TOOL) {
        begin_call(p, p->pending.data + f->name.begin, f->name.end - f->name.begin);
        qn_output_start_arguments(p, &(qn_call_head){.arguments = QN_ARGUMENTS_BODY});
        p->nest = 0;
    } else {
        start_text(p, f->target == QN_TO_REASONING && !p->reasoning_is_content ? QN_STATE_REASONING
                                                                               : QN_STATE_CONTENT);
    }
}

/* Takes a marker. */
static void follow(qn_output_parser *p, const found *f)
{
    switch (f->mark) {
    case MARK_REASONING:
        start_text(p, QN_STATE_REASONING);
        break;
    case MARK_REASONING_END:
    case MARK_SKIP:
        start_text(p, QN_STATE_CONTENT);
        break;
    case MARK_MESSAGE_END:
        start_text(p, QN_STATE_MESSAGE);
        break;
    case MARK_CALL:
        start_call(p, &f->head);
        break;
    case MARK_MESSAGE:
        start_message(p, f);
        break;
    }
    p->at = f->end;
}

/* Gives out the text up to `end`, blanks in front of it that belong to the format left out. */
static void say(qn_output_parser *p, size_t end, bool whole)
{
    if (end == p->at) return;
    const bool reasoning = p->state == QN_STATE_REASONING;
    if (p->drop_blank && (reasoning || !p->said)) p->at += p->n_blank;
    if (!whole) end -= qn_utf8_incomplete_tail(p->pending.data + p->at, end - p->at);
    if (end > p->at) p->drop_blank = false;
    qn_output_emit(p, reasoning ? QN_OUTPUT_REASONING : QN_OUTPUT_CONTENT, p->pending.data + p->at,
                   end - p->at);
    p->at = end;
    p->n_blank = 0;
}

/* The place of the first marker, or of what may become one; else where the text ends. *end: behind what is
 * text for certain, blanks after it excepted. */
static qn_match find_mark(qn_output_parser *p, size_t *end, found *f)
{
    const char *text = p->pending.data;
    *end = p->at;
    for (size_t i = p->at + p->n_blank; i < p->pending.n_bytes; i++) {
        if (qn_is_blank(text[i])) {
            if (*end == p->at) p->n_blank++;
            continue;
        }
        p->fresh = (p->state == QN_STATE_REASONING ? p->drop_blank : !p->said) && *end == p->at;
        const qn_match match = p->marks[(unsigned char)text[i]] ? look_mark(p, i, f) : QN_MATCH_NONE;
        if (match == QN_MATCH_FULL || (match == QN_MATCH_PART && !p->final)) return match;
        *end = i + 1;
    }
    return QN_MATCH_NONE;
}

static bool text_step(qn_output_parser *p)
{
    size_t end;
    found f;
    const qn_match match = find_mark(p, &end, &f);
    if (match == QN_MATCH_FULL) {
        say(p, end, true);
        follow(p, &f);
        return true;
    }
    if (p->final && !(p->drop_blank && end == p->at)) end = p->pending.n_bytes;
    say(p, end, p->final);
    if (p->at == end)
        while (p->at + p->n_blank < p->pending.n_bytes && qn_is_blank(p->pending.data[p->at + p->n_blank]))
            p->n_blank++;
    return false;
}

/* ---- behind calls ---- */

static bool tail_step(qn_output_parser *p)
{
    p->at += qn_json_scan_push(&p->scan, p->pending.data + p->at, p->pending.n_bytes - p->at);
    if (p->scan.state == QN_SCAN_MORE) return false;
    p->state = QN_STATE_BETWEEN;
    return true;
}

static qn_match look_behind_call(const qn_output_parser *p, const char *text, size_t *end)
{
    qn_look l = qn_look_at(p, p->at);
    qn_look_blanks(&l);
    const qn_match match = qn_look_text(&l, text, strlen(text));
    *end = l.at;
    return match;
}

/* One of format->end. *some: there are such texts. */
static qn_match look_section_end(const qn_output_parser *p, bool *some, size_t *end)
{
    *some = false;
    for (size_t i = 0; i < QN_FORMAT_TEXTS && p->format->end[i] != NULL; i++) {
        const char *text = qn_output_end_text(p->format->end[i]);
        if (*text == '\0') continue;
        *some = true;
        const qn_match match = look_behind_call(p, text, end);
        if (match != QN_MATCH_NONE) return match;
    }
    return QN_MATCH_NONE;
}

/* What closes a call, its list or its section: FULL takes it. */
static qn_match close_step(qn_output_parser *p)
{
    const qn_output_format *f = p->format;
    const bool listed =
        f->syntax == QN_CALLS_OBJECT || f->syntax == QN_CALLS_NAME_KEY || f->syntax == QN_CALLS_PYTHON;
    bool some_ends = false;
    size_t end = p->at;
    qn_match match = QN_MATCH_NONE;
    if (p->call_open && !listed && f->arguments_end != NULL)
        match = look_behind_call(p, f->arguments_end, &end);
    if (match == QN_MATCH_FULL) p->call_open = false;
    bool section_ends = match == QN_MATCH_FULL && !p->in_section;
    if (match == QN_MATCH_NONE && p->in_section) {
        match = look_section_end(p, &some_ends, &end);
        section_ends = match == QN_MATCH_FULL;
    }
    if (match == QN_MATCH_NONE && p->in_array) {
        match = look_behind_call(p, "]", &end);
        if (match == QN_MATCH_FULL) p->in_array = false;
        section_ends = match == QN_MATCH_FULL && !some_ends;
    }
    if (match == QN_MATCH_NONE && p->in_section && listed) match = look_behind_call(p, ",", &end);
    if (match == QN_MATCH_NONE && p->in_section && listed) match = look_behind_call(p, ";", &end);
    if (match != QN_MATCH_FULL) return match;
    p->at = end;
    if (section_ends) start_text(p, QN_STATE_CONTENT);
    return match;
}

static bool between_step(qn_output_parser *p)
{
    const qn_match closed = close_step(p);
    if (closed == QN_MATCH_FULL) return true;
    if (closed == QN_MATCH_PART && !p->final) return false;
    if (closed == QN_MATCH_PART) { /* the end of a call that broke off */
        p->at = p->pending.n_bytes;
        return false;
    }
    qn_look l = qn_look_at(p, p->at);
    qn_call_head head;
    size_t end;
    qn_look_blanks(&l);
    const qn_match next = p->in_section ? qn_output_look_call(p, l.at, true, &head, &end) : QN_MATCH_NONE;
    if (next == QN_MATCH_PART && !p->final) return false;
    if (next == QN_MATCH_FULL) {
        start_call(p, &head);
        p->at = end;
    } else {
        start_text(p, QN_STATE_CONTENT);
    }
    return true;
}

static bool message_step(qn_output_parser *p)
{
    found f = {.mark = MARK_MESSAGE};
    const qn_match match = qn_output_look_message(p, p->at, &f.target, &f.name, &f.end);
    if (match == QN_MATCH_PART && !p->final) return false;
    if (match == QN_MATCH_FULL) follow(p, &f);
    else p->state = QN_STATE_CONTENT;
    return true;
}

/* ---- the parser ---- */

static bool step(qn_output_parser *p)
{
    switch (p->state) {
    case QN_STATE_MESSAGE:
        return message_step(p);
    case QN_STATE_ARGUMENTS:
        return qn_output_arguments_step(p);
    case QN_STATE_TAIL:
        return tail_step(p);
    case QN_STATE_BETWEEN:
        return between_step(p);
    case QN_STATE_CONTENT:
    case QN_STATE_REASONING:
        break;
    }
    return text_step(p);
}

static quern_status run(qn_output_parser *p, quern_error *err)
{
    if (p->pending.data != NULL)
        while (!p->failed && step(p)) continue;
    if (p->pending.failed || p->out.failed) p->failed = true;
    if (p->failed) return qn_fail(err, QUERN_ERR_NOMEM, "reading the model's output: out of memory");
    if (p->at > 0) {
        memmove(p->pending.data, p->pending.data + p->at, p->pending.n_bytes - p->at + 1);
        p->pending.n_bytes -= p->at;
        p->at = 0;
    }
    return QUERN_OK;
}

static void mark_bytes(qn_output_parser *p, const char *const *texts, size_t n_texts)
{
    for (size_t i = 0; i < n_texts && texts[i] != NULL; i++) p->marks[(unsigned char)texts[i][0]] = true;
}

static void mark_format(qn_output_parser *p)
{
    const qn_output_format *f = p->format;
    mark_bytes(p, f->reasoning_begin, QN_FORMAT_TEXTS);
    mark_bytes(p, f->reasoning_end, QN_FORMAT_TEXTS);
    mark_bytes(p, f->skip, QN_FORMAT_TEXTS);
    mark_bytes(p, f->begin, QN_FORMAT_TEXTS);
    mark_bytes(p, f->message_end, QN_FORMAT_TEXTS);
    mark_bytes(p, &f->name_begin, 1);
    mark_bytes(p, &f->message_begin, 1);
    mark_bytes(p, &f->message_body, 1);
    if (f->bare_object || f->bare_python) p->marks['['] = true;
    if (f->bare_object) p->marks['{'] = true;
}

bool qn_output_begins_reasoning(const qn_output_format *f, const char *text)
{
    size_t n = strlen(text);
    while (n > 0 && qn_is_blank(text[n - 1])) n--;
    for (size_t i = 0; i < QN_FORMAT_TEXTS && f->reasoning_begin[i] != NULL; i++) {
        size_t n_begin = strlen(f->reasoning_begin[i]);
        while (n_begin > 0 && qn_is_blank(f->reasoning_begin[i][n_begin - 1])) n_begin--;
        if (n >= n_begin && memcmp(text + n - n_begin, f->reasoning_begin[i], n_begin) == 0) return true;
    }
    return false;
}

/* Goes on where the prompt ended. */
static void enter(qn_output_parser *p, const char *prompt_end)
{
    const qn_output_format *f = p->format;
    p->state = f->message_begin != NULL ? QN_STATE_MESSAGE : QN_STATE_CONTENT;
    if (prompt_end == NULL) return;
    if (!p->reasoning_is_content && qn_output_begins_reasoning(f, prompt_end))
        start_text(p, QN_STATE_REASONING);
    if (f->message_begin == NULL) return;
    const char *head = NULL;
    for (const char *next = prompt_end; (next = strstr(next, f->message_begin)) != NULL;)
        head = next += strlen(f->message_begin);
    if (head != NULL) qn_buffer_puts(&p->pending, head);
}

quern_status qn_output_parser_create(qn_output_parser **out, const qn_output_params *params, quern_error *err)
{
    qn_output_parser *p = *out = qn_calloc(1, sizeof *p);
    if (p == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "output parser: %zu bytes", sizeof *p);
    p->format = params->format != NULL ? params->format : qn_output_format_detect(NULL);
    p->tools = params->tools != NULL ? json_incref((json_t *)(uintptr_t)params->tools) : NULL;
    p->reasoning_is_content = params->reasoning_is_content;
    p->id_seed = params->id_seed;
    p->emit = params->emit;
    p->user = params->user;
    mark_format(p);
    enter(p, params->prompt_end);
    if (!p->pending.failed) return QUERN_OK;
    qn_output_parser_destroy(p);
    *out = NULL;
    return qn_fail(err, QUERN_ERR_NOMEM, "output parser: out of memory");
}

void qn_output_parser_destroy(qn_output_parser *p)
{
    if (p == NULL) return;
    qn_buffer_deinit(&p->pending);
    qn_buffer_deinit(&p->out);
    json_decref(p->tools);
    qn_free(p);
}

quern_status qn_output_parser_push(qn_output_parser *p, const char *bytes, size_t n_bytes, quern_error *err)
{
    if (!p->failed) qn_buffer_append(&p->pending, bytes, n_bytes);
    return run(p, err);
}

quern_status qn_output_parser_finish(qn_output_parser *p, quern_error *err)
{
    p->final = true;
    const quern_status status = run(p, err);
    if (status == QUERN_OK && p->state == QN_STATE_ARGUMENTS) qn_output_end_call(p, false);
    p->at = p->pending.n_bytes; /* at most a text that would have gone on with a call that broke off */
    return status == QUERN_OK ? run(p, err) : status;
}

size_t qn_output_parser_held(const qn_output_parser *p)
{
    return p->pending.n_bytes;
}
