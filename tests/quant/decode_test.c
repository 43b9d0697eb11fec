/* decode_test.c: every block format: bit for bit against the golden data where it is there, and against
 * blocks worked out by hand; hostile bytes; inputs that are unaligned and exactly as long as needed. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/float16.h"
#include "base/random.h"
#include "quant/codebooks.h"
#include "quant/decoders.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

static const qn_tensor_type weight_types[] = {
#define X(type, decoder, block) QN_TYPE_##type,
    QN_DECODER_MAP(X)
#undef X
};
enum { N_WEIGHT_TYPES = sizeof weight_types / sizeof *weight_types };
_Static_assert(N_WEIGHT_TYPES == 28, "F32 and the 27 formats of the golden data");

/* Decodes from a heap copy that begins at an odd address and ends with its last byte, into a heap array of
 * exactly n_values, so that a sanitizer sees every access beside them. The caller frees. */
static float *decode_exact(qn_tensor_type type, const void *blocks, size_t n_values, size_t misalignment)
{
    const size_t n_bytes = qn_row_bytes(type, n_values);
    char *copy = qn_malloc(misalignment + n_bytes);
    float *out = qn_malloc(n_values * sizeof *out);
    assert_true(copy != NULL && out != NULL);
    memcpy(copy + misalignment, blocks, n_bytes);
    qn_decode_get(type)(copy + misalignment, out, n_values);
    qn_free(copy);
    return out;
}

static bool same_bits(const float *a, const float *b, size_t n)
{
    return memcmp(a, b, n * sizeof *a) == 0;
}

/* ---- golden data ---------------------------------------------------------------------------------- */

static const char *golden_directory(void)
{
    const char *golden = getenv("QUERN_GOLDEN");
    return golden != NULL ? golden : "../shared/golden";
}

/* False where this variant does not exist. */
static bool check_golden(qn_tensor_type type, const char *variant)
{
    char stem[64], path[1024];
    qn_file_map packed, expected;
    snprintf(stem, sizeof stem, "%s%s", qn_tensor_type_get(type)->name, variant);
    for (char *c = stem; *c != '\0' && *c != '.'; c++) *c = (char)tolower(*c);
    snprintf(path, sizeof path, "%s/quant/%s.bin", golden_directory(), stem);
    if (qn_file_map_open(&packed, path, NULL) != QUERN_OK) return false;
    snprintf(path, sizeof path, "%s/quant/%s.f32", golden_directory(), stem);
    assert_int_equal(qn_file_map_open(&expected, path, NULL), QUERN_OK);

    const size_t n_values = expected.n_bytes / sizeof(float);
    assert_int_equal(packed.n_bytes, qn_row_bytes(type, n_values));
    for (size_t misalignment = 0; misalignment < 4; misalignment++) {
        float *out = decode_exact(type, packed.data, n_values, misalignment);
        for (size_t i = 0; i < n_values; i++)
            if (memcmp(&out[i], expected.data + i * sizeof *out, sizeof *out) != 0)
                fail_msg("%s: value %zu is %a, bytes differ from the golden file", stem, i, (double)out[i]);
        qn_free(out);
    }
    qn_file_map_close(&packed);
    qn_file_map_close(&expected);
    return true;
}

static void golden_files_decode_bit_for_bit(void **state)
{
    (void)state;
    char path[1024];
    snprintf(path, sizeof path, "%s/quant/MANIFEST.json", golden_directory());
    if (access(path, R_OK) != 0) {
        printf("skipped: no golden data at %s\n", path);
        return;
    }
    int n_files = 0;
    for (size_t t = 0; t < N_WEIGHT_TYPES; t++) {
        const int n = check_golden(weight_types[t], "") + check_golden(weight_types[t], ".importance");
        if (weight_types[t] != QN_TYPE_F32 && n == 0)
            fail_msg("no golden file for %s", qn_tensor_type_get(weight_types[t])->name);
        n_files += n;
    }
    printf("%d golden files equal\n", n_files);
}

/* ---- blocks worked out by hand --------------------------------------------------------------------- */

enum { MAX_PLACES = 16 };
typedef struct example {
    qn_tensor_type type;
    struct {
        int at, byte;
    } bytes[MAX_PLACES]; /* of a block that is 0 elsewhere; the list ends with 0, 0 */
    struct {
        int at;
        float value;
    } values[MAX_PLACES]; /* ends with 0, 0 */
} example;

/* clang-format off */
/* Binary16: 1 is 3c00, 0.5 is 3800, 2 is 4000, 8 is 4800. First, middle and last values of each block. */
static const example examples[] = {
    {QN_TYPE_F32, {{3, 0x40}}, {{0, 2.0f}}},
    {QN_TYPE_F16, {{1, 0xc0}}, {{0, -2.0f}}},
    {QN_TYPE_BF16, {{0, 0x80}, {1, 0xbf}}, {{0, -1.0f}}},
    {QN_TYPE_Q4_0, {{1, 0x40}, {2, 0xf0}}, {{0, -16}, {1, -16}, {16, 14}, {31, -16}}},
    {QN_TYPE_Q4_1, {{1, 0x40}, {3, 0x3c}, {5, 0x5a}}, {{0, 1}, {1, 21}, {17, 11}, {31, 1}}},
    {QN_TYPE_Q5_0, {{1, 0x40}, {2, 1}, {4, 2}, {6, 1}}, {{0, 2}, {1, -32}, {16, -32}, {17, 0}}},
    {QN_TYPE_Q5_1, {{1, 0x40}, {3, 0x3c}, {7, 0x80}, {23, 0xf3}}, {{0, 1}, {15, 7}, {31, 63}}},
    {QN_TYPE_Q8_0, {{1, 0x38}, {2, 0x80}, {33, 0x7f}}, {{0, -64}, {1, 0}, {31, 63.5f}}},
    {QN_TYPE_Q2_K,
     {{0, 0x23}, {15, 0x42}, {16, 3}, {79, 0xc0}, {81, 0x3c}, {83, 0x38}},
     {{0, 8}, {1, -1}, {16, 0}, {254, -2}, {255, 4}}},
    {QN_TYPE_Q3_K,
     {{0, 1}, {31, 0x80}, {32, 3}, {95, 0x40}, {96, 1}, {103, 0x50}, {104, 2}, {107, 0xc0}, {109, 0x3c}},
     {{0, 3}, {1, -4}, {16, 128}, {254, -84}, {255, 21}}},
    {QN_TYPE_Q4_K,
     {{1, 0x3c}, {3, 0x38}, {4, 5}, {7, 0x80}, {8, 2}, {11, 0x40}, {15, 0x31}, {16, 0x0f}, {143, 0x20}},
     {{0, 74}, {1, -1}, {32, 0}, {254, -9.5f}, {255, 56.5f}}},
    {QN_TYPE_Q5_K,
     {{1, 0x3c}, {3, 0x38}, {4, 5}, {7, 0x80}, {8, 2}, {11, 0x40}, {15, 0x31}, {16, 1}, {47, 0x80},
      {48, 0x0f}, {175, 0x20}},
     {{0, 154}, {1, -1}, {254, -9.5f}, {255, 584.5f}}},
    {QN_TYPE_Q6_K,
     {{0, 5}, {127, 0xa0}, {128, 3}, {191, 0x40}, {192, 2}, {207, 0xff}, {209, 0x38}},
     {{0, 21}, {1, -32}, {254, 16}, {255, 3}}},
    {QN_TYPE_IQ4_NL, {{1, 0x3c}, {2, 0xf8}}, {{0, 1}, {1, -127}, {16, 113}}},
    {QN_TYPE_IQ4_XS,
     {{1, 0x3c}, {2, 2}, {3, 0x40}, {4, 1}, {7, 0x30}, {8, 8}, {135, 0xf0}},
     {{0, 1}, {1, -127}, {32, 4064}, {254, 1651}, {255, -1469}}},
    {QN_TYPE_IQ2_XXS,
     {{1, 0x48}, {2, 1}, {6, 1}, {9, 0x10}, {61, 0xff}},
     {{0, -129}, {1, 24}, {7, -24}, {8, 24}, {248, 8}, {249, 25}, {255, 43}}},
    {QN_TYPE_IQ2_XS,
     {{1, 0x48}, {2, 2}, {3, 2}, {64, 0xff}, {65, 1}, {66, 0x21}, {73, 0x30}},
     {{0, -75}, {1, 75}, {7, -24}, {16, 40}, {239, 8}, {248, 301}, {255, 301}}},
    {QN_TYPE_IQ2_S,
     {{1, 0x48}, {33, 0xff}, {65, 0x80}, {73, 0xc0}, {81, 0x10}},
     {{0, 8}, {254, 129}, {255, -129}}},
    {QN_TYPE_IQ3_XXS,
     {{1, 0x48}, {2, 1}, {65, 0xff}, {66, 0x10}, {69, 0x10}},
     {{0, 120}, {1, 24}, {4, -24}, {7, -24}, {252, 8}, {253, 56}, {255, 124}}},
    {QN_TYPE_IQ3_S,
     {{1, 0x3c}, {65, 0xff}, {73, 0x80}, {105, 0x80}, {109, 0x20}},
     {{0, 1}, {252, 5}, {254, 75}, {255, -75}}},
    {QN_TYPE_IQ1_S,
     {{1, 0x3c}, {2, 1}, {33, 0xff}, {49, 0xbe}},
     {{0, 1.125f}, {1, -0.875f}, {224, -7.875f}, {255, 6.125f}}},
    {QN_TYPE_IQ1_M,
     {{31, 0xff}, {47, 0xf0}, {53, 0xc0}, {55, 0x36}},
     {{0, -0.875f}, {240, -6.125f}, {255, 6.125f}}},
    {QN_TYPE_TQ1_0,
     {{0, 0xcf}, {47, 0xcf}, {51, 0xbb}, {53, 0x40}},
     {{0, 2}, {1, -2}, {32, 0}, {64, -2}, {96, 2}, {128, 0}, {175, 2}, {191, 0}, {223, 2}, {239, 0},
      {243, 2}, {247, -2}, {251, 0}, {255, 2}}},
    {QN_TYPE_TQ2_0,
     {{0, 0xe4}, {63, 0x80}, {65, 0x40}},
     {{0, -2}, {32, 0}, {64, 2}, {96, 4}, {223, -2}, {255, 2}}},
    {QN_TYPE_Q1_0, {{1, 0x40}, {2, 1}, {17, 0x80}}, {{0, 2}, {1, -2}, {126, -2}, {127, 2}}},
    {QN_TYPE_Q2_0, {{1, 0x40}, {2, 0xe4}, {17, 0x80}}, {{0, -2}, {1, 0}, {2, 2}, {3, 4}, {62, -2}, {63, 2}}},
    {QN_TYPE_MXFP4, {{0, 128}, {1, 0xf7}, {16, 0x10}}, {{0, 12}, {1, 0}, {16, -12}, {31, 1}}},
    {QN_TYPE_NVFP4,
     {{0, 0x38}, {3, 0x41}, {4, 0xf7}, {35, 0x30}},
     {{0, 6}, {1, 0}, {8, -6}, {16, 0}, {62, 0}, {63, 3.375f}}},
};
/* clang-format on */
_Static_assert(sizeof examples / sizeof *examples == N_WEIGHT_TYPES, "an example for each type");

static void check_example(const example *e)
{
    const qn_tensor_type_info *info = qn_tensor_type_get(e->type);
    unsigned char block[2][256] = {{0}}; /* the second copy follows directly, to see the stride */
    unsigned char packed[512];
    for (int i = 0; i < MAX_PLACES && (e->bytes[i].at != 0 || e->bytes[i].byte != 0); i++)
        block[0][e->bytes[i].at] = (unsigned char)e->bytes[i].byte;
    memcpy(packed, block[0], info->block_bytes);
    memcpy(packed + info->block_bytes, block[0], info->block_bytes);

    float *out = decode_exact(e->type, packed, 2 * (size_t)info->block_values, 1);
    for (int i = 0; i < MAX_PLACES && (e->values[i].at != 0 || e->values[i].value != 0.0f); i++) {
        const float got = out[e->values[i].at];
        if (got != e->values[i].value)
            fail_msg("%s: value %d is %g, not %g", info->name, e->values[i].at, (double)got,
                     (double)e->values[i].value);
    }
    assert_true(same_bits(out, out + info->block_values, info->block_values));
    qn_free(out);
}

static void blocks_worked_out_by_hand(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_WEIGHT_TYPES; i++) check_example(&examples[i]);
}

/* ---- extreme and hostile values ---------------------------------------------------------------------- */

static void every_half_float_decodes_as_the_definition_says(void **state)
{
    (void)state;
    uint16_t *halves = qn_malloc(65536 * sizeof *halves);
    assert_non_null(halves);
    for (unsigned h = 0; h < 65536; h++) halves[h] = (uint16_t)h;
    float *f16 = decode_exact(QN_TYPE_F16, halves, 65536, 1),
          *bf16 = decode_exact(QN_TYPE_BF16, halves, 65536, 1);
    for (unsigned h = 0; h < 65536; h++) {
        assert_int_equal(qn_f32_to_bits(f16[h]), qn_f32_to_bits(qn_f16_to_f32((uint16_t)h)));
        assert_int_equal(qn_f32_to_bits(bf16[h]), h << 16);
    }
    qn_free(f16), qn_free(bf16), qn_free(halves);
}

static void eight_bit_scales(void **state)
{
    (void)state;
    assert_true(qn_e8m0_half(0) == 0x1p-128f && qn_e8m0_half(1) == 0x1p-127f && qn_e8m0_half(2) == 0x1p-126f);
    assert_true(qn_e8m0_half(254) == 0x1p126f && qn_e8m0_half(255) == 0x1p127f);
    assert_true(qn_ue4m3_half(0) == 0.0f && qn_ue4m3_half(0x7f) == 0.0f && qn_ue4m3_half(0xff) == 240.0f);
    assert_true(qn_ue4m3_half(0x7e) == 224.0f && qn_ue4m3_half(1) == 0x1p-10f &&
                qn_ue4m3_half(7) == 7 * 0x1p-10f);
    for (unsigned x = 8; x < 0x7f; x++) /* normal numbers: half of (1 + mantissa / 8) * 2^(exponent - 7) */
        assert_true(qn_ue4m3_half((uint8_t)x) == ldexpf(1.0f + (float)(x & 7) / 8.0f, (int)(x >> 3) - 8));
}

/* A scale of infinity or NaN spreads over its block as the arithmetic says, and no further. */
static void infinite_and_nan_scales_stay_in_their_block(void **state)
{
    (void)state;
    unsigned char packed[3 * 34] = {0};
    for (int b = 0; b < 3; b++) packed[34 * b + 2] = 0xff; /* the first value -1, the others 0 */
    packed[1] = 0x7c;                                      /* infinity */
    packed[34 + 1] = 0x7e;                                 /* NaN */
    packed[68] = 1;                                        /* the least subnormal, 2^-24 */
    float *out = decode_exact(QN_TYPE_Q8_0, packed, 96, 1);
    assert_true(isinf(out[0]) && out[0] < 0 && isnan(out[1]) && isnan(out[31]));
    assert_true(isnan(out[32]) && isnan(out[63]));
    assert_true(out[64] == -0x1p-24f && out[65] == 0.0f);
    qn_free(out);
}

/* Any bytes are a block: nothing is read or written beyond, and the result depends on the bytes alone. */
static void any_bytes_decode(void **state)
{
    (void)state;
    enum { N_BLOCKS = 300 };
    qn_random random = {7, 1, 0};
    for (size_t t = 0; t < N_WEIGHT_TYPES; t++) {
        const qn_tensor_type type = weight_types[t];
        const qn_tensor_type_info *info = qn_tensor_type_get(type);
        const size_t n_bytes = N_BLOCKS * (size_t)info->block_bytes,
                     n_values = N_BLOCKS * (size_t)info->block_values;
        unsigned char *bytes = qn_malloc(n_bytes);
        assert_non_null(bytes);
        for (size_t i = 0; i < n_bytes; i++) bytes[i] = (unsigned char)qn_random_u64(&random);
        memset(bytes, 0xff, info->block_bytes); /* NaN in every scale, the last entry of every table */
        memset(bytes + info->block_bytes, 0, info->block_bytes);
        memset(bytes + 2 * info->block_bytes, 0x7f, info->block_bytes);
        memset(bytes + 3 * info->block_bytes, 0x80, info->block_bytes);
        memset(bytes + 4 * info->block_bytes, 0x7c, info->block_bytes);

        float *whole = decode_exact(type, bytes, n_values, 0),
              *shifted = decode_exact(type, bytes, n_values, 3);
        assert_true(same_bits(whole, shifted, n_values));
        for (size_t b = 0; b < N_BLOCKS; b++) {
            float *one = decode_exact(type, bytes + b * info->block_bytes, info->block_values, 1);
            assert_true(same_bits(one, whole + b * info->block_values, info->block_values));
            qn_free(one);
        }
        qn_free(whole), qn_free(shifted), qn_free(bytes);
    }
}

static void no_values_touch_no_memory(void **state)
{
    (void)state;
    for (size_t t = 0; t < N_WEIGHT_TYPES; t++) qn_decode_get(weight_types[t])(NULL, NULL, 0);
}

/* ---- tables ------------------------------------------------------------------------------------------- */

static void types_without_a_decoder(void **state)
{
    (void)state;
    size_t n_decoders = 0;
    for (int type = 0; type < QN_TYPE_LIMIT; type++)
        n_decoders += qn_decode_get((qn_tensor_type)type) != NULL;
    assert_int_equal(n_decoders, N_WEIGHT_TYPES);
    static const int others[] = {QN_TYPE_Q8_1, QN_TYPE_Q8_K,  QN_TYPE_I8, QN_TYPE_I16, QN_TYPE_I32,
                                 QN_TYPE_I64,  QN_TYPE_F64,   4,          5,           31,
                                 38,           QN_TYPE_LIMIT, -1,         0x7fffffff};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_true(qn_decode_get((qn_tensor_type)others[i]) == NULL);
}

/* FNV-1a over the unfolded tables, as an independent decoder has them (gguf-py, quants.py). */
static uint64_t fnv1a(const void *bytes, size_t n_bytes)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n_bytes; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
    return hash;
}

static void grids_are_the_published_ones(void **state)
{
    (void)state;
    assert_true(fnv1a(qn_iq2_xxs_grid, sizeof qn_iq2_xxs_grid) == 0xbb4ee025b5ac6e8eu);
    assert_true(fnv1a(qn_iq2_xs_grid, sizeof qn_iq2_xs_grid) == 0xc9b1ee61e79909bdu);
    assert_true(fnv1a(qn_iq2_s_grid, sizeof qn_iq2_s_grid) == 0x123edd38a3b62b90u);
    assert_true(fnv1a(qn_iq3_xxs_grid, sizeof qn_iq3_xxs_grid) == 0xdfa5dc83d6a155d5u);
    assert_true(fnv1a(qn_iq3_s_grid, sizeof qn_iq3_s_grid) == 0xfa37020c25b44829u);
    assert_true(fnv1a(qn_iq1_grid, sizeof qn_iq1_grid) == 0x6703ed863501ae2eu);
}

static void sign_patterns_have_an_even_number_of_signs(void **state)
{
    (void)state;
    for (unsigned s = 0; s < 128; s++) {
        assert_int_equal(qn_iq_signs(s) & 127, s);
        assert_int_equal(__builtin_popcount(qn_iq_signs(s)) % 2, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_files_decode_bit_for_bit),
        cmocka_unit_test(blocks_worked_out_by_hand),
        cmocka_unit_test(every_half_float_decodes_as_the_definition_says),
        cmocka_unit_test(eight_bit_scales),
        cmocka_unit_test(infinite_and_nan_scales_stay_in_their_block),
        cmocka_unit_test(any_bytes_decode),
        cmocka_unit_test(no_values_touch_no_memory),
        cmocka_unit_test(types_without_a_decoder),
        cmocka_unit_test(grids_are_the_published_ones),
        cmocka_unit_test(sign_patterns_have_an_even_number_of_signs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
