/* check_matrix.c: the matrix products: the reference against double precision, variants against the
 * reference with ==, whatever the shape, the contents, and the split of the work. */
#include "check_matrix.h"

#include "quant/decode.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* A product and all it needs. */
typedef struct qn_case {
    qn_tensor_type type;
    size_t n_rows, n_cols, n_tokens, n_act; /* n_act >= n_tokens activation rows */
    uint8_t *file;                          /* the tensor as in a file */
    uint8_t *packed;
    qn_matrix w;
    float *x;
    uint8_t *act;
    float *bias;
    int32_t *act_index, *y_index;
    qn_matmul m; /* y not yet set */
} qn_case;

static void fill_x(float *x, size_t n, check_fill fill)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = check_random_float() * 4.0f;
        if (fill == FILL_LOWEST) x[i] = -3.0f;
        if (fill == FILL_HIGHEST) x[i] = 3.0f;
        if (fill == FILL_ZERO_SCALE && check_random() % 2 == 0) x[i] = 0.0f;
        if (fill == FILL_HUGE) x[i] = check_random() & 1 ? FLT_MAX : -FLT_MAX;
        if (fill == FILL_INFINITE && check_random() % 100 == 0) x[i] = INFINITY;
        if (fill == FILL_NAN && check_random() % 100 == 0) x[i] = NAN;
    }
}

static void make_case(qn_case *c, qn_tensor_type type, size_t n_rows, size_t n_cols, size_t n_tokens,
                      check_fill fill, bool with_extras)
{
    const size_t file_bytes = n_rows * qn_row_bytes(type, n_cols);
    *c = (qn_case){
        .type = type, .n_rows = n_rows, .n_cols = n_cols, .n_tokens = n_tokens, .n_act = n_tokens + 3};
    c->file = check_alloc(file_bytes);
    check_fill_blocks(type, c->file, n_rows * n_cols, fill);
    c->w = (qn_matrix){type, n_rows, n_cols, c->file, qn_matrix_panel_bytes(type, n_cols)};
    if (qn_matrix_is_packed(type)) {
        const size_t n_panels = qn_matrix_panels(n_rows), middle = n_panels / 2;
        c->packed = check_alloc(n_panels * c->w.panel_bytes);
        qn_matrix_pack(type, n_rows, n_cols, c->file, c->packed, middle, n_panels);
        qn_matrix_pack(type, n_rows, n_cols, c->file, c->packed, 0, middle);
        c->w.data = c->packed;
    }
    const qn_act_format format = qn_matrix_act_format(type);
    const size_t row_bytes = qn_act_row_bytes(format, n_cols);
    c->x = check_alloc(c->n_act * n_cols * sizeof *c->x);
    c->act = check_alloc(c->n_act * row_bytes);
    fill_x(c->x, c->n_act * n_cols, fill);
    for (size_t t = 0; t < c->n_act; t++)
        qn_kernels_scalar.act_row[format](c->act + t * row_bytes, c->x + t * n_cols, n_cols);
    c->m = (qn_matmul){.w = &c->w, .act = c->act, .y_stride = n_rows};
    if (!with_extras) return;
    c->bias = check_alloc(n_rows * sizeof *c->bias);
    c->act_index = check_alloc(n_tokens * sizeof *c->act_index);
    c->y_index = check_alloc(n_tokens * sizeof *c->y_index);
    for (size_t i = 0; i < n_rows; i++) c->bias[i] = check_random_float();
    for (size_t t = 0; t < n_tokens; t++) {
        c->act_index[t] = (int32_t)check_random_below(c->n_act);
        c->y_index[t] = (int32_t)(n_tokens - 1 - t);
    }
    c->m.bias = c->bias;
    c->m.act_index = c->act_index;
    c->m.y_index = c->y_index;
    c->m.add = true;
    c->m.y_stride = n_rows + check_random_below(20);
}

static void free_case(qn_case *c)
{
    free(c->file), free(c->packed), free(c->x), free(c->act), free(c->bias), free(c->act_index),
        free(c->y_index);
}

static size_t y_count(const qn_case *c)
{
    return (c->n_tokens - 1) * c->m.y_stride + c->n_rows;
}

/* A fresh y; what it holds is added to, and what lies between the rows must stay. */
static float *make_y(const qn_case *c)
{
    float *y = check_alloc(y_count(c) * sizeof *y);
    for (size_t i = 0; i < y_count(c); i++) y[i] = (float)(i % 17) * 0.25f - 2.0f;
    return y;
}

/* Computes with random cuts into panel ranges and token ranges when `cut`. */
static float *compute(const qn_case *c, const qn_kernels *k, bool cut)
{
    qn_matmul m = c->m;
    const size_t n_panels = qn_matrix_panels(c->n_rows);
    m.y = make_y(c);
    for (size_t p = 0, p_end; p < n_panels; p = p_end) {
        p_end = cut ? p + 1 + check_random_below(n_panels - p) : n_panels;
        for (size_t t = 0, t_end; t < c->n_tokens; t = t_end) {
            t_end = cut ? t + 1 + check_random_below(c->n_tokens - t) : c->n_tokens;
            k->matmul[c->type](&m, p, p_end, t, t_end);
        }
    }
    return m.y;
}

static void compare(const qn_case *c, const float *got, const float *want, const char *label,
                    const char *what)
{
    for (size_t i = 0; i < y_count(c); i++) {
        if (check_same(got[i], want[i])) continue;
        check_fail("%s %s rows=%zu cols=%zu tokens=%zu %s: y[%zu] is %.9g, expected %.9g", label,
                   qn_tensor_type_get((uint32_t)c->type)->name, c->n_rows, c->n_cols, c->n_tokens, what, i,
                   (double)got[i], (double)want[i]);
        return;
    }
}

static size_t column_unit(qn_tensor_type type)
{
    const size_t block = qn_tensor_type_get((uint32_t)type)->block_values;
    return block == 1 ? 1 + check_random_below(70) : block;
}

static bool selected(qn_tensor_type type, const char *only)
{
    const char *name = qn_tensor_type_get((uint32_t)type)->name;
    return name != NULL && qn_matrix_supported(type, 256) && (only == NULL || strcmp(only, name) == 0);
}

static void check_act_rows(const qn_kernels *k, const char *label)
{
    for (int format = 0; format < QN_ACT_FORMATS; format++) {
        for (int i = 0; i < 200; i++) {
            const size_t n_cols = format == QN_ACT_Q8_32 ? 32 * (1 + check_random_below(20))
                                                         : 256 * (1 + check_random_below(4)),
                         bytes = qn_act_row_bytes((qn_act_format)format, n_cols);
            float *x = check_alloc(n_cols * sizeof *x);
            uint8_t *got = check_alloc(bytes), *want = check_alloc(bytes);
            memset(got, 0, bytes);
            memset(want, 0, bytes);
            fill_x(x, n_cols, (check_fill)(i % FILL_KINDS));
            if (i % 11 == 0)
                for (size_t j = 0; j < n_cols; j++) x[j] *= 1e-30f;
            if (i % 13 == 0)
                for (size_t j = 0; j < n_cols; j++) x[j] *= 1e-38f;
            if (i % 5 == 0)
                for (size_t j = 0; j < n_cols; j++) x[j] = rintf(x[j] * 31) + 0.5f; /* ties */
            if (i % 3 == 0) { /* one block unlike the others */
                static const float odd[] = {0.0f, INFINITY, NAN, 1e-38f, 0x1p-100f};
                const size_t at = 32 * check_random_below(n_cols / 32);
                for (size_t j = at; j < at + 32; j++) x[j] = odd[i / 3 % 5];
            }
            k->act_row[format](got, x, n_cols);
            qn_kernels_scalar.act_row[format](want, x, n_cols);
            if (memcmp(got, want, bytes) != 0) check_fail("%s act_row format %d, case %d", label, format, i);
            free(x), free(got), free(want);
        }
    }
}

static void check_case(const qn_kernels *k, const char *label, qn_tensor_type type, size_t n_rows,
                       size_t n_cols, size_t n_tokens, check_fill fill, bool is_indexed)
{
    qn_case c;
    make_case(&c, type, n_rows, n_cols, n_tokens, fill, is_indexed);
    float *want = compute(&c, &qn_kernels_scalar, false), *whole = compute(&c, k, false),
          *cut = compute(&c, k, true);
    compare(&c, whole, want, label, check_fill_names[fill]);
    compare(&c, cut, want, label, "in pieces");
    free(want), free(whole), free(cut);
    free_case(&c);
}

void check_matrix_variant(const qn_kernels *k, const char *label, const char *only)
{
    check_act_rows(k, label);
    for (int id = 0; id < QN_TYPE_LIMIT; id++) {
        const qn_tensor_type type = (qn_tensor_type)id;
        if (!selected(type, only)) continue;
        const size_t unit = column_unit(type);
        for (size_t i = 0; i < 60; i++) {
            const size_t n_tokens = i < 20 ? i + 1 : 1 + check_random_below(40),
                         n_cols = unit * (1 + check_random_below(i % 8 == 0 ? 2048 / unit + 1 : 4));
            check_case(k, label, type, i < 34 ? i + 1 : 1 + check_random_below(80), n_cols, n_tokens,
                       i % 3 == 2 ? (check_fill)(i / 3 % FILL_KINDS) : FILL_RANDOM, i % 2 == 1);
        }
        /* more than kernels take at once of anything, also where rows are picked by index */
        check_case(k, label, type, 16 * 9 + 1, 256, 257 + check_random_below(20), FILL_RANDOM, false);
        check_case(k, label, type, 16 + 1, 512, 65 + check_random_below(20), FILL_RANDOM, true);
    }
}

/* The activations that the kernel meets, as numbers. */
static double act_value(qn_act_format format, const uint8_t *row, size_t k)
{
    float scale;
    int8_t q;
    if (format == QN_ACT_F32) {
        memcpy(&scale, row + 4 * k, sizeof scale);
        return (double)scale;
    }
    const size_t block = format == QN_ACT_Q8_32 ? 32 : 256, block_bytes = format == QN_ACT_Q8_32 ? 48 : 384;
    const uint8_t *b = row + k / block * block_bytes;
    memcpy(&q, b + k % block, 1);
    memcpy(&scale, b + block, sizeof scale);
    return (double)scale * q;
}

/* |computed - exact| <= gamma(n) * sum |w x|, for n roundings in a chain (Higham, Accuracy and Stability
 * of Numerical Algorithms, 2002, ch. 3). Weights with a minimum are a difference: both parts count. */
static void check_output(const qn_case *c, const float *w, const uint8_t *row, size_t r, float got)
{
    const qn_tensor_type_info *t = qn_tensor_type_get((uint32_t)c->type);
    const qn_act_format format = qn_matrix_act_format(c->type);
    double exact = 0, magnitude = 0;
    for (size_t k = 0; k < c->n_cols; k++) {
        const size_t block = (r * c->n_cols + k) / t->block_values;
        const double a = act_value(format, row, k),
                     minimum = check_block_min(c->type, c->file + block * t->block_bytes);
        exact += (double)w[k] * a;
        magnitude += (fabs((double)w[k]) + 2 * minimum) * fabs(a);
    }
    const size_t chain = format == QN_ACT_F32     ? c->n_cols
                         : format == QN_ACT_Q8_32 ? c->n_cols / 32 * 2
                                                  : c->n_cols / 256;
    const double bound = (double)(chain + 10) * 0.5 * (double)FLT_EPSILON * magnitude + 1e-30;
    if (!(fabs((double)got - exact) <= bound))
        check_fail("reference %s rows=%zu cols=%zu row %zu: %.9g, exact %.9g, bound %.3g", t->name, c->n_rows,
                   c->n_cols, r, (double)got, exact, bound);
}

/* A quantized activation is within half a step of the number it stands for. */
static void check_quantized(const qn_case *c)
{
    const qn_act_format format = qn_matrix_act_format(c->type);
    const size_t row_bytes = qn_act_row_bytes(format, c->n_cols), block = format == QN_ACT_Q8_32 ? 32 : 256;
    if (format == QN_ACT_F32) return;
    for (size_t t = 0; t < c->n_act; t++) {
        for (size_t k = 0; k < c->n_cols; k++) {
            float max = 0;
            for (size_t i = k / block * block; i < k / block * block + block; i++)
                max = fmaxf(max, fabsf(c->x[t * c->n_cols + i]));
            const double error =
                fabs(act_value(format, c->act + t * row_bytes, k) - (double)c->x[t * c->n_cols + k]);
            if (error > (double)max / 127 * 0.5001)
                check_fail("activation %zu of row %zu is off by %g", k, t, error);
        }
    }
}

void check_matrix_reference(const char *only)
{
    for (int id = 0; id < QN_TYPE_LIMIT; id++) {
        const qn_tensor_type type = (qn_tensor_type)id;
        if (!selected(type, only)) continue;
        if (!qn_matrix_supported(type, 768) || qn_matrix_supported(type, 0))
            check_fail("type %d: supported widths", id);
        for (size_t i = 0; i < 6; i++) {
            qn_case c;
            const size_t unit = column_unit(type), n_cols = unit * (1 + check_random_below(1024 / unit));
            make_case(&c, type, 1 + check_random_below(40), n_cols, 1 + check_random_below(5), FILL_RANDOM,
                      false);
            check_quantized(&c);
            float *y = compute(&c, &qn_kernels_scalar, false), *w = check_alloc(n_cols * sizeof *w);
            const size_t row_bytes = qn_act_row_bytes(qn_matrix_act_format(type), n_cols);
            for (size_t r = 0; r < c.n_rows; r++) {
                qn_decode_get(type)(c.file + r * qn_row_bytes(type, n_cols), w, n_cols);
                for (size_t t = 0; t < c.n_tokens; t++)
                    check_output(&c, w, c.act + t * row_bytes, r, y[t * c.n_rows + r]);
            }
            free(y), free(w);
            free_case(&c);
        }
    }
}
