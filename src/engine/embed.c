/* embed.c: texts to vectors. Steps are filled with texts, whole ones where tokens see both ways; what the
 * device leaves as final hidden states is pooled text by text and token by token (pooling.h). */
#include "base/checked.h"
#include "engine/pooling.h"

#include <assert.h>
#include <string.h>

typedef struct embed_run {
    const quern_model *model;
    qn_context_parts parts;
    quern_embed_params params;
    const quern_embed_text *texts;
    size_t n_texts, n_ctx;
    size_t text, done;     /* the next token to be read: of which text, and how many of it are */
    size_t pooled, n_seen; /* the same for hidden states that were pooled */
    qn_pooler pooler;
    float *out; /* where the vector of that text goes */
} embed_run;

quern_embed_params quern_embed_params_default(void)
{
    return (quern_embed_params){.struct_bytes = sizeof(quern_embed_params)};
}

/* ---- checking ---------------------------------------------------------------------------------- */

/* Tokens of a text that are read. */
static size_t length_of(const embed_run *r, size_t text)
{
    return qn_min_size(r->texts[text].n_tokens, r->n_ctx);
}

static quern_status check_text(const embed_run *r, size_t i, quern_error *err)
{
    const quern_embed_text *t = &r->texts[i];
    if (t->n_tokens == 0) return qn_fail(err, QUERN_ERR_ARGUMENT, "text %zu: no tokens", i);
    if (t->n_tokens > r->n_ctx && !r->params.truncate)
        return qn_fail(
            err, QUERN_ERR_CTX_FULL,
            "text %zu: %zu tokens do not fit into the context of %zu (cut it, or use a larger -c if "
            "the model allows)",
            i, t->n_tokens, r->n_ctx);
    for (size_t k = 0; k < t->n_tokens; k++)
        if (t->tokens[k] < 0 || (uint32_t)t->tokens[k] >= r->model->hparams.n_vocab)
            return qn_fail(err, QUERN_ERR_ARGUMENT, "text %zu: token %d at %zu: the vocabulary has %u", i,
                           t->tokens[k], k, r->model->hparams.n_vocab);
    return QUERN_OK;
}

static quern_status check(const embed_run *r, size_t n_out, quern_error *err)
{
    size_t wanted = 0;
    for (size_t i = 0; i < r->n_texts; i++) {
        const quern_status s = check_text(r, i, err);
        if (s != QUERN_OK) return s;
        if (!qn_add_size(wanted, quern_embed_size(r->model, r->pooler.pooling, length_of(r, i)), &wanted))
            wanted = SIZE_MAX;
        if (wanted > n_out)
            return qn_fail(err, QUERN_ERR_ARGUMENT, "room for %zu values, but %zu texts give more", n_out,
                           r->n_texts);
    }
    return QUERN_OK;
}

/* ---- pooling ----------------------------------------------------------------------------------- */

/* The next hidden state. */
static void pool(embed_run *r, const float *hidden)
{
    const size_t n_tokens = length_of(r, r->pooled);
    if (r->n_seen == 0) qn_pooler_begin(&r->pooler, r->model, n_tokens, r->out);
    qn_pooler_add(&r->pooler, r->n_seen++, hidden);
    if (r->n_seen < n_tokens) return;
    r->out += qn_pooler_size(&r->pooler, r->model, n_tokens);
    r->pooled++, r->n_seen = 0;
}

/* ---- steps ------------------------------------------------------------------------------------- */

/* Where a text's keys and values are: texts of one step follow each other, so that no two have the same. */
static size_t sequence_of(const embed_run *r, size_t text)
{
    return text % r->parts.setup->cache.n_sequences;
}

/* The next piece of the next text, if there is room for it; returns its tokens. */
static size_t add_segment(embed_run *r, qn_batch *b)
{
    const qn_context_parts *p = &r->parts;
    const quern_embed_text *t = &r->texts[r->text];
    const size_t length = length_of(r, r->text), room = p->setup->device.n_batch - b->n_tokens,
                 sequence = sequence_of(r, r->text);
    if (!r->model->hparams.causal && length > room) return 0; /* a step of its own has room */
    const size_t n = qn_min_size(length - r->done, room);
    if (n == 0) return 0;
    memcpy(p->tokens + b->n_tokens, t->tokens + r->done, n * sizeof *p->tokens);
    if (r->done + n == length) p->tokens[b->n_tokens + n - 1] = t->tokens[t->n_tokens - 1];
    const bool has_pages = qn_kv_cache_reserve(p->cache, sequence, n);
    assert(has_pages); /* the context was made so */
    (void)has_pages;
    qn_segment *s = &p->segments[b->n_segments++];
    *s = (qn_segment){.position = (int32_t)r->done, .token_begin = b->n_tokens, .n_tokens = n};
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) s->pages[g] = qn_kv_cache_pages(p->cache, sequence, g);
    b->n_tokens += n;
    r->done += n;
    if (r->done == length) r->text++, r->done = 0;
    return n;
}

static void step(embed_run *r)
{
    const qn_context_parts *p = &r->parts;
    qn_batch b = {.tokens = p->tokens, .segments = p->segments, .hidden = true};
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) b.kv[g] = *qn_kv_cache_memory(p->cache, g);
    const size_t first = r->text;
    while (r->text < r->n_texts && b.n_segments < p->setup->device.n_segments && add_segment(r, &b) > 0) {
    }
    qn_cpu_step(p->cpu, &b);
    for (size_t i = 0; i < b.n_segments; i++)
        qn_kv_cache_commit(p->cache, sequence_of(r, first + i), b.segments[i].n_tokens);
    for (size_t i = first; i < r->text; i++) qn_kv_cache_truncate(p->cache, sequence_of(r, i), 0);
    for (size_t i = 0; i < b.n_tokens; i++) pool(r, qn_cpu_hidden(p->cpu, i));
}

quern_status quern_embed(quern_context *ctx, const quern_embed_text *texts, size_t n_texts,
                         const quern_embed_params *params, float *out, size_t n_out, quern_error *err)
{
    embed_run r = {.model = quern_context_model(ctx),
                   .params = quern_embed_params_default(),
                   .texts = texts,
                   .n_texts = n_texts,
                   .n_ctx = quern_context_size(ctx),
                   .out = out};
    if (params != NULL) memcpy(&r.params, params, qn_min_size(params->struct_bytes, sizeof r.params));
    quern_status s = qn_pooler_init(&r.pooler, r.model, r.params.pooling, r.params.normalize, err);
    if (s == QUERN_OK) s = check(&r, n_out, err);
    if (s == QUERN_OK) r.parts = qn_context_begin(ctx);
    while (s == QUERN_OK && r.text < n_texts) {
        if (qn_context_is_canceled(ctx)) s = qn_fail(err, QUERN_ERR_CANCELED, "stopped");
        else step(&r);
    }
    if (s == QUERN_ERR_CANCELED) qn_context_begin(ctx); /* a text may have been half read */
    qn_pooler_deinit(&r.pooler);
    return s;
}
