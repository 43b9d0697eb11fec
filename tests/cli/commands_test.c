/* commands_test.c: the other commands on tiny models: forms that programs rely on, one line out for each line
 * in whatever is wrong with it, plans, verification. */
#include "cli_util.h"

#include "base/utf8.h"

#include <jansson.h>
#include <math.h>

static const char *model, *poisoned;

static json_t *run_json(const char *arguments, int code)
{
    cli_result r = cli_run(arguments, NULL);
    json_error_t where;
    json_t *o = json_loadb(r.out, r.n_out, 0, &where);
    if (r.code != code || o == NULL) fail_msg("'%s': exit %d: %s%s", arguments, r.code, r.err, r.out);
    cli_free(&r);
    return o;
}

static json_int_t number_of(const json_t *o, const char *key)
{
    const json_t *value = json_object_get(o, key);
    if (!json_is_integer(value)) fail_msg("'%s' is no integer", key);
    return json_integer_value(value);
}

/* Every line of input gets one line of output, a JSON object. Returns them as an array. */
static json_t *each_line(const char *arguments, const char *const *lines, size_t n_lines)
{
    char *input = calloc(1, 1 << 20);
    assert_non_null(input);
    size_t n = 0;
    for (size_t i = 0; i < n_lines; i++)
        n += (size_t)sprintf(input + n, "%s%s", lines[i],
                             i + 1 < n_lines ? "\n" : ""); /* the last one without an end */
    cli_result r = cli_run_to(arguments, input, n, NULL);
    if (r.code != 0) fail_msg("'%s': exit %d: %s", arguments, r.code, r.err);
    assert_true(qn_utf8_valid(r.out, r.n_out));
    json_t *answers = json_array();
    for (char *at = r.out, *line; (line = strsep(&at, "\n")) != NULL && at != NULL;) {
        json_t *o = json_loads(line, JSON_ALLOW_NUL, NULL);
        if (!json_is_object(o)) fail_msg("not a JSON object: %s", line);
        json_array_append_new(answers, o);
    }
    assert_int_equal(json_array_size(answers), n_lines);
    cli_free(&r);
    free(input);
    return answers;
}

static bool has(const json_t *answers, size_t i, const char *key)
{
    return json_object_get(json_array_get(answers, i), key) != NULL;
}

static void tokenize_answers_every_line(void **state)
{
    (void)state;
    static char deep[4000], long_text[20000];
    memset(deep, '[', sizeof deep - 1);
    strcpy(long_text, "{\"text\":\"");
    memset(long_text + 9, 'a', sizeof long_text - 20);
    strcat(long_text, "\"}");
    const char *const lines[] = {"{\"text\":\"hello\",\"add_special\":true,\"parse_special\":true}",
                                 "{\"text\":\"hello\"}",
                                 "{\"text\":\"<s>\",\"parse_special\":true}",
                                 "{\"text\":\"<s>\",\"parse_special\":false}",
                                 "{\"text\":\"\"}",
                                 "{\"text\":\"a\\u0000b\"}",
                                 "{\"text\":\"\\ud83d\\ude00\"}",
                                 long_text,
                                 "",
                                 "   ",
                                 "{",
                                 "nonsense",
                                 "[]",
                                 "3",
                                 "null",
                                 "{}",
                                 "{\"text\":3}",
                                 "{\"text\":null}",
                                 "{\"text\":\"\\ud800\"}",
                                 "{\"text\":\"\xff\"}",
                                 deep,
                                 "{\"text\":\"x\"} trailing"};
    const size_t n = sizeof lines / sizeof lines[0];
    json_t *answers = each_line(cli_format("tokenize %s --jsonl", model), lines, n);
    for (size_t i = 0; i < n; i++)
        if (has(answers, i, i < 8 ? "ids" : "error") == false) fail_msg("line %zu: %s", i, lines[i]);
    const json_t *with = json_object_get(json_array_get(answers, 0), "ids"),
                 *without = json_object_get(json_array_get(answers, 1), "ids");
    assert_int_equal(json_array_size(with), json_array_size(without) + 1);
    assert_int_equal(json_integer_value(json_array_get(with, 0)), 1);
    assert_int_equal(json_array_size(json_object_get(json_array_get(answers, 2), "ids")), 1);
    assert_true(json_array_size(json_object_get(json_array_get(answers, 3), "ids")) > 1);
    assert_int_equal(json_array_size(json_object_get(json_array_get(answers, 4), "ids")), 0);
    json_decref(answers);
}

static void detokenize_answers_every_line(void **state)
{
    (void)state;
    static const char *const lines[] = {"{\"ids\":[1,280]}",
                                        "{\"ids\":[]}",
                                        "{\"ids\":[199]}",
                                        "{\"ids\":[-1,320,99999999999,2147483648]}",
                                        "{\"ids\":[1.5,\"x\",null,{}]}",
                                        "{\"ids\":3}",
                                        "{}",
                                        "[1]",
                                        "{\"ids\":[1",
                                        "{\"ids\":[9999999999999999999999]}"};
    const size_t n = sizeof lines / sizeof lines[0];
    json_t *answers = each_line(cli_format("detokenize %s --jsonl", model), lines, n);
    for (size_t i = 0; i < n; i++)
        if (!has(answers, i, "text") && !has(answers, i, "text_hex") && !has(answers, i, "error"))
            fail_msg("line %zu: %s", i, lines[i]);
    assert_string_equal(json_string_value(json_object_get(json_array_get(answers, 1), "text")), "");
    assert_true(has(answers, 5, "error") && has(answers, 6, "error") && has(answers, 7, "error") &&
                has(answers, 8, "error") && has(answers, 9, "error"));
    json_decref(answers);
    cli_result r =
        cli_run(cli_format("detokenize %s 1 281", model), NULL); /* " world" and so on: the form for people */
    assert_int_equal(r.code, 0);
    assert_true(r.n_out > 1);
    cli_free(&r);
    cli_expect_failure(cli_format("detokenize %s 12x", model), NULL, 2, "12x");
    cli_expect_failure(cli_format("detokenize %s", model), NULL, 2, "--jsonl");
}

static void tokens_come_back_as_text(void **state)
{
    (void)state;
    cli_result ids =
        cli_run(cli_format("tokenize\x1f%s\x1fhello world, caf\xc3\xa9\x1f--no-bos", model), NULL);
    assert_int_equal(ids.code, 0);
    ids.out[strcspn(ids.out, "\n")] = '\0';
    cli_result text = cli_run(cli_format("detokenize %s %s", model, ids.out), NULL);
    assert_string_equal(text.out, "hello world, caf\xc3\xa9\n");
    cli_free(&ids), cli_free(&text);
    json_t *o = run_json(cli_format("tokenize %s hello --json", model), 0);
    assert_int_equal(json_array_size(json_object_get(o, "ids")), number_of(o, "count"));
    json_decref(o);
}

static void templates_answer_every_line(void **state)
{
    (void)state;
    cli_write(cli_path("t.jinja"), CLI_TEMPLATE, strlen(CLI_TEMPLATE));
    cli_write(cli_path("bad.jinja"), "{% for %}", 9);
    static const char *const lines[] = {
        "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"add_generation_prompt\":true}",
        "{\"messages\":3}",
        "{",
        "",
        "[]",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"now\":\"never\"}"};
    json_t *answers = each_line(cli_format("template --file %s --jsonl", cli_path("t.jinja")), lines,
                                sizeof lines / sizeof lines[0]);
    assert_string_equal(json_string_value(json_object_get(json_array_get(answers, 0), "text")),
                        "user: hi\nassistant:");
    for (size_t i = 2; i < 6; i++) assert_true(has(answers, i, "error"));
    json_decref(answers);
    cli_expect_failure(cli_format("template --file %s --jsonl", cli_path("bad.jinja")), "", 1, "bad.jinja");
    cli_expect_failure(cli_format("template --file %s --jsonl", cli_path("none.jinja")), "", 1, "none.jinja");
}

static float *read_logits(const char *path, size_t expected)
{
    FILE *f = fopen(path, "rb");
    float *values = malloc((expected + 1) * sizeof *values);
    assert_true(f != NULL && values != NULL);
    assert_int_equal(fread(values, sizeof *values, expected + 1, f), expected);
    fclose(f);
    return values;
}

static void logits_are_written_for_every_position(void **state)
{
    (void)state;
    cli_write(cli_path("ids.txt"), "1 280 281\n5\t300,7\n", 18);
    static const char *const ways[] = {"", "--batch 1 --threads 1", "--batch 4 --threads 3"};
    float *first = NULL;
    for (size_t i = 0; i < 3; i++) {
        cli_result r = cli_run(cli_format("logits %s --ids %s --out %s %s", model, cli_path("ids.txt"),
                                          cli_path("logits.bin"), ways[i]),
                               NULL);
        if (r.code != 0) fail_msg("%s", r.err);
        cli_free(&r);
        float *values = read_logits(cli_path("logits.bin"), 6 * 320);
        for (size_t k = 0; k < 6 * 320; k++) assert_true(isfinite(values[k]));
        if (first != NULL) assert_memory_equal(values, first, 6 * 320 * sizeof *values);
        if (first == NULL) first = values;
        else free(values);
    }
    free(first);
    static const char *const wrong[] = {"abc",    "-1", "320",  "99999999999999999999",
                                        "1 2 3x", "",   " \n ", "1.5"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cli_write(cli_path("wrong.txt"), wrong[i], strlen(wrong[i]));
        cli_expect_failure(
            cli_format("logits %s --ids %s --out %s", model, cli_path("wrong.txt"), cli_path("never.bin")),
            NULL, 1, "");
    }
    cli_expect_failure(
        cli_format("logits %s --ids %s --out %s", model, cli_path("ids.txt"), cli_path("no/such/place")),
        NULL, 1, "place");
    cli_expect_failure(cli_format("logits %s --ids %s --out /dev/full", model, cli_path("ids.txt")), NULL, 1,
                       "No space left");
    cli_expect_failure(cli_format("logits %s --out x", model), NULL, 2, "--ids");
}

static void plans_add_up(void **state)
{
    (void)state;
    json_t *one = run_json(cli_format("plan %s --ctx 1000 --json", model), 0),
           *two = run_json(cli_format("plan %s --ctx 1000 --parallel 2 --json", model), 0);
    assert_int_equal(number_of(one, "total"),
                     number_of(one, "weights") + number_of(one, "kv_cache") + number_of(one, "scratch"));
    assert_int_equal(number_of(one, "ctx"), 1000);
    assert_int_equal(number_of(one, "weights"), number_of(two, "weights"));
    assert_true(number_of(two, "kv_cache") > number_of(one, "kv_cache") * 19 / 10);
    json_decref(one), json_decref(two);
    cli_expect_failure(cli_format("plan %s --ctx -1", model), NULL, 2, "--ctx");
    cli_expect_failure(cli_format("plan %s --parallel 0", model), NULL, 2, "--parallel");
}

static void models_are_described(void **state)
{
    (void)state;
    json_t *o = run_json(cli_format("show %s --json", model), 0);
    assert_string_equal(json_string_value(json_object_get(o, "architecture")), "llama");
    assert_int_equal(number_of(o, "layers"), 3);
    assert_true(json_is_true(json_object_get(o, "chat_template")));
    assert_true(json_object_size(json_object_get(o, "metadata")) > 10);
    assert_true(json_array_size(json_object_get(o, "tensors")) > 20);
    json_decref(o);
    static const char *const commands[] = {"show %s",    "show %s --all",    "info %s",
                                           "explain %s", "explain %s --all", "plan %s"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        char command[256];
        snprintf(command, sizeof command, "%.*s%s%s", (int)(strstr(commands[i], "%s") - commands[i]),
                 commands[i], model, strstr(commands[i], "%s") + 2);
        cli_result r = cli_run(command, NULL);
        assert_int_equal(r.code, 0);
        assert_true(r.n_out > 100 && r.n_err == 0);
        cli_free(&r);
    }
}

/* Escapes in metadata must not reach a terminal. */
static void hostile_metadata_is_made_harmless(void **state)
{
    (void)state;
    static char bytes[8 << 20];
    FILE *f = fopen(model, "rb");
    assert_non_null(f);
    const size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    char *name = memmem(bytes, n, "tiny", 4);
    assert_non_null(name);
    memcpy(name, "\x1b]0;", 4);
    cli_write(cli_path("escape.gguf"), bytes, n);
    static const char *const forms[] = {"show %s --all", "show %s --json", "bench %s -p 4 -n 2 -r 1 -t 1"};
    for (size_t i = 0; i < 3; i++) {
        char command[256];
        const char *path = cli_path("escape.gguf");
        snprintf(command, sizeof command, "%.*s%s%s", (int)(strstr(forms[i], "%s") - forms[i]), forms[i],
                 path, strstr(forms[i], "%s") + 2);
        cli_result r = cli_run(command, NULL);
        assert_int_equal(r.code, 0);
        assert_null(memchr(r.out, '\x1b', r.n_out));
        assert_null(memchr(r.err, '\x1b', r.n_err));
        cli_free(&r);
    }
}

static bool check_of(const json_t *report, const char *name)
{
    size_t i;
    json_t *check;
    json_array_foreach(json_object_get(report, "checks"), i,
                       check) if (strcmp(json_string_value(json_object_get(check, "check")), name) ==
                                  0) return json_is_true(json_object_get(check, "ok"));
    fail_msg("there is no check '%s'", name);
    return false;
}

static void verification_finds_poison(void **state)
{
    (void)state;
    json_t *good = run_json(cli_format("verify %s --json", model), 0);
    assert_true(json_is_true(json_object_get(good, "ok")));
    assert_true(check_of(good, "structure") && check_of(good, "tensors") && check_of(good, "generation"));
    json_decref(good);
    json_t *bad = run_json(cli_format("verify %s --json", poisoned), 1);
    assert_false(json_is_true(json_object_get(bad, "ok")));
    assert_true(check_of(bad, "structure"));
    assert_false(check_of(bad, "tensors"));
    json_decref(bad);
    cli_result r = cli_run(cli_format("verify %s", poisoned), NULL);
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.out, "FAILED"));
    cli_free(&r);
    /* running it still ends: a token is picked, or an error is said */
    r = cli_run(cli_format("run %s hello -n 3 --temp 0 --ignore-eos", poisoned), NULL);
    assert_true(r.code == 0 || r.code == 1);
    cli_free(&r);
}

static void measurements_are_json(void **state)
{
    (void)state;
    json_t *rows = run_json(cli_format("bench %s -p 8 -n 4 -r 2 -t 2 --json", model), 0);
    assert_int_equal(json_array_size(rows), 2);
    for (size_t i = 0; i < 2; i++)
        assert_true(json_number_value(json_object_get(json_array_get(rows, i), "tokens_per_second")) > 0);
    json_decref(rows);
    cli_write(cli_path("text.txt"),
              "hello world the world and the word on a hill in the end is at the world once more and again",
              91);
    json_t *o = run_json(cli_format("perplexity %s %s --ctx 16 --json", model, cli_path("text.txt")), 0);
    assert_true(json_number_value(json_object_get(o, "ppl")) > 1);
    json_decref(o);
    cli_expect_failure(cli_format("perplexity %s %s", model, cli_path("nothing.txt")), NULL, 1,
                       "nothing.txt");
}

static void every_command_helps(void **state)
{
    (void)state;
    static const char *const names[] = {"run",        "pull",     "list",  "show",    "rm",     "bench",
                                        "perplexity", "verify",   "plan",  "explain", "logits", "tokenize",
                                        "detokenize", "template", "embed", "rerank",  "route"};
    cli_result all = cli_run("--help", NULL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_non_null(strstr(all.out, names[i]));
        cli_result r = cli_run(cli_format("%s --help", names[i]), NULL),
                   same = cli_run(cli_format("help %s", names[i]), NULL);
        assert_int_equal(r.code, 0);
        assert_non_null(strstr(r.out, cli_format("usage: quern %s", names[i])));
        assert_string_equal(r.out, same.out);
        cli_free(&r), cli_free(&same);
        cli_expect_failure(cli_format("%s --no-such-option", names[i]), NULL, 2, "--no-such-option");
    }
    cli_free(&all);
    cli_result version = cli_run("--version", NULL);
    assert_int_equal(strncmp(version.out, "quern ", 6), 0);
    cli_free(&version);
}

static int set_up(void **state)
{
    if (cli_set_up(state) != 0) return -1;
    static char paths[2][128];
    const tiny_model m = {.chat_template = CLI_TEMPLATE};
    snprintf(paths[0], sizeof paths[0], "%s/model.gguf", cli_directory);
    snprintf(paths[1], sizeof paths[1], "%s/poisoned.gguf", cli_directory);
    model = paths[0], poisoned = paths[1];
    if (!tiny_model_write(model, &m) || !tiny_model_write(poisoned, &m)) return -1;
    FILE *f = fopen(poisoned, "r+b"); /* the last tensor is of 32-bit floats */
    const uint32_t nan_bits = 0x7fc00000;
    const bool ok = f != NULL && fseek(f, -(long)sizeof nan_bits, SEEK_END) == 0 &&
                    fwrite(&nan_bits, sizeof nan_bits, 1, f) == 1;
    return f != NULL && fclose(f) == 0 && ok ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokenize_answers_every_line),
        cmocka_unit_test(detokenize_answers_every_line),
        cmocka_unit_test(tokens_come_back_as_text),
        cmocka_unit_test(templates_answer_every_line),
        cmocka_unit_test(logits_are_written_for_every_position),
        cmocka_unit_test(plans_add_up),
        cmocka_unit_test(models_are_described),
        cmocka_unit_test(hostile_metadata_is_made_harmless),
        cmocka_unit_test(verification_finds_poison),
        cmocka_unit_test(measurements_are_json),
        cmocka_unit_test(every_command_helps),
    };
    return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}
