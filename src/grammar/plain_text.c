/* plain_text.c: see plain_text.h. Two ways: where characters come from a rule, as in JSON's strings, a place
 * is followed rule by rule; anywhere else, by one byte of every kind that neither the network nor the sort of
 * text tells apart. */
#include "grammar/plain_text.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/utf8.h"

#include <string.h>

enum {
    MAX_PAIRS = 1024,   /* of places and states of a character, looked at for one run */
    MOST_BY_BYTES = 16, /* characters that are looked ahead so: longer tokens are few */
};

/* ---- characters -------------------------------------------------------------------------------- */

/* States of a character that is being read, by what bytes may follow (The Unicode Standard, table 3-7). */
enum {
    WHOLE,
    ONE_MORE,
    TWO_MORE,
    THREE_MORE,
    AFTER_E0,
    AFTER_ED,
    AFTER_F0,
    AFTER_F4,
    N_STATES,
    NOT_PLAIN = 255
};

static bool is_word_byte(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

static uint8_t first_of_character(uint8_t byte, qn_plain_kind kind)
{
    if (kind == QN_PLAIN_WORDS) return is_word_byte(byte) ? WHOLE : NOT_PLAIN;
    if (byte < 0x80) return byte >= 0x20 && byte != '"' && byte != '\\' ? WHOLE : NOT_PLAIN;
    if (byte < 0xc2 || byte > 0xf4) return NOT_PLAIN;
    if (byte < 0xe0) return ONE_MORE;
    if (byte < 0xf0) return byte == 0xe0 ? AFTER_E0 : byte == 0xed ? AFTER_ED : TWO_MORE;
    return byte == 0xf0 ? AFTER_F0 : byte == 0xf4 ? AFTER_F4 : THREE_MORE;
}

static uint8_t next_of_character(uint8_t state, uint8_t byte, qn_plain_kind kind)
{
    static const struct {
        uint8_t least, most, next;
    } rules[] = {[ONE_MORE] = {0x80, 0xbf, WHOLE},      [TWO_MORE] = {0x80, 0xbf, ONE_MORE},
                 [THREE_MORE] = {0x80, 0xbf, TWO_MORE}, [AFTER_E0] = {0xa0, 0xbf, ONE_MORE},
                 [AFTER_ED] = {0x80, 0x9f, ONE_MORE},   [AFTER_F0] = {0x90, 0xbf, TWO_MORE},
                 [AFTER_F4] = {0x80, 0x8f, TWO_MORE}};
    if (state == WHOLE) return first_of_character(byte, kind);
    return byte >= rules[state].least && byte <= rules[state].most ? rules[state].next : NOT_PLAIN;
}

size_t qn_plain_count(const char *bytes, size_t n_bytes, qn_plain_kind kind)
{
    size_t n = 0;
    uint8_t state = WHOLE;
    for (size_t i = 0; i < n_bytes; i++) {
        state = next_of_character(state, (uint8_t)bytes[i], kind);
        if (state == NOT_PLAIN) return 0;
        n += state == WHOLE;
    }
    return state == WHOLE ? n : 0;
}

/* ---- the object -------------------------------------------------------------------------------- */

typedef struct pair {
    qn_place place;
    uint8_t state, n_characters; /* that are whole */
} pair;

typedef struct step { /* by a rule, from a place */
    qn_place to;
    bool is_known, is_all; /* is_all: no other plain character can come, and each leads there */
} step;

typedef enum rule_kind { UNKNOWN, PLAIN, OTHER } rule_kind;

typedef struct pair_set {
    pair items[MAX_PAIRS]; /* [n] in the order in which they were met */
    size_t n;
} pair_set;

struct qn_plain_text {
    qn_automaton *automaton;
    pair_set between, inside; /* of characters */
    uint8_t samples[256];     /* [n_samples] one of all bytes that nothing tells apart */
    size_t n_samples;
    bool *reads_plain; /* [n_states] the first byte of a plain character */
    uint8_t
        *rule_kinds; /* [n_rules] PLAIN: each plain character is a text of it, after which nothing follows */
    uint32_t
        *n_readers; /* [n_rules] of a plain one: configurations at its beginning that read a plain byte */
    step *steps;    /* [step_capacity] by place */
    size_t step_capacity;
};

static void find_samples(qn_plain_text *p, const qn_network *network)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        const uint8_t b = (uint8_t)byte, before = (uint8_t)(byte - 1);
        bool is_new = byte == 0 || network->class_of[byte] != network->class_of[byte - 1] ||
                      is_word_byte(b) != is_word_byte(before);
        for (uint8_t s = WHOLE; s < N_STATES && !is_new; s++)
            is_new = next_of_character(s, b, QN_PLAIN_ANY) != next_of_character(s, before, QN_PLAIN_ANY);
        if (is_new) p->samples[p->n_samples++] = b;
    }
}

static void find_readers(qn_plain_text *p, const qn_network *network)
{
    for (size_t state = 0; state < network->n_states; state++)
        for (uint32_t k = network->states[state]; k != QN_NO_EDGE && !p->reads_plain[state];
             k = network->edges[k].next) {
            const qn_edge *edge = &network->edges[k];
            if (edge->kind != QN_EDGE_BYTES) continue;
            for (unsigned byte = edge->first; byte <= edge->last && !p->reads_plain[state]; byte++)
                p->reads_plain[state] = first_of_character((uint8_t)byte, QN_PLAIN_ANY) != NOT_PLAIN;
        }
}

qn_plain_text *qn_plain_text_create(qn_automaton *automaton, const qn_network *network)
{
    qn_plain_text *p = qn_calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    p->automaton = automaton;
    p->reads_plain = qn_calloc(network->n_states + 1, sizeof *p->reads_plain);
    p->rule_kinds = qn_calloc(network->n_rules + 1, sizeof *p->rule_kinds);
    p->n_readers = qn_calloc(network->n_rules + 1, sizeof *p->n_readers);
    if (p->reads_plain == NULL || p->rule_kinds == NULL || p->n_readers == NULL) {
        qn_plain_text_destroy(p);
        return NULL;
    }
    find_samples(p, network);
    find_readers(p, network);
    return p;
}

void qn_plain_text_destroy(qn_plain_text *p)
{
    if (p == NULL) return;
    qn_free(p->reads_plain), qn_free(p->rule_kinds), qn_free(p->n_readers), qn_free(p->steps);
    qn_free(p);
}

void qn_plain_text_forget(qn_plain_text *p)
{
    if (p->step_capacity > 0) memset(p->steps, 0, p->step_capacity * sizeof *p->steps);
}

/* ---- by bytes of every kind -------------------------------------------------------------------- */

static bool add_pair(pair_set *set, pair added)
{
    for (size_t i = set->n; i-- > 0;)
        if (set->items[i].place == added.place && set->items[i].state == added.state)
            return true; /* met with fewer characters, or as many */
    if (set->n == MAX_PAIRS) return false;
    set->items[set->n++] = added;
    return true;
}

/* Adds what follows a pair; false: some character of the kind leads nowhere. */
static bool add_followers(qn_plain_text *p, pair from, qn_plain_kind kind)
{
    pair last = from;
    for (size_t k = 0; k < p->n_samples; k++) {
        const uint8_t state = next_of_character(from.state, p->samples[k], kind);
        if (state == NOT_PLAIN) continue;
        const qn_place to = qn_automaton_step(p->automaton, from.place, p->samples[k]);
        if (to == last.place && state == last.state) continue; /* most bytes lead to the same */
        last = (pair){to, state, (uint8_t)(from.n_characters + (state == WHOLE))};
        if (to == QN_PLACE_DEAD || !add_pair(state == WHOLE ? &p->between : &p->inside, last)) return false;
    }
    return true;
}

/* Breadth first by whole characters, however many bytes they have: so a place is met first with the fewest
 * characters before it, and the first character that leads nowhere ends the run. p->between are then the
 * places after one character and more, `from` among them if it is met again. */
static unsigned run_by_bytes(qn_plain_text *p, qn_place from, qn_plain_kind kind, unsigned most)
{
    size_t n_followed = 0, n_inside_followed = 0;
    p->between.n = p->inside.n = 0;
    for (pair at = {from, WHOLE, 0}; at.n_characters < most; at = p->between.items[n_followed++]) {
        if (!add_followers(p, at, kind)) return at.n_characters;
        for (; n_inside_followed < p->inside.n; n_inside_followed++)
            if (!add_followers(p, p->inside.items[n_inside_followed], kind)) return at.n_characters;
        if (n_followed == p->between.n) return most; /* any number may come */
    }
    return most;
}

/* ---- by rules ---------------------------------------------------------------------------------- */

static uint32_t count_readers(const qn_plain_text *p, qn_place at, uint32_t *rule)
{
    size_t n;
    uint32_t n_readers = 0;
    const qn_configuration *c = qn_automaton_configurations(p->automaton, at, &n);
    *rule = QN_NO_RULE;
    for (size_t i = 0; i < n; i++) {
        if (!p->reads_plain[c[i].state]) continue;
        const uint32_t begun = qn_automaton_rule_of(p->automaton, c[i].state);
        if (begun != QN_NO_RULE && p->rule_kinds[begun] != OTHER && *rule == QN_NO_RULE) *rule = begun;
        n_readers++;
    }
    return n_readers;
}

static bool is_plain_rule(qn_plain_text *p, uint32_t rule)
{
    uint32_t ignored;
    if (p->rule_kinds[rule] != UNKNOWN) return p->rule_kinds[rule] == PLAIN;
    const qn_place begin = qn_automaton_rule_begin(p->automaton, rule);
    bool is_plain = begin != QN_PLACE_DEAD && run_by_bytes(p, begin, QN_PLAIN_ANY, 1) == 1;
    for (size_t i = 0; is_plain && i < p->between.n; i++)
        if (p->between.items[i].n_characters == 1)
            is_plain = qn_automaton_accepts(p->automaton, p->between.items[i].place) &&
                       qn_automaton_is_final(p->automaton, p->between.items[i].place);
    p->rule_kinds[rule] = is_plain ? PLAIN : OTHER;
    p->n_readers[rule] = is_plain ? count_readers(p, begin, &ignored) : 0;
    return is_plain;
}

/* Where any plain character leads. NULL: no memory. */
static const step *find_step(qn_plain_text *p, qn_place at)
{
    const size_t before = p->step_capacity;
    uint32_t rule;
    if (!qn_grow(&p->steps, &p->step_capacity, (size_t)at + 1, UINT32_MAX, sizeof *p->steps)) return NULL;
    if (p->step_capacity > before)
        memset(p->steps + before, 0, (p->step_capacity - before) * sizeof *p->steps);
    if (p->steps[at].is_known) return &p->steps[at];
    uint32_t n_readers = count_readers(p, at, &rule);
    while (rule != QN_NO_RULE && !is_plain_rule(p, rule)) n_readers = count_readers(p, at, &rule);
    step s = {.is_known = true, .is_all = n_readers == 0};
    if (rule != QN_NO_RULE) {
        s.to = qn_automaton_after_rule(p->automaton, at, rule);
        s.is_all = n_readers == p->n_readers[rule];
    }
    p->steps[at] = s;
    return &p->steps[at];
}

/* *is_known: the run is by rules as far as it goes. */
static unsigned run_by_rules(qn_plain_text *p, qn_place from, bool *is_known, bool *is_all)
{
    qn_place at = from;
    *is_all = *is_known = true;
    for (unsigned n = 0; n < QN_PLAIN_MOST; n++) {
        const step *s = find_step(p, at);
        *is_all &= s != NULL && s->is_all;
        if (s == NULL || s->to == QN_PLACE_DEAD) {
            *is_known = *is_all || n > 0;
            return n;
        }
        if (s->to == at) return QN_PLAIN_MOST;
        at = s->to;
    }
    return QN_PLAIN_MOST;
}

unsigned qn_plain_text_run(qn_plain_text *p, qn_place from, qn_plain_kind kind, bool *is_all)
{
    bool is_known;
    unsigned n = run_by_rules(p, from, &is_known, is_all);
    if (is_known && (*is_all || kind == QN_PLAIN_ANY)) return n;
    *is_all = false;
    return run_by_bytes(p, from, kind, MOST_BY_BYTES);
}
