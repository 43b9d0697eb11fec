/* vocab_private.h: what the files of this room share: the vocabulary itself, the table of kinds, and
 * the scratch memory of one call of qn_vocab_tokenize.
 *
 * A kind of tokenizer is a row of functions (qn_vocab_kind). vocab.c reads what all kinds have in
 * common, tokenize.c cuts the text at special tokens and gives the rest to the kind's encode. */
#ifndef QN_VOCAB_VOCAB_PRIVATE_H
#define QN_VOCAB_VOCAB_PRIVATE_H

#include "base/buffer.h"
#include "vocab/joins.h"
#include "vocab/merge.h"
#include "vocab/special.h"
#include "vocab/vocab.h"
#include "vocab/word_memory.h"

enum {
    QN_TOKEN_MAX_BYTES = 65536,  /* longer token texts are refused */
    QN_WORD_MAX_BYTES = 1 << 18, /* a longer word is cut, so scratch memory is bounded */
};
static const size_t QN_TEXT_MAX_BYTES = (size_t)256 << 20;

enum {                             /* bits of qn_vocab.flags */
       QN_TOKEN_ENDS = 1,          /* ends generation */
       QN_TOKEN_STRIPS_AFTER = 2,  /* swallows the white space that follows it in the text */
       QN_TOKEN_STRIPS_BEFORE = 4, /* and that which comes before it */
};

/* A byte of a text: the best way to it ends with the token of a node of the trie, which begins at `begin`. */
typedef struct qn_lattice_place {
    double score;
    uint32_t begin, node;
} qn_lattice_place;

/* One call of qn_vocab_tokenize. */
typedef struct qn_encoder {
    const qn_vocab *vocab;
    quern_token *tokens; /* the output */
    size_t n_tokens, capacity;
    qn_merger merger;
    qn_buffer text;           /* the kind's own: normalized or escaped text */
    qn_word_memory words;     /* seen before in this call */
    qn_lattice_place *places; /* [place_capacity] unigram's */
    size_t place_capacity;
} qn_encoder;

bool qn_encoder_grow(qn_encoder *e); /* room for one more id. False: no memory */

static inline bool qn_encoder_push(qn_encoder *e, quern_token id)
{
    if (e->n_tokens == e->capacity && !qn_encoder_grow(e)) return false;
    e->tokens[e->n_tokens++] = id;
    return true;
}

/* Appends the ids of a word: those of the last time, if it was seen before in this call, else those that
 * encode pushes, which must depend on the word and the variant alone. False: no memory. */
typedef bool qn_encode_word_fn(qn_encoder *e, const char *word, size_t n_bytes);
bool qn_encoder_new_word(qn_encoder *e, const char *word, size_t n_bytes, uint8_t variant,
                         qn_encode_word_fn *encode);
bool qn_encoder_repeat(qn_encoder *e, const qn_word_ids *ids);

static inline bool qn_encoder_word(qn_encoder *e, const char *word, size_t n_bytes, uint8_t variant,
                                   qn_encode_word_fn *encode)
{
    const qn_word_ids *ids = qn_word_memory_find(&e->words, word, n_bytes, variant);
    if (ids == NULL) return qn_encoder_new_word(e, word, n_bytes, variant, encode);
    return ids->n_tokens == 1 ? qn_encoder_push(e, (quern_token)ids->token) : qn_encoder_repeat(e, ids);
}

/* How a text that merges from its characters is cut before merging. */
typedef struct qn_stretch_rules {
    const qn_joins *joins;
    bool cuts_at_lines;                          /* before and after line ends, whatever tokens there are */
    qn_encode_word_fn *encode, *encode_prefixed; /* the latter puts a U+2581 in front */
} qn_stretch_rules;

/* Cuts the text where no token crosses, and appends the ids of the stretches. False: no memory. */
bool qn_encoder_stretches(qn_encoder *e, const qn_stretch_rules *rules, const char *text, size_t n_bytes,
                          bool prefix);

typedef struct qn_vocab_kind {
    const char *model; /* tokenizer.ggml.model */
    const char *name;
    /* Reads the kind's own metadata into v->kind_data; sets defaults of v->special before the file's
     * keys are read over them. */
    quern_status (*open)(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err);
    void (*close)(qn_vocab *v); /* kind_data may be NULL or half built */
    /* Appends the ids of a text without special tokens. at_start: at the start of the text or right
     * after a special token. False: no memory. */
    bool (*encode)(qn_encoder *e, const char *text, size_t n_bytes, bool at_start);
    /* Bytes of a NORMAL token's text. At most as many as the text has. */
    size_t (*decode)(const qn_vocab *v, qn_string text, char *out);
} qn_vocab_kind;

extern const qn_vocab_kind qn_vocab_kind_bpe, qn_vocab_kind_bpe_raw, qn_vocab_kind_bpe_words,
    qn_vocab_kind_spm, qn_vocab_kind_unigram, qn_vocab_kind_wordpiece;

struct qn_vocab {
    const qn_vocab_kind *kind;
    void *kind_data;
    const qn_string *tokens; /* [n_tokens] borrowed from the file */
    size_t n_tokens;
    uint8_t *kinds;            /* [n_tokens] qn_token_kind */
    uint8_t *flags;            /* [n_tokens] */
    qn_hash_map index;         /* text of a token to its id; the first of equal texts; no empty ones */
    quern_token byte_ids[256]; /* "<0x41>" tokens, -1 where there is none */
    qn_vocab_special special;
    bool clean_spaces;    /* detokenize tidies blanks before punctuation */
    bool has_token_kinds; /* the file has tokenizer.ggml.token_type */
    size_t max_piece;
    qn_special_matcher specials;
};

/* The id that the file's key names; *id stays where there is no such key, or, with a warning, no such token.
 */
quern_status qn_vocab_read_special_id(const qn_vocab *v, const qn_gguf *g, const char *key, quern_token *id,
                                      const qn_log *log, quern_error *err);
/* Reads v->special over what the kind set, and marks the tokens that are known by their texts. */
quern_status qn_vocab_read_special(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err);

/* Whether ordinary text may become the token: it is no control, unknown or byte token. */
bool qn_vocab_is_plain(const qn_vocab *v, quern_token id);
/* The id of a text that ordinary text may become, or -1. */
quern_token qn_vocab_plain_id(const qn_vocab *v, const char *text, size_t n_bytes);
/* Pushes the bytes one by one as byte tokens; unknown where there is none. */
bool qn_encoder_push_bytes(qn_encoder *e, const char *bytes, size_t n_bytes);
/* The value of "<0x41>", or -1 if the text is not exactly that. */
int qn_parse_byte_token(qn_string text);
/* U+2581 becomes a blank; everything else is copied. */
size_t qn_decode_meta_space(const qn_vocab *v, qn_string text, char *out);

#define QN_META_SPACE "\xe2\x96\x81" /* U+2581, which stands for a blank in SentencePiece vocabularies */

#endif
