/* pretokenizer.h: cuts text into words, within which byte-pair merging works.
 *
 * A row of data names the pre-tokenizers (tokenizer.ggml.pre) that share the same regular expressions.
 * Where a row has several, each cuts the pieces that the one before it left, what it matches and what
 * lies between alike. Each is made into an automaton, which takes a step a character. */
#ifndef QN_VOCAB_PRETOKENIZER_H
#define QN_VOCAB_PRETOKENIZER_H

#include "base/error.h"

#include <stdbool.h>

enum { QN_PRETOKENIZER_PATTERNS = 6, QN_PRETOKENIZER_NAMES = 16 };

typedef struct qn_pretokenizer_row {
    const char *names[QN_PRETOKENIZER_NAMES];       /* ends with NULL */
    const char *patterns[QN_PRETOKENIZER_PATTERNS]; /* ends with NULL, if shorter */
    bool ignore_merges;                             /* a word that is a token as a whole needs no merges */
    bool add_bos;                                   /* where the file does not say */
    bool clean_spaces; /* the published tokenizers tidy blanks before punctuation when detokenizing */
    bool nfc;          /* the published tokenizers normalize to form C first */
} qn_pretokenizer_row;

/* The row of a name, or NULL. */
const qn_pretokenizer_row *qn_pretokenizer_find(const char *name, size_t n_bytes);
/* Row number i, or NULL past the last one. */
const qn_pretokenizer_row *qn_pretokenizer_row_at(size_t i);

typedef struct qn_pretokenizer qn_pretokenizer;
quern_status qn_pretokenizer_create(qn_pretokenizer **out, const qn_pretokenizer_row *row, quern_error *err);
void qn_pretokenizer_destroy(qn_pretokenizer *p); /* NULL is fine */

typedef bool qn_word_fn(void *user, const char *word, size_t n_bytes);
/* Hands all words of the text, in order and without gaps, to fn; invalid bytes are words of their own.
 * False as soon as fn returns false. */
bool qn_pretokenizer_split(const qn_pretokenizer *p, const char *text, size_t n_bytes, qn_word_fn *fn,
                           void *user);

#endif
