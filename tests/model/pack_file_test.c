/* pack_file_test.c: the header of a pack is whole or refused, and what is packed never changes its form
 * without a new number of the layout. */
#include "support/cmocka_all.h"
#include "support/encode_blocks.h"
#include "support/tiny_model.h"

#include "base/alloc.h"
#include "model/pack_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Packs on people's disks hold this. If the test fails because packing was changed on purpose: raise
 * QN_MATRIX_LAYOUT (kernel/matrix.h), then put the values here that the failure prints. */
static void the_packed_form_is_that_of_this_layout_number(void **state)
{
    (void)state;
    enum { ROWS = 37, COLS = 512 };
    assert_int_equal(QN_MATRIX_LAYOUT, 1);
    static const struct {
        qn_tensor_type type;
        uint64_t checksum;
    } known[] = {
#include "packed_forms.h"
    };
    bool same = true;
    size_t n_packed = 0;
    for (uint32_t t = 0; t < 64; t++) {
        const qn_tensor_type type = (qn_tensor_type)t;
        if (qn_tensor_type_get(t) == NULL || !qn_matrix_supported(type, COLS) || !qn_matrix_is_packed(type))
            continue;
        n_packed++;
        const qn_tensor_type_info *info = qn_tensor_type_get(t);
        const size_t n_blocks = (size_t)ROWS * COLS / info->block_values;
        const size_t n_bytes = qn_matrix_panels(ROWS) * qn_matrix_panel_bytes(type, COLS);
        uint8_t *blocks = malloc(n_blocks * info->block_bytes), *packed = qn_alloc_pages(n_bytes);
        assert_true(blocks != NULL && packed != NULL);
        qn_random random = {.seed = 5};
        qn_test_random_blocks(type, blocks, n_blocks, 1.0f, &random);
        qn_matrix_pack(type, ROWS, COLS, blocks, packed, 0, qn_matrix_panels(ROWS));
        const uint64_t checksum = qn_pack_checksum(packed, n_bytes);
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found = found || (known[i].type == type && known[i].checksum == checksum);
        if (!found) printf("    {QN_TYPE_%s, 0x%016llx},\n", info->name, (unsigned long long)checksum);
        same = same && found;
        free(blocks);
        qn_free_pages(packed, n_bytes);
    }
    assert_true(same);
    assert_int_equal(n_packed, sizeof known / sizeof known[0]);
}

static char model_path[] = "/tmp/quern_pack_file_XXXXXX";

typedef struct fixture {
    qn_gguf gguf;
    qn_hparams hparams;
    qn_weights weights;
    qn_pack_key key;
    uint64_t checksums[4];
    qn_buffer header;
    uint64_t file_bytes;
} fixture;

static int set_up(void **state)
{
    static fixture f;
    memset(&f, 0, sizeof f);
    *state = &f;
    if (!tiny_model_write(model_path, &(tiny_model){.type = QN_TYPE_Q4_K, .seed = 3})) return 1;
    if (qn_gguf_open(&f.gguf, model_path, NULL) != QUERN_OK ||
        qn_hparams_read(&f.hparams, &f.gguf, NULL) != QUERN_OK ||
        qn_weights_bind(&f.weights, &f.hparams, &f.gguf, NULL) != QUERN_OK)
        return 1;
    qn_pack_key_make(&f.key, &f.gguf);
    f.checksums[0] = 0x1234;
    f.file_bytes = qn_pack_data_offset(&f.weights, model_path) + f.weights.arena.used;
    return qn_pack_pieces(f.weights.arena.used) == 1 &&
                   qn_pack_header_write(&f.header, &f.weights, &f.key, &f.gguf, model_path, f.checksums)
               ? 0
               : 1;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    qn_buffer_deinit(&f->header);
    qn_weights_deinit(&f->weights);
    qn_gguf_close(&f->gguf);
    return 0;
}

static quern_status parse(qn_pack_header *h, const fixture *f, const void *bytes, size_t n_bytes)
{
    uint8_t *copy = malloc(n_bytes + 1); /* of the exact size, so that a read past the end is seen */
    assert_non_null(copy);
    uint8_t *exact = realloc(copy, n_bytes > 0 ? n_bytes : 1);
    assert_non_null(exact);
    memcpy(exact, bytes, n_bytes);
    const quern_status s = qn_pack_header_parse(h, exact, n_bytes, f->file_bytes, NULL);
    free(exact);
    return s;
}

static void a_header_says_what_was_written(void **state)
{
    const fixture *f = *state;
    qn_pack_header h;
    quern_error err = {0};
    const uint8_t *bytes = (const uint8_t *)f->header.data;
    assert_int_equal(qn_pack_header_bytes(bytes), f->header.n_bytes);
    if (qn_pack_header_parse(&h, bytes, f->header.n_bytes, f->file_bytes, &err) != QUERN_OK)
        fail_msg("%s", err.message);
    assert_int_equal(h.data_bytes, f->weights.arena.used);
    assert_int_equal(h.source_bytes, f->gguf.total_bytes);
    assert_int_equal(h.n_tensors, f->weights.n_jobs);
    assert_int_equal(h.source_length, strlen(model_path));
    assert_memory_equal(h.source, model_path, h.source_length);
    assert_int_equal(qn_pack_header_match(&h, &f->weights, &f->key, &err), QUERN_OK);
    assert_false(qn_pack_piece_is_whole(&h, 0, "x", 1));
    assert_false(qn_pack_piece_is_whole(&h, 1, "x", 1));
    qn_pack_key other = f->key;
    other.bytes[15] ^= 1;
    assert_int_equal(qn_pack_header_match(&h, &f->weights, &other, &err), QUERN_ERR_FORMAT);
    f->weights.jobs[2].n_rows++;
    assert_int_equal(qn_pack_header_match(&h, &f->weights, &f->key, &err), QUERN_ERR_FORMAT);
    f->weights.jobs[2].n_rows--;
}

static void any_other_byte_or_length_is_refused(void **state)
{
    const fixture *f = *state;
    qn_pack_header h;
    for (size_t n = 0; n < f->header.n_bytes; n++)
        assert_int_equal(parse(&h, f, f->header.data, n), QUERN_ERR_FORMAT);
    for (size_t i = 0; i < f->header.n_bytes; i++) {
        f->header.data[i] ^= 0x04;
        assert_int_equal(parse(&h, f, f->header.data, f->header.n_bytes), QUERN_ERR_FORMAT);
        f->header.data[i] ^= 0x04;
    }
    fixture other = *f;
    for (int d = -1; d <= 1; d += 2) {
        other.file_bytes = f->file_bytes + (uint64_t)d;
        assert_int_equal(parse(&h, &other, f->header.data, f->header.n_bytes), QUERN_ERR_FORMAT);
    }
}

static void the_key_knows_every_part_of_the_file(void **state)
{
    fixture *f = *state;
    qn_pack_key key;
    f->gguf.files[0].modified_ns++;
    qn_pack_key_make(&key, &f->gguf);
    assert_memory_not_equal(&key, &f->key, sizeof key);
    f->gguf.files[0].modified_ns--;
    f->gguf.files[0].changed_ns++;
    qn_pack_key_make(&key, &f->gguf);
    assert_memory_not_equal(&key, &f->key, sizeof key);
    f->gguf.files[0].changed_ns--;
    qn_pack_key_make(&key, &f->gguf);
    assert_memory_equal(&key, &f->key, sizeof key);
}

int main(void)
{
    const int fd = mkstemp(model_path);
    if (fd < 0) return 1;
    close(fd);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_packed_form_is_that_of_this_layout_number),
        cmocka_unit_test_setup_teardown(a_header_says_what_was_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_other_byte_or_length_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_key_knows_every_part_of_the_file, set_up, tear_down),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(model_path);
    return failed;
}
