/* crash_test.c: the program itself, killed at random moments of a pull, and twice at once: what can be
 * seen in the store is always whole. QUERN_KILL_ROUNDS sets how many rounds. */
#include "store_fixture.h"
#include "support/http_test_server.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

enum { N = 600000 };
#define COMMIT "0123456789abcdef0123456789abcdef01234567"
static char body[N], body_sha[QN_SHA256_HEX + 1];
static const char *program;

typedef struct origin {
    atomic_int port, delay_ms;
    atomic_uint n_bodies; /* answers that began at the first byte */
} origin;

static void play(void *user, const http_test_request *q, http_test_reply *a)
{
    origin *o = user;
    char range[100];
    http_test_header(q, "Range", range, sizeof range);
    if (strncmp(q->path, "/o/r/resolve/main/", 18) == 0) {
        a->status = 302;
        snprintf(a->headers, sizeof a->headers,
                 "X-Repo-Commit: " COMMIT
                 "\r\nX-Linked-ETag: \"%s\"\r\nX-Linked-Size: %d\r\nLocation: http://localhost:%d/x\r\n",
                 body_sha, N, o->port);
        return;
    }
    if (range[0] == '\0' || strcmp(range, "bytes=0-") == 0) atomic_fetch_add(&o->n_bodies, 1);
    *a = (http_test_reply){
        .status = 200, .body = body, .n_bytes = N, .ranges = true, .etag = "\"e\"", .delay_ms = o->delay_ms};
}

static pid_t start_pull(const char *name)
{
    const pid_t pid = fork();
    if (pid == 0) {
        if (freopen("/dev/null", "w", stdout) == NULL) _exit(126);
        execl(program, "quern", "pull", "--quiet", name, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static int finish(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    return status;
}

/* Either nothing, or one model with exactly the right bytes. */
static bool visible_and_whole(fixture *f)
{
    const quern_store_entry *const *entries;
    size_t n;
    expect_status(f, quern_store_list(f->store, false, &entries, &n, &f->err), QUERN_OK);
    assert_true(n <= 1);
    if (n == 1) assert_file(entries[0]->path, body, N);
    return n == 1;
}

static void kill_rounds(fixture *f, origin *o, const char *name, int rounds)
{
    int n_whole = 0, n_killed = 0;
    o->delay_ms = 1;
    srand(11);
    for (int i = 0; i < rounds; i++) {
        const pid_t pid = start_pull(name);
        nanosleep(&(struct timespec){0, (rand() % 350) * 1000000L}, NULL);
        kill(pid, SIGKILL);
        const int status = finish(pid);
        if (WIFSIGNALED(status)) n_killed++;
        if (!visible_and_whole(f)) continue;
        n_whole++;
        expect_status(f, quern_store_remove(f->store, name, &f->err), QUERN_OK);
    }
    print_message("%d rounds: %d killed, %d times the model was whole\n", rounds, n_killed, n_whole);
    o->delay_ms = 0;
    assert_int_equal(finish(start_pull(name)), 0);
    assert_true(visible_and_whole(f));
}

static int rounds(void)
{
    const char *text = getenv("QUERN_KILL_ROUNDS");
    return text != NULL ? atoi(text) : 30;
}

static void kill_url(void **state)
{
    fixture *f = *state;
    origin o = {0};
    http_test_server *server = http_test_server_start(play, &o);
    char url[100];
    o.port = http_test_server_port(server);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/m.gguf", o.port);
    kill_rounds(f, &o, url, rounds());
    http_test_server_stop(server);
}

static void kill_hub(void **state)
{
    fixture *f = *state;
    origin o = {0};
    http_test_server *server = http_test_server_start(play, &o);
    char endpoint[100];
    o.port = http_test_server_port(server);
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", o.port);
    setenv("HF_ENDPOINT", endpoint, 1);
    fixture_reopen(f);
    kill_rounds(f, &o, "hf:o/r/m.gguf", rounds());
    http_test_server_stop(server);
}

/* Four at once: one downloads, the others wait and find it there. */
static void at_once(void **state)
{
    fixture *f = *state;
    origin o = {.delay_ms = 5};
    http_test_server *server = http_test_server_start(play, &o);
    char url[100], endpoint[100];
    o.port = http_test_server_port(server);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/m.gguf", o.port);
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", o.port);
    setenv("HF_ENDPOINT", endpoint, 1);
    fixture_reopen(f);
    const char *const names[] = {url, "hf:o/r/m.gguf"};
    for (int i = 0; i < 2; i++) {
        pid_t pids[4];
        atomic_store(&o.n_bodies, 0);
        for (int k = 0; k < 4; k++) pids[k] = start_pull(names[i]);
        for (int k = 0; k < 4; k++) assert_int_equal(finish(pids[k]), 0);
        assert_int_equal(atomic_load(&o.n_bodies), 1);
        assert_true(visible_and_whole(f));
        expect_status(f, quern_store_remove(f->store, names[i], &f->err), QUERN_OK);
    }
    http_test_server_stop(server);
}

/* Ctrl-C: ends soon, with an error, and the next pull goes on. */
static void interrupted(void **state)
{
    fixture *f = *state;
    origin o = {.delay_ms = 40};
    http_test_server *server = http_test_server_start(play, &o);
    char url[100];
    o.port = http_test_server_port(server);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/m.gguf", o.port);
    const pid_t pid = start_pull(url);
    nanosleep(&(struct timespec){0, 400 * 1000000L}, NULL);
    kill(pid, SIGINT);
    const int status = finish(pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_false(visible_and_whole(f));
    o.delay_ms = 0;
    assert_int_equal(finish(start_pull(url)), 0);
    assert_true(visible_and_whole(f));
    assert_int_equal(atomic_load(&o.n_bodies), 1);
    http_test_server_stop(server);
}

int main(void)
{
    qn_sha256 *h = NULL;
    program = getenv("QUERN_EXE");
    if (program == NULL || qn_sha256_create(&h, NULL) != QUERN_OK) {
        print_message("skipped: %s\n", program == NULL ? "QUERN_EXE is not set" : "built without libcrypto");
        return 77;
    }
    qn_sha256_destroy(h);
    make_bytes(body, N, 6);
    sha256_of(body, N, body_sha);
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {T(kill_url), T(kill_hub), T(at_once), T(interrupted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
