/* dirs.c: see dirs.h. */
#include "store/dirs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_DEPTH = 8, MAX_NAMES = 100000 };

int qn_dir_make(const char *path, quern_error *err)
{
    qn_path_make(path, 0755);
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        qn_fail(err, QUERN_ERR_IO,
                "%s: cannot make this directory: %s (set QUERN_MODELS or HF_HUB_CACHE to another)",
                qn_quote(path, strlen(path)).text, strerror(errno));
    return fd;
}

int qn_dir_open_at(int parent_fd, const char *name, bool make)
{
    if (make && mkdirat(parent_fd, name, 0755) != 0 && errno != EEXIST) return -1;
    return openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

quern_status qn_lock(int *lock_fd, int dir_fd, const char *name, qn_progress *progress, const char *label,
                     quern_error *err)
{
    *lock_fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (*lock_fd < 0)
        return qn_fail(err, QUERN_ERR_IO, "%s: cannot open the lock %s: %s", label, name, strerror(errno));
    quern_status s = QUERN_OK;
    while (flock(*lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR) continue;
        if (errno != EWOULDBLOCK)
            s = qn_fail(err, QUERN_ERR_IO, "%s: cannot lock %s: %s", label, name, strerror(errno));
        else if (progress == NULL)
            s = qn_fail(err, QUERN_ERR_BUSY, "%s: is being pulled by another process", label);
        else if (!qn_progress_tell(progress, QUERN_STORE_WAITING, 0, 0)) s = qn_progress_canceled(err, label);
        if (s != QUERN_OK) break;
        nanosleep(&(struct timespec){0, 50 * 1000000}, NULL);
    }
    if (s != QUERN_OK) {
        close(*lock_fd);
        *lock_fd = -1;
    }
    return s;
}

/* Adds up, or removes, what is below. */
static uint64_t walk(int parent_fd, const char *name, bool remove, int depth)
{
    struct stat st;
    if (depth > MAX_DEPTH || fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return 0;
    if (!S_ISDIR(st.st_mode)) {
        if (remove) unlinkat(parent_fd, name, 0);
        return S_ISREG(st.st_mode) && st.st_size > 0 ? (uint64_t)st.st_size : 0;
    }
    const int fd = qn_dir_open_at(parent_fd, name, false);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0) close(fd);
        return 0;
    }
    uint64_t sum = 0;
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            sum += walk(fd, e->d_name, remove, depth + 1);
    closedir(dir);
    if (remove) unlinkat(parent_fd, name, AT_REMOVEDIR);
    return sum;
}

uint64_t qn_tree_bytes(int dir_fd, const char *name)
{
    return walk(dir_fd, name, false, 0);
}
void qn_tree_remove(int dir_fd, const char *name)
{
    walk(dir_fd, name, true, 0);
}

quern_status qn_dir_each(const char *path, qn_dir_fn *fn, void *user, quern_error *err)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        if (errno == ENOENT || errno == ENOTDIR) return QUERN_OK;
        return qn_fail(err, QUERN_ERR_IO, "%s: cannot read this directory: %s",
                       qn_quote(path, strlen(path)).text, strerror(errno));
    }
    quern_status s = QUERN_OK;
    size_t n = 0;
    for (const struct dirent *e = readdir(dir); e != NULL && s == QUERN_OK && n < MAX_NAMES;
         e = readdir(dir), n++)
        if (e->d_name[0] != '.') s = fn(user, e->d_name, err);
    closedir(dir);
    return s;
}
