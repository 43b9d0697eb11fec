/* faults.h: what the system may refuse, refused when a test says so: the k-th allocation, read, write or new
 * thread from now on, once. A program that wants this is linked with `fault_link_args` of tests/meson.build,
 * which leads these calls here; the allocations are those of base/alloc.h. */
#ifndef QN_TESTS_FAULTS_H
#define QN_TESTS_FAULTS_H

#include <stdbool.h>

typedef enum fault_kind {
    FAULT_ALLOCATION, /* there is no memory */
    FAULT_READ,       /* pread fails with EIO */
    FAULT_SHORT_READ, /* pread finds the file's end */
    FAULT_WRITE,      /* pwrite fails with ENOSPC */
    FAULT_RENAME,     /* rename, renameat fail with EACCES */
    FAULT_OPEN,       /* openat fails with EMFILE */
    FAULT_THREAD,     /* pthread_create fails with EAGAIN */
    FAULT_KINDS
} fault_kind;

/* k: counted from 0; below 0: none strikes. There is one plan at a time. */
void fault_plan(fault_kind kind, long k);
/* Whether the planned one has struck. */
bool fault_has_struck(void);
const char *fault_name(fault_kind kind);

#endif
