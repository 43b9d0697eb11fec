/* file_test.c: regular files are mapped and read; everything else is refused without waiting. */
#include "base_test.h"

#include "base/alloc.h"
#include "base/file.h"

#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "quern-file-test-XXXXXX";
static char path[128];

static const char *in_folder(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const void *data, size_t n)
{
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

static int make_things(void)
{
    return mkfifo(in_folder("fifo"), 0600) == 0 && symlink("loop", in_folder("loop")) == 0 ? 0 : -1;
}

static int set_up(void **state)
{
    (void)state;
    static char large[100000];
    for (size_t i = 0; i < sizeof large; i++) large[i] = (char)(i * 31 / 7);
    if (mkdtemp(folder) == NULL) return -1;
    write_file("small", "a\0b", 3);
    write_file("empty", "", 0);
    write_file("large", large, sizeof large);
    return make_things();
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"small", "empty", "large", "fifo", "loop"};
    for (size_t i = 0; i < 5; i++) unlink(in_folder(names[i]));
    return rmdir(folder);
}

static void files_are_mapped(void **state)
{
    (void)state;
    qn_file_map map;
    quern_error err;
    assert_int_equal(qn_file_map_open(&map, in_folder("small"), &err), QUERN_OK);
    assert_int_equal(map.n_bytes, 3);
    assert_memory_equal(map.data, "a\0b", 3);
    qn_file_map_close(&map);
    assert_true(map.data == NULL && map.n_bytes == 0);
    qn_file_map_close(&map); /* twice is fine */
    assert_int_equal(qn_file_map_open(&map, in_folder("empty"), &err), QUERN_OK);
    assert_true(map.data == NULL && map.n_bytes == 0);
    qn_file_map_close(&map);
}

static void released_pages_come_back(void **state)
{
    (void)state;
    qn_file_map map;
    assert_int_equal(qn_file_map_open(&map, in_folder("large"), NULL), QUERN_OK);
    static const size_t ranges[][2] = {{0, 100000}, {5000, 90000}, {4096, 4096},
                                       {1, 10},     {99999, 1},    {100000, 0},
                                       {100001, 1}, {5, SIZE_MAX}, {SIZE_MAX, SIZE_MAX}};
    for (size_t r = 0; r < sizeof ranges / sizeof ranges[0]; r++) {
        qn_file_map_release(&map, ranges[r][0], ranges[r][1]);
        for (size_t i = 0; i < map.n_bytes; i++)
            if (map.data[i] != (char)(i * 31 / 7)) fail_msg("range %zu, byte %zu", r, i);
    }
    qn_file_map_close(&map);
}

static void files_are_read(void **state)
{
    (void)state;
    char *bytes;
    size_t n;
    quern_error err;
    const long live = qn_alloc_live();
    assert_int_equal(qn_file_read(&bytes, &n, in_folder("small"), 3, &err), QUERN_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(bytes, "a\0b", 4); /* with a NUL after it */
    qn_free(bytes);
    assert_int_equal(qn_file_read(&bytes, &n, in_folder("empty"), 0, &err), QUERN_OK);
    assert_string_equal(bytes, "");
    qn_free(bytes);
    assert_int_equal(qn_file_read(&bytes, &n, in_folder("large"), 99999, &err), QUERN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "large: 100000 bytes, at most 99999 are allowed"));
    assert_true(bytes == NULL && n == 0);
    qn_alloc_fail_at(0);
    assert_int_equal(qn_file_read(&bytes, &n, in_folder("large"), 100000, &err), QUERN_ERR_NOMEM);
    qn_alloc_fail_at(-1);
    assert_null(bytes);
    assert_int_equal(qn_file_read(&bytes, &n, in_folder("large"), SIZE_MAX, &err), QUERN_OK);
    assert_int_equal(n, 100000);
    qn_free(bytes);
    assert_int_equal(qn_alloc_live(), live);
}

static void other_things_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        quern_status status;
        const char *message;
    } cases[] = {
        {"fifo", QUERN_ERR_IO, "fifo: is a pipe or device, not a regular file"},
        {".", QUERN_ERR_IO, "is a directory, not a regular file"},
        {"missing", QUERN_ERR_NOT_FOUND, "missing: No such file"},
        {"loop", QUERN_ERR_IO, "loop: Too many levels of symbolic links"},
        {"small/below", QUERN_ERR_NOT_FOUND, "small/below: Not a directory"},
        {"../../../../../../../../dev/zero", QUERN_ERR_IO, ""},
        {"new\nline\x1b", QUERN_ERR_NOT_FOUND, "new\\x0aline\\x1b: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_file_map map;
        quern_error err = {0};
        char *bytes;
        size_t n;
        assert_int_equal(qn_file_map_open(&map, in_folder(cases[i].name), &err), cases[i].status);
        if (strstr(err.message, cases[i].message) == NULL)
            fail_msg("'%s' instead of '%s'", err.message, cases[i].message);
        assert_true(map.data == NULL && map.n_bytes == 0);
        assert_int_equal(qn_file_read(&bytes, &n, path, 10, &err), cases[i].status);
        assert_null(bytes);
        assert_int_equal(qn_file_map_open(&map, path, NULL), cases[i].status);
    }
    qn_file_map map;
    assert_int_equal(qn_file_map_open(&map, "", NULL), QUERN_ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_mapped),
        cmocka_unit_test(released_pages_come_back),
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(other_things_are_refused),
    };
    return cmocka_run_group_tests_name("base file", tests, set_up, tear_down);
}
