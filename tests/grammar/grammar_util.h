/* grammar_util.h: what the tests of this room share. */
#ifndef GRAMMAR_UTIL_H
#define GRAMMAR_UTIL_H

#include "support/cmocka_all.h"

#include "grammar/automaton.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"

/* Whether the automaton takes these bytes as a whole text. */
bool test_takes(qn_automaton *a, const char *text, size_t n_bytes);

typedef struct test_language {
    qn_network *network; /* the automaton points to it, so it stays where it is */
    qn_automaton *automaton;
} test_language;

/* A GBNF grammar, or the test ends. */
test_language test_gbnf(const char *grammar);
/* A regular expression, or a JSON schema (options may be NULL), or the test ends. */
test_language test_regex(const char *pattern, qn_regex_match match);
test_language test_schema(const char *schema, const qn_json_schema_options *options);
void test_language_close(test_language *l);

/* The texts are all of a schema's language, or none is: for tests with a check_texts(schema, texts, n,
 * wanted) of their own. */
#define VALID(schema, ...)                                                                                   \
    check_texts(schema, (const char *const[]){__VA_ARGS__},                                                  \
                sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), true)
#define INVALID(schema, ...)                                                                                 \
    check_texts(schema, (const char *const[]){__VA_ARGS__},                                                  \
                sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), false)

#endif
