/* many_models_test.c: more models than memory, in one engine. Each answer is bitwise the one that the request
 * gets alone, however often its model came and went meanwhile; the budget is never overdrawn; who streams
 * goes on while others load; and whatever cannot be loaded fails its own requests, and says why. */
#include "support/cmocka_all.h"
#include "support/long_run.h"
#include "support/tiny_model.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/random.h"
#include "quern.h"

#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { N_MODELS = 12, N_CTX = 256, N_VOCAB = 320, MAX_PROMPT = 300, N_SUBMITTERS = 8, WAIT_MS = 60000 };

static char directory[] = "/tmp/quern_many_models_XXXXXX";
static char paths[N_MODELS][64], names[N_MODELS][8];

/* ---- questions, and their answers alone ---------------------------------------------------------- */

typedef struct question {
    size_t model;
    quern_token prompt[MAX_PROMPT];
    size_t n_prompt, max_tokens;
    uint64_t seed;
} question;

static void make_question(question *q, uint64_t seed)
{
    qn_random r = {.seed = seed, .stream = 1};
    const double u = qn_random_unit(&r);
    *q = (question){.model = (size_t)(u * u * N_MODELS), /* some are asked for more than others */
                    .n_prompt = 1 + qn_random_u64(&r) % 100,
                    .max_tokens = 1 + qn_random_u64(&r) % 20,
                    .seed = seed};
    for (size_t i = 0; i < q->n_prompt; i++) q->prompt[i] = (quern_token)(qn_random_u64(&r) % N_VOCAB);
}

static quern_sampler_params sampler_of(const question *q)
{
    quern_sampler_params p = quern_sampler_params_default();
    p.temperature = q->seed % 3 == 0 ? 0.0f : 1.2f, p.seed = q->seed, p.top_k = 0, p.top_p = 1.0f;
    return p;
}

static bool append(void *user, const char *text, size_t n_bytes)
{
    return qn_buffer_append(user, text, n_bytes);
}

static void check(quern_status s, const quern_error *err)
{
    if (s != QUERN_OK) fail_msg("%s", err->message);
}

/* Answers all questions of one model, one after the other. */
static void answer_alone(size_t model, const question *questions, size_t n, qn_buffer *answers)
{
    quern_model *m;
    quern_context *ctx;
    quern_error err = {0};
    quern_context_params cp = quern_context_params_default();
    cp.n_ctx = N_CTX, cp.n_threads = 1;
    check(quern_model_open(&m, paths[model], NULL, &err), &err);
    check(quern_context_create(&ctx, m, &cp, &err), &err);
    for (size_t i = 0; i < n; i++) {
        const question *q = &questions[i];
        if (q->model != model) continue;
        const quern_sampler_params sp = sampler_of(q);
        quern_sampler *sampler;
        quern_generated result;
        quern_generate_params p = quern_generate_params_default();
        p.prompt = q->prompt, p.n_prompt = q->n_prompt, p.max_tokens = q->max_tokens;
        p.ignore_end = true, p.on_text = append, p.user = &answers[i];
        check(quern_sampler_create(&sampler, m, &sp, &err), &err);
        check(quern_generate(ctx, sampler, &p, &result, &err), &err);
        quern_sampler_destroy(sampler);
    }
    quern_context_destroy(ctx);
    quern_model_close(m);
}

/* ---- engines ------------------------------------------------------------------------------------- */

static quern_engine_model_params small_runner(void)
{
    quern_engine_model_params p = quern_engine_model_params_default();
    p.n_ctx = N_CTX, p.n_parallel = 4, p.n_batch = 64;
    return p;
}

static quern_engine *open_engine(uint64_t memory_limit, const char *pages)
{
    quern_engine_params params = quern_engine_params_default();
    params.n_threads = 2, params.memory_limit = memory_limit, params.cache_directory = pages;
    params.max_swap_wait_ms = 100;
    quern_engine *e;
    quern_error err = {0};
    check(quern_engine_create(&e, &params, &err), &err);
    return e;
}

static void enter_with(quern_engine *e, size_t i, const quern_model_params *mp,
                       const quern_engine_model_params *rp)
{
    const quern_engine_model_params small = small_runner();
    quern_error err = {0};
    check(quern_engine_register_model(e, names[i], paths[i], mp, rp != NULL ? rp : &small, &err), &err);
}

static void enter(quern_engine *e, size_t i)
{
    enter_with(e, i, NULL, NULL);
}

static quern_engine_model_info info_of(quern_engine *e, size_t index)
{
    quern_engine_model_info info;
    assert_true(quern_engine_get_model(e, index, &info));
    return info;
}

/* Bytes that one of the models takes: all but their seeds is the same. */
static uint64_t bytes_of_one(void)
{
    quern_engine *e = open_engine(0, NULL);
    enter(e, 0);
    const quern_engine_model_info info = info_of(e, 0);
    assert_int_equal(info.state, QUERN_MODEL_UNLOADED);
    assert_int_equal(info.bytes, 0);
    quern_engine_destroy(e);
    return info.full_bytes;
}

static uint64_t used_bytes(quern_engine *e)
{
    uint64_t limit, used;
    quern_engine_get_memory(e, &limit, &used);
    assert_true(used <= limit);
    return used;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void await_state(quern_engine *e, size_t index, quern_model_state state)
{
    for (int i = 0; i < WAIT_MS && info_of(e, index).state != state; i++) pause_ms(1);
    assert_int_equal(info_of(e, index).state, state);
}

static quern_request_params request_of(const question *q, const quern_sampler_params *sampler)
{
    quern_request_params p = quern_request_params_default();
    p.model = names[q->model], p.prompt = q->prompt, p.n_prompt = q->n_prompt, p.max_tokens = q->max_tokens;
    p.ignore_end = true, p.sampler = sampler;
    return p;
}

static quern_request *submit(quern_engine *e, const question *q)
{
    quern_request *r;
    quern_error err = {0};
    const quern_sampler_params sampler = sampler_of(q);
    const quern_request_params p = request_of(q, &sampler);
    check(quern_submit(e, &p, &r, &err), &err);
    return r;
}

/* The last event, its text in `text`, its error in *error; kind NONE: it did not come in time. */
static quern_event hear_all(quern_request *r, qn_buffer *text, quern_error *error)
{
    quern_event event, last = {0};
    qn_buffer_clear(text);
    while (quern_request_next(r, WAIT_MS, &event) && event.kind != QUERN_EVENT_NONE) {
        if (event.kind == QUERN_EVENT_TEXT) append(text, event.text, event.n_bytes);
        last = event;
        if (event.error != NULL && error != NULL) *error = *event.error;
    }
    return last;
}

static void expect_end(quern_request *r, quern_event_kind kind, quern_status status, const char *part)
{
    qn_buffer text = {0};
    quern_error error = {0};
    const quern_event end = hear_all(r, &text, &error);
    assert_int_equal(end.kind, kind);
    assert_int_equal(error.status, status);
    if (part != NULL && strstr(error.message, part) == NULL)
        fail_msg("'%s' without '%s'", error.message, part);
    quern_request_release(r);
    qn_buffer_deinit(&text);
}

/* ---- the same answers ---------------------------------------------------------------------------- */

/* QUERN_TEST_QUESTIONS=10000 for a long run. */
static size_t count_questions(void)
{
    return long_run("QUERN_TEST_QUESTIONS", 150);
}

typedef struct crowd {
    quern_engine *engine;
    size_t n_questions;
    question *questions; /* [n_questions] */
    qn_buffer *alone;    /* [n_questions] */
    atomic_size_t next, n_wrong, n_canceled;
    _Atomic uint64_t longest_wait_ns;
} crowd;

static bool is_right(const crowd *c, size_t i, const quern_event *end, const qn_buffer *text)
{
    const qn_buffer *alone = &c->alone[i];
    if (end->kind != QUERN_EVENT_FINISHED) return false;
    if (end->result.finish == QUERN_FINISH_CANCELED) return text->n_bytes <= alone->n_bytes + 3;
    return text->n_bytes == alone->n_bytes && end->result.n_generated == c->questions[i].max_tokens &&
           (text->n_bytes == 0 || memcmp(text->data, alone->data, text->n_bytes) == 0);
}

static void *submit_some(void *user)
{
    static const char *const clients[] = {"one", "two", "three"};
    crowd *c = user;
    qn_buffer text = {0};
    quern_request *several[4];
    size_t which[4], n = 0;
    for (bool is_last = false; !is_last;) { /* four at a time, so that there is something to choose from */
        const size_t i = atomic_fetch_add(&c->next, 1);
        is_last = i >= c->n_questions;
        if (!is_last) {
            qn_random r = {.seed = i, .stream = 4};
            const quern_sampler_params sampler = sampler_of(&c->questions[i]);
            quern_request_params p = request_of(&c->questions[i], &sampler);
            p.priority = (quern_priority)(qn_random_u64(&r) % 4);
            p.client = clients[qn_random_u64(&r) % 3];
            which[n] = i;
            if (quern_submit(c->engine, &p, &several[n], NULL) != QUERN_OK) c->n_wrong++;
            else if (n++, qn_random_u64(&r) % 10 == 0) quern_request_cancel(several[n - 1]);
        }
        for (size_t k = 0; k < n && (n == 4 || is_last); k++) {
            const quern_event end = hear_all(several[k], &text, NULL);
            c->n_wrong += !is_right(c, which[k], &end, &text);
            c->n_canceled += end.result.finish == QUERN_FINISH_CANCELED;
            if (end.result.unloaded_ns > c->longest_wait_ns) c->longest_wait_ns = end.result.unloaded_ns;
            c->n_wrong += end.result.unloaded_ns > end.result.queued_ns;
            quern_request_release(several[k]);
        }
        if (n == 4) n = 0;
        uint64_t limit, used;
        quern_engine_get_memory(c->engine, &limit, &used);
        c->n_wrong += used > limit;
    }
    qn_buffer_deinit(&text);
    return NULL;
}

static void answers_are_what_they_are_alone(void **state)
{
    (void)state;
    const size_t n = count_questions();
    crowd c = {
        .n_questions = n, .questions = calloc(n, sizeof *c.questions), .alone = calloc(n, sizeof *c.alone)};
    for (size_t i = 0; i < n; i++) make_question(&c.questions[i], i);
    for (size_t i = 0; i < N_MODELS; i++) answer_alone(i, c.questions, n, c.alone);
    c.engine = open_engine(3 * bytes_of_one(), NULL);
    for (size_t i = 0; i < N_MODELS; i++) enter(c.engine, i);
    pthread_t threads[N_SUBMITTERS];
    for (size_t i = 0; i < N_SUBMITTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_some, &c), 0);
    for (size_t i = 0; i < N_SUBMITTERS; i++) pthread_join(threads[i], NULL);
    size_t n_loads = 0, n_loaded = 0;
    for (size_t i = 0; i < N_MODELS; i++) {
        const quern_engine_model_info info = info_of(c.engine, i);
        assert_int_equal(info.n_running + info.n_waiting, 0);
        assert_int_equal(info.n_failed, 0);
        n_loads += info.n_loads;
        n_loaded += info.state == QUERN_MODEL_LOADED;
    }
    print_message("%zu questions, %zu canceled, %zu loads, waited for one at most %.2f s\n", n, c.n_canceled,
                  n_loads, (double)c.longest_wait_ns * 1e-9);
    assert_int_equal(c.n_wrong, 0);
    assert_true(n_loaded <= 3 && n_loads >= N_MODELS && n_loads < n);
    quern_engine_destroy(c.engine);
    for (size_t i = 0; i < n; i++) qn_buffer_deinit(&c.alone[i]);
    free(c.questions), free(c.alone);
}

static void pages_on_the_disk_outlive_their_model(void **state)
{
    (void)state;
    char pages[80];
    question q;
    qn_buffer first = {0}, again = {0};
    quern_error err = {0};
    snprintf(pages, sizeof pages, "%s/pages", directory);
    quern_engine *e = open_engine(0, pages);
    quern_engine_model_params larger = small_runner();
    larger.n_ctx = 2 * N_CTX;
    enter_with(e, 0, NULL, &larger);
    make_question(&q, 14);
    q.model = 0, q.n_prompt = MAX_PROMPT, q.max_tokens = 10;
    for (size_t i = 0; i < MAX_PROMPT; i++) q.prompt[i] = (quern_token)(i % N_VOCAB);
    quern_request *r = submit(e, &q);
    assert_int_equal(hear_all(r, &first, NULL).result.n_cached, 0);
    quern_request_release(r);
    check(quern_engine_unload_model(e, names[0], true, &err), &err);
    r = submit(e, &q);
    const quern_event end = hear_all(r, &again, NULL);
    assert_int_equal(end.result.n_cached, 256); /* whole pages */
    assert_true(end.result.unloaded_ns > 0);
    assert_int_equal(info_of(e, 0).n_loads, 2);
    quern_request_release(r);
    assert_int_equal(first.n_bytes, again.n_bytes);
    assert_memory_equal(first.data, again.data, first.n_bytes);
    quern_engine_destroy(e);
    qn_buffer_deinit(&first), qn_buffer_deinit(&again);
}

/* ---- loading beside others ----------------------------------------------------------------------- */

typedef struct gate {
    atomic_bool is_open;
} gate;

static bool wait_at_gate(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    gate *g = user;
    (void)done_bytes, (void)total_bytes;
    while (!g->is_open) pause_ms(1);
    return true;
}

static void who_streams_goes_on_while_another_loads(void **state)
{
    (void)state;
    gate g = {0};
    question streams, waits;
    quern_engine *e = open_engine(0, NULL);
    quern_model_params slow = quern_model_params_default();
    slow.progress = wait_at_gate, slow.progress_user = &g;
    enter(e, 0);
    enter_with(e, 1, &slow, NULL);
    make_question(&streams, 1), make_question(&waits, 2);
    streams.model = 0, streams.n_prompt = 5, streams.max_tokens = 200;
    waits.model = 1;
    quern_request *waiting = submit(e, &waits), *late = submit(e, &waits), *canceled = submit(e, &waits);
    await_state(e, 1, QUERN_MODEL_LOADING);
    quern_request_cancel(canceled); /* also where nothing runs */
    expect_end(canceled, QUERN_EVENT_FINISHED, QUERN_OK, NULL);
    quern_error err = {0};
    check(quern_engine_unload_model(e, names[0], true, &err), &err); /* it is not there */
    assert_int_equal(quern_engine_unload_model(e, names[1], true, &err), QUERN_ERR_BUSY);
    const quern_sampler_params sampler = sampler_of(&waits);
    quern_request_params p = request_of(&waits, &sampler);
    quern_request *timed;
    p.deadline_ns = 20 * 1000000;
    check(quern_submit(e, &p, &timed, &err), &err);
    qn_buffer text = {0};
    assert_int_equal(hear_all(timed, &text, NULL).result.finish, QUERN_FINISH_TIMEOUT);
    quern_request_release(timed);
    g.is_open = true; /* one model moves at a time: the other comes after it */
    check(quern_engine_load_model(e, names[0], true, &err), &err);
    expect_end(waiting, QUERN_EVENT_FINISHED, QUERN_OK, NULL);
    expect_end(late, QUERN_EVENT_FINISHED, QUERN_OK, NULL);
    check(quern_engine_unload_model(e, names[1], true, &err), &err);
    g.is_open = false;
    waiting = submit(e, &waits);
    await_state(e, 1, QUERN_MODEL_LOADING);
    quern_request *streaming = submit(e, &streams); /* its model is there: it is answered meanwhile */
    expect_end(streaming, QUERN_EVENT_FINISHED, QUERN_OK, NULL);
    assert_int_equal(info_of(e, 1).state, QUERN_MODEL_LOADING);
    g.is_open = true;
    expect_end(waiting, QUERN_EVENT_FINISHED, QUERN_OK, NULL);
    quern_engine_destroy(e);
    qn_buffer_deinit(&text);
}

typedef struct leaving {
    quern_engine *engine;
    const char *name;
    atomic_bool is_told;
    quern_status status;
    quern_error err;
} leaving;

static void *send_away(void *user)
{
    leaving *l = user;
    l->status = quern_engine_unload_model(l->engine, l->name, true, &l->err);
    l->is_told = true;
    return NULL;
}

static void who_is_wanted_again_stays(void **state)
{
    (void)state;
    gate g = {0};
    question q;
    quern_engine *e = open_engine(0, NULL);
    quern_model_params slow = quern_model_params_default();
    slow.progress = wait_at_gate, slow.progress_user = &g;
    enter(e, 0);
    enter_with(e, 1, &slow, NULL);
    quern_error err = {0};
    check(quern_engine_load_model(e, names[0], true, &err), &err);
    check(quern_engine_load_model(e, names[1], false, &err), &err);
    await_state(e, 1, QUERN_MODEL_LOADING); /* one model moves at a time: nothing leaves meanwhile */
    enum { ASKED, LOADED, PINNED };
    for (int how = ASKED; how <= PINNED; how++) {
        leaving l = {.engine = e, .name = names[0]};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, send_away, &l), 0);
        pause_ms(20);
        make_question(&q, 1);
        q.model = 0, q.n_prompt = 5, q.max_tokens = 3;
        for (int i = 0; i < WAIT_MS && !l.is_told; i++) { /* again, where the thread was slow to ask */
            if (how == PINNED) check(quern_engine_pin_model(e, names[0], true, &err), &err);
            else if (how == LOADED) check(quern_engine_load_model(e, names[0], true, &err), &err);
            else expect_end(submit(e, &q), QUERN_EVENT_FINISHED, QUERN_OK, NULL);
            pause_ms(1);
        }
        const bool is_told = l.is_told; /* while the gate is closed */
        if (!is_told) g.is_open = true;
        pthread_join(thread, NULL);
        assert_true(is_told);
        assert_int_equal(l.status, QUERN_ERR_BUSY);
        assert_int_equal(info_of(e, 0).state, QUERN_MODEL_LOADED);
    }
    g.is_open = true;
    quern_engine_destroy(e);
}

static void closing_ends_what_waits_for_a_model(void **state)
{
    (void)state;
    question q;
    quern_request *requests[24];
    quern_engine *e = open_engine(2 * bytes_of_one(), NULL);
    for (size_t i = 0; i < N_MODELS; i++) enter(e, i);
    for (size_t i = 0; i < 24; i++) {
        make_question(&q, i);
        q.model = i % N_MODELS;
        requests[i] = submit(e, &q);
    }
    quern_engine_destroy(e);
    for (size_t i = 0; i < 24; i++) expect_end(requests[i], QUERN_EVENT_FINISHED, QUERN_OK, NULL);
}

/* ---- on purpose ---------------------------------------------------------------------------------- */

static void models_come_and_go_when_asked_to(void **state)
{
    (void)state;
    quern_error err = {0};
    question q;
    quern_engine *e = open_engine(0, NULL);
    quern_engine_model_params brief = small_runner();
    brief.idle_unload_ms = 30;
    enter(e, 0);
    enter_with(e, 1, NULL, &brief);
    check(quern_engine_load_model(e, names[0], true, &err), &err);
    check(quern_engine_load_model(e, names[0], true, &err), &err);
    quern_engine_model_info info = info_of(e, 0);
    assert_int_equal(info.state, QUERN_MODEL_LOADED);
    assert_int_equal(info.n_loads, 1);
    assert_int_equal(info.n_ctx, N_CTX);
    assert_int_equal(info.bytes, info.full_bytes);
    assert_int_equal(used_bytes(e), info.bytes);
    assert_string_equal(info.name, names[0]);
    assert_string_equal(info.path, paths[0]);
    check(quern_engine_pin_model(e, names[0], true, &err), &err);
    assert_int_equal(quern_engine_unload_model(e, names[0], true, &err), QUERN_ERR_BUSY);
    check(quern_engine_pin_model(e, names[0], false, &err), &err);
    make_question(&q, 3);
    q.model = 0, q.n_prompt = 3, q.max_tokens = 200;
    quern_request *r = submit(e, &q);
    assert_int_equal(quern_engine_unload_model(e, names[0], true, &err), QUERN_ERR_BUSY);
    expect_end(r, QUERN_EVENT_FINISHED, QUERN_OK, NULL);
    check(quern_engine_unload_model(e, names[0], true, &err), &err);
    check(quern_engine_unload_model(e, names[0], true, &err), &err);
    assert_int_equal(used_bytes(e), 0);
    check(quern_engine_load_model(e, names[1], true, &err), &err);
    await_state(e, 1, QUERN_MODEL_UNLOADED);
    assert_int_equal(quern_engine_load_model(e, "none", true, &err), QUERN_ERR_NOT_FOUND);
    assert_int_equal(quern_engine_unload_model(e, "none", true, &err), QUERN_ERR_NOT_FOUND);
    assert_int_equal(quern_engine_pin_model(e, "none", true, &err), QUERN_ERR_NOT_FOUND);
    assert_non_null(quern_engine_model(e, names[1]));
    assert_null(quern_engine_model(e, "none"));
    assert_false(quern_engine_get_model(e, 2, &info));
    quern_engine_destroy(e);
}

static void a_callers_model_stays(void **state)
{
    (void)state;
    quern_error err = {0};
    quern_model *m;
    const quern_engine_model_params small = small_runner();
    check(quern_model_open(&m, paths[0], NULL, &err), &err);
    quern_engine *e = open_engine(0, NULL);
    check(quern_engine_add_model(e, "mine", m, &small, &err), &err);
    check(quern_engine_load_model(e, "mine", true, &err), &err);
    assert_int_equal(quern_engine_unload_model(e, "mine", true, &err), QUERN_ERR_ARGUMENT);
    assert_int_equal(quern_engine_pin_model(e, "mine", true, &err), QUERN_ERR_ARGUMENT);
    assert_ptr_equal(quern_engine_model(e, NULL), m);
    const uint64_t bytes = used_bytes(e);
    assert_true(bytes > 0 && bytes < bytes_of_one());
    assert_int_equal(quern_engine_register_model(e, "mine", paths[1], NULL, NULL, &err), QUERN_ERR_ARGUMENT);
    quern_engine_destroy(e);
    e = open_engine(bytes - 1, NULL);
    assert_int_equal(quern_engine_add_model(e, "mine", m, &small, &err), QUERN_ERR_NOMEM);
    quern_engine_destroy(e);
    quern_model_close(m);
}

/* ---- what cannot be loaded ----------------------------------------------------------------------- */

static void copy_file(const char *from, const char *to, long most_bytes)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_non_null(in), assert_non_null(out);
    for (int c; most_bytes != 0 && (c = getc(in)) != EOF; most_bytes--) putc(c, out);
    fclose(in), fclose(out);
}

static void refuse_file(quern_engine *e, const char *path, quern_status status)
{
    quern_error err = {0};
    assert_int_equal(quern_engine_register_model(e, "bad", path, NULL, NULL, &err), status);
    assert_true(err.message[0] != '\0');
}

static const uint64_t MOMENT_NS = 900000000; /* a model that failed is not tried again for a second */

/* Its requests fail, then are refused for a moment; other models' do not. */
static void fail_to_load(quern_engine *e, const char *name, quern_status status, const char *part)
{
    question q;
    quern_error err = {0};
    quern_request *r;
    make_question(&q, 5);
    q.model = 0;
    const quern_sampler_params sampler = sampler_of(&q);
    quern_request_params p = request_of(&q, &sampler);
    p.model = name;
    const uint64_t start = qn_clock_ns();
    check(quern_submit(e, &p, &r, &err), &err);
    expect_end(r, QUERN_EVENT_FAILED, status, part);
    const quern_status again = quern_submit(e, &p, &r, &err);
    if (qn_clock_ns() - start < MOMENT_NS) assert_int_equal(again, status);
    quern_request_release(r);
    assert_int_equal(quern_engine_load_model(e, name, true, &err), status); /* this tries again */
    expect_end(submit(e, &q), QUERN_EVENT_FINISHED, QUERN_OK, NULL);
}

static void bad_files_fail_their_own_requests(void **state)
{
    (void)state;
    char gone[80], changed[80], cut[80];
    quern_error err = {0};
    quern_engine *e = open_engine(0, NULL);
    snprintf(gone, sizeof gone, "%s/gone", directory);
    snprintf(changed, sizeof changed, "%s/changed", directory);
    snprintf(cut, sizeof cut, "%s/cut", directory);
    enter(e, 0);
    refuse_file(e, "/nowhere/model.gguf", QUERN_ERR_NOT_FOUND);
    copy_file(paths[1], cut, 5000);
    refuse_file(e, cut, QUERN_ERR_FORMAT);
    copy_file(paths[1], gone, -1), copy_file(paths[1], changed, -1);
    check(quern_engine_register_model(e, "gone", gone, NULL, NULL, &err), &err);
    check(quern_engine_register_model(e, "changed", changed, NULL, NULL, &err), &err);
    unlink(gone), unlink(changed);
    copy_file(paths[2], changed, -1);
    fail_to_load(e, "changed", QUERN_ERR_FORMAT, "changed");
    const uint64_t start = qn_clock_ns();
    fail_to_load(e, "gone", QUERN_ERR_NOT_FOUND, "gone");
    const quern_engine_model_info info = info_of(e, 1);
    if (qn_clock_ns() - start < MOMENT_NS) assert_int_equal(info.state, QUERN_MODEL_FAILED);
    assert_int_equal(info.n_failed, 2);
    assert_int_equal(info.last_error.status, QUERN_ERR_NOT_FOUND);
    copy_file(paths[1], gone, -1); /* whoever repairs it need not wait */
    quern_engine_destroy(e);
}

static void too_little_memory_is_said_or_a_smaller_context_taken(void **state)
{
    (void)state;
    question q;
    qn_buffer alone = {0}, text = {0};
    quern_error err = {0};
    const uint64_t one = bytes_of_one();
    quern_engine *e = open_engine(one / 2, NULL);
    enter(e, 0);
    make_question(&q, 7);
    q.model = 0;
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)(one / 2));
    expect_end(submit(e, &q), QUERN_EVENT_FAILED, QUERN_ERR_NOMEM, number);
    assert_int_equal(quern_engine_load_model(e, names[0], true, &err), QUERN_ERR_NOMEM);
    quern_engine_destroy(e);

    answer_alone(0, &q, 1, &alone);
    e = open_engine(one - 1, NULL); /* by the plan */
    enter(e, 0);
    quern_request *r = submit(e, &q);
    assert_int_equal(hear_all(r, &text, &err).kind, QUERN_EVENT_FINISHED);
    quern_request_release(r);
    quern_engine_model_info info = info_of(e, 0);
    assert_true(info.n_ctx < N_CTX && info.n_ctx >= q.n_prompt + q.max_tokens);
    assert_true(info.bytes < info.full_bytes);
    assert_int_equal(text.n_bytes, alone.n_bytes);
    assert_memory_equal(text.data, alone.data, text.n_bytes);
    q.max_tokens = N_CTX - q.n_prompt; /* this would need all */
    expect_end(submit(e, &q), QUERN_EVENT_FAILED, QUERN_ERR_NOMEM, "positions");
    assert_int_equal(info_of(e, 0).state, QUERN_MODEL_LOADED);
    quern_engine_destroy(e);

    quern_engine_model_params tight = small_runner(); /* by what is there when it loads */
    e = open_engine(0, NULL);
    enter(e, 0);
    info = info_of(e, 0);
    tight.n_ctx = 2048, tight.n_batch = 16, tight.memory_limit = info.full_bytes / 2;
    enter_with(e, 1, NULL, &tight);
    make_question(&q, 8);
    q.model = 1;
    expect_end(submit(e, &q), QUERN_EVENT_FINISHED, QUERN_OK, NULL);
    info = info_of(e, 1);
    assert_true(info.n_ctx < 2048);
    assert_int_equal(info.full_n_ctx, 2048);
    assert_int_equal(info.n_loads, 1);
    quern_engine_destroy(e);
    qn_buffer_deinit(&alone), qn_buffer_deinit(&text);
}

static void a_failing_allocation_is_survived(void **state)
{
    (void)state;
    quern_error err = {0};
    const quern_engine_model_params small = small_runner();
    quern_engine *e = open_engine(0, NULL);
    const long before = qn_alloc_live();
    long k = 0;
    for (quern_status s = QUERN_ERR_NOMEM; s != QUERN_OK; k += k < 30 ? 1 : 17) {
        qn_alloc_fail_at(k);
        s = quern_engine_register_model(e, names[0], paths[0], NULL, &small, &err);
        const bool has_failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_true(s == QUERN_OK || s == QUERN_ERR_NOMEM);
        assert_true(s == QUERN_OK || has_failed);
        if (s != QUERN_OK) assert_int_equal(qn_alloc_live(), before);
    }
    const long loaded_from = k;
    bool has_failed = true;
    for (k = 0; has_failed; k += k < 30 ? 1 : 17) { /* tried again: so the model comes in any case */
        qn_alloc_fail_at(k);
        check(quern_engine_load_model(e, names[0], true, &err), &err);
        has_failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        check(quern_engine_unload_model(e, names[0], true, &err), &err);
        assert_true(k < 100000);
    }
    assert_true(loaded_from > 10 && k > 10);
    quern_engine_destroy(e);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static int write_models(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL) return -1;
    for (unsigned i = 0; i < N_MODELS; i++) {
        const tiny_model kind = {.seed = i + 1, .n_layer = 1};
        snprintf(names[i], sizeof names[i], "m%u", i);
        snprintf(paths[i], sizeof paths[i], "%s/%u.gguf", directory, i);
        if (!tiny_model_write(paths[i], &kind)) return -1;
    }
    return 0;
}

static int remove_models(void **state)
{
    (void)state;
    return nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_what_they_are_alone),
        cmocka_unit_test(pages_on_the_disk_outlive_their_model),
        cmocka_unit_test(who_streams_goes_on_while_another_loads),
        cmocka_unit_test(who_is_wanted_again_stays),
        cmocka_unit_test(closing_ends_what_waits_for_a_model),
        cmocka_unit_test(models_come_and_go_when_asked_to),
        cmocka_unit_test(a_callers_model_stays),
        cmocka_unit_test(bad_files_fail_their_own_requests),
        cmocka_unit_test(too_little_memory_is_said_or_a_smaller_context_taken),
        cmocka_unit_test(a_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, write_models, remove_models);
}
