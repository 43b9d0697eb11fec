/* runner_step.c: one step of a model (engine/runner_parts.h), in this order:
 *
 *     guesses -> slots by urgency -> room in the cache, made if need be -> tokens and segments -> the device
 *     -> all answers draw, side by side, and hidden states are pooled -> pages that are full become known ->
 * what was drawn is told
 *
 * Guesses stand behind the tokens of a sequence in the step. The answer is drawn from the rows of logits one
 * by one, as it would be without them; as long as what is drawn is what was guessed, the next row is there
 * already. So guesses change no answer. */
#include "engine/runner_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <assert.h>
#include <string.h>

enum {
    IDLE_BUDGET = 4,  /* times the budget, if nobody streams: a step in which nothing can be canceled */
    PROMPT_BATCH = 8, /* tokens of a prompt cost what one token of an answer costs */
    FAR = 4096,       /* positions, where looking back is felt */
    SCATTER = 8,      /* steps take up to an eighth longer than expected: that is kept free of the budget */
    LEAST_SHARE = 10, /* a step may take a tenth longer than its streams do, whatever the budget */
};

/* ---- filling a step ---------------------------------------------------------------------------- */

/* Tokens of a slot that the step has room for: of a prompt that is scored no more than it has rows for, of a
 * text that is seen both ways all or none. */
static size_t most_tokens(const qn_runner *r, const qn_slot *s)
{
    const quern_request *q = s->request;
    const size_t left = qn_slot_left(r, s),
                 most = qn_min_size(left, r->setup.device.n_batch - r->batch.n_tokens);
    if (!r->model->hparams.causal && most < left) return 0;
    if (!qn_request_scores_prompt(q)) return most;
    const size_t fit = q->n_scored - 1 - qn_slot_length(r, s) + r->n_spare;
    return fit + 1 >= left ? most : qn_min_size(most, fit); /* the last token's row is the one drawn from */
}

/* Rows of n tokens from a position on, from `begin` on in the batch: each for the prompt's token behind it.
 */
static void add_prompt_rows(qn_runner *r, quern_request *q, size_t position, size_t begin, size_t n)
{
    qn_batch *b = &r->batch;
    while (qn_request_scores_prompt(q) && q->n_scored <= position + n) {
        const size_t scored = q->n_scored++;
        r->prompt_rows[r->n_prompt_rows++] =
            (qn_prompt_row){.request = q,
                            .item = qn_log_prob_list_add(&q->prompt_log_probs, scored, q->tokens[scored]),
                            .row = b->n_outputs};
        r->outputs[b->n_outputs++] = (int32_t)(begin + (scored - 1 - position));
        r->n_spare--;
    }
}

/* Pages for n tokens are reserved. */
static void add_to_step(qn_runner *r, qn_slot *s, size_t n)
{
    qn_batch *b = &r->batch;
    quern_request *q = s->request;
    const size_t position = qn_slot_length(r, s), begin = b->n_tokens;
    s->n_in_step = s->n_right = n;
    s->first_row = begin;
    memcpy(r->tokens + begin, q->tokens + position, n * sizeof *r->tokens);
    b->n_tokens += n;
    add_prompt_rows(r, q, position, begin, n);
    if (q->embeds) {
        b->hidden = true;
        r->embedding[r->n_embedding++] = s;
    } else if (position + n == q->n_tokens) {
        s->output = (int32_t)b->n_outputs;
        r->drawing[r->n_drawing++] = s;
        s->n_draft = qn_min_size(s->n_draft, r->n_spare); /* prompts may have taken rows since */
        if (s->n_draft > 0 && !qn_kv_cache_reserve(r->cache, s->seq, n + s->n_draft)) s->n_draft = 0;
        memcpy(r->tokens + b->n_tokens, s->draft, s->n_draft * sizeof *r->tokens);
        b->n_tokens += s->n_draft;
        r->n_spare -= s->n_draft;
        for (size_t i = begin + n - 1; i < b->n_tokens; i++) r->outputs[b->n_outputs++] = (int32_t)i;
    } else {
        s->n_draft = 0;
    }
    assert(b->n_outputs <= r->setup.device.n_outputs);
    qn_segment *segment = &r->segments[b->n_segments++];
    *segment =
        (qn_segment){.position = (int32_t)position, .token_begin = begin, .n_tokens = b->n_tokens - begin};
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) segment->pages[g] = qn_kv_cache_pages(r->cache, s->seq, g);
    qn_step_shape_add(&r->shape, segment->n_tokens, position);
}

static bool is_full(const qn_runner *r)
{
    return r->batch.n_tokens == r->setup.device.n_batch;
}

/* Whether another answer reads, in this step, what this one needs of the prompt that they share. */
static bool is_read_for(const qn_runner *r, const qn_slot *s)
{
    const quern_request *q = s->request;
    if (q->first->next_answer == NULL || q->first_token_ns != 0 || qn_request_scores_prompt(q)) return false;
    const size_t length = qn_slot_length(r, s);
    for (size_t i = 0; i < r->n_active && length + 1 < q->n_prompt; i++) {
        const qn_slot *other = r->by_turn[i];
        const size_t before = qn_slot_length(r, other);
        if (other->request->first == q->first && other->request->result.n_dropped == 0 &&
            other->n_in_step > 0 && before + 1 < q->n_prompt && before + other->n_in_step > length)
            return true;
    }
    return false;
}

static void add_streams(qn_runner *r)
{
    for (size_t i = 0; i < r->n_active && !is_full(r);) {
        qn_slot *s = r->by_turn[i];
        if (!qn_slot_streams(r, s) || is_read_for(r, s)) {
            i++;
            continue;
        }
        if (s->request->first->next_answer != NULL && s->request->first_token_ns == 0)
            qn_slot_find_prefix(r, s);
        const size_t n = most_tokens(r, s);
        if (n > 0 && qn_slot_make_room(r, s, n)) add_to_step(r, s, n);
        if (i < r->n_active && r->by_turn[i] == s) i++;
    }
}

/* Whether the next page of a prompt is being computed for another in this step: it will be known afterwards.
 */
static bool will_be_known(const qn_runner *r, const qn_slot *s)
{
    const quern_request *q = s->request;
    const size_t page_end = (qn_slot_length(r, s) / QN_PAGE_POSITIONS + 1) * QN_PAGE_POSITIONS;
    if (q->n_tokens <= page_end || q->is_apart || qn_request_scores_prompt(q)) return false;
    for (size_t i = 0; i < r->n_active; i++) {
        const qn_slot *other = r->by_turn[i];
        const quern_request *o = other->request;
        const size_t length = qn_slot_length(r, other);
        if (!o->is_apart && length < page_end && page_end <= length + other->n_in_step &&
            memcmp(&q->name_space, &o->name_space, sizeof q->name_space) == 0 &&
            memcmp(q->tokens, o->tokens, page_end * sizeof *q->tokens) == 0)
            return true;
    }
    return false;
}

/* start: of the step; pages that were copied for a prompt have taken some of its time. */
static void add_prompts(qn_runner *r, uint64_t start_ns, uint64_t budget_ns, bool others_stream)
{
    const bool nobody_waits = r->batch.n_tokens == 0 && !others_stream;
    /* where a step without prompts takes longer than all may, prompts still go on, slowly */
    const double plain_ns = qn_step_pace_expect(&r->pace, &r->shape);
    const uint64_t least_budget = (uint64_t)(plain_ns + plain_ns / LEAST_SHARE),
                   most_budget = budget_ns - budget_ns / SCATTER,
                   budget = nobody_waits                 ? budget_ns * IDLE_BUDGET
                            : most_budget > least_budget ? most_budget
                                                         : least_budget;
    bool has_prompt = false;
    for (size_t i = 0; i < r->n_active && !is_full(r);) {
        qn_slot *s = r->by_turn[i];
        if (s->n_in_step > 0 || is_read_for(r, s) || will_be_known(r, s)) {
            i++;
            continue;
        }
        qn_slot_find_prefix(r, s);
        const size_t most = most_tokens(r, s);
        if (most == 0) { /* all rows are taken */
            i++;
            continue;
        }
        const bool whole = !r->model->hparams.causal;
        const size_t piece = whole ? most : qn_min_size(QN_LEAST_PIECE, most),
                     least = r->batch.n_tokens == 0 || i == 0 ? piece
                             : !has_prompt && !whole          ? 1
                                                              : 0,
                     gone = qn_clock_ns() - start_ns,
                     n = qn_step_pace_fit(&r->pace, &r->shape, qn_slot_length(r, s), least, most,
                                          gone < budget ? budget - gone : 0);
        if (n == 0 || (whole && n < most)) break;
        has_prompt = true;
        if (qn_slot_make_room(r, s, n)) add_to_step(r, s, n);
        if (i < r->n_active && r->by_turn[i] == s) i++;
    }
}

static void begin_step(qn_runner *r)
{
    r->batch = (qn_batch){.tokens = r->tokens, .segments = r->segments, .outputs = r->outputs};
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) r->batch.kv[g] = *qn_kv_cache_memory(r->cache, g);
    r->n_drawing = r->n_embedding = r->n_prompt_rows = r->n_held_back = 0;
    r->n_spare = QN_SPARE_ROWS;
    r->shape = (qn_step_shape){0};
    for (size_t i = 0; i < r->n_active; i++)
        if (qn_request_scores_prompt(r->by_turn[i]->request)) r->n_held_back = QN_LEAST_PIECE;
    for (size_t i = 0; i < r->n_slots; i++)
        r->slots[i].n_in_step = r->slots[i].n_draft = 0, r->slots[i].output = -1;
}

/* ---- after the model --------------------------------------------------------------------------- */

/* How many of the tokens drawn are those that were guessed from the i-th guess on. */
static size_t count_true(const qn_slot *s, size_t i)
{
    const qn_answer *a = &s->request->answer;
    size_t n = 0;
    while (n < a->n_step && i + n < s->n_draft && s->draft[i + n] == a->step[n]) n++;
    return n;
}

/* Draws from one row after the other, as long as the guesses behind it come true. untouched: a row's room. */
static void draw(qn_runner *r, qn_slot *s, float *untouched)
{
    quern_request *q = s->request;
    const uint64_t now = qn_clock_ns();
    s->status = QUERN_OK;
    for (size_t n_true = 0;;) {
        const size_t row = (size_t)s->output + n_true;
        float *logits = qn_cpu_logits(r->cpu, row);
        q->answer.n_held = q->n_tokens;
        if (q->wants_log_probs) memcpy(untouched, logits, r->model->hparams.n_vocab * sizeof *logits);
        s->goes_on = qn_answer_draw(&q->answer, logits, qn_cpu_logit_max(r->cpu, row), &s->status, &s->error);
        if (q->wants_log_probs) qn_request_take_log_prob(q, untouched);
        qn_request_take_step(q, now);
        const size_t n = count_true(s, n_true);
        n_true += n;
        s->n_right = s->n_in_step + n_true;
        if (!s->goes_on || n < q->answer.n_step) return;
    }
}

static void pool(qn_runner *r, const qn_slot *s)
{
    const size_t position = qn_slot_length(r, s); /* what the step computed comes behind it afterwards */
    for (size_t i = 0; i < s->n_in_step; i++)
        qn_pooler_add(&s->request->pooler, position + i, qn_cpu_hidden(r->cpu, s->first_row + i));
}

/* Tells the tree how much more computing a page again would take far behind than at the beginning. Its unit
 * is a token at the beginning, whatever time that takes: it stays the same while the time is being learned.
 */
static void price_pages(qn_runner *r)
{
    qn_step_shape at_begin = {0}, behind = {0};
    qn_step_shape_add(&at_begin, QN_PAGE_POSITIONS, 0);
    qn_step_shape_add(&behind, QN_PAGE_POSITIONS, FAR);
    const double begin_ns = qn_step_pace_expect(&r->pace, &at_begin),
                 behind_ns = qn_step_pace_expect(&r->pace, &behind);
    qn_prefix_tree_set_cost(r->tree, 1, begin_ns > 0 ? (behind_ns / begin_ns - 1) / FAR : 0);
}

static void learn_pace(qn_runner *r)
{
    qn_step_pace_learn(&r->pace, &r->shape, r->model_ns);
    price_pages(r);
}

/* The i-th piece of the work on what the step computed, by one of the threads. The last is to learn from it:
 * beside the others, for between two steps it would wait for memory. */
static void use_rows(qn_runner *r, size_t i, int thread)
{
    const size_t n_vocab = r->model->hparams.n_vocab;
    if (i < r->n_drawing) {
        draw(r, r->drawing[i], r->untouched + (size_t)thread * n_vocab);
        if (r->drawing[i]->goes_on) qn_slot_look_ahead(r->drawing[i]);
        return;
    }
    i -= r->n_drawing;
    if (i < r->n_embedding) {
        pool(r, r->embedding[i]);
        return;
    }
    i -= r->n_embedding;
    if (i == r->n_prompt_rows) {
        learn_pace(r);
        return;
    }
    const qn_prompt_row *p = &r->prompt_rows[i];
    qn_log_prob_list_fill(&p->request->prompt_log_probs, p->item, qn_cpu_logits(r->cpu, p->row), n_vocab);
}

static size_t count_pieces(const qn_runner *r)
{
    return r->n_drawing + r->n_embedding + r->n_prompt_rows + 1;
}

static void use_some(const qn_worker *w, void *user)
{
    qn_runner *r = user;
    size_t begin, stop;
    while (qn_worker_take(w, count_pieces(r), 1, &begin, &stop)) use_rows(r, begin, w->index);
}

/* What was computed of a slot is part of its sequence now, but for guesses that were wrong. */
static void commit(qn_runner *r, qn_slot *s)
{
    const quern_request *q = s->request;
    const size_t before = qn_slot_length(r, s), length = before + s->n_right;
    const bool is_for_others =
        q->first->next_answer != NULL && before + 1 < q->n_prompt && length >= q->n_prompt;
    qn_kv_cache_commit(r->cache, s->seq, s->n_right);
    if (q->is_apart) return;
    if (is_for_others || length / QN_PAGE_POSITIONS != before / QN_PAGE_POSITIONS)
        qn_prefix_tree_keep(r->tree, q->name_space, q->tokens, length, s->seq, is_for_others);
    /* at the border between a prompt and its answer windows are still there, which later texts need to go on
     */
    if (r->keeper != NULL && !q->embeds && before < q->n_prompt && length >= q->n_prompt)
        qn_page_keeper_save(r->keeper, q->name_space, q->tokens, length, s->seq);
}

/* Makes room in a full context: what remains is a text of its own, known as far as others had it. */
static void shift(qn_runner *r, qn_slot *s)
{
    quern_request *q = s->request;
    qn_request_shift(q);
    qn_kv_cache_truncate(r->cache, s->seq, q->n_keep);
    qn_slot_forget_text(r, s);
}

/* Counts what the step did for a slot. */
static qn_service account(qn_runner *r, qn_slot *s)
{
    quern_request *q = s->request;
    const size_t n_true = s->n_right - s->n_in_step;
    if (s->output < 0) return (qn_service){q, (double)s->n_in_step / PROMPT_BATCH};
    q->result.n_guessed += s->n_draft;
    q->result.n_guessed_right += n_true;
    if (s->n_draft > 0) qn_runner_learn(r, s, n_true);
    qn_request_count_wait(q, &r->waits);
    return (qn_service){q, 1.0 + (double)n_true};
}

static void account_all(qn_runner *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_slots; i++) {
        qn_slot *s = &r->slots[i];
        if (s->n_in_step == 0) continue;
        commit(r, s);
        r->services[n++] = account(r, s);
    }
    r->host.served(r->host.user, r->services, n);
    qn_metrics_count_waits(r->host.metrics, &r->waits);
    qn_metrics_count_step(r->host.metrics, r->batch.n_tokens);
}

/* Tells how far a slot came. */
static void tell(qn_runner *r, qn_slot *s)
{
    quern_request *q = s->request;
    if (s->output < 0 || q->prompt_log_probs.n > 0) qn_request_tell_read(q, qn_slot_length(r, s));
    if (q->embeds && qn_slot_left(r, s) == 0) {
        q->answer.finish = QUERN_FINISH_STOP;
        qn_slot_end(r, s, QUERN_OK, &s->error);
    }
    if (s->output < 0) return;
    if (s->goes_on && qn_request_wants_shift(q)) shift(r, s);
    if (s->goes_on) qn_request_tell_text(q);
    else qn_slot_end(r, s, s->status, &s->error);
}

/* Draws, pools, computes the log-probabilities that are wanted of prompts, and learns, side by side; where
 * there is next to nothing to do, one after the other. */
static void use_all(qn_runner *r)
{
    const size_t n = count_pieces(r);
    if (n > 2) qn_thread_pool_run(r->pool, use_some, r);
    else
        for (size_t i = 0; i < n; i++) use_rows(r, i, 0);
}

uint64_t qn_runner_step(qn_runner *r, uint64_t budget_ns, bool others_stream)
{
    qn_metrics *m = r->host.metrics;
    const uint64_t start = qn_clock_ns();
    begin_step(r);
    qn_runner_guess(r, budget_ns);
    add_streams(r);
    add_prompts(r, start, budget_ns, others_stream);
    if (r->batch.n_tokens == 0) return qn_clock_ns() - start;
    qn_metrics_turn_to(m, QN_PURPOSE_MODEL);
    const uint64_t ready = qn_clock_ns();
    qn_cpu_step(r->cpu, &r->batch);
    r->model_ns = qn_clock_ns() - ready;
    qn_metrics_turn_to(m, QN_PURPOSE_DRAW);
    use_all(r);
    qn_metrics_turn_to(m, QN_PURPOSE_SCHEDULE);
    account_all(r);
    qn_metrics_turn_to(m, QN_PURPOSE_TELL);
    for (size_t i = 0; i < r->n_slots; i++)
        if (r->slots[i].n_in_step > 0) tell(r, &r->slots[i]);
    qn_metrics_turn_to(m, QN_PURPOSE_SCHEDULE);
    const uint64_t total = qn_clock_ns() - start;
    if (r->draft != NULL) qn_draft_model_allow(r->draft, total);
    return total;
}
