/* draft_model_test.c: a smaller model guesses for a larger one: its guesses are what it would say itself,
 * whatever became of those before; and answers are bitwise what they are without, whether it is right always
 * or never, alone and in a crowd, and when there is too little room. */
#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/random.h"
#include "engine/draft_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_CTX = 320, N_VOCAB = 320, N_SLOTS = 3 };

static quern_model *plain, *windowed, *mixed, *marked, *header;

/* ---- its guesses are what it would say ----------------------------------------------------------- */

static quern_context *open_context(const quern_model *m)
{
    quern_context_params params = quern_context_params_default();
    params.n_ctx = N_CTX, params.n_threads = 1;
    quern_context *ctx;
    quern_error err;
    if (quern_context_create(&ctx, m, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    return ctx;
}

static quern_token greatest(const float *logits)
{
    size_t best = 0;
    for (size_t i = 1; i < N_VOCAB; i++)
        if (logits[i] > logits[best]) best = i;
    return (quern_token)best;
}

/* What the model itself says after a text. */
static size_t say(quern_context *ctx, const qn_draft_text *t, size_t most, quern_token *said)
{
    const quern_token *next = t->tokens;
    size_t n_next = t->n_tokens, n = 0;
    quern_error err;
    quern_sequence_truncate(ctx, 0, 0);
    while (n < most) {
        const quern_input input = {0, next, n_next, QUERN_LOGITS_LAST};
        if (quern_decode(ctx, &input, 1, &err) != QUERN_OK) fail_msg("%s", err.message);
        said[n++] = greatest(quern_logits(ctx, 0));
        if (quern_token_is_end(quern_context_model(ctx), said[n - 1])) break;
        next = &said[n - 1], n_next = 1;
    }
    return n;
}

static qn_draft_model *open_draft(const quern_model *m, qn_thread_pool *pool, uint64_t n_positions)
{
    quern_context_params c = quern_context_params_default();
    qn_context_setup setup;
    qn_draft_model *d;
    quern_error err;
    uint64_t n_bytes = 0;
    c.n_ctx = N_CTX, c.n_sequences = N_SLOTS, c.n_threads = 1;
    assert_int_equal(qn_context_setup_init(&setup, m, &c, &err), QUERN_OK);
    setup.device.pool = pool;
    setup.cache.n_positions = n_positions;
    const qn_draft_model_params params = {.model = m, .target = m, .setup = &setup};
    assert_int_equal(qn_draft_model_plan(&params, &n_bytes, &err), QUERN_OK);
    assert_true(n_bytes > 0);
    if (qn_draft_model_create(&d, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    return d;
}

typedef struct growing {
    quern_token tokens[N_CTX];
    size_t n_tokens;
} growing;

/* A text goes on: with what was guessed up to some place, then with something else. */
static void go_on(growing *g, const qn_draft_text *t, qn_random *r)
{
    const size_t n_true = qn_random_u64(r) % (t->n_guessed + 1);
    for (size_t i = 0; i < n_true && g->n_tokens < N_CTX - 1; i++) g->tokens[g->n_tokens++] = t->guess[i];
    const size_t n_more = qn_random_u64(r) % 20 == 0 ? 60 : 1;
    for (size_t i = 0; i < n_more && g->n_tokens < N_CTX - 1; i++)
        g->tokens[g->n_tokens++] = (quern_token)(qn_random_u64(r) % N_VOCAB);
}

static void start_over(growing *g, qn_random *r)
{
    g->n_tokens = 1 + qn_random_u64(r) % 200;
    for (size_t i = 0; i < N_CTX; i++) g->tokens[i] = (quern_token)(qn_random_u64(r) % N_VOCAB);
}

static void guesses_are_what_the_model_says(void **state)
{
    (void)state;
    const quern_model *const models[] = {plain, windowed, mixed};
    qn_thread_pool *pool;
    assert_int_equal(qn_thread_pool_create(&pool, 1, NULL), QUERN_OK);
    for (size_t m = 0; m < 3; m++) {
        qn_random r = {.seed = m};
        growing texts[N_SLOTS];
        qn_draft_text asked[N_SLOTS];
        size_t n_guessed = 0;
        quern_context *ctx = open_context(models[m]);
        qn_draft_model *d = open_draft(models[m], pool, (uint64_t)N_SLOTS * N_CTX);
        for (size_t i = 0; i < N_SLOTS; i++) start_over(&texts[i], &r);
        for (int round = 0; round < 60; round++) {
            for (size_t i = 0; i < N_SLOTS; i++)
                asked[i] = (qn_draft_text){.slot = i,
                                           .tokens = texts[i].tokens,
                                           .n_tokens = texts[i].n_tokens,
                                           .most = qn_random_u64(&r) % (QN_MAX_DRAFT + 1)};
            qn_draft_model_read(d, asked, N_SLOTS, qn_random_u64(&r) % 2 * 1000000000, true);
            qn_draft_model_guess(d, asked, N_SLOTS);
            for (size_t i = 0; i < N_SLOTS; i++) {
                quern_token said[QN_MAX_DRAFT];
                const bool can = qn_draft_model_can_guess(d, &asked[i]);
                assert_true(asked[i].n_guessed <= asked[i].most && (can || asked[i].n_guessed == 0));
                const size_t n = say(ctx, &asked[i], asked[i].n_guessed, said);
                assert_int_equal(n, asked[i].n_guessed);
                assert_memory_equal(asked[i].guess, said, n * sizeof *said);
                n_guessed += n;
                go_on(&texts[i], &asked[i], &r);
                if (texts[i].n_tokens < N_CTX - 20) continue;
                start_over(&texts[i], &r);
                qn_draft_model_forget(d, i);
            }
        }
        assert_true(n_guessed > 300);
        qn_draft_model_destroy(d);
        quern_context_destroy(ctx);
    }
    qn_thread_pool_destroy(pool);
}

/* Room for one text in place of three: some cannot be guessed for, the others are as ever. */
static void without_room_nothing_is_guessed(void **state)
{
    (void)state;
    qn_thread_pool *pool;
    growing texts[N_SLOTS];
    qn_draft_text asked[N_SLOTS];
    qn_random r = {.seed = 9};
    size_t n_without = 0;
    assert_int_equal(qn_thread_pool_create(&pool, 1, NULL), QUERN_OK);
    qn_draft_model *d = open_draft(plain, pool, N_CTX);
    quern_context *ctx = open_context(plain);
    for (size_t i = 0; i < N_SLOTS; i++) {
        start_over(&texts[i], &r);
        texts[i].n_tokens = 180;
        asked[i] = (qn_draft_text){.slot = i, .tokens = texts[i].tokens, .n_tokens = 180, .most = 6};
    }
    for (int i = 0; i < 60; i++) qn_draft_model_read(d, asked, N_SLOTS, 1000000, true);
    qn_draft_model_guess(d, asked, N_SLOTS);
    for (size_t i = 0; i < N_SLOTS; i++) {
        quern_token said[QN_MAX_DRAFT];
        n_without += asked[i].n_guessed == 0;
        assert_memory_equal(asked[i].guess, said,
                            say(ctx, &asked[i], asked[i].n_guessed, said) * sizeof *said);
    }
    assert_true(n_without >= 1 && n_without < N_SLOTS);
    quern_context_destroy(ctx);
    qn_draft_model_destroy(d);
    qn_thread_pool_destroy(pool);
}

/* What it reads it has to earn, but for a sum at the start. */
static void a_model_that_does_not_help_reads_no_more(void **state)
{
    (void)state;
    qn_thread_pool *pool;
    growing text;
    qn_random r = {.seed = 3};
    assert_int_equal(qn_thread_pool_create(&pool, 1, NULL), QUERN_OK);
    qn_draft_model *d = open_draft(plain, pool, N_CTX);
    start_over(&text, &r);
    const qn_draft_text asked = {.tokens = text.tokens, .n_tokens = 180};
    text.n_tokens = 180;
    qn_draft_model_earn(d, -2e9);
    for (int i = 0; i < 60; i++) qn_draft_model_read(d, &asked, 1, 100000000, false);
    assert_false(qn_draft_model_can_guess(d, &asked));
    qn_draft_model_allow(d, UINT64_C(200000000000)); /* a hundredth of 200 s */
    for (int i = 0; i < 60; i++) qn_draft_model_read(d, &asked, 1, 100000000, false);
    assert_true(qn_draft_model_can_guess(d, &asked));
    qn_draft_model_destroy(d);
    qn_thread_pool_destroy(pool);
}

/* ---- questions, and their answers alone ---------------------------------------------------------- */

typedef struct question {
    quern_token prompt[N_CTX];
    size_t n_prompt, max_tokens;
    uint64_t seed;
    float temperature;
    const quern_grammar *grammar;
} question;

static void make_question(question *q, uint64_t seed, size_t n_prompt, size_t max_tokens)
{
    qn_random r = {.seed = seed, .stream = 3};
    *q = (question){.n_prompt = n_prompt,
                    .max_tokens = max_tokens,
                    .seed = seed,
                    .temperature = seed % 2 == 0 ? 0.0f : 0.9f};
    for (size_t i = 0; i < n_prompt; i++) q->prompt[i] = (quern_token)(qn_random_u64(&r) % N_VOCAB);
}

static quern_sampler_params sampler_of(const question *q)
{
    quern_sampler_params p = quern_sampler_params_default();
    p.temperature = q->temperature, p.seed = q->seed;
    return p;
}

static bool append(void *user, const char *text, size_t n_bytes)
{
    return qn_buffer_append(user, text, n_bytes);
}

static quern_generated answer_alone(quern_context *ctx, const question *q, qn_buffer *text)
{
    const quern_sampler_params sp = sampler_of(q);
    quern_sampler *sampler;
    quern_error err = {0};
    quern_generated result;
    quern_generate_params p = quern_generate_params_default();
    p.prompt = q->prompt, p.n_prompt = q->n_prompt, p.max_tokens = q->max_tokens, p.grammar = q->grammar;
    p.ignore_end = true, p.on_text = append, p.user = text;
    qn_buffer_clear(text);
    assert_int_equal(quern_sampler_create(&sampler, quern_context_model(ctx), &sp, &err), QUERN_OK);
    if (quern_generate(ctx, sampler, &p, &result, &err) != QUERN_OK) fail_msg("%s", err.message);
    quern_sampler_destroy(sampler);
    return result;
}

/* ---- engines ------------------------------------------------------------------------------------- */

typedef struct engine_options {
    uint32_t n_draft, n_batch;
    uint64_t n_positions;
    int n_threads; /* 0: 1 */
} engine_options;

static quern_engine *open_engine(const quern_model *m, const quern_model *draft, engine_options o)
{
    quern_engine_params params = quern_engine_params_default();
    params.n_threads = o.n_threads > 0 ? o.n_threads : 1;
    quern_engine_model_params mp = quern_engine_model_params_default();
    mp.n_ctx = N_CTX, mp.n_parallel = 6, mp.n_batch = o.n_batch > 0 ? o.n_batch : 64;
    mp.n_positions = o.n_positions, mp.draft = draft, mp.n_draft = o.n_draft;
    quern_engine *e;
    quern_error err = {0};
    assert_int_equal(quern_engine_create(&e, &params, &err), QUERN_OK);
    if (quern_engine_add_model(e, "tiny", m, &mp, &err) != QUERN_OK) fail_msg("%s", err.message);
    return e;
}

static quern_request *submit(quern_engine *e, const question *q)
{
    const quern_sampler_params sampler = sampler_of(q);
    quern_request *r;
    quern_error err = {0};
    quern_request_params p = quern_request_params_default();
    p.prompt = q->prompt, p.n_prompt = q->n_prompt, p.max_tokens = q->max_tokens, p.sampler = &sampler;
    p.grammar = q->grammar, p.ignore_end = true;
    if (quern_submit(e, &p, &r, &err) != QUERN_OK) fail_msg("%s", err.message);
    return r;
}

static quern_request_result hear_all(quern_request *r, qn_buffer *text)
{
    quern_event event = {0};
    quern_request_result result = {0};
    qn_buffer_clear(text);
    while (quern_request_next(r, 120000, &event)) {
        if (event.kind == QUERN_EVENT_TEXT) append(text, event.text, event.n_bytes);
        if (event.kind == QUERN_EVENT_NONE || event.kind == QUERN_EVENT_FAILED) fail_msg("no answer came");
        if (event.kind == QUERN_EVENT_FINISHED) result = event.result;
    }
    quern_request_release(r);
    return result;
}

/* ---- the same answer, sooner --------------------------------------------------------------------- */

typedef struct totals {
    size_t n_generated, n_guessed, n_right, n_preempted;
} totals;

enum { N_QUESTIONS = 14 };

/* All questions at once; each answer must be the one that it gets alone. */
static totals ask_all(const quern_model *m, const quern_model *draft, engine_options o, const question *q,
                      size_t n)
{
    qn_buffer alone = {0}, text = {0};
    quern_request *requests[N_QUESTIONS];
    totals t = {0};
    quern_context *ctx = open_context(m);
    quern_engine *e = open_engine(m, draft, o);
    for (size_t i = 0; i < n; i++) requests[i] = submit(e, &q[i]);
    for (size_t i = 0; i < n; i++) {
        const quern_request_result r = hear_all(requests[i], &text);
        const quern_generated g = answer_alone(ctx, &q[i], &alone);
        assert_int_equal(r.n_generated, g.n_generated);
        assert_int_equal(r.finish, g.finish);
        assert_int_equal(text.n_bytes, alone.n_bytes);
        if (text.n_bytes > 0) assert_memory_equal(text.data, alone.data, text.n_bytes);
        t.n_generated += r.n_generated, t.n_guessed += r.n_guessed, t.n_right += r.n_guessed_right;
        t.n_preempted += r.n_preempted;
    }
    quern_engine_destroy(e);
    quern_context_destroy(ctx);
    qn_buffer_deinit(&alone), qn_buffer_deinit(&text);
    return t;
}

static void a_draft_that_knows_all_saves_most_steps(void **state)
{
    (void)state;
    const quern_model *const models[] = {plain, windowed, mixed};
    for (size_t m = 0; m < 3; m++) {
        question q[4];
        for (size_t i = 0; i < 4; i++) make_question(&q[i], 2 * i, 30 + 60 * i, 90); /* greedy */
        const totals t = ask_all(models[m], models[m], (engine_options){.n_draft = 4}, q, 4);
        /* Of five tokens four are guessed, but for the first ones, and where it would say the end. */
        assert_true(t.n_right * 100 >= t.n_generated * 60);
        assert_true(t.n_right * 100 >= t.n_guessed * 80);
    }
}

static void a_draft_that_knows_nothing_changes_nothing(void **state)
{
    (void)state;
    question q[6];
    for (size_t i = 0; i < 6; i++) make_question(&q[i], i, 30 + 40 * i, 60);
    const totals t = ask_all(plain, windowed, (engine_options){.n_draft = 3}, q, 6);
    assert_true(t.n_guessed > t.n_generated); /* three for each step */
    assert_true(t.n_right * 2 < t.n_guessed);
    const totals w = ask_all(windowed, plain, (engine_options){.n_draft = 15}, q, 6);
    assert_true(w.n_right * 2 < w.n_guessed);
}

static void answers_that_are_drawn_or_bound_are_the_same(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {0, 1, 15};
    static const char pattern[] = "(ab|c[d-f]{1,40}|[0-9]+ )*";
    quern_grammar *grammar;
    quern_grammar_params gp = quern_grammar_params_default();
    gp.kind = QUERN_GRAMMAR_REGEX, gp.text = pattern, gp.n_bytes = sizeof pattern - 1;
    assert_int_equal(quern_grammar_create(&grammar, &gp, NULL), QUERN_OK);
    question q[8];
    for (size_t i = 0; i < 8; i++) {
        make_question(&q[i], i, 5 + 20 * i, 50);
        if (i % 3 == 0) q[i].grammar = grammar;
    }
    for (size_t k = 0; k < 3; k++) {
        ask_all(plain, plain, (engine_options){.n_draft = lengths[k]}, q, 8);
        ask_all(mixed, windowed,
                (engine_options){.n_draft = lengths[k], .n_batch = 24, .n_threads = k == 1 ? 2 : 1}, q, 4);
    }
    quern_grammar_destroy(grammar);
}

static void who_makes_room_goes_on_later(void **state)
{
    (void)state;
    static question q[N_QUESTIONS];
    const quern_model *const pairs[][2] = {{plain, plain}, {mixed, plain}, {mixed, windowed}};
    for (size_t i = 0; i < N_QUESTIONS; i++) make_question(&q[i], i, 1 + i * 2, 90 + i);
    for (size_t k = 0; k < 3; k++) {
        const totals t = ask_all(pairs[k][0], pairs[k][1],
                                 (engine_options){.n_draft = 3, .n_positions = N_CTX}, q, N_QUESTIONS);
        assert_true(t.n_preempted > 0 && t.n_guessed > 0);
    }
}

/* ---- what cannot be ------------------------------------------------------------------------------ */

static void what_cannot_guess_is_refused(void **state)
{
    (void)state;
    quern_engine *e;
    quern_error err = {0};
    quern_engine_model_params p = quern_engine_model_params_default();
    p.n_ctx = N_CTX, p.n_parallel = 2;
    assert_int_equal(quern_engine_create(&e, NULL, &err), QUERN_OK);
    p.draft = marked;
    assert_int_equal(quern_engine_add_model(e, "a", plain, &p, &err), QUERN_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "token 319 is '</think>'"));
    p.draft = header;
    assert_int_equal(quern_engine_add_model(e, "a", plain, &p, &err), QUERN_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "without its weights"));
    p.draft = NULL;
    for (p.memory_limit = 1 << 20; quern_engine_add_model(e, "without", plain, &p, &err) != QUERN_OK;)
        p.memory_limit += 1 << 18;
    p.draft = plain; /* it takes about as much again */
    assert_int_equal(quern_engine_add_model(e, "with", plain, &p, &err), QUERN_ERR_NOMEM);
    p.memory_limit *= 3;
    assert_int_equal(quern_engine_add_model(e, "with", plain, &p, &err), QUERN_OK);
    quern_engine_destroy(e);
}

static void each_failing_allocation_is_survived(void **state)
{
    (void)state;
    quern_engine *e;
    quern_error err = {0};
    quern_engine_model_params p = quern_engine_model_params_default();
    p.n_ctx = N_CTX, p.n_parallel = 2, p.draft = windowed;
    assert_int_equal(quern_engine_create(&e, NULL, &err), QUERN_OK);
    const long live = qn_alloc_live();
    for (long k = 0;; k++) {
        qn_alloc_fail_at(k);
        const quern_status s = quern_engine_add_model(e, "tiny", plain, &p, &err);
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_int_equal(s, failed ? QUERN_ERR_NOMEM : QUERN_OK);
        if (!failed) break;
        assert_int_equal(qn_alloc_live(), live);
    }
    quern_engine_destroy(e);
}

/* ---- models -------------------------------------------------------------------------------------- */

static int open_models(void **state)
{
    (void)state;
    const tiny_model kinds[] = {{.seed = 1},
                                {.arch = "gemma3", .seed = 2, .n_layer = 1, .window = 40},
                                {.arch = "gemma2", .seed = 3, .n_layer = 2, .window = 70},
                                {.seed = 1, .marker = "</think>"},
                                {.seed = 1}};
    quern_model **const models[] = {&plain, &windowed, &mixed, &marked, &header};
    for (size_t i = 0; i < 5; i++) {
        char name[] = "/tmp/quern_draft_model_XXXXXX";
        quern_error err = {0};
        quern_model_params p = quern_model_params_default();
        const int fd = mkstemp(name);
        if (fd < 0 || !tiny_model_write(name, &kinds[i])) return -1;
        close(fd);
        p.header_only = i == 4;
        const quern_status s = quern_model_open(models[i], name, &p, &err);
        unlink(name);
        if (s != QUERN_OK) return fprintf(stderr, "%s\n", err.message), -1;
    }
    return 0;
}

static int close_models(void **state)
{
    (void)state;
    quern_model *const models[] = {plain, windowed, mixed, marked, header};
    for (size_t i = 0; i < 5; i++) quern_model_close(models[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses_are_what_the_model_says),
        cmocka_unit_test(without_room_nothing_is_guessed),
        cmocka_unit_test(a_model_that_does_not_help_reads_no_more),
        cmocka_unit_test(a_draft_that_knows_all_saves_most_steps),
        cmocka_unit_test(a_draft_that_knows_nothing_changes_nothing),
        cmocka_unit_test(answers_that_are_drawn_or_bound_are_the_same),
        cmocka_unit_test(who_makes_room_goes_on_later),
        cmocka_unit_test(what_cannot_guess_is_refused),
        cmocka_unit_test(each_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}
