/* page_keeper.h: carries pages of keys and values to the disk and back, on a thread of its own beside the
 * steps.
 *
 * Whole pages never change, so those of an answer that has ended are written from where they lie, held
 * meanwhile like by anybody else. Pages that a request would find on the disk are read into free pages of the
 * cache and then become known like computed ones (prefix_tree.h); by contract C4 and the checks of
 * page_store.h they are bitwise the same. How much is held for writing at once, and how much is written in an
 * hour, is bounded: what is over that is not kept for the time after a restart, and nothing else happens.
 *
 * Every function is for the engine's thread, but for what the thread of the keeper itself does. */
#ifndef QN_ENGINE_PAGE_KEEPER_H
#define QN_ENGINE_PAGE_KEEPER_H

#include "cache/page_store.h"

#include <pthread.h>

typedef struct qn_page_keeper qn_page_keeper;

/* What all keepers of an engine together may write in an hour; what is not used up in one is gone. Any
 * thread. */
typedef struct qn_write_budget {
    pthread_mutex_t mutex;
    uint64_t hourly_bytes;
    uint64_t hour_began_ns, hour_bytes; /* written since then, or about to be */
} qn_write_budget;
void qn_write_budget_init(qn_write_budget *b, uint64_t hourly_bytes);
void qn_write_budget_deinit(qn_write_budget *b);

typedef struct qn_page_keeper_params {
    const char *directory;   /* of all models */
    uint64_t max_bytes;      /* of it */
    qn_write_budget *budget; /* must outlive it */
    const char *model_key;   /* as for qn_page_store_params */
    qn_kv_cache *cache;      /* these must outlive it */
    qn_prefix_tree *tree;
    void (*wake)(void *user); /* on the keeper's thread: there is something to collect */
    void *user;
    bool (*is_wanted)(void *owner); /* whether the owner of a fetch still wants the rest of it */
} qn_page_keeper_params;

enum { QN_FETCH_PAGES = 8 /* at once */ };

/* A text whose pages are read; part of a request, which must live until it is done. Begins zeroed. */
typedef struct qn_page_fetch {
    void *owner;
    qn_prefix_key name_space;
    const quern_token *tokens; /* [n_tokens] */
    size_t n_tokens;

    qn_prefix_key
        keys[QN_FETCH_PAGES + 1]; /* keys[i + 1]: of the i-th page of this turn; keys[0]: before it */
    size_t position;              /* of its first page */
    int32_t pages[QN_FETCH_PAGES][QN_CACHE_GROUPS];
    bool has[QN_FETCH_PAGES][QN_CACHE_GROUPS];
    size_t n_pages, n_read;
    struct qn_page_fetch *next;
} qn_page_fetch;

quern_status qn_page_keeper_create(qn_page_keeper **out, const qn_page_keeper_params *params,
                                   quern_error *err);
/* Writes what waits to be written, for five seconds at most; NULL is fine. Nothing may be fetched any more.
 */
void qn_page_keeper_destroy(qn_page_keeper *k);

/* Has the whole pages of a sequence, whose first n_tokens tokens these are, written if they are not there. */
void qn_page_keeper_save(qn_page_keeper *k, qn_prefix_key name_space, const quern_token *tokens,
                         size_t n_tokens, size_t seq);

/* Begins to read what follows the known beginning of the text: owner, name_space, tokens and n_tokens are
 * set. False: there is nothing to read, or no page is free. */
bool qn_page_keeper_fetch(qn_page_keeper *k, qn_page_fetch *f);

/* Takes in what was read and lets go of what was written. Returns the owners, one a call, of fetches that are
 * done; NULL: no more now. */
void *qn_page_keeper_collect(qn_page_keeper *k);

#endif
