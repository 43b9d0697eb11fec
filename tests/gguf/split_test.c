/* split_test.c: models in several files, opened from any of them; parts that do not belong together. */
#include "gguf_util.h"

enum { N_PARTS = 3 };

/* What is wrong with a part; all zero: nothing. */
typedef struct fault {
    bool missing;
    int no, count, n_tensors; /* added to the true numbers */
    const char *tensor;       /* its tensor's name */
} fault;

static const char *part_name(const folder *f, unsigned no)
{
    char name[64];
    snprintf(name, sizeof name, "model-%05u-of-%05u.gguf", no + 1, N_PARTS);
    return in_folder(f, name);
}

static void write_part(const folder *f, unsigned no, const fault *wrong)
{
    char name[32];
    const float values[] = {(float)no, 2, 3, 4};
    qn_gguf_writer *w;
    quern_error err;
    if (wrong->missing) return;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    if (no == 0) qn_gguf_writer_set_string(w, "general.architecture", "test");
    qn_gguf_writer_set_u32(w, "split.no", no + (unsigned)wrong->no);
    qn_gguf_writer_set_u32(w, "split.count", N_PARTS + (unsigned)wrong->count);
    qn_gguf_writer_set_i32(w, "split.tensors.count", 2 * N_PARTS - 1 + wrong->n_tensors);
    snprintf(name, sizeof name, "blk.%u.weight", no);
    qn_gguf_writer_add_tensor(w, wrong->tensor != NULL ? wrong->tensor : name, QN_TYPE_F32, 1,
                              (const uint64_t[]){4}, values);
    snprintf(name, sizeof name, "blk.%u.bias", no);
    if (no > 0) qn_gguf_writer_add_tensor(w, name, QN_TYPE_F32, 1, (const uint64_t[]){1}, values);
    assert_int_equal(qn_gguf_writer_save(w, part_name(f, no), &err), QUERN_OK);
    qn_gguf_writer_destroy(w);
}

static folder write_model(const fault faults[N_PARTS])
{
    static const fault none[N_PARTS];
    const folder f = make_folder();
    for (unsigned no = 0; no < N_PARTS; no++) write_part(&f, no, faults != NULL ? &faults[no] : &none[no]);
    return f;
}

static void opened_from_any_part(void **state)
{
    (void)state;
    const folder f = write_model(NULL);
    for (unsigned no = 0; no < N_PARTS; no++) {
        qn_gguf g;
        quern_error err = {0};
        char name[32];
        const quern_status s = qn_gguf_open(&g, part_name(&f, no), &err);
        if (s != QUERN_OK) fail_msg("%s", err.message);
        assert_int_equal(g.n_files, N_PARTS);
        assert_int_equal(g.n_tensors, 2 * N_PARTS - 1);
        assert_non_null(qn_gguf_find(&g, "general.architecture"));
        size_t total = 0;
        for (unsigned i = 0; i < N_PARTS; i++) total += g.files[i].n_bytes;
        assert_int_equal(g.total_bytes, total);
        for (unsigned i = 0; i < N_PARTS; i++) {
            snprintf(name, sizeof name, "blk.%u.weight", i);
            const qn_gguf_tensor *t = qn_gguf_find_tensor(&g, name);
            assert_non_null(t);
            assert_int_equal(t->file, i);
            assert_true(t->data == g.files[i].data + t->file_offset);
            float first;
            memcpy(&first, t->data, sizeof first);
            assert_true(first == (float)i);
        }
        assert_null(qn_gguf_find_tensor(&g, "blk.0.bias"));
        qn_gguf_close(&g);
    }
    remove_folder(&f);
}

static void a_merged_file_is_whole(void **state)
{
    (void)state;
    const folder f = make_folder();
    qn_gguf_writer *w;
    qn_gguf g;
    quern_error err;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    fill_writer(w);
    qn_gguf_writer_set_u32(w, "split.no", 0);
    qn_gguf_writer_set_u32(w, "split.count", 0);
    assert_int_equal(qn_gguf_writer_save(w, in_folder(&f, "any.gguf"), &err), QUERN_OK);
    qn_gguf_writer_destroy(w);
    assert_int_equal(qn_gguf_open(&g, in_folder(&f, "any.gguf"), &err), QUERN_OK);
    assert_int_equal(g.n_files, 1);
    qn_gguf_close(&g);
    remove_folder(&f);
}

static void parts_that_do_not_fit_together(void **state)
{
    (void)state;
    static const struct {
        fault faults[N_PARTS];
        quern_status status;
        const char *message;
    } cases[] = {
        {{{.missing = true}}, QUERN_ERR_NOT_FOUND, "model-00001-of-00003.gguf: part 1 of 3 is missing"},
        {{{0}, {.missing = true}}, QUERN_ERR_NOT_FOUND, "model-00002-of-00003.gguf: part 2 of 3 is missing"},
        {{{0}, {.no = 1}},
         QUERN_ERR_FORMAT,
         "model-00002-of-00003.gguf: should be part 2 of 3, but split.no is 2"},
        {{{0}, {.count = 1}}, QUERN_ERR_FORMAT, "split.count is 4"},
        {{{.no = 1}},
         QUERN_ERR_FORMAT,
         "model-00001-of-00003.gguf: should be part 1 of 3, but split.no is 1"},
        {{{0}, {.tensor = "blk.0.weight"}}, QUERN_ERR_FORMAT, "tensor 'blk.0.weight': is in part 1 already"},
        {{{.n_tensors = 1}}, QUERN_ERR_FORMAT, "its 3 parts hold 5 tensors, but split.tensors.count is 6"},
        {{{.n_tensors = -1}}, QUERN_ERR_FORMAT, "its 3 parts hold 5 tensors, but split.tensors.count is 4"},
        {{{.n_tensors = -6}}, QUERN_ERR_FORMAT, "key 'split.tensors.count': is -1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const folder f = write_model(cases[i].faults);
        const long live = qn_alloc_live();
        qn_gguf g;
        quern_error err = {0};
        assert_int_equal(qn_gguf_open(&g, part_name(&f, 2), &err), cases[i].status);
        if (strstr(err.message, cases[i].message) == NULL)
            fail_msg("case %zu: '%s' instead of '%s'", i, err.message, cases[i].message);
        qn_gguf_close(&g);
        assert_int_equal(qn_alloc_live(), live);
        remove_folder(&f);
    }
}

static void a_renamed_part_is_told_its_name(void **state)
{
    (void)state;
    const folder f = write_model(NULL);
    qn_gguf g;
    quern_error err = {0};
    assert_int_equal(rename(part_name(&f, 1), in_folder(&f, "x.gguf")), 0);
    assert_int_equal(qn_gguf_open(&g, in_folder(&f, "x.gguf"), &err), QUERN_ERR_FORMAT);
    assert_non_null(
        strstr(err.message, "x.gguf: is part 2 of 3, so its name must end in '-00002-of-00003.gguf'"));
    qn_gguf_close(&g);
    remove_folder(&f);
}

static void a_cut_part_is_named(void **state)
{
    (void)state;
    const folder f = write_model(NULL);
    qn_gguf g;
    quern_error err = {0};
    assert_int_equal(truncate(part_name(&f, 2), 100), 0);
    assert_int_equal(qn_gguf_open(&g, part_name(&f, 0), &err), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "model-00003-of-00003.gguf: "));
    assert_non_null(strstr(err.message, "truncated"));
    qn_gguf_close(&g);
    remove_folder(&f);
}

static void every_failing_allocation(void **state)
{
    (void)state;
    const folder f = write_model(NULL);
    const long live = qn_alloc_live();
    for (unsigned no = 0; no < N_PARTS; no++) {
        quern_status s = QUERN_ERR_NOMEM;
        long k = 0;
        for (; s == QUERN_ERR_NOMEM; k++) {
            qn_gguf g;
            quern_error err = {0};
            qn_alloc_fail_at(k);
            s = qn_gguf_open(&g, part_name(&f, no), &err);
            assert_true(s == QUERN_OK || strstr(err.message, "no memory") != NULL);
            qn_gguf_close(&g);
            assert_int_equal(qn_alloc_live(), live);
        }
        qn_alloc_fail_at(-1);
        assert_int_equal(s, QUERN_OK);
        assert_true(k > 20);
    }
    remove_folder(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opened_from_any_part),
        cmocka_unit_test(a_merged_file_is_whole),
        cmocka_unit_test(parts_that_do_not_fit_together),
        cmocka_unit_test(a_renamed_part_is_told_its_name),
        cmocka_unit_test(a_cut_part_is_named),
        cmocka_unit_test(every_failing_allocation),
    };
    return cmocka_run_group_tests_name("gguf split", tests, NULL, NULL);
}
