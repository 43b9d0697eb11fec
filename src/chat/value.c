/* value.c: memory, limits, lists, ordered mappings, conversion from JSON, comparison. */
#include "chat/value.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/hash_map.h"
#include "chat/ast.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- failing and limits ---- */

__attribute__((format(printf, 3, 0))) static bool record(qn_jrender *r, quern_status status,
                                                         const char *format, va_list args)
{
    char text[480];
    if (r->status != QUERN_OK) return false; /* the first reason stays */
    if (vsnprintf(text, sizeof text, format, args) < 0) text[0] = '\0';
    r->status = qn_fail(r->err, status, "line %u: %s", r->line, text);
    return false;
}

bool qn_jfail(qn_jrender *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    record(r, QUERN_ERR_TEMPLATE, format, args);
    va_end(args);
    return false;
}

bool qn_jlimit(qn_jrender *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    record(r, QUERN_ERR_LIMIT, format, args);
    va_end(args);
    return false;
}

bool qn_jnomem(qn_jrender *r)
{
    if (r->status == QUERN_OK) r->status = qn_fail(r->err, QUERN_ERR_NOMEM, "template: out of memory");
    return false;
}

bool qn_jwork(qn_jrender *r, size_t n)
{
    enum { UNITS_PER_CHECK = 1 << 16 };
    r->work += n + 1;
    if (r->work < r->work_at_check) return true;
    r->work_at_check = r->work + UNITS_PER_CHECK;
    if (qn_clock_ns() <= r->deadline_ns) return true;
    return qn_jlimit(r, "the template took longer than its time limit");
}

bool qn_jstep(qn_jrender *r)
{
    if (++r->n_steps > r->max_steps)
        return qn_jlimit(r, "the template takes more than %zu evaluation steps", r->max_steps);
    return qn_jwork(r, 63);
}

/* ---- memory ---- */

void *qn_jchunk_alloc(qn_jchunk **chunks, size_t *total, size_t n_bytes)
{
    enum { FIRST = 16 << 10, LARGEST = 1 << 20 };
    n_bytes = qn_round_up(n_bytes, 16); /* the callers' sizes are bounded */
    qn_jchunk *c = *chunks;
    if (c == NULL || n_bytes > c->size - c->used) {
        size_t size = c == NULL ? FIRST : qn_min_size(c->size * 2, LARGEST);
        const bool own = n_bytes > size / 4; /* a large one gets its own, behind the current */
        if (own) size = n_bytes;
        qn_jchunk *fresh = qn_malloc(sizeof *fresh + size);
        if (fresh == NULL) return NULL;
        fresh->used = 0;
        fresh->size = size;
        *total += size;
        if (own && c != NULL) {
            fresh->next = c->next;
            c->next = fresh;
        } else {
            fresh->next = c;
            *chunks = fresh;
        }
        c = fresh;
    }
    void *p = (char *)c->bytes + c->used;
    c->used += n_bytes;
    return memset(p, 0, n_bytes);
}

void qn_jchunk_destroy(qn_jchunk **chunks)
{
    for (qn_jchunk *c = *chunks, *next; c != NULL; c = next) {
        next = c->next;
        qn_free(c);
    }
    *chunks = NULL;
}

void *qn_jalloc(qn_jrender *r, size_t n_bytes)
{
    if (n_bytes > QN_J_MAX_MEMORY || r->memory_bytes > QN_J_MAX_MEMORY - n_bytes) {
        qn_jlimit(r, "the template's values take more than %d MiB", QN_J_MAX_MEMORY >> 20);
        return NULL;
    }
    void *p = qn_jchunk_alloc(&r->chunks, &r->memory_bytes, n_bytes);
    if (p == NULL) qn_jnomem(r);
    return p;
}

void qn_jchunks_destroy(qn_jrender *r)
{
    qn_jchunk_destroy(&r->chunks);
}

/* ---- strings ---- */

static bool string_fits(qn_jrender *r, size_t n_bytes)
{
    if (n_bytes <= QN_J_MAX_STRING_BYTES) return true;
    return qn_jlimit(r, "a string of %zu bytes is over the limit of %d MiB", n_bytes,
                     QN_J_MAX_STRING_BYTES >> 20);
}

bool qn_jborrow(qn_jrender *r, const char *bytes, size_t n_bytes, qn_jval *out)
{
    if (!string_fits(r, n_bytes)) return false;
    qn_jstr *s = qn_jalloc(r, sizeof *s);
    if (s == NULL) return false;
    *s = (qn_jstr){.bytes = bytes, .n_bytes = n_bytes, .n_chars = SIZE_MAX};
    *out = qn_jstring(s);
    return true;
}

bool qn_jcopy(qn_jrender *r, const char *bytes, size_t n_bytes, qn_jval *out)
{
    if (!string_fits(r, n_bytes)) return false;
    char *copy = qn_jalloc(r, n_bytes + 1);
    if (copy == NULL) return false;
    if (n_bytes > 0) memcpy(copy, bytes, n_bytes);
    return qn_jwork(r, n_bytes / 16) && qn_jborrow(r, copy, n_bytes, out);
}

bool qn_jtext(qn_jrender *r, const char *constant, qn_jval *out)
{
    return qn_jborrow(r, constant, strlen(constant), out);
}

bool qn_jbuffer_failed(qn_jrender *r, const qn_buffer *b)
{
    return b->over_max ? qn_jlimit(r, "a text of more than %zu bytes is over the limit", b->max_bytes)
                       : qn_jnomem(r);
}

bool qn_jtake(qn_jrender *r, qn_buffer *b, qn_jval *out)
{
    bool ok = r->status == QUERN_OK;
    if (ok && b->failed) ok = qn_jbuffer_failed(r, b);
    ok = ok && qn_jcopy(r, b->data, b->n_bytes, out);
    qn_buffer_deinit(b);
    return ok;
}

bool qn_jmark(qn_jrender *r, const qn_jstr *s, bool markup, qn_jval *out)
{
    if (s->markup == markup) return *out = qn_jstring(s), true;
    if (!qn_jborrow(r, s->bytes, s->n_bytes, out)) return false;
    ((qn_jstr *)(uintptr_t)out->s)->markup = markup; /* just made, not shared yet */
    return true;
}

static size_t known_chars(const qn_jstr *a, const qn_jstr *b)
{
    return a->n_chars == SIZE_MAX || b->n_chars == SIZE_MAX ? SIZE_MAX : a->n_chars + b->n_chars;
}

/* A string that grew in place: shares the bytes before. */
bool qn_jconcat(qn_jrender *r, const qn_jstr *a, const qn_jstr *b, bool markup, qn_jval *out)
{
    size_t total;
    if (!qn_add_size(a->n_bytes, b->n_bytes, &total) || !string_fits(r, total)) return false;
    if (!qn_jwork(r, b->n_bytes / 16)) return false;
    qn_jtail *tail = a->tail;
    const bool grows = tail != NULL && a->bytes + a->n_bytes == tail->data + tail->used &&
                       b->n_bytes <= tail->capacity - tail->used;
    if (!grows) {
        const size_t capacity = qn_min_size(total * 2 + 32, QN_J_MAX_STRING_BYTES + 1);
        if (!qn_jwork(r, a->n_bytes / 16)) return false;
        tail = qn_jalloc(r, sizeof *tail + capacity);
        if (tail == NULL) return false;
        *tail = (qn_jtail){.data = (char *)(tail + 1), .used = a->n_bytes, .capacity = capacity};
        memcpy(tail->data, a->bytes, a->n_bytes);
    }
    memcpy(tail->data + tail->used, b->bytes, b->n_bytes);
    tail->used += b->n_bytes;
    qn_jstr *s = qn_jalloc(r, sizeof *s);
    if (s == NULL) return false;
    *s = (qn_jstr){.bytes = tail->data + tail->used - total,
                   .n_bytes = total,
                   .n_chars = known_chars(a, b),
                   .tail = tail,
                   .markup = markup};
    *out = qn_jstring(s);
    return true;
}

size_t qn_jchars(const qn_jstr *s)
{
    if (s->n_chars != SIZE_MAX) return s->n_chars;
    size_t n = 0;
    for (size_t i = 0; i < s->n_bytes; i++) n += ((unsigned char)s->bytes[i] & 0xc0) != 0x80;
    ((qn_jstr *)(uintptr_t)s)->n_chars = n; /* only strings of this rendering are still uncounted */
    return n;
}

/* ---- lists ---- */

qn_jlist *qn_jlist_create(qn_jrender *r, size_t capacity)
{
    if (capacity > QN_J_MAX_ITEMS) {
        qn_jlimit(r, "a list of %zu items is over the limit of %d", capacity, QN_J_MAX_ITEMS);
        return NULL;
    }
    qn_jlist *l = qn_jalloc(r, sizeof *l);
    if (l == NULL || capacity == 0) return l;
    l->items = qn_jalloc(r, capacity * sizeof *l->items);
    l->capacity = capacity;
    return l->items != NULL ? l : NULL;
}

bool qn_jlist_push(qn_jrender *r, qn_jlist *l, qn_jval v)
{
    if (l->n == l->capacity) {
        if (l->n >= QN_J_MAX_ITEMS)
            return qn_jlimit(r, "a list of more than %d items is over the limit", QN_J_MAX_ITEMS);
        const size_t capacity = l->n == 0 ? 4 : qn_min_size(l->n * 2, QN_J_MAX_ITEMS);
        qn_jval *items = qn_jalloc(r, capacity * sizeof *items);
        if (items == NULL) return false;
        if (l->n > 0) memcpy(items, l->items, l->n * sizeof *items);
        l->items = items;
        l->capacity = capacity;
    }
    l->items[l->n++] = v;
    return qn_jwork(r, 0);
}

/* ---- mappings ---- */

qn_jdict *qn_jdict_create(qn_jrender *r)
{
    return qn_jalloc(r, sizeof(qn_jdict));
}

bool qn_jhashable(qn_jval v)
{
    switch (v.kind) {
    case QN_J_LIST:
    case QN_J_DICT:
    case QN_J_NAMESPACE:
        return false;
    case QN_J_TUPLE:
        for (size_t i = 0; i < v.list->n; i++)
            if (v.list->items[i].kind == QN_J_TUPLE || !qn_jhashable(v.list->items[i])) return false;
        return true; /* tuples in tuples are refused as keys: no template has use for them */
    default:
        return true;
    }
}

static bool integral(double f, int64_t *i)
{
    if (!(f >= -0x1p63 && f < 0x1p63) || f != floor(f)) return false;
    *i = (int64_t)f;
    return true;
}

static uint64_t hash_value(const qn_jrender *r, qn_jval v)
{
    int64_t i;
    if (v.kind == QN_J_STRING) return qn_hash_bytes(v.s->bytes, v.s->n_bytes, r->hash_seed);
    if (qn_jas_int(v, &i) || (v.kind == QN_J_FLOAT && integral(v.f, &i)))
        return qn_hash_bytes(&i, sizeof i, ~r->hash_seed);
    if (v.kind == QN_J_FLOAT) return qn_hash_bytes(&v.f, sizeof v.f, ~r->hash_seed);
    if (v.kind != QN_J_TUPLE) return v.kind;
    uint64_t h = r->hash_seed;
    for (size_t k = 0; k < v.list->n; k++) {
        const uint64_t pair[2] = {h, hash_value(r, v.list->items[k])};
        h = qn_hash_bytes(pair, sizeof pair, r->hash_seed);
    }
    return h;
}

static bool same_key(qn_jrender *r, qn_jval a, qn_jval b)
{
    bool equal;
    if (a.kind == QN_J_STRING && b.kind == QN_J_STRING)
        return a.s->n_bytes == b.s->n_bytes && memcmp(a.s->bytes, b.s->bytes, a.s->n_bytes) == 0;
    return a.kind != QN_J_MISSING && qn_jequal(r, a, b, &equal) && equal;
}

static qn_jitem *find_item(qn_jrender *r, const qn_jdict *d, qn_jval key, uint64_t hash)
{
    if (d->slots == NULL) {
        for (size_t i = 0; i < d->n_used; i++)
            if (d->items[i].hash == hash && same_key(r, d->items[i].key, key)) return &d->items[i];
        return NULL;
    }
    for (size_t slot = hash & (d->n_slots - 1); d->slots[slot] != 0; slot = (slot + 1) & (d->n_slots - 1)) {
        qn_jitem *item = &d->items[d->slots[slot] - 1];
        if (item->hash == hash && same_key(r, item->key, key)) return item;
    }
    return NULL;
}

static void add_slot(qn_jdict *d, size_t index)
{
    size_t slot = d->items[index].hash & (d->n_slots - 1);
    while (d->slots[slot] != 0) slot = (slot + 1) & (d->n_slots - 1);
    d->slots[slot] = (uint32_t)index + 1;
}

/* Room for one more item; removed ones are left behind. */
static bool grow_dict(qn_jrender *r, qn_jdict *d)
{
    enum { LINEAR = 8 }; /* up to here a walk is faster than a table */
    if (d->n_used < d->capacity) return true;
    if (d->n_live >= QN_J_MAX_ITEMS)
        return qn_jlimit(r, "a mapping of more than %d items is over the limit", QN_J_MAX_ITEMS);
    const size_t capacity = qn_max_size(LINEAR, d->n_live * 2);
    qn_jitem *items = qn_jalloc(r, capacity * sizeof *items);
    if (items == NULL) return false;
    size_t n = 0;
    for (size_t i = 0; i < d->n_used; i++)
        if (d->items[i].key.kind != QN_J_MISSING) items[n++] = d->items[i];
    d->items = items;
    d->n_used = n;
    d->capacity = capacity;
    d->slots = NULL;
    if (capacity <= LINEAR) return true;
    size_t n_slots = 16;
    while (n_slots < capacity * 2) n_slots *= 2;
    d->slots = qn_jalloc(r, n_slots * sizeof *d->slots);
    if (d->slots == NULL) return false;
    d->n_slots = n_slots;
    for (size_t i = 0; i < n; i++) add_slot(d, i);
    return qn_jwork(r, n);
}

static bool check_key(qn_jrender *r, qn_jval key)
{
    return qn_jhashable(key) || qn_jfail(r, "a %s cannot be a key of a mapping", qn_jtype_name(key));
}

bool qn_jdict_set(qn_jrender *r, qn_jdict *d, qn_jval key, qn_jval value)
{
    if (!check_key(r, key) || !qn_jwork(r, 0)) return false;
    const uint64_t hash = hash_value(r, key);
    qn_jitem *item = find_item(r, d, key, hash);
    if (item != NULL) return item->value = value, true;
    if (!grow_dict(r, d)) return false;
    d->items[d->n_used] = (qn_jitem){.key = key, .value = value, .hash = hash};
    if (d->slots != NULL) add_slot(d, d->n_used);
    d->n_used++;
    d->n_live++;
    return true;
}

bool qn_jdict_find(qn_jrender *r, const qn_jdict *d, qn_jval key, qn_jitem **found)
{
    if (!check_key(r, key)) return false;
    *found = find_item(r, d, key, hash_value(r, key));
    return r->status == QUERN_OK;
}

qn_jitem *qn_jdict_find_text(qn_jrender *r, const qn_jdict *d, const char *bytes, size_t n_bytes)
{
    const qn_jstr s = {.bytes = bytes, .n_bytes = n_bytes, .n_chars = SIZE_MAX};
    const qn_jval key = qn_jstring(&s);
    return find_item(r, d, key, hash_value(r, key));
}

void qn_jdict_remove(qn_jdict *d, qn_jitem *item)
{
    item->key = qn_jmissing(); /* its slot stays, so that walks go on past it */
    d->n_live--;
}

/* ---- from JSON ---- */

static bool from_json(qn_jrender *r, const json_t *j, int depth, qn_jval *out)
{
    if (depth > QN_J_MAX_VALUE_DEPTH)
        return qn_jlimit(r, "a variable is nested deeper than %d", QN_J_MAX_VALUE_DEPTH);
    if (!qn_jwork(r, 8)) return false;
    switch (json_typeof(j)) {
    case JSON_NULL:
        return *out = qn_jnone(), true;
    case JSON_TRUE:
        return *out = qn_jbool(true), true;
    case JSON_FALSE:
        return *out = qn_jbool(false), true;
    case JSON_INTEGER:
        return *out = qn_jint(json_integer_value(j)), true;
    case JSON_REAL:
        return *out = qn_jfloat(json_real_value(j)), true;
    case JSON_STRING:
        return qn_jborrow(r, json_string_value(j), json_string_length(j), out);
    case JSON_ARRAY: {
        qn_jlist *l = qn_jlist_create(r, json_array_size(j));
        if (l == NULL) return false;
        for (size_t i = 0; i < json_array_size(j); i++)
            if (!from_json(r, json_array_get(j, i), depth + 1, &l->items[l->n++])) return false;
        return *out = qn_jseq(QN_J_LIST, l), true;
    }
    case JSON_OBJECT: {
        qn_jdict *d = qn_jdict_create(r);
        if (d == NULL) return false;
        json_t *object = (json_t *)(uintptr_t)j; /* jansson's walk wants it so; nothing is changed */
        for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
            qn_jval key, value;
            if (!qn_jborrow(r, json_object_iter_key(at), strlen(json_object_iter_key(at)), &key))
                return false;
            if (!from_json(r, json_object_iter_value(at), depth + 1, &value)) return false;
            if (!qn_jdict_set(r, d, key, value)) return false;
        }
        return *out = qn_jmapping(d), true;
    }
    }
    return qn_jfail(r, "a variable of unknown JSON type");
}

bool qn_jfrom_json(qn_jrender *r, const json_t *j, qn_jval *out)
{
    return from_json(r, j, 0, out);
}

/* ---- questions ---- */

const char *qn_jtype_name(qn_jval v)
{
    switch ((qn_jkind)v.kind) {
    case QN_J_UNDEFINED:
        return "Undefined";
    case QN_J_NONE:
        return "NoneType";
    case QN_J_BOOL:
        return "bool";
    case QN_J_INT:
        return "int";
    case QN_J_FLOAT:
        return "float";
    case QN_J_STRING:
        return "str";
    case QN_J_LIST:
        return "list";
    case QN_J_TUPLE:
        return "tuple";
    case QN_J_VIEW:
    case QN_J_GENERATOR:
        return v.list->type_name;
    case QN_J_DICT:
        return "dict";
    case QN_J_RANGE:
        return "range";
    case QN_J_NAMESPACE:
        return "Namespace";
    case QN_J_MACRO:
        return "Macro";
    case QN_J_FUNCTION:
        return "function";
    case QN_J_METHOD:
        return "method";
    case QN_J_LOOP:
        return "LoopContext";
    case QN_J_CYCLER:
        return "Cycler";
    case QN_J_JOINER:
        return "Joiner";
    case QN_J_MISSING:
        break;
    }
    return "missing argument";
}

bool qn_jtrue(qn_jval v)
{
    switch (v.kind) {
    case QN_J_UNDEFINED:
    case QN_J_NONE:
    case QN_J_MISSING:
        return false;
    case QN_J_BOOL:
        return v.b;
    case QN_J_INT:
        return v.i != 0;
    case QN_J_FLOAT:
        return v.f != 0.0;
    case QN_J_STRING:
        return v.s->n_bytes > 0;
    case QN_J_LIST:
    case QN_J_TUPLE:
    case QN_J_VIEW:
        return v.list->n > 0;
    case QN_J_DICT:
        return v.dict->n_live > 0;
    case QN_J_RANGE:
        return v.range->n > 0;
    default:
        return true;
    }
}

bool qn_jis_text(qn_jval v, const char *text)
{
    return v.kind == QN_J_STRING && v.s->n_bytes == strlen(text) &&
           memcmp(v.s->bytes, text, v.s->n_bytes) == 0;
}

bool qn_jis_number(qn_jval v)
{
    return v.kind == QN_J_BOOL || v.kind == QN_J_INT || v.kind == QN_J_FLOAT;
}

bool qn_jas_int(qn_jval v, int64_t *i)
{
    if (v.kind != QN_J_BOOL && v.kind != QN_J_INT) return false;
    *i = v.kind == QN_J_BOOL ? v.b : v.i;
    return true;
}

double qn_jas_double(qn_jval v)
{
    return v.kind == QN_J_FLOAT ? v.f : v.kind == QN_J_BOOL ? v.b : (double)v.i;
}

/* <0, 0, >0; 2 if one of them is NaN. Exact also for integers that no double holds. */
static int compare_numbers(qn_jval a, qn_jval b)
{
    int64_t i, k;
    const bool a_int = qn_jas_int(a, &i), b_int = qn_jas_int(b, &k);
    if (a_int && b_int) return i < k ? -1 : i > k;
    if (!a_int && !b_int) return isnan(a.f) || isnan(b.f) ? 2 : a.f < b.f ? -1 : a.f > b.f;
    const double f = a_int ? b.f : a.f;
    if (isnan(f)) return 2;
    const int64_t whole = a_int ? i : k;
    int order; /* of the integer against the float */
    if (f >= 0x1p63) order = -1;
    else if (f < -0x1p63) order = 1;
    else {
        const int64_t floor_f = (int64_t)floor(f);
        order = whole < floor_f ? -1 : whole > floor_f ? 1 : f > floor(f) ? -1 : 0;
    }
    return a_int ? order : -order;
}

static bool equal_at(qn_jrender *r, qn_jval a, qn_jval b, int depth, bool *equal);

static bool equal_dicts(qn_jrender *r, const qn_jdict *a, const qn_jdict *b, int depth, bool *equal)
{
    *equal = a == b;
    if (a == b || a->n_live != b->n_live) return true;
    for (size_t i = 0; i < a->n_used; i++) {
        if (a->items[i].key.kind == QN_J_MISSING) continue;
        const qn_jitem *other = find_item(r, b, a->items[i].key, a->items[i].hash);
        if (other == NULL) return r->status == QUERN_OK;
        bool same;
        if (!equal_at(r, a->items[i].value, other->value, depth + 1, &same)) return false;
        if (!same) return true;
    }
    return *equal = true;
}

static bool equal_lists(qn_jrender *r, const qn_jlist *a, const qn_jlist *b, int depth, bool *equal)
{
    *equal = a == b;
    if (a == b || a->n != b->n) return true;
    for (size_t i = 0; i < a->n; i++) {
        bool same;
        if (!equal_at(r, a->items[i], b->items[i], depth + 1, &same)) return false;
        if (!same) return true;
    }
    return *equal = true;
}

static bool equal_at(qn_jrender *r, qn_jval a, qn_jval b, int depth, bool *equal)
{
    if (depth > QN_J_MAX_VALUE_DEPTH)
        return qn_jlimit(r, "values nested deeper than %d are not compared", QN_J_MAX_VALUE_DEPTH);
    if (!qn_jwork(r, 1)) return false;
    if (qn_jis_number(a) && qn_jis_number(b)) return *equal = compare_numbers(a, b) == 0, true;
    *equal = false;
    if (a.kind != b.kind) return true;
    switch (a.kind) {
    case QN_J_UNDEFINED:
    case QN_J_NONE:
        return *equal = true;
    case QN_J_STRING:
        if (!qn_jwork(r, a.s->n_bytes / 64)) return false;
        *equal = a.s->n_bytes == b.s->n_bytes && memcmp(a.s->bytes, b.s->bytes, a.s->n_bytes) == 0;
        return true;
    case QN_J_LIST:
    case QN_J_TUPLE:
    case QN_J_VIEW:
        return equal_lists(r, a.list, b.list, depth, equal);
    case QN_J_DICT:
        return equal_dicts(r, a.dict, b.dict, depth, equal);
    case QN_J_RANGE:
        *equal = a.range->n == b.range->n &&
                 (a.range->n == 0 ||
                  (a.range->start == b.range->start && (a.range->n == 1 || a.range->step == b.range->step)));
        return true;
    case QN_J_METHOD:
        return *equal = a.method == b.method, true;
    default:
        return *equal = a.list == b.list, true; /* all others by identity */
    }
}

bool qn_jequal(qn_jrender *r, qn_jval a, qn_jval b, bool *equal)
{
    return equal_at(r, a, b, 0, equal);
}

static bool compare_at(qn_jrender *r, qn_jval a, qn_jval b, const char *op, int depth, int *order);

static bool compare_lists(qn_jrender *r, const qn_jlist *a, const qn_jlist *b, const char *op, int depth,
                          int *order)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        bool same;
        if (!equal_at(r, a->items[i], b->items[i], depth + 1, &same)) return false;
        if (!same) return compare_at(r, a->items[i], b->items[i], op, depth + 1, order);
    }
    *order = a->n < b->n ? -1 : a->n > b->n;
    return true;
}

static bool compare_at(qn_jrender *r, qn_jval a, qn_jval b, const char *op, int depth, int *order)
{
    if (depth > QN_J_MAX_VALUE_DEPTH)
        return qn_jlimit(r, "values nested deeper than %d are not compared", QN_J_MAX_VALUE_DEPTH);
    if (!qn_jwork(r, 1)) return false;
    if (qn_jis_number(a) && qn_jis_number(b)) return *order = compare_numbers(a, b), true;
    if (a.kind == QN_J_STRING && b.kind == QN_J_STRING) {
        const size_t n = qn_min_size(a.s->n_bytes, b.s->n_bytes);
        if (!qn_jwork(r, n / 64)) return false;
        *order = memcmp(a.s->bytes, b.s->bytes, n); /* the order of UTF-8 bytes is that of code points */
        if (*order == 0) *order = a.s->n_bytes < b.s->n_bytes ? -1 : a.s->n_bytes > b.s->n_bytes;
        else *order = *order < 0 ? -1 : 1;
        return true;
    }
    if (a.kind == b.kind && (a.kind == QN_J_LIST || a.kind == QN_J_TUPLE))
        return compare_lists(r, a.list, b.list, op, depth, order);
    if (a.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, a);
    if (b.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, b);
    return qn_jfail(r, "'%s' is not supported between %s and %s", op, qn_jtype_name(a), qn_jtype_name(b));
}

bool qn_jcompare(qn_jrender *r, qn_jval a, qn_jval b, const char *op, int *order)
{
    return compare_at(r, a, b, op, 0, order);
}

static bool in_list(qn_jrender *r, const qn_jlist *l, qn_jval item, bool *found)
{
    *found = false;
    for (size_t i = 0; i < l->n && !*found; i++)
        if (!qn_jequal(r, l->items[i], item, found)) return false;
    return true;
}

static bool in_range(const qn_jrange *range, qn_jval item)
{
    int64_t i;
    if (!qn_jas_int(item, &i) && !(item.kind == QN_J_FLOAT && integral(item.f, &i))) return false;
    if (range->n == 0) return false;
    const int64_t last = qn_jrange_at(range, range->n - 1);
    const int64_t low = range->step > 0 ? range->start : last, high = range->step > 0 ? last : range->start;
    if (i < low || i > high) return false;
    const uint64_t distance = (uint64_t)i - (uint64_t)low;
    const uint64_t stride = range->step > 0 ? (uint64_t)range->step : 0 - (uint64_t)range->step;
    return distance % stride == 0;
}

bool qn_jcontains(qn_jrender *r, qn_jval container, qn_jval item, bool *found)
{
    qn_jitem *entry;
    *found = false;
    switch (container.kind) {
    case QN_J_STRING:
        if (item.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, item);
        if (item.kind != QN_J_STRING)
            return qn_jfail(r, "'in' on a string wants a string before it, not %s", qn_jtype_name(item));
        if (!qn_jwork(r, container.s->n_bytes / 16)) return false;
        *found = qn_jfind(container.s->bytes, container.s->n_bytes, item.s->bytes, item.s->n_bytes) != NULL;
        return true;
    case QN_J_DICT:
        if (!qn_jdict_find(r, container.dict, item, &entry)) return false;
        return *found = entry != NULL, true;
    case QN_J_RANGE:
        return *found = in_range(container.range, item), true;
    default: {
        qn_jlist *l;
        return qn_jiterate(r, container, false, &l) && in_list(r, l, item, found);
    }
    }
}

bool qn_jlength(qn_jrender *r, qn_jval v, size_t *n)
{
    switch (v.kind) {
    case QN_J_UNDEFINED:
        return *n = 0, true;
    case QN_J_STRING:
        return *n = qn_jchars(v.s), true;
    case QN_J_LIST:
    case QN_J_TUPLE:
    case QN_J_VIEW:
        return *n = v.list->n, true;
    case QN_J_DICT:
        return *n = v.dict->n_live, true;
    case QN_J_RANGE:
        return *n = v.range->n, true;
    default:
        return qn_jfail(r, "a value of type %s has no length", qn_jtype_name(v));
    }
}

/* ---- iteration ---- */

int64_t qn_jrange_at(const qn_jrange *range, uint64_t i)
{
    return (int64_t)((uint64_t)range->start +
                     i * (uint64_t)range->step); /* within the range by construction */
}

static bool list_of_chars(qn_jrender *r, const qn_jstr *s, qn_jlist *l)
{
    for (size_t i = 0; i < s->n_bytes;) {
        size_t n = 1;
        while (i + n < s->n_bytes && ((unsigned char)s->bytes[i + n] & 0xc0) == 0x80) n++;
        qn_jval c;
        if (!qn_jchar(r, s->bytes + i, n, &c) || !qn_jlist_push(r, l, c)) return false;
        i += n;
    }
    return true;
}

static bool copy_items(qn_jrender *r, const qn_jlist *from, qn_jlist *to)
{
    if (from->n > 0) memcpy(to->items, from->items, from->n * sizeof *to->items);
    to->n = from->n;
    return qn_jwork(r, from->n / 4);
}

bool qn_jiterate(qn_jrender *r, qn_jval v, bool copy, qn_jlist **out)
{
    size_t n = 0;
    if ((v.kind == QN_J_LIST || v.kind == QN_J_TUPLE || v.kind == QN_J_VIEW) && !copy)
        return *out = v.list, true;
    if (v.kind == QN_J_UNDEFINED || v.kind == QN_J_STRING || v.kind == QN_J_DICT || v.kind == QN_J_RANGE) {
        if (!qn_jlength(r, v, &n)) return false;
    } else if (v.kind >= QN_J_LIST && v.kind <= QN_J_GENERATOR) {
        n = v.list->n;
    } else {
        return qn_jfail(r, "a value of type %s cannot be iterated over", qn_jtype_name(v));
    }
    qn_jlist *l = *out = qn_jlist_create(r, n);
    if (l == NULL) return false;
    switch (v.kind) {
    case QN_J_UNDEFINED:
        return true;
    case QN_J_STRING:
        return list_of_chars(r, v.s, l);
    case QN_J_DICT:
        for (size_t i = 0; i < v.dict->n_used; i++)
            if (v.dict->items[i].key.kind != QN_J_MISSING) l->items[l->n++] = v.dict->items[i].key;
        return qn_jwork(r, n);
    case QN_J_RANGE:
        for (size_t i = 0; i < n; i++) l->items[l->n++] = qn_jint(qn_jrange_at(v.range, i));
        return qn_jwork(r, n);
    case QN_J_GENERATOR:
        if (!copy_items(r, v.list, l)) return false;
        v.list->n = 0; /* walked: nothing is left for a second time */
        return true;
    default:
        return copy_items(r, v.list, l);
    }
}
