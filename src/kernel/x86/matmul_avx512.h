/* matmul_avx512.h: what the AVX-512 matrix kernels share.
 *
 * A line of a panel is one register: four columns of 16 rows. vpdpbusd multiplies its unsigned codes by
 * four signed activations, broadcast from memory, and adds them to 16 sums of 32 bits. The codes of a
 * block are taken apart once, into eight registers, for up to 16 tokens. With few tokens the memory is what
 * takes the time: then several panels are read in turns. */
#ifndef QN_KERNEL_X86_MATMUL_AVX512_H
#define QN_KERNEL_X86_MATMUL_AVX512_H

#include "kernel/matmul.h"
#include "kernel/panel_facts.h"
#include "kernel/x86/avx512.h"
#include "quant/codebooks.h"

#include <string.h>

/* Compilers do not agree on the type of a shift count. */
#if defined(__clang__) || defined(QN_EMULATED)
#define COUNT(n) ((unsigned)(n))
#else
#define COUNT(n) (n)
#endif

enum {
    GROUP = 16,       /* tokens at once at most */
    GROUP_SIZES = 5,  /* 16, 8, 4, 2, 1 */
    TOKEN_BLOCK = 64, /* tokens whose activations should stay in the second-level cache */
    FEW = 4,          /* tokens that read STREAMS panels in turns: memory answers several sequences of */
    STREAMS = QN_PANELS_AT_ONCE, /* addresses faster than one */
    PREFETCH = 2048              /* bytes ahead in each panel */
};

QN_INLINE __m512i load_line(const uint8_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}
QN_INLINE __m512i broadcast_4(const void *p)
{
    int v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}
QN_INLINE __m512 load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

/* Unsigned codes of `bits` bits, columns 4 g .. 4 g + 3. p: the nibble lines, and behind them those of the
 * fifth or of the two upper bits. */
QN_INLINE __m512i narrow_codes(const uint8_t *p, int bits, int g)
{
    const __m512i line = load_line(p + 64 * (g % 4));
    const __m512i low = _mm512_and_si512(g < 4 ? line : _mm512_srli_epi16(line, 4), _mm512_set1_epi8(15));
    if (bits == 4) return low;
    const __m512i more = load_line(p + 256 + (bits == 6 ? 64 * (g / 4) : 0));
    const int left = bits == 6 ? 4 - 2 * (g % 4) : 4 - g; /* how far its bits are from bit 4 */
    const __m512i at_4 =
        left >= 0 ? _mm512_slli_epi16(more, COUNT(left)) : _mm512_srli_epi16(more, COUNT(-left));
    return _mm512_or_si512(low, _mm512_and_si512(at_4, _mm512_set1_epi8(bits == 6 ? 48 : 16)));
}

/* Unsigned codes of 2 or 3 bits. p: two lines of two bits, and behind them one of the third. */
QN_INLINE __m512i few_codes(const uint8_t *p, int bits, int g)
{
    const __m512i line = _mm512_srli_epi16(load_line(p + 64 * (g / 4)), COUNT(2 * (g % 4)));
    const __m512i low = _mm512_and_si512(line, _mm512_set1_epi8(3)),
                  third = load_line(p + (bits == 2 ? 0 : 128));
    if (bits == 2) return low;
    const __m512i at_2 =
        g < 2 ? _mm512_slli_epi16(third, COUNT(2 - g)) : _mm512_srli_epi16(third, COUNT(g - 2));
    return _mm512_or_si512(low, _mm512_and_si512(at_2, _mm512_set1_epi8(4)));
}

/* 4-bit codes looked up in a table of 16 signed bytes, to which `zero` is added. */
QN_INLINE __m512i table_codes(const uint8_t *p, const int8_t values[16], char zero, int g)
{
    const __m128i table =
        _mm_add_epi8(_mm_loadu_si128((const __m128i *)(const void *)values), _mm_set1_epi8(zero));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), narrow_codes(p, 4, g));
}

/* The product of a whole panel with T tokens, or of up to STREAMS panels: one instance for each T.
 * from_memory: no tokens before these have read it, so that what comes next is fetched. acc: [panels][T][16].
 */
typedef void panel_fn(const uint8_t *const panel[], size_t n_panels, size_t n_blocks, bool from_memory,
                      const uint8_t *const act[], float *acc);

typedef struct panel_fns {
    panel_fn *one[GROUP_SIZES]; /* one panel; 16, 8, 4, 2, 1 tokens */
    panel_fn *few[FEW];         /* panels in turns; [tokens - 1] */
} panel_fns;

QN_INLINE void store_panel(const qn_matmul *m, size_t panel, size_t token, const float *product)
{
    const size_t row = panel * QN_PANEL_ROWS;
    if (row + QN_PANEL_ROWS > m->w->n_rows) {
        qn_matmul_store(m, panel, token, product);
        return;
    }
    float *y = qn_matmul_out(m, token) + row;
    __m512 v = _mm512_loadu_ps(product);
    if (m->bias != NULL) v = _mm512_add_ps(v, _mm512_loadu_ps(m->bias + row));
    if (m->add) v = _mm512_add_ps(_mm512_loadu_ps(y), v);
    _mm512_storeu_ps(y, v);
}

/* Few tokens: the panels are STREAMS sequences of neighbours, so that what is fetched ahead at the end of one
 * panel belongs to the next. */
QN_INLINE void multiply_few(panel_fn *fn, const qn_matmul *m, size_t n_blocks, size_t panel_begin,
                            size_t panel_end, size_t token_begin, size_t n_tokens, const uint8_t *const act[])
{
    const size_t length = (panel_end - panel_begin + STREAMS - 1) / STREAMS; /* of a sequence */
    for (size_t i = 0; i < length; i++) {
        const uint8_t *w[STREAMS];
        float acc[STREAMS * FEW][16];
        size_t n = 0;
        for (size_t panel = panel_begin + i; panel < panel_end; panel += length)
            w[n++] = m->w->data + panel * m->w->panel_bytes;
        fn(w, n, n_blocks, true, act, acc[0]);
        for (size_t s = 0; s < n; s++)
            for (size_t t = 0; t < n_tokens; t++)
                store_panel(m, panel_begin + i + s * length, token_begin + t, acc[s * n_tokens + t]);
    }
}

QN_INLINE void multiply(const panel_fns *fns, const qn_matmul *m, qn_act_format format, size_t block_columns,
                        size_t panel_begin, size_t panel_end, size_t token_begin, size_t token_end)
{
    const size_t act_bytes = qn_act_row_bytes(format, m->w->n_cols), n_blocks = m->w->n_cols / block_columns;
    for (size_t t0 = token_begin; t0 < token_end; t0 += TOKEN_BLOCK) {
        const size_t n_tokens = qn_min_size(TOKEN_BLOCK, token_end - t0);
        const uint8_t *act[TOKEN_BLOCK];
        for (size_t t = 0; t < n_tokens; t++) act[t] = qn_matmul_act(m, act_bytes, t0 + t);
        if (n_tokens <= FEW && panel_end - panel_begin > 1) {
            multiply_few(fns->few[n_tokens - 1], m, n_blocks, panel_begin, panel_end, t0, n_tokens, act);
            continue;
        }
        for (size_t panel = panel_begin; panel < panel_end; panel++) {
            const uint8_t *w = m->w->data + panel * m->w->panel_bytes;
            for (size_t t = 0, size = GROUP, i = 0; t < n_tokens;) {
                float acc[GROUP][16];
                while (size > n_tokens - t) size /= 2, i++;
                fns->one[i](&w, 1, n_blocks, t == 0, act + t, acc[0]);
                for (size_t end = t + size, first = t; t < end; t++)
                    store_panel(m, panel, t0 + t, acc[t - first]);
            }
        }
    }
}

/* Defines the instances and the function of the table. product(type, T, panel, n_panels, n_blocks,
 * from_memory, act, acc) is inlined into each instance. */
#define QN_DEFINE_ONE(name, TYPE, T, product)                                                                \
    static void one_##name##_##T(const uint8_t *const panel[], size_t n_panels, size_t n_blocks,             \
                                 bool from_memory, const uint8_t *const act[], float *acc)                   \
    {                                                                                                        \
        (void)n_panels;                                                                                      \
        product(QN_TYPE_##TYPE, T, panel, 1, n_blocks, from_memory, act, acc);                               \
    }
#define QN_DEFINE_PANELS(name, TYPE, T, product)                                                             \
    static void few_##name##_##T(const uint8_t *const panel[], size_t n_panels, size_t n_blocks,             \
                                 bool from_memory, const uint8_t *const act[], float *acc)                   \
    {                                                                                                        \
        product(QN_TYPE_##TYPE, T, panel, n_panels, n_blocks, from_memory, act, acc);                        \
    }
#define QN_DEFINE_FEW(name, TYPE, product)                                                                   \
    QN_DEFINE_ONE(name, TYPE, 4, product)                                                                    \
    QN_DEFINE_ONE(name, TYPE, 2, product)                                                                    \
    QN_DEFINE_ONE(name, TYPE, 1, product)                                                                    \
    QN_DEFINE_PANELS(name, TYPE, 4, product)                                                                 \
    QN_DEFINE_PANELS(name, TYPE, 3, product)                                                                 \
    QN_DEFINE_PANELS(name, TYPE, 2, product)                                                                 \
    QN_DEFINE_PANELS(name, TYPE, 1, product)
#define QN_FNS(name, one_16, one_8)                                                                          \
    {                                                                                                        \
        {one_16, one_8, one_##name##_4, one_##name##_2, one_##name##_1},                                     \
        {                                                                                                    \
            few_##name##_1, few_##name##_2, few_##name##_3, few_##name##_4                                   \
        }                                                                                                    \
    }
#define QN_DEFINE_MATMUL(name, TYPE, format, block_columns, product)                                         \
    QN_DEFINE_ONE(name, TYPE, 16, product)                                                                   \
    QN_DEFINE_ONE(name, TYPE, 8, product)                                                                    \
    QN_DEFINE_FEW(name, TYPE, product)                                                                       \
    void QN_AVX512(qn_matmul_##name)(const qn_matmul *m, size_t panel_begin, size_t panel_end,               \
                                     size_t token_begin, size_t token_end)                                   \
    {                                                                                                        \
        static const panel_fns fns = QN_FNS(name, one_##name##_16, one_##name##_8);                          \
        multiply(&fns, m, format, block_columns, panel_begin, panel_end, token_begin, token_end);            \
    }

#endif
