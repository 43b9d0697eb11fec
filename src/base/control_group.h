/* control_group.h: what the control groups that this process is in leave it: processors and memory
 * (kernel documentation: admin-guide/cgroup-v2, admin-guide/cgroup-v1). A group is bound by its own limit and
 * by that of every group around it, so all of them are read. */
#ifndef QN_BASE_CONTROL_GROUP_H
#define QN_BASE_CONTROL_GROUP_H

#include <stdint.h>

/* Both: root is "" or, for tests, a directory that holds a copy of sys and proc. What cannot be read is no
 * limit. */

/* Processors that are paid for, rounded up; UINT64_MAX: no limit. */
uint64_t qn_control_group_processors(const char *root);

/* Bytes that are not yet used of what may be used; UINT64_MAX: no limit. */
uint64_t qn_control_group_memory(const char *root);

#endif
