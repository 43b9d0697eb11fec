/* pack_fuzz.c: the header of a pack. As it comes, and again with its hash and the file's size made right,
 * so that what stands behind these checks is reached too. */
#include "base/alloc.h"
#include "model/pack_file.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const qn_pack_header *h)
{
    unsigned sum = 0;
    for (size_t i = 0; i < h->n_tensors * 40; i++) sum += h->tensors[i];
    for (size_t i = 0; i < h->n_pieces * 8; i++) sum += h->checksums[i];
    for (size_t i = 0; i < h->source_length; i++) sum += (unsigned char)h->source[i];
    if (h->data_offset % QN_PACK_ALIGN != 0 || h->data_bytes == 0 || sum == UINT32_MAX) abort();
    for (size_t i = 0; i <= h->n_pieces; i++) (void)qn_pack_piece_is_whole(h, i, "", 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_pack_header h;
    if (qn_pack_header_parse(&h, data, size, (uint64_t)size << 12, NULL) == QUERN_OK) use(&h);
    const size_t n = size >= QN_PACK_FIXED_BYTES ? qn_pack_header_bytes(data) : 0;
    if (n == 0 || n > size) return 0;
    uint8_t *copy = malloc(n);
    if (copy == NULL) return 0;
    memcpy(copy, data, n);
    qn_pack_digest(copy + n - QN_PACK_DIGEST_BYTES, copy, n - QN_PACK_DIGEST_BYTES);
    uint64_t offset, bytes;
    memcpy(&offset, copy + 32, sizeof offset), memcpy(&bytes, copy + 40, sizeof bytes);
    if (qn_pack_header_parse(&h, copy, n, offset + bytes, NULL) == QUERN_OK) use(&h);
    free(copy);
    return 0;
}
