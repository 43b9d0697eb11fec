/* catalogue.h: the names that quern knows, as data.
 *
 * data/catalogue.json is built into the library; the user's own $XDG_CONFIG_HOME/quern/catalogue.json
 * goes before it: an entry there replaces the tags of the same name that it lists. Form:
 *
 *   {"version": 1, "default": "NAME:TAG", "models": [
 *     {"name": "...", "tags": ["8b", "latest"], "source": "hf:..." or ["pypi:...", ...] to be joined,
 *      "size_bytes": N, "sha256": "...", "description": "...", "architecture": "...", "license": "...",
 *      "projector": "hf:..."}]}
 *
 * A name without a tag means the entry with the tag "latest"; the first tag is the one that is shown. */
#ifndef QN_STORE_CATALOGUE_H
#define QN_STORE_CATALOGUE_H

#include "store/source.h"

#include <jansson.h>
#include <stdint.h>

typedef struct qn_catalogue_entry {
    const char *name, *tag;                           /* tag: the first of the tags */
    const char *description, *architecture, *license; /* NULL: not told */
    const char *sha256;                               /* NULL: unknown */
    uint64_t size_bytes;                              /* 0: unknown */
    const json_t *tags;                               /* array of strings */
    qn_source *sources;                               /* [n_sources], joined in order */
    size_t n_sources;
    qn_source projector; /* kind NONE: none */
} qn_catalogue_entry;

typedef struct qn_catalogue {
    json_t *documents[2]; /* the strings above lie here */
    const char *default_name;
    qn_catalogue_entry *entries;
    size_t n_entries, capacity;
} qn_catalogue;

extern const char qn_catalogue_builtin[]; /* data/catalogue.json */
extern const size_t qn_catalogue_builtin_bytes;

/* Adds a document; those added first win. `origin` names it in errors. */
quern_status qn_catalogue_add(qn_catalogue *c, const char *json, size_t n_bytes, const char *origin,
                              quern_error *err);
void qn_catalogue_deinit(qn_catalogue *c);

/* tag "": "latest". NULL: no such entry. */
const qn_catalogue_entry *qn_catalogue_find(const qn_catalogue *c, const char *name, const char *tag);
const qn_catalogue_entry *qn_catalogue_find_source(const qn_catalogue *c, const qn_source *source);

#endif
