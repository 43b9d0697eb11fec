/* svg_plot.c: charts as SVG. Widths of text are estimated from the number of characters, because there is no
 * font here to ask; everything that may be long gets room by that estimate. Colours change with the reader's
 * scheme (prefers-color-scheme), in light ones where a program does not know of schemes. */
#include "cli/svg_plot.h"

#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 860, MARGIN = 28, N_COLOURS = 8, MAX_TICKS = 16 };

static const char style[] =
    "<style>\n"
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;font-size:13px;"
    "fill:#24292f}\n"
    ".title{font-size:19px;font-weight:600}.muted{fill:#59636e}.back{fill:#ffffff}\n"
    ".grid{stroke:#d8dee4;stroke-width:1}.axis{stroke:#8c959f;stroke-width:1}\n"
    ".whisker{stroke:#24292f;stroke-width:1.4;stroke-opacity:.65;fill:none}\n"
    ".line{fill:none;stroke-width:2.5;stroke-linejoin:round;stroke-linecap:round}\n"
    ".f0{fill:#2f6fb7}.f1{fill:#c8572a}.f2{fill:#2c8a57}.f3{fill:#8250b8}.f4{fill:#b07d10}.f5{fill:#bf3f78}"
    ".f6{fill:#3b8490}.f7{fill:#75685a}\n"
    ".s0{stroke:#2f6fb7}.s1{stroke:#c8572a}.s2{stroke:#2c8a57}.s3{stroke:#8250b8}.s4{stroke:#b07d10}"
    ".s5{stroke:#bf3f78}.s6{stroke:#3b8490}.s7{stroke:#75685a}\n"
    "@media (prefers-color-scheme:dark){\n"
    "text{fill:#e6edf3}.muted{fill:#9aa5b1}.back{fill:#0f141a}\n"
    ".grid{stroke:#2b333c}.axis{stroke:#6b7682}.whisker{stroke:#e6edf3}\n"
    ".f0{fill:#5b9ee8}.f1{fill:#f08a5d}.f2{fill:#58c48a}.f3{fill:#b48cf0}.f4{fill:#e0b13f}.f5{fill:#f07ab0}"
    ".f6{fill:#6cc0cd}.f7{fill:#b5a692}\n"
    ".s0{stroke:#5b9ee8}.s1{stroke:#f08a5d}.s2{stroke:#58c48a}.s3{stroke:#b48cf0}.s4{stroke:#e0b13f}"
    ".s5{stroke:#f07ab0}.s6{stroke:#6cc0cd}.s7{stroke:#b5a692}\n"
    "}\n"
    "</style>\n";

/* Text as XML text. Not-UTF-8 as a whole, or control characters in it, become question marks. */
static void put_text(qn_buffer *out, const char *text)
{
    const bool valid = qn_utf8_valid(text, strlen(text));
    for (const char *p = text; *p != '\0'; p++) {
        const unsigned char c = (unsigned char)*p;
        if (c == '<') qn_buffer_puts(out, "&lt;");
        else if (c == '>') qn_buffer_puts(out, "&gt;");
        else if (c == '&') qn_buffer_puts(out, "&amp;");
        else if (c == '"') qn_buffer_puts(out, "&quot;");
        else qn_buffer_putc(out, c < 0x20 || c == 0x7f || (c >= 0x80 && !valid) ? '?' : *p);
    }
}

static void label(qn_buffer *out, double x, double y, const char *anchor, const char *class, const char *text)
{
    qn_buffer_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor,
                     class);
    put_text(out, text);
    qn_buffer_puts(out, "</text>\n");
}

static void line(qn_buffer *out, double x1, double y1, double x2, double y2, const char *class)
{
    qn_buffer_printf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1,
                     x2, y2, class);
}

static double text_width(const char *text) /* of 13 pixels */
{
    double width = 0;
    for (const char *p = text; *p != '\0'; p++) width += ((unsigned char)*p & 0xc0) != 0x80 ? 8 : 0;
    return width;
}

/* A round step that cuts [0, most] into at most `pieces` parts. */
static double tick_step(double most, int pieces)
{
    static const double rounds[] = {1, 2, 2.5, 5, 10};
    if (!(most > 0) || !isfinite(most)) return 1;
    const double least = most / pieces, power = pow(10, floor(log10(least)));
    for (size_t i = 0; i < sizeof rounds / sizeof rounds[0]; i++)
        if (rounds[i] * power >= least * 0.999999) return rounds[i] * power;
    return 10 * power;
}

static void number_text(char *text, size_t size, double v)
{
    const double a = fabs(v);
    if (a == floor(a) && a < 1e6) snprintf(text, size, "%.0f", v);
    else snprintf(text, size, a < 10 ? "%.2f" : a < 100 ? "%.1f" : a < 1e6 ? "%.0f" : "%.3g", v);
}

static double greatest(const qn_plot *p)
{
    double most = 0;
    for (size_t s = 0; s < p->n_series; s++)
        for (size_t i = 0; i < p->series[s].n_points; i++)
            if (p->series[s].points[i].high > most) most = p->series[s].points[i].high;
    return most > 0 && isfinite(most) ? most : 1;
}

static void begin(qn_buffer *out, const qn_plot *p, double height)
{
    qn_buffer_printf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" viewBox=\"0 0 %d "
        "%.0f\" role=\"img\">\n<title>",
        WIDTH, height, WIDTH, height);
    put_text(out, p->title);
    qn_buffer_puts(out, "</title>\n");
    qn_buffer_puts(out, style);
    qn_buffer_printf(out, "<rect x=\"0\" y=\"0\" width=\"%d\" height=\"%.0f\" rx=\"8\" class=\"back\"/>\n",
                     WIDTH, height);
    label(out, MARGIN, 40, "start", "title", p->title);
    label(out, MARGIN, 62, "start", "muted", p->subtitle);
}

void qn_svg_bars(qn_buffer *out, const qn_plot *p)
{
    enum { TOP = 88, ROW = 34, BAR = 20, VALUE = 76 };
    double names = 0;
    for (size_t s = 0; s < p->n_series; s++)
        if (text_width(p->series[s].name) > names) names = text_width(p->series[s].name);
    if (names > WIDTH * 0.5) names = WIDTH * 0.5;
    const double left = MARGIN + names + 14, right = WIDTH - MARGIN - VALUE;
    const double bottom = TOP + (double)p->n_series * ROW, step = tick_step(greatest(p), 6);
    const double top_value = ceil(greatest(p) / step - 1e-9) * step, scale = (right - left) / top_value;
    begin(out, p, bottom + 58);
    for (int i = 0; i <= MAX_TICKS && i * step <= top_value * 1.000001; i++) {
        char text[32];
        const double x = left + i * step * scale;
        number_text(text, sizeof text, i * step);
        line(out, x, TOP - 4, x, bottom + 4, i == 0 ? "axis" : "grid");
        label(out, x, bottom + 22, "middle", "muted", text);
    }
    label(out, (left + right) / 2, bottom + 44, "middle", "muted", p->y_label);
    for (size_t s = 0; s < p->n_series; s++) {
        const qn_plot_point *v = &p->series[s].points[0];
        const double y = TOP + (double)s * ROW + (ROW - BAR) / 2.0, middle = y + BAR / 2.0;
        char text[32];
        number_text(text, sizeof text, v->y);
        label(out, left - 10, middle + 4.5, "end", "name", p->series[s].name);
        qn_buffer_printf(out,
                         "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" rx=\"3\" class=\"f0\"/>\n",
                         left, y, v->y * scale, BAR);
        qn_buffer_printf(out, "<path d=\"M%.1f %.1fv8m0 -4H%.1fm0 -4v8\" class=\"whisker\"/>\n",
                         left + v->low * scale, middle - 4, left + v->high * scale);
        label(out, left + v->high * scale + 9, middle + 4.5, "start", "value", text);
    }
    qn_buffer_puts(out, "</svg>\n");
}

typedef struct frame { /* of a chart of lines: where numbers lie */
    double left, right, top, bottom, least_x, most_x, most_y;
    bool log2_x;
} frame;

static double x_of(const frame *f, double x)
{
    const double low = f->log2_x ? log2(f->least_x) : f->least_x,
                 high = f->log2_x ? log2(f->most_x) : f->most_x;
    if (high <= low) return (f->left + f->right) / 2;
    return f->left + 14 + ((f->log2_x ? log2(x) : x) - low) / (high - low) * (f->right - f->left - 28);
}

static double y_of(const frame *f, double y)
{
    return f->bottom - y / f->most_y * (f->bottom - f->top);
}

static void x_range(const qn_plot *p, frame *f)
{
    f->least_x = INFINITY, f->most_x = -INFINITY;
    for (size_t s = 0; s < p->n_series; s++)
        for (size_t i = 0; i < p->series[s].n_points; i++) {
            const double x = p->series[s].points[i].x;
            if (x < f->least_x) f->least_x = x;
            if (x > f->most_x) f->most_x = x;
        }
}

/* Every x of a point gets its number, from left to right, where it does not run into the one before. */
static void x_ticks(qn_buffer *out, const qn_plot *p, const frame *f)
{
    double last_right = -1, done = -INFINITY;
    for (;;) {
        double next = INFINITY;
        for (size_t s = 0; s < p->n_series; s++)
            for (size_t i = 0; i < p->series[s].n_points; i++)
                if (p->series[s].points[i].x > done && p->series[s].points[i].x < next)
                    next = p->series[s].points[i].x;
        if (!isfinite(next)) break;
        done = next;
        char text[32];
        number_text(text, sizeof text, next);
        const double x = x_of(f, next), half = text_width(text) / 2;
        line(out, x, f->bottom, x, f->bottom + 5, "axis");
        if (x - half < last_right + 6) continue;
        label(out, x, f->bottom + 21, "middle", "muted", text);
        last_right = x + half;
    }
}

static void draw_series(qn_buffer *out, const qn_plot_series *s, const frame *f, size_t colour)
{
    qn_buffer_puts(out, "<path d=\"");
    for (size_t i = 0; i < s->n_points; i++)
        qn_buffer_printf(out, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(f, s->points[i].x),
                         y_of(f, s->points[i].y));
    qn_buffer_printf(out, "\" class=\"line s%zu\"/>\n", colour % N_COLOURS);
    for (size_t i = 0; i < s->n_points; i++) {
        const double x = x_of(f, s->points[i].x), y = y_of(f, s->points[i].y);
        qn_buffer_printf(out, "<path d=\"M%.1f %.1fh8m-4 0V%.1fm-4 0h8\" class=\"whisker\"/>\n", x - 4,
                         y_of(f, s->points[i].high), y_of(f, s->points[i].low));
        qn_buffer_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" class=\"f%zu\"/>\n", x, y,
                         colour % N_COLOURS);
    }
}

/* Names with their colours, in as many lines as they need; returns the height. */
static double legend(qn_buffer *out, const qn_plot *p, double top)
{
    double x = MARGIN, y = top;
    for (size_t s = 0; s < p->n_series; s++) {
        const double width = 24 + text_width(p->series[s].name) + 22;
        if (x > MARGIN && x + width > WIDTH - MARGIN) x = MARGIN, y += 22;
        qn_buffer_printf(out,
                         "<rect x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"14\" rx=\"3\" class=\"f%zu\"/>\n",
                         x, y - 11.5, s % N_COLOURS);
        label(out, x + 21, y, "start", "name", p->series[s].name);
        x += width;
    }
    return y - top + 22;
}

static double legend_height(const qn_plot *p)
{
    qn_buffer unused = {0};
    const double height = legend(&unused, p, 0);
    qn_buffer_deinit(&unused);
    return height;
}

void qn_svg_lines(qn_buffer *out, const qn_plot *p)
{
    enum { LEGEND = 92, PLOT = 360 };
    const double step = tick_step(greatest(p), 6), plot_top = LEGEND + legend_height(p) + 6;
    frame f = {.left = MARGIN + 62, .right = WIDTH - MARGIN, .top = plot_top, .bottom = plot_top + PLOT};
    f.most_y = ceil(greatest(p) / step - 1e-9) * step;
    x_range(p, &f);
    f.log2_x = p->log2_x && f.least_x > 0;
    begin(out, p, f.bottom + 62);
    legend(out, p, LEGEND);
    for (int i = 0; i <= MAX_TICKS && i * step <= f.most_y * 1.000001; i++) {
        char text[32];
        const double y = y_of(&f, i * step);
        number_text(text, sizeof text, i * step);
        line(out, f.left, y, f.right, y, i == 0 ? "axis" : "grid");
        label(out, f.left - 9, y + 4.5, "end", "muted", text);
    }
    x_ticks(out, p, &f);
    label(out, (f.left + f.right) / 2, f.bottom + 46, "middle", "muted", p->x_label);
    qn_buffer_printf(out, "<g transform=\"translate(%d %.1f) rotate(-90)\">", MARGIN + 4,
                     (f.top + f.bottom) / 2);
    label(out, 0, 0, "middle", "muted", p->y_label);
    qn_buffer_puts(out, "</g>\n");
    for (size_t s = 0; s < p->n_series; s++) draw_series(out, &p->series[s], &f, s);
    qn_buffer_puts(out, "</svg>\n");
}
