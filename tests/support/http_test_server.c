/* http_test_server.c: see http_test_server.h. */
#include "support/http_test_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 4096 };

struct http_test_server {
    int listener, port;
    pthread_t acceptor;
    atomic_bool stopping;
    atomic_uint n_requests;
    http_test_handler *handler;
    void *user;
    pthread_t threads[MAX_CONNECTIONS];
    size_t n_threads;
};

typedef struct connection {
    http_test_server *server;
    int fd;
} connection;

const char *http_test_header(const http_test_request *request, const char *name, char *out, size_t out_size)
{
    const size_t n = strlen(name);
    out[0] = '\0';
    for (const char *line = request->headers; *line != '\0';) {
        const size_t length = strcspn(line, "\r\n");
        if (length > n && line[n] == ':' && strncasecmp(line, name, n) == 0) {
            const char *value = line + n + 1;
            while (*value == ' ') value++;
            snprintf(out, out_size, "%.*s", (int)(line + length - value), value);
            return out;
        }
        line += length;
        line += strspn(line, "\r\n");
    }
    return out;
}

static bool send_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        const ssize_t k = send(fd, bytes, n, MSG_NOSIGNAL);
        if (k <= 0) return false;
        bytes += k;
        n -= (size_t)k;
    }
    return true;
}

static bool read_request(int fd, http_test_request *r)
{
    char text[sizeof r->headers];
    size_t n = 0;
    while (n + 1 < sizeof text) {
        const ssize_t k = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (k <= 0) return false;
        n += (size_t)k;
        text[n] = '\0';
        if (strstr(text, "\r\n\r\n") != NULL) break;
    }
    if (sscanf(text, "%7s %1023s", r->method, r->path) != 2) return false;
    const char *headers = strstr(text, "\r\n");
    snprintf(r->headers, sizeof r->headers, "%s", headers != NULL ? headers + 2 : "");
    return true;
}

static void pause_ms(const http_test_server *s, int ms)
{
    for (; ms > 0 && !atomic_load(&s->stopping); ms -= 10)
        nanosleep(&(struct timespec){0, 10 * 1000000}, NULL);
}

/* The first byte that is asked for, or 0. */
static size_t wanted_first(const http_test_request *q, const http_test_reply *a)
{
    char range[128], condition[256];
    http_test_header(q, "Range", range, sizeof range);
    http_test_header(q, "If-Range", condition, sizeof condition);
    if (!a->ranges || strncmp(range, "bytes=", 6) != 0) return 0;
    if (condition[0] != '\0' && (a->etag == NULL || strcmp(condition, a->etag) != 0)) return 0;
    return (size_t)strtoull(range + 6, NULL, 10);
}

static bool send_head(int fd, const http_test_reply *a, int status, size_t first, size_t n)
{
    char head[4096];
    int used = snprintf(head, sizeof head, "HTTP/1.1 %d Test\r\nConnection: close\r\n%s", status, a->headers);
    if (a->etag != NULL) used += snprintf(head + used, sizeof head - (size_t)used, "ETag: %s\r\n", a->etag);
    if (status == 206)
        used += snprintf(head + used, sizeof head - (size_t)used, "Content-Range: bytes %ld-%zu/%zu\r\n",
                         (long)first + a->range_shift, a->n_bytes - 1, a->n_bytes);
    if (status == 416)
        used +=
            snprintf(head + used, sizeof head - (size_t)used, "Content-Range: bytes */%zu\r\n", a->n_bytes);
    if (a->chunked)
        used += snprintf(head + used, sizeof head - (size_t)used, "Transfer-Encoding: chunked\r\n");
    else
        used += snprintf(head + used, sizeof head - (size_t)used, "Content-Length: %ld\r\n",
                         (long)n + a->claim_more);
    used += snprintf(head + used, sizeof head - (size_t)used, "\r\n");
    return send_all(fd, head, (size_t)used);
}

static void answer(const http_test_server *s, int fd, const http_test_request *q, const http_test_reply *a)
{
    size_t first = wanted_first(q, a);
    int status = a->status;
    size_t n = a->n_bytes - (first < a->n_bytes ? first : a->n_bytes);
    if (first > 0 && status == 200) status = first < a->n_bytes ? 206 : 416;
    if (!send_head(fd, a, status, first, n) || strcmp(q->method, "HEAD") == 0) return;
    const size_t start = status == 206 && a->range_shift != 0 ? first + (size_t)a->range_shift : first;
    const size_t piece = a->piece_bytes > 0 ? a->piece_bytes : 16384;
    for (size_t done = 0; done < n && !atomic_load(&s->stopping);) {
        size_t k = n - done < piece ? n - done : piece;
        if (a->cut_after > 0 && done + k > a->cut_after) k = a->cut_after - done;
        pause_ms(s, a->delay_ms);
        char size[32];
        const size_t at = start + done;
        if (at + k > a->n_bytes) return;
        if (a->chunked && !send_all(fd, size, (size_t)snprintf(size, sizeof size, "%zx\r\n", k))) return;
        if (!send_all(fd, a->body + at, k) || (a->chunked && !send_all(fd, "\r\n", 2))) return;
        done += k;
        if (a->cut_after > 0 && done >= a->cut_after) return;
    }
    if (a->chunked) send_all(fd, "0\r\n\r\n", 5);
}

static void *serve(void *user)
{
    connection *c = user;
    http_test_server *s = c->server;
    http_test_request q = {.number = 0};
    http_test_reply a = {.status = 404};
    if (read_request(c->fd, &q)) {
        q.number = atomic_fetch_add(&s->n_requests, 1);
        s->handler(s->user, &q, &a);
        while (a.hang && !atomic_load(&s->stopping)) pause_ms(s, 50);
        if (!a.hang) answer(s, c->fd, &q, &a);
    }
    shutdown(c->fd, SHUT_WR);
    char rest[256]; /* so that closing sends no reset before the client has read everything */
    struct pollfd p = {c->fd, POLLIN, 0};
    while (!atomic_load(&s->stopping) && poll(&p, 1, 200) > 0 && recv(c->fd, rest, sizeof rest, 0) > 0)
        continue;
    close(c->fd);
    free(c);
    return NULL;
}

static void *accept_connections(void *user)
{
    http_test_server *s = user;
    while (!atomic_load(&s->stopping)) {
        struct pollfd p = {s->listener, POLLIN, 0};
        if (poll(&p, 1, 50) <= 0) continue;
        connection *c = malloc(sizeof *c);
        const int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (c == NULL || fd < 0 || s->n_threads == MAX_CONNECTIONS) {
            free(c);
            if (fd >= 0) close(fd);
            continue;
        }
        *c = (connection){s, fd};
        if (pthread_create(&s->threads[s->n_threads], NULL, serve, c) == 0) {
            s->n_threads++;
        } else {
            close(fd);
            free(c);
        }
    }
    return NULL;
}

http_test_server *http_test_server_start(http_test_handler *handler, void *user)
{
    http_test_server *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    s->handler = handler;
    s->user = user;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listener >= 0 && bind(s->listener, (struct sockaddr *)&address, size) == 0 &&
        listen(s->listener, 64) == 0 && getsockname(s->listener, (struct sockaddr *)&address, &size) == 0) {
        s->port = ntohs(address.sin_port);
        if (pthread_create(&s->acceptor, NULL, accept_connections, s) == 0) return s;
    }
    if (s->listener >= 0) close(s->listener);
    free(s);
    return NULL;
}

int http_test_server_port(const http_test_server *s)
{
    return s->port;
}
unsigned http_test_server_requests(http_test_server *s)
{
    return atomic_load(&s->n_requests);
}

void http_test_server_stop(http_test_server *s)
{
    if (s == NULL) return;
    atomic_store(&s->stopping, true);
    pthread_join(s->acceptor, NULL);
    for (size_t i = 0; i < s->n_threads; i++) pthread_join(s->threads[i], NULL);
    close(s->listener);
    free(s);
}
