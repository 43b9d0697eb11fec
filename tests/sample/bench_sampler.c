/* bench_sampler.c: processor time of one token for usual chains: bench_sampler [N_VOCAB]. Not a test. The
 * logits are Gaussian, one in 4096 far above the others; the best of 50 rounds is printed. */
#include "base/alloc.h"
#include "base/random.h"
#include "sample/sampler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void measure(const char *what, const quern_sampler_params *p, size_t n_vocab, const float *logits,
                    float *copy, const qn_kernels *kernels)
{
    qn_sampler *s;
    const qn_sampler_setup setup = {.params = p, .n_vocab = n_vocab, .n_ctx = 4096, .kernels = kernels};
    if (qn_sampler_create(&s, &setup, NULL) != QUERN_OK) return;
    double best = INFINITY;
    for (int i = 0; i < 50; i++) {
        memcpy(copy, logits, n_vocab * sizeof *copy);
        const double start = now_us();
        const quern_token token = qn_sampler_sample(s, copy, NULL);
        const double spent = now_us() - start;
        if (spent < best) best = spent;
        qn_sampler_accept(s, token);
    }
    printf("%-28s %8.1f us\n", what, best);
    qn_sampler_destroy(s);
}

int main(int argc, char **argv)
{
    const size_t n_vocab = argc > 1 ? strtoul(argv[1], NULL, 10) : 262144;
    const qn_kernels *kernels;
    float *logits = qn_malloc(2 * n_vocab * sizeof *logits);
    if (n_vocab == 0 || logits == NULL || qn_kernels_choose(&kernels, NULL) != QUERN_OK) return 1;
    qn_random r = {.seed = 1};
    for (size_t i = 0; i < n_vocab; i++) {
        const double u = qn_random_unit(&r);
        logits[i] = (float)(2.0 * sqrt(-2.0 * log(1.0 - u)) * cos(6.283185307179586 * qn_random_unit(&r)));
        if (i % 4096 == 7) logits[i] += 12.0f;
    }
    printf("%zu tokens, %s\n", n_vocab, kernels->isa);
#define MEASURE(what, ...)                                                                                   \
    do {                                                                                                     \
        quern_sampler_params p = quern_sampler_params_default();                                             \
        __VA_ARGS__;                                                                                         \
        measure(what, &p, n_vocab, logits, logits + n_vocab, kernels);                                       \
    } while (0)
    MEASURE("greedy", p.temperature = 0.0f);
    MEASURE("defaults (top_k 40 first)", (void)p);
    MEASURE("defaults, penalties, dry", p.repeat_penalty = 1.1f; p.dry_multiplier = 0.8f);
    MEASURE("min_p alone", p.samplers = "min_p;temperature");
    MEASURE("temperature alone", p.samplers = "temperature");
    MEASURE("top_p alone", p.samplers = "top_p;temperature");
    MEASURE("typical alone", p.typical_p = 0.9f; p.samplers = "typ_p;temperature");
    MEASURE("top_n_sigma alone", p.top_n_sigma = 1.0f; p.samplers = "top_n_sigma;temperature");
    MEASURE("mirostat 2", p.mirostat = 2);
    qn_free(logits);
    return 0;
}
