/* expression.h: languages of texts as trees: what a GBNF grammar, a regular expression and a JSON schema all
 * become first. Rules refer to each other by number, so languages may be recursive.
 *
 * Functions that add to the set return QN_NO_EXPRESSION and set `failed` when a limit is passed or memory
 * ends; they accept QN_NO_EXPRESSION as a part and pass it on. So a parser may build on and check once. */
#ifndef QN_GRAMMAR_EXPRESSION_H
#define QN_GRAMMAR_EXPRESSION_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t qn_expression;
#define QN_NO_EXPRESSION UINT32_MAX
#define QN_ANY_NUMBER    UINT32_MAX /* the greatest number of a repetition: no end */

typedef enum qn_expression_kind {
    QN_EXPRESSION_TEXT,     /* bytes */
    QN_EXPRESSION_CLASS,    /* one character of some ranges */
    QN_EXPRESSION_SEQUENCE, /* parts, one after the other; none: the empty text */
    QN_EXPRESSION_CHOICE,   /* one of the parts; none: nothing at all */
    QN_EXPRESSION_REPEAT,   /* a part, min to max times */
    QN_EXPRESSION_RULE,     /* what a rule means */
    QN_EXPRESSION_GRAPH,    /* what stands along a path from state 0 to state 1 */
} qn_expression_kind;

typedef struct qn_character_range {
    uint32_t first, last; /* codepoints, both included */
} qn_character_range;

typedef struct qn_expression_node {
    qn_expression_kind kind;
    uint32_t begin, n;         /* TEXT: of bytes; CLASS: of ranges; GRAPH: of edges */
    uint32_t min, max;         /* REPEAT */
    uint32_t n_states;         /* GRAPH */
    uint32_t rule;             /* RULE */
    qn_expression first, last; /* the parts of SEQUENCE, CHOICE, REPEAT */
    qn_expression next;        /* among the parts of its parent: a node has one parent at most */
} qn_expression_node;

typedef struct qn_graph_edge {
    uint32_t from, to;  /* states of the graph */
    qn_expression part; /* QN_NO_EXPRESSION: the empty text */
} qn_graph_edge;

typedef struct qn_expressions { /* zeroed: valid and empty */
    qn_expression_node *nodes;
    size_t n_nodes, node_capacity;
    qn_character_range *ranges;
    size_t n_ranges, range_capacity;
    qn_graph_edge *edges;
    size_t n_edges, edge_capacity;
    qn_expression *rules; /* [n_rules] QN_NO_EXPRESSION until defined */
    size_t n_rules, rule_capacity;
    qn_buffer bytes;
    uint32_t root; /* the rule that is the language */
    bool failed;
    bool no_memory; /* it failed because memory ended */
} qn_expressions;

void qn_expressions_deinit(qn_expressions *e);

qn_expression qn_expression_text(qn_expressions *e, const char *bytes, size_t n_bytes);
/* Ranges in any order, overlapping or not; negated: all other characters. Surrogates are never among them. */
qn_expression qn_expression_class(qn_expressions *e, const qn_character_range *ranges, size_t n,
                                  bool negated);
qn_expression qn_expression_any_character(qn_expressions *e);
qn_expression qn_expression_group(qn_expressions *e, qn_expression_kind kind); /* SEQUENCE or CHOICE, empty */
void qn_expression_append(qn_expressions *e, qn_expression group, qn_expression part);
qn_expression qn_expression_repeat(qn_expressions *e, qn_expression part, uint32_t min, uint32_t max);

/* A graph of parts, for what a tree could only say at length: automata, members of objects. Edges may share a
 * part with each other, but with nothing else. n_states >= 2. */
qn_expression qn_expression_graph(qn_expressions *e, uint32_t n_states, const qn_graph_edge *edges,
                                  size_t n_edges);

/* A new rule, not defined yet; its number. */
uint32_t qn_expression_new_rule(qn_expressions *e);
void qn_expression_define(qn_expressions *e, uint32_t rule, qn_expression meaning);
qn_expression qn_expression_rule(qn_expressions *e, uint32_t rule);

#endif
