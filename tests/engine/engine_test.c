/* engine_test.c: requests from their coming to their end: what is told of them, in which order, and that each
 * ends, told so once. That answers are right is in crowd_test.c. */
#include "support/cmocka_all.h"

#include "questions.h"

#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static quern_model *model, *windowed;

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
    mp.n_ctx = QUESTION_CTX, mp.n_parallel = o.n_parallel > 0 ? o.n_parallel : 8;
    mp.n_batch = o.n_batch > 0 ? o.n_batch : 64, mp.n_positions = o.n_positions;
    quern_engine *e;
    quern_error err = {0};
    assert_int_equal(quern_engine_create(&e, &params, &err), QUERN_OK);
    if (quern_engine_add_model(e, "tiny", m, &mp, &err) != QUERN_OK) fail_msg("%s", err.message);
    return e;
}

static void pause_us(uint64_t us)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
}

/* ---- events, and ends ---------------------------------------------------------------------------- */

static const engine_options small = {.n_parallel = 2, .n_positions = 2 * QUESTION_CTX};

static void a_prompt_that_is_known_is_not_read_again(void **state)
{
    (void)state;
    const quern_model *const models[] = {model, windowed};
    for (size_t k = 0; k < 2; k++) {
        question q;
        qn_buffer first = {0}, again = {0};
        quern_engine *e = open_engine(models[k], small);
        question_make(&q, 12, false);
        q.n_prompt = 300, q.max_tokens = 20, q.stop = NULL;
        const quern_sampler_params sampler = question_sampler(&q);
        quern_request_params p = question_request(&q, &sampler);
        quern_request *r = question_submit(e, &p);
        assert_int_equal(question_hear(r, &first).result.n_cached, 0);
        quern_request_release(r);
        r = question_submit(e, &p);
        assert_int_equal(question_hear(r, &again).result.n_cached, q.n_prompt - 1);
        quern_request_release(r);
        assert_int_equal(first.n_bytes, again.n_bytes);
        assert_memory_equal(first.data, again.data, first.n_bytes);
        p.cache_scope = "another";
        r = question_submit(e, &p);
        assert_int_equal(question_hear(r, &again).result.n_cached, 0);
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
        question_make(&q, 14, false);
        q.n_prompt = 400, q.max_tokens = 30, q.stop = NULL;
        const quern_sampler_params sampler = question_sampler(&q);
        for (size_t i = 0; i < 3; i++) { /* the last one is of another scope */
            quern_engine *e = open_engine(
                models[k],
                (engine_options){.n_parallel = 2, .n_positions = 2 * QUESTION_CTX, .directory = directory});
            quern_request_params p = question_request(&q, &sampler);
            p.ignore_end = true, p.cache_scope = i == 2 ? "another" : "one";
            quern_request *r = question_submit(e, &p);
            n_cached[i] = question_hear(r, &text[i]).result.n_cached;
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
    question_make(&q, 5, false);
    q.max_tokens = 0, q.stop = NULL;
    const quern_sampler_params sampler = question_sampler(&q);
    quern_request_params p = question_request(&q, &sampler);
    p.on_event = see, p.ignore_end = true;
    for (size_t i = 0; i < 12; i++) { /* some run, most wait; each cancels itself at its first text */
        p.user = &seen[i];
        p.deadline_ns = i == 11 ? 1 : 0;
        requests[i] = question_submit(e, &p);
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
    question_make(&q, 8, false);
    const quern_sampler_params sampler = question_sampler(&q);
    quern_request_params p = question_request(&q, &sampler);
    p.max_tokens = 0, p.ignore_end = true, p.n_stops = 0;
    for (size_t i = 0; i < 20; i++) requests[i] = question_submit(e, &p);
    quern_engine_destroy(e);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(question_hear(requests[i], &text).kind, QUERN_EVENT_FINISHED);
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
    question_make(&q, 10, false);
    q.stop = NULL, q.max_tokens = 150;
    quern_sampler_params sampler = question_sampler(&q);
    quern_request_params p = question_request(&q, &sampler);
    p.ignore_end = true, p.priority = QUERN_PRIORITY_BACKGROUND;
    for (size_t i = 0; i < 2; i++) {
        patient[i] = question_submit(e, &p);
        while (quern_request_next(patient[i], -1, &event) && event.kind != QUERN_EVENT_TEXT) continue;
    }
    p.priority = QUERN_PRIORITY_INTERACTIVE, p.max_tokens = 3;
    quern_request *urgent = question_submit(e, &p);
    assert_int_equal(question_hear(urgent, &text).kind, QUERN_EVENT_FINISHED);
    quern_request_release(urgent);
    assert_int_equal(question_hear(patient[0], &text).result.n_preempted, 0);
    assert_int_equal(question_hear(patient[1], &text).result.n_preempted, 1);
    quern_request_release(patient[0]), quern_request_release(patient[1]);
    quern_engine_destroy(e);
    qn_buffer_deinit(&text);
}

/* ---- what the caller may do when ------------------------------------------------------------------- */

/* Whoever is told the end may give everything back at once. */
static void a_grammar_may_go_with_its_request(void **state)
{
    (void)state;
    quern_engine *e = open_engine(model, small);
    qn_buffer text = {0};
    for (uint64_t i = 0; i < 30; i++) {
        const quern_grammar_params params = {.struct_bytes = sizeof params,
                                             .kind = QUERN_GRAMMAR_REGEX,
                                             .text = "[a-z ]{1,40}",
                                             .n_bytes = 12};
        quern_grammar *grammar;
        quern_error err = {0};
        question q;
        if (quern_grammar_create(&grammar, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
        question_make(&q, i, false);
        q.grammar = grammar, q.n_prompt = 20, q.max_tokens = 3;
        const quern_sampler_params sampler = question_sampler(&q);
        const quern_request_params p = question_request(&q, &sampler);
        quern_request *r = question_submit(e, &p);
        assert_int_equal(question_hear(r, &text).kind, QUERN_EVENT_FINISHED);
        quern_request_release(r);
        quern_grammar_destroy(grammar);
    }
    quern_engine_destroy(e);
    qn_buffer_deinit(&text);
}

typedef struct stubborn {
    quern_engine *engine;
    const quern_request_params *params;
    atomic_int status; /* of its second try */
} stubborn;

static void ask_again(void *user, quern_request *r, const quern_event *event)
{
    stubborn *s = user;
    quern_request *again;
    (void)r;
    if (event->kind == QUERN_EVENT_FINISHED)
        atomic_store(&s->status, (int)quern_submit(s->engine, s->params, &again, NULL));
}

static void an_engine_that_closes_takes_nothing(void **state)
{
    (void)state;
    question q;
    question_make(&q, 3, true);
    const quern_sampler_params sampler = question_sampler(&q);
    quern_request_params p = question_request(&q, &sampler);
    stubborn s = {.engine = open_engine(model, small), .params = &p, .status = -1};
    p.on_event = ask_again, p.user = &s, p.max_tokens = 400, p.ignore_end = true;
    quern_request *r = question_submit(s.engine, &p);
    quern_engine_destroy(s.engine);
    assert_int_equal(atomic_load(&s.status), QUERN_ERR_CANCELED);
    quern_request_release(r);
}

static void a_deadline_beyond_all_time_is_none(void **state)
{
    (void)state;
    question q;
    qn_buffer text = {0};
    quern_engine *e = open_engine(model, small);
    question_make(&q, 4, false);
    const quern_sampler_params sampler = question_sampler(&q);
    quern_request_params p = question_request(&q, &sampler);
    p.deadline_ns = UINT64_MAX;
    quern_request *r = question_submit(e, &p);
    assert_int_not_equal(question_hear(r, &text).result.finish, QUERN_FINISH_TIMEOUT);
    quern_request_release(r);
    quern_engine_destroy(e);
    qn_buffer_deinit(&text);
}

/* A long request gets its turn although there are always short ones that would fit. */
static void nobody_passes_who_waits_for_room(void **state)
{
    (void)state;
    enum { N_SHORT = 200, AT_ONCE = 4 };
    quern_engine *e = open_engine(model, (engine_options){.n_parallel = 8, .n_positions = QUESTION_CTX});
    question q;
    qn_buffer text = {0};
    quern_request *short_ones[AT_ONCE] = {NULL}, *long_one = NULL;
    size_t n_ended = 0, n_before = SIZE_MAX;
    for (uint64_t i = 0; i < N_SHORT; i++) {
        quern_request **place = &short_ones[i % AT_ONCE];
        if (*place != NULL) {
            assert_int_equal(question_hear(*place, &text).kind, QUERN_EVENT_FINISHED);
            quern_request_release(*place);
            n_ended++;
        }
        question_make(&q, i, false);
        q.n_prompt = 70, q.max_tokens = 20, q.stop = NULL;
        const quern_sampler_params sampler = question_sampler(&q);
        quern_request_params p = question_request(&q, &sampler);
        p.client = "short", p.ignore_end = true;
        *place = question_submit(e, &p);
        if (i == AT_ONCE) {
            question_make(&q, 1000, false);
            q.n_prompt = 400, q.max_tokens = 1;
            p = question_request(&q, &sampler);
            p.client = "long";
            long_one = question_submit(e, &p);
        }
        quern_event event;
        while (long_one != NULL && n_before == SIZE_MAX && quern_request_next(long_one, 0, &event)) {
            if (event.kind == QUERN_EVENT_STARTED) n_before = n_ended;
            if (event.kind == QUERN_EVENT_NONE) break;
        }
    }
    for (size_t i = 0; i < AT_ONCE; i++)
        question_hear(short_ones[i], &text), quern_request_release(short_ones[i]);
    assert_true(n_before < N_SHORT / 2);
    quern_request_release(long_one);
    quern_engine_destroy(e);
    qn_buffer_deinit(&text);
}

/* What a long text had given back of its windows when it was written is written when a shorter one has it. */
static void windows_on_the_disk_are_completed(void **state)
{
    (void)state;
    char directory[] = "/tmp/quern_engine_windows_XXXXXX";
    static const size_t lengths[] = {420, 280, 280};
    size_t n_cached[3];
    question q;
    qn_buffer text = {0};
    assert_non_null(mkdtemp(directory));
    question_make(&q, 21, false);
    for (size_t i = 0; i < 420; i++) q.prompt[i] = (quern_token)((i * 7919 + i / 3) % QUESTION_VOCAB);
    q.max_tokens = 2, q.stop = NULL;
    for (size_t i = 0; i < 3; i++) {
        quern_engine *e = open_engine(windowed, (engine_options){.n_parallel = 2, .directory = directory});
        q.n_prompt = lengths[i];
        const quern_sampler_params sampler = question_sampler(&q);
        const quern_request_params p = question_request(&q, &sampler);
        quern_request *r = question_submit(e, &p);
        n_cached[i] = question_hear(r, &text).result.n_cached;
        quern_request_release(r);
        quern_engine_destroy(e);
    }
    nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(n_cached[1], 0);
    assert_int_equal(n_cached[2], 256);
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
    question_make(&q, 3, false);
    q.stop = NULL;
    const quern_request_params good = question_request(&q, NULL);
    quern_request_params p = good;
    p.model = "none", refuse(e, p, QUERN_ERR_NOT_FOUND, "none"), p = good;
    p.n_prompt = 0, refuse(e, p, QUERN_ERR_ARGUMENT, "empty"), p = good;
    p.priority = (quern_priority)9, refuse(e, p, QUERN_ERR_ARGUMENT, "priority"), p = good;
    p.weight = 0.0, refuse(e, p, QUERN_ERR_ARGUMENT, "weight"), p = good;
    p.n_prompt = QUESTION_CTX + 1;
    quern_token many[QUESTION_CTX + 1] = {0};
    p.prompt = many, refuse(e, p, QUERN_ERR_CTX_FULL, "512"), p = good;
    many[0] = QUESTION_VOCAB, p.prompt = many, p.n_prompt = 1, refuse(e, p, QUERN_ERR_ARGUMENT, "320"),
    p = good;
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
    return question_models_open(&model, &windowed) ? 0 : -1;
}

static int close_models(void **state)
{
    (void)state;
    question_models_close(model, windowed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_that_is_known_is_not_read_again),
        cmocka_unit_test(what_was_computed_outlives_the_engine),
        cmocka_unit_test(a_request_ends_in_every_state),
        cmocka_unit_test(closing_ends_what_runs_and_what_waits),
        cmocka_unit_test(the_urgent_take_the_place_of_the_patient),
        cmocka_unit_test(a_grammar_may_go_with_its_request),
        cmocka_unit_test(an_engine_that_closes_takes_nothing),
        cmocka_unit_test(a_deadline_beyond_all_time_is_none),
        cmocka_unit_test(nobody_passes_who_waits_for_room),
        cmocka_unit_test(windows_on_the_disk_are_completed),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}
