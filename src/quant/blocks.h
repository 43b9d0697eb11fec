/* blocks.h: the block formats as they lie in a file.
 *
 * A row of a quantized tensor is a sequence of blocks without padding; a block holds a fixed number of
 * consecutive values of one row: small integers (quants) and the scales that make numbers of them. The
 * layouts are facts of the GGUF format; their definition is ggml's decoder, to which decode.h is held
 * bit for bit. Numbers are little-endian. The structs are packed and have alignment 1, so a pointer to
 * one may point anywhere into a mapped file; multi-byte fields are read as members, never by address.
 *
 * Notation: q is a quant, d a scale stored as binary16 (base/float16.h), y[i] the value i of the block,
 * lo/hi(b) the low/high four bits of a byte. Scales of sub-blocks are multiplied first, y = (d * s) * q:
 * the order of the float operations is part of the definition. */
#ifndef QN_QUANT_BLOCKS_H
#define QN_QUANT_BLOCKS_H

#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "blocks are read in place, as little-endian");

/* Values of a block: 32 in the first formats, 256 (a super-block) in those that scale the scales. */
enum {
    QN_QK4_0 = 32,
    QN_QK8_0 = 32,
    QN_QK_K = 256,
    QN_QK_MXFP4 = 32,
    QN_QK_NVFP4 = 64,
    QN_QK1_0 = 128,
    QN_QK2_0 = 64
};

#pragma pack(push, 1)

/* ---- 32 values, one scale: y[i] is quant lo(qs[i]), y[i + 16] is hi(qs[i]) ---------------------- */

/* y = d * (q - 8), q of 4 bits */
typedef struct qn_block_q4_0 {
    uint16_t d;
    uint8_t qs[16];
} qn_block_q4_0;

/* y = d * q + m, q of 4 bits; m is binary16 */
typedef struct qn_block_q4_1 {
    uint16_t d, m;
    uint8_t qs[16];
} qn_block_q4_1;

/* y = d * (q - 16), q of 5 bits: the fifth bit of q[i] is bit i of qh */
typedef struct qn_block_q5_0 {
    uint16_t d;
    uint32_t qh;
    uint8_t qs[16];
} qn_block_q5_0;

/* y = d * q + m, q of 5 bits as in Q5_0 */
typedef struct qn_block_q5_1 {
    uint16_t d, m;
    uint32_t qh;
    uint8_t qs[16];
} qn_block_q5_1;

/* y[i] = d * qs[i] */
typedef struct qn_block_q8_0 {
    uint16_t d;
    int8_t qs[32];
} qn_block_q8_0;

/* y = d * qn_iq4_values[q], q of 4 bits placed as in Q4_0 */
typedef struct qn_block_iq4_nl {
    uint16_t d;
    uint8_t qs[16];
} qn_block_iq4_nl;

/* ---- K-quants: 256 values, scales of sub-blocks relative to d ----------------------------------- */

/* 16 sub-blocks of 16: y = (d * lo(scales[s])) * q - dmin * hi(scales[s]), q of 2 bits.
 * Value 128 * h + 32 * j + l has its bits in qs[32 * h + l] at 2 * j. */
typedef struct qn_block_q2_k {
    uint8_t scales[16];
    uint8_t qs[64];
    uint16_t d, dmin;
} qn_block_q2_k;

/* 16 sub-blocks of 16: y = (d * s) * (q - 4), q of 3 bits, s from qn_q3_k_scales. The low two bits of q
 * lie as in Q2_K; the third one of value 32 * j + l is bit j of hmask[l]. */
typedef struct qn_block_q3_k {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint16_t d;
} qn_block_q3_k;

/* 8 sub-blocks of 32: y = (d * s) * q - dmin * m, q of 4 bits, s and m from qn_q4_k_scales.
 * Value 64 * p + l is lo(qs[32 * p + l]), value 64 * p + 32 + l is hi(qs[32 * p + l]); l < 32. */
typedef struct qn_block_q4_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
} qn_block_q4_k;

/* As Q4_K, with a fifth bit: for value 32 * j + l it is bit j of qh[l]. */
typedef struct qn_block_q5_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
} qn_block_q5_k;

/* 16 sub-blocks of 16: y = (d * scales[s]) * (q - 32), q of 6 bits. In each half h of 128 values, value
 * 32 * j + l (j < 4) has its low four bits in ql[64 * h + 32 * (j % 2) + l], lo for j < 2 and hi
 * otherwise, and its upper two in qh[32 * h + l] at 2 * j. */
typedef struct qn_block_q6_k {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d;
} qn_block_q6_k;

/* 8 sub-blocks of 32: y = (d * (s - 32)) * qn_iq4_values[q]. s[j] has its low four bits in scales_l[j / 2]
 * (lo for even j) and its upper two in scales_h at 2 * j; the quants of a sub-block lie as in Q4_0. */
typedef struct qn_block_iq4_xs {
    uint16_t d;
    uint16_t scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
} qn_block_iq4_xs;

/* ---- codebooks: 256 values, groups of 8 (or 4) chosen from a grid (codebooks.h) ------------------ */

/* 8 sub-blocks of 32, each two numbers of 32 bits: the first is four grid indices of 8 bits; the second
 * four sign patterns of 7 bits (qn_iq_signs), then a scale s of 4: y = d * (0.5 + s) * 0.25 * grid * sign.
 * Groups of 8 from qn_iq2_xxs_grid. */
typedef struct qn_block_iq2_xxs {
    uint16_t d;
    uint32_t qs[8][2];
} qn_block_iq2_xxs;

/* qs: 9 bits of grid index, 7 of sign pattern, for each group of 8. 16 sub-blocks of 16: the scale of the
 * even ones is lo(scales[j / 2]), of the odd ones hi; y as in IQ2_XXS. Grid: qn_iq2_xs_grid. */
typedef struct qn_block_iq2_xs {
    uint16_t d;
    uint16_t qs[32];
    uint8_t scales[8];
} qn_block_iq2_xs;

/* Group g of 8: the index is qs[g] with two more bits on top, from qh[g / 4] at 2 * (g % 4); bit i of
 * signs[g] negates value i. Scales as in IQ2_XS. Grid: qn_iq2_s_grid. */
typedef struct qn_block_iq2_s {
    uint16_t d;
    uint8_t qs[32];
    uint8_t signs[32];
    uint8_t qh[8];
    uint8_t scales[8];
} qn_block_iq2_s;

/* qs: a grid index for each group of 4. signs_scale, one for 32 values: four sign patterns of 7 bits,
 * each for 8 values, then a scale s of 4: y = d * (0.5 + s) * 0.5 * grid * sign. Grid: qn_iq3_xxs_grid. */
typedef struct qn_block_iq3_xxs {
    uint16_t d;
    uint8_t qs[64];
    uint32_t signs_scale[8];
} qn_block_iq3_xxs;

/* Group g of 4: the index is qs[g] with bit g % 8 of qh[g / 8] on top; bit i of signs[k] negates value
 * 8 * k + i. 8 sub-blocks of 32: s is lo(scales[j / 2]) for even j, hi for odd j;
 * y = d * (1 + 2 * s) * grid * sign. Grid: qn_iq3_s_grid. */
typedef struct qn_block_iq3_s {
    uint16_t d;
    uint8_t qs[64];
    uint8_t qh[8];
    uint8_t signs[32];
    uint8_t scales[4];
} qn_block_iq3_s;

/* 8 sub-blocks of 32. Group g of 8 in sub-block j: the index is qs[4 * j + g] with three more bits on top,
 * from qh[j] at 3 * g. Bits 12..14 of qh[j] are the scale s, bit 15 says that delta is -1/8, not 1/8:
 * y = d * (2 * s + 1) * (grid + delta). Grid: qn_iq1_grid, of -1, 0 and 1. */
typedef struct qn_block_iq1_s {
    uint16_t d;
    uint8_t qs[32];
    uint16_t qh[8];
} qn_block_iq1_s;

/* 16 sub-blocks of 16, two groups of 8 each. Group g: nibble g of qh (lo first) has three more bits of
 * the index and on top the sign of delta. Bits 3 * (s % 4) of scales[s / 4] are the scale of sub-block
 * s; the upper four bits of the four numbers together are d, scales[0] having its lowest. y as in IQ1_S. */
typedef struct qn_block_iq1_m {
    uint8_t qs[32];
    uint8_t qh[16];
    uint16_t scales[4];
} qn_block_iq1_m;

/* ---- few levels: y = d * (q - 1) ------------------------------------------------------------------ */

/* q of 0, 1, 2. A byte is a fraction b / 256 that holds five ternary digits: digit n is
 * floor(3 * frac(b * 3^n / 256)). Value 32 * n + i is digit n of qs[i] (i < 32), value 160 + 16 * n + i
 * digit n of qs[32 + i] (i < 16), value 240 + 4 * n + i digit n (< 4) of qh[i] (i < 4). */
typedef struct qn_block_tq1_0 {
    uint8_t qs[48];
    uint8_t qh[4];
    uint16_t d;
} qn_block_tq1_0;

/* q of 2 bits, placed as in Q2_K */
typedef struct qn_block_tq2_0 {
    uint8_t qs[64];
    uint16_t d;
} qn_block_tq2_0;

/* 128 values: d where bit i % 8 of qs[i / 8] is set, -d elsewhere */
typedef struct qn_block_q1_0 {
    uint16_t d;
    uint8_t qs[16];
} qn_block_q1_0;

/* 64 values; q of 2 bits, value i in qs[i / 4] at 2 * (i % 4) */
typedef struct qn_block_q2_0 {
    uint16_t d;
    uint8_t qs[16];
} qn_block_q2_0;

/* ---- microscaling: 4-bit floats (E2M1) under a shared 8-bit scale --------------------------------- */

/* OCP MX: y = 2^(e - 127) * E2M1(q), computed as qn_e8m0_half(e) * qn_fp4_values[q]; placed as in Q4_0 */
typedef struct qn_block_mxfp4 {
    uint8_t e;
    uint8_t qs[16];
} qn_block_mxfp4;

/* 4 sub-blocks of 16, scales in UE4M3: y = qn_ue4m3_half(d[s]) * qn_fp4_values[q]. Value i of a sub-block
 * is lo(qs[8 * s + i]), value 8 + i is hi(qs[8 * s + i]); i < 8. (A model may
 * carry one more float32 scale for the whole matrix in a tensor of its own; it is not part of this.) */
typedef struct qn_block_nvfp4 {
    uint8_t d[4];
    uint8_t qs[32];
} qn_block_nvfp4;

#pragma pack(pop)

#define QN_ASSERT_BLOCK(type, bytes)                                                                         \
    _Static_assert(sizeof(type) == (bytes) && _Alignof(type) == 1, #type " is " #bytes " bytes, packed")
QN_ASSERT_BLOCK(qn_block_q4_0, 18);
QN_ASSERT_BLOCK(qn_block_q4_1, 20);
QN_ASSERT_BLOCK(qn_block_q5_0, 22);
QN_ASSERT_BLOCK(qn_block_q5_1, 24);
QN_ASSERT_BLOCK(qn_block_q8_0, 34);
QN_ASSERT_BLOCK(qn_block_iq4_nl, 18);
QN_ASSERT_BLOCK(qn_block_q2_k, 84);
QN_ASSERT_BLOCK(qn_block_q3_k, 110);
QN_ASSERT_BLOCK(qn_block_q4_k, 144);
QN_ASSERT_BLOCK(qn_block_q5_k, 176);
QN_ASSERT_BLOCK(qn_block_q6_k, 210);
QN_ASSERT_BLOCK(qn_block_iq4_xs, 136);
QN_ASSERT_BLOCK(qn_block_iq2_xxs, 66);
QN_ASSERT_BLOCK(qn_block_iq2_xs, 74);
QN_ASSERT_BLOCK(qn_block_iq2_s, 82);
QN_ASSERT_BLOCK(qn_block_iq3_xxs, 98);
QN_ASSERT_BLOCK(qn_block_iq3_s, 110);
QN_ASSERT_BLOCK(qn_block_iq1_s, 50);
QN_ASSERT_BLOCK(qn_block_iq1_m, 56);
QN_ASSERT_BLOCK(qn_block_tq1_0, 54);
QN_ASSERT_BLOCK(qn_block_tq2_0, 66);
QN_ASSERT_BLOCK(qn_block_q1_0, 18);
QN_ASSERT_BLOCK(qn_block_q2_0, 18);
QN_ASSERT_BLOCK(qn_block_mxfp4, 17);
QN_ASSERT_BLOCK(qn_block_nvfp4, 36);
#undef QN_ASSERT_BLOCK

/* Unpacks the 8 scales s and 8 minimums m of Q4_K and Q5_K, 6 bits each. The first four of each are the
 * low six bits of bytes 0..3 and 4..7; the last four have their low bits in bytes 8..11 (s in lo, m in hi)
 * and their upper two on top of bytes 0..3 and 4..7. */
static inline void qn_q4_k_scales(const uint8_t packed[12], uint8_t s[8], uint8_t m[8])
{
    for (int j = 0; j < 4; j++) {
        s[j] = packed[j] & 63;
        m[j] = packed[4 + j] & 63;
        s[4 + j] = (uint8_t)((packed[8 + j] & 15) | (packed[j] >> 6) << 4);
        m[4 + j] = (uint8_t)(packed[8 + j] >> 4 | (packed[4 + j] >> 6) << 4);
    }
}

/* Unpacks the 16 scales of Q3_K, -32..31. Scale j has its low four bits in byte j % 8 (lo for j < 8, hi
 * otherwise) and its upper two in byte 8 + j % 4 at 2 * (j / 4); 32 is subtracted. */
static inline void qn_q3_k_scales(const uint8_t packed[12], int8_t s[16])
{
    for (int j = 0; j < 16; j++) {
        const int low = j < 8 ? packed[j] & 15 : packed[j - 8] >> 4;
        const int high = packed[8 + j % 4] >> 2 * (j / 4) & 3;
        s[j] = (int8_t)((low | high << 4) - 32);
    }
}

/* Scale j (0..7) of an IQ4_XS block, -32..31. */
static inline int qn_iq4_xs_scale(const qn_block_iq4_xs *b, int j)
{
    const int low = b->scales_l[j / 2] >> 4 * (j % 2) & 15;
    return (low | (b->scales_h >> 2 * j & 3) << 4) - 32;
}

#endif
