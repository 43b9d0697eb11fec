/* token_table.c: see token_table.h. */
#include "grammar/token_table.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/checked.h"

#include <stdlib.h>
#include <string.h>

const unsigned qn_plain_tree_most[QN_PLAIN_TREES] = {4, 8, 16, QN_PLAIN_MOST};

enum { N_TREES = QN_FORMS * QN_PLAIN_TREES + 1, OTHERS = N_TREES - 1 };

typedef struct entry {
    const char *bytes;
    uint32_t n_bytes;
    quern_token token;
} entry;

/* The bytes by which a token is followed; none for those that are never allowed. */
static size_t read_token(const qn_vocab *vocab, quern_token token, char *out)
{
    if (qn_vocab_is_end(vocab, token)) return 0;
    if (qn_vocab_token_kind(vocab, token) != QN_TOKEN_CONTROL) {
        const size_t n = qn_vocab_piece(vocab, token, false, out);
        return memchr(out, QN_CONTROL_BYTE, n) == NULL ? n : 0;
    }
    out[0] = QN_CONTROL_BYTE;
    return 1 + qn_vocab_piece(vocab, token, true, out + 1);
}

static bool read_bytes(qn_token_table *t, const qn_vocab *vocab)
{
    size_t total = 0;
    char *piece = qn_malloc(qn_vocab_max_piece(vocab) + 2);
    qn_buffer bytes = {0};
    bool ok = piece != NULL;
    for (size_t i = 0; ok && i < t->n_tokens; i++) {
        const size_t n = read_token(vocab, (quern_token)i, piece);
        t->begins[i] = (uint32_t)total;
        if (n > QN_MAX_TOKEN_BYTES) continue;
        ok = qn_buffer_append(&bytes, piece, n) && bytes.n_bytes < UINT32_MAX;
        total = bytes.n_bytes;
        if (n > t->max_bytes) t->max_bytes = n;
    }
    t->begins[t->n_tokens] = (uint32_t)total;
    qn_free(piece);
    if (ok) t->bytes = qn_buffer_take(&bytes, NULL);
    qn_buffer_deinit(&bytes);
    return ok && t->bytes != NULL;
}

static qn_token_form form_of(const entry *e, qn_plain_kind kind)
{
    if (kind == QN_PLAIN_WORDS) return QN_FORM_WORD;
    const bool is_after_one = (uint8_t)e->bytes[0] < 0x80 && e->n_bytes > 1 &&
                              qn_plain_count(e->bytes + 1, e->n_bytes - 1, QN_PLAIN_WORDS) > 0;
    return is_after_one ? QN_FORM_AFTER_ONE : QN_FORM_ANY;
}

/* The number of a tree in a row: form after form, and the others. Sets are noted. */
static size_t classify(qn_token_table *t, const entry *e)
{
    for (size_t kind = 0; kind < QN_PLAIN_KINDS; kind++) {
        const size_t n = qn_plain_count(e->bytes, e->n_bytes, (qn_plain_kind)kind);
        size_t tree = 0;
        if (n == 0 || n > QN_PLAIN_MOST) continue;
        for (size_t wider = kind; wider < QN_PLAIN_KINDS; wider++)
            for (size_t k = n - 1; k < QN_PLAIN_MOST; k++)
                t->plain_sets[wider][k][e->token / 64] |= UINT64_C(1) << e->token % 64;
        while (n > qn_plain_tree_most[tree]) tree++;
        return (size_t)form_of(e, (qn_plain_kind)kind) * QN_PLAIN_TREES + tree;
    }
    return OTHERS;
}

static qn_token_tree *tree_of(qn_token_table *t, size_t number)
{
    return number == OTHERS ? &t->others : &t->plain[number / QN_PLAIN_TREES][number % QN_PLAIN_TREES];
}

static int by_bytes(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    const int order = memcmp(x->bytes, y->bytes, x->n_bytes < y->n_bytes ? x->n_bytes : y->n_bytes);
    if (order != 0) return order;
    if (x->n_bytes != y->n_bytes) return x->n_bytes < y->n_bytes ? -1 : 1;
    return x->token < y->token ? -1 : 1;
}

typedef struct range { /* of entries that begin alike */
    uint32_t begin, end;
} range;

typedef struct tree_builder {
    qn_token_table *table;
    qn_token_tree *tree;
    const entry *entries;
    range *below; /* [n_nodes] the entries that go through a node */
    size_t bytes_capacity, nodes_capacity, below_capacity;
} tree_builder;

static bool add_node(tree_builder *b, uint8_t byte, range below)
{
    qn_token_tree *tree = b->tree;
    const size_t n = tree->n_nodes + 1;
    if (!qn_grow(&tree->bytes, &b->bytes_capacity, n, UINT32_MAX, sizeof *tree->bytes) ||
        !qn_grow(&tree->nodes, &b->nodes_capacity, n + 1, UINT32_MAX, sizeof *tree->nodes) ||
        !qn_grow(&b->below, &b->below_capacity, n, UINT32_MAX, sizeof *b->below))
        return false;
    tree->bytes[tree->n_nodes] = byte;
    tree->nodes[tree->n_nodes] = (qn_token_node){.token = -1};
    b->below[tree->n_nodes++] = below;
    return true;
}

/* Adds a node for each byte that comes at a depth among entries of that range, all of them longer. */
static bool add_nodes(tree_builder *b, range among, size_t depth)
{
    const entry *e = b->entries;
    for (uint32_t i = among.begin, end; i < among.end; i = end) {
        for (end = i + 1; end < among.end && e[end].bytes[depth] == e[i].bytes[depth];) end++;
        if (!add_node(b, (uint8_t)e[i].bytes[depth], (range){i, end})) return false;
    }
    return true;
}

/* Takes the entries that end at a node, the least id as its token, and leaves those that go on. */
static void take_ends(tree_builder *b, size_t node, size_t n_bytes)
{
    qn_token_table *t = b->table;
    range *r = &b->below[node];
    for (; r->begin < r->end && b->entries[r->begin].n_bytes == n_bytes; r->begin++) {
        const quern_token token = b->entries[r->begin].token;
        if (b->tree->nodes[node].token < 0) b->tree->nodes[node].token = token;
        else t->same_bytes[t->n_same_bytes++] = (qn_token_pair){b->tree->nodes[node].token, token};
    }
}

/* What of the entries is kept where all tokens of a root are taken at once. */
static bool keep_tokens(qn_token_tree *tree, const entry *entries, size_t n, const range *of_roots)
{
    tree->tokens = qn_calloc(n + 1, sizeof *tree->tokens);
    tree->begins = qn_calloc(tree->n_roots + 1, sizeof *tree->begins);
    if (tree->tokens == NULL || tree->begins == NULL) return false;
    for (size_t i = 0; i < n; i++) tree->tokens[i] = entries[i].token;
    for (size_t i = 0; i < tree->n_roots; i++) tree->begins[i + 1] = of_roots[i].end;
    return true;
}

/* From entries in order, level by level. */
static bool build_tree(qn_token_table *t, size_t number, const entry *entries, size_t n)
{
    qn_token_tree *tree = tree_of(t, number);
    tree_builder b = {.table = t, .tree = tree, .entries = entries};
    bool ok = n == 0 || add_nodes(&b, (range){0, (uint32_t)n}, 0);
    size_t node = 0, level_end = tree->n_roots = tree->n_nodes;
    if (number / QN_PLAIN_TREES == QN_FORM_AFTER_ONE) ok = ok && keep_tokens(tree, entries, n, b.below);
    for (size_t depth = 1; ok && node < tree->n_nodes; depth++, level_end = tree->n_nodes)
        for (; ok && node < level_end; node++) {
            tree->nodes[node].first_child = (uint32_t)tree->n_nodes;
            take_ends(&b, node, depth);
            ok = add_nodes(&b, b.below[node], depth);
        }
    if (ok && n > 0) tree->nodes[node] = (qn_token_node){.token = -1, .first_child = (uint32_t)node};
    qn_free(b.below);
    return ok;
}

static entry entry_of(const qn_token_table *t, size_t i)
{
    return (entry){t->bytes + t->begins[i], t->begins[i + 1] - t->begins[i], (quern_token)i};
}

/* Entries of one tree after those of the other, each tree's in order of their bytes. */
static bool build_trees(qn_token_table *t)
{
    size_t n[N_TREES] = {0}, end[N_TREES] = {0};
    entry *entries = qn_calloc(t->n_tokens + 1, sizeof *entries);
    uint8_t *trees = qn_calloc(t->n_tokens + 1, 1);
    bool ok = entries != NULL && trees != NULL;
    for (size_t i = 0; ok && i < t->n_tokens; i++) {
        const entry e = entry_of(t, i);
        if (e.n_bytes > 0) n[trees[i] = (uint8_t)classify(t, &e)]++;
    }
    for (size_t k = 1; k < N_TREES; k++) end[k] = end[k - 1] + n[k - 1];
    for (size_t i = 0; ok && i < t->n_tokens; i++)
        if (entry_of(t, i).n_bytes > 0) entries[end[trees[i]]++] = entry_of(t, i);
    for (size_t k = 0; ok && k < N_TREES; k++) {
        entry *of_tree = entries + end[k] - n[k];
        if (n[k] > 0) qsort(of_tree, n[k], sizeof *of_tree, by_bytes);
        ok = build_tree(t, k, of_tree, n[k]);
    }
    qn_free(trees);
    qn_free(entries);
    return ok;
}

static bool find_ends(qn_token_table *t, const qn_vocab *vocab)
{
    size_t capacity = 0;
    for (size_t i = 0; i < t->n_tokens; i++) {
        if (!qn_vocab_is_end(vocab, (quern_token)i)) continue;
        if (!qn_grow(&t->ends, &capacity, t->n_ends + 1, t->n_tokens, sizeof *t->ends)) return false;
        t->ends[t->n_ends++] = (quern_token)i;
    }
    return true;
}

quern_status qn_token_table_init(qn_token_table *t, const qn_vocab *vocab, quern_error *err)
{
    *t = (qn_token_table){.n_tokens = qn_vocab_size(vocab)};
    t->n_words = (t->n_tokens + 63) / 64;
    t->begins = qn_calloc(t->n_tokens + 1, sizeof *t->begins);
    t->same_bytes = qn_calloc(t->n_tokens + 1, sizeof *t->same_bytes);
    bool ok = t->begins != NULL && t->same_bytes != NULL;
    for (size_t i = 0; i < (size_t)QN_PLAIN_KINDS * QN_PLAIN_MOST && ok; i++) {
        uint64_t **set = &t->plain_sets[i / QN_PLAIN_MOST][i % QN_PLAIN_MOST];
        ok = (*set = qn_calloc(t->n_words + 1, sizeof **set)) != NULL;
    }
    ok = ok && read_bytes(t, vocab) && build_trees(t) && find_ends(t, vocab);
    if (ok) return QUERN_OK;
    qn_token_table_deinit(t);
    return qn_fail(err, QUERN_ERR_NOMEM, "grammar: no memory for a vocabulary of %zu tokens",
                   qn_vocab_size(vocab));
}

void qn_token_table_deinit(qn_token_table *t)
{
    for (size_t k = 0; k < N_TREES; k++) {
        const qn_token_tree *tree = tree_of(t, k);
        qn_free(tree->bytes), qn_free(tree->nodes), qn_free(tree->tokens), qn_free(tree->begins);
    }
    for (size_t i = 0; i < (size_t)QN_PLAIN_KINDS * QN_PLAIN_MOST; i++)
        qn_free(t->plain_sets[i / QN_PLAIN_MOST][i % QN_PLAIN_MOST]);
    qn_free(t->same_bytes), qn_free(t->begins), qn_free(t->bytes), qn_free(t->ends);
    *t = (qn_token_table){0};
}
