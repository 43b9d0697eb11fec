/* sampler.h: from logits to a token.
 *
 *     logits -> bias -> penalties -> mask -> candidates -> filters and temperature -> draw
 *
 * The steps between bias and draw, but for the mask, are a chain in the order that the parameters give; steps
 * that would do nothing are left out when the sampler is made. Penalties at the front touch single logits, so
 * the vocabulary is read once, for the maxima of its blocks, and a set of candidates is taken from it.
 *
 * The numbers drawn are qn_random of (seed, stream = position): the first of a position's stream chooses the
 * token, the (2 + i)-th decides whether the i-th step of the chain, an XTC, takes place. So a token depends
 * on seed, position, history and logits and on nothing else (contract C4). All memory is taken at creation.
 */
#ifndef QN_SAMPLE_SAMPLER_H
#define QN_SAMPLE_SAMPLER_H

#include "base/buffer.h"
#include "kernel/kernel.h"
#include "sample/dry.h"

typedef struct qn_sampler qn_sampler;

enum { QN_TOKEN_NONE = -1 };

typedef struct qn_sampler_setup {
    const quern_sampler_params *params; /* complete; read during creation only */
    size_t n_vocab;
    size_t n_ctx; /* tokens that "the context" (-1) means to penalties; clamped to QN_HISTORY_MAX */
    const qn_kernels *kernels;
    const qn_dry_breaker *breakers; /* [n_breakers] the sequence breakers as tokens */
    size_t n_breakers;
} qn_sampler_setup;

/* QUERN_ERR_ARGUMENT names the parameter that is out of range. */
quern_status qn_sampler_create(qn_sampler **out, const qn_sampler_setup *setup, quern_error *err);
void qn_sampler_destroy(qn_sampler *s); /* NULL is fine */

/* Whether these parameters use sequence breakers (making them from text takes a walk over the vocabulary). */
bool qn_sampler_wants_breakers(const quern_sampler_params *params);

/* The tokens that can come next (token i: bit i % 64 of word i / 64), read by every later draw; NULL: all. */
void qn_sampler_set_mask(qn_sampler *s, const uint64_t *mask);

/* The token for the next position; changes logits, but nothing that a later call sees. Any floats are fine.
 * QN_TOKEN_NONE only if the mask leaves nothing. block_max: the greatest of every whole block of
 * QN_LOGIT_BLOCK (as qn_greatest_logit gives it), which saves reading most of the logits; NULL: not known. */
quern_token qn_sampler_sample(qn_sampler *s, float *logits, const float *block_max);

/* Draws a token that is the only one possible, as qn_sampler_sample would with such a mask, but without
 * logits. False: not even that is possible, for its bias is -inf. */
bool qn_sampler_draw_only(qn_sampler *s, quern_token token);

/* The token that comes next in the sequence, drawn or given. Ids out of range are ignored. */
void qn_sampler_accept(qn_sampler *s, quern_token token);

/* As after creation, with the same seed. */
void qn_sampler_reset(qn_sampler *s);

uint64_t qn_sampler_seed(const qn_sampler *s);
uint64_t qn_sampler_position(const qn_sampler *s); /* tokens accepted */
void qn_sampler_describe(const qn_sampler *s, qn_buffer *out);

#endif
