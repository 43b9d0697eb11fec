/* json_schema.c: the entries, and how a conjunction becomes a rule: its alternatives, and for each of them
 * the values or the types that it leaves. Rules that have no meaning yet wait in a queue. */
#include "grammar/json_schema.h"

#include "base/alloc.h"
#include "grammar/json_schema_compile.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_TEXT = 16 << 20,
    MAX_ALTERNATIVES = 512, /* of one conjunction */
};
#define ALL_WORK 20000000u /* of some nanoseconds each */

/* ---- leaves ------------------------------------------------------------------------------------ */

qn_expression schema_nothing(schema_compiler *c)
{
    return qn_expression_group(c->e, QN_EXPRESSION_CHOICE);
}

static bool among(schema_compiler *c, const json_t *values, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(values); i++)
        if (!schema_spend(c, 4) || json_equal(json_array_get(values, i), value)) return true;
    return false;
}

/* Whether a plain `not` forbids that value. */
static bool is_excluded(schema_compiler *c, const flat_schemas *f, const json_t *value)
{
    for (size_t i = 0; i < f->n; i++) {
        const json_t *opposite = json_object_get(f->items[i].schema, "not");
        const json_t *constant = json_object_get(opposite, "const");
        if (constant != NULL && json_equal(constant, value)) return true;
        if (among(c, json_object_get(opposite, "enum"), value)) return true;
    }
    return false;
}

/* Whether a plain `not` forbids some array or object: its texts cannot be told from others. */
static bool excludes_container(const flat_schemas *f, unsigned type)
{
    for (size_t i = 0; i < f->n; i++) {
        const json_t *opposite = json_object_get(f->items[i].schema, "not");
        const json_t *constant = json_object_get(opposite, "const"),
                     *list = json_object_get(opposite, "enum");
        const size_t n = constant != NULL ? 1 : json_array_size(list);
        for (size_t k = 0; k < n; k++) {
            const json_t *value = constant != NULL ? constant : json_array_get(list, k);
            if (type == TYPE_ARRAY ? json_is_array(value) : json_is_object(value)) return true;
        }
    }
    return false;
}

/* The types that all the flat schemas allow. Where a pattern or format must not hold, the value is a string:
 * for all else they do. */
static unsigned common_types(schema_compiler *c, const flat_schemas *f)
{
    unsigned types = TYPE_ALL;
    for (size_t i = 0; i < f->n; i++) {
        const json_t *opposite = json_object_get(f->items[i].schema, "not");
        types &= schema_types(c, f->items[i].schema);
        if (!schema_is_plain_opposite(opposite)) continue;
        if (json_object_get(opposite, "pattern") != NULL || json_object_get(opposite, "format") != NULL)
            types &= TYPE_STRING;
    }
    return types;
}

/* Those of a list of values that hold to all schemas of the set. */
static void add_values(schema_compiler *c, const schema_set *set, const json_t *values,
                       const json_t *constant, qn_expression into)
{
    const size_t n = constant != NULL ? 1 : json_array_size(values);
    for (size_t i = 0; i < n && c->status == QUERN_OK; i++) {
        const json_t *value = constant != NULL ? constant : json_array_get(values, i);
        bool holds = schema_spend(c, 20);
        c->enum_that_holds = values;
        for (size_t k = 0; holds && k < set->n; k++) holds = schema_holds(c, set->items[k], value);
        c->enum_that_holds = NULL;
        if (holds && c->status == QUERN_OK) qn_expression_append(c->e, into, qn_json_constant(&c->w, value));
    }
}

static void add_type(schema_compiler *c, const flat_schemas *f, unsigned types, unsigned type,
                     qn_expression into)
{
    if ((types & type) == 0 || c->status != QUERN_OK) return;
    if (type == TYPE_NULL && !is_excluded(c, f, json_null()))
        qn_expression_append(c->e, into, qn_expression_text(c->e, "null", 4));
    if (type == TYPE_BOOLEAN && !is_excluded(c, f, json_true()))
        qn_expression_append(c->e, into, qn_expression_text(c->e, "true", 4));
    if (type == TYPE_BOOLEAN && !is_excluded(c, f, json_false()))
        qn_expression_append(c->e, into, qn_expression_text(c->e, "false", 5));
    if (type == TYPE_NUMBER) qn_expression_append(c->e, into, schema_number(c, f, types & TYPE_NUMBER));
    if (type == TYPE_STRING) qn_expression_append(c->e, into, schema_string(c, f));
    if ((type == TYPE_ARRAY || type == TYPE_OBJECT) && excludes_container(f, type) &&
        !schema_unsupported(c, f->items[0].schema, "not",
                            "of an array or object as a constant is not supported"))
        return;
    if (type == TYPE_ARRAY) qn_expression_append(c->e, into, schema_array(c, f));
    if (type == TYPE_OBJECT) qn_expression_append(c->e, into, schema_object(c, f));
}

static void add_types(schema_compiler *c, const flat_schemas *f, qn_expression into)
{
    static const unsigned each[] = {TYPE_NULL,   TYPE_BOOLEAN, TYPE_NUMBER,
                                    TYPE_STRING, TYPE_ARRAY,   TYPE_OBJECT};
    const unsigned types = common_types(c, f);
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) add_type(c, f, types, each[i], into);
}

/* The constants or enumerations among flat schemas: any one of them, for all must hold. */
static bool find_values(schema_compiler *c, const flat_schemas *f, const json_t **values,
                        const json_t **constant)
{
    *values = *constant = NULL;
    for (size_t i = 0; i < f->n; i++) {
        const json_t *list = json_object_get(f->items[i].schema, "enum");
        if (list != NULL && !json_is_array(list))
            return schema_fail(c, QUERN_ERR_ARGUMENT, f->items[i].schema, "\"enum\" is no array");
        if (list != NULL) *values = list;
        if (json_object_get(f->items[i].schema, "const") != NULL)
            *constant = json_object_get(f->items[i].schema, "const");
    }
    return *values != NULL || *constant != NULL;
}

/* ---- rules ------------------------------------------------------------------------------------- */

/* Nothing but a disjunction: its branches can be rules, which others share. */
static void add_branches(schema_compiler *c, const json_t *alternatives, qn_expression into)
{
    for (size_t i = 0; i < json_array_size(alternatives) && c->status == QUERN_OK; i++) {
        schema_set branch = {0};
        if (schema_set_add(c, &branch, json_array_get(alternatives, i)))
            qn_expression_append(c->e, into, schema_rule_of(c, &branch));
    }
}

static void add_alternatives(schema_compiler *c, const schema_set *set, const schema_choice *choices,
                             size_t *n_alternatives, qn_expression into)
{
    flat_schemas f = {0};
    const json_t *values, *constant;
    if (!schema_spend(c, 100) || !schema_flatten(c, &f, set, choices) || f.is_false) return;
    if (find_values(c, &f, &values, &constant)) {
        add_values(c, set, values, constant, into);
        return;
    }
    if (c->status != QUERN_OK) return;
    if (f.pending == NULL) {
        if (++*n_alternatives > MAX_ALTERNATIVES)
            schema_fail(c, QUERN_ERR_LIMIT, set->items[0], "more than %d combinations of alternatives",
                        MAX_ALTERNATIVES);
        else add_types(c, &f, into);
        return;
    }
    if (f.n == 0 && f.n_pending == 1) {
        add_branches(c, f.pending, into);
        return;
    }
    for (size_t i = 0; i < json_array_size(f.pending) && c->status == QUERN_OK; i++)
        add_alternatives(c, set, &(schema_choice){f.pending, i, choices}, n_alternatives, into);
}

/* What needs no rule of its own: schemas that only name a simple type. */
static bool is_simple(schema_compiler *c, const schema_set *set, qn_json_rule *rule)
{
    static const struct {
        const char *type;
        qn_json_rule rule;
    } simple[] = {{"string", QN_JSON_STRING}, {"integer", QN_JSON_INTEGER}, {"number", QN_JSON_NUMBER}};
    *rule = QN_JSON_VALUE;
    if (set->n == 0) return true;
    const json_t *schema = set->items[0];
    const char *type = json_string_value(json_object_get(schema, "type"));
    if (set->n != 1 || type == NULL) return false;
    for (void *m = schema_members(schema); m != NULL; m = schema_next_member(schema, m)) {
        static const char *const harmless[] = {"type", "description", "title", "default", "examples"};
        bool known = false;
        for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
            known |= strcmp(harmless[i], json_object_iter_key(m)) == 0;
        if (!known) return false;
    }
    for (size_t i = 0; i < sizeof simple / sizeof simple[0]; i++)
        if (strcmp(simple[i].type, type) == 0) return *rule = simple[i].rule, schema_spend(c, 1);
    return false;
}

static bool add_rule(schema_compiler *c, const schema_set *set, uint32_t *number)
{
    int64_t existing;
    const char *key = (const char *)set->items;
    const uint32_t index = (uint32_t)c->n_rules;
    if (!qn_hash_map_add(&c->rule_numbers, key, set->n * sizeof *set->items, index, &existing))
        return schema_no_memory(c);
    if (existing != QN_HASH_NONE) return *number = c->rules[existing].number, true;
    if (!qn_grow(&c->rules, &c->rule_capacity, c->n_rules + 1, UINT32_MAX, sizeof *c->rules))
        return schema_no_memory(c);
    *number = qn_expression_new_rule(c->e);
    c->rules[c->n_rules++] = (schema_rule){*set, *number};
    return true;
}

qn_expression schema_rule_of(schema_compiler *c, const schema_set *set)
{
    schema_set essential = {0};
    qn_json_rule simple;
    uint32_t number = 0;
    if (c->status != QUERN_OK || !schema_spend(c, 20)) return QN_NO_EXPRESSION;
    for (size_t i = 0; i < set->n; i++) {
        const json_t *schema = set->items[i];
        if (json_is_false(schema)) return schema_nothing(c);
        if (json_is_true(schema) || (json_is_object(schema) && json_object_size(schema) == 0)) continue;
        if (!schema_set_add(c, &essential, schema)) return QN_NO_EXPRESSION;
    }
    if (is_simple(c, &essential, &simple)) return qn_json_shared(&c->w, simple);
    return add_rule(c, &essential, &number) ? qn_expression_rule(c->e, number) : QN_NO_EXPRESSION;
}

/* Gives all rules their meaning; that of one may add others. */
static void compile_rules(schema_compiler *c)
{
    while (c->status == QUERN_OK && !c->e->failed && c->n_compiled < c->n_rules) {
        const schema_rule rule = c->rules[c->n_compiled++];
        const qn_expression choice = qn_expression_group(c->e, QN_EXPRESSION_CHOICE);
        size_t n_alternatives = 0;
        add_alternatives(c, &rule.set, NULL, &n_alternatives, choice);
        qn_expression_define(c->e, rule.number, choice);
    }
}

static const char *rule_name(void *user, uint32_t rule)
{
    static _Thread_local char name[200];
    const schema_compiler *c = user;
    snprintf(name, sizeof name, "?");
    for (size_t i = 0; i < c->n_rules; i++)
        if (c->rules[i].number == rule) schema_pointer_of(c, c->rules[i].set.items[0], name);
    return name;
}

static void release_rules(schema_compiler *c)
{
    qn_free(c->rules);
    qn_hash_map_deinit(&c->rule_numbers);
}

bool schema_is_impossible(schema_compiler *c, const schema_set *set)
{
    const schema_compiler before = *c;
    qn_expressions e = {0};
    qn_network n = {0};
    c->w = (qn_json_writer){.e = &e}; /* JSON's own notation: values that another cannot write count too */
    c->e = &e;
    c->probing = true;
    c->rules = NULL;
    c->n_rules = c->rule_capacity = c->n_compiled = 0;
    c->rule_numbers = (qn_hash_map){0};
    e.root = qn_expression_new_rule(&e);
    qn_expression_define(&e, e.root, schema_rule_of(c, set));
    compile_rules(c);
    if (c->status == QUERN_OK) c->status = qn_network_build(&n, &e, "JSON schema", rule_name, c, c->err);
    const bool impossible = c->status == QUERN_OK && n.is_empty;
    schema_spend(c, 10000 + 10 * (e.n_nodes + n.n_states));
    qn_network_deinit(&n);
    qn_expressions_deinit(&e);
    release_rules(c);
    if (c->status == QUERN_ERR_LIMIT && c->work > 0) c->status = QUERN_OK; /* it is not known, then */
    c->w = before.w, c->e = before.e, c->probing = before.probing;
    c->rules = before.rules, c->n_rules = before.n_rules, c->rule_capacity = before.rule_capacity;
    c->n_compiled = before.n_compiled, c->rule_numbers = before.rule_numbers;
    return impossible;
}

/* ---- entries ----------------------------------------------------------------------------------- */

static void release(schema_compiler *c)
{
    release_rules(c);
    for (size_t i = 0; i < c->n_patterns; i++) qn_languages_deinit(&c->patterns[i].languages);
    qn_free(c->patterns);
    qn_hash_map_deinit(&c->pattern_numbers);
    json_decref(c->anchors);
    schema_release_memory(c);
}

static void begin(schema_compiler *c, qn_expressions *e, const json_t *schema,
                  const qn_json_schema_options *options, quern_error *err)
{
    *c = (schema_compiler){.e = e, .root = schema, .work = ALL_WORK, .err = err};
    if (options != NULL) c->options = *options;
    c->w = (qn_json_writer){.e = e, .whitespace = c->options.whitespace, .notation = c->options.notation};
}

static qn_expression add_root(schema_compiler *c)
{
    schema_set all = {0};
    if (!json_is_boolean(c->root) && !json_is_object(c->root))
        schema_fail(c, QUERN_ERR_ARGUMENT, c->root, "a schema is an object or true or false");
    else schema_set_add(c, &all, c->root);
    const qn_expression value = schema_rule_of(c, &all);
    compile_rules(c);
    if (c->status == QUERN_OK && c->e->failed) {
        if (c->e->no_memory) schema_no_memory(c);
        else c->status = qn_fail(c->err, QUERN_ERR_LIMIT, "JSON schema: too large");
    }
    return value;
}

quern_status qn_json_schema_add(qn_expressions *e, const json_t *schema,
                                const qn_json_schema_options *options, qn_expression *out, quern_error *err)
{
    schema_compiler c;
    begin(&c, e, schema, options, err);
    *out = add_root(&c);
    if (c.status != QUERN_OK) *out = QN_NO_EXPRESSION;
    release(&c);
    return c.status;
}

quern_status qn_json_schema_build(qn_network *n, const json_t *schema, const qn_json_schema_options *options,
                                  quern_error *err)
{
    schema_compiler c;
    qn_expressions e = {0};
    memset(n, 0, sizeof *n);
    begin(&c, &e, schema, options, err);
    e.root = qn_expression_new_rule(&e);
    const qn_expression value = add_root(&c);
    if (c.status == QUERN_OK) {
        qn_expression_define(&e, e.root, value);
        c.status = qn_network_build(n, &e, "JSON schema", rule_name, &c, err);
    }
    if (c.status == QUERN_OK && n->is_empty) schema_fail(&c, QUERN_ERR_ARGUMENT, schema, "no value is valid");
    if (c.status != QUERN_OK) qn_network_deinit(n);
    release(&c);
    qn_expressions_deinit(&e);
    return c.status;
}

quern_status qn_json_schema_build_text(qn_network *n, const char *text, size_t n_bytes,
                                       const qn_json_schema_options *options, quern_error *err)
{
    json_error_t where;
    memset(n, 0, sizeof *n);
    if (n_bytes > MAX_TEXT)
        return qn_fail(err, QUERN_ERR_LIMIT, "JSON schema: %zu bytes, at most %d are allowed", n_bytes,
                       MAX_TEXT);
    json_t *schema =
        json_loadb(text, n_bytes, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
    if (schema == NULL && json_error_code(&where) == json_error_out_of_memory)
        return qn_fail(err, QUERN_ERR_NOMEM, "JSON schema: no memory");
    if (schema == NULL)
        return qn_fail(err, QUERN_ERR_FORMAT, "JSON schema, line %d, column %d: %s", where.line, where.column,
                       where.text);
    const quern_status s = qn_json_schema_build(n, schema, options, err);
    json_decref(schema);
    return s;
}
