/* network.c: see network.h. */
#include "grammar/network.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/utf8.h"
#include "grammar/recursion.h"
#include "grammar/shortest.h"

#include <string.h>

enum { MAX_STATES = 1 << 19, MAX_EDGES = 1 << 21, MAX_DEPTH = 400 /* of expressions within each other */ };

typedef struct builder {
    qn_network *net;
    const qn_expressions *e;
    bool no_memory, too_large;
} builder;

/* ---- states and edges -------------------------------------------------------------------------- */

static uint32_t add_state(builder *b)
{
    qn_network *n = b->net;
    if (n->n_states >= MAX_STATES) b->too_large = true;
    else if (!qn_grow(&n->states, &n->state_capacity, n->n_states + 1, MAX_STATES, sizeof *n->states))
        b->no_memory = true;
    if (b->too_large || b->no_memory) return 0;
    n->states[n->n_states] = QN_NO_EDGE;
    return (uint32_t)n->n_states++;
}

static void add_edge(builder *b, uint32_t from, qn_edge edge)
{
    qn_network *n = b->net;
    if (n->n_edges >= MAX_EDGES) b->too_large = true;
    else if (!qn_grow(&n->edges, &n->edge_capacity, n->n_edges + 1, MAX_EDGES, sizeof *n->edges))
        b->no_memory = true;
    if (b->too_large || b->no_memory) return;
    edge.next = n->states[from];
    n->states[from] = (uint32_t)n->n_edges;
    n->edges[n->n_edges++] = edge;
}

static void add_empty(builder *b, uint32_t from, uint32_t to)
{
    add_edge(b, from, (qn_edge){.kind = QN_EDGE_EMPTY, .to = to});
}

static void add_bytes(builder *b, uint32_t from, uint32_t to, uint8_t first, uint8_t last)
{
    add_edge(b, from, (qn_edge){.kind = QN_EDGE_BYTES, .to = to, .first = first, .last = last});
}

/* ---- characters -------------------------------------------------------------------------------- */

static size_t spell(uint32_t c, uint8_t out[4])
{
    return qn_utf8_encode(c, (char *)out); /* no range has surrogates */
}

/* A range whose characters have spellings of one length: cut until each byte ranges by itself. */
static void add_spelled(builder *b, uint32_t from, uint32_t to, uint32_t first, uint32_t last)
{
    uint8_t low[4], high[4];
    const size_t n = spell(first, low);
    for (size_t i = 1; i < n; i++) { /* the lowest 6 i bits must run over all their values, or stay alone */
        const uint32_t mask = (1u << (6 * i)) - 1;
        if ((first & ~mask) == (last & ~mask)) continue;
        if ((first & mask) != 0) {
            add_spelled(b, from, to, first, first | mask);
            add_spelled(b, from, to, (first | mask) + 1, last);
            return;
        }
        if ((last & mask) != mask) {
            add_spelled(b, from, to, first, (last & ~mask) - 1);
            add_spelled(b, from, to, last & ~mask, last);
            return;
        }
    }
    spell(last, high);
    for (size_t i = 0; i < n; i++) {
        const uint32_t next = i + 1 < n ? add_state(b) : to;
        add_bytes(b, from, next, low[i], high[i]);
        from = next;
    }
}

static void add_range(builder *b, uint32_t from, uint32_t to, qn_character_range r)
{
    static const uint32_t last_of_length[] = {0x7f, 0x7ff, 0xffff, 0x10ffff};
    uint32_t first = r.first;
    for (size_t i = 0; i < 4 && first <= r.last; i++) {
        if (first > last_of_length[i]) continue;
        const uint32_t last = r.last < last_of_length[i] ? r.last : last_of_length[i];
        add_spelled(b, from, to, first, last);
        first = last + 1;
    }
}

/* ---- expressions ------------------------------------------------------------------------------- */

static void add_expression(builder *b, qn_expression x, uint32_t from, uint32_t to, int depth);

static void add_text(builder *b, const qn_expression_node *x, uint32_t from, uint32_t to)
{
    const char *bytes = b->e->bytes.data + x->begin;
    if (x->n == 0) add_empty(b, from, to);
    for (uint32_t i = 0; i < x->n; i++) {
        const uint32_t next = i + 1 < x->n ? add_state(b) : to;
        add_bytes(b, from, next, (uint8_t)bytes[i], (uint8_t)bytes[i]);
        from = next;
    }
}

static void add_sequence(builder *b, const qn_expression_node *x, uint32_t from, uint32_t to, int depth)
{
    if (x->first == QN_NO_EXPRESSION) add_empty(b, from, to);
    for (qn_expression part = x->first; part != QN_NO_EXPRESSION; part = b->e->nodes[part].next) {
        const uint32_t next = b->e->nodes[part].next != QN_NO_EXPRESSION ? add_state(b) : to;
        add_expression(b, part, from, next, depth);
        from = next;
    }
}

/* min copies, and then either a loop or as many more that may each be the last. */
static void add_repeat(builder *b, const qn_expression_node *x, uint32_t from, uint32_t to, int depth)
{
    for (uint32_t i = 0; i < x->min && !b->too_large && !b->no_memory; i++) {
        const uint32_t next = add_state(b);
        add_expression(b, x->first, from, next, depth);
        from = next;
    }
    if (x->max == QN_ANY_NUMBER) {
        const uint32_t loop = add_state(b), back = add_state(b);
        add_empty(b, from, loop);
        add_expression(b, x->first, loop, back, depth);
        add_empty(b, back, loop);
        from = loop;
    }
    for (uint32_t i = x->min; i < x->max && x->max != QN_ANY_NUMBER && !b->too_large && !b->no_memory; i++) {
        const uint32_t next = add_state(b);
        add_empty(b, from, to);
        add_expression(b, x->first, from, next, depth);
        from = next;
    }
    add_empty(b, from, to);
}

static void add_graph(builder *b, const qn_expression_node *x, uint32_t from, uint32_t to, int depth)
{
    const uint32_t first = (uint32_t)b->net->n_states; /* of the states 2 and up */
    for (uint32_t i = 2; i < x->n_states; i++) add_state(b);
    /* what comes before the graph must not be led back into by it, nor what follows lead out of it */
    const uint32_t begin = add_state(b), end = add_state(b);
    add_empty(b, from, begin);
    for (uint32_t i = 0; i < x->n && !b->too_large && !b->no_memory; i++) {
        const qn_graph_edge *edge = &b->e->edges[x->begin + i];
        const uint32_t at = edge->from < 2 ? (edge->from == 0 ? begin : end) : first + edge->from - 2;
        const uint32_t then = edge->to < 2 ? (edge->to == 0 ? begin : end) : first + edge->to - 2;
        if (edge->part == QN_NO_EXPRESSION) add_empty(b, at, then);
        else add_expression(b, edge->part, at, then, depth);
    }
    add_empty(b, end, to);
}

static void add_expression(builder *b, qn_expression id, uint32_t from, uint32_t to, int depth)
{
    const qn_expression_node *x = &b->e->nodes[id];
    if (depth > MAX_DEPTH) b->too_large = true;
    if (b->too_large || b->no_memory) return;
    switch (x->kind) {
    case QN_EXPRESSION_TEXT:
        add_text(b, x, from, to);
        break;
    case QN_EXPRESSION_CLASS:
        for (uint32_t i = 0; i < x->n; i++) add_range(b, from, to, b->e->ranges[x->begin + i]);
        break;
    case QN_EXPRESSION_SEQUENCE:
        add_sequence(b, x, from, to, depth + 1);
        break;
    case QN_EXPRESSION_CHOICE:
        for (qn_expression part = x->first; part != QN_NO_EXPRESSION; part = b->e->nodes[part].next)
            add_expression(b, part, from, to, depth + 1);
        break;
    case QN_EXPRESSION_REPEAT:
        add_repeat(b, x, from, to, depth + 1);
        break;
    case QN_EXPRESSION_RULE:
        add_edge(b, from, (qn_edge){.kind = QN_EDGE_CALL, .to = to, .rule = x->rule});
        break;
    case QN_EXPRESSION_GRAPH:
        add_graph(b, x, from, to, depth + 1);
        break;
    }
}

/* ---- dead ends --------------------------------------------------------------------------------- */

/* Takes the edges away that lead where no end can be reached from. */
static void cut_dead_ends(qn_network *n)
{
    for (size_t state = 0; state < n->n_states; state++)
        for (uint32_t *at = &n->states[state]; *at != QN_NO_EDGE;) {
            qn_edge *edge = &n->edges[*at];
            const bool is_dead =
                n->least_bytes[edge->to] == QN_NO_WAY ||
                (edge->kind == QN_EDGE_CALL && n->least_bytes[n->rules[edge->rule].begin] == QN_NO_WAY);
            if (is_dead) *at = edge->next;
            else at = &edge->next;
        }
    n->is_empty = n->n_rules == 0 || n->least_bytes[n->rules[n->root].begin] == QN_NO_WAY;
}

/* ---- building ---------------------------------------------------------------------------------- */

static void find_classes(qn_network *n)
{
    bool begins[257] = {0};
    for (size_t i = 0; i < n->n_edges; i++) {
        if (n->edges[i].kind != QN_EDGE_BYTES) continue;
        begins[n->edges[i].first] = true;
        begins[n->edges[i].last + 1] = true;
    }
    for (size_t byte = 0, class = 0; byte < 256; byte++) {
        if (byte > 0 && begins[byte]) class ++;
        n->class_of[byte] = (uint8_t) class;
        n->n_classes = class + 1;
    }
}

static void build_rules(builder *b)
{
    qn_network *n = b->net;
    n->n_rules = b->e->n_rules;
    n->rules = qn_calloc(n->n_rules, sizeof *n->rules);
    if (n->rules == NULL) b->no_memory = true;
    for (size_t i = 0; i < n->n_rules && !b->no_memory; i++)
        n->rules[i] = (qn_network_rule){add_state(b), add_state(b)};
    for (size_t i = 0; i < n->n_rules && !b->no_memory && !b->too_large; i++)
        add_expression(b, b->e->rules[i], n->rules[i].begin, n->rules[i].end, 0);
}

quern_status qn_network_build(qn_network *n, const qn_expressions *e, const char *what,
                              const char *(*rule_name)(void *user, uint32_t rule), void *user,
                              quern_error *err)
{
    builder b = {.net = n, .e = e};
    memset(n, 0, sizeof *n);
    if (e->failed && e->no_memory) return qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory", what);
    if (e->failed) return qn_fail(err, QUERN_ERR_LIMIT, "%s: too large", what);
    for (uint32_t i = 0; i < e->n_rules; i++)
        if (e->rules[i] == QN_NO_EXPRESSION)
            return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: rule '%s' is used and not defined", what,
                           rule_name != NULL ? rule_name(user, i) : "?");
    n->root = e->root;
    build_rules(&b);
    quern_status s = QUERN_OK;
    if (b.no_memory) s = qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory", what);
    else if (b.too_large)
        s = qn_fail(err, QUERN_ERR_LIMIT, "%s: more than %d states, or more than %d levels", what, MAX_STATES,
                    MAX_DEPTH);
    else if (!qn_network_find_shortest(n)) s = qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory", what);
    else s = qn_network_check_recursion(n, what, rule_name, user, err);
    if (s == QUERN_OK) cut_dead_ends(n);
    if (s == QUERN_OK) find_classes(n);
    else qn_network_deinit(n);
    return s;
}

/* ---- two in a row ------------------------------------------------------------------------------ */

/* Adds states, edges and rules of a network behind those that are there. Returns the number of its root. */
static uint32_t add_network(builder *b, const qn_network *from)
{
    qn_network *n = b->net;
    const uint32_t states = (uint32_t)n->n_states, edges = (uint32_t)n->n_edges, rules = (uint32_t)n->n_rules;
    for (size_t i = 0; i < from->n_states; i++) add_state(b);
    if (n->n_edges + from->n_edges > MAX_EDGES) b->too_large = true;
    else if (!qn_grow(&n->edges, &n->edge_capacity, n->n_edges + from->n_edges, MAX_EDGES, sizeof *n->edges))
        b->no_memory = true;
    if (b->no_memory || b->too_large) return 0;
    for (size_t i = 0; i < from->n_states; i++)
        if (from->states[i] != QN_NO_EDGE) n->states[states + i] = edges + from->states[i];
    for (size_t i = 0; i < from->n_edges; i++) {
        qn_edge edge = from->edges[i];
        edge.to += states;
        if (edge.kind == QN_EDGE_CALL) edge.rule += rules;
        if (edge.next != QN_NO_EDGE) edge.next += edges;
        n->edges[n->n_edges++] = edge;
    }
    for (size_t i = 0; i < from->n_rules; i++)
        n->rules[n->n_rules++] =
            (qn_network_rule){states + from->rules[i].begin, states + from->rules[i].end};
    return rules + from->root;
}

quern_status qn_network_concatenate(qn_network *n, const qn_network *first, const qn_network *second,
                                    quern_error *err)
{
    builder b = {.net = n};
    memset(n, 0, sizeof *n);
    n->rules = qn_calloc(first->n_rules + second->n_rules + 1, sizeof *n->rules);
    if (n->rules == NULL) b.no_memory = true;
    if (!b.no_memory) n->rules[n->n_rules++] = (qn_network_rule){add_state(&b), add_state(&b)};
    const uint32_t between = b.no_memory ? 0 : add_state(&b);
    const uint32_t roots[] = {b.no_memory ? 0 : add_network(&b, first),
                              b.no_memory || b.too_large ? 0 : add_network(&b, second)};
    if (!b.no_memory && !b.too_large) {
        add_edge(&b, n->rules[0].begin, (qn_edge){.kind = QN_EDGE_CALL, .rule = roots[0], .to = between});
        add_edge(&b, between, (qn_edge){.kind = QN_EDGE_CALL, .rule = roots[1], .to = n->rules[0].end});
    }
    quern_status s = QUERN_OK;
    if (b.too_large) s = qn_fail(err, QUERN_ERR_LIMIT, "grammar: more than %d states", MAX_STATES);
    else if (b.no_memory || !qn_network_find_shortest(n))
        s = qn_fail(err, QUERN_ERR_NOMEM, "grammar: no memory");
    if (s != QUERN_OK) return qn_network_deinit(n), s;
    cut_dead_ends(n);
    find_classes(n);
    return QUERN_OK;
}

void qn_network_deinit(qn_network *n)
{
    qn_free(n->edges);
    qn_free(n->states);
    qn_free(n->rules);
    qn_free(n->least_bytes);
    memset(n, 0, sizeof *n);
}
