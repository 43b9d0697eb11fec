/* runner_guess.c: tokens guessed ahead (engine/runner_parts.h; speculative decoding: Leviathan et al. 2023,
 * arXiv:2211.17192): what followed the same words before in a text, or what a smaller model says, as many as
 * are expected to save time. */
#include "engine/runner_parts.h"

#include "base/checked.h"

#include <string.h>

enum {
    LOOKUP_NS = 2000, /* what guessing from the text takes */
    BY_MODEL = 0,     /* kinds of guess */
    FROM_OWN_TEXT = 1,
};

/* A guess from the text that is held to be so certain goes before one of the draft model. */
static const double CERTAIN = 0.8;

/* A step as it is planned, and what of it is still free for guesses. */
typedef struct step_plan {
    const qn_runner *runner;
    qn_step_shape shape;
    double ns;         /* that the step takes as it is planned */
    uint64_t position; /* of whose length is being chosen */
    size_t n_rows, n_tokens, n_streams;
} step_plan;

/* What a step costs a stream that computes n guesses in it: its part of a step without guesses, and all that
 * its guesses add. They hold up the others as well: so what they save must make up for the time of all. */
static void costs_with(void *user, size_t n_guesses, double *step_ns)
{
    const step_plan *p = user;
    const double own_ns = p->runner->plain_ns / (double)p->n_streams;
    qn_step_pace_expect_each(&p->runner->pace, &p->shape, p->position, n_guesses, step_ns);
    for (size_t n = 0; n <= n_guesses; n++) step_ns[n] += own_ns - p->ns;
}

static bool wants_guesses(const qn_runner *r, const qn_slot *s)
{
    return s->text != NULL && s->request->first_token_ns != 0 && qn_slot_streams(r, s);
}

static size_t most_guesses(const step_plan *p, const qn_slot *s)
{
    const quern_request *q = s->request;
    const size_t room = q->capacity - QN_ANSWER_STEP - q->n_tokens; /* no more can be drawn */
    return qn_min_size(qn_min_size(QN_MAX_DRAFT, room), qn_min_size(p->n_rows, p->n_tokens));
}

static void take_from_plan(step_plan *p, size_t n_guesses)
{
    p->n_rows -= n_guesses;
    p->n_tokens -= n_guesses;
    if (n_guesses == 0) return;
    qn_step_shape_add(&p->shape, n_guesses, p->position);
    p->ns = qn_step_pace_expect(&p->runner->pace, &p->shape);
}

/* Between steps the index has dropped out of the caches, and one look waits for memory a dozen times. So it
 * is done side by side, as drawing is. */
void qn_slot_look_ahead(qn_slot *s)
{
    const quern_request *q = s->request;
    if (s->text == NULL) return;
    while (s->n_indexed < q->n_tokens) qn_lookup_index_append(s->text, q->tokens[s->n_indexed++]);
    s->looked = qn_lookup_index_guess(s->text, q->tokens, q->n_tokens, s->ahead, QN_MAX_DRAFT);
    s->n_looked = q->n_tokens;
}

static void look_up(const qn_runner *r, qn_slot *s, step_plan *p)
{
    if (s->n_looked != s->request->n_tokens) qn_slot_look_ahead(s); /* the text is another one since */
    const size_t n = qn_min_size(s->looked.n_tokens, most_guesses(p, s));
    if (n == 0 || r->n_draft > 0) return;
    s->draft_kind = FROM_OWN_TEXT;
    s->certainty = s->looked.certainty;
    s->n_draft =
        qn_draft_length_choose(&s->draft_length, FROM_OWN_TEXT, n, s->certainty, LOOKUP_NS, costs_with, p);
    memcpy(s->draft, s->ahead, s->n_draft * sizeof *s->draft);
}

/* How many guesses of the draft model are wanted in place of what the text says. */
static size_t choose_for_model(const qn_runner *r, qn_slot *s, step_plan *p, const qn_draft_text *text)
{
    const size_t most = most_guesses(p, s);
    if (most == 0 || !qn_draft_model_can_guess(r->draft, text)) return 0;
    if (r->n_draft > 0) return qn_min_size(most, r->n_draft);
    if (s->n_draft > 0 && s->certainty >= CERTAIN) return 0;
    const double guess_ns = qn_draft_model_guess_ns(r->draft, p->n_streams, text->n_tokens);
    return qn_draft_length_choose(&s->draft_length, BY_MODEL, most, 1, guess_ns, costs_with, p);
}

/* Lets the draft model read on, in what the plan leaves of the time, and guess. */
static void ask_model(qn_runner *r, const step_plan *p, size_t n_asked, uint64_t budget_ns)
{
    const double planned = qn_step_pace_expect(&r->pace, &p->shape);
    const uint64_t left = planned < (double)budget_ns ? budget_ns - (uint64_t)planned : 0;
    qn_metrics_turn_to(r->host.metrics, QN_PURPOSE_DRAFT);
    qn_draft_model_read(r->draft, r->asked, n_asked, left, r->n_draft > 0);
    qn_draft_model_guess(r->draft, r->asked, n_asked);
    qn_metrics_turn_to(r->host.metrics, QN_PURPOSE_SCHEDULE);
    for (size_t i = 0; i < n_asked; i++) {
        qn_slot *s = &r->slots[r->asked[i].slot];
        if (r->asked[i].n_guessed == 0) continue;
        s->draft_kind = BY_MODEL;
        s->certainty = 1;
        s->n_draft = r->asked[i].n_guessed;
        memcpy(s->draft, r->asked[i].guess, s->n_draft * sizeof *s->draft);
    }
}

/* What a step computes without guesses, of those who stream. Returns its tokens. */
static size_t plan_streams(const qn_runner *r, step_plan *p)
{
    size_t n_planned = 0;
    for (size_t i = 0; i < r->n_active; i++) {
        const qn_slot *s = r->by_turn[i];
        if (!qn_slot_streams(r, s)) continue;
        p->n_streams++;
        n_planned += qn_slot_left(r, s);
        qn_step_shape_add(&p->shape, qn_slot_left(r, s), qn_slot_length(r, s));
    }
    return n_planned;
}

/* Chooses what is guessed for a slot: from its text, or, by what is added to r->asked, by the draft model. */
static void choose(qn_runner *r, qn_slot *s, step_plan *p, size_t *n_asked)
{
    const quern_request *q = s->request;
    p->position = qn_slot_length(r, s);
    look_up(r, s, p);
    if (r->draft != NULL) {
        qn_draft_text *text = &r->asked[(*n_asked)++];
        *text = (qn_draft_text){.slot = s->seq, .tokens = q->tokens, .n_tokens = q->n_tokens};
        text->most = choose_for_model(r, s, p, text);
        if (text->most > 0) s->n_draft = 0;
        take_from_plan(p, text->most);
    }
    take_from_plan(p, s->n_draft);
}

void qn_runner_guess(qn_runner *r, uint64_t budget_ns)
{
    step_plan plan = {.runner = r, .n_rows = r->n_spare - r->n_held_back};
    const size_t n_planned = plan_streams(r, &plan);
    size_t n_asked = 0;
    r->plain_ns = plan.ns = qn_step_pace_expect(&r->pace, &plan.shape);
    if (n_planned >= r->setup.device.n_batch) return;
    plan.n_tokens = r->setup.device.n_batch - n_planned;
    for (size_t i = 0; i < r->n_active; i++)
        if (wants_guesses(r, r->by_turn[i])) choose(r, r->by_turn[i], &plan, &n_asked);
    if (n_asked > 0) ask_model(r, &plan, n_asked, budget_ns);
}

/* What guesses of the draft model saved: plain steps, of which all who draw in a step have an equal part. */
void qn_runner_learn(qn_runner *r, qn_slot *s, size_t n_true)
{
    const double cost = s->draft_length.kinds[s->draft_kind].costs[s->n_draft];
    if (s->draft_kind == BY_MODEL && cost > 0)
        qn_draft_model_earn(r->draft, (1 + (double)n_true - cost) * r->plain_ns / (double)r->n_drawing);
    qn_draft_length_learn(&s->draft_length, s->draft_kind, s->certainty, s->n_draft, n_true);
}

void qn_slot_forget_text(qn_runner *r, qn_slot *s)
{
    s->n_indexed = s->n_looked = 0;
    if (s->text != NULL) qn_lookup_index_reset(s->text);
    if (r->draft != NULL) qn_draft_model_forget(r->draft, s->seq);
}
