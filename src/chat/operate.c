/* operate.c: operators, and access to attributes, items and slices. */
#include "base/checked.h"
#include "chat/ast.h"

#include <math.h>
#include <string.h>

bool qn_jundefined_error(qn_jrender *r, qn_jval u)
{
    if (u.s == NULL) return qn_jfail(r, "an undefined value is used");
    const qn_quoted name = qn_quote(u.s->bytes, u.s->n_bytes);
    if (u.owner == QN_J_MISSING) return qn_jfail(r, "'%s' is undefined", name.text);
    const qn_jval owner = {.kind = u.owner};
    const char *type = u.owner == QN_J_VIEW || u.owner == QN_J_GENERATOR ? "generator" : qn_jtype_name(owner);
    if (u.owner == QN_J_NONE) return qn_jfail(r, "None has no attribute '%s'", name.text);
    return qn_jfail(r, "a %s has no attribute '%s'", type, name.text);
}

/* ---- arithmetic ---- */

static bool overflow(qn_jrender *r, const char *op, int64_t a, int64_t b)
{
    return qn_jfail(r, "integer overflow: %lld %s %lld does not fit 64 bits", (long long)a, op, (long long)b);
}

static bool floor_divide(qn_jrender *r, int64_t a, int64_t b, bool want_rest, qn_jval *out)
{
    if (b == 0) return qn_jfail(r, "division by zero");
    if (a == INT64_MIN && b == -1) return want_rest ? (*out = qn_jint(0), true) : overflow(r, "//", a, b);
    int64_t quotient = a / b, rest = a % b;
    if (rest != 0 && (rest < 0) != (b < 0)) quotient--, rest += b;
    *out = qn_jint(want_rest ? rest : quotient);
    return true;
}

static bool int_power(qn_jrender *r, int64_t base, int64_t exponent, qn_jval *out)
{
    if (exponent < 0) {
        if (base == 0) return qn_jfail(r, "zero cannot be raised to a negative power");
        return *out = qn_jfloat(pow((double)base, (double)exponent)), true;
    }
    int64_t result = 1, square = base;
    for (int64_t rest = exponent; rest > 0; rest >>= 1) {
        if ((rest & 1) && __builtin_mul_overflow(result, square, &result))
            return overflow(r, "**", base, exponent);
        if (rest > 1 && __builtin_mul_overflow(square, square, &square))
            return overflow(r, "**", base, exponent);
    }
    return *out = qn_jint(result), true;
}

static bool int_arithmetic(qn_jrender *r, char op, int64_t a, int64_t b, qn_jval *out)
{
    int64_t result = 0;
    switch (op) {
    case '+':
        if (__builtin_add_overflow(a, b, &result)) return overflow(r, "+", a, b);
        break;
    case '-':
        if (__builtin_sub_overflow(a, b, &result)) return overflow(r, "-", a, b);
        break;
    case '*':
        if (__builtin_mul_overflow(a, b, &result)) return overflow(r, "*", a, b);
        break;
    case '/':
        if (b == 0) return qn_jfail(r, "division by zero");
        return *out = qn_jfloat((double)a / (double)b), true;
    case 'f':
        return floor_divide(r, a, b, false, out);
    case '%':
        return floor_divide(r, a, b, true, out);
    default:
        return int_power(r, a, b, out);
    }
    return *out = qn_jint(result), true;
}

static bool float_arithmetic(qn_jrender *r, char op, double a, double b, qn_jval *out)
{
    if (b == 0 && (op == '/' || op == 'f' || op == '%')) return qn_jfail(r, "division by zero");
    double result = 0;
    switch (op) {
    case '+':
        result = a + b;
        break;
    case '-':
        result = a - b;
        break;
    case '*':
        result = a * b;
        break;
    case '/':
        result = a / b;
        break;
    case 'f':
    case '%': {
        double rest = fmod(a, b);
        double quotient = (a - rest) / b;
        if (rest != 0 && (rest < 0) != (b < 0)) rest += b, quotient -= 1;
        if (rest == 0) rest = copysign(0.0, b);
        result = op == '%' ? rest : quotient == 0 ? copysign(0.0, a / b) : floor(quotient + 0.5);
        break;
    }
    default:
        if (a < 0 && b != floor(b)) return qn_jfail(r, "a negative number cannot be raised to a fraction");
        if (a == 0 && b < 0) return qn_jfail(r, "zero cannot be raised to a negative power");
        result = pow(a, b);
        if (isinf(result) && !isinf(a) && !isinf(b)) return qn_jfail(r, "the result of ** is too large");
    }
    return *out = qn_jfloat(result), true;
}

static bool join_lists(qn_jrender *r, qn_jval a, qn_jval b, qn_jval *out)
{
    qn_jlist *l = qn_jlist_create(r, a.list->n + b.list->n);
    if (l == NULL || !qn_jwork(r, (a.list->n + b.list->n) / 4)) return false;
    if (a.list->n > 0) memcpy(l->items, a.list->items, a.list->n * sizeof *l->items);
    if (b.list->n > 0) memcpy(l->items + a.list->n, b.list->items, b.list->n * sizeof *l->items);
    l->n = a.list->n + b.list->n;
    return *out = qn_jseq(a.kind, l), true;
}

/* Joining marked-up and plain text escapes the plain one, as MarkupSafe does. */
static bool join_strings(qn_jrender *r, qn_jval a, qn_jval b, qn_jval *out)
{
    const bool markup = a.s->markup || b.s->markup;
    if (markup && !a.s->markup && !qn_jescape(r, a.s, &a)) return false;
    if (markup && !b.s->markup && !qn_jescape(r, b.s, &b)) return false;
    return qn_jconcat(r, a.s, b.s, markup, out);
}

static bool repeat_string(qn_jrender *r, const qn_jstr *s, int64_t times, qn_jval *out)
{
    size_t total;
    if (times <= 0 || s->n_bytes == 0) return qn_jborrow(r, "", 0, out);
    if (!qn_mul_size(s->n_bytes, (size_t)times, &total) || total > QN_J_MAX_STRING_BYTES)
        return qn_jlimit(r, "a string of %zu bytes times %lld is over the limit of %d MiB", s->n_bytes,
                         (long long)times, QN_J_MAX_STRING_BYTES >> 20);
    char *bytes = qn_jalloc(r, total + 1);
    if (bytes == NULL || !qn_jwork(r, total / 16)) return false;
    for (size_t i = 0; i < total; i += s->n_bytes) memcpy(bytes + i, s->bytes, s->n_bytes);
    return qn_jborrow(r, bytes, total, out) && (!s->markup || qn_jmark(r, out->s, true, out));
}

static bool repeat_list(qn_jrender *r, qn_jval v, int64_t times, qn_jval *out)
{
    size_t total = 0;
    if (times < 0) times = 0;
    if (!qn_mul_size(v.list->n, (size_t)times, &total) || total > QN_J_MAX_ITEMS)
        return qn_jlimit(r, "a list of %zu items times %lld is over the limit of %d items", v.list->n,
                         (long long)times, QN_J_MAX_ITEMS);
    qn_jlist *l = qn_jlist_create(r, total);
    if (l == NULL || !qn_jwork(r, total)) return false;
    for (size_t i = 0; i < total; i += v.list->n)
        memcpy(l->items + i, v.list->items, v.list->n * sizeof *l->items);
    l->n = total;
    return *out = qn_jseq(v.kind, l), true;
}

static bool is_sequence(qn_jval v)
{
    return v.kind == QN_J_STRING || v.kind == QN_J_LIST || v.kind == QN_J_TUPLE;
}

static bool repeat(qn_jrender *r, qn_jval v, int64_t times, qn_jval *out)
{
    return v.kind == QN_J_STRING ? repeat_string(r, v.s, times, out) : repeat_list(r, v, times, out);
}

bool qn_jbinary(qn_jrender *r, char op, qn_jval a, qn_jval b, qn_jval *out)
{
    int64_t i, k;
    if (op == '%' && a.kind == QN_J_STRING) return qn_jpercent(r, a.s, b, NULL, out);
    if (a.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, a);
    if (b.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, b);
    if (qn_jas_int(a, &i) && qn_jas_int(b, &k)) return int_arithmetic(r, op, i, k, out);
    if (qn_jis_number(a) && qn_jis_number(b))
        return float_arithmetic(r, op, qn_jas_double(a), qn_jas_double(b), out);
    if (op == '+' && a.kind == QN_J_STRING && b.kind == QN_J_STRING) return join_strings(r, a, b, out);
    if (op == '+' && a.kind == b.kind && is_sequence(a)) return join_lists(r, a, b, out);
    if (op == '*' && is_sequence(a) && qn_jas_int(b, &k)) return repeat(r, a, k, out);
    if (op == '*' && is_sequence(b) && qn_jas_int(a, &i)) return repeat(r, b, i, out);
    const char *const text = op == 'f' ? "//" : op == 'p' ? "**" : (char[]){op, '\0'};
    return qn_jfail(r, "'%s' is not supported between %s and %s", text, qn_jtype_name(a), qn_jtype_name(b));
}

bool qn_jnegate(qn_jrender *r, qn_jval v, qn_jval *out)
{
    int64_t i;
    if (v.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, v);
    if (v.kind == QN_J_FLOAT) return *out = qn_jfloat(-v.f), true;
    if (!qn_jas_int(v, &i)) return qn_jfail(r, "'-' is not supported for %s", qn_jtype_name(v));
    return qn_jbinary(r, '-', qn_jint(0), qn_jint(i), out);
}

/* ---- access ---- */

static bool is_name(const qn_jstr *s, const char *name)
{
    return s->n_bytes == strlen(name) && memcmp(s->bytes, name, s->n_bytes) == 0;
}

static bool group_attr(qn_jval v, const qn_jstr *name, qn_jval *out)
{
    if (!v.group || (!is_name(name, "grouper") && !is_name(name, "list"))) return false;
    *out = v.list->items[is_name(name, "list")];
    return true;
}

/* A real attribute: a method, or a field of an object. *found false where there is none. */
static bool attribute(qn_jrender *r, qn_jval object, const qn_jstr *name, qn_jval *out, bool *found)
{
    *found = true;
    if (object.kind == QN_J_NAMESPACE) {
        const qn_jitem *item = qn_jdict_find_text(r, object.dict, name->bytes, name->n_bytes);
        *found = item != NULL;
        if (item != NULL) *out = item->value;
        return true;
    }
    if (object.kind == QN_J_TUPLE && group_attr(object, name, out)) return true;
    const qn_jentry *entry = qn_jfind_method(object, name->bytes, name->n_bytes);
    if (entry != NULL) {
        qn_jmethod *m = qn_jalloc(r, sizeof *m);
        if (m == NULL) return false;
        *m = (qn_jmethod){.self = object, .entry = entry};
        *out = (qn_jval){.kind = QN_J_METHOD, .method = m};
        return true;
    }
    if (object.kind == QN_J_LOOP || object.kind == QN_J_MACRO) {
        const bool ok = object.kind == QN_J_LOOP ? qn_jloop_attr(r, object.loop, name, out)
                                                 : qn_jmacro_attr(r, object.macro, name, out);
        *found = ok && out->kind != QN_J_MISSING;
        return ok;
    }
    if (object.kind == QN_J_RANGE &&
        (is_name(name, "start") || is_name(name, "stop") || is_name(name, "step"))) {
        *out = qn_jint(name->bytes[2] == 'a'   ? object.range->start
                       : name->bytes[2] == 'o' ? object.range->stop
                                               : object.range->step);
        return true;
    }
    if (object.kind == QN_J_CYCLER && is_name(name, "current"))
        return *out = object.cycler->items->items[object.cycler->position], true;
    *found = false;
    return true;
}

/* The item under a key; *found false where there is none or the object has no items. */
static bool item(qn_jrender *r, qn_jval object, qn_jval key, qn_jval *out, bool *found)
{
    int64_t i;
    size_t n;
    *found = false;
    if (object.kind == QN_J_DICT) {
        if (!qn_jhashable(key)) return true;
        qn_jitem *entry;
        if (!qn_jdict_find(r, object.dict, key, &entry)) return false;
        *found = entry != NULL;
        if (entry != NULL) *out = entry->value;
        return true;
    }
    const bool indexed = is_sequence(object) || object.kind == QN_J_RANGE;
    if (!indexed || !qn_jas_int(key, &i)) return true;
    if (!qn_jlength(r, object, &n)) return false;
    if (i < 0 && i >= -(int64_t)qn_min_size(n, INT64_MAX)) i += (int64_t)n;
    if (i < 0 || (uint64_t)i >= n) return true;
    *found = true;
    if (object.kind == QN_J_RANGE) return *out = qn_jint(qn_jrange_at(object.range, (uint64_t)i)), true;
    if (object.kind != QN_J_STRING) return *out = object.list->items[i], true;
    if (n != object.s->n_bytes && !qn_jwork(r, (size_t)i / 4)) return false;
    const size_t begin = qn_jbyte_offset(object.s, (size_t)i);
    size_t end = begin + 1;
    while (end < object.s->n_bytes && ((unsigned char)object.s->bytes[end] & 0xc0) == 0x80) end++;
    return qn_jchar(r, object.s->bytes + begin, end - begin, out);
}

bool qn_jgetattr(qn_jrender *r, qn_jval object, const qn_jstr *name, qn_jval *out)
{
    bool found;
    const qn_jval from = object; /* *out may be where object came from */
    if (object.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, object);
    if (!attribute(r, from, name, out, &found)) return false;
    if (!found && !item(r, from, qn_jstring(name), out, &found)) return false;
    if (!found) *out = qn_jundefined(name, from.kind);
    return true;
}

bool qn_jgetitem(qn_jrender *r, qn_jval object, qn_jval key, qn_jval *out)
{
    bool found;
    const qn_jval from = object;
    if (object.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, object);
    if (!item(r, from, key, out, &found)) return false;
    if (!found && key.kind == QN_J_STRING && !attribute(r, from, key.s, out, &found)) return false;
    if (found) return true;
    qn_jval name = {.s = NULL};
    if (!qn_jto_str(r, key, &name)) return false;
    *out = qn_jundefined(name.s, from.kind);
    return true;
}

/* ---- slices ---- */

/* One bound of a slice, brought into [low, high]. */
static int64_t clamp_bound(int64_t bound, int64_t n, int64_t low, int64_t high)
{
    if (bound < 0) bound = bound < -n ? low : bound + n;
    return bound < low ? low : bound > high ? high : bound;
}

/* Which indices start, start + step, ... a slice takes; *count of them. False: not integers, or step 0. */
static bool slice_indices(const qn_jval bounds[3], int64_t n, int64_t *start, int64_t *step, int64_t *count,
                          bool *zero_step)
{
    int64_t stop;
    *zero_step = false;
    *step = 1;
    for (int i = 0; i < 3; i++)
        if (bounds[i].kind != QN_J_NONE && bounds[i].kind != QN_J_INT && bounds[i].kind != QN_J_BOOL)
            return false;
    if (qn_jas_int(bounds[2], step) && *step == 0) return *zero_step = true, false;
    if (*step < -INT64_MAX) *step = -INT64_MAX;
    const int64_t low = *step > 0 ? 0 : -1, high = *step > 0 ? n : n - 1;
    *start = *step > 0 ? low : high;
    stop = *step > 0 ? high : low;
    if (qn_jas_int(bounds[0], start)) *start = clamp_bound(*start, n, low, high);
    if (qn_jas_int(bounds[1], &stop)) stop = clamp_bound(stop, n, low, high);
    if (*step > 0) *count = stop > *start ? (stop - *start - 1) / *step + 1 : 0;
    else *count = *start > stop ? (*start - stop - 1) / -*step + 1 : 0;
    return true;
}

static bool slice_string(qn_jrender *r, const qn_jstr *s, int64_t start, int64_t step, int64_t count,
                         qn_jval *out)
{
    if (count == 0) return qn_jborrow(r, "", 0, out);
    if (!qn_jwork(r, (size_t)(count > start ? count : start) / 8)) return false;
    if (step == 1) {
        const size_t begin = qn_jbyte_offset(s, (size_t)start);
        const qn_jstr rest = {.bytes = s->bytes + begin,
                              .n_bytes = s->n_bytes - begin,
                              .n_chars = qn_jchars(s) - (size_t)start};
        return qn_jsub(r, s, begin, begin + qn_jbyte_offset(&rest, (size_t)count), out);
    }
    uint32_t *offsets = qn_jalloc(r, (s->n_bytes + 1) * sizeof *offsets); /* where each character begins */
    if (offsets == NULL || !qn_jwork(r, s->n_bytes / 4)) return false;
    size_t n_chars = 0;
    for (size_t i = 0; i < s->n_bytes; i++)
        if (((unsigned char)s->bytes[i] & 0xc0) != 0x80) offsets[n_chars++] = (uint32_t)i;
    offsets[n_chars] = (uint32_t)s->n_bytes;
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    for (int64_t i = 0; i < count; i++) {
        const uint32_t *at = offsets + start + i * step;
        qn_buffer_append(&b, s->bytes + at[0], at[1] - at[0]);
    }
    return qn_jtake(r, &b, out);
}

static bool slice_range(qn_jrender *r, const qn_jrange *range, int64_t start, int64_t step, int64_t count,
                        qn_jval *out)
{
    qn_jrange *part = qn_jalloc(r, sizeof *part);
    if (part == NULL) return false;
    part->n = (uint64_t)count;
    part->start = count > 0 ? qn_jrange_at(range, (uint64_t)start) : range->start;
    if (__builtin_mul_overflow(range->step, step, &part->step)) part->step = range->step;
    const int64_t last = count > 0 ? qn_jrange_at(part, part->n - 1) : part->start;
    if (count == 0) part->stop = part->start;
    else if (__builtin_add_overflow(last, part->step > 0 ? 1 : -1, &part->stop)) part->stop = last;
    return *out = (qn_jval){.kind = QN_J_RANGE, .range = part}, true;
}

bool qn_jslice(qn_jrender *r, qn_jval object, const qn_jval bounds[3], qn_jval *out)
{
    int64_t start, step, count;
    size_t n;
    bool zero_step;
    if (object.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, object);
    if (!is_sequence(object) && object.kind != QN_J_RANGE)
        return qn_jfail(r, "a value of type %s cannot be sliced", qn_jtype_name(object));
    if (!qn_jlength(r, object, &n)) return false;
    if (!slice_indices(bounds, (int64_t)qn_min_size(n, INT64_MAX), &start, &step, &count, &zero_step)) {
        if (zero_step) return qn_jfail(r, "a slice cannot have a step of 0");
        return qn_jfail(r, "the bounds of a slice must be integers");
    }
    if (object.kind == QN_J_STRING) return slice_string(r, object.s, start, step, count, out);
    if (object.kind == QN_J_RANGE) return slice_range(r, object.range, start, step, count, out);
    qn_jlist *l = qn_jlist_create(r, (size_t)count);
    if (l == NULL || !qn_jwork(r, (size_t)count / 4)) return false;
    for (int64_t i = 0; i < count; i++) l->items[l->n++] = object.list->items[start + i * step];
    return *out = qn_jseq(object.kind, l), true;
}
