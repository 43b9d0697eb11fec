/* languages.h: several regular languages of characters, followed together: their product automaton (Rabin and
 * Scott 1959, "Finite automata and their decision problems"). Each state of it tells which of the languages
 * the text so far belongs to, so it serves for intersections, for complements, and for telling the texts of
 * one language from those of another. */
#ifndef QN_GRAMMAR_LANGUAGES_H
#define QN_GRAMMAR_LANGUAGES_H

#include "grammar/expression.h"

enum { QN_MAX_LANGUAGES = 32 };

typedef struct qn_language_edge {
    uint32_t to, next; /* next: of the same state, or UINT32_MAX */
    uint32_t begin, n; /* its ranges; n is 0 for the empty text */
} qn_language_edge;

typedef struct qn_languages { /* zeroed: valid and empty */
    uint32_t *states;         /* [n_states] the first edge of each */
    size_t n_states, state_capacity;
    qn_language_edge *edges;
    size_t n_edges, edge_capacity;
    qn_character_range *ranges;
    size_t n_ranges, range_capacity;
    uint32_t begins[QN_MAX_LANGUAGES], ends[QN_MAX_LANGUAGES]; /* states */
    size_t n_languages;
    bool too_large, no_memory;
} qn_languages;

/* Adds the language of an expression without rules and graphs; the languages are numbered from 0. What goes
 * wrong is kept in too_large and no_memory. */
void qn_languages_add(qn_languages *l, const qn_expressions *e, qn_expression x);
void qn_languages_deinit(qn_languages *l);

/* Which languages (bit i: language i) the UTF-8 text belongs to. *work is what may still be done: it is
 * counted down, and at 0 the answer is QUERN_ERR_LIMIT. */
quern_status qn_languages_match(const qn_languages *l, const char *text, size_t n_bytes, uint64_t *work,
                                uint32_t *belongs, quern_error *err);

typedef struct qn_product_edge {
    uint32_t from, to;
    uint32_t first, last; /* characters */
} qn_product_edge;

typedef struct qn_product { /* state 0 is where no language goes on; there all characters stay */
    qn_product_edge *edges; /* by state; characters without an edge lead to 0 */
    size_t n_edges, edge_capacity;
    uint32_t *belongs;    /* [n_states] bit i: the text so far belongs to language i */
    uint32_t *first_edge; /* [n_states + 1] */
    size_t n_states, state_capacity;
    uint32_t begin;
} qn_product;

/* QUERN_ERR_LIMIT: too many states, or too much work; _NOMEM. */
quern_status qn_product_build(qn_product *p, const qn_languages *l, uint64_t *work, quern_error *err);
void qn_product_deinit(qn_product *p);

/* The texts for which (belongs & care) == want, as an expression in e. spell makes that of a set of
 * characters. */
qn_expression qn_product_expression(const qn_product *p, uint32_t care, uint32_t want, qn_expressions *e,
                                    qn_expression (*spell)(void *user, const qn_character_range *ranges,
                                                           size_t n),
                                    void *user);

#endif
