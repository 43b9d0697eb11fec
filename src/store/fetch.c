/* fetch.c: see fetch.h. */
#include "store/fetch.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

typedef struct retry {
    int attempt;
    long delay_ms;
} retry;

static bool busy_status(int status)
{
    return status == 408 || status == 425 || status == 429 || status == 500 || status == 502 ||
           status == 503 || status == 504;
}

/* What a status other than success means to the person. */
static quern_status fail_status(const qn_fetch *f, const qn_http_response *r, quern_error *err)
{
    const qn_quoted url = qn_quote(f->url, strlen(f->url)), said = qn_quote(r->message, strlen(r->message));
    const char *colon = r->message[0] != '\0' ? ": " : "";
    if (r->status == 404 || r->status == 410)
        return qn_fail(err, QUERN_ERR_NOT_FOUND, "%s: %s: not there (HTTP %d)%s%s", f->label, url.text,
                       r->status, colon, said.text);
    const char *remedy = "";
    if (r->status == 401 || r->status == 403)
        remedy =
            f->token_url == NULL ? " (the server wants a login)"
            : f->token == NULL
                ? " (set HF_TOKEN to an access token; for a gated model accept its licence on its page first)"
                : " (does HF_TOKEN have access? for a gated model accept its licence on its page first)";
    return qn_fail(err, QUERN_ERR_NETWORK, "%s: %s: HTTP %d%s%s%s", f->label, url.text, r->status, colon,
                   said.text, remedy);
}

/* Sleeps before the next attempt. False: no more attempts, or canceled (err then says so). */
static bool wait_to_retry(const qn_fetch *f, retry *t, const qn_http_response *r, uint64_t done,
                          uint64_t total, quern_error *err)
{
    const int max =
        f->network->max_attempts; /* without a network at all nobody wants to wait long to be told so */
    if (++t->attempt >= (r->status == 0 && done == 0 && max > 3 ? 3 : max)) return false;
    long ms = t->delay_ms;
    if (r->retry_after_s > f->network->max_wait_s) return false;
    if (r->retry_after_s >= 0) ms = r->retry_after_s * 1000;
    else t->delay_ms *= 2;
    qn_log_write(&f->network->log, QUERN_LOG_INFO, "%s; attempt %d of %d in %ld ms", err->message,
                 t->attempt + 1, max, ms);
    while (ms > 0) {
        const long step = ms < 50 ? ms : 50;
        nanosleep(&(struct timespec){0, step * 1000000}, NULL);
        ms -= step;
        if (!qn_progress_tell(f->progress, QUERN_STORE_CONNECTING, done, total)) break;
    }
    if (!f->progress->canceled) return true;
    qn_progress_canceled(err, f->label);
    return false;
}

static qn_http_request request(const qn_fetch *f)
{
    return (qn_http_request){.url = f->url,
                             .token = f->token,
                             .token_url = f->token_url,
                             .connect_timeout_ms = f->network->connect_timeout_ms,
                             .stall_timeout_s = f->network->stall_timeout_s};
}

/* ---- a part ------------------------------------------------------------------------------------ */

typedef struct part_transfer {
    const qn_fetch *f;
    qn_part *part;
    char *validator;
    qn_fetch_begin_fn *begin;
    void *user;
    bool size_is_given; /* by the catalogue or the hub, not learned from this server */
    bool no_range;      /* the server has shown that it cannot continue a file */
    bool started;       /* this response has been looked at */
} part_transfer;

static bool alive(void *user)
{
    const part_transfer *t = user;
    const quern_store_phase phase = t->started ? QUERN_STORE_DOWNLOADING : QUERN_STORE_CONNECTING;
    return qn_progress_tell(t->f->progress, phase, t->part->n_bytes, t->part->size_bytes);
}

static quern_status check_kind(const part_transfer *t, const qn_http_response *r, quern_error *err)
{
    if (r->content_encoding[0] != '\0' && strcasecmp(r->content_encoding, "identity") != 0)
        return qn_fail(err, QUERN_ERR_NETWORK,
                       "%s: the server sends it compressed (%s) without being asked to", t->f->label,
                       r->content_encoding);
    if (t->part->expected[0] == '\0' && strncasecmp(r->content_type, "text/html", 9) == 0)
        return qn_fail(err, QUERN_ERR_NETWORK,
                       "%s: the server sends a web page instead of a model (a login page? open the address "
                       "in a browser)",
                       t->f->label);
    return QUERN_OK;
}

/* The length that the server tells against the one that is expected; then room for it. */
static quern_status check_length(part_transfer *t, bool known, uint64_t total, quern_error *err)
{
    qn_part *p = t->part;
    if (known && t->size_is_given && total != p->size_bytes)
        return qn_fail(err, QUERN_ERR_CHECKSUM,
                       "%s: the server offers %llu bytes, expected %llu (has the published file changed?)",
                       t->f->label, (unsigned long long)total, (unsigned long long)p->size_bytes);
    if (known) p->size_bytes = total;
    else if (!t->size_is_given) p->size_bytes = 0;
    if (p->size_bytes > 0 && p->size_bytes < p->n_bytes)
        return qn_fail(err, QUERN_ERR_CHECKSUM, "%s: the server offers %llu bytes, %llu are here already",
                       t->f->label, (unsigned long long)p->size_bytes, (unsigned long long)p->n_bytes);
    return p->size_bytes > 0 ? qn_part_need_space(p, p->size_bytes - p->n_bytes, err) : QUERN_OK;
}

/* The first look at a 200 or 206. */
static quern_status start(part_transfer *t, const qn_http_response *r, quern_error *err)
{
    qn_part *p = t->part;
    quern_status s = check_kind(t, r, err);
    if (s != QUERN_OK) return s;
    if (r->status == 206) {
        const bool lies =
            !r->has_range || r->range_first != p->n_bytes ||
            (r->has_length && r->range_total > 0 && r->content_length > r->range_total - p->n_bytes);
        if (lies || (p->size_bytes > 0 && r->range_total > 0 && r->range_total != p->size_bytes)) {
            t->no_range = true;
            return qn_fail(err, QUERN_ERR_NETWORK,
                           "%s: the server continues at byte %llu of %llu instead of %llu", t->f->label,
                           (unsigned long long)r->range_first, (unsigned long long)r->range_total,
                           (unsigned long long)p->n_bytes);
        }
        s = check_length(t, r->range_total > 0, r->range_total, err);
        if (s == QUERN_OK) t->started = true;
        return s;
    }
    if (p->n_bytes > 0) s = qn_part_restart(p, err); /* it sends everything again */
    if (s == QUERN_OK) s = check_length(t, r->has_length, r->content_length, err);
    snprintf(t->validator, 256, "%s", r->etag[0] == '"' ? r->etag : ""); /* W/"..." cannot vouch for bytes */
    if (s == QUERN_OK && t->begin != NULL) s = t->begin(t->user, r, err);
    if (s == QUERN_OK) t->started = true;
    return s;
}

static quern_status on_part_body(void *user, const qn_http_response *r, const char *bytes, size_t n_bytes,
                                 quern_error *err)
{
    part_transfer *t = user;
    if (r->status != 200 && r->status != 206) return QUERN_OK;
    quern_status s = t->started ? QUERN_OK : start(t, r, err);
    return s == QUERN_OK ? qn_part_write(t->part, bytes, n_bytes, err) : s;
}

/* One request. *done: the file is complete. *again: another attempt may help. */
static quern_status attempt(part_transfer *t, qn_http_response *r, bool *done, bool *again, quern_error *err)
{
    qn_part *p = t->part;
    *done = false;
    if (t->no_range && p->n_bytes > 0) {
        quern_status s = qn_part_restart(p, err);
        if (s != QUERN_OK) return s;
    }
    qn_http_request q = request(t->f);
    q.range_from = p->n_bytes;
    q.if_range = t->validator[0] != '\0' ? t->validator : NULL;
    q.body = on_part_body;
    q.alive = alive;
    q.user = t;
    t->started = false;
    const bool had_range_trouble = t->no_range;
    quern_status s = qn_http_exchange(&q, r, again, err);
    if (s == QUERN_OK && !t->started && (r->status == 200 || r->status == 206))
        s = start(t, r, err); /* an empty body */
    if (s == QUERN_ERR_CANCELED) return qn_progress_canceled(err, t->f->label);
    if (s != QUERN_OK) {
        if (t->no_range && !had_range_trouble) *again = true;
        return s;
    }
    if (r->status == 416 && p->n_bytes > 0 && r->range_total == p->n_bytes) { /* all of it is here */
        s = check_length(t, true, r->range_total, err);
        *done = s == QUERN_OK;
        return s;
    }
    if (r->status == 416 && p->n_bytes > 0) {
        t->no_range = *again = true;
        return qn_fail(err, QUERN_ERR_NETWORK, "%s: the server has no byte %llu", t->f->label,
                       (unsigned long long)p->n_bytes);
    }
    if (!t->started) {
        *again = busy_status(r->status);
        return fail_status(t->f, r, err);
    }
    *done = p->size_bytes == 0 || p->n_bytes == p->size_bytes;
    if (*done) return QUERN_OK;
    *again = true;
    return qn_fail(err, QUERN_ERR_NETWORK, "%s: the server ended after %llu of %llu bytes", t->f->label,
                   (unsigned long long)p->n_bytes, (unsigned long long)p->size_bytes);
}

quern_status qn_fetch_part(const qn_fetch *f, qn_part *part, char validator[256], qn_fetch_begin_fn *begin,
                           void *user, quern_error *err)
{
    part_transfer t = {.f = f,
                       .part = part,
                       .validator = validator,
                       .begin = begin,
                       .user = user,
                       .size_is_given = part->size_bytes > 0};
    retry tries = {0, f->network->first_delay_ms};
    quern_error local = {0};
    if (err == NULL) err = &local;
    if (part->size_bytes > 0 && part->n_bytes == part->size_bytes) return QUERN_OK;
    if (part->size_bytes > 0) {
        quern_status s = qn_part_need_space(part, part->size_bytes - part->n_bytes, err);
        if (s != QUERN_OK) return s;
    }
    for (;;) {
        qn_http_response r;
        bool done, again = false;
        const uint64_t before = part->n_bytes;
        quern_status s = attempt(&t, &r, &done, &again, err);
        if (s == QUERN_OK) {
            qn_progress_tell(f->progress, QUERN_STORE_DOWNLOADING, part->n_bytes, part->size_bytes);
            return s;
        }
        if (!again) return s;
        if (part->n_bytes > before) tries = (retry){0, f->network->first_delay_ms};
        if (!wait_to_retry(f, &tries, &r, part->n_bytes, part->size_bytes, err)) return err->status;
    }
}

/* ---- documents and headers ---------------------------------------------------------------------- */

typedef struct document {
    const qn_fetch *f;
    qn_buffer *out;
} document;

static bool document_alive(void *user)
{
    const document *d = user;
    return qn_progress_tell(d->f->progress, QUERN_STORE_CONNECTING, 0, 0);
}

static quern_status on_document_body(void *user, const qn_http_response *r, const char *bytes, size_t n_bytes,
                                     quern_error *err)
{
    const document *d = user;
    if (r->status != 200 || qn_buffer_append(d->out, bytes, n_bytes)) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_LIMIT, "%s: the answer is longer than %zu bytes", d->f->label,
                   d->out->max_bytes);
}

static quern_status exchange_with_retries(const qn_fetch *f, qn_http_request *q, qn_buffer *out,
                                          qn_http_response *r, quern_error *err)
{
    document d = {f, out};
    retry tries = {0, f->network->first_delay_ms};
    quern_error local = {0};
    if (err == NULL) err = &local;
    q->alive = document_alive;
    q->user = &d;
    for (;;) {
        bool again = false;
        if (out != NULL) qn_buffer_clear(out);
        quern_status s = qn_http_exchange(q, r, &again, err);
        if (s == QUERN_ERR_CANCELED) return qn_progress_canceled(err, f->label);
        if (s == QUERN_OK &&
            (r->status == 200 || (q->stop_at_other_host && r->status >= 300 && r->status < 400)))
            return s;
        if (s == QUERN_OK) {
            again = busy_status(r->status);
            s = fail_status(f, r, err);
        }
        if (!again) return s;
        if (!wait_to_retry(f, &tries, r, 0, 0, err)) return err->status;
    }
}

quern_status qn_fetch_document(const qn_fetch *f, qn_buffer *out, char *next, quern_error *err)
{
    qn_http_request q = request(f);
    qn_http_response r;
    q.body = on_document_body;
    quern_status s = exchange_with_retries(f, &q, out, &r, err);
    if (s == QUERN_OK) strcpy(next, r.link_next);
    return s;
}

quern_status qn_fetch_headers(const qn_fetch *f, qn_http_response *r, quern_error *err)
{
    qn_http_request q = request(f);
    q.head = q.stop_at_other_host = true;
    return exchange_with_retries(f, &q, NULL, r, err);
}
