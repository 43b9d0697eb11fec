/* stop_fuzz.c: stop texts in a stream. The bytes give stop texts, a text and the places where it is cut: what
 * comes out and which stop text is found must be the same as in one piece, and nothing of the found one comes
 * out. */
#include "engine/stop.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_TEXTS = 4, MAX_TEXT = 12, MAX_STREAM = 512 };

static void push(qn_stop *s, const char *text, size_t n_bytes, qn_buffer *out)
{
    size_t n_clear = 0;
    const char *clear = qn_stop_push(s, text, n_bytes, &n_clear);
    if (clear == NULL || clear[n_clear] != '\0') abort();
    qn_buffer_append(out, clear, n_clear);
}

/* cuts NULL: in one piece. Returns what was found. */
static int run(const char *const *texts, size_t n_texts, const char *stream, size_t n_bytes,
               const uint8_t *cuts, size_t n_cuts, qn_buffer *out)
{
    qn_stop s;
    if (qn_stop_init(&s, texts, n_texts, NULL) != QUERN_OK) {
        qn_stop_deinit(&s);
        return -2;
    }
    for (size_t at = 0, k = 0; at < n_bytes && s.found < 0; k++) {
        size_t piece = cuts != NULL && n_cuts > 0 ? cuts[k % n_cuts] % 5 : n_bytes;
        if (piece == 0 && k % 2 == 0) piece = 1; /* empty pieces too, but not only */
        if (piece > n_bytes - at) piece = n_bytes - at;
        push(&s, stream + at, piece, out);
        at += piece;
    }
    size_t n_clear = 0;
    const char *rest = s.found < 0 ? qn_stop_finish(&s, &n_clear) : "";
    if (rest == NULL) abort();
    qn_buffer_append(out, rest, n_clear);
    const int found = s.found;
    qn_stop_deinit(&s);
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char texts[MAX_TEXTS][MAX_TEXT + 1];
    const char *pointers[MAX_TEXTS];
    size_t at = 1;
    if (size < 2) return 0;
    const size_t n_texts = data[0] % (MAX_TEXTS + 1);
    for (size_t i = 0; i < n_texts; i++) {
        size_t n = at < size ? data[at++] % MAX_TEXT : 0;
        if (n > size - at) n = size - at;
        memcpy(texts[i], data + at, n);
        texts[i][n] = '\0';
        pointers[i] = texts[i];
        at += n;
    }
    const size_t n_stream = (size - at) / 2 < MAX_STREAM ? (size - at) / 2 : MAX_STREAM;
    const char *stream = (const char *)data + at;
    qn_buffer whole = {0}, cut = {0};
    const int found = run(pointers, n_texts, stream, n_stream, NULL, 0, &whole);
    if (run(pointers, n_texts, stream, n_stream, data + at + n_stream, n_stream, &cut) != found) abort();
    if (whole.n_bytes != cut.n_bytes ||
        (whole.n_bytes > 0 && memcmp(whole.data, cut.data, whole.n_bytes) != 0))
        abort();
    for (size_t i = 0; found != -2 && i < n_texts; i++)
        if (whole.n_bytes > 0 && memmem(whole.data, whole.n_bytes, texts[i], strlen(texts[i])) != NULL)
            abort();
    qn_buffer_deinit(&whole);
    qn_buffer_deinit(&cut);
    return 0;
}
