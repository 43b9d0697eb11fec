/* open.c: model files on disk, whole or in parts.
 *
 * A model of N parts lies beside each other as NAME-00001-of-0000N.gguf ... Each part is a GGUF file
 * with split.no (from 0), split.count and, in the first, the metadata of the whole model and
 * split.tensors.count. The convention is that of ggml's gguf-split. */
#include "gguf/gguf.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

enum { SUFFIX_BYTES = sizeof "-00001-of-00002.gguf" - 1, SUFFIX_ROOM = 64 };

static quern_status no_memory(quern_error *err)
{
    return qn_fail(err, QUERN_ERR_NOMEM, "no memory for a part of the model");
}

/* Maps and parses one file alone. */
static quern_status open_one(qn_gguf *g, const char *path, quern_error *err)
{
    qn_file_map map;
    memset(g, 0, sizeof *g);
    quern_status s = qn_file_map_open(&map, path, err);
    if (s != QUERN_OK) return s;
    qn_file_map *files = qn_calloc(1, sizeof *files);
    if (files == NULL) {
        qn_file_map_close(&map);
        s = no_memory(err);
    } else {
        s = qn_gguf_parse(g, map.data, map.n_bytes, err);
        *files = map;
        g->files = files;
        g->n_files = 1;
    }
    if (s != QUERN_OK) qn_fail_prefix(err, "%s", qn_quote(path, strlen(path)).text);
    return s;
}

static uint64_t split_number(const qn_gguf *g, const char *key)
{
    uint64_t n = 0;
    qn_gguf_get_uint(g, key, false, 0, UINT16_MAX, &n, NULL); /* the parser has checked kind and range */
    return n;
}

static void format_suffix(char out[SUFFIX_ROOM], uint64_t no, uint64_t count)
{
    snprintf(out, SUFFIX_ROOM, "-%05u-of-%05u.gguf", (unsigned)no + 1, (unsigned)count);
}

/* The path of part `no`, beside the part `own_no` at `path`. */
static quern_status part_path(char **out, const char *path, uint64_t own_no, uint64_t no, uint64_t count,
                              quern_error *err)
{
    char suffix[SUFFIX_ROOM];
    const size_t n = strlen(path);
    *out = NULL;
    format_suffix(suffix, own_no, count);
    if (n < SUFFIX_BYTES || strcmp(path + n - SUFFIX_BYTES, suffix) != 0)
        return qn_fail(err, QUERN_ERR_FORMAT,
                       "%s: is part %u of %u, so its name must end in '%s' (rename it)",
                       qn_quote(path, n).text, (unsigned)own_no + 1, (unsigned)count, suffix);
    *out = qn_strdup(path);
    if (*out == NULL)
        return qn_fail(err, QUERN_ERR_NOMEM, "%s: no memory for the names of its parts",
                       qn_quote(path, n).text);
    format_suffix(suffix, no, count);
    memcpy(*out + n - SUFFIX_BYTES, suffix, SUFFIX_BYTES);
    return QUERN_OK;
}

/* Opens a part and holds it to what its name says. */
static quern_status open_part(qn_gguf *part, const char *path, uint64_t no, uint64_t count, quern_error *err)
{
    quern_status s = open_one(part, path, err);
    const qn_quoted name = qn_quote(path, strlen(path));
    if (s == QUERN_ERR_NOT_FOUND)
        return qn_fail(err, s, "%s: part %u of %u is missing (all parts must lie in one folder)", name.text,
                       (unsigned)no + 1, (unsigned)count);
    if (s != QUERN_OK) return s;
    const uint64_t found_no = split_number(part, "split.no"), found_count = split_number(part, "split.count");
    if (found_no == no && found_count == count) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_FORMAT,
                   "%s: should be part %u of %u, but split.no is %u and split.count is %u", name.text,
                   (unsigned)no + 1, (unsigned)count, (unsigned)found_no, (unsigned)found_count);
}

/* Takes over the tensors and the mapping of the part. */
static quern_status merge(qn_gguf *g, qn_gguf *part, size_t *file_capacity, size_t *tensor_capacity,
                          quern_error *err)
{
    if (!qn_grow(&g->files, file_capacity, g->n_files + 1, UINT16_MAX, sizeof *g->files) ||
        !qn_grow(&g->tensors, tensor_capacity, g->n_tensors + part->n_tensors, INT32_MAX, sizeof *g->tensors))
        return no_memory(err);
    const uint32_t file = (uint32_t)g->n_files;
    g->files[g->n_files++] = part->files[0];
    memset(&part->files[0], 0, sizeof part->files[0]);
    g->total_bytes += part->total_bytes;
    for (size_t i = 0; i < part->n_tensors; i++) {
        qn_gguf_tensor t = part->tensors[i];
        int64_t existing;
        t.file = file;
        if (!qn_hash_map_add(&g->tensor_index, t.name.bytes, t.name.n_bytes, (uint32_t)g->n_tensors,
                             &existing))
            return no_memory(err);
        if (existing != QN_HASH_NONE)
            return qn_fail(err, QUERN_ERR_FORMAT, "tensor '%s': is in part %u already",
                           qn_quote(t.name.bytes, t.name.n_bytes).text, g->tensors[existing].file + 1);
        g->tensors[g->n_tensors++] = t;
    }
    return QUERN_OK;
}

static quern_status check_tensor_count(const qn_gguf *g, quern_error *err)
{
    uint64_t expected = g->n_tensors;
    const quern_status s = qn_gguf_get_uint(g, "split.tensors.count", false, 0, UINT32_MAX, &expected, err);
    if (s != QUERN_OK || expected == g->n_tensors) return s;
    return qn_fail(err, QUERN_ERR_FORMAT, "its %zu parts hold %zu tensors, but split.tensors.count is %llu",
                   g->n_files, g->n_tensors, (unsigned long long)expected);
}

/* g holds the first part; `path` is that of part own_no. */
static quern_status add_other_parts(qn_gguf *g, const char *path, uint64_t own_no, uint64_t count,
                                    quern_error *err)
{
    size_t file_capacity = 1, tensor_capacity = g->n_tensors;
    quern_status s = QUERN_OK;
    for (uint64_t no = 1; s == QUERN_OK && no < count; no++) {
        char *other;
        qn_gguf part = {0};
        s = part_path(&other, path, own_no, no, count, err);
        if (s == QUERN_OK) s = open_part(&part, other, no, count, err);
        if (s == QUERN_OK) {
            s = merge(g, &part, &file_capacity, &tensor_capacity, err);
            if (s != QUERN_OK) qn_fail_prefix(err, "%s", qn_quote(other, strlen(other)).text);
        }
        qn_gguf_close(&part);
        qn_free(other);
    }
    if (s != QUERN_OK) return s;
    s = check_tensor_count(g, err);
    if (s != QUERN_OK) qn_fail_prefix(err, "%s", qn_quote(path, strlen(path)).text);
    return s;
}

quern_status qn_gguf_open(qn_gguf *g, const char *path, quern_error *err)
{
    quern_status s = open_one(g, path, err);
    const uint64_t count = s == QUERN_OK ? split_number(g, "split.count") : 0;
    if (count < 2) return s;
    const uint64_t own_no = split_number(g, "split.no");
    char *first;
    s = part_path(&first, path, own_no, 0, count, err);
    if (s == QUERN_OK && own_no > 0) { /* the first part has the metadata */
        qn_gguf_close(g);
        s = open_part(g, first, 0, count, err);
    }
    qn_free(first);
    return s == QUERN_OK ? add_other_parts(g, path, own_no, count, err) : s;
}
