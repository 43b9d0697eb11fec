/* file_test.c: files that are there, are not, or are no files at all. */
#include "base_test.h"

#include "base/alloc.h"
#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/quern-file-test-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void write_file(const char *name, const void *bytes, size_t n_bytes)
{
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n_bytes, f), n_bytes);
    assert_int_equal(fclose(f), 0);
}

static void a_file_is_mapped_and_read_whole(void **state)
{
    (void)state;
    char content[10000];
    for (size_t i = 0; i < sizeof content; i++) content[i] = (char)(i * 7);
    write_file("content", content, sizeof content);
    qn_file_map map;
    quern_error err;
    assert_int_equal(qn_file_map_open(&map, path_of("content"), &err), QUERN_OK);
    assert_int_equal(map.n_bytes, sizeof content);
    assert_memory_equal(map.data, content, sizeof content);
    qn_file_map_release(&map, 0, sizeof content); /* dropped pages are read again */
    qn_file_map_release(&map, sizeof content, SIZE_MAX);
    qn_file_map_release(&map, SIZE_MAX, 1);
    assert_memory_equal(map.data, content, sizeof content);
    qn_file_map_close(&map);
    assert_null(map.data);
    qn_file_map_close(&map);

    char *bytes;
    size_t n_bytes;
    assert_int_equal(qn_file_read(&bytes, &n_bytes, path_of("content"), sizeof content, &err), QUERN_OK);
    assert_int_equal(n_bytes, sizeof content);
    assert_memory_equal(bytes, content, sizeof content);
    assert_int_equal(bytes[n_bytes], '\0');
    qn_free(bytes);
    assert_int_equal(qn_file_read(&bytes, &n_bytes, path_of("content"), sizeof content - 1, &err), QUERN_ERR_LIMIT);
    assert_null(bytes);
    assert_non_null(strstr(err.message, "10000 bytes, at most 9999"));
}

static void an_empty_file_is_a_file(void **state)
{
    (void)state;
    write_file("empty", "", 0);
    qn_file_map map;
    assert_int_equal(qn_file_map_open(&map, path_of("empty"), NULL), QUERN_OK);
    assert_int_equal(map.n_bytes, 0);
    qn_file_map_close(&map);
    char *bytes;
    size_t n_bytes = 1;
    assert_int_equal(qn_file_read(&bytes, &n_bytes, path_of("empty"), 0, NULL), QUERN_OK);
    assert_string_equal(bytes, "");
    assert_int_equal(n_bytes, 0);
    qn_free(bytes);
}

static void what_is_no_regular_file_is_refused_at_once(void **state)
{
    (void)state;
    qn_file_map map;
    quern_error err;
    assert_int_equal(qn_file_map_open(&map, path_of("absent"), &err), QUERN_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "absent: No such file"));
    assert_int_equal(qn_file_map_open(&map, directory, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "is a directory"));
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    assert_int_equal(qn_file_map_open(&map, path_of("pipe"), &err), QUERN_ERR_IO); /* and does not wait for a writer */
    assert_non_null(strstr(err.message, "a pipe or device"));
    assert_int_equal(qn_file_map_open(&map, "/dev/zero", &err), QUERN_ERR_IO);
    write_file("content", "x", 1);
    char below[300];
    snprintf(below, sizeof below, "%s/below", path_of("content"));
    assert_int_equal(qn_file_map_open(&map, below, &err), QUERN_ERR_NOT_FOUND);
    assert_int_equal(symlink("loop", path_of("loop")), 0);
    assert_int_equal(qn_file_map_open(&map, path_of("loop"), &err), QUERN_ERR_IO);
    assert_int_equal(qn_file_map_open(&map, "", &err), QUERN_ERR_NOT_FOUND);
    qn_file_map_open(&map, "/tmp/\x1b[2J\n", &err);
    assert_null(strchr(err.message, '\x1b')); /* nothing of a name reaches the terminal raw */
}

static void reading_without_memory_is_an_error(void **state)
{
    (void)state;
    write_file("content", "abc", 3);
    char *bytes;
    size_t n_bytes;
    quern_error err;
    qn_alloc_fail_at(0);
    assert_int_equal(qn_file_read(&bytes, &n_bytes, path_of("content"), 100, &err), QUERN_ERR_NOMEM);
    qn_alloc_fail_at(-1);
    assert_null(bytes);
    assert_int_equal(qn_alloc_live(), 0);
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static int remove_directory(void **state)
{
    (void)state;
    static const char *const names[] = {"content", "empty", "pipe", "loop"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) unlink(path_of(names[i]));
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_mapped_and_read_whole),
        cmocka_unit_test(an_empty_file_is_a_file),
        cmocka_unit_test(what_is_no_regular_file_is_refused_at_once),
        cmocka_unit_test(reading_without_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
