/* draft_model.c: see draft_model.h. Of a slot's positions those are committed to the cache that are certainly
 * its text, all but the last token; behind them lie `ahead`, computed for guesses:
 *
 *     text     t0 t1 t2 t3 t4 t5          guesses  g1 g2 g3
 *     cache    t0 t1 t2 t3 t4 | t5 g1 g2                         | : committed up to here
 *
 * When the text has grown, those of `ahead` that it went on with are committed, the others written over. So
 * nothing is ever taken back from the cache, where a window may have let go of what stood before. */
#include "engine/draft_model.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "engine/step_pace.h"

#include <string.h>

enum {
    NEAR = 32,           /* tokens that are read together with the first guess */
    MOST_BATCH = 256,    /* tokens of texts that one step reads at most */
    LEAST_PIECE = 16,    /* and at least, if any */
    MOST_PADDING = 1024, /* tokens by which one vocabulary may be longer, filled up to a round number */
};
static const double FIRST_CREDIT_NS = 1e9, MOST_CREDIT_NS = 4e9, ALLOWANCE = 0.01;

typedef struct draft_slot {
    quern_token ahead[QN_MAX_DRAFT + 1]; /* [n_ahead] computed behind what is committed */
    size_t n_ahead;
    size_t n_in_step; /* positions to be committed when the step is done */
    bool is_mute;     /* the text has a token that this model does not have */
} draft_slot;

struct qn_draft_model {
    const quern_model *model;
    size_t n_vocab, n_vocab_target;
    qn_context_setup setup;
    qn_kv_cache *cache;
    qn_cpu *cpu;
    qn_step_pace pace;
    double credit_ns;
    draft_slot *slots; /* [n_sequences] */

    /* of the step that is being put together */
    quern_token *tokens;    /* [n_batch] */
    qn_segment *segments;   /* [n_segments] */
    int32_t *outputs;       /* [n_outputs] */
    qn_draft_text **asking; /* [n_outputs] texts whose next guess is in the row */
    qn_batch batch;
    qn_step_shape shape;
};

/* ---- the same tokens --------------------------------------------------------------------------- */

static quern_status check_vocabulary(const quern_model *draft, const quern_model *target, quern_error *err)
{
    const size_t n_draft = qn_vocab_size(draft->vocab), n_target = qn_vocab_size(target->vocab),
                 n = qn_min_size(n_draft, n_target);
    if (n_draft > n + MOST_PADDING || n_target > n + MOST_PADDING)
        return qn_fail(err, QUERN_ERR_ARGUMENT,
                       "draft model %s: has a vocabulary of %zu tokens, the model it shall guess for %zu",
                       draft->path, n_draft, n_target);
    for (size_t i = 0; i < n; i++) {
        const qn_string a = qn_vocab_token_text(draft->vocab, (quern_token)i),
                        b = qn_vocab_token_text(target->vocab, (quern_token)i);
        if (a.n_bytes != b.n_bytes || memcmp(a.bytes, b.bytes, a.n_bytes) != 0)
            return qn_fail(
                err, QUERN_ERR_ARGUMENT,
                "draft model %s: another vocabulary: token %zu is '%s', in the model it shall guess "
                "for '%s'",
                draft->path, i, qn_quote(a.bytes, a.n_bytes).text, qn_quote(b.bytes, b.n_bytes).text);
    }
    return QUERN_OK;
}

/* ---- life -------------------------------------------------------------------------------------- */

static quern_status set_up(qn_context_setup *setup, const qn_draft_model_params *p, quern_error *err)
{
    const qn_context_setup *of = p->setup;
    quern_context_params c = quern_context_params_default();
    if (!p->model->loaded)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "draft model %s: was opened without its weights",
                       p->model->path);
    quern_status s = check_vocabulary(p->model, p->target, err);
    if (s == QUERN_OK) s = qn_model_check_generates(p->model, err);
    if (s != QUERN_OK) return s;
    c.n_ctx = (uint32_t)of->cache.n_ctx;
    c.n_sequences = (uint32_t)of->cache.n_sequences;
    c.n_batch = (uint32_t)qn_max_size(MOST_BATCH, of->cache.n_sequences);
    c.n_threads = of->device.n_threads;
    s = qn_context_setup_init(setup, p->model, &c, err);
    setup->cache.type_k = of->cache.type_k;
    setup->cache.type_v = of->cache.type_v;
    setup->cache.n_positions = of->cache.n_positions;
    setup->device.pool = of->device.pool;
    return s;
}

quern_status qn_draft_model_plan(const qn_draft_model_params *p, uint64_t *n_bytes, quern_error *err)
{
    qn_context_setup setup;
    const quern_status s = set_up(&setup, p, err);
    if (s == QUERN_OK)
        *n_bytes = qn_kv_cache_bytes(&p->model->program, &setup.cache) +
                   qn_cpu_scratch_bytes(&p->model->program, &setup.device);
    return s;
}

quern_status qn_draft_model_create(qn_draft_model **out, const qn_draft_model_params *p, quern_error *err)
{
    qn_draft_model *d = *out = qn_calloc(1, sizeof *d);
    if (d == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "draft model: no memory");
    d->model = p->model;
    d->n_vocab = p->model->hparams.n_vocab;
    d->n_vocab_target = p->target->hparams.n_vocab;
    d->credit_ns = FIRST_CREDIT_NS;
    qn_step_pace_init(&d->pace);
    quern_status s = set_up(&d->setup, p, err);
    if (s == QUERN_OK) {
        d->slots = qn_calloc(d->setup.cache.n_sequences, sizeof *d->slots);
        d->tokens = qn_calloc(d->setup.device.n_batch, sizeof *d->tokens);
        d->segments = qn_calloc(d->setup.device.n_segments, sizeof *d->segments);
        d->outputs = qn_calloc(d->setup.device.n_outputs, sizeof *d->outputs);
        d->asking = qn_calloc(d->setup.device.n_outputs, sizeof *d->asking);
        if (d->slots == NULL || d->tokens == NULL || d->segments == NULL || d->outputs == NULL ||
            d->asking == NULL)
            s = qn_fail(err, QUERN_ERR_NOMEM, "draft model: no memory");
    }
    if (s == QUERN_OK) s = qn_kv_cache_create(&d->cache, &p->model->program, &d->setup.cache, err);
    if (s == QUERN_OK) qn_kv_cache_touch(d->cache);
    if (s == QUERN_OK)
        s = qn_cpu_create(&d->cpu, &p->model->program, p->model->kernels, &d->setup.device, err);
    if (s != QUERN_OK) qn_draft_model_destroy(d), *out = NULL;
    return s;
}

void qn_draft_model_destroy(qn_draft_model *d)
{
    if (d == NULL) return;
    qn_cpu_destroy(d->cpu);
    qn_kv_cache_destroy(d->cache);
    qn_free(d->slots), qn_free(d->tokens), qn_free(d->segments), qn_free(d->outputs), qn_free(d->asking);
    qn_free(d);
}

void qn_draft_model_forget(qn_draft_model *d, size_t slot)
{
    qn_kv_cache_truncate(d->cache, slot, 0);
    d->slots[slot] = (draft_slot){0};
}

/* ---- steps of the draft model ------------------------------------------------------------------ */

static void begin_step(qn_draft_model *d)
{
    d->batch = (qn_batch){.tokens = d->tokens, .segments = d->segments, .outputs = d->outputs};
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) d->batch.kv[g] = *qn_kv_cache_memory(d->cache, g);
    d->shape = (qn_step_shape){0};
}

/* Tokens of a slot at a position, for which pages are reserved. */
static void add_to_step(qn_draft_model *d, size_t slot, size_t position, const quern_token *tokens, size_t n)
{
    qn_batch *b = &d->batch;
    qn_segment *s = &d->segments[b->n_segments++];
    *s = (qn_segment){.position = (int32_t)position, .token_begin = b->n_tokens, .n_tokens = n};
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) s->pages[g] = qn_kv_cache_pages(d->cache, slot, g);
    memcpy(d->tokens + b->n_tokens, tokens, n * sizeof *tokens);
    b->n_tokens += n;
    qn_step_shape_add(&d->shape, n, position);
}

/* The last token added is asked what follows it. */
static void ask(qn_draft_model *d, qn_draft_text *text)
{
    d->asking[d->batch.n_outputs] = text;
    d->outputs[d->batch.n_outputs++] = (int32_t)(d->batch.n_tokens - 1);
}

/* Returns the nanoseconds that it took. Only then what a window no longer sees may go. */
static uint64_t run_step(qn_draft_model *d)
{
    const uint64_t start = qn_clock_ns();
    qn_cpu_step(d->cpu, &d->batch);
    const uint64_t ns = qn_clock_ns() - start;
    qn_step_pace_learn(&d->pace, &d->shape, ns);
    for (size_t slot = 0; slot < d->setup.cache.n_sequences; slot++) {
        if (d->slots[slot].n_in_step > 0) qn_kv_cache_commit(d->cache, slot, d->slots[slot].n_in_step);
        d->slots[slot].n_in_step = 0;
    }
    return ns;
}

static bool knows_all(const qn_draft_model *d, const quern_token *tokens, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((size_t)tokens[i] >= d->n_vocab) return false;
    return true;
}

/* Commits what was computed ahead and came true, but for the text's last token, whose logits are wanted. */
static void settle(qn_draft_model *d, const qn_draft_text *t)
{
    draft_slot *s = &d->slots[t->slot];
    const size_t length = qn_kv_cache_length(d->cache, t->slot);
    size_t n = 0;
    while (n < s->n_ahead && length + n + 1 < t->n_tokens && s->ahead[n] == t->tokens[length + n]) n++;
    qn_kv_cache_commit(d->cache, t->slot, n);
    s->n_ahead = 0;
}

/* ---- reading ----------------------------------------------------------------------------------- */

bool qn_draft_model_can_guess(const qn_draft_model *d, const qn_draft_text *t)
{
    return !d->slots[t->slot].is_mute && t->n_tokens - qn_kv_cache_length(d->cache, t->slot) <= NEAR;
}

/* Puts the next piece of a text into the step. */
static void read_piece(qn_draft_model *d, const qn_draft_text *t, uint64_t budget_ns)
{
    const size_t length = qn_kv_cache_length(d->cache, t->slot),
                 most = qn_min_size(t->n_tokens - 1 - length, d->setup.device.n_batch - d->batch.n_tokens),
                 least = d->batch.n_tokens == 0 ? qn_min_size(LEAST_PIECE, most) : 0,
                 n = qn_step_pace_fit(&d->pace, &d->shape, length, least, most, budget_ns);
    if (n == 0) return;
    d->slots[t->slot].is_mute = !knows_all(d, t->tokens + length, n);
    if (d->slots[t->slot].is_mute || !qn_kv_cache_reserve(d->cache, t->slot, n)) return;
    add_to_step(d, t->slot, length, t->tokens + length, n);
    d->slots[t->slot].n_in_step = n;
}

void qn_draft_model_read(qn_draft_model *d, const qn_draft_text *texts, size_t n_texts, uint64_t budget_ns,
                         bool is_free)
{
    begin_step(d);
    if (!is_free && d->credit_ns <= 0) return;
    for (size_t i = 0; i < n_texts && d->batch.n_tokens < d->setup.device.n_batch; i++) {
        const qn_draft_text *t = &texts[i];
        if (d->slots[t->slot].is_mute) continue;
        settle(d, t);
        if (!qn_draft_model_can_guess(d, t)) read_piece(d, t, budget_ns);
    }
    if (d->batch.n_tokens > 0) d->credit_ns -= (double)run_step(d);
}

void qn_draft_model_earn(qn_draft_model *d, double saved_ns)
{
    const double credit = d->credit_ns + saved_ns;
    d->credit_ns = credit < MOST_CREDIT_NS ? credit : MOST_CREDIT_NS;
}

void qn_draft_model_allow(qn_draft_model *d, uint64_t step_ns)
{
    if (d->credit_ns < FIRST_CREDIT_NS) d->credit_ns += ALLOWANCE * (double)step_ns;
}

/* ---- guessing ---------------------------------------------------------------------------------- */

double qn_draft_model_guess_ns(const qn_draft_model *d, size_t n_texts, size_t n_tokens)
{
    qn_step_shape shape = {0};
    for (size_t i = 0; i < n_texts; i++) qn_step_shape_add(&shape, 1, n_tokens);
    return n_texts > 0 ? qn_step_pace_expect(&d->pace, &shape) / (double)n_texts : 0;
}

/* The greatest logit, the first of equals. Blocks that cannot hold it are not read. */
static quern_token most_probable(const qn_draft_model *d, size_t row)
{
    const float *logits = qn_cpu_logits(d->cpu, row), *block_max = qn_cpu_logit_max(d->cpu, row);
    const size_t n_blocks = (d->n_vocab + QN_LOGIT_BLOCK - 1) / QN_LOGIT_BLOCK;
    size_t block = 0;
    for (size_t i = 1; i < n_blocks; i++)
        if (block_max[i] > block_max[block]) block = i;
    size_t best = block * QN_LOGIT_BLOCK;
    const size_t end = qn_min_size(best + QN_LOGIT_BLOCK, d->n_vocab);
    for (size_t i = best + 1; i < end; i++)
        if (logits[i] > logits[best]) best = i;
    return (quern_token)best;
}

/* Puts what is not read yet of a text into the step, and asks what follows; nothing where there is no room.
 */
static void begin_text(qn_draft_model *d, qn_draft_text *t)
{
    draft_slot *s = &d->slots[t->slot];
    t->n_guessed = 0;
    t->most = qn_min_size(t->most, QN_MAX_DRAFT);
    if (t->most == 0 || !qn_draft_model_can_guess(d, t)) return;
    settle(d, t);
    const size_t length = qn_kv_cache_length(d->cache, t->slot), n = t->n_tokens - length;
    t->most = qn_min_size(t->most, d->setup.cache.n_ctx - t->n_tokens + 1);
    s->is_mute = !knows_all(d, t->tokens + length, n);
    if (s->is_mute || n > d->setup.device.n_batch - d->batch.n_tokens ||
        n + t->most - 1 > d->setup.cache.n_batch || !qn_kv_cache_reserve(d->cache, t->slot, n + t->most - 1))
        return;
    add_to_step(d, t->slot, length, t->tokens + length, n);
    ask(d, t);
    s->n_in_step = n - 1;
    s->ahead[0] = t->tokens[t->n_tokens - 1];
    s->n_ahead = 1;
}

/* Takes the guess of a row. False: no more are wanted of this text, or none can follow. */
static bool take_guess(const qn_draft_model *d, qn_draft_text *t, size_t row)
{
    const quern_token token = most_probable(d, row);
    if ((size_t)token >= d->n_vocab_target) return false;
    t->guess[t->n_guessed++] = token;
    return t->n_guessed < t->most && !qn_vocab_is_end(d->model->vocab, token);
}

void qn_draft_model_guess(qn_draft_model *d, qn_draft_text *texts, size_t n_texts)
{
    begin_step(d);
    for (size_t i = 0; i < n_texts; i++) begin_text(d, &texts[i]);
    while (d->batch.n_tokens > 0) {
        const size_t n_asking = d->batch.n_outputs;
        run_step(d);
        begin_step(d);
        for (size_t row = 0; row < n_asking; row++) {
            qn_draft_text *t = d->asking[row];
            draft_slot *s = &d->slots[t->slot];
            if (!take_guess(d, t, row)) continue;
            const quern_token token = t->guess[t->n_guessed - 1];
            add_to_step(d, t->slot, t->n_tokens + t->n_guessed - 1, &token, 1);
            ask(d, t); /* rows before this one have been taken */
            s->ahead[s->n_ahead++] = token;
        }
    }
}
