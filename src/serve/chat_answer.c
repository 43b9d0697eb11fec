/* chat_answer.c: see chat_answer.h. */
#include "serve/chat_answer.h"

#include "base/alloc.h"
#include "base/random.h"
#include "serve/openai.h"

#include <stdlib.h>
#include <string.h>

static void free_answer(void *user)
{
    qn_chat_answer *a = user;
    for (size_t i = 0; i < QN_MAX_CHOICES_OF_REQUEST; i++) {
        qn_chat_choice *c = &a->choices[i];
        quern_chat_reader_destroy(c->reader);
        qn_buffer_deinit(&c->content), qn_buffer_deinit(&c->reasoning), qn_buffer_deinit(&c->arguments);
        json_decref(c->calls), json_decref(c->log_probs);
    }
    quern_grammar_destroy(a->grammar), quern_grammar_destroy(a->content);
    quern_free(a->prompt), quern_free(a->tokens);
    json_decref(a->messages), json_decref(a->tools), json_decref(a->choice), json_decref(a->variables);
    json_decref(a->root);
    qn_free(a->of_dialect);
    qn_free(a);
}

qn_chat_answer *qn_chat_answer_create(qn_exchange *x, const qn_chat_writer *writer, size_t dialect_bytes)
{
    qn_chat_answer *a = qn_calloc(1, sizeof *a);
    if (a == NULL) {
        qn_problem_nomem(&x->problem);
        return NULL;
    }
    x->state = a, x->free_state = free_answer;
    a->x = x, a->writer = writer, a->n = 1;
    a->of_dialect = qn_calloc(1, dialect_bytes);
    a->messages = json_array();
    if (a->of_dialect == NULL || a->messages == NULL) return qn_chat_answer_fail_nomem(a), NULL;
    a->root = qn_exchange_parse(x);
    if (a->root == NULL) return NULL;
    a->fields = qn_fields_of(a->root, &x->problem);
    a->model = qn_openai_model(x, &a->fields, &a->model_name);
    return a->model != NULL ? a : NULL;
}

bool qn_chat_answer_fail_nomem(qn_chat_answer *a)
{
    return qn_problem_nomem(&a->x->problem);
}

bool qn_chat_answer_add_message(qn_chat_answer *a, json_t *message)
{
    if (message != NULL && json_array_append_new(a->messages, message) == 0) return true;
    return qn_chat_answer_fail_nomem(a);
}

bool qn_chat_answer_read_messages(qn_chat_answer *a, qn_read_message_fn *read)
{
    const json_t *list = NULL;
    if (!qn_field_array(&a->fields, "messages", QN_MAX_MESSAGES, &list)) return false;
    const size_t n = json_array_size(list);
    if (n == 0)
        return qn_field_wrong(&a->fields, QN_PROBLEM_MISSING, "messages", "at least one message is needed");
    for (size_t i = 0; i < n; i++) {
        qn_fields message;
        if (!qn_field_item(&a->fields, "messages", list, i, &message) || !read(a, &message, i + 1 == n))
            return false;
    }
    return true;
}

bool qn_chat_answer_bind(qn_chat_answer *a, const json_t *schema, const char *field)
{
    quern_grammar_params p = quern_grammar_params_default();
    quern_error err;
    char *text = schema != NULL ? json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (schema != NULL && text == NULL) return qn_chat_answer_fail_nomem(a);
    p.kind = schema != NULL ? QUERN_GRAMMAR_JSON_SCHEMA : QUERN_GRAMMAR_JSON_OBJECT;
    p.text = text, p.n_bytes = text != NULL ? strlen(text) : 0;
    const quern_status s = quern_grammar_create(&a->content, &p, &err);
    free(text);
    return s == QUERN_OK || qn_problem_take(&a->x->problem, field, &err);
}

/* ---- the prompt --------------------------------------------------------------------------------- */

static json_t *template_options(const qn_chat_answer *a)
{
    json_t *options = a->variables != NULL ? json_copy(a->variables) : json_object();
    json_object_set_new(options, "fallback", json_true());
    json_object_set_new(options, "add_generation_prompt", json_true());
    if (a->tools != NULL) json_object_set(options, "tools", a->tools);
    else json_object_del(options, "tools");
    return options;
}

/* The conversation as the template writes it. Owned by the caller (quern_free); NULL: problem noted. */
static char *render_messages(qn_chat_answer *a)
{
    quern_error err;
    json_t *options = template_options(a);
    char *messages = json_dumps(a->messages, JSON_COMPACT), *text = json_dumps(options, JSON_COMPACT),
         *prompt = NULL;
    json_decref(options);
    if (messages == NULL || text == NULL) qn_chat_answer_fail_nomem(a);
    else if (quern_chat_render(a->model, messages, text, &prompt, &err) != QUERN_OK)
        qn_problem_take(&a->x->problem, "messages", &err);
    free(messages), free(text);
    return prompt;
}

bool qn_chat_answer_render(qn_chat_answer *a)
{
    quern_error err;
    const unsigned flags = QUERN_TOKENIZE_PARSE_SPECIAL | (a->raw != NULL ? QUERN_TOKENIZE_ADD_SPECIAL : 0);
    a->prompt = a->raw != NULL ? qn_strdup(a->raw) : render_messages(a);
    if (a->prompt == NULL) return qn_chat_answer_fail_nomem(a);
    if (quern_tokenize(a->model, a->prompt, strlen(a->prompt), flags, &a->tokens, &a->n_tokens, &err) !=
        QUERN_OK)
        return qn_problem_take(&a->x->problem, "messages", &err);
    return a->n_tokens > 0 ||
           qn_problem_set(&a->x->problem, QN_PROBLEM_WRONG_VALUE, NULL, "the prompt is empty");
}

/* ---- what answers are bound to ------------------------------------------------------------------ */

/* What quern_chat_grammar and quern_chat_reader want to know. Owned by the caller (free); NULL: no memory,
 * and the problem noted. */
static char *chat_options(qn_chat_answer *a, uint64_t id_seed)
{
    json_t *tools =
        a->tools != NULL ? json_incref(a->tools) : json_array(); /* none: then nothing is a call */
    json_t *options = json_pack("{s:o, s:O*, s:b, s:s, s:I}", "tools", tools, "tool_choice",
                                a->tools != NULL ? a->choice : NULL, "parallel_tool_calls", (int)!a->one_call,
                                "prompt", a->prompt, "id_seed", (json_int_t)(id_seed >> 1));
    char *text = options != NULL ? json_dumps(options, JSON_COMPACT) : NULL;
    json_decref(options);
    if (text == NULL) qn_chat_answer_fail_nomem(a);
    return text;
}

/* Content in a format may stand behind reasoning. A model whose format has no place for that is bound as it
 * is. */
static bool bind_content(qn_chat_answer *a)
{
    quern_error err;
    if (a->content == NULL) return true;
    if (a->tools != NULL)
        return qn_problem_set(&a->x->problem, QN_PROBLEM_UNSUPPORTED, NULL,
                              "tools and a format of the answer exclude each other");
    char *options = chat_options(a, 0);
    if (options == NULL) return false;
    const quern_status s =
        quern_chat_grammar_after_reasoning(&a->grammar, a->model, a->content, options, &err);
    free(options);
    if (s == QUERN_ERR_UNSUPPORTED) {
        a->grammar = a->content;
        a->content = NULL;
        return true;
    }
    return s == QUERN_OK || qn_problem_take(&a->x->problem, NULL, &err);
}

/* A model without a format for calls may still be offered tools; it cannot be made to call one. */
static bool bind_tools(qn_chat_answer *a)
{
    quern_error err;
    if (a->tools == NULL) return true;
    char *options = chat_options(a, 0);
    if (options == NULL) return false;
    const quern_status s = quern_chat_grammar(&a->grammar, a->model, options, &err);
    free(options);
    const char *word = json_string_value(a->choice);
    const bool is_free = a->choice == NULL || (word != NULL && strcmp(word, "auto") == 0);
    if (s == QUERN_ERR_UNSUPPORTED && is_free) return true;
    return s == QUERN_OK || qn_problem_take(&a->x->problem, "tools", &err);
}

/* ---- what comes --------------------------------------------------------------------------------- */

static void add_call(qn_chat_choice *c, const quern_chat_event *e)
{
    if (c->calls == NULL) c->calls = json_array();
    json_array_append_new(c->calls,
                          json_pack("{s:s, s:s, s:s}", "id", e->id, "name", e->name, "arguments", ""));
}

/* Calls come one after the other; the arguments become JSON when they have ended. */
static void end_call(qn_chat_choice *c, const quern_chat_event *e)
{
    const qn_buffer *text = &c->arguments;
    json_t *call = json_array_get(c->calls, (size_t)e->call),
           *arguments =
               text->failed ? NULL : json_stringn(text->n_bytes > 0 ? text->data : "", text->n_bytes);
    if (json_object_set_new(call, "arguments", arguments) != 0) qn_chat_answer_fail_nomem(c->answer);
    qn_buffer_clear(&c->arguments);
}

static bool on_part(void *user, const quern_chat_event *e)
{
    qn_chat_choice *c = user;
    qn_chat_answer *a = c->answer;
    if (e->part == QUERN_CHAT_CALL) c->n_calls++, add_call(c, e);
    if (e->part == QUERN_CHAT_ARGUMENTS) qn_buffer_append(&c->arguments, e->text, e->n_bytes);
    if (e->part == QUERN_CHAT_CALL_END) end_call(c, e);
    if (a->streams && a->writer->part != NULL) a->writer->part(c, e);
    if (a->streams) return true;
    if (e->part == QUERN_CHAT_CONTENT) qn_buffer_append(&c->content, e->text, e->n_bytes);
    if (e->part == QUERN_CHAT_REASONING) qn_buffer_append(&c->reasoning, e->text, e->n_bytes);
    if (c->content.failed || c->reasoning.failed) qn_chat_answer_fail_nomem(a);
    return true;
}

static void read_text(qn_chat_choice *c, const quern_event *e)
{
    qn_chat_answer *a = c->answer;
    quern_error err;
    if (a->wants_log_probs && e->n_log_probs > 0) {
        json_t *items = qn_openai_log_probs(a->model, e);
        if (c->log_probs == NULL) c->log_probs = items;
        else json_array_extend(c->log_probs, items), json_decref(items);
    }
    if (e->n_bytes > 0 && quern_chat_reader_push(c->reader, e->text, e->n_bytes, &err) != QUERN_OK)
        qn_problem_take(&a->x->problem, NULL, &err);
}

static void end_choice(qn_chat_choice *c, const quern_event *e)
{
    qn_chat_answer *a = c->answer;
    quern_error err;
    c->result = e->result;
    if (e->kind == QUERN_EVENT_FAILED) {
        qn_problem_take(&a->x->problem, NULL, e->error);
        return;
    }
    if (quern_chat_reader_finish(c->reader, &err) != QUERN_OK) qn_problem_take(&a->x->problem, NULL, &err);
    if (a->streams && a->writer->ended != NULL) a->writer->ended(c);
}

static void on_event(qn_exchange *x, size_t part, const quern_event *e)
{
    (void)part;
    qn_chat_answer *a = x->state;
    qn_chat_choice *c = &a->choices[e->answer];
    switch (e->kind) {
    case QUERN_EVENT_TEXT:
        read_text(c, e);
        break;
    case QUERN_EVENT_PROMPT:
        if (a->streams && a->writer->progress != NULL) a->writer->progress(a, e);
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

static void on_begin(qn_exchange *x)
{
    qn_chat_answer *a = x->state;
    if (a->writer->begin != NULL) a->writer->begin(a);
}

static void on_end(qn_exchange *x)
{
    qn_chat_answer *a = x->state;
    if (x->problem.kind == QN_PROBLEM_NONE) a->writer->end(a);
    else if (a->streams) x->route->dialect->write_stream_problem(&x->out, &x->problem);
}

static void fill(qn_exchange *x, size_t part, quern_request_params *p)
{
    const qn_chat_answer *a = x->state;
    (void)part;
    p->model = a->model_name;
    p->prompt = a->tokens, p->n_prompt = a->n_tokens;
    p->sampler = &a->sampling.params;
    p->stops = a->sampling.stops, p->n_stops = a->sampling.n_stops;
    p->max_tokens = a->sampling.max_tokens;
    p->grammar = a->grammar;
    p->show_special = true;
    p->continues_prompt = a->raw != NULL;
    p->log_probs = a->wants_log_probs, p->n_top_log_probs = (uint32_t)a->n_top;
    p->priority = QUERN_PRIORITY_INTERACTIVE;
}

static const qn_answer_writer writer = {fill, on_begin, on_event, on_end};

/* ---- the request -------------------------------------------------------------------------------- */

static bool open_readers(qn_chat_answer *a)
{
    quern_error err;
    for (int64_t i = 0; i < a->n; i++) {
        qn_chat_choice *c = &a->choices[i];
        c->answer = a, c->index = (uint32_t)i;
        char *options = chat_options(a, qn_random_seed());
        if (options == NULL) return false;
        const quern_status s = quern_chat_reader_create(&c->reader, a->model, options, on_part, c, &err);
        free(options);
        if (s != QUERN_OK) return qn_problem_take(&a->x->problem, "tools", &err);
    }
    return true;
}

bool qn_chat_answer_submit(qn_chat_answer *a)
{
    return qn_chat_answer_render(a) && bind_content(a) && bind_tools(a) && open_readers(a) &&
           qn_exchange_want(a->x, 1, (uint32_t)a->n, &writer, a->streams);
}

size_t qn_chat_answer_generated(const qn_chat_answer *a)
{
    size_t n = 0;
    for (int64_t i = 0; i < a->n; i++) n += a->choices[i].result.n_generated;
    return n;
}

size_t qn_chat_answer_cached(const qn_chat_answer *a)
{
    return a->choices[0].result.n_cached;
}
