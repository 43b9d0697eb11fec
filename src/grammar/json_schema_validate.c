/* json_schema_validate.c: whether a value that the schema itself holds (of enum and const, a property's name)
 * is valid: by the letter, keyword after keyword. */
#include "base/utf8.h"
#include "grammar/json_schema_compile.h"

#include <math.h>
#include <string.h>

static bool is_integral(const json_t *value)
{
    return json_is_integer(value) ||
           (json_is_real(value) && floor(json_real_value(value)) == json_real_value(value));
}

static bool type_holds(schema_compiler *c, const json_t *schema, const json_t *value)
{
    const unsigned types = schema_types(c, schema);
    switch (json_typeof(value)) {
    case JSON_NULL:
        return (types & TYPE_NULL) != 0;
    case JSON_TRUE:
    case JSON_FALSE:
        return (types & TYPE_BOOLEAN) != 0;
    case JSON_INTEGER:
    case JSON_REAL:
        return (types & (is_integral(value) ? TYPE_INTEGER : TYPE_FRACTION)) != 0;
    case JSON_STRING:
        return (types & TYPE_STRING) != 0;
    case JSON_ARRAY:
        return (types & TYPE_ARRAY) != 0;
    case JSON_OBJECT:
        return (types & TYPE_OBJECT) != 0;
    }
    return false;
}

/* Equal as JSON: 1 and 1.0 are the same number. */
static bool same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b) && json_typeof(a) != json_typeof(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b) != 0;
}

static bool values_hold(schema_compiler *c, const json_t *schema, const json_t *value)
{
    const json_t *constant = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    bool found = list == NULL || list == c->enum_that_holds;
    for (size_t i = 0; !found && i < json_array_size(list); i++)
        found = !schema_spend(c, 4) || same(json_array_get(list, i), value);
    return found && (constant == NULL || same(constant, value));
}

static size_t count_holding(schema_compiler *c, const json_t *branches, const json_t *value)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(branches) && c->status == QUERN_OK; i++)
        n += schema_holds(c, json_array_get(branches, i), value);
    return n;
}

static bool branches_hold(schema_compiler *c, const json_t *schema, const json_t *value)
{
    const json_t *all = json_object_get(schema, "allOf"), *any = json_object_get(schema, "anyOf"),
                 *one = json_object_get(schema, "oneOf"), *opposite = json_object_get(schema, "not"),
                 *condition = json_object_get(schema, "if");
    const char *reference = json_string_value(json_object_get(schema, "$ref"));
    if (reference != NULL) {
        const json_t *target = schema_resolve(c, schema, reference);
        if (target == NULL || !schema_holds(c, target, value)) return false;
    }
    if (all != NULL && count_holding(c, all, value) < json_array_size(all)) return false;
    if (any != NULL && count_holding(c, any, value) == 0) return false;
    if (one != NULL && count_holding(c, one, value) != 1) return false;
    if (opposite != NULL && schema_holds(c, opposite, value)) return false;
    if (condition == NULL) return true;
    const json_t *then = json_object_get(schema, schema_holds(c, condition, value) ? "then" : "else");
    return then == NULL || schema_holds(c, then, value);
}

static bool has_duplicates(schema_compiler *c, const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        for (size_t k = 0; k < i; k++)
            if (!schema_spend(c, 4) || same(json_array_get(array, i), json_array_get(array, k))) return true;
    return false;
}

static bool array_holds(schema_compiler *c, const json_t *schema, const json_t *value)
{
    uint32_t min = 0, max = NO_MAXIMUM, min_contained = 1, max_contained = NO_MAXIMUM, contained = 0;
    const json_t *items = json_object_get(schema, "items"), *prefix = json_object_get(schema, "prefixItems");
    const json_t *wanted = json_object_get(schema, "contains");
    if (json_is_array(items)) prefix = items, items = json_object_get(schema, "additionalItems");
    schema_count(c, schema, "minItems", &min), schema_count(c, schema, "maxItems", &max);
    schema_count(c, schema, "minContains", &min_contained),
        schema_count(c, schema, "maxContains", &max_contained);
    const size_t n = json_array_size(value);
    if (n < min || n > max) return false;
    if (schema_flag(schema, "uniqueItems") && has_duplicates(c, value)) return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(value, i), *rule = json_array_get(prefix, i);
        if (rule == NULL) rule = items;
        if (rule != NULL && !schema_holds(c, rule, item)) return false;
        contained += wanted != NULL && schema_holds(c, wanted, item);
    }
    return wanted == NULL || (contained >= min_contained && contained <= max_contained);
}

/* Whether the value of one property holds to all that says something about it. */
static bool property_holds(schema_compiler *c, const json_t *schema, const char *name, const json_t *value)
{
    const json_t *patterns = json_object_get(schema, "patternProperties");
    const json_t *own = json_object_get(json_object_get(schema, "properties"), name);
    const json_t *additional = json_object_get(schema, "additionalProperties");
    bool named = own != NULL;
    if (own != NULL && !schema_holds(c, own, value)) return false;
    for (void *m = schema_members(patterns); m != NULL; m = schema_next_member(patterns, m)) {
        const char *pattern = json_object_iter_key(m);
        if (!schema_matches(c, schema, pattern, strlen(pattern), name, strlen(name))) continue;
        named = true;
        if (!schema_holds(c, json_object_iter_value(m), value)) return false;
    }
    return named || additional == NULL || schema_holds(c, additional, value);
}

static bool dependents_hold(schema_compiler *c, const json_t *schema, const char *keyword,
                            const json_t *value)
{
    const json_t *all = json_object_get(schema, keyword);
    for (void *m = schema_members(all); m != NULL; m = schema_next_member(all, m)) {
        const json_t *dependent = json_object_iter_value(m);
        if (json_object_get(value, json_object_iter_key(m)) == NULL) continue;
        if (!json_is_array(dependent) && !schema_holds(c, dependent, value)) return false;
        for (size_t i = 0; i < json_array_size(dependent); i++) {
            const char *name = json_string_value(json_array_get(dependent, i));
            if (name == NULL || json_object_get(value, name) == NULL) return false;
        }
    }
    return true;
}

static bool object_holds(schema_compiler *c, const json_t *schema, const json_t *value)
{
    uint32_t min = 0, max = NO_MAXIMUM;
    const json_t *required = json_object_get(schema, "required"),
                 *names = json_object_get(schema, "propertyNames");
    schema_count(c, schema, "minProperties", &min), schema_count(c, schema, "maxProperties", &max);
    if (json_object_size(value) < min || json_object_size(value) > max) return false;
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (name == NULL || json_object_get(value, name) == NULL) return false;
    }
    for (void *m = schema_members(value); m != NULL; m = schema_next_member(value, m)) {
        const char *name = json_object_iter_key(m);
        if (!property_holds(c, schema, name, json_object_iter_value(m))) return false;
        if (names == NULL) continue;
        json_t *text = json_string(name);
        if (text == NULL) return schema_no_memory(c);
        const bool holds = schema_holds(c, names, text);
        json_decref(text);
        if (!holds) return false;
    }
    return dependents_hold(c, schema, "dependentRequired", value) &&
           dependents_hold(c, schema, "dependentSchemas", value) &&
           dependents_hold(c, schema, "dependencies", value);
}

bool schema_holds(schema_compiler *c, const json_t *schema, const json_t *value)
{
    enum { MAX_DEPTH = 200 };
    if (json_is_true(schema)) return true;
    if (!json_is_object(schema) || c->status != QUERN_OK || !schema_spend(c, 150)) return false;
    if (c->holds_depth == MAX_DEPTH)
        return schema_fail(c, QUERN_ERR_LIMIT, schema,
                           "a value is compared with more than %d schemas in each other", MAX_DEPTH);
    c->holds_depth++;
    bool holds =
        type_holds(c, schema, value) && values_hold(c, schema, value) && branches_hold(c, schema, value);
    if (json_is_number(value)) holds = holds && schema_number_holds(c, schema, value);
    if (json_is_string(value)) holds = holds && schema_string_holds(c, schema, value);
    if (json_is_array(value)) holds = holds && array_holds(c, schema, value);
    if (json_is_object(value)) holds = holds && object_holds(c, schema, value);
    c->holds_depth--;
    return holds && c->status == QUERN_OK;
}
