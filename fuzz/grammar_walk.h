/* grammar_walk.h: what the fuzzers of grammars share: some bytes are the grammar, the others choose a way
 * through its language. */
#ifndef QN_FUZZ_GRAMMAR_WALK_H
#define QN_FUZZ_GRAMMAR_WALK_H

#include "grammar/automaton.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WALK_STEPS = 200 };

typedef struct walk_input {
    const char *source;
    const uint8_t *choices;
    size_t n_source, n_choices;
} walk_input;

static inline void walk_require(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* The grammar ends at the first byte 0x01 (which none needs), or with the data. */
static inline walk_input walk_split(const uint8_t *data, size_t size)
{
    const uint8_t *mark = size > 0 ? memchr(data, 1, size) : NULL;
    const size_t n = mark != NULL ? (size_t)(mark - data) : size;
    walk_input in = {.source = n > 0 ? (const char *)data : "", .n_source = n};
    if (mark != NULL && n + 1 < size) in.choices = data + n + 1, in.n_choices = size - n - 1;
    return in;
}

/* The first byte from `wanted` on, and around, that leads on from a place; -1: none does. */
static inline int walk_way(qn_automaton *a, qn_place at, uint8_t wanted)
{
    for (unsigned i = 0; i < 256; i++)
        if (qn_automaton_step(a, at, (uint8_t)(wanted + i)) != QN_PLACE_DEAD) return (uint8_t)(wanted + i);
    return -1;
}

/* Follows the choices, which are the bytes of a text where it is of the language; text gets what was
 * followed. Whether that is a whole text when the choices or the steps end. */
static inline bool walk(const qn_network *net, const walk_input *in, char text[WALK_STEPS], size_t *n_bytes)
{
    qn_automaton *a;
    quern_error err = {0};
    *n_bytes = 0;
    const quern_status s = qn_automaton_create(&a, net, &err);
    if (s != QUERN_OK) return walk_require(err.message[0] != '\0', "a refusal without a message"), false;
    qn_place at = qn_automaton_begin(a);
    bool accepts = qn_automaton_accepts(a, at);
    for (size_t i = 0; i < WALK_STEPS; i++) {
        qn_automaton_tidy(a, &at);
        qn_automaton_rest(a);
        const int way = walk_way(a, at, i < in->n_choices ? in->choices[i] : ' ');
        if (qn_automaton_status(a, &err) != QUERN_OK) break;
        accepts = qn_automaton_accepts(a, at);
        walk_require(way >= 0 || accepts || net->is_empty, "a place from which no text can be finished");
        walk_require((way < 0) == qn_automaton_is_final(a, at),
                     "a final place with a way on, or another without");
        if (way < 0 || (accepts && i >= in->n_choices)) break;
        text[(*n_bytes)++] = (char)way;
        at = qn_automaton_step(a, at, (uint8_t)way);
        accepts = qn_automaton_accepts(a, at);
    }
    accepts = accepts && qn_automaton_status(a, &err) == QUERN_OK;
    qn_automaton_destroy(a);
    return accepts;
}

#endif
