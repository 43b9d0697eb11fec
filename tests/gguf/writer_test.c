/* writer_test.c: what is written is read back equal; what cannot be written is said. */
#include "gguf_util.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>

static void written_is_read_back(void **state)
{
    (void)state;
    qn_gguf_writer *w;
    char *data;
    size_t n;
    qn_gguf g;
    quern_error err;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    fill_writer(w);
    assert_int_equal(qn_gguf_writer_to_memory(w, &data, &n, &err), QUERN_OK);
    qn_gguf_writer_destroy(w);
    assert_int_equal(n % 32, 0);
    assert_int_equal(qn_gguf_parse(&g, data, n, &err), QUERN_OK);
    assert_int_equal(g.version, 3);
    assert_int_equal(g.n_values, 21);
    assert_int_equal(g.n_tensors, 4);

    uint64_t u = 0;
    float f = 0;
    bool b = false;
    qn_string s;
    const qn_string *strings;
    size_t count;
    assert_int_equal(qn_gguf_get_uint(&g, "test.u32", true, 0, 10, &u, &err), QUERN_OK);
    assert_int_equal(u, 7);
    assert_int_equal(qn_gguf_get_uint(&g, "test.u64", true, 0, UINT64_MAX, &u, &err), QUERN_OK);
    assert_true(u == UINT64_C(1) << 40);
    assert_int_equal(qn_gguf_element_int(qn_gguf_find(&g, "test.i32"), 0), -5);
    assert_int_equal(qn_gguf_get_float(&g, "test.f32", true, &f, &err), QUERN_OK);
    assert_true(f == 0.25f);
    assert_int_equal(qn_gguf_get_bool(&g, "test.bool", true, &b, &err), QUERN_OK);
    assert_true(b);
    assert_int_equal(qn_gguf_get_string(&g, "general.architecture", true, &s, &err), QUERN_OK);
    assert_true(qn_string_is(s, "test"));
    assert_false(qn_string_is(s, "tes"));
    assert_int_equal(qn_gguf_get_string(&g, "test.empty", true, &s, &err), QUERN_OK);
    assert_true(qn_string_is(s, ""));
    assert_int_equal(qn_gguf_get_strings(&g, "test.strings", true, &strings, &count, &err), QUERN_OK);
    assert_int_equal(count, 4);
    assert_true(qn_string_is(strings[0], "alpha") && strings[1].n_bytes == 0 && strings[2].n_bytes == 10);
    assert_memory_equal(strings[2].bytes, "nul\0inside", 10);
    assert_int_equal(qn_gguf_get_strings(&g, "test.no_strings", true, &strings, &count, &err), QUERN_OK);
    assert_int_equal(count, 0);

    const qn_gguf_tensor *t = qn_gguf_find_tensor(&g, "q8.weight");
    assert_non_null(t);
    assert_true(t->type == QN_TYPE_Q8_0 && t->n_dims == 3 && t->n_values == 64 && t->n_bytes == 68);
    assert_true(t->dims[0] == 32 && t->dims[1] == 1 && t->dims[2] == 2 && t->dims[3] == 1);
    assert_int_equal((unsigned char)t->data[67], (unsigned char)(67 * 7));
    assert_int_equal(t->file_offset % 32, 0);
    assert_null(qn_gguf_find_tensor(&g, "q8.weigh"));
    touch_everything(&g);
    qn_gguf_close(&g);
    qn_free(data);
}

static void numbers_of_all_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint64_t i;
        int64_t as_int;
        double as_float;
    } cases[] = {
        {"test.a.u8", 2, 255, 255},
        {"test.a.i8", 0, -128, -128},
        {"test.a.u16", 1, 65535, 65535},
        {"test.a.i16", 0, -32768, -32768},
        {"test.a.u32", 1, UINT32_MAX, UINT32_MAX},
        {"test.a.i32", 0, INT32_MIN, INT32_MIN},
        {"test.a.u64", 1, INT64_MAX, 0x1p64}, /* does not fit: the largest there is */
        {"test.a.i64", 0, INT64_MIN, -0x1p63},
        {"test.a.f32", 0, 0, -0.5},
        {"test.a.f64", 0, INT64_MAX, 1e300},
        {"test.a.f64", 1, -1, -1},
        {"test.a.bool", 2, 1, 1},
        {"test.u32", 99, 7, 7}, /* a scalar is itself at any index */
        {"test.strings", 0, 0, 0},
        {"test.empty", 0, 0, 0},
    };
    qn_gguf_writer *w;
    char *data;
    size_t n;
    qn_gguf g;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    fill_writer(w);
    assert_int_equal(qn_gguf_writer_to_memory(w, &data, &n, NULL), QUERN_OK);
    assert_int_equal(qn_gguf_parse(&g, data, n, NULL), QUERN_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const qn_gguf_value *v = qn_gguf_find(&g, cases[i].key);
        assert_non_null(v);
        assert_true(qn_gguf_element_int(v, cases[i].i) == cases[i].as_int);
        assert_true(qn_gguf_element_float(v, cases[i].i) == cases[i].as_float);
    }
    qn_gguf_close(&g);
    qn_gguf_writer_destroy(w);
    qn_free(data);
}

static void a_key_set_again_is_replaced(void **state)
{
    (void)state;
    qn_gguf_writer *w;
    char *data;
    size_t n;
    qn_gguf g;
    uint64_t u = 0;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    qn_gguf_writer_set_string(w, "a", "first");
    qn_gguf_writer_set_u32(w, "b", 2);
    qn_gguf_writer_set_u32(w, "a", 3);
    assert_int_equal(qn_gguf_writer_to_memory(w, &data, &n, NULL), QUERN_OK);
    assert_int_equal(qn_gguf_parse(&g, data, n, NULL), QUERN_OK);
    assert_int_equal(g.n_values, 2);
    assert_true(qn_string_is(g.values[0].key, "a"));
    assert_int_equal(qn_gguf_get_uint(&g, "a", true, 0, 9, &u, NULL), QUERN_OK);
    assert_int_equal(u, 3);
    qn_gguf_close(&g);
    qn_gguf_writer_destroy(w);
    qn_free(data);
}

static void alignment_is_obeyed(void **state)
{
    (void)state;
    for (uint32_t alignment = 1; alignment <= 65536; alignment *= 4) {
        qn_gguf_writer *w;
        char *data;
        size_t n;
        qn_gguf g;
        assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
        fill_writer(w);
        qn_gguf_writer_set_u32(w, "general.alignment", alignment);
        assert_int_equal(qn_gguf_writer_to_memory(w, &data, &n, NULL), QUERN_OK);
        assert_int_equal(n % alignment, 0);
        assert_int_equal(qn_gguf_parse(&g, data, n, NULL), QUERN_OK);
        for (size_t i = 0; i < g.n_tensors; i++) assert_int_equal(g.tensors[i].file_offset % alignment, 0);
        assert_int_equal((unsigned char)qn_gguf_find_tensor(&g, "q4k.weight")->data[143],
                         (unsigned char)(143 * 11));
        qn_gguf_close(&g);
        qn_gguf_writer_destroy(w);
        qn_free(data);
    }
}

typedef void mistake(qn_gguf_writer *w);
static void bad_alignment(qn_gguf_writer *w)
{
    qn_gguf_writer_set_u32(w, "general.alignment", 48);
}
static void zero_alignment(qn_gguf_writer *w)
{
    qn_gguf_writer_set_u32(w, "general.alignment", 0);
}
static void wide_alignment(qn_gguf_writer *w)
{
    qn_gguf_writer_set_u64(w, "general.alignment", 64);
}
static void long_key(qn_gguf_writer *w)
{
    static char key[65537];
    memset(key, 'k', sizeof key - 1);
    qn_gguf_writer_set_u32(w, key, 1);
}
static void long_name(qn_gguf_writer *w)
{
    static const char name[] = "12345678901234567890123456789012345678901234567890123456789012345";
    qn_gguf_writer_add_tensor(w, name, QN_TYPE_I8, 1, (const uint64_t[]){1}, "x");
}
static void same_name(qn_gguf_writer *w)
{
    qn_gguf_writer_add_tensor(w, "t", QN_TYPE_I8, 1, (const uint64_t[]){1}, "x");
    qn_gguf_writer_add_tensor(w, "t", QN_TYPE_I8, 1, (const uint64_t[]){1}, "x");
}
static void part_of_a_block(qn_gguf_writer *w)
{
    qn_gguf_writer_add_tensor(w, "t", QN_TYPE_Q8_0, 1, (const uint64_t[]){31}, "x");
}
static void no_dims(qn_gguf_writer *w)
{
    qn_gguf_writer_add_tensor(w, "t", QN_TYPE_I8, 0, NULL, "x");
}
static void zero_dim(qn_gguf_writer *w)
{
    qn_gguf_writer_add_tensor(w, "t", QN_TYPE_I8, 2, (const uint64_t[]){1, 0}, "x");
}
static void huge_dims(qn_gguf_writer *w)
{
    qn_gguf_writer_add_tensor(w, "t", QN_TYPE_I8, 2, (const uint64_t[]){UINT64_C(1) << 40, UINT64_C(1) << 40},
                              "x");
}
static void removed_type(qn_gguf_writer *w)
{
    qn_gguf_writer_add_tensor(w, "t", (qn_tensor_type)4, 1, (const uint64_t[]){32}, "x");
}
static void array_of_strings_as_scalars(qn_gguf_writer *w)
{
    qn_gguf_writer_set_array(w, "a", QN_GGUF_STRING, "x", 1);
}
static void bool_of_two(qn_gguf_writer *w)
{
    qn_gguf_writer_set_array(w, "a", QN_GGUF_BOOL, "\2", 1);
}

static void the_first_mistake_is_reported_at_the_end(void **state)
{
    (void)state;
    static mistake *const mistakes[] = {
        bad_alignment,   zero_alignment, wide_alignment, long_key,  long_name,    same_name,
        part_of_a_block, no_dims,        zero_dim,       huge_dims, removed_type, array_of_strings_as_scalars,
        bool_of_two};
    const folder f = make_folder();
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        const long live = qn_alloc_live();
        qn_gguf_writer *w;
        char *data;
        size_t n;
        quern_error err = {0};
        assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
        mistakes[i](w);
        fill_writer(w);
        assert_int_equal(qn_gguf_writer_to_memory(w, &data, &n, &err), QUERN_ERR_ARGUMENT);
        assert_null(data);
        assert_true(strlen(err.message) > 10);
        assert_int_equal(qn_gguf_writer_save(w, in_folder(&f, "bad.gguf"), &err), QUERN_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, "bad.gguf: "));
        qn_gguf_writer_destroy(w);
        assert_int_equal(qn_alloc_live(), live);
    }
    assert_int_equal(count_files(&f), 0);
    remove_folder(&f);
}

static void saved_file_is_opened(void **state)
{
    (void)state;
    const folder f = make_folder();
    const char *path = in_folder(&f, "model.gguf");
    qn_gguf_writer *w;
    char *data;
    size_t n;
    qn_gguf a, b;
    quern_error err;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    fill_writer(w);
    for (int round = 0; round < 2; round++) /* the second replaces the first */
        assert_int_equal(qn_gguf_writer_save(w, path, &err), QUERN_OK);
    assert_int_equal(count_files(&f), 1);
    assert_int_equal(qn_gguf_writer_to_memory(w, &data, &n, &err), QUERN_OK);
    assert_int_equal(qn_gguf_open(&a, path, &err), QUERN_OK);
    assert_int_equal(qn_gguf_parse(&b, data, n, &err), QUERN_OK);
    assert_int_equal(a.total_bytes, n);
    assert_memory_equal(a.files[0].data, data, n);
    assert_same_model(&a, &b);
    qn_gguf_close(&a);
    qn_gguf_close(&b);
    qn_gguf_writer_destroy(w);
    qn_free(data);
    remove_folder(&f);
}

static void saving_where_one_cannot(void **state)
{
    (void)state;
    const folder f = make_folder();
    qn_gguf_writer *w;
    quern_error err;
    struct stat st;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    fill_writer(w);
    assert_int_equal(qn_gguf_writer_save(w, in_folder(&f, "none/model.gguf"), &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "none/model.gguf: cannot write"));
    assert_int_equal(qn_gguf_writer_save(w, f.path, &err), QUERN_ERR_IO); /* a directory */
    assert_non_null(strstr(err.message, "not a regular file"));
    assert_int_equal(mkfifo(in_folder(&f, "fifo"), 0600), 0);
    assert_int_equal(qn_gguf_writer_save(w, in_folder(&f, "fifo"), &err), QUERN_ERR_IO);
    assert_int_equal(stat(in_folder(&f, "fifo"), &st), 0);
    assert_true(S_ISFIFO(st.st_mode)); /* still there: a device must not be replaced by a file */
    assert_int_equal(count_files(&f), 1);
    qn_gguf_writer_destroy(w);
    remove_folder(&f);
}

static void every_failing_allocation(void **state)
{
    (void)state;
    const folder f = make_folder();
    const char *path = in_folder(&f, "model.gguf");
    const long live = qn_alloc_live();
    quern_status s = QUERN_ERR_NOMEM;
    long k = 0;
    for (; s == QUERN_ERR_NOMEM; k++) {
        qn_gguf_writer *w;
        quern_error err = {0};
        qn_alloc_fail_at(k);
        s = qn_gguf_writer_create(&w, &err);
        if (s == QUERN_OK) {
            fill_writer(w);
            s = qn_gguf_writer_save(w, path, &err);
        }
        qn_gguf_writer_destroy(w);
        /* one may fail unseen: the name of the directory to sync, after the file is in place */
        assert_true(s != QUERN_OK || !qn_alloc_has_failed() || count_files(&f) == 1);
        if (s != QUERN_OK) assert_int_equal(count_files(&f), 0);
        assert_int_equal(qn_alloc_live(), live);
    }
    qn_alloc_fail_at(-1);
    assert_int_equal(s, QUERN_OK);
    assert_true(k > 50);
    remove_folder(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_is_read_back),
        cmocka_unit_test(numbers_of_all_kinds),
        cmocka_unit_test(a_key_set_again_is_replaced),
        cmocka_unit_test(alignment_is_obeyed),
        cmocka_unit_test(the_first_mistake_is_reported_at_the_end),
        cmocka_unit_test(saved_file_is_opened),
        cmocka_unit_test(saving_where_one_cannot),
        cmocka_unit_test(every_failing_allocation),
    };
    return cmocka_run_group_tests_name("gguf writer", tests, NULL, NULL);
}
