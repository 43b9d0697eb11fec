/* json_schema_keyword.c: reading the members of a schema: counts, flags, types. */
#include "grammar/json_schema_compile.h"

#include <string.h>

void *schema_members(const json_t *object)
{
    return json_object_iter((json_t *)(uintptr_t)object); /* jansson wants it so; nothing is changed */
}

void *schema_next_member(const json_t *object, void *at)
{
    return json_object_iter_next((json_t *)(uintptr_t)object, at);
}

bool schema_count(schema_compiler *c, const json_t *schema, const char *keyword, uint32_t *value)
{
    const json_t *count = json_object_get(schema, keyword);
    if (count == NULL) return true;
    const double real = json_number_value(count);
    const bool is_integer =
        json_is_integer(count) || (json_is_real(count) && real < 1e15 && real == (double)(int64_t)real);
    if (!is_integer || real < 0)
        return schema_fail(c, QUERN_ERR_ARGUMENT, schema, "\"%s\" is no count", keyword);
    *value = real < (double)NO_MAXIMUM ? (uint32_t)real : NO_MAXIMUM - 1;
    return true;
}

bool schema_flag(const json_t *schema, const char *keyword)
{
    return json_is_true(json_object_get(schema, keyword));
}

static unsigned type_named(schema_compiler *c, const json_t *schema, const json_t *name)
{
    static const struct {
        const char *name;
        unsigned type;
    } types[] = {{"null", TYPE_NULL},       {"boolean", TYPE_BOOLEAN},
                 {"integer", TYPE_INTEGER}, {"number", TYPE_NUMBER},
                 {"string", TYPE_STRING},   {"array", TYPE_ARRAY},
                 {"object", TYPE_OBJECT},   {"(fraction)", TYPE_FRACTION /* only in what was made */}};
    const char *text = json_is_string(name) ? json_string_value(name) : "";
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, text) == 0) return types[i].type;
    schema_fail(c, QUERN_ERR_ARGUMENT, schema,
                "\"type\" is not one of null, boolean, integer, number, string, "
                "array, object");
    return 0;
}

unsigned schema_types(schema_compiler *c, const json_t *schema)
{
    const json_t *type = json_object_get(schema, "type");
    unsigned types = 0;
    if (type == NULL) return TYPE_ALL;
    if (!json_is_array(type)) types = type_named(c, schema, type);
    for (size_t i = 0; i < json_array_size(type); i++)
        types |= type_named(c, schema, json_array_get(type, i));
    return schema_flag(schema, "nullable") ? types | TYPE_NULL : types;
}
