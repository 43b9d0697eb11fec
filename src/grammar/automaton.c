/* automaton.c: see automaton.h. */
#include "grammar/automaton.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/hash_map.h"
#include "grammar/shortest.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_CONFIGURATIONS = 1 << 14, /* of one place */
    MAX_WORK = 1 << 18,           /* configurations met, over and over again too: for a byte, or a mask */
    MAX_LONG_WORK = 1 << 23,      /* for an end, which may be as long as an answer */
    MAX_REMEMBERED = 1 << 20,     /* configurations, transitions and stacks, each */
    BOTTOM = 0,                   /* the stack on which nothing is */
};
enum { ENDS = 1 /* a rule */, READS = 2 /* a byte */ };
enum { FEW = 16 /* configurations that are searched one by one */ };

typedef struct stack_node {
    uint32_t to, below;   /* where to go on, and the stack under it */
    uint32_t least_bytes; /* from there to the end of all */
} stack_node;

typedef qn_configuration configuration;

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
    uint8_t *marks;   /* [n_states] what a state is: ENDS, READS */
    uint32_t *begins; /* [n_states] the rule that begins there, or QN_NO_RULE */
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
    size_t n_left; /* configurations that may be met until it rests */
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

static bool append(qn_automaton *a, configuration c)
{
    if (a->n_work >= MAX_CONFIGURATIONS) return fail(a, QUERN_ERR_LIMIT);
    if (!qn_grow(&a->work, &a->work_capacity, a->n_work + 1, MAX_CONFIGURATIONS, sizeof *a->work))
        return fail(a, QUERN_ERR_NOMEM);
    a->work[a->n_work++] = c;
    return true;
}

static bool is_same(configuration a, configuration b)
{
    return a.state == b.state && a.stack == b.stack;
}

/* Gives a number to a configuration of the set; false: no memory. *is_new: it was not there. */
static bool number_configuration(qn_automaton *a, configuration wanted, uint32_t number, bool *is_new)
{
    *is_new = false;
    if (!reserve(&a->work_numbers, hash_work, a)) return fail(a, QUERN_ERR_NOMEM);
    const size_t mask = a->work_numbers.n_slots - 1;
    size_t at = qn_hash_bytes(&wanted, sizeof wanted, 2) & mask;
    for (; a->work_numbers.slots[at] != 0; at = (at + 1) & mask)
        if (is_same(a->work[a->work_numbers.slots[at] - 1], wanted)) return true;
    a->work_numbers.slots[at] = number + 1;
    a->work_numbers.n++;
    *is_new = true;
    return true;
}

/* Adds it if it is not there: among few it is searched, among many it has a number. */
static bool add_configuration(qn_automaton *a, uint32_t state, uint32_t stack)
{
    const configuration wanted = {state, stack};
    bool is_new;
    if (a->n_left == 0) return fail(a, QUERN_ERR_LIMIT);
    a->n_left--;
    if (a->n_work < FEW) {
        for (size_t i = 0; i < a->n_work; i++)
            if (is_same(a->work[i], wanted)) return true;
        return append(a, wanted);
    }
    for (uint32_t i = 0; a->n_work == FEW && a->work_numbers.n == 0 && i < FEW; i++)
        if (!number_configuration(a, a->work[i], i, &is_new)) return false;
    if (!number_configuration(a, wanted, (uint32_t)a->n_work, &is_new)) return false;
    return !is_new || append(a, wanted);
}

/* A rule that is called where nothing follows in the caller leaves no trace on the stack: so right recursion
 * needs no room. Ends of rules are never left by an edge. */
static bool call(qn_automaton *a, const qn_edge *edge, uint32_t stack)
{
    const bool is_last = a->net->states[edge->to] == QN_NO_EDGE && (a->marks[edge->to] & ENDS) != 0;
    if (!is_last && !push(a, edge->to, stack, &stack)) return false;
    return add_configuration(a, a->net->rules[edge->rule].begin, stack);
}

/* Adds all that can be reached without a byte from what is there; the set grows while it is walked. */
static bool close_set(qn_automaton *a)
{
    for (size_t i = 0; i < a->n_work; i++) {
        const configuration c = a->work[i];
        if ((a->marks[c.state] & ENDS) != 0) {
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

static void sort_few(configuration *set, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const configuration c = set[i];
        size_t k = i;
        for (; k > 0 && by_content(&set[k - 1], &c) > 0; k--) set[k] = set[k - 1];
        set[k] = c;
    }
}

/* Only what reads a byte matters for what follows; sorted, so that equal sets have equal contents. */
static void keep_readers(qn_automaton *a)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n_work; i++)
        if ((a->marks[a->work[i].state] & READS) != 0) a->work[n++] = a->work[i];
    a->n_work = n;
    if (n > FEW) qsort(a->work, n, sizeof *a->work, by_content);
    else sort_few(a->work, n);
}

/* ---- places ------------------------------------------------------------------------------------ */

static uint64_t hash_set(const configuration *set, size_t n, bool accepts)
{
    return qn_hash_bytes(set, n * sizeof *set, accepts ? 4 : 3);
}

static const configuration *set_of(const qn_automaton *a, const place_contents *p)
{
    return p->n > 0 ? a->configurations + p->begin : NULL; /* there may be no array yet */
}

static uint64_t hash_place(const qn_automaton *a, uint32_t number)
{
    const place_contents *p = &a->places[number];
    return hash_set(set_of(a, p), p->n, p->accepts);
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
    for (size_t i = 0; i < n_classes; i++) a->transitions[a->n_places * n_classes + i] = QN_PLACE_UNKNOWN;
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
    if (a->work_numbers.n > 0) forget(&a->work_numbers);
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

typedef struct byte_range {
    unsigned first, last;
} byte_range;

/* Narrows a range around a byte to where an edge says the same of all bytes. */
static void narrow(byte_range *alike, const qn_edge *edge, uint8_t byte)
{
    const byte_range says = byte < edge->first  ? (byte_range){0, edge->first - 1u}
                            : byte > edge->last ? (byte_range){edge->last + 1u, 255}
                                                : (byte_range){edge->first, edge->last};
    if (says.first > alike->first) alike->first = says.first;
    if (says.last < alike->last) alike->last = says.last;
}

/* *alike: bytes around this one that lead to the same place. */
static bool follow(qn_automaton *a, qn_place from, uint8_t byte, qn_place *to, byte_range *alike)
{
    begin_set(a);
    const place_contents p = a->places[from];
    *alike = (byte_range){0, 255};
    for (uint32_t i = 0; i < p.n; i++) {
        const configuration c = a->configurations[p.begin + i];
        for (uint32_t k = a->net->states[c.state]; k != QN_NO_EDGE; k = a->net->edges[k].next) {
            const qn_edge *edge = &a->net->edges[k];
            if (edge->kind != QN_EDGE_BYTES) continue;
            narrow(alike, edge, byte);
            if (byte >= edge->first && byte <= edge->last && !add_configuration(a, edge->to, c.stack))
                return false;
        }
    }
    return number_set(a, to);
}

qn_place qn_automaton_step(qn_automaton *a, qn_place from, uint8_t byte)
{
    const uint8_t *class_of = a->net->class_of;
    const size_t row = from * a->net->n_classes;
    qn_place to = a->transitions[row + class_of[byte]];
    byte_range alike;
    if (to != QN_PLACE_UNKNOWN) return to;
    if (a->status != QUERN_OK || !follow(a, from, byte, &to, &alike)) return QN_PLACE_DEAD;
    for (unsigned b = alike.first; b <= alike.last; b++) a->transitions[row + class_of[b]] = to;
    return to;
}

const qn_place *qn_automaton_row(const qn_automaton *a, qn_place at)
{
    return a->transitions + at * a->net->n_classes;
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

void qn_automaton_rest(qn_automaton *a)
{
    a->n_left = MAX_WORK;
}

void qn_automaton_rest_long(qn_automaton *a)
{
    a->n_left = MAX_LONG_WORK;
}

quern_status qn_automaton_status(const qn_automaton *a, quern_error *err)
{
    if (a->status == QUERN_OK) return QUERN_OK;
    if (a->status == QUERN_ERR_NOMEM) return qn_fail(err, a->status, "grammar: no memory");
    return qn_fail(err, a->status,
                   "grammar: too ambiguous (more than %d ways to read a text, or too much work)",
                   MAX_CONFIGURATIONS);
}

/* ---- what a place is made of ------------------------------------------------------------------- */

const qn_configuration *qn_automaton_configurations(const qn_automaton *a, qn_place at, size_t *n)
{
    *n = a->places[at].n;
    return set_of(a, &a->places[at]);
}

uint32_t qn_automaton_rule_of(const qn_automaton *a, uint32_t state)
{
    return a->begins[state];
}

qn_place qn_automaton_after_rule(qn_automaton *a, qn_place at, uint32_t rule)
{
    const place_contents p = a->places[at];
    qn_place to;
    begin_set(a);
    for (uint32_t i = 0; i < p.n; i++) {
        const configuration c = a->configurations[p.begin + i];
        if (a->begins[c.state] != rule) continue;
        if (c.stack == BOTTOM) a->accepts = true;
        else if (!add_configuration(a, a->stacks[c.stack].to, a->stacks[c.stack].below)) return QN_PLACE_DEAD;
    }
    return a->status == QUERN_OK && number_set(a, &to) ? to : QN_PLACE_DEAD;
}

qn_place qn_automaton_rule_begin(qn_automaton *a, uint32_t rule)
{
    qn_place at;
    begin_set(a);
    if (a->status != QUERN_OK || !add_configuration(a, a->net->rules[rule].begin, BOTTOM))
        return QN_PLACE_DEAD;
    return number_set(a, &at) ? at : QN_PLACE_DEAD;
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

static void mark_states(qn_automaton *a)
{
    const qn_network *n = a->net;
    for (size_t state = 0; state < n->n_states; state++) {
        a->begins[state] = QN_NO_RULE;
        for (uint32_t k = n->states[state]; k != QN_NO_EDGE; k = n->edges[k].next)
            if (n->edges[k].kind == QN_EDGE_BYTES) a->marks[state] |= READS;
    }
    for (uint32_t rule = 0; rule < n->n_rules; rule++) {
        a->begins[n->rules[rule].begin] = rule;
        a->marks[n->rules[rule].end] |= ENDS;
    }
}

quern_status qn_automaton_create(qn_automaton **out, const qn_network *network, quern_error *err)
{
    qn_automaton *a = *out = qn_calloc(1, sizeof *a);
    if (a == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "grammar: no memory");
    qn_automaton_rest(a);
    a->net = network;
    a->marks = qn_calloc(network->n_states, sizeof *a->marks);
    a->begins = qn_calloc(network->n_states, sizeof *a->begins);
    bool ok = a->marks != NULL && a->begins != NULL &&
              qn_grow(&a->stacks, &a->stack_capacity, 1, UINT32_MAX / 2, sizeof *a->stacks);
    if (ok) {
        a->stacks[BOTTOM] = (stack_node){0};
        mark_states(a);
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
    qn_free(a->marks), qn_free(a->begins);
    qn_free(a->stacks), qn_free(a->stack_numbers.slots);
    qn_free(a->configurations), qn_free(a->places), qn_free(a->place_numbers.slots);
    qn_free(a->transitions);
    qn_free(a->work), qn_free(a->work_numbers.slots);
    qn_free(a);
}
