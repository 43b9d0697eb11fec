/* path.h: paths, the directories that a user has for each purpose, and the room on their disks. */
#ifndef QN_BASE_PATH_H
#define QN_BASE_PATH_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#ifndef PATH_MAX
#define PATH_MAX 4096
#endif

/* The variable's value; NULL if it is not set or empty. */
const char *qn_environment(const char *name);

/* out: PATH_MAX bytes. False: too long. */
__attribute__((format(printf, 2, 3))) bool qn_path_format(char *out, const char *format, ...);

/* `rest` below the base directory that `variable` names (XDG Base Directory Specification 0.8), or else below
 * $HOME/below_home. One that is not absolute is ignored, as the specification demands. out: PATH_MAX bytes.
 * False: there is no such directory, or the path is too long. */
bool qn_path_xdg(char *out, const char *variable, const char *below_home, const char *rest);

/* "~/x" and relative paths as absolute ones, without slashes at the end; owned by the caller (qn_free).
 * NULL: too long, or no memory. */
char *qn_path_absolute(const char *path);

/* Makes the directory and those above it; what cannot be made shows when it is opened. */
void qn_path_make(const char *directory, mode_t mode);

/* What a user may still write to the disk that path is on; UINT64_MAX if it cannot be told. */
uint64_t qn_path_free_bytes(const char *path);

#endif
