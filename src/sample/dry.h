/* dry.h: "Don't Repeat Yourself", a penalty on tokens that would prolong a repetition (p-e-w 2024,
 * text-generation-webui pull request 5677).
 *
 * If the text ends with n tokens that have occurred before, the token which followed them then costs
 * multiplier * base^(n - allowed_length) now, for the longest such n of at least allowed_length. A sequence
 * breaker (a line end, a quotation mark, ...) ends what counts as one repetition. */
#ifndef QN_SAMPLE_DRY_H
#define QN_SAMPLE_DRY_H

#include "sample/history.h"

/* Tokens in order. More than one: a breaker whose text is spread over several tokens. */
typedef struct qn_dry_breaker {
    const quern_token *tokens;
    size_t n_tokens;
} qn_dry_breaker;

typedef struct qn_dry_params {
    float multiplier, base;
    size_t allowed_length, last_n;
} qn_dry_params;

typedef struct qn_dry {
    qn_dry_params params;
    quern_token *tokens; /* [last_n] the history, last token first */
    uint32_t *lengths;   /* [last_n] of the repetition that ends there */
    uint32_t *longest;   /* [n_vocab] 1 + length that a token would prolong, 0 between calls */
    quern_token *marked; /* [last_n] tokens whose `longest` is not 0 */
    size_t n_marked;
    qn_dry_breaker *breakers; /* [n_breakers] by first token */
    quern_token *breaker_tokens;
    size_t n_breakers;
    uint8_t *is_head; /* [n_vocab] 1: begins a breaker, 3: is one by itself */
} qn_dry;

/* Breakers are copied; each has at least one token, all within the vocabulary. */
quern_status qn_dry_init(qn_dry *d, const qn_dry_params *params, size_t n_vocab,
                         const qn_dry_breaker *breakers, size_t n_breakers, quern_error *err);
void qn_dry_deinit(qn_dry *d);

/* ids NULL: logits are those of the whole vocabulary. */
void qn_dry_apply(qn_dry *d, const qn_history *h, const quern_token *ids, float *logits, size_t n);

#endif
