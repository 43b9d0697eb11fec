/* amx.h: the tiles of Intel AMX (Intel 64 and IA-32 Architectures Software Developer's Manual, vol. 1,
 * ch. 18), or the same in portable C where a test runs the kernels on a processor without them. A tile has
 * up to 16 rows of up to 64 bytes. QN_AMX(name) is the name of a function in either build.
 *
 * tile_multiply_* (c, a, b): each 32-bit element [m][n] of tile c gets the sum over k of a[m][k] *
 * b[k / 4][4 n + k % 4], bytes times bytes, exact. ss: all bytes are signed; su: those of b are not. Tiles
 * are named by macros, as assemblers want their numbers. */
#ifndef QN_KERNEL_X86_AMX_H
#define QN_KERNEL_X86_AMX_H

#include <stdint.h>

/* What the processor reads: sizes of the tiles. */
typedef struct tile_sizes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_sizes;

_Static_assert(sizeof(tile_sizes) == 64, "as the processor reads it");

#ifdef QN_EMULATED
#include <string.h>

typedef struct emulated_tile {
    size_t rows, row_bytes;
    uint8_t row[16][64];
} emulated_tile;

static _Thread_local emulated_tile emulated_tiles[8];

static inline void tile_begin(const tile_sizes *sizes)
{
    for (size_t i = 0; i < 8; i++)
        emulated_tiles[i] = (emulated_tile){.rows = sizes->rows[i], .row_bytes = sizes->row_bytes[i]};
}
static inline void tile_end(void)
{
    memset(emulated_tiles, 0, sizeof emulated_tiles);
}
static inline void tile_zero(int tile)
{
    memset(emulated_tiles[tile].row, 0, sizeof emulated_tiles[tile].row);
}
static inline void tile_load(int tile, const void *from, size_t stride)
{
    emulated_tile *t = &emulated_tiles[tile];
    for (size_t i = 0; i < t->rows; i++) memcpy(t->row[i], (const uint8_t *)from + i * stride, t->row_bytes);
}
static inline void tile_store(int tile, void *to, size_t stride)
{
    const emulated_tile *t = &emulated_tiles[tile];
    for (size_t i = 0; i < t->rows; i++) memcpy((uint8_t *)to + i * stride, t->row[i], t->row_bytes);
}
static inline void emulated_multiply(int c, int a, int b, int b_is_signed)
{
    const emulated_tile *x = &emulated_tiles[a], *y = &emulated_tiles[b];
    emulated_tile *z = &emulated_tiles[c];
    for (size_t m = 0; m < z->rows; m++) {
        for (size_t n = 0; n < z->row_bytes / 4; n++) {
            int32_t sum;
            memcpy(&sum, z->row[m] + 4 * n, sizeof sum);
            for (size_t k = 0; k < x->row_bytes; k++) {
                const uint8_t w = y->row[k / 4][4 * n + k % 4];
                sum += (int8_t)x->row[m][k] * (b_is_signed ? (int8_t)w : w);
            }
            memcpy(z->row[m] + 4 * n, &sum, sizeof sum);
        }
    }
}
#define tile_multiply_ss(c, a, b) emulated_multiply(c, a, b, 1)
#define tile_multiply_su(c, a, b) emulated_multiply(c, a, b, 0)
#define QN_AMX(name)              name##_amx_emulated
#else
#include <immintrin.h>

/* Compilers do not know that loading a tile reads memory: what was written before must have been. */
#define tile_load(tile, from, stride)                                                                        \
    do {                                                                                                     \
        __asm__ volatile("" ::: "memory");                                                                   \
        _tile_loadd(tile, from, (long)(stride));                                                             \
    } while (0)
#define tile_store(tile, to, stride)                                                                         \
    do {                                                                                                     \
        _tile_stored(tile, to, (long)(stride));                                                              \
        __asm__ volatile("" ::: "memory");                                                                   \
    } while (0)
#define tile_zero(tile)           _tile_zero(tile)
#define tile_multiply_ss(c, a, b) _tile_dpbssd(c, a, b)
#define tile_multiply_su(c, a, b) _tile_dpbsud(c, a, b)
#define tile_begin(sizes)                                                                                    \
    do {                                                                                                     \
        __asm__ volatile("" ::: "memory");                                                                   \
        _tile_loadconfig(sizes);                                                                             \
    } while (0)
#define tile_end()   _tile_release()
#define QN_AMX(name) name##_amx
#endif

#endif
