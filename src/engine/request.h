/* request.h: a request on its way: what was asked for, the tokens it has, and what was told of it.
 *
 * Three parts: what never changes after quern_submit; what belongs to the engine's thread; and the news, for
 * whoever fetches events, behind a mutex.
 *
 * A request for several answers is as many requests of this kind, which wait, run and end each on its own.
 * The caller has the first for all of them: it has their mutex and their holders, and they live and go
 * together. There are holders while the caller has the handle, and for each until it has ended. */
#ifndef QN_ENGINE_REQUEST_H
#define QN_ENGINE_REQUEST_H

#include "cache/prefix_tree.h"
#include "engine/answer.h"
#include "engine/draft_length.h"
#include "engine/log_prob_list.h"
#include "engine/metrics.h"
#include "engine/page_keeper.h"
#include "engine/pooling.h"
#include "engine/request_queue.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct qn_runner qn_runner;

/* What has happened and was not fetched yet. */
typedef struct qn_request_news {
    pthread_mutex_t mutex; /* these two of the first answer, for all */
    pthread_cond_t changed;
    bool has_mutex;
    bool is_queued, has_started, has_read, has_ended;
    bool is_cut;  /* some text could not be kept */
    bool is_over; /* the end was fetched, or is told by on_event */
    size_t n_ahead, n_cached, n_read, n_drawn, n_dropped, n_embedding;
    qn_buffer text, given; /* not told yet; what the last event points to */
    qn_log_prob_list log_probs, prompt_log_probs, given_log_probs;
    quern_request_result result;
    quern_error error;
} qn_request_news;

enum { QN_SCORED_TOKENS = 64 /* tokens of a prompt whose log-probabilities one step computes at most */ };

struct quern_request {
    quern_request *first, *next_answer; /* of those with the same prompt; the caller has the first */
    quern_request *told;                /* of the first: the answer that the last event fetched is about */
    uint32_t index;                     /* of the answer */
    atomic_uint holders;                /* of the first, for all */
    atomic_bool is_canceled;

    quern_engine *engine;
    qn_metrics *metrics; /* of the engine */
    size_t model;        /* of the engine's */
    qn_prefix_key name_space;
    uint64_t submitted_ns, deadline_ns; /* deadline 0: none */
    quern_event_fn *on_event;
    void *user;
    char **stops; /* [n_stops] */
    size_t n_stops, n_prompt;

    qn_queue_entry entry;
    qn_queue_client *client;
    quern_request *older, *newer;      /* of all that the engine has */
    quern_request *next;               /* of those that were not told that they wait */
    quern_request *next_ended;         /* of a list that it is in while it ends */
    bool is_parked, is_held;           /* waits for its model to be loaded; its model has begun with it */
    uint64_t parked_ns;                /* since when */
    size_t n_ahead;                    /* when it came */
    quern_token *tokens;               /* [n_tokens] prompt, then answer; room for [capacity] */
    size_t n_tokens, capacity, n_read; /* n_read: of the prompt, as told */
    quern_sampler *sampler;
    qn_answer answer;
    qn_page_fetch fetch;
    bool was_fetched, is_fetching;
    quern_request *next_fetched; /* list of the answers that wait for the pages of the first */
    qn_buffer fresh;             /* text that the last draw made certain */
    bool has_lost_text;          /* there was no memory for some of it */
    /* What the last step computed; they have room for all that one can. */
    qn_log_prob_list log_probs, prompt_log_probs;
    bool wants_log_probs;
    bool shifts;          /* where the context is full */
    size_t n_ctx, n_keep; /* positions it may have; of these, that stay */
    size_t n_scored;      /* tokens of the prompt whose log-probabilities are computed, or not wanted */
    bool embeds;          /* then there is no sampler and no answer, only why it ended */
    bool is_apart; /* all its tokens are computed for it alone: no cache, and nothing kept for others */
    qn_pooler pooler;
    float *embedding; /* [n_embedding] */
    size_t n_embedding;
    uint64_t began_ns, first_token_ns, last_token_ns;
    uint64_t gap_ns;     /* between the last two steps that drew; 0: there was one */
    uint64_t vacated_ns; /* since when it has made room; 0: it has not */
    quern_request_result result;

    qn_request_news news;
};

/* Copies everything; n_ctx: what the model's requests may have. *out is the first of its answers. */
quern_status qn_request_create(quern_request **out, const quern_model *model, size_t n_ctx,
                               const quern_request_params *params, quern_error *err);
/* Positions that its prompt and the longest answer it may have take. */
size_t qn_request_positions(const quern_request *r);
void qn_request_hold(quern_request *r);
void qn_request_let_go(quern_request *r); /* the last holder destroys it */

/* ---- of the engine's thread ---- */

/* It runs for the first time; n_cached positions of its prompt were found. */
quern_status qn_request_begin(quern_request *r, size_t n_cached, quern_error *err);
/* Has the pooler of one that embeds begin with its text. */
void qn_request_begin_text(quern_request *r, const quern_model *model);
/* Whether log-probabilities of its prompt are still to be computed. */
bool qn_request_scores_prompt(const quern_request *r);
/* Notes how likely the token that was drawn last is; logits: the row it was drawn from, as the model left it.
 */
void qn_request_take_log_prob(quern_request *r, const float *logits);
/* Takes over the tokens that the answer drew, at a time (qn_clock_ns). */
void qn_request_take_step(quern_request *r, uint64_t now_ns);
/* How long it waited for what the last step drew. */
void qn_request_count_wait(const quern_request *r, qn_waits *waits);
/* It has a slot again, if it had made room. */
void qn_request_come_back(quern_request *r);
/* Whether its tokens are more than the context holds, and the older ones may go. */
bool qn_request_wants_shift(const quern_request *r);
/* Drops them; the first n_keep stay what they were. */
void qn_request_shift(quern_request *r);
/* Whether it is canceled or past its deadline; then answer.finish says so. */
bool qn_request_must_end(quern_request *r, uint64_t now_ns);
/* Tells the end: of the answer as it is, or, unless status is QUERN_OK, the error. */
void qn_request_end(quern_request *r, quern_status status, quern_error *err);

void qn_request_tell(quern_request *r, const quern_event *event);
void qn_request_tell_text(quern_request *r); /* what is fresh */
/* n positions are computed: of the prompt, if it was not read before, with what is known of its tokens. */
void qn_request_tell_read(quern_request *r, size_t n);

#endif
