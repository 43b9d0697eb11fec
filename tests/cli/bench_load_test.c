/* bench_load_test.c: `quern bench --clients` and `--trace`: which requests are made and of which model, what
 * is counted, wrong usage. No speed is expected of anything. */
#include "cli_util.h"

#include <jansson.h>
#include <math.h>

static char one[128], other[128];

static json_t *load_of(const char *options)
{
    cli_result r = cli_run(cli_format("bench %s --json", options), NULL);
    json_t *o = json_loadb(r.out, r.n_out, 0, NULL);
    if (r.code != 0 || !json_is_object(o)) fail_msg("'%s': exit %d: %s%s", options, r.code, r.err, r.out);
    assert_int_equal(r.n_err, 0);
    cli_free(&r);
    return o;
}

static double number_of(const json_t *o, const char *key)
{
    const json_t *value = json_object_get(o, key);
    if (!json_is_number(value)) fail_msg("'%s' is no number", key);
    return json_number_value(value);
}

static const json_t *model_of(const json_t *o, size_t i)
{
    return json_array_get(json_object_get(o, "models"), i);
}

static void every_client_is_served(void **state)
{
    (void)state;
    json_t *o = load_of(cli_format("%s --clients 3 --requests 2 -p 8 -n 4 -t 2 --no-guesses", one));
    assert_int_equal((int)number_of(o, "requests"), 6);
    assert_int_equal((int)number_of(o, "failed"), 0);
    assert_int_equal((int)number_of(o, "prompt_tokens"), 6 * 8);
    assert_int_equal((int)number_of(o, "generated_tokens"), 6 * 4);
    assert_int_equal((int)number_of(o, "guessed"), 0);
    assert_true(number_of(o, "fairness") > 1.0 / 3 && number_of(o, "fairness") < 1 + 1e-9);
    assert_int_equal((int)number_of(json_object_get(o, "first_token_seconds"), "n"), 6);
    assert_true(number_of(o, "steps") >= 8); /* two requests of a client, each four tokens */
    assert_true(number_of(o, "seconds") > 0 && number_of(o, "memory_bytes") > 0);
    const char *key;
    json_t *value;
    double sum = 0;
    json_object_foreach(json_object_get(o, "time_seconds"), key, value) sum += json_number_value(value);
    assert_true(sum >= number_of(o, "seconds"));
    assert_int_equal(json_array_size(json_object_get(o, "models")), 1);
    assert_null(json_object_get(model_of(o, 0), "alone"));
    assert_null(json_object_get(o, "fairness_of_models"));
    json_decref(o);
}

/* What all prompts begin with is computed once, unless nothing is shared. */
static void beginnings_are_shared_or_not(void **state)
{
    (void)state;
    json_t *o = load_of(cli_format("%s --clients 4 --requests 1 -p 150 --common 130 -n 2", one));
    /* whole pages at least; more where the first has ended and left its last one */
    assert_in_range((unsigned)number_of(o, "cached_tokens"), 3 * 128, 3 * 130);
    json_decref(o);
    o = load_of(cli_format("%s --clients 4 --requests 1 -p 150 --common 130 -n 2 --apart", one));
    assert_int_equal((int)number_of(o, "cached_tokens"), 0);
    json_decref(o);
}

static void models_run_alone_and_together(void **state)
{
    (void)state;
    json_t *o = load_of(cli_format("%s %s --clients 3 --requests 2 -p 8 -n 4", one, other));
    assert_int_equal((int)number_of(o, "requests"), 6);
    assert_true(number_of(o, "fairness_of_models") >= 0.5 && number_of(o, "fairness_of_models") < 1 + 1e-9);
    assert_int_equal((int)number_of(o, "loads"), 0); /* they were there before */
    double bytes = 0;
    for (size_t i = 0; i < 2; i++) {
        const json_t *m = model_of(o, i);
        assert_string_equal(json_string_value(json_object_get(m, "model")), i == 0 ? one : other);
        assert_int_equal((int)number_of(json_object_get(m, "alone"), "requests"), i == 0 ? 4 : 2);
        assert_int_equal((int)number_of(json_object_get(m, "together"), "requests"), i == 0 ? 4 : 2);
        assert_int_equal((int)number_of(json_object_get(m, "alone"), "generated_tokens"), i == 0 ? 16 : 8);
        bytes += number_of(m, "memory_bytes");
    }
    json_decref(o);
    /* room for one of them: each comes when it is asked for, and all requests are answered */
    o = load_of(cli_format("%s %s --clients 3 --requests 2 -p 8 -n 4 --memory %.6f", one, other,
                           bytes * 0.75 * 1e-6));
    assert_int_equal((int)number_of(o, "requests"), 6);
    assert_true(number_of(o, "loads") >= 1);
    assert_true(number_of(o, "memory_bytes") <= bytes * 0.75);
    json_decref(o);
}

static void a_trace_says_who_asks_for_what(void **state)
{
    (void)state;
    const char *path = cli_path("trace.jsonl");
    const char *lines = cli_format("{\"client\": \"a\", \"at\": 0.02, \"prompt\": 10, \"gen\": 3}\n"
                                   "\n"
                                   "{\"client\": \"b\", \"prompt\": 5, \"gen\": 2, \"priority\": \"low\"}\n"
                                   "{\"client\": \"b\", \"model\": \"%s\", \"prompt\": 6, \"gen\": 1}\n"
                                   "{\"text\": \"abc\", \"temperature\": 0, \"gen\": 5}",
                                   other);
    cli_write(path, lines, strlen(lines));
    json_t *o = load_of(cli_format("%s %s --trace %s", one, other, path));
    assert_int_equal((int)number_of(o, "requests"), 4);
    assert_in_range((unsigned)number_of(o, "prompt_tokens"), 21 + 1, 21 + 5); /* a few for the text */
    assert_int_equal((int)number_of(o, "generated_tokens"), 11);
    assert_int_equal((int)number_of(json_object_get(model_of(o, 0), "together"), "requests"), 3);
    assert_int_equal((int)number_of(json_object_get(model_of(o, 1), "together"), "prompt_tokens"), 6);
    assert_true(number_of(o, "seconds") >= 0.02);
    const json_t *priorities = json_object_get(o, "priorities");
    assert_int_equal(json_object_size(priorities), 2);
    assert_int_equal((int)number_of(json_object_get(priorities, "low"), "generated_tokens"), 2);
    assert_int_equal((int)number_of(json_object_get(priorities, "normal"), "requests"), 3);
    json_decref(o);
}

static void a_trace_that_is_wrong_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"", "no jobs"},
        {"{\"client\": \"a\"}\n{\"prompt\": -1}", "line 2"},
        {"[]", "expected an object"},
        {"{\"prompt\"", "line 1"},
        {"{\"prompt\": 0}", "\"prompt\""},
        {"{\"prompt\": 1.5}", "\"prompt\""},
        {"{\"gen\": 99999999}", "\"gen\""},
        {"{\"prompt\": 4, \"common\": 5}", "\"common\""},
        {"{\"at\": -1}", "\"at\""},
        {"{\"at\": \"now\"}", "\"at\""},
        {"{\"model\": \"somebody\"}", "\"model\""},
        {"{\"model\": 3}", "\"model\""},
        {"{\"priority\": \"high\"}", "\"priority\""},
        {"{\"text\": 3}", "\"text\""},
        {"{\"temperature\": -1}", "\"temperature\""},
    };
    char path[128];
    snprintf(path, sizeof path, "%s", cli_path("wrong.jsonl"));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cli_write(path, wrong[i][0], strlen(wrong[i][0]));
        cli_expect_failure(cli_format("bench %s --trace %s", one, path), NULL, 1, wrong[i][1]);
    }
    cli_expect_failure(cli_format("bench %s --trace /no/such.jsonl", one), NULL, 1, "/no/such.jsonl");
}

static void wrong_usage_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"--clients 0",
                                        "--clients 2 -p 4,8",
                                        "--clients 2 -t 1,2",
                                        "--clients 2 -ctk f16,f32",
                                        "--clients 2 -n 0",
                                        "--clients 2 -p 4 --common 5",
                                        "--clients 2 -p 0",
                                        "--clients 2 --memory 0",
                                        "--clients 2 --slots 0",
                                        "--clients 2 --csv",
                                        "--clients 2 --limits",
                                        "--clients 2 -d 64",
                                        "--clients 2 -b 16",
                                        "--clients 2 -r 3",
                                        "--clients 2 --trace a.jsonl"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cli_expect_failure(cli_format("bench %s %s", one, wrong[i]), NULL, 2, "bench");
    cli_expect_failure(cli_format("bench %s %s", one, other), NULL, 2, "several models");
    cli_expect_failure(cli_format("bench %s %s --clients 1", one, other), NULL, 2, "too few");
    cli_expect_failure(cli_format("bench %s %s --clients 2 --draft %s", one, other, one), NULL, 2, "--draft");
    cli_expect_failure(cli_format("bench %s %s --clients 2", one, one), NULL, 1, "has one of that name");
    cli_expect_failure(cli_format("bench %s /no/such.gguf --clients 2", one), NULL, 1, "/no/such.gguf");
    cli_expect_failure(cli_format("bench %s --clients 2 -p 8 -n 4 --memory 0.001", one), NULL, 1, "bytes");
    /* thousands of requests that are refused at once are one line as well, and no depth of calls */
    cli_result r = cli_run(cli_format("bench %s --clients 1 --requests 20000 -p 60 -n 60 -c 32", one), NULL);
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "context"));
    cli_free(&r);
}

static int set_up(void **state)
{
    if (cli_set_up(state) != 0) return -1;
    snprintf(one, sizeof one, "%s/one.gguf", cli_directory);
    snprintf(other, sizeof other, "%s/other.gguf", cli_directory);
    return tiny_model_write(one, &(tiny_model){.seed = 1}) &&
                   tiny_model_write(other, &(tiny_model){.arch = "qwen2", .seed = 2})
               ? 0
               : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_client_is_served),           cmocka_unit_test(beginnings_are_shared_or_not),
        cmocka_unit_test(models_run_alone_and_together),    cmocka_unit_test(a_trace_says_who_asks_for_what),
        cmocka_unit_test(a_trace_that_is_wrong_is_refused), cmocka_unit_test(wrong_usage_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}
