/* answers_test.c: several answers from one prompt, on tiny models. Each is bitwise the answer of a request of
 * its own with the seed derived for it; the prompt is computed once; they come, are canceled and go together.
 */
#include "support/cmocka_all.h"

#include "questions.h"

#include "base/buffer.h"
#include "base/random.h"
#include "quern.h"

#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { N_CTX = 512, N_VOCAB = 320, MOST_ANSWERS = 12 };

static quern_model *model, *windowed;

static void make_prompt(quern_token *prompt, size_t n, uint64_t seed)
{
    qn_random r = {.seed = seed, .stream = 1};
    for (size_t i = 0; i < n; i++) prompt[i] = (quern_token)(qn_random_u64(&r) % N_VOCAB);
}

static int n_threads = 1;           /* of the engines that are opened */
static const char *pages_directory; /* the same; NULL: none */

static quern_engine *open_engine(const quern_model *m, uint32_t n_parallel, uint64_t n_positions,
                                 uint32_t max_waiting)
{
    quern_engine_params params = quern_engine_params_default();
    quern_engine_model_params mp = quern_engine_model_params_default();
    quern_engine *e;
    quern_error err = {0};
    params.n_threads = n_threads, params.max_waiting = max_waiting, params.cache_directory = pages_directory;
    mp.n_ctx = N_CTX, mp.n_parallel = n_parallel, mp.n_batch = 64, mp.n_positions = n_positions;
    assert_int_equal(quern_engine_create(&e, &params, &err), QUERN_OK);
    if (quern_engine_add_model(e, "tiny", m, &mp, &err) != QUERN_OK) fail_msg("%s", err.message);
    return e;
}

typedef struct heard {
    qn_buffer text;
    quern_event_kind last;
    size_t n_log_probs, n_of_prompt;
    quern_request_result result;
    float log_probs; /* sum */
} heard;

/* Fetches what comes of n answers; each has all events of its own, in order. */
static void hear_all(quern_request *r, heard *answers, size_t n)
{
    quern_event event;
    memset(answers, 0, n * sizeof *answers);
    while (quern_request_next(r, -1, &event)) {
        assert_int_not_equal(event.kind, QUERN_EVENT_NONE);
        assert_true(event.answer < n);
        heard *h = &answers[event.answer];
        assert_true(event.kind >= h->last && h->last < QUERN_EVENT_FINISHED);
        h->last = event.kind;
        if (event.kind == QUERN_EVENT_TEXT) qn_buffer_append(&h->text, event.text, event.n_bytes);
        if (event.kind == QUERN_EVENT_PROMPT) h->n_of_prompt += event.n_log_probs;
        else h->n_log_probs += event.n_log_probs;
        for (size_t i = 0; i < event.n_log_probs; i++) h->log_probs += event.log_probs[i].log_prob;
        if (event.kind == QUERN_EVENT_FAILED) fail_msg("%s", event.error->message);
        if (event.kind == QUERN_EVENT_FINISHED) h->result = event.result;
    }
    for (size_t i = 0; i < n; i++) assert_int_equal(answers[i].last, QUERN_EVENT_FINISHED);
}

static void forget(heard *answers, size_t n)
{
    for (size_t i = 0; i < n; i++) qn_buffer_deinit(&answers[i].text);
}

/* What the request for one answer with that seed gets, of an engine that has nothing else to do and knows
 * nothing of its prompt. */
static void answer_alone(quern_engine *e, quern_request_params p, uint64_t seed, heard *alone)
{
    char scope[32];
    quern_sampler_params sampler = *p.sampler;
    sampler.seed = seed;
    snprintf(scope, sizeof scope, "%llx", (unsigned long long)seed);
    p.sampler = &sampler, p.n_answers = 1, p.cache_scope = scope;
    quern_request *r = question_submit(e, &p);
    hear_all(r, alone, 1);
    assert_int_equal(alone->result.n_cached, 0);
    quern_request_release(r);
}

static size_t compare_all(const quern_model *m, const quern_request_params *p, const heard *answers)
{
    size_t n_unlike = 0;
    quern_engine *e = open_engine(m, 1, 0, 0);
    for (uint32_t i = 0; i < p->n_answers; i++) {
        heard alone;
        const uint64_t seed = quern_answer_seed(p->sampler->seed, i);
        answer_alone(e, *p, seed, &alone);
        assert_int_equal(answers[i].result.seed, seed);
        assert_int_equal(answers[i].result.n_generated, alone.result.n_generated);
        assert_int_equal(answers[i].result.finish, alone.result.finish);
        assert_int_equal(answers[i].text.n_bytes, alone.text.n_bytes);
        if (alone.text.n_bytes > 0)
            assert_memory_equal(answers[i].text.data, alone.text.data, alone.text.n_bytes);
        assert_int_equal(answers[i].n_log_probs, alone.n_log_probs);
        assert_int_equal(answers[i].n_of_prompt, i == 0 ? alone.n_of_prompt : 0);
        n_unlike += answers[i].text.n_bytes != answers[0].text.n_bytes ||
                    memcmp(answers[i].text.data, answers[0].text.data, alone.text.n_bytes) != 0;
        forget(&alone, 1);
    }
    quern_engine_destroy(e);
    return n_unlike;
}

static quern_request_params params_of(const quern_token *prompt, size_t n_prompt,
                                      const quern_sampler_params *sampler, uint32_t n_answers)
{
    quern_request_params p = quern_request_params_default();
    p.prompt = prompt, p.n_prompt = n_prompt, p.sampler = sampler, p.n_answers = n_answers;
    p.max_tokens = 40, p.ignore_end = true;
    return p;
}

typedef struct shape {
    size_t n_prompt;
    uint32_t n_answers, n_parallel;
    uint64_t n_positions;
    bool scored;
} shape;

static const shape shapes[] = {
    {1, 3, 8, 8 * N_CTX, false},   {20, 5, 8, 8 * N_CTX, false},   {64, 4, 8, 8 * N_CTX, false},
    {300, 8, 8, 8 * N_CTX, false}, {129, 12, 3, 4 * N_CTX, false}, /* most wait for a slot */
    {400, 4, 8, 2 * N_CTX, false}, /* they have room only because they share */
    {400, 3, 8, N_CTX, false},     /* one after the other */
    {200, 3, 8, 4 * N_CTX, true},
};

static void each_is_what_its_seed_gets(void **state)
{
    (void)state;
    const quern_model *const models[] = {model, windowed};
    quern_token prompt[N_CTX];
    heard answers[MOST_ANSWERS];
    for (size_t k = 0; k < 2 * sizeof shapes / sizeof shapes[0]; k++) {
        const shape *s = &shapes[k / 2];
        quern_sampler_params sampler = quern_sampler_params_default();
        sampler.seed = 40 + k, sampler.temperature = 1.3f, sampler.top_k = 0, sampler.min_p = 0.0f;
        make_prompt(prompt, s->n_prompt, k);
        quern_request_params p = params_of(prompt, s->n_prompt, &sampler, s->n_answers);
        p.log_probs = p.prompt_log_probs = s->scored;
        quern_engine *e = open_engine(models[k % 2], s->n_parallel, s->n_positions, 0);
        quern_request *r = question_submit(e, &p);
        hear_all(r, answers, s->n_answers);
        quern_request_release(r);
        quern_engine_destroy(e);
        assert_true(compare_all(models[k % 2], &p, answers) >= s->n_answers - 1u);
        size_t n_computed = 0, n_preempted = 0;
        for (size_t i = 0; i < s->n_answers; i++) {
            n_computed += s->n_prompt - answers[i].result.n_cached;
            n_preempted += answers[i].result.n_preempted;
        }
        /* the prompt once, and its last token for each of the others, to have a row to draw from */
        assert_int_equal(n_computed, s->n_prompt + s->n_answers - 1);
        if (s->n_positions > N_CTX) assert_int_equal(n_preempted, 0);
        forget(answers, s->n_answers);
    }
}

/* Many such requests at once, too many for the room there is. */
static void they_are_the_same_in_a_crowd(void **state)
{
    (void)state;
    enum { N_REQUESTS = 4, N_ANSWERS = 4 };
    static quern_token prompts[N_REQUESTS][N_CTX];
    quern_sampler_params samplers[N_REQUESTS];
    quern_request_params params[N_REQUESTS];
    quern_request *requests[N_REQUESTS];
    heard answers[N_ANSWERS];
    size_t n_preempted = 0;
    n_threads = 2;
    quern_engine *e = open_engine(model, 8, 2 * N_CTX, 0);
    n_threads = 1;
    for (size_t i = 0; i < N_REQUESTS; i++) {
        samplers[i] = quern_sampler_params_default();
        samplers[i].seed = i, samplers[i].temperature = 1.3f;
        make_prompt(prompts[i], 30 + 40 * i, i / 2); /* two begin alike */
        params[i] = params_of(prompts[i], 30 + 40 * i, &samplers[i], N_ANSWERS);
        params[i].max_tokens = 120;
        requests[i] = question_submit(e, &params[i]);
    }
    for (size_t i = 0; i < N_REQUESTS; i++) {
        hear_all(requests[i], answers, N_ANSWERS);
        quern_request_release(requests[i]);
        compare_all(model, &params[i], answers);
        for (size_t k = 0; k < N_ANSWERS; k++) n_preempted += answers[k].result.n_preempted;
        forget(answers, N_ANSWERS);
    }
    assert_true(n_preempted > 0);
    quern_engine_destroy(e);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static void pages_from_the_disk_are_read_for_all(void **state)
{
    (void)state;
    enum { N_PROMPT = 300, N_ANSWERS = 5 };
    char directory[] = "/tmp/quern_answers_pages_XXXXXX";
    quern_token prompt[N_PROMPT];
    heard answers[2][N_ANSWERS];
    quern_sampler_params sampler = quern_sampler_params_default();
    sampler.seed = 3;
    make_prompt(prompt, N_PROMPT, 11);
    const quern_request_params p = params_of(prompt, N_PROMPT, &sampler, N_ANSWERS);
    assert_non_null(mkdtemp(directory));
    for (size_t k = 0; k < 2; k++) {
        pages_directory = directory;
        quern_engine *e = open_engine(model, 8, 0, 0);
        quern_request *r = question_submit(e, &p);
        hear_all(r, answers[k], N_ANSWERS);
        quern_request_release(r);
        quern_engine_destroy(e);
        pages_directory = NULL;
    }
    assert_int_equal(answers[0][0].result.n_cached, 0);
    assert_int_equal(answers[1][0].result.n_cached, N_PROMPT / 64 * 64);
    for (size_t i = 0; i < N_ANSWERS; i++) {
        if (i > 0) assert_int_equal(answers[1][i].result.n_cached, N_PROMPT - 1);
        assert_int_equal(answers[0][i].text.n_bytes, answers[1][i].text.n_bytes);
        assert_memory_equal(answers[0][i].text.data, answers[1][i].text.data, answers[0][i].text.n_bytes);
    }
    forget(answers[0], N_ANSWERS), forget(answers[1], N_ANSWERS);
    nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- events, and ends ----------------------------------------------------------------------------- */

typedef struct witness {
    quern_request *request;
    atomic_int n_ends[MOST_ANSWERS], n_wrong;
    bool cancels; /* at the first text */
} witness;

static void see(void *user, quern_request *r, const quern_event *event)
{
    witness *w = user;
    if (event->answer >= MOST_ANSWERS || (w->request != NULL && w->request != r)) {
        w->n_wrong++;
        return;
    }
    w->request = r;
    if (event->kind == QUERN_EVENT_TEXT && w->cancels) quern_request_cancel(r);
    w->n_ends[event->answer] += event->kind >= QUERN_EVENT_FINISHED;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void all_are_told_through_one_handle(void **state)
{
    (void)state;
    quern_token prompt[100];
    const quern_sampler_params sampler = quern_sampler_params_default();
    make_prompt(prompt, 100, 7);
    for (size_t k = 0; k < 2; k++) {
        witness w = {.cancels = k == 1};
        quern_engine *e = open_engine(model, 4, 0, 0);
        quern_request_params p = params_of(prompt, 100, &sampler, 9);
        p.on_event = see, p.user = &w;
        p.max_tokens = k == 1 ? 0 : 8; /* one that cancels would go on for long */
        quern_request *r = question_submit(e, &p);
        for (int i = 0; i < 8000 && w.n_ends[8] == 0; i++) pause_ms(5);
        if (k == 1) quern_engine_destroy(e); /* handles outlive the engine */
        else
            for (int i = 0; i < 8000; i++) {
                int n = 0;
                for (size_t a = 0; a < 9; a++) n += w.n_ends[a];
                if (n == 9) break;
                pause_ms(5);
            }
        for (size_t a = 0; a < 9; a++) assert_int_equal(w.n_ends[a], 1);
        assert_int_equal(w.n_wrong, 0);
        assert_ptr_equal(w.request, r);
        quern_request_release(r);
        if (k == 0) quern_engine_destroy(e);
    }
}

static void a_released_request_ends_with_all_its_answers(void **state)
{
    (void)state;
    quern_token prompt[60];
    quern_event event;
    const quern_sampler_params sampler = quern_sampler_params_default();
    make_prompt(prompt, 60, 8);
    quern_engine *e = open_engine(model, 2, 0, 0);
    quern_request_params p = params_of(prompt, 60, &sampler, 64);
    p.max_tokens = 0;
    quern_request *r = question_submit(e, &p);
    while (quern_request_next(r, -1, &event) && event.kind != QUERN_EVENT_TEXT) continue;
    quern_request_release(r); /* two run, most wait */
    p.n_answers = 2, p.max_tokens = 3;
    r = question_submit(e, &p); /* the engine has room again */
    heard answers[2];
    hear_all(r, answers, 2);
    quern_request_release(r);
    forget(answers, 2);
    quern_engine_destroy(e);
}

static void all_answers_are_taken_or_none(void **state)
{
    (void)state;
    quern_token prompt[60];
    quern_error err = {0};
    quern_request *r;
    const quern_sampler_params sampler = quern_sampler_params_default();
    make_prompt(prompt, 60, 9);
    quern_engine *e = open_engine(model, 2, 0, 5);
    quern_request_params p = params_of(prompt, 60, &sampler, 6);
    assert_int_equal(quern_submit(e, &p, &r, &err), QUERN_ERR_BUSY);
    assert_null(r);
    p.n_answers = QUERN_MAX_ANSWERS + 1;
    assert_int_equal(quern_submit(e, &p, &r, &err), QUERN_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "65 answers"));
    p.n_answers = 5, p.max_tokens = 2; /* nothing of the former is left in the queue */
    r = question_submit(e, &p);
    heard answers[5];
    hear_all(r, answers, 5);
    quern_request_release(r);
    forget(answers, 5);
    quern_engine_destroy(e);
}

static void seeds_are_derived(void **state)
{
    (void)state;
    const uint64_t seeds[] = {0, 1, 42, QUERN_SEED_RANDOM - 1};
    for (size_t k = 0; k < 4; k++) {
        assert_true(quern_answer_seed(seeds[k], 0) == seeds[k]);
        for (uint32_t i = 1; i < QUERN_MAX_ANSWERS; i++) {
            const uint64_t seed = quern_answer_seed(seeds[k], i);
            assert_true(seed != QUERN_SEED_RANDOM && seed == quern_answer_seed(seeds[k], i));
            for (uint32_t j = 0; j < i; j++) assert_true(quern_answer_seed(seeds[k], j) != seed);
        }
    }
    assert_true(quern_answer_seed(0, 1) == UINT64_C(11276018254045351844)); /* programs may rely on it */
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
        cmocka_unit_test(each_is_what_its_seed_gets),
        cmocka_unit_test(they_are_the_same_in_a_crowd),
        cmocka_unit_test(pages_from_the_disk_are_read_for_all),
        cmocka_unit_test(all_are_told_through_one_handle),
        cmocka_unit_test(a_released_request_ends_with_all_its_answers),
        cmocka_unit_test(all_answers_are_taken_or_none),
        cmocka_unit_test(seeds_are_derived),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}
