/* serve_util.h: a server with a tiny model in this process, and a client that writes any bytes. */
#ifndef QN_TESTS_SERVE_UTIL_H
#define QN_TESTS_SERVE_UTIL_H

#include "quern.h"
#include "serve/server.h"

#include <jansson.h>

typedef struct test_server {
    quern_model *model;
    quern_engine *engine;
    qn_server *server;
    uint16_t port;
} test_server;

/* Its model is "tiny". NULL: default limits. */
void test_server_open(test_server *t, const qn_server_limits *limits);
void test_server_close(test_server *t);

/* ---- a client ---- */

int client_connect(const test_server *t);
/* All of it; false: the other side has closed. */
bool client_send(int fd, const char *bytes, size_t n_bytes);
/* One reply: the status, and what stands in it; 0: the connection was closed without one. */
typedef struct client_reply {
    int status;
    char *head; /* the lines before the body; owned by the reply */
    char *body; /* without the framing of chunks; NUL-terminated */
    size_t n_body;
} client_reply;
client_reply client_receive(int fd);
void client_reply_free(client_reply *r);

/* A request on a connection of its own. json: the body, or NULL. */
client_reply client_ask(const test_server *t, const char *method, const char *path, const char *json);
/* The same from bytes as they stand. */
client_reply client_ask_raw(const test_server *t, const char *bytes, size_t n_bytes);
/* The body as JSON; fails the test where it is none. */
json_t *client_json(const client_reply *r);

#endif
