/* command_test.c: `quern template` and `quern parse` as processes: one line out for each line in, whatever is
 * in it. */
#include "chat_test.h"

#include <sys/wait.h>
#include <unistd.h>

typedef struct files {
    char directory[64], source[96], input[96], output[96], errors[96];
} files;

static void write_file(const char *path, const char *bytes, size_t n_bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n_bytes, f), n_bytes);
    assert_int_equal(fclose(f), 0);
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    qn_buffer b = {0};
    char piece[4096];
    assert_non_null(f);
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;) qn_buffer_append(&b, piece, n);
    fclose(f);
    return qn_buffer_take(&b, NULL);
}

static int setup(void **state)
{
    files *f = calloc(1, sizeof *f);
    const char *base = getenv("TMPDIR");
    if (f == NULL) return -1;
    snprintf(f->directory, sizeof f->directory, "%.30s/quern-template-XXXXXX",
             base != NULL ? base : P_tmpdir);
    if (mkdtemp(f->directory) == NULL) return -1;
    snprintf(f->source, sizeof f->source, "%s/t.jinja", f->directory);
    snprintf(f->input, sizeof f->input, "%s/in", f->directory);
    snprintf(f->output, sizeof f->output, "%s/out", f->directory);
    snprintf(f->errors, sizeof f->errors, "%s/err", f->directory);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    files *f = *state;
    unlink(f->source), unlink(f->input), unlink(f->output), unlink(f->errors);
    const int result = rmdir(f->directory);
    free(f);
    return result;
}

/* `quern ARGUMENTS` with input on standard input. */
static int run_command(const files *f, const char *arguments, const char *input, size_t n_bytes)
{
    char *command;
    write_file(f->input, input, n_bytes);
    assert_true(asprintf(&command, "%s %s <'%s' >'%s' 2>'%s'", getenv("QUERN_EXE"), arguments, f->input,
                         f->output, f->errors) > 0);
    const int status = system(command);
    free(command);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int run(const files *f, const char *source, const char *input, size_t n_bytes)
{
    char arguments[160];
    write_file(f->source, source, strlen(source));
    snprintf(arguments, sizeof arguments, "template --file '%s' --jsonl", f->source);
    return run_command(f, arguments, input, n_bytes);
}

static bool has_program(void)
{
    if (getenv("QUERN_EXE") != NULL) return true;
    print_message("skipped: QUERN_EXE names no program\n");
    return false;
}

static void each_line_is_answered(void **state)
{
    static const char input[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"Grüß\"}], \"now\": "
                                "\"2025-03-14T09:26:53\", \"x\": 1}\n"
                                "no JSON\n"
                                "\n"
                                "[]\n"
                                "{\"messages\": [], \"now\": 5}\n"
                                "{\"messages\": [], \"now\": \"noon\"}\n"
                                "{\"messages\": [], \"x\": \"a\\u0000b\"}\n"
                                "{\"messages\": [{\"content\": \"stop\"}]}\n"
                                "{\"messages\": 1}\n"
                                "{\"messages\": []}"; /* no line end */
    static const char source[] =
        "{% for m in messages %}{% if m.content == 'stop' %}{{ raise_exception('No \"more\"!') }}{% endif %}"
        "{{ m.content }}{% endfor %}{{ x }}{% if now %}{{ strftime_now('%Y') }}{% endif %}";
    static const char expected[] = "{\"text\": \"Grüß12025\"}\n"
                                   "{\"error\": \"column 2: '[' or '{' expected near 'no'\"}\n"
                                   "{\"error\": \"column 1: '[' or '{' expected near end of file\"}\n"
                                   "{\"error\": \"the line is no JSON object\"}\n"
                                   "{\"error\": \"'now' must be a string (ISO 8601)\"}\n"
                                   "{\"error\": \"'noon' is no ISO 8601 time such as 2025-03-14T09:26:53\"}\n"
                                   "{\"text\": \"a\\u0000b\"}\n"
                                   "{\"error\": \"No \\\"more\\\"!\"}\n"
                                   "{\"error\": \"line 1: a value of type int cannot be iterated over\"}\n"
                                   "{\"text\": \"\"}\n";
    if (!has_program()) return;
    assert_int_equal(run(*state, source, input, sizeof input - 1), 0);
    char *output = read_file(((files *)*state)->output);
    /* where jansson says the column of an empty line, versions differ: compare the number of lines, and the
     * others */
    const char *a = output, *b = expected;
    for (int line = 1; *b != '\0'; line++) {
        const size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");
        if (line != 2 && line != 3 && (n != m || strncmp(a, b, n) != 0))
            fail_msg("line %d: %.*s", line, (int)n, a);
        assert_true(a[n] == '\n');
        a += n + 1, b += m + 1;
    }
    assert_string_equal(a, "");
    qn_free(output);
}

static void a_long_line_is_one_line(void **state)
{
    static const char head[] = "{\"x\": \"", tail[] = "\"}\n{\"x\": 1}\n";
    enum { LENGTH = 3000000 };
    if (!has_program()) return;
    char *input = malloc(LENGTH + sizeof head + sizeof tail);
    assert_non_null(input);
    memcpy(input, head, sizeof head - 1);
    memset(input + sizeof head - 1, 'y', LENGTH);
    memcpy(input + sizeof head - 1 + LENGTH, tail, sizeof tail - 1);
    assert_int_equal(run(*state, "{{ x|string|length }}", input, LENGTH + sizeof head + sizeof tail - 2), 0);
    char *output = read_file(((files *)*state)->output);
    assert_string_equal(output, "{\"text\": \"3000000\"}\n{\"text\": \"1\"}\n");
    qn_free(output);
    free(input);
}

static void a_broken_template_is_told_for_each_line_and_at_the_end(void **state)
{
    if (!has_program()) return;
    assert_int_equal(run(*state, "a\n{% if %}", "{}\n{}\n", 6), 1);
    char *output = read_file(((files *)*state)->output), *errors = read_file(((files *)*state)->errors);
    static const char line[] = "{\"error\": \"line 2: unexpected '%}', expected an expression\"}\n";
    assert_int_equal(strlen(output), 2 * (sizeof line - 1));
    assert_memory_equal(output, line, sizeof line - 1);
    assert_memory_equal(output + sizeof line - 1, line, sizeof line - 1);
    assert_non_null(strstr(errors, "quern: "));
    assert_non_null(strstr(errors, "t.jinja: line 2: unexpected '%}'"));
    assert_int_equal(strcspn(errors, "\n"), strlen(errors) - 1); /* one line */
    qn_free(output);
    qn_free(errors);
}

static void what_a_model_wrote_is_parsed(void **state)
{
    static const char input[] = "{\"text\": \"<think>Hm</think>Yes\"}\n"
                                "{\"text\": \"<think>Hm</think>Yes\", \"reasoning\": false}\n"
                                "{\"text\": \"Hm</think>Yes\", \"prompt_end\": \"<think>\\n\"}\n"
                                "{\"text\": \"<tool_call>{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": "
                                "{}}</tool_call>\", \"tools\": []}\n"
                                "{\"text\": 1}\n"
                                "{\"text\": \"\", \"tools\": [1]}\n"
                                "[]\n"
                                "{\"text\": \"\"}"; /* no line end */
    static const char expected[] =
        "{\"message\": {\"role\": \"assistant\", \"content\": \"Yes\", \"reasoning_content\": \"Hm\"}}\n"
        "{\"message\": {\"role\": \"assistant\", \"content\": \"<think>Hm</think>Yes\"}}\n"
        "{\"message\": {\"role\": \"assistant\", \"content\": \"Yes\", \"reasoning_content\": \"Hm\"}}\n"
        "{\"message\": {\"role\": \"assistant\", \"content\": \"<tool_call>{\\\"name\\\": \\\"f\\\", "
        "\\\"arguments\\\": "
        "{}}</tool_call>\"}}\n"
        "{\"error\": \"'text' is missing or no string\"}\n"
        "{\"error\": \"tools[0]: 'function' is missing or no object\"}\n"
        "{\"error\": \"the line is no JSON object\"}\n"
        "{\"message\": {\"role\": \"assistant\", \"content\": \"\"}}\n";
    if (!has_program()) return;
    const files *f = *state;
    char by_template[160];
    write_file(f->source, "{{ '<tool_call>' }}", 19);
    snprintf(by_template, sizeof by_template, "parse --template '%s' --jsonl", f->source);
    const char *const commands[] = {"parse --format hermes --jsonl", by_template};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(run_command(f, commands[i], input, sizeof input - 1), 0);
        char *output = read_file(f->output);
        assert_string_equal(output, expected);
        qn_free(output);
    }
    assert_int_equal(run_command(f, "parse --format unknown --jsonl", "", 0), 2);
    assert_int_equal(run_command(f, "parse --jsonl", "", 0), 2);
    assert_int_equal(run_command(f, "parse --template /nowhere --jsonl", "", 0), 1);
    assert_int_equal(run_command(f, "parse --list", "", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_line_is_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_model_wrote_is_parsed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_line_is_one_line, setup, teardown),
        cmocka_unit_test_setup_teardown(a_broken_template_is_told_for_each_line_and_at_the_end, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
