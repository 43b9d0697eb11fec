/* log_probs_test.c: log-probabilities of prompts and of answers, on tiny models. They are those of the
 * model's own logits, and have the same bits whoever shared the steps, however the prompt was cut, with
 * guesses and without, after making room, and with a grammar. */
#include "support/cmocka_all.h"

#include "questions.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/random.h"
#include "quern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_CTX = 512, N_VOCAB = 320, MOST_TOKENS = N_CTX + 1, TOP = 5, N_QUESTIONS = 16 };

static quern_model *model, *windowed;

/* What was told of one request. */
typedef struct account {
    qn_buffer text;
    size_t n;
    struct told {
        size_t position, n_top;
        quern_token token;
        float log_prob;
        quern_log_prob top[QUERN_MAX_TOP_LOG_PROBS];
    } tokens[MOST_TOKENS];
    size_t n_of_prompt; /* of them */
    quern_request_result result;
} account;

typedef struct scored_question {
    quern_token prompt[N_CTX];
    size_t n_prompt, max_tokens;
    quern_sampler_params sampler;
    bool of_answer, of_prompt;
    uint32_t n_top;
    const quern_grammar *grammar;
} scored_question;

static void make_question(scored_question *q, uint64_t seed)
{
    qn_random r = {.seed = seed, .stream = 1}, family = {.seed = seed % 3, .stream = 2};
    const size_t n_common = qn_random_u64(&r) % 200;
    *q = (scored_question){.n_prompt = 1 + n_common + (seed == 0 ? 0 : qn_random_u64(&r) % 150),
                           .max_tokens = 1 + qn_random_u64(&r) % 60,
                           .sampler = quern_sampler_params_default(),
                           .of_answer = seed % 4 != 3,
                           .of_prompt = seed % 4 < 3 && seed % 4 > 0,
                           .n_top = (uint32_t)(seed % 5 == 0   ? 0
                                               : seed % 7 == 0 ? 20
                                                               : TOP)};
    q->sampler.seed = seed, q->sampler.temperature = seed % 2 ? 0.0f : 1.1f, q->sampler.top_k = 0;
    q->sampler.repeat_penalty =
        seed % 2 ? 1.0f : 1.3f; /* samplers change the row; what is told is not changed */
    for (size_t i = 0; i < q->n_prompt; i++)
        q->prompt[i] = (quern_token)(qn_random_u64(i < n_common ? &family : &r) % N_VOCAB);
}

/* guesses: the model guesses for itself, as many tokens as there may be, so that many come true. */
static quern_engine *open_engine(const quern_model *m, int n_threads, uint32_t n_batch, bool guesses,
                                 uint64_t n_positions)
{
    quern_engine_params params = quern_engine_params_default();
    quern_engine_model_params mp = quern_engine_model_params_default();
    quern_engine *e;
    quern_error err = {0};
    params.n_threads = n_threads;
    mp.n_ctx = N_CTX, mp.n_parallel = 8, mp.n_batch = n_batch, mp.no_guesses = !guesses;
    mp.n_positions = n_positions, mp.draft = guesses ? m : NULL, mp.n_draft = 15;
    assert_int_equal(quern_engine_create(&e, &params, &err), QUERN_OK);
    if (quern_engine_add_model(e, "tiny", m, &mp, &err) != QUERN_OK) fail_msg("%s", err.message);
    return e;
}

static quern_request *ask(quern_engine *e, const scored_question *q)
{
    quern_request_params p = quern_request_params_default();
    quern_request *r;
    quern_error err = {0};
    p.prompt = q->prompt, p.n_prompt = q->n_prompt, p.max_tokens = q->max_tokens, p.sampler = &q->sampler;
    p.ignore_end = q->grammar == NULL, p.grammar = q->grammar;
    p.log_probs = q->of_answer, p.prompt_log_probs = q->of_prompt, p.n_top_log_probs = q->n_top;
    if (quern_submit(e, &p, &r, &err) != QUERN_OK) fail_msg("%s", err.message);
    return r;
}

static void note(account *a, const quern_event *event)
{
    for (size_t i = 0; i < event->n_log_probs; i++) {
        const quern_token_log_probs *l = &event->log_probs[i];
        assert_true(a->n < MOST_TOKENS);
        struct told *told = &a->tokens[a->n++];
        told->position = l->position, told->token = l->token, told->log_prob = l->log_prob;
        told->n_top = l->n_top;
        for (size_t k = 0; k < l->n_top; k++) told->top[k] = l->top[k];
    }
    if (event->kind == QUERN_EVENT_PROMPT) a->n_of_prompt = a->n;
}

static void hear(quern_request *r, account *a)
{
    quern_event event;
    memset(a, 0, sizeof *a);
    while (quern_request_next(r, -1, &event)) {
        assert_int_not_equal(event.kind, QUERN_EVENT_NONE);
        assert_true(event.n_log_probs == 0 || event.kind == QUERN_EVENT_PROMPT ||
                    event.kind == QUERN_EVENT_TEXT);
        if (event.kind == QUERN_EVENT_TEXT) qn_buffer_append(&a->text, event.text, event.n_bytes);
        note(a, &event);
        if (event.kind == QUERN_EVENT_FAILED) fail_msg("%s", event.error->message);
        if (event.kind == QUERN_EVENT_FINISHED) a->result = event.result;
    }
    quern_request_release(r);
}

static account *answer_alone(const quern_model *m, const scored_question *q)
{
    account *a = malloc(sizeof *a);
    quern_engine *e = open_engine(m, 1, 512, false, 0);
    hear(ask(e, q), a);
    quern_engine_destroy(e);
    return a;
}

static void check_same(const account *a, const account *b, uint64_t which)
{
    if (a->n != b->n || a->n_of_prompt != b->n_of_prompt || a->text.n_bytes != b->text.n_bytes ||
        memcmp(a->tokens, b->tokens, a->n * sizeof a->tokens[0]) != 0)
        fail_msg("question %llu: %zu and %zu tokens, or they differ", (unsigned long long)which, a->n, b->n);
    if (a->text.n_bytes > 0) assert_memory_equal(a->text.data, b->text.data, a->text.n_bytes);
}

/* ---- against the model's logits ------------------------------------------------------------------ */

static void check_token(const struct told *told, const float *logits, uint32_t n_top)
{
    long double greatest = -INFINITY, sum = 0;
    for (size_t i = 0; i < N_VOCAB; i++) greatest = fmaxl(greatest, logits[i]);
    for (size_t i = 0; i < N_VOCAB; i++) sum += expl(logits[i] - greatest);
    const long double all = greatest + logl(sum);
    assert_true(fabsl(told->log_prob - (logits[told->token] - all)) < 1e-6L);
    assert_int_equal(told->n_top, n_top);
    for (size_t i = 0; i < n_top; i++) {
        assert_true(fabsl(told->top[i].log_prob - (logits[told->top[i].token] - all)) < 1e-6L);
        size_t n_before = 0;
        for (size_t t = 0; t < N_VOCAB; t++)
            n_before += logits[t] > logits[told->top[i].token] ||
                        (logits[t] == logits[told->top[i].token] && (quern_token)t < told->top[i].token);
        assert_int_equal(n_before, i);
    }
}

/* The text is computed again, whole, and each token held against the row before it. */
static void check_against_logits(const quern_model *m, const scored_question *q, const account *a)
{
    quern_token text[MOST_TOKENS];
    size_t n = q->n_prompt;
    quern_context_params params = quern_context_params_default();
    quern_context *ctx;
    quern_error err;
    memcpy(text, q->prompt, n * sizeof *text);
    for (size_t i = a->n_of_prompt; i < a->n; i++) text[n++] = a->tokens[i].token;
    params.n_ctx = params.n_outputs = N_CTX, params.n_threads = 1;
    if (quern_context_create(&ctx, m, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    const quern_input input = {0, text, n < N_CTX ? n : N_CTX, QUERN_LOGITS_ALL};
    if (quern_decode(ctx, &input, 1, &err) != QUERN_OK) fail_msg("%s", err.message);
    assert_int_equal(a->n_of_prompt, q->of_prompt ? q->n_prompt - 1 : 0);
    assert_int_equal(a->n - a->n_of_prompt, q->of_answer ? a->result.n_generated : 0);
    for (size_t i = 0; i < a->n; i++) {
        const size_t position = i < a->n_of_prompt ? i + 1 : q->n_prompt + i - a->n_of_prompt;
        assert_int_equal(a->tokens[i].position, position);
        assert_int_equal(a->tokens[i].token, text[position]);
        check_token(&a->tokens[i], quern_logits(ctx, position - 1), q->n_top);
    }
    quern_context_destroy(ctx);
}

static void they_are_those_of_the_model(void **state)
{
    (void)state;
    const quern_model *const models[] = {model, windowed};
    for (uint64_t seed = 0; seed < 12; seed++) {
        scored_question q;
        make_question(&q, seed);
        account *a = answer_alone(models[seed % 2], &q);
        check_against_logits(models[seed % 2], &q, a);
        qn_buffer_deinit(&a->text);
        free(a);
    }
}

/* ---- in company ----------------------------------------------------------------------------------- */

static void ask_all(account *const *alone, quern_engine *e, bool is_tight)
{
    static scored_question questions[N_QUESTIONS];
    quern_request *requests[N_QUESTIONS];
    account *a = malloc(sizeof *a);
    size_t n_guessed = 0, n_preempted = 0;
    for (uint64_t i = 0; i < N_QUESTIONS; i++) {
        make_question(&questions[i], i);
        requests[i] = ask(e, &questions[i]);
    }
    for (uint64_t i = 0; i < N_QUESTIONS; i++) {
        hear(requests[i], a);
        check_same(a, alone[i], i);
        n_guessed += a->result.n_guessed_right, n_preempted += a->result.n_preempted;
        /* what must be scored is not taken from what is known */
        if (questions[i].of_prompt && a->result.n_preempted == 0) assert_int_equal(a->result.n_cached, 0);
        qn_buffer_deinit(&a->text);
    }
    assert_true(is_tight ? n_preempted > 0 : n_guessed > 0);
    quern_engine_destroy(e);
    free(a);
}

static void they_are_the_same_in_company(void **state)
{
    (void)state;
    const quern_model *const models[] = {model, windowed};
    for (size_t k = 0; k < 2; k++) {
        account *alone[N_QUESTIONS];
        for (uint64_t i = 0; i < N_QUESTIONS; i++) {
            scored_question q;
            make_question(&q, i);
            alone[i] = answer_alone(models[k], &q);
        }
        ask_all(alone, open_engine(models[k], k == 0 ? 2 : 1, 64, true, 8 * N_CTX), false);
        ask_all(alone, open_engine(models[k], 1, 100, true, N_CTX), true);
        for (size_t i = 0; i < N_QUESTIONS; i++) {
            qn_buffer_deinit(&alone[i]->text);
            free(alone[i]);
        }
    }
}

/* All that stream guess as much as they can: together more rows than there are. */
static void many_guess_at_once(void **state)
{
    (void)state;
    scored_question q;
    quern_request *requests[16];
    make_question(&q, 5);
    q.max_tokens = 120, q.of_prompt = false;
    account *alone = answer_alone(model, &q), *a = malloc(sizeof *a);
    quern_engine *e = open_engine(model, 1, 512, true, 8 * N_CTX);
    size_t n_guessed = 0;
    for (size_t i = 0; i < 16; i++) requests[i] = ask(e, &q);
    for (size_t i = 0; i < 16; i++) {
        hear(requests[i], a);
        check_same(a, alone, i);
        n_guessed += a->result.n_guessed_right;
        qn_buffer_deinit(&a->text);
    }
    assert_true(n_guessed > 0);
    quern_engine_destroy(e);
    qn_buffer_deinit(&alone->text);
    free(alone), free(a);
}

/* ---- with a grammar, and what cannot be ----------------------------------------------------------- */

/* What leaves no choice is a token like others: it has a log-probability, and the answer is the same. */
static void of_what_a_grammar_forces(void **state)
{
    (void)state;
    static const char record[] = "root ::= \"{\\\"name\\\":\\\"\" [a-z]+ \"\\\",\\\"age\\\":\" [1-9] \"}\"";
    quern_grammar_params params = quern_grammar_params_default();
    quern_grammar *grammar;
    quern_error err;
    scored_question q;
    params.kind = QUERN_GRAMMAR_GBNF, params.text = record, params.n_bytes = sizeof record - 1;
    if (quern_grammar_create(&grammar, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    make_question(&q, 6);
    q.grammar = grammar, q.max_tokens = 40, q.n_top = TOP;
    q.of_answer = q.of_prompt = true;
    account *with = answer_alone(model, &q);
    check_against_logits(model, &q, with);
    q.of_answer = q.of_prompt = false;
    account *without = answer_alone(model, &q);
    assert_int_equal(without->n, 0);
    assert_int_equal(with->result.n_generated, without->result.n_generated);
    assert_int_equal(with->text.n_bytes, without->text.n_bytes);
    assert_memory_equal(with->text.data, without->text.data, with->text.n_bytes);
    qn_buffer_deinit(&with->text), qn_buffer_deinit(&without->text);
    free(with), free(without);
    quern_grammar_destroy(grammar);
}

static void what_is_too_much_is_refused(void **state)
{
    (void)state;
    scored_question q;
    quern_request *r;
    quern_error err = {0};
    quern_engine *e = open_engine(model, 1, 64, true, 0);
    make_question(&q, 1);
    quern_request_params p = quern_request_params_default();
    p.prompt = q.prompt, p.n_prompt = q.n_prompt;
    p.log_probs = true;
    const uint32_t wrong[] = {QUERN_MAX_TOP_LOG_PROBS + 1, UINT32_MAX};
    for (size_t i = 0; i < 2; i++) {
        p.n_top_log_probs = wrong[i];
        assert_int_equal(quern_submit(e, &p, &r, &err), QUERN_ERR_ARGUMENT);
        assert_null(r);
        assert_non_null(strstr(err.message, "20"));
    }
    quern_engine_destroy(e);
}

static void a_request_survives_each_failing_allocation(void **state)
{
    (void)state;
    scored_question q;
    const long before = qn_alloc_live();
    make_question(&q, 2);
    quern_engine *e = open_engine(model, 1, 64, true, 0);
    quern_request_params p = quern_request_params_default();
    p.prompt = q.prompt, p.n_prompt = q.n_prompt, p.max_tokens = 2, p.n_answers = 3;
    p.log_probs = p.prompt_log_probs = true, p.n_top_log_probs = 20;
    for (long k = 0;; k++) {
        quern_request *r;
        qn_alloc_fail_at(k);
        const quern_status s = quern_submit(e, &p, &r, NULL);
        const bool has_failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        if (s == QUERN_OK) {
            quern_request_release(r);
            if (has_failed) continue; /* the engine's thread, which has begun with it, met the failure */
            assert_true(k > 20);
            break;
        }
        assert_int_equal(s, QUERN_ERR_NOMEM);
        assert_null(r);
    }
    quern_engine_destroy(e);
    assert_int_equal(qn_alloc_live(), before);
}

static void tokens_have_bytes(void **state)
{
    (void)state;
    char *bytes;
    size_t n;
    quern_error err;
    assert_int_equal(quern_token_bytes(model, 3 + 0xe2, &bytes, &n, &err), QUERN_OK); /* half a character */
    assert_true(n == 1 && (unsigned char)bytes[0] == 0xe2 && bytes[1] == '\0');
    quern_free(bytes);
    assert_int_equal(quern_token_bytes(model, 1, &bytes, &n, &err), QUERN_OK);
    assert_string_equal(bytes, "<s>");
    quern_free(bytes);
    const quern_token wrong[] = {-1, N_VOCAB, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(quern_token_bytes(model, wrong[i], &bytes, &n, &err), QUERN_ERR_ARGUMENT);
        assert_true(bytes == NULL && n == 0);
    }
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
        cmocka_unit_test(they_are_those_of_the_model),
        cmocka_unit_test(they_are_the_same_in_company),
        cmocka_unit_test(many_guess_at_once),
        cmocka_unit_test(of_what_a_grammar_forces),
        cmocka_unit_test(what_is_too_much_is_refused),
        cmocka_unit_test(a_request_survives_each_failing_allocation),
        cmocka_unit_test(tokens_have_bytes),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}
