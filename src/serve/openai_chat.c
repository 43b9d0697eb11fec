/* openai_chat.c: POST /v1/chat/completions. A worker reads the request and renders the prompt; the answers
 * are read back into messages (quern_chat_reader) as they come, and sent as chunks, or as one object at the
 * end. */
#include "serve/openai.h"

#include "base/alloc.h"
#include "base/random.h"
#include "serve/limits.h"
#include "serve/sampling.h"
#include "serve/server_parts.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct chat_state chat_state;

/* One answer while it comes. */
typedef struct chat_choice {
    chat_state *state;
    uint32_t index;
    quern_chat_reader *reader;
    qn_buffer content, reasoning; /* where it is not streamed */
    json_t *calls;                /* likewise */
    size_t n_calls;
    json_t *log_probs; /* of the text that comes next, or of all */
    quern_request_result result;
} chat_choice;

struct chat_state {
    qn_exchange *x;
    json_t *root; /* the request */
    qn_fields fields;
    const quern_model *model;
    const char *model_name;
    qn_sampling sampling;
    json_t *messages; /* as the template gets them */
    json_t *tools;    /* borrowed from root, or NULL */
    char *prompt;     /* rendered */
    quern_token *tokens;
    size_t n_tokens;
    quern_grammar *grammar;
    bool streams, includes_usage, wants_log_probs;
    int64_t n, n_top;
    qn_openai_id id;
    int64_t created_s;
    chat_choice choices[QN_MAX_CHOICES_OF_REQUEST];
};

static void free_state(void *user)
{
    chat_state *s = user;
    for (size_t i = 0; i < QN_MAX_CHOICES_OF_REQUEST; i++) {
        chat_choice *c = &s->choices[i];
        quern_chat_reader_destroy(c->reader);
        qn_buffer_deinit(&c->content), qn_buffer_deinit(&c->reasoning);
        json_decref(c->calls), json_decref(c->log_probs);
    }
    quern_grammar_destroy(s->grammar);
    quern_free(s->prompt), quern_free(s->tokens);
    json_decref(s->messages);
    json_decref(s->root);
    qn_free(s);
}

/* ---- messages ----------------------------------------------------------------------------------- */

/* Content in parts: templates expect one text. NULL: problem noted. */
static json_t *join_parts(const qn_fields *message, const json_t *parts)
{
    qn_buffer text = {.max_bytes = QN_BODY_BYTES};
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

/* A message as the template gets it: the same, its content one text. NULL: problem noted. */
static json_t *read_message(const qn_fields *f)
{
    const char *role = NULL;
    const json_t *content = qn_field(f, "content");
    if (!qn_field_text(f, "role", &role)) return NULL;
    if (role == NULL) {
        qn_field_wrong(f, QN_PROBLEM_MISSING, "role", "it is missing");
        return NULL;
    }
    if (content != NULL && !json_is_string(content) && !json_is_array(content)) {
        qn_field_wrong(f, QN_PROBLEM_WRONG_TYPE, "content", "a string, or an array of parts, is expected");
        return NULL;
    }
    json_t *message = json_copy((json_t *)f->object);
    if (json_is_array(content)) {
        json_t *joined = join_parts(f, content);
        if (joined == NULL) {
            json_decref(message);
            return NULL;
        }
        json_object_set_new(message, "content", joined);
    }
    if (strcmp(role, "developer") == 0) json_object_set_new(message, "role", json_string("system"));
    return message;
}

static bool read_messages(chat_state *s)
{
    const json_t *list = NULL;
    if (!qn_field_array(&s->fields, "messages", QN_MAX_MESSAGES, &list)) return false;
    if (json_array_size(list) == 0)
        return qn_field_wrong(&s->fields, QN_PROBLEM_MISSING, "messages", "at least one message is needed");
    s->messages = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        qn_fields f;
        json_t *message = NULL;
        if (qn_field_item(&s->fields, "messages", list, i, &f)) message = read_message(&f);
        if (message == NULL || json_array_append_new(s->messages, message) != 0)
            return qn_problem_set(s->fields.problem, QN_PROBLEM_NO_MEMORY, NULL,
                                  "no memory for the messages");
    }
    return true;
}

/* ---- tools, and what the answer is bound to ----------------------------------------------------- */

/* "none", "auto" (also where nothing is said), "required", or an object that names a function. */
static bool read_tools(chat_state *s, json_t **choice)
{
    const json_t *tools = NULL, *found = qn_field(&s->fields, "tool_choice");
    if (!qn_field_array(&s->fields, "tools", QN_MAX_TOOLS, &tools)) return false;
    const char *word = json_string_value(found);
    if (found != NULL && word == NULL && !json_is_object(found))
        return qn_field_wrong(&s->fields, QN_PROBLEM_WRONG_TYPE, "tool_choice",
                              "a string or an object is expected");
    if (word != NULL && strcmp(word, "none") != 0 && strcmp(word, "auto") != 0 &&
        strcmp(word, "required") != 0)
        return qn_field_wrong(&s->fields, QN_PROBLEM_WRONG_VALUE, "tool_choice",
                              "'%.40s': none, auto, required, or a function is possible", word);
    if (json_array_size(tools) == 0 && found != NULL && (word == NULL || strcmp(word, "required") == 0))
        return qn_field_wrong(&s->fields, QN_PROBLEM_MISSING, "tools",
                              "tool_choice wants one, and there are none");
    const bool is_off = word != NULL && strcmp(word, "none") == 0;
    s->tools = json_array_size(tools) > 0 && !is_off ? (json_t *)tools : NULL;
    *choice = found != NULL ? (json_t *)found : NULL;
    return true;
}

/* What quern_chat_grammar and quern_chat_reader want to know. Owned by the caller (free); NULL: no memory. */
static char *chat_options(const chat_state *s, json_t *choice, uint64_t id_seed)
{
    bool parallel = true;
    (void)qn_field_bool(&s->fields, "parallel_tool_calls", &parallel);
    json_t *options = json_pack("{s:O*, s:O*, s:b, s:s, s:I}", "tools", s->tools, "tool_choice",
                                s->tools != NULL ? choice : NULL, "parallel_tool_calls", (int)parallel,
                                "prompt", s->prompt, "id_seed", (json_int_t)(id_seed >> 1));
    char *text = options != NULL ? json_dumps(options, JSON_COMPACT) : NULL;
    json_decref(options);
    return text;
}

static bool fail_nomem(chat_state *s)
{
    return qn_problem_set(s->fields.problem, QN_PROBLEM_NO_MEMORY, NULL, "no memory for the request");
}

/* The language of response_format; *out is NULL where it is free. */
static bool read_format(chat_state *s, quern_grammar **out)
{
    qn_fields format, schema;
    const char *type = NULL;
    quern_grammar_params p = quern_grammar_params_default();
    quern_error err;
    *out = NULL;
    if (!qn_field_object(&s->fields, "response_format", &format)) return false;
    if (format.object == NULL) return true;
    if (!qn_field_text(&format, "type", &type)) return false;
    if (type == NULL) return qn_field_wrong(&format, QN_PROBLEM_MISSING, "type", "it is missing");
    if (strcmp(type, "text") == 0) return true;
    if (strcmp(type, "json_object") == 0) {
        p.kind = QUERN_GRAMMAR_JSON_OBJECT;
        return quern_grammar_create(out, &p, &err) == QUERN_OK ||
               qn_problem_take(s->fields.problem, NULL, &err);
    }
    if (strcmp(type, "json_schema") != 0)
        return qn_field_wrong(&format, QN_PROBLEM_WRONG_VALUE, "type",
                              "'%.40s': text, json_object and json_schema are possible", type);
    if (!qn_field_object(&format, "json_schema", &schema)) return false;
    const json_t *rules = qn_field(&schema, "schema");
    if (rules == NULL) return qn_field_wrong(&format, QN_PROBLEM_MISSING, "json_schema", "it has no schema");
    char *text = json_dumps(rules, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text == NULL) return fail_nomem(s);
    p.kind = QUERN_GRAMMAR_JSON_SCHEMA, p.text = text, p.n_bytes = strlen(text);
    const quern_status status = quern_grammar_create(out, &p, &err);
    free(text);
    return status == QUERN_OK ||
           qn_problem_take(s->fields.problem, "response_format.json_schema.schema", &err);
}

/* Content in a format may stand behind reasoning. A model whose format has no place for that is bound as it
 * is. */
static bool bind_format(chat_state *s)
{
    quern_grammar *content;
    quern_error err;
    if (!read_format(s, &content)) return false;
    if (content == NULL) return true;
    if (s->tools != NULL) {
        quern_grammar_destroy(content);
        return qn_field_wrong(&s->fields, QN_PROBLEM_UNSUPPORTED, "response_format",
                              "tools and a response format exclude each other");
    }
    char *options = chat_options(s, NULL, 0);
    const quern_status status =
        options != NULL ? quern_chat_grammar_after_reasoning(&s->grammar, s->model, content, options, &err)
                        : QUERN_ERR_NOMEM;
    free(options);
    if (status == QUERN_ERR_UNSUPPORTED) {
        s->grammar = content;
        return true;
    }
    quern_grammar_destroy(content);
    if (options == NULL) return fail_nomem(s);
    return status == QUERN_OK || qn_problem_take(s->fields.problem, "response_format", &err);
}

/* A model without a format for calls may still be offered tools; it cannot be made to call one. */
static bool bind_tools(chat_state *s, json_t *choice)
{
    quern_error err;
    if (s->tools == NULL) return true;
    char *options = chat_options(s, choice, 0);
    if (options == NULL) return fail_nomem(s);
    const quern_status status = quern_chat_grammar(&s->grammar, s->model, options, &err);
    free(options);
    const char *word = json_string_value(choice);
    const bool is_free = choice == NULL || (word != NULL && strcmp(word, "auto") == 0);
    if (status == QUERN_ERR_UNSUPPORTED && is_free) return true;
    return status == QUERN_OK || qn_problem_take(s->fields.problem, "tools", &err);
}

/* ---- the prompt --------------------------------------------------------------------------------- */

/* Variables of the template: what the request says of them, and what stands for it. */
static json_t *template_options(const chat_state *s)
{
    qn_fields variables;
    json_t *options = json_object();
    if (qn_field_object(&s->fields, "chat_template_kwargs", &variables) && variables.object != NULL)
        json_object_update(options, (json_t *)variables.object);
    const char *effort = NULL;
    if (qn_field_text(&s->fields, "reasoning_effort", &effort) && effort != NULL) {
        json_object_set_new(options, "reasoning_effort", json_string(effort));
        if (strcmp(effort, "none") == 0) json_object_set_new(options, "enable_thinking", json_false());
    }
    json_object_set_new(options, "fallback", json_true());
    json_object_set_new(options, "add_generation_prompt", json_true());
    if (s->tools != NULL) json_object_set(options, "tools", s->tools);
    else json_object_del(options, "tools");
    return options;
}

static bool render(chat_state *s)
{
    quern_error err;
    json_t *options = template_options(s);
    char *messages = json_dumps(s->messages, JSON_COMPACT), *text = json_dumps(options, JSON_COMPACT);
    bool ok = s->fields.problem->kind == QN_PROBLEM_NONE;
    json_decref(options);
    if (ok && (messages == NULL || text == NULL)) ok = fail_nomem(s);
    if (ok && quern_chat_render(s->model, messages, text, &s->prompt, &err) != QUERN_OK)
        ok = qn_problem_take(s->fields.problem, "messages", &err);
    free(messages), free(text);
    if (!ok) return false;
    return quern_tokenize(s->model, s->prompt, strlen(s->prompt), QUERN_TOKENIZE_PARSE_SPECIAL, &s->tokens,
                          &s->n_tokens, &err) == QUERN_OK ||
           qn_problem_take(s->fields.problem, "messages", &err);
}

/* ---- the answer --------------------------------------------------------------------------------- */

static void send_chunk(chat_state *s, const chat_choice *c, json_t *delta, const char *finish,
                       json_t *log_probs)
{
    json_t *choice =
        json_pack("{s:I, s:o, s:o, s:s?}", "index", (json_int_t)c->index, "delta", delta, "logprobs",
                  log_probs != NULL ? log_probs : json_null(), "finish_reason", finish);
    json_t *chunk = json_pack("{s:s, s:s, s:I, s:s, s:s, s:[o]}", "id", s->id.text, "object",
                              "chat.completion.chunk", "created", (json_int_t)s->created_s, "model",
                              s->model_name, "system_fingerprint", "quern-" QUERN_VERSION, "choices", choice);
    if (s->includes_usage && chunk != NULL) json_object_set_new(chunk, "usage", json_null());
    qn_stream_json(s->x, NULL, chunk);
}

/* The log-probabilities that have come with the text, for the next chunk. */
static json_t *take_log_probs(chat_choice *c)
{
    json_t *items = c->log_probs;
    c->log_probs = NULL;
    return items != NULL ? json_pack("{s:o}", "content", items) : NULL;
}

static void begin_stream(qn_exchange *x)
{
    chat_state *s = x->state;
    for (int64_t i = 0; i < s->n; i++)
        send_chunk(s, &s->choices[i], json_pack("{s:s, s:s}", "role", "assistant", "content", ""), NULL,
                   NULL);
}

static json_t *call_delta(const quern_chat_event *e)
{
    if (e->part == QUERN_CHAT_CALL)
        return json_pack("{s:[{s:i, s:s, s:s, s:{s:s, s:s}}]}", "tool_calls", "index", e->call, "id", e->id,
                         "type", "function", "function", "name", e->name, "arguments", "");
    return json_pack("{s:[{s:i, s:{s:o}}]}", "tool_calls", "index", e->call, "function", "arguments",
                     json_stringn(e->text, e->n_bytes));
}

static void send_part(chat_choice *c, const quern_chat_event *e)
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
    case QUERN_CHAT_ARGUMENTS:
        delta = call_delta(e);
        break;
    case QUERN_CHAT_CALL_END:
        return;
    }
    send_chunk(c->state, c, delta, NULL, take_log_probs(c));
}

static void keep_part(chat_choice *c, const quern_chat_event *e)
{
    if (e->part == QUERN_CHAT_CONTENT) qn_buffer_append(&c->content, e->text, e->n_bytes);
    if (e->part == QUERN_CHAT_REASONING) qn_buffer_append(&c->reasoning, e->text, e->n_bytes);
    if (e->part == QUERN_CHAT_CALL) {
        if (c->calls == NULL) c->calls = json_array();
        json_array_append_new(c->calls, json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", e->id, "type", "function",
                                                  "function", "name", e->name, "arguments", ""));
    }
    if (e->part != QUERN_CHAT_ARGUMENTS) return;
    json_t *function = json_object_get(json_array_get(c->calls, (size_t)e->call), "function"),
           *so_far = json_object_get(function, "arguments");
    qn_buffer text = {0};
    qn_buffer_append(&text, json_string_value(so_far), json_string_length(so_far));
    qn_buffer_append(&text, e->text, e->n_bytes);
    if (!text.failed) json_object_set_new(function, "arguments", json_stringn(text.data, text.n_bytes));
    qn_buffer_deinit(&text);
}

static bool on_part(void *user, const quern_chat_event *e)
{
    chat_choice *c = user;
    if (e->part == QUERN_CHAT_CALL) c->n_calls++;
    if (c->state->streams) send_part(c, e);
    else keep_part(c, e);
    return true;
}

static void read_text(chat_choice *c, const quern_event *e)
{
    quern_error err;
    if (c->state->wants_log_probs && e->n_log_probs > 0) {
        json_t *items = qn_openai_log_probs(c->state->model, e);
        if (c->log_probs == NULL) c->log_probs = items;
        else json_array_extend(c->log_probs, items), json_decref(items);
    }
    if (e->n_bytes > 0 && quern_chat_reader_push(c->reader, e->text, e->n_bytes, &err) != QUERN_OK)
        qn_problem_take(&c->state->x->problem, NULL, &err);
}

static void send_progress(chat_state *s, const quern_event *e)
{
    bool wanted = false;
    if (!qn_field_bool(&s->fields, "return_progress", &wanted) || !wanted || !s->streams) return;
    json_t *chunk = json_pack("{s:s, s:s, s:I, s:s, s:[], s:{s:I, s:I}}", "id", s->id.text, "object",
                              "chat.completion.chunk", "created", (json_int_t)s->created_s, "model",
                              s->model_name, "choices", "prompt_progress", "processed", (json_int_t)e->n_done,
                              "total", (json_int_t)e->n_total);
    qn_stream_json(s->x, NULL, chunk);
}

static void end_choice(chat_choice *c, const quern_event *e)
{
    chat_state *s = c->state;
    quern_error err;
    c->result = e->result;
    if (e->kind == QUERN_EVENT_FAILED) {
        qn_problem_take(&s->x->problem, NULL, e->error);
        return;
    }
    if (quern_chat_reader_finish(c->reader, &err) != QUERN_OK) qn_problem_take(&s->x->problem, NULL, &err);
    if (s->streams)
        send_chunk(s, c, json_object(), qn_openai_finish(e->result.finish, c->n_calls > 0),
                   take_log_probs(c));
}

static void on_event(qn_exchange *x, const quern_event *e)
{
    chat_state *s = x->state;
    chat_choice *c = &s->choices[e->answer];
    switch (e->kind) {
    case QUERN_EVENT_TEXT:
        read_text(c, e);
        break;
    case QUERN_EVENT_PROMPT:
        send_progress(s, e);
        break;
    case QUERN_EVENT_FINISHED:
    case QUERN_EVENT_FAILED:
        end_choice(c, e);
        break;
    case QUERN_EVENT_NONE:
    case QUERN_EVENT_QUEUED:
    case QUERN_EVENT_STARTED:
        break;
    }
}

static json_t *usage_of(const chat_state *s)
{
    size_t n_generated = 0;
    for (int64_t i = 0; i < s->n; i++) n_generated += s->choices[i].result.n_generated;
    return qn_openai_usage(s->n_tokens, s->choices[0].result.n_cached, n_generated);
}

static json_t *text_or_null(const qn_buffer *b)
{
    return b->n_bytes > 0 ? json_stringn(b->data, b->n_bytes) : NULL;
}

static json_t *choice_object(chat_choice *c)
{
    json_t *content = text_or_null(&c->content), *message;
    if (content == NULL) content = c->calls != NULL ? json_null() : json_string("");
    message = json_pack("{s:s, s:o, s:o*, s:O*, s:n}", "role", "assistant", "content", content,
                        "reasoning_content", text_or_null(&c->reasoning), "tool_calls", c->calls, "refusal");
    json_t *log_probs = take_log_probs(c);
    return json_pack("{s:I, s:o, s:o, s:s}", "index", (json_int_t)c->index, "message", message, "logprobs",
                     log_probs != NULL ? log_probs : json_null(), "finish_reason",
                     qn_openai_finish(c->result.finish, c->n_calls > 0));
}

static void reply_whole(chat_state *s)
{
    json_t *choices = json_array();
    for (int64_t i = 0; i < s->n; i++) {
        if (s->choices[i].content.failed || s->choices[i].reasoning.failed) fail_nomem(s);
        json_array_append_new(choices, choice_object(&s->choices[i]));
    }
    qn_reply_json(s->x, 200,
                  json_pack("{s:s, s:s, s:I, s:s, s:s, s:o, s:o, s:o}", "id", s->id.text, "object",
                            "chat.completion", "created", (json_int_t)s->created_s, "model", s->model_name,
                            "system_fingerprint", "quern-" QUERN_VERSION, "choices", choices, "usage",
                            usage_of(s), "timings", qn_openai_timings(&s->choices[0].result)));
}

static void end_stream(chat_state *s)
{
    if (s->x->problem.kind != QN_PROBLEM_NONE) {
        s->x->route->dialect->write_stream_problem(&s->x->out, &s->x->problem);
        return;
    }
    json_t *last =
        json_pack("{s:s, s:s, s:I, s:s, s:[], s:o, s:o}", "id", s->id.text, "object", "chat.completion.chunk",
                  "created", (json_int_t)s->created_s, "model", s->model_name, "choices", "usage",
                  usage_of(s), "timings", qn_openai_timings(&s->choices[0].result));
    if (s->includes_usage) qn_stream_json(s->x, NULL, last);
    else json_decref(last);
    qn_buffer_puts(&s->x->out, "data: [DONE]\n\n");
}

static void end(qn_exchange *x)
{
    chat_state *s = x->state;
    if (s->streams) end_stream(s);
    else if (x->problem.kind == QN_PROBLEM_NONE) reply_whole(s);
}

static const qn_answer_writer writer = {begin_stream, on_event, end};

/* ---- the request -------------------------------------------------------------------------------- */

static bool read_request(chat_state *s)
{
    qn_fields stream_options;
    int64_t n_top = 0;
    s->n = 1;
    const bool ok = qn_sampling_read(&s->sampling, &s->fields, s->model) &&
                    qn_field_bool(&s->fields, "stream", &s->streams) &&
                    qn_field_object(&s->fields, "stream_options", &stream_options) &&
                    qn_field_bool(&stream_options, "include_usage", &s->includes_usage) &&
                    qn_field_integer(&s->fields, "n", 1, QN_MAX_CHOICES_OF_REQUEST, &s->n) &&
                    qn_field_bool(&s->fields, "logprobs", &s->wants_log_probs) &&
                    qn_field_integer(&s->fields, "top_logprobs", 0, QUERN_MAX_TOP_LOG_PROBS, &n_top) &&
                    read_messages(s);
    s->n_top = n_top;
    if (ok && n_top > 0 && !s->wants_log_probs)
        return qn_field_wrong(&s->fields, QN_PROBLEM_WRONG_VALUE, "top_logprobs",
                              "logprobs must be true for it");
    return ok;
}

static bool open_readers(chat_state *s, json_t *choice)
{
    quern_error err;
    for (int64_t i = 0; i < s->n; i++) {
        chat_choice *c = &s->choices[i];
        c->state = s, c->index = (uint32_t)i;
        char *options = chat_options(s, choice, qn_random_seed());
        if (options == NULL) return fail_nomem(s);
        const quern_status status = quern_chat_reader_create(&c->reader, s->model, options, on_part, c, &err);
        free(options);
        if (status != QUERN_OK) return qn_problem_take(s->fields.problem, "tools", &err);
    }
    return true;
}

static bool submit(chat_state *s)
{
    quern_request_params p = quern_request_params_default();
    p.model = s->model_name;
    p.prompt = s->tokens, p.n_prompt = s->n_tokens;
    p.n_answers = (uint32_t)s->n;
    p.sampler = &s->sampling.params;
    p.stops = s->sampling.stops, p.n_stops = s->sampling.n_stops;
    p.max_tokens = s->sampling.max_tokens;
    p.grammar = s->grammar;
    p.show_special = true;
    p.log_probs = s->wants_log_probs, p.n_top_log_probs = (uint32_t)s->n_top;
    p.priority = QUERN_PRIORITY_INTERACTIVE;
    s->x->content_type = s->streams ? "text/event-stream; charset=utf-8" : "application/json";
    return qn_exchange_submit(s->x, &p, &writer, s->streams);
}

void qn_openai_chat(qn_exchange *x)
{
    json_t *choice = NULL;
    chat_state *s = qn_calloc(1, sizeof *s);
    if (s == NULL) {
        qn_problem_set(&x->problem, QN_PROBLEM_NO_MEMORY, NULL, "no memory for the request");
        return;
    }
    x->state = s, x->free_state = free_state;
    s->x = x;
    s->id = qn_openai_make_id("chatcmpl");
    s->created_s = (int64_t)time(NULL);
    s->root = qn_fields_parse(x->body.n_bytes > 0 ? x->body.data : "", x->body.n_bytes, &x->problem);
    if (s->root == NULL) return;
    s->fields = qn_fields_of(s->root, &x->problem);
    s->model = qn_openai_model(x, &s->fields, &s->model_name);
    (void)(s->model != NULL && read_request(s) && read_tools(s, &choice) && render(s) && bind_format(s) &&
           bind_tools(s, choice) && open_readers(s, choice) && submit(s));
}
