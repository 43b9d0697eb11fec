/* openai_completions.c: POST /v1/completions: a text goes on, as it stands and without a template. Prompts
 * are texts or tokens, one or several. */
#include "serve/openai.h"

#include "base/alloc.h"
#include "serve/limits.h"
#include "serve/sampling.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_PROMPTS = 64, MAX_LOG_PROBS = 20 };

typedef struct completion_prompt {
    quern_token *tokens; /* owned: quern_free */
    size_t n_tokens;
    qn_buffer text; /* what is shown with echo */
} completion_prompt;

/* An answer: those of a prompt lie side by side. */
typedef struct completion_choice {
    qn_buffer text; /* of the whole */
    /* logprobs, where they are wanted; lists of the same length */
    json_t *tokens, *log_probs, *tops, *offsets;
    size_t offset; /* characters are counted as bytes here, as texts need not be whole */
    bool has_begun;
    quern_request_result result;
} completion_choice;

typedef struct completion_state {
    qn_exchange *x;
    json_t *root;
    qn_fields fields;
    const quern_model *model;
    const char *model_name;
    qn_sampling sampling;
    completion_prompt prompts[MAX_PROMPTS];
    size_t n_prompts;
    int64_t n, n_top;
    bool streams, echoes, includes_usage, wants_log_probs;
    completion_choice *choices; /* [n_prompts * n] */
    qn_openai_id id;
    int64_t created_s;
} completion_state;

static void drop_lists(completion_choice *c)
{
    json_decref(c->tokens), json_decref(c->log_probs), json_decref(c->tops), json_decref(c->offsets);
    c->tokens = c->log_probs = c->tops = c->offsets = NULL;
}

static void free_state(void *user)
{
    completion_state *s = user;
    for (size_t i = 0; i < s->n_prompts; i++)
        quern_free(s->prompts[i].tokens), qn_buffer_deinit(&s->prompts[i].text);
    for (size_t i = 0; s->choices != NULL && i < s->n_prompts * (size_t)s->n; i++) {
        qn_buffer_deinit(&s->choices[i].text);
        drop_lists(&s->choices[i]);
    }
    qn_free(s->choices);
    json_decref(s->root);
    qn_free(s);
}

/* ---- the request -------------------------------------------------------------------------------- */

static bool add_text(completion_state *s, const char *text)
{
    completion_prompt *p = &s->prompts[s->n_prompts++];
    quern_error err;
    const unsigned flags = QUERN_TOKENIZE_ADD_SPECIAL | QUERN_TOKENIZE_PARSE_SPECIAL;
    if (quern_tokenize(s->model, text, strlen(text), flags, &p->tokens, &p->n_tokens, &err) != QUERN_OK)
        return qn_problem_take(s->fields.problem, "prompt", &err);
    return qn_buffer_puts(&p->text, text) || qn_problem_nomem(s->fields.problem);
}

static bool add_tokens(completion_state *s, const json_t *list)
{
    completion_prompt *p = &s->prompts[s->n_prompts++];
    return qn_openai_read_tokens(&s->fields, "prompt", list, s->model, &p->tokens, &p->n_tokens) &&
           qn_openai_text_of(s->model, p->tokens, p->n_tokens, &p->text, s->fields.problem);
}

static bool add_prompt(completion_state *s, const json_t *prompt)
{
    if (s->n_prompts == MAX_PROMPTS)
        return qn_field_wrong(&s->fields, QN_PROBLEM_WRONG_VALUE, "prompt", "more than %d", (int)MAX_PROMPTS);
    if (json_is_string(prompt)) return add_text(s, json_string_value(prompt));
    if (json_is_array(prompt)) return add_tokens(s, prompt);
    return qn_field_wrong(&s->fields, QN_PROBLEM_WRONG_TYPE, "prompt",
                          "a string, tokens, or an array of either is expected");
}

static bool read_prompts(completion_state *s)
{
    const json_t *prompt = qn_field(&s->fields, "prompt");
    if (prompt == NULL) return qn_field_wrong(&s->fields, QN_PROBLEM_MISSING, "prompt", "it is missing");
    const bool is_list = json_is_array(prompt) && !json_is_integer(json_array_get(prompt, 0));
    if (is_list && json_array_size(prompt) == 0)
        return qn_field_wrong(&s->fields, QN_PROBLEM_MISSING, "prompt", "it is empty");
    bool ok = is_list || add_prompt(s, prompt);
    for (size_t i = 0; is_list && ok && i < json_array_size(prompt); i++)
        ok = add_prompt(s, json_array_get(prompt, i));
    for (size_t i = 0; ok && i < s->n_prompts; i++)
        if (s->prompts[i].n_tokens == 0)
            ok = qn_field_wrong(&s->fields, QN_PROBLEM_WRONG_VALUE, "prompt", "number %zu has no tokens", i);
    return ok;
}

static bool read_options(completion_state *s)
{
    qn_fields stream_options;
    int64_t log_probs = -1, best_of = 1;
    s->n = 1;
    if (!qn_field_bool(&s->fields, "stream", &s->streams) || !qn_field_bool(&s->fields, "echo", &s->echoes) ||
        !qn_field_object(&s->fields, "stream_options", &stream_options) ||
        !qn_field_bool(&stream_options, "include_usage", &s->includes_usage) ||
        !qn_field_integer(&s->fields, "n", 1, QN_MAX_CHOICES_OF_REQUEST, &s->n) ||
        !qn_field_integer(&s->fields, "best_of", 1, QN_MAX_CHOICES_OF_REQUEST, &best_of) ||
        !qn_field_integer(&s->fields, "logprobs", 0, MAX_LOG_PROBS, &log_probs))
        return false;
    if (qn_field(&s->fields, "best_of") != NULL && best_of != s->n)
        return qn_field_wrong(&s->fields, QN_PROBLEM_UNSUPPORTED, "best_of",
                              "only the value of n is possible");
    if (qn_field(&s->fields, "suffix") != NULL)
        return qn_field_wrong(&s->fields, QN_PROBLEM_UNSUPPORTED, "suffix",
                              "write the model's tokens for filling in into the prompt");
    s->wants_log_probs = log_probs >= 0;
    s->n_top = log_probs > 0 ? log_probs : 0;
    return true;
}

/* ---- log-probabilities -------------------------------------------------------------------------- */

/* The text of a token, as far as it is text. Owned by the caller (quern_free); NULL: no memory. */
static char *token_text(const completion_state *s, quern_token token, size_t *n_bytes)
{
    char *bytes;
    quern_error err;
    return quern_token_bytes(s->model, token, &bytes, n_bytes, &err) == QUERN_OK ? bytes : NULL;
}

static json_t *json_of_bytes(const char *bytes, size_t n_bytes)
{
    json_t *text = json_stringn(bytes, n_bytes);
    if (text != NULL) return text;
    qn_buffer b = {0}; /* half a character: by its bytes, as OpenAI's API does */
    qn_buffer_puts(&b, "bytes:");
    for (size_t i = 0; i < n_bytes; i++) qn_buffer_printf(&b, "\\x%02x", (unsigned)(unsigned char)bytes[i]);
    text = b.failed ? NULL : json_string(b.data);
    qn_buffer_deinit(&b);
    return text;
}

static double finite(float log_prob)
{
    return log_prob > -9999.0f ? (double)log_prob : -9999.0;
}

static json_t *tops_of(const completion_state *s, const quern_token_log_probs *row)
{
    json_t *tops = json_object();
    for (size_t i = 0; i < row->n_top; i++) {
        size_t n_bytes;
        char *bytes = token_text(s, row->top[i].token, &n_bytes);
        json_t *name = bytes != NULL ? json_of_bytes(bytes, n_bytes) : NULL;
        if (name != NULL)
            json_object_set_new(tops, json_string_value(name), json_real(finite(row->top[i].log_prob)));
        json_decref(name);
        quern_free(bytes);
    }
    return tops;
}

static void begin_lists(completion_choice *c)
{
    if (c->tokens != NULL) return;
    c->tokens = json_array(), c->log_probs = json_array(), c->tops = json_array(), c->offsets = json_array();
}

static void add_log_probs(const completion_state *s, completion_choice *c, const quern_event *e)
{
    begin_lists(c);
    for (size_t i = 0; i < e->n_log_probs; i++) {
        const quern_token_log_probs *row = &e->log_probs[i];
        size_t n_bytes = 0;
        char *bytes = token_text(s, row->token, &n_bytes);
        json_array_append_new(c->tokens, bytes != NULL ? json_of_bytes(bytes, n_bytes) : json_null());
        json_array_append_new(c->log_probs, json_real(finite(row->log_prob)));
        json_array_append_new(c->tops, s->n_top > 0 ? tops_of(s, row) : json_null());
        json_array_append_new(c->offsets, json_integer((json_int_t)c->offset));
        c->offset += n_bytes;
        quern_free(bytes);
    }
}

/* The first token of a prompt follows nothing. */
static void add_first_token(const completion_state *s, completion_choice *c, const completion_prompt *p)
{
    size_t n_bytes = 0;
    char *bytes = token_text(s, p->tokens[0], &n_bytes);
    begin_lists(c);
    json_array_append_new(c->tokens, bytes != NULL ? json_of_bytes(bytes, n_bytes) : json_null());
    json_array_append_new(c->log_probs, json_null());
    json_array_append_new(c->tops, json_null());
    json_array_append_new(c->offsets, json_integer(0));
    c->offset += n_bytes;
    quern_free(bytes);
}

static json_t *take_log_probs(completion_choice *c)
{
    if (c->tokens == NULL) return json_null();
    json_t *lists = json_pack("{s:O, s:O, s:O, s:O}", "tokens", c->tokens, "token_logprobs", c->log_probs,
                              "top_logprobs", c->tops, "text_offset", c->offsets);
    drop_lists(c);
    return lists;
}

/* ---- the answer --------------------------------------------------------------------------------- */

static void fill(qn_exchange *x, size_t part, quern_request_params *p)
{
    const completion_state *s = x->state;
    p->model = s->model_name;
    p->prompt = s->prompts[part].tokens, p->n_prompt = s->prompts[part].n_tokens;
    p->sampler = &s->sampling.params;
    p->stops = s->sampling.stops, p->n_stops = s->sampling.n_stops;
    p->max_tokens = s->sampling.max_tokens > 0 ? s->sampling.max_tokens : 16; /* the API's default here */
    p->continues_prompt = true;
    p->log_probs = s->wants_log_probs, p->n_top_log_probs = (uint32_t)s->n_top;
    p->prompt_log_probs = s->wants_log_probs && s->echoes;
    p->priority = QUERN_PRIORITY_INTERACTIVE;
}

/* Takes choices, an array. */
static json_t *object_of(const completion_state *s, json_t *choices)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:o}", "id", s->id.text, "object", "text_completion",
                     "created", (json_int_t)s->created_s, "model", s->model_name, "system_fingerprint",
                     "quern-" QUERN_VERSION, "choices", choices);
}

/* Takes text. finish may be NULL. */
static json_t *choice_of(completion_choice *c, size_t index, json_t *text, const char *finish)
{
    return json_pack("{s:I, s:o, s:o, s:s?}", "index", (json_int_t)index, "text", text, "logprobs",
                     take_log_probs(c), "finish_reason", finish);
}

static void send_chunk(completion_state *s, size_t index, const char *text, size_t n_bytes,
                       const char *finish)
{
    json_t *choice = choice_of(&s->choices[index], index, json_stringn(text, n_bytes), finish);
    json_t *chunk = object_of(s, json_pack("[o]", choice));
    if (s->includes_usage && chunk != NULL) json_object_set_new(chunk, "usage", json_null());
    qn_stream_json(s->x, NULL, chunk);
}

static void put_text(completion_state *s, size_t index, const char *text, size_t n_bytes)
{
    if (s->streams) send_chunk(s, index, text, n_bytes, NULL);
    else qn_buffer_append(&s->choices[index].text, text, n_bytes);
}

/* With echo the prompt stands before every answer; its log-probabilities before the first. */
static void begin_choice(completion_state *s, size_t part, size_t index)
{
    completion_choice *c = &s->choices[index];
    if (c->has_begun) return;
    c->has_begun = true;
    const qn_buffer *text = &s->prompts[part].text;
    if (s->echoes && text->n_bytes > 0) put_text(s, index, text->data, text->n_bytes);
}

static void end_choice(completion_state *s, size_t index, const quern_event *e)
{
    completion_choice *c = &s->choices[index];
    c->result = e->result;
    if (e->kind == QUERN_EVENT_FAILED) qn_problem_take(&s->x->problem, NULL, e->error);
    else if (s->streams) send_chunk(s, index, "", 0, qn_openai_finish(e->result.finish, false));
    if (c->text.failed) qn_problem_nomem(s->fields.problem);
}

static void on_event(qn_exchange *x, size_t part, const quern_event *e)
{
    completion_state *s = x->state;
    const size_t index = part * (size_t)s->n + e->answer;
    completion_choice *c = &s->choices[index];
    switch (e->kind) {
    case QUERN_EVENT_STARTED:
        if (s->echoes && s->wants_log_probs && e->answer == 0) add_first_token(s, c, &s->prompts[part]);
        break;
    case QUERN_EVENT_PROMPT:
        add_log_probs(s, c, e);
        break;
    case QUERN_EVENT_TEXT:
        begin_choice(s, part, index);
        if (s->wants_log_probs) add_log_probs(s, c, e);
        if (e->n_bytes > 0) put_text(s, index, e->text, e->n_bytes);
        break;
    case QUERN_EVENT_FINISHED:
        begin_choice(s, part, index);
        end_choice(s, index, e);
        break;
    case QUERN_EVENT_FAILED:
        end_choice(s, index, e);
        break;
    case QUERN_EVENT_NONE:
    case QUERN_EVENT_QUEUED:
        break;
    }
    if (!s->wants_log_probs) drop_lists(c);
}

static json_t *usage_of(const completion_state *s)
{
    size_t n_prompt = 0, n_cached = 0, n_generated = 0;
    for (size_t i = 0; i < s->n_prompts; i++) {
        n_prompt += s->prompts[i].n_tokens;
        n_cached += s->choices[i * (size_t)s->n].result.n_cached;
    }
    for (size_t i = 0; i < s->n_prompts * (size_t)s->n; i++) n_generated += s->choices[i].result.n_generated;
    return qn_openai_usage(n_prompt, n_cached, n_generated);
}

static void reply_whole(completion_state *s)
{
    json_t *choices = json_array();
    for (size_t i = 0; i < s->n_prompts * (size_t)s->n; i++) {
        completion_choice *c = &s->choices[i];
        json_array_append_new(
            choices, choice_of(c, i, json_stringn(c->text.n_bytes > 0 ? c->text.data : "", c->text.n_bytes),
                               qn_openai_finish(c->result.finish, false)));
    }
    json_t *reply = object_of(s, choices);
    json_object_set_new(reply, "usage", usage_of(s));
    json_object_set_new(reply, "timings", qn_openai_timings(&s->choices[0].result));
    qn_reply_json(s->x, 200, reply);
}

static void end(qn_exchange *x)
{
    completion_state *s = x->state;
    if (x->problem.kind != QN_PROBLEM_NONE) {
        if (s->streams) x->route->dialect->write_stream_problem(&x->out, &x->problem);
        return;
    }
    if (!s->streams) {
        reply_whole(s);
        return;
    }
    if (s->includes_usage) {
        json_t *last = object_of(s, json_array());
        json_object_set_new(last, "usage", usage_of(s));
        qn_stream_json(x, NULL, last);
    }
    qn_buffer_puts(&x->out, "data: [DONE]\n\n");
}

static const qn_answer_writer writer = {fill, NULL, on_event, end};

void qn_openai_completions(qn_exchange *x)
{
    completion_state *s = qn_calloc(1, sizeof *s);
    if (s == NULL) {
        qn_problem_nomem(&x->problem);
        return;
    }
    x->state = s, x->free_state = free_state;
    s->x = x;
    s->id = qn_openai_make_id("cmpl");
    s->created_s = (int64_t)time(NULL);
    s->root = qn_exchange_parse(x);
    if (s->root == NULL) return;
    s->fields = qn_fields_of(s->root, &x->problem);
    s->model = qn_openai_model(x, &s->fields, &s->model_name);
    if (s->model == NULL || !read_options(s) ||
        !qn_sampling_read(&s->sampling, &s->fields, s->model, "stop") || !read_prompts(s))
        return;
    s->choices = qn_calloc(s->n_prompts * (size_t)s->n, sizeof *s->choices);
    if (s->choices == NULL) {
        qn_problem_nomem(s->fields.problem);
        return;
    }
    x->content_type = s->streams ? "text/event-stream; charset=utf-8" : "application/json";
    (void)qn_exchange_want(x, s->n_prompts, (uint32_t)s->n, &writer, s->streams);
}
