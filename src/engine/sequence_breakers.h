/* sequence_breakers.h: DRY's sequence breakers, given as text, as the tokens that spell them. */
#ifndef QN_ENGINE_SEQUENCE_BREAKERS_H
#define QN_ENGINE_SEQUENCE_BREAKERS_H

#include "sample/dry.h"
#include "vocab/vocab.h"

typedef struct qn_sequence_breakers {
    qn_dry_breaker *items; /* [n_items] */
    size_t n_items, items_capacity;
    quern_token *tokens; /* of all items, in order */
    size_t n_tokens, tokens_capacity;
} qn_sequence_breakers;

/* A token breaks where its text contains a breaker; a token whose text ends within a breaker breaks if the
 * tokens of the rest follow. QUERN_ERR_ARGUMENT names a text that cannot be used. */
quern_status qn_sequence_breakers_init(qn_sequence_breakers *b, const qn_vocab *v, const char *const *texts,
                                       size_t n_texts, quern_error *err);
void qn_sequence_breakers_deinit(qn_sequence_breakers *b);

#endif
