/* pack_file.h: packed weights on disk, so that the next start has nothing to pack.
 *
 *     0            magic "QUERNPAK", sizes, key                      80 bytes, little-endian
 *     80           one row of 40 bytes for each tensor of the arena: where, how large, what shape
 *     ...          XXH64 of each piece of 64 MiB of the data
 *     ...          path of the model file, for people
 *     ...          XXH3-128 of all of the above
 *     data_offset  the arena of qn_weights as it stands in memory; a multiple of 2 MiB
 *
 * A pack is used only for the very file it was made from: the key is made (XXH3-128) of the layout's version
 * and, of each part of the model, size, times of change, everything before the tensor data (metadata and
 * the table of tensors) and 64 pages of the tensor data. The layout is that of every instruction set.
 * The header is checked whole before anything is mapped; the data's checksums only when somebody asks
 * (qn_pack_piece_is_whole), for reading it all is what a pack saves. */
#ifndef QN_MODEL_PACK_FILE_H
#define QN_MODEL_PACK_FILE_H

#include "base/buffer.h"
#include "model/weights.h"

enum {
    QN_PACK_ALIGN = 2 << 20,
    QN_PACK_PIECE = 64 << 20,
    QN_PACK_DIGEST_BYTES = 16,
    QN_PACK_FIXED_BYTES = 80, /* at the begin: enough to know how long the header is */
    QN_PACK_MAX_HEADER = 32 << 20,
    QN_PACK_MAX_PATH = 4096
};

typedef struct qn_pack_key {
    uint8_t bytes[QN_PACK_DIGEST_BYTES];
} qn_pack_key;

typedef struct qn_pack_header { /* pointers into the parsed bytes */
    uint32_t layout;
    uint64_t data_offset, data_bytes;
    uint64_t source_bytes; /* of the model's files */
    int64_t source_modified_ns;
    qn_pack_key key;
    size_t n_tensors, n_pieces;
    const uint8_t *tensors, *checksums;
    const char *source; /* [source_length], not NUL-terminated */
    size_t source_length;
} qn_pack_header;

/* Of the header and of the parts of a key: XXH3-128, in the order of bytes that its authors give. */
void qn_pack_digest(uint8_t out[QN_PACK_DIGEST_BYTES], const void *bytes, size_t n_bytes);
/* Of a piece of the data: XXH64, seed 0, as fast as memory is read. */
uint64_t qn_pack_checksum(const void *bytes, size_t n_bytes);

/* What identifies a model file. Reads its header and samples of its data through the mapping. */
void qn_pack_key_make(qn_pack_key *key, const qn_gguf *g);

/* How long the header is, by its first QN_PACK_FIXED_BYTES; 0 if these are not the begin of a pack. */
size_t qn_pack_header_bytes(const uint8_t fixed[QN_PACK_FIXED_BYTES]);

/* Checks all of it; file_bytes is the size of the file it stands in, which must be exactly what the header
 * says. QUERN_ERR_FORMAT with the reason. */
quern_status qn_pack_header_parse(qn_pack_header *h, const uint8_t *bytes, size_t n_bytes,
                                  uint64_t file_bytes, quern_error *err);

/* Whether the data is the arena that w has measured: QUERN_ERR_FORMAT with the first difference. */
quern_status qn_pack_header_match(const qn_pack_header *h, const qn_weights *w, const qn_pack_key *key,
                                  quern_error *err);

/* The header for the arena of w. checksums: [qn_pack_pieces(data_bytes)]. False: no memory, or too large. */
bool qn_pack_header_write(qn_buffer *out, const qn_weights *w, const qn_pack_key *key, const qn_gguf *g,
                          const char *source, const uint64_t *checksums);
/* Where the data of such a file begins. */
uint64_t qn_pack_data_offset(const qn_weights *w, const char *source);

static inline size_t qn_pack_pieces(size_t data_bytes)
{
    return data_bytes / QN_PACK_PIECE + (data_bytes % QN_PACK_PIECE != 0);
}
/* bytes: those of piece i, all of them. */
bool qn_pack_piece_is_whole(const qn_pack_header *h, size_t i, const void *bytes, size_t n_bytes);

#endif
