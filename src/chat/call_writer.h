/* call_writer.h: what the files of the call grammar share: the texts of a format as expressions. */
#ifndef QN_CHAT_CALL_WRITER_H
#define QN_CHAT_CALL_WRITER_H

#include "chat/call_grammar.h"
#include "grammar/json_schema.h"

typedef struct qn_call_writer {
    qn_expressions e;
    const qn_call_grammar_params *p;
    const qn_vocab *vocab;
    qn_string *controls; /* [n_controls] texts of control tokens */
    size_t n_controls;
    qn_json_schema_options schema_options;
    qn_buffer quote;     /* of BARE_KEYS, as it is written: schema_options refers to it */
    quern_status status; /* the first that is not QUERN_OK; *err is filled */
    quern_error *err;
} qn_call_writer;

void qn_call_fail(qn_call_writer *w, quern_status status);

qn_expression qn_call_sequence(qn_call_writer *w); /* empty */
void qn_call_append(qn_call_writer *w, qn_expression group, qn_expression part);
qn_expression qn_call_text(qn_call_writer *w, const char *bytes);
qn_expression qn_call_optional(qn_call_writer *w, qn_expression part);
qn_expression qn_call_any_text(qn_call_writer *w);

/* A text of the format (NULL: the empty one), with control tokens as such; what follows an end of the answer
 * is left out. */
qn_expression qn_call_marker(qn_call_writer *w, const char *source);
/* The same as bytes, put behind those that are there. */
void qn_call_spell(const qn_call_writer *w, const char *source, qn_buffer *out);
/* Any text up to the first occurrence of a text of the format, and that text. */
qn_expression qn_call_up_to(qn_call_writer *w, const char *source);
/* Any text in which a text of the format does not occur. */
qn_expression qn_call_without(qn_call_writer *w, const char *source);

/* ---- call_arguments.c ---- */

/* The arguments of a function, and what ends them. */
qn_expression qn_call_arguments(qn_call_writer *w, const json_t *function);

#endif
