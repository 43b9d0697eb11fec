/* request.c: see request.h. */
#include "engine/request.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/random.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* ---- life -------------------------------------------------------------------------------------- */

static quern_status copy_stops(quern_request *r, const quern_request_params *p, quern_error *err)
{
    if (p->n_stops > QUERN_MAX_STOPS)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%zu stop texts (at most %d are possible)", p->n_stops,
                       QUERN_MAX_STOPS);
    r->stops = qn_calloc(p->n_stops + 1, sizeof *r->stops);
    if (r->stops == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "request: no memory");
    for (; r->n_stops < p->n_stops; r->n_stops++)
        if ((r->stops[r->n_stops] = qn_strdup(p->stops[r->n_stops])) == NULL)
            return qn_fail(err, QUERN_ERR_NOMEM, "request: no memory");
    return QUERN_OK;
}

static quern_status copy_prompt(quern_request *r, const quern_model *model, size_t n_ctx,
                                const quern_request_params *p, quern_error *err)
{
    if (p->n_prompt == 0)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "the prompt is empty: at least one token is needed");
    const bool is_cut = p->embeds && p->truncate && p->n_prompt > n_ctx;
    if (p->n_prompt > n_ctx && !is_cut)
        return qn_fail(err, QUERN_ERR_CTX_FULL,
                       "the prompt has %zu tokens, the context %zu (use a shorter text)", p->n_prompt, n_ctx);
    for (size_t i = 0; i < p->n_prompt; i++)
        if (p->prompt[i] < 0 || (uint32_t)p->prompt[i] >= model->hparams.n_vocab)
            return qn_fail(err, QUERN_ERR_ARGUMENT, "prompt token %zu: %d is not in the vocabulary of %u", i,
                           (int)p->prompt[i], model->hparams.n_vocab);
    if (p->shifts_context && p->n_keep > n_ctx / 2)
        return qn_fail(err, QUERN_ERR_ARGUMENT,
                       "%zu tokens to keep where the context of %zu shifts (at most half of it is possible)",
                       p->n_keep, n_ctx);
    r->shifts = p->shifts_context, r->n_ctx = n_ctx, r->n_keep = p->n_keep;
    r->n_prompt = r->n_tokens = is_cut ? n_ctx : p->n_prompt;
    const size_t room = n_ctx - r->n_prompt,
                 wanted = p->max_tokens > 0 && !r->shifts ? qn_min_size(p->max_tokens, room) : room;
    r->capacity = r->n_prompt + (p->embeds ? 0 : wanted) + QN_ANSWER_STEP;
    r->tokens = qn_calloc(r->capacity, sizeof *r->tokens);
    if (r->tokens == NULL)
        return qn_fail(err, QUERN_ERR_NOMEM, "request of %zu tokens: no memory", r->capacity);
    memcpy(r->tokens, p->prompt, r->n_prompt * sizeof *r->tokens);
    r->tokens[r->n_prompt - 1] = p->prompt[p->n_prompt - 1];
    r->result.n_prompt = r->n_prompt;
    return QUERN_OK;
}

/* Text of the answer, on whatever thread draws. */
static bool take_text(void *user, const char *text, size_t n_bytes)
{
    quern_request *r = user;
    return qn_buffer_append(&r->fresh, text, n_bytes);
}

static quern_status make_answer(quern_request *r, const quern_model *model, size_t n_ctx,
                                const quern_request_params *p, quern_error *err)
{
    const quern_status s = quern_sampler_create(&r->sampler, model, p->sampler, err);
    if (s != QUERN_OK) return s;
    const qn_answer_params answer = {.model = model,
                                     .sampler = r->sampler,
                                     .grammar = p->grammar,
                                     .stops = (const char *const *)r->stops,
                                     .n_stops = r->n_stops,
                                     .n_ctx = n_ctx,
                                     .max_tokens = p->max_tokens,
                                     .ignore_end = p->ignore_end,
                                     .continues_prompt = p->continues_prompt,
                                     .show_special = p->show_special,
                                     .shifts = p->shifts_context,
                                     .one_by_one = p->log_probs,
                                     .on_text = take_text,
                                     .user = r};
    return qn_answer_init(&r->answer, &answer, err);
}

static quern_status make_embedding(quern_request *r, const quern_model *model, const quern_request_params *p,
                                   quern_error *err)
{
    r->embeds = true;
    r->answer.stop_index = -1;
    r->answer.finish = QUERN_FINISH_CANCELED; /* until it is done */
    if (p->n_answers > 1 || p->log_probs || p->prompt_log_probs || p->shifts_context)
        return qn_fail(err, QUERN_ERR_ARGUMENT,
                       "embeddings: several answers, log-probabilities and shifting are of generated texts");
    if (p->n_choices > QUERN_MAX_CHOICES)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%zu choices (at most %d are possible)", p->n_choices,
                       QUERN_MAX_CHOICES);
    const quern_status s = p->n_choices > 0
                               ? qn_pooler_init_choices(&r->pooler, model, p->choices, p->n_choices, err)
                               : qn_pooler_init(&r->pooler, model, p->pooling, p->normalize, err);
    if (s != QUERN_OK) return s;
    r->is_apart = !r->pooler.wants_last;
    size_t n_bytes;
    r->n_embedding = qn_pooler_size(&r->pooler, model, r->n_prompt);
    r->embedding = qn_mul_size(r->n_embedding, sizeof *r->embedding, &n_bytes) ? qn_malloc(n_bytes) : NULL;
    if (r->embedding != NULL) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_NOMEM, "embedding of %zu tokens: no memory", r->n_prompt);
}

/* What it wants of the model: an answer or an embedding. */
static quern_status make_wish(quern_request *r, const quern_model *model, size_t n_ctx,
                              const quern_request_params *p, quern_error *err)
{
    if (p->embeds) return make_embedding(r, model, p, err);
    const quern_status s = qn_model_check_generates(model, err);
    if (s != QUERN_OK) return s;
    const quern_status made = make_answer(r, model, n_ctx, p, err);
    if (made == QUERN_OK) r->result.seed = quern_sampler_seed(r->sampler);
    return made;
}

static quern_status make_lists(quern_request *r, const quern_request_params *p, quern_error *err)
{
    const size_t n_top = p->n_top_log_probs;
    r->wants_log_probs = p->log_probs;
    r->n_scored = p->prompt_log_probs ? 1 : r->n_prompt;
    if (qn_log_prob_list_init(&r->log_probs, p->log_probs ? QN_MAX_DRAFT + 1 : 0, n_top) &&
        qn_log_prob_list_init(&r->prompt_log_probs, p->prompt_log_probs ? QN_SCORED_TOKENS : 0, n_top) &&
        qn_log_prob_list_init(&r->news.log_probs, 0, n_top) &&
        qn_log_prob_list_init(&r->news.prompt_log_probs, 0, n_top) &&
        qn_log_prob_list_init(&r->news.given_log_probs, 0, n_top))
        return QUERN_OK;
    return qn_fail(err, QUERN_ERR_NOMEM, "request: no memory");
}

static quern_status make_mutex(qn_request_news *n, quern_error *err)
{
    pthread_condattr_t clock;
    bool ok = pthread_mutex_init(&n->mutex, NULL) == 0;
    if (ok) {
        pthread_condattr_init(&clock);
        pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
        n->has_mutex = pthread_cond_init(&n->changed, &clock) == 0;
        pthread_condattr_destroy(&clock);
        if (!n->has_mutex) pthread_mutex_destroy(&n->mutex);
        ok = n->has_mutex;
    }
    return ok ? QUERN_OK : qn_fail(err, QUERN_ERR_NOMEM, "request: no memory");
}

static void destroy_one(quern_request *r)
{
    if (r->sampler != NULL) qn_answer_deinit(&r->answer);
    quern_sampler_destroy(r->sampler);
    for (size_t i = 0; i < r->n_stops; i++) qn_free(r->stops[i]);
    qn_free(r->stops);
    qn_free(r->tokens);
    qn_pooler_deinit(&r->pooler);
    qn_free(r->embedding);
    qn_buffer_deinit(&r->fresh);
    qn_buffer_deinit(&r->news.text);
    qn_buffer_deinit(&r->news.given);
    qn_log_prob_list_deinit(&r->log_probs), qn_log_prob_list_deinit(&r->prompt_log_probs);
    qn_log_prob_list_deinit(&r->news.log_probs), qn_log_prob_list_deinit(&r->news.prompt_log_probs);
    qn_log_prob_list_deinit(&r->news.given_log_probs);
    if (r->news.has_mutex) {
        pthread_cond_destroy(&r->news.changed);
        pthread_mutex_destroy(&r->news.mutex);
    }
    qn_free(r);
}

static void destroy(quern_request *first)
{
    for (quern_request *r = first, *next; r != NULL; r = next) {
        next = r->next_answer;
        destroy_one(r);
    }
}

/* One answer, of its own or behind the first. */
static quern_status create_one(quern_request **out, quern_request *first, const quern_model *model,
                               size_t n_ctx, const quern_request_params *p, quern_error *err)
{
    quern_request *r = *out = qn_calloc(1, sizeof *r);
    if (r == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "request: no memory");
    r->first = first != NULL ? first : r;
    atomic_init(&r->holders, 1);
    r->submitted_ns = first != NULL ? first->submitted_ns : qn_clock_ns();
    if (p->deadline_ns > 0 && !qn_add_u64(r->submitted_ns, p->deadline_ns, &r->deadline_ns))
        r->deadline_ns = 0; /* in centuries: never */
    r->on_event = p->on_event;
    r->news.is_over = p->on_event != NULL;
    r->user = p->user;
    r->entry = (qn_queue_entry){.priority = (int)p->priority, .arrived_ns = r->submitted_ns};
    r->result = (quern_request_result){.finish = QUERN_FINISH_CANCELED, .stop = -1, .n_prompt = p->n_prompt};
    quern_status s = copy_stops(r, p, err);
    if (s == QUERN_OK) s = copy_prompt(r, model, n_ctx, p, err);
    if (s == QUERN_OK) s = make_lists(r, p, err);
    if (s == QUERN_OK) s = make_wish(r, model, n_ctx, p, err);
    if (s == QUERN_OK && first == NULL) s = make_mutex(&r->news, err);
    if (s != QUERN_OK) destroy_one(r), *out = NULL;
    return s;
}

uint64_t quern_answer_seed(uint64_t seed, uint32_t index)
{
    if (index == 0) return seed;
    const uint64_t own = qn_random_u64(&(qn_random){.seed = seed, .stream = index});
    return own != QUERN_SEED_RANDOM ? own : 0;
}

/* The answers after the first: with the same prompt, and seeds of their own. */
static quern_status add_answers(quern_request *first, const quern_model *model, size_t n_ctx,
                                const quern_request_params *params, quern_error *err)
{
    quern_request_params p = *params;
    quern_sampler_params sampler = quern_sampler_params_default();
    if (p.sampler != NULL) memcpy(&sampler, p.sampler, qn_min_size(p.sampler->struct_bytes, sizeof sampler));
    p.sampler = &sampler;
    p.prompt_log_probs = false;
    quern_request *last = first;
    for (uint32_t i = 1; i < p.n_answers; i++, last = last->next_answer) {
        sampler.seed = quern_answer_seed(first->result.seed, i);
        const quern_status s = create_one(&last->next_answer, first, model, n_ctx, &p, err);
        if (s != QUERN_OK) return s;
        last->next_answer->index = i;
    }
    return QUERN_OK;
}

quern_status qn_request_create(quern_request **out, const quern_model *model, size_t n_ctx,
                               const quern_request_params *p, quern_error *err)
{
    quern_status s = create_one(out, NULL, model, n_ctx, p, err);
    if (s != QUERN_OK) return s;
    s = add_answers(*out, model, n_ctx, p, err);
    if (s != QUERN_OK) destroy(*out), *out = NULL;
    return s;
}

size_t qn_request_positions(const quern_request *r)
{
    return r->capacity - QN_ANSWER_STEP;
}

void qn_request_hold(quern_request *r)
{
    atomic_fetch_add(&r->first->holders, 1);
}

void qn_request_let_go(quern_request *r)
{
    quern_request *first = r->first;
    if (atomic_fetch_sub(&first->holders, 1) == 1) destroy(first);
}

/* ---- telling ----------------------------------------------------------------------------------- */

static void note(qn_request_news *n, const quern_event *event)
{
    switch (event->kind) {
    case QUERN_EVENT_QUEUED:
        n->is_queued = true;
        n->n_ahead = event->n_ahead;
        break;
    case QUERN_EVENT_STARTED:
        n->has_started = true;
        n->n_cached = event->n_done;
        break;
    case QUERN_EVENT_PROMPT:
        n->has_read = true;
        n->n_read = event->n_done;
        n->is_cut |= !qn_log_prob_list_append(&n->prompt_log_probs, event->log_probs, event->n_log_probs);
        break;
    case QUERN_EVENT_TEXT:
        n->n_drawn = event->n_done;
        n->n_dropped = event->n_dropped;
        n->is_cut |= !qn_log_prob_list_append(&n->log_probs, event->log_probs, event->n_log_probs);
        /* what cannot be kept is missing at the end, and the end says so */
        n->is_cut |= !qn_buffer_append(&n->text, event->text, event->n_bytes);
        break;
    default:
        n->result = event->result;
        n->n_embedding = event->n_embedding;
        if (event->error != NULL) n->error = *event->error;
    }
}

void qn_request_tell(quern_request *r, const quern_event *event)
{
    qn_request_news *n = &r->news, *shared = &r->first->news;
    const bool is_end = event->kind == QUERN_EVENT_FINISHED || event->kind == QUERN_EVENT_FAILED;
    if (r->on_event == NULL || is_end) {
        pthread_mutex_lock(&shared->mutex);
        n->has_ended |= is_end;
        if (r->on_event == NULL) note(n, event);
        pthread_cond_signal(&shared->changed);
        pthread_mutex_unlock(&shared->mutex);
    }
    if (r->on_event == NULL) return;
    quern_event told = *event;
    told.answer = r->index;
    r->on_event(r->user, r->first, &told);
}

void qn_request_tell_text(quern_request *r)
{
    r->has_lost_text |= r->fresh.failed; /* clearing forgets it */
    if (r->fresh.n_bytes == 0 && r->log_probs.n == 0) return;
    qn_request_tell(r, &(quern_event){.kind = QUERN_EVENT_TEXT,
                                      .text = r->fresh.n_bytes > 0 ? r->fresh.data : "",
                                      .n_bytes = r->fresh.n_bytes,
                                      .log_probs = qn_log_prob_list_view(&r->log_probs),
                                      .n_log_probs = r->log_probs.n,
                                      .n_dropped = r->result.n_dropped,
                                      .n_done = r->answer.n_generated});
    qn_buffer_clear(&r->fresh);
    r->log_probs.n = 0;
}

void qn_request_tell_read(quern_request *r, size_t n)
{
    const bool is_again = r->first_token_ns != 0 || n <= r->n_read; /* after making room */
    if (is_again && r->prompt_log_probs.n == 0) return;
    r->n_read = qn_max_size(r->n_read, qn_min_size(n, r->n_prompt));
    qn_request_tell(r, &(quern_event){.kind = QUERN_EVENT_PROMPT,
                                      .log_probs = qn_log_prob_list_view(&r->prompt_log_probs),
                                      .n_log_probs = r->prompt_log_probs.n,
                                      .n_done = r->n_read,
                                      .n_total = r->n_prompt});
    r->prompt_log_probs.n = 0;
}

/* ---- the way of a request ---------------------------------------------------------------------- */

quern_status qn_request_begin(quern_request *r, size_t n_cached, quern_error *err)
{
    r->began_ns = qn_clock_ns();
    r->result.queued_ns = r->began_ns - r->submitted_ns;
    r->result.n_cached = n_cached;
    qn_metrics_count_begun(r->metrics, r->result.queued_ns);
    const quern_status s = r->embeds ? QUERN_OK : qn_answer_begin(&r->answer, r->tokens, r->n_prompt, err);
    if (s == QUERN_OK)
        qn_request_tell(
            r, &(quern_event){.kind = QUERN_EVENT_STARTED, .n_done = n_cached, .n_total = r->n_prompt});
    return s;
}

void qn_request_begin_text(quern_request *r, const quern_model *model)
{
    qn_pooler_begin(&r->pooler, model, r->n_prompt, r->embedding);
}

bool qn_request_scores_prompt(const quern_request *r)
{
    return r->n_scored < r->n_prompt;
}

void qn_request_take_log_prob(quern_request *r, const float *logits)
{
    if (r->answer.drawn < 0) return;
    const size_t i = qn_log_prob_list_add(&r->log_probs, r->n_tokens + r->result.n_dropped, r->answer.drawn);
    qn_log_prob_list_fill(&r->log_probs, i, logits, r->answer.params.model->hparams.n_vocab);
}

void qn_request_take_step(quern_request *r, uint64_t now_ns)
{
    quern_request_result *result = &r->result;
    memcpy(r->tokens + r->n_tokens, r->answer.step, r->answer.n_step * sizeof *r->tokens);
    r->n_tokens += r->answer.n_step;
    if (r->first_token_ns == 0) {
        r->first_token_ns = now_ns;
        result->prompt_ns = now_ns - r->began_ns;
    } else if (now_ns != r->last_token_ns) { /* else these follow in the same step */
        r->gap_ns = now_ns - r->last_token_ns;
        result->longest_gap_ns = r->gap_ns > result->longest_gap_ns ? r->gap_ns : result->longest_gap_ns;
    }
    r->last_token_ns = now_ns;
}

void qn_request_count_wait(const quern_request *r, qn_waits *waits)
{
    const bool is_first = r->last_token_ns == r->first_token_ns;
    qn_waits_add(waits, is_first, is_first ? r->first_token_ns - r->submitted_ns : r->gap_ns);
}

void qn_request_come_back(quern_request *r)
{
    if (r->vacated_ns != 0) r->result.preempted_ns += qn_clock_ns() - r->vacated_ns;
    r->vacated_ns = 0;
}

bool qn_request_wants_shift(const quern_request *r)
{
    return r->shifts && r->n_tokens > r->n_ctx;
}

void qn_request_shift(quern_request *r)
{
    while (r->n_tokens > r->n_ctx) {
        const size_t n_dropped = (r->n_tokens - r->n_keep + 1) / 2;
        r->n_tokens -= n_dropped;
        r->result.n_dropped += n_dropped;
        memmove(r->tokens + r->n_keep, r->tokens + r->n_keep + n_dropped,
                (r->n_tokens - r->n_keep) * sizeof *r->tokens);
    }
}

bool qn_request_must_end(quern_request *r, uint64_t now_ns)
{
    const bool is_canceled = atomic_load(&r->is_canceled);
    if (!is_canceled && (r->deadline_ns == 0 || now_ns < r->deadline_ns)) return false;
    r->answer.finish = is_canceled ? QUERN_FINISH_CANCELED : QUERN_FINISH_TIMEOUT;
    return true;
}

void qn_request_end(quern_request *r, quern_status status, quern_error *err)
{
    quern_request_result *result = &r->result;
    const uint64_t now = qn_clock_ns();
    if (status == QUERN_OK && r->began_ns != 0 && !r->embeds) status = qn_answer_finish(&r->answer, err);
    qn_request_tell_text(r);
    if (status == QUERN_OK && (r->has_lost_text || r->news.is_cut))
        status = qn_fail(err, QUERN_ERR_NOMEM, "request: no memory for the text of the answer");
    result->finish = r->answer.finish;
    result->stop = r->answer.stop_index;
    result->n_generated = r->answer.n_generated;
    if (r->began_ns == 0) result->queued_ns = now - r->submitted_ns;
    else if (r->first_token_ns == 0) result->prompt_ns = now - r->began_ns;
    else result->generate_ns = now - r->first_token_ns;
    qn_request_come_back(r);
    qn_metrics_count_ended(r->metrics, result, status, now - r->submitted_ns);
    /* whoever is told may give back the grammar, and the model that it knows */
    if (r->sampler != NULL) (void)quern_sampler_constrain(r->sampler, NULL, false, NULL);
    const bool has_embedding = r->embeds && status == QUERN_OK && result->finish == QUERN_FINISH_STOP;
    qn_request_tell(r, &(quern_event){.kind = status == QUERN_OK ? QUERN_EVENT_FINISHED : QUERN_EVENT_FAILED,
                                      .result = *result,
                                      .embedding = has_embedding ? r->embedding : NULL,
                                      .n_embedding = has_embedding ? r->n_embedding : 0,
                                      .error = status == QUERN_OK ? NULL : err});
}

/* ---- fetching ---------------------------------------------------------------------------------- */

static bool has_news(const qn_request_news *n)
{
    return n->is_queued || n->has_started || n->has_read || n->text.n_bytes > 0 || n->log_probs.n > 0 ||
           (n->has_ended && !n->is_over);
}

/* Hands a list out with an event; it stays until the next. */
static void give_log_probs(qn_request_news *n, qn_log_prob_list *list, quern_event *event)
{
    const qn_log_prob_list given = *list;
    *list = n->given_log_probs;
    list->n = 0;
    n->given_log_probs = given;
    event->log_probs = qn_log_prob_list_view(&n->given_log_probs);
    event->n_log_probs = given.n;
}

/* Hands the text out that is not told yet. */
static void give_text(qn_request_news *n, quern_event *event)
{
    const qn_buffer text = n->text;
    n->text = n->given;
    qn_buffer_clear(&n->text);
    n->given = text;
    event->text = text.n_bytes > 0 ? text.data : "";
    event->n_bytes = text.n_bytes;
}

/* Takes what comes first of the news of an answer. */
static void take(quern_request *r, quern_event *event)
{
    qn_request_news *n = &r->news;
    if (n->is_queued) {
        n->is_queued = false;
        *event = (quern_event){.kind = QUERN_EVENT_QUEUED, .n_ahead = n->n_ahead};
    } else if (n->has_started) {
        n->has_started = false;
        *event = (quern_event){.kind = QUERN_EVENT_STARTED, .n_done = n->n_cached, .n_total = r->n_prompt};
    } else if (n->has_read) {
        n->has_read = false;
        *event = (quern_event){.kind = QUERN_EVENT_PROMPT, .n_done = n->n_read, .n_total = r->n_prompt};
        give_log_probs(n, &n->prompt_log_probs, event);
    } else if (n->text.n_bytes > 0 || n->log_probs.n > 0) {
        *event = (quern_event){.kind = QUERN_EVENT_TEXT, .n_done = n->n_drawn, .n_dropped = n->n_dropped};
        give_text(n, event);
        give_log_probs(n, &n->log_probs, event);
    } else if (n->has_ended && !n->is_over) {
        n->is_over = true;
        *event =
            (quern_event){.kind = n->error.status != QUERN_OK ? QUERN_EVENT_FAILED : QUERN_EVENT_FINISHED,
                          .result = n->result,
                          .embedding = n->n_embedding > 0 ? r->embedding : NULL,
                          .n_embedding = n->n_embedding,
                          .error = n->error.status != QUERN_OK ? &n->error : NULL};
    }
    event->answer = r->index;
}

static struct timespec after_ms(int timeout_ms)
{
    const uint64_t at = qn_clock_ns() + (uint64_t)timeout_ms * 1000000;
    return (struct timespec){.tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000)};
}

static bool is_over(const quern_request *first)
{
    const quern_request *r = first;
    while (r != NULL && r->news.is_over) r = r->next_answer;
    return r == NULL;
}

/* The answer that has news, those after the one that was told of last first; NULL: none has. */
static quern_request *next_with_news(quern_request *first)
{
    quern_request *r = first->told != NULL ? first->told : first;
    const quern_request *last = r;
    do {
        r = r->next_answer != NULL ? r->next_answer : first;
        if (has_news(&r->news)) return first->told = r;
    } while (r != last);
    return NULL;
}

bool quern_request_next(quern_request *first, int timeout_ms, quern_event *event)
{
    qn_request_news *n = &first->news;
    const struct timespec end = after_ms(timeout_ms > 0 ? timeout_ms : 0);
    quern_request *r = NULL;
    *event = (quern_event){.kind = QUERN_EVENT_NONE};
    pthread_mutex_lock(&n->mutex);
    const bool all_told = is_over(first);
    while (!all_told && (r = next_with_news(first)) == NULL && timeout_ms != 0)
        if (timeout_ms < 0) pthread_cond_wait(&n->changed, &n->mutex);
        else if (pthread_cond_timedwait(&n->changed, &n->mutex, &end) == ETIMEDOUT) break;
    if (r != NULL) take(r, event);
    pthread_mutex_unlock(&n->mutex);
    return !all_told;
}
