/* device.h: what a device is asked to do: run a program over one batch of tokens.
 *
 * A batch holds new tokens of one or more sequences. The device sees sequences only as segments:
 * consecutive positions, and the pages where their keys and values are and go. Who gives out pages is
 * the cache room's business. Where a program sees texts both ways a segment is a whole text. */
#ifndef QN_DEVICE_DEVICE_H
#define QN_DEVICE_DEVICE_H

#include "base/thread_pool.h"
#include "kernel/attention.h"
#include "model/program.h"

/* The pages of one cache group: page p of the group's layer l begins at
 * base + p * page_stride + l * layout.layer_bytes. */
typedef struct qn_kv_memory {
    char *base;
    size_t page_stride;
    qn_kv_layout layout;
} qn_kv_memory;

typedef struct qn_segment {
    int32_t position;             /* of its first token in the sequence */
    size_t token_begin, n_tokens; /* its tokens within the batch */
    const int32_t
        *pages[QN_CACHE_GROUPS]; /* page of positions [64 i, 64 i + 64), for all up to the last token */
} qn_segment;

typedef struct qn_batch {
    const quern_token *tokens; /* [n_tokens], each below n_vocab */
    size_t n_tokens;
    const qn_segment *segments; /* in order of token_begin, covering all tokens; no sequence twice */
    size_t n_segments;
    const int32_t *outputs; /* [n_outputs] tokens of the batch whose logits are wanted, ascending */
    size_t n_outputs;
    size_t first_logits; /* where their rows go: rows before it belong to earlier steps and stay */
    bool hidden;         /* the final hidden states of all tokens are wanted */
    qn_kv_memory kv[QN_CACHE_GROUPS];
} qn_batch;

typedef struct qn_device_params {
    int n_threads;
    size_t n_batch, n_segments, n_outputs; /* the most that one step will bring */
    size_t n_ctx;                          /* the most positions a sequence will have */
    qn_thread_pool *pool; /* of n_threads, shared by devices that run by turns; NULL: one of its own */
} qn_device_params;

#endif
