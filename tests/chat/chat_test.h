/* chat_test.h: what every test program of this room includes: rendering a template in one call. */
#ifndef TESTS_CHAT_TEST_H
#define TESTS_CHAT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "chat/jinja.h"

/* 2025-03-14 09:26:53, a Friday */
static const int64_t TEST_NOW = 1741944413;

/* Parses and renders; the caller deinits *text. */
static inline quern_status render_with(const char *source, size_t n_bytes, const json_t *variables,
                                       const qn_jinja_limits *limits, qn_buffer *text, quern_error *err)
{
    qn_jinja *t = NULL;
    *text = (qn_buffer){0};
    quern_status status = qn_jinja_parse(&t, source, n_bytes, err);
    if (status == QUERN_OK) status = qn_jinja_render(t, variables, TEST_NOW, limits, text, err);
    qn_jinja_destroy(t);
    return status;
}

/* Variables are JSON text, or NULL for none. */
static inline quern_status render(const char *source, const char *variables, qn_buffer *text,
                                  quern_error *err)
{
    json_error_t where;
    json_t *v = json_loads(variables != NULL ? variables : "{}", 0, &where);
    if (v == NULL) fail_msg("test variables: %s", where.text);
    const qn_jinja_limits patient = {.max_ns =
                                         120000000000u}; /* other limits are to be met first, however slow */
    const quern_status status = render_with(source, strlen(source), v, &patient, text, err);
    json_decref(v);
    return status;
}

#define ASSERT_RENDERS(source, variables, expected)                                                          \
    assert_renders_at(source, variables, expected, __FILE__, __LINE__)
static inline void assert_renders_at(const char *source, const char *variables, const char *expected,
                                     const char *file, int line)
{
    qn_buffer text;
    quern_error err = {0};
    const quern_status status = render(source, variables, &text, &err);
    if (status != QUERN_OK) {
        print_error("%s\n  fails: %s\n", source, err.message);
        _fail(file, line);
    }
    if (strcmp(text.data != NULL ? text.data : "", expected) != 0) {
        print_error("%s\n  gives    %s\n  expected %s\n", source, text.data, expected);
        _fail(file, line);
    }
    qn_buffer_deinit(&text);
}

#define ASSERT_FAILS(source, variables, status, part)                                                        \
    assert_fails_at(source, variables, status, part, __FILE__, __LINE__)
static inline void assert_fails_at(const char *source, const char *variables, quern_status expected,
                                   const char *part, const char *file, int line)
{
    qn_buffer text;
    quern_error err = {0};
    const quern_status status = render(source, variables, &text, &err);
    if (status != expected || err.status != expected || strstr(err.message, part) == NULL) {
        print_error("%.200s\n  status %d, message %s\n  expected %d, '%s'\n", source, (int)status,
                    err.message, (int)expected, part);
        _fail(file, line);
    }
    assert_int_equal(text.n_bytes, 0); /* nothing is given on failure */
    qn_buffer_deinit(&text);
}

#endif
