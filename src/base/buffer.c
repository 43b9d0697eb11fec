/* buffer.c: growable bytes. */
#include "base/buffer.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool reserve(qn_buffer *b, size_t extra)
{
    const size_t max = b->max_bytes > 0 ? b->max_bytes : (size_t)1 << 30;
    size_t need;
    if (b->failed) return false;
    b->over_max = !qn_add_size(b->n_bytes, extra, &need) || need > max;
    if (b->over_max) return !(b->failed = true);
    if (!qn_grow(&b->data, &b->capacity, need + 1, max + 1, 1)) return !(b->failed = true);
    return true;
}

void qn_buffer_deinit(qn_buffer *b)
{
    qn_free(b->data);
    memset(b, 0, sizeof *b);
}

void qn_buffer_clear(qn_buffer *b)
{
    b->n_bytes = 0;
    b->failed = b->over_max = false;
    if (b->data != NULL) b->data[0] = '\0';
}

bool qn_buffer_append(qn_buffer *b, const void *bytes, size_t n_bytes)
{
    if (!reserve(b, n_bytes)) return false;
    if (n_bytes > 0) memcpy(b->data + b->n_bytes, bytes, n_bytes);
    b->n_bytes += n_bytes;
    b->data[b->n_bytes] = '\0';
    return true;
}

bool qn_buffer_puts(qn_buffer *b, const char *text)
{
    return qn_buffer_append(b, text, strlen(text));
}
bool qn_buffer_putc(qn_buffer *b, char c)
{
    return qn_buffer_append(b, &c, 1);
}

bool qn_buffer_printf(qn_buffer *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    const bool ok = n >= 0 && reserve(b, (size_t)n);
    if (ok) {
        vsnprintf(b->data + b->n_bytes, (size_t)n + 1, format, again);
        b->n_bytes += (size_t)n;
    }
    va_end(again);
    return ok;
}

char *qn_buffer_take(qn_buffer *b, size_t *n_bytes)
{
    if (b->failed || (b->data == NULL && !reserve(b, 0))) {
        qn_buffer_deinit(b);
        return NULL;
    }
    b->data[b->n_bytes] = '\0';
    char *data = b->data;
    if (n_bytes != NULL) *n_bytes = b->n_bytes;
    b->data = NULL;
    qn_buffer_deinit(b);
    return data;
}
