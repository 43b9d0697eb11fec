/* call_arguments.c: the arguments of a call, in the syntax of the format. */
#include "chat/call_writer.h"

#include "base/alloc.h"

#include <string.h>

/* A schema's values as JSON; without a schema, any. */
static qn_expression json_value(qn_call_writer *w, const json_t *schema)
{
    qn_expression value = QN_NO_EXPRESSION;
    json_t *none = schema == NULL ? json_true() : NULL;
    if (w->status == QUERN_OK)
        qn_call_fail(
            w, qn_json_schema_add(&w->e, schema != NULL ? schema : none, &w->schema_options, &value, w->err));
    return value;
}

static const json_t *parameters_of(const json_t *function)
{
    const json_t *parameters = json_object_get(function, "parameters");
    return json_is_object(parameters) ? parameters : NULL;
}

/* Values of the schema that are objects, whatever else it allows; without a schema, any. */
static qn_expression object_value(qn_call_writer *w, const json_t *schema)
{
    json_t *object = schema != NULL ? json_copy((json_t *)(uintptr_t)schema) : json_object();
    qn_expression value = QN_NO_EXPRESSION;
    if (object == NULL || json_object_set_new(object, "type", json_string("object")) != 0 ||
        json_object_set_new(object, "nullable", json_false()) != 0)
        qn_call_fail(w, qn_fail(w->err, QUERN_ERR_NOMEM, "tools: no memory"));
    else value = json_value(w, object);
    json_decref(object);
    return value;
}

static bool is_required(const json_t *parameters, const char *name)
{
    size_t i;
    json_t *required;
    json_array_foreach(json_object_get(parameters, "required"), i,
                       required) if (json_is_string(required) &&
                                     strcmp(json_string_value(required), name) == 0) return true;
    return false;
}

/* Whether values are texts, which are written without quotes between markers. */
static bool is_plain_string(const json_t *schema)
{
    const char *type = json_string_value(json_object_get(schema, "type"));
    return type != NULL && strcmp(type, "string") == 0;
}

/* A text value and what ends it: one of the enum, or anything. */
static qn_expression text_value(qn_call_writer *w, const json_t *schema, const char *value_end)
{
    const json_t *choices = json_object_get(schema, "enum");
    if (json_array_size(choices) == 0) return qn_call_up_to(w, value_end);
    const qn_expression s = qn_call_sequence(w), choice = qn_expression_group(&w->e, QN_EXPRESSION_CHOICE);
    size_t i;
    json_t *value;
    json_array_foreach(choices, i, value) if (json_is_string(value))
        qn_call_append(w, choice, qn_call_text(w, json_string_value(value)));
    qn_call_append(w, s, choice);
    qn_call_append(w, s, qn_call_marker(w, value_end));
    return s;
}

/* parameter_begin KEY key_end VALUE value_end */
static qn_expression one_parameter(qn_call_writer *w, const char *name, const json_t *schema)
{
    const qn_output_format *f = w->p->format;
    const bool is_text = is_plain_string(schema);
    const char *key_end = is_text && f->string_key_end != NULL ? f->string_key_end : f->key_end,
               *value_end = is_text && f->string_value_end != NULL ? f->string_value_end : f->value_end;
    const qn_expression s = qn_call_sequence(w);
    qn_call_append(w, s, qn_call_marker(w, f->parameter_begin));
    qn_call_append(w, s, qn_call_text(w, name));
    qn_call_append(w, s, qn_call_marker(w, key_end));
    if (is_text) qn_call_append(w, s, text_value(w, schema, value_end));
    else {
        qn_call_append(w, s, json_value(w, schema));
        qn_call_append(w, s, qn_call_marker(w, value_end));
    }
    return s;
}

/* In the order of the schema; those that are not required may be missing. */
static qn_expression all_parameters(qn_call_writer *w, const json_t *parameters)
{
    const qn_expression s = qn_call_sequence(w);
    const char *name;
    json_t *schema;
    json_object_foreach((json_t *)(uintptr_t)json_object_get(parameters, "properties"), name, schema)
    {
        const qn_expression one = one_parameter(w, name, schema);
        qn_call_append(w, s, is_required(parameters, name) ? one : qn_call_optional(w, one));
    }
    return s;
}

/* (a=1, b="x"): a comma in front of each but the first that is there. The graph has two rows of states:
 * nothing written yet, and something. */
static qn_expression python_arguments(qn_call_writer *w, const json_t *parameters)
{
    json_t *properties = json_object_get(parameters, "properties");
    const uint32_t n = (uint32_t)json_object_size(properties);
    qn_graph_edge *edges = qn_calloc(4 * (size_t)n + 2, sizeof *edges);
    size_t n_edges = 0;
    uint32_t i = 0;
    const char *name;
    json_t *schema;
    if (edges == NULL) {
        qn_call_fail(w, qn_fail(w->err, QUERN_ERR_NOMEM, "tools: no memory"));
        return QN_NO_EXPRESSION;
    }
    /* nothing written before parameter i: state i == 0 ? 0 : 2 * i; something: 2 * i + 1 for i >= 1; end: 1
     */
#define EMPTY(k)  ((k) == 0 ? 0 : 2 * (k))
#define FILLED(k) (2 * (k) + 1)
    json_object_foreach(properties, name, schema)
    {
        for (int filled = 0; filled < (i > 0 ? 2 : 1); filled++) {
            const qn_expression s = qn_call_sequence(w);
            qn_call_append(w, s, qn_call_text(w, filled ? ", " : ""));
            qn_call_append(w, s, qn_call_text(w, name));
            qn_call_append(w, s, qn_call_text(w, "="));
            qn_call_append(w, s, json_value(w, schema));
            const uint32_t from = filled ? FILLED(i) : EMPTY(i);
            edges[n_edges++] = (qn_graph_edge){from, FILLED(i + 1), s};
            if (!is_required(parameters, name))
                edges[n_edges++] =
                    (qn_graph_edge){from, filled ? FILLED(i + 1) : EMPTY(i + 1), QN_NO_EXPRESSION};
        }
        i++;
    }
    edges[n_edges++] = (qn_graph_edge){EMPTY(n), 1, QN_NO_EXPRESSION};
    if (n > 0) edges[n_edges++] = (qn_graph_edge){FILLED(n), 1, QN_NO_EXPRESSION};
#undef EMPTY
#undef FILLED
    const qn_expression graph = qn_expression_graph(&w->e, 2 * n + 2, edges, n_edges);
    qn_free(edges);
    const qn_expression s = qn_call_sequence(w);
    qn_call_append(w, s, graph);
    qn_call_append(w, s, qn_call_text(w, ")"));
    return s;
}

qn_expression qn_call_arguments(qn_call_writer *w, const json_t *function)
{
    const qn_output_format *f = w->p->format;
    const json_t *parameters = parameters_of(function);
    const qn_expression s = qn_call_sequence(w);
    if (f->syntax == QN_CALLS_BARE_KEYS) qn_call_append(w, s, object_value(w, parameters));
    else if (f->syntax == QN_CALLS_PARAMETERS) qn_call_append(w, s, all_parameters(w, parameters));
    else if (f->syntax == QN_CALLS_PYTHON) qn_call_append(w, s, python_arguments(w, parameters));
    else qn_call_append(w, s, parameters != NULL ? json_value(w, parameters) : object_value(w, NULL));
    qn_call_append(w, s, qn_call_marker(w, f->arguments_end));
    return s;
}
