/* pack_legacy.c: panels of the types with one scale per 32 columns. Their nibbles already pair column k
 * with column k + 16, so lines of nibbles are the file's bytes in another order. */
#include "kernel/pack.h"
#include "quant/blocks.h"

static void put_nibbles(uint8_t low[4][64], size_t r, const uint8_t qs[16])
{
    for (size_t g = 0; g < 4; g++) qn_line_put(low[g], r, qn_load_u32(qs + 4 * g));
}

/* Bit 4 g + i of qh becomes bit g of byte i. */
static void put_fifth(uint8_t fifth[64], size_t r, uint32_t qh)
{
    uint32_t codes = 0;
    for (unsigned g = 0; g < 8; g++) codes |= ((qh >> 4 * g & 15) * 0x00204081u & 0x01010101u) << g;
    qn_line_put(fifth, r, codes);
}

static void put_q4_0(qn_panel_q4_0 *p, size_t r, const qn_block_q4_0 *b)
{
    put_nibbles(p->low, r, b->qs);
    p->d[r] = b->d;
}
QN_DEFINE_PACK(q4_0, 32)

static void put_q4_1(qn_panel_q4_1 *p, size_t r, const qn_block_q4_1 *b)
{
    put_nibbles(p->low, r, b->qs);
    p->d[r] = b->d;
    p->m[r] = b->m;
}
QN_DEFINE_PACK(q4_1, 32)

static void put_q5_0(qn_panel_q5_0 *p, size_t r, const qn_block_q5_0 *b)
{
    put_nibbles(p->low, r, b->qs);
    put_fifth(p->fifth, r, b->qh);
    p->d[r] = b->d;
}
QN_DEFINE_PACK(q5_0, 32)

static void put_q5_1(qn_panel_q5_1 *p, size_t r, const qn_block_q5_1 *b)
{
    put_nibbles(p->low, r, b->qs);
    put_fifth(p->fifth, r, b->qh);
    p->d[r] = b->d;
    p->m[r] = b->m;
}
QN_DEFINE_PACK(q5_1, 32)

static void put_q8_0(qn_panel_q8_0 *p, size_t r, const qn_block_q8_0 *b)
{
    const uint8_t *bytes = (const uint8_t *)b->qs;
    for (size_t g = 0; g < 8; g++) qn_line_put(p->byte[g], r, qn_load_u32(bytes + 4 * g));
    p->d[r] = b->d;
}
QN_DEFINE_PACK(q8_0, 32)

static void put_mxfp4(qn_panel_mxfp4 *p, size_t r, const qn_block_mxfp4 *b)
{
    put_nibbles(p->low, r, b->qs);
    p->e[r] = b->e;
}
QN_DEFINE_PACK(mxfp4, 32)
