/* writer.c: collecting a GGUF file and writing it in one go.
 *
 * A value is kept as its bytes in the file (kind and payload), so replacing, copying and writing know
 * nothing of kinds. What this writes, gguf.c accepts: the same limits are checked here, when the
 * caller still knows what it meant. The file appears under its name only when it is whole and on disk. */
#include "gguf/writer.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/checked.h"
#include "base/hash_map.h"
#include "base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_KEY_BYTES = 65535,
    MAX_NAME_BYTES = 64,
    DEFAULT_ALIGNMENT = 32,
    MAX_ALIGNMENT = 65536,
    VERSION = 3
};
static const size_t MAX_BYTES = (size_t)1 << 40; /* of one value or of the header */

typedef struct entry {
    char *key;
    size_t key_bytes;
    char *encoded; /* u32 kind, then the value */
    size_t n_bytes;
} entry;

typedef struct pending_tensor {
    char *name;
    size_t name_bytes, n_bytes;
    qn_tensor_type type;
    uint32_t n_dims;
    uint64_t dims[4];
    const void *data;
} pending_tensor;

struct qn_gguf_writer {
    entry *entries;
    pending_tensor *tensors;
    size_t n_entries, entry_capacity, n_tensors, tensor_capacity;
    qn_hash_map entry_index, tensor_index;
    uint32_t alignment;
    quern_error error; /* the first; status QUERN_OK while all is well */
};

quern_status qn_gguf_writer_create(qn_gguf_writer **out, quern_error *err)
{
    *out = NULL;
    qn_gguf_writer *w = qn_calloc(1, sizeof *w);
    if (w == NULL || !qn_hash_map_init(&w->entry_index, 0) || !qn_hash_map_init(&w->tensor_index, 0)) {
        qn_gguf_writer_destroy(w);
        return qn_fail(err, QUERN_ERR_NOMEM, "GGUF writer: no memory");
    }
    w->alignment = DEFAULT_ALIGNMENT;
    *out = w;
    return QUERN_OK;
}

void qn_gguf_writer_destroy(qn_gguf_writer *w)
{
    if (w == NULL) return;
    for (size_t i = 0; i < w->n_entries; i++) {
        qn_free(w->entries[i].key);
        qn_free(w->entries[i].encoded);
    }
    for (size_t i = 0; i < w->n_tensors; i++) qn_free(w->tensors[i].name);
    qn_free(w->entries);
    qn_free(w->tensors);
    qn_hash_map_deinit(&w->entry_index);
    qn_hash_map_deinit(&w->tensor_index);
    qn_free(w);
}

static bool ok(const qn_gguf_writer *w)
{
    return w->error.status == QUERN_OK;
}

static void fail_no_memory(qn_gguf_writer *w, const char *what, const char *name, size_t n_bytes)
{
    qn_fail(&w->error, QUERN_ERR_NOMEM, "%s '%s': no memory to write it", what, qn_quote(name, n_bytes).text);
}

/* ---- values ---- */

static void append_u32(qn_buffer *b, uint32_t x)
{
    qn_buffer_append(b, &x, sizeof x);
}
static void append_u64(qn_buffer *b, uint64_t x)
{
    qn_buffer_append(b, &x, sizeof x);
}
static void append_string(qn_buffer *b, const char *bytes, size_t n_bytes)
{
    append_u64(b, n_bytes);
    qn_buffer_append(b, bytes, n_bytes);
}

/* Keys that change how the file itself is laid out. */
static bool apply_layout_key(qn_gguf_writer *w, const char *key, size_t key_bytes, const char *encoded,
                             size_t n_bytes)
{
    uint32_t kind, alignment;
    if (key_bytes != strlen("general.alignment") || memcmp(key, "general.alignment", key_bytes) != 0)
        return true;
    memcpy(&kind, encoded, sizeof kind);
    if (kind == QN_GGUF_U32 && n_bytes == sizeof kind + sizeof alignment) {
        memcpy(&alignment, encoded + sizeof kind, sizeof alignment);
        w->alignment = alignment;
        if (alignment > 0 && alignment <= MAX_ALIGNMENT && (alignment & (alignment - 1)) == 0) return true;
    }
    qn_fail(&w->error, QUERN_ERR_ARGUMENT,
            "key 'general.alignment': needs a u32 that is a power of two up to %d", MAX_ALIGNMENT);
    return false;
}

static void put(qn_gguf_writer *w, const char *key, size_t key_bytes, char *encoded, size_t n_bytes)
{
    const int64_t existing = qn_hash_map_get(&w->entry_index, key, key_bytes);
    if (existing != QN_HASH_NONE) {
        qn_free(w->entries[existing].encoded);
        w->entries[existing].encoded = encoded;
        w->entries[existing].n_bytes = n_bytes;
        return;
    }
    char *copy = qn_strndup(key, key_bytes);
    if (copy == NULL ||
        !qn_grow(&w->entries, &w->entry_capacity, w->n_entries + 1, INT32_MAX, sizeof *w->entries) ||
        !qn_hash_map_add(&w->entry_index, copy, key_bytes, (uint32_t)w->n_entries, NULL)) {
        qn_free(copy);
        qn_free(encoded);
        fail_no_memory(w, "key", key, key_bytes);
        return;
    }
    w->entries[w->n_entries++] = (entry){copy, key_bytes, encoded, n_bytes};
}

/* Takes what the buffer holds as the value of the key. */
static void set(qn_gguf_writer *w, const char *key, size_t key_bytes, qn_buffer *value)
{
    size_t n_bytes = 0;
    char *encoded = qn_buffer_take(value, &n_bytes);
    if (ok(w) && encoded == NULL) fail_no_memory(w, "key", key, key_bytes);
    if (ok(w) && key_bytes > MAX_KEY_BYTES)
        qn_fail(&w->error, QUERN_ERR_ARGUMENT, "key '%s': its name has %zu bytes, at most %d are allowed",
                qn_quote(key, key_bytes).text, key_bytes, MAX_KEY_BYTES);
    if (ok(w) && apply_layout_key(w, key, key_bytes, encoded, n_bytes))
        put(w, key, key_bytes, encoded, n_bytes);
    else qn_free(encoded);
}

static void set_scalar(qn_gguf_writer *w, const char *key, qn_gguf_kind kind, const void *bytes,
                       size_t n_bytes)
{
    qn_buffer b = {.max_bytes = MAX_BYTES};
    append_u32(&b, (uint32_t)kind);
    qn_buffer_append(&b, bytes, n_bytes);
    set(w, key, strlen(key), &b);
}

void qn_gguf_writer_set_u32(qn_gguf_writer *w, const char *key, uint32_t value)
{
    set_scalar(w, key, QN_GGUF_U32, &value, sizeof value);
}
void qn_gguf_writer_set_u64(qn_gguf_writer *w, const char *key, uint64_t value)
{
    set_scalar(w, key, QN_GGUF_U64, &value, sizeof value);
}
void qn_gguf_writer_set_i32(qn_gguf_writer *w, const char *key, int32_t value)
{
    set_scalar(w, key, QN_GGUF_I32, &value, sizeof value);
}
void qn_gguf_writer_set_f32(qn_gguf_writer *w, const char *key, float value)
{
    set_scalar(w, key, QN_GGUF_F32, &value, sizeof value);
}
void qn_gguf_writer_set_bool(qn_gguf_writer *w, const char *key, bool value)
{
    const uint8_t byte = value;
    set_scalar(w, key, QN_GGUF_BOOL, &byte, sizeof byte);
}

void qn_gguf_writer_set_string(qn_gguf_writer *w, const char *key, const char *text)
{
    qn_buffer b = {.max_bytes = MAX_BYTES};
    append_u32(&b, QN_GGUF_STRING);
    append_string(&b, text, strlen(text));
    set(w, key, strlen(key), &b);
}

static void append_array(qn_buffer *b, qn_gguf_kind kind, uint64_t count, const void *data, size_t n_bytes)
{
    append_u32(b, QN_GGUF_ARRAY);
    append_u32(b, (uint32_t)kind);
    append_u64(b, count);
    qn_buffer_append(b, data, n_bytes);
}

void qn_gguf_writer_set_strings(qn_gguf_writer *w, const char *key, const qn_string *strings, size_t count)
{
    qn_buffer b = {.max_bytes = MAX_BYTES};
    append_array(&b, QN_GGUF_STRING, count, NULL, 0);
    for (size_t i = 0; i < count; i++) append_string(&b, strings[i].bytes, strings[i].n_bytes);
    set(w, key, strlen(key), &b);
}

void qn_gguf_writer_set_array(qn_gguf_writer *w, const char *key, qn_gguf_kind kind, const void *data,
                              size_t count)
{
    const size_t element_bytes = qn_gguf_kind_bytes(kind);
    size_t n_bytes;
    if (element_bytes == 0 || !qn_mul_size(count, element_bytes, &n_bytes)) {
        if (ok(w))
            qn_fail(&w->error, QUERN_ERR_ARGUMENT,
                    "key '%s': %zu elements of kind %s cannot be an array of scalars", key, count,
                    qn_gguf_kind_name(kind));
        return;
    }
    const unsigned char *bytes = data;
    for (size_t i = 0; kind == QN_GGUF_BOOL && i < count && ok(w); i++)
        if (bytes[i] > 1)
            qn_fail(&w->error, QUERN_ERR_ARGUMENT, "key '%s': element %zu is a bool of value %u", key, i,
                    bytes[i]);
    qn_buffer b = {.max_bytes = MAX_BYTES};
    append_array(&b, kind, count, data, n_bytes);
    set(w, key, strlen(key), &b);
}

void qn_gguf_writer_set_value(qn_gguf_writer *w, const qn_gguf_value *v)
{
    qn_buffer b = {.max_bytes = MAX_BYTES};
    if (v->kind == QN_GGUF_ARRAY) {
        append_array(&b, v->element_kind, v->count, v->data, v->n_bytes);
    } else {
        append_u32(&b, (uint32_t)v->kind);
        if (v->kind == QN_GGUF_STRING) append_u64(&b, v->n_bytes);
        qn_buffer_append(&b, v->data, v->n_bytes);
    }
    set(w, v->key.bytes, v->key.n_bytes, &b);
}

/* ---- tensors ---- */

static bool size_tensor(pending_tensor *t, quern_error *err)
{
    const qn_tensor_type_info *info = qn_tensor_type_get((uint32_t)t->type);
    uint64_t n_values = 1, n_bytes = 0;
    bool fits = t->n_dims >= 1 && t->n_dims <= 4 && info->name != NULL;
    for (uint32_t d = 0; fits && d < t->n_dims; d++)
        fits = t->dims[d] > 0 && qn_mul_u64(n_values, t->dims[d], &n_values);
    fits = fits && t->dims[0] % info->block_values == 0 &&
           qn_mul_u64(n_values / info->block_values, info->block_bytes, &n_bytes) && n_bytes <= SIZE_MAX / 2;
    t->n_bytes = (size_t)n_bytes;
    if (!fits)
        qn_fail(err, QUERN_ERR_ARGUMENT,
                "tensor '%s': type %u, %u dimensions, rows of %llu: not a possible shape",
                qn_quote(t->name, t->name_bytes).text, (unsigned)t->type, t->n_dims,
                t->n_dims > 0 ? (unsigned long long)t->dims[0] : 0);
    return fits;
}

static bool add_tensor(qn_gguf_writer *w, pending_tensor *t, const char *name)
{
    int64_t existing = QN_HASH_NONE;
    if (t->name_bytes > MAX_NAME_BYTES) {
        qn_fail(&w->error, QUERN_ERR_ARGUMENT, "tensor '%s': its name has %zu bytes, at most %d are allowed",
                qn_quote(name, t->name_bytes).text, t->name_bytes, MAX_NAME_BYTES);
        return false;
    }
    t->name = qn_strndup(name, t->name_bytes);
    if (t->name == NULL ||
        !qn_grow(&w->tensors, &w->tensor_capacity, w->n_tensors + 1, INT32_MAX, sizeof *w->tensors)) {
        fail_no_memory(w, "tensor", name, t->name_bytes);
        return false;
    }
    if (!size_tensor(t, &w->error)) return false;
    if (!qn_hash_map_add(&w->tensor_index, t->name, t->name_bytes, (uint32_t)w->n_tensors, &existing)) {
        fail_no_memory(w, "tensor", name, t->name_bytes);
        return false;
    }
    if (existing == QN_HASH_NONE) return true;
    qn_fail(&w->error, QUERN_ERR_ARGUMENT, "tensor '%s': is added twice", qn_quote(name, t->name_bytes).text);
    return false;
}

void qn_gguf_writer_add_tensor(qn_gguf_writer *w, const char *name, qn_tensor_type type, uint32_t n_dims,
                               const uint64_t *dims, const void *data)
{
    if (!ok(w)) return;
    pending_tensor t = {.name_bytes = strlen(name), .type = type, .n_dims = n_dims, .data = data};
    for (uint32_t d = 0; d < 4; d++) t.dims[d] = d < n_dims ? dims[d] : 1;
    if (add_tensor(w, &t, name)) w->tensors[w->n_tensors++] = t;
    else qn_free(t.name);
}

/* ---- writing ---- */

/* Everything up to the first tensor's data, padded; *total is the size of the whole file. */
static quern_status encode_header(const qn_gguf_writer *w, qn_buffer *b, uint64_t *total, quern_error *err)
{
    qn_buffer_puts(b, "GGUF");
    append_u32(b, VERSION);
    append_u64(b, w->n_tensors);
    append_u64(b, w->n_entries);
    for (size_t i = 0; i < w->n_entries; i++) {
        append_string(b, w->entries[i].key, w->entries[i].key_bytes);
        qn_buffer_append(b, w->entries[i].encoded, w->entries[i].n_bytes);
    }
    uint64_t offset = 0;
    bool fits = true;
    for (size_t i = 0; fits && i < w->n_tensors; i++) {
        const pending_tensor *t = &w->tensors[i];
        append_string(b, t->name, t->name_bytes);
        append_u32(b, t->n_dims);
        qn_buffer_append(b, t->dims, t->n_dims * sizeof t->dims[0]);
        append_u32(b, (uint32_t)t->type);
        append_u64(b, offset);
        fits = qn_add_u64(offset, t->n_bytes, &offset) && qn_align_up_u64(offset, w->alignment, &offset);
    }
    while (!b->failed && b->n_bytes % w->alignment != 0) qn_buffer_putc(b, '\0');
    if (b->failed) return qn_fail(err, QUERN_ERR_NOMEM, "no memory for the header");
    fits = fits && qn_add_u64(offset, b->n_bytes, total) && *total <= INT64_MAX;
    return fits ? QUERN_OK : qn_fail(err, QUERN_ERR_ARGUMENT, "its tensors are larger than any file");
}

/* Where the bytes go: a file, or memory when fd < 0. */
typedef struct sink {
    int fd;
    char *bytes;
    size_t n_bytes;
} sink;

static bool emit(sink *to, const void *data, size_t n_bytes)
{
    const char *bytes = data;
    if (to->fd < 0) {
        if (n_bytes > 0) memcpy(to->bytes + to->n_bytes, bytes, n_bytes);
        to->n_bytes += n_bytes;
        return true;
    }
    for (size_t done = 0; done < n_bytes;) {
        const ssize_t n = write(to->fd, bytes + done, n_bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    to->n_bytes += n_bytes;
    return true;
}

static bool emit_all(const qn_gguf_writer *w, const qn_buffer *header, sink *to)
{
    static const char zeros[4096];
    if (!emit(to, header->data, header->n_bytes)) return false;
    for (size_t i = 0; i < w->n_tensors; i++) {
        if (!emit(to, w->tensors[i].data, w->tensors[i].n_bytes)) return false;
        for (size_t pad;
             (pad = -to->n_bytes & (w->alignment - 1)) > 0;) /* after the last one too: ggml reads it */
            if (!emit(to, zeros, qn_min_size(pad, sizeof zeros))) return false;
    }
    return true;
}

quern_status qn_gguf_writer_to_memory(qn_gguf_writer *w, char **bytes, size_t *n_bytes, quern_error *err)
{
    *bytes = NULL;
    *n_bytes = 0;
    if (!ok(w)) return qn_fail(err, w->error.status, "%s", w->error.message);
    qn_buffer header = {.max_bytes = MAX_BYTES};
    uint64_t total = 0;
    quern_status s = encode_header(w, &header, &total, err);
    sink to = {.fd = -1};
    if (s == QUERN_OK) {
        to.bytes = total <= SIZE_MAX ? qn_malloc((size_t)total) : NULL;
        if (to.bytes == NULL)
            s = qn_fail(err, QUERN_ERR_NOMEM, "no memory for a file of %llu bytes",
                        (unsigned long long)total);
    }
    if (s == QUERN_OK) {
        emit_all(w, &header, &to);
        *bytes = to.bytes;
        *n_bytes = to.n_bytes;
    }
    qn_buffer_deinit(&header);
    return s;
}

/* Creates a file of a new name beside `path`. */
static int create_beside(const char *path, qn_buffer *name)
{
    for (int attempt = 0; attempt < 16; attempt++) {
        qn_buffer_clear(name);
        if (!qn_buffer_printf(name, "%s.%08x.part", path, (unsigned)qn_random_seed()))
            return errno = ENOMEM, -1;
        const int fd = open(name->data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

/* The rename itself must reach the disk. Not every file system can do that for a directory. */
static void sync_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash == NULL ? qn_strdup(".") : qn_strndup(path, (size_t)(slash - path) + 1);
    const int fd = directory != NULL ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    qn_free(directory);
}

/* Asks for the disk space at once, so that a full disk is known before hours of work are written. */
static bool reserve_space(int fd, uint64_t total)
{
    return fallocate(fd, 0, 0, (off_t)total) == 0 || (errno != ENOSPC && errno != EDQUOT && errno != EFBIG);
}

static bool write_file(const qn_gguf_writer *w, const qn_buffer *header, uint64_t total,
                       const char *temporary, int fd, const char *path)
{
    sink to = {.fd = fd};
    bool good = reserve_space(fd, total) && emit_all(w, header, &to) && fsync(fd) == 0;
    int why = errno;
    if (close(fd) != 0 && good) good = false, why = errno;
    if (good && rename(temporary, path) != 0) good = false, why = errno;
    if (!good) unlink(temporary);
    errno = why;
    return good;
}

static quern_status save_as(const qn_gguf_writer *w, const qn_buffer *header, uint64_t total,
                            const char *path, quern_error *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return qn_fail(err, QUERN_ERR_IO, "exists and is not a regular file (choose another name)");
    qn_buffer temporary = {0};
    const int fd = create_beside(path, &temporary);
    const bool good = fd >= 0 && write_file(w, header, total, temporary.data, fd, path);
    const int why = errno;
    qn_buffer_deinit(&temporary);
    if (!good && why == ENOMEM) return qn_fail(err, QUERN_ERR_NOMEM, "no memory for its name");
    if (!good)
        return qn_fail(err, QUERN_ERR_IO, "cannot write %llu bytes: %s%s", (unsigned long long)total,
                       strerror(why),
                       why == ENOSPC || why == EDQUOT ? " (free some space; nothing was changed)" : "");
    sync_directory_of(path);
    return QUERN_OK;
}

quern_status qn_gguf_writer_save(qn_gguf_writer *w, const char *path, quern_error *err)
{
    qn_buffer header = {.max_bytes = MAX_BYTES};
    uint64_t total = 0;
    quern_status s = ok(w) ? encode_header(w, &header, &total, err)
                           : qn_fail(err, w->error.status, "%s", w->error.message);
    if (s == QUERN_OK) s = save_as(w, &header, total, path, err);
    qn_buffer_deinit(&header);
    if (s != QUERN_OK) qn_fail_prefix(err, "%s", qn_quote(path, strlen(path)).text);
    return s;
}
