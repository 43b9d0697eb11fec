/* problem.h: what is wrong with a request, before it has the shape of a dialect: an HTTP status, a kind that
 * programs tell apart, the field, and a sentence for people that says what to do. */
#ifndef QN_SERVE_PROBLEM_H
#define QN_SERVE_PROBLEM_H

#include "quern.h"

/* name, HTTP status, the "type" and "code" of OpenAI's errors */
#define QN_PROBLEM_MAP(X)                                                                                    \
    X(NONE, 200, "", "")                                                                                     \
    X(MALFORMED, 400, "invalid_request_error", "invalid_json")                                               \
    X(WRONG_TYPE, 400, "invalid_request_error", "invalid_type")                                              \
    X(WRONG_VALUE, 400, "invalid_request_error", "invalid_value")                                            \
    X(MISSING, 400, "invalid_request_error", "missing_required_parameter")                                   \
    X(UNSUPPORTED, 400, "invalid_request_error", "unsupported_value")                                        \
    X(CONTEXT_OVERFLOW, 400, "invalid_request_error", "context_length_exceeded")                             \
    X(TEMPLATE, 400, "invalid_request_error", "template_failed")                                             \
    X(FORBIDDEN, 403, "permission_error", "forbidden")                                                       \
    X(NOT_FOUND, 404, "invalid_request_error", "not_found")                                                  \
    X(NO_MODEL, 404, "invalid_request_error", "model_not_found")                                             \
    X(NO_METHOD, 405, "invalid_request_error", "method_not_allowed")                                         \
    X(TOO_LARGE, 413, "invalid_request_error", "request_too_large")                                          \
    X(TOO_LONG_URI, 414, "invalid_request_error", "uri_too_long")                                            \
    X(BUSY, 429, "rate_limit_error", "too_many_requests")                                                    \
    X(TOO_MANY_HEADERS, 431, "invalid_request_error", "headers_too_large")                                   \
    X(INTERNAL, 500, "server_error", "internal_error")                                                       \
    X(NO_MEMORY, 503, "server_error", "out_of_memory")                                                       \
    X(UNAVAILABLE, 503, "server_error", "unavailable")

typedef enum qn_problem_kind {
#define X(name, status, type, code) QN_PROBLEM_##name,
    QN_PROBLEM_MAP(X)
#undef X
} qn_problem_kind;

typedef struct qn_problem {
    qn_problem_kind kind;
    char field[128]; /* "messages[2].content"; empty: none */
    char message[512];
} qn_problem;

int qn_problem_status(qn_problem_kind kind);       /* of HTTP */
const char *qn_problem_type(qn_problem_kind kind); /* constant strings */
const char *qn_problem_code(qn_problem_kind kind);

/* Notes a problem, unless there is one already. field may be NULL. Returns false. */
__attribute__((format(printf, 4, 5))) bool qn_problem_set(qn_problem *p, qn_problem_kind kind,
                                                          const char *field, const char *format, ...);
bool qn_problem_nomem(qn_problem *p); /* there is no memory for the request; false */
/* What the library says, as a problem of the request; false. */
bool qn_problem_take(qn_problem *p, const char *field, const quern_error *err);

#endif
