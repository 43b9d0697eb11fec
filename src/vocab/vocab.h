/* vocab.h: text to tokens and back.
 *
 * Kinds (tokenizer.ggml.model): byte-level BPE ("gpt2"; the pre-tokenizer patterns are rows of data in
 * pretokenizer.c, chosen by tokenizer.ggml.pre), SPM ("llama": merges by score with byte fallback), BPE on
 * raw UTF-8 ("gemma4"; "whitespace": of words between blanks), unigram ("t5"), and WordPiece ("bert").
 * Immutable once open: threads share it. Linear time, but for a logarithm within long words, and constant
 * stack on any input. */
#ifndef QN_VOCAB_VOCAB_H
#define QN_VOCAB_VOCAB_H

#include "base/log.h"
#include "gguf/gguf.h"

typedef struct qn_vocab qn_vocab;

typedef enum qn_token_kind { /* numbers as in tokenizer.ggml.token_type */
                             QN_TOKEN_NORMAL = 1,
                             QN_TOKEN_UNKNOWN,
                             QN_TOKEN_CONTROL,
                             QN_TOKEN_USER_DEFINED,
                             QN_TOKEN_UNUSED,
                             QN_TOKEN_BYTE
} qn_token_kind;

/* Reads the tokenizer metadata of g, which must outlive the vocabulary. */
quern_status qn_vocab_open(qn_vocab **out, const qn_gguf *g, const qn_log *log, quern_error *err);
void qn_vocab_close(qn_vocab *v); /* NULL is fine */

size_t qn_vocab_size(const qn_vocab *v);
/* "bpe", "spm", "bpe-raw", "bpe-words", "unigram" or "wordpiece" */
const char *qn_vocab_kind_name(const qn_vocab *v);
qn_string qn_vocab_token_text(const qn_vocab *v, quern_token id); /* as stored; id in range */
qn_token_kind qn_vocab_token_kind(const qn_vocab *v, quern_token id);

/* Tokens of code infilling (fill in the middle: Bavarian et al. 2022, arXiv:2207.14255). */
typedef enum qn_infill_token {
    QN_INFILL_PREFIX, /* what is before the gap follows */
    QN_INFILL_SUFFIX, /* what is after it follows */
    QN_INFILL_MIDDLE, /* what belongs into it follows: the model goes on */
    QN_INFILL_PAD,
    QN_INFILL_REPOSITORY, /* the name of a repository follows */
    QN_INFILL_FILE,       /* another file follows */
    QN_INFILL_TOKENS
} qn_infill_token;

/* Special ids, -1 where the file has none. */
typedef struct qn_vocab_special {
    quern_token bos, eos, eot, unk, sep, pad, mask;
    quern_token infill[QN_INFILL_TOKENS];
    bool add_bos, add_eos, add_space_prefix;
} qn_vocab_special;
const qn_vocab_special *qn_vocab_special_ids(const qn_vocab *v);

/* Ends generation: EOS, EOT and the tokens whose text is known to end a turn (<|im_end|>, <end_of_turn>,
 * ...). */
bool qn_vocab_is_end(const qn_vocab *v, quern_token id);

enum {
    QN_TOKENIZE_ADD_SPECIAL = 1,   /* BOS/EOS where the file says so */
    QN_TOKENIZE_PARSE_SPECIAL = 2, /* text of control tokens becomes that token */
};

/* Tokenizes any bytes (invalid UTF-8 included). *tokens is owned by the caller (qn_free). */
quern_status qn_vocab_tokenize(const qn_vocab *v, const char *text, size_t n_bytes, unsigned flags,
                               quern_token **tokens, size_t *n_tokens, quern_error *err);

/* Longest piece of any token; enough room for qn_vocab_piece. */
size_t qn_vocab_max_piece(const qn_vocab *v);

/* The bytes of one token, without stripping of a leading space. Control tokens give their text only
 * with show_special. Returns the number of bytes written (0 for out-of-range ids). */
size_t qn_vocab_piece(const qn_vocab *v, quern_token id, bool show_special, char *out);

/* The text of all ids: the first leading space that the tokenizer had added is stripped. remove_special
 * drops a leading BOS / trailing EOS if the vocabulary adds them. Where the published tokenizer tidies
 * blanks before punctuation, so does this; pieces and streams do not. Owned by the caller (qn_free); may
 * not be valid UTF-8 if the ids are not. */
quern_status qn_vocab_detokenize(const qn_vocab *v, const quern_token *tokens, size_t n_tokens,
                                 bool remove_special, bool show_special, char **text, size_t *n_bytes,
                                 quern_error *err);

/* Streaming: gives bytes as soon as they are whole characters, never half of one. Bytes that can no
 * longer become a character come out as U+FFFD. Caller-held; no memory of its own. */
typedef struct qn_detokenizer {
    const qn_vocab *vocab;
    bool show_special, at_start; /* at_start: the next piece may lose its leading space;
                                    set it to false where the stream continues a text */
    char pending[4];
    size_t n_pending;
} qn_detokenizer;
void qn_detokenizer_init(qn_detokenizer *d, const qn_vocab *v, bool show_special);
/* out holds qn_vocab_max_piece(v) * 3 + 16 bytes. Returns bytes written: valid UTF-8 always. */
size_t qn_detokenizer_push(qn_detokenizer *d, quern_token id, char *out);
size_t qn_detokenizer_flush(qn_detokenizer *d, char *out); /* at the end: what is still pending, as U+FFFD */

#endif
