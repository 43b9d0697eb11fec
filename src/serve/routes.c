/* routes.c: which function answers what. */
#include "serve/anthropic.h"
#include "serve/native.h"
#include "serve/ollama.h"
#include "serve/openai.h"
#include "serve/server_parts.h"

const qn_route qn_routes[] = {
    {"GET", "/health", qn_native_health, false, &qn_openai_dialect},
    {"GET", "/metrics", qn_native_metrics, false, &qn_openai_dialect},
    {"GET", "/props", qn_native_props, false, &qn_openai_dialect},
    {"GET", "/slots", qn_native_slots, false, &qn_openai_dialect},
    {"POST", "/tokenize", qn_native_tokenize, true, &qn_openai_dialect},
    {"POST", "/detokenize", qn_native_detokenize, true, &qn_openai_dialect},
    {"POST", "/apply-template", qn_native_apply_template, true, &qn_openai_dialect},
    {"GET", "/v1/models", qn_openai_models, false, &qn_openai_dialect},
    {"POST", "/v1/chat/completions", qn_openai_chat, true, &qn_openai_dialect},
    {"POST", "/v1/completions", qn_openai_completions, true, &qn_openai_dialect},
    {"POST", "/v1/embeddings", qn_openai_embeddings, true, &qn_openai_dialect},
    {"POST", "/v1/rerank", qn_openai_rerank, true, &qn_openai_dialect},
    {"POST", "/v1/messages", qn_anthropic_messages, true, &qn_anthropic_dialect},
    {"POST", "/v1/messages/count_tokens", qn_anthropic_count_tokens, true, &qn_anthropic_dialect},
    {"POST", "/api/chat", qn_ollama_chat, true, &qn_ollama_dialect},
    {"POST", "/api/generate", qn_ollama_generate, true, &qn_ollama_dialect},
    {"POST", "/api/embed", qn_openai_embed_for_ollama, true, &qn_ollama_dialect},
    {"POST", "/api/show", qn_ollama_show, true, &qn_ollama_dialect},
    {"GET", "/api/tags", qn_ollama_tags, false, &qn_ollama_dialect},
    {"GET", "/api/ps", qn_ollama_ps, false, &qn_ollama_dialect},
    {"GET", "/api/version", qn_ollama_version, false, &qn_ollama_dialect},
};
const size_t qn_n_routes = sizeof qn_routes / sizeof *qn_routes;
