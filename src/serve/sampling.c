/* sampling.c: see sampling.h. */
#include "serve/sampling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_texts(const qn_fields *f, const char *name, size_t most, size_t most_bytes,
                       const char **texts, size_t *n_texts)
{
    const json_t *found = qn_field(f, name);
    const size_t n = json_is_array(found) ? json_array_size(found) : 1;
    if (found == NULL) return true;
    if (n > most) return qn_field_wrong(f, QN_PROBLEM_WRONG_VALUE, name, "%zu texts, more than %zu", n, most);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_is_array(found) ? json_array_get(found, i) : found;
        if (!json_is_string(item))
            return qn_field_wrong(f, QN_PROBLEM_WRONG_TYPE, name,
                                  "a string, or an array of strings, is expected");
        if (json_string_length(item) == 0 || json_string_length(item) > most_bytes)
            return qn_field_wrong(f, QN_PROBLEM_WRONG_VALUE, name,
                                  "a text of %zu bytes (1 to %zu are possible)", json_string_length(item),
                                  most_bytes);
        texts[i] = json_string_value(item);
    }
    *n_texts = n;
    return true;
}

/* Token ids as names, as JSON has it: digits alone. */
static bool read_token(const char *text, uint32_t n_vocab, quern_token *token)
{
    const size_t n_digits = strspn(text, "0123456789");
    if (n_digits == 0 || n_digits > 9 || text[n_digits] != '\0') return false;
    *token = (quern_token)strtol(text, NULL, 10);
    return (uint32_t)*token < n_vocab;
}

static bool read_bias(qn_sampling *s, const qn_fields *f, uint32_t n_vocab)
{
    qn_fields bias;
    const char *name;
    const json_t *value;
    size_t n = 0;
    if (!qn_field_object(f, "logit_bias", &bias)) return false;
    if (json_object_size(bias.object) > QN_MAX_LOGIT_BIAS)
        return qn_field_wrong(f, QN_PROBLEM_WRONG_VALUE, "logit_bias", "%zu tokens, more than %d",
                              json_object_size(bias.object), (int)QN_MAX_LOGIT_BIAS);
    json_object_foreach((json_t *)bias.object, name, value)
    {
        double x = 0;
        if (!read_token(name, n_vocab, &s->bias[n].token))
            return qn_field_wrong(f, QN_PROBLEM_WRONG_VALUE, "logit_bias",
                                  "'%.40s' is no token of the vocabulary of %u", name, n_vocab);
        if (!qn_field_number(&bias, name, -100, 100, &x)) return false;
        s->bias[n++].bias = x <= -100 ? -INFINITY : (float)x; /* OpenAI's way to ban a token */
    }
    s->params.logit_bias = s->bias, s->params.n_logit_bias = n;
    return true;
}

static bool read_seed(qn_sampling *s, const qn_fields *f)
{
    int64_t seed = -1;
    if (!qn_field_integer(f, "seed", INT64_MIN, INT64_MAX, &seed)) return false;
    if (seed != -1) s->params.seed = (uint64_t)seed;
    return true;
}

static bool read_filters(quern_sampler_params *p, const qn_fields *f)
{
    int64_t top_k = p->top_k;
    const bool ok =
        qn_field_float(f, "temperature", 0, 1000, &p->temperature) &&
        qn_field_float(f, "dynatemp_range", 0, 1000, &p->dynatemp_range) &&
        qn_field_float(f, "dynatemp_exponent", 0, 100, &p->dynatemp_exponent) &&
        qn_field_integer(f, "top_k", -1, INT32_MAX, &top_k) && qn_field_float(f, "top_p", 0, 1, &p->top_p) &&
        qn_field_float(f, "min_p", 0, 1, &p->min_p) && qn_field_float(f, "typical_p", 0, 1, &p->typical_p) &&
        qn_field_float(f, "top_n_sigma", -1000, 1000, &p->top_n_sigma) &&
        qn_field_float(f, "xtc_probability", 0, 1, &p->xtc_probability) &&
        qn_field_float(f, "xtc_threshold", 0, 1, &p->xtc_threshold) &&
        qn_field_text(f, "samplers", &p->samplers);
    p->top_k = (int32_t)top_k;
    return ok;
}

static bool read_penalties(qn_sampling *s, const qn_fields *f)
{
    quern_sampler_params *p = &s->params;
    int64_t last_n = p->repeat_last_n, allowed = p->dry_allowed_length, dry_last_n = p->dry_penalty_last_n;
    const size_t most = sizeof s->breakers / sizeof *s->breakers;
    bool ok = qn_field_float(f, "repeat_penalty", 0.01, 100, &p->repeat_penalty) &&
              qn_field_float(f, "presence_penalty", -100, 100, &p->presence_penalty) &&
              qn_field_float(f, "frequency_penalty", -100, 100, &p->frequency_penalty) &&
              qn_field_integer(f, "repeat_last_n", -1, 1 << 20, &last_n) &&
              qn_field_float(f, "dry_multiplier", 0, 1000, &p->dry_multiplier) &&
              qn_field_float(f, "dry_base", 1, 1000, &p->dry_base) &&
              qn_field_integer(f, "dry_allowed_length", 0, 1 << 20, &allowed) &&
              qn_field_integer(f, "dry_penalty_last_n", -1, 1 << 20, &dry_last_n);
    if (ok && qn_field(f, "dry_sequence_breakers") != NULL) {
        ok = read_texts(f, "dry_sequence_breakers", most, QN_STOP_BYTES, s->breakers,
                        &p->n_dry_sequence_breakers);
        p->dry_sequence_breakers = s->breakers;
    }
    p->repeat_last_n = (int32_t)last_n, p->dry_allowed_length = (int32_t)allowed;
    p->dry_penalty_last_n = (int32_t)dry_last_n;
    return ok;
}

static bool read_mirostat(quern_sampler_params *p, const qn_fields *f)
{
    int64_t version = p->mirostat;
    const bool ok = qn_field_integer(f, "mirostat", 0, 2, &version) &&
                    qn_field_float(f, "mirostat_tau", 0, 100, &p->mirostat_tau) &&
                    qn_field_float(f, "mirostat_eta", 0, 1, &p->mirostat_eta);
    p->mirostat = (int)version;
    return ok;
}

/* The names that it has had, the newest first. */
static bool read_max_tokens(qn_sampling *s, const qn_fields *f)
{
    static const char *const names[] = {"max_completion_tokens", "max_tokens", "n_predict"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int64_t n = -1;
        if (!qn_field_integer(f, names[i], i == 2 ? -1 : 1, INT32_MAX, &n)) return false;
        if (n > 0 && s->max_tokens == 0) s->max_tokens = (size_t)n;
    }
    return true;
}

bool qn_sampling_read(qn_sampling *s, const qn_fields *f, const quern_model *model, const char *stop)
{
    quern_model_info info;
    quern_model_get_info(model, &info);
    s->params = quern_sampler_params_default();
    s->n_stops = s->max_tokens = 0;
    return read_filters(&s->params, f) && read_penalties(s, f) && read_mirostat(&s->params, f) &&
           read_seed(s, f) && read_bias(s, f, info.n_vocab) && read_max_tokens(s, f) &&
           read_texts(f, stop, QN_MAX_STOPS_OF_REQUEST, QN_STOP_BYTES, s->stops, &s->n_stops);
}
