/* sequence_breakers.c: see sequence_breakers.h. One walk over the vocabulary; the rest of a breaker after
 * each of its bytes is tokenized once. */
#include "engine/sequence_breakers.h"

#include "base/alloc.h"

#include <string.h>

enum { MAX_TEXTS = 64, MAX_BYTES = 40, MAX_TAIL = 20, MAX_ITEMS = 1 << 24 };

typedef struct breaker_text {
    const char *bytes;
    size_t n_bytes;
    quern_token *tails[MAX_BYTES]; /* [i]: tokens of bytes + i; NULL: not yet made */
    size_t n_tail[MAX_BYTES];
} breaker_text;

void qn_sequence_breakers_deinit(qn_sequence_breakers *b)
{
    qn_free(b->items);
    qn_free(b->tokens);
    *b = (qn_sequence_breakers){0};
}

static bool add(qn_sequence_breakers *b, quern_token head, const quern_token *tail, size_t n_tail)
{
    if (!qn_grow(&b->items, &b->items_capacity, b->n_items + 1, MAX_ITEMS, sizeof *b->items)) return false;
    if (!qn_grow(&b->tokens, &b->tokens_capacity, b->n_tokens + 1 + n_tail, MAX_ITEMS, sizeof *b->tokens))
        return false;
    b->items[b->n_items++] =
        (qn_dry_breaker){.n_tokens = 1 + n_tail}; /* where they stand is set at the end */
    b->tokens[b->n_tokens++] = head;
    for (size_t i = 0; i < n_tail; i++) b->tokens[b->n_tokens++] = tail[i];
    return true;
}

/* Tokens of what follows after the first `start` bytes, without the blank that some tokenizers put in front.
 */
static bool make_tail(breaker_text *t, size_t start, const qn_vocab *v, char *piece)
{
    if (t->tails[start] != NULL) return true;
    size_t n = 0;
    if (qn_vocab_tokenize(v, t->bytes + start, t->n_bytes - start, 0, &t->tails[start], &n, NULL) !=
        QUERN_OK) {
        t->tails[start] = NULL;
        return false;
    }
    if (n > 1 && t->bytes[start] != ' ' && qn_vocab_piece(v, t->tails[start][0], false, piece) == 1 &&
        piece[0] == ' ')
        memmove(t->tails[start], t->tails[start] + 1, --n * sizeof *t->tails[start]);
    t->n_tail[start] = n < MAX_TAIL ? n : MAX_TAIL;
    return true;
}

/* piece holds n bytes of the token's text; spare is of the same size. */
static bool add_token(qn_sequence_breakers *b, breaker_text *t, const qn_vocab *v, quern_token token,
                      const char *piece, size_t n, char *spare)
{
    if (n >= t->n_bytes && memmem(piece, n, t->bytes, t->n_bytes) != NULL) return add(b, token, NULL, 0);
    for (size_t length = n < t->n_bytes ? n : t->n_bytes - 1; length > 0; length--) {
        if (memcmp(piece + n - length, t->bytes, length) != 0) continue;
        if (!make_tail(t, length, v, spare)) return false;
        if (!add(b, token, t->tails[length], t->n_tail[length])) return false;
    }
    return true;
}

static quern_status check_texts(const char *const *texts, size_t n_texts, quern_error *err)
{
    if (n_texts > MAX_TEXTS)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "dry_sequence_breakers: %zu texts (at most %d are possible)",
                       n_texts, MAX_TEXTS);
    for (size_t i = 0; i < n_texts; i++) {
        const size_t n_bytes = texts != NULL && texts[i] != NULL ? strnlen(texts[i], MAX_BYTES + 1) : 0;
        if (n_bytes < 1 || n_bytes > MAX_BYTES)
            return qn_fail(err, QUERN_ERR_ARGUMENT,
                           "dry_sequence_breakers[%zu]: %s (1 to %d bytes are possible)", i,
                           n_bytes < 1 ? "empty" : "too long", MAX_BYTES);
    }
    return QUERN_OK;
}

static bool walk(qn_sequence_breakers *b, const qn_vocab *v, breaker_text *texts, size_t n_texts)
{
    const size_t max_piece = qn_vocab_max_piece(v) + 1;
    char *piece = qn_malloc(2 * max_piece);
    bool ok = piece != NULL;
    for (size_t id = 0; ok && id < qn_vocab_size(v); id++) {
        const size_t n = qn_vocab_piece(v, (quern_token)id, true, piece);
        for (size_t i = 0; ok && i < n_texts; i++)
            ok = add_token(b, &texts[i], v, (quern_token)id, piece, n, piece + max_piece);
    }
    qn_free(piece);
    return ok;
}

quern_status qn_sequence_breakers_init(qn_sequence_breakers *b, const qn_vocab *v, const char *const *texts,
                                       size_t n_texts, quern_error *err)
{
    *b = (qn_sequence_breakers){0};
    const quern_status s = check_texts(texts, n_texts, err);
    if (s != QUERN_OK) return s;
    breaker_text *list = qn_calloc(n_texts, sizeof *list);
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < n_texts; i++) {
        list[i].bytes = texts[i];
        list[i].n_bytes = strlen(texts[i]);
    }
    ok = ok && walk(b, v, list, n_texts);
    for (size_t i = 0; list != NULL && i < n_texts; i++)
        for (size_t j = 0; j < MAX_BYTES; j++) qn_free(list[i].tails[j]);
    qn_free(list);
    if (!ok) {
        qn_sequence_breakers_deinit(b);
        return qn_fail(err, QUERN_ERR_NOMEM,
                       "dry_sequence_breakers: no memory for the tokens that spell them");
    }
    const quern_token *next = b->tokens;
    for (size_t i = 0; i < b->n_items; next += b->items[i++].n_tokens) b->items[i].tokens = next;
    return QUERN_OK;
}
