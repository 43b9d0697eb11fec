/* svg_plot.h: small charts as self-contained SVG 1.1 text: horizontal bars, or lines over a number. */
#ifndef QN_CLI_SVG_PLOT_H
#define QN_CLI_SVG_PLOT_H

#include "base/buffer.h"

typedef struct qn_plot_point {
    double x;            /* lines only */
    double y, low, high; /* low <= y <= high: the whisker; at least 0 */
} qn_plot_point;

typedef struct qn_plot_series {
    const char *name;
    const qn_plot_point *points; /* [n_points], x ascending */
    size_t n_points;
} qn_plot_series;

typedef struct qn_plot { /* texts are UTF-8; what XML cannot hold is left out */
    const char *title, *subtitle;
    const char *x_label, *y_label;
    const qn_plot_series *series;
    size_t n_series;
    bool log2_x; /* doublings of x lie equally far apart; every x is above 0 */
} qn_plot;

/* One bar a series: its first point. y_label stands below the bars; x_label is not used. */
void qn_svg_bars(qn_buffer *out, const qn_plot *plot);
void qn_svg_lines(qn_buffer *out, const qn_plot *plot);

#endif
