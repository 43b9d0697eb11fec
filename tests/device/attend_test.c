/* attend_test.c: sequences that share pages have the chunks of keys in them read once for all (the plan says
 * so), and each gets the bits that it gets when it has pages of its own and a step to itself. */
#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "base/random.h"
#include "device/cpu/state.h"
#include "engine/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_CTX = 1100, N_VOCAB = 320, N_BATCH = 64, COMMON = 640, MOST = 40, SHARED = 512 };

/* A model, a cache, and a device. */
typedef struct machine {
    quern_model *model;
    qn_kv_cache *cache;
    qn_cpu *cpu;
} machine;

static quern_model *open_model(const tiny_model *kind)
{
    char path[] = "/tmp/quern_attend_XXXXXX";
    quern_model *m = NULL;
    quern_error err = {.message = "the file cannot be written"};
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    const bool ok = tiny_model_write(path, kind) && quern_model_open(&m, path, NULL, &err) == QUERN_OK;
    unlink(path);
    if (!ok) fail_msg("%s", err.message);
    return m;
}

static machine create(quern_model *model, size_t n_sequences, int n_threads, qn_tensor_type type)
{
    machine m = {.model = model};
    quern_error err = {0};
    const qn_kv_cache_params cache = {
        .n_sequences = n_sequences, .n_ctx = N_CTX, .n_batch = N_BATCH, .type_k = type, .type_v = type};
    const qn_device_params device = {.n_threads = n_threads,
                                     .n_batch = N_BATCH,
                                     .n_segments = n_sequences,
                                     .n_outputs = N_BATCH,
                                     .n_ctx = N_CTX};
    assert_int_equal(qn_kv_cache_create(&m.cache, &model->program, &cache, &err), QUERN_OK);
    assert_int_equal(qn_cpu_create(&m.cpu, &model->program, model->kernels, &device, &err), QUERN_OK);
    return m;
}

static void destroy(machine *m)
{
    qn_cpu_destroy(m->cpu);
    qn_kv_cache_destroy(m->cache);
}

/* Token at a position of a sequence's text: the first COMMON are those of all. */
static quern_token token_at(size_t seq, size_t position)
{
    qn_random r = {.seed = 1 + position, .stream = position < COMMON ? 0 : 1 + seq};
    return (quern_token)(qn_random_u64(&r) % N_VOCAB);
}

/* What one step brings of some sequences. */
typedef struct share {
    size_t seq, text, n_tokens; /* text: whose tokens they are */
} share;

/* One step; the logits of all its tokens are there then. */
static void step(machine *m, const share *shares, size_t n)
{
    static quern_token tokens[N_BATCH];
    static int32_t outputs[N_BATCH];
    static qn_segment segments[N_BATCH];
    qn_batch b = {.tokens = tokens, .segments = segments, .outputs = outputs, .n_segments = n};
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) b.kv[g] = *qn_kv_cache_memory(m->cache, g);
    for (size_t i = 0; i < n; i++) {
        const size_t length = qn_kv_cache_length(m->cache, shares[i].seq);
        assert_true(qn_kv_cache_reserve(m->cache, shares[i].seq, shares[i].n_tokens));
        segments[i] = (qn_segment){
            .position = (int32_t)length, .token_begin = b.n_tokens, .n_tokens = shares[i].n_tokens};
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
            segments[i].pages[g] = qn_kv_cache_pages(m->cache, shares[i].seq, g);
        for (size_t t = 0; t < shares[i].n_tokens; t++) {
            outputs[b.n_outputs++] = (int32_t)b.n_tokens;
            tokens[b.n_tokens++] = token_at(shares[i].text, length + t);
        }
    }
    qn_cpu_step(m->cpu, &b);
    for (size_t i = 0; i < n; i++) qn_kv_cache_commit(m->cache, shares[i].seq, shares[i].n_tokens);
}

static void read_to(machine *m, size_t seq, size_t text, size_t end)
{
    for (size_t length; (length = qn_kv_cache_length(m->cache, seq)) < end;) {
        const share one = {seq, text, qn_min_size(end - length, N_BATCH)};
        step(m, &one, 1);
    }
}

/* Sequence `seq` begins with the first n positions of sequence 0, in its pages. */
static void adopt(machine *m, size_t seq, size_t n)
{
    const int32_t *pages[QN_CACHE_GROUPS];
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        pages[g] = m->model->program.groups[g].n_layers > 0 ? qn_kv_cache_pages(m->cache, 0, g) : NULL;
    qn_kv_cache_adopt(m->cache, seq, pages, n);
}

/* Every split has each of its chunks once; returns how many chunks have several members. */
static size_t check_plan(const machine *m, uint32_t group)
{
    const qn_attention_work *work = &m->cpu->attention[group];
    size_t n_wanted = 0, n_members = 0, n_shared = 0;
    for (size_t i = 0; i < work->n_splits; i++) n_wanted += work->splits[i].n_chunks;
    for (size_t k = 0; k < work->n_chunks; k++) {
        const qn_attention_chunk *chunk = &work->chunks[k];
        size_t n = 0;
        for (uint32_t at = chunk->first; at != UINT32_MAX; at = work->members[at].next, n++) {
            const qn_attention_split *s = &work->splits[work->members[at].split];
            assert_true(chunk->chunk >= s->first_chunk && chunk->chunk < s->first_chunk + s->n_chunks);
        }
        assert_int_equal(n, chunk->n_members);
        n_members += n;
        n_shared += n > 1;
    }
    assert_int_equal(n_members, n_wanted);
    return n_shared;
}

static void compare_with_alone(const tiny_model *kind, qn_tensor_type type, const share *last, size_t n,
                               size_t n_shared_texts)
{
    quern_model *model = open_model(kind);
    const size_t row = model->hparams.n_vocab * sizeof(float);
    machine alone = create(model, 1, 1, type), many = create(model, MOST, 2, type);
    read_to(&many, 0, 0, COMMON + 5);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && i < n_shared_texts) adopt(&many, i, SHARED);
        read_to(&many, i, last[i].text, COMMON + 5 + i % 3);
    }
    step(&many, last, n);
    assert_true(check_plan(&many, 0) >= SHARED / QN_ATTENTION_CHUNK);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        qn_kv_cache_truncate(alone.cache, 0, COMMON); /* what all begin with; nothing where windows went */
        read_to(&alone, 0, last[i].text, COMMON + 5 + i % 3);
        for (size_t t = 0; t < last[i].n_tokens; t++, at++) {
            step(&alone, &(share){0, last[i].text, 1}, 1);
            assert_memory_equal(qn_cpu_logits(many.cpu, at), qn_cpu_logits(alone.cpu, 0), row);
        }
    }
    destroy(&alone), destroy(&many);
    quern_model_close(model);
}

static void many_sequences_share_chunks(void **state)
{
    (void)state;
    static const qn_tensor_type types[] = {QN_TYPE_F16, QN_TYPE_Q8_0, QN_TYPE_Q4_0};
    share last[MOST];
    for (size_t i = 0; i < MOST; i++) last[i] = (share){i, i, 1};
    for (size_t k = 0; k < sizeof types / sizeof types[0]; k++)
        compare_with_alone(&(tiny_model){.seed = 1}, types[k], last, k == 0 ? MOST : 5, k == 0 ? MOST : 5);
}

/* Guesses are several tokens of a sequence; some sequences have pages of their own. */
static void guesses_and_strangers_are_among_them(void **state)
{
    (void)state;
    share last[12];
    for (size_t i = 0; i < 12; i++) last[i] = (share){i, i, 1 + i % 5};
    compare_with_alone(&(tiny_model){.seed = 2}, QN_TYPE_F16, last, 12, 8);
    compare_with_alone(&(tiny_model){.arch = "gemma3", .seed = 3, .window = 40}, QN_TYPE_F16, last, 12, 1);
}

/* Nobody shares: several tokens of one sequence still read a chunk once. */
static void tokens_of_one_sequence_share_their_chunks(void **state)
{
    (void)state;
    const share last[] = {{0, 0, 7}};
    compare_with_alone(&(tiny_model){.seed = 4}, QN_TYPE_F16, last, 1, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_sequences_share_chunks),
        cmocka_unit_test(guesses_and_strangers_are_among_them),
        cmocka_unit_test(tokens_of_one_sequence_share_their_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
