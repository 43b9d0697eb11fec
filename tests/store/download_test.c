/* download_test.c: pulls over HTTP from a server that behaves badly in every way we could think of. */
#include "store_fixture.h"
#include "support/http_test_server.h"

#include <fcntl.h>
#include <pthread.h>
#include <strings.h>
#include <sys/file.h>

enum { N = 300000 };
static char body[N], other[N];
static char body_sha[QN_SHA256_HEX + 1];

typedef struct script {
    http_test_reply replies[16]; /* one a request; the last repeats */
    int n_replies;
    http_test_request requests[64];
    unsigned n_requests;
    pthread_mutex_t mutex;
} script;

static void play(void *user, const http_test_request *q, http_test_reply *a)
{
    script *s = user;
    pthread_mutex_lock(&s->mutex);
    if (s->n_requests < 64) s->requests[s->n_requests] = *q;
    const int i = s->n_requests < (unsigned)s->n_replies ? (int)s->n_requests : s->n_replies - 1;
    s->n_requests++;
    *a = s->replies[i];
    pthread_mutex_unlock(&s->mutex);
}

/* A good answer, with ranges and an ETag. */
static http_test_reply good(void)
{
    return (http_test_reply){.status = 200,
                             .body = body,
                             .n_bytes = N,
                             .ranges = true,
                             .etag = "\"v1\"",
                             .headers = "Content-Type: application/octet-stream\r\n"};
}

static http_test_reply cut(size_t after)
{
    http_test_reply a = good();
    a.cut_after = after;
    return a;
}

static http_test_reply status_only(int status)
{
    return (http_test_reply){.status = status, .body = "no", .n_bytes = 2};
}

typedef struct served {
    fixture *f;
    script *s;
    http_test_server *server;
    char url[128];
    const quern_store_entry *entry;
} served;

static served serve(void **state, const http_test_reply *replies, int n)
{
    served v = {.f = *state, .s = calloc(1, sizeof(script))};
    memcpy(v.s->replies, replies, (size_t)n * sizeof *replies);
    v.s->n_replies = n;
    pthread_mutex_init(&v.s->mutex, NULL);
    v.server = http_test_server_start(play, v.s);
    assert_non_null(v.server);
    snprintf(v.url, sizeof v.url, "http://127.0.0.1:%d/Model-A.Q4_0.gguf", http_test_server_port(v.server));
    return v;
}

/* So far: the server may still be writing. */
static unsigned n_requests(served *v)
{
    pthread_mutex_lock(&v->s->mutex);
    const unsigned n = v->s->n_requests;
    pthread_mutex_unlock(&v->s->mutex);
    return n;
}

static void stop(served *v)
{
    http_test_server_stop(v->server);
    pthread_mutex_destroy(&v->s->mutex);
    free(v->s);
}

static quern_status pull(served *v, const char *sha)
{
    quern_store_pull_params p = quern_store_pull_params_default();
    p.sha256 = sha;
    return quern_store_pull(v->f->store, v->url, &p, &v->entry, &v->f->err);
}

static void expect_pulled(served *v)
{
    char path[400];
    snprintf(path, sizeof path, "%s/model-a.q4_0/latest.gguf", v->f->root);
    assert_file(path, body, N);
    assert_string_equal(v->entry->path, path);
    assert_string_equal(v->entry->sha256, body_sha);
    snprintf(path, sizeof path, "%s/model-a.q4_0/.latest.part", v->f->root);
    assert_false(exists(path));
    snprintf(path, sizeof path, "%s/model-a.q4_0/.latest.part.json", v->f->root);
    assert_false(exists(path));
    const quern_store_entry *e;
    assert_int_equal(quern_store_resolve(v->f->store, "model-a.q4_0", &e, &v->f->err), QUERN_OK);
    assert_int_equal(quern_store_resolve(v->f->store, v->url, &e, &v->f->err), QUERN_OK);
    assert_int_equal(quern_store_verify(v->f->store, "model-a.q4_0", NULL, NULL, &v->f->err), QUERN_OK);
}

static void expect_nothing_visible(served *v)
{
    const quern_store_entry *const *entries;
    size_t n;
    assert_int_equal(quern_store_list(v->f->store, false, &entries, &n, NULL), QUERN_OK);
    assert_int_equal(n, 0);
}

static const char *request_header(served *v, unsigned i, const char *name)
{
    static char out[600];
    return http_test_header(&v->s->requests[i], name, out, sizeof out);
}

/* ---- behaviour that must end well ------------------------------------------------------------------ */

static void plain(void **state)
{
    served v = serve(state, (http_test_reply[]){good()}, 1);
    expect_status(v.f, pull(&v, NULL), QUERN_OK);
    expect_pulled(&v);
    expect_status(v.f, pull(&v, NULL), QUERN_OK); /* installed: nothing is asked */
    assert_int_equal(n_requests(&v), 1);
    assert_string_equal(request_header(&v, 0, "Accept-Encoding"), "identity");
    assert_string_equal(request_header(&v, 0, "Authorization"), "");
    const quern_store_entry *const *entries;
    size_t n;
    assert_int_equal(quern_store_list(v.f->store, false, &entries, &n, NULL), QUERN_OK);
    assert_int_equal(n, 1);
    assert_string_equal(entries[0]->name, "model-a.q4_0:latest");
    assert_string_equal(entries[0]->source, v.url);
    static const char elsewhere[] = "https://example.org/Model-A.Q4_0.gguf"; /* would have the same name */
    expect_status(v.f, quern_store_resolve(v.f->store, elsewhere, &v.entry, &v.f->err), QUERN_ERR_NOT_FOUND);
    expect_status(v.f, quern_store_remove(v.f->store, elsewhere, &v.f->err), QUERN_ERR_NOT_FOUND);
    expect_status(v.f, quern_store_pull(v.f->store, elsewhere, NULL, NULL, &v.f->err), QUERN_ERR_ARGUMENT);
    expect_message(v.f, "another name");
    assert_int_equal(quern_store_remove(v.f->store, "model-a.q4_0", &v.f->err), QUERN_OK);
    expect_nothing_visible(&v);
    expect_status(v.f, quern_store_remove(v.f->store, "model-a.q4_0", &v.f->err), QUERN_ERR_NOT_FOUND);
    stop(&v);
}

static void named(void **state)
{
    served v = serve(state, (http_test_reply[]){good()}, 1);
    quern_store_pull_params p = quern_store_pull_params_default();
    p.as_name = "mine:v1";
    expect_status(v.f, quern_store_pull(v.f->store, v.url, &p, &v.entry, &v.f->err), QUERN_OK);
    assert_string_equal(v.entry->name, "mine:v1");
    expect_status(v.f, quern_store_resolve(v.f->store, "mine:v1", &v.entry, &v.f->err), QUERN_OK);
    static const char *const bad[] = {"",   "../x",    "a/b",          "a:b:c", ".x",
                                      "-x", "smollm2", "smollm2:135m", "a b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        p.as_name = bad[i];
        expect_status(v.f, quern_store_pull(v.f->store, v.url, &p, &v.entry, &v.f->err), QUERN_ERR_ARGUMENT);
    }
    p.as_name = NULL;
    p.sha256 = "abc";
    expect_status(v.f, quern_store_pull(v.f->store, v.url, &p, &v.entry, &v.f->err), QUERN_ERR_ARGUMENT);
    stop(&v);
}

static void cuts(void **state)
{
    served v =
        serve(state, (http_test_reply[]){cut(1), cut(99999), cut(16384), cut(50000), cut(1), good()}, 6);
    expect_status(v.f, pull(&v, body_sha), QUERN_OK);
    expect_pulled(&v);
    assert_int_equal(n_requests(&v), 6);
    assert_string_equal(request_header(&v, 2, "Range"), "bytes=100000-");
    assert_string_equal(request_header(&v, 2, "If-Range"), "\"v1\"");
    stop(&v);
}

/* A pull that gave up is continued by the next one, in another process as it were. */
static void continued_later(void **state)
{
    served v = serve(state, (http_test_reply[]){cut(200000), status_only(404), good()}, 3);
    expect_status(v.f, pull(&v, NULL), QUERN_ERR_NOT_FOUND);
    expect_nothing_visible(&v);
    fixture_reopen(v.f);
    expect_status(v.f, pull(&v, NULL), QUERN_OK);
    expect_pulled(&v);
    assert_string_equal(request_header(&v, 2, "Range"), "bytes=200000-");
    assert_string_equal(request_header(&v, 2, "If-Range"), "\"v1\"");
    stop(&v);
}

/* Who does not want to go on can be rid of what is there. */
static void given_up(void **state)
{
    served v = serve(state, (http_test_reply[]){cut(200000), status_only(404)}, 2);
    char path[400];
    snprintf(path, sizeof path, "%s/model-a.q4_0", v.f->root);
    expect_status(v.f, pull(&v, NULL), QUERN_ERR_NOT_FOUND);
    assert_true(exists(path));
    expect_status(v.f, quern_store_remove(v.f->store, "model-a.q4_0", &v.f->err), QUERN_OK);
    assert_false(exists(path));
    expect_status(v.f, quern_store_remove(v.f->store, "model-a.q4_0", &v.f->err), QUERN_ERR_NOT_FOUND);
    stop(&v);
}

/* The file was replaced on the server meanwhile: everything is fetched again. */
static void changed_meanwhile(void **state)
{
    http_test_reply first = cut(200000);
    first.body = other;
    first.etag = "\"v0\"";
    served v = serve(state, (http_test_reply[]){first, status_only(404), good()}, 3);
    expect_status(v.f, pull(&v, NULL), QUERN_ERR_NOT_FOUND);
    expect_status(v.f, pull(&v, NULL), QUERN_OK);
    expect_pulled(&v);
    stop(&v);
}

/* What an earlier pull left is rotten: noticed at the end, and fetched once more from the start. */
static void rotten_part(void **state)
{
    served v = serve(state, (http_test_reply[]){cut(200000), status_only(404), good()}, 3);
    expect_status(v.f, pull(&v, body_sha), QUERN_ERR_NOT_FOUND);
    char path[400];
    snprintf(path, sizeof path, "%s/model-a.q4_0/.latest.part", v.f->root);
    const int fd = open(path, O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, "XXXX", 4, 1000) == 4);
    close(fd);
    expect_status(v.f, pull(&v, body_sha), QUERN_OK);
    expect_pulled(&v);
    assert_int_equal(n_requests(&v), 4);
    assert_string_equal(request_header(&v, 3, "Range"), "");
    stop(&v);
}

static void ignores_ranges(void **state)
{
    http_test_reply a = cut(150000), b = good();
    a.ranges = b.ranges = false;
    served v = serve(state, (http_test_reply[]){a, a, b}, 3);
    expect_status(v.f, pull(&v, body_sha), QUERN_OK);
    expect_pulled(&v);
    stop(&v);
}

static void misreads_ranges(void **state)
{
    http_test_reply shifted = good();
    shifted.range_shift = -7;
    served v = serve(state, (http_test_reply[]){cut(150000), shifted, good()}, 3);
    expect_status(v.f, pull(&v, body_sha), QUERN_OK);
    expect_pulled(&v);
    assert_string_equal(request_header(&v, 2, "Range"), ""); /* not trusted with one again */
    stop(&v);
}

static void without_length(void **state)
{
    http_test_reply a = good();
    a.chunked = true;
    served v = serve(state, (http_test_reply[]){a}, 1);
    expect_status(v.f, pull(&v, NULL), QUERN_OK);
    expect_pulled(&v);
    stop(&v);
}

static void busy_server(void **state)
{
    http_test_reply later = status_only(503);
    strcpy(later.headers, "Retry-After: 0\r\n");
    served v = serve(state, (http_test_reply[]){status_only(500), status_only(429), later, good()}, 4);
    expect_status(v.f, pull(&v, NULL), QUERN_OK);
    expect_pulled(&v);
    stop(&v);
}

static void redirects(void **state)
{
    http_test_reply away = status_only(302);
    served v = serve(state, (http_test_reply[]){good()}, 1);
    snprintf(away.headers, sizeof away.headers, "Location: /elsewhere/x.gguf\r\n");
    v.s->replies[0] = away;
    v.s->replies[1] = good();
    v.s->n_replies = 2;
    expect_status(v.f, pull(&v, NULL), QUERN_OK);
    expect_pulled(&v);
    assert_string_equal(v.s->requests[1].path, "/elsewhere/x.gguf");
    stop(&v);
}

static void empty_range_when_complete(void **state)
{
    /* all bytes came, but the connection was to tell more: the rest is asked for, and there is none */
    http_test_reply lie = good();
    lie.claim_more = 500;
    served v = serve(state, (http_test_reply[]){lie, good(), good(), good()}, 4);
    expect_status(v.f, pull(&v, body_sha), QUERN_OK);
    expect_pulled(&v);
    stop(&v);
}

/* ---- behaviour that must end with one clear error ----------------------------------------------------- */

static void refused(void **state)
{
    static const struct {
        int status;
        quern_status wanted;
        const char *part;
        unsigned n_requests;
    } rows[] = {{404, QUERN_ERR_NOT_FOUND, "404", 1}, {410, QUERN_ERR_NOT_FOUND, "410", 1},
                {401, QUERN_ERR_NETWORK, "login", 1}, {403, QUERN_ERR_NETWORK, "403", 1},
                {500, QUERN_ERR_NETWORK, "500", 4},   {429, QUERN_ERR_NETWORK, "429", 4},
                {418, QUERN_ERR_NETWORK, "418", 1},   {204, QUERN_ERR_NETWORK, "204", 1},
                {302, QUERN_ERR_NETWORK, "302", 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        served v = serve(state, (http_test_reply[]){status_only(rows[i].status)}, 1);
        expect_status(v.f, pull(&v, NULL), rows[i].wanted);
        expect_message(v.f, rows[i].part);
        assert_int_equal(n_requests(&v), rows[i].n_requests);
        expect_nothing_visible(&v);
        stop(&v);
    }
}

static void wait_too_long(void **state)
{
    http_test_reply later = status_only(429);
    strcpy(later.headers, "Retry-After: 86400\r\n");
    served v = serve(state, (http_test_reply[]){later}, 1);
    expect_status(v.f, pull(&v, NULL), QUERN_ERR_NETWORK);
    assert_int_equal(n_requests(&v), 1);
    stop(&v);
}

static void wrong_hash(void **state)
{
    http_test_reply a = good();
    a.body = other;
    served v = serve(state, (http_test_reply[]){a}, 1);
    expect_status(v.f, pull(&v, body_sha), QUERN_ERR_CHECKSUM);
    expect_message(v.f, body_sha);
    expect_message(v.f, "set aside as");
    expect_nothing_visible(&v);
    char path[400];
    snprintf(path, sizeof path, "%s/model-a.q4_0/.latest.bad", v.f->root);
    assert_file(path, other, N);
    v.s->replies[0] = good(); /* and the next pull is not misled by it */
    expect_status(v.f, pull(&v, body_sha), QUERN_OK);
    expect_pulled(&v);
    assert_int_equal(quern_store_remove(v.f->store, "model-a.q4_0", &v.f->err), QUERN_OK);
    assert_false(exists(path));
    stop(&v);
}

static void wrong_length(void **state)
{
    served v = serve(state, (http_test_reply[]){good()}, 1);
    char json[600];
    snprintf(json, sizeof json,
             "{\"version\":1,\"models\":[{\"name\":\"x\",\"tags\":[\"latest\"],\"source\":\"%s\",\"size_"
             "bytes\":%d,\"sha256\":\"%s\"}]}",
             v.url, N + 1, body_sha);
    set_catalogue(v.f, json);
    expect_status(v.f, quern_store_pull(v.f->store, "x", NULL, NULL, &v.f->err), QUERN_ERR_CHECKSUM);
    expect_message(v.f, "offers 300000 bytes, expected 300001");
    v.s->replies[0].chunked = true; /* tells no length: noticed at the end */
    expect_status(v.f, quern_store_pull(v.f->store, "x", NULL, NULL, &v.f->err), QUERN_ERR_CHECKSUM);
    snprintf(json, sizeof json,
             "{\"version\":1,\"models\":[{\"name\":\"x\",\"tags\":[\"latest\"],\"source\":\"%s\",\"size_"
             "bytes\":%d}]}",
             v.url, N - 1);
    set_catalogue(v.f, json);
    expect_status(v.f, quern_store_pull(v.f->store, "x", NULL, NULL, &v.f->err),
                  QUERN_ERR_FORMAT); /* more than expected */
    expect_nothing_visible(&v);
    stop(&v);
}

static void web_page(void **state)
{
    http_test_reply a = good();
    strcpy(a.headers, "Content-Type: text/html; charset=utf-8\r\n");
    served v = serve(state, (http_test_reply[]){a}, 1);
    expect_status(v.f, pull(&v, NULL), QUERN_ERR_NETWORK);
    expect_message(v.f, "web page");
    strcpy(v.s->replies[0].headers, "Content-Encoding: gzip\r\n");
    expect_status(v.f, pull(&v, NULL), QUERN_ERR_NETWORK);
    expect_message(v.f, "compressed");
    expect_nothing_visible(&v);
    stop(&v);
}

static void endless_redirects(void **state)
{
    http_test_reply a = status_only(301);
    strcpy(a.headers, "Location: /again.gguf\r\n");
    served v = serve(state, (http_test_reply[]){a}, 1);
    expect_status(v.f, pull(&v, NULL), QUERN_ERR_NETWORK);
    expect_message(v.f, "redirects");
    assert_true(n_requests(&v) <= 12);
    strcpy(v.s->replies[0].headers, "Location: file:///etc/passwd\r\n");
    expect_status(v.f, pull(&v, NULL), QUERN_ERR_NETWORK);
    strcpy(v.s->replies[0].headers, "Location: ftp://127.0.0.1/x\r\n");
    expect_status(v.f, pull(&v, NULL), QUERN_ERR_NETWORK);
    stop(&v);
}

static void silent_server(void **state)
{
    http_test_reply a = good();
    a.hang = true;
    served v = serve(state, (http_test_reply[]){a}, 1);
    v.f->store->network.stall_timeout_s = 1;
    v.f->store->network.max_attempts = 2;
    expect_status(v.f, pull(&v, NULL), QUERN_ERR_NETWORK);
    assert_int_equal(n_requests(&v), 2);
    stop(&v);
}

static void nobody_there(void **state)
{
    served v = serve(state, (http_test_reply[]){good()}, 1);
    stop(&v);
    v.f->store->network.max_attempts = 2;
    expect_status(v.f, quern_store_pull(v.f->store, v.url, NULL, NULL, &v.f->err), QUERN_ERR_NETWORK);
}

static void empty_body(void **state)
{
    http_test_reply a = good();
    a.n_bytes = 0;
    served v = serve(state, (http_test_reply[]){a}, 1);
    expect_status(v.f, pull(&v, NULL), QUERN_ERR_FORMAT);
    expect_message(v.f, "empty");
    expect_nothing_visible(&v);
    stop(&v);
}

static void offline(void **state)
{
    served v = serve(state, (http_test_reply[]){good()}, 1);
    setenv("QUERN_OFFLINE", "1", 1);
    fixture_reopen(v.f);
    expect_status(v.f, pull(&v, NULL), QUERN_ERR_NETWORK);
    expect_message(v.f, "offline");
    assert_int_equal(n_requests(&v), 0);
    unsetenv("QUERN_OFFLINE");
    stop(&v);
}

static uint64_t space;
static uint64_t little_space(const char *dir)
{
    (void)dir;
    return space;
}

static void disk_space(void **state)
{
    space = (16 << 20) + N - 1; /* one byte less than is needed, beside what is kept free */
    served v = serve(state, (http_test_reply[]){good()}, 1);
    v.f->store->free_bytes = little_space;
    expect_status(v.f, pull(&v, NULL), QUERN_ERR_LIMIT);
    expect_message(v.f, "needs 300000 more bytes");
    expect_nothing_visible(&v);
    space++;
    expect_status(v.f, pull(&v, NULL), QUERN_OK);
    expect_pulled(&v);
    stop(&v);
}

/* ---- cancel, and what is told meanwhile -----------------------------------------------------------------
 */

typedef struct listener {
    uint64_t cancel_at, last_done;
    int n_calls;
    bool saw_download, sane;
} listener;

static bool listen_progress(void *user, const quern_store_progress *p)
{
    listener *l = user;
    l->n_calls++;
    if (p->phase == QUERN_STORE_DOWNLOADING) l->saw_download = true;
    if (p->total_bytes > 0 && p->done_bytes > p->total_bytes) l->sane = false;
    if (p->file == NULL || p->bytes_per_second < 0) l->sane = false;
    l->last_done = p->done_bytes;
    return l->cancel_at == 0 || p->done_bytes < l->cancel_at;
}

static void cancel(void **state)
{
    http_test_reply slow = good();
    slow.delay_ms = 40;
    slow.piece_bytes = 10000;
    served v = serve(state, (http_test_reply[]){slow, good()}, 2);
    listener l = {.cancel_at = 50000, .sane = true};
    quern_store_pull_params p = quern_store_pull_params_default();
    p.progress = listen_progress;
    p.progress_user = &l;
    expect_status(v.f, quern_store_pull(v.f->store, v.url, &p, &v.entry, &v.f->err), QUERN_ERR_CANCELED);
    expect_nothing_visible(&v);
    l.cancel_at = 0;
    expect_status(v.f, quern_store_pull(v.f->store, v.url, &p, &v.entry, &v.f->err), QUERN_OK);
    expect_pulled(&v);
    assert_true(l.sane && l.saw_download && l.last_done == N);
    assert_string_not_equal(request_header(&v, 1, "Range"), "");
    stop(&v);
}

static bool cancel_waiting(void *user, const quern_store_progress *p)
{
    int *n = user;
    if (p->phase == QUERN_STORE_WAITING) ++*n;
    return *n < 3;
}

static void locked(void **state)
{
    served v = serve(state, (http_test_reply[]){good()}, 1);
    expect_status(v.f, pull(&v, NULL), QUERN_OK);
    char path[400];
    snprintf(path, sizeof path, "%s/.locks/model-a.q4_0@latest.lock", v.f->root);
    const int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
    expect_status(v.f, quern_store_remove(v.f->store, "model-a.q4_0", &v.f->err), QUERN_ERR_BUSY);
    int n = 0;
    quern_store_pull_params p = quern_store_pull_params_default();
    p.progress = cancel_waiting;
    p.progress_user = &n;
    p.again = true;
    expect_status(v.f, quern_store_pull(v.f->store, v.url, &p, NULL, &v.f->err), QUERN_ERR_CANCELED);
    assert_int_equal(n, 3);
    close(fd);
    expect_status(v.f, quern_store_remove(v.f->store, "model-a.q4_0", &v.f->err), QUERN_OK);
    stop(&v);
}

/* ---- files of this machine, files put there by hand, damage
 * ------------------------------------------------ */

static void local_files(void **state)
{
    fixture *f = *state;
    char path[400], text[440];
    const quern_store_entry *e;
    snprintf(path, sizeof path, "%s/My-Model.gguf", f->dir);
    write_file(path, body, N);
    expect_status(f, quern_store_resolve(f->store, path, &e, &f->err), QUERN_OK);
    assert_string_equal(e->path, path);
    expect_status(f, quern_store_pull(f->store, path, NULL, &e, &f->err), QUERN_OK);
    assert_string_equal(e->name, "my-model:latest");
    assert_file(e->path, body, N);
    snprintf(text, sizeof text, "file:%s", path);
    expect_status(f, quern_store_resolve(f->store, text, &e, &f->err), QUERN_OK);
    expect_status(f, quern_store_resolve(f->store, "my-model", &e, &f->err), QUERN_OK);
    assert_string_equal(e->sha256, body_sha);
    expect_status(f, quern_store_remove(f->store, path, &f->err),
                  QUERN_ERR_ARGUMENT); /* a path is never deleted */
    assert_true(exists(path));

    snprintf(text, sizeof text, "%s/my-model/latest.gguf", f->root); /* cut short by somebody */
    assert_int_equal(truncate(text, 1000), 0);
    expect_status(f, quern_store_resolve(f->store, "my-model", &e, &f->err), QUERN_ERR_FORMAT);
    expect_message(f, "damaged");
    expect_status(f, quern_store_pull(f->store, path, NULL, &e, &f->err), QUERN_OK);
    char byte = (char)(body[5] ^ 1); /* one bit, the size unchanged */
    const int fd = open(text, O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, &byte, 1, 5) == 1);
    close(fd);
    expect_status(f, quern_store_verify(f->store, "my-model", NULL, NULL, &f->err), QUERN_ERR_CHECKSUM);

    snprintf(path, sizeof path, "%s/By.Hand-Q8_0.gguf", f->root);
    write_file(path, other, 100);
    expect_status(f, quern_store_resolve(f->store, "By.Hand-Q8_0", &e, &f->err), QUERN_OK);
    assert_string_equal(e->path, path);
    assert_null(e->source);
    expect_status(f, quern_store_verify(f->store, "By.Hand-Q8_0", NULL, NULL, &f->err),
                  QUERN_ERR_UNSUPPORTED);
    expect_status(f, quern_store_remove(f->store, "By.Hand-Q8_0", &f->err), QUERN_OK);
    assert_false(exists(path));

    expect_status(f, quern_store_resolve(f->store, f->dir, &e, &f->err), QUERN_ERR_IO);
    expect_status(f, quern_store_resolve(f->store, "./nothing.gguf", &e, &f->err), QUERN_ERR_NOT_FOUND);
    expect_status(f, quern_store_pull(f->store, "file:/nothing/here.gguf", NULL, &e, &f->err),
                  QUERN_ERR_NOT_FOUND);
    snprintf(text, sizeof text, "file:%s", f->dir);
    expect_status(f, quern_store_pull(f->store, text, NULL, &e, &f->err), QUERN_ERR_IO);
    expect_status(f,
                  quern_store_pull(f->store, "https://example.org/m-00001-of-00003.gguf", NULL, &e, &f->err),
                  QUERN_ERR_UNSUPPORTED);
}

/* Links that somebody put into the store do not lead the writing elsewhere. */
static void links(void **state)
{
    fixture *f = *state;
    char path[400], victim[400];
    snprintf(victim, sizeof victim, "%s/victim", f->dir);
    snprintf(path, sizeof path, "%s/My-Model.gguf", f->dir);
    write_file(path, body, N);
    mkdir(f->root, 0755);
    snprintf(path, sizeof path, "%s/my-model", f->root);
    mkdir(victim, 0755);
    assert_int_equal(symlink(victim, path), 0);
    snprintf(path, sizeof path, "%s/My-Model.gguf", f->dir);
    expect_status(f, quern_store_pull(f->store, path, NULL, NULL, &f->err), QUERN_ERR_IO);
    char inside[420];
    snprintf(inside, sizeof inside, "%s/latest.gguf", victim);
    assert_false(exists(inside));
    snprintf(inside, sizeof inside, "%s/my-model", f->root);
    assert_int_equal(unlink(inside), 0);
    assert_int_equal(mkdir(inside, 0755), 0);
    snprintf(inside, sizeof inside, "%s/my-model/.latest.part", f->root);
    snprintf(victim, sizeof victim, "%s/victim.txt", f->dir);
    write_file(victim, "precious", 8);
    assert_int_equal(symlink(victim, inside), 0);
    expect_status(f, quern_store_pull(f->store, path, NULL, NULL, &f->err), QUERN_ERR_IO);
    assert_file(victim, "precious", 8);
}

static void no_directory(void **state)
{
    fixture *f = *state;
    char path[400];
    snprintf(path, sizeof path, "%s/in-the-way", f->dir);
    write_file(path, "x", 1);
    setenv("QUERN_MODELS", path, 1);
    fixture_reopen(f);
    const quern_store_entry *const *entries;
    size_t n;
    expect_status(f, quern_store_list(f->store, false, &entries, &n, &f->err), QUERN_OK);
    snprintf(path, sizeof path, "%s/A.gguf", f->dir);
    write_file(path, body, 10);
    expect_status(f, quern_store_pull(f->store, path, NULL, NULL, &f->err), QUERN_ERR_IO);
    expect_message(f, "QUERN_MODELS");
}

static void no_memory(void **state)
{
    served v = serve(state, (http_test_reply[]){good()}, 1);
    for (long k = 0;; k++) {
        const quern_store_entry *const *entries;
        size_t n;
        assert_int_equal(quern_store_list(v.f->store, false, &entries, &n, &v.f->err),
                         QUERN_OK); /* forgets the last result */
        if (n > 0) assert_int_equal(quern_store_remove(v.f->store, "model-a.q4_0", &v.f->err), QUERN_OK);
        qn_alloc_fail_at(k);
        const quern_status s = pull(&v, body_sha);
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        if (!failed) {
            assert_int_equal(s, QUERN_OK);
            assert_true(k > 2);
            break;
        }
        if (s != QUERN_ERR_NOMEM && s != QUERN_OK)
            print_error("allocation %ld: status %d %s\n", k, s, v.f->err.message);
        assert_true(s == QUERN_ERR_NOMEM || s == QUERN_OK); /* a note that could not be read counts as none */
    }
    expect_pulled(&v);
    stop(&v);
}

int main(void)
{
    make_bytes(body, N, 1);
    make_bytes(other, N, 2);
    char unused[QN_SHA256_HEX + 1];
    qn_sha256 *h = NULL;
    if (qn_sha256_create(&h, NULL) != QUERN_OK) {
        print_message("skipped: built without libcrypto\n");
        return 77;
    }
    qn_sha256_destroy(h);
    sha256_of(body, N, body_sha);
    sha256_of(other, N, unused);
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {T(plain),
                                       T(named),
                                       T(cuts),
                                       T(continued_later),
                                       T(given_up),
                                       T(changed_meanwhile),
                                       T(rotten_part),
                                       T(ignores_ranges),
                                       T(misreads_ranges),
                                       T(without_length),
                                       T(busy_server),
                                       T(redirects),
                                       T(empty_range_when_complete),
                                       T(refused),
                                       T(wait_too_long),
                                       T(wrong_hash),
                                       T(wrong_length),
                                       T(web_page),
                                       T(endless_redirects),
                                       T(silent_server),
                                       T(nobody_there),
                                       T(empty_body),
                                       T(offline),
                                       T(disk_space),
                                       T(cancel),
                                       T(locked),
                                       T(local_files),
                                       T(links),
                                       T(no_directory),
                                       T(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
