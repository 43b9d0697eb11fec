/* grammar.c: grammars, and the matchers that samplers borrow from them. */
#include "engine/grammar.h"

#include "base/alloc.h"
#include "grammar/choice.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* ---- the tokens of a model --------------------------------------------------------------------- */

struct qn_model_tokens {
    pthread_mutex_t lock;
    uint64_t number; /* no other model of this process ever has it; 0: the table is not made yet */
    qn_token_table table;
};

quern_status qn_model_tokens_create(qn_model_tokens **out, quern_error *err)
{
    qn_model_tokens *t = *out = qn_calloc(1, sizeof *t);
    if (t == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "model object: no memory");
    pthread_mutex_init(&t->lock, NULL);
    return QUERN_OK;
}

void qn_model_tokens_destroy(qn_model_tokens *t)
{
    if (t == NULL) return;
    qn_token_table_deinit(&t->table);
    pthread_mutex_destroy(&t->lock);
    qn_free(t);
}

/* Makes the table when it is first asked for: most models never meet a grammar. */
static quern_status make_table(const quern_model *m, quern_error *err)
{
    static _Atomic uint64_t last_number;
    qn_model_tokens *t = m->tokens;
    quern_status s = QUERN_OK;
    pthread_mutex_lock(&t->lock);
    if (t->number == 0) s = qn_token_table_init(&t->table, m->vocab, err);
    if (t->number == 0 && s == QUERN_OK) t->number = atomic_fetch_add(&last_number, 1) + 1;
    pthread_mutex_unlock(&t->lock);
    return s;
}

/* ---- grammars ---------------------------------------------------------------------------------- */

typedef struct idle_matcher {
    struct idle_matcher *next;
    qn_matcher *matcher;
    uint64_t number; /* of the model's tokens */
} idle_matcher;

struct quern_grammar {
    qn_network network;
    pthread_mutex_t lock;
    idle_matcher *idle;
};

quern_grammar_params quern_grammar_params_default(void)
{
    return (quern_grammar_params){.struct_bytes = sizeof(quern_grammar_params)};
}

/* texts: a JSON array of strings. */
static quern_status build_choice(qn_network *network, const char *text, size_t n_bytes, quern_error *err)
{
    json_error_t where;
    json_t *array = json_loadb(text, n_bytes, JSON_ALLOW_NUL, &where);
    const size_t n = json_array_size(array);
    const char **texts = qn_calloc(n + 1, sizeof *texts);
    size_t *lengths = qn_calloc(n + 1, sizeof *lengths);
    quern_status s =
        texts != NULL && lengths != NULL ? QUERN_OK : qn_fail(err, QUERN_ERR_NOMEM, "choice: no memory");
    if (s == QUERN_OK && !json_is_array(array))
        s = qn_fail(err, QUERN_ERR_ARGUMENT, "choice: a JSON array of strings is needed%s%s",
                    array == NULL ? ": " : "", array == NULL ? where.text : "");
    for (size_t i = 0; i < n && s == QUERN_OK; i++) {
        const json_t *item = json_array_get(array, i);
        texts[i] = json_string_value(item);
        lengths[i] = json_string_length(item);
        if (texts[i] == NULL) s = qn_fail(err, QUERN_ERR_ARGUMENT, "choice: item %zu is no string", i);
    }
    if (s == QUERN_OK) s = qn_choice_build(network, texts, lengths, n, err);
    qn_free(texts), qn_free(lengths);
    json_decref(array);
    return s;
}

static quern_status build(qn_network *network, const quern_grammar_params *p, quern_error *err)
{
    const qn_json_whitespace whitespace = p->compact ? QN_JSON_COMPACT : QN_JSON_FLEXIBLE;
    const qn_json_schema_options options = {.whitespace = whitespace, .named_only = !p->open_objects};
    const char *text = p->text != NULL ? p->text : "";
    switch (p->kind) {
    case QUERN_GRAMMAR_GBNF:
        return qn_gbnf_build(network, text, p->n_bytes, err);
    case QUERN_GRAMMAR_JSON_SCHEMA:
        return qn_json_schema_build_text(network, text, p->n_bytes, &options, err);
    case QUERN_GRAMMAR_REGEX:
        return qn_regex_build(network, text, p->n_bytes, p->found_anywhere ? QN_REGEX_SEARCH : QN_REGEX_WHOLE,
                              err);
    case QUERN_GRAMMAR_JSON_OBJECT:
        return qn_json_any_build(network, true, whitespace, err);
    case QUERN_GRAMMAR_CHOICE:
        return build_choice(network, text, p->n_bytes, err);
    }
    return qn_fail(err, QUERN_ERR_ARGUMENT, "grammar: there is no kind %d", (int)p->kind);
}

quern_status qn_grammar_of_network(quern_grammar **out, qn_network *network, quern_error *err)
{
    quern_grammar *g = *out = qn_calloc(1, sizeof *g);
    if (g == NULL) {
        qn_network_deinit(network);
        return qn_fail(err, QUERN_ERR_NOMEM, "grammar: no memory");
    }
    g->network = *network;
    pthread_mutex_init(&g->lock, NULL);
    return QUERN_OK;
}

const qn_network *qn_grammar_network(const quern_grammar *g)
{
    return &g->network;
}

quern_status quern_grammar_create(quern_grammar **out, const quern_grammar_params *params, quern_error *err)
{
    quern_grammar_params p = quern_grammar_params_default();
    qn_network network;
    *out = NULL;
    memcpy(&p, params, params->struct_bytes < sizeof p ? params->struct_bytes : sizeof p);
    const quern_status s = build(&network, &p, err);
    return s == QUERN_OK ? qn_grammar_of_network(out, &network, err) : s;
}

void quern_grammar_destroy(quern_grammar *g)
{
    if (g == NULL) return;
    while (g->idle != NULL) {
        idle_matcher *first = g->idle;
        g->idle = first->next;
        qn_matcher_destroy(first->matcher);
        qn_free(first);
    }
    qn_network_deinit(&g->network);
    pthread_mutex_destroy(&g->lock);
    qn_free(g);
}

quern_status quern_grammar_matches(const quern_grammar *g, const char *text, size_t n_bytes, bool *matches,
                                   quern_error *err)
{
    qn_automaton *a;
    quern_status s = qn_automaton_create(&a, &g->network, err);
    if (s != QUERN_OK) return s;
    qn_place at = qn_automaton_begin(a);
    for (size_t i = 0; i < n_bytes && at != QN_PLACE_DEAD; i++) {
        qn_automaton_rest(a);
        at = qn_automaton_step(a, at, (uint8_t)text[i]);
        qn_automaton_tidy(a, &at);
    }
    *matches = qn_automaton_accepts(a, at);
    s = qn_automaton_status(a, err);
    qn_automaton_destroy(a);
    return s;
}

/* ---- lending ----------------------------------------------------------------------------------- */

/* Takes an idle matcher for these tokens out of the list; NULL: there is none. The list alone changes, under
 * its lock, so the grammar stays the same for everybody. */
static qn_matcher *take_idle(quern_grammar *g, uint64_t number)
{
    qn_matcher *found = NULL;
    pthread_mutex_lock(&g->lock);
    for (idle_matcher **i = &g->idle; *i != NULL && found == NULL; i = &(*i)->next) {
        idle_matcher *this = *i;
        if (this->number != number) continue;
        found = this->matcher;
        *i = this->next;
        qn_free(this);
        break;
    }
    pthread_mutex_unlock(&g->lock);
    return found;
}

quern_status qn_grammar_borrow(const quern_grammar *g, const quern_model *m, qn_matcher **out,
                               quern_error *err)
{
    const quern_status s = make_table(m, err);
    if (s != QUERN_OK) return s;
    *out = take_idle((quern_grammar *)(uintptr_t)g, m->tokens->number);
    return *out != NULL ? QUERN_OK : qn_matcher_create(out, &g->network, &m->tokens->table, err);
}

void qn_grammar_give_back(const quern_grammar *g, const quern_model *m, qn_matcher *matcher)
{
    quern_grammar *owner = (quern_grammar *)(uintptr_t)g;
    idle_matcher *i =
        matcher != NULL && qn_matcher_status(matcher, NULL) == QUERN_OK ? qn_malloc(sizeof *i) : NULL;
    if (i == NULL) { /* of no more use, or no memory to note it */
        qn_matcher_destroy(matcher);
        return;
    }
    pthread_mutex_lock(&owner->lock);
    *i = (idle_matcher){owner->idle, matcher, m->tokens->number};
    owner->idle = i;
    pthread_mutex_unlock(&owner->lock);
}
