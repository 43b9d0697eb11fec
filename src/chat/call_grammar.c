/* call_grammar.c: see call_grammar.h. A format's texts (output_format.h) with the tools' schemas between
 * them. */
#include "chat/call_grammar.h"

#include "base/alloc.h"
#include "chat/call_writer.h"
#include "grammar/search.h"

#include <string.h>

enum { MAX_TOOLS = 1024, ID_CHARACTERS = 9 };

/* ---- calls ------------------------------------------------------------------------------------- */

static qn_expression call_id(qn_call_writer *w)
{
    static const qn_character_range ranges[] = {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}};
    return qn_expression_repeat(&w->e, qn_expression_class(&w->e, ranges, 3, false), ID_CHARACTERS,
                                ID_CHARACTERS);
}

/* NAME and all that comes behind it. */
static qn_expression named_call(qn_call_writer *w, const json_t *function)
{
    static const qn_character_range digit = {'0', '9'};
    const qn_output_format *f = w->p->format;
    const qn_expression s = qn_call_sequence(w);
    qn_call_append(w, s, qn_call_text(w, json_string_value(json_object_get(function, "name"))));
    if (f->numbered) {
        qn_call_append(w, s, qn_call_text(w, ":"));
        qn_call_append(w, s, qn_expression_repeat(&w->e, qn_expression_class(&w->e, &digit, 1, false), 1, 3));
    }
    if (f->id_begin != NULL) {
        const qn_expression id = qn_call_sequence(w);
        qn_call_append(w, id, qn_call_marker(w, f->id_begin));
        qn_call_append(w, id, call_id(w));
        qn_call_append(w, s, qn_call_optional(w, id));
    }
    if (f->syntax != QN_CALLS_BARE_KEYS) /* there it is the brace of the arguments themselves */
        qn_call_append(w, s, qn_call_marker(w, f->arguments_begin));
    qn_call_append(w, s, qn_call_arguments(w, function));
    return s;
}

/* One call of any tool, as a rule: what stands behind the first n_opened bytes of its beginning. */
static uint32_t call_rule(qn_call_writer *w, size_t n_opened)
{
    const qn_output_format *f = w->p->format;
    const uint32_t rule = qn_expression_new_rule(&w->e);
    const qn_expression s = qn_call_sequence(w), choice = qn_expression_group(&w->e, QN_EXPRESSION_CHOICE);
    size_t i;
    json_t *tool;
    if (f->name_begin != NULL) qn_call_append(w, s, qn_call_marker(w, f->name_begin + n_opened));
    if (f->id_end != NULL)
        qn_call_append(w, s, call_id(w)), qn_call_append(w, s, qn_call_marker(w, f->id_end));
    json_array_foreach(w->p->tools, i, tool)
    {
        const json_t *function = json_object_get(tool, "function");
        const char *name = json_string_value(json_object_get(function, "name"));
        if (name != NULL && (w->p->only == NULL || strcmp(w->p->only, name) == 0))
            qn_call_append(w, choice, named_call(w, function));
    }
    qn_call_append(w, s, choice);
    qn_expression_define(&w->e, rule, s);
    return rule;
}

/* What opens a call: a text in which no other may begin. */
static const char *opening(const qn_output_format *f)
{
    return f->begin[0] != NULL ? f->begin[0] : f->name_begin != NULL ? f->name_begin : "";
}

/* The bytes of it that tell: without the blanks behind it, which models leave out. */
static size_t opening_bytes(const qn_output_format *f)
{
    size_t n = strlen(opening(f));
    while (n > 0 && (opening(f)[n - 1] == ' ' || opening(f)[n - 1] == '\n')) n--;
    return n;
}

/* All calls of an answer, behind the first n_opened bytes of what opens them. */
static qn_expression all_calls(qn_call_writer *w, size_t n_opened)
{
    const qn_output_format *f = w->p->format;
    const bool has_begin = f->begin[0] != NULL;
    const qn_expression s = qn_call_sequence(w);
    if (has_begin) qn_call_append(w, s, qn_call_marker(w, f->begin[0] + n_opened));
    const uint32_t whole = has_begin || n_opened == 0 || w->p->parallel ? call_rule(w, 0) : 0,
                   first = has_begin || n_opened == 0 ? whole : call_rule(w, n_opened);
    qn_call_append(w, s, qn_expression_rule(&w->e, first));
    if (w->p->parallel) {
        const qn_expression next = qn_call_sequence(w);
        qn_call_append(w, next, qn_call_marker(w, f->separator));
        qn_call_append(w, next, qn_expression_rule(&w->e, whole));
        qn_call_append(w, s, qn_expression_repeat(&w->e, next, 0, QN_ANY_NUMBER));
    }
    if (f->end[0] != NULL) qn_call_append(w, s, qn_call_marker(w, f->end[0]));
    return s;
}

/* Text in which calls may come: each is bound from where it is opened. */
static qn_expression text_with_calls(qn_call_writer *w)
{
    const qn_output_format *f = w->p->format;
    const size_t n_opening = opening_bytes(f);
    char opens[4 * QN_MAX_SEARCH] = "";
    if (n_opening == 0 || n_opening >= sizeof opens) return qn_call_any_text(w);
    memcpy(opens, opening(f), n_opening);
    const qn_expression s = qn_call_sequence(w), opened = qn_call_sequence(w);
    qn_call_append(w, opened, qn_call_up_to(w, opens));
    qn_call_append(w, opened, all_calls(w, n_opening));
    qn_call_append(w, s, qn_expression_repeat(&w->e, opened, 0, w->p->parallel ? QN_ANY_NUMBER : 1));
    qn_call_append(w, s, qn_call_without(w, opens));
    return s;
}

/* Up to the end of the reasoning, and line ends. */
static void append_thought(qn_call_writer *w, qn_expression group)
{
    qn_call_append(w, group, qn_call_up_to(w, w->p->format->reasoning_end[0]));
    qn_call_append(w, group, qn_expression_repeat(&w->e, qn_call_text(w, "\n"), 0, 2));
}

/* What comes before the answer: the rest of the reasoning that the prompt has begun, or reasoning where it
 * may come. */
static qn_expression reasoning(qn_call_writer *w, bool may_come)
{
    const qn_output_format *f = w->p->format;
    const qn_expression s = qn_call_sequence(w);
    if (f->reasoning_end[0] == NULL) return s;
    if (w->p->in_reasoning) {
        append_thought(w, s);
    } else if (f->reasoning_begin[0] != NULL && may_come) {
        const qn_expression thought = qn_call_sequence(w);
        qn_call_append(w, thought, qn_call_marker(w, f->reasoning_begin[0]));
        append_thought(w, thought);
        qn_call_append(w, s, qn_call_optional(w, thought));
    }
    return s;
}

static qn_expression answer(qn_call_writer *w)
{
    const qn_expression s = qn_call_sequence(w);
    qn_call_append(w, s, reasoning(w, w->p->allow_reasoning || !w->p->required));
    qn_call_append(w, s, w->p->required ? all_calls(w, 0) : text_with_calls(w));
    return s;
}

/* ---- building ---------------------------------------------------------------------------------- */

static quern_status check(const qn_call_grammar_params *p, quern_error *err)
{
    size_t i, n_found = 0;
    json_t *tool;
    json_array_foreach(p->tools, i, tool)
    {
        const char *name = json_string_value(json_object_get(json_object_get(tool, "function"), "name"));
        if (name == NULL) return qn_fail(err, QUERN_ERR_ARGUMENT, "tools[%zu]: function.name is missing", i);
        n_found += p->only == NULL || strcmp(p->only, name) == 0;
    }
    if (p->format->syntax == QN_CALLS_NONE)
        return qn_fail(err, QUERN_ERR_UNSUPPORTED, "models of format '%s' have no way to call tools",
                       p->format->name);
    if (json_array_size(p->tools) > MAX_TOOLS)
        return qn_fail(err, QUERN_ERR_LIMIT, "tools: %zu, at most %d are possible", json_array_size(p->tools),
                       MAX_TOOLS);
    if (n_found > 0) return QUERN_OK;
    if (p->only == NULL)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "tools: there are none, but a call is demanded");
    return qn_fail(err, QUERN_ERR_ARGUMENT, "tools: there is no '%.100s'", p->only);
}

static bool find_controls(qn_call_writer *w)
{
    const size_t n = w->vocab != NULL ? qn_vocab_size(w->vocab) : 0;
    for (int round = 0; round < 2; round++) { /* counts, then takes */
        if (round == 1 && (w->controls = qn_calloc(w->n_controls + 1, sizeof *w->controls)) == NULL)
            return false;
        w->n_controls = 0;
        for (size_t i = 0; i < n; i++) {
            const qn_string t = qn_vocab_token_text(w->vocab, (quern_token)i);
            if (qn_vocab_token_kind(w->vocab, (quern_token)i) != QN_TOKEN_CONTROL || t.n_bytes == 0 ||
                qn_vocab_is_end(w->vocab, (quern_token)i))
                continue;
            if (round == 1) w->controls[w->n_controls] = t;
            w->n_controls++;
        }
    }
    return true;
}

/* How values are written: as JSON, or as the format does. That of BARE_KEYS has no white space. */
static bool find_notation(qn_call_writer *w)
{
    const qn_output_format *f = w->p->format;
    w->schema_options =
        (qn_json_schema_options){.whitespace = w->p->whitespace, .named_only = true, .lenient = true};
    if (f->syntax != QN_CALLS_BARE_KEYS) return true;
    qn_call_spell(w, f->quote, &w->quote);
    w->schema_options.whitespace = QN_JSON_COMPACT;
    w->schema_options.notation = (qn_json_notation){.quote = w->quote.data, .quote_text = f->quote};
    return !w->quote.failed;
}

typedef qn_expression build_fn(qn_call_writer *w);

static quern_status build(qn_network *n, qn_call_writer *w, build_fn *make)
{
    const bool ok = find_controls(w) && find_notation(w);
    quern_status s = ok ? QUERN_OK : qn_fail(w->err, QUERN_ERR_NOMEM, "tools: no memory");
    if (s == QUERN_OK) {
        w->e.root = qn_expression_new_rule(&w->e);
        qn_expression_define(&w->e, w->e.root, make(w));
        s = w->status != QUERN_OK ? w->status : qn_network_build(n, &w->e, "tools", NULL, NULL, w->err);
    }
    qn_expressions_deinit(&w->e);
    qn_buffer_deinit(&w->quote);
    qn_free(w->controls);
    return s;
}

quern_status qn_call_grammar_build(qn_network *n, const qn_call_grammar_params *params, const qn_vocab *vocab,
                                   quern_error *err)
{
    qn_call_writer w = {.p = params, .vocab = vocab, .err = err};
    memset(n, 0, sizeof *n);
    quern_status s = check(params, err);
    if (s == QUERN_OK) s = build(n, &w, answer);
    if (s == QUERN_OK && n->is_empty) {
        qn_network_deinit(n);
        s = qn_fail(err, QUERN_ERR_ARGUMENT, "tools: no call can satisfy the schema of its parameters");
    }
    return s;
}

static qn_expression reasoning_alone(qn_call_writer *w)
{
    return reasoning(w, w->p->allow_reasoning);
}

quern_status qn_reasoning_grammar_build(qn_network *n, const qn_call_grammar_params *params,
                                        const qn_vocab *vocab, quern_error *err)
{
    qn_call_writer w = {.p = params, .vocab = vocab, .err = err};
    memset(n, 0, sizeof *n);
    if (params->format->message_begin != NULL)
        return qn_fail(err, QUERN_ERR_UNSUPPORTED,
                       "format '%s': reasoning before an answer of a given form is not supported",
                       params->format->name);
    return build(n, &w, reasoning_alone);
}
