/* gguf.c: parsing one GGUF file, every byte of it untrusted.
 *
 *     header   "GGUF", u32 version, u64 n_tensors, u64 n_values
 *     values   n_values   x (string key, u32 kind, the value)
 *     tensors  n_tensors  x (string name, u32 n_dims, u64 dims[n_dims], u32 type, u64 offset)
 *     data     begins at the next multiple of general.alignment (32 if absent)
 *
 * with string = (u64 length, bytes) and array = (u32 element kind, u64 count, elements).
 *
 * Nothing is allocated from a declared count: tables grow as entries really arrive, and an array of
 * strings is walked once before its index is allocated. Format: the GGUF specification (ggml). */
#include "gguf/gguf.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "gguf/file_kind.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "scalars are copied from little-endian files as they are");

enum {
    HEADER_BYTES = 24,
    MIN_VALUE_BYTES = 13,  /* empty key, kind, one byte */
    MIN_TENSOR_BYTES = 32, /* empty name, one dimension */
    MAX_KEY_BYTES = 65535,
    MAX_NAME_BYTES = 64,
    MAX_ENTRIES = 1 << 30,
    DEFAULT_ALIGNMENT = 32,
    MAX_ALIGNMENT = 65536
};

typedef struct reader {
    const char *data;
    size_t n_bytes, pos;
    quern_error *err;
} reader;

static quern_status fail_not_gguf(const char *data, size_t n_bytes, quern_error *err)
{
    if (n_bytes == 0) return qn_fail(err, QUERN_ERR_FORMAT, "is empty (an interrupted download?)");
    const char *kind = qn_file_kind(data, n_bytes);
    if (kind != NULL) return qn_fail(err, QUERN_ERR_FORMAT, "not a GGUF file: looks like %s", kind);
    return qn_fail(err, QUERN_ERR_FORMAT, "not a GGUF file: begins with '%s' instead of 'GGUF'",
                   qn_quote(data, qn_min_size(n_bytes, 8)).text);
}

/* ---- taking bytes ---- */

static quern_status take(reader *r, uint64_t n, const char **bytes)
{
    if (n > r->n_bytes - r->pos)
        return qn_fail(r->err, QUERN_ERR_FORMAT,
                       "needs %llu bytes at offset %zu but the file ends at %zu (truncated download?)",
                       (unsigned long long)n, r->pos, r->n_bytes);
    *bytes = r->data + r->pos;
    r->pos += (size_t)n;
    return QUERN_OK;
}

static quern_status take_u32(reader *r, uint32_t *out)
{
    const char *p = NULL;
    const quern_status s = take(r, sizeof *out, &p);
    if (s == QUERN_OK) memcpy(out, p, sizeof *out);
    return s;
}

static quern_status take_u64(reader *r, uint64_t *out)
{
    const char *p = NULL;
    const quern_status s = take(r, sizeof *out, &p);
    if (s == QUERN_OK) memcpy(out, p, sizeof *out);
    return s;
}

static quern_status take_string(reader *r, qn_string *out)
{
    uint64_t n = 0;
    quern_status s = take_u64(r, &n);
    if (s == QUERN_OK) s = take(r, n, &out->bytes);
    if (s == QUERN_OK) out->n_bytes = (size_t)n;
    return s;
}

/* ---- values ---- */

static quern_status read_scalars(reader *r, qn_gguf_value *v, qn_gguf_kind kind)
{
    uint64_t n_bytes;
    if (!qn_mul_u64(v->count, qn_gguf_kind_bytes(kind), &n_bytes))
        return qn_fail(r->err, QUERN_ERR_FORMAT, "an array of %llu elements is larger than any file",
                       (unsigned long long)v->count);
    const quern_status s = take(r, n_bytes, &v->data);
    if (s != QUERN_OK) return s;
    v->n_bytes = (size_t)n_bytes;
    for (size_t i = 0; kind == QN_GGUF_BOOL && i < v->n_bytes; i++)
        if ((unsigned char)v->data[i] > 1)
            return qn_fail(r->err, QUERN_ERR_FORMAT, "is a bool of value %u, neither 0 nor 1",
                           (unsigned char)v->data[i]);
    return QUERN_OK;
}

static quern_status read_strings(reader *r, qn_gguf_value *v)
{
    const size_t start = r->pos;
    qn_string string;
    quern_status s = QUERN_OK;
    if (v->count > (r->n_bytes - r->pos) / sizeof(uint64_t))
        return qn_fail(
            r->err, QUERN_ERR_FORMAT,
            "an array of %llu strings cannot fit in the %zu bytes left of the file (truncated download?)",
            (unsigned long long)v->count, r->n_bytes - r->pos);
    for (uint64_t i = 0; s == QUERN_OK && i < v->count; i++) {
        s = take_string(r, &string);
        if (s != QUERN_OK)
            qn_fail_prefix(r->err, "string %llu of %llu", (unsigned long long)i + 1,
                           (unsigned long long)v->count);
    }
    if (s != QUERN_OK) return s;
    size_t index_bytes;
    qn_string *strings =
        qn_mul_size((size_t)v->count, sizeof *strings, &index_bytes) ? qn_malloc(index_bytes) : NULL;
    if (strings == NULL)
        return qn_fail(r->err, QUERN_ERR_NOMEM, "no memory for an array of %llu strings",
                       (unsigned long long)v->count);
    v->data = r->data + start;
    v->n_bytes = r->pos - start;
    v->strings = strings;
    r->pos = start; /* again, all of it known to be there */
    for (uint64_t i = 0; i < v->count; i++) take_string(r, &strings[i]);
    return QUERN_OK;
}

static quern_status fail_kind(reader *r, const char *what, uint32_t kind)
{
    return qn_fail(r->err, QUERN_ERR_FORMAT, "has the unknown %s kind %u", what, kind);
}

static quern_status read_array(reader *r, qn_gguf_value *v)
{
    uint32_t kind;
    quern_status s = take_u32(r, &kind);
    if (s == QUERN_OK) s = take_u64(r, &v->count);
    if (s != QUERN_OK) return s;
    if (kind == QN_GGUF_ARRAY) return qn_fail(r->err, QUERN_ERR_UNSUPPORTED, "is an array of arrays");
    if (kind != QN_GGUF_STRING && qn_gguf_kind_bytes(kind) == 0) return fail_kind(r, "element", kind);
    v->element_kind = (qn_gguf_kind)kind;
    return kind == QN_GGUF_STRING ? read_strings(r, v) : read_scalars(r, v, v->element_kind);
}

/* *v may own an array of strings also after an error. */
static quern_status read_value(reader *r, qn_gguf_value *v)
{
    uint32_t kind;
    quern_status s = take_u32(r, &kind);
    if (s != QUERN_OK) return s;
    v->kind = v->element_kind = (qn_gguf_kind)kind;
    v->count = 1;
    if (kind == QN_GGUF_ARRAY) return read_array(r, v);
    if (kind == QN_GGUF_STRING) {
        qn_string string = {NULL, 0};
        s = take_string(r, &string);
        v->data = string.bytes;
        v->n_bytes = string.n_bytes;
        return s;
    }
    return qn_gguf_kind_bytes(kind) > 0 ? read_scalars(r, v, v->kind) : fail_kind(r, "value", kind);
}

static quern_status read_key(reader *r, qn_string *key)
{
    const quern_status s = take_string(r, key);
    if (s == QUERN_OK && key->n_bytes > MAX_KEY_BYTES)
        return qn_fail(r->err, QUERN_ERR_FORMAT, "its name has %zu bytes, at most %d are allowed",
                       key->n_bytes, MAX_KEY_BYTES);
    return s;
}

static quern_status add_unique(qn_hash_map *index, qn_string name, size_t number, quern_error *err)
{
    int64_t existing;
    if (!qn_hash_map_add(index, name.bytes, name.n_bytes, (uint32_t)number, &existing))
        return qn_fail(err, QUERN_ERR_NOMEM, "no memory for the index of names");
    return existing == QN_HASH_NONE ? QUERN_OK : qn_fail(err, QUERN_ERR_FORMAT, "occurs twice");
}

static quern_status read_values(reader *r, qn_gguf *g, uint64_t n_values)
{
    size_t capacity = 0;
    for (uint64_t i = 0; i < n_values; i++) {
        qn_string key = {NULL, 0};
        quern_status s = read_key(r, &key);
        if (s != QUERN_OK) {
            qn_fail_prefix(r->err, "key %llu of %llu", (unsigned long long)i + 1,
                           (unsigned long long)n_values);
            return s;
        }
        if (!qn_grow(&g->values, &capacity, g->n_values + 1, MAX_ENTRIES, sizeof *g->values))
            return qn_fail(r->err, QUERN_ERR_NOMEM, "no memory for %llu keys", (unsigned long long)n_values);
        qn_gguf_value *v = &g->values[g->n_values];
        *v = (qn_gguf_value){.key = key};
        g->n_values++;
        s = add_unique(&g->value_index, key, g->n_values - 1, r->err);
        if (s == QUERN_OK) s = read_value(r, v);
        if (s != QUERN_OK) {
            qn_fail_prefix(r->err, "key '%s'", qn_quote(key.bytes, key.n_bytes).text);
            return s;
        }
    }
    return QUERN_OK;
}

static quern_status get_alignment(const qn_gguf *g, uint64_t *alignment, quern_error *err)
{
    const qn_gguf_value *v = qn_gguf_find(g, "general.alignment");
    *alignment = DEFAULT_ALIGNMENT;
    if (v == NULL) return QUERN_OK;
    if (v->kind != QN_GGUF_U32)
        return qn_fail(err, QUERN_ERR_FORMAT, "key 'general.alignment': is of kind %s, needs u32",
                       qn_gguf_kind_name(v->kind));
    return qn_gguf_get_uint(g, "general.alignment", true, 1, MAX_ALIGNMENT, alignment, err);
}

static quern_status check_alignment(const qn_gguf *g, uint64_t *alignment, quern_error *err)
{
    const quern_status s = get_alignment(g, alignment, err);
    if (s == QUERN_OK && (*alignment & (*alignment - 1)) != 0)
        return qn_fail(err, QUERN_ERR_FORMAT, "key 'general.alignment': is %llu, not a power of two",
                       (unsigned long long)*alignment);
    return s;
}

/* ---- tensors ---- */

static quern_status read_dims(reader *r, qn_gguf_tensor *t)
{
    quern_status s = take_u32(r, &t->n_dims);
    if (s != QUERN_OK) return s;
    if (t->n_dims < 1 || t->n_dims > 4)
        return qn_fail(r->err, QUERN_ERR_FORMAT, "has %u dimensions, needs 1 to 4", t->n_dims);
    t->n_values = 1;
    for (uint32_t d = 0; d < 4; d++) {
        t->dims[d] = 1;
        if (d < t->n_dims) s = take_u64(r, &t->dims[d]);
        if (s != QUERN_OK) return s;
        if (t->dims[d] == 0 || t->dims[d] > INT64_MAX)
            return qn_fail(r->err, QUERN_ERR_FORMAT, "dimension %u is %llu, needs 1 to 2^63-1", d + 1,
                           (unsigned long long)t->dims[d]);
        if (!qn_mul_u64(t->n_values, t->dims[d], &t->n_values) || t->n_values > INT64_MAX)
            return qn_fail(r->err, QUERN_ERR_FORMAT, "its dimensions multiply to more than 2^63-1 values");
    }
    return QUERN_OK;
}

static quern_status size_tensor(qn_gguf_tensor *t, uint32_t type, quern_error *err)
{
    const qn_tensor_type_info *info = qn_tensor_type_get(type);
    if (info->name == NULL)
        return qn_fail(
            err, QUERN_ERR_UNSUPPORTED,
            "its type, number %u, is unknown or was removed from the format (convert the model again)", type);
    if (t->dims[0] % info->block_values != 0)
        return qn_fail(err, QUERN_ERR_FORMAT,
                       "its rows of %llu values are not a multiple of the %u values of a %s block",
                       (unsigned long long)t->dims[0], info->block_values, info->name);
    uint64_t n_bytes;
    if (!qn_mul_u64(t->n_values / info->block_values, info->block_bytes, &n_bytes) || n_bytes > SIZE_MAX)
        return qn_fail(err, QUERN_ERR_FORMAT, "%llu values of type %s are larger than any file",
                       (unsigned long long)t->n_values, info->name);
    t->type = (qn_tensor_type)type;
    t->n_bytes = (size_t)n_bytes;
    return QUERN_OK;
}

/* The data's offset, which in the file counts from the begin of the data, is kept in file_offset as
 * it is: the begin is known only when all tensors have been read. */
static quern_status read_tensor(reader *r, qn_gguf_tensor *t, uint64_t alignment)
{
    uint32_t type = 0;
    uint64_t offset = 0;
    quern_status s = read_dims(r, t);
    if (s == QUERN_OK) s = take_u32(r, &type);
    if (s == QUERN_OK) s = take_u64(r, &offset);
    if (s == QUERN_OK) s = size_tensor(t, type, r->err);
    if (s != QUERN_OK) return s;
    if (offset % alignment != 0)
        return qn_fail(r->err, QUERN_ERR_FORMAT, "its offset %llu is not a multiple of the alignment %llu",
                       (unsigned long long)offset, (unsigned long long)alignment);
    if (offset > SIZE_MAX / 2)
        return qn_fail(r->err, QUERN_ERR_FORMAT, "its offset %llu is beyond any file",
                       (unsigned long long)offset);
    t->file_offset = (size_t)offset;
    return QUERN_OK;
}

static quern_status read_name(reader *r, qn_string *name)
{
    const quern_status s = take_string(r, name);
    if (s == QUERN_OK && name->n_bytes > MAX_NAME_BYTES)
        return qn_fail(r->err, QUERN_ERR_FORMAT, "its name '%s' has %zu bytes, at most %d are allowed",
                       qn_quote(name->bytes, name->n_bytes).text, name->n_bytes, MAX_NAME_BYTES);
    return s;
}

static quern_status read_tensors(reader *r, qn_gguf *g, uint64_t n_tensors, uint64_t alignment)
{
    size_t capacity = 0;
    for (uint64_t i = 0; i < n_tensors; i++) {
        qn_string name = {NULL, 0};
        quern_status s = read_name(r, &name);
        if (s != QUERN_OK) {
            qn_fail_prefix(r->err, "tensor %llu of %llu", (unsigned long long)i + 1,
                           (unsigned long long)n_tensors);
            return s;
        }
        if (!qn_grow(&g->tensors, &capacity, g->n_tensors + 1, MAX_ENTRIES, sizeof *g->tensors))
            return qn_fail(r->err, QUERN_ERR_NOMEM, "no memory for %llu tensors",
                           (unsigned long long)n_tensors);
        qn_gguf_tensor *t = &g->tensors[g->n_tensors];
        *t = (qn_gguf_tensor){.name = name};
        g->n_tensors++;
        s = add_unique(&g->tensor_index, name, g->n_tensors - 1, r->err);
        if (s == QUERN_OK) s = read_tensor(r, t, alignment);
        if (s != QUERN_OK) {
            qn_fail_prefix(r->err, "tensor '%s'", qn_quote(name.bytes, name.n_bytes).text);
            return s;
        }
    }
    return QUERN_OK;
}

static quern_status place_tensors(reader *r, qn_gguf *g, uint64_t alignment)
{
    uint64_t start;
    if (!qn_align_up_u64(r->pos, alignment, &start)) start = UINT64_MAX / 2;
    for (size_t i = 0; i < g->n_tensors; i++) {
        qn_gguf_tensor *t = &g->tensors[i];
        const uint64_t offset = start + t->file_offset; /* both at most half of the range */
        if (offset > r->n_bytes || t->n_bytes > r->n_bytes - offset)
            return qn_fail(
                r->err, QUERN_ERR_FORMAT,
                "tensor '%s': needs %zu bytes at offset %llu but the file ends at %zu (truncated download?)",
                qn_quote(t->name.bytes, t->name.n_bytes).text, t->n_bytes, (unsigned long long)offset,
                r->n_bytes);
        t->file_offset = (size_t)offset;
        t->data = r->data + t->file_offset;
    }
    return QUERN_OK;
}

static int by_offset(const void *a, const void *b)
{
    const qn_gguf_tensor *x = *(qn_gguf_tensor *const *)a, *y = *(qn_gguf_tensor *const *)b;
    return x->file_offset < y->file_offset ? -1 : x->file_offset > y->file_offset;
}

static bool overlap(const qn_gguf_tensor *first, const qn_gguf_tensor *next)
{
    return next->file_offset < first->file_offset + first->n_bytes; /* within the file, so no overflow */
}

static quern_status check_overlaps(const qn_gguf *g, quern_error *err)
{
    size_t in_order = 1;
    while (in_order < g->n_tensors && !overlap(&g->tensors[in_order - 1], &g->tensors[in_order])) in_order++;
    if (in_order >= g->n_tensors) return QUERN_OK; /* as most files are: ascending, apart */
    const qn_gguf_tensor **sorted = qn_calloc(g->n_tensors, sizeof *sorted);
    if (sorted == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "no memory to sort %zu tensors", g->n_tensors);
    for (size_t i = 0; i < g->n_tensors; i++) sorted[i] = &g->tensors[i];
    qsort(sorted, g->n_tensors, sizeof *sorted, by_offset);
    quern_status s = QUERN_OK;
    for (size_t i = 1; s == QUERN_OK && i < g->n_tensors; i++) {
        const qn_gguf_tensor *a = sorted[i - 1], *b = sorted[i];
        if (overlap(a, b))
            s = qn_fail(
                err, QUERN_ERR_FORMAT,
                "tensor '%s': begins at offset %zu inside tensor '%s', which has %zu bytes at offset %zu",
                qn_quote(b->name.bytes, b->name.n_bytes).text, b->file_offset,
                qn_quote(a->name.bytes, a->name.n_bytes).text, a->n_bytes, a->file_offset);
    }
    qn_free(sorted);
    return s;
}

/* ---- the whole ---- */

static quern_status check_version(uint32_t version, quern_error *err)
{
    if (version == 2 || version == 3) return QUERN_OK;
    if ((version & 0xffff) == 0 && version != 0)
        return qn_fail(
            err, QUERN_ERR_UNSUPPORTED,
            "is a big-endian GGUF file; only little-endian ones are supported (convert the model again)");
    return qn_fail(err, QUERN_ERR_UNSUPPORTED, "GGUF version %u is not supported, only 2 and 3 are%s",
                   version, version < 2 ? " (convert the model again)" : " (a newer program may read it)");
}

static quern_status check_count(reader *r, const char *what, uint64_t count, size_t min_bytes)
{
    const size_t left = r->n_bytes - r->pos;
    if (count <= left / min_bytes && count <= MAX_ENTRIES) return QUERN_OK;
    return qn_fail(r->err, QUERN_ERR_FORMAT,
                   "header: %llu %s cannot fit in the %zu bytes that follow (truncated or damaged?)",
                   (unsigned long long)count, what, left);
}

static quern_status read_header(reader *r, uint32_t *version, uint64_t *n_tensors, uint64_t *n_values)
{
    if (r->n_bytes == 0 || memcmp(r->data, "GGUF", qn_min_size(r->n_bytes, 4)) != 0)
        return fail_not_gguf(r->data, r->n_bytes, r->err);
    if (r->n_bytes < HEADER_BYTES)
        return qn_fail(r->err, QUERN_ERR_FORMAT,
                       "the file ends at %zu within the header of %d bytes (truncated download?)", r->n_bytes,
                       HEADER_BYTES);
    r->pos = 4;
    quern_status s = take_u32(r, version);
    if (s == QUERN_OK) s = check_version(*version, r->err);
    if (s == QUERN_OK) s = take_u64(r, n_tensors);
    if (s == QUERN_OK) s = take_u64(r, n_values);
    if (s == QUERN_OK) s = check_count(r, "tensors", *n_tensors, MIN_TENSOR_BYTES);
    if (s == QUERN_OK) s = check_count(r, "keys", *n_values, MIN_VALUE_BYTES);
    return s;
}

/* A merged file may say split.count 0. */
static quern_status check_split(const qn_gguf *g, quern_error *err)
{
    uint64_t no = 0, count = 0;
    quern_status s = qn_gguf_get_uint(g, "split.count", false, 0, UINT16_MAX, &count, err);
    if (s == QUERN_OK) s = qn_gguf_get_uint(g, "split.no", false, 0, UINT16_MAX, &no, err);
    if (s == QUERN_OK && no > 0 && no >= count)
        return qn_fail(err, QUERN_ERR_FORMAT, "key 'split.no': is %llu, but split.count is %llu",
                       (unsigned long long)no, (unsigned long long)count);
    return s;
}

quern_status qn_gguf_parse(qn_gguf *g, const char *data, size_t n_bytes, quern_error *err)
{
    memset(g, 0, sizeof *g);
    reader r = {.data = data, .n_bytes = n_bytes, .err = err};
    uint64_t n_tensors = 0, n_values = 0, alignment = DEFAULT_ALIGNMENT;
    quern_status s = read_header(&r, &g->version, &n_tensors, &n_values);
    if (s == QUERN_OK && (!qn_hash_map_init(&g->value_index, 0) || !qn_hash_map_init(&g->tensor_index, 0)))
        s = qn_fail(err, QUERN_ERR_NOMEM, "no memory for the index of names");
    if (s == QUERN_OK) s = read_values(&r, g, n_values);
    if (s == QUERN_OK) s = check_alignment(g, &alignment, err);
    if (s == QUERN_OK) s = check_split(g, err);
    if (s == QUERN_OK) s = read_tensors(&r, g, n_tensors, alignment);
    if (s == QUERN_OK) s = place_tensors(&r, g, alignment);
    if (s == QUERN_OK) s = check_overlaps(g, err);
    g->total_bytes = n_bytes;
    return s;
}

void qn_gguf_close(qn_gguf *g)
{
    for (size_t i = 0; i < g->n_values; i++) qn_free((void *)(uintptr_t)g->values[i].strings);
    qn_free(g->values);
    qn_free(g->tensors);
    qn_hash_map_deinit(&g->value_index);
    qn_hash_map_deinit(&g->tensor_index);
    for (size_t i = 0; i < g->n_files; i++) qn_file_map_close(&g->files[i]);
    qn_free(g->files);
    memset(g, 0, sizeof *g);
}
