/* filters_text.c: filters that give text or numbers. */
#include "base/utf8.h"
#include "chat/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* str() of a value, not marked up. */
static bool plain_text(qn_jrender *r, qn_jval v, qn_jval *out)
{
    return qn_jto_str(r, v, out) && qn_jmark(r, out->s, false, out);
}

static bool f_upper(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return qn_jno_args(r, args, "upper") && qn_jto_str(r, v, &v) && qn_jcase_map(r, v.s, QN_J_UPPER, out);
}
static bool f_lower(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return qn_jno_args(r, args, "lower") && qn_jto_str(r, v, &v) && qn_jcase_map(r, v.s, QN_J_LOWER, out);
}
static bool f_capitalize(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return qn_jno_args(r, args, "capitalize") && qn_jto_str(r, v, &v) && qn_jcapitalize(r, v.s, out);
}
static bool f_string(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return qn_jno_args(r, args, "string") && qn_jto_str(r, v, out);
}

/* A capital after blanks, hyphens and opening brackets; small letters elsewhere. */
static bool f_title(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    bool first = true;
    uint32_t c;
    if (!qn_jno_args(r, args, "title") || !qn_jto_str(r, v, &v) || !qn_jwork(r, v.s->n_bytes)) return false;
    for (size_t i = 0, n; i < v.s->n_bytes && (n = qn_utf8_decode(v.s->bytes + i, v.s->n_bytes - i, &c)) > 0;
         i += n) {
        qn_jcase_append(&b, v.s->bytes + i, n, first ? QN_J_UPPER : QN_J_LOWER);
        first = qn_jis_space(c) || (c < 0x80 && c != 0 && strchr("-({[<", (int)c) != NULL);
    }
    return qn_jtake(r, &b, out);
}

static bool f_trim(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval chars;
    const qn_jstr *set;
    return qn_jbind(r, args, "trim", "chars", 0, &chars) && qn_jarg_str(r, chars, "trim", &set) &&
           qn_jto_str(r, v, &v) && qn_jstrip_string(r, v.s, set, 3, out);
}

static bool f_replace(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a[3];
    int64_t count = -1;
    if (!qn_jbind(r, args, "replace", "old new count", 2, a) || !plain_text(r, v, &v)) return false;
    if (!plain_text(r, a[0], &a[0]) || !plain_text(r, a[1], &a[1])) return false;
    if (a[2].kind != QN_J_NONE && !qn_jarg_int(r, a[2], "count", -1, &count)) return false;
    return qn_jreplace(r, v.s, a[0].s, a[1].s, count, out);
}

static bool f_center(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a;
    int64_t width;
    return qn_jbind(r, args, "center", "width", 0, &a) && qn_jarg_int(r, a, "width", 80, &width) &&
           qn_jto_str(r, v, &v) && qn_jcenter(r, v.s, width, 3, NULL, out);
}

static bool f_indent(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a[3], text, prefix;
    qn_jlist *lines;
    if (!qn_jbind(r, args, "indent", "width first blank", 0, a)) return false;
    if (v.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, v);
    if (v.kind != QN_J_STRING) return qn_jfail(r, "indent wants a string, not %s", qn_jtype_name(v));
    const qn_jstr empty = {.bytes = "", .n_bytes = 0, .n_chars = 0},
                  end = {.bytes = "\n", .n_bytes = 1, .n_chars = 1};
    if (a[0].kind == QN_J_STRING) {
        prefix = a[0];
    } else {
        int64_t width;
        if (!qn_jarg_int(r, a[0], "indent's width", 4, &width)) return false;
        qn_jstr *none = qn_jalloc(r, sizeof *none);
        if (none == NULL) return false;
        *none = empty;
        if (!qn_jcenter(r, none, width, 1, NULL, &prefix)) return false;
    }
    if (!qn_jconcat(r, v.s, &end, false, &text) || !qn_jsplit_lines(r, text.s, false, &lines)) return false;
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    for (size_t i = 0; i < lines->n && !b.failed && qn_jwork(r, prefix.s->n_bytes / 16); i++) {
        const qn_jstr *line = lines->items[i].s;
        if (i > 0) qn_buffer_putc(&b, '\n');
        if (i == 0 ? qn_jtrue(a[1]) : line->n_bytes > 0 || qn_jtrue(a[2]))
            qn_buffer_append(&b, prefix.s->bytes, prefix.s->n_bytes);
        qn_buffer_append(&b, line->bytes, line->n_bytes);
    }
    return qn_jtake(r, &b, out);
}

static bool f_truncate(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a[4], head;
    int64_t length, leeway;
    const qn_jstr *end, dots = {.bytes = "...", .n_bytes = 3, .n_chars = 3};
    if (!qn_jbind(r, args, "truncate", "length killwords end leeway", 0, a) || !qn_jto_str(r, v, &v))
        return false;
    if (!qn_jarg_int(r, a[0], "length", 255, &length) || !qn_jarg_str(r, a[2], "end", &end)) return false;
    if (!qn_jarg_int(r, a[3].kind == QN_J_NONE ? qn_jmissing() : a[3], "leeway", 5, &leeway)) return false;
    if (end == NULL) end = &dots;
    const int64_t n_end = (int64_t)qn_jchars(end), n_chars = (int64_t)qn_jchars(v.s);
    if (length < n_end) return qn_jfail(r, "truncate: the length must be at least %lld", (long long)n_end);
    if (leeway < 0) return qn_jfail(r, "truncate: the leeway must not be negative");
    if (n_chars <= length || n_chars - length <= leeway) return *out = v, true;
    size_t cut = qn_jbyte_offset(v.s, (size_t)(length - n_end));
    if (!qn_jtrue(a[1])) {
        const char *blank = memrchr(v.s->bytes, ' ', cut);
        if (blank != NULL) cut = (size_t)(blank - v.s->bytes);
    }
    return qn_jsub(r, v.s, 0, cut, &head) && qn_jconcat(r, head.s, end, head.s->markup, out);
}

static bool f_wordcount(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    int64_t count = 0;
    bool inside = false;
    uint32_t c;
    if (!qn_jno_args(r, args, "wordcount") || !qn_jto_str(r, v, &v) || !qn_jwork(r, v.s->n_bytes))
        return false;
    for (size_t i = 0, n; i < v.s->n_bytes && (n = qn_utf8_decode(v.s->bytes + i, v.s->n_bytes - i, &c)) > 0;
         i += n) {
        const bool word = c == '_' || (c >= '0' && c <= '9') || qn_jis_letter(c);
        count += word && !inside;
        inside = word;
    }
    return *out = qn_jint(count), true;
}

static bool f_urlencode(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    if (!qn_jno_args(r, args, "urlencode")) return false;
    if (v.kind == QN_J_DICT) return qn_jfail(r, "urlencode: only text is supported");
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    if (!qn_jto_str(r, v, &v) || !qn_jwork(r, v.s->n_bytes)) return false;
    for (size_t i = 0; i < v.s->n_bytes && !b.failed; i++) {
        const unsigned char c = (unsigned char)v.s->bytes[i];
        const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (plain || (c != '\0' && strchr("_.-~/", c) != NULL)) qn_buffer_putc(&b, (char)c);
        else qn_buffer_printf(&b, "%%%02X", c);
    }
    return qn_jtake(r, &b, out);
}

static bool f_safe(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return qn_jno_args(r, args, "safe") && qn_jto_str(r, v, &v) && qn_jmark(r, v.s, true, out);
}
static bool f_escape(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    if (!qn_jno_args(r, args, "escape") || !qn_jto_str(r, v, &v)) return false;
    return v.s->markup ? (*out = v, true) : qn_jescape(r, v.s, out);
}
static bool f_forceescape(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return qn_jno_args(r, args, "forceescape") && qn_jto_str(r, v, &v) && qn_jescape(r, v.s, out);
}

static bool f_format(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jlist *l = qn_jlist_create(r, args->n);
    if (l == NULL || !qn_jto_str(r, v, &v)) return false;
    if (args->n > 0 && args->n_named > 0) return qn_jfail(r, "format: either names or positions, not both");
    if (args->n > 0) memcpy(l->items, args->values, args->n * sizeof *l->items);
    l->n = args->n;
    return qn_jpercent(r, v.s, qn_jseq(QN_J_TUPLE, l), args, out);
}

/* json.dumps; not escaped for HTML, unlike the filter of plain Jinja. */
static bool f_tojson(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a[4], indent;
    qn_jjson_style style = {0};
    if (!qn_jbind(r, args, "tojson", "ensure_ascii indent separators sort_keys", 0, a)) return false;
    style.ensure_ascii = qn_jtrue(a[0]);
    style.sort_keys = qn_jtrue(a[3]);
    if (a[1].kind == QN_J_STRING) {
        style.indent = a[1].s;
    } else if (a[1].kind != QN_J_NONE && a[1].kind != QN_J_MISSING) {
        int64_t width;
        qn_jval empty;
        if (!qn_jarg_int(r, a[1], "tojson's indent", 0, &width) || !qn_jtext(r, "", &empty)) return false;
        if (width > 1024)
            return qn_jlimit(r, "tojson: an indent of %lld is over the limit of 1024", (long long)width);
        if (!qn_jcenter(r, empty.s, width, 1, NULL, &indent)) return false;
        style.indent = indent.s;
    }
    if ((a[2].kind == QN_J_LIST || a[2].kind == QN_J_TUPLE) && a[2].list->n == 2) {
        if (!qn_jarg_str(r, a[2].list->items[0], "a separator", &style.item_separator)) return false;
        if (!qn_jarg_str(r, a[2].list->items[1], "a separator", &style.key_separator)) return false;
    } else if (a[2].kind != QN_J_NONE && a[2].kind != QN_J_MISSING) {
        return qn_jfail(r, "tojson: separators must be a pair of strings");
    }
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    qn_jjson(r, &b, v, &style);
    return qn_jtake(r, &b, out);
}

/* ---- numbers ---- */

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'z') return c - 'a' + 10;
    if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
    return 99;
}

typedef enum parsed { NOT_A_NUMBER, PARSED, TOO_LARGE } parsed;

/* int(text, base) */
static parsed parse_int(const qn_jstr *s, int64_t base, int64_t *out)
{
    size_t i, end;
    qn_jstrip(s, NULL, 3, &i, &end);
    const char *p = s->bytes;
    const bool negative = i < end && p[i] == '-';
    if (i < end && (p[i] == '-' || p[i] == '+')) i++;
    if (end - i > 2 && p[i] == '0') {
        const int64_t mark = p[i + 1] == 'x' || p[i + 1] == 'X'   ? 16
                             : p[i + 1] == 'o' || p[i + 1] == 'O' ? 8
                             : p[i + 1] == 'b' || p[i + 1] == 'B' ? 2
                                                                  : 0;
        if (mark != 0 && (base == mark || base == 0)) base = mark, i += 2;
    }
    if (base == 0) base = 10;
    if (base < 2 || base > 36 || i == end || p[i] == '_' || p[end - 1] == '_') return NOT_A_NUMBER;
    *out = 0;
    parsed result = PARSED;
    for (; i < end; i++) {
        if (p[i] == '_' && p[i - 1] != '_') continue;
        const int digit = digit_value(p[i]);
        if (digit >= base) return NOT_A_NUMBER;
        if (__builtin_mul_overflow(*out, base, out) || __builtin_sub_overflow(*out, digit, out))
            result = TOO_LARGE;
    }
    if (result == PARSED && !negative && *out == INT64_MIN) result = TOO_LARGE; /* counted downwards */
    if (result == PARSED && !negative) *out = -*out;
    return result;
}

/* float(text); a copy without underscores is read by strtod */
static bool parse_float(const qn_jstr *s, double *out)
{
    size_t begin, end, used = 0;
    char text[512];
    qn_jstrip(s, NULL, 3, &begin, &end);
    if (end - begin == 0 || end - begin >= sizeof text) return false;
    for (size_t i = begin; i < end; i++) {
        if (s->bytes[i] == '_') continue;
        if (s->bytes[i] == '\0' || strchr("0123456789+-.eEinfatyINFATY", s->bytes[i]) == NULL) return false;
        text[used++] = s->bytes[i];
    }
    text[used] = '\0';
    char *stop;
    *out = strtod(text, &stop);
    return used > 0 && *stop == '\0';
}

static bool float_to_int(qn_jrender *r, double f, qn_jval fallback, qn_jval *out)
{
    if (isnan(f) || isinf(f)) return *out = fallback, true;
    if (!(f >= -0x1p63 && f < 0x1p63)) return qn_jfail(r, "int: %g does not fit 64 bits", f);
    return *out = qn_jint((int64_t)f), true;
}

static bool f_int(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a[2];
    int64_t base, i;
    double f;
    if (!qn_jbind(r, args, "int", "default base", 0, a) || !qn_jarg_int(r, a[1], "base", 10, &base))
        return false;
    const qn_jval fallback = a[0].kind == QN_J_MISSING ? qn_jint(0) : a[0];
    if (v.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, v);
    if (qn_jas_int(v, &i)) return *out = qn_jint(i), true;
    if (v.kind == QN_J_FLOAT) return float_to_int(r, v.f, fallback, out);
    if (v.kind != QN_J_STRING) return *out = fallback, true;
    switch (parse_int(v.s, base, &i)) {
    case PARSED:
        return *out = qn_jint(i), true;
    case TOO_LARGE:
        return qn_jfail(r, "int: '%s' does not fit 64 bits", qn_quote(v.s->bytes, v.s->n_bytes).text);
    default:
        return parse_float(v.s, &f) ? float_to_int(r, f, fallback, out) : (*out = fallback, true);
    }
}

static bool f_float(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval fallback;
    double f;
    if (!qn_jbind(r, args, "float", "default", 0, &fallback)) return false;
    if (fallback.kind == QN_J_MISSING) fallback = qn_jfloat(0);
    if (v.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, v);
    if (qn_jis_number(v)) *out = qn_jfloat(qn_jas_double(v));
    else *out = v.kind == QN_J_STRING && parse_float(v.s, &f) ? qn_jfloat(f) : fallback;
    return true;
}

static bool f_abs(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    int64_t i;
    if (!qn_jno_args(r, args, "abs")) return false;
    if (v.kind == QN_J_FLOAT) return *out = qn_jfloat(fabs(v.f)), true;
    if (qn_jas_int(v, &i)) return i < 0 ? qn_jnegate(r, v, out) : (*out = qn_jint(i), true);
    return v.kind == QN_J_UNDEFINED ? qn_jundefined_error(r, v)
                                    : qn_jfail(r, "abs wants a number, not %s", qn_jtype_name(v));
}

/* Python's round: exact decimal rounding, halves to even. */
static double round_digits(double f, int64_t digits)
{
    char text[400];
    if (digits > 300 || !isfinite(f)) return f;
    if (digits < 0) {
        const double scale = pow(10, (double)-digits);
        return digits < -308 ? 0.0 : nearbyint(f / scale) * scale;
    }
    if (fabs(f) >= 0x1p53) return f;
    snprintf(text, sizeof text, "%.*f", (int)digits, f);
    return strtod(text, NULL);
}

static bool f_round(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a[2];
    int64_t precision, i;
    const qn_jstr *method;
    if (!qn_jbind(r, args, "round", "precision method", 0, a)) return false;
    if (!qn_jarg_int(r, a[0], "precision", 0, &precision) || !qn_jarg_str(r, a[1], "method", &method))
        return false;
    if (v.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, v);
    if (!qn_jis_number(v)) return qn_jfail(r, "round wants a number, not %s", qn_jtype_name(v));
    if (precision > 300 || precision < -300) return qn_jlimit(r, "round: more than 300 digits");
    if (method == NULL || qn_jis_text(a[1], "common")) {
        if (qn_jas_int(v, &i) && precision >= 0) return *out = qn_jint(i), true;
        const double rounded = round_digits(qn_jas_double(v), precision);
        if (v.kind != QN_J_FLOAT) return float_to_int(r, rounded, qn_jint(0), out);
        return *out = qn_jfloat(rounded), true;
    }
    const bool up = qn_jis_text(a[1], "ceil");
    if (!up && !qn_jis_text(a[1], "floor")) return qn_jfail(r, "round: the method is common, ceil or floor");
    const double scale = pow(10, (double)precision), scaled = qn_jas_double(v) * scale;
    return *out = qn_jfloat((up ? ceil(scaled) : floor(scaled)) / scale), true;
}

static bool f_filesizeformat(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    static const char *const decimal[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
    static const char *const binary[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
    qn_jval a, number;
    if (!qn_jbind(r, args, "filesizeformat", "binary", 0, &a) || !f_float(r, v, &(qn_jargs){0}, &number))
        return false;
    const double base = qn_jtrue(a) ? 1024 : 1000, bytes = number.f;
    qn_buffer b = {.max_bytes = 512};
    if (bytes == 1) {
        qn_buffer_puts(&b, "1 Byte");
    } else if (bytes < base) {
        qn_buffer_printf(&b, "%.0f Bytes", trunc(bytes));
    } else {
        size_t i = 0;
        double unit = base * base;
        while (i < 7 && bytes >= unit) i++, unit *= base;
        qn_buffer_printf(&b, "%.1f %s", base * bytes / unit, (qn_jtrue(a) ? binary : decimal)[i]);
    }
    return qn_jtake(r, &b, out);
}

static bool f_default(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a[2];
    if (!qn_jbind(r, args, "default", "default_value boolean", 0, a)) return false;
    if (v.kind != QN_J_UNDEFINED && (qn_jtrue(v) || !qn_jtrue(a[1]))) return *out = v, true;
    if (a[0].kind == QN_J_MISSING) return qn_jtext(r, "", out);
    return *out = a[0], true;
}

const qn_jentry qn_jfilters_text[] = {
    {"tojson", f_tojson, 0},
    {"trim", f_trim, 0},
    {"default", f_default, 0},
    {"d", f_default, 0},
    {"string", f_string, 0},
    {"upper", f_upper, 0},
    {"lower", f_lower, 0},
    {"capitalize", f_capitalize, 0},
    {"title", f_title, 0},
    {"replace", f_replace, 0},
    {"safe", f_safe, 0},
    {"escape", f_escape, 0},
    {"e", f_escape, 0},
    {"forceescape", f_forceescape, 0},
    {"indent", f_indent, 0},
    {"center", f_center, 0},
    {"truncate", f_truncate, 0},
    {"wordcount", f_wordcount, 0},
    {"urlencode", f_urlencode, 0},
    {"format", f_format, 0},
    {"int", f_int, 0},
    {"float", f_float, 0},
    {"abs", f_abs, 0},
    {"round", f_round, 0},
    {"filesizeformat", f_filesizeformat, 0},
    {NULL, NULL, 0},
};
