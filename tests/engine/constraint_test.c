/* constraint_test.c: answers bound to a grammar, on a tiny model: always of the language, however early they
 * are cut; the same tokens as when each is drawn by itself; one grammar for many threads and models. */
#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "base/alloc.h"
#include "quern.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char model_path[] = "/tmp/quern_constraint_XXXXXX";
static quern_model *model;

static const char json[] =
    "root ::= object\n"
    "value ::= object | array | string | \"-\"? (\"0\" | [1-9] [0-9]{0,15}) | \"true\" | \"false\" | "
    "\"null\"\n"
    "object ::= \"{\" (string \":\" value (\",\" string \":\" value)*)? \"}\"\n"
    "array ::= \"[\" (value (\",\" value)*)? \"]\"\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f\\x7f-\\U0010ffff] | \"\\\\\" [\"\\\\/bfnrt])* \"\\\"\"\n";
static const char record[] =
    "root ::= \"{\\\"name\\\":\\\"\" [a-z]+ \"\\\",\\\"age\\\":\" [1-9] [0-9]? \"}\"";

static quern_grammar *open_grammar(const char *text)
{
    quern_grammar_params params = quern_grammar_params_default();
    quern_grammar *grammar;
    quern_error err;
    params.kind = QUERN_GRAMMAR_GBNF;
    params.text = text, params.n_bytes = strlen(text);
    if (quern_grammar_create(&grammar, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    return grammar;
}

static quern_context *open_context(uint32_t n_ctx)
{
    quern_context_params params = quern_context_params_default();
    quern_context *ctx;
    quern_error err;
    params.n_ctx = n_ctx, params.n_threads = 1;
    if (quern_context_create(&ctx, model, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    return ctx;
}

static quern_sampler *open_sampler(float temperature, uint64_t seed, int mirostat)
{
    quern_sampler_params params = quern_sampler_params_default();
    quern_sampler *sampler;
    quern_error err;
    params.temperature = temperature, params.seed = seed, params.mirostat = mirostat;
    if (quern_sampler_create(&sampler, model, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    return sampler;
}

typedef struct heard {
    char text[4096];
    size_t n_bytes;
} heard;

static bool hear(void *user, const char *text, size_t n_bytes)
{
    heard *h = user;
    if (h->n_bytes + n_bytes >= sizeof h->text) return false;
    memcpy(h->text + h->n_bytes, text, n_bytes + 1);
    h->n_bytes += n_bytes;
    return true;
}

static const quern_token prompt[] = {1, 50, 60, 70};

static quern_generated answer(quern_context *ctx, quern_sampler *sampler, const quern_grammar *grammar,
                              size_t max_tokens, heard *h)
{
    quern_generate_params p = quern_generate_params_default();
    quern_generated result;
    quern_error err;
    p.prompt = prompt, p.n_prompt = 4, p.max_tokens = max_tokens, p.grammar = grammar;
    p.on_text = hear, p.user = h;
    h->n_bytes = 0, h->text[0] = '\0';
    if (quern_generate(ctx, sampler, &p, &result, &err) != QUERN_OK) fail_msg("%s", err.message);
    return result;
}

static void check_whole(const quern_grammar *grammar, const heard *h)
{
    bool matches;
    assert_int_equal(quern_grammar_matches(grammar, h->text, h->n_bytes, &matches, NULL), QUERN_OK);
    if (!matches) fail_msg("not of the language: '%s'", h->text);
}

static void answers_are_whole_however_short(void **state)
{
    (void)state;
    quern_grammar *grammar = open_grammar(json);
    quern_context *ctx = open_context(96);
    static heard h;
    bool cut = false, ended = false;
    for (uint64_t seed = 0; seed < 60; seed++) {
        quern_sampler *sampler = open_sampler(1.5f, seed, 0);
        const size_t max_tokens = seed % 3 == 0 ? 0 : 2 + seed;
        const quern_generated g = answer(ctx, sampler, grammar, max_tokens, &h);
        check_whole(grammar, &h);
        json_t *value = json_loadb(h.text, h.n_bytes, 0, NULL);
        assert_true(json_is_object(value));
        json_decref(value);
        assert_true(max_tokens == 0 || g.n_generated <= max_tokens);
        assert_true(g.finish != QUERN_FINISH_CANCELED);
        cut |= g.finish == QUERN_FINISH_LENGTH || g.finish == QUERN_FINISH_CONTEXT;
        ended |= g.finish == QUERN_FINISH_STOP;
        quern_sampler_destroy(sampler);
    }
    assert_true(cut && ended);
    quern_context_destroy(ctx);
    quern_grammar_destroy(grammar);
}

static void too_few_tokens_for_any_end_are_used_nevertheless(void **state)
{
    (void)state;
    quern_grammar *grammar = open_grammar(record);
    quern_context *ctx = open_context(96);
    quern_sampler *sampler = open_sampler(1.0f, 1, 0);
    static heard h;
    const quern_generated g = answer(ctx, sampler, grammar, 3, &h);
    assert_int_equal(g.finish, QUERN_FINISH_LENGTH);
    assert_int_equal(g.n_generated, 3);
    assert_true(h.n_bytes >= 3 && strncmp(h.text, "{\"name\":\"", h.n_bytes < 9 ? h.n_bytes : 9) == 0);
    quern_sampler_destroy(sampler);
    quern_context_destroy(ctx);
    quern_grammar_destroy(grammar);
}

/* The same, token by token, each drawn from logits of its own. */
static size_t draw_each(const quern_grammar *grammar, quern_sampler *sampler, quern_token *out, size_t max)
{
    quern_context *ctx = open_context(512);
    quern_input input = {0, prompt, 4, QUERN_LOGITS_LAST};
    quern_error err;
    size_t n = 0;
    quern_sampler_reset(sampler);
    for (size_t i = 0; i < 4; i++) quern_sampler_accept(sampler, prompt[i]);
    assert_int_equal(quern_sampler_constrain(sampler, grammar, true, &err), QUERN_OK);
    while (n < max) {
        assert_int_equal(quern_decode(ctx, &input, 1, &err), QUERN_OK);
        out[n] = quern_sampler_sample(sampler, quern_logits(ctx, 0));
        assert_true(out[n] >= 0);
        if (quern_token_is_end(model, out[n])) break;
        quern_sampler_accept(sampler, out[n]);
        input = (quern_input){0, &out[n++], 1, QUERN_LOGITS_LAST};
    }
    quern_context_destroy(ctx);
    return n;
}

static void what_is_forced_is_what_would_have_been_drawn(void **state)
{
    (void)state;
    quern_grammar *grammar = open_grammar(record);
    quern_context *ctx = open_context(512);
    static heard h;
    for (int mirostat = 0; mirostat < 3; mirostat++)
        for (uint64_t seed = 0; seed < 8; seed++) {
            quern_sampler *sampler = open_sampler(seed == 0 ? 0.0f : 1.2f, seed, mirostat);
            quern_token tokens[64];
            const size_t n = draw_each(grammar, sampler, tokens, 64);
            char *text;
            size_t n_bytes;
            quern_error err;
            const quern_generated g = answer(ctx, sampler, grammar, 64, &h);
            assert_int_equal(quern_detokenize(model, tokens, n, false, false, &text, &n_bytes, &err),
                             QUERN_OK);
            if (n < 64) {
                assert_int_equal(g.finish, QUERN_FINISH_STOP);
                assert_int_equal(n_bytes, h.n_bytes);
                assert_memory_equal(text, h.text, n_bytes);
                check_whole(grammar, &h);
            }
            quern_free(text);
            quern_sampler_destroy(sampler);
        }
    quern_context_destroy(ctx);
    quern_grammar_destroy(grammar);
}

typedef struct job {
    const quern_grammar *grammar;
    uint64_t seed;
    heard h;
} job;

static void *run_job(void *user)
{
    job *j = user;
    quern_context *ctx = open_context(128);
    for (int i = 0; i < 3; i++) {
        quern_sampler *sampler = open_sampler(1.0f, j->seed, 0);
        answer(ctx, sampler, j->grammar, 40, &j->h);
        quern_sampler_destroy(sampler);
    }
    quern_context_destroy(ctx);
    return NULL;
}

static void threads_share_a_grammar(void **state)
{
    (void)state;
    enum { N = 4 };
    static job jobs[N], alone[N];
    quern_grammar *shared = open_grammar(json);
    pthread_t threads[N];
    for (size_t i = 0; i < N; i++) {
        jobs[i] = (job){.grammar = shared, .seed = i};
        assert_int_equal(pthread_create(&threads[i], NULL, run_job, &jobs[i]), 0);
    }
    for (size_t i = 0; i < N; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i < N; i++) { /* nobody else's answer changes one's own */
        quern_grammar *own = open_grammar(json);
        alone[i] = (job){.grammar = own, .seed = i};
        run_job(&alone[i]);
        assert_string_equal(jobs[i].h.text, alone[i].h.text);
        quern_grammar_destroy(own);
    }
    quern_grammar_destroy(shared);
}

static void a_sampler_alone_keeps_to_its_grammar(void **state)
{
    (void)state;
    quern_grammar *grammar = open_grammar("root ::= \"ab\" | \"ac\"");
    quern_sampler *sampler = open_sampler(1.0f, 3, 0);
    quern_error err;
    float logits[320];
    assert_int_equal(quern_sampler_constrain(sampler, grammar, false, &err), QUERN_OK);
    memset(logits, 0, sizeof logits);
    assert_int_equal(quern_sampler_sample(sampler, logits), 3 + 'a');
    quern_sampler_accept(sampler, 3 + 'a');
    memset(logits, 0, sizeof logits);
    const quern_token next = quern_sampler_sample(sampler, logits);
    assert_true(next == 3 + 'b' || next == 3 + 'c');
    quern_sampler_accept(sampler, 3 + 'z');
    assert_int_equal(quern_sampler_sample(sampler, logits), -1);
    assert_int_equal(quern_sampler_status(sampler, &err), QUERN_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "no token"));
    quern_sampler_reset(sampler);
    memset(logits, 0, sizeof logits);
    assert_true(quern_sampler_sample(sampler, logits) >= 0);
    assert_int_equal(quern_sampler_status(sampler, &err), QUERN_OK);
    quern_sampler_destroy(sampler);
    quern_grammar_destroy(grammar);
}

static void failing_memory_is_told(void **state)
{
    (void)state;
    quern_context *ctx = open_context(96);
    quern_sampler *sampler = open_sampler(1.0f, 3, 0);
    static heard h;
    const long live = qn_alloc_live();
    bool done = false;
    for (long k = 0; !done; k++) {
        quern_grammar_params params = quern_grammar_params_default();
        quern_grammar *grammar = NULL;
        quern_generated result;
        quern_error err = {0};
        params.text = record, params.n_bytes = strlen(record);
        qn_alloc_fail_at(k);
        quern_status s = quern_grammar_create(&grammar, &params, &err);
        quern_generate_params p = quern_generate_params_default();
        p.prompt = prompt, p.n_prompt = 4, p.max_tokens = 8, p.grammar = grammar, p.on_text = hear,
        p.user = &h;
        h.n_bytes = 0;
        if (s == QUERN_OK) s = quern_generate(ctx, sampler, &p, &result, &err);
        done = !qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        if (!done && s == QUERN_OK)
            assert_true(grammar != NULL); /* only what speeds up the next time was lost */
        else assert_int_equal(s, done ? QUERN_OK : QUERN_ERR_NOMEM);
        quern_sampler_reset(sampler);
        quern_grammar_destroy(grammar);
        if (k > 0 && !done) assert_in_range(qn_alloc_live() - live, 0, 32); /* the model keeps its table */
    }
    quern_sampler_destroy(sampler);
    quern_context_destroy(ctx);
}

static int open_model(void **state)
{
    (void)state;
    const tiny_model shape = {.seed = 77};
    const int file = mkstemp(model_path);
    if (file < 0 || close(file) != 0 || !tiny_model_write(model_path, &shape)) return -1;
    quern_error err;
    return quern_model_open(&model, model_path, NULL, &err) == QUERN_OK ? 0 : -1;
}

static int close_model(void **state)
{
    (void)state;
    quern_model_close(model);
    return unlink(model_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_whole_however_short),
        cmocka_unit_test(too_few_tokens_for_any_end_are_used_nevertheless),
        cmocka_unit_test(what_is_forced_is_what_would_have_been_drawn),
        cmocka_unit_test(threads_share_a_grammar),
        cmocka_unit_test(a_sampler_alone_keeps_to_its_grammar),
        cmocka_unit_test(failing_memory_is_told),
    };
    return cmocka_run_group_tests_name("engine constraint", tests, open_model, close_model);
}
