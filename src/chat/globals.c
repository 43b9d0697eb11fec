/* globals.c: the functions that every template has, unless a variable of the same name hides them. */
#include "chat/value.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

static bool g_range(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    (void)self;
    int64_t v[3] = {0, 0, 1};
    if (args->n < 1 || args->n > 3 || args->n_named > 0) return qn_jfail(r, "range takes 1 to 3 numbers");
    for (size_t i = 0; i < args->n; i++)
        if (!qn_jarg_int(r, args->values[i], "an argument of range", 0, &v[args->n == 1 ? 1 : i]))
            return false;
    if (v[2] == 0) return qn_jfail(r, "range: the step must not be 0");
    qn_jrange *range = qn_jalloc(r, sizeof *range);
    if (range == NULL) return false;
    *range = (qn_jrange){.start = v[0], .stop = v[1], .step = v[2]};
    if (v[2] > 0 && v[0] < v[1]) range->n = ((uint64_t)v[1] - (uint64_t)v[0] - 1) / (uint64_t)v[2] + 1;
    if (v[2] < 0 && v[0] > v[1]) range->n = ((uint64_t)v[0] - (uint64_t)v[1] - 1) / (0 - (uint64_t)v[2]) + 1;
    if (range->n > INT64_MAX) return qn_jlimit(r, "range: more items than 64 bits can count");
    return *out = (qn_jval){.kind = QN_J_RANGE, .range = range}, true;
}

static bool g_dict(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    (void)self;
    qn_jdict *d = qn_jdict_create(r);
    if (d == NULL || !qn_jdict_update(r, d, args)) return false;
    return *out = qn_jmapping(d), true;
}

static bool g_namespace(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    if (!g_dict(r, self, args, out)) return false;
    out->kind = QN_J_NAMESPACE;
    return true;
}

static bool walker(qn_jrender *r, qn_jkind kind, const qn_jval *items, size_t n, qn_jval *out)
{
    qn_jcycler *c = qn_jalloc(r, sizeof *c);
    if (c == NULL || (c->items = qn_jlist_create(r, n)) == NULL) return false;
    memcpy(c->items->items, items, n * sizeof *items);
    c->items->n = n;
    return *out = (qn_jval){.kind = (uint8_t)kind, .cycler = c}, true;
}

static bool g_cycler(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    (void)self;
    if (args->n == 0 || args->n_named > 0) return qn_jfail(r, "cycler wants at least one item");
    return walker(r, QN_J_CYCLER, args->values, args->n, out);
}

static bool g_joiner(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    (void)self;
    qn_jval separator;
    if (!qn_jbind(r, args, "joiner", "sep", 0, &separator)) return false;
    if (separator.kind == QN_J_MISSING && !qn_jtext(r, ", ", &separator)) return false;
    return walker(r, QN_J_JOINER, &separator, 1, out);
}

/* The template's own refusal: its message is given as it is, if there is one. */
static bool g_raise_exception(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    (void)self;
    qn_jval message;
    if (!qn_jbind(r, args, "raise_exception", "message", 1, &message) || !qn_jto_str(r, message, &message))
        return false;
    (void)out;
    if (message.s->n_bytes == 0 || message.s->bytes[0] == '\0')
        return qn_jfail(r, "raise_exception: the template gives no reason");
    const int shown = message.s->n_bytes < 500 ? (int)message.s->n_bytes : 500;
    r->status = qn_fail(r->err, QUERN_ERR_TEMPLATE, "%.*s", shown, message.s->bytes);
    return false;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void append_strftime(qn_buffer *b, const char *format, const struct tm *t) /* one checked conversion */
{
    char text[128];
    qn_buffer_append(b, text, strftime(text, sizeof text, format, t));
}
#pragma GCC diagnostic pop

/* One conversion such as "%d" or "%-d"; p is at the '%'. Returns its length. */
static size_t append_time(qn_buffer *b, const char *p, size_t n_bytes, const struct tm *t)
{
    size_t n = 1;
    char format[8];
    while (n < n_bytes && n < 3 && strchr("-_0^#", p[n]) != NULL && p[n] != '\0') n++;
    if (n >= n_bytes) return qn_buffer_append(b, p, n_bytes), n_bytes;
    const char what = p[n++];
    memcpy(format, p, n);
    format[n] = '\0';
    if (what == 'f') qn_buffer_puts(b, "000000");  /* microseconds are not kept */
    else if (what == 'z' || what == 'Z') return n; /* local time without a zone */
    else if (what == '\0' || strchr("aAbBcCdDeFgGhHIjmMnprRsStTuUVwWxXyY%", what) == NULL)
        qn_buffer_append(b, p, n);
    else append_strftime(b, format, t);
    return n;
}

static bool g_strftime_now(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    (void)self;
    qn_jval v;
    const qn_jstr *format;
    struct tm t;
    if (!qn_jbind(r, args, "strftime_now", "format", 1, &v) || !qn_jarg_str(r, v, "the format", &format))
        return false;
    if (format == NULL) return qn_jfail(r, "strftime_now wants a format such as '%%d %%b %%Y'");
    const time_t now = r->now == INT64_MIN ? time(NULL) : (time_t)r->now;
    if ((r->now == INT64_MIN ? localtime_r(&now, &t) : gmtime_r(&now, &t)) == NULL || t.tm_year < -1899 ||
        t.tm_year > 8099)
        return qn_jfail(r, "strftime_now: the time %" PRId64 " is outside of the years 1 to 9999",
                        (int64_t)now);
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    for (size_t i = 0; i < format->n_bytes && !b.failed && qn_jwork(r, 16);) {
        if (format->bytes[i] == '%') i += append_time(&b, format->bytes + i, format->n_bytes - i, &t);
        else qn_buffer_putc(&b, format->bytes[i++]);
    }
    return qn_jtake(r, &b, out);
}

const qn_jentry qn_jglobals[] = {
    {"range", g_range, 0},
    {"dict", g_dict, 0},
    {"namespace", g_namespace, 0},
    {"cycler", g_cycler, 0},
    {"joiner", g_joiner, 0},
    {"raise_exception", g_raise_exception, 0},
    {"strftime_now", g_strftime_now, 0},
    {NULL, NULL, 0},
};
