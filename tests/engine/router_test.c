/* router_test.c: rules are held to their words, the classifier's shares to the logits that the model gives
 * for the same question, and everything that goes wrong ends at the fallback. */
#include "support/cmocka_all.h"

#include "questions.h"
#include "support/tiny_model.h"

#include "base/alloc.h"
#include "engine/router_prompt.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_CTX = 4096 };

static quern_model *model;

/* ---- engines and routers ------------------------------------------------------------------------- */

static quern_engine *open_engine(const quern_model *m)
{
    quern_engine_params params = quern_engine_params_default();
    quern_engine_model_params mp = quern_engine_model_params_default();
    quern_engine *e;
    quern_error err;
    params.n_threads = 2;
    mp.n_ctx = N_CTX, mp.n_parallel = 4, mp.n_batch = 128;
    if (quern_engine_create(&e, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    if (m != NULL && quern_engine_add_model(e, "small", m, &mp, &err) != QUERN_OK)
        fail_msg("%s", err.message);
    return e;
}

static quern_router *open_router(quern_engine *e, const quern_router_params *p)
{
    quern_router *r;
    quern_error err;
    if (quern_router_create(&r, e, p, &err) != QUERN_OK) fail_msg("%s", err.message);
    return r;
}

static quern_routing pick(quern_router *r, const char *text)
{
    quern_routing routing;
    quern_router_pick(r, text, strlen(text), &routing);
    return routing;
}

/* ---- rules --------------------------------------------------------------------------------------- */

static void the_first_rule_that_holds_is_taken(void **state)
{
    (void)state;
    static const quern_route bad[] = {{.model = "a", .pattern = "x"}, {.model = "b", .pattern = "\\bx"}};
    static const quern_route routes[] = {{.model = "long code", .pattern = "```", .min_bytes = 40},
                                         {.model = "code", .pattern = "```|#include\\s*<"},
                                         {.model = "begin", .pattern = "^Dear (Sir|Madam)"},
                                         {.model = "german", .pattern = "[\xc3\xa4\xc3\xb6\xc3\xbc]"},
                                         {.model = "long", .min_bytes = 60},
                                         {.model = "rest"}};
    static const struct {
        const char *text, *model;
        size_t route;
    } cases[] = {
        {"", "rest", 6},
        {"what is\n```c\nint x;\n```", "code", 1},
        {"what is this that I have here\n```c\nint x;\n```", "long code", 0},
        {"a file with #include <stdio.h>", "code", 1},
        {"a file with #include", "rest", 6},
        {"Dear Sir,\nwhere", "begin", 2},
        {"Oh dear, Dear Sir", "rest", 6},
        {"f\xc3\xbcr mich", "german", 3},
        {"fur mich", "rest", 6},
        {"not UTF-8: \xff\xfe ```", "rest", 6},
        {"012345678901234567890123456789012345678901234567890123456789", "long", 4},
        {"01234567890123456789012345678901234567890123456789012345678", "rest", 6},
    };
    quern_engine *e = open_engine(NULL);
    quern_router_params p = quern_router_params_default();
    quern_error err = {0};
    quern_router *r;
    p.routes = bad, p.n_routes = 2;
    assert_int_equal(quern_router_create(&r, e, &p, &err), QUERN_ERR_ARGUMENT);
    assert_null(r);
    assert_non_null(strstr(err.message, "route 1"));
    p.routes = routes, p.n_routes = 6;
    r = open_router(e, &p);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const quern_routing routing = pick(r, cases[i].text);
        assert_string_equal(routing.model, cases[i].model);
        assert_int_equal(routing.route, cases[i].route);
        assert_int_equal(routing.by, cases[i].route < 6 ? QUERN_ROUTED_BY_RULE : QUERN_ROUTED_BY_FALLBACK);
        assert_false(routing.was_asked);
        assert_int_equal(routing.problem.status, QUERN_OK);
    }
    quern_router_destroy(r);
    p.fallback = "somewhere else";
    r = open_router(e, &p);
    assert_string_equal(pick(r, "").model, "somewhere else");
    quern_router_destroy(r);
    quern_engine_destroy(e);
}

/* ---- the classifier ------------------------------------------------------------------------------ */

static const quern_route three[] = {{.model = "one", .pattern = "by rule"},
                                    {.model = "coder", .description = "questions about programs"},
                                    {.model = "poet", .description = "verses, \"letters\" and {{ stories }}"},
                                    {.model = "rest", .description = "everything else"}};
enum { N_THREE = 4, N_CHOICES = 3 };

static quern_router_params with_classifier(void)
{
    quern_router_params p = quern_router_params_default();
    p.routes = three, p.n_routes = N_THREE, p.classifier = "small", p.timeout_ms = 600000;
    return p;
}

/* How likely the letters are, by a context of its own. */
static void scores_alone(const quern_model *m, const char *text, double *scores)
{
    const char *descriptions[N_CHOICES];
    for (size_t i = 0; i < N_CHOICES; i++) descriptions[i] = three[i + 1].description;
    qn_router_prompt prompt;
    quern_error err;
    quern_token *tokens = NULL;
    size_t n_tokens = 0;
    if (qn_router_prompt_init(&prompt, m, descriptions, N_CHOICES, &err) != QUERN_OK ||
        qn_router_prompt_fill(&prompt, text, strlen(text), 1000, &tokens, &n_tokens, &err) != QUERN_OK)
        fail_msg("%s", err.message);
    quern_context_params cp = quern_context_params_default();
    quern_context *ctx;
    cp.n_ctx = N_CTX, cp.n_threads = 1;
    assert_int_equal(quern_context_create(&ctx, m, &cp, &err), QUERN_OK);
    const quern_input input = {.tokens = tokens, .n_tokens = n_tokens, .logits = QUERN_LOGITS_LAST};
    assert_int_equal(quern_decode(ctx, &input, 1, &err), QUERN_OK);
    for (size_t i = 0; i < N_CHOICES; i++) {
        const quern_token *letter = prompt.letters + i * QN_LETTER_FORMS;
        scores[i] =
            log(exp((double)quern_logits(ctx, 0)[letter[0]]) + exp((double)quern_logits(ctx, 0)[letter[1]]));
    }
    quern_context_destroy(ctx);
    qn_free(tokens);
    qn_router_prompt_deinit(&prompt);
}

static void check_shares(const quern_model *m, const char *text, const quern_routing *routing)
{
    double scores[N_CHOICES], none[N_CHOICES], sum = 0;
    size_t best = 0;
    scores_alone(m, text, scores), scores_alone(m, "", none);
    for (size_t i = 0; i < N_CHOICES; i++) sum += exp(scores[i] - none[i]);
    for (size_t i = 0; i < N_CHOICES; i++) {
        const double share = exp(scores[i] - none[i]) / sum;
        assert_true(fabs((double)routing->shares[i + 1] - share) < 1e-4);
        if (scores[i] - none[i] > scores[best] - none[best]) best = i;
    }
    assert_true(routing->shares[0] == 0.0f);
    assert_int_equal(routing->by, QUERN_ROUTED_BY_CLASSIFIER);
    assert_int_equal(routing->route, best + 1);
    assert_string_equal(routing->model, three[best + 1].model);
    assert_true(routing->was_asked);
}

static void shares_are_what_the_model_says(void **state)
{
    (void)state;
    static const char *const texts[] = {"how do I sort?", "sing", "",
                                        "<s></s> {{ 7 }} \xc3\xa9\xf0\x9f\x98\x80",
                                        "a \"quoted\" text\nwith lines"};
    quern_engine *e = open_engine(model);
    const quern_router_params p = with_classifier();
    quern_router *r = open_router(e, &p);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const quern_routing routing = pick(r, texts[i]);
        assert_int_equal(routing.problem.status, QUERN_OK);
        check_shares(model, texts[i], &routing);
    }
    assert_int_equal(pick(r, "this goes by rule").by, QUERN_ROUTED_BY_RULE);
    quern_router_destroy(r);
    quern_engine_destroy(e);
}

/* The vector of a text, alone and of length 1; free() it. */
static float *vector_alone(const quern_model *m, const char *text, size_t *n)
{
    quern_token *tokens;
    size_t n_tokens;
    quern_error err;
    quern_embed_params params = quern_embed_params_default();
    quern_context *ctx = question_context(m);
    params.normalize = true;
    assert_int_equal(
        quern_tokenize(m, text, strlen(text), QUERN_TOKENIZE_ADD_SPECIAL, &tokens, &n_tokens, &err),
        QUERN_OK);
    *n = quern_embed_size(m, QUERN_POOLING_DEFAULT, n_tokens);
    float *vector = malloc(*n * sizeof *vector);
    const quern_embed_text one = {tokens, n_tokens};
    if (quern_embed(ctx, &one, 1, &params, vector, *n, &err) != QUERN_OK) fail_msg("%s", err.message);
    quern_free(tokens);
    quern_context_destroy(ctx);
    return vector;
}

static double cosine(const quern_model *m, const char *a, const char *b)
{
    size_t n;
    double sum = 0;
    float *x = vector_alone(m, a, &n), *y = vector_alone(m, b, &n);
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    free(x), free(y);
    return sum;
}

/* A model that makes embeddings compares: a text that is a description goes there. */
static void an_encoder_compares_vectors(void **state)
{
    (void)state;
    quern_model *encoder = question_model(&(tiny_model){.arch = "bert", .seed = 41, .n_ctx = QUESTION_CTX});
    quern_engine *e = open_engine(NULL);
    quern_error err;
    assert_int_equal(quern_engine_add_model(e, "small", encoder, NULL, &err), QUERN_OK);
    const quern_router_params p = with_classifier();
    quern_router *r = open_router(e, &p);
    for (size_t i = 1; i < N_THREE; i++) {
        const quern_routing routing = pick(r, three[i].description);
        double sum = 0;
        for (size_t k = 1; k < N_THREE; k++)
            sum += exp(20 * cosine(encoder, three[k].description, three[i].description));
        assert_int_equal(routing.by, QUERN_ROUTED_BY_CLASSIFIER);
        assert_int_equal(routing.route, i);
        assert_true(fabs((double)routing.shares[i] - exp(20.0) / sum) < 1e-3);
    }
    quern_router_destroy(r);
    quern_engine_destroy(e);
    quern_model_close(encoder);
}

static void what_is_told_before_the_text_is_read_once(void **state)
{
    (void)state;
    quern_engine *e = open_engine(model);
    const quern_router_params p = with_classifier();
    quern_router *r = open_router(e, &p);
    quern_engine_metrics before, after;
    pick(r, "one text");
    quern_engine_get_metrics(e, &before);
    pick(r, "another text");
    quern_engine_get_metrics(e, &after);
    const uint64_t n_read =
        (after.n_prompt_tokens - after.n_cached_tokens) - (before.n_prompt_tokens - before.n_cached_tokens);
    assert_true(n_read < 64 + 80); /* a page, and what comes behind it */
    assert_true(after.n_cached_tokens - before.n_cached_tokens >= 64);
    quern_router_destroy(r);
    quern_engine_destroy(e);
}

static void an_unclear_word_is_not_taken(void **state)
{
    (void)state;
    quern_engine *e = open_engine(model);
    quern_router_params p = with_classifier();
    p.least_share = 0.9999, p.fallback = "nobody knows";
    quern_router *r = open_router(e, &p);
    const quern_routing routing = pick(r, "how do I sort?");
    assert_int_equal(routing.by, QUERN_ROUTED_BY_FALLBACK);
    assert_string_equal(routing.model, "nobody knows");
    assert_int_equal(routing.route, N_THREE);
    assert_true(routing.was_asked);
    assert_int_equal(routing.problem.status, QUERN_OK);
    quern_router_destroy(r);
    quern_engine_destroy(e);
}

/* A long text is shown in part, cut between characters; what looks like a control token is text. */
static void texts_are_shown_as_they_are(void **state)
{
    (void)state;
    static const char *const descriptions[] = {"a", "b"};
    qn_router_prompt prompt;
    quern_error err;
    if (qn_router_prompt_init(&prompt, model, descriptions, 2, &err) != QUERN_OK) fail_msg("%s", err.message);
    for (size_t max_bytes = 16; max_bytes < 40; max_bytes++) {
        char text[400] = "<s>";
        while (strlen(text) < 390) strcat(text, "\xe2\x82\xac"); /* three bytes each */
        quern_token *tokens;
        size_t n_tokens, n_bytes;
        char *shown;
        assert_int_equal(
            qn_router_prompt_fill(&prompt, text, strlen(text), max_bytes, &tokens, &n_tokens, &err),
            QUERN_OK);
        const quern_token *middle = tokens + prompt.n_before;
        const size_t n_middle = n_tokens - prompt.n_before - prompt.n_behind;
        for (size_t i = 0; i < n_middle; i++) assert_true(middle[i] > 2);
        assert_int_equal(quern_detokenize(model, middle, n_middle, false, true, &shown, &n_bytes, &err),
                         QUERN_OK);
        assert_true(n_bytes <= max_bytes + 6);
        assert_true(n_bytes + 4 > max_bytes);
        assert_null(strstr(shown, "\xef\xbf\xbd"));
        assert_non_null(strstr(shown, "\n...\n"));
        assert_non_null(strstr(shown, "<s>"));
        quern_free(shown), qn_free(tokens);
    }
    qn_router_prompt_deinit(&prompt);
}

/* ---- many at once -------------------------------------------------------------------------------- */

enum { N_THREADS = 6, N_PICKS = 8 };
static const char *const many_texts[N_PICKS] = {"sort", "sing", "walk", "by rule",
                                                "",     "run",  "a",    "the world"};
static quern_routing expected[N_PICKS];

static void *pick_all(void *user)
{
    size_t n_wrong = 0;
    for (size_t i = 0; i < N_PICKS; i++) {
        const quern_routing routing = pick(user, many_texts[i]);
        n_wrong += routing.route != expected[i].route || routing.by != expected[i].by ||
                   memcmp(routing.shares, expected[i].shares, sizeof routing.shares) != 0;
    }
    return (void *)(uintptr_t)n_wrong;
}

static void threads_may_share_a_router(void **state)
{
    (void)state;
    quern_engine *e = open_engine(model);
    const quern_router_params p = with_classifier();
    quern_router *alone = open_router(e, &p), *r = open_router(e, &p);
    pthread_t threads[N_THREADS];
    for (size_t i = 0; i < N_PICKS; i++) expected[i] = pick(alone, many_texts[i]);
    for (size_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, pick_all, r), 0);
    for (size_t i = 0; i < N_THREADS; i++) {
        void *n_wrong;
        pthread_join(threads[i], &n_wrong);
        assert_null(n_wrong);
    }
    quern_router_destroy(alone), quern_router_destroy(r);
    quern_engine_destroy(e);
}

/* ---- what goes wrong ----------------------------------------------------------------------------- */

static void a_late_classifier_is_not_waited_for(void **state)
{
    (void)state;
    quern_engine *e = open_engine(model);
    quern_router_params p = with_classifier();
    p.timeout_ms = 1, p.max_bytes = 1 << 20;
    quern_router *r = open_router(e, &p);
    char text[3000];
    memset(text, 'x', sizeof text);
    quern_routing routing;
    quern_router_pick(r, text, sizeof text, &routing);
    assert_int_equal(routing.by, QUERN_ROUTED_BY_FALLBACK);
    assert_int_equal(routing.problem.status, QUERN_ERR_CANCELED);
    assert_non_null(strstr(routing.problem.message, "in time"));
    assert_string_equal(routing.model, "rest");
    quern_router_destroy(r);
    quern_engine_destroy(e);
}

/* The file changes before it is loaded. */
static void a_classifier_that_cannot_be_loaded_is_done_without(void **state)
{
    (void)state;
    char path[] = "/tmp/quern_router_XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    assert_true(tiny_model_write(path, &(tiny_model){.seed = 31}));
    quern_engine *e = open_engine(NULL);
    quern_error err;
    if (quern_engine_register_model(e, "small", path, NULL, NULL, &err) != QUERN_OK)
        fail_msg("%s", err.message);
    const quern_router_params p = with_classifier();
    quern_router *r = open_router(e, &p);
    assert_true(tiny_model_write(path, &(tiny_model){.seed = 32})); /* another one takes its place */
    for (size_t i = 0; i < 2; i++) {
        const quern_routing routing = pick(r, "sort");
        assert_int_equal(routing.by, QUERN_ROUTED_BY_FALLBACK);
        assert_int_not_equal(routing.problem.status, QUERN_OK);
        assert_non_null(strstr(routing.problem.message, "small"));
        assert_false(routing.was_asked);
    }
    quern_router_destroy(r);
    quern_engine_destroy(e);
    unlink(path);
}

static void check_refused(quern_engine *e, const quern_router_params *p, quern_status status,
                          const char *part)
{
    quern_error err = {0};
    quern_router *r;
    assert_int_equal(quern_router_create(&r, e, p, &err), status);
    assert_null(r);
    if (strstr(err.message, part) == NULL) fail_msg("'%s' lacks '%s'", err.message, part);
}

static void routers_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static quern_route many[QUERN_MAX_ROUTES + 1];
    for (size_t i = 0; i <= QUERN_MAX_ROUTES; i++) many[i] = (quern_route){.model = "m", .description = "d"};
    quern_model *reranker = question_model(&(tiny_model){.arch = "bert", .seed = 4, .n_scores = 1}),
                *mute = question_model(&(tiny_model){.seed = 5, .chat_template = "hello"});
    quern_engine *e = open_engine(model);
    quern_error err;
    assert_int_equal(quern_engine_add_model(e, "reranker", reranker, NULL, &err), QUERN_OK);
    assert_int_equal(quern_engine_add_model(e, "mute", mute, NULL, &err), QUERN_OK);
    quern_router_params p = with_classifier();
    p.n_routes = 0;
    check_refused(e, &p, QUERN_ERR_ARGUMENT, "0 routes");
    p.routes = many, p.n_routes = QUERN_MAX_ROUTES + 1;
    check_refused(e, &p, QUERN_ERR_ARGUMENT, "257 routes");
    p.n_routes = QUERN_MAX_DESCRIBED_ROUTES + 1;
    check_refused(e, &p, QUERN_ERR_ARGUMENT, "27 routes have descriptions");
    p.n_routes = 1;
    check_refused(e, &p, QUERN_ERR_ARGUMENT, "1 routes have descriptions");
    p = with_classifier(), p.least_share = NAN;
    check_refused(e, &p, QUERN_ERR_ARGUMENT, "least share");
    p = with_classifier(), p.classifier = "nobody";
    check_refused(e, &p, QUERN_ERR_NOT_FOUND, "'nobody'");
    p.classifier = "reranker";
    check_refused(e, &p, QUERN_ERR_UNSUPPORTED, "is a reranker");
    p.classifier = "mute";
    check_refused(e, &p, QUERN_ERR_UNSUPPORTED, "does not show");
    const quern_route nameless[] = {{.pattern = "x"}};
    p = quern_router_params_default(), p.routes = nameless, p.n_routes = 1;
    check_refused(e, &p, QUERN_ERR_ARGUMENT, "no model");
    quern_engine_destroy(e);
    quern_model_close(reranker), quern_model_close(mute);
}

/* Each allocation of making a router fails in turn. */
static void every_allocation_may_fail(void **state)
{
    (void)state;
    quern_engine *e = open_engine(model);
    const quern_router_params p = with_classifier();
    quern_router_destroy(open_router(e, &p)); /* what is made once for all is there */
    const long live = qn_alloc_live();
    for (long n = 0;; n++) {
        quern_router *r;
        quern_error err = {0};
        qn_alloc_fail_at(n);
        const quern_status s = quern_router_create(&r, e, &p, &err);
        qn_alloc_fail_at(-1);
        quern_router_destroy(r);
        assert_int_equal(qn_alloc_live(), live);
        if (s == QUERN_OK) break;
        assert_null(r);
        assert_true(err.message[0] != '\0');
    }
    quern_engine_destroy(e);
}

static int set_up(void **state)
{
    (void)state;
    model = question_model(&(tiny_model){.seed = 30});
    return model != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    quern_model_close(model);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_rule_that_holds_is_taken),
        cmocka_unit_test(shares_are_what_the_model_says),
        cmocka_unit_test(an_encoder_compares_vectors),
        cmocka_unit_test(what_is_told_before_the_text_is_read_once),
        cmocka_unit_test(an_unclear_word_is_not_taken),
        cmocka_unit_test(texts_are_shown_as_they_are),
        cmocka_unit_test(threads_may_share_a_router),
        cmocka_unit_test(a_late_classifier_is_not_waited_for),
        cmocka_unit_test(a_classifier_that_cannot_be_loaded_is_done_without),
        cmocka_unit_test(routers_that_make_no_sense_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
