/* hub.c: the Hugging Face hub, and its cache on this machine.
 *
 * The cache has the layout of the huggingface_hub library, so that what any program has downloaded is
 * there for all of them:
 *   CACHE/models--OWNER--REPO/refs/REVISION                the commit that a branch was at
 *   CACHE/models--OWNER--REPO/snapshots/COMMIT/FILE        a link into blobs
 *   CACHE/models--OWNER--REPO/blobs/ETAG                   the bytes; for big files ETAG is their SHA-256
 *   CACHE/models--OWNER--REPO/blobs/ETAG.incomplete        a download that was interrupted
 *   CACHE/.locks/models--OWNER--REPO/ETAG.lock             held (flock) while a blob is written
 * The answer to a HEAD of /OWNER/REPO/resolve/REVISION/FILE tells commit, ETag and size; the bytes come
 * from wherever that redirects to, without the token. */
#include "store/store.h"

#include "base/alloc.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_FILES = 20000,
    MAX_PAGES = 50,
    MAX_SHARDS = 1000,
    MAX_LISTING_BYTES = 16 << 20,
    COMMIT_DIGITS = 40
};

/* ---- lists of file names ------------------------------------------------------------------------- */

typedef struct names {
    char **items;
    size_t n, capacity;
} names;

static void names_deinit(names *l)
{
    for (size_t i = 0; i < l->n; i++) qn_free(l->items[i]);
    qn_free(l->items);
    memset(l, 0, sizeof *l);
}

static bool names_add(names *l, const char *text)
{
    if (!qn_grow(&l->items, &l->capacity, l->n + 1, MAX_FILES, sizeof *l->items)) return false;
    l->items[l->n] = qn_strdup(text);
    if (l->items[l->n] == NULL) return false;
    l->n++;
    return true;
}

static const char *names_choose(const names *l, const char *quant)
{
    const long i = qn_choose_file((const char *const *)(uintptr_t)l->items, l->n, quant);
    return i >= 0 ? l->items[i] : NULL;
}

/* ---- finding in the cache ------------------------------------------------------------------------ */

static bool repo_dir(const quern_store *st, const qn_source *s, char out[PATH_MAX])
{
    return qn_path_format(out, "%s/models--%s--%s", st->hub_cache, s->owner, s->repo);
}

static bool read_ref(const char *repo, const char *revision, char commit[COMMIT_DIGITS + 1])
{
    char path[PATH_MAX], *text;
    size_t n;
    if (qn_hex_valid(revision, strnlen(revision, COMMIT_DIGITS)) && strlen(revision) == COMMIT_DIGITS) {
        strcpy(commit, revision);
        return true;
    }
    if (!qn_path_format(path, "%s/refs/%s", repo, revision) ||
        qn_file_read(&text, &n, path, 256, NULL) != QUERN_OK)
        return false;
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r')) text[--n] = '\0';
    const bool ok = n == COMMIT_DIGITS && qn_hex_valid(text, COMMIT_DIGITS);
    if (ok) strcpy(commit, text);
    qn_free(text);
    return ok;
}

typedef struct listing {
    names *out;
    const char *base;
    char below[QN_PATH_MAX + 2]; /* "" or "folder/" */
    int depth;
} listing;

static quern_status list_file(void *user, const char *name, quern_error *err)
{
    listing *l = user;
    char path[PATH_MAX], relative[QN_PATH_MAX + 300];
    struct stat info;
    snprintf(relative, sizeof relative, "%s%s", l->below, name);
    if (strlen(relative) > QN_PATH_MAX || !qn_path_format(path, "%s/%s", l->base, relative) ||
        stat(path, &info) != 0)
        return QUERN_OK;
    if (S_ISREG(info.st_mode))
        return names_add(l->out, relative)
                   ? QUERN_OK
                   : qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory for the list of files", l->base);
    if (!S_ISDIR(info.st_mode) || l->depth >= 4) return QUERN_OK;
    listing deeper = {.out = l->out, .base = l->base, .depth = l->depth + 1};
    snprintf(deeper.below, sizeof deeper.below, "%.*s/", QN_PATH_MAX, relative);
    return qn_dir_each(path, list_file, &deeper, err);
}

/* The files of a snapshot whose blobs are there. */
static quern_status list_snapshot(const char *snapshot, names *out, quern_error *err)
{
    listing l = {.out = out, .base = snapshot};
    return qn_dir_each(snapshot, list_file, &l, err);
}

/* Part `i` of the same split model. */
static bool shard_name(const char *file, unsigned i, unsigned count, size_t stem, char out[QN_PATH_MAX + 1])
{
    const int n = snprintf(out, QN_PATH_MAX + 1, "%.*s-%05u-of-%05u.gguf", (int)stem, file, i, count);
    return n > 0 && n <= QN_PATH_MAX;
}

static unsigned count_shards(const char *file, size_t *stem)
{
    unsigned part, count;
    return qn_shard_parse(file, &part, &count, stem) && part == 1 ? count : 1;
}

/* Adds up all parts of the file in a snapshot; false if one is not there. */
static bool stat_all(const char *snapshot, const char *file, qn_found *out)
{
    size_t stem = 0;
    const unsigned n = count_shards(file, &stem);
    out->size_bytes = 0;
    if (n > MAX_SHARDS) return false;
    for (unsigned i = 1; i <= n; i++) {
        char path[PATH_MAX], name[QN_PATH_MAX + 1];
        struct stat info;
        if (n > 1 ? !shard_name(file, i, n, stem, name) : snprintf(name, sizeof name, "%s", file) < 0)
            return false;
        if (!qn_path_format(path, "%s/%s", snapshot, name) || stat(path, &info) != 0 ||
            !S_ISREG(info.st_mode))
            return false;
        out->size_bytes += (uint64_t)info.st_size;
        out->modified_s = (int64_t)info.st_mtime;
    }
    return qn_path_format(out->path, "%s/%s", snapshot, file);
}

/* The name of the blob that a snapshot's link leads to, or "". */
static void blob_of(const char *path, char blob[QN_SHA256_HEX + 1])
{
    char target[PATH_MAX];
    const ssize_t n = readlink(path, target, sizeof target - 1);
    blob[0] = '\0';
    if (n <= 0) return;
    target[n] = '\0';
    const char *slash = strrchr(target, '/');
    const char *name = slash != NULL ? slash + 1 : target;
    if ((strlen(name) == QN_SHA256_HEX || strlen(name) == COMMIT_DIGITS) && qn_hex_valid(name, strlen(name)))
        strcpy(blob, name);
}

static bool find_in_snapshot(const char *snapshot, const qn_source *source, qn_found *out)
{
    names files = {0};
    char file[QN_PATH_MAX + 1] = "";
    if (source->path[0] != '\0') {
        snprintf(file, sizeof file, "%.*s", QN_PATH_MAX, source->path);
    } else if (list_snapshot(snapshot, &files, NULL) == QUERN_OK) {
        const char *chosen = names_choose(&files, source->quant);
        if (chosen != NULL) snprintf(file, sizeof file, "%s", chosen);
    }
    names_deinit(&files);
    if (file[0] == '\0' || !stat_all(snapshot, file, out)) return false;
    size_t stem;
    char blob[QN_SHA256_HEX + 1];
    blob_of(out->path, blob);
    if (strlen(blob) == QN_SHA256_HEX && count_shards(file, &stem) == 1) strcpy(out->sha256, blob);
    qn_source full = *source;
    snprintf(full.path, sizeof full.path, "%s", file);
    full.quant[0] = '\0';
    qn_source_format(&full, out->source);
    return true;
}

typedef struct newest {
    const qn_source *source;
    const char *repo;
    qn_found *out;
    bool found;
} newest;

static quern_status try_snapshot(void *user, const char *commit, quern_error *err)
{
    newest *n = user;
    char path[PATH_MAX];
    qn_found found = {.modified_s = 0};
    (void)err;
    if (!qn_path_format(path, "%s/snapshots/%s", n->repo, commit) ||
        !find_in_snapshot(path, n->source, &found))
        return QUERN_OK;
    if (!n->found || found.modified_s > n->out->modified_s) *n->out = found;
    n->found = true;
    return QUERN_OK;
}

quern_status qn_hub_find(const quern_store *st, const qn_source *source, qn_found *out, quern_error *err)
{
    char repo[PATH_MAX], path[PATH_MAX], commit[COMMIT_DIGITS + 1];
    memset(out, 0, sizeof *out);
    if (!repo_dir(st, source, repo))
        return qn_fail(err, QUERN_ERR_LIMIT, "the path of the hub cache is too long");
    if (read_ref(repo, source->revision, commit) && qn_path_format(path, "%s/snapshots/%s", repo, commit) &&
        find_in_snapshot(path, source, out))
        return QUERN_OK;
    newest n = {source, repo, out, false}; /* the branch has moved since, or nobody wrote the ref */
    if (strcmp(source->revision, "main") == 0 && qn_path_format(path, "%s/snapshots", repo)) {
        quern_status s = qn_dir_each(path, try_snapshot, &n, err);
        if (s != QUERN_OK) return s;
    }
    if (n.found) return QUERN_OK;
    char text[QN_SOURCE_TEXT];
    qn_source_format(source, text);
    return qn_fail(err, QUERN_ERR_NOT_FOUND, "%s: not in the hub cache %s", qn_quote(text, strlen(text)).text,
                   st->hub_cache);
}

/* ---- listing the cache --------------------------------------------------------------------------- */

typedef struct each {
    quern_store *st;
    qn_hub_fn *fn;
    void *user;
} each;

/* The shortest text that means this file: by quantization if that chooses it, else by its name. */
static quern_status visit_file(each *e, qn_source *source, const names *files, const char *file,
                               quern_error *err)
{
    unsigned part, count;
    size_t stem;
    qn_found found;
    const char *slash = strrchr(file, '/');
    const char *name = slash != NULL ? slash + 1 : file;
    if (strlen(name) < 6 || strcasecmp(name + strlen(name) - 5, ".gguf") != 0 ||
        strncasecmp(name, "mmproj", 6) == 0)
        return QUERN_OK;
    if ((qn_shard_parse(file, &part, &count, &stem) && part != 1) || !qn_repo_path_valid(file))
        return QUERN_OK;
    snprintf(source->path, sizeof source->path, "%s", file);
    source->quant[0] = '\0';
    if (qn_hub_find(e->st, source, &found, NULL) != QUERN_OK) return QUERN_OK;
    char label[QN_NAME_MAX + 1];
    qn_quant_label(file, label);
    const char *chosen = label[0] != '\0' ? names_choose(files, label) : NULL;
    if (chosen != NULL && strcmp(chosen, file) == 0) {
        source->path[0] = '\0';
        strcpy(source->quant, label);
    }
    return e->fn(e->user, source, &found, err);
}

typedef struct gathering {
    const char *repo;
    names *files; /* of all snapshots, each once */
} gathering;

static quern_status gather_snapshot(void *user, const char *commit, quern_error *err)
{
    gathering *g = user;
    char path[PATH_MAX];
    names here = {0};
    if (!qn_path_format(path, "%s/snapshots/%s", g->repo, commit)) return QUERN_OK;
    quern_status s = list_snapshot(path, &here, err);
    for (size_t i = 0; i < here.n && s == QUERN_OK; i++) {
        bool known = false;
        for (size_t k = 0; k < g->files->n && !known; k++)
            known = strcmp(g->files->items[k], here.items[i]) == 0;
        if (!known && !names_add(g->files, here.items[i]))
            s = qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory for the list of files", g->repo);
    }
    names_deinit(&here);
    return s;
}

static quern_status visit_repo(void *user, const char *name, quern_error *err)
{
    each *e = user;
    qn_source source = {.kind = QN_SOURCE_HUB, .revision = "main"};
    char repo[PATH_MAX], path[PATH_MAX];
    const char *owner = name + 8, *end = strncmp(name, "models--", 8) == 0 ? strstr(owner, "--") : NULL;
    if (end == NULL || (size_t)(end - owner) > QN_NAME_MAX || strlen(end + 2) > QN_NAME_MAX) return QUERN_OK;
    memcpy(source.owner, owner, (size_t)(end - owner));
    strcpy(source.repo, end + 2);
    if (!qn_component_valid(source.owner, strlen(source.owner)) ||
        !qn_component_valid(source.repo, strlen(source.repo)))
        return QUERN_OK;
    if (!repo_dir(e->st, &source, repo) || !qn_path_format(path, "%s/snapshots", repo)) return QUERN_OK;
    names files = {0};
    gathering g = {repo, &files};
    quern_status s = qn_dir_each(path, gather_snapshot, &g, err);
    for (size_t i = 0; i < files.n && s == QUERN_OK; i++)
        s = visit_file(e, &source, &files, files.items[i], err);
    names_deinit(&files);
    return s;
}

quern_status qn_hub_each(quern_store *st, qn_hub_fn *fn, void *user, quern_error *err)
{
    each e = {st, fn, user};
    return qn_dir_each(st->hub_cache, visit_repo, &e, err);
}

/* ---- asking the hub ------------------------------------------------------------------------------ */

static qn_fetch hub_fetch(const quern_store *st, const char *url, qn_progress *progress, const char *label)
{
    return (qn_fetch){.network = &st->network,
                      .progress = progress,
                      .url = url,
                      .token = st->token,
                      .token_url = st->endpoint,
                      .label = label};
}

static bool take_listing(names *out, const qn_buffer *text)
{
    json_t *list = json_loadb(text->data != NULL ? text->data : "", text->n_bytes, 0, NULL);
    const size_t n = json_array_size(list);
    bool ok = json_is_array(list);
    for (size_t i = 0; ok && i < n; i++) {
        const json_t *item = json_array_get(list, i);
        const char *path = json_string_value(json_object_get(item, "path")),
                   *type = json_string_value(json_object_get(item, "type"));
        if (path != NULL && type != NULL && strcmp(type, "file") == 0 && qn_repo_path_valid(path))
            ok = names_add(out, path);
    }
    if (list != NULL) json_decref(list);
    return ok;
}

/* All files of the repository, page by page. */
static quern_status list_repository(quern_store *st, const qn_source *s, names *out, qn_progress *progress,
                                    const char *label, quern_error *err)
{
    char url[QN_URL_MAX + 1], next[QN_URL_MAX + 1];
    snprintf(url, sizeof url, "%.1000s/api/models/%s/%s/tree/%s?recursive=true", st->endpoint, s->owner,
             s->repo, s->revision);
    for (int page = 0; page < MAX_PAGES; page++) {
        qn_buffer text = {.max_bytes = MAX_LISTING_BYTES};
        const qn_fetch f = hub_fetch(st, url, progress, label);
        quern_status status = qn_fetch_document(&f, &text, next, err);
        if (status == QUERN_OK && !take_listing(out, &text))
            status = qn_fail(err, QUERN_ERR_FORMAT, "%s: %s is not a list of files that can be read", label,
                             qn_quote(url, strlen(url)).text);
        qn_buffer_deinit(&text);
        if (status != QUERN_OK || next[0] == '\0') return status;
        strcpy(url, next); /* the token goes along only if it is the same host */
    }
    return qn_fail(err, QUERN_ERR_LIMIT, "%s: the list of files has more than %d pages", label, MAX_PAGES);
}

/* Sets source->path to the file that the quantization means. */
static quern_status choose_file(quern_store *st, qn_source *source, qn_progress *progress, const char *label,
                                quern_error *err)
{
    names files = {0};
    quern_status s = list_repository(st, source, &files, progress, label, err);
    const char *chosen = s == QUERN_OK ? names_choose(&files, source->quant) : NULL;
    if (s == QUERN_OK && chosen == NULL) {
        qn_buffer there = {.max_bytes = 300};
        for (size_t i = 0; i < files.n; i++) {
            char quant[QN_NAME_MAX + 1];
            qn_quant_label(files.items[i], quant);
            const char *one[] = {files.items[i]};
            if (quant[0] == '\0' || qn_choose_file(one, 1, "") != 0) continue;
            if (there.data == NULL || strstr(there.data, quant) == NULL)
                qn_buffer_printf(&there, "%s%s", there.n_bytes > 0 ? ", " : "", quant);
        }
        s = qn_fail(err, QUERN_ERR_NOT_FOUND, "%s: the repository has no GGUF file%s%s%s%s%s", label,
                    source->quant[0] != '\0' ? " of the quantization " : "", source->quant,
                    there.n_bytes > 0 ? " (there are: " : "", there.data != NULL ? there.data : "",
                    there.n_bytes > 0 ? ")" : "");
        qn_buffer_deinit(&there);
    }
    if (s == QUERN_OK) {
        snprintf(source->path, sizeof source->path, "%s", chosen);
        source->quant[0] = '\0';
    }
    names_deinit(&files);
    return s;
}

/* ---- one file ------------------------------------------------------------------------------------ */

typedef struct hub_file {
    char path[QN_PATH_MAX + 1]; /* in the repository */
    char url[QN_URL_MAX + 1];
    char etag[QN_SHA256_HEX + 1], commit[COMMIT_DIGITS + 1];
    uint64_t size_bytes; /* 0: not told */
    bool here;           /* the blob is in the cache */
} hub_file;

/* "W/" and quotes off; what remains must be 40 or 64 hex digits, for it becomes a file name. */
static bool take_etag(char out[QN_SHA256_HEX + 1], const char *etag)
{
    if (strncmp(etag, "W/", 2) == 0) etag += 2;
    size_t n = strlen(etag);
    if (n >= 2 && etag[0] == '"' && etag[n - 1] == '"') etag++, n -= 2;
    if (n != COMMIT_DIGITS && n != QN_SHA256_HEX) return false;
    memcpy(out, etag, n);
    out[n] = '\0';
    return qn_hex_valid(out, n);
}

typedef struct hub_pull {
    quern_store *st;
    const qn_wanted *w;
    qn_progress *progress;
    const qn_source *source; /* with its file */
    int cache_fd, repo_fd, blobs_fd, locks_fd;
    char repo_name[2 * QN_NAME_MAX + 16], blobs_path[PATH_MAX];
} hub_pull;

static quern_status ask_about(hub_pull *p, const char *revision, hub_file *f, quern_error *err)
{
    qn_http_response r;
    snprintf(f->url, sizeof f->url, "%.1000s/%s/%s/resolve/%s/%s", p->st->endpoint, p->source->owner,
             p->source->repo, revision, f->path);
    const qn_fetch fetch = hub_fetch(p->st, f->url, p->progress, p->w->label);
    quern_status s = qn_fetch_headers(&fetch, &r, err);
    if (s != QUERN_OK) return s;
    if (strlen(r.repo_commit) != COMMIT_DIGITS || !qn_hex_valid(r.repo_commit, COMMIT_DIGITS) ||
        !take_etag(f->etag, r.linked_etag[0] != '\0' ? r.linked_etag : r.etag))
        return qn_fail(err, QUERN_ERR_FORMAT,
                       "%s: %s does not answer like a Hugging Face hub (HF_ENDPOINT is %s)", p->w->label,
                       qn_quote(f->url, strlen(f->url)).text, p->st->endpoint);
    strcpy(f->commit, r.repo_commit);
    f->size_bytes = r.has_linked_size                 ? r.linked_size
                    : r.status == 200 && r.has_length ? r.content_length
                                                      : 0;
    struct stat info;
    f->here = fstatat(p->blobs_fd, f->etag, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode) &&
              (f->size_bytes == 0 || (uint64_t)info.st_size == f->size_bytes);
    return QUERN_OK;
}

static quern_status bring_blob(void *user, qn_part *part, quern_error *err)
{
    const qn_fetch *f = user;
    char validator[256] = ""; /* the blob's name is its hash, so what is there needs no other proof */
    return qn_fetch_part(f, part, validator, NULL, NULL, err);
}

static quern_status pull_blob(hub_pull *p, const hub_file *f, quern_error *err)
{
    char lock_name[QN_SHA256_HEX + 8], hex[QN_SHA256_HEX + 1];
    int lock_fd = -1;
    snprintf(lock_name, sizeof lock_name, "%s.lock", f->etag);
    quern_status s = qn_lock(&lock_fd, p->locks_fd, lock_name, p->progress, p->w->label, err);
    if (s != QUERN_OK) return s;
    struct stat info; /* another process may have been faster */
    if (fstatat(p->blobs_fd, f->etag, &info, AT_SYMLINK_NOFOLLOW) == 0 && !p->w->again && f->size_bytes > 0 &&
        (uint64_t)info.st_size == f->size_bytes) {
        close(lock_fd);
        return QUERN_OK;
    }
    qn_part part = {.dir_fd = p->blobs_fd,
                    .dir_path = p->blobs_path,
                    .label = p->w->label,
                    .size_bytes = f->size_bytes,
                    .progress = p->progress,
                    .free_bytes = p->st->free_bytes};
    snprintf(part.name, sizeof part.name, "%s", f->etag);
    snprintf(part.part_name, sizeof part.part_name, "%s.incomplete", f->etag);
    snprintf(part.bad_name, sizeof part.bad_name, "%s.bad", f->etag);
    if (strlen(f->etag) == QN_SHA256_HEX) strcpy(part.expected, f->etag);
    s = qn_part_open(&part, part.expected[0] != '\0' && !p->w->again, err);
    qn_fetch fetch = hub_fetch(p->st, f->url, p->progress, p->w->label);
    if (s == QUERN_OK) {
        s = qn_part_bring(&part, bring_blob, &fetch, hex, err);
        if (s == QUERN_OK) s = qn_part_commit(&part, err);
        qn_part_close(&part, false);
    }
    close(lock_fd);
    return s;
}

/* snapshots/COMMIT/a/b.gguf -> ../../../blobs/ETAG, put there by rename. */
static quern_status link_snapshot(hub_pull *p, const hub_file *f, quern_error *err)
{
    char target[3 * 10 + QN_SHA256_HEX + 16] = "../../", hidden[64];
    const char *rest = f->path;
    int dir = qn_dir_open_at(p->repo_fd, "snapshots", true);
    int below = dir >= 0 ? qn_dir_open_at(dir, f->commit, true) : -1;
    for (const char *slash = strchr(rest, '/'); below >= 0 && slash != NULL; slash = strchr(rest, '/')) {
        char folder[256];
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - rest), rest);
        close(dir);
        dir = below;
        below = qn_dir_open_at(dir, folder, true);
        strcat(target, "../");
        rest = slash + 1;
    }
    strcat(target, "blobs/");
    strcat(target, f->etag);
    snprintf(hidden, sizeof hidden, ".quern.%ld", (long)getpid());
    bool ok = below >= 0;
    if (ok) unlinkat(below, hidden, 0);
    ok = ok && symlinkat(target, below, hidden) == 0 && renameat(below, hidden, below, rest) == 0 &&
         fsync(below) == 0;
    const int why = errno;
    if (below >= 0) close(below);
    if (dir >= 0) close(dir);
    if (ok) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_IO, "%s: cannot link %s in %s/%s: %s", p->w->label, f->path,
                   p->st->hub_cache, p->repo_name, strerror(why));
}

static quern_status write_ref(hub_pull *p, const char *commit, quern_error *err)
{
    if (strlen(p->source->revision) == COMMIT_DIGITS && qn_hex_valid(p->source->revision, COMMIT_DIGITS))
        return QUERN_OK;
    const int fd = qn_dir_open_at(p->repo_fd, "refs", true);
    if (fd < 0)
        return qn_fail(err, QUERN_ERR_IO, "%s: cannot make refs in %s: %s", p->w->label, p->st->hub_cache,
                       strerror(errno));
    quern_status s = qn_write_small(fd, p->source->revision, commit, COMMIT_DIGITS, err);
    close(fd);
    return s;
}

/* ---- a model: one file, or all parts, and its projector -------------------------------------------- */

static quern_status open_repo(hub_pull *p, quern_error *err)
{
    snprintf(p->repo_name, sizeof p->repo_name, "models--%s--%s", p->source->owner, p->source->repo);
    if (!qn_path_format(p->blobs_path, "%s/%s/blobs", p->st->hub_cache, p->repo_name))
        return qn_fail(err, QUERN_ERR_LIMIT, "the path of the hub cache is too long");
    p->cache_fd = qn_dir_make(p->st->hub_cache, err);
    if (p->cache_fd < 0) return QUERN_ERR_IO;
    const int locks = qn_dir_open_at(p->cache_fd, ".locks", true);
    p->repo_fd = qn_dir_open_at(p->cache_fd, p->repo_name, true);
    if (locks >= 0) p->locks_fd = qn_dir_open_at(locks, p->repo_name, true);
    if (p->repo_fd >= 0) p->blobs_fd = qn_dir_open_at(p->repo_fd, "blobs", true);
    const int why = errno;
    if (locks >= 0) close(locks);
    if (p->locks_fd >= 0 && p->blobs_fd >= 0) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_IO, "%s: cannot make directories in %s: %s", p->w->label, p->st->hub_cache,
                   strerror(why));
}

static void close_repo(hub_pull *p)
{
    const int fds[] = {p->blobs_fd, p->repo_fd, p->locks_fd, p->cache_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0) close(fds[i]);
}

/* Headers of all files first: they must be of one commit, and fit on the disk together. */
static quern_status ask_about_all(hub_pull *p, hub_file *files, size_t n, quern_error *err)
{
    uint64_t more = 0;
    for (size_t i = 0; i < n; i++) {
        quern_status s = ask_about(p, i == 0 ? p->source->revision : files[0].commit, &files[i], err);
        if (s != QUERN_OK) return s;
        if (!files[i].here && __builtin_add_overflow(more, files[i].size_bytes, &more)) more = UINT64_MAX;
    }
    if (n == 1) return QUERN_OK; /* asked again when it begins, less what is there already */
    const qn_part space = {.label = p->w->label, .dir_path = p->blobs_path, .free_bytes = p->st->free_bytes};
    return qn_part_need_space(&space, more, err);
}

static quern_status pull_files(hub_pull *p, hub_file *files, size_t n, quern_error *err)
{
    quern_status s = ask_about_all(p, files, n, err);
    if (s == QUERN_OK && n == 1 && p->w->sha256 != NULL && strlen(files[0].etag) == QN_SHA256_HEX &&
        strcmp(p->w->sha256, files[0].etag) != 0)
        s = qn_fail(err, QUERN_ERR_CHECKSUM,
                    "%s: the hub's file has SHA-256 %s, expected %s (has the published file changed?)",
                    p->w->label, files[0].etag, p->w->sha256);
    for (size_t i = 0; i < n && s == QUERN_OK; i++) {
        qn_progress_file(p->progress, files[i].path);
        if (!files[i].here || p->w->again) s = pull_blob(p, &files[i], err);
        if (s == QUERN_OK) s = link_snapshot(p, &files[i], err);
    }
    qn_progress_file(p->progress, p->w->label);
    return s == QUERN_OK ? write_ref(p, files[0].commit, err) : s;
}

static quern_status pull_model(quern_store *st, const qn_wanted *w, const qn_source *source,
                               qn_progress *progress, quern_error *err)
{
    hub_pull p = {.st = st,
                  .w = w,
                  .progress = progress,
                  .source = source,
                  .cache_fd = -1,
                  .repo_fd = -1,
                  .blobs_fd = -1,
                  .locks_fd = -1};
    size_t stem = 0;
    const unsigned n = count_shards(source->path, &stem);
    if (n > MAX_SHARDS)
        return qn_fail(err, QUERN_ERR_LIMIT, "%s: %u parts, at most %d are supported", w->label, n,
                       MAX_SHARDS);
    hub_file *files = qn_calloc(n, sizeof *files);
    if (files == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory for %u parts", w->label, n);
    for (unsigned i = 0; i < n; i++) {
        snprintf(files[i].path, sizeof files[i].path, "%.*s", QN_PATH_MAX, source->path);
        if (n > 1) shard_name(source->path, i + 1, n, stem, files[i].path);
    }
    quern_status s = open_repo(&p, err);
    if (s == QUERN_OK) s = pull_files(&p, files, n, err);
    close_repo(&p);
    qn_free(files);
    return s;
}

quern_status qn_hub_pull(quern_store *st, const qn_wanted *w, const qn_source *projector,
                         qn_progress *progress, quern_error *err)
{
    qn_source source = w->sources[0];
    if (st->offline)
        return qn_fail(err, QUERN_ERR_NETWORK, "%s: not installed, and quern is offline", w->label);
    quern_status s = source.path[0] == '\0' ? choose_file(st, &source, progress, w->label, err) : QUERN_OK;
    if (s == QUERN_OK) s = pull_model(st, w, &source, progress, err);
    if (s != QUERN_OK || projector->kind == QN_SOURCE_NONE) return s;
    qn_wanted beside = {.label = w->label, .sources = projector, .n_sources = 1};
    return pull_model(st, &beside, projector, progress, err);
}

/* ---- removing ------------------------------------------------------------------------------------ */

typedef struct removal {
    const char *repo, *file; /* file: in the repository */
    char blob[QN_SHA256_HEX + 1];
    bool unlink_file;        /* first round: take the links away; second: is the blob still used? */
    size_t n_used, n_models; /* what still needs the blob; what else somebody has of this repository */
} removal;

static quern_status visit_snapshot(void *user, const char *commit, quern_error *err)
{
    removal *r = user;
    char snapshot[PATH_MAX], path[PATH_MAX], blob[QN_SHA256_HEX + 1];
    if (!qn_path_format(snapshot, "%s/snapshots/%s", r->repo, commit)) return QUERN_OK;
    if (r->unlink_file) {
        if (!qn_path_format(path, "%s/%s", snapshot, r->file) || unlink(path) == 0 || errno == ENOENT ||
            errno == ENOTDIR)
            return QUERN_OK;
        return qn_fail(err, QUERN_ERR_IO, "cannot remove %s: %s", path, strerror(errno));
    }
    names files = {0};
    quern_status s = list_snapshot(snapshot, &files, err);
    for (size_t i = 0; i < files.n; i++) {
        if (!qn_path_format(path, "%s/%s", snapshot, files.items[i])) continue;
        blob_of(path, blob);
        if (strcmp(blob, r->blob) == 0) r->n_used++;
        if (strcasestr(files.items[i], "mmproj") == NULL) r->n_models++;
    }
    names_deinit(&files);
    return s;
}

static quern_status remove_file(hub_pull *p, removal *r, const char *link_path, quern_error *err)
{
    char snapshots[PATH_MAX], lock_name[QN_SHA256_HEX + 8];
    int lock_fd = -1;
    quern_status s = QUERN_OK;
    blob_of(link_path, r->blob);
    if (r->blob[0] != '\0') {
        snprintf(lock_name, sizeof lock_name, "%s.lock", r->blob);
        s = qn_lock(&lock_fd, p->locks_fd, lock_name, NULL, p->w->label, err);
    }
    if (s == QUERN_OK && !qn_path_format(snapshots, "%s/snapshots", r->repo))
        s = qn_fail(err, QUERN_ERR_LIMIT, "the path is too long");
    r->unlink_file = true;
    if (s == QUERN_OK) s = qn_dir_each(snapshots, visit_snapshot, r, err);
    r->unlink_file = false;
    r->n_used = r->n_models = 0;
    if (s == QUERN_OK) s = qn_dir_each(snapshots, visit_snapshot, r, err);
    if (s == QUERN_OK && r->blob[0] != '\0' && r->n_used == 0 && unlinkat(p->blobs_fd, r->blob, 0) != 0 &&
        errno != ENOENT)
        s = qn_fail(err, QUERN_ERR_IO, "%s: cannot remove %s/%s: %s", p->w->label, p->blobs_path, r->blob,
                    strerror(errno));
    if (lock_fd >= 0) close(lock_fd);
    return s;
}

quern_status qn_hub_remove(quern_store *st, const qn_source *source, quern_error *err)
{
    qn_found found;
    qn_source full;
    char repo[PATH_MAX];
    quern_status s = qn_hub_find(st, source, &found, err);
    if (s == QUERN_OK) s = qn_source_parse(&full, found.source, err);
    if (s != QUERN_OK) return s;
    if (!repo_dir(st, source, repo))
        return qn_fail(err, QUERN_ERR_LIMIT, "the path of the hub cache is too long");
    const qn_wanted w = {.label = found.source};
    hub_pull p = {
        .st = st, .w = &w, .source = &full, .cache_fd = -1, .repo_fd = -1, .blobs_fd = -1, .locks_fd = -1};
    s = open_repo(&p, err);
    size_t stem = 0;
    const unsigned n = count_shards(full.path, &stem);
    removal r = {.repo = repo};
    for (unsigned i = n; i >= 1 && s == QUERN_OK;
         i--) { /* the first part last: it is what makes the model visible */
        char name[QN_PATH_MAX + 1], path[PATH_MAX];
        snprintf(name, sizeof name, "%.*s", QN_PATH_MAX, full.path);
        if (n > 1) shard_name(full.path, i, n, stem, name);
        r.file = name;
        const size_t n_base = strlen(found.path) - strlen(full.path);
        if (qn_path_format(path, "%.*s%s", (int)n_base, found.path, name)) s = remove_file(&p, &r, path, err);
    }
    if (s == QUERN_OK && r.n_models == 0)
        qn_tree_remove(p.cache_fd, p.repo_name); /* nothing but projectors is left in it */
    close_repo(&p);
    return s;
}
