/* params.c: see params.h. */
#include "sample/params.h"

#include <math.h>
#include <string.h>

static const char *const default_breakers[] = {"\n", ":", "\"", "*"};
static const char default_samplers[] = "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature";

quern_sampler_params quern_sampler_params_default(void)
{
    return (quern_sampler_params){.struct_bytes = sizeof(quern_sampler_params),
                                  .seed = QUERN_SEED_RANDOM,
                                  .temperature = 0.8f,
                                  .dynatemp_exponent = 1.0f,
                                  .top_k = 40,
                                  .top_p = 0.95f,
                                  .min_p = 0.05f,
                                  .typical_p = 1.0f,
                                  .top_n_sigma = -1.0f,
                                  .xtc_threshold = 0.1f,
                                  .repeat_penalty = 1.0f,
                                  .repeat_last_n = 64,
                                  .dry_base = 1.75f,
                                  .dry_allowed_length = 2,
                                  .dry_penalty_last_n = -1,
                                  .dry_sequence_breakers = default_breakers,
                                  .n_dry_sequence_breakers =
                                      sizeof default_breakers / sizeof *default_breakers,
                                  .mirostat_tau = 5.0f,
                                  .mirostat_eta = 0.1f};
}

typedef struct float_range {
    const char *name;
    size_t offset;
    float min, max;
} float_range;

#define FIELD(name, min, max)                                                                                \
    {                                                                                                        \
#name, offsetof(quern_sampler_params, name), min, max                                                \
    }
static const float_range float_ranges[] = {
    FIELD(temperature, 0, 1000),
    FIELD(dynatemp_range, 0, 1000),
    FIELD(dynatemp_exponent, 0, 100),
    FIELD(top_p, 0, 1),
    FIELD(min_p, 0, 1),
    FIELD(typical_p, 0, 1),
    FIELD(top_n_sigma, -1000, 1000),
    FIELD(xtc_probability, 0, 1),
    FIELD(xtc_threshold, 0, 1),
    FIELD(repeat_penalty, 0.01f, 100),
    FIELD(presence_penalty, -100, 100),
    FIELD(frequency_penalty, -100, 100),
    FIELD(dry_multiplier, 0, 1000),
    FIELD(dry_base, 1, 1000),
    FIELD(mirostat_tau, 0, 100),
    FIELD(mirostat_eta, 0, 1),
};

typedef struct int_range {
    const char *name;
    size_t offset;
    int32_t min, max;
} int_range;

static const int_range int_ranges[] = {
    FIELD(top_k, -1, INT32_MAX),
    FIELD(repeat_last_n, -1, QN_HISTORY_MAX),
    FIELD(dry_allowed_length, 0, QN_HISTORY_MAX),
    FIELD(dry_penalty_last_n, -1, QN_HISTORY_MAX),
    FIELD(mirostat, 0, 2),
};
_Static_assert(sizeof(int) == sizeof(int32_t), "mirostat is read as the other integers are");

static quern_status check_bias(const quern_logit_bias *bias, size_t n, size_t n_vocab, quern_error *err)
{
    if (n > 0 && bias == NULL)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "logit_bias: NULL with %zu entries", n);
    for (size_t i = 0; i < n; i++) {
        if (bias[i].token < 0 || (size_t)bias[i].token >= n_vocab)
            return qn_fail(err, QUERN_ERR_ARGUMENT,
                           "logit_bias[%zu]: token %d is not in the vocabulary (0 to %zu)", i,
                           (int)bias[i].token, n_vocab - 1);
        if (!(bias[i].bias < INFINITY))
            return qn_fail(err, QUERN_ERR_ARGUMENT,
                           "logit_bias[%zu]: %g for token %d (a finite number, or -inf to ban it)", i,
                           (double)bias[i].bias, (int)bias[i].token);
    }
    return QUERN_OK;
}

quern_status qn_sampler_params_check(const quern_sampler_params *p, size_t n_vocab, quern_error *err)
{
    if (n_vocab < 1 || n_vocab > INT32_MAX)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "sampler: vocabulary of %zu tokens (1 to %d are possible)",
                       n_vocab, INT32_MAX);
    for (size_t i = 0; i < sizeof float_ranges / sizeof *float_ranges; i++) {
        const float_range *r = &float_ranges[i];
        float value;
        memcpy(&value, (const char *)p + r->offset, sizeof value);
        if (!(value >= r->min && value <= r->max))
            return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: %g (%g to %g is possible)", r->name, (double)value,
                           (double)r->min, (double)r->max);
    }
    for (size_t i = 0; i < sizeof int_ranges / sizeof *int_ranges; i++) {
        const int_range *r = &int_ranges[i];
        int32_t value;
        memcpy(&value, (const char *)p + r->offset, sizeof value);
        if (value < r->min || value > r->max)
            return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: %d (%d to %d is possible)", r->name, (int)value,
                           (int)r->min, (int)r->max);
    }
    return check_bias(p->logit_bias, p->n_logit_bias, n_vocab, err);
}

/* ---- the chain ---------------------------------------------------------------------------------- */

enum { MAX_NAMES = 6 };
static const char *const step_names[QN_N_STEPS][MAX_NAMES] = {
#define X(name, ...) {__VA_ARGS__},
    QN_SAMPLER_STEP_MAP(X)
#undef X
};

static bool find_step(const char *name, size_t n_bytes, qn_sampler_step *step)
{
    for (int s = 0; s < QN_N_STEPS; s++)
        for (int i = 0; i < MAX_NAMES && step_names[s][i] != NULL; i++)
            if (strlen(step_names[s][i]) == n_bytes && memcmp(step_names[s][i], name, n_bytes) == 0) {
                *step = (qn_sampler_step)s;
                return true;
            }
    return false;
}

static bool does_something(qn_sampler_step step, const quern_sampler_params *p)
{
    switch (step) {
    case QN_STEP_PENALTIES:
        return p->repeat_last_n != 0 &&
               (p->repeat_penalty != 1.0f || p->presence_penalty != 0.0f || p->frequency_penalty != 0.0f);
    case QN_STEP_DRY:
        return p->dry_multiplier > 0.0f && p->dry_penalty_last_n != 0;
    case QN_STEP_TOP_N_SIGMA:
        return p->top_n_sigma > 0.0f;
    case QN_STEP_TOP_K:
        return p->top_k > 0;
    case QN_STEP_TYPICAL:
        return p->typical_p < 1.0f;
    case QN_STEP_TOP_P:
        return p->top_p < 1.0f;
    case QN_STEP_MIN_P:
        return p->min_p > 0.0f;
    case QN_STEP_XTC:
        return p->xtc_probability > 0.0f && p->xtc_threshold <= 0.5f;
    case QN_STEP_TEMPERATURE:
        return p->temperature != 1.0f || p->dynatemp_range > 0.0f;
    case QN_N_STEPS:
        break;
    }
    return false;
}

static bool changes_logits_only(qn_sampler_step step)
{
    return step == QN_STEP_PENALTIES || step == QN_STEP_DRY;
}

quern_status qn_sampler_chain_init(qn_sampler_chain *chain, const quern_sampler_params *p, quern_error *err)
{
    const char *at = p->samplers != NULL ? p->samplers : default_samplers;
    *chain = (qn_sampler_chain){.greedy = p->temperature == 0.0f && p->dynatemp_range == 0.0f};
    for (;;) {
        const size_t n_bytes = strcspn(at, ";");
        qn_sampler_step step;
        if (n_bytes > 0) {
            if (!find_step(at, n_bytes, &step))
                return qn_fail(err, QUERN_ERR_ARGUMENT, "samplers: unknown name '%s' (possible: %s)",
                               qn_quote(at, n_bytes).text, default_samplers);
            const bool wanted = changes_logits_only(step) ||
                                (!chain->greedy && (p->mirostat == 0 || step == QN_STEP_TEMPERATURE));
            if (wanted && does_something(step, p)) {
                if (chain->n_steps == QN_CHAIN_MAX)
                    return qn_fail(err, QUERN_ERR_ARGUMENT, "samplers: more than %d names", QN_CHAIN_MAX);
                chain->steps[chain->n_steps++] = step;
            }
        }
        if (at[n_bytes] == '\0') return QUERN_OK;
        at += n_bytes + 1;
    }
}

static void describe_step(qn_sampler_step step, const quern_sampler_params *p, qn_buffer *out)
{
    qn_buffer_puts(out, step_names[step][0]);
    switch (step) {
    case QN_STEP_PENALTIES:
        qn_buffer_printf(out, " last %d, repeat %g, presence %g, frequency %g", (int)p->repeat_last_n,
                         (double)p->repeat_penalty, (double)p->presence_penalty,
                         (double)p->frequency_penalty);
        break;
    case QN_STEP_DRY:
        qn_buffer_printf(out, " last %d, multiplier %g, base %g, allowed length %d, %zu breakers",
                         (int)p->dry_penalty_last_n, (double)p->dry_multiplier, (double)p->dry_base,
                         (int)p->dry_allowed_length, p->n_dry_sequence_breakers);
        break;
    case QN_STEP_TOP_N_SIGMA:
        qn_buffer_printf(out, " %g", (double)p->top_n_sigma);
        break;
    case QN_STEP_TOP_K:
        qn_buffer_printf(out, " %d", (int)p->top_k);
        break;
    case QN_STEP_TYPICAL:
        qn_buffer_printf(out, " %g", (double)p->typical_p);
        break;
    case QN_STEP_TOP_P:
        qn_buffer_printf(out, " %g", (double)p->top_p);
        break;
    case QN_STEP_MIN_P:
        qn_buffer_printf(out, " %g", (double)p->min_p);
        break;
    case QN_STEP_XTC:
        qn_buffer_printf(out, " %g above %g", (double)p->xtc_probability, (double)p->xtc_threshold);
        break;
    case QN_STEP_TEMPERATURE:
        qn_buffer_printf(out, " %g", (double)p->temperature);
        if (p->dynatemp_range > 0.0f)
            qn_buffer_printf(out, " +- %g, exponent %g", (double)p->dynatemp_range,
                             (double)p->dynatemp_exponent);
        break;
    case QN_N_STEPS:
        break;
    }
    qn_buffer_puts(out, " -> ");
}

void qn_sampler_chain_describe(const qn_sampler_chain *chain, const quern_sampler_params *p, qn_buffer *out)
{
    if (p->n_logit_bias > 0) qn_buffer_printf(out, "logit_bias of %zu -> ", p->n_logit_bias);
    for (size_t i = 0; i < chain->n_steps; i++) describe_step(chain->steps[i], p, out);
    if (chain->greedy) qn_buffer_puts(out, "greatest");
    else if (p->mirostat > 0)
        qn_buffer_printf(out, "mirostat %d, tau %g, eta %g", p->mirostat, (double)p->mirostat_tau,
                         (double)p->mirostat_eta);
    else qn_buffer_puts(out, "draw");
    if (!chain->greedy) qn_buffer_printf(out, ", seed %llu", (unsigned long long)p->seed);
}
