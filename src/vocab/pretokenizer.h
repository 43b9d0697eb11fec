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

/* What is done before the first pattern: digits in groups of three, counted from the end of a run, which
 * needs to know how long the run is before it can cut. */
typedef enum qn_digit_rule {
    QN_DIGITS_AS_PATTERNS_SAY,
    QN_DIGITS_GROUPED,             /* \\p{Nd}{1,3}(?=(?:\\p{Nd}{3})*(?!\\p{Nd})) */
    QN_DIGITS_GROUPED_AT_WORD_END, /* \\d{1,3}(?=(?:\\d{3})*\\b) */
    QN_DIGITS_GROUPED_IN_NUMBERS,  /* \\p{N}+, then before (?=(\\d{3})+(?!\\d)) */
} qn_digit_rule;

typedef struct qn_pretokenizer_row {
    const char *names[QN_PRETOKENIZER_NAMES];       /* ends with NULL */
    const char *patterns[QN_PRETOKENIZER_PATTERNS]; /* ends with NULL, if shorter */
    qn_digit_rule digits;
    bool is_raw;        /* no bytes as characters: the kind of "gemma4" */
    bool ignore_merges; /* a word that is a token as a whole needs no merges */
    bool add_bos;       /* where the file does not say */
    bool clean_spaces;  /* the published tokenizers tidy blanks before punctuation when detokenizing */
    bool nfc;           /* the published tokenizers normalize to form C first */
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
