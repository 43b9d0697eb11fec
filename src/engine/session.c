/* session.c: a sequence saved to a file, and restored from one. The file is bound to what decides about its
 * bits (page_key.h), so by contract C4 whatever follows a restored sequence has the bits that it has after
 * the one that was saved. */
#include "base/file.h"
#include "base/file_replace.h"
#include "cache/session_file.h"
#include "engine/page_key.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

_Static_assert((int)QN_PAGE_KEY_BYTES <= (int)QN_SESSION_MAX_MODEL_KEY + 1, "a key fits into the file");

static quern_status get_parts(qn_sequence_parts *parts, char key[QN_PAGE_KEY_BYTES], quern_context *ctx,
                              uint32_t sequence, quern_error *err)
{
    const quern_status s = qn_model_check_generates(quern_context_model(ctx), err);
    if (s != QUERN_OK) return s;
    if (!qn_context_sequence(ctx, sequence, parts))
        return qn_fail(err, QUERN_ERR_ARGUMENT, "sequence %u: there is none", sequence);
    qn_page_key_make(key, quern_context_model(ctx), parts->type_k, parts->type_v);
    return QUERN_OK;
}

quern_status quern_sequence_save(quern_context *ctx, uint32_t sequence, const char *path, quern_error *err)
{
    char key[QN_PAGE_KEY_BYTES];
    qn_sequence_parts parts;
    qn_file_replacement file;
    quern_error why = {0};
    quern_status s = get_parts(&parts, key, ctx, sequence, err);
    if (s == QUERN_OK) s = qn_file_replace_begin(&file, path, 0600, err);
    if (s != QUERN_OK) return s;
    s = qn_session_file_write(file.fd, parts.cache, sequence, key, parts.tokens, &why);
    if (s == QUERN_OK) return qn_file_replace_commit(&file, err);
    if (s == QUERN_ERR_IO) s = qn_file_replace_fail(&file, err);
    else qn_fail(err, s, "%s: %s", qn_quote(path, strlen(path)).text, why.message);
    qn_file_replace_abandon(&file);
    return s;
}

quern_status quern_sequence_restore(quern_context *ctx, uint32_t sequence, const char *path, quern_error *err)
{
    char key[QN_PAGE_KEY_BYTES];
    qn_sequence_parts parts;
    int fd;
    size_t n_bytes;
    quern_status s = get_parts(&parts, key, ctx, sequence, err);
    if (s == QUERN_OK) s = qn_file_open(&fd, &n_bytes, path, err);
    if (s != QUERN_OK) return s;
    const qn_session_wanted wanted = {.model_key = key, .n_vocab = quern_context_model(ctx)->hparams.n_vocab};
    s = qn_session_file_read(fd, n_bytes, &wanted, parts.cache, sequence, parts.tokens, err);
    if (s != QUERN_OK) qn_fail_prefix(err, "%s", qn_quote(path, strlen(path)).text);
    close(fd);
    return s;
}
