/* grammar_test.c: `quern grammar` for people and for programs, and answers of `quern run` that are bound. */
#include "cli_util.h"

#include <jansson.h>

static const char *model;

static int set_up(void **state)
{
    if (cli_set_up(state) != 0) return -1;
    const tiny_model shape = {.seed = 4, .chat_template = CLI_TEMPLATE};
    model = strdup(cli_path("model.gguf"));
    static const char gbnf[] = "root ::= \"yes\" | \"no\"\n",
                      schema[] =
                          "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}, \"b\": "
                          "{\"enum\": [\"x\", \"y\"]}}, \"required\": [\"a\", \"b\"]}";
    cli_write(cli_path("yes.gbnf"), gbnf, strlen(gbnf));
    cli_write(cli_path("s.json"), schema, strlen(schema));
    cli_write(cli_path("bad.gbnf"), "root ::= a", 10);
    return tiny_model_write(model, &shape) ? 0 : -1;
}

static void expect(const char *arguments, const char *input, int code, const char *out)
{
    cli_result r = cli_run(arguments, input);
    if (r.code != code || strcmp(r.out, out) != 0)
        fail_msg("'%s': exit %d, '%s', '%s'", arguments, r.code, r.out, r.err);
    cli_free(&r);
}

static void texts_are_accepted_or_rejected(void **state)
{
    (void)state;
    const char *yes = cli_path("yes.gbnf"), *schema = cli_path("s.json");
    expect(cli_format("grammar --gbnf %s yes", yes), NULL, 0, "accepted\n");
    expect(cli_format("grammar --gbnf %s maybe", yes), NULL, 1, "rejected\n");
    expect(cli_format("grammar --gbnf %s", yes), "no\n", 0, "accepted\n");
    expect(cli_format("grammar --gbnf %s yes --json", yes), NULL, 0, "{\n  \"accept\": true\n}\n");
    expect(cli_format("grammar --schema %s", schema), "{\"a\": 1, \"b\": \"x\", \"c\": 2}", 0, "accepted\n");
    expect(cli_format("grammar --schema %s --closed", schema), "{\"a\": 1, \"b\": \"x\", \"c\": 2}", 1,
           "rejected\n");
    expect(cli_format("grammar --schema %s --compact", schema), "{\"a\": 1,\"b\":\"x\"}", 1, "rejected\n");
    expect("grammar --regex [a-c]{2} ab", NULL, 0, "accepted\n");
    expect("grammar --schema {\"const\":5} 5", NULL, 0, "accepted\n");
}

static void every_line_is_answered(void **state)
{
    (void)state;
    expect(cli_format("grammar --gbnf %s --jsonl", cli_path("yes.gbnf")),
           "{\"text\": \"yes\"}\n{\"text\": \"yesno\"}\n{}\nx\n[]\n", 0,
           "{\"accept\": true}\n{\"accept\": false}\n{\"error\": \"'text': a string is needed\"}\n"
           "{\"error\": \"column 1: '[' or '{' expected near 'x'\"}\n{\"error\": \"the line is no JSON "
           "object\"}\n");
    expect("grammar --schema --jsonl",
           "{\"schema\": {\"type\": \"null\"}, \"text\": \"null\"}\n{\"schema\": true, \"text\": \"[1]\"}\n"
           "{\"schema\": false, \"text\": \"1\"}\n{\"text\": \"1\"}\n",
           0,
           "{\"accept\": true}\n{\"accept\": true}\n{\"error\": \"JSON schema, #: no value is valid\"}\n"
           "{\"error\": \"'schema' is missing\"}\n");
}

static void masks_are_measured(void **state)
{
    (void)state;
    cli_result r = cli_run(
        cli_format("grammar --gbnf %s yes --model %s --json --each", cli_path("yes.gbnf"), model), NULL);
    json_t *o = json_loads(r.out, 0, NULL);
    assert_int_equal(r.code, 0);
    assert_true(json_is_true(json_object_get(o, "accept")));
    assert_int_equal(json_integer_value(json_object_get(o, "masks")),
                     json_array_size(json_object_get(o, "mask_us")));
    assert_true(json_number_value(json_object_get(o, "compile_ms")) >= 0);
    json_decref(o);
    cli_free(&r);
}

static void bound_answers_keep_to_it(void **state)
{
    (void)state;
    for (int seed = 0; seed < 10; seed++) {
        cli_result r = cli_run(
            cli_format("run %s hello --schema %s --temp 2 -n 60 --seed %d", model, cli_path("s.json"), seed),
            NULL);
        json_t *o = json_loads(r.out, 0, NULL);
        if (r.code != 0 || !json_is_integer(json_object_get(o, "a")) || json_object_size(o) != 2)
            fail_msg("exit %d: %s%s", r.code, r.out, r.err);
        json_decref(o);
        cli_free(&r);
    }
    expect(cli_format("run %s hello --regex a{5} -n 20", model), NULL, 0, "aaaaa\n");
    expect(cli_format("run %s hello --choice only -n 20", model), NULL, 0, "only\n");
    cli_result r = cli_run(cli_format("run %s hello --json -n 12 --temp 2", model), NULL);
    json_t *o = json_loads(r.out, 0, NULL);
    assert_true(json_is_object(o));
    json_decref(o);
    cli_free(&r);
}

static void calls_are_bound_and_read_back(void **state)
{
    (void)state;
    static const char tools[] =
        "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
        "\"properties\":{\"n\":{\"type\":\"integer\"}},\"required\":[\"n\"]}}}]";
    cli_result r =
        cli_run(cli_format("run\x1f%s\x1fhello\x1f--tools\x1f%s\x1f--tool-choice\x1frequired\x1f-n\x1f"
                           "120\x1f--report\x1f--seed\x1f"
                           "7",
                           model, tools),
                NULL);
    json_t *o = json_loads(r.out, 0, NULL),
           *calls = json_object_get(json_object_get(o, "message"), "tool_calls");
    if (json_array_size(calls) == 0) fail_msg("exit %d: %s%s", r.code, r.out, r.err);
    const json_t *function = json_object_get(json_array_get(calls, 0), "function");
    assert_string_equal(json_string_value(json_object_get(function, "name")), "f");
    json_t *arguments = json_loads(json_string_value(json_object_get(function, "arguments")), 0, NULL);
    assert_true(json_is_integer(json_object_get(arguments, "n")));
    json_decref(arguments);
    json_decref(o);
    cli_free(&r);
}

static void what_is_wrong_is_told(void **state)
{
    (void)state;
    cli_expect_failure("grammar", NULL, 2, "--gbnf, --schema and --regex");
    cli_expect_failure("grammar --gbnf", NULL, 2, "source is missing");
    cli_expect_failure(cli_format("grammar --gbnf %s x", cli_path("bad.gbnf")), NULL, 1,
                       "bad.gbnf: grammar: rule 'a'");
    cli_expect_failure("grammar --regex ( x", NULL, 1, "character");
    cli_expect_failure("grammar --schema {\"type\":5} x", NULL, 1, "type");
    cli_expect_failure(cli_format("run %s hello --json --regex a", model), NULL, 2, "exclude each other");
    cli_expect_failure(cli_format("run %s hello --tools [1]", model), NULL, 1, "tools[0]");
    cli_expect_failure(cli_format("run %s hello --tools [] --tool-choice required", model), NULL, 1,
                       "there are none");
    cli_expect_failure(cli_format("run %s hello --tool-choice required", model), NULL, 2, "needs --tools");
}

/* The arguments, and a file that is not there behind them: the message, to its end. */
static void expect_missing(const char *arguments, const char *meant)
{
    const char *none = cli_path("none.x");
    cli_expect_failure(cli_format("%s %s", arguments, none), NULL, 1,
                       cli_format("quern: %s: No such file or directory%s\n", none, meant));
}

static void missing_files_are_told_by_their_kind(void **state)
{
    (void)state;
    expect_missing("grammar --schema", " (a schema that is no file begins with '{')");
    expect_missing("grammar --gbnf", "");
    expect_missing(cli_format("run %s hello --schema", model), " (a schema that is no file begins with '{')");
    expect_missing(cli_format("run %s hello --tools", model), " (tools that are no file begin with '[')");
    expect_missing(cli_format("run %s hello --grammar", model), "");
    expect_missing(cli_format("run %s hello --file", model), "");
    expect_missing(cli_format("perplexity %s", model), "");
    expect_missing("template --jsonl --file", "");
    expect_missing("parse --jsonl --template", "");
    expect_missing("explain", " (check the path, or `quern list` for installed models)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_accepted_or_rejected),
        cmocka_unit_test(every_line_is_answered),
        cmocka_unit_test(masks_are_measured),
        cmocka_unit_test(bound_answers_keep_to_it),
        cmocka_unit_test(calls_are_bound_and_read_back),
        cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(missing_files_are_told_by_their_kind),
    };
    return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}
