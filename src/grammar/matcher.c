/* matcher.c: see matcher.h. */
#include "grammar/matcher.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <string.h>

enum { MAX_MASK_BYTES = 32 << 20 /* kept */ };

/* ---- what is kept ------------------------------------------------------------------------------ */

typedef struct kept_mask {
    qn_token_mask mask;
    uint64_t *bits; /* NULL: not made yet */
} kept_mask;

typedef struct branch { /* of a tree, still to be walked */
    qn_place from;
    uint32_t next, end;
} branch;

struct qn_matcher {
    qn_automaton *automaton;
    const qn_network *network;
    const qn_token_table *table;
    qn_place at;
    branch *path;     /* [table->max_bytes + 1] */
    bool drops_space; /* and no token has come yet */
    kept_mask *masks; /* [mask_capacity] by place */
    size_t mask_capacity, mask_bytes;
    kept_mask first; /* of the first token, where a blank is dropped: not by place */
    qn_plain_text *plain;
    bool no_memory;
};

static void forget_mask(kept_mask *k)
{
    qn_free(k->bits);
    *k = (kept_mask){0};
}

static void forget_masks(qn_matcher *m)
{
    for (size_t i = 0; i < m->mask_capacity; i++) forget_mask(&m->masks[i]);
    m->mask_bytes = 0;
}

/* ---- masks ------------------------------------------------------------------------------------- */

static void allow(uint64_t *bits, quern_token token)
{
    bits[token / 64] |= UINT64_C(1) << token % 64;
}

static bool is_allowed(const uint64_t *bits, quern_token token)
{
    return (bits[token / 64] >> token % 64 & 1) != 0;
}

/* Allows all tokens of nodes [i, end) and below that the automaton can follow from a place. */
static void walk_tree(qn_matcher *m, const qn_token_tree *tree, uint32_t i, uint32_t end, qn_place from,
                      uint64_t *bits)
{
    const uint8_t *class_of = m->network->class_of;
    const qn_place *row = qn_automaton_row(m->automaton, from);
    size_t depth = 0;
    for (;;) {
        while (i < end) {
            const uint32_t node = i++;
            qn_place to = row[class_of[tree->bytes[node]]];
            if (to == QN_PLACE_DEAD) continue;
            if (to == QN_PLACE_UNKNOWN) {
                to = qn_automaton_step(m->automaton, from, tree->bytes[node]);
                row = qn_automaton_row(m->automaton, from); /* it may have moved */
                if (to == QN_PLACE_DEAD) continue;
            }
            const qn_token_node *n = &tree->nodes[node];
            if (n->token >= 0) allow(bits, n->token);
            if (n[0].first_child == n[1].first_child) continue;
            m->path[depth++] = (branch){from, i, end};
            i = n[0].first_child, end = n[1].first_child;
            row = qn_automaton_row(m->automaton, from = to);
        }
        if (depth-- == 0) return;
        from = m->path[depth].from, i = m->path[depth].next, end = m->path[depth].end;
        row = qn_automaton_row(m->automaton, from);
    }
}

/* Tokens whose first blank does not count: what is below it is walked from the same place. */
static void walk_after_blank(qn_matcher *m, const qn_token_tree *tree, uint64_t *bits)
{
    uint32_t i = 0;
    while (i < tree->n_roots && tree->bytes[i] != ' ') i++;
    if (i >= tree->n_roots) return;
    const qn_token_node *n = &tree->nodes[i];
    if (n->token >= 0) allow(bits, n->token);
    walk_tree(m, tree, n[0].first_child, n[1].first_child, m->at, bits);
}

static void walk(qn_matcher *m, const qn_token_tree *tree, uint64_t *bits)
{
    walk_tree(m, tree, 0, (uint32_t)tree->n_roots, m->at, bits);
    if (m->drops_space) walk_after_blank(m, tree, bits);
}

/* Tokens of a word after one character: all at once where any word of that length may come after it. */
static void walk_after_one(qn_matcher *m, const qn_token_tree *tree, unsigned most, uint64_t *bits)
{
    qn_place known = QN_PLACE_DEAD; /* most characters lead to the same place */
    unsigned n = 0;
    bool ignored;
    for (uint32_t i = 0; i < tree->n_roots; i++) {
        const qn_place to = qn_automaton_step(m->automaton, m->at, tree->bytes[i]);
        if (to == QN_PLACE_DEAD) continue;
        if (to != known) n = qn_plain_text_run(m->plain, known = to, QN_PLAIN_WORDS, &ignored);
        if (n + 1 < most) {
            walk_tree(m, tree, tree->nodes[i].first_child, tree->nodes[i + 1].first_child, to, bits);
            continue;
        }
        for (uint32_t k = tree->begins[i]; k < tree->begins[i + 1]; k++) allow(bits, tree->tokens[k]);
    }
}

/* Plain tokens: as sets as far as any text may come, the longer ones one by one. */
static void allow_plain(qn_matcher *m, uint64_t *bits)
{
    static const qn_plain_kind kind_of[] = {
        [QN_FORM_WORD] = QN_PLAIN_WORDS, [QN_FORM_AFTER_ONE] = QN_PLAIN_ANY, [QN_FORM_ANY] = QN_PLAIN_ANY};
    const qn_token_table *t = m->table;
    bool is_all = false;
    unsigned n[QN_PLAIN_KINDS] = {0};
    for (size_t kind = QN_PLAIN_KINDS; kind-- > 0 && !is_all;) {
        n[kind] = qn_plain_text_run(m->plain, m->at, (qn_plain_kind)kind, &is_all);
        for (size_t w = 0; n[kind] > 0 && w < t->n_words; w++) bits[w] |= t->plain_sets[kind][n[kind] - 1][w];
    }
    for (size_t form = 0; form < QN_FORMS; form++)
        for (size_t k = 0; k < QN_PLAIN_TREES; k++) {
            const unsigned most = qn_plain_tree_most[k];
            if (!m->drops_space && (is_all || n[kind_of[form]] >= most)) continue;
            if (form == QN_FORM_AFTER_ONE && !m->drops_space)
                walk_after_one(m, &t->plain[form][k], most, bits);
            else walk(m, &t->plain[form][k], bits);
        }
}

static void allow_all(qn_matcher *m, uint64_t *bits)
{
    const qn_token_table *t = m->table;
    allow_plain(m, bits);
    walk(m, &t->others, bits);
    for (size_t i = 0; i < t->n_same_bytes; i++)
        if (is_allowed(bits, t->same_bytes[i].token)) allow(bits, t->same_bytes[i].same);
    if (qn_automaton_accepts(m->automaton, m->at))
        for (size_t i = 0; i < t->n_ends; i++) allow(bits, t->ends[i]);
}

static void finish(const qn_matcher *m, kept_mask *k)
{
    quern_token only = -1;
    unsigned n = 0;
    for (size_t w = 0; w < m->table->n_words && n < 2; w++) {
        if (k->bits[w] == 0) continue;
        only = (quern_token)(w * 64) + __builtin_ctzll(k->bits[w]);
        n += (k->bits[w] & (k->bits[w] - 1)) == 0 ? 1 : 2;
    }
    k->mask = (qn_token_mask){.bits = k->bits, .only = n == 1 ? only : -1, .is_empty = n == 0};
}

/* Where the mask of this place is kept. NULL: no memory. */
static kept_mask *find_kept(qn_matcher *m)
{
    if (m->drops_space) return &m->first;
    const size_t before = m->mask_capacity;
    if (!qn_grow(&m->masks, &m->mask_capacity, (size_t)m->at + 1, UINT32_MAX, sizeof *m->masks)) return NULL;
    if (m->mask_capacity > before)
        memset(m->masks + before, 0, (m->mask_capacity - before) * sizeof *m->masks);
    return &m->masks[m->at];
}

const qn_token_mask *qn_matcher_mask(qn_matcher *m)
{
    if (qn_automaton_status(m->automaton, NULL) != QUERN_OK || m->no_memory) return NULL;
    qn_automaton_rest(m->automaton);
    if (m->mask_bytes > MAX_MASK_BYTES) forget_masks(m);
    if (qn_automaton_tidy(m->automaton, &m->at)) {
        forget_masks(m);
        qn_plain_text_forget(m->plain);
    }
    kept_mask *k = find_kept(m);
    if (k != NULL && k->bits != NULL) return &k->mask;
    uint64_t *bits = k != NULL ? qn_calloc(m->table->n_words + 1, sizeof *bits) : NULL;
    if (bits == NULL) {
        m->no_memory = true;
        return NULL;
    }
    m->mask_bytes += m->table->n_words * sizeof *bits;
    allow_all(m, bits);
    k->bits = bits;
    finish(m, k);
    return qn_automaton_status(m->automaton, NULL) == QUERN_OK && !m->no_memory ? &k->mask : NULL;
}

/* ---- moving on --------------------------------------------------------------------------------- */

bool qn_matcher_accept_bytes(qn_matcher *m, const char *bytes, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) m->at = qn_automaton_step(m->automaton, m->at, (uint8_t)bytes[i]);
    if (n_bytes > 0) m->drops_space = false;
    return m->at != QN_PLACE_DEAD;
}

static bool is_end(const qn_token_table *t, quern_token token)
{
    for (size_t i = 0; i < t->n_ends; i++)
        if (t->ends[i] == token) return true;
    return false;
}

bool qn_matcher_accept(qn_matcher *m, quern_token token)
{
    const qn_token_table *t = m->table;
    if (is_end(t, token) && qn_matcher_may_end(m)) return true;
    const bool has_bytes =
        token >= 0 && (size_t)token < t->n_tokens && t->begins[token + 1] > t->begins[token];
    if (!has_bytes) return m->at = QN_PLACE_DEAD, false;
    const char *bytes = t->bytes + t->begins[token];
    const size_t n = t->begins[token + 1] - t->begins[token], drop = m->drops_space && bytes[0] == ' ';
    m->drops_space = false;
    return qn_matcher_accept_bytes(m, bytes + drop, n - drop);
}

bool qn_matcher_may_end(const qn_matcher *m)
{
    return qn_automaton_accepts(m->automaton, m->at);
}

bool qn_matcher_must_end(const qn_matcher *m)
{
    return qn_matcher_may_end(m) && qn_automaton_is_final(m->automaton, m->at);
}

/* The longest token of a tree that the bytes begin with, if it is longer than *n_best. */
static void find_longest(const qn_token_tree *tree, const uint8_t *bytes, size_t n_bytes, quern_token *best,
                         size_t *n_best)
{
    uint32_t i = 0, end = (uint32_t)tree->n_roots;
    size_t depth = 0;
    while (i < end && depth < n_bytes) {
        if (tree->bytes[i] != bytes[depth]) {
            i++;
            continue;
        }
        depth++;
        const qn_token_node *n = &tree->nodes[i];
        if (n->token >= 0 && depth > *n_best) *best = n->token, *n_best = depth;
        i = n[0].first_child, end = n[1].first_child;
    }
}

/* The longest token that the shortest end from a place begins with; -1: there is none. *after: where it
 * leads. */
static quern_token closing_token(qn_matcher *m, qn_place at, qn_place *after)
{
    const qn_token_table *t = m->table;
    uint8_t bytes[QN_MAX_TOKEN_BYTES];
    size_t n = 0, n_best = 0;
    quern_token best = -1;
    *after = at;
    for (; n < t->max_bytes && qn_automaton_shortest(m->automaton, at) > 0; n++) {
        bytes[n] = qn_automaton_shortest_byte(m->automaton, at);
        at = qn_automaton_step(m->automaton, at, bytes[n]);
    }
    for (size_t form = 0; form < QN_FORMS; form++)
        for (size_t k = 0; k < QN_PLAIN_TREES; k++)
            find_longest(&t->plain[form][k], bytes, n, &best, &n_best);
    find_longest(&t->others, bytes, n, &best, &n_best);
    for (size_t i = 0; i < n_best; i++) *after = qn_automaton_step(m->automaton, *after, bytes[i]);
    return best;
}

quern_token qn_matcher_closing_token(qn_matcher *m)
{
    qn_place after;
    if (qn_matcher_may_end(m)) return m->table->n_ends > 0 ? m->table->ends[0] : -1;
    return m->at != QN_PLACE_DEAD ? closing_token(m, m->at, &after) : -1;
}

bool qn_matcher_can_end(qn_matcher *m, size_t n_tokens)
{
    qn_place at = m->at;
    if (qn_automaton_shortest(m->automaton, at) > n_tokens) qn_automaton_rest_long(m->automaton);
    for (;; n_tokens--) {
        const uint32_t n_bytes = qn_automaton_shortest(m->automaton, at);
        if (n_bytes <= n_tokens)
            return true; /* a token has a byte at least, and each byte that is needed a token */
        if (n_tokens == 0 || n_bytes == QN_NO_WAY || closing_token(m, at, &at) < 0) return false;
    }
}

bool qn_matcher_can_end_after(qn_matcher *m, quern_token token, size_t n_tokens)
{
    const qn_place at = m->at;
    const bool drops_space = m->drops_space;
    qn_matcher_accept(m, token);
    const bool can_end = qn_matcher_can_end(m, n_tokens);
    m->at = at;
    m->drops_space = drops_space;
    return can_end;
}

quern_status qn_matcher_status(const qn_matcher *m, quern_error *err)
{
    if (m->no_memory) return qn_fail(err, QUERN_ERR_NOMEM, "grammar: no memory");
    return qn_automaton_status(m->automaton, err);
}

/* ---- life -------------------------------------------------------------------------------------- */

void qn_matcher_begin(qn_matcher *m, bool drops_space)
{
    m->at = qn_automaton_begin(m->automaton);
    m->drops_space = drops_space;
}

quern_status qn_matcher_create(qn_matcher **out, const qn_network *network, const qn_token_table *table,
                               quern_error *err)
{
    qn_matcher *m = *out = qn_calloc(1, sizeof *m);
    if (m == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "grammar: no memory");
    m->network = network;
    m->table = table;
    m->path = qn_calloc(table->max_bytes + 1, sizeof *m->path);
    quern_status s = qn_automaton_create(&m->automaton, network, err);
    if (s == QUERN_OK) m->plain = qn_plain_text_create(m->automaton, network);
    if (s == QUERN_OK && (m->path == NULL || m->plain == NULL))
        s = qn_fail(err, QUERN_ERR_NOMEM, "grammar: no memory");
    if (s == QUERN_OK) qn_matcher_begin(m, false);
    else qn_matcher_destroy(m), *out = NULL;
    return s;
}

void qn_matcher_destroy(qn_matcher *m)
{
    if (m == NULL) return;
    forget_masks(m);
    forget_mask(&m->first);
    qn_free(m->masks);
    qn_automaton_destroy(m->automaton);
    qn_plain_text_destroy(m->plain);
    qn_free(m->path);
    qn_free(m);
}
