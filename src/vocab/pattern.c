/* pattern.c: see pattern.h. A descent makes a tree; the nodes are then made from its end to its beginning, so
 * that each knows what follows it. */
#include "vocab/pattern.h"

#include "base/hexadecimal.h"
#include "base/utf8.h"

#include <string.h>
#include <utf8proc.h>

enum { MAX_PARTS = 512, MAX_DEPTH = 16, UNBOUNDED = 1024 /* more than any count */ };

typedef enum part_kind { PART_SET, PART_SEQUENCE, PART_EITHER, PART_REPEAT, PART_NODE, PART_EMPTY } part_kind;

typedef struct part { /* of the tree */
    part_kind kind;
    qn_node_kind node; /* of PART_NODE */
    uint16_t first, second, set;
    uint16_t least, most; /* of PART_REPEAT */
} part;

typedef struct reader {
    qn_pattern *p;
    const char *at;
    part parts[MAX_PARTS];
    uint32_t n_parts, depth;
    bool ignores_case, failed;
} reader;

static uint16_t fail(reader *r)
{
    r->failed = true;
    return 0;
}

static uint16_t add_part(reader *r, part x)
{
    if (r->n_parts == MAX_PARTS) return fail(r);
    r->parts[r->n_parts] = x;
    return (uint16_t)r->n_parts++;
}

static bool skip(reader *r, const char *text)
{
    const size_t n = strlen(text);
    if (strncmp(r->at, text, n) != 0) return false;
    r->at += n;
    return true;
}

/* ---- sets of characters ------------------------------------------------------------------------ */

bool qn_pattern_set_has(const qn_pattern *p, const qn_character_set *set, uint32_t character, int category)
{
    bool has = set->categories >> category & 1;
    for (uint32_t i = 0; i < set->n_ranges && !has; i++) {
        const qn_set_range r = p->ranges[set->ranges_begin + i];
        has = character >= r.first && character <= r.last;
    }
    return has != set->is_negated;
}

static void add_range(reader *r, qn_character_set *set, uint32_t first, uint32_t last)
{
    if (r->p->n_ranges == QN_PATTERN_RANGES || first > last) {
        fail(r);
        return;
    }
    r->p->ranges[set->ranges_begin + set->n_ranges++] = (qn_set_range){first, last};
    r->p->n_ranges++;
}

/* The script of Chinese characters, as of Unicode 17. */
static void add_han(reader *r, qn_character_set *set)
{
    static const qn_set_range han[] = {
        {0x2e80, 0x2e99},   {0x2e9b, 0x2ef3},   {0x2f00, 0x2fd5},   {0x3005, 0x3005},   {0x3007, 0x3007},
        {0x3021, 0x3029},   {0x3038, 0x303b},   {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfa6d},
        {0xfa70, 0xfad9},   {0x16fe2, 0x16fe3}, {0x16ff0, 0x16ff6}, {0x20000, 0x2a6df}, {0x2a700, 0x2b81d},
        {0x2b820, 0x2cead}, {0x2ceb0, 0x2ebe0}, {0x2ebf0, 0x2ee5d}, {0x2f800, 0x2fa1d}, {0x30000, 0x3134a},
        {0x31350, 0x33479}};
    for (size_t i = 0; i < sizeof han / sizeof *han; i++) add_range(r, set, han[i].first, han[i].last);
}

/* "Lu}" or "L}" after "\p{". */
static void read_property(reader *r, qn_character_set *set)
{
    static const struct {
        const char *name;
        uint32_t categories;
    } properties[] = {
#define BIT(name) (UINT32_C(1) << UTF8PROC_CATEGORY_##name)
        {"Lu}", BIT(LU)},
        {"Ll}", BIT(LL)},
        {"Lt}", BIT(LT)},
        {"Lm}", BIT(LM)},
        {"Lo}", BIT(LO)},
        {"L}", BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO)},
        {"M}", BIT(MN) | BIT(MC) | BIT(ME)},
        {"Nd}", BIT(ND)},
        {"N}", BIT(ND) | BIT(NL) | BIT(NO)},
        {"P}", BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO)},
        {"S}", BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO)},
        {"Z}", BIT(ZS) | BIT(ZL) | BIT(ZP)},
#undef BIT
    };
    if (skip(r, "Han}")) {
        add_han(r, set);
        return;
    }
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        if (!skip(r, properties[i].name)) continue;
        set->categories |= properties[i].categories;
        return;
    }
    fail(r);
}

static void add_white_space(reader *r, qn_character_set *set)
{
    add_range(r, set, '\t', '\r');
    add_range(r, set, 0x85, 0x85);
    set->categories |= 1u << UTF8PROC_CATEGORY_ZS | 1u << UTF8PROC_CATEGORY_ZL | 1u << UTF8PROC_CATEGORY_ZP;
}

/* The number in "\x{1ba}", of which "\x{" was read. */
static uint32_t read_hexadecimal(reader *r)
{
    uint32_t value;
    const size_t n = qn_hex_read(r->at, strlen(r->at), 6, &value);
    r->at += n;
    return n > 0 && value <= 0x10ffff && skip(r, "}") ? value : fail(r);
}

static uint32_t read_character(reader *r)
{
    if (skip(r, "\\r")) return '\r';
    if (skip(r, "\\n")) return '\n';
    if (skip(r, "\\t")) return '\t';
    if (skip(r, "\\x{")) return read_hexadecimal(r);
    const bool is_escaped = skip(r, "\\");
    uint32_t c = 0;
    const size_t n = qn_utf8_decode(r->at, strlen(r->at), &c);
    const bool is_alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (n == 0 || (is_escaped && is_alphanumeric)) return fail(r);
    r->at += n;
    return c;
}

/* One member of a class in brackets, or what stands for a single character outside of them. */
static void read_member(reader *r, qn_character_set *set, bool in_brackets)
{
    if (skip(r, "\\p{")) {
        read_property(r, set);
    } else if (skip(r, "\\s")) {
        add_white_space(r, set);
    } else if (!in_brackets && skip(r, "\\S")) {
        add_white_space(r, set);
        set->is_negated = true;
    } else {
        const uint32_t first = read_character(r);
        const bool is_range = in_brackets && r->at[0] == '-' && r->at[1] != ']';
        if (is_range) r->at++;
        add_range(r, set, first, is_range ? read_character(r) : first);
        if (!r->ignores_case || is_range) return;
        const uint32_t lower = first | 0x20;
        if (lower >= 'a' && lower <= 'z') add_range(r, set, first ^ 0x20, first ^ 0x20);
        if (lower == 's') add_range(r, set, 0x17f, 0x17f);
        if (lower == 'k') add_range(r, set, 0x212a, 0x212a);
    }
}

static bool is_same_set(const qn_pattern *p, const qn_character_set *a, const qn_character_set *b)
{
    return a->categories == b->categories && a->is_negated == b->is_negated && a->n_ranges == b->n_ranges &&
           memcmp(&p->ranges[a->ranges_begin], &p->ranges[b->ranges_begin],
                  a->n_ranges * sizeof *p->ranges) == 0;
}

static uint16_t read_set(reader *r)
{
    qn_pattern *p = r->p;
    qn_character_set set = {.ranges_begin = p->n_ranges};
    if (skip(r, "[")) {
        set.is_negated = skip(r, "^");
        while (!r->failed && !skip(r, "]")) read_member(r, &set, true);
    } else {
        read_member(r, &set, false);
    }
    for (uint16_t i = 0; i < p->n_sets; i++) {
        if (!is_same_set(p, &p->sets[i], &set)) continue;
        p->n_ranges = set.ranges_begin;
        return i;
    }
    if (p->n_sets == QN_PATTERN_SETS) return fail(r);
    p->sets[p->n_sets] = set;
    return (uint16_t)p->n_sets++;
}

/* ---- the tree ---------------------------------------------------------------------------------- */

static uint16_t read_alternatives(reader *r);

static uint16_t read_look_around(reader *r, qn_node_kind kind)
{
    const uint16_t set = read_set(r);
    if (!skip(r, ")")) return fail(r);
    return add_part(r, (part){.kind = PART_NODE, .node = kind, .set = set});
}

static uint16_t read_group(reader *r, bool ignores_case)
{
    const bool before = r->ignores_case;
    r->ignores_case = before || ignores_case;
    const uint16_t inside = read_alternatives(r);
    r->ignores_case = before;
    return skip(r, ")") ? inside : fail(r);
}

static uint16_t read_atom(reader *r)
{
    if (skip(r, "(?!")) return read_look_around(r, QN_NODE_NOT_AHEAD);
    if (skip(r, "(?<!")) return read_look_around(r, QN_NODE_NOT_BEHIND);
    if (skip(r, "(?i:")) return read_group(r, true);
    if (skip(r, "(?:") || skip(r, "(")) return read_group(r, false);
    if (skip(r, "$")) return add_part(r, (part){.kind = PART_NODE, .node = QN_NODE_AT_END});
    if (strchr("*+?{)", *r->at) != NULL) return fail(r);
    return add_part(r, (part){.kind = PART_SET, .set = read_set(r)});
}

static uint16_t read_count(reader *r)
{
    unsigned n = 0;
    if (*r->at < '0' || *r->at > '9') fail(r);
    for (; *r->at >= '0' && *r->at <= '9' && n < UNBOUNDED; r->at++) n = n * 10 + (unsigned)(*r->at - '0');
    if (n >= UNBOUNDED) fail(r);
    return (uint16_t)n;
}

static uint16_t read_repeated(reader *r)
{
    part repeat = {.kind = PART_REPEAT, .first = read_atom(r), .least = 1, .most = 1};
    if (skip(r, "?")) repeat.least = 0;
    else if (skip(r, "*")) repeat.least = 0, repeat.most = UNBOUNDED;
    else if (skip(r, "+")) repeat.most = UNBOUNDED;
    else if (skip(r, "{")) {
        repeat.least = repeat.most = read_count(r);
        if (skip(r, ",")) repeat.most = *r->at == '}' ? UNBOUNDED : read_count(r);
        if (!skip(r, "}") || repeat.most < repeat.least) return fail(r);
    } else return repeat.first;
    (void)skip(r, "+"); /* possessive */
    return add_part(r, repeat);
}

static uint16_t read_sequence(reader *r)
{
    uint16_t all = add_part(r, (part){.kind = PART_EMPTY});
    while (!r->failed && *r->at != '\0' && *r->at != '|' && *r->at != ')') {
        const uint16_t next = read_repeated(r);
        all = add_part(r, (part){.kind = PART_SEQUENCE, .first = all, .second = next});
    }
    return all;
}

static uint16_t read_alternatives(reader *r)
{
    if (++r->depth > MAX_DEPTH) return fail(r);
    uint16_t all = read_sequence(r);
    while (!r->failed && skip(r, "|")) {
        const uint16_t other = read_sequence(r);
        all = add_part(r, (part){.kind = PART_EITHER, .first = all, .second = other});
    }
    r->depth--;
    return all;
}

/* ---- the network ------------------------------------------------------------------------------- */

static uint16_t add_node(reader *r, qn_pattern_node node)
{
    qn_pattern *p = r->p;
    if (p->n_nodes == QN_PATTERN_NODES) return fail(r);
    p->nodes[p->n_nodes] = node;
    return (uint16_t)p->n_nodes++;
}

static uint16_t make(reader *r, uint16_t index, uint16_t next);

static uint16_t make_repeat(reader *r, const part *x, uint16_t next)
{
    uint16_t entry = next;
    if (x->most == UNBOUNDED) {
        entry = add_node(r, (qn_pattern_node){.kind = QN_NODE_EITHER, .other = next});
        const uint16_t again = make(r, x->first, entry);
        r->p->nodes[entry].next = again;
    } else {
        for (int i = x->least; i < x->most; i++) {
            const uint16_t once = make(r, x->first, entry);
            entry = add_node(r, (qn_pattern_node){.kind = QN_NODE_EITHER, .next = once, .other = next});
        }
    }
    for (int i = 0; i < x->least; i++) entry = make(r, x->first, entry);
    return entry;
}

/* The entry to the nodes of a part; as deep as the tree, which parentheses and lengths of patterns bound. */
static uint16_t make(reader *r, uint16_t index, uint16_t next)
{
    const part *x = &r->parts[index];
    if (r->failed) return 0;
    switch (x->kind) {
    case PART_SET:
        return add_node(r, (qn_pattern_node){.kind = QN_NODE_SET, .next = next, .set = x->set});
    case PART_NODE:
        return add_node(r, (qn_pattern_node){.kind = x->node, .next = next, .set = x->set});
    case PART_SEQUENCE:
        return make(r, x->first, make(r, x->second, next));
    case PART_EITHER: {
        const uint16_t first = make(r, x->first, next), second = make(r, x->second, next);
        return add_node(r, (qn_pattern_node){.kind = QN_NODE_EITHER, .next = first, .other = second});
    }
    case PART_REPEAT:
        return make_repeat(r, x, next);
    case PART_EMPTY:
        break;
    }
    return next;
}

const char *qn_pattern_read(qn_pattern *p, const char *text)
{
    reader r = {.p = p, .at = text};
    p->n_sets = p->n_ranges = p->n_nodes = 0;
    const uint16_t whole = read_alternatives(&r);
    if (r.failed || *r.at != '\0') return r.at;
    const uint16_t match = add_node(&r, (qn_pattern_node){.kind = QN_NODE_MATCH});
    p->start = make(&r, whole, match);
    return r.failed ? r.at : NULL;
}
