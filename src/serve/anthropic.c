/* anthropic.c: see anthropic.h. Messages here are lists of blocks; they become what templates know, and
 * answers become blocks again: one for reasoning, one for text, one for each call. */
#include "serve/anthropic.h"

#include "chat/json_text.h"
#include "serve/chat_answer.h"
#include "serve/openai.h"

#include <stdlib.h>
#include <string.h>

/* ---- problems ----------------------------------------------------------------------------------- */

static const char *error_type(qn_problem_kind kind)
{
    switch (qn_problem_status(kind)) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 413:
        return "request_too_large";
    case 429:
        return "rate_limit_error";
    case 503:
        return "overloaded_error";
    case 500:
        return "api_error";
    default:
        return "invalid_request_error";
    }
}

static void write_problem(qn_buffer *out, const qn_problem *p)
{
    qn_buffer_printf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"",
                     error_type(p->kind));
    qn_json_escape(out, p->message, strlen(p->message));
    qn_buffer_puts(out, "\"}}");
}

static void write_stream_problem(qn_buffer *out, const qn_problem *p)
{
    qn_buffer_puts(out, "event: error\ndata: ");
    write_problem(out, p);
    qn_buffer_puts(out, "\n\n");
}

const qn_dialect qn_anthropic_dialect = {write_problem, write_stream_problem,
                                         "event: ping\ndata: {\"type\":\"ping\"}\n\n"};

/* ---- messages ----------------------------------------------------------------------------------- */

/* The message that blocks make, while they are read. */
typedef struct block_reader {
    qn_chat_answer *a;
    const char *role;
    qn_buffer text, reasoning;
    json_t *calls; /* or NULL */
} block_reader;

static json_t *take_text(qn_buffer *b)
{
    json_t *text = b->failed ? NULL : json_stringn(b->n_bytes > 0 ? b->data : "", b->n_bytes);
    qn_buffer_clear(b);
    return text;
}

/* Adds what was read, if it is anything. */
static bool add_read(block_reader *r)
{
    if (r->text.n_bytes == 0 && r->reasoning.n_bytes == 0 && r->calls == NULL) return true;
    json_t *message = json_pack("{s:s, s:o, s:o*}", "role", r->role, "content", take_text(&r->text),
                                "tool_calls", r->calls);
    r->calls = NULL;
    if (message != NULL && r->reasoning.n_bytes > 0)
        json_object_set_new(message, "reasoning_content", take_text(&r->reasoning));
    return qn_chat_answer_add_message(r->a, message);
}

/* A text, or a list of blocks of text, behind what the buffer holds. */
static bool append_texts(const qn_fields *f, const char *name, qn_buffer *out)
{
    const json_t *content = qn_field(f, name);
    if (content == NULL) return true;
    if (json_is_string(content)) {
        qn_buffer_append(out, json_string_value(content), json_string_length(content));
        return true;
    }
    if (!json_is_array(content))
        return qn_field_wrong(f, QN_PROBLEM_WRONG_TYPE, name, "a string, or an array of blocks, is expected");
    for (size_t i = 0; i < json_array_size(content); i++) {
        qn_fields block;
        const char *type = NULL, *text = NULL;
        if (!qn_field_item(f, name, content, i, &block) || !qn_field_text(&block, "type", &type) ||
            !qn_field_text(&block, "text", &text))
            return false;
        if (type == NULL || strcmp(type, "text") != 0 || text == NULL)
            return qn_field_wrong(&block, QN_PROBLEM_UNSUPPORTED, "type",
                                  "'%.40s': only blocks of text can be read here", type != NULL ? type : "");
        qn_buffer_puts(out, text);
    }
    return true;
}

static bool read_tool_use(block_reader *r, const qn_fields *block)
{
    const char *id = NULL, *name = NULL;
    const json_t *input = qn_field(block, "input");
    if (!qn_field_text(block, "id", &id) || !qn_field_text(block, "name", &name)) return false;
    if (id == NULL || name == NULL || !json_is_object(input))
        return qn_field_wrong(block, QN_PROBLEM_MISSING, "input",
                              "a call has an id, a name and an object as input");
    char *arguments = json_dumps(input, JSON_COMPACT);
    json_t *call = arguments != NULL ? json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", id, "type", "function",
                                                 "function", "name", name, "arguments", arguments)
                                     : NULL;
    free(arguments);
    if (r->calls == NULL) r->calls = json_array();
    return (call != NULL && json_array_append_new(r->calls, call) == 0) || qn_chat_answer_fail_nomem(r->a);
}

/* What a tool gave is a message of its own. */
static bool read_tool_result(block_reader *r, const qn_fields *block)
{
    const char *id = NULL;
    qn_buffer text = {0};
    if (!qn_field_text(block, "tool_use_id", &id) || !add_read(r)) return false;
    if (id == NULL) return qn_field_wrong(block, QN_PROBLEM_MISSING, "tool_use_id", "it is missing");
    const bool ok = append_texts(block, "content", &text);
    json_t *content = ok ? take_text(&text) : NULL;
    qn_buffer_deinit(&text);
    return ok && qn_chat_answer_add_message(r->a, json_pack("{s:s, s:s, s:o}", "role", "tool", "tool_call_id",
                                                            id, "content", content));
}

static bool read_block(block_reader *r, const qn_fields *block)
{
    const char *type = NULL, *text = NULL;
    if (!qn_field_text(block, "type", &type)) return false;
    if (type == NULL) return qn_field_wrong(block, QN_PROBLEM_MISSING, "type", "it is missing");
    if (strcmp(type, "text") == 0) {
        if (!qn_field_text(block, "text", &text)) return false;
        if (text == NULL) return qn_field_wrong(block, QN_PROBLEM_MISSING, "text", "it is missing");
        qn_buffer_puts(&r->text, text);
        return true;
    }
    if (strcmp(type, "thinking") == 0) {
        if (!qn_field_text(block, "thinking", &text)) return false;
        if (text != NULL) qn_buffer_puts(&r->reasoning, text);
        return true;
    }
    if (strcmp(type, "redacted_thinking") == 0) return true;
    if (strcmp(type, "tool_use") == 0) return read_tool_use(r, block);
    if (strcmp(type, "tool_result") == 0) return read_tool_result(r, block);
    return qn_field_wrong(block, QN_PROBLEM_UNSUPPORTED, "type", "'%.40s': this model cannot read that",
                          type);
}

static bool read_blocks(block_reader *r, const qn_fields *message, const json_t *content)
{
    bool ok = true;
    for (size_t i = 0; i < json_array_size(content) && ok; i++) {
        qn_fields block;
        ok = qn_field_item(message, "content", content, i, &block) && read_block(r, &block);
    }
    return ok;
}

static bool read_message(qn_chat_answer *a, const qn_fields *f, bool is_last)
{
    block_reader r = {.a = a};
    const json_t *content = qn_field(f, "content");
    if (!qn_field_text(f, "role", &r.role)) return false;
    if (r.role == NULL || (strcmp(r.role, "user") != 0 && strcmp(r.role, "assistant") != 0))
        return qn_field_wrong(f, QN_PROBLEM_WRONG_VALUE, "role", "'%.40s': user and assistant are possible",
                              r.role != NULL ? r.role : "");
    if (is_last && strcmp(r.role, "assistant") == 0)
        return qn_field_wrong(
            f, QN_PROBLEM_UNSUPPORTED, "role",
            "the last message is the user's: an answer that was begun cannot be gone on with");
    if (content == NULL) return qn_field_wrong(f, QN_PROBLEM_MISSING, "content", "it is missing");
    if (!json_is_array(content) && !json_is_string(content))
        return qn_field_wrong(f, QN_PROBLEM_WRONG_TYPE, "content",
                              "a string, or an array of blocks, is expected");
    bool ok = json_is_array(content) ? read_blocks(&r, f, content) : append_texts(f, "content", &r.text);
    if (ok) ok = add_read(&r);
    qn_buffer_deinit(&r.text), qn_buffer_deinit(&r.reasoning);
    json_decref(r.calls);
    return ok;
}

static bool read_system(qn_chat_answer *a)
{
    qn_buffer text = {0};
    bool ok = append_texts(&a->fields, "system", &text);
    if (ok && text.n_bytes > 0)
        ok = qn_chat_answer_add_message(
            a, json_pack("{s:s, s:o}", "role", "system", "content", take_text(&text)));
    qn_buffer_deinit(&text);
    return ok;
}

/* ---- tools -------------------------------------------------------------------------------------- */

static bool add_tool(qn_chat_answer *a, const qn_fields *tool)
{
    const char *name = NULL, *about = NULL;
    const json_t *schema = qn_field(tool, "input_schema");
    if (!qn_field_text(tool, "name", &name) || !qn_field_text(tool, "description", &about)) return false;
    if (name == NULL) return qn_field_wrong(tool, QN_PROBLEM_MISSING, "name", "it is missing");
    if (!json_is_object(schema))
        return qn_field_wrong(tool, QN_PROBLEM_MISSING, "input_schema",
                              "an object is expected (tools that run on a "
                              "server of the API are not there)");
    json_t *function =
        json_pack("{s:s, s:s*, s:O}", "name", name, "description", about, "parameters", schema);
    json_t *item = json_pack("{s:s, s:o}", "type", "function", "function", function);
    return (item != NULL && json_array_append_new(a->tools, item) == 0) || qn_chat_answer_fail_nomem(a);
}

static bool read_choice(qn_chat_answer *a, bool *is_off)
{
    qn_fields choice;
    const char *type = NULL, *name = NULL;
    if (!qn_field_object(&a->fields, "tool_choice", &choice)) return false;
    if (choice.object == NULL) return true;
    if (!qn_field_text(&choice, "type", &type) || !qn_field_text(&choice, "name", &name) ||
        !qn_field_bool(&choice, "disable_parallel_tool_use", &a->one_call))
        return false;
    if (type != NULL && strcmp(type, "auto") == 0) return true;
    *is_off = type != NULL && strcmp(type, "none") == 0;
    if (*is_off) return true;
    if (type != NULL && strcmp(type, "any") == 0) a->choice = json_string("required");
    else if (type != NULL && strcmp(type, "tool") == 0 && name != NULL)
        a->choice = json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", name);
    else
        return qn_field_wrong(&choice, QN_PROBLEM_WRONG_VALUE, "type",
                              "'%.40s': auto, any, none, or tool with a name is possible",
                              type != NULL ? type : "");
    return a->choice != NULL || qn_chat_answer_fail_nomem(a);
}

static bool read_tools(qn_chat_answer *a)
{
    const json_t *tools = NULL;
    bool is_off = false;
    if (!qn_field_array(&a->fields, "tools", QN_MAX_TOOLS, &tools) || !read_choice(a, &is_off)) return false;
    if (a->choice != NULL && json_array_size(tools) == 0)
        return qn_field_wrong(&a->fields, QN_PROBLEM_MISSING, "tools",
                              "tool_choice wants one, and there are none");
    if (json_array_size(tools) == 0 || is_off) return true;
    a->tools = json_array();
    for (size_t i = 0; i < json_array_size(tools); i++) {
        qn_fields tool;
        if (!qn_field_item(&a->fields, "tools", tools, i, &tool) || !add_tool(a, &tool)) return false;
    }
    return true;
}

static bool read_thinking(qn_chat_answer *a)
{
    qn_fields thinking;
    const char *type = NULL;
    if (!qn_field_object(&a->fields, "thinking", &thinking)) return false;
    if (thinking.object != NULL && !qn_field_text(&thinking, "type", &type)) return false;
    if (type == NULL) return true; /* as the model likes */
    a->variables = json_pack("{s:b}", "enable_thinking", (int)(strcmp(type, "disabled") != 0));
    return a->variables != NULL || qn_chat_answer_fail_nomem(a);
}

/* ---- the answer --------------------------------------------------------------------------------- */

typedef enum block_kind { NO_BLOCK, THINKING, TEXT, TOOL_USE } block_kind;

typedef struct message_state {
    qn_openai_id id;
    block_kind open; /* of a stream */
    int n_blocks;    /* that were begun */
} message_state;

static const char *stop_reason(const qn_chat_choice *c)
{
    if (c->result.finish == QUERN_FINISH_STOP && c->n_calls > 0) return "tool_use";
    if (c->result.finish == QUERN_FINISH_STOP) return c->result.stop >= 0 ? "stop_sequence" : "end_turn";
    return "max_tokens";
}

static json_t *stop_sequence(const qn_chat_choice *c)
{
    return c->result.finish == QUERN_FINISH_STOP && c->result.stop >= 0
               ? json_string(c->answer->sampling.stops[c->result.stop])
               : json_null();
}

static json_t *usage_of(const qn_chat_answer *a)
{
    const size_t n_cached = qn_chat_answer_cached(a);
    return json_pack("{s:I, s:I, s:I, s:I}", "input_tokens", (json_int_t)(a->n_tokens - n_cached),
                     "cache_creation_input_tokens", (json_int_t)0, "cache_read_input_tokens",
                     (json_int_t)n_cached, "output_tokens", (json_int_t)qn_chat_answer_generated(a));
}

/* Takes content. */
static json_t *message_of(const qn_chat_answer *a, json_t *content)
{
    const message_state *s = a->of_dialect;
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:n, s:n, s:o}", "id", s->id.text, "type", "message", "role",
                     "assistant", "model", a->model_name, "content", content, "stop_reason", "stop_sequence",
                     "usage", usage_of(a));
}

static void send_event(qn_chat_answer *a, const char *type, json_t *value)
{
    if (value != NULL) json_object_set_new(value, "type", json_string(type));
    qn_stream_json(a->x, type, value);
}

static void begin_stream(qn_chat_answer *a)
{
    send_event(a, "message_start", json_pack("{s:o}", "message", message_of(a, json_array())));
    send_event(a, "ping", json_object());
}

static void close_block(qn_chat_answer *a)
{
    message_state *s = a->of_dialect;
    if (s->open == NO_BLOCK) return;
    send_event(a, "content_block_stop", json_pack("{s:i}", "index", s->n_blocks - 1));
    s->open = NO_BLOCK;
}

/* Takes block. */
static void open_block(qn_chat_answer *a, block_kind kind, json_t *block)
{
    message_state *s = a->of_dialect;
    close_block(a);
    s->open = kind;
    send_event(a, "content_block_start",
               json_pack("{s:i, s:o}", "index", s->n_blocks++, "content_block", block));
}

static void send_delta(qn_chat_answer *a, const char *type, const char *field, const quern_chat_event *e)
{
    const message_state *s = a->of_dialect;
    send_event(a, "content_block_delta",
               json_pack("{s:i, s:{s:s, s:o}}", "index", s->n_blocks - 1, "delta", "type", type, field,
                         json_stringn(e->text, e->n_bytes)));
}

static void send_part(qn_chat_choice *c, const quern_chat_event *e)
{
    qn_chat_answer *a = c->answer;
    message_state *s = a->of_dialect;
    switch (e->part) {
    case QUERN_CHAT_CONTENT:
        if (s->open != TEXT) open_block(a, TEXT, json_pack("{s:s, s:s}", "type", "text", "text", ""));
        send_delta(a, "text_delta", "text", e);
        break;
    case QUERN_CHAT_REASONING:
        if (s->open != THINKING)
            open_block(a, THINKING,
                       json_pack("{s:s, s:s, s:s}", "type", "thinking", "thinking", "", "signature", ""));
        send_delta(a, "thinking_delta", "thinking", e);
        break;
    case QUERN_CHAT_CALL:
        open_block(
            a, TOOL_USE,
            json_pack("{s:s, s:s, s:s, s:{}}", "type", "tool_use", "id", e->id, "name", e->name, "input"));
        break;
    case QUERN_CHAT_ARGUMENTS:
        send_delta(a, "input_json_delta", "partial_json", e);
        break;
    case QUERN_CHAT_CALL_END:
        close_block(a);
        break;
    }
}

static void end_stream(qn_chat_answer *a)
{
    const qn_chat_choice *c = &a->choices[0];
    close_block(a);
    send_event(a, "message_delta",
               json_pack("{s:{s:s, s:o}, s:o}", "delta", "stop_reason", stop_reason(c), "stop_sequence",
                         stop_sequence(c), "usage", usage_of(a)));
    send_event(a, "message_stop", json_object());
}

static void add_block(json_t *content, const char *type, const char *field, const qn_buffer *text)
{
    if (text->n_bytes == 0) return;
    json_t *block = json_pack("{s:s, s:o}", "type", type, field, json_stringn(text->data, text->n_bytes));
    if (strcmp(type, "thinking") == 0) json_object_set_new(block, "signature", json_string(""));
    json_array_append_new(content, block);
}

static void reply_whole(qn_chat_answer *a)
{
    qn_chat_choice *c = &a->choices[0];
    json_t *content = json_array();
    add_block(content, "thinking", "thinking", &c->reasoning);
    add_block(content, "text", "text", &c->content);
    for (size_t i = 0; i < json_array_size(c->calls); i++) {
        const json_t *call = json_array_get(c->calls, i);
        json_t *input = json_loads(json_string_value(json_object_get(call, "arguments")), 0, NULL);
        json_array_append_new(content,
                              json_pack("{s:s, s:O, s:O, s:o}", "type", "tool_use", "id",
                                        json_object_get(call, "id"), "name", json_object_get(call, "name"),
                                        "input", input != NULL ? input : json_object()));
    }
    json_t *message = message_of(a, content);
    json_object_set_new(message, "stop_reason", json_string(stop_reason(c)));
    json_object_set_new(message, "stop_sequence", stop_sequence(c));
    json_object_set_new(message, "timings", qn_openai_timings(&c->result));
    qn_reply_json(a->x, 200, message);
}

static void end(qn_chat_answer *a)
{
    if (a->streams) end_stream(a);
    else reply_whole(a);
}

static const qn_chat_writer writer = {begin_stream, NULL, send_part, NULL, end};

/* ---- the request -------------------------------------------------------------------------------- */

static bool read_prompt(qn_chat_answer *a)
{
    return read_system(a) && qn_chat_answer_read_messages(a, read_message) && read_tools(a) &&
           read_thinking(a);
}

void qn_anthropic_messages(qn_exchange *x)
{
    qn_chat_answer *a = qn_chat_answer_create(x, &writer, sizeof(message_state));
    if (a == NULL) return;
    message_state *s = a->of_dialect;
    s->id = qn_openai_make_id("msg");
    if (!qn_sampling_read(&a->sampling, &a->fields, a->model, "stop_sequences") ||
        !qn_field_bool(&a->fields, "stream", &a->streams))
        return;
    if (a->sampling.max_tokens == 0) {
        qn_field_wrong(&a->fields, QN_PROBLEM_MISSING, "max_tokens", "it is missing");
        return;
    }
    x->content_type = a->streams ? "text/event-stream; charset=utf-8" : "application/json";
    if (read_prompt(a)) (void)qn_chat_answer_submit(a);
}

void qn_anthropic_count_tokens(qn_exchange *x)
{
    qn_chat_answer *a = qn_chat_answer_create(x, &writer, sizeof(message_state));
    if (a != NULL && read_prompt(a) && qn_chat_answer_render(a))
        qn_reply_json(x, 200, json_pack("{s:I}", "input_tokens", (json_int_t)a->n_tokens));
}
