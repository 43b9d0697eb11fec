/* json_schema_opposite.c: `not`, by De Morgan: a value does not hold to a schema when it fails one of its
 * keywords, and what fails a keyword is a schema again:
 *
 *     not {"minimum": 5}                   {"type": "number", "exclusiveMaximum": 5}
 *     not {"required": ["a"]}              {"type": "object", "properties": {"a": false}}
 *     not {"properties": {"a": S}}         {"type": "object", "required": ["a"], "properties": {"a": {"not":
 * S}}}
 *
 * Keywords whose failing cannot be said so make the whole of it unsupported. */
#include "grammar/json_schema_compile.h"

#include <string.h>

/* Adds schemas to out for what fails the keyword. False: a failure, or it cannot be said. */
typedef bool add_failing(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out);

static json_t *borrowed(const json_t *value)
{
    return (json_t *)(uintptr_t)value; /* counted, not changed */
}

static bool add(schema_compiler *c, json_t *out, json_t *made)
{
    return (made != NULL && json_array_append_new(out, made) == 0) || schema_no_memory(c);
}

static bool add_failing_type(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out)
{
    static const struct {
        const char *name;
        unsigned type;
    } names[] = {{"null", TYPE_NULL},           {"boolean", TYPE_BOOLEAN}, {"integer", TYPE_INTEGER},
                 {"(fraction)", TYPE_FRACTION}, {"string", TYPE_STRING},   {"array", TYPE_ARRAY},
                 {"object", TYPE_OBJECT}};
    (void)keyword;
    const unsigned types = schema_types(c, schema);
    json_t *others = json_array();
    for (size_t i = 0; others != NULL && i < sizeof names / sizeof names[0]; i++)
        if ((types & names[i].type) == 0) json_array_append_new(others, json_string(names[i].name));
    return add(c, out, json_pack("{s:o}", "type", others));
}

/* What stays a plain `not`: see schema_is_plain_opposite. */
static bool add_failing_value(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out)
{
    return add(c, out, json_pack("{s:{s:O}}", "not", keyword, borrowed(json_object_get(schema, keyword))));
}

static bool add_failing_text(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out)
{
    const json_t *value = json_object_get(schema, keyword);
    const schema_format *format = strcmp(keyword, "format") == 0 ? schema_find_format(value) : NULL;
    if (strcmp(keyword, "format") == 0 && format == NULL) return true; /* nothing fails it */
    if (format != NULL && !format->is_exact) return false; /* it has more strings than its pattern */
    return add(c, out, json_pack("{s:s,s:{s:O}}", "type", "string", "not", keyword, borrowed(value)));
}

/* minimum and its like: the opposite has the same number under another keyword. */
static bool add_failing_bound(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out)
{
    static const char *const opposites[][2] = {{"minimum", "exclusiveMaximum"},
                                               {"maximum", "exclusiveMinimum"},
                                               {"exclusiveMinimum", "maximum"},
                                               {"exclusiveMaximum", "minimum"}};
    const json_t *bound = json_object_get(schema, keyword);
    const char *other = NULL;
    if (json_is_boolean(bound) || json_is_boolean(json_object_get(schema, "exclusiveMinimum")) ||
        json_is_boolean(json_object_get(schema, "exclusiveMaximum")))
        return false;
    for (size_t i = 0; i < sizeof opposites / sizeof opposites[0]; i++)
        if (strcmp(opposites[i][0], keyword) == 0) other = opposites[i][1];
    return add(c, out, json_pack("{s:s,s:O}", "type", "number", other, borrowed(bound)));
}

/* minLength and its like. */
static bool add_failing_count(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out)
{
    static const struct {
        const char *keyword, *opposite, *type;
        int step;
    } counts[] = {{"minLength", "maxLength", "string", -1},
                  {"maxLength", "minLength", "string", 1},
                  {"minItems", "maxItems", "array", -1},
                  {"maxItems", "minItems", "array", 1},
                  {"minProperties", "maxProperties", "object", -1},
                  {"maxProperties", "minProperties", "object", 1}};
    uint32_t count = 0;
    if (!schema_count(c, schema, keyword, &count)) return false;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (strcmp(counts[i].keyword, keyword) != 0) continue;
        if (count == 0 && counts[i].step < 0) return true; /* nothing fails it */
        const json_int_t other = (json_int_t)count + counts[i].step;
        return add(c, out, json_pack("{s:s,s:I}", "type", counts[i].type, counts[i].opposite, other));
    }
    return false;
}

static bool add_failing_required(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out)
{
    const json_t *required = json_object_get(schema, keyword);
    bool ok = json_is_array(required);
    for (size_t i = 0; ok && i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        ok = name != NULL && add(c, out, json_pack("{s:s,s:{s:b}}", "type", "object", "properties", name, 0));
    }
    return ok;
}

static bool add_failing_properties(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out)
{
    const json_t *properties = json_object_get(schema, keyword);
    bool ok = true;
    for (void *m = schema_members(properties); ok && m != NULL; m = schema_next_member(properties, m)) {
        const char *name = json_object_iter_key(m);
        ok = add(c, out,
                 json_pack("{s:s,s:[s],s:{s:{s:O}}}", "type", "object", "required", name, "properties", name,
                           "not", json_object_iter_value(m)));
    }
    return ok;
}

static bool add_failing_contains(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out)
{
    const json_t *contained = json_object_get(schema, keyword);
    if (json_object_get(schema, "minContains") != NULL || json_object_get(schema, "maxContains") != NULL)
        return false;
    return add(c, out, json_pack("{s:s,s:{s:O}}", "type", "array", "items", "not", borrowed(contained)));
}

static bool add_failing_items(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out)
{
    const json_t *items = json_object_get(schema, keyword);
    if (!json_is_object(items) || json_object_get(schema, "prefixItems") != NULL) return false;
    return add(c, out, json_pack("{s:s,s:{s:O}}", "type", "array", "contains", "not", borrowed(items)));
}

/* not anyOf: each branch fails. */
static bool add_failing_any(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out)
{
    const json_t *branches = json_object_get(schema, keyword);
    json_t *all = json_array();
    for (size_t i = 0; all != NULL && i < json_array_size(branches); i++)
        json_array_append_new(all, json_pack("{s:O}", "not", json_array_get(branches, i)));
    return add(c, out, json_pack("{s:o}", "allOf", all));
}

/* not allOf: some branch fails. */
static bool add_failing_all(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out)
{
    const json_t *branches = json_object_get(schema, keyword);
    bool ok = true;
    for (size_t i = 0; ok && i < json_array_size(branches); i++)
        ok = add(c, out, json_pack("{s:O}", "not", json_array_get(branches, i)));
    return ok;
}

static bool add_failing_not(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out)
{
    return add(c, out, json_incref(borrowed(json_object_get(schema, keyword))));
}

static bool add_failing_reference(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out)
{
    const char *reference = json_string_value(json_object_get(schema, keyword));
    const json_t *target = reference != NULL ? schema_resolve(c, schema, reference) : NULL;
    return target != NULL && add(c, out, json_pack("{s:O}", "not", borrowed(target)));
}

static bool cannot_say(schema_compiler *c, const json_t *schema, const char *keyword, json_t *out)
{
    (void)c, (void)schema, (void)keyword, (void)out;
    return false;
}

static const struct {
    const char *name;
    add_failing *add;
} failing[] = {
    {"$ref", add_failing_reference},
    {"allOf", add_failing_all},
    {"anyOf", add_failing_any},
    {"not", add_failing_not},
    {"type", add_failing_type},
    {"enum", add_failing_value},
    {"const", add_failing_value},
    {"pattern", add_failing_text},
    {"format", add_failing_text},
    {"minimum", add_failing_bound},
    {"maximum", add_failing_bound},
    {"exclusiveMinimum", add_failing_bound},
    {"exclusiveMaximum", add_failing_bound},
    {"minLength", add_failing_count},
    {"maxLength", add_failing_count},
    {"minItems", add_failing_count},
    {"maxItems", add_failing_count},
    {"minProperties", add_failing_count},
    {"maxProperties", add_failing_count},
    {"required", add_failing_required},
    {"properties", add_failing_properties},
    {"contains", add_failing_contains},
    {"items", add_failing_items},
    {"oneOf", cannot_say},
    {"if", cannot_say},
    {"dependentRequired", cannot_say},
    {"dependentSchemas", cannot_say},
    {"dependencies", cannot_say},
    {"additionalProperties", cannot_say},
    {"patternProperties", cannot_say},
    {"propertyNames", cannot_say},
    {"unevaluatedProperties", cannot_say},
    {"prefixItems", cannot_say},
    {"additionalItems", cannot_say},
    {"unevaluatedItems", cannot_say},
    {"uniqueItems", cannot_say},
    {"multipleOf", cannot_say},
};

static add_failing *find_failing(const char *keyword)
{
    for (size_t i = 0; i < sizeof failing / sizeof failing[0]; i++)
        if (strcmp(failing[i].name, keyword) == 0) return failing[i].add;
    return NULL;
}

bool schema_is_plain_opposite(const json_t *schema)
{
    static const char *const plain[] = {"enum", "const", "pattern", "format"};
    size_t n_keywords = 0, n_plain = 0;
    for (void *m = schema_members(schema); m != NULL; m = schema_next_member(schema, m)) {
        n_keywords += find_failing(json_object_iter_key(m)) != NULL;
        for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
            n_plain += strcmp(plain[i], json_object_iter_key(m)) == 0;
    }
    const json_t *format = json_object_get(schema, "format");
    const schema_format *known = schema_find_format(format);
    return n_keywords == 1 && n_plain == 1 && (format == NULL || (known != NULL && known->is_exact));
}

const json_t *schema_opposites(schema_compiler *c, const json_t *schema)
{
    const char purpose = c->probing ? 'N' : 'n'; /* more is left out while probing */
    const json_t *known = schema_made(c, schema, purpose);
    if (known != NULL) return known;
    if (json_is_boolean(schema)) return schema_keep(c, json_pack(json_is_true(schema) ? "[]" : "[b]", 1));
    json_t *out = json_array();
    if (out == NULL) return schema_no_memory(c), NULL;
    for (void *m = schema_members(schema); m != NULL && c->status == QUERN_OK;
         m = schema_next_member(schema, m)) {
        add_failing *add_it = find_failing(json_object_iter_key(m));
        if (add_it == NULL || add_it(c, schema, json_object_iter_key(m), out)) continue;
        if (schema_unsupported(c, schema, json_object_iter_key(m), "within \"not\" cannot be expressed"))
            add(c, out, json_true());
    }
    if (c->status != QUERN_OK) return json_decref(out), NULL;
    return schema_keep_made(c, schema, purpose, out);
}
