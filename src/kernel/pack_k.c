/* pack_k.c: panels of the types with super-blocks of 256 columns. The K types pair column k with k + 32 in
 * a byte; a panel pairs k with k + 16, as the types of 32 columns do, so the nibbles are paired anew, four
 * at a time in a 32-bit word. */
#include "kernel/pack.h"
#include "quant/blocks.h"

enum { NIBBLES = 0x0f0f0f0f };

/* Eight words of codes (32 columns of one row) to nibble lines; only the low four bits of a code count. */
static void put_low(uint8_t low[4][64], size_t r, const uint32_t codes[8])
{
    for (size_t g = 0; g < 4; g++)
        qn_line_put(low[g], r, (codes[g] & NIBBLES) | (codes[g + 4] & NIBBLES) << 4);
}

/* Sub-block j of Q4_K or Q5_K: nibble j % 2 of 32 bytes. */
static void put_low_k(uint8_t low[4][64], size_t r, const uint8_t qs[128], size_t j)
{
    uint32_t codes[8];
    for (size_t g = 0; g < 8; g++) codes[g] = qn_load_u32(qs + 32 * (j / 2) + 4 * g) >> 4 * (j % 2);
    put_low(low, r, codes);
}

/* Two bits of 32 bytes (columns), at `shift` in each, to two lines. */
static void put_two(uint8_t two[2][64], size_t r, const uint8_t bytes[32], unsigned shift)
{
    uint32_t codes[2] = {0, 0};
    for (unsigned g = 0; g < 8; g++)
        codes[g / 4] |= (qn_load_u32(bytes + 4 * g) >> shift & 0x03030303u) << 2 * (g % 4);
    qn_line_put(two[0], r, codes[0]);
    qn_line_put(two[1], r, codes[1]);
}

/* Bit j of 32 bytes to one line. */
static void put_bit(uint8_t line[64], size_t r, const uint8_t bytes[32], unsigned j)
{
    uint32_t codes = 0;
    for (unsigned g = 0; g < 8; g++) codes |= (qn_load_u32(bytes + 4 * g) >> j & 0x01010101u) << g;
    qn_line_put(line, r, codes);
}

static void put_q2_k(qn_panel_q2_k *p, size_t r, const qn_block_q2_k *b)
{
    for (unsigned j = 0; j < 8; j++) put_two(p->two[j], r, b->qs + 32 * (j / 4), 2 * (j % 4));
    for (size_t i = 0; i < 16; i++) p->scales[i][r] = b->scales[i];
    p->d[r] = b->d;
    p->dmin[r] = b->dmin;
}
QN_DEFINE_PACK(q2_k, 256)

static void put_q3_k(qn_panel_q3_k *p, size_t r, const qn_block_q3_k *b)
{
    for (unsigned j = 0; j < 8; j++) {
        put_two(p->sub[j].two, r, b->qs + 32 * (j / 4), 2 * (j % 4));
        put_bit(p->sub[j].third, r, b->hmask, j);
    }
    for (size_t i = 0; i < 12; i++) p->scales[i][r] = b->scales[i];
    p->d[r] = b->d;
}
QN_DEFINE_PACK(q3_k, 256)

static void put_q4_k(qn_panel_q4_k *p, size_t r, const qn_block_q4_k *b)
{
    for (size_t j = 0; j < 8; j++) put_low_k(p->low[j], r, b->qs, j);
    for (size_t i = 0; i < 12; i++) p->scales[i][r] = b->scales[i];
    p->d[r] = b->d;
    p->dmin[r] = b->dmin;
}
QN_DEFINE_PACK(q4_k, 256)

static void put_q5_k(qn_panel_q5_k *p, size_t r, const qn_block_q5_k *b)
{
    for (unsigned j = 0; j < 8; j++) {
        put_low_k(p->sub[j].low, r, b->qs, j);
        put_bit(p->sub[j].fifth, r, b->qh, j);
    }
    for (size_t i = 0; i < 12; i++) p->scales[i][r] = b->scales[i];
    p->d[r] = b->d;
    p->dmin[r] = b->dmin;
}
QN_DEFINE_PACK(q5_k, 256)

static void put_q6_k(qn_panel_q6_k *p, size_t r, const qn_block_q6_k *b)
{
    for (unsigned j = 0; j < 8; j++) {
        const unsigned half = j / 4, quarter = j % 4;
        const uint8_t *ql = b->ql + 64 * half + 32 * (quarter % 2);
        uint32_t codes[8];
        for (unsigned g = 0; g < 8; g++) codes[g] = qn_load_u32(ql + 4 * g) >> (quarter < 2 ? 0 : 4);
        put_low(p->sub[j].low, r, codes);
        put_two(p->sub[j].upper, r, b->qh + 32 * half, 2 * quarter);
    }
    for (size_t i = 0; i < 16; i++) p->scales[i][r] = b->scales[i];
    p->d[r] = b->d;
}
QN_DEFINE_PACK(q6_k, 256)

static void put_iq4_xs(qn_panel_iq4_xs *p, size_t r, const qn_block_iq4_xs *b)
{
    for (size_t j = 0; j < 8; j++)
        for (size_t g = 0; g < 4; g++) qn_line_put(p->low[j][g], r, qn_load_u32(b->qs + 16 * j + 4 * g));
    for (size_t i = 0; i < 4; i++) p->scales_l[i][r] = b->scales_l[i];
    p->scales_h[0][r] = (uint8_t)(b->scales_h & 255);
    p->scales_h[1][r] = (uint8_t)(b->scales_h >> 8);
    p->d[r] = b->d;
}
QN_DEFINE_PACK(iq4_xs, 256)
