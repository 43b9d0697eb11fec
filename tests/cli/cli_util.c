/* cli_util.c: see cli_util.h. */
#include "cli_util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

char cli_directory[64];

const char *cli_format(const char *format, ...)
{
    static char buffers[8][4096];
    static int next;
    char *out = buffers[next++ % 8];
    va_list args;
    va_start(args, format);
    vsnprintf(out, sizeof buffers[0], format, args);
    va_end(args);
    return out;
}

const char *cli_path(const char *name)
{
    return cli_format("%s/%s", cli_directory, name);
}

void cli_write(const char *path, const char *bytes, size_t n_bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n_bytes, f), n_bytes);
    assert_int_equal(fclose(f), 0);
}

int cli_set_up(void **state)
{
    (void)state;
    snprintf(cli_directory, sizeof cli_directory, "/tmp/quern_cli_XXXXXX");
    if (mkdtemp(cli_directory) == NULL) return -1;
    setenv("QUERN_MODELS", cli_path("store"), 1); /* neither the user's models nor the user's history */
    setenv("HF_HUB_CACHE", cli_path("hub"), 1);
    setenv("XDG_STATE_HOME", cli_path("state"), 1);
    setenv("QUERN_OFFLINE", "1", 1);
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

int cli_tear_down(void **state)
{
    (void)state;
    return system(cli_format("rm -r '%s'", cli_directory)); /* a name that we made */
}

static void exec_program(const char *arguments)
{
    static char text[65536];
    char *argv[64] = {getenv("QUERN_EXE")};
    int n = 1;
    snprintf(text, sizeof text, "%s", arguments);
    const char *separators = strchr(text, '\x1f') != NULL ? "\x1f" : " ";
    for (char *at = text, *word; n < 63 && (word = strsep(&at, separators)) != NULL;)
        if (word[0] != '\0' || separators[0] == '\x1f') argv[n++] = word;
    execv(argv[0], argv);
    _exit(126);
}

typedef struct catcher {
    int fd;
    char *bytes;
    size_t n_bytes, capacity;
} catcher;

static void catch_more(catcher *c)
{
    if (c->n_bytes + 65536 + 1 > c->capacity)
        c->bytes = realloc(c->bytes, c->capacity = 2 * c->capacity + 65537);
    assert_non_null(c->bytes);
    const ssize_t n = read(c->fd, c->bytes + c->n_bytes, 65536);
    if (n > 0) c->n_bytes += (size_t)n;
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) close(c->fd), c->fd = -1;
    c->bytes[c->n_bytes] = '\0';
}

static void feed(int *fd, const char *input, size_t n_input, size_t *done)
{
    const ssize_t n = write(*fd, input + *done, n_input - *done);
    if (n > 0) *done += (size_t)n;
    if (n < 0 || *done == n_input) close(*fd), *fd = -1;
}

cli_result cli_run_to(const char *arguments, const char *input, size_t n_input, const char *out_path)
{
    int in[2], out[2], err[2];
    assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGPIPE, SIG_DFL);
        alarm(500); /* nothing here takes long, even emulated: it hangs */
        dup2(input != NULL ? in[0] : open("/dev/null", O_RDONLY), 0);
        dup2(out_path != NULL ? open(out_path, O_WRONLY) : out[1], 1);
        dup2(err[1], 2);
        exec_program(arguments);
    }
    close(in[0]), close(out[1]), close(err[1]);
    catcher catchers[2] = {{.fd = out[0]}, {.fd = err[0]}};
    size_t done = 0;
    if (input == NULL || n_input == 0) close(in[1]), in[1] = -1;
    while (catchers[0].fd >= 0 || catchers[1].fd >= 0) {
        struct pollfd p[3] = {{catchers[0].fd, POLLIN, 0}, {catchers[1].fd, POLLIN, 0}, {in[1], POLLOUT, 0}};
        if (poll(p, 3, -1) < 0) continue;
        for (int i = 0; i < 2; i++)
            if (p[i].revents != 0) catch_more(&catchers[i]);
        if (p[2].revents != 0) feed(&in[1], input, n_input, &done);
    }
    if (in[1] >= 0) close(in[1]);
    int status;
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    return (cli_result){.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                        .out = catchers[0].bytes,
                        .err = catchers[1].bytes,
                        .n_out = catchers[0].n_bytes,
                        .n_err = catchers[1].n_bytes};
}

cli_result cli_run(const char *arguments, const char *input)
{
    return cli_run_to(arguments, input, input != NULL ? strlen(input) : 0, NULL);
}

void cli_free(cli_result *r)
{
    free(r->out);
    free(r->err);
}

void cli_expect_failure(const char *arguments, const char *input, int code, const char *said)
{
    cli_result r = cli_run(arguments, input);
    const char *end = strchr(r.err, '\n');
    const bool one_line = strncmp(r.err, "quern: ", 7) == 0 && end != NULL && end[1] == '\0';
    if (r.code != code || !one_line || strstr(r.err, said) == NULL || r.n_out != 0)
        fail_msg("'%s': exit %d (expected %d), stdout %zu bytes, said (expected '%s'):\n%s", arguments,
                 r.code, code, r.n_out, said, r.err);
    cli_free(&r);
}
