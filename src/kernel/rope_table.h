/* rope_table.h: the angles of rotary embeddings (RoFormer: Su et al. 2021, arXiv:2104.09864), with the ways
 * in which models stretch them over longer contexts. Built once per step, shared by all layers. */
#ifndef QN_KERNEL_ROPE_TABLE_H
#define QN_KERNEL_ROPE_TABLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct qn_rope_params {
    size_t n_rot;              /* rotated dimensions of a head; even */
    float freq_base;           /* > 0 */
    const float *freq_factors; /* [n_rot / 2]: the angle of a pair is divided by it; or NULL */
    float freq_scale;          /* 1 / context factor: linear scaling, and YaRN's interpolation; 1: none */
    float attn_factor;         /* cos and sin are multiplied by it (YaRN, LongRoPE); 1: none */
    /* YaRN (Peng et al. 2023, arXiv:2309.00071); ext_factor 0: not used. Pairs that turn more than beta_fast
     * times within the original context keep their angle, those below beta_slow turns are interpolated, those
     * between mix, in proportion to their number. Multiplies attn_factor by 1 + 0.1 ln(1 / freq_scale). */
    float ext_factor, beta_fast, beta_slow;
    uint32_t n_ctx_orig;
} qn_rope_params;

/* radians_per_position [n_rot / 2]: angles are proportional to the position. For the life of a model. */
void qn_rope_frequencies(double *radians_per_position, const qn_rope_params *p);

/* What cos and sin are multiplied by. */
double qn_rope_magnitude(const qn_rope_params *p);

/* cos_sin [n_pairs][2] for one position, computed in double precision. */
void qn_rope_table_fill(float *cos_sin, int32_t position, const double *radians_per_position, size_t n_pairs,
                        double magnitude);

/* The three in one: cos_sin [n_rot / 2][2]. */
void qn_rope_table(float *cos_sin, int32_t position, const qn_rope_params *p);

/* LongRoPE's attention factor (Ding et al. 2024, arXiv:2402.13753) of a context that is stretched from
 * n_ctx_orig to n_ctx positions; 1 if it is not stretched. */
float qn_rope_longrope_factor(uint32_t n_ctx, uint32_t n_ctx_orig);

#endif
