/* output_state.h: the inside of the output parser, shared by its files.
 *
 * The text that was not yet read stands in `pending` from `at` on. A step looks at it and either takes bytes,
 * and perhaps changes the state, or takes none and waits. To look is to match from a place on without taking
 * anything; a match that runs out of text is PART and is tried again when there is more. Alternatives are
 * tried in a fixed order and the first that is not NONE decides: so more text never changes a decision. */
#ifndef QN_CHAT_OUTPUT_STATE_H
#define QN_CHAT_OUTPUT_STATE_H

#include "base/buffer.h"
#include "chat/json_text.h"
#include "chat/literal.h"
#include "chat/output_parser.h"

#include <string.h>

typedef enum qn_match { QN_MATCH_NONE, QN_MATCH_PART, QN_MATCH_FULL } qn_match;

typedef struct qn_look { /* n_bytes ends where the text does, or the patience */
    const char *bytes;
    size_t n_bytes, at;
} qn_look;

typedef struct qn_span {
    size_t begin, end; /* of pending */
} qn_span;

typedef enum qn_output_state {
    QN_STATE_CONTENT,
    QN_STATE_REASONING,
    QN_STATE_MESSAGE, /* the head of a message may come */
    QN_STATE_ARGUMENTS,
    QN_STATE_TAIL,   /* the rest of an object whose arguments are read */
    QN_STATE_BETWEEN /* after a call: what closes it, or the next one */
} qn_output_state;

typedef enum qn_arguments {
    QN_ARGUMENTS_HELD, /* they stand in the head; an empty span is {} */
    QN_ARGUMENTS_JSON,
    QN_ARGUMENTS_STRING, /* JSON in a JSON string */
    QN_ARGUMENTS_PARAMETERS,
    QN_ARGUMENTS_TEXT_VALUE, /* within a parameter that is text */
    QN_ARGUMENTS_HELD_VALUE, /* within one of unknown type */
    QN_ARGUMENTS_LITERAL,
    QN_ARGUMENTS_BODY /* the body of a message */
} qn_arguments;

typedef struct qn_call_head {
    qn_span name, held;
    qn_arguments arguments;
    char closes;     /* LITERAL: what ends the arguments */
    size_t nest;     /* objects that must be closed behind the arguments */
    bool in_array;   /* '[' was read */
    bool in_section; /* one of format->begin was read, or the call stands bare */
} qn_call_head;

typedef enum qn_message_target { QN_TO_CONTENT, QN_TO_REASONING, QN_TO_TOOL } qn_message_target;

struct qn_output_parser {
    const qn_output_format *format;
    json_t *tools; /* NULL: any name */
    bool reasoning_is_content;
    uint64_t id_seed;
    qn_output_fn *emit;
    void *user;

    qn_buffer pending;
    size_t at;
    size_t n_blank;   /* CONTENT, REASONING: blanks at `at` that were looked at */
    size_t n_scanned; /* HELD_VALUE: bytes at `at` that were looked at */
    qn_buffer out;    /* a delta being made */
    qn_output_state state;
    bool final;      /* nothing more comes */
    bool failed;     /* no memory */
    bool said;       /* content came out */
    bool fresh;      /* only blanks stand before the place looked at, in this reasoning or in all content */
    bool drop_blank; /* blanks that come now belong to the format */
    bool marks[256]; /* the bytes that markers begin with */

    int n_calls;
    const json_t *properties; /* of the parameters of the tool that is called, or NULL */
    qn_arguments arguments;
    const char *value_end; /* of the parameter being read */
    bool some_arguments;   /* a delta of arguments came out */
    bool some_parameters;
    bool in_array, in_section;
    bool call_open; /* arguments_end has not come yet */
    size_t nest;    /* objects to close behind the arguments */
    qn_json_scan scan;
    qn_literal literal;
};

/* ---- output_look.c: matching without taking ---- */

qn_look qn_look_at(const qn_output_parser *p, size_t at);
/* text, in which each run of blanks stands for any number of blanks; those at its end are not taken. */
qn_match qn_look_text(qn_look *l, const char *text, size_t n_bytes);
void qn_look_blanks(qn_look *l);
/* The next byte that is no blank. */
qn_match qn_look_byte(qn_look *l, char c);
/* A name of a tool: letters, digits and what else occurs in names. */
qn_match qn_look_name(qn_look *l, qn_span *name);
/* A JSON string without escapes, with its quotes; the span is without. */
qn_match qn_look_string(qn_look *l, qn_span *text);
/* Any JSON value. */
qn_match qn_look_value(qn_look *l);

/* ---- output_head.c: the heads of calls and messages ---- */

/* A call that begins at `at`. inside: behind another one, so that it needs no format->begin. */
qn_match qn_output_look_call(const qn_output_parser *p, size_t at, bool inside, qn_call_head *head,
                             size_t *end);
qn_match qn_output_look_message(const qn_output_parser *p, size_t at, qn_message_target *target,
                                qn_span *name, size_t *end);
/* format->begin without the bracket of an array, format->end likewise. */
size_t qn_output_begin_bytes(const char *begin);
const char *qn_output_end_text(const char *end);

/* ---- output_arguments.c: arguments as JSON text ---- */

void qn_output_start_arguments(qn_output_parser *p, const qn_call_head *head);
bool qn_output_arguments_step(qn_output_parser *p);

/* ---- output_parser.c ---- */

void qn_output_emit(qn_output_parser *p, qn_output_kind kind, const char *text, size_t n_bytes);
/* Gives out p->out as a delta of arguments, and empties it. */
void qn_output_emit_arguments(qn_output_parser *p);
void qn_output_end_call(qn_output_parser *p, bool complete);

#endif
