/* sampler_fuzz.c: parameters, history, mask and logits from bytes.
 *
 * Parameters are either refused with a message or give a sampler, whose tokens are always within the
 * vocabulary, never banned or masked while another token is possible, and the same when asked for again. */
#include "base/alloc.h"
#include "base/checked.h"
#include "sample/sampler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_VOCAB = 300, MAX_BIAS = 4, MAX_STEPS = 10 };

static void require(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "sampler_fuzz: %s\n", what);
    abort();
}

typedef struct input {
    const uint8_t *data;
    size_t size;
} input;

/* Past the end all bytes are 0. */
static uint32_t take(input *in, size_t n_bytes)
{
    uint32_t value = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        value = value << 8 | (in->size > 0 ? in->data[0] : 0u);
        if (in->size > 0) in->data++, in->size--;
    }
    return value;
}

static float take_float(input *in) /* any float, one byte for the usual, four for the strange */
{
    const uint32_t byte = take(in, 1);
    if (byte < 240) return ((float)byte - 100.0f) / 10.0f;
    const uint32_t bits = take(in, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float take_part(input *in) /* mostly in [0, 1] */
{
    const uint32_t byte = take(in, 1);
    return byte < 251 ? (float)byte / 250.0f : take_float(in);
}

static int32_t take_int(input *in)
{
    return (int32_t)take(in, 1) - 2;
}

static const char *take_order(input *in, char *out, size_t size)
{
    static const char *const names[] = {"penalties", "dry",   "top_n_sigma", "top_k",       "typ_p",
                                        "top_p",     "min_p", "xtc",         "temperature", ";"};
    const uint32_t n = take(in, 1) % 12;
    if (n == 0) return NULL;
    out[0] = '\0';
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t which = take(in, 1);
        if (which < 250) snprintf(out + strlen(out), size - strlen(out), "%s;", names[which % 10]);
        else snprintf(out + strlen(out), size - strlen(out), "%c", (char)which);
    }
    return out;
}

static quern_sampler_params take_params(input *in, quern_logit_bias *bias, char *order, size_t order_size)
{
    quern_sampler_params p = quern_sampler_params_default();
    p.seed = take(in, 2);
    p.temperature = take_part(in) * 2.0f;
    p.dynatemp_range = take(in, 1) < 200 ? 0.0f : take_part(in);
    p.dynatemp_exponent = take_part(in);
    p.top_k = take_int(in);
    p.top_p = take_part(in);
    p.min_p = take_part(in);
    p.typical_p = take_part(in);
    p.top_n_sigma = take_float(in);
    p.xtc_probability = take_part(in);
    p.xtc_threshold = take_part(in);
    p.repeat_penalty = take_part(in) * 2.0f;
    p.presence_penalty = take_part(in);
    p.frequency_penalty = take_part(in);
    p.repeat_last_n = take_int(in);
    p.dry_multiplier = take_part(in);
    p.dry_base = 1.0f + take_part(in);
    p.dry_allowed_length = take_int(in);
    p.dry_penalty_last_n = take_int(in);
    const uint32_t mirostat = take(in, 1);
    p.mirostat = mirostat < 128 ? 0 : (int)(mirostat % 3);
    p.mirostat_tau = take_part(in) * 10.0f;
    p.mirostat_eta = take_part(in);
    p.n_logit_bias = take(in, 1) % (MAX_BIAS + 1);
    for (size_t i = 0; i < p.n_logit_bias; i++) {
        bias[i].token = (quern_token)take(in, 2) - 1;
        bias[i].bias = take(in, 1) % 4 == 0 ? -INFINITY : take_float(in);
    }
    p.logit_bias = bias;
    p.samplers = take_order(in, order, order_size);
    return p;
}

static void mask_by_bit(uint64_t *mask, uint32_t bits) /* the ids that share a bit with the number */
{
    memset(mask, 0, (MAX_VOCAB + 63) / 64 * sizeof *mask);
    for (size_t i = 0; i < MAX_VOCAB; i++)
        if ((i & bits) != 0) mask[i / 64] |= UINT64_C(1) << i % 64;
}

static bool forbidden(const quern_sampler_params *p, size_t n_vocab, uint32_t bits, size_t id)
{
    if (bits != 0 && (id & bits) == 0) return true;
    for (size_t i = 0; i < p->n_logit_bias; i++)
        if ((size_t)p->logit_bias[i].token == id && p->logit_bias[i].bias == -INFINITY) return true;
    (void)n_vocab;
    return false;
}

static void step(qn_sampler *s, const quern_sampler_params *p, const float *logits, size_t n_vocab,
                 uint32_t bits)
{
    float *copy = qn_malloc(2 * n_vocab * sizeof *copy); /* exact size for a sanitizer */
    require(copy != NULL, "memory");
    memcpy(copy, logits, n_vocab * sizeof *copy);
    memcpy(copy + n_vocab, logits, n_vocab * sizeof *copy);
    float block_max[MAX_VOCAB / QN_LOGIT_BLOCK + 1]; /* known or not, the answer is the same */
    for (size_t b = 0; b * QN_LOGIT_BLOCK < n_vocab; b++)
        block_max[b] = qn_greatest_logit(qn_kernels_by_name("scalar")->argmax, logits + b * QN_LOGIT_BLOCK,
                                         qn_min_size(QN_LOGIT_BLOCK, n_vocab - b * QN_LOGIT_BLOCK));
    const quern_token first = qn_sampler_sample(s, copy + n_vocab, block_max),
                      again = qn_sampler_sample(s, copy, NULL);
    require(first == again, "the same question, another answer");
    qn_free(copy);
    bool allowed = false;
    for (size_t i = 0; i < n_vocab; i++) allowed |= !forbidden(p, n_vocab, bits, i);
    if (first == QN_TOKEN_NONE) {
        require(bits != 0 && !allowed, "no token, but one is possible");
        return;
    }
    require(first >= 0 && (size_t)first < n_vocab, "token out of range");
    require(!allowed || !forbidden(p, n_vocab, bits, (size_t)first), "a forbidden token");
    qn_sampler_accept(s, first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    char order[256];
    quern_logit_bias bias[MAX_BIAS];
    const quern_token breaker_tokens[] = {2, 0, 1};
    const qn_dry_breaker breakers[] = {{breaker_tokens, 1}, {breaker_tokens + 1, 2}};
    const size_t small = take(&in, 1),
                 n_vocab = 3 + (small < 248 ? small % 50 : take(&in, 2) % (MAX_VOCAB - 3));
    const quern_sampler_params p = take_params(&in, bias, order, sizeof order);
    const qn_kernels *kernels = qn_kernels_by_name("scalar");
    const qn_sampler_setup setup = {.params = &p,
                                    .n_vocab = n_vocab,
                                    .n_ctx = 64,
                                    .kernels = kernels,
                                    .breakers = breakers,
                                    .n_breakers = 2};
    const long alive = qn_alloc_live();
    qn_sampler *s;
    quern_error err = {0};
    if (qn_sampler_create(&s, &setup, &err) != QUERN_OK) {
        require(s == NULL && err.status == QUERN_ERR_ARGUMENT && err.message[0] != '\0',
                "refused without a reason");
        require(qn_alloc_live() == alive, "a leak");
        return 0;
    }
    uint32_t bits = take(&in, 1) % 4 == 0 ? take(&in, 2) : 0;
    uint64_t mask[(MAX_VOCAB + 63) / 64];
    mask_by_bit(mask, bits);
    if (bits != 0) qn_sampler_set_mask(s, mask);
    static float logits[MAX_VOCAB];
    for (size_t i = 0; i < n_vocab; i++) logits[i] = in.size > 0 ? take_float(&in) : logits[i / 2] * 0.75f;
    for (int i = 0; i < MAX_STEPS; i++) {
        step(s, &p, logits, n_vocab, bits);
        const uint32_t byte =
            take(&in, 1); /* forced tokens, now and then from outside of the vocabulary; another logit */
        if (byte % 8 == 1) qn_sampler_accept(s, (quern_token)byte - 20);
        if (byte % 8 == 2) qn_sampler_reset(s);
        if (byte % 8 == 3) logits[take(&in, 2) % n_vocab] = take_float(&in);
    }
    qn_sampler_destroy(s);
    require(qn_alloc_live() == alive, "a leak");
    return 0;
}
