/* checkkernel.c: holds every kernel variant that this processor can run against the reference, bit for
 * bit, and the reference against arithmetic in double precision. Variants for wider processors run over
 * a portable library of the intrinsics where the build has one.
 *
 *     checkkernel [--isa NAME|avx512-emulated|amx-emulated] [--type TYPE] [--bench]
 */
#include "check_matrix.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

static uint64_t random_state = 0x9e3779b97f4a7c15u;

uint32_t check_random(void)
{
    random_state ^= random_state << 13; /* xorshift: Marsaglia 2003 */
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

float check_random_float(void)
{
    return (float)((int32_t)check_random() >> 7) / 16777216.0f;
}
size_t check_random_below(size_t n)
{
    return check_random() % n;
}

void *check_alloc(size_t n_bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, n_bytes) != 0) {
        fprintf(stderr, "checkkernel: out of memory\n");
        exit(1);
    }
    return p;
}

bool check_same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
}

static long n_failures;

void check_fail(const char *format, ...)
{
    va_list args;
    if (n_failures++ >= 20) return;
    va_start(args, format);
    printf("FAIL ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

long check_failures(void)
{
    return n_failures;
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double check_best_seconds(void (*fn)(void *), void *user)
{
    double best = 1e9, total = 0;
    for (int i = 0; i < 3 || (total < 0.2 && i < 10000); i++) {
        const double begin = cpu_seconds();
        fn(user);
        const double seconds = cpu_seconds() - begin;
        total += seconds;
        if (seconds < best) best = seconds;
    }
    return best;
}

static void check_table(const qn_kernels *k, const char *label, const char *type)
{
    const long before = n_failures;
    check_matrix_variant(k, label, type);
    printf("%-18s %s\n", label, n_failures == before ? "equal to the reference" : "DIFFERS");
}

int main(int argc, char **argv)
{
    const char *isa = NULL, *type = NULL;
    bool bench = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bench") == 0) {
            bench = true;
        } else if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc) {
            isa = argv[++i];
        } else if (strcmp(argv[i], "--type") == 0 && i + 1 < argc) {
            type = argv[++i];
        } else {
            fprintf(stderr, "usage: checkkernel [--isa NAME] [--type TYPE] [--bench]\n");
            return 2;
        }
    }
    if (!bench && isa == NULL) {
        check_matrix_reference(type);
        printf("%-18s %s\n", "reference", n_failures == 0 ? "within its error bound" : "WRONG");
    }
    for (const char *const *name = qn_kernels_names(); *name != NULL; name++) {
        const qn_kernels *k = qn_kernels_by_name(*name);
        if (isa != NULL && strcmp(isa, *name) != 0) continue;
        if (k == NULL) {
            printf("%-18s skipped: not on this processor\n", *name);
        } else if (bench) {
            bench_matrix(k, type);
        } else {
            check_table(k, *name, type);
        }
    }
#ifdef QN_HAVE_EMULATED
    static const struct {
        const qn_kernels *kernels;
        const char *native, *label;
    } emulated[] = {{&qn_kernels_avx512_emulated, "avx512", "avx512-emulated"},
                    {&qn_kernels_amx_emulated, "amx", "amx-emulated"}};
    for (size_t i = 0; i < 2 && !bench; i++) { /* unless asked for: only what this processor cannot run */
        const bool is_asked = isa != NULL && strcmp(isa, emulated[i].label) == 0;
        if (is_asked || (isa == NULL && qn_kernels_by_name(emulated[i].native) == NULL))
            check_table(emulated[i].kernels, emulated[i].label, type);
    }
#endif
    if (n_failures > 0) printf("%ld failures\n", n_failures);
    return n_failures > 0;
}
