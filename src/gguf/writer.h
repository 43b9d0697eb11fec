/* writer.h: writing GGUF v3 files. Used by makers' commands and by tests, which build their own
 * small models. Collect everything, then write once: to a temporary name beside the target, fsync,
 * rename, so that a half-written file never has the final name. */
#ifndef QN_GGUF_WRITER_H
#define QN_GGUF_WRITER_H

#include "gguf/gguf.h"

typedef struct qn_gguf_writer qn_gguf_writer;

quern_status qn_gguf_writer_create(qn_gguf_writer **out, quern_error *err);
void qn_gguf_writer_destroy(qn_gguf_writer *w); /* NULL is fine */

/* Keys and values are copied. A key that is already there is replaced. An error sticks: later calls
 * do nothing and the final write reports it, so callers may check only that one. Setting
 * general.alignment (a u32) also aligns the data so. */
void qn_gguf_writer_set_u32(qn_gguf_writer *w, const char *key, uint32_t value);
void qn_gguf_writer_set_u64(qn_gguf_writer *w, const char *key, uint64_t value);
void qn_gguf_writer_set_i32(qn_gguf_writer *w, const char *key, int32_t value);
void qn_gguf_writer_set_f32(qn_gguf_writer *w, const char *key, float value);
void qn_gguf_writer_set_bool(qn_gguf_writer *w, const char *key, bool value);
void qn_gguf_writer_set_string(qn_gguf_writer *w, const char *key, const char *text);
void qn_gguf_writer_set_strings(qn_gguf_writer *w, const char *key, const qn_string *strings, size_t count);
/* An array of scalars of `kind`; data holds count little-endian elements. */
void qn_gguf_writer_set_array(qn_gguf_writer *w, const char *key, qn_gguf_kind kind, const void *data,
                              size_t count);
/* Copies a value of another file, whatever its kind. */
void qn_gguf_writer_set_value(qn_gguf_writer *w, const qn_gguf_value *value);

/* A tensor; data (n_bytes as the type and dims demand) is borrowed until the write. */
void qn_gguf_writer_add_tensor(qn_gguf_writer *w, const char *name, qn_tensor_type type, uint32_t n_dims,
                               const uint64_t *dims, const void *data);

quern_status qn_gguf_writer_save(qn_gguf_writer *w, const char *path, quern_error *err);
/* The same bytes in memory, owned by the caller (qn_free). */
quern_status qn_gguf_writer_to_memory(qn_gguf_writer *w, char **bytes, size_t *n_bytes, quern_error *err);

#endif
