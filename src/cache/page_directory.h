/* page_directory.h: where page files lie, and what else may lie there.
 *
 *     DIRECTORY/MODEL_KEY/xx/KEY.kv                    KEY: 32 hexadecimal digits, xx: the first two of them
 *     DIRECTORY/MODEL_KEY/xx/KEY.PID.RANDOM.part       being written by the process PID
 *
 * All of it belongs to this user (0700 and 0600: it holds people's texts); a directory that others may write
 * is refused. Below DIRECTORY no link is followed. Only what has a name as above is ever removed.
 *
 * A process may remove empty directories under the hands of another one, so each step opens them anew. */
#ifndef QN_CACHE_PAGE_DIRECTORY_H
#define QN_CACHE_PAGE_DIRECTORY_H

#include "cache/page_file.h"

#include <sys/stat.h>
#include <time.h>

enum { QN_PAGE_NAME_BYTES = 2 * 16 + sizeof ".kv", QN_PAGE_PART_BYTES = 96 };

void qn_page_name(char out[QN_PAGE_NAME_BYTES], qn_prefix_key key);
void qn_page_part_name(char out[QN_PAGE_PART_BYTES], qn_prefix_key key, uint64_t random);

/* Letters, digits, '.', '_', '-', but no '.' at the begin; 1 to QN_PAGE_FILE_MAX_MODEL_KEY of them. */
bool qn_page_model_key_is_valid(const char *model_key);

/* The directory itself, to see whether it can be used; makes it and those above it. */
quern_status qn_page_directory_make(const char *directory, quern_error *err);
/* The directory that the file of a key lies in. QUERN_ERR_NOT_FOUND: it is not there (and not to be made). */
quern_status qn_page_directory_open(int *fd, const char *directory, const char *model_key, qn_prefix_key key,
                                    bool make, quern_error *err);

/* Opens a page file to read, without waiting for anything. QUERN_ERR_NOT_FOUND: there is none; _FORMAT: what
 * is there cannot be a page and should be removed; _IO: this process cannot open files now. */
quern_status qn_page_file_open(int *fd, struct stat *st, int dir_fd, const char *name, quern_error *err);
/* The same without opening. */
bool qn_page_file_is_possible(const struct stat *st);
/* Whatever has that name, but for a directory with something in it. False: it is still there. */
bool qn_page_file_remove(int dir_fd, const char *name);

/* Nanoseconds since 1970; hostile times become the nearest possible. */
int64_t qn_page_time(struct timespec t);
struct timespec qn_page_timespec(int64_t ns);

typedef struct qn_page_found {
    const char *model_key;
    qn_prefix_key key;
    uint64_t n_bytes;
    int64_t file_ns;
} qn_page_found;
typedef quern_status qn_page_found_fn(void *user, const qn_page_found *found, quern_error *err);

/* Calls fn for the page files of all models, without reading them. On the way it removes what cannot be a
 * page, what writers left behind that are no more, and empty directories. */
quern_status qn_page_directory_scan(const char *directory, qn_page_found_fn *fn, void *user,
                                    uint64_t *n_removed, quern_error *err);

#endif
