/* fields.c: see fields.h. */
#include "serve/fields.h"

#include "serve/limits.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- the body ----------------------------------------------------------------------------------- */

/* The library that parses has its limit of depth on the stack, and none of values: so both are counted first.
 */
static bool check_size(const char *body, size_t n_bytes, qn_problem *problem)
{
    size_t depth = 0, n_values = 1;
    bool in_string = false;
    for (size_t i = 0; i < n_bytes; i++) {
        const char c = body[i];
        if (in_string && c == '\\') i++;
        else if (c == '"') in_string = !in_string;
        else if (in_string) continue;
        else if (c == '[' || c == '{') depth++, n_values++;
        else if ((c == ']' || c == '}') && depth > 0) depth--;
        else if (c == ',') n_values++;
        if (depth > QN_JSON_DEPTH)
            return qn_problem_set(problem, QN_PROBLEM_MALFORMED, NULL, "the body is nested more than %d deep",
                                  (int)QN_JSON_DEPTH);
    }
    if (n_values <= QN_JSON_VALUES) return true;
    return qn_problem_set(problem, QN_PROBLEM_MALFORMED, NULL, "the body has %zu values, more than %d",
                          n_values, (int)QN_JSON_VALUES);
}

json_t *qn_fields_parse(const char *body, size_t n_bytes, qn_problem *problem)
{
    json_error_t where;
    if (!check_size(body, n_bytes, problem)) return NULL;
    json_t *root = json_loadb(body, n_bytes, 0, &where);
    if (root == NULL)
        qn_problem_set(problem, QN_PROBLEM_MALFORMED, NULL, "the body is no JSON: line %d, column %d: %s",
                       where.line, where.column, where.text);
    else if (!json_is_object(root))
        qn_problem_set(problem, QN_PROBLEM_MALFORMED, NULL, "the body is no JSON object");
    if (problem->kind == QN_PROBLEM_NONE) return root;
    json_decref(root);
    return NULL;
}

qn_fields qn_fields_of(const json_t *object, qn_problem *problem)
{
    return (qn_fields){.object = object, .problem = problem};
}

/* ---- a field ------------------------------------------------------------------------------------ */

bool qn_field_wrong(const qn_fields *f, qn_problem_kind kind, const char *name, const char *format, ...)
{
    char path[sizeof f->problem->field], message[sizeof f->problem->message];
    va_list arguments;
    snprintf(path, sizeof path, "%s%s", f->path, name);
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return qn_problem_set(f->problem, kind, path, "%s: %s", path, message);
}

const json_t *qn_field(const qn_fields *f, const char *name)
{
    const json_t *value = json_object_get(f->object, name);
    return json_is_null(value) ? NULL : value;
}

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a number",  [JSON_TRUE] = "a boolean",
        [JSON_FALSE] = "a boolean",    [JSON_NULL] = "null"};
    return names[json_typeof(value)];
}

static bool wrong_type(const qn_fields *f, const char *name, const json_t *value, const char *wanted)
{
    return qn_field_wrong(f, QN_PROBLEM_WRONG_TYPE, name, "%s is expected, not %s", wanted, type_name(value));
}

bool qn_field_bool(const qn_fields *f, const char *name, bool *value)
{
    const json_t *found = qn_field(f, name);
    if (found == NULL) return true;
    if (!json_is_boolean(found)) return wrong_type(f, name, found, "a boolean");
    *value = json_is_true(found);
    return true;
}

bool qn_field_integer(const qn_fields *f, const char *name, int64_t least, int64_t most, int64_t *value)
{
    const json_t *found = qn_field(f, name);
    if (found == NULL) return true;
    /* some clients write 16.0 */
    const bool is_whole = json_is_real(found) && fabs(json_real_value(found)) < 0x1p53 &&
                          json_real_value(found) == trunc(json_real_value(found));
    if (!json_is_integer(found) && !is_whole) return wrong_type(f, name, found, "an integer");
    const int64_t x = is_whole ? (int64_t)json_real_value(found) : json_integer_value(found);
    if (x < least || x > most)
        return qn_field_wrong(f, QN_PROBLEM_WRONG_VALUE, name, "%lld is not within %lld and %lld",
                              (long long)x, (long long)least, (long long)most);
    *value = x;
    return true;
}

bool qn_field_number(const qn_fields *f, const char *name, double least, double most, double *value)
{
    const json_t *found = qn_field(f, name);
    if (found == NULL) return true;
    if (!json_is_number(found)) return wrong_type(f, name, found, "a number");
    const double x = json_number_value(found);
    if (!(x >= least && x <= most))
        return qn_field_wrong(f, QN_PROBLEM_WRONG_VALUE, name, "%g is not within %g and %g", x, least, most);
    *value = x;
    return true;
}

bool qn_field_float(const qn_fields *f, const char *name, double least, double most, float *value)
{
    double x = (double)*value;
    const bool ok = qn_field_number(f, name, least, most, &x);
    *value = (float)x;
    return ok;
}

bool qn_field_text(const qn_fields *f, const char *name, const char **value)
{
    const json_t *found = qn_field(f, name);
    if (found == NULL) return true;
    if (!json_is_string(found)) return wrong_type(f, name, found, "a string");
    *value = json_string_value(found);
    return true;
}

bool qn_field_array(const qn_fields *f, const char *name, size_t most, const json_t **value)
{
    const json_t *found = qn_field(f, name);
    if (found == NULL) return true;
    if (!json_is_array(found)) return wrong_type(f, name, found, "an array");
    if (json_array_size(found) > most)
        return qn_field_wrong(f, QN_PROBLEM_WRONG_VALUE, name, "%zu items, more than %zu",
                              json_array_size(found), most);
    *value = found;
    return true;
}

bool qn_field_object(const qn_fields *f, const char *name, qn_fields *value)
{
    const json_t *found = qn_field(f, name);
    *value = qn_fields_of(NULL, f->problem);
    snprintf(value->path, sizeof value->path, "%.60s%.30s.", f->path, name);
    if (found == NULL) return true;
    if (!json_is_object(found)) return wrong_type(f, name, found, "an object");
    value->object = found;
    return true;
}

bool qn_field_item(const qn_fields *f, const char *name, const json_t *array, size_t i, qn_fields *item)
{
    const json_t *found = json_array_get(array, i);
    char at[64];
    *item = qn_fields_of(found, f->problem);
    snprintf(at, sizeof at, "%.30s[%zu]", name, i);
    snprintf(item->path, sizeof item->path, "%.40s%.50s.", f->path, at);
    return json_is_object(found) || wrong_type(f, at, found, "an object");
}
