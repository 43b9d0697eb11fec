/* product_automaton.c: see product_automaton.h. Made by the construction of subsets, over the states of all
 * languages at once. */
#include "grammar/product_automaton.h"

#include "base/alloc.h"
#include "base/hash_map.h"
#include "grammar/state_set.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_RANGES = 1 << 20,
    MAX_PRODUCT_STATES = 60000,
    MAX_PRODUCT_EDGES = 1 << 20,
    MAX_SET_ITEMS = 4 << 20, /* of all sets */
    LAST_CHARACTER = 0x10ffff,
};

/* ---- the product ------------------------------------------------------------------------------- */

typedef struct reading { /* from one state of the product: characters that lead to a state */
    uint32_t first, last, to;
} reading;

typedef struct maker {
    const qn_languages *l;
    qn_product_automaton *p;
    qn_state_set now;
    uint32_t *items; /* of all sets, each sorted */
    size_t n_items, item_capacity;
    uint32_t *begins; /* [n_states + 1] of items */
    size_t begin_capacity;
    uint32_t *slots; /* open addressing: number of a set + 1 */
    size_t n_slots;
    reading *readings; /* by first */
    size_t n_readings, reading_capacity;
    uint32_t *cuts; /* where a reading begins or has ended */
    size_t n_cuts, cut_capacity;
    size_t *active; /* readings that hold from the cut on */
    size_t n_active, active_capacity;
    uint64_t *work;
    bool no_memory, too_large;
} maker;

static bool make_room(maker *m, void *items, size_t *capacity, size_t need, size_t max, size_t elem_bytes)
{
    if (qn_grow(items, capacity, need, max, elem_bytes)) return true;
    if (need > max) m->too_large = true;
    else m->no_memory = true;
    return false;
}

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint64_t hash_set(const uint32_t *items, size_t n, uint32_t belongs)
{
    return qn_hash_bytes(items, n * sizeof *items, belongs);
}

static bool add_product_state(maker *m, uint32_t *number)
{
    qn_product_automaton *p = m->p;
    size_t capacity = p->state_capacity;
    if (!make_room(m, &p->belongs, &capacity, p->n_states + 1, MAX_PRODUCT_STATES, sizeof *p->belongs) ||
        !make_room(m, &m->begins, &m->begin_capacity, p->n_states + 2, MAX_PRODUCT_STATES + 1,
                   sizeof *m->begins) ||
        !make_room(m, &m->items, &m->item_capacity, m->n_items + m->now.n + 1, MAX_SET_ITEMS,
                   sizeof *m->items))
        return false;
    p->state_capacity = capacity;
    if (m->now.n > 0) memcpy(m->items + m->n_items, m->now.items, m->now.n * sizeof *m->items);
    m->begins[p->n_states] = (uint32_t)m->n_items;
    m->n_items += m->now.n;
    m->begins[p->n_states + 1] = (uint32_t)m->n_items;
    p->belongs[p->n_states] = m->now.belongs;
    *number = (uint32_t)p->n_states++;
    return true;
}

/* The number of the set that m->now holds. */
static bool number_set(maker *m, uint32_t *number)
{
    qn_state_set *s = &m->now;
    qn_state_set_close(s, m->work);
    *m->work -= *m->work < 8 * s->n ? *m->work : 8 * s->n; /* for the order */
    if (s->n > 1) qsort(s->items, s->n, sizeof *s->items, by_number);
    size_t at = hash_set(s->items, s->n, s->belongs) & (m->n_slots - 1);
    for (; m->slots[at] != 0; at = (at + 1) & (m->n_slots - 1)) {
        *number = m->slots[at] - 1;
        const uint32_t begin = m->begins[*number], n = m->begins[*number + 1] - begin;
        if (n == s->n && m->p->belongs[*number] == s->belongs &&
            (n == 0 || memcmp(m->items + begin, s->items, n * sizeof *s->items) == 0))
            return true;
    }
    if (!add_product_state(m, number)) return false;
    m->slots[at] = *number + 1;
    return true;
}

static int by_first(const void *a, const void *b)
{
    const reading *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

static bool add_cut(maker *m, uint32_t c)
{
    if (!make_room(m, &m->cuts, &m->cut_capacity, m->n_cuts + 1, MAX_RANGES, sizeof *m->cuts)) return false;
    m->cuts[m->n_cuts++] = c;
    return true;
}

/* All that the states of a set read, and the characters at which that changes, in order. */
static bool collect(maker *m, uint32_t state)
{
    m->n_readings = m->n_cuts = 0;
    for (uint32_t i = m->begins[state]; i < m->begins[state + 1]; i++)
        for (uint32_t k = m->l->states[m->items[i]]; k != QN_NO_LANGUAGE_EDGE; k = m->l->edges[k].next) {
            const qn_language_edge *edge = &m->l->edges[k];
            for (uint32_t r = edge->begin; r < edge->begin + edge->n; r++) {
                const qn_character_range *range = &m->l->ranges[r];
                if (!make_room(m, &m->readings, &m->reading_capacity, m->n_readings + 1, MAX_RANGES,
                               sizeof *m->readings) ||
                    !add_cut(m, range->first) || !add_cut(m, range->last + 1))
                    return false;
                m->readings[m->n_readings++] = (reading){range->first, range->last, edge->to};
            }
        }
    if (m->n_readings == 0) return true;
    *m->work -= *m->work < m->n_readings ? *m->work : m->n_readings;
    qsort(m->readings, m->n_readings, sizeof *m->readings, by_first);
    qsort(m->cuts, m->n_cuts, sizeof *m->cuts, by_number);
    size_t n = 0;
    for (size_t i = 0; i < m->n_cuts; i++)
        if (n == 0 || m->cuts[i] != m->cuts[n - 1]) m->cuts[n++] = m->cuts[i];
    m->n_cuts = n;
    return make_room(m, &m->active, &m->active_capacity, m->n_readings, MAX_RANGES, sizeof *m->active);
}

/* Adds the edge, or lengthens the one before. */
static bool add_product_edge(maker *m, uint32_t from, uint32_t to, uint32_t first, uint32_t last)
{
    qn_product_automaton *p = m->p;
    qn_product_edge *before = p->n_edges > 0 ? &p->edges[p->n_edges - 1] : NULL;
    if (before != NULL && before->from == from && before->to == to && before->last + 1 == first) {
        before->last = last;
        return true;
    }
    if (!make_room(m, &p->edges, &p->edge_capacity, p->n_edges + 1, MAX_PRODUCT_EDGES, sizeof *p->edges))
        return false;
    p->edges[p->n_edges++] = (qn_product_edge){from, to, first, last};
    return true;
}

static bool make_edges(maker *m, uint32_t state)
{
    if (!collect(m, state)) return false;
    m->n_active = 0;
    for (size_t i = 0, next = 0; i + 1 < m->n_cuts; i++) {
        size_t n = 0;
        for (size_t k = 0; k < m->n_active; k++)
            if (m->readings[m->active[k]].last >= m->cuts[i]) m->active[n++] = m->active[k];
        for (; next < m->n_readings && m->readings[next].first == m->cuts[i]; next++) m->active[n++] = next;
        m->n_active = n;
        *m->work -= *m->work < n + 1 ? *m->work : n + 1;
        if (*m->work == 0) m->too_large = true;
        if (m->too_large) return false;
        if (n == 0) continue;
        uint32_t to;
        qn_state_set_clear(&m->now);
        for (size_t k = 0; k < n; k++) qn_state_set_add(&m->now, m->readings[m->active[k]].to);
        if (!number_set(m, &to) || !add_product_edge(m, state, to, m->cuts[i], m->cuts[i + 1] - 1))
            return false;
    }
    return true;
}

static bool make_states(maker *m)
{
    qn_product_automaton *p = m->p;
    uint32_t dead;
    size_t capacity = 0;
    m->n_slots = 2 * 65536; /* more than twice as many as there can be states */
    m->slots = qn_calloc(m->n_slots, sizeof *m->slots);
    if (m->slots == NULL || !qn_state_set_init(&m->now, m->l)) m->no_memory = true;
    if (m->no_memory) return false;
    qn_state_set_clear(&m->now);
    if (!number_set(m, &dead)) return false;
    qn_state_set_clear(&m->now);
    for (size_t i = 0; i < m->l->n_languages; i++) qn_state_set_add(&m->now, m->l->begins[i]);
    if (!number_set(m, &p->begin)) return false;
    for (uint32_t state = 0; state < p->n_states; state++) {
        if (!make_room(m, &p->first_edge, &capacity, state + 2u, MAX_PRODUCT_STATES + 1,
                       sizeof *p->first_edge))
            return false;
        p->first_edge[state] = (uint32_t)p->n_edges;
        if (!make_edges(m, state)) return false;
        p->first_edge[state + 1] = (uint32_t)p->n_edges;
    }
    return true;
}

quern_status qn_product_automaton_build(qn_product_automaton *p, const qn_languages *l, uint64_t *work,
                                        quern_error *err)
{
    maker m = {.l = l, .p = p, .work = work};
    memset(p, 0, sizeof *p);
    quern_status s = qn_languages_status(l->no_memory, l->too_large, err);
    if (s != QUERN_OK) return s;
    if (!make_states(&m)) s = qn_languages_status(m.no_memory, true, err);
    qn_state_set_deinit(&m.now);
    qn_free(m.items), qn_free(m.begins), qn_free(m.slots);
    qn_free(m.readings), qn_free(m.cuts), qn_free(m.active);
    if (s != QUERN_OK) qn_product_automaton_deinit(p);
    return s;
}

void qn_product_automaton_deinit(qn_product_automaton *p)
{
    qn_free(p->edges);
    qn_free(p->belongs);
    qn_free(p->first_edge);
    memset(p, 0, sizeof *p);
}

/* ---- the product as an expression -------------------------------------------------------------- */

/* Marks the states from which a wanted one can be reached. false: no memory. */
static bool mark_living(const qn_product_automaton *p, uint32_t care, uint32_t want, bool *lives)
{
    uint32_t *into = qn_calloc(p->n_states, sizeof *into), *stack = qn_calloc(p->n_states, sizeof *stack);
    uint32_t *next = qn_calloc(p->n_edges + 1, sizeof *next);
    const bool ok = into != NULL && stack != NULL && next != NULL;
    size_t n_open = 0;
    for (uint32_t i = 0; ok && i < p->n_edges; i++) /* numbers + 1, 0 is none */
        next[i] = into[p->edges[i].to], into[p->edges[i].to] = i + 1;
    for (uint32_t i = 0; ok && i < p->n_states; i++) {
        /* most states can fall to state 0, which wants nothing: where one cannot, one too many is no harm */
        lives[i] = (p->belongs[i] & care) == want || want == 0;
        if (lives[i]) stack[n_open++] = i;
    }
    while (n_open > 0) {
        const uint32_t state = stack[--n_open];
        for (uint32_t i = into[state]; i != 0; i = next[i - 1]) {
            const uint32_t from = p->edges[i - 1].from;
            if (!lives[from]) lives[from] = true, stack[n_open++] = from;
        }
    }
    qn_free(into), qn_free(stack), qn_free(next);
    return ok;
}

typedef struct exporter {
    const qn_product_automaton *p;
    qn_expressions *e;
    qn_expression (*spell)(void *user, const qn_character_range *ranges, size_t n);
    void *user;
    const bool *lives;
    qn_product_edge *sorted; /* of one state, by where they lead */
    qn_character_range *ranges;
    qn_graph_edge *edges;
    size_t n_edges, edge_capacity;
} exporter;

/* States 0 and 1 of the graph are its begin and its end: the product's states follow. */
static uint32_t graph_state(uint32_t state)
{
    return state + 2;
}

static void add_graph_edge(exporter *x, uint32_t from, uint32_t to, qn_expression part)
{
    if (!qn_grow(&x->edges, &x->edge_capacity, x->n_edges + 1, SIZE_MAX / sizeof *x->edges, sizeof *x->edges))
        x->e->failed = x->e->no_memory = true;
    else x->edges[x->n_edges++] = (qn_graph_edge){from, to, part};
}

static int by_to_then_first(const void *a, const void *b)
{
    const qn_product_edge *x = a, *y = b;
    if (x->to != y->to) return x->to < y->to ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

/* The edges of a state, one for each state that it leads to; all other characters lead to state 0. */
static void export_state(exporter *x, uint32_t state)
{
    const uint32_t begin = x->p->first_edge[state], n = x->p->first_edge[state + 1] - begin;
    uint32_t n_sorted = 0, after = 0;
    for (uint32_t i = begin; i < begin + n; i++) { /* what lies between them leads to 0 */
        const qn_product_edge *edge = &x->p->edges[i];
        if (edge->first > after) x->sorted[n_sorted++] = (qn_product_edge){state, 0, after, edge->first - 1};
        x->sorted[n_sorted++] = *edge;
        after = edge->last + 1;
    }
    if (after <= LAST_CHARACTER) x->sorted[n_sorted++] = (qn_product_edge){state, 0, after, LAST_CHARACTER};
    qsort(x->sorted, n_sorted, sizeof *x->sorted, by_to_then_first);
    for (uint32_t i = 0; i < n_sorted;) {
        const uint32_t to = x->sorted[i].to;
        size_t n_ranges = 0;
        for (; i < n_sorted && x->sorted[i].to == to; i++)
            x->ranges[n_ranges++] = (qn_character_range){x->sorted[i].first, x->sorted[i].last};
        if (!x->lives[to]) continue;
        add_graph_edge(x, graph_state(state), graph_state(to), x->spell(x->user, x->ranges, n_ranges));
    }
}

qn_expression qn_product_automaton_expression(
    const qn_product_automaton *p, uint32_t care, uint32_t want, qn_expressions *e,
    qn_expression (*spell)(void *user, const qn_character_range *ranges, size_t n), void *user)
{
    exporter x = {.p = p, .e = e, .spell = spell, .user = user};
    uint32_t most = 0;
    for (size_t i = 0; i < p->n_states; i++)
        if (p->first_edge[i + 1] - p->first_edge[i] > most) most = p->first_edge[i + 1] - p->first_edge[i];
    bool *lives = qn_calloc(p->n_states, sizeof *lives);
    x.sorted = qn_calloc(2 * (size_t)most + 1, sizeof *x.sorted);
    x.ranges = qn_calloc(2 * (size_t)most + 1, sizeof *x.ranges);
    x.lives = lives;
    if (lives == NULL || x.sorted == NULL || x.ranges == NULL || !mark_living(p, care, want, lives))
        e->failed = e->no_memory = true;
    if (!e->failed && lives[p->begin]) add_graph_edge(&x, 0, graph_state(p->begin), QN_NO_EXPRESSION);
    for (uint32_t i = 0; !e->failed && i < p->n_states; i++) {
        if (!lives[i]) continue;
        if ((p->belongs[i] & care) == want) add_graph_edge(&x, graph_state(i), 1, QN_NO_EXPRESSION);
        export_state(&x, i);
    }
    const qn_expression graph =
        e->failed ? QN_NO_EXPRESSION
                  : qn_expression_graph(e, graph_state((uint32_t)p->n_states), x.edges, x.n_edges);
    qn_free(lives), qn_free(x.sorted), qn_free(x.ranges), qn_free(x.edges);
    return graph;
}
