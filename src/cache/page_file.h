/* page_file.h: a page of keys and values as a file.
 *
 *     0    magic "QUERNKVP", version, n_tokens, position, key, parent; little-endian
 *     64   for each group: its bytes (0: not there), and the XXH3-128 of them
 *     112  the model key, then zeros
 *     240  the tokens, then zeros
 *     496  XXH3-128 of all of the above
 *     512  the groups that are there, one behind the other, up to the end of the file
 *
 * Nothing in it can be chosen freely: whoever knows what he wants knows every byte of the header but for the
 * rows of the groups. So a file is checked by making the header anew and comparing all of it. */
#ifndef QN_CACHE_PAGE_FILE_H
#define QN_CACHE_PAGE_FILE_H

#include "cache/prefix_tree.h"

enum {
    QN_PAGE_FILE_HEADER_BYTES = 512,
    QN_PAGE_FILE_MAX_TOKENS = 64,
    QN_PAGE_FILE_MAX_MODEL_KEY = 128,
};
#define QN_PAGE_FILE_MAX_BYTES ((uint64_t)1 << 32)

/* What all pages of a model have in common. */
typedef struct qn_page_form {
    const char *model_key;              /* at most QN_PAGE_FILE_MAX_MODEL_KEY bytes */
    size_t page_bytes[QN_CACHE_GROUPS]; /* 0: the model has no such group */
} qn_page_form;

/* Of the whole file; of a page with every group where page is NULL. The sizes of a form are such that it
 * stays within QN_PAGE_FILE_MAX_BYTES. */
uint64_t qn_page_file_bytes(const qn_page_form *form, const qn_prefix_page *page);

/* The header of a page of 1 to QN_PAGE_FILE_MAX_TOKENS tokens; reads all of its data. */
void qn_page_file_header(uint8_t header[QN_PAGE_FILE_HEADER_BYTES], const qn_page_form *form,
                         const qn_prefix_page *page);

/* Whether this is the header of the wanted page (all but its data counts) in a file of that size, and which
 * groups it has. QUERN_ERR_FORMAT with the first difference; then `has` is not touched. */
quern_status qn_page_file_check(const uint8_t header[QN_PAGE_FILE_HEADER_BYTES], uint64_t file_bytes,
                                const qn_page_form *form, const qn_prefix_page *wanted,
                                bool has[QN_CACHE_GROUPS], quern_error *err);

/* Whether this is the data of a group, by a header that was checked. */
bool qn_page_file_is_whole(const uint8_t header[QN_PAGE_FILE_HEADER_BYTES], size_t group, const void *data,
                           size_t n_bytes);

#endif
