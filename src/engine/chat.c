/* chat.c: conversations as JSON text to prompts, by the model's template. */
#include "engine/model.h"

#include "base/alloc.h"

#include <string.h>

quern_status qn_model_open_chat(quern_model *m, quern_error *err)
{
    static const qn_log silent = {0};
    const bool has_source = qn_gguf_find(&m->gguf, "tokenizer.chat_template") != NULL;
    quern_status s = qn_chat_template_open(&m->chat, &m->gguf, NULL, has_source ? &m->log : &silent, err);
    if (s != QUERN_OK || qn_chat_template_problem(m->chat) == NULL) return s;
    const qn_chat_template_params params = {.source = qn_chat_fallback_source};
    return qn_chat_template_open(&m->chat_fallback, &m->gguf, &params, &silent, err);
}

static quern_status parse(json_t **value, const char *what, const char *text, quern_error *err)
{
    json_error_t where;
    *value = json_loads(text, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &where);
    if (*value != NULL) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: line %d column %d: %s", what, where.line, where.column,
                   where.text);
}

typedef struct chat_options {
    json_t *extra;       /* what is left: variables of the template */
    const json_t *tools; /* borrowed from the object that was given */
    int64_t now;
    bool prompt, fallback;
} chat_options;

static bool take_bool(json_t *object, const char *name, bool otherwise)
{
    const json_t *value = json_object_get(object, name);
    const bool result = json_is_boolean(value) ? json_is_true(value) : otherwise;
    json_object_del(object, name);
    return result;
}

/* given: an object or NULL. extra is a shallow copy of it without the fields that are ours. */
static quern_status read_options(chat_options *o, json_t *given, quern_error *err)
{
    *o = (chat_options){.now = INT64_MIN, .prompt = true, .fallback = true};
    if (given == NULL) return QUERN_OK;
    if (!json_is_object(given)) return qn_fail(err, QUERN_ERR_ARGUMENT, "chat options: an object is needed");
    o->extra = json_copy(given);
    if (o->extra == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "chat options: no memory");
    const json_t *now = json_object_get(given, "now");
    if (now != NULL && !json_is_integer(now))
        return qn_fail(err, QUERN_ERR_ARGUMENT, "chat options: 'now' must be seconds since 1970");
    if (now != NULL) o->now = json_integer_value(now);
    o->tools = json_object_get(given, "tools");
    json_object_del(o->extra, "now");
    json_object_del(o->extra, "tools");
    o->prompt = take_bool(o->extra, "add_generation_prompt", true);
    o->fallback = take_bool(o->extra, "fallback", true);
    return QUERN_OK;
}

static quern_status render(const quern_model *m, const json_t *messages, json_t *given, char **text,
                           quern_error *err)
{
    chat_options o;
    qn_buffer out = {.max_bytes = (size_t)64 << 20};
    quern_status s = read_options(&o, given, err);
    const bool use_fallback = s == QUERN_OK && o.fallback && m->chat_fallback != NULL;
    if (s == QUERN_OK)
        s = qn_chat_render(use_fallback ? m->chat_fallback : m->chat, messages, o.tools, o.extra, o.prompt,
                           o.now, &out, err);
    json_decref(o.extra);
    if (s != QUERN_OK) {
        qn_buffer_deinit(&out);
        return s;
    }
    if (out.data == NULL) qn_buffer_puts(&out, "");
    *text = qn_buffer_take(&out, NULL);
    return *text != NULL ? QUERN_OK : qn_fail(err, QUERN_ERR_NOMEM, "chat: no memory");
}

quern_status quern_chat_render(const quern_model *m, const char *messages_json, const char *options_json,
                               char **text, quern_error *err)
{
    *text = NULL;
    if (m->chat == NULL)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: was opened for its vocabulary only", m->path);
    json_t *messages = NULL, *given = NULL;
    quern_status s = parse(&messages, "messages", messages_json, err);
    if (s == QUERN_OK && options_json != NULL) s = parse(&given, "chat options", options_json, err);
    if (s == QUERN_OK) s = render(m, messages, given, text, err);
    json_decref(messages);
    json_decref(given);
    return s;
}
