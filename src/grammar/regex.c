/* regex.c: a parser by recursive descent (ECMA-262, section 22.2.1) makes a tree; anchors are settled when
 * the tree becomes an expression: an edge of the pattern is open, so that other text may stand there, until
 * an anchor closes it; groups at an edge hand that on to each of their branches:
 *
 *     (^a|b)c      means      a c .*  |  .* b c .*      */
#include "grammar/regex.h"

#include "base/alloc.h"
#include "grammar/regex_parser.h"

#include <string.h>

enum {
    MAX_PATTERN = 1 << 20,
    MAX_NODES = 1 << 20,
    MAX_NESTING = 100,
    MAX_REPETITIONS = 100000,
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

typedef struct regex_node {
    node_kind kind;
    qn_expression class; /* CLASS */
    uint32_t min, max;   /* REPEAT */
    uint32_t first, last, next;
    const char *at; /* in the pattern */
} regex_node;

static size_t position_of(const regex_parser *p, const char *at)
{
    size_t n = 1;
    for (const char *c = p->text; c < at; c++) n += ((unsigned char)*c & 0xc0) != 0x80;
    return n;
}

bool regex_fail_at(regex_parser *p, const char *at, const char *what)
{
    if (p->status == QUERN_OK)
        p->status = qn_fail(p->err, QUERN_ERR_ARGUMENT, "regular expression, character %zu: %s",
                            position_of(p, at), what);
    return false;
}

bool regex_fail(regex_parser *p, const char *what)
{
    return regex_fail_at(p, p->at, what);
}

bool regex_fail_memory(regex_parser *p)
{
    if (p->status == QUERN_OK) p->status = qn_fail(p->err, QUERN_ERR_NOMEM, "regular expression: no memory");
    return false;
}

bool regex_fail_limit(regex_parser *p, const char *what)
{
    if (p->status == QUERN_OK) p->status = qn_fail(p->err, QUERN_ERR_LIMIT, "regular expression: %s", what);
    return false;
}

static uint32_t add_node(regex_parser *p, node_kind kind)
{
    if (p->status != QUERN_OK) return NO_NODE;
    if (!qn_grow(&p->nodes, &p->node_capacity, p->n_nodes + 1, MAX_NODES, sizeof *p->nodes)) {
        if (p->n_nodes + 1 > MAX_NODES) regex_fail_limit(p, "too long");
        else regex_fail_memory(p);
        return NO_NODE;
    }
    p->nodes[p->n_nodes] = (regex_node){.kind = kind,
                                        .class = QN_NO_EXPRESSION,
                                        .first = NO_NODE,
                                        .last = NO_NODE,
                                        .next = NO_NODE,
                                        .at = p->at};
    return (uint32_t)p->n_nodes++;
}

static void append(regex_parser *p, uint32_t parent, uint32_t part)
{
    if (parent == NO_NODE || part == NO_NODE) return;
    regex_node *n = &p->nodes[parent];
    if (n->last == NO_NODE) n->first = part;
    else p->nodes[n->last].next = part;
    n->last = part;
}

/* ---- items ------------------------------------------------------------------------------------- */

static uint32_t parse_choice(regex_parser *p);

static bool skip_group_name(regex_parser *p)
{
    const char *name = p->at;
    while (p->at < p->end && *p->at != '>') {
        const char c = *p->at;
        const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                          c == '_' || c == '$' || (c & 0x80) != 0;
        if (!fits) return regex_fail(p, "this does not belong into a group's name");
        p->at++;
    }
    if (p->at == name || p->at == p->end) return regex_fail(p, "the group's name is missing or has no end");
    p->at++;
    return true;
}

/* What stands behind '(' and '?'. */
static bool parse_group_kind(regex_parser *p)
{
    if (regex_is_at(p, "(?:")) return p->at += 3, true;
    if (regex_is_at(p, "(?=") || regex_is_at(p, "(?!"))
        return regex_fail(p, "lookahead, (?= and (?!, is not supported");
    if (regex_is_at(p, "(?<=") || regex_is_at(p, "(?<!"))
        return regex_fail(p, "lookbehind, (?<= and (?<!, is not supported");
    if (regex_is_at(p, "(?<")) return p->at += 3, skip_group_name(p);
    if (regex_is_at(p, "(?P<")) return p->at += 4, skip_group_name(p);
    if (regex_is_at(p, "(?"))
        return regex_fail(p, "this kind of group is not supported (there are ( (?: and (?<name>)");
    p->at++;
    return true;
}

static uint32_t parse_group(regex_parser *p)
{
    if (++p->nesting > MAX_NESTING) return regex_fail(p, "more than 100 groups within each other"), NO_NODE;
    if (!parse_group_kind(p)) return NO_NODE;
    const uint32_t choice = parse_choice(p);
    if (p->status != QUERN_OK) return NO_NODE;
    if (!regex_is_at(p, ")")) return regex_fail(p, "')' is missing"), NO_NODE;
    p->at++;
    p->nesting--;
    return choice;
}

static bool parse_number(regex_parser *p, uint32_t *value)
{
    const char *begin = p->at;
    *value = 0;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
        *value = *value * 10 + (uint32_t)(*p->at - '0');
        if (*value > MAX_REPETITIONS) return regex_fail_limit(p, "more than 100000 repetitions");
    }
    return p->at > begin;
}

/* {m}, {m,} or {m,n}; false, and nothing read, if it is something else. */
static bool parse_braces(regex_parser *p, uint32_t *min, uint32_t *max)
{
    const char *begin = p->at++;
    bool ok = parse_number(p, min);
    *max = *min;
    if (ok && regex_is_at(p, ",")) {
        p->at++;
        if (regex_is_at(p, "}")) *max = QN_ANY_NUMBER;
        else ok = parse_number(p, max);
    }
    ok = ok && regex_is_at(p, "}");
    if (!ok) p->at = begin;
    else p->at++;
    return ok && p->status == QUERN_OK;
}

static bool parse_quantifier(regex_parser *p, uint32_t *min, uint32_t *max)
{
    const char c = p->at < p->end ? *p->at : '\0';
    if (c == '{') return parse_braces(p, min, max);
    if (c != '*' && c != '+' && c != '?') return false;
    *min = c == '+' ? 1 : 0;
    *max = c == '?' ? 1 : QN_ANY_NUMBER;
    p->at++;
    return true;
}

static uint32_t parse_quantified(regex_parser *p, uint32_t item)
{
    uint32_t min, max;
    if (p->status != QUERN_OK || !parse_quantifier(p, &min, &max)) return item;
    if (max < min) return regex_fail(p, "the greatest number of repetitions is below the least"), NO_NODE;
    if (regex_is_at(p, "?")) p->at++; /* lazy: another match, the same language */
    const uint32_t repeat = add_node(p, NODE_REPEAT);
    if (repeat == NO_NODE) return NO_NODE;
    p->nodes[repeat].min = min;
    p->nodes[repeat].max = max;
    append(p, repeat, item);
    return repeat;
}

static uint32_t parse_class(regex_parser *p)
{
    const qn_expression class = regex_parse_class(p);
    const uint32_t n = add_node(p, NODE_CLASS);
    if (n != NO_NODE) p->nodes[n].class = class;
    return n;
}

static uint32_t parse_item(regex_parser *p)
{
    uint32_t min, max;
    switch (*p->at) {
    case '(':
        return parse_group(p);
    case '*':
    case '+':
    case '?':
        return regex_fail(p, "there is nothing to repeat here"), NO_NODE;
    case '{':
        if (parse_braces(p, &min, &max)) return regex_fail(p, "there is nothing to repeat here"), NO_NODE;
        return p->status == QUERN_OK ? parse_class(p) : NO_NODE;
    default:
        return parse_class(p);
    }
}

static uint32_t parse_anchor(regex_parser *p)
{
    uint32_t min, max;
    const uint32_t n = add_node(p, *p->at == '^' ? NODE_BEGIN : NODE_END);
    p->at++;
    if (parse_quantifier(p, &min, &max)) return regex_fail(p, "an anchor cannot be repeated"), NO_NODE;
    return n;
}

static uint32_t parse_sequence(regex_parser *p)
{
    const uint32_t sequence = add_node(p, NODE_SEQUENCE);
    while (p->status == QUERN_OK && p->at < p->end && *p->at != '|' && *p->at != ')') {
        const bool is_anchor = *p->at == '^' || *p->at == '$';
        append(p, sequence, is_anchor ? parse_anchor(p) : parse_quantified(p, parse_item(p)));
    }
    return sequence;
}

static uint32_t parse_choice(regex_parser *p)
{
    const uint32_t choice = add_node(p, NODE_CHOICE);
    for (;;) {
        append(p, choice, parse_sequence(p));
        if (p->status != QUERN_OK || !regex_is_at(p, "|")) return choice;
        p->at++;
    }
}

/* ---- the tree as an expression ----------------------------------------------------------------- */

/* An edge of what is converted: whether it is one of the whole pattern, so that an anchor may stand there,
 * and whether other text may still stand there. */
typedef struct edge {
    bool is_edge, is_open;
} edge;

static qn_expression convert(regex_parser *p, uint32_t id, edge left, edge right);

static qn_expression any_text(regex_parser *p)
{
    return qn_expression_repeat(p->e, qn_expression_any_character(p->e), 0, QN_ANY_NUMBER);
}

/* Takes the anchors away that stand at the edges: what is left is from *first to before *end. */
static void settle_anchors(const regex_parser *p, uint32_t *first, uint32_t *end, edge *left, edge *right)
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

static qn_expression convert_sequence(regex_parser *p, uint32_t id, edge left, edge right)
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

static qn_expression convert_choice(regex_parser *p, uint32_t id, edge left, edge right)
{
    const uint32_t first = p->nodes[id].first;
    if (p->nodes[first].next == NO_NODE) return convert_sequence(p, first, left, right);
    const qn_expression choice = qn_expression_group(p->e, QN_EXPRESSION_CHOICE);
    for (uint32_t i = first; i != NO_NODE && p->status == QUERN_OK; i = p->nodes[i].next)
        qn_expression_append(p->e, choice, convert_sequence(p, i, left, right));
    return choice;
}

static qn_expression convert(regex_parser *p, uint32_t id, edge left, edge right)
{
    const regex_node *n = &p->nodes[id];
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
        regex_fail_at(p, n->at, "the anchor ^ is supported at the beginning of a branch only");
        return QN_NO_EXPRESSION;
    case NODE_END:
        regex_fail_at(p, n->at, "the anchor $ is supported at the end of a branch only");
        return QN_NO_EXPRESSION;
    }
    return QN_NO_EXPRESSION;
}

/* ---- entries ----------------------------------------------------------------------------------- */

quern_status qn_regex_add(qn_expressions *e, const char *pattern, size_t n_bytes, qn_regex_match match,
                          qn_expression *out, quern_error *err)
{
    regex_parser p = {.text = pattern, .at = pattern, .end = pattern + n_bytes, .e = e, .err = err};
    *out = QN_NO_EXPRESSION;
    if (n_bytes > MAX_PATTERN)
        return qn_fail(err, QUERN_ERR_LIMIT, "regular expression: %zu bytes, at most %d are allowed", n_bytes,
                       MAX_PATTERN);
    const uint32_t choice = parse_choice(&p);
    if (p.status == QUERN_OK && p.at < p.end) regex_fail(&p, "')' without '('");
    if (p.status == QUERN_OK) {
        const edge edge_of_all = {true, match == QN_REGEX_SEARCH};
        *out = convert(&p, choice, edge_of_all, edge_of_all);
    }
    if (p.status == QUERN_OK && e->failed) {
        if (e->no_memory) regex_fail_memory(&p);
        else regex_fail_limit(&p, "too large");
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
