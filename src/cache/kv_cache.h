/* kv_cache.h: who has which page of keys and values (PagedAttention: Kwon et al. 2023,
 * arXiv:2309.06180).
 *
 * A sequence sees one contiguous history; memory is given out in pages of 64 positions. Layers fall
 * into groups: those that keep every position, and those with a sliding window, whose pages are given
 * back as soon as no later position can see them. All memory is taken at creation. */
#ifndef QN_CACHE_KV_CACHE_H
#define QN_CACHE_KV_CACHE_H

#include "device/device.h"

typedef struct qn_kv_cache qn_kv_cache;

typedef struct qn_kv_cache_params {
    size_t n_sequences, n_ctx; /* sequences, and the most positions of each */
    size_t n_batch;            /* the most positions that one step adds to a sequence */
    qn_tensor_type type_k, type_v;
} qn_kv_cache_params;

/* Bytes that qn_kv_cache_create takes for keys and values and their tables. */
size_t qn_kv_cache_bytes(const qn_program *p, const qn_kv_cache_params *params);
quern_status qn_kv_cache_create(qn_kv_cache **out, const qn_program *p, const qn_kv_cache_params *params,
                                quern_error *err);
size_t qn_kv_cache_taken_bytes(const qn_kv_cache *c); /* what it really took */
void qn_kv_cache_destroy(qn_kv_cache *c);             /* NULL is fine */

const qn_kv_memory *qn_kv_cache_memory(const qn_kv_cache *c, size_t group);

/* Positions that sequence `seq` holds. */
size_t qn_kv_cache_length(const qn_kv_cache *c, size_t seq);

/* Makes sure that pages exist for the next n positions (at most n_batch; the sequence stays within
 * n_ctx: the caller has checked). Cannot fail: the pages were planned. */
void qn_kv_cache_reserve(qn_kv_cache *c, size_t seq, size_t n);
/* The page table of a group: page of positions [64 i, 64 i + 64), -1 where given back or not there. */
const int32_t *qn_kv_cache_pages(const qn_kv_cache *c, size_t seq, size_t group);
/* The n reserved positions have been written: the sequence is longer, pages behind windows are free. */
void qn_kv_cache_commit(qn_kv_cache *c, size_t seq, size_t n);

/* Forgets positions from n on. Where a window has already given back pages that position n would see,
 * everything is forgotten. Returns how many positions remain (n or 0, or the length if shorter). */
size_t qn_kv_cache_truncate(qn_kv_cache *c, size_t seq, size_t n);

/* Pages in use in a group, for tests and statistics. */
size_t qn_kv_cache_used_pages(const qn_kv_cache *c, size_t group);

#endif
