/* grammar.h: grammars behind the public interface, as samplers use them. */
#ifndef QN_ENGINE_GRAMMAR_H
#define QN_ENGINE_GRAMMAR_H

#include "engine/model.h"
#include "grammar/matcher.h"

/* A matcher of the grammar for the model's vocabulary, which remembers what earlier texts have met. To be
 * given back. */
quern_status qn_grammar_borrow(const quern_grammar *g, const quern_model *m, qn_matcher **out,
                               quern_error *err);
void qn_grammar_give_back(const quern_grammar *g, const quern_model *m, qn_matcher *matcher);

/* Immutable, as long as the grammar lives. */
const qn_network *qn_grammar_network(const quern_grammar *g);
/* The network is taken, also where this fails. QUERN_ERR_NOMEM. */
quern_status qn_grammar_of_network(quern_grammar **out, qn_network *network, quern_error *err);

#endif
