/* choice.h: the language of some texts. */
#ifndef QN_GRAMMAR_CHOICE_H
#define QN_GRAMMAR_CHOICE_H

#include "grammar/network.h"

/* One of some texts, as they stand. QUERN_ERR_ARGUMENT for none; QUERN_ERR_LIMIT, _NOMEM. */
quern_status qn_choice_build(qn_network *n, const char *const *texts, const size_t *n_bytes, size_t n_texts,
                             quern_error *err);

#endif
