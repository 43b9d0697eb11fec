/* network.h: expressions as a network of states over bytes (Thompson 1968, "Regular expression search
 * algorithm"; rules that call each other: recursive transition networks, Woods 1970).
 *
 * A rule has one state where it begins and one where it ends, which nothing leaves. Characters are spelled as
 * UTF-8: a range of them becomes a few chains of byte ranges. From each state that an edge leads to the end
 * of its rule can be reached: who follows bytes of a text never comes to where the text could not be
 * finished. */
#ifndef QN_GRAMMAR_NETWORK_H
#define QN_GRAMMAR_NETWORK_H

#include "grammar/expression.h"

typedef enum qn_edge_kind { QN_EDGE_EMPTY, QN_EDGE_BYTES, QN_EDGE_CALL } qn_edge_kind;

typedef struct qn_edge {
    uint32_t to;               /* CALL: where to go on after the rule */
    uint32_t rule;             /* CALL */
    uint32_t next;             /* of the same state, or QN_NO_EDGE */
    uint8_t kind, first, last; /* BYTES: both included */
} qn_edge;
#define QN_NO_EDGE UINT32_MAX
#define QN_NO_WAY  UINT32_MAX

typedef struct qn_network_rule {
    uint32_t begin, end; /* states */
} qn_network_rule;

typedef struct qn_network { /* zeroed: valid and empty. Immutable once built: threads share it. */
    qn_edge *edges;
    size_t n_edges, edge_capacity;
    uint32_t *states; /* [n_states] the first edge of each */
    size_t n_states, state_capacity;
    qn_network_rule *rules; /* [n_rules] */
    size_t n_rules;
    uint32_t root;
    uint32_t *least_bytes; /* [n_states] to the end of the state's rule; QN_NO_WAY: it cannot be reached */
    bool is_empty;         /* no text at all is in the language */
    uint8_t class_of[256]; /* bytes that no edge tells apart have the same class */
    size_t n_classes;
} qn_network;

/* QUERN_ERR_ARGUMENT: a rule is not defined, or begins with itself (left recursion), or no text at all is of
 * the language; QUERN_ERR_LIMIT: more states than are allowed; QUERN_ERR_NOMEM. what: the language's kind,
 * for the message. rule_name gives the name of a rule for people, or is NULL. */
quern_status qn_network_build(qn_network *n, const qn_expressions *e, const char *what,
                              const char *(*rule_name)(void *user, uint32_t rule), void *user,
                              quern_error *err);
void qn_network_deinit(qn_network *n);

/* Texts of one network followed by those of another; both stay as they are. QUERN_ERR_LIMIT, _NOMEM. */
quern_status qn_network_concatenate(qn_network *n, const qn_network *first, const qn_network *second,
                                    quern_error *err);

#endif
