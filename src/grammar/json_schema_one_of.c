/* json_schema_one_of.c: oneOf as anyOf, once no value can belong to two branches.
 *
 * Most are told apart by their types, or by a property that is constant in each. What is not is compiled as
 * if both branches held: if that has no text, they never do. Objects that are still alike are kept apart by
 * the properties that they demand: where a branch demands one that another does not, the other does without.
 */
#include "grammar/json_schema_compile.h"

#include <string.h>

enum { MAX_BRANCHES = 200, MAX_REFERENCES = 16 };

/* The schema that references alone lead to. */
static const json_t *target_of(schema_compiler *c, const json_t *schema)
{
    for (int i = 0; i < MAX_REFERENCES && schema != NULL; i++) {
        const char *reference = json_string_value(json_object_get(schema, "$ref"));
        if (reference == NULL) return schema;
        schema = schema_resolve(c, schema, reference);
    }
    return schema;
}

static unsigned type_of_value(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL:
        return TYPE_NULL;
    case JSON_TRUE:
    case JSON_FALSE:
        return TYPE_BOOLEAN;
    case JSON_INTEGER:
    case JSON_REAL:
        return TYPE_NUMBER;
    case JSON_STRING:
        return TYPE_STRING;
    case JSON_ARRAY:
        return TYPE_ARRAY;
    case JSON_OBJECT:
        return TYPE_OBJECT;
    }
    return TYPE_ALL;
}

/* The types that values of a schema can have, as far as its own keywords say. */
static unsigned types_of(schema_compiler *c, const json_t *schema)
{
    const json_t *constant = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    unsigned types = schema_types(c, schema), listed = 0;
    if (constant != NULL) types &= type_of_value(constant);
    for (size_t i = 0; i < json_array_size(list); i++) listed |= type_of_value(json_array_get(list, i));
    return list != NULL ? types & listed : types;
}

static bool demands(const json_t *schema, const char *name)
{
    const json_t *required = json_object_get(schema, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *other = json_string_value(json_array_get(required, i));
        if (other != NULL && strcmp(other, name) == 0) return true;
    }
    return false;
}

static bool is_among(const json_t *schema, const json_t *value)
{
    const json_t *constant = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    if (constant != NULL) return json_equal(constant, value) != 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), value)) return true;
    return false;
}

/* Whether both name their values and none is a value of both. */
static bool values_differ(schema_compiler *c, const json_t *a, const json_t *b)
{
    const json_t *constant = json_object_get(a, "const"), *list = json_object_get(a, "enum");
    if (json_object_get(b, "const") == NULL && json_object_get(b, "enum") == NULL) return false;
    if (constant != NULL) return !is_among(b, constant);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!schema_spend(c, 10) || is_among(b, json_array_get(list, i))) return false;
    return list != NULL;
}

static bool are_plainly_apart(schema_compiler *c, const json_t *owner, const json_t *a, const json_t *b)
{
    a = target_of(c, a), b = target_of(c, b);
    if (c->status != QUERN_OK || !json_is_object(a) || !json_is_object(b)) return false;
    const unsigned types = types_of(c, owner) & types_of(c, a) & types_of(c, b);
    if (types == 0 || values_differ(c, a, b)) return true;
    const json_t *properties = json_object_get(a, "properties"), *others = json_object_get(b, "properties");
    for (void *m = schema_members(properties); types == TYPE_OBJECT && m != NULL;
         m = schema_next_member(properties, m)) {
        const char *name = json_object_iter_key(m);
        const json_t *other = json_object_get(others, name);
        if (other != NULL && (demands(owner, name) || demands(a, name) || demands(b, name)) &&
            schema_spend(c, 40) && values_differ(c, json_object_iter_value(m), other))
            return true;
    }
    return false;
}

/* A property that a demands and b does not, or NULL. */
static const char *demanded_by_one(const json_t *a, const json_t *b)
{
    const json_t *required = json_object_get(a, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (name != NULL && !demands(b, name)) return name;
    }
    return NULL;
}

/* What stands beside oneOf and holds for all branches. */
static const json_t *surroundings(schema_compiler *c, const json_t *owner)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)owner); /* shallow: the parts are shared */
    if (copy != NULL) json_object_del(copy, "oneOf");
    return schema_keep(c, copy);
}

/* absent[i] gets the properties without which branch i is apart from the others. */
static bool keep_apart(schema_compiler *c, const json_t *owner, const json_t *around, size_t i, size_t k,
                       json_t **absent)
{
    const json_t *branches = json_object_get(owner, "oneOf");
    const json_t *a = json_array_get(branches, i), *b = json_array_get(branches, k);
    schema_set both = {0};
    if (!schema_spend(c, 300) || are_plainly_apart(c, owner, a, b)) return c->status == QUERN_OK;
    if (!schema_set_add(c, &both, around) || !schema_set_add(c, &both, a) || !schema_set_add(c, &both, b))
        return false;
    if (json_equal(a, b) == 0 && schema_is_impossible(c, &both)) return true;
    if (c->status != QUERN_OK) return false;
    a = target_of(c, a), b = target_of(c, b);
    const char *only_a = demanded_by_one(a, b), *only_b = demanded_by_one(b, a);
    const bool are_objects = (types_of(c, owner) & types_of(c, a) & types_of(c, b)) == TYPE_OBJECT;
    if (!are_objects || only_a == NULL || only_b == NULL)
        return schema_unsupported(c, owner, "oneOf",
                                  "has branches that hold for the same values (use anyOf)");
    if (absent[i] == NULL) absent[i] = json_object();
    if (absent[k] == NULL) absent[k] = json_object();
    return (json_object_set_new(absent[i], only_b, json_false()) == 0 &&
            json_object_set_new(absent[k], only_a, json_false()) == 0) ||
           schema_no_memory(c);
}

/* The branches, each with what must stay away. */
static json_t *with_absent(const json_t *branches, json_t **absent)
{
    json_t *all = json_array();
    for (size_t i = 0; all != NULL && i < json_array_size(branches); i++) {
        json_t *branch = json_array_get(branches, i);
        json_t *made = absent[i] == NULL
                           ? json_incref(branch)
                           : json_pack("{s:[O,{s:O}]}", "allOf", branch, "properties", absent[i]);
        if (made == NULL || json_array_append_new(all, made) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

const json_t *schema_one_of(schema_compiler *c, const json_t *owner)
{
    const json_t *branches = json_object_get(owner, "oneOf"), *known = schema_made(c, owner, 'o');
    const size_t n = json_array_size(branches);
    if (c->probing || n < 2) return branches; /* wider, if anything */
    if (known != NULL) return known;
    if (n > MAX_BRANCHES) {
        schema_fail(c, QUERN_ERR_LIMIT, owner, "\"oneOf\" has %zu branches, at most %d are allowed", n,
                    MAX_BRANCHES);
        return NULL;
    }
    const json_t *around = surroundings(c, owner);
    json_t **absent = schema_alloc(c, n, sizeof *absent);
    bool ok = around != NULL && absent != NULL;
    for (size_t i = 0; ok && i < n; i++)
        for (size_t k = i + 1; ok && k < n; k++) ok = keep_apart(c, owner, around, i, k, absent);
    const json_t *apart = ok ? schema_keep_made(c, owner, 'o', with_absent(branches, absent)) : NULL;
    for (size_t i = 0; absent != NULL && i < n; i++) json_decref(absent[i]);
    return apart;
}
