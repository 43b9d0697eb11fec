/* reference.c: see reference.h. */
#include "reference.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void ref_init(ref_set *r, const float *logits, size_t n)
{
    assert_true(n <= REF_MAX);
    r->n = n;
    for (size_t i = 0; i < n; i++) {
        r->logits[i] = (double)logits[i];
        r->in[i] = logits[i] > -INFINITY;
    }
}

size_t ref_count(const ref_set *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) n += r->in[i];
    return n;
}

typedef struct scored {
    size_t id;
    double score;
} scored;

static int by_score(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->id < y->id ? -1 : 1;
}

static size_t sort_by(const ref_set *r, const double *score, size_t *ids)
{
    static scored list[REF_MAX];
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (r->in[i]) list[n++] = (scored){i, score[i]};
    qsort(list, n, sizeof *list, by_score);
    for (size_t i = 0; i < n; i++) ids[i] = list[i].id;
    return n;
}

void ref_order(const ref_set *r, size_t *ids)
{
    sort_by(r, r->logits, ids);
}

void ref_probs(const ref_set *r, double *probs)
{
    double max = -INFINITY, sum = 0.0;
    for (size_t i = 0; i < r->n; i++)
        if (r->in[i] && r->logits[i] > max) max = r->logits[i];
    for (size_t i = 0; i < r->n; i++) sum += probs[i] = r->in[i] ? exp(r->logits[i] - max) : 0.0;
    for (size_t i = 0; i < r->n; i++) probs[i] /= sum;
}

static void keep(ref_set *r, const size_t *ids, size_t n)
{
    memset(r->in, 0, sizeof r->in);
    for (size_t i = 0; i < n; i++) r->in[ids[i]] = true;
}

static size_t sort_ids[REF_MAX];
static double sort_probs[REF_MAX], sort_scores[REF_MAX];

void ref_top_k(ref_set *r, size_t k)
{
    ref_order(r, sort_ids);
    if (k < ref_count(r)) keep(r, sort_ids, k);
}

static void keep_mass(ref_set *r, size_t n, double p, bool over)
{
    double sum = 0.0;
    size_t m = 0;
    while (m < n) {
        sum += sort_probs[sort_ids[m++]];
        if (over ? sum > p : sum >= p) break;
    }
    keep(r, sort_ids, m);
}

void ref_top_p(ref_set *r, double p)
{
    ref_probs(r, sort_probs);
    keep_mass(r, sort_by(r, r->logits, sort_ids), p, false);
}

void ref_min_p(ref_set *r, double p)
{
    ref_probs(r, sort_probs);
    double max = 0.0;
    for (size_t i = 0; i < r->n; i++) max = fmax(max, sort_probs[i]);
    for (size_t i = 0; i < r->n; i++) r->in[i] = r->in[i] && sort_probs[i] >= p * max;
}

static double entropy(const double *probs, size_t n)
{
    double h = 0.0;
    for (size_t i = 0; i < n; i++)
        if (probs[i] > 0.0) h -= probs[i] * log(probs[i]);
    return h;
}

void ref_typical(ref_set *r, double p)
{
    ref_probs(r, sort_probs);
    const double h = entropy(sort_probs, r->n);
    for (size_t i = 0; i < r->n; i++) sort_scores[i] = -fabs(-log(sort_probs[i]) - h);
    keep_mass(r, sort_by(r, sort_scores, sort_ids), p, true);
}

void ref_top_n_sigma(ref_set *r, double n)
{
    double sum = 0.0, squares = 0.0, max = -INFINITY;
    const double count = (double)ref_count(r);
    for (size_t i = 0; i < r->n; i++) {
        if (!r->in[i]) continue;
        sum += r->logits[i];
        max = fmax(max, r->logits[i]);
    }
    for (size_t i = 0; i < r->n; i++)
        if (r->in[i]) squares += pow(r->logits[i] - sum / count, 2.0);
    for (size_t i = 0; i < r->n; i++) r->in[i] = r->in[i] && r->logits[i] >= max - n * sqrt(squares / count);
}

void ref_xtc(ref_set *r, double threshold)
{
    ref_probs(r, sort_probs);
    const size_t n = sort_by(r, r->logits, sort_ids);
    size_t n_top = 0;
    while (n_top < n && sort_probs[sort_ids[n_top]] >= threshold) n_top++;
    if (n_top >= 2) keep(r, sort_ids + n_top - 1, n - (n_top - 1));
}

void ref_temperature(ref_set *r, double temperature)
{
    for (size_t i = 0; i < r->n; i++) r->logits[i] /= temperature;
}

void ref_dynamic(ref_set *r, double temperature, double range, double exponent)
{
    ref_probs(r, sort_probs);
    const double certainty = entropy(sort_probs, r->n) / log((double)ref_count(r)),
                 low = fmax(0.0, temperature - range);
    ref_temperature(r, low + (temperature + range - low) * pow(certainty, exponent));
}

void ref_mirostat_1(ref_set *r, double mu)
{
    ref_probs(r, sort_probs);
    const size_t n = sort_by(r, r->logits, sort_ids);
    double products = 0.0, squares = 0.0;
    for (size_t i = 0; i + 1 < n && i < 99; i++) {
        const double t = log((double)(i + 2) / (double)(i + 1));
        products += t * log(sort_probs[sort_ids[i]] / sort_probs[sort_ids[i + 1]]);
        squares += t * t;
    }
    const double s = products / squares, e = s - 1.0;
    const double k = pow(e * pow(2.0, mu) / (1.0 - pow((double)r->n, -e)), 1.0 / s);
    if (k < (double)n) keep(r, sort_ids, k < 1.0 ? 1 : (size_t)k);
}

void ref_mirostat_2(ref_set *r, double mu)
{
    ref_probs(r, sort_probs);
    const size_t n = sort_by(r, r->logits, sort_ids);
    size_t m = 1;
    while (m < n && -log2(sort_probs[sort_ids[m]]) <= mu) m++;
    keep(r, sort_ids, m);
}

static bool is(const char *at, const char *name)
{
    return strncmp(at, name, strlen(name)) == 0;
}

void ref_chain(ref_set *r, const quern_sampler_params *p, const char *samplers, bool xtc)
{
    for (const char *at = samplers; *at != '\0'; at += strcspn(at, ";"), at += *at == ';') {
        if (is(at, "top_k") && p->top_k > 0) ref_top_k(r, (size_t)p->top_k);
        if (is(at, "top_p") && p->top_p < 1.0f) ref_top_p(r, (double)p->top_p);
        if (is(at, "min_p") && p->min_p > 0.0f) ref_min_p(r, (double)p->min_p);
        if (is(at, "typ_p") && p->typical_p < 1.0f) ref_typical(r, (double)p->typical_p);
        if (is(at, "top_n_sigma") && p->top_n_sigma > 0.0f) ref_top_n_sigma(r, (double)p->top_n_sigma);
        if (is(at, "xtc") && xtc) ref_xtc(r, (double)p->xtc_threshold);
        if (is(at, "temperature") && p->dynatemp_range > 0.0f)
            ref_dynamic(r, (double)p->temperature, (double)p->dynatemp_range, (double)p->dynatemp_exponent);
        else if (is(at, "temperature")) ref_temperature(r, (double)p->temperature);
    }
}

void ref_check_draws(const double *probs, const size_t *drawn, size_t n, const char *what)
{
    double total = 0.0, chi_square = 0.0, rest = 0.0, rest_drawn = 0.0;
    size_t cells = 0;
    for (size_t i = 0; i < n; i++) total += (double)drawn[i];
    for (size_t i = 0; i < n; i++) {
        const double expected = probs[i] * total;
        if (probs[i] == 0.0 && drawn[i] > 0)
            fail_msg("%s: token %zu drawn %zu times, but it is excluded", what, i, drawn[i]);
        if (expected < 10.0) { /* too few for the approximation: together one cell */
            rest += expected;
            rest_drawn += (double)drawn[i];
            continue;
        }
        chi_square += pow((double)drawn[i] - expected, 2.0) / expected;
        cells++;
    }
    if (rest > 1e-9) chi_square += pow(rest_drawn - rest, 2.0) / fmax(rest, 1.0), cells++;
    if (cells < 2) return;
    /* Wilson and Hilferty 1931; 4.75 standard deviations are one in a million */
    const double freedom = (double)cells - 1.0, spread = 2.0 / (9.0 * freedom);
    const double limit = freedom * pow(1.0 - spread + 4.75 * sqrt(spread), 3.0);
    if (chi_square > limit)
        fail_msg("%s: chi-square %.1f above %.1f for %zu cells", what, chi_square, limit, cells);
}
