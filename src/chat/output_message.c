/* output_message.c: see output_message.h. */
#include "chat/output_message.h"

#include "base/utf8.h"

#include <string.h>

/* A JSON string of bytes that may not be UTF-8. NULL: no memory. */
static json_t *to_string(const qn_buffer *text)
{
    if (text->n_bytes == 0) return json_string("");
    json_t *string = json_stringn(text->data, text->n_bytes);
    if (string != NULL) return string;
    qn_buffer valid = {0};
    uint32_t codepoint;
    for (size_t i = 0; i < text->n_bytes;) {
        const size_t n = qn_utf8_decode(text->data + i, text->n_bytes - i, &codepoint);
        qn_buffer_append(&valid, n > 0 ? text->data + i : "\xEF\xBF\xBD", n > 0 ? n : 3);
        i += n > 0 ? n : 1;
    }
    string = valid.failed ? NULL : json_stringn(valid.data, valid.n_bytes);
    qn_buffer_deinit(&valid);
    return string;
}

static bool add_call(qn_output_message *m, const qn_output_event *event)
{
    const qn_buffer name = {.data = (char *)(uintptr_t)event->name, .n_bytes = strlen(event->name)};
    if (m->calls == NULL) m->calls = json_array();
    json_t *call = json_pack("{s:s, s:s, s:{s:o, s:s}}", "id", event->id, "type", "function", "function",
                             "name", to_string(&name), "arguments", "");
    qn_buffer_clear(&m->arguments);
    return json_array_append_new(m->calls, call) == 0;
}

static bool end_call(qn_output_message *m, const qn_output_event *event)
{
    json_t *function = json_object_get(json_array_get(m->calls, (size_t)event->call), "function");
    m->incomplete = !event->complete;
    return json_object_set_new(function, "arguments", to_string(&m->arguments)) == 0;
}

bool qn_output_message_add(void *user, const qn_output_event *event)
{
    qn_output_message *m = user;
    switch (event->kind) {
    case QN_OUTPUT_CONTENT:
        return qn_buffer_append(&m->content, event->text, event->n_bytes);
    case QN_OUTPUT_REASONING:
        return qn_buffer_append(&m->reasoning, event->text, event->n_bytes);
    case QN_OUTPUT_CALL:
        return add_call(m, event);
    case QN_OUTPUT_ARGUMENTS:
        return qn_buffer_append(&m->arguments, event->text, event->n_bytes);
    case QN_OUTPUT_CALL_END:
        break;
    }
    return end_call(m, event);
}

json_t *qn_output_message_to_json(const qn_output_message *m)
{
    json_t *message = json_object();
    const bool no_content = m->calls != NULL && m->content.n_bytes == 0;
    bool ok = json_object_set_new(message, "role", json_string("assistant")) == 0 &&
              json_object_set_new(message, "content", no_content ? json_null() : to_string(&m->content)) == 0;
    if (ok && m->reasoning.n_bytes > 0)
        ok = json_object_set_new(message, "reasoning_content", to_string(&m->reasoning)) == 0;
    if (ok && m->calls != NULL) ok = json_object_set(message, "tool_calls", m->calls) == 0;
    if (ok) return message;
    json_decref(message);
    return NULL;
}

void qn_output_message_deinit(qn_output_message *m)
{
    qn_buffer_deinit(&m->content);
    qn_buffer_deinit(&m->reasoning);
    qn_buffer_deinit(&m->arguments);
    json_decref(m->calls);
    m->calls = NULL;
}

quern_status qn_output_parse(json_t **message, const qn_output_params *params, const char *text,
                             size_t n_bytes, quern_error *err)
{
    qn_output_message m = {0};
    qn_output_params mine = *params;
    qn_output_parser *p;
    mine.emit = qn_output_message_add;
    mine.user = &m;
    *message = NULL;
    quern_status status = qn_output_parser_create(&p, &mine, err);
    if (status == QUERN_OK) status = qn_output_parser_push(p, text, n_bytes, err);
    if (status == QUERN_OK) status = qn_output_parser_finish(p, err);
    if (status == QUERN_OK && (*message = qn_output_message_to_json(&m)) == NULL)
        status = qn_fail(err, QUERN_ERR_NOMEM, "the model's message: out of memory");
    qn_output_parser_destroy(p);
    qn_output_message_deinit(&m);
    return status;
}
