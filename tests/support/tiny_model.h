/* tiny_model.h: small models with random weights, so that tests need no file from outside. */
#ifndef QN_TESTS_TINY_MODEL_H
#define QN_TESTS_TINY_MODEL_H

#include "gguf/gguf.h"

typedef struct tiny_model {
    const char *arch;    /* NULL: "llama"; any family of model/architecture.c */
    qn_tensor_type type; /* of the matrices: F32 (0) or any weight type */
    unsigned seed;
    uint32_t n_layer;          /* 0: 3, or one period of windows */
    uint32_t n_expert;         /* 0: dense; 2 are used */
    uint32_t window;           /* 0: 32, where the family has windows */
    uint32_t n_ctx;            /* context_length; 0: 4096 */
    const char *chat_template; /* NULL: none */
    const char *marker;        /* text of the last token, which stands for itself; NULL: it is a word */
    bool both_ways;            /* attention.causal is false; encoders need not say so */
    bool together;     /* queries, keys and values in one tensor; gate and up too, where that may be */
    bool more_norms;   /* of encoders: of queries and keys, and after a second addition */
    uint32_t n_scores; /* rows of a classification head; 0: none */
    bool has_pooling;
    uint32_t pooling;            /* with has_pooling: pooling_type */
    const char *rerank_template; /* NULL: none */
} tiny_model;

/* 256 wide, 8 heads over 2, feed-forward of 512; 320 tokens: <unk> <s> </s>, 256 bytes, words. Returns false
 * if the file cannot be written. */
bool tiny_model_write(const char *path, const tiny_model *m);

#endif
