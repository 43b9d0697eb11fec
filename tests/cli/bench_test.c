/* bench_test.c: `quern bench` on a tiny model: which rows there are, the forms of its output, wrong usage. No
 * speed is expected of anything. */
#include "cli_util.h"

#include <jansson.h>
#include <math.h>

static const char *model, *hostile; /* hostile: its name is full of what XML, CSV and terminals mind */

static json_t *rows_of(const char *options)
{
    cli_result r = cli_run(cli_format("bench %s %s --json", model, options), NULL);
    json_t *rows = json_loadb(r.out, r.n_out, 0, NULL);
    if (r.code != 0 || !json_is_array(rows)) fail_msg("'%s': exit %d: %s%s", options, r.code, r.err, r.out);
    assert_int_equal(r.n_err, 0);
    cli_free(&r);
    return rows;
}

static const char *text_of(const json_t *rows, size_t i, const char *key)
{
    const json_t *value = json_object_get(json_array_get(rows, i), key);
    if (!json_is_string(value)) fail_msg("row %zu: '%s' is no text", i, key);
    return json_string_value(value);
}

static double number_of(const json_t *rows, size_t i, const char *key)
{
    const json_t *value = json_object_get(json_array_get(rows, i), key);
    if (!json_is_number(value)) fail_msg("row %zu: '%s' is no number", i, key);
    return json_number_value(value);
}

static void rows_keep_their_fields(void **state)
{
    (void)state;
    json_t *rows = rows_of("--prompt 8 --gen 4 --threads 2 --reps 3");
    static const char *const texts[] = {"engine",          "model",   "type", "cache_type",
                                        "instruction_set", "version", "time"};
    static const char *const numbers[] = {
        "tokens_per_second", "stddev", "min", "max", "mean", "load_seconds", "weight_bytes_per_token",
        "kv_bytes_per_token"};
    assert_int_equal(json_array_size(rows), 2);
    assert_string_equal(text_of(rows, 0, "test"), "prompt8");
    assert_string_equal(text_of(rows, 1, "test"), "gen4");
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++)
            assert_true(*text_of(rows, i, texts[k]) != 0);
        for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++)
            assert_true(isfinite(number_of(rows, i, numbers[k])) && number_of(rows, i, numbers[k]) >= 0);
        assert_true(number_of(rows, i, "tokens_per_second") > 0);
        assert_true(number_of(rows, i, "min") <= number_of(rows, i, "tokens_per_second"));
        assert_true(number_of(rows, i, "max") >= number_of(rows, i, "tokens_per_second"));
        assert_int_equal((int)number_of(rows, i, "depth"), 0);
        assert_int_equal((int)number_of(rows, i, "threads"), 2);
        assert_int_equal((int)number_of(rows, i, "reps"), 3);
        assert_int_equal(json_array_size(json_object_get(json_array_get(rows, i), "samples")), 3);
        assert_true(json_is_null(json_object_get(json_array_get(rows, i), "memory_share")));
    }
    json_decref(rows);
}

static void every_combination_is_a_row(void **state)
{
    (void)state;
    json_t *rows = rows_of("-p 4,8 -n 2 -pg 4,2 -pg 2,1 -d 0,70 -t 1 -b 4,16 --cache-type f16,q8_0/f32 "
                           "--parallel 1,3 -r 1");
    /* cache 2, depth 2; for the first batch 2 prompts, 2 generations and 4 mixed, for the other no
     * generations */
    assert_int_equal(json_array_size(rows), 2 * 2 * (2 + 2 + 4 + 2 + 4));
    size_t n_mixed = 0, n_deep = 0, n_three = 0, n_q8 = 0, n_small_batch = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        n_mixed += strcmp(text_of(rows, i, "test"), "prompt4+gen2") == 0;
        n_deep += number_of(rows, i, "depth") == 70;
        n_three += number_of(rows, i, "parallel") == 3;
        n_q8 += strcmp(text_of(rows, i, "cache_type"), "q8_0/f32") == 0;
        n_small_batch += number_of(rows, i, "batch") == 4;
    }
    assert_int_equal(n_mixed, 4 * 4);
    assert_int_equal(n_deep, 28);
    assert_int_equal(n_three, 4 * 5);
    assert_int_equal(n_q8, 28);
    assert_int_equal(n_small_batch, 4 * 8);
    json_decref(rows);
    rows = rows_of("-p 4 -n 0 -t 1-2 -r 1");
    assert_int_equal(json_array_size(rows), 2);
    assert_int_equal((int)number_of(rows, 1, "threads"), 2);
    json_decref(rows);
    rows = rows_of("-p 0 -n 1-8*2,3 -r 1 -t 1"); /* ranges; 0 leaves a test out */
    static const char *const names[] = {"gen1", "gen2", "gen4", "gen8", "gen3"};
    assert_int_equal(json_array_size(rows), 5);
    for (size_t i = 0; i < 5; i++) assert_string_equal(text_of(rows, i, "test"), names[i]);
    json_decref(rows);
}

static void limits_and_profiles_are_told(void **state)
{
    (void)state;
    json_t *rows = rows_of("-p 8 -n 2 -r 1 -t 1 --limits --profile");
    for (size_t i = 0; i < 2; i++) {
        assert_true(number_of(rows, i, "memory_share") > 0 && number_of(rows, i, "vector_share") > 0);
        assert_true(number_of(rows, i, "limit_bytes_per_second") > 0);
        assert_true(number_of(rows, i, "limit_int8_ops_per_second") > 0);
        assert_true(number_of(rows, i, "limit_float_ops_per_second_1") > 0);
        json_t *profile = json_object_get(json_array_get(rows, i), "profile");
        assert_true(json_array_size(profile) > 4);
        for (size_t k = 0; k < json_array_size(profile); k++) {
            assert_true(number_of(profile, k, "calls") > 0);
            assert_true(*text_of(profile, k, "instruction") != 0);
        }
    }
    json_decref(rows);
    cli_result r = cli_run(cli_format("bench %s -p 8 -n 2 -r 1 -t 1 --profile", model), NULL);
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "profile of prompt8"));
    assert_non_null(strstr(r.out, "profile of gen2"));
    assert_non_null(strstr(r.out, "matmul"));
    cli_free(&r);
}

static void tables_are_aligned(void **state)
{
    (void)state;
    static const char *const forms[] = {"", "--markdown"};
    for (size_t f = 0; f < 2; f++) {
        cli_result r = cli_run(cli_format("bench %s -p 4 -n 2 -d 0,64 -r 2 -t 1 %s", model, forms[f]), NULL);
        assert_int_equal(r.code, 0);
        char *table = strstr(r.out, f == 0 ? "\ntest" : "\n| test");
        assert_non_null(table);
        const size_t width = strcspn(table + 1, "\n");
        size_t n_lines = 0;
        for (char *line = table + 1; *line != '\0'; line += width + 1, n_lines++)
            assert_int_equal(strcspn(line, "\n"), width);
        assert_int_equal(n_lines, f == 0 ? 5 : 6);
        assert_non_null(strstr(table, "depth"));
        assert_null(strstr(table, "parallel")); /* it does not vary */
        cli_free(&r);
    }
}

/* Fields of a CSV line (RFC 4180), which ends at the returned pointer. */
static const char *count_fields(const char *p, size_t *n)
{
    for (*n = 1; *p != '\n' && *p != '\0'; p++) {
        if (*p == ',') ++*n;
        if (*p != '"') continue;
        for (p++; *p != '"' || p[1] == '"'; p++) {
            assert_true(*p != '\0');
            if (*p == '"') p++;
        }
        assert_true(p[1] == ',' || p[1] == '\n');
    }
    return p;
}

static void csv_has_as_many_fields_in_every_line(void **state)
{
    (void)state;
    cli_result r = cli_run(cli_format("bench %s -p 4,8 -n 2 -r 1 -t 1 --csv", hostile), NULL);
    assert_int_equal(r.code, 0);
    assert_int_equal(strncmp(r.out, "engine,test,model,type,", 23), 0);
    size_t n_lines = 0, n_titles = 0, n;
    for (const char *p = r.out; *p != '\0'; n_lines++) {
        p = count_fields(p, &n);
        if (n_lines == 0) n_titles = n;
        assert_int_equal(n, n_titles);
        assert_int_equal(*p++, '\n');
    }
    assert_int_equal(n_lines, 4);
    assert_true(n_titles > 25);
    cli_free(&r);
}

/* Well-formed, as far as we write it: tags close in order, attributes are quoted, text is escaped. */
static void check_xml(const char *p)
{
    char open[32][16];
    size_t depth = 0, n_elements = 0;
    while (*p != '\0') {
        if (*p == '&')
            assert_true(strncmp(p, "&lt;", 4) == 0 || strncmp(p, "&gt;", 4) == 0 ||
                        strncmp(p, "&amp;", 5) == 0 || strncmp(p, "&quot;", 6) == 0);
        assert_true(*p != '>' && ((unsigned char)*p >= 0x20 || *p == '\n'));
        if (*p++ != '<') continue;
        const bool closes = *p == '/';
        p += closes;
        const size_t n = strcspn(p, " />");
        assert_in_range(n, 1, 15);
        if (closes) {
            assert_true(depth > 0 && strncmp(open[depth - 1], p, n) == 0 && open[depth - 1][n] == '\0');
            depth--;
            p += n;
            assert_int_equal(*p++, '>');
            continue;
        }
        assert_true(depth < 32 && (depth > 0 || n_elements == 0)); /* one root */
        n_elements++;
        snprintf(open[depth++], sizeof open[0], "%.*s", (int)n, p);
        for (p += n; *p == ' ';) {
            p += strcspn(p, "=<>");
            assert_int_equal(strncmp(p, "=\"", 2), 0);
            p += 2;
            p += strcspn(p, "\"<&");
            assert_int_equal(*p++, '"');
        }
        if (*p == '/') p++, depth--;
        assert_int_equal(*p++, '>');
    }
    assert_int_equal(depth, 0);
    assert_true(n_elements > 10);
}

static char *read_all(const char *path)
{
    static char text[1 << 20];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

static void pictures_are_well_formed(void **state)
{
    (void)state;
    static const char *const options[] = {
        "-p 4 -n 2 -pg 3,2",        "-p 4 -n 2 -d 0,64,128",
        "-p 4 -n 2 -t 1,2 -d 0,64", "-p 0 -n 2 --parallel 1-8*2 --cache-type f16,f32",
        "-p 40 -n 0 -b 1,8,40",     "-p 4 -n 0"};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        cli_result r = cli_run(
            cli_format("bench %s %s -r 2 --plot %s", hostile, options[i], cli_path("plot.svg")), NULL);
        if (r.code != 0) fail_msg("%s: exit %d: %s", options[i], r.code, r.err);
        cli_free(&r);
        const char *svg = read_all(cli_path("plot.svg"));
        check_xml(svg);
        assert_non_null(strstr(svg, "xmlns=\"http://www.w3.org/2000/svg\""));
        assert_non_null(strstr(svg, "prefers-color-scheme:dark"));
        assert_non_null(strstr(svg, "&lt;&amp;&quot;"));
        assert_non_null(strstr(svg, "tokens/s"));
        assert_true((strstr(svg, "<circle") != NULL) == (i > 0 && i < 5)); /* lines, or bars */
        assert_null(strstr(svg, "nan"));
        assert_null(strstr(svg, "inf"));
    }
}

/* A depth that no memory can hold comes last: the row before it is told all the same. */
static void rows_before_a_failure_are_told(void **state)
{
    (void)state;
    cli_result r =
        cli_run(cli_format("bench %s -p 4 -n 0 -r 1 -t 1 -d 0,16000000 --parallel 4096 -pg 16777216,16777216 "
                           "--cache-type f32 --json",
                           model),
                NULL);
    json_t *rows = json_loadb(r.out, r.n_out, 0, NULL);
    assert_int_equal(r.code, 1);
    assert_int_equal(json_array_size(rows), 1);
    assert_int_equal(strncmp(r.err, "quern: ", 7), 0);
    json_decref(rows);
    cli_free(&r);
}

static void wrong_usage_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "-p x",
        "-p 1,",
        "-p ,1",
        "-p -1",
        "-n 99999999",
        "-n 4294967297",
        "-d 4-2",
        "-d 1-8*1",
        "-d 0-8*2",
        "-d 0-8+0",
        "-d 1-8*",
        "-b 0",
        "-b 1,70000",
        "-t 300",
        "-t 1.5",
        "--parallel 0",
        "--parallel 99999",
        "-p 0-1000",
        "-pg 4",
        "-pg 4,2,1",
        "-pg 0,2",
        "-pg 4,",
        "--cache-type q9",
        "--cache-type f16,",
        "-ctk f16/f32/",
        "--json --csv",
        "-r 0",
        "--csv --profile",
        "-p 0 -n 0",
        "--markdown --csv",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cli_expect_failure(cli_format("bench %s %s", model, wrong[i]), NULL, 2, "bench");
    cli_expect_failure(cli_format("bench %s --plot /no/such/directory/a.svg", model), NULL, 1,
                       "/no/such/directory");
    cli_expect_failure("bench /no/such/model.gguf", NULL, 1, "model");
}

static int set_up(void **state)
{
    if (cli_set_up(state) != 0) return -1;
    static char paths[2][128], bytes[8 << 20];
    snprintf(paths[0], sizeof paths[0], "%s/model.gguf", cli_directory);
    snprintf(paths[1], sizeof paths[1], "%s/hostile.gguf", cli_directory);
    model = paths[0], hostile = paths[1];
    if (!tiny_model_write(model, &(tiny_model){.type = QN_TYPE_Q8_0})) return -1;
    FILE *f = fopen(model, "rb");
    if (f == NULL) return -1;
    const size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    char *name = memmem(bytes, n, "tiny", 4);
    if (name == NULL) return -1;
    memcpy(name, "<&\",", 4);
    cli_write(hostile, bytes, n);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_keep_their_fields),
        cmocka_unit_test(every_combination_is_a_row),
        cmocka_unit_test(limits_and_profiles_are_told),
        cmocka_unit_test(tables_are_aligned),
        cmocka_unit_test(csv_has_as_many_fields_in_every_line),
        cmocka_unit_test(pictures_are_well_formed),
        cmocka_unit_test(rows_before_a_failure_are_told),
        cmocka_unit_test(wrong_usage_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}
