/* ollama.c: conversations and texts in Ollama's form (serve/ollama.h). */
#include "serve/ollama.h"

#include "base/clock.h"
#include "chat/json_text.h"
#include "serve/chat_answer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- problems ----------------------------------------------------------------------------------- */

static void write_problem(qn_buffer *out, const qn_problem *p)
{
    qn_buffer_puts(out, "{\"error\":\"");
    qn_json_escape(out, p->message, strlen(p->message));
    qn_buffer_puts(out, "\"}");
}

static void write_stream_problem(qn_buffer *out, const qn_problem *p)
{
    write_problem(out, p);
    qn_buffer_putc(out, '\n');
}

const qn_dialect qn_ollama_dialect = {write_problem, write_stream_problem, NULL};

/* ---- the request -------------------------------------------------------------------------------- */

typedef struct ollama_state {
    bool is_generate; /* a text, not a conversation */
    uint64_t started_ns;
} ollama_state;

/* Arguments are an object here, and text in templates. NULL: problem noted, if not of memory. */
static json_t *read_calls(const qn_fields *message, const json_t *list)
{
    json_t *calls = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        qn_fields call, function;
        const char *name = NULL;
        if (!qn_field_item(message, "tool_calls", list, i, &call) ||
            !qn_field_object(&call, "function", &function) || !qn_field_text(&function, "name", &name))
            return json_decref(calls), NULL;
        const json_t *arguments = qn_field(&function, "arguments");
        if (name == NULL || !json_is_object(arguments)) {
            qn_field_wrong(&call, QN_PROBLEM_MISSING, "function",
                           "a name, and an object as arguments, are needed");
            return json_decref(calls), NULL;
        }
        char *text = json_dumps(arguments, JSON_COMPACT);
        if (text != NULL)
            json_array_append_new(calls, json_pack("{s:s, s:{s:s, s:s}}", "type", "function", "function",
                                                   "name", name, "arguments", text));
        free(text);
    }
    return calls;
}

static bool read_message(qn_chat_answer *a, const qn_fields *f, bool is_last)
{
    (void)is_last;
    const char *role = NULL, *content = "", *thinking = NULL, *tool = NULL;
    const json_t *calls = NULL, *images = NULL;
    if (!qn_field_text(f, "role", &role) || !qn_field_text(f, "content", &content) ||
        !qn_field_text(f, "thinking", &thinking) || !qn_field_text(f, "tool_name", &tool) ||
        !qn_field_array(f, "tool_calls", QN_MAX_TOOLS, &calls) || !qn_field_array(f, "images", 64, &images))
        return false;
    if (role == NULL) return qn_field_wrong(f, QN_PROBLEM_MISSING, "role", "it is missing");
    if (json_array_size(images) > 0)
        return qn_field_wrong(f, QN_PROBLEM_UNSUPPORTED, "images", "this model reads no images");
    json_t *read = NULL;
    if (calls != NULL && (read = read_calls(f, calls)) == NULL) return false;
    return qn_chat_answer_add_message(a, json_pack("{s:s, s:s, s:s*, s:s*, s:o*}", "role", role, "content",
                                                   content, "reasoning_content", thinking, "name", tool,
                                                   "tool_calls", read));
}

static bool read_text(qn_chat_answer *a)
{
    const char *prompt = "", *system = NULL;
    bool raw = false;
    const json_t *images = NULL;
    if (!qn_field_text(&a->fields, "prompt", &prompt) || !qn_field_text(&a->fields, "system", &system) ||
        !qn_field_bool(&a->fields, "raw", &raw) || !qn_field_array(&a->fields, "images", 64, &images))
        return false;
    if (json_array_size(images) > 0)
        return qn_field_wrong(&a->fields, QN_PROBLEM_UNSUPPORTED, "images", "this model reads no images");
    if (qn_field(&a->fields, "suffix") != NULL || qn_field(&a->fields, "template") != NULL)
        return qn_field_wrong(&a->fields, QN_PROBLEM_UNSUPPORTED, "suffix",
                              "a suffix or a template of the request is not possible (use raw)");
    if (raw) {
        a->raw = prompt;
        return true;
    }
    if (system != NULL &&
        !qn_chat_answer_add_message(a, json_pack("{s:s, s:s}", "role", "system", "content", system)))
        return false;
    return qn_chat_answer_add_message(a, json_pack("{s:s, s:s}", "role", "user", "content", prompt));
}

/* "json", or a schema. */
static bool read_format(qn_chat_answer *a)
{
    const json_t *format = qn_field(&a->fields, "format");
    if (format == NULL || (json_is_string(format) && json_string_length(format) == 0)) return true;
    const bool is_word = json_is_string(format) && strcmp(json_string_value(format), "json") == 0;
    if (!is_word && !json_is_object(format))
        return qn_field_wrong(&a->fields, QN_PROBLEM_WRONG_VALUE, "format",
                              "\"json\" or a schema is expected");
    return qn_chat_answer_bind(a, is_word ? NULL : format, "format");
}

/* A word for how much, or a boolean. */
static bool read_think(qn_chat_answer *a)
{
    const json_t *think = qn_field(&a->fields, "think");
    if (think == NULL) return true;
    if (!json_is_boolean(think) && !json_is_string(think))
        return qn_field_wrong(&a->fields, QN_PROBLEM_WRONG_TYPE, "think",
                              "a boolean or a string is expected");
    a->variables = json_is_string(think)
                       ? json_pack("{s:b, s:O}", "enable_thinking", 1, "reasoning_effort", think)
                       : json_pack("{s:O}", "enable_thinking", think);
    return a->variables != NULL || qn_chat_answer_fail_nomem(a);
}

/* What draws tokens stands in "options", under llama.cpp's names. */
static bool read_options(qn_chat_answer *a)
{
    qn_fields options;
    int64_t n_predict = -1;
    const json_t *tools = NULL;
    a->streams = true;
    if (!qn_field_object(&a->fields, "options", &options) ||
        !qn_sampling_read(&a->sampling, &options, a->model, "stop") ||
        !qn_field_integer(&options, "num_predict", INT32_MIN, INT32_MAX, &n_predict) ||
        !qn_field_bool(&a->fields, "stream", &a->streams) ||
        !qn_field_array(&a->fields, "tools", QN_MAX_TOOLS, &tools))
        return false;
    if (n_predict > 0) a->sampling.max_tokens = (size_t)n_predict;
    if (json_array_size(tools) > 0) a->tools = json_incref((json_t *)tools);
    return read_format(a) && read_think(a);
}

/* ---- the answer --------------------------------------------------------------------------------- */

/* A line of the answer; takes what it is given: text alone is borrowed. */
static json_t *line_of(const qn_chat_answer *a, const char *content, size_t n_content, const char *thinking,
                       size_t n_thinking, json_t *calls)
{
    const ollama_state *s = a->of_dialect;
    json_t *text = json_stringn(content, n_content),
           *thought = n_thinking > 0 ? json_stringn(thinking, n_thinking) : NULL,
           *line = json_pack("{s:s, s:s, s:b}", "model", a->model_name, "created_at",
                             qn_ollama_time_of((int64_t)time(NULL)).text, "done", 0);
    if (s->is_generate) {
        json_object_set_new(line, "response", text);
        if (thought != NULL) json_object_set_new(line, "thinking", thought);
        json_decref(calls);
        return line;
    }
    json_object_set_new(line, "message",
                        json_pack("{s:s, s:o, s:o*, s:o*}", "role", "assistant", "content", text, "thinking",
                                  thought, "tool_calls", calls));
    return line;
}

static json_t *call_of(const json_t *call)
{
    json_t *arguments = json_loads(json_string_value(json_object_get(call, "arguments")), 0, NULL);
    return json_pack("{s:{s:O, s:o}}", "function", "name", json_object_get(call, "name"), "arguments",
                     arguments != NULL ? arguments : json_object());
}

static void send_line(qn_chat_answer *a, json_t *line)
{
    char *text = line != NULL ? json_dumps(line, JSON_COMPACT) : NULL;
    if (text != NULL) qn_buffer_puts(&a->x->out, text), qn_buffer_putc(&a->x->out, '\n');
    else a->x->out.failed = true;
    free(text);
    json_decref(line);
}

static void send_part(qn_chat_choice *c, const quern_chat_event *e)
{
    qn_chat_answer *a = c->answer;
    switch (e->part) {
    case QUERN_CHAT_CONTENT:
        send_line(a, line_of(a, e->text, e->n_bytes, "", 0, NULL));
        break;
    case QUERN_CHAT_REASONING:
        send_line(a, line_of(a, "", 0, e->text, e->n_bytes, NULL));
        break;
    case QUERN_CHAT_CALL_END:
        send_line(a, line_of(a, "", 0, "", 0,
                             json_pack("[o]", call_of(json_array_get(c->calls, (size_t)e->call)))));
        break;
    case QUERN_CHAT_CALL:
    case QUERN_CHAT_ARGUMENTS:
        break;
    }
}

static void add_end(const qn_chat_answer *a, json_t *line)
{
    const ollama_state *s = a->of_dialect;
    const quern_request_result *r = &a->choices[0].result;
    json_t *end = json_pack("{s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "done", 1, "done_reason",
                            r->finish == QUERN_FINISH_STOP ? "stop" : "length", "total_duration",
                            (json_int_t)(qn_clock_ns() - s->started_ns), "load_duration",
                            (json_int_t)r->unloaded_ns, "prompt_eval_count", (json_int_t)r->n_prompt,
                            "prompt_eval_duration", (json_int_t)r->prompt_ns, "eval_count",
                            (json_int_t)r->n_generated, "eval_duration", (json_int_t)r->generate_ns);
    json_object_update(line, end);
    json_decref(end);
}

static void end(qn_chat_answer *a)
{
    qn_chat_choice *c = &a->choices[0];
    json_t *calls = c->calls != NULL && !a->streams ? json_array() : NULL;
    for (size_t i = 0; calls != NULL && i < json_array_size(c->calls); i++)
        json_array_append_new(calls, call_of(json_array_get(c->calls, i)));
    json_t *line = line_of(a, c->content.n_bytes > 0 ? c->content.data : "", c->content.n_bytes,
                           c->reasoning.data, c->reasoning.n_bytes, calls);
    add_end(a, line);
    if (a->streams) send_line(a, line);
    else qn_reply_json(a->x, 200, line);
}

static const qn_chat_writer writer = {NULL, NULL, send_part, NULL, end};

static void answer(qn_exchange *x, bool is_generate)
{
    qn_chat_answer *a = qn_chat_answer_create(x, &writer, sizeof(ollama_state));
    if (a == NULL) return;
    ollama_state *s = a->of_dialect;
    *s = (ollama_state){.is_generate = is_generate, .started_ns = qn_clock_ns()};
    if (!read_options(a) || !(is_generate ? read_text(a) : qn_chat_answer_read_messages(a, read_message)))
        return;
    x->content_type = a->streams ? "application/x-ndjson" : "application/json";
    (void)qn_chat_answer_submit(a);
}

void qn_ollama_chat(qn_exchange *x)
{
    answer(x, false);
}

void qn_ollama_generate(qn_exchange *x)
{
    answer(x, true);
}
