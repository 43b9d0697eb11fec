/* text.c: tokens and text through a model's vocabulary. */
#include "engine/model.h"

#include "base/alloc.h"

_Static_assert((int)QUERN_TOKENIZE_ADD_SPECIAL == (int)QN_TOKENIZE_ADD_SPECIAL &&
                   (int)QUERN_TOKENIZE_PARSE_SPECIAL == (int)QN_TOKENIZE_PARSE_SPECIAL,
               "public and internal flags are the same");

quern_status quern_tokenize(const quern_model *m, const char *text, size_t n_bytes, unsigned flags,
                            quern_token **tokens, size_t *n_tokens, quern_error *err)
{
    return qn_vocab_tokenize(m->vocab, text, n_bytes, flags, tokens, n_tokens, err);
}

quern_status quern_detokenize(const quern_model *m, const quern_token *tokens, size_t n_tokens,
                              bool remove_special, bool show_special, char **text, size_t *n_bytes,
                              quern_error *err)
{
    size_t ignored;
    return qn_vocab_detokenize(m->vocab, tokens, n_tokens, remove_special, show_special, text,
                               n_bytes != NULL ? n_bytes : &ignored, err);
}

quern_status quern_token_bytes(const quern_model *m, quern_token token, char **bytes, size_t *n_bytes,
                               quern_error *err)
{
    *bytes = NULL, *n_bytes = 0;
    if (token < 0 || (size_t)token >= qn_vocab_size(m->vocab))
        return qn_fail(err, QUERN_ERR_ARGUMENT, "token %d: the vocabulary has %zu", (int)token,
                       qn_vocab_size(m->vocab));
    *bytes = qn_malloc(qn_vocab_max_piece(m->vocab) + 1);
    if (*bytes == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "token %d: no memory", (int)token);
    *n_bytes = qn_vocab_piece(m->vocab, token, true, *bytes);
    (*bytes)[*n_bytes] = '\0';
    return QUERN_OK;
}

bool quern_token_is_end(const quern_model *m, quern_token token)
{
    return qn_vocab_is_end(m->vocab, token);
}

struct quern_text_stream {
    qn_detokenizer detokenizer;
    char *text;
};

quern_status quern_text_stream_create(quern_text_stream **out, const quern_model *m, bool show_special,
                                      quern_error *err)
{
    quern_text_stream *s = *out = qn_calloc(1, sizeof *s);
    if (s != NULL) s->text = qn_malloc(qn_vocab_max_piece(m->vocab) * 3 + 17);
    if (s == NULL || s->text == NULL) {
        quern_text_stream_destroy(s);
        *out = NULL;
        return qn_fail(err, QUERN_ERR_NOMEM, "text stream: no memory");
    }
    qn_detokenizer_init(&s->detokenizer, m->vocab, show_special);
    return QUERN_OK;
}

void quern_text_stream_destroy(quern_text_stream *s)
{
    if (s == NULL) return;
    qn_free(s->text);
    qn_free(s);
}

static const char *ended(quern_text_stream *s, size_t n, size_t *n_bytes)
{
    s->text[n] = '\0';
    if (n_bytes != NULL) *n_bytes = n;
    return s->text;
}

const char *quern_text_stream_push(quern_text_stream *s, quern_token token, size_t *n_bytes)
{
    return ended(s, qn_detokenizer_push(&s->detokenizer, token, s->text), n_bytes);
}

const char *quern_text_stream_finish(quern_text_stream *s, size_t *n_bytes)
{
    return ended(s, qn_detokenizer_flush(&s->detokenizer, s->text), n_bytes);
}
