/* json_schema_string.c: strings. One pattern or format alone is spelled as it is; several of them, or one
 * with lengths or excluded strings, become one automaton first: the product of their languages. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/utf8.h"
#include "grammar/json_schema_compile.h"
#include "grammar/product_automaton.h"
#include "grammar/regex.h"

#include <string.h>

enum {
    MAX_LENGTH = 1 << 20, /* beyond that a maximum is none */
    MAX_COUNTED = 20000,  /* where other demands go with a length */
    MAX_COMPILED_PATTERNS = 10000,
};

/* ---- patterns ---------------------------------------------------------------------------------- */

static bool fail_pattern(schema_compiler *c, const json_t *where, const quern_error *problem)
{
    if (problem->status == QUERN_ERR_NOMEM) return schema_no_memory(c);
    return schema_fail(c, problem->status, where, "%.200s", problem->message);
}

/* What the failed languages say, as the compiler's failure. */
static bool check_languages(schema_compiler *c, const json_t *where, const qn_languages *l)
{
    if (l->no_memory) return schema_no_memory(c);
    return !l->too_large || schema_fail(c, QUERN_ERR_LIMIT, where, "the patterns are too complex together");
}

void schema_add_pattern(schema_compiler *c, const json_t *where, const char *pattern, size_t n_bytes,
                        bool search, qn_languages *l)
{
    qn_expressions e = {0};
    qn_expression x;
    quern_error problem = {0};
    if (qn_regex_add(&e, pattern, n_bytes, search ? QN_REGEX_SEARCH : QN_REGEX_WHOLE, &x, &problem) !=
        QUERN_OK)
        fail_pattern(c, where, &problem);
    else qn_languages_add(l, &e, x);
    schema_spend(c, e.n_nodes + l->n_states);
    qn_expressions_deinit(&e);
    check_languages(c, where, l);
}

/* The pattern's languages, made when they are first asked for. The key stays where it is. */
static const qn_languages *find_pattern(schema_compiler *c, const json_t *where, const void *key,
                                        size_t n_key, const char *pattern, size_t n_bytes, bool search)
{
    int64_t existing;
    const uint32_t number = (uint32_t)c->n_patterns;
    if (c->status != QUERN_OK) return NULL;
    if (!qn_hash_map_add(&c->pattern_numbers, key, n_key, number, &existing))
        return schema_no_memory(c), NULL;
    if (existing != QN_HASH_NONE) return &c->patterns[existing].languages;
    if (!qn_grow(&c->patterns, &c->pattern_capacity, number + 1u, MAX_COMPILED_PATTERNS,
                 sizeof *c->patterns)) {
        if (number >= MAX_COMPILED_PATTERNS) schema_fail(c, QUERN_ERR_LIMIT, where, "too many patterns");
        else schema_no_memory(c);
        return NULL;
    }
    c->patterns[c->n_patterns++] = (schema_pattern){{0}};
    schema_add_pattern(c, where, pattern, n_bytes, search, &c->patterns[number].languages);
    return c->status == QUERN_OK ? &c->patterns[number].languages : NULL;
}

static bool belongs_to(schema_compiler *c, const json_t *where, const qn_languages *l, const char *text,
                       size_t n_bytes)
{
    uint32_t belongs = 0;
    quern_error problem = {0};
    if (l == NULL) return false;
    if (qn_languages_match(l, text, n_bytes, &c->work, &belongs, &problem) != QUERN_OK)
        return fail_pattern(c, where, &problem) && false;
    return belongs != 0;
}

bool schema_matches(schema_compiler *c, const json_t *where, const char *pattern, size_t n_pattern,
                    const char *text, size_t n_bytes)
{
    const qn_languages *l = find_pattern(c, where, pattern, n_pattern, pattern, n_pattern, true);
    return belongs_to(c, where, l, text, n_bytes);
}

/* A keyword's pattern, or NULL; a failure if it is no string. */
static const json_t *pattern_of(schema_compiler *c, const json_t *schema)
{
    const json_t *pattern = json_object_get(schema, "pattern");
    if (pattern == NULL || json_is_string(pattern)) return pattern;
    schema_fail(c, QUERN_ERR_ARGUMENT, schema, "\"pattern\" is no string");
    return NULL;
}

static size_t count_characters(const char *text, size_t n_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i++) n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

bool schema_string_holds(schema_compiler *c, const json_t *schema, const json_t *value)
{
    uint32_t min = 0, max = NO_MAXIMUM;
    const char *text = json_string_value(value);
    const size_t n_bytes = json_string_length(value), n = count_characters(text, n_bytes);
    const json_t *pattern = pattern_of(c, schema);
    const schema_format *format = schema_find_format(json_object_get(schema, "format"));
    if (!schema_count(c, schema, "minLength", &min) || !schema_count(c, schema, "maxLength", &max))
        return false;
    if (n < min || n > max) return false;
    if (pattern != NULL &&
        !schema_matches(c, schema, json_string_value(pattern), json_string_length(pattern), text, n_bytes))
        return false;
    if (format == NULL) return true;
    const qn_languages *l =
        find_pattern(c, schema, format, sizeof *format, format->pattern, strlen(format->pattern), false);
    return belongs_to(c, schema, l, text, n_bytes);
}

/* ---- several demands --------------------------------------------------------------------------- */

/* The number that the next language gets; false: there are too many. */
static bool next_language(schema_compiler *c, const json_t *where, const qn_languages *l, uint32_t *bit)
{
    *bit = 1u << (l->n_languages % QN_MAX_LANGUAGES);
    return l->n_languages < QN_MAX_LANGUAGES ||
           schema_fail(c, QUERN_ERR_LIMIT, where, "more than %d patterns for one string", QN_MAX_LANGUAGES);
}

/* pattern and format of a schema, or of what stands behind its `not`. */
static void add_texts(schema_compiler *c, const json_t *where, const json_t *schema, bool holds,
                      qn_languages *l, uint32_t *care, uint32_t *want)
{
    uint32_t bit;
    const json_t *pattern = pattern_of(c, schema);
    const schema_format *format = schema_find_format(json_object_get(schema, "format"));
    if (format != NULL && c->probing && !format->is_exact) format = NULL;
    if (pattern != NULL && next_language(c, where, l, &bit)) {
        schema_add_pattern(c, where, json_string_value(pattern), json_string_length(pattern), true, l);
        *care |= bit;
        if (holds) *want |= bit;
    }
    if (format != NULL && next_language(c, where, l, &bit)) {
        const char *part = holds && format->simple != NULL ? format->simple : format->pattern;
        schema_add_pattern(c, where, part, strlen(part), false, l);
        *care |= bit;
        if (holds) *want |= bit;
    }
}

/* The strings that plain `not`s exclude, as one language. */
static void add_excluded(schema_compiler *c, const flat_schemas *f, qn_languages *l, uint32_t *care)
{
    qn_expressions e = {0};
    const qn_expression choice = qn_expression_group(&e, QN_EXPRESSION_CHOICE);
    size_t n = 0;
    uint32_t bit;
    for (size_t i = 0; i < f->n; i++) {
        const json_t *opposite = json_object_get(f->items[i].schema, "not");
        const json_t *constant = json_object_get(opposite, "const"),
                     *list = json_object_get(opposite, "enum");
        for (size_t k = 0; k < (constant != NULL ? 1 : json_array_size(list)); k++) {
            const json_t *value = constant != NULL ? constant : json_array_get(list, k);
            if (!json_is_string(value)) continue;
            qn_expression_append(&e, choice,
                                 qn_expression_text(&e, json_string_value(value), json_string_length(value)));
            n++;
        }
    }
    if (n > 0 && next_language(c, f->items[0].schema, l, &bit)) {
        qn_languages_add(l, &e, choice);
        *care |= bit;
        check_languages(c, f->items[0].schema, l);
    }
    if (e.failed && e.no_memory) schema_no_memory(c);
    qn_expressions_deinit(&e);
}

/* The lengths that all schemas allow. */
static bool read_lengths(schema_compiler *c, const flat_schemas *f, uint32_t *min, uint32_t *max)
{
    *min = 0, *max = NO_MAXIMUM;
    for (size_t i = 0; i < f->n; i++) {
        uint32_t low = 0, high = NO_MAXIMUM;
        if (!schema_count(c, f->items[i].schema, "minLength", &low) ||
            !schema_count(c, f->items[i].schema, "maxLength", &high))
            return false;
        if (low > *min) *min = low;
        if (high < *max) *max = high;
    }
    if (*max > MAX_LENGTH) *max = NO_MAXIMUM;
    if (*min > MAX_LENGTH)
        return schema_fail(c, QUERN_ERR_LIMIT, f->items[0].schema, "a string of at least %u characters",
                           *min);
    return true;
}

static void add_lengths(schema_compiler *c, const flat_schemas *f, qn_languages *l, uint32_t *care,
                        uint32_t *want)
{
    uint32_t min, max, bit;
    qn_expressions e = {0};
    if (!read_lengths(c, f, &min, &max)) return;
    for (size_t i = 0; i < f->n; i++) { /* where part of a format stands for it, a limit of its length may */
        const schema_format *format = schema_find_format(json_object_get(f->items[i].schema, "format"));
        if (format != NULL && format->simple_length > 0 && format->simple_length < max)
            max = format->simple_length;
    }
    if (min == 0 && max == NO_MAXIMUM) return;
    if (min > MAX_COUNTED || (max > MAX_COUNTED && max != NO_MAXIMUM)) {
        schema_fail(c, QUERN_ERR_LIMIT, f->items[0].schema,
                    "a length beyond %d together with other demands on the string", MAX_COUNTED);
        return;
    }
    if (!next_language(c, f->items[0].schema, l, &bit)) return;
    const qn_expression none = qn_expression_group(&e, QN_EXPRESSION_CHOICE);
    qn_languages_add(l, &e,
                     min > max ? none : qn_expression_repeat(&e, qn_expression_any_character(&e), min, max));
    *care |= bit, *want |= bit;
    qn_expressions_deinit(&e);
    check_languages(c, f->items[0].schema, l);
}

void schema_add_string_languages(schema_compiler *c, const flat_schemas *f, qn_languages *l, uint32_t *care,
                                 uint32_t *want)
{
    for (size_t i = 0; i < f->n && c->status == QUERN_OK; i++) {
        const json_t *schema = f->items[i].schema, *opposite = json_object_get(schema, "not");
        add_texts(c, schema, schema, true, l, care, want);
        if (opposite != NULL && schema_is_plain_opposite(opposite))
            add_texts(c, schema, opposite, false, l, care, want);
    }
    if (c->status == QUERN_OK) add_excluded(c, f, l, care);
    if (c->status == QUERN_OK) add_lengths(c, f, l, care, want);
}

qn_expression schema_spell(void *user, const qn_character_range *ranges, size_t n)
{
    schema_compiler *c = user;
    return qn_json_character(&c->w, ranges, n);
}

void schema_add_quote_language(schema_compiler *c, const json_t *where, qn_languages *l, uint32_t *care)
{
    uint32_t bit;
    qn_expressions e = {0};
    const char *quote = c->w.notation.quote_text;
    if (!qn_json_is_other_notation(&c->w) || !next_language(c, where, l, &bit)) return;
    const qn_expression all = qn_expression_group(&e, QN_EXPRESSION_SEQUENCE);
    for (int i = 0; i < 3; i++)
        qn_expression_append(
            &e, all,
            i == 1 ? qn_expression_text(&e, quote, strlen(quote))
                   : qn_expression_repeat(&e, qn_expression_any_character(&e), 0, QN_ANY_NUMBER));
    qn_languages_add(l, &e, all);
    *care |= bit;
    qn_expressions_deinit(&e);
    check_languages(c, where, l);
}

/* ---- strings ----------------------------------------------------------------------------------- */

/* JSON may need no product where another notation does: so there, if something may be left out, what is too
 * complex is, and something is kept of the work that may be done. */
static quern_status build_product(schema_compiler *c, qn_product_automaton *p, const qn_languages *l,
                                  bool *left_out, quern_error *problem)
{
    const bool may_leave_out = c->options.lenient && qn_json_is_other_notation(&c->w);
    const uint64_t kept = may_leave_out ? c->work / 4 : 0;
    uint64_t work = c->work - kept;
    const quern_status s = qn_product_automaton_build(p, l, &work, problem);
    c->work = work + kept;
    *left_out = s == QUERN_ERR_LIMIT && may_leave_out;
    return *left_out ? QUERN_OK : s;
}

static qn_expression product_of(schema_compiler *c, const flat_schemas *f)
{
    quern_status s = QUERN_OK;
    qn_languages l = {0};
    qn_product_automaton p = {0};
    uint32_t care = 0, want = 0;
    quern_error problem = {0};
    qn_expression content = QN_NO_EXPRESSION;
    schema_add_string_languages(c, f, &l, &care, &want);
    bool is_free = l.n_languages == 0;
    if (c->status == QUERN_OK && !is_free) {
        schema_add_quote_language(c, f->items[0].schema, &l, &care);
        if (c->status == QUERN_OK) s = build_product(c, &p, &l, &is_free, &problem);
    }
    if (c->status == QUERN_OK && is_free) content = qn_json_shared(&c->w, QN_JSON_STRING);
    else if (c->status == QUERN_OK && s != QUERN_OK) fail_pattern(c, f->items[0].schema, &problem);
    else if (c->status == QUERN_OK)
        content =
            qn_json_quoted(&c->w, qn_product_automaton_expression(&p, care, want, c->e, schema_spell, c));
    schema_spend(c, 4 * p.n_edges);
    qn_product_automaton_deinit(&p);
    qn_languages_deinit(&l);
    return content;
}

/* The only pattern or format, if it is the only demand. */
static bool find_only_text(schema_compiler *c, const flat_schemas *f, const json_t **pattern,
                           const schema_format **format)
{
    size_t n = 0;
    *pattern = NULL, *format = NULL;
    for (size_t i = 0; i < f->n; i++) {
        const json_t *schema = f->items[i].schema, *own = pattern_of(c, schema);
        const schema_format *known = schema_find_format(json_object_get(schema, "format"));
        if (known != NULL && c->probing && !known->is_exact) known = NULL;
        if (own != NULL) *pattern = own, n++;
        if (known != NULL) *format = known, n++;
        if (schema_is_plain_opposite(json_object_get(schema, "not"))) return false;
    }
    return n == 1;
}

static qn_expression text_alone(schema_compiler *c, const flat_schemas *f, const json_t *pattern,
                                const schema_format *format)
{
    const char *text = pattern != NULL ? json_string_value(pattern) : format->pattern;
    const size_t n_bytes = pattern != NULL ? json_string_length(pattern) : strlen(text);
    const json_t *where = f->items[0].schema;
    qn_expressions e = {0};
    qn_expression x, spelled = QN_NO_EXPRESSION;
    quern_error problem = {0};
    for (size_t i = 0; i < f->n; i++)
        if (pattern != NULL && json_object_get(f->items[i].schema, "pattern") == pattern)
            where = f->items[i].schema;
    if (qn_regex_add(&e, text, n_bytes, pattern != NULL ? QN_REGEX_SEARCH : QN_REGEX_WHOLE, &x, &problem) !=
        QUERN_OK)
        fail_pattern(c, where, &problem);
    else if (qn_json_may_hold_quote(&c->w, &e)) spelled = product_of(c, f);
    else spelled = qn_json_quoted(&c->w, qn_json_spelled(&c->w, &e, x));
    schema_spend(c, 4 * e.n_nodes);
    qn_expressions_deinit(&e);
    return spelled;
}

qn_expression schema_string(schema_compiler *c, const flat_schemas *f)
{
    uint32_t min, max;
    const json_t *pattern;
    const schema_format *format;
    bool has_demands = false;
    if (!read_lengths(c, f, &min, &max)) return QN_NO_EXPRESSION;
    for (size_t i = 0; i < f->n; i++) {
        const json_t *schema = f->items[i].schema;
        has_demands |= json_object_get(schema, "pattern") != NULL;
        has_demands |= schema_find_format(json_object_get(schema, "format")) != NULL;
        has_demands |= schema_is_plain_opposite(json_object_get(schema, "not"));
    }
    if (has_demands && min == 0 && max == NO_MAXIMUM && find_only_text(c, f, &pattern, &format))
        return text_alone(c, f, pattern, format);
    if (has_demands) return product_of(c, f);
    if (min > max) return schema_nothing(c);
    if (min == 0 && max == NO_MAXIMUM) return qn_json_shared(&c->w, QN_JSON_STRING);
    return qn_json_counted_string(&c->w, min, max);
}
