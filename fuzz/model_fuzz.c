/* model_fuzz.c: metadata and tensor shapes of a model, edited by the input. A sound small model is taken
 * apart and written again with keys and tensors removed, replaced and reshaped; whatever comes out is
 * refused, or compiles to a program that can be explained and planned. Weights are never loaded. */
#include "cache/kv_cache.h"
#include "device/cpu/cpu.h"
#include "gguf/writer.h"
#include "model/program.h"

#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    const uint8_t *data;
    size_t left;
} input;

static uint64_t take(input *in, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n && in->left > 0; i++, in->left--) value = value << 8 | *in->data++;
    return value;
}

static const char *const families[] = {"llama",  "qwen2",        "qwen3",      "gemma",
                                       "gemma2", "gemma3",       "granite",    "qwen3moe",
                                       "bert",   "jina-bert-v2", "nomic-bert", "nomic-bert-moe"};
enum { FIRST_ENCODER = 8, NOMIC_MOE = 11 };
static const char *const keys[] = {"block_count",
                                   "context_length",
                                   "embedding_length",
                                   "feed_forward_length",
                                   "attention.head_count",
                                   "attention.head_count_kv",
                                   "attention.key_length",
                                   "attention.value_length",
                                   "attention.layer_norm_rms_epsilon",
                                   "rope.freq_base",
                                   "rope.dimension_count",
                                   "rope.scaling.type",
                                   "rope.scaling.factor",
                                   "rope.scaling.original_context_length",
                                   "attention.sliding_window",
                                   "expert_count",
                                   "expert_used_count",
                                   "expert_feed_forward_length",
                                   "attn_logit_softcapping",
                                   "rope.scale_linear",
                                   "attention.scale",
                                   "residual_scale",
                                   "rope.freq_base_swa",
                                   "logit_scale",
                                   "attention.layer_norm_epsilon",
                                   "attention.causal",
                                   "attention.max_alibi_bias",
                                   "moe_every_n_layers",
                                   "pooling_type"};
static const struct {
    const char *name;
    uint64_t dims[3];
} tensors[] = {{"token_embd.weight", {32, 20, 1}},
               {"output_norm.weight", {32, 1, 1}},
               {"output.weight", {32, 20, 1}},
               {"rope_freqs.weight", {8, 1, 1}},
               {"blk.0.attn_norm.weight", {32, 1, 1}},
               {"blk.0.attn_q.weight", {32, 32, 1}},
               {"blk.0.attn_k.weight", {32, 16, 1}},
               {"blk.0.attn_v.weight", {32, 16, 1}},
               {"blk.0.attn_output.weight", {32, 32, 1}},
               {"blk.0.attn_q_norm.weight", {16, 1, 1}},
               {"blk.0.attn_k_norm.weight", {16, 1, 1}},
               {"blk.0.ffn_norm.weight", {32, 1, 1}},
               {"blk.0.ffn_gate.weight", {32, 64, 1}},
               {"blk.0.ffn_up.weight", {32, 64, 1}},
               {"blk.0.ffn_down.weight", {64, 32, 1}},
               {"blk.0.post_attention_norm.weight", {32, 1, 1}},
               {"blk.0.post_ffw_norm.weight", {32, 1, 1}},
               {"blk.0.ffn_gate_inp.weight", {32, 3, 1}},
               {"blk.0.ffn_gate_exps.weight", {32, 32, 3}},
               {"blk.0.ffn_up_exps.weight", {32, 32, 3}},
               {"blk.0.ffn_down_exps.weight", {32, 32, 3}},
               {"token_embd_norm.weight", {32, 1, 1}},
               {"token_embd_norm.bias", {32, 1, 1}},
               {"token_types.weight", {32, 2, 1}},
               {"position_embd.weight", {32, 512, 1}},
               {"blk.0.attn_output_norm.weight", {32, 1, 1}},
               {"blk.0.attn_norm_2.weight", {32, 1, 1}},
               {"blk.0.layer_output_norm.weight", {32, 1, 1}},
               {"cls.weight", {32, 32, 1}},
               {"cls.bias", {32, 1, 1}},
               {"cls.output.weight", {32, 2, 1}},
               {"blk.0.attn_qkv.weight", {32, 64, 1}}};
enum { N_KEYS = sizeof keys / sizeof keys[0], N_TENSORS = sizeof tensors / sizeof tensors[0] };

static const char *full_key(const char *family, const char *name, char buffer[96])
{
    size_t n = strlen(family);
    memcpy(buffer, family, n);
    buffer[n++] = '.';
    strcpy(buffer + n, name);
    return buffer;
}

static void sound_keys(qn_gguf_writer *w, size_t number)
{
    const char *family = families[number];
    static const uint32_t values[] = {1, 512, 32, 64, 2, 1, 16, 16};
    static const struct {
        const char *name;
        uint32_t value;
    } expert_keys[] = {{"expert_count", 3}, {"expert_used_count", 2}, {"expert_feed_forward_length", 32}};
    char key[96];
    qn_gguf_writer_set_string(w, "general.architecture", family);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        qn_gguf_writer_set_u32(w, full_key(family, keys[i], key), values[i]);
    qn_gguf_writer_set_f32(w, full_key(family, "attention.layer_norm_rms_epsilon", key), 1e-5f);
    qn_gguf_writer_set_f32(w, full_key(family, "attention.layer_norm_epsilon", key), 1e-5f);
    if (number == NOMIC_MOE) qn_gguf_writer_set_u32(w, full_key(family, "moe_every_n_layers", key), 2);
    for (size_t i = 0; i < 3 && (number == NOMIC_MOE || strcmp(family, "qwen3moe") == 0); i++)
        qn_gguf_writer_set_u32(w, full_key(family, expert_keys[i].name, key), expert_keys[i].value);
}

static void edit_key(qn_gguf_writer *w, const char *family, input *in)
{
    static const char *const texts[] = {"linear", "yarn", "none", "longrope", ""};
    char key[96];
    full_key(family, keys[take(in, 1) % N_KEYS], key);
    const unsigned kind = (unsigned)take(in, 1) % 7;
    const uint64_t value = take(in, kind == 1 ? 8 : kind == 0 || kind == 3 ? 4 : 1);
    float f;
    const uint32_t bits = (uint32_t)value;
    uint32_t numbers[4] = {bits, bits, bits, (uint32_t)take(in, 1)};
    memcpy(&f, &bits, sizeof f);
    if (kind == 0) qn_gguf_writer_set_u32(w, key, bits);
    else if (kind == 1) qn_gguf_writer_set_u64(w, key, value);
    else if (kind == 2) qn_gguf_writer_set_i32(w, key, (int8_t)value);
    else if (kind == 3) qn_gguf_writer_set_f32(w, key, f);
    else if (kind == 4) qn_gguf_writer_set_string(w, key, texts[value % 5]);
    else if (kind == 5) qn_gguf_writer_set_array(w, key, QN_GGUF_U32, numbers, value % 5);
    else qn_gguf_writer_set_u32(w, key, (uint32_t)value);
}

/* Queries, keys and values are there once, together or not; of encoders their norms are of another width. */
static bool is_left_out(const char *name, bool encoder, bool together)
{
    static const char *const apart[] = {"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"};
    if (encoder && (strstr(name, "attn_q_norm") != NULL || strstr(name, "attn_k_norm") != NULL)) return true;
    for (size_t i = 0; together && i < 3; i++)
        if (strcmp(name, apart[i]) == 0) return true;
    return !together && strstr(name, "attn_qkv") != NULL;
}

/* All tensors that the edits do not touch are F32 and of the right shape. */
static void add_tensors(qn_gguf_writer *w, input *in, size_t n_edits, bool encoder, bool together)
{
    static const char zeros[1 << 16];
    struct {
        uint8_t type, gone;
        uint64_t dims[3];
    } edits[N_TENSORS];
    for (size_t i = 0; i < N_TENSORS; i++) {
        edits[i].type = QN_TYPE_F32, edits[i].gone = is_left_out(tensors[i].name, encoder, together);
        memcpy(edits[i].dims, tensors[i].dims, sizeof edits[i].dims);
    }
    for (size_t i = 0; i < n_edits; i++) {
        const size_t t = take(in, 1) % N_TENSORS, what = take(in, 1) % 5;
        if (what < 3) edits[t].dims[what] = take(in, 1);
        else if (what == 3) edits[t].type = (uint8_t)take(in, 1);
        else edits[t].gone = 1;
    }
    for (size_t i = 0; i < N_TENSORS; i++) {
        const qn_tensor_type_info *info = qn_tensor_type_get(edits[i].type);
        const uint64_t n = edits[i].dims[0] * edits[i].dims[1] * edits[i].dims[2];
        if (edits[i].gone || info->name == NULL || n == 0 || edits[i].dims[0] % info->block_values != 0)
            continue;
        if (n / info->block_values * info->block_bytes > sizeof zeros) continue;
        qn_gguf_writer_add_tensor(w, tensors[i].name, (qn_tensor_type)edits[i].type, 3, edits[i].dims, zeros);
    }
}

static void compile(const qn_gguf *g)
{
    qn_hparams h;
    qn_weights w = {0};
    qn_program p = {0};
    quern_error err;
    if (qn_hparams_read(&h, g, &err) != QUERN_OK) return;
    if (qn_weights_bind(&w, &h, g, &err) == QUERN_OK && qn_program_compile(&p, &h, &w, &err) == QUERN_OK) {
        qn_buffer text = {.max_bytes = 1 << 20};
        qn_program_explain(&p, true, &text);
        if (text.n_bytes == 0) abort();
        qn_buffer_deinit(&text);
        const qn_device_params device = {
            .n_threads = 2, .n_batch = 64, .n_segments = 4, .n_outputs = 4, .n_ctx = 1024};
        const qn_kv_cache_params cache = {
            .n_sequences = 4, .n_ctx = 1024, .n_batch = 64, .type_k = QN_TYPE_F16, .type_v = QN_TYPE_Q8_0};
        if (qn_cpu_scratch_bytes(&p, &device) == 0 || qn_kv_cache_bytes(&p, &cache) == 0) abort();
    }
    qn_program_deinit(&p);
    qn_weights_deinit(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    const size_t number = take(&in, 1) % (sizeof families / sizeof families[0]);
    const size_t n_key_edits = take(&in, 1) % 8, n_tensor_edits = take(&in, 1) % 16;
    qn_gguf_writer *w;
    char *bytes;
    size_t n_bytes;
    if (qn_gguf_writer_create(&w, NULL) != QUERN_OK) return 0;
    sound_keys(w, number);
    for (size_t i = 0; i < n_key_edits; i++) edit_key(w, families[number], &in);
    add_tensors(w, &in, n_tensor_edits % 8, number >= FIRST_ENCODER, n_tensor_edits >= 8);
    if (qn_gguf_writer_to_memory(w, &bytes, &n_bytes, NULL) == QUERN_OK) {
        qn_gguf g;
        if (qn_gguf_parse(&g, bytes, n_bytes, NULL) == QUERN_OK) compile(&g);
        qn_gguf_close(&g);
        qn_free(bytes);
    }
    qn_gguf_writer_destroy(w);
    return 0;
}
