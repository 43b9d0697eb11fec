/* crowd_test.c: many threads ask one engine at once, on tiny models: random times, lengths, priorities, ends
 * before the end; with too little room for all; with pages known from others, from the disk, from nowhere.
 * Each answer is bitwise the one that the request gets alone, and what one scope has computed is never found
 * by another. */
#include "support/cmocka_all.h"

#include "questions.h"
#include "support/long_run.h"

#include "base/random.h"

#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_SUBMITTERS = 64, N_CANARIES = 6 };

static quern_model *models[2]; /* the second with windows */

/* What is asked, and said alone: of each model, short prompts with long answers or not. */
typedef struct known_answers {
    size_t n;
    question *questions; /* these [n] */
    qn_buffer *alone;
    quern_generated *results;
} known_answers;
static known_answers known[2][2];

/* Of each crowd, of which there are eight; QUERN_TEST_QUESTIONS=1250 for 10,000 answers. */
static size_t count_questions(void)
{
    return long_run("QUERN_TEST_QUESTIONS", 48);
}

typedef struct crowd_options {
    int n_threads;
    uint32_t n_parallel, n_batch;
    uint64_t n_positions;
    bool is_tight; /* short prompts and long answers, so that there is too little room for all who have begun
                    */
    bool no_guesses;
    bool has_disk; /* pages go there, and the engine is another one halfway */
} crowd_options;

typedef struct crowd {
    quern_engine *engine;
    const known_answers *known;
    atomic_size_t next, n_wrong, n_preempted, n_cached, n_cut;
} crowd;

/* ---- asking -------------------------------------------------------------------------------------- */

static quern_engine *open_engine(const quern_model *m, const crowd_options *o, const char *directory)
{
    quern_engine_params params = quern_engine_params_default();
    params.n_threads = o->n_threads;
    params.cache_directory = directory;
    quern_engine_model_params mp = quern_engine_model_params_default();
    mp.n_ctx = QUESTION_CTX, mp.n_parallel = o->n_parallel, mp.n_batch = o->n_batch;
    mp.n_positions = o->n_positions, mp.no_guesses = o->no_guesses;
    quern_engine *e;
    quern_error err = {0};
    assert_int_equal(quern_engine_create(&e, &params, &err), QUERN_OK);
    if (quern_engine_add_model(e, "tiny", m, &mp, &err) != QUERN_OK) fail_msg("%s", err.message);
    return e;
}

static bool was_cut(quern_finish finish)
{
    return finish == QUERN_FINISH_CANCELED || finish == QUERN_FINISH_TIMEOUT;
}

/* What came of a request that may have been ended early: the beginning of what it says alone, or all of it.
 */
static bool is_right(const crowd *c, size_t i, const quern_event *end, const qn_buffer *text)
{
    size_t n_bytes = text->n_bytes;
    static const char half[] = "\xef\xbf\xbd"; /* what stands for a character that was cut off */
    const qn_buffer *alone = &c->known->alone[i];
    if (was_cut(end->result.finish))
        while (n_bytes >= 3 && memcmp(text->data + n_bytes - 3, half, 3) == 0) n_bytes -= 3;
    if (end->kind != QUERN_EVENT_FINISHED || n_bytes > alone->n_bytes) return false;
    if (n_bytes > 0 && memcmp(text->data, alone->data, n_bytes) != 0) return false;
    if (was_cut(end->result.finish)) return true;
    return n_bytes == alone->n_bytes && end->result.finish == c->known->results[i].finish &&
           end->result.n_generated == c->known->results[i].n_generated &&
           end->result.stop == c->known->results[i].stop;
}

static void pause_us(uint64_t us)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
}

static void ask(crowd *c, size_t i, qn_buffer *text)
{
    static const char *const clients[] = {"one", "two", "three"};
    qn_random r = {.seed = i, .stream = 4};
    const quern_sampler_params sampler = question_sampler(&c->known->questions[i]);
    quern_request_params p = question_request(&c->known->questions[i], &sampler);
    quern_request *request;
    p.priority = (quern_priority)(qn_random_u64(&r) % 4);
    p.client = clients[qn_random_u64(&r) % 3];
    p.cache_scope = qn_random_u64(&r) % 2 == 0 ? NULL : "shared";
    if (qn_random_u64(&r) % 12 == 0) p.deadline_ns = 1 + qn_random_u64(&r) % 100000000;
    pause_us(qn_random_u64(&r) % 30000);
    if (quern_submit(c->engine, &p, &request, NULL) != QUERN_OK) {
        c->n_wrong++;
        return;
    }
    if (qn_random_u64(&r) % 6 == 0) {
        pause_us(qn_random_u64(&r) % 20000);
        quern_request_cancel(request);
    }
    const quern_event end = question_hear(request, text);
    c->n_wrong += !is_right(c, i, &end, text);
    c->n_preempted += end.result.n_preempted;
    c->n_cached += end.result.n_cached;
    c->n_cut += was_cut(end.result.finish);
    quern_request_release(request);
}

static void *ask_some(void *user)
{
    crowd *c = user;
    qn_buffer text = {0};
    for (size_t i; (i = atomic_fetch_add(&c->next, 1)) < c->known->n;) ask(c, i, &text);
    qn_buffer_deinit(&text);
    return NULL;
}

static void ask_all(crowd *c)
{
    pthread_t threads[N_SUBMITTERS];
    c->next = 0;
    for (size_t i = 0; i < N_SUBMITTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_some, c), 0);
    for (size_t i = 0; i < N_SUBMITTERS; i++) pthread_join(threads[i], NULL);
}

/* ---- canaries ------------------------------------------------------------------------------------ */

/* Tokens of the question's prompt that are known in a scope before it asks there. */
static size_t count_known(crowd *c, size_t i, const char *scope)
{
    qn_buffer text = {0};
    const quern_sampler_params sampler = question_sampler(&c->known->questions[i]);
    quern_request_params p = question_request(&c->known->questions[i], &sampler);
    quern_request *request;
    p.cache_scope = scope, p.max_tokens = 1;
    assert_int_equal(quern_submit(c->engine, &p, &request, NULL), QUERN_OK);
    const quern_event end = question_hear(request, &text);
    assert_int_equal(end.kind, QUERN_EVENT_FINISHED);
    quern_request_release(request);
    qn_buffer_deinit(&text);
    return end.result.n_cached;
}

/* What everybody has asked is not known in a scope of its own, in memory or on the disk; there it is known
 * once it was asked. */
static void check_canaries(crowd *c)
{
    for (size_t i = 0; i < N_CANARIES; i++) {
        char scope[32];
        snprintf(scope, sizeof scope, "canary %zu", i);
        assert_int_equal(count_known(c, i, scope), 0);
        assert_int_equal(count_known(c, i, scope), c->known->questions[i].n_prompt - 1);
    }
}

/* ---- crowds -------------------------------------------------------------------------------------- */

static void answer_alone(known_answers *k, const quern_model *m, bool is_tight)
{
    k->n = count_questions();
    k->questions = calloc(k->n, sizeof *k->questions);
    k->alone = calloc(k->n, sizeof *k->alone);
    k->results = calloc(k->n, sizeof *k->results);
    quern_context *ctx = question_context(m);
    for (size_t i = 0; i < k->n; i++) {
        question_make(&k->questions[i], i, is_tight);
        k->results[i] = question_answer(ctx, &k->questions[i], &k->alone[i]);
    }
    quern_context_destroy(ctx);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static void crowd_on(size_t m, crowd_options o)
{
    char path[] = "/tmp/quern_crowd_XXXXXX", *directory = NULL;
    crowd c = {.known = &known[m][o.is_tight]};
    if (o.has_disk) assert_non_null(directory = mkdtemp(path));
    c.engine = open_engine(models[m], &o, directory);
    ask_all(&c);
    if (o.has_disk) {
        quern_engine_destroy(c.engine);
        c.engine = open_engine(models[m], &o, directory);
        ask_all(&c);
    }
    check_canaries(&c);
    quern_engine_destroy(c.engine);
    if (o.has_disk) nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(c.n_wrong, 0);
    assert_true(c.n_cached > 0 && c.n_cut > 0);
    assert_true(!o.is_tight || c.n_preempted > 0);
}

static void answers_are_what_they_are_alone(void **state)
{
    (void)state;
    crowd_on(
        0, (crowd_options){.n_threads = 2, .n_parallel = 8, .n_positions = 8 * QUESTION_CTX, .n_batch = 64});
    crowd_on(1, (crowd_options){.n_threads = 2,
                                .n_parallel = 4,
                                .n_positions = 4 * QUESTION_CTX,
                                .n_batch = 100,
                                .no_guesses = true});
}

static void who_makes_room_goes_on_later(void **state)
{
    (void)state;
    crowd_on(
        0,
        (crowd_options){
            .n_threads = 2, .n_parallel = 6, .n_positions = QUESTION_CTX, .n_batch = 48, .is_tight = true});
    crowd_on(
        1,
        (crowd_options){
            .n_threads = 1, .n_parallel = 6, .n_positions = QUESTION_CTX, .n_batch = 64, .is_tight = true});
}

static void pages_come_from_the_disk(void **state)
{
    (void)state;
    crowd_on(0, (crowd_options){.n_threads = 2,
                                .n_parallel = 6,
                                .n_positions = 2 * QUESTION_CTX,
                                .n_batch = 64,
                                .has_disk = true});
    crowd_on(1, (crowd_options){.n_threads = 2,
                                .n_parallel = 6,
                                .n_positions = 2 * QUESTION_CTX,
                                .n_batch = 64,
                                .has_disk = true});
}

static int open_models(void **state)
{
    (void)state;
    if (!question_models_open(&models[0], &models[1])) return -1;
    for (size_t m = 0; m < 2; m++)
        for (size_t is_tight = 0; is_tight < 2; is_tight++)
            answer_alone(&known[m][is_tight], models[m], is_tight == 1);
    return 0;
}

static int close_models(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        known_answers *k = &known[i / 2][i % 2];
        for (size_t q = 0; q < k->n; q++) qn_buffer_deinit(&k->alone[q]);
        free(k->questions), free(k->alone), free(k->results);
    }
    quern_model_close(models[0]);
    quern_model_close(models[1]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_what_they_are_alone),
        cmocka_unit_test(who_makes_room_goes_on_later),
        cmocka_unit_test(pages_come_from_the_disk),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}
