/* pack_file.c: see pack_file.h. */
#include "model/pack_file.h"

#include "base/checked.h"
#include "base/file_fields.h"

#include <string.h>
#include <xxhash.h>

static const char MAGIC[8] = {'Q', 'U', 'E', 'R', 'N', 'P', 'A', 'K'};
enum { VERSION = 2, TENSOR_BYTES = 40, SAMPLE_BYTES = 4096, N_SAMPLES = 64 };

/* Places of the fixed part. */
enum {
    AT_VERSION = 8,
    AT_LAYOUT = 12,
    AT_TENSORS = 16,
    AT_PIECES = 20,
    AT_PATH = 24, /* its length; 4 bytes of zero follow */
    AT_DATA_OFFSET = 32,
    AT_DATA_BYTES = 40,
    AT_SOURCE_BYTES = 48,
    AT_SOURCE_MODIFIED = 56,
    AT_KEY = 64
};

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static uint64_t get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}
static void put64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

/* ---- hashes ---------------------------------------------------------------------------------------- */

void qn_pack_digest(uint8_t out[QN_PACK_DIGEST_BYTES], const void *bytes, size_t n_bytes)
{
    qn_digest_put(out, bytes, n_bytes);
}

uint64_t qn_pack_checksum(const void *bytes, size_t n_bytes)
{
    return XXH64(bytes, n_bytes, 0);
}

/* ---- the key --------------------------------------------------------------------------------------- */

/* The key of what was added before, then of this: the digest of both digests. */
static void add(qn_pack_key *key, const void *bytes, size_t n_bytes)
{
    uint8_t both[2 * QN_PACK_DIGEST_BYTES];
    memcpy(both, key->bytes, QN_PACK_DIGEST_BYTES);
    qn_pack_digest(both + QN_PACK_DIGEST_BYTES, bytes, n_bytes);
    qn_pack_digest(key->bytes, both, sizeof both);
}

static void add_number(qn_pack_key *key, uint64_t v)
{
    add(key, &v, sizeof v);
}

/* Pages at even distances, the first and the last among them. */
static void add_samples(qn_pack_key *key, const char *data, size_t n_bytes)
{
    if (n_bytes <= (size_t)N_SAMPLES * SAMPLE_BYTES) {
        add(key, data, n_bytes);
        return;
    }
    const size_t last = n_bytes - SAMPLE_BYTES, step = last / (N_SAMPLES - 1);
    for (size_t i = 0; i < N_SAMPLES; i++)
        add(key, data + (i + 1 < N_SAMPLES ? i * step : last), SAMPLE_BYTES);
}

void qn_pack_key_make(qn_pack_key *key, const qn_gguf *g)
{
    memset(key, 0, sizeof *key);
    add(key, MAGIC, sizeof MAGIC);
    add_number(key, VERSION);
    add_number(key, QN_MATRIX_LAYOUT);
    add_number(key, g->n_files);
    for (size_t f = 0; f < g->n_files; f++) {
        const qn_file_map *file = &g->files[f];
        size_t head = file->n_bytes; /* up to the first tensor */
        for (size_t i = 0; i < g->n_tensors; i++)
            if (g->tensors[i].file == f) head = qn_min_size(head, g->tensors[i].file_offset);
        add_number(key, file->n_bytes);
        add_number(key, (uint64_t)file->modified_ns);
        add_number(key, (uint64_t)file->changed_ns);
        add_number(key, head);
        add(key, file->data, head);
        add_samples(key, file->data + head, file->n_bytes - head);
    }
}

/* ---- reading --------------------------------------------------------------------------------------- */

size_t qn_pack_header_bytes(const uint8_t fixed[QN_PACK_FIXED_BYTES])
{
    if (memcmp(fixed, MAGIC, sizeof MAGIC) != 0 || get32(fixed + AT_VERSION) != VERSION) return 0;
    const uint64_t n = QN_PACK_FIXED_BYTES + (uint64_t)get32(fixed + AT_TENSORS) * TENSOR_BYTES +
                       (uint64_t)get32(fixed + AT_PIECES) * 8 + get32(fixed + AT_PATH) + QN_PACK_DIGEST_BYTES;
    return get32(fixed + AT_PATH) <= QN_PACK_MAX_PATH && n <= QN_PACK_MAX_HEADER ? (size_t)n : 0;
}

static quern_status malformed(quern_error *err, const char *what)
{
    return qn_fail(err, QUERN_ERR_FORMAT, "pack: %s", what);
}

static quern_status check_tensors(const qn_pack_header *h, quern_error *err)
{
    uint64_t end = 0;
    for (size_t i = 0; i < h->n_tensors; i++) {
        const uint64_t offset = get64(h->tensors + i * TENSOR_BYTES);
        const uint64_t n = get64(h->tensors + i * TENSOR_BYTES + 8);
        if (offset < end || offset > h->data_bytes || n > h->data_bytes - offset)
            return qn_fail(err, QUERN_ERR_FORMAT,
                           "pack: tensor %zu: %llu bytes at %llu of %llu, after one that ends at %llu", i,
                           (unsigned long long)n, (unsigned long long)offset,
                           (unsigned long long)h->data_bytes, (unsigned long long)end);
        end = offset + n;
    }
    return QUERN_OK;
}

quern_status qn_pack_header_parse(qn_pack_header *h, const uint8_t *bytes, size_t n_bytes,
                                  uint64_t file_bytes, quern_error *err)
{
    memset(h, 0, sizeof *h);
    if (n_bytes < QN_PACK_FIXED_BYTES) return malformed(err, "shorter than a header");
    const size_t header_bytes = qn_pack_header_bytes(bytes);
    if (header_bytes == 0) return malformed(err, "no pack, or one of another version");
    if (header_bytes > n_bytes) return malformed(err, "the header is cut off");
    uint8_t digest[QN_PACK_DIGEST_BYTES];
    qn_pack_digest(digest, bytes, header_bytes - QN_PACK_DIGEST_BYTES);
    if (memcmp(digest, bytes + header_bytes - QN_PACK_DIGEST_BYTES, sizeof digest) != 0)
        return malformed(err, "the header does not match its hash");
    h->layout = get32(bytes + AT_LAYOUT);
    h->n_tensors = get32(bytes + AT_TENSORS);
    h->n_pieces = get32(bytes + AT_PIECES);
    h->source_length = get32(bytes + AT_PATH);
    h->data_offset = get64(bytes + AT_DATA_OFFSET);
    h->data_bytes = get64(bytes + AT_DATA_BYTES);
    h->source_bytes = get64(bytes + AT_SOURCE_BYTES);
    h->source_modified_ns = (int64_t)get64(bytes + AT_SOURCE_MODIFIED);
    memcpy(h->key.bytes, bytes + AT_KEY, sizeof h->key.bytes);
    h->tensors = bytes + QN_PACK_FIXED_BYTES;
    h->checksums = h->tensors + h->n_tensors * TENSOR_BYTES;
    h->source = (const char *)(h->checksums + h->n_pieces * 8);
    if (h->data_offset % QN_PACK_ALIGN != 0 || h->data_offset < header_bytes || h->data_offset > file_bytes ||
        h->data_bytes == 0 || h->data_bytes != file_bytes - h->data_offset)
        return qn_fail(err, QUERN_ERR_FORMAT, "pack: %llu bytes of data at %llu in a file of %llu",
                       (unsigned long long)h->data_bytes, (unsigned long long)h->data_offset,
                       (unsigned long long)file_bytes);
    if (h->data_bytes > SIZE_MAX / 4 || h->n_pieces != qn_pack_pieces((size_t)h->data_bytes))
        return malformed(err, "another number of checksums than the data has pieces");
    return check_tensors(h, err);
}

/* ---- what the arena looks like --------------------------------------------------------------------- */

static void tensor_row(uint8_t row[TENSOR_BYTES], const qn_load_job *j)
{
    const bool vector = j->n_cols == 0;
    put64(row, j->offset);
    put64(row + 8, vector ? j->n_rows * sizeof(float) : j->n_matrices * j->matrix_bytes);
    put64(row + 16, j->n_rows);
    put64(row + 24, j->n_cols);
    put32(row + 32, (uint32_t)j->tensor->type);
    put32(row + 36, (uint32_t)j->n_matrices);
}

quern_status qn_pack_header_match(const qn_pack_header *h, const qn_weights *w, const qn_pack_key *key,
                                  quern_error *err)
{
    if (memcmp(key->bytes, h->key.bytes, sizeof key->bytes) != 0 || h->layout != QN_MATRIX_LAYOUT)
        return malformed(err, "made from another file, or in another layout");
    if (h->data_bytes != w->arena.used || h->n_tensors != w->n_jobs)
        return malformed(err, "another number of tensors or bytes than the model has");
    for (size_t i = 0; i < w->n_jobs; i++) {
        uint8_t row[TENSOR_BYTES];
        tensor_row(row, &w->jobs[i]);
        if (memcmp(row, h->tensors + i * TENSOR_BYTES, sizeof row) != 0)
            return qn_fail(err, QUERN_ERR_FORMAT, "pack: tensor %zu lies otherwise than in the model", i);
    }
    return QUERN_OK;
}

bool qn_pack_piece_is_whole(const qn_pack_header *h, size_t i, const void *bytes, size_t n_bytes)
{
    return i < h->n_pieces && qn_pack_checksum(bytes, n_bytes) == get64(h->checksums + 8 * i);
}

/* ---- writing --------------------------------------------------------------------------------------- */

static size_t header_size(const qn_weights *w, const char *source)
{
    return QN_PACK_FIXED_BYTES + w->n_jobs * TENSOR_BYTES + qn_pack_pieces(w->arena.used) * 8 +
           strlen(source) + QN_PACK_DIGEST_BYTES;
}

uint64_t qn_pack_data_offset(const qn_weights *w, const char *source)
{
    return qn_round_up(header_size(w, source), QN_PACK_ALIGN);
}

bool qn_pack_header_write(qn_buffer *out, const qn_weights *w, const qn_pack_key *key, const qn_gguf *g,
                          const char *source, const uint64_t *checksums)
{
    uint8_t fixed[QN_PACK_FIXED_BYTES] = {0}, row[TENSOR_BYTES], digest[QN_PACK_DIGEST_BYTES];
    const size_t path_bytes = strlen(source), n_pieces = qn_pack_pieces(w->arena.used);
    if (path_bytes > QN_PACK_MAX_PATH || header_size(w, source) > QN_PACK_MAX_HEADER) return false;
    memcpy(fixed, MAGIC, sizeof MAGIC);
    put32(fixed + AT_VERSION, VERSION);
    put32(fixed + AT_LAYOUT, QN_MATRIX_LAYOUT);
    put32(fixed + AT_TENSORS, (uint32_t)w->n_jobs);
    put32(fixed + AT_PIECES, (uint32_t)n_pieces);
    put32(fixed + AT_PATH, (uint32_t)path_bytes);
    put64(fixed + AT_DATA_OFFSET, qn_pack_data_offset(w, source));
    put64(fixed + AT_DATA_BYTES, w->arena.used);
    put64(fixed + AT_SOURCE_BYTES, g->total_bytes);
    put64(fixed + AT_SOURCE_MODIFIED, g->n_files > 0 ? (uint64_t)g->files[0].modified_ns : 0);
    memcpy(fixed + AT_KEY, key->bytes, sizeof key->bytes);
    qn_buffer_append(out, fixed, sizeof fixed);
    for (size_t i = 0; i < w->n_jobs; i++) {
        tensor_row(row, &w->jobs[i]);
        qn_buffer_append(out, row, sizeof row);
    }
    for (size_t i = 0; i < n_pieces; i++) qn_buffer_append(out, &checksums[i], sizeof checksums[i]);
    qn_buffer_append(out, source, path_bytes);
    if (out->failed) return false;
    qn_pack_digest(digest, out->data, out->n_bytes);
    return qn_buffer_append(out, digest, sizeof digest);
}
