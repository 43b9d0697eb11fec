/* sampling.h: the fields of a request that say how tokens are drawn, which all dialects share. Names are
 * those of the OpenAI API, and llama.cpp's for what that does not have. */
#ifndef QN_SERVE_SAMPLING_H
#define QN_SERVE_SAMPLING_H

#include "serve/fields.h"
#include "serve/limits.h"

typedef struct qn_sampling {
    quern_sampler_params params; /* points into this and into the request's JSON */
    quern_logit_bias bias[QN_MAX_LOGIT_BIAS];
    const char *breakers[16];
    const char *stops[QN_MAX_STOPS_OF_REQUEST];
    size_t n_stops;
    size_t max_tokens; /* 0: none was given */
} qn_sampling;

/* Fills it with what the request says, and the defaults. stop: what the dialect calls the texts that end an
 * answer. The JSON must live as long. */
bool qn_sampling_read(qn_sampling *s, const qn_fields *f, const quern_model *model, const char *stop);

#endif
