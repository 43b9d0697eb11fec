/* dry.c: see dry.h. The lengths of all repetitions are found in linear time with the Z function of the
 * reversed history (Gusfield, Algorithms on Strings, Trees and Sequences, 1997, 1.4). */
#include "sample/dry.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IS_HEAD = 1, IS_SINGLE = 2 };

static int by_first_token(const void *a, const void *b)
{
    const quern_token x = ((const qn_dry_breaker *)a)->tokens[0], y = ((const qn_dry_breaker *)b)->tokens[0];
    return (x > y) - (x < y);
}

static quern_status copy_breakers(qn_dry *d, const qn_dry_breaker *breakers, size_t n_breakers,
                                  size_t n_vocab, quern_error *err)
{
    size_t n_tokens = 0;
    for (size_t i = 0; i < n_breakers; i++) n_tokens += breakers[i].n_tokens;
    d->breakers = qn_calloc(n_breakers, sizeof *d->breakers);
    d->breaker_tokens = qn_calloc(n_tokens, sizeof *d->breaker_tokens);
    d->is_head = qn_calloc(n_vocab, sizeof *d->is_head);
    if (d->breakers == NULL || d->breaker_tokens == NULL || d->is_head == NULL)
        return qn_fail(err, QUERN_ERR_NOMEM, "sampler: no memory for %zu sequence breakers", n_breakers);
    quern_token *next = d->breaker_tokens;
    for (size_t i = 0; i < n_breakers; i++) {
        const qn_dry_breaker *b = &breakers[i];
        memcpy(next, b->tokens, b->n_tokens * sizeof *next);
        d->breakers[i] = (qn_dry_breaker){next, b->n_tokens};
        d->is_head[b->tokens[0]] |= b->n_tokens == 1 ? IS_HEAD | IS_SINGLE : IS_HEAD;
        next += b->n_tokens;
    }
    d->n_breakers = n_breakers;
    if (n_breakers > 0) qsort(d->breakers, n_breakers, sizeof *d->breakers, by_first_token);
    return QUERN_OK;
}

quern_status qn_dry_init(qn_dry *d, const qn_dry_params *params, size_t n_vocab,
                         const qn_dry_breaker *breakers, size_t n_breakers, quern_error *err)
{
    *d = (qn_dry){.params = *params};
    d->tokens = qn_malloc(params->last_n * sizeof *d->tokens);
    d->lengths = qn_malloc(params->last_n * sizeof *d->lengths);
    d->marked = qn_malloc(params->last_n * sizeof *d->marked);
    d->longest = qn_calloc(n_vocab, sizeof *d->longest);
    quern_status s = QUERN_OK;
    if (d->tokens == NULL || d->lengths == NULL || d->marked == NULL || d->longest == NULL)
        s = qn_fail(err, QUERN_ERR_NOMEM, "sampler: no memory to look %zu tokens back", params->last_n);
    if (s == QUERN_OK) s = copy_breakers(d, breakers, n_breakers, n_vocab, err);
    if (s != QUERN_OK) qn_dry_deinit(d);
    return s;
}

void qn_dry_deinit(qn_dry *d)
{
    qn_free(d->tokens);
    qn_free(d->lengths);
    qn_free(d->marked);
    qn_free(d->longest);
    qn_free(d->breakers);
    qn_free(d->breaker_tokens);
    qn_free(d->is_head);
    *d = (qn_dry){0};
}

/* How many tokens the breaker that begins at tokens[i] has, read towards the end of the text; 0: none does.
 * The longest one counts. */
static size_t breaker_at(const qn_dry *d, size_t i)
{
    const quern_token head = d->tokens[i];
    if (d->is_head[head] == 0) return 0;
    size_t low = 0, high = d->n_breakers, longest = 0;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (d->breakers[middle].tokens[0] < head) low = middle + 1;
        else high = middle;
    }
    for (; low < d->n_breakers && d->breakers[low].tokens[0] == head; low++) {
        const qn_dry_breaker *b = &d->breakers[low];
        if (b->n_tokens <= longest || b->n_tokens > i + 1) continue;
        size_t same = 1;
        while (same < b->n_tokens && b->tokens[same] == d->tokens[i - same]) same++;
        if (same == b->n_tokens) longest = same;
    }
    return longest;
}

/* Tokens after the last breaker: no repetition is longer than that. */
static size_t length_since_breaker(const qn_dry *d, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const size_t length = breaker_at(d, i);
        if (length > 0) return i + 1 - length;
    }
    return n;
}

/* lengths[k] = how many tokens from tokens[0] on equal those from tokens[k] on (last token first): the text
 * ends with that many tokens which also stand k places earlier. [left, right) is the match that reaches
 * furthest. */
static void match_lengths(const quern_token *tokens, uint32_t *lengths, size_t n)
{
    size_t left = 0, right = 0;
    for (size_t k = 1; k < n; k++) {
        size_t length = k < right ? qn_min_size(lengths[k - left], right - k) : 0;
        while (k + length < n && tokens[length] == tokens[k + length]) length++;
        lengths[k] = (uint32_t)length;
        if (k + length > right) left = k, right = k + length;
    }
}

static void mark(qn_dry *d, quern_token token, uint32_t length)
{
    if (d->longest[token] == 0) d->marked[d->n_marked++] = token;
    if (d->longest[token] <= length) d->longest[token] = length + 1;
}

static double cost(const qn_dry *d, quern_token token)
{
    if (d->is_head[token] & IS_SINGLE) return 0.0;
    const double exponent = (double)d->longest[token] - 1.0 - (double)d->params.allowed_length;
    return fmin((double)d->params.multiplier * pow((double)d->params.base, exponent), FLT_MAX);
}

void qn_dry_apply(qn_dry *d, const qn_history *h, const quern_token *ids, float *logits, size_t n)
{
    const size_t n_history = qn_min_size(qn_history_size(h), d->params.last_n),
                 allowed = d->params.allowed_length;
    if (n_history <= allowed) return;
    for (size_t i = 0; i < n_history; i++) d->tokens[i] = qn_history_last(h, i);
    const size_t limit = length_since_breaker(d, n_history);
    if (limit < allowed) return;
    match_lengths(d->tokens, d->lengths, n_history);
    for (size_t k = 1; k < n_history; k++) { /* tokens[k - 1] is what followed then */
        const size_t length = qn_min_size(d->lengths[k], limit);
        if (length >= allowed) mark(d, d->tokens[k - 1], (uint32_t)length);
    }
    if (ids == NULL) {
        for (size_t i = 0; i < d->n_marked; i++)
            logits[d->marked[i]] = qn_logit_minus(logits[d->marked[i]], cost(d, d->marked[i]));
    } else {
        for (size_t i = 0; i < n; i++)
            if (d->longest[ids[i]] > 0) logits[i] = qn_logit_minus(logits[i], cost(d, ids[i]));
    }
    for (size_t i = 0; i < d->n_marked; i++) d->longest[d->marked[i]] = 0;
    d->n_marked = 0;
}
