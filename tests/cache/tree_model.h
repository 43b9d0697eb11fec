/* tree_model.h: the tree of prefixes and the cache under it, held against a plain slow model of both.
 *
 * The model knows every text that the tree should know as a list of its pages, and looks for the longest
 * beginning by trying all lengths. Every position of a page is filled with a number that depends on the name
 * space, all tokens up to there and the group, so that a page of another text is seen at once. After each
 * operation all holders are counted, all nodes compared and the heaps looked through. What does not hold is
 * printed, and the program ends. */
#ifndef QN_TESTS_TREE_MODEL_H
#define QN_TESTS_TREE_MODEL_H

#include "cache/prefix_tree.h"

/* A number below n (at least 1): where the choices of a run come from. */
typedef unsigned tree_model_choose(void *user, unsigned n);

typedef struct tree_model tree_model;

/* NULL: no memory, and nothing is left of it. */
tree_model *tree_model_create(const qn_program *p, const qn_kv_cache_params *params,
                              tree_model_choose *choose, void *user);
void tree_model_destroy(tree_model *m);
void tree_model_step(tree_model *m); /* one operation of any kind */

#endif
