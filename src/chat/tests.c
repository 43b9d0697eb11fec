/* tests.c: what may stand after `is`. */
#include "chat/value.h"

#include "base/utf8.h"

#include <math.h>
#include <string.h>

#define SIMPLE(name, expression)                                                                             \
    static bool t_##name(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)                       \
    {                                                                                                        \
        *out = qn_jbool(expression);                                                                         \
        return qn_jno_args(r, args, #name);                                                                  \
    }
SIMPLE(defined, v.kind != QN_J_UNDEFINED)
SIMPLE(undefined, v.kind == QN_J_UNDEFINED)
SIMPLE(none, v.kind == QN_J_NONE)
SIMPLE(boolean, v.kind == QN_J_BOOL)
SIMPLE(false, v.kind == QN_J_BOOL && !v.b)
SIMPLE(true, v.kind == QN_J_BOOL && v.b)
SIMPLE(integer, v.kind == QN_J_INT)
SIMPLE(float, v.kind == QN_J_FLOAT)
SIMPLE(number, qn_jis_number(v))
SIMPLE(string, v.kind == QN_J_STRING)
SIMPLE(mapping, v.kind == QN_J_DICT)
SIMPLE(escaped, v.kind == QN_J_STRING && v.s->markup)
SIMPLE(sequence, v.kind == QN_J_STRING || v.kind == QN_J_LIST || v.kind == QN_J_TUPLE ||
                     v.kind == QN_J_DICT || v.kind == QN_J_RANGE || v.kind == QN_J_UNDEFINED)
SIMPLE(iterable,
       v.kind == QN_J_UNDEFINED || (v.kind >= QN_J_STRING && v.kind <= QN_J_RANGE) || v.kind == QN_J_LOOP)
SIMPLE(callable, v.kind == QN_J_MACRO || v.kind == QN_J_FUNCTION || v.kind == QN_J_METHOD ||
                     v.kind == QN_J_JOINER || v.kind == QN_J_LOOP || v.kind == QN_J_UNDEFINED)
#undef SIMPLE

static bool remainder_is(qn_jrender *r, qn_jval v, qn_jval divisor, int64_t wanted, qn_jval *out)
{
    qn_jval rest;
    if (!qn_jbinary(r, '%', v, divisor, &rest)) return false;
    bool equal;
    return qn_jequal(r, rest, qn_jint(wanted), &equal) && (*out = qn_jbool(equal), true);
}
static bool t_odd(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return qn_jno_args(r, args, "odd") && remainder_is(r, v, qn_jint(2), 1, out);
}
static bool t_even(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return qn_jno_args(r, args, "even") && remainder_is(r, v, qn_jint(2), 0, out);
}
static bool t_divisibleby(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval divisor;
    return qn_jbind(r, args, "divisibleby", "num", 1, &divisor) && remainder_is(r, v, divisor, 0, out);
}

static bool compare(qn_jrender *r, qn_jval v, const qn_jargs *args, const char *op, int *order)
{
    qn_jval other;
    return qn_jbind(r, args, op, "other", 1, &other) && qn_jcompare(r, v, other, op, order);
}
static bool t_lt(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    int order;
    return compare(r, v, args, "<", &order) && (*out = qn_jbool(order == -1), true);
}
static bool t_le(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    int order;
    return compare(r, v, args, "<=", &order) && (*out = qn_jbool(order == -1 || order == 0), true);
}
static bool t_gt(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    int order;
    return compare(r, v, args, ">", &order) && (*out = qn_jbool(order == 1), true);
}
static bool t_ge(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    int order;
    return compare(r, v, args, ">=", &order) && (*out = qn_jbool(order == 1 || order == 0), true);
}

static bool equals(qn_jrender *r, qn_jval v, const qn_jargs *args, bool wanted, qn_jval *out)
{
    qn_jval other;
    bool equal;
    if (!qn_jbind(r, args, "eq", "other", 1, &other) || !qn_jequal(r, v, other, &equal)) return false;
    return *out = qn_jbool(equal == wanted), true;
}
static bool t_eq(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return equals(r, v, args, true, out);
}
static bool t_ne(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return equals(r, v, args, false, out);
}

/* Identity: containers and objects by address, plain values by kind and value. */
static bool t_sameas(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval other;
    bool same = false;
    if (!qn_jbind(r, args, "sameas", "other", 1, &other)) return false;
    if (v.kind == other.kind && v.kind <= QN_J_STRING) {
        if (!qn_jequal(r, v, other, &same)) return false;
    } else if (v.kind == other.kind) {
        same = v.list == other.list;
    }
    return *out = qn_jbool(same), true;
}

static bool t_in(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval container;
    bool found;
    if (!qn_jbind(r, args, "in", "seq", 1, &container) || !qn_jcontains(r, container, v, &found))
        return false;
    return *out = qn_jbool(found), true;
}

static bool has_case(qn_jrender *r, qn_jval v, const qn_jargs *args, const char *name, const char *method,
                     qn_jval *out)
{
    static const qn_jargs none = {0};
    qn_jval text;
    if (!qn_jno_args(r, args, name) || !qn_jto_str(r, v, &text)) return false;
    return qn_jfind_method(text, method, strlen(method))->call(r, text, &none, out);
}
static bool t_lower(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return has_case(r, v, args, "lower", "islower", out);
}
static bool t_upper(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return has_case(r, v, args, "upper", "isupper", out);
}

static bool named(qn_jrender *r, qn_jval v, const qn_jargs *args, bool filter, qn_jval *out)
{
    if (!qn_jno_args(r, args, filter ? "filter" : "test")) return false;
    const bool known = v.kind == QN_J_STRING && (filter ? qn_jfind_filter(v.s->bytes, v.s->n_bytes)
                                                        : qn_jfind_test(v.s->bytes, v.s->n_bytes)) != NULL;
    return *out = qn_jbool(known), true;
}
static bool t_filter(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return named(r, v, args, true, out);
}
static bool t_test(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return named(r, v, args, false, out);
}

const qn_jentry qn_jtests[] = {
    {"defined", t_defined, 0},
    {"undefined", t_undefined, 0},
    {"none", t_none, 0},
    {"string", t_string, 0},
    {"mapping", t_mapping, 0},
    {"iterable", t_iterable, 0},
    {"sequence", t_sequence, 0},
    {"boolean", t_boolean, 0},
    {"true", t_true, 0},
    {"false", t_false, 0},
    {"number", t_number, 0},
    {"integer", t_integer, 0},
    {"float", t_float, 0},
    {"callable", t_callable, 0},
    {"escaped", t_escaped, 0},
    {"odd", t_odd, 0},
    {"even", t_even, 0},
    {"divisibleby", t_divisibleby, 0},
    {"eq", t_eq, 0},
    {"equalto", t_eq, 0},
    {"==", t_eq, 0},
    {"ne", t_ne, 0},
    {"!=", t_ne, 0},
    {"lt", t_lt, 0},
    {"lessthan", t_lt, 0},
    {"<", t_lt, 0},
    {"le", t_le, 0},
    {"<=", t_le, 0},
    {"gt", t_gt, 0},
    {"greaterthan", t_gt, 0},
    {">", t_gt, 0},
    {"ge", t_ge, 0},
    {">=", t_ge, 0},
    {"sameas", t_sameas, 0},
    {"in", t_in, 0},
    {"lower", t_lower, 0},
    {"upper", t_upper, 0},
    {"filter", t_filter, 0},
    {"test", t_test, 0},
    {NULL, NULL, 0},
};

const qn_jentry *qn_jfind_in(const qn_jentry *table, const char *name, size_t n_bytes)
{
    for (const qn_jentry *e = table; e->name != NULL; e++)
        if (strlen(e->name) == n_bytes && memcmp(e->name, name, n_bytes) == 0) return e;
    return NULL;
}

const qn_jentry *qn_jfind_test(const char *name, size_t n_bytes)
{
    return qn_jfind_in(qn_jtests, name, n_bytes);
}

const qn_jentry *qn_jfind_filter(const char *name, size_t n_bytes)
{
    const qn_jentry *e = qn_jfind_in(qn_jfilters_text, name, n_bytes);
    return e != NULL ? e : qn_jfind_in(qn_jfilters_sequence, name, n_bytes);
}

const qn_jentry *qn_jfind_global(const char *name, size_t n_bytes)
{
    return qn_jfind_in(qn_jglobals, name, n_bytes);
}
