/* constraint.c: see constraint.h. */
#include "cli/constraint.h"

#include <stdlib.h>
#include <string.h>

/* Whether the schema itself is given, and not a file that holds it. */
static bool is_schema_text(const char *source)
{
    return source[strspn(source, " \t\r\n")] == '{';
}

quern_grammar *qn_cli_open_grammar(quern_grammar_kind kind, const char *source, bool compact,
                                   bool open_objects)
{
    const bool is_text = kind == QUERN_GRAMMAR_REGEX || kind == QUERN_GRAMMAR_JSON_OBJECT ||
                         kind == QUERN_GRAMMAR_CHOICE ||
                         (kind == QUERN_GRAMMAR_JSON_SCHEMA && is_schema_text(source));
    quern_grammar_params params = quern_grammar_params_default();
    quern_grammar *grammar = NULL;
    quern_error err;
    char *read = NULL;
    params.kind = kind;
    params.compact = compact;
    params.open_objects = open_objects;
    params.text = source;
    params.n_bytes = source != NULL ? strlen(source) : 0;
    if (!is_text) {
        params.text = read = qn_cli_read_text(
            source, &params.n_bytes,
            kind == QUERN_GRAMMAR_JSON_SCHEMA ? "a schema that is no file begins with '{'" : NULL);
        if (read == NULL) return NULL;
    }
    const quern_status s = quern_grammar_create(&grammar, &params, &err);
    quern_free(read);
    if (s == QUERN_OK) return grammar;
    if (is_text) qn_cli_fail(&err);
    else qn_cli_fail_text("%s: %s", strcmp(source, "-") == 0 ? "standard input" : source, err.message);
    return NULL;
}

static char *choices_as_json(const qn_texts *choices)
{
    json_t *array = json_array();
    bool ok = array != NULL;
    for (size_t i = 0; i < choices->n_items && ok; i++)
        ok = json_array_append_new(array, json_string(choices->items[i])) == 0;
    char *text = ok ? json_dumps(array, JSON_COMPACT) : NULL;
    json_decref(array);
    return text;
}

int qn_constraint_open(const qn_constraint_options *o, quern_grammar **grammar)
{
    const int n =
        (o->grammar != NULL) + (o->schema != NULL) + (o->regex != NULL) + o->json + (o->choices.n_items > 0);
    *grammar = NULL;
    if (n == 0) return -1;
    if (n > 1) return qn_cli_usage("--grammar, --schema, --regex, --choice and --json exclude each other");
    const quern_grammar_kind kind = o->grammar != NULL       ? QUERN_GRAMMAR_GBNF
                                    : o->schema != NULL      ? QUERN_GRAMMAR_JSON_SCHEMA
                                    : o->regex != NULL       ? QUERN_GRAMMAR_REGEX
                                    : o->choices.n_items > 0 ? QUERN_GRAMMAR_CHOICE
                                                             : QUERN_GRAMMAR_JSON_OBJECT;
    const char *source = o->grammar != NULL ? o->grammar : o->schema != NULL ? o->schema : o->regex;
    char *choices = kind == QUERN_GRAMMAR_CHOICE ? choices_as_json(&o->choices) : NULL;
    if (kind == QUERN_GRAMMAR_CHOICE && choices == NULL)
        return qn_cli_fail_text("--choice: it is not UTF-8 text, or there is no memory");
    *grammar = qn_cli_open_grammar(kind, choices != NULL ? choices : source, o->compact, o->open_objects);
    free(choices);
    return *grammar != NULL ? -1 : QN_EXIT_FAILURE;
}
