/* pack_cache.c: see pack_cache.h. */
#include "engine/pack_cache.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_BYTES = 2 * QN_PACK_DIGEST_BYTES + sizeof ".pack", MAX_PACKS = 10000 };
static const uint64_t DEFAULT_MIN = (uint64_t)256 << 20, DEFAULT_MAX = (uint64_t)32 << 30,
                      SPARE = (uint64_t)256 << 20; /* left on the disk in any case */
static const char LOCK[] = "lock", PART[] = "part";

/* ---- settings -------------------------------------------------------------------------------------- */

/* "500M", "1.5G", "20000": units of 1024. */
static bool parse_bytes(const char *text, uint64_t *out)
{
    char *end;
    const double value = strtod(text, &end);
    static const char units[] = "KMGT";
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    const double scaled = value * (unit != NULL ? (double)((uint64_t)1 << (10 * (unit - units + 1))) : 1.0);
    if (end == text || (*end != '\0' && (unit == NULL || end[1] != '\0')) || !(scaled >= 0 && scaled < 1e18))
        return false;
    *out = (uint64_t)scaled;
    return true;
}

static uint64_t setting(const char *name, uint64_t given, uint64_t otherwise, const qn_log *log)
{
    const char *text = getenv(name);
    uint64_t n = otherwise;
    if (given > 0) return given;
    if (text != NULL && text[0] != '\0' && !parse_bytes(text, &n))
        qn_log_write(log, QUERN_LOG_WARN, "%s=%s is not a size such as 20G; it is ignored", name,
                     qn_quote(text, strlen(text)).text);
    return n;
}

quern_status qn_pack_cache_init(qn_pack_cache *c, const quern_model_params *p, const qn_log *log,
                                quern_error *err)
{
    static const struct {
        const char *word;
        quern_pack_mode mode;
    } words[] = {{"off", QUERN_PACK_OFF}, {"0", QUERN_PACK_OFF},         {"auto", QUERN_PACK_AUTO},
                 {"on", QUERN_PACK_AUTO}, {"mapped", QUERN_PACK_MAPPED}, {"copied", QUERN_PACK_COPIED},
                 {"", QUERN_PACK_AUTO}};
    const char *said = getenv("QUERN_PACK_CACHE"), *directory = p->pack_directory;
    quern_pack_mode mode = QUERN_PACK_DEFAULT;
    if (said == NULL) said = "";
    for (size_t i = 0; i < sizeof words / sizeof words[0] && mode == QUERN_PACK_DEFAULT; i++)
        if (strcmp(said, words[i].word) == 0) mode = words[i].mode;
    if (mode == QUERN_PACK_DEFAULT) { /* not a word: a directory */
        mode = QUERN_PACK_AUTO;
        if (directory == NULL) directory = said;
    }
    memset(c, 0, sizeof *c);
    c->mode = p->pack_mode != QUERN_PACK_DEFAULT ? p->pack_mode : mode;
    c->max_bytes = setting("QUERN_PACK_CACHE_MAX", p->pack_max_bytes, 0, log);
    c->min_bytes = setting("QUERN_PACK_CACHE_MIN", p->pack_min_bytes, DEFAULT_MIN, log);
    c->free_bytes = qn_path_free_bytes;
    if (c->mode == QUERN_PACK_OFF) return QUERN_OK;
    char path[PATH_MAX];
    if (directory == NULL && qn_path_xdg(path, "XDG_CACHE_HOME", ".cache", "quern/packs")) directory = path;
    if (directory != NULL) c->directory = qn_path_absolute(directory);
    if (c->directory != NULL) return QUERN_OK;
    c->mode = QUERN_PACK_OFF;
    return directory == NULL ? QUERN_OK
                             : qn_fail(err, QUERN_ERR_NOMEM, "pack cache: no directory, or no memory");
}

void qn_pack_cache_deinit(qn_pack_cache *c)
{
    qn_free(c->directory);
    memset(c, 0, sizeof *c);
}

/* ---- directory and files --------------------------------------------------------------------------- */

static quern_status fail_errno(quern_error *err, const char *path, const char *what)
{
    const int e = errno;
    const bool full = e == ENOSPC || e == EDQUOT;
    return qn_fail(err,
                   e == ENOENT ? QUERN_ERR_NOT_FOUND
                   : full      ? QUERN_ERR_LIMIT
                               : QUERN_ERR_IO,
                   "pack cache: %s: %s: %s", qn_quote(path, strlen(path)).text, what, strerror(e));
}

/* Weights from a file that others can write would let them choose what a model says. */
static quern_status check_ours(const char *what, const struct stat *st, quern_error *err)
{
    if (st->st_uid == geteuid() && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_ARGUMENT,
                   "pack cache: %s: belongs to user %lu with mode %03o, so others could have written it; not "
                   "used (remove it, or chmod go-w)",
                   qn_quote(what, strlen(what)).text, (unsigned long)st->st_uid,
                   (unsigned)(st->st_mode & 0777));
}

static quern_status open_directory(int *fd, const char *path, bool make, quern_error *err)
{
    struct stat st;
    if (make) qn_path_make(path, 0700);
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) return fail_errno(err, path, "cannot open this directory");
    quern_status s =
        fstat(*fd, &st) != 0 ? fail_errno(err, path, "cannot tell whose it is") : check_ours(path, &st, err);
    if (s != QUERN_OK) close(*fd), *fd = -1;
    return s;
}

static void format_name(char name[NAME_BYTES], const qn_pack_key *key)
{
    for (int i = 0; i < QN_PACK_DIGEST_BYTES; i++) snprintf(name + 2 * i, 3, "%02x", key->bytes[i]);
    memcpy(name + 2 * QN_PACK_DIGEST_BYTES, ".pack", sizeof ".pack");
}

static bool is_name(const char *name)
{
    return strspn(name, "0123456789abcdef") == 2 * QN_PACK_DIGEST_BYTES &&
           strcmp(name + 2 * QN_PACK_DIGEST_BYTES, ".pack") == 0;
}

static quern_status read_header(qn_pack *pack, uint64_t file_bytes, const char *name, quern_error *err)
{
    uint8_t fixed[QN_PACK_FIXED_BYTES];
    if (file_bytes < sizeof fixed || !qn_file_read_at(pack->fd, fixed, sizeof fixed, 0))
        return qn_fail(err, QUERN_ERR_FORMAT, "pack cache: %s: too short", name);
    const size_t n = qn_pack_header_bytes(fixed);
    if (n == 0 || n > file_bytes)
        return qn_fail(err, QUERN_ERR_FORMAT, "pack cache: %s: no pack of this version, or cut off", name);
    pack->bytes = qn_malloc(n);
    if (pack->bytes == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "pack cache: no memory for a header");
    if (!qn_file_read_at(pack->fd, pack->bytes, n, 0)) return fail_errno(err, name, "cannot read the header");
    return qn_pack_header_parse(&pack->header, pack->bytes, n, file_bytes, err);
}

static quern_status open_at(qn_pack *pack, int dir_fd, const char *name, struct stat *st, quern_error *err)
{
    memset(pack, 0, sizeof *pack);
    pack->fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (pack->fd < 0) return fail_errno(err, name, "cannot open");
    pack->is_open = true;
    quern_status s = QUERN_OK;
    if (fstat(pack->fd, st) != 0 || !S_ISREG(st->st_mode) || st->st_size < 0)
        s = qn_fail(err, QUERN_ERR_FORMAT, "pack cache: %s: not a file", name);
    if (s == QUERN_OK) s = check_ours(name, st, err);
    if (s == QUERN_OK) s = read_header(pack, (uint64_t)st->st_size, name, err);
    if (s != QUERN_OK) qn_pack_close(pack);
    return s;
}

quern_status qn_pack_open(qn_pack *pack, const qn_pack_cache *c, const qn_pack_key *key, quern_error *err)
{
    char name[NAME_BYTES];
    struct stat st;
    int dir_fd;
    memset(pack, 0, sizeof *pack);
    quern_status s = open_directory(&dir_fd, c->directory, false, err);
    if (s != QUERN_OK) return s;
    format_name(name, key);
    s = open_at(pack, dir_fd, name, &st, err);
    close(dir_fd);
    return s;
}

void qn_pack_close(qn_pack *pack)
{
    if (pack->is_open) close(pack->fd);
    qn_free(pack->bytes);
    memset(pack, 0, sizeof *pack);
}

void qn_pack_touch(const qn_pack *pack)
{
    futimens(pack->fd, NULL); /* a directory that cannot be written forgets the order of use, no more */
}

void qn_pack_discard(const qn_pack_cache *c, const qn_pack_key *key)
{
    char name[NAME_BYTES];
    int dir_fd;
    if (open_directory(&dir_fd, c->directory, false, NULL) != QUERN_OK) return;
    format_name(name, key);
    unlinkat(dir_fd, name, 0);
    close(dir_fd);
}

/* ---- all of them ----------------------------------------------------------------------------------- */

typedef struct pack_entry {
    char name[NAME_BYTES];
    char *source; /* NULL: not a readable pack */
    uint64_t n_bytes;
    int64_t used_ns;
    bool stale; /* its model file is gone or has changed; or it is not a readable pack */
} pack_entry;

typedef struct pack_list {
    pack_entry *entries;
    size_t n_entries, capacity;
} pack_list;

static void free_list(pack_list *list)
{
    for (size_t i = 0; i < list->n_entries; i++) qn_free(list->entries[i].source);
    qn_free(list->entries);
}

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A split model is as large as all of its parts, and may be named by any; for it only the path counts. */
static bool is_stale(const qn_pack_header *h, const char *source)
{
    struct stat st;
    if (stat(source, &st) != 0) return true;
    return (uint64_t)st.st_size >= h->source_bytes &&
           ((uint64_t)st.st_size != h->source_bytes || nanoseconds(st.st_mtim) != h->source_modified_ns);
}

static bool describe(pack_entry *e, int dir_fd, const char *name)
{
    qn_pack pack;
    struct stat st;
    memset(e, 0, sizeof *e);
    snprintf(e->name, sizeof e->name, "%s", name);
    e->stale = true;
    const bool readable = open_at(&pack, dir_fd, name, &st, NULL) == QUERN_OK;
    if (!readable && fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return false; /* gone by now */
    e->n_bytes = st.st_size > 0 ? (uint64_t)st.st_size : 0;
    e->used_ns = nanoseconds(st.st_mtim);
    if (readable) e->source = qn_strndup(pack.header.source, pack.header.source_length);
    if (e->source != NULL) e->stale = is_stale(&pack.header, e->source);
    if (readable) qn_pack_close(&pack);
    return true;
}

static int by_use(const void *a, const void *b) /* stale ones first, then the oldest */
{
    const pack_entry *x = a, *y = b;
    if (x->stale != y->stale) return x->stale ? -1 : 1;
    return x->used_ns != y->used_ns ? (x->used_ns < y->used_ns ? -1 : 1) : strcmp(x->name, y->name);
}

/* In the order in which they are given up. */
static quern_status read_list(pack_list *list, int dir_fd, quern_error *err)
{
    memset(list, 0, sizeof *list);
    const int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0) close(fd);
        return fail_errno(err, ".", "cannot read the directory");
    }
    quern_status s = QUERN_OK;
    for (const struct dirent *e = readdir(dir); e != NULL && s == QUERN_OK; e = readdir(dir)) {
        if (!is_name(e->d_name)) continue;
        if (!qn_grow(&list->entries, &list->capacity, list->n_entries + 1, MAX_PACKS, sizeof *list->entries))
            s = qn_fail(err, QUERN_ERR_NOMEM, "pack cache: no memory for a list");
        else if (describe(&list->entries[list->n_entries], dir_fd, e->d_name)) list->n_entries++;
    }
    closedir(dir);
    if (list->n_entries > 1) qsort(list->entries, list->n_entries, sizeof *list->entries, by_use);
    return s;
}

/* Room for n_bytes: packs of the same model file go in any case, then stale ones, then by last use. */
static quern_status make_room(const qn_pack_cache *c, int dir_fd, const char *source, uint64_t n_bytes,
                              quern_error *err)
{
    pack_list list;
    quern_status s = read_list(&list, dir_fd, err);
    struct stat part;
    uint64_t held = 0, space = c->free_bytes(c->directory), limit = c->max_bytes;
    if (fstatat(dir_fd, PART, &part, AT_SYMLINK_NOFOLLOW) == 0 && /* it becomes this pack, or is emptied */
        !qn_add_u64(space, (uint64_t)part.st_blocks * 512, &space))
        space = UINT64_MAX;
    for (size_t i = 0; i < list.n_entries; i++) {
        pack_entry *e = &list.entries[i];
        if (e->source != NULL && strcmp(e->source, source) == 0 && unlinkat(dir_fd, e->name, 0) == 0) {
            if (!qn_add_u64(space, e->n_bytes, &space)) space = UINT64_MAX;
            e->n_bytes = 0;
        }
        held += e->n_bytes;
    }
    if (limit == 0) limit = space / 5 + held / 5 < DEFAULT_MAX ? space / 5 + held / 5 : DEFAULT_MAX;
    if (s == QUERN_OK && n_bytes > limit)
        s = qn_fail(err, QUERN_ERR_LIMIT,
                    "pack cache: the pack would take %llu bytes, but at most %llu are allowed "
                    "(QUERN_PACK_CACHE_MAX)",
                    (unsigned long long)n_bytes, (unsigned long long)limit);
    for (size_t i = 0; s == QUERN_OK && i < list.n_entries && held + n_bytes > limit; i++) {
        const pack_entry *e = &list.entries[i];
        if (e->n_bytes == 0 || unlinkat(dir_fd, e->name, 0) != 0) continue;
        held -= e->n_bytes;
        if (!qn_add_u64(space, e->n_bytes, &space)) space = UINT64_MAX;
    }
    if (s == QUERN_OK && (space < SPARE || space - SPARE < n_bytes))
        s = qn_fail(err, QUERN_ERR_LIMIT, "pack cache: %llu bytes are free, %llu are needed",
                    (unsigned long long)space, (unsigned long long)(n_bytes + SPARE));
    free_list(&list);
    return s;
}

quern_status quern_packs_list(const char *directory, quern_pack_fn *fn, void *user, quern_error *err)
{
    qn_pack_cache c;
    quern_model_params p = quern_model_params_default();
    p.pack_directory = directory;
    p.pack_mode = QUERN_PACK_AUTO; /* what is there can be seen with the cache switched off too */
    quern_status s = qn_pack_cache_init(&c, &p, &(qn_log){0}, err);
    int dir_fd = -1;
    if (s == QUERN_OK && c.directory != NULL) s = open_directory(&dir_fd, c.directory, false, err);
    if (s != QUERN_OK || dir_fd < 0) {
        qn_pack_cache_deinit(&c);
        return s == QUERN_ERR_NOT_FOUND ? QUERN_OK : s;
    }
    pack_list list;
    s = read_list(&list, dir_fd, err);
    for (size_t i = list.n_entries; s == QUERN_OK && i-- > 0;) {
        const pack_entry *e = &list.entries[i];
        qn_buffer path = {0};
        qn_buffer_printf(&path, "%s/%s", c.directory, e->name);
        const quern_pack_entry entry = {path.data, e->source, e->n_bytes, e->used_ns / 1000000000, e->stale};
        if (path.failed) s = qn_fail(err, QUERN_ERR_NOMEM, "pack cache: no memory for a list");
        const bool more = path.failed || fn(user, &entry);
        qn_buffer_deinit(&path);
        if (!more) break;
    }
    free_list(&list);
    close(dir_fd);
    qn_pack_cache_deinit(&c);
    return s;
}

typedef struct removal {
    const char *source; /* NULL: all */
    uint64_t n_bytes;
} removal;

static bool remove_one(void *user, const quern_pack_entry *e)
{
    removal *r = user;
    const bool meant = r->source == NULL || (e->source != NULL && strcmp(e->source, r->source) == 0);
    if (meant && unlink(e->path) == 0) r->n_bytes += e->size_bytes;
    return true;
}

/* -1: another process writes, or it cannot be opened. Released by close(). */
static int take_lock(int dir_fd, quern_error *err)
{
    const int fd = openat(dir_fd, LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        fail_errno(err, LOCK, "cannot open");
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
    qn_fail(err, QUERN_ERR_BUSY, "pack cache: another process is writing a pack");
    close(fd);
    return -1;
}

/* What a process has left that was ended while it wrote. */
static void remove_part(const char *directory, removal *r)
{
    qn_pack_cache c;
    quern_model_params p = quern_model_params_default();
    p.pack_directory = directory, p.pack_mode = QUERN_PACK_AUTO;
    int dir_fd = -1;
    if (qn_pack_cache_init(&c, &p, &(qn_log){0}, NULL) == QUERN_OK && c.directory != NULL &&
        open_directory(&dir_fd, c.directory, false, NULL) == QUERN_OK) {
        const int lock_fd = take_lock(dir_fd, NULL);
        struct stat st;
        if (lock_fd >= 0 && fstatat(dir_fd, PART, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            unlinkat(dir_fd, PART, 0) == 0)
            r->n_bytes += (uint64_t)st.st_blocks * 512;
        if (lock_fd >= 0) close(lock_fd);
        close(dir_fd);
    }
    qn_pack_cache_deinit(&c);
}

quern_status quern_packs_remove(const char *directory, const char *source, uint64_t *freed_bytes,
                                quern_error *err)
{
    char real[PATH_MAX];
    removal r = {.source = source};
    if (source != NULL && realpath(source, real) != NULL) r.source = real;
    const quern_status s = quern_packs_list(directory, remove_one, &r, err);
    if (s == QUERN_OK && source == NULL) remove_part(directory, &r);
    if (freed_bytes != NULL) *freed_bytes = r.n_bytes;
    return s;
}

/* ---- writing --------------------------------------------------------------------------------------- */

static quern_status write_at(int fd, const char *bytes, size_t n_bytes, uint64_t offset, quern_error *err)
{
    for (size_t done = 0; done < n_bytes;) {
        const ssize_t n = pwrite(fd, bytes + done, n_bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(err, PART, "cannot write");
        done += (size_t)n;
    }
    return QUERN_OK;
}

/* A part that was left unfinished is gone on with. Where its header will stand it holds the key, then the
 * checksum of each piece that reached the disk; so each piece is synced before its checksum is written, which
 * also keeps little waiting in memory, and lets done_bytes tell the disk's pace. */
static quern_status open_part(int *fd, int dir_fd, const qn_pack_key *key, uint64_t *checksums,
                              size_t n_pieces, quern_error *err)
{
    struct stat st;
    qn_pack_key found;
    *fd = openat(dir_fd, PART, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (*fd < 0) return fail_errno(err, PART, "cannot make");
    if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) return fail_errno(err, PART, "is not a file");
    const quern_status s = check_ours(PART, &st, err);
    if (s != QUERN_OK) return s;
    if (qn_file_read_at(*fd, &found, sizeof found, 0) && memcmp(&found, key, sizeof found) == 0 &&
        qn_file_read_at(*fd, checksums, n_pieces * sizeof *checksums, sizeof found))
        return QUERN_OK;
    memset(checksums, 0, n_pieces * sizeof *checksums);
    if (ftruncate(*fd, 0) != 0) return fail_errno(err, PART, "cannot empty");
    return write_at(*fd, (const char *)key->bytes, sizeof key->bytes, 0, err);
}

static quern_status write_data(int fd, const qn_pack_write *w, uint64_t data_offset, uint64_t *checksums,
                               quern_error *err)
{
    const char *data = w->weights->arena.base;
    const size_t n_bytes = w->weights->arena.used;
    quern_status s = QUERN_OK;
    for (size_t i = 0, done = 0; done < n_bytes && s == QUERN_OK; i++) {
        const size_t n = qn_min_size(n_bytes - done, QN_PACK_PIECE);
        if (atomic_load(w->stop)) return qn_fail(err, QUERN_ERR_CANCELED, "pack cache: writing was stopped");
        const uint64_t checksum = qn_pack_checksum(data + done, n);
        if (checksums[i] != checksum) {
            checksums[i] = checksum;
            s = write_at(fd, data + done, n, data_offset + done, err);
            if (s == QUERN_OK && fdatasync(fd) != 0) s = fail_errno(err, PART, "cannot sync");
            if (s == QUERN_OK)
                s = write_at(fd, (const char *)&checksum, sizeof checksum,
                             sizeof(qn_pack_key) + i * sizeof checksum, err);
        }
        done += n;
        atomic_store(w->done_bytes, done);
    }
    return s;
}

static quern_status write_part(int dir_fd, const char *name, const qn_pack_write *w, quern_error *err)
{
    const uint64_t data_offset = qn_pack_data_offset(w->weights, w->source);
    const size_t n_bytes = w->weights->arena.used, n_pieces = qn_pack_pieces(n_bytes);
    int fd = -1;
    uint64_t *checksums = qn_calloc(n_pieces, sizeof *checksums);
    qn_buffer header = {.max_bytes = QN_PACK_MAX_HEADER};
    quern_status s = checksums != NULL ? open_part(&fd, dir_fd, w->key, checksums, n_pieces, err)
                                       : qn_fail(err, QUERN_ERR_NOMEM, "pack cache: no memory");
#ifdef __linux__
    if (s == QUERN_OK && fallocate(fd, 0, 0, (off_t)(data_offset + n_bytes)) != 0 && errno == ENOSPC)
        s = fail_errno(err, PART, "cannot reserve room"); /* elsewhere writing tells */
#endif
    if (s == QUERN_OK) s = write_data(fd, w, data_offset, checksums, err);
    if (s == QUERN_OK && !qn_pack_header_write(&header, w->weights, w->key, w->gguf, w->source, checksums))
        s = qn_fail(err, QUERN_ERR_NOMEM, "pack cache: no memory for the header, or it would be too large");
    if (s == QUERN_OK) s = write_at(fd, header.data, header.n_bytes, 0, err);
    if (s == QUERN_OK && ftruncate(fd, (off_t)(data_offset + n_bytes)) != 0)
        s = fail_errno(err, PART, "cannot cut to size");
    if (s == QUERN_OK && fsync(fd) != 0) s = fail_errno(err, PART, "cannot sync");
    if (fd >= 0 && close(fd) != 0 && s == QUERN_OK) s = fail_errno(err, PART, "cannot close");
    if (s == QUERN_OK && renameat(dir_fd, PART, dir_fd, name) != 0)
        s = fail_errno(err, name, "cannot rename");
    if (s == QUERN_OK) fsync(dir_fd);
    else if (s != QUERN_ERR_CANCELED) unlinkat(dir_fd, PART, 0);
    qn_buffer_deinit(&header);
    qn_free(checksums);
    return s;
}

quern_status qn_pack_store(const qn_pack_cache *c, const qn_pack_write *w, quern_error *err)
{
    int dir_fd;
    quern_status s = open_directory(&dir_fd, c->directory, true, err);
    if (s != QUERN_OK) return s;
    quern_error local = {0};
    const int lock_fd = take_lock(dir_fd, &local);
    if (lock_fd < 0) s = qn_fail(err, local.status, "%s", local.message);
    if (s == QUERN_OK) {
        char name[NAME_BYTES];
        qn_pack pack;
        struct stat st;
        format_name(name, w->key);
        if (open_at(&pack, dir_fd, name, &st, NULL) == QUERN_OK &&
            qn_pack_header_match(&pack.header, w->weights, w->key, NULL) == QUERN_OK) {
            qn_pack_close(&pack); /* another process wrote it meanwhile */
        } else {
            qn_pack_close(&pack);
            unlinkat(dir_fd, name, 0);
            s = make_room(c, dir_fd, w->source,
                          qn_pack_data_offset(w->weights, w->source) + w->weights->arena.used, err);
            if (s == QUERN_OK) s = write_part(dir_fd, name, w, err);
        }
    }
    if (lock_fd >= 0) close(lock_fd);
    close(dir_fd);
    return s;
}
