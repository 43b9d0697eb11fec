/* openai_chat.c: POST /v1/chat/completions: what is asked, and chunks or one object as the answer. */
#include "serve/openai.h"

#include "serve/chat_answer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct chat_state {
    qn_openai_id id;
    int64_t created_s;
    bool includes_usage, returns_progress;
} chat_state;

/* ---- messages ----------------------------------------------------------------------------------- */

/* Content in parts: templates expect one text. NULL: problem noted. */
static json_t *join_parts(const qn_fields *message, const json_t *parts)
{
    qn_buffer text = {0}; /* no longer than the request */
    bool ok = true;
    for (size_t i = 0; i < json_array_size(parts) && ok; i++) {
        qn_fields part;
        const char *type = NULL, *piece = NULL;
        ok = qn_field_item(message, "content", parts, i, &part) && qn_field_text(&part, "type", &type) &&
             qn_field_text(&part, "text", &piece);
        if (ok && (type == NULL || strcmp(type, "text") != 0 || piece == NULL))
            ok = qn_field_wrong(&part, QN_PROBLEM_UNSUPPORTED, "type",
                                "'%.40s': only parts of type text, with a text, can be read by this model",
                                type != NULL ? type : "");
        if (ok) qn_buffer_puts(&text, piece);
    }
    json_t *joined =
        ok && !text.failed ? json_stringn(text.n_bytes > 0 ? text.data : "", text.n_bytes) : NULL;
    if (ok && joined == NULL)
        qn_field_wrong(message, QN_PROBLEM_NO_MEMORY, "content", "no memory for its parts");
    qn_buffer_deinit(&text);
    return joined;
}

/* A message as templates get it: the same, its content one text. NULL: problem noted, if not of memory. */
static json_t *read_message(const qn_fields *f)
{
    const char *role = NULL;
    const json_t *content = qn_field(f, "content");
    json_t *joined = NULL;
    if (!qn_field_text(f, "role", &role)) return NULL;
    if (role == NULL) return qn_field_wrong(f, QN_PROBLEM_MISSING, "role", "it is missing"), NULL;
    if (content != NULL && !json_is_string(content) && !json_is_array(content))
        return qn_field_wrong(f, QN_PROBLEM_WRONG_TYPE, "content",
                              "a string, or an array of parts, is expected"),
               NULL;
    if (json_is_array(content) && (joined = join_parts(f, content)) == NULL) return NULL;
    json_t *message = json_copy((json_t *)f->object);
    if (joined != NULL) json_object_set_new(message, "content", joined);
    if (strcmp(role, "developer") == 0) json_object_set_new(message, "role", json_string("system"));
    return message;
}

static bool add_message(qn_chat_answer *a, const qn_fields *f, bool is_last)
{
    (void)is_last;
    return qn_chat_answer_add_message(a, read_message(f));
}

/* ---- tools and format --------------------------------------------------------------------------- */

/* "none", "auto" (also where nothing is said), "required", or an object that names a function. */
static bool read_tools(qn_chat_answer *a)
{
    const json_t *tools = NULL, *choice = qn_field(&a->fields, "tool_choice");
    const char *word = json_string_value(choice);
    bool parallel = true;
    if (!qn_field_array(&a->fields, "tools", QN_MAX_TOOLS, &tools) ||
        !qn_field_bool(&a->fields, "parallel_tool_calls", &parallel))
        return false;
    a->one_call = !parallel;
    if (choice != NULL && word == NULL && !json_is_object(choice))
        return qn_field_wrong(&a->fields, QN_PROBLEM_WRONG_TYPE, "tool_choice",
                              "a string or an object is expected");
    if (word != NULL && strcmp(word, "none") != 0 && strcmp(word, "auto") != 0 &&
        strcmp(word, "required") != 0)
        return qn_field_wrong(&a->fields, QN_PROBLEM_WRONG_VALUE, "tool_choice",
                              "'%.40s': none, auto, required, or a function is possible", word);
    if (json_array_size(tools) == 0 && choice != NULL && (word == NULL || strcmp(word, "required") == 0))
        return qn_field_wrong(&a->fields, QN_PROBLEM_MISSING, "tools",
                              "tool_choice wants one, and there are none");
    if (json_array_size(tools) == 0 || (word != NULL && strcmp(word, "none") == 0)) return true;
    a->tools = json_incref((json_t *)tools);
    a->choice = choice != NULL ? json_incref((json_t *)choice) : NULL;
    return true;
}

static bool read_schema(qn_chat_answer *a, const qn_fields *format)
{
    qn_fields named;
    if (!qn_field_object(format, "json_schema", &named)) return false;
    const json_t *schema = named.object != NULL ? qn_field(&named, "schema") : NULL;
    if (schema == NULL) return qn_field_wrong(format, QN_PROBLEM_MISSING, "json_schema", "it has no schema");
    return qn_chat_answer_bind(a, schema, "response_format.json_schema.schema");
}

static bool read_format(qn_chat_answer *a)
{
    qn_fields format;
    const char *type = NULL;
    if (!qn_field_object(&a->fields, "response_format", &format)) return false;
    if (format.object == NULL) return true;
    if (!qn_field_text(&format, "type", &type)) return false;
    if (type == NULL) return qn_field_wrong(&format, QN_PROBLEM_MISSING, "type", "it is missing");
    if (strcmp(type, "text") == 0) return true;
    if (strcmp(type, "json_object") == 0) return qn_chat_answer_bind(a, NULL, NULL);
    if (strcmp(type, "json_schema") == 0) return read_schema(a, &format);
    return qn_field_wrong(&format, QN_PROBLEM_WRONG_VALUE, "type",
                          "'%.40s': text, json_object and json_schema are possible", type);
}

/* Variables of the template: what the request says of them, and what stands for it. */
static bool read_variables(qn_chat_answer *a)
{
    qn_fields variables;
    const char *effort = NULL;
    if (!qn_field_object(&a->fields, "chat_template_kwargs", &variables) ||
        !qn_field_text(&a->fields, "reasoning_effort", &effort))
        return false;
    a->variables = variables.object != NULL ? json_copy((json_t *)variables.object) : json_object();
    if (a->variables == NULL) return qn_chat_answer_fail_nomem(a);
    if (effort != NULL) json_object_set_new(a->variables, "reasoning_effort", json_string(effort));
    if (effort != NULL && strcmp(effort, "none") == 0)
        json_object_set_new(a->variables, "enable_thinking", json_false());
    return true;
}

static bool read_choices(qn_chat_answer *a)
{
    chat_state *s = a->of_dialect;
    qn_fields stream_options;
    if (!qn_field_bool(&a->fields, "stream", &a->streams) ||
        !qn_field_object(&a->fields, "stream_options", &stream_options) ||
        !qn_field_bool(&stream_options, "include_usage", &s->includes_usage) ||
        !qn_field_bool(&a->fields, "return_progress", &s->returns_progress) ||
        !qn_field_integer(&a->fields, "n", 1, QN_MAX_CHOICES_OF_REQUEST, &a->n) ||
        !qn_field_bool(&a->fields, "logprobs", &a->wants_log_probs) ||
        !qn_field_integer(&a->fields, "top_logprobs", 0, QUERN_MAX_TOP_LOG_PROBS, &a->n_top))
        return false;
    if (a->n_top > 0 && !a->wants_log_probs)
        return qn_field_wrong(&a->fields, QN_PROBLEM_WRONG_VALUE, "top_logprobs",
                              "logprobs must be true for it");
    return true;
}

/* ---- chunks ------------------------------------------------------------------------------------- */

/* Takes the choices, an array. */
static json_t *chunk_of(const qn_chat_answer *a, json_t *choices)
{
    const chat_state *s = a->of_dialect;
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:o}", "id", s->id.text, "object", "chat.completion.chunk",
                     "created", (json_int_t)s->created_s, "model", a->model_name, "system_fingerprint",
                     "quern-" QUERN_VERSION, "choices", choices);
}

/* The log-probabilities that have come; null: none. */
static json_t *take_log_probs(qn_chat_choice *c)
{
    json_t *items = c->log_probs;
    c->log_probs = NULL;
    return items != NULL ? json_pack("{s:o}", "content", items) : json_null();
}

/* Takes delta. finish may be NULL. */
static void send_chunk(qn_chat_choice *c, json_t *delta, const char *finish)
{
    const chat_state *s = c->answer->of_dialect;
    json_t *chunk =
        chunk_of(c->answer, json_pack("[{s:I, s:o, s:o, s:s?}]", "index", (json_int_t)c->index, "delta",
                                      delta, "logprobs", take_log_probs(c), "finish_reason", finish));
    if (s->includes_usage && chunk != NULL) json_object_set_new(chunk, "usage", json_null());
    qn_stream_json(c->answer->x, NULL, chunk);
}

static void begin_stream(qn_chat_answer *a)
{
    for (int64_t i = 0; i < a->n; i++)
        send_chunk(&a->choices[i], json_pack("{s:s, s:s}", "role", "assistant", "content", ""), NULL);
}

static void send_progress(qn_chat_answer *a, const quern_event *e)
{
    const chat_state *s = a->of_dialect;
    if (!s->returns_progress) return;
    json_t *chunk = chunk_of(a, json_array());
    json_object_set_new(
        chunk, "prompt_progress",
        json_pack("{s:I, s:I}", "processed", (json_int_t)e->n_done, "total", (json_int_t)e->n_total));
    qn_stream_json(a->x, NULL, chunk);
}

static void send_part(qn_chat_choice *c, const quern_chat_event *e)
{
    json_t *delta = NULL;
    switch (e->part) {
    case QUERN_CHAT_CONTENT:
        delta = json_pack("{s:o}", "content", json_stringn(e->text, e->n_bytes));
        break;
    case QUERN_CHAT_REASONING:
        delta = json_pack("{s:o}", "reasoning_content", json_stringn(e->text, e->n_bytes));
        break;
    case QUERN_CHAT_CALL:
        delta = json_pack("{s:[{s:i, s:s, s:s, s:{s:s, s:s}}]}", "tool_calls", "index", e->call, "id", e->id,
                          "type", "function", "function", "name", e->name, "arguments", "");
        break;
    case QUERN_CHAT_ARGUMENTS:
        delta = json_pack("{s:[{s:i, s:{s:o}}]}", "tool_calls", "index", e->call, "function", "arguments",
                          json_stringn(e->text, e->n_bytes));
        break;
    case QUERN_CHAT_CALL_END:
        return;
    }
    send_chunk(c, delta, NULL);
}

static void send_end(qn_chat_choice *c)
{
    send_chunk(c, json_object(), qn_openai_finish(c->result.finish, c->n_calls > 0));
}

/* ---- the whole ---------------------------------------------------------------------------------- */

static json_t *usage_of(const qn_chat_answer *a)
{
    return qn_openai_usage(a->n_tokens, qn_chat_answer_cached(a), qn_chat_answer_generated(a));
}

static json_t *text_of(const qn_buffer *b)
{
    return b->n_bytes > 0 ? json_stringn(b->data, b->n_bytes) : NULL;
}

static json_t *calls_of(const qn_chat_choice *c)
{
    json_t *calls = c->calls != NULL ? json_array() : NULL;
    for (size_t i = 0; i < json_array_size(c->calls); i++) {
        const json_t *call = json_array_get(c->calls, i);
        json_array_append_new(calls,
                              json_pack("{s:O, s:s, s:{s:O, s:O}}", "id", json_object_get(call, "id"), "type",
                                        "function", "function", "name", json_object_get(call, "name"),
                                        "arguments", json_object_get(call, "arguments")));
    }
    return calls;
}

static json_t *choice_of(qn_chat_choice *c)
{
    json_t *content = text_of(&c->content);
    if (content == NULL) content = c->calls != NULL ? json_null() : json_string("");
    json_t *message =
        json_pack("{s:s, s:o, s:o*, s:o*, s:n}", "role", "assistant", "content", content, "reasoning_content",
                  text_of(&c->reasoning), "tool_calls", calls_of(c), "refusal");
    return json_pack("{s:I, s:o, s:o, s:s}", "index", (json_int_t)c->index, "message", message, "logprobs",
                     take_log_probs(c), "finish_reason", qn_openai_finish(c->result.finish, c->n_calls > 0));
}

static void reply_whole(qn_chat_answer *a)
{
    const chat_state *s = a->of_dialect;
    json_t *choices = json_array();
    for (int64_t i = 0; i < a->n; i++) json_array_append_new(choices, choice_of(&a->choices[i]));
    qn_reply_json(a->x, 200,
                  json_pack("{s:s, s:s, s:I, s:s, s:s, s:o, s:o, s:o}", "id", s->id.text, "object",
                            "chat.completion", "created", (json_int_t)s->created_s, "model", a->model_name,
                            "system_fingerprint", "quern-" QUERN_VERSION, "choices", choices, "usage",
                            usage_of(a), "timings", qn_openai_timings(&a->choices[0].result)));
}

static void end(qn_chat_answer *a)
{
    const chat_state *s = a->of_dialect;
    if (!a->streams) {
        reply_whole(a);
        return;
    }
    if (s->includes_usage) {
        json_t *last = chunk_of(a, json_array());
        json_object_set_new(last, "usage", usage_of(a));
        json_object_set_new(last, "timings", qn_openai_timings(&a->choices[0].result));
        qn_stream_json(a->x, NULL, last);
    }
    qn_buffer_puts(&a->x->out, "data: [DONE]\n\n");
}

static const qn_chat_writer writer = {begin_stream, send_progress, send_part, send_end, end};

/* Reads all of the request. NULL: problem noted. */
static qn_chat_answer *read_request(qn_exchange *x)
{
    qn_chat_answer *a = qn_chat_answer_create(x, &writer, sizeof(chat_state));
    if (a == NULL) return NULL;
    const bool ok = qn_sampling_read(&a->sampling, &a->fields, a->model, "stop") && read_choices(a) &&
                    qn_chat_answer_read_messages(a, add_message) && read_tools(a) && read_format(a) &&
                    read_variables(a);
    return ok ? a : NULL;
}

void qn_openai_chat(qn_exchange *x)
{
    qn_chat_answer *a = read_request(x);
    if (a == NULL) return;
    chat_state *s = a->of_dialect;
    s->id = qn_openai_make_id("chatcmpl");
    s->created_s = (int64_t)time(NULL);
    x->content_type = a->streams ? "text/event-stream; charset=utf-8" : "application/json";
    (void)qn_chat_answer_submit(a);
}

char *qn_openai_render(qn_exchange *x)
{
    qn_chat_answer *a = read_request(x);
    if (a == NULL || !qn_chat_answer_render(a)) return NULL;
    char *prompt = a->prompt;
    a->prompt = NULL;
    return prompt;
}
