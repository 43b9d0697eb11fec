/* candidates.c: see candidates.h. */
#include "sample/candidates.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <float.h>
#include <math.h>
#include <string.h>

quern_status qn_candidates_init(qn_candidates *c, size_t n_vocab, const qn_kernels *kernels, quern_error *err)
{
    const size_t n_blocks = (n_vocab + QN_LOGIT_BLOCK - 1) / QN_LOGIT_BLOCK;
    *c = (qn_candidates){.capacity = n_vocab, .kernels = kernels};
    c->ids = qn_malloc(n_vocab * sizeof *c->ids);
    c->logits = qn_malloc(n_vocab * sizeof *c->logits);
    c->probs = qn_malloc(n_vocab * sizeof *c->probs);
    c->keys = qn_malloc(n_vocab * sizeof *c->keys);
    c->block_max = qn_malloc(n_blocks * sizeof *c->block_max);
    if (c->ids != NULL && c->logits != NULL && c->probs != NULL && c->keys != NULL && c->block_max != NULL)
        return QUERN_OK;
    qn_candidates_deinit(c);
    return qn_fail(err, QUERN_ERR_NOMEM, "sampler: no memory for %zu candidates", n_vocab);
}

void qn_candidates_deinit(qn_candidates *c)
{
    qn_free(c->ids);
    qn_free(c->logits);
    qn_free(c->probs);
    qn_free(c->keys);
    qn_free(c->block_max);
    *c = (qn_candidates){0};
}

float qn_candidates_scan(qn_candidates *c, const float *logits, const float *known)
{
    float max = -INFINITY;
    size_t b = 0;
    for (size_t i = 0; i < c->capacity; i += QN_LOGIT_BLOCK, b++) {
        const size_t n = c->capacity - i < QN_LOGIT_BLOCK ? c->capacity - i : QN_LOGIT_BLOCK;
        c->block_max[b] = known != NULL && n == QN_LOGIT_BLOCK
                              ? known[b]
                              : qn_greatest_logit(c->kernels->argmax, logits + i, n);
        if (c->block_max[b] > max) max = c->block_max[b];
    }
    return max;
}

static uint64_t first_bits(size_t n)
{
    return n < 64 ? (UINT64_C(1) << n) - 1 : UINT64_MAX;
}

/* Word w of a mask of n tokens, without what is beyond them. */
static uint64_t bits_of(const uint64_t *mask, size_t w, size_t n)
{
    return mask[w] & first_bits(n - w * 64);
}

static size_t count_bits(const uint64_t *mask, size_t n)
{
    size_t count = 0;
    for (size_t w = 0; w * 64 < n; w++) count += (size_t)__builtin_popcountll(bits_of(mask, w, n));
    return count;
}

/* Puts -inf where a block of n logits has no bit of the mask. The smaller side is walked bit by bit. */
static void mask_block(float *logits, size_t n, const uint64_t *mask, size_t n_allowed)
{
    if (n_allowed > n / 2) {
        for (size_t w = 0; w * 64 < n; w++)
            for (uint64_t bits = ~mask[w] & first_bits(n - w * 64); bits != 0; bits &= bits - 1)
                logits[w * 64 + (size_t)__builtin_ctzll(bits)] = -INFINITY;
        return;
    }
    float all[QN_LOGIT_BLOCK];
    memcpy(all, logits, n * sizeof *all);
    for (size_t i = 0; i < n; i++) logits[i] = -INFINITY;
    for (size_t w = 0; w * 64 < n; w++)
        for (uint64_t bits = bits_of(mask, w, n); bits != 0; bits &= bits - 1) {
            const size_t i = w * 64 + (size_t)__builtin_ctzll(bits);
            logits[i] = all[i];
        }
}

float qn_candidates_scan_masked(qn_candidates *c, float *logits, const float *known, const uint64_t *mask,
                                float least)
{
    float max = -INFINITY;
    size_t b = 0;
    for (size_t i = 0; i < c->capacity; i += QN_LOGIT_BLOCK, b++) {
        const size_t n = qn_min_size(c->capacity - i, QN_LOGIT_BLOCK),
                     n_allowed = count_bits(mask + i / 64, n);
        c->block_max[b] = -INFINITY;
        if (n_allowed == 0) continue;
        if (n_allowed < n) mask_block(logits + i, n, mask + i / 64, n_allowed);
        c->block_max[b] = known != NULL && n_allowed == QN_LOGIT_BLOCK
                              ? known[b]
                              : qn_greatest_logit(c->kernels->argmax, logits + i, n);
        if (!(c->block_max[b] > -INFINITY)) {
            for (size_t k = i; k < i + n; k++)
                if (mask[k / 64] >> k % 64 & 1) logits[k] = least;
            c->block_max[b] = least;
        }
        if (c->block_max[b] > max) max = c->block_max[b];
    }
    return max;
}

size_t qn_candidates_greatest(const qn_candidates *c, const float *logits)
{
    const size_t n_blocks = (c->capacity + QN_LOGIT_BLOCK - 1) / QN_LOGIT_BLOCK,
                 best = c->kernels->argmax(c->block_max, n_blocks);
    if (!(c->block_max[best] > -INFINITY)) return c->kernels->argmax(logits, c->capacity);
    const size_t begin = best * QN_LOGIT_BLOCK;
    return begin + c->kernels->argmax(logits + begin, qn_min_size(QN_LOGIT_BLOCK, c->capacity - begin));
}

size_t qn_candidates_gather(qn_candidates *c, const float *logits, double threshold)
{
    /* One float lower, because a filter may compare in double precision afterwards. */
    const float below = nextafterf((float)threshold, -INFINITY), least = below > -FLT_MAX ? below : -FLT_MAX;
    size_t m = 0, b = 0;
    for (size_t i = 0; i < c->capacity; i += QN_LOGIT_BLOCK, b++) {
        if (!(c->block_max[b] >= least)) continue;
        const size_t end = c->capacity - i < QN_LOGIT_BLOCK ? c->capacity : i + QN_LOGIT_BLOCK;
        for (size_t j = i; j < end; j++) {
            const float logit = logits[j];
            c->ids[m] = (quern_token)j; /* stored always, counted only if it stays: no branch */
            c->logits[m] = (logit < FLT_MAX ? logit : FLT_MAX) + 0.0f; /* -0 becomes +0: they are ties */
            m += logit >= least;
        }
    }
    return c->n = m;
}

void qn_candidates_set_one(qn_candidates *c, quern_token id)
{
    c->n = 1;
    c->ids[0] = id;
    c->logits[0] = 0.0f;
}

float qn_candidates_max(const qn_candidates *c)
{
    return c->logits[qn_candidates_argmax(c)];
}
size_t qn_candidates_argmax(const qn_candidates *c)
{
    return c->kernels->argmax(c->logits, c->n);
}

/* In four stripes: a chain of half a million dependent additions would cost more than all the rest. */
double qn_candidates_sum(const float *values, size_t n)
{
    double sum[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t j = 0; j < 4; j++) sum[j] += (double)values[i + j];
    for (; i < n; i++) sum[0] += (double)values[i];
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

/* Keys of the same order as the floats: flips the sign bit of the positive, all bits of the negative. */
static uint32_t key_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}

double qn_candidates_softmax(qn_candidates *c)
{
    memcpy(c->probs, c->logits, c->n * sizeof *c->probs);
    c->kernels->softmax(c->probs, c->n);
    return qn_candidates_sum(c->probs, c->n);
}

double qn_candidates_entropy(const qn_candidates *c)
{
    const size_t top = qn_candidates_argmax(c);
    const double max = (double)c->logits[top], log_top = log((double)c->probs[top]);
    double entropy = 0.0;
    for (size_t i = 0; i < c->n; i++) /* ln p = logit - max + ln p_max; 0 ln 0 = 0 */
        if (c->probs[i] > 0.0f) entropy -= (double)c->probs[i] * ((double)c->logits[i] - max + log_top);
    return entropy > 0.0 ? entropy : 0.0;
}

static void move(qn_candidates *c, size_t to, size_t from)
{
    c->ids[to] = c->ids[from];
    c->logits[to] = c->logits[from];
}

void qn_candidates_keep_above(qn_candidates *c, double threshold)
{
    const double max = (double)qn_candidates_max(c), least = threshold < max ? threshold : max;
    size_t m = 0;
    for (size_t i = 0; i < c->n; i++)
        if ((double)c->logits[i] >= least) move(c, m++, i);
    c->n = m;
}

void qn_candidates_drop_unlikely(qn_candidates *c, double least)
{
    size_t m = 0;
    for (size_t i = 0; i < c->n; i++) {
        move(c, m, i);
        c->probs[m] = c->probs[i];
        m += (double)c->probs[m] >= least;
    }
    c->n = m;
}

void qn_candidates_key_by_logit(qn_candidates *c)
{
    for (size_t i = 0; i < c->n; i++) c->keys[i] = key_of(c->logits[i]);
}

void qn_candidates_key_by_distance(qn_candidates *c, size_t i, double distance)
{
    c->keys[i] = key_of((float)-fmin(distance, FLT_MAX));
}

/* What a cut keeps: keys above `key`, and of those equal to it the first n_ties. */
typedef struct cut {
    uint32_t key;
    size_t n_ties;
} cut;

static bool reached(double sum, double goal, bool over)
{
    return over ? sum > goal : sum >= goal;
}

/* From the greatest key downwards, sums weights (NULL: 1 each) until the goal is reached. Each round settles
 * a digit of the key at which that happens: wide ones for many keys, so that after the first round few are
 * left and branches are foreseen; narrow ones for few keys, so that clearing the histogram does not cost more
 * than they do. */
static cut find_cut(const uint32_t *keys, const float *weights, size_t n, double goal, bool over)
{
    enum { WIDE = 11, NARROW = 6, MANY = 2048 };
    cut found = {0};
    double sum = 0.0, mass[1 << WIDE];
    uint32_t settled = 0, count[1 << WIDE];
    for (unsigned shift = 32; shift > 0;) {
        const unsigned widest = n < MANY ? NARROW : WIDE, width = widest < shift ? widest : shift;
        const uint32_t mask = (1u << width) - 1;
        size_t n_left = 0;
        shift -= width;
        memset(mass, 0, sizeof *mass << width);
        memset(count, 0, sizeof *count << width);
        for (size_t i = 0; i < n; i++) {
            if ((keys[i] & settled) != found.key) continue;
            const uint32_t digit = keys[i] >> shift & mask;
            mass[digit] += weights != NULL ? (double)weights[i] : 1.0;
            count[digit]++;
            n_left++;
        }
        uint32_t digit = mask;
        for (;; digit--) { /* ends at the last digit that occurs, should rounding put the goal out of reach */
            if (count[digit] == 0) continue;
            n_left -= count[digit];
            if (n_left == 0 || reached(sum + mass[digit], goal, over)) break;
            sum += mass[digit];
        }
        found.key |= digit << shift;
        settled |= mask << shift;
    }
    for (size_t i = 0; i < n; i++) {
        if (keys[i] != found.key) continue;
        found.n_ties++;
        sum += weights != NULL ? (double)weights[i] : 1.0;
        if (reached(sum, goal, over)) break;
    }
    return found;
}

static void apply_cut(qn_candidates *c, cut at)
{
    size_t m = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (c->keys[i] < at.key) continue;
        if (c->keys[i] == at.key) {
            if (at.n_ties == 0) continue;
            at.n_ties--;
        }
        move(c, m++, i);
    }
    c->n = m;
}

void qn_candidates_cut_count(qn_candidates *c, size_t k)
{
    if (k < c->n) apply_cut(c, find_cut(c->keys, NULL, c->n, (double)k, false));
}

void qn_candidates_cut_mass(qn_candidates *c, double mass, bool over)
{
    apply_cut(c, find_cut(c->keys, c->probs, c->n, mass, over));
}

float qn_candidates_bound(qn_candidates *c, size_t k)
{
    const size_t n_blocks = (c->capacity + QN_LOGIT_BLOCK - 1) / QN_LOGIT_BLOCK;
    if (k >= n_blocks) return -INFINITY;
    for (size_t b = 0; b < n_blocks; b++) c->keys[b] = key_of(c->block_max[b]);
    const uint32_t key = find_cut(c->keys, NULL, n_blocks, (double)k, false).key;
    for (size_t b = 0; b < n_blocks; b++)
        if (c->keys[b] == key) return c->block_max[b];
    return -INFINITY; /* not reached: the key is one of them */
}
