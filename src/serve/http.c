/* http.c: the network thread: libmicrohttpd on one side, exchanges on the other. Framing is RFC 9112 as that
 * library reads it; what it is too kind about is refused here. Nothing in here waits. */
#include "serve/server_parts.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "serve/limits.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { N_WORKERS = 2, BLOCK_BYTES = 16 * 1024, DRAIN_TICK_NS = 10000000, PASSED_OVER = 4 };

/* ---- the reply ---------------------------------------------------------------------------------- */

/* The reply is sent by pieces, so that it is known whether the client reads. */
static ssize_t read_reply(void *user, uint64_t position, char *to, size_t most)
{
    qn_exchange *x = user;
    (void)position;
    qn_watch_turn(x->link, QN_WAITS_FOR_READER);
    const size_t left = x->out.n_bytes - x->n_sent, n = left < most ? left : most;
    if (n == 0) return MHD_CONTENT_READER_END_OF_STREAM;
    memcpy(to, x->out.data + x->n_sent, n);
    x->n_sent += n;
    return (ssize_t)n;
}

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    MHD_add_response_header(response, name, value); /* without memory the header is missing */
}

static enum MHD_Result send_response(qn_exchange *x, struct MHD_Response *response, bool streams)
{
    if (response == NULL) return MHD_NO;
    add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, x->content_type);
    if (x->extra_name[0] != '\0') add_header(response, x->extra_name, x->extra_value);
    if (streams) add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    if (streams) add_header(response, "X-Accel-Buffering", "no"); /* proxies hand pieces on at once */
    if (x->closes) add_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    qn_watch_turn(x->link, QN_WAITS_FOR_READER);
    const enum MHD_Result ok = MHD_queue_response(x->connection, (unsigned)x->status, response);
    MHD_destroy_response(response);
    return ok;
}

static enum MHD_Result send_reply(qn_exchange *x)
{
    x->n_sent = 0;
    return send_response(
        x, MHD_create_response_from_callback(x->out.n_bytes, BLOCK_BYTES, read_reply, x, NULL), false);
}

static enum MHD_Result refuse(qn_exchange *x)
{
    qn_exchange_cancel(x); /* what else runs for it */
    qn_reply_problem(x);
    if (x->problem.kind == QN_PROBLEM_BUSY) {
        snprintf(x->extra_name, sizeof x->extra_name, "Retry-After");
        snprintf(x->extra_value, sizeof x->extra_value, "1");
    }
    return send_reply(x);
}

/* ---- an answer that comes ----------------------------------------------------------------------- */

/* Hands events on to the dialect as long as there are some, and nothing is to be sent. */
static void write_events(qn_exchange *x)
{
    if (x->streams && !x->has_begun && x->writer->begin != NULL) x->writer->begin(x);
    x->has_begun = true;
    while (!qn_exchange_has_ended(x) && (!x->streams || x->n_sent == x->out.n_bytes)) {
        qn_answer_event *e = qn_exchange_next_event(x);
        if (e == NULL) return;
        if (x->streams) qn_buffer_clear(&x->out), x->n_sent = 0;
        x->writer->on_event(x, e->part, &e->event);
        if (qn_event_ends_answer(&e->event)) {
            x->n_open--;
            qn_exchange_submit(x);
        }
        qn_free(e);
        if (qn_exchange_has_ended(x)) x->writer->end(x);
    }
}

static bool is_gone(qn_exchange *x)
{
    pthread_mutex_lock(&x->mutex);
    const bool is_gone = x->is_gone;
    pthread_mutex_unlock(&x->mutex);
    return is_gone;
}

/* False: nothing is there, and the connection is suspended until something is. */
static bool has_something(qn_exchange *x)
{
    const char *sign = x->route->dialect->life_sign;
    pthread_mutex_lock(&x->mutex);
    const bool has_event = x->first != NULL || x->is_gone,
               gives_sign = !has_event && x->wants_life_sign && x->streams && sign != NULL;
    x->wants_life_sign = false;
    if (!has_event && !gives_sign) qn_exchange_wait(x);
    pthread_mutex_unlock(&x->mutex);
    if (gives_sign) {
        qn_buffer_clear(&x->out), x->n_sent = 0;
        qn_buffer_puts(&x->out, sign);
    }
    return has_event || gives_sign;
}

static ssize_t read_stream(void *user, uint64_t position, char *to, size_t most)
{
    qn_exchange *x = user;
    (void)position;
    for (;;) {
        write_events(x);
        if (x->out.failed || is_gone(x)) return MHD_CONTENT_READER_END_WITH_ERROR;
        const size_t left = x->out.n_bytes - x->n_sent, n = left < most ? left : most;
        if (n > 0) {
            memcpy(to, x->out.data + x->n_sent, n);
            x->n_sent += n;
            qn_watch_turn(x->link, QN_WAITS_FOR_READER);
            return (ssize_t)n;
        }
        if (qn_exchange_has_ended(x)) return MHD_CONTENT_READER_END_OF_STREAM;
        if (has_something(x)) continue;
        qn_watch_turn(x->link, QN_WAITS_FOR_US);
        return 0;
    }
}

static enum MHD_Result go_on_answering(qn_exchange *x)
{
    if (x->n_submitted == 0 && !qn_exchange_submit(x)) return refuse(x);
    if (x->streams) {
        x->status = MHD_HTTP_OK;
        return send_response(
            x, MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream, x, NULL), true);
    }
    do {
        if (is_gone(x)) return MHD_NO;
        write_events(x);
        if (qn_exchange_has_ended(x)) return x->problem.kind != QN_PROBLEM_NONE ? refuse(x) : send_reply(x);
    } while (has_something(x));
    return MHD_YES;
}

/* ---- a request ---------------------------------------------------------------------------------- */

static const char *header(qn_exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

static enum MHD_Result count_header(void *user, enum MHD_ValueKind kind, const char *name, const char *value)
{
    size_t *n = user; /* [0] all, [1] Content-Length, [2] Host, [3] Transfer-Encoding */
    (void)kind, (void)value;
    n[0]++;
    n[1] += strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0;
    n[2] += strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0;
    n[3] += strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0;
    return MHD_YES;
}

/* Two ways to tell the length, or two lengths, are how requests are smuggled past a proxy. */
static bool check_framing(qn_exchange *x)
{
    size_t n[4] = {0};
    const char *coding = header(x, MHD_HTTP_HEADER_TRANSFER_ENCODING),
               *length = header(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
    MHD_get_connection_values(x->connection, MHD_HEADER_KIND, count_header, n);
    if (n[0] > QN_MAX_HEADERS)
        return qn_problem_set(&x->problem, QN_PROBLEM_TOO_MANY_HEADERS, NULL, "%zu headers, more than %d",
                              n[0], (int)QN_MAX_HEADERS);
    if ((coding != NULL && length != NULL) || n[1] > 1 || n[2] > 1 || n[3] > 1)
        return qn_problem_set(&x->problem, QN_PROBLEM_MALFORMED, NULL,
                              "there may be one Host, and either one Content-Length or Transfer-Encoding");
    if (coding != NULL && strcasecmp(coding, "chunked") != 0)
        return qn_problem_set(&x->problem, QN_PROBLEM_MALFORMED, NULL,
                              "Transfer-Encoding: only chunked is possible");
    if (length == NULL) return true;
    const size_t n_digits = strspn(length, "0123456789");
    if (n_digits == 0 || length[n_digits] != '\0' || n_digits > 18)
        return qn_problem_set(&x->problem, QN_PROBLEM_MALFORMED, NULL, "Content-Length is no number");
    const size_t most = x->server->params.limits.body_bytes;
    if (strtoull(length, NULL, 10) > most)
        return qn_problem_set(&x->problem, QN_PROBLEM_TOO_LARGE, NULL, "the body has %s bytes, more than %zu",
                              length, most);
    return true;
}

static bool is_listed(const qn_server *s, const char *host, size_t n_bytes)
{
    for (size_t i = 0; i < s->params.n_hosts; i++)
        if (strlen(s->params.hosts[i]) == n_bytes && strncasecmp(s->params.hosts[i], host, n_bytes) == 0)
            return true;
    return n_bytes == 9 && strncasecmp(host, "localhost", 9) == 0;
}

/* Whether a name, with or without a port, is this machine's: an address, or one that somebody said is. */
static bool is_known(const qn_server *s, const char *host)
{
    char address[64];
    unsigned char bytes[sizeof(struct in6_addr)];
    const bool in_brackets = host[0] == '[';
    const char *begin = host + in_brackets;
    const size_t n_bytes = strcspn(begin, in_brackets ? "]" : ":");
    if (is_listed(s, begin, n_bytes)) return true;
    if (n_bytes >= sizeof address) return false;
    memcpy(address, begin, n_bytes);
    address[n_bytes] = '\0';
    return inet_pton(in_brackets ? AF_INET6 : AF_INET, address, bytes) == 1;
}

/* A page of another host that a browser shows could make its name point here (DNS rebinding): then its
 * requests name that host. Or it asks without being allowed to read the answer: then they name it as their
 * origin. */
static bool check_host(qn_exchange *x)
{
    const char *host = header(x, MHD_HTTP_HEADER_HOST), *origin = header(x, MHD_HTTP_HEADER_ORIGIN);
    if (host != NULL && !is_known(x->server, host))
        return qn_problem_set(&x->problem, QN_PROBLEM_FORBIDDEN, NULL,
                              "the host '%.100s' is not known here (allow it with --allow-host)", host);
    const char *place = origin != NULL ? strstr(origin, "://") : NULL;
    if (origin != NULL && (place == NULL || !is_known(x->server, place + 3)))
        return qn_problem_set(&x->problem, QN_PROBLEM_FORBIDDEN, NULL,
                              "pages of '%.100s' may not ask here (allow the host with --allow-host)",
                              origin);
    return true;
}

/* The route, or why there is none; a problem has the shape of OpenAI's then. */
static bool find_route(qn_exchange *x, const char *method, const char *url)
{
    const qn_route *other = NULL;
    const char *looked = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0 ? MHD_HTTP_METHOD_GET : method;
    for (size_t i = 0; i < qn_n_routes && x->route == NULL; i++) {
        if (strcmp(qn_routes[i].path, url) != 0) continue;
        other = &qn_routes[i];
        if (strcmp(qn_routes[i].method, looked) == 0) x->route = other;
    }
    if (x->route != NULL) return true;
    x->route = other != NULL ? other : &qn_routes[0];
    if (other == NULL)
        return qn_problem_set(&x->problem, QN_PROBLEM_NOT_FOUND, NULL, "there is nothing at %.100s", url);
    snprintf(x->extra_name, sizeof x->extra_name, "%s", MHD_HTTP_HEADER_ALLOW);
    snprintf(x->extra_value, sizeof x->extra_value, "%s", other->method);
    return qn_problem_set(&x->problem, QN_PROBLEM_NO_METHOD, NULL, "%s wants the method %s, not %.20s",
                          other->path, other->method, method);
}

static enum MHD_Result begin(qn_exchange *x, const char *method, const char *url)
{
    x->phase = QN_PHASE_RECEIVING;
    qn_watch_turn(x->link, QN_WAITS_FOR_BODY);
    const bool is_long = strlen(url) > QN_URI_BYTES;
    const bool ok = find_route(x, method, is_long ? "" : url) && check_framing(x) && check_host(x);
    if (is_long) {
        x->problem.kind = QN_PROBLEM_NONE;
        qn_problem_set(&x->problem, QN_PROBLEM_TOO_LONG_URI, NULL, "the path is longer than %d bytes",
                       (int)QN_URI_BYTES);
    }
    if (ok && !is_long) return MHD_YES;
    x->closes = true; /* a body may follow that nobody reads */
    return refuse(x);
}

/* What comes of a body beyond the limit is passed over, and it is refused at its end; one that has no end in
 * sight is not read on. */
static enum MHD_Result receive(qn_exchange *x, const char *bytes, size_t *n_bytes)
{
    const size_t most = x->server->params.limits.body_bytes;
    x->n_received += *n_bytes;
    if (!x->body.failed) qn_buffer_append(&x->body, bytes, *n_bytes);
    *n_bytes = 0;
    qn_watch_turn(x->link, QN_WAITS_FOR_BODY);
    return x->n_received / PASSED_OVER <= most ? MHD_YES : MHD_NO;
}

static enum MHD_Result begin_work(qn_exchange *x)
{
    qn_watch_turn(x->link, QN_WAITS_FOR_US);
    if (x->body.failed) {
        if (x->body.over_max)
            qn_problem_set(&x->problem, QN_PROBLEM_TOO_LARGE, NULL, "the body has %zu bytes, more than %zu",
                           x->n_received, x->server->params.limits.body_bytes);
        qn_problem_set(&x->problem, QN_PROBLEM_NO_MEMORY, NULL, "no memory for the body");
        return refuse(x);
    }
    if (!x->route->on_worker) {
        x->route->handle(x);
        return x->problem.kind != QN_PROBLEM_NONE ? refuse(x) : send_reply(x);
    }
    if (atomic_load(&x->server->is_draining)) {
        qn_problem_set(&x->problem, QN_PROBLEM_UNAVAILABLE, NULL, "the server is being stopped");
        return refuse(x);
    }
    pthread_mutex_lock(&x->mutex);
    x->phase = QN_PHASE_WORKING;
    const bool is_taken = qn_workers_push(x->server->workers, x);
    if (is_taken) qn_exchange_wait(x);
    pthread_mutex_unlock(&x->mutex);
    if (is_taken) return MHD_YES;
    qn_problem_set(&x->problem, QN_PROBLEM_BUSY, NULL, "%u requests wait already (try again later)",
                   x->server->params.limits.n_waiting);
    return refuse(x);
}

static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *bytes, size_t *n_bytes,
                              void **state)
{
    qn_exchange *x = *state;
    (void)user, (void)connection, (void)version;
    if (x == NULL) return MHD_NO; /* no memory: the connection is closed */
    if (x->phase == QN_PHASE_NEW) return begin(x, method, url);
    if (*n_bytes > 0) return receive(x, bytes, n_bytes);
    pthread_mutex_lock(&x->mutex);
    const qn_phase phase = x->phase;
    pthread_mutex_unlock(&x->mutex);
    if (phase == QN_PHASE_RECEIVING) return begin_work(x);
    if (is_gone(x)) return MHD_NO;
    if (phase == QN_PHASE_ANSWERING) return go_on_answering(x);
    if (x->status == 0)
        qn_problem_set(&x->problem, QN_PROBLEM_INTERNAL, NULL, "the request was not answered");
    return x->problem.kind != QN_PROBLEM_NONE ? refuse(x) : send_reply(x);
}

/* ---- what the library tells --------------------------------------------------------------------- */

static qn_connection *link_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static void on_connection(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    qn_server *s = user;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        qn_watch_remove(s->watch, *context);
        *context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *context = qn_watch_add(s->watch, info->connect_fd);
    if (*context == NULL)
        shutdown(info->connect_fd, SHUT_RDWR); /* nobody would see that it is slow, or gone */
}

/* A first line has come. */
static void *on_line(void *user, const char *uri, struct MHD_Connection *connection)
{
    qn_server *s = user;
    (void)uri;
    qn_exchange *x = qn_exchange_create(s, connection);
    if (x == NULL) return NULL;
    x->link = link_of(connection);
    qn_watch_assign(s->watch, x->link, x);
    qn_watch_turn(x->link, QN_WAITS_FOR_HEADERS);
    return x;
}

static void on_completed(void *user, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode how)
{
    qn_server *s = user;
    qn_exchange *x = *state;
    (void)connection, (void)how;
    if (x == NULL) return;
    *state = NULL;
    qn_watch_assign(s->watch, x->link, NULL);
    qn_watch_turn(x->link, QN_WAITS_FOR_REQUEST);
    pthread_mutex_lock(&x->mutex);
    x->is_gone = true;
    pthread_mutex_unlock(&x->mutex);
    for (size_t i = 0; i < x->n_submitted; i++) quern_request_release(x->parts[i].request);
    qn_exchange_let_go(x);
}

/* ---- life --------------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 0))) static void log_line(void *user, const char *format, va_list arguments)
{
    const qn_server *s = user;
    char line[512];
    if (s->params.log == NULL) return;
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\r\n")] = '\0';
    s->params.log(s->params.log_user, QUERN_LOG_DEBUG, line);
}

static quern_status start_daemon(qn_server *s, quern_error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(s->params.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    errno = 0;
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | MHD_USE_ITC,
        s->params.port, NULL, NULL, handle, s, MHD_OPTION_EXTERNAL_LOGGER, log_line, s, MHD_OPTION_SOCK_ADDR,
        (struct sockaddr *)&address, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_CONNECTION_LIMIT,
        s->params.limits.n_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)QN_HEADER_BYTES + BLOCK_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, s, MHD_OPTION_URI_LOG_CALLBACK, on_line, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        s, MHD_OPTION_END);
    if (s->daemon == NULL)
        return qn_fail(err, QUERN_ERR_IO, "port %u: %s (choose another with --port)", s->params.port,
                       errno != 0 ? strerror(errno) : "the server cannot be started");
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
    s->port = info != NULL ? info->port : s->params.port;
    return QUERN_OK;
}

quern_status qn_server_create(qn_server **out, const qn_server_params *params, quern_error *err)
{
    qn_server *s = *out = qn_calloc(1, sizeof *s);
    if (s == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "server: no memory");
    s->engine = params->engine;
    s->params = *params;
    s->started_s = (int64_t)time(NULL);
    s->step_seen_ns = qn_clock_ns();
    quern_status status = qn_watch_create(&s->watch, &s->params.limits, err);
    if (status == QUERN_OK) status = qn_workers_create(&s->workers, N_WORKERS, params->limits.n_waiting, err);
    if (status == QUERN_OK) status = start_daemon(s, err);
    if (status == QUERN_OK) return QUERN_OK;
    qn_server_destroy(s, 0);
    *out = NULL;
    return status;
}

uint16_t qn_server_port(const qn_server *server)
{
    return server->port;
}

/* Waits until nothing runs, for so many ticks at most. */
static void wait_for_exchanges(const qn_server *s, uint64_t n_ticks)
{
    const struct timespec tick = {.tv_nsec = DRAIN_TICK_NS};
    for (uint64_t i = 0; i < n_ticks && atomic_load(&s->n_exchanges) > 0; i++) nanosleep(&tick, NULL);
}

void qn_server_destroy(qn_server *s, unsigned drain_seconds)
{
    if (s == NULL) return;
    if (s->daemon != NULL) {
        atomic_store(&s->is_draining, true);
        const MHD_socket listening = MHD_quiesce_daemon(s->daemon);
        if (listening != MHD_INVALID_SOCKET) close(listening);
        qn_watch_close(s->watch, false);
        wait_for_exchanges(s, drain_seconds * (uint64_t)(1000000000 / DRAIN_TICK_NS));
        qn_watch_close(s->watch, true);
        wait_for_exchanges(s, UINT64_MAX); /* all have been canceled: they end with the step in hand */
        MHD_stop_daemon(s->daemon);
    }
    qn_workers_destroy(s->workers);
    qn_watch_destroy(s->watch);
    qn_free(s);
}
