/* checkmath.c: exp, tanh and what is made of them, sine and cosine, against double precision: the greatest
 * error over floats from all of their range, and every variant bit for bit like the reference.
 *
 *     checkmath          every 1021st float, and a fine sweep of those that exp does not take to 0
 *     checkmath --all    every float there is (half an hour; without emulated instruction sets)
 */
#include "check.h"
#include "kernel/ref/math.h"
#include "kernel/sin_cos.h"

#include <stdbool.h>

enum { BLOCK = 4096, STEP = 1021 };

typedef struct worst { /* errors: relative, of gelu_near_0 to at least 0.001; of sine and cosine absolute */
    double exp, tanh, silu, gelu, gelu_near_0, sin_cos;
} worst;

static void raise_to(double *greatest, double value, double truth)
{
    const double e = fabs(value - truth) / fabs(truth);
    if (e > *greatest) *greatest = e;
}

static double true_gelu(double x)
{
    const double u = sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x);
    return x / (1 + exp(-2 * u));
}

/* Where results are normal numbers: below, they are 0 (exp) or rounded to what is left of a float. */
static void measure(worst *w, float x)
{
    const double d = (double)x;
    if (d > -86.9 && d < 88.72) raise_to(&w->exp, (double)qn_exp(x), exp(d));
    if (fabs(d) > 1e-37) raise_to(&w->tanh, (double)qn_tanh(x), tanh(d));
    if (fabs(d) > 1e-37 && d > -86.9) raise_to(&w->silu, (double)qn_silu(x), d / (1 + exp(-d)));
    if (fabs(d) > 1e-37 && d > -3 && d < 1e12) raise_to(&w->gelu, (double)qn_gelu(x), true_gelu(d));
    if (fabs(d) < 1e12)
        w->gelu_near_0 =
            fmax(w->gelu_near_0, fabs((double)qn_gelu(x) - true_gelu(d)) / fmax(fabs(true_gelu(d)), 1e-3));
    if (fabs(d) <= 0x1p27) {
        double s, c;
        qn_sin_cos(d, &s, &c);
        w->sin_cos = fmax(w->sin_cos, fmax(fabs(s - sin(d)), fabs(c - cos(d))));
    }
}

static void check_ends(void)
{
    CHECK(qn_exp(0.0f) == 1 && qn_exp(-87.0f) == 0 && qn_exp(-INFINITY) == 0, "small");
    CHECK(isinf(qn_exp(89.0f)) && isinf(qn_exp(INFINITY)) && isnan(qn_exp(NAN)), "great");
    CHECK(qn_tanh(INFINITY) == 1 && qn_tanh(-INFINITY) == -1 && signbit(qn_tanh(-0.0f)), "tanh");
    CHECK(qn_gelu(-40.0f) == 0 && qn_gelu(40.0f) == 40, "gelu");
}

static void compare(const qn_kernels *k, const float x[BLOCK], const float silu[BLOCK],
                    const float gelu[BLOCK], const float tanhs[BLOCK])
{
    float y[BLOCK];
    k->silu(y, x, BLOCK);
    CHECK_SAME(y, silu, (size_t)BLOCK, "%s silu near %g", k->isa, (double)x[0]);
    k->gelu(y, x, BLOCK);
    CHECK_SAME(y, gelu, (size_t)BLOCK, "%s gelu near %g", k->isa, (double)x[0]);
    memcpy(y, x, sizeof y);
    k->softcap(y, 1, BLOCK);
    CHECK_SAME(y, tanhs, (size_t)BLOCK, "%s tanh near %g", k->isa, (double)x[0]);
}

int main(int argc, char **argv)
{
    const bool all = argc > 1 && strcmp(argv[1], "--all") == 0;
    if (argc > 2 || (argc == 2 && !all)) {
        fputs("usage: checkmath [--all]\n", stderr);
        return 2;
    }
    const qn_kernels *tables[CHECK_TABLES];
    const size_t n_tables = check_vector_tables(tables);
    worst w = {0};
    static float x[BLOCK], silu[BLOCK], gelu[BLOCK], tanhs[BLOCK];
    for (uint64_t bits = 0, step = all ? 1 : STEP; bits >> 32 == 0;) {
        for (size_t i = 0; i < BLOCK;
             i++, bits += step) { /* the last block begins anew with the first float */
            x[i] = qn_f32_from_bits((uint32_t)bits);
            silu[i] = qn_silu(x[i]), gelu[i] = qn_gelu(x[i]), tanhs[i] = qn_softcap(x[i], 1, 1);
            if (isfinite(x[i])) measure(&w, x[i]);
        }
        for (size_t t = 0; t < n_tables; t++)
            if (!all || tables[t] == qn_kernels_by_name(tables[t]->isa))
                compare(tables[t], x, silu, gelu, tanhs);
    }
    for (double y = -86.8; y < 88.7; y += 0.00037) measure(&w, (float)y);
    check_ends();
    printf("%s: greatest error: exp %.3g, tanh %.3g, silu %.3g, gelu %.3g, sine and cosine %.3g\n",
           all ? "every float" : "a part of all floats", w.exp, w.tanh, w.silu, w.gelu, w.sin_cos);
    CHECK(w.exp < 1.2e-7, "exp %g", w.exp);
    CHECK(w.tanh < 3e-7, "tanh %g", w.tanh);
    CHECK(w.silu < 3e-7, "silu %g", w.silu);
    CHECK(w.gelu < 3e-6, "gelu %g", w.gelu);
    CHECK(w.gelu_near_0 < 2e-6, "gelu near 0 %g", w.gelu_near_0);
    CHECK(w.sin_cos < 4e-16, "sine and cosine %g", w.sin_cos);
    return check_report("checkmath");
}
