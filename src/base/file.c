/* file.c: opening regular files, mapping and reading them. */
#include "base/file.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

quern_status qn_file_open(int *fd, size_t *n_bytes, const char *path, quern_error *err)
{
    const qn_quoted name = qn_quote(path, strlen(path));
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0)
        return qn_fail(err, errno == ENOENT || errno == ENOTDIR ? QUERN_ERR_NOT_FOUND : QUERN_ERR_IO,
                       "%s: %s", name.text, strerror(errno));
    struct stat st = {0};
    if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= 0) {
        *n_bytes = (size_t)st.st_size;
        return QUERN_OK;
    }
    const bool directory = S_ISDIR(st.st_mode);
    close(*fd);
    *fd = -1;
    return qn_fail(err, QUERN_ERR_IO, "%s: is %s, not a regular file", name.text,
                   directory ? "a directory" : "a pipe or device");
}

quern_status qn_file_map_open(qn_file_map *map, const char *path, quern_error *err)
{
    memset(map, 0, sizeof *map);
    int fd;
    size_t n_bytes;
    quern_status s = qn_file_open(&fd, &n_bytes, path, err);
    if (s != QUERN_OK) return s;
    void *data = n_bytes > 0 ? mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, fd, 0) : NULL;
    const int map_errno = errno;
    struct stat st = {0};
    const bool same = fstat(fd, &st) == 0 && (size_t)st.st_size == n_bytes;
    close(fd);
    const qn_quoted name = qn_quote(path, strlen(path));
    if (data == MAP_FAILED)
        return qn_fail(err, QUERN_ERR_IO, "%s: cannot map %zu bytes: %s", name.text, n_bytes,
                       strerror(map_errno));
    if (!same) {
        if (data != NULL) munmap(data, n_bytes);
        return qn_fail(err, QUERN_ERR_IO,
                       "%s: changed its size while it was opened (is a download still running?)", name.text);
    }
    map->data = data;
    map->n_bytes = n_bytes;
    map->modified_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    map->changed_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
    return QUERN_OK;
}

void qn_file_map_close(qn_file_map *map)
{
    if (map->data != NULL) munmap((void *)(uintptr_t)map->data, map->n_bytes);
    memset(map, 0, sizeof *map);
}

void qn_file_map_release(const qn_file_map *map, size_t offset, size_t n_bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), first = (offset + page - 1) / page * page;
    if (offset > map->n_bytes || n_bytes > map->n_bytes - offset) return;
    const size_t end = (offset + n_bytes) / page * page;
    if (first < end) madvise((void *)(uintptr_t)(map->data + first), end - first, MADV_DONTNEED);
}

bool qn_file_read_at(int fd, void *out, size_t n_bytes, uint64_t offset)
{
    for (size_t done = 0; done < n_bytes;) {
        const ssize_t n = pread(fd, (char *)out + done, n_bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = 0;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

bool qn_file_write_at(int fd, const void *bytes, size_t n_bytes, uint64_t offset)
{
    for (size_t done = 0; done < n_bytes;) {
        const ssize_t n = pwrite(fd, (const char *)bytes + done, n_bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = ENOSPC; /* a disk that takes nothing and says nothing */
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

static quern_status read_all(int fd, char *out, size_t n_bytes, const char *path, quern_error *err)
{
    for (size_t done = 0; done < n_bytes;) {
        const ssize_t n = read(fd, out + done, n_bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return qn_fail(err, QUERN_ERR_IO, "%s: read %zu of %zu bytes: %s",
                           qn_quote(path, strlen(path)).text, done, n_bytes,
                           n < 0 ? strerror(errno) : "the file became shorter");
        done += (size_t)n;
    }
    out[n_bytes] = '\0';
    return QUERN_OK;
}

quern_status qn_file_read(char **bytes, size_t *n_bytes, const char *path, size_t max_bytes, quern_error *err)
{
    *bytes = NULL;
    *n_bytes = 0;
    int fd;
    size_t size;
    quern_status s = qn_file_open(&fd, &size, path, err);
    if (s != QUERN_OK) return s;
    if (size > max_bytes)
        s = qn_fail(err, QUERN_ERR_LIMIT, "%s: %zu bytes, at most %zu are allowed",
                    qn_quote(path, strlen(path)).text, size, max_bytes);
    char *data = s == QUERN_OK ? qn_malloc(size + 1) : NULL;
    if (s == QUERN_OK && data == NULL)
        s = qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory for %zu bytes", path, size);
    if (s == QUERN_OK) s = read_all(fd, data, size, path, err);
    close(fd);
    if (s != QUERN_OK) {
        qn_free(data);
        return s;
    }
    *bytes = data;
    *n_bytes = size;
    return QUERN_OK;
}
