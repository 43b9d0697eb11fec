/* faults.c: see faults.h. The linker's --wrap leads calls of `f` to `__wrap_f`, and `__real_f` to the
 * system's or, in builds with sanitizers, to theirs. */
#include "support/faults.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/types.h>

static atomic_int planned_kind;
static atomic_long countdown = -1;
static atomic_bool has_struck;

void fault_plan(fault_kind kind, long k)
{
    qn_alloc_fail_at(kind == FAULT_ALLOCATION ? k : -1);
    atomic_store(&countdown, -1);
    atomic_store(&has_struck, false);
    atomic_store(&planned_kind, (int)kind);
    atomic_store(&countdown, kind == FAULT_ALLOCATION ? -1 : k);
}

bool fault_has_struck(void)
{
    return atomic_load(&planned_kind) == FAULT_ALLOCATION ? qn_alloc_has_failed() : atomic_load(&has_struck);
}

const char *fault_name(fault_kind kind)
{
    static const char *const names[FAULT_KINDS] = {"allocation", "read", "short read", "write",
                                                   "rename",     "open", "thread"};
    return names[kind];
}

static bool strikes(fault_kind kind)
{
    if (atomic_load(&countdown) < 0 || atomic_load(&planned_kind) != (int)kind) return false;
    if (atomic_fetch_sub(&countdown, 1) != 0) return false;
    atomic_store(&has_struck, true);
    return true;
}

/* Large files have functions of their own name in some systems' libraries, and the same in others'. */
#define WRAP(name)                                                                                           \
    ssize_t __real_##name(int fd, void *out, size_t n_bytes, off_t offset);                                  \
    ssize_t __wrap_##name(int fd, void *out, size_t n_bytes, off_t offset);                                  \
    ssize_t __wrap_##name(int fd, void *out, size_t n_bytes, off_t offset)                                   \
    {                                                                                                        \
        if (strikes(FAULT_SHORT_READ)) return 0;                                                             \
        if (strikes(FAULT_READ)) return errno = EIO, -1;                                                     \
        return __real_##name(fd, out, n_bytes, offset);                                                      \
    }
WRAP(pread)
WRAP(pread64)
#undef WRAP

#define WRAP(name)                                                                                           \
    ssize_t __real_##name(int fd, const void *bytes, size_t n_bytes, off_t offset);                          \
    ssize_t __wrap_##name(int fd, const void *bytes, size_t n_bytes, off_t offset);                          \
    ssize_t __wrap_##name(int fd, const void *bytes, size_t n_bytes, off_t offset)                           \
    {                                                                                                        \
        if (strikes(FAULT_WRITE)) return errno = ENOSPC, -1;                                                 \
        return __real_##name(fd, bytes, n_bytes, offset);                                                    \
    }
WRAP(pwrite)
WRAP(pwrite64)
#undef WRAP

#define WRAP(name)                                                                                           \
    int __real_##name(int fd, const char *path, int flags, ...);                                             \
    int __wrap_##name(int fd, const char *path, int flags, ...);                                             \
    int __wrap_##name(int fd, const char *path, int flags, ...)                                              \
    {                                                                                                        \
        va_list more;                                                                                        \
        va_start(more, flags);                                                                               \
        const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;                               \
        va_end(more);                                                                                        \
        if (strikes(FAULT_OPEN)) return errno = EMFILE, -1;                                                  \
        return __real_##name(fd, path, flags, mode);                                                         \
    }
WRAP(openat)
WRAP(openat64)
#undef WRAP

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    if (strikes(FAULT_RENAME)) return errno = EACCES, -1;
    return __real_rename(from, to);
}

int __real_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    if (strikes(FAULT_RENAME)) return errno = EACCES, -1;
    return __real_renameat(from_fd, from, to_fd, to);
}

typedef void *thread_main(void *user);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, thread_main *run, void *user);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, thread_main *run, void *user);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, thread_main *run, void *user)
{
    return strikes(FAULT_THREAD) ? EAGAIN : __real_pthread_create(thread, attributes, run, user);
}
