/* gguf.h: model files in the GGUF format, versions 2 and 3, little-endian, whole or split.
 *
 * Everything in such a file is hostile until checked. qn_gguf_parse checks all of it once: after
 * success every string, array and tensor lies within the bytes, every size has been multiplied with
 * overflow checks, names are unique, tensors do not overlap. Nothing is copied: strings and tensor
 * data point into the file. Lookup by name is hashed. Immutable after parsing: threads share it.
 *
 * Format: the GGUF specification (ggml, docs/gguf.md). Rules of refusal: docs/safety.md. */
#ifndef QN_GGUF_GGUF_H
#define QN_GGUF_GGUF_H

#include "base/error.h"
#include "base/file.h"
#include "base/hash_map.h"
#include "gguf/tensor_type.h"

typedef enum qn_gguf_kind { /* numbers as in the file */
                            QN_GGUF_U8,
                            QN_GGUF_I8,
                            QN_GGUF_U16,
                            QN_GGUF_I16,
                            QN_GGUF_U32,
                            QN_GGUF_I32,
                            QN_GGUF_F32,
                            QN_GGUF_BOOL,
                            QN_GGUF_STRING,
                            QN_GGUF_ARRAY,
                            QN_GGUF_U64,
                            QN_GGUF_I64,
                            QN_GGUF_F64
} qn_gguf_kind;

typedef struct qn_string { /* borrowed bytes; not NUL-terminated; any bytes may occur */
    const char *bytes;
    size_t n_bytes;
} qn_string;

typedef struct qn_gguf_value {
    qn_string key;
    qn_gguf_kind kind;
    qn_gguf_kind element_kind; /* of an ARRAY; arrays of arrays are refused */
    uint64_t count;            /* of an ARRAY; else 1 */
    const char *data;          /* as in the file: little-endian scalars, unaligned; for STRING the bytes;
                                * for an array of strings each with its u64 length before it */
    size_t n_bytes;            /* of data; for STRING its length */
    const qn_string *strings;  /* [count] for an array of strings; else NULL */
} qn_gguf_value;

typedef struct qn_gguf_tensor {
    qn_string name; /* at most 64 bytes */
    qn_tensor_type type;
    uint32_t n_dims;  /* 1..4 */
    uint64_t dims[4]; /* fastest first; unused ones are 1 */
    uint64_t n_values;
    const char *data; /* whole tensor; a multiple of general.alignment from the file's begin,
                       * which may be as little as 1 */
    size_t n_bytes;
    uint32_t file;      /* index of the split part */
    size_t file_offset; /* of data within that file */
} qn_gguf_tensor;

typedef struct qn_gguf {
    uint32_t version;
    size_t n_values, n_tensors;
    qn_gguf_value *values;
    qn_gguf_tensor *tensors;
    qn_hash_map value_index, tensor_index;
    size_t n_files;
    qn_file_map *files; /* [n_files]; NULL when parsed from memory */
    size_t total_bytes; /* of all parts */
} qn_gguf;

/* Parses one file in memory, which must outlive *g. A header-only parse (tensor data missing) is
 * refused like any truncated file. *g is valid for qn_gguf_close also after an error. */
quern_status qn_gguf_parse(qn_gguf *g, const char *data, size_t n_bytes, quern_error *err);

/* Maps a file and, where split.count > 1, all of its parts (NAME-00001-of-0000N.gguf); any part's
 * path may be given. Messages begin with the path. */
quern_status qn_gguf_open(qn_gguf *g, const char *path, quern_error *err);
void qn_gguf_close(qn_gguf *g);

const qn_gguf_value *qn_gguf_find(const qn_gguf *g, const char *key);          /* or NULL */
const qn_gguf_tensor *qn_gguf_find_tensor(const qn_gguf *g, const char *name); /* or NULL */

/* Typed access. Where the key is missing *out keeps its value (the default) and the call succeeds,
 * unless `required`. A value of the wrong kind or outside [min, max] is an error that names the key
 * and shows what was found. Integers of any width are accepted if the value fits; floats may be F32
 * or F64, and must be finite. */
quern_status qn_gguf_get_uint(const qn_gguf *g, const char *key, bool required, uint64_t min, uint64_t max,
                              uint64_t *out, quern_error *err);
quern_status qn_gguf_get_float(const qn_gguf *g, const char *key, bool required, float *out,
                               quern_error *err);
quern_status qn_gguf_get_bool(const qn_gguf *g, const char *key, bool required, bool *out, quern_error *err);
quern_status qn_gguf_get_string(const qn_gguf *g, const char *key, bool required, qn_string *out,
                                quern_error *err);
/* An array of strings; *strings borrowed from g. Missing: *count = 0. */
quern_status qn_gguf_get_strings(const qn_gguf *g, const char *key, bool required, const qn_string **strings,
                                 size_t *count, quern_error *err);
/* Element i of an array (or the scalar itself for any i) of integers, bools, or floats, as a number. The
 * caller has checked kind and count through qn_gguf_find; i < count. */
int64_t qn_gguf_element_int(const qn_gguf_value *v, uint64_t i);
double qn_gguf_element_float(const qn_gguf_value *v, uint64_t i);
bool qn_gguf_kind_is_integer(qn_gguf_kind kind); /* U8..I64, not bool */
bool qn_gguf_kind_is_float(qn_gguf_kind kind);
size_t qn_gguf_kind_bytes(uint32_t kind);         /* of a scalar; 0 for string, array and unknown numbers */
const char *qn_gguf_kind_name(qn_gguf_kind kind); /* "u32", "array", ...; "unknown" */

/* True if a STRING value equals the text. */
bool qn_string_is(qn_string s, const char *text);

#endif
