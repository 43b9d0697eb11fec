/* gguf_util.c: see gguf_util.h. */
#include "gguf_util.h"

#include <dirent.h>

static size_t each_file(const folder *f, bool and_remove)
{
    size_t n = 0;
    DIR *d = opendir(f->path);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        n++;
        if (and_remove) remove(in_folder(f, e->d_name));
    }
    closedir(d);
    return n;
}

size_t count_files(const folder *f)
{
    return each_file(f, false);
}

void remove_folder(const folder *f)
{
    each_file(f, true);
    assert_int_equal(rmdir(f->path), 0);
}

void fill_writer(qn_gguf_writer *w)
{
    static const qn_string words[] = {{"alpha", 5}, {"", 0}, {"nul\0inside", 10}, {"\xff\xfe", 2}};
    static const uint8_t u8[] = {0, 1, 255};
    static const int8_t i8[] = {-128, 0, 127};
    static const uint16_t u16[] = {0, 65535};
    static const int16_t i16[] = {-32768, 32767};
    static const uint32_t u32[] = {0, UINT32_MAX};
    static const int32_t i32[] = {INT32_MIN, -1, INT32_MAX};
    static const uint64_t u64[] = {0, UINT64_MAX};
    static const int64_t i64[] = {INT64_MIN, INT64_MAX};
    static const float f32[] = {-0.5f, 3.0e38f};
    static const double f64[] = {1e300, -1.0};
    static const uint8_t flags[] = {0, 1, 1};
    static float f32_data[6] = {1, 2, 3, 4, 5, 6};
    static unsigned char q8_data[2 * 34], q4k_data[144], i32_data[4];
    for (size_t i = 0; i < sizeof q8_data; i++) q8_data[i] = (unsigned char)(i * 7);
    for (size_t i = 0; i < sizeof q4k_data; i++) q4k_data[i] = (unsigned char)(i * 11);
    qn_gguf_writer_set_string(w, "general.architecture", "test");
    qn_gguf_writer_set_u32(w, "test.u32", 7);
    qn_gguf_writer_set_u64(w, "test.u64", UINT64_C(1) << 40);
    qn_gguf_writer_set_i32(w, "test.i32", -5);
    qn_gguf_writer_set_f32(w, "test.f32", 0.25f);
    qn_gguf_writer_set_bool(w, "test.bool", true);
    qn_gguf_writer_set_string(w, "test.empty", "");
    qn_gguf_writer_set_strings(w, "test.strings", words, 4);
    qn_gguf_writer_set_strings(w, "test.no_strings", NULL, 0);
    qn_gguf_writer_set_array(w, "test.a.u8", QN_GGUF_U8, u8, 3);
    qn_gguf_writer_set_array(w, "test.a.i8", QN_GGUF_I8, i8, 3);
    qn_gguf_writer_set_array(w, "test.a.u16", QN_GGUF_U16, u16, 2);
    qn_gguf_writer_set_array(w, "test.a.i16", QN_GGUF_I16, i16, 2);
    qn_gguf_writer_set_array(w, "test.a.u32", QN_GGUF_U32, u32, 2);
    qn_gguf_writer_set_array(w, "test.a.i32", QN_GGUF_I32, i32, 3);
    qn_gguf_writer_set_array(w, "test.a.u64", QN_GGUF_U64, u64, 2);
    qn_gguf_writer_set_array(w, "test.a.i64", QN_GGUF_I64, i64, 2);
    qn_gguf_writer_set_array(w, "test.a.f32", QN_GGUF_F32, f32, 2);
    qn_gguf_writer_set_array(w, "test.a.f64", QN_GGUF_F64, f64, 2);
    qn_gguf_writer_set_array(w, "test.a.bool", QN_GGUF_BOOL, flags, 3);
    qn_gguf_writer_set_array(w, "test.a.none", QN_GGUF_U32, NULL, 0);
    qn_gguf_writer_add_tensor(w, "f32.weight", QN_TYPE_F32, 2, (const uint64_t[]){3, 2}, f32_data);
    qn_gguf_writer_add_tensor(w, "q8.weight", QN_TYPE_Q8_0, 3, (const uint64_t[]){32, 1, 2}, q8_data);
    qn_gguf_writer_add_tensor(w, "q4k.weight", QN_TYPE_Q4_K, 1, (const uint64_t[]){256}, q4k_data);
    qn_gguf_writer_add_tensor(w, "i32", QN_TYPE_I32, 4, (const uint64_t[]){1, 1, 1, 1}, i32_data);
}
