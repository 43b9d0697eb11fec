/* regex.c: a parser by recursive descent (ECMA-262, section 22.2.1) makes a tree; anchors are settled when
 * the tree becomes an expression: an edge of the pattern is open, so that other text may stand there, until
 * an anchor closes it; groups at an edge hand that on to each of their branches:
 *
 *     (^a|b)c      means      a c .*  |  .* b c .*      */
#include "grammar/regex.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/hexadecimal.h"
#include "base/utf8.h"

#include <string.h>
#include <utf8proc.h>

enum {
    MAX_PATTERN = 1 << 20,
    MAX_NODES = 1 << 20,
    MAX_NESTING = 100,
    MAX_REPETITIONS = 100000,
    MAX_RANGES = 1 << 16,
    MAX_CATEGORIES = 8, /* \p{..} in one pattern: each looks at all characters */
    LAST_CHARACTER = 0x10ffff,
};
#define NO_NODE UINT32_MAX

typedef enum node_kind {
    NODE_CLASS,    /* one character */
    NODE_SEQUENCE, /* its parts */
    NODE_CHOICE,   /* its parts, sequences all */
    NODE_REPEAT,   /* its part */
    NODE_BEGIN,    /* ^ */
    NODE_END,      /* $ */
} node_kind;

typedef struct node {
    node_kind kind;
    qn_expression class; /* CLASS */
    uint32_t min, max;   /* REPEAT */
    uint32_t first, last, next;
    const char *at; /* in the pattern */
} node;

typedef struct parser {
    const char *text, *at, *end;
    qn_expressions *e;
    node *nodes;
    size_t n_nodes, node_capacity;
    qn_character_range *ranges; /* of the class that is being read */
    size_t n_ranges, range_capacity;
    bool search;
    int nesting, n_categories;
    quern_status status;
    quern_error *err;
} parser;

static size_t position_of(const parser *p, const char *at)
{
    size_t n = 1;
    for (const char *c = p->text; c < at; c++) n += ((unsigned char)*c & 0xc0) != 0x80;
    return n;
}

static bool fail_at(parser *p, const char *at, const char *what)
{
    if (p->status == QUERN_OK)
        p->status = qn_fail(p->err, QUERN_ERR_ARGUMENT, "regular expression, character %zu: %s",
                            position_of(p, at), what);
    return false;
}

static bool fail(parser *p, const char *what)
{
    return fail_at(p, p->at, what);
}

static bool fail_memory(parser *p)
{
    if (p->status == QUERN_OK) p->status = qn_fail(p->err, QUERN_ERR_NOMEM, "regular expression: no memory");
    return false;
}

static bool fail_limit(parser *p, const char *what)
{
    if (p->status == QUERN_OK) p->status = qn_fail(p->err, QUERN_ERR_LIMIT, "regular expression: %s", what);
    return false;
}

static bool is_at(const parser *p, const char *text)
{
    const size_t n = strlen(text);
    return (size_t)(p->end - p->at) >= n && memcmp(p->at, text, n) == 0;
}

static uint32_t add_node(parser *p, node_kind kind)
{
    if (p->status != QUERN_OK) return NO_NODE;
    if (!qn_grow(&p->nodes, &p->node_capacity, p->n_nodes + 1, MAX_NODES, sizeof *p->nodes)) {
        if (p->n_nodes + 1 > MAX_NODES) fail_limit(p, "too long");
        else fail_memory(p);
        return NO_NODE;
    }
    p->nodes[p->n_nodes] = (node){.kind = kind,
                                  .class = QN_NO_EXPRESSION,
                                  .first = NO_NODE,
                                  .last = NO_NODE,
                                  .next = NO_NODE,
                                  .at = p->at};
    return (uint32_t)p->n_nodes++;
}

static void append(parser *p, uint32_t parent, uint32_t part)
{
    if (parent == NO_NODE || part == NO_NODE) return;
    node *n = &p->nodes[parent];
    if (n->last == NO_NODE) n->first = part;
    else p->nodes[n->last].next = part;
    n->last = part;
}

/* ---- classes ----------------------------------------------------------------------------------- */

static bool add_range(parser *p, uint32_t first, uint32_t last)
{
    if (!qn_grow(&p->ranges, &p->range_capacity, p->n_ranges + 1, MAX_RANGES, sizeof *p->ranges))
        return p->n_ranges + 1 > MAX_RANGES ? fail_limit(p, "too many ranges in a class") : fail_memory(p);
    p->ranges[p->n_ranges++] = (qn_character_range){first, last};
    return true;
}

/* All of these ranges, which are in order, or, negated, what is between them. */
static bool add_ranges(parser *p, const qn_character_range *ranges, size_t n, bool negated)
{
    uint32_t after = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        if (!negated) ok = add_range(p, ranges[i].first, ranges[i].last);
        else if (ranges[i].first > after) ok = add_range(p, after, ranges[i].first - 1);
        after = ranges[i].last + 1;
    }
    return ok && (!negated || add_range(p, after, LAST_CHARACTER));
}

static const qn_character_range digits[] = {{'0', '9'}};
static const qn_character_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const qn_character_range spaces[] = {
    {'\t', '\r'},     {' ', ' '},       {0xa0, 0xa0},     {0x1680, 0x1680}, {0x2000, 0x200a},
    {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};
static const qn_character_range line_ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

static bool add_class_escape(parser *p, char kind)
{
    switch (kind) {
    case 'd':
    case 'D':
        return add_ranges(p, digits, sizeof digits / sizeof *digits, kind == 'D');
    case 'w':
    case 'W':
        return add_ranges(p, words, sizeof words / sizeof *words, kind == 'W');
    default:
        return add_ranges(p, spaces, sizeof spaces / sizeof *spaces, kind == 'S');
    }
}

/* \p{L}, \p{Lu}, ...: a general category, or a group of them by its letter. p->at is behind \p or \P. */
static bool parse_category(parser *p, bool negated)
{
    const char *name = p->at + 1, *close = p->at;
    while (close < p->end && *close != '}') close++;
    const size_t n = close < p->end && is_at(p, "{") ? (size_t)(close - name) : 0;
    bool known = false;
    for (int i = 0; i <= UTF8PROC_CATEGORY_CO && n >= 1 && n <= 2; i++) {
        static const char names[] = "CnLuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCo";
        known |= memcmp(names + 2 * (size_t)i, name, n) == 0;
    }
    if (!known) return fail(p, "\\p is supported with a general category only, such as \\p{L} or \\p{Nd}");
    if (++p->n_categories > MAX_CATEGORIES) return fail_limit(p, "more than 8 times \\p");
    bool ok = true;
    uint32_t first = 0;
    bool inside = false;
    for (uint32_t c = 0; ok && c <= LAST_CHARACTER + 1; c++) {
        const char *category = c <= LAST_CHARACTER ? utf8proc_category_string((utf8proc_int32_t)c) : "??";
        const bool belongs = c <= LAST_CHARACTER && (memcmp(category, name, n) == 0) != negated;
        if (belongs && !inside) first = c;
        if (!belongs && inside) ok = add_range(p, first, c - 1);
        inside = belongs;
    }
    p->at = close + 1;
    return ok;
}

/* ---- characters -------------------------------------------------------------------------------- */

static bool parse_hex(parser *p, size_t n_digits, uint32_t *c)
{
    const size_t n = qn_hex_read(p->at, (size_t)(p->end - p->at), n_digits, c);
    p->at += n;
    return n == n_digits || fail(p, "a hexadecimal digit is missing");
}

/* Behind \u{: any number of digits and the brace. */
static bool parse_braced_hex(parser *p, uint32_t *c)
{
    const size_t n = qn_hex_read(p->at, (size_t)(p->end - p->at), SIZE_MAX, c);
    p->at += n;
    if (*c > LAST_CHARACTER) return fail(p, "there is no such character");
    if (n == 0 || !is_at(p, "}")) return fail(p, "a hexadecimal digit is missing");
    p->at++;
    return true;
}

/* Behind \u: four digits, twice for a pair of surrogates, or any number of them in braces. */
static bool parse_unicode_escape(parser *p, uint32_t *c)
{
    uint32_t low;
    if (is_at(p, "{")) return p->at++, parse_braced_hex(p, c);
    if (!parse_hex(p, 4, c)) return false;
    if (*c >= 0xd800 && *c < 0xdc00 && is_at(p, "\\u")) {
        p->at += 2;
        if (!parse_hex(p, 4, &low)) return false;
        if (low >= 0xdc00 && low < 0xe000) *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
    }
    return (*c < 0xd800 || *c >= 0xe000) || fail(p, "half of a surrogate pair is no character");
}

static bool parse_control_escape(parser *p, uint32_t *c)
{
    const char letter = p->at < p->end ? *p->at : '\0';
    const bool is_letter = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    if (!is_letter) return fail(p, "a letter is missing behind \\c");
    p->at++;
    *c = (uint32_t)letter & 31;
    return true;
}

/* An escape that is one character; p->at is behind the backslash. */
static bool parse_character_escape(parser *p, uint32_t *c)
{
    static const char escapes[][2] = {{'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'f', '\f'}, {'v', '\v'}};
    const char kind = p->at < p->end ? *p->at : '\0';
    if (p->at == p->end) return fail(p, "nothing is behind the backslash");
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++)
        if (escapes[i][0] == kind) return p->at++, *c = (uint32_t)escapes[i][1], true;
    if (kind == '0' && !(p->end - p->at > 1 && p->at[1] >= '0' && p->at[1] <= '9'))
        return p->at++, *c = 0, true;
    if (kind >= '0' && kind <= '9') return fail(p, "backreferences and octal numbers are not supported");
    if (kind == 'k') return fail(p, "backreferences (\\k) are not supported");
    if (kind == 'b' || kind == 'B') return fail(p, "word boundaries (\\b, \\B) are not supported");
    if (kind == 'x') return p->at++, parse_hex(p, 2, c);
    if (kind == 'u') return p->at++, parse_unicode_escape(p, c);
    if (kind == 'c') return p->at++, parse_control_escape(p, c);
    if ((kind >= 'a' && kind <= 'z') || (kind >= 'A' && kind <= 'Z')) return fail(p, "unknown escape");
    const size_t n = qn_utf8_decode(p->at, (size_t)(p->end - p->at), c);
    p->at += n;
    return n > 0 || fail(p, "this is not UTF-8");
}

static bool parse_plain_character(parser *p, uint32_t *c)
{
    const size_t n = qn_utf8_decode(p->at, (size_t)(p->end - p->at), c);
    p->at += n;
    return n > 0 || fail(p, "this is not UTF-8");
}

/* What stands for many characters: \d \w \s \p and their opposites. */
static bool is_class_escape(const parser *p)
{
    return p->end - p->at >= 2 && p->at[0] == '\\' && strchr("dDwWsSpP", p->at[1]) != NULL &&
           p->at[1] != '\0';
}

static bool parse_class_escape(parser *p)
{
    const char kind = p->at[1];
    p->at += 2;
    return kind == 'p' || kind == 'P' ? parse_category(p, kind == 'P') : add_class_escape(p, kind);
}

static uint32_t finish_class(parser *p, bool negated)
{
    const uint32_t n = add_node(p, NODE_CLASS);
    if (n != NO_NODE) p->nodes[n].class = qn_expression_class(p->e, p->ranges, p->n_ranges, negated);
    return n;
}

static bool parse_class_character(parser *p, uint32_t *c)
{
    if (!is_at(p, "\\")) return parse_plain_character(p, c);
    p->at++;
    if (is_at(p, "b")) return p->at++, *c = '\b', true;
    return parse_character_escape(p, c);
}

/* One character, a range of them, or \d and the like. */
static bool parse_class_item(parser *p)
{
    uint32_t first, last;
    if (is_class_escape(p)) return parse_class_escape(p);
    if (!parse_class_character(p, &first)) return false;
    last = first;
    if (p->end - p->at >= 2 && p->at[0] == '-' && p->at[1] != ']') {
        p->at++;
        if (is_class_escape(p)) return add_range(p, first, first) && add_range(p, '-', '-');
        if (!parse_class_character(p, &last)) return false;
        if (last < first) return fail(p, "the range ends before it begins");
    }
    return add_range(p, first, last);
}

static uint32_t parse_class(parser *p)
{
    p->at++;
    const bool negated = is_at(p, "^");
    p->at += negated;
    p->n_ranges = 0;
    while (p->at < p->end && *p->at != ']')
        if (!parse_class_item(p)) return NO_NODE;
    if (p->at == p->end) return fail(p, "the class has no end"), NO_NODE;
    p->at++;
    return finish_class(p, negated);
}

/* ---- items ------------------------------------------------------------------------------------- */

static uint32_t parse_choice(parser *p);

static bool skip_group_name(parser *p)
{
    const char *name = p->at;
    while (p->at < p->end && *p->at != '>') {
        const char c = *p->at;
        const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                          c == '_' || c == '$' || (c & 0x80) != 0;
        if (!fits) return fail(p, "this does not belong into a group's name");
        p->at++;
    }
    if (p->at == name || p->at == p->end) return fail(p, "the group's name is missing or has no end");
    p->at++;
    return true;
}

/* What stands behind '(' and '?'. */
static bool parse_group_kind(parser *p)
{
    if (is_at(p, "(?:")) return p->at += 3, true;
    if (is_at(p, "(?=") || is_at(p, "(?!")) return fail(p, "lookahead, (?= and (?!, is not supported");
    if (is_at(p, "(?<=") || is_at(p, "(?<!")) return fail(p, "lookbehind, (?<= and (?<!, is not supported");
    if (is_at(p, "(?<")) return p->at += 3, skip_group_name(p);
    if (is_at(p, "(?P<")) return p->at += 4, skip_group_name(p);
    if (is_at(p, "(?")) return fail(p, "this kind of group is not supported (there are ( (?: and (?<name>)");
    p->at++;
    return true;
}

static uint32_t parse_group(parser *p)
{
    if (++p->nesting > MAX_NESTING) return fail(p, "more than 100 groups within each other"), NO_NODE;
    if (!parse_group_kind(p)) return NO_NODE;
    const uint32_t choice = parse_choice(p);
    if (p->status != QUERN_OK) return NO_NODE;
    if (!is_at(p, ")")) return fail(p, "')' is missing"), NO_NODE;
    p->at++;
    p->nesting--;
    return choice;
}

static bool parse_number(parser *p, uint32_t *value)
{
    const char *begin = p->at;
    *value = 0;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
        *value = *value * 10 + (uint32_t)(*p->at - '0');
        if (*value > MAX_REPETITIONS) return fail_limit(p, "more than 100000 repetitions");
    }
    return p->at > begin;
}

/* {m}, {m,} or {m,n}; false, and nothing read, if it is something else. */
static bool parse_braces(parser *p, uint32_t *min, uint32_t *max)
{
    const char *begin = p->at++;
    bool ok = parse_number(p, min);
    *max = *min;
    if (ok && is_at(p, ",")) {
        p->at++;
        if (is_at(p, "}")) *max = QN_ANY_NUMBER;
        else ok = parse_number(p, max);
    }
    ok = ok && is_at(p, "}");
    if (!ok) p->at = begin;
    else p->at++;
    return ok && p->status == QUERN_OK;
}

static bool parse_quantifier(parser *p, uint32_t *min, uint32_t *max)
{
    const char c = p->at < p->end ? *p->at : '\0';
    if (c == '{') return parse_braces(p, min, max);
    if (c != '*' && c != '+' && c != '?') return false;
    *min = c == '+' ? 1 : 0;
    *max = c == '?' ? 1 : QN_ANY_NUMBER;
    p->at++;
    return true;
}

static uint32_t parse_quantified(parser *p, uint32_t item)
{
    uint32_t min, max;
    if (p->status != QUERN_OK || !parse_quantifier(p, &min, &max)) return item;
    if (max < min) return fail(p, "the greatest number of repetitions is below the least"), NO_NODE;
    if (is_at(p, "?")) p->at++; /* lazy: another match, the same language */
    const uint32_t repeat = add_node(p, NODE_REPEAT);
    if (repeat == NO_NODE) return NO_NODE;
    p->nodes[repeat].min = min;
    p->nodes[repeat].max = max;
    append(p, repeat, item);
    return repeat;
}

static uint32_t parse_one_character(parser *p)
{
    uint32_t c;
    p->n_ranges = 0;
    if (is_class_escape(p)) return parse_class_escape(p) ? finish_class(p, false) : NO_NODE;
    const bool escaped = is_at(p, "\\");
    p->at += escaped;
    if (!(escaped ? parse_character_escape(p, &c) : parse_plain_character(p, &c))) return NO_NODE;
    return add_range(p, c, c) ? finish_class(p, false) : NO_NODE;
}

static uint32_t parse_item(parser *p)
{
    uint32_t min, max;
    switch (*p->at) {
    case '(':
        return parse_group(p);
    case '[':
        return parse_class(p);
    case '.':
        p->at++;
        p->n_ranges = 0;
        return add_ranges(p, line_ends, sizeof line_ends / sizeof *line_ends, true) ? finish_class(p, false)
                                                                                    : NO_NODE;
    case '*':
    case '+':
    case '?':
        return fail(p, "there is nothing to repeat here"), NO_NODE;
    case '{':
        if (parse_braces(p, &min, &max)) return fail(p, "there is nothing to repeat here"), NO_NODE;
        return p->status == QUERN_OK ? parse_one_character(p) : NO_NODE;
    default:
        return parse_one_character(p);
    }
}

static uint32_t parse_anchor(parser *p)
{
    uint32_t min, max;
    const uint32_t n = add_node(p, *p->at == '^' ? NODE_BEGIN : NODE_END);
    p->at++;
    if (parse_quantifier(p, &min, &max)) return fail(p, "an anchor cannot be repeated"), NO_NODE;
    return n;
}

static uint32_t parse_sequence(parser *p)
{
    const uint32_t sequence = add_node(p, NODE_SEQUENCE);
    while (p->status == QUERN_OK && p->at < p->end && *p->at != '|' && *p->at != ')') {
        const bool is_anchor = *p->at == '^' || *p->at == '$';
        append(p, sequence, is_anchor ? parse_anchor(p) : parse_quantified(p, parse_item(p)));
    }
    return sequence;
}

static uint32_t parse_choice(parser *p)
{
    const uint32_t choice = add_node(p, NODE_CHOICE);
    for (;;) {
        append(p, choice, parse_sequence(p));
        if (p->status != QUERN_OK || !is_at(p, "|")) return choice;
        p->at++;
    }
}

/* ---- the tree as an expression ----------------------------------------------------------------- */

/* An edge of what is converted: whether it is one of the whole pattern, so that an anchor may stand there,
 * and whether other text may still stand there. */
typedef struct edge {
    bool is_edge, is_open;
} edge;

static qn_expression convert(parser *p, uint32_t id, edge left, edge right);

static qn_expression any_text(parser *p)
{
    return qn_expression_repeat(p->e, qn_expression_any_character(p->e), 0, QN_ANY_NUMBER);
}

/* Takes the anchors away that stand at the edges: what is left is from *first to before *end. */
static void settle_anchors(const parser *p, uint32_t *first, uint32_t *end, edge *left, edge *right)
{
    uint32_t trailing = NO_NODE; /* where the anchors at the end begin */
    while (left->is_edge && *first != NO_NODE && p->nodes[*first].kind == NODE_BEGIN) {
        left->is_open = false;
        *first = p->nodes[*first].next;
    }
    for (uint32_t i = *first; i != NO_NODE; i = p->nodes[i].next) {
        if (p->nodes[i].kind != NODE_END) trailing = NO_NODE;
        else if (trailing == NO_NODE) trailing = i;
    }
    *end = NO_NODE;
    if (!right->is_edge || trailing == NO_NODE) return;
    right->is_open = false;
    *end = trailing;
}

static qn_expression convert_sequence(parser *p, uint32_t id, edge left, edge right)
{
    uint32_t first = p->nodes[id].first, end;
    settle_anchors(p, &first, &end, &left, &right);
    const qn_expression sequence = qn_expression_group(p->e, QN_EXPRESSION_SEQUENCE);
    if (first == end && (left.is_open || right.is_open)) qn_expression_append(p->e, sequence, any_text(p));
    for (uint32_t i = first; i != end && p->status == QUERN_OK; i = p->nodes[i].next) {
        const edge l = i == first ? left : (edge){false, false};
        const edge r = p->nodes[i].next == end ? right : (edge){false, false};
        const bool hands_on = p->nodes[i].kind == NODE_CHOICE;
        if (l.is_open && !hands_on) qn_expression_append(p->e, sequence, any_text(p));
        qn_expression_append(p->e, sequence, convert(p, i, l, r));
        if (r.is_open && !hands_on) qn_expression_append(p->e, sequence, any_text(p));
    }
    return sequence;
}

static qn_expression convert_choice(parser *p, uint32_t id, edge left, edge right)
{
    const uint32_t first = p->nodes[id].first;
    if (p->nodes[first].next == NO_NODE) return convert_sequence(p, first, left, right);
    const qn_expression choice = qn_expression_group(p->e, QN_EXPRESSION_CHOICE);
    for (uint32_t i = first; i != NO_NODE && p->status == QUERN_OK; i = p->nodes[i].next)
        qn_expression_append(p->e, choice, convert_sequence(p, i, left, right));
    return choice;
}

static qn_expression convert(parser *p, uint32_t id, edge left, edge right)
{
    const node *n = &p->nodes[id];
    static const edge inside = {false, false};
    switch (n->kind) {
    case NODE_CLASS:
        return n->class;
    case NODE_SEQUENCE:
        return convert_sequence(p, id, left, right);
    case NODE_CHOICE:
        return convert_choice(p, id, left, right);
    case NODE_REPEAT:
        return qn_expression_repeat(p->e, convert(p, n->first, inside, inside), n->min, n->max);
    case NODE_BEGIN:
        fail_at(p, n->at, "the anchor ^ is supported at the beginning of a branch only");
        return QN_NO_EXPRESSION;
    case NODE_END:
        fail_at(p, n->at, "the anchor $ is supported at the end of a branch only");
        return QN_NO_EXPRESSION;
    }
    return QN_NO_EXPRESSION;
}

/* ---- entries ----------------------------------------------------------------------------------- */

quern_status qn_regex_add(qn_expressions *e, const char *pattern, size_t n_bytes, qn_regex_match match,
                          qn_expression *out, quern_error *err)
{
    parser p = {.text = pattern, .at = pattern, .end = pattern + n_bytes, .e = e, .err = err};
    *out = QN_NO_EXPRESSION;
    p.search = match == QN_REGEX_SEARCH;
    if (n_bytes > MAX_PATTERN)
        return qn_fail(err, QUERN_ERR_LIMIT, "regular expression: %zu bytes, at most %d are allowed", n_bytes,
                       MAX_PATTERN);
    const uint32_t choice = parse_choice(&p);
    if (p.status == QUERN_OK && p.at < p.end) fail(&p, "')' without '('");
    if (p.status == QUERN_OK) {
        const edge edge_of_all = {true, p.search};
        *out = convert(&p, choice, edge_of_all, edge_of_all);
    }
    if (p.status == QUERN_OK && e->failed) {
        if (e->no_memory) fail_memory(&p);
        else fail_limit(&p, "too large");
    }
    qn_free(p.nodes);
    qn_free(p.ranges);
    return p.status;
}

quern_status qn_regex_build(qn_network *n, const char *pattern, size_t n_bytes, qn_regex_match match,
                            quern_error *err)
{
    qn_expressions e = {0};
    qn_expression meaning;
    memset(n, 0, sizeof *n);
    e.root = qn_expression_new_rule(&e);
    quern_status s = qn_regex_add(&e, pattern, n_bytes, match, &meaning, err);
    if (s == QUERN_OK) qn_expression_define(&e, e.root, meaning);
    if (s == QUERN_OK) s = qn_network_build(n, &e, "regular expression", NULL, NULL, err);
    qn_expressions_deinit(&e);
    return s;
}
