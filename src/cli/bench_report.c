/* bench_report.c: what `quern bench` prints: a table (aligned, or Markdown), JSON, CSV, profiles.
 *
 * A table shows the columns in which rows differ; what is the same everywhere stands above it. JSON and CSV
 * have every column always, from one function, so that they cannot disagree. */
#include "cli/bench.h"

#include <math.h>
#include <string.h>
#include <time.h>

enum { CELL = 48 };

typedef struct column {
    const char *title;
    void (*print)(const bench_row *row, char *cell); /* at most CELL bytes */
    bool (*shown)(const bench *b);                   /* NULL: always */
} column;

static void test_cell(const bench_row *r, char *cell)
{
    snprintf(cell, CELL, "%s", r->test);
}
static void depth_cell(const bench_row *r, char *cell)
{
    snprintf(cell, CELL, "%u", r->what.depth);
}
static void threads_cell(const bench_row *r, char *cell)
{
    snprintf(cell, CELL, "%d", r->what.n_threads);
}
static void batch_cell(const bench_row *r, char *cell)
{
    snprintf(cell, CELL, "%u", r->what.n_batch);
}
static void parallel_cell(const bench_row *r, char *cell)
{
    snprintf(cell, CELL, "%u", r->what.n_sequences);
}
static void cache_cell(const bench_row *r, char *cell)
{
    snprintf(cell, CELL, "%s", r->cache_type);
}
static void speed_cell(const bench_row *r, char *cell)
{
    snprintf(cell, CELL, "%.2f", r->median);
}
static void stddev_cell(const bench_row *r, char *cell)
{
    snprintf(cell, CELL, "%.2f", r->stddev);
}
static void min_cell(const bench_row *r, char *cell)
{
    snprintf(cell, CELL, "%.2f", r->min);
}
static void max_cell(const bench_row *r, char *cell)
{
    snprintf(cell, CELL, "%.2f", r->max);
}
static void memory_cell(const bench_row *r, char *cell)
{
    snprintf(cell, CELL, "%.1f %%", 100 * r->memory_share);
}
static void vector_cell(const bench_row *r, char *cell)
{
    snprintf(cell, CELL, "%.1f %%", 100 * r->vector_share);
}

#define VARIES(name, field)                                                                                  \
    static bool name(const bench *b)                                                                         \
    {                                                                                                        \
        for (size_t i = 1; i < b->n_cases; i++)                                                              \
            if (b->cases[i].field != b->cases[0].field) return true;                                         \
        return false;                                                                                        \
    }
VARIES(depth_varies, depth)
VARIES(threads_vary, n_threads)
VARIES(batch_varies, n_batch)
VARIES(parallel_varies, n_sequences)
VARIES(type_k_varies, type_k)
VARIES(type_v_varies, type_v)
static bool cache_varies(const bench *b)
{
    return type_k_varies(b) || type_v_varies(b);
}
static bool has_limits(const bench *b)
{
    return b->n_limits > 0;
}

static const column columns[] = {
    {"test", test_cell, NULL},
    {"depth", depth_cell, depth_varies},
    {"threads", threads_cell, threads_vary},
    {"batch", batch_cell, batch_varies},
    {"parallel", parallel_cell, parallel_varies},
    {"cache", cache_cell, cache_varies},
    {"tokens/s", speed_cell, NULL},
    {"stddev", stddev_cell, NULL},
    {"least", min_cell, NULL},
    {"greatest", max_cell, NULL},
    {"of bandwidth", memory_cell, has_limits},
    {"of vector peak", vector_cell, has_limits},
};
enum { N_COLUMNS = sizeof columns / sizeof columns[0] };

/* Rows come one by one, so a column's width is known from what is to come: names, and room for numbers. */
static int width_of(const bench *b, size_t column_index)
{
    int width = (int)strlen(columns[column_index].title);
    if (column_index > 0) return width > 9 ? width : 9;
    for (size_t i = 0; i < b->n_cases; i++) {
        char name[CELL];
        bench_test_name(&b->cases[i], name, sizeof name);
        if ((int)strlen(name) > width) width = (int)strlen(name);
    }
    return width;
}

/* A line of the table: of titles where row is NULL. */
static void print_line(const bench *b, const bench_row *row)
{
    const bool markdown = b->format == BENCH_MARKDOWN;
    for (size_t i = 0; i < N_COLUMNS; i++) {
        char cell[CELL];
        if (columns[i].shown != NULL && !columns[i].shown(b)) continue;
        if (row != NULL) columns[i].print(row, cell);
        else snprintf(cell, sizeof cell, "%s", columns[i].title);
        if (markdown) printf("| ");
        else if (i > 0) printf("  ");
        printf("%*s", i == 0 ? -width_of(b, i) : width_of(b, i), cell);
        if (markdown) putchar(' ');
    }
    puts(markdown ? "|" : "");
}

static void print_rule(const bench *b)
{
    for (size_t i = 0; i < N_COLUMNS; i++)
        if (columns[i].shown == NULL || columns[i].shown(b))
            printf("| %.*s%s ", width_of(b, i) - (i > 0), "------------------------------------------------",
                   i > 0 ? ":" : "");
    puts("|");
}

/* "18.4", or "18.4 and 31.0" with one thread and with all. */
static void print_limit(const char *name, const double rate[2], int n_threads, const char *unit)
{
    const double one = rate[0] * 1e-9, all = rate[1] * 1e-9;
    printf("%s %.*f", name, one < 100, one);
    if (n_threads > 1) printf(" and %.*f", all < 100, all);
    printf(" %s", unit);
}

static void print_limits(const bench *b)
{
    for (size_t i = 0; i < b->n_limits; i++) {
        const quern_limits *l = &b->limits[i];
        printf("limits (%s), 1 ", l->instruction_set);
        if (l->n_threads > 1) printf("and %d threads: ", l->n_threads);
        else printf("thread: ");
        print_limit("read", l->bytes_per_s, l->n_threads, "GB/s, ");
        print_limit("int8", l->int8_ops_per_s, l->n_threads, "Gop/s, ");
        print_limit("float", l->float_ops_per_s, l->n_threads, "Gop/s");
        if (l->n_threads > 1) printf(", barrier %.2f us", l->barrier_s * 1e6);
        putchar('\n');
    }
}

static void print_what_is_the_same(const bench *b)
{
    const bench_case *c = &b->cases[0];
    printf("%s, %s, %.1f M parameters, %s", b->info.name, b->info.file_type,
           (double)b->info.n_parameters * 1e-6, b->info.instruction_set);
    if (!threads_vary(b)) printf(", %d thread%s", c->n_threads, c->n_threads == 1 ? "" : "s");
    if (!depth_varies(b) && c->depth > 0) printf(", depth %u", c->depth);
    if (!batch_varies(b)) printf(", batch %u", c->n_batch);
    if (!parallel_varies(b) && c->n_sequences > 1) printf(", %u sequences", c->n_sequences);
    if (!cache_varies(b))
        printf(", cache %s%s%s", qn_cli_kv_type_name(c->type_k), c->type_k != c->type_v ? "/" : "",
               c->type_k != c->type_v ? qn_cli_kv_type_name(c->type_v) : "");
    printf("; medians of %ld run%s\n", b->reps, b->reps == 1 ? "" : "s");
}

void bench_report_begin(const bench *b)
{
    if (b->format != BENCH_TEXT && b->format != BENCH_MARKDOWN) return;
    print_what_is_the_same(b);
    print_limits(b);
    if (b->format == BENCH_MARKDOWN) puts("");
    print_line(b, NULL);
    if (b->format == BENCH_MARKDOWN) print_rule(b);
    fflush(stdout);
}

void bench_report_row(const bench *b, const bench_row *row)
{
    if (b->format != BENCH_TEXT && b->format != BENCH_MARKDOWN) return;
    print_line(b, row);
    fflush(stdout);
}

static const quern_profile_row *add_up(const quern_profile *p, quern_profile_row *total)
{
    *total = (quern_profile_row){.instruction = "total"};
    for (size_t i = 0; i < p->n_rows; i++) {
        total->time_ns += p->rows[i].time_ns;
        total->calls += p->rows[i].calls;
        total->weight_bytes += p->rows[i].weight_bytes;
        total->kv_bytes += p->rows[i].kv_bytes;
        total->int8_multiply_adds += p->rows[i].int8_multiply_adds;
        total->float_multiply_adds += p->rows[i].float_multiply_adds;
    }
    return total;
}

static void profile_shares(const quern_limits *l, const quern_profile_row *p, double *memory, double *vector)
{
    bench_shares(l, (double)(p->weight_bytes + p->kv_bytes), (double)p->int8_multiply_adds,
                 (double)p->float_multiply_adds, (double)p->time_ns * 1e-9, memory, vector);
}

static void print_profile_row(const bench_row *row, const quern_profile_row *p, uint64_t total_ns)
{
    const double ns = p->time_ns > 0 ? (double)p->time_ns : 1;
    printf("%-12s %12.3f %6.1f %% %9llu %14.3f %10.3f %8.2f", p->instruction, (double)p->time_ns * 1e-6,
           100 * (double)p->time_ns / (double)(total_ns > 0 ? total_ns : 1), (unsigned long long)p->calls,
           (double)p->weight_bytes * 1e-6, (double)p->kv_bytes * 1e-6,
           (double)(p->weight_bytes + p->kv_bytes) / ns);
    if (row->limits != NULL) {
        double memory, vector;
        profile_shares(row->limits, p, &memory, &vector);
        printf(" %10.1f %% %12.1f %%", 100 * memory, 100 * vector);
    }
    putchar('\n');
}

void bench_profile_text(const bench_row *row)
{
    quern_profile_row total;
    add_up(&row->profile, &total);
    printf("\nprofile of %s", row->test);
    if (row->what.depth > 0) printf(", depth %u", row->what.depth);
    if (row->what.n_sequences > 1) printf(", %u sequences", row->what.n_sequences);
    printf(", %d thread%s, batch %u, cache %s\n", row->what.n_threads, row->what.n_threads == 1 ? "" : "s",
           row->what.n_batch, row->cache_type);
    printf("%-12s %12s %8s %9s %14s %10s %8s%s\n", "instruction", "ms", "share", "calls", "weights, MB",
           "cache, MB", "GB/s", row->limits != NULL ? " of bandwidth of vector peak" : "");
    for (size_t i = 0; i < row->profile.n_rows; i++)
        print_profile_row(row, &row->profile.rows[i], total.time_ns);
    print_profile_row(row, &total, total.time_ns);
}

static json_t *profile_json(const bench_row *row)
{
    json_t *list = json_array();
    for (size_t i = 0; i < row->profile.n_rows; i++) {
        const quern_profile_row *p = &row->profile.rows[i];
        json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "instruction", p->instruction, "time_ns",
                              (json_int_t)p->time_ns, "calls", (json_int_t)p->calls, "weight_bytes",
                              (json_int_t)p->weight_bytes, "kv_bytes", (json_int_t)p->kv_bytes,
                              "int8_multiply_adds", (json_int_t)p->int8_multiply_adds, "float_multiply_adds",
                              (json_int_t)p->float_multiply_adds);
        if (row->limits != NULL) {
            double memory, vector;
            profile_shares(row->limits, p, &memory, &vector);
            json_object_set_new(o, "memory_share", json_real(memory));
            json_object_set_new(o, "vector_share", json_real(vector));
        }
        json_array_append_new(list, o);
    }
    return list;
}

/* "AMD EPYC 9354", from the system; "" where it does not tell. */
static const char *processor_name(char *name, size_t size)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    name[0] = '\0';
    while (f != NULL && name[0] == '\0' && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "model name", 10) == 0 && strstr(line, ": ") != NULL)
            snprintf(name, size, "%.*s", (int)strcspn(strstr(line, ": ") + 2, "\n"), strstr(line, ": ") + 2);
    if (f != NULL) fclose(f);
    return name;
}

static json_t *known(bool is_known, double value)
{
    return is_known ? json_real(value) : json_null();
}

static void add_limits(json_t *o, const bench_row *row)
{
    const quern_limits none = {0}, *l = row->limits != NULL ? row->limits : &none;
    const bool is_known = row->limits != NULL;
    json_object_set_new(o, "memory_share", known(is_known, row->memory_share));
    json_object_set_new(o, "vector_share", known(is_known, row->vector_share));
    json_object_set_new(o, "limit_bytes_per_second", known(is_known, l->bytes_per_s[1]));
    json_object_set_new(o, "limit_bytes_per_second_1", known(is_known, l->bytes_per_s[0]));
    json_object_set_new(o, "limit_int8_ops_per_second", known(is_known, l->int8_ops_per_s[1]));
    json_object_set_new(o, "limit_int8_ops_per_second_1", known(is_known, l->int8_ops_per_s[0]));
    json_object_set_new(o, "limit_float_ops_per_second", known(is_known, l->float_ops_per_s[1]));
    json_object_set_new(o, "limit_float_ops_per_second_1", known(is_known, l->float_ops_per_s[0]));
    json_object_set_new(o, "barrier_seconds", known(is_known, l->barrier_s));
}

json_t *bench_row_json(const bench *b, const bench_row *row)
{
    char processor[128], date[32] = "";
    struct tm utc;
    if (gmtime_r(&row->time, &utc) != NULL) strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:i, s:f, s:f, s:f, s:f, s:i}", "engine", "quern",
                          "test", row->test, "model", b->info.name, "type", b->info.file_type, "depth",
                          (json_int_t)row->what.depth, "threads", row->what.n_threads, "tokens_per_second",
                          row->median, "stddev", row->stddev, "min", row->min, "max", row->max, "reps",
                          (int)row->n_samples);
    json_t *more = json_pack(
        "{s:f, s:I, s:I, s:I, s:I, s:s, s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:o, s:s, s:s, s:s}", "mean",
        row->mean, "n_prompt", (json_int_t)row->what.n_prompt, "n_gen", (json_int_t)row->what.n_gen, "batch",
        (json_int_t)row->what.n_batch, "parallel", (json_int_t)row->what.n_sequences, "cache_type",
        row->cache_type, "instruction_set", b->info.instruction_set, "parameters",
        (json_int_t)b->info.n_parameters, "file_bytes", (json_int_t)b->info.file_bytes, "load_seconds",
        row->load_seconds, "weight_bytes_per_token", row->weight_bytes, "kv_bytes_per_token", row->kv_bytes,
        "int8_multiply_adds_per_token", row->int8_multiply_adds, "float_multiply_adds_per_token",
        row->float_multiply_adds, "peak_resident_bytes",
        row->peak_bytes > 0 ? json_integer((json_int_t)row->peak_bytes) : json_null(), "version",
        quern_version(), "processor", processor_name(processor, sizeof processor), "time", date);
    json_object_update(o, more);
    json_decref(more);
    add_limits(o, row);
    json_t *samples = json_array();
    for (size_t i = 0; i < row->n_samples; i++) json_array_append_new(samples, json_real(row->samples[i]));
    json_object_set_new(o, "samples", samples);
    if (b->profile) json_object_set_new(o, "profile", profile_json(row));
    return o;
}

static void print_csv_text(const char *text)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        fputs(text, stdout);
        return;
    }
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"') putchar('"');
        putchar(*text);
    }
    putchar('"');
}

/* As RFC 4180, with plain line ends: the fields of the JSON object that are single values; a field that is
 * not known is empty. */
static void print_csv_line(json_t *o, bool titles)
{
    const char *key, *comma = "";
    json_t *value;
    json_object_foreach(o, key, value)
    {
        if (json_is_array(value) || json_is_object(value)) continue;
        fputs(comma, stdout);
        comma = ",";
        if (titles) print_csv_text(key);
        else if (json_is_string(value)) print_csv_text(json_string_value(value));
        else if (json_is_integer(value)) printf("%lld", (long long)json_integer_value(value));
        else if (json_is_real(value)) printf("%.10g", json_real_value(value));
    }
    putchar('\n');
}

int bench_report_end(const bench *b)
{
    if (b->format == BENCH_TEXT || b->format == BENCH_MARKDOWN) {
        for (size_t i = 0; b->profile && i < b->n_rows; i++) {
            if (b->format == BENCH_MARKDOWN) puts("\n```");
            bench_profile_text(&b->rows[i]);
            if (b->format == BENCH_MARKDOWN) puts("```");
        }
        return qn_cli_flush();
    }
    json_t *rows = json_array();
    for (size_t i = 0; i < b->n_rows; i++) json_array_append_new(rows, bench_row_json(b, &b->rows[i]));
    if (json_array_size(rows) != b->n_rows) {
        json_decref(rows);
        return qn_cli_fail_text("bench: %zu rows: no memory", b->n_rows);
    }
    if (b->format == BENCH_JSON) return qn_cli_print_json(rows);
    for (size_t i = 0; i < b->n_rows; i++) {
        if (i == 0) print_csv_line(json_array_get(rows, 0), true);
        print_csv_line(json_array_get(rows, i), false);
    }
    json_decref(rows);
    return qn_cli_flush();
}
