/* chat_tools.c: tools in answers: bound to what they can be, and read back, in the format of the model. */
#include "base/alloc.h"
#include "chat/call_grammar.h"
#include "chat/output_message.h"
#include "engine/grammar.h"

#include <stdlib.h>
#include <string.h>

/* *options: an object, empty for NULL. */
static quern_status read_options(json_t **options, const char *text, quern_error *err)
{
    json_error_t where;
    *options = text != NULL ? json_loads(text, JSON_REJECT_DUPLICATES, &where) : json_object();
    if (*options == NULL)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "tool options: line %d column %d: %s", where.line,
                       where.column, where.text);
    if (json_is_object(*options)) return qn_chat_check_tools(json_object_get(*options, "tools"), err);
    return qn_fail(err, QUERN_ERR_ARGUMENT, "tool options: an object is needed");
}

/* Whether the template shows that the model reasons before it answers. */
static bool shows_reasoning(const quern_model *m, const qn_output_format *f)
{
    const char *source = m->chat != NULL ? qn_chat_template_source(m->chat) : NULL;
    return source != NULL && f->reasoning_begin[0] != NULL && strstr(source, f->reasoning_begin[0]) != NULL;
}

static const qn_output_format *format_of(const quern_model *m)
{
    const char *source = m->chat != NULL ? qn_chat_template_source(m->chat) : NULL;
    return qn_output_format_detect(source != NULL ? source : qn_chat_fallback_source);
}

/* "auto", "required", or a tool by name. */
static quern_status read_choice(const json_t *choice, qn_call_grammar_params *p, quern_error *err)
{
    const char *word = json_string_value(choice);
    if (choice == NULL || json_is_null(choice) || (word != NULL && strcmp(word, "auto") == 0))
        return QUERN_OK;
    p->required = true;
    if (word != NULL && (strcmp(word, "required") == 0 || strcmp(word, "any") == 0)) return QUERN_OK;
    p->only = json_string_value(json_object_get(json_object_get(choice, "function"), "name"));
    if (p->only != NULL) return QUERN_OK;
    return qn_fail(
        err, QUERN_ERR_ARGUMENT,
        "tool_choice: \"auto\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": ...}}");
}

/* What the template and the end of the prompt say of reasoning. */
static void read_reasoning(const quern_model *m, const json_t *options, qn_call_grammar_params *p)
{
    const char *prompt = json_string_value(json_object_get(options, "prompt"));
    p->allow_reasoning = shows_reasoning(m, p->format);
    p->in_reasoning = prompt != NULL && qn_output_begins_reasoning(p->format, prompt);
}

quern_status quern_chat_grammar(quern_grammar **out, const quern_model *m, const char *options_json,
                                quern_error *err)
{
    json_t *options = NULL;
    qn_network network;
    *out = NULL;
    quern_status s = read_options(&options, options_json, err);
    const json_t *parallel = json_object_get(options, "parallel_tool_calls");
    qn_call_grammar_params p = {.format = format_of(m),
                                .tools = json_object_get(options, "tools"),
                                .parallel = !json_is_false(parallel),
                                .whitespace = QN_JSON_FLEXIBLE};
    read_reasoning(m, options, &p);
    if (s == QUERN_OK) s = read_choice(json_object_get(options, "tool_choice"), &p, err);
    if (s == QUERN_OK) s = qn_call_grammar_build(&network, &p, m->vocab, err);
    if (s == QUERN_OK) s = qn_grammar_of_network(out, &network, err);
    json_decref(options);
    return s;
}

quern_status quern_chat_grammar_after_reasoning(quern_grammar **out, const quern_model *m,
                                                const quern_grammar *content, const char *options_json,
                                                quern_error *err)
{
    json_t *options = NULL;
    qn_network before = {0}, whole = {0};
    *out = NULL;
    quern_status s = read_options(&options, options_json, err);
    qn_call_grammar_params p = {.format = format_of(m)};
    read_reasoning(m, options, &p);
    if (s == QUERN_OK) s = qn_reasoning_grammar_build(&before, &p, m->vocab, err);
    if (s == QUERN_OK) s = qn_network_concatenate(&whole, &before, qn_grammar_network(content), err);
    if (s == QUERN_OK) s = qn_grammar_of_network(out, &whole, err);
    qn_network_deinit(&before);
    json_decref(options);
    return s;
}

bool qn_chat_reasons(const quern_model *m)
{
    const qn_output_format *f = format_of(m);
    return m->chat != NULL && qn_chat_template_source(m->chat) != NULL &&
           (shows_reasoning(m, f) || f->message_begin != NULL);
}

/* What is borrowed from the options lives as long as they. */
static qn_output_params output_params(const quern_model *m, const json_t *options)
{
    const json_t *tools = json_object_get(options, "tools");
    return (qn_output_params){.format = format_of(m),
                              .tools = json_is_array(tools) ? tools : NULL,
                              .prompt_end = json_string_value(json_object_get(options, "prompt")),
                              .id_seed = (uint64_t)json_integer_value(json_object_get(options, "id_seed"))};
}

quern_status quern_chat_parse(const quern_model *m, const char *text, size_t n_bytes,
                              const char *options_json, char **message_json, quern_error *err)
{
    json_t *options = NULL, *message = NULL;
    *message_json = NULL;
    quern_status s = read_options(&options, options_json, err);
    const qn_output_params p = output_params(m, options);
    if (s == QUERN_OK) s = qn_output_parse(&message, &p, text, n_bytes, err);
    if (s == QUERN_OK) {
        char *json = json_dumps(message, JSON_COMPACT); /* from malloc, as free wants it */
        *message_json = json != NULL ? qn_strdup(json) : NULL;
        free(json);
        if (*message_json == NULL) s = qn_fail(err, QUERN_ERR_NOMEM, "answer: no memory");
    }
    json_decref(message);
    json_decref(options);
    return s;
}

/* ---- as it comes ------------------------------------------------------------------------------- */

struct quern_chat_reader {
    qn_output_parser *parser;
    quern_chat_event_fn *on_event;
    void *user;
    bool canceled;
};

static bool pass_on(void *user, const qn_output_event *event)
{
    static const quern_chat_part parts[] = {[QN_OUTPUT_CONTENT] = QUERN_CHAT_CONTENT,
                                            [QN_OUTPUT_REASONING] = QUERN_CHAT_REASONING,
                                            [QN_OUTPUT_CALL] = QUERN_CHAT_CALL,
                                            [QN_OUTPUT_ARGUMENTS] = QUERN_CHAT_ARGUMENTS,
                                            [QN_OUTPUT_CALL_END] = QUERN_CHAT_CALL_END};
    quern_chat_reader *r = user;
    const quern_chat_event passed = {.part = parts[event->kind],
                                     .call = event->call,
                                     .id = event->id,
                                     .name = event->name,
                                     .text = event->text,
                                     .n_bytes = event->n_bytes,
                                     .is_complete = event->complete};
    r->canceled = r->canceled || !r->on_event(r->user, &passed);
    return !r->canceled;
}

quern_status quern_chat_reader_create(quern_chat_reader **out, const quern_model *m, const char *options_json,
                                      quern_chat_event_fn *on_event, void *user, quern_error *err)
{
    json_t *options = NULL;
    *out = NULL;
    quern_status s = read_options(&options, options_json, err);
    quern_chat_reader *r = s == QUERN_OK ? qn_calloc(1, sizeof *r) : NULL;
    if (s == QUERN_OK && r == NULL) s = qn_fail(err, QUERN_ERR_NOMEM, "answer: no memory");
    if (s == QUERN_OK) {
        qn_output_params p = output_params(m, options);
        *r = (quern_chat_reader){.on_event = on_event, .user = user};
        p.emit = pass_on, p.user = r;
        s = qn_output_parser_create(&r->parser, &p, err);
    }
    json_decref(options);
    if (s == QUERN_OK) *out = r;
    else qn_free(r);
    return s;
}

void quern_chat_reader_destroy(quern_chat_reader *r)
{
    if (r == NULL) return;
    qn_output_parser_destroy(r->parser);
    qn_free(r);
}

static quern_status read_status(const quern_chat_reader *r, quern_status s, quern_error *err)
{
    return s != QUERN_OK && r->canceled ? qn_fail(err, QUERN_ERR_CANCELED, "answer: canceled") : s;
}

quern_status quern_chat_reader_push(quern_chat_reader *r, const char *text, size_t n_bytes, quern_error *err)
{
    return read_status(r, qn_output_parser_push(r->parser, text, n_bytes, err), err);
}

quern_status quern_chat_reader_finish(quern_chat_reader *r, quern_error *err)
{
    return read_status(r, qn_output_parser_finish(r->parser, err), err);
}
