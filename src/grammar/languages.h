/* languages.h: several regular languages of characters, whose texts are followed together. */
#ifndef QN_GRAMMAR_LANGUAGES_H
#define QN_GRAMMAR_LANGUAGES_H

#include "grammar/expression.h"

enum { QN_MAX_LANGUAGES = 32 };
#define QN_NO_LANGUAGE_EDGE UINT32_MAX

typedef struct qn_language_edge {
    uint32_t to, next; /* next: of the same state, or QN_NO_LANGUAGE_EDGE */
    uint32_t begin, n; /* its ranges; n is 0 for the empty text */
} qn_language_edge;

typedef struct qn_languages { /* zeroed: valid and empty */
    uint32_t *states;         /* [n_states] the first edge of each, or QN_NO_LANGUAGE_EDGE */
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

/* QUERN_OK where neither holds, or the failure. */
quern_status qn_languages_status(bool no_memory, bool too_large, quern_error *err);

#endif
