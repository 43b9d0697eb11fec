/* refusal_test.c: every file that must be refused, made by hand, and what the error must say. */
#include "gguf_util.h"

#include <errno.h>
#include <sys/stat.h>

static const uint64_t four[] = {4, 1, 1, 1};

/* A model of two tensors of four floats; `hook` may spoil each part of it. */
typedef struct recipe {
    uint32_t version, type, n_dims;
    uint64_t n_tensors, n_values, dims[4], offset[2];
    const char *names[2];
    size_t data_bytes;
} recipe;

static recipe good_recipe(void)
{
    return (recipe){.version = 3,
                    .type = QN_TYPE_F32,
                    .n_dims = 1,
                    .n_tensors = 2,
                    .n_values = 1,
                    .dims = {4, 1, 1, 1},
                    .offset = {0, 32},
                    .names = {"a", "b"},
                    .data_bytes = 48};
}

static void build(bytes *b, const recipe *r)
{
    put_header(b, r->version, r->n_tensors, r->n_values);
    put_key_u32(b, "k", 1);
    put_tensor(b, r->names[0], r->n_dims, r->dims, r->type, r->offset[0]);
    put_tensor(b, r->names[1], 1, four, QN_TYPE_F32, r->offset[1]);
    put_padding(b, 32);
    put_zeros(b, r->data_bytes);
}

static void expect(const bytes *b, quern_status status, const char *message)
{
    const long live = qn_alloc_live();
    quern_error err = {0};
    qn_gguf g;
    char *data = exact_copy(b->data, b->n);
    const quern_status s = qn_gguf_parse(&g, data, b->n, &err);
    if (s != status || (status != QUERN_OK && strstr(err.message, message) == NULL))
        fail_msg("status %d (expected %d), message '%s' (expected '%s')", s, status, err.message, message);
    if (s == QUERN_OK) touch_everything(&g);
    qn_gguf_close(&g);
    assert_int_equal(qn_gguf_parse(&g, data, b->n, NULL), status); /* also without a place for the message */
    qn_gguf_close(&g);
    free(data);
    assert_int_equal(qn_alloc_live(), live);
}

static void expect_recipe(const recipe *r, quern_status status, const char *message)
{
    static bytes b;
    b.n = 0;
    build(&b, r);
    expect(&b, status, message);
}

static void the_good_one_is_accepted(void **state)
{
    (void)state;
    recipe r = good_recipe();
    expect_recipe(&r, QUERN_OK, "");
    r.version = 2;
    expect_recipe(&r, QUERN_OK, "");
    r = good_recipe(); /* tensors need not be in the order of their data */
    r.offset[0] = 32, r.offset[1] = 0;
    expect_recipe(&r, QUERN_OK, "");
}

static void other_files_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t n;
        const char *message;
    } cases[] = {
        {"", 0, "is empty"},
        {"G", 1, "ends at 1 within the header"},
        {"GGUF", 4, "ends at 4 within the header"},
        {"GGU\0GGUF", 8, "not a GGUF file: begins with 'GGU\\x00GGUF'"},
        {"ggufggufggufgguf", 16, "begins with 'ggufgguf'"},
        {"<!DOCTYPE html><html>", 21, "HTML page"},
        {"\n\n  <html lang=en>", 18, "HTML page"},
        {"\xef\xbb\xbf<!doctype html>", 18, "HTML page"},
        {"<?xml version='1.0'?><Error>", 28, "HTML page"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", 66, "Git LFS pointer"},
        {"PK\3\4\24\0\10\10", 8, "zip archive"},
        {"\x40\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\"", 27, "safetensors"},
        {"lmgg\1\0\0\0", 8, "old GGML file"},
        {"fmgg\1\0\0\0", 8, "old GGML file"},
        {"tjgg\3\0\0\0", 8, "old GGML file"},
        {"algg\1\0\0\0", 8, "old GGML adapter"},
        {"\x1f\x8b\x08\0", 4, "gzip"},
        {"\x28\xb5\x2f\xfd", 4, "Zstandard"},
        {"\x80\x02}q", 4, "pickle"},
        {"{\"error\":\"unauthorized\"}", 24, "JSON"},
        {"\0\0\0\0\0\0\0\0", 8, "only zero bytes"},
        {"\x1b[2J\x07\xff", 6, "begins with '\\x1b[2J\\x07\\xff'"},
    };
    static bytes b;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        b.n = 0;
        put_raw(&b, cases[i].data, cases[i].n);
        expect(&b, QUERN_ERR_FORMAT, cases[i].message);
    }
}

static void versions(void **state)
{
    (void)state;
    recipe r = good_recipe();
    r.version = 1;
    expect_recipe(&r, QUERN_ERR_UNSUPPORTED, "version 1 is not supported");
    r.version = 0;
    expect_recipe(&r, QUERN_ERR_UNSUPPORTED, "version 0");
    r.version = 4;
    expect_recipe(&r, QUERN_ERR_UNSUPPORTED, "version 4 is not supported");
    r.version = 0x03000000;
    expect_recipe(&r, QUERN_ERR_UNSUPPORTED, "big-endian");
    r.version = 0x02000000;
    expect_recipe(&r, QUERN_ERR_UNSUPPORTED, "big-endian");
}

static void counts(void **state)
{
    (void)state;
    static const uint64_t huge[] = {1000, UINT64_C(1) << 32, UINT64_C(1) << 59, UINT64_C(1) << 63,
                                    UINT64_MAX};
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
        recipe r = good_recipe();
        r.n_tensors = huge[i];
        expect_recipe(&r, QUERN_ERR_FORMAT, "tensors cannot fit in the");
        r = good_recipe();
        r.n_values = huge[i];
        expect_recipe(&r, QUERN_ERR_FORMAT, "keys cannot fit in the");
    }
}

/* ---- keys and values ---- */

/* A file of one key whose value is written by the case. */
typedef struct value_case {
    uint32_t kind, element_kind; /* element_kind only for arrays */
    uint64_t count;              /* length of a string or of an array; not written for scalars */
    size_t n_bytes;              /* zero bytes that follow */
    const char *message;
} value_case;

static void values(void **state)
{
    (void)state;
    const uint64_t top = UINT64_C(1) << 63;
    const value_case cases[] = {
        {QN_GGUF_U32, 0, 0, 3,
         "key 'test': needs 4 bytes at offset 40 but the file ends at 43 (truncated download?)"},
        {QN_GGUF_F64, 0, 0, 7, "needs 8 bytes"},
        {QN_GGUF_STRING, 0, 100, 99, "key 'test': needs 100 bytes"},
        {QN_GGUF_STRING, 0, top, 8, "needs 9223372036854775808 bytes"},
        {QN_GGUF_STRING, 0, UINT64_MAX, 8, "needs 18446744073709551615 bytes"},
        {QN_GGUF_ARRAY, QN_GGUF_U8, top, 8, "needs 9223372036854775808 bytes"},
        {QN_GGUF_ARRAY, QN_GGUF_U8, UINT64_MAX, 8, "needs 18446744073709551615 bytes"},
        {QN_GGUF_ARRAY, QN_GGUF_U64, top, 8, "larger than any file"},
        {QN_GGUF_ARRAY, QN_GGUF_U16, top, 8, "larger than any file"},
        {QN_GGUF_ARRAY, QN_GGUF_U32, (UINT64_C(1) << 62) + 1, 8, "larger than any file"},
        {QN_GGUF_ARRAY, QN_GGUF_I16, 5, 9, "needs 10 bytes"},
        {QN_GGUF_ARRAY, QN_GGUF_STRING, top, 8,
         "an array of 9223372036854775808 strings cannot fit in the 8 bytes"},
        {QN_GGUF_ARRAY, QN_GGUF_STRING, 3, 23, "3 strings cannot fit"},
        {QN_GGUF_ARRAY, QN_GGUF_ARRAY, 1, 100, "array of arrays"},
        {QN_GGUF_ARRAY, 13, 1, 100, "unknown element kind 13"},
        {QN_GGUF_ARRAY, UINT32_MAX, 0, 0, "unknown element kind 4294967295"},
        {13, 0, 0, 100, "unknown value kind 13"},
        {UINT32_MAX, 0, 0, 100, "unknown value kind 4294967295"},
    };
    static bytes b;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const value_case *c = &cases[i];
        b.n = 0;
        put_header(&b, 3, 0, 1);
        put_text(&b, "test");
        put_u32(&b, c->kind);
        if (c->kind == QN_GGUF_ARRAY) put_u32(&b, c->element_kind);
        if (c->kind == QN_GGUF_ARRAY || c->kind == QN_GGUF_STRING) put_u64(&b, c->count);
        put_zeros(&b, c->n_bytes);
        expect(&b,
               c->element_kind == QN_GGUF_ARRAY && c->kind == QN_GGUF_ARRAY ? QUERN_ERR_UNSUPPORTED
                                                                            : QUERN_ERR_FORMAT,
               c->message);
    }
}

static void a_file_of_43_bytes_with_an_endless_array(void **state)
{
    (void)state;
    static bytes b;
    for (uint32_t kind = 0; kind <= QN_GGUF_F64; kind++) {
        b.n = 0;
        put_header(&b, 3, 0, 1);
        put_u64(&b, 0); /* an empty key, as short as it gets */
        put_u32(&b, QN_GGUF_ARRAY);
        put_u32(&b, kind);
        put_raw(&b, "\0\0\0", 3);
        assert_int_equal(b.n, 43);
        expect(&b, QUERN_ERR_FORMAT, "");
        b.n -= 3;
        put_u64(&b, UINT64_C(1) << 63);
        expect(&b, kind == QN_GGUF_ARRAY ? QUERN_ERR_UNSUPPORTED : QUERN_ERR_FORMAT, "");
    }
}

static void strings_within_arrays(void **state)
{
    (void)state;
    static bytes b;
    put_header(&b, 3, 0, 1);
    put_text(&b, "words");
    put_u32(&b, QN_GGUF_ARRAY);
    put_u32(&b, QN_GGUF_STRING);
    put_u64(&b, 2);
    put_text(&b, "fine");
    put_u64(&b, UINT64_MAX - 3); /* position + length would wrap around */
    expect(&b, QUERN_ERR_FORMAT, "key 'words': string 2 of 2: needs 18446744073709551612 bytes");
}

static void bools(void **state)
{
    (void)state;
    static bytes b;
    put_header(&b, 3, 0, 1);
    put_text(&b, "flag");
    put_u32(&b, QN_GGUF_BOOL);
    put_u8(&b, 2);
    expect(&b, QUERN_ERR_FORMAT, "key 'flag': is a bool of value 2");
}

static void keys(void **state)
{
    (void)state;
    static bytes b;
    static char long_key[65536];
    b.n = 0;
    put_header(&b, 3, 0, 2);
    put_key_u32(&b, "same", 1);
    put_key_u32(&b, "same", 2);
    expect(&b, QUERN_ERR_FORMAT, "key 'same': occurs twice");

    b.n = 0;
    put_header(&b, 3, 0, 2);
    put_key_u32(&b, "first", 1);
    put_u64(&b, 5000);
    put_zeros(&b, 20);
    expect(&b, QUERN_ERR_FORMAT, "key 2 of 2: needs 5000 bytes");

    b.n = 0; /* terminal escapes in names must not reach a terminal */
    put_header(&b, 3, 0, 1);
    put_text(&b, "\x1b]0;owned\x07");
    put_u32(&b, 99);
    put_zeros(&b, 8);
    expect(&b, QUERN_ERR_FORMAT, "key '\\x1b]0;owned\\x07'");

    memset(long_key, 'k', sizeof long_key);
    char *data = malloc(24 + 8 + 65536 + 8);
    assert_non_null(data);
    for (uint64_t n = 65535; n <= 65536; n++) {
        const uint32_t kind_and_value[] = {QN_GGUF_U32, 7};
        qn_gguf g;
        quern_error err;
        b.n = 0;
        put_header(&b, 3, 0, 1);
        put_u64(&b, n);
        memcpy(data, b.data, b.n);
        memcpy(data + b.n, long_key, n);
        memcpy(data + b.n + n, kind_and_value, sizeof kind_and_value);
        const quern_status s = qn_gguf_parse(&g, data, b.n + n + 8, &err);
        assert_int_equal(s, n == 65535 ? QUERN_OK : QUERN_ERR_FORMAT);
        if (s != QUERN_OK) assert_non_null(strstr(err.message, "65536 bytes, at most 65535"));
        qn_gguf_close(&g);
    }
    free(data);
}

static void alignments(void **state)
{
    (void)state;
    static const struct {
        uint32_t kind, value;
        const char *message;
    } cases[] = {
        {QN_GGUF_U32, 0, "from 1 to 65536"},
        {QN_GGUF_U32, 3, "not a power of two"},
        {QN_GGUF_U32, 48, "not a power of two"},
        {QN_GGUF_U32, 131072, "from 1 to 65536"},
        {QN_GGUF_U32, UINT32_MAX, "from 1 to 65536"},
        {QN_GGUF_I32, 32, "is of kind i32, needs u32"},
        {QN_GGUF_F32, 32, "is of kind f32, needs u32"},
        {QN_GGUF_U32, 1, NULL},
        {QN_GGUF_U32, 65536, NULL},
    };
    static bytes b;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        b.n = 0;
        put_header(&b, 3, 0, 1);
        put_text(&b, "general.alignment");
        put_u32(&b, cases[i].kind);
        put_u32(&b, cases[i].value);
        expect(&b, cases[i].message == NULL ? QUERN_OK : QUERN_ERR_FORMAT, cases[i].message);
    }
}

/* ---- tensors ---- */

static void tensor_shapes(void **state)
{
    (void)state;
    static const struct {
        uint32_t n_dims;
        uint64_t dims[4];
        const char *message;
    } cases[] = {
        {0, {4, 1, 1, 1}, "has 0 dimensions"},
        {5, {4, 1, 1, 1}, "has 5 dimensions"},
        {UINT32_MAX, {4, 1, 1, 1}, "has 4294967295 dimensions"},
        {1, {0, 1, 1, 1}, "dimension 1 is 0"},
        {4, {1, 1, 1, 0}, "dimension 4 is 0"},
        {1, {UINT64_C(1) << 63, 1, 1, 1}, "dimension 1 is 9223372036854775808"},
        {2, {UINT64_C(1) << 32, UINT64_C(1) << 32, 1, 1}, "multiply to more than"},
        {2, {UINT64_C(1) << 32, UINT64_C(1) << 31, 1, 1}, "multiply to more than"},
        {4, {65536, 65536, 65536, 65536}, "multiply to more than"},
        {1, {INT64_MAX, 1, 1, 1}, "larger than any file"}, /* the values fit, their bytes do not */
        {2, {UINT64_C(1) << 31, UINT64_C(1) << 31, 1, 1}, "larger than any file"},
        {1, {UINT64_C(1) << 61, 1, 1, 1}, "needs 9223372036854775808 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        recipe r = good_recipe();
        r.n_dims = cases[i].n_dims;
        memcpy(r.dims, cases[i].dims, sizeof r.dims);
        static bytes b;
        b.n = 0;
        if (r.n_dims > 4) { /* the dimensions that are announced need not be there */
            put_header(&b, 3, 1, 0);
            put_text(&b, "a");
            put_u32(&b, r.n_dims);
            put_zeros(&b, 64);
        } else build(&b, &r);
        expect(&b, QUERN_ERR_FORMAT, cases[i].message);
    }
}

static void tensor_types(void **state)
{
    (void)state;
    static const uint32_t unknown[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        recipe r = good_recipe();
        r.type = unknown[i];
        expect_recipe(&r, QUERN_ERR_UNSUPPORTED, "tensor 'a': its type, number");
    }
    for (uint32_t type = 0; type < QN_TYPE_LIMIT; type++) {
        const qn_tensor_type_info *info = qn_tensor_type_get(type);
        if (info->name == NULL) continue;
        recipe r = good_recipe();
        r.type = type;
        r.dims[0] = info->block_values;
        r.offset[1] = 1024;
        r.data_bytes = 1024 + 16;
        expect_recipe(&r, QUERN_OK, "");
        r.dims[0]++;
        if (info->block_values > 1) expect_recipe(&r, QUERN_ERR_FORMAT, "not a multiple of the");
    }
}

static void tensor_places(void **state)
{
    (void)state;
    recipe r = good_recipe();
    r.offset[1] = 33;
    expect_recipe(&r, QUERN_ERR_FORMAT, "tensor 'b': its offset 33 is not a multiple of the alignment 32");
    r = good_recipe();
    r.data_bytes = 47;
    expect_recipe(&r, QUERN_ERR_FORMAT,
                  "tensor 'b': needs 16 bytes at offset 160 but the file ends at 175 (truncated download?)");
    r = good_recipe();
    r.offset[1] = UINT64_C(1) << 62;
    expect_recipe(&r, QUERN_ERR_FORMAT, "tensor 'b': needs 16 bytes at offset 46116860184273");
    r = good_recipe();
    r.offset[1] = UINT64_MAX - 31;
    expect_recipe(&r, QUERN_ERR_FORMAT, "beyond any file");
    r = good_recipe();
    r.offset[1] = 0;
    expect_recipe(&r, QUERN_ERR_FORMAT, "tensor 'b': begins at offset 128 inside tensor 'a'");
    r = good_recipe();
    r.dims[0] = 12; /* 48 bytes: 16 of them belong to b */
    expect_recipe(&r, QUERN_ERR_FORMAT, "inside tensor 'a', which has 48 bytes");
    r = good_recipe(); /* the same in the other order */
    r.dims[0] = 12, r.offset[0] = 32, r.offset[1] = 64, r.data_bytes = 96;
    expect_recipe(&r, QUERN_ERR_FORMAT, "tensor 'b': begins at");
}

static void tensor_names(void **state)
{
    (void)state;
    recipe r = good_recipe();
    r.names[1] = "a";
    expect_recipe(&r, QUERN_ERR_FORMAT, "tensor 'a': occurs twice");
    r.names[1] = "1234567890123456789012345678901234567890123456789012345678901234";
    expect_recipe(&r, QUERN_OK, "");
    r.names[1] = "12345678901234567890123456789012345678901234567890123456789012345";
    expect_recipe(&r, QUERN_ERR_FORMAT, "tensor 2 of 2: its name");
    r.names[1] = "";
    expect_recipe(&r, QUERN_OK, "");
}

static void split_keys(void **state)
{
    (void)state;
    static const struct {
        uint32_t no, count;
        const char *message;
    } cases[] = {
        {0, 0, NULL}, /* what a merged file says */
        {0, 1, NULL},       {1, 2, NULL},       {65534, 65535, NULL},      {2, 2, "split.no"},
        {1, 0, "split.no"}, {1, 1, "split.no"}, {0, 65536, "split.count"}, {UINT32_MAX, 2, "split.no"},
    };
    static bytes b;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        b.n = 0;
        put_header(&b, 3, 0, 2);
        put_key_u32(&b, "split.no", cases[i].no);
        put_key_u32(&b, "split.count", cases[i].count);
        expect(&b, cases[i].message == NULL ? QUERN_OK : QUERN_ERR_FORMAT, cases[i].message);
    }
    b.n = 0;
    put_header(&b, 3, 0, 1);
    put_text(&b, "split.count");
    put_u32(&b, QN_GGUF_STRING);
    put_text(&b, "two");
    expect(&b, QUERN_ERR_FORMAT, "key 'split.count': is the string 'two', needs an integer from 0 to 65535");
}

static void not_a_regular_file(void **state)
{
    (void)state;
    const folder f = make_folder();
    qn_gguf g;
    quern_error err;
    assert_int_equal(qn_gguf_open(&g, f.path, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "is a directory"));
    qn_gguf_close(&g);
    assert_int_equal(mkfifo(in_folder(&f, "fifo"), 0600), 0);
    assert_int_equal(qn_gguf_open(&g, in_folder(&f, "fifo"), &err), QUERN_ERR_IO); /* and does not wait */
    qn_gguf_close(&g);
    assert_int_equal(qn_gguf_open(&g, "/dev/zero", &err), QUERN_ERR_IO);
    qn_gguf_close(&g);
    assert_int_equal(qn_gguf_open(&g, in_folder(&f, "missing.gguf"), &err), QUERN_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "missing.gguf: "));
    qn_gguf_close(&g);
    FILE *empty = fopen(in_folder(&f, "empty.gguf"), "w");
    assert_non_null(empty);
    fclose(empty);
    assert_int_equal(qn_gguf_open(&g, in_folder(&f, "empty.gguf"), &err), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "empty.gguf: is empty"));
    qn_gguf_close(&g);
    remove_folder(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_good_one_is_accepted),
        cmocka_unit_test(other_files_are_named),
        cmocka_unit_test(versions),
        cmocka_unit_test(counts),
        cmocka_unit_test(values),
        cmocka_unit_test(a_file_of_43_bytes_with_an_endless_array),
        cmocka_unit_test(strings_within_arrays),
        cmocka_unit_test(bools),
        cmocka_unit_test(keys),
        cmocka_unit_test(alignments),
        cmocka_unit_test(tensor_shapes),
        cmocka_unit_test(tensor_types),
        cmocka_unit_test(tensor_places),
        cmocka_unit_test(tensor_names),
        cmocka_unit_test(split_keys),
        cmocka_unit_test(not_a_regular_file),
    };
    return cmocka_run_group_tests_name("gguf refusals", tests, NULL, NULL);
}
