/* context.c: sequences and steps. A call is cut into steps of at most n_batch tokens; a step may hold
 * tokens of several sequences. How it is cut changes no bit of the logits (contract C4). */
#include "engine/model.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/memory.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

_Static_assert((int)QN_OPS <= (int)QUERN_MAX_PROFILE_ROWS, "a row for every kind of instruction");
enum { MAX_SEQUENCES = 4096, MAX_BATCH = 1 << 16 };
static const size_t MAX_POSITIONS = (size_t)1 << 34; /* sizes stay far below overflow */

struct quern_context {
    const quern_model *model;
    qn_context_setup setup;
    qn_kv_cache *cache;
    qn_cpu *cpu;
    quern_token *tokens;  /* [n_batch] of the step */
    qn_segment *segments; /* [n_sequences] */
    int32_t *outputs;     /* [n_outputs] */
    quern_token *history; /* [n_sequences][n_ctx] what each sequence holds */
    size_t n_logits;      /* rows that the last call has */
    qn_op_count *profile; /* [n_code] or NULL */
    atomic_bool canceled;
};

quern_context_params quern_context_params_default(void)
{
    return (quern_context_params){
        .struct_bytes = sizeof(quern_context_params), .n_sequences = 1, .n_batch = 512};
}

static const qn_tensor_type kv_types[] = {[QUERN_KV_F16] = QN_TYPE_F16,
                                          [QUERN_KV_F32] = QN_TYPE_F32,
                                          [QUERN_KV_Q8_0] = QN_TYPE_Q8_0,
                                          [QUERN_KV_BF16] = QN_TYPE_BF16,
                                          [QUERN_KV_Q4_0] = QN_TYPE_Q4_0};

/* Bytes of the tokens that all sequences hold. */
static size_t history_bytes(const qn_context_setup *setup)
{
    return setup->cache.n_sequences * setup->cache.n_ctx *
           sizeof(quern_token); /* both are bounded: at most 2^44 */
}

static quern_status check_kv_type(quern_kv_type type, quern_error *err)
{
    if ((size_t)type >= sizeof kv_types / sizeof kv_types[0])
        return qn_fail(err, QUERN_ERR_ARGUMENT, "cache type %d: unknown", (int)type);
    return QUERN_OK;
}

/* What one step reads is all there ever is; each text may begin a page. */
static void size_for_whole_texts(qn_context_setup *s, size_t n_batch)
{
    s->device.n_batch = s->cache.n_batch = n_batch;
    s->device.n_segments = qn_min_size(s->cache.n_sequences, n_batch);
    s->cache.n_positions = qn_min_size(n_batch + s->device.n_segments * QN_PAGE_POSITIONS,
                                       s->cache.n_sequences * qn_round_up(s->cache.n_ctx, QN_PAGE_POSITIONS));
}

quern_status qn_context_setup_init(qn_context_setup *setup, const quern_model *m,
                                   const quern_context_params *given, quern_error *err)
{
    quern_context_params p = quern_context_params_default();
    if (given != NULL) memcpy(&p, given, given->struct_bytes < sizeof p ? given->struct_bytes : sizeof p);
    if (!m->has_program)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: was opened for its vocabulary only", m->path);
    if (p.n_ctx == 0) p.n_ctx = m->hparams.n_ctx_train < 4096 ? m->hparams.n_ctx_train : 4096;
    if (p.n_threads <= 0) p.n_threads = qn_default_threads();
    if (p.n_ctx > INT32_MAX / 2)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "context of %u positions (at most %d are possible)", p.n_ctx,
                       INT32_MAX / 2);
    if (p.n_sequences < 1 || p.n_sequences > MAX_SEQUENCES)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%u sequences (1 to %d are possible)", p.n_sequences,
                       MAX_SEQUENCES);
    if (p.n_batch < 1 || p.n_batch > MAX_BATCH)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "batch of %u tokens (1 to %d are possible)", p.n_batch,
                       MAX_BATCH);
    if (!m->hparams.causal && p.n_ctx > MAX_BATCH)
        return qn_fail(err, QUERN_ERR_ARGUMENT,
                       "context of %u positions: texts are read at once, at most %d are possible", p.n_ctx,
                       MAX_BATCH);
    if (m->weights.position_embedding != NULL && p.n_ctx > m->hparams.n_ctx_train)
        return qn_fail(err, QUERN_ERR_ARGUMENT,
                       "context of %u positions: the model has a table of %u (-c %u)", p.n_ctx,
                       m->hparams.n_ctx_train, m->hparams.n_ctx_train);
    if (p.n_threads > QN_MAX_THREADS)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%d threads (1 to %d are possible)", p.n_threads,
                       QN_MAX_THREADS);
    quern_status s = check_kv_type(p.type_k, err);
    if (s == QUERN_OK) s = check_kv_type(p.type_v, err);
    if (s != QUERN_OK) return s;
    const size_t all = (size_t)p.n_sequences * p.n_ctx;
    if (all > MAX_POSITIONS)
        return qn_fail(err, QUERN_ERR_ARGUMENT,
                       "%u sequences of %u positions are too many (%zu positions are possible)",
                       p.n_sequences, p.n_ctx, MAX_POSITIONS);
    setup->memory_limit = p.memory_limit > 0 ? p.memory_limit : qn_memory_available();
    const size_t n_batch = qn_min_size(m->hparams.causal ? p.n_batch : qn_max_size(p.n_batch, p.n_ctx), all);
    if (p.n_outputs == 0) p.n_outputs = p.n_sequences;
    setup->device = (qn_device_params){.n_threads = p.n_threads,
                                       .n_batch = n_batch,
                                       .n_segments = qn_min_size(p.n_sequences, n_batch),
                                       .n_outputs = qn_min_size(p.n_outputs, all),
                                       .n_ctx = p.n_ctx};
    setup->cache = (qn_kv_cache_params){.n_sequences = p.n_sequences,
                                        .n_ctx = p.n_ctx,
                                        .n_batch = n_batch,
                                        .type_k = kv_types[p.type_k],
                                        .type_v = kv_types[p.type_v]};
    if (!m->hparams.causal) size_for_whole_texts(setup, n_batch);
    return QUERN_OK;
}

bool qn_model_generates(const quern_model *m)
{
    return m->hparams.causal && m->weights.output.n_rows > 0;
}

quern_status qn_model_check_generates(const quern_model *m, quern_error *err)
{
    if (!m->has_program || qn_model_generates(m)) return QUERN_OK;
    return qn_fail(
        err, QUERN_ERR_ARGUMENT,
        "%s: a model of architecture '%s' that makes embeddings, it cannot continue texts (quern embed)",
        m->path, m->architecture);
}

quern_status quern_model_plan(const quern_model *m, const quern_context_params *params, quern_plan *plan,
                              quern_error *err)
{
    qn_context_setup setup;
    const quern_status s = qn_context_setup_init(&setup, m, params, err);
    if (s != QUERN_OK) return s;
    *plan = (quern_plan){.weight_bytes = m->weights.arena.used,
                         .mapped_bytes = m->weights.mapped_bytes + m->weights.embedding->n_bytes,
                         .kv_bytes = qn_kv_cache_bytes(&m->program, &setup.cache),
                         .scratch_bytes =
                             qn_cpu_scratch_bytes(&m->program, &setup.device) + history_bytes(&setup),
                         .n_ctx = (uint32_t)setup.cache.n_ctx};
    plan->total_bytes = plan->weight_bytes + plan->kv_bytes + plan->scratch_bytes;
    return QUERN_OK;
}

static uint64_t bytes_of(const quern_model *m, const qn_context_setup *s)
{
    return qn_kv_cache_bytes(&m->program, &s->cache) + qn_cpu_scratch_bytes(&m->program, &s->device);
}

/* Refuses up front what cannot fit, and says what would (contract C6). */
static quern_status check_memory(const quern_model *m, const qn_context_setup *setup, uint64_t limit,
                                 quern_error *err)
{
    const uint64_t wanted = bytes_of(m, setup);
    if (wanted <= limit) return QUERN_OK;
    size_t fits = 0;
    for (size_t low = 0, high = setup->cache.n_ctx; low < high;) { /* bytes grow with the context */
        qn_context_setup smaller = *setup;
        const size_t middle = low + (high - low) / 2 + 1;
        smaller.cache.n_ctx = smaller.device.n_ctx = middle;
        if (!m->hparams.causal) size_for_whole_texts(&smaller, qn_min_size(setup->device.n_batch, middle));
        if (bytes_of(m, &smaller) <= limit) low = fits = middle;
        else high = middle - 1;
    }
    if (fits < 64)
        return qn_fail(
            err, QUERN_ERR_NOMEM,
            "context of %zu positions takes %llu bytes, but only %llu are available (close other programs)",
            setup->cache.n_ctx, (unsigned long long)wanted, (unsigned long long)limit);
    return qn_fail(
        err, QUERN_ERR_NOMEM,
        "context of %zu positions takes %llu bytes, but only %llu are available (-c %zu would fit)",
        setup->cache.n_ctx, (unsigned long long)wanted, (unsigned long long)limit, fits / 64 * 64);
}

quern_status quern_context_create(quern_context **out, const quern_model *m,
                                  const quern_context_params *params, quern_error *err)
{
    *out = NULL;
    qn_context_setup setup;
    quern_status s = qn_context_setup_init(&setup, m, params, err);
    if (s == QUERN_OK && !m->loaded)
        s = qn_fail(err, QUERN_ERR_ARGUMENT, "%s: was opened without its weights", m->path);
    if (s == QUERN_OK) s = check_memory(m, &setup, setup.memory_limit, err);
    if (s != QUERN_OK) return s;
    quern_context *c = qn_calloc(1, sizeof *c);
    if (c == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "context: no memory");
    c->model = m;
    c->setup = setup;
    c->tokens = qn_calloc(setup.device.n_batch, sizeof *c->tokens);
    c->segments = qn_calloc(setup.device.n_segments, sizeof *c->segments);
    c->outputs = qn_calloc(setup.device.n_outputs, sizeof *c->outputs);
    if (c->tokens == NULL || c->segments == NULL || c->outputs == NULL)
        s = qn_fail(err, QUERN_ERR_NOMEM, "context: no memory");
    if (s == QUERN_OK) s = qn_kv_cache_create(&c->cache, &m->program, &setup.cache, err);
    if (s == QUERN_OK && (c->history = qn_alloc_pages(history_bytes(&setup))) == NULL)
        s = qn_fail(err, QUERN_ERR_NOMEM, "context: %zu bytes for tokens: no memory", history_bytes(&setup));
    if (s == QUERN_OK) s = qn_cpu_create(&c->cpu, &m->program, m->kernels, &setup.device, err);
    if (s != QUERN_OK) {
        quern_context_destroy(c);
        return s;
    }
    *out = c;
    return QUERN_OK;
}

void quern_context_destroy(quern_context *c)
{
    if (c == NULL) return;
    qn_cpu_destroy(c->cpu);
    qn_kv_cache_destroy(c->cache);
    qn_free_pages(c->history, c->history != NULL ? history_bytes(&c->setup) : 0);
    qn_free(c->tokens);
    qn_free(c->segments);
    qn_free(c->outputs);
    qn_free(c->profile);
    qn_free(c);
}

uint32_t quern_context_size(const quern_context *c)
{
    return (uint32_t)c->setup.cache.n_ctx;
}
int quern_context_threads(const quern_context *c)
{
    return c->setup.device.n_threads;
}
const quern_model *quern_context_model(const quern_context *c)
{
    return c->model;
}
void quern_cancel(quern_context *c)
{
    atomic_store(&c->canceled, true);
}

uint32_t quern_sequence_length(const quern_context *c, uint32_t sequence)
{
    return sequence < c->setup.cache.n_sequences ? (uint32_t)qn_kv_cache_length(c->cache, sequence) : 0;
}

const quern_token *quern_sequence_tokens(const quern_context *c, uint32_t sequence)
{
    return sequence < c->setup.cache.n_sequences ? c->history + sequence * c->setup.cache.n_ctx : NULL;
}

bool qn_context_sequence(quern_context *c, uint32_t sequence, qn_sequence_parts *parts)
{
    if (sequence >= c->setup.cache.n_sequences) return false;
    c->n_logits = 0;
    *parts = (qn_sequence_parts){.cache = c->cache,
                                 .tokens = c->history + sequence * c->setup.cache.n_ctx,
                                 .type_k = c->setup.cache.type_k,
                                 .type_v = c->setup.cache.type_v};
    return true;
}

qn_context_parts qn_context_begin(quern_context *c)
{
    c->n_logits = 0;
    atomic_store(&c->canceled, false);
    for (size_t i = 0; i < c->setup.cache.n_sequences; i++) qn_kv_cache_truncate(c->cache, i, 0);
    return (qn_context_parts){
        .setup = &c->setup, .cache = c->cache, .cpu = c->cpu, .tokens = c->tokens, .segments = c->segments};
}
bool qn_context_is_canceled(const quern_context *c)
{
    return atomic_load(&c->canceled);
}

void quern_context_bytes(const quern_context *c, uint64_t *kv_bytes, uint64_t *scratch_bytes)
{
    *kv_bytes = qn_kv_cache_taken_bytes(c->cache);
    *scratch_bytes = qn_cpu_taken_bytes(c->cpu) + history_bytes(&c->setup);
}

uint32_t quern_sequence_truncate(quern_context *c, uint32_t sequence, uint32_t n)
{
    return sequence < c->setup.cache.n_sequences ? (uint32_t)qn_kv_cache_truncate(c->cache, sequence, n) : 0;
}

/* Everything is checked before anything changes. */
static quern_status check_inputs(const quern_context *c, const quern_input *inputs, size_t n_inputs,
                                 quern_error *err)
{
    size_t n_outputs = 0;
    if (n_inputs > c->setup.cache.n_sequences)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%zu inputs for %zu sequences", n_inputs,
                       c->setup.cache.n_sequences);
    for (size_t i = 0; i < n_inputs; i++) {
        const quern_input *in = &inputs[i];
        if (in->sequence >= c->setup.cache.n_sequences)
            return qn_fail(err, QUERN_ERR_ARGUMENT, "sequence %u: there are %zu", in->sequence,
                           c->setup.cache.n_sequences);
        for (size_t k = 0; k < i; k++)
            if (inputs[k].sequence == in->sequence)
                return qn_fail(err, QUERN_ERR_ARGUMENT, "sequence %u: twice in one call", in->sequence);
        if (in->n_tokens == 0)
            return qn_fail(err, QUERN_ERR_ARGUMENT, "sequence %u: no tokens", in->sequence);
        const size_t length = qn_kv_cache_length(c->cache, in->sequence);
        if (in->n_tokens > c->setup.cache.n_ctx - length)
            return qn_fail(err, QUERN_ERR_CTX_FULL,
                           "%zu tokens after %zu do not fit into the context of %zu (use a larger -c, or a "
                           "shorter text)",
                           in->n_tokens, length, c->setup.cache.n_ctx);
        for (size_t k = 0; k < in->n_tokens; k++)
            if (in->tokens[k] < 0 || (uint32_t)in->tokens[k] >= c->model->hparams.n_vocab)
                return qn_fail(err, QUERN_ERR_ARGUMENT, "token %d at %zu: the vocabulary has %u",
                               in->tokens[k], k, c->model->hparams.n_vocab);
        n_outputs += in->logits == QUERN_LOGITS_ALL ? in->n_tokens : in->logits == QUERN_LOGITS_LAST ? 1 : 0;
    }
    if (n_outputs > c->setup.device.n_outputs)
        return qn_fail(err, QUERN_ERR_ARGUMENT,
                       "logits of %zu positions wanted, the context was made for %zu (n_outputs)", n_outputs,
                       c->setup.device.n_outputs);
    return QUERN_OK;
}

/* Fills the step with tokens from *input on, token *offset of it; returns the number of tokens. */
static size_t fill_step(quern_context *c, const quern_input *inputs, size_t n_inputs, size_t *input,
                        size_t *offset, qn_batch *b)
{
    size_t n_tokens = 0;
    while (*input < n_inputs && n_tokens < c->setup.device.n_batch &&
           b->n_segments < c->setup.device.n_segments) {
        const quern_input *in = &inputs[*input];
        const size_t n = qn_min_size(in->n_tokens - *offset, c->setup.device.n_batch - n_tokens);
        memcpy(c->tokens + n_tokens, in->tokens + *offset, n * sizeof *c->tokens);
        const size_t position = qn_kv_cache_length(c->cache, in->sequence);
        memcpy(c->history + in->sequence * c->setup.cache.n_ctx + position, in->tokens + *offset,
               n * sizeof *c->history);
        const bool has_pages = qn_kv_cache_reserve(c->cache, in->sequence, n);
        assert(has_pages); /* n_positions is 0, and nobody but the sequences holds pages */
        (void)has_pages;
        qn_segment *s = &c->segments[b->n_segments++];
        *s = (qn_segment){.position = (int32_t)position, .token_begin = n_tokens, .n_tokens = n};
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
            s->pages[g] = qn_kv_cache_pages(c->cache, in->sequence, g);
        for (size_t k = 0; k < n; k++)
            if (in->logits == QUERN_LOGITS_ALL ||
                (in->logits == QUERN_LOGITS_LAST && *offset + k + 1 == in->n_tokens))
                c->outputs[b->n_outputs++] = (int32_t)(n_tokens + k);
        n_tokens += n;
        *offset += n;
        if (*offset == in->n_tokens) ++*input, *offset = 0;
    }
    return n_tokens;
}

static void commit_step(quern_context *c, const quern_input *inputs, size_t first_input, const qn_batch *b)
{
    for (size_t s = 0; s < b->n_segments; s++)
        qn_kv_cache_commit(c->cache, inputs[first_input + s].sequence, b->segments[s].n_tokens);
}

quern_status quern_decode(quern_context *c, const quern_input *inputs, size_t n_inputs, quern_error *err)
{
    quern_status s = qn_model_check_generates(c->model, err);
    if (s == QUERN_OK) s = check_inputs(c, inputs, n_inputs, err);
    if (s != QUERN_OK) return s;
    size_t input = 0, offset = 0;
    c->n_logits = 0;
    atomic_store(&c->canceled, false);
    while (input < n_inputs) {
        if (atomic_load(&c->canceled)) return qn_fail(err, QUERN_ERR_CANCELED, "stopped");
        const size_t first_input = input;
        qn_batch b = {
            .tokens = c->tokens, .segments = c->segments, .outputs = c->outputs, .first_logits = c->n_logits};
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++) b.kv[g] = *qn_kv_cache_memory(c->cache, g);
        b.n_tokens = fill_step(c, inputs, n_inputs, &input, &offset, &b);
        qn_cpu_step(c->cpu, &b);
        commit_step(c, inputs, first_input, &b);
        c->n_logits += b.n_outputs;
    }
    return QUERN_OK;
}

float *quern_logits(quern_context *c, size_t i)
{
    return i < c->n_logits ? qn_cpu_logits(c->cpu, i) : NULL;
}

const float *qn_context_logit_max(const quern_context *c, size_t i)
{
    return qn_cpu_logit_max(c->cpu, i);
}

quern_status quern_context_profile_start(quern_context *c, quern_error *err)
{
    const size_t n_code = c->model->program.n_code;
    if (c->profile == NULL) c->profile = qn_calloc(n_code, sizeof *c->profile);
    if (c->profile == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "profile: no memory");
    memset(c->profile, 0, n_code * sizeof *c->profile);
    qn_cpu_profile(c->cpu, c->profile);
    return QUERN_OK;
}

void quern_context_profile_stop(quern_context *c, quern_profile *profile)
{
    qn_op_count by_op[QN_OPS] = {0};
    qn_cpu_profile(c->cpu, NULL);
    profile->n_rows = 0;
    for (size_t i = 0; c->profile != NULL && i < c->model->program.n_code; i++) {
        qn_op_count *sum = &by_op[c->model->program.code[i].op];
        const qn_op_count *one = &c->profile[i];
        sum->ns += one->ns;
        sum->calls += one->calls;
        sum->weight_bytes += one->weight_bytes;
        sum->kv_bytes += one->kv_bytes;
        sum->int8_multiply_adds += one->int8_multiply_adds;
        sum->float_multiply_adds += one->float_multiply_adds;
    }
    for (int op = 0; op < QN_OPS && profile->n_rows < QUERN_MAX_PROFILE_ROWS; op++)
        if (by_op[op].calls > 0)
            profile->rows[profile->n_rows++] =
                (quern_profile_row){.instruction = qn_op_name((qn_op)op),
                                    .time_ns = by_op[op].ns,
                                    .calls = by_op[op].calls,
                                    .weight_bytes = by_op[op].weight_bytes,
                                    .kv_bytes = by_op[op].kv_bytes,
                                    .int8_multiply_adds = by_op[op].int8_multiply_adds,
                                    .float_multiply_adds = by_op[op].float_multiply_adds};
}
