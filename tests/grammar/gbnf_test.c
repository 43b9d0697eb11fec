/* gbnf_test.c: the notation: what stands where, and which sentence tells what is wrong. */
#include "grammar_util.h"

#include "base/alloc.h"
#include "grammar/gbnf.h"

#include <stdlib.h>
#include <string.h>

static void takes(const char *grammar, const char *text, bool wanted)
{
    test_language l = test_gbnf(grammar);
    if (test_takes(l.automaton, text, strlen(text)) != wanted)
        fail_msg("%s: '%s' should %sbe taken", grammar, text, wanted ? "" : "not ");
    test_language_close(&l);
}

static void repetitions_stand_in_each_other(void **state)
{
    (void)state;
    takes("root ::= \"a\"{2}{3}", "aaaaaa", true);
    takes("root ::= \"a\"{2}{3}", "aaaaa", false);
    takes("root ::= \"a\"{0}", "", true);
    takes("root ::= \"a\"{,2} \"b\"", "aab", true);
    takes("root ::= \"a\"{,2} \"b\"", "aaab", false);
    takes("root ::= (\"a\"*)* \"b\"", "aaaab", true);
    takes("root ::= (\"a\"?){3}", "", true);
    takes("root ::= \"a\" * \"b\"", "aab", true);
}

static void rules_may_be_empty_or_recursive(void **state)
{
    (void)state;
    takes("root ::=", "", true);
    takes("root ::= \"a\" | ", "", true);
    takes("root ::= x x x\nx ::= \"a\" |", "aa", true);
    takes("root ::= \"(\" root \")\" | \"x\"", "(((x)))", true);
    takes("root ::= \"(\" root \")\" | \"x\"", "(((x))", false);
    takes("root ::= (e root |)\ne ::= \"a\"", "aaaa", true);
    takes("root ::= a\r\na ::= \"1\" # end", "1", true);
    takes("root_1 ::= \"z\"\nroot ::= root_1", "z", true);
}

static void refused(const char *grammar, const char *part_of_message)
{
    qn_network n;
    quern_error err = {0};
    if (qn_gbnf_build(&n, grammar, strlen(grammar), &err) == QUERN_OK) fail_msg("accepted: %s", grammar);
    if (strstr(err.message, part_of_message) == NULL)
        fail_msg("'%s' does not say '%s'", err.message, part_of_message);
}

static void mistakes_are_told_with_their_place(void **state)
{
    (void)state;
    refused("", "no rule 'root'");
    refused("root ::= \"a\"\nx = \"b\"", "line 2, column 3: '::='");
    refused("root ::= \"a", "has no end");
    refused("root ::= [a-", "has no end");
    refused("root ::= [z-a]", "ends before it begins");
    refused("root ::= \"\\q\"", "unknown escape");
    refused("root ::= \"\\x4g\"", "hexadecimal");
    refused("root ::= \"\\uD800\"", "no such character");
    refused("root ::= \"\xff\"", "not UTF-8");
    refused("root ::= (\"a\"", "')' is missing");
    refused("root ::= \"a\")", "')' without '('");
    refused("root ::= \"a\"{2", "{m}");
    refused("root ::= \"a\"{3,2}", "below the least");
    refused("root ::= \"a\"{}", "{m}");
    refused("root ::= \"a\"{1000000}", "100000");
    refused("root ::= a", "'a' is used and not defined");
    refused("root ::= a \"x\"\na ::= b\nb ::= \"y\"? root", "left recursion");
    refused("root ::= root", "left recursion");
    refused("root ::= \"a\" root", "no text at all");
    refused("root ::= [^\\x00-\\U0010ffff]", "no text at all");
    refused("root ::= = ", "wanted here");
    refused("root ::= \"a\"{99999}{99999}", "states");
    char deep[4096] = "root ::= ";
    for (int i = 0; i < 1000; i++) strcat(deep, "(");
    refused(deep, "within each other");
}

static void missing_memory_is_an_error(void **state)
{
    (void)state;
    static const char grammar[] =
        "root ::= (\"abc\" | [a-z0-9]{2,5} item)* item\nitem ::= [^x] \"y\"? | \"z\" root";
    const long live = qn_alloc_live();
    for (long k = 0;; k++) {
        qn_network n;
        quern_error err = {0};
        qn_alloc_fail_at(k);
        const quern_status s = qn_gbnf_build(&n, grammar, strlen(grammar), &err);
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        if (s != (failed ? QUERN_ERR_NOMEM : QUERN_OK)) fail_msg("allocation %ld: %d %s", k, s, err.message);
        if (s == QUERN_OK) qn_network_deinit(&n);
        assert_int_equal(qn_alloc_live(), live);
        if (!failed) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repetitions_stand_in_each_other), cmocka_unit_test(rules_may_be_empty_or_recursive),
        cmocka_unit_test(mistakes_are_told_with_their_place), cmocka_unit_test(missing_memory_is_an_error)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
