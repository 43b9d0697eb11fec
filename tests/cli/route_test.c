/* route_test.c: `quern route`: rules, a classifier's shares, texts from everywhere, and one line for whatever
 * is wrong. */
#include "cli_util.h"

#include "support/tiny_model.h"

#include <jansson.h>
#include <math.h>

static char classifier[128], reranker[128];

static json_t *run_json(const char *arguments, const char *input)
{
    cli_result r = cli_run(arguments, input);
    json_t *o = json_loadb(r.out, r.n_out, 0, NULL);
    if (r.code != 0 || o == NULL) fail_msg("'%s': exit %d: %s%s", arguments, r.code, r.err, r.out);
    cli_free(&r);
    return o;
}

static const char *text_of(const json_t *o, size_t i, const char *field)
{
    const char *text =
        json_string_value(json_object_get(json_array_get(json_object_get(o, "results"), i), field));
    return text != NULL ? text : "";
}

static void rules_need_no_model(void **state)
{
    (void)state;
    json_t *o = run_json("route\x1f--json\x1f--longer\x1flong=20\x1f--match\x1f"
                         "coder=^int |;$\x1f--fallback\x1frest\x1fint main\x1fx = 1;\x1fhello\x1f"
                         "a text that is quite long\x1fint which is a long text",
                         NULL);
    static const char *const models[] = {"coder", "coder", "rest", "long", "coder"};
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(text_of(o, i, "model"), models[i]);
        assert_string_equal(text_of(o, i, "by"), i == 2 ? "fallback" : "rule");
    }
    json_decref(o);
    cli_result r = cli_run("route\x1f--match\x1f"
                           "coder=;\x1f--fallback\x1frest",
                           "a;\nb\n");
    assert_int_equal(r.code, 0);
    assert_int_equal(strncmp(r.out, "coder\trule\t\t", 12), 0);
    assert_non_null(strstr(r.out, "\nrest\tfallback\t\t"));
    cli_free(&r);
}

static void a_classifier_shares_the_probability_out(void **state)
{
    (void)state;
    json_t *o = run_json(cli_format("route\x1f--json\x1f--classifier\x1f%s\x1f--to\x1f"
                                    "coder=programs\x1f--to\x1fpoet=verses\x1fhow do I sort?\x1f",
                                    classifier),
                         NULL);
    for (size_t i = 0; i < 2; i++) {
        const json_t *shares = json_object_get(json_array_get(json_object_get(o, "results"), i), "shares");
        const double coder = json_number_value(json_object_get(shares, "coder")),
                     poet = json_number_value(json_object_get(shares, "poet"));
        assert_true(fabs(coder + poet - 1) < 1e-5);
        assert_string_equal(text_of(o, i, "by"), "classifier");
        assert_string_equal(text_of(o, i, "model"), coder >= poet ? "coder" : "poet");
    }
    json_decref(o);
}

static void what_is_wrong_is_said_in_one_line(void **state)
{
    (void)state;
    cli_expect_failure("route hello", NULL, 1, "0 routes");
    cli_expect_failure("route hello --to coder", NULL, 2, "MODEL=");
    cli_expect_failure("route hello --match =x", NULL, 2, "MODEL=");
    cli_expect_failure("route hello --longer a=ten", NULL, 2, "number of bytes");
    cli_expect_failure("route hello --longer a=-1", NULL, 2, "number of bytes");
    cli_expect_failure("route hello --match a=(", NULL, 1, "route 0");
    cli_expect_failure(cli_format("route hello --to a=b --classifier %s", classifier), NULL, 1,
                       "1 routes have descriptions");
    cli_expect_failure(cli_format("route hello --to a=b --to c=d --classifier %s", reranker), NULL, 1,
                       "is a reranker");
    cli_expect_failure(cli_format("route --match a=b -f %s", cli_path("missing.txt")), NULL, 1,
                       "missing.txt");
}

static int set_up(void **state)
{
    if (cli_set_up(state) != 0) return -1;
    snprintf(classifier, sizeof classifier, "%s/classifier.gguf", cli_directory);
    snprintf(reranker, sizeof reranker, "%s/reranker.gguf", cli_directory);
    return tiny_model_write(classifier, &(tiny_model){.seed = 1}) &&
                   tiny_model_write(reranker, &(tiny_model){.arch = "bert", .seed = 2, .n_scores = 1})
               ? 0
               : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_need_no_model),
        cmocka_unit_test(a_classifier_shares_the_probability_out),
        cmocka_unit_test(what_is_wrong_is_said_in_one_line),
    };
    return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}
