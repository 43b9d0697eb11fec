/* pattern_automaton.c: see pattern_automaton.h. Classes come first, then states, found one from the other
 * (the construction of subsets, Rabin and Scott 1959, with ordered lists in place of sets). */
#include "vocab/pattern_automaton.h"

#include "base/alloc.h"
#include "vocab/ascii.h"
#include "vocab/pattern.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { MAX_STATES = 2048, MAX_CLASSES = 255, N_CATEGORIES = 30 };

typedef struct list {
    uint32_t begin, count; /* in builder.places */
} list;

typedef struct builder {
    qn_pattern_automaton *a;
    qn_pattern pattern;
    uint64_t members[MAX_CLASSES + 1]; /* by class: bit per set that has its characters */
    const uint8_t *categories;
    list states[MAX_STATES];
    uint16_t *places; /* nodes of the pattern, list after list */
    size_t n_places, place_capacity, step_capacity;
    uint16_t next[QN_PATTERN_NODES]; /* the list being made */
    uint32_t n_next;
    bool is_visited[QN_PATTERN_NODES], is_listed[QN_PATTERN_NODES];
    bool failed, no_memory;
} builder;

/* ---- classes ----------------------------------------------------------------------------------- */

static uint8_t class_of_members(builder *b, uint64_t members)
{
    qn_pattern_automaton *a = b->a;
    for (size_t i = 1; i < a->n_classes; i++)
        if (b->members[i] == members) return (uint8_t)i;
    if (a->n_classes > MAX_CLASSES) {
        b->failed = true;
        return QN_PATTERN_AUTOMATON_END;
    }
    b->members[a->n_classes] = members;
    return (uint8_t)a->n_classes++;
}

static uint8_t find_class(builder *b, uint32_t character, int category)
{
    const qn_pattern *p = &b->pattern;
    uint64_t members = 0;
    for (uint32_t i = 0; i < p->n_sets; i++)
        members |= (uint64_t)qn_pattern_set_has(p, &p->sets[i], character, category) << i;
    return class_of_members(b, members);
}

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Where a range begins or has ended: between two such places the class follows from the category. */
static size_t find_borders(const qn_pattern *p, uint32_t *borders)
{
    size_t n = 0;
    borders[n++] = 0;
    for (uint32_t i = 0; i < p->n_ranges; i++) {
        borders[n++] = p->ranges[i].first;
        borders[n++] = p->ranges[i].last + 1;
    }
    borders[n++] = QN_PATTERN_AUTOMATON_DIRECT;
    qsort(borders, n, sizeof *borders, by_number);
    return n;
}

static void fill_classes(builder *b, uint8_t *classes)
{
    uint32_t borders[2 * QN_PATTERN_RANGES + 2];
    const size_t n = find_borders(&b->pattern, borders);
    b->a->n_classes = 1; /* the end */
    for (size_t i = 0; i + 1 < n; i++) {
        uint8_t known[N_CATEGORIES] = {0};
        for (uint32_t c = borders[i]; c < borders[i + 1] && c < QN_PATTERN_AUTOMATON_DIRECT; c++) {
            uint8_t *class = &known[b->categories[c]];
            if (*class == QN_PATTERN_AUTOMATON_END) *class = find_class(b, c, b->categories[c]);
            classes[c] = *class;
        }
    }
    for (int category = 0; category < N_CATEGORIES; category++)
        b->a->beyond[category] = find_class(b, QN_PATTERN_AUTOMATON_DIRECT, category);
    if (borders[n - 1] > QN_PATTERN_AUTOMATON_DIRECT) b->failed = true; /* such a range could not be told */
}

/* Pages of one class throughout, which most are, exist once for each class. */
static bool make_pages(builder *b, const uint8_t *classes)
{
    qn_pattern_automaton *a = b->a;
    enum { N_PAGES = QN_PATTERN_AUTOMATON_DIRECT / QN_PATTERN_AUTOMATON_PAGE };
    uint16_t uniform[MAX_CLASSES + 1] = {0}; /* page + 1 */
    size_t capacity = 0;
    for (size_t i = 0; i < N_PAGES; i++) {
        const uint8_t *page = classes + i * QN_PATTERN_AUTOMATON_PAGE;
        const bool is_uniform = memcmp(page, page + 1, QN_PATTERN_AUTOMATON_PAGE - 1) == 0;
        if (is_uniform && uniform[page[0]] != 0) {
            a->page_of[i] = (uint16_t)(uniform[page[0]] - 1);
            continue;
        }
        if (!qn_grow(&a->pages, &capacity, (a->n_pages + 1) * QN_PATTERN_AUTOMATON_PAGE,
                     QN_PATTERN_AUTOMATON_DIRECT, 1))
            return false;
        memcpy(a->pages + a->n_pages * QN_PATTERN_AUTOMATON_PAGE, page, QN_PATTERN_AUTOMATON_PAGE);
        a->page_of[i] = (uint16_t)a->n_pages++;
        if (is_uniform) uniform[page[0]] = (uint16_t)a->n_pages;
    }
    memcpy(a->ascii, classes, sizeof a->ascii);
    return true;
}

uint8_t qn_pattern_automaton_class_beyond(const qn_pattern_automaton *a, uint32_t character)
{
    return a->beyond[utf8proc_category((utf8proc_int32_t)character)];
}

/* ---- states ------------------------------------------------------------------------------------ */

static bool has_class(const builder *b, uint16_t set, uint8_t class)
{
    return class != QN_PATTERN_AUTOMATON_END && (b->members[class] >> set & 1);
}

static void add_next(builder *b, uint16_t node)
{
    if (b->is_listed[node]) return;
    b->is_listed[node] = true;
    b->next[b->n_next++] = node;
}

static void begin_list(builder *b)
{
    b->n_next = 0;
    memset(b->is_visited, 0, sizeof b->is_visited);
    memset(b->is_listed, 0, sizeof b->is_listed);
}

/* Follows a node to the characters that may come, the preferred ones first. True: a match ends here, and
 * whatever would come later is not preferred to it. As deep as the network. */
static bool follow(builder *b, uint16_t node, uint8_t class)
{
    const qn_pattern_node n = b->pattern.nodes[node];
    if (b->is_visited[node]) return false;
    b->is_visited[node] = true;
    switch (n.kind) {
    case QN_NODE_SET:
        if (has_class(b, n.set, class)) add_next(b, n.next);
        return false;
    case QN_NODE_EITHER:
        return follow(b, n.next, class) || follow(b, n.other, class);
    case QN_NODE_NOT_AHEAD:
        return !has_class(b, n.set, class) && follow(b, n.next, class);
    case QN_NODE_AT_END:
        return class == QN_PATTERN_AUTOMATON_END && follow(b, n.next, class);
    case QN_NODE_NOT_BEHIND:
        b->failed = true; /* only the beginning knows what was before */
        return false;
    case QN_NODE_MATCH:
        return true;
    }
    return false;
}

/* The places that a match can begin at after a character of class `before`. */
static void follow_start(builder *b, uint16_t node, uint8_t before)
{
    const qn_pattern_node n = b->pattern.nodes[node];
    if (b->is_visited[node]) return;
    b->is_visited[node] = true;
    if (n.kind == QN_NODE_EITHER) {
        follow_start(b, n.next, before);
        follow_start(b, n.other, before);
    } else if (n.kind != QN_NODE_NOT_BEHIND) {
        add_next(b, node);
    } else if (!has_class(b, n.set, before)) {
        follow_start(b, n.next, before);
    }
}

static bool add_state(builder *b)
{
    qn_pattern_automaton *a = b->a;
    if (a->n_states == MAX_STATES) {
        b->failed = true;
        return false;
    }
    const size_t stride = (size_t)1 << a->stride_bits;
    if (!qn_grow(&b->places, &b->place_capacity, b->n_places + b->n_next, SIZE_MAX / 4, sizeof *b->places) ||
        !qn_grow(&a->steps, &b->step_capacity, (a->n_states + 1) * stride, SIZE_MAX / 4, sizeof *a->steps)) {
        b->no_memory = true;
        return false;
    }
    memset(a->steps + a->n_states * stride, 0, stride * sizeof *a->steps);
    if (b->n_next > 0) memcpy(b->places + b->n_places, b->next, b->n_next * sizeof *b->places);
    b->states[a->n_states++] = (list){(uint32_t)b->n_places, b->n_next};
    b->n_places += b->n_next;
    return true;
}

/* The state of the list that was made, a new one if need be. */
static uint16_t state_of_list(builder *b)
{
    for (size_t i = 0; i < b->a->n_states; i++) {
        const list s = b->states[i];
        if (s.count == b->n_next && memcmp(b->places + s.begin, b->next, s.count * sizeof *b->next) == 0)
            return (uint16_t)i;
    }
    return add_state(b) ? (uint16_t)(b->a->n_states - 1) : QN_PATTERN_AUTOMATON_DEAD;
}

static uint16_t step(builder *b, size_t state, uint8_t class)
{
    const list s = b->states[state];
    bool matched = false;
    begin_list(b);
    for (uint32_t i = 0; i < s.count && !matched; i++) matched = follow(b, b->places[s.begin + i], class);
    return (uint16_t)(state_of_list(b) << 1 | matched);
}

static void make_states(builder *b)
{
    qn_pattern_automaton *a = b->a;
    while ((size_t)1 << a->stride_bits < a->n_classes) a->stride_bits++;
    begin_list(b);
    if (!add_state(b)) return; /* the dead one, of an empty list */
    for (size_t class = 0; class < a->n_classes; class ++) {
        begin_list(b);
        follow_start(b, b->pattern.start, (uint8_t) class);
        a->starts[class] = state_of_list(b);
    }
    for (size_t state = 1; state < a->n_states && !b->failed && !b->no_memory; state++) {
        for (size_t class = 0; class < a->n_classes; class ++) {
            const uint16_t to = step(b, state, (uint8_t) class); /* may move the table */
            a->steps[(state << a->stride_bits) + class] = to;
        }
    }
    a->begins_with_any = true;
    for (size_t class = 1; class < a->n_classes; class ++) {
        for (size_t before = 0; before < a->n_classes; before++)
            a->begins[class] |= a->steps[((size_t)a->starts[before] << a->stride_bits) + class] >> 1 !=
                                QN_PATTERN_AUTOMATON_DEAD;
        a->begins_with_any &= a->begins[class];
    }
}

static bool stays(const qn_pattern_automaton *a, size_t state, char first, char last)
{
    for (int c = first; c <= last; c++)
        if (a->steps[(state << a->stride_bits) + a->ascii[c]] >> 1 != state) return false;
    return true;
}

/* A match that ends within a run is given up for one that ends after it: there must be one then. */
static bool find_runs(builder *b)
{
    qn_pattern_automaton *a = b->a;
    a->runs = qn_calloc(a->n_states, sizeof *a->runs);
    if (a->runs == NULL) return false;
    for (size_t state = 1; state < a->n_states; state++) {
        bool always_ends = true;
        for (size_t class = 0; class < a->n_classes; class ++)
            always_ends &= a->steps[(state << a->stride_bits) + class] & 1;
        if (!always_ends || !stays(a, state, 'a', 'z')) continue;
        a->runs[state] = stays(a, state, 'A', 'Z') ? QN_RUN_LETTERS : QN_RUN_SMALL_LETTERS;
    }
    return true;
}

quern_status qn_pattern_automaton_init(qn_pattern_automaton *a, const char *pattern,
                                       const uint8_t *categories, quern_error *err)
{
    memset(a, 0, sizeof *a);
    builder *b = qn_calloc(1, sizeof *b);
    uint8_t *classes = qn_malloc(QN_PATTERN_AUTOMATON_DIRECT);
    const char *wrong = NULL;
    if (b != NULL && classes != NULL) {
        b->a = a;
        b->categories = categories;
        wrong = qn_pattern_read(&b->pattern, pattern);
        if (wrong == NULL) fill_classes(b, classes);
        if (wrong == NULL && !make_pages(b, classes)) b->no_memory = true;
        if (wrong == NULL && !b->failed && !b->no_memory) make_states(b);
        if (wrong == NULL && !b->failed && !b->no_memory && !find_runs(b)) b->no_memory = true;
        if (b->failed && wrong == NULL) wrong = pattern;
    }
    const bool no_memory = b == NULL || classes == NULL || b->no_memory;
    if (b != NULL) qn_free(b->places);
    qn_free(b);
    qn_free(classes);
    if (no_memory || wrong != NULL) qn_pattern_automaton_deinit(a);
    if (no_memory) return qn_fail(err, QUERN_ERR_NOMEM, "pre-tokenizer pattern: out of memory");
    if (wrong != NULL)
        return qn_fail(err, QUERN_ERR_UNSUPPORTED, "pre-tokenizer pattern: cannot be read at '%.40s'", wrong);
    return QUERN_OK;
}

void qn_pattern_automaton_deinit(qn_pattern_automaton *a)
{
    qn_free(a->pages);
    qn_free(a->steps);
    qn_free(a->runs);
    memset(a, 0, sizeof *a);
}

/* ---- matching ---------------------------------------------------------------------------------- */

/* Passes over the letters of the eight bytes that follow. False: there are not eight, or no letter. */
static inline bool pass_run(const qn_pattern_automaton *a, size_t state, const char *text, size_t n_bytes,
                            qn_pattern_automaton_place *at)
{
    if (n_bytes - at->at < QN_ASCII_STEP) return false;
    const size_t n = qn_ascii_letters(text + at->at, a->runs[state] == QN_RUN_LETTERS);
    if (n == 0) return false;
    at->at += n;
    at->before = a->ascii[(uint8_t)text[at->at - 1]];
    return true;
}

bool qn_pattern_automaton_match(const qn_pattern_automaton *a, const char *text, size_t n_bytes,
                                qn_pattern_automaton_place *place)
{
    const size_t begin = place->at;
    const uint16_t *const steps = a->steps;
    qn_pattern_automaton_place at = *place;
    size_t state = a->starts[at.before];
    do {
        size_t length;
        while (a->runs[state] != QN_RUN_NONE && pass_run(a, state, text, n_bytes, &at)) {
        }
        const uint8_t class = qn_pattern_automaton_class(a, text + at.at, n_bytes - at.at, &length);
        const uint16_t to = steps[(state << a->stride_bits) + class];
        if (to & 1) *place = at;
        state = to >> 1;
        at.at += length;
        at.before = class;
    } while (state != QN_PATTERN_AUTOMATON_DEAD);
    return place->at > begin;
}

/* ---- one after the other ----------------------------------------------------------------------- */

/* What is known while `next` searches a match of `a`: the states of both, and whether it began to search at
 * the start of the match. Each is visited once. */
typedef struct search {
    const qn_pattern_automaton *a, *next;
    uint8_t characters[128]; /* one for each pair of classes */
    size_t n_characters;
    bool *is_known; /* [a->n_states][next->n_states][2] */
    uint32_t *open; /* indices of is_known that are to be followed */
    size_t n_open;
    bool may_cut;
} search;

static void choose_characters(search *s)
{
    for (uint8_t c = 0; c < 128; c++) {
        bool is_new = true;
        for (size_t i = 0; i < s->n_characters && is_new; i++)
            is_new = s->a->ascii[s->characters[i]] != s->a->ascii[c] ||
                     s->next->ascii[s->characters[i]] != s->next->ascii[c];
        if (is_new) s->characters[s->n_characters++] = c;
    }
}

static uint16_t step_of(const qn_pattern_automaton *a, size_t state, uint8_t class)
{
    return a->steps[(state << a->stride_bits) + class];
}

static void note(search *s, size_t state, size_t next_state, bool at_start)
{
    const size_t at = (state * s->next->n_states + next_state) * 2 + at_start;
    if (s->is_known[at]) return;
    s->is_known[at] = true;
    s->open[s->n_open++] = (uint32_t)at;
}

static bool may_end(const qn_pattern_automaton *a, size_t state)
{
    for (size_t class = 0; class < a->n_classes; class ++)
        if (step_of(a, state, (uint8_t) class) & 1) return true;
    return false;
}

/* The dead state of `next` stands for a search that has not begun: it may begin after each character. */
static void follow_search(search *s, uint32_t at)
{
    const bool at_start = at % 2;
    const size_t next_state = at / 2 % s->next->n_states, state = at / 2 / s->next->n_states;
    const bool at_end = step_of(s->next, next_state, QN_PATTERN_AUTOMATON_END) & 1;
    if (at_end && !at_start && may_end(s->a, state)) s->may_cut = true;
    for (size_t i = 0; i < s->n_characters; i++) {
        const uint8_t c = s->characters[i];
        const size_t to = step_of(s->a, state, s->a->ascii[c]) >> 1;
        if (to == QN_PATTERN_AUTOMATON_DEAD) continue;
        if (next_state == QN_PATTERN_AUTOMATON_DEAD) {
            note(s, to, QN_PATTERN_AUTOMATON_DEAD, false);
            note(s, to, s->next->starts[s->next->ascii[c]], false);
            continue;
        }
        const uint16_t next_to = step_of(s->next, next_state, s->next->ascii[c]);
        if (next_to & 1) s->may_cut = true;
        if (next_to >> 1 != QN_PATTERN_AUTOMATON_DEAD) note(s, to, next_to >> 1, at_start);
    }
}

bool qn_pattern_automaton_may_cut(const qn_pattern_automaton *a, const qn_pattern_automaton *next)
{
    search s = {.a = a, .next = next};
    const size_t n_known = a->n_states * next->n_states * 2;
    s.is_known = qn_calloc(n_known, sizeof *s.is_known);
    s.open = qn_malloc(n_known * sizeof *s.open);
    if (s.is_known != NULL && s.open != NULL) {
        choose_characters(&s);
        for (size_t before = 0; before < a->n_classes; before++) {
            note(&s, a->starts[before], QN_PATTERN_AUTOMATON_DEAD, false);
            note(&s, a->starts[before], next->starts[QN_PATTERN_AUTOMATON_END], true);
        }
        while (s.n_open > 0 && !s.may_cut) follow_search(&s, s.open[--s.n_open]);
    } else {
        s.may_cut = true;
    }
    qn_free(s.is_known);
    qn_free(s.open);
    return s.may_cut;
}
