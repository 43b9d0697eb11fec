/* checkvector.c: the operations on rows (checkmath.c has the functions of one number). The reference is held
 * against values written by hand, every variant against the reference bit for bit. `checkvector --bench`
 * measures. */
#include "check.h"
#include "kernel/rope_table.h"

#include <stdbool.h>

/* ---- the reference, by hand ---- */

static void check_limits(const qn_kernels *k)
{
    const float inf = INFINITY;
    float x[3] = {-inf, 0.0f, -1e30f};
    k->softmax(x, 3);
    CHECK(x[0] == 0 && x[1] == 1 && x[2] == 0, "softmax %g %g %g", (double)x[0], (double)x[1], (double)x[2]);
    float y[6] = {inf, 1000.0f, -1000.0f, 0.0f, -0.0f, -inf}, z[6];
    memcpy(z, y, sizeof z);
    k->softcap(z, 2.0f, 6);
    const float capped[6] = {2, 2, -2, 0.0f, -0.0f, -2};
    CHECK_SAME(z, capped, 6, "softcap");
    k->silu(z, y, 5);
    const float silu[5] = {inf, 1000.0f, -0.0f, 0.0f, -0.0f};
    CHECK_SAME(z, silu, 5, "silu");
    k->gelu(z, y, 5);
    CHECK_SAME(z, silu, 5, "gelu");
    float bad[2] = {NAN, 1.0f};
    k->silu(z, bad, 2);
    CHECK(isnan(z[0]) && !isnan(z[1]), "silu of NaN");
    k->softmax(bad, 2);
    CHECK(isnan(bad[0]) && isnan(bad[1]), "softmax of NaN");
}

static void check_norms(const qn_kernels *k, size_t n, qn_random *r)
{
    float *x = check_random(n, r, CHECK_NORMAL), *w = check_random(n, r, CHECK_NORMAL),
          *b = check_random(n, r, CHECK_NORMAL);
    float *y = check_floats(n);
    double squares = 0, sum = 0, deviation = 0;
    for (size_t i = 0; i < n; i++) squares += (double)x[i] * (double)x[i], sum += (double)x[i];
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) deviation += ((double)x[i] - mean) * ((double)x[i] - mean);
    const double rms = sqrt(squares / (double)n + 1e-5), sigma = sqrt(deviation / (double)n + 1e-5);
    k->rms_norm(y, x, w, n, 1e-5f);
    for (size_t i = 0; i < n; i++)
        CHECK(fabs((double)y[i] - (double)x[i] / rms * (double)w[i]) < 1e-6 * (1 + fabs((double)y[i])),
              "rms_norm n %zu", n);
    k->layer_norm(y, x, w, b, n, 1e-5f);
    for (size_t i = 0; i < n; i++)
        CHECK(fabs((double)y[i] - (((double)x[i] - mean) / sigma * (double)w[i] + (double)b[i])) <
                  2e-6 * (1 + fabs((double)y[i])) / fmin(1, sigma),
              "layer_norm n %zu", n);
    free(x), free(w), free(b), free(y);
}

static void check_rope_turns(const qn_kernels *k)
{
    /* Neither form changes lengths; with a quarter turn (a, b) becomes (-b, a). */
    const float quarter[4] = {0, 1, 0, 1};
    float x[5] = {1, 2, 3, 4, 5};
    k->rope(x, 1, 5, 4, false, quarter);
    const float pairs[5] = {-2, 1, -4, 3, 5};
    CHECK_SAME(x, pairs, 5, "rope, neighbours");
    float y[5] = {1, 2, 3, 4, 5};
    k->rope(y, 1, 5, 4, true, quarter);
    const float halves[5] = {-3, -4, 1, 2, 5};
    CHECK_SAME(y, halves, 5, "rope, halves");
}

/* The formulas of the YaRN paper and of the linear method, written out once more, pair by pair. */
static void check_rope_table(void)
{
    const float factors[4] = {1, 2, 4, 8};
    qn_rope_params p = {
        .n_rot = 8, .freq_base = 10000, .freq_factors = factors, .freq_scale = 0.25f, .attn_factor = 1};
    float table[8];
    qn_rope_table(table, 1000, &p);
    for (int i = 0; i < 4; i++) {
        const double angle = 1000 * pow(10000, -i / 4.0) / pow(2, i) * 0.25;
        CHECK(table[2 * i] == (float)cos(angle) && table[2 * i + 1] == (float)sin(angle), "linear, pair %d",
              i);
    }
    /* 4096 positions, 64 dimensions: pair of 32 turns: 10.44, of 1 turn: 22.5; so 10 .. 23 is the ramp. */
    qn_rope_params yarn = {.n_rot = 64,
                           .freq_base = 10000,
                           .freq_scale = 0.125f,
                           .attn_factor = 1.5f,
                           .ext_factor = 1,
                           .beta_fast = 32,
                           .beta_slow = 1,
                           .n_ctx_orig = 4096};
    float y[64];
    qn_rope_table(y, 30000, &yarn);
    for (int i = 0; i < 32; i++) {
        const double share = i <= 10 ? 1 : i >= 23 ? 0 : 1 - (i - 10) / 13.0, base = pow(10000, -i / 32.0);
        const double angle = 30000 * (base * 0.125 * (1 - share) + base * share),
                     m = 1.5 * (1 + 0.1 * log(8));
        CHECK(fabs((double)y[2 * i] - cos(angle) * m) < 3e-7 &&
                  fabs((double)y[2 * i + 1] - sin(angle) * m) < 3e-7,
              "YaRN, pair %d: %g %g", i, (double)y[2 * i], cos(angle) * m);
    }
    CHECK(qn_rope_longrope_factor(4096, 4096) == 1, "not stretched");
    CHECK(fabs((double)qn_rope_longrope_factor(131072, 4096) - sqrt(1 + 5.0 / 12)) < 1e-6,
          "stretched 32 times");
}

static void check_halves(const qn_kernels *k)
{
    uint16_t *all = check_alloc(65536 * 2), *back = check_alloc(65536 * 2);
    float *wide = check_floats(65536);
    for (size_t i = 0; i < 65536; i++) all[i] = (uint16_t)i;
    k->f16_to_f32_row(wide, all, 65536);
    k->f32_to_f16_row(back, wide, 65536);
    for (size_t i = 0; i < 65536; i++) {
        CHECK(check_same_float(wide[i], qn_f16_to_f32((uint16_t)i)), "f16 %zx", i);
        if (!isnan(wide[i])) CHECK(back[i] == i, "f16 %zx becomes %x", i, back[i]);
        else CHECK((back[i] & 0x7c00) == 0x7c00 && (back[i] & 0x3ff) != 0, "NaN %zx becomes %x", i, back[i]);
    }
    free(all), free(back), free(wide);
}

/* ---- variants against the reference ---- */

static void compare_row_ops(const qn_kernels *ref, const qn_kernels *k, size_t n, check_kind kind,
                            qn_random *r)
{
    float *x = check_random(n, r, kind), *w = check_random(n, r, kind), *b = check_random(n, r, kind);
    float *want = check_floats(n), *got = check_floats(n);
    uint16_t *want_half = check_alloc(n * 2), *got_half = check_alloc(n * 2);
    for (int mask = 0; mask < 4; mask++) {
        const float *weight = mask & 1 ? w : NULL, *bias = mask & 2 ? b : NULL;
        ref->layer_norm(want, x, weight, bias, n, 1e-5f), k->layer_norm(got, x, weight, bias, n, 1e-5f);
        CHECK_SAME(got, want, n, "%s layer_norm n %zu kind %d mask %d", k->isa, n, kind, mask);
        ref->rms_norm(want, x, weight, n, 1e-6f), k->rms_norm(got, x, weight, n, 1e-6f);
        CHECK_SAME(got, want, n, "%s rms_norm n %zu kind %d", k->isa, n, kind);
    }
#define COMPARE(operation, call_ref, call)                                                                   \
    memcpy(want, w, n * sizeof *w), memcpy(got, w, n * sizeof *w);                                           \
    call_ref, call;                                                                                          \
    CHECK_SAME(got, want, n, "%s " operation " n %zu kind %d", k->isa, n, kind)
    COMPARE("add", ref->add(want, x, n), k->add(got, x, n));
    COMPARE("scale", ref->scale(want, 0.3f, n), k->scale(got, 0.3f, n));
    COMPARE("softcap", ref->softcap(want, 30.0f, n), k->softcap(got, 30.0f, n));
    COMPARE("softmax", ref->softmax(want, n), k->softmax(got, n));
    COMPARE("silu", ref->silu(want, x, n), k->silu(got, x, n));
    COMPARE("gelu", ref->gelu(want, x, n), k->gelu(got, x, n));
    COMPARE("silu in place", ref->silu(want, want, n), k->silu(got, got, n));
    COMPARE("silu_mul", ref->silu_mul(want, x, b, n), k->silu_mul(got, x, b, n));
    COMPARE("gelu_mul", ref->gelu_mul(want, x, b, n), k->gelu_mul(got, x, b, n));
    COMPARE("gelu_mul in place", ref->gelu_mul(want, want, x, n), k->gelu_mul(got, got, x, n));
    COMPARE("rms_norm in place", ref->rms_norm(want, want, x, n, 0), k->rms_norm(got, got, x, n, 0));
#undef COMPARE
    CHECK(ref->argmax(x, n) == k->argmax(x, n), "%s argmax n %zu kind %d: %zu not %zu", k->isa, n, kind,
          k->argmax(x, n), ref->argmax(x, n));
    ref->f32_to_f16_row(want_half, x, n), k->f32_to_f16_row(got_half, x, n);
    CHECK(memcmp(want_half, got_half, n * 2) == 0, "%s f32_to_f16 n %zu kind %d", k->isa, n, kind);
    ref->f16_to_f32_row(want, want_half, n), k->f16_to_f32_row(got, want_half, n);
    CHECK_SAME(got, want, n, "%s f16_to_f32 n %zu kind %d", k->isa, n, kind);
    free(x), free(w), free(b), free(want), free(got), free(want_half), free(got_half);
}

static void compare_rope(const qn_kernels *ref, const qn_kernels *k, size_t n_head, size_t head_dim,
                         size_t n_rot, check_kind kind, qn_random *r)
{
    const size_t n = n_head * head_dim;
    float *x = check_random(n, r, kind), *want = check_floats(n), *got = check_floats(n);
    float *cos_sin = check_random(n_rot, r, CHECK_NORMAL);
    for (int neox = 0; neox < 2; neox++) {
        memcpy(want, x, n * sizeof *x), memcpy(got, x, n * sizeof *x);
        ref->rope(want, n_head, head_dim, n_rot, neox, cos_sin),
            k->rope(got, n_head, head_dim, n_rot, neox, cos_sin);
        CHECK_SAME(got, want, n, "%s rope neox %d heads %zu dim %zu rot %zu", k->isa, neox, n_head, head_dim,
                   n_rot);
    }
    free(x), free(want), free(got), free(cos_sin);
}

static void compare_table(const qn_kernels *ref, const qn_kernels *k)
{
    qn_random r = {.seed = 7};
    for (int kind = 0; kind < CHECK_KINDS; kind++) {
        for (size_t n = 1; n <= 70; n++) compare_row_ops(ref, k, n, (check_kind)kind, &r);
        compare_row_ops(ref, k, 2048, (check_kind)kind, &r);
        compare_row_ops(ref, k, 4099, (check_kind)kind, &r);
        for (size_t n_rot = 2; n_rot <= 128; n_rot += n_rot < 70 ? 2 : 8)
            for (size_t rest = 0; rest < 24; rest += 7)
                compare_rope(ref, k, 1 + n_rot % 5, n_rot + rest, n_rot, (check_kind)kind, &r);
    }
}

static void check_argmax(const qn_kernels *k)
{
    float x[40];
    for (size_t n = 1; n <= 40; n++) {
        for (size_t i = 0; i < n; i++) x[i] = NAN;
        CHECK(k->argmax(x, n) == 0, "%s: all NaN", k->isa);
        x[n - 1] = -INFINITY;
        CHECK(k->argmax(x, n) == n - 1, "%s: NaN is below -inf", k->isa);
        x[n / 2] = 1, x[n - 1] = 1;
        CHECK(k->argmax(x, n) == n / 2, "%s: first of equals", k->isa);
    }
}

/* ---- speed ---- */

static void bench(const qn_kernels *k)
{
    enum { N = 2048 };
    qn_random r = {.seed = 1};
    float *x = check_random(N, &r, CHECK_NORMAL), *w = check_random(N, &r, CHECK_NORMAL),
          *y = check_floats(N);
    uint16_t *half = check_alloc(N * 2);
    double t;
    printf("%s, %d floats, nanoseconds:", k->isa, N);
#define BENCH(name, code)                                                                                    \
    do {                                                                                                     \
        CHECK_TIME(                                                                                          \
            t, for (int i = 0; i < 20; i++) { code; });                                                      \
        printf(" %s %.0f", name, t / 20);                                                                    \
    } while (0)
    BENCH("rms_norm", k->rms_norm(y, x, w, N, 1e-5f));
    BENCH("layer_norm", k->layer_norm(y, x, w, w, N, 1e-5f));
    BENCH("add", k->add(y, x, N));
    BENCH("softmax", (memcpy(y, x, N * 4), k->softmax(y, N)));
    BENCH("softcap", (memcpy(y, x, N * 4), k->softcap(y, 30, N)));
    BENCH("silu_mul", k->silu_mul(y, x, w, N));
    BENCH("gelu_mul", k->gelu_mul(y, x, w, N));
    BENCH("rope", (memcpy(y, x, N * 4), k->rope(y, 32, 64, 64, false, w)));
    BENCH("rope_neox", (memcpy(y, x, N * 4), k->rope(y, 32, 64, 64, true, w)));
    BENCH("argmax", t += (double)k->argmax(x, N));
    BENCH("to_f16", k->f32_to_f16_row(half, x, N));
    printf("\n");
#undef BENCH
    free(x), free(w), free(y), free(half);
}

int main(int argc, char **argv)
{
    const qn_kernels *tables[CHECK_TABLES];
    const size_t n_tables = check_vector_tables(tables);
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        for (size_t i = 0; i < n_tables; i++) bench(tables[i]);
        return 0;
    }
    qn_random r = {.seed = 3};
    check_limits(tables[0]);
    check_rope_turns(tables[0]);
    check_rope_table();
    check_halves(tables[0]);
    for (size_t n = 1; n <= 70; n++) check_norms(tables[0], n, &r);
    check_norms(tables[0], 4099, &r);
    for (size_t i = 0; i < n_tables; i++) {
        check_argmax(tables[i]);
        check_limits(tables[i]);
        if (i > 0) compare_table(tables[0], tables[i]);
        printf("%s: %s\n", tables[i]->isa, i > 0 ? "held against the reference" : "the reference");
    }
    return check_report("checkvector");
}
