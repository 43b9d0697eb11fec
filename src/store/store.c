/* store.c: the model store's public side: what a name means, and which part of the store has it. */
#include "store/store.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/file.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_CATALOGUE_BYTES = 16 << 20, MAX_ENTRIES = 200000 };

/* ---- opening ------------------------------------------------------------------------------------- */

quern_store_params quern_store_params_default(void)
{
    return (quern_store_params){.struct_bytes = sizeof(quern_store_params)};
}

quern_store_pull_params quern_store_pull_params_default(void)
{
    return (quern_store_pull_params){.struct_bytes = sizeof(quern_store_pull_params)};
}

static bool is_on(const char *name)
{
    const char *value = qn_environment(name);
    return value != NULL && (strcmp(value, "1") == 0 || strcasecmp(value, "true") == 0 ||
                             strcasecmp(value, "yes") == 0 || strcasecmp(value, "on") == 0);
}

static quern_status find_directories(quern_store *st, const char *directory, quern_error *err)
{
    char path[PATH_MAX];
    const char *root = directory != NULL ? directory : qn_environment("QUERN_MODELS");
    if (root == NULL && qn_path_xdg(path, "XDG_DATA_HOME", ".local/share", "quern/models")) root = path;
    if (root == NULL)
        return qn_fail(err, QUERN_ERR_NOT_FOUND,
                       "no directory for models: HOME is not set (set QUERN_MODELS)");
    st->root = qn_path_absolute(root);
    const char *hub = qn_environment("HF_HUB_CACHE");
    if (hub == NULL) hub = qn_environment("HUGGINGFACE_HUB_CACHE");
    const char *home = qn_environment("HF_HOME");
    if (hub == NULL && home != NULL && qn_path_format(path, "%s/hub", home)) hub = path;
    if (hub == NULL && qn_path_xdg(path, "XDG_CACHE_HOME", ".cache", "huggingface/hub")) hub = path;
    if (hub == NULL && qn_path_format(path, "%s/hub", root)) hub = path;
    st->hub_cache = hub != NULL ? qn_path_absolute(hub) : NULL;
    if (st->root != NULL && st->hub_cache != NULL) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_NOMEM,
                   "the directories for models cannot be named (too long, or no memory)");
}

static bool is_loopback(const char *host)
{
    static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const size_t n = strlen(names[i]);
        if (strncasecmp(host, names[i], n) == 0 && (host[n] == '\0' || host[n] == ':' || host[n] == '/'))
            return true;
    }
    return false;
}

static quern_status read_hub_settings(quern_store *st, quern_error *err)
{
    const char *endpoint = qn_environment("HF_ENDPOINT"), *token = qn_environment("HF_TOKEN");
    qn_source check;
    char probe[QN_URL_MAX + 1];
    if (endpoint == NULL) endpoint = "https://huggingface.co";
    size_t n = strlen(endpoint);
    while (n > 0 && endpoint[n - 1] == '/') n--;
    snprintf(probe, sizeof probe, "%.*s/x", (int)(n < 1000 ? n : 1000), endpoint);
    const bool web = strncasecmp(endpoint, "https://", 8) == 0 || strncasecmp(endpoint, "http://", 7) == 0;
    if (n > 1000 || !web ||
        (strncasecmp(endpoint, "https://huggingface.co", 22) != 0 &&
         qn_source_parse(&check, probe, NULL) != QUERN_OK))
        return qn_fail(err, QUERN_ERR_ARGUMENT, "HF_ENDPOINT is %s, which is not https://HOST",
                       qn_quote(endpoint, strlen(endpoint)).text);
    st->endpoint = qn_strndup(endpoint, n);
    if (st->endpoint == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "no memory for a store");
    if (token == NULL) return QUERN_OK;
    if (strncasecmp(endpoint, "http://", 7) == 0 && !is_loopback(endpoint + 7)) {
        qn_log_write(&st->network.log, QUERN_LOG_WARN,
                     "HF_TOKEN is not used: HF_ENDPOINT is not https, so others could read it on the way");
        return QUERN_OK;
    }
    for (const char *c = token; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~' || c - token >= 512) /* nothing that could begin another header */
            return qn_fail(err, QUERN_ERR_ARGUMENT,
                           "HF_TOKEN has characters that no token has, or more than 512 of them");
    st->token = qn_strdup(token);
    return st->token != NULL ? QUERN_OK : qn_fail(err, QUERN_ERR_NOMEM, "no memory for a store");
}

/* The user's own catalogue first, so that it wins. */
static quern_status read_catalogue(quern_store *st, quern_error *err)
{
    char path[PATH_MAX], *text = NULL;
    size_t n;
    quern_status s = QUERN_OK;
    if (qn_path_xdg(path, "XDG_CONFIG_HOME", ".config", "quern/catalogue.json")) {
        s = qn_file_read(&text, &n, path, MAX_CATALOGUE_BYTES, err);
        if (s == QUERN_OK) s = qn_catalogue_add(&st->catalogue, text, n, path, err);
        else if (s == QUERN_ERR_NOT_FOUND) s = QUERN_OK;
        qn_free(text);
    }
    return s == QUERN_OK ? qn_catalogue_add(&st->catalogue, qn_catalogue_builtin, qn_catalogue_builtin_bytes,
                                            "the built-in catalogue", err)
                         : s;
}

quern_status quern_store_open(quern_store **out, const quern_store_params *params, quern_error *err)
{
    const quern_store_params defaults = quern_store_params_default();
    quern_store *st = *out = qn_calloc(1, sizeof *st);
    if (st == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "no memory for a store");
    if (params == NULL) params = &defaults;
    st->offline = params->offline || is_on("QUERN_OFFLINE") || is_on("HF_HUB_OFFLINE");
    st->network = (qn_network){.max_attempts = 6,
                               .first_delay_ms = 500,
                               .max_wait_s = 120,
                               .connect_timeout_ms = 20000,
                               .stall_timeout_s = 60,
                               .log = {params->log, params->log_user}};
    st->free_bytes = qn_path_free_bytes;
    quern_status s = find_directories(st, params->directory, err);
    if (s == QUERN_OK) s = read_hub_settings(st, err);
    if (s == QUERN_OK) s = read_catalogue(st, err);
    if (s == QUERN_OK) return s;
    quern_store_close(st);
    *out = NULL;
    return s;
}

/* ---- entries, the results of a call ---------------------------------------------------------------- */

static void free_entry(quern_store_entry *e)
{
    const char *const texts[] = {e->name,        e->path,         e->source, e->sha256,
                                 e->description, e->architecture, e->license};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) qn_free((void *)(uintptr_t)texts[i]);
    qn_free(e);
}

static void clear_entries(quern_store *st)
{
    for (size_t i = 0; i < st->n_entries; i++) free_entry(st->entries[i]);
    st->n_entries = 0;
}

void quern_store_close(quern_store *st)
{
    if (st == NULL) return;
    clear_entries(st);
    qn_free(st->entries);
    qn_catalogue_deinit(&st->catalogue);
    qn_free(st->root);
    qn_free(st->hub_cache);
    qn_free(st->endpoint);
    qn_free(st->token);
    qn_free(st);
}

const char *quern_store_directory(const quern_store *st)
{
    return st->root;
}

static bool copy_text(const char **out, const char *text)
{
    if (text == NULL || text[0] == '\0') return true;
    *out = qn_strdup(text);
    return *out != NULL;
}

/* found NULL: not installed. sources: where a pull would go; may be NULL. */
static quern_status add_entry(quern_store *st, const char *name, const qn_found *found,
                              const qn_source *sources, const qn_catalogue_entry *c, quern_error *err)
{
    char source[QN_SOURCE_TEXT] = "";
    if (sources != NULL) qn_source_format(sources, source);
    quern_store_entry *e = qn_calloc(1, sizeof *e);
    bool ok = e != NULL &&
              qn_grow(&st->entries, &st->capacity, st->n_entries + 1, MAX_ENTRIES, sizeof *st->entries);
    ok = ok && copy_text(&e->name, name) &&
         copy_text(&e->source, found != NULL && found->source[0] != '\0' ? found->source : source);
    if (c != NULL)
        ok = ok && copy_text(&e->description, c->description) &&
             copy_text(&e->architecture, c->architecture) && copy_text(&e->license, c->license);
    if (found != NULL) {
        ok = ok && copy_text(&e->path, found->path) && copy_text(&e->sha256, found->sha256);
        if (ok) e->size_bytes = found->size_bytes, e->modified_s = found->modified_s;
    } else if (c != NULL) {
        ok = ok && copy_text(&e->sha256, c->sha256);
        if (ok) e->size_bytes = c->size_bytes;
    }
    if (ok) {
        st->entries[st->n_entries++] = e;
        return QUERN_OK;
    }
    if (e != NULL) free_entry(e);
    return qn_fail(err, QUERN_ERR_NOMEM, "no memory for the description of %s", name);
}

/* ---- what a name means ----------------------------------------------------------------------------- */

typedef struct meaning {
    enum { AT_PATH, AT_LOCAL, AT_HUB } place;
    char shown[QN_SOURCE_TEXT];
    char name[QN_NAME_MAX + 1], tag[QN_NAME_MAX + 1]; /* AT_LOCAL */
    const qn_catalogue_entry *entry;                  /* NULL: not of the catalogue */
    const qn_source *sources;                         /* NULL: nothing is known to bring it */
    size_t n_sources;
    qn_source typed;
    char path[QN_URL_MAX + 1]; /* AT_PATH */
} meaning;

static void mean_entry(meaning *m, const qn_catalogue_entry *e)
{
    m->entry = e;
    m->sources = e->sources;
    m->n_sources = e->n_sources;
    m->place = e->sources[0].kind == QN_SOURCE_HUB ? AT_HUB : AT_LOCAL;
    strcpy(m->name, e->name);
    strcpy(m->tag, e->tag);
    snprintf(m->shown, sizeof m->shown, "%s:%s", e->name, e->tag);
}

static quern_status mean_source(const quern_store *st, meaning *m, const qn_source *source, quern_error *err)
{
    const qn_catalogue_entry *e = qn_catalogue_find_source(&st->catalogue, source);
    if (e != NULL) {
        mean_entry(m, e);
        return QUERN_OK;
    }
    m->typed = *source;
    m->sources = &m->typed;
    m->n_sources = 1;
    m->place = source->kind == QN_SOURCE_HUB ? AT_HUB : AT_LOCAL;
    qn_source_format(source, m->shown);
    if (m->place == AT_HUB) return QUERN_OK;
    strcpy(m->tag, "latest");
    if (qn_name_from_source(source, m->name)) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: ends with no name for a file",
                   qn_quote(m->shown, strlen(m->shown)).text);
}

static quern_status find_meaning(const quern_store *st, const char *text, meaning *m, quern_error *err)
{
    qn_reference r;
    memset(m, 0, sizeof *m);
    if (text == NULL || text[0] == '\0')
        text = st->catalogue.default_name != NULL ? st->catalogue.default_name : "";
    quern_status s = qn_reference_parse(&r, text, err);
    if (s != QUERN_OK) return s;
    if (r.kind == QN_REFERENCE_SOURCE) return mean_source(st, m, &r.source, err);
    if (r.kind == QN_REFERENCE_PATH) {
        m->place = AT_PATH;
        strcpy(m->path, r.path);
        snprintf(m->shown, sizeof m->shown, "%s", r.path);
        return QUERN_OK;
    }
    const qn_catalogue_entry *e = qn_catalogue_find(&st->catalogue, r.name, r.tag);
    if (e != NULL) {
        mean_entry(m, e);
        return QUERN_OK;
    }
    m->place = AT_LOCAL;
    strcpy(m->name, r.name);
    strcpy(m->tag, r.tag[0] != '\0' ? r.tag : "latest");
    snprintf(m->shown, sizeof m->shown, "%s", text);
    return QUERN_OK;
}

/* QUERN_ERR_NOT_FOUND and QUERN_ERR_FORMAT (damaged) as the parts of the store say. */
static quern_status find_file(const quern_store *st, const meaning *m, qn_found *found, quern_error *err)
{
    struct stat info;
    if (m->place == AT_HUB) return qn_hub_find(st, &m->sources[0], found, err);
    if (m->place == AT_LOCAL) {
        quern_status s = qn_local_find(st, m->name, m->tag, found, err);
        if (s != QUERN_OK || m->entry != NULL || m->sources == NULL || strcmp(found->source, m->shown) == 0)
            return s;
        return qn_fail(err, QUERN_ERR_NOT_FOUND, "%s: not installed",
                       m->shown); /* the same file name from elsewhere */
    }
    memset(found, 0, sizeof *found);
    const qn_quoted shown = qn_quote(m->path, strlen(m->path));
    if (stat(m->path, &info) != 0)
        return qn_fail(err, errno == ENOENT || errno == ENOTDIR ? QUERN_ERR_NOT_FOUND : QUERN_ERR_IO,
                       "%s: %s%s", shown.text, strerror(errno),
                       errno == ENOENT ? " (check the path, or `quern list` for installed models)" : "");
    if (!S_ISREG(info.st_mode))
        return qn_fail(err, QUERN_ERR_IO, "%s: is %s, not a model file", shown.text,
                       S_ISDIR(info.st_mode) ? "a directory" : "a pipe or device");
    strcpy(found->path, m->path);
    found->size_bytes = (uint64_t)info.st_size;
    found->modified_s = (int64_t)info.st_mtime;
    return QUERN_OK;
}

/* ---- resolve ---------------------------------------------------------------------------------------- */

typedef struct nearest {
    const char *wanted;
    char best[2 * QN_NAME_MAX + 2];
    unsigned distance;
} nearest;

static void consider(nearest *n, const char *name, const char *tag)
{
    char full[2 * QN_NAME_MAX + 2];
    snprintf(full, sizeof full, "%s:%s", name, tag);
    const char *forms[] = {name, full};
    for (int i = strchr(n->wanted, ':') != NULL ? 1 : 0; i < 2; i++) {
        const unsigned d = qn_edit_distance(n->wanted, forms[i]);
        if (d >= n->distance) continue;
        n->distance = d;
        snprintf(n->best, sizeof n->best, "%s", forms[i]);
    }
}

static quern_status consider_local(void *user, const char *name, const char *tag, const qn_found *found,
                                   quern_error *err)
{
    (void)found, (void)err;
    consider(user, name, tag);
    return QUERN_OK;
}

static quern_status fail_unknown(quern_store *st, const char *wanted, quern_error *err)
{
    const size_t n = strlen(wanted);
    nearest near = {.wanted = wanted, .distance = (unsigned)(n / 3 > 2 ? n / 3 : 2) + 1};
    for (size_t i = 0; i < st->catalogue.n_entries; i++) {
        const qn_catalogue_entry *e = &st->catalogue.entries[i];
        for (size_t k = 0; k < json_array_size(e->tags); k++)
            consider(&near, e->name, json_string_value(json_array_get(e->tags, k)));
    }
    qn_local_each(st, consider_local, &near, NULL);
    char mean[2 * QN_NAME_MAX + 32] = "";
    if (near.best[0] != '\0') snprintf(mean, sizeof mean, "did you mean %s? ", near.best);
    return qn_fail(
        err, QUERN_ERR_NOT_FOUND,
        "%s: no such model (%s`quern list` shows what is installed, `quern list --all` what can be pulled)",
        qn_quote(wanted, n).text, mean);
}

static quern_status fail_not_installed(const meaning *m, quern_error *err)
{
    char source[QN_SOURCE_TEXT], size[48] = "";
    qn_source_format(&m->sources[0], source);
    if (m->entry != NULL && m->entry->size_bytes > 0)
        snprintf(size, sizeof size, ", %.0f MB", (double)m->entry->size_bytes / 1e6);
    return qn_fail(err, QUERN_ERR_NOT_FOUND, "%s: not installed (`quern pull %s` would bring it from %s%s)",
                   qn_quote(m->shown, strlen(m->shown)).text, qn_quote(m->shown, strlen(m->shown)).text,
                   qn_quote(source, strlen(source)).text, size);
}

quern_status quern_store_resolve(quern_store *st, const char *name, const quern_store_entry **entry,
                                 quern_error *err)
{
    meaning m;
    qn_found found;
    *entry = NULL;
    clear_entries(st);
    quern_status s = find_meaning(st, name, &m, err);
    if (s == QUERN_OK) s = find_file(st, &m, &found, err);
    if (s == QUERN_OK) {
        s = add_entry(st, m.shown, &found, NULL, m.entry, err);
    } else if (s == QUERN_ERR_NOT_FOUND && m.place != AT_PATH) {
        if (m.sources == NULL) return fail_unknown(st, m.shown, err);
        s = add_entry(st, m.shown, NULL, &m.sources[0], m.entry, err);
        if (s == QUERN_OK) s = fail_not_installed(&m, err);
    }
    if (st->n_entries > 0) *entry = st->entries[0];
    return s;
}

/* ---- pull ------------------------------------------------------------------------------------------- */

/* The name that the caller wants a file to have in the store. */
static quern_status rename_meaning(const quern_store *st, meaning *m, const char *as_name, quern_error *err)
{
    char name[QN_NAME_MAX + 1], tag[QN_NAME_MAX + 1];
    const qn_quoted shown = qn_quote(as_name, strlen(as_name));
    if (!qn_name_tag_parse(as_name, name, tag))
        return qn_fail(err, QUERN_ERR_ARGUMENT,
                       "%s: not a name of the form NAME or NAME:TAG (letters, digits, '.', '_', '-')",
                       shown.text);
    if (m->place != AT_LOCAL)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: files of the hub cache keep their names", shown.text);
    if (qn_catalogue_find(&st->catalogue, name, tag) != NULL)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: is a name of the catalogue (choose another)",
                       shown.text);
    strcpy(m->name, name);
    strcpy(m->tag, tag[0] != '\0' ? tag : "latest");
    snprintf(m->shown, sizeof m->shown, "%s:%s", m->name, m->tag);
    return QUERN_OK;
}

/* `pull ./x.gguf` copies the file into the store. */
static quern_status source_of_path(meaning *m, quern_error *err)
{
    qn_source source = {.kind = QN_SOURCE_FILE};
    char *path = qn_path_absolute(m->path);
    if (path == NULL || strlen(path) > QN_URL_MAX) {
        qn_free(path);
        return qn_fail(err, QUERN_ERR_LIMIT, "%s: the path is too long",
                       qn_quote(m->path, strlen(m->path)).text);
    }
    strcpy(source.path, path);
    qn_free(path);
    m->typed = source;
    m->sources = &m->typed;
    m->n_sources = 1;
    m->place = AT_LOCAL;
    strcpy(m->tag, "latest");
    if (qn_name_from_source(&source, m->name)) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: ends with no name for a file",
                   qn_quote(m->path, strlen(m->path)).text);
}

static quern_status plan_pull(quern_store *st, const char *name, const quern_store_pull_params *params,
                              meaning *m, quern_error *err)
{
    quern_status s = find_meaning(st, name, m, err);
    if (s == QUERN_OK && m->place == AT_PATH) {
        qn_found found;
        s = find_file(st, m, &found, err);
        if (s == QUERN_OK) s = source_of_path(m, err);
        if (s == QUERN_OK) snprintf(m->shown, sizeof m->shown, "%s:%s", m->name, m->tag);
    }
    if (s == QUERN_OK && m->sources == NULL) {
        qn_found found; /* put there by hand, or pulled under another name: nothing to do */
        if (find_file(st, m, &found, NULL) == QUERN_OK && !params->again) return QUERN_OK;
        return fail_unknown(st, m->shown, err);
    }
    if (s == QUERN_OK && params->sha256 != NULL &&
        !qn_hex_valid(params->sha256, strnlen(params->sha256, QN_SHA256_HEX)))
        s = qn_fail(err, QUERN_ERR_ARGUMENT, "the SHA-256 must be %d hex digits in lower case",
                    QN_SHA256_HEX);
    if (s == QUERN_OK && params->sha256 != NULL && strlen(params->sha256) != QN_SHA256_HEX)
        s = qn_fail(err, QUERN_ERR_ARGUMENT, "the SHA-256 must be %d hex digits in lower case",
                    QN_SHA256_HEX);
    if (s == QUERN_OK && params->as_name != NULL) s = rename_meaning(st, m, params->as_name, err);
    return s;
}

quern_status quern_store_pull(quern_store *st, const char *name, const quern_store_pull_params *params,
                              const quern_store_entry **entry, quern_error *err)
{
    const quern_store_pull_params defaults = quern_store_pull_params_default();
    static const qn_source no_projector = {.kind = QN_SOURCE_NONE};
    meaning m;
    qn_found found;
    if (params == NULL) params = &defaults;
    if (entry != NULL) *entry = NULL;
    clear_entries(st);
    quern_status s = plan_pull(st, name, params, &m, err);
    if (s != QUERN_OK) return s;
    char label[420];
    snprintf(label, sizeof label, "%s", qn_quote(m.shown, strlen(m.shown)).text);
    qn_progress progress = {.fn = params->progress, .user = params->progress_user};
    qn_progress_file(&progress, label);
    const qn_catalogue_entry *e = m.entry;
    const bool vouched = e != NULL && params->sha256 == NULL;
    const qn_wanted w = {.label = label,
                         .sources = m.sources,
                         .n_sources = m.n_sources,
                         .sha256 = vouched ? e->sha256 : params->sha256,
                         .size_bytes = vouched ? e->size_bytes : 0,
                         .license = e != NULL ? e->license : NULL,
                         .again = params->again};
    if (m.sources != NULL && m.place == AT_LOCAL) {
        s = qn_local_pull(st, m.name, m.tag, &w, &progress, err);
    } else if (m.sources != NULL &&
               (params->again || qn_hub_find(st, &m.sources[0], &found, NULL) != QUERN_OK)) {
        s = qn_hub_pull(st, &w, e != NULL ? &e->projector : &no_projector, &progress, err);
    }
    if (s == QUERN_OK && m.place == AT_LOCAL) s = qn_local_find(st, m.name, m.tag, &found, err);
    else if (s == QUERN_OK) s = qn_hub_find(st, &m.sources[0], &found, err);
    if (s == QUERN_OK) s = add_entry(st, m.shown, &found, m.sources, e, err);
    if (s == QUERN_OK && entry != NULL) *entry = st->entries[0];
    return s;
}

/* ---- list -------------------------------------------------------------------------------------------- */

static quern_status list_local(void *user, const char *name, const char *tag, const qn_found *found,
                               quern_error *err)
{
    quern_store *st = user;
    char full[2 * QN_NAME_MAX + 2];
    snprintf(full, sizeof full, "%s:%s", name, tag);
    return add_entry(st, full, found, NULL, qn_catalogue_find(&st->catalogue, name, tag), err);
}

static quern_status list_hub(void *user, const qn_source *source, const qn_found *found, quern_error *err)
{
    quern_store *st = user;
    char text[QN_SOURCE_TEXT];
    const qn_catalogue_entry *e = qn_catalogue_find_source(&st->catalogue, source);
    if (e != NULL) snprintf(text, sizeof text, "%s:%s", e->name, e->tag);
    else qn_source_format(source, text);
    return add_entry(st, text, found, NULL, e, err);
}

static quern_status list_catalogue(quern_store *st, quern_error *err)
{
    quern_status s = QUERN_OK;
    for (size_t i = 0; i < st->catalogue.n_entries && s == QUERN_OK; i++) {
        const qn_catalogue_entry *e = &st->catalogue.entries[i];
        if (qn_catalogue_find(&st->catalogue, e->name, e->tag) != e)
            continue; /* replaced by the user's own */
        meaning m = {.shown = ""};
        qn_found found;
        mean_entry(&m, e);
        const bool there = find_file(st, &m, &found, NULL) == QUERN_OK;
        s = add_entry(st, m.shown, there ? &found : NULL, &e->sources[0], e, err);
    }
    return s;
}

static int by_name(const void *a, const void *b)
{
    const quern_store_entry *x = *(quern_store_entry *const *)a, *y = *(quern_store_entry *const *)b;
    const int order = strcasecmp(x->name, y->name);
    return order != 0 ? order : strcmp(x->name, y->name);
}

quern_status quern_store_list(quern_store *st, bool available, const quern_store_entry *const **entries,
                              size_t *n_entries, quern_error *err)
{
    *entries = NULL;
    *n_entries = 0;
    clear_entries(st);
    quern_status s;
    if (available) {
        s = list_catalogue(st, err);
    } else {
        s = qn_local_each(st, list_local, st, err);
        if (s == QUERN_OK) s = qn_hub_each(st, list_hub, st, err);
    }
    if (s != QUERN_OK) {
        clear_entries(st);
        return s;
    }
    if (st->n_entries > 0) qsort(st->entries, st->n_entries, sizeof *st->entries, by_name);
    *entries = (const quern_store_entry *const *)(uintptr_t)st->entries;
    *n_entries = st->n_entries;
    return QUERN_OK;
}

/* ---- verify and remove --------------------------------------------------------------------------------- */

static quern_status hash_file(const char *path, const char *label, uint64_t size, qn_progress *progress,
                              char hex[QN_SHA256_HEX + 1], quern_error *err)
{
    enum { CHUNK = 256 << 10 };
    qn_sha256 *hash = NULL;
    quern_status s = qn_sha256_create(&hash, err);
    if (s != QUERN_OK) return s;
    char *chunk = qn_malloc(CHUNK);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t done = 0;
    if (chunk == NULL) s = qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory for a buffer", label);
    else if (fd < 0) s = qn_fail(err, QUERN_ERR_IO, "%s: %s: %s", label, path, strerror(errno));
    for (ssize_t n = 1; s == QUERN_OK && n > 0;) {
        n = read(fd, chunk, CHUNK);
        if (n < 0 && errno == EINTR) n = 1;
        else if (n < 0) s = qn_fail(err, QUERN_ERR_IO, "%s: %s: %s", label, path, strerror(errno));
        else if (n > 0 && !qn_sha256_update(hash, chunk, (size_t)n))
            s = qn_fail(err, QUERN_ERR_IO, "%s: hashing failed", label);
        else if (!qn_progress_tell(progress, QUERN_STORE_VERIFYING, done += (uint64_t)n, size))
            s = qn_progress_canceled(err, label);
    }
    if (s == QUERN_OK && !qn_sha256_finish(hash, hex))
        s = qn_fail(err, QUERN_ERR_IO, "%s: hashing failed", label);
    if (fd >= 0) close(fd);
    qn_free(chunk);
    qn_sha256_destroy(hash);
    return s;
}

quern_status quern_store_verify(quern_store *st, const char *name, quern_store_progress_fn *progress_fn,
                                void *user, quern_error *err)
{
    const quern_store_entry *e;
    quern_status s = quern_store_resolve(st, name, &e, err);
    if (s != QUERN_OK) return s;
    if (e->sha256 == NULL)
        return qn_fail(err, QUERN_ERR_UNSUPPORTED,
                       "%s: no SHA-256 is known for it (it was not pulled, or is a split model)",
                       qn_quote(e->name, strlen(e->name)).text);
    qn_progress progress = {.fn = progress_fn, .user = user};
    qn_progress_file(&progress, e->name);
    char hex[QN_SHA256_HEX + 1];
    s = hash_file(e->path, e->name, e->size_bytes, &progress, hex, err);
    if (s != QUERN_OK || strcmp(hex, e->sha256) == 0) return s;
    return qn_fail(err, QUERN_ERR_CHECKSUM, "%s: SHA-256 is %s, expected %s (remove it and pull it again)",
                   qn_quote(e->name, strlen(e->name)).text, hex, e->sha256);
}

quern_status quern_store_remove(quern_store *st, const char *name, quern_error *err)
{
    meaning m;
    qn_found found;
    clear_entries(st);
    if (name == NULL || name[0] == '\0')
        return qn_fail(err, QUERN_ERR_ARGUMENT, "which model is to be removed?");
    quern_status s = find_meaning(st, name, &m, err);
    if (s != QUERN_OK) return s;
    if (m.place == AT_PATH)
        return qn_fail(err, QUERN_ERR_ARGUMENT,
                       "%s: is a path, not a model of the store (delete the file itself)",
                       qn_quote(m.path, strlen(m.path)).text);
    s = find_file(st, &m, &found, err);
    if (s == QUERN_ERR_NOT_FOUND && m.place == AT_LOCAL &&
        qn_local_find(st, m.name, m.tag, &found, NULL) == QUERN_ERR_NOT_FOUND &&
        qn_local_remove(st, m.name, m.tag, NULL) == QUERN_OK)
        return QUERN_OK; /* there was what an interrupted pull had left; never a model of the same name from
                            elsewhere */
    if (s == QUERN_ERR_NOT_FOUND && m.sources == NULL) return fail_unknown(st, m.shown, err);
    if (s == QUERN_ERR_NOT_FOUND)
        return qn_fail(err, s, "%s: not installed", qn_quote(m.shown, strlen(m.shown)).text);
    if (s != QUERN_OK && s != QUERN_ERR_FORMAT) return s;
    if (m.place == AT_LOCAL) return qn_local_remove(st, m.name, m.tag, err);
    s = qn_hub_remove(st, &m.sources[0], err);
    if (s == QUERN_OK && m.entry != NULL && m.entry->projector.kind == QN_SOURCE_HUB &&
        qn_hub_find(st, &m.entry->projector, &found, NULL) == QUERN_OK)
        s = qn_hub_remove(st, &m.entry->projector, err);
    return s;
}
