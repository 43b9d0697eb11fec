/* log_prob_list.c: see log_prob_list.h. */
#include "engine/log_prob_list.h"

#include "base/alloc.h"
#include "sample/log_probs.h"

#include <assert.h>
#include <string.h>

enum { MAX_ITEMS = 1 << 28 };

static bool grow(qn_log_prob_list *list, size_t need)
{
    if (need <= list->capacity) return true;
    size_t capacity = list->capacity, n_tops = list->capacity * list->n_top;
    /* the tops first: if there is no memory for the items, that has only made room */
    if (list->n_top > 0 && !qn_grow(&list->tops, &n_tops, need * list->n_top,
                                    (size_t)MAX_ITEMS * QUERN_MAX_TOP_LOG_PROBS, sizeof *list->tops))
        return false;
    if (!qn_grow(&list->items, &capacity, need, MAX_ITEMS, sizeof *list->items)) return false;
    list->capacity = list->n_top > 0 && n_tops / list->n_top < capacity ? n_tops / list->n_top : capacity;
    return true;
}

bool qn_log_prob_list_init(qn_log_prob_list *list, size_t capacity, size_t n_top)
{
    assert(n_top <= QUERN_MAX_TOP_LOG_PROBS);
    *list = (qn_log_prob_list){.n_top = n_top};
    return grow(list, capacity);
}

void qn_log_prob_list_deinit(qn_log_prob_list *list)
{
    qn_free(list->items);
    qn_free(list->tops);
    *list = (qn_log_prob_list){0};
}

size_t qn_log_prob_list_add(qn_log_prob_list *list, size_t position, quern_token token)
{
    assert(list->n < list->capacity);
    list->items[list->n] = (quern_token_log_probs){.position = position, .token = token};
    return list->n++;
}

void qn_log_prob_list_fill(qn_log_prob_list *list, size_t index, const float *logits, size_t n_vocab)
{
    quern_token_log_probs *item = &list->items[index];
    quern_log_prob *tops = list->n_top > 0 ? list->tops + index * list->n_top : NULL;
    quern_token ids[QUERN_MAX_TOP_LOG_PROBS];
    qn_log_softmax d;
    qn_log_softmax_init(&d, logits, n_vocab);
    item->log_prob = qn_log_softmax_of(&d, logits[item->token]);
    item->n_top = qn_most_likely(logits, n_vocab, ids, list->n_top);
    for (size_t i = 0; i < item->n_top; i++)
        tops[i] = (quern_log_prob){.token = ids[i], .log_prob = qn_log_softmax_of(&d, logits[ids[i]])};
}

bool qn_log_prob_list_append(qn_log_prob_list *list, const quern_token_log_probs *items, size_t n)
{
    if (n == 0) return true;
    if (!grow(list, list->n + n)) return false;
    memcpy(list->items + list->n, items, n * sizeof *items);
    for (size_t i = 0; i < n; i++)
        if (items[i].n_top > 0)
            memcpy(list->tops + (list->n + i) * list->n_top, items[i].top,
                   items[i].n_top * sizeof *list->tops);
    list->n += n;
    return true;
}

const quern_token_log_probs *qn_log_prob_list_view(qn_log_prob_list *list)
{
    for (size_t i = 0; i < list->n && list->n_top > 0; i++) list->items[i].top = list->tops + i * list->n_top;
    return list->items;
}
