/* path.c: see path.h. */
#include "base/path.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

const char *qn_environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

bool qn_path_format(char *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(out, PATH_MAX, format, args);
    va_end(args);
    return n >= 0 && n < PATH_MAX;
}

bool qn_path_xdg(char *out, const char *variable, const char *below_home, const char *rest)
{
    const char *base = qn_environment(variable), *home = qn_environment("HOME");
    if (base != NULL && base[0] == '/') return qn_path_format(out, "%s/%s", base, rest);
    return home != NULL && qn_path_format(out, "%s/%s/%s", home, below_home, rest);
}

char *qn_path_absolute(const char *path)
{
    char out[PATH_MAX], here[PATH_MAX];
    const char *home = qn_environment("HOME");
    bool ok = true;
    if (path[0] == '/') ok = qn_path_format(out, "%s", path);
    else if (path[0] == '~' && path[1] == '/' && home != NULL)
        ok = qn_path_format(out, "%s%s", home, path + 1);
    else ok = getcwd(here, sizeof here) != NULL && qn_path_format(out, "%s/%s", here, path);
    for (size_t n = ok ? strlen(out) : 0; n > 1 && out[n - 1] == '/'; n--) out[n - 1] = '\0';
    return ok ? qn_strdup(out) : NULL;
}

void qn_path_make(const char *directory, mode_t mode)
{
    char copy[PATH_MAX];
    if (directory[0] == '\0' || !qn_path_format(copy, "%s", directory)) return;
    for (char *c = copy + 1; *c != '\0'; c++) {
        if (*c != '/') continue;
        *c = '\0';
        mkdir(copy, mode);
        *c = '/';
    }
    mkdir(copy, mode);
}

uint64_t qn_path_free_bytes(const char *path)
{
    struct statvfs v;
    uint64_t n;
    return statvfs(path, &v) == 0 && qn_mul_u64(v.f_bavail, v.f_frsize, &n) ? n : UINT64_MAX;
}
