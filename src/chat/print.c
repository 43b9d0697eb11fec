/* print.c: values as text: Python's str() and repr(), and JSON as json.dumps writes it.
 * Containers that contain themselves are cut ("[...]"); as JSON they are an error. */
#include "base/utf8.h"
#include "chat/value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct ancestor { /* the containers around the value being printed */
    const void *container;
    const struct ancestor *parent;
    int depth;
} ancestor;

static bool is_inside(const ancestor *a, const void *container)
{
    for (; a != NULL; a = a->parent)
        if (a->container == container) return true;
    return false;
}

static bool too_deep(qn_jrender *r, const ancestor *a)
{
    if (a == NULL || a->depth < QN_J_MAX_VALUE_DEPTH) return false;
    return !qn_jlimit(r, "values nested deeper than %d are not printed", QN_J_MAX_VALUE_DEPTH);
}

static bool written(qn_jrender *r, const qn_buffer *b)
{
    if (b->failed) return qn_jbuffer_failed(r, b);
    return qn_jwork(r, 2);
}

/* ---- floats ---- */

/* Digits d and exponent e with d.ddd * 10^e, from "%.*e". */
static int split_exponent(char *text)
{
    char *e = strchr(text, 'e');
    const int exponent = atoi(e + 1);
    *e = '\0';
    return exponent;
}

void qn_jfloat_repr(double f, char text[48])
{
    if (isnan(f) || isinf(f)) {
        strcpy(text, isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
        return;
    }
    char scientific[40];
    for (int precision = 0; precision <= 16; precision++) { /* the fewest digits that read back the same */
        snprintf(scientific, sizeof scientific, "%.*e", precision, f);
        if (strtod(scientific, NULL) == f) break;
    }
    const int exponent = split_exponent(scientific);
    if (exponent < -4 || exponent >= 16) {
        snprintf(text, 48, "%.24se%c%02d", scientific, exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    const size_t n_digits =
        strlen(scientific + (f < 0 || scientific[0] == '-')) - (strchr(scientific, '.') != NULL);
    const int decimals = (int)n_digits - 1 - exponent;
    snprintf(text, 48, "%.*f", decimals > 1 ? decimals : 1, f);
}

/* ---- repr ---- */

static bool repr_string(qn_jrender *r, qn_buffer *b, const qn_jstr *s)
{
    const bool has_single = memchr(s->bytes, '\'', s->n_bytes) != NULL;
    const char quote = has_single && memchr(s->bytes, '"', s->n_bytes) == NULL ? '"' : '\'';
    uint32_t c;
    qn_buffer_putc(b, quote);
    for (size_t i = 0, n; i < s->n_bytes && (n = qn_utf8_decode(s->bytes + i, s->n_bytes - i, &c)) > 0;
         i += n) {
        if (c == (uint32_t)quote || c == '\\') qn_buffer_printf(b, "\\%c", (char)c);
        else if (c == '\n') qn_buffer_puts(b, "\\n");
        else if (c == '\r') qn_buffer_puts(b, "\\r");
        else if (c == '\t') qn_buffer_puts(b, "\\t");
        else if (qn_jis_printable(c)) qn_buffer_append(b, s->bytes + i, n);
        else if (c < 0x100) qn_buffer_printf(b, "\\x%02x", c);
        else if (c < 0x10000) qn_buffer_printf(b, "\\u%04x", c);
        else qn_buffer_printf(b, "\\U%08x", c);
        if (b->failed) break;
    }
    qn_buffer_putc(b, quote);
    return qn_jwork(r, s->n_bytes) && written(r, b);
}

static bool repr(qn_jrender *r, qn_buffer *b, qn_jval v, const ancestor *parent);

static bool repr_list(qn_jrender *r, qn_buffer *b, qn_jval v, const ancestor *parent)
{
    const ancestor self = {v.list, parent, parent == NULL ? 1 : parent->depth + 1};
    const bool tuple = v.kind == QN_J_TUPLE;
    if (is_inside(parent, v.list)) return qn_buffer_puts(b, tuple ? "(...)" : "[...]"), written(r, b);
    if (too_deep(r, parent)) return false;
    if (v.kind == QN_J_VIEW) qn_buffer_printf(b, "%s(", v.list->type_name);
    qn_buffer_putc(b, tuple ? '(' : '[');
    for (size_t i = 0; i < v.list->n; i++) {
        if (i > 0) qn_buffer_puts(b, ", ");
        if (!repr(r, b, v.list->items[i], &self)) return false;
    }
    if (tuple && v.list->n == 1) qn_buffer_putc(b, ',');
    qn_buffer_putc(b, tuple ? ')' : ']');
    if (v.kind == QN_J_VIEW) qn_buffer_putc(b, ')');
    return written(r, b);
}

static bool repr_dict(qn_jrender *r, qn_buffer *b, const qn_jdict *d, const ancestor *parent)
{
    const ancestor self = {d, parent, parent == NULL ? 1 : parent->depth + 1};
    bool first = true;
    if (is_inside(parent, d)) return qn_buffer_puts(b, "{...}"), written(r, b);
    if (too_deep(r, parent)) return false;
    qn_buffer_putc(b, '{');
    for (size_t i = 0; i < d->n_used; i++) {
        if (d->items[i].key.kind == QN_J_MISSING) continue;
        if (!first) qn_buffer_puts(b, ", ");
        first = false;
        if (!repr(r, b, d->items[i].key, &self)) return false;
        qn_buffer_puts(b, ": ");
        if (!repr(r, b, d->items[i].value, &self)) return false;
    }
    qn_buffer_putc(b, '}');
    return written(r, b);
}

static bool repr_range(qn_jrender *r, qn_buffer *b, const qn_jrange *range)
{
    qn_buffer_printf(b, "range(%" PRId64 ", %" PRId64, range->start, range->stop);
    if (range->step != 1) qn_buffer_printf(b, ", %" PRId64, range->step);
    qn_buffer_putc(b, ')');
    return written(r, b);
}

static bool repr(qn_jrender *r, qn_buffer *b, qn_jval v, const ancestor *parent)
{
    char number[48];
    switch ((qn_jkind)v.kind) {
    case QN_J_UNDEFINED:
        qn_buffer_puts(b, "Undefined");
        break;
    case QN_J_NONE:
        qn_buffer_puts(b, "None");
        break;
    case QN_J_BOOL:
        qn_buffer_puts(b, v.b ? "True" : "False");
        break;
    case QN_J_INT:
        qn_buffer_printf(b, "%" PRId64, v.i);
        break;
    case QN_J_FLOAT:
        qn_jfloat_repr(v.f, number), qn_buffer_puts(b, number);
        break;
    case QN_J_STRING:
        if (!v.s->markup) return repr_string(r, b, v.s);
        qn_buffer_puts(b, "Markup(");
        if (!repr_string(r, b, v.s)) return false;
        qn_buffer_putc(b, ')');
        break;
    case QN_J_LIST:
    case QN_J_TUPLE:
    case QN_J_VIEW:
        return repr_list(r, b, v, parent);
    case QN_J_DICT:
        return repr_dict(r, b, v.dict, parent);
    case QN_J_NAMESPACE:
        qn_buffer_puts(b, "<Namespace ");
        if (!repr_dict(r, b, v.dict, parent)) return false;
        qn_buffer_putc(b, '>');
        break;
    case QN_J_RANGE:
        return repr_range(r, b, v.range);
    case QN_J_GENERATOR:
    case QN_J_MACRO:
    case QN_J_FUNCTION:
    case QN_J_METHOD:
    case QN_J_LOOP:
    case QN_J_CYCLER:
    case QN_J_JOINER:
    case QN_J_MISSING:
        qn_buffer_printf(b, "<%s object>", qn_jtype_name(v));
        break;
    }
    return written(r, b);
}

bool qn_jrepr(qn_jrender *r, qn_buffer *b, qn_jval v)
{
    return repr(r, b, v, NULL);
}

bool qn_jprint(qn_jrender *r, qn_buffer *b, qn_jval v)
{
    if (v.kind == QN_J_UNDEFINED) return true;
    if (v.kind != QN_J_STRING) return repr(r, b, v, NULL);
    qn_buffer_append(b, v.s->bytes, v.s->n_bytes);
    return written(r, b);
}

bool qn_jto_str(qn_jrender *r, qn_jval v, qn_jval *out)
{
    if (v.kind == QN_J_STRING) return *out = v, true;
    if (v.kind == QN_J_UNDEFINED) return qn_jborrow(r, "", 0, out);
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    qn_jrepr(r, &b, v); /* a failure shows in the status, which taking looks at */
    return qn_jtake(r, &b, out);
}

/* ---- JSON ---- */

static bool write_json_string(qn_jrender *r, qn_buffer *b, const qn_jstr *s, bool ensure_ascii)
{
    uint32_t c;
    qn_buffer_putc(b, '"');
    for (size_t i = 0, n; i < s->n_bytes && (n = qn_utf8_decode(s->bytes + i, s->n_bytes - i, &c)) > 0;
         i += n) {
        if (c == '"' || c == '\\') qn_buffer_putc(b, '\\'), qn_buffer_putc(b, (char)c);
        else if (c == '\n') qn_buffer_puts(b, "\\n");
        else if (c == '\r') qn_buffer_puts(b, "\\r");
        else if (c == '\t') qn_buffer_puts(b, "\\t");
        else if (c == '\f') qn_buffer_puts(b, "\\f");
        else if (c == '\b') qn_buffer_puts(b, "\\b");
        else if (c < 0x20) qn_buffer_printf(b, "\\u%04x", c);
        else if (!ensure_ascii || c < 0x7f) qn_buffer_append(b, s->bytes + i, n);
        else if (c < 0x10000) qn_buffer_printf(b, "\\u%04x", c);
        else
            qn_buffer_printf(b, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                             0xdc00 + ((c - 0x10000) & 0x3ff));
        if (b->failed) break;
    }
    qn_buffer_putc(b, '"');
    return qn_jwork(r, s->n_bytes) && written(r, b);
}

static void write_json_float(qn_buffer *b, double f)
{
    char number[48];
    qn_jfloat_repr(f, number);
    qn_buffer_puts(b, isnan(f) ? "NaN" : isinf(f) ? (f > 0 ? "Infinity" : "-Infinity") : number);
}

static void write_json_newline(qn_buffer *b, const qn_jjson_style *style, int depth)
{
    if (style->indent == NULL) return;
    qn_buffer_putc(b, '\n');
    for (int i = 0; i < depth && !b->failed; i++)
        qn_buffer_append(b, style->indent->bytes, style->indent->n_bytes);
}

static void write_json_separator(qn_buffer *b, const qn_jjson_style *style)
{
    if (style->item_separator != NULL)
        qn_buffer_append(b, style->item_separator->bytes, style->item_separator->n_bytes);
    else qn_buffer_puts(b, style->indent != NULL ? "," : ", ");
}

static bool write_json_value(qn_jrender *r, qn_buffer *b, qn_jval v, const qn_jjson_style *style,
                             const ancestor *parent);

static bool write_json_list(qn_jrender *r, qn_buffer *b, const qn_jlist *l, const qn_jjson_style *style,
                            const ancestor *parent)
{
    const ancestor self = {l, parent, parent == NULL ? 1 : parent->depth + 1};
    if (is_inside(parent, l)) return qn_jfail(r, "a list that contains itself cannot be written as JSON");
    if (too_deep(r, parent)) return false;
    if (l->n == 0) return qn_buffer_puts(b, "[]"), written(r, b);
    qn_buffer_putc(b, '[');
    for (size_t i = 0; i < l->n; i++) {
        if (i > 0) write_json_separator(b, style);
        write_json_newline(b, style, self.depth);
        if (!write_json_value(r, b, l->items[i], style, &self)) return false;
    }
    write_json_newline(b, style, self.depth - 1);
    qn_buffer_putc(b, ']');
    return written(r, b);
}

static bool write_json_key(qn_jrender *r, qn_buffer *b, qn_jval key, const qn_jjson_style *style)
{
    switch (key.kind) {
    case QN_J_STRING:
        return write_json_string(r, b, key.s, style->ensure_ascii);
    case QN_J_NONE:
        qn_buffer_puts(b, "\"null\"");
        break;
    case QN_J_BOOL:
        qn_buffer_puts(b, key.b ? "\"true\"" : "\"false\"");
        break;
    case QN_J_INT:
        qn_buffer_printf(b, "\"%" PRId64 "\"", key.i);
        break;
    case QN_J_FLOAT:
        qn_buffer_putc(b, '"');
        write_json_float(b, key.f);
        qn_buffer_putc(b, '"');
        break;
    default:
        return qn_jfail(r, "a key of type %s cannot be written as JSON", qn_jtype_name(key));
    }
    return written(r, b);
}

/* The indices of the items in the order in which they are written. */
static bool write_json_order(qn_jrender *r, const qn_jdict *d, bool sort, uint32_t **order)
{
    qn_jlist *keys = qn_jlist_create(r, d->n_live);
    uint32_t *live = qn_jalloc(r, d->n_live * sizeof *live), *sorted;
    if (keys == NULL || live == NULL) return false;
    for (uint32_t i = 0; i < d->n_used; i++) {
        if (d->items[i].key.kind == QN_J_MISSING) continue;
        live[keys->n] = i;
        keys->items[keys->n++] = d->items[i].key;
    }
    *order = live;
    if (!sort) return true;
    if (!qn_jsort(r, keys->items, keys->n, false, &sorted)) return false;
    for (size_t i = 0; i < keys->n; i++) sorted[i] = live[sorted[i]];
    *order = sorted;
    return true;
}

static bool write_json_dict(qn_jrender *r, qn_buffer *b, const qn_jdict *d, const qn_jjson_style *style,
                            const ancestor *parent)
{
    const ancestor self = {d, parent, parent == NULL ? 1 : parent->depth + 1};
    uint32_t *order;
    if (is_inside(parent, d)) return qn_jfail(r, "a mapping that contains itself cannot be written as JSON");
    if (too_deep(r, parent)) return false;
    if (d->n_live == 0) return qn_buffer_puts(b, "{}"), written(r, b);
    if (!write_json_order(r, d, style->sort_keys, &order)) return false;
    qn_buffer_putc(b, '{');
    for (size_t i = 0; i < d->n_live; i++) {
        const qn_jitem *item = &d->items[order[i]];
        if (i > 0) write_json_separator(b, style);
        write_json_newline(b, style, self.depth);
        if (!write_json_key(r, b, item->key, style)) return false;
        if (style->key_separator != NULL)
            qn_buffer_append(b, style->key_separator->bytes, style->key_separator->n_bytes);
        else qn_buffer_puts(b, ": ");
        if (!write_json_value(r, b, item->value, style, &self)) return false;
    }
    write_json_newline(b, style, self.depth - 1);
    qn_buffer_putc(b, '}');
    return written(r, b);
}

static bool write_json_value(qn_jrender *r, qn_buffer *b, qn_jval v, const qn_jjson_style *style,
                             const ancestor *parent)
{
    switch (v.kind) {
    case QN_J_NONE:
        qn_buffer_puts(b, "null");
        break;
    case QN_J_BOOL:
        qn_buffer_puts(b, v.b ? "true" : "false");
        break;
    case QN_J_INT:
        qn_buffer_printf(b, "%" PRId64, v.i);
        break;
    case QN_J_FLOAT:
        write_json_float(b, v.f);
        break;
    case QN_J_STRING:
        return write_json_string(r, b, v.s, style->ensure_ascii);
    case QN_J_LIST:
    case QN_J_TUPLE:
        return write_json_list(r, b, v.list, style, parent);
    case QN_J_DICT:
        return write_json_dict(r, b, v.dict, style, parent);
    case QN_J_UNDEFINED:
        return qn_jundefined_error(r, v);
    default:
        return qn_jfail(r, "a value of type %s cannot be written as JSON", qn_jtype_name(v));
    }
    return written(r, b);
}

bool qn_jjson(qn_jrender *r, qn_buffer *b, qn_jval v, const qn_jjson_style *style)
{
    return write_json_value(r, b, v, style, NULL);
}
