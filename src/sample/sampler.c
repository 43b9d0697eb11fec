/* sampler.c: see sampler.h. */
#include "sample/sampler.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/random.h"
#include "sample/filters.h"
#include "sample/mirostat.h"
#include "sample/params.h"

#include <float.h>
#include <math.h>
#include <string.h>

struct qn_sampler {
    quern_sampler_params params; /* logit_bias is our copy, the other pointers are NULL */
    qn_sampler_chain chain;
    size_t n_vocab;
    qn_candidates candidates;
    qn_history history;
    qn_penalties penalties;
    qn_dry dry;
    bool has_bans;         /* a bias of -inf */
    const uint64_t *mask;  /* or NULL */
    double mu;             /* mirostat: the greatest surprise allowed, in bits */
    quern_token drawn;     /* by the last qn_sampler_sample, or QN_TOKEN_NONE */
    double drawn_surprise; /* in bits */
};

static bool has_step(const qn_sampler_chain *chain, qn_sampler_step step)
{
    for (size_t i = 0; i < chain->n_steps; i++)
        if (chain->steps[i] == step) return true;
    return false;
}

bool qn_sampler_wants_breakers(const quern_sampler_params *params)
{
    qn_sampler_chain chain;
    return qn_sampler_chain_init(&chain, params, NULL) == QUERN_OK && has_step(&chain, QN_STEP_DRY);
}

static quern_status copy_bias(qn_sampler *s, quern_error *err)
{
    const quern_logit_bias *given = s->params.logit_bias;
    const size_t n = s->params.n_logit_bias;
    s->params.logit_bias = NULL;
    if (n == 0) return QUERN_OK;
    quern_logit_bias *bias = qn_calloc(n, sizeof *bias);
    if (bias == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "sampler: no memory for %zu logit biases", n);
    memcpy(bias, given, n * sizeof *bias);
    s->params.logit_bias = bias;
    for (size_t i = 0; i < n; i++) s->has_bans |= !(bias[i].bias > -INFINITY);
    return QUERN_OK;
}

static size_t look_back(int32_t last_n, size_t n_ctx)
{
    return last_n >= 0 ? (size_t)last_n : qn_max_size(1, qn_min_size(n_ctx, QN_HISTORY_MAX));
}

static quern_status check_breakers(const qn_sampler_setup *setup, quern_error *err)
{
    for (size_t i = 0; i < setup->n_breakers; i++) {
        const qn_dry_breaker *b = &setup->breakers[i];
        if (b->n_tokens == 0) return qn_fail(err, QUERN_ERR_ARGUMENT, "dry_sequence_breakers[%zu]: empty", i);
        for (size_t j = 0; j < b->n_tokens; j++)
            if (b->tokens[j] < 0 || (size_t)b->tokens[j] >= setup->n_vocab)
                return qn_fail(err, QUERN_ERR_ARGUMENT,
                               "dry_sequence_breakers[%zu]: token %d is not in the vocabulary", i,
                               (int)b->tokens[j]);
    }
    return QUERN_OK;
}

static quern_status make_parts(qn_sampler *s, const qn_sampler_setup *setup, quern_error *err)
{
    const quern_sampler_params *p = &s->params;
    const size_t n_counted =
        has_step(&s->chain, QN_STEP_PENALTIES) ? look_back(p->repeat_last_n, setup->n_ctx) : 0;
    const size_t n_dry =
        has_step(&s->chain, QN_STEP_DRY) ? look_back(p->dry_penalty_last_n, setup->n_ctx) : 0;
    s->penalties = (qn_penalties){p->repeat_penalty, p->presence_penalty, p->frequency_penalty};
    quern_status status = copy_bias(s, err);
    if (status == QUERN_OK) status = qn_candidates_init(&s->candidates, s->n_vocab, setup->kernels, err);
    if (status == QUERN_OK)
        status = qn_history_init(&s->history, s->n_vocab, qn_max_size(n_counted, n_dry), n_counted, err);
    if (status != QUERN_OK || n_dry == 0) return status;
    status = check_breakers(setup, err);
    const qn_dry_params dry = {p->dry_multiplier, p->dry_base, (size_t)p->dry_allowed_length, n_dry};
    if (status == QUERN_OK)
        status = qn_dry_init(&s->dry, &dry, s->n_vocab, setup->breakers, setup->n_breakers, err);
    return status;
}

quern_status qn_sampler_create(qn_sampler **out, const qn_sampler_setup *setup, quern_error *err)
{
    *out = NULL;
    qn_sampler_chain chain;
    quern_status status = qn_sampler_params_check(setup->params, setup->n_vocab, err);
    if (status == QUERN_OK) status = qn_sampler_chain_init(&chain, setup->params, err);
    if (status != QUERN_OK) return status;
    qn_sampler *s = qn_calloc(1, sizeof *s);
    if (s == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "sampler: no memory");
    s->params = *setup->params;
    s->params.samplers = NULL;
    s->params.dry_sequence_breakers = NULL;
    s->chain = chain;
    s->n_vocab = setup->n_vocab;
    if (s->params.seed == QUERN_SEED_RANDOM) s->params.seed = qn_random_seed();
    status = make_parts(s, setup, err);
    if (status != QUERN_OK) {
        qn_sampler_destroy(s);
        return status;
    }
    qn_sampler_reset(s);
    *out = s;
    return QUERN_OK;
}

void qn_sampler_destroy(qn_sampler *s)
{
    if (s == NULL) return;
    qn_free((void *)s->params.logit_bias);
    qn_candidates_deinit(&s->candidates);
    qn_history_deinit(&s->history);
    qn_dry_deinit(&s->dry);
    qn_free(s);
}

void qn_sampler_set_mask(qn_sampler *s, const uint64_t *mask)
{
    s->mask = mask;
}

void qn_sampler_reset(qn_sampler *s)
{
    qn_history_clear(&s->history);
    s->mu = 2.0 * (double)s->params.mirostat_tau;
    s->drawn = QN_TOKEN_NONE;
}

void qn_sampler_accept(qn_sampler *s, quern_token token)
{
    if (token < 0 || (size_t)token >= s->n_vocab) return;
    qn_history_push(&s->history, token);
    if (s->params.mirostat > 0 && token == s->drawn)
        s->mu -= (double)s->params.mirostat_eta * (s->drawn_surprise - (double)s->params.mirostat_tau);
    s->drawn = QN_TOKEN_NONE;
}

uint64_t qn_sampler_seed(const qn_sampler *s)
{
    return s->params.seed;
}
uint64_t qn_sampler_position(const qn_sampler *s)
{
    return s->history.n_total;
}
void qn_sampler_describe(const qn_sampler *s, qn_buffer *out)
{
    qn_sampler_chain_describe(&s->chain, &s->params, out);
}

/* ---- one token ---------------------------------------------------------------------------------- */

/* The index-th number of this position's stream, in [0, 1). */
static double random_unit(const qn_sampler *s, uint64_t index)
{
    qn_random r = {.seed = s->params.seed, .stream = s->history.n_total, .counter = index};
    return qn_random_unit(&r);
}

/* Where something is forbidden, -inf must mean just that: what the model itself gave as -inf or NaN is made
 * the least that is possible. */
static void make_possible(float *logits, size_t n)
{
    for (size_t i = 0; i < n; i++) logits[i] = logits[i] >= -FLT_MAX ? logits[i] : -FLT_MAX;
}

static void apply_bias(const qn_sampler *s, float *logits)
{
    for (size_t i = 0; i < s->params.n_logit_bias; i++) {
        const quern_logit_bias *b = &s->params.logit_bias[i];
        float *logit = &logits[b->token];
        *logit = b->bias > -INFINITY ? qn_logit_minus(*logit, -(double)b->bias) : -INFINITY;
    }
}

/* Penalties at the front of the chain, while the logits are still those of the whole vocabulary. Returns
 * the first step that is left. */
static size_t apply_leading(qn_sampler *s, float *logits)
{
    size_t step = 0;
    for (; step < s->chain.n_steps; step++) {
        if (s->chain.steps[step] == QN_STEP_PENALTIES)
            qn_penalties_apply_all(&s->penalties, &s->history, logits);
        else if (s->chain.steps[step] == QN_STEP_DRY)
            qn_dry_apply(&s->dry, &s->history, NULL, logits, s->n_vocab);
        else break;
    }
    return step;
}

/* Takes the tokens that the first step can possibly keep. False: not one has a finite logit. */
static bool gather(qn_sampler *s, const float *logits, float max, size_t step)
{
    double threshold = -INFINITY;
    if (step < s->chain.n_steps && s->chain.steps[step] == QN_STEP_TOP_K)
        threshold = (double)qn_candidates_bound(&s->candidates, (size_t)s->params.top_k);
    else if (step < s->chain.n_steps && s->chain.steps[step] == QN_STEP_MIN_P)
        threshold = qn_min_p_threshold(max, s->params.min_p);
    return qn_candidates_gather(&s->candidates, logits, threshold) > 0;
}

static void apply_step(qn_sampler *s, size_t step)
{
    qn_candidates *c = &s->candidates;
    const quern_sampler_params *p = &s->params;
    switch (s->chain.steps[step]) {
    case QN_STEP_PENALTIES:
        qn_penalties_apply(&s->penalties, &s->history, c->ids, c->logits, c->n);
        break;
    case QN_STEP_DRY:
        qn_dry_apply(&s->dry, &s->history, c->ids, c->logits, c->n);
        break;
    case QN_STEP_TOP_N_SIGMA:
        qn_filter_top_n_sigma(c, p->top_n_sigma);
        break;
    case QN_STEP_TOP_K:
        qn_filter_top_k(c, (size_t)p->top_k);
        break;
    case QN_STEP_TYPICAL:
        qn_filter_typical(c, p->typical_p);
        break;
    case QN_STEP_TOP_P:
        qn_filter_top_p(c, p->top_p);
        break;
    case QN_STEP_MIN_P:
        qn_filter_min_p(c, p->min_p);
        break;
    case QN_STEP_XTC:
        if (random_unit(s, 1 + step) < (double)p->xtc_probability) qn_filter_xtc(c, p->xtc_threshold);
        break;
    case QN_STEP_TEMPERATURE:
        qn_apply_temperature(
            c, p->dynatemp_range > 0.0f
                   ? qn_dynamic_temperature(c, p->temperature, p->dynatemp_range, p->dynatemp_exponent)
                   : (double)p->temperature);
        break;
    case QN_N_STEPS:
        break;
    }
}

/* The candidate at which the running sum of probabilities passes a uniform number: exact for any number of
 * candidates, in ascending order of ids. */
static size_t draw(qn_sampler *s)
{
    enum { BLOCK = 256 };
    qn_candidates *c = &s->candidates;
    double left = qn_candidates_softmax(c) * random_unit(s, 0);
    size_t chosen = c->n;
    for (size_t i = 0; i < c->n; i += BLOCK) { /* sum by blocks first, then within one */
        const size_t n = qn_min_size(BLOCK, c->n - i);
        const double mass = qn_candidates_sum(c->probs + i, n);
        if (mass <= left && i + n < c->n) {
            left -= mass;
            continue;
        }
        for (size_t j = i; j < i + n; j++) {
            if (!(c->probs[j] > 0.0f)) continue;
            chosen = j; /* the last possible one, should rounding carry the number past the end */
            left -= (double)c->probs[j];
            if (left < 0.0) return chosen;
        }
    }
    return chosen < c->n ? chosen : qn_candidates_argmax(c);
}

static quern_token choose(qn_sampler *s)
{
    if (s->params.mirostat == 1) qn_mirostat_1(&s->candidates, s->mu, s->n_vocab);
    else if (s->params.mirostat == 2) qn_mirostat_2(&s->candidates, s->mu);
    const size_t chosen = draw(s);
    s->drawn = s->candidates.ids[chosen];
    s->drawn_surprise = -log2((double)s->candidates.probs[chosen]);
    return s->drawn;
}

/* Finds the greatest of the logits that are allowed, by blocks. */
static float scan(qn_sampler *s, float *logits, const float *block_max)
{
    if (s->mask == NULL) return qn_candidates_scan(&s->candidates, logits, block_max);
    return qn_candidates_scan_masked(&s->candidates, logits, block_max, s->mask,
                                     s->has_bans ? -INFINITY : -FLT_MAX);
}

quern_token qn_sampler_sample(qn_sampler *s, float *logits, const float *block_max)
{
    s->drawn = QN_TOKEN_NONE;
    if (s->has_bans) make_possible(logits, s->n_vocab);
    apply_bias(s, logits);
    size_t step = apply_leading(s, logits);
    const bool is_unchanged = s->params.n_logit_bias == 0 && step == 0;
    const float max = scan(s, logits, is_unchanged ? block_max : NULL);
    if (s->mask != NULL && !(max > -INFINITY)) return QN_TOKEN_NONE;
    if (!s->chain.greedy && gather(s, logits, max, step)) {
        for (; step < s->chain.n_steps; step++) apply_step(s, step);
        return choose(s);
    }
    return (quern_token)qn_candidates_greatest(&s->candidates, logits);
}

bool qn_sampler_draw_only(qn_sampler *s, quern_token token)
{
    for (size_t i = 0; i < s->params.n_logit_bias; i++)
        if (s->params.logit_bias[i].token == token && !(s->params.logit_bias[i].bias > -INFINITY))
            return false;
    s->drawn = s->chain.greedy ? QN_TOKEN_NONE : token;
    s->drawn_surprise = 0.0;
    return true;
}
