/* child.c: see child.h. */
#include "store/child.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

extern char **environ;

enum { READ_BYTES = 64 << 10, TAIL_BYTES = 2048, NO_PROGRAM = 127 };

typedef struct running {
    pid_t pid;
    int out, err;
    char tail[TAIL_BYTES + 1]; /* the end of standard error */
    size_t n_tail;
} running;

/* The environment with TMPDIR replaced. The strings are borrowed, except the first. */
static char **child_environment(const char *temp_dir)
{
    size_t n = 0, used = 0;
    while (environ[n] != NULL) n++;
    char **env = qn_calloc(n + 2, sizeof *env);
    if (env == NULL) return NULL;
    if (temp_dir != NULL) {
        const size_t size = strlen(temp_dir) + 8;
        env[used] = qn_malloc(size);
        if (env[used] == NULL) {
            qn_free(env);
            return NULL;
        }
        snprintf(env[used++], size, "TMPDIR=%s", temp_dir);
    }
    for (size_t i = 0; i < n; i++)
        if (temp_dir == NULL || strncmp(environ[i], "TMPDIR=", 7) != 0) env[used++] = environ[i];
    return env;
}

/* After fork only calls that are safe in a process with threads. */
static void become(const qn_child *c, char **env, int out, int err, pid_t parent)
{
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(NO_PROGRAM);
#else
    (void)parent;
#endif
    setpgid(0, 0); /* a Ctrl-C is for us; we end it */
    signal(SIGPIPE, SIG_DFL);
    if (c->temp_dir != NULL && chdir(c->temp_dir) != 0)
        _exit(NO_PROGRAM); /* python -m looks for modules here */
    const int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(NO_PROGRAM);
    execvpe(c->argv[0], (char *const *)(uintptr_t)c->argv, env);
    _exit(NO_PROGRAM);
}

static quern_status start(const qn_child *c, running *r, quern_error *err)
{
    int out[2] = {-1, -1}, errors[2] = {-1, -1};
    char **env = child_environment(c->temp_dir);
    const pid_t self = getpid();
    r->pid = -1;
    if (env != NULL && pipe2(out, O_CLOEXEC) == 0 && pipe2(errors, O_CLOEXEC) == 0) r->pid = fork();
    const int why = errno;
    if (r->pid == 0) become(c, env, out[1], errors[1], self);
    if (env != NULL && c->temp_dir != NULL) qn_free(env[0]);
    qn_free(env);
    if (out[1] >= 0) close(out[1]);
    if (errors[1] >= 0) close(errors[1]);
    r->out = out[0];
    r->err = errors[0];
    if (r->pid > 0) return QUERN_OK;
    if (out[0] >= 0) close(out[0]);
    if (errors[0] >= 0) close(errors[0]);
    return qn_fail(err, QUERN_ERR_IO, "%s: cannot start %s: %s", c->label, c->argv[0],
                   env == NULL ? "no memory" : strerror(why));
}

static void keep_tail(running *r, const char *bytes, size_t n)
{
    if (n > TAIL_BYTES) bytes += n - TAIL_BYTES, n = TAIL_BYTES;
    if (r->n_tail + n > TAIL_BYTES) {
        const size_t drop = r->n_tail + n - TAIL_BYTES;
        memmove(r->tail, r->tail + drop, r->n_tail - drop);
        r->n_tail -= drop;
    }
    memcpy(r->tail + r->n_tail, bytes, n);
    r->n_tail += n;
    r->tail[r->n_tail] = '\0';
}

/* Reads once from a pipe that is ready. False: it has ended. */
static bool drain(const qn_child *c, running *r, int *fd, char *chunk, quern_status *s, quern_error *err)
{
    const ssize_t n = read(*fd, chunk, READ_BYTES);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (n <= 0) {
        close(*fd);
        *fd = -1;
        return false;
    }
    if (fd == &r->err) keep_tail(r, chunk, (size_t)n);
    else if (c->output != NULL) *s = c->output(c->user, chunk, (size_t)n, err);
    return true;
}

static quern_status read_pipes(const qn_child *c, running *r, char *chunk, quern_error *err)
{
    quern_status s = QUERN_OK;
    while (s == QUERN_OK && (r->out >= 0 || r->err >= 0)) {
        struct pollfd p[2] = {{r->out, POLLIN, 0}, {r->err, POLLIN, 0}}; /* poll skips negative ones */
        const int n = poll(p, 2, 100);
        if (n < 0 && errno != EINTR)
            return qn_fail(err, QUERN_ERR_IO, "%s: poll: %s", c->label, strerror(errno));
        if (n > 0 && p[0].revents != 0) drain(c, r, &r->out, chunk, &s, err);
        if (n > 0 && p[1].revents != 0 && s == QUERN_OK) drain(c, r, &r->err, chunk, &s, err);
        if (s == QUERN_OK && c->alive != NULL && !c->alive(c->user))
            s = qn_fail(err, QUERN_ERR_CANCELED, "%s: canceled (pull again to go on)", c->label);
    }
    return s;
}

/* The last line on standard error that says something, or the last that begins with ERROR. */
static const char *last_line(running *r)
{
    const char *best = "";
    for (char *line = strtok(r->tail, "\r\n"); line != NULL; line = strtok(NULL, "\r\n"))
        if (line[strspn(line, " \t")] != '\0' &&
            (strncmp(best, "ERROR", 5) != 0 || strncmp(line, "ERROR", 5) == 0))
            best = line;
    return best;
}

quern_status qn_child_run(const qn_child *c, quern_error *err)
{
    running r = {0};
    char *chunk = qn_malloc(READ_BYTES);
    if (chunk == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory for a buffer", c->label);
    quern_status s = start(c, &r, err);
    if (s != QUERN_OK) {
        qn_free(chunk);
        return s;
    }
    s = read_pipes(c, &r, chunk, err);
    qn_free(chunk);
    if (r.out >= 0) close(r.out);
    if (r.err >= 0) close(r.err);
    if (s != QUERN_OK) {
        kill(-r.pid, SIGKILL);
        kill(r.pid, SIGKILL);
    }
    int status = 0;
    while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR) continue;
    if (s != QUERN_OK || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) return s;
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PROGRAM && r.n_tail == 0)
        return qn_fail(err, QUERN_ERR_NOT_FOUND, "%s: cannot run %s", c->label, c->argv[0]);
    const char *line = last_line(&r);
    return qn_fail(err, QUERN_ERR_NETWORK, "%s: %s failed (%s %d): %s", c->label, c->argv[0],
                   WIFEXITED(status) ? "exit" : "signal",
                   WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
                   qn_quote(line, strlen(line)).text);
}
