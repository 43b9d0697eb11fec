/* vocab_util.h: what the tests of this room share: small vocabularies built in memory, and the golden
 * ones where they are at hand. */
#ifndef VOCAB_UTIL_H
#define VOCAB_UTIL_H

#include "gguf/gguf.h"
#include "gguf/writer.h"
#include "vocab/vocab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* needs those above */

typedef struct test_vocab {
    qn_gguf gguf;
    char *bytes; /* of the file, where it was made in memory */
    size_t n_bytes;
    qn_vocab *vocab;
} test_vocab;

/* A path below the folder that the environment variable names; false where there is no such file. */
bool test_path(char out[1024], const char *variable, const char *format, const char *name);

/* Opens a vocabulary from a file, or ends the test. */
void test_vocab_open_file(test_vocab *t, const char *path);
/* Opens what the writer collected; the writer is destroyed. Returns the status of qn_vocab_open. */
quern_status test_vocab_open_writer(test_vocab *t, qn_gguf_writer *w, quern_error *err);
void test_vocab_close(test_vocab *t);

/* A byte-level vocabulary of all 256 bytes, merges that build the words of "the quick brown fox" and
 * runs of a, blanks and line ends; BOS, EOS, an added token. pre may be NULL. */
qn_gguf_writer *test_bpe_writer(const char *pre);
/* A SentencePiece vocabulary with byte tokens and some words. */
qn_gguf_writer *test_spm_writer(void);

/* Words of BERT's kind: [PAD] [UNK] [CLS] [SEP] [MASK] are 0 to 4; uncased unless the file says otherwise. */
qn_gguf_writer *test_wordpiece_writer(void);
/* Words of T5's kind with scores: <pad> </s> <unk> are 0 to 2. */
qn_gguf_writer *test_unigram_writer(void);

/* A character map as files hold it, of n pairs (from, to), sorted by `from`. *n_bytes of malloc'd memory. */
char *test_character_map(const char *const pairs[][2], size_t n, size_t *n_bytes);

/* Asserts that the ids of the text read "a|b|", with U+2581 as _. */
void test_check_texts(const qn_vocab *v, const char *text, unsigned flags, const char *wanted);

/* Tokenizes, or ends the test. The ids are freed with qn_free. */
quern_token *test_tokenize(const qn_vocab *v, const char *text, size_t n_bytes, unsigned flags,
                           size_t *n_tokens);

#endif
