/* runner.c: see runner.h. The order of a step:
 *
 *     guesses -> slots by urgency -> room in the cache, made if need be -> tokens and segments -> the device
 *     -> all answers draw, side by side -> pages that are full become known -> what was drawn is told
 *
 * Guesses (speculative decoding: Leviathan et al. 2023, arXiv:2211.17192) stand behind the tokens of a
 * sequence in the step. The answer is drawn from the rows of logits one by one, as it would be without them;
 * as long as what is drawn is what was guessed, the next row is there already. So guesses change no answer.
 */
#include "engine/runner.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "engine/draft_model.h"
#include "engine/lookup_draft.h"
#include "engine/page_key.h"

#include <string.h>

enum {
    LEAST_PIECE = 16, /* tokens of a prompt that a step takes at least */
    IDLE_BUDGET = 4,  /* times the budget, if nobody streams: a step in which nothing can be canceled */
    PROMPT_BATCH = 8, /* tokens of a prompt cost what one token of an answer costs */
    DRAFT_ROWS = 64,  /* rows of logits for guesses, of all slots together */
    LEAST_EQUAL = 3,  /* tokens of a text that must have been there before, for what followed to be guessed */
    LOOKUP_NS = 2000, /* what guessing from the text takes */
    BY_MODEL = 0,     /* kinds of guess */
    FROM_OWN_TEXT = 1,
};

/* A guess from the text that is held to be so certain goes before one of the draft model. */
static const double CERTAIN = 0.8;

typedef struct slot {
    quern_request *request; /* NULL: free */
    size_t seq;
    size_t n_in_step; /* tokens of it in this step, but for the guesses */
    size_t n_right;   /* positions of the step that are its text: n_in_step, and guesses that came true */
    int32_t output;   /* row of logits it draws from; -1: none */
    quern_token draft[QN_MAX_DRAFT];
    size_t n_draft;
    int draft_kind;
    double certainty;      /* of the draft */
    qn_lookup_index *text; /* of its tokens, the first n_indexed; NULL: nothing is guessed */
    size_t n_indexed;
    qn_draft_length draft_length;
    bool goes_on; /* after drawing */
    quern_status status;
    quern_error error;
} slot;

struct qn_runner {
    char *name;
    const quern_model *model;
    qn_runner_host host;
    qn_context_setup setup;
    qn_kv_cache *cache;
    qn_prefix_tree *tree;
    qn_page_keeper *keeper; /* or NULL */
    qn_cpu *cpu;
    qn_thread_pool *pool;
    qn_draft_model *draft; /* or NULL */
    size_t n_draft;        /* guesses that it makes at once; 0: as many as save time */
    qn_draft_text *asked;  /* [n_slots] what it is asked in this step */
    double plain_ns;       /* what this step would take without guesses */
    qn_step_pace pace;
    slot *slots;    /* [n_slots] */
    slot **by_turn; /* [n_active] most urgent first, of one priority the oldest */
    size_t n_slots, n_active;
    quern_token *tokens; /* [n_batch] of the step */
    qn_segment *segments;
    int32_t *outputs; /* [setup.device.n_outputs] */
    qn_batch batch;
    slot **drawing; /* [n_slots] slots of this step that draw */
    size_t n_drawing;
    qn_step_shape shape;
    qn_runner_stats stats;
};

/* ---- slots ------------------------------------------------------------------------------------- */

static size_t length_of(const qn_runner *r, const slot *s)
{
    return qn_kv_cache_length(r->cache, s->seq);
}

static size_t left_of(const qn_runner *r, const slot *s)
{
    return s->request->n_tokens - length_of(r, s);
}

static bool streams(const qn_runner *r, const slot *s)
{
    return left_of(r, s) <= QN_ANSWER_STEP;
}

static bool goes_before(const quern_request *a, const quern_request *b)
{
    if (a->entry.priority != b->entry.priority) return a->entry.priority < b->entry.priority;
    return a->entry.arrived_ns < b->entry.arrived_ns;
}

static void take_turn(qn_runner *r, slot *s)
{
    size_t i = r->n_active++;
    for (; i > 0 && goes_before(s->request, r->by_turn[i - 1]->request); i--)
        r->by_turn[i] = r->by_turn[i - 1];
    r->by_turn[i] = s;
}

static void leave_turn(qn_runner *r, const slot *s)
{
    size_t i = 0;
    while (r->by_turn[i] != s) i++;
    r->n_active--;
    for (; i < r->n_active; i++) r->by_turn[i] = r->by_turn[i + 1];
}

/* Keeps what was computed, for whoever needs it again, and frees the slot. */
static quern_request *vacate(qn_runner *r, slot *s)
{
    quern_request *request = s->request;
    const size_t length = length_of(r, s);
    qn_prefix_tree_keep(r->tree, request->name_space, request->tokens, length, s->seq, true);
    if (r->keeper != NULL)
        qn_page_keeper_save(r->keeper, request->name_space, request->tokens, length, s->seq);
    qn_kv_cache_truncate(r->cache, s->seq, 0);
    if (r->draft != NULL) qn_draft_model_forget(r->draft, s->seq);
    leave_turn(r, s);
    s->request = NULL;
    return request;
}

static void end(qn_runner *r, slot *s, quern_status status, quern_error *err)
{
    quern_request *request = vacate(r, s);
    qn_request_end(request, status, err);
    r->host.ended(r->host.user, request);
}

static void preempt(qn_runner *r, slot *s)
{
    quern_request *request = vacate(r, s);
    request->result.n_preempted++;
    r->host.put_back(r->host.user, request);
}

bool qn_runner_may_admit(const qn_runner *r, const quern_request *request)
{
    if (r->n_active == 0) return true;
    if (r->n_active == r->n_slots) return false;
    size_t wanted = request->n_tokens / QN_PAGE_POSITIONS + 1;
    for (size_t i = 0; i < r->n_active; i++)
        wanted += r->by_turn[i]->request->n_tokens / QN_PAGE_POSITIONS + 1;
    return wanted <= r->setup.cache.n_positions / QN_PAGE_POSITIONS;
}

bool qn_runner_yield(qn_runner *r, const quern_request *request)
{
    if (r->n_active < r->n_slots) return false;
    slot *last = r->by_turn[r->n_active - 1];
    if (last->request->entry.priority <= request->entry.priority) return false;
    preempt(r, last);
    return true;
}

/* Takes over what is known of the request's tokens by now, if that is more than it has. */
static void find_prefix(qn_runner *r, slot *s)
{
    quern_request *q = s->request;
    const size_t most = q->n_tokens - 1, length = length_of(r, s); /* one is computed, for its logits */
    if (length > 0 && qn_prefix_tree_peek(r->tree, q->name_space, q->tokens, q->n_tokens, most) <= length)
        return;
    qn_kv_cache_truncate(r->cache, s->seq, 0);
    qn_prefix_tree_find(r->tree, q->name_space, q->tokens, q->n_tokens, most, s->seq);
}

bool qn_runner_fetch(qn_runner *r, quern_request *request)
{
    if (r->keeper == NULL || request->was_fetched) return false;
    request->was_fetched = true;
    request->fetch = (qn_page_fetch){.owner = request,
                                     .name_space = request->name_space,
                                     .tokens = request->tokens,
                                     .n_tokens = request->n_tokens};
    return qn_page_keeper_fetch(r->keeper, &request->fetch);
}

quern_request *qn_runner_collect(qn_runner *r)
{
    return r->keeper != NULL ? qn_page_keeper_collect(r->keeper) : NULL;
}

void qn_runner_admit(qn_runner *r, quern_request *request)
{
    slot *s = r->slots;
    while (s->request != NULL) s++;
    s->request = request;
    s->n_indexed = 0;
    if (s->text != NULL) qn_lookup_index_reset(s->text);
    qn_draft_length_init(&s->draft_length);
    take_turn(r, s);
    find_prefix(r, s);
    if (request->began_ns != 0) return; /* it comes back */
    quern_status status = qn_request_begin(request, length_of(r, s), &s->error);
    if (status != QUERN_OK) end(r, s, status, &s->error);
}

void qn_runner_sweep(qn_runner *r, uint64_t now_ns)
{
    for (size_t i = r->n_active; i-- > 0;) {
        slot *s = r->by_turn[i];
        if (qn_request_must_end(s->request, now_ns)) end(r, s, QUERN_OK, &s->error);
    }
}

/* ---- room -------------------------------------------------------------------------------------- */

/* Makes sure that a slot can compute n more positions: forgets what is kept for later, then puts back who is
 * last by turn and not in the step yet. False: the slot itself had to go. */
static bool make_room(qn_runner *r, slot *s, size_t n)
{
    while (!qn_kv_cache_reserve(r->cache, s->seq, n)) {
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
            qn_prefix_tree_free_pages(r->tree, g, qn_kv_cache_wanted_pages(r->cache, s->seq, n, g));
        if (qn_kv_cache_reserve(r->cache, s->seq, n)) break;
        slot *last = r->by_turn[r->n_active - 1];
        if (last->n_in_step > 0) return false; /* all others are in the step: next time */
        preempt(r, last);
        if (last == s) return false;
    }
    return true;
}

/* ---- guessing ---------------------------------------------------------------------------------- */

/* A step as it is planned, and what of it is still free for guesses. */
typedef struct step_plan {
    const qn_runner *runner;
    qn_step_shape shape;
    uint64_t position; /* of whose length is being chosen */
    size_t n_rows, n_tokens, n_streams;
} step_plan;

static double cost_with(void *user, size_t n_tokens)
{
    const step_plan *p = user;
    qn_step_shape shape = p->shape;
    if (n_tokens > 1) qn_step_shape_add(&shape, n_tokens - 1, p->position); /* one is planned already */
    return qn_step_pace_expect(&p->runner->pace, &shape);
}

static bool wants_guesses(const qn_runner *r, const slot *s)
{
    return s->text != NULL && s->request->first_token_ns != 0 && streams(r, s);
}

static size_t most_guesses(const step_plan *p, const slot *s)
{
    const quern_request *q = s->request;
    const size_t room = q->capacity - QN_ANSWER_STEP - q->n_tokens; /* no more can be drawn */
    return qn_min_size(qn_min_size(QN_MAX_DRAFT, room), qn_min_size(p->n_rows, p->n_tokens));
}

static void take_from_plan(step_plan *p, size_t n_guesses)
{
    p->n_rows -= n_guesses;
    p->n_tokens -= n_guesses;
    if (n_guesses > 0) qn_step_shape_add(&p->shape, n_guesses, p->position);
}

static void look_up(const qn_runner *r, slot *s, step_plan *p)
{
    const quern_request *q = s->request;
    while (s->n_indexed < q->n_tokens) qn_lookup_index_append(s->text, q->tokens[s->n_indexed++]);
    const qn_lookup_guess g =
        qn_lookup_index_guess(s->text, q->tokens, q->n_tokens, s->draft, most_guesses(p, s));
    if (g.n_tokens == 0 || r->n_draft > 0) return;
    s->draft_kind = FROM_OWN_TEXT;
    s->certainty = g.certainty;
    s->n_draft = qn_draft_length_choose(&s->draft_length, FROM_OWN_TEXT, g.n_tokens, g.certainty, LOOKUP_NS,
                                        cost_with, p);
}

/* How many guesses of the draft model are wanted in place of what the text says. */
static size_t choose_for_model(const qn_runner *r, slot *s, step_plan *p, const qn_draft_text *text)
{
    const size_t most = most_guesses(p, s);
    if (most == 0 || !qn_draft_model_can_guess(r->draft, text)) return 0;
    if (r->n_draft > 0) return qn_min_size(most, r->n_draft);
    if (s->n_draft > 0 && s->certainty >= CERTAIN) return 0;
    const double guess_ns = qn_draft_model_guess_ns(r->draft, p->n_streams, text->n_tokens);
    return qn_draft_length_choose(&s->draft_length, BY_MODEL, most, 1, guess_ns, cost_with, p);
}

/* Lets the draft model read on, in what the plan leaves of the time, and guess. */
static void ask_model(qn_runner *r, const step_plan *p, size_t n_asked, uint64_t budget_ns)
{
    const double planned = qn_step_pace_expect(&r->pace, &p->shape);
    const uint64_t left = planned < (double)budget_ns ? budget_ns - (uint64_t)planned : 0;
    qn_draft_model_read(r->draft, r->asked, n_asked, left, r->n_draft > 0);
    qn_draft_model_guess(r->draft, r->asked, n_asked);
    for (size_t i = 0; i < n_asked; i++) {
        slot *s = &r->slots[r->asked[i].slot];
        if (r->asked[i].n_guessed == 0) continue;
        s->draft_kind = BY_MODEL;
        s->certainty = 1;
        s->n_draft = r->asked[i].n_guessed;
        memcpy(s->draft, r->asked[i].guess, s->n_draft * sizeof *s->draft);
    }
}

/* Guesses what follows the tokens of those who stream. */
static void guess(qn_runner *r, uint64_t budget_ns)
{
    step_plan plan = {.runner = r, .n_rows = r->setup.device.n_outputs - r->n_slots};
    size_t n_planned = 0, n_asked = 0;
    for (size_t i = 0; i < r->n_active; i++) {
        const slot *s = r->by_turn[i];
        if (!streams(r, s)) continue;
        plan.n_streams++;
        n_planned += left_of(r, s);
        qn_step_shape_add(&plan.shape, left_of(r, s), length_of(r, s));
    }
    r->plain_ns = qn_step_pace_expect(&r->pace, &plan.shape);
    if (n_planned >= r->setup.device.n_batch) return;
    plan.n_tokens = r->setup.device.n_batch - n_planned;
    for (size_t i = 0; i < r->n_active; i++) {
        slot *s = r->by_turn[i];
        const quern_request *q = s->request;
        if (!wants_guesses(r, s)) continue;
        plan.position = length_of(r, s);
        look_up(r, s, &plan);
        if (r->draft != NULL) {
            qn_draft_text *text = &r->asked[n_asked++];
            *text = (qn_draft_text){.slot = s->seq, .tokens = q->tokens, .n_tokens = q->n_tokens};
            text->most = choose_for_model(r, s, &plan, text);
            if (text->most > 0) s->n_draft = 0;
            take_from_plan(&plan, text->most);
        }
        take_from_plan(&plan, s->n_draft);
    }
    if (n_asked > 0) ask_model(r, &plan, n_asked, budget_ns);
}

/* ---- filling a step ---------------------------------------------------------------------------- */

/* Pages for n tokens are reserved. */
static void add_to_step(qn_runner *r, slot *s, size_t n)
{
    qn_batch *b = &r->batch;
    const quern_request *q = s->request;
    const size_t position = length_of(r, s), begin = b->n_tokens;
    s->n_in_step = s->n_right = n;
    memcpy(r->tokens + begin, q->tokens + position, n * sizeof *r->tokens);
    b->n_tokens += n;
    if (position + n == q->n_tokens) {
        s->output = (int32_t)b->n_outputs;
        r->drawing[r->n_drawing++] = s;
        if (s->n_draft > 0 && !qn_kv_cache_reserve(r->cache, s->seq, n + s->n_draft)) s->n_draft = 0;
        memcpy(r->tokens + b->n_tokens, s->draft, s->n_draft * sizeof *r->tokens);
        b->n_tokens += s->n_draft;
        for (size_t i = begin + n - 1; i < b->n_tokens; i++) r->outputs[b->n_outputs++] = (int32_t)i;
    } else {
        s->n_draft = 0;
    }
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

static void add_streams(qn_runner *r)
{
    for (size_t i = 0; i < r->n_active && !is_full(r);) {
        slot *s = r->by_turn[i];
        if (!streams(r, s)) {
            i++;
            continue;
        }
        const size_t n = qn_min_size(left_of(r, s), r->setup.device.n_batch - r->batch.n_tokens);
        if (make_room(r, s, n)) add_to_step(r, s, n);
        if (i < r->n_active && r->by_turn[i] == s) i++;
    }
}

/* Whether the next page of a prompt is being computed for another in this step: it will be known afterwards.
 */
static bool will_be_known(const qn_runner *r, const slot *s)
{
    const quern_request *q = s->request;
    const size_t page_end = (length_of(r, s) / QN_PAGE_POSITIONS + 1) * QN_PAGE_POSITIONS;
    if (q->n_tokens <= page_end) return false;
    for (size_t i = 0; i < r->n_active; i++) {
        const slot *other = r->by_turn[i];
        const quern_request *o = other->request;
        const size_t length = length_of(r, other);
        if (length < page_end && page_end <= length + other->n_in_step &&
            memcmp(&q->name_space, &o->name_space, sizeof q->name_space) == 0 &&
            memcmp(q->tokens, o->tokens, page_end * sizeof *q->tokens) == 0)
            return true;
    }
    return false;
}

static void add_prompts(qn_runner *r, uint64_t budget_ns)
{
    const bool alone = r->batch.n_tokens == 0;
    const uint64_t budget = alone ? budget_ns * IDLE_BUDGET : budget_ns;
    for (size_t i = 0; i < r->n_active && !is_full(r);) {
        slot *s = r->by_turn[i];
        if (s->n_in_step > 0 || will_be_known(r, s)) {
            i++;
            continue;
        }
        find_prefix(r, s);
        const size_t left = left_of(r, s),
                     most = qn_min_size(left, r->setup.device.n_batch - r->batch.n_tokens),
                     least = r->batch.n_tokens == 0 || i == 0 ? LEAST_PIECE : 0,
                     n = qn_step_pace_fit(&r->pace, &r->shape, length_of(r, s), qn_min_size(least, most),
                                          most, budget);
        if (n == 0) break;
        if (make_room(r, s, n)) add_to_step(r, s, n);
        if (i < r->n_active && r->by_turn[i] == s) i++;
    }
}

static void begin_step(qn_runner *r)
{
    r->batch = (qn_batch){.tokens = r->tokens, .segments = r->segments, .outputs = r->outputs};
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) r->batch.kv[g] = *qn_kv_cache_memory(r->cache, g);
    r->n_drawing = 0;
    r->shape = (qn_step_shape){0};
    for (size_t i = 0; i < r->n_slots; i++)
        r->slots[i].n_in_step = r->slots[i].n_draft = 0, r->slots[i].output = -1;
}

/* ---- after the model --------------------------------------------------------------------------- */

/* How many of the tokens drawn are those that were guessed from the i-th guess on. */
static size_t count_true(const slot *s, size_t i)
{
    const qn_answer *a = &s->request->answer;
    size_t n = 0;
    while (n < a->n_step && i + n < s->n_draft && s->draft[i + n] == a->step[n]) n++;
    return n;
}

/* Draws from one row after the other, as long as the guesses behind it come true. */
static void draw(qn_runner *r, slot *s)
{
    quern_request *q = s->request;
    const uint64_t now = qn_clock_ns();
    s->status = QUERN_OK;
    for (size_t n_true = 0;;) {
        const size_t row = (size_t)s->output + n_true;
        q->answer.n_held = q->n_tokens;
        s->goes_on = qn_answer_draw(&q->answer, qn_cpu_logits(r->cpu, row), qn_cpu_logit_max(r->cpu, row),
                                    &s->status, &s->error);
        qn_request_take_step(q, now);
        const size_t n = count_true(s, n_true);
        n_true += n;
        s->n_right = s->n_in_step + n_true;
        if (!s->goes_on || n < q->answer.n_step) return;
    }
}

static void draw_some(const qn_worker *w, void *user)
{
    qn_runner *r = user;
    size_t begin, stop;
    while (qn_worker_take(w, r->n_drawing, 1, &begin, &stop)) draw(r, r->drawing[begin]);
}

/* What was computed of a slot is part of its sequence now, but for guesses that were wrong. */
static void commit(qn_runner *r, slot *s)
{
    const quern_request *q = s->request;
    const size_t before = length_of(r, s), length = before + s->n_right;
    qn_kv_cache_commit(r->cache, s->seq, s->n_right);
    if (length / QN_PAGE_POSITIONS != before / QN_PAGE_POSITIONS)
        qn_prefix_tree_keep(r->tree, q->name_space, q->tokens, length, s->seq, false);
    /* at the border between a prompt and its answer windows are still there, which later texts need to go on
     */
    if (r->keeper != NULL && before < q->n_prompt && length >= q->n_prompt)
        qn_page_keeper_save(r->keeper, q->name_space, q->tokens, length, s->seq);
}

/* What guesses saved: plain steps, of which all who draw in a step have an equal part. */
static void learn(qn_runner *r, slot *s, size_t n_true)
{
    const double cost = s->draft_length.kinds[s->draft_kind].costs[s->n_draft];
    if (s->draft_kind == BY_MODEL && cost > 0)
        qn_draft_model_earn(r->draft, (1 + (double)n_true - cost) * r->plain_ns / (double)r->n_drawing);
    qn_draft_length_learn(&s->draft_length, s->draft_kind, s->certainty, s->n_draft, n_true);
}

/* Tells how far a slot came. */
static void tell(qn_runner *r, slot *s)
{
    quern_request *q = s->request;
    const size_t n_true = s->n_right - s->n_in_step;
    q->result.n_guessed += s->n_draft;
    q->result.n_guessed_right += n_true;
    if (s->n_draft > 0) learn(r, s, n_true);
    r->host.served(r->host.user, q,
                   s->output < 0 ? (double)s->n_in_step / PROMPT_BATCH : 1.0 + (double)n_true);
    if (s->output < 0) qn_request_tell_read(q, length_of(r, s));
    else if (s->goes_on) qn_request_tell_text(q);
    else end(r, s, s->status, &s->error);
}

uint64_t qn_runner_step(qn_runner *r, uint64_t budget_ns)
{
    const uint64_t start = qn_clock_ns();
    begin_step(r);
    guess(r, budget_ns);
    add_streams(r);
    const uint64_t gone = qn_clock_ns() - start;
    add_prompts(r, gone < budget_ns ? budget_ns - gone : 0);
    if (r->batch.n_tokens == 0) return qn_clock_ns() - start;
    const uint64_t ready = qn_clock_ns();
    qn_cpu_step(r->cpu, &r->batch);
    const uint64_t done = qn_clock_ns();
    qn_step_pace_learn(&r->pace, &r->shape, done - ready);
    if (r->n_drawing > 1) qn_thread_pool_run(r->pool, draw_some, r);
    else if (r->n_drawing == 1) draw(r, r->drawing[0]);
    for (size_t i = 0; i < r->n_slots; i++)
        if (r->slots[i].n_in_step > 0) commit(r, &r->slots[i]);
    for (size_t i = 0; i < r->n_slots; i++)
        if (r->slots[i].n_in_step > 0) tell(r, &r->slots[i]);
    const uint64_t total = qn_clock_ns() - start;
    if (r->draft != NULL) qn_draft_model_allow(r->draft, total);
    r->stats.n_steps++;
    r->stats.n_step_tokens += r->batch.n_tokens;
    r->stats.step_ns += total;
    r->stats.model_ns += done - ready;
    return total;
}

/* ---- life -------------------------------------------------------------------------------------- */

quern_engine_model_params quern_engine_model_params_default(void)
{
    return (quern_engine_model_params){
        .struct_bytes = sizeof(quern_engine_model_params), .n_parallel = 16, .n_batch = 512};
}

static quern_status set_up(qn_runner *r, const quern_engine_model_params *p, qn_thread_pool *pool,
                           quern_error *err)
{
    quern_context_params c = quern_context_params_default();
    c.n_ctx = p->n_ctx;
    c.n_sequences = p->n_parallel;
    c.n_batch = p->n_batch;
    c.n_threads = qn_thread_pool_size(pool);
    c.type_k = p->type_k;
    c.type_v = p->type_v;
    c.memory_limit = p->memory_limit;
    const quern_status s = qn_context_setup_init(&r->setup, r->model, &c, err);
    if (s != QUERN_OK) return s;
    r->setup.device.pool = r->pool = pool;
    const size_t n_ctx = r->setup.cache.n_ctx, all = n_ctx * p->n_parallel;
    r->setup.cache.n_positions = qn_min_size(p->n_positions > 0 ? p->n_positions : 4 * n_ctx, all);
    r->setup.cache.n_positions =
        qn_round_up(qn_max_size(r->setup.cache.n_positions, n_ctx), QN_PAGE_POSITIONS);
    r->setup.cache.n_windows = p->n_parallel;
    if (!p->no_guesses) r->setup.device.n_outputs += DRAFT_ROWS;
    return QUERN_OK;
}

static quern_status take_memory(qn_runner *r, const quern_model *draft_model, quern_error *err)
{
    const qn_draft_model_params draft = {.model = draft_model, .target = r->model, .setup = &r->setup};
    uint64_t draft_bytes = 0;
    quern_status s = draft_model != NULL ? qn_draft_model_plan(&draft, &draft_bytes, err) : QUERN_OK;
    if (s != QUERN_OK) return s;
    const uint64_t wanted = qn_kv_cache_bytes(&r->model->program, &r->setup.cache) +
                            qn_cpu_scratch_bytes(&r->model->program, &r->setup.device) + draft_bytes;
    if (wanted > r->setup.memory_limit)
        return qn_fail(err, QUERN_ERR_NOMEM,
                       "%s: keys, values and scratch take %llu bytes, but only %llu are available (fewer "
                       "positions would fit)",
                       r->name, (unsigned long long)wanted, (unsigned long long)r->setup.memory_limit);
    r->n_slots = r->setup.cache.n_sequences;
    r->slots = qn_calloc(r->n_slots, sizeof *r->slots);
    r->by_turn = qn_calloc(r->n_slots, sizeof *r->by_turn);
    r->drawing = qn_calloc(r->n_slots, sizeof *r->drawing);
    r->asked = qn_calloc(r->n_slots, sizeof *r->asked);
    r->tokens = qn_calloc(r->setup.device.n_batch, sizeof *r->tokens);
    r->segments = qn_calloc(r->setup.device.n_segments, sizeof *r->segments);
    r->outputs = qn_calloc(r->setup.device.n_outputs, sizeof *r->outputs);
    if (r->slots == NULL || r->by_turn == NULL || r->drawing == NULL || r->asked == NULL ||
        r->tokens == NULL || r->segments == NULL || r->outputs == NULL)
        return qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory", r->name);
    const qn_lookup_params lookup = {.capacity = r->setup.cache.n_ctx, .least = LEAST_EQUAL};
    for (size_t i = 0; i < r->n_slots && s == QUERN_OK; i++) {
        r->slots[i].seq = i;
        if (r->setup.device.n_outputs > r->n_slots)
            s = qn_lookup_index_create(&r->slots[i].text, &lookup, err);
    }
    if (s == QUERN_OK) s = qn_kv_cache_create(&r->cache, &r->model->program, &r->setup.cache, err);
    if (s == QUERN_OK) s = qn_prefix_tree_create(&r->tree, r->cache, NULL, NULL, err);
    if (s == QUERN_OK)
        s = qn_cpu_create(&r->cpu, &r->model->program, r->model->kernels, &r->setup.device, err);
    if (s == QUERN_OK && draft_model != NULL) s = qn_draft_model_create(&r->draft, &draft, err);
    return s;
}

static quern_status open_keeper(qn_runner *r, const qn_runner_disk *disk, quern_error *err)
{
    char name[QN_PAGE_KEY_BYTES];
    if (disk->directory == NULL) return QUERN_OK;
    qn_page_key_make(name, r->model, r->setup.cache.type_k, r->setup.cache.type_v);
    const qn_page_keeper_params params = {.directory = disk->directory,
                                          .max_bytes = disk->max_bytes,
                                          .hourly_bytes = disk->hourly_bytes,
                                          .model_key = name,
                                          .cache = r->cache,
                                          .tree = r->tree,
                                          .wake = r->host.wake,
                                          .user = r->host.user};
    return qn_page_keeper_create(&r->keeper, &params, err);
}

quern_status qn_runner_create(qn_runner **out, const char *name, const quern_model *model,
                              const quern_engine_model_params *params, const qn_runner_disk *disk,
                              qn_thread_pool *pool, const qn_runner_host *host, quern_error *err)
{
    quern_engine_model_params p = quern_engine_model_params_default();
    if (params != NULL) memcpy(&p, params, qn_min_size(params->struct_bytes, sizeof p));
    qn_runner *r = *out = qn_calloc(1, sizeof *r);
    if (r == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory", name);
    r->model = model;
    r->host = *host;
    qn_step_pace_init(&r->pace);
    quern_status s = QUERN_OK;
    if ((r->name = qn_strdup(name)) == NULL) s = qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory", name);
    if (s == QUERN_OK && !model->loaded)
        s = qn_fail(err, QUERN_ERR_ARGUMENT, "%s: was opened without its weights", model->path);
    if (s == QUERN_OK) s = set_up(r, &p, pool, err);
    r->n_draft = qn_min_size(p.n_draft, QN_MAX_DRAFT);
    if (s == QUERN_OK) s = take_memory(r, p.no_guesses ? NULL : p.draft, err);
    if (s == QUERN_OK) s = open_keeper(r, disk, err);
    if (s != QUERN_OK) qn_runner_destroy(r), *out = NULL;
    return s;
}

void qn_runner_destroy(qn_runner *r)
{
    if (r == NULL) return;
    qn_page_keeper_destroy(r->keeper);
    qn_draft_model_destroy(r->draft);
    qn_cpu_destroy(r->cpu);
    qn_prefix_tree_destroy(r->tree);
    qn_kv_cache_destroy(r->cache);
    for (size_t i = 0; i < r->n_slots && r->slots != NULL; i++) qn_lookup_index_destroy(r->slots[i].text);
    qn_free(r->slots), qn_free(r->by_turn), qn_free(r->drawing), qn_free(r->asked);
    qn_free(r->tokens), qn_free(r->segments), qn_free(r->outputs);
    qn_free(r->name);
    qn_free(r);
}

const char *qn_runner_name(const qn_runner *r)
{
    return r->name;
}
const quern_model *qn_runner_model(const qn_runner *r)
{
    return r->model;
}
size_t qn_runner_context(const qn_runner *r)
{
    return r->setup.cache.n_ctx;
}
size_t qn_runner_active(const qn_runner *r)
{
    return r->n_active;
}
void qn_runner_get_stats(const qn_runner *r, qn_runner_stats *stats)
{
    *stats = r->stats;
    qn_prefix_tree_get_stats(r->tree, &stats->prefixes);
}
