/* prefix_tree_fuzz.c: operations on the tree of prefixes from bytes: a model's groups, the sizes of the
 * cache, then texts that are started, grown, cut, kept, given up and forgotten, each held against the plain
 * model of tests/cache/tree_model.h. */
#include "../tests/cache/tree_model.h"

#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_CTX = 330, MAX_STEPS = 200 }; /* N_CTX: the model's */

typedef struct input {
    const uint8_t *data;
    size_t left;
} input;

/* Past the end all bytes are 0. */
static unsigned take(void *user, unsigned n)
{
    input *in = user;
    if (n < 2 || in->left == 0) return 0;
    unsigned value = *in->data++;
    in->left--;
    if (n > 256 && in->left > 0) value = value << 8 | *in->data++, in->left--;
    return value % n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t window_sizes[] = {1, 2, 64, 65, 100, 200, 1000};
    input in = {data, size};
    const qn_hparams hparams = {.n_head_kv = 1, .head_dim_k = 4, .head_dim_v = 4};
    qn_program program = {.hparams = &hparams};
    const unsigned kind = take(&in, 3);
    if (kind != 1) program.groups[0] = (qn_cache_group){.n_layers = 1};
    if (kind != 0) program.groups[1] = (qn_cache_group){1, window_sizes[take(&in, 7)]};
    const qn_kv_cache_params params = {.n_sequences = 1 + take(&in, 4),
                                       .n_ctx = N_CTX,
                                       .n_batch = 1 + take(&in, 200),
                                       .n_positions = take(&in, 2000),
                                       .n_windows = take(&in, 8),
                                       .type_k = QN_TYPE_F16,
                                       .type_v = QN_TYPE_F16};
    tree_model *m = tree_model_create(&program, &params, take, &in);
    if (m == NULL) abort();
    for (int i = 0; i < MAX_STEPS && in.left > 0; i++) tree_model_step(m);
    tree_model_destroy(m);
    return 0;
}
