/* session_fuzz.c: bytes as the file of a saved sequence. The first byte says what is made right in the rest,
 * so that what stands behind magic, digests and sizes is reached too; the second, how long the sequence is
 * that the file would replace. What is accepted must be the file, to the bit; what is not must change
 * nothing. */
#include "base/alloc.h"
#include "cache/session_file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_CTX = 200, N_VOCAB = 1000, HEADER = QN_SESSION_HEADER_BYTES, MAX_BYTES = 1 << 16, N_SEQUENCES = 2 };
/* Places in the header: session_file.h. */
enum { AT_N_TOKENS = 16, AT_PAGE_BYTES = 24, AT_LIST_DIGEST = 168, AT_DIGEST = 240 };
enum { FIX_FORM = 1, FIX_LIST = 2, FIX_DIGESTS = 4, FIX_SIZE = 8, FULL = 16 };
static const char KEY[] = "fuzz";
static uint8_t file[MAX_BYTES];

static void check(bool holds)
{
    if (!holds) abort();
}

static qn_kv_cache *make_cache(void)
{
    const qn_hparams hparams = {.n_head_kv = 1, .head_dim_k = 4, .head_dim_v = 4};
    const qn_program program = {.hparams = &hparams,
                                .groups = {{.n_layers = 1}, {.n_layers = 1, .window = 70}}};
    const qn_kv_cache_params params = {.n_sequences = N_SEQUENCES,
                                       .n_ctx = N_CTX,
                                       .n_batch = 16,
                                       .type_k = QN_TYPE_F16,
                                       .type_v = QN_TYPE_Q4_0};
    qn_kv_cache *c;
    check(qn_kv_cache_create(&c, &program, &params, NULL) == QUERN_OK);
    return c;
}

static void put_digest(uint8_t *out, const void *bytes, size_t n_bytes)
{
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits(bytes, n_bytes));
    memcpy(out, digest.digest, sizeof digest.digest);
}

/* Makes right what `fix` says; returns how many bytes the file has. */
static size_t mend(const qn_kv_cache *c, unsigned fix, size_t n_bytes)
{
    uint64_t n_tokens = file[AT_N_TOKENS], n_pages[QN_CACHE_GROUPS], page_bytes[QN_CACHE_GROUPS];
    if ((fix & FIX_FORM) != 0) { /* the beginning as an empty sequence has it, then the number of tokens */
        const int fd = memfd_create("form", 0);
        check(fd >= 0 && qn_session_file_write(fd, c, 1, KEY, NULL, NULL) == QUERN_OK);
        check(pread(fd, file, HEADER, 0) == HEADER);
        close(fd);
        file[AT_N_TOKENS] = (uint8_t)n_tokens;
    }
    size_t list = HEADER + n_tokens * 4, data = list;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        page_bytes[g] = qn_kv_cache_page_bytes(c, g);
        n_pages[g] = (n_tokens + 63) / 64 - qn_kv_cache_first_seen(c, g, n_tokens) / 64;
        data += n_pages[g] * 16;
    }
    size_t end = data;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        for (size_t i = 0; i < n_pages[g] && end + page_bytes[g] <= MAX_BYTES; i++, list += 16) {
            if ((fix & FIX_LIST) != 0) put_digest(file + list, file + end, page_bytes[g]);
            end += page_bytes[g];
        }
    if ((fix & FIX_LIST) != 0)
        for (size_t i = 0; i < n_tokens; i++) file[HEADER + 4 * i + 2] = file[HEADER + 4 * i + 3] = 0;
    if ((fix & FIX_DIGESTS) != 0) {
        put_digest(file + AT_LIST_DIGEST, file + HEADER, data - HEADER);
        put_digest(file + AT_DIGEST, file, AT_DIGEST);
    }
    return (fix & FIX_SIZE) != 0 ? end : n_bytes;
}

static void grow(qn_kv_cache *c, size_t seq, size_t n)
{
    for (size_t step; n > 0; n -= step) {
        step = n < 16 ? n : 16;
        check(qn_kv_cache_reserve(c, seq, step));
        qn_kv_cache_commit(c, seq, step);
    }
}

/* Writes sequence 0; returns how many bytes that are. */
static size_t write_again(const qn_kv_cache *c, const quern_token *tokens, uint8_t out[MAX_BYTES])
{
    const int fd = memfd_create("again", 0);
    check(fd >= 0 && qn_session_file_write(fd, c, 0, KEY, tokens, NULL) == QUERN_OK);
    const ssize_t n_bytes = pread(fd, out, MAX_BYTES, 0);
    close(fd);
    check(n_bytes > 0);
    return (size_t)n_bytes;
}

/* What was read is what is written again: the tokens and all full pages; of a last page that is not full only
 * what is of the sequence, so that is compared after reading it once more. */
static void expect_written_alike(qn_kv_cache *c, quern_token *tokens, size_t n_bytes)
{
    static uint8_t again[MAX_BYTES], once_more[MAX_BYTES];
    const size_t n_tokens = qn_kv_cache_length(c, 0);
    check(write_again(c, tokens, again) == n_bytes);
    check(memcmp(file, again, AT_LIST_DIGEST) == 0);
    check(memcmp(file + HEADER, again + HEADER, n_tokens * 4) == 0);
    size_t n_pages[QN_CACHE_GROUPS], at = HEADER + n_tokens * 4;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        n_pages[g] = (n_tokens + 63) / 64 - qn_kv_cache_first_seen(c, g, n_tokens) / 64;
        at += n_pages[g] * 16;
    }
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        for (size_t i = 0; i < n_pages[g]; i++, at += qn_kv_cache_page_bytes(c, g))
            if (n_tokens % 64 == 0 || i + 1 < n_pages[g])
                check(memcmp(file + at, again + at, qn_kv_cache_page_bytes(c, g)) == 0);
    check(at == n_bytes);
    const qn_session_wanted wanted = {.model_key = KEY, .n_vocab = N_VOCAB};
    const int fd = memfd_create("again", 0);
    check(fd >= 0 && write(fd, again, n_bytes) == (ssize_t)n_bytes);
    check(qn_session_file_read(fd, n_bytes, &wanted, c, 0, tokens, NULL) == QUERN_OK);
    close(fd);
    check(write_again(c, tokens, once_more) == n_bytes && memcmp(again, once_more, n_bytes) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    quern_token tokens[N_CTX] = {0};
    if (size < 2 || size - 2 > MAX_BYTES) return 0;
    memset(file, 0, sizeof file);
    memcpy(file, data + 2, size - 2);
    qn_kv_cache *c = make_cache();
    const size_t before = data[1] % (N_CTX + 1);
    const size_t n_bytes = mend(c, data[0], size - 2);
    if ((data[0] & FULL) != 0) grow(c, 1, N_CTX);
    grow(c, 0, before);
    const size_t used[] = {qn_kv_cache_used_pages(c, 0), qn_kv_cache_used_pages(c, 1)};
    const qn_session_wanted wanted = {.model_key = KEY, .n_vocab = N_VOCAB};
    const int fd = memfd_create("session", 0);
    check(fd >= 0 && write(fd, file, n_bytes) == (ssize_t)n_bytes);
    const quern_status s = qn_session_file_read(fd, n_bytes, &wanted, c, 0, tokens, NULL);
    close(fd);
    if (s == QUERN_OK) {
        expect_written_alike(c, tokens, n_bytes);
        for (size_t i = 0; i < N_CTX; i++) check(tokens[i] >= 0 && tokens[i] < N_VOCAB);
    } else {
        check(qn_kv_cache_length(c, 0) == before);
        for (size_t g = 0; g < QN_CACHE_GROUPS; g++) check(qn_kv_cache_used_pages(c, g) == used[g]);
        for (size_t i = 0; i < N_CTX; i++) check(tokens[i] == 0);
    }
    qn_kv_cache_truncate(c, 0, 0); /* whatever was read, its pages are free again, and are enough */
    grow(c, 0, N_CTX);
    qn_kv_cache_destroy(c);
    return 0;
}
