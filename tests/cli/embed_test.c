/* embed_test.c: `quern embed` and `quern rerank` on tiny models: the forms of what comes out, the same
 * vectors whichever way texts come in, and one line for whatever is wrong. */
#include "cli_util.h"

#include <jansson.h>
#include <math.h>

enum { N_EMBD = 256 };

static const char *encoder, *reranker, *generator;

/* The numbers of a file. */
static float *read_floats(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    float *x = malloc(1 << 22);
    *n = fread(x, sizeof *x, (1 << 22) / sizeof *x, f);
    fclose(f);
    return x;
}

static void raw_files_hold_what_was_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *pooling;
        size_t n;
    } cases[] = {{"none", 3 * N_EMBD}, {"mean", N_EMBD}, {"cls", N_EMBD}, {"last", N_EMBD}};
    cli_write(cli_path("ids.txt"), "1 40\n300 ", 9);
    size_t n;
    float *all[4];
    for (size_t i = 0; i < 4; i++) {
        cli_result r = cli_run(cli_format("embed %s --ids %s --out %s --pooling %s", encoder,
                                          cli_path("ids.txt"), cli_path("out.f32"), cases[i].pooling),
                               NULL);
        if (r.code != 0) fail_msg("%s", r.err);
        assert_int_equal(r.n_out, 0);
        cli_free(&r);
        all[i] = read_floats(cli_path("out.f32"), &n);
        assert_int_equal(n, cases[i].n);
    }
    assert_memory_equal(all[0], all[2], N_EMBD * sizeof(float));
    assert_memory_equal(all[0] + 2 * (size_t)N_EMBD, all[3], N_EMBD * sizeof(float));
    for (size_t i = 0; i < 4; i++) free(all[i]);
    cli_result r = cli_run(cli_format("embed %s --ids %s --out %s --pooling rank", reranker,
                                      cli_path("ids.txt"), cli_path("out.f32")),
                           NULL);
    assert_int_equal(r.code, 0);
    cli_free(&r);
    free(read_floats(cli_path("out.f32"), &n));
    assert_int_equal(n, 1);
}

static json_t *run_json(const char *arguments, const char *input)
{
    cli_result r = cli_run(arguments, input);
    json_t *o = json_loadb(r.out, r.n_out, 0, NULL);
    if (r.code != 0 || o == NULL) fail_msg("'%s': exit %d: %s%s", arguments, r.code, r.err, r.out);
    cli_free(&r);
    return o;
}

/* Arguments, lines of a file and of standard input, printed and as JSON: the same vectors. */
static void texts_come_in_many_ways(void **state)
{
    (void)state;
    static const char lines[] = "hello\r\n\nworld";
    cli_write(cli_path("lines.txt"), lines, sizeof lines - 1);
    json_t *by_file =
        run_json(cli_format("embed %s --json --normalize -f %s", encoder, cli_path("lines.txt")), NULL);
    json_t *by_input = run_json(cli_format("embed %s --json --normalize", encoder), lines);
    json_t *by_argument =
        run_json(cli_format("embed\x1f%s\x1f--json\x1f--normalize\x1fhello\x1f\x1fworld", encoder), NULL);
    assert_true(json_equal(by_file, by_input));
    assert_true(json_equal(by_file, by_argument));
    assert_string_equal(json_string_value(json_object_get(by_file, "pooling")), "mean");
    const json_t *texts = json_object_get(by_file, "embeddings");
    assert_int_equal(json_array_size(texts), 3);
    cli_result r = cli_run(cli_format("embed %s hello world --normalize", encoder), NULL);
    const char *at = r.out;
    for (size_t i = 0; i < 3; i += 2) {
        const json_t *vector = json_object_get(json_array_get(texts, i), "embedding");
        double squares = 0;
        assert_int_equal(json_array_size(vector), N_EMBD);
        for (size_t k = 0; k < N_EMBD; k++) {
            char *end;
            const double value = json_number_value(json_array_get(vector, k));
            assert_true((float)strtod(at, &end) == (float)value);
            squares += value * value;
            at = end;
        }
        assert_true(fabs(squares - 1) < 1e-5);
        assert_int_equal(*at++, '\n');
    }
    assert_int_equal(at - r.out, r.n_out);
    cli_free(&r);
    json_decref(by_file), json_decref(by_input), json_decref(by_argument);
}

static void documents_are_sorted(void **state)
{
    (void)state;
    json_t *o = run_json(cli_format("rerank\x1f%s\x1fhello\x1f--json\x1fthe world\x1f"
                                    "a\x1fword300\x1f",
                                    reranker),
                         NULL);
    const json_t *results = json_object_get(o, "results");
    assert_int_equal(json_array_size(results), 4); /* an empty one too */
    double before = INFINITY;
    bool seen[4] = {false};
    for (size_t i = 0; i < 4; i++) {
        const json_t *one = json_array_get(results, i);
        const double score = json_number_value(json_object_get(one, "score"));
        assert_true(score <= before);
        before = score;
        seen[json_integer_value(json_object_get(one, "index"))] = true;
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
    json_t *best =
        run_json(cli_format("rerank %s hello --json --top 1", reranker), "the world\na\nword300\n\n");
    const json_t *first = json_array_get(json_object_get(best, "results"), 0);
    assert_int_equal(json_array_size(json_object_get(best, "results")), 1);
    assert_true(json_equal(first, json_array_get(results, 0)));
    json_decref(o), json_decref(best);
}

static void what_is_wrong_is_said_in_one_line(void **state)
{
    (void)state;
    cli_write(cli_path("ids.txt"), "1 40 300", 8);
    cli_write(cli_path("nothing.txt"), "", 0);
    char ids[128];
    snprintf(ids, sizeof ids, "%s", cli_path("ids.txt"));
    cli_expect_failure(cli_format("embed %s hello --pooling median", encoder), NULL, 2, "median");
    cli_expect_failure(cli_format("embed %s hello --ids %s", encoder, ids), NULL, 2, "--ids");
    cli_expect_failure(cli_format("embed %s --pooling rank hello", encoder), NULL, 1, "cls.output.weight");
    cli_expect_failure(cli_format("embed %s --ids %s -c 2", encoder, ids), NULL, 1, "3 tokens do not fit");
    cli_expect_failure(cli_format("embed %s -f %s", encoder, cli_path("nothing.txt")), NULL, 1, "no texts");
    cli_expect_failure(cli_format("embed %s -f %s", encoder, cli_path("missing.txt")), NULL, 1,
                       "missing.txt");
    cli_expect_failure(cli_format("embed %s hello --out %s", encoder, cli_path("no/such/file")), NULL, 1,
                       "no/such/file");
    cli_expect_failure(cli_format("rerank %s hello world", encoder), NULL, 1, "classification head");
    cli_expect_failure(cli_format("rerank %s hello -f %s", reranker, cli_path("nothing.txt")), NULL, 1,
                       "no documents");
    cli_expect_failure(cli_format("run %s hello", encoder), NULL, 1, "makes embeddings");
    cli_expect_failure(cli_format("logits %s --ids %s --out %s", encoder, ids, cli_path("out.f32")), NULL, 1,
                       "makes embeddings");
    cli_result r = cli_run_to(cli_format("embed %s", encoder), "a\0b", 3, NULL);
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "NUL"));
    cli_free(&r);
}

/* Other commands know that there are models that only embed; and generators do it too. */
static void encoders_are_models_like_others(void **state)
{
    (void)state;
    json_t *shown = run_json(cli_format("show %s --json", encoder), NULL);
    assert_true(json_is_false(json_object_get(shown, "generates")));
    assert_string_equal(json_string_value(json_object_get(shown, "pooling")), "mean");
    json_decref(shown);
    json_t *verified = run_json(cli_format("verify %s --json", encoder), NULL);
    assert_true(json_is_true(json_object_get(verified, "ok")));
    json_decref(verified);
    cli_result r = cli_run(cli_format("explain %s", encoder), NULL);
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "both ways"));
    assert_non_null(strstr(r.out, "layer_norm(x)"));
    assert_non_null(strstr(r.out, "row of the position"));
    cli_free(&r);
    json_t *o = run_json(cli_format("embed %s --json hello", generator), NULL);
    assert_string_equal(json_string_value(json_object_get(o, "pooling")), "last");
    json_decref(o);
}

static int set_up(void **state)
{
    if (cli_set_up(state) != 0) return -1;
    static char paths[3][128];
    static const char *const names[] = {"encoder", "reranker", "generator"};
    static const tiny_model models[] = {{.arch = "bert", .n_ctx = 128, .seed = 1},
                                        {.arch = "jina-bert-v2", .n_ctx = 128, .seed = 2, .n_scores = 1},
                                        {.arch = "qwen3", .n_ctx = 128, .seed = 3}};
    for (size_t i = 0; i < 3; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s.gguf", cli_directory, names[i]);
        if (!tiny_model_write(paths[i], &models[i])) return -1;
    }
    encoder = paths[0], reranker = paths[1], generator = paths[2];
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_files_hold_what_was_asked_for), cmocka_unit_test(texts_come_in_many_ways),
        cmocka_unit_test(documents_are_sorted), cmocka_unit_test(what_is_wrong_is_said_in_one_line),
        cmocka_unit_test(encoders_are_models_like_others)};
    return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}
