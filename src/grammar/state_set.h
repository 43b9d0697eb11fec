/* state_set.h: the states that languages are in at one place of a text. */
#ifndef QN_GRAMMAR_STATE_SET_H
#define QN_GRAMMAR_STATE_SET_H

#include "grammar/languages.h"

typedef struct qn_state_set {
    const qn_languages *l;
    uint32_t *items; /* [n] */
    size_t n;
    uint32_t *seen; /* [n_states] number of the set that it was last added to */
    uint32_t number;
    uint32_t belongs; /* bit i: what was read is a text of language i */
    uint32_t *end_of; /* [n_states] bits: the languages that end there */
} qn_state_set;

/* False: no memory; deinit is then still needed. */
bool qn_state_set_init(qn_state_set *s, const qn_languages *l);
void qn_state_set_deinit(qn_state_set *s);

static inline void qn_state_set_clear(qn_state_set *s)
{
    s->n = 0;
    s->number++;
    s->belongs = 0;
}

static inline void qn_state_set_add(qn_state_set *s, uint32_t state)
{
    if (s->seen[state] == s->number) return;
    s->seen[state] = s->number;
    s->items[s->n++] = state;
}

/* Adds what the empty text leads to, and keeps what reads characters. *work is counted down. */
void qn_state_set_close(qn_state_set *s, uint64_t *work);

/* Makes it the set before the first character. */
void qn_state_set_begin(qn_state_set *s, uint64_t *work);

#endif
