/* bench_plot.c: the rows of `quern bench` as a picture: lines over what varies (depth, threads, batch or
 * sequences; where several do, over the one with the most values), else a bar for every row. */
#include "cli/bench.h"
#include "cli/svg_plot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef enum axis { AXIS_DEPTH, AXIS_THREADS, AXIS_BATCH, AXIS_PARALLEL, AXES, AXIS_NONE = AXES } axis;

static const struct {
    const char *label;
    bool log2;
} axes[AXES] = {{"depth, tokens that the sequence already holds", false},
                {"threads", false},
                {"batch, tokens of a step", true},
                {"sequences generating at once", true}};

static uint32_t value_on(const bench_case *c, axis a)
{
    switch (a) {
    case AXIS_DEPTH:
        return c->depth;
    case AXIS_THREADS:
        return (uint32_t)c->n_threads;
    case AXIS_BATCH:
        return c->n_batch;
    case AXIS_PARALLEL:
        return c->n_sequences;
    case AXES:
        break;
    }
    return 0;
}

static size_t distinct_values(const bench *b, axis a)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_rows; i++) {
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = value_on(&b->rows[i].what, a) == value_on(&b->rows[k].what, a);
        n += !seen;
    }
    return n;
}

static axis axis_of(const bench *b)
{
    axis best = AXIS_NONE;
    size_t most = 1;
    for (int a = 0; a < AXES; a++) {
        const size_t n = distinct_values(b, (axis)a);
        if (n > most) most = n, best = (axis)a;
    }
    return best;
}

static bool cache_varies(const bench *b)
{
    for (size_t i = 1; i < b->n_rows; i++)
        if (strcmp(b->rows[i].cache_type, b->rows[0].cache_type) != 0) return true;
    return false;
}

/* What tells this row from others, but for its place on the axis. */
static void name_row(const bench *b, const bench_row *row, axis on, char *name, size_t size)
{
    int n = snprintf(name, size, "%s", row->test);
    for (int a = 0; a < AXES; a++) {
        if ((axis)a == on || distinct_values(b, (axis)a) < 2 || n < 0 || (size_t)n + 32 > size) continue;
        n += snprintf(name + n, size - (size_t)n, ", ");
        if (a == AXIS_DEPTH) n += snprintf(name + n, size - (size_t)n, "depth %u", row->what.depth);
        if (a == AXIS_THREADS)
            n += snprintf(name + n, size - (size_t)n, "%d thread%s", row->what.n_threads,
                          row->what.n_threads == 1 ? "" : "s");
        if (a == AXIS_BATCH) n += snprintf(name + n, size - (size_t)n, "batch %u", row->what.n_batch);
        if (a == AXIS_PARALLEL)
            n += snprintf(name + n, size - (size_t)n, "%u sequences", row->what.n_sequences);
    }
    if (cache_varies(b) && n >= 0 && (size_t)n < size)
        snprintf(name + n, size - (size_t)n, ", cache %s", row->cache_type);
}

typedef struct chart {
    char (*names)[160];     /* [n_rows] */
    qn_plot_series *series; /* [n_rows] at most */
    qn_plot_point *points;  /* [n_rows] */
    size_t n_series;
} chart;

static int by_x(const void *a, const void *b)
{
    const double x = ((const qn_plot_point *)a)->x, y = ((const qn_plot_point *)b)->x;
    return (x > y) - (x < y);
}

/* Rows of the same name make a series, in the order in which the names came. */
static void fill(chart *c, const bench *b, axis on)
{
    for (size_t i = 0; i < b->n_rows; i++) name_row(b, &b->rows[i], on, c->names[i], sizeof c->names[i]);
    size_t n_points = 0;
    for (size_t i = 0; i < b->n_rows; i++) {
        bool seen = false;
        for (size_t k = 0; k < i && !seen && on != AXIS_NONE; k++)
            seen = strcmp(c->names[i], c->names[k]) == 0;
        if (seen) continue;
        qn_plot_point *points = c->points + n_points;
        size_t n = 0;
        for (size_t k = i; k < b->n_rows; k++) {
            const bench_row *r = &b->rows[k];
            if (strcmp(c->names[i], c->names[k]) != 0 || (on == AXIS_NONE && k > i)) continue;
            points[n++] =
                (qn_plot_point){.x = value_on(&r->what, on), .y = r->median, .low = r->min, .high = r->max};
        }
        qsort(points, n, sizeof *points, by_x);
        c->series[c->n_series++] = (qn_plot_series){.name = c->names[i], .points = points, .n_points = n};
        n_points += n;
    }
}

static void subtitle_of(const bench *b, axis on, char *text, size_t size)
{
    int n = snprintf(text, size, "%s, %.1f M parameters, %s", b->info.file_type,
                     (double)b->info.n_parameters * 1e-6, b->info.instruction_set);
    for (int a = 0; a < AXES; a++) {
        const uint32_t value = value_on(&b->rows[0].what, (axis)a);
        if ((axis)a == on || distinct_values(b, (axis)a) > 1 || n < 0 || (size_t)n + 32 > size) continue;
        if (a == AXIS_DEPTH && value > 0) n += snprintf(text + n, size - (size_t)n, ", depth %u", value);
        if (a == AXIS_THREADS)
            n += snprintf(text + n, size - (size_t)n, ", %u thread%s", value, value == 1 ? "" : "s");
        if (a == AXIS_BATCH) n += snprintf(text + n, size - (size_t)n, ", batch %u", value);
        if (a == AXIS_PARALLEL && value > 1)
            n += snprintf(text + n, size - (size_t)n, ", %u sequences", value);
    }
    if (!cache_varies(b) && n >= 0 && (size_t)n < size)
        n += snprintf(text + n, size - (size_t)n, ", cache %s", b->rows[0].cache_type);
    if (n >= 0 && (size_t)n < size)
        snprintf(text + n, size - (size_t)n, "; medians of %ld run%s, whiskers from least to greatest",
                 b->reps, b->reps == 1 ? "" : "s");
}

static int write_file(const char *path, qn_buffer *text)
{
    if (text->failed) return qn_cli_fail_text("%s: no memory", path);
    FILE *f = fopen(path, "wb");
    bool ok = f != NULL && fwrite(text->data, 1, text->n_bytes, f) == text->n_bytes;
    if (f != NULL) ok &= fclose(f) == 0;
    if (ok) return QN_EXIT_OK;
    return qn_cli_fail_text("%s: %s", path, errno != 0 ? strerror(errno) : "could not be written");
}

int bench_plot(const bench *b)
{
    const axis on = axis_of(b);
    chart c = {.names = calloc(b->n_rows, sizeof *c.names),
               .series = calloc(b->n_rows, sizeof *c.series),
               .points = calloc(b->n_rows, sizeof *c.points)};
    char subtitle[256];
    qn_buffer text = {0};
    int code;
    if (c.names == NULL || c.series == NULL || c.points == NULL) {
        code = qn_cli_fail_text("%s: no memory", b->plot_path);
    } else {
        fill(&c, b, on);
        subtitle_of(b, on, subtitle, sizeof subtitle);
        const qn_plot plot = {.title = b->info.name[0] != '\0' ? b->info.name : "model",
                              .subtitle = subtitle,
                              .x_label = on != AXIS_NONE ? axes[on].label : "",
                              .y_label = "tokens/s",
                              .series = c.series,
                              .n_series = c.n_series,
                              .log2_x = on != AXIS_NONE && axes[on].log2};
        if (on == AXIS_NONE) qn_svg_bars(&text, &plot);
        else qn_svg_lines(&text, &plot);
        code = write_file(b->plot_path, &text);
    }
    qn_buffer_deinit(&text);
    free(c.names), free(c.series), free(c.points);
    return code;
}
