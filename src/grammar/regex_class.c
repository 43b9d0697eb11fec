/* regex_class.c: what stands for one character in a regular expression: itself, escapes, and classes of
 * characters (ECMA-262, section 22.2.1: CharacterClass, AtomEscape). */
#include "grammar/regex_parser.h"

#include "base/alloc.h"
#include "base/hexadecimal.h"
#include "base/utf8.h"

#include <string.h>
#include <utf8proc.h>

enum {
    MAX_RANGES = 1 << 16,
    MAX_CATEGORIES = 8, /* \p{..} in one pattern: each looks at a quarter of all characters */
    LAST_CHARACTER = 0x10ffff,
};

/* ---- sets of characters ------------------------------------------------------------------------ */

static bool add_range(regex_parser *p, uint32_t first, uint32_t last)
{
    if (!qn_grow(&p->ranges, &p->range_capacity, p->n_ranges + 1, MAX_RANGES, sizeof *p->ranges))
        return p->n_ranges + 1 > MAX_RANGES ? regex_fail_limit(p, "too many ranges in a class")
                                            : regex_fail_memory(p);
    p->ranges[p->n_ranges++] = (qn_character_range){first, last};
    return true;
}

/* All of these ranges, which are in order, or, negated, what is between them. */
static bool add_ranges(regex_parser *p, const qn_character_range *ranges, size_t n, bool negated)
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

static bool add_class_escape(regex_parser *p, char kind)
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

/* The general categories of that name, or of that first letter, as bits. */
static uint32_t categories_named(const char *name, size_t n)
{
    static const char names[] =
        "CnLuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCo"; /* as utf8proc */
    uint32_t bits = 0;
    for (int i = 0; i <= UTF8PROC_CATEGORY_CO && n >= 1 && n <= 2; i++)
        if (memcmp(names + 2 * (size_t)i, name, n) == 0) bits |= 1u << i;
    return bits;
}

/* The last of the characters from c on that have c's category as one block: UnicodeData.txt gives these
 * blocks by their first and last characters, and planes 4 to 13 are empty. They are three quarters of all. */
static uint32_t last_alike(uint32_t c)
{
    static const qn_character_range blocks[] = {{0x4e00, 0x9fff},   {0xac00, 0xd7a3},   {0x20000, 0x2a6df},
                                                {0x40000, 0xdffff}, {0xf0000, 0xffffd}, {0x100000, 0x10fffd}};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (c == blocks[i].first) return blocks[i].last;
    return c;
}

/* All characters of these categories. */
static bool add_categories(regex_parser *p, uint32_t bits)
{
    bool ok = true, inside = false;
    uint32_t first = 0;
    for (uint32_t c = 0; ok && c <= LAST_CHARACTER + 1; c = last_alike(c) + 1) {
        const bool belongs = c <= LAST_CHARACTER && (bits >> utf8proc_category((utf8proc_int32_t)c) & 1) != 0;
        if (belongs && !inside) first = c;
        if (!belongs && inside) ok = add_range(p, first, c - 1);
        inside = belongs;
    }
    return ok;
}

/* \p{L}, \p{Lu}, ...: a general category, or a group of them by its letter. p->at is behind \p or \P. */
static bool parse_category(regex_parser *p, bool negated)
{
    const char *close = p->at;
    while (close < p->end && *close != '}') close++;
    const bool named = close < p->end && *p->at == '{';
    const uint32_t bits = named ? categories_named(p->at + 1, (size_t)(close - p->at - 1)) : 0;
    if (bits == 0)
        return regex_fail(p, "\\p is supported with a general category only, such as \\p{L} or \\p{Nd}");
    if (++p->n_categories > MAX_CATEGORIES) return regex_fail_limit(p, "more than 8 times \\p");
    p->at = close + 1;
    return add_categories(p, negated ? ~bits : bits);
}

/* ---- characters -------------------------------------------------------------------------------- */

static bool parse_hex(regex_parser *p, size_t n_digits, uint32_t *c)
{
    const size_t n = qn_hex_read(p->at, (size_t)(p->end - p->at), n_digits, c);
    p->at += n;
    return n == n_digits || regex_fail(p, "a hexadecimal digit is missing");
}

/* Behind \u{: any number of digits and the brace. */
static bool parse_braced_hex(regex_parser *p, uint32_t *c)
{
    const size_t n = qn_hex_read(p->at, (size_t)(p->end - p->at), SIZE_MAX, c);
    p->at += n;
    if (*c > LAST_CHARACTER) return regex_fail(p, "there is no such character");
    if (n == 0 || !regex_is_at(p, "}")) return regex_fail(p, "a hexadecimal digit is missing");
    p->at++;
    return true;
}

/* Behind \u: four digits, twice for a pair of surrogates, or any number of them in braces. */
static bool parse_unicode_escape(regex_parser *p, uint32_t *c)
{
    uint32_t low;
    if (regex_is_at(p, "{")) return p->at++, parse_braced_hex(p, c);
    if (!parse_hex(p, 4, c)) return false;
    if (*c >= 0xd800 && *c < 0xdc00 && regex_is_at(p, "\\u")) {
        p->at += 2;
        if (!parse_hex(p, 4, &low)) return false;
        if (low >= 0xdc00 && low < 0xe000) *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
    }
    return (*c < 0xd800 || *c >= 0xe000) || regex_fail(p, "half of a surrogate pair is no character");
}

static bool parse_control_escape(regex_parser *p, uint32_t *c)
{
    const char letter = p->at < p->end ? *p->at : '\0';
    const bool is_letter = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    if (!is_letter) return regex_fail(p, "a letter is missing behind \\c");
    p->at++;
    *c = (uint32_t)letter & 31;
    return true;
}

static bool parse_plain_character(regex_parser *p, uint32_t *c)
{
    const size_t n = qn_utf8_decode(p->at, (size_t)(p->end - p->at), c);
    p->at += n;
    return n > 0 || regex_fail(p, "this is not UTF-8");
}

/* An escape that is one character; p->at is behind the backslash. */
static bool parse_character_escape(regex_parser *p, uint32_t *c)
{
    static const char escapes[][2] = {{'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'f', '\f'}, {'v', '\v'}};
    const char kind = p->at < p->end ? *p->at : '\0';
    if (p->at == p->end) return regex_fail(p, "nothing is behind the backslash");
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++)
        if (escapes[i][0] == kind) return p->at++, *c = (uint32_t)escapes[i][1], true;
    if (kind == '0' && !(p->end - p->at > 1 && p->at[1] >= '0' && p->at[1] <= '9'))
        return p->at++, *c = 0, true;
    if (kind >= '0' && kind <= '9')
        return regex_fail(p, "backreferences and octal numbers are not supported");
    if (kind == 'k') return regex_fail(p, "backreferences (\\k) are not supported");
    if (kind == 'b' || kind == 'B') return regex_fail(p, "word boundaries (\\b, \\B) are not supported");
    if (kind == 'x') return p->at++, parse_hex(p, 2, c);
    if (kind == 'u') return p->at++, parse_unicode_escape(p, c);
    if (kind == 'c') return p->at++, parse_control_escape(p, c);
    if ((kind >= 'a' && kind <= 'z') || (kind >= 'A' && kind <= 'Z')) return regex_fail(p, "unknown escape");
    return parse_plain_character(p, c);
}

/* ---- classes ----------------------------------------------------------------------------------- */

/* What stands for many characters: \d \w \s \p and their opposites. */
static bool is_class_escape(const regex_parser *p)
{
    return p->end - p->at >= 2 && p->at[0] == '\\' && strchr("dDwWsSpP", p->at[1]) != NULL &&
           p->at[1] != '\0';
}

static bool parse_class_escape(regex_parser *p)
{
    const char kind = p->at[1];
    p->at += 2;
    return kind == 'p' || kind == 'P' ? parse_category(p, kind == 'P') : add_class_escape(p, kind);
}

static bool parse_class_character(regex_parser *p, uint32_t *c)
{
    if (!regex_is_at(p, "\\")) return parse_plain_character(p, c);
    p->at++;
    if (regex_is_at(p, "b")) return p->at++, *c = '\b', true;
    return parse_character_escape(p, c);
}

/* One character, a range of them, or \d and the like. */
static bool parse_class_item(regex_parser *p)
{
    uint32_t first, last;
    if (is_class_escape(p)) return parse_class_escape(p);
    if (!parse_class_character(p, &first)) return false;
    last = first;
    if (p->end - p->at >= 2 && p->at[0] == '-' && p->at[1] != ']') {
        p->at++;
        if (is_class_escape(p)) return add_range(p, first, first) && add_range(p, '-', '-');
        if (!parse_class_character(p, &last)) return false;
        if (last < first) return regex_fail(p, "the range ends before it begins");
    }
    return add_range(p, first, last);
}

/* The class behind '['. */
static bool parse_brackets(regex_parser *p, bool *negated)
{
    *negated = regex_is_at(p, "^");
    p->at += *negated;
    while (p->at < p->end && *p->at != ']')
        if (!parse_class_item(p)) return false;
    if (p->at == p->end) return regex_fail(p, "the class has no end");
    p->at++;
    return true;
}

static bool parse_one_character(regex_parser *p)
{
    uint32_t c;
    if (is_class_escape(p)) return parse_class_escape(p);
    const bool escaped = regex_is_at(p, "\\");
    p->at += escaped;
    return (escaped ? parse_character_escape(p, &c) : parse_plain_character(p, &c)) && add_range(p, c, c);
}

qn_expression regex_parse_class(regex_parser *p)
{
    bool negated = false;
    const char kind = p->at < p->end ? *p->at : '\0';
    p->n_ranges = 0;
    p->at += kind == '[' || kind == '.';
    const bool ok = kind == '['   ? parse_brackets(p, &negated)
                    : kind == '.' ? add_ranges(p, line_ends, sizeof line_ends / sizeof *line_ends, true)
                                  : parse_one_character(p);
    return ok ? qn_expression_class(p->e, p->ranges, p->n_ranges, negated) : QN_NO_EXPRESSION;
}
