/* session_file.c: see session_file.h. */
#include "cache/session_file.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/file_fields.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const char MAGIC[8] = {'Q', 'U', 'E', 'R', 'N', 'S', 'E', 'Q'};
enum { VERSION = 1, TOKEN_BYTES = 4 };

/* Places in the header. */
enum {
    AT_VERSION = 8,
    AT_N_GROUPS = 12,
    AT_N_TOKENS = 16,
    AT_PAGE_BYTES = 24,
    AT_MODEL_KEY = AT_PAGE_BYTES + QN_CACHE_GROUPS * 8,
    AT_LIST_DIGEST = AT_MODEL_KEY + QN_SESSION_MAX_MODEL_KEY,
    AT_DIGEST = QN_SESSION_HEADER_BYTES - QN_DIGEST_BYTES
};
_Static_assert(AT_LIST_DIGEST + QN_DIGEST_BYTES <= AT_DIGEST, "the header has room for its fields");

/* ---- what lies where --------------------------------------------------------------------------------- */

typedef struct shape {
    size_t n_tokens, n_pages;                             /* n_pages: of all groups */
    size_t first[QN_CACHE_GROUPS], end[QN_CACHE_GROUPS];  /* in the page table */
    size_t page_bytes[QN_CACHE_GROUPS], offset_of_tokens; /* in the list */
    size_t list_bytes;
    uint64_t file_bytes;
} shape;

/* Of n_tokens, at most n_ctx: then all of it is smaller than the cache itself, and cannot overflow. */
static shape shape_of(const qn_kv_cache *c, size_t n_tokens)
{
    shape s = {.n_tokens = n_tokens};
    uint64_t data_bytes = 0;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        if (qn_kv_cache_n_pages(c, g) == 0) continue;
        s.page_bytes[g] = qn_kv_cache_page_bytes(c, g);
        s.first[g] = qn_kv_cache_first_seen(c, g, n_tokens) / QN_PAGE_POSITIONS;
        s.end[g] = (n_tokens + QN_PAGE_POSITIONS - 1) / QN_PAGE_POSITIONS;
        if (s.first[g] > s.end[g])
            s.first[g] = s.end[g]; /* a window of 1 at the begin of a page sees nothing */
        s.n_pages += s.end[g] - s.first[g];
        data_bytes += (uint64_t)(s.end[g] - s.first[g]) * s.page_bytes[g];
    }
    s.list_bytes = n_tokens * TOKEN_BYTES + s.n_pages * QN_DIGEST_BYTES;
    s.file_bytes = QN_SESSION_HEADER_BYTES + s.list_bytes + data_bytes;
    return s;
}

static void put_header(uint8_t header[QN_SESSION_HEADER_BYTES], const shape *s, const char *model_key,
                       const uint8_t *list)
{
    assert(strlen(model_key) <= QN_SESSION_MAX_MODEL_KEY);
    memset(header, 0, QN_SESSION_HEADER_BYTES);
    memcpy(header, MAGIC, sizeof MAGIC);
    qn_field_put(header + AT_VERSION, VERSION, 4);
    qn_field_put(header + AT_N_GROUPS, QN_CACHE_GROUPS, 4);
    qn_field_put(header + AT_N_TOKENS, s->n_tokens, 8);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        qn_field_put(header + AT_PAGE_BYTES + 8 * g, s->page_bytes[g], 8);
    memcpy(header + AT_MODEL_KEY, model_key, strlen(model_key));
    qn_digest_put(header + AT_LIST_DIGEST, list, s->list_bytes);
    qn_digest_put(header + AT_DIGEST, header, AT_DIGEST);
}

/* ---- writing ----------------------------------------------------------------------------------------- */

static quern_status fail_errno(quern_error *err, const char *what)
{
    const int why = errno; /* stays as it is for the caller */
    qn_fail(err, QUERN_ERR_IO, "cannot %s: %s", what, strerror(why));
    errno = why;
    return QUERN_ERR_IO;
}

/* What the file has of page i of a group: of the last one only what is of the sequence, copied to `last`. */
static const void *content(const qn_kv_cache *c, size_t seq, const shape *s, size_t g, size_t i, void *last)
{
    const int32_t page = qn_kv_cache_pages(c, seq, g)[i];
    const size_t n = s->n_tokens - i * QN_PAGE_POSITIONS;
    if (n >= QN_PAGE_POSITIONS) return qn_kv_cache_page_data(c, g, page);
    return qn_kv_cache_copy_positions(c, g, page, n, last) ? last : NULL;
}

/* The pages, and their digests into the list. last: room for one. */
static quern_status write_pages(int fd, const qn_kv_cache *c, size_t seq, const shape *s, uint8_t *digests,
                                void *last, quern_error *err)
{
    uint64_t offset = QN_SESSION_HEADER_BYTES + s->list_bytes;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        for (size_t i = s->first[g]; i < s->end[g]; i++) {
            const void *data = content(c, seq, s, g, i, last);
            if (data == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "session: no memory");
            qn_digest_put(digests, data, s->page_bytes[g]);
            if (!qn_file_write_at(fd, data, s->page_bytes[g], offset)) return fail_errno(err, "write");
            digests += QN_DIGEST_BYTES;
            offset += s->page_bytes[g];
        }
    return QUERN_OK;
}

quern_status qn_session_file_write(int fd, const qn_kv_cache *c, size_t seq, const char *model_key,
                                   const quern_token *tokens, quern_error *err)
{
    uint8_t header[QN_SESSION_HEADER_BYTES];
    const shape s = shape_of(c, qn_kv_cache_length(c, seq));
    size_t page_bytes = 0;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) page_bytes = qn_max_size(page_bytes, s.page_bytes[g]);
    uint8_t *list = qn_malloc(s.list_bytes);
    void *last = qn_alloc_pages(page_bytes);
    quern_status status = QUERN_OK;
    if (list == NULL || last == NULL)
        status = qn_fail(err, QUERN_ERR_NOMEM, "session: no memory for %zu bytes", s.list_bytes + page_bytes);
    for (size_t i = 0; i < s.n_tokens && list != NULL; i++)
        qn_field_put(list + TOKEN_BYTES * i, (uint32_t)tokens[i], TOKEN_BYTES);
    if (status == QUERN_OK) status = write_pages(fd, c, seq, &s, list + TOKEN_BYTES * s.n_tokens, last, err);
    if (status == QUERN_OK) {
        put_header(header, &s, model_key, list);
        if (!qn_file_write_at(fd, list, s.list_bytes, QN_SESSION_HEADER_BYTES) ||
            !qn_file_write_at(fd, header, sizeof header, 0))
            status = fail_errno(err, "write");
    }
    if (last != NULL) qn_free_pages(last, page_bytes);
    qn_free(list);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

typedef struct reader {
    int fd;
    qn_kv_cache *cache;
    shape shape;
    uint8_t *list;
    int32_t *pages[QN_CACHE_GROUPS]; /* [shape.end] as in a page table, -1 where there is none */
    void **beside;                   /* [shape.n_pages] what had no free page; NULL: has one */
} reader;

static quern_status read_at(const reader *r, void *out, size_t n_bytes, uint64_t offset, quern_error *err)
{
    if (qn_file_read_at(r->fd, out, n_bytes, offset)) return QUERN_OK;
    if (errno == 0) return qn_fail(err, QUERN_ERR_FORMAT, "became shorter while it was read");
    return fail_errno(err, "read");
}

static quern_status check_header(const uint8_t *header, uint64_t file_bytes, const qn_session_wanted *wanted,
                                 qn_kv_cache *c, shape *out, quern_error *err)
{
    uint8_t expected[QN_SESSION_HEADER_BYTES];
    const size_t n_ctx = qn_kv_cache_n_ctx(c);
    if (memcmp(header, MAGIC, sizeof MAGIC) != 0)
        return qn_fail(err, QUERN_ERR_FORMAT, "is no saved session");
    if (qn_field_get(header + AT_VERSION, 4) != VERSION)
        return qn_fail(err, QUERN_ERR_UNSUPPORTED,
                       "is a session of version %u, this program reads version %d",
                       (unsigned)qn_field_get(header + AT_VERSION, 4), VERSION);
    if (!qn_digest_is(header + AT_DIGEST, header, AT_DIGEST))
        return qn_fail(err, QUERN_ERR_CHECKSUM,
                       "the header does not match its checksum: the file is damaged");
    shape s = shape_of(c, 0);
    put_header(expected, &s, wanted->model_key, NULL);
    if (memcmp(header + AT_PAGE_BYTES, expected + AT_PAGE_BYTES, AT_LIST_DIGEST - AT_PAGE_BYTES) != 0 ||
        memcmp(header + AT_N_GROUPS, expected + AT_N_GROUPS, AT_N_TOKENS - AT_N_GROUPS) != 0)
        return qn_fail(err, QUERN_ERR_UNSUPPORTED,
                       "is of another model file, of other cache types, or of another version of quern");
    const uint64_t n_tokens = qn_field_get(header + AT_N_TOKENS, 8);
    if (n_tokens > n_ctx)
        return qn_fail(err, QUERN_ERR_CTX_FULL,
                       "holds %llu positions, more than the context of %zu (use a larger -c)",
                       (unsigned long long)n_tokens, n_ctx);
    s = shape_of(c, (size_t)n_tokens);
    if (s.file_bytes != file_bytes)
        return qn_fail(err, QUERN_ERR_FORMAT, "has %llu bytes, by its header %llu: it was cut or grew",
                       (unsigned long long)file_bytes, (unsigned long long)s.file_bytes);
    *out = s;
    return QUERN_OK;
}

static quern_status read_list(reader *r, const uint8_t *header, size_t n_vocab, quern_error *err)
{
    const size_t n = r->shape.list_bytes;
    r->list = qn_malloc(n);
    if (r->list == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "no memory for %zu bytes", n);
    const quern_status s = read_at(r, r->list, n, QN_SESSION_HEADER_BYTES, err);
    if (s != QUERN_OK) return s;
    if (!qn_digest_is(header + AT_LIST_DIGEST, r->list, n))
        return qn_fail(err, QUERN_ERR_CHECKSUM,
                       "the tokens do not match their checksum: the file is damaged");
    for (size_t i = 0; i < r->shape.n_tokens; i++) {
        const uint64_t token = qn_field_get(r->list + TOKEN_BYTES * i, TOKEN_BYTES);
        if (token >= n_vocab)
            return qn_fail(err, QUERN_ERR_FORMAT, "token %lld at %zu: the vocabulary has %zu",
                           (long long)(int32_t)token, i, n_vocab);
    }
    return QUERN_OK;
}

static quern_status make_tables(reader *r, quern_error *err)
{
    bool ok = (r->beside = qn_calloc(r->shape.n_pages, sizeof *r->beside)) != NULL;
    for (size_t g = 0; g < QN_CACHE_GROUPS && ok; g++) {
        r->pages[g] = qn_calloc(r->shape.end[g], sizeof *r->pages[g]);
        ok = r->pages[g] != NULL;
        for (size_t i = 0; ok && i < r->shape.end[g]; i++) r->pages[g][i] = -1;
    }
    return ok ? QUERN_OK : qn_fail(err, QUERN_ERR_NOMEM, "no memory for %zu pages", r->shape.n_pages);
}

/* Room for page i of a group, the n-th of all. */
static void *room_for(reader *r, size_t g, size_t i, size_t n)
{
    r->pages[g][i] = qn_kv_cache_take(r->cache, g);
    if (r->pages[g][i] >= 0) return qn_kv_cache_page_data(r->cache, g, r->pages[g][i]);
    return r->beside[n] = qn_malloc(r->shape.page_bytes[g]);
}

static quern_status read_pages(reader *r, quern_error *err)
{
    const uint8_t *digest = r->list + TOKEN_BYTES * r->shape.n_tokens;
    uint64_t offset = QN_SESSION_HEADER_BYTES + r->shape.list_bytes;
    size_t n = 0;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        for (size_t i = r->shape.first[g]; i < r->shape.end[g]; i++, n++) {
            const size_t n_bytes = r->shape.page_bytes[g];
            void *data = room_for(r, g, i, n);
            if (data == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "no memory for %zu bytes", n_bytes);
            const quern_status s = read_at(r, data, n_bytes, offset, err);
            if (s != QUERN_OK) return s;
            if (!qn_digest_is(digest, data, n_bytes))
                return qn_fail(
                    err, QUERN_ERR_CHECKSUM,
                    "keys and values at position %zu do not match their checksum: the file is damaged",
                    i * QN_PAGE_POSITIONS);
            digest += QN_DIGEST_BYTES;
            offset += n_bytes;
        }
    return QUERN_OK;
}

/* What was read takes the place of what the sequence has, whose pages are as many as one can need: so there
 * are enough for what had no free page before. */
static void change_over(reader *r, size_t seq, quern_token *tokens)
{
    size_t n = 0;
    qn_kv_cache_truncate(r->cache, seq, 0);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        for (size_t i = r->shape.first[g]; i < r->shape.end[g]; i++, n++) {
            if (r->beside[n] == NULL) continue;
            r->pages[g][i] = qn_kv_cache_take(r->cache, g);
            assert(r->pages[g][i] >= 0);
            memcpy(qn_kv_cache_page_data(r->cache, g, r->pages[g][i]), r->beside[n], r->shape.page_bytes[g]);
        }
    qn_kv_cache_adopt(r->cache, seq, (const int32_t *const *)r->pages, r->shape.n_tokens);
    for (size_t i = 0; i < r->shape.n_tokens; i++)
        tokens[i] = (quern_token)qn_field_get(r->list + TOKEN_BYTES * i, TOKEN_BYTES);
}

static void let_go(reader *r)
{
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        for (size_t i = 0; r->pages[g] != NULL && i < r->shape.end[g]; i++)
            if (r->pages[g][i] >= 0) qn_kv_cache_release(r->cache, g, r->pages[g][i]);
        qn_free(r->pages[g]);
    }
    for (size_t i = 0; r->beside != NULL && i < r->shape.n_pages; i++) qn_free(r->beside[i]);
    qn_free(r->beside);
    qn_free(r->list);
}

quern_status qn_session_file_read(int fd, uint64_t file_bytes, const qn_session_wanted *wanted,
                                  qn_kv_cache *c, size_t seq, quern_token *tokens, quern_error *err)
{
    uint8_t header[QN_SESSION_HEADER_BYTES];
    reader r = {.fd = fd, .cache = c};
    if (file_bytes < sizeof header)
        return qn_fail(err, QUERN_ERR_FORMAT, "is no saved session: it has %llu bytes",
                       (unsigned long long)file_bytes);
    quern_status s = read_at(&r, header, sizeof header, 0, err);
    if (s == QUERN_OK) s = check_header(header, file_bytes, wanted, c, &r.shape, err);
    if (s == QUERN_OK) s = read_list(&r, header, wanted->n_vocab, err);
    if (s == QUERN_OK) s = make_tables(&r, err);
    if (s == QUERN_OK) s = read_pages(&r, err);
    if (s == QUERN_OK) change_over(&r, seq, tokens);
    let_go(&r);
    return s;
}
