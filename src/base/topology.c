/* topology.c: see topology.h. */
#include "base/topology.h"

#include "base/control_group.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, SHARE_PERCENT = 75, MOST_THREADS = 16 };
enum { INTERLEAVE = 3 }; /* MPOL_INTERLEAVE of linux/mempolicy.h */

static FILE *open_at(const char *root, const char *path)
{
    char full[PATH_BYTES];
    const int n = snprintf(full, sizeof full, "%s%s", root, path);
    return n > 0 && n < PATH_BYTES ? fopen(full, "re") : NULL;
}

/* A list as "0-3,8": true if there is one. */
static bool read_list(const char *root, const char *path, cpu_set_t *set)
{
    FILE *f = open_at(root, path);
    CPU_ZERO(set);
    if (f == NULL) return false;
    int first, last, separator = ',';
    while (separator == ',' && fscanf(f, "%d", &first) == 1) {
        last = first;
        separator = fgetc(f);
        if (separator == '-') {
            if (fscanf(f, "%d", &last) != 1) break;
            separator = fgetc(f);
        }
        for (int i = first < 0 ? 0 : first; i <= last && i < CPU_SETSIZE; i++) CPU_SET((size_t)i, set);
    }
    fclose(f);
    return CPU_COUNT(set) > 0;
}

/* Of processors that share a core the lowest allowed one counts. */
static bool is_first_of_core(const char *root, const cpu_set_t *allowed, size_t cpu)
{
    char path[128];
    cpu_set_t siblings;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%zu/topology/thread_siblings_list", cpu);
    if (!read_list(root, path, &siblings)) return true;
    for (size_t i = 0; i < cpu; i++)
        if (CPU_ISSET(i, &siblings) && CPU_ISSET(i, allowed)) return false;
    return true;
}

static void read_nodes(qn_topology *t, const char *root, const cpu_set_t *allowed, const cpu_set_t *firsts)
{
    cpu_set_t online, of_node, cores;
    if (!read_list(root, "/sys/devices/system/node/online", &online)) return;
    for (size_t number = 0; number < CPU_SETSIZE && t->n_nodes < QN_MAX_NODES; number++) {
        char path[128];
        if (!CPU_ISSET(number, &online)) continue;
        snprintf(path, sizeof path, "/sys/devices/system/node/node%zu/cpulist", number);
        if (!read_list(root, path, &of_node)) continue;
        qn_node *node = &t->nodes[t->n_nodes];
        node->number = (int)number;
        CPU_AND(&node->cpus, &of_node, allowed);
        CPU_AND(&cores, &of_node, firsts);
        node->n_cores = CPU_COUNT(&cores);
        if (CPU_COUNT(&node->cpus) > 0) t->n_nodes++;
    }
}

void qn_topology_read(qn_topology *t, const char *root, const cpu_set_t *allowed)
{
    cpu_set_t cpus, firsts;
    *t = (qn_topology){.n_cpus = 1, .n_cores = 1};
    const uint64_t paid = qn_control_group_processors(root);
    t->n_paid = paid < INT_MAX ? (int)paid : INT_MAX;
    if (allowed != NULL) cpus = *allowed;
    else if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) { /* more than 1024 processors */
        const long n = sysconf(_SC_NPROCESSORS_ONLN);
        if (n > 1) t->n_cpus = t->n_cores = (int)n;
        return;
    }
    CPU_ZERO(&firsts);
    for (size_t i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &cpus) && is_first_of_core(root, &cpus, i)) CPU_SET(i, &firsts);
    if (CPU_COUNT(&cpus) > 0) t->n_cpus = CPU_COUNT(&cpus), t->n_cores = CPU_COUNT(&firsts);
    read_nodes(t, root, &cpus, &firsts);
}

static int less(int a, int b)
{
    return a < b ? a : b;
}

int qn_topology_threads(const qn_topology *t)
{
    const int most = less(t->n_cpus, t->n_paid), wanted = less(most * SHARE_PERCENT / 100, t->n_cores);
    if (most < 2) return 1;
    return wanted < 2 ? 2 : less(wanted, MOST_THREADS);
}

const qn_node *qn_topology_home(const qn_topology *t, int n_threads)
{
    const qn_node *home = NULL;
    for (int i = 0; i < t->n_nodes && t->n_nodes > 1; i++) {
        const qn_node *node = &t->nodes[i];
        if (node->n_cores >= n_threads && (home == NULL || node->n_cores > home->n_cores)) home = node;
    }
    return home;
}

void qn_topology_settle(const qn_topology *t, int n_threads)
{
    enum { BITS = 8 * sizeof(unsigned long) };
    unsigned long nodes[CPU_SETSIZE / BITS] = {0};
    const qn_node *home = qn_topology_home(t, n_threads);
    if (t->n_nodes < 2) return;
    if (home != NULL) {
        sched_setaffinity(0, sizeof home->cpus, &home->cpus);
        return;
    }
    for (int i = 0; i < t->n_nodes; i++) {
        const unsigned number = (unsigned)t->nodes[i].number;
        nodes[number / BITS] |= 1ul << number % BITS;
    }
    syscall(SYS_set_mempolicy, INTERLEAVE, nodes, (unsigned long)CPU_SETSIZE + 1);
}
