/* stop.c: see stop.h. */
#include "engine/stop.h"

#include "base/checked.h"
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

quern_status qn_stop_init(qn_stop *s, const char *const *texts, size_t n_texts, quern_error *err)
{
    *s = (qn_stop){.texts = texts, .n_texts = n_texts, .found = -1};
    if (n_texts > QUERN_MAX_STOPS)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%zu stop strings (at most %d are possible)", n_texts,
                       QUERN_MAX_STOPS);
    for (size_t i = 0; i < n_texts; i++) {
        const size_t n = strlen(texts[i]);
        if (n == 0 || n > QUERN_MAX_STOP_BYTES)
            return qn_fail(err, QUERN_ERR_ARGUMENT, "stop string %zu: %zu bytes (1 to %d are possible)", i, n,
                           QUERN_MAX_STOP_BYTES);
        if (!qn_utf8_valid(texts[i], n))
            return qn_fail(err, QUERN_ERR_ARGUMENT, "stop string %zu: not UTF-8", i);
    }
    return QUERN_OK;
}

void qn_stop_deinit(qn_stop *s)
{
    qn_buffer_deinit(&s->held);
    qn_buffer_deinit(&s->clear);
}

/* The place where the text begins that is complete first, of two at once the longer one, or n_bytes. So what
 * is found does not depend on how the stream was cut. */
static size_t find_text(qn_stop *s)
{
    size_t begin = s->held.n_bytes, end = SIZE_MAX;
    for (size_t i = 0; i < s->n_texts; i++) {
        const size_t n = strlen(s->texts[i]);
        const char *found = memmem(s->held.data, s->held.n_bytes, s->texts[i], n);
        const size_t at = found != NULL ? (size_t)(found - s->held.data) : 0;
        if (found == NULL || at + n > end || (at + n == end && at >= begin)) continue;
        begin = at, end = at + n;
        s->found = (int)i;
    }
    return begin;
}

/* How many bytes at the end begin a text: the longest such end. */
static size_t may_begin(const qn_stop *s)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->n_texts; i++) {
        for (size_t n = qn_min_size(strlen(s->texts[i]) - 1, s->held.n_bytes); n > longest; n--)
            if (memcmp(s->held.data + s->held.n_bytes - n, s->texts[i], n) == 0) longest = n;
    }
    return longest;
}

/* Moves n bytes from what is held to what is given away. */
static const char *give(qn_stop *s, size_t n, size_t *n_clear)
{
    qn_buffer_clear(&s->clear);
    if (!qn_buffer_append(&s->clear, n > 0 ? s->held.data : "", n)) return NULL;
    if (n > 0) {
        memmove(s->held.data, s->held.data + n, s->held.n_bytes - n + 1);
        s->held.n_bytes -= n;
    }
    *n_clear = n;
    return s->clear.data;
}

const char *qn_stop_push(qn_stop *s, const char *text, size_t n_bytes, size_t *n_clear)
{
    if (!qn_buffer_append(&s->held, text, n_bytes)) return NULL;
    if (s->held.n_bytes == 0) return give(s, 0, n_clear);
    const size_t at = find_text(s);
    return give(s, s->found >= 0 ? at : s->held.n_bytes - may_begin(s), n_clear);
}

const char *qn_stop_finish(qn_stop *s, size_t *n_clear)
{
    return give(s, s->held.n_bytes, n_clear);
}
