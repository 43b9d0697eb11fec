/* metrics_test.c: what an engine says of itself: times that add up, and counts of what really happened. */
#include "support/cmocka_all.h"

#include "engine/metrics.h"
#include "questions.h"
#include "support/tiny_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static quern_model *model;

static quern_engine *open_engine(uint32_t n_parallel, uint32_t max_waiting)
{
    quern_engine_params params = quern_engine_params_default();
    params.n_threads = 1, params.max_waiting = max_waiting;
    quern_engine_model_params mp = quern_engine_model_params_default();
    mp.n_ctx = QUESTION_CTX, mp.n_parallel = n_parallel, mp.n_positions = 4 * QUESTION_CTX;
    quern_engine *e;
    quern_error err = {0};
    assert_int_equal(quern_engine_create(&e, &params, &err), QUERN_OK);
    if (quern_engine_add_model(e, "tiny", model, &mp, &err) != QUERN_OK) fail_msg("%s", err.message);
    return e;
}

static uint64_t parts_of(const quern_engine_metrics *m)
{
    return m->idle_ns + m->schedule_ns + m->model_ns + m->draft_ns + m->draw_ns + m->tell_ns;
}

static uint64_t count_of(const quern_histogram *h)
{
    uint64_t n = 0;
    for (size_t i = 0; i < QUERN_HISTOGRAM_BUCKETS; i++) n += h->counts[i];
    assert_int_equal(n, h->n);
    return n;
}

/* ---- histograms -------------------------------------------------------------------------------------- */

static void a_value_is_in_the_bucket_of_its_bound(void **state)
{
    (void)state;
    qn_metrics m;
    qn_metrics_init(&m);
    qn_waits waits = {0};
    qn_waits_add(&waits, false, 0);
    qn_waits_add(&waits, false, 1000000); /* 0.001 s: not above the first bound */
    qn_waits_add(&waits, false, 1000001);
    qn_waits_add(&waits, true, 7);
    qn_metrics_count_waits(&m, &waits);
    assert_int_equal(waits.gap.n, 0); /* counted once */
    qn_waits_add(&waits, false, 30000000000u);
    qn_waits_add(&waits, false, UINT64_MAX);
    qn_metrics_count_waits(&m, &waits);
    quern_engine_metrics out;
    qn_metrics_get(&m, &out);
    qn_metrics_deinit(&m);
    assert_int_equal(count_of(&out.first_token), 1);
    assert_int_equal(count_of(&out.gap), 5);
    assert_int_equal(out.gap.counts[0], 2);
    assert_int_equal(out.gap.counts[1], 1);
    size_t of_thirty = 0;
    while (quern_histogram_bound(of_thirty) < 30) of_thirty++;
    assert_int_equal(out.gap.counts[of_thirty], 1);
    assert_int_equal(out.gap.counts[QUERN_HISTOGRAM_BUCKETS - 1], 1);
    for (size_t i = 1; i < QUERN_HISTOGRAM_BUCKETS; i++)
        assert_true(quern_histogram_bound(i) > quern_histogram_bound(i - 1));
    assert_true(isinf(quern_histogram_bound(QUERN_HISTOGRAM_BUCKETS - 1)));
}

/* ---- an engine --------------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void the_parts_of_time_add_up(void **state)
{
    (void)state;
    const uint64_t before = now_ns();
    quern_engine *e = open_engine(4, 0);
    const uint64_t opened = now_ns();
    question q;
    quern_engine_metrics m[3];
    quern_engine_get_metrics(e, &m[0]);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    quern_engine_get_metrics(e, &m[1]);
    assert_true(m[1].idle_ns >= m[0].idle_ns + 19000000); /* nobody asked for anything */
    quern_request *r[8];
    for (size_t i = 0; i < 8; i++) {
        question_make(&q, i, true);
        const quern_sampler_params sampler = question_sampler(&q);
        const quern_request_params p = question_request(&q, &sampler);
        assert_int_equal(quern_submit(e, &p, &r[i], NULL), QUERN_OK);
        quern_engine_get_metrics(e, &m[2]); /* in the middle of steps */
        assert_int_equal(parts_of(&m[2]), m[2].wall_ns);
    }
    for (size_t i = 0; i < 8; i++) {
        qn_buffer text = {0};
        const quern_event end = question_hear(r[i], &text);
        const quern_request_result *result = &end.result;
        assert_int_equal(end.kind, QUERN_EVENT_FINISHED);
        assert_true(result->unloaded_ns <= result->queued_ns);
        assert_true(result->preempted_ns <= result->prompt_ns + result->generate_ns);
        assert_true(result->queued_ns + result->prompt_ns + result->generate_ns <= now_ns() - opened);
        qn_buffer_deinit(&text);
        quern_request_release(r[i]);
    }
    quern_engine_get_metrics(e, &m[2]);
    const uint64_t after = now_ns();
    assert_int_equal(parts_of(&m[2]), m[2].wall_ns);
    assert_in_range(m[2].wall_ns, opened > before ? m[1].wall_ns : 0, after - before);
    assert_true(m[2].model_ns > 0 && m[2].draw_ns > 0 && m[2].schedule_ns > 0 && m[2].tell_ns > 0);
    assert_int_equal(m[2].draft_ns, 0);
    quern_engine_destroy(e);
}

static void what_happened_is_counted(void **state)
{
    (void)state;
    quern_engine *e = open_engine(2, 0);
    quern_engine_metrics m;
    size_t n_prompt = 0, n_generated = 0, n_cached = 0, n_single = 0;
    for (size_t i = 0; i < 6; i++) {
        question q;
        question_make(&q, 100 + i / 2, false);
        quern_request *r;
        qn_buffer text = {0};
        const quern_sampler_params sampler = question_sampler(&q);
        const quern_request_params p = question_request(&q, &sampler);
        assert_int_equal(quern_submit(e, &p, &r, NULL), QUERN_OK);
        const quern_event end = question_hear(r, &text);
        n_prompt += end.result.n_prompt, n_generated += end.result.n_generated;
        n_cached += end.result.n_cached, n_single += end.result.n_generated <= 1;
        qn_buffer_deinit(&text);
        quern_engine_get_metrics(e, &m); /* whoever heard of the end finds it counted */
        uint64_t n_finished = 0;
        for (size_t k = 0; k <= QUERN_FINISH_TIMEOUT; k++) n_finished += m.n_finished[k];
        assert_int_equal(n_finished, i + 1);
        quern_request_release(r);
    }
    assert_true(n_cached > 0);
    assert_int_equal(m.n_submitted, 6);
    assert_int_equal(m.n_prompt_tokens, n_prompt);
    assert_int_equal(m.n_cached_tokens, n_cached);
    assert_int_equal(m.n_generated_tokens, n_generated);
    assert_int_equal(m.n_failed + m.n_refused + m.n_waiting + m.n_unloaded + m.n_begun, 0);
    assert_true(m.n_steps > 6 && m.n_step_tokens >= n_prompt - n_cached);
    assert_int_equal(count_of(&m.duration), 6);
    assert_int_equal(count_of(&m.queued), 6);
    assert_int_equal(count_of(&m.first_token), 6);
    assert_int_equal(count_of(&m.tokens_per_second), 6 - n_single);
    assert_true(count_of(&m.gap) <= n_generated - 6 && m.gap.n > 0);
    assert_true(m.memory_bytes > 0 && m.memory_bytes <= m.limit_bytes);
    quern_engine_model_info info;
    assert_true(quern_engine_get_model(e, 0, &info));
    assert_int_equal(info.weight_bytes + info.kv_bytes + info.scratch_bytes, info.bytes);
    assert_int_equal(info.bytes, m.memory_bytes);
    assert_true(info.kv_bytes > 0 && info.scratch_bytes > 0);
    quern_engine_destroy(e);
}

static void what_is_refused_or_canceled_is_counted_too(void **state)
{
    (void)state;
    quern_engine *e = open_engine(1, 2);
    question q;
    question_make(&q, 7, true);
    const quern_sampler_params sampler = question_sampler(&q);
    quern_request_params p = question_request(&q, &sampler);
    p.ignore_end = true;
    quern_request *r[5] = {NULL};
    size_t n_refused = 1;
    for (size_t i = 0; i < 5; i++) {
        quern_error err = {0};
        if (quern_submit(e, &p, &r[i], &err) == QUERN_OK) continue;
        assert_int_equal(err.status, QUERN_ERR_BUSY);
        n_refused++;
    }
    quern_request *none;
    p.n_prompt = 0;
    assert_int_equal(quern_submit(e, &p, &none, NULL), QUERN_ERR_ARGUMENT);
    size_t n_taken = 0, n_canceled = 0;
    for (size_t i = 0; i < 5; i++) {
        if (r[i] == NULL) continue;
        quern_request_cancel(r[i]);
        qn_buffer text = {0};
        n_taken++;
        n_canceled += question_hear(r[i], &text).result.finish == QUERN_FINISH_CANCELED;
        qn_buffer_deinit(&text);
        quern_request_release(r[i]);
    }
    quern_engine_metrics m;
    quern_engine_get_metrics(e, &m);
    assert_true(n_refused > 1);
    assert_int_equal(m.n_refused, n_refused);
    assert_int_equal(m.n_submitted, n_taken);
    assert_int_equal(m.n_finished[QUERN_FINISH_CANCELED], n_canceled);
    assert_int_equal(count_of(&m.duration), n_taken);
    quern_engine_destroy(e);
}

static int open_model(void **state)
{
    (void)state;
    return (model = question_model(&(tiny_model){.seed = 1})) != NULL ? 0 : -1;
}

static int close_model(void **state)
{
    (void)state;
    quern_model_close(model);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_in_the_bucket_of_its_bound),
        cmocka_unit_test(the_parts_of_time_add_up),
        cmocka_unit_test(what_happened_is_counted),
        cmocka_unit_test(what_is_refused_or_canceled_is_counted_too),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
