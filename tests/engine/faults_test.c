/* faults_test.c: memory, disk and threads fail under an engine, each of their calls once. Whatever fails is
 * told as one error or not needed; all other requests get the answer that they get alone; afterwards the
 * engine answers as ever, and nothing is left in memory. And where nothing new comes, steps ask for no memory
 * that could fail. */
#include "support/cmocka_all.h"

#include "questions.h"
#include "support/faults.h"

#include "base/alloc.h"
#include "base/random.h"

#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_QUESTIONS = 4, N_EMBD = 256 };

static quern_model *model, *windowed;
static question questions[N_QUESTIONS];
static qn_buffer alone[N_QUESTIONS], told;
static float vector[N_EMBD];                          /* of the first question's prompt */
static char directory[] = "/tmp/quern_faults_XXXXXX"; /* of pages */

/* ---- one try ------------------------------------------------------------------------------------- */

static quern_status open_engine(quern_engine **e, int n_threads, quern_error *err)
{
    quern_engine_params params = quern_engine_params_default();
    params.n_threads = n_threads, params.cache_directory = directory;
    quern_engine_model_params m = quern_engine_model_params_default();
    m.n_ctx = QUESTION_CTX, m.n_parallel = 2, m.n_batch = 64, m.n_positions = 2 * QUESTION_CTX;
    quern_status s = quern_engine_create(e, &params, err);
    if (s != QUERN_OK) return s;
    s = quern_engine_add_model(*e, "tiny", model, &m, err);
    if (s != QUERN_OK) quern_engine_destroy(*e), *e = NULL;
    return s;
}

/* What came is right, or the planned failure was told. */
static void check_answer(size_t i, const quern_event *end, const char *what, long k)
{
    if (end->kind == QUERN_EVENT_FAILED && fault_has_struck() && end->error->status != QUERN_OK &&
        end->error->message[0] != '\0')
        return;
    if (end->kind != QUERN_EVENT_FINISHED) fail_msg("%s %ld: question %zu ended in no way", what, k, i);
    if (told.n_bytes != alone[i].n_bytes ||
        (told.n_bytes > 0 && memcmp(told.data, alone[i].data, told.n_bytes) != 0))
        fail_msg("%s %ld: question %zu has another answer than alone", what, k, i);
}

static quern_request *ask_for_vector(quern_engine *e, const char *what, long k)
{
    quern_request *r;
    quern_request_params p = quern_request_params_default();
    quern_error err = {0};
    p.prompt = questions[0].prompt, p.n_prompt = questions[0].n_prompt, p.embeds = true;
    if (quern_submit(e, &p, &r, &err) != QUERN_OK && (!fault_has_struck() || err.message[0] == '\0'))
        fail_msg("%s %ld: embedding refused", what, k);
    return r;
}

static void check_vector(quern_request *r, const char *what, long k)
{
    if (r == NULL) return;
    const quern_event end = question_hear(r, &told);
    const bool is_right = end.kind == QUERN_EVENT_FINISHED && end.n_embedding == N_EMBD &&
                          memcmp(end.embedding, vector, sizeof vector) == 0;
    if (!is_right && (end.kind != QUERN_EVENT_FAILED || !fault_has_struck()))
        fail_msg("%s %ld: another vector than alone", what, k);
    quern_request_release(r);
}

static void ask_all(quern_engine *e, const char *what, long k)
{
    quern_request *embedding = ask_for_vector(e, what, k);
    quern_request *requests[N_QUESTIONS] = {0};
    for (size_t i = 0; i < N_QUESTIONS; i++) {
        const quern_sampler_params sampler = question_sampler(&questions[i]);
        const quern_request_params p = question_request(&questions[i], &sampler);
        quern_error err = {0};
        if (quern_submit(e, &p, &requests[i], &err) == QUERN_OK) continue;
        assert_null(requests[i]);
        if (!fault_has_struck() || err.message[0] == '\0') fail_msg("%s %ld: refused", what, k);
    }
    for (size_t i = 0; i < N_QUESTIONS; i++) {
        if (requests[i] == NULL) continue;
        quern_event end = question_hear(requests[i], &told);
        if (told.failed) end.kind = QUERN_EVENT_FAILED; /* it struck here, in the test's own buffer */
        else check_answer(i, &end, what, k);
        qn_buffer_deinit(&told);
        quern_request_release(requests[i]);
    }
    check_vector(embedding, what, k);
}

/* Opens, asks, and asks once more without a fault. False: there were not so many calls that could fail. */
static bool try_one(fault_kind kind, long k)
{
    quern_engine *e = NULL;
    quern_error err = {0};
    const long live = qn_alloc_live();
    fault_plan(kind, k);
    const quern_status s = open_engine(&e, kind == FAULT_THREAD ? 2 : 1, &err);
    if (s != QUERN_OK && (!fault_has_struck() || e != NULL || err.message[0] == '\0'))
        fail_msg("%s %ld: no engine, and no reason: %s", fault_name(kind), k, err.message);
    if (e != NULL) ask_all(e, fault_name(kind), k);
    const bool has_struck = fault_has_struck();
    fault_plan(kind, -1);
    if (e != NULL) ask_all(e, "after", k);
    quern_engine_destroy(e);
    assert_int_equal(qn_alloc_live(), live);
    return has_struck;
}

/* ---- kinds of failure ---------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

/* Every call in turn, those behind the first `dense` in growing steps. Pages are found on the disk every
 * other time; reading fails only where there are some. */
static void fail_each(fault_kind kind, long dense)
{
    const bool reads = kind == FAULT_READ || kind == FAULT_SHORT_READ;
    long n_struck = 0, k = 0;
    for (;; n_struck++) {
        nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        if (reads || n_struck % 2 == 1) try_one(kind, -1);
        if (!try_one(kind, k)) break;
        k += k < dense ? 1 : 1 + k / 4;
    }
    if (n_struck == 0) fail_msg("no %s to fail", fault_name(kind));
}

static void memory_fails(void **state)
{
    (void)state;
    fail_each(FAULT_ALLOCATION, 16);
}

/* Every allocation of one request, none left out, while log-probabilities are told with the text. */
static void memory_fails_beside_log_probabilities(void **state)
{
    (void)state;
    quern_engine *e;
    quern_error err = {0};
    const quern_sampler_params sampler = question_sampler(&questions[1]);
    quern_request_params p = question_request(&questions[1], &sampler);
    bool has_struck = true;
    p.log_probs = true, p.n_top_log_probs = 2;
    assert_int_equal(open_engine(&e, 1, &err), QUERN_OK);
    for (long k = 0; has_struck; k++) {
        quern_request *r = NULL;
        fault_plan(FAULT_ALLOCATION, k);
        if (quern_submit(e, &p, &r, &err) == QUERN_OK) {
            const quern_event end = question_hear(r, &told);
            if (!told.failed) check_answer(1, &end, "allocation beside log-probabilities", k);
        }
        has_struck = fault_has_struck();
        fault_plan(FAULT_ALLOCATION, -1);
        assert_true(r != NULL || has_struck);
        qn_buffer_deinit(&told);
        quern_request_release(r);
        assert_true(has_struck || k > 10);
    }
    quern_engine_destroy(e);
}

static void threads_fail(void **state)
{
    (void)state;
    fail_each(FAULT_THREAD, 10);
}

static void the_disk_fails(void **state)
{
    (void)state;
    static const fault_kind kinds[] = {FAULT_READ, FAULT_SHORT_READ, FAULT_WRITE, FAULT_RENAME, FAULT_OPEN};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) fail_each(kinds[i], 4);
}

/* ---- steps --------------------------------------------------------------------------------------- */

enum { N_STREAMS = 4, SETTLED = 20, WATCHED_UNTIL = 150 };

typedef struct streams {
    size_t n_told[N_STREAMS]; /* tokens; of the engine's thread, as all of this */
    bool is_watched, was_watched, took_memory;
    atomic_size_t n_ended;
} streams;

typedef struct stream {
    streams *all;
    size_t index;
} stream;

/* From when all have settled until one has come far, every allocation is noted (and fails). */
static void watch(void *user, quern_request *request, const quern_event *event)
{
    const stream *s = user;
    streams *all = s->all;
    (void)request;
    all->n_ended += event->kind >= QUERN_EVENT_FINISHED;
    if (event->kind != QUERN_EVENT_TEXT) return;
    all->n_told[s->index] = event->n_done;
    size_t least = SIZE_MAX, most = 0;
    for (size_t i = 0; i < N_STREAMS; i++) {
        if (all->n_told[i] < least) least = all->n_told[i];
        if (all->n_told[i] > most) most = all->n_told[i];
    }
    if (!all->was_watched && least >= SETTLED && most < WATCHED_UNTIL / 2) {
        all->is_watched = all->was_watched = true;
        fault_plan(FAULT_ALLOCATION, 0);
    } else if (all->is_watched && most >= WATCHED_UNTIL) {
        all->took_memory = fault_has_struck();
        all->is_watched = false;
        fault_plan(FAULT_ALLOCATION, -1);
    }
}

static void stream_on(const quern_model *m)
{
    streams all = {0};
    stream each[N_STREAMS];
    quern_request *requests[N_STREAMS];
    quern_engine_params params = quern_engine_params_default();
    quern_engine_model_params mp = quern_engine_model_params_default();
    quern_engine *e;
    quern_error err = {0};
    params.n_threads = 1;
    mp.n_ctx = QUESTION_CTX, mp.n_parallel = N_STREAMS, mp.n_batch = 64;
    assert_int_equal(quern_engine_create(&e, &params, &err), QUERN_OK);
    if (quern_engine_add_model(e, "tiny", m, &mp, &err) != QUERN_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < N_STREAMS; i++) {
        question q;
        question_make(&q, i, false);
        q.n_prompt = 60 + i, q.max_tokens = 200, q.stop = "a text that never comes";
        const quern_sampler_params sampler = question_sampler(&q);
        quern_request_params p = question_request(&q, &sampler);
        each[i] = (stream){.all = &all, .index = i};
        p.on_event = watch, p.user = &each[i], p.ignore_end = true;
        if (quern_submit(e, &p, &requests[i], &err) != QUERN_OK) fail_msg("%s", err.message);
    }
    while (all.n_ended < N_STREAMS) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    quern_engine_destroy(e);
    for (size_t i = 0; i < N_STREAMS; i++) quern_request_release(requests[i]);
    assert_true(all.was_watched && !all.is_watched);
    assert_false(all.took_memory);
}

static void steps_take_no_memory(void **state)
{
    (void)state;
    stream_on(model);
    stream_on(windowed);
}

static int set_up(void **state)
{
    (void)state;
    if (!question_models_open(&model, &windowed) || mkdtemp(directory) == NULL) return -1;
    quern_context *ctx = question_context(model);
    for (size_t i = 0; i < N_QUESTIONS; i++) {
        question_make(&questions[i], i, false);
        questions[i].n_prompt = 270 + 20 * i,
        questions[i].max_tokens = 12; /* enough to be kept on the disk */
        question_answer(ctx, &questions[i], &alone[i]);
    }
    const quern_embed_text text = {questions[0].prompt, questions[0].n_prompt};
    if (quern_embed(ctx, &text, 1, NULL, vector, N_EMBD, NULL) != QUERN_OK) return -1;
    quern_context_destroy(ctx);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_QUESTIONS; i++) qn_buffer_deinit(&alone[i]);
    question_models_close(model, windowed);
    nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_fails),         cmocka_unit_test(memory_fails_beside_log_probabilities),
        cmocka_unit_test(threads_fail),         cmocka_unit_test(the_disk_fails),
        cmocka_unit_test(steps_take_no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
