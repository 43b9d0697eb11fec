/* recursion.h: rules that can begin with themselves, which no automaton that reads forwards can follow. */
#ifndef QN_GRAMMAR_RECURSION_H
#define QN_GRAMMAR_RECURSION_H

#include "grammar/network.h"

/* After qn_network_find_shortest. QUERN_ERR_ARGUMENT names a rule that can; QUERN_ERR_NOMEM. what and
 * rule_name as for qn_network_build. */
quern_status qn_network_check_recursion(const qn_network *n, const char *what,
                                        const char *(*rule_name)(void *user, uint32_t rule), void *user,
                                        quern_error *err);

#endif
