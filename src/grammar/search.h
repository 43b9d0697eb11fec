/* search.h: text as far as another text, and text in which another does not occur, by the automaton of the
 * string search of Knuth, Morris and Pratt (1977). */
#ifndef QN_GRAMMAR_SEARCH_H
#define QN_GRAMMAR_SEARCH_H

#include "grammar/expression.h"

enum {
    QN_MAX_SEARCH = 128
}; /* characters that are searched for; what is longer is searched by these alone */

/* Any text that ends with the first occurrence of those bytes (UTF-8, not empty) in it. */
qn_expression qn_search_up_to(qn_expressions *e, const char *bytes, size_t n_bytes);

/* Any text in which they do not occur. */
qn_expression qn_search_without(qn_expressions *e, const char *bytes, size_t n_bytes);

#endif
