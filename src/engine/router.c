/* router.c: rules first, then a small model's word, then the fallback (quern_router). */
#include "engine/router_prompt.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "engine/pooling.h"

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
    size_t n_choices;
    qn_router_prompt prompt;    /* of a classifier that generates */
    const quern_model *encoder; /* or one that makes vectors, */
    char **descriptions;        /* [n_choices] of these */
    float *vectors;             /* [n_choices][n_embd] */
    pthread_mutex_t mutex;      /* for what is asked once: vectors, or */
    bool was_asked;
    float bias[QUERN_MAX_DESCRIBED_ROUTES]; /* what the classifier says to no text */
};

/* Shares are as exp(SHARPNESS * cosine): a cosine that is greater by 0.1 counts 7 times. */
static const float SHARPNESS = 20.0f;

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

static quern_status keep_descriptions(quern_router *r, const char *const *descriptions, quern_error *err)
{
    const size_t n_embd = quern_embed_size(r->encoder, QUERN_POOLING_DEFAULT, 1);
    r->descriptions = qn_calloc(r->n_choices, sizeof *r->descriptions);
    r->vectors = qn_calloc(r->n_choices * n_embd, sizeof *r->vectors);
    if (r->descriptions == NULL || r->vectors == NULL) return fail_nomem(err);
    for (size_t i = 0; i < r->n_choices; i++)
        if ((r->descriptions[i] = qn_strdup(descriptions[i])) == NULL) return fail_nomem(err);
    return QUERN_OK;
}

static quern_status make_classifier(quern_router *r, const quern_router_params *p, quern_error *err)
{
    const char *descriptions[QUERN_MAX_DESCRIBED_ROUTES];
    for (size_t i = 0; i < p->n_routes; i++)
        if (p->routes[i].description != NULL) descriptions[r->n_choices++] = p->routes[i].description;
    const quern_model *model = quern_engine_model(r->engine, p->classifier);
    if (model == NULL)
        return qn_fail(err, QUERN_ERR_NOT_FOUND, "router: the engine has no model '%s' to classify",
                       qn_quote(p->classifier, strlen(p->classifier)).text);
    r->classifier = qn_strdup(p->classifier);
    if (r->classifier == NULL) return fail_nomem(err);
    if (!qn_model_generates(model)) {
        if (qn_model_pooling(model, QUERN_POOLING_DEFAULT) == QUERN_POOLING_RANK)
            return qn_fail(err, QUERN_ERR_UNSUPPORTED,
                           "router: '%s' is a reranker, which makes no vectors to compare", r->classifier);
        r->encoder = model;
        return keep_descriptions(r, descriptions, err);
    }
    const quern_status s = qn_router_prompt_init(&r->prompt, model, descriptions, r->n_choices, err);
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
    return s == QUERN_OK && p->classifier != NULL ? make_classifier(r, p, err) : s;
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
    for (size_t i = 0; i < r->n_choices && r->descriptions != NULL; i++) qn_free(r->descriptions[i]);
    qn_free(r->descriptions);
    qn_free(r->vectors);
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

/* Waits for the n values that a request brings. */
static quern_status wait_for_values(quern_request *request, float *values, size_t n, quern_error *err)
{
    quern_event event;
    while (quern_request_next(request, -1, &event)) {
        if (event.kind == QUERN_EVENT_FAILED) {
            *err = *event.error;
            return err->status;
        }
        if (event.kind == QUERN_EVENT_FINISHED && event.embedding == NULL)
            return qn_fail(err, QUERN_ERR_CANCELED, "router: the classifier was not ready in time");
        if (event.kind == QUERN_EVENT_FINISHED) memcpy(values, event.embedding, n * sizeof *values);
    }
    return QUERN_OK;
}

/* The logits of the letters behind a question, [n_choices][QN_LETTER_FORMS], or the vector of a text. */
static quern_status ask_tokens(const quern_router *r, uint64_t end_ns, const quern_token *tokens,
                               size_t n_tokens, float *values, size_t n_values, quern_error *err)
{
    quern_request *request;
    quern_request_params p = quern_request_params_default();
    p.model = r->classifier, p.prompt = tokens, p.n_prompt = n_tokens;
    p.embeds = true, p.truncate = p.normalize = r->encoder != NULL;
    if (r->encoder == NULL) p.choices = r->prompt.letters, p.n_choices = n_values;
    p.priority = QUERN_PRIORITY_INTERACTIVE;
    const uint64_t now = qn_clock_ns();
    p.deadline_ns = end_ns > now ? end_ns - now : 1; /* too late already */
    p.client = "router";
    quern_status s = quern_submit(r->engine, &p, &request, err);
    if (s == QUERN_OK) s = wait_for_values(request, values, n_values, err);
    quern_request_release(request);
    return s;
}

/* ---- a classifier that generates ---- */

/* How likely each letter is, in nats, whatever form it has. */
static quern_status ask_for_letter(const quern_router *r, uint64_t end_ns, const char *text, size_t n_bytes,
                                   float *scores, quern_error *err)
{
    quern_token *tokens;
    size_t n_tokens;
    float logits[QUERN_MAX_DESCRIBED_ROUTES * QN_LETTER_FORMS];
    quern_status s = qn_router_prompt_fill(&r->prompt, text, n_bytes, r->max_bytes, &tokens, &n_tokens, err);
    if (s != QUERN_OK) return s;
    s = ask_tokens(r, end_ns, tokens, n_tokens, logits, r->n_choices * QN_LETTER_FORMS, err);
    qn_free(tokens);
    for (size_t i = 0; i < r->n_choices && s == QUERN_OK; i++) {
        const float *forms = logits + i * QN_LETTER_FORMS, more = fmaxf(forms[0], forms[1]),
                    less = fminf(forms[0], forms[1]);
        scores[i] = more + log1pf(expf(less - more));
    }
    return s;
}

static bool was_asked(quern_router *r)
{
    pthread_mutex_lock(&r->mutex);
    const bool was_asked = r->was_asked;
    pthread_mutex_unlock(&r->mutex);
    return was_asked; /* from then on nothing of it changes */
}

/* Notes what was asked for, unless somebody else was faster: then it is the same. */
static void note(quern_router *r, float *place, const float *values, size_t n)
{
    pthread_mutex_lock(&r->mutex);
    if (!r->was_asked) memcpy(place, values, n * sizeof *place);
    r->was_asked = true;
    pthread_mutex_unlock(&r->mutex);
}

static quern_status by_letters(quern_router *r, uint64_t end_ns, const char *text, size_t n_bytes,
                               float *scores, quern_error *err)
{
    if (!was_asked(r)) {
        float bias[QUERN_MAX_DESCRIBED_ROUTES];
        const quern_status s = ask_for_letter(r, end_ns, "", 0, bias, err);
        if (s != QUERN_OK) return s;
        note(r, r->bias, bias, r->n_choices);
    }
    const quern_status s = ask_for_letter(r, end_ns, text, n_bytes, scores, err);
    for (size_t i = 0; i < r->n_choices && s == QUERN_OK; i++) scores[i] -= r->bias[i];
    return s;
}

/* ---- a classifier that makes vectors ---- */

static quern_status ask_for_vector(const quern_router *r, uint64_t end_ns, const char *text, size_t n_bytes,
                                   float *vector, size_t n_embd, quern_error *err)
{
    quern_token *tokens;
    size_t n_tokens;
    quern_status s =
        quern_tokenize(r->encoder, text, n_bytes, QUERN_TOKENIZE_ADD_SPECIAL, &tokens, &n_tokens, err);
    if (s != QUERN_OK) return s;
    if (n_tokens == 0) memset(vector, 0, n_embd * sizeof *vector); /* like nothing */
    else s = ask_tokens(r, end_ns, tokens, n_tokens, vector, n_embd, err);
    quern_free(tokens);
    return s;
}

/* vectors: [n_choices + 1][n_embd] room; the last is of the text. */
static quern_status fill_vectors(quern_router *r, uint64_t end_ns, const char *text, size_t n_bytes,
                                 float *vectors, size_t n_embd, quern_error *err)
{
    quern_status s = QUERN_OK;
    if (!was_asked(r)) {
        for (size_t i = 0; i < r->n_choices && s == QUERN_OK; i++)
            s = ask_for_vector(r, end_ns, r->descriptions[i], strlen(r->descriptions[i]),
                               vectors + i * n_embd, n_embd, err);
        if (s == QUERN_OK) note(r, r->vectors, vectors, r->n_choices * n_embd);
    }
    if (s != QUERN_OK) return s;
    return ask_for_vector(r, end_ns, text, qn_min_size(n_bytes, r->max_bytes),
                          vectors + r->n_choices * n_embd, n_embd, err);
}

static quern_status by_vectors(quern_router *r, uint64_t end_ns, const char *text, size_t n_bytes,
                               float *scores, quern_error *err)
{
    const size_t n_embd = quern_embed_size(r->encoder, QUERN_POOLING_DEFAULT, 1);
    float *vectors = qn_calloc((r->n_choices + 1) * n_embd, sizeof *vectors);
    if (vectors == NULL) return fail_nomem(err);
    const quern_status s = fill_vectors(r, end_ns, text, n_bytes, vectors, n_embd, err);
    const float *of_text = vectors + r->n_choices * n_embd;
    for (size_t i = 0; i < r->n_choices && s == QUERN_OK; i++) {
        double cosine = 0;
        for (size_t k = 0; k < n_embd; k++) cosine += (double)r->vectors[i * n_embd + k] * (double)of_text[k];
        scores[i] = SHARPNESS * (float)cosine;
    }
    qn_free(vectors);
    return s;
}

/* ---- its word ---- */

static void fill_shares(const quern_router *r, const float *scores, float *shares)
{
    float greatest = -INFINITY, sum = 0;
    for (size_t i = 0; i < r->n_choices; i++) greatest = fmaxf(greatest, scores[i]);
    for (size_t i = 0; i < r->n_choices; i++) sum += expf(scores[i] - greatest);
    for (size_t i = 0; i < r->n_routes; i++) {
        const size_t choice = r->routes[i].choice;
        shares[i] = choice == SIZE_MAX ? 0.0f : expf(scores[choice] - greatest) / sum;
    }
}

/* False: it says nothing, or nothing clear. */
static bool by_classifier(quern_router *r, uint64_t end_ns, const char *text, size_t n_bytes,
                          quern_routing *routing)
{
    float scores[QUERN_MAX_DESCRIBED_ROUTES] = {0};
    const quern_status s = r->encoder != NULL
                               ? by_vectors(r, end_ns, text, n_bytes, scores, &routing->problem)
                               : by_letters(r, end_ns, text, n_bytes, scores, &routing->problem);
    if (s != QUERN_OK) return false;
    fill_shares(r, scores, routing->shares);
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
    const uint64_t start = qn_clock_ns(), end_ns = start + r->timeout_ns; /* of all that is asked */
    *routing = (quern_routing){.by = QUERN_ROUTED_BY_RULE};
    routing->route = first_by_rule(r, text, n_bytes);
    if (routing->route == r->n_routes) {
        const bool is_picked = r->classifier != NULL && by_classifier(r, end_ns, text, n_bytes, routing);
        routing->by = is_picked ? QUERN_ROUTED_BY_CLASSIFIER : QUERN_ROUTED_BY_FALLBACK;
    }
    routing->model = routing->by == QUERN_ROUTED_BY_FALLBACK ? r->fallback : r->routes[routing->route].model;
    routing->took_ns = qn_clock_ns() - start;
}
