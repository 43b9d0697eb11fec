/* golden_test.c: published chat templates against what Python's jinja2 makes of them. Skipped where
 * the golden data is not at hand (QUERN_GOLDEN). */
#include "chat_test.h"
#include "golden_templates.h"

typedef struct totals {
    int cases, equal, refused, lenient;
} totals;

/* The variables of one case: its own fields, and documents and tools as none unless it says otherwise. */
static json_t *case_variables(json_t *row)
{
    json_t *v = json_object(), *extra = json_object_get(row, "extra");
    static const char *const names[] = {"messages", "tools", "add_generation_prompt", "bos_token",
                                        "eos_token"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        json_object_set(v, names[i], json_object_get(row, names[i]));
    json_object_set_new(v, "documents", json_null());
    if (json_is_true(json_object_get(row, "tools_undefined")))
        json_object_del(v, "tools"), json_object_del(v, "documents");
    if (json_is_object(extra)) json_object_update(v, extra);
    return v;
}

static void run_case(const qn_jinja *t, const char *name, json_t *row, totals *n)
{
    json_t *v = case_variables(row);
    qn_buffer text = {0};
    quern_error err = {0};
    const char *expect = json_string_value(json_object_get(row, "expect"));
    const char *error = json_string_value(json_object_get(row, "error"));
    const char *type = json_string_value(json_object_get(row, "error_type"));
    const quern_status status = qn_jinja_render(t, v, TEST_NOW, NULL, &text, &err);
    bool right = true;
    n->cases++;
    if (expect != NULL) {
        right = status == QUERN_OK && strcmp(text.data != NULL ? text.data : "", expect) == 0;
        n->equal += right;
    } else if (strcmp(type, "TemplateError") == 0) { /* refused by the template: with its own words */
        right = status == QUERN_ERR_TEMPLATE && strcmp(err.message, error) == 0;
        n->refused += right;
    } else { /* Python cannot; we may */
        n->lenient += status == QUERN_OK;
    }
    if (!right) {
        print_error("%s, %s: %s\n", name, json_string_value(json_object_get(row, "case")),
                    status == QUERN_OK ? "differs" : err.message);
        fail();
    }
    qn_buffer_deinit(&text);
    json_decref(v);
}

static void run_template(const golden_template *golden, void *user)
{
    quern_error err = {0};
    qn_jinja *t;
    if (qn_jinja_parse(&t, golden->source, golden->n_source, &err) != QUERN_OK)
        fail_msg("%s: %s", golden->name, err.message);
    for (const char *line = golden->cases; *line != '\0';) {
        const size_t n = strcspn(line, "\n");
        json_t *row = json_loadb(line, n, 0, NULL);
        assert_non_null(row);
        run_case(t, golden->name, row, user);
        json_decref(row);
        line += n + (line[n] == '\n');
    }
    qn_jinja_destroy(t);
}

static void published_templates_render_as_in_python(void **state)
{
    (void)state;
    totals n = {0};
    const int n_templates = each_golden_template(run_template, &n);
    print_message(
        "%d templates, %d cases: %d equal, %d refused with the template's words, %d rendered where Python "
        "fails, %d fail as there\n",
        n_templates, n.cases, n.equal, n.refused, n.lenient, n.cases - n.equal - n.refused - n.lenient);
    assert_true(n_templates > 0 && n.cases > n_templates);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(published_templates_render_as_in_python)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
