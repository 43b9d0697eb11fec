/* part.h: a file on its way into the store.
 *
 * The bytes go to a hidden file in the directory of the final one and through SHA-256 at once. Only when
 * size and hash are right is it synced, renamed to its name, and the directory synced: whoever sees the
 * name sees the whole file, whatever was killed when. What is there of an interrupted pull is hashed
 * again and continued. A file with the wrong hash is set aside under another name, and told. */
#ifndef QN_STORE_PART_H
#define QN_STORE_PART_H

#include "store/progress.h"
#include "store/sha256.h"

typedef struct qn_part {
    int dir_fd; /* borrowed; every name below is one component within it */
    char name[256], part_name[256], bad_name[256];
    const char *dir_path; /* borrowed; for messages and for asking about free space */
    const char *label;    /* borrowed; what people call it */
    int fd;
    uint64_t n_bytes;                 /* written and hashed so far */
    uint64_t size_bytes;              /* what it must be in the end; 0: unknown */
    char expected[QN_SHA256_HEX + 1]; /* "": unknown */
    bool resumed;                     /* some of it comes from an earlier pull */
    bool useless;                     /* a write failed or too much came: close removes it */
    qn_sha256 *hash;
    qn_progress *progress;
    uint64_t (*free_bytes)(const char *dir_path);
} qn_part;

/* The caller has set dir_fd, names, dir_path, label, size_bytes, expected, progress and free_bytes, and
 * holds the lock. Keeps what an earlier pull left if `resume`. */
quern_status qn_part_open(qn_part *p, bool resume, quern_error *err);
/* Closes and forgets; the hidden file stays for the next pull unless `discard`. */
void qn_part_close(qn_part *p, bool discard);

quern_status qn_part_write(qn_part *p, const void *bytes, size_t n_bytes, quern_error *err);
quern_status qn_part_restart(qn_part *p, quern_error *err);
/* QUERN_ERR_LIMIT if `more` bytes (and a little) would not fit on the disk. */
quern_status qn_part_need_space(const qn_part *p, uint64_t more, quern_error *err);

/* Brings the bytes by `bring`, then checks size and hash (hex receives the latter). If they are wrong and
 * some bytes came from an earlier pull, everything is brought once more; else the file is set aside. */
typedef quern_status qn_part_bring_fn(void *user, qn_part *p, quern_error *err);
quern_status qn_part_bring(qn_part *p, qn_part_bring_fn *bring, void *user, char hex[QN_SHA256_HEX + 1],
                           quern_error *err);

/* Compares size and hash with what is expected; hex receives the hash that was found. */
quern_status qn_part_check(qn_part *p, char hex[QN_SHA256_HEX + 1], quern_error *err);
/* After a check that failed: sets the file aside and tells its name in err. */
void qn_part_quarantine(qn_part *p, quern_error *err);
/* After a check that succeeded: the bytes reach the disk; then the file gets its name, for good. A sync
 * that fails is final: what is on the disk is unknown, so the file is removed. */
quern_status qn_part_sync(qn_part *p, quern_error *err);
quern_status qn_part_commit(qn_part *p, quern_error *err);

/* Writes a small file the same way: hidden, synced, renamed. */
quern_status qn_write_small(int dir_fd, const char *name, const char *bytes, size_t n_bytes,
                            quern_error *err);

#endif
