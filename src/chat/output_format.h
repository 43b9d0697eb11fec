/* output_format.h: how the families of models write reasoning and tool calls into their text.
 *
 * A format is a row of texts and one of a few syntaxes; qn_output_parser reads by it. The same texts say what
 * a call must look like when it is to be enforced. In each text a blank stands for any number of blanks that
 * a model may write there; written as it stands, it is the form of the family:
 *
 *     begin name_begin NAME arguments_begin ARGUMENTS arguments_end separator name_begin ... end
 */
#ifndef QN_CHAT_OUTPUT_FORMAT_H
#define QN_CHAT_OUTPUT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

typedef enum qn_call_syntax {
    QN_CALLS_NONE,
    QN_CALLS_OBJECT,     /* {"name": NAME, "arguments": {...}}, one, several or an array of them */
    QN_CALLS_NAME_KEY,   /* {NAME: {...}}, likewise */
    QN_CALLS_NAME_JSON,  /* NAME between texts, then {...} */
    QN_CALLS_PARAMETERS, /* NAME between texts, then each parameter between texts */
    QN_CALLS_PYTHON,     /* NAME(a=1, b="x"), one or a list */
    QN_CALLS_BARE_KEYS,  /* NAME{a:1,b:<|"|>x<|"|>} */
    QN_CALLS_MESSAGE     /* a message of its own to the tool, whose body is the arguments */
} qn_call_syntax;

enum { QN_FORMAT_TEXTS = 4 };

typedef struct qn_output_format {
    const char *name;
    const char
        *detect[QN_FORMAT_TEXTS]; /* a template of this format holds all of these; none: by name only */

    const char *reasoning_begin[QN_FORMAT_TEXTS], *reasoning_end[QN_FORMAT_TEXTS];
    const char *skip[QN_FORMAT_TEXTS]; /* texts that mean nothing to the reader */

    qn_call_syntax syntax;
    bool bare_object, bare_python; /* an answer may begin with such a call, without any text before it */
    bool array;                    /* calls in OBJECT and NAME_KEY stand in an array */
    const char *begin[QN_FORMAT_TEXTS], *end[QN_FORMAT_TEXTS]; /* the first of each is the usual one */
    const char *name_begin, *arguments_begin, *arguments_end, *separator;
    const char *id_end;   /* an id stands between name_begin and this text, the name behind it */
    const char *id_begin; /* after the name may come this text and an id */
    bool numbered;        /* after the name comes ':' and the number of the call */
    const char *quote;    /* BARE_KEYS: begins and ends a string */

    /* PARAMETERS: parameter_begin KEY key_end VALUE value_end. A line end at the end of key_end and at the
     * start of value_end is one line end, not part of the value. The string_ ones: where the value is text
     * whatever it looks like; NULL: no such difference. */
    const char *parameter_begin, *key_end, *value_end, *string_key_end, *string_value_end;

    /* Answers in several messages, each with a head that names a channel or a recipient; NULL: not so. */
    const char *message_begin, *message_body;
    const char *message_end[QN_FORMAT_TEXTS];
    const char *tool_recipient; /* what stands before the name of a tool that a message is for */
} qn_output_format;

extern const qn_output_format qn_output_formats[];
extern const size_t qn_n_output_formats;

/* The format of this name; NULL: there is none. */
const qn_output_format *qn_output_format_find(const char *name);

/* The format that a chat template shows; one for any model where it shows none (or is NULL). */
const qn_output_format *qn_output_format_detect(const char *template_text);

#endif
