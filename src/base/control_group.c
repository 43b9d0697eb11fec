/* control_group.c: see control_group.h. */
#include "base/control_group.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

/* The first n whole numbers of a file: false if it has fewer ("max" is none). */
static bool read_numbers(const char *directory, const char *name, long long numbers[], int n)
{
    char path[2 * PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "re");
    if (f == NULL) return false;
    int found = 0;
    while (found < n && fscanf(f, "%lld", &numbers[found]) == 1) found++;
    fclose(f);
    return found == n;
}

/* Time that may be used in each period, as processors. */
static uint64_t processors_of(long long quota, long long period)
{
    if (quota <= 0 || period <= 0) return UINT64_MAX;
    return ((uint64_t)quota + (uint64_t)period - 1) / (uint64_t)period;
}

static uint64_t left_of(long long limit, long long used)
{
    if (limit < 0 || used < 0) return UINT64_MAX;
    return limit > used ? (uint64_t)(limit - used) : 0;
}

static uint64_t processors_version_2(const char *directory)
{
    long long n[2]; /* quota and period */
    return read_numbers(directory, "cpu.max", n, 2) ? processors_of(n[0], n[1]) : UINT64_MAX;
}

static uint64_t processors_version_1(const char *directory)
{
    long long quota, period;
    if (!read_numbers(directory, "cpu.cfs_quota_us", &quota, 1)) return UINT64_MAX;
    return read_numbers(directory, "cpu.cfs_period_us", &period, 1) ? processors_of(quota, period)
                                                                    : UINT64_MAX;
}

static uint64_t memory_version_2(const char *directory)
{
    long long limit, used;
    if (!read_numbers(directory, "memory.max", &limit, 1)) return UINT64_MAX;
    return read_numbers(directory, "memory.current", &used, 1) ? left_of(limit, used) : UINT64_MAX;
}

static uint64_t memory_version_1(const char *directory)
{
    long long limit, used;
    if (!read_numbers(directory, "memory.limit_in_bytes", &limit, 1)) return UINT64_MAX;
    return read_numbers(directory, "memory.usage_in_bytes", &used, 1) ? left_of(limit, used) : UINT64_MAX;
}

/* Whether a comma separated list has the name; the list of version 2 is empty and so is its name. */
static bool lists(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (;;) {
        const size_t item = strcspn(list, ",");
        if (item == n && memcmp(list, name, n) == 0) return true;
        if (list[item] == '\0') return false;
        list += item + 1;
    }
}

/* Our group under a controller, from a line "number:controllers:path"; empty if there is none. */
static void find_group(const char *root, const char *controller, char group[PATH_BYTES])
{
    char path[PATH_BYTES], line[PATH_BYTES];
    group[0] = '\0';
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    if (f == NULL) return;
    while (fgets(line, sizeof line, f) != NULL) {
        char *controllers = strchr(line, ':');
        char *name = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (name == NULL) continue;
        *name++ = '\0';
        name[strcspn(name, "\n")] = '\0';
        if (lists(controllers + 1, controller)) snprintf(group, PATH_BYTES, "%s", name);
    }
    fclose(f);
}

typedef uint64_t read_limit(const char *directory);

/* The least of a group and of those around it. In a container our group's path may be one of the machine
 * outside, with no directory here; the walk then ends at the container's own, the root. */
static uint64_t least_around(const char *root, const char *controller, read_limit *limit_of)
{
    char group[PATH_BYTES], directory[2 * PATH_BYTES];
    uint64_t least = UINT64_MAX;
    find_group(root, controller, group);
    for (;;) {
        snprintf(directory, sizeof directory, "%s/sys/fs/cgroup%s%s%s", root,
                 controller[0] != '\0' ? "/" : "", controller, group);
        const uint64_t limit = limit_of(directory);
        if (limit < least) least = limit;
        char *slash = strrchr(group, '/');
        if (slash == NULL) return least;
        *slash = '\0';
    }
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t qn_control_group_processors(const char *root)
{
    return lesser(least_around(root, "", processors_version_2),
                  least_around(root, "cpu", processors_version_1));
}

uint64_t qn_control_group_memory(const char *root)
{
    return lesser(least_around(root, "", memory_version_2), least_around(root, "memory", memory_version_1));
}
