/* constraint.h: what binds answers on the command line: a grammar, a schema, a pattern, or any JSON object.
 */
#ifndef QN_CLI_CONSTRAINT_H
#define QN_CLI_CONSTRAINT_H

#include "cli/cli.h"

/* Reads the text of a grammar and compiles it. source: a file, or "-" for standard input; a schema may stand
 * there itself, beginning with '{'; a regular expression always does. NULL: message printed. */
quern_grammar *qn_cli_open_grammar(quern_grammar_kind kind, const char *source, bool compact,
                                   bool open_objects);

typedef struct qn_constraint_options {
    const char *grammar, *schema, *regex;
    qn_texts choices;
    bool json, compact, open_objects;
} qn_constraint_options;
/* clang-format off */
#define QN_CONSTRAINT_OPTIONS(o)                                                                               \
    {"--schema, --json-schema", QN_TEXT, &(o)->schema, 0, 0, "FILE",                                           \
     "the answer is JSON that this JSON Schema (file, or text in braces) allows"},                            \
    {"--grammar, --grammar-file", QN_TEXT, &(o)->grammar, 0, 0, "FILE",                                        \
     "the answer belongs to the language of this grammar (GBNF)"},                                            \
    {"--regex", QN_TEXT, &(o)->regex, 0, 0, "PATTERN", "the whole answer matches this regular expression"},   \
    {"--choice", QN_TEXTS, &(o)->choices, 0, 0, "TEXT", "the answer is this text, or another --choice"},       \
    {"--json", QN_FLAG, &(o)->json, 0, 0, NULL, "the answer is a JSON object"},                                \
    {"--compact", QN_FLAG, &(o)->compact, 0, 0, NULL, "JSON without blanks between its parts"},                \
    {"--open", QN_FLAG, &(o)->open_objects, 0, 0, NULL,                                                        \
     "objects of the schema may have more properties than it names, unless it forbids that"}
/* clang-format on */

/* -1 to go on, with *grammar NULL where nothing binds the answer; otherwise an exit code, message printed. */
int qn_constraint_open(const qn_constraint_options *o, quern_grammar **grammar);

#endif
