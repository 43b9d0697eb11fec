/* dispatch_test.c: the tables are whole, and the right one is chosen. */
#include "kernel/kernel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Every type that can be multiplied has a kernel in every table; no other type has. */
static void tables_are_whole(void **state)
{
    (void)state;
    for (const char *const *name = qn_kernels_names(); *name != NULL; name++) {
        const qn_kernels *k = qn_kernels_by_name(*name);
        if (k == NULL) continue; /* not on this processor */
        assert_string_equal(k->isa, *name);
        for (int type = 0; type < QN_TYPE_LIMIT; type++) {
            const bool is_known = qn_tensor_type_get((uint32_t)type)->name != NULL;
            const bool supported = is_known && qn_matrix_supported((qn_tensor_type)type, 256);
            assert_int_equal(k->matmul[type] != NULL, supported);
        }
        for (int format = 0; format < QN_ACT_FORMATS; format++) assert_non_null(k->act_row[format]);
        assert_non_null(k->rms_norm);
        assert_non_null(k->attention);
    }
}

static void scalar_always_runs(void **state)
{
    (void)state;
    assert_string_equal(qn_kernels_names()[0], "scalar");
    assert_non_null(qn_kernels_by_name("scalar"));
    assert_null(qn_kernels_by_name("riscv"));
    assert_null(qn_kernels_by_name(""));
}

/* The best table, unless QUERN_ISA names another; what cannot be had is an error that says what can. */
static void the_environment_forces_a_table(void **state)
{
    (void)state;
    const qn_kernels *k = NULL, *best = NULL;
    quern_error err = {0};
    const char *const *name = qn_kernels_names();
    for (; *name != NULL; name++)
        if (qn_kernels_by_name(*name) != NULL) best = qn_kernels_by_name(*name);
    unsetenv("QUERN_ISA");
    assert_int_equal(qn_kernels_choose(&k, &err), QUERN_OK);
    assert_ptr_equal(k, best);
    setenv("QUERN_ISA", "", 1);
    assert_int_equal(qn_kernels_choose(&k, &err), QUERN_OK);
    assert_ptr_equal(k, best);
    setenv("QUERN_ISA", "scalar", 1);
    assert_int_equal(qn_kernels_choose(&k, &err), QUERN_OK);
    assert_string_equal(k->isa, "scalar");
    setenv("QUERN_ISA", "sse9\n", 1);
    assert_int_equal(qn_kernels_choose(&k, &err), QUERN_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "sse9"));
    assert_non_null(strstr(err.message, "scalar"));
    unsetenv("QUERN_ISA");
}

static void widths_must_hold_whole_blocks(void **state)
{
    (void)state;
    assert_true(qn_matrix_supported(QN_TYPE_F32, 1));
    assert_true(qn_matrix_supported(QN_TYPE_Q4_0, 32));
    assert_false(qn_matrix_supported(QN_TYPE_Q4_0, 48));
    assert_true(qn_matrix_supported(QN_TYPE_Q4_K, 512));
    assert_false(qn_matrix_supported(QN_TYPE_Q4_K, 576));
    assert_false(qn_matrix_supported(QN_TYPE_F32, 0));
    assert_false(qn_matrix_supported(QN_TYPE_I32, 256));
    assert_false(qn_matrix_supported(QN_TYPE_Q8_K, 256));
    assert_false(qn_matrix_supported((qn_tensor_type)5, 256)); /* a number that is no type */
    assert_false(qn_matrix_supported((qn_tensor_type)1000, 256));
    assert_true(qn_matrix_is_packed(QN_TYPE_Q6_K));
    assert_false(qn_matrix_is_packed(QN_TYPE_IQ2_XS));
    assert_int_equal(qn_matrix_panels(17), 2);
    assert_int_equal(qn_matrix_panel_bytes(QN_TYPE_Q4_K, 512), 16 * 2 * 144);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_whole),
        cmocka_unit_test(scalar_always_runs),
        cmocka_unit_test(the_environment_forces_a_table),
        cmocka_unit_test(widths_must_hold_whole_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
