/* params.h: sampler parameters made sure of, and the chain of steps that they ask for. */
#ifndef QN_SAMPLE_PARAMS_H
#define QN_SAMPLE_PARAMS_H

#include "base/buffer.h"
#include "base/error.h"

/* Steps in the default order: llama.cpp's name of each, and further names that it takes. */
#define QN_SAMPLER_STEP_MAP(X)                                                                               \
    X(PENALTIES, "penalties", NULL)                                                                          \
    X(DRY, "dry", NULL)                                                                                      \
    X(TOP_N_SIGMA, "top_n_sigma", "top-n-sigma")                                                             \
    X(TOP_K, "top_k", "top-k")                                                                               \
    X(TYPICAL, "typ_p", "typical", "typ-p", "typ", "typical_p", "typical-p")                                 \
    X(TOP_P, "top_p", "top-p", "nucleus")                                                                    \
    X(MIN_P, "min_p", "min-p")                                                                               \
    X(XTC, "xtc", NULL)                                                                                      \
    X(TEMPERATURE, "temperature", "temp")

typedef enum qn_sampler_step {
#define X(name, ...) QN_STEP_##name,
    QN_SAMPLER_STEP_MAP(X)
#undef X
        QN_N_STEPS
} qn_sampler_step;

enum { QN_CHAIN_MAX = 32, QN_HISTORY_MAX = 1 << 20 };

typedef struct qn_sampler_chain {
    qn_sampler_step steps[QN_CHAIN_MAX]; /* those that do something */
    size_t n_steps;
    bool greedy; /* then only steps that change logits */
} qn_sampler_chain;

/* Every field in range, every biased token within the vocabulary; the message names the field. */
quern_status qn_sampler_params_check(const quern_sampler_params *p, size_t n_vocab, quern_error *err);

/* Reads p->samplers and leaves out what the parameters switch off. p has been checked. */
quern_status qn_sampler_chain_init(qn_sampler_chain *chain, const quern_sampler_params *p, quern_error *err);

/* The chain as text: "top_k 40 -> top_p 0.95 -> temperature 0.8 -> draw, seed 7". */
void qn_sampler_chain_describe(const qn_sampler_chain *chain, const quern_sampler_params *p, qn_buffer *out);

#endif
