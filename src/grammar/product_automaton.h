/* product_automaton.h: the product automaton of several languages (Rabin and Scott 1959, "Finite automata and
 * their decision problems"). Each state of it tells which of the languages the text so far belongs to, so it
 * serves for intersections, for complements, and for telling the texts of one language from those of another.
 */
#ifndef QN_GRAMMAR_PRODUCT_AUTOMATON_H
#define QN_GRAMMAR_PRODUCT_AUTOMATON_H

#include "grammar/languages.h"

typedef struct qn_product_edge {
    uint32_t from, to;
    uint32_t first, last; /* characters */
} qn_product_edge;

typedef struct qn_product_automaton { /* state 0 is where no language goes on; there all characters stay */
    qn_product_edge *edges;           /* by state; characters without an edge lead to 0 */
    size_t n_edges, edge_capacity;
    uint32_t *belongs;    /* [n_states] bit i: the text so far belongs to language i */
    uint32_t *first_edge; /* [n_states + 1] */
    size_t n_states, state_capacity;
    uint32_t begin;
} qn_product_automaton;

/* QUERN_ERR_LIMIT: too many states, or too much work; _NOMEM. */
quern_status qn_product_automaton_build(qn_product_automaton *p, const qn_languages *l, uint64_t *work,
                                        quern_error *err);
void qn_product_automaton_deinit(qn_product_automaton *p);

/* The texts for which (belongs & care) == want, as an expression in e. spell makes that of a set of
 * characters. */
qn_expression qn_product_automaton_expression(
    const qn_product_automaton *p, uint32_t care, uint32_t want, qn_expressions *e,
    qn_expression (*spell)(void *user, const qn_character_range *ranges, size_t n), void *user);

#endif
