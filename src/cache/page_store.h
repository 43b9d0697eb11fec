/* page_store.h: pages of keys and values in files, for the time after a restart.
 *
 * One file a page, named by its key (prefix_tree.h) in a directory of the model and the layout of its pages.
 * A file is written beside, then renamed; it begins with everything that it depends on and a checksum, and
 * is believed only if all of that is as expected and its tokens are those that are asked for (page_file.h).
 * So whatever a crash leaves behind is found out and removed. The files used least recently make room,
 * whatever model they are of; the last use is the time of the file, so it outlives the process.
 *
 * Several processes may share a directory. Each knows the files that it found there and those that it wrote,
 * and looks again after writing a sixteenth of max_bytes; by so much can each overdraw it.
 *
 * Calls may come from any thread; each is whole. Reading and writing take as long as the disk does: callers
 * have a thread for it. */
#ifndef QN_CACHE_PAGE_STORE_H
#define QN_CACHE_PAGE_STORE_H

#include "cache/prefix_tree.h"

typedef struct qn_page_store qn_page_store;

typedef struct qn_page_store_params {
    const char *directory; /* of all models; made if it is not there */
    uint64_t max_bytes;    /* of all models' files together */
    /* Everything that decides about the bits in a page: the model file's key, cache types, the layout's and
     * the kernels' versions. Pages written under another one are of no use here; they go when they are the
     * ones that were used least recently. */
    const char *model_key;              /* 1 to 128 of A-Z a-z 0-9 . _ -, the first is no dot */
    size_t page_bytes[QN_CACHE_GROUPS]; /* 0: the model has no such group; together below 4 GiB */
} qn_page_store_params;

typedef struct qn_page_store_stats {
    uint64_t n_files, file_bytes; /* of this model, that are known to be there */
    /* Since it was opened: */
    uint64_t read_bytes, written_bytes; /* of whole files, headers included */
    uint64_t n_found, n_missing;        /* of those asked for */
    uint64_t n_damaged;                 /* removed because they were not what they should be */
    uint64_t n_removed;                 /* to make room */
} qn_page_store_stats;

/* Looks through the directory, removes what a crash left there and what is over max_bytes. QUERN_ERR_IO if it
 * cannot be used: it cannot be made or read, or others may write it; _ARGUMENT: params are out of range. */
quern_status qn_page_store_open(qn_page_store **out, const qn_page_store_params *params, quern_error *err);
void qn_page_store_close(qn_page_store *s); /* NULL is fine */

/* Whether a file of that name is there: cheap (no system call), and no promise. Of a file that another
 * process wrote lately it does not know. */
bool qn_page_store_has(qn_page_store *s, qn_prefix_key key);
/* The same of a file with all groups that the page has (data[g] is not NULL). It counts as used then. */
bool qn_page_store_holds(qn_page_store *s, const qn_prefix_page *page);

/* Writes a page (tokens, n_tokens, position, data) under its key. One that is there already with as many
 * bytes is left as it is and counts as used; one with fewer groups is replaced. QUERN_ERR_LIMIT: it has no
 * room within max_bytes; _IO: the disk refuses; _ARGUMENT: no tokens or more than a page has, or data of a
 * group that the model has not. */
quern_status qn_page_store_write(qn_page_store *s, const qn_prefix_page *page, quern_error *err);

/* Reads the page with that key (its data is not looked at) into data[g], [page_bytes[g]] each; has[g] tells
 * which groups it has. The file must be of these tokens, at this position, behind this parent.
 * QUERN_ERR_NOT_FOUND: there is none, or what is there is damaged or another's, and has been removed; _IO:
 * the disk refuses. In any case but success data[g] may hold anything, and has[g] is false. */
quern_status qn_page_store_read(qn_page_store *s, const qn_prefix_page *wanted,
                                void *const data[QN_CACHE_GROUPS], bool has[QN_CACHE_GROUPS],
                                quern_error *err);

void qn_page_store_get_stats(qn_page_store *s, qn_page_store_stats *stats);

#endif
