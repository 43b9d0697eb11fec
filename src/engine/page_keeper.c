/* page_keeper.c: see page_keeper.h. */
#include "engine/page_keeper.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"

#include <string.h>

enum {
    MAX_SAVES = 512, /* pages that wait to be written */
    HELD_SHARE = 4,  /* one page in so many of the cache may wait, but */
    LEAST_HELD = 8,  /* so many in any case */
    LEAST_SAVED = 4, /* whole pages of a text that are worth writing */
};
static const uint64_t HOUR_NS = UINT64_C(3600) * 1000000000, CLOSING_NS = UINT64_C(5) * 1000000000;

typedef struct save {
    qn_prefix_key key, parent;
    quern_token tokens[QN_PAGE_POSITIONS];
    size_t position;
    int32_t pages[QN_CACHE_GROUPS];
} save;

struct qn_page_keeper {
    qn_page_keeper_params params;
    qn_page_store *store;
    pthread_t thread;
    bool has_thread;
    size_t page_bytes, max_held;

    pthread_mutex_t mutex; /* for what follows */
    pthread_cond_t changed;
    bool is_closing;
    uint64_t closing_ns;   /* then it ends whatever waits */
    save saves[MAX_SAVES]; /* a ring: [first, first + n_written) are written, n_saves in all */
    size_t first, n_written, n_saves;
    qn_page_fetch *wanted, *done; /* lists, the oldest first */
};

/* ---- the budget -------------------------------------------------------------------------------- */

void qn_write_budget_init(qn_write_budget *b, uint64_t hourly_bytes)
{
    *b = (qn_write_budget){.hourly_bytes = hourly_bytes, .hour_began_ns = qn_clock_ns()};
    pthread_mutex_init(&b->mutex, NULL);
}

void qn_write_budget_deinit(qn_write_budget *b)
{
    pthread_mutex_destroy(&b->mutex);
}

/* Takes so much of this hour's bytes. False: there is not so much left. */
static bool spend(qn_write_budget *b, uint64_t n_bytes)
{
    pthread_mutex_lock(&b->mutex);
    const uint64_t now = qn_clock_ns();
    if (now - b->hour_began_ns >= HOUR_NS) {
        b->hour_began_ns = now;
        b->hour_bytes = 0;
    }
    const bool fits = n_bytes <= b->hourly_bytes && b->hour_bytes <= b->hourly_bytes - n_bytes;
    if (fits) b->hour_bytes += n_bytes;
    pthread_mutex_unlock(&b->mutex);
    return fits;
}

/* Gives back what was not written. */
static void refund(qn_write_budget *b, uint64_t n_bytes)
{
    pthread_mutex_lock(&b->mutex);
    b->hour_bytes -= b->hour_bytes < n_bytes ? b->hour_bytes : n_bytes; /* an hour may have begun since */
    pthread_mutex_unlock(&b->mutex);
}

/* ---- the keeper's thread ----------------------------------------------------------------------- */

/* Reads page after page until one is not there. */
static void read_pages(qn_page_keeper *k, qn_page_fetch *f)
{
    for (f->n_read = 0; f->n_read < f->n_pages; f->n_read++) {
        const size_t i = f->n_read, position = f->position + i * QN_PAGE_POSITIONS;
        const qn_prefix_page wanted = {.key = f->keys[i + 1],
                                       .parent = f->keys[i],
                                       .tokens = f->tokens + position,
                                       .n_tokens = QN_PAGE_POSITIONS,
                                       .position = position};
        void *data[QN_CACHE_GROUPS] = {0};
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
            if (f->pages[i][g] >= 0) data[g] = qn_kv_cache_page_data(k->params.cache, g, f->pages[i][g]);
        if (qn_page_store_read(k->store, &wanted, data, f->has[i], NULL) != QUERN_OK) return;
    }
}

/* A saved page; its data lies in the cache. */
static qn_prefix_page page_of(const qn_page_keeper *k, const save *s)
{
    qn_prefix_page page = {.key = s->key,
                           .parent = s->parent,
                           .tokens = s->tokens,
                           .n_tokens = QN_PAGE_POSITIONS,
                           .position = s->position};
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if (s->pages[g] >= 0) page.data[g] = qn_kv_cache_page_data(k->params.cache, g, s->pages[g]);
    return page;
}

static void write_page(qn_page_keeper *k, const save *s)
{
    const qn_prefix_page page = page_of(k, s);
    const quern_status status = qn_page_store_write(k->store, &page, NULL);
    if (status != QUERN_OK) refund(k->params.budget, k->page_bytes); /* it is computed again one day */
}

/* A list goes from the oldest to the latest. */
static void put_last(qn_page_fetch **list, qn_page_fetch *f)
{
    while (*list != NULL) list = &(*list)->next;
    f->next = NULL;
    *list = f;
}

/* One piece of work; whoever waits for pages comes first. The mutex is held, but not during the work. False:
 * there is none. */
static bool work(qn_page_keeper *k)
{
    qn_page_fetch *f = k->wanted;
    if (f != NULL) {
        k->wanted = f->next;
        pthread_mutex_unlock(&k->mutex);
        read_pages(k, f);
        pthread_mutex_lock(&k->mutex);
        put_last(&k->done, f);
        return true;
    }
    if (k->n_written == k->n_saves) return false;
    const save *s = &k->saves[(k->first + k->n_written) % MAX_SAVES];
    pthread_mutex_unlock(&k->mutex);
    write_page(k, s);
    pthread_mutex_lock(&k->mutex);
    k->n_written++;
    return true;
}

static void *keep(void *user)
{
    qn_page_keeper *k = user;
    pthread_mutex_lock(&k->mutex);
    for (;;) {
        if (k->is_closing &&
            (qn_clock_ns() >= k->closing_ns || (k->wanted == NULL && k->n_written == k->n_saves)))
            break;
        if (!work(k)) {
            pthread_cond_wait(&k->changed, &k->mutex);
            continue;
        }
        pthread_mutex_unlock(&k->mutex);
        k->params.wake(k->params.user);
        pthread_mutex_lock(&k->mutex);
    }
    pthread_mutex_unlock(&k->mutex);
    return NULL;
}

/* ---- saving ------------------------------------------------------------------------------------ */

/* Whether a page waits to be written already, or is being. The mutex is held. */
static bool is_pending(const qn_page_keeper *k, const save *s)
{
    for (size_t i = 0; i < k->n_saves; i++) {
        const save *other = &k->saves[(k->first + i) % MAX_SAVES];
        if (memcmp(&other->key, &s->key, sizeof s->key) == 0 &&
            memcmp(other->pages, s->pages, sizeof s->pages) == 0)
            return true;
    }
    return false;
}

/* Puts a page into the ring, held, unless it is there. False: the ring is full, or this hour's bytes are. */
static bool put(qn_page_keeper *k, const save *s)
{
    pthread_mutex_lock(&k->mutex);
    if (is_pending(k, s)) return pthread_mutex_unlock(&k->mutex), true;
    const bool fits = k->n_saves < k->max_held && spend(k->params.budget, k->page_bytes);
    if (fits) k->saves[(k->first + k->n_saves++) % MAX_SAVES] = *s;
    pthread_cond_signal(&k->changed);
    pthread_mutex_unlock(&k->mutex);
    for (size_t g = 0; fits && g < QN_CACHE_GROUPS; g++)
        if (s->pages[g] >= 0) qn_kv_cache_retain(k->params.cache, g, s->pages[g]);
    return fits;
}

void qn_page_keeper_save(qn_page_keeper *k, qn_prefix_key name_space, const quern_token *tokens,
                         size_t n_tokens, size_t seq)
{
    save s = {.key = name_space};
    if (n_tokens < LEAST_SAVED * QN_PAGE_POSITIONS) return;
    for (; s.position + QN_PAGE_POSITIONS <= n_tokens; s.position += QN_PAGE_POSITIONS) {
        s.parent = s.key;
        s.key = qn_prefix_key_of(s.parent, tokens + s.position, QN_PAGE_POSITIONS);
        memcpy(s.tokens, tokens + s.position, sizeof s.tokens);
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
            const int32_t *table = qn_kv_cache_pages(k->params.cache, seq, g);
            s.pages[g] = table != NULL ? table[s.position / QN_PAGE_POSITIONS] : -1;
        }
        const qn_prefix_page page = page_of(k, &s);
        if (!qn_page_store_holds(k->store, &page) && !put(k, &s)) return;
    }
}

/* Lets go of what was written. The mutex is held. */
static void release_written(qn_page_keeper *k)
{
    for (; k->n_written > 0; k->n_written--, k->n_saves--) {
        const save *s = &k->saves[k->first];
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
            if (s->pages[g] >= 0) qn_kv_cache_release(k->params.cache, g, s->pages[g]);
        k->first = (k->first + 1) % MAX_SAVES;
    }
}

/* ---- fetching ---------------------------------------------------------------------------------- */

static void release_page(qn_page_keeper *k, int32_t pages[QN_CACHE_GROUPS])
{
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        if (pages[g] >= 0) qn_kv_cache_release(k->params.cache, g, pages[g]);
        pages[g] = -1;
    }
}

/* Free pages of all groups for one page of the text. */
static bool take_page(qn_page_keeper *k, int32_t pages[QN_CACHE_GROUPS])
{
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) pages[g] = -1;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        if (qn_kv_cache_n_pages(k->params.cache, g) == 0) continue;
        if (qn_prefix_tree_free_pages(k->params.tree, g, 1)) pages[g] = qn_kv_cache_take(k->params.cache, g);
        if (pages[g] < 0) return release_page(k, pages), false;
    }
    return true;
}

/* Has the next pages read: as many as are there, and as pages are free. */
static bool read_on(qn_page_keeper *k, qn_page_fetch *f)
{
    for (f->n_pages = 0; f->n_pages < QN_FETCH_PAGES; f->n_pages++) {
        const size_t i = f->n_pages, begin = f->position + i * QN_PAGE_POSITIONS;
        if (begin + QN_PAGE_POSITIONS >= f->n_tokens) break; /* one token is computed in any case */
        f->keys[i + 1] = qn_prefix_key_of(f->keys[i], f->tokens + begin, QN_PAGE_POSITIONS);
        if (!qn_page_store_has(k->store, f->keys[i + 1]) || !take_page(k, f->pages[i])) break;
    }
    if (f->n_pages == 0) return false;
    pthread_mutex_lock(&k->mutex);
    put_last(&k->wanted, f);
    pthread_cond_signal(&k->changed);
    pthread_mutex_unlock(&k->mutex);
    return true;
}

bool qn_page_keeper_fetch(qn_page_keeper *k, qn_page_fetch *f)
{
    const size_t known =
        qn_prefix_tree_peek(k->params.tree, f->name_space, f->tokens, f->n_tokens, f->n_tokens - 1);
    f->keys[0] = f->name_space;
    for (f->position = 0; f->position + QN_PAGE_POSITIONS <= known; f->position += QN_PAGE_POSITIONS)
        f->keys[0] = qn_prefix_key_of(f->keys[0], f->tokens + f->position, QN_PAGE_POSITIONS);
    return read_on(k, f);
}

/* What was read is known from now on. False: some of it could not be, for what it follows is not known any
 * more.
 */
static bool take_in(qn_page_keeper *k, qn_page_fetch *f)
{
    bool all = true;
    for (size_t i = 0; i < f->n_pages; i++) {
        const size_t position = f->position + i * QN_PAGE_POSITIONS;
        const qn_prefix_page page = {.key = f->keys[i + 1],
                                     .parent = f->keys[i],
                                     .tokens = f->tokens + position,
                                     .n_tokens = QN_PAGE_POSITIONS,
                                     .position = position};
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
            if (f->pages[i][g] < 0 || (i < f->n_read && f->has[i][g])) continue;
            qn_kv_cache_release(k->params.cache, g, f->pages[i][g]);
            f->pages[i][g] = -1;
        }
        if (i < f->n_read && qn_prefix_tree_add(k->params.tree, &page, f->pages[i])) continue;
        release_page(k, f->pages[i]);
        all = all && i >= f->n_read;
    }
    return all;
}

void *qn_page_keeper_collect(qn_page_keeper *k)
{
    for (;;) {
        pthread_mutex_lock(&k->mutex);
        release_written(k);
        qn_page_fetch *f = k->done;
        if (f != NULL) k->done = f->next;
        pthread_mutex_unlock(&k->mutex);
        if (f == NULL) return NULL;
        const bool is_all = take_in(k, f) && f->n_read == f->n_pages && f->n_pages == QN_FETCH_PAGES &&
                            k->params.is_wanted(f->owner);
        f->keys[0] = f->keys[f->n_pages];
        f->position += f->n_pages * QN_PAGE_POSITIONS;
        if (!is_all || !read_on(k, f)) return f->owner;
    }
}

/* ---- life -------------------------------------------------------------------------------------- */

quern_status qn_page_keeper_create(qn_page_keeper **out, const qn_page_keeper_params *params,
                                   quern_error *err)
{
    qn_page_keeper *k = *out = qn_calloc(1, sizeof *k);
    if (k == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "page keeper: no memory");
    k->params = *params;
    qn_page_store_params store = {
        .directory = params->directory, .max_bytes = params->max_bytes, .model_key = params->model_key};
    size_t least_pages = SIZE_MAX;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        const size_t n_pages = qn_kv_cache_n_pages(params->cache, g);
        store.page_bytes[g] = n_pages > 0 ? qn_kv_cache_page_bytes(params->cache, g) : 0;
        k->page_bytes += store.page_bytes[g];
        if (n_pages > 0) least_pages = qn_min_size(least_pages, n_pages);
    }
    k->max_held = qn_min_size(MAX_SAVES, qn_max_size(LEAST_HELD, least_pages / HELD_SHARE));
    pthread_mutex_init(&k->mutex, NULL);
    pthread_cond_init(&k->changed, NULL);
    quern_status s = qn_page_store_open(&k->store, &store, err);
    if (s == QUERN_OK) {
        k->has_thread = pthread_create(&k->thread, NULL, keep, k) == 0;
        if (!k->has_thread) s = qn_fail(err, QUERN_ERR_NOMEM, "page keeper: the system gives no thread");
    }
    if (s != QUERN_OK) qn_page_keeper_destroy(k), *out = NULL;
    return s;
}

void qn_page_keeper_destroy(qn_page_keeper *k)
{
    if (k == NULL) return;
    if (k->has_thread) {
        pthread_mutex_lock(&k->mutex);
        k->is_closing = true;
        k->closing_ns = qn_clock_ns() + CLOSING_NS;
        pthread_cond_signal(&k->changed);
        pthread_mutex_unlock(&k->mutex);
        pthread_join(k->thread, NULL);
    }
    k->n_written = k->n_saves; /* what was not written is let go of as well */
    release_written(k);
    qn_page_store_close(k->store);
    pthread_cond_destroy(&k->changed);
    pthread_mutex_destroy(&k->mutex);
    qn_free(k);
}
