/* page_store_fuzz.c: bytes as the file of a page. The first byte says what is made right in the rest, so that
 * what stands behind magic, digests and sizes is reached too; the page asked for is the one that the header
 * claims to be. What is given out must be the file, to the bit; what is not given out must be gone. */
#include "base/path.h"
#include "cache/page_directory.h"
#include "cache/page_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADER = QN_PAGE_FILE_HEADER_BYTES, MAX_BYTES = HEADER + 64 };
/* Places in the header: page_file.h. */
enum {
    AT_N_TOKENS = 12,
    AT_POSITION = 16,
    AT_KEY = 24,
    AT_PARENT = 40,
    AT_GROUPS = 64,
    AT_TOKENS = 240,
    AT_DIGEST = 496
};
enum { FIX_HEADER = 1, FIX_SIZES = 2, FIX_DATA = 4 };
static const qn_page_form form = {.model_key = "fuzz", .page_bytes = {24, 8}};
static char directory[] = "/tmp/quern_page_store_fuzz_XXXXXX";

static void clean_up(void)
{
    static const char *const made[] = {"/fuzz/00", "/fuzz", ""};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
        if (qn_path_format(path, "%s%s", directory, made[i])) rmdir(path);
}

static void check(bool holds)
{
    if (!holds) abort();
}

static qn_page_store *open_store(void)
{
    qn_page_store *s;
    const qn_page_store_params params = {.directory = directory,
                                         .max_bytes = 1 << 20,
                                         .model_key = form.model_key,
                                         .page_bytes = {form.page_bytes[0], form.page_bytes[1]}};
    umask(077);
    check(qn_page_store_open(&s, &params, NULL) == QUERN_OK);
    return s;
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) v |= (uint64_t)p[i] << 8 * i;
    return v;
}

/* The page that a header claims to be, with the data that stands behind it. */
static void describe(qn_prefix_page *page, quern_token tokens[QN_PAGE_FILE_MAX_TOKENS], const uint8_t *file,
                     size_t n_bytes)
{
    size_t offset = HEADER;
    memset(page, 0, sizeof *page);
    page->key = (qn_prefix_key){get64(file + AT_KEY), get64(file + AT_KEY + 8)};
    page->parent = (qn_prefix_key){get64(file + AT_PARENT), get64(file + AT_PARENT + 8)};
    page->position = (size_t)get64(file + AT_POSITION);
    page->n_tokens = file[AT_N_TOKENS];
    if (page->n_tokens < 1 || page->n_tokens > QN_PAGE_FILE_MAX_TOKENS) page->n_tokens = 1;
    for (size_t i = 0; i < page->n_tokens; i++)
        tokens[i] = (quern_token)(uint32_t)get64(file + AT_TOKENS + 4 * i);
    page->tokens = tokens;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        const bool claimed = get64(file + AT_GROUPS + 24 * g) != 0;
        if (!claimed || form.page_bytes[g] > n_bytes - offset) continue;
        page->data[g] = file + offset;
        offset += form.page_bytes[g];
    }
}

static void use(qn_page_store *s, const uint8_t *file, size_t n_bytes, const qn_prefix_page *page)
{
    char path[PATH_MAX], name[QN_PAGE_NAME_BYTES];
    uint8_t read[QN_CACHE_GROUPS][24], header[HEADER];
    bool has[QN_CACHE_GROUPS];
    int dir_fd;
    qn_page_name(name, page->key);
    check(qn_page_directory_open(&dir_fd, directory, form.model_key, page->key, true, NULL) == QUERN_OK);
    check(qn_path_format(path, "%s/%s/%.2s/%s", directory, form.model_key, name, name));
    FILE *f = fopen(path, "wb");
    check(f != NULL && fwrite(file, 1, n_bytes, f) == n_bytes && fclose(f) == 0);
    qn_prefix_page wanted = *page;
    memset(wanted.data, 0, sizeof wanted.data);
    const quern_status status = qn_page_store_read(s, &wanted, (void *[]){read[0], read[1]}, has, NULL);
    check(status == QUERN_OK || status == QUERN_ERR_NOT_FOUND);
    check((access(path, F_OK) == 0) == (status == QUERN_OK));
    if (status == QUERN_OK) {
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++) wanted.data[g] = has[g] ? read[g] : NULL;
        qn_page_file_header(header, &form, &wanted);
        check(memcmp(header, file, HEADER) == 0 && n_bytes == qn_page_file_bytes(&form, &wanted));
        for (size_t g = 0, offset = HEADER; g < QN_CACHE_GROUPS; g++) {
            check(!has[g] || memcmp(read[g], file + offset, form.page_bytes[g]) == 0);
            offset += has[g] ? form.page_bytes[g] : 0;
        }
        check(unlink(path) == 0);
    }
    close(dir_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static qn_page_store *s;
    uint8_t file[MAX_BYTES] = {0};
    quern_token tokens[QN_PAGE_FILE_MAX_TOKENS];
    qn_prefix_page page;
    if (size < 1 || size - 1 > sizeof file) return 0;
    if (s == NULL) {
        check(mkdtemp(directory) != NULL && atexit(clean_up) == 0);
        s = open_store();
    }
    size_t n_bytes = size - 1;
    memcpy(file, data + 1, n_bytes);
    describe(&page, tokens, file, sizeof file);
    /* Only the key's last byte is the input's: 65536 directories would only be slow. */
    page.key = (qn_prefix_key){.low = page.key.low & 0xff};
    if ((data[0] & FIX_SIZES) != 0) n_bytes = (size_t)qn_page_file_bytes(&form, &page);
    if ((data[0] & FIX_HEADER) != 0) {
        uint8_t rows[48];
        XXH128_canonical_t digest;
        memcpy(rows, file + AT_GROUPS, sizeof rows);
        qn_page_file_header(file, &form, &page);
        if ((data[0] & FIX_DATA) == 0) memcpy(file + AT_GROUPS, rows, sizeof rows);
        XXH128_canonicalFromHash(&digest, XXH3_128bits(file, AT_DIGEST));
        memcpy(file + AT_DIGEST, digest.digest, sizeof digest.digest);
    }
    use(s, file, n_bytes, &page);
    return 0;
}
