/* matcher.c: see matcher.h. */
#include "grammar/matcher.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <string.h>

enum {
    MAX_MASK_BYTES = 32 << 20, /* kept */
    MAX_PAIRS = 2048,          /* of places and states of a character, looked at for one plain set */
};

/* ---- what is kept ------------------------------------------------------------------------------ */

typedef struct kept_mask {
    qn_token_mask mask;
    uint64_t *bits; /* NULL: not made yet */
} kept_mask;

struct qn_matcher {
    qn_automaton *automaton;
    const qn_token_table *table;
    qn_place at, *path; /* path: [table->max_bytes + 1] along a token */
    bool drops_space;   /* and no token has come yet */
    kept_mask *masks;   /* [mask_capacity] by place */
    size_t mask_capacity, mask_bytes;
    kept_mask first; /* of the first token, where a blank is dropped: not by place */
    struct pair {
        qn_place place;
        uint8_t state, n_characters;
    } pairs[MAX_PAIRS];
    size_t n_pairs;
    uint8_t samples[256]; /* [n_samples] one of all bytes that neither network nor plain text tells apart */
    size_t n_samples;
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

/* ---- plain text -------------------------------------------------------------------------------- */

/* States of a character that is being read, by what bytes may follow (The Unicode Standard, table 3-7). */
typedef enum character_state {
    WHOLE,
    ONE_MORE,
    TWO_MORE,
    THREE_MORE,
    AFTER_E0,
    AFTER_ED,
    AFTER_F0,
    AFTER_F4
} state;
enum { NOT_PLAIN = 255 };

static uint8_t first_of_character(uint8_t byte)
{
    if (byte < 0x80) return qn_is_plain_byte(byte) ? WHOLE : NOT_PLAIN;
    if (byte < 0xc2 || byte > 0xf4) return NOT_PLAIN;
    if (byte < 0xe0) return ONE_MORE;
    if (byte < 0xf0) return byte == 0xe0 ? AFTER_E0 : byte == 0xed ? AFTER_ED : TWO_MORE;
    return byte == 0xf0 ? AFTER_F0 : byte == 0xf4 ? AFTER_F4 : THREE_MORE;
}

static uint8_t next_of_character(uint8_t s, uint8_t byte)
{
    static const struct {
        uint8_t least, most, next;
    } rules[] = {[ONE_MORE] = {0x80, 0xbf, WHOLE},      [TWO_MORE] = {0x80, 0xbf, ONE_MORE},
                 [THREE_MORE] = {0x80, 0xbf, TWO_MORE}, [AFTER_E0] = {0xa0, 0xbf, ONE_MORE},
                 [AFTER_ED] = {0x80, 0x9f, ONE_MORE},   [AFTER_F0] = {0x90, 0xbf, TWO_MORE},
                 [AFTER_F4] = {0x80, 0x8f, TWO_MORE}};
    if (s == WHOLE) return first_of_character(byte);
    return byte >= rules[s].least && byte <= rules[s].most ? rules[s].next : NOT_PLAIN;
}

/* A byte of every kind: those that all states of a character and all edges of the network treat alike. */
static void find_samples(qn_matcher *m, const qn_network *network)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        bool is_new = byte == 0 || network->class_of[byte] != network->class_of[byte - 1];
        for (uint8_t s = WHOLE; s <= AFTER_F4 && !is_new; s++)
            is_new = next_of_character(s, (uint8_t)byte) != next_of_character(s, (uint8_t)(byte - 1));
        if (is_new) m->samples[m->n_samples++] = (uint8_t)byte;
    }
}

static bool add_pair(qn_matcher *m, qn_place place, uint8_t s, uint8_t n_characters)
{
    for (size_t i = m->n_pairs; i-- > 0;)
        if (m->pairs[i].place == place && m->pairs[i].state == s) return true; /* met with fewer characters */
    if (m->n_pairs == MAX_PAIRS) return false;
    m->pairs[m->n_pairs++] = (struct pair){place, s, n_characters};
    return true;
}

/* Whether any plain text of so many characters may come next. Breadth first, so that a place is met first
 * with the fewest characters before it. */
static bool takes_plain_text(qn_matcher *m, qn_place from, unsigned n_characters)
{
    m->n_pairs = 0;
    add_pair(m, from, WHOLE, 0);
    for (size_t i = 0; i < m->n_pairs; i++) {
        const struct pair p = m->pairs[i];
        struct pair last = p;
        if (p.state == WHOLE && p.n_characters == n_characters) continue;
        for (size_t k = 0; k < m->n_samples; k++) {
            const uint8_t next = next_of_character(p.state, m->samples[k]);
            if (next == NOT_PLAIN) continue;
            const qn_place to = qn_automaton_step(m->automaton, p.place, m->samples[k]);
            const uint8_t n = (uint8_t)(p.n_characters + (p.state == WHOLE));
            if (to == last.place && next == last.state) continue; /* most bytes lead to the same */
            if (to == QN_PLACE_DEAD || !add_pair(m, to, next, n)) return false;
            last = (struct pair){to, next, n};
        }
    }
    return true;
}

/* ---- masks ------------------------------------------------------------------------------------- */

static void allow(uint64_t *bits, quern_token token)
{
    bits[token / 64] |= UINT64_C(1) << token % 64;
}

/* Allows all tokens of nodes [i, end) that the automaton can follow; path[d] is where the bytes before depth
 * d have led. */
static void walk_tree(qn_matcher *m, const qn_token_tree *tree, uint32_t i, uint32_t end, uint64_t *bits)
{
    while (i < end) {
        const qn_token_node *n = &tree->nodes[i];
        const qn_place to = qn_automaton_step(m->automaton, m->path[n->depth], n->byte);
        if (to == QN_PLACE_DEAD) {
            i = n->end;
            continue;
        }
        m->path[n->depth + 1] = to;
        for (quern_token t = n->token; t >= 0; t = m->table->same_bytes[t]) allow(bits, t);
        i++;
    }
}

/* Tokens whose first blank does not count: what is below it is walked from the same place. */
static void walk_after_blank(qn_matcher *m, const qn_token_tree *tree, uint64_t *bits)
{
    uint32_t i = 0;
    while (i < tree->n_nodes && tree->nodes[i].byte != ' ') i = tree->nodes[i].end;
    if (i >= tree->n_nodes) return;
    m->path[1] = m->at;
    for (quern_token t = tree->nodes[i].token; t >= 0; t = m->table->same_bytes[t]) allow(bits, t);
    walk_tree(m, tree, i + 1, tree->nodes[i].end, bits);
}

static void walk_all(qn_matcher *m, uint64_t *bits)
{
    const qn_token_table *t = m->table;
    bool takes = !m->drops_space;
    m->path[0] = m->at;
    for (size_t set = 0; set < QN_PLAIN_SETS; set++) {
        if (t->n_plain[set] == 0) continue;
        takes = takes && takes_plain_text(m, m->at, qn_plain_characters[set]);
        if (takes)
            for (size_t w = 0; w < t->n_words; w++) bits[w] |= t->plain_sets[set][w];
        else walk_tree(m, &t->plain[set], 0, (uint32_t)t->plain[set].n_nodes, bits);
        if (m->drops_space) walk_after_blank(m, &t->plain[set], bits);
    }
    walk_tree(m, &t->others, 0, (uint32_t)t->others.n_nodes, bits);
    if (m->drops_space) walk_after_blank(m, &t->others, bits);
    if (qn_automaton_accepts(m->automaton, m->at))
        for (size_t i = 0; i < t->n_ends; i++) allow(bits, t->ends[i]);
}

static void count(const qn_matcher *m, kept_mask *k)
{
    k->mask = (qn_token_mask){.bits = k->bits, .only = -1};
    for (size_t w = 0; w < m->table->n_words; w++) {
        if (k->bits[w] != 0) k->mask.only = (quern_token)(w * 64) + __builtin_ctzll(k->bits[w]);
        k->mask.n += (size_t)__builtin_popcountll(k->bits[w]);
    }
    if (k->mask.n != 1) k->mask.only = -1;
}

/* Where the mask of this place is kept. */
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
    if (m->mask_bytes > MAX_MASK_BYTES) forget_masks(m);
    if (qn_automaton_tidy(m->automaton, &m->at)) forget_masks(m);
    kept_mask *k = find_kept(m);
    if (k != NULL && k->bits != NULL) return &k->mask;
    if (k != NULL) k->bits = qn_calloc(m->table->n_words + 1, sizeof *k->bits);
    if (k == NULL || k->bits == NULL) {
        m->no_memory = true;
        return NULL;
    }
    m->mask_bytes += m->table->n_words * sizeof *k->bits;
    walk_all(m, k->bits);
    count(m, k);
    return qn_automaton_status(m->automaton, NULL) == QUERN_OK ? &k->mask : NULL;
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
    return qn_automaton_is_final(m->automaton, m->at);
}

uint32_t qn_matcher_shortest(const qn_matcher *m)
{
    return qn_automaton_shortest(m->automaton, m->at);
}

uint32_t qn_matcher_shortest_after(qn_matcher *m, quern_token token)
{
    const qn_place at = m->at;
    const bool drops_space = m->drops_space;
    qn_matcher_accept(m, token);
    const uint32_t least = qn_matcher_shortest(m);
    m->at = at;
    m->drops_space = drops_space;
    return least;
}

/* The longest token of a tree that the bytes begin with, if it is longer than *n_best. */
static void find_longest(const qn_token_tree *tree, const uint8_t *bytes, size_t n_bytes, quern_token *best,
                         size_t *n_best)
{
    uint32_t i = 0, end = (uint32_t)tree->n_nodes;
    size_t depth = 0;
    while (i < end && depth < n_bytes) {
        const qn_token_node *n = &tree->nodes[i];
        if (n->byte != bytes[depth]) {
            i = n->end;
            continue;
        }
        depth++;
        if (n->token >= 0 && depth > *n_best) *best = n->token, *n_best = depth;
        end = n->end;
        i++;
    }
}

quern_token qn_matcher_closing_token(qn_matcher *m)
{
    const qn_token_table *t = m->table;
    uint8_t bytes[QN_MAX_TOKEN_BYTES];
    size_t n = 0, n_best = 0;
    quern_token best = -1;
    if (qn_matcher_may_end(m)) return t->n_ends > 0 ? t->ends[0] : -1;
    if (qn_matcher_shortest(m) == QN_NO_WAY) return -1;
    for (qn_place at = m->at; n < t->max_bytes && qn_automaton_shortest(m->automaton, at) > 0; n++) {
        bytes[n] = qn_automaton_shortest_byte(m->automaton, at);
        at = qn_automaton_step(m->automaton, at, bytes[n]);
    }
    for (size_t set = 0; set < QN_PLAIN_SETS; set++) find_longest(&t->plain[set], bytes, n, &best, &n_best);
    find_longest(&t->others, bytes, n, &best, &n_best);
    return best;
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
    m->table = table;
    m->path = qn_calloc(table->max_bytes + 1, sizeof *m->path);
    find_samples(m, network);
    quern_status s = qn_automaton_create(&m->automaton, network, err);
    if (s == QUERN_OK && m->path == NULL) s = qn_fail(err, QUERN_ERR_NOMEM, "grammar: no memory");
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
    qn_free(m->path);
    qn_free(m);
}
