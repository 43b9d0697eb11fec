/* json_expression.c: see json_expression.h. */
#include "grammar/json_expression.h"

#include "base/utf8.h"
#include "grammar/regex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 100, BLOCK = 256 /* repetitions that are shared as one rule */ };

static qn_expression text(qn_json_writer *w, const char *bytes)
{
    return qn_expression_text(w->e, bytes, strlen(bytes));
}

static qn_expression group_of(qn_json_writer *w, qn_expression_kind kind, const qn_expression *parts,
                              size_t n)
{
    const qn_expression group = qn_expression_group(w->e, kind);
    for (size_t i = 0; i < n; i++) qn_expression_append(w->e, group, parts[i]);
    return group;
}

/* ---- shared rules ------------------------------------------------------------------------------ */

static const char *const patterns[QN_JSON_N_RULES] = {
    [QN_JSON_SPACE] = "(?: |\\n(?: {0,40}|\\t{1,20}))?",
    [QN_JSON_CHARACTER] = "[^\"\\\\\\x00-\\x1f]|\\\\(?:[\"\\\\/bfnrt]|u(?:[0-9abcefABCEF][0-9a-fA-F]{3}|"
                          "[dD][0-7][0-9a-fA-F]{2}|"
                          "[dD][89abAB][0-9a-fA-F]{2}\\\\u[dD][c-fC-F][0-9a-fA-F]{2}))",
    [QN_JSON_FIXED_CHARACTER] = "[^\"\\\\\\x00-\\x1f]|\\\\(?:[\"\\\\bfnrt]|u00(?:0[0-7bef]|1[0-9a-f]))",
    [QN_JSON_BEYOND_ASCII] = "[^\\x00-\\x7f]",
    [QN_JSON_INTEGER] = "-?(?:0|[1-9][0-9]{0,17})",
    [QN_JSON_NUMBER] =
        "-?(?:0|[1-9][0-9]{0,17})(?:\\.[0-9]{1,17})?(?:[eE][+-]?(?:[0-9]{1,2}|1[0-9]{2}|2[0-8][0-9]))?",
};

/* Either brackets with nothing in them, or items with commas between. */
static qn_expression bracketed(qn_json_writer *w, char open, char close, qn_expression item)
{
    const char closing[2] = {close, '\0'};
    const qn_graph_edge edges[] = {
        {0, 2, qn_json_punctuation(w, open)},
        {2, 1, text(w, closing)},
        {2, 3, QN_NO_EXPRESSION},
        {3, 4, item},
        {4, 3, qn_json_punctuation(w, ',')},
        {4, 1, qn_json_punctuation(w, close)},
    };
    return qn_expression_graph(w->e, 5, edges, sizeof edges / sizeof *edges);
}

static qn_expression any_member(qn_json_writer *w)
{
    const qn_expression parts[] = {qn_json_shared(w, QN_JSON_KEY), qn_json_punctuation(w, ':'),
                                   qn_json_shared(w, QN_JSON_VALUE)};
    return group_of(w, QN_EXPRESSION_SEQUENCE, parts, 3);
}

static qn_expression any_value(qn_json_writer *w)
{
    const qn_expression parts[] = {qn_json_shared(w, QN_JSON_STRING),
                                   qn_json_shared(w, QN_JSON_NUMBER),
                                   qn_json_shared(w, QN_JSON_OBJECT),
                                   qn_json_shared(w, QN_JSON_ARRAY),
                                   text(w, "true"),
                                   text(w, "false"),
                                   text(w, "null")};
    return group_of(w, QN_EXPRESSION_CHOICE, parts, sizeof parts / sizeof *parts);
}

static qn_expression meaning_of(qn_json_writer *w, qn_json_rule rule)
{
    qn_expression x;
    switch (rule) {
    case QN_JSON_STRING:
        return qn_json_counted_string(w, 0, QN_ANY_NUMBER);
    case QN_JSON_KEY:
        return qn_json_word_or_string(w);
    case QN_JSON_VALUE:
        return any_value(w);
    case QN_JSON_OBJECT:
        return bracketed(w, '{', '}', any_member(w));
    case QN_JSON_ARRAY:
        return bracketed(w, '[', ']', qn_json_shared(w, QN_JSON_VALUE));
    default:
        if (qn_regex_add(w->e, patterns[rule], strlen(patterns[rule]), QN_REGEX_WHOLE, &x, NULL) != QUERN_OK)
            w->e->failed = w->e->no_memory = true; /* the patterns are right and small */
        return x;
    }
}

qn_expression qn_json_shared(qn_json_writer *w, qn_json_rule rule)
{
    if (rule == QN_JSON_KEY && !qn_json_is_other_notation(w)) rule = QN_JSON_STRING;
    if (w->rules[rule] == 0) {
        const uint32_t number = qn_expression_new_rule(w->e);
        w->rules[rule] = number + 1; /* before its meaning is made: values contain values */
        qn_expression_define(w->e, number, meaning_of(w, rule));
    }
    return qn_expression_rule(w->e, w->rules[rule] - 1);
}

qn_expression qn_json_punctuation(qn_json_writer *w, char mark)
{
    const char bytes[2] = {mark, '\0'};
    const qn_expression itself = text(w, bytes);
    if (w->whitespace == QN_JSON_COMPACT) return itself;
    const qn_expression space =
        mark == ':' ? qn_expression_repeat(w->e, text(w, " "), 0, 1) : qn_json_shared(w, QN_JSON_SPACE);
    const bool space_first = mark == '}' || mark == ']';
    const qn_expression parts[] = {space_first ? space : itself, space_first ? itself : space};
    return group_of(w, QN_EXPRESSION_SEQUENCE, parts, 2);
}

/* ---- characters -------------------------------------------------------------------------------- */

enum { QUOTE_BIT = 32, BACKSLASH_BIT = 33, N_ESCAPED = 34 };

static uint32_t escaped_character(int bit)
{
    return bit == QUOTE_BIT ? '"' : bit == BACKSLASH_BIT ? '\\' : (uint32_t)bit;
}

/* The escape of a character that needs one. */
static void spell_escape(uint32_t c, char out[8])
{
    static const char short_ones[][2] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
                                         {'\n', 'n'}, {'\r', 'r'},  {'\t', 't'}};
    for (size_t i = 0; i < sizeof short_ones / sizeof short_ones[0]; i++)
        if ((uint32_t)short_ones[i][0] == c) {
            snprintf(out, 8, "\\%c", short_ones[i][1]);
            return;
        }
    snprintf(out, 8, "\\u%04x", (unsigned)c & 0xffff);
}

static bool needs_escape(const qn_json_writer *w, uint32_t c)
{
    return !qn_json_is_other_notation(w) && (c < 0x20 || c == '"' || c == '\\');
}

static bool in_ranges(const qn_character_range *ranges, size_t n, uint32_t c)
{
    for (size_t i = 0; i < n; i++)
        if (c >= ranges[i].first && c <= ranges[i].last) return true;
    return false;
}

/* Escapes of those characters. Many are a rule, which other places share. */
static qn_expression escapes_of(qn_json_writer *w, uint64_t characters)
{
    const bool many = (characters & (characters - 1)) != 0;
    for (size_t i = 0; many && i < w->n_escapes; i++)
        if (w->escapes[i] == characters) return qn_expression_rule(w->e, w->escape_rules[i]);
    const qn_expression choice = qn_expression_group(w->e, QN_EXPRESSION_CHOICE);
    for (int bit = 0; bit < N_ESCAPED; bit++) {
        char spelled[8];
        if ((characters >> bit & 1) == 0) continue;
        spell_escape(escaped_character(bit), spelled);
        qn_expression_append(w->e, choice, text(w, spelled));
    }
    if (!many || w->n_escapes == QN_JSON_SHARED_ESCAPES) return choice;
    const uint32_t rule = qn_expression_new_rule(w->e);
    qn_expression_define(w->e, rule, choice);
    w->escapes[w->n_escapes] = characters;
    w->escape_rules[w->n_escapes++] = rule;
    return qn_expression_rule(w->e, rule);
}

/* The characters of the ranges within [first, last] that are written as they are. */
static qn_expression raw_characters(qn_json_writer *w, const qn_character_range *ranges, size_t n,
                                    uint32_t first, uint32_t last)
{
    static const qn_character_range unescaped[] = {{' ', '!'}, {'#', '['}, {']', 0x7f}, {0x80, 0x10ffff}},
                                    all[] = {{'\t', '\n'}, {'\r', '\r'}, {' ', 0x7f}, {0x80, 0x10ffff}};
    const qn_character_range *raw = qn_json_is_other_notation(w) ? all : unescaped;
    qn_character_range kept[128];
    size_t n_kept = 0;
    const qn_expression choice = qn_expression_group(w->e, QN_EXPRESSION_CHOICE);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
            uint32_t from = ranges[i].first > raw[k].first ? ranges[i].first : raw[k].first;
            uint32_t to = ranges[i].last < raw[k].last ? ranges[i].last : raw[k].last;
            if (from < first) from = first;
            if (to > last) to = last;
            if (from > to) continue;
            kept[n_kept++] = (qn_character_range){from, to};
            if (n_kept < sizeof kept / sizeof *kept) continue;
            qn_expression_append(w->e, choice, qn_expression_class(w->e, kept, n_kept, false));
            n_kept = 0;
        }
    if (n_kept > 0) qn_expression_append(w->e, choice, qn_expression_class(w->e, kept, n_kept, false));
    return choice;
}

static bool has_all_beyond_ascii(const qn_character_range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ranges[i].first <= 0x80 && ranges[i].last == 0x10ffff) return true;
    /* a class keeps no surrogates, so that its greatest range has a gap there */
    bool below = false, above = false;
    for (size_t i = 0; i < n; i++) {
        below |= ranges[i].first <= 0x80 && ranges[i].last >= 0xd7ff;
        above |= ranges[i].first <= 0xe000 && ranges[i].last == 0x10ffff;
    }
    return below && above;
}

/* One character that is spelled as itself, as most of a pattern's are. */
static qn_expression single_character(qn_json_writer *w, uint32_t character)
{
    char bytes[4];
    return qn_expression_text(w->e, bytes, qn_utf8_encode(character, bytes));
}

/* In another notation: automata have the same few sets of characters at each of their states. */
static qn_expression shared_characters(qn_json_writer *w, const qn_character_range *ranges, size_t n)
{
    for (size_t i = 0; i < w->n_classes && i < QN_JSON_SHARED_CLASSES; i++)
        if (w->classes[i].n == n && memcmp(w->classes[i].ranges, ranges, n * sizeof *ranges) == 0)
            return qn_expression_rule(w->e, w->classes[i].rule);
    const qn_expression raw = raw_characters(w, ranges, n, 0, 0x10ffff);
    if (n == 0 || n > QN_JSON_SHARED_RANGES) return raw;
    qn_json_class *class = &w->classes[w->n_classes++ % QN_JSON_SHARED_CLASSES];
    memcpy(class->ranges, ranges, n * sizeof *ranges);
    class->n = n;
    class->rule = qn_expression_new_rule(w->e);
    qn_expression_define(w->e, class->rule, raw);
    return qn_expression_rule(w->e, class->rule);
}

qn_expression qn_json_character(qn_json_writer *w, const qn_character_range *ranges, size_t n)
{
    uint64_t escaped = 0;
    if (n == 1 && ranges[0].first == ranges[0].last && !needs_escape(w, ranges[0].first))
        return single_character(w, ranges[0].first);
    if (qn_json_is_other_notation(w)) return shared_characters(w, ranges, n);
    for (int bit = 0; bit < N_ESCAPED; bit++)
        if (in_ranges(ranges, n, escaped_character(bit))) escaped |= (uint64_t)1 << bit;
    const bool all_beyond = has_all_beyond_ascii(ranges, n);
    const qn_expression raw = raw_characters(w, ranges, n, 0, all_beyond ? 0x7f : 0x10ffff);
    if (escaped == 0 && !all_beyond) return raw;
    const qn_expression choice = qn_expression_group(w->e, QN_EXPRESSION_CHOICE);
    qn_expression_append(w->e, choice, raw);
    if (all_beyond) qn_expression_append(w->e, choice, qn_json_shared(w, QN_JSON_BEYOND_ASCII));
    if (escaped != 0) qn_expression_append(w->e, choice, escapes_of(w, escaped));
    return choice;
}

/* ---- strings ----------------------------------------------------------------------------------- */

/* A character of a string's text: raw or as its escape. */
static qn_expression spelled_text(qn_json_writer *w, const char *bytes, size_t n_bytes)
{
    qn_buffer out = {.max_bytes = 64 << 20};
    for (size_t i = 0; i < n_bytes; i++) {
        char escape[8];
        const unsigned char c = (unsigned char)bytes[i];
        if (!needs_escape(w, c)) {
            qn_buffer_putc(&out, bytes[i]);
            continue;
        }
        spell_escape(c, escape);
        qn_buffer_puts(&out, escape);
    }
    if (out.failed) w->e->failed = w->e->no_memory = true;
    const qn_expression x = out.failed
                                ? QN_NO_EXPRESSION
                                : qn_expression_text(w->e, out.data != NULL ? out.data : "", out.n_bytes);
    qn_buffer_deinit(&out);
    return x;
}

static qn_expression spelled_repeat(qn_json_writer *w, const qn_expressions *from,
                                    const qn_expression_node *x)
{
    qn_expression part = qn_json_spelled(w, from, x->first);
    if ((x->max != QN_ANY_NUMBER ? x->max : x->min) > 4) { /* copies are better calls of one rule */
        const uint32_t rule = qn_expression_new_rule(w->e);
        qn_expression_define(w->e, rule, part);
        return qn_json_repeated(w, rule, x->min, x->max);
    }
    return qn_expression_repeat(w->e, part, x->min, x->max);
}

qn_expression qn_json_spelled(qn_json_writer *w, const qn_expressions *from, qn_expression id)
{
    if (from->failed || id == QN_NO_EXPRESSION) {
        w->e->failed = true;
        w->e->no_memory |= from->no_memory;
        return QN_NO_EXPRESSION;
    }
    const qn_expression_node *x = &from->nodes[id];
    if (x->kind == QN_EXPRESSION_TEXT) return spelled_text(w, from->bytes.data + x->begin, x->n);
    if (x->kind == QN_EXPRESSION_CLASS) return qn_json_character(w, from->ranges + x->begin, x->n);
    if (x->kind == QN_EXPRESSION_REPEAT) return spelled_repeat(w, from, x);
    if (x->kind == QN_EXPRESSION_RULE || x->kind == QN_EXPRESSION_GRAPH) return QN_NO_EXPRESSION;
    const qn_expression group = qn_expression_group(w->e, x->kind);
    for (qn_expression part = x->first; part != QN_NO_EXPRESSION && !w->e->failed;
         part = from->nodes[part].next)
        qn_expression_append(w->e, group, qn_json_spelled(w, from, part));
    return group;
}

qn_expression qn_json_quoted(qn_json_writer *w, qn_expression content)
{
    const char *quote = qn_json_is_other_notation(w) ? w->notation.quote : "\"";
    const qn_expression parts[] = {text(w, quote), content, text(w, quote)};
    return group_of(w, QN_EXPRESSION_SEQUENCE, parts, 3);
}

qn_expression qn_json_constant_string(qn_json_writer *w, const char *bytes, size_t n_bytes)
{
    if (qn_json_holds_quote(w, bytes, n_bytes)) return qn_expression_group(w->e, QN_EXPRESSION_CHOICE);
    return qn_json_quoted(w, spelled_text(w, bytes, n_bytes));
}

qn_expression qn_json_constant_key(qn_json_writer *w, const char *bytes, size_t n_bytes)
{
    const bool is_bare = qn_json_is_other_notation(w) && qn_json_is_word(bytes, n_bytes);
    return is_bare ? qn_expression_text(w->e, bytes, n_bytes) : qn_json_constant_string(w, bytes, n_bytes);
}

/* count times a rule, block by block. */
static qn_expression exactly(qn_json_writer *w, uint32_t rule, uint32_t block, uint32_t count)
{
    const qn_expression parts[] = {
        qn_expression_repeat(w->e, qn_expression_rule(w->e, block), count / BLOCK, count / BLOCK),
        qn_expression_repeat(w->e, qn_expression_rule(w->e, rule), count % BLOCK, count % BLOCK)};
    return group_of(w, QN_EXPRESSION_SEQUENCE, parts, 2);
}

/* At most count times a rule: fewer blocks than there could be and any rest, or all of them and what is left.
 */
static qn_expression at_most(qn_json_writer *w, uint32_t rule, uint32_t block, uint32_t count)
{
    const uint32_t n_blocks = count / BLOCK;
    if (n_blocks == 0) return qn_expression_repeat(w->e, qn_expression_rule(w->e, rule), 0, count);
    const qn_expression fewer[] = {
        qn_expression_repeat(w->e, qn_expression_rule(w->e, block), 0, n_blocks - 1),
        qn_expression_repeat(w->e, qn_expression_rule(w->e, rule), 0, BLOCK - 1)};
    const qn_expression all[] = {
        qn_expression_repeat(w->e, qn_expression_rule(w->e, block), n_blocks, n_blocks),
        qn_expression_repeat(w->e, qn_expression_rule(w->e, rule), 0, count % BLOCK)};
    const qn_expression choice[] = {group_of(w, QN_EXPRESSION_SEQUENCE, fewer, 2),
                                    group_of(w, QN_EXPRESSION_SEQUENCE, all, 2)};
    return group_of(w, QN_EXPRESSION_CHOICE, choice, 2);
}

qn_expression qn_json_repeated(qn_json_writer *w, uint32_t rule, uint32_t min, uint32_t max)
{
    const uint32_t most = max != QN_ANY_NUMBER ? max : min;
    if (most <= 4 * BLOCK) return qn_expression_repeat(w->e, qn_expression_rule(w->e, rule), min, max);
    const uint32_t block = qn_expression_new_rule(w->e);
    qn_expression_define(w->e, block,
                         qn_expression_repeat(w->e, qn_expression_rule(w->e, rule), BLOCK, BLOCK));
    const qn_expression rest =
        max == QN_ANY_NUMBER ? qn_expression_repeat(w->e, qn_expression_rule(w->e, rule), 0, QN_ANY_NUMBER)
                             : at_most(w, rule, block, max - min);
    const qn_expression parts[] = {exactly(w, rule, block, min), rest};
    return group_of(w, QN_EXPRESSION_SEQUENCE, parts, 2);
}

qn_expression qn_json_counted_string(qn_json_writer *w, uint32_t min, uint32_t max)
{
    if (qn_json_is_other_notation(w)) return qn_json_quoted(w, qn_json_unquoted_text(w, min, max));
    const qn_expression character = qn_json_shared(w, QN_JSON_CHARACTER);
    if (w->e->failed) return QN_NO_EXPRESSION;
    if (min == 0 && max == QN_ANY_NUMBER)
        return qn_json_quoted(w, qn_expression_repeat(w->e, character, min, max));
    return qn_json_quoted(w, qn_json_repeated(w, w->rules[QN_JSON_CHARACTER] - 1, min, max));
}

/* ---- constants --------------------------------------------------------------------------------- */

void qn_json_print_real(char out[32], double value)
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, 32, "%.*g", digits, value);
        if (strtod(out, NULL) == value) break;
    }
    for (char *c = out; *c != '\0'; c++) /* the decimal point may be another one where the program runs */
        if (strchr("0123456789+-eE", *c) == NULL) *c = '.';
}

static qn_expression constant_real(qn_json_writer *w, double value)
{
    char spelled[32], with_fraction[40];
    qn_json_print_real(spelled, value);
    const qn_expression plain = text(w, spelled);
    if (strpbrk(spelled, ".eE") != NULL) return plain;
    snprintf(with_fraction, sizeof with_fraction, "%s.0", spelled);
    const qn_expression both[] = {plain, text(w, with_fraction)};
    return group_of(w, QN_EXPRESSION_CHOICE, both, 2);
}

static qn_expression constant(qn_json_writer *w, const json_t *value, int depth);

static qn_expression constant_array(qn_json_writer *w, const json_t *value, int depth)
{
    const size_t n = json_array_size(value);
    const qn_expression all = qn_expression_group(w->e, QN_EXPRESSION_SEQUENCE);
    qn_expression_append(w->e, all, qn_json_punctuation(w, '['));
    for (size_t i = 0; i < n && !w->e->failed; i++) {
        if (i > 0) qn_expression_append(w->e, all, qn_json_punctuation(w, ','));
        qn_expression_append(w->e, all, constant(w, json_array_get(value, i), depth + 1));
    }
    qn_expression_append(w->e, all, n > 0 ? qn_json_punctuation(w, ']') : text(w, "]"));
    return all;
}

static qn_expression constant_object(qn_json_writer *w, const json_t *value, int depth)
{
    json_t *object = (json_t *)(uintptr_t)value; /* jansson's walk wants it so; nothing is changed */
    const qn_expression all = qn_expression_group(w->e, QN_EXPRESSION_SEQUENCE);
    qn_expression_append(w->e, all, qn_json_punctuation(w, '{'));
    bool first = true;
    for (void *at = json_object_iter(object); at != NULL && !w->e->failed;
         at = json_object_iter_next(object, at), first = false) {
        const char *key = json_object_iter_key(at);
        if (!first) qn_expression_append(w->e, all, qn_json_punctuation(w, ','));
        qn_expression_append(w->e, all, qn_json_constant_key(w, key, strlen(key)));
        qn_expression_append(w->e, all, qn_json_punctuation(w, ':'));
        qn_expression_append(w->e, all, constant(w, json_object_iter_value(at), depth + 1));
    }
    qn_expression_append(w->e, all, first ? text(w, "}") : qn_json_punctuation(w, '}'));
    return all;
}

static qn_expression constant(qn_json_writer *w, const json_t *value, int depth)
{
    char spelled[32];
    if (depth > MAX_DEPTH) {
        w->e->failed = true;
        return QN_NO_EXPRESSION;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return constant_object(w, value, depth);
    case JSON_ARRAY:
        return constant_array(w, value, depth);
    case JSON_STRING:
        return qn_json_constant_string(w, json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
        snprintf(spelled, sizeof spelled, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return text(w, spelled);
    case JSON_REAL:
        return constant_real(w, json_real_value(value));
    case JSON_TRUE:
        return text(w, "true");
    case JSON_FALSE:
        return text(w, "false");
    case JSON_NULL:
        return text(w, "null");
    }
    return QN_NO_EXPRESSION;
}

qn_expression qn_json_constant(qn_json_writer *w, const json_t *value)
{
    return constant(w, value, 0);
}

quern_status qn_json_any_build(qn_network *n, bool object_only, qn_json_whitespace whitespace,
                               quern_error *err)
{
    qn_expressions e = {0};
    qn_json_writer w = {.e = &e, .whitespace = whitespace};
    e.root = qn_expression_new_rule(&e);
    qn_expression_define(&e, e.root, qn_json_shared(&w, object_only ? QN_JSON_OBJECT : QN_JSON_VALUE));
    const quern_status s = qn_network_build(n, &e, "JSON", NULL, NULL, err);
    qn_expressions_deinit(&e);
    return s;
}
