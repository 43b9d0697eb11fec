/* golden_test.c: all model files of the golden data are read, written again, and read back equal. */
#include "gguf_util.h"

#include <ftw.h>

static size_t n_checked;

static int check(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)ftw;
    const size_t n_path = strlen(path);
    if (flag != FTW_F || n_path < 5 || strcmp(path + n_path - 5, ".gguf") != 0) return 0;
    const long live = qn_alloc_live();
    qn_gguf a, b;
    qn_gguf_writer *w;
    quern_error err = {0};
    char *data, name[65];
    size_t n;
    if (qn_gguf_open(&a, path, &err) != QUERN_OK) fail_msg("%s", err.message);
    assert_int_equal(qn_gguf_writer_create(&w, &err), QUERN_OK);
    for (size_t i = 0; i < a.n_values; i++) qn_gguf_writer_set_value(w, &a.values[i]);
    for (size_t i = 0; i < a.n_tensors; i++) {
        const qn_gguf_tensor *t = &a.tensors[i];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n_bytes, t->name.bytes);
        qn_gguf_writer_add_tensor(w, name, t->type, t->n_dims, t->dims, t->data);
    }
    if (qn_gguf_writer_to_memory(w, &data, &n, &err) != QUERN_OK) fail_msg("%s: %s", path, err.message);
    assert_int_equal(qn_gguf_parse(&b, data, n, &err), QUERN_OK);
    assert_same_model(&a, &b);
    qn_gguf_close(&a);
    qn_gguf_close(&b);
    qn_gguf_writer_destroy(w);
    qn_free(data);
    assert_int_equal(qn_alloc_live(), live);
    n_checked++;
    return 0;
}

static void all_golden_models(void **state)
{
    (void)state;
    const char *golden = getenv("QUERN_GOLDEN");
    if (golden == NULL) golden = "../shared/golden";
    if (access(golden, R_OK) != 0) {
        printf("skipped: no golden data at %s\n", golden);
        skip();
    }
    assert_int_equal(nftw(golden, check, 16, 0), 0);
    printf("%zu model files read, written and read back equal\n", n_checked);
    assert_true(n_checked > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_golden_models)};
    return cmocka_run_group_tests_name("gguf golden", tests, NULL, NULL);
}
