/* log_probs_test.c: log-softmax of a row against its definition in long double, and its most likely tokens
 * against plain sorting, over rows of many shapes and with values that no model should give. */
#include "support/cmocka_all.h"

#include "base/random.h"
#include "sample/log_probs.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 5000, TOP = 20 };

static float value_of(float logit)
{
    return isnan(logit) ? -INFINITY : logit > FLT_MAX ? FLT_MAX : logit;
}

/* The greatest of a row, and log1p of the sum over all others of exp(logit - greatest). */
static long double log_sum_of(const float *logits, size_t n, long double *greatest)
{
    long double sum = 0.0L;
    size_t n_greatest = 0;
    *greatest = -INFINITY;
    for (size_t i = 0; i < n; i++) *greatest = fmaxl(*greatest, value_of(logits[i]));
    for (size_t i = 0; i < n; i++)
        if (value_of(logits[i]) < *greatest) sum += expl((long double)value_of(logits[i]) - *greatest);
        else n_greatest++;
    return log1pl(sum + (long double)(n_greatest - 1));
}

static const float *sorted_row;

static int compare(const void *a, const void *b)
{
    const quern_token i = *(const quern_token *)a, k = *(const quern_token *)b;
    const float x = value_of(sorted_row[i]), y = value_of(sorted_row[k]);
    return x != y ? (x < y) - (x > y) : (i > k) - (i < k);
}

static void check_row(const float *logits, size_t n, const char *what)
{
    static quern_token order[MOST];
    quern_token top[TOP];
    qn_log_softmax d;
    long double greatest;
    const long double log_sum = log_sum_of(logits, n, &greatest);
    qn_log_softmax_init(&d, logits, n);
    for (size_t i = 0; i < n; i++) {
        const long double wanted = (long double)value_of(logits[i]) - greatest - log_sum;
        const float found = qn_log_softmax_of(&d, logits[i]);
        if (!(value_of(logits[i]) > -INFINITY)) {
            if (!(found == -INFINITY)) fail_msg("%s: token %zu is possible", what, i);
            continue;
        }
        if (found > 0.0f || (signbit(found) != 0) != (found != 0.0f)) fail_msg("%s: %g", what, (double)found);
        const long double limit = wanted > -FLT_MAX ? wanted : -FLT_MAX;
        /* half a unit in the last place of a float, and some of a double's */
        if (fabsl((long double)found - limit) > 0.6L * FLT_EPSILON * fabsl(limit) + FLT_TRUE_MIN)
            fail_msg("%s: token %zu of %zu: %.9g for %.9Lg", what, i, n, (double)found, limit);
    }
    sorted_row = logits;
    for (size_t i = 0; i < n; i++) order[i] = (quern_token)i;
    qsort(order, n, sizeof *order, compare);
    for (size_t k = 0; k <= TOP; k += k < 3 ? 1 : 17) {
        size_t possible = 0;
        while (possible < n && possible < k && value_of(logits[order[possible]]) > -INFINITY) possible++;
        if (qn_most_likely(logits, n, top, k) != possible) fail_msg("%s: not %zu tokens", what, possible);
        for (size_t i = 0; i < possible; i++)
            if (top[i] != order[i]) fail_msg("%s: at %zu token %d, not %d", what, i, top[i], order[i]);
    }
}

static void rows_of_models(void **state)
{
    (void)state;
    static float row[MOST];
    const size_t sizes[] = {1, 2, 7, 8, 9, 64, 1000, MOST};
    const float scales[] = {0.0f, 0.01f, 1.0f, 12.0f, 300.0f};
    qn_random r = {.seed = 1};
    for (size_t s = 0; s < 8; s++)
        for (size_t k = 0; k < 5; k++) {
            for (size_t i = 0; i < sizes[s]; i++)
                row[i] = scales[k] * (float)(qn_random_unit(&r) + qn_random_unit(&r) - 1.0) - 3.0f;
            check_row(row, sizes[s], "random");
            for (size_t i = 0; i < sizes[s]; i++) row[i] = roundf(row[i]);
            check_row(row, sizes[s], "ties");
            row[sizes[s] / 2] = 90.0f; /* all but certain: what is lost must not be the digits near 0 */
            check_row(row, sizes[s], "peak");
        }
}

static void rows_of_nobody(void **state)
{
    (void)state;
    static const float odd[] = {0.0f,     -0.0f,        INFINITY,      -INFINITY, NAN,    FLT_MAX,
                                -FLT_MAX, FLT_TRUE_MIN, -FLT_TRUE_MIN, 1e30f,     -1e30f, 708.0f};
    float row[40];
    qn_random r = {.seed = 2};
    for (size_t round = 0; round < 2000; round++) {
        const size_t n = 1 + qn_random_u64(&r) % 40;
        for (size_t i = 0; i < n; i++) row[i] = odd[qn_random_u64(&r) % 12];
        check_row(row, n, "odd");
    }
    for (size_t i = 0; i < 40; i++) row[i] = i % 2 ? NAN : -INFINITY;
    check_row(row, 40, "nothing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_of_models), cmocka_unit_test(rows_of_nobody)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
