/* runner_slots.c: who runs (engine/runner_parts.h): requests come into slots and leave them, with what is
 * known of their tokens, and make room for each other. */
#include "engine/runner_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <string.h>

size_t qn_slot_length(const qn_runner *r, const qn_slot *s)
{
    return qn_kv_cache_length(r->cache, s->seq);
}

size_t qn_slot_left(const qn_runner *r, const qn_slot *s)
{
    return s->request->n_tokens - qn_slot_length(r, s);
}

bool qn_slot_streams(const qn_runner *r, const qn_slot *s)
{
    return !s->request->embeds && qn_slot_left(r, s) <= QN_ANSWER_STEP;
}

bool qn_runner_streams(const qn_runner *r)
{
    for (size_t i = 0; i < r->n_active; i++)
        if (qn_slot_streams(r, r->by_turn[i])) return true;
    return false;
}

static bool goes_before(const quern_request *a, const quern_request *b)
{
    if (a->entry.priority != b->entry.priority) return a->entry.priority < b->entry.priority;
    return a->entry.arrived_ns < b->entry.arrived_ns;
}

static void take_turn(qn_runner *r, qn_slot *s)
{
    size_t i = r->n_active++;
    for (; i > 0 && goes_before(s->request, r->by_turn[i - 1]->request); i--)
        r->by_turn[i] = r->by_turn[i - 1];
    r->by_turn[i] = s;
}

static void leave_turn(qn_runner *r, const qn_slot *s)
{
    size_t i = 0;
    while (r->by_turn[i] != s) i++;
    r->n_active--;
    for (; i < r->n_active; i++) r->by_turn[i] = r->by_turn[i + 1];
}

/* Keeps what was computed, for whoever needs it again, and frees the slot. */
static quern_request *vacate(qn_runner *r, qn_slot *s)
{
    quern_request *request = s->request;
    const size_t length = qn_slot_length(r, s);
    if (!request->is_apart)
        qn_prefix_tree_keep(r->tree, request->name_space, request->tokens, length, s->seq, true);
    if (r->keeper != NULL && !request->embeds)
        qn_page_keeper_save(r->keeper, request->name_space, request->tokens, length, s->seq);
    qn_kv_cache_truncate(r->cache, s->seq, 0);
    qn_slot_forget_text(r, s);
    leave_turn(r, s);
    s->request = NULL;
    return request;
}

void qn_slot_end(qn_runner *r, qn_slot *s, quern_status status, quern_error *err)
{
    quern_request *request = vacate(r, s);
    qn_request_hold(request);
    r->host.ended(r->host.user, request); /* before it is told: then the model may be idle, and given back */
    qn_request_end(request, status, err);
    qn_request_let_go(request);
}

static void preempt(qn_runner *r, qn_slot *s)
{
    quern_request *request = vacate(r, s);
    request->result.n_preempted++;
    request->vacated_ns = qn_clock_ns();
    r->host.put_back(r->host.user, request);
}

/* Pages that a request needs beside those of the first n_others that run: an answer shares its prompt. */
static size_t pages_beside(const qn_runner *r, const quern_request *request, size_t n_others)
{
    for (size_t i = 0; i < n_others; i++)
        if (r->by_turn[i]->request->first == request->first && request->result.n_dropped == 0)
            return (request->n_tokens - request->n_prompt) / QN_PAGE_POSITIONS + 2;
    return request->n_tokens / QN_PAGE_POSITIONS + 1;
}

bool qn_runner_has_slot(const qn_runner *r, const quern_request *request)
{
    const bool may_fetch = r->keeper != NULL && !request->was_fetched;
    return r->n_active + (may_fetch ? r->n_fetching : 0) < r->n_slots;
}

/* Room for a request beside the first n_others that run. */
static bool has_room_beside(const qn_runner *r, const quern_request *request, size_t n_others)
{
    if (n_others == 0) return true;
    size_t wanted = pages_beside(r, request, n_others);
    for (size_t i = 0; i < n_others; i++) wanted += pages_beside(r, r->by_turn[i]->request, i);
    return wanted <= r->setup.cache.n_positions / QN_PAGE_POSITIONS;
}

bool qn_runner_has_room(const qn_runner *r, const quern_request *request)
{
    return has_room_beside(r, request, r->n_active);
}

bool qn_runner_may_yield(const qn_runner *r, const quern_request *request)
{
    return r->n_active == r->n_slots &&
           r->by_turn[r->n_active - 1]->request->entry.priority > request->entry.priority &&
           has_room_beside(r, request, r->n_active - 1);
}

void qn_runner_yield(qn_runner *r)
{
    preempt(r, r->by_turn[r->n_active - 1]);
}

void qn_slot_find_prefix(qn_runner *r, qn_slot *s)
{
    quern_request *q = s->request;
    if (q->is_apart) return;
    /* one token is computed in any case, for its logits: the last, or the one before the first to score */
    const size_t most = (qn_request_scores_prompt(q) ? q->n_scored : q->n_tokens) - 1,
                 length = qn_slot_length(r, s);
    if (length > 0 && qn_prefix_tree_peek(r->tree, q->name_space, q->tokens, q->n_tokens, most) <= length)
        return;
    qn_kv_cache_truncate(r->cache, s->seq, 0);
    const size_t found = qn_prefix_tree_find(r->tree, q->name_space, q->tokens, q->n_tokens, most, s->seq),
                 own = qn_max_size(length, qn_max_size(q->n_read, q->result.n_cached));
    if (q->began_ns != 0 && q->first_token_ns == 0 && found > own) q->result.n_cached += found - own;
}

/* Answers with one prompt: the first has it fetched, those that come meanwhile wait for that. */
static bool wait_for_first(quern_request *request)
{
    quern_request *first = request->first;
    if (!first->is_fetching) return false;
    request->next_fetched = first->next_fetched;
    first->next_fetched = request;
    return true;
}

bool qn_runner_fetch(qn_runner *r, quern_request *request)
{
    if (r->keeper == NULL || request->was_fetched || request->is_apart || qn_request_scores_prompt(request))
        return false;
    request->was_fetched = true;
    if (request != request->first) return wait_for_first(request);
    request->fetch = (qn_page_fetch){.owner = request,
                                     .name_space = request->name_space,
                                     .tokens = request->tokens,
                                     .n_tokens = request->n_tokens};
    request->is_fetching = qn_page_keeper_fetch(r->keeper, &request->fetch);
    if (request->is_fetching) r->n_fetching++;
    return request->is_fetching;
}

quern_request *qn_runner_collect(qn_runner *r)
{
    quern_request *request = r->fetched;
    if (request == NULL && r->keeper != NULL) request = qn_page_keeper_collect(r->keeper);
    if (request == NULL) return NULL;
    r->fetched = request->next_fetched;
    request->next_fetched = NULL;
    if (request->is_fetching) r->n_fetching--; /* other answers of a prompt wait for the first */
    request->is_fetching = false;
    return request;
}

void qn_runner_admit(qn_runner *r, quern_request *request)
{
    qn_slot *s = r->slots;
    while (s->request != NULL) s++;
    s->request = request;
    qn_draft_length_init(&s->draft_length);
    take_turn(r, s);
    qn_slot_find_prefix(r, s);
    qn_request_come_back(request);
    if (request->embeds) qn_request_begin_text(request, r->model);
    if (request->began_ns != 0) return;
    quern_status status = qn_request_begin(request, qn_slot_length(r, s), &s->error);
    if (status != QUERN_OK) qn_slot_end(r, s, status, &s->error);
}

void qn_runner_sweep(qn_runner *r, uint64_t now_ns)
{
    for (size_t i = r->n_active; i-- > 0;) {
        qn_slot *s = r->by_turn[i];
        if (qn_request_must_end(s->request, now_ns)) qn_slot_end(r, s, QUERN_OK, &s->error);
    }
}

/* ---- room -------------------------------------------------------------------------------------- */

bool qn_slot_make_room(qn_runner *r, qn_slot *s, size_t n)
{
    while (!qn_kv_cache_reserve(r->cache, s->seq, n)) {
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
            qn_prefix_tree_free_pages(r->tree, g, qn_kv_cache_wanted_pages(r->cache, s->seq, n, g));
        if (qn_kv_cache_reserve(r->cache, s->seq, n)) break;
        qn_slot *last = r->by_turn[r->n_active - 1];
        if (last->n_in_step > 0) return false; /* all others are in the step: next time */
        preempt(r, last);
        if (last == s) return false;
    }
    return true;
}
