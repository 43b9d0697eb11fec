/* topology.h: the processors, cores and memory nodes that this process may use, as Linux tells in /sys and
 * in its control groups (kernel documentation: admin-guide/cputopology, admin-guide/mm/numaperf,
 * admin-guide/cgroup-v2). */
#ifndef QN_BASE_TOPOLOGY_H
#define QN_BASE_TOPOLOGY_H

#include <sched.h>
#include <stddef.h>

enum { QN_MAX_NODES = 64 };

typedef struct qn_node { /* processors that reach the same memory fastest */
    int number;
    int n_cores;
    cpu_set_t cpus;
} qn_node;

typedef struct qn_topology {
    int n_cpus;  /* logical processors, at least 1 */
    int n_cores; /* physical ones: those that share a core count once */
    int n_paid;  /* processors that the control group pays for, rounded up; INT_MAX: no limit */
    int n_nodes; /* with processors of ours; 0: not known */
    qn_node nodes[QN_MAX_NODES];
} qn_topology;

/* What is not known is taken as simple: a core for each processor, no nodes, no limit.
 * root: "" or, for tests, a directory that holds a copy of sys and proc; allowed: NULL, or instead of the
 * processors of this thread. */
void qn_topology_read(qn_topology *t, const char *root, const cpu_set_t *allowed);

/* Threads for work that fills a core: 75 % of the processors, but not two on a core nor more than are paid
 * for, at most 16; and 2 wherever there are 2. */
int qn_topology_threads(const qn_topology *t);

/* The node that has a core for each of so many threads: that with the most cores, the first of equals. NULL:
 * none has, or there is only one. */
const qn_node *qn_topology_home(const qn_topology *t, int n_threads);

/* For the calling thread, one of n_threads that share work and memory, where there are several nodes. If one
 * of them is home to all, it stays on the processors there, all of them, and memory goes where it is touched
 * first. Otherwise the pages that it is the first to touch are dealt out to all nodes in turns, as work is
 * dealt out to all threads. What the system refuses is left as it is: slower, not wrong. */
void qn_topology_settle(const qn_topology *t, int n_threads);

#endif
