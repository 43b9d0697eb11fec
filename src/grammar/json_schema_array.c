/* json_schema_array.c: arrays. Items with a place of their own come first, then any number of the others, as
 * often as counts allow. With "contains" a second count goes along: of the items that are wanted. */
#include "base/alloc.h"
#include "base/checked.h"
#include "grammar/json_schema_compile.h"

#include <string.h>

enum {
    MAX_ITEMS = 1 << 20, /* beyond that a maximum is none */
    MAX_PREFIX = 10000,
    MAX_GRAPH = 20000, /* states, where two counts go together */
    MAX_UNIQUE = 8,    /* values of which each may be there once */
};

typedef struct array_demands {
    const flat_schemas *f;
    uint32_t min, max, n_prefix;
    const json_t *contained, *contained_by; /* what "contains" wants, and its schema; NULL: nothing */
    uint32_t min_contained, max_contained;
    bool unique;
} array_demands;

typedef struct edge_list {
    qn_graph_edge *edges;
    size_t n, capacity;
    uint32_t n_states;
} edge_list;

static void add_edge(schema_compiler *c, edge_list *l, uint32_t from, uint32_t to, qn_expression part)
{
    if (!qn_grow(&l->edges, &l->capacity, l->n + 1, 1 << 20, sizeof *l->edges)) schema_no_memory(c);
    else l->edges[l->n++] = (qn_graph_edge){from, to, part};
}

static qn_expression finish(schema_compiler *c, edge_list *l)
{
    const qn_expression graph =
        c->status == QUERN_OK ? qn_expression_graph(c->e, l->n_states, l->edges, l->n) : QN_NO_EXPRESSION;
    qn_free(l->edges);
    return graph;
}

/* ---- what is demanded -------------------------------------------------------------------------- */

static const json_t *prefix_of(const json_t *schema)
{
    const json_t *items = json_object_get(schema, "items"), *prefix = json_object_get(schema, "prefixItems");
    return json_is_array(prefix) ? prefix : json_is_array(items) ? items : NULL;
}

/* What items beyond the prefix must hold to, or NULL. */
static const json_t *rest_of(const flat_schemas *f, size_t i)
{
    const json_t *schema = f->items[i].schema, *items = json_object_get(schema, "items");
    if (json_is_array(items)) items = json_object_get(schema, "additionalItems");
    if (items != NULL) return items;
    for (size_t k = f->items[i].begin; k < i; k++) /* evaluated by what came in through it */
        if (json_object_get(f->items[k].schema, "items") != NULL) return NULL;
    return json_object_get(schema, "unevaluatedItems");
}

static bool read_contains(schema_compiler *c, const json_t *schema, array_demands *d)
{
    const json_t *contained = json_object_get(schema, "contains");
    uint32_t min = 1, max = NO_MAXIMUM;
    if (contained == NULL) return true;
    if (!schema_count(c, schema, "minContains", &min) || !schema_count(c, schema, "maxContains", &max))
        return false;
    if (min == 0 && max == NO_MAXIMUM) return true;
    if (d->contained != NULL) return schema_unsupported(c, schema, "contains", "is there more than once");
    d->contained = contained;
    d->contained_by = schema;
    d->min_contained = min, d->max_contained = max;
    return true;
}

static bool read_demands(schema_compiler *c, const flat_schemas *f, array_demands *d)
{
    *d = (array_demands){.f = f, .max = NO_MAXIMUM};
    for (size_t i = 0; i < f->n; i++) {
        const json_t *schema = f->items[i].schema;
        uint32_t min = 0, max = NO_MAXIMUM;
        if (!schema_count(c, schema, "minItems", &min) || !schema_count(c, schema, "maxItems", &max) ||
            !read_contains(c, schema, d))
            return false;
        if (min > d->min) d->min = min;
        if (max < d->max) d->max = max;
        const size_t n_prefix = json_array_size(prefix_of(schema));
        if (n_prefix > MAX_PREFIX)
            return schema_fail(c, QUERN_ERR_LIMIT, schema, "\"prefixItems\" has %zu", n_prefix);
        if (n_prefix > d->n_prefix) d->n_prefix = (uint32_t)n_prefix;
        d->unique |= schema_flag(schema, "uniqueItems");
    }
    if (d->max > MAX_ITEMS) d->max = NO_MAXIMUM;
    if (d->min > MAX_ITEMS)
        return schema_fail(c, QUERN_ERR_LIMIT, f->items[0].schema, "an array of at least %u items", d->min);
    return true;
}

/* All that item number `index` must hold to; extra: one more schema, or NULL. */
static bool item_set(schema_compiler *c, const array_demands *d, uint32_t index, const json_t *extra,
                     schema_set *set)
{
    bool ok = true;
    for (size_t i = 0; ok && i < d->f->n; i++) {
        const json_t *own = json_array_get(prefix_of(d->f->items[i].schema), index);
        const json_t *schema = own != NULL ? own : rest_of(d->f, i);
        if (schema != NULL) ok = schema_set_add(c, set, schema);
    }
    return ok && (extra == NULL || schema_set_add(c, set, extra));
}

static qn_expression item(schema_compiler *c, const array_demands *d, uint32_t index, const json_t *extra)
{
    schema_set set = {0};
    return item_set(c, d, index, extra, &set) ? schema_rule_of(c, &set) : QN_NO_EXPRESSION;
}

/* ---- places, then repetitions ------------------------------------------------------------------ */

/* "," and an item beyond the prefix, as a rule. */
static uint32_t further_item(schema_compiler *c, const array_demands *d)
{
    const uint32_t rule = qn_expression_new_rule(c->e);
    const qn_expression both = qn_expression_group(c->e, QN_EXPRESSION_SEQUENCE);
    qn_expression_append(c->e, both, qn_json_punctuation(&c->w, ','));
    qn_expression_append(c->e, both, item(c, d, d->n_prefix, NULL));
    qn_expression_define(c->e, rule, both);
    return rule;
}

/* States: 2 + i before item i, then one behind the first of the rest, then one behind all. */
static qn_expression counted_array(schema_compiler *c, const array_demands *d)
{
    const uint32_t n = d->n_prefix < d->max ? d->n_prefix : d->max;
    const uint32_t comma = n + 3, first = 2 * n + 3,
                   last = first + 1; /* comma + i: behind the comma before i */
    edge_list l = {.n_states = last + 1};
    add_edge(c, &l, 0, 2, qn_json_punctuation(&c->w, '['));
    if (d->min == 0) add_edge(c, &l, 2, 1, qn_expression_text(c->e, "]", 1));
    for (uint32_t i = 0; i < n && c->status == QUERN_OK; i++) {
        if (i > 0) add_edge(c, &l, 2 + i, comma + i, qn_json_punctuation(&c->w, ','));
        add_edge(c, &l, i > 0 ? comma + i : 2, 3 + i, item(c, d, i, NULL));
        if (i + 1 >= d->min) add_edge(c, &l, 3 + i, last, QN_NO_EXPRESSION);
    }
    if (d->max > n) {
        const uint32_t from = n == 0 ? first : 2 + n;
        const uint32_t done = n == 0 ? 1 : n; /* items before the repetition */
        const uint32_t min = d->min > done ? d->min - done : 0;
        const uint32_t max = d->max == NO_MAXIMUM ? QN_ANY_NUMBER : d->max - done;
        if (n == 0) add_edge(c, &l, 2, first, item(c, d, 0, NULL));
        add_edge(c, &l, from, last, qn_json_repeated(&c->w, further_item(c, d), min, max));
    }
    add_edge(c, &l, last, 1, qn_json_punctuation(&c->w, ']'));
    return finish(c, &l);
}

/* ---- with contains ----------------------------------------------------------------------------- */

/* {"not": what is contained}: made once. */
static const json_t *not_contained(schema_compiler *c, const array_demands *d)
{
    const json_t *known = schema_made(c, d->contained_by, 'c');
    if (known != NULL) return known;
    return schema_keep_made(c, d->contained_by, 'c',
                            json_pack("{s:O}", "not", (json_t *)(uintptr_t)d->contained));
}

/* States (i, k, where): i items (as far as that matters), k of them wanted; before an item, or behind one. */
static qn_expression containing_array(schema_compiler *c, const array_demands *d)
{
    const uint32_t named = d->min > d->n_prefix ? d->min : d->n_prefix;
    const uint32_t most = d->max != NO_MAXIMUM ? d->max : named > 0 ? named : 1; /* more count as so many */
    const uint32_t wanted = d->max_contained != NO_MAXIMUM ? d->max_contained : d->min_contained;
    const json_t *other = d->max_contained != NO_MAXIMUM ? not_contained(c, d) : NULL;
    if (most > MAX_GRAPH || wanted > MAX_GRAPH || (most + 1) * (wanted + 1) > MAX_GRAPH) {
        schema_fail(c, QUERN_ERR_LIMIT, d->contained_by, "\"contains\" with counts that are too large");
        return QN_NO_EXPRESSION;
    }
    const uint32_t width = wanted + 1,
                   n_behind = (most + 1) * width; /* 2 + i * width + k; + n_behind: before */
    edge_list l = {.n_states = 2 + 2 * n_behind};
    add_edge(c, &l, 0, 2, qn_json_punctuation(&c->w, '['));
    if (d->min == 0 && d->min_contained == 0) add_edge(c, &l, 2, 1, qn_expression_text(c->e, "]", 1));
    add_edge(c, &l, 2, 2 + n_behind, QN_NO_EXPRESSION);
    for (uint32_t i = 0; i <= most && c->status == QUERN_OK; i++) {
        const qn_expression plain = item(c, d, i, other), sought = item(c, d, i, d->contained);
        for (uint32_t k = 0; k <= wanted && (k <= i || i == most) && c->status == QUERN_OK; k++) {
            const uint32_t behind = 2 + i * width + k, before = behind + n_behind;
            const uint32_t next = 2 + (i < most ? i + 1 : i) * width + k;
            if (i > 0) add_edge(c, &l, behind, before, qn_json_punctuation(&c->w, ','));
            if (i > 0 && i >= d->min && k >= d->min_contained)
                add_edge(c, &l, behind, 1, qn_json_punctuation(&c->w, ']'));
            if (i == most && d->max != NO_MAXIMUM) continue;
            add_edge(c, &l, before, next, plain);
            if (k < wanted) add_edge(c, &l, before, next + 1, sought);
        }
    }
    return finish(c, &l);
}

/* ---- with each value once ---------------------------------------------------------------------- */

/* Whether the items are few values: *values gets them. */
static bool find_item_values(schema_compiler *c, const array_demands *d, const json_t **values)
{
    schema_set set = {0};
    flat_schemas f = {0};
    static const char *const keyword = "enum";
    *values = NULL;
    if (d->n_prefix > 0 || !item_set(c, d, 0, NULL, &set) || !schema_flatten(c, &f, &set, NULL)) return false;
    for (size_t i = 0; i < f.n; i++)
        if (json_is_array(json_object_get(f.items[i].schema, keyword)))
            *values = json_object_get(f.items[i].schema, keyword);
    return *values != NULL && json_array_size(*values) <= MAX_UNIQUE && f.pending == NULL && !f.is_false;
}

/* States are the sets of the values that are there: 2 + set behind an item, 2 + n_sets + set before one. */
static qn_expression unique_array(schema_compiler *c, const array_demands *d, const json_t *values)
{
    const size_t n = json_array_size(values);
    const uint32_t n_sets = 1u << n;
    schema_set set = {0};
    qn_expression parts[MAX_UNIQUE];
    edge_list l = {.n_states = 2 + 2 * n_sets};
    if (!item_set(c, d, 0, NULL, &set)) return QN_NO_EXPRESSION;
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(values, i);
        bool holds = true;
        for (size_t k = 0; holds && k < set.n; k++) holds = schema_holds(c, set.items[k], value);
        for (size_t k = 0; holds && k < i; k++) holds = !json_equal(json_array_get(values, k), value);
        parts[i] = holds ? qn_json_constant(&c->w, value) : schema_nothing(c);
    }
    add_edge(c, &l, 0, 2, qn_json_punctuation(&c->w, '['));
    add_edge(c, &l, 2, 2 + n_sets, QN_NO_EXPRESSION);
    if (d->min == 0) add_edge(c, &l, 2, 1, qn_expression_text(c->e, "]", 1));
    for (uint32_t there = 0; there < n_sets && c->status == QUERN_OK; there++) {
        const uint32_t count = (uint32_t)__builtin_popcount(there);
        if (there > 0) add_edge(c, &l, 2 + there, 2 + n_sets + there, qn_json_punctuation(&c->w, ','));
        if (there > 0 && count >= d->min) add_edge(c, &l, 2 + there, 1, qn_json_punctuation(&c->w, ']'));
        for (uint32_t i = 0; i < n && count < d->max; i++)
            if ((there >> i & 1) == 0) add_edge(c, &l, 2 + n_sets + there, 2 + (there | 1u << i), parts[i]);
    }
    return finish(c, &l);
}

qn_expression schema_array(schema_compiler *c, const flat_schemas *f)
{
    array_demands d;
    const json_t *values;
    bool says_nothing = true;
    static const char *const keywords[] = {"items",    "prefixItems", "additionalItems", "unevaluatedItems",
                                           "minItems", "maxItems",    "contains",        "uniqueItems"};
    for (size_t i = 0; i < f->n; i++)
        for (size_t k = 0; k < sizeof keywords / sizeof *keywords; k++)
            says_nothing &= json_object_get(f->items[i].schema, keywords[k]) == NULL;
    if (says_nothing) return qn_json_shared(&c->w, QN_JSON_ARRAY);
    if (!read_demands(c, f, &d)) return QN_NO_EXPRESSION;
    if (d.min > d.max) return schema_nothing(c);
    if (d.unique && d.max > 1) {
        if (d.contained == NULL && find_item_values(c, &d, &values)) return unique_array(c, &d, values);
        if (!schema_unsupported(c, f->items[0].schema, "uniqueItems",
                                "is supported for items that are one of at most 8 values (\"enum\")"))
            return QN_NO_EXPRESSION;
    }
    return d.contained != NULL ? containing_array(c, &d) : counted_array(c, &d);
}
