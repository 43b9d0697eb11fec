/* search.c: see search.h. */
#include "grammar/search.h"

#include "base/alloc.h"
#include "base/utf8.h"

typedef struct wanted_text {
    uint32_t characters[QN_MAX_SEARCH];
    uint32_t n;
} wanted_text;

static wanted_text decode(const char *bytes, size_t n_bytes)
{
    wanted_text t = {.n = 0};
    for (size_t i = 0; i < n_bytes && t.n < QN_MAX_SEARCH;) {
        const size_t used = qn_utf8_decode(bytes + i, n_bytes - i, &t.characters[t.n]);
        if (used == 0) break;
        t.n++;
        i += used;
    }
    return t;
}

/* How much of the text stands at the end of its first k characters followed by c. */
static uint32_t matched_after(const wanted_text *t, uint32_t k, uint32_t c)
{
    for (uint32_t length = k + 1; length > 0; length--) {
        bool same = t->characters[length - 1] == c;
        for (uint32_t i = 0; same && i + 1 < length; i++)
            same = t->characters[i] == t->characters[k + 1 - length + i];
        if (same) return length;
    }
    return 0;
}

/* The state of a graph in which k characters are matched: 0 is its begin, 1 its end. */
static uint32_t state_of(const wanted_text *t, uint32_t k)
{
    return k == 0 ? 0 : k == t->n ? 1 : k + 1;
}

/* Adds the ways out of the state with k characters matched, but for that to the whole text if it is not
 * wanted. */
static void add_ways(qn_expressions *e, const wanted_text *t, uint32_t k, bool wants_whole,
                     qn_graph_edge *edges, size_t *n_edges)
{
    qn_character_range known[QN_MAX_SEARCH];
    size_t n_known = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        const uint32_t c = t->characters[i], to = matched_after(t, k, c);
        bool is_new = to > 0;
        for (size_t j = 0; j < n_known; j++) is_new &= known[j].first != c;
        if (!is_new) continue;
        known[n_known++] = (qn_character_range){c, c};
        if (to == t->n && !wants_whole) continue;
        edges[(*n_edges)++] = (qn_graph_edge){state_of(t, k), state_of(t, to),
                                              qn_expression_class(e, &known[n_known - 1], 1, false)};
    }
    edges[(*n_edges)++] = (qn_graph_edge){state_of(t, k), 0, qn_expression_class(e, known, n_known, true)};
}

static qn_expression search(qn_expressions *e, const char *bytes, size_t n_bytes, bool wants_whole)
{
    const wanted_text t = decode(bytes, n_bytes);
    qn_graph_edge *edges = qn_calloc((size_t)t.n * (t.n + 2) + 1, sizeof *edges);
    size_t n_edges = 0;
    if (edges == NULL) e->failed = e->no_memory = true;
    if (t.n == 0) e->failed = true;
    for (uint32_t k = 0; k < t.n && !e->failed; k++) {
        add_ways(e, &t, k, wants_whole, edges, &n_edges);
        if (!wants_whole) edges[n_edges++] = (qn_graph_edge){state_of(&t, k), 1, QN_NO_EXPRESSION};
    }
    const qn_expression graph =
        e->failed ? QN_NO_EXPRESSION : qn_expression_graph(e, t.n + 1, edges, n_edges);
    qn_free(edges);
    return graph;
}

qn_expression qn_search_up_to(qn_expressions *e, const char *bytes, size_t n_bytes)
{
    return search(e, bytes, n_bytes, true);
}

qn_expression qn_search_without(qn_expressions *e, const char *bytes, size_t n_bytes)
{
    return search(e, bytes, n_bytes, false);
}
