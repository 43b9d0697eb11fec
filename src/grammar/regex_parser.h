/* regex_parser.h: what the files that read regular expressions share. */
#ifndef QN_GRAMMAR_REGEX_PARSER_H
#define QN_GRAMMAR_REGEX_PARSER_H

#include "grammar/expression.h"

#include <string.h>

typedef struct regex_parser {
    const char *text, *at, *end;
    qn_expressions *e;
    struct regex_node *nodes; /* regex.c */
    size_t n_nodes, node_capacity;
    qn_character_range *ranges; /* of the class that is being read */
    size_t n_ranges, range_capacity;
    int nesting, n_categories;
    quern_status status;
    quern_error *err;
} regex_parser;

static inline bool regex_is_at(const regex_parser *p, const char *text)
{
    const size_t n = strlen(text);
    return (size_t)(p->end - p->at) >= n && memcmp(p->at, text, n) == 0;
}

/* ---- regex.c ---- */

/* Each returns false and keeps the first failure; the first two tell the place, p->at if no other is given.
 */
bool regex_fail_at(regex_parser *p, const char *at, const char *what);
bool regex_fail(regex_parser *p, const char *what);
bool regex_fail_limit(regex_parser *p, const char *what);
bool regex_fail_memory(regex_parser *p);

/* ---- regex_class.c ---- */

/* Reads what stands for one character, whatever it is: itself, an escape, '.', or a class in brackets. On
 * failure QN_NO_EXPRESSION, p->status or e->failed set. */
qn_expression regex_parse_class(regex_parser *p);

#endif
