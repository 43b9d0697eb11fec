/* page_directory.c: see page_directory.h. */
#include "cache/page_directory.h"

#include "base/hexadecimal.h"
#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEY_DIGITS = 32, SHARD_BYTES = sizeof "xx", DIRECTORY_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC };
/* A writer that is at it for longer than this is taken for dead, for its number may be another process's by
 * now, or of another machine or container. If it lives, its file cannot be renamed, and it says so. */
static const int64_t PART_LIFE_NS = (int64_t)600 * 1000000000;

/* ---- names ------------------------------------------------------------------------------------------- */

void qn_page_name(char out[QN_PAGE_NAME_BYTES], qn_prefix_key key)
{
    snprintf(out, QN_PAGE_NAME_BYTES, "%016llx%016llx.kv", (unsigned long long)key.high,
             (unsigned long long)key.low);
}

void qn_page_part_name(char out[QN_PAGE_PART_BYTES], qn_prefix_key key, uint64_t random)
{
    snprintf(out, QN_PAGE_PART_BYTES, "%016llx%016llx.%ld.%016llx.part", (unsigned long long)key.high,
             (unsigned long long)key.low, (long)getpid(), (unsigned long long)random);
}

static void name_shard(char out[SHARD_BYTES], uint8_t first_byte)
{
    static const char digits[] = "0123456789abcdef";
    out[0] = digits[first_byte >> 4], out[1] = digits[first_byte & 15], out[2] = '\0';
}

bool qn_page_model_key_is_valid(const char *model_key)
{
    const size_t n = strlen(model_key);
    return n > 0 && n <= QN_PAGE_FILE_MAX_MODEL_KEY && model_key[0] != '.' &&
           strspn(model_key, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-") == n;
}

static bool parse_name(qn_prefix_key *key, const char *name)
{
    uint64_t halves[2] = {0, 0};
    char again[QN_PAGE_NAME_BYTES];
    if (strlen(name) != QN_PAGE_NAME_BYTES - 1) return false;
    for (int i = 0; i < KEY_DIGITS; i++) {
        const int digit = qn_hex_digit(name[i]);
        if (digit < 0) return false;
        halves[i / 16] = halves[i / 16] << 4 | (uint64_t)digit;
    }
    *key = (qn_prefix_key){.high = halves[0], .low = halves[1]};
    qn_page_name(again, *key);
    return strcmp(name, again) == 0; /* no capital letters: a page has one name */
}

/* The process that writes a part; 0: this is no name of a part. */
static pid_t parse_part_name(const char *name)
{
    static const char hex[] = "0123456789abcdef", digits[] = "0123456789";
    const char *pid = name + KEY_DIGITS + 1;
    if (strspn(name, hex) != KEY_DIGITS || name[KEY_DIGITS] != '.') return 0;
    const size_t n = strspn(pid, digits);
    if (n == 0 || n > 9 || pid[n] != '.') return 0; /* a pid_t has 31 bits, and Linux uses 22 of them */
    if (strspn(pid + n + 1, hex) != 16 || strcmp(pid + n + 17, ".part") != 0) return 0;
    return (pid_t)strtol(pid, NULL, 10);
}

/* ---- times ------------------------------------------------------------------------------------------- */

int64_t qn_page_time(struct timespec t)
{
    const int64_t latest = (int64_t)1 << 33; /* the year 2242 */
    const int64_t seconds = t.tv_sec < 0 ? 0 : t.tv_sec > latest ? latest : t.tv_sec;
    return seconds * 1000000000 + t.tv_nsec;
}

struct timespec qn_page_timespec(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

/* ---- directories and files --------------------------------------------------------------------------- */

static quern_status fail_errno(quern_error *err, const char *what, const char *name)
{
    const int e = errno;
    return qn_fail(err, e == ENOENT ? QUERN_ERR_NOT_FOUND : QUERN_ERR_IO, "cannot %s %s: %s", what,
                   qn_quote(name, strlen(name)).text, strerror(e));
}

/* Keys and values that others can write would let them choose what a model says. */
static bool is_ours(const struct stat *st)
{
    return st->st_uid == geteuid() && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static quern_status open_top(int *fd, const char *directory, bool make, quern_error *err)
{
    struct stat st;
    *fd = open(directory, DIRECTORY_FLAGS);
    if (*fd < 0 && errno == ENOENT && make) {
        qn_path_make(directory, 0700);
        *fd = open(directory, DIRECTORY_FLAGS);
    }
    if (*fd < 0) return fail_errno(err, "open directory", directory);
    if (fstat(*fd, &st) == 0 && is_ours(&st)) return QUERN_OK;
    close(*fd);
    *fd = -1;
    return qn_fail(err, QUERN_ERR_IO,
                   "%s belongs to another user, or others may write it (chmod go-w); not used",
                   qn_quote(directory, strlen(directory)).text);
}

static int open_below(int parent, const char *name, bool make)
{
    const int fd = openat(parent, name, DIRECTORY_FLAGS | O_NOFOLLOW);
    if (fd >= 0 || errno != ENOENT || !make) return fd;
    if (mkdirat(parent, name, 0700) != 0 && errno != EEXIST) return -1;
    return openat(parent, name, DIRECTORY_FLAGS | O_NOFOLLOW);
}

quern_status qn_page_directory_make(const char *directory, quern_error *err)
{
    int fd;
    const quern_status s = open_top(&fd, directory, true, err);
    if (s == QUERN_OK) close(fd);
    return s == QUERN_ERR_NOT_FOUND ? qn_fail(err, QUERN_ERR_IO, "cannot make directory %s",
                                              qn_quote(directory, strlen(directory)).text)
                                    : s;
}

quern_status qn_page_directory_open(int *fd, const char *directory, const char *model_key, qn_prefix_key key,
                                    bool make, quern_error *err)
{
    char shard[SHARD_BYTES];
    int top;
    *fd = -1;
    quern_status s = open_top(&top, directory, make, err);
    if (s != QUERN_OK) return s;
    name_shard(shard, (uint8_t)(key.high >> 56));
    const int model = open_below(top, model_key, make);
    if (model < 0) s = fail_errno(err, "open directory", model_key);
    else if ((*fd = open_below(model, shard, make)) < 0) s = fail_errno(err, "open directory", shard);
    if (model >= 0) close(model);
    close(top);
    return s;
}

bool qn_page_file_is_possible(const struct stat *st)
{
    return S_ISREG(st->st_mode) && is_ours(st) && st->st_size >= QN_PAGE_FILE_HEADER_BYTES &&
           (uint64_t)st->st_size <= QN_PAGE_FILE_MAX_BYTES;
}

quern_status qn_page_file_open(int *fd, struct stat *st, int dir_fd, const char *name, quern_error *err)
{
    *fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (*fd < 0 && (errno == ELOOP || errno == ENXIO || errno == EACCES)) /* a link, a socket, not readable */
        return qn_fail(err, QUERN_ERR_FORMAT, "%s: %s", name, strerror(errno));
    if (*fd < 0) return fail_errno(err, "open", name);
    if (fstat(*fd, st) == 0 && qn_page_file_is_possible(st)) return QUERN_OK;
    close(*fd);
    *fd = -1;
    return qn_fail(err, QUERN_ERR_FORMAT, "%s: no file, of an impossible size, or another user's", name);
}

bool qn_page_file_remove(int dir_fd, const char *name)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT) return true;
    return (errno == EISDIR || errno == EPERM) && unlinkat(dir_fd, name, AT_REMOVEDIR) == 0;
}

/* ---- looking through all of them --------------------------------------------------------------------- */

typedef struct scan {
    qn_page_found_fn *fn;
    void *user;
    const char *model_key;
    bool has_shards; /* of this model */
    uint64_t n_removed;
    int64_t now_ns;
} scan;

/* Removes what cannot be a page; tells of what can. */
static quern_status look_at_page(scan *s, int dir_fd, const char *name, qn_prefix_key key, quern_error *err)
{
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? QUERN_OK : fail_errno(err, "look at", name); /* gone by now */
    if (!qn_page_file_is_possible(&st)) {
        s->n_removed += qn_page_file_remove(dir_fd, name);
        return QUERN_OK;
    }
    return s->fn(s->user,
                 &(qn_page_found){.model_key = s->model_key,
                                  .key = key,
                                  .n_bytes = (uint64_t)st.st_size,
                                  .file_ns = qn_page_time(st.st_mtim)},
                 err);
}

static void look_at_part(const scan *s, int dir_fd, const char *name, pid_t writer)
{
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return;
    const bool is_gone = kill(writer, 0) != 0 && errno == ESRCH;
    if (is_gone || s->now_ns - qn_page_time(st.st_mtim) > PART_LIFE_NS) qn_page_file_remove(dir_fd, name);
}

/* A directory as a stream that owns fd. What is no directory, or not readable, holds no pages of ours: NULL
 * and QUERN_OK. */
static quern_status open_stream(DIR **stream, int fd, const char *name, quern_error *err)
{
    *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (*stream != NULL) return QUERN_OK;
    const bool is_none = fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EACCES);
    const quern_status s = is_none ? QUERN_OK : fail_errno(err, "read directory", name);
    if (fd >= 0) close(fd);
    return s;
}

static const char *next_name(DIR *stream)
{
    const struct dirent *e = NULL;
    do {
        errno = 0;
        e = readdir(stream);
    } while (e != NULL && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0));
    return e != NULL ? e->d_name : NULL;
}

static quern_status scan_shard(scan *s, int model_fd, uint8_t first_byte, quern_error *err)
{
    char shard[SHARD_BYTES];
    DIR *stream;
    bool is_empty = true;
    name_shard(shard, first_byte);
    quern_status status = open_stream(&stream, open_below(model_fd, shard, false), shard, err);
    if (stream == NULL) return status;
    s->has_shards = true;
    for (const char *name; status == QUERN_OK && (name = next_name(stream)) != NULL;) {
        qn_prefix_key key;
        const pid_t writer = parse_part_name(name);
        is_empty = false;
        if (writer > 0) look_at_part(s, dirfd(stream), name, writer);
        else if (parse_name(&key, name) && key.high >> 56 == first_byte)
            status = look_at_page(s, dirfd(stream), name, key, err);
    }
    if (status == QUERN_OK && errno != 0) status = fail_errno(err, "read directory", shard);
    closedir(stream);
    if (is_empty) unlinkat(model_fd, shard, AT_REMOVEDIR); /* fails if somebody has begun to write there */
    return status;
}

static quern_status scan_model(scan *s, int top_fd, const char *model_key, quern_error *err)
{
    quern_status status = QUERN_OK;
    const int fd = open_below(top_fd, model_key, false);
    if (fd < 0) {
        const bool is_none = errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EACCES;
        return is_none ? QUERN_OK : fail_errno(err, "open directory", model_key);
    }
    s->model_key = model_key;
    s->has_shards = false;
    for (int byte = 0; byte < 256 && status == QUERN_OK; byte++)
        status = scan_shard(s, fd, (uint8_t)byte, err);
    close(fd);
    if (s->has_shards) unlinkat(top_fd, model_key, AT_REMOVEDIR); /* fails unless it is empty now */
    return status;
}

quern_status qn_page_directory_scan(const char *directory, qn_page_found_fn *fn, void *user,
                                    uint64_t *n_removed, quern_error *err)
{
    struct timespec now;
    scan s = {.fn = fn, .user = user};
    DIR *stream;
    int fd;
    *n_removed = 0;
    clock_gettime(CLOCK_REALTIME, &now);
    s.now_ns = qn_page_time(now);
    quern_status status = open_top(&fd, directory, false, err);
    if (status == QUERN_ERR_NOT_FOUND) return QUERN_OK;
    if (status == QUERN_OK) status = open_stream(&stream, fd, directory, err);
    if (status != QUERN_OK) return status;
    for (const char *name; status == QUERN_OK && (name = next_name(stream)) != NULL;) {
        if (qn_page_model_key_is_valid(name)) status = scan_model(&s, dirfd(stream), name, err);
    }
    if (status == QUERN_OK && errno != 0) status = fail_errno(err, "read directory", directory);
    closedir(stream);
    *n_removed = s.n_removed;
    return status;
}
