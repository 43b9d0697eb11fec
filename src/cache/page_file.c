/* page_file.c: see page_file.h. */
#include "cache/page_file.h"

#include "base/file_fields.h"

#include <assert.h>
#include <string.h>

static const char MAGIC[8] = {'Q', 'U', 'E', 'R', 'N', 'K', 'V', 'P'};
enum { VERSION = 1, ROW_BYTES = 8 + QN_DIGEST_BYTES };

/* Places in the header. */
enum {
    AT_VERSION = 8,
    AT_N_TOKENS = 12,
    AT_POSITION = 16,
    AT_KEY = 24,
    AT_PARENT = 40,
    AT_N_GROUPS = 56, /* 4 bytes of zero follow */
    AT_GROUPS = 64,
    AT_MODEL_KEY = AT_GROUPS + QN_CACHE_GROUPS * ROW_BYTES,
    AT_TOKENS = AT_MODEL_KEY + QN_PAGE_FILE_MAX_MODEL_KEY,
    AT_DIGEST = AT_TOKENS + QN_PAGE_FILE_MAX_TOKENS * 4
};
_Static_assert(AT_DIGEST + QN_DIGEST_BYTES == QN_PAGE_FILE_HEADER_BYTES, "the digest ends the header");
_Static_assert((int)QN_PAGE_FILE_MAX_TOKENS == (int)QN_PAGE_POSITIONS,
               "the file has room for the tokens of a page");

uint64_t qn_page_file_bytes(const qn_page_form *form, const qn_prefix_page *page)
{
    uint64_t n = QN_PAGE_FILE_HEADER_BYTES;
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        if (page == NULL || page->data[g] != NULL) n += form->page_bytes[g];
    return n;
}

/* All but the rows of the groups, which must be there already, for the digest covers them. */
static void put_fields(uint8_t header[QN_PAGE_FILE_HEADER_BYTES], const qn_page_form *form,
                       const qn_prefix_page *page)
{
    assert(page->n_tokens >= 1 && page->n_tokens <= QN_PAGE_FILE_MAX_TOKENS);
    assert(strlen(form->model_key) <= QN_PAGE_FILE_MAX_MODEL_KEY);
    memset(header, 0, AT_GROUPS);
    memset(header + AT_MODEL_KEY, 0, QN_PAGE_FILE_HEADER_BYTES - AT_MODEL_KEY);
    memcpy(header, MAGIC, sizeof MAGIC);
    qn_field_put(header + AT_VERSION, VERSION, 4);
    qn_field_put(header + AT_N_TOKENS, page->n_tokens, 4);
    qn_field_put(header + AT_POSITION, page->position, 8);
    qn_field_put(header + AT_KEY, page->key.low, 8), qn_field_put(header + AT_KEY + 8, page->key.high, 8);
    qn_field_put(header + AT_PARENT, page->parent.low, 8),
        qn_field_put(header + AT_PARENT + 8, page->parent.high, 8);
    qn_field_put(header + AT_N_GROUPS, QN_CACHE_GROUPS, 4);
    memcpy(header + AT_MODEL_KEY, form->model_key, strlen(form->model_key));
    for (size_t i = 0; i < page->n_tokens; i++)
        qn_field_put(header + AT_TOKENS + 4 * i, (uint32_t)page->tokens[i], 4);
    qn_digest_put(header + AT_DIGEST, header, AT_DIGEST);
}

void qn_page_file_header(uint8_t header[QN_PAGE_FILE_HEADER_BYTES], const qn_page_form *form,
                         const qn_prefix_page *page)
{
    memset(header, 0, QN_PAGE_FILE_HEADER_BYTES);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        uint8_t *row = header + AT_GROUPS + g * ROW_BYTES;
        if (page->data[g] == NULL) continue;
        qn_field_put(row, form->page_bytes[g], 8);
        qn_digest_put(row + 8, page->data[g], form->page_bytes[g]);
    }
    put_fields(header, form, page);
}

/* Why a header is not the one expected. The digest comes after the version, whose layout it belongs to, and
 * before the fields: a damaged one is said to be damaged, not another's. */
static const char *difference(const uint8_t *header, const uint8_t *expected)
{
    static const struct {
        int begin, end;
        const char *what;
    } fields[] = {{AT_N_TOKENS, AT_POSITION, "another number of tokens"},
                  {AT_POSITION, AT_KEY, "another position"},
                  {AT_KEY, AT_PARENT, "another key"},
                  {AT_PARENT, AT_N_GROUPS, "another parent"},
                  {AT_MODEL_KEY, AT_TOKENS, "another model"},
                  {AT_TOKENS, AT_DIGEST, "other tokens"}};
    if (memcmp(header, expected, AT_VERSION) != 0) return "no page";
    if (memcmp(header + AT_VERSION, expected + AT_VERSION, AT_N_TOKENS - AT_VERSION) != 0)
        return "a page of another version";
    if (!qn_digest_is(header + AT_DIGEST, header, AT_DIGEST)) return "the header does not match its digest";
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const int n = fields[i].end - fields[i].begin;
        if (memcmp(header + fields[i].begin, expected + fields[i].begin, (size_t)n) != 0)
            return fields[i].what;
    }
    return "another number of groups";
}

/* A group is there with the size it has in this model and any digest, or not there with zeros. */
static bool row_is_possible(const uint8_t *row, size_t page_bytes)
{
    static const uint8_t none[ROW_BYTES];
    return memcmp(row, none, ROW_BYTES) == 0 || (page_bytes > 0 && qn_field_get(row, 8) == page_bytes);
}

quern_status qn_page_file_check(const uint8_t header[QN_PAGE_FILE_HEADER_BYTES], uint64_t file_bytes,
                                const qn_page_form *form, const qn_prefix_page *wanted,
                                bool has[QN_CACHE_GROUPS], quern_error *err)
{
    uint8_t expected[QN_PAGE_FILE_HEADER_BYTES];
    uint64_t n_bytes = QN_PAGE_FILE_HEADER_BYTES;
    memcpy(expected + AT_GROUPS, header + AT_GROUPS, AT_MODEL_KEY - AT_GROUPS);
    put_fields(expected, form, wanted);
    if (memcmp(header, expected, QN_PAGE_FILE_HEADER_BYTES) != 0)
        return qn_fail(err, QUERN_ERR_FORMAT, "%s", difference(header, expected));
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++) {
        const uint8_t *row = header + AT_GROUPS + g * ROW_BYTES;
        if (!row_is_possible(row, form->page_bytes[g]))
            return qn_fail(err, QUERN_ERR_FORMAT, "group %zu: %llu bytes, the model has %zu", g,
                           (unsigned long long)qn_field_get(row, 8), form->page_bytes[g]);
        n_bytes += qn_field_get(row, 8);
    }
    if (n_bytes != file_bytes)
        return qn_fail(err, QUERN_ERR_FORMAT, "%llu bytes, by its header it has %llu",
                       (unsigned long long)file_bytes, (unsigned long long)n_bytes);
    for (size_t g = 0; g < QN_CACHE_GROUPS; g++)
        has[g] = qn_field_get(header + AT_GROUPS + g * ROW_BYTES, 8) != 0;
    return QUERN_OK;
}

bool qn_page_file_is_whole(const uint8_t header[QN_PAGE_FILE_HEADER_BYTES], size_t group, const void *data,
                           size_t n_bytes)
{
    const uint8_t *row = header + AT_GROUPS + group * ROW_BYTES;
    return qn_field_get(row, 8) == n_bytes && qn_digest_is(row + 8, data, n_bytes);
}
