/* engine_embed_test.c: texts that are embedded and scored beside answers, by the same models and by others.
 * Each result is bitwise the one of quern_embed for the text alone (contract C4), in whatever company, after
 * making room for others too; and what cannot be done is refused. */
#include "support/cmocka_all.h"

#include "questions.h"
#include "support/tiny_model.h"

#include "base/random.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHAT, ENCODER, RERANKER, BOTH_WAYS, N_MODELS, N_TEXTS = 40, N_QUESTIONS = 12, MAX_TOKENS = 300 };

static const tiny_model kinds[N_MODELS] = {
    [CHAT] = {.seed = 1},
    [ENCODER] = {.arch = "bert", .seed = 2, .type = QN_TYPE_Q8_0, .n_ctx = QUESTION_CTX},
    [RERANKER] = {.arch = "jina-bert-v2", .seed = 3, .n_scores = 2, .n_ctx = QUESTION_CTX},
    [BOTH_WAYS] = {.arch = "llama", .seed = 4, .both_ways = true}};
static char paths[N_MODELS][40];
static quern_model *models[N_MODELS];

static int make_models(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++) {
        quern_error err;
        snprintf(paths[i], sizeof paths[i], "/tmp/quern_engine_embed_XXXXXX");
        const int file = mkstemp(paths[i]);
        if (file < 0 || close(file) != 0 || !tiny_model_write(paths[i], &kinds[i]) ||
            quern_model_open(&models[i], paths[i], NULL, &err) != QUERN_OK)
            return -1;
    }
    return 0;
}

static int remove_models(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++) quern_model_close(models[i]), unlink(paths[i]);
    return 0;
}

/* ---- texts --------------------------------------------------------------------------------------- */

typedef struct text {
    quern_token tokens[MAX_TOKENS];
    size_t n_tokens, model;
    quern_pooling pooling;
    bool normalize;
} text;

/* Lengths around pages, pieces and tiles, and any. */
static text make_text(uint64_t seed)
{
    static const size_t lengths[] = {1, 2, 63, 64, 65, 128, MAX_TOKENS};
    qn_random r = {.seed = seed, .stream = 5};
    const size_t n_lengths = sizeof lengths / sizeof lengths[0];
    text t = {.n_tokens = seed % 2 == 0 ? lengths[seed / 2 % n_lengths] : 1 + qn_random_u64(&r) % MAX_TOKENS,
              .model = qn_random_u64(&r) % N_MODELS,
              .normalize = qn_random_u64(&r) % 2 == 0};
    const size_t n_poolings = t.model == RERANKER ? 6 : 5;
    t.pooling = (quern_pooling)(qn_random_u64(&r) % n_poolings);
    for (size_t i = 0; i < t.n_tokens; i++) t.tokens[i] = (quern_token)(qn_random_u64(&r) % QUESTION_VOCAB);
    return t;
}

static size_t size_of(const text *t)
{
    return quern_embed_size(models[t->model], t->pooling, t->n_tokens);
}

/* What it is alone; free() it. */
static float *embed_alone(quern_context *ctx, const text *t)
{
    const quern_embed_text one = {t->tokens, t->n_tokens};
    quern_embed_params p = quern_embed_params_default();
    p.pooling = t->pooling, p.normalize = t->normalize;
    const size_t n = size_of(t);
    float *out = malloc(n * sizeof *out);
    quern_error err;
    if (quern_embed(ctx, &one, 1, &p, out, n, &err) != QUERN_OK) fail_msg("%s", err.message);
    return out;
}

static float *embed_by(const text *t)
{
    quern_context *ctx = question_context(models[t->model]);
    float *out = embed_alone(ctx, t);
    quern_context_destroy(ctx);
    return out;
}

/* ---- engines ------------------------------------------------------------------------------------- */

static const char *const names[N_MODELS] = {"chat", "encoder", "reranker", "both ways"};

static quern_engine_model_params small(uint32_t n_parallel, uint32_t n_batch)
{
    quern_engine_model_params p = quern_engine_model_params_default();
    p.n_ctx = QUESTION_CTX, p.n_parallel = n_parallel, p.n_batch = n_batch;
    return p;
}

static quern_engine *open_engine(int n_threads)
{
    quern_engine_params params = quern_engine_params_default();
    params.n_threads = n_threads;
    quern_engine *e;
    quern_error err;
    if (quern_engine_create(&e, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    return e;
}

static quern_engine *engine_with(int n_threads, quern_engine_model_params p, bool registered)
{
    quern_engine *e = open_engine(n_threads);
    for (size_t i = 0; i < N_MODELS; i++) {
        quern_error err;
        const quern_status s = registered ? quern_engine_register_model(e, names[i], paths[i], NULL, &p, &err)
                                          : quern_engine_add_model(e, names[i], models[i], &p, &err);
        if (s != QUERN_OK) fail_msg("%s", err.message);
    }
    return e;
}

static quern_request_params request_of(const text *t)
{
    quern_request_params p = quern_request_params_default();
    p.model = names[t->model], p.prompt = t->tokens, p.n_prompt = t->n_tokens;
    p.embeds = true, p.pooling = t->pooling, p.normalize = t->normalize;
    return p;
}

/* Waits for its end, and holds it to what the text is alone. */
static quern_request_result check_embedded(quern_request *r, const text *t)
{
    qn_buffer none = {0};
    const quern_event end = question_hear(r, &none);
    float *alone = embed_by(t);
    assert_int_equal(end.kind, QUERN_EVENT_FINISHED);
    assert_int_equal(end.result.finish, QUERN_FINISH_STOP);
    assert_int_equal(end.result.n_prompt, t->n_tokens);
    assert_int_equal(end.result.n_generated, 0);
    assert_int_equal(end.n_embedding, size_of(t));
    assert_memory_equal(end.embedding, alone, end.n_embedding * sizeof *alone);
    assert_int_equal(none.n_bytes, 0);
    free(alone);
    qn_buffer_deinit(&none);
    quern_request_release(r);
    return end.result;
}

static void check_answered(quern_request *r, const question *q)
{
    qn_buffer alone = {0}, here = {0};
    quern_context *ctx = question_context(models[CHAT]);
    question_answer(ctx, q, &alone);
    assert_int_equal(question_hear(r, &here).kind, QUERN_EVENT_FINISHED);
    assert_int_equal(here.n_bytes, alone.n_bytes);
    assert_memory_equal(here.data, alone.data, alone.n_bytes);
    quern_context_destroy(ctx);
    qn_buffer_deinit(&alone), qn_buffer_deinit(&here);
    quern_request_release(r);
}

/* ---- the same bits ------------------------------------------------------------------------------- */

/* Texts and questions, all at once. */
static void check_company(int n_threads, quern_engine_model_params p, bool registered)
{
    quern_engine *e = engine_with(n_threads, p, registered);
    static text texts[N_TEXTS];
    static question questions[N_QUESTIONS];
    quern_request *asked[N_QUESTIONS], *embedded[N_TEXTS];
    for (size_t i = 0; i < N_TEXTS; i++) {
        texts[i] = make_text(i);
        const quern_request_params tp = request_of(&texts[i]);
        embedded[i] = question_submit(e, &tp);
        if (i >= N_QUESTIONS) continue;
        question_make(&questions[i], i, i % 2 == 0);
        const quern_sampler_params sampler = question_sampler(&questions[i]);
        quern_request_params qp = question_request(&questions[i], &sampler);
        qp.model = names[CHAT];
        asked[i] = question_submit(e, &qp);
    }
    for (size_t i = 0; i < N_TEXTS; i++) check_embedded(embedded[i], &texts[i]);
    for (size_t i = 0; i < N_QUESTIONS; i++) check_answered(asked[i], &questions[i]);
    quern_engine_destroy(e);
}

static void company_changes_no_bit(void **state)
{
    (void)state;
    check_company(1, small(4, 32), false);
    check_company(3, small(16, 512), false);
    check_company(2, small(8, 100), true); /* models that are loaded when they are wanted */
}

static const text long_text = {.n_tokens = MAX_TOKENS, .model = CHAT, .pooling = QUERN_POOLING_MEAN};

/* When the first piece of a text was read, somebody comes who is more urgent. */
typedef struct urgent_visitor {
    quern_engine *engine;
    const quern_request_params *params;
    quern_request *request;
} urgent_visitor;

static void come_at_first_piece(void *user, quern_request *r, const quern_event *event)
{
    urgent_visitor *v = user;
    (void)r;
    if (event->kind != QUERN_EVENT_PROMPT || v->request != NULL) return;
    quern_error err;
    if (quern_submit(v->engine, v->params, &v->request, &err) != QUERN_OK) abort();
}

typedef struct listener {
    urgent_visitor visitor;
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    bool has_ended, is_right;
    const float *expected;
    quern_request_result result;
} listener;

static void listen(void *user, quern_request *r, const quern_event *event)
{
    listener *l = user;
    come_at_first_piece(&l->visitor, r, event);
    if (event->kind < QUERN_EVENT_FINISHED) return;
    pthread_mutex_lock(&l->mutex);
    l->has_ended = true;
    l->result = event->result;
    l->is_right = event->n_embedding > 0 &&
                  memcmp(event->embedding, l->expected, event->n_embedding * sizeof(float)) == 0;
    pthread_cond_signal(&l->ended);
    pthread_mutex_unlock(&l->mutex);
}

/* One slot: the text makes room, and is read again from its beginning. */
static void a_text_makes_room_and_comes_back(void **state)
{
    (void)state;
    quern_engine *e = engine_with(1, small(1, 16), false);
    float *expected = embed_by(&long_text);
    question q;
    question_make(&q, 3, false);
    const quern_sampler_params sampler = question_sampler(&q);
    quern_request_params urgent = question_request(&q, &sampler), p = request_of(&long_text);
    urgent.priority = QUERN_PRIORITY_INTERACTIVE;
    listener l = {.visitor = {.engine = e, .params = &urgent}, .expected = expected};
    pthread_mutex_init(&l.mutex, NULL), pthread_cond_init(&l.ended, NULL);
    p.on_event = listen, p.user = &l;
    quern_request *r = question_submit(e, &p);
    pthread_mutex_lock(&l.mutex);
    while (!l.has_ended) pthread_cond_wait(&l.ended, &l.mutex);
    pthread_mutex_unlock(&l.mutex);
    assert_true(l.is_right);
    assert_int_equal(l.result.n_preempted, 1);
    check_answered(l.visitor.request, &q);
    quern_request_release(r);
    quern_engine_destroy(e);
    pthread_mutex_destroy(&l.mutex), pthread_cond_destroy(&l.ended);
    free(expected);
}

/* Where every hidden state is wanted nothing that is known helps; where the last one is, everything does. */
static void what_is_known_is_taken_where_it_helps(void **state)
{
    (void)state;
    quern_engine *e = engine_with(2, small(4, 64), false);
    question q;
    question_make(&q, 8, false);
    q.n_prompt = 200, q.max_tokens = 5;
    text t = {.n_tokens = 200, .model = CHAT, .pooling = QUERN_POOLING_NONE};
    memcpy(t.tokens, q.prompt, 200 * sizeof *t.tokens);
    const quern_sampler_params sampler = question_sampler(&q);
    const quern_request_params ask = question_request(&q, &sampler), embed = request_of(&t);
    assert_int_equal(check_embedded(question_submit(e, &embed), &t).n_cached, 0);
    check_answered(question_submit(e, &ask), &q);
    assert_int_equal(check_embedded(question_submit(e, &embed), &t).n_cached, 0);
    t.pooling = QUERN_POOLING_LAST;
    const quern_request_params last = request_of(&t);
    assert_int_equal(check_embedded(question_submit(e, &last), &t).n_cached, 199);
    quern_engine_destroy(e);
}

/* Logits of a few tokens are those of a whole row, also of a model that caps or scales them, and where most
 * of the text is known. */
static void choices_are_logits(void **state)
{
    (void)state;
    static const tiny_model families[] = {{.seed = 6},
                                          {.arch = "gemma2", .seed = 7, .type = QN_TYPE_Q6_K},
                                          {.arch = "granite", .seed = 8, .type = QN_TYPE_Q8_0}};
    static const quern_token choices[] = {5, QUESTION_VOCAB - 1, 0, 16, 15, 5};
    enum { N = sizeof choices / sizeof choices[0] };
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        quern_model *m = question_model(&families[i]);
        quern_engine *e = open_engine(2);
        const quern_engine_model_params mp = small(2, 64);
        quern_error err;
        assert_int_equal(quern_engine_add_model(e, "family", m, &mp, &err), QUERN_OK);
        const text t = make_text(12);
        quern_context *ctx = question_context(m);
        const quern_input input = {.tokens = t.tokens, .n_tokens = MAX_TOKENS, .logits = QUERN_LOGITS_LAST};
        assert_int_equal(quern_decode(ctx, &input, 1, &err), QUERN_OK);
        quern_request_params p = request_of(&t);
        p.model = NULL, p.choices = choices, p.n_choices = N, p.pooling = QUERN_POOLING_DEFAULT;
        for (size_t again = 0; again < 2; again++) {
            qn_buffer none = {0};
            quern_request *r = question_submit(e, &p);
            const quern_event end = question_hear(r, &none);
            assert_int_equal(end.n_embedding, N);
            for (size_t k = 0; k < N; k++)
                assert_memory_equal(&end.embedding[k], quern_logits(ctx, 0) + choices[k], sizeof(float));
            assert_int_equal(end.result.n_cached, again == 0 ? 0 : MAX_TOKENS - 1);
            quern_request_release(r);
        }
        quern_context_destroy(ctx);
        quern_engine_destroy(e);
        quern_model_close(m);
    }
}

/* ---- lengths ------------------------------------------------------------------------------------- */

static void a_long_text_is_refused_or_cut(void **state)
{
    (void)state;
    quern_engine_model_params params = small(2, 512);
    params.n_ctx = 64;
    quern_engine *e = engine_with(1, params, false);
    quern_error err;
    quern_request *r;
    for (size_t model = 0; model < N_MODELS; model++) {
        text t = make_text(12); /* MAX_TOKENS long */
        assert_int_equal(t.n_tokens, MAX_TOKENS);
        t.model = model, t.pooling = QUERN_POOLING_NONE;
        quern_request_params p = request_of(&t);
        assert_int_equal(quern_submit(e, &p, &r, &err), QUERN_ERR_CTX_FULL);
        p.truncate = true;
        r = question_submit(e, &p);
        t.tokens[63] = t.tokens[MAX_TOKENS - 1];
        t.n_tokens = 64;
        check_embedded(r, &t);
    }
    quern_engine_destroy(e);
}

/* ---- what cannot be done ------------------------------------------------------------------------- */

static void wishes_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    quern_engine *e = engine_with(1, small(2, 64), false);
    const text t = make_text(3);
    const struct {
        size_t model;
        bool answers, several, scores, log_probs, shifts, no_such_pooling, choices;
        quern_status status;
        const char *part;
    } cases[] = {
        {.model = ENCODER, .answers = true, .status = QUERN_ERR_ARGUMENT, .part = "makes embeddings"},
        {.model = BOTH_WAYS, .answers = true, .status = QUERN_ERR_ARGUMENT, .part = "makes embeddings"},
        {.model = ENCODER, .scores = true, .status = QUERN_ERR_UNSUPPORTED, .part = "no classification head"},
        {.model = CHAT, .scores = true, .status = QUERN_ERR_UNSUPPORTED, .part = "no classification head"},
        {.model = CHAT, .several = true, .status = QUERN_ERR_ARGUMENT, .part = "generated texts"},
        {.model = CHAT, .log_probs = true, .status = QUERN_ERR_ARGUMENT, .part = "generated texts"},
        {.model = CHAT, .shifts = true, .status = QUERN_ERR_ARGUMENT, .part = "generated texts"},
        {.model = ENCODER, .choices = true, .status = QUERN_ERR_ARGUMENT, .part = "makes embeddings"},
        {.model = CHAT, .choices = true, .status = QUERN_ERR_ARGUMENT, .part = "choice 1: token 320"},
        {.model = CHAT, .no_such_pooling = true, .status = QUERN_ERR_ARGUMENT, .part = "pooling 77"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        quern_request_params p = request_of(&t);
        quern_request *r = NULL;
        quern_error err = {0};
        p.model = names[cases[i].model], p.embeds = !cases[i].answers;
        p.pooling = cases[i].scores            ? QUERN_POOLING_RANK
                    : cases[i].no_such_pooling ? (quern_pooling)77
                                               : QUERN_POOLING_DEFAULT;
        p.n_answers = cases[i].several ? 2 : 1;
        p.choices = (const quern_token[]){0, QUESTION_VOCAB}, p.n_choices = cases[i].choices ? 2 : 0;
        p.log_probs = cases[i].log_probs, p.shifts_context = cases[i].shifts;
        assert_int_equal(quern_submit(e, &p, &r, &err), cases[i].status);
        assert_null(r);
        if (strstr(err.message, cases[i].part) == NULL) fail_msg("%zu: %s", i, err.message);
    }
    quern_engine_destroy(e);
}

static void what_is_canceled_has_no_vector(void **state)
{
    (void)state;
    quern_engine *e = engine_with(1, small(1, 16), false);
    quern_request *r[4];
    qn_buffer none = {0};
    const quern_request_params p = request_of(&long_text);
    for (size_t i = 0; i < 4; i++) r[i] = question_submit(e, &p);
    for (size_t i = 0; i < 4; i++) quern_request_cancel(r[i]);
    for (size_t i = 0; i < 4; i++) {
        const quern_event end = question_hear(r[i], &none);
        assert_int_equal(end.kind, QUERN_EVENT_FINISHED);
        assert_true((end.embedding != NULL) == (end.result.finish == QUERN_FINISH_STOP));
        if (end.embedding == NULL) assert_int_equal(end.result.finish, QUERN_FINISH_CANCELED);
        quern_request_release(r[i]);
    }
    check_embedded(question_submit(e, &p), &long_text);
    quern_engine_destroy(e);
    qn_buffer_deinit(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(company_changes_no_bit),
        cmocka_unit_test(a_text_makes_room_and_comes_back),
        cmocka_unit_test(what_is_known_is_taken_where_it_helps),
        cmocka_unit_test(choices_are_logits),
        cmocka_unit_test(a_long_text_is_refused_or_cut),
        cmocka_unit_test(wishes_that_make_no_sense_are_refused),
        cmocka_unit_test(what_is_canceled_has_no_vector),
    };
    return cmocka_run_group_tests_name("engine_embed", tests, make_models, remove_models);
}
