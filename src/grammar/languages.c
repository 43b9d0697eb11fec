/* languages.c: see languages.h. Expressions become states and edges over ranges of characters (Thompson
 * 1968); a text is followed through the states of all languages at once. */
#include "grammar/languages.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "grammar/state_set.h"

#include <string.h>

enum {
    MAX_STATES = 100000,
    MAX_EDGES = 400000,
    MAX_RANGES = 1 << 20,
    MAX_DEPTH = 400,
};

/* ---- states and edges -------------------------------------------------------------------------- */

static bool stopped(const qn_languages *l)
{
    return l->too_large || l->no_memory;
}

static bool grow(qn_languages *l, void *items, size_t *capacity, size_t need, size_t max, size_t elem_bytes)
{
    if (stopped(l)) return false;
    if (qn_grow(items, capacity, need, max, elem_bytes)) return true;
    if (need > max) l->too_large = true;
    else l->no_memory = true;
    return false;
}

static uint32_t add_state(qn_languages *l)
{
    if (!grow(l, &l->states, &l->state_capacity, l->n_states + 1, MAX_STATES, sizeof *l->states)) return 0;
    l->states[l->n_states] = QN_NO_LANGUAGE_EDGE;
    return (uint32_t)l->n_states++;
}

static void add_edge(qn_languages *l, uint32_t from, uint32_t to, const qn_character_range *ranges, size_t n)
{
    if (!grow(l, &l->edges, &l->edge_capacity, l->n_edges + 1, MAX_EDGES, sizeof *l->edges) ||
        !grow(l, &l->ranges, &l->range_capacity, l->n_ranges + n, MAX_RANGES, sizeof *l->ranges))
        return;
    if (n > 0) memcpy(l->ranges + l->n_ranges, ranges, n * sizeof *ranges);
    l->edges[l->n_edges] = (qn_language_edge){to, l->states[from], (uint32_t)l->n_ranges, (uint32_t)n};
    l->states[from] = (uint32_t)l->n_edges++;
    l->n_ranges += n;
}

static void add_empty(qn_languages *l, uint32_t from, uint32_t to)
{
    add_edge(l, from, to, NULL, 0);
}

static void add(qn_languages *l, const qn_expressions *e, qn_expression id, uint32_t from, uint32_t to,
                int depth);

static void add_text(qn_languages *l, const char *text, size_t n_bytes, uint32_t from, uint32_t to)
{
    for (size_t i = 0; i < n_bytes && !stopped(l);) {
        uint32_t c = 0xfffd;
        const size_t n = qn_utf8_decode(text + i, n_bytes - i, &c);
        const uint32_t next = add_state(l);
        add_edge(l, from, next, &(qn_character_range){c, c}, 1);
        from = next;
        i += n > 0 ? n : 1;
    }
    add_empty(l, from, to);
}

static void add_repeat(qn_languages *l, const qn_expressions *e, const qn_expression_node *x, uint32_t from,
                       uint32_t to, int depth)
{
    for (uint32_t i = 0; i < x->min && !stopped(l); i++) {
        const uint32_t next = add_state(l);
        add(l, e, x->first, from, next, depth);
        from = next;
    }
    if (x->max == QN_ANY_NUMBER) {
        const uint32_t loop = add_state(l), back = add_state(l);
        add_empty(l, from, loop);
        add(l, e, x->first, loop, back, depth);
        add_empty(l, back, loop);
        from = loop;
    }
    for (uint32_t i = x->min; i < x->max && x->max != QN_ANY_NUMBER && !stopped(l); i++) {
        const uint32_t next = add_state(l);
        add_empty(l, from, to);
        add(l, e, x->first, from, next, depth);
        from = next;
    }
    add_empty(l, from, to);
}

static void add_parts(qn_languages *l, const qn_expressions *e, const qn_expression_node *x, uint32_t from,
                      uint32_t to, int depth)
{
    const bool is_choice = x->kind == QN_EXPRESSION_CHOICE;
    for (qn_expression part = x->first; part != QN_NO_EXPRESSION && !stopped(l); part = e->nodes[part].next) {
        const uint32_t next = is_choice ? to : add_state(l);
        add(l, e, part, from, next, depth);
        if (!is_choice) from = next;
    }
    if (!is_choice) add_empty(l, from, to);
}

static void add(qn_languages *l, const qn_expressions *e, qn_expression id, uint32_t from, uint32_t to,
                int depth)
{
    const qn_expression_node *x = &e->nodes[id];
    if (depth > MAX_DEPTH) l->too_large = true;
    if (stopped(l)) return;
    switch (x->kind) {
    case QN_EXPRESSION_TEXT:
        add_text(l, x->n > 0 ? e->bytes.data + x->begin : "", x->n, from, to);
        break;
    case QN_EXPRESSION_CLASS:
        if (x->n > 0) add_edge(l, from, to, e->ranges + x->begin, x->n);
        break;
    case QN_EXPRESSION_SEQUENCE:
    case QN_EXPRESSION_CHOICE:
        add_parts(l, e, x, from, to, depth + 1);
        break;
    case QN_EXPRESSION_REPEAT:
        add_repeat(l, e, x, from, to, depth + 1);
        break;
    case QN_EXPRESSION_RULE:
    case QN_EXPRESSION_GRAPH:
        l->too_large = true; /* not made of characters alone: callers do not ask for it */
        break;
    }
}

void qn_languages_add(qn_languages *l, const qn_expressions *e, qn_expression x)
{
    if (e->failed || x == QN_NO_EXPRESSION || l->n_languages == QN_MAX_LANGUAGES) {
        if (e->no_memory) l->no_memory = true;
        else l->too_large = true;
        return;
    }
    const uint32_t begin = add_state(l), end = add_state(l);
    if (stopped(l)) return;
    l->begins[l->n_languages] = begin;
    l->ends[l->n_languages++] = end;
    add(l, e, x, begin, end, 0);
}

void qn_languages_deinit(qn_languages *l)
{
    qn_free(l->states);
    qn_free(l->edges);
    qn_free(l->ranges);
    memset(l, 0, sizeof *l);
}

quern_status qn_languages_status(bool no_memory, bool too_large, quern_error *err)
{
    if (no_memory) return qn_fail(err, QUERN_ERR_NOMEM, "patterns: no memory");
    if (too_large) return qn_fail(err, QUERN_ERR_LIMIT, "the patterns are too complex together");
    return QUERN_OK;
}

/* ---- following one text ------------------------------------------------------------------------ */

static bool has_character(const qn_languages *l, const qn_language_edge *edge, uint32_t c)
{
    for (uint32_t i = edge->begin; i < edge->begin + edge->n; i++)
        if (c >= l->ranges[i].first && c <= l->ranges[i].last) return true;
    return false;
}

static void follow(const qn_state_set *from, qn_state_set *to, uint32_t c, uint64_t *work)
{
    qn_state_set_clear(to);
    for (size_t i = 0; i < from->n; i++)
        for (uint32_t k = from->l->states[from->items[i]]; k != QN_NO_LANGUAGE_EDGE;
             k = from->l->edges[k].next) {
            const qn_language_edge *edge = &from->l->edges[k];
            if (edge->n > 0 && has_character(from->l, edge, c)) qn_state_set_add(to, edge->to);
            *work -= *work < edge->n ? *work : edge->n;
        }
    qn_state_set_close(to, work);
}

quern_status qn_languages_match(const qn_languages *l, const char *text, size_t n_bytes, uint64_t *work,
                                uint32_t *belongs, quern_error *err)
{
    qn_state_set sets[2] = {{0}, {0}};
    quern_status s = qn_languages_status(l->no_memory, l->too_large, err);
    if (s != QUERN_OK) return s;
    if (!qn_state_set_init(&sets[0], l) || !qn_state_set_init(&sets[1], l))
        s = qn_languages_status(true, false, err);
    size_t now = 0;
    if (s == QUERN_OK) qn_state_set_begin(&sets[0], work);
    for (size_t at = 0; s == QUERN_OK && at < n_bytes; now ^= 1) {
        uint32_t c = 0xfffd;
        const size_t n = qn_utf8_decode(text + at, n_bytes - at, &c);
        at += n > 0 ? n : 1;
        follow(&sets[now], &sets[now ^ 1], c, work);
        if (*work == 0) s = qn_languages_status(false, true, err);
    }
    *belongs = sets[now].belongs;
    qn_state_set_deinit(&sets[0]);
    qn_state_set_deinit(&sets[1]);
    return s;
}
