/* automaton.h: a network followed byte by byte.
 *
 * Where one is in the text is a set of configurations: a state of the network, and the states to go on at
 * when the rules that are open have ended. Sets are numbered when they are first met, stacks share what they
 * have in common, and what a byte leads to is remembered (lazy determinization: Thompson 1968; Graham,
 * Harrison and Ruzzo 1980 for the sets of stacks). So the second time through a place costs one look-up.
 *
 * What is remembered is bounded: when it grows too large all is forgotten but the place one stands at. One
 * automaton belongs to one thread at a time; the network is shared. */
#ifndef QN_GRAMMAR_AUTOMATON_H
#define QN_GRAMMAR_AUTOMATON_H

#include "grammar/network.h"

typedef struct qn_automaton qn_automaton;

typedef uint32_t qn_place;  /* a set of configurations; good until qn_automaton_tidy */
enum { QN_PLACE_DEAD = 0 }; /* no text of the language goes on so */

quern_status qn_automaton_create(qn_automaton **out, const qn_network *network, quern_error *err);
void qn_automaton_destroy(qn_automaton *a); /* NULL is fine */

qn_place qn_automaton_begin(const qn_automaton *a);

/* Where that byte leads. When a limit is passed (more configurations at once than are allowed, or no memory)
 * it is DEAD, and qn_automaton_status tells. */
qn_place qn_automaton_step(qn_automaton *a, qn_place at, uint8_t byte);
/* [n_classes] where bytes lead, by network->class_of; QN_PLACE_UNKNOWN: a step tells. Until the next step
 * that was not known. */
const qn_place *qn_automaton_row(const qn_automaton *a, qn_place at);
#define QN_PLACE_UNKNOWN UINT32_MAX
quern_status qn_automaton_status(const qn_automaton *a, quern_error *err);

/* How much may be met between two calls of this is bounded, so that a hostile grammar cannot take long: call
 * it before each piece of work that has a bound of its own, such as one byte of a text, or one mask. */
void qn_automaton_rest(qn_automaton *a);
/* The same before a way to the end, which may have as many bytes as an answer: thirty times as much. */
void qn_automaton_rest_long(qn_automaton *a);

/* Whether the text so far is a whole text of the language. */
bool qn_automaton_accepts(const qn_automaton *a, qn_place at);
/* Whether nothing can follow. */
bool qn_automaton_is_final(const qn_automaton *a, qn_place at);

/* The fewest bytes that make the text a whole one; 0 where it is one, QN_NO_WAY at QN_PLACE_DEAD. */
uint32_t qn_automaton_shortest(const qn_automaton *a, qn_place at);
/* The first byte of such an end; only where qn_automaton_shortest is not 0 nor QN_NO_WAY. */
uint8_t qn_automaton_shortest_byte(qn_automaton *a, qn_place at);

/* ---- what a place is made of ---- */

typedef struct qn_configuration {
    uint32_t state, stack; /* a state that reads bytes; stacks are equal if and only if their numbers are */
} qn_configuration;

/* [*n], until the automaton's next call. */
const qn_configuration *qn_automaton_configurations(const qn_automaton *a, qn_place at, size_t *n);
/* The rule that begins with a state; QN_NO_RULE: none. */
uint32_t qn_automaton_rule_of(const qn_automaton *a, uint32_t state);
#define QN_NO_RULE UINT32_MAX
/* Where one stands after a text of such a rule, if that is how the text is read. */
qn_place qn_automaton_after_rule(qn_automaton *a, qn_place at, uint32_t rule);
/* Where texts of a rule alone begin: they are whole where it accepts. */
qn_place qn_automaton_rule_begin(qn_automaton *a, uint32_t rule);

/* Call between texts or tokens, never while places are held elsewhere: forgets if too much is remembered, and
 * gives the number that *at has now. True if it did. */
bool qn_automaton_tidy(qn_automaton *a, qn_place *at);

#endif
