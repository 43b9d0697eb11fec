/* page_store_test.c: what is read is what was written, to the bit, or it is not there; whatever stands in the
 * directory, whoever else writes there, whatever fails, and whenever the process is killed. */
#include "support/cmocka_all.h"
#include "support/long_run.h"

#include "base/alloc.h"
#include "base/random.h"
#include "cache/page_directory.h"
#include "cache/page_index.h"
#include "cache/page_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- system calls that fail when they are told to ------------------------------------------------------ */

typedef enum fault_call { CALL_NONE, CALL_READ, CALL_WRITE, CALL_OPEN, CALL_RENAME, CALL_REMOVE } fault_call;
static struct {
    fault_call call;
    long at;          /* the how manyth of these calls fails, with `error`; -1: none; ALWAYS: each */
    int error;        /* 0: it does nothing and says 0, as at the end of a file */
    size_t max_bytes; /* of each read and write; 0: as asked for */
    int n_hits;
} fault = {.at = -1};
enum { ALWAYS = -2 };

static bool fails(fault_call call)
{
    if (fault.call != call || fault.at == -1) return false;
    if (fault.at != ALWAYS && fault.at-- != 0) return false;
    fault.n_hits++;
    errno = fault.error;
    return true;
}

static size_t at_most(size_t n)
{
    return fault.max_bytes > 0 && n > fault.max_bytes ? fault.max_bytes : n;
}

/* These take the place of the C library's within this program. */
ssize_t pread(int fd, void *out, size_t n, off_t offset)
{
    if (fails(CALL_READ)) return fault.error != 0 ? -1 : 0;
    return syscall(SYS_pread64, fd, out, at_most(n), offset);
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
    if (fails(CALL_WRITE)) return fault.error != 0 ? -1 : 0;
    return syscall(SYS_pwrite64, fd, bytes, at_most(n), offset);
}
int openat(int fd, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const unsigned mode = (flags & O_CREAT) != 0 ? va_arg(args, unsigned) : 0;
    va_end(args);
    return fails(CALL_OPEN) ? -1 : (int)syscall(SYS_openat, fd, path, flags, mode);
}
int renameat(int old_fd, const char *old_path, int new_fd, const char *new_path)
{
    return fails(CALL_RENAME) ? -1 : (int)syscall(SYS_renameat2, old_fd, old_path, new_fd, new_path, 0);
}
int unlinkat(int fd, const char *path, int flags)
{
    return fails(CALL_REMOVE) ? -1 : (int)syscall(SYS_unlinkat, fd, path, flags);
}

/* ---- a directory, pages ---------------------------------------------------------------------------------
 */

enum { BYTES_0 = 300, BYTES_1 = 100, HEADER = QN_PAGE_FILE_HEADER_BYTES, FULL = HEADER + BYTES_0 + BYTES_1 };
static const char MODEL[] = "model-1";
static char directory[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/quern_page_store_XXXXXX");
    return mkdtemp(directory) == NULL;
}

static int remove_visited(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    memset(&fault, 0, sizeof fault);
    fault.at = -1;
    qn_alloc_fail_at(-1);
    return nftw(directory, remove_visited, 16, FTW_DEPTH | FTW_PHYS);
}

typedef struct test_page {
    qn_prefix_page page;
    quern_token tokens[QN_PAGE_FILE_MAX_TOKENS];
    uint8_t data_0[BYTES_0], data_1[BYTES_1];
} test_page;

/* Page number n; every third is without its window. */
static const qn_prefix_page *make_page(test_page *p, uint64_t n)
{
    qn_random random = {.seed = 7, .stream = n};
    memset(p, 0, sizeof *p);
    p->page.key = (qn_prefix_key){qn_random_u64(&random), qn_random_u64(&random)};
    p->page.parent = (qn_prefix_key){qn_random_u64(&random), qn_random_u64(&random)};
    p->page.n_tokens = 1 + n % QN_PAGE_FILE_MAX_TOKENS;
    p->page.position = 64 * (n % 1000);
    for (size_t i = 0; i < p->page.n_tokens; i++)
        p->tokens[i] = (quern_token)(qn_random_u64(&random) % 50000);
    for (size_t i = 0; i < BYTES_0; i++) p->data_0[i] = (uint8_t)qn_random_u64(&random);
    for (size_t i = 0; i < BYTES_1; i++) p->data_1[i] = (uint8_t)qn_random_u64(&random);
    p->page.tokens = p->tokens;
    p->page.data[0] = p->data_0;
    p->page.data[1] = n % 3 != 0 ? p->data_1 : NULL;
    return &p->page;
}

static qn_page_store *open_as(const char *model_key, uint64_t max_bytes)
{
    qn_page_store *s;
    quern_error err = {0};
    const qn_page_store_params params = {.directory = directory,
                                         .max_bytes = max_bytes,
                                         .model_key = model_key,
                                         .page_bytes = {BYTES_0, BYTES_1}};
    if (qn_page_store_open(&s, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    return s;
}

static qn_page_store *open_store(uint64_t max_bytes)
{
    return open_as(MODEL, max_bytes);
}

static quern_status write_page(qn_page_store *s, uint64_t n)
{
    test_page p;
    return qn_page_store_write(s, make_page(&p, n), NULL);
}

/* QUERN_OK: it is exactly page n. QUERN_ERR_FORMAT: it was given out and is something else. */
static quern_status read_as(qn_page_store *s, const qn_prefix_page *wanted)
{
    uint8_t data_0[BYTES_0], data_1[BYTES_1];
    bool has[QN_CACHE_GROUPS] = {true, true};
    quern_error err = {0};
    const quern_status status = qn_page_store_read(s, wanted, (void *[]){data_0, data_1}, has, &err);
    if (status != QUERN_OK)
        return err.status == status && err.message[0] != '\0' && !has[0] && !has[1] ? status
                                                                                    : QUERN_ERR_FORMAT;
    const bool same = has[0] == (wanted->data[0] != NULL) && has[1] == (wanted->data[1] != NULL) &&
                      (!has[0] || memcmp(data_0, wanted->data[0], BYTES_0) == 0) &&
                      (!has[1] || memcmp(data_1, wanted->data[1], BYTES_1) == 0);
    return same ? QUERN_OK : QUERN_ERR_FORMAT;
}

static quern_status read_page(qn_page_store *s, uint64_t n)
{
    test_page p;
    return read_as(s, make_page(&p, n));
}

static bool has_page(qn_page_store *s, uint64_t n)
{
    test_page p;
    return qn_page_store_has(s, make_page(&p, n)->key);
}

static qn_page_store_stats stats_of(qn_page_store *s)
{
    qn_page_store_stats stats;
    qn_page_store_get_stats(s, &stats);
    return stats;
}

/* ---- files ----------------------------------------------------------------------------------------------
 */

static const char *path_as(const char *model_key, uint64_t n)
{
    static char path[256];
    char name[QN_PAGE_NAME_BYTES];
    test_page p;
    qn_page_name(name, make_page(&p, n)->key);
    snprintf(path, sizeof path, "%s/%s/%.2s/%s", directory, model_key, name, name);
    return path;
}

static const char *path_of(uint64_t n)
{
    return path_as(MODEL, n);
}

static size_t load(const char *path, uint8_t *bytes, size_t max_bytes)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    const size_t n = fread(bytes, 1, max_bytes, f);
    fclose(f);
    return n;
}

static void save(const char *path, const uint8_t *bytes, size_t n_bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n_bytes, f), n_bytes);
    assert_int_equal(fclose(f), 0);
    chmod(path, 0600);
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static int64_t seconds_ago(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (int64_t)time(NULL) - (int64_t)st.st_mtim.tv_sec;
}

static void age(const char *path, int64_t seconds)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - seconds}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

static size_t n_pages_seen, n_parts_seen;
static uint64_t bytes_seen;
static int count_visited(const char *path, const struct stat *st, int type, struct FTW *where)
{
    const size_t n = strlen(path);
    (void)where;
    if (type == FTW_F && strcmp(path + n - 3, ".kv") == 0)
        n_pages_seen++, bytes_seen += (uint64_t)st->st_size;
    n_parts_seen += type == FTW_F && n > 5 && strcmp(path + n - 5, ".part") == 0;
    return 0;
}

static void count_files(void)
{
    n_pages_seen = n_parts_seen = 0, bytes_seen = 0;
    assert_int_equal(nftw(directory, count_visited, 16, FTW_PHYS), 0);
}

/* ---- what it is for -------------------------------------------------------------------------------------
 */

static void what_is_written_is_read_also_after_a_restart(void **state)
{
    (void)state;
    enum { N = 130 };
    const uint64_t whole = 1 << 20;
    qn_page_store *s = open_store(whole);
    assert_int_equal(read_page(s, 1), QUERN_ERR_NOT_FOUND);
    for (uint64_t n = 0; n < N; n++) {
        assert_false(has_page(s, n));
        assert_int_equal(write_page(s, n), QUERN_OK);
        assert_true(has_page(s, n));
    }
    for (uint64_t n = 0; n < N; n++) assert_int_equal(read_page(s, n), QUERN_OK);
    const qn_page_store_stats a = stats_of(s);
    qn_page_store_close(s);
    s = open_store(whole);
    for (uint64_t n = 0; n < N; n++) assert_true(has_page(s, n) && read_page(s, n) == QUERN_OK);
    const qn_page_store_stats b = stats_of(s);
    qn_page_store_close(s);
    count_files();
    assert_int_equal(a.n_files, N);
    assert_int_equal(a.n_found, N);
    assert_int_equal(a.n_missing, 1);
    assert_int_equal(a.n_damaged + a.n_removed + b.n_damaged + b.n_removed, 0);
    assert_int_equal(a.read_bytes, a.file_bytes);
    assert_int_equal(a.written_bytes, a.file_bytes);
    assert_int_equal(b.n_files, N);
    assert_true(b.file_bytes == a.file_bytes && bytes_seen == a.file_bytes && n_pages_seen == N);
}

static void files_are_for_their_user_alone(void **state)
{
    (void)state;
    struct stat st;
    char path[256];
    const mode_t old = umask(0);
    snprintf(path, sizeof path, "%s/below/and/below", directory);
    qn_page_store *s;
    const qn_page_store_params params = {
        .directory = path, .max_bytes = 9999, .model_key = MODEL, .page_bytes = {BYTES_0, BYTES_1}};
    assert_int_equal(qn_page_store_open(&s, &params, NULL), QUERN_OK);
    assert_int_equal(write_page(s, 1), QUERN_OK);
    qn_page_store_close(s);
    umask(old);
    assert_true(stat(path, &st) == 0 && (st.st_mode & 0777) == 0700);
    s = open_store(9999);
    assert_int_equal(write_page(s, 1), QUERN_OK);
    qn_page_store_close(s);
    snprintf(path, sizeof path, "%s", path_of(1));
    assert_true(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    for (int i = 0; i < 2; i++) {
        *strrchr(path, '/') = '\0';
        assert_true(stat(path, &st) == 0 && (st.st_mode & 0777) == 0700);
    }
}

static void a_page_that_is_there_is_left_unless_it_lacks_a_group(void **state)
{
    (void)state;
    test_page p;
    qn_page_store *s = open_store(1 << 20);
    make_page(&p, 1);
    p.page.data[1] = NULL;
    assert_int_equal(qn_page_store_write(s, &p.page, NULL), QUERN_OK);
    assert_int_equal(read_as(s, &p.page), QUERN_OK);
    assert_int_equal(write_page(s, 1), QUERN_OK); /* with both */
    assert_int_equal(read_page(s, 1), QUERN_OK);
    assert_int_equal(stats_of(s).file_bytes, FULL);
    const uint64_t written = stats_of(s).written_bytes;
    assert_int_equal(qn_page_store_write(s, &p.page, NULL), QUERN_OK);
    assert_int_equal(write_page(s, 1), QUERN_OK);
    assert_int_equal(stats_of(s).written_bytes, written);
    assert_int_equal(read_page(s, 1), QUERN_OK);
    qn_page_store *other = open_as("model-2", 1 << 20); /* pages are those of their model */
    assert_int_equal(read_page(other, 1), QUERN_ERR_NOT_FOUND);
    assert_int_equal(stats_of(other).n_files, 0);
    qn_page_store_close(other);
    qn_page_store_close(s);
}

static void params_and_pages_out_of_range_are_refused(void **state)
{
    (void)state;
    test_page p;
    char long_key[QN_PAGE_FILE_MAX_MODEL_KEY + 2];
    memset(long_key, 'a', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = '\0';
    const char *const bad[] = {"", ".", "..", ".hidden", "a/b", "a b", "../up", long_key};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        qn_page_store *s = (void *)&p;
        const qn_page_store_params params = {.directory = directory, .model_key = bad[i]};
        assert_int_equal(qn_page_store_open(&s, &params, NULL), QUERN_ERR_ARGUMENT);
        assert_null(s);
    }
    long_key[sizeof long_key - 2] = '\0';
    qn_page_store *s = open_as(long_key, FULL - 1);
    assert_int_equal(write_page(s, 1), QUERN_ERR_LIMIT); /* one byte too much */
    assert_int_equal(write_page(s, 3), QUERN_OK);        /* has one group */
    assert_int_equal(read_page(s, 3), QUERN_OK);
    make_page(&p, 3);
    p.page.n_tokens = 0;
    assert_int_equal(qn_page_store_write(s, &p.page, NULL), QUERN_ERR_ARGUMENT);
    assert_int_equal(read_as(s, &p.page), QUERN_ERR_ARGUMENT);
    p.page.n_tokens = QN_PAGE_FILE_MAX_TOKENS + 1;
    assert_int_equal(qn_page_store_write(s, &p.page, NULL), QUERN_ERR_ARGUMENT);
    qn_page_store_close(s);
    qn_page_store_params params = {
        .directory = directory, .max_bytes = 9999, .model_key = "one", .page_bytes = {BYTES_0}};
    assert_int_equal(qn_page_store_open(&s, &params, NULL), QUERN_OK);
    assert_int_equal(write_page(s, 1), QUERN_ERR_ARGUMENT); /* a group that the model has not */
    assert_int_equal(write_page(s, 3), QUERN_OK);
    qn_page_store_close(s);
    params.page_bytes[1] = UINT32_MAX;
    assert_int_equal(qn_page_store_open(&s, &params, NULL), QUERN_ERR_ARGUMENT);
}

/* ---- damage ---------------------------------------------------------------------------------------------
 */

static void expect_damaged(qn_page_store *s, const char *path, const uint8_t *bytes, size_t n_bytes)
{
    const uint64_t before = stats_of(s).n_damaged;
    save(path, bytes, n_bytes);
    assert_int_equal(read_page(s, 1), QUERN_ERR_NOT_FOUND);
    assert_int_equal(stats_of(s).n_damaged, before + 1);
    assert_false(exists(path));
    assert_false(has_page(s, 1));
}

static void every_damaged_byte_and_every_cut_is_found_out(void **state)
{
    (void)state;
    uint8_t bytes[FULL + 1] = {0};
    qn_page_store *s = open_store(1 << 20);
    assert_int_equal(write_page(s, 1), QUERN_OK);
    const char *path = path_of(1);
    assert_int_equal(load(path, bytes, sizeof bytes), FULL);
    for (size_t i = 0; i < FULL; i++) {
        for (int bit = 1; bit < 256; bit *= 2) {
            bytes[i] ^= (uint8_t)bit;
            if (bit == 1 || bit == 128 || i < HEADER) expect_damaged(s, path, bytes, FULL);
            bytes[i] ^= (uint8_t)bit;
        }
    }
    for (size_t n = 0; n < FULL; n++) expect_damaged(s, path, bytes, n);
    expect_damaged(s, path, bytes, FULL + 1);
    save(path, bytes, FULL); /* and the right ones are found, though the index has forgotten them */
    assert_int_equal(read_page(s, 1), QUERN_OK);
    assert_true(has_page(s, 1));
    qn_page_store_close(s);
}

static void another_page_is_not_taken_for_the_wanted_one(void **state)
{
    (void)state;
    uint8_t bytes[FULL];
    test_page p;
    qn_page_store *s = open_store(1 << 20);
    assert_int_equal(write_page(s, 1), QUERN_OK);
    const size_t n_bytes = load(path_of(1), bytes, sizeof bytes);
    for (int i = 0; i < 8; i++) {
        save(path_of(1), bytes, n_bytes);
        assert_int_equal(read_page(s, 1), QUERN_OK);
        make_page(&p, 1);
        if (i == 0) p.page.position += 64;
        if (i == 1) p.page.parent.low ^= 1;
        if (i == 2) p.page.parent.high ^= 1;
        if (i == 3) p.tokens[0]++;
        if (i == 4) p.tokens[p.page.n_tokens - 1]++;
        if (i == 5) p.page.n_tokens--;
        if (i == 6) p.page.n_tokens++; /* the next would be 0 */
        if (i == 7) p.page.position += (size_t)1 << 32;
        assert_int_equal(read_as(s, &p.page), QUERN_ERR_NOT_FOUND);
        assert_false(exists(path_of(1)));
    }
    assert_int_equal(write_page(s, 2), QUERN_OK);
    save(path_of(2), bytes, n_bytes); /* under another key */
    assert_int_equal(read_page(s, 2), QUERN_ERR_NOT_FOUND);
    qn_page_store *other = open_as("model-2", 1 << 20);
    assert_int_equal(write_page(other, 1), QUERN_OK);
    save(path_as("model-2", 1), bytes, n_bytes); /* of another model */
    assert_int_equal(read_page(other, 1), QUERN_ERR_NOT_FOUND);
    assert_int_equal(stats_of(s).n_damaged, 9);
    assert_int_equal(stats_of(other).n_damaged, 1);
    qn_page_store_close(other);
    qn_page_store_close(s);
}

static void pages_of_another_size_are_not_read(void **state)
{
    (void)state;
    uint8_t data[BYTES_0 + 1];
    bool has[QN_CACHE_GROUPS];
    test_page p;
    qn_page_store *s = open_store(1 << 20);
    for (size_t i = 0; i < 3; i++) {
        const size_t sizes[3][QN_CACHE_GROUPS] = {
            {BYTES_0 + 1, BYTES_1}, {BYTES_0, 0}, {BYTES_0, BYTES_1 - 1}};
        const qn_page_store_params params = {.directory = directory,
                                             .max_bytes = 1 << 20,
                                             .model_key = MODEL,
                                             .page_bytes = {sizes[i][0], sizes[i][1]}};
        qn_page_store *other;
        assert_int_equal(write_page(s, 1), QUERN_OK);
        assert_int_equal(qn_page_store_open(&other, &params, NULL), QUERN_OK);
        assert_int_equal(qn_page_store_read(other, make_page(&p, 1), (void *[]){data, data}, has, NULL),
                         QUERN_ERR_NOT_FOUND);
        assert_int_equal(stats_of(other).n_damaged, 1);
        qn_page_store_close(other);
        assert_int_equal(read_page(s, 1), QUERN_ERR_NOT_FOUND); /* removed by the other: no error */
    }
    qn_page_store_close(s);
}

/* ---- what else may stand there --------------------------------------------------------------------------
 */

typedef enum thing {
    EMPTY_FILE,
    SHORT_FILE,
    HUGE_FILE,
    LINK,
    DIRECTORY,
    FULL_DIRECTORY,
    FIFO,
    UNREADABLE,
    OTHERS,
    N_THINGS
} thing;

static void put_thing(thing what, const char *path)
{
    char below[300];
    uint8_t zeros[FULL] = {0};
    snprintf(below, sizeof below, "%s/precious", directory);
    save(below, zeros, 3);
    if (what == LINK) {
        assert_int_equal(symlink(below, path), 0);
    } else if (what == DIRECTORY || what == FULL_DIRECTORY) {
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(below, sizeof below, "%s/kept", path);
        if (what == FULL_DIRECTORY) assert_int_equal(mkdir(below, 0700), 0);
    } else if (what == FIFO) {
        assert_int_equal(mkfifo(path, 0600), 0);
    } else {
        save(path, zeros, what == EMPTY_FILE ? 0 : what == SHORT_FILE ? HEADER - 1 : FULL);
        if (what == HUGE_FILE) assert_int_equal(truncate(path, (off_t)1 << 40), 0);
        if (what == UNREADABLE) chmod(path, 0);
        if (what == OTHERS) chmod(path, 0666);
    }
}

/* The directories above a page, which an opened store has removed because they were empty. */
static void make_shard(const char *path)
{
    char above[256];
    snprintf(above, sizeof above, "%s/%s", directory, MODEL);
    mkdir(above, 0700);
    snprintf(above, sizeof above, "%s", path);
    *strrchr(above, '/') = '\0';
    mkdir(above, 0700);
}

static void whatever_has_the_name_of_a_page_does_no_harm(void **state)
{
    (void)state;
    char path[256], precious[300], aside[300];
    snprintf(path, sizeof path, "%s", path_of(1));
    snprintf(aside, sizeof aside, "%s/aside", directory);
    snprintf(precious, sizeof precious, "%s/precious", directory);
    for (thing what = 0; what < N_THINGS; what++) {
        for (int before = 0; before < 3; before++) { /* met when opened, when read, when written */
            qn_page_store *s = open_store(1 << 20);
            assert_int_equal(write_page(s, 1), QUERN_OK);
            if (before == 0) qn_page_store_close(s);
            assert_int_equal(unlink(path), 0);
            put_thing(what, path);
            if (before == 0) s = open_store(1 << 20);
            if (before == 2) { /* by a store that does not know the page, for one that does need not look */
                qn_page_store_close(s);
                assert_int_equal(rename(path, aside), 0);
                s = open_store(1 << 20);
                make_shard(path);
                assert_int_equal(rename(aside, path), 0);
            } else {
                assert_int_equal(read_page(s, 1), QUERN_ERR_NOT_FOUND);
                if (before == 1) assert_int_equal(stats_of(s).n_damaged, 1);
            }
            const quern_status status = write_page(s, 1);
            assert_int_equal(status, what == FULL_DIRECTORY ? QUERN_ERR_IO : QUERN_OK);
            if (status == QUERN_OK && before != 2) assert_int_equal(read_page(s, 1), QUERN_OK);
            qn_page_store_close(s);
            count_files();
            assert_int_equal(n_parts_seen, 0);
            assert_true(exists(precious));
            if (what == FULL_DIRECTORY) {
                char kept[300];
                snprintf(kept, sizeof kept, "%s/kept", path);
                assert_int_equal(rmdir(kept), 0); /* still there */
                assert_int_equal(rmdir(path), 0);
            } else {
                unlink(path);
            }
        }
    }
}

static void links_instead_of_directories_are_not_followed(void **state)
{
    (void)state;
    char elsewhere[100], link[300];
    struct stat st;
    qn_page_store *s = open_store(1 << 20);
    snprintf(elsewhere, sizeof elsewhere, "%s/else.where", directory);
    assert_int_equal(mkdir(elsewhere, 0700), 0);
    snprintf(link, sizeof link, "%s/%s", directory, MODEL);
    assert_int_equal(symlink(elsewhere, link), 0);
    assert_int_equal(write_page(s, 1), QUERN_ERR_IO);
    assert_int_equal(read_page(s, 1), QUERN_ERR_IO);
    qn_page_store_close(s);
    s = open_store(1 << 20);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(write_page(s, 1), QUERN_OK);
    assert_int_equal(unlink(path_of(1)), 0);
    snprintf(link, sizeof link, "%s", path_of(1));
    *strrchr(link, '/') = '\0';
    assert_int_equal(rmdir(link), 0);
    assert_int_equal(symlink(elsewhere, link), 0);
    assert_int_equal(write_page(s, 2), QUERN_OK);
    assert_int_equal(read_page(s, 1), QUERN_ERR_IO);
    qn_page_store_close(s);
    s = open_store(1 << 20);
    assert_int_equal(write_page(s, 1), QUERN_ERR_IO);
    assert_true(stat(elsewhere, &st) == 0 && st.st_nlink == 2);
    assert_int_equal(rmdir(elsewhere), 0); /* nothing was written there */
    qn_page_store_close(s);
}

static void only_files_of_the_store_are_touched(void **state)
{
    (void)state;
    static const char *const names[] = {"notes.txt",
                                        "model-1/notes.txt",
                                        "model-1/00/notes.kv",
                                        "model-1/00/0123456789abcdef0123456789abcdef.kv.bak",
                                        "model-1/00/ffffffffffffffffffffffffffffffff.kv",
                                        "model-1/00/0000000000000000000000000000000A.kv",
                                        "model-1/00/00000000000000000000000000000000.999999999.0.part",
                                        "model-1/00/00000000000000000000000000000000.x.0123456789abcdef.part",
                                        "model-1/0/00000000000000000000000000000000.kv",
                                        "empty.directory"};
    char path[300];
    for (size_t i = 0; i < 3; i++) {
        static const char *const directories[] = {"model-1", "model-1/00", "model-1/0"};
        snprintf(path, sizeof path, "%s/%s", directory, directories[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    const size_t n_names = sizeof names / sizeof names[0];
    for (size_t i = 0; i < n_names; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        if (i + 1 < n_names) save(path, (const uint8_t *)"x", 1);
        else assert_int_equal(mkdir(path, 0700), 0);
    }
    qn_page_store *s = open_store(FULL);
    for (uint64_t n = 0; n < 5; n++) assert_int_equal(write_page(s, n), QUERN_OK);
    qn_page_store_close(s);
    for (size_t i = 0; i < n_names; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        if (!exists(path)) fail_msg("%s was removed", names[i]);
    }
}

static void a_directory_that_others_may_write_is_refused(void **state)
{
    (void)state;
    qn_page_store *s;
    quern_error err = {0};
    char path[100];
    qn_page_store_params params = {
        .directory = directory, .max_bytes = 9999, .model_key = MODEL, .page_bytes = {BYTES_0, BYTES_1}};
    assert_int_equal(chmod(directory, 0770), 0);
    assert_int_equal(qn_page_store_open(&s, &params, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "others may write it"));
    assert_int_equal(chmod(directory, 0700), 0);
    snprintf(path, sizeof path, "%s/file", directory);
    save(path, (const uint8_t *)"", 0);
    params.directory = path;
    assert_int_equal(qn_page_store_open(&s, &params, &err), QUERN_ERR_IO);
    snprintf(path, sizeof path, "%s/file/below", directory);
    assert_int_equal(qn_page_store_open(&s, &params, &err), QUERN_ERR_IO);
    assert_null(s);
}

static void what_dead_writers_left_is_removed(void **state)
{
    (void)state;
    test_page p;
    char path[300], part[QN_PAGE_PART_BYTES];
    const pid_t child = fork();
    if (child == 0) _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    qn_page_store *s = open_store(1 << 20);
    assert_int_equal(write_page(s, 1), QUERN_OK);
    const qn_prefix_key key = make_page(&p, 1)->key;
    for (int i = 0; i < 3; i++) {
        const pid_t writer = i == 0 ? child : getpid();
        qn_page_part_name(part, key, 0x1234u + (unsigned)i);
        snprintf(path, sizeof path, "%s", path_of(1));
        snprintf(strrchr(path, '/'), sizeof part, "/%.32s.%ld.%016x.part", part, (long)writer,
                 0x1234u + (unsigned)i);
        save(path, (const uint8_t *)"half", 4);
        if (i == 1) age(path, 3600);
        qn_page_store *other = open_store(1 << 20);
        qn_page_store_close(other);
        assert_int_equal(exists(path), i == 2); /* that one may still be written */
    }
    assert_int_equal(read_page(s, 1), QUERN_OK);
    qn_page_store_close(s);
}

/* ---- room -----------------------------------------------------------------------------------------------
 */

/* Pages 1, 2, 4, 5, 7, 8, ... have both groups: equal sizes. */
static uint64_t full(uint64_t i)
{
    return i / 2 * 3 + 1 + i % 2;
}

static void those_used_least_recently_make_room(void **state)
{
    (void)state;
    qn_page_store *s = open_store(4 * FULL);
    for (uint64_t i = 0; i < 4; i++) assert_int_equal(write_page(s, full(i)), QUERN_OK);
    assert_int_equal(read_page(s, full(0)), QUERN_OK);  /* used: 1 2 3 0 */
    assert_int_equal(write_page(s, full(1)), QUERN_OK); /* there: 2 3 0 1 */
    const uint64_t order[] = {2, 3, 0, 1, 4, 5, 6, 7};
    for (uint64_t i = 0; i < 8; i++) {
        assert_int_equal(write_page(s, full(4 + i)), QUERN_OK);
        assert_int_equal(stats_of(s).n_removed, i + 1);
        for (uint64_t j = 0; j < 8; j++) {
            assert_int_equal(has_page(s, full(order[j])), j > i && full(order[j]) <= full(4 + i));
            assert_int_equal(exists(path_of(full(order[j]))), has_page(s, full(order[j])));
        }
        count_files();
        assert_true(n_pages_seen == 4 && bytes_seen == 4 * FULL);
    }
    qn_page_store_close(s);
    s = open_store(2 * FULL + 1); /* less is allowed now */
    count_files();
    assert_int_equal(n_pages_seen, 2);
    assert_true(has_page(s, full(11)) && has_page(s, full(10)));
    qn_page_store_close(s);
    s = open_store(0);
    count_files();
    assert_int_equal(n_pages_seen, 0);
    assert_int_equal(write_page(s, 1), QUERN_ERR_LIMIT);
    qn_page_store_close(s);
}

static void pages_of_all_models_share_the_room(void **state)
{
    (void)state;
    qn_page_store *s = open_as("model-2", 4 * FULL);
    assert_int_equal(write_page(s, full(0)), QUERN_OK);
    assert_int_equal(write_page(s, full(1)), QUERN_OK);
    qn_page_store_close(s);
    s = open_store(4 * FULL);
    for (uint64_t i = 2; i < 5; i++) assert_int_equal(write_page(s, full(i)), QUERN_OK);
    assert_false(exists(path_as("model-2", full(0))));
    assert_true(exists(path_as("model-2", full(1))));
    assert_int_equal(stats_of(s).n_files, 3);
    assert_int_equal(write_page(s, full(5)), QUERN_OK);
    assert_false(exists(path_as("model-2", full(1))));
    qn_page_store_close(s);
    s = open_store(4 * FULL); /* directories without pages go as well */
    qn_page_store_close(s);
    char path[100];
    snprintf(path, sizeof path, "%s/model-2", directory);
    assert_false(exists(path));
}

static void the_last_use_outlives_the_process(void **state)
{
    (void)state;
    qn_page_store *s = open_store(4 * FULL);
    for (uint64_t i = 0; i < 4; i++) assert_int_equal(write_page(s, full(i)), QUERN_OK);
    qn_page_store_close(s);
    for (uint64_t i = 0; i < 4; i++) age(path_of(full(i)), 1000 - (int64_t)i);
    s = open_store(4 * FULL);
    assert_int_equal(read_page(s, full(0)), QUERN_OK);
    assert_int_equal(write_page(s, full(1)), QUERN_OK);
    assert_true(seconds_ago(path_of(full(0))) < 100 && seconds_ago(path_of(full(1))) < 100);
    assert_true(seconds_ago(path_of(full(2))) > 900);
    age(path_of(full(0)), 30); /* its time is set once a minute, not at each use */
    assert_int_equal(read_page(s, full(0)), QUERN_OK);
    assert_true(seconds_ago(path_of(full(0))) > 20);
    qn_page_store_close(s);
    s = open_store(4 * FULL);
    assert_int_equal(write_page(s, full(4)), QUERN_OK);
    assert_int_equal(write_page(s, full(5)), QUERN_OK);
    assert_true(!has_page(s, full(2)) && !has_page(s, full(3)));
    assert_true(has_page(s, full(0)) && has_page(s, full(1)));
    qn_page_store_close(s);
}

static void times_from_the_future_keep_nothing_forever(void **state)
{
    (void)state;
    qn_page_store *s = open_store(4 * FULL);
    for (uint64_t i = 0; i < 4; i++) assert_int_equal(write_page(s, full(i)), QUERN_OK);
    qn_page_store_close(s);
    for (uint64_t i = 0; i < 4; i++) age(path_of(full(i)), i % 2 == 0 ? -1000000000 : 4000000000);
    s = open_store(4 * FULL);
    for (uint64_t i = 4; i < 8; i++) assert_int_equal(write_page(s, full(i)), QUERN_OK);
    for (uint64_t i = 0; i < 4; i++) age(path_of(full(4 + i)), -1000000000);
    for (uint64_t i = 8; i < 12; i++) assert_int_equal(write_page(s, full(i)), QUERN_OK);
    assert_int_equal(stats_of(s).n_removed, 8);
    qn_page_store_close(s);
}

/* ---- several at once ------------------------------------------------------------------------------------
 */

static void two_stores_share_a_directory(void **state)
{
    (void)state;
    qn_page_store *a = open_store(1 << 20), *b = open_store(1 << 20);
    assert_int_equal(write_page(a, 1), QUERN_OK);
    assert_false(has_page(b, 1));
    assert_int_equal(read_page(b, 1), QUERN_OK); /* found though not known */
    assert_true(has_page(b, 1));
    assert_int_equal(stats_of(b).file_bytes, FULL);
    assert_int_equal(write_page(a, 2), QUERN_OK);
    assert_int_equal(write_page(b, 2), QUERN_OK); /* there already */
    assert_int_equal(stats_of(b).written_bytes, 0);
    assert_int_equal(unlink(path_of(1)), 0); /* as another process would */
    assert_int_equal(read_page(a, 1), QUERN_ERR_NOT_FOUND);
    assert_false(has_page(a, 1));
    assert_int_equal(stats_of(a).n_damaged, 0);
    assert_int_equal(read_page(b, 1), QUERN_ERR_NOT_FOUND);
    assert_int_equal(write_page(b, 1), QUERN_OK);
    assert_int_equal(read_page(a, 1), QUERN_OK);
    qn_page_store_close(a);
    qn_page_store_close(b);
}

static void two_stores_keep_to_the_room_of_one(void **state)
{
    (void)state;
    enum { MAX = 64 * FULL };
    qn_page_store *a = open_store(MAX), *b = open_as("model-2", MAX);
    for (uint64_t i = 0; i < 250; i++) {
        assert_int_equal(write_page(i % 3 == 0 ? a : b, i), QUERN_OK);
        count_files();
        assert_true(bytes_seen <= MAX + 2 * (MAX / 16) && n_parts_seen == 0);
    }
    assert_true(bytes_seen > MAX - 8 * FULL);
    qn_page_store_close(a);
    qn_page_store_close(b);
}

static void what_another_process_uses_is_spared(void **state)
{
    (void)state;
    qn_page_store *a = open_store(64 * FULL);
    for (uint64_t i = 0; i < 64; i++) assert_int_equal(write_page(a, full(i)), QUERN_OK);
    qn_page_store_close(a);
    for (uint64_t i = 0; i < 64; i++) age(path_of(full(i)), 1000 - (int64_t)i);
    a = open_store(64 * FULL);
    qn_page_store *b = open_store(64 * FULL);
    assert_int_equal(read_page(b, full(0)), QUERN_OK);
    assert_int_equal(write_page(a, full(64)), QUERN_OK); /* before it looks through the directory again */
    assert_true(has_page(a, full(0)) && !has_page(a, full(1)));
    assert_true(exists(path_of(full(0))) && !exists(path_of(full(1))));
    qn_page_store_close(a);
    qn_page_store_close(b);
}

typedef struct worker {
    qn_page_store *store;
    uint64_t seed, n_pages;
    int n_steps, n_wrong, n_found;
} worker;

static void *work(void *user)
{
    worker *w = user;
    qn_random random = {.seed = w->seed};
    for (int i = 0; i < w->n_steps; i++) {
        const uint64_t n = qn_random_u64(&random) % w->n_pages;
        quern_status status;
        if (qn_random_u64(&random) % 2 == 0) {
            status = write_page(w->store, n);
            w->n_wrong += status != QUERN_OK;
        } else {
            status = read_page(w->store, n);
            w->n_wrong += status != QUERN_OK && status != QUERN_ERR_NOT_FOUND;
            w->n_found += status == QUERN_OK;
        }
        if (i % 64 == 0) (void)stats_of(w->store);
    }
    return NULL;
}

static void threads_read_and_write_at_once(void **state)
{
    (void)state;
    enum { N = 4 };
    for (int two = 0; two < 2; two++) { /* one store, and two on one directory */
        pthread_t threads[N];
        worker workers[N];
        qn_page_store *stores[2] = {open_store(48 * FULL), two ? open_store(48 * FULL) : NULL};
        for (int i = 0; i < N; i++) {
            workers[i] = (worker){
                .store = stores[two ? i % 2 : 0], .seed = 3 + (uint64_t)i, .n_pages = 80, .n_steps = 500};
            assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
        }
        for (int i = 0; i < N; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(workers[i].n_wrong, 0);
            assert_true(workers[i].n_found > 0);
        }
        assert_int_equal(stats_of(stores[0]).n_damaged, 0);
        assert_true(stats_of(stores[0]).n_removed > 0);
        /* An entry may be left whose file another thread has removed; it goes when it is met. */
        for (uint64_t n = 0; n < 80; n++) assert_int_not_equal(read_page(stores[0], n), QUERN_ERR_FORMAT);
        count_files();
        assert_int_equal(n_parts_seen, 0);
        assert_int_equal(stats_of(stores[0]).n_files, n_pages_seen);
        assert_true(bytes_seen <= (two ? 54 : 48) * FULL);
        qn_page_store_close(stores[0]);
        qn_page_store_close(stores[1]);
    }
}

/* ---- what fails -----------------------------------------------------------------------------------------
 */

static void each_failing_allocation_is_survived(void **state)
{
    (void)state;
    const long live = qn_alloc_live();
    qn_page_store *s = open_store(1 << 20);
    for (uint64_t n = 0; n < 16; n++) assert_int_equal(write_page(s, n), QUERN_OK);
    qn_page_store_close(s);
    const qn_page_store_params params = {
        .directory = directory, .max_bytes = 1 << 20, .model_key = MODEL, .page_bytes = {BYTES_0, BYTES_1}};
    for (long k = 0, n_failures = 0;; k++) {
        quern_error err = {0};
        qn_alloc_fail_at(k);
        const quern_status opened = qn_page_store_open(&s, &params, &err);
        if (opened != QUERN_OK) {
            assert_int_equal(opened, QUERN_ERR_NOMEM);
            assert_true(s == NULL && err.status == QUERN_ERR_NOMEM && qn_alloc_live() == live);
            n_failures++;
            continue;
        }
        for (uint64_t n = 16; n < 40; n++) { /* the index grows */
            const quern_status written = write_page(s, n);
            if (written != QUERN_OK) {
                assert_int_equal(written, QUERN_ERR_NOMEM);
                n_failures++;
            }
            assert_int_equal(read_page(s, n), written == QUERN_OK ? QUERN_OK : QUERN_ERR_NOT_FOUND);
            assert_int_equal(has_page(s, n), written == QUERN_OK);
        }
        const bool has_failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        count_files();
        assert_true(n_parts_seen == 0 && n_pages_seen == stats_of(s).n_files);
        for (uint64_t n = 16; n < 40; n++) unlink(path_of(n));
        qn_page_store_close(s);
        assert_int_equal(qn_alloc_live(), live);
        if (has_failed) continue;
        assert_true(n_failures > 5);
        break;
    }
}

/* A page that another process wrote is found though the index has no room for it. */
static void a_page_is_read_though_the_index_cannot_grow(void **state)
{
    (void)state;
    qn_page_store *a = open_store(1 << 20), *b = open_store(1 << 20);
    assert_int_equal(write_page(a, 1), QUERN_OK);
    uint64_t n = 2; /* fill the room that b's index has */
    for (qn_alloc_fail_at(0); write_page(b, n) == QUERN_OK; n++) continue;
    qn_alloc_fail_at(0);
    assert_int_equal(read_page(b, 1), QUERN_OK);
    qn_alloc_fail_at(-1);
    assert_false(has_page(b, 1));
    qn_page_store_close(a);
    qn_page_store_close(b);
}

static void set_fault(fault_call call, long at, int error)
{
    fault.call = call, fault.at = at, fault.error = error, fault.n_hits = 0;
}

/* Writes a page, which needs the room of another, and reads it while the k-th call of a kind fails, for every
 * k. */
static void fail_each(fault_call call, int error)
{
    enum { FILES = 64 }; /* so many that the directory is not looked through again meanwhile */
    const uint64_t new = full(FILES);
    int k = 0;
    for (int n_hits = 1; n_hits > 0; k++) {
        quern_error err = {0};
        test_page p;
        qn_page_store *s = open_store(FILES * FULL);
        for (uint64_t i = 0; i < FILES; i++) assert_int_equal(write_page(s, full(i)), QUERN_OK);
        set_fault(call, k, error);
        const quern_status written = qn_page_store_write(s, make_page(&p, new), &err),
                           read = read_page(s, new);
        n_hits = fault.n_hits;
        set_fault(CALL_NONE, -1, 0);
        if (written != QUERN_OK) assert_true(written == QUERN_ERR_IO && err.status == QUERN_ERR_IO);
        if (written != QUERN_OK) assert_ptr_equal(strstr(err.message, "page store: "), err.message);
        if (n_hits == 0) assert_true(written == QUERN_OK && read == QUERN_OK);
        assert_true(read == QUERN_OK || read == QUERN_ERR_NOT_FOUND || read == QUERN_ERR_IO);
        const quern_status later = read_page(s, new); /* exact, or not there */
        assert_true(later == QUERN_OK || later == QUERN_ERR_NOT_FOUND);
        assert_int_equal(write_page(s, new), QUERN_OK); /* and it goes on working */
        assert_int_equal(read_page(s, new), QUERN_OK);
        count_files();
        if (n_parts_seen > 0 || n_pages_seen != stats_of(s).n_files || bytes_seen != stats_of(s).file_bytes ||
            bytes_seen > FILES * FULL)
            fail_msg("call %d, %d: %zu files of %llu bytes, %llu of %llu are known", (int)call, k,
                     n_pages_seen, (unsigned long long)bytes_seen, (unsigned long long)stats_of(s).n_files,
                     (unsigned long long)stats_of(s).file_bytes);
        qn_page_store_close(s);
        assert_int_equal(unlink(path_of(new)), 0);
    }
    assert_true(k > 1);
}

static void a_directory_that_cannot_be_looked_through_is_said(void **state)
{
    (void)state;
    const long live = qn_alloc_live();
    const qn_page_store_params params = {
        .directory = directory, .max_bytes = 1 << 20, .model_key = MODEL, .page_bytes = {BYTES_0, BYTES_1}};
    qn_page_store *s = open_store(1 << 20);
    assert_int_equal(write_page(s, 1), QUERN_OK);
    qn_page_store_close(s);
    for (int k = 0, n_hits = 1; n_hits > 0; k++) {
        quern_error err = {0};
        set_fault(CALL_OPEN, k, EMFILE);
        const quern_status status = qn_page_store_open(&s, &params, &err);
        n_hits = fault.n_hits;
        assert_int_equal(status, n_hits > 0 ? QUERN_ERR_IO : QUERN_OK);
        assert_true(err.status == status && (s != NULL) == (status == QUERN_OK));
        qn_page_store_close(s);
        assert_int_equal(qn_alloc_live(), live);
    }
}

static void each_failing_call_is_survived(void **state)
{
    (void)state;
    fail_each(CALL_READ, EIO);
    fail_each(CALL_READ, 0);
    fail_each(CALL_WRITE, ENOSPC);
    fail_each(CALL_WRITE, 0);
    fail_each(CALL_OPEN, EMFILE);
    fail_each(CALL_RENAME, EIO);
    fail_each(CALL_REMOVE, EROFS);
}

static void short_and_interrupted_calls_go_on(void **state)
{
    (void)state;
    qn_page_store *s = open_store(1 << 20);
    fault.max_bytes = 7;
    assert_int_equal(write_page(s, 1), QUERN_OK);
    assert_int_equal(read_page(s, 1), QUERN_OK);
    for (long k = 0; k < 10; k++) {
        set_fault(CALL_WRITE, k, EINTR);
        assert_int_equal(write_page(s, 10 + (uint64_t)k), QUERN_OK);
        assert_int_equal(fault.n_hits, 1);
        set_fault(CALL_READ, k, EINTR);
        assert_int_equal(read_page(s, 10 + (uint64_t)k), QUERN_OK);
        assert_int_equal(fault.n_hits, 1);
    }
    assert_int_equal(stats_of(s).n_files, 11);
    qn_page_store_close(s);
}

static void files_that_cannot_be_removed_are_said(void **state)
{
    (void)state;
    qn_page_store *s = open_store(4 * FULL);
    quern_error err = {0};
    test_page p;
    for (uint64_t i = 0; i < 4; i++) assert_int_equal(write_page(s, full(i)), QUERN_OK);
    set_fault(CALL_REMOVE, ALWAYS, EROFS);
    assert_int_equal(qn_page_store_write(s, make_page(&p, full(4)), &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "cannot be removed"));
    set_fault(CALL_NONE, -1, 0);
    count_files();
    assert_true(n_pages_seen == 4 && stats_of(s).n_files == 4);
    set_fault(CALL_REMOVE, 0, EROFS); /* one of them: the next goes in its place */
    assert_int_equal(write_page(s, full(4)), QUERN_OK);
    assert_int_equal(fault.n_hits, 1);
    assert_int_equal(stats_of(s).n_files, 4);
    qn_page_store_close(s);
}

/* ---- killed ---------------------------------------------------------------------------------------------
 */

enum { KILL_PAGES = 64 };

static _Noreturn void write_until_killed(uint64_t seed)
{
    qn_random random = {.seed = seed};
    qn_page_store *s = open_store(40 * FULL);
    for (;;) {
        const uint64_t n = qn_random_u64(&random) % KILL_PAGES;
        if (write_page(s, n) != QUERN_OK) _exit(1);
        const quern_status status = read_page(s, n);
        if (status != QUERN_OK) _exit(2);
    }
}

static void whatever_a_killed_process_left_is_whole(void **state)
{
    (void)state;
    qn_random random = {.seed = 11};
    uint64_t n_read = 0, n_missing = 0;
    const size_t n_rounds = long_run("QUERN_TEST_KILLS", 200); /* 1000 for a long run */
    for (size_t round = 0; round < n_rounds; round++) {
        const pid_t child = fork();
        int how = 0;
        if (child == 0) write_until_killed((uint64_t)round);
        assert_true(child > 0);
        nanosleep(&(struct timespec){.tv_nsec = (long)(qn_random_u64(&random) % 12000000)}, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
        qn_page_store *s = open_store(40 * FULL);
        count_files();
        assert_int_equal(n_parts_seen, 0);
        for (uint64_t n = 0; n < KILL_PAGES; n++) {
            const bool known = has_page(s, n);
            assert_int_equal(read_page(s, n), known ? QUERN_OK : QUERN_ERR_NOT_FOUND);
            n_read += known, n_missing += !known;
        }
        assert_int_equal(stats_of(s).n_damaged, 0);
        assert_true(stats_of(s).file_bytes <= 40 * FULL);
        qn_page_store_close(s);
    }
    assert_true(n_read > 0 && n_missing > 0);
}

/* ---- the index against a plain list
 * ------------------------------------------------------------------------ */

static void the_index_is_a_list_that_is_fast(void **state)
{
    (void)state;
    enum { KEYS = 300 };
    static qn_page_entry list[KEYS]; /* n_bytes 0: not there */
    memset(list, 0, sizeof list);
    qn_page_index index = {.seed = 5};
    qn_random random = {.seed = 6};
    for (int step = 0; step < 20000; step++) {
        const size_t k = qn_random_u64(&random) % KEYS;
        const qn_prefix_key key = {.low = k % 100, .high = k % 7};
        const uint32_t model = (uint32_t)(k / 100), generation = (uint32_t)(qn_random_u64(&random) % 100);
        const int64_t ns = (int64_t)(qn_random_u64(&random) % 1000000);
        qn_page_entry *e = qn_page_index_find(&index, model, key);
        assert_int_equal(e != NULL, list[k].n_bytes != 0);
        if (e != NULL) assert_true(e->used_ns == list[k].used_ns && e->n_bytes == list[k].n_bytes);
        switch (qn_random_u64(&random) % 8) {
        case 0:
        case 1:
        case 2:
            list[k] = (qn_page_entry){
                .key = key, .model = model, .n_bytes = 1 + k, .used_ns = ns, .generation = generation};
            assert_true(qn_page_index_put(&index, &list[k]));
            break;
        case 3:
        case 4:
            if (e != NULL) qn_page_index_remove(&index, e), list[k].n_bytes = 0;
            break;
        case 5:
        case 6:
            if (e != NULL) qn_page_index_set_times(&index, e, ns, ns), list[k].used_ns = ns;
            break;
        default:
            if (step % 10 != 0) break;
            qn_page_index_remove_unseen(&index, generation);
            for (size_t i = 0; i < KEYS; i++)
                if (list[i].generation < generation) list[i].n_bytes = 0;
        }
        uint64_t n = 0, n_bytes = 0;
        int64_t first = INT64_MAX;
        for (size_t i = 0; i < KEYS; i++) {
            if (list[i].n_bytes == 0) continue;
            n++, n_bytes += list[i].n_bytes;
            if (list[i].used_ns < first) first = list[i].used_ns;
        }
        const qn_page_entry *oldest = qn_page_index_oldest(&index);
        assert_true(index.n_entries == n && index.n_bytes == n_bytes);
        assert_true(n == 0 ? oldest == NULL : oldest->used_ns == first);
    }
    qn_page_index_deinit(&index);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read_also_after_a_restart),
        TEST(files_are_for_their_user_alone),
        TEST(a_page_that_is_there_is_left_unless_it_lacks_a_group),
        TEST(params_and_pages_out_of_range_are_refused),
        TEST(every_damaged_byte_and_every_cut_is_found_out),
        TEST(another_page_is_not_taken_for_the_wanted_one),
        TEST(pages_of_another_size_are_not_read),
        TEST(whatever_has_the_name_of_a_page_does_no_harm),
        TEST(links_instead_of_directories_are_not_followed),
        TEST(only_files_of_the_store_are_touched),
        TEST(a_directory_that_others_may_write_is_refused),
        TEST(what_dead_writers_left_is_removed),
        TEST(those_used_least_recently_make_room),
        TEST(pages_of_all_models_share_the_room),
        TEST(the_last_use_outlives_the_process),
        TEST(times_from_the_future_keep_nothing_forever),
        TEST(two_stores_share_a_directory),
        TEST(two_stores_keep_to_the_room_of_one),
        TEST(what_another_process_uses_is_spared),
        TEST(threads_read_and_write_at_once),
        TEST(each_failing_allocation_is_survived),
        TEST(a_page_is_read_though_the_index_cannot_grow),
        TEST(each_failing_call_is_survived),
        TEST(a_directory_that_cannot_be_looked_through_is_said),
        TEST(short_and_interrupted_calls_go_on),
        TEST(files_that_cannot_be_removed_are_said),
        TEST(whatever_a_killed_process_left_is_whole),
        cmocka_unit_test(the_index_is_a_list_that_is_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
