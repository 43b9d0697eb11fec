/* memory.c: MemAvailable of /proc/meminfo (Linux 3.14 and later) and the limits of control groups. */
#include "base/memory.h"

#include "base/control_group.h"

#include <stdbool.h>
#include <stdio.h>

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
    const uint64_t machine = of_machine(), group = qn_control_group_memory("");
    return machine < group ? machine : group;
}
