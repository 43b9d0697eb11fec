/* memory.c: MemAvailable of /proc/meminfo (Linux 3.14 and later) and the limits of control groups,
 * version 2 and 1. */
#include "base/memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static uint64_t number_in(const char *path)
{
    FILE *f = fopen(path, "re");
    unsigned long long value;
    if (f == NULL) return UINT64_MAX;
    const int n = fscanf(f, "%llu", &value); /* "max" is no number */
    fclose(f);
    return n == 1 ? (uint64_t)value : UINT64_MAX;
}

static uint64_t left_of(const char *limit_path, const char *used_path)
{
    const uint64_t limit = number_in(limit_path), used = number_in(used_path);
    if (limit == UINT64_MAX || used == UINT64_MAX) return UINT64_MAX;
    return limit > used ? limit - used : 0;
}

static uint64_t of_machine(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    if (f == NULL) return UINT64_MAX;
    char line[128];
    unsigned long long kilobytes = 0;
    bool found = false;
    while (!found && fgets(line, sizeof line, f) != NULL)
        found = sscanf(line, "MemAvailable: %llu kB", &kilobytes) == 1;
    fclose(f);
    return found ? (uint64_t)kilobytes * 1024 : UINT64_MAX;
}

uint64_t qn_memory_available(void)
{
    const uint64_t limits[] = {of_machine(),
                               left_of("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
                               left_of("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                                       "/sys/fs/cgroup/memory/memory.usage_in_bytes")};
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (limits[i] < least) least = limits[i];
    return least;
}
