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

/* Bytes that lead on from a place. */
static inline size_t walk_ways(qn_automaton *a, qn_place at, uint8_t ways[256])
{
    size_t n = 0;
    for (int byte = 0; byte < 256; byte++)
        if (qn_automaton_step(a, at, (uint8_t)byte) != QN_PLACE_DEAD) ways[n++] = (uint8_t)byte;
    return n;
}

/* Follows the choices; text gets the bytes. Whether they are a whole text when the choices or the steps end.
 */
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
        uint8_t ways[256];
        qn_automaton_tidy(a, &at);
        qn_automaton_rest(a);
        const size_t n = walk_ways(a, at, ways);
        if (qn_automaton_status(a, &err) != QUERN_OK) break;
        accepts = qn_automaton_accepts(a, at);
        walk_require(n > 0 || accepts || net->is_empty, "a place from which no text can be finished");
        walk_require((n == 0) == qn_automaton_is_final(a, at),
                     "a final place with a way on, or another without");
        if (n == 0 || (accepts && i >= in->n_choices)) break;
        text[*n_bytes] = (char)ways[i < in->n_choices ? in->choices[i] % n : 0];
        at = qn_automaton_step(a, at, (uint8_t)text[(*n_bytes)++]);
        accepts = qn_automaton_accepts(a, at);
    }
    accepts = accepts && qn_automaton_status(a, &err) == QUERN_OK;
    qn_automaton_destroy(a);
    return accepts;
}

#endif
