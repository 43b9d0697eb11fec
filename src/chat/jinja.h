/* jinja.h: the part of the Jinja template language that chat templates use.
 *
 * Semantics: Python's jinja2 3.1 in the environment that Hugging Face uses (trim_blocks,
 * lstrip_blocks, loop controls, generation blocks, sandbox). Pure: a template sees its variables and
 * nothing else. Every limit of docs/safety.md is checked before memory is taken.
 * A parsed template is immutable: threads may render it at once. */
#ifndef QN_CHAT_JINJA_H
#define QN_CHAT_JINJA_H

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>

typedef struct qn_jinja qn_jinja;

/* Errors: QUERN_ERR_TEMPLATE with "line N: reason", QUERN_ERR_LIMIT, QUERN_ERR_NOMEM. */
quern_status qn_jinja_parse(qn_jinja **out, const char *source, size_t n_bytes, quern_error *err);
void qn_jinja_destroy(qn_jinja *t); /* NULL is fine */

typedef struct qn_jinja_limits { /* 0: the default */
    size_t max_steps;            /* 1,000,000 evaluation steps */
    size_t max_output_bytes;     /* 16 MiB */
    uint64_t max_ns;             /* 2 s of wall clock */
} qn_jinja_limits;

/* Renders with `variables` (a JSON object; key order kept; borrowed). now_unix: seconds since 1970 as
 * local wall clock time for strftime_now, INT64_MIN: the system's clock. raise_exception gives
 * QUERN_ERR_TEMPLATE with its message. */
quern_status qn_jinja_render(const qn_jinja *t, const json_t *variables, int64_t now_unix,
                             const qn_jinja_limits *limits, qn_buffer *out, quern_error *err);

#endif
