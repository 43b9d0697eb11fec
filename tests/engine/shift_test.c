/* shift_test.c: answers that go on where the context is full, on tiny models. After each shift what is drawn
 * has bitwise the log-probabilities that a fresh context of the tokens that remain gives, and what was
 * dropped is told. */
#include "support/cmocka_all.h"

#include "questions.h"

#include "base/buffer.h"
#include "base/random.h"
#include "quern.h"
#include "sample/log_probs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_CTX = 128, N_VOCAB = 320, N_TOKENS = 300, N_PROMPT = 50, AT_ONCE = 5 };

static quern_model *model, *windowed;

typedef struct account {
    quern_token tokens[N_TOKENS];
    float log_probs[N_TOKENS];
    size_t n, n_dropped, n_bytes;
    quern_request_result result;
} account;

static quern_engine *open_engine(const quern_model *m, bool guesses, uint64_t n_positions)
{
    quern_engine_params params = quern_engine_params_default();
    quern_engine_model_params mp = quern_engine_model_params_default();
    quern_engine *e;
    quern_error err = {0};
    params.n_threads = 1;
    mp.n_ctx = N_CTX, mp.n_parallel = 3, mp.n_batch = 64, mp.no_guesses = !guesses;
    mp.n_positions = n_positions;
    assert_int_equal(quern_engine_create(&e, &params, &err), QUERN_OK);
    if (quern_engine_add_model(e, "tiny", m, &mp, &err) != QUERN_OK) fail_msg("%s", err.message);
    return e;
}

static void hear(quern_request *r, account *a)
{
    quern_event event;
    *a = (account){0};
    while (quern_request_next(r, -1, &event)) {
        assert_int_not_equal(event.kind, QUERN_EVENT_NONE);
        if (event.kind == QUERN_EVENT_FAILED) fail_msg("%s", event.error->message);
        if (event.kind == QUERN_EVENT_FINISHED) a->result = event.result;
        if (event.kind != QUERN_EVENT_TEXT) continue;
        assert_true(event.n_dropped >= a->n_dropped);
        a->n_dropped = event.n_dropped;
        a->n_bytes += event.n_bytes;
        for (size_t i = 0; i < event.n_log_probs; i++, a->n++) {
            assert_true(a->n < N_TOKENS);
            assert_int_equal(event.log_probs[i].position, N_PROMPT + a->n);
            a->tokens[a->n] = event.log_probs[i].token;
            a->log_probs[a->n] = event.log_probs[i].log_prob;
        }
    }
    quern_request_release(r);
}

/* Holds the tokens text[begin .. n) against the rows of a fresh context of that text. */
static void check_text(const quern_model *m, const quern_token *text, size_t begin, size_t n,
                       const float *log_probs)
{
    quern_context_params params = quern_context_params_default();
    quern_context *ctx;
    quern_error err;
    params.n_ctx = params.n_outputs = N_CTX, params.n_threads = 1;
    if (quern_context_create(&ctx, m, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    const quern_input input = {0, text, n - 1, QUERN_LOGITS_ALL};
    if (quern_decode(ctx, &input, 1, &err) != QUERN_OK) fail_msg("%s", err.message);
    for (size_t k = begin; k < n; k++) {
        const float *row = quern_logits(ctx, k - 1);
        qn_log_softmax d;
        qn_log_softmax_init(&d, row, N_VOCAB);
        const float wanted = qn_log_softmax_of(&d, row[text[k]]);
        assert_memory_equal(&log_probs[k - begin], &wanted, sizeof wanted);
    }
    quern_context_destroy(ctx);
}

/* Follows the answer token by token, dropping what shall be dropped. */
static void check_answer(const quern_model *m, const quern_token *prompt, size_t n_keep, const account *a)
{
    quern_token text[N_CTX + 1];
    size_t n = N_PROMPT, begin = n, checked = 0, n_dropped = 0;
    memcpy(text, prompt, N_PROMPT * sizeof *text);
    for (size_t i = 0; i < a->n; i++) {
        text[n++] = a->tokens[i];
        if (n <= N_CTX && i + 1 < a->n) continue;
        check_text(m, text, begin, n, a->log_probs + checked);
        checked = i + 1;
        if (checked == a->n) break;
        const size_t dropped = (n - n_keep + 1) / 2;
        n -= dropped, n_dropped += dropped;
        memmove(text + n_keep, text + n_keep + dropped, (n - n_keep) * sizeof *text);
        begin = n;
    }
    assert_int_equal(a->result.n_dropped, n_dropped);
    assert_int_equal(a->n_dropped, n_dropped);
    assert_true(n_dropped > N_CTX);
    assert_int_equal(a->result.finish, QUERN_FINISH_LENGTH);
    assert_int_equal(a->n, N_TOKENS);
}

static void what_remains_is_a_text_of_its_own(void **state)
{
    (void)state;
    static const size_t keeps[AT_ONCE] = {0, 5, 64, 63, 30};
    static quern_token prompts[AT_ONCE][N_PROMPT];
    static account a;
    const quern_model *const models[] = {model, windowed};
    size_t n_preempted = 0;
    for (size_t k = 0; k < 4; k++) { /* with and without guesses; the last one with too little room */
        quern_engine *e = open_engine(models[k % 2], k != 1, k < 2 ? 3 * N_CTX : N_CTX);
        quern_request *requests[AT_ONCE];
        for (size_t i = 0; i < AT_ONCE; i++) {
            qn_random r = {.seed = k / 2, .stream = i / 2}; /* two begin alike */
            for (size_t t = 0; t < N_PROMPT; t++) prompts[i][t] = (quern_token)(qn_random_u64(&r) % N_VOCAB);
            quern_sampler_params sampler = quern_sampler_params_default();
            sampler.seed = i, sampler.temperature = i % 2 ? 0.0f : 1.2f;
            quern_request_params p = quern_request_params_default();
            p.prompt = prompts[i], p.n_prompt = N_PROMPT, p.sampler = &sampler, p.max_tokens = N_TOKENS;
            p.ignore_end = p.log_probs = p.shifts_context = true, p.n_keep = keeps[i];
            requests[i] = question_submit(e, &p);
        }
        for (size_t i = 0; i < AT_ONCE; i++) {
            hear(requests[i], &a);
            n_preempted += a.result.n_preempted;
            check_answer(models[k % 2], prompts[i], keeps[i], &a);
        }
        quern_engine_destroy(e);
    }
    assert_true(n_preempted > 0);
}

/* Steps of several tokens, longer than what is left of the context. */
static void forced_text_is_shifted_too(void **state)
{
    (void)state;
    quern_grammar_params params = quern_grammar_params_default();
    quern_grammar *grammar;
    quern_error err;
    quern_token prompt[N_PROMPT];
    account a;
    for (size_t i = 0; i < N_PROMPT; i++) prompt[i] = (quern_token)(3 + 'a' + i % 20);
    params.kind = QUERN_GRAMMAR_REGEX, params.text = "(xyz){90}", params.n_bytes = strlen(params.text);
    if (quern_grammar_create(&grammar, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    quern_engine *e = open_engine(model, true, 0);
    quern_request_params p = quern_request_params_default();
    p.prompt = prompt, p.n_prompt = N_PROMPT, p.grammar = grammar;
    hear(question_submit(e, &p), &a); /* without, the context ends it */
    assert_true(a.result.finish != QUERN_FINISH_STOP && a.result.n_dropped == 0 && a.n_bytes < 270);
    p.shifts_context = true, p.n_keep = 3;
    hear(question_submit(e, &p), &a);
    assert_int_equal(a.result.finish, QUERN_FINISH_STOP);
    assert_int_equal(a.n_bytes, 270);
    assert_true(a.result.n_dropped > 0);
    quern_engine_destroy(e);
    quern_grammar_destroy(grammar);
}

static void too_much_cannot_be_kept(void **state)
{
    (void)state;
    const quern_token prompt[2] = {5, 6};
    const size_t wrong[] = {N_CTX / 2 + 1, N_CTX, SIZE_MAX};
    quern_engine *e = open_engine(model, true, 0);
    quern_request_params p = quern_request_params_default();
    p.prompt = prompt, p.n_prompt = 2, p.shifts_context = true;
    for (size_t i = 0; i < 3; i++) {
        quern_request *r;
        quern_error err = {0};
        p.n_keep = wrong[i];
        assert_int_equal(quern_submit(e, &p, &r, &err), QUERN_ERR_ARGUMENT);
        assert_null(r);
        assert_non_null(strstr(err.message, "context of 128"));
    }
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
        cmocka_unit_test(what_remains_is_a_text_of_its_own),
        cmocka_unit_test(forced_text_is_shifted_too),
        cmocka_unit_test(too_much_cannot_be_kept),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}
