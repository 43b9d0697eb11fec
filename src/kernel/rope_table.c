/* rope_table.c: see rope_table.h. Angles grow to 10^5 and more, where a float has lost the digits that a
 * sine needs; so everything is double until the last step. */
#include "kernel/rope_table.h"

#include "kernel/sin_cos.h"

#include <math.h>

static const double two_pi = 6.28318530717958647692;

/* The (fractional) number of the pair that turns `n_turns` times within n_ctx_orig positions. */
static double pair_of_turns(const qn_rope_params *p, double n_turns)
{
    return (double)p->n_rot * log((double)p->n_ctx_orig / (n_turns * two_pi)) /
           (2 * log((double)p->freq_base));
}

/* YaRN's share of the unscaled angle in each pair: 1 before `low`, 0 from `high` on. */
typedef struct ramp {
    double low, high;
} ramp;

static ramp yarn_ramp(const qn_rope_params *p)
{
    return (ramp){fmax(0, floor(pair_of_turns(p, p->beta_fast))),
                  fmin((double)p->n_rot - 1, ceil(pair_of_turns(p, p->beta_slow)))};
}

static double pair_frequency(const qn_rope_params *p, const ramp *r, size_t pair)
{
    const double factor = p->freq_factors ? (double)p->freq_factors[pair] : 1.0;
    const double extrapolated = pow(p->freq_base, -2.0 * (double)pair / (double)p->n_rot) / factor;
    const double interpolated = extrapolated * (double)p->freq_scale;
    if (p->ext_factor == 0.0f) return interpolated;
    const double at = ((double)pair - r->low) / fmax(0.001, r->high - r->low);
    const double share = (1 - fmin(1, fmax(0, at))) * (double)p->ext_factor;
    return interpolated * (1 - share) + extrapolated * share;
}

void qn_rope_frequencies(double *radians_per_position, const qn_rope_params *p)
{
    const ramp r = yarn_ramp(p);
    for (size_t i = 0; i < p->n_rot / 2; i++) radians_per_position[i] = pair_frequency(p, &r, i);
}

double qn_rope_magnitude(const qn_rope_params *p)
{
    if (p->ext_factor == 0.0f) return (double)p->attn_factor;
    return (double)p->attn_factor * (1 + 0.1 * log(1 / (double)p->freq_scale));
}

void qn_rope_table_fill(float *cos_sin, int32_t position, const double *radians_per_position, size_t n_pairs,
                        double magnitude)
{
    for (size_t i = 0; i < n_pairs; i++) {
        const double angle = (double)position * radians_per_position[i];
        double sine, cosine;
        qn_sin_cos(angle, &sine, &cosine);
        cos_sin[2 * i] = (float)(cosine * magnitude);
        cos_sin[2 * i + 1] = (float)(sine * magnitude);
    }
}

void qn_rope_table(float *cos_sin, int32_t position, const qn_rope_params *p)
{
    const ramp r = yarn_ramp(p);
    const double magnitude = qn_rope_magnitude(p);
    for (size_t i = 0; i < p->n_rot / 2; i++) {
        const double frequency = pair_frequency(p, &r, i);
        qn_rope_table_fill(cos_sin + 2 * i, position, &frequency, 1, magnitude);
    }
}

float qn_rope_longrope_factor(uint32_t n_ctx, uint32_t n_ctx_orig)
{
    if (n_ctx <= n_ctx_orig || n_ctx_orig < 2) return 1.0f;
    return (float)sqrt(1 + log((double)n_ctx / n_ctx_orig) / log(n_ctx_orig));
}
