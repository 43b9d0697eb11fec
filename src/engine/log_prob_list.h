/* log_prob_list.h: log-probabilities of tokens in a row, each with its most likely tokens: what a step made,
 * or what waits to be fetched. Items and tops lie in two blocks; as these may move when they grow, the items'
 * pointers hold from qn_log_prob_list_view until the next addition. */
#ifndef QN_ENGINE_LOG_PROB_LIST_H
#define QN_ENGINE_LOG_PROB_LIST_H

#include "quern.h"

typedef struct qn_log_prob_list {
    quern_token_log_probs *items; /* [n], room for [capacity] */
    quern_log_prob *tops;         /* [n_top] of each item */
    size_t n, capacity, n_top;
} qn_log_prob_list;

/* An empty list with room for so many items, n_top for each at most QUERN_MAX_TOP_LOG_PROBS; 0 takes no
 * memory. False: no memory. */
bool qn_log_prob_list_init(qn_log_prob_list *list, size_t capacity, size_t n_top);
void qn_log_prob_list_deinit(qn_log_prob_list *list);

/* A further item without values, for which there is room (capacity); returns its index. */
size_t qn_log_prob_list_add(qn_log_prob_list *list, size_t position, quern_token token);
/* Fills it in from the row of n_vocab logits that the token was, or could have been, drawn from. Different
 * items may be filled in by different threads at once. */
void qn_log_prob_list_fill(qn_log_prob_list *list, size_t index, const float *logits, size_t n_vocab);

/* Adds copies of what another list of the same n_top gave (qn_log_prob_list_view); grows. False: no memory,
 * and nothing has changed. */
bool qn_log_prob_list_append(qn_log_prob_list *list, const quern_token_log_probs *items, size_t n);

/* The items, their pointers set. */
const quern_token_log_probs *qn_log_prob_list_view(qn_log_prob_list *list);

#endif
