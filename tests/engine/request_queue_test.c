/* request_queue_test.c: who is next: shares by weight, nobody starves, order by arrival, and at every step
 * of random ones the same answer as a plain model that looks at everything. */
#include "support/cmocka_all.h"

#include "engine/request_queue.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static qn_request_queue *create(size_t max_waiting, uint64_t aging_ns)
{
    qn_request_queue *q = NULL;
    quern_error err;
    assert_int_equal(qn_request_queue_create(&q, max_waiting, aging_ns, &err), QUERN_OK);
    assert_non_null(q);
    return q;
}

enum { N_LINES = 4 };

static qn_queue_client *join(qn_request_queue *q, const char *name, double weight)
{
    qn_queue_client *client = qn_request_queue_join(q, name, weight, N_LINES - 1);
    assert_non_null(client);
    return client;
}

static void push(qn_request_queue *q, qn_queue_client *client, qn_queue_entry *entry, int priority,
                 uint64_t arrived_ns)
{
    *entry = (qn_queue_entry){.priority = priority, .arrived_ns = arrived_ns};
    assert_true(qn_request_queue_push(q, client, entry, false));
    assert_true(entry->is_waiting);
    assert_ptr_equal(entry->client, client);
}

static size_t below(qn_random *r, size_t n)
{
    return (size_t)(qn_random_u64(r) % n);
}

/* Serves the next one: it is removed, and its client charged. */
static qn_queue_entry *serve(qn_request_queue *q, uint64_t now_ns, double cost)
{
    qn_queue_entry *entry = qn_request_queue_best(q, now_ns, NULL, NULL);
    assert_non_null(entry);
    qn_request_queue_remove(q, entry);
    assert_false(entry->is_waiting);
    qn_request_queue_charge(q, entry->client, cost);
    return entry;
}

static void shares_follow_weights(void **state)
{
    (void)state;
    static const double weights[3] = {1, 2, 4};
    qn_request_queue *q = create(100, 0);
    qn_random r = {.seed = 1};
    qn_queue_entry entries[3][4];
    qn_queue_client *clients[3];
    double received[3] = {0}, all = 0;
    for (size_t c = 0; c < 3; c++) {
        clients[c] = join(q, (const char *const[]){"one", "two", "four"}[c], weights[c]);
        for (size_t i = 0; i < 4; i++) push(q, clients[c], &entries[c][i], 1, i);
    }
    for (uint64_t now = 4; now < 7000; now++) { /* whoever is served has another one at once */
        const double cost = 1 + (double)below(&r, 100);
        qn_queue_entry *entry = serve(q, now, cost);
        for (size_t c = 0; c < 3; c++)
            if (entry->client == clients[c]) received[c] += cost;
        all += cost;
        push(q, entry->client, entry, 1, now);
    }
    for (size_t c = 0; c < 3; c++) assert_true(fabs(received[c] / all / (weights[c] / 7) - 1) < 0.02);
    qn_request_queue_destroy(q);
}

/* One has many requests waiting; the other sends the next when the last is answered, and is gone between. */
static void leaving_after_every_answer_gains_nothing(void **state)
{
    (void)state;
    qn_request_queue *q = create(100, 0);
    qn_queue_entry many[8], single;
    qn_queue_client *stays = join(q, "stays", 1), *comes = join(q, "comes", 1);
    double of_stays = 0, of_comes = 0;
    for (size_t i = 0; i < 8; i++) push(q, stays, &many[i], 0, i);
    push(q, comes, &single, 0, 8);
    for (uint64_t now = 9; now < 5000; now++) {
        const qn_queue_entry *next = qn_request_queue_best(q, now, NULL, NULL);
        const double cost = next == &single ? 30 : 2;
        qn_queue_entry *entry = serve(q, now, cost);
        *(entry == &single ? &of_comes : &of_stays) += cost;
        if (entry == &single) {
            qn_request_queue_leave(q, comes);
            comes = join(q, "comes", 1);
        }
        push(q, entry == &single ? comes : stays, entry, 0, now);
    }
    assert_true(fabs(of_comes / of_stays - 1) < 0.02);
    qn_request_queue_destroy(q);
}

static void who_was_away_has_saved_up_nothing_and_owes_nothing(void **state)
{
    (void)state;
    qn_request_queue *q = create(100, 0);
    qn_queue_client *a = join(q, "a", 1), *b = join(q, "b", 1);
    qn_request_queue_charge(q, b, 10);
    qn_request_queue_leave(q, b);
    qn_request_queue_charge(q, a, 1000);
    b = join(q, "b", 2);
    assert_true(qn_request_queue_received(b) ==
                1000); /* saved up nothing; a does not owe what it got alone */
    qn_queue_client *c = join(q, "c", 1);
    assert_true(qn_request_queue_received(c) == 1000);
    qn_request_queue_charge(q, b, 100); /* at weight 2 */
    assert_true(qn_request_queue_received(b) == 1050);
    qn_request_queue_leave(q, b);
    assert_true(qn_request_queue_received(join(q, "b", 1)) == 1050); /* left ahead, comes back ahead */
    qn_request_queue_leave(q, b);
    qn_request_queue_leave(q, a);
    qn_request_queue_leave(q, c); /* nobody is there: all is forgotten */
    b = join(q, "b", 1), a = join(q, "a", 1);
    assert_true(qn_request_queue_received(a) == qn_request_queue_received(b));
    qn_request_queue_destroy(q);
}

static void a_client_is_held_as_often_as_it_joined(void **state)
{
    (void)state;
    qn_request_queue *q = create(100, 0);
    qn_queue_client *a = join(q, "a", 1), *other = join(q, "other", 1);
    assert_ptr_equal(join(q, "a", 4), a);
    qn_request_queue_charge(q, a, 8);
    assert_true(qn_request_queue_received(a) == 2); /* the weight last told */
    qn_request_queue_leave(q, a);
    qn_queue_entry entry;
    push(q, a, &entry, 0, 1); /* still there */
    assert_ptr_equal(serve(q, 2, 1), &entry);
    qn_request_queue_leave(q, a);
    qn_request_queue_charge(q, other, 100);
    a = join(q, "a", 0x1p-1000); /* absurd weights are bounded, so that nothing becomes infinite */
    qn_request_queue_charge(q, a, 1);
    assert_true(qn_request_queue_received(a) == 100 + 1024);
    a = join(q, "a", 0x1p1000);
    qn_request_queue_charge(q, a, 1024);
    assert_true(qn_request_queue_received(a) == 100 + 1025);
    qn_request_queue_destroy(q);
}

/* Urgent requests come as fast as they are served. Returns when the other one was, or 0 for never. */
static uint64_t wait_of_lowest(uint64_t aging_ns)
{
    qn_request_queue *q = create(100, aging_ns);
    qn_queue_entry urgent[2], low;
    qn_queue_client *busy = join(q, "busy", 1), *patient = join(q, "patient", 1);
    uint64_t now = 1;
    push(q, patient, &low, QN_PRIORITIES - 1, now);
    push(q, busy, &urgent[0], 0, now);
    push(q, busy, &urgent[1], 0, now);
    for (; now < 100000; now += 10) {
        qn_queue_entry *entry = serve(q, now, 1);
        if (entry == &low) break;
        push(q, busy, entry, 0, now);
    }
    if (now >= 100000) { /* when no urgent one comes any more, it is served */
        qn_request_queue_remove(q, &urgent[0]);
        qn_request_queue_remove(q, &urgent[1]);
        assert_ptr_equal(serve(q, now, 1), &low);
        now = 0;
    }
    qn_request_queue_destroy(q);
    return now;
}

static void nobody_starves_who_ages(void **state)
{
    (void)state;
    assert_int_equal(wait_of_lowest(0), 0);
    const uint64_t waited = wait_of_lowest(1000);
    assert_in_range(waited, 3001, 3011);
}

static void a_request_rises_by_one_class_at_a_time(void **state)
{
    (void)state;
    qn_request_queue *q = create(100, 50);
    const qn_queue_entry entry = {.priority = 2, .arrived_ns = 1000};
    assert_int_equal(qn_request_queue_class(q, &entry, 0), 2); /* a clock read elsewhere may be behind */
    assert_int_equal(qn_request_queue_class(q, &entry, 1000), 2);
    assert_int_equal(qn_request_queue_class(q, &entry, 1049), 2);
    assert_int_equal(qn_request_queue_class(q, &entry, 1050), 1);
    assert_int_equal(qn_request_queue_class(q, &entry, 1099), 1);
    assert_int_equal(qn_request_queue_class(q, &entry, 1100), 0);
    assert_int_equal(qn_request_queue_class(q, &entry, UINT64_MAX), 0);
    qn_request_queue_destroy(q);
}

static void an_entry_put_back_waits_where_it_did(void **state)
{
    (void)state;
    qn_request_queue *q = create(5, 0);
    qn_queue_client *a = join(q, "a", 1);
    qn_queue_entry entries[5], late = {.priority = 1, .arrived_ns = 8};
    for (size_t i = 0; i < 5; i++) push(q, a, &entries[i], 1, 7); /* all at one time */
    assert_false(qn_request_queue_push(q, a, &late, false));      /* five are the most */
    assert_false(late.is_waiting);
    qn_request_queue_remove(q, &entries[1]);
    qn_request_queue_remove(q, &entries[3]);
    qn_request_queue_remove(q, &entries[3]); /* waits no more: nothing happens */
    qn_request_queue_remove(q, &late);
    assert_int_equal(qn_request_queue_size(q), 3);
    assert_true(qn_request_queue_push(q, a, &late, false));
    assert_true(qn_request_queue_push(q, a, &entries[3], true));
    assert_true(qn_request_queue_push(q, a, &entries[1], true)); /* the sixth, but it was there before */
    assert_int_equal(qn_request_queue_size(q), 6);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(qn_request_queue_position(q, &late, 9, 1), 5 - i);
        assert_ptr_equal(serve(q, 9, 1), &entries[i]);
    }
    assert_ptr_equal(serve(q, 9, 1), &late);
    assert_null(qn_request_queue_best(q, 9, NULL, NULL));
    qn_request_queue_destroy(q);
}

static bool is_not_client(void *user, const qn_queue_entry *entry)
{
    return entry->client != user;
}

static bool is_not_entry(void *user, const qn_queue_entry *entry)
{
    return entry != user;
}

static void who_cannot_be_served_is_passed_over(void **state)
{
    (void)state;
    qn_request_queue *q = create(100, 0);
    qn_queue_client *a = join(q, "a", 1), *b = join(q, "b", 1);
    qn_queue_entry first, second, other;
    push(q, a, &first, 0, 1);
    push(q, a, &second, 0, 2);
    push(q, b, &other, 3, 3);
    assert_ptr_equal(qn_request_queue_best(q, 9, NULL, NULL), &first);
    assert_ptr_equal(qn_request_queue_best(q, 9, is_not_client, a), &other);
    assert_ptr_equal(qn_request_queue_best(q, 9, is_not_entry, &first), &other); /* nor those behind it */
    qn_request_queue_remove(q, &other);
    assert_null(qn_request_queue_best(q, 9, is_not_entry, &first));
    qn_request_queue_destroy(q);
}

static bool is_not_of_line(void *user, const qn_queue_entry *entry)
{
    return entry->line != *(const size_t *)user;
}

static void a_line_that_is_held_up_holds_up_no_other(void **state)
{
    (void)state;
    qn_request_queue *q = create(100, 0);
    size_t held_up = 0;
    qn_queue_client *a = qn_request_queue_join(q, "a", 1, 0);
    assert_ptr_equal(qn_request_queue_join(q, "a", 1, QN_QUEUE_LINES - 1), a);
    qn_queue_entry entries[4];
    for (size_t i = 0; i < 4; i++) {
        entries[i] = (qn_queue_entry){
            .priority = 1, .arrived_ns = i, .line = i < 2 || i == 3 ? 0 : QN_QUEUE_LINES - 1};
        assert_true(qn_request_queue_push(q, a, &entries[i], false));
    }
    assert_ptr_equal(qn_request_queue_best(q, 9, is_not_of_line, &held_up), &entries[2]);
    qn_request_queue_remove(q, &entries[2]);
    assert_null(qn_request_queue_best(q, 9, is_not_of_line, &held_up));
    held_up = 1;
    assert_true(qn_request_queue_push(q, a, &entries[2], true));
    for (size_t i = 0; i < 4; i++) { /* of one client the oldest, whatever its line */
        assert_int_equal(qn_request_queue_position(q, &entries[3], 9, 1), 3 - i);
        assert_ptr_equal(serve(q, 9, 1), &entries[i]);
    }
    qn_request_queue_destroy(q);
}

/* The plain model: nothing is sorted, nothing is ever forgotten but when nobody is there. */

enum { N_MODEL_CLIENTS = 9, N_MODEL_ENTRIES = 40, MODEL_MAX_WAITING = 30, MODEL_AGING_NS = 300 };

typedef struct model_client {
    qn_queue_client *handle;
    double received, weight;
    size_t n_held, n_waiting;
} model_client;

typedef struct model {
    qn_request_queue *q;
    model_client clients[N_MODEL_CLIENTS];
    qn_queue_entry entries[N_MODEL_ENTRIES];
    size_t owner[N_MODEL_ENTRIES];
    bool waits[N_MODEL_ENTRIES], was_pushed[N_MODEL_ENTRIES]; /* served once, to be put back perhaps */
    size_t n_waiting;
    uint64_t now_ns;
    qn_random random;
} model;

static int model_class(const model *m, size_t e)
{
    const uint64_t rise = (m->now_ns - m->entries[e].arrived_ns) / MODEL_AGING_NS;
    const uint64_t priority = (uint64_t)m->entries[e].priority;
    return (int)(rise < priority ? priority - rise : 0);
}

/* Whether entry a comes before b, if clients have received that much. */
static bool model_is_sooner(const model *m, const double received[N_MODEL_CLIENTS], size_t a, size_t b)
{
    const int class_a = model_class(m, a), class_b = model_class(m, b);
    const double received_a = received[m->owner[a]], received_b = received[m->owner[b]];
    if (class_a != class_b) return class_a < class_b;
    if (received_a != received_b) return received_a < received_b;
    if (m->entries[a].arrived_ns != m->entries[b].arrived_ns)
        return m->entries[a].arrived_ns < m->entries[b].arrived_ns;
    return m->entries[a].number < m->entries[b].number;
}

/* The next of those that wait and whose client is not forbidden; N_MODEL_ENTRIES for none. */
static size_t model_best(const model *m, const bool waits[N_MODEL_ENTRIES],
                         const double received[N_MODEL_CLIENTS], const qn_queue_client *forbidden)
{
    size_t best = N_MODEL_ENTRIES;
    for (size_t e = 0; e < N_MODEL_ENTRIES; e++) {
        if (!waits[e] || m->clients[m->owner[e]].handle == forbidden) continue;
        if (best == N_MODEL_ENTRIES || model_is_sooner(m, received, e, best)) best = e;
    }
    return best;
}

/* Serves all before an entry, one after the other. */
static size_t model_position(const model *m, size_t entry, double cost)
{
    bool waits[N_MODEL_ENTRIES];
    double received[N_MODEL_CLIENTS];
    memcpy(waits, m->waits, sizeof waits);
    for (size_t c = 0; c < N_MODEL_CLIENTS; c++) received[c] = m->clients[c].received;
    for (size_t n = 0;; n++) {
        const size_t best = model_best(m, waits, received, NULL);
        assert_true(best < N_MODEL_ENTRIES);
        if (best == entry) return n;
        waits[best] = false;
        received[m->owner[best]] += cost / m->clients[m->owner[best]].weight;
    }
}

static double model_least(const model *m)
{
    double least = INFINITY;
    for (size_t c = 0; c < N_MODEL_CLIENTS; c++)
        if (m->clients[c].n_held > 0) least = fmin(least, m->clients[c].received);
    return least;
}

static void random_join(model *m, size_t c)
{
    model_client *client = &m->clients[c];
    const double least = model_least(m);
    char name[32];
    snprintf(name, sizeof name, "client %zu", c);
    client->weight = ldexp(1, (int)below(&m->random, 5) - 2); /* sums of quotients stay exact */
    client->handle = join(m->q, name, client->weight);
    if (isinf(least))
        for (size_t i = 0; i < N_MODEL_CLIENTS; i++) m->clients[i].received = 0;
    else if (client->n_held == 0) client->received = fmax(client->received, least);
    client->n_held++;
}

static void random_leave(model *m, size_t c)
{
    model_client *client = &m->clients[c];
    if (client->n_held == 0 || (client->n_held == 1 && client->n_waiting > 0)) return;
    qn_request_queue_leave(m->q, client->handle);
    if (--client->n_held == 0) client->handle = NULL;
}

static void random_push(model *m, size_t c, size_t e)
{
    qn_queue_entry *entry = &m->entries[e];
    if (m->waits[e] || m->clients[c].n_held == 0) return;
    const bool is_again = m->was_pushed[e] && below(&m->random, 2) == 0;
    if (!is_again) {
        const uint64_t before_ns = below(&m->random, 8) == 0 ? below(&m->random, 200) : 0;
        *entry = (qn_queue_entry){.priority = (int)below(&m->random, QN_PRIORITIES),
                                  .line = below(&m->random, N_LINES),
                                  .arrived_ns = m->now_ns - before_ns};
    }
    const bool taken = qn_request_queue_push(m->q, m->clients[c].handle, entry, is_again);
    assert_int_equal(taken, is_again || m->n_waiting < MODEL_MAX_WAITING);
    if (!taken) return;
    m->owner[e] = c;
    m->waits[e] = m->was_pushed[e] = true;
    m->clients[c].n_waiting++;
    m->n_waiting++;
}

static void random_remove(model *m, size_t e)
{
    qn_request_queue_remove(m->q, &m->entries[e]);
    if (!m->waits[e]) return;
    m->waits[e] = false;
    m->clients[m->owner[e]].n_waiting--;
    m->n_waiting--;
}

static void random_serve(model *m)
{
    qn_queue_entry *entry = qn_request_queue_best(m->q, m->now_ns, NULL, NULL);
    if (entry == NULL) return;
    const size_t e = (size_t)(entry - m->entries), c = m->owner[e];
    const double cost = (double)below(&m->random, 20);
    random_remove(m, e);
    qn_request_queue_charge(m->q, m->clients[c].handle, cost);
    m->clients[c].received += cost / m->clients[c].weight;
}

static void compare(model *m)
{
    double received[N_MODEL_CLIENTS];
    for (size_t c = 0; c < N_MODEL_CLIENTS; c++) {
        received[c] = m->clients[c].received;
        if (m->clients[c].n_held > 0)
            assert_true(qn_request_queue_received(m->clients[c].handle) == received[c]);
    }
    assert_int_equal(qn_request_queue_size(m->q), m->n_waiting);
    const size_t best = model_best(m, m->waits, received, NULL);
    assert_ptr_equal(qn_request_queue_best(m->q, m->now_ns, NULL, NULL),
                     best < N_MODEL_ENTRIES ? &m->entries[best] : NULL);
    qn_queue_client *forbidden = m->clients[below(&m->random, N_MODEL_CLIENTS)].handle;
    const size_t other = model_best(m, m->waits, received, forbidden);
    if (forbidden != NULL)
        assert_ptr_equal(qn_request_queue_best(m->q, m->now_ns, is_not_client, forbidden),
                         other < N_MODEL_ENTRIES ? &m->entries[other] : NULL);
    const size_t e = below(&m->random, N_MODEL_ENTRIES);
    const double cost = below(&m->random, 3) == 0 ? 0 : (double)below(&m->random, 20);
    if (m->waits[e]) {
        assert_int_equal(qn_request_queue_class(m->q, &m->entries[e], m->now_ns), model_class(m, e));
        assert_int_equal(qn_request_queue_position(m->q, &m->entries[e], m->now_ns, cost),
                         model_position(m, e, cost));
    }
}

static void is_the_same_as_a_plain_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        model m = {.now_ns = 1000, .random = {.seed = seed}};
        m.q = create(MODEL_MAX_WAITING, MODEL_AGING_NS);
        for (size_t step = 0; step < 10000; step++) {
            const size_t c = below(&m.random, N_MODEL_CLIENTS), e = below(&m.random, N_MODEL_ENTRIES);
            const size_t what = below(&m.random, 100);
            const bool drains = step / 500 % 4 == 3; /* now and then nobody is left */
            if (what < 10 && !drains) random_join(&m, c);
            else if (what < 25) random_leave(&m, c);
            else if (what < 65 && !drains) random_push(&m, c, e);
            else if (what < 72) random_remove(&m, e);
            else if (what < 95) random_serve(&m);
            else m.now_ns += below(&m.random, 200);
            compare(&m);
        }
        qn_request_queue_destroy(m.q);
    }
}

static void what_is_remembered_of_the_absent_is_bounded(void **state)
{
    (void)state;
    const long live = qn_alloc_live();
    qn_request_queue *q = create(10, 0);
    (void)join(q, "held back", 1);
    for (size_t i = 0; i < 5000; i++) { /* many names, each served once while another one waits */
        char name[32];
        snprintf(name, sizeof name, "%zu", i);
        qn_queue_client *client = join(q, name, 1);
        assert_true(qn_request_queue_received(client) == 0);
        qn_request_queue_charge(q, client, (double)(1 + i));
        qn_request_queue_leave(q, client);
        assert_true(qn_alloc_live() - live < 1100);
    }
    assert_true(qn_request_queue_received(join(q, "4999", 1)) == 5000); /* those most ahead are remembered */
    assert_true(qn_request_queue_received(join(q, "7", 1)) == 0);
    qn_request_queue_destroy(q);
    assert_int_equal(qn_alloc_live(), live);
}

/* The least of many times is what it takes on a machine that is busy with other things, too. */
static void ten_thousand_waiting_cost_a_step_little(void **state)
{
    (void)state;
    enum { N_CLIENTS = 100, N_EACH = 100 };
    qn_request_queue *q = create(N_CLIENTS * N_EACH, 1000000);
    qn_queue_entry *entries = calloc(N_CLIENTS * N_EACH, sizeof *entries);
    assert_non_null(entries);
    for (size_t i = 0; i < N_CLIENTS * N_EACH; i++) {
        char name[32];
        snprintf(name, sizeof name, "client %zu", i % N_CLIENTS);
        push(q, join(q, name, 1), &entries[i], (int)(i / N_CLIENTS % QN_PRIORITIES), i);
    }
    uint64_t least_ns = UINT64_MAX;
    for (uint64_t now = N_CLIENTS * N_EACH; qn_request_queue_size(q) > N_CLIENTS * N_EACH / 2; now += 1000) {
        const uint64_t begin_ns = qn_clock_ns();
        qn_queue_entry *best = qn_request_queue_best(q, now, NULL, NULL);
        const uint64_t taken_ns = qn_clock_ns() - begin_ns;
        if (taken_ns < least_ns) least_ns = taken_ns;
        qn_request_queue_remove(q, best);
        qn_request_queue_charge(q, best->client, 1);
    }
    print_message("the next of 10000 that wait, of 100 clients: %.1f us\n", (double)least_ns / 1e3);
    assert_true(least_ns < 100000); /* looking at all of them takes longer */
    qn_request_queue_destroy(q);
    free(entries);
}

/* Whether all went well; a join that failed has changed nothing. */
static bool use(void)
{
    static const char *const names[] = {"a", "b", "a", "c", "d", "e", "f", "g", "h", "i", "j"};
    qn_request_queue *q;
    quern_error err;
    if (qn_request_queue_create(&q, 100, 0, &err) != QUERN_OK) {
        assert_null(q);
        return false;
    }
    qn_queue_entry entries[sizeof names / sizeof names[0]];
    size_t n = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        qn_queue_client *client = qn_request_queue_join(q, names[i], 1, i % QN_QUEUE_LINES);
        if (client != NULL) push(q, client, &entries[i], 0, i), n++;
    }
    assert_int_equal(qn_request_queue_size(q), n);
    for (size_t i = 0; i < n; i++) qn_request_queue_leave(q, serve(q, 100, 1)->client);
    qn_request_queue_destroy(q);
    return n == sizeof names / sizeof names[0];
}

static void survives_failing_memory(void **state)
{
    (void)state;
    const long live = qn_alloc_live();
    for (long k = 0;; k++) {
        qn_alloc_fail_at(k);
        const bool well = use();
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_int_equal(well, !failed);
        assert_int_equal(qn_alloc_live(), live);
        if (!failed) break;
        assert_true(k < 30);
    }
    qn_request_queue_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_follow_weights),
        cmocka_unit_test(leaving_after_every_answer_gains_nothing),
        cmocka_unit_test(who_was_away_has_saved_up_nothing_and_owes_nothing),
        cmocka_unit_test(a_client_is_held_as_often_as_it_joined),
        cmocka_unit_test(nobody_starves_who_ages),
        cmocka_unit_test(a_request_rises_by_one_class_at_a_time),
        cmocka_unit_test(an_entry_put_back_waits_where_it_did),
        cmocka_unit_test(who_cannot_be_served_is_passed_over),
        cmocka_unit_test(a_line_that_is_held_up_holds_up_no_other),
        cmocka_unit_test(is_the_same_as_a_plain_model),
        cmocka_unit_test(what_is_remembered_of_the_absent_is_bounded),
        cmocka_unit_test(ten_thousand_waiting_cost_a_step_little),
        cmocka_unit_test(survives_failing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
