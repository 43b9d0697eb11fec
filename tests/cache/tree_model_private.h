/* tree_model_private.h: what the operations and the checks of the model share. */
#ifndef QN_TESTS_TREE_MODEL_PRIVATE_H
#define QN_TESTS_TREE_MODEL_PRIVATE_H

#include "tree_model.h"

#include "cache/prefix_tree_private.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    MODEL_CTX = 330,
    MODEL_SPACES = 3,
    MODEL_SEQUENCES = 4,
    MODEL_ENTRIES = 400,
    PAGE = QN_PAGE_POSITIONS
};

/* A page that the tree knows. */
typedef struct entry {
    int space;
    size_t position, end; /* of its first token, behind its last */
    quern_token text[MODEL_CTX];
    qn_prefix_key key, parent;
    int32_t pages[QN_CACHE_GROUPS];
} entry;

typedef struct model_sequence {
    int space;
    size_t length, n_text; /* what it holds of its text; the rest is to come */
    quern_token text[MODEL_CTX];
} model_sequence;

struct tree_model {
    qn_kv_cache *cache;
    qn_prefix_tree *tree;
    tree_model_choose *choose;
    void *user;
    size_t n_sequences, n_batch, n_entries, n_forgotten, n_steps;
    entry entries[MODEL_ENTRIES];
    model_sequence sequences[MODEL_SEQUENCES];
};

#define REQUIRE(holds)                                                                                       \
    do {                                                                                                     \
        if (!(holds)) {                                                                                      \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #holds);                                      \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

qn_prefix_key model_space_key(int space);
/* What position i of a text has in a group: numbers [n]. */
void model_contents(int space, size_t group, const quern_token *text, size_t n, uint64_t *contents);
void model_write(qn_kv_cache *c, size_t group, int32_t page, size_t slot, uint64_t content);
/* Positions [position, end) of the text, which a page has. */
void model_check_page(const qn_kv_cache *c, size_t group, int32_t page, int space, const quern_token *text,
                      size_t position, size_t end);
size_t model_sequences_with(const tree_model *m, size_t group, int32_t page);
void model_check(const tree_model *m);

#endif
