/* recursion.c: see recursion.h. */
#include "grammar/recursion.h"

#include "base/alloc.h"
#include "base/checked.h"

/* What rules begin with. */
typedef struct walk {
    const qn_network *net;
    uint32_t *seen;  /* [n_states] number of the walk that was there */
    uint32_t *stack; /* [n_states] */
    uint32_t number;
} walk;

/* Visits all states that a rule reaches without reading a byte; calls of rules that can be empty are passed.
 * Every call met is told to on_call. */
static void find_first_calls(walk *w, uint32_t rule, void (*on_call)(void *user, uint32_t called), void *user)
{
    size_t n = 0;
    w->number++;
    w->stack[n++] = w->net->rules[rule].begin;
    w->seen[w->net->rules[rule].begin] = w->number;
    while (n > 0) {
        const uint32_t state = w->stack[--n];
        for (uint32_t i = w->net->states[state]; i != QN_NO_EDGE; i = w->net->edges[i].next) {
            const qn_edge *edge = &w->net->edges[i];
            if (edge->kind == QN_EDGE_CALL) on_call(user, edge->rule);
            const bool passes =
                edge->kind == QN_EDGE_EMPTY ||
                (edge->kind == QN_EDGE_CALL && w->net->least_bytes[w->net->rules[edge->rule].begin] == 0);
            if (!passes || w->seen[edge->to] == w->number) continue;
            w->seen[edge->to] = w->number;
            w->stack[n++] = edge->to;
        }
    }
}

/* Which rules a rule can begin with: those of rule r are called[begins[r]] to called[begins[r + 1] - 1]. */
typedef struct beginnings {
    uint32_t *called;
    size_t n, capacity;
    size_t *begins; /* [n_rules + 1] */
    bool no_memory;
} beginnings;

static void note_call(void *user, uint32_t rule)
{
    beginnings *c = user;
    if (!qn_grow(&c->called, &c->capacity, c->n + 1, SIZE_MAX / sizeof *c->called, sizeof *c->called))
        c->no_memory = true;
    else c->called[c->n++] = rule;
}

/* A rule that can begin with itself, or QN_NO_EDGE: depth first, a rule met again while it is open. */
static uint32_t find_left_recursion(const beginnings *c, size_t n_rules, uint8_t *colors, size_t *at,
                                    uint32_t *path)
{
    enum { NEW, OPEN, DONE };
    for (uint32_t start = 0; start < n_rules; start++) {
        size_t depth = 0;
        if (colors[start] != NEW) continue;
        path[depth++] = start, colors[start] = OPEN, at[start] = c->begins[start];
        while (depth > 0) {
            const uint32_t rule = path[depth - 1];
            if (at[rule] == c->begins[rule + 1]) {
                colors[rule] = DONE;
                depth--;
                continue;
            }
            const uint32_t called = c->called[at[rule]++];
            if (colors[called] == OPEN) return called;
            if (colors[called] == DONE) continue;
            path[depth++] = called, colors[called] = OPEN, at[called] = c->begins[called];
        }
    }
    return QN_NO_EDGE;
}

quern_status qn_network_check_recursion(const qn_network *n, const char *what,
                                        const char *(*rule_name)(void *user, uint32_t rule), void *user,
                                        quern_error *err)
{
    walk w = {.net = n};
    beginnings c = {0};
    w.seen = qn_calloc(n->n_states, sizeof *w.seen);
    w.stack = qn_calloc(n->n_states, sizeof *w.stack);
    c.begins = qn_calloc(n->n_rules + 1, sizeof *c.begins);
    uint8_t *colors = qn_calloc(n->n_rules, 1);
    size_t *at = qn_calloc(n->n_rules, sizeof *at);
    uint32_t *path = qn_calloc(n->n_rules, sizeof *path), found = QN_NO_EDGE;
    bool ok =
        w.seen != NULL && w.stack != NULL && c.begins != NULL && colors != NULL && at != NULL && path != NULL;
    for (uint32_t rule = 0; ok && rule < n->n_rules; rule++) {
        c.begins[rule] = c.n;
        find_first_calls(&w, rule, note_call, &c);
    }
    ok = ok && !c.no_memory;
    if (ok) {
        c.begins[n->n_rules] = c.n;
        found = find_left_recursion(&c, n->n_rules, colors, at, path);
    }
    qn_free(w.seen), qn_free(w.stack), qn_free(c.called), qn_free(c.begins);
    qn_free(colors), qn_free(at), qn_free(path);
    if (!ok) return qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory", what);
    if (found == QN_NO_EDGE) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_ARGUMENT,
                   "%s: rule '%s' can begin with itself (left recursion): write it as a repetition", what,
                   rule_name != NULL ? rule_name(user, found) : "?");
}
