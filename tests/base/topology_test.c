/* topology_test.c: what is read from /sys and control groups, on copies of trees of machines unlike this one.
 */
#include "base_test.h"

#include "base/control_group.h"
#include "base/topology.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char root[64];

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/quern_topology_XXXXXX");
    return mkdtemp(root) == NULL;
}

static int remove_root(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

/* A file and the directories it lies in. */
static void put(const char *path, const char *text)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = strchr(full + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        assert_true(mkdir(full, 0777) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void put_siblings(int cpu, const char *list)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    put(path, list);
}

static cpu_set_t first_cpus(int n)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < n; i++) CPU_SET((size_t)i, &set);
    return set;
}

static qn_topology read_with(int n_cpus)
{
    const cpu_set_t allowed = first_cpus(n_cpus);
    qn_topology t;
    qn_topology_read(&t, root, &allowed);
    return t;
}

static void an_empty_tree_is_a_simple_machine(void **state)
{
    (void)state;
    static const int wanted[][2] = {{1, 1}, {2, 2}, {3, 2}, {4, 3}, {8, 6}, {20, 15}, {64, 16}, {1024, 16}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        const qn_topology t = read_with(wanted[i][0]);
        assert_int_equal(t.n_cpus, wanted[i][0]);
        assert_int_equal(t.n_cores, wanted[i][0]);
        assert_int_equal(t.n_paid, INT_MAX);
        assert_int_equal(t.n_nodes, 0);
        assert_int_equal(qn_topology_threads(&t), wanted[i][1]);
        assert_null(qn_topology_home(&t, 1));
    }
}

/* Eight processors on four cores: numbered as most machines do it, then side by side. */
static void cores_count_once(void **state)
{
    (void)state;
    static const char *const lists[][4] = {{"0,4\n", "1,5\n", "2,6\n", "3,7\n"},
                                           {"0-1\n", "2-3\n", "4-5\n", "6-7\n"}};
    for (int style = 0; style < 2; style++) {
        for (int cpu = 0; cpu < 8; cpu++) put_siblings(cpu, lists[style][style == 0 ? cpu % 4 : cpu / 2]);
        qn_topology t = read_with(8);
        assert_int_equal(t.n_cpus, 8);
        assert_int_equal(t.n_cores, 4);
        assert_int_equal(qn_topology_threads(&t), 4);
        t = read_with(2); /* both on one core in the second style: still two, as there are two */
        assert_int_equal(t.n_cores, style == 0 ? 2 : 1);
        assert_int_equal(qn_topology_threads(&t), 2);
    }
    cpu_set_t upper; /* the second halves of cores are cores where the first are not ours */
    CPU_ZERO(&upper);
    for (size_t cpu = 1; cpu < 8; cpu += 2) CPU_SET(cpu, &upper);
    qn_topology t;
    qn_topology_read(&t, root, &upper);
    assert_int_equal(t.n_cpus, 4);
    assert_int_equal(t.n_cores, 4);
}

static void what_is_not_paid_for_is_not_used(void **state)
{
    (void)state;
    static const struct {
        const char *group, *own, *above, *old;
        int paid, threads;
    } cases[] = {{"0::/\n", "max 100000\n", NULL, NULL, INT_MAX, 16},
                 {"0::/\n", "400000 100000\n", NULL, NULL, 4, 3},
                 {"0::/\n", "150000 100000\n", NULL, NULL, 2, 2},
                 {"0::/\n", "50000 100000\n", NULL, NULL, 1, 1},
                 {"12:cpu:/x\n0::/a/b\n", "max 100000\n", "800000 100000\n", NULL, 8, 6},
                 {"0::/a/b\n", "200000 100000\n", "800000 100000\n", NULL, 2, 2},
                 {"0::/\n", "max 100000\n", NULL, "600000\n", 6, 4},
                 {"0::/\n", "max 100000\n", NULL, "-1\n", INT_MAX, 16},
                 {"nonsense\n", "9999999999999999999999 x\n", NULL, "", INT_MAX, 16}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put("/proc/self/cgroup", cases[i].group);
        put("/sys/fs/cgroup/cpu.max", "max 100000\n");
        put(strstr(cases[i].group, "/a/b") != NULL ? "/sys/fs/cgroup/a/b/cpu.max" : "/sys/fs/cgroup/cpu.max",
            cases[i].own);
        put("/sys/fs/cgroup/a/cpu.max", cases[i].above != NULL ? cases[i].above : "max 100000\n");
        put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", cases[i].old != NULL ? cases[i].old : "-1\n");
        put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
        const qn_topology t = read_with(32);
        assert_int_equal(t.n_paid, cases[i].paid);
        assert_int_equal(qn_topology_threads(&t), cases[i].threads);
    }
}

/* Version 1 has a tree for each controller, and its own path in it. */
static void every_group_around_ours_binds_us(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "7:cpuacct,cpu:/outer/inner\n5:memory:/box\n4:memoryless:/x\n0::/a/b\n");
    put("/sys/fs/cgroup/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/cpu.max", "900000 100000\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    assert_int_equal(qn_control_group_processors(root), 9);
    put("/sys/fs/cgroup/cpu/outer/cpu.cfs_quota_us", "300000\n");
    put("/sys/fs/cgroup/cpu/outer/cpu.cfs_period_us", "100000\n");
    assert_int_equal(qn_control_group_processors(root), 3);

    assert_true(qn_control_group_memory(root) == UINT64_MAX);
    put("/sys/fs/cgroup/a/memory.max", "5000\n");
    put("/sys/fs/cgroup/a/memory.current", "1000\n");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    put("/sys/fs/cgroup/a/b/memory.current", "700\n");
    assert_int_equal(qn_control_group_memory(root), 4000);
    put("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "2000\n");
    put("/sys/fs/cgroup/memory/box/memory.usage_in_bytes", "1500\n");
    assert_int_equal(qn_control_group_memory(root), 500);
    put("/sys/fs/cgroup/a/memory.current", "9000\n");
    assert_int_equal(qn_control_group_memory(root), 0);
}

/* Two sockets of 8 cores with 2 threads each; a third node has memory alone. */
static void put_two_sockets(void)
{
    for (int cpu = 0; cpu < 32; cpu++) {
        char list[16];
        snprintf(list, sizeof list, "%d,%d\n", cpu % 16, cpu % 16 + 16);
        put_siblings(cpu, list);
    }
    put("/sys/devices/system/node/online", "0-2\n");
    put("/sys/devices/system/node/node0/cpulist", "0-7,16-23\n");
    put("/sys/devices/system/node/node1/cpulist", "8-15,24-31\n");
    put("/sys/devices/system/node/node2/cpulist", "\n");
}

static void nodes_are_homes_while_they_have_cores(void **state)
{
    (void)state;
    put_two_sockets();
    qn_topology t = read_with(32);
    assert_int_equal(t.n_cores, 16);
    assert_int_equal(t.n_nodes, 2);
    assert_int_equal(t.nodes[1].number, 1);
    assert_int_equal(t.nodes[1].n_cores, 8);
    assert_int_equal(CPU_COUNT(&t.nodes[1].cpus), 16);
    assert_ptr_equal(qn_topology_home(&t, 8), &t.nodes[0]);
    assert_null(qn_topology_home(&t, 9));
    cpu_set_t allowed = first_cpus(16); /* less of the first than of the second */
    for (size_t cpu = 0; cpu < 6; cpu++) CPU_CLR(cpu, &allowed);
    qn_topology_read(&t, root, &allowed);
    assert_ptr_equal(qn_topology_home(&t, 4), &t.nodes[1]);
    assert_int_equal(t.nodes[0].n_cores, 2);
    t = read_with(8); /* only one is ours: nothing to choose */
    assert_int_equal(t.n_nodes, 1);
    assert_null(qn_topology_home(&t, 4));
}

static void nonsense_is_survived(void **state)
{
    (void)state;
    static const char *const lists[] = {"",  "-",     "5-",   "-5", "3-1", "0-99999999",
                                        "a", "0-1-2", "1,,2", ",",  "9999"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (int cpu = 0; cpu < 4; cpu++) put_siblings(cpu, lists[i]);
        put("/sys/devices/system/node/online", lists[i]);
        put("/sys/devices/system/node/node0/cpulist", lists[i]);
        const qn_topology t = read_with(4);
        assert_int_equal(t.n_cpus, 4);
        assert_in_range(t.n_cores, 1, 4);
        assert_in_range(qn_topology_threads(&t), 2, 3);
    }
}

typedef struct settled {
    const qn_topology *t;
    int n_threads;
    cpu_set_t cpus;
    int policy;
    bool policy_known;
} settled;

static void *settle(void *user)
{
    settled *s = user;
    s->policy = -1;
    qn_topology_settle(s->t, s->n_threads);
    sched_getaffinity(0, sizeof s->cpus, &s->cpus);
    s->policy_known = syscall(SYS_get_mempolicy, &s->policy, NULL, 0ul, NULL, 0ul) == 0;
    return NULL;
}

static settled settle_in_a_thread(const qn_topology *t, int n_threads)
{
    settled s = {.t = t, .n_threads = n_threads};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, settle, &s), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return s;
}

/* The first processor of this thread is a node of its own, all others are another. */
static void threads_settle_at_home_or_spread_their_memory(void **state)
{
    (void)state;
    cpu_set_t before;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    size_t first = 0;
    while (!CPU_ISSET(first, &before)) first++;
    qn_topology t = {.n_cpus = 2, .n_cores = 2, .n_nodes = 2};
    CPU_SET(first, &t.nodes[0].cpus);
    t.nodes[0].n_cores = 1;
    t.nodes[1] = (qn_node){.number = 1, .n_cores = 1, .cpus = before};
    settled s = settle_in_a_thread(&t, 1);
    assert_true(CPU_EQUAL(&s.cpus, &t.nodes[0].cpus));
    assert_true(!s.policy_known || s.policy == 0);
    s = settle_in_a_thread(&t, 2);
    assert_true(CPU_EQUAL(&s.cpus, &before));
    assert_true(!s.policy_known || s.policy == 3 || s.policy == 0); /* 0: the system did not allow it */
    t.n_nodes = 1;
    s = settle_in_a_thread(&t, 1);
    assert_true(CPU_EQUAL(&s.cpus, &before));
    cpu_set_t after;
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_tree_is_a_simple_machine, make_root, remove_root),
        cmocka_unit_test_setup_teardown(cores_count_once, make_root, remove_root),
        cmocka_unit_test_setup_teardown(what_is_not_paid_for_is_not_used, make_root, remove_root),
        cmocka_unit_test_setup_teardown(every_group_around_ours_binds_us, make_root, remove_root),
        cmocka_unit_test_setup_teardown(nodes_are_homes_while_they_have_cores, make_root, remove_root),
        cmocka_unit_test_setup_teardown(nonsense_is_survived, make_root, remove_root),
        cmocka_unit_test(threads_settle_at_home_or_spread_their_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
