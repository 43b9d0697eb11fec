/* chat.c: the template of a model: found in its metadata, parsed, tried out, rendered. */
#include "chat/chat.h"

#include "base/alloc.h"
#include "chat/messages.h"

#include <stdio.h>
#include <string.h>

const char *const qn_chat_fallback_source =
    "{% set system = messages[0].content if messages[0].role == 'system' else '' %}"
    "{% if tools %}"
    "{{ '<|im_start|>system\\n' + (system + '\\n\\n' if system else '') }}"
    "{{ 'These functions can be called:\\n<tools>\\n' }}"
    "{% for tool in tools %}{{ (tool | tojson) + '\\n' }}{% endfor %}"
    "{{ '</tools>\\nA call is a JSON object between tags:\\n<tool_call>\\n' }}"
    "{{ '{\"name\": <name>, \"arguments\": <object>}\\n</tool_call><|im_end|>\\n' }}"
    "{% endif %}"
    "{% for message in messages %}"
    "{% if not (tools and loop.first and message.role == 'system') %}"
    "{{ '<|im_start|>' + message.role + '\\n' + (message.content or '') }}"
    "{% for call in message.tool_calls or [] %}"
    "{{ '\\n' if message.content or not loop.first }}"
    "{{ '<tool_call>\\n{\"name\": ' + (call.function.name | tojson) + ', \"arguments\": ' }}"
    "{{ (call.function.arguments | tojson) + '}\\n</tool_call>' }}"
    "{% endfor %}"
    "{{ '<|im_end|>\\n' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

struct qn_chat_template {
    qn_jinja *jinja; /* NULL: chat is refused */
    char *source;    /* or NULL */
    char *bos_token, *eos_token;
    char problem[sizeof((quern_error *)0)->message]; /* "" if usable */
    qn_chat_traits traits;
};

/* The text of the token whose id stands under a key; "" without one. */
static char *token_text(const qn_gguf *g, const char *id_key, const char *given)
{
    if (given != NULL) return qn_strdup(given);
    const qn_string *tokens = NULL;
    size_t count = 0;
    uint64_t id = UINT64_MAX;
    if (g != NULL && qn_gguf_get_uint(g, id_key, false, 0, UINT32_MAX, &id, NULL) == QUERN_OK &&
        id != UINT64_MAX &&
        qn_gguf_get_strings(g, "tokenizer.ggml.tokens", false, &tokens, &count, NULL) == QUERN_OK &&
        id < count && memchr(tokens[id].bytes, '\0', tokens[id].n_bytes) == NULL)
        return qn_strndup(tokens[id].bytes, tokens[id].n_bytes);
    return qn_strdup("");
}

/* The source to use: given, the model's, or none. False: no memory. */
static bool find_source(qn_chat_template *t, const qn_gguf *g, const qn_chat_template_params *params)
{
    qn_string found = {0};
    char key[128] = "tokenizer.chat_template";
    quern_error err = {0};
    if (params->source != NULL) return (t->source = qn_strdup(params->source)) != NULL;
    if (params->name != NULL) snprintf(key, sizeof key, "tokenizer.chat_template.%s", params->name);
    if (g == NULL || qn_gguf_get_string(g, key, true, &found, &err) != QUERN_OK) {
        const bool missing = g == NULL || qn_gguf_find(g, key) == NULL;
        snprintf(t->problem, sizeof t->problem, "%s%.400s", missing ? "the model has no chat template" : "",
                 missing ? (params->name != NULL ? " of that name" : "") : err.message);
        return true;
    }
    if (memchr(found.bytes, '\0', found.n_bytes) != NULL) {
        snprintf(t->problem, sizeof t->problem, "the chat template holds a NUL byte");
        return true;
    }
    return (t->source = qn_strndup(found.bytes, found.n_bytes)) != NULL;
}

/* Parses t->source; a problem is recorded, not returned. */
static quern_status parse(qn_chat_template *t, quern_error *err)
{
    quern_error reason = {0};
    const quern_status status = qn_jinja_parse(&t->jinja, t->source, strlen(t->source), &reason);
    if (status == QUERN_ERR_NOMEM) return qn_fail(err, status, "%s", reason.message);
    if (status != QUERN_OK) snprintf(t->problem, sizeof t->problem, "chat template: %.480s", reason.message);
    return QUERN_OK;
}

static quern_status no_memory(quern_error *err)
{
    return qn_fail(err, QUERN_ERR_NOMEM, "chat template: out of memory");
}

static quern_status open_template(qn_chat_template *t, const qn_gguf *g,
                                  const qn_chat_template_params *params, const qn_log *log, quern_error *err)
{
    t->bos_token = token_text(g, "tokenizer.ggml.bos_token_id", params->bos_token);
    t->eos_token = token_text(g, "tokenizer.ggml.eos_token_id", params->eos_token);
    if (t->bos_token == NULL || t->eos_token == NULL || !find_source(t, g, params)) return no_memory(err);
    quern_status status = t->source != NULL ? parse(t, err) : QUERN_OK;
    if (status != QUERN_OK) return status;
    if (t->jinja == NULL) {
        const char *const then =
            params->use_fallback ? "ChatML is used in its place" : "chat is refused, completion works";
        if (log != NULL) qn_log_write(log, QUERN_LOG_WARN, "%s: %s", t->problem, then);
    }
    if (t->jinja == NULL && params->use_fallback) {
        qn_free(t->source);
        t->problem[0] = '\0';
        t->source = qn_strdup(qn_chat_fallback_source);
        if (t->source == NULL) return no_memory(err);
        status = parse(t, err);
    }
    if (status != QUERN_OK || t->jinja == NULL) return status;
    return qn_chat_probe(t->jinja, t->bos_token, t->eos_token, &t->traits) == QUERN_OK ? QUERN_OK
                                                                                       : no_memory(err);
}

quern_status qn_chat_template_open(qn_chat_template **out, const qn_gguf *g,
                                   const qn_chat_template_params *params, const qn_log *log, quern_error *err)
{
    static const qn_chat_template_params none = {0};
    qn_chat_template *t = *out = qn_calloc(1, sizeof *t);
    if (t == NULL) return no_memory(err);
    const quern_status status = open_template(t, g, params != NULL ? params : &none, log, err);
    if (status != QUERN_OK) {
        qn_chat_template_close(t);
        *out = NULL;
    }
    return status;
}

void qn_chat_template_close(qn_chat_template *t)
{
    if (t == NULL) return;
    qn_jinja_destroy(t->jinja);
    qn_free(t->source);
    qn_free(t->bos_token);
    qn_free(t->eos_token);
    qn_free(t);
}

const char *qn_chat_template_problem(const qn_chat_template *t)
{
    return t->jinja == NULL ? t->problem : NULL;
}
const char *qn_chat_template_source(const qn_chat_template *t)
{
    return t->source;
}
const qn_chat_traits *qn_chat_template_traits(const qn_chat_template *t)
{
    return &t->traits;
}

static quern_status check_extra(const json_t *extra, quern_error *err)
{
    static const char *const reserved[] = {"messages", "tools", "add_generation_prompt", "bos_token",
                                           "eos_token"};
    if (extra == NULL || json_is_null(extra)) return QUERN_OK;
    if (!json_is_object(extra))
        return qn_fail(err, QUERN_ERR_ARGUMENT, "template variables: must be an object");
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (json_object_get(extra, reserved[i]) != NULL)
            return qn_fail(err, QUERN_ERR_ARGUMENT, "template variables: '%s' cannot be set here",
                           reserved[i]);
    return QUERN_OK;
}

quern_status qn_chat_render(const qn_chat_template *t, const json_t *messages, const json_t *tools,
                            const json_t *extra, bool add_generation_prompt, int64_t now, qn_buffer *out,
                            quern_error *err)
{
    if (t->jinja == NULL) return qn_fail(err, QUERN_ERR_UNSUPPORTED, "%s", t->problem);
    quern_status status = qn_chat_check_messages(messages, err);
    if (status == QUERN_OK) status = qn_chat_check_images(messages, &t->traits, err);
    if (status == QUERN_OK) status = qn_chat_check_tools(tools, err);
    if (status == QUERN_OK) status = check_extra(extra, err);
    if (status != QUERN_OK) return status;
    const bool has_tools = json_is_array(tools) && json_array_size(tools) > 0;
    json_t *adapted = qn_chat_adapt_messages(messages, &t->traits);
    json_t *variables = adapted == NULL
                            ? NULL
                            : qn_chat_variables(adapted, has_tools ? (json_t *)(uintptr_t)tools : NULL,
                                                json_is_object(extra) ? extra : NULL, t->traits.null_tools,
                                                add_generation_prompt, t->bos_token, t->eos_token);
    /* a long conversation may take more steps than a short one: in proportion to its messages */
    const qn_jinja_limits limits = {.max_steps = 1000000 + 10000 * json_array_size(messages)};
    status =
        variables == NULL ? no_memory(err) : qn_jinja_render(t->jinja, variables, now, &limits, out, err);
    if (status == QUERN_ERR_TEMPLATE || status == QUERN_ERR_LIMIT) qn_fail_prefix(err, "chat template");
    json_decref(variables);
    json_decref(adapted);
    return status;
}

/* ---- time ---- */

/* Reads n digits; -1 if they are not there. */
static int read_digits(const char **p, int n)
{
    int value = 0;
    for (int i = 0; i < n; i++, (*p)++) {
        if (**p < '0' || **p > '9') return -1;
        value = value * 10 + (**p - '0');
    }
    return value;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar (years 1 to 9999). */
static int64_t days_from_civil(int year, int month, int day)
{
    const int y = month <= 2 ? year - 1 : year,
              m = month <= 2 ? month + 9 : month - 3; /* years begin in March */
    return (int64_t)y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static bool is_fraction_or_zone(const char *p)
{
    if (*p == '.') {
        p++;
        if (*p < '0' || *p > '9') return false;
        while (*p >= '0' && *p <= '9') p++;
    }
    if (*p == 'Z' && p[1] == '\0') return true;
    if (*p != '+' && *p != '-') return *p == '\0';
    p++;
    if (read_digits(&p, 2) < 0) return false;
    if (*p == ':') p++;
    return *p == '\0' || (read_digits(&p, 2) >= 0 && *p == '\0');
}

quern_status qn_chat_parse_time(const char *text, int64_t *now, quern_error *err)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const char *p = text;
    int hour = 0, minute = 0, second = 0;
    const int year = read_digits(&p, 4);
    const int month = year > 0 && *p++ == '-' ? read_digits(&p, 2) : -1;
    const int day = month >= 1 && month <= 12 && *p++ == '-' ? read_digits(&p, 2) : -1;
    bool ok = day >= 1;
    if (ok) {
        const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        ok = day <= days[month - 1] + (month == 2 && leap);
    }
    if (ok && (*p == 'T' || *p == ' ')) {
        p++;
        hour = read_digits(&p, 2);
        minute = hour >= 0 && *p++ == ':' ? read_digits(&p, 2) : -1;
        if (minute >= 0 && *p == ':') p++, second = read_digits(&p, 2);
        ok = minute >= 0 && second >= 0 && hour < 24 && minute < 60 && second < 61 && is_fraction_or_zone(p);
    } else {
        ok = ok && *p == '\0';
    }
    if (!ok)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "'%s' is no ISO 8601 time such as 2025-03-14T09:26:53",
                       qn_quote(text, strlen(text)).text);
    *now = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    return QUERN_OK;
}
