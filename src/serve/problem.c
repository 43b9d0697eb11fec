/* problem.c: see problem.h. */
#include "serve/problem.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct problem_row {
    int status;
    const char *type, *code;
} problem_row;

static const problem_row rows[] = {
#define X(name, status, type, code) [QN_PROBLEM_##name] = {status, type, code},
    QN_PROBLEM_MAP(X)
#undef X
};

int qn_problem_status(qn_problem_kind kind)
{
    return rows[kind].status;
}
const char *qn_problem_type(qn_problem_kind kind)
{
    return rows[kind].type;
}
const char *qn_problem_code(qn_problem_kind kind)
{
    return rows[kind].code;
}

/* Texts from outside are quoted, and cut: what is no UTF-8 any more is replaced. */
static void make_utf8(char *text)
{
    const size_t n_bytes = strlen(text);
    for (size_t i = 0, n; i < n_bytes; i += n) {
        uint32_t codepoint;
        n = qn_utf8_decode(text + i, n_bytes - i, &codepoint);
        if (n == 0) text[i] = '?', n = 1;
    }
}

bool qn_problem_set(qn_problem *p, qn_problem_kind kind, const char *field, const char *format, ...)
{
    va_list arguments;
    if (p->kind != QN_PROBLEM_NONE) return false;
    p->kind = kind;
    snprintf(p->field, sizeof p->field, "%s", field != NULL ? field : "");
    va_start(arguments, format);
    vsnprintf(p->message, sizeof p->message, format, arguments);
    va_end(arguments);
    make_utf8(p->field), make_utf8(p->message);
    return false;
}

bool qn_problem_nomem(qn_problem *p)
{
    return qn_problem_set(p, QN_PROBLEM_NO_MEMORY, NULL, "no memory for the request");
}

/* A request that was read without a problem can still be one that the library refuses. */
static qn_problem_kind kind_of(quern_status status)
{
    switch (status) {
    case QUERN_ERR_ARGUMENT:
        return QN_PROBLEM_WRONG_VALUE;
    case QUERN_ERR_UNSUPPORTED:
    case QUERN_ERR_LIMIT:
        return QN_PROBLEM_UNSUPPORTED;
    case QUERN_ERR_CTX_FULL:
        return QN_PROBLEM_CONTEXT_OVERFLOW;
    case QUERN_ERR_TEMPLATE:
        return QN_PROBLEM_TEMPLATE;
    case QUERN_ERR_NOT_FOUND:
        return QN_PROBLEM_NO_MODEL;
    case QUERN_ERR_BUSY:
        return QN_PROBLEM_BUSY;
    case QUERN_ERR_NOMEM:
        return QN_PROBLEM_NO_MEMORY;
    case QUERN_ERR_CANCELED:
        return QN_PROBLEM_UNAVAILABLE;
    default:
        return QN_PROBLEM_INTERNAL;
    }
}

bool qn_problem_take(qn_problem *p, const char *field, const quern_error *err)
{
    return qn_problem_set(p, kind_of(err->status), field, "%s", err->message);
}
