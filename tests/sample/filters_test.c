/* filters_test.c: what each filter keeps, against the reference, over random logits of several shapes, with
 * many ties, and at the ends of the parameters' ranges. */
#include "base/alloc.h"
#include "base/random.h"
#include "reference.h"
#include "sample/filters.h"
#include "sample/mirostat.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef enum shape { SMOOTH, TIES, EQUAL, PEAK, HOLES, N_SHAPES } shape;

static void fill(float *logits, size_t n, shape kind, uint64_t seed)
{
    qn_random r = {.seed = seed};
    for (size_t i = 0; i < n; i++) {
        const double u = qn_random_unit(&r),
                     gauss = sqrt(-2.0 * log(1.0 - u)) * cos(6.283185307179586 * qn_random_unit(&r));
        logits[i] = (float)(gauss * 3.0);
        if (kind == TIES) logits[i] = roundf(logits[i]);
        if (kind == EQUAL) logits[i] = -2.5f;
        if (kind == PEAK && i == n / 2) logits[i] = 40.0f;
        if (kind == HOLES && i % 3 == 1) logits[i] = i % 2 ? -INFINITY : NAN;
    }
}

static const qn_kernels *kernels(void)
{
    const qn_kernels *k = NULL;
    assert_int_equal(qn_kernels_choose(&k, NULL), QUERN_OK);
    return k;
}

static void take(qn_candidates *c, const float *logits, size_t n)
{
    assert_int_equal(qn_candidates_init(c, n, kernels(), NULL), QUERN_OK);
    qn_candidates_scan(c, logits, NULL);
    qn_candidates_gather(c, logits, -INFINITY);
}

static void assert_same(const qn_candidates *c, const ref_set *r, const char *what)
{
    size_t m = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (!r->in[i]) continue;
        if (m >= c->n || c->ids[m] != (quern_token)i)
            fail_msg("%s: token %zu of %zu should have stayed", what, i, r->n);
        m++;
    }
    if (m != c->n) fail_msg("%s: %zu of %zu stayed, not %zu", what, c->n, r->n, m);
}

typedef void filter_fn(qn_candidates *c, double parameter);
typedef void ref_fn(ref_set *r, double parameter);
static void top_k(qn_candidates *c, double k)
{
    qn_filter_top_k(c, (size_t)k);
}
static void top_p(qn_candidates *c, double p)
{
    qn_filter_top_p(c, (float)p);
}
static void min_p(qn_candidates *c, double p)
{
    qn_filter_min_p(c, (float)p);
}
static void typical(qn_candidates *c, double p)
{
    qn_filter_typical(c, (float)p);
}
static void n_sigma(qn_candidates *c, double n)
{
    qn_filter_top_n_sigma(c, (float)n);
}
static void xtc(qn_candidates *c, double t)
{
    qn_filter_xtc(c, (float)t);
}
static void mirostat_1(qn_candidates *c, double mu)
{
    qn_mirostat_1(c, mu, c->capacity);
}
static void mirostat_2(qn_candidates *c, double mu)
{
    qn_mirostat_2(c, mu);
}
static void ref_top_k_of(ref_set *r, double k)
{
    ref_top_k(r, (size_t)k);
}

static const struct {
    const char *name;
    filter_fn *filter;
    ref_fn *reference;
    double parameters[8]; /* up to the first below 0 */
} filters[] = {
    {"top_k", top_k, ref_top_k_of, {1, 2, 40, 100, 1000, 1e6, -1}},
    {"top_p", top_p, ref_top_p, {1e-6, 0.1234, 0.5017, 0.901, 0.95321, 0.9987, -1}},
    {"min_p", min_p, ref_min_p, {1e-6, 0.0517, 0.1234, 0.512, 0.93, -1}},
    {"typical", typical, ref_typical, {1e-6, 0.1234, 0.5017, 0.901, 0.9987, -1}},
    {"top_n_sigma", n_sigma, ref_top_n_sigma, {0.123, 1.017, 2.03, 50.0, -1}},
    {"xtc", xtc, ref_xtc, {1e-5, 0.0011, 0.0103, 0.1017, 0.4999, -1}},
    {"mirostat 1", mirostat_1, ref_mirostat_1, {0.017, 1.03, 3.3, 9.98, 40.0, -1}},
    {"mirostat 2", mirostat_2, ref_mirostat_2, {0.017, 1.03, 3.3, 9.98, 40.0, -1}},
};

static void each_filter_keeps_what_its_definition_says(void **state)
{
    (void)state;
    static float logits[REF_MAX];
    static ref_set r;
    static const size_t sizes[] = {1, 2, 3, 17, 127, 128, 129, 1000, 4096};
    for (size_t f = 0; f < sizeof filters / sizeof *filters; f++)
        for (size_t p = 0; filters[f].parameters[p] >= 0.0; p++)
            for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
                for (int kind = 0; kind < N_SHAPES; kind++) {
                    /* equal and tied probabilities put sums and estimates exactly on a border, where rounding
                     * decides */
                    if (kind == EQUAL && filters[f].filter != top_k && filters[f].filter != min_p &&
                        filters[f].filter != n_sigma)
                        continue;
                    if (kind == TIES && filters[f].filter == typical) continue;
                    const double parameter = filters[f].parameters[p];
                    qn_candidates c;
                    fill(logits, sizes[s], (shape)kind, 1000 * p + s);
                    if (sizes[s] == 1 && filters[f].filter == mirostat_1) continue;
                    take(&c, logits, sizes[s]);
                    ref_init(&r, logits, sizes[s]);
                    filters[f].filter(&c, parameter);
                    filters[f].reference(&r, (double)(float)parameter);
                    char what[96];
                    snprintf(what, sizeof what, "%s %g, n %zu, shape %d", filters[f].name, parameter,
                             sizes[s], kind);
                    assert_same(&c, &r, what);
                    qn_candidates_deinit(&c);
                }
}

static void ends_of_the_ranges_keep_all_or_one(void **state)
{
    (void)state;
    float logits[300];
    qn_candidates c;
    for (int kind = 0; kind < N_SHAPES; kind++) {
        fill(logits, 300, (shape)kind, 7);
        take(&c, logits, 300);
        const size_t all = c.n;
        qn_filter_top_p(&c, 1.0f);
        assert_true(kind == PEAK || c.n == all); /* what is nothing in float precision may go */
        qn_filter_top_n_sigma(&c, 1e9f);
        assert_true(kind == PEAK || c.n == all);
        qn_filter_top_p(&c, 0.0f);
        assert_int_equal(c.n, 1);
        qn_candidates_deinit(&c);
        take(&c, logits, 300);
        qn_filter_typical(&c, 0.0f);
        assert_int_equal(c.n, 1);
        qn_filter_top_k(&c, 1);
        qn_filter_min_p(&c, 1.0f);
        qn_filter_xtc(&c, 0.0f);
        qn_filter_top_n_sigma(&c, 1.0f);
        qn_mirostat_1(&c, 1.0, 300);
        qn_mirostat_2(&c, -5.0);
        assert_int_equal(c.n, 1);
        qn_candidates_deinit(&c);
    }
}

static void equal_tokens_are_cut_by_id(void **state)
{
    (void)state;
    float logits[500];
    qn_candidates c;
    fill(logits, 500, EQUAL, 0);
    take(&c, logits, 500);
    qn_filter_top_p(&c, 0.5009f); /* 250.45 of 500 */
    assert_int_equal(c.n, 251);
    for (size_t i = 0; i < c.n; i++) assert_int_equal(c.ids[i], i);
    qn_filter_xtc(&c, 0.001f);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.ids[0], 250);
    qn_candidates_deinit(&c);
}

static void xtc_spares_what_is_below_and_the_least_above(void **state)
{
    (void)state;
    static const double probs[] = {0.05, 0.3, 0.35, 0.2, 0.1};
    float logits[5];
    for (size_t i = 0; i < 5; i++) logits[i] = (float)log(probs[i]);
    static const struct {
        float threshold;
        size_t n;
        quern_token ids[5];
    } cases[] = {{0.15f, 3, {0, 3, 4}},
                 {0.25f, 4, {0, 1, 3, 4}},
                 {0.32f, 5, {0, 1, 2, 3, 4}},
                 {0.4f, 5, {0, 1, 2, 3, 4}},
                 {0.0f, 1, {0}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qn_candidates c;
        take(&c, logits, 5);
        qn_filter_xtc(&c, cases[i].threshold);
        assert_int_equal(c.n, cases[i].n);
        assert_memory_equal(c.ids, cases[i].ids, c.n * sizeof *c.ids);
        qn_candidates_deinit(&c);
    }
}

static void bounds_and_thresholds_lose_no_candidate(void **state)
{
    (void)state;
    enum { N = 20000 };
    static float logits[N];
    static const size_t ks[] = {1, 2, 40, 100, 156, 157, 5000, N};
    for (int kind = 0; kind < N_SHAPES; kind++)
        for (size_t j = 0; j < sizeof ks / sizeof *ks; j++) {
            qn_candidates a, b;
            fill(logits, N, (shape)kind, 3);
            take(&a, logits, N);
            qn_filter_top_k(&a, ks[j]);
            assert_int_equal(qn_candidates_init(&b, N, kernels(), NULL), QUERN_OK);
            qn_candidates_scan(&b, logits, NULL);
            const float bound = qn_candidates_bound(&b, ks[j]);
            const size_t n = qn_candidates_gather(&b, logits, (double)bound);
            assert_true(kind == EQUAL || ks[j] > 156 || n < N / 4);
            qn_filter_top_k(&b, ks[j]);
            assert_int_equal(a.n, b.n);
            assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
            qn_candidates_deinit(&a);
            qn_candidates_deinit(&b);
        }
}

static void extreme_logits_are_survived(void **state)
{
    (void)state;
    const float logits[] = {FLT_MAX, -FLT_MAX, INFINITY, -INFINITY, NAN,
                            0.0f,    -0.0f,    FLT_MIN,  -1e-45f,   1e30f};
    for (size_t f = 0; f < sizeof filters / sizeof *filters; f++)
        for (size_t p = 0; filters[f].parameters[p] >= 0.0; p++) {
            qn_candidates c;
            take(&c, logits, 10);
            assert_int_equal(c.n, 8);
            filters[f].filter(&c, filters[f].parameters[p]);
            assert_true(c.n >= 1 && c.n <= 8);
            for (size_t i = 0; i < c.n; i++)
                assert_true(isfinite(c.logits[i]) && c.ids[i] >= 0 && c.ids[i] < 10);
            qn_candidates_deinit(&c);
        }
    static const double temperatures[] = {0.0, 1e-300, 1e-40, 1e-5, 1.0, 1000.0};
    for (size_t t = 0; t < 6; t++) {
        qn_candidates c;
        take(&c, logits, 10);
        qn_apply_temperature(&c, temperatures[t]);
        for (size_t i = 0; i < c.n; i++) assert_true(isfinite(c.logits[i]));
        assert_int_equal(c.ids[qn_candidates_argmax(&c)], 0);
        assert_true(isfinite(qn_dynamic_temperature(&c, 1.0f, 1.0f, 0.5f)));
        qn_candidates_deinit(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_filter_keeps_what_its_definition_says),
        cmocka_unit_test(ends_of_the_ranges_keep_all_or_one),
        cmocka_unit_test(equal_tokens_are_cut_by_id),
        cmocka_unit_test(xtc_spares_what_is_below_and_the_least_above),
        cmocka_unit_test(bounds_and_thresholds_lose_no_candidate),
        cmocka_unit_test(extreme_logits_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
