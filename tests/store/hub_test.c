/* hub_test.c: the Hugging Face hub played by a local server, and its cache as other programs lay it out. */
#include "store_fixture.h"
#include "support/http_test_server.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>

enum { N = 200000, N_SMALL = 3000 };
#define COMMIT  "0123456789abcdef0123456789abcdef01234567"
#define COMMIT2 "fedcba9876543210fedcba9876543210fedcba98"

static char body[N], small[N_SMALL];
static char body_sha[QN_SHA256_HEX + 1], small_sha[QN_SHA256_HEX + 1];

/* One repository "o/r"; the bytes come from /cdn/ under another host name. */
typedef struct hub {
    int port;
    const char *token_wanted;  /* NULL: open to all */
    const char *etag, *commit; /* NULL: the right ones */
    const char *cdn_body;      /* NULL: the right one */
    size_t cut_first;          /* the first answer of the cdn ends here */
    bool no_such_repo, two_pages;
    unsigned n_cdn, n_head, n_leaked, n_token;
    pthread_mutex_t mutex;
} hub;

typedef struct served {
    fixture *f;
    hub h;
    http_test_server *server;
    const quern_store_entry *entry;
} served;

static const struct {
    const char *path;
    bool big;
} FILES[] = {{"m-Q4_K_M.gguf", true},
             {"m-Q8_0-00001-of-00003.gguf", true},
             {"m-Q8_0-00002-of-00003.gguf", false},
             {"m-Q8_0-00003-of-00003.gguf", false},
             {"sub/dir/m-Q2_K.gguf", false},
             {"mmproj-m-f16.gguf", false}};

static void api(hub *h, const http_test_request *q, http_test_reply *a)
{
    static const char page1[] =
        "[{\"type\":\"file\",\"path\":\"README.md\",\"size\":1},{\"type\":\"directory\",\"path\":\"sub\"},"
        "{\"type\":\"file\",\"path\":\"../../../etc/"
        "x-Q3_K.gguf\"},{\"type\":\"file\",\"path\":\"mmproj-m-f16.gguf\"},"
        "{\"type\":\"file\",\"path\":7},{},3,{\"type\":\"file\",\"path\":\"m-Q8_0-00001-of-00003.gguf\"}]";
    static const char page2[] = "[{\"type\":\"file\",\"path\":\"m-Q8_0-00002-of-00003.gguf\"},{\"type\":"
                                "\"file\",\"path\":\"m-Q8_0-00003-of-00003.gguf\"},"
                                "{\"type\":\"file\",\"path\":\"m-Q4_K_M.gguf\"},{\"type\":\"file\",\"path\":"
                                "\"sub/dir/m-Q2_K.gguf\"}]";
    const bool second = strstr(q->path, "cursor=2") != NULL || !h->two_pages;
    a->status = 200;
    a->body = second ? page2 : page1;
    a->n_bytes = strlen(a->body);
    if (!second)
        snprintf(a->headers, sizeof a->headers,
                 "Link: <http://127.0.0.1:%d/api/models/o/r/tree/main?cursor=2>; rel=\"next\"\r\n", h->port);
}

static void resolve(hub *h, const char *file, http_test_reply *a)
{
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        if (strcmp(FILES[i].path, file) != 0) continue;
        a->status = 302;
        snprintf(a->headers, sizeof a->headers,
                 "X-Repo-Commit: %s\r\nX-Linked-ETag: \"%s\"\r\nX-Linked-Size: %d\r\nLocation: "
                 "http://localhost:%d/cdn/%s\r\n",
                 h->commit != NULL ? h->commit : COMMIT,
                 h->etag != NULL ? h->etag
                 : FILES[i].big  ? body_sha
                                 : small_sha,
                 FILES[i].big ? N : N_SMALL, h->port, FILES[i].big ? "big" : "small");
        return;
    }
    strcpy(a->headers, "X-Error-Message: Entry not found\r\n");
}

static void play(void *user, const http_test_request *q, http_test_reply *a)
{
    hub *h = user;
    char token[600], host[100];
    pthread_mutex_lock(&h->mutex);
    http_test_header(q, "Authorization", token, sizeof token);
    http_test_header(q, "Host", host, sizeof host);
    const bool on_hub = strncmp(host, "127.0.0.1:", 10) == 0;
    if (token[0] != '\0') *(on_hub ? &h->n_token : &h->n_leaked) += 1;
    if (strcmp(q->method, "HEAD") == 0) h->n_head++;
    if (strncmp(q->path, "/cdn/", 5) == 0) {
        const bool big = strcmp(q->path, "/cdn/big") == 0;
        *a = (http_test_reply){.status = 200,
                               .body = h->cdn_body != NULL ? h->cdn_body
                                       : big               ? body
                                                           : small,
                               .n_bytes = big ? N : N_SMALL,
                               .ranges = true,
                               .etag = "\"cdn\""};
        if (h->n_cdn++ == 0) a->cut_after = h->cut_first;
    } else if (h->token_wanted != NULL && strcmp(token, h->token_wanted) != 0) {
        a->status = 401;
        strcpy(a->headers, "X-Error-Message: Access to model o/r is restricted.\r\n");
    } else if (h->no_such_repo) {
        a->status = 404;
    } else if (strncmp(q->path, "/api/models/o/r/tree/main", 25) == 0) {
        api(h, q, a);
    } else if (strncmp(q->path, "/old/name/", 10) == 0) { /* a repository that was renamed */
        a->status = 307;
        snprintf(a->headers, sizeof a->headers, "Location: /o/r/%s\r\n", q->path + 10);
    } else if (strncmp(q->path, "/o/r/resolve/main/", 18) == 0) {
        resolve(h, q->path + 18, a);
    } else if (strncmp(q->path, "/o/r/resolve/" COMMIT "/", 54) == 0) {
        resolve(h, q->path + 54, a);
    }
    pthread_mutex_unlock(&h->mutex);
}

static served *serve(void **state)
{
    served *v = calloc(1, sizeof *v);
    char endpoint[64];
    v->f = *state;
    pthread_mutex_init(&v->h.mutex, NULL);
    v->server = http_test_server_start(play, &v->h);
    assert_non_null(v->server);
    v->h.port = http_test_server_port(v->server);
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d/", v->h.port);
    setenv("HF_ENDPOINT", endpoint, 1);
    fixture_reopen(v->f);
    return v;
}

static void stop(served *v)
{
    http_test_server_stop(v->server);
    pthread_mutex_destroy(&v->h.mutex);
    free(v);
}

static quern_status pull(served *v, const char *name)
{
    return quern_store_pull(v->f->store, name, NULL, &v->entry, &v->f->err);
}

static const char *below(const fixture *f, const char *rest)
{
    static char path[800];
    snprintf(path, sizeof path, "%s/models--o--r/%s", f->hub, rest);
    return path;
}

static void layout(void **state)
{
    served *v = serve(state);
    v->h.cut_first = 70000;
    expect_status(v->f, pull(v, "hf:o/r/m-Q4_K_M.gguf"), QUERN_OK);
    assert_string_equal(v->entry->path, below(v->f, "snapshots/" COMMIT "/m-Q4_K_M.gguf"));
    assert_string_equal(v->entry->sha256, body_sha);
    assert_file(v->entry->path, body, N);
    char target[200], expected[200], blob[100];
    const ssize_t n = readlink(v->entry->path, target, sizeof target - 1);
    assert_true(n > 0);
    target[n] = '\0';
    snprintf(expected, sizeof expected, "../../blobs/%s", body_sha);
    assert_string_equal(target, expected);
    snprintf(blob, sizeof blob, "blobs/%s", body_sha);
    assert_file(below(v->f, blob), body, N);
    assert_file(below(v->f, "refs/main"), COMMIT, 40);
    strcat(blob, ".incomplete");
    assert_false(exists(below(v->f, blob)));
    assert_int_equal(v->h.n_cdn, 2);                     /* cut once, continued once */
    expect_status(v->f, pull(v, "hf.co/o/r"), QUERN_OK); /* the same file by quantization: here already */
    assert_int_equal(v->h.n_cdn, 2);
    expect_status(v->f, quern_store_verify(v->f->store, "hf.co/o/r:Q4_K_M", NULL, NULL, &v->f->err),
                  QUERN_OK);
    stop(v);
}

static void by_quantization(void **state)
{
    served *v = serve(state);
    v->h.two_pages = true;
    expect_status(v->f, pull(v, "hf.co/o/r"), QUERN_OK);
    assert_string_equal(v->entry->path, below(v->f, "snapshots/" COMMIT "/m-Q4_K_M.gguf"));
    expect_status(v->f, pull(v, "hf.co/o/r:q2_k"), QUERN_OK);
    assert_string_equal(v->entry->path, below(v->f, "snapshots/" COMMIT "/sub/dir/m-Q2_K.gguf"));
    assert_file(v->entry->path, small, N_SMALL);
    expect_status(v->f, pull(v, "hf.co/o/r:Q5_K_M"), QUERN_ERR_NOT_FOUND);
    expect_message(v->f, "Q4_K_M");
    expect_message(v->f, "Q8_0");
    expect_status(v->f, pull(v, "hf.co/o/r:Q3_K"),
                  QUERN_ERR_NOT_FOUND); /* only under a path that leaves the repository */
    stop(v);
}

static void split(void **state)
{
    served *v = serve(state);
    v->h.two_pages = true;
    expect_status(v->f, pull(v, "hf.co/o/r:Q8_0"), QUERN_OK);
    assert_string_equal(v->entry->path, below(v->f, "snapshots/" COMMIT "/m-Q8_0-00001-of-00003.gguf"));
    assert_int_equal(v->entry->size_bytes, N + 2 * N_SMALL);
    assert_null(v->entry->sha256);
    const quern_store_entry *const *entries;
    size_t n;
    assert_int_equal(quern_store_list(v->f->store, false, &entries, &n, NULL), QUERN_OK);
    assert_int_equal(n, 1);
    assert_string_equal(entries[0]->name, "hf.co/o/r:Q8_0");
    char part[800];
    strcpy(part, below(v->f, "snapshots/" COMMIT "/m-Q8_0-00003-of-00003.gguf"));
    assert_int_equal(unlink(part), 0); /* a model that lacks a part is none */
    expect_status(v->f, quern_store_resolve(v->f->store, "hf.co/o/r:Q8_0", &v->entry, &v->f->err),
                  QUERN_ERR_NOT_FOUND);
    expect_status(v->f, pull(v, "hf.co/o/r:Q8_0"), QUERN_OK);
    expect_status(v->f, quern_store_remove(v->f->store, "hf.co/o/r:Q8_0", &v->f->err), QUERN_OK);
    assert_false(exists(below(v->f, "")));
    stop(v);
}

static void token(void **state)
{
    served *v = serve(state);
    v->h.token_wanted = "Bearer hf_secret";
    expect_status(v->f, pull(v, "hf:o/r/m-Q4_K_M.gguf"), QUERN_ERR_NETWORK);
    expect_message(v->f, "HF_TOKEN");
    expect_message(v->f, "restricted");
    setenv("HF_TOKEN", "hf_secret", 1);
    fixture_reopen(v->f);
    expect_status(v->f, pull(v, "hf.co/o/r"), QUERN_OK);
    assert_true(v->h.n_token >= 3);     /* list, HEAD, GET at the hub */
    assert_int_equal(v->h.n_leaked, 0); /* and not where it redirects to */
    char url[100];                      /* nor to any other address */
    snprintf(url, sizeof url, "http://127.0.0.1:%d/cdn/small", v->h.port);
    const unsigned before = v->h.n_token;
    expect_status(v->f, pull(v, url), QUERN_OK);
    assert_int_equal(v->h.n_token, before);
    setenv("HF_TOKEN", "bad\r\nX-Evil: 1", 1);
    quern_store *st;
    assert_int_equal(quern_store_open(&st, NULL, &v->f->err), QUERN_ERR_ARGUMENT);
    setenv("HF_TOKEN", "hf_secret", 1);
    static const struct {
        const char *endpoint;
        bool used;
    } rows[] = {{"http://example.org", false},           {"http://localhost.example.org", false},
                {"http://127.0.0.1.example.org", false}, {"https://example.org", true},
                {"http://localhost:8080/", true},        {"http://127.0.0.1", true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) { /* never in the clear over a network */
        setenv("HF_ENDPOINT", rows[i].endpoint, 1);
        fixture_reopen(v->f);
        assert_int_equal(v->f->store->token != NULL, rows[i].used);
    }
    unsetenv("HF_TOKEN");
    stop(v);
}

static void renamed(void **state)
{
    served *v = serve(state);
    expect_status(v->f, pull(v, "hf:old/name/resolve/main/m-Q4_K_M.gguf"), QUERN_OK);
    assert_file(v->entry->path, body, N);
    stop(v);
}

static void hostile_answers(void **state)
{
    served *v = serve(state);
    static const char *const etags[] = {"../../../../tmp/evil", "abc", "",
                                        "B179C9523D0E6A0F98A330C7562B682750A6F8C8C15E5BC70EA373728110DB53",
                                        "../0123456789abcdef0123456789abcdef01234"};
    for (size_t i = 0; i < sizeof etags / sizeof *etags; i++) {
        v->h.etag = etags[i];
        expect_status(v->f, pull(v, "hf:o/r/m-Q4_K_M.gguf"), QUERN_ERR_FORMAT);
        expect_message(v->f, "does not answer like a Hugging Face hub");
    }
    v->h.etag = NULL;
    static const char *const commits[] = {"../../../x", "main", "0123",
                                          "0123456789ABCDEF0123456789abcdef01234567"};
    for (size_t i = 0; i < sizeof commits / sizeof *commits; i++) {
        v->h.commit = commits[i];
        expect_status(v->f, pull(v, "hf:o/r/m-Q4_K_M.gguf"), QUERN_ERR_FORMAT);
    }
    v->h.commit = NULL;
    v->h.cdn_body = small; /* other bytes than the hub's hash says, of the right length */
    static char wrong[N];
    memcpy(wrong, body, N);
    wrong[N / 2] ^= 1;
    v->h.cdn_body = wrong;
    expect_status(v->f, pull(v, "hf:o/r/m-Q4_K_M.gguf"), QUERN_ERR_CHECKSUM);
    expect_message(v->f, "set aside");
    expect_status(v->f, quern_store_resolve(v->f->store, "hf:o/r/m-Q4_K_M.gguf", &v->entry, &v->f->err),
                  QUERN_ERR_NOT_FOUND);
    v->h.cdn_body = NULL;
    v->h.no_such_repo = true;
    expect_status(v->f, pull(v, "hf:o/r/m-Q4_K_M.gguf"), QUERN_ERR_NOT_FOUND);
    expect_status(v->f, pull(v, "hf.co/o/r"), QUERN_ERR_NOT_FOUND);
    v->h.no_such_repo = false;
    expect_status(v->f, pull(v, "hf:o/r/none.gguf"), QUERN_ERR_NOT_FOUND);
    expect_message(v->f, "Entry not found");
    setenv("HF_HUB_OFFLINE", "1", 1);
    fixture_reopen(v->f);
    expect_status(v->f, pull(v, "hf:o/r/m-Q4_K_M.gguf"), QUERN_ERR_NETWORK);
    expect_message(v->f, "offline");
    unsetenv("HF_HUB_OFFLINE");
    stop(v);
}

/* The catalogue vouches for another file than the hub has now. */
static void catalogue_disagrees(void **state)
{
    served *v = serve(state);
    char json[500];
    snprintf(json, sizeof json,
             "{\"version\":1,\"models\":[{\"name\":\"x\",\"tags\":[\"latest\"],\"source\":\"hf:o/r/"
             "m-Q4_K_M.gguf\",\"sha256\":\"%s\"},"
             "{\"name\":\"y\",\"tags\":[\"latest\"],\"source\":\"hf.co/o/r:Q4_K_M\",\"projector\":\"hf:o/r/"
             "mmproj-m-f16.gguf\"}]}",
             small_sha);
    set_catalogue(v->f, json);
    expect_status(v->f, pull(v, "x"), QUERN_ERR_CHECKSUM);
    assert_int_equal(v->h.n_cdn, 0);
    expect_status(v->f, pull(v, "y"), QUERN_OK);
    assert_string_equal(v->entry->name, "y:latest");
    assert_file(below(v->f, "snapshots/" COMMIT "/mmproj-m-f16.gguf"), small, N_SMALL);
    expect_status(v->f, quern_store_remove(v->f->store, "y", &v->f->err), QUERN_OK);
    assert_false(exists(below(v->f, "")));
    stop(v);
}

static uint64_t space;
static uint64_t little_space(const char *dir)
{
    (void)dir;
    return space;
}

static void disk_space(void **state)
{
    served *v = serve(state);
    space = (16 << 20) + N + 2 * N_SMALL - 1;
    v->h.two_pages = true;
    v->f->store->free_bytes = little_space;
    expect_status(v->f, pull(v, "hf.co/o/r:Q8_0"),
                  QUERN_ERR_LIMIT); /* all parts are counted before the first byte */
    assert_int_equal(v->h.n_cdn, 0);
    space++;
    expect_status(v->f, pull(v, "hf.co/o/r:Q8_0"), QUERN_OK);
    stop(v);
}

/* A cache that another program has filled: found without a network, listed, and handled with care. */
static void foreign_cache(void **state)
{
    fixture *f = *state;
    char command[2600];
    snprintf(command, sizeof command,
             "cd '%s' 2>/dev/null || mkdir -p '%s' && cd '%s' && R=models--o--r && mkdir -p $R/blobs $R/refs "
             "$R/snapshots/" COMMIT " $R/snapshots/" COMMIT2 " && printf " COMMIT
             " > $R/refs/main && echo data > $R/blobs/%s && echo config > $R/blobs/" COMMIT2
             " && ln -s ../../blobs/%s $R/snapshots/" COMMIT
             "/m-Q4_K_M.gguf && ln -s ../../blobs/%s $R/snapshots/" COMMIT2
             "/m-Q4_K_M.gguf && ln -s ../../blobs/" COMMIT2 " $R/snapshots/" COMMIT
             "/config.json && ln -s ../../blobs/gone $R/snapshots/" COMMIT
             "/m-Q8_0.gguf && echo old > $R/snapshots/" COMMIT2
             "/old-Q6_K.gguf && mkdir -p models--x .locks datasets--a--b 'models--a b--c' version.txt",
             f->hub, f->hub, f->hub, body_sha, body_sha, body_sha);
    assert_int_equal(system(command), 0);
    const quern_store_entry *const *entries, *e;
    size_t n;
    assert_int_equal(quern_store_list(f->store, false, &entries, &n, &f->err), QUERN_OK);
    assert_int_equal(n, 2);
    assert_string_equal(entries[0]->name, "hf.co/o/r:Q4_K_M");
    assert_string_equal(entries[0]->sha256, body_sha);
    assert_string_equal(entries[1]->name, "hf.co/o/r:Q6_K"); /* of an older commit */
    expect_status(f, quern_store_resolve(f->store, "hf.co/o/r", &e, &f->err), QUERN_OK);
    expect_status(f, quern_store_resolve(f->store, "hf:o/r@" COMMIT2 "/m-Q4_K_M.gguf", &e, &f->err),
                  QUERN_OK);
    expect_status(f, quern_store_resolve(f->store, "hf.co/o/r:Q8_0", &e, &f->err),
                  QUERN_ERR_NOT_FOUND); /* its blob is gone */
    assert_string_equal(e->source, "hf.co/o/r:Q8_0");
    expect_status(f, quern_store_resolve(f->store, "hf.co/o/r:Q6_K", &e, &f->err), QUERN_OK);
    expect_status(f, quern_store_verify(f->store, "hf.co/o/r", NULL, NULL, &f->err), QUERN_ERR_CHECKSUM);

    char lock[700];
    snprintf(lock, sizeof lock, "%s/.locks/models--o--r", f->hub);
    assert_int_equal(mkdir(lock, 0755), 0);
    snprintf(lock, sizeof lock, "%s/.locks/models--o--r/%s.lock", f->hub, body_sha);
    const int fd = open(lock, O_RDWR | O_CREAT, 0644); /* as another program would hold it */
    assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
    expect_status(f, quern_store_remove(f->store, "hf.co/o/r", &f->err), QUERN_ERR_BUSY);
    close(fd);
    expect_status(f, quern_store_remove(f->store, "hf.co/o/r", &f->err), QUERN_OK);
    char blob[100];
    snprintf(blob, sizeof blob, "blobs/%s", body_sha);
    assert_false(exists(below(f, blob)));
    assert_false(exists(below(f, "snapshots/" COMMIT2 "/m-Q4_K_M.gguf")));
    assert_true(exists(below(f, "snapshots/" COMMIT "/config.json"))); /* what others have stays */
    assert_true(exists(below(f, "snapshots/" COMMIT2 "/old-Q6_K.gguf")));

    write_file(below(f, "refs/main"), "../../../../etc", 15); /* a ref that is no commit leads nowhere */
    expect_status(f, quern_store_resolve(f->store, "hf:o/r/passwd", &e, &f->err), QUERN_ERR_NOT_FOUND);
    assert_int_equal(quern_store_list(f->store, false, &entries, &n, &f->err), QUERN_OK);
    assert_int_equal(n, 1);
}

static void directories(void **state)
{
    fixture *f = *state;
    char path[400];
    unsetenv("HF_HUB_CACHE");
    unsetenv("QUERN_MODELS");
    fixture_reopen(f);
    snprintf(path, sizeof path, "%s/.cache/huggingface/hub", f->dir);
    assert_string_equal(f->store->hub_cache, path);
    snprintf(path, sizeof path, "%s/.local/share/quern/models", f->dir);
    assert_string_equal(quern_store_directory(f->store), path);
    setenv("XDG_CACHE_HOME", "relative", 1); /* to be ignored */
    setenv("XDG_DATA_HOME", "/data", 1);
    fixture_reopen(f);
    assert_string_equal(quern_store_directory(f->store), "/data/quern/models");
    assert_null(strstr(f->store->hub_cache, "relative"));
    setenv("XDG_CACHE_HOME", "/cache", 1);
    fixture_reopen(f);
    assert_string_equal(f->store->hub_cache, "/cache/huggingface/hub");
    setenv("HF_HOME", "/hf/", 1);
    fixture_reopen(f);
    assert_string_equal(f->store->hub_cache, "/hf//hub");
    setenv("HF_HUB_CACHE", "~/hub", 1);
    fixture_reopen(f);
    snprintf(path, sizeof path, "%s/hub", f->dir);
    assert_string_equal(f->store->hub_cache, path);
    quern_store_params p = quern_store_params_default();
    p.directory = "/elsewhere";
    quern_store *st;
    assert_int_equal(quern_store_open(&st, &p, &f->err), QUERN_OK);
    assert_string_equal(quern_store_directory(st), "/elsewhere");
    quern_store_close(st);
    static const char *const endpoints[] = {"ftp://x", "file:///etc", "x", "https://user:pw@h",
                                            "https://h\r\n"};
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        setenv("HF_ENDPOINT", endpoints[i], 1);
        assert_int_equal(quern_store_open(&st, NULL, &f->err), QUERN_ERR_ARGUMENT);
        assert_null(st);
    }
    unsetenv("HF_ENDPOINT");
}

static void no_memory(void **state)
{
    served *v = serve(state);
    for (long k = 0;; k++) {
        const quern_store_entry *const *entries;
        size_t n;
        assert_int_equal(quern_store_list(v->f->store, false, &entries, &n, &v->f->err), QUERN_OK);
        if (n > 0) assert_int_equal(quern_store_remove(v->f->store, "hf.co/o/r", &v->f->err), QUERN_OK);
        qn_alloc_fail_at(k);
        const quern_status s = pull(v, "hf.co/o/r");
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        if (!failed) {
            assert_int_equal(s, QUERN_OK);
            assert_true(k > 10);
            break;
        }
        assert_int_not_equal(v->f->err.message[0], '\0');
    }
    stop(v);
}

int main(void)
{
    qn_sha256 *h = NULL;
    if (qn_sha256_create(&h, NULL) != QUERN_OK) {
        print_message("skipped: built without libcrypto\n");
        return 77;
    }
    qn_sha256_destroy(h);
    make_bytes(body, N, 3);
    make_bytes(small, N_SMALL, 4);
    sha256_of(body, N, body_sha);
    sha256_of(small, N_SMALL, small_sha);
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(layout),          T(by_quantization),     T(split),      T(token),         T(renamed),
        T(hostile_answers), T(catalogue_disagrees), T(disk_space), T(foreign_cache), T(directories),
        T(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
