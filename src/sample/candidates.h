/* candidates.h: the tokens that are still in the running, with their logits.
 *
 * The vocabulary is never sorted. One pass finds the greatest logit of every block of 128; blocks that
 * cannot hold a candidate are not looked at again. What remains is a short list in ascending order of
 * ids, which the filters cut further by selection: a cut is found digit by digit in a histogram of
 * order-preserving keys (radix selection: Knuth, The Art of Computer Programming vol. 3, 5.2.5), in
 * linear time whatever the values are. Ties go to the lowest id. */
#ifndef QN_SAMPLE_CANDIDATES_H
#define QN_SAMPLE_CANDIDATES_H

#include "base/error.h"
#include "kernel/kernel.h"

typedef struct qn_candidates {
    size_t n, capacity; /* n is at least 1 once gathered; capacity is the vocabulary's size */
    quern_token *ids;   /* [n] ascending */
    float *logits;      /* [n] finite */
    float *probs;       /* [n] filled by qn_candidates_softmax; stale once logits or the set have changed */
    uint32_t *keys;     /* [capacity] scratch of the cuts */
    float *block_max;   /* [capacity / 128, rounded up] */
    const qn_kernels *kernels;
} qn_candidates;

/* Memory that is never touched is never taken from the system: with top-k it stays at a few pages. */
quern_status qn_candidates_init(qn_candidates *c, size_t n_vocab, const qn_kernels *kernels,
                                quern_error *err);
void qn_candidates_deinit(qn_candidates *c);

/* Fills block_max from all logits and returns their maximum; NaN counts as -inf. known: what it will be for
 * all whole blocks, or NULL. */
float qn_candidates_scan(qn_candidates *c, const float *logits, const float *known);

/* As above for the tokens of a mask (token i: bit i % 64 of word i / 64); all others become -inf, but blocks
 * without any are not even read. Where no token of a block has a logit above -inf, those of the mask become
 * `least`. Returns -inf if the mask is empty, or least is -inf and there is nothing else. */
float qn_candidates_scan_masked(qn_candidates *c, float *logits, const float *known, const uint64_t *mask,
                                float least);

/* The lowest index of the greatest of all logits, after a scan. */
size_t qn_candidates_greatest(const qn_candidates *c, const float *logits);

/* A logit that at least k tokens reach, as high as the last scan can tell; -inf if it cannot. */
float qn_candidates_bound(qn_candidates *c, size_t k);

/* Takes all tokens whose logit is above -inf and at least `threshold`, after a scan; +inf counts as FLT_MAX.
 * Returns how many; with 0 the set is empty and must be filled by the caller. */
size_t qn_candidates_gather(qn_candidates *c, const float *logits, double threshold);

/* The only candidate. */
void qn_candidates_set_one(qn_candidates *c, quern_token id);

float qn_candidates_max(const qn_candidates *c);
size_t qn_candidates_argmax(const qn_candidates *c);

/* Fills probs; returns their sum, which is 1 but for rounding. */
double qn_candidates_softmax(qn_candidates *c);
double qn_candidates_sum(const float *values, size_t n);

/* Shannon entropy in nats of probs, after qn_candidates_softmax. */
double qn_candidates_entropy(const qn_candidates *c);

/* Keeps those whose logit is at least `threshold`; the greatest always stays. */
void qn_candidates_keep_above(qn_candidates *c, double threshold);

/* Drops those whose probs are below `least`, which at least one reaches; the probs of the others stay valid.
 */
void qn_candidates_drop_unlikely(qn_candidates *c, double least);

/* Keys of the same order as the logits, so that the cuts below begin with the greatest logit. */
void qn_candidates_key_by_logit(qn_candidates *c);
/* Keys of the opposite order: smallest distance first. distance >= 0. */
void qn_candidates_key_by_distance(qn_candidates *c, size_t i, double distance);

/* Keep the k with the greatest keys / as many with the greatest keys as it takes until the sum of their
 * probs is at least (over: is more than) `mass`. At least one stays. */
void qn_candidates_cut_count(qn_candidates *c, size_t k);
void qn_candidates_cut_mass(qn_candidates *c, double mass, bool over);

#endif
