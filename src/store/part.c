/* part.c: see part.h. */
#include "store/part.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPARE_BYTES = 16 << 20, CHUNK_BYTES = 256 << 10 };

static quern_status fail_errno(const qn_part *p, quern_error *err, const char *what)
{
    const int e = errno;
    const bool full = e == ENOSPC || e == EDQUOT;
    return qn_fail(err, full ? QUERN_ERR_LIMIT : QUERN_ERR_IO, "%s: %s %s/%s: %s after %llu bytes%s",
                   p->label, what, p->dir_path, p->part_name, strerror(e), (unsigned long long)p->n_bytes,
                   full ? " (free some space, or set QUERN_MODELS or HF_HUB_CACHE to another disk)" : "");
}

static quern_status hash_existing(qn_part *p, uint64_t size, quern_error *err)
{
    char *chunk = qn_malloc(CHUNK_BYTES);
    if (chunk == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory for a buffer", p->label);
    quern_status s = QUERN_OK;
    while (s == QUERN_OK && p->n_bytes < size) {
        const ssize_t n = read(p->fd, chunk, CHUNK_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) s = fail_errno(p, err, "cannot read");
        else if (!qn_sha256_update(p->hash, chunk, (size_t)n))
            s = qn_fail(err, QUERN_ERR_IO, "%s: hashing failed", p->label);
        else if (!qn_progress_tell(p->progress, QUERN_STORE_VERIFYING, p->n_bytes += (uint64_t)n, size))
            s = qn_progress_canceled(err, p->label);
    }
    qn_free(chunk);
    return s;
}

quern_status qn_part_open(qn_part *p, bool resume, quern_error *err)
{
    p->fd = -1;
    p->n_bytes = 0;
    p->resumed = p->useless = false;
    quern_status s = qn_sha256_create(&p->hash, err);
    if (s != QUERN_OK) return s;
    p->fd = openat(p->dir_fd, p->part_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0644);
    struct stat st;
    if (p->fd < 0 || fstat(p->fd, &st) != 0) {
        s = fail_errno(p, err, "cannot write");
    } else if (!S_ISREG(st.st_mode)) {
        s = qn_fail(err, QUERN_ERR_IO, "%s: %s/%s is not a regular file (remove it)", p->label, p->dir_path,
                    p->part_name);
    } else if (st.st_size > 0 && (!resume || (p->size_bytes > 0 && (uint64_t)st.st_size > p->size_bytes))) {
        s = qn_part_restart(p, err);
    } else if (st.st_size > 0) {
        p->resumed = true;
        s = hash_existing(p, (uint64_t)st.st_size, err);
    }
    if (s != QUERN_OK) qn_part_close(p, false);
    return s;
}

void qn_part_close(qn_part *p, bool discard)
{
    if (p->fd >= 0) {
        close(p->fd);
        if (discard || p->useless || p->n_bytes == 0) unlinkat(p->dir_fd, p->part_name, 0);
    }
    qn_sha256_destroy(p->hash);
    p->fd = -1;
    p->hash = NULL;
}

quern_status qn_part_write(qn_part *p, const void *bytes, size_t n_bytes, quern_error *err)
{
    if (p->size_bytes > 0 && n_bytes > p->size_bytes - p->n_bytes) {
        p->useless = true;
        return qn_fail(err, QUERN_ERR_FORMAT, "%s: more than the expected %llu bytes arrive", p->label,
                       (unsigned long long)p->size_bytes);
    }
    for (size_t done = 0; done < n_bytes;) {
        const ssize_t n = write(p->fd, (const char *)bytes + done, n_bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            if (n == 0) errno = ENOSPC;
            p->useless = true; /* the disk is as full as before */
            return fail_errno(p, err, "cannot write");
        }
        if (!qn_sha256_update(p->hash, (const char *)bytes + done, (size_t)n))
            return qn_fail(err, QUERN_ERR_IO, "%s: hashing failed", p->label);
        done += (size_t)n;
        p->n_bytes += (uint64_t)n;
    }
    return QUERN_OK;
}

quern_status qn_part_restart(qn_part *p, quern_error *err)
{
    p->n_bytes = 0;
    p->resumed = false;
    if (!qn_sha256_reset(p->hash)) return qn_fail(err, QUERN_ERR_IO, "%s: hashing failed", p->label);
    if (ftruncate(p->fd, 0) != 0 || lseek(p->fd, 0, SEEK_SET) != 0) return fail_errno(p, err, "cannot empty");
    return QUERN_OK;
}

quern_status qn_part_need_space(const qn_part *p, uint64_t more, quern_error *err)
{
    const uint64_t available = p->free_bytes(p->dir_path);
    if (available >= SPARE_BYTES && available - SPARE_BYTES >= more) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_LIMIT,
                   "%s: needs %llu more bytes, %s has %llu free (free some space, or set QUERN_MODELS or "
                   "HF_HUB_CACHE to another disk)",
                   p->label, (unsigned long long)more, p->dir_path, (unsigned long long)available);
}

quern_status qn_part_check(qn_part *p, char hex[QN_SHA256_HEX + 1], quern_error *err)
{
    if (!qn_sha256_finish(p->hash, hex)) return qn_fail(err, QUERN_ERR_IO, "%s: hashing failed", p->label);
    if (p->size_bytes > 0 && p->n_bytes != p->size_bytes)
        return qn_fail(err, QUERN_ERR_CHECKSUM, "%s: %llu bytes, expected %llu", p->label,
                       (unsigned long long)p->n_bytes, (unsigned long long)p->size_bytes);
    if (p->expected[0] != '\0' && strcmp(hex, p->expected) != 0)
        return qn_fail(err, QUERN_ERR_CHECKSUM, "%s: SHA-256 is %s, expected %s", p->label, hex, p->expected);
    return QUERN_OK;
}

void qn_part_quarantine(qn_part *p, quern_error *err)
{
    char why[sizeof err->message] = "";
    const quern_status status = err != NULL ? err->status : QUERN_ERR_CHECKSUM;
    if (err != NULL) strcpy(why, err->message);
    if (renameat(p->dir_fd, p->part_name, p->dir_fd, p->bad_name) == 0)
        qn_fail(err, status, "%s; set aside as %s/%s (pull again)", why, p->dir_path, p->bad_name);
    else unlinkat(p->dir_fd, p->part_name, 0);
}

quern_status qn_part_bring(qn_part *p, qn_part_bring_fn *bring, void *user, char hex[QN_SHA256_HEX + 1],
                           quern_error *err)
{
    quern_error local = {0};
    if (err == NULL) err = &local;
    for (;;) {
        quern_status s = bring(user, p, err);
        if (s != QUERN_OK) return s;
        const bool resumed = p->resumed; /* false also if the server sent it all again */
        s = qn_part_check(p, hex, err);
        if (s == QUERN_ERR_CHECKSUM && resumed) s = qn_part_restart(p, err);
        else if (s == QUERN_ERR_CHECKSUM) qn_part_quarantine(p, err);
        if (s != QUERN_OK || !resumed || p->n_bytes > 0) return s;
    }
}

quern_status qn_part_sync(qn_part *p, quern_error *err)
{
    if (fsync(p->fd) == 0) return QUERN_OK;
    const quern_status s = fail_errno(p, err, "cannot sync");
    p->useless = true;
    unlinkat(p->dir_fd, p->part_name, 0);
    return s;
}

quern_status qn_part_commit(qn_part *p, quern_error *err)
{
    quern_status s = qn_part_sync(p, err);
    if (s != QUERN_OK) return s;
    if (renameat(p->dir_fd, p->part_name, p->dir_fd, p->name) != 0 || fsync(p->dir_fd) != 0)
        return fail_errno(p, err, "cannot rename");
    return QUERN_OK;
}

quern_status qn_write_small(int dir_fd, const char *name, const char *bytes, size_t n_bytes, quern_error *err)
{
    char hidden[300];
    snprintf(hidden, sizeof hidden, ".%.250s.%ld.new", name, (long)getpid());
    const int fd = openat(dir_fd, hidden, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    bool ok = fd >= 0;
    for (size_t done = 0; ok && done < n_bytes;) {
        const ssize_t n = write(fd, bytes + done, n_bytes - done);
        if (n < 0 && errno == EINTR) continue;
        ok = n > 0;
        if (ok) done += (size_t)n;
    }
    ok = ok && fsync(fd) == 0;
    const int why = errno;
    if (fd >= 0) close(fd);
    errno = why;
    ok = ok && renameat(dir_fd, hidden, dir_fd, name) == 0 && fsync(dir_fd) == 0;
    if (ok) return QUERN_OK;
    const int e = errno;
    unlinkat(dir_fd, hidden, 0);
    return qn_fail(err, e == ENOSPC || e == EDQUOT ? QUERN_ERR_LIMIT : QUERN_ERR_IO, "cannot write %s: %s",
                   name, strerror(e));
}
