/* token_table.h: the tokens of a vocabulary ordered by their bytes, so that all that can come next in a text
 * are found in one walk.
 *
 * A tree of bytes is written down breadth first: the children of a node lie side by side, in the order of
 * their bytes, after those of the node before it. So a walk looks at the bytes of all children in one stretch
 * of memory, and goes only to those that lead somewhere (level order: Jacobson, "Space-efficient static trees
 * and graphs", 1989, without its compression).
 *
 * Most tokens of a vocabulary are plain text: words, or whole characters none of which JSON would have to
 * escape. Where any plain text may come next, as within a string, they need not be walked: they are sets
 * known beforehand, one for each greatest number of characters. For where they are not taken as a set they
 * have trees of their own, apart from what is left; and since most of them are a word after one character,
 * which may come where not any text may (a dot in an address), those have trees in which all tokens after a
 * character can be taken at once. */
#ifndef QN_GRAMMAR_TOKEN_TABLE_H
#define QN_GRAMMAR_TOKEN_TABLE_H

#include "grammar/plain_text.h"
#include "vocab/vocab.h"

typedef struct qn_token_node {
    quern_token token;    /* whose bytes end here, or -1 */
    uint32_t first_child; /* its children: from there to where those of the next node begin */
} qn_token_node;

typedef struct qn_token_tree {
    uint8_t *bytes;       /* [n_nodes] */
    qn_token_node *nodes; /* [n_nodes + 1] the last one only for where the children of the one before end */
    size_t n_nodes, n_roots; /* [0, n_roots): first bytes */
    /* only of QN_FORM_AFTER_ONE: all tokens in the order of their bytes, and where those of a root begin */
    quern_token *tokens;
    uint32_t *begins; /* [n_roots + 1] */
} qn_token_tree;

typedef struct qn_token_pair {
    quern_token token, same;
} qn_token_pair;

/* In front of the text of a control token, which is not what the same text is when it is spelled: no text has
 * this byte, so only a language that asks for the token as such can have it. */
#define QN_CONTROL_BYTE '\xff'

typedef enum qn_token_form {                    /* of plain tokens */
                             QN_FORM_WORD,      /* of QN_PLAIN_WORDS */
                             QN_FORM_AFTER_ONE, /* such a word after one character of ASCII, which may be a
                                                   blank */
                             QN_FORM_ANY,       /* all others of QN_PLAIN_ANY */
                             QN_FORMS,
} qn_token_form;

enum {
    QN_MAX_TOKEN_BYTES = 1024, /* longer ones are never allowed */
    QN_PLAIN_TREES = 4,        /* tokens of up to 4, 8, 16 and 32 characters */
};
extern const unsigned qn_plain_tree_most[QN_PLAIN_TREES];

typedef struct qn_token_table {                    /* immutable once made: threads share it */
    size_t n_tokens, n_words;                      /* n_words: of 64 bits, for a set of tokens */
    size_t max_bytes;                              /* of a token */
    qn_token_tree plain[QN_FORMS][QN_PLAIN_TREES]; /* by their length */
    /* [n_words] tokens of the kind, and of smaller ones, with at most n + 1 characters */
    uint64_t *plain_sets[QN_PLAIN_KINDS][QN_PLAIN_MOST];
    qn_token_tree others;      /* all that are not plain, or longer */
    qn_token_pair *same_bytes; /* [n_same_bytes] tokens with equal bytes: that in the tree, and another */
    size_t n_same_bytes;
    uint32_t *begins;  /* [n_tokens + 1] */
    char *bytes;       /* of token i: [begins[i], begins[i + 1]); none: never allowed */
    quern_token *ends; /* [n_ends] tokens that end an answer */
    size_t n_ends;
} qn_token_table;

quern_status qn_token_table_init(qn_token_table *t, const qn_vocab *vocab, quern_error *err);
void qn_token_table_deinit(qn_token_table *t); /* zeroed is fine */

#endif
