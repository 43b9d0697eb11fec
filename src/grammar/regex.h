/* regex.h: regular expressions as expressions: the dialect of ECMA-262 with Unicode characters, as the
 * keyword "pattern" of JSON Schema means it.
 *
 * There are: | ( ) (?: ) (?<name> ), classes with ranges and \d \w \s \D \W \S \p{L} (general categories),
 * the escapes \n \t \r \f \v \0 \xHH \uHHHH (in pairs too) \u{H...} \cX, . (all but line ends), * + ? {m}
 * {m,} {m,n} (lazy ones mean the same language), ^ and $ at an edge of the whole, of a branch, or of a group
 * there. Not regular, or of no meaning for a language: lookaround, backreferences, \b, anchors in a middle.
 */
#ifndef QN_GRAMMAR_REGEX_H
#define QN_GRAMMAR_REGEX_H

#include "grammar/network.h"

typedef enum qn_regex_match {
    QN_REGEX_WHOLE,  /* the expression is the text */
    QN_REGEX_SEARCH, /* it is found in the text: anything may stand around it, unless anchors forbid it */
} qn_regex_match;

/* Adds the language of a pattern in UTF-8. QUERN_ERR_ARGUMENT with the position (in characters, from 1) for
 * what is no regular expression, or is not supported; QUERN_ERR_LIMIT, _NOMEM. */
quern_status qn_regex_add(qn_expressions *e, const char *pattern, size_t n_bytes, qn_regex_match match,
                          qn_expression *out, quern_error *err);

/* The same as a network of its own. */
quern_status qn_regex_build(qn_network *n, const char *pattern, size_t n_bytes, qn_regex_match match,
                            quern_error *err);

#endif
