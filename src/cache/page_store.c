/* page_store.c: see page_store.h.
 *
 * The index (page_index.h) is made by looking through the directory and kept up by what this process does. It
 * may be wrong, for other processes and people remove and write files too: it answers `has`, says what is to
 * be removed next, and bounds the sum; what a file is, is decided by opening it. One lock guards the index
 * and is never held while the disk works, so threads may do opposite things to one file at once; then an
 * entry may stay that has no file. It counts as room taken, and goes when it is met. */
#include "cache/page_store.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/path.h"
#include "base/random.h"
#include "cache/page_directory.h"
#include "cache/page_index.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    OURS = 0,            /* the number of our own model key */
    MAX_MODELS = 4096,   /* model keys in one directory */
    MAX_UNREMOVABLE = 8, /* files that cannot be removed, before it is said */
    SHARE_UNSEEN = 16,   /* the directory is looked through again after max_bytes / SHARE_UNSEEN */
    PART_TRIES = 3       /* somebody may remove the empty directory before there is a file in it */
};
static const int64_t TOUCH_NS =
    (int64_t)60 * 1000000000; /* a file's time is at most so much behind its use */

struct qn_page_store {
    char *directory, *model_key;
    qn_page_form form;
    uint64_t max_bytes;

    pthread_mutex_t lock; /* of all that follows */
    qn_page_index index;
    char **models; /* [n_models] model keys by number; they stay until the end */
    size_t n_models, models_capacity;
    uint64_t reserved_bytes; /* of files that are being written */
    size_t n_reserved;
    uint64_t unseen_bytes; /* written since the directory was looked through */
    uint32_t generation;   /* how often it was */
    int64_t last_ns;       /* the latest moment given out */
    qn_random random;
    qn_page_store_stats stats;
};

/* ---- times of use ------------------------------------------------------------------------------------ */

/* Now, and later than any moment before, also where the clock was set back. */
static int64_t next_moment(qn_page_store *s)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const int64_t ns = qn_page_time(now);
    return s->last_ns = ns > s->last_ns ? ns : s->last_ns + 1;
}

/* A file's time as a time of use: those from the future do not keep it any longer. */
static int64_t past(qn_page_store *s, int64_t file_ns)
{
    const int64_t now = next_moment(s);
    return file_ns < now ? file_ns : now;
}

/* Returns the time that its file should get, or 0: it is not worth it. */
static int64_t mark_used(qn_page_store *s, qn_page_entry *e)
{
    const int64_t now = next_moment(s);
    const bool is_due = e->file_ns < now - TOUCH_NS || e->file_ns > now;
    qn_page_index_set_times(&s->index, e, now, is_due ? now : e->file_ns);
    return is_due ? now : 0;
}

/* A directory that cannot be written forgets the order of use, no more. */
static void set_file_time(int dir_fd, const char *name, int64_t ns)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, qn_page_timespec(ns)};
    utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW);
}

/* ---- looking through the directory ------------------------------------------------------------------- */

/* The number of a model key; false: no memory, or too many. */
static bool number_model(qn_page_store *s, const char *model_key, uint32_t *number, quern_error *err)
{
    for (size_t i = 0; i < s->n_models; i++)
        if (strcmp(s->models[i], model_key) == 0) return *number = (uint32_t)i, true;
    if (s->n_models == MAX_MODELS)
        return qn_fail(err, QUERN_ERR_IO, "%s holds more than %d models", s->directory, MAX_MODELS), false;
    char *copy = qn_strdup(model_key);
    if (copy == NULL ||
        !qn_grow(&s->models, &s->models_capacity, s->n_models + 1, MAX_MODELS, sizeof *s->models)) {
        qn_free(copy);
        qn_fail(err, QUERN_ERR_NOMEM, "no memory for a model key");
        return false;
    }
    *number = (uint32_t)s->n_models;
    s->models[s->n_models++] = copy;
    return true;
}

/* Adds an entry without taking the room of those that are being written. */
static bool add_entry(qn_page_store *s, const qn_page_entry *e)
{
    return qn_page_index_reserve(&s->index, s->index.n_entries + s->n_reserved + 1) &&
           qn_page_index_put(&s->index, e);
}

static quern_status note_found(void *user, const qn_page_found *found, quern_error *err)
{
    qn_page_store *s = user;
    qn_page_entry e = {.key = found->key, .n_bytes = found->n_bytes, .file_ns = found->file_ns};
    quern_status status = QUERN_OK;
    quern_error local = {0};
    pthread_mutex_lock(&s->lock);
    if (!number_model(s, found->model_key, &e.model, &local)) {
        status = qn_fail(err, local.status, "%s", local.message);
    } else {
        const qn_page_entry *known = qn_page_index_find(&s->index, e.model, e.key);
        e.generation = s->generation;
        e.used_ns = past(s, e.file_ns);
        /* A time from the future counts as a use once, not each time that it is seen. */
        if (known != NULL && (known->file_ns == e.file_ns || known->used_ns > e.used_ns))
            e.used_ns = known->used_ns;
        if (!add_entry(s, &e))
            status = qn_fail(err, QUERN_ERR_NOMEM, "no memory for %zu files", s->index.n_entries + 1);
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* Where another look begins before this one ends, that one decides about entries that this one has not seen.
 */
static quern_status look_through(qn_page_store *s, quern_error *err)
{
    uint64_t n_removed;
    pthread_mutex_lock(&s->lock);
    const uint32_t generation = ++s->generation;
    s->unseen_bytes = 0;
    pthread_mutex_unlock(&s->lock);
    const quern_status status = qn_page_directory_scan(s->directory, note_found, s, &n_removed, err);
    pthread_mutex_lock(&s->lock);
    if (status == QUERN_OK) qn_page_index_remove_unseen(&s->index, generation);
    s->stats.n_damaged += n_removed;
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* ---- making room ------------------------------------------------------------------------------------- */

typedef struct victim {
    const char *model_key;
    uint32_t model;
    qn_prefix_key key;
    int64_t used_ns;
} victim;

static bool choose_victim(qn_page_store *s, victim *v)
{
    pthread_mutex_lock(&s->lock);
    const qn_page_entry *e = qn_page_index_oldest(&s->index);
    if (e != NULL) *v = (victim){s->models[e->model], e->model, e->key, e->used_ns};
    pthread_mutex_unlock(&s->lock);
    return e != NULL;
}

/* After the disk was asked: the entry, if nobody has used or removed it meanwhile. To be called with the
 * lock. */
static qn_page_entry *still_the_victim(qn_page_store *s, const victim *v)
{
    qn_page_entry *e = qn_page_index_find(&s->index, v->model, v->key);
    return e != NULL && e->used_ns == v->used_ns ? e : NULL;
}

/* Whether another process has used the file since it was looked at; then it is not its turn. */
static bool was_used_elsewhere(qn_page_store *s, const victim *v, int dir_fd, const char *name)
{
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return false;
    const int64_t file_ns = qn_page_time(st.st_mtim);
    bool was_used = false;
    pthread_mutex_lock(&s->lock);
    qn_page_entry *e = still_the_victim(s, v);
    if (e != NULL && e->file_ns != file_ns && past(s, file_ns) > e->used_ns) {
        qn_page_index_set_times(&s->index, e, past(s, file_ns), file_ns);
        was_used = true;
    }
    pthread_mutex_unlock(&s->lock);
    return was_used;
}

/* Removes the file used least recently, or finds that another one is; false: that file cannot be removed. */
static bool remove_oldest(qn_page_store *s)
{
    victim v;
    char name[QN_PAGE_NAME_BYTES];
    int dir_fd;
    if (!choose_victim(s, &v)) return true;
    qn_page_name(name, v.key);
    const quern_status status =
        qn_page_directory_open(&dir_fd, s->directory, v.model_key, v.key, false, NULL);
    bool is_gone = status == QUERN_ERR_NOT_FOUND;
    if (status == QUERN_OK) {
        const bool spare = was_used_elsewhere(s, &v, dir_fd, name);
        is_gone = !spare && qn_page_file_remove(dir_fd, name);
        close(dir_fd);
        if (spare) return true;
    }
    pthread_mutex_lock(&s->lock);
    qn_page_entry *e = still_the_victim(s, &v);
    if (e != NULL && is_gone) {
        qn_page_index_remove(&s->index, e);
        s->stats.n_removed++;
    } else if (e != NULL) {
        qn_page_index_set_times(&s->index, e, next_moment(s), e->file_ns); /* others first */
    }
    pthread_mutex_unlock(&s->lock);
    return is_gone;
}

/* Reserves room for a file of n_bytes, and for its entry, so that afterwards only the disk can fail. */
static quern_status make_room(qn_page_store *s, uint64_t n_bytes, quern_error *err)
{
    for (int n_failed = 0; n_failed < MAX_UNREMOVABLE;) {
        pthread_mutex_lock(&s->lock);
        const size_t n_entries = s->index.n_entries, n_wanted = n_entries + s->n_reserved + 1;
        const uint64_t held = s->index.n_bytes + s->reserved_bytes;
        const bool has_room =
            n_bytes <= s->max_bytes && held <= s->max_bytes - n_bytes && n_wanted <= QN_PAGE_INDEX_MAX;
        const bool is_done = has_room && qn_page_index_reserve(&s->index, n_wanted);
        if (is_done) s->reserved_bytes += n_bytes, s->n_reserved++;
        pthread_mutex_unlock(&s->lock);
        if (is_done) return QUERN_OK;
        if (has_room) return qn_fail(err, QUERN_ERR_NOMEM, "no memory for %zu files", n_wanted);
        if (n_entries == 0)
            return qn_fail(err, QUERN_ERR_LIMIT, "%llu bytes, of %llu allowed %llu are being written",
                           (unsigned long long)n_bytes, (unsigned long long)s->max_bytes,
                           (unsigned long long)held);
        n_failed += !remove_oldest(s);
    }
    return qn_fail(err, QUERN_ERR_IO, "files in %s cannot be removed to make room",
                   qn_quote(s->directory, strlen(s->directory)).text);
}

/* What was reserved becomes a file (entry), or is given back. */
static void settle_room(qn_page_store *s, uint64_t n_bytes, qn_page_entry *entry)
{
    pthread_mutex_lock(&s->lock);
    s->reserved_bytes -= n_bytes;
    s->n_reserved--;
    if (entry != NULL) {
        entry->generation = s->generation;
        const bool added = qn_page_index_put(&s->index, entry);
        assert(added), (void)added;
        s->unseen_bytes += n_bytes;
        s->stats.written_bytes += n_bytes;
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- opening ----------------------------------------------------------------------------------------- */

static quern_status fail_with_prefix(quern_error *err, quern_status status)
{
    qn_fail_prefix(err, "page store");
    return status;
}

static quern_status check_params(const qn_page_store_params *p, quern_error *err)
{
    uint64_t left = QN_PAGE_FILE_MAX_BYTES - QN_PAGE_FILE_HEADER_BYTES;
    if (p->model_key == NULL || !qn_page_model_key_is_valid(p->model_key))
        return qn_fail(err, QUERN_ERR_ARGUMENT, "'%s' is no model key that can name a directory",
                       p->model_key != NULL ? qn_quote(p->model_key, strlen(p->model_key)).text : "");
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        if (p->page_bytes[g] > left)
            return qn_fail(err, QUERN_ERR_ARGUMENT, "pages of %zu bytes are too large", p->page_bytes[g]);
        left -= p->page_bytes[g];
    }
    return QUERN_OK;
}

quern_status qn_page_store_open(qn_page_store **out, const qn_page_store_params *params, quern_error *err)
{
    uint32_t ours;
    *out = NULL;
    quern_status status = check_params(params, err);
    if (status != QUERN_OK) return fail_with_prefix(err, status);
    qn_page_store *s = qn_calloc(1, sizeof *s);
    if (s == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "page store: no memory");
    pthread_mutex_init(&s->lock, NULL);
    s->max_bytes = params->max_bytes;
    s->random.seed = qn_random_seed();
    s->index.seed = qn_random_u64(&s->random);
    s->directory = qn_path_absolute(params->directory); /* the working directory may change */
    s->model_key = qn_strdup(params->model_key);
    s->form.model_key = s->model_key;
    memcpy(s->form.page_bytes, params->page_bytes, sizeof s->form.page_bytes);
    if (s->directory == NULL || s->model_key == NULL || !number_model(s, s->model_key, &ours, NULL))
        status = qn_fail(err, QUERN_ERR_NOMEM, "no memory, or the directory's path is too long");
    if (status == QUERN_OK) status = qn_page_directory_make(s->directory, err);
    if (status == QUERN_OK) status = look_through(s, err);
    if (status != QUERN_OK) {
        qn_page_store_close(s);
        return fail_with_prefix(err, status);
    }
    /* The limit may have been lowered. What cannot be removed will be said when there is something to write.
     */
    if (make_room(s, 0, NULL) == QUERN_OK) settle_room(s, 0, NULL);
    *out = s;
    return QUERN_OK;
}

void qn_page_store_close(qn_page_store *s)
{
    if (s == NULL) return;
    for (size_t i = 0; i < s->n_models; i++) qn_free(s->models[i]);
    qn_free(s->models);
    qn_page_index_deinit(&s->index);
    pthread_mutex_destroy(&s->lock);
    qn_free(s->directory);
    qn_free(s->model_key);
    qn_free(s);
}

bool qn_page_store_has(qn_page_store *s, qn_prefix_key key)
{
    pthread_mutex_lock(&s->lock);
    const bool has = qn_page_index_find(&s->index, OURS, key) != NULL;
    pthread_mutex_unlock(&s->lock);
    return has;
}

void qn_page_store_get_stats(qn_page_store *s, qn_page_store_stats *stats)
{
    pthread_mutex_lock(&s->lock);
    *stats = s->stats;
    for (size_t i = 0; i < s->index.n_entries; i++) {
        if (s->index.entries[i].model != OURS) continue;
        stats->n_files++;
        stats->file_bytes += s->index.entries[i].n_bytes;
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- reading ----------------------------------------------------------------------------------------- */

static void forget_entry(qn_page_store *s, qn_prefix_key key)
{
    qn_page_entry *e = qn_page_index_find(&s->index, OURS, key);
    if (e != NULL) qn_page_index_remove(&s->index, e);
}

static quern_status check_tokens(const qn_prefix_page *page, quern_error *err)
{
    if (page->n_tokens >= 1 && page->n_tokens <= QN_PAGE_FILE_MAX_TOKENS) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_ARGUMENT, "a page of %zu tokens, it has 1 to %d", page->n_tokens,
                   QN_PAGE_FILE_MAX_TOKENS);
}

/* QUERN_ERR_FORMAT: it is not that page; _IO: the disk cannot read it. */
static quern_status read_file(const qn_page_store *s, int fd, uint64_t n_bytes, const qn_prefix_page *wanted,
                              void *const data[QN_CACHE_GROUPS], bool has[QN_CACHE_GROUPS], quern_error *err)
{
    uint8_t header[QN_PAGE_FILE_HEADER_BYTES];
    bool there[QN_CACHE_GROUPS];
    uint64_t offset = sizeof header;
    bool could_read = qn_file_read_at(fd, header, sizeof header, 0);
    quern_status status =
        could_read ? qn_page_file_check(header, n_bytes, &s->form, wanted, there, err) : QUERN_OK;
    for (size_t g = 0; g < QN_CACHE_GROUPS && could_read && status == QUERN_OK; g++) {
        const size_t n = s->form.page_bytes[g];
        if (!there[g]) continue;
        could_read = qn_file_read_at(fd, data[g], n, offset);
        offset += n;
        if (could_read && !qn_page_file_is_whole(header, g, data[g], n))
            status = qn_fail(err, QUERN_ERR_FORMAT, "the data of group %zu does not match its digest", g);
    }
    if (!could_read && errno == 0) return qn_fail(err, QUERN_ERR_FORMAT, "became shorter while it was read");
    if (!could_read) return qn_fail(err, QUERN_ERR_IO, "cannot read: %s", strerror(errno));
    if (status == QUERN_OK) memcpy(has, there, sizeof there);
    return status;
}

/* A file was met: another process may have written or replaced it. Returns the time that it should get, or 0.
 * To be called with the lock. */
static int64_t note_met(qn_page_store *s, qn_prefix_key key, const struct stat *st)
{
    const qn_page_entry met = {.key = key,
                               .n_bytes = (uint64_t)st->st_size,
                               .file_ns = qn_page_time(st->st_mtim),
                               .generation = s->generation};
    qn_page_entry *e = qn_page_index_find(&s->index, OURS, key);
    if (e == NULL || e->n_bytes != met.n_bytes) {
        (void)add_entry(s, &met); /* without memory for it: the next look through the directory finds it */
        e = qn_page_index_find(&s->index, OURS, key);
    }
    return e != NULL ? mark_used(s, e) : 0;
}

/* One that was known at the beginning and is not now has been removed meanwhile. */
static void note_read(qn_page_store *s, qn_prefix_key key, const struct stat *st, bool was_known, int fd)
{
    pthread_mutex_lock(&s->lock);
    const bool was_removed = was_known && qn_page_index_find(&s->index, OURS, key) == NULL;
    const int64_t file_ns = was_removed ? 0 : note_met(s, key, st);
    s->stats.n_found++;
    s->stats.read_bytes += (uint64_t)st->st_size;
    pthread_mutex_unlock(&s->lock);
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, qn_page_timespec(file_ns)};
    if (file_ns != 0) futimens(fd, times);
}

static void note_missing(qn_page_store *s, qn_prefix_key key)
{
    pthread_mutex_lock(&s->lock);
    forget_entry(s, key);
    s->stats.n_missing++;
    pthread_mutex_unlock(&s->lock);
}

/* Forgotten first, then removed: if another thread writes the page meanwhile, an entry without a file is left
 * rather than a file that does not count. */
static void remove_damaged(qn_page_store *s, qn_prefix_key key, int dir_fd, const char *name)
{
    pthread_mutex_lock(&s->lock);
    forget_entry(s, key);
    s->stats.n_damaged++;
    s->stats.n_missing++;
    pthread_mutex_unlock(&s->lock);
    qn_page_file_remove(dir_fd, name);
}

/* A page that is not known is looked for all the same: another process may have written it, and to look costs
 * some microseconds, once for each text that goes on in a new way; to compute the page again, milliseconds.
 */
quern_status qn_page_store_read(qn_page_store *s, const qn_prefix_page *wanted,
                                void *const data[QN_CACHE_GROUPS], bool has[QN_CACHE_GROUPS],
                                quern_error *err)
{
    char name[QN_PAGE_NAME_BYTES];
    struct stat st;
    int dir_fd, fd = -1;
    quern_error why = {0};
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) has[g] = false;
    if (check_tokens(wanted, err) != QUERN_OK) return fail_with_prefix(err, QUERN_ERR_ARGUMENT);
    qn_page_name(name, wanted->key);
    const bool was_known = qn_page_store_has(s, wanted->key);
    quern_status status =
        qn_page_directory_open(&dir_fd, s->directory, s->model_key, wanted->key, false, &why);
    if (status == QUERN_OK) status = qn_page_file_open(&fd, &st, dir_fd, name, &why);
    if (status == QUERN_OK) {
        status = read_file(s, fd, (uint64_t)st.st_size, wanted, data, has, &why);
        if (status == QUERN_OK) note_read(s, wanted->key, &st, was_known, fd);
        /* What the disk cannot read goes too: otherwise it would never be written anew. */
        else remove_damaged(s, wanted->key, dir_fd, name);
        close(fd);
    } else if (status == QUERN_ERR_FORMAT) {
        remove_damaged(s, wanted->key, dir_fd, name);
    } else if (status == QUERN_ERR_NOT_FOUND) {
        note_missing(s, wanted->key);
    }
    if (dir_fd >= 0) close(dir_fd);
    if (status == QUERN_OK) return QUERN_OK;
    return qn_fail(err, status == QUERN_ERR_IO ? QUERN_ERR_IO : QUERN_ERR_NOT_FOUND, "page store: %s: %s",
                   name, why.message);
}

/* ---- writing ----------------------------------------------------------------------------------------- */

/* Whether a page of at least that many bytes has this name; then it counts as used. */
static bool is_there(qn_page_store *s, qn_prefix_key key, uint64_t n_bytes)
{
    char name[QN_PAGE_NAME_BYTES];
    struct stat st;
    int dir_fd;
    int64_t file_ns = 0;
    pthread_mutex_lock(&s->lock);
    qn_page_entry *e = qn_page_index_find(&s->index, OURS, key);
    const bool is_known = e != NULL && e->n_bytes >= n_bytes;
    if (is_known) file_ns = mark_used(s, e);
    pthread_mutex_unlock(&s->lock);
    if (is_known && file_ns == 0) return true;
    /* The disk is to be asked anyway, so it has the last word. */
    if (qn_page_directory_open(&dir_fd, s->directory, s->model_key, key, false, NULL) != QUERN_OK)
        return false;
    qn_page_name(name, key);
    const bool exists = fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    const bool is_fit = exists && qn_page_file_is_possible(&st) && (uint64_t)st.st_size >= n_bytes &&
                        (uint64_t)st.st_size <= qn_page_file_bytes(&s->form, NULL);
    if (is_fit) {
        pthread_mutex_lock(&s->lock);
        const int64_t met_ns = note_met(s, key, &st);
        pthread_mutex_unlock(&s->lock);
        if (met_ns != 0) file_ns = met_ns;
        if (file_ns != 0) set_file_time(dir_fd, name, file_ns);
    } else if (exists && !S_ISREG(st.st_mode)) {
        qn_page_file_remove(dir_fd, name); /* a file is replaced by renaming, a directory would not be */
    }
    close(dir_fd);
    return is_fit;
}

static quern_status fail_write(quern_error *err, const char *what, const char *name)
{
    return qn_fail(err, QUERN_ERR_IO, "cannot %s %s: %s", what, name, strerror(errno));
}

static quern_status open_part(int *fd, int *dir_fd, char name[QN_PAGE_PART_BYTES], qn_page_store *s,
                              qn_prefix_key key, quern_error *err)
{
    pthread_mutex_lock(&s->lock);
    const uint64_t random = qn_random_u64(&s->random);
    pthread_mutex_unlock(&s->lock);
    qn_page_part_name(name, key, random);
    for (int i = 0; i < PART_TRIES; i++) {
        quern_error why = {0};
        const quern_status status =
            qn_page_directory_open(dir_fd, s->directory, s->model_key, key, true, &why);
        if (status == QUERN_ERR_NOT_FOUND) continue;
        if (status != QUERN_OK) return qn_fail(err, status, "%s", why.message);
        *fd = openat(*dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (*fd >= 0) return QUERN_OK;
        const bool was_removed = errno == ENOENT;
        if (!was_removed) fail_write(err, "make", name);
        close(*dir_fd);
        *dir_fd = -1;
        if (!was_removed) return QUERN_ERR_IO;
    }
    return qn_fail(err, QUERN_ERR_IO, "the directory of %s is removed again and again", name);
}

/* Nothing is synced to the disk. After a loss of power the new name may lead to a file that is empty or half
 * of something else; its digests tell, and the page is computed again. To wait for the disk with each page
 * would cost more than that ever saves. After a mere crash of the process the system still has all of it. */
static quern_status write_file(qn_page_store *s, const qn_prefix_page *page, int64_t file_ns,
                               quern_error *err)
{
    uint8_t header[QN_PAGE_FILE_HEADER_BYTES];
    char part[QN_PAGE_PART_BYTES], name[QN_PAGE_NAME_BYTES];
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, qn_page_timespec(file_ns)};
    uint64_t offset = sizeof header;
    int fd = -1, dir_fd = -1;
    qn_page_file_header(header, &s->form, page);
    qn_page_name(name, page->key);
    quern_status status = open_part(&fd, &dir_fd, part, s, page->key, err);
    if (status != QUERN_OK) return status;
    bool ok = qn_file_write_at(fd, header, sizeof header, 0);
    for (size_t g = 0; g < QN_CACHE_GROUPS && ok; g++) {
        if (page->data[g] == NULL) continue;
        ok = qn_file_write_at(fd, page->data[g], s->form.page_bytes[g], offset);
        offset += s->form.page_bytes[g];
    }
    if (!ok) status = fail_write(err, "write", part);
    futimens(fd, times); /* what the index believes; where it fails, the order of use is a little wrong */
    if (close(fd) != 0 && status == QUERN_OK) status = fail_write(err, "close", part);
    if (status == QUERN_OK && renameat(dir_fd, part, dir_fd, name) != 0)
        status = fail_write(err, "rename", part);
    if (status != QUERN_OK) unlinkat(dir_fd, part, 0);
    close(dir_fd);
    return status;
}

static quern_status check_page(const qn_page_store *s, const qn_prefix_page *page, uint64_t n_bytes,
                               quern_error *err)
{
    if (check_tokens(page, err) != QUERN_OK) return QUERN_ERR_ARGUMENT;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if (page->data[g] != NULL && s->form.page_bytes[g] == 0)
            return qn_fail(err, QUERN_ERR_ARGUMENT, "data of group %zu, which the model has not", g);
    if (n_bytes <= s->max_bytes) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_LIMIT, "a page of %llu bytes, at most %llu are allowed for all",
                   (unsigned long long)n_bytes, (unsigned long long)s->max_bytes);
}

bool qn_page_store_holds(qn_page_store *s, const qn_prefix_page *page)
{
    const uint64_t n_bytes = qn_page_file_bytes(&s->form, page);
    pthread_mutex_lock(&s->lock);
    qn_page_entry *entry = qn_page_index_find(&s->index, OURS, page->key);
    const bool holds = entry != NULL && entry->n_bytes >= n_bytes;
    if (holds) qn_page_index_set_times(&s->index, entry, next_moment(s), entry->file_ns);
    pthread_mutex_unlock(&s->lock);
    return holds;
}

quern_status qn_page_store_write(qn_page_store *s, const qn_prefix_page *page, quern_error *err)
{
    const uint64_t n_bytes = qn_page_file_bytes(&s->form, page);
    quern_status status = check_page(s, page, n_bytes, err);
    if (status != QUERN_OK) return fail_with_prefix(err, status);
    if (is_there(s, page->key, n_bytes)) return QUERN_OK;
    pthread_mutex_lock(&s->lock);
    const bool is_due = s->unseen_bytes + n_bytes > s->max_bytes / SHARE_UNSEEN;
    qn_page_entry entry = {.model = OURS, .key = page->key, .n_bytes = n_bytes};
    entry.used_ns = entry.file_ns = next_moment(s);
    pthread_mutex_unlock(&s->lock);
    if (is_due) status = look_through(s, err);
    if (status == QUERN_OK) status = make_room(s, n_bytes, err);
    if (status != QUERN_OK) return fail_with_prefix(err, status);
    status = write_file(s, page, entry.used_ns, err);
    settle_room(s, n_bytes, status == QUERN_OK ? &entry : NULL);
    return status == QUERN_OK ? QUERN_OK : fail_with_prefix(err, status);
}
