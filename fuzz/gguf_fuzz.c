/* gguf_fuzz.c: any bytes as a model file. What is accepted is read to the last value through every
 * getter, then written again and read back: both must agree. */
#include "base/alloc.h"
#include "gguf/gguf.h"
#include "gguf/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "gguf_fuzz: %s\n", what);
    abort();
}

static bool same_bytes(const char *a, size_t n_a, const char *b, size_t n_b)
{
    return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a) == 0);
}

static void get_everything(const qn_gguf *g, const char *key)
{
    uint64_t u = 0;
    float f = 0;
    bool b = false;
    qn_string s = {NULL, 0};
    const qn_string *strings;
    size_t count;
    quern_error err;
    (void)qn_gguf_get_uint(g, key, true, 1, 1024, &u, &err);
    (void)qn_gguf_get_uint(g, key, false, 0, UINT64_MAX, &u, &err);
    (void)qn_gguf_get_float(g, key, true, &f, &err);
    (void)qn_gguf_get_bool(g, key, true, &b, &err);
    (void)qn_gguf_get_string(g, key, true, &s, &err);
    (void)qn_gguf_get_strings(g, key, true, &strings, &count, &err);
    require(u == 0 || qn_gguf_find(g, key) != NULL, "a number from nowhere");
}

static uint64_t read_value(const qn_gguf *g, const qn_gguf_value *v)
{
    uint64_t sum = 0;
    char *key = qn_strndup(v->key.bytes, v->key.n_bytes);
    require(key != NULL, "no memory");
    get_everything(g, key);
    if (strlen(key) == v->key.n_bytes) require(qn_gguf_find(g, key) == v, "a key is not found");
    qn_free(key);
    for (size_t i = 0; i < v->n_bytes; i++) sum += (unsigned char)v->data[i];
    for (uint64_t i = 0; i < v->count; i++) {
        sum += (uint64_t)qn_gguf_element_int(v, i) + (qn_gguf_element_float(v, i) > 0);
        for (size_t j = 0; v->strings != NULL && j < v->strings[i].n_bytes; j++)
            sum += (unsigned char)v->strings[i].bytes[j];
    }
    return sum;
}

static uint64_t read_tensor(const qn_gguf_tensor *t)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < t->n_bytes; i++) sum += (unsigned char)t->data[i];
    return sum;
}

/* False where the writer cannot say it: it takes names as C strings. */
static bool rewrite(qn_gguf_writer *w, const qn_gguf *g)
{
    char name[65];
    for (size_t i = 0; i < g->n_values; i++) qn_gguf_writer_set_value(w, &g->values[i]);
    for (size_t i = 0; i < g->n_tensors; i++) {
        const qn_gguf_tensor *t = &g->tensors[i];
        if (memchr(t->name.bytes, 0, t->name.n_bytes) != NULL) return false;
        memcpy(name, t->name.bytes, t->name.n_bytes);
        name[t->name.n_bytes] = '\0';
        qn_gguf_writer_add_tensor(w, name, t->type, t->n_dims, t->dims, t->data);
    }
    return true;
}

static void compare(const qn_gguf *a, const qn_gguf *b)
{
    require(a->n_values == b->n_values && a->n_tensors == b->n_tensors, "counts differ");
    for (size_t i = 0; i < a->n_values; i++) {
        const qn_gguf_value *x = &a->values[i], *y = &b->values[i];
        require(same_bytes(x->key.bytes, x->key.n_bytes, y->key.bytes, y->key.n_bytes), "keys differ");
        require(x->kind == y->kind && x->count == y->count, "values differ in kind");
        require(same_bytes(x->data, x->n_bytes, y->data, y->n_bytes), "values differ");
    }
    for (size_t i = 0; i < a->n_tensors; i++) {
        const qn_gguf_tensor *x = &a->tensors[i], *y = &b->tensors[i];
        require(x->type == y->type && memcmp(x->dims, y->dims, sizeof x->dims) == 0, "shapes differ");
        require(same_bytes(x->data, x->n_bytes, y->data, y->n_bytes), "tensors differ");
    }
}

static void write_and_compare(const qn_gguf *g)
{
    qn_gguf_writer *w;
    char *bytes;
    size_t n_bytes;
    qn_gguf again;
    quern_error err;
    require(qn_gguf_writer_create(&w, NULL) == QUERN_OK, "no memory");
    if (rewrite(w, g)) {
        require(qn_gguf_writer_to_memory(w, &bytes, &n_bytes, &err) == QUERN_OK, "accepted, but not written");
        require(qn_gguf_parse(&again, bytes, n_bytes, &err) == QUERN_OK, "written, but not accepted");
        compare(g, &again);
        qn_gguf_close(&again);
        qn_free(bytes);
    }
    qn_gguf_writer_destroy(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static volatile uint64_t sink;
    uint64_t sum = 0;
    qn_gguf g;
    quern_error err = {0};
    const long live = qn_alloc_live();
    if (qn_gguf_parse(&g, (const char *)data, size, &err) == QUERN_OK) {
        for (size_t i = 0; i < g.n_values; i++) sum += read_value(&g, &g.values[i]);
        for (size_t i = 0; i < g.n_tensors; i++) sum += read_tensor(&g.tensors[i]);
        get_everything(&g, "not.there");
        write_and_compare(&g);
    } else {
        require(err.message[0] != '\0', "refused without a word");
    }
    qn_gguf_close(&g);
    require(qn_alloc_live() == live, "memory is lost");
    sink = sum;
    (void)sink;
    return 0;
}
