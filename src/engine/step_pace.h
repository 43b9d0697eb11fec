/* step_pace.h: how long a step will take, learned from the steps before, and how much of a prompt fits into
 * the time that running streams can wait.
 *
 * The model: a step of n tokens in s segments takes fixed + n * per_token + per_context * (positions that all
 * tokens look back at), with a separate figure for few tokens, whose weights are read once whatever n is.
 * The coefficients follow what is measured (recursive least squares that forgets). They decide about times
 * alone, never about results (contract C4). */
#ifndef QN_ENGINE_STEP_PACE_H
#define QN_ENGINE_STEP_PACE_H

#include <stddef.h>
#include <stdint.h>

typedef struct qn_step_shape {
    size_t n_tokens;
    uint64_t n_looks; /* sum over the tokens of the positions they attend to */
} qn_step_shape;

typedef struct qn_step_pace qn_step_pace;
struct qn_step_pace {
    double weights[3]; /* nanoseconds: fixed, per token, per 1024 looks */
    double covariance[3][3];
    uint64_t n_steps;
};

void qn_step_pace_init(qn_step_pace *p);
void qn_step_pace_learn(qn_step_pace *p, const qn_step_shape *shape, uint64_t ns);
/* Nanoseconds, never below 0. */
double qn_step_pace_expect(const qn_step_pace *p, const qn_step_shape *shape);

/* The most tokens, at most `most`, of a prompt at `position` that a step which holds `others` already can
 * take so that it ends within budget_ns; at least `least`, so that prompts always go on. */
size_t qn_step_pace_fit(const qn_step_pace *p, const qn_step_shape *others, size_t position, size_t least,
                        size_t most, uint64_t budget_ns);

#endif
