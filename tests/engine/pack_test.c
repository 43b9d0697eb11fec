/* pack_test.c: packed weights kept on disk. Whatever stands in the cache's directory, a model answers with
 * the same bits as without one; a pack is used for the very file it was made from and for nothing else. */
#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "base/alloc.h"
#include "engine/model.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N_VOCAB = 320 };

static char directory[] = "/tmp/quern_pack_XXXXXX";
static char model_path[64], packs[64];
static int n_warnings;

static void count_warnings(void *user, quern_log_level level, const char *line)
{
    (void)user, (void)line;
    if (level == QUERN_LOG_WARN) n_warnings++;
}

static void wait_until_written(quern_model *m)
{
    for (int i = 0; i < 3000 && m->packs.working && m->packs.writing && !atomic_load(&m->packs.finished); i++)
        nanosleep(&(struct timespec){0, 20 * 1000000}, NULL);
}

static quern_model_params settings(quern_pack_mode mode)
{
    quern_model_params params = quern_model_params_default();
    params.n_threads = 2;
    params.pack_mode = mode, params.pack_directory = packs, params.pack_min_bytes = 1;
    params.log = count_warnings;
    return params;
}

/* Opens, computes, closes; the state that the pack had. */
static quern_pack_state load(const char *path, const quern_model_params *params, float logits[N_VOCAB])
{
    static const quern_token tokens[] = {1, 70, 71, 300, 5, 72, 90, 12};
    quern_error err = {0};
    quern_model *model;
    quern_context *ctx;
    quern_pack_info info;
    if (quern_model_open(&model, path, params, &err) != QUERN_OK) fail_msg("%s", err.message);
    quern_context_params c = quern_context_params_default();
    c.n_ctx = 64, c.n_threads = 2;
    if (quern_context_create(&ctx, model, &c, &err) != QUERN_OK) fail_msg("%s", err.message);
    const quern_input input = {0, tokens, sizeof tokens / sizeof tokens[0], QUERN_LOGITS_LAST};
    if (quern_decode(ctx, &input, 1, &err) != QUERN_OK) fail_msg("%s", err.message);
    memcpy(logits, quern_logits(ctx, 0), N_VOCAB * sizeof *logits);
    quern_context_destroy(ctx);
    quern_model_get_pack(model, &info);
    wait_until_written(model);
    quern_model_close(model);
    return info.state;
}

static void expect(quern_pack_mode mode, quern_pack_state state, const float reference[N_VOCAB])
{
    float logits[N_VOCAB];
    const quern_model_params params = settings(mode);
    assert_int_equal(load(model_path, &params, logits), state);
    assert_memory_equal(logits, reference, sizeof logits);
}

static void reference_logits(float reference[N_VOCAB])
{
    const quern_model_params params = settings(QUERN_PACK_OFF);
    assert_int_equal(load(model_path, &params, reference), QUERN_PACK_IS_OFF);
}

typedef struct found {
    char path[128], source[128];
    size_t n;
} found;

static bool note(void *user, const quern_pack_entry *e)
{
    found *f = user;
    if (f->n++ == 0) {
        snprintf(f->path, sizeof f->path, "%s", e->path);
        snprintf(f->source, sizeof f->source, "%s", e->source != NULL ? e->source : "");
    }
    return true;
}

static found look(void)
{
    found f = {.n = 0};
    assert_int_equal(quern_packs_list(packs, note, &f, NULL), QUERN_OK);
    return f;
}

static bool part_is_there(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/part", packs);
    return access(path, F_OK) == 0;
}

static void write_model(const char *path, unsigned seed)
{
    assert_true(tiny_model_write(path, &(tiny_model){.type = QN_TYPE_Q4_K, .seed = seed}));
}

static void flip(const char *path, off_t at)
{
    uint8_t byte = 0;
    const int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static int fresh(void **state)
{
    (void)state;
    chmod(packs, 0700);
    quern_packs_remove(packs, NULL, NULL, NULL);
    n_warnings = 0;
    write_model(model_path, 1);
    return 0;
}

static void a_pack_gives_the_same_bits(void **state)
{
    (void)state;
    static const tiny_model kinds[] = {{.type = QN_TYPE_Q4_K, .seed = 1},
                                       {.type = QN_TYPE_Q8_0, .seed = 2, .arch = "gemma3"},
                                       {.type = QN_TYPE_F16, .seed = 3},
                                       {.type = QN_TYPE_Q5_0, .seed = 4, .arch = "qwen3moe", .n_expert = 6},
                                       {.type = QN_TYPE_Q6_K, .seed = 5, .arch = "qwen2"}};
    float reference[N_VOCAB];
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        assert_true(tiny_model_write(model_path, &kinds[i]));
        reference_logits(reference);
        expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, reference);
        expect(QUERN_PACK_AUTO, QUERN_PACK_IS_USED, reference);
        expect(QUERN_PACK_MAPPED, QUERN_PACK_IS_USED, reference);
        expect(QUERN_PACK_COPIED, QUERN_PACK_IS_USED, reference);
        const found f = look();
        assert_int_equal(f.n, 1); /* that of the same path's former contents is gone */
        assert_string_equal(f.source, model_path);
    }
    assert_int_equal(n_warnings, 0);
}

static void a_changed_model_file_is_packed_anew(void **state)
{
    (void)state;
    float before[N_VOCAB], after[N_VOCAB];
    struct stat st;
    reference_logits(before);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, before);
    assert_int_equal(stat(model_path, &st), 0);
    write_model(model_path, 77); /* the same size, and the time set back */
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, model_path, times, 0), 0);
    reference_logits(after);
    assert_memory_not_equal(before, after, sizeof after);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, after);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_USED, after);
    flip(model_path, st.st_size - 3000); /* in place, one bit */
    reference_logits(after);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, after);
    assert_int_equal(look().n, 1);
}

static void a_broken_pack_is_not_used_and_written_again(void **state)
{
    (void)state;
    float reference[N_VOCAB];
    struct stat st;
    reference_logits(reference);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, reference);
    const found f = look();
    assert_int_equal(stat(f.path, &st), 0);
    const off_t lengths[] = {st.st_size - 1, st.st_size + 1, (off_t)2 << 20, 200, 95, 0};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        assert_int_equal(truncate(f.path, lengths[i]), 0);
        expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, reference);
        expect(QUERN_PACK_AUTO, QUERN_PACK_IS_USED, reference);
    }
    for (off_t at = 0; at < 700; at += 37) {
        flip(f.path, at);
        expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, reference);
    }
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_USED, reference);
    assert_int_equal(n_warnings, 0);
}

static void a_pack_that_others_could_write_is_refused(void **state)
{
    (void)state;
    float reference[N_VOCAB];
    reference_logits(reference);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, reference);
    const found f = look();
    struct stat st;
    assert_int_equal(stat(f.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(packs, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);

    assert_int_equal(chmod(f.path, 0620), 0);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, reference);
    assert_int_equal(n_warnings, 1);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_USED, reference); /* its place was taken by a good one */

    char aside[160];
    snprintf(aside, sizeof aside, "%s.aside", f.path);
    assert_int_equal(rename(f.path, aside), 0);
    assert_int_equal(symlink(aside, f.path), 0);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, reference);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_USED, reference);
    assert_int_equal(unlink(aside), 0);

    n_warnings = 0;
    assert_int_equal(chmod(packs, 0777), 0);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, reference);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, reference); /* that is: tried, and refused */
    assert_int_equal(n_warnings, 2);
    assert_int_equal(chmod(packs, 0700), 0);
    if (geteuid() != 0) return; /* others cannot give files away */
    assert_int_equal(chown(f.path, 1, (gid_t)-1), 0);
    n_warnings = 0;
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, reference);
    assert_int_equal(n_warnings, 1);
}

static uint64_t nothing_free(const char *path)
{
    (void)path;
    return 1 << 20;
}

static void a_full_disk_is_no_failure(void **state)
{
    (void)state;
    float reference[N_VOCAB], logits[N_VOCAB];
    reference_logits(reference);
    quern_model_params params = settings(QUERN_PACK_AUTO);
    params.pack_max_bytes = 100000;
    assert_int_equal(load(model_path, &params, logits), QUERN_PACK_IS_WRITTEN); /* tried */
    assert_memory_equal(logits, reference, sizeof logits);
    assert_int_equal(look().n, 0);

    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){(rlim_t)2500 << 10, old.rlim_max}), 0);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, reference);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(look().n, 0);
    assert_false(part_is_there());

    quern_model *m;
    quern_error err = {0};
    params = settings(QUERN_PACK_AUTO);
    assert_int_equal(quern_model_open(&m, model_path, &params, NULL), QUERN_OK);
    wait_until_written(m);
    assert_int_equal(look().n, 1);
    atomic_bool stop = false;
    atomic_size_t done = 0;
    const qn_pack_write w = {&m->weights, &m->gguf, &m->packs.key, model_path, &stop, &done};
    qn_pack_discard(&m->packs.cache, &m->packs.key);
    m->packs.cache.free_bytes = nothing_free;
    m->packs.cache.max_bytes = (uint64_t)1 << 40;
    assert_int_equal(qn_pack_store(&m->packs.cache, &w, &err), QUERN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "are free"));
    quern_model_close(m);
    assert_int_equal(look().n, 0);
}

/* A part as an interrupted load leaves it: room for the data, the key, and checksums of what is done. */
static void write_unfinished(const quern_model *m, uint64_t checksum)
{
    char path[128];
    snprintf(path, sizeof path, "%s/part", packs);
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &m->packs.key, sizeof m->packs.key, 0), sizeof m->packs.key);
    assert_int_equal(pwrite(fd, &checksum, sizeof checksum, sizeof m->packs.key), sizeof checksum);
    close(fd);
}

static void an_interrupted_pack_is_gone_on_with(void **state)
{
    (void)state;
    quern_model *m;
    quern_model_params params = settings(QUERN_PACK_AUTO);
    assert_int_equal(quern_model_open(&m, model_path, &params, NULL), QUERN_OK);
    wait_until_written(m);
    atomic_bool stop = true;
    atomic_size_t done = 0;
    const qn_pack_write w = {&m->weights, &m->gguf, &m->packs.key, model_path, &stop, &done};
    qn_pack_discard(&m->packs.cache, &m->packs.key);
    assert_int_equal(qn_pack_store(&m->packs.cache, &w, NULL), QUERN_ERR_CANCELED);
    assert_true(part_is_there());
    stop = false;
    assert_int_equal(qn_pack_store(&m->packs.cache, &w, NULL), QUERN_OK);
    assert_false(part_is_there());
    assert_int_equal(quern_model_verify_pack(m, NULL, NULL, NULL), QUERN_OK);

    const uint64_t checksum = qn_pack_checksum(m->weights.arena.base, m->weights.arena.used);
    qn_pack_discard(&m->packs.cache, &m->packs.key);
    write_unfinished(m, checksum + 1); /* of other data: written again */
    assert_int_equal(qn_pack_store(&m->packs.cache, &w, NULL), QUERN_OK);
    assert_int_equal(quern_model_verify_pack(m, NULL, NULL, NULL), QUERN_OK);
    qn_pack_discard(&m->packs.cache, &m->packs.key);
    write_unfinished(m, checksum); /* said to be done: left as it is, here zeros, which a check finds */
    assert_int_equal(qn_pack_store(&m->packs.cache, &w, NULL), QUERN_OK);
    assert_int_equal(quern_model_verify_pack(m, NULL, NULL, NULL), QUERN_ERR_CHECKSUM);
    write_unfinished(m, checksum);
    uint64_t freed = 0;
    assert_int_equal(quern_packs_remove(packs, NULL, &freed, NULL), QUERN_OK);
    assert_false(part_is_there());
    quern_model_close(m);
}

static void processes_at_once_agree(void **state)
{
    (void)state;
    float reference[N_VOCAB];
    reference_logits(reference);
    pid_t children[4];
    for (size_t i = 0; i < 4; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] > 0) continue;
        float logits[N_VOCAB];
        const quern_model_params params = settings(QUERN_PACK_AUTO);
        bool same = true;
        for (int k = 0; k < 3; k++) {
            load(model_path, &params, logits);
            same = same && memcmp(logits, reference, sizeof logits) == 0;
        }
        _exit(same ? 0 : 1);
    }
    for (size_t i = 0; i < 4; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(look().n, 1);
    assert_false(part_is_there());
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_USED, reference);
}

static void the_least_recently_used_goes_first(void **state)
{
    (void)state;
    char paths[3][96];
    float logits[N_VOCAB];
    quern_model_params params = settings(QUERN_PACK_AUTO);
    for (int i = 0; i < 3; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/model_%d.gguf", directory, i);
        write_model(paths[i], (unsigned)i + 1);
    }
    assert_int_equal(load(paths[0], &params, logits), QUERN_PACK_IS_WRITTEN);
    struct stat st;
    assert_int_equal(stat(look().path, &st), 0);
    params.pack_max_bytes = (uint64_t)st.st_size * 5 / 2; /* for two */
    nanosleep(&(struct timespec){0, 20 * 1000000}, NULL);
    assert_int_equal(load(paths[1], &params, logits), QUERN_PACK_IS_WRITTEN);
    nanosleep(&(struct timespec){0, 20 * 1000000}, NULL);
    assert_int_equal(load(paths[0], &params, logits), QUERN_PACK_IS_USED);
    assert_string_equal(look().source, paths[0]); /* the last used */
    assert_int_equal(load(paths[2], &params, logits), QUERN_PACK_IS_WRITTEN);
    assert_int_equal(look().n, 2);
    assert_int_equal(load(paths[0], &params, logits), QUERN_PACK_IS_USED);
    assert_int_equal(load(paths[1], &params, logits), QUERN_PACK_IS_WRITTEN);

    assert_int_equal(unlink(paths[1]), 0); /* a pack without its model goes before all others */
    params.pack_max_bytes = (uint64_t)st.st_size * 5 / 2;
    assert_int_equal(load(paths[2], &params, logits), QUERN_PACK_IS_WRITTEN);
    assert_int_equal(load(paths[0], &params, logits), QUERN_PACK_IS_USED);

    uint64_t freed = 0;
    assert_int_equal(quern_packs_remove(packs, paths[0], &freed, NULL), QUERN_OK);
    assert_int_equal(freed, st.st_size);
    assert_int_equal(look().n, 1);
    for (int i = 0; i < 3; i++) unlink(paths[i]);
}

static void it_can_be_switched_off(void **state)
{
    (void)state;
    float logits[N_VOCAB];
    char other[96];
    quern_model_params params = settings(QUERN_PACK_DEFAULT);
    setenv("QUERN_PACK_CACHE", "off", 1);
    assert_int_equal(load(model_path, &params, logits), QUERN_PACK_IS_OFF);
    params.pack_directory = NULL;
    snprintf(other, sizeof other, "%s/other", directory);
    setenv("QUERN_PACK_CACHE", other, 1);
    params.pack_mode = QUERN_PACK_OFF;
    assert_int_equal(load(model_path, &params, logits), QUERN_PACK_IS_OFF);
    assert_int_not_equal(access(other, F_OK), 0);
    params.pack_mode = QUERN_PACK_DEFAULT, params.pack_min_bytes = 0;
    assert_int_equal(load(model_path, &params, logits), QUERN_PACK_IS_SMALL);
    setenv("QUERN_PACK_CACHE_MIN", "1K", 1);
    assert_int_equal(load(model_path, &params, logits), QUERN_PACK_IS_WRITTEN);
    assert_int_equal(load(model_path, &params, logits), QUERN_PACK_IS_USED);
    assert_int_equal(look().n, 0);
    assert_int_equal(quern_packs_remove(other, NULL, NULL, NULL), QUERN_OK);
    setenv("QUERN_PACK_CACHE_MIN", "1 pound", 1);
    n_warnings = 0;
    assert_int_equal(load(model_path, &params, logits), QUERN_PACK_IS_SMALL);
    assert_int_equal(n_warnings, 1);
    unsetenv("QUERN_PACK_CACHE"), unsetenv("QUERN_PACK_CACHE_MIN");
    char lock[128];
    snprintf(lock, sizeof lock, "%s/lock", other);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(rmdir(other), 0);
}

static void damage_in_the_data_is_found_when_asked(void **state)
{
    (void)state;
    float reference[N_VOCAB];
    reference_logits(reference);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, reference);
    quern_model_params params = settings(QUERN_PACK_AUTO);
    params.header_only = true;
    quern_model *m;
    quern_error err;
    quern_pack_info info;
    assert_int_equal(quern_model_open(&m, model_path, &params, NULL), QUERN_OK);
    quern_model_get_pack(m, &info);
    assert_int_equal(info.state, QUERN_PACK_IS_THERE);
    struct stat st;
    assert_int_equal(stat(look().path, &st), 0);
    assert_int_equal(info.size_bytes, st.st_size);
    assert_int_equal(quern_model_verify_pack(m, NULL, NULL, &err), QUERN_OK);
    flip(look().path, st.st_size - 100);
    assert_int_equal(quern_model_verify_pack(m, NULL, NULL, &err), QUERN_ERR_CHECKSUM);
    assert_int_equal(quern_model_verify_pack(m, NULL, NULL, &err), QUERN_ERR_NOT_FOUND);
    quern_model_close(m);
    assert_int_equal(look().n, 0);
}

static void every_failing_allocation_is_survived(void **state)
{
    (void)state;
    float reference[N_VOCAB];
    reference_logits(reference);
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_WRITTEN, reference);
    const quern_model_params params = settings(QUERN_PACK_COPIED);
    const long before = qn_alloc_live();
    for (long k = 0;; k++) {
        quern_model *m;
        qn_alloc_fail_at(k);
        const quern_status s = quern_model_open(&m, model_path, &params, NULL);
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_true(s == QUERN_OK || (s == QUERN_ERR_NOMEM && failed));
        if (s == QUERN_OK) wait_until_written(m);
        quern_model_close(m);
        assert_int_equal(qn_alloc_live(), before);
        if (!failed) break;
    }
    expect(QUERN_PACK_AUTO, QUERN_PACK_IS_USED, reference);
}

static int set_up(void **state)
{
    (void)state;
    unsetenv("QUERN_PACK_CACHE"), unsetenv("QUERN_PACK_CACHE_MAX"), unsetenv("QUERN_PACK_CACHE_MIN");
    if (mkdtemp(directory) == NULL) return 1;
    snprintf(model_path, sizeof model_path, "%s/model.gguf", directory);
    snprintf(packs, sizeof packs, "%s/packs", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char lock[128];
    quern_packs_remove(packs, NULL, NULL, NULL);
    snprintf(lock, sizeof lock, "%s/lock", packs);
    unlink(lock), rmdir(packs), unlink(model_path);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_pack_gives_the_same_bits, fresh),
        cmocka_unit_test_setup(a_changed_model_file_is_packed_anew, fresh),
        cmocka_unit_test_setup(a_broken_pack_is_not_used_and_written_again, fresh),
        cmocka_unit_test_setup(a_pack_that_others_could_write_is_refused, fresh),
        cmocka_unit_test_setup(a_full_disk_is_no_failure, fresh),
        cmocka_unit_test_setup(an_interrupted_pack_is_gone_on_with, fresh),
        cmocka_unit_test_setup(processes_at_once_agree, fresh),
        cmocka_unit_test_setup(the_least_recently_used_goes_first, fresh),
        cmocka_unit_test_setup(it_can_be_switched_off, fresh),
        cmocka_unit_test_setup(damage_in_the_data_is_found_when_asked, fresh),
        cmocka_unit_test_setup(every_failing_allocation_is_survived, fresh),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
