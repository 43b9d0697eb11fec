/* json_notation.c: strings and keys where the notation is not JSON's (json_expression.h).
 *
 * Strings have no escapes, so what ends them must not come within: how much of the quote's text stands at the
 * end of what is written is followed as by the string search of Knuth, Morris and Pratt (1977), and the
 * character that would complete it is missing. Since its first character occurs in it once, there is little
 * to know:
 *
 *     matched k --the next of it--> matched k + 1        (not to the whole)
 *               --the first of it--> matched 1
 *               --any other--------> matched 0
 *
 * Where characters are counted each count has these states. Many of them are taken in blocks, rules that
 * others share: for every two states one that leads from the one to the other. */
#include "grammar/json_expression.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/utf8.h"

#include <assert.h>
#include <string.h>

enum {
    BLOCK = 32,        /* characters */
    MOST_SINGLE = 512, /* more are counted in blocks */
    MOST_COUNTED = 1 << 16,
    MOST_WORD = 64, /* characters */
    LAST_CHARACTER = 0x10ffff,
};

bool qn_json_is_other_notation(const qn_json_writer *w)
{
    return w->notation.quote != NULL;
}

/* ---- keys -------------------------------------------------------------------------------------- */

static const qn_character_range of_words[] = {
    {'$', '$'}, {'+', '+'}, {'-', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}, {0x80, LAST_CHARACTER}};
enum { N_OF_WORDS = sizeof of_words / sizeof of_words[0] };

qn_expression qn_json_words(qn_expressions *e)
{
    return qn_expression_repeat(e, qn_expression_class(e, of_words, N_OF_WORDS, false), 1, MOST_WORD);
}

static bool is_of_words(uint32_t c)
{
    for (size_t i = 0; i < N_OF_WORDS; i++)
        if (c >= of_words[i].first && c <= of_words[i].last) return true;
    return false;
}

bool qn_json_is_word(const char *bytes, size_t n_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; n++) {
        uint32_t c = 0;
        const size_t used = qn_utf8_decode(bytes + i, n_bytes - i, &c);
        if (used == 0 || !is_of_words(c) || n == MOST_WORD) return false;
        i += used;
    }
    return n > 0;
}

qn_expression qn_json_word_or_string(qn_json_writer *w)
{
    const uint32_t character = qn_expression_new_rule(w->e);
    qn_expression_define(w->e, character, qn_expression_class(w->e, of_words, N_OF_WORDS, false));
    const qn_expression choice = qn_expression_group(w->e, QN_EXPRESSION_CHOICE);
    qn_expression_append(w->e, choice,
                         qn_expression_repeat(w->e, qn_expression_rule(w->e, character), 1, MOST_WORD));
    qn_expression_append(w->e, choice, qn_json_shared(w, QN_JSON_STRING));
    return choice;
}

/* ---- the quote --------------------------------------------------------------------------------- */

typedef struct quote_text {
    uint32_t characters[QN_JSON_MAX_QUOTE];
    uint32_t n;
} quote_text;

static quote_text decode_quote(const qn_json_writer *w)
{
    quote_text q = {.n = 0};
    const char *text = w->notation.quote_text;
    const size_t n_bytes = strlen(text);
    for (size_t i = 0; i < n_bytes; q.n++) {
        assert(q.n < QN_JSON_MAX_QUOTE);
        const size_t used = qn_utf8_decode(text + i, n_bytes - i, &q.characters[q.n]);
        assert(used > 0 && (q.n == 0 || q.characters[q.n] != q.characters[0]));
        i += used;
    }
    assert(q.n > 0);
    return q;
}

bool qn_json_holds_quote(const qn_json_writer *w, const char *bytes, size_t n_bytes)
{
    return qn_json_is_other_notation(w) &&
           memmem(bytes, n_bytes, w->notation.quote_text, strlen(w->notation.quote_text)) != NULL;
}

static bool may_hold(const qn_expressions *from, uint32_t c)
{
    char bytes[4];
    const size_t n = qn_utf8_encode(c, bytes);
    for (size_t i = 0; i < from->n_ranges; i++)
        if (c >= from->ranges[i].first && c <= from->ranges[i].last) return true;
    return from->bytes.n_bytes > 0 && memmem(from->bytes.data, from->bytes.n_bytes, bytes, n) != NULL;
}

bool qn_json_may_hold_quote(const qn_json_writer *w, const qn_expressions *from)
{
    if (!qn_json_is_other_notation(w)) return false;
    const quote_text q = decode_quote(w);
    for (uint32_t i = 0; i < q.n; i++)
        if (!may_hold(from, q.characters[i])) return false;
    return true;
}

/* ---- strings ----------------------------------------------------------------------------------- */

/* A graph in layers of q.n states: how much of the quote is matched after as many characters. */
typedef struct layers {
    qn_json_writer *w;
    quote_text q;
    uint32_t n_states;
    qn_graph_edge *edges;
    size_t n_edges, capacity;
} layers;

typedef struct layer_step { /* what leads from one state of a layer to one of another, or QN_NO_EXPRESSION */
    qn_expression ways[QN_JSON_MAX_QUOTE][QN_JSON_MAX_QUOTE];
} layer_step;

static uint32_t add_layer(layers *l)
{
    const uint32_t first = l->n_states;
    l->n_states += l->q.n;
    return first;
}

static void add_edge(layers *l, uint32_t from, uint32_t to, qn_expression part)
{
    if (!qn_grow(&l->edges, &l->capacity, l->n_edges + 1, SIZE_MAX / sizeof *l->edges, sizeof *l->edges))
        l->w->e->failed = l->w->e->no_memory = true;
    else l->edges[l->n_edges++] = (qn_graph_edge){from, to, part};
}

static void add_steps(layers *l, uint32_t from, uint32_t to, const layer_step *step)
{
    for (uint32_t i = 0; i < l->q.n; i++)
        for (uint32_t k = 0; k < l->q.n; k++)
            if (step->ways[i][k] != QN_NO_EXPRESSION) add_edge(l, from + i, to + k, step->ways[i][k]);
}

/* count steps from a layer on; the last layer. */
static uint32_t add_chain(layers *l, uint32_t from, uint32_t count, const layer_step *step)
{
    for (uint32_t i = 0; i < count && !l->w->e->failed; i++) {
        const uint32_t next = add_layer(l);
        add_steps(l, from, next, step);
        from = next;
    }
    return from;
}

/* From each state of a layer to one state, or to that of another layer. */
static void add_empty(layers *l, uint32_t from, uint32_t to, bool to_layer)
{
    for (uint32_t k = 0; k < l->q.n; k++) add_edge(l, from + k, to_layer ? to + k : to, QN_NO_EXPRESSION);
}

/* At most count steps from a layer on, and then the end of the graph. */
static void add_tail(layers *l, uint32_t from, uint32_t count, const layer_step *step)
{
    add_empty(l, from, 1, false);
    for (uint32_t i = 0; i < count && !l->w->e->failed; i++) {
        const uint32_t next = add_chain(l, from, 1, step);
        add_empty(l, next, 1, false);
        from = next;
    }
}

static layers begin_layers(qn_json_writer *w)
{
    return (layers){.w = w, .q = decode_quote(w), .n_states = 2};
}

static qn_expression finish_layers(layers *l)
{
    const qn_expression graph =
        l->w->e->failed ? QN_NO_EXPRESSION : qn_expression_graph(l->w->e, l->n_states, l->edges, l->n_edges);
    qn_free(l->edges);
    return graph;
}

static qn_expression one_character(qn_json_writer *w, uint32_t c)
{
    char bytes[4];
    return qn_expression_text(w->e, bytes, qn_utf8_encode(c, bytes));
}

/* The characters that neither begin the quote nor go on with it after k of it are matched: a rule. */
static qn_expression other_character(qn_json_writer *w, const quote_text *q, uint32_t k)
{
    const uint32_t first = q->characters[0], next = q->characters[k];
    const qn_character_range excluded[] = {
        {0, '\t' - 1}, {'\n' + 1, '\r' - 1}, {'\r' + 1, ' ' - 1}, {first, first}, {next, next}};
    if (w->character_rules[k] == 0) {
        const uint32_t rule = qn_expression_new_rule(w->e);
        w->character_rules[k] = rule + 1;
        qn_expression_define(w->e, rule,
                             qn_expression_class(w->e, excluded, sizeof excluded / sizeof *excluded, true));
    }
    return qn_expression_rule(w->e, w->character_rules[k] - 1);
}

static void make_single_step(qn_json_writer *w, const quote_text *q, layer_step *step)
{
    for (uint32_t k = 0; k < q->n; k++) {
        for (uint32_t to = 0; to < QN_JSON_MAX_QUOTE; to++) step->ways[k][to] = QN_NO_EXPRESSION;
        step->ways[k][0] = other_character(w, q, k);
        if (q->n > 1) step->ways[k][1] = one_character(w, q->characters[0]);
        if (k > 0 && k + 1 < q->n) step->ways[k][k + 1] = one_character(w, q->characters[k]);
    }
}

/* BLOCK characters that lead from one state to another. */
static qn_expression block(qn_json_writer *w, uint32_t from, uint32_t to)
{
    layer_step single;
    if (w->block_rules[from][to] == 0) {
        const uint32_t rule = qn_expression_new_rule(w->e);
        layers l = begin_layers(w);
        w->block_rules[from][to] = rule + 1;
        make_single_step(w, &l.q, &single);
        const uint32_t first = add_layer(&l);
        add_edge(&l, 0, first + from, QN_NO_EXPRESSION);
        add_edge(&l, add_chain(&l, first, BLOCK, &single) + to, 1, QN_NO_EXPRESSION);
        qn_expression_define(w->e, rule, finish_layers(&l));
    }
    return qn_expression_rule(w->e, w->block_rules[from][to] - 1);
}

static void make_block_step(qn_json_writer *w, const quote_text *q, layer_step *step)
{
    for (uint32_t i = 0; i < q->n; i++)
        for (uint32_t k = 0; k < q->n; k++) step->ways[i][k] = block(w, i, k);
}

/* At most count characters from a layer on: fewer blocks than there could be and any rest, or all of them and
 * what is left. */
static void add_tail_in_blocks(layers *l, uint32_t from, uint32_t count, const layer_step *single,
                               const layer_step *blocks)
{
    const uint32_t rest = add_layer(l);
    for (uint32_t i = 0; i < count / BLOCK && !l->w->e->failed; i++) {
        add_empty(l, from, rest, true);
        from = add_chain(l, from, 1, blocks);
    }
    add_tail(l, rest, BLOCK - 1, single);
    add_tail(l, from, count % BLOCK, single);
}

qn_expression qn_json_unquoted_text(qn_json_writer *w, uint32_t min, uint32_t max)
{
    layer_step single, blocks = {{{0}}};
    layers l = begin_layers(w);
    uint32_t at = add_layer(&l);
    if (max > MOST_COUNTED) max = QN_ANY_NUMBER;
    const bool in_blocks = (max != QN_ANY_NUMBER ? max : min) > MOST_SINGLE;
    make_single_step(w, &l.q, &single);
    if (in_blocks) make_block_step(w, &l.q, &blocks);
    add_edge(&l, 0, at, QN_NO_EXPRESSION);
    if (in_blocks) at = add_chain(&l, at, min / BLOCK, &blocks);
    at = add_chain(&l, at, in_blocks ? min % BLOCK : min, &single);
    if (max == QN_ANY_NUMBER) {
        add_steps(&l, at, at, &single);
        add_tail(&l, at, 0, &single);
    } else if (in_blocks) {
        add_tail_in_blocks(&l, at, max - min, &single, &blocks);
    } else {
        add_tail(&l, at, max - min, &single);
    }
    return finish_layers(&l);
}
