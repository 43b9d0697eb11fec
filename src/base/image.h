/* image.h: a part of a file in memory at a 2 MiB boundary: at once as a mapping of the page cache, which
 * processes share, and on wish moved into huge pages of its own, piece by piece, while others read it.
 *
 * The move fills fresh huge pages and puts them in the place of the mapping (mremap over it). The kernel
 * makes the exchange under the lock that page faults take, so a reader sees the old page or the new one,
 * and both hold the same bytes: addresses stay, nobody has to be stopped. */
#ifndef QN_BASE_IMAGE_H
#define QN_BASE_IMAGE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum { QN_HUGE_PAGE = 2 << 20 };

typedef struct qn_image {
    char *data; /* read-only */
    size_t n_bytes;
} qn_image;

/* Maps [offset, offset + n_bytes) of a file; offset is a multiple of QN_HUGE_PAGE. The caller has checked
 * that the file is that long, and nobody cuts it. */
quern_status qn_image_map(qn_image *image, int fd, uint64_t offset, size_t n_bytes, quern_error *err);
void qn_image_unmap(qn_image *image);

/* Moves [begin, begin + n_bytes), where begin is a multiple of QN_HUGE_PAGE and the end is one too or the
 * image's. False: no memory or the file cannot be read; then the mapping stays as it was. */
bool qn_image_move(qn_image *image, int fd, uint64_t offset, size_t begin, size_t n_bytes);

/* Whether memory that asks for huge pages gets them: false where the system says "never". */
bool qn_huge_pages_given(void);

#endif
