/* session_file.h: a sequence as a file: its tokens, and its pages of keys and values.
 *
 *     0    magic "QUERNSEQ", version, number of groups; n_tokens; for each group the bytes of a page (0: the
 *          model has no such group); all little-endian
 *     40   the model key, then zeros
 *     168  XXH3-128 of the list
 *     184  zeros
 *     240  XXH3-128 of all of the above
 *     256  the list: the tokens, 4 bytes each; then the XXH3-128 of each page
 *          the pages, those of the first group first, up to the end of the file
 *
 * Which pages there are follows from the number of tokens: of a group with a window those that the next
 * position can see, otherwise all. So a file has no part that could be chosen freely, but for the tokens, and
 * its size is known from its header. Nothing of it is believed before its digest was compared, and a sequence
 * changes only when all of it was. The digests are against damage, not against a forger: tokens are checked
 * against the vocabulary, and keys and values may be any bits. */
#ifndef QN_CACHE_SESSION_FILE_H
#define QN_CACHE_SESSION_FILE_H

#include "cache/kv_cache.h"

enum { QN_SESSION_HEADER_BYTES = 256, QN_SESSION_MAX_MODEL_KEY = 128 };

/* Writes a sequence, whose tokens these are ([its length]), into an empty file. QUERN_ERR_IO: errno says why;
 * _NOMEM. */
quern_status qn_session_file_write(int fd, const qn_kv_cache *c, size_t seq, const char *model_key,
                                   const quern_token *tokens, quern_error *err);

/* What the caller expects of a file. */
typedef struct qn_session_wanted {
    const char *model_key;
    size_t n_vocab;
} qn_session_wanted;

/* Gives a sequence of a cache that has no n_positions what a file of file_bytes holds, in place of what it
 * has. tokens: [n_ctx], receives as many as the sequence then has positions.
 *
 * Reads into free pages; where the sequence has too few of them while it still holds its own, into memory
 * that is taken meanwhile.
 *
 * @return QUERN_OK; QUERN_ERR_FORMAT: no such file, or cut short; _CHECKSUM: damaged; _UNSUPPORTED: of
 * another version, model or cache type; _CTX_FULL: longer than n_ctx; _IO; _NOMEM. Then sequence and tokens
 * are as they were. */
quern_status qn_session_file_read(int fd, uint64_t file_bytes, const qn_session_wanted *wanted,
                                  qn_kv_cache *c, size_t seq, quern_token *tokens, quern_error *err);

#endif
