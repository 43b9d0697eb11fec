/* reader_test.c: the reader under damage: cut files, flipped bytes, missing memory; typed access; size. */
#include "gguf_util.h"

#include <math.h>
#include <time.h>

static char *small_model(size_t *n)
{
    qn_gguf_writer *w;
    char *data;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    fill_writer(w);
    assert_int_equal(qn_gguf_writer_to_memory(w, &data, n, NULL), QUERN_OK);
    qn_gguf_writer_destroy(w);
    return data;
}

static void cut_at_every_length(void **state)
{
    (void)state;
    size_t n;
    char *data = small_model(&n);
    qn_gguf g;
    assert_int_equal(qn_gguf_parse(&g, data, n, NULL), QUERN_OK);
    const qn_gguf_tensor *last = &g.tensors[g.n_tensors - 1];
    const size_t needed = last->file_offset + last->n_bytes; /* padding after it may be missing */
    qn_gguf_close(&g);
    const long live = qn_alloc_live();
    for (size_t length = 0; length < n; length++) {
        char *cut = exact_copy(data, length);
        quern_error err = {0};
        assert_int_equal(qn_gguf_parse(&g, cut, length, &err), length < needed ? QUERN_ERR_FORMAT : QUERN_OK);
        if (length < needed)
            assert_true(strstr(err.message, "truncated") != NULL || strstr(err.message, "empty") != NULL);
        qn_gguf_close(&g);
        assert_int_equal(qn_alloc_live(), live);
        free(cut);
    }
    qn_free(data);
}

static void every_byte_flipped(void **state)
{
    (void)state;
    static const unsigned char masks[] = {0x01, 0x80, 0xff, 0x10};
    size_t n;
    char *data = small_model(&n);
    const long live = qn_alloc_live();
    char *copy = exact_copy(data, n);
    size_t accepted = 0;
    for (size_t at = 0; at < n; at++) {
        for (size_t m = 0; m < sizeof masks; m++) {
            qn_gguf g;
            quern_error err = {0};
            copy[at] = (char)(data[at] ^ (char)masks[m]);
            if (qn_gguf_parse(&g, copy, n, &err) == QUERN_OK) {
                accepted++;
                touch_everything(&g);
            } else assert_true(err.message[0] != '\0');
            qn_gguf_close(&g);
            assert_int_equal(qn_alloc_live(), live);
        }
        copy[at] = data[at];
    }
    assert_true(accepted > 0 && accepted < n * sizeof masks);
    free(copy);
    qn_free(data);
}

/* Eight bytes of every place replaced by numbers that break arithmetic. */
static void every_number_extreme(void **state)
{
    (void)state;
    static const uint64_t extremes[] = {
        0,          UINT64_C(1) << 63, UINT64_MAX,        UINT64_MAX - 31,
        UINT32_MAX, INT64_MAX,         UINT64_C(1) << 61, (UINT64_C(1) << 62) + 1};
    size_t n;
    char *data = small_model(&n);
    const long live = qn_alloc_live();
    char *copy = exact_copy(data, n);
    for (size_t at = 0; at + 8 <= n; at++) {
        for (size_t e = 0; e < sizeof extremes / sizeof extremes[0]; e++) {
            qn_gguf g;
            memcpy(copy + at, &extremes[e], 8);
            if (qn_gguf_parse(&g, copy, n, NULL) == QUERN_OK) touch_everything(&g);
            qn_gguf_close(&g);
            assert_int_equal(qn_alloc_live(), live);
        }
        memcpy(copy + at, data + at, 8);
    }
    free(copy);
    qn_free(data);
}

static void every_failing_allocation(void **state)
{
    (void)state;
    size_t n;
    char *data = small_model(&n);
    const long live = qn_alloc_live();
    quern_status s = QUERN_ERR_NOMEM;
    long k = 0;
    for (; s == QUERN_ERR_NOMEM; k++) {
        qn_gguf g;
        quern_error err = {0};
        qn_alloc_fail_at(k);
        s = qn_gguf_parse(&g, data, n, &err);
        assert_true(s == QUERN_OK || strstr(err.message, "no memory") != NULL);
        qn_gguf_close(&g);
        assert_int_equal(qn_alloc_live(), live);
    }
    qn_alloc_fail_at(-1);
    assert_int_equal(s, QUERN_OK);
    assert_true(k > 5);
    qn_free(data);
}

/* ---- typed access ---- */

typedef struct access_test {
    qn_gguf g;
    char *data;
    quern_error err;
} access_test;

static access_test open_access(void)
{
    access_test t = {.err = {0}};
    size_t n;
    qn_gguf_writer *w;
    const float infinite = INFINITY;
    const int8_t minus = -1;
    qn_gguf_value v = {
        .key = {"i8", 2}, .kind = QN_GGUF_I8, .count = 1, .data = (const char *)&minus, .n_bytes = 1};
    const double large = 1e300, fine = 0.5;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    qn_gguf_writer_set_u32(w, "seven", 7);
    qn_gguf_writer_set_i32(w, "minus", -7);
    qn_gguf_writer_set_i32(w, "plus", 7);
    qn_gguf_writer_set_u64(w, "large", UINT64_MAX);
    qn_gguf_writer_set_f32(w, "half", 0.5f);
    qn_gguf_writer_set_f32(w, "nan", NAN);
    qn_gguf_writer_set_f32(w, "inf", infinite);
    qn_gguf_writer_set_bool(w, "no", false);
    qn_gguf_writer_set_string(w, "text", "some \x1b text");
    qn_gguf_writer_set_array(w, "ints", QN_GGUF_I32, "\1\0\0\0\2\0\0\0", 2);
    qn_gguf_writer_set_value(w, &v);
    v = (qn_gguf_value){
        .key = {"f64", 3}, .kind = QN_GGUF_F64, .count = 1, .data = (const char *)&large, .n_bytes = 8};
    qn_gguf_writer_set_value(w, &v);
    v = (qn_gguf_value){
        .key = {"f64.half", 8}, .kind = QN_GGUF_F64, .count = 1, .data = (const char *)&fine, .n_bytes = 8};
    qn_gguf_writer_set_value(w, &v);
    assert_int_equal(qn_gguf_writer_to_memory(w, &t.data, &n, NULL), QUERN_OK);
    qn_gguf_writer_destroy(w);
    assert_int_equal(qn_gguf_parse(&t.g, t.data, n, &t.err), QUERN_OK);
    return t;
}

static void close_access(access_test *t)
{
    qn_gguf_close(&t->g);
    qn_free(t->data);
}

static void integers(void **state)
{
    (void)state;
    access_test t = open_access();
    uint64_t u = 99;
    assert_int_equal(qn_gguf_get_uint(&t.g, "none", false, 0, 9, &u, &t.err), QUERN_OK);
    assert_int_equal(u, 99);
    assert_int_equal(qn_gguf_get_uint(&t.g, "none", true, 0, 9, &u, &t.err), QUERN_ERR_FORMAT);
    assert_string_equal(t.err.message, "key 'none': is missing");
    assert_int_equal(qn_gguf_get_uint(&t.g, "plus", true, 7, 7, &u, &t.err), QUERN_OK);
    assert_int_equal(u, 7);
    assert_int_equal(qn_gguf_get_uint(&t.g, "large", true, 0, UINT64_MAX, &u, &t.err), QUERN_OK);
    assert_true(u == UINT64_MAX);
    u = 99;
    static const struct {
        const char *key, *message;
    } wrong[] = {
        {"minus", "key 'minus': is -7 (i32), needs an integer from 1 to 6"},
        {"seven", "key 'seven': is 7 (u32), needs an integer from 1 to 6"},
        {"large", "key 'large': is 18446744073709551615 (u64), needs an integer from 1 to 6"},
        {"i8", "key 'i8': is -1 (i8), needs an integer from 1 to 6"},
        {"half", "key 'half': is 0.5 (f32), needs an integer from 1 to 6"},
        {"no", "key 'no': is the bool false, needs an integer from 1 to 6"},
        {"text", "key 'text': is the string 'some \\x1b text', needs an integer from 1 to 6"},
        {"ints", "key 'ints': is an array of 2 i32, needs an integer from 1 to 6"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(qn_gguf_get_uint(&t.g, wrong[i].key, false, 1, 6, &u, &t.err), QUERN_ERR_FORMAT);
        assert_string_equal(t.err.message, wrong[i].message);
        assert_int_equal(u, 99);
    }
    close_access(&t);
}

static void other_kinds(void **state)
{
    (void)state;
    access_test t = open_access();
    float f = 9;
    bool b = true;
    qn_string s = {NULL, 0};
    const qn_string *strings;
    size_t count = 5;
    assert_int_equal(qn_gguf_get_float(&t.g, "none", false, &f, &t.err), QUERN_OK);
    assert_true(f == 9);
    assert_int_equal(qn_gguf_get_float(&t.g, "f64.half", true, &f, &t.err), QUERN_OK);
    assert_true(f == 0.5f);
    static const char *const no_floats[] = {"nan", "inf", "f64", "seven", "text", "ints", "no"};
    for (size_t i = 0; i < sizeof no_floats / sizeof no_floats[0]; i++) {
        assert_int_equal(qn_gguf_get_float(&t.g, no_floats[i], false, &f, &t.err), QUERN_ERR_FORMAT);
        assert_non_null(strstr(t.err.message, "needs a finite float"));
    }
    assert_true(f == 0.5f);
    assert_int_equal(qn_gguf_get_bool(&t.g, "no", true, &b, &t.err), QUERN_OK);
    assert_false(b);
    assert_int_equal(qn_gguf_get_bool(&t.g, "seven", true, &b, &t.err), QUERN_ERR_FORMAT);
    assert_int_equal(qn_gguf_get_string(&t.g, "seven", false, &s, &t.err), QUERN_ERR_FORMAT);
    assert_string_equal(t.err.message, "key 'seven': is 7 (u32), needs a string");
    assert_int_equal(qn_gguf_get_strings(&t.g, "none", false, &strings, &count, &t.err), QUERN_OK);
    assert_int_equal(count, 0);
    assert_int_equal(qn_gguf_get_strings(&t.g, "none", true, &strings, &count, &t.err), QUERN_ERR_FORMAT);
    assert_int_equal(qn_gguf_get_strings(&t.g, "ints", true, &strings, &count, &t.err), QUERN_ERR_FORMAT);
    assert_int_equal(qn_gguf_get_strings(&t.g, "text", true, &strings, &count, &t.err), QUERN_ERR_FORMAT);
    close_access(&t);
}

static void kinds(void **state)
{
    (void)state;
    assert_string_equal(qn_gguf_kind_name(QN_GGUF_U8), "u8");
    assert_string_equal(qn_gguf_kind_name(QN_GGUF_ARRAY), "array");
    assert_string_equal(qn_gguf_kind_name(QN_GGUF_F64), "f64");
    assert_string_equal(qn_gguf_kind_name((qn_gguf_kind)13), "unknown");
    int integer_kinds = 0, float_kinds = 0;
    for (int k = 0; k <= QN_GGUF_F64; k++) {
        integer_kinds += qn_gguf_kind_is_integer((qn_gguf_kind)k);
        float_kinds += qn_gguf_kind_is_float((qn_gguf_kind)k);
    }
    assert_int_equal(integer_kinds, 8);
    assert_int_equal(float_kinds, 2);
    assert_false(qn_gguf_kind_is_integer(QN_GGUF_BOOL));
}

/* ---- size ---- */

static void many_keys_and_tensors(void **state)
{
    (void)state;
    enum { N_KEYS = 50000, N_TENSORS = 20000 };
    static const float zero; /* borrowed until the file is written */
    qn_gguf_writer *w;
    char *data, name[32];
    size_t n;
    qn_gguf g;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    for (unsigned i = 0; i < N_KEYS; i++) {
        snprintf(name, sizeof name, "key.%u", i);
        qn_gguf_writer_set_u32(w, name, i);
    }
    for (unsigned i = 0; i < N_TENSORS; i++) {
        snprintf(name, sizeof name, "blk.%u.weight", i);
        qn_gguf_writer_add_tensor(w, name, QN_TYPE_F32, 1, (const uint64_t[]){1}, &zero);
    }
    assert_int_equal(qn_gguf_writer_to_memory(w, &data, &n, NULL), QUERN_OK);
    qn_gguf_writer_destroy(w);
    const clock_t start = clock();
    assert_int_equal(qn_gguf_parse(&g, data, n, NULL), QUERN_OK);
    for (unsigned i = 0; i < N_KEYS; i++) {
        snprintf(name, sizeof name, "key.%u", i);
        assert_int_equal(qn_gguf_element_int(qn_gguf_find(&g, name), 0), i);
    }
    for (unsigned i = 0; i < N_TENSORS; i++) {
        snprintf(name, sizeof name, "blk.%u.weight", i);
        assert_ptr_equal(qn_gguf_find_tensor(&g, name), &g.tensors[i]);
    }
    /* well under a second; ten under sanitizers: a search that is not hashed takes minutes */
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 10);
    qn_gguf_close(&g);
    qn_free(data);
}

/* In falling order of offset, the worst case of the search for overlaps. */
static void many_tensors_in_falling_order(void **state)
{
    (void)state;
    enum { N = 500 };
    static bytes b;
    char name[16];
    qn_gguf g;
    put_header(&b, 3, N, 0);
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof name, "%u", i);
        put_tensor(&b, name, 1, (const uint64_t[]){8}, QN_TYPE_F32, (N - 1 - i) * 32u);
    }
    put_padding(&b, 32);
    put_zeros(&b, N * 32);
    const quern_status s = qn_gguf_parse(&g, b.data, b.n, NULL);
    assert_int_equal(s, QUERN_OK);
    assert_true(g.tensors[0].data == b.data + b.n - 32);
    qn_gguf_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_at_every_length),
        cmocka_unit_test(every_byte_flipped),
        cmocka_unit_test(every_number_extreme),
        cmocka_unit_test(every_failing_allocation),
        cmocka_unit_test(integers),
        cmocka_unit_test(other_kinds),
        cmocka_unit_test(kinds),
        cmocka_unit_test(many_keys_and_tensors),
        cmocka_unit_test(many_tensors_in_falling_order),
    };
    return cmocka_run_group_tests_name("gguf reader", tests, NULL, NULL);
}
