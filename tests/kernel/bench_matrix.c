/* bench_matrix.c: how fast the products are: one token over a matrix that no cache holds, and over one that
 * the second-level cache holds (bytes of packed weights per second); and many tokens (operations per second,
 * a multiplication and an addition being two). One thread; best CPU time. */
#include "check_matrix.h"

#include <string.h>

enum { CACHED_COLUMNS = 1024 };

typedef struct bench_call {
    const qn_kernels *k;
    qn_matmul m;
    size_t n_panels, n_tokens;
} bench_call;

static void run(void *user)
{
    const bench_call *b = user;
    b->k->matmul[b->m.w->type](&b->m, 0, b->n_panels, 0, b->n_tokens);
}

/* Numbers as a file may have them: subnormal ones, such as random bytes would be as scales of MXFP4, are
 * slow. */
static void fill_panel(uint8_t *panel, qn_tensor_type type, size_t n_cols)
{
    const size_t bytes = qn_matrix_panel_bytes(type, n_cols);
    uint8_t *rows = check_alloc(bytes);
    check_fill_blocks(type, rows, 16 * n_cols, FILL_RANDOM);
    if (qn_matrix_is_packed(type)) qn_matrix_pack(type, 16, n_cols, rows, panel, 0, 1);
    else memcpy(panel, rows, bytes);
    free(rows);
}

/* Seconds of one product. */
static double measure(const qn_kernels *k, qn_tensor_type type, size_t n_rows, size_t n_cols, size_t n_tokens)
{
    const size_t panel_bytes = qn_matrix_panel_bytes(type, n_cols), n_panels = n_rows / 16;
    const qn_act_format format = qn_matrix_act_format(type);
    const size_t row_bytes = qn_act_row_bytes(format, n_cols);
    uint8_t *data = check_alloc(n_panels * panel_bytes), *act = check_alloc(n_tokens * row_bytes);
    float *y = check_alloc(n_tokens * n_rows * sizeof *y), *x = check_alloc(n_cols * sizeof *x);
    fill_panel(data, type, n_cols);
    for (size_t i = 1; i < n_panels; i++) memcpy(data + i * panel_bytes, data, panel_bytes);
    for (size_t i = 0; i < n_cols; i++) x[i] = check_random_float();
    for (size_t t = 0; t < n_tokens; t++) k->act_row[format](act + t * row_bytes, x, n_cols);
    const qn_matrix w = {type, n_rows, n_cols, data, panel_bytes};
    bench_call b = {k, {.w = &w, .act = act, .y = y, .y_stride = n_rows}, n_panels, n_tokens};
    const double seconds = check_best_seconds(run, &b);
    free(data), free(act), free(y), free(x);
    return seconds;
}

void bench_matrix(const qn_kernels *k, const char *only)
{
    static const size_t tokens[] = {2, 4, 8, 9, 12, 16, 128};
    const bool slow = k == &qn_kernels_scalar;
    printf("%-8s %-8s %9s %9s", k->isa, "type", "1: GB/s", "cached");
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) printf("  %4zu: Gops/s", tokens[i]);
    printf("  (tokens at once)\n");
    for (int id = 0; id < QN_TYPE_LIMIT; id++) {
        const qn_tensor_type type = (qn_tensor_type)id;
        const char *name = qn_tensor_type_get((uint32_t)type)->name;
        if (name == NULL || !qn_matrix_supported(type, 256) || (only != NULL && strcmp(only, name) != 0))
            continue;
        const size_t n_cols = 2048,
                     n_rows = slow ? 64 : 16 * ((size_t)100000000 / qn_matrix_panel_bytes(type, n_cols));
        printf("%-8s %-8s %9.2f", k->isa, name,
               1e-9 * (double)(n_rows / 16 * qn_matrix_panel_bytes(type, n_cols)) /
                   measure(k, type, n_rows, n_cols, 1));
        const size_t cached_bytes =
            qn_matrix_panel_bytes(type, CACHED_COLUMNS); /* of a panel; four at once */
        const size_t cached_panels = slow ? 1 : (size_t)320000 / cached_bytes / 4 * 4;
        printf(" %9.2f", 1e-9 * (double)(cached_panels * cached_bytes) /
                             measure(k, type, cached_panels * 16, CACHED_COLUMNS, 1));
        for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
            const size_t rows = slow ? 32 : 512;
            printf("  %12.1f",
                   2e-9 * (double)(rows * n_cols * tokens[i]) / measure(k, type, rows, n_cols, tokens[i]));
        }
        printf("\n");
        fflush(stdout);
    }
}
