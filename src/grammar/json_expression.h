/* json_expression.h: how JSON is spelled (RFC 8259), as expressions.
 *
 * Strings that a schema leaves free may use any escape; all that is compared with something (keys, constants,
 * patterns, formats) has one fixed spelling: escapes only where JSON demands them, the short ones where there
 * are such, so that nothing can come in under another name. A pair of surrogate escapes is one character;
 * halves of pairs are not written.
 *
 * A notation (qn_json_notation) may write the same values in another way: strings between a text of its own,
 * with no escapes in them, and bare keys. Brackets, commas, colons, numbers, true, false and null are those
 * of JSON.
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

/* Where quote is there, a string is its characters as they are, but never quote_text; what holds that has no
 * text in the notation. Of a set of characters those below U+0020 other than tab, line feed and carriage
 * return are left out. A key that is a word (1 to 64 characters: letters and digits of ASCII, those of _.+-$/
 * and all beyond ASCII) is written bare, any other as a string; where nothing is said of keys, words may be
 * strings too. A greatest length beyond 2^16 is none. */
typedef struct qn_json_notation { /* zeroed: JSON's own */
    const char *quote;            /* begins and ends strings: bytes, as they are written */
    const char *quote_text; /* the same as it is read: UTF-8, at most QN_JSON_MAX_QUOTE characters, of which
                             * the first occurs once */
} qn_json_notation;

enum { QN_JSON_MAX_QUOTE = 8 };

enum { QN_JSON_INTEGER_DIGITS = 18, QN_JSON_FRACTION_DIGITS = 17 };

/* What many places share has a rule, made when it is first asked for. */
typedef enum qn_json_rule {
    QN_JSON_SPACE,
    QN_JSON_CHARACTER,       /* of a string, in any spelling */
    QN_JSON_FIXED_CHARACTER, /* in the fixed spelling */
    QN_JSON_BEYOND_ASCII,    /* a character that is not ASCII */
    QN_JSON_STRING,
    QN_JSON_KEY, /* of an object, any */
    QN_JSON_INTEGER,
    QN_JSON_NUMBER,
    QN_JSON_VALUE,
    QN_JSON_OBJECT,
    QN_JSON_ARRAY,
    QN_JSON_N_RULES,
} qn_json_rule;

enum { QN_JSON_SHARED_ESCAPES = 8, QN_JSON_SHARED_CLASSES = 8, QN_JSON_SHARED_RANGES = 16 };

typedef struct qn_json_class { /* a set of characters that has a rule */
    qn_character_range ranges[QN_JSON_SHARED_RANGES];
    size_t n;
    uint32_t rule;
} qn_json_class;

typedef struct qn_json_writer { /* zeroed but for e, whitespace and notation: valid */
    qn_expressions *e;
    qn_json_whitespace whitespace;
    qn_json_notation notation;
    uint32_t rules[QN_JSON_N_RULES];          /* number + 1, 0: not made yet */
    uint64_t escapes[QN_JSON_SHARED_ESCAPES]; /* which characters: bit c, bits 32 and 33: quote, backslash */
    uint32_t escape_rules[QN_JSON_SHARED_ESCAPES];
    size_t n_escapes;
    /* of another notation, likewise number + 1: see json_notation.c */
    uint32_t character_rules[QN_JSON_MAX_QUOTE];
    uint32_t block_rules[QN_JSON_MAX_QUOTE][QN_JSON_MAX_QUOTE];
    qn_json_class classes[QN_JSON_SHARED_CLASSES]; /* the latest: number i is at i modulo so many */
    size_t n_classes;
} qn_json_writer;

/* Each returns QN_NO_EXPRESSION, e->failed set, when the set of expressions is full or memory ends. */

qn_expression qn_json_shared(qn_json_writer *w, qn_json_rule rule);

/* A bracket or comma with the white space that may stand beside it, or ':'. */
qn_expression qn_json_punctuation(qn_json_writer *w, char mark);

/* One character of the set, in the fixed spelling. */
qn_expression qn_json_character(qn_json_writer *w, const qn_character_range *ranges, size_t n);

/* The texts of an expression over characters (no rules, no graphs), spelled within a string; without quotes.
 * In another notation it must not be one of which qn_json_may_hold_quote. */
qn_expression qn_json_spelled(qn_json_writer *w, const qn_expressions *from, qn_expression x);

/* content within quotes. */
qn_expression qn_json_quoted(qn_json_writer *w, qn_expression content);

/* A string of min to max (QN_ANY_NUMBER: any number of) characters, quotes included. */
qn_expression qn_json_counted_string(qn_json_writer *w, uint32_t min, uint32_t max);

/* Those bytes (UTF-8) as a string, quotes included, and as a key. */
qn_expression qn_json_constant_string(qn_json_writer *w, const char *bytes, size_t n_bytes);
qn_expression qn_json_constant_key(qn_json_writer *w, const char *bytes, size_t n_bytes);

/* A value as it stands, properties in its order. Deeper than 100 levels: e->failed. */
qn_expression qn_json_constant(qn_json_writer *w, const json_t *value);

/* What a rule means, min to max times: many repetitions share their states. */
qn_expression qn_json_repeated(qn_json_writer *w, uint32_t rule, uint32_t min, uint32_t max);

/* The shortest text that reads as the same double; what it says is a JSON number. */
void qn_json_print_real(char out[32], double value);

/* ---- json_notation.c: what is different where the notation is not JSON's ---- */

bool qn_json_is_other_notation(const qn_json_writer *w);

/* min to max characters without the quote's text. */
qn_expression qn_json_unquoted_text(qn_json_writer *w, uint32_t min, uint32_t max);

/* The words that are written bare as keys, as an expression over characters; whether those bytes are one; and
 * any key. */
qn_expression qn_json_words(qn_expressions *e);
bool qn_json_is_word(const char *bytes, size_t n_bytes);
qn_expression qn_json_word_or_string(qn_json_writer *w);

/* Whether those bytes hold the quote's text; whether a text of an expression over characters may: if not,
 * none does. False in JSON's own notation. */
bool qn_json_holds_quote(const qn_json_writer *w, const char *bytes, size_t n_bytes);
bool qn_json_may_hold_quote(const qn_json_writer *w, const qn_expressions *from);

/* Any JSON value, or any object, as a network. */
quern_status qn_json_any_build(qn_network *n, bool object_only, qn_json_whitespace whitespace,
                               quern_error *err);

#endif
