/* lookup_draft.h: guesses what comes next from text that was there before (prompt lookup: Saxena 2023;
 * suffix decoding: Oliaro et al. 2024, arXiv:2411.04975). Guesses are checked by the model, so they change
 * how long an answer takes and nothing else (contract C4).
 *
 * An index over a row of tokens, appended to one by one. For the end of the row, or of another row, it finds
 * the places where the longest equal run of tokens ends; what followed there, by majority of the latest
 * places, is the guess. All memory is taken at creation. */
#ifndef QN_ENGINE_LOOKUP_DRAFT_H
#define QN_ENGINE_LOOKUP_DRAFT_H

#include "quern.h"

typedef struct qn_lookup_index qn_lookup_index;

typedef struct qn_lookup_params {
    size_t capacity; /* tokens kept, 1 to 2^28; older ones are forgotten */
    size_t least;    /* tokens that must be equal before a guess is made; 2 to 32 */
} qn_lookup_params;

typedef struct qn_lookup_guess {
    size_t n_tokens;  /* of the guess */
    size_t n_equal;   /* of the longest run that was found, cut at 32 */
    double agreement; /* of the places that were looked at, 0 to 1: the part that goes on like the guess at
                         its first token; a place weighs the square of its run. 0 without a guess */
    double
        certainty; /* how likely the first token is, 0 to 1: agreement, less where runs are short and few */
} qn_lookup_guess;

/* What creation will take; 0 if it would refuse the parameters. */
size_t qn_lookup_index_bytes(const qn_lookup_params *params);
/* QUERN_ERR_ARGUMENT names the parameter that is out of range. */
quern_status qn_lookup_index_create(qn_lookup_index **out, const qn_lookup_params *params, quern_error *err);
void qn_lookup_index_destroy(qn_lookup_index *x); /* NULL is fine */
/* Forgets everything; takes no time. */
void qn_lookup_index_reset(qn_lookup_index *x);
void qn_lookup_index_append(qn_lookup_index *x, quern_token token);
/* Ends a text: nothing that is appended later follows it. */
void qn_lookup_index_end(qn_lookup_index *x);

/* What may follow a text that ends with tokens[n_tokens - 1] (the row itself, or another text): at most
 * `most` tokens to guess. Only the last 32 of tokens are looked at, so a caller need not give more. Several
 * threads may ask at once as long as none appends. */
qn_lookup_guess qn_lookup_index_guess(const qn_lookup_index *x, const quern_token *tokens, size_t n_tokens,
                                      quern_token *guess, size_t most);

#endif
