/* messages.c: checks messages, tries out templates, and puts messages into the form they render well. */
#include "chat/messages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- checks ---- */

static quern_status wrong(quern_error *err, size_t index, const char *field, const char *what)
{
    return qn_fail(err, QUERN_ERR_ARGUMENT, "messages[%zu]%s%s: %s", index, *field != '\0' ? "." : "", field,
                   what);
}

static quern_status check_parts(const json_t *parts, size_t index, quern_error *err)
{
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i), *type = json_object_get(part, "type");
        char field[48];
        snprintf(field, sizeof field, "content[%zu]", i);
        if (!json_is_object(part)) return wrong(err, index, field, "must be an object with a type");
        if (!json_is_string(type)) return wrong(err, index, field, "the type is missing or no string");
        if (strcmp(json_string_value(type), "text") == 0 && !json_is_string(json_object_get(part, "text")))
            return wrong(err, index, field, "the text is missing or no string");
    }
    return QUERN_OK;
}

static quern_status check_tool_calls(const json_t *calls, size_t index, quern_error *err)
{
    if (!json_is_array(calls)) return wrong(err, index, "tool_calls", "must be an array");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i), *function = json_object_get(call, "function");
        const json_t *arguments = json_object_get(function, "arguments");
        char field[48];
        snprintf(field, sizeof field, "tool_calls[%zu]", i);
        if (!json_is_object(call)) return wrong(err, index, field, "must be an object");
        if (!json_is_object(function)) return wrong(err, index, field, "'function' must be an object");
        if (!json_is_string(json_object_get(function, "name")))
            return wrong(err, index, field, "the function's name is missing or no string");
        if (arguments != NULL && !json_is_string(arguments) && !json_is_object(arguments) &&
            !json_is_null(arguments))
            return wrong(err, index, field, "the arguments must be JSON text or an object");
    }
    return QUERN_OK;
}

static quern_status check_message(const json_t *m, size_t index, quern_error *err)
{
    const json_t *role = json_object_get(m, "role"), *content = json_object_get(m, "content");
    const json_t *calls = json_object_get(m, "tool_calls");
    if (!json_is_object(m)) return wrong(err, index, "", "must be an object with role and content");
    if (!json_is_string(role) || json_string_length(role) == 0)
        return wrong(err, index, "role", "is missing, empty or no string");
    if (json_string_length(role) > 64) return wrong(err, index, "role", "has more than 64 bytes");
    const json_t *reasoning = json_object_get(m, "reasoning_content");
    if (reasoning != NULL && !json_is_string(reasoning) && !json_is_null(reasoning))
        return wrong(err, index, "reasoning_content", "must be a string");
    const bool has_calls = calls != NULL && !json_is_null(calls);
    if (has_calls) {
        const quern_status status = check_tool_calls(calls, index, err);
        if (status != QUERN_OK) return status;
    }
    if (json_is_array(content)) return check_parts(content, index, err);
    if (json_is_string(content)) return QUERN_OK;
    if (content != NULL && !json_is_null(content))
        return wrong(err, index, "content", "must be a string, an array of parts, or null beside tool_calls");
    if (has_calls && json_array_size(calls) > 0) return QUERN_OK;
    return wrong(err, index, "content", "is missing (it may be so only beside tool_calls)");
}

static bool has_type(const json_t *part, const char *type)
{
    const char *text = json_string_value(json_object_get(part, "type"));
    return text != NULL && strcmp(text, type) == 0;
}

quern_status qn_chat_check_images(const json_t *messages, const qn_chat_traits *traits, quern_error *err)
{
    if (traits->takes_image_urls || traits->takes_images) return QUERN_OK;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *parts = json_object_get(json_array_get(messages, i), "content");
        for (size_t k = 0; k < json_array_size(parts); k++) {
            const json_t *part = json_array_get(parts, k);
            char field[48];
            snprintf(field, sizeof field, "content[%zu]", k);
            if (has_type(part, "image_url") || has_type(part, "image"))
                return wrong(err, i, field, "is an image, and this model's template has no place for images");
        }
    }
    return QUERN_OK;
}

quern_status qn_chat_check_messages(const json_t *messages, quern_error *err)
{
    if (!json_is_array(messages)) return qn_fail(err, QUERN_ERR_ARGUMENT, "messages: must be an array");
    if (json_array_size(messages) == 0)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "messages: must not be empty");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const quern_status status = check_message(json_array_get(messages, i), i, err);
        if (status != QUERN_OK) return status;
    }
    return QUERN_OK;
}

quern_status qn_chat_check_tools(const json_t *tools, quern_error *err)
{
    if (tools == NULL || json_is_null(tools)) return QUERN_OK;
    if (!json_is_array(tools)) return qn_fail(err, QUERN_ERR_ARGUMENT, "tools: must be an array");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *function = json_object_get(json_array_get(tools, i), "function");
        if (!json_is_object(function))
            return qn_fail(err, QUERN_ERR_ARGUMENT, "tools[%zu]: 'function' is missing or no object", i);
        if (!json_is_string(json_object_get(function, "name")))
            return qn_fail(err, QUERN_ERR_ARGUMENT, "tools[%zu].function.name: is missing or no string", i);
    }
    return QUERN_OK;
}

/* ---- variables ---- */

/* One more reference; j is not changed. */
static json_t *borrowed(const json_t *j)
{
    return json_incref((json_t *)(uintptr_t)j);
}

json_t *qn_chat_variables(json_t *messages, json_t *tools, const json_t *extra, bool null_tools,
                          bool add_generation_prompt, const char *bos_token, const char *eos_token)
{
    json_t *v = extra != NULL ? json_copy((json_t *)(uintptr_t)extra) : json_object();
    bool ok = v != NULL && json_object_set(v, "messages", messages) == 0;
    if (ok && (tools != NULL || null_tools))
        ok = json_object_set_new(v, "tools", tools != NULL ? json_incref(tools) : json_null()) == 0;
    if (ok && null_tools && json_object_get(v, "documents") == NULL)
        ok = json_object_set_new(v, "documents", json_null()) == 0;
    ok = ok && json_object_set_new(v, "add_generation_prompt", json_boolean(add_generation_prompt)) == 0 &&
         json_object_set_new(v, "bos_token", json_string(bos_token)) == 0 &&
         json_object_set_new(v, "eos_token", json_string(eos_token)) == 0;
    if (ok) return v;
    json_decref(v);
    return NULL;
}

/* ---- adapting ---- */

/* The texts of the parts, one line each. */
static json_t *joined_parts(const json_t *parts)
{
    qn_buffer b = {0};
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *text = json_object_get(json_array_get(parts, i), "text");
        if (!json_is_string(text)) continue;
        if (b.n_bytes > 0) qn_buffer_putc(&b, '\n');
        qn_buffer_append(&b, json_string_value(text), json_string_length(text));
    }
    json_t *joined = b.failed ? NULL : json_stringn(b.n_bytes > 0 ? b.data : "", b.n_bytes);
    qn_buffer_deinit(&b);
    return joined;
}

/* Parts of images under the type that the template knows. */
static json_t *adapted_parts(const json_t *parts, const qn_chat_traits *traits)
{
    const char *from = traits->takes_image_urls ? "image" : "image_url";
    const char *to = traits->takes_image_urls ? "image_url" : "image";
    json_t *out = json_copy((json_t *)(uintptr_t)parts);
    if (traits->takes_image_urls == traits->takes_images) return out; /* it knows both, or none */
    for (size_t i = 0; out != NULL && i < json_array_size(out); i++) {
        if (!has_type(json_array_get(out, i), from)) continue;
        json_t *part = json_copy(json_array_get(out, i));
        bool ok = part != NULL && json_object_set_new(part, "type", json_string(to)) == 0;
        ok = json_array_set_new(out, i, part) == 0 && ok;
        if (ok) continue;
        json_decref(out);
        out = NULL;
    }
    return out;
}

static json_t *adapted_content(const json_t *m, const qn_chat_traits *traits)
{
    const json_t *content = json_object_get(m, "content");
    if (json_is_array(content) && !traits->takes_parts) return joined_parts(content);
    if (json_is_array(content)) return adapted_parts(content, traits);
    if (json_is_string(content) && traits->wants_parts)
        return json_pack("[{s:s, s:O}]", "type", "text", "text", (json_t *)(uintptr_t)content);
    const bool has_calls = json_array_size(json_object_get(m, "tool_calls")) > 0;
    if (json_is_null(content) && !traits->null_content) return json_string("");
    if (has_calls && !traits->empty_content && json_is_string(content) && json_string_length(content) == 0)
        return json_null();
    if (content == NULL) return traits->null_content ? json_null() : json_string("");
    return borrowed(content);
}

/* The arguments of one call as the template wants them; text that is no JSON object stays text. */
static json_t *adapted_arguments(const json_t *arguments, bool as_object)
{
    if (json_is_string(arguments) && as_object) {
        json_t *parsed = json_loadb(json_string_value(arguments), json_string_length(arguments), 0, NULL);
        if (json_is_object(parsed)) return parsed;
        json_decref(parsed);
    }
    if (json_is_object(arguments) && !as_object) {
        char *text = json_dumps(arguments, 0);
        json_t *string = text != NULL ? json_string(text) : NULL;
        free(text);
        return string;
    }
    if (arguments == NULL || json_is_null(arguments)) return as_object ? json_object() : json_string("{}");
    return borrowed(arguments);
}

static json_t *adapted_calls(const json_t *calls, bool as_object)
{
    json_t *out = json_array();
    for (size_t i = 0; out != NULL && i < json_array_size(calls); i++) {
        json_t *call = json_copy(json_array_get(calls, i));
        json_t *function = json_copy(json_object_get(call, "function"));
        json_t *arguments = adapted_arguments(json_object_get(function, "arguments"), as_object);
        const bool ok = json_object_set_new(function, "arguments", arguments) == 0;
        if (!ok) json_decref(function);
        if (!ok || json_object_set_new(call, "function", function) != 0 ||
            json_array_append(out, call) != 0) {
            json_decref(out);
            out = NULL;
        }
        json_decref(call);
    }
    return out;
}

static bool has_role(const json_t *m, const char *role)
{
    const char *text = json_string_value(json_object_get(m, "role"));
    return text != NULL && strcmp(text, role) == 0;
}

/* Templates read reasoning under several names, and clients write it so: each gets what one of them has. In a
 * message with content and calls `thinking` is left alone: Harmony's template takes only one of the two
 * there. */
static bool adapt_reasoning(json_t *m)
{
    static const char *const names[] = {"reasoning_content", "reasoning", "thinking"};
    const json_t *content = json_object_get(m, "content");
    const bool both =
        json_array_size(json_object_get(m, "tool_calls")) > 0 && json_string_length(content) > 0;
    json_t *reasoning = NULL;
    for (size_t i = 0; i < 3 && reasoning == NULL; i++) {
        reasoning = json_object_get(m, names[i]);
        if (json_string_length(reasoning) == 0) reasoning = NULL;
    }
    for (size_t i = 0; reasoning != NULL && i < (both ? 2 : 3); i++) {
        const json_t *is = json_object_get(m, names[i]);
        if ((is == NULL || json_is_null(is)) && json_object_set(m, names[i], reasoning) != 0) return false;
    }
    return true;
}

static json_t *adapted_message(const json_t *m, const qn_chat_traits *traits)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)m);
    const json_t *calls = json_object_get(m, "tool_calls");
    bool ok = copy != NULL && json_object_set_new(copy, "content", adapted_content(m, traits)) == 0;
    if (ok && json_is_null(calls)) json_object_del(copy, "tool_calls");
    if (ok && json_is_array(calls))
        ok = json_object_set_new(copy, "tool_calls", adapted_calls(calls, traits->object_arguments)) == 0;
    if (ok && has_role(m, "assistant")) ok = adapt_reasoning(copy);
    if (ok) return copy;
    json_decref(copy);
    return NULL;
}

/* Puts the text of a leading system message in front of the first user message after it. */
static bool merge_system(json_t *messages)
{
    json_t *system = json_array_get(messages, 0), *user = json_array_get(messages, 1);
    if (!has_role(system, "system") && !has_role(system, "developer")) return true;
    if (!has_role(user, "user")) return json_object_set_new(system, "role", json_string("user")) == 0;
    const json_t *a = json_object_get(system, "content"), *b = json_object_get(user, "content");
    if (json_is_array(a) && json_is_array(b)) {
        json_t *parts = json_copy((json_t *)(uintptr_t)a);
        if (parts == NULL || json_array_extend(parts, (json_t *)(uintptr_t)b) != 0)
            return json_decref(parts), false;
        if (json_object_set_new(user, "content", parts) != 0) return false;
    } else if (json_is_string(a) && json_is_string(b)) {
        json_t *text = json_sprintf("%s\n\n%s", json_string_value(a), json_string_value(b));
        if (json_object_set_new(user, "content", text) != 0) return false;
    } else {
        return true; /* one is text, the other parts: the template must cope */
    }
    return json_array_remove(messages, 0) == 0;
}

json_t *qn_chat_adapt_messages(const json_t *messages, const qn_chat_traits *traits)
{
    json_t *out = json_array();
    for (size_t i = 0; out != NULL && i < json_array_size(messages); i++) {
        json_t *m = adapted_message(json_array_get(messages, i), traits);
        if (m == NULL || json_array_append_new(out, m) != 0) {
            json_decref(out);
            out = NULL;
        }
    }
    if (out != NULL && !traits->takes_system && !merge_system(out)) {
        json_decref(out);
        out = NULL;
    }
    return out;
}

/* ---- trying out ---- */

typedef struct probe {
    const qn_jinja *tmpl;
    const char *bos_token, *eos_token;
    bool null_tools;
    bool no_memory; /* what was found is then worth nothing */
} probe;

/* Renders a conversation given as JSON text; "" (and false) where the template fails. */
static bool try_out(probe *p, const char *messages_json, const char *tools_json, qn_buffer *text)
{
    static const qn_jinja_limits limits = {
        .max_steps = 100000, .max_output_bytes = 1 << 20, .max_ns = 500000000};
    json_t *messages = json_loads(messages_json, 0, NULL);
    json_t *tools = tools_json != NULL ? json_loads(tools_json, 0, NULL) : NULL;
    json_t *variables = messages == NULL ? NULL
                                         : qn_chat_variables(messages, tools, NULL, p->null_tools, true,
                                                             p->bos_token, p->eos_token);
    qn_buffer_clear(text);
    const quern_status status =
        variables == NULL ? QUERN_ERR_NOMEM : qn_jinja_render(p->tmpl, variables, 0, &limits, text, NULL);
    if (status == QUERN_ERR_NOMEM) p->no_memory = true;
    json_decref(variables);
    json_decref(tools);
    json_decref(messages);
    return status == QUERN_OK;
}

static bool shows(const qn_buffer *text, const char *marker)
{
    return text->data != NULL && strstr(text->data, marker) != NULL;
}

#define USER         "{\"role\":\"user\",\"content\":\"probe-user\"}"
#define USER_PARTS   "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"probe-user\"}]}"
#define SYSTEM       "{\"role\":\"system\",\"content\":\"probe-system\"}"
#define SYSTEM_PARTS "{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"probe-system\"}]}"
#define USER_IMAGE(type)                                                                                     \
    "[{\"role\":\"user\",\"content\":[{\"type\":\"" type "\",\"" type "\":{\"url\":\"data:\"}},"             \
    "{\"type\":\"text\",\"text\":\"probe-user\"}]}]"
#define CALLS(content, arguments)                                                                            \
    "[" USER ",{\"role\":\"assistant\",\"content\":" content                                                 \
    ",\"tool_calls\":[{\"id\":\"call00001\",\"type\":"                                                       \
    "\"function\",\"function\":{\"name\":\"probe-function\",\"arguments\":" arguments "}}]}]"
#define TOOLS                                                                                                \
    "[{\"type\":\"function\",\"function\":{\"name\":\"probe-tool\",\"description\":\"d\",\"parameters\":{"   \
    "\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"description\":\"d\"}},\"required\":[]" \
    "}}}]"

/* Whether the text shows the object {"probe-key": "probe-value"} otherwise than as Python prints it. */
static bool shows_arguments(const qn_buffer *text)
{
    return shows(text, "probe-key") && shows(text, "probe-value") && !shows(text, "'probe-key'") &&
           !shows(text, "\\\"probe-key");
}

/* How a message with a tool call is told best: arguments as object or text, content null or "". Some
 * templates show the call in one of the four forms only. */
static void probe_tool_calls(probe *p, qn_buffer *text, qn_chat_traits *traits)
{
    static const char *const forms[2][2] = {
        {CALLS("null", "{\"probe-key\":\"probe-value\"}"), CALLS("\"\"", "{\"probe-key\":\"probe-value\"}")},
        {CALLS("null", "\"{\\\"probe-key\\\": \\\"probe-value\\\"}\""),
         CALLS("\"\"", "\"{\\\"probe-key\\\": \\\"probe-value\\\"}\"")},
    };
    bool calls[2][2], renders[2][2];
    for (int form = 0; form < 2; form++) {
        for (int empty = 0; empty < 2; empty++) {
            renders[form][empty] = try_out(p, forms[form][empty], TOOLS, text) && shows(text, "probe-user") &&
                                   !shows(text, "None") && (empty || !shows(text, "null"));
            calls[form][empty] = renders[form][empty] && shows_arguments(text);
        }
    }
    const bool object = calls[0][0] || calls[0][1], string = calls[1][0] || calls[1][1];
    const int best = object || !string ? 0 : 1;
    traits->object_arguments = best == 0;
    traits->null_content = object || string ? calls[best][0] : renders[best][0];
    traits->empty_content = object || string ? calls[best][1] : !traits->null_content || renders[best][1];
}

/* Whether a part of an image leaves something in the prompt, other than the part itself. */
static bool probe_image(probe *p, const char *messages_json, qn_buffer *text)
{
    qn_buffer without = {0};
    const bool plain = try_out(p, "[" USER_PARTS "]", NULL, &without);
    const bool shown = plain && try_out(p, messages_json, NULL, text) && shows(text, "probe-user") &&
                       !shows(text, "data:") && strcmp(text->data, without.data) != 0;
    qn_buffer_deinit(&without);
    return shown && !shows(text, "'type'") && !shows(text, "\"type\"");
}

quern_status qn_chat_probe(const qn_jinja *t, const char *bos_token, const char *eos_token,
                           qn_chat_traits *out)
{
    probe p = {.tmpl = t, .bos_token = bos_token, .eos_token = eos_token, .null_tools = true};
    qn_chat_traits traits = {.null_tools = true};
    qn_buffer text = {0};
    bool plain = false;
    for (int i = 0; i < 2 && !plain && !traits.takes_parts;
         i++) { /* it may walk over tools that are not there */
        traits.null_tools = p.null_tools = i == 0;
        plain = try_out(&p, "[" USER "]", NULL, &text) && shows(&text, "probe-user");
        const bool parts = try_out(&p, "[" USER_PARTS "]", NULL, &text) && shows(&text, "probe-user");
        traits.takes_parts = parts && !shows(&text, "'type'") && !shows(&text, "\"type\"");
    }
    if (!plain && !traits.takes_parts) traits.null_tools = p.null_tools = true;
    traits.wants_parts = traits.takes_parts && !plain;
    const bool system = try_out(
        &p, traits.wants_parts ? "[" SYSTEM_PARTS "," USER_PARTS "]" : "[" SYSTEM "," USER "]", NULL, &text);
    traits.takes_system = (system && shows(&text, "probe-system")) || !(plain || traits.takes_parts);
    traits.takes_image_urls = traits.takes_parts && probe_image(&p, USER_IMAGE("image_url"), &text);
    traits.takes_images = traits.takes_parts && probe_image(&p, USER_IMAGE("image"), &text);
    probe_tool_calls(&p, &text, &traits);
    traits.shows_tools = try_out(&p, "[" USER "]", TOOLS, &text) && shows(&text, "probe-tool");
    qn_buffer_deinit(&text);
    *out = traits;
    return p.no_memory ? QUERN_ERR_NOMEM : QUERN_OK;
}
