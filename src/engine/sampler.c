/* sampler.c: samplers behind the public interface: parameters completed, sequence breakers turned into
 * tokens. */
#include "sample/sampler.h"
#include "base/alloc.h"
#include "engine/model.h"
#include "engine/sequence_breakers.h"

#include <string.h>

struct quern_sampler {
    qn_sampler *sampler;
};

enum { CONTEXT_OF_UNKNOWN_SIZE = 4096 }; /* for models of which only the tokenizer was read */

static quern_status create(qn_sampler **out, const quern_model *m, const quern_sampler_params *p,
                           quern_error *err)
{
    qn_sequence_breakers breakers = {0};
    quern_status s = QUERN_OK;
    if (qn_sampler_wants_breakers(p))
        s = qn_sequence_breakers_init(&breakers, m->vocab, p->dry_sequence_breakers,
                                      p->n_dry_sequence_breakers, err);
    const qn_sampler_setup setup = {
        .params = p,
        .n_vocab = qn_vocab_size(m->vocab), /* rows of logits beyond it have no text and are never drawn */
        .n_ctx = m->hparams.n_ctx_train > 0 ? m->hparams.n_ctx_train : CONTEXT_OF_UNKNOWN_SIZE,
        .kernels = m->kernels,
        .breakers = breakers.items,
        .n_breakers = breakers.n_items};
    if (s == QUERN_OK) s = qn_sampler_create(out, &setup, err);
    qn_sequence_breakers_deinit(&breakers);
    return s;
}

quern_status quern_sampler_create(quern_sampler **out, const quern_model *m,
                                  const quern_sampler_params *params, quern_error *err)
{
    quern_sampler_params p = quern_sampler_params_default();
    if (params != NULL) memcpy(&p, params, params->struct_bytes < sizeof p ? params->struct_bytes : sizeof p);
    quern_sampler *s = *out = qn_calloc(1, sizeof *s);
    if (s == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "sampler: no memory");
    const quern_status status = create(&s->sampler, m, &p, err);
    if (status != QUERN_OK) quern_sampler_destroy(s), *out = NULL;
    return status;
}

void quern_sampler_destroy(quern_sampler *s)
{
    if (s == NULL) return;
    qn_sampler_destroy(s->sampler);
    qn_free(s);
}

quern_token quern_sampler_sample(quern_sampler *s, float *logits)
{
    return qn_sampler_sample(s->sampler, logits, NULL);
}
quern_token qn_sample_output(quern_sampler *s, quern_context *c, size_t i)
{
    return qn_sampler_sample(s->sampler, quern_logits(c, i), qn_context_logit_max(c, i));
}
void quern_sampler_accept(quern_sampler *s, quern_token token)
{
    qn_sampler_accept(s->sampler, token);
}
void quern_sampler_reset(quern_sampler *s)
{
    qn_sampler_reset(s->sampler);
}
uint64_t quern_sampler_seed(const quern_sampler *s)
{
    return qn_sampler_seed(s->sampler);
}

quern_status quern_sampler_describe(const quern_sampler *s, char **text, quern_error *err)
{
    qn_buffer out = {0};
    qn_sampler_describe(s->sampler, &out);
    *text = qn_buffer_take(&out, NULL);
    return *text != NULL ? QUERN_OK : qn_fail(err, QUERN_ERR_NOMEM, "sampler: no memory to describe it");
}
