/* matcher.h: which tokens can come next in a text of a language.
 *
 * A mask is found by following the bytes of all tokens at once from the place where the text stands, and is
 * kept for that place: it costs up to some hundred microseconds the first time and a look-up afterwards. The
 * idea to take tokens of plain text as known sets is that of slices in LLGuidance (Microsoft, 2025); here
 * they are tested on the automaton itself, so they hold for any grammar. */
#ifndef QN_GRAMMAR_MATCHER_H
#define QN_GRAMMAR_MATCHER_H

#include "grammar/automaton.h"
#include "grammar/token_table.h"

typedef struct qn_matcher qn_matcher; /* one thread at a time; one text at a time */

/* Both must outlive the matcher; other threads may use them meanwhile. */
quern_status qn_matcher_create(qn_matcher **out, const qn_network *network, const qn_token_table *table,
                               quern_error *err);
void qn_matcher_destroy(qn_matcher *m); /* NULL is fine */

/* A new text. drops_space: a blank that the first token begins with is not part of the text. */
void qn_matcher_begin(qn_matcher *m, bool drops_space);

typedef struct qn_token_mask {
    const uint64_t
        *bits;        /* [table->n_words] token i: bit i % 64 of word i / 64; until the matcher's next call */
    quern_token only; /* the one, if it is one; otherwise -1 */
    bool is_empty;
} qn_token_mask;

/* Tokens that can come next; where the text may end, those that end an answer too. NULL: no memory, or too
 * ambiguous (qn_matcher_status). It is empty where the vocabulary lacks the bytes to go on. */
const qn_token_mask *qn_matcher_mask(qn_matcher *m);

/* Moves on by a token. False: it was not allowed; nothing can come next then. Tokens that end an answer are
 * allowed where the text may end, and change nothing. */
bool qn_matcher_accept(qn_matcher *m, quern_token token);
/* Moves on by bytes, with the same result. */
bool qn_matcher_accept_bytes(qn_matcher *m, const char *bytes, size_t n_bytes);

bool qn_matcher_may_end(const qn_matcher *m);
bool qn_matcher_must_end(const qn_matcher *m); /* nothing but the end can come */
/* Whether the text can be made whole with so many tokens: by its shortest end, in the longest tokens that
 * spell it. And the same after one token more, without moving on. */
bool qn_matcher_can_end(qn_matcher *m, size_t n_tokens);
bool qn_matcher_can_end_after(qn_matcher *m, quern_token token, size_t n_tokens);
/* The first token of that end; where the text is whole, one that ends the answer. -1: there is none. */
quern_token qn_matcher_closing_token(qn_matcher *m);

quern_status qn_matcher_status(const qn_matcher *m, quern_error *err);

#endif
