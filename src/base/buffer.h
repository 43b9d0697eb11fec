/* buffer.h: a string of bytes that grows, with a maximum. A failed append sets `failed` and keeps
 * what was there, so a writer may append many times and check once. */
#ifndef QN_BASE_BUFFER_H
#define QN_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct qn_buffer {
    char *data;     /* NUL-terminated whenever not NULL */
    size_t n_bytes; /* without the NUL */
    size_t capacity;
    size_t max_bytes; /* 0: 1 GiB */
    bool failed;      /* out of memory or over the maximum */
    bool over_max;    /* it failed because of the maximum */
} qn_buffer;

void qn_buffer_deinit(qn_buffer *b);
void qn_buffer_clear(qn_buffer *b);
bool qn_buffer_append(qn_buffer *b, const void *bytes, size_t n_bytes);
bool qn_buffer_puts(qn_buffer *b, const char *text);
bool qn_buffer_putc(qn_buffer *b, char c);
__attribute__((format(printf, 2, 3))) bool qn_buffer_printf(qn_buffer *b, const char *format, ...);
/* The bytes as a NUL-terminated string owned by the caller (qn_free); NULL if the buffer failed. */
char *qn_buffer_take(qn_buffer *b, size_t *n_bytes);

#endif
