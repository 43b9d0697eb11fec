/* reference.h: every sampler once more, written from its definition in double precision with plain sorting,
 * for small vocabularies; and a test of whether drawn tokens follow a distribution. */
#ifndef QN_TEST_SAMPLE_REFERENCE_H
#define QN_TEST_SAMPLE_REFERENCE_H

#include "quern.h"

enum { REF_MAX = 4096 };

typedef struct ref_set {
    size_t n;
    double logits[REF_MAX];
    bool in[REF_MAX]; /* still a candidate */
} ref_set;

void ref_init(ref_set *r, const float *logits, size_t n);
void ref_probs(const ref_set *r, double *probs); /* 0 outside of the set */
size_t ref_count(const ref_set *r);
void ref_order(const ref_set *r, size_t *ids); /* candidates by logit, greatest first, then by id */

void ref_top_k(ref_set *r, size_t k);
void ref_top_p(ref_set *r, double p);
void ref_min_p(ref_set *r, double p);
void ref_typical(ref_set *r, double p);
void ref_top_n_sigma(ref_set *r, double n);
void ref_xtc(ref_set *r, double threshold);
void ref_temperature(ref_set *r, double temperature);
void ref_dynamic(ref_set *r, double temperature, double range, double exponent);
void ref_mirostat_1(ref_set *r, double mu);
void ref_mirostat_2(ref_set *r, double mu);

/* The chain of p (names separated by semicolons) without penalties; xtc tells whether an XTC step takes
 * place. */
void ref_chain(ref_set *r, const quern_sampler_params *p, const char *samplers, bool xtc);

/* Pearson's chi-square; fails the test where draws as unlikely as one in a million are met, or a token of
 * probability 0 was drawn. */
void ref_check_draws(const double *probs, const size_t *drawn, size_t n, const char *what);

#endif
