/* sampler.h: what generation knows of samplers beyond the public interface. */
#ifndef QN_ENGINE_SAMPLER_H
#define QN_ENGINE_SAMPLER_H

#include "engine/model.h"
#include "grammar/matcher.h"

/* As quern_sampler_sample of logits i, which nobody has changed since the step: not all are read again. */
quern_token qn_sample_output(quern_sampler *sampler, quern_context *ctx, size_t i);

/* The matcher of the grammar that binds the sampler, or NULL. */
qn_matcher *qn_sampler_matcher(quern_sampler *sampler);

/* Draws the only token that the grammar allows, for which no logits are needed; -1: there is not just one. */
quern_token qn_sample_only(quern_sampler *sampler);

#endif
