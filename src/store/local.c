/* local.c: the store's own directory.
 *
 *   ROOT/NAME/TAG.gguf            the model; there only when whole and checked
 *   ROOT/NAME/TAG.json            its source, size and SHA-256
 *   ROOT/NAME/.TAG.part, .TAG.part.json   an interrupted download, and what identifies it
 *   ROOT/NAME/.TAG.pypi/          wheels of an interrupted pull
 *   ROOT/NAME/.TAG.bad            a download whose checksum was wrong
 *   ROOT/.locks/NAME@TAG.lock     held while pulling
 *   ROOT/FILE.gguf                put there by hand: the model FILE */
#include "store/store.h"

#include "base/alloc.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_NOTE_BYTES = 64 << 10 };
static const char *const EXTENSIONS[] = {"gguf", "safetensors"};

/* ---- the note beside a model ------------------------------------------------------------------- */

typedef struct note {
    char source[QN_SOURCE_TEXT], etag[256], sha256[QN_SHA256_HEX + 1];
    uint64_t size_bytes;
} note;

/* A note that cannot be read counts as none. */
static bool read_note(const char *path, note *n)
{
    char *text;
    size_t n_bytes;
    memset(n, 0, sizeof *n);
    if (qn_file_read(&text, &n_bytes, path, MAX_NOTE_BYTES, NULL) != QUERN_OK) return false;
    json_t *o = json_loadb(text, n_bytes, 0, NULL);
    qn_free(text);
    const char *source = json_string_value(json_object_get(o, "source")),
               *sha = json_string_value(json_object_get(o, "sha256"));
    const char *etag = json_string_value(json_object_get(o, "etag"));
    const json_int_t size = json_integer_value(json_object_get(o, "size_bytes"));
    qn_source parsed;
    if (source != NULL && strlen(source) < sizeof n->source &&
        qn_source_parse(&parsed, source, NULL) == QUERN_OK)
        strcpy(n->source, source);
    if (sha != NULL && qn_hex_valid(sha, QN_SHA256_HEX)) strcpy(n->sha256, sha);
    if (etag != NULL && strlen(etag) < sizeof n->etag && etag[0] == '"') strcpy(n->etag, etag);
    if (size > 0) n->size_bytes = (uint64_t)size;
    const bool ok = json_is_object(o);
    if (o != NULL) json_decref(o);
    return ok;
}

static quern_status write_note(int dir_fd, const char *name, const note *n, const char *license,
                               const char *label, quern_error *err)
{
    json_t *o = json_object();
    bool ok = o != NULL && json_object_set_new(o, "source", json_string(n->source)) == 0;
    if (n->sha256[0] != '\0') ok = ok && json_object_set_new(o, "sha256", json_string(n->sha256)) == 0;
    if (n->etag[0] != '\0') ok = ok && json_object_set_new(o, "etag", json_string(n->etag)) == 0;
    if (n->size_bytes > 0)
        ok = ok && json_object_set_new(o, "size_bytes", json_integer((json_int_t)n->size_bytes)) == 0;
    if (license != NULL) ok = ok && json_object_set_new(o, "license", json_string(license)) == 0;
    char *text = ok ? json_dumps(o, JSON_INDENT(2)) : NULL;
    if (o != NULL) json_decref(o);
    if (text == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory for its description", label);
    quern_status s = qn_write_small(dir_fd, name, text, strlen(text), err);
    free(text);
    if (s != QUERN_OK) qn_fail_prefix(err, "%s", label);
    return s;
}

/* ---- finding ------------------------------------------------------------------------------------ */

static bool stat_regular(const char *path, struct stat *st)
{
    return stat(path, st) == 0 && S_ISREG(st->st_mode);
}

static void fill_found(qn_found *out, const struct stat *st)
{
    out->size_bytes = (uint64_t)st->st_size;
    out->modified_s = (int64_t)st->st_mtime;
}

quern_status qn_local_find(const quern_store *st, const char *name, const char *tag, qn_found *out,
                           quern_error *err)
{
    struct stat info;
    char note_path[PATH_MAX];
    note n;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < sizeof EXTENSIONS / sizeof *EXTENSIONS; i++) {
        if (!qn_path_format(out->path, "%s/%s/%s.%s", st->root, name, tag, EXTENSIONS[i]) ||
            !stat_regular(out->path, &info))
            continue;
        fill_found(out, &info);
        if (!qn_path_format(note_path, "%s/%s/%s.json", st->root, name, tag) || !read_note(note_path, &n))
            return QUERN_OK;
        strcpy(out->source, n.source);
        strcpy(out->sha256, n.sha256);
        if (n.size_bytes == 0 || n.size_bytes == out->size_bytes) return QUERN_OK;
        return qn_fail(err, QUERN_ERR_FORMAT,
                       "%s:%s: %s is damaged: %llu bytes, %llu were pulled (pull it again)", name, tag,
                       out->path, (unsigned long long)out->size_bytes, (unsigned long long)n.size_bytes);
    }
    if (strcmp(tag, "latest") == 0 && qn_path_format(out->path, "%s/%s.gguf", st->root, name) &&
        stat_regular(out->path, &info)) {
        fill_found(out, &info);
        return QUERN_OK;
    }
    out->path[0] = '\0';
    return qn_fail(err, QUERN_ERR_NOT_FOUND, "%s:%s: not installed", name, tag);
}

/* ---- listing ------------------------------------------------------------------------------------ */

typedef struct each {
    quern_store *st;
    qn_local_fn *fn;
    void *user;
    const char *name; /* of the directory at hand */
} each;

/* "TAG.gguf" as "TAG". */
static bool strip_extension(const char *file, char stem[QN_NAME_MAX + 1])
{
    for (size_t i = 0; i < sizeof EXTENSIONS / sizeof *EXTENSIONS; i++) {
        const size_t n = strlen(file), k = strlen(EXTENSIONS[i]) + 1;
        if (n <= k || n - k > QN_NAME_MAX || file[n - k] != '.' ||
            strcmp(file + n - k + 1, EXTENSIONS[i]) != 0)
            continue;
        memcpy(stem, file, n - k);
        stem[n - k] = '\0';
        return qn_component_valid(stem, n - k);
    }
    return false;
}

static quern_status visit(each *e, const char *name, const char *tag, quern_error *err)
{
    qn_found found;
    const quern_status s = qn_local_find(e->st, name, tag, &found, NULL);
    if (s != QUERN_OK && s != QUERN_ERR_FORMAT) return QUERN_OK; /* gone meanwhile */
    return e->fn(e->user, name, tag, &found, err);
}

static quern_status visit_tag(void *user, const char *file, quern_error *err)
{
    each *e = user;
    char tag[QN_NAME_MAX + 1];
    return strip_extension(file, tag) ? visit(e, e->name, tag, err) : QUERN_OK;
}

static quern_status visit_name(void *user, const char *file, quern_error *err)
{
    each *e = user;
    char path[PATH_MAX], name[QN_NAME_MAX + 1];
    struct stat info;
    if (!qn_path_format(path, "%s/%s", e->st->root, file) || stat(path, &info) != 0) return QUERN_OK;
    if (S_ISREG(info.st_mode)) return strip_extension(file, name) ? visit(e, name, "latest", err) : QUERN_OK;
    if (!S_ISDIR(info.st_mode) || strlen(file) > QN_NAME_MAX || !qn_component_valid(file, strlen(file)))
        return QUERN_OK;
    e->name = file;
    return qn_dir_each(path, visit_tag, e, err);
}

quern_status qn_local_each(quern_store *st, qn_local_fn *fn, void *user, quern_error *err)
{
    each e = {st, fn, user, NULL};
    return qn_dir_each(st->root, visit_name, &e, err);
}

/* ---- pulling ------------------------------------------------------------------------------------ */

typedef struct pull {
    quern_store *st;
    const char *name, *tag;
    const qn_wanted *w;
    qn_progress *progress;
    int root_fd, dir_fd, lock_fd;
    char dir_path[PATH_MAX];
    char note_name[128], part_note_name[128], work_name[128];
    char source[QN_SOURCE_TEXT], validator[256];
    qn_part part;
} pull;

static quern_status open_place(pull *p, quern_error *err)
{
    char lock_name[2 * QN_NAME_MAX + 16];
    p->root_fd = qn_dir_make(p->st->root, err);
    if (p->root_fd < 0) return QUERN_ERR_IO;
    const int locks = qn_dir_open_at(p->root_fd, ".locks", true);
    p->dir_fd = qn_dir_open_at(p->root_fd, p->name, true);
    if (locks < 0 || p->dir_fd < 0) {
        const int e = errno;
        if (locks >= 0) close(locks);
        return qn_fail(err, QUERN_ERR_IO, "%s: cannot make a directory in %s: %s", p->w->label, p->st->root,
                       strerror(e));
    }
    snprintf(lock_name, sizeof lock_name, "%s@%s.lock", p->name, p->tag);
    quern_status s = qn_lock(&p->lock_fd, locks, lock_name, p->progress, p->w->label, err);
    close(locks);
    return s;
}

static void close_place(pull *p)
{
    if (p->lock_fd >= 0) close(p->lock_fd);
    if (p->dir_fd >= 0) close(p->dir_fd);
    if (p->root_fd >= 0) {
        unlinkat(p->root_fd, p->name, AT_REMOVEDIR); /* if nothing came into it */
        close(p->root_fd);
    }
}

/* What identifies a download is kept beside it before its first byte. */
static quern_status begin_url(void *user, const qn_http_response *r, quern_error *err)
{
    pull *p = user;
    note n = {.size_bytes = p->part.size_bytes};
    strcpy(n.source, p->source);
    if (r->etag[0] == '"') strcpy(n.etag, r->etag);
    return write_note(p->dir_fd, p->part_note_name, &n, NULL, p->w->label, err);
}

static quern_status bring_url(pull *p, quern_error *err)
{
    const qn_fetch f = {.network = &p->st->network,
                        .progress = p->progress,
                        .url = p->w->sources[0].path,
                        .label = p->w->label};
    if (p->part.n_bytes == 0) p->validator[0] = '\0';
    return qn_fetch_part(&f, &p->part, p->validator, begin_url, p, err);
}

static quern_status bring_file(pull *p, quern_error *err)
{
    const char *path = p->w->sources[0].path;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    quern_status s = QUERN_OK;
    if (fd < 0 || fstat(fd, &info) != 0)
        s = qn_fail(err, errno == ENOENT ? QUERN_ERR_NOT_FOUND : QUERN_ERR_IO, "%s: %s: %s", p->w->label,
                    path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        s = qn_fail(err, QUERN_ERR_IO, "%s: %s is not a regular file", p->w->label, path);
    else s = qn_part_need_space(&p->part, (uint64_t)info.st_size, err);
    if (s == QUERN_OK && p->part.n_bytes > 0) s = qn_part_restart(&p->part, err);
    char *chunk = s == QUERN_OK ? qn_malloc(1 << 18) : NULL;
    if (s == QUERN_OK && chunk == NULL)
        s = qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory for a buffer", p->w->label);
    for (ssize_t n = 1; s == QUERN_OK && n > 0;) {
        n = read(fd, chunk, 1 << 18);
        if (n < 0 && errno == EINTR) n = 1;
        else if (n < 0) s = qn_fail(err, QUERN_ERR_IO, "%s: %s: %s", p->w->label, path, strerror(errno));
        else if (n > 0) s = qn_part_write(&p->part, chunk, (size_t)n, err);
        if (s == QUERN_OK &&
            !qn_progress_tell(p->progress, QUERN_STORE_UNPACKING, p->part.n_bytes, (uint64_t)info.st_size))
            s = qn_progress_canceled(err, p->w->label);
    }
    qn_free(chunk);
    if (fd >= 0) close(fd);
    return s;
}

static quern_status bring(void *user, qn_part *part, quern_error *err)
{
    pull *p = user;
    switch (p->w->sources[0].kind) {
    case QN_SOURCE_URL:
        return bring_url(p, err);
    case QN_SOURCE_FILE:
        return bring_file(p, err);
    case QN_SOURCE_PYPI:
        return qn_pypi_bring(p->w->sources, p->w->n_sources, p->work_name, part, &p->st->network.log, err);
    default:
        return qn_fail(err, QUERN_ERR_UNSUPPORTED, "%s: this kind of source is not for the local store",
                       p->w->label);
    }
}

/* Whether what an earlier pull left can be trusted to belong to the same file. */
static bool may_resume(pull *p)
{
    char path[PATH_MAX];
    note n;
    if (p->w->sources[0].kind != QN_SOURCE_URL ||
        !qn_path_format(path, "%s/%s", p->dir_path, p->part_note_name))
        return false;
    if (!read_note(path, &n) || strcmp(n.source, p->source) != 0) return false;
    strcpy(p->validator, n.etag);
    return n.etag[0] != '\0' || p->part.expected[0] != '\0';
}

static quern_status open_part(pull *p, quern_error *err)
{
    qn_part *part = &p->part;
    snprintf(part->name, sizeof part->name, "%s.%s", p->tag, qn_source_extension(&p->w->sources[0]));
    snprintf(part->part_name, sizeof part->part_name, ".%s.part", p->tag);
    snprintf(part->bad_name, sizeof part->bad_name, ".%s.bad", p->tag);
    part->dir_fd = p->dir_fd;
    part->dir_path = p->dir_path;
    part->label = p->w->label;
    part->size_bytes = p->w->size_bytes;
    if (p->w->sha256 != NULL) strcpy(part->expected, p->w->sha256);
    part->progress = p->progress;
    part->free_bytes = p->st->free_bytes;
    return qn_part_open(part, may_resume(p), err);
}

/* A model must never be seen beside a note that is not its own. Everything that needs room on the disk is
 * done first; then the old model goes, the note comes, the model comes. */
static quern_status commit(pull *p, const note *n, quern_error *err)
{
    char staged[sizeof p->note_name + 8];
    snprintf(staged, sizeof staged, ".%s.new", p->note_name);
    quern_status s = qn_part_sync(&p->part, err);
    if (s == QUERN_OK) s = write_note(p->dir_fd, staged, n, p->w->license, p->w->label, err);
    if (s != QUERN_OK) return s;
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof EXTENSIONS / sizeof *EXTENSIONS; i++) {
        char old[QN_NAME_MAX + 16];
        snprintf(old, sizeof old, "%s.%s", p->tag, EXTENSIONS[i]);
        ok = unlinkat(p->dir_fd, old, 0) == 0 || errno == ENOENT;
    }
    ok = ok && renameat(p->dir_fd, staged, p->dir_fd, p->note_name) == 0;
    if (ok) return qn_part_commit(&p->part, err);
    s = qn_fail(err, QUERN_ERR_IO, "%s: cannot replace what is in %s: %s", p->w->label, p->dir_path,
                strerror(errno));
    unlinkat(p->dir_fd, staged, 0);
    return s;
}

static quern_status pull_locked(pull *p, quern_error *err)
{
    quern_status s = open_part(p, err);
    if (s != QUERN_OK) return s;
    note n = {.size_bytes = 0};
    s = qn_part_bring(&p->part, bring, p, n.sha256, err);
    if (s == QUERN_OK && p->part.n_bytes == 0)
        s = qn_fail(err, QUERN_ERR_FORMAT, "%s: the source is empty", p->w->label);
    n.size_bytes = p->part.n_bytes;
    strcpy(n.source, p->source);
    if (s == QUERN_OK) s = commit(p, &n, err);
    qn_part_close(&p->part, s != QUERN_OK && p->w->sources[0].kind != QN_SOURCE_URL);
    if (s == QUERN_OK || s == QUERN_ERR_CHECKSUM) { /* nothing to go on with */
        qn_tree_remove(p->dir_fd, p->work_name);
        unlinkat(p->dir_fd, p->part_note_name, 0);
    }
    return s;
}

/* Whether the model is there already. A file without its note was put there by hand; a pull replaces it. */
static bool installed(const pull *p, quern_status *s, quern_error *err)
{
    qn_found found;
    const quern_status found_status = qn_local_find(p->st, p->name, p->tag, &found, NULL);
    if (p->w->again || found_status != QUERN_OK || found.sha256[0] == '\0') return false;
    if (p->w->sha256 != NULL && strcmp(found.sha256, p->w->sha256) != 0)
        return false; /* another version is wanted */
    if (strcmp(found.source, p->source) != 0 && p->w->sha256 == NULL)
        *s = qn_fail(err, QUERN_ERR_ARGUMENT,
                     "%s:%s: is installed from %s already (give it another name, or remove that first)",
                     p->name, p->tag, qn_quote(found.source, strlen(found.source)).text);
    return true;
}

quern_status qn_local_pull(quern_store *st, const char *name, const char *tag, const qn_wanted *w,
                           qn_progress *progress, quern_error *err)
{
    pull p = {.st = st,
              .name = name,
              .tag = tag,
              .w = w,
              .progress = progress,
              .root_fd = -1,
              .dir_fd = -1,
              .lock_fd = -1};
    unsigned shard, n_shards;
    size_t stem;
    snprintf(p.note_name, sizeof p.note_name, "%s.json", tag);
    snprintf(p.part_note_name, sizeof p.part_note_name, ".%s.part.json", tag);
    snprintf(p.work_name, sizeof p.work_name, ".%s.pypi", tag);
    qn_source_format(&w->sources[0], p.source);
    if (!qn_path_format(p.dir_path, "%s/%s", st->root, name))
        return qn_fail(err, QUERN_ERR_LIMIT, "%s: the path is too long", w->label);
    if (qn_shard_parse(w->sources[0].path, &shard, &n_shards, &stem) && n_shards > 1)
        return qn_fail(err, QUERN_ERR_UNSUPPORTED,
                       "%s: is part %u of %u of a split model (pull it with hf:, or put all parts into one "
                       "directory and use the path of the first)",
                       w->label, shard, n_shards);
    quern_status s = QUERN_OK;
    if (installed(&p, &s, err)) return s;
    if (st->offline && w->sources[0].kind != QN_SOURCE_FILE)
        return qn_fail(err, QUERN_ERR_NETWORK, "%s: not installed, and quern is offline", w->label);
    s = open_place(&p, err);
    if (s == QUERN_OK && !installed(&p, &s, err))
        s = pull_locked(&p, err); /* another process may have been faster */
    close_place(&p);
    return s;
}

/* ---- removing ----------------------------------------------------------------------------------- */

/* What an interrupted or failed pull has left. */
static bool has_leftovers(const quern_store *st, const char *name, const char *tag)
{
    static const char *const endings[] = {"part", "bad", "pypi"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char path[PATH_MAX];
        if (qn_path_format(path, "%s/%s/.%s.%s", st->root, name, tag, endings[i]) && access(path, F_OK) == 0)
            return true;
    }
    return false;
}

quern_status qn_local_remove(quern_store *st, const char *name, const char *tag, quern_error *err)
{
    qn_found found;
    char label[2 * QN_NAME_MAX + 2], file[QN_NAME_MAX + 32];
    quern_status s = qn_local_find(st, name, tag, &found, err);
    if (s == QUERN_ERR_NOT_FOUND && !has_leftovers(st, name, tag)) return s;
    if (s != QUERN_OK && s != QUERN_ERR_FORMAT && s != QUERN_ERR_NOT_FOUND) return s;
    snprintf(label, sizeof label, "%s:%s", name, tag);
    const qn_wanted w = {.label = label};
    pull p = {.st = st, .name = name, .tag = tag, .w = &w, .root_fd = -1, .dir_fd = -1, .lock_fd = -1};
    s = open_place(&p, err); /* without progress: does not wait */
    static const char *const forms[] = {"%s.gguf",       "%s.safetensors", "%s.json", ".%s.part",
                                        ".%s.part.json", ".%s.json.new",   ".%s.bad"};
    bool ok = s == QUERN_OK;
    if (ok && found.path[0] != '\0' && unlink(found.path) != 0 && errno != ENOENT) {
        ok = false;
        s = qn_fail(err, QUERN_ERR_IO, "%s: cannot remove %s: %s", label, found.path, strerror(errno));
    }
    for (size_t i = 0; ok && i < sizeof forms / sizeof *forms; i++) {
        const char *at = strstr(forms[i], "%s");
        snprintf(file, sizeof file, "%.*s%s%s", (int)(at - forms[i]), forms[i], tag, at + 2);
        unlinkat(p.dir_fd, file, 0);
    }
    snprintf(file, sizeof file, ".%s.pypi", tag);
    if (ok) qn_tree_remove(p.dir_fd, file);
    close_place(&p);
    return s;
}
