/* plain_text.h: how much text of a simple kind may come next whatever it is, so that tokens of that kind need
 * not be followed one by one. */
#ifndef QN_GRAMMAR_PLAIN_TEXT_H
#define QN_GRAMMAR_PLAIN_TEXT_H

#include "grammar/automaton.h"

typedef enum qn_plain_kind {
    QN_PLAIN_WORDS, /* letters and digits of ASCII */
    QN_PLAIN_ANY,   /* characters that JSON need not escape, words among them */
    QN_PLAIN_KINDS,
} qn_plain_kind;

enum { QN_PLAIN_MOST = 32 /* characters that are looked ahead */ };

typedef struct qn_plain_text qn_plain_text; /* belongs to one automaton */

/* Both must outlive it. NULL: no memory. */
qn_plain_text *qn_plain_text_create(qn_automaton *automaton, const qn_network *network);
void qn_plain_text_destroy(qn_plain_text *p); /* NULL is fine */

/* To be called when qn_automaton_tidy has forgotten. */
void qn_plain_text_forget(qn_plain_text *p);

/* The greatest number of characters, at most QN_PLAIN_MOST, so that all texts of the kind with so many may
 * come next. *is_all: and none with more, unless there is no bound at all. */
unsigned qn_plain_text_run(qn_plain_text *p, qn_place from, qn_plain_kind kind, bool *is_all);

/* Characters of a text if it is of that kind and not empty; otherwise 0. */
size_t qn_plain_count(const char *bytes, size_t n_bytes, qn_plain_kind kind);

#endif
