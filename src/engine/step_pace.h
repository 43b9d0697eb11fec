/* step_pace.h: how long a step will take, learned from the steps before, and how much of a prompt fits into
 * the time that running streams can wait.
 *
 * The model: fixed + per_few * (tokens behind the first, up to the eighth) + per_token * (tokens beyond) +
 * per_look * (positions that all tokens look back at). The weights are read once whatever the number of
 * tokens: where that is what takes the time, a few more cost little, and where a model stays in the caches
 * they cost much. The coefficients follow what is measured (recursive least squares over coefficients that
 * drift). They decide about times alone, never about results (contract C4). */
#ifndef QN_ENGINE_STEP_PACE_H
#define QN_ENGINE_STEP_PACE_H

#include <stddef.h>
#include <stdint.h>

enum { QN_PACE_FEW_TOKENS = 8, QN_PACE_TERMS = 4 };

typedef struct qn_step_shape {
    size_t n_tokens;  /* of all segments */
    uint64_t n_looks; /* sum over the tokens of the positions they attend to */
} qn_step_shape;

typedef struct qn_step_pace {
    double coefficients[QN_PACE_TERMS]; /* nanoseconds, at least 0: fixed, per few, per token, per
                                           1024 looks */
    double covariance[QN_PACE_TERMS][QN_PACE_TERMS]; /* of their errors, if a step errs by its own length */
    uint64_t n_steps;                                /* that were learned from */
    uint64_t n_seen[2];                              /* of few tokens, and of many */
    uint32_t n_long[2]; /* of these, the last ones in a row that took far longer than expected */
} qn_step_pace;

/* Adds a segment of n_tokens that begins at a position and attends to all before. Numbers that are too large
 * stay at the largest. */
void qn_step_shape_add(qn_step_shape *shape, size_t n_tokens, uint64_t position);

/* Some guess of a small model on a small machine; the first few steps replace it. */
void qn_step_pace_init(qn_step_pace *p);
/* Steps without tokens, without time, or of absurd size teach nothing. */
void qn_step_pace_learn(qn_step_pace *p, const qn_step_shape *shape, uint64_t ns);
/* Nanoseconds, never below 0; 0 for no tokens. More tokens or looks never take less. */
double qn_step_pace_expect(const qn_step_pace *p, const qn_step_shape *shape);
/* The same for the shape with 0 to n more tokens, which follow each other from a position on: [n + 1]. */
void qn_step_pace_expect_each(const qn_step_pace *p, const qn_step_shape *shape, uint64_t position, size_t n,
                              double *ns);

/* The most tokens, at most `most`, of a prompt at `position` that a step which holds `others` already can
 * take so that it ends within budget_ns; at least `least` (or `most`, where that is less), so that prompts
 * always go on. */
size_t qn_step_pace_fit(const qn_step_pace *p, const qn_step_shape *others, size_t position, size_t least,
                        size_t most, uint64_t budget_ns);

#endif
