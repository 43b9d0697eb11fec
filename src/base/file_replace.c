/* file_replace.c: see file_replace.h. */
#include "base/file_replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_TRIES = 100 /* each time somebody else has renamed or removed the file just then */ };

static quern_status fail(const qn_file_replacement *r, const char *what, quern_error *err)
{
    const quern_status status = errno == ENOSPC || errno == EDQUOT ? QUERN_ERR_LIMIT : QUERN_ERR_IO;
    return qn_fail(err, status, "%s: cannot %s: %s", qn_quote(r->path, strlen(r->path)).text, what,
                   strerror(errno));
}

quern_status qn_file_replace_fail(const qn_file_replacement *r, quern_error *err)
{
    return fail(r, "write", err);
}

/* A part that was made for us by somebody else, or has a second name, is not written into. */
static bool is_ours(int fd, struct stat *st)
{
    return fstat(fd, st) == 0 && S_ISREG(st->st_mode) && st->st_uid == geteuid() && st->st_nlink <= 1;
}

/* Opens and locks the part. The lock is of the file and not of its name, so the name is looked at again: who
 * had the lock before may have renamed the file away. */
static quern_status take_part(qn_file_replacement *r, mode_t mode, quern_error *err)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        struct stat st = {0}, named = {0};
        r->fd = open(r->part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode);
        if (r->fd < 0) return fail(r, "write", err);
        const bool ours = is_ours(r->fd, &st);
        /* whoever left a part with other permissions: what nobody else may read is so from the first byte on
         */
        if (ours && mode == 0600) (void)fchmod(r->fd, mode);
        const bool locked = ours && flock(r->fd, LOCK_EX | LOCK_NB) == 0;
        const int why = errno;
        if (locked && lstat(r->part, &named) == 0 && named.st_ino == st.st_ino && named.st_dev == st.st_dev)
            return QUERN_OK;
        close(r->fd);
        r->fd = -1;
        if (!ours)
            return qn_fail(err, QUERN_ERR_IO, "%s: is in the way, and no file of this user alone",
                           qn_quote(r->part, strlen(r->part)).text);
        if (!locked && why != EWOULDBLOCK) return errno = why, fail(r, "lock", err);
        if (!locked)
            return qn_fail(err, QUERN_ERR_BUSY, "%s: is being written by another process",
                           qn_quote(r->path, strlen(r->path)).text);
    }
    return qn_fail(err, QUERN_ERR_BUSY, "%s: is written by others again and again",
                   qn_quote(r->path, strlen(r->path)).text);
}

quern_status qn_file_replace_begin(qn_file_replacement *r, const char *path, mode_t mode, quern_error *err)
{
    r->fd = -1;
    if (!qn_path_format(r->path, "%s", path) || !qn_path_format(r->part, "%s.part", path))
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: the path is too long",
                       qn_quote(path, strlen(path)).text);
    const quern_status s = take_part(r, mode, err);
    if (s != QUERN_OK) return s;
    if (ftruncate(r->fd, 0) == 0) return QUERN_OK;
    const quern_status failed = fail(r, "write", err);
    qn_file_replace_abandon(r);
    return failed;
}

/* So that the new name outlives a loss of power too. Where a directory cannot be synced it does not, but the
 * file is the old or the new one in any case. */
static void sync_directory(const char *path)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (slash == NULL) qn_path_format(directory, ".");
    else qn_path_format(directory, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

quern_status qn_file_replace_commit(qn_file_replacement *r, quern_error *err)
{
    quern_status s = QUERN_OK;
    if (fsync(r->fd) != 0) s = fail(r, "write", err);
    else if (rename(r->part, r->path) != 0) s = fail(r, "rename", err);
    if (s != QUERN_OK) {
        qn_file_replace_abandon(r);
        return s;
    }
    close(r->fd);
    r->fd = -1;
    sync_directory(r->path);
    return QUERN_OK;
}

void qn_file_replace_abandon(qn_file_replacement *r)
{
    if (r->fd < 0) return;
    unlink(r->part); /* while it is locked: nobody else's */
    close(r->fd);
    r->fd = -1;
}
