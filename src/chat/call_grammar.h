/* call_grammar.h: what a model may write where tools are offered to it, as a language: so that calls name a
 * tool that exists and have arguments that its schema allows. */
#ifndef QN_CHAT_CALL_GRAMMAR_H
#define QN_CHAT_CALL_GRAMMAR_H

#include "chat/output_format.h"
#include "grammar/json_expression.h"
#include "vocab/vocab.h"

typedef struct qn_call_grammar_params {
    const qn_output_format *format;
    const json_t *tools; /* as in requests: [{"type": "function", "function": {"name", "parameters"}}] */
    const char *only;    /* the one tool that may be called; NULL: any */
    bool required;       /* a call must come; else it may, and is bound from the moment the model opens one */
    bool parallel;       /* more than one call */
    bool in_reasoning;   /* the prompt has opened the reasoning */
    bool allow_reasoning; /* it may come before the call where one is required */
    qn_json_whitespace whitespace;
} qn_call_grammar_params;

/* The markers of a format are control tokens where the vocabulary has such (token_table.h); vocab NULL: none
 * are. Keywords of a tool's schema that cannot be held are left out. Arguments in the syntax BARE_KEYS are
 * objects in that notation (json_expression.h), without white space: keys that are no words stand within
 * quotes, and what holds the quote itself cannot come, neither as a string nor as a key.
 *
 * QUERN_ERR_ARGUMENT: no tools, or none of that name, or a parameter schema that is none;
 * QUERN_ERR_UNSUPPORTED: the format has no calls; QUERN_ERR_LIMIT, _NOMEM. */
quern_status qn_call_grammar_build(qn_network *n, const qn_call_grammar_params *params, const qn_vocab *vocab,
                                   quern_error *err);

/* What may come before an answer that is bound otherwise: reasoning, or nothing. Of the params format,
 * in_reasoning and allow_reasoning count. QUERN_ERR_UNSUPPORTED: the format consists of messages; _NOMEM. */
quern_status qn_reasoning_grammar_build(qn_network *n, const qn_call_grammar_params *params,
                                        const qn_vocab *vocab, quern_error *err);

#endif
