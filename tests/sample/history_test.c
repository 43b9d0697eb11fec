/* history_test.c: penalties and DRY against their definitions, over short, long and wrapping histories. */
#include "base/alloc.h"
#include "base/random.h"
#include "sample/dry.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N_VOCAB = 12 };

static double penalty_by_definition(const qn_penalties *p, const quern_token *text, size_t n_text,
                                    size_t last_n, quern_token token, double logit)
{
    int count = 0;
    for (size_t i = n_text > last_n ? n_text - last_n : 0; i < n_text; i++) count += text[i] == token;
    if (count == 0) return logit;
    logit = logit > 0.0 ? logit / (double)p->repeat : logit * (double)p->repeat;
    return logit - count * (double)p->frequency - (double)p->presence;
}

static void penalties_count_the_last_n(void **state)
{
    (void)state;
    static const qn_penalties p = {1.3f, 0.25f, 0.125f};
    static const size_t windows[] = {1, 2, 3, 7, 64, 1000};
    for (size_t w = 0; w < 6; w++) {
        qn_history h;
        assert_int_equal(qn_history_init(&h, N_VOCAB, windows[w] + w % 2 * 37, windows[w], NULL), QUERN_OK);
        for (int round = 0; round < 2; round++) { /* again after clearing */
            quern_token text[3000];
            qn_random r = {.seed = w};
            for (size_t n = 0; n < 3000; n++) {
                float all[N_VOCAB], some[3];
                const quern_token ids[3] = {1, 5, 11};
                for (int i = 0; i < N_VOCAB; i++) all[i] = (float)(i - 6) * 0.75f;
                for (int i = 0; i < 3; i++) some[i] = all[ids[i]];
                qn_penalties_apply_all(&p, &h, all);
                qn_penalties_apply(&p, &h, ids, some, 3);
                for (int i = 0; i < N_VOCAB; i++) {
                    const double want =
                        penalty_by_definition(&p, text, n, windows[w], i, (double)((float)(i - 6) * 0.75f));
                    assert_true(fabs((double)all[i] - want) < 1e-5 * (1.0 + fabs(want)));
                }
                for (int i = 0; i < 3; i++) assert_true(some[i] == all[ids[i]]);
                text[n] = (quern_token)(qn_random_u64(&r) % (n % 50 < 25 ? 3 : N_VOCAB));
                qn_history_push(&h, text[n]);
            }
            assert_int_equal(h.n_total, 3000);
            qn_history_clear(&h);
        }
        qn_history_deinit(&h);
    }
}

static void what_is_possible_stays_possible(void **state)
{
    (void)state;
    qn_history h;
    assert_int_equal(qn_history_init(&h, 4, 4, 4, NULL), QUERN_OK);
    for (quern_token t = 0; t < 4; t++) qn_history_push(&h, t);
    float logits[4] = {-FLT_MAX, FLT_MAX, -INFINITY, NAN};
    qn_penalties_apply_all(&(qn_penalties){100.0f, 100.0f, 100.0f}, &h, logits);
    assert_true(logits[0] == -FLT_MAX && isfinite(logits[1]) && logits[2] == -INFINITY && isnan(logits[3]));
    qn_history_deinit(&h);
    assert_true(qn_logit_minus(1.0f, 1e300) == -FLT_MAX && qn_logit_minus(-INFINITY, 1.0) == -INFINITY);
}

/* ---- DRY ---------------------------------------------------------------------------------------- */

typedef struct dry_case {
    qn_dry_params params;
    qn_dry_breaker breakers[3];
    size_t n_breakers;
} dry_case;

/* Does a breaker stand at text[i], and how far does the longest one reach? */
static size_t breaker_length(const dry_case *k, const quern_token *text, size_t n, size_t i)
{
    size_t longest = 0;
    for (size_t b = 0; b < k->n_breakers; b++) {
        const qn_dry_breaker *breaker = &k->breakers[b];
        if (i + breaker->n_tokens <= n &&
            memcmp(text + i, breaker->tokens, breaker->n_tokens * sizeof *text) == 0 &&
            breaker->n_tokens > longest)
            longest = breaker->n_tokens;
    }
    return longest;
}

/* Straight from the definition, in cubic time: text is the part that is looked back at. */
static double dry_by_definition(const dry_case *k, const quern_token *text, size_t n, quern_token token)
{
    const size_t allowed = k->params.allowed_length;
    if (n <= allowed) return 0.0;
    for (size_t b = 0; b < k->n_breakers; b++)
        if (k->breakers[b].n_tokens == 1 && k->breakers[b].tokens[0] == token) return 0.0;
    size_t limit = n;
    for (size_t i = n; i-- > 0;) {
        const size_t length = breaker_length(k, text, n, i);
        if (length == 0) continue;
        limit = n - i - length;
        break;
    }
    if (limit < allowed) return 0.0;
    bool found = false;
    size_t longest = 0;
    for (size_t at = 0; at < n;
         at++) { /* text[at] == token: how much before it equals the end of the text? */
        if (text[at] != token) continue;
        size_t length = 0;
        while (length < at && text[at - 1 - length] == text[n - 1 - length]) length++;
        if (length > limit) length = limit;
        if (at == 0 || length < allowed) continue;
        if (length > longest) longest = length;
        found = true;
    }
    return found
               ? fmin((double)k->params.multiplier * pow((double)k->params.base, (double)(longest - allowed)),
                      FLT_MAX)
               : 0.0;
}

static const quern_token nl[] = {7}, mark[] = {8, 9}, long_mark[] = {8, 9, 9};
static const dry_case dry_cases[] = {
    {{0.8f, 1.75f, 2, 64}, {{nl, 1}}, 0},
    {{0.8f, 1.75f, 2, 64}, {{nl, 1}}, 1},
    {{0.5f, 2.0f, 1, 300}, {{nl, 1}, {mark, 2}, {long_mark, 3}}, 3},
    {{1.0f, 1.0f, 3, 17}, {{mark, 2}}, 1},
    {{1.0f, 1.5f, 0, 40}, {{nl, 1}}, 1},
    {{1000.0f, 1000.0f, 0, 300}, {{nl, 1}}, 0},
};

static void check_dry(const dry_case *k, const quern_token *text, size_t n_text, qn_dry *d, qn_history *h)
{
    const size_t n = n_text < k->params.last_n ? n_text : k->params.last_n;
    float all[N_VOCAB] = {0}, some[3] = {0};
    const quern_token ids[3] = {0, 7, 8};
    qn_dry_apply(d, h, NULL, all, N_VOCAB);
    qn_dry_apply(d, h, ids, some, 3);
    for (quern_token t = 0; t < N_VOCAB; t++) {
        const double want = -dry_by_definition(k, text + (n_text - n), n, t);
        if (fabs((double)all[t] - want) > 1e-5 * fabs(want))
            fail_msg("token %d after %zu: %g, not %g", (int)t, n_text, (double)all[t], want);
    }
    for (int i = 0; i < 3; i++) assert_true(some[i] == all[ids[i]]);
}

static void dry_costs_what_its_definition_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof dry_cases / sizeof *dry_cases; i++)
        for (uint64_t seed = 0; seed < 4; seed++) {
            const dry_case *k = &dry_cases[i];
            qn_history h;
            qn_dry d;
            assert_int_equal(qn_history_init(&h, N_VOCAB, k->params.last_n, 0, NULL), QUERN_OK);
            assert_int_equal(qn_dry_init(&d, &k->params, N_VOCAB, k->breakers, k->n_breakers, NULL),
                             QUERN_OK);
            qn_random r = {.seed = seed};
            quern_token text[400];
            for (size_t n = 0; n < 400; n++) {
                check_dry(k, text, n, &d, &h);
                const uint64_t u = qn_random_u64(&r); /* phrases that come back, line ends, surprises */
                text[n] = u % 16 == 0  ? 7
                          : u % 8 == 1 ? 8
                          : u % 8 == 2 ? 9
                                       : (quern_token)(n % (3 + seed) % N_VOCAB);
                if (seed == 3 && n > 200) text[n] = 4;
                qn_history_push(&h, text[n]);
            }
            qn_dry_deinit(&d);
            qn_history_deinit(&h);
        }
}

static void dry_on_texts_that_can_be_read(void **state)
{
    (void)state;
    enum { A, B, C, D };
    const dry_case plain = {{1.0f, 2.0f, 2, 100}, {{0}}, 0}, broken = {{1.0f, 2.0f, 2, 100}, {{nl, 1}}, 1};
    static const struct {
        quern_token text[12];
        size_t n;
        bool breaker;
        float c, d; /* what they cost */
    } cases[] = {
        {{A, B, C, D, A, B}, 6, false, 1.0f, 0.0f},       /* A B -> C: as long as allowed */
        {{D, A, B, C, D, A, B}, 7, false, 2.0f, 0.0f},    /* D A B -> C: one more */
        {{B, C, D, B}, 4, false, 0.0f, 0.0f},             /* B: shorter than allowed */
        {{A, B, C, A, B, D, A, B}, 8, false, 1.0f, 1.0f}, /* both have followed A B */
        {{A, B, C, 7, A, B}, 6, true, 1.0f, 0.0f},
        {{D, 7, A, B, C, D, 7, A, B}, 9, true, 1.0f, 0.0f}, /* not counted across the line end */
        {{A, B, C, A, 7, B, C, A, B, 7}, 10, true, 0.0f, 0.0f},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const dry_case *k = cases[i].breaker ? &broken : &plain;
        qn_history h;
        qn_dry d;
        assert_int_equal(qn_history_init(&h, N_VOCAB, 100, 0, NULL), QUERN_OK);
        assert_int_equal(qn_dry_init(&d, &k->params, N_VOCAB, k->breakers, k->n_breakers, NULL), QUERN_OK);
        for (size_t j = 0; j < cases[i].n; j++) qn_history_push(&h, cases[i].text[j]);
        float logits[N_VOCAB] = {0};
        qn_dry_apply(&d, &h, NULL, logits, N_VOCAB);
        if (logits[C] != -cases[i].c || logits[D] != -cases[i].d)
            fail_msg("case %zu: C %g, D %g", i, (double)logits[C], (double)logits[D]);
        qn_dry_deinit(&d);
        qn_history_deinit(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(penalties_count_the_last_n),
        cmocka_unit_test(what_is_possible_stays_possible),
        cmocka_unit_test(dry_costs_what_its_definition_says),
        cmocka_unit_test(dry_on_texts_that_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
