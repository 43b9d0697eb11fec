/* path_test.c: where a user's directories are, whatever the environment says. */
#include "base_test.h"

#include "base/alloc.h"
#include "base/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void expect_xdg(const char *base, const char *home, const char *expected)
{
    char path[PATH_MAX] = "";
    if (base != NULL) setenv("XDG_CACHE_HOME", base, 1);
    else unsetenv("XDG_CACHE_HOME");
    if (home != NULL) setenv("HOME", home, 1);
    else unsetenv("HOME");
    assert_int_equal(qn_path_xdg(path, "XDG_CACHE_HOME", ".cache", "quern/packs"), expected != NULL);
    if (expected != NULL) assert_string_equal(path, expected);
}

static void base_directories(void **state)
{
    (void)state;
    expect_xdg("/c", "/h", "/c/quern/packs");
    expect_xdg("relative", "/h", "/h/.cache/quern/packs");
    expect_xdg("", "/h", "/h/.cache/quern/packs");
    expect_xdg(NULL, "/h", "/h/.cache/quern/packs");
    expect_xdg("relative", "", NULL);
    expect_xdg(NULL, NULL, NULL);
    static char endless[2 * PATH_MAX];
    memset(endless, '/', sizeof endless - 1);
    expect_xdg(endless, "/h", NULL);
    assert_null(qn_path_absolute(endless));
}

static void expect_absolute(const char *path, const char *expected)
{
    char *found = qn_path_absolute(path);
    assert_non_null(found);
    assert_string_equal(found, expected);
    qn_free(found);
}

static void absolute_paths(void **state)
{
    (void)state;
    setenv("HOME", "/h", 1);
    assert_int_equal(chdir("/"), 0);
    expect_absolute("/a/b//", "/a/b");
    expect_absolute("/", "/");
    expect_absolute("~/x", "/h/x");
    assert_int_equal(chdir("/usr"), 0);
    expect_absolute("a", "/usr/a");
    expect_absolute("~x", "/usr/~x"); /* the home of another user is the shell's business */
}

static void directories_are_made(void **state)
{
    (void)state;
    char root[] = "/tmp/quern_path_XXXXXX", path[PATH_MAX];
    struct stat st;
    assert_non_null(mkdtemp(root));
    assert_true(qn_path_format(path, "%s/a/b", root));
    qn_path_make(path, 0700);
    assert_true(stat(path, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 0777) == 0700);
    qn_path_make(path, 0700); /* already there */
    qn_path_make("", 0700);
    assert_true(qn_path_free_bytes(path) > 0 && qn_path_free_bytes(path) < UINT64_MAX);
    assert_true(qn_path_free_bytes("/nowhere/at/all") == UINT64_MAX);
    assert_int_equal(rmdir(path), 0);
    assert_true(qn_path_format(path, "%s/a", root));
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(root), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base_directories),
        cmocka_unit_test(absolute_paths),
        cmocka_unit_test(directories_are_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
