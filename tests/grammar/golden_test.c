/* golden_test.c: reference grammars: what they accept, what they reject, and texts that are no grammars. */
#include "grammar_util.h"
#include "support/golden.h"

#include "grammar/gbnf.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *read_lines(const char *relative)
{
    char path[1024];
    if (!golden_path(path, relative)) return NULL;
    size_t n_bytes;
    char *text = golden_read(path, &n_bytes);
    json_t *rows = json_array();
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        json_t *row = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(row);
        json_array_append_new(rows, row);
    }
    free(text);
    return rows;
}

static int check_list(test_language *l, const json_t *row, const char *list, bool wanted)
{
    int n = 0;
    size_t i;
    json_t *text;
    json_array_foreach(json_object_get(row, list), i, text)
    {
        n++;
        if (test_takes(l->automaton, json_string_value(text), json_string_length(text)) != wanted)
            fail_msg("%s: '%s' is not in %s", json_string_value(json_object_get(row, "name")),
                     json_string_value(text), list);
    }
    return n;
}

static void grammars_accept_what_they_must(void **state)
{
    (void)state;
    json_t *rows = read_lines("grammar/cases.jsonl"), *row;
    size_t i;
    int n = 0;
    if (rows == NULL) skip();
    json_array_foreach(rows, i, row)
    {
        test_language l = test_gbnf(json_string_value(json_object_get(row, "grammar")));
        n += check_list(&l, row, "accept", true);
        n += check_list(&l, row, "reject", false);
        test_language_close(&l);
    }
    printf("%zu grammars, %d texts\n", json_array_size(rows), n);
    assert_true(n > 0);
    json_decref(rows);
}

static void other_texts_are_no_grammars(void **state)
{
    (void)state;
    json_t *rows = read_lines("grammar/errors.jsonl"), *row;
    size_t i;
    if (rows == NULL) skip();
    json_array_foreach(rows, i, row)
    {
        const char *text = json_string_value(json_object_get(row, "grammar"));
        qn_network n;
        quern_error err = {0};
        if (qn_gbnf_build(&n, text, strlen(text), &err) != QUERN_ERR_ARGUMENT)
            fail_msg("%s is accepted", json_string_value(json_object_get(row, "name")));
        assert_true(strncmp(err.message, "grammar", 7) == 0);
    }
    json_decref(rows);
}

/* How many texts of a list are taken. */
static int count_taken(test_language *l, const json_t *row, const char *list, int *n)
{
    int n_taken = 0;
    size_t i;
    json_t *text;
    json_array_foreach(json_object_get(row, list), i, text)
    {
        ++*n;
        n_taken += test_takes(l->automaton, json_string_value(text), json_string_length(text));
    }
    return n_taken;
}

static void schemas_accept_what_they_must(void **state)
{
    (void)state;
    json_t *rows = read_lines("schema/cases.jsonl"), *row;
    size_t i;
    if (rows == NULL) skip();
    for (int flexible = 0; flexible < 2; flexible++) {
        const qn_json_schema_options options = {.whitespace = flexible ? QN_JSON_FLEXIBLE : QN_JSON_COMPACT};
        int n_valid = 0, n_invalid = 0, n_hard = 0, n_other = 0, other = 0;
        json_array_foreach(rows, i, row)
        {
            char *schema = json_dumps(json_object_get(row, "schema"), JSON_ENCODE_ANY);
            test_language l = test_schema(schema, &options);
            n_valid += check_list(&l, row, "valid", true);
            n_invalid += check_list(&l, row, "invalid", false);
            n_hard += check_list(&l, row, "invalid_hard", false);
            other += count_taken(&l, row, "valid_other", &n_other);
            test_language_close(&l);
            free(schema);
        }
        printf("%zu schemas, %s: %d valid, %d invalid and %d hard ones, %d of %d other spellings taken\n",
               json_array_size(rows), flexible ? "flexible" : "compact", n_valid, n_invalid, n_hard, other,
               n_other);
        assert_true(n_valid > 0 && n_invalid > 0);
    }
    json_decref(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(grammars_accept_what_they_must),
                                       cmocka_unit_test(other_texts_are_no_grammars),
                                       cmocka_unit_test(schemas_accept_what_they_must)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
