/* panel.h: the packed forms of weights and of quantized activations, inside the matrix kernels.
 *
 * A panel is 16 output rows over all columns: one struct below after the other. 32 columns of codes are
 * kept as 64-byte lines; byte 4 r + i of a line belongs to row r:
 *
 *     low[g], g < 4     low half: low four bits of column 4 g + i; high half: of column 16 + 4 g + i
 *     fifth             bit g is the fifth bit of column 4 g + i, g < 8
 *     upper[p], p < 2   bits 2 q and 2 q + 1 are bits 4 and 5 of column 16 p + 4 q + i, q < 4
 *     two[p], third     the same two kinds of lines where they hold bits 0 and 1, and bit 2
 *     byte[g], g < 8    column 4 g + i as a signed byte
 *
 * So a 32-bit element of a line always holds four neighbouring columns of one row: what a dot product
 * instruction wants to meet with the same four activations, broadcast. Scales are rows 0..15 in order.
 * The structs have exactly 16 times the bytes of the file's blocks. */
#ifndef QN_KERNEL_PANEL_H
#define QN_KERNEL_PANEL_H

#include "kernel/matrix.h"

typedef struct qn_panel_q4_0 {
    uint8_t low[4][64];
    uint16_t d[16];
} qn_panel_q4_0, qn_panel_iq4_nl;

typedef struct qn_panel_mxfp4 {
    uint8_t low[4][64];
    uint8_t e[16];
} qn_panel_mxfp4;

typedef struct qn_panel_q4_1 {
    uint8_t low[4][64];
    uint16_t d[16], m[16];
} qn_panel_q4_1;

typedef struct qn_panel_q5_0 {
    uint8_t low[4][64], fifth[64];
    uint16_t d[16];
} qn_panel_q5_0;

typedef struct qn_panel_q5_1 {
    uint8_t low[4][64], fifth[64];
    uint16_t d[16], m[16];
} qn_panel_q5_1;

typedef struct qn_panel_q8_0 {
    uint8_t byte[8][64];
    uint16_t d[16];
} qn_panel_q8_0;

/* 256 columns, [8] sub-blocks of 32. scales: the bytes of the file's block, byte by byte over the rows. */
typedef struct qn_panel_q2_k {
    uint8_t two[8][2][64];
    uint8_t scales[16][16];
    uint16_t d[16], dmin[16];
} qn_panel_q2_k;

typedef struct qn_panel_q3_k {
    struct {
        uint8_t two[2][64], third[64];
    } sub[8];
    uint8_t scales[12][16];
    uint16_t d[16];
} qn_panel_q3_k;

typedef struct qn_panel_q4_k {
    uint8_t low[8][4][64];
    uint16_t d[16], dmin[16];
    uint8_t scales[12][16];
} qn_panel_q4_k;

typedef struct qn_panel_q5_k {
    struct {
        uint8_t low[4][64], fifth[64];
    } sub[8];
    uint16_t d[16], dmin[16];
    uint8_t scales[12][16];
} qn_panel_q5_k;

typedef struct qn_panel_q6_k {
    struct {
        uint8_t low[4][64], upper[2][64];
    } sub[8];
    int8_t scales[16][16]; /* of sub-blocks of 16 columns */
    uint16_t d[16];
} qn_panel_q6_k;

typedef struct qn_panel_iq4_xs {
    uint8_t low[8][4][64];
    uint8_t scales_l[4][16], scales_h[2][16];
    uint16_t d[16];
} qn_panel_iq4_xs;

_Static_assert(sizeof(qn_panel_q4_0) == 16 * 18 && sizeof(qn_panel_q4_1) == 16 * 20, "no padding");
_Static_assert(sizeof(qn_panel_q5_0) == 16 * 22 && sizeof(qn_panel_q5_1) == 16 * 24, "no padding");
_Static_assert(sizeof(qn_panel_q8_0) == 16 * 34 && sizeof(qn_panel_q4_k) == 16 * 144, "no padding");
_Static_assert(sizeof(qn_panel_q5_k) == 16 * 176 && sizeof(qn_panel_q6_k) == 16 * 210, "no padding");
_Static_assert(sizeof(qn_panel_iq4_xs) == 16 * 136 && sizeof(qn_panel_mxfp4) == 16 * 17, "no padding");
_Static_assert(sizeof(qn_panel_q2_k) == 16 * 84 && sizeof(qn_panel_q3_k) == 16 * 110, "no padding");

/* Activations of 32 columns: x = scale * q. `start` is for 16-bit accumulators: they may wrap around as
 * long as the end fits, and with w - 16 instead of w (5 bits) it does. Two columns meet in each. */
typedef struct qn_act_q8_32 {
    int8_t q[32];
    float scale;
    float scaled_sum; /* scale * sum, for types with a minimum */
    float sum;        /* of q: exact in float32 */
    int16_t start[2]; /* -16 times the sum of q over the columns with k % 4 < 2, and over the others */
} qn_act_q8_32;

/* Activations of 256 columns. */
typedef struct qn_act_q8_256 {
    int8_t q[256];
    float scale;
    int16_t sum32[8];     /* of q over each 32 columns */
    int16_t start[16][2]; /* for each 16 columns, -32 times the sums as above: for 6 bits */
    int16_t pad[22];      /* to 384 bytes, so that q stays aligned to lines of the cache */
} qn_act_q8_256;

_Static_assert(sizeof(qn_act_q8_32) == 48 && sizeof(qn_act_q8_256) == 384, "no padding");

#endif
