/* filters_sequence.c: filters over lists and mappings. Where Python gives a generator, so do we: it
 * can be walked once, is always true and has no length. */
#include "chat/value.h"

#include <string.h>

static qn_jval generator(qn_jlist *l)
{
    l->type_name = "generator";
    return qn_jseq(QN_J_GENERATOR, l);
}

/* ---- attributes by path: "a.b.0", or a number ---- */

static bool is_digits(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] < '0' || s[i] > '9') return false;
    return n > 0 && n < 10;
}

/* default_value MISSING: none */
static bool get_path(qn_jrender *r, qn_jval v, qn_jval path, qn_jval default_value, qn_jval *out)
{
    const qn_jval fallback = default_value;
    *out = v;
    if (path.kind != QN_J_STRING) {
        if (!qn_jgetitem(r, v, path, out)) return false;
        if (out->kind == QN_J_UNDEFINED && fallback.kind != QN_J_MISSING) *out = fallback;
        return true;
    }
    for (size_t i = 0; i <= path.s->n_bytes;) {
        const char *part = path.s->bytes + i, *dot = memchr(part, '.', path.s->n_bytes - i);
        const size_t n = dot != NULL ? (size_t)(dot - part) : path.s->n_bytes - i;
        qn_jval key;
        if (is_digits(part, n)) {
            int64_t index = 0;
            for (size_t k = 0; k < n; k++) index = index * 10 + (part[k] - '0');
            key = qn_jint(index);
        } else if (!qn_jborrow(r, part, n, &key)) {
            return false;
        }
        if (!qn_jgetitem(r, *out, key, out)) return false;
        if (out->kind == QN_J_UNDEFINED && fallback.kind != QN_J_MISSING) *out = fallback;
        i += n + 1;
    }
    return true;
}

/* The attribute that an item is sorted, grouped or compared by, in small letters unless told otherwise.
 * A path may name several, separated by commas. */
static bool sort_key(qn_jrender *r, qn_jval item, qn_jval path, bool case_sensitive, qn_jval fallback,
                     qn_jval *out)
{
    if (path.kind == QN_J_MISSING || path.kind == QN_J_NONE) {
        *out = item;
    } else if (path.kind == QN_J_STRING && memchr(path.s->bytes, ',', path.s->n_bytes) != NULL) {
        qn_jlist *l = qn_jlist_create(r, 0);
        if (l == NULL) return false;
        for (size_t i = 0; i <= path.s->n_bytes;) {
            const char *part = path.s->bytes + i, *comma = memchr(part, ',', path.s->n_bytes - i);
            const size_t n = comma != NULL ? (size_t)(comma - part) : path.s->n_bytes - i;
            qn_jval one, key;
            if (!qn_jborrow(r, part, n, &one) || !sort_key(r, item, one, case_sensitive, fallback, &key))
                return false;
            if (!qn_jlist_push(r, l, key)) return false;
            i += n + 1;
        }
        *out = qn_jseq(QN_J_LIST, l);
    } else if (!get_path(r, item, path, fallback, out)) {
        return false;
    }
    return out->kind != QN_J_STRING || case_sensitive || qn_jcase_map(r, out->s, QN_J_LOWER, out);
}

static bool keys_of(qn_jrender *r, const qn_jlist *l, qn_jval path, bool case_sensitive, qn_jval fallback,
                    qn_jlist **keys)
{
    *keys = qn_jlist_create(r, l->n);
    if (*keys == NULL) return false;
    for (size_t i = 0; i < l->n; i++, (*keys)->n++)
        if (!sort_key(r, l->items[i], path, case_sensitive, fallback, &(*keys)->items[i])) return false;
    return true;
}

/* ---- simple ones ---- */

static bool f_length(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    size_t n;
    if (!qn_jno_args(r, args, "length") || !qn_jlength(r, v, &n)) return false;
    return *out = qn_jint((int64_t)n), true;
}

static bool f_list(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jlist *l;
    return qn_jno_args(r, args, "list") && qn_jiterate(r, v, true, &l) &&
           (*out = qn_jseq(QN_J_LIST, l), true);
}

static bool at_end(qn_jrender *r, qn_jval v, const qn_jargs *args, bool last, qn_jval *out)
{
    qn_jlist *l;
    const char *name = last ? "last" : "first";
    size_t n;
    if (!qn_jno_args(r, args, name)) return false;
    if (last && v.kind == QN_J_GENERATOR)
        return qn_jfail(r, "a generator cannot be reversed; write |list|last");
    if (v.kind == QN_J_STRING || v.kind == QN_J_RANGE) { /* no need to build them */
        if (!qn_jlength(r, v, &n)) return false;
        return n > 0 ? qn_jgetitem(r, v, qn_jint(last ? (int64_t)n - 1 : 0), out)
                     : (*out = qn_jundefined(NULL, v.kind), true);
    }
    if (!qn_jiterate(r, v, false, &l)) return false;
    *out = l->n > 0 ? l->items[last ? l->n - 1 : 0] : qn_jundefined(NULL, v.kind);
    return true;
}
static bool f_first(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return at_end(r, v, args, false, out);
}
static bool f_last(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return at_end(r, v, args, true, out);
}

static bool f_reverse(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jlist *l;
    if (!qn_jno_args(r, args, "reverse")) return false;
    if (v.kind == QN_J_STRING) {
        const qn_jval bounds[3] = {qn_jnone(), qn_jnone(), qn_jint(-1)};
        return qn_jslice(r, v, bounds, out);
    }
    if (!qn_jiterate(r, v, true, &l)) return false;
    for (size_t i = 0; i < l->n / 2; i++) {
        const qn_jval swap = l->items[i];
        l->items[i] = l->items[l->n - 1 - i];
        l->items[l->n - 1 - i] = swap;
    }
    return *out = generator(l), qn_jwork(r, l->n);
}

static bool f_join(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a[2], separator;
    qn_jlist *l;
    if (!qn_jbind(r, args, "join", "d attribute", 0, a) || !qn_jiterate(r, v, false, &l)) return false;
    if (a[0].kind == QN_J_MISSING ? !qn_jtext(r, "", &separator) : !qn_jto_str(r, a[0], &separator))
        return false;
    const bool by_path = a[1].kind != QN_J_MISSING && a[1].kind != QN_J_NONE;
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    for (size_t i = 0; i < l->n && !b.failed; i++) {
        qn_jval item = l->items[i];
        if (i > 0) qn_buffer_append(&b, separator.s->bytes, separator.s->n_bytes);
        if (by_path && !get_path(r, l->items[i], a[1], qn_jmissing(), &item)) break;
        if (!qn_jprint(r, &b, item)) break;
    }
    return qn_jtake(r, &b, out);
}

static bool f_attr(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval name;
    if (!qn_jbind(r, args, "attr", "name", 1, &name) || !qn_jto_str(r, name, &name)) return false;
    if (v.kind == QN_J_DICT) { /* an attribute only, never an item */
        const qn_jentry *e = qn_jfind_method(v, name.s->bytes, name.s->n_bytes);
        return e != NULL ? qn_jgetattr(r, v, name.s, out) : (*out = qn_jundefined(name.s, v.kind), true);
    }
    return qn_jgetattr(r, v, name.s, out);
}

static bool f_items(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    static const qn_jargs none = {0};
    if (!qn_jno_args(r, args, "items")) return false;
    if (v.kind == QN_J_UNDEFINED) {
        qn_jlist *l = qn_jlist_create(r, 0);
        return l != NULL && (*out = generator(l), true);
    }
    if (v.kind != QN_J_DICT) return qn_jfail(r, "items wants a mapping, not %s", qn_jtype_name(v));
    if (!qn_jfind_method(v, "items", 5)->call(r, v, &none, out)) return false;
    return *out = generator(out->list), true;
}

/* ---- order ---- */

static bool f_sort(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a[3];
    qn_jlist *l, *keys;
    uint32_t *order;
    if (!qn_jbind(r, args, "sort", "reverse case_sensitive attribute", 0, a)) return false;
    if (!qn_jiterate(r, v, false, &l) || !keys_of(r, l, a[2], qn_jtrue(a[1]), qn_jmissing(), &keys))
        return false;
    qn_jlist *sorted = qn_jlist_create(r, l->n);
    if (sorted == NULL || !qn_jsort(r, keys->items, l->n, qn_jtrue(a[0]), &order)) return false;
    for (size_t i = 0; i < l->n; i++) sorted->items[sorted->n++] = l->items[order[i]];
    return *out = qn_jseq(QN_J_LIST, sorted), true;
}

static bool f_dictsort(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    static const qn_jargs none = {0};
    qn_jval a[3], pairs, path = qn_jint(0);
    qn_jlist *keys;
    uint32_t *order;
    if (!qn_jbind(r, args, "dictsort", "case_sensitive by reverse", 0, a)) return false;
    if (v.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, v);
    if (v.kind != QN_J_DICT) return qn_jfail(r, "dictsort wants a mapping, not %s", qn_jtype_name(v));
    if (qn_jis_text(a[1], "value")) path = qn_jint(1);
    else if (a[1].kind != QN_J_MISSING && !qn_jis_text(a[1], "key"))
        return qn_jfail(r, "dictsort: 'by' is 'key' or 'value'");
    if (!qn_jfind_method(v, "items", 5)->call(r, v, &none, &pairs)) return false;
    if (!keys_of(r, pairs.list, path, qn_jtrue(a[0]), qn_jmissing(), &keys)) return false;
    qn_jlist *sorted = qn_jlist_create(r, keys->n);
    if (sorted == NULL || !qn_jsort(r, keys->items, keys->n, qn_jtrue(a[2]), &order)) return false;
    for (size_t i = 0; i < keys->n; i++) sorted->items[sorted->n++] = pairs.list->items[order[i]];
    return *out = qn_jseq(QN_J_LIST, sorted), true;
}

static bool extreme(qn_jrender *r, qn_jval v, const qn_jargs *args, bool want_max, qn_jval *out)
{
    qn_jval a[2];
    qn_jlist *l, *keys;
    size_t best = 0;
    if (!qn_jbind(r, args, want_max ? "max" : "min", "case_sensitive attribute", 0, a)) return false;
    if (!qn_jiterate(r, v, false, &l) || !keys_of(r, l, a[1], qn_jtrue(a[0]), qn_jmissing(), &keys))
        return false;
    if (l->n == 0) return *out = qn_jundefined(NULL, v.kind), true;
    for (size_t i = 1; i < l->n; i++) {
        int order;
        if (!qn_jcompare(r, keys->items[i], keys->items[best], want_max ? ">" : "<", &order)) return false;
        if (order == (want_max ? 1 : -1)) best = i;
    }
    return *out = l->items[best], true;
}
static bool f_max(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return extreme(r, v, args, true, out);
}
static bool f_min(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return extreme(r, v, args, false, out);
}

static bool f_unique(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a[2];
    qn_jlist *l, *keys, *unique = qn_jlist_create(r, 0);
    qn_jdict *seen = qn_jdict_create(r);
    if (unique == NULL || seen == NULL || !qn_jbind(r, args, "unique", "case_sensitive attribute", 0, a))
        return false;
    if (!qn_jiterate(r, v, false, &l) || !keys_of(r, l, a[1], qn_jtrue(a[0]), qn_jmissing(), &keys))
        return false;
    for (size_t i = 0; i < l->n; i++) {
        qn_jitem *item;
        if (!qn_jdict_find(r, seen, keys->items[i], &item)) return false;
        if (item != NULL) continue;
        if (!qn_jdict_set(r, seen, keys->items[i], qn_jnone()) || !qn_jlist_push(r, unique, l->items[i]))
            return false;
    }
    return *out = generator(unique), true;
}

static bool push_group(qn_jrender *r, qn_jlist *groups, qn_jval grouper, qn_jlist *members)
{
    qn_jlist *pair = qn_jlist_create(r, 2);
    if (pair == NULL) return false;
    pair->items[pair->n++] = grouper;
    pair->items[pair->n++] = qn_jseq(QN_J_LIST, members);
    qn_jval group = qn_jseq(QN_J_TUPLE, pair);
    group.group = 1;
    return qn_jlist_push(r, groups, group);
}

static bool f_groupby(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a[3];
    qn_jlist *l, *keys, *groups = qn_jlist_create(r, 0), *members = NULL;
    uint32_t *order;
    if (groups == NULL || !qn_jbind(r, args, "groupby", "attribute default case_sensitive", 1, a))
        return false;
    if (a[1].kind == QN_J_NONE) a[1] = qn_jmissing();
    if (!qn_jiterate(r, v, false, &l) || !keys_of(r, l, a[0], qn_jtrue(a[2]), a[1], &keys)) return false;
    if (!qn_jsort(r, keys->items, keys->n, false, &order)) return false;
    for (size_t i = 0; i < l->n; i++) {
        bool same = false;
        qn_jval grouper; /* as it is in the first member, not in small letters */
        if (i > 0 && !qn_jequal(r, keys->items[order[i]], keys->items[order[i - 1]], &same)) return false;
        if (!same) {
            members = qn_jlist_create(r, 0);
            if (members == NULL || !get_path(r, l->items[order[i]], a[0], a[1], &grouper)) return false;
            if (!push_group(r, groups, grouper, members)) return false;
        }
        if (!qn_jlist_push(r, members, l->items[order[i]])) return false;
    }
    return *out = qn_jseq(QN_J_LIST, groups), true;
}

static bool f_sum(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a[2];
    qn_jlist *l;
    if (!qn_jbind(r, args, "sum", "attribute start", 0, a) || !qn_jiterate(r, v, false, &l)) return false;
    *out = a[1].kind == QN_J_MISSING ? qn_jint(0) : a[1];
    if (out->kind == QN_J_STRING) return qn_jfail(r, "sum: strings are joined with join");
    for (size_t i = 0; i < l->n; i++) {
        qn_jval item = l->items[i];
        const bool by_path = a[0].kind != QN_J_MISSING && a[0].kind != QN_J_NONE;
        if (by_path && !get_path(r, l->items[i], a[0], qn_jmissing(), &item)) return false;
        if (!qn_jbinary(r, '+', *out, item, out)) return false;
    }
    return true;
}

/* ---- pieces ---- */

static bool f_batch(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a[2];
    int64_t size;
    qn_jlist *l, *batch = NULL, *batches = qn_jlist_create(r, 0);
    if (batches == NULL || !qn_jbind(r, args, "batch", "linecount fill_with", 1, a)) return false;
    if (!qn_jarg_int(r, a[0], "linecount", 0, &size) || !qn_jiterate(r, v, false, &l)) return false;
    if (size < 1) return qn_jfail(r, "batch: the size must be at least 1, not %lld", (long long)size);
    for (size_t i = 0; i < l->n; i++) {
        if (i % (uint64_t)size == 0) {
            batch = qn_jlist_create(r, 0);
            if (batch == NULL || !qn_jlist_push(r, batches, qn_jseq(QN_J_LIST, batch))) return false;
        }
        if (!qn_jlist_push(r, batch, l->items[i])) return false;
    }
    const bool fill = a[1].kind != QN_J_MISSING && a[1].kind != QN_J_NONE && batch != NULL;
    if (fill && size > QN_J_MAX_ITEMS)
        return qn_jlimit(r, "batch: filling up to %lld items is over the limit", (long long)size);
    while (fill && (int64_t)batch->n < size)
        if (!qn_jlist_push(r, batch, a[1])) return false;
    return *out = generator(batches), true;
}

static bool f_slice(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jval a[2];
    int64_t n_slices;
    qn_jlist *l;
    if (!qn_jbind(r, args, "slice", "slices fill_with", 1, a) ||
        !qn_jarg_int(r, a[0], "slices", 0, &n_slices))
        return false;
    if (n_slices < 1)
        return qn_jfail(r, "slice: the number of slices must be at least 1, not %lld", (long long)n_slices);
    if (n_slices > QN_J_MAX_ITEMS)
        return qn_jlimit(r, "slice: %lld slices are over the limit", (long long)n_slices);
    qn_jlist *slices = qn_jlist_create(r, (size_t)n_slices);
    if (slices == NULL || !qn_jiterate(r, v, false, &l)) return false;
    const size_t each = l->n / (size_t)n_slices, larger = l->n % (size_t)n_slices;
    const bool fill = a[1].kind != QN_J_MISSING && a[1].kind != QN_J_NONE;
    size_t at = 0;
    for (size_t i = 0; i < (size_t)n_slices; i++) {
        const size_t n = each + (i < larger);
        qn_jlist *one = qn_jlist_create(r, n + 1);
        if (one == NULL) return false;
        if (n > 0) memcpy(one->items, l->items + at, n * sizeof *one->items);
        one->n = n;
        at += n;
        if (fill && i >= larger && !qn_jlist_push(r, one, a[1])) return false;
        slices->items[slices->n++] = qn_jseq(QN_J_LIST, one);
        if (!qn_jwork(r, n + 4)) return false;
    }
    return *out = generator(slices), true;
}

/* ---- map, select, reject ---- */

/* What stays of the arguments after the first `skip` positional ones. */
static qn_jargs rest_of(const qn_jargs *args, size_t skip)
{
    return (qn_jargs){
        .values = args->values + skip, .n = args->n - skip, .n_named = args->n_named, .names = args->names};
}

static bool map_path(qn_jrender *r, const qn_jlist *l, const qn_jargs *args, qn_jlist *mapped)
{
    qn_jval a[2];
    if (!qn_jbind(r, args, "map", "attribute default", 0, a)) return false;
    if (a[0].kind == QN_J_MISSING) return qn_jfail(r, "map wants the name of a filter, or attribute=");
    if (a[1].kind == QN_J_NONE) a[1] = qn_jmissing();
    for (size_t i = 0; i < l->n; i++) {
        qn_jval v;
        if (!get_path(r, l->items[i], a[0], a[1], &v) || !qn_jlist_push(r, mapped, v)) return false;
    }
    return true;
}

static bool f_map(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    qn_jlist *l, *mapped = qn_jlist_create(r, 0);
    if (mapped == NULL) return false;
    *out = generator(mapped);
    if (!qn_jtrue(v)) return true; /* none, too, gives nothing */
    if (!qn_jiterate(r, v, false, &l)) return false;
    if (args->n == 0) return map_path(r, l, args, mapped);
    const qn_jval name = args->values[0];
    const qn_jentry *filter =
        name.kind == QN_J_STRING ? qn_jfind_filter(name.s->bytes, name.s->n_bytes) : NULL;
    if (filter == NULL && name.kind == QN_J_STRING)
        return qn_jfail(r, "map: there is no filter '%s'", qn_quote(name.s->bytes, name.s->n_bytes).text);
    if (filter == NULL) return qn_jfail(r, "map wants the name of a filter, not %s", qn_jtype_name(name));
    const qn_jargs rest = rest_of(args, 1);
    if (++r->depth > QN_J_MAX_EVAL_DEPTH)
        return qn_jlimit(r, "evaluation nested deeper than %d", QN_J_MAX_EVAL_DEPTH);
    for (size_t i = 0; i < l->n; i++) {
        qn_jval item;
        if (!qn_jstep(r) || !filter->call(r, l->items[i], &rest, &item) || !qn_jlist_push(r, mapped, item))
            return false;
    }
    r->depth--;
    return true;
}

static bool choose(qn_jrender *r, qn_jval v, const qn_jargs *args, const char *name, bool by_path, bool keep,
                   qn_jval *out)
{
    qn_jlist *l, *chosen = qn_jlist_create(r, 0);
    const qn_jentry *test = NULL;
    if (chosen == NULL) return false;
    *out = generator(chosen);
    if (!qn_jtrue(v)) return true; /* none, too, gives nothing */
    if (!qn_jiterate(r, v, false, &l)) return false;
    if (by_path && args->n == 0) return qn_jfail(r, "%s: the attribute is missing", name);
    if (args->n > by_path) {
        const qn_jval t = args->values[by_path];
        if (t.kind == QN_J_STRING) test = qn_jfind_test(t.s->bytes, t.s->n_bytes);
        if (test == NULL && t.kind == QN_J_STRING)
            return qn_jfail(r, "%s: there is no test '%s'", name, qn_quote(t.s->bytes, t.s->n_bytes).text);
        if (test == NULL) return qn_jfail(r, "%s wants the name of a test, not %s", name, qn_jtype_name(t));
    }
    const qn_jargs rest = rest_of(args, args->n > by_path ? (size_t)by_path + 1 : args->n);
    for (size_t i = 0; i < l->n; i++) {
        qn_jval subject = l->items[i], result;
        if (!qn_jstep(r)) return false;
        if (by_path && !get_path(r, l->items[i], args->values[0], qn_jmissing(), &subject)) return false;
        if (test == NULL) result = qn_jbool(qn_jtrue(subject));
        else if (!test->call(r, subject, &rest, &result)) return false;
        if (result.b == keep && !qn_jlist_push(r, chosen, l->items[i])) return false;
    }
    return true;
}
static bool f_select(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return choose(r, v, args, "select", false, true, out);
}
static bool f_reject(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return choose(r, v, args, "reject", false, false, out);
}
static bool f_selectattr(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return choose(r, v, args, "selectattr", true, true, out);
}
static bool f_rejectattr(qn_jrender *r, qn_jval v, const qn_jargs *args, qn_jval *out)
{
    return choose(r, v, args, "rejectattr", true, false, out);
}

const qn_jentry qn_jfilters_sequence[] = {
    {"length", f_length, 0},
    {"count", f_length, 0},
    {"list", f_list, 0},
    {"first", f_first, 0},
    {"last", f_last, 0},
    {"reverse", f_reverse, 0},
    {"join", f_join, 0},
    {"attr", f_attr, 0},
    {"items", f_items, 0},
    {"sort", f_sort, 0},
    {"dictsort", f_dictsort, 0},
    {"max", f_max, 0},
    {"min", f_min, 0},
    {"unique", f_unique, 0},
    {"groupby", f_groupby, 0},
    {"sum", f_sum, 0},
    {"batch", f_batch, 0},
    {"slice", f_slice, 0},
    {"map", f_map, 0},
    {"select", f_select, 0},
    {"reject", f_reject, 0},
    {"selectattr", f_selectattr, 0},
    {"rejectattr", f_rejectattr, 0},
    {NULL, NULL, 0},
};
