/* shortest.c: states are settled in the order of their length, as in Dijkstra's algorithm; a call takes the
 * sum of two lengths, that of the rule and that of what follows it, and is looked at when the later of the
 * two is settled (Knuth 1977, "A generalization of Dijkstra's algorithm"). */
#include "grammar/shortest.h"

#include "base/alloc.h"
#include "base/checked.h"

typedef struct item {
    uint32_t length, state;
} item;

typedef struct search {
    qn_network *net;
    uint32_t *from;    /* [n_edges] the state that an edge leaves */
    uint32_t *into;    /* [n_states] the first edge that leads there, or QN_NO_EDGE */
    uint32_t *same_to; /* [n_edges] the next edge to the same state */
    uint32_t *calls;   /* [n_rules] the first call of it */
    uint32_t *same_rule;
    uint32_t *rule_at; /* [n_states] the rule that begins there, or QN_NO_EDGE */
    bool *settled;     /* [n_states] */
    item *heap;        /* the least length first */
    size_t n_heap, heap_capacity;
} search;

static bool push(search *s, uint32_t state, uint32_t length)
{
    if (length >= s->net->least_bytes[state]) return true;
    s->net->least_bytes[state] = length;
    if (!qn_grow(&s->heap, &s->heap_capacity, s->n_heap + 1, SIZE_MAX / sizeof *s->heap, sizeof *s->heap))
        return false;
    size_t i = s->n_heap++;
    for (; i > 0 && s->heap[(i - 1) / 2].length > length; i = (i - 1) / 2) s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = (item){length, state};
    return true;
}

static item pop(search *s)
{
    const item top = s->heap[0], last = s->heap[--s->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->n_heap) break;
        if (child + 1 < s->n_heap && s->heap[child + 1].length < s->heap[child].length) child++;
        if (s->heap[child].length >= last.length) break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

/* What an edge adds to the length of the state that it leads to. */
static uint32_t length_of(const search *s, const qn_edge *edge)
{
    if (edge->kind == QN_EDGE_CALL) return s->net->least_bytes[s->net->rules[edge->rule].begin];
    return edge->kind == QN_EDGE_BYTES;
}

static bool try_edge(search *s, uint32_t i)
{
    const qn_edge *edge = &s->net->edges[i];
    if (!s->settled[edge->to]) return true;
    if (edge->kind == QN_EDGE_CALL && !s->settled[s->net->rules[edge->rule].begin]) return true;
    return push(s, s->from[i], qn_add_lengths(length_of(s, edge), s->net->least_bytes[edge->to]));
}

static bool settle(search *s, uint32_t state)
{
    s->settled[state] = true;
    for (uint32_t i = s->into[state]; i != QN_NO_EDGE; i = s->same_to[i])
        if (!try_edge(s, i)) return false;
    if (s->rule_at[state] == QN_NO_EDGE) return true;
    for (uint32_t i = s->calls[s->rule_at[state]]; i != QN_NO_EDGE; i = s->same_rule[i])
        if (!try_edge(s, i)) return false;
    return true;
}

static void link_edges(search *s)
{
    const qn_network *n = s->net;
    for (uint32_t state = 0; state < n->n_states; state++) {
        s->into[state] = s->rule_at[state] = QN_NO_EDGE;
        for (uint32_t i = n->states[state]; i != QN_NO_EDGE; i = n->edges[i].next) s->from[i] = state;
    }
    for (uint32_t rule = 0; rule < n->n_rules; rule++) {
        s->calls[rule] = QN_NO_EDGE;
        s->rule_at[n->rules[rule].begin] = rule;
    }
    for (uint32_t i = 0; i < n->n_edges; i++) {
        s->same_to[i] = s->into[n->edges[i].to];
        s->into[n->edges[i].to] = i;
        if (n->edges[i].kind != QN_EDGE_CALL) continue;
        s->same_rule[i] = s->calls[n->edges[i].rule];
        s->calls[n->edges[i].rule] = i;
    }
}

static bool run(search *s)
{
    qn_network *n = s->net;
    link_edges(s);
    for (size_t i = 0; i < n->n_states; i++) n->least_bytes[i] = QN_NO_WAY;
    for (size_t rule = 0; rule < n->n_rules; rule++)
        if (!push(s, n->rules[rule].end, 0)) return false;
    while (s->n_heap > 0) {
        const item next = pop(s);
        if (!s->settled[next.state] && !settle(s, next.state)) return false;
    }
    return true;
}

bool qn_network_find_shortest(qn_network *n)
{
    search s = {.net = n};
    n->least_bytes = qn_calloc(n->n_states, sizeof *n->least_bytes);
    s.from = qn_calloc(n->n_edges, sizeof *s.from);
    s.into = qn_calloc(n->n_states, sizeof *s.into);
    s.same_to = qn_calloc(n->n_edges, sizeof *s.same_to);
    s.calls = qn_calloc(n->n_rules, sizeof *s.calls);
    s.same_rule = qn_calloc(n->n_edges, sizeof *s.same_rule);
    s.rule_at = qn_calloc(n->n_states, sizeof *s.rule_at);
    s.settled = qn_calloc(n->n_states, sizeof *s.settled);
    const bool ok = n->least_bytes != NULL && s.from != NULL && s.into != NULL && s.same_to != NULL &&
                    s.calls != NULL && s.same_rule != NULL && s.rule_at != NULL && s.settled != NULL &&
                    run(&s);
    qn_free(s.from), qn_free(s.into), qn_free(s.same_to), qn_free(s.calls), qn_free(s.same_rule);
    qn_free(s.rule_at), qn_free(s.settled), qn_free(s.heap);
    return ok;
}
