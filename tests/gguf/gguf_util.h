/* gguf_util.h: what the tests of this room share. A `bytes` builds files by hand, field by field and
 * without any check, so that files which no writer would write can be made. */
#ifndef TESTS_GGUF_UTIL_H
#define TESTS_GGUF_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "gguf/gguf.h"
#include "gguf/writer.h"

typedef struct bytes {
    char data[1 << 16];
    size_t n;
} bytes;

static inline void put_raw(bytes *b, const void *data, size_t n)
{
    assert_true(n <= sizeof b->data - b->n);
    if (n > 0) memcpy(b->data + b->n, data, n);
    b->n += n;
}
static inline void put_u8(bytes *b, unsigned x)
{
    const unsigned char byte = (unsigned char)x;
    put_raw(b, &byte, 1);
}
static inline void put_u32(bytes *b, uint32_t x)
{
    put_raw(b, &x, sizeof x);
}
static inline void put_u64(bytes *b, uint64_t x)
{
    put_raw(b, &x, sizeof x);
}
static inline void put_text(bytes *b, const char *text)
{
    put_u64(b, strlen(text));
    put_raw(b, text, strlen(text));
}
static inline void put_header(bytes *b, uint32_t version, uint64_t n_tensors, uint64_t n_values)
{
    put_raw(b, "GGUF", 4);
    put_u32(b, version);
    put_u64(b, n_tensors);
    put_u64(b, n_values);
}
static inline void put_key_u32(bytes *b, const char *key, uint32_t value)
{
    put_text(b, key);
    put_u32(b, QN_GGUF_U32);
    put_u32(b, value);
}
static inline void put_tensor(bytes *b, const char *name, uint32_t n_dims, const uint64_t *dims,
                              uint32_t type, uint64_t offset)
{
    put_text(b, name);
    put_u32(b, n_dims);
    for (uint32_t d = 0; d < n_dims && d < 8; d++) put_u64(b, dims[d]);
    put_u32(b, type);
    put_u64(b, offset);
}
static inline void put_zeros(bytes *b, size_t n)
{
    for (size_t i = 0; i < n; i++) put_u8(b, 0);
}
static inline void put_padding(bytes *b, size_t alignment)
{
    while (b->n % alignment != 0) put_u8(b, 0);
}

/* An exact-size copy on the heap, so that a sanitizer sees every read past the end. */
static inline char *exact_copy(const void *data, size_t n)
{
    char *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    if (n > 0) memcpy(copy, data, n);
    return copy;
}

static inline bool strings_equal(qn_string a, qn_string b)
{
    return a.n_bytes == b.n_bytes && (a.n_bytes == 0 || memcmp(a.bytes, b.bytes, a.n_bytes) == 0);
}

static inline void assert_same_model(const qn_gguf *a, const qn_gguf *b)
{
    assert_int_equal(a->n_values, b->n_values);
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (size_t i = 0; i < a->n_values; i++) {
        const qn_gguf_value *x = &a->values[i], *y = &b->values[i];
        assert_true(strings_equal(x->key, y->key));
        assert_true(x->kind == y->kind && x->element_kind == y->element_kind && x->count == y->count);
        assert_true(strings_equal((qn_string){x->data, x->n_bytes}, (qn_string){y->data, y->n_bytes}));
        assert_true((x->strings == NULL) == (y->strings == NULL));
        for (uint64_t j = 0; x->strings != NULL && j < x->count; j++)
            assert_true(strings_equal(x->strings[j], y->strings[j]));
    }
    for (size_t i = 0; i < a->n_tensors; i++) {
        const qn_gguf_tensor *x = &a->tensors[i], *y = &b->tensors[i];
        assert_true(strings_equal(x->name, y->name));
        assert_true(x->type == y->type && x->n_dims == y->n_dims && x->n_values == y->n_values);
        assert_memory_equal(x->dims, y->dims, sizeof x->dims);
        assert_true(strings_equal((qn_string){x->data, x->n_bytes}, (qn_string){y->data, y->n_bytes}));
    }
}

/* Reads everything that a caller can reach, as numbers or bytes. */
static inline uint64_t touch_everything(const qn_gguf *g)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < g->n_values; i++) {
        const qn_gguf_value *v = &g->values[i];
        for (size_t j = 0; j < v->n_bytes; j++) sum += (unsigned char)v->data[j];
        for (uint64_t j = 0; j < v->count; j++) {
            sum += (uint64_t)qn_gguf_element_int(v, j);
            sum += qn_gguf_element_float(v, j) > 0;
            if (v->strings != NULL && v->strings[j].n_bytes > 0) sum += (unsigned char)v->strings[j].bytes[0];
        }
    }
    for (size_t i = 0; i < g->n_tensors; i++)
        for (size_t j = 0; j < g->tensors[i].n_bytes; j++) sum += (unsigned char)g->tensors[i].data[j];
    return sum;
}

/* A folder that is empty at first and gone, with the files in it, after remove_folder. */
typedef struct folder {
    char path[64];
} folder;
static inline folder make_folder(void)
{
    folder f;
    snprintf(f.path, sizeof f.path, "quern-gguf-test-XXXXXX");
    assert_non_null(mkdtemp(f.path));
    return f;
}
static inline const char *in_folder(const folder *f, const char *name)
{
    static char path[8][512];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", f->path, name);
    return p;
}
size_t count_files(const folder *f);
void remove_folder(const folder *f);

/* A small model with every kind of value and several types of tensor. */
void fill_writer(qn_gguf_writer *w);

#endif
