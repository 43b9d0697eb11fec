/* model_shelf_test.c: which models are in memory: the budget is never overdrawn, what is held never goes, the
 * least valuable goes first, nobody waits for ever, and loading does not take most of the time. */
#include "support/cmocka_all.h"

#include "engine/model_shelf.h"

#include "base/random.h"

#include <stdlib.h>
#include <string.h>

enum { N_MODELS = 12 };
static const uint64_t MS = 1000000, SECOND = 1000000000;

static uint64_t weights[N_MODELS]; /* a model takes these and a byte for a position */

static uint64_t bytes_at(void *user, size_t place, size_t n_ctx)
{
    (void)user;
    return weights[place] + n_ctx;
}

static qn_model_shelf open_shelf(uint64_t limit, uint64_t wait_ns)
{
    qn_model_shelf s;
    qn_shelf_init(
        &s, &(qn_shelf_params){.limit_bytes = limit, .max_swap_wait_ns = wait_ns, .bytes_at = bytes_at});
    return s;
}

/* n models of 1000 bytes, 100 of them for a context of 100. */
static qn_model_shelf open_alike(size_t n, uint64_t limit)
{
    qn_model_shelf s = open_shelf(limit, SECOND);
    for (size_t i = 0; i < n; i++) {
        weights[i] = 900;
        assert_int_equal(qn_shelf_add(&s, 100, false, 0), i);
    }
    return s;
}

static void expect(qn_model_shelf *s, uint64_t now, qn_shelf_act act, size_t place)
{
    const qn_shelf_step step = qn_shelf_decide(s, now);
    assert_int_equal(step.act, act);
    if (act != QN_SHELF_REST) assert_int_equal(step.place, place);
}

/* Brings a model in that has room, as one that nobody asked for by a request. */
static void bring(qn_model_shelf *s, size_t place, uint64_t now, uint64_t took)
{
    qn_shelf_ask_load(s, place, now);
    expect(s, now, QN_SHELF_LOAD, place);
    qn_shelf_loaded(s, place, s->places[place].n_ctx, took, now);
    expect(s, now, QN_SHELF_REST, 0);
}

static void park(qn_model_shelf *s, size_t place, uint64_t now)
{
    qn_shelf_use(s, place, now);
    qn_shelf_park(s, place, 50, now, 0);
}

static void unpark_all(qn_model_shelf *s, size_t place)
{
    while (s->places[place].n_parked > 0) qn_shelf_unpark(s, place), qn_shelf_queue(s, place);
}

/* ---- who goes ------------------------------------------------------------------------------------ */

static void the_least_valuable_goes(void **state)
{
    (void)state;
    for (size_t loser = 0; loser < 3; loser++) {
        qn_model_shelf s = open_alike(4, 3000);
        for (size_t i = 0; i < 3; i++) bring(&s, i, 1, 100 * MS);
        for (size_t i = 0; i < 3; i++) /* asked for as often as the others, but for one */
            for (size_t k = 0; k < (i == loser ? 1 : 3); k++) qn_shelf_use(&s, i, SECOND);
        park(&s, 3, SECOND);
        expect(&s, SECOND, QN_SHELF_UNLOAD, loser);
        expect(&s, SECOND, QN_SHELF_REST, 0); /* one at a time */
        qn_shelf_unloaded(&s, loser);
        expect(&s, SECOND, QN_SHELF_LOAD, 3);
    }
    qn_model_shelf s = open_alike(4, 3000);
    for (size_t i = 0; i < 3; i++) bring(&s, i, 1, (i + 1) * 100 * MS), qn_shelf_use(&s, i, SECOND);
    qn_shelf_use(&s, 0, SECOND), qn_shelf_use(&s, 0, SECOND), qn_shelf_use(&s, 0, SECOND);
    park(&s, 3, SECOND); /* the second takes less time to load than the third, and is asked for as often */
    expect(&s, SECOND, QN_SHELF_UNLOAD, 1);
    s = open_alike(4, 3000);
    for (size_t i = 0; i < 3; i++) bring(&s, i, 1, 100 * MS);
    for (size_t k = 0; k < 3; k++) qn_shelf_use(&s, 0, SECOND); /* often, but an hour ago */
    qn_shelf_use(&s, 1, 3600 * SECOND), qn_shelf_use(&s, 2, 3600 * SECOND);
    park(&s, 3, 3601 * SECOND);
    expect(&s, 3601 * SECOND, QN_SHELF_UNLOAD, 0);
}

static void no_more_go_than_are_needed(void **state)
{
    (void)state;
    qn_model_shelf s = open_alike(3, 3500);
    weights[1] = 1900, weights[2] = 2400; /* 1000 and 2000 are in; 2500 are to come, 500 are free */
    bring(&s, 0, 1, 100 * MS);
    bring(&s, 1, 1, 200 * MS);
    qn_shelf_use(&s, 1, 2), qn_shelf_use(&s, 1, 2), qn_shelf_use(&s, 1, 2);
    assert_true(qn_shelf_value(&s, 0, 2) < qn_shelf_value(&s, 1, 2));
    park(&s, 2, 2);
    expect(&s, 2, QN_SHELF_UNLOAD,
           1); /* the less valuable one would not be enough, and is not needed with it */
    qn_shelf_unloaded(&s, 1);
    expect(&s, 2, QN_SHELF_LOAD, 2);
    assert_int_equal(qn_shelf_used_bytes(&s), 3500);
}

static void what_is_held_pinned_or_fixed_stays(void **state)
{
    (void)state;
    qn_model_shelf s = open_alike(4, 3000);
    for (size_t i = 0; i < 3; i++) bring(&s, i, 1, MS);
    qn_shelf_use(&s, 0, 2), qn_shelf_queue(&s, 0), qn_shelf_unqueue(&s, 0), qn_shelf_hold(&s, 0);
    s.places[1].is_pinned = true;
    qn_shelf_queue(&s, 2);
    park(&s, 3, 2);
    expect(&s, 3, QN_SHELF_REST, 0);
    assert_int_equal(s.next_ns, 2 + SECOND);
    qn_shelf_unqueue(&s, 2);
    expect(&s, 3, QN_SHELF_UNLOAD, 2);
    s = open_alike(2, 3000);
    qn_shelf_add_fixed(&s, 100, 2500);
    park(&s, 0, 2);
    const qn_shelf_step step = qn_shelf_decide(&s, 3);
    assert_int_equal(step.act, QN_SHELF_REFUSE);
    assert_int_equal(step.place, 0);
    assert_int_equal(step.needed_bytes, 950); /* with the fewest positions that will do */
    assert_int_equal(step.there_bytes, 500);
    qn_shelf_reset_parked(&s, 0);
    expect(&s, 3, QN_SHELF_REST, 0);
}

static void who_is_late_has_others_drained(void **state)
{
    (void)state;
    for (size_t is_canceled = 0; is_canceled < 2; is_canceled++) {
        qn_model_shelf s = open_alike(3, 2000);
        bring(&s, 0, 1, MS), bring(&s, 1, 1, MS);
        for (size_t i = 0; i < 2; i++) qn_shelf_use(&s, i, 5 * SECOND), qn_shelf_hold(&s, i);
        qn_shelf_use(&s, 0, 5 * SECOND); /* the more valuable one */
        qn_shelf_queue(&s, 1);
        park(&s, 2, 5 * SECOND);
        expect(&s, 5 * SECOND, QN_SHELF_REST, 0);
        expect(&s, 6 * SECOND - 1, QN_SHELF_REST, 0);
        expect(&s, 6 * SECOND, QN_SHELF_DRAIN, 1);
        qn_shelf_unqueue(&s, 1), park(&s, 1, 5 * SECOND);
        assert_false(qn_shelf_takes(&s, 1, 50));
        expect(&s, 7 * SECOND, QN_SHELF_REST, 0); /* it is held */
        if (is_canceled == 1) {
            qn_shelf_unpark(&s, 2);
            expect(&s, 7 * SECOND, QN_SHELF_RETURN, 1);
            assert_true(qn_shelf_takes(&s, 1, 50));
            continue;
        }
        qn_shelf_let_go(&s, 1, 7 * SECOND);
        expect(&s, 7 * SECOND, QN_SHELF_UNLOAD, 1);
        qn_shelf_unloaded(&s, 1);
        expect(&s, 7 * SECOND, QN_SHELF_LOAD, 2); /* not the one that went, though it has waited as long */
        qn_shelf_loaded(&s, 2, 100, 400 * MS, 8 * SECOND);
        unpark_all(&s, 2);
        s.places[0].is_pinned = true;
        expect(&s, 8 * SECOND, QN_SHELF_REST, 0); /* what came stays for twice the time that it took */
        assert_int_equal(s.next_ns, 8800 * MS);
        expect(&s, 8800 * MS, QN_SHELF_DRAIN, 2);
    }
}

static void others_take_what_is_free_meanwhile(void **state)
{
    (void)state;
    qn_model_shelf s = open_alike(4, 3200);
    weights[3] = 1900, weights[2] = 50; /* 2000 and 150 with their contexts */
    bring(&s, 0, 1, MS), bring(&s, 1, 1, MS);
    for (size_t i = 0; i < 2; i++) qn_shelf_use(&s, i, 5 * SECOND), qn_shelf_hold(&s, i);
    park(&s, 3, 5 * SECOND);
    expect(&s, 6 * SECOND, QN_SHELF_DRAIN, 0);
    expect(&s, 6 * SECOND, QN_SHELF_REST, 0);
    park(&s, 2, 6 * SECOND);
    expect(&s, 6 * SECOND, QN_SHELF_LOAD, 2);
    qn_shelf_loaded(&s, 2, 100, MS, 6 * SECOND);
    unpark_all(&s, 2);
    assert_int_equal(s.target, 3);
    expect(&s, 6 * SECOND, QN_SHELF_REST, 0);
    qn_shelf_let_go(&s, 0, 7 * SECOND);
    expect(&s, 7 * SECOND, QN_SHELF_UNLOAD, 0);
    qn_shelf_unloaded(&s, 0);
    expect(&s, 7 * SECOND, QN_SHELF_LOAD, 3);
}

static void what_is_not_used_goes_in_time(void **state)
{
    (void)state;
    qn_model_shelf s = open_shelf(10000, SECOND);
    qn_shelf_add(&s, 100, false, 3 * SECOND);
    qn_shelf_add(&s, 100, true, 3 * SECOND);
    qn_shelf_add(&s, 100, false, UINT64_MAX);
    for (size_t i = 0; i < 3; i++) bring(&s, i, SECOND, MS);
    assert_int_equal(s.next_ns, 4 * SECOND);
    qn_shelf_hold(&s, 0), qn_shelf_let_go(&s, 0, 2 * SECOND);
    expect(&s, 5 * SECOND - 1, QN_SHELF_REST, 0);
    assert_int_equal(s.next_ns, 5 * SECOND);
    expect(&s, 5 * SECOND, QN_SHELF_UNLOAD, 0);
    qn_shelf_unloaded(&s, 0);
    expect(&s, 500 * SECOND, QN_SHELF_REST, 0);
    qn_shelf_ask_unload(&s, 2);
    expect(&s, 500 * SECOND, QN_SHELF_UNLOAD, 2);
}

/* ---- too little memory --------------------------------------------------------------------------- */

static void what_does_not_fit_comes_smaller(void **state)
{
    (void)state;
    qn_model_shelf s = open_shelf(1000, SECOND);
    weights[0] = 900;
    qn_shelf_add(&s, 4000, false, 0);
    park(&s, 0, 1); /* wants 50 positions */
    const qn_shelf_step step = qn_shelf_decide(&s, 1);
    assert_int_equal(step.act, QN_SHELF_LOAD);
    assert_int_equal(step.n_ctx, 100);
    qn_shelf_loaded(&s, 0, step.n_ctx, MS, 2);
    assert_int_equal(qn_shelf_used_bytes(&s), 1000);
    assert_true(qn_shelf_takes(&s, 0, 100));
    assert_false(qn_shelf_takes(&s, 0, 101));
    unpark_all(&s, 0);
    qn_shelf_park(&s, 0, 101, 3, 0); /* and this never fits, but others are served */
    expect(&s, 3, QN_SHELF_REFUSE, 0);
    qn_shelf_reset_parked(&s, 0);
    expect(&s, 3, QN_SHELF_REST, 0);
    assert_int_equal(s.places[0].state, QN_SHELF_IN);
}

static void a_longer_text_has_its_model_loaded_anew(void **state)
{
    (void)state;
    qn_model_shelf s = open_shelf(2000, SECOND);
    weights[0] = 900;
    qn_shelf_add(&s, 1000, false, 0);
    const size_t fixed = qn_shelf_add_fixed(&s, 10, 1000);
    park(&s, 0, 1);
    expect(&s, 1, QN_SHELF_LOAD, 0);
    qn_shelf_loaded(&s, 0, 100, MS, 2);
    unpark_all(&s, 0);
    qn_shelf_unqueue(&s, 0), qn_shelf_hold(&s, 0);
    s.places[fixed].bytes = 0; /* there is more room by now */
    qn_shelf_park(&s, 0, 500, 3, 0);
    expect(&s, 4, QN_SHELF_REST, 0);
    expect(&s, 3 + SECOND, QN_SHELF_DRAIN, 0);
    qn_shelf_let_go(&s, 0, 2 * SECOND);
    expect(&s, 2 * SECOND, QN_SHELF_UNLOAD, 0);
    qn_shelf_unloaded(&s, 0);
    const qn_shelf_step step = qn_shelf_decide(&s, 2 * SECOND);
    assert_int_equal(step.act, QN_SHELF_LOAD);
    assert_int_equal(step.n_ctx, 1000);
}

static void short_memory_is_tried_again_and_then_smaller(void **state)
{
    (void)state;
    qn_model_shelf s = open_alike(3, 10000);
    bring(&s, 0, 1, MS), bring(&s, 1, 1, MS);
    qn_shelf_use(&s, 0, 2);
    park(&s, 2, 2);
    qn_shelf_step step = qn_shelf_decide(&s, 2);
    assert_int_equal(step.act, QN_SHELF_LOAD);
    assert_int_equal(step.least_n_ctx, 100); /* not smaller yet */
    assert_true(qn_shelf_load_failed(&s, 2, true, MS, 3));
    expect(&s, 3, QN_SHELF_UNLOAD, 1); /* there is room by the budget, but the machine has less */
    qn_shelf_unloaded(&s, 1);
    step = qn_shelf_decide(&s, 3); /* as many bytes as it takes were given back: the other one stays */
    assert_int_equal(step.act, QN_SHELF_LOAD);
    assert_int_equal(step.n_ctx, 100);
    assert_int_equal(step.least_n_ctx, 50);
    assert_false(qn_shelf_load_failed(&s, 2, true, MS, 4));
    qn_shelf_reset_parked(&s, 2);
    assert_int_equal(s.places[2].retry_ns, 4 + SECOND);
    expect(&s, 4, QN_SHELF_REST, 0);
    park(&s, 2, 2 * SECOND);
    expect(&s, 2 * SECOND, QN_SHELF_LOAD, 2);
    assert_false(qn_shelf_load_failed(&s, 2, false, 10 * SECOND, 5)); /* a bad file: no use in trying */
    assert_int_equal(s.places[2].retry_ns, 5 + 40 * SECOND);
}

/* ---- thousands of requests ----------------------------------------------------------------------- */

enum { N_REQUESTS = 6000, N_SLOTS = 4 };

typedef enum fate { NOT_YET, PARKED, QUEUED, HELD, DONE, GONE } fate;

typedef struct errand {
    size_t model;
    uint64_t at_ns, takes_ns, until_ns, patience_ns, parked_ns; /* until: it ends, or gives up */
    size_t n_ctx;
    fate fate;
} errand;

typedef struct town {
    qn_model_shelf shelf;
    errand *errands;
    size_t n_begun; /* that have come */
    qn_shelf_step move;
    uint64_t move_ends_ns, longest_parked_ns;
    size_t n_loads, n_over;
    qn_random random;
} town;

static uint64_t load_time(size_t model)
{
    return (50 + 20 * (uint64_t)model) * MS;
}

static void make_errands(town *t, double per_second, bool is_even)
{
    uint64_t at = 0;
    for (size_t i = 0; i < N_REQUESTS; i++) {
        errand *r = &t->errands[i];
        const double u = qn_random_unit(&t->random);
        at += (uint64_t)(2.0 * qn_random_unit(&t->random) * 1e9 / per_second);
        *r = (errand){.at_ns = at,
                      .model = is_even ? (size_t)(u * N_MODELS) : (size_t)(u * u * u * N_MODELS),
                      .takes_ns = (5 + qn_random_u64(&t->random) % 60) * MS,
                      .patience_ns = qn_random_u64(&t->random) % 20 == 0 ? 100 * MS : 3600 * SECOND,
                      .n_ctx = 1 + qn_random_u64(&t->random) % 100};
    }
}

static void come(town *t, errand *r, uint64_t now)
{
    qn_shelf_use(&t->shelf, r->model, now);
    r->until_ns = now + r->patience_ns;
    if (qn_shelf_takes(&t->shelf, r->model, r->n_ctx)) {
        r->fate = QUEUED;
        qn_shelf_queue(&t->shelf, r->model);
    } else {
        r->fate = PARKED;
        r->parked_ns = now;
        qn_shelf_park(&t->shelf, r->model, r->n_ctx, r->at_ns, 0);
    }
}

static void leave_park(town *t, errand *r, uint64_t now)
{
    qn_shelf_unpark(&t->shelf, r->model);
    if (now - r->parked_ns > t->longest_parked_ns) t->longest_parked_ns = now - r->parked_ns;
}

static void follow(town *t, const qn_shelf_step *step, uint64_t now)
{
    const qn_shelf_place *p = &t->shelf.places[step->place];
    for (size_t i = 0; i < t->n_begun; i++) {
        errand *r = &t->errands[i];
        if (r->model != step->place) continue;
        if (step->act == QN_SHELF_UNLOAD) assert_true(r->fate != HELD && r->fate != QUEUED);
        if (step->act == QN_SHELF_DRAIN && r->fate == QUEUED) {
            qn_shelf_unqueue(&t->shelf, r->model);
            r->fate = PARKED, r->parked_ns = now;
            qn_shelf_park(&t->shelf, r->model, r->n_ctx, r->at_ns, 0);
        }
        if (step->act == QN_SHELF_RETURN && r->fate == PARKED &&
            qn_shelf_takes(&t->shelf, r->model, r->n_ctx)) {
            leave_park(t, r, now);
            r->fate = QUEUED;
            qn_shelf_queue(&t->shelf, r->model);
        }
    }
    assert_true(step->act != QN_SHELF_REFUSE && !p->is_fixed);
    if (step->act != QN_SHELF_LOAD && step->act != QN_SHELF_UNLOAD) return;
    t->move = *step;
    t->move_ends_ns = now + (step->act == QN_SHELF_LOAD ? load_time(step->place) : 5 * MS);
}

static void end_move(town *t, uint64_t now)
{
    const qn_shelf_step step = t->move;
    if (step.act == QN_SHELF_REST || now < t->move_ends_ns) return;
    t->move.act = QN_SHELF_REST;
    if (step.act == QN_SHELF_UNLOAD) {
        qn_shelf_unloaded(&t->shelf, step.place);
        return;
    }
    t->n_loads++;
    qn_shelf_loaded(&t->shelf, step.place, step.n_ctx, load_time(step.place), now);
    follow(t, &(qn_shelf_step){.act = QN_SHELF_RETURN, .place = step.place}, now);
}

/* One moment of a request that has come and has not ended. */
static void live(town *t, errand *r, uint64_t now)
{
    qn_model_shelf *s = &t->shelf;
    if (r->fate == HELD && now >= r->until_ns) {
        qn_shelf_let_go(s, r->model, now);
        r->fate = DONE;
    } else if ((r->fate == PARKED || r->fate == QUEUED) && now >= r->until_ns) {
        if (r->fate == PARKED) leave_park(t, r, now);
        else qn_shelf_unqueue(s, r->model);
        r->fate = GONE;
    } else if (r->fate == QUEUED && s->places[r->model].n_held < N_SLOTS) {
        assert_int_equal(s->places[r->model].state, QN_SHELF_IN);
        qn_shelf_unqueue(s, r->model);
        qn_shelf_hold(s, r->model);
        r->fate = HELD;
        r->until_ns = now + r->takes_ns;
    }
}

/* Returns the time that it took until all had ended. */
static uint64_t run_town(town *t)
{
    uint64_t now = 0;
    for (size_t first = 0; first < N_REQUESTS; now += MS) {
        assert_true(now < 36000 * SECOND);
        end_move(t, now);
        for (; t->n_begun < N_REQUESTS && t->errands[t->n_begun].at_ns <= now; t->n_begun++)
            come(t, &t->errands[t->n_begun], now);
        for (qn_shelf_step step; (step = qn_shelf_decide(&t->shelf, now)).act != QN_SHELF_REST;)
            follow(t, &step, now);
        for (size_t i = first; i < t->n_begun; i++) live(t, &t->errands[i], now);
        while (first < N_REQUESTS && t->errands[first].fate >= DONE) first++;
        t->n_over += qn_shelf_used_bytes(&t->shelf) > t->shelf.params.limit_bytes;
    }
    return now;
}

/* Loads if every request had its model at once, in the order of their coming, the least recently used of four
 * going: what many programs do. */
static size_t count_naive_loads(const town *t)
{
    size_t in[4] = {N_MODELS, N_MODELS, N_MODELS, N_MODELS}, n = 0;
    for (size_t i = 0; i < N_REQUESTS; i++) {
        size_t k = 0;
        while (k < 3 && in[k] != t->errands[i].model) k++;
        n += in[k] != t->errands[i].model;
        memmove(in + 1, in, k * sizeof *in);
        in[0] = t->errands[i].model;
    }
    return n;
}

static void live_through(double per_second, bool is_even, uint64_t longest_ns, double most_loads)
{
    town t = {.shelf = open_shelf(4000, SECOND), .errands = calloc(N_REQUESTS, sizeof(errand))};
    t.random = (qn_random){.seed = (uint64_t)per_second};
    for (size_t i = 0; i < N_MODELS; i++) {
        weights[i] = 600 + 100 * (i % 5); /* 700 to 1100 with their contexts */
        qn_shelf_add(&t.shelf, 100, false, 0);
    }
    make_errands(&t, per_second, is_even);
    const uint64_t took = run_town(&t);
    size_t n_done = 0, n_gone = 0;
    for (size_t i = 0; i < N_REQUESTS; i++)
        n_done += t.errands[i].fate == DONE, n_gone += t.errands[i].fate == GONE;
    for (size_t i = 0; i < N_MODELS; i++) {
        const qn_shelf_place *p = &t.shelf.places[i];
        assert_int_equal(p->n_held + p->n_queued + p->n_parked, 0);
    }
    print_message(
        "%4.0f requests/s: %zu answered, %zu gave up, %zu loads (naively %zu), at most %.2f s parked, "
        "%.1f s in all\n",
        per_second, n_done, n_gone, t.n_loads, count_naive_loads(&t), (double)t.longest_parked_ns * 1e-9,
        (double)took * 1e-9);
    assert_int_equal(n_done + n_gone, N_REQUESTS);
    assert_true(n_gone < N_REQUESTS / 20 + 60);
    assert_int_equal(t.n_over, 0);
    assert_true(t.longest_parked_ns <= longest_ns);
    assert_true((double)t.n_loads <= most_loads * (double)count_naive_loads(&t));
    free(t.errands);
}

static void none_is_lost_none_starves_and_loads_are_few(void **state)
{
    (void)state;
    live_through(2, false, 2 * SECOND, 1.0);
    live_through(20, false, 3 * SECOND, 0.8);
    live_through(20, true, 3 * SECOND, 0.6);
    live_through(200, true, 4 * SECOND, 0.1); /* more than can be served: they pile up */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_valuable_goes),
        cmocka_unit_test(no_more_go_than_are_needed),
        cmocka_unit_test(what_is_held_pinned_or_fixed_stays),
        cmocka_unit_test(who_is_late_has_others_drained),
        cmocka_unit_test(others_take_what_is_free_meanwhile),
        cmocka_unit_test(what_is_not_used_goes_in_time),
        cmocka_unit_test(what_does_not_fit_comes_smaller),
        cmocka_unit_test(a_longer_text_has_its_model_loaded_anew),
        cmocka_unit_test(short_memory_is_tried_again_and_then_smaller),
        cmocka_unit_test(none_is_lost_none_starves_and_loads_are_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
