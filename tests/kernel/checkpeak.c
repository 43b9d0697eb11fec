/* checkpeak.c: the measures of the machine do the work that they say: sums of everything that is read, and as
 * many multiply-adds as are counted (kernel/peak.h). */
#include "check.h"

static void check_read(const qn_kernels *k)
{
    for (size_t n = 0; n <= 40 * QN_PEAK_READ_WORDS; n += QN_PEAK_READ_WORDS) {
        uint64_t *words = check_alloc(n * sizeof *words), expected = 0;
        for (size_t i = 0; i < n; i++) expected += words[i] = (i + 1) * 0x9e3779b97f4a7c15u;
        CHECK(k->peak_read(words, n) == expected, "%s, %zu words", k->isa, n);
        free(words);
    }
}

static void check_ops(const char *isa, const char *name, qn_peak_ops_fn *ops)
{
    static const size_t rounds[] = {0, 1, 2, 77, 1000, 16000};
    for (size_t i = 0; i < sizeof rounds / sizeof rounds[0]; i++) {
        uint64_t sum = 1;
        const uint64_t n = ops(rounds[i], &sum);
        CHECK(n >= 16 * rounds[i] && n == sum, "%s %s, %zu rounds: %llu done, %llu said", isa, name,
              rounds[i], (unsigned long long)sum, (unsigned long long)n);
    }
}

int main(void)
{
    const qn_kernels *tables[CHECK_TABLES];
    const size_t n = check_tables(tables);
    for (size_t i = 0; i < n; i++) {
        check_read(tables[i]);
        check_ops(tables[i]->isa, "float", tables[i]->peak_float);
        check_ops(tables[i]->isa, "int8", tables[i]->peak_int8);
    }
    return check_report("checkpeak");
}
