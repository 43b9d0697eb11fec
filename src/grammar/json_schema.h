/* json_schema.h: JSON Schema (draft 2020-12, and the spellings of older drafts) as the language of the JSON
 * texts that a model may write: each of them is valid. Not each valid text is among them:
 *
 * - Properties come in the order in which the schema names them; those that it does not name come last. Names
 *   that are not among the schema's own may be written twice: no network can remember them.
 * - Numbers, white space and the spelling of strings: see json_expression.h. A number with bounds or a
 * multipleOf has no exponent; its digits are bounded likewise, unless its bounds have more. Real numbers are
 * compared exactly, as decimals.
 * - minLength and the like count characters (JSON's escapes count once). A maxLength or maxItems beyond 2^20
 * is none, for no model writes that much.
 * - oneOf is anyOf where no value can belong to two of its branches. Objects that could are kept apart by the
 *   properties that they demand: those of another branch stay away. Where that does not help it is refused.
 *
 * Done: type, enum, const, properties, required, additionalProperties, patternProperties, propertyNames,
 * minProperties, maxProperties, unevaluatedProperties, items, prefixItems, additionalItems, unevaluatedItems,
 * minItems, maxItems, contains, minContains, maxContains, uniqueItems (of at most one item, or of few
 * values), minLength, maxLength, pattern, format, minimum, maximum, exclusiveMinimum, exclusiveMaximum,
 * multipleOf, allOf, anyOf, oneOf, not (of what has a simple opposite), if, then, else, dependentRequired,
 * dependentSchemas, dependencies, nullable, $ref within the document, $defs, $anchor, $id. Formats: date,
 * time, date-time, duration, email, hostname, ipv4, ipv6, uri, uri-reference, uuid, json-pointer,
 * relative-json-pointer; others say nothing, and neither does a keyword that is not of JSON Schema. */
#ifndef QN_GRAMMAR_JSON_SCHEMA_H
#define QN_GRAMMAR_JSON_SCHEMA_H

#include "grammar/json_expression.h"

typedef struct qn_json_schema_options { /* zeroed: compact, strict, by the letter of the standard */
    qn_json_whitespace whitespace;
    bool named_only; /* an object that names properties and is silent about others has no others */
    bool lenient; /* what cannot be expressed is left out, for who checks the text afterwards: more texts */
    qn_json_notation notation; /* its texts must outlive the call. Where it is not JSON's, lenient also leaves
                                * out patterns that are too complex together with what its strings lack. */
} qn_json_schema_options;

/* The language of a schema as a network of its own. options NULL: the defaults. The schema is not changed and
 * not kept.
 *
 * QUERN_ERR_ARGUMENT: no schema, a $ref that leads nowhere or only to itself, or no value is valid;
 * QUERN_ERR_UNSUPPORTED: a keyword that cannot be expressed; both with the JSON pointer of the place.
 * QUERN_ERR_LIMIT: too large; QUERN_ERR_NOMEM. */
quern_status qn_json_schema_build(qn_network *n, const json_t *schema, const qn_json_schema_options *options,
                                  quern_error *err);

/* The same from JSON text; QUERN_ERR_FORMAT with line and column if it is none. */
quern_status qn_json_schema_build_text(qn_network *n, const char *text, size_t n_bytes,
                                       const qn_json_schema_options *options, quern_error *err);

/* Adds the language of one value of the schema to a set of expressions, for a greater one around it. Rules
 * may be added to e. That no value is valid is not noticed here: then qn_network_build makes a network that
 * is_empty, or lacks the ways to this part. */
quern_status qn_json_schema_add(qn_expressions *e, const json_t *schema,
                                const qn_json_schema_options *options, qn_expression *out, quern_error *err);

#endif
