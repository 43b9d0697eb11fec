/* format.c: text % values (and the filter format), and str.format with its format specifications,
 * as the Python library reference describes them. Width and precision are bounded before use. */
#include "base/utf8.h"
#include "chat/value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct spec {
    const char *fill; /* one character */
    size_t fill_bytes;
    char align; /* '<' '>' '^' '=', or 0: by the type */
    char sign;  /* '-', '+' or ' ' */
    char group; /* ',' or '_' between thousands, or 0 */
    char type;  /* 0: by the value */
    bool alternate;
    int64_t width, precision; /* precision -1: none */
} spec;

enum { MAX_PRECISION = 500 };

static const spec plain_spec = {.fill = " ", .fill_bytes = 1, .sign = '-', .precision = -1};

static bool check_spec(qn_jrender *r, const spec *s)
{
    if (s->width > QN_J_MAX_STRING_BYTES)
        return qn_jlimit(r, "formatting to a width of %lld is over the limit", (long long)s->width);
    if (s->precision > MAX_PRECISION && s->type != 's' && s->type != 'r' && s->type != 'a' && s->type != 0)
        return qn_jlimit(r, "formatting with %lld digits is over the limit of %d", (long long)s->precision,
                         MAX_PRECISION);
    return true;
}

/* prefix (sign, 0x) and body, padded to the width. */
static bool pad(qn_jrender *r, qn_buffer *b, const spec *s, const char *prefix, const char *body,
                size_t n_bytes, char default_align)
{
    const qn_jstr text = {.bytes = body, .n_bytes = n_bytes, .n_chars = SIZE_MAX};
    qn_jstr counted = text;
    const size_t n_chars = strlen(prefix) + qn_jchars(&counted);
    const size_t width = s->width > 0 ? (size_t)s->width : 0, gap = width > n_chars ? width - n_chars : 0;
    const char align = s->align != 0 ? s->align : default_align;
    const size_t before = align == '<' ? 0 : align == '^' ? gap / 2 : gap;
    if (!qn_jwork(r, gap)) return false;
    if (align == '=') qn_buffer_puts(b, prefix);
    for (size_t i = 0; i < before && !b->failed; i++) qn_buffer_append(b, s->fill, s->fill_bytes);
    if (align != '=') qn_buffer_puts(b, prefix);
    qn_buffer_append(b, body, n_bytes);
    for (size_t i = before; i < gap && !b->failed; i++) qn_buffer_append(b, s->fill, s->fill_bytes);
    return !b->failed || qn_jbuffer_failed(r, b);
}

static const char *sign_text(const spec *s, bool negative)
{
    return negative ? "-" : s->sign == '+' ? "+" : s->sign == ' ' ? " " : "";
}

/* Inserts the grouping sign into the first n_digits of the text, counted from their right. */
static void append_grouped(qn_buffer *b, const char *text, size_t n_digits, char group, size_t every)
{
    for (size_t i = 0; i < n_digits; i++) {
        if (group != 0 && i > 0 && (n_digits - i) % every == 0) qn_buffer_putc(b, group);
        qn_buffer_putc(b, text[i]);
    }
    qn_buffer_puts(b, text + n_digits);
}

static bool format_int(qn_jrender *r, qn_buffer *b, const spec *s, int64_t value)
{
    const unsigned base = s->type == 'x' || s->type == 'X' ? 16
                          : s->type == 'o'                 ? 8
                          : s->type == 'b'                 ? 2
                                                           : 10;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char digits[72], prefix[8];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        digits[--at] = (s->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[rest % base];
        rest /= base;
    } while (rest > 0);
    while ((int64_t)(sizeof digits - 1 - at) < s->precision && at > 0) digits[--at] = '0';
    strcpy(prefix, sign_text(s, value < 0));
    if (s->alternate && base != 10) {
        const char mark[3] = {'0', s->type, '\0'};
        strcat(prefix, mark);
    }
    qn_buffer grouped = {.max_bytes = 1024};
    append_grouped(&grouped, digits + at, sizeof digits - 1 - at, s->group, base == 10 ? 3 : 4);
    const bool ok = grouped.failed ? qn_jnomem(r) : pad(r, b, s, prefix, grouped.data, grouped.n_bytes, '>');
    qn_buffer_deinit(&grouped);
    return ok;
}

static bool format_float(qn_jrender *r, qn_buffer *b, const spec *s, double value)
{
    const bool negative = signbit(value) && !isnan(value);
    const double magnitude = fabs(value);
    char type = s->type == 'n' ? 'g' : s->type, number[48];
    qn_buffer text = {.max_bytes = 4096}, grouped = {.max_bytes = 8192};
    const int precision = s->precision >= 0 ? (int)s->precision : 6;
    if (isnan(value) || isinf(value)) {
        const bool capital = type == 'E' || type == 'F' || type == 'G';
        qn_buffer_puts(&text, isnan(value) ? (capital ? "NAN" : "nan") : capital ? "INF" : "inf");
    } else if (type == 0 && s->precision < 0) {
        qn_jfloat_repr(magnitude, number);
        qn_buffer_puts(&text, number);
    } else if (type == 'e' || type == 'E') {
        qn_buffer_printf(&text, type == 'e' ? "%.*e" : "%.*E", precision, magnitude);
    } else if (type == 'f' || type == 'F') {
        qn_buffer_printf(&text, "%.*f", precision, magnitude);
    } else if (type == '%') {
        qn_buffer_printf(&text, "%.*f%%", precision, magnitude * 100);
    } else {
        qn_buffer_printf(&text, s->alternate ? "%#.*g" : type == 'G' ? "%.*G" : "%.*g", precision, magnitude);
        if (type == 0 && text.data != NULL && strpbrk(text.data, ".e") == NULL) qn_buffer_puts(&text, ".0");
    }
    bool ok = !text.failed || qn_jnomem(r);
    if (ok) append_grouped(&grouped, text.data, strspn(text.data, "0123456789"), s->group, 3);
    ok = ok && (!grouped.failed || qn_jnomem(r));
    ok = ok && pad(r, b, s, sign_text(s, negative), grouped.data, grouped.n_bytes, '>');
    qn_buffer_deinit(&text);
    qn_buffer_deinit(&grouped);
    return ok;
}

static bool format_text(qn_jrender *r, qn_buffer *b, const spec *s, const qn_jstr *text)
{
    size_t n_bytes = text->n_bytes;
    if (s->precision >= 0 && (uint64_t)s->precision < qn_jchars(text))
        n_bytes = qn_jbyte_offset(text, (size_t)s->precision);
    return pad(r, b, s, "", text->bytes, n_bytes, '<');
}

static bool to_repr(qn_jrender *r, qn_jval v, qn_jval *out)
{
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    qn_jrepr(r, &b, v);
    return qn_jtake(r, &b, out);
}

/* ---- text % values ---- */

typedef struct percent_args {
    qn_jval whole; /* what stands right of % */
    size_t n_used;
} percent_args;

static bool next_arg(qn_jrender *r, percent_args *a, qn_jval *out)
{
    const bool tuple = a->whole.kind == QN_J_TUPLE;
    if (a->n_used >= (tuple ? a->whole.list->n : 1))
        return qn_jfail(r, "not enough arguments for the format string");
    *out = tuple ? a->whole.list->items[a->n_used] : a->whole;
    a->n_used++;
    return true;
}

/* A number or '*' in a %-format. */
static bool percent_number(qn_jrender *r, const char **p, const char *end, percent_args *args, int64_t *out)
{
    if (*p < end && **p == '*') {
        qn_jval v;
        (*p)++;
        return next_arg(r, args, &v) && qn_jarg_int(r, v, "a width of '*'", 0, out);
    }
    for (*out = 0; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
        *out = *out * 10 + (**p - '0');
        if (*out > QN_J_MAX_STRING_BYTES)
            return qn_jlimit(r, "a width or precision in a format is over the limit");
    }
    return true;
}

static bool percent_flags(qn_jrender *r, const char **p, const char *end, percent_args *args, spec *s,
                          bool *zero)
{
    bool left = false;
    *zero = false;
    for (; *p < end && **p != '\0' && strchr("#0- +", **p) != NULL; (*p)++) {
        if (**p == '#') s->alternate = true;
        if (**p == '0') *zero = true;
        if (**p == '-') left = true;
        if (**p == '+') s->sign = '+';
        if (**p == ' ' && s->sign != '+') s->sign = ' ';
    }
    if (!percent_number(r, p, end, args, &s->width)) return false;
    if (s->width < 0) left = true, s->width = -s->width;
    s->align = left ? '<' : '>';
    if (left) *zero = false;
    if (*p < end && **p == '.') {
        (*p)++;
        if (!percent_number(r, p, end, args, &s->precision)) return false;
        if (s->precision < 0) s->precision = 0;
    }
    while (*p < end && (**p == 'h' || **p == 'l' || **p == 'L')) (*p)++;
    return true;
}

static bool percent_value(qn_jrender *r, qn_buffer *b, spec *s, bool zero, qn_jval v)
{
    qn_jval text;
    if (s->type == 's' || s->type == 'r' || s->type == 'a')
        return (s->type == 's' ? qn_jto_str(r, v, &text) : to_repr(r, v, &text)) &&
               format_text(r, b, s, text.s);
    if (s->type == 'c' && v.kind == QN_J_STRING && qn_jchars(v.s) == 1) return format_text(r, b, s, v.s);
    if (v.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, v);
    if (!qn_jis_number(v)) return qn_jfail(r, "%%%c wants a number, not %s", s->type, qn_jtype_name(v));
    if (zero) s->align = '=', s->fill = "0";
    if (strchr("eEfFgG", s->type) != NULL) return format_float(r, b, s, qn_jas_double(v));
    int64_t i;
    if (!qn_jas_int(v, &i)) {
        if (strchr("diu", s->type) == NULL || !(fabs(v.f) < 0x1p63))
            return qn_jfail(r, "%%%c wants an integer, not %s", s->type, qn_jtype_name(v));
        i = (int64_t)v.f;
    }
    if (s->type == 'c') {
        char bytes[4];
        const size_t n = i < 0 || i > 0x10ffff ? 0 : qn_utf8_encode((uint32_t)i, bytes);
        return n > 0 ? pad(r, b, s, "", bytes, n, '>') : qn_jfail(r, "%%c wants a Unicode character");
    }
    return format_int(r, b, s, i);
}

/* At the character after '%'. */
static bool percent_field(qn_jrender *r, qn_buffer *b, const char **p, const char *end, percent_args *args)
{
    spec s = plain_spec;
    qn_jval v;
    bool zero, keyed = false;
    if (*p < end && **p == '(') {
        const char *close = memchr(*p, ')', (size_t)(end - *p));
        if (close == NULL) return qn_jfail(r, "a format key without its ')'");
        if (args->whole.kind != QN_J_DICT) return qn_jfail(r, "the format string wants a mapping");
        const qn_jitem *item = qn_jdict_find_text(r, args->whole.dict, *p + 1, (size_t)(close - *p - 1));
        if (item == NULL)
            return qn_jfail(r, "the format string's key '%s' is missing",
                            qn_quote(*p + 1, (size_t)(close - *p - 1)).text);
        v = item->value;
        keyed = true;
        *p = close + 1;
    }
    if (!percent_flags(r, p, end, args, &s, &zero)) return false;
    if (*p >= end) return qn_jfail(r, "the format string ends in the middle of a field");
    s.type = *(*p)++;
    if (s.type == '%') return qn_buffer_putc(b, '%') || qn_jbuffer_failed(r, b);
    if (s.type == '\0' || strchr("diouxXeEfFgGcrsa", s.type) == NULL)
        return qn_jfail(r, "unknown format '%%%s'", qn_quote(&s.type, 1).text);
    return (keyed || next_arg(r, args, &v)) && check_spec(r, &s) && percent_value(r, b, &s, zero, v);
}

static bool percent_all(qn_jrender *r, qn_buffer *b, const qn_jstr *format, percent_args *args)
{
    const char *p = format->bytes, *end = p + format->n_bytes;
    while (p < end) {
        const char *mark = memchr(p, '%', (size_t)(end - p));
        qn_buffer_append(b, p, (size_t)((mark != NULL ? mark : end) - p));
        if (b->failed) return qn_jbuffer_failed(r, b);
        if (mark == NULL) break;
        p = mark + 1;
        if (!percent_field(r, b, &p, end, args)) return false;
    }
    const uint8_t kind = args->whole.kind; /* what has items, but is no tuple or text, may stay unused */
    const bool optional =
        kind == QN_J_DICT || kind == QN_J_LIST || kind == QN_J_RANGE || kind == QN_J_UNDEFINED;
    if (args->n_used < (kind == QN_J_TUPLE ? args->whole.list->n : 1) && !optional)
        return qn_jfail(r, "not all arguments were used by the format string");
    return true;
}

bool qn_jpercent(qn_jrender *r, const qn_jstr *format, qn_jval whole, const qn_jargs *named, qn_jval *out)
{
    percent_args args = {.whole = whole};
    if (named != NULL && named->n_named > 0) {
        qn_jdict *d = qn_jdict_create(r);
        if (d == NULL) return false;
        for (size_t i = 0; i < named->n_named; i++)
            if (!qn_jdict_set(r, d, qn_jstring(named->names[i]), named->values[named->n + i])) return false;
        args.whole = qn_jmapping(d);
    }
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    percent_all(r, &b, format, &args);
    return qn_jtake(r, &b, out) && (!format->markup || qn_jmark(r, out->s, true, out));
}

/* ---- str.format ---- */

typedef struct format_state {
    const qn_jargs *args;
    size_t next_auto;
} format_state;

static bool read_number(qn_jrender *r, const char **p, const char *end, int64_t *out)
{
    for (*out = 0; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
        *out = *out * 10 + (**p - '0');
        if (*out > QN_J_MAX_STRING_BYTES)
            return qn_jlimit(r, "a width or precision in a format is over the limit");
    }
    return true;
}

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static bool parse_spec(qn_jrender *r, const char *p, const char *end, spec *s)
{
    *s = plain_spec;
    uint32_t c;
    const size_t n = qn_utf8_decode(p, (size_t)(end - p), &c);
    if (n > 0 && p + n < end && p[n] != '\0' && strchr("<>^=", p[n]) != NULL) {
        s->fill = p, s->fill_bytes = n, s->align = p[n];
        p += n + 1;
    } else if (p < end && *p != '\0' && strchr("<>^=", *p) != NULL) {
        s->align = *p++;
    }
    if (p < end && (*p == '+' || *p == '-' || *p == ' ')) s->sign = *p++;
    if (p < end && *p == '#') s->alternate = true, p++;
    if (p < end && *p == '0') {
        if (s->align == 0) s->align = '=', s->fill = "0", s->fill_bytes = 1;
        p++;
    }
    if (!read_number(r, &p, end, &s->width)) return false;
    if (p < end && (*p == ',' || *p == '_')) s->group = *p++;
    if (p < end && *p == '.') {
        p++;
        if (p == end || *p < '0' || *p > '9')
            return qn_jfail(r, "a format specification lacks its precision");
        if (!read_number(r, &p, end, &s->precision)) return false;
    }
    if (p < end) s->type = *p++;
    return p == end || qn_jfail(r, "malformed format specification");
}

static bool format_value(qn_jrender *r, qn_buffer *b, qn_jval v, const char *p, const char *end)
{
    spec s;
    qn_jval text;
    int64_t i;
    if (p == end) return qn_jprint(r, b, v);
    if (!parse_spec(r, p, end, &s) || !check_spec(r, &s)) return false;
    if (v.kind == QN_J_STRING && (s.type == 0 || s.type == 's')) {
        if (s.align == '=') return qn_jfail(r, "'=' is no alignment for a string");
        return format_text(r, b, &s, v.s);
    }
    if (qn_jas_int(v, &i) && (s.type == 0 || strchr("bdoxXn", s.type) != NULL)) {
        if (s.precision >= 0) return qn_jfail(r, "an integer format has no precision");
        return format_int(r, b, &s, i);
    }
    if (qn_jis_number(v) && (s.type == 0 || strchr("eEfFgGn%", s.type) != NULL)) {
        if (s.precision > MAX_PRECISION) return qn_jlimit(r, "a precision in a format is over the limit");
        return format_float(r, b, &s, qn_jas_double(v));
    }
    if (v.kind == QN_J_UNDEFINED && (s.type == 0 || s.type == 's'))
        return qn_jto_str(r, v, &text) && format_text(r, b, &s, text.s);
    return qn_jfail(r, "a value of type %s cannot be formatted that way", qn_jtype_name(v));
}

/* The value that a field's name (0, name, a.b, a[b]) stands for. */
static bool field_value(qn_jrender *r, format_state *f, const char *p, const char *end, qn_jval *out)
{
    const char *name_end = p;
    while (name_end < end && *name_end != '.' && *name_end != '[') name_end++;
    const size_t n = (size_t)(name_end - p);
    bool found = false;
    if (n == 0 || (*p >= '0' && *p <= '9')) {
        int64_t index = (int64_t)f->next_auto;
        if (n == 0) f->next_auto++;
        else if (!read_number(r, &p, name_end, &index)) return false;
        found = (uint64_t)index < f->args->n;
        if (found) *out = f->args->values[index];
    }
    for (size_t i = 0; i < f->args->n_named && !found; i++) {
        found = f->args->names[i]->n_bytes == n && memcmp(f->args->names[i]->bytes, p, n) == 0;
        if (found) *out = f->args->values[f->args->n + i];
    }
    if (!found) return qn_jfail(r, "format: there is no argument for the field '%s'", qn_quote(p, n).text);
    for (p = name_end; p < end;) {
        const bool item = *p++ == '[';
        const char *stop = p;
        while (stop < end && (item ? *stop != ']' : *stop != '.' && *stop != '[')) stop++;
        qn_jval key;
        int64_t index;
        const char *digits = p;
        if (!qn_jborrow(r, p, (size_t)(stop - p), &key) || !read_number(r, &digits, stop, &index))
            return false;
        if (item && digits == stop && stop > p) key = qn_jint(index);
        if (!(item ? qn_jgetitem(r, *out, key, out) : qn_jgetattr(r, *out, key.s, out))) return false;
        p = stop + (item && stop < end);
    }
    return true;
}

static bool format_all(qn_jrender *r, qn_buffer *b, const char *p, const char *end, format_state *f,
                       int level);

/* p is behind '{'; returns where its '}' stands, or NULL. */
static const char *field_end(const char *p, const char *end)
{
    int open = 1;
    for (; p < end; p++) {
        if (*p == '{') open++;
        if (*p == '}' && --open == 0) return p;
    }
    return NULL;
}

static bool format_field(qn_jrender *r, qn_buffer *b, const char *p, const char *close, format_state *f,
                         int level)
{
    const char *name_end = p;
    while (name_end < close && *name_end != '!' && *name_end != ':') {
        if (*name_end == '[')
            while (name_end < close && *name_end != ']') name_end++;
        if (name_end < close) name_end++;
    }
    qn_jval v;
    if (!field_value(r, f, p, name_end, &v)) return false;
    p = name_end;
    if (p < close && *p == '!') {
        const char how = p + 1 < close ? p[1] : '\0';
        p += 2;
        if (how == 's' ? !qn_jto_str(r, v, &v) : how == 'r' || how == 'a' ? !to_repr(r, v, &v) : true)
            return qn_jfail(r, "format: unknown conversion");
    }
    if (p >= close) return qn_jprint(r, b, v);
    if (*p != ':') return qn_jfail(r, "format: ':' expected in a field");
    qn_buffer specification = {.max_bytes = 4096}; /* it may hold fields itself: {:{width}} */
    bool ok = format_all(r, &specification, p + 1, close, f, level + 1);
    qn_buffer_putc(&specification, '\0');
    if (ok && specification.failed) ok = qn_jbuffer_failed(r, &specification);
    ok = ok && format_value(r, b, v, specification.data, specification.data + specification.n_bytes - 1);
    qn_buffer_deinit(&specification);
    return ok;
}

static bool format_all(qn_jrender *r, qn_buffer *b, const char *p, const char *end, format_state *f,
                       int level)
{
    if (level > 2) return qn_jfail(r, "format: fields nested too deep");
    while (p < end) {
        const char c = *p++;
        if ((c == '{' || c == '}') && p < end && *p == c && level == 0) {
            qn_buffer_putc(b, c);
            p++;
        } else if (c == '{') {
            const char *close = field_end(p, end);
            if (close == NULL) return qn_jfail(r, "format: '{' without its '}'");
            if (!format_field(r, b, p, close, f, level)) return false;
            p = close + 1;
        } else if (c == '}') {
            return qn_jfail(r, "format: single '}'");
        } else {
            qn_buffer_putc(b, c);
        }
        if (b->failed) return qn_jbuffer_failed(r, b);
        if (!qn_jwork(r, 1)) return false;
    }
    return true;
}

bool qn_jstr_format(qn_jrender *r, const qn_jstr *format, const qn_jargs *args, qn_jval *out)
{
    format_state f = {.args = args};
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    format_all(r, &b, format->bytes, format->bytes + format->n_bytes, &f, 0);
    return qn_jtake(r, &b, out) && (!format->markup || qn_jmark(r, out->s, true, out));
}
