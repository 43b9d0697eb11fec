/* store_fixture.h: what the tests of the store share: a temporary directory, an environment without the
 * user's settings, a store that retries quickly, and made-up model files. */
#ifndef QN_TESTS_STORE_FIXTURE_H
#define QN_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/file.h"
#include "store/store.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct fixture {
    char dir[256]; /* everything is below it */
    char root[300], hub[300];
    quern_store *store;
    quern_error err;
} fixture;

static inline int fixture_unlink(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static inline void fixture_reopen(fixture *f)
{
    quern_store_close(f->store);
    const quern_status s = quern_store_open(&f->store, NULL, &f->err);
    if (s != QUERN_OK) print_error("%s\n", f->err.message);
    assert_int_equal(s, QUERN_OK);
    f->store->network.first_delay_ms = 1;
    f->store->network.max_attempts = 4;
    f->store->network.max_wait_s = 2;
}

static inline int fixture_setup(void **state)
{
    static const char *const unset[] = {"QUERN_OFFLINE",  "HF_HUB_OFFLINE", "HUGGINGFACE_HUB_CACHE",
                                        "HF_HOME",        "HF_TOKEN",       "HF_ENDPOINT",
                                        "XDG_CACHE_HOME", "XDG_DATA_HOME",  "http_proxy",
                                        "https_proxy",    "all_proxy",      "HTTPS_PROXY",
                                        "ALL_PROXY"};
    fixture *f = calloc(1, sizeof *f);
    const char *temp = getenv("TMPDIR");
    snprintf(f->dir, sizeof f->dir, "%s/quern-store-XXXXXX", temp != NULL ? temp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->root, sizeof f->root, "%s/models", f->dir);
    snprintf(f->hub, sizeof f->hub, "%s/hub", f->dir);
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++) unsetenv(unset[i]);
    setenv("no_proxy", "*", 1);
    setenv("QUERN_MODELS", f->root, 1);
    setenv("HF_HUB_CACHE", f->hub, 1);
    setenv("XDG_CONFIG_HOME", f->dir, 1);
    setenv("HOME", f->dir, 1);
    fixture_reopen(f);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    fixture *f = *state;
    quern_store_close(f->store);
    nftw(f->dir, fixture_unlink, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

/* Bytes that look random, the same for the same seed. */
static inline void make_bytes(char *out, size_t n, uint64_t seed)
{
    uint64_t x = seed * 2654435761u + 88172645463325252u;
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        out[i] = (char)(x >> 32);
    }
}

static inline void sha256_of(const char *bytes, size_t n, char hex[QN_SHA256_HEX + 1])
{
    qn_sha256 *h = NULL;
    assert_int_equal(qn_sha256_create(&h, NULL), QUERN_OK);
    assert_true(qn_sha256_update(h, bytes, n) && qn_sha256_finish(h, hex));
    qn_sha256_destroy(h);
}

static inline void write_file(const char *path, const char *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static inline void assert_file(const char *path, const char *bytes, size_t n)
{
    char *data = NULL;
    size_t n_data = 0;
    assert_int_equal(qn_file_read(&data, &n_data, path, 64 << 20, NULL), QUERN_OK);
    assert_int_equal(n_data, n);
    assert_memory_equal(data, bytes, n);
    qn_free(data);
}

static inline bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static inline void expect_status(fixture *f, quern_status got, quern_status wanted)
{
    if (got != wanted)
        print_error("status %d, expected %d: %s\n", got, wanted, got != QUERN_OK ? f->err.message : "");
    assert_int_equal(got, wanted);
}

static inline void expect_message(const fixture *f, const char *part)
{
    if (strstr(f->err.message, part) == NULL) print_error("no '%s' in: %s\n", part, f->err.message);
    assert_non_null(strstr(f->err.message, part));
}

/* The user's own catalogue; the store is opened again with it. */
static inline void set_catalogue(fixture *f, const char *json)
{
    char path[400];
    snprintf(path, sizeof path, "%s/quern", f->dir);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/quern/catalogue.json", f->dir);
    write_file(path, json, strlen(json));
    fixture_reopen(f);
}

#endif
