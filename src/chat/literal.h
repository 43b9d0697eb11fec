/* literal.h: values as Python writes them, made into JSON while they arrive.
 *
 * Arguments f(a=1, b="x", c=[True, None]), dictionaries {'a': (1, 2)}, and the objects of Gemma 4, whose keys
 * are bare and whose strings stand between <|"|>. Grammar: Python Language Reference, 2.4.1 (strings), 2.4.4
 * (numbers), 6.2 (displays). A bare word that is no constant becomes a string. */
#ifndef QN_CHAT_LITERAL_H
#define QN_CHAT_LITERAL_H

#include "base/buffer.h"

/* Depth: what jansson reads (JSON_PARSER_MAX_DEPTH). */
enum { QN_LITERAL_MAX_DEPTH = 2048, QN_LITERAL_MAX_WORD = 256, QN_LITERAL_MAX_QUOTE = 16 };

typedef enum qn_literal_state {
    QN_LITERAL_MORE,
    QN_LITERAL_DONE,
    QN_LITERAL_BROKEN /* what follows cannot be read; it is not taken */
} qn_literal_state;

typedef enum qn_literal_expect {
    QN_EXPECT_VALUE,
    QN_EXPECT_KEY,
    QN_EXPECT_COLON,
    QN_EXPECT_COMMA
} qn_literal_expect;

typedef struct qn_literal {
    const char *quote; /* a text that begins and ends strings; NULL: only ' and " do */
    qn_literal_state state;
    qn_literal_expect expect;
    char open[QN_LITERAL_MAX_DEPTH]; /* the bracket that will close each open one */
    int depth;
    bool first;                           /* nothing stands in the innermost bracket yet */
    bool arguments;                       /* the outermost bracket holds name=value */
    bool in_string;                       /* ... */
    bool raw;                             /* whose backslashes mean nothing */
    char end_quote[QN_LITERAL_MAX_QUOTE]; /* and that ends so */
} qn_literal;

/* A single value. quote: see above; must outlive l. */
void qn_literal_begin(qn_literal *l, const char *quote);

/* What follows an opening bracket that was already read: closes is ')' for name=value, '}' for an object.
 * Appends the brace of the JSON object. */
void qn_literal_begin_object(qn_literal *l, char closes, const char *quote, qn_buffer *out);

/* Reads what can be read for certain, and appends JSON. final: nothing more comes. Returns how many bytes
 * were taken; see l->state. */
size_t qn_literal_push(qn_literal *l, const char *bytes, size_t n_bytes, bool final, qn_buffer *out);

#endif
