/* filters.h: each shrinks the set of candidates, or changes its logits, by one published rule. Parameters
 * have been checked; at least one candidate always stays. */
#ifndef QN_SAMPLE_FILTERS_H
#define QN_SAMPLE_FILTERS_H

#include "sample/candidates.h"

/* The k greatest logits. Fan et al. 2018, arXiv:1805.04833. */
void qn_filter_top_k(qn_candidates *c, size_t k);

/* The fewest of the most probable that hold at least p together. Holtzman et al. 2019, arXiv:1904.09751. */
void qn_filter_top_p(qn_candidates *c, float p);

/* Probability at least p times the greatest. Nguyen et al. 2024, arXiv:2407.01082. */
void qn_filter_min_p(qn_candidates *c, float p);
double qn_min_p_threshold(float max_logit, float p);

/* Those whose information -ln(prob) is nearest to the entropy, until they hold more than p together. Meister
 * et al. 2022, arXiv:2202.00666. */
void qn_filter_typical(qn_candidates *c, float p);

/* Logit at least max - n standard deviations of the logits. Tang et al. 2024, arXiv:2411.07641. */
void qn_filter_top_n_sigma(qn_candidates *c, float n);

/* "Exclude top choices": of those with at least this probability only the least probable stays (p-e-w 2024,
 * text-generation-webui pull request 6335). */
void qn_filter_xtc(qn_candidates *c, float threshold);

/* logits / temperature; 0 keeps only the greatest. */
void qn_apply_temperature(qn_candidates *c, double temperature);

/* The temperature between max(0, temperature - range) and temperature + range that the entropy asks for: 0
 * where one token is certain, 1 where all are equal, that number to the power of exponent. (kalomaze 2023.)
 */
double qn_dynamic_temperature(qn_candidates *c, float temperature, float range, float exponent);

#endif
