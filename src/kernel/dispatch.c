/* dispatch.c: which tables this program has, and which of them the processor can run.
 *
 * x86: CPUID leaves 1 and 7 name the instructions, XGETBV tells whether the operating system saves the
 * registers (Intel 64 and IA-32 Architectures Software Developer's Manual, vol. 1, ch. 14 and 15). */
#include "kernel/dispatch.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static uint64_t xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

typedef struct qn_cpu_flags {
    bool avx2, avx512, amx; /* with all that the tables of these names use */
} qn_cpu_flags;

/* Tiles are 8 KB of state, which Linux saves for processes that have asked for it
 * (Documentation/arch/x86/xstate.rst of the kernel). Once is enough, for all threads; asking again does no
 * harm. */
static bool may_use_tiles(void)
{
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

static qn_cpu_flags cpu_flags(void)
{
    enum { FMA = 1u << 12, OSXSAVE = 1u << 27, AVX = 1u << 28, F16C = 1u << 29 }; /* 1.ecx */
    const unsigned avx2 = 1u << 5, avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, vnni = 1u << 11,
                   amx = 1u << 24 | 1u << 25; /* 7: ebx, ecx, edx */
    const unsigned need = FMA | OSXSAVE | AVX | F16C;
    qn_cpu_flags flags = {0};
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & need) != need) return flags;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return flags;
    const uint64_t saved = xcr0();
    flags.avx2 = (b & avx2) != 0 && (saved & 0x6) == 0x6;
    flags.avx512 = flags.avx2 && (b & avx512) == avx512 && (c & vnni) != 0 && (saved & 0xe6) == 0xe6;
    flags.amx = flags.avx512 && (d & amx) == amx && (saved & 0x60000) == 0x60000 && may_use_tiles();
    return flags;
}
#endif

typedef struct qn_table {
    const qn_kernels *kernels;
    bool can_run;
} qn_table;

enum { N_TABLES_MAX = 4 };

/* Best last. Returns how many. */
static size_t list_tables(qn_table tables[N_TABLES_MAX])
{
    size_t n = 0;
    tables[n++] = (qn_table){&qn_kernels_scalar, true};
#if defined(__x86_64__)
    const qn_cpu_flags flags = cpu_flags();
    tables[n++] = (qn_table){&qn_kernels_avx2, flags.avx2};
    tables[n++] = (qn_table){&qn_kernels_avx512, flags.avx512};
    tables[n++] = (qn_table){&qn_kernels_amx, flags.amx};
#endif
    return n;
}

const char *const *qn_kernels_names(void)
{
#if defined(__x86_64__)
    static const char *const names[] = {"scalar", "avx2", "avx512", "amx", NULL};
#else
    static const char *const names[] = {"scalar", NULL};
#endif
    return names;
}

const qn_kernels *qn_kernels_by_name(const char *isa)
{
    qn_table tables[N_TABLES_MAX];
    const size_t n = list_tables(tables);
    for (size_t i = 0; i < n; i++)
        if (strcmp(tables[i].kernels->isa, isa) == 0) return tables[i].can_run ? tables[i].kernels : NULL;
    return NULL;
}

quern_status qn_kernels_choose(const qn_kernels **out, quern_error *err)
{
    qn_table tables[N_TABLES_MAX];
    const size_t n = list_tables(tables);
    const char *forced = getenv("QUERN_ISA");
    if (forced == NULL || forced[0] == '\0') {
        for (size_t i = 0; i < n; i++)
            if (tables[i].can_run) *out = tables[i].kernels;
        return QUERN_OK;
    }
    *out = qn_kernels_by_name(forced);
    if (*out != NULL) return QUERN_OK;
    char known[64] = "";
    for (size_t i = 0; i < n; i++) {
        if (!tables[i].can_run) continue;
        strcat(known, " ");
        strcat(known, tables[i].kernels->isa);
    }
    return qn_fail(err, QUERN_ERR_UNSUPPORTED,
                   "QUERN_ISA=%s: not an instruction set of this program and processor (here:%s)",
                   qn_quote(forced, strlen(forced)).text, known);
}
