/* gbnf.h: grammars in llama.cpp's notation GBNF (its documentation: grammars/README.md) as expressions. */
#ifndef QN_GRAMMAR_GBNF_H
#define QN_GRAMMAR_GBNF_H

#include "grammar/network.h"

/* The language of rule "root". QUERN_ERR_ARGUMENT with line and column for a text that is no grammar;
 * QUERN_ERR_LIMIT, _NOMEM. */
quern_status qn_gbnf_build(qn_network *n, const char *text, size_t n_bytes, quern_error *err);

#endif
