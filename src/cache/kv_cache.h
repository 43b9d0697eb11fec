/* kv_cache.h: who has which page of keys and values (PagedAttention: Kwon et al. 2023,
 * arXiv:2309.06180).
 *
 * A sequence sees one contiguous history; memory is given out in pages of 64 positions. Layers fall
 * into groups: those that keep every position, and those with a sliding window, whose pages are given
 * back as soon as no later position can see them. All memory is taken at creation.
 *
 * A page has holders: sequences, and whoever keeps it for later (prefix_tree.h). It is free again when the
 * last lets go. Nobody writes into a page that has another holder: the sequence that would gets a copy. */
#ifndef QN_CACHE_KV_CACHE_H
#define QN_CACHE_KV_CACHE_H

#include "device/device.h"

typedef struct qn_kv_cache qn_kv_cache;

typedef struct qn_kv_cache_params {
    size_t n_sequences, n_ctx; /* sequences, and the most positions of each */
    size_t n_batch;            /* the most positions that one step adds to a sequence */
    size_t n_positions; /* that all sequences together hold, and what is kept for later, at least n_ctx; 0:
                           what n_sequences of n_ctx take, so that reserving cannot fail while nobody else
                           holds pages */
    size_t n_windows;   /* with n_positions: windows that are kept for later, beside those of the sequences */
    qn_tensor_type type_k, type_v;
} qn_kv_cache_params;

/* What a cache is divided into: pages of each group (0: the model lacks it), n_ctx positions of a sequence at
 * most. */
typedef struct qn_kv_cache_shape {
    size_t n_ctx, n_pages[QN_CACHE_GROUPS];
    uint32_t windows[QN_CACHE_GROUPS]; /* 0: the group keeps every position */
} qn_kv_cache_shape;
/* Of one that qn_kv_cache_create would make. */
qn_kv_cache_shape qn_kv_cache_plan_shape(const qn_program *p, const qn_kv_cache_params *params);
qn_kv_cache_shape qn_kv_cache_get_shape(const qn_kv_cache *c);

/* Bytes that qn_kv_cache_create takes for keys and values and their tables. */
size_t qn_kv_cache_bytes(const qn_program *p, const qn_kv_cache_params *params);
quern_status qn_kv_cache_create(qn_kv_cache **out, const qn_program *p, const qn_kv_cache_params *params,
                                quern_error *err);
size_t qn_kv_cache_taken_bytes(const qn_kv_cache *c); /* what it really took */
/* Has the system give all of it now, and not in the steps that use it first. */
void qn_kv_cache_touch(qn_kv_cache *c);
void qn_kv_cache_destroy(qn_kv_cache *c); /* NULL is fine */

const qn_kv_memory *qn_kv_cache_memory(const qn_kv_cache *c, size_t group);

/* Positions that sequence `seq` holds. */
size_t qn_kv_cache_length(const qn_kv_cache *c, size_t seq);

/* Makes sure that pages exist for the next n positions (at most n_batch; the sequence stays within
 * n_ctx: the caller has checked), and that the sequence alone holds those that will be written: until they
 * are committed nobody may retain them. False: there are too few free pages, and nothing has changed. With
 * n_positions it can always be made true for one sequence, by letting go of what others hold: each group has
 * a page more than one sequence needs, for the copy of a page that is shared. */
bool qn_kv_cache_reserve(qn_kv_cache *c, size_t seq, size_t n);
/* Pages of a group that reserving n positions would take, copies included. */
size_t qn_kv_cache_wanted_pages(const qn_kv_cache *c, size_t seq, size_t n, size_t group);
/* The page table of a group: page of positions [64 i, 64 i + 64), -1 where given back or not there. */
const int32_t *qn_kv_cache_pages(const qn_kv_cache *c, size_t seq, size_t group);
/* The n reserved positions have been written: the sequence is longer, pages behind windows are free. */
void qn_kv_cache_commit(qn_kv_cache *c, size_t seq, size_t n);

/* Forgets positions from n on. Where a window has already given back pages that position n would see,
 * everything is forgotten. Returns how many positions remain (n or 0, or the length if shorter). */
size_t qn_kv_cache_truncate(qn_kv_cache *c, size_t seq, size_t n);

/* Pages of a group; those in use; bytes of one. A group that the model lacks has none. */
size_t qn_kv_cache_n_pages(const qn_kv_cache *c, size_t group);
size_t qn_kv_cache_used_pages(const qn_kv_cache *c, size_t group);
size_t qn_kv_cache_page_bytes(const qn_kv_cache *c, size_t group);
uint32_t qn_kv_cache_window(const qn_kv_cache *c, size_t group); /* 0: the group keeps every position */
/* The most positions of a sequence. */
size_t qn_kv_cache_n_ctx(const qn_kv_cache *c);

/* ---- pages with several holders ---- */

void qn_kv_cache_retain(qn_kv_cache *c, size_t group, int32_t page);
void qn_kv_cache_release(qn_kv_cache *c, size_t group, int32_t page);
uint32_t qn_kv_cache_holders(const qn_kv_cache *c, size_t group, int32_t page);
/* A page that the caller alone holds; -1: none is free. */
int32_t qn_kv_cache_take(qn_kv_cache *c, size_t group);
/* [page_bytes] what is in it; to be written by its only holder. */
void *qn_kv_cache_page_data(const qn_kv_cache *c, size_t group, int32_t page);

/* Writes the first n positions of a page to out ([page_bytes], 64-byte aligned), and zeros for those behind
 * them, where there may be remains of other texts. False: no memory. */
bool qn_kv_cache_copy_positions(const qn_kv_cache *c, size_t group, int32_t page, size_t n, void *out);

/* The first position that a query at `position` sees in a group. */
size_t qn_kv_cache_first_seen(const qn_kv_cache *c, size_t group, size_t position);
/* Gives an empty sequence its history: n positions in these pages, [QN_CACHE_GROUPS][pages of n positions]
 * (NULL for a group that the model lacks), which it holds from now on beside their other holders. Pages that
 * no later position can see are passed over and may be -1. */
void qn_kv_cache_adopt(qn_kv_cache *c, size_t seq, const int32_t *const pages[], size_t n);
/* The sequence holds `page`, which has the same keys and values, in place of the one it has at `index` of its
 * page table. */
void qn_kv_cache_exchange(qn_kv_cache *c, size_t seq, size_t group, size_t index, int32_t page);

#endif
