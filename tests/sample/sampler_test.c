/* sampler_test.c: whole samplers: what they draw follows the distribution that the reference computes;
 * nothing but seed, position, history and logits decides; bad parameters, bad logits and failing memory are
 * survived. */
#include "base/alloc.h"
#include "base/random.h"
#include "reference.h"
#include "sample/sampler.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const qn_kernels *kernels(void)
{
    const qn_kernels *k = NULL;
    assert_int_equal(qn_kernels_choose(&k, NULL), QUERN_OK);
    return k;
}

static qn_sampler *make(const quern_sampler_params *p, size_t n_vocab)
{
    qn_sampler *s = NULL;
    quern_error err = {0};
    const qn_sampler_setup setup = {.params = p, .n_vocab = n_vocab, .n_ctx = 256, .kernels = kernels()};
    if (qn_sampler_create(&s, &setup, &err) != QUERN_OK) fail_msg("%s", err.message);
    return s;
}

/* All filters off, temperature 1. */
static quern_sampler_params plain(uint64_t seed)
{
    quern_sampler_params p = quern_sampler_params_default();
    p.seed = seed;
    p.temperature = 1.0f;
    p.top_k = 0;
    p.top_p = 1.0f;
    p.min_p = 0.0f;
    return p;
}

static void gauss_logits(float *logits, size_t n, double spread, uint64_t seed)
{
    qn_random r = {.seed = seed};
    for (size_t i = 0; i < n; i++) {
        const double u = qn_random_unit(&r);
        logits[i] = (float)(spread * sqrt(-2.0 * log(1.0 - u)) * cos(6.283185307179586 * qn_random_unit(&r)));
    }
}

static quern_token sample_copy(qn_sampler *s, const float *logits, size_t n)
{
    static float copy[1 << 16], block_max[(1 << 16) / QN_LOGIT_BLOCK];
    static unsigned calls;
    memcpy(copy, logits, n * sizeof *copy);
    const quern_token token = qn_sampler_sample(s, copy, NULL);
    if (calls++ % 16 != 0) return token;
    for (size_t i = 0; i < n; i += QN_LOGIT_BLOCK) /* the same where the greatest are known */
        block_max[i / QN_LOGIT_BLOCK] =
            qn_greatest_logit(kernels()->argmax, logits + i, n - i < QN_LOGIT_BLOCK ? n - i : QN_LOGIT_BLOCK);
    memcpy(copy, logits, n * sizeof *copy);
    assert_int_equal(qn_sampler_sample(s, copy, block_max), token);
    return token;
}

enum { N_DRAWS = 100000 };

/* Draws at as many positions; `accept` is accepted each time (-1: what was drawn). */
static void draw_many(qn_sampler *s, const float *logits, size_t n, quern_token accept, size_t *drawn)
{
    memset(drawn, 0, n * sizeof *drawn);
    const int n_draws = n <= 100 ? N_DRAWS : N_DRAWS / 5;
    for (int i = 0; i < n_draws; i++) {
        const quern_token t = sample_copy(s, logits, n);
        assert_true(t >= 0 && (size_t)t < n);
        drawn[t]++;
        qn_sampler_accept(s, accept >= 0 ? accept : t);
    }
}

static const char default_order[] = "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature";

static void check_distribution(const quern_sampler_params *p, const float *logits, size_t n, const char *what)
{
    static ref_set r;
    static double probs[REF_MAX], with_xtc[REF_MAX];
    static size_t drawn[REF_MAX];
    const char *order = p->samplers != NULL ? p->samplers : default_order;
    ref_init(&r, logits, n);
    ref_chain(&r, p, order, false);
    ref_probs(&r, probs);
    ref_init(&r, logits, n);
    ref_chain(&r, p, order, true);
    ref_probs(&r, with_xtc);
    for (size_t i = 0; i < n; i++) probs[i] += (double)p->xtc_probability * (with_xtc[i] - probs[i]);
    qn_sampler *s = make(p, n);
    draw_many(s, logits, n, -1, drawn);
    qn_sampler_destroy(s);
    ref_check_draws(probs, drawn, n, what);
}

#define CHECK_WITH(what, n, spread, ...)                                                                     \
    do {                                                                                                     \
        static float logits[n];                                                                              \
        gauss_logits(logits, n, spread, 11);                                                                 \
        quern_sampler_params p = plain(42);                                                                  \
        __VA_ARGS__;                                                                                         \
        check_distribution(&p, logits, n, what);                                                             \
    } while (0)

static void each_sampler_draws_its_distribution(void **state)
{
    (void)state;
    CHECK_WITH("all equal", 7, 0.0, (void)p);
    CHECK_WITH("temperature 1", 50, 2.0, (void)p);
    CHECK_WITH("temperature 1, blocks", 600, 1.0, (void)p);
    CHECK_WITH("temperature 0.5", 50, 2.0, p.temperature = 0.5f);
    CHECK_WITH("temperature 2.5", 50, 2.0, p.temperature = 2.5f);
    CHECK_WITH("top_k", 50, 1.0, p.top_k = 9);
    CHECK_WITH("top_k above n", 50, 1.0, p.top_k = 51);
    CHECK_WITH("top_p", 50, 2.0, p.top_p = 0.7113f);
    CHECK_WITH("min_p", 50, 2.0, p.min_p = 0.0517f);
    CHECK_WITH("typical", 50, 2.0, p.typical_p = 0.6117f);
    CHECK_WITH("top_n_sigma", 50, 2.0, p.top_n_sigma = 1.017f);
    CHECK_WITH("xtc always", 20, 1.0, p.xtc_probability = 1.0f);
    CHECK_WITH("xtc sometimes", 20, 1.0, p.xtc_probability = 0.3f; p.xtc_threshold = 0.0713f);
    CHECK_WITH("xtc off by threshold", 20, 3.0, p.xtc_probability = 1.0f; p.xtc_threshold = 0.51f);
    CHECK_WITH("dynamic temperature", 50, 2.0, p.dynatemp_range = 0.5f);
    CHECK_WITH("dynamic temperature, exponent", 50, 2.0, p.temperature = 0.8f; p.dynatemp_range = 2.0f;
               p.dynatemp_exponent = 1.7f);
    CHECK_WITH("llama.cpp's defaults", 1000, 3.0, p = quern_sampler_params_default(); p.seed = 5);
    CHECK_WITH("everything", 300, 1.5, p = quern_sampler_params_default(); p.seed = 6; p.typical_p = 0.9f;
               p.top_n_sigma = 2.5f; p.xtc_probability = 0.5f; p.xtc_threshold = 0.0417f;
               p.dynatemp_range = 0.3f);
}

static void the_order_matters(void **state)
{
    (void)state;
    CHECK_WITH("temperature first", 50, 2.0, p.temperature = 2.0f; p.top_p = 0.8117f;
               p.samplers = "temperature;top_p");
    CHECK_WITH("top_p first", 50, 2.0, p.temperature = 2.0f; p.top_p = 0.8117f;
               p.samplers = "top_p;temperature");
    CHECK_WITH("min_p then top_k", 50, 2.0, p.temperature = 2.0f; p.top_k = 5; p.min_p = 0.1f;
               p.samplers = "temperature;min_p;top_k");
    CHECK_WITH("one left out", 50, 2.0, p.temperature = 2.0f; p.top_k = 5; p.samplers = "temperature");
    CHECK_WITH("none", 50, 2.0, p.temperature = 2.0f; p.top_k = 5; p.samplers = ";;");
    const float logits[] = {4.0f, 3.0f, 2.0f, 1.0f, 0.0f, -1.0f};
    bool differs = false;
    for (uint64_t seed = 0; seed < 50 && !differs; seed++) {
        quern_sampler_params p = plain(seed);
        p.temperature = 5.0f;
        p.top_p = 0.5f;
        p.samplers = "top_p;temperature";
        qn_sampler *a = make(&p, 6);
        p.samplers = "temperature;top_p";
        qn_sampler *b = make(&p, 6);
        differs = sample_copy(a, logits, 6) != sample_copy(b, logits, 6);
        qn_sampler_destroy(a), qn_sampler_destroy(b);
    }
    assert_true(differs);
}

static void names_of_samplers_are_those_of_llama_cpp(void **state)
{
    (void)state;
    quern_sampler_params p = quern_sampler_params_default();
    p.seed = 1;
    static const char *const orders[] = {
        "top-k;typical;nucleus;min-p;temp", "top_k;typ_p;top_p;min_p;temperature",
        "top_k;typical-p;top-p;;min_p;temp;", "top_k;typ;top_p;min_p;temp;dry;penalties;xtc"};
    for (size_t i = 0; i < 4; i++) {
        p.samplers = orders[i];
        qn_sampler *s = make(&p, 10);
        qn_buffer out = {0};
        qn_sampler_describe(s, &out);
        assert_string_equal(out.data,
                            "top_k 40 -> top_p 0.95 -> min_p 0.05 -> temperature 0.8 -> draw, seed 1");
        qn_buffer_deinit(&out);
        qn_sampler_destroy(s);
    }
}

static void bias_and_penalties_change_the_distribution(void **state)
{
    (void)state;
    enum { N = 30 };
    float logits[N];
    double probs[N];
    size_t drawn[N];
    gauss_logits(logits, N, 1.0, 3);
    quern_sampler_params p = plain(9);
    const quern_logit_bias bias[] = {{3, 2.0f}, {4, -1.5f}, {5, -INFINITY}, {3, 0.5f}};
    p.logit_bias = bias;
    p.n_logit_bias = 4;
    p.repeat_penalty = 1.5f;
    p.presence_penalty = 0.25f;
    p.frequency_penalty = 0.125f;
    p.repeat_last_n = 8;
    static const char *const orders[] = {NULL,
                                         "top_k;temperature;penalties"}; /* before and among the candidates */
    for (int late = 0; late < 2; late++) {
        p.samplers = orders[late];
        qn_sampler *s = make(&p, N);
        for (int i = 0; i < 8; i++)
            qn_sampler_accept(s, 7); /* and 7 goes on being accepted: the history stays the same */
        draw_many(s, logits, N, 7, drawn);
        qn_sampler_destroy(s);
        ref_set *r = test_malloc(sizeof *r);
        ref_init(r, logits, N);
        r->logits[3] += 2.5;
        r->logits[4] -= 1.5;
        r->in[5] = false;
        r->logits[7] = (r->logits[7] > 0.0 ? r->logits[7] / 1.5 : r->logits[7] * 1.5) - 8.0 * 0.125 - 0.25;
        ref_probs(r, probs);
        test_free(r);
        ref_check_draws(probs, drawn, N, late ? "late penalties" : "penalties");
        assert_int_equal(drawn[5], 0);
    }
}

static void dry_holds_back_a_repetition(void **state)
{
    (void)state;
    enum { N = 10 };
    const quern_token nl[] = {9};
    const qn_dry_breaker breaker = {nl, 1};
    quern_sampler_params p = plain(2);
    p.dry_multiplier = 1.0f;
    p.dry_base = 2.0f;
    assert_true(qn_sampler_wants_breakers(&p));
    p.samplers = "temperature";
    assert_false(qn_sampler_wants_breakers(&p));
    float logits[N] = {0};
    static const char *const orders[] = {NULL, "temperature;top_k;dry"};
    for (int late = 0; late < 2; late++) {
        p.samplers = orders[late];
        qn_sampler *s = NULL;
        const qn_sampler_setup setup = {.params = &p,
                                        .n_vocab = N,
                                        .n_ctx = 64,
                                        .kernels = kernels(),
                                        .breakers = &breaker,
                                        .n_breakers = 1};
        assert_int_equal(qn_sampler_create(&s, &setup, NULL), QUERN_OK);
        size_t drawn[N] = {0};
        for (int i = 0; i < N_DRAWS / 10; i++) { /* 0 1 2 3, line end, 0 1 2: costs 3 a penalty of 2 */
            const quern_token text[] = {0, 1, 2, 3, 9, 0, 1, 2};
            for (size_t j = 0; j < 8; j++) qn_sampler_accept(s, text[j]);
            for (quern_token j = 4; j < 8; j++) logits[j] = 0.0f;
            drawn[sample_copy(s, logits, N)]++;
            for (size_t j = 0; j < 64; j++) qn_sampler_accept(s, 9); /* out of sight */
        }
        double probs[N];
        for (size_t i = 0; i < N; i++) probs[i] = (i == 3 ? exp(-2.0) : 1.0) / (9.0 + exp(-2.0));
        ref_check_draws(probs, drawn, N, "dry");
        qn_sampler_destroy(s);
    }
}

static void mirostat_keeps_its_surprise_near_tau(void **state)
{
    (void)state;
    enum { N = 500 };
    static float logits[N];
    static size_t drawn[N];
    static double probs[N];
    static ref_set r;
    for (size_t i = 0; i < N; i++) logits[i] = (float)(-1.1 * log((double)(i + 1))); /* Zipf */
    for (int version = 1; version <= 2; version++) {
        for (int tau = 2; tau <= 5; tau++) {
            quern_sampler_params p = plain(17);
            p.mirostat = version;
            p.mirostat_tau = (float)tau;
            p.top_k = 1; /* filters are not applied */
            qn_sampler *s = make(&p, N);
            /* With a fixed mu of 2 tau (what is accepted is not what was drawn) the distribution is known. */
            if (tau == 3) {
                memset(drawn, 0, sizeof drawn);
                for (int i = 0; i < N_DRAWS / 5; i++) {
                    const quern_token t = sample_copy(s, logits, N);
                    drawn[t]++;
                    qn_sampler_accept(s, (t + 1) % N);
                }
                ref_init(&r, logits, N);
                if (version == 1) ref_mirostat_1(&r, 6.0);
                else ref_mirostat_2(&r, 6.0);
                assert_true(ref_count(&r) > 1 && ref_count(&r) < N);
                ref_probs(&r, probs);
                ref_check_draws(probs, drawn, N, "mirostat");
            }
            qn_sampler_reset(s);
            /* A drawn token's surprise moves mu by eta (surprise - tau): as mu stays bounded, their mean
             * tends to tau. The surprise is estimated here from the whole distribution and can only be
             * greater than among the candidates. */
            ref_init(&r, logits, N);
            ref_probs(&r, probs);
            double surprise = 0.0;
            enum { STEPS = 4000 };
            quern_token greatest = 0;
            for (int i = 0; i < STEPS; i++) {
                const quern_token t = sample_copy(s, logits, N);
                qn_sampler_accept(s, t);
                if (i < 500) continue;
                surprise -= log2(probs[t]);
                if (t > greatest) greatest = t;
            }
            surprise /= STEPS - 500;
            double held = 0.0; /* share of the probability that the candidates hold */
            for (quern_token t = 0; t <= greatest; t++) held += probs[t];
            assert_true(fabs(surprise + log2(held) - (double)tau) < 0.35);
            qn_sampler_destroy(s);
        }
    }
}

static void greedy_takes_the_greatest(void **state)
{
    (void)state;
    quern_sampler_params p = quern_sampler_params_default();
    p.temperature = 0.0f;
    p.xtc_probability = 1.0f; /* filters do not matter */
    p.typical_p = 0.1f;
    static float logits[1000];
    for (uint64_t seed = 0; seed < 50; seed++) {
        gauss_logits(logits, 1000, 1.0, seed);
        qn_sampler *s = make(&p, 1000);
        size_t best = 0;
        for (size_t i = 0; i < 1000; i++)
            if (logits[i] > logits[best]) best = i;
        assert_int_equal(sample_copy(s, logits, 1000), best);
        p.mirostat = (int)(seed % 3);
        qn_sampler_destroy(s);
    }
    p.mirostat = 0;
    qn_sampler *s = make(&p, 5);
    assert_int_equal(sample_copy(s, (const float[]){1, 3, 3, 2, 3}, 5), 1);
    assert_int_equal(sample_copy(s, (const float[]){NAN, -5, NAN, -4, NAN}, 5), 3);
    assert_int_equal(sample_copy(s, (const float[]){NAN, NAN, NAN, NAN, NAN}, 5), 0);
    assert_int_equal(sample_copy(s, (const float[]){0, INFINITY, 0, INFINITY, NAN}, 5), 1);
    qn_sampler_destroy(s);
    const quern_logit_bias bans[] = {{0, -INFINITY}, {1, -INFINITY}, {3, 100.0f}};
    p.logit_bias = bans;
    p.n_logit_bias = 3;
    p.repeat_penalty = 2.0f;
    s = make(&p, 5);
    assert_int_equal(sample_copy(s, (const float[]){9, 8, 7, 6, 5}, 5), 3);
    assert_int_equal(sample_copy(s, (const float[]){9, 8, NAN, NAN, NAN}, 5),
                     2); /* anything but what is banned */
    qn_sampler_accept(s, 2);
    assert_int_equal(sample_copy(s, (const float[]){9, 8, 7, -96, 5}, 5), 4);
    qn_sampler_destroy(s);
}

static void a_draw_depends_on_seed_and_position_alone(void **state)
{
    (void)state;
    enum { N = 5000, STEPS = 64 };
    static float logits[N];
    gauss_logits(logits, N, 1.0, 1);
    quern_sampler_params p = plain(77);
    p.xtc_probability = 0.5f;
    p.xtc_threshold = 0.001f;
    quern_token first[STEPS];
    qn_sampler *s = make(&p, N);
    for (int i = 0; i < STEPS; i++) {
        first[i] = sample_copy(s, logits, N);
        for (int again = 0; again < i % 3; again++) assert_int_equal(sample_copy(s, logits, N), first[i]);
        qn_sampler_accept(s, first[i]);
        assert_int_equal(qn_sampler_position(s), i + 1);
    }
    qn_sampler_reset(s);
    for (int i = 0; i < STEPS; i++) { /* other tokens were accepted, some positions are not drawn at all */
        if (i % 4 != 1) assert_int_equal(sample_copy(s, logits, N), first[i]);
        qn_sampler_accept(s, (quern_token)i);
        qn_sampler_accept(s, -1); /* ignored, as is what is no token of this vocabulary */
        qn_sampler_accept(s, N);
    }
    qn_sampler_destroy(s);
    int same = 0;
    p.seed = 78;
    s = make(&p, N);
    for (int i = 0; i < STEPS; i++) {
        same += sample_copy(s, logits, N) == first[i];
        qn_sampler_accept(s, 0);
    }
    assert_true(same < STEPS / 4);
    qn_sampler_destroy(s);
    p.seed = QUERN_SEED_RANDOM;
    s = make(&p, N);
    assert_true(qn_sampler_seed(s) != QUERN_SEED_RANDOM);
    p.seed = qn_sampler_seed(s);
    qn_sampler *t = make(&p, N);
    assert_int_equal(sample_copy(s, logits, N), sample_copy(t, logits, N));
    qn_sampler_destroy(s), qn_sampler_destroy(t);
}

static void hostile_logits_give_a_valid_token(void **state)
{
    (void)state;
    static const float values[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 0.0f, 1e-45f, 88.0f, -88.0f};
    static float logits[700];
    qn_random r = {.seed = 4};
    for (int round = 0; round < 400; round++) {
        quern_sampler_params p = quern_sampler_params_default();
        p.seed = (uint64_t)round;
        p.mirostat = round % 5 == 0 ? 1 + round / 5 % 2 : 0;
        p.temperature = round % 3 == 0 ? 1e-38f : 1.3f;
        p.dynatemp_range = round % 4 == 0 ? 2.0f : 0.0f;
        p.typical_p = round % 2 ? 0.9f : 1.0f;
        p.top_n_sigma = round % 7 ? -1.0f : 1.0f;
        p.top_k = round % 6 ? 40 : 0;
        p.xtc_probability = 1.0f;
        p.repeat_penalty = 2.0f;
        p.dry_multiplier = round % 2 ? 1000.0f : 0.0f;
        p.dry_base = 1000.0f;
        p.dry_allowed_length = 0;
        p.samplers =
            round % 8 == 7 ? "temperature;top_p;typ_p;min_p;penalties;xtc;top_n_sigma;top_k;dry" : NULL;
        const size_t n = round % 9 == 0 ? 1 : round % 9 == 1 ? 2 : 700, n_values = 1 + (size_t)round % 9;
        qn_sampler *s = make(&p, n);
        for (int step = 0; step < 12; step++) {
            for (size_t i = 0; i < n; i++) logits[i] = values[qn_random_u64(&r) % n_values];
            bool any = false;
            for (size_t i = 0; i < n; i++) any |= logits[i] > -INFINITY;
            const quern_token t = sample_copy(s, logits, n);
            assert_true(t >= 0 && (size_t)t < n);
            assert_true(!any ||
                        logits[t] > -INFINITY); /* what cannot be is not drawn where something else can */
            qn_sampler_accept(s, t);
        }
        qn_sampler_destroy(s);
    }
    float one[5] = {-INFINITY, -INFINITY, -INFINITY, -1e30f, -INFINITY};
    quern_sampler_params p = quern_sampler_params_default();
    qn_sampler *s = make(&p, 5);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(sample_copy(s, one, 5), 3);
        qn_sampler_accept(s, 3);
    }
    qn_sampler_destroy(s);
}

static void a_mask_is_never_broken(void **state)
{
    (void)state;
    for (int greedy = 0; greedy < 2; greedy++) {
        quern_sampler_params p = quern_sampler_params_default();
        p.temperature = greedy ? 0.0f : 1.0f;
        p.dry_multiplier = 1000.0f;
        p.dry_base = 1000.0f;
        p.dry_allowed_length = 0;
        p.repeat_penalty = 100.0f;
        qn_sampler *s = make(&p, 300);
        uint64_t mask[5] = {0};
        mask[137 / 64] = UINT64_C(1) << 137 % 64;
        mask[4] = ~UINT64_C(0) << (300 - 256); /* beyond the vocabulary */
        qn_sampler_set_mask(s, mask);
        float logits[300];
        const float given[] = {1.0f, -1e38f, -INFINITY, NAN, INFINITY};
        for (int i = 0; i < 50;
             i++) { /* whatever the penalties and the model say of the only token possible */
            gauss_logits(logits, 300, 5.0, 1);
            logits[137] = given[i % 5];
            assert_int_equal(qn_sampler_sample(s, logits, NULL), 137);
            qn_sampler_accept(s, 137);
        }
        mask[137 / 64] = 0;
        gauss_logits(logits, 300, 5.0, 1);
        assert_int_equal(qn_sampler_sample(s, logits, NULL), QN_TOKEN_NONE);
        qn_sampler_set_mask(s, NULL);
        gauss_logits(logits, 300, 5.0, 1);
        assert_true(qn_sampler_sample(s, logits, NULL) >= 0);
        qn_sampler_destroy(s);
    }
}

/* A mask is the same as a ban of all others, whatever it looks like and whatever is known of the blocks. */
static void a_mask_is_a_ban_of_the_others(void **state)
{
    (void)state;
    enum { N = 1000 };
    static float logits[N], copy[N], block_max[N / QN_LOGIT_BLOCK];
    quern_logit_bias bans[N];
    uint64_t mask[(N + 63) / 64];
    for (unsigned round = 0; round < 200; round++) {
        qn_random r = {.seed = round};
        quern_sampler_params p = quern_sampler_params_default(), banned = p;
        p.seed = banned.seed = round;
        size_t n_bans = 0;
        memset(mask, round % 2 ? 0xff : 0, sizeof mask);
        for (size_t i = 0; i < N; i++) {
            if (qn_random_u64(&r) % (round / 20 + 2) == 0) mask[i / 64] ^= UINT64_C(1) << i % 64;
            if (!(mask[i / 64] >> i % 64 & 1)) bans[n_bans++] = (quern_logit_bias){(quern_token)i, -INFINITY};
        }
        banned.logit_bias = bans;
        banned.n_logit_bias = n_bans;
        gauss_logits(logits, N, 3.0, round + 1);
        for (size_t b = 0; b < N / QN_LOGIT_BLOCK; b++) {
            block_max[b] = -INFINITY;
            for (size_t i = 0; i < QN_LOGIT_BLOCK; i++)
                block_max[b] = fmaxf(block_max[b], logits[b * QN_LOGIT_BLOCK + i]);
        }
        qn_sampler *a = make(&p, N), *b = make(&banned, N);
        qn_sampler_set_mask(a, mask);
        memcpy(copy, logits, sizeof copy);
        const quern_token drawn = qn_sampler_sample(a, copy, round % 3 ? block_max : NULL);
        memcpy(copy, logits, sizeof copy);
        assert_int_equal(drawn, qn_sampler_sample(b, copy, NULL));
        qn_sampler_destroy(a), qn_sampler_destroy(b);
    }
}

static void refused(const quern_sampler_params *p, const char *field)
{
    qn_sampler *s = (qn_sampler *)&s;
    quern_error err = {0};
    const qn_sampler_setup setup = {.params = p, .n_vocab = 100, .n_ctx = 10, .kernels = kernels()};
    assert_int_equal(qn_sampler_create(&s, &setup, &err), QUERN_ERR_ARGUMENT);
    assert_null(s);
    if (strncmp(err.message, field, strlen(field)) != 0)
        fail_msg("'%s' does not begin with %s", err.message, field);
}

static void parameters_out_of_range_are_named(void **state)
{
    (void)state;
#define REFUSE(field, value)                                                                                 \
    do {                                                                                                     \
        quern_sampler_params p = quern_sampler_params_default();                                             \
        p.field = value;                                                                                     \
        refused(&p, #field);                                                                                 \
    } while (0)
    static const float bad[] = {NAN, INFINITY, -INFINITY, -2000.0f, 1e9f};
    for (size_t i = 0; i < 5; i++) {
        REFUSE(temperature, bad[i]);
        REFUSE(dynatemp_range, bad[i]);
        REFUSE(dynatemp_exponent, bad[i]);
        REFUSE(top_p, bad[i]);
        REFUSE(min_p, bad[i]);
        REFUSE(typical_p, bad[i]);
        REFUSE(top_n_sigma, bad[i]);
        REFUSE(xtc_probability, bad[i]);
        REFUSE(xtc_threshold, bad[i]);
        REFUSE(repeat_penalty, bad[i]);
        REFUSE(presence_penalty, bad[i]);
        REFUSE(frequency_penalty, bad[i]);
        REFUSE(dry_multiplier, bad[i]);
        REFUSE(dry_base, bad[i]);
        REFUSE(mirostat_tau, bad[i]);
        REFUSE(mirostat_eta, bad[i]);
    }
    REFUSE(top_p, 1.0001f);
    REFUSE(temperature, -0.001f);
    REFUSE(dry_base, 0.99f);
    REFUSE(repeat_penalty, 0.0f);
    REFUSE(top_k, -2);
    REFUSE(repeat_last_n, -2);
    REFUSE(repeat_last_n, INT32_MAX);
    REFUSE(dry_allowed_length, -1);
    REFUSE(dry_penalty_last_n, INT32_MIN);
    REFUSE(mirostat, 3);
    REFUSE(samplers, "top_k;top_q");
    REFUSE(samplers, "TOP_K");
    REFUSE(samplers, "top_k ");
    static const quern_logit_bias biases[] = {
        {-1, 0.0f}, {100, 0.0f}, {INT32_MIN, 0.0f}, {5, NAN}, {5, INFINITY}};
    for (size_t i = 0; i < 5; i++) {
        quern_sampler_params p = quern_sampler_params_default();
        p.logit_bias = &biases[i];
        p.n_logit_bias = 1;
        refused(&p, "logit_bias[0]");
    }
    quern_sampler_params p = quern_sampler_params_default();
    p.n_logit_bias = 1;
    refused(&p, "logit_bias");
    p.n_logit_bias = 0;
    char many[512] = "";
    for (int i = 0; i < 40; i++) strcat(many, "top_k;");
    p.samplers = many;
    refused(&p, "samplers: more than");
}

static void creation_survives_each_failing_allocation(void **state)
{
    (void)state;
    const quern_logit_bias bias = {1, 1.0f};
    const quern_token nl[] = {3, 4};
    const qn_dry_breaker breaker = {nl, 2};
    quern_sampler_params p = quern_sampler_params_default();
    p.logit_bias = &bias;
    p.n_logit_bias = 1;
    p.repeat_penalty = 1.1f;
    p.repeat_last_n = -1;
    p.dry_multiplier = 1.0f;
    const qn_sampler_setup setup = {.params = &p,
                                    .n_vocab = 100,
                                    .n_ctx = 50,
                                    .kernels = kernels(),
                                    .breakers = &breaker,
                                    .n_breakers = 1};
    const long before = qn_alloc_live();
    for (long k = 0;; k++) {
        qn_sampler *s = NULL;
        quern_error err = {0};
        qn_alloc_fail_at(k);
        const quern_status status = qn_sampler_create(&s, &setup, &err);
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        if (status == QUERN_OK) {
            assert_false(failed);
            assert_true(k > 10);
            float logits[100] = {0};
            const long created = qn_alloc_live();
            for (int i = 0; i < 100; i++) qn_sampler_accept(s, qn_sampler_sample(s, logits, NULL));
            assert_int_equal(qn_alloc_live(), created);
            qn_sampler_destroy(s);
            break;
        }
        assert_int_equal(status, QUERN_ERR_NOMEM);
        assert_true(strstr(err.message, "memory") != NULL);
        assert_null(s);
        assert_int_equal(qn_alloc_live(), before);
    }
    assert_int_equal(qn_alloc_live(), before);
    const quern_token outside[] = {3, 100};
    const qn_dry_breaker bad[] = {{outside, 2}, {nl, 0}};
    for (size_t i = 0; i < 2; i++) {
        qn_sampler *s = NULL;
        const qn_sampler_setup wrong = {.params = &p,
                                        .n_vocab = 100,
                                        .n_ctx = 50,
                                        .kernels = kernels(),
                                        .breakers = &bad[i],
                                        .n_breakers = 1};
        assert_int_equal(qn_sampler_create(&s, &wrong, NULL), QUERN_ERR_ARGUMENT);
    }
    assert_int_equal(qn_alloc_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sampler_draws_its_distribution),
        cmocka_unit_test(the_order_matters),
        cmocka_unit_test(names_of_samplers_are_those_of_llama_cpp),
        cmocka_unit_test(bias_and_penalties_change_the_distribution),
        cmocka_unit_test(dry_holds_back_a_repetition),
        cmocka_unit_test(mirostat_keeps_its_surprise_near_tau),
        cmocka_unit_test(greedy_takes_the_greatest),
        cmocka_unit_test(a_draw_depends_on_seed_and_position_alone),
        cmocka_unit_test(hostile_logits_give_a_valid_token),
        cmocka_unit_test(a_mask_is_never_broken),
        cmocka_unit_test(a_mask_is_a_ban_of_the_others),
        cmocka_unit_test(parameters_out_of_range_are_named),
        cmocka_unit_test(creation_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
