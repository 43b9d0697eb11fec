/* http_test_server.h: an HTTP/1.1 server for tests, on the loopback interface only, that can misbehave:
 * cut connections, lie about lengths, ignore or misread ranges, be slow, redirect, refuse. The handler
 * decides for each request. A thread a connection, one request a connection. */
#ifndef QN_TESTS_HTTP_TEST_SERVER_H
#define QN_TESTS_HTTP_TEST_SERVER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct http_test_request {
    char method[8], path[1024], headers[8192]; /* path with its query; headers as received */
    unsigned number;                           /* of requests to this server before this one */
} http_test_request;

typedef struct http_test_reply {
    int status;         /* 200 becomes 206 when a range is served */
    char headers[2048]; /* more header lines, each with \r\n */
    const char *body;   /* the whole document */
    size_t n_bytes;
    bool ranges;        /* serve Range: bytes=N- (with If-Range against etag) */
    const char *etag;   /* with quotes; NULL: none */
    bool chunked;       /* no Content-Length */
    long claim_more;    /* added to the true Content-Length */
    long range_shift;   /* added to the first byte told in Content-Range, and to what is sent */
    size_t cut_after;   /* ends the connection after so many bytes of the body; 0: never */
    int delay_ms;       /* before each piece */
    size_t piece_bytes; /* 0: 16384 */
    bool hang;          /* answers nothing until the server stops */
} http_test_reply;

typedef void http_test_handler(void *user, const http_test_request *request, http_test_reply *reply);
typedef struct http_test_server http_test_server;

http_test_server *http_test_server_start(http_test_handler *handler, void *user); /* NULL: cannot */
int http_test_server_port(const http_test_server *s);
unsigned http_test_server_requests(http_test_server *s);
void http_test_server_stop(http_test_server *s);

/* The value of a header of a request, or "" ; `out` holds it. */
const char *http_test_header(const http_test_request *request, const char *name, char *out, size_t out_size);

#endif
