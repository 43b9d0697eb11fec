/* image.c: see image.h. */
#include "base/image.h"

#include "base/checked.h"
#include "base/file.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const size_t PAGE = 65536; /* the largest base page of any system this runs on */

/* Address space without memory, n_bytes and up to a page more, at a 2 MiB boundary. */
static char *reserve(size_t n_bytes)
{
    size_t padded;
    if (!qn_add_size(n_bytes, 2 * (size_t)QN_HUGE_PAGE, &padded)) return NULL;
    char *all = mmap(NULL, padded, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) return NULL;
    const size_t n = qn_round_up(n_bytes, PAGE), before = (size_t)(-(uintptr_t)all) % QN_HUGE_PAGE;
    if (before > 0) munmap(all, before);
    munmap(all + before + n, padded - before - n);
    return all + before;
}

quern_status qn_image_map(qn_image *image, int fd, uint64_t offset, size_t n_bytes, quern_error *err)
{
    memset(image, 0, sizeof *image);
    char *at = n_bytes > 0 ? reserve(n_bytes) : NULL;
    if (at == NULL || mmap(at, n_bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, (off_t)offset) == MAP_FAILED) {
        const int e = errno;
        if (at != NULL) munmap(at, qn_round_up(n_bytes, PAGE));
        return qn_fail(err, QUERN_ERR_IO, "cannot map %zu bytes: %s", n_bytes, strerror(e));
    }
    *image = (qn_image){at, n_bytes};
    return QUERN_OK;
}

void qn_image_unmap(qn_image *image)
{
    if (image->data != NULL) munmap(image->data, qn_round_up(image->n_bytes, PAGE));
    memset(image, 0, sizeof *image);
}

bool qn_image_move(qn_image *image, int fd, uint64_t offset, size_t begin, size_t n_bytes)
{
#if defined(MREMAP_FIXED) && defined(MADV_HUGEPAGE)
    assert(begin % QN_HUGE_PAGE == 0 && begin < image->n_bytes && n_bytes <= image->n_bytes - begin);
    const size_t n = qn_round_up(n_bytes, PAGE);
    char *fresh = reserve(n);
    if (fresh == NULL) return false;
    if (mprotect(fresh, n, PROT_READ | PROT_WRITE) == 0 && madvise(fresh, n, MADV_HUGEPAGE) == 0 &&
        qn_file_read_at(fd, fresh, n_bytes, offset + begin) && mprotect(fresh, n, PROT_READ) == 0 &&
        mremap(fresh, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, image->data + begin) != MAP_FAILED)
        return true;
    munmap(fresh, n);
#else
    (void)image, (void)fd, (void)offset, (void)begin, (void)n_bytes;
#endif
    return false;
}

bool qn_huge_pages_given(void)
{
    char text[64] = "";
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    if (f == NULL) return false;
    const size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    return n > 0 && strstr(text, "[never]") == NULL;
}
