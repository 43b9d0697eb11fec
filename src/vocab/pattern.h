/* pattern.h: reads a regular expression of the kind that pre-tokenizers are published as, into a network of
 * nodes (Thompson 1968, "Regular expression search algorithm").
 *
 * Known are: alternatives, groups ( ) and (?: ) and (?i: ), classes in brackets with ranges, \p{..} and a
 * leading ^, the escapes \s \S \r \n \t \x{..}, the quantifiers ? * + {m} {m,n} of a single character or
 * group, each also possessive, (?!X) where X is one character, (?<!X) at the beginning, and $ as the end of
 * the text. \p{..} are general categories, and of the scripts Han. Possessive quantifiers count as greedy
 * ones: patterns must be such that this changes nothing. \s is the Unicode property White_Space. Letters in
 * (?i: ) are ASCII; the two that have a third form (U+017F, U+212A) match it. */
#ifndef QN_VOCAB_PATTERN_H
#define QN_VOCAB_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QN_PATTERN_SETS = 64, QN_PATTERN_RANGES = 512, QN_PATTERN_NODES = 2048 };

typedef struct qn_set_range {
    uint32_t first, last;
} qn_set_range;

typedef struct qn_character_set {
    uint32_t categories; /* bit per Unicode general category, numbered as in utf8proc */
    uint32_t ranges_begin, n_ranges;
    bool is_negated;
} qn_character_set;

typedef enum qn_node_kind {
    QN_NODE_SET,        /* a character of the set, then next */
    QN_NODE_EITHER,     /* next, and if that fails other */
    QN_NODE_NOT_AHEAD,  /* what follows is no character of the set, then next */
    QN_NODE_NOT_BEHIND, /* what is before is no character of the set, then next */
    QN_NODE_AT_END,     /* nothing follows, then next */
    QN_NODE_MATCH
} qn_node_kind;

typedef struct qn_pattern_node {
    qn_node_kind kind;
    uint16_t next, other, set;
} qn_pattern_node;

typedef struct qn_pattern {
    qn_character_set sets[QN_PATTERN_SETS];
    qn_set_range ranges[QN_PATTERN_RANGES];
    qn_pattern_node nodes[QN_PATTERN_NODES];
    uint32_t n_sets, n_ranges, n_nodes;
    uint16_t start;
} qn_pattern;

/* NULL: read; otherwise where it is not understood or becomes too large. */
const char *qn_pattern_read(qn_pattern *p, const char *text);

bool qn_pattern_set_has(const qn_pattern *p, const qn_character_set *set, uint32_t character, int category);

#endif
