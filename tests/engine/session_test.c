/* session_test.c: a sequence that was saved and restored goes on to the same bits; a file that is damaged,
 * cut, forged or of something else is refused, and the sequence stays as it was; whatever fails, and whenever
 * the process is killed, there is the former file or the new one. */
#include "support/cmocka_all.h"
#include "support/long_run.h"
#include "support/tiny_model.h"

#include "base/alloc.h"
#include "base/random.h"
#include "quern.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

enum { N_CTX = 512, N_VOCAB = 320, HEADER = 256, AT_LIST_DIGEST = 168, AT_DIGEST = 240, AT_N_TOKENS = 16 };

static quern_model *plain, *windowed, *mixed, *other;
static char directory[64], path[96], part[104];

/* ---- calls that fail when they are told to ----------------------------------------------------------- */

typedef enum fault_call { CALL_NONE, CALL_READ, CALL_WRITE, CALL_SYNC, CALL_RENAME } fault_call;
static struct {
    fault_call call;
    long at;   /* the how manyth of these calls fails; -1: none */
    int error; /* 0: it does nothing and says 0 */
    bool hit;
} fault = {.at = -1};

static bool fails(fault_call call)
{
    if (fault.call != call || fault.at < 0 || fault.at-- != 0) return false;
    fault.hit = true;
    errno = fault.error;
    return true;
}

/* These take the place of the C library's within this program. */
ssize_t pread(int fd, void *out, size_t n, off_t offset)
{
    if (fails(CALL_READ)) return fault.error != 0 ? -1 : 0;
    return syscall(SYS_pread64, fd, out, n, offset);
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
    if (fails(CALL_WRITE)) return fault.error != 0 ? -1 : 0;
    return syscall(SYS_pwrite64, fd, bytes, n, offset);
}
int fsync(int fd)
{
    return fails(CALL_SYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}
int rename(const char *from, const char *to)
{
    return fails(CALL_RENAME) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* ---- contexts and sequences -------------------------------------------------------------------------- */

typedef struct options {
    uint32_t n_ctx, n_sequences, n_batch;
    int n_threads;
    quern_kv_type type_k, type_v;
} options;

static quern_context *open_context(const quern_model *m, options o)
{
    quern_context_params p = quern_context_params_default();
    p.n_ctx = o.n_ctx > 0 ? o.n_ctx : N_CTX, p.n_sequences = o.n_sequences > 0 ? o.n_sequences : 1;
    p.n_batch = o.n_batch > 0 ? o.n_batch : 64, p.n_threads = o.n_threads > 0 ? o.n_threads : 1;
    p.type_k = o.type_k, p.type_v = o.type_v;
    quern_context *ctx;
    quern_error err;
    if (quern_context_create(&ctx, m, &p, &err) != QUERN_OK) fail_msg("%s", err.message);
    return ctx;
}

/* Appends n tokens of a random text. */
static void feed(quern_context *ctx, uint32_t seq, uint64_t text, size_t n)
{
    quern_token tokens[N_CTX];
    qn_random r = {.seed = text, .stream = quern_sequence_length(ctx, seq)};
    quern_error err;
    for (size_t i = 0; i < n; i++) tokens[i] = (quern_token)(qn_random_u64(&r) % N_VOCAB);
    const quern_input input = {seq, tokens, n, QUERN_LOGITS_LAST};
    if (n > 0 && quern_decode(ctx, &input, 1, &err) != QUERN_OK) fail_msg("%s", err.message);
}

static void save(quern_context *ctx, uint32_t seq)
{
    quern_error err = {0};
    if (quern_sequence_save(ctx, seq, path, &err) != QUERN_OK) fail_msg("%s", err.message);
}

static void restore(quern_context *ctx, uint32_t seq)
{
    quern_error err = {0};
    if (quern_sequence_restore(ctx, seq, path, &err) != QUERN_OK) fail_msg("%s", err.message);
}

static void refuse(quern_context *ctx, uint32_t seq, quern_status status, const char *part_of_message)
{
    quern_error err = {0};
    const quern_status s = quern_sequence_restore(ctx, seq, path, &err);
    if (s != status || err.status != status || strstr(err.message, part_of_message) == NULL)
        fail_msg("status %d, not %d, or '%s' does not say '%s'", (int)s, (int)status, err.message,
                 part_of_message);
}

/* Both hold the same tokens, and go on to the same bits. */
static void expect_same(quern_context *a, uint32_t seq_a, quern_context *b, uint32_t seq_b, size_t n_more)
{
    const uint32_t n = quern_sequence_length(a, seq_a);
    assert_int_equal(quern_sequence_length(b, seq_b), n);
    assert_memory_equal(quern_sequence_tokens(a, seq_a), quern_sequence_tokens(b, seq_b),
                        n * sizeof(quern_token));
    for (size_t i = 0; i < n_more; i++) {
        float logits[N_VOCAB];
        feed(a, seq_a, 77, 1);
        memcpy(logits, quern_logits(a, 0), sizeof logits);
        feed(b, seq_b, 77, 1);
        assert_memory_equal(logits, quern_logits(b, 0), sizeof logits);
    }
}

/* ---- files ------------------------------------------------------------------------------------------- */

static uint8_t *load(size_t *n_bytes)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    uint8_t *bytes = malloc((size_t)st.st_size + 1);
    *n_bytes = fread(bytes, 1, (size_t)st.st_size, f);
    assert_int_equal(*n_bytes, st.st_size);
    fclose(f);
    return bytes;
}

static void store(const uint8_t *bytes, size_t n_bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n_bytes, f), n_bytes);
    assert_int_equal(fclose(f), 0);
}

static bool exists(const char *name)
{
    struct stat st;
    return lstat(name, &st) == 0;
}

static void put_digest(uint8_t *out, const void *bytes, size_t n_bytes)
{
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits(bytes, n_bytes));
    memcpy(out, digest.digest, sizeof digest.digest);
}

/* ---- what it is for ---------------------------------------------------------------------------------- */

static void what_was_saved_goes_on_as_it_would_have(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 63, 64, 65, 200, N_CTX - 4};
    static const quern_kv_type types[][2] = {{QUERN_KV_F16, QUERN_KV_F16}, {QUERN_KV_Q8_0, QUERN_KV_Q4_0}};
    const quern_model *const models[] = {plain, windowed, mixed};
    for (size_t m = 0; m < 3; m++)
        for (size_t k = 0; k < 2; k++) {
            quern_context *a =
                open_context(models[m], (options){.type_k = types[k][0], .type_v = types[k][1]});
            quern_context *b = open_context(models[m], (options){.n_ctx = 2 * N_CTX,
                                                                 .n_sequences = 3,
                                                                 .n_batch = 7,
                                                                 .n_threads = 2,
                                                                 .type_k = types[k][0],
                                                                 .type_v = types[k][1]});
            for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
                quern_sequence_truncate(a, 0, 0);
                feed(a, 0, 5, lengths[i]);
                save(a, 0);
                restore(b, 2);
                assert_null(quern_logits(b, 0));
                expect_same(a, 0, b, 2, 4);
                assert_int_equal(quern_sequence_truncate(a, 0, (uint32_t)lengths[i] / 2),
                                 quern_sequence_truncate(b, 2, (uint32_t)lengths[i] / 2));
                expect_same(a, 0, b, 2, 1);
            }
            assert_int_equal(quern_sequence_length(b, 0), 0);
            quern_context_destroy(a), quern_context_destroy(b);
        }
}

/* Whatever a page held before, the file is the same: so nothing of other texts gets into it. */
static void nothing_of_other_texts_is_saved(void **state)
{
    (void)state;
    static const quern_kv_type types[][2] = {{QUERN_KV_F16, QUERN_KV_F16}, {QUERN_KV_Q8_0, QUERN_KV_Q4_0}};
    const quern_model *const models[] = {plain, windowed, mixed};
    for (size_t m = 0; m < 3; m++)
        for (size_t k = 0; k < 2; k++) {
            const options o = {.type_k = types[k][0], .type_v = types[k][1]};
            quern_context *clean = open_context(models[m], o), *used = open_context(models[m], o);
            for (uint64_t text = 90; text < 93; text++) {
                feed(used, 0, text, N_CTX - 4);
                quern_sequence_truncate(used, 0, 0);
            }
            size_t n_clean, n_used;
            feed(clean, 0, 5, 70);
            save(clean, 0);
            uint8_t *expected = load(&n_clean);
            feed(used, 0, 5, 70);
            save(used, 0);
            uint8_t *bytes = load(&n_used);
            assert_int_equal(n_used, n_clean);
            assert_memory_equal(bytes, expected, n_clean);
            free(expected), free(bytes);
            quern_context_destroy(clean), quern_context_destroy(used);
        }
}

static void what_was_saved_takes_the_place_of_a_full_sequence(void **state)
{
    (void)state;
    const quern_model *const models[] = {plain, windowed, mixed};
    for (size_t m = 0; m < 3; m++) {
        quern_context *a = open_context(models[m], (options){.n_batch = 20}),
                      *b = open_context(models[m], (options){.n_batch = 20});
        for (int full = 0; full < 2; full++) { /* a short one, then a full one, into a full one */
            quern_sequence_truncate(a, 0, 0);
            feed(a, 0, 8, full != 0 ? N_CTX - 2 : 100);
            feed(b, 0, 9, N_CTX - quern_sequence_length(b, 0));
            save(a, 0);
            restore(b, 0);
            expect_same(a, 0, b, 0, 2);
        }
        quern_sequence_truncate(b, 0, 0); /* and no page was lost on the way */
        feed(b, 0, 9, N_CTX);
        quern_context_destroy(a), quern_context_destroy(b);
    }
}

static void a_file_is_of_its_user_and_replaced_at_once(void **state)
{
    (void)state;
    struct stat before, after;
    const mode_t old = umask(0);
    quern_context *a = open_context(plain, (options){0});
    feed(a, 0, 1, 70);
    save(a, 0);
    umask(old);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(before.st_mode & 0777, 0600);
    const int fd = open(path, O_RDONLY);
    feed(a, 0, 1, 70);
    save(a, 0);
    assert_int_equal(stat(path, &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
    assert_int_equal(fstat(fd, &after), 0);
    assert_int_equal(before.st_size, after.st_size); /* who reads the former one goes on reading it */
    assert_false(exists(part));
    close(fd);
    quern_context_destroy(a);
}

/* ---- what is refused --------------------------------------------------------------------------------- */

static void damage_is_found_out_and_changes_nothing(void **state)
{
    (void)state;
    size_t n_bytes;
    quern_context *a = open_context(windowed, (options){0}), *b = open_context(windowed, (options){0}),
                  *c = open_context(windowed, (options){0});
    feed(a, 0, 1, 150);
    feed(b, 0, 2, 90), feed(c, 0, 2, 90);
    save(a, 0);
    uint8_t *bytes = load(&n_bytes);
    const size_t list = HEADER + 150 * 4;
    quern_error err;
    for (size_t i = 0; i < n_bytes; i += i < list + 64 ? 1 : 997) {
        bytes[i] ^= (uint8_t)(1 << i % 8);
        store(bytes, n_bytes);
        assert_int_not_equal(quern_sequence_restore(b, 0, path, &err), QUERN_OK);
        bytes[i] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t n = 0; n < n_bytes; n += n < HEADER ? 1 : 1009) {
        store(bytes, n);
        refuse(b, 0, QUERN_ERR_FORMAT, path);
    }
    bytes[n_bytes] = 0;
    store(bytes, n_bytes + 1);
    refuse(b, 0, QUERN_ERR_FORMAT, "cut or grew");
    bytes[list + 100] ^= 1, store(bytes, n_bytes);
    refuse(b, 0, QUERN_ERR_CHECKSUM, "damaged"), bytes[list + 100] ^= 1;
    bytes[HEADER + 3] ^= 1, store(bytes, n_bytes);
    refuse(b, 0, QUERN_ERR_CHECKSUM, "tokens"), bytes[HEADER + 3] ^= 1;
    expect_same(b, 0, c, 0, 3);
    store(bytes, n_bytes);
    restore(b, 0);
    expect_same(a, 0, b, 0, 3);
    free(bytes);
    quern_context_destroy(a), quern_context_destroy(b), quern_context_destroy(c);
}

/* A file that somebody made up, with right digests. */
static void forged_tokens_and_lengths_are_refused(void **state)
{
    (void)state;
    size_t n_bytes;
    quern_context *a = open_context(plain, (options){0});
    feed(a, 0, 1, 70);
    save(a, 0);
    uint8_t *bytes = load(&n_bytes);
    const size_t list_bytes = 70 * 4 + 2 * 16;
    static const uint32_t tokens[] = {N_VOCAB, UINT32_C(0x7fffffff), UINT32_C(0x80000000), UINT32_MAX};
    for (size_t i = 0; i < 4; i++) {
        memcpy(bytes + HEADER + 4 * 69, &tokens[i], 4);
        put_digest(bytes + AT_LIST_DIGEST, bytes + HEADER, list_bytes);
        put_digest(bytes + AT_DIGEST, bytes, AT_DIGEST);
        store(bytes, n_bytes);
        refuse(a, 0, QUERN_ERR_FORMAT, "vocabulary has 320");
    }
    static const uint64_t lengths[] = {0, 69, 128, 129, N_CTX, N_CTX + 1, UINT64_C(1) << 32, UINT64_MAX};
    for (size_t i = 0; i < 8; i++) {
        memcpy(bytes + AT_N_TOKENS, &lengths[i], 8);
        put_digest(bytes + AT_DIGEST, bytes, AT_DIGEST);
        store(bytes, n_bytes);
        refuse(a, 0, lengths[i] <= N_CTX ? QUERN_ERR_FORMAT : QUERN_ERR_CTX_FULL,
               lengths[i] <= N_CTX ? "by its header" : "-c");
    }
    assert_int_equal(quern_sequence_length(a, 0), 70);
    free(bytes);
    quern_context_destroy(a);
}

static void what_does_not_belong_here_is_refused(void **state)
{
    (void)state;
    quern_error err;
    quern_context *a = open_context(plain, (options){.n_sequences = 2}), *b;
    refuse(a, 0, QUERN_ERR_NOT_FOUND, path);
    feed(a, 0, 1, 130);
    save(a, 0);
    refuse(a, 2, QUERN_ERR_ARGUMENT, "sequence 2");
    assert_int_equal(quern_sequence_save(a, 2, path, &err), QUERN_ERR_ARGUMENT);
    refuse(b = open_context(other, (options){0}), 0, QUERN_ERR_UNSUPPORTED, "another model");
    quern_context_destroy(b);
    refuse(b = open_context(plain, (options){.type_v = QUERN_KV_BF16}), 0, QUERN_ERR_UNSUPPORTED, "types");
    quern_context_destroy(b);
    refuse(b = open_context(windowed, (options){0}), 0, QUERN_ERR_UNSUPPORTED, "another model");
    quern_context_destroy(b);
    refuse(b = open_context(plain, (options){.n_ctx = 129}), 0, QUERN_ERR_CTX_FULL, "130 positions");
    quern_context_destroy(b);
    b = open_context(plain, (options){.n_ctx = 130});
    restore(b, 0);
    quern_context_destroy(b);
    size_t n_bytes;
    uint8_t *bytes = load(&n_bytes);
    bytes[8]++, store(bytes, n_bytes);
    refuse(a, 0, QUERN_ERR_UNSUPPORTED, "version 2");
    memset(bytes, '{', n_bytes), store(bytes, n_bytes);
    refuse(a, 0, QUERN_ERR_FORMAT, "no saved session");
    free(bytes);
    unlink(path), assert_int_equal(mkdir(path, 0700), 0);
    refuse(a, 0, QUERN_ERR_IO, "directory");
    assert_int_equal(quern_sequence_save(a, 0, path, &err), QUERN_ERR_IO);
    assert_false(exists(part));
    char too_long[5000];
    memset(too_long, 'a', sizeof too_long - 1), too_long[sizeof too_long - 1] = '\0';
    assert_int_equal(quern_sequence_save(a, 0, too_long, &err), QUERN_ERR_ARGUMENT);
    assert_int_equal(quern_sequence_save(a, 0, "/nowhere/at/all", &err), QUERN_ERR_IO);
    quern_context_destroy(a);
}

static void whoever_writes_beside_is_left_alone(void **state)
{
    (void)state;
    quern_error err;
    quern_context *a = open_context(plain, (options){0});
    feed(a, 0, 1, 70);
    int fd = open(part, O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(fd, "left behind", 11), 11);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(quern_sequence_save(a, 0, path, &err), QUERN_ERR_BUSY);
    assert_true(exists(part));
    close(fd); /* who died: what was left is taken over */
    save(a, 0);
    restore(a, 0);
    assert_false(exists(part));
    char elsewhere[128];
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", directory);
    fd = open(elsewhere, O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(fd, "mine", 4), 4);
    assert_int_equal(symlink(elsewhere, part), 0);
    assert_int_equal(quern_sequence_save(a, 0, path, &err), QUERN_ERR_IO);
    unlink(part), assert_int_equal(link(elsewhere, part), 0);
    assert_int_equal(quern_sequence_save(a, 0, path, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "in the way"));
    assert_int_equal(lseek(fd, 0, SEEK_END), 4);
    unlink(part), assert_int_equal(mkfifo(part, 0600), 0);
    assert_int_equal(quern_sequence_save(a, 0, path, &err), QUERN_ERR_IO);
    close(fd);
    quern_context_destroy(a);
}

/* ---- what fails -------------------------------------------------------------------------------------- */

static void each_failing_call_leaves_all_as_it_was(void **state)
{
    (void)state;
    static const int errors[] = {EIO, ENOSPC, 0};
    quern_error err;
    quern_context *a = open_context(mixed, (options){0}), *b = open_context(mixed, (options){0});
    feed(a, 0, 1, 200);
    save(a, 0);
    feed(b, 0, 2, 150);
    for (int call = CALL_READ; call <= CALL_RENAME; call++)
        for (size_t e = 0; e < (call <= CALL_WRITE ? 3 : 2); e++)
            for (long at = 0;; at++) {
                const bool reads = call == CALL_READ;
                fault.call = (fault_call)call, fault.at = at, fault.error = errors[e], fault.hit = false;
                const quern_status s =
                    reads ? quern_sequence_restore(b, 0, path, &err) : quern_sequence_save(b, 0, path, &err);
                fault.at = -1;
                if (!fault.hit || (call == CALL_SYNC && at == 1)) { /* the directory's need not work */
                    assert_int_equal(s, QUERN_OK);
                    if (!reads) save(a, 0);
                    else quern_sequence_truncate(b, 0, 0), feed(b, 0, 2, 150);
                    break;
                }
                const bool is_full = !reads && errors[e] != EIO;
                assert_int_equal(s, is_full                   ? QUERN_ERR_LIMIT
                                    : reads && errors[e] == 0 ? QUERN_ERR_FORMAT
                                                              : QUERN_ERR_IO);
                assert_non_null(strstr(err.message, path));
                assert_false(exists(part));
            }
    restore(b, 0);
    expect_same(a, 0, b, 0, 1);
    quern_context_destroy(a), quern_context_destroy(b);
}

static void each_failing_allocation_leaves_all_as_it_was(void **state)
{
    (void)state;
    quern_error err;
    quern_context *a = open_context(mixed, (options){0}), *b = open_context(mixed, (options){0}),
                  *c = open_context(mixed, (options){0});
    feed(a, 0, 1, 300);
    save(a, 0);
    feed(b, 0, 2, N_CTX - 10), feed(c, 0, 2, N_CTX - 10); /* too full to have free pages for all */
    const long live = qn_alloc_live();
    long k = 0;
    for (;; k++) {
        qn_alloc_fail_at(k);
        const quern_status s = quern_sequence_restore(b, 0, path, &err);
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_int_equal(qn_alloc_live(), live);
        assert_int_equal(s, failed ? QUERN_ERR_NOMEM : QUERN_OK);
        if (!failed) break;
        assert_int_equal(quern_sequence_length(b, 0), N_CTX - 10);
        if (k % 4 == 0) {
            expect_same(b, 0, c, 0, 1);
            quern_sequence_truncate(b, 0, 0), quern_sequence_truncate(c, 0, 0);
            feed(b, 0, 2, N_CTX - 10), feed(c, 0, 2, N_CTX - 10);
        }
    }
    assert_true(k > 6);
    expect_same(a, 0, b, 0, 2);
    qn_alloc_fail_at(0);
    assert_int_equal(quern_sequence_save(a, 0, path, &err), QUERN_ERR_NOMEM);
    qn_alloc_fail_at(-1);
    assert_false(exists(part));
    restore(b, 0);
    quern_context_destroy(a), quern_context_destroy(b), quern_context_destroy(c);
}

/* ---- killed ------------------------------------------------------------------------------------------ */

static _Noreturn void save_until_killed(quern_context *ctx, uint32_t seq)
{
    for (;; seq ^= 1)
        if (quern_sequence_save(ctx, seq, path, NULL) != QUERN_OK) _exit(1);
}

static void whatever_a_killed_process_left_is_whole(void **state)
{
    (void)state;
    qn_random random = {.seed = 12};
    quern_context *a = open_context(mixed, (options){.n_sequences = 2}),
                  *b = open_context(mixed, (options){.n_sequences = 2});
    float next[2][N_VOCAB];
    size_t n_seen[2] = {0}, n_parts = 0;
    for (uint32_t seq = 0; seq < 2; seq++) { /* what follows either, to be told apart by */
        feed(a, seq, seq, 70 + 90 * seq);
        feed(b, seq, seq, 70 + 90 * seq);
        feed(b, seq, 77, 1);
        memcpy(next[seq], quern_logits(b, 0), sizeof next[seq]);
    }
    save(a, 0);
    const size_t n_rounds = long_run("QUERN_TEST_KILLS", 200); /* 1000 for a long run */
    uint64_t most_ns = 8000000;                                /* that a process lives */
    for (size_t round = 0; round < n_rounds; round++) {
        int how = 0;
        const bool is_seen = n_seen[0] > 0 && n_seen[1] > 0 && n_parts > 0;
        if (!is_seen && round % 20 == 19 && most_ns < 500000000) most_ns *= 2; /* a busy machine */
        const pid_t child = fork();
        if (child == 0) save_until_killed(a, (uint32_t)round % 2);
        assert_true(child > 0);
        nanosleep(&(struct timespec){.tv_nsec = (long)(qn_random_u64(&random) % most_ns)}, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
        n_parts += exists(part);
        restore(b, 0);
        const uint32_t n = quern_sequence_length(b, 0), which = n == 160;
        assert_true(n == 70 || n == 160);
        assert_memory_equal(quern_sequence_tokens(b, 0), quern_sequence_tokens(a, which),
                            n * sizeof(quern_token));
        feed(b, 0, 77, 1);
        assert_memory_equal(quern_logits(b, 0), next[which], sizeof next[which]);
        n_seen[which]++;
    }
    save(a, 0); /* what was left beside is in nobody's way */
    assert_false(exists(part));
    assert_true(n_seen[0] > 0 && n_seen[1] > 0 && n_parts > 0);
    quern_context_destroy(a), quern_context_destroy(b);
}

/* ---- models, a directory ----------------------------------------------------------------------------- */

static int open_models(void **state)
{
    (void)state;
    const tiny_model kinds[] = {{.seed = 1},
                                {.arch = "gemma3", .seed = 2, .n_layer = 1, .window = 40},
                                {.arch = "gemma2", .seed = 3, .n_layer = 2, .window = 70},
                                {.seed = 4}};
    quern_model **const models[] = {&plain, &windowed, &mixed, &other};
    for (size_t i = 0; i < 4; i++) {
        char name[] = "/tmp/quern_session_model_XXXXXX";
        quern_error err = {0};
        const int fd = mkstemp(name);
        if (fd < 0 || !tiny_model_write(name, &kinds[i])) return -1;
        close(fd);
        const quern_status s = quern_model_open(models[i], name, NULL, &err);
        unlink(name);
        if (s != QUERN_OK) return fprintf(stderr, "%s\n", err.message), -1;
    }
    return 0;
}

static int close_models(void **state)
{
    (void)state;
    quern_model_close(plain), quern_model_close(windowed), quern_model_close(mixed), quern_model_close(other);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/quern_session_XXXXXX");
    if (mkdtemp(directory) == NULL) return -1;
    snprintf(path, sizeof path, "%s/talk.state", directory);
    snprintf(part, sizeof part, "%s.part", path);
    return 0;
}

static int remove_visited(const char *name, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(name);
}

static int tear_down(void **state)
{
    (void)state;
    fault.at = -1;
    qn_alloc_fail_at(-1);
    return nftw(directory, remove_visited, 16, FTW_DEPTH | FTW_PHYS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_saved_goes_on_as_it_would_have),
        TEST(nothing_of_other_texts_is_saved),
        TEST(what_was_saved_takes_the_place_of_a_full_sequence),
        TEST(a_file_is_of_its_user_and_replaced_at_once),
        TEST(damage_is_found_out_and_changes_nothing),
        TEST(forged_tokens_and_lengths_are_refused),
        TEST(what_does_not_belong_here_is_refused),
        TEST(whoever_writes_beside_is_left_alone),
        TEST(each_failing_call_leaves_all_as_it_was),
        TEST(each_failing_allocation_leaves_all_as_it_was),
        TEST(whatever_a_killed_process_left_is_whole),
    };
    return cmocka_run_group_tests(tests, open_models, close_models);
}
