/* json_schema_compile.h: what the files that compile schemas share.
 *
 * What is compiled is always a conjunction: an ordered set of schemas that must all hold. Each becomes a
 * rule, known by the addresses of its schemas, so recursion ends. To compile one it is made flat first:
 * references and allOf are followed, and of each disjunction (anyOf, oneOf, if, ...) one branch is chosen;
 * what is left is a list of schema objects whose own keywords must all hold. All choices in turn give the
 * alternatives:
 *
 *     set of schemas --flatten--> flat: list of objects --leaf--> null | number | string | array | object
 *                       |  ^
 *                       v  | each branch
 *                  a disjunction
 *
 * Where a schema must be turned into its opposite or into a disjunction, new schemas are made as JSON: the
 * rest goes the same way as those of the caller. */
#ifndef QN_GRAMMAR_JSON_SCHEMA_COMPILE_H
#define QN_GRAMMAR_JSON_SCHEMA_COMPILE_H

#include "base/hash_map.h"
#include "grammar/json_schema.h"
#include "grammar/languages.h"

enum {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_INTEGER = 4,
    TYPE_FRACTION = 8, /* numbers that are no integers */
    TYPE_NUMBER = TYPE_INTEGER | TYPE_FRACTION,
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
    TYPE_ALL = 127,
};

#define NO_MAXIMUM UINT32_MAX

typedef struct schema_set {
    const json_t **items; /* [n], different from each other */
    size_t n, capacity;
} schema_set;

typedef struct schema_rule {
    schema_set set;
    uint32_t number; /* of the expression's rule */
} schema_rule;

typedef struct schema_pattern { /* ready to be matched */
    qn_languages languages;
} schema_pattern;

typedef struct pool_block {
    struct pool_block *next;
    size_t used, n_bytes;
} pool_block;

typedef struct schema_compiler {
    qn_json_writer w;
    qn_expressions *e; /* the writer's */
    const json_t *root;
    qn_json_schema_options options;
    bool probing; /* only whether there is a text is asked: what cannot be expressed is left out */
    pool_block *pool;
    schema_rule *rules; /* those before n_compiled have their meaning */
    size_t n_rules, rule_capacity, n_compiled;
    qn_hash_map rule_numbers;
    json_t *made; /* array: the schemas that were made, owned here */
    qn_hash_map made_numbers;
    schema_pattern *patterns;
    size_t n_patterns, pattern_capacity;
    qn_hash_map pattern_numbers;
    json_t *anchors;               /* object: "#anchor" and $id to the schema; NULL: not collected yet */
    const json_t *enum_that_holds; /* while one of its values is checked */
    int holds_depth;               /* of schemas while a value is checked */
    uint64_t work;                 /* what may still be done */
    quern_status status;
    quern_error *err;
} schema_compiler;

/* One branch of a disjunction, chosen. */
typedef struct schema_choice {
    const json_t *alternatives; /* array */
    size_t index;
    const struct schema_choice *before;
} schema_choice;

typedef struct flat_schema {
    const json_t *schema;
    size_t begin; /* those from here to it came in through it: what unevaluatedProperties looks at */
} flat_schema;

enum { MAX_OPEN = 64 };

typedef struct flat_schemas {
    flat_schema *items;
    size_t n, capacity;
    const json_t *pending; /* the first disjunction without a choice: an array of schemas */
    size_t n_pending;
    const schema_choice *choices;
    const json_t *open[MAX_OPEN]; /* schemas that are being made flat, within each other */
    size_t n_open;
    bool is_false;
} flat_schemas;

/* ---- json_schema.c ---- */

/* A call of the rule for that conjunction. */
qn_expression schema_rule_of(schema_compiler *c, const schema_set *set);
qn_expression schema_nothing(schema_compiler *c); /* no text at all */
/* Whether no value can satisfy all of the set. */
bool schema_is_impossible(schema_compiler *c, const schema_set *set);

/* ---- json_schema_failure.c ---- */

/* Each returns false and keeps the first failure. `where` is the schema that it is about. */
__attribute__((format(printf, 4, 5))) bool schema_fail(schema_compiler *c, quern_status status,
                                                       const json_t *where, const char *format, ...);
bool schema_no_memory(schema_compiler *c);
/* The keyword cannot be expressed: false, but true where it may be left out. */
bool schema_unsupported(schema_compiler *c, const json_t *where, const char *keyword, const char *why);
bool schema_spend(schema_compiler *c, uint64_t work); /* false: too much has been done */
/* "#" and the JSON pointer of a schema (which may be NULL), cut to fit. */
void schema_pointer_of(const schema_compiler *c, const json_t *where, char out[200]);

/* ---- json_schema_memory.c ---- */

void *schema_alloc(schema_compiler *c, size_t count, size_t elem_bytes); /* zeroed; lives with the compiler */
bool schema_set_add(schema_compiler *c, schema_set *set, const json_t *schema);

/* Keeps a made schema: a borrowed reference, or NULL and a failure (value NULL: no memory). */
const json_t *schema_keep(schema_compiler *c, json_t *value);
/* What was made for (schema, purpose) before, or NULL; and keeping it. */
const json_t *schema_made(schema_compiler *c, const json_t *schema, char purpose);
const json_t *schema_keep_made(schema_compiler *c, const json_t *schema, char purpose, json_t *value);

void schema_release_memory(schema_compiler *c);

/* ---- json_schema_keyword.c ---- */

/* jansson's walk through the members of an object. */
void *schema_members(const json_t *object);
void *schema_next_member(const json_t *object, void *at);

/* A keyword that is a count: *value is left as it is where it is missing. */
bool schema_count(schema_compiler *c, const json_t *schema, const char *keyword, uint32_t *value);
unsigned schema_types(schema_compiler *c, const json_t *schema);
bool schema_flag(const json_t *schema, const char *keyword); /* whether it is true */

/* ---- json_schema_flatten.c ---- */
bool schema_flatten(schema_compiler *c, flat_schemas *f, const schema_set *set, const schema_choice *choices);
const json_t *schema_resolve(schema_compiler *c, const json_t *schema, const char *reference);
/* Whether the schema says something by itself that a value must hold to. */
bool schema_asserts(const json_t *schema);

/* ---- json_schema_opposite.c ---- */
/* The schemas, as an array, of which a value holds to at least one just when it does not hold to this one. */
const json_t *schema_opposites(schema_compiler *c, const json_t *schema);
/* Whether `not` of it is understood as it stands: one of enum, const, pattern, format alone. */
bool schema_is_plain_opposite(const json_t *schema);

/* ---- json_schema_one_of.c ---- */
/* Alternatives of which no two hold for one value. */
const json_t *schema_one_of(schema_compiler *c, const json_t *owner);

/* ---- json_schema_validate.c ---- */
bool schema_holds(schema_compiler *c, const json_t *schema, const json_t *value);

/* ---- json_schema_number.c ---- */
qn_expression schema_number(schema_compiler *c, const flat_schemas *f, unsigned types);
bool schema_number_holds(schema_compiler *c, const json_t *schema, const json_t *value);

/* ---- json_schema_string.c ---- */
qn_expression schema_string(schema_compiler *c, const flat_schemas *f);
bool schema_string_holds(schema_compiler *c, const json_t *schema, const json_t *value);
/* Whether the pattern (searched for, as JSON Schema wants it) is found in the text. */
bool schema_matches(schema_compiler *c, const json_t *where, const char *pattern, size_t n_pattern,
                    const char *text, size_t n_bytes);
/* Adds what the flat schemas demand of strings: care and want get the bits that they must have. */
void schema_add_string_languages(schema_compiler *c, const flat_schemas *f, qn_languages *l, uint32_t *care,
                                 uint32_t *want);
/* Adds a pattern's language. */
void schema_add_pattern(schema_compiler *c, const json_t *where, const char *pattern, size_t n_bytes,
                        bool search, qn_languages *l);
/* In a notation that is not JSON's: adds the language of what holds its quote, which none of the strings may;
 * care gets its bit. */
void schema_add_quote_language(schema_compiler *c, const json_t *where, qn_languages *l, uint32_t *care);
qn_expression schema_spell(void *user, const qn_character_range *ranges, size_t n); /* user: the compiler */

/* ---- json_schema_format.c ---- */
typedef struct schema_format {
    const char *name, *pattern; /* the whole string */
    bool is_exact;              /* all strings of the format are in the pattern */
    const char *simple;     /* a part of it, where other demands go along, or NULL: the product is smaller */
    uint32_t simple_length; /* at most, of that part; 0: no limit */
} schema_format;
const schema_format *schema_find_format(const json_t *name); /* NULL: a format that says nothing */

/* ---- json_schema_array.c, json_schema_object.c ---- */
qn_expression schema_array(schema_compiler *c, const flat_schemas *f);
qn_expression schema_object(schema_compiler *c, const flat_schemas *f);

#endif
