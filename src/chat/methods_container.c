/* methods_container.c: the methods of lists, tuples, mappings and of the template's own objects.
 * Lists and mappings may be changed: they are the rendering's own copies of the variables. */
#include "chat/value.h"

#include <string.h>

#define LIST   (1u << QN_J_LIST)
#define TUPLE  (1u << QN_J_TUPLE)
#define DICT   (1u << QN_J_DICT)
#define LOOP   (1u << QN_J_LOOP)
#define CYCLER (1u << QN_J_CYCLER)
#define FLOAT  (1u << QN_J_FLOAT)

static void remove_at(qn_jlist *l, size_t i)
{
    memmove(l->items + i, l->items + i + 1, (l->n - i - 1) * sizeof *l->items);
    l->n--;
}

/* ---- lists ---- */

static bool l_append(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v;
    *out = qn_jnone();
    return qn_jbind(r, args, "append", "object", 1, &v) && qn_jlist_push(r, self.list, v);
}

static bool l_extend(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v;
    qn_jlist *more;
    *out = qn_jnone();
    if (!qn_jbind(r, args, "extend", "iterable", 1, &v) || !qn_jiterate(r, v, v.kind == QN_J_LIST, &more))
        return false;
    for (size_t i = 0; i < more->n; i++)
        if (!qn_jlist_push(r, self.list, more->items[i])) return false;
    return true;
}

static bool l_insert(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v[2];
    int64_t at;
    qn_jlist *l = self.list;
    *out = qn_jnone();
    if (!qn_jbind(r, args, "insert", "index object", 2, v) || !qn_jarg_int(r, v[0], "index", 0, &at))
        return false;
    const int64_t n = (int64_t)l->n;
    at = at < -n ? 0 : at < 0 ? at + n : at > n ? n : at;
    if (!qn_jlist_push(r, l, v[1]) || !qn_jwork(r, l->n / 16)) return false;
    memmove(l->items + at + 1, l->items + at, (size_t)(n - at) * sizeof *l->items);
    l->items[at] = v[1];
    return true;
}

static bool l_pop(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v;
    int64_t at;
    if (!qn_jbind(r, args, "pop", "index", 0, &v) || !qn_jarg_int(r, v, "index", -1, &at)) return false;
    const int64_t n = (int64_t)self.list->n;
    if (at < 0) at += at < -n ? 0 : n;
    if (at < 0 || at >= n) return qn_jfail(r, "pop: index out of range in a list of %lld", (long long)n);
    *out = self.list->items[at];
    remove_at(self.list, (size_t)at);
    return qn_jwork(r, (size_t)(n - at) / 16);
}

static bool find(qn_jrender *r, const qn_jlist *l, qn_jval v, size_t *at)
{
    for (*at = 0; *at < l->n; (*at)++) {
        bool equal;
        if (!qn_jequal(r, l->items[*at], v, &equal)) return false;
        if (equal) break;
    }
    return true;
}

static bool l_remove(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v;
    size_t at;
    *out = qn_jnone();
    if (!qn_jbind(r, args, "remove", "value", 1, &v) || !find(r, self.list, v, &at)) return false;
    if (at == self.list->n) return qn_jfail(r, "remove: the value is not in the list");
    remove_at(self.list, at);
    return true;
}

static bool l_index(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v;
    size_t at;
    if (!qn_jbind(r, args, "index", "value", 1, &v) || !find(r, self.list, v, &at)) return false;
    if (at == self.list->n) return qn_jfail(r, "index: the value is not in the list");
    return *out = qn_jint((int64_t)at), true;
}

static bool l_count(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v;
    int64_t n = 0;
    if (!qn_jbind(r, args, "count", "value", 1, &v)) return false;
    for (size_t i = 0; i < self.list->n; i++) {
        bool equal;
        if (!qn_jequal(r, self.list->items[i], v, &equal)) return false;
        n += equal;
    }
    return *out = qn_jint(n), true;
}

static bool l_reverse(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jlist *l = self.list;
    if (!qn_jno_args(r, args, "reverse") || !qn_jwork(r, l->n)) return false;
    for (size_t i = 0; i < l->n / 2; i++) {
        const qn_jval swap = l->items[i];
        l->items[i] = l->items[l->n - 1 - i];
        l->items[l->n - 1 - i] = swap;
    }
    return *out = qn_jnone(), true;
}

static bool l_clear(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    if (!qn_jno_args(r, args, "clear")) return false;
    self.list->n = 0;
    return *out = qn_jnone(), true;
}

static bool l_copy(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jlist *l;
    return qn_jno_args(r, args, "copy") && qn_jiterate(r, self, true, &l) &&
           (*out = qn_jseq(QN_J_LIST, l), true);
}

/* ---- mappings ---- */

static bool d_get(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v[2];
    qn_jitem *item;
    if (!qn_jbind(r, args, "get", "key default", 1, v) || !qn_jdict_find(r, self.dict, v[0], &item))
        return false;
    *out = item != NULL ? item->value : v[1].kind == QN_J_MISSING ? qn_jnone() : v[1];
    return true;
}

typedef enum part { KEYS, VALUES, ITEMS } part;

static bool view(qn_jrender *r, qn_jval self, const qn_jargs *args, part which, qn_jval *out)
{
    static const char *const names[] = {"keys", "values", "items"};
    static const char *const types[] = {"dict_keys", "dict_values", "dict_items"};
    if (!qn_jno_args(r, args, names[which])) return false;
    qn_jlist *l = qn_jlist_create(r, self.dict->n_live);
    if (l == NULL) return false;
    l->type_name = types[which];
    for (size_t i = 0; i < self.dict->n_used; i++) {
        const qn_jitem *item = &self.dict->items[i];
        if (item->key.kind == QN_J_MISSING) continue;
        qn_jval v = which == KEYS ? item->key : item->value;
        if (which == ITEMS) {
            qn_jlist *pair = qn_jlist_create(r, 2);
            if (pair == NULL) return false;
            pair->items[pair->n++] = item->key;
            pair->items[pair->n++] = item->value;
            v = qn_jseq(QN_J_TUPLE, pair);
        }
        l->items[l->n++] = v;
    }
    *out = qn_jseq(QN_J_VIEW, l);
    return qn_jwork(r, l->n);
}
static bool d_keys(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return view(r, self, args, KEYS, out);
}
static bool d_values(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return view(r, self, args, VALUES, out);
}
static bool d_items(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return view(r, self, args, ITEMS, out);
}

static bool d_pop(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v[2];
    qn_jitem *item;
    if (!qn_jbind(r, args, "pop", "key default", 1, v) || !qn_jdict_find(r, self.dict, v[0], &item))
        return false;
    if (item == NULL && v[1].kind == QN_J_MISSING) return qn_jfail(r, "pop: the mapping has no such key");
    *out = item != NULL ? item->value : v[1];
    if (item != NULL) qn_jdict_remove(self.dict, item);
    return true;
}

static bool d_setdefault(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v[2];
    qn_jitem *item;
    if (!qn_jbind(r, args, "setdefault", "key default", 1, v)) return false;
    if (!qn_jdict_find(r, self.dict, v[0], &item)) return false;
    if (v[1].kind == QN_J_MISSING) v[1] = qn_jnone();
    *out = item != NULL ? item->value : v[1];
    return item != NULL || qn_jdict_set(r, self.dict, v[0], v[1]);
}

bool qn_jdict_update(qn_jrender *r, qn_jdict *d, const qn_jargs *args)
{
    qn_jlist *pairs;
    if (args->n > 1) return qn_jfail(r, "at most one mapping is expected, not %zu", args->n);
    if (args->n == 1 && args->values[0].kind == QN_J_DICT) {
        const qn_jdict *from = args->values[0].dict;
        for (size_t i = 0; i < from->n_used; i++)
            if (from->items[i].key.kind != QN_J_MISSING && from != d &&
                !qn_jdict_set(r, d, from->items[i].key, from->items[i].value))
                return false;
    } else if (args->n == 1) {
        if (!qn_jiterate(r, args->values[0], true, &pairs)) return false;
        for (size_t i = 0; i < pairs->n; i++) {
            qn_jlist *pair;
            if (!qn_jiterate(r, pairs->items[i], false, &pair)) return false;
            if (pair->n != 2)
                return qn_jfail(r, "a pair of key and value is expected, not %zu values", pair->n);
            if (!qn_jdict_set(r, d, pair->items[0], pair->items[1])) return false;
        }
    }
    for (size_t i = 0; i < args->n_named; i++)
        if (!qn_jdict_set(r, d, qn_jstring(args->names[i]), args->values[args->n + i])) return false;
    return true;
}

static bool d_update(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    *out = qn_jnone();
    return qn_jdict_update(r, self.dict, args);
}

static bool d_copy(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    const qn_jargs from = {.values = &self, .n = 1};
    qn_jdict *d = qn_jdict_create(r);
    if (d == NULL || !qn_jno_args(r, args, "copy") || !qn_jdict_update(r, d, &from)) return false;
    return *out = qn_jmapping(d), true;
}

static bool d_clear(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    if (!qn_jno_args(r, args, "clear")) return false;
    *self.dict = (qn_jdict){0};
    return *out = qn_jnone(), true;
}

/* ---- others ---- */

static bool c_next(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jcycler *c = self.cycler;
    if (!qn_jno_args(r, args, "next")) return false;
    *out = c->items->items[c->position];
    c->position = (c->position + 1) % c->items->n;
    return true;
}

static bool c_reset(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    if (!qn_jno_args(r, args, "reset")) return false;
    self.cycler->position = 0;
    return *out = qn_jnone(), true;
}

static bool f_is_integer(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    const double f = qn_jas_double(self);
    *out = qn_jbool(f - f == 0 && __builtin_floor(f) == f); /* infinity less itself is NaN */
    return qn_jno_args(r, args, "is_integer");
}

const qn_jentry qn_jmethods_container[] = {
    {"get", d_get, DICT},
    {"items", d_items, DICT},
    {"keys", d_keys, DICT},
    {"values", d_values, DICT},
    {"pop", d_pop, DICT},
    {"setdefault", d_setdefault, DICT},
    {"update", d_update, DICT},
    {"copy", d_copy, DICT},
    {"clear", d_clear, DICT},
    {"append", l_append, LIST},
    {"extend", l_extend, LIST},
    {"insert", l_insert, LIST},
    {"pop", l_pop, LIST},
    {"remove", l_remove, LIST},
    {"reverse", l_reverse, LIST},
    {"clear", l_clear, LIST},
    {"copy", l_copy, LIST},
    {"index", l_index, LIST | TUPLE},
    {"count", l_count, LIST | TUPLE},
    {"cycle", qn_jloop_cycle, LOOP},
    {"changed", qn_jloop_changed, LOOP},
    {"next", c_next, CYCLER},
    {"reset", c_reset, CYCLER},
    {"is_integer", f_is_integer, FLOAT},
    {NULL, NULL, 0},
};

const qn_jentry *qn_jfind_method(qn_jval self, const char *name, size_t n_bytes)
{
    const qn_jentry *table = self.kind == QN_J_STRING ? qn_jmethods_str : qn_jmethods_container;
    for (const qn_jentry *e = table; e->name != NULL; e++)
        if ((e->kinds >> self.kind & 1) && strlen(e->name) == n_bytes && memcmp(e->name, name, n_bytes) == 0)
            return e;
    return NULL;
}
