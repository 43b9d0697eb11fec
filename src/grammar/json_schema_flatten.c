/* json_schema_flatten.c: conjunctions made flat: references followed, allOf taken apart, one branch of each
 * disjunction chosen. */
#include "grammar/json_schema_compile.h"

#include "base/hexadecimal.h"

#include <stdio.h>
#include <string.h>

enum { MAX_FLAT = 4096, MAX_REFERENCE = 4096, MAX_ANCHOR_DEPTH = 200 };

/* ---- keywords ---------------------------------------------------------------------------------- */

typedef enum keyword_kind {
    KEYWORD_ASSERTION,   /* read where a leaf is made */
    KEYWORD_APPLICATOR,  /* settled here */
    KEYWORD_UNSUPPORTED, /* part of JSON Schema, and not done */
} keyword_kind;

static const struct {
    const char *name;
    keyword_kind kind;
} keywords[] = {
    {"$ref", KEYWORD_APPLICATOR},
    {"allOf", KEYWORD_APPLICATOR},
    {"anyOf", KEYWORD_APPLICATOR},
    {"oneOf", KEYWORD_APPLICATOR},
    {"if", KEYWORD_APPLICATOR},
    {"dependentRequired", KEYWORD_APPLICATOR},
    {"dependentSchemas", KEYWORD_APPLICATOR},
    {"dependencies", KEYWORD_APPLICATOR},
    {"$dynamicRef", KEYWORD_UNSUPPORTED},
    {"$recursiveRef", KEYWORD_UNSUPPORTED},
    {"type", KEYWORD_ASSERTION},
    {"enum", KEYWORD_ASSERTION},
    {"const", KEYWORD_ASSERTION},
    {"not", KEYWORD_ASSERTION},
    {"properties", KEYWORD_ASSERTION},
    {"required", KEYWORD_ASSERTION},
    {"additionalProperties", KEYWORD_ASSERTION},
    {"patternProperties", KEYWORD_ASSERTION},
    {"propertyNames", KEYWORD_ASSERTION},
    {"minProperties", KEYWORD_ASSERTION},
    {"maxProperties", KEYWORD_ASSERTION},
    {"unevaluatedProperties", KEYWORD_ASSERTION},
    {"items", KEYWORD_ASSERTION},
    {"prefixItems", KEYWORD_ASSERTION},
    {"additionalItems", KEYWORD_ASSERTION},
    {"unevaluatedItems", KEYWORD_ASSERTION},
    {"minItems", KEYWORD_ASSERTION},
    {"maxItems", KEYWORD_ASSERTION},
    {"contains", KEYWORD_ASSERTION},
    {"uniqueItems", KEYWORD_ASSERTION},
    {"minLength", KEYWORD_ASSERTION},
    {"maxLength", KEYWORD_ASSERTION},
    {"pattern", KEYWORD_ASSERTION},
    {"format", KEYWORD_ASSERTION},
    {"minimum", KEYWORD_ASSERTION},
    {"maximum", KEYWORD_ASSERTION},
    {"exclusiveMinimum", KEYWORD_ASSERTION},
    {"exclusiveMaximum", KEYWORD_ASSERTION},
    {"multipleOf", KEYWORD_ASSERTION},
    {"divisibleBy", KEYWORD_UNSUPPORTED},
    {"extends", KEYWORD_UNSUPPORTED},
    {"disallow", KEYWORD_UNSUPPORTED},
};

static const char *find_keyword(const json_t *schema, keyword_kind kind)
{
    for (void *m = schema_members(schema); m != NULL; m = schema_next_member(schema, m))
        for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
            if (keywords[i].kind == kind && strcmp(keywords[i].name, json_object_iter_key(m)) == 0)
                return keywords[i].name;
    return NULL;
}

bool schema_asserts(const json_t *schema)
{
    return find_keyword(schema, KEYWORD_ASSERTION) != NULL;
}

/* ---- references -------------------------------------------------------------------------------- */

/* One token of a pointer, up to '/' or the end; %HH and ~0 ~1 are undone. Returns its end. */
static const char *read_token(const char *at, char *token)
{
    size_t n = 0;
    for (; *at != '\0' && *at != '/'; at++) {
        char c = *at;
        if (c == '%' && qn_hex_digit(at[1]) >= 0 && qn_hex_digit(at[2]) >= 0) {
            c = (char)(qn_hex_digit(at[1]) << 4 | qn_hex_digit(at[2]));
            at += 2;
        }
        if (n > 0 && token[n - 1] == '\x1a' && (c == '0' || c == '1')) token[n - 1] = c == '0' ? '~' : '/';
        else token[n++] = c == '~' ? '\x1a' : c; /* a mark until the next character tells */
    }
    token[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if (token[i] == '\x1a') token[i] = '~';
    return at;
}

static const json_t *follow_pointer(const json_t *at, const char *pointer)
{
    char token[MAX_REFERENCE + 1];
    while (*pointer == '/' && at != NULL) {
        pointer = read_token(pointer + 1, token);
        if (json_is_array(at)) {
            size_t index = 0;
            const bool is_index = token[0] != '\0' && strspn(token, "0123456789") == strlen(token) &&
                                  strlen(token) < 10 && sscanf(token, "%zu", &index) == 1;
            at = is_index ? json_array_get(at, index) : NULL;
        } else {
            at = json_object_get(at, token);
        }
    }
    return *pointer == '\0' ? at : NULL;
}

/* Collects all $anchor (as "#name") and $id. */
static bool collect_anchors(json_t *into, const json_t *at, int depth)
{
    char name[MAX_REFERENCE + 2];
    bool ok = true;
    if (depth > MAX_ANCHOR_DEPTH) return true;
    const json_t *anchor = json_object_get(at, "$anchor"), *id = json_object_get(at, "$id");
    if (json_is_string(anchor) && json_string_length(anchor) < MAX_REFERENCE) {
        snprintf(name, sizeof name, "#%s", json_string_value(anchor));
        ok = json_object_set(into, name, (json_t *)(uintptr_t)at) == 0; /* counted, not changed */
    }
    if (ok && json_is_string(id))
        ok = json_object_set(into, json_string_value(id), (json_t *)(uintptr_t)at) == 0;
    for (size_t i = 0; ok && json_is_array(at) && i < json_array_size(at); i++)
        ok = collect_anchors(into, json_array_get(at, i), depth + 1);
    for (void *m = schema_members(at); ok && m != NULL; m = schema_next_member(at, m))
        ok = collect_anchors(into, json_object_iter_value(m), depth + 1);
    return ok;
}

const json_t *schema_resolve(schema_compiler *c, const json_t *schema, const char *reference)
{
    char document[MAX_REFERENCE + 1];
    const size_t n = strlen(reference), n_document = strcspn(reference, "#");
    const json_t *base = c->root, *target;
    const char *root_id = json_string_value(json_object_get(c->root, "$id"));
    if (n > MAX_REFERENCE) return schema_fail(c, QUERN_ERR_LIMIT, schema, "\"$ref\" has %zu bytes", n), NULL;
    if (c->anchors == NULL) {
        c->anchors = json_object();
        if (c->anchors == NULL || !collect_anchors(c->anchors, c->root, 0)) return schema_no_memory(c), NULL;
    }
    snprintf(document, sizeof document, "%.*s", (int)n_document, reference);
    if (n_document > 0 && (root_id == NULL || strncmp(root_id, document, n_document) != 0 ||
                           strcspn(root_id, "#") != n_document))
        base = json_object_get(c->anchors, document);
    const char *fragment = reference + n_document;
    if (fragment[0] == '\0' || fragment[1] == '\0' || fragment[1] == '/')
        target = base == NULL ? NULL : follow_pointer(base, fragment[0] == '\0' ? fragment : fragment + 1);
    else target = json_object_get(c->anchors, fragment);
    if (target == NULL || (!json_is_object(target) && !json_is_boolean(target)))
        schema_fail(c, QUERN_ERR_ARGUMENT, schema, "\"$ref\": there is no schema \"%.100s\" in this document",
                    reference);
    return target;
}

/* ---- disjunctions ------------------------------------------------------------------------------ */

static bool flatten_one(schema_compiler *c, flat_schemas *f, const json_t *schema);

/* Goes into the chosen branch; without a choice the disjunction is left pending. */
static bool take(schema_compiler *c, flat_schemas *f, const json_t *alternatives)
{
    if (alternatives == NULL) return false;
    if (json_array_size(alternatives) == 1) return flatten_one(c, f, json_array_get(alternatives, 0));
    if (json_array_size(alternatives) == 0) return f->is_false = true;
    for (const schema_choice *choice = f->choices; choice != NULL; choice = choice->before)
        if (choice->alternatives == alternatives)
            return flatten_one(c, f, json_array_get(alternatives, choice->index));
    if (f->pending == NULL) f->pending = alternatives;
    if (f->pending != alternatives || f->n_pending == 0) f->n_pending++;
    return true;
}

/* Made schemas hold references to the caller's: counted, not changed. */
static json_t *borrowed(const json_t *value)
{
    return (json_t *)(uintptr_t)value;
}

/* if and then, or not if and else. */
static const json_t *conditional(schema_compiler *c, const json_t *schema)
{
    const json_t *known = schema_made(c, schema, 'i');
    const json_t *condition = json_object_get(schema, "if"), *then = json_object_get(schema, "then"),
                 *otherwise = json_object_get(schema, "else");
    if (known != NULL) return known;
    return schema_keep_made(c, schema, 'i',
                            json_pack("[{s:[O,O]}{s:[{s:O},O]}]", "allOf", borrowed(condition),
                                      then != NULL ? borrowed(then) : json_true(), "allOf", "not",
                                      borrowed(condition),
                                      otherwise != NULL ? borrowed(otherwise) : json_true()));
}

/* Either the property stays away or what depends on it holds. */
static bool take_dependent(schema_compiler *c, flat_schemas *f, const char *property, const json_t *dependent)
{
    const json_t *known = schema_made(c, dependent, 'd');
    if (known == NULL) {
        json_t *absent = json_pack("{s:{s:b}}", "properties", property, 0);
        json_t *then = json_is_array(dependent) ? json_pack("{s:O}", "required", borrowed(dependent))
                                                : json_incref(borrowed(dependent));
        known = schema_keep_made(c, dependent, 'd', json_pack("[o,o]", absent, then));
    }
    return take(c, f, known);
}

static bool take_dependents(schema_compiler *c, flat_schemas *f, const json_t *schema, const char *keyword)
{
    const json_t *all = json_object_get(schema, keyword);
    if (all != NULL && !json_is_object(all))
        return schema_fail(c, QUERN_ERR_ARGUMENT, schema, "\"%s\" is no object", keyword);
    for (void *m = schema_members(all); m != NULL; m = schema_next_member(all, m)) {
        const json_t *dependent = json_object_iter_value(m);
        if (json_is_true(dependent)) continue;
        if (json_is_false(dependent))
            return schema_unsupported(c, schema, keyword, "with a property that is forbidden so");
        if (!take_dependent(c, f, json_object_iter_key(m), dependent)) return false;
    }
    return true;
}

static bool take_opposite(schema_compiler *c, flat_schemas *f, const json_t *schema)
{
    const json_t *opposite = json_object_get(schema, "not");
    if (opposite == NULL || schema_is_plain_opposite(opposite)) return true;
    return take(c, f, schema_opposites(c, opposite));
}

/* ---- flattening -------------------------------------------------------------------------------- */

static bool check_keywords(schema_compiler *c, const json_t *schema)
{
    const char *unsupported = find_keyword(schema, KEYWORD_UNSUPPORTED);
    static const char *const lists[] = {"allOf", "anyOf", "oneOf", "prefixItems", "required"};
    static const char *const objects[] = {"properties", "patternProperties"};
    if (unsupported != NULL && !schema_unsupported(c, schema, unsupported, "is not supported")) return false;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const json_t *value = json_object_get(schema, lists[i]);
        if (value == NULL || json_is_array(value) || (i == 4 && json_is_boolean(value))) continue;
        return schema_fail(c, QUERN_ERR_ARGUMENT, schema, "\"%s\" is no array", lists[i]);
    }
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
        const json_t *value = json_object_get(schema, objects[i]);
        if (value != NULL && !json_is_object(value))
            return schema_fail(c, QUERN_ERR_ARGUMENT, schema, "\"%s\" is no object", objects[i]);
    }
    return true;
}

static bool append(schema_compiler *c, flat_schemas *f, const json_t *schema, size_t begin)
{
    if (f->n == MAX_FLAT) return schema_fail(c, QUERN_ERR_LIMIT, schema, "too many schemas at one place");
    if (f->n == f->capacity) {
        const size_t capacity = f->capacity > 0 ? 2 * f->capacity : 4;
        flat_schema *items = schema_alloc(c, capacity, sizeof *items);
        if (items == NULL) return false;
        if (f->n > 0) memcpy(items, f->items, f->n * sizeof *items);
        f->items = items;
        f->capacity = capacity;
    }
    f->items[f->n++] = (flat_schema){schema, begin};
    return true;
}

/* What the schema refers to comes first: what extends another adds its properties behind the others. */
static bool flatten_parts(schema_compiler *c, flat_schemas *f, const json_t *schema)
{
    const size_t begin = f->n;
    const json_t *reference = json_object_get(schema, "$ref"), *all = json_object_get(schema, "allOf");
    if (json_is_string(reference)) {
        const json_t *target = schema_resolve(c, schema, json_string_value(reference));
        if (target == NULL || !flatten_one(c, f, target)) return false;
    } else if (reference != NULL) {
        return schema_fail(c, QUERN_ERR_ARGUMENT, schema, "\"$ref\" is no string");
    }
    for (size_t i = 0; i < json_array_size(all); i++)
        if (!flatten_one(c, f, json_array_get(all, i))) return false;
    if (schema_asserts(schema) && !append(c, f, schema, begin)) return false;
    const json_t *any = json_object_get(schema, "anyOf");
    if (any != NULL && !take(c, f, any)) return false;
    if (json_object_get(schema, "oneOf") != NULL && !take(c, f, schema_one_of(c, schema))) return false;
    if (json_object_get(schema, "if") != NULL &&
        (json_object_get(schema, "then") != NULL || json_object_get(schema, "else") != NULL) &&
        !take(c, f, conditional(c, schema)))
        return false;
    return take_dependents(c, f, schema, "dependentRequired") &&
           take_dependents(c, f, schema, "dependentSchemas") &&
           take_dependents(c, f, schema, "dependencies") && take_opposite(c, f, schema);
}

static bool flatten_one(schema_compiler *c, flat_schemas *f, const json_t *schema)
{
    if (!schema_spend(c, 150 + f->n / 4)) return false;
    if (json_is_true(schema)) return true;
    if (json_is_false(schema)) return f->is_false = true;
    if (!json_is_object(schema))
        return schema_fail(c, QUERN_ERR_ARGUMENT, schema, "a schema is an object or true or false");
    for (size_t i = 0; i < f->n_open; i++)
        if (f->open[i] == schema)
            return schema_fail(c, QUERN_ERR_ARGUMENT, schema,
                               "the schema refers to itself without anything between (\"$ref\")");
    for (size_t i = 0; i < f->n; i++)
        if (f->items[i].schema == schema) return true; /* said twice */
    if (f->n_open == MAX_OPEN)
        return schema_fail(c, QUERN_ERR_LIMIT, schema, "more than %d references within each other", MAX_OPEN);
    f->open[f->n_open++] = schema;
    const bool ok = check_keywords(c, schema) && flatten_parts(c, f, schema);
    f->n_open--;
    return ok;
}

bool schema_flatten(schema_compiler *c, flat_schemas *f, const schema_set *set, const schema_choice *choices)
{
    f->choices = choices;
    for (size_t i = 0; i < set->n; i++)
        if (!flatten_one(c, f, set->items[i])) return false;
    return c->status == QUERN_OK;
}
