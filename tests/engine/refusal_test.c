/* refusal_test.c: model files whose structure is sound but whose numbers, tensors or tokenizer are not.
 * Each is refused with one line that names the thing; nothing leaks. */
#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "base/alloc.h"
#include "gguf/writer.h"
#include "quern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char sound_path[] = "/tmp/quern_sound_XXXXXX", broken_path[] = "/tmp/quern_broken_XXXXXX";

typedef struct change { /* of a sound model */
    const char *remove_key, *remove_tensor, *rename_tensor, *new_name;
    const char *key;
    enum { NOTHING, U32, I32, F32, TEXT, STRINGS, U32_ARRAY } kind;
    double number;
    const char *text;
    size_t count;              /* of an array */
    const char *resize_tensor; /* its first two dimensions are swapped */
} change;

static bool same(qn_string s, const char *text)
{
    return text != NULL && qn_string_is(s, text);
}

static void copy_tensor(qn_gguf_writer *w, const qn_gguf_tensor *t, const change *c)
{
    char name[80];
    snprintf(name, sizeof name, "%.*s", (int)t->name.n_bytes, t->name.bytes);
    if (same(t->name, c->remove_tensor)) return;
    uint64_t dims[4] = {t->dims[0], t->dims[1], t->dims[2], t->dims[3]};
    if (same(t->name, c->resize_tensor)) dims[0] = t->dims[1], dims[1] = t->dims[0];
    qn_gguf_writer_add_tensor(w, same(t->name, c->rename_tensor) ? c->new_name : name, t->type, t->n_dims,
                              dims, t->data);
}

static void apply(qn_gguf_writer *w, const change *c)
{
    const int64_t whole = fabs(c->number) < 1e15 ? (int64_t)c->number : 0; /* 0 also for what is not finite */
    uint32_t numbers[64] = {0};
    qn_string strings[4] = {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}};
    for (size_t i = 0; i < 64; i++) numbers[i] = (uint32_t)whole + (uint32_t)i;
    switch (c->kind) {
    case NOTHING:
        break;
    case U32:
        qn_gguf_writer_set_u32(w, c->key, (uint32_t)whole);
        break;
    case I32:
        qn_gguf_writer_set_i32(w, c->key, (int32_t)whole);
        break;
    case F32:
        qn_gguf_writer_set_f32(w, c->key, (float)c->number);
        break;
    case TEXT:
        qn_gguf_writer_set_string(w, c->key, c->text);
        break;
    case STRINGS:
        qn_gguf_writer_set_strings(w, c->key, strings, c->count);
        break;
    case U32_ARRAY:
        qn_gguf_writer_set_array(w, c->key, QN_GGUF_U32, numbers, c->count);
        break;
    }
}

static void write_changed(const change *c)
{
    qn_gguf g;
    qn_gguf_writer *w;
    quern_error err = {0};
    assert_int_equal(qn_gguf_open(&g, sound_path, &err), QUERN_OK);
    assert_int_equal(qn_gguf_writer_create(&w, &err), QUERN_OK);
    for (size_t i = 0; i < g.n_values; i++)
        if (!same(g.values[i].key, c->remove_key)) qn_gguf_writer_set_value(w, &g.values[i]);
    for (size_t i = 0; i < g.n_tensors; i++) copy_tensor(w, &g.tensors[i], c);
    apply(w, c);
    if (qn_gguf_writer_save(w, broken_path, &err) != QUERN_OK) fail_msg("%s", err.message);
    qn_gguf_writer_destroy(w);
    qn_gguf_close(&g);
}

static const struct {
    const char *arch;
    uint32_t n_expert;
    change change;
    const char *named; /* must stand in the message */
} refusals[] = {
    {"llama", 0, {.key = "general.architecture", .kind = TEXT, .text = "unheard-of"}, "unheard-of"},
    {"llama", 0, {.key = "general.architecture", .kind = U32, .number = 3}, "general.architecture"},
    {"llama", 0, {.remove_key = "general.architecture"}, "general.architecture"},
    {"llama", 0, {.remove_key = "llama.block_count"}, "llama.block_count"},
    {"llama", 0, {.remove_key = "llama.embedding_length"}, "llama.embedding_length"},
    {"llama", 0, {.remove_key = "llama.attention.head_count"}, "llama.attention.head_count"},
    {"llama", 0, {.remove_key = "llama.attention.layer_norm_rms_epsilon"}, "layer_norm_rms_epsilon"},
    {"llama", 0, {.remove_key = "llama.feed_forward_length"}, "llama.feed_forward_length"},
    {"llama", 0, {.key = "llama.block_count", .kind = U32, .number = 0}, "llama.block_count"},
    {"llama", 0, {.key = "llama.block_count", .kind = U32, .number = 4}, "blk.3."},
    {"llama", 0, {.key = "llama.block_count", .kind = U32, .number = 4e9}, "llama.block_count"},
    {"llama", 0, {.key = "llama.block_count", .kind = TEXT, .text = "3"}, "llama.block_count"},
    {"llama", 0, {.key = "llama.block_count", .kind = F32, .number = 3}, "llama.block_count"},
    {"llama", 0, {.key = "llama.block_count", .kind = I32, .number = -3}, "llama.block_count"},
    {"llama", 0, {.key = "llama.embedding_length", .kind = U32, .number = 0}, "llama.embedding_length"},
    {"llama", 0, {.key = "llama.embedding_length", .kind = U32, .number = 512}, "token_embd.weight"},
    {"llama", 0, {.key = "llama.attention.head_count", .kind = U32, .number = 0}, "head_count"},
    {"llama", 0, {.key = "llama.attention.head_count_kv", .kind = U32, .number = 0}, "head_count_kv"},
    {"llama", 0, {.key = "llama.attention.head_count_kv", .kind = U32, .number = 3}, "head_count_kv"},
    {"llama", 0, {.key = "llama.attention.head_count_kv", .kind = U32, .number = 16}, "head_count_kv"},
    {"llama",
     0,
     {.key = "llama.attention.head_count_kv", .kind = U32_ARRAY, .number = 2, .count = 3},
     "head_count_kv"},
    {"llama",
     0,
     {.key = "llama.attention.head_count_kv", .kind = U32_ARRAY, .number = 2, .count = 2},
     "head_count_kv"},
    {"llama", 0, {.key = "llama.attention.key_length", .kind = U32, .number = 0}, "key_length"},
    {"llama", 0, {.key = "llama.attention.key_length", .kind = U32, .number = 33}, "key_length"},
    {"llama", 0, {.key = "llama.attention.key_length", .kind = U32, .number = 64}, "attn_q.weight"},
    {"llama", 0, {.key = "llama.attention.value_length", .kind = U32, .number = 16}, "attn_v.weight"},
    {"llama", 0, {.key = "llama.context_length", .kind = U32, .number = 0}, "context_length"},
    {"llama", 0, {.key = "llama.feed_forward_length", .kind = U32, .number = 0}, "feed_forward_length"},
    {"llama",
     0,
     {.key = "llama.feed_forward_length", .kind = U32, .number = 4294967295.0},
     "feed_forward_length"},
    {"llama", 0, {.key = "llama.rope.dimension_count", .kind = U32, .number = 31}, "rope.dimension_count"},
    {"llama", 0, {.key = "llama.rope.dimension_count", .kind = U32, .number = 64}, "rope.dimension_count"},
    {"llama", 0, {.key = "llama.rope.freq_base", .kind = F32, .number = 0}, "rope.freq_base"},
    {"llama", 0, {.key = "llama.rope.freq_base", .kind = F32, .number = -1}, "rope.freq_base"},
    {"llama", 0, {.key = "llama.rope.freq_base", .kind = F32, .number = NAN}, "rope.freq_base"},
    {"llama", 0, {.key = "llama.rope.freq_base", .kind = F32, .number = INFINITY}, "rope.freq_base"},
    {"llama", 0, {.key = "llama.rope.scaling.type", .kind = TEXT, .text = "sideways"}, "sideways"},
    {"llama", 0, {.key = "llama.attention.layer_norm_rms_epsilon", .kind = F32, .number = NAN}, "epsilon"},
    {"llama", 0, {.key = "llama.attention.layer_norm_rms_epsilon", .kind = F32, .number = -1}, "epsilon"},
    {"llama", 0, {.remove_tensor = "token_embd.weight"}, "token_embd.weight"},
    {"llama", 0, {.remove_tensor = "output_norm.weight"}, "output_norm.weight"},
    {"llama", 0, {.remove_tensor = "blk.1.attn_k.weight"}, "blk.1.attn_k.weight"},
    {"llama", 0, {.remove_tensor = "blk.2.ffn_down.weight"}, "blk.2.ffn_down.weight"},
    {"llama",
     0,
     {.rename_tensor = "blk.0.ffn_norm.weight", .new_name = "blk.0.ffn_norm.bias"},
     "blk.0.ffn_norm.weight"},
    {"llama", 0, {.resize_tensor = "blk.0.ffn_up.weight"}, "blk.0.ffn_up.weight"},
    {"llama", 4, {.key = "llama.expert_used_count", .kind = U32, .number = 5}, "expert_used_count"},
    {"llama", 4, {.key = "llama.expert_used_count", .kind = U32, .number = 0}, "expert_used_count"},
    {"llama", 4, {.key = "llama.expert_count", .kind = U32, .number = 3}, "ffn_gate_inp.weight"},
    {"llama", 4, {.remove_tensor = "blk.0.ffn_gate_inp.weight"}, "blk.0.ffn_gate_inp.weight"},
    {"llama", 4, {.remove_tensor = "blk.1.ffn_up_exps.weight"}, "blk.1.ffn_up_exps.weight"},
    {"llama", 0, {.key = "llama.expert_count", .kind = U32, .number = 4}, "expert"},
    {"gemma2",
     0,
     {.key = "gemma2.attn_logit_softcapping", .kind = F32, .number = -1},
     "attn_logit_softcapping"},
    {"gemma2", 0, {.key = "gemma2.attention.sliding_window", .kind = U32, .number = 0}, "sliding_window"},
    {"qwen3", 0, {.remove_tensor = "blk.0.attn_q_norm.weight"}, "blk.0.attn_q_norm.weight"},
    {"llama", 0, {.remove_key = "tokenizer.ggml.model"}, "tokenizer.ggml.model"},
    {"llama", 0, {.key = "tokenizer.ggml.model", .kind = TEXT, .text = "runes"}, "runes"},
    {"llama", 0, {.remove_key = "tokenizer.ggml.tokens"}, "tokenizer.ggml.tokens"},
    {"llama", 0, {.key = "tokenizer.ggml.tokens", .kind = STRINGS, .count = 0}, "tokenizer.ggml.tokens"},
    {"llama", 0, {.key = "tokenizer.ggml.tokens", .kind = U32_ARRAY, .count = 4}, "tokenizer.ggml.tokens"},
    {"llama", 0, {.key = "tokenizer.ggml.scores", .kind = U32_ARRAY, .count = 4}, "tokenizer.ggml.scores"},
};

static void each_flaw_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        assert_true(tiny_model_write(
            sound_path,
            &(tiny_model){.arch = refusals[i].arch, .n_expert = refusals[i].n_expert, .type = QN_TYPE_Q8_0}));
        write_changed(&refusals[i].change);
        const long before = qn_alloc_live();
        quern_error err = {0};
        quern_model *model;
        const quern_status s = quern_model_open(&model, broken_path, NULL, &err);
        if (s == QUERN_OK) fail_msg("case %zu (%s) was accepted", i, refusals[i].named);
        assert_null(model);
        if (strstr(err.message, refusals[i].named) == NULL)
            fail_msg("case %zu: '%s' does not name '%s'", i, err.message, refusals[i].named);
        assert_non_null(strstr(err.message, "quern_broken_")); /* the file is named too */
        assert_true(s == QUERN_ERR_FORMAT || s == QUERN_ERR_UNSUPPORTED);
        assert_int_equal(qn_alloc_live(), before);
    }
}

static void more_tokens_than_rows_are_refused(void **state)
{
    (void)state;
    assert_true(tiny_model_write(sound_path, &(tiny_model){.type = QN_TYPE_F16}));
    qn_gguf g;
    assert_int_equal(qn_gguf_open(&g, sound_path, NULL), QUERN_OK);
    qn_gguf_writer *w;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    for (size_t i = 0; i < g.n_values; i++) qn_gguf_writer_set_value(w, &g.values[i]);
    for (size_t i = 0; i < g.n_tensors; i++) {
        const qn_gguf_tensor *t = &g.tensors[i];
        const bool wide =
            qn_string_is(t->name, "token_embd.weight") || qn_string_is(t->name, "output.weight");
        const uint64_t dims[2] = {t->dims[0], wide ? t->dims[1] - 1 : t->dims[1]};
        char name[80];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n_bytes, t->name.bytes);
        qn_gguf_writer_add_tensor(w, name, t->type, t->n_dims, dims, t->data);
    }
    assert_int_equal(qn_gguf_writer_save(w, broken_path, NULL), QUERN_OK);
    qn_gguf_writer_destroy(w);
    qn_gguf_close(&g);
    quern_error err;
    quern_model *model;
    assert_int_equal(quern_model_open(&model, broken_path, NULL, &err), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "320 tokens"));
}

static void opening_survives_each_failing_allocation(void **state)
{
    (void)state;
    assert_true(tiny_model_write(sound_path, &(tiny_model){.type = QN_TYPE_Q4_0, .n_layer = 1}));
    quern_model_params params = quern_model_params_default();
    params.n_threads = 2;
    const long before = qn_alloc_live();
    quern_model *model = NULL;
    quern_status s = QUERN_ERR_NOMEM;
    for (long k = 0; s != QUERN_OK; k++) {
        assert_true(k < 5000);
        qn_alloc_fail_at(k);
        s = quern_model_open(&model, sound_path, &params, NULL);
        qn_alloc_fail_at(-1);
        if (s != QUERN_OK) {
            assert_int_equal(s, QUERN_ERR_NOMEM);
            assert_null(model);
            assert_int_equal(qn_alloc_live(), before);
        }
    }
    const long with_model = qn_alloc_live();
    quern_context *ctx = NULL;
    s = QUERN_ERR_NOMEM;
    for (long k = 0; s != QUERN_OK; k++) {
        qn_alloc_fail_at(k);
        s = quern_context_create(&ctx, model, NULL, NULL);
        qn_alloc_fail_at(-1);
        if (s != QUERN_OK) {
            assert_int_equal(s, QUERN_ERR_NOMEM);
            assert_int_equal(qn_alloc_live(), with_model);
        }
    }
    const quern_token token = 1;
    const quern_input input = {.tokens = &token, .n_tokens = 1, .logits = QUERN_LOGITS_LAST};
    const long running = qn_alloc_live();
    qn_alloc_fail_at(0); /* decoding takes no memory at all */
    assert_int_equal(quern_decode(ctx, &input, 1, NULL), QUERN_OK);
    assert_false(qn_alloc_has_failed());
    qn_alloc_fail_at(-1);
    assert_int_equal(qn_alloc_live(), running);
    quern_context_destroy(ctx);
    quern_model_close(model);
    assert_int_equal(qn_alloc_live(), before);
}

/* Bad calls change nothing. */
static void bad_calls_are_refused(void **state)
{
    (void)state;
    assert_true(tiny_model_write(sound_path, &(tiny_model){.type = QN_TYPE_Q8_0, .n_layer = 1}));
    quern_model *model;
    quern_context *ctx;
    quern_error err;
    assert_int_equal(quern_model_open(&model, sound_path, NULL, NULL), QUERN_OK);
    quern_context_params params = quern_context_params_default();
    params.n_ctx = 16, params.n_sequences = 2;
    assert_int_equal(quern_context_create(&ctx, model, &params, NULL), QUERN_OK);
    quern_token tokens[17] = {1, 2, 3};
    const quern_token beyond = 320, negative = -1;
    const struct {
        quern_input inputs[2];
        size_t n;
        quern_status status;
    } cases[] = {
        {{{0, tokens, 17, QUERN_LOGITS_NONE}}, 1, QUERN_ERR_CTX_FULL},
        {{{0, tokens, 0, QUERN_LOGITS_NONE}}, 1, QUERN_ERR_ARGUMENT},
        {{{2, tokens, 1, QUERN_LOGITS_NONE}}, 1, QUERN_ERR_ARGUMENT},
        {{{0, &beyond, 1, QUERN_LOGITS_NONE}}, 1, QUERN_ERR_ARGUMENT},
        {{{0, &negative, 1, QUERN_LOGITS_NONE}}, 1, QUERN_ERR_ARGUMENT},
        {{{0, tokens, 3, QUERN_LOGITS_ALL}}, 1, QUERN_ERR_ARGUMENT},
        {{{1, tokens, 1, QUERN_LOGITS_NONE}, {1, tokens, 1, QUERN_LOGITS_NONE}}, 2, QUERN_ERR_ARGUMENT},
        {{{1, tokens, 1, QUERN_LOGITS_NONE}, {0, tokens, 17, QUERN_LOGITS_NONE}}, 2, QUERN_ERR_CTX_FULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(quern_decode(ctx, cases[i].inputs, cases[i].n, &err), cases[i].status);
        assert_true(strlen(err.message) > 10);
        assert_int_equal(quern_sequence_length(ctx, 0), 0);
        assert_int_equal(quern_sequence_length(ctx, 1), 0);
    }
    assert_null(quern_logits(ctx, 0));
    quern_context_destroy(ctx);
    static const struct {
        uint32_t n_ctx, n_sequences, n_batch;
        int n_threads;
    } bad[] = {{UINT32_MAX, 1, 512, 1}, {64, 0, 512, 1},     {64, 100000, 512, 1},
               {64, 1, 0, 1},           {64, 1, 1 << 20, 1}, {64, 1, 512, 1000}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        params.n_ctx = bad[i].n_ctx, params.n_sequences = bad[i].n_sequences, params.n_batch = bad[i].n_batch,
        params.n_threads = bad[i].n_threads;
        assert_int_equal(quern_context_create(&ctx, model, &params, &err), QUERN_ERR_ARGUMENT);
        assert_null(ctx);
    }
    params = quern_context_params_default();
    params.n_ctx = 1 << 29, params.n_sequences = 32; /* more than any machine has */
    assert_int_equal(quern_context_create(&ctx, model, &params, &err), QUERN_ERR_NOMEM);
    params = quern_context_params_default();
    params.n_ctx = 65536, params.n_batch = 16, params.memory_limit = 8 << 20;
    assert_int_equal(quern_context_create(&ctx, model, &params, &err), QUERN_ERR_NOMEM);
    const char *advice = strstr(err.message, "(-c ");
    assert_non_null(advice);
    params.n_ctx = (uint32_t)strtoul(advice + 4, NULL, 10); /* and what it says would fit does */
    assert_int_equal(quern_context_create(&ctx, model, &params, &err), QUERN_OK);
    quern_context_destroy(ctx);
    quern_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_flaw_is_named), cmocka_unit_test(more_tokens_than_rows_are_refused),
        cmocka_unit_test(opening_survives_each_failing_allocation), cmocka_unit_test(bad_calls_are_refused)};
    const int a = mkstemp(sound_path), b = mkstemp(broken_path);
    if (a >= 0) close(a);
    if (b >= 0) close(b);
    const int result = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(sound_path), unlink(broken_path);
    return result;
}
