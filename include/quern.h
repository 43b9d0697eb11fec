/* quern.h: the public interface of libquern, an LLM inference engine.
 *
 * Everything is reached through handles; there is no global state. The library never prints and
 * never ends the program: failures are a quern_status and one line in a quern_error, log lines go to
 * a callback. Strings are UTF-8 and NUL-terminated unless a length stands beside them. Structs that
 * callers fill begin with struct_bytes, set by the *_default functions, so that they can grow.
 *
 * A program in seven calls:
 *
 *     quern_model_open -> quern_context_create -> quern_tokenize -> quern_decode ->
 *     quern_sampler_sample -> quern_token_text -> (again quern_decode with the new token)
 */
#ifndef QUERN_H
#define QUERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define QUERN_API __attribute__((visibility("default")))
#else
#define QUERN_API
#endif

/* ---- errors and log ------------------------------------------------------------------------- */

#define QUERN_STATUS_MAP(X)                                       \
    X(OK, 0, "success")                                           \
    X(ERR_NOMEM, -1, "out of memory")                             \
    X(ERR_NOT_FOUND, -2, "not found")                             \
    X(ERR_IO, -3, "input or output failed")                       \
    X(ERR_FORMAT, -4, "malformed data")                           \
    X(ERR_UNSUPPORTED, -5, "valid, but not supported")            \
    X(ERR_ARGUMENT, -6, "argument out of range")                  \
    X(ERR_CTX_FULL, -7, "context window is full")                 \
    X(ERR_LIMIT, -8, "a limit on size, depth or work was reached") \
    X(ERR_TEMPLATE, -9, "chat template failed")                   \
    X(ERR_NETWORK, -10, "download failed")                        \
    X(ERR_CHECKSUM, -11, "checksum does not match")               \
    X(ERR_BUSY, -12, "in use by another process")                 \
    X(ERR_CANCELED, -13, "canceled")

typedef enum quern_status {
#define X(name, value, text) QUERN_##name = value,
    QUERN_STATUS_MAP(X)
#undef X
} quern_status;

typedef struct quern_error {
    quern_status status;
    char message[512]; /* one line: what failed, where, the numbers involved, what to do */
} quern_error;

/** The general meaning of a status, a constant string. */
QUERN_API const char *quern_status_text(quern_status status);

typedef enum quern_log_level { QUERN_LOG_DEBUG, QUERN_LOG_INFO, QUERN_LOG_WARN } quern_log_level;
/** Receives one line without line end; may be called from the thread that called the library. */
typedef void quern_log_fn(void *user, quern_log_level level, const char *line);

typedef int32_t quern_token;

/** "0.1.0". */
QUERN_API const char *quern_version(void);

#ifdef __cplusplus
}
#endif

#endif
