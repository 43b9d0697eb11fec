/* pattern_automaton.h: a regular expression as a table of states, which takes one step a character.
 *
 * Characters that no set of the pattern tells apart are one class. A state is an ordered list of places in
 * the network of the pattern, the preferred ones first (as in Cox 2010, "Regular Expression Matching in the
 * Wild"), so the match found is the one that a backtracking matcher finds first. What may follow a place is
 * decided by the next class, of which the end of the text is one: a match is therefore noticed one step late.
 * Immutable once made: threads share it. */
#ifndef QN_VOCAB_AUTOMATON_H
#define QN_VOCAB_AUTOMATON_H

#include "base/error.h"
#include "base/utf8.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    QN_PATTERN_AUTOMATON_DIRECT =
        0x40000, /* characters with a class in a page; what is beyond is hardly assigned */
    QN_PATTERN_AUTOMATON_PAGE = 256,
    QN_PATTERN_AUTOMATON_END = 0, /* the class of the end */
    QN_PATTERN_AUTOMATON_DEAD = 0 /* the state that nothing leaves */
};

/* Whether a state stays what it is over letters of ASCII, so that a run of them need not be walked. */
typedef enum qn_pattern_automaton_run {
    QN_RUN_NONE,
    QN_RUN_SMALL_LETTERS,
    QN_RUN_LETTERS
} qn_pattern_automaton_run;

typedef struct qn_pattern_automaton { /* zeroed: valid to deinit */
    uint8_t ascii[128];               /* classes */
    uint8_t *pages;                   /* [n_pages][QN_PATTERN_AUTOMATON_PAGE] classes */
    uint16_t page_of[QN_PATTERN_AUTOMATON_DIRECT / QN_PATTERN_AUTOMATON_PAGE];
    uint8_t beyond[32];   /* classes by category */
    bool begins[256];     /* whether a match can begin with a character of the class */
    bool begins_with_any; /* all of them true */
    uint16_t *steps;      /* [n_states][stride] next state << 1 | a match ended before this character */
    uint8_t *runs;        /* [n_states] qn_pattern_automaton_run */
    uint16_t starts[256]; /* first states by class of the character before; END: none */
    size_t n_pages, n_states, n_classes;
    unsigned stride_bits;
} qn_pattern_automaton;

/* categories: of the characters below QN_PATTERN_AUTOMATON_DIRECT, numbered as in utf8proc; read during the
 * call only. */
quern_status qn_pattern_automaton_init(qn_pattern_automaton *a, const char *pattern,
                                       const uint8_t *categories, quern_error *err);
void qn_pattern_automaton_deinit(qn_pattern_automaton *a);

uint8_t qn_pattern_automaton_class_beyond(const qn_pattern_automaton *a, uint32_t character);

/* The class of the character that the text begins with, and its length; END: there is none, or it is invalid.
 */
static inline uint8_t qn_pattern_automaton_class(const qn_pattern_automaton *a, const char *text,
                                                 size_t n_bytes, size_t *length)
{
    uint32_t c;
    if (n_bytes == 0) return *length = 0, QN_PATTERN_AUTOMATON_END;
    if ((uint8_t)text[0] < 0x80) return *length = 1, a->ascii[(uint8_t)text[0]];
    *length = qn_utf8_decode(text, n_bytes, &c);
    if (*length == 0) return QN_PATTERN_AUTOMATON_END;
    if (c >= QN_PATTERN_AUTOMATON_DIRECT) return qn_pattern_automaton_class_beyond(a, c);
    return a->pages[(size_t)a->page_of[c / QN_PATTERN_AUTOMATON_PAGE] * QN_PATTERN_AUTOMATON_PAGE +
                    c % QN_PATTERN_AUTOMATON_PAGE];
}

typedef struct qn_pattern_automaton_place {
    size_t at;
    uint8_t before; /* class of the character before */
} qn_pattern_automaton_place;

/* Moves to the next character that a match can begin with, or to the end or an invalid byte. */
static inline void qn_pattern_automaton_skip(const qn_pattern_automaton *a, const char *text, size_t n_bytes,
                                             qn_pattern_automaton_place *place)
{
    if (a->begins_with_any) return;
    for (size_t length;;) {
        const uint8_t class = qn_pattern_automaton_class(a, text + place->at, n_bytes - place->at, &length);
        if (class == QN_PATTERN_AUTOMATON_END || a->begins[class]) return;
        place->at += length;
        place->before = class;
    }
}

/* Moves to the end of the match that begins at *place. False: there is none (an empty one is none). */
bool qn_pattern_automaton_match(const qn_pattern_automaton *a, const char *text, size_t n_bytes,
                                qn_pattern_automaton_place *place);

/* Whether `next` may cut a text of ASCII that is a whole match of `a`. True where that is not sure, or where
 * there is no memory to find out. */
bool qn_pattern_automaton_may_cut(const qn_pattern_automaton *a, const qn_pattern_automaton *next);

#endif
