/* router.c: rules first, then a small model's word, then the fallback (quern_router). */
#include "engine/router_prompt.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

typedef struct route {
    char *model;
    quern_grammar *pattern; /* of texts that it is found in; or NULL */
    size_t min_bytes;
    size_t choice; /* of the classifier; SIZE_MAX: there is no description */
} route;

struct quern_router {
    quern_engine *engine;
    route *routes; /* [n_routes] */
    size_t n_routes;
    char *classifier, *fallback;
    double least_share;
    size_t max_bytes;
    uint64_t timeout_ns;
    qn_router_prompt prompt;
    pthread_mutex_t mutex; /* for what the classifier says to no text */
    bool has_bias;
    float bias[QUERN_MAX_DESCRIBED_ROUTES];
};

enum { DEFAULT_MAX_BYTES = 1000, DEFAULT_TIMEOUT_MS = 1000 };

quern_router_params quern_router_params_default(void)
{
    return (quern_router_params){.struct_bytes = sizeof(quern_router_params),
                                 .max_bytes = DEFAULT_MAX_BYTES,
                                 .timeout_ms = DEFAULT_TIMEOUT_MS};
}

/* ---- making -------------------------------------------------------------------------------------- */

static quern_status fail_nomem(quern_error *err)
{
    return qn_fail(err, QUERN_ERR_NOMEM, "router: no memory");
}

static quern_status make_pattern(route *r, const char *pattern, quern_error *err)
{
    quern_grammar_params p = quern_grammar_params_default();
    p.kind = QUERN_GRAMMAR_REGEX, p.found_anywhere = true;
    p.text = pattern, p.n_bytes = strlen(pattern);
    return quern_grammar_create(&r->pattern, &p, err);
}

static quern_status make_route(route *r, const quern_route *given, size_t *n_choices, quern_error *err)
{
    if ((r->model = qn_strdup(given->model)) == NULL) return fail_nomem(err);
    r->min_bytes = given->min_bytes;
    r->choice = given->description != NULL ? (*n_choices)++ : SIZE_MAX;
    return given->pattern != NULL ? make_pattern(r, given->pattern, err) : QUERN_OK;
}

static quern_status check(const quern_router_params *p, quern_error *err)
{
    if (p->n_routes == 0 || p->n_routes > QUERN_MAX_ROUTES)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "router: %zu routes (1 to %d are possible)", p->n_routes,
                       QUERN_MAX_ROUTES);
    if (!(p->least_share >= 0.0 && p->least_share <= 1.0))
        return qn_fail(err, QUERN_ERR_ARGUMENT, "router: a least share of %g (0 to 1)", p->least_share);
    size_t n_described = 0;
    for (size_t i = 0; i < p->n_routes; i++) {
        if (p->routes[i].model == NULL)
            return qn_fail(err, QUERN_ERR_ARGUMENT, "router: route %zu: no model is named", i);
        n_described += p->routes[i].description != NULL;
    }
    if (p->classifier != NULL && (n_described < 2 || n_described > QUERN_MAX_DESCRIBED_ROUTES))
        return qn_fail(err, QUERN_ERR_ARGUMENT,
                       "router: %zu routes have descriptions for the classifier (2 to %d are possible)",
                       n_described, QUERN_MAX_DESCRIBED_ROUTES);
    return QUERN_OK;
}

static quern_status make_prompt(quern_router *r, const quern_router_params *p, quern_error *err)
{
    const char *descriptions[QUERN_MAX_DESCRIBED_ROUTES];
    size_t n = 0;
    for (size_t i = 0; i < p->n_routes; i++)
        if (p->routes[i].description != NULL) descriptions[n++] = p->routes[i].description;
    const quern_model *model = quern_engine_model(r->engine, p->classifier);
    if (model == NULL)
        return qn_fail(err, QUERN_ERR_NOT_FOUND, "router: the engine has no model '%s' to classify",
                       qn_quote(p->classifier, strlen(p->classifier)).text);
    r->classifier = qn_strdup(p->classifier);
    if (r->classifier == NULL) return fail_nomem(err);
    quern_status s = qn_model_check_generates(model, err);
    if (s == QUERN_OK) s = qn_router_prompt_init(&r->prompt, model, descriptions, n, err);
    if (s != QUERN_OK) qn_fail_prefix(err, "router");
    return s;
}

static quern_status make_router(quern_router *r, const quern_router_params *p, quern_error *err)
{
    size_t n_choices = 0;
    r->routes = qn_calloc(p->n_routes, sizeof *r->routes);
    r->fallback = qn_strdup(p->fallback != NULL ? p->fallback : p->routes[p->n_routes - 1].model);
    if (r->routes == NULL || r->fallback == NULL) return fail_nomem(err);
    quern_status s = QUERN_OK;
    for (; r->n_routes < p->n_routes && s == QUERN_OK; r->n_routes++) {
        s = make_route(&r->routes[r->n_routes], &p->routes[r->n_routes], &n_choices, err);
        if (s != QUERN_OK) qn_fail_prefix(err, "router: route %zu", r->n_routes);
    }
    return s == QUERN_OK && p->classifier != NULL ? make_prompt(r, p, err) : s;
}

quern_status quern_router_create(quern_router **out, quern_engine *engine, const quern_router_params *params,
                                 quern_error *err)
{
    quern_router_params p = quern_router_params_default();
    memcpy(&p, params, qn_min_size(params->struct_bytes, sizeof p));
    *out = NULL;
    quern_status s = check(&p, err);
    if (s != QUERN_OK) return s;
    quern_router *r = qn_calloc(1, sizeof *r);
    if (r == NULL) return fail_nomem(err);
    pthread_mutex_init(&r->mutex, NULL);
    r->engine = engine;
    r->least_share = p.least_share;
    r->max_bytes = p.max_bytes > 0 ? p.max_bytes : DEFAULT_MAX_BYTES;
    r->timeout_ns = (uint64_t)(p.timeout_ms > 0 ? p.timeout_ms : DEFAULT_TIMEOUT_MS) * 1000000;
    s = make_router(r, &p, err);
    if (s == QUERN_OK) *out = r;
    else quern_router_destroy(r);
    return s;
}

void quern_router_destroy(quern_router *r)
{
    if (r == NULL) return;
    for (size_t i = 0; i < r->n_routes; i++) {
        qn_free(r->routes[i].model);
        quern_grammar_destroy(r->routes[i].pattern);
    }
    qn_free(r->routes);
    qn_free(r->classifier);
    qn_free(r->fallback);
    qn_router_prompt_deinit(&r->prompt);
    pthread_mutex_destroy(&r->mutex);
    qn_free(r);
}

/* ---- rules --------------------------------------------------------------------------------------- */

static bool fulfils(const route *r, const char *text, size_t n_bytes)
{
    bool matches = true;
    if (r->pattern == NULL && r->min_bytes == 0) return false;
    if (n_bytes < r->min_bytes) return false;
    return r->pattern == NULL ||
           (quern_grammar_matches(r->pattern, text, n_bytes, &matches, NULL) == QUERN_OK && matches);
}

/* n_routes: no rule holds. */
static size_t first_by_rule(const quern_router *r, const char *text, size_t n_bytes)
{
    size_t i = 0;
    while (i < r->n_routes && !fulfils(&r->routes[i], text, n_bytes)) i++;
    return i;
}

/* ---- the classifier ------------------------------------------------------------------------------ */

/* Waits for the logits of the letters, [n_choices][QN_LETTER_FORMS]. */
static quern_status wait_for_logits(quern_request *request, float *logits, size_t n, quern_error *err)
{
    quern_event event;
    while (quern_request_next(request, -1, &event)) {
        if (event.kind == QUERN_EVENT_FAILED) {
            *err = *event.error;
            return err->status;
        }
        if (event.kind == QUERN_EVENT_FINISHED && event.embedding == NULL)
            return qn_fail(err, QUERN_ERR_CANCELED, "router: the classifier was not ready in time");
        if (event.kind == QUERN_EVENT_FINISHED) memcpy(logits, event.embedding, n * sizeof *logits);
    }
    return QUERN_OK;
}

static quern_status ask_tokens(const quern_router *r, const quern_token *tokens, size_t n_tokens,
                               float *logits, quern_error *err)
{
    quern_request *request;
    quern_request_params p = quern_request_params_default();
    p.model = r->classifier, p.prompt = tokens, p.n_prompt = n_tokens;
    p.embeds = true, p.choices = r->prompt.letters, p.n_choices = r->prompt.n_choices * QN_LETTER_FORMS;
    p.priority = QUERN_PRIORITY_INTERACTIVE;
    p.deadline_ns = r->timeout_ns;
    p.client = "router";
    quern_status s = quern_submit(r->engine, &p, &request, err);
    if (s == QUERN_OK) s = wait_for_logits(request, logits, p.n_choices, err);
    quern_request_release(request);
    return s;
}

/* How likely each letter is, in nats, whatever form it has. */
static quern_status ask(const quern_router *r, const char *text, size_t n_bytes, float *scores,
                        quern_error *err)
{
    quern_token *tokens;
    size_t n_tokens;
    float logits[QUERN_MAX_DESCRIBED_ROUTES * QN_LETTER_FORMS];
    quern_status s = qn_router_prompt_fill(&r->prompt, text, n_bytes, r->max_bytes, &tokens, &n_tokens, err);
    if (s != QUERN_OK) return s;
    s = ask_tokens(r, tokens, n_tokens, logits, err);
    qn_free(tokens);
    for (size_t i = 0; i < r->prompt.n_choices && s == QUERN_OK; i++) {
        const float *forms = logits + i * QN_LETTER_FORMS, more = fmaxf(forms[0], forms[1]),
                    less = fminf(forms[0], forms[1]);
        scores[i] = more + log1pf(expf(less - more));
    }
    return s;
}

/* What the classifier says to no text, asked once. */
static quern_status take_bias(quern_router *r, float *bias, quern_error *err)
{
    pthread_mutex_lock(&r->mutex);
    const bool has_bias = r->has_bias;
    memcpy(bias, r->bias, sizeof r->bias);
    pthread_mutex_unlock(&r->mutex);
    if (has_bias) return QUERN_OK;
    const quern_status s = ask(r, "", 0, bias, err);
    if (s != QUERN_OK) return s;
    pthread_mutex_lock(&r->mutex);
    memcpy(r->bias, bias, sizeof r->bias);
    r->has_bias = true;
    pthread_mutex_unlock(&r->mutex);
    return s;
}

static void fill_shares(const quern_router *r, const float *scores, const float *bias, float *shares)
{
    float greatest = -INFINITY, sum = 0;
    for (size_t i = 0; i < r->prompt.n_choices; i++) greatest = fmaxf(greatest, scores[i] - bias[i]);
    for (size_t i = 0; i < r->prompt.n_choices; i++) sum += expf(scores[i] - bias[i] - greatest);
    for (size_t i = 0; i < r->n_routes; i++) {
        const size_t choice = r->routes[i].choice;
        shares[i] = choice == SIZE_MAX ? 0.0f : expf(scores[choice] - bias[choice] - greatest) / sum;
    }
}

/* False: it says nothing, or nothing clear. */
static bool by_classifier(quern_router *r, const char *text, size_t n_bytes, quern_routing *routing)
{
    float scores[QUERN_MAX_DESCRIBED_ROUTES] = {0}, bias[QUERN_MAX_DESCRIBED_ROUTES] = {0};
    quern_status s = take_bias(r, bias, &routing->problem);
    if (s == QUERN_OK) s = ask(r, text, n_bytes, scores, &routing->problem);
    if (s != QUERN_OK) return false;
    fill_shares(r, scores, bias, routing->shares);
    routing->was_asked = true;
    size_t best = 0;
    for (size_t i = 1; i < r->n_routes; i++)
        if (routing->shares[i] > routing->shares[best]) best = i;
    if (routing->shares[best] < (float)r->least_share) return false;
    routing->route = best;
    return true;
}

void quern_router_pick(quern_router *r, const char *text, size_t n_bytes, quern_routing *routing)
{
    const uint64_t start = qn_clock_ns();
    *routing = (quern_routing){.by = QUERN_ROUTED_BY_RULE};
    routing->route = first_by_rule(r, text, n_bytes);
    if (routing->route == r->n_routes) {
        const bool is_picked = r->classifier != NULL && by_classifier(r, text, n_bytes, routing);
        routing->by = is_picked ? QUERN_ROUTED_BY_CLASSIFIER : QUERN_ROUTED_BY_FALLBACK;
    }
    routing->model = routing->by == QUERN_ROUTED_BY_FALLBACK ? r->fallback : r->routes[routing->route].model;
    routing->took_ns = qn_clock_ns() - start;
}
