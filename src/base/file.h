/* file.h: whole files, mapped or read. Only regular files: a directory, FIFO or device is refused
 * at once instead of being waited for. */
#ifndef QN_BASE_FILE_H
#define QN_BASE_FILE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct qn_file_map {
    const char *data; /* read-only, shared; NULL for an empty file */
    size_t n_bytes;
    int64_t modified_ns, changed_ns; /* when the contents, and when anything about the file, last changed */
} qn_file_map;

/* Errors: QUERN_ERR_NOT_FOUND, QUERN_ERR_IO; the message begins with the path. A file that another
 * program cuts short while it is mapped raises SIGBUS on access: models must be replaced by rename. */
quern_status qn_file_map_open(qn_file_map *map, const char *path, quern_error *err);
void qn_file_map_close(qn_file_map *map);

/* The pages of [offset, offset + n_bytes) may be dropped from this process: they can be read again. */
void qn_file_map_release(const qn_file_map *map, size_t offset, size_t n_bytes);

/* Opens to read, without waiting for anything; the message begins with the path. *fd is -1 on failure. */
quern_status qn_file_open(int *fd, size_t *n_bytes, const char *path, quern_error *err);
/* All of [offset, offset + n_bytes) of an open file. False: it cannot be read (errno), or is shorter (0). */
bool qn_file_read_at(int fd, void *out, size_t n_bytes, uint64_t offset);
/* All of it. False: errno says why; some of it may be there. */
bool qn_file_write_at(int fd, const void *bytes, size_t n_bytes, uint64_t offset);

/* The whole file as NUL-terminated bytes owned by the caller (qn_free); refuses more than max_bytes. */
quern_status qn_file_read(char **bytes, size_t *n_bytes, const char *path, size_t max_bytes,
                          quern_error *err);

#endif
