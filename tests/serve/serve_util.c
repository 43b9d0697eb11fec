/* serve_util.c: see serve_util.h. */
#include "serve_util.h"

#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "base/buffer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

void test_server_open(test_server *t, const qn_server_limits *limits)
{
    char path[64];
    quern_error err;
    quern_engine_model_params p = quern_engine_model_params_default();
    quern_engine_params ep = quern_engine_params_default();
    p.n_ctx = 512, p.n_parallel = 4;
    ep.n_threads = 2;
    snprintf(path, sizeof path, "/tmp/quern-serve-%d.gguf", (int)getpid());
    assert_true(tiny_model_write(path, &(tiny_model){.seed = 7}));
    assert_int_equal(quern_model_open(&t->model, path, NULL, &err), QUERN_OK);
    unlink(path);
    assert_int_equal(quern_engine_create(&t->engine, &ep, &err), QUERN_OK);
    assert_int_equal(quern_engine_add_model(t->engine, "tiny", t->model, &p, &err), QUERN_OK);
    const qn_server_params params = {.engine = t->engine,
                                     .limits = limits != NULL ? *limits : qn_server_limits_default()};
    assert_int_equal(qn_server_create(&t->server, &params, &err), QUERN_OK);
    t->port = qn_server_port(t->server);
}

void test_server_close(test_server *t)
{
    qn_server_destroy(t->server, 5);
    quern_engine_destroy(t->engine);
    quern_model_close(t->model);
}

/* ---- a client ----------------------------------------------------------------------------------- */

int client_connect(const test_server *t)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(t->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const struct timeval patience = {.tv_sec = 60};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

bool client_send(int fd, const char *bytes, size_t n_bytes)
{
    while (n_bytes > 0) {
        const ssize_t n = send(fd, bytes, n_bytes, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes += n;
        n_bytes -= (size_t)n;
    }
    return true;
}

/* Reads on until the buffer has so many bytes. False: that is not to come. */
static bool read_until(int fd, qn_buffer *b, size_t n_bytes)
{
    while (b->n_bytes < n_bytes) {
        char piece[4096];
        const size_t wanted = n_bytes - b->n_bytes;
        const ssize_t n = recv(fd, piece, wanted < sizeof piece ? wanted : sizeof piece, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        qn_buffer_append(b, piece, (size_t)n);
    }
    return true;
}

/* A line with its end, at the end of the buffer. */
static bool read_line(int fd, qn_buffer *b)
{
    do {
        if (!read_until(fd, b, b->n_bytes + 1)) return false;
    } while (b->data[b->n_bytes - 1] != '\n');
    return true;
}

static const char *find_header(const char *head, const char *name)
{
    const size_t n = strlen(name);
    for (const char *line = strchr(head, '\n'); line != NULL; line = strchr(line + 1, '\n'))
        if (strncasecmp(line + 1, name, n) == 0 && line[1 + n] == ':') return line + 2 + n;
    return NULL;
}

static void read_chunks(int fd, qn_buffer *body)
{
    for (;;) {
        qn_buffer line = {0};
        const bool ok = read_line(fd, &line);
        const size_t n = ok ? strtoul(line.data, NULL, 16) : 0;
        qn_buffer_deinit(&line);
        if (n > 0 && !read_until(fd, body, body->n_bytes + n)) return;
        qn_buffer end = {0};
        if (!ok || !read_line(fd, &end)) {
            qn_buffer_deinit(&end);
            return;
        }
        qn_buffer_deinit(&end);
        if (n == 0) return;
    }
}

client_reply client_receive(int fd)
{
    client_reply r = {0};
    qn_buffer head = {0}, body = {0};
    bool ok;
    while ((ok = read_line(fd, &head)) &&
           (head.n_bytes < 4 || strcmp(head.data + head.n_bytes - 4, "\r\n\r\n") != 0))
        continue;
    if (ok && sscanf(head.data, "HTTP/1.1 %d", &r.status) == 1) {
        const char *length = find_header(head.data, "Content-Length"),
                   *coding = find_header(head.data, "Transfer-Encoding");
        if (coding != NULL) read_chunks(fd, &body);
        else if (length != NULL) read_until(fd, &body, strtoul(length, NULL, 10));
    }
    qn_buffer_puts(&body, ""), qn_buffer_puts(&head, "");
    r.n_body = body.n_bytes;
    r.head = qn_buffer_take(&head, NULL);
    r.body = qn_buffer_take(&body, NULL);
    return r;
}

void client_reply_free(client_reply *r)
{
    quern_free(r->head), quern_free(r->body);
    *r = (client_reply){0};
}

client_reply client_ask_raw(const test_server *t, const char *bytes, size_t n_bytes)
{
    const int fd = client_connect(t);
    client_send(fd, bytes, n_bytes);
    client_reply r = client_receive(fd);
    close(fd);
    return r;
}

client_reply client_ask(const test_server *t, const char *method, const char *path, const char *json)
{
    qn_buffer request = {0};
    qn_buffer_printf(&request, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, path);
    if (json != NULL)
        qn_buffer_printf(&request, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                         strlen(json), json);
    else qn_buffer_puts(&request, "\r\n");
    client_reply r = client_ask_raw(t, request.data, request.n_bytes);
    qn_buffer_deinit(&request);
    return r;
}

json_t *client_json(const client_reply *r)
{
    json_error_t where;
    json_t *value = json_loads(r->body, JSON_REJECT_DUPLICATES, &where);
    if (value == NULL) fail_msg("no JSON (%s): %s", where.text, r->body);
    return value;
}
