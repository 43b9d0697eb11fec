/* output_parser.h: what a model writes, back into messages: content, reasoning, tool calls, as it comes.
 *
 * Text goes in as it is generated, events come out. Only what may be the beginning of a marker, or of a call
 * whose name is not yet known, is held back; the events, with neighbouring deltas of a kind put together, do
 * not depend on how the text was cut. No text is wrong: what cannot be read as a call stays content, byte for
 * byte. Blanks between reasoning, content and calls belong to the format and are left out. */
#ifndef QN_CHAT_OUTPUT_PARSER_H
#define QN_CHAT_OUTPUT_PARSER_H

#include "base/error.h"
#include "chat/output_format.h"

#include <jansson.h>
#include <stdint.h>

enum {
    QN_OUTPUT_MAX_CALLS = 256,         /* further ones are content */
    QN_OUTPUT_MAX_NAME = 256,          /* bytes of a tool's name, and of a parameter's */
    QN_OUTPUT_MAX_HEAD = 4096,         /* bytes of a call before its arguments; more than that is content */
    QN_OUTPUT_MAX_VALUE = 1024 * 1024, /* bytes of a parameter of unknown type; more than that is text */
    QN_OUTPUT_ID_BYTES = 9 /* letters and digits: what Mistral's templates demand, others accept */
};

typedef enum qn_output_kind {
    QN_OUTPUT_CONTENT,   /* text, n_bytes: whole characters, if what was pushed is UTF-8 */
    QN_OUTPUT_REASONING, /* likewise */
    QN_OUTPUT_CALL,      /* call, id, name: a call begins */
    QN_OUTPUT_ARGUMENTS, /* call, text, n_bytes: more of its arguments, which are JSON text */
    QN_OUTPUT_CALL_END   /* call, complete */
} qn_output_kind;

typedef struct qn_output_event {
    qn_output_kind kind;
    int call;         /* 0, 1, ... */
    const char *id;   /* these are valid during the call of qn_output_fn */
    const char *name; /* NUL-terminated */
    const char *text; /* not terminated */
    size_t n_bytes;   /* never 0 in a delta */
    bool complete;    /* false: the arguments broke off */
} qn_output_event;

/* False: no memory; the parser then fails with QUERN_ERR_NOMEM. It must not call the parser. */
typedef bool qn_output_fn(void *user, const qn_output_event *event);

typedef struct qn_output_params {
    const qn_output_format *format; /* NULL: that of any model */
    const json_t
        *tools; /* as in requests: what has other names is no call; NULL: any name is one; []: none */
    const char *prompt_end;    /* the end of the prompt, which may have begun the answer; NULL: not known */
    bool reasoning_is_content; /* reasoning is not told apart: its markers are content too */
    uint64_t id_seed;          /* ids are a function of this and the number of the call */
    qn_output_fn *emit;
    void *user;
} qn_output_params;

typedef struct qn_output_parser qn_output_parser; /* one thread at a time */

/* tools are kept (a reference), all else is read during the call. Errors: QUERN_ERR_NOMEM. */
quern_status qn_output_parser_create(qn_output_parser **out, const qn_output_params *params,
                                     quern_error *err);
void qn_output_parser_destroy(qn_output_parser *p); /* NULL is fine */

/* Text goes in. Errors: QUERN_ERR_NOMEM, after which nothing more comes out. */
quern_status qn_output_parser_push(qn_output_parser *p, const char *bytes, size_t n_bytes, quern_error *err);

/* No more comes: what is held back comes out; a call that was begun ends as it is. Nothing may be pushed
 * afterwards. Errors: QUERN_ERR_NOMEM. */
quern_status qn_output_parser_finish(qn_output_parser *p, quern_error *err);

/* Whether a prompt has opened the reasoning: it ends with one of its beginnings, blanks aside. */
bool qn_output_begins_reasoning(const qn_output_format *format, const char *prompt);

/* How many bytes are held back now, for tests. */
size_t qn_output_parser_held(const qn_output_parser *p);

#endif
