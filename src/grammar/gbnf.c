/* gbnf.c: a parser by recursive descent.
 *
 *     rule:      name ::= choice      to the end of the line; a rule goes on to the next line within
 *                                     parentheses, after ::= and after |
 *     choice:    sequence | sequence ...
 *     sequence:  items, each with any number of * + ? {m} {m,} {,n} {m,n} behind it
 *     item:      "text"  [class]  .  name  ( choice )                                            */
#include "grammar/gbnf.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/hash_map.h"
#include "base/hexadecimal.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

enum { MAX_TEXT = 4 << 20, MAX_NESTING = 100, MAX_REPETITIONS = 100000, MAX_RANGES = 4096 };

typedef struct span {
    const char *bytes;
    size_t n_bytes;
} span;

typedef struct parser {
    const char *text, *at, *end;
    qn_expressions e;
    qn_hash_map names; /* to rules */
    span *rule_names;
    size_t n_names, name_capacity;
    int nesting;
    quern_status status;
    quern_error *err;
} parser;

static bool fail(parser *p, const char *what)
{
    size_t line = 1;
    const char *line_begin = p->text;
    for (const char *c = p->text; c < p->at; c++)
        if (*c == '\n') line++, line_begin = c + 1;
    if (p->status == QUERN_OK)
        p->status = qn_fail(p->err, QUERN_ERR_ARGUMENT, "grammar, line %zu, column %zu: %s", line,
                            (size_t)(p->at - line_begin) + 1, what);
    return false;
}

static bool is_at(const parser *p, char c)
{
    return p->at < p->end && *p->at == c;
}

/* Blanks and comments, and line ends where they are allowed. */
static void skip(parser *p, bool lines)
{
    while (p->at < p->end) {
        if (*p->at == '#')
            while (p->at < p->end && *p->at != '\n' && *p->at != '\r') p->at++;
        else if (*p->at == ' ' || *p->at == '\t' || (lines && (*p->at == '\n' || *p->at == '\r'))) p->at++;
        else return;
    }
}

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static span name_at(const parser *p)
{
    const char *c = p->at;
    while (c < p->end && is_name_character(*c)) c++;
    return (span){p->at, (size_t)(c - p->at)};
}

/* The rule of that name, a new one if there is none. */
static bool rule_of(parser *p, span name, uint32_t *rule)
{
    int64_t known = QN_HASH_NONE;
    const uint32_t number = (uint32_t)p->n_names;
    if (!qn_hash_map_add(&p->names, name.bytes, name.n_bytes, number, &known) ||
        (known == QN_HASH_NONE &&
         !qn_grow(&p->rule_names, &p->name_capacity, p->n_names + 1, SIZE_MAX / sizeof name, sizeof name))) {
        p->status = qn_fail(p->err, QUERN_ERR_NOMEM, "grammar: no memory");
        return false;
    }
    *rule = known == QN_HASH_NONE ? qn_expression_new_rule(&p->e) : (uint32_t)known;
    if (known == QN_HASH_NONE) p->rule_names[p->n_names++] = name;
    return true;
}

/* ---- characters -------------------------------------------------------------------------------- */

static bool parse_hex(parser *p, size_t n_digits, uint32_t *c)
{
    char bytes[4];
    const size_t n = qn_hex_read(p->at, (size_t)(p->end - p->at), n_digits, c);
    p->at += n;
    if (n < n_digits) return fail(p, "a hexadecimal digit is missing");
    return qn_utf8_encode(*c, bytes) > 0 || fail(p, "there is no such character");
}

/* One character of a text or class, escapes included. */
static bool parse_character(parser *p, uint32_t *c)
{
    static const char escapes[][2] = {{'t', '\t'}, {'r', '\r'}, {'n', '\n'}, {'\\', '\\'},
                                      {'"', '"'},  {'[', '['},  {']', ']'}};
    if (*p->at != '\\') {
        const size_t n = qn_utf8_decode(p->at, (size_t)(p->end - p->at), c);
        p->at += n;
        return n > 0 || fail(p, "this is not UTF-8");
    }
    p->at++;
    const char kind = p->at < p->end ? *p->at++ : '\0';
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++)
        if (escapes[i][0] == kind) return *c = (uint32_t)escapes[i][1], true;
    if (kind == 'x') return parse_hex(p, 2, c);
    if (kind == 'u') return parse_hex(p, 4, c);
    if (kind == 'U') return parse_hex(p, 8, c);
    p->at--;
    return fail(p, "unknown escape (there are \\t \\r \\n \\\\ \\\" \\[ \\] \\xHH \\uHHHH \\UHHHHHHHH)");
}

static qn_expression parse_text(parser *p)
{
    qn_buffer bytes = {.max_bytes = MAX_TEXT};
    p->at++;
    while (p->at < p->end && *p->at != '"') {
        uint32_t c;
        char spelled[4];
        if (!parse_character(p, &c)) break;
        qn_buffer_append(&bytes, spelled, qn_utf8_encode(c, spelled));
    }
    qn_expression text = QN_NO_EXPRESSION;
    if (p->status == QUERN_OK && bytes.failed)
        p->status = qn_fail(p->err, QUERN_ERR_NOMEM, "grammar: no memory");
    else if (p->status == QUERN_OK && !is_at(p, '"')) fail(p, "the text in quotes has no end");
    else if (p->status == QUERN_OK) {
        p->at++;
        text = qn_expression_text(&p->e, bytes.data != NULL ? bytes.data : "", bytes.n_bytes);
    }
    qn_buffer_deinit(&bytes);
    return text;
}

static qn_expression parse_class(parser *p)
{
    qn_character_range ranges[MAX_RANGES];
    size_t n = 0;
    p->at++;
    const bool negated = is_at(p, '^');
    p->at += negated;
    while (p->at < p->end && *p->at != ']') {
        qn_character_range r;
        if (n == MAX_RANGES) return fail(p, "too many ranges in one class"), QN_NO_EXPRESSION;
        if (!parse_character(p, &r.first)) return QN_NO_EXPRESSION;
        r.last = r.first;
        if (p->end - p->at >= 2 && p->at[0] == '-' && p->at[1] != ']') {
            p->at++;
            if (!parse_character(p, &r.last)) return QN_NO_EXPRESSION;
            if (r.last < r.first) return fail(p, "the range ends before it begins"), QN_NO_EXPRESSION;
        }
        ranges[n++] = r;
    }
    if (!is_at(p, ']')) return fail(p, "the class has no end"), QN_NO_EXPRESSION;
    p->at++;
    return qn_expression_class(&p->e, ranges, n, negated);
}

/* ---- items ------------------------------------------------------------------------------------- */

static qn_expression parse_choice(parser *p, bool nested);

static qn_expression parse_group(parser *p)
{
    if (++p->nesting > MAX_NESTING)
        return fail(p, "more than 100 parentheses within each other"), QN_NO_EXPRESSION;
    p->at++;
    skip(p, true);
    const qn_expression choice = parse_choice(p, true);
    if (p->status != QUERN_OK) return QN_NO_EXPRESSION;
    if (!is_at(p, ')')) return fail(p, "')' is missing"), QN_NO_EXPRESSION;
    p->at++;
    p->nesting--;
    return choice;
}

static bool parse_number(parser *p, uint32_t *value)
{
    bool any = false;
    *value = 0;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++, any = true) {
        *value = *value * 10 + (uint32_t)(*p->at - '0');
        if (*value > MAX_REPETITIONS) return fail(p, "more than 100000 repetitions");
    }
    return any;
}

static bool parse_bounds(parser *p, uint32_t *min, uint32_t *max)
{
    p->at++;
    skip(p, true);
    const bool has_min = parse_number(p, min);
    skip(p, true);
    *max = *min;
    bool has_max = has_min;
    if (p->status == QUERN_OK && is_at(p, ',')) {
        p->at++;
        skip(p, true);
        has_max = parse_number(p, max);
        if (!has_max) *max = QN_ANY_NUMBER;
        skip(p, true);
    }
    if (p->status != QUERN_OK) return false;
    if ((!has_min && !has_max) || !is_at(p, '}')) return fail(p, "{m}, {m,}, {,n} or {m,n} is wanted here");
    if (*max < *min) return fail(p, "the greatest number of repetitions is below the least");
    p->at++;
    return true;
}

/* What stands behind an item, as often as it does. */
static qn_expression parse_repetitions(parser *p, qn_expression item, bool nested)
{
    for (;;) {
        uint32_t min = 0, max = QN_ANY_NUMBER;
        const char c = p->at < p->end ? *p->at : '\0';
        if (c != '*' && c != '+' && c != '?' && c != '{') return item;
        if (c == '{') {
            if (!parse_bounds(p, &min, &max)) return QN_NO_EXPRESSION;
        } else {
            p->at++;
            if (c == '+') min = 1;
            if (c == '?') max = 1;
        }
        item = qn_expression_repeat(&p->e, item, min, max);
        skip(p, nested);
    }
}

static qn_expression parse_item(parser *p)
{
    const span name = name_at(p);
    uint32_t rule;
    if (*p->at == '"') return parse_text(p);
    if (*p->at == '[') return parse_class(p);
    if (*p->at == '(') return parse_group(p);
    if (*p->at == '.') return p->at++, qn_expression_any_character(&p->e);
    if (name.n_bytes == 0)
        return fail(p, "a text, a class, a rule's name or '(' is wanted here"), QN_NO_EXPRESSION;
    if (!rule_of(p, name, &rule)) return QN_NO_EXPRESSION;
    p->at += name.n_bytes;
    return qn_expression_rule(&p->e, rule);
}

static bool sequence_ends(const parser *p)
{
    return p->at == p->end || *p->at == '|' || *p->at == ')' || *p->at == '\n' || *p->at == '\r';
}

static qn_expression parse_choice(parser *p, bool nested)
{
    const qn_expression choice = qn_expression_group(&p->e, QN_EXPRESSION_CHOICE);
    for (;;) {
        const qn_expression sequence = qn_expression_group(&p->e, QN_EXPRESSION_SEQUENCE);
        while (!sequence_ends(p)) {
            qn_expression item = parse_item(p);
            if (p->status != QUERN_OK) return QN_NO_EXPRESSION;
            skip(p, nested);
            item = parse_repetitions(p, item, nested);
            if (p->status != QUERN_OK) return QN_NO_EXPRESSION;
            qn_expression_append(&p->e, sequence, item);
        }
        qn_expression_append(&p->e, choice, sequence);
        if (!is_at(p, '|')) return choice;
        p->at++;
        skip(p, true);
    }
}

/* ---- rules ------------------------------------------------------------------------------------- */

static bool parse_rule(parser *p)
{
    const span name = name_at(p);
    uint32_t rule;
    if (name.n_bytes == 0) return fail(p, "a rule's name is wanted here");
    if (!rule_of(p, name, &rule)) return false;
    p->at += name.n_bytes;
    skip(p, false);
    if (p->end - p->at < 3 || memcmp(p->at, "::=", 3) != 0) return fail(p, "'::=' is wanted here");
    p->at += 3;
    skip(p, true);
    const qn_expression meaning = parse_choice(p, false);
    if (p->status != QUERN_OK) return false;
    if (p->at < p->end && *p->at != '\n' && *p->at != '\r') return fail(p, "')' without '('");
    qn_expression_define(&p->e, rule, meaning);
    skip(p, true);
    return true;
}

static const char *name_of(void *user, uint32_t rule)
{
    static _Thread_local char name[64];
    const parser *p = user;
    const span text = rule < p->n_names ? p->rule_names[rule] : (span){"?", 1};
    snprintf(name, sizeof name, "%.*s", (int)qn_min_size(text.n_bytes, 60), text.bytes);
    return name;
}

quern_status qn_gbnf_build(qn_network *n, const char *text, size_t n_bytes, quern_error *err)
{
    parser p = {.text = text, .at = text, .end = text + n_bytes, .err = err};
    memset(n, 0, sizeof *n);
    if (n_bytes > MAX_TEXT)
        return qn_fail(err, QUERN_ERR_LIMIT, "grammar: %zu bytes, at most %d are allowed", n_bytes, MAX_TEXT);
    skip(&p, true);
    while (p.at < p.end && parse_rule(&p)) continue;
    const int64_t root = qn_hash_map_get(&p.names, "root", 4);
    if (p.status == QUERN_OK && root == QN_HASH_NONE)
        p.status = qn_fail(err, QUERN_ERR_ARGUMENT, "grammar: there is no rule 'root'");
    p.e.root = (uint32_t)root;
    if (p.status == QUERN_OK) p.status = qn_network_build(n, &p.e, "grammar", name_of, &p, err);
    if (p.status == QUERN_OK && n->is_empty) {
        qn_network_deinit(n);
        p.status = qn_fail(err, QUERN_ERR_ARGUMENT, "grammar: no text at all can satisfy it");
    }
    qn_expressions_deinit(&p.e);
    qn_hash_map_deinit(&p.names);
    qn_free(p.rule_names);
    return p.status;
}
