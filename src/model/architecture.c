/* architecture.c: the table of model families. Facts are from the published model cards and papers:
 * LLaMA (Touvron et al. 2023, arXiv:2302.13971), Mixtral (Jiang et al. 2024, arXiv:2401.04088), Qwen2
 * (arXiv:2407.10671), Qwen3 (arXiv:2505.09388), Gemma (arXiv:2403.08295), Gemma 2 (arXiv:2408.00118),
 * Gemma 3 (arXiv:2503.19786), Granite (IBM 2024), BERT (Devlin et al. 2018, arXiv:1810.04805), Jina
 * embeddings 2 (Guenther et al. 2023, arXiv:2310.19923), Nomic Embed (Nussbaum et al. 2024, arXiv:2402.01613;
 * with experts: arXiv:2502.07972). */
#include "model/architecture.h"

static const qn_architecture table[] = {
    {.name = "llama",
     .description = "Llama 1-3, Mistral, Mixtral, SmolLM2, DeepSeek-Coder, TinyLlama",
     .reads_experts = true},
    {.name = "qwen2", .description = "Qwen2, Qwen2.5, Qwen2.5-Coder", .rope_neox = true},
    {.name = "qwen3", .description = "Qwen3 dense", .rope_neox = true, .qk_norm = true},
    {.name = "qwen3moe",
     .description = "Qwen3 with experts",
     .rope_neox = true,
     .qk_norm = true,
     .reads_experts = true},
    {.name = "gemma",
     .description = "Gemma 1, CodeGemma",
     .rope_neox = true,
     .activation = QN_GELU,
     .embed_scale = true},
    {.name = "gemma2",
     .description = "Gemma 2",
     .rope_neox = true,
     .activation = QN_GELU,
     .embed_scale = true,
     .post_norms = true,
     .softcaps = true,
     .default_attn_softcap = 50.0f,
     .default_final_softcap = 30.0f,
     .window_period = 2,
     .default_window = 4096,
     .embd_scaled_attention_layers = 46},
    {.name = "gemma3",
     .description = "Gemma 3, text",
     .rope_neox = true,
     .activation = QN_GELU,
     .embed_scale = true,
     .post_norms = true,
     .qk_norm = true,
     .softcaps = true,
     .window_period = 6,
     .default_window = 1024,
     .window_freq_base = 10000.0f,
     .embd_scaled_attention_layers = 62},
    {.name = "granite", .description = "Granite 3 dense", .scales = true},
    {.name = "internlm2", .description = "InternLM 2"},
    {.name = "bert",
     .description = "BERT, MiniLM, E5, BGE and other encoders",
     .activation = QN_GELU,
     .gate = QN_UNGATED,
     .position = QN_POSITION_TABLE,
     .encoder = true,
     .layer_norm = true},
    {.name = "jina-bert-v2",
     .description = "Jina embeddings 2, Jina rerankers 1",
     .activation = QN_GELU,
     .gate = QN_GATE_OF_FILE,
     .position = QN_POSITION_ALIBI,
     .encoder = true,
     .layer_norm = true},
    {.name = "nomic-bert",
     .description = "Nomic Embed 1",
     .rope_neox = true,
     .encoder = true,
     .layer_norm = true},
    {.name = "nomic-bert-moe",
     .description = "Nomic Embed 2",
     .rope_neox = true,
     .activation = QN_GELU,
     .gate = QN_UNGATED,
     .encoder = true,
     .layer_norm = true,
     .reads_experts = true,
     .experts_in_turn = true,
     .raw_expert_weights = true},
};

const qn_architecture *qn_architecture_all(size_t *count)
{
    *count = sizeof table / sizeof table[0];
    return table;
}

const qn_architecture *qn_architecture_find(qn_string name)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (qn_string_is(name, table[i].name)) return &table[i];
    return NULL;
}
