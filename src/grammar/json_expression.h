/* json_expression.h: how JSON is spelled (RFC 8259), as expressions.
 *
 * Strings that a schema leaves free may use any escape; all that is compared with something (keys, constants,
 * patterns, formats) has one fixed spelling: escapes only where JSON demands them, the short ones where there
 * are such, so that nothing can come in under another name. A pair of surrogate escapes is one character;
 * halves of pairs are not written.
 *
 * What could go on for ever is bounded: integers have at most 18 digits, fractions 17, and exponents end at
 * 289, so that every number is within the range of a double. */
#ifndef QN_GRAMMAR_JSON_EXPRESSION_H
#define QN_GRAMMAR_JSON_EXPRESSION_H

#include "grammar/network.h"

#include <jansson.h>

typedef enum qn_json_whitespace {
    QN_JSON_COMPACT,  /* none */
    QN_JSON_FLEXIBLE, /* behind { [ , and before } ]: a blank, or a line end and at most 40 blanks or 20 tabs;
                       * behind a colon: a blank */
} qn_json_whitespace;

enum { QN_JSON_INTEGER_DIGITS = 18, QN_JSON_FRACTION_DIGITS = 17 };

/* What many places share has a rule, made when it is first asked for. */
typedef enum qn_json_rule {
    QN_JSON_SPACE,
    QN_JSON_CHARACTER,       /* of a string, in any spelling */
    QN_JSON_FIXED_CHARACTER, /* in the fixed spelling */
    QN_JSON_BEYOND_ASCII,    /* a character that is not ASCII */
    QN_JSON_STRING,
    QN_JSON_INTEGER,
    QN_JSON_NUMBER,
    QN_JSON_VALUE,
    QN_JSON_OBJECT,
    QN_JSON_ARRAY,
    QN_JSON_N_RULES,
} qn_json_rule;

enum { QN_JSON_SHARED_ESCAPES = 8 };

typedef struct qn_json_writer { /* zeroed but for e and whitespace: valid */
    qn_expressions *e;
    qn_json_whitespace whitespace;
    uint32_t rules[QN_JSON_N_RULES];          /* number + 1, 0: not made yet */
    uint64_t escapes[QN_JSON_SHARED_ESCAPES]; /* which characters: bit c, bits 32 and 33: quote, backslash */
    uint32_t escape_rules[QN_JSON_SHARED_ESCAPES];
    size_t n_escapes;
} qn_json_writer;

/* Each returns QN_NO_EXPRESSION, e->failed set, when the set of expressions is full or memory ends. */

qn_expression qn_json_shared(qn_json_writer *w, qn_json_rule rule);

/* A bracket or comma with the white space that may stand beside it, or ':'. */
qn_expression qn_json_punctuation(qn_json_writer *w, char mark);

/* One character of the set, in the fixed spelling. */
qn_expression qn_json_character(qn_json_writer *w, const qn_character_range *ranges, size_t n);

/* The texts of an expression over characters (no rules, no graphs), spelled within a string; without quotes.
 */
qn_expression qn_json_spelled(qn_json_writer *w, const qn_expressions *from, qn_expression x);

/* content within quotes. */
qn_expression qn_json_quoted(qn_json_writer *w, qn_expression content);

/* Those bytes (UTF-8) as a string, quotes included. */
qn_expression qn_json_constant_string(qn_json_writer *w, const char *bytes, size_t n_bytes);

/* A value as it stands, properties in its order. Deeper than 100 levels: e->failed. */
qn_expression qn_json_constant(qn_json_writer *w, const json_t *value);

/* What a rule means, min to max times: many repetitions share their states. */
qn_expression qn_json_repeated(qn_json_writer *w, uint32_t rule, uint32_t min, uint32_t max);

/* The shortest text that reads as the same double; what it says is a JSON number. */
void qn_json_print_real(char out[32], double value);

/* Any JSON value, or any object, as a network. */
quern_status qn_json_any_build(qn_network *n, bool object_only, qn_json_whitespace whitespace,
                               quern_error *err);

#endif
