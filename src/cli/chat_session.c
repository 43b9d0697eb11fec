/* chat_session.c: a conversation: messages, rendered anew for each answer. The engine keeps what the
 * sequence already holds of the rendered text, so only what is new is computed. */
#include "cli/run.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool qn_chat_session_init(qn_chat_session *s, quern_context *ctx, qn_run_options *options,
                          double load_seconds)
{
    *s = (qn_chat_session){
        .ctx = ctx, .model = quern_context_model(ctx), .options = options, .messages = json_array()};
    s->last.load_seconds = load_seconds;
    quern_model_info info;
    quern_model_get_info(s->model, &info);
    if (s->messages == NULL) return qn_cli_fail_text("conversation: no memory"), false;
    if (info.chat_template_problem != NULL) return qn_cli_fail_text("%s", info.chat_template_problem), false;
    if (!info.has_chat_template)
        fputs("quern: the model has no chat template: ChatML is used in its place\n", stderr);
    return options->system == NULL || qn_chat_session_set_system(s, options->system);
}

void qn_chat_session_deinit(qn_chat_session *s)
{
    json_decref(s->messages);
    qn_buffer_deinit(&s->last.text);
    qn_buffer_deinit(&s->last.reasoning);
}

quern_status qn_chat_tokens(const quern_model *model, const json_t *messages, const json_t *tools,
                            quern_token **tokens, size_t *n_tokens, char **prompt, quern_error *err)
{
    *tokens = NULL;
    quern_model_info info;
    quern_model_get_info(model, &info);
    json_t *fields = json_pack("{s:b, s:O*}", "fallback", !info.has_chat_template, "tools", tools);
    char *json = json_dumps(messages, JSON_COMPACT), *options = json_dumps(fields, JSON_COMPACT),
         *text = NULL;
    quern_status s = QUERN_OK;
    if (json == NULL || options == NULL)
        snprintf(err->message, sizeof err->message, "conversation: no memory"), s = QUERN_ERR_NOMEM;
    if (s == QUERN_OK) s = quern_chat_render(model, json, options, &text, err);
    if (s == QUERN_OK)
        s = quern_tokenize(model, text, strlen(text), QUERN_TOKENIZE_PARSE_SPECIAL, tokens, n_tokens, err);
    if (s == QUERN_OK && prompt != NULL) *prompt = text;
    else quern_free(text);
    free(json);
    free(options);
    json_decref(fields);
    return s;
}

static const char *role_of(const json_t *message)
{
    return json_string_value(json_object_get(message, "role"));
}
static bool is_role(const json_t *message, const char *role)
{
    return message != NULL && strcmp(role_of(message), role) == 0;
}
static size_t first_turn(const qn_chat_session *s)
{
    return is_role(json_array_get(s->messages, 0), "system") ? 1 : 0;
}

/* NUL bytes, which a model may say, are left out: a rendered conversation is a string. NULL: not UTF-8, or no
 * memory. */
static json_t *to_string(const char *text, size_t n_bytes)
{
    qn_buffer kept = {0};
    for (size_t i = 0; i < n_bytes; i++)
        if (text[i] != '\0') qn_buffer_putc(&kept, text[i]);
    json_t *string = kept.failed ? NULL : json_stringn(kept.data != NULL ? kept.data : "", kept.n_bytes);
    qn_buffer_deinit(&kept);
    return string;
}

/* Takes content and reasoning. */
static bool append(qn_chat_session *s, const char *role, json_t *content, json_t *reasoning)
{
    json_t *message =
        json_pack("{s:s, s:o, s:o*}", "role", role, "content", content, "reasoning_content", reasoning);
    if (message != NULL && json_array_append_new(s->messages, message) == 0) return true;
    return qn_cli_fail_text("the message cannot be kept: it is not UTF-8 text, or there is no memory"), false;
}

static bool append_question(qn_chat_session *s, const char *text)
{
    return append(s, "user", to_string(text, strlen(text)), NULL);
}

static bool append_answer(qn_chat_session *s)
{
    const qn_buffer *said = &s->last.text, *thought = &s->last.reasoning;
    return append(s, "assistant", to_string(said->data, said->n_bytes),
                  thought->n_bytes > 0 ? to_string(thought->data, thought->n_bytes) : NULL);
}

static void remove_last(qn_chat_session *s)
{
    json_array_remove(s->messages, json_array_size(s->messages) - 1);
}

/* Forgets the oldest question with its answers. False: only the last question is left. */
static bool drop_oldest(qn_chat_session *s)
{
    const size_t first = first_turn(s);
    size_t next = first + s->n_forgotten + 1;
    while (next < json_array_size(s->messages) && !is_role(json_array_get(s->messages, next), "user")) next++;
    if (next >= json_array_size(s->messages)) return false;
    s->n_forgotten = next - first;
    return true;
}

/* What the model is shown. NULL: no memory. */
static json_t *shown_messages(const qn_chat_session *s)
{
    json_t *shown = json_copy(s->messages);
    for (size_t i = 0; i < s->n_forgotten && shown != NULL; i++) json_array_remove(shown, first_turn(s));
    return shown;
}

/* The conversation as tokens, with room for an answer. Turns that do not fit are dropped, down to half of the
 * context at once: each drop means that all must be computed again. */
static bool make_tokens(qn_chat_session *s, quern_token **tokens, size_t *n_tokens, char **prompt)
{
    const size_t n_ctx = quern_context_size(s->ctx), room = n_ctx / 8 < 256 ? n_ctx / 8 : 256;
    size_t limit = n_ctx - room;
    bool dropped = false;
    for (;;) {
        quern_error err = {0};
        json_t *shown = shown_messages(s);
        const quern_status status = qn_chat_tokens(s->model, shown, NULL, tokens, n_tokens, prompt, &err);
        json_decref(shown);
        if (status != QUERN_OK) return qn_cli_fail(&err), false;
        if (*n_tokens <= limit) break;
        limit = n_ctx / 2;
        if (!drop_oldest(s)) break;
        dropped = true;
        quern_free(*tokens), quern_free(*prompt);
    }
    if (*n_tokens > n_ctx) {
        qn_cli_fail_text("the message is too long: with it the conversation takes %zu tokens, the context "
                         "holds %zu (use a larger -c)",
                         *n_tokens, n_ctx);
        quern_free(*tokens), quern_free(*prompt);
        return false;
    }
    if (dropped && !s->said_dropped)
        fputs("quern: the context is full: the oldest turns are forgotten from now on (what is saved "
              "has them)\n",
              stderr);
    s->said_dropped = s->said_dropped || dropped;
    return true;
}

/* Answers the last message and keeps the answer, also one that was stopped. */
static bool answer(qn_chat_session *s)
{
    quern_token *tokens;
    size_t n_tokens;
    char *prompt;
    quern_model_info info;
    quern_model_get_info(s->model, &info);
    if (!make_tokens(s, &tokens, &n_tokens, &prompt)) return false;
    if (s->last.generated.n_prompt > 0) s->last.load_seconds = 0; /* only the first answer waited for it */
    const int code =
        qn_answer_generate(&s->last, s->ctx, s->options, tokens, n_tokens, s->seed + s->attempt,
                           (qn_answer_how){.prompt = info.reasons ? prompt : NULL, .tells_apart = true});
    quern_free(tokens), quern_free(prompt);
    if (code != QN_EXIT_OK) return false;
    if (s->last.generated.finish == QUERN_FINISH_CONTEXT)
        fputs("quern: the context is full: the answer ends here\n", stderr);
    if (s->options->verbose) qn_answer_print_timings(&s->last);
    if (s->last.text.n_bytes == 0 && s->last.interrupted)
        return true; /* stopped before it began: /regen answers */
    qn_answer_warn_of_reasoning(&s->last);
    return append_answer(s);
}

bool qn_chat_session_say(qn_chat_session *s, const char *text)
{
    json_t *before = json_copy(s->messages);
    const size_t n_forgotten = s->n_forgotten;
    if (is_role(json_array_get(s->messages, json_array_size(s->messages) - 1), "user"))
        remove_last(s); /* was never answered */
    s->attempt = 0;
    const bool ok = before != NULL && append_question(s, text) && answer(s);
    if (!ok && before != NULL) {
        json_decref(s->messages);
        s->messages = json_incref(before);
        s->n_forgotten = n_forgotten;
    }
    json_decref(before);
    return ok;
}

bool qn_chat_session_again(qn_chat_session *s)
{
    const size_t n = json_array_size(s->messages);
    if (n > 0 && is_role(json_array_get(s->messages, n - 1), "assistant")) remove_last(s);
    if (!is_role(json_array_get(s->messages, json_array_size(s->messages) - 1), "user"))
        return qn_cli_fail_text("/regen: there is nothing to answer again"), false;
    s->attempt++;
    return answer(s);
}

void qn_chat_session_clear(qn_chat_session *s)
{
    const size_t first = first_turn(s);
    while (json_array_size(s->messages) > first) remove_last(s);
    s->attempt = 0;
    s->n_forgotten = 0;
}

bool qn_chat_session_set_system(qn_chat_session *s, const char *text)
{
    json_t *message = json_pack("{s:s, s:s}", "role", "system", "content", text);
    if (message == NULL) return qn_cli_fail_text("the system message is not UTF-8 text"), false;
    if (first_turn(s) == 1) json_array_remove(s->messages, 0);
    if (text[0] == '\0') return json_decref(message), true;
    return json_array_insert_new(s->messages, 0, message) == 0;
}

const char *qn_chat_session_system(const qn_chat_session *s)
{
    return first_turn(s) == 1 ? json_string_value(json_object_get(json_array_get(s->messages, 0), "content"))
                              : NULL;
}

void qn_chat_session_print_stats(const qn_chat_session *s)
{
    fprintf(stderr, "%-22s%u of %u positions\n", "context:", quern_sequence_length(s->ctx, 0),
            quern_context_size(s->ctx));
    fprintf(stderr, "%-22s%zu\n", "messages:", json_array_size(s->messages));
    if (s->last.generated.n_prompt > 0) qn_answer_print_timings(&s->last);
}
