/* expression.c: see expression.h. */
#include "grammar/expression.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_NODES = 1 << 20,
    MAX_RANGES = 1 << 20,
    MAX_EDGES = 1 << 20,
    MAX_RULES = 1 << 16,
    MAX_BYTES = 16 << 20,
};
enum { SURROGATES = 0xd800, AFTER_SURROGATES = 0xe000, LAST_CHARACTER = 0x10ffff };

void qn_expressions_deinit(qn_expressions *e)
{
    qn_free(e->nodes);
    qn_free(e->ranges);
    qn_free(e->edges);
    qn_free(e->rules);
    qn_buffer_deinit(&e->bytes);
    memset(e, 0, sizeof *e);
}

static void fail(qn_expressions *e, bool no_memory)
{
    e->failed = true;
    e->no_memory |= no_memory;
}

/* As qn_grow; says whether it was memory that ended. */
static bool grow(qn_expressions *e, void *items, size_t *capacity, size_t need, size_t max, size_t elem_bytes)
{
    if (qn_grow(items, capacity, need, max, elem_bytes)) return true;
    fail(e, need <= max);
    return false;
}

static qn_expression add(qn_expressions *e, qn_expression_node node)
{
    if (e->failed || !grow(e, &e->nodes, &e->node_capacity, e->n_nodes + 1, MAX_NODES, sizeof *e->nodes))
        return QN_NO_EXPRESSION;
    node.first = node.last = node.next = QN_NO_EXPRESSION;
    e->nodes[e->n_nodes] = node;
    return (qn_expression)e->n_nodes++;
}

qn_expression qn_expression_text(qn_expressions *e, const char *bytes, size_t n_bytes)
{
    const size_t begin = e->bytes.n_bytes;
    e->bytes.max_bytes = MAX_BYTES;
    if (!qn_buffer_append(&e->bytes, bytes, n_bytes)) fail(e, !e->bytes.over_max);
    return add(e, (qn_expression_node){
                      .kind = QN_EXPRESSION_TEXT, .begin = (uint32_t)begin, .n = (uint32_t)n_bytes});
}

static int by_first(const void *a, const void *b)
{
    const qn_character_range *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Adds what of [first, last] is no surrogate. */
static void add_range(qn_expressions *e, uint32_t first, uint32_t last)
{
    if (last > LAST_CHARACTER) last = LAST_CHARACTER;
    if (first < SURROGATES && last >= SURROGATES) {
        add_range(e, first, SURROGATES - 1);
        first = SURROGATES;
    }
    if (first >= SURROGATES && first < AFTER_SURROGATES) first = AFTER_SURROGATES;
    if (first > last) return;
    if (!grow(e, &e->ranges, &e->range_capacity, e->n_ranges + 1, MAX_RANGES, sizeof *e->ranges)) return;
    e->ranges[e->n_ranges++] = (qn_character_range){first, last};
}

qn_expression qn_expression_class(qn_expressions *e, const qn_character_range *ranges, size_t n, bool negated)
{
    const size_t begin = e->n_ranges;
    qn_character_range *sorted = qn_calloc(n + 1, sizeof *sorted);
    if (sorted == NULL) fail(e, true);
    if (e->failed) return qn_free(sorted), QN_NO_EXPRESSION;
    if (n > 0) memcpy(sorted, ranges, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_first);
    uint32_t after = 0; /* the first character beyond all ranges so far */
    for (size_t i = 0; i < n; i++) {
        const uint32_t first = sorted[i].first, last = sorted[i].last;
        if (last < first || first > LAST_CHARACTER) continue;
        if (negated) {
            if (first > after) add_range(e, after, first - 1);
        } else if (last >= after) {
            add_range(e, first > after ? first : after, last);
        }
        if (last >= after) after = last < LAST_CHARACTER ? last + 1 : LAST_CHARACTER + 1;
    }
    if (negated && after <= LAST_CHARACTER) add_range(e, after, LAST_CHARACTER);
    qn_free(sorted);
    return add(e, (qn_expression_node){.kind = QN_EXPRESSION_CLASS,
                                       .begin = (uint32_t)begin,
                                       .n = (uint32_t)(e->n_ranges - begin)});
}

qn_expression qn_expression_any_character(qn_expressions *e)
{
    return qn_expression_class(e, NULL, 0, true);
}

qn_expression qn_expression_group(qn_expressions *e, qn_expression_kind kind)
{
    return add(e, (qn_expression_node){.kind = kind});
}

void qn_expression_append(qn_expressions *e, qn_expression group, qn_expression part)
{
    if (group == QN_NO_EXPRESSION || part == QN_NO_EXPRESSION) {
        e->failed = true;
        return;
    }
    qn_expression_node *g = &e->nodes[group];
    if (g->last == QN_NO_EXPRESSION) g->first = part;
    else e->nodes[g->last].next = part;
    g->last = part;
}

qn_expression qn_expression_repeat(qn_expressions *e, qn_expression part, uint32_t min, uint32_t max)
{
    const qn_expression repeat =
        add(e, (qn_expression_node){.kind = QN_EXPRESSION_REPEAT, .min = min, .max = max});
    qn_expression_append(e, repeat, part);
    return repeat;
}

qn_expression qn_expression_graph(qn_expressions *e, uint32_t n_states, const qn_graph_edge *edges,
                                  size_t n_edges)
{
    const size_t begin = e->n_edges;
    if (e->failed || !grow(e, &e->edges, &e->edge_capacity, begin + n_edges, MAX_EDGES, sizeof *e->edges))
        return QN_NO_EXPRESSION;
    if (n_edges > 0) memcpy(e->edges + begin, edges, n_edges * sizeof *edges);
    e->n_edges += n_edges;
    return add(e, (qn_expression_node){.kind = QN_EXPRESSION_GRAPH,
                                       .begin = (uint32_t)begin,
                                       .n = (uint32_t)n_edges,
                                       .n_states = n_states});
}

uint32_t qn_expression_new_rule(qn_expressions *e)
{
    if (!grow(e, &e->rules, &e->rule_capacity, e->n_rules + 1, MAX_RULES, sizeof *e->rules)) return 0;
    e->rules[e->n_rules] = QN_NO_EXPRESSION;
    return (uint32_t)e->n_rules++;
}

void qn_expression_define(qn_expressions *e, uint32_t rule, qn_expression meaning)
{
    if (meaning == QN_NO_EXPRESSION || rule >= e->n_rules) e->failed = true;
    else e->rules[rule] = meaning;
}

qn_expression qn_expression_rule(qn_expressions *e, uint32_t rule)
{
    return add(e, (qn_expression_node){.kind = QN_EXPRESSION_RULE, .rule = rule});
}
