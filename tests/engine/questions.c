/* questions.c: see questions.h. */
#include "support/cmocka_all.h"

#include "questions.h"
#include "support/tiny_model.h"

#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void question_make(question *q, uint64_t seed, bool is_long)
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
        q->prompt[i] = (quern_token)(qn_random_u64(i < n_common ? &common : &own) % QUESTION_VOCAB);
}

quern_sampler_params question_sampler(const question *q)
{
    quern_sampler_params p = quern_sampler_params_default();
    p.temperature = q->temperature, p.seed = q->seed, p.repeat_penalty = 1.1f, p.top_k = 0, p.top_p = 1.0f;
    return p;
}

static bool append(void *user, const char *text, size_t n_bytes)
{
    return qn_buffer_append(user, text, n_bytes);
}

quern_context *question_context(const quern_model *m)
{
    quern_context_params params = quern_context_params_default();
    params.n_ctx = QUESTION_CTX, params.n_threads = 1;
    quern_context *ctx;
    quern_error err;
    if (quern_context_create(&ctx, m, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    return ctx;
}

quern_generated question_answer(quern_context *ctx, const question *q, qn_buffer *text)
{
    const quern_sampler_params sp = question_sampler(q);
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

quern_request_params question_request(const question *q, const quern_sampler_params *sampler)
{
    quern_request_params p = quern_request_params_default();
    p.prompt = q->prompt, p.n_prompt = q->n_prompt, p.max_tokens = q->max_tokens, p.sampler = sampler;
    p.grammar = q->grammar, p.stops = &q->stop, p.n_stops = q->stop != NULL;
    return p;
}

quern_event question_hear(quern_request *r, qn_buffer *text)
{
    quern_event event, last = {0};
    bool is_right = true;
    qn_buffer_clear(text);
    while (quern_request_next(r, -1, &event)) {
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

quern_model *question_model(const tiny_model *kind)
{
    char path[] = "/tmp/quern_question_model_XXXXXX";
    quern_model *m = NULL;
    quern_error err = {.message = "the file cannot be written"};
    const int fd = mkstemp(path);
    if (fd >= 0) close(fd);
    if (fd < 0 || !tiny_model_write(path, kind) || quern_model_open(&m, path, NULL, &err) != QUERN_OK)
        fprintf(stderr, "%s: %s\n", path, err.message);
    if (fd >= 0) unlink(path);
    return m;
}

bool question_models_open(quern_model **plain, quern_model **windowed)
{
    *plain = question_model(&(tiny_model){.seed = 1});
    *windowed = question_model(&(tiny_model){.arch = "gemma3", .seed = 2, .window = 40});
    return *plain != NULL && *windowed != NULL;
}

void question_models_close(quern_model *plain, quern_model *windowed)
{
    quern_model_close(plain);
    quern_model_close(windowed);
}

quern_request *question_submit(quern_engine *e, const quern_request_params *p)
{
    quern_request *r = NULL;
    quern_error err = {0};
    if (quern_submit(e, p, &r, &err) != QUERN_OK) fail_msg("%s", err.message);
    return r;
}
