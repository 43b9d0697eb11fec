/* token_table.h: the tokens of a vocabulary ordered by their bytes, so that all that can come next in a text
 * are found in one walk.
 *
 * A tree of bytes is written down depth first: a node is followed by its first child, and knows where its
 * subtree ends. So a walk is a pass over an array that jumps where a byte leads nowhere (the layout of a
 * ternary trie without pointers: Knuth, The Art of Computer Programming vol. 3, 6.3).
 *
 * Most tokens of a vocabulary are plain text: words, or whole characters none of which JSON would have to
 * escape. Where any plain text may come next, as within a string, they need not be walked: they are sets
 * known beforehand, one for each greatest number of characters. For where they are not taken as a set they
 * have trees of their own, apart from what is left. */
#ifndef QN_GRAMMAR_TOKEN_TABLE_H
#define QN_GRAMMAR_TOKEN_TABLE_H

#include "grammar/plain_text.h"
#include "vocab/vocab.h"

typedef struct qn_token_node {
    uint32_t end;      /* the node after this one's subtree */
    quern_token token; /* whose bytes end here, or -1; more of them: same_bytes */
    uint8_t byte;
    uint16_t depth; /* bytes before this one */
} qn_token_node;

typedef struct qn_token_tree {
    qn_token_node *nodes;
    size_t n_nodes;
} qn_token_tree;

/* In front of the text of a control token, which is not what the same text is when it is spelled: no text has
 * this byte, so only a language that asks for the token as such can have it. */
#define QN_CONTROL_BYTE '\xff'

enum {
    QN_MAX_TOKEN_BYTES = 1024, /* longer ones are never allowed */
    QN_PLAIN_TREES = 4,        /* tokens of up to 4, 8, 16 and 32 characters */
};
extern const unsigned qn_plain_tree_most[QN_PLAIN_TREES];

typedef struct qn_token_table { /* immutable once made: threads share it */
    size_t n_tokens, n_words;   /* n_words: of 64 bits, for a set of tokens */
    size_t max_bytes;           /* of a token */
    /* of each kind those that are of no smaller one, by their length */
    qn_token_tree plain[QN_PLAIN_KINDS][QN_PLAIN_TREES];
    /* [n_words] tokens of the kind, and of smaller ones, with at most n + 1 characters */
    uint64_t *plain_sets[QN_PLAIN_KINDS][QN_PLAIN_MOST];
    qn_token_tree others;    /* all that are not plain, or longer */
    quern_token *same_bytes; /* [n_tokens] the next token with the same bytes, or -1 */
    uint32_t *begins;        /* [n_tokens + 1] */
    char *bytes;             /* of token i: [begins[i], begins[i + 1]); none: never allowed */
    quern_token *ends;       /* [n_ends] tokens that end an answer */
    size_t n_ends;
} qn_token_table;

quern_status qn_token_table_init(qn_token_table *t, const qn_vocab *vocab, quern_error *err);
void qn_token_table_deinit(qn_token_table *t); /* zeroed is fine */

#endif
