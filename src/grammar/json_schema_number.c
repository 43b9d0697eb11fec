/* json_schema_number.c: numbers between bounds and multiples of others, as an automaton over their digits.
 *
 * Its state after some digits of the integer part says how many they were, and how they compare with as many
 * digits of each bound; when the part ends, their number decides, and after it the digits of the fraction.
 * The remainder for multipleOf goes along: of a number m followed by z zeros, m modulo the divisor without
 * its factors of ten, and z as far as such factors are wanted. All decimals are exact. */
#include "base/alloc.h"
#include "grammar/json_schema_compile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_DIGITS = 40,       /* of a bound, on each side of the point */
    MAX_STATES = 20000,    /* of one automaton */
    MAX_DIVISOR = 1000000, /* without its factors of ten */
    MAX_EXCLUDED = 64,
    LESS = 0,
    EQUAL = 1,
    GREATER = 2,
};

typedef struct decimal {
    bool negative;
    int n_integer, n_fraction;
    char integer[340], fraction[340]; /* digits; the integer part has no zeros in front but a lonely one */
} decimal;

/* ---- decimals ---------------------------------------------------------------------------------- */

static void trim(decimal *d)
{
    while (d->n_fraction > 0 && d->fraction[d->n_fraction - 1] == '0') d->n_fraction--;
    int zeros = 0;
    while (zeros + 1 < d->n_integer && d->integer[zeros] == '0') zeros++;
    memmove(d->integer, d->integer + zeros, (size_t)(d->n_integer - zeros));
    d->n_integer -= zeros;
    if (d->n_integer == 1 && d->integer[0] == '0' && d->n_fraction == 0) d->negative = false;
}

/* What a printed number says: digits, a point among them or not, and an exponent or none. */
static void read_decimal(decimal *d, const char *text)
{
    char digits[32];
    int n = 0, point = -1;
    *d = (decimal){.negative = text[0] == '-'};
    for (text += d->negative; *text != '\0' && *text != 'e' && *text != 'E'; text++) {
        if (*text == '.') point = n;
        else if (n < (int)sizeof digits) digits[n++] = *text;
    }
    if (point < 0) point = n;
    if (*text != '\0') point += atoi(text + 1);
    for (int i = 0; i < point && d->n_integer < (int)sizeof d->integer; i++)
        d->integer[d->n_integer++] = i < n ? digits[i] : '0';
    if (d->n_integer == 0) d->integer[d->n_integer++] = '0';
    for (int i = point; i < n && d->n_fraction < (int)sizeof d->fraction; i++)
        d->fraction[d->n_fraction++] = i >= 0 ? digits[i] : '0';
    trim(d);
}

static void decimal_of(decimal *d, const json_t *number)
{
    char text[32];
    if (json_is_integer(number))
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(number));
    else qn_json_print_real(text, json_real_value(number));
    read_decimal(d, text);
}

static int sign(long long x)
{
    return (x > 0) - (x < 0);
}

static int compare_magnitudes(const decimal *a, const decimal *b)
{
    if (a->n_integer != b->n_integer) return sign(a->n_integer - b->n_integer);
    const int integers = memcmp(a->integer, b->integer, (size_t)a->n_integer);
    if (integers != 0) return sign(integers);
    const int n = a->n_fraction < b->n_fraction ? a->n_fraction : b->n_fraction;
    const int fractions = memcmp(a->fraction, b->fraction, (size_t)n);
    return fractions != 0 ? sign(fractions) : sign(a->n_fraction - b->n_fraction);
}

static int compare(const decimal *a, const decimal *b)
{
    if (a->negative != b->negative) return a->negative ? -1 : 1;
    return a->negative ? compare_magnitudes(b, a) : compare_magnitudes(a, b);
}

/* The decimal times 10^n_fraction as an integer; false if it is too large, or has more digits of a fraction.
 */
static bool scaled(const decimal *d, int n_fraction, uint64_t *value)
{
    *value = 0;
    if (d->n_fraction > n_fraction || d->n_integer + n_fraction > 18) return false;
    for (int i = 0; i < d->n_integer; i++) *value = *value * 10 + (uint64_t)(d->integer[i] - '0');
    for (int i = 0; i < n_fraction; i++)
        *value = *value * 10 + (uint64_t)(i < d->n_fraction ? d->fraction[i] - '0' : 0);
    return true;
}

/* ---- what is demanded -------------------------------------------------------------------------- */

typedef struct bound {
    bool exists, exclusive;
    decimal value;
} bound;

typedef struct demands {
    bound low, high;
    uint64_t divisor;    /* 0: none; of the number times 10^n_fraction */
    int n_fraction;      /* digits that a multiple can have behind the point */
    const json_t *where; /* the schema with the last multipleOf, or any */
} demands;

/* keyword with its exclusive form, which is a number or (in draft 4) a boolean that goes with the other. */
static bool read_bound(schema_compiler *c, const json_t *schema, const char *keyword,
                       const char *exclusive_keyword, int direction, bound *b)
{
    const json_t *plain = json_object_get(schema, keyword),
                 *exclusive = json_object_get(schema, exclusive_keyword);
    const json_t *const both[] = {plain, json_is_boolean(exclusive) ? NULL : exclusive};
    for (int i = 0; i < 2; i++) {
        bound other = {true, i == 1 || json_is_true(exclusive), {0}};
        if (both[i] == NULL) continue;
        if (!json_is_number(both[i]))
            return schema_fail(c, QUERN_ERR_ARGUMENT, schema, "\"%s\" is no number",
                               i == 0 ? keyword : exclusive_keyword);
        decimal_of(&other.value, both[i]);
        const int order = b->exists ? compare(&other.value, &b->value) * direction : 1;
        if (order > 0) *b = other;
        else if (order == 0) b->exclusive |= other.exclusive;
    }
    return true;
}

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        const uint64_t rest = a % b;
        a = b, b = rest;
    }
    return a;
}

/* Takes a multipleOf into the common one of all. */
static bool read_divisor(schema_compiler *c, const json_t *schema, demands *d)
{
    const json_t *number = json_object_get(schema, "multipleOf");
    decimal step;
    uint64_t value, product;
    if (number == NULL) return true;
    if (!json_is_number(number) || json_number_value(number) <= 0)
        return schema_fail(c, QUERN_ERR_ARGUMENT, schema, "\"multipleOf\" is no number above 0");
    decimal_of(&step, number);
    const int n_fraction = step.n_fraction > d->n_fraction ? step.n_fraction : d->n_fraction;
    bool ok = n_fraction <= QN_JSON_FRACTION_DIGITS && scaled(&step, n_fraction, &value);
    for (int i = d->n_fraction; ok && d->divisor > 0 && i < n_fraction; i++)
        ok = !__builtin_mul_overflow(d->divisor, 10, &d->divisor);
    product = ok ? value : 0;
    if (ok && d->divisor > 0)
        ok =
            !__builtin_mul_overflow(d->divisor / greatest_common_divisor(d->divisor, value), value, &product);
    if (!ok) return schema_unsupported(c, schema, "multipleOf", "has too many digits");
    d->divisor = product;
    d->where = schema;
    d->n_fraction = n_fraction;
    return true;
}

static bool read_demands(schema_compiler *c, const json_t *schema, demands *d)
{
    return read_bound(c, schema, "minimum", "exclusiveMinimum", 1, &d->low) &&
           read_bound(c, schema, "maximum", "exclusiveMaximum", -1, &d->high) && read_divisor(c, schema, d);
}

/* ---- the automaton ----------------------------------------------------------------------------- */

typedef struct digit_state {
    bool in_fraction;
    uint8_t n_digits;   /* of the part that it is in */
    uint8_t low, high;  /* LESS, EQUAL, GREATER: the digits so far compared with those of the bound */
    uint8_t zeros;      /* at the end, as far as they are wanted */
    bool is_zero;       /* all digits so far are */
    bool has_fraction;  /* not all digits of the fraction are 0 */
    uint32_t remainder; /* of the digits before those zeros */
    uint32_t number;    /* in the graph */
} digit_state;

typedef struct digit_machine {
    schema_compiler *c;
    const json_t *where;     /* for messages */
    const bound *low, *high; /* of the magnitude; may be absent */
    int max_integer, max_fraction;
    bool integers, fractions; /* which of the numbers are wanted */
    int n_fraction;           /* of the multiples */
    uint32_t divisor;         /* 1: none; without its factors of ten */
    uint8_t n_zeros;          /* those factors */
    digit_state *states;      /* [n_states] */
    size_t n_states, state_capacity;
    qn_hash_map numbers; /* of states, by their content; keys in the compiler's pool */
    qn_graph_edge *edges;
    size_t n_edges, edge_capacity;
    qn_expression digits[10][10]; /* classes of digits from one to another */
} digit_machine;

/* The content of a state without padding. */
typedef struct state_key {
    uint8_t bytes[12];
} state_key;

static state_key key_of(const digit_state *s)
{
    state_key k = {{s->in_fraction, s->n_digits, s->low, s->high, s->zeros, s->is_zero, s->has_fraction, 0}};
    memcpy(k.bytes + 8, &s->remainder, 4);
    return k;
}

static bool find_state(digit_machine *m, digit_state s, uint32_t *number)
{
    const state_key content = key_of(&s);
    int64_t existing = qn_hash_map_get(&m->numbers, (const char *)content.bytes, sizeof content);
    if (existing != QN_HASH_NONE) return *number = (uint32_t)existing, true;
    state_key *key = schema_alloc(m->c, 1, sizeof *key);
    if (m->n_states == MAX_STATES)
        return schema_fail(m->c, QUERN_ERR_LIMIT, m->where, "\"multipleOf\" needs more than %d states here",
                           MAX_STATES);
    *number = (uint32_t)m->n_states;
    if (key == NULL || !schema_spend(m->c, 30)) return false;
    *key = content;
    if (!qn_hash_map_add(&m->numbers, (const char *)key->bytes, sizeof *key, *number, &existing) ||
        !qn_grow(&m->states, &m->state_capacity, m->n_states + 1, MAX_STATES, sizeof *m->states))
        return schema_no_memory(m->c);
    s.number = *number + 2; /* 0 and 1 are the graph's begin and end */
    m->states[m->n_states++] = s;
    return true;
}

static bool add_edge(digit_machine *m, uint32_t from, uint32_t to, qn_expression part)
{
    if (!qn_grow(&m->edges, &m->edge_capacity, m->n_edges + 1, 1 << 20, sizeof *m->edges))
        return schema_no_memory(m->c);
    m->edges[m->n_edges++] = (qn_graph_edge){from, to, part};
    return true;
}

static qn_expression digits_between(digit_machine *m, int first, int last)
{
    qn_expression *known = &m->digits[first][last];
    const qn_character_range range = {'0' + (uint32_t)first, '0' + (uint32_t)last};
    if (*known == QN_NO_EXPRESSION) *known = qn_expression_class(m->c->e, &range, 1, false);
    return *known;
}

static uint8_t compare_digit(uint8_t so_far, int digit, int other)
{
    if (so_far != EQUAL || digit == other) return so_far;
    return digit < other ? LESS : GREATER;
}

/* The remainder with one more digit. */
static void add_digit_to_remainder(const digit_machine *m, digit_state *s, int digit)
{
    uint64_t r = s->remainder;
    if (digit == 0 && s->zeros < m->n_zeros) {
        s->zeros++;
        return;
    }
    for (int i = 0; digit != 0 && i < s->zeros; i++) r = r * 10 % m->divisor;
    s->remainder = (uint32_t)((r * 10 + (uint64_t)digit) % m->divisor);
    if (digit != 0) s->zeros = 0;
}

static bool add_integer_digit(const digit_machine *m, digit_state *s, int digit)
{
    const int i = s->n_digits;
    if (i == m->max_integer || (i == 1 && s->is_zero)) return false;
    if (m->low->exists) {
        const bool longer = i >= m->low->value.n_integer;
        s->low = longer ? GREATER : compare_digit(s->low, digit, m->low->value.integer[i] - '0');
    }
    if (m->high->exists) {
        const bool longer = i >= m->high->value.n_integer;
        s->high = longer ? GREATER : compare_digit(s->high, digit, m->high->value.integer[i] - '0');
    }
    s->n_digits++;
    return true;
}

static bool add_fraction_digit(const digit_machine *m, digit_state *s, int digit)
{
    const int i = s->n_digits;
    if (i == m->max_fraction) return false;
    if (m->low->exists)
        s->low =
            compare_digit(s->low, digit, i < m->low->value.n_fraction ? m->low->value.fraction[i] - '0' : 0);
    if (m->high->exists)
        s->high = compare_digit(s->high, digit,
                                i < m->high->value.n_fraction ? m->high->value.fraction[i] - '0' : 0);
    s->has_fraction |= digit != 0;
    s->n_digits++;
    return s->low != LESS && s->high != GREATER;
}

static bool add_digit(const digit_machine *m, digit_state *s, int digit)
{
    if (!(s->in_fraction ? add_fraction_digit(m, s, digit) : add_integer_digit(m, s, digit))) return false;
    add_digit_to_remainder(m, s, digit);
    s->is_zero &= digit == 0;
    return true;
}

/* The integer part has ended: the number of its digits decides before they do. False: out of bounds, whatever
 * the fraction. */
static bool end_integer(const digit_machine *m, digit_state *s)
{
    if (s->n_digits == 0) return false;
    if (m->low->exists && s->n_digits < m->low->value.n_integer) s->low = LESS;
    if (m->high->exists && s->n_digits < m->high->value.n_integer) s->high = LESS;
    s->in_fraction = true;
    s->n_digits = 0;
    return s->low != LESS && s->high != GREATER;
}

static bool accepts(const digit_machine *m, digit_state s)
{
    if (!s.in_fraction && !end_integer(m, &s)) return false;
    if (m->low->exists && s.low == EQUAL) {
        const bool lacks_digits = s.n_digits < m->low->value.n_fraction; /* the last of them is not 0 */
        if (lacks_digits || m->low->exclusive) return false;
    }
    if (m->high->exists && s.high == EQUAL && s.n_digits >= m->high->value.n_fraction && m->high->exclusive)
        return false;
    if (s.has_fraction ? !m->fractions : !m->integers) return false;
    if (s.is_zero) return true;
    for (int i = s.n_digits; i < m->n_fraction; i++) add_digit_to_remainder(m, &s, 0);
    return s.remainder == 0 && s.zeros == m->n_zeros;
}

/* The edges of a state: digits with the same target together. */
static bool make_edges(digit_machine *m, digit_state from)
{
    uint32_t target[10];
    bool leads[10];
    for (int digit = 0; digit < 10; digit++) {
        digit_state s = from;
        leads[digit] = add_digit(m, &s, digit);
        if (leads[digit] && !find_state(m, s, &target[digit])) return false;
    }
    for (int digit = 0, last; digit < 10; digit = last + 1) {
        last = digit;
        while (leads[digit] && last < 9 && leads[last + 1] && target[last + 1] == target[digit]) last++;
        if (leads[digit] && !add_edge(m, from.number, target[digit] + 2, digits_between(m, digit, last)))
            return false;
    }
    return true;
}

/* A point needs a digit behind it. */
static bool make_point(digit_machine *m, digit_state from)
{
    uint32_t target;
    digit_state s = from;
    if (from.in_fraction || m->max_fraction == 0 || !end_integer(m, &s)) return true;
    return find_state(m, s, &target) &&
           add_edge(m, from.number, target + 2, qn_expression_text(m->c->e, ".", 1));
}

static bool make_states(digit_machine *m)
{
    uint32_t begin;
    const digit_state nothing = {.low = EQUAL, .high = EQUAL, .is_zero = true};
    if (!find_state(m, nothing, &begin) || !add_edge(m, 0, begin + 2, QN_NO_EXPRESSION)) return false;
    for (size_t i = 0; i < m->n_states; i++) {
        const digit_state s = m->states[i];
        if (!make_edges(m, s) || !make_point(m, s)) return false;
        const bool can_end = !(s.in_fraction && s.n_digits == 0);
        if (can_end && accepts(m, s) && !add_edge(m, s.number, 1, QN_NO_EXPRESSION)) return false;
    }
    return true;
}

/* Magnitudes between two bounds. */
static qn_expression magnitudes(schema_compiler *c, const demands *d, const bound *low, const bound *high,
                                unsigned types)
{
    digit_machine m = {.c = c, .where = d->where, .low = low, .high = high, .divisor = 1};
    uint64_t divisor = d->divisor > 0 ? d->divisor : 1;
    for (; divisor % 10 == 0; divisor /= 10) m.n_zeros++;
    if (divisor > MAX_DIVISOR) {
        schema_fail(c, QUERN_ERR_LIMIT, d->where, "\"multipleOf\" has too many digits");
        return QN_NO_EXPRESSION;
    }
    m.divisor = (uint32_t)divisor;
    m.n_fraction = d->n_fraction;
    m.integers = (types & TYPE_INTEGER) != 0;
    m.fractions = (types & TYPE_FRACTION) != 0;
    m.max_integer = QN_JSON_INTEGER_DIGITS;
    m.max_fraction = !m.fractions ? 0 : d->divisor > 0 ? d->n_fraction : QN_JSON_FRACTION_DIGITS;
    if (!m.integers) { /* so few that no reader takes it for an integer, as a double does with 17 digits */
        m.max_integer = 9;
        if (d->divisor == 0) m.max_fraction = 6;
    }
    if (low->exists && low->value.n_integer > m.max_integer) m.max_integer = low->value.n_integer;
    for (int i = 0; m.fractions && d->divisor == 0 && i < 2; i++) { /* room to be between the bounds */
        const bound *b = i == 0 ? low : high;
        if (b->exists && b->value.n_fraction + 1 > m.max_fraction) m.max_fraction = b->value.n_fraction + 1;
    }
    memset(m.digits, 0xff, sizeof m.digits); /* QN_NO_EXPRESSION */
    const qn_expression graph = make_states(&m)
                                    ? qn_expression_graph(c->e, (uint32_t)m.n_states + 2, m.edges, m.n_edges)
                                    : QN_NO_EXPRESSION;
    qn_free(m.states);
    qn_free(m.edges);
    qn_hash_map_deinit(&m.numbers);
    return graph;
}

/* ---- intervals --------------------------------------------------------------------------------- */

static bool is_zero(const decimal *d)
{
    return d->n_integer == 1 && d->integer[0] == '0' && d->n_fraction == 0;
}

/* Whether there is no number between the bounds, or only one that is excluded. */
static bool is_empty(const bound *low, const bound *high)
{
    if (!low->exists || !high->exists) return false;
    const int order = compare(&low->value, &high->value);
    return order > 0 || (order == 0 && (low->exclusive || high->exclusive));
}

/* The numbers between two bounds: those below zero, as a minus sign and a magnitude, and the others. */
static void add_interval(schema_compiler *c, const demands *d, bound low, bound high, unsigned types,
                         qn_expression into)
{
    const bound none = {0};
    const bound zero = {true, false, {.n_integer = 1, .integer = "0"}};
    const bound below = {true, true, {.n_integer = 1, .integer = "0"}};
    if (is_empty(&low, &high)) return;
    const bool has_negative = !low.exists || low.value.negative;
    const bool has_others =
        !high.exists || (!high.value.negative && !(is_zero(&high.value) && high.exclusive));
    if (has_negative) {
        bound nearest = high.exists && high.value.negative ? high : below, farthest = low.exists ? low : none;
        nearest.value.negative = farthest.value.negative = false;
        const qn_expression both = qn_expression_group(c->e, QN_EXPRESSION_SEQUENCE);
        qn_expression_append(c->e, both, qn_expression_text(c->e, "-", 1));
        qn_expression_append(c->e, both, magnitudes(c, d, &nearest, &farthest, types));
        qn_expression_append(c->e, into, both);
    }
    if (has_others) {
        const bound nearest = low.exists && !low.value.negative ? low : zero;
        qn_expression_append(c->e, into, magnitudes(c, d, &nearest, &high, types));
    }
}

static int by_value(const void *a, const void *b)
{
    return compare(a, b);
}

/* Numbers that a plain `not` excludes, in order. */
static bool find_excluded(schema_compiler *c, const flat_schemas *f, decimal *excluded, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < f->n; i++) {
        const json_t *opposite = json_object_get(f->items[i].schema, "not");
        const json_t *constant = json_object_get(opposite, "const"),
                     *list = json_object_get(opposite, "enum");
        for (size_t k = 0; k < (constant != NULL ? 1 : json_array_size(list)); k++) {
            const json_t *value = constant != NULL ? constant : json_array_get(list, k);
            if (!json_is_number(value)) continue;
            if (*n == MAX_EXCLUDED)
                return schema_fail(c, QUERN_ERR_LIMIT, f->items[i].schema,
                                   "\"not\" names more than %d numbers", MAX_EXCLUDED);
            decimal_of(&excluded[*n], value);
            *n += excluded[*n].n_integer <= MAX_DIGITS && excluded[*n].n_fraction <= MAX_DIGITS;
        }
    }
    if (*n > 1) qsort(excluded, *n, sizeof *excluded, by_value);
    return true;
}

static bool is_too_long(const bound *b)
{
    return b->exists && (b->value.n_integer > MAX_DIGITS || b->value.n_fraction > MAX_DIGITS);
}

/* A bound farther from zero than any number that is written without an exponent says no more than that. */
static void forget_far_bounds(demands *d)
{
    if (d->low.exists && d->low.value.negative && d->low.value.n_integer > QN_JSON_INTEGER_DIGITS &&
        !(d->high.exists && d->high.value.negative && d->high.value.n_integer > QN_JSON_INTEGER_DIGITS))
        d->low.exists = false;
    if (d->high.exists && !d->high.value.negative && d->high.value.n_integer > QN_JSON_INTEGER_DIGITS &&
        !(d->low.exists && !d->low.value.negative && d->low.value.n_integer > QN_JSON_INTEGER_DIGITS))
        d->high.exists = false;
}

qn_expression schema_number(schema_compiler *c, const flat_schemas *f, unsigned types)
{
    demands d = {0};
    decimal *excluded = schema_alloc(c, MAX_EXCLUDED, sizeof *excluded);
    size_t n_excluded;
    for (size_t i = 0; i < f->n; i++)
        if (!read_demands(c, f->items[i].schema, &d)) return QN_NO_EXPRESSION;
    if (excluded == NULL || !find_excluded(c, f, excluded, &n_excluded)) return QN_NO_EXPRESSION;
    const bool is_free = !d.low.exists && !d.high.exists && d.divisor == 0 && n_excluded == 0;
    forget_far_bounds(&d);
    if (is_free && types == TYPE_INTEGER) return qn_json_shared(&c->w, QN_JSON_INTEGER);
    if (is_free && types == TYPE_NUMBER) return qn_json_shared(&c->w, QN_JSON_NUMBER);
    if (is_too_long(&d.low) || is_too_long(&d.high)) {
        schema_fail(c, QUERN_ERR_LIMIT, f->items[0].schema, "a bound has more than %d digits", MAX_DIGITS);
        return QN_NO_EXPRESSION;
    }
    const qn_expression all = schema_nothing(c);
    bound low = d.low;
    for (size_t i = 0; i < n_excluded && c->status == QUERN_OK; i++) { /* the gaps between what is excluded */
        bound here = {true, true, excluded[i]};
        if (low.exists && compare(&low.value, &here.value) > 0) continue;
        if (d.high.exists && compare(&d.high.value, &here.value) < 0) break;
        add_interval(c, &d, low, here, types, all);
        low = here;
    }
    add_interval(c, &d, low, d.high, types, all);
    return all;
}

/* ---- values ------------------------------------------------------------------------------------ */

static bool is_multiple(const decimal *number, const decimal *step)
{
    const int n = number->n_fraction > step->n_fraction ? number->n_fraction : step->n_fraction;
    uint64_t a, b;
    return scaled(number, n, &a) && scaled(step, n, &b) && b > 0 && a % b == 0;
}

bool schema_number_holds(schema_compiler *c, const json_t *schema, const json_t *value)
{
    demands d = {0};
    decimal number, step;
    const json_t *multiple = json_object_get(schema, "multipleOf");
    if (!read_demands(c, schema, &d)) return false;
    decimal_of(&number, value);
    if (d.low.exists && compare(&number, &d.low.value) < (d.low.exclusive ? 1 : 0)) return false;
    if (d.high.exists && compare(&number, &d.high.value) > (d.high.exclusive ? -1 : 0)) return false;
    if (multiple == NULL) return true;
    decimal_of(&step, multiple);
    return is_multiple(&number, &step);
}
