/* golden_test.c: every row of the golden tokenizer data of the kinds that are read: texts to ids, ids
 * to text and to pieces, and the stream of pieces against the whole text. */
#include "vocab_util.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static int failures, n_normalized;

static void complain(const char *name, int line, const char *what, const char *found, const char *wanted)
{
    if (failures++ < 20) printf("%s row %d: %s\n  found  %s\n  wanted %s\n", name, line, what, found, wanted);
}

static quern_token *ids_of(const json_t *array, size_t *n)
{
    *n = json_array_size(array);
    quern_token *ids = calloc(*n + 1, sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < *n; i++) ids[i] = (quern_token)json_integer_value(json_array_get(array, i));
    return ids;
}

static char *show_ids(const quern_token *ids, size_t n)
{
    char *text = malloc(n * 12 + 1), *at = text;
    assert_non_null(text);
    *at = '\0';
    for (size_t i = 0; i < n; i++) at += sprintf(at, "%d ", ids[i]);
    return text;
}

/* Published tokenizers that normalize to form C differ from the reference, which does not, for texts that
 * are not in that form. Rows without parse_special then have hf_ids; the others have none, and there
 * the ids must be those of the normalized text. */
static bool normalized_ids(const qn_vocab *v, const char *name, const json_t *row, unsigned flags,
                           quern_token **ids, size_t *n)
{
    if (strcmp(name, "qwen2") != 0 || json_object_get(row, "hf_ids") != NULL) return false;
    const char *text = json_string_value(json_object_get(row, "text"));
    char *normal = (char *)utf8proc_NFC((const utf8proc_uint8_t *)text);
    assert_non_null(normal);
    const bool changed =
        strlen(text) == json_string_length(json_object_get(row, "text")) && strcmp(text, normal) != 0;
    if (changed) {
        quern_token *found = test_tokenize(v, normal, strlen(normal), flags, n);
        *ids = calloc(*n + 1, sizeof **ids);
        assert_non_null(*ids);
        memcpy(*ids, found, *n * sizeof **ids);
        qn_free(found);
        n_normalized++;
    }
    free(normal);
    return changed;
}

static void check_tokenize(const qn_vocab *v, const char *name, int line, const json_t *row)
{
    const json_t *text = json_object_get(row, "text"), *wanted_ids = json_object_get(row, "hf_ids");
    if (wanted_ids == NULL) wanted_ids = json_object_get(row, "ids");
    unsigned flags = 0;
    if (json_is_true(json_object_get(row, "add_special"))) flags |= QN_TOKENIZE_ADD_SPECIAL;
    if (json_is_true(json_object_get(row, "parse_special"))) flags |= QN_TOKENIZE_PARSE_SPECIAL;
    size_t n_wanted, n_found;
    quern_token *wanted;
    if (!normalized_ids(v, name, row, flags, &wanted, &n_wanted)) wanted = ids_of(wanted_ids, &n_wanted);
    quern_token *found = test_tokenize(v, json_string_value(text), json_string_length(text), flags, &n_found);
    if (n_found != n_wanted || memcmp(found, wanted, n_found * sizeof *found) != 0) {
        char *a = show_ids(found, n_found), *b = show_ids(wanted, n_wanted);
        complain(name, line, json_string_value(text), a, b);
        free(a), free(b);
    }
    qn_free(found);
    free(wanted);
}

static char *to_hex(const char *bytes, size_t n)
{
    char *hex = malloc(2 * n + 1);
    assert_non_null(hex);
    hex[0] = '\0';
    for (size_t i = 0; i < n; i++) sprintf(hex + 2 * i, "%02x", (unsigned char)bytes[i]);
    return hex;
}

static void check_pieces(const qn_vocab *v, const char *name, int line, const json_t *row,
                         const quern_token *ids, size_t n, bool show_special)
{
    char *piece = malloc(qn_vocab_max_piece(v));
    assert_non_null(piece);
    for (size_t i = 0; i < n; i++) {
        char *hex = to_hex(piece, qn_vocab_piece(v, ids[i], show_special, piece));
        const char *wanted = json_string_value(json_array_get(json_object_get(row, "pieces_hex"), i));
        if (strcmp(hex, wanted) != 0) complain(name, line, "piece", hex, wanted);
        free(hex);
    }
    free(piece);
}

static void check_detokenize(const qn_vocab *v, const char *name, int line, const json_t *row)
{
    size_t n, n_text;
    quern_token *ids = ids_of(json_object_get(row, "ids"), &n);
    const bool show_special = json_is_true(json_object_get(row, "unparse_special"));
    char *text;
    assert_int_equal(qn_vocab_detokenize(v, ids, n, json_is_true(json_object_get(row, "remove_special")),
                                         show_special, &text, &n_text, NULL),
                     QUERN_OK);
    const json_t *detok = json_object_get(row, "detok");
    char *found = to_hex(text, n_text);
    char *wanted = detok != NULL ? to_hex(json_string_value(detok), json_string_length(detok))
                                 : strdup(json_string_value(json_object_get(row, "detok_hex")));
    if (strcmp(found, wanted) != 0) complain(name, line, "detokenize", found, wanted);
    free(found), free(wanted);
    qn_free(text);
    check_pieces(v, name, line, row, ids, n, show_special);
    free(ids);
}

static void check_rows(const qn_vocab *v, const char *name)
{
    char path[1024];
    if (!test_path(path, "QUERN_GOLDEN", "tokenizer/%s.CASES.jsonl", name)) {
        fail_msg("no cases for %s", name);
    }
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char *text = NULL;
    size_t capacity = 0;
    int line = 0, n_tokenize = 0, n_detokenize = 0;
    const int failures_before = failures;
    while (getline(&text, &capacity, f) > 0) {
        json_t *row = json_loads(text, JSON_ALLOW_NUL, NULL);
        assert_non_null(row);
        line++;
        if (json_object_get(row, "text") != NULL) n_tokenize++, check_tokenize(v, name, line, row);
        else n_detokenize++, check_detokenize(v, name, line, row);
        json_decref(row);
    }
    free(text);
    fclose(f);
    printf("%s: %d rows of text, %d rows of ids, %d differ\n", name, n_tokenize, n_detokenize,
           failures - failures_before);
    assert_true(n_tokenize > 0 && n_detokenize > 0);
}

static void test_one(const char *name, const char *variable, const char *format, const char *file)
{
    char path[1024];
    if (!test_path(path, variable, format, file)) {
        printf("skipped: %s (%s names no folder with %s)\n", name, variable, file);
        return;
    }
    test_vocab t;
    test_vocab_open_file(&t, path);
    check_rows(t.vocab, name);
    test_vocab_close(&t);
}

static void all_golden_rows_are_equal(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-spm",      "phi-3",        "gpt-2",         "starcoder",
                                        "deepseek-coder", "deepseek-llm", "llama-bpe",     "qwen2",
                                        "gemma-4",        "bert-bge",     "nomic-bert-moe"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        test_one(names[i], "QUERN_GOLDEN", "tokenizer/ggml-vocab-%s.gguf", names[i]);
    test_one("smollm2", "QUERN_MODELS_REAL", "%s", "SmolLM2-135M-Instruct.Q4_1.gguf");
    test_one("gemma3", "QUERN_MODELS_REAL", "%s", "gemma-3-270m-q4_k_m.gguf");
    if (n_normalized > 0) printf("%d rows of text that the reference does not normalize\n", n_normalized);
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_golden_rows_are_equal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
