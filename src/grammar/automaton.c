/* automaton.c: see automaton.h. */
#include "grammar/automaton.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/hash_map.h"
#include "grammar/shortest.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_CONFIGURATIONS = 1 << 16, /* of one place */
    MAX_REMEMBERED = 1 << 20,     /* configurations, transitions and stacks, each */
    BOTTOM = 0,                   /* the stack on which nothing is */
};
#define UNKNOWN UINT32_MAX /* a transition not yet followed */

typedef struct stack_node {
    uint32_t to, below;   /* where to go on, and the stack under it */
    uint32_t least_bytes; /* from there to the end of all */
} stack_node;

typedef struct configuration {
    uint32_t state, stack;
} configuration;

typedef struct place_contents {
    uint32_t begin, n;    /* of configurations */
    uint32_t least_bytes; /* to a whole text */
    bool accepts;
} place_contents;

/* Numbers by content: open addressing by a hash; who asks compares the content. */
typedef struct numbers {
    uint32_t *slots; /* number + 1, or 0 */
    size_t n_slots, n;
} numbers;

struct qn_automaton {
    const qn_network *net;
    bool *is_end; /* [n_states] of a rule */
    stack_node *stacks;
    size_t n_stacks, stack_capacity;
    numbers stack_numbers;
    configuration *configurations; /* of all places, those of one sorted */
    size_t n_configurations, configuration_capacity;
    place_contents *places;
    size_t n_places, place_capacity;
    numbers place_numbers;
    uint32_t *transitions; /* [n_places][n_classes] */
    size_t transition_capacity;
    configuration *work; /* the set that is being made */
    size_t n_work, work_capacity;
    numbers work_numbers; /* configurations of it */
    bool accepts;
    qn_place begin;
    quern_status status;
};

/* ---- numbers by content ------------------------------------------------------------------------ */

/* Room for one more; false: no memory. hash_of gives the hash of what has a number, to place it anew. */
static bool reserve(numbers *x, uint64_t (*hash_of)(const qn_automaton *a, uint32_t number),
                    const qn_automaton *a)
{
    if ((x->n + 1) * 2 <= x->n_slots) return true;
    const size_t n_slots = x->n_slots > 0 ? 2 * x->n_slots : 64;
    uint32_t *slots = qn_calloc(n_slots, sizeof *slots);
    if (slots == NULL) return false;
    for (size_t i = 0; i < x->n_slots; i++) {
        if (x->slots[i] == 0) continue;
        size_t at = hash_of(a, x->slots[i] - 1) & (n_slots - 1);
        while (slots[at] != 0) at = (at + 1) & (n_slots - 1);
        slots[at] = x->slots[i];
    }
    qn_free(x->slots);
    x->slots = slots;
    x->n_slots = n_slots;
    return true;
}

static void forget(numbers *x)
{
    if (x->n_slots > 0) memset(x->slots, 0, x->n_slots * sizeof *x->slots);
    x->n = 0;
}

/* ---- stacks ------------------------------------------------------------------------------------ */

static uint64_t hash_stack(const qn_automaton *a, uint32_t number)
{
    return qn_hash_bytes(&a->stacks[number], sizeof a->stacks[number], 1);
}

static bool fail(qn_automaton *a, quern_status status)
{
    if (a->status == QUERN_OK) a->status = status;
    return false;
}

/* The stack with `to` on top of `below`. */
static bool push(qn_automaton *a, uint32_t to, uint32_t below, uint32_t *stack)
{
    const stack_node wanted = {to, below,
                               qn_add_lengths(a->net->least_bytes[to], a->stacks[below].least_bytes)};
    if (!reserve(&a->stack_numbers, hash_stack, a) ||
        !qn_grow(&a->stacks, &a->stack_capacity, a->n_stacks + 1, UINT32_MAX / 2, sizeof *a->stacks))
        return fail(a, QUERN_ERR_NOMEM);
    const size_t mask = a->stack_numbers.n_slots - 1;
    size_t at = qn_hash_bytes(&wanted, sizeof wanted, 1) & mask;
    for (; a->stack_numbers.slots[at] != 0; at = (at + 1) & mask) {
        *stack = a->stack_numbers.slots[at] - 1;
        if (memcmp(&a->stacks[*stack], &wanted, sizeof wanted) == 0) return true;
    }
    *stack = (uint32_t)a->n_stacks;
    a->stacks[a->n_stacks++] = wanted;
    a->stack_numbers.slots[at] = *stack + 1;
    a->stack_numbers.n++;
    return true;
}

/* ---- the set that is being made ---------------------------------------------------------------- */

static uint64_t hash_work(const qn_automaton *a, uint32_t number)
{
    return qn_hash_bytes(&a->work[number], sizeof a->work[number], 2);
}

static bool add_configuration(qn_automaton *a, uint32_t state, uint32_t stack)
{
    const configuration wanted = {state, stack};
    if (a->n_work >= MAX_CONFIGURATIONS) return fail(a, QUERN_ERR_LIMIT);
    if (!reserve(&a->work_numbers, hash_work, a) ||
        !qn_grow(&a->work, &a->work_capacity, a->n_work + 1, MAX_CONFIGURATIONS, sizeof *a->work))
        return fail(a, QUERN_ERR_NOMEM);
    const size_t mask = a->work_numbers.n_slots - 1;
    size_t at = qn_hash_bytes(&wanted, sizeof wanted, 2) & mask;
    for (; a->work_numbers.slots[at] != 0; at = (at + 1) & mask)
        if (memcmp(&a->work[a->work_numbers.slots[at] - 1], &wanted, sizeof wanted) == 0) return true;
    a->work[a->n_work] = wanted;
    a->work_numbers.slots[at] = (uint32_t)++a->n_work;
    a->work_numbers.n++;
    return true;
}

/* A rule that is called where nothing follows in the caller leaves no trace on the stack: so right recursion
 * needs no room. Ends of rules are never left by an edge. */
static bool call(qn_automaton *a, const qn_edge *edge, uint32_t stack)
{
    const bool is_last = a->net->states[edge->to] == QN_NO_EDGE && a->is_end[edge->to];
    if (!is_last && !push(a, edge->to, stack, &stack)) return false;
    return add_configuration(a, a->net->rules[edge->rule].begin, stack);
}

/* Adds all that can be reached without a byte from what is there; the set grows while it is walked. */
static bool close_set(qn_automaton *a)
{
    for (size_t i = 0; i < a->n_work; i++) {
        const configuration c = a->work[i];
        if (a->is_end[c.state]) {
            if (c.stack == BOTTOM) a->accepts = true;
            else if (!add_configuration(a, a->stacks[c.stack].to, a->stacks[c.stack].below)) return false;
        }
        for (uint32_t k = a->net->states[c.state]; k != QN_NO_EDGE; k = a->net->edges[k].next) {
            const qn_edge *edge = &a->net->edges[k];
            if (edge->kind == QN_EDGE_EMPTY && !add_configuration(a, edge->to, c.stack)) return false;
            if (edge->kind == QN_EDGE_CALL && !call(a, edge, c.stack)) return false;
        }
    }
    return true;
}

static int by_content(const void *x, const void *y)
{
    const configuration *a = x, *b = y;
    if (a->state != b->state) return a->state < b->state ? -1 : 1;
    return (a->stack > b->stack) - (a->stack < b->stack);
}

static bool reads_bytes(const qn_automaton *a, uint32_t state)
{
    for (uint32_t k = a->net->states[state]; k != QN_NO_EDGE; k = a->net->edges[k].next)
        if (a->net->edges[k].kind == QN_EDGE_BYTES) return true;
    return false;
}

/* Only what reads a byte matters for what follows; sorted, so that equal sets have equal contents. */
static void keep_readers(qn_automaton *a)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n_work; i++)
        if (reads_bytes(a, a->work[i].state)) a->work[n++] = a->work[i];
    a->n_work = n;
    if (n > 0) qsort(a->work, n, sizeof *a->work, by_content);
}

/* ---- places ------------------------------------------------------------------------------------ */

static uint64_t hash_set(const configuration *set, size_t n, bool accepts)
{
    return qn_hash_bytes(set, n * sizeof *set, accepts ? 4 : 3);
}

static uint64_t hash_place(const qn_automaton *a, uint32_t number)
{
    const place_contents *p = &a->places[number];
    return hash_set(a->configurations + p->begin, p->n, p->accepts);
}

static uint32_t length_of(const qn_automaton *a, configuration c)
{
    return qn_add_lengths(a->net->least_bytes[c.state], a->stacks[c.stack].least_bytes);
}

static uint32_t shortest_of_set(const qn_automaton *a)
{
    uint32_t least = a->accepts ? 0 : QN_NO_WAY;
    for (size_t i = 0; i < a->n_work; i++)
        if (length_of(a, a->work[i]) < least) least = length_of(a, a->work[i]);
    return least;
}

static bool add_place(qn_automaton *a, qn_place *number)
{
    const size_t n_classes = a->net->n_classes;
    if (!qn_grow(&a->places, &a->place_capacity, a->n_places + 1, UINT32_MAX / 2, sizeof *a->places) ||
        !qn_grow(&a->configurations, &a->configuration_capacity, a->n_configurations + a->n_work,
                 UINT32_MAX / 2, sizeof *a->configurations) ||
        !qn_grow(&a->transitions, &a->transition_capacity, (a->n_places + 1) * n_classes, SIZE_MAX / 8,
                 sizeof *a->transitions))
        return fail(a, QUERN_ERR_NOMEM);
    if (a->n_work > 0) memcpy(a->configurations + a->n_configurations, a->work, a->n_work * sizeof *a->work);
    a->places[a->n_places] = (place_contents){.begin = (uint32_t)a->n_configurations,
                                              .n = (uint32_t)a->n_work,
                                              .least_bytes = shortest_of_set(a),
                                              .accepts = a->accepts};
    a->n_configurations += a->n_work;
    for (size_t i = 0; i < n_classes; i++) a->transitions[a->n_places * n_classes + i] = UNKNOWN;
    *number = (qn_place)a->n_places++;
    return true;
}

/* The number of the set that is being made, once it is closed. */
static bool number_set(qn_automaton *a, qn_place *number)
{
    if (!close_set(a)) return false;
    keep_readers(a);
    if (!reserve(&a->place_numbers, hash_place, a)) return fail(a, QUERN_ERR_NOMEM);
    const size_t mask = a->place_numbers.n_slots - 1;
    size_t at = hash_set(a->work, a->n_work, a->accepts) & mask;
    for (; a->place_numbers.slots[at] != 0; at = (at + 1) & mask) {
        *number = a->place_numbers.slots[at] - 1;
        const place_contents *p = &a->places[*number];
        if (p->n == a->n_work && p->accepts == a->accepts &&
            (p->n == 0 || memcmp(a->configurations + p->begin, a->work, p->n * sizeof *a->work) == 0))
            return true;
    }
    if (!add_place(a, number)) return false;
    a->place_numbers.slots[at] = *number + 1;
    a->place_numbers.n++;
    return true;
}

static void begin_set(qn_automaton *a)
{
    a->n_work = 0;
    a->accepts = false;
    forget(&a->work_numbers);
}

/* The place of nothing, number 0, and that where texts begin. */
static bool make_first_places(qn_automaton *a)
{
    qn_place dead;
    begin_set(a);
    if (!number_set(a, &dead)) return false;
    for (size_t i = 0; i < a->net->n_classes; i++) a->transitions[i] = QN_PLACE_DEAD;
    begin_set(a);
    return add_configuration(a, a->net->rules[a->net->root].begin, BOTTOM) && number_set(a, &a->begin);
}

static bool follow(qn_automaton *a, qn_place from, uint8_t byte, qn_place *to)
{
    begin_set(a);
    const place_contents p = a->places[from];
    for (uint32_t i = 0; i < p.n; i++) {
        const configuration c = a->configurations[p.begin + i];
        for (uint32_t k = a->net->states[c.state]; k != QN_NO_EDGE; k = a->net->edges[k].next) {
            const qn_edge *edge = &a->net->edges[k];
            if (edge->kind == QN_EDGE_BYTES && byte >= edge->first && byte <= edge->last &&
                !add_configuration(a, edge->to, c.stack))
                return false;
        }
    }
    return number_set(a, to);
}

qn_place qn_automaton_step(qn_automaton *a, qn_place from, uint8_t byte)
{
    const size_t at = from * a->net->n_classes + a->net->class_of[byte];
    qn_place to = a->transitions[at];
    if (to != UNKNOWN) return to;
    if (a->status != QUERN_OK || !follow(a, from, byte, &to)) return QN_PLACE_DEAD;
    a->transitions[at] = to;
    return to;
}

bool qn_automaton_accepts(const qn_automaton *a, qn_place at)
{
    return a->places[at].accepts;
}

bool qn_automaton_is_final(const qn_automaton *a, qn_place at)
{
    return a->places[at].n == 0;
}

uint32_t qn_automaton_shortest(const qn_automaton *a, qn_place at)
{
    return a->places[at].least_bytes;
}

uint8_t qn_automaton_shortest_byte(qn_automaton *a, qn_place at)
{
    const uint32_t wanted = a->places[at].least_bytes - 1;
    unsigned byte = 0;
    for (; byte < 255; byte++) {
        const qn_place to = qn_automaton_step(a, at, (uint8_t)byte); /* places may move */
        if (a->places[to].least_bytes == wanted) break;
    }
    return (uint8_t)byte;
}

qn_place qn_automaton_begin(const qn_automaton *a)
{
    return a->begin;
}

quern_status qn_automaton_status(const qn_automaton *a, quern_error *err)
{
    if (a->status == QUERN_OK) return QUERN_OK;
    if (a->status == QUERN_ERR_NOMEM) return qn_fail(err, a->status, "grammar: no memory");
    return qn_fail(err, a->status, "grammar: more than %d ways to read one text (it is too ambiguous)",
                   MAX_CONFIGURATIONS);
}

/* ---- life -------------------------------------------------------------------------------------- */

static void forget_all(qn_automaton *a)
{
    a->n_stacks = 1; /* BOTTOM */
    a->n_configurations = a->n_places = 0;
    forget(&a->stack_numbers);
    forget(&a->place_numbers);
}

/* Puts a stack of the old ones on the new: from its bottom. */
static bool copy_stack(qn_automaton *a, const stack_node *old, uint32_t from, uint32_t *to)
{
    size_t depth = 0;
    for (uint32_t s = from; s != BOTTOM; s = old[s].below) depth++;
    uint32_t *path = qn_calloc(depth + 1, sizeof *path);
    if (path == NULL) return fail(a, QUERN_ERR_NOMEM);
    for (uint32_t s = from; s != BOTTOM; s = old[s].below) path[--depth] = s;
    *to = BOTTOM;
    bool ok = true;
    for (uint32_t *s = path; ok && *s != 0; s++) ok = push(a, old[*s].to, *to, to);
    qn_free(path);
    return ok;
}

bool qn_automaton_tidy(qn_automaton *a, qn_place *at)
{
    if (a->n_configurations + a->n_stacks + a->n_places * a->net->n_classes < MAX_REMEMBERED) return false;
    const place_contents kept = a->places[*at];
    configuration *set = qn_calloc(kept.n + 1u, sizeof *set);
    stack_node *old = qn_calloc(a->n_stacks, sizeof *old);
    bool ok = set != NULL && old != NULL;
    if (!ok) fail(a, QUERN_ERR_NOMEM);
    if (ok && kept.n > 0) memcpy(set, a->configurations + kept.begin, kept.n * sizeof *set);
    if (ok) memcpy(old, a->stacks, a->n_stacks * sizeof *old);
    forget_all(a);
    ok = make_first_places(a) && ok;
    begin_set(a);
    for (uint32_t i = 0; ok && i < kept.n; i++) {
        uint32_t stack;
        ok = copy_stack(a, old, set[i].stack, &stack) && add_configuration(a, set[i].state, stack);
    }
    a->accepts = kept.accepts; /* what had come to its end is not among those that read on */
    ok = ok && number_set(a, at);
    if (!ok) *at = QN_PLACE_DEAD;
    qn_free(set);
    qn_free(old);
    return true;
}

quern_status qn_automaton_create(qn_automaton **out, const qn_network *network, quern_error *err)
{
    qn_automaton *a = *out = qn_calloc(1, sizeof *a);
    if (a == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "grammar: no memory");
    a->net = network;
    a->is_end = qn_calloc(network->n_states, sizeof *a->is_end);
    bool ok =
        a->is_end != NULL && qn_grow(&a->stacks, &a->stack_capacity, 1, UINT32_MAX / 2, sizeof *a->stacks);
    if (ok) {
        a->stacks[BOTTOM] = (stack_node){0};
        for (size_t i = 0; i < network->n_rules; i++) a->is_end[network->rules[i].end] = true;
        forget_all(a);
        ok = make_first_places(a);
    }
    if (ok) return QUERN_OK;
    fail(a, QUERN_ERR_NOMEM);
    const quern_status s = qn_automaton_status(a, err);
    qn_automaton_destroy(a);
    *out = NULL;
    return s;
}

void qn_automaton_destroy(qn_automaton *a)
{
    if (a == NULL) return;
    qn_free(a->is_end);
    qn_free(a->stacks), qn_free(a->stack_numbers.slots);
    qn_free(a->configurations), qn_free(a->places), qn_free(a->place_numbers.slots);
    qn_free(a->transitions);
    qn_free(a->work), qn_free(a->work_numbers.slots);
    qn_free(a);
}
