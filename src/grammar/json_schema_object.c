/* json_schema_object.c: objects. The named properties come in their order, then those without a name in the
 * schema. The graph has two states for each property i and each number k of properties before it, as far as
 * that number matters (mostly: whether there is one, for the comma):
 *
 *     before(i, k) --(comma if k > 0)--> at(i, k + 1) --"name": value--> before(i + 1, k + 1)
 *          |
 *          `--(if it may be missing)--> before(i + 1, k)
 */
#include "base/alloc.h"
#include "base/checked.h"
#include "grammar/json_schema_compile.h"
#include "grammar/product_automaton.h"

#include <string.h>

enum {
    MAX_MEMBERS = 20000,
    MAX_STATES = 200000,
    MAX_COUNT = 1 << 16, /* beyond that a maximum is none */
    MAX_KINDS = 64,      /* of properties without a name, told apart by the patterns that their names match */
    MAX_PATTERNS = 16,
};

typedef struct member {
    const char *name;
    bool required, forbidden;
    schema_set set;
} member;

typedef struct pattern_part { /* of a patternProperties */
    const char *pattern;
    const json_t *schema;
    size_t owner; /* index of the flat schema */
    uint32_t bit; /* of its language */
} pattern_part;

typedef struct object_demands {
    schema_compiler *c;
    const flat_schemas *f;
    member *members;
    size_t n_members, capacity;
    qn_hash_map by_name;
    pattern_part patterns[MAX_PATTERNS];
    size_t n_patterns;
    uint32_t min, max;
    bool closed;       /* nothing is said of others, and that means no */
    uint32_t word_bit; /* of the language of the names that are written bare; 0: there are none */
} object_demands;

/* ---- members ----------------------------------------------------------------------------------- */

static member *find_member(object_demands *o, const char *name)
{
    int64_t existing;
    const uint32_t index = (uint32_t)o->n_members;
    if (!qn_hash_map_add(&o->by_name, name, strlen(name), index, &existing))
        return schema_no_memory(o->c), NULL;
    if (existing != QN_HASH_NONE) return &o->members[existing];
    if (!qn_grow(&o->members, &o->capacity, index + 1u, MAX_MEMBERS, sizeof *o->members)) {
        if (index >= MAX_MEMBERS)
            schema_fail(o->c, QUERN_ERR_LIMIT, NULL, "an object with too many properties");
        else schema_no_memory(o->c);
        return NULL;
    }
    o->members[o->n_members++] = (member){.name = name};
    return &o->members[index];
}

static bool find_members(object_demands *o)
{
    for (size_t i = 0; i < o->f->n; i++) {
        const json_t *properties = json_object_get(o->f->items[i].schema, "properties");
        for (void *m = schema_members(properties); m != NULL; m = schema_next_member(properties, m))
            if (find_member(o, json_object_iter_key(m)) == NULL) return false;
    }
    for (size_t i = 0; i < o->f->n; i++) {
        const json_t *schema = o->f->items[i].schema, *required = json_object_get(schema, "required");
        for (size_t k = 0; k < json_array_size(required); k++) {
            const char *name = json_string_value(json_array_get(required, k));
            if (name == NULL)
                return schema_fail(o->c, QUERN_ERR_ARGUMENT, schema, "\"required\" holds what is no string");
            member *known = find_member(o, name);
            if (known == NULL) return false;
            known->required = true;
        }
    }
    return true;
}

/* propertyNames with a list of names: they are members, and there are no others. */
static bool add_listed_names(object_demands *o)
{
    for (size_t i = 0; i < o->f->n; i++) {
        const json_t *names =
            json_object_get(json_object_get(o->f->items[i].schema, "propertyNames"), "enum");
        for (size_t k = 0; k < json_array_size(names); k++) {
            const json_t *name = json_array_get(names, k);
            if (json_is_string(name) && strlen(json_string_value(name)) == json_string_length(name) &&
                find_member(o, json_string_value(name)) == NULL)
                return false;
        }
        o->closed |= names != NULL;
    }
    return true;
}

static bool find_patterns(object_demands *o)
{
    for (size_t i = 0; i < o->f->n; i++) {
        const json_t *schema = o->f->items[i].schema, *all = json_object_get(schema, "patternProperties");
        for (void *m = schema_members(all); m != NULL; m = schema_next_member(all, m)) {
            if (o->n_patterns == MAX_PATTERNS)
                return schema_fail(o->c, QUERN_ERR_LIMIT, schema, "more than %d patterns of names",
                                   MAX_PATTERNS);
            o->patterns[o->n_patterns++] =
                (pattern_part){json_object_iter_key(m), json_object_iter_value(m), i, 0};
        }
    }
    return true;
}

/* Whether flat schema i says something of a property that has (or lacks) that name and matches those
 * patterns: by properties or patternProperties. NULL name: one without a name in the schema. */
static bool names_it(const object_demands *o, size_t i, const char *name, const bool *matches)
{
    if (name != NULL && json_object_get(json_object_get(o->f->items[i].schema, "properties"), name) != NULL)
        return true;
    for (size_t k = 0; k < o->n_patterns; k++)
        if (o->patterns[k].owner == i && matches[k]) return true;
    return false;
}

/* Whether unevaluatedProperties of flat schema i looks at the property: nothing that came in through it has.
 */
static bool is_unevaluated(const object_demands *o, size_t i, const char *name, const bool *matches)
{
    for (size_t k = o->f->items[i].begin; k <= i; k++)
        if (names_it(o, k, name, matches) ||
            json_object_get(o->f->items[k].schema, "additionalProperties") != NULL)
            return false;
    return true;
}

/* All that the value of a property must hold to. */
static bool value_set(object_demands *o, const char *name, const bool *matches, schema_set *set)
{
    bool ok = true;
    for (size_t i = 0; ok && i < o->f->n; i++) {
        const json_t *schema = o->f->items[i].schema;
        const json_t *own =
            name != NULL ? json_object_get(json_object_get(schema, "properties"), name) : NULL;
        const json_t *additional = json_object_get(schema, "additionalProperties");
        const json_t *unevaluated = json_object_get(schema, "unevaluatedProperties");
        if (own != NULL) ok = schema_set_add(o->c, set, own);
        for (size_t k = 0; ok && k < o->n_patterns; k++)
            if (o->patterns[k].owner == i && matches[k])
                ok = schema_set_add(o->c, set, o->patterns[k].schema);
        if (ok && additional != NULL && !names_it(o, i, name, matches))
            ok = schema_set_add(o->c, set, additional);
        if (ok && unevaluated != NULL && is_unevaluated(o, i, name, matches))
            ok = schema_set_add(o->c, set, unevaluated);
    }
    return ok;
}

/* Whether all propertyNames hold for a name. */
static bool name_holds(object_demands *o, const char *name)
{
    bool holds = true;
    for (size_t i = 0; holds && i < o->f->n; i++) {
        const json_t *names = json_object_get(o->f->items[i].schema, "propertyNames");
        if (names == NULL) continue;
        json_t *text = json_string(name);
        if (text == NULL) return schema_no_memory(o->c);
        holds = schema_holds(o->c, names, text);
        json_decref(text);
    }
    return holds;
}

static bool complete_members(object_demands *o)
{
    bool matches[MAX_PATTERNS];
    for (size_t i = 0; i < o->n_members && o->c->status == QUERN_OK; i++) {
        member *m = &o->members[i];
        for (size_t k = 0; k < o->n_patterns; k++) {
            const pattern_part *p = &o->patterns[k];
            matches[k] = schema_matches(o->c, o->f->items[p->owner].schema, p->pattern, strlen(p->pattern),
                                        m->name, strlen(m->name));
        }
        if (!value_set(o, m->name, matches, &m->set)) return false;
        m->forbidden = !name_holds(o, m->name);
        for (size_t k = 0; k < m->set.n; k++) m->forbidden |= json_is_false(m->set.items[k]);
    }
    return o->c->status == QUERN_OK;
}

static bool read_demands(object_demands *o)
{
    bool any_named = false, others_known = false;
    for (size_t i = 0; i < o->f->n; i++) {
        const json_t *schema = o->f->items[i].schema;
        uint32_t min = 0, max = NO_MAXIMUM;
        if (!schema_count(o->c, schema, "minProperties", &min) ||
            !schema_count(o->c, schema, "maxProperties", &max))
            return false;
        if (min > o->min) o->min = min;
        if (max < o->max) o->max = max;
        any_named |= json_object_get(schema, "properties") != NULL;
        others_known |= json_object_get(schema, "additionalProperties") != NULL ||
                        json_object_get(schema, "patternProperties") != NULL ||
                        json_object_get(schema, "unevaluatedProperties") != NULL;
    }
    if (o->max > MAX_COUNT) o->max = NO_MAXIMUM;
    o->closed = o->c->options.named_only && any_named && !others_known && !o->c->probing;
    return find_members(o) && add_listed_names(o) && find_patterns(o) && complete_members(o);
}

/* ---- properties without a name in the schema ---------------------------------------------------- */

/* The members' names as one language. */
static void add_names(object_demands *o, qn_languages *l)
{
    qn_expressions e = {0};
    const qn_expression choice = qn_expression_group(&e, QN_EXPRESSION_CHOICE);
    for (size_t i = 0; i < o->n_members; i++)
        qn_expression_append(&e, choice,
                             qn_expression_text(&e, o->members[i].name, strlen(o->members[i].name)));
    qn_languages_add(l, &e, choice);
    qn_expressions_deinit(&e);
}

/* What propertyNames demands of names. */
static void add_name_demands(object_demands *o, qn_languages *l, uint32_t *care, uint32_t *want)
{
    for (size_t i = 0; i < o->f->n && o->c->status == QUERN_OK; i++) {
        const json_t *schema = o->f->items[i].schema, *names = json_object_get(schema, "propertyNames");
        schema_set set = {0};
        flat_schemas f = {0};
        unsigned types = TYPE_ALL;
        if (names == NULL || !schema_set_add(o->c, &set, names) || !schema_flatten(o->c, &f, &set, NULL))
            continue;
        for (size_t k = 0; k < f.n; k++) {
            types &= schema_types(o->c, f.items[k].schema);
            if (json_object_get(f.items[k].schema, "enum") != NULL ||
                json_object_get(f.items[k].schema, "const") != NULL)
                types = 0; /* those names are members */
        }
        if (f.pending != NULL)
            schema_unsupported(o->c, schema, "propertyNames", "with alternatives is not supported");
        if (f.is_false || (types & TYPE_STRING) == 0) o->closed = true;
        else schema_add_string_languages(o->c, &f, l, care, want);
    }
}

/* The names of one kind as keys: bare words apart from what stands within quotes. */
static qn_expression keys_of_kind(object_demands *o, const qn_product_automaton *p, uint32_t care,
                                  uint32_t want)
{
    schema_compiler *c = o->c;
    const qn_expression quoted = qn_json_quoted(
        &c->w, qn_product_automaton_expression(p, care | o->word_bit, want, c->e, schema_spell, c));
    if (o->word_bit == 0) return quoted;
    const qn_expression both = qn_expression_group(c->e, QN_EXPRESSION_CHOICE);
    qn_expression_append(
        c->e, both,
        qn_product_automaton_expression(p, care | o->word_bit, want | o->word_bit, c->e, schema_spell, c));
    qn_expression_append(c->e, both, quoted);
    return both;
}

/* "name": value for the names of one kind: those that match just these patterns. */
static qn_expression kind_of_member(object_demands *o, const qn_product_automaton *p, uint32_t care,
                                    uint32_t want, const bool *matches)
{
    schema_compiler *c = o->c;
    schema_set set = {0};
    if (!value_set(o, NULL, matches, &set)) return QN_NO_EXPRESSION;
    for (size_t i = 0; i < set.n; i++)
        if (json_is_false(set.items[i])) return schema_nothing(c);
    const qn_expression all = qn_expression_group(c->e, QN_EXPRESSION_SEQUENCE);
    const qn_expression key = p == NULL ? qn_json_shared(&c->w, QN_JSON_KEY) : keys_of_kind(o, p, care, want);
    qn_expression_append(c->e, all, key);
    qn_expression_append(c->e, all, qn_json_punctuation(&c->w, ':'));
    qn_expression_append(c->e, all, schema_rule_of(c, &set));
    if (p != NULL) schema_spend(c, 4 * p->n_edges);
    return all;
}

/* All kinds of names that the product's states tell apart. */
static qn_expression all_kinds(object_demands *o, const qn_product_automaton *p, uint32_t care, uint32_t want)
{
    uint32_t kinds[MAX_KINDS], of_patterns = 0;
    size_t n_kinds = 0;
    const qn_expression choice = schema_nothing(o->c);
    for (size_t k = 0; k < o->n_patterns; k++) of_patterns |= o->patterns[k].bit;
    for (size_t i = 0; i < p->n_states && o->c->status == QUERN_OK; i++) {
        const uint32_t kind = p->belongs[i] & of_patterns;
        bool known = (p->belongs[i] & care) != want, matches[MAX_PATTERNS];
        for (size_t k = 0; k < n_kinds; k++) known |= kinds[k] == kind;
        if (known) continue;
        if (n_kinds == MAX_KINDS) {
            schema_fail(o->c, QUERN_ERR_LIMIT, o->f->items[0].schema,
                        "patterns that make too many kinds of names");
            break;
        }
        kinds[n_kinds++] = kind;
        for (size_t k = 0; k < o->n_patterns; k++) matches[k] = (kind & o->patterns[k].bit) != 0;
        qn_expression_append(o->c->e, choice, kind_of_member(o, p, care | of_patterns, want | kind, matches));
    }
    return choice;
}

static bool has_demands_on_names(const object_demands *o)
{
    for (size_t i = 0; i < o->f->n; i++)
        if (json_object_get(o->f->items[i].schema, "propertyNames") != NULL) return true;
    return o->n_patterns > 0 || o->n_members > 0;
}

/* Whether additionalProperties and the like forbid all that has no name, so that names need no looking at. */
static bool forbids_others(object_demands *o)
{
    schema_set set = {0};
    if (o->n_patterns > 0 || !value_set(o, NULL, NULL, &set)) return false;
    for (size_t i = 0; i < set.n; i++)
        if (json_is_false(set.items[i])) return true;
    return false;
}

/* While probing names need not be told apart: more is allowed then. */
static qn_expression any_member(schema_compiler *c)
{
    const qn_expression all = qn_expression_group(c->e, QN_EXPRESSION_SEQUENCE);
    qn_expression_append(c->e, all, qn_json_shared(&c->w, QN_JSON_KEY));
    qn_expression_append(c->e, all, qn_json_punctuation(&c->w, ':'));
    qn_expression_append(c->e, all, qn_json_shared(&c->w, QN_JSON_VALUE));
    return all;
}

/* Where keys may be bare: the languages of those that are, and of those that cannot be written. */
static void add_spellings(object_demands *o, qn_languages *l, uint32_t *care)
{
    qn_expressions e = {0};
    const json_t *where = o->f->items[0].schema;
    if (!qn_json_is_other_notation(&o->c->w)) return;
    schema_add_quote_language(o->c, where, l, care);
    if (o->c->status != QUERN_OK) return;
    if (l->n_languages == QN_MAX_LANGUAGES) {
        schema_fail(o->c, QUERN_ERR_LIMIT, where, "too many patterns of names");
        return;
    }
    o->word_bit = 1u << l->n_languages;
    qn_languages_add(l, &e, qn_json_words(&e));
    qn_expressions_deinit(&e);
}

/* Any of the properties without a name in the schema. */
static qn_expression other_member(object_demands *o)
{
    qn_languages l = {0};
    qn_product_automaton p = {0};
    uint32_t care = 0, want = 0;
    quern_error problem = {0};
    qn_expression any = schema_nothing(o->c);
    if (o->closed || forbids_others(o)) return any;
    if (o->c->probing) return any_member(o->c);
    if (!has_demands_on_names(o)) return kind_of_member(o, NULL, 0, 0, NULL);
    if (o->n_members > 0) {
        care |= 1u << l.n_languages;
        add_names(o, &l);
    }
    add_name_demands(o, &l, &care, &want);
    for (size_t k = 0; k < o->n_patterns && o->c->status == QUERN_OK; k++) {
        pattern_part *part = &o->patterns[k];
        if (l.n_languages == QN_MAX_LANGUAGES) {
            schema_fail(o->c, QUERN_ERR_LIMIT, o->f->items[0].schema, "too many patterns of names");
            break;
        }
        part->bit = 1u << l.n_languages;
        schema_add_pattern(o->c, o->f->items[part->owner].schema, part->pattern, strlen(part->pattern), true,
                           &l);
    }
    if (o->c->status == QUERN_OK) add_spellings(o, &l, &care);
    if (o->c->status == QUERN_OK && !o->closed) {
        const quern_status s = qn_product_automaton_build(&p, &l, &o->c->work, &problem);
        if (s == QUERN_ERR_NOMEM) schema_no_memory(o->c);
        else if (s != QUERN_OK)
            schema_fail(o->c, s, o->f->items[0].schema,
                        "names of other properties: %.100s (\"additionalProperties\": false needs none)",
                        problem.message);
        else any = all_kinds(o, &p, care, want);
    }
    qn_product_automaton_deinit(&p);
    qn_languages_deinit(&l);
    return any;
}

/* ---- the graph --------------------------------------------------------------------------------- */

typedef struct object_graph {
    object_demands *o;
    uint32_t n_counts; /* 0 to n_counts - 1 properties before: the last may stand for more */
    bool counts_all;   /* the last does not: more are too many */
    qn_graph_edge *edges;
    size_t n_edges, capacity;
} object_graph;

static void add_edge(object_graph *g, uint32_t from, uint32_t to, qn_expression part)
{
    if (!qn_grow(&g->edges, &g->capacity, g->n_edges + 1, 1 << 20, sizeof *g->edges)) {
        if (g->n_edges >= 1 << 20) schema_fail(g->o->c, QUERN_ERR_LIMIT, NULL, "an object that is too large");
        else schema_no_memory(g->o->c);
        return;
    }
    g->edges[g->n_edges++] = (qn_graph_edge){from, to, part};
}

static uint32_t before_state(const object_graph *g, size_t i, uint32_t count)
{
    return 2 + (uint32_t)i * 2 * g->n_counts + count;
}

static uint32_t at_state(const object_graph *g, size_t i, uint32_t count)
{
    return before_state(g, i, count) + g->n_counts;
}

/* The ways from before property i to before the next, through its text. */
static void add_member(object_graph *g, size_t i, size_t then, qn_expression text)
{
    qn_json_writer *w = &g->o->c->w;
    for (uint32_t count = 0; count < g->n_counts && g->o->c->status == QUERN_OK; count++) {
        const bool is_last = count + 1 == g->n_counts;
        if (is_last && g->counts_all) break;
        const uint32_t next = is_last ? count : count + 1;
        add_edge(g, before_state(g, i, count), at_state(g, i, next),
                 count > 0 ? qn_json_punctuation(w, ',') : QN_NO_EXPRESSION);
        if (count == 0 || next != count) add_edge(g, at_state(g, i, next), before_state(g, then, next), text);
    }
}

/* "name": value; a rule where it stands many times. */
static qn_expression member_text(object_demands *o, const member *m, bool is_shared)
{
    qn_expressions *e = o->c->e;
    const qn_expression all = qn_expression_group(e, QN_EXPRESSION_SEQUENCE);
    qn_expression_append(e, all, qn_json_constant_key(&o->c->w, m->name, strlen(m->name)));
    qn_expression_append(e, all, qn_json_punctuation(&o->c->w, ':'));
    qn_expression_append(e, all, schema_rule_of(o->c, &m->set));
    if (!is_shared) return all;
    const uint32_t rule = qn_expression_new_rule(e);
    qn_expression_define(e, rule, all);
    return qn_expression_rule(e, rule);
}

static void add_members(object_graph *g)
{
    object_demands *o = g->o;
    const bool is_shared = g->n_counts > 2;
    for (size_t i = 0; i < o->n_members && o->c->status == QUERN_OK && !o->c->e->failed; i++) {
        const member *m = &o->members[i];
        for (uint32_t count = 0; !m->required && count < g->n_counts; count++)
            add_edge(g, before_state(g, i, count), before_state(g, i + 1, count), QN_NO_EXPRESSION);
        if (!m->forbidden) add_member(g, i, i + 1, member_text(o, m, is_shared));
    }
    qn_expression other = other_member(o);
    if (is_shared) {
        const uint32_t rule = qn_expression_new_rule(o->c->e);
        qn_expression_define(o->c->e, rule, other);
        other = qn_expression_rule(o->c->e, rule);
    }
    add_member(g, o->n_members, o->n_members, other);
    for (uint32_t count = o->min; count < g->n_counts; count++)
        add_edge(g, before_state(g, o->n_members, count), 1,
                 count > 0 ? qn_json_punctuation(&o->c->w, '}') : qn_expression_text(o->c->e, "}", 1));
}

static qn_expression make_graph(object_demands *o)
{
    object_graph g = {.o = o, .n_counts = 2};
    uint32_t n_required = 0;
    for (size_t i = 0; i < o->n_members; i++) n_required += o->members[i].required;
    if (o->min <= n_required) o->min = 0; /* the others see to it */
    if (o->min > 1) g.n_counts = o->min < NO_MAXIMUM - 1 ? o->min + 1 : o->min;
    if (o->max != NO_MAXIMUM) g.n_counts = o->max + 1, g.counts_all = true;
    if (g.n_counts > MAX_STATES || 2 * (uint64_t)g.n_counts * (o->n_members + 1) > MAX_STATES) {
        schema_fail(o->c, QUERN_ERR_LIMIT, o->f->items[0].schema,
                    "%zu properties and a count of them up to %u are too many together", o->n_members,
                    g.n_counts - 1);
        return QN_NO_EXPRESSION;
    }
    schema_spend(o->c, 10 * (uint64_t)g.n_counts * (o->n_members + 1));
    add_edge(&g, 0, before_state(&g, 0, 0), qn_json_punctuation(&o->c->w, '{'));
    add_members(&g);
    const uint32_t n_states = before_state(&g, o->n_members + 1, 0);
    const qn_expression graph = o->c->status == QUERN_OK
                                    ? qn_expression_graph(o->c->e, n_states, g.edges, g.n_edges)
                                    : QN_NO_EXPRESSION;
    qn_free(g.edges);
    return graph;
}

/* Whether nothing is said of objects at all. */
static bool says_nothing(const flat_schemas *f)
{
    static const char *const keywords[] = {
        "properties", "patternProperties", "additionalProperties", "unevaluatedProperties",
        "required",   "propertyNames",     "minProperties",        "maxProperties"};
    for (size_t i = 0; i < f->n; i++)
        for (size_t k = 0; k < sizeof keywords / sizeof *keywords; k++)
            if (json_object_get(f->items[i].schema, keywords[k]) != NULL) return false;
    return true;
}

qn_expression schema_object(schema_compiler *c, const flat_schemas *f)
{
    object_demands o = {.c = c, .f = f, .max = NO_MAXIMUM};
    qn_expression x = QN_NO_EXPRESSION;
    if (says_nothing(f)) return qn_json_shared(&c->w, QN_JSON_OBJECT);
    if (read_demands(&o)) x = o.min > o.max ? schema_nothing(c) : make_graph(&o);
    qn_free(o.members);
    qn_hash_map_deinit(&o.by_name);
    return x;
}
