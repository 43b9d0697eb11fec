/* engine_test.c: many requests at once on tiny models. Each answer is bitwise the one that the request gets
 * alone, whoever runs beside it, whatever was known of its prompt, however often it had to make room; and
 * every request ends, told so once. */
#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "base/alloc.h"
#include "base/buffer.h"
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

enum { N_CTX = 512, N_VOCAB = 320, MAX_PROMPT = 420 };

static quern_model *model, *windowed;

/* ---- questions, and their answers alone ---------------------------------------------------------- */

typedef struct question {
    quern_token prompt[MAX_PROMPT];
    size_t n_prompt, max_tokens;
    uint64_t seed;
    float temperature;
    const quern_grammar *grammar;
    const char *stop; /* or NULL */
} question;

/* Prompts of one family begin alike, for a random length. is_long: the answer is longer than its prompt. */
static void make_question(question *q, uint64_t seed, bool is_long)
{
    qn_random r = {.seed = seed, .stream = 1};
    const uint64_t family = qn_random_u64(&r) % 3;
    qn_random common = {.seed = family, .stream = 2}, own = {.seed = seed, .stream = 3};
    const size_t n_common = qn_random_u64(&r) % (is_long ? 40 : 300);
    *q = (question){.n_prompt = n_common + 1 + qn_random_u64(&r) % 100,
                    .max_tokens = is_long ? 120 + qn_random_u64(&r) % 100 : 1 + qn_random_u64(&r) % 60,
                    .seed = seed,
                    .temperature = seed % 3 == 0 ? 0.0f : 1.2f,
                    .stop = seed % 5 == 0 ? "a" : NULL};
    for (size_t i = 0; i < q->n_prompt; i++)
        q->prompt[i] = (quern_token)(qn_random_u64(i < n_common ? &common : &own) % N_VOCAB);
}

static quern_sampler_params sampler_of(const question *q)
{
    quern_sampler_params p = quern_sampler_params_default();
    p.temperature = q->temperature, p.seed = q->seed, p.repeat_penalty = 1.1f, p.top_k = 0, p.top_p = 1.0f;
    return p;
}

static bool append(void *user, const char *text, size_t n_bytes)
{
    return qn_buffer_append(user, text, n_bytes);
}

static quern_context *open_context(const quern_model *m)
{
    quern_context_params params = quern_context_params_default();
    params.n_ctx = N_CTX, params.n_threads = 1;
    quern_context *ctx;
    quern_error err;
    if (quern_context_create(&ctx, m, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    return ctx;
}

static quern_generated answer_alone(quern_context *ctx, const question *q, qn_buffer *text)
{
    const quern_sampler_params sp = sampler_of(q);
    quern_sampler *sampler;
    quern_error err = {0};
    quern_generated result;
    quern_generate_params p = quern_generate_params_default();
    p.prompt = q->prompt, p.n_prompt = q->n_prompt, p.max_tokens = q->max_tokens, p.grammar = q->grammar;
    p.stops = &q->stop, p.n_stops = q->stop != NULL, p.on_text = append, p.user = text;
    qn_buffer_clear(text);
    assert_int_equal(quern_sampler_create(&sampler, quern_context_model(ctx), &sp, &err), QUERN_OK);
    if (quern_generate(ctx, sampler, &p, &result, &err) != QUERN_OK) fail_msg("%s", err.message);
    quern_sampler_destroy(sampler);
    return result;
}

/* ---- engines ------------------------------------------------------------------------------------- */

typedef struct engine_options {
    int n_threads;
    uint32_t n_parallel, n_batch;
    uint64_t n_positions;
    const char *directory; /* for pages; or NULL */
} engine_options;

static quern_engine *open_engine(const quern_model *m, engine_options o)
{
    quern_engine_params params = quern_engine_params_default();
    params.n_threads = o.n_threads > 0 ? o.n_threads : 2;
    params.cache_directory = o.directory;
    quern_engine_model_params mp = quern_engine_model_params_default();
    mp.n_ctx = N_CTX, mp.n_parallel = o.n_parallel > 0 ? o.n_parallel : 8;
    mp.n_batch = o.n_batch > 0 ? o.n_batch : 64, mp.n_positions = o.n_positions;
    quern_engine *e;
    quern_error err = {0};
    assert_int_equal(quern_engine_create(&e, &params, &err), QUERN_OK);
    if (quern_engine_add_model(e, "tiny", m, &mp, &err) != QUERN_OK) fail_msg("%s", err.message);
    return e;
}

static quern_request_params request_of(const question *q, const quern_sampler_params *sampler)
{
    quern_request_params p = quern_request_params_default();
    p.prompt = q->prompt, p.n_prompt = q->n_prompt, p.max_tokens = q->max_tokens, p.sampler = sampler;
    p.grammar = q->grammar, p.stops = &q->stop, p.n_stops = q->stop != NULL;
    return p;
}

static quern_request *submit(quern_engine *e, const quern_request_params *p)
{
    quern_request *r;
    quern_error err = {0};
    if (quern_submit(e, p, &r, &err) != QUERN_OK) fail_msg("%s", err.message);
    return r;
}

/* Fetches all that comes, on any thread. Returns the last event, or of kind NONE what was out of order. */
static quern_event hear_all(quern_request *r, qn_buffer *text)
{
    quern_event event, last = {0};
    bool is_right = true;
    qn_buffer_clear(text);
    while (quern_request_next(r, 60000, &event)) {
        is_right &= event.kind > last.kind || (event.kind == last.kind && event.n_done >= last.n_done &&
                                               event.kind < QUERN_EVENT_FINISHED);
        if (event.kind == QUERN_EVENT_TEXT)
            is_right &= event.text[event.n_bytes] == '\0' && append(text, event.text, event.n_bytes);
        last = event;
        if (event.kind == QUERN_EVENT_NONE) break;
    }
    if (!is_right || last.kind < QUERN_EVENT_FINISHED) last.kind = QUERN_EVENT_NONE;
    return last;
}

/* ---- the same answer ----------------------------------------------------------------------------- */

enum { N_SUBMITTERS = 6 };

/* Of each crowd; QUERN_TEST_QUESTIONS=2500 for a long run. */
static size_t count_questions(void)
{
    const char *said = getenv("QUERN_TEST_QUESTIONS");
    return said != NULL ? (size_t)strtoul(said, NULL, 10) : 60;
}

typedef struct crowd {
    quern_engine *engine;
    size_t n_questions;
    question *questions; /* [n_questions] */
    qn_buffer *alone;    /* [n_questions] what is said alone */
    quern_generated *results;
    atomic_size_t next, n_wrong, n_preempted, n_cached, n_canceled;
} crowd;

static void pause_us(uint64_t us)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
}

/* What came of a request that may have been canceled: the beginning of what it says alone, or all of it. */
static bool is_right(const crowd *c, size_t i, const quern_event *end, const qn_buffer *text)
{
    size_t n_bytes = text->n_bytes;
    static const char half[] = "\xef\xbf\xbd"; /* what stands for a character that was cut off */
    const qn_buffer *alone = &c->alone[i];
    if (end->result.finish == QUERN_FINISH_CANCELED)
        while (n_bytes >= 3 && memcmp(text->data + n_bytes - 3, half, 3) == 0) n_bytes -= 3;
    if (end->kind != QUERN_EVENT_FINISHED || n_bytes > alone->n_bytes) return false;
    if (n_bytes > 0 && memcmp(text->data, alone->data, n_bytes) != 0) return false;
    if (end->result.finish == QUERN_FINISH_CANCELED) return true;
    return n_bytes == alone->n_bytes && end->result.finish == c->results[i].finish &&
           end->result.n_generated == c->results[i].n_generated && end->result.stop == c->results[i].stop;
}

static void *submit_some(void *user)
{
    static const char *const clients[] = {"one", "two", "three"};
    crowd *c = user;
    qn_buffer text = {0};
    for (size_t i; (i = atomic_fetch_add(&c->next, 1)) < c->n_questions;) {
        qn_random r = {.seed = i, .stream = 4};
        const quern_sampler_params sampler = sampler_of(&c->questions[i]);
        quern_request_params p = request_of(&c->questions[i], &sampler);
        quern_request *request;
        p.priority = (quern_priority)(qn_random_u64(&r) % 4);
        p.client = clients[qn_random_u64(&r) % 3];
        p.cache_scope = qn_random_u64(&r) % 2 == 0 ? NULL : "shared";
        if (quern_submit(c->engine, &p, &request, NULL) != QUERN_OK) {
            c->n_wrong++;
            continue;
        }
        if (qn_random_u64(&r) % 5 == 0) {
            pause_us(qn_random_u64(&r) % 20000);
            quern_request_cancel(request);
        }
        const quern_event end = hear_all(request, &text);
        c->n_wrong += !is_right(c, i, &end, &text);
        c->n_preempted += end.result.n_preempted;
        c->n_cached += end.result.n_cached;
        c->n_canceled += end.result.finish == QUERN_FINISH_CANCELED;
        quern_request_release(request);
    }
    qn_buffer_deinit(&text);
    return NULL;
}

/* is_tight: short prompts and long answers, so that there is too little room for all who have begun. */
static void crowd_on(const quern_model *m, engine_options o, bool is_tight)
{
    const size_t n = count_questions();
    crowd c = {.n_questions = n,
               .questions = calloc(n, sizeof *c.questions),
               .alone = calloc(n, sizeof *c.alone),
               .results = calloc(n, sizeof *c.results)};
    quern_context *ctx = open_context(m);
    for (size_t i = 0; i < n; i++) {
        make_question(&c.questions[i], i, is_tight);
        c.results[i] = answer_alone(ctx, &c.questions[i], &c.alone[i]);
    }
    quern_context_destroy(ctx);
    c.engine = open_engine(m, o);
    pthread_t threads[N_SUBMITTERS];
    for (size_t i = 0; i < N_SUBMITTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_some, &c), 0);
    for (size_t i = 0; i < N_SUBMITTERS; i++) pthread_join(threads[i], NULL);
    quern_engine_destroy(c.engine);
    assert_int_equal(c.n_wrong, 0);
    assert_true(c.n_cached > 0);
    assert_true(!is_tight || c.n_preempted > 0);
    for (size_t i = 0; i < n; i++) qn_buffer_deinit(&c.alone[i]);
    free(c.questions), free(c.alone), free(c.results);
}

static void answers_are_what_they_are_alone(void **state)
{
    (void)state;
    crowd_on(model, (engine_options){.n_parallel = 8, .n_positions = 8 * N_CTX}, false);
    crowd_on(windowed, (engine_options){.n_parallel = 4, .n_positions = 4 * N_CTX, .n_batch = 100}, false);
}

static void who_makes_room_goes_on_later(void **state)
{
    (void)state;
    crowd_on(model, (engine_options){.n_parallel = 6, .n_positions = N_CTX, .n_batch = 48}, true);
    crowd_on(windowed, (engine_options){.n_parallel = 6, .n_positions = N_CTX, .n_threads = 1}, true);
}

/* ---- events, and ends ---------------------------------------------------------------------------- */

static const engine_options small = {.n_parallel = 2, .n_positions = 2 * N_CTX};

static void a_prompt_that_is_known_is_not_read_again(void **state)
{
    (void)state;
    const quern_model *const models[] = {model, windowed};
    for (size_t k = 0; k < 2; k++) {
        question q;
        qn_buffer first = {0}, again = {0};
        quern_engine *e = open_engine(models[k], small);
        make_question(&q, 12, false);
        q.n_prompt = 300, q.max_tokens = 20, q.stop = NULL;
        const quern_sampler_params sampler = sampler_of(&q);
        quern_request_params p = request_of(&q, &sampler);
        quern_request *r = submit(e, &p);
        assert_int_equal(hear_all(r, &first).result.n_cached, 0);
        quern_request_release(r);
        r = submit(e, &p);
        assert_int_equal(hear_all(r, &again).result.n_cached, q.n_prompt - 1);
        quern_request_release(r);
        assert_int_equal(first.n_bytes, again.n_bytes);
        assert_memory_equal(first.data, again.data, first.n_bytes);
        p.cache_scope = "another";
        r = submit(e, &p);
        assert_int_equal(hear_all(r, &again).result.n_cached, 0);
        quern_request_release(r);
        quern_engine_destroy(e);
        qn_buffer_deinit(&first), qn_buffer_deinit(&again);
    }
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static void what_was_computed_outlives_the_engine(void **state)
{
    (void)state;
    const quern_model *const models[] = {model, windowed};
    for (size_t k = 0; k < 2; k++) {
        char directory[] = "/tmp/quern_engine_pages_XXXXXX";
        question q;
        qn_buffer text[3] = {0};
        size_t n_cached[3];
        assert_non_null(mkdtemp(directory));
        make_question(&q, 14, false);
        q.n_prompt = 400, q.max_tokens = 30, q.stop = NULL;
        const quern_sampler_params sampler = sampler_of(&q);
        for (size_t i = 0; i < 3; i++) { /* the last one is of another scope */
            quern_engine *e = open_engine(
                models[k],
                (engine_options){.n_parallel = 2, .n_positions = 2 * N_CTX, .directory = directory});
            quern_request_params p = request_of(&q, &sampler);
            p.ignore_end = true, p.cache_scope = i == 2 ? "another" : "one";
            quern_request *r = submit(e, &p);
            n_cached[i] = hear_all(r, &text[i]).result.n_cached;
            quern_request_release(r);
            quern_engine_destroy(e);
        }
        assert_int_equal(n_cached[0], 0);
        assert_int_equal(n_cached[1], 384);
        assert_int_equal(n_cached[2], 0);
        for (size_t i = 1; i < 3; i++) {
            assert_int_equal(text[0].n_bytes, text[i].n_bytes);
            assert_memory_equal(text[0].data, text[i].data, text[0].n_bytes);
        }
        for (size_t i = 0; i < 3; i++) qn_buffer_deinit(&text[i]);
        nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
}

typedef struct witness {
    atomic_int n_events, n_ends;
    quern_event_kind last;
    quern_finish finish;
} witness;

static void see(void *user, quern_request *r, const quern_event *event)
{
    witness *w = user;
    w->n_events++;
    w->last = event->kind;
    if (event->kind == QUERN_EVENT_TEXT) quern_request_cancel(r);
    if (event->kind != QUERN_EVENT_FINISHED && event->kind != QUERN_EVENT_FAILED) return;
    w->finish = event->result.finish;
    w->n_ends++;
}

static void a_request_ends_in_every_state(void **state)
{
    (void)state;
    question q;
    witness seen[12] = {0};
    quern_request *requests[12];
    quern_engine *e = open_engine(model, small);
    make_question(&q, 5, false);
    q.max_tokens = 0, q.stop = NULL;
    const quern_sampler_params sampler = sampler_of(&q);
    quern_request_params p = request_of(&q, &sampler);
    p.on_event = see, p.ignore_end = true;
    for (size_t i = 0; i < 12; i++) { /* some run, most wait; each cancels itself at its first text */
        p.user = &seen[i];
        p.deadline_ns = i == 11 ? 1 : 0;
        requests[i] = submit(e, &p);
    }
    quern_request_cancel(requests[7]);
    quern_request_release(requests[8]), requests[8] = NULL;
    for (int i = 0; i < 4000 && seen[10].n_ends == 0; i++) pause_us(5000);
    assert_int_equal(seen[9].n_ends, 1); /* the order is that of arrival */
    quern_engine_destroy(e);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(seen[i].n_ends, 1);
        assert_int_equal(seen[i].last, QUERN_EVENT_FINISHED);
        assert_int_equal(seen[i].finish, i == 11 ? QUERN_FINISH_TIMEOUT : QUERN_FINISH_CANCELED);
        quern_request_release(requests[i]); /* after the engine has gone */
    }
}

static void closing_ends_what_runs_and_what_waits(void **state)
{
    (void)state;
    question q;
    quern_request *requests[20];
    qn_buffer text = {0};
    quern_engine *e = open_engine(model, small);
    make_question(&q, 8, false);
    const quern_sampler_params sampler = sampler_of(&q);
    quern_request_params p = request_of(&q, &sampler);
    p.max_tokens = 0, p.ignore_end = true, p.n_stops = 0;
    for (size_t i = 0; i < 20; i++) requests[i] = submit(e, &p);
    quern_engine_destroy(e);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(hear_all(requests[i], &text).kind, QUERN_EVENT_FINISHED);
        quern_request_release(requests[i]);
    }
    qn_buffer_deinit(&text);
}

static void the_urgent_take_the_place_of_the_patient(void **state)
{
    (void)state;
    question q;
    quern_request *patient[2];
    qn_buffer text = {0};
    quern_engine *e = open_engine(model, small);
    quern_event event;
    make_question(&q, 10, false);
    q.stop = NULL, q.max_tokens = 150;
    quern_sampler_params sampler = sampler_of(&q);
    quern_request_params p = request_of(&q, &sampler);
    p.ignore_end = true, p.priority = QUERN_PRIORITY_BACKGROUND;
    for (size_t i = 0; i < 2; i++) {
        patient[i] = submit(e, &p);
        while (quern_request_next(patient[i], -1, &event) && event.kind != QUERN_EVENT_TEXT) continue;
    }
    p.priority = QUERN_PRIORITY_INTERACTIVE, p.max_tokens = 3;
    quern_request *urgent = submit(e, &p);
    assert_int_equal(hear_all(urgent, &text).kind, QUERN_EVENT_FINISHED);
    quern_request_release(urgent);
    assert_int_equal(hear_all(patient[0], &text).result.n_preempted, 0);
    assert_int_equal(hear_all(patient[1], &text).result.n_preempted, 1);
    quern_request_release(patient[0]), quern_request_release(patient[1]);
    quern_engine_destroy(e);
    qn_buffer_deinit(&text);
}

static void refuse(quern_engine *e, quern_request_params p, quern_status status, const char *part)
{
    quern_request *r;
    quern_error err = {0};
    assert_int_equal(quern_submit(e, &p, &r, &err), status);
    assert_null(r);
    if (strstr(err.message, part) == NULL) fail_msg("'%s' does not say '%s'", err.message, part);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    question q;
    quern_engine *e = open_engine(model, small);
    make_question(&q, 3, false);
    q.stop = NULL;
    const quern_request_params good = request_of(&q, NULL);
    quern_request_params p = good;
    p.model = "none", refuse(e, p, QUERN_ERR_NOT_FOUND, "none"), p = good;
    p.n_prompt = 0, refuse(e, p, QUERN_ERR_ARGUMENT, "empty"), p = good;
    p.priority = (quern_priority)9, refuse(e, p, QUERN_ERR_ARGUMENT, "priority"), p = good;
    p.weight = 0.0, refuse(e, p, QUERN_ERR_ARGUMENT, "weight"), p = good;
    p.n_prompt = N_CTX + 1;
    quern_token many[N_CTX + 1] = {0};
    p.prompt = many, refuse(e, p, QUERN_ERR_CTX_FULL, "512"), p = good;
    many[0] = N_VOCAB, p.prompt = many, p.n_prompt = 1, refuse(e, p, QUERN_ERR_ARGUMENT, "320"), p = good;
    const char *empty = "";
    p.stops = &empty, p.n_stops = 1, refuse(e, p, QUERN_ERR_ARGUMENT, "stop"), p = good;
    quern_sampler_params wrong = quern_sampler_params_default();
    wrong.top_p = -1.0f, p.sampler = &wrong, refuse(e, p, QUERN_ERR_ARGUMENT, "top_p");
    quern_error err = {0};
    assert_int_equal(quern_engine_add_model(e, "tiny", model, NULL, &err), QUERN_ERR_ARGUMENT);
    quern_engine_destroy(e);
    quern_engine_params few = quern_engine_params_default();
    few.max_waiting = 1;
    assert_int_equal(quern_engine_create(&e, &few, &err), QUERN_OK);
    quern_engine_destroy(e);
}

static int open_models(void **state)
{
    (void)state;
    static char paths[2][40] = {"/tmp/quern_engine_a_XXXXXX", "/tmp/quern_engine_b_XXXXXX"};
    const tiny_model kinds[2] = {{.seed = 1}, {.arch = "gemma3", .seed = 2, .window = 40}};
    quern_model **const models[2] = {&model, &windowed};
    for (size_t i = 0; i < 2; i++) {
        quern_error err = {0};
        const int fd = mkstemp(paths[i]);
        if (fd < 0 || !tiny_model_write(paths[i], &kinds[i])) return -1;
        close(fd);
        const quern_status s = quern_model_open(models[i], paths[i], NULL, &err);
        unlink(paths[i]);
        if (s != QUERN_OK) return fprintf(stderr, "%s\n", err.message), -1;
    }
    return 0;
}

static int close_models(void **state)
{
    (void)state;
    quern_model_close(model);
    quern_model_close(windowed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_what_they_are_alone),
        cmocka_unit_test(who_makes_room_goes_on_later),
        cmocka_unit_test(a_prompt_that_is_known_is_not_read_again),
        cmocka_unit_test(what_was_computed_outlives_the_engine),
        cmocka_unit_test(a_request_ends_in_every_state),
        cmocka_unit_test(closing_ends_what_runs_and_what_waits),
        cmocka_unit_test(the_urgent_take_the_place_of_the_patient),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}
