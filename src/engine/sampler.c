/* sampler.c: samplers behind the public interface: parameters completed, sequence breakers turned into
 * tokens. */
#include "sample/sampler.h"
#include "base/alloc.h"
#include "engine/grammar.h"
#include "engine/sampler.h"
#include "engine/sequence_breakers.h"

#include <string.h>

struct quern_sampler {
    qn_sampler *sampler;
    const quern_model *model;
    const quern_grammar *grammar; /* or NULL */
    qn_matcher *matcher;          /* lent by the grammar */
    bool is_stuck;                /* the last draw found no token to go on with */
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
    s->model = m;
    const quern_status status = create(&s->sampler, m, &p, err);
    if (status != QUERN_OK) quern_sampler_destroy(s), *out = NULL;
    return status;
}

static void end_constraint(quern_sampler *s)
{
    if (s->grammar != NULL) qn_grammar_give_back(s->grammar, s->model, s->matcher);
    s->grammar = NULL;
    s->matcher = NULL;
    s->is_stuck = false;
}

void quern_sampler_destroy(quern_sampler *s)
{
    if (s == NULL) return;
    end_constraint(s);
    qn_sampler_destroy(s->sampler);
    qn_free(s);
}

quern_status quern_sampler_constrain(quern_sampler *s, const quern_grammar *grammar, bool at_start,
                                     quern_error *err)
{
    end_constraint(s);
    if (grammar == NULL) return QUERN_OK;
    const quern_status status = qn_grammar_borrow(grammar, s->model, &s->matcher, err);
    if (status != QUERN_OK) return status;
    s->grammar = grammar;
    qn_matcher_begin(s->matcher, at_start && qn_vocab_special_ids(s->model->vocab)->add_space_prefix);
    return QUERN_OK;
}

quern_status quern_sampler_status(const quern_sampler *s, quern_error *err)
{
    const quern_status status = s->matcher != NULL ? qn_matcher_status(s->matcher, err) : QUERN_OK;
    if (status != QUERN_OK || !s->is_stuck) return status;
    return qn_fail(err, QUERN_ERR_UNSUPPORTED, "grammar: no token of this model's vocabulary can come next");
}

quern_token qn_sample_row(quern_sampler *s, float *logits, const float *block_max)
{
    const qn_token_mask *mask = s->matcher != NULL ? qn_matcher_mask(s->matcher) : NULL;
    s->is_stuck = s->matcher != NULL && (mask == NULL || mask->is_empty);
    if (s->is_stuck) return -1;
    qn_sampler_set_mask(s->sampler, mask != NULL ? mask->bits : NULL);
    return qn_sampler_sample(s->sampler, logits, block_max);
}

quern_token quern_sampler_sample(quern_sampler *s, float *logits)
{
    return qn_sample_row(s, logits, NULL);
}
void quern_sampler_accept(quern_sampler *s, quern_token token)
{
    qn_sampler_accept(s->sampler, token);
    if (s->matcher != NULL) qn_matcher_accept(s->matcher, token);
}
void quern_sampler_reset(quern_sampler *s)
{
    end_constraint(s);
    qn_sampler_reset(s->sampler);
}

qn_matcher *qn_sampler_matcher(quern_sampler *s)
{
    return s->matcher;
}

quern_token qn_sample_only(quern_sampler *s)
{
    const qn_token_mask *mask = s->matcher != NULL ? qn_matcher_mask(s->matcher) : NULL;
    return mask != NULL && mask->only >= 0 && qn_sampler_draw_only(s->sampler, mask->only) ? mask->only : -1;
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
