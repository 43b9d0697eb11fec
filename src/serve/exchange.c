/* exchange.c: see exchange.h. */
#include "serve/exchange.h"

#include "base/alloc.h"
#include "serve/fields.h"
#include "serve/limits.h"
#include "serve/server_parts.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

/* ---- life --------------------------------------------------------------------------------------- */

qn_exchange *qn_exchange_create(qn_server *server, struct MHD_Connection *connection)
{
    qn_exchange *x = qn_calloc(1, sizeof *x);
    if (x == NULL) return NULL;
    x->server = server;
    x->connection = connection;
    x->body.max_bytes = server->params.limits.body_bytes;
    atomic_init(&x->holders, 1);
    pthread_mutex_init(&x->mutex, NULL);
    atomic_fetch_add(&server->n_exchanges, 1);
    return x;
}

void qn_exchange_let_go(qn_exchange *x)
{
    if (atomic_fetch_sub(&x->holders, 1) > 1) return;
    qn_server *server = x->server;
    while (x->first != NULL) {
        qn_answer_event *e = x->first;
        x->first = e->next;
        qn_free(e);
    }
    if (x->free_state != NULL) x->free_state(x->state);
    qn_buffer_deinit(&x->body), qn_buffer_deinit(&x->out);
    qn_free(x->parts);
    pthread_mutex_destroy(&x->mutex);
    qn_free(x);
    atomic_fetch_sub(&server->n_exchanges, 1);
}

void qn_exchange_wait(qn_exchange *x)
{
    if (x->is_suspended) return;
    x->is_suspended = true;
    MHD_suspend_connection(x->connection);
}

void qn_exchange_wake(qn_exchange *x)
{
    if (!x->is_suspended) return;
    x->is_suspended = false;
    MHD_resume_connection(x->connection);
}

void qn_exchange_cancel(qn_exchange *x)
{
    pthread_mutex_lock(&x->mutex);
    const size_t n_parts = x->n_submitted;
    pthread_mutex_unlock(&x->mutex);
    for (size_t i = 0; i < n_parts; i++)
        if (x->parts[i].request != NULL) quern_request_cancel(x->parts[i].request);
}

void qn_exchange_abandon(qn_exchange *x)
{
    pthread_mutex_lock(&x->mutex);
    x->is_gone = true;
    if (x->phase != QN_PHASE_WORKING) qn_exchange_wake(x); /* else when the worker is done */
    pthread_mutex_unlock(&x->mutex);
    qn_exchange_cancel(x);
}

json_t *qn_exchange_parse(qn_exchange *x)
{
    json_t *root = qn_fields_parse(x->body.n_bytes > 0 ? x->body.data : "", x->body.n_bytes, &x->problem);
    qn_buffer_deinit(&x->body);
    return root;
}

/* ---- replies ------------------------------------------------------------------------------------ */

/* What is written where there is no memory for more. */
static const char no_memory[] = "{\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\","
                                "\"param\":null,\"code\":\"out_of_memory\"}}";

static int add_bytes(const char *bytes, size_t n_bytes, void *user)
{
    return qn_buffer_append(user, bytes, n_bytes) ? 0 : -1;
}

static void write_json(qn_exchange *x, json_t *value)
{
    if (value == NULL ||
        json_dump_callback(value, add_bytes, &x->out, JSON_COMPACT | JSON_REAL_PRECISION(10)) != 0)
        x->out.failed = true;
    json_decref(value);
}

static void begin_reply(qn_exchange *x, int status, const char *content_type)
{
    qn_buffer_deinit(&x->out);
    x->out = (qn_buffer){0};
    x->status = status;
    x->content_type = content_type;
}

static void end_reply(qn_exchange *x)
{
    if (!x->out.failed) return;
    begin_reply(x, 503, "application/json");
    qn_buffer_puts(&x->out, no_memory); /* if that fails as well the reply is empty */
}

void qn_reply_json(qn_exchange *x, int status, json_t *value)
{
    begin_reply(x, status, "application/json");
    write_json(x, value);
    end_reply(x);
}

void qn_reply_text(qn_exchange *x, int status, const char *content_type, const char *text)
{
    begin_reply(x, status, content_type);
    qn_buffer_puts(&x->out, text);
    end_reply(x);
}

void qn_reply_problem(qn_exchange *x)
{
    begin_reply(x, qn_problem_status(x->problem.kind), "application/json");
    x->route->dialect->write_problem(&x->out, &x->problem);
    end_reply(x);
}

void qn_stream_json(qn_exchange *x, const char *name, json_t *value)
{
    if (name != NULL) qn_buffer_printf(&x->out, "event: %s\n", name);
    qn_buffer_puts(&x->out, "data: ");
    write_json(x, value);
    qn_buffer_puts(&x->out, "\n\n");
}

/* ---- events ------------------------------------------------------------------------------------- */

static size_t copied_bytes(const quern_event *e)
{
    size_t n = sizeof(qn_answer_event) + e->n_bytes + 1 + e->n_embedding * sizeof(float) +
               e->n_log_probs * sizeof(quern_token_log_probs);
    for (size_t i = 0; i < e->n_log_probs; i++) n += e->log_probs[i].n_top * sizeof(quern_log_prob);
    return n + 2 * sizeof(double); /* for alignment */
}

static void *take(char **at, size_t n_bytes)
{
    char *p = *at;
    *at += (n_bytes + 7) / 8 * 8;
    return p;
}

static void copy_log_probs(quern_event *copy, const quern_event *e, char **at)
{
    quern_token_log_probs *rows = take(at, e->n_log_probs * sizeof *rows);
    for (size_t i = 0; i < e->n_log_probs; i++) {
        quern_log_prob *top = take(at, e->log_probs[i].n_top * sizeof *top);
        rows[i] = e->log_probs[i];
        if (rows[i].n_top > 0) memcpy(top, rows[i].top, rows[i].n_top * sizeof *top);
        rows[i].top = top;
    }
    copy->log_probs = rows;
}

/* NULL: no memory. */
static qn_answer_event *copy_event(const quern_event *e)
{
    const size_t n_bytes = copied_bytes(e) + 8 * e->n_log_probs;
    qn_answer_event *copy = qn_malloc(n_bytes);
    if (copy == NULL) return NULL;
    *copy = (qn_answer_event){.n_bytes = n_bytes, .event = *e};
    char *at = (char *)(copy + 1);
    if (e->n_log_probs > 0) copy_log_probs(&copy->event, e, &at);
    if (e->n_embedding > 0) {
        float *values = take(&at, e->n_embedding * sizeof *values);
        memcpy(values, e->embedding, e->n_embedding * sizeof *values);
        copy->event.embedding = values;
    }
    if (e->error != NULL) {
        copy->error = *e->error;
        copy->event.error = &copy->error;
    }
    if (e->text != NULL) {
        memcpy(at, e->text, e->n_bytes);
        at[e->n_bytes] = '\0';
        copy->event.text = at;
    }
    return copy;
}

/* On the engine's thread. Where there is no memory, or the client does not read, the answer is given up: what
 * was sent so far then ends without an end. */
static void on_event(void *user, quern_request *request, const quern_event *event)
{
    qn_part *part = user;
    qn_exchange *x = part->x;
    qn_answer_event *copy = copy_event(event);
    pthread_mutex_lock(&x->mutex);
    const bool is_lost =
        copy == NULL || (x->streams && x->queued_bytes > x->server->params.limits.unread_bytes);
    if (copy != NULL) {
        copy->part = (size_t)(part - x->parts);
        *(x->last != NULL ? &x->last->next : &x->first) = copy;
        x->last = copy;
        x->queued_bytes += copy->n_bytes;
    }
    x->is_gone |= is_lost;
    qn_exchange_wake(x);
    pthread_mutex_unlock(&x->mutex);
    if (is_lost && !qn_event_ends_answer(event)) quern_request_cancel(request);
    if (qn_event_ends_answer(event)) qn_exchange_let_go(x); /* one for each answer */
}

qn_answer_event *qn_exchange_next_event(qn_exchange *x)
{
    pthread_mutex_lock(&x->mutex);
    qn_answer_event *e = x->first;
    if (e != NULL) {
        x->first = e->next;
        if (x->first == NULL) x->last = NULL;
        x->queued_bytes -= e->n_bytes;
    }
    pthread_mutex_unlock(&x->mutex);
    return e;
}

/* ---- requests ----------------------------------------------------------------------------------- */

enum { AT_ONCE = 16 /* requests of one exchange that are in the engine: others have their turn as well */ };

static bool submit_part(qn_exchange *x, size_t i)
{
    quern_request_params p = quern_request_params_default();
    quern_request *request;
    quern_error err = {0};
    x->writer->fill(x, i, &p);
    x->parts[i].x = x;
    p.n_answers = x->n_answers;
    p.on_event = on_event, p.user = &x->parts[i];
    atomic_fetch_add(&x->holders, (int)x->n_answers);
    const quern_status s = quern_submit(x->server->engine, &p, &request, &err);
    if (s != QUERN_OK) {
        atomic_fetch_sub(&x->holders, (int)x->n_answers); /* the caller is a holder, too */
        return qn_problem_take(&x->problem, NULL, &err);
    }
    pthread_mutex_lock(&x->mutex);
    const bool is_gone = x->is_gone;
    x->parts[i].request = request;
    x->n_submitted++;
    pthread_mutex_unlock(&x->mutex);
    x->n_open += x->n_answers;
    if (is_gone) quern_request_cancel(request);
    return true;
}

bool qn_exchange_submit(qn_exchange *x)
{
    while (x->problem.kind == QN_PROBLEM_NONE && x->n_submitted < x->n_parts && x->n_open < AT_ONCE)
        submit_part(x, x->n_submitted);
    if (x->problem.kind == QN_PROBLEM_BUSY && x->n_open > 0) x->problem.kind = QN_PROBLEM_NONE; /* later */
    if (x->problem.kind == QN_PROBLEM_NONE) return true;
    x->n_parts = x->n_submitted;
    qn_exchange_cancel(x);
    return false;
}

bool qn_exchange_want(qn_exchange *x, size_t n_parts, uint32_t n_answers, const qn_answer_writer *writer,
                      bool streams)
{
    x->parts = qn_calloc(n_parts, sizeof *x->parts);
    if (x->parts == NULL) return qn_problem_nomem(&x->problem);
    x->n_parts = n_parts, x->n_answers = n_answers > 1 ? n_answers : 1;
    x->writer = writer, x->streams = streams;
    return true;
}
