/* catalogue_test.c: the built-in catalogue is sound, a person's own goes before it, a broken one is told. */
#include "store_fixture.h"

static void builtin(void **state)
{
    fixture *f = *state;
    const qn_catalogue *c = &f->store->catalogue;
    assert_true(c->n_entries >= 17);
    assert_non_null(c->default_name);
    char name[QN_NAME_MAX + 1], tag[QN_NAME_MAX + 1];
    assert_true(qn_name_tag_parse(c->default_name, name, tag));
    assert_non_null(qn_catalogue_find(c, name, tag));
    for (size_t i = 0; i < c->n_entries; i++) {
        const qn_catalogue_entry *e = &c->entries[i];
        assert_non_null(qn_catalogue_find(c, e->name, ""));         /* every name has a "latest" */
        assert_ptr_equal(qn_catalogue_find(c, e->name, e->tag), e); /* and every first tag is its own */
        assert_true(e->description != NULL && e->architecture != NULL && e->license != NULL);
        assert_true(e->sources[0].kind != QN_SOURCE_FILE && e->sources[0].kind != QN_SOURCE_NONE);
        /* what does not come from the hub has no other proof than the catalogue */
        assert_true(e->sources[0].kind == QN_SOURCE_HUB || (e->sha256 != NULL && e->size_bytes > 0));
        for (const char *at = e->name; *at != '\0'; at++) assert_false(*at >= 'A' && *at <= 'Z');
    }
    static const char *const wanted[] = {"qwen2.5-coder:7b",      "qwen2.5-coder:32b", "qwen2.5:0.5b",
                                         "nomic-embed-text:v1.5", "phi3:mini-128k",    "deepseek-coder:1.3b",
                                         "deepseek-coder:6.7b",   "qwen2-vl:7b",       "bge-m3",
                                         "e5-large-v2",           "deepseek-v3",       "codegemma:7b",
                                         "starcoder2:7b",         "llama3.2:3b",       "phi3.5-moe",
                                         "smollm2:135m",          "gemma3:270m",       "all-minilm"};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        assert_true(qn_name_tag_parse(wanted[i], name, tag));
        if (qn_catalogue_find(c, name, tag) == NULL) print_error("%s\n", wanted[i]);
        assert_non_null(qn_catalogue_find(c, name, tag));
    }
    assert_int_equal(qn_catalogue_find(c, "gemma3", "270m")->n_sources, 4);
    assert_ptr_equal(qn_catalogue_find(c, "SmolLM2", ""), qn_catalogue_find(c, "smollm2", "135m"));
    assert_null(qn_catalogue_find(c, "smollm2", "7b"));
}

static void own_goes_first(void **state)
{
    fixture *f = *state;
    set_catalogue(f,
                  "{\"version\":1,\"default\":\"mine:1\",\"models\":["
                  "{\"name\":\"mine\",\"tags\":[\"1\",\"latest\"],\"source\":\"https://example.org/m.gguf\"},"
                  "{\"name\":\"smollm2\",\"tags\":[\"135m\"],\"source\":\"file:/x.gguf\"}]}");
    const qn_catalogue *c = &f->store->catalogue;
    assert_string_equal(c->default_name, "mine:1");
    assert_int_equal(qn_catalogue_find(c, "smollm2", "135m")->sources[0].kind, QN_SOURCE_FILE);
    assert_int_equal(qn_catalogue_find(c, "smollm2", "latest")->sources[0].kind, QN_SOURCE_PYPI);
    const quern_store_entry *const *entries, *e;
    size_t n, n_smollm2 = 0;
    assert_int_equal(quern_store_list(f->store, true, &entries, &n, &f->err), QUERN_OK);
    for (size_t i = 0; i < n; i++)
        if (strcmp(entries[i]->name, "smollm2:135m") == 0) n_smollm2++;
    assert_int_equal(n_smollm2, 1);
    expect_status(f, quern_store_resolve(f->store, NULL, &e, &f->err), QUERN_ERR_NOT_FOUND);
    assert_string_equal(e->name, "mine:1");
    assert_string_equal(e->source, "https://example.org/m.gguf");
}

static void refusals(void **state)
{
    fixture *f = *state;
    (void)f;
#define ONE(fields) "{\"version\":1,\"models\":[{" fields "}]}"
#define GOOD        "\"name\":\"a\",\"tags\":[\"b\"],\"source\":\"file:/x\""
    static const char *const rows[][2] = {
        {"", "line"},
        {"[]", "version"},
        {"{\"version\":1,\"version\":1,\"models\":[]}", "duplicate"},
        {"{\"version\":2,\"models\":[]}", "version"},
        {"{\"version\":1}", "models"},
        {"{\"version\":1,\"models\":{}}", "models"},
        {"{\"version\":1,\"default\":3,\"models\":[]}", "default"},
        {"{\"version\":1,\"models\":[1]}", "name"},
        {ONE("\"tags\":[\"b\"],\"source\":\"file:/x\""), "name"},
        {ONE("\"name\":\"../a\",\"tags\":[\"b\"],\"source\":\"file:/x\""), "name"},
        {ONE("\"name\":\"a:b\",\"tags\":[\"b\"],\"source\":\"file:/x\""), "name"},
        {ONE("\"name\":\"a\",\"tags\":[],\"source\":\"file:/x\""), "tags"},
        {ONE("\"name\":\"a\",\"tags\":\"b\",\"source\":\"file:/x\""), "tags"},
        {ONE("\"name\":\"a\",\"tags\":[\"../b\"],\"source\":\"file:/x\""), "tag 0"},
        {ONE("\"name\":\"a\",\"tags\":[7],\"source\":\"file:/x\""), "tag 0"},
        {ONE("\"name\":\"a\",\"tags\":[\"b\"]"), "source"},
        {ONE("\"name\":\"a\",\"tags\":[\"b\"],\"source\":[]"), "source"},
        {ONE("\"name\":\"a\",\"tags\":[\"b\"],\"source\":[3]"), "source 0"},
        {ONE("\"name\":\"a\",\"tags\":[\"b\"],\"source\":\"gopher://x/y\""), "gopher"},
        {ONE("\"name\":\"a\",\"tags\":[\"b\"],\"source\":[\"file:/x\",\"file:/y\"]"), "joined"},
        {ONE(GOOD ",\"sha256\":\"abc\""), "sha256"},
        {ONE(GOOD ",\"sha256\":\"B179C9523D0E6A0F98A330C7562B682750A6F8C8C15E5BC70EA373728110DB53\""),
         "sha256"},
        {ONE(GOOD ",\"size_bytes\":-1"), "size_bytes"},
        {ONE(GOOD ",\"size_bytes\":\"1\""), "size_bytes"},
        {ONE(GOOD ",\"description\":\"a\\u001b[2Jb\""), "description"},
        {ONE(GOOD ",\"description\":[]"), "description"},
        {ONE(GOOD ",\"projector\":\"hf:a/b/c.gguf\""), "projector"},
        {"{\"version\":1,\"models\":[{" GOOD "},{" GOOD "}]}", "twice"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qn_catalogue c = {.n_entries = 0};
        quern_error err = {0};
        const quern_status s = qn_catalogue_add(&c, rows[i][0], strlen(rows[i][0]), "test.json", &err);
        if (s == QUERN_OK || strstr(err.message, rows[i][1]) == NULL)
            print_error("%s: %s\n", rows[i][0], err.message);
        assert_int_equal(s, QUERN_ERR_FORMAT);
        assert_non_null(strstr(err.message, rows[i][1]));
        assert_non_null(strstr(err.message, "test.json"));
        qn_catalogue_deinit(&c);
    }
}

static void broken_own_catalogue(void **state)
{
    fixture *f = *state;
    char path[400];
    set_catalogue(f, "{\"version\":1,\"models\":[]}");
    snprintf(path, sizeof path, "%s/quern/catalogue.json", f->dir);
    write_file(path, "{\n\"version\":1,\n!", 16);
    quern_store *st;
    assert_int_equal(quern_store_open(&st, NULL, &f->err), QUERN_ERR_FORMAT);
    assert_null(st);
    expect_message(f, "catalogue.json: line 3");
    unlink(path);
}

static void suggestions(void **state)
{
    fixture *f = *state;
    static const char *const rows[][2] = {{"smolm2", "did you mean smollm2?"},
                                          {"gema3:270m", "gemma3:270m"},
                                          {"lama3.2", "llama3.2"},
                                          {"smollm2:135n", "smollm2:135m"},
                                          {"SMOLM2", "smollm2"}};
    const quern_store_entry *e;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        expect_status(f, quern_store_resolve(f->store, rows[i][0], &e, &f->err), QUERN_ERR_NOT_FOUND);
        assert_null(e);
        expect_message(f, rows[i][1]);
        expect_status(f, quern_store_pull(f->store, rows[i][0], NULL, &e, &f->err), QUERN_ERR_NOT_FOUND);
        expect_message(f, rows[i][1]);
    }
    expect_status(f, quern_store_resolve(f->store, "zzzzzzzzzzzz", &e, &f->err), QUERN_ERR_NOT_FOUND);
    assert_null(strstr(f->err.message, "did you mean"));
    expect_status(f, quern_store_resolve(f->store, "smollm2", &e, &f->err), QUERN_ERR_NOT_FOUND);
    expect_message(f, "quern pull smollm2:135m");
    assert_int_equal(e->size_bytes, 98362432);
    assert_null(e->path);
}

/* Every allocation fails in turn: an error each time, nothing is lost. */
static void no_memory(void **state)
{
    fixture *f = *state;
    const quern_store_entry *e, *const *entries;
    size_t n;
    for (long k = 0;; k++) {
        quern_store *st = NULL;
        const long alive = qn_alloc_live();
        qn_alloc_fail_at(k);
        quern_status s = quern_store_open(&st, NULL, &f->err);
        if (s == QUERN_OK) s = quern_store_list(st, true, &entries, &n, &f->err);
        if (s == QUERN_OK && quern_store_resolve(st, "smollm2", &e, &f->err) != QUERN_ERR_NOT_FOUND)
            s = QUERN_ERR_NOMEM;
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        quern_store_close(st);
        assert_int_equal(qn_alloc_live(), alive);
        if (!failed) {
            assert_int_equal(s, QUERN_OK);
            assert_true(k > 50);
            return;
        }
        assert_int_equal(s, QUERN_ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(builtin, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(own_goes_first, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(refusals, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(broken_own_catalogue, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(suggestions, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(no_memory, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
