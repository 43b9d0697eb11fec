/* tree_model.c: operations on the tree of prefixes, each done a second time the plain way: see tree_model.h.
 */
#include "tree_model_private.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <string.h>

static unsigned choose(tree_model *m, size_t n)
{
    return m->choose(m->user, (unsigned)n);
}

/* ---- what the tree should know ---------------------------------------------------------------------- */

static bool is_child_of(const entry *e, int space, const quern_token *text, size_t position)
{
    return e->space == space && e->position == position &&
           memcmp(e->text, text, position * sizeof *text) == 0;
}

static bool has_child(const tree_model *m, const entry *e)
{
    for (size_t i = 0; i < m->n_entries; i++)
        if (is_child_of(&m->entries[i], e->space, e->text, e->end)) return true;
    return false;
}

static bool is_held(const tree_model *m, const entry *e)
{
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if (e->pages[g] >= 0 && model_sequences_with(m, g, e->pages[g]) > 0) return true;
    return false;
}

static entry *find_entry(tree_model *m, int space, const quern_token *text, size_t position, size_t end)
{
    for (size_t i = 0; i < m->n_entries; i++) {
        entry *e = &m->entries[i];
        if (e->end == end && is_child_of(e, space, text, position) &&
            memcmp(e->text, text, end * sizeof *text) == 0)
            return e;
    }
    return NULL;
}

static void remove_entry(tree_model *m, entry *e)
{
    *e = m->entries[--m->n_entries];
}

static void add_entry(tree_model *m, int space, const quern_token *text, size_t position, size_t end,
                      const int32_t pages[QN_CACHE_GROUPS])
{
    REQUIRE(m->n_entries < MODEL_ENTRIES);
    entry *e = &m->entries[m->n_entries++];
    *e = (entry){.space = space, .position = position, .end = end};
    memcpy(e->text, text, end * sizeof *text);
    e->parent = qn_prefix_key_of(model_space_key(space), text, position);
    e->key = qn_prefix_key_of(e->parent, text + position, end - position);
    memcpy(e->pages, pages, sizeof e->pages);
}

static bool has_window(const tree_model *m, const entry *e)
{
    return m->tree->window == QN_NO_GROUP || e->pages[m->tree->window] >= 0;
}

/* Whether page `index` of a text, up to position `end` within it, is known. */
static bool is_known(const tree_model *m, int space, const quern_token *text, size_t index, size_t end,
                     bool with_window)
{
    const size_t position = index * PAGE;
    for (size_t i = 0; i < m->n_entries; i++) {
        const entry *e = &m->entries[i];
        if (e->end >= end && (end < position + PAGE || e->end == end) &&
            is_child_of(e, space, text, position) && memcmp(e->text, text, end * sizeof *text) == 0 &&
            (!with_window || has_window(m, e)))
            return true;
    }
    return false;
}

static bool can_end(const tree_model *m, int space, const quern_token *text, size_t n)
{
    const size_t first =
        m->tree->window == QN_NO_GROUP ? n : qn_kv_cache_first_seen(m->cache, (size_t)m->tree->window, n);
    for (size_t i = 0; i * PAGE < n; i++)
        if (!is_known(m, space, text, i, qn_min_size((i + 1) * PAGE, n), i >= first / PAGE)) return false;
    return true;
}

static size_t longest(const tree_model *m, int space, const quern_token *text, size_t most)
{
    while (most > 0 && !can_end(m, space, text, most)) most--;
    return most;
}

static void on_forget(void *user, const qn_prefix_page *page)
{
    tree_model *m = user;
    entry *e = NULL;
    for (size_t i = 0; i < m->n_entries && e == NULL; i++)
        if (qn_prefix_key_equal(m->entries[i].key, page->key)) e = &m->entries[i];
    REQUIRE(e != NULL && e->position == page->position && e->end == page->position + page->n_tokens);
    REQUIRE(qn_prefix_key_equal(e->parent, page->parent));
    REQUIRE(memcmp(page->tokens, e->text + e->position, page->n_tokens * sizeof *page->tokens) == 0);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        REQUIRE(page->data[g] == (e->pages[g] < 0 ? NULL : qn_kv_cache_page_data(m->cache, g, e->pages[g])));
        if (e->pages[g] >= 0)
            model_check_page(m->cache, g, e->pages[g], e->space, e->text, e->position, e->end);
    }
    if (page->stays) {
        const size_t window = (size_t)m->tree->window;
        REQUIRE(e->pages[window] >= 0 && model_sequences_with(m, window, e->pages[window]) == 0);
        e->pages[window] = -1;
    } else {
        REQUIRE(!has_child(m, e) && !is_held(m, e));
        remove_entry(m, e);
        m->n_forgotten++;
    }
}

/* ---- operations ------------------------------------------------------------------------------------- */

/* Of few kinds, so that texts have much in common. */
static void make_tokens(tree_model *m, quern_token *text, size_t begin, size_t end)
{
    const size_t kind = choose(m, 6);
    for (size_t i = begin; i < end; i++) text[i] = (quern_token)(kind == 0 ? 0 : i * i / kind % 3 % 2);
}

/* A text that often begins like another one. */
static size_t make_text(tree_model *m, int *space, quern_token *text)
{
    size_t n = 0;
    const quern_token *like = NULL;
    *space = (int)choose(m, MODEL_SPACES);
    if (m->n_entries > 0 && choose(m, 4) > 0) {
        const entry *e = &m->entries[choose(m, m->n_entries)];
        like = e->text, n = e->end;
        if (choose(m, 8) > 0) *space = e->space;
        if (choose(m, 2) == 0) n = choose(m, n + 1);
        memcpy(text, like, n * sizeof *text);
    }
    static const size_t more[] = {0, 1, 5, 63, 64, 65, 130, MODEL_CTX};
    size_t end = qn_min_size(MODEL_CTX, n + more[choose(m, 8)]);
    make_tokens(m, text, n, end);
    return end;
}

static void start_text(tree_model *m, size_t seq)
{
    model_sequence *s = &m->sequences[seq];
    REQUIRE(qn_kv_cache_truncate(m->cache, seq, 0) == 0);
    s->n_text = make_text(m, &s->space, s->text);
    const size_t most = choose(m, 2) == 0 ? s->n_text : choose(m, s->n_text + 1);
    const size_t expected = longest(m, s->space, s->text, most);
    const qn_prefix_key space = model_space_key(s->space);
    REQUIRE(qn_prefix_tree_peek(m->tree, space, s->text, s->n_text, most) == expected);
    REQUIRE(qn_prefix_tree_find(m->tree, space, s->text, s->n_text, most, seq) == expected);
    s->length = expected;
}

static bool reserve(tree_model *m, size_t seq, size_t n)
{
    bool is_enough = true;
    size_t wanted[QN_CACHE_GROUPS];
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        wanted[g] = qn_kv_cache_wanted_pages(m->cache, seq, n, g);
        if (wanted[g] > 0 && choose(m, 4) > 0) qn_prefix_tree_free_pages(m->tree, g, wanted[g]);
    }
    size_t used[QN_CACHE_GROUPS];
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        REQUIRE(qn_kv_cache_wanted_pages(m->cache, seq, n, g) == wanted[g]);
        used[g] = qn_kv_cache_used_pages(m->cache, g);
        is_enough = is_enough && qn_kv_cache_n_pages(m->cache, g) - used[g] >= wanted[g];
    }
    REQUIRE(qn_kv_cache_reserve(m->cache, seq, n) == is_enough);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        REQUIRE(qn_kv_cache_used_pages(m->cache, g) == used[g] + (is_enough ? wanted[g] : 0));
    return is_enough;
}

static void grow(tree_model *m, size_t seq)
{
    model_sequence *s = &m->sequences[seq];
    const size_t n = qn_min_size(qn_min_size(m->n_batch, MODEL_CTX - s->length), 1 + choose(m, 150));
    uint64_t contents[MODEL_CTX];
    if (!reserve(m, seq, n)) {
        qn_kv_cache_truncate(m->cache, seq, s->length = 0); /* makes room for others */
        return;
    }
    make_tokens(m, s->text, s->n_text, s->length + n);
    s->n_text = qn_max_size(s->n_text, s->length + n);
    if (choose(m, 16) == 0) return; /* the step did not come about */
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        const int32_t *table = qn_kv_cache_pages(m->cache, seq, g);
        model_contents(s->space, g, s->text, s->length + n, contents);
        for (size_t i = s->length; table != NULL && i < s->length + n; i++)
            model_write(m->cache, g, table[i / PAGE], i % PAGE, contents[i]);
    }
    qn_kv_cache_commit(m->cache, seq, n);
    s->length += n;
}

static void cut(tree_model *m, size_t seq)
{
    model_sequence *s = &m->sequences[seq];
    const size_t n = choose(m, s->length + 2);
    size_t expected = qn_min_size(n, s->length);
    for (size_t g = 0; g < QN_CACHE_GROUPS && n > 0 && n < s->length; g++) {
        const int32_t *table = qn_kv_cache_pages(m->cache, seq, g);
        if (table != NULL && table[qn_kv_cache_first_seen(m->cache, g, n) / PAGE] < 0) expected = 0;
    }
    REQUIRE(qn_kv_cache_truncate(m->cache, seq, n) == expected);
    s->length = expected;
    if (s->length < s->n_text && choose(m, 2) == 0) s->n_text = s->length; /* goes on otherwise */
}

/* The sequence's pages are the known ones now, or were left to the tree. */
static void check_known(tree_model *m, entry *e, size_t seq, const int32_t before[QN_CACHE_GROUPS])
{
    const bool is_all = e->end % PAGE == 0 || e->end == m->sequences[seq].length;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        if (before[g] < 0) continue;
        bool is_owned = false;
        for (size_t i = 0; i < m->n_entries; i++) is_owned = is_owned || m->entries[i].pages[g] == before[g];
        const int32_t now = qn_kv_cache_pages(m->cache, seq, g)[e->position / PAGE];
        REQUIRE(now == (e->pages[g] >= 0 && is_all ? e->pages[g] : before[g]));
        if (e->pages[g] < 0 && !is_owned) e->pages[g] = before[g];
    }
}

/* Shorter pages that a new one makes needless. */
static void remove_beginnings(tree_model *m, int space, const quern_token *text, size_t position, size_t end,
                              const int32_t pages[QN_CACHE_GROUPS])
{
    for (size_t i = 0; i < m->n_entries;) {
        entry *e = &m->entries[i];
        bool goes = is_child_of(e, space, text, position) && e->end < end &&
                    memcmp(e->text, text, e->end * sizeof *text) == 0;
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
            goes = goes && (e->pages[g] < 0 || e->pages[g] == pages[g] ||
                            (pages[g] >= 0 && model_sequences_with(m, g, e->pages[g]) == 0));
        if (goes) remove_entry(m, e);
        else i++;
    }
}

static bool is_owned(const tree_model *m, const int32_t pages[QN_CACHE_GROUPS])
{
    for (size_t i = 0; i < m->n_entries; i++)
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
            if (pages[g] >= 0 && m->entries[i].pages[g] == pages[g]) return true;
    return false;
}

static size_t known_nodes(const tree_model *m)
{
    qn_prefix_stats stats;
    qn_prefix_tree_get_stats(m->tree, &stats);
    return stats.n_nodes;
}

static void keep(tree_model *m, size_t seq)
{
    const model_sequence *s = &m->sequences[seq];
    const size_t n = choose(m, 4) > 0 ? s->length : choose(m, s->length + 1);
    const bool with_tail = choose(m, 2) == 0;
    int32_t before[(MODEL_CTX + PAGE - 1) / PAGE][QN_CACHE_GROUPS];
    for (size_t i = 0; i * PAGE < n; i++)
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
            const int32_t *table = qn_kv_cache_pages(m->cache, seq, g);
            before[i][g] = table != NULL ? table[i] : -1;
        }
    qn_prefix_tree_keep(m->tree, model_space_key(s->space), s->text, n, seq, with_tail);
    for (size_t i = 0; i * PAGE < n; i++) {
        const size_t end = qn_min_size((i + 1) * PAGE, n);
        if (end % PAGE > 0 && !with_tail) break;
        entry *known = find_entry(m, s->space, s->text, i * PAGE, end);
        if (known != NULL) {
            check_known(m, known, seq, before[i]);
            continue;
        }
        if (end % PAGE > 0 && is_known(m, s->space, s->text, i, end, true)) break;
        remove_beginnings(m, s->space, s->text, i * PAGE, end, before[i]);
        if (is_owned(m, before[i])) break;
        if (known_nodes(m) == m->n_entries) { /* then there was no room for it */
            REQUIRE(m->tree->history == QN_NO_GROUP && m->n_entries == m->tree->n_nodes);
            break;
        }
        add_entry(m, s->space, s->text, i * PAGE, end, before[i]);
    }
}

/* A page from elsewhere, behind one that is known or not. */
static void add(tree_model *m)
{
    int space;
    quern_token text[MODEL_CTX];
    const size_t end = make_text(m, &space, text), position = end > 0 ? (end - 1) / PAGE * PAGE : 0;
    if (end == 0) return;
    const bool wrong_key = choose(m, 8) == 0;
    qn_prefix_page page = {.tokens = text + position, .n_tokens = end - position, .position = position};
    page.parent = qn_prefix_key_of(model_space_key(space), text, position);
    page.key = qn_prefix_key_of(page.parent, page.tokens, page.n_tokens);
    if (wrong_key) page.key.high ^= 1;
    int32_t pages[QN_CACHE_GROUPS];
    uint64_t contents[MODEL_CTX];
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        pages[g] = choose(m, 8) > 0 ? qn_kv_cache_take(m->cache, g) : -1;
        if (pages[g] < 0) continue;
        model_contents(space, g, text, end, contents);
        for (size_t i = position; i < end; i++) model_write(m->cache, g, pages[g], i - position, contents[i]);
    }
    const bool may = !wrong_key && (m->tree->history == QN_NO_GROUP || pages[m->tree->history] >= 0) &&
                     (position == 0 || find_entry(m, space, text, position - PAGE, position) != NULL);
    const bool added = qn_prefix_tree_add(m->tree, &page, pages);
    REQUIRE(may || !added);
    if (!added) {
        if (may) remove_beginnings(m, space, text, position, end, pages);
        REQUIRE(!may || (m->tree->history == QN_NO_GROUP && m->n_entries == m->tree->n_nodes));
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
            if (pages[g] >= 0) qn_kv_cache_release(m->cache, g, pages[g]);
        return;
    }
    entry *known = find_entry(m, space, text, position, end);
    for (size_t g = 0; g < QN_CACHE_GROUPS && known != NULL; g++)
        if (known->pages[g] < 0) known->pages[g] = pages[g];
    if (known != NULL || (end % PAGE > 0 && is_known(m, space, text, position / PAGE, end, true))) return;
    remove_beginnings(m, space, text, position, end, pages);
    add_entry(m, space, text, position, end, pages);
}

static void free_pages(tree_model *m)
{
    const size_t group = choose(m, QN_CACHE_GROUPS), n_pages = qn_kv_cache_n_pages(m->cache, group);
    const size_t n_free = n_pages - qn_kv_cache_used_pages(m->cache, group);
    const size_t n = choose(m, 8) == 0 ? choose(m, n_pages + 2) : n_free + choose(m, 4);
    const bool is_enough = qn_prefix_tree_free_pages(m->tree, group, n);
    REQUIRE(is_enough == (n_pages - qn_kv_cache_used_pages(m->cache, group) >= n));
    for (size_t i = 0; i < m->n_entries && !is_enough && n_pages > 0;
         i++) { /* then all that is left is held */
        const entry *e = &m->entries[i];
        if ((int)group != m->tree->window) REQUIRE(has_child(m, e) || is_held(m, e));
        else REQUIRE(e->pages[group] < 0 || model_sequences_with(m, group, e->pages[group]) > 0);
    }
}

static void forget(tree_model *m)
{
    const int space = (int)choose(m, MODEL_SPACES + 1);
    const qn_prefix_key key = model_space_key(space);
    qn_prefix_tree_forget(m->tree, space < MODEL_SPACES ? &key : NULL);
    for (size_t i = 0; i < m->n_entries; i++) {
        const entry *e = &m->entries[i];
        if (space == MODEL_SPACES || e->space == space) REQUIRE(has_child(m, e) || is_held(m, e));
    }
}

void tree_model_step(tree_model *m)
{
    const size_t seq = choose(m, m->n_sequences);
    switch (choose(m, 16)) {
    case 0:
    case 1:
    case 2:
        start_text(m, seq);
        break;
    case 3:
        cut(m, seq);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        keep(m, seq);
        break;
    case 8:
        free_pages(m);
        break;
    case 9:
        add(m);
        break;
    case 10:
        if (choose(m, 16) == 0) forget(m);
        else qn_prefix_tree_set_cost(m->tree, choose(m, 3), choose(m, 3));
        break;
    default:
        grow(m, seq);
        break;
    }
    m->n_steps++;
    model_check(m);
}

/* ---- creation --------------------------------------------------------------------------------------- */

tree_model *tree_model_create(const qn_program *p, const qn_kv_cache_params *params,
                              tree_model_choose *choose_, void *user)
{
    REQUIRE(params->n_sequences <= MODEL_SEQUENCES && params->n_ctx == MODEL_CTX);
    tree_model *m = qn_calloc(1, sizeof *m);
    if (m == NULL) return NULL;
    m->choose = choose_, m->user = user;
    m->n_sequences = params->n_sequences, m->n_batch = params->n_batch;
    if (qn_kv_cache_create(&m->cache, p, params, NULL) == QUERN_OK &&
        qn_prefix_tree_create(&m->tree, m->cache, on_forget, m, NULL) == QUERN_OK)
        return m;
    tree_model_destroy(m);
    return NULL;
}

void tree_model_destroy(tree_model *m)
{
    if (m == NULL) return;
    qn_prefix_tree_destroy(m->tree);
    for (size_t s = 0; s < m->n_sequences && m->cache != NULL; s++) {
        qn_kv_cache_truncate(m->cache, s, 0);
        qn_kv_cache_adopt(m->cache, s, NULL, 0); /* also what was reserved and never written */
    }
    for (size_t g = 0; g < QN_CACHE_GROUPS && m->cache != NULL; g++)
        REQUIRE(qn_kv_cache_used_pages(m->cache, g) == 0);
    qn_kv_cache_destroy(m->cache);
    qn_free(m);
}
