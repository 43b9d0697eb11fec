/* cache_program.h: programs of small models, for caches to be made from. */
#ifndef QN_TESTS_CACHE_PROGRAM_H
#define QN_TESTS_CACHE_PROGRAM_H

#include "support/tiny_model.h"

#include "model/program.h"

typedef struct cache_program {
    qn_gguf gguf;
    qn_hparams hparams;
    qn_weights weights;
    qn_program program;
} cache_program;

/* False if the model cannot be written or compiled. */
bool cache_program_init(cache_program *p, const tiny_model *m);
void cache_program_deinit(cache_program *p);

/* One layer that keeps every position; windows beside such a layer; nothing but windows. */
extern const tiny_model cache_plain_model, cache_mixed_model, cache_windows_model;

#endif
