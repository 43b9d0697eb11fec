/* tiny_model.c: writes a GGUF file of a named family with random weights and a small vocabulary. */
#include "support/tiny_model.h"

#include "base/random.h"
#include "gguf/writer.h"
#include "model/architecture.h"
#include "support/encode_blocks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_EMBD = 256, N_HEAD = 8, N_HEAD_KV = 2, HEAD_DIM = 32, N_FF = 512, N_VOCAB = 320, MAX_TENSORS = 512 };

typedef struct builder {
    qn_gguf_writer *w;
    const tiny_model *m;
    const char *arch;
    qn_random random;
    void *owned[MAX_TENSORS];
    size_t n_owned;
} builder;

static void *own(builder *b, size_t n_bytes)
{
    void *p = calloc(1, n_bytes);
    if (p == NULL || b->n_owned == MAX_TENSORS) abort();
    return b->owned[b->n_owned++] = p;
}

static float *random_values(builder *b, size_t n, float scale, float offset)
{
    float *x = own(b, n * sizeof *x);
    for (size_t i = 0; i < n; i++) { /* near enough to normal: a sum of four uniforms */
        double sum = -2.0;
        for (int k = 0; k < 4; k++) sum += qn_random_unit(&b->random);
        x[i] = offset + scale * (float)(sum * 1.732);
    }
    return x;
}

static void vector(builder *b, const char *name, uint64_t n, float scale, float offset)
{
    qn_gguf_writer_add_tensor(b->w, name, QN_TYPE_F32, 1, &n, random_values(b, n, scale, offset));
}

static void matrix_of(builder *b, const char *name, uint64_t rows, uint64_t cols, uint64_t count,
                      qn_tensor_type type)
{
    const size_t n = rows * cols * count;
    const uint64_t dims[3] = {cols, rows, count};
    const float scale = 1.0f / sqrtf((float)cols);
    void *data;
    if (type == QN_TYPE_F32) {
        data = random_values(b, n, scale, 0);
    } else if (qn_test_can_encode(type)) {
        float *x = random_values(b, n, scale, 0);
        data = own(b, qn_row_bytes(type, n));
        qn_test_encode(type, x, n, data);
    } else {
        const qn_tensor_type_info *info = qn_tensor_type_get((uint32_t)type);
        data = own(b, qn_row_bytes(type, n));
        qn_test_random_blocks(type, data, n / info->block_values, 2 * scale, &b->random);
    }
    qn_gguf_writer_add_tensor(b->w, name, type, count > 1 ? 3 : 2, dims, data);
}

static void layer_matrix(builder *b, uint32_t layer, const char *name, uint64_t rows, uint64_t cols,
                         uint64_t count)
{
    char full[64];
    snprintf(full, sizeof full, "blk.%u.%s.weight", layer, name);
    matrix_of(b, full, rows, cols, count, b->m->type);
}

static void layer_vector(builder *b, uint32_t layer, const char *name, uint64_t n, float scale, float offset)
{
    char full[96];
    snprintf(full, sizeof full, "blk.%u.%s", layer, name);
    vector(b, full, n, scale, offset);
}

/* The numbers are the same either way. */
static void query_key_value(builder *b, uint32_t i)
{
    if (b->m->together) {
        layer_matrix(b, i, "attn_qkv", (N_HEAD + 2 * N_HEAD_KV) * HEAD_DIM, N_EMBD, 1);
        return;
    }
    layer_matrix(b, i, "attn_q", N_HEAD * HEAD_DIM, N_EMBD, 1);
    layer_matrix(b, i, "attn_k", N_HEAD_KV * HEAD_DIM, N_EMBD, 1);
    layer_matrix(b, i, "attn_v", N_HEAD_KV * HEAD_DIM, N_EMBD, 1);
}

static void layer_norm(builder *b, uint32_t i, const char *name, uint64_t n)
{
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    layer_vector(b, i, full, n, 0.1f, 1);
    snprintf(full, sizeof full, "%s.bias", name);
    layer_vector(b, i, full, n, 0.1f, 0);
}

static void encoder_feed_forward(builder *b, const qn_architecture *row, uint32_t i)
{
    const bool gated = row->gate != QN_UNGATED;
    if (b->m->n_expert > 0 && i % 2 == 1) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.ffn_gate_inp.weight", i);
        matrix_of(b, name, b->m->n_expert, N_EMBD, 1, QN_TYPE_F32);
        if (gated) layer_matrix(b, i, "ffn_gate_exps", N_FF, N_EMBD, b->m->n_expert);
        layer_matrix(b, i, "ffn_up_exps", N_FF, N_EMBD, b->m->n_expert);
        layer_matrix(b, i, "ffn_down_exps", N_EMBD, N_FF, b->m->n_expert);
        return;
    }
    if (row->gate == QN_GATE_OF_FILE && b->m->together) {
        layer_matrix(b, i, "ffn_up", 2 * N_FF, N_EMBD, 1);
    } else {
        if (gated) layer_matrix(b, i, "ffn_gate", N_FF, N_EMBD, 1);
        layer_matrix(b, i, "ffn_up", N_FF, N_EMBD, 1);
    }
    layer_matrix(b, i, "ffn_down", N_EMBD, N_FF, 1);
    layer_vector(b, i, "ffn_down.bias", N_EMBD, 0.1f, 0);
    if (!gated) layer_vector(b, i, "ffn_up.bias", N_FF, 0.1f, 0);
}

static void encoder_layer(builder *b, const qn_architecture *row, uint32_t i)
{
    query_key_value(b, i);
    if (b->m->together) {
        layer_vector(b, i, "attn_qkv.bias", (N_HEAD + 2 * N_HEAD_KV) * HEAD_DIM, 0.1f, 0);
    } else {
        layer_vector(b, i, "attn_q.bias", N_HEAD * HEAD_DIM, 0.1f, 0);
        layer_vector(b, i, "attn_k.bias", N_HEAD_KV * HEAD_DIM, 0.1f, 0);
        layer_vector(b, i, "attn_v.bias", N_HEAD_KV * HEAD_DIM, 0.1f, 0);
    }
    layer_matrix(b, i, "attn_output", N_EMBD, N_HEAD * HEAD_DIM, 1);
    layer_vector(b, i, "attn_output.bias", N_EMBD, 0.1f, 0);
    layer_norm(b, i, "attn_output_norm", N_EMBD);
    if (b->m->more_norms) {
        layer_norm(b, i, "attn_norm_2", N_EMBD);
        layer_norm(b, i, "attn_q_norm", N_HEAD * HEAD_DIM);
        layer_norm(b, i, "attn_k_norm", N_HEAD_KV * HEAD_DIM);
    }
    encoder_feed_forward(b, row, i);
    layer_norm(b, i, "layer_output_norm", N_EMBD);
}

static void layer(builder *b, const qn_architecture *row, uint32_t i)
{
    layer_vector(b, i, "attn_norm.weight", N_EMBD, 0.1f, 1);
    layer_vector(b, i, "ffn_norm.weight", N_EMBD, 0.1f, 1);
    query_key_value(b, i);
    layer_matrix(b, i, "attn_output", N_EMBD, N_HEAD * HEAD_DIM, 1);
    if (strcmp(row->name, "qwen2") == 0) {
        layer_vector(b, i, "attn_q.bias", N_HEAD * HEAD_DIM, 0.1f, 0);
        layer_vector(b, i, "attn_k.bias", N_HEAD_KV * HEAD_DIM, 0.1f, 0);
        layer_vector(b, i, "attn_v.bias", N_HEAD_KV * HEAD_DIM, 0.1f, 0);
    }
    if (row->qk_norm) {
        layer_vector(b, i, "attn_q_norm.weight", HEAD_DIM, 0.1f, 1);
        layer_vector(b, i, "attn_k_norm.weight", HEAD_DIM, 0.1f, 1);
    }
    if (row->post_norms) {
        layer_vector(b, i, "post_attention_norm.weight", N_EMBD, 0.1f, 1);
        layer_vector(b, i, "post_ffw_norm.weight", N_EMBD, 0.1f, 1);
    }
    if (b->m->n_expert > 0) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.ffn_gate_inp.weight", i);
        matrix_of(b, name, b->m->n_expert, N_EMBD, 1, QN_TYPE_F32);
        layer_matrix(b, i, "ffn_gate_exps", N_FF, N_EMBD, b->m->n_expert);
        layer_matrix(b, i, "ffn_up_exps", N_FF, N_EMBD, b->m->n_expert);
        layer_matrix(b, i, "ffn_down_exps", N_EMBD, N_FF, b->m->n_expert);
    } else {
        layer_matrix(b, i, "ffn_gate", N_FF, N_EMBD, 1);
        layer_matrix(b, i, "ffn_up", N_FF, N_EMBD, 1);
        layer_matrix(b, i, "ffn_down", N_EMBD, N_FF, 1);
    }
}

static void key_u32(builder *b, const char *name, uint32_t value)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", b->arch, name);
    qn_gguf_writer_set_u32(b->w, key, value);
}

static void key_f32(builder *b, const char *name, float value)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", b->arch, name);
    qn_gguf_writer_set_f32(b->w, key, value);
}

static void vocabulary(builder *b)
{
    static const char *const words[] = {
        "\u2581",  "\u2581the", "\u2581a", "e",           "t",           "a",  "o",  "i",  "n",
        "s",       "r",         "h",       "l",           "d",           "th", "in", "er", "\u2581s",
        "\u2581w", "on",        "an",      "\u2581hello", "\u2581world", "he", "ll"};
    enum { N_WORDS = sizeof words / sizeof words[0] };
    char(*text)[32] = own(b, N_VOCAB * sizeof *text);
    qn_string tokens[N_VOCAB];
    float scores[N_VOCAB] = {0};
    int32_t kinds[N_VOCAB];
    for (int i = 0; i < N_VOCAB; i++) {
        if (i < 3)
            snprintf(text[i], 32, "%s", (const char *[]){"<unk>", "<s>", "</s>"}[i]),
                kinds[i] = i == 0 ? 2 : 3;
        else if (i < 259) snprintf(text[i], 32, "<0x%02X>", (unsigned)i - 3), kinds[i] = 6;
        else if (i - 259 < N_WORDS) snprintf(text[i], 32, "%s", words[i - 259]), kinds[i] = 1;
        else if (i < N_VOCAB - 1 || b->m->marker == NULL)
            snprintf(text[i], 32, "\u2581word%d", i), kinds[i] = 1;
        else snprintf(text[i], 32, "%s", b->m->marker), kinds[i] = 4;
        if (i >= 259) scores[i] = -(float)(i - 258);
        tokens[i] = (qn_string){text[i], strlen(text[i])};
    }
    qn_gguf_writer_set_string(b->w, "tokenizer.ggml.model", "llama");
    qn_gguf_writer_set_strings(b->w, "tokenizer.ggml.tokens", tokens, N_VOCAB);
    qn_gguf_writer_set_array(b->w, "tokenizer.ggml.scores", QN_GGUF_F32, scores, N_VOCAB);
    qn_gguf_writer_set_array(b->w, "tokenizer.ggml.token_type", QN_GGUF_I32, kinds, N_VOCAB);
    qn_gguf_writer_set_u32(b->w, "tokenizer.ggml.bos_token_id", 1);
    qn_gguf_writer_set_u32(b->w, "tokenizer.ggml.eos_token_id", 2);
    qn_gguf_writer_set_u32(b->w, "tokenizer.ggml.unknown_token_id", 0);
    qn_gguf_writer_set_bool(b->w, "tokenizer.ggml.add_bos_token", true);
    if (b->m->rerank_template != NULL)
        qn_gguf_writer_set_string(b->w, "tokenizer.chat_template.rerank", b->m->rerank_template);
    if (b->m->chat_template != NULL)
        qn_gguf_writer_set_string(b->w, "tokenizer.chat_template", b->m->chat_template);
}

static void metadata(builder *b, const qn_architecture *row, uint32_t n_layer)
{
    qn_gguf_writer_set_string(b->w, "general.architecture", b->arch);
    qn_gguf_writer_set_string(b->w, "general.name", "tiny");
    key_u32(b, "block_count", n_layer);
    key_u32(b, "context_length", b->m->n_ctx > 0 ? b->m->n_ctx : 4096);
    key_u32(b, "embedding_length", N_EMBD);
    key_u32(b, "feed_forward_length", N_FF);
    key_u32(b, "attention.head_count", N_HEAD);
    key_u32(b, "attention.head_count_kv", N_HEAD_KV);
    key_u32(b, "attention.key_length", HEAD_DIM);
    key_u32(b, "attention.value_length", HEAD_DIM);
    key_f32(b, row->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 1e-5f);
    key_f32(b, "rope.freq_base", 10000.0f);
    if (row->experts_in_turn) key_u32(b, "moe_every_n_layers", 2);
    if (b->m->has_pooling) key_u32(b, "pooling_type", b->m->pooling);
    if (b->m->both_ways) {
        char key[96];
        snprintf(key, sizeof key, "%s.attention.causal", b->arch);
        qn_gguf_writer_set_bool(b->w, key, false);
    }
    if (row->window_period > 0) key_u32(b, "attention.sliding_window", b->m->window > 0 ? b->m->window : 32);
    if (b->m->n_expert > 0) {
        key_u32(b, "expert_count", b->m->n_expert);
        key_u32(b, "expert_used_count", 2);
        key_u32(b, "expert_feed_forward_length", N_FF);
    }
}

/* Beside the layers. */
static void outside(builder *b, const qn_architecture *row)
{
    if (row->encoder) {
        vector(b, "token_embd_norm.weight", N_EMBD, 0.1f, 1);
        vector(b, "token_embd_norm.bias", N_EMBD, 0.1f, 0);
        matrix_of(b, "token_types.weight", 2, N_EMBD, 1, QN_TYPE_F32);
        if (row->position == QN_POSITION_TABLE)
            matrix_of(b, "position_embd.weight", b->m->n_ctx > 0 ? b->m->n_ctx : 4096, N_EMBD, 1,
                      QN_TYPE_F16);
    } else {
        vector(b, "output_norm.weight", N_EMBD, 0.1f, 1);
        matrix_of(b, "output.weight", N_VOCAB, N_EMBD, 1, b->m->type);
    }
    if (b->m->n_scores == 0) return;
    matrix_of(b, "cls.output.weight", b->m->n_scores, N_EMBD, 1, b->m->type);
    if (!row->encoder) return; /* as rerankers made of causal models are */
    matrix_of(b, "cls.weight", N_EMBD, N_EMBD, 1, b->m->type);
    vector(b, "cls.bias", N_EMBD, 0.1f, 0);
    vector(b, "cls.output.bias", b->m->n_scores, 0.1f, 0);
}

bool tiny_model_write(const char *path, const tiny_model *m)
{
    builder b = {.m = m, .arch = m->arch != NULL ? m->arch : "llama", .random = {.seed = m->seed}};
    const qn_architecture *row = qn_architecture_find((qn_string){b.arch, strlen(b.arch)});
    quern_error err;
    if (row == NULL || qn_gguf_writer_create(&b.w, &err) != QUERN_OK) return false;
    const uint32_t n_layer = m->n_layer > 0 ? m->n_layer : row->window_period > 0 ? row->window_period : 3;
    metadata(&b, row, n_layer);
    vocabulary(&b);
    matrix_of(&b, "token_embd.weight", N_VOCAB, N_EMBD, 1, m->type);
    outside(&b, row);
    for (uint32_t i = 0; i < n_layer; i++) {
        if (row->encoder) encoder_layer(&b, row, i);
        else layer(&b, row, i);
    }
    const quern_status s = qn_gguf_writer_save(b.w, path, &err);
    if (s != QUERN_OK) fprintf(stderr, "%s\n", err.message);
    qn_gguf_writer_destroy(b.w);
    for (size_t i = 0; i < b.n_owned; i++) free(b.owned[i]);
    return s == QUERN_OK;
}
