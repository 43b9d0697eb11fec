/* matmul_avx2.h: what the AVX2 matrix kernels share.
 *
 * A line of a panel is two registers of 8 rows. The unsigned codes of four columns meet four signed
 * activations, broadcast, in vpmaddubsw: sums of two products in 16 bits, which are added up in 16 bits
 * as long as they fit. One or a few tokens read the packed panel and take the codes apart on the way;
 * more tokens share a chunk of the panel that was taken apart once into a buffer in the L1 cache. */
#ifndef QN_KERNEL_X86_MATMUL_AVX2_H
#define QN_KERNEL_X86_MATMUL_AVX2_H

#include "kernel/matmul.h"
#include "kernel/panel_facts.h"
#include "quant/codebooks.h"

#include <immintrin.h>
#include <string.h>

enum {
    GROUP = 4,         /* tokens at once at most; accumulators and weights then fill the 16 registers */
    TOKEN_BLOCK = 128, /* tokens that share an expanded chunk */
    STREAMS = QN_PANELS_AT_ONCE, /* of panels that are read only once: memory answers several sequences of
                                    addresses faster than one */
    PREFETCH = 512               /* bytes ahead in each */
};

/* Compilers regroup long sums and then run out of registers: PIN says that a value is wanted here. Where
 * accumulators live in memory, IN_MEMORY keeps the compiler from moving them to registers. */
#define PIN(v)    __asm__("" : "+x"(v))
#define IN_MEMORY __asm__ volatile("" ::: "memory")

QN_INLINE __m256i load_line(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
QN_INLINE void store_line(uint8_t *p, __m256i v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, v);
}

/* Four bytes to all lanes. */
QN_INLINE __m256i broadcast_4(const void *p)
{
    int v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

QN_INLINE __m256 load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

/* Unsigned codes of `bits` bits, columns 4 g .. 4 g + 3, for 8 rows of half h. p: the nibble lines, and
 * behind them those of the fifth or of the two upper bits. */
QN_INLINE __m256i narrow_codes(const uint8_t *p, int bits, int g, int h)
{
    const __m256i line = load_line(p + 64 * (g % 4) + 32 * h);
    const __m256i low = _mm256_and_si256(g < 4 ? line : _mm256_srli_epi16(line, 4), _mm256_set1_epi8(15));
    if (bits == 4) return low;
    const __m256i more = load_line(p + 256 + (bits == 6 ? 64 * (g / 4) : 0) + 32 * h);
    const int left = bits == 6 ? 4 - 2 * (g % 4) : 4 - g; /* how far its bits are from bit 4 */
    const __m256i at_4 = left >= 0 ? _mm256_slli_epi16(more, left) : _mm256_srli_epi16(more, -left);
    return _mm256_or_si256(low, _mm256_and_si256(at_4, _mm256_set1_epi8(bits == 6 ? 48 : 16)));
}

/* Unsigned codes of 2 or 3 bits. p: two lines of two bits, and behind them one of the third. */
QN_INLINE __m256i few_codes(const uint8_t *p, int bits, int g, int h)
{
    const __m256i line = _mm256_srli_epi16(load_line(p + 64 * (g / 4) + 32 * h), 2 * (g % 4));
    const __m256i low = _mm256_and_si256(line, _mm256_set1_epi8(3));
    if (bits == 2) return low;
    const __m256i third = load_line(p + 128 + 32 * h);
    const __m256i at_2 = g < 2 ? _mm256_slli_epi16(third, 2 - g) : _mm256_srli_epi16(third, g - 2);
    return _mm256_or_si256(low, _mm256_and_si256(at_2, _mm256_set1_epi8(4)));
}

/* 4-bit codes looked up in a table of 16 bytes. */
QN_INLINE __m256i table_codes(const uint8_t *p, __m256i table, int g, int h)
{
    const __m256i line = load_line(p + 64 * (g % 4) + 32 * h);
    return _mm256_shuffle_epi8(
        table, _mm256_and_si256(g < 4 ? line : _mm256_srli_epi16(line, 4), _mm256_set1_epi8(15)));
}

/* What codes of IQ4_NL and IQ4_XS stand for, as a table; and the low (part 0) or high (part 1) four bits of
 * that + 128. */
QN_INLINE __m256i iq4_values(void)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)qn_iq4_values));
}
QN_INLINE __m256i iq4_part(int part)
{
    const __m256i low4 = _mm256_set1_epi8(15), w = iq4_values();
    if (part == 0) return _mm256_and_si256(w, low4);
    return _mm256_xor_si256(_mm256_and_si256(_mm256_srli_epi16(w, 4), low4), _mm256_set1_epi8(8));
}

/* ---- words: signed codes of more than 4 bits, for many tokens ----
 *
 * Products of bytes would not fit 16 bits, so both sides are widened once, into buffers, and vpmaddwd sums
 * two products in 32 bits. A step has columns 2 s and 2 s + 1 of 16 rows: int16_t [16][2]. */
enum { WORDS = 256, STEP = 32 }; /* columns of a chunk; words of a step */

/* Signed bytes of a line to words: columns 4 g and 4 g + 1 (part 0), or the two behind them (part 1). */
QN_INLINE __m256i word_pairs(__m256i bytes, int part)
{
    const __m256i first = _mm256_setr_epi8(-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1, 0,
                                           -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13);
    const __m256i from = part == 0 ? first : _mm256_add_epi8(first, _mm256_set1_epi16(0x0200));
    return _mm256_srai_epi16(_mm256_shuffle_epi8(bytes, from), 8);
}

QN_INLINE void widen_32(int16_t out[32], const int8_t q[32])
{
    for (int i = 0; i < 32; i += 16)
        _mm256_store_si256((__m256i *)(void *)(out + i),
                           _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(q + i))));
}

/* Adds 32 columns of 16 rows for T tokens. */
QN_INLINE void words_product(__m256i sum[GROUP][2], int T, const int16_t *w, int16_t (*a)[WORDS],
                             size_t column)
{
    QN_EACH (s, 16) {
        const __m256i w0 = load_line((const uint8_t *)(w + s * STEP)),
                      w1 = load_line((const uint8_t *)(w + s * STEP + 16));
        QN_EACH (t, T) {
            const __m256i x = broadcast_4(a[t] + column + 2 * (size_t)s);
            sum[t][0] = _mm256_add_epi32(sum[t][0], _mm256_madd_epi16(w0, x));
            sum[t][1] = _mm256_add_epi32(sum[t][1], _mm256_madd_epi16(w1, x));
            PIN(sum[t][0]);
            PIN(sum[t][1]);
        }
    }
}

/* qn_matmul_store for whole panels in registers. */
QN_INLINE void store_panel(const qn_matmul *m, size_t panel, size_t token, const float *product)
{
    const size_t row = panel * QN_PANEL_ROWS;
    if (row + QN_PANEL_ROWS > m->w->n_rows) {
        qn_matmul_store(m, panel, token, product);
        return;
    }
    float *y = qn_matmul_out(m, token) + row;
    for (size_t h = 0; h < 16; h += 8) {
        __m256 v = _mm256_loadu_ps(product + h);
        if (m->bias != NULL) v = _mm256_add_ps(v, _mm256_loadu_ps(m->bias + row + h));
        if (m->add) v = _mm256_add_ps(_mm256_loadu_ps(y + h), v);
        _mm256_storeu_ps(y + h, v);
    }
}

/* One type's kernels. act: one row pointer a token. acc: [tokens][16].
 * direct adds the products with up to STREAMS whole panels to acc, here [panels][GROUP][16]; expand takes
 * blocks of a panel apart; chunk adds the product with them, activations beginning at act_offset. */
typedef void direct_fn(const uint8_t *const panel[], size_t n_panels, size_t n_blocks,
                       const uint8_t *const act[], float *acc);
typedef void expand_fn(void *chunk, const qn_matrix *w, size_t panel, size_t block, size_t n_blocks);
typedef void chunk_fn(const void *chunk, size_t n_blocks, const uint8_t *const act[], size_t act_offset,
                      float *acc);

typedef struct matmul_type {
    direct_fn *direct[GROUP]; /* [tokens - 1] */
    size_t direct_group;      /* tokens at once so */
    size_t direct_tokens;     /* in groups while that is faster than taking panels apart first */
    expand_fn *expand;
    chunk_fn *chunk[GROUP]; /* [tokens - 1] */
    size_t group;           /* tokens at once from a chunk */
    size_t block_columns, chunk_blocks;
    qn_act_format act;
    size_t act_block_bytes;
} matmul_type;

/* Where a block of a packed panel lies. */
QN_INLINE const uint8_t *panel_block(const qn_matrix *w, qn_tensor_type type, size_t panel, size_t block)
{
    return w->data + panel * w->panel_bytes + block * panel_block_bytes(type);
}

/* Few tokens: the packed panel is read once. */
QN_INLINE void multiply_direct(const matmul_type *type, const qn_matmul *m, size_t panel_begin,
                               size_t panel_end, size_t token_begin, size_t n_tokens, size_t act_bytes)
{
    const size_t n_blocks = m->w->n_cols / type->block_columns;
    const uint8_t *act[GROUP];
    for (size_t t = 0; t < n_tokens; t++) act[t] = qn_matmul_act(m, act_bytes, token_begin + t);
    const size_t length = (panel_end - panel_begin + STREAMS - 1) / STREAMS; /* of a stream, in panels */
    for (size_t i = 0; i < length; i++) {
        float acc[STREAMS][GROUP][16] = {0};
        const uint8_t *panels[STREAMS];
        size_t n = 0;
        for (size_t panel = panel_begin + i; panel < panel_end; panel += length)
            panels[n++] = m->w->data + panel * m->w->panel_bytes;
        type->direct[n_tokens - 1](panels, n, n_blocks, act, acc[0][0]);
        for (size_t s = 0; s < n; s++)
            for (size_t t = 0; t < n_tokens; t++)
                store_panel(m, panel_begin + i + s * length, token_begin + t, acc[s][t]);
    }
}

/* Up to TOKEN_BLOCK tokens: each chunk of a panel is expanded once for all of them. */
QN_INLINE void multiply_expanded(const matmul_type *type, const qn_matmul *m, size_t panel_begin,
                                 size_t panel_end, size_t token_begin, size_t n_tokens, size_t act_bytes,
                                 void *chunk)
{
    const size_t n_blocks = m->w->n_cols / type->block_columns;
    const size_t block_bytes = m->w->panel_bytes / n_blocks;
    const bool is_packed = qn_matrix_is_packed(m->w->type);
    const uint8_t *act[TOKEN_BLOCK];
    float acc[TOKEN_BLOCK][16];
    for (size_t t = 0; t < n_tokens; t++) act[t] = qn_matmul_act(m, act_bytes, token_begin + t);
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        memset(acc, 0, n_tokens * sizeof acc[0]);
        for (size_t b = 0; b < n_blocks; b += type->chunk_blocks) {
            const size_t n = qn_min_size(type->chunk_blocks, n_blocks - b);
            type->expand(chunk, m->w, panel, b, n);
            if (is_packed)
                prefetch(m->w->data + panel * m->w->panel_bytes + (b + n) * block_bytes, n * block_bytes);
            for (size_t t = 0; t < n_tokens; t += type->group) {
                const size_t group = qn_min_size(type->group, n_tokens - t);
                type->chunk[group - 1](chunk, n, act + t, b * type->act_block_bytes, acc[t]);
            }
        }
        for (size_t t = 0; t < n_tokens; t++) store_panel(m, panel, token_begin + t, acc[t]);
    }
}

QN_INLINE void multiply(const matmul_type *type, const qn_matmul *m, size_t panel_begin, size_t panel_end,
                        size_t token_begin, size_t token_end, void *chunk)
{
    const size_t act_bytes = qn_act_row_bytes(type->act, m->w->n_cols);
    for (size_t t = token_begin; t < token_end; t += TOKEN_BLOCK) {
        const size_t n_tokens = qn_min_size(TOKEN_BLOCK, token_end - t);
        if (n_tokens <= type->direct_tokens)
            for (size_t g = 0; g < n_tokens; g += type->direct_group)
                multiply_direct(type, m, panel_begin, panel_end, t + g,
                                qn_min_size(type->direct_group, n_tokens - g), act_bytes);
        else multiply_expanded(type, m, panel_begin, panel_end, t, n_tokens, act_bytes, chunk);
    }
}

/* ---- one set of functions per type ----
 *
 * A file has for each kind of its types kind_direct(type, T, panel, n_panels, n_blocks, act, acc),
 * kind_expand(type, chunk, panel, n_blocks) and kind_chunk(type, T, chunk, n_blocks, act, act_offset, acc).
 * They are inlined into the functions below, which know the type and the number of tokens T. */
#define QN_DEFINE_DIRECT(kind, name, TYPE, T)                                                                \
    static void direct_##name##_##T(const uint8_t *const panel[], size_t n_panels, size_t n_blocks,          \
                                    const uint8_t *const act[], float *acc)                                  \
    {                                                                                                        \
        kind##_direct(QN_TYPE_##TYPE, T, panel, n_panels, n_blocks, act, acc);                               \
    }
#define QN_DEFINE_CHUNK(kind, name, TYPE, T)                                                                 \
    static void chunk_##name##_##T(const void *chunk, size_t n_blocks, const uint8_t *const act[],           \
                                   size_t act_offset, float *acc)                                            \
    {                                                                                                        \
        kind##_chunk(QN_TYPE_##TYPE, T, chunk, n_blocks, act, act_offset, acc);                              \
    }
#define QN_DEFINE_EXPAND(kind, name, TYPE)                                                                   \
    static void expand_##name(void *chunk, const qn_matrix *w, size_t panel, size_t block, size_t n_blocks)  \
    {                                                                                                        \
        kind##_expand(QN_TYPE_##TYPE, chunk, panel_block(w, QN_TYPE_##TYPE, panel, block), n_blocks);        \
    }

/* For up to 2 or 4 tokens: DEFINE is one of the above; a list names what it has defined. */
#define QN_TOKENS_2(DEFINE, kind, name, TYPE)                                                                \
    DEFINE(kind, name, TYPE, 1)                                                                              \
    DEFINE(kind, name, TYPE, 2)
#define QN_TOKENS_4(DEFINE, kind, name, TYPE)                                                                \
    QN_TOKENS_2(DEFINE, kind, name, TYPE)                                                                    \
    DEFINE(kind, name, TYPE, 3)                                                                              \
    DEFINE(kind, name, TYPE, 4)
#define QN_LIST_0(fn) NULL
#define QN_LIST_2(fn) fn##_1, fn##_2
#define QN_LIST_4(fn) fn##_1, fn##_2, fn##_3, fn##_4

/* The members of matmul_type that follow from the activations. */
#define QN_ACT_TRAITS_Q8_32 .block_columns = 32, .act = QN_ACT_Q8_32, .act_block_bytes = sizeof(qn_act_q8_32)
#define QN_ACT_TRAITS_Q8_256                                                                                 \
    .block_columns = 256, .act = QN_ACT_Q8_256, .act_block_bytes = sizeof(qn_act_q8_256)

/* The table of a type, and its function in the kernel table. Up to most_direct tokens read the panel,
 * n_direct at once; from a chunk of n_blocks expanded ones, n_group at once meet the functions chunk_CHUNK.
 */
#define QN_DEFINE_MATMUL(name, n_direct, most_direct, CHUNK, n_group, block_type, n_blocks, ACT)             \
    static const matmul_type type_##name = {.direct = {QN_LIST_##n_direct(direct_##name)},                   \
                                            .direct_group = n_direct,                                        \
                                            .direct_tokens = most_direct,                                    \
                                            .expand = expand_##name,                                         \
                                            .chunk = {QN_LIST_##n_group(chunk_##CHUNK)},                     \
                                            .group = n_group,                                                \
                                            .chunk_blocks = n_blocks,                                        \
                                            QN_ACT_TRAITS_##ACT};                                            \
    void qn_matmul_##name##_avx2(const qn_matmul *m, size_t panel_begin, size_t panel_end,                   \
                                 size_t token_begin, size_t token_end)                                       \
    {                                                                                                        \
        _Alignas(64) block_type chunk[n_blocks];                                                             \
        multiply(&type_##name, m, panel_begin, panel_end, token_begin, token_end, chunk);                    \
    }

/* All of it, for up to 4 tokens; the kind of `direct` may be another. */
#define QN_DEFINE_GROUP_4(direct, kind, name, TYPE, most_direct, block_type, n_blocks, ACT)                  \
    QN_TOKENS_4(QN_DEFINE_DIRECT, direct, name, TYPE)                                                        \
    QN_TOKENS_4(QN_DEFINE_CHUNK, kind, name, TYPE)                                                           \
    QN_DEFINE_EXPAND(kind, name, TYPE)                                                                       \
    QN_DEFINE_MATMUL(name, 4, most_direct, name, 4, block_type, n_blocks, ACT)

#endif
