/* constraint.c: see constraint.h. */
#include "cli/constraint.h"

#include <string.h>

/* Whether the schema itself is given, and not a file that holds it. */
static bool is_schema_text(const char *source)
{
    return source[strspn(source, " \t\r\n")] == '{';
}

quern_grammar *qn_cli_grammar(quern_grammar_kind kind, const char *source, bool compact, bool open_objects)
{
    const bool is_text = kind == QUERN_GRAMMAR_REGEX || kind == QUERN_GRAMMAR_JSON_OBJECT ||
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
        params.text = read = qn_cli_read_text(source, &params.n_bytes);
        if (read == NULL) return NULL;
    }
    const quern_status s = quern_grammar_create(&grammar, &params, &err);
    quern_free(read);
    if (s == QUERN_OK) return grammar;
    if (is_text) qn_cli_fail(&err);
    else qn_cli_fail_text("%s: %s", strcmp(source, "-") == 0 ? "standard input" : source, err.message);
    return NULL;
}

int qn_constraint_open(const qn_constraint_options *o, quern_grammar **grammar)
{
    const int n = (o->grammar != NULL) + (o->schema != NULL) + (o->regex != NULL) + o->json;
    *grammar = NULL;
    if (n == 0) return -1;
    if (n > 1) return qn_cli_usage("--grammar, --schema, --regex and --json exclude each other");
    const quern_grammar_kind kind = o->grammar != NULL  ? QUERN_GRAMMAR_GBNF
                                    : o->schema != NULL ? QUERN_GRAMMAR_JSON_SCHEMA
                                    : o->regex != NULL  ? QUERN_GRAMMAR_REGEX
                                                        : QUERN_GRAMMAR_JSON_OBJECT;
    const char *source = o->grammar != NULL ? o->grammar : o->schema != NULL ? o->schema : o->regex;
    *grammar = qn_cli_grammar(kind, source, o->compact, o->open_objects);
    return *grammar != NULL ? -1 : QN_EXIT_FAILURE;
}
