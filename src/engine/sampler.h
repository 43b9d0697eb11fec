/* sampler.h: what generation knows of samplers beyond the public interface. */
#ifndef QN_ENGINE_SAMPLER_H
#define QN_ENGINE_SAMPLER_H

#include "engine/model.h"
#include "grammar/matcher.h"

/* As quern_sampler_sample of a row of logits; block_max: the greatest of its blocks as the step left them, if
 * nobody has changed the row since, so that not all are read again; or NULL. */
quern_token qn_sample_row(quern_sampler *sampler, float *logits, const float *block_max);

/* The matcher of the grammar that binds the sampler, or NULL. */
qn_matcher *qn_sampler_matcher(quern_sampler *sampler);

/* Draws the only token that the grammar allows, for which no logits are needed; -1: there is not just one. */
quern_token qn_sample_only(quern_sampler *sampler);

#endif
