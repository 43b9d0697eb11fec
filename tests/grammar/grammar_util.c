/* grammar_util.c: see grammar_util.h. */
#include "grammar_util.h"

#include "grammar/gbnf.h"

#include <stdlib.h>
#include <string.h>

bool test_takes(qn_automaton *a, const char *text, size_t n_bytes)
{
    qn_place at = qn_automaton_begin(a);
    for (size_t i = 0; i < n_bytes; i++) {
        qn_automaton_rest(a);
        at = qn_automaton_step(a, at, (uint8_t)text[i]);
        qn_automaton_tidy(a, &at);
    }
    quern_error err;
    if (qn_automaton_status(a, &err) != QUERN_OK) fail_msg("%s", err.message);
    return qn_automaton_accepts(a, at);
}

test_language test_gbnf(const char *grammar)
{
    test_language l = {.network = calloc(1, sizeof *l.network)};
    quern_error err = {0};
    assert_non_null(l.network);
    if (qn_gbnf_build(l.network, grammar, strlen(grammar), &err) != QUERN_OK) fail_msg("%s", err.message);
    if (qn_automaton_create(&l.automaton, l.network, &err) != QUERN_OK) fail_msg("%s", err.message);
    return l;
}

static test_language open_language(qn_network *network)
{
    test_language l = {.network = network};
    quern_error err = {0};
    if (qn_automaton_create(&l.automaton, network, &err) != QUERN_OK) fail_msg("%s", err.message);
    return l;
}

test_language test_regex(const char *pattern, qn_regex_match match)
{
    qn_network *network = calloc(1, sizeof *network);
    quern_error err = {0};
    assert_non_null(network);
    if (qn_regex_build(network, pattern, strlen(pattern), match, &err) != QUERN_OK)
        fail_msg("%s: %s", pattern, err.message);
    return open_language(network);
}

test_language test_schema(const char *schema, const qn_json_schema_options *options)
{
    qn_network *network = calloc(1, sizeof *network);
    quern_error err = {0};
    assert_non_null(network);
    if (qn_json_schema_build_text(network, schema, strlen(schema), options, &err) != QUERN_OK)
        fail_msg("%s: %s", schema, err.message);
    return open_language(network);
}

void test_language_close(test_language *l)
{
    qn_automaton_destroy(l->automaton);
    qn_network_deinit(l->network);
    free(l->network);
}
