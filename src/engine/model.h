/* model.h: what a quern_model is made of; shared by the files of this room. */
#ifndef QN_ENGINE_MODEL_H
#define QN_ENGINE_MODEL_H

#include "base/log.h"
#include "cache/kv_cache.h"
#include "chat/chat.h"
#include "device/cpu/cpu.h"
#include "engine/packs.h"
#include "vocab/vocab.h"

/* What grammars need of the vocabulary; made when the first grammar asks for it (grammar.c). */
typedef struct qn_model_tokens qn_model_tokens;
quern_status qn_model_tokens_create(qn_model_tokens **out, quern_error *err);
void qn_model_tokens_destroy(qn_model_tokens *t); /* NULL is fine */

struct quern_model {
    char *path;
    qn_gguf gguf;
    qn_log log;
    qn_vocab *vocab;
    qn_model_tokens *tokens;
    qn_chat_template *chat, *chat_fallback; /* the file's, and what stands in for it; NULL with vocab_only */
    qn_hparams hparams;
    qn_weights weights;
    qn_program program;
    qn_model_packs packs;
    const qn_kernels *kernels;
    bool has_program, loaded; /* not with vocab_only; not with header_only */
    char *architecture, *name, *file_type;
};

/* The parameters after defaults, checked against the model. */
typedef struct qn_context_setup {
    qn_device_params device;
    qn_kv_cache_params cache;
    uint64_t memory_limit; /* bytes */
} qn_context_setup;
quern_status qn_context_setup_init(qn_context_setup *setup, const quern_model *model,
                                   const quern_context_params *params, quern_error *err);

/* Whether texts can be continued: there is an output matrix, and no token sees those behind it. */
bool qn_model_generates(const quern_model *model);
/* QUERN_ERR_ARGUMENT that says so, if they cannot. */
quern_status qn_model_check_generates(const quern_model *model, quern_error *err);

/* What steps are made with, for whoever fills them with something else than quern_decode. */
typedef struct qn_context_parts {
    const qn_context_setup *setup;
    qn_kv_cache *cache;
    qn_cpu *cpu;
    quern_token *tokens;  /* [n_batch] of the step */
    qn_segment *segments; /* [n_segments] */
} qn_context_parts;
/* The context's logits are no longer valid, its sequences are empty, and it has not been canceled. */
qn_context_parts qn_context_begin(quern_context *ctx);
bool qn_context_is_canceled(const quern_context *ctx);

/* What a sequence is made of, for whoever saves and restores it. */
typedef struct qn_sequence_parts {
    qn_kv_cache *cache;
    quern_token *tokens; /* [n_ctx] */
    qn_tensor_type type_k, type_v;
} qn_sequence_parts;
/* The context's logits are no longer valid, as after any call. False: there is no such sequence. */
bool qn_context_sequence(quern_context *ctx, uint32_t sequence, qn_sequence_parts *parts);

/* The greatest of each block of logits i, as the step left them. */
const float *qn_context_logit_max(const quern_context *ctx, size_t i);

/* Opens the file's chat template and what stands in where it cannot be used. A bad template is no error. */
quern_status qn_model_open_chat(quern_model *m, quern_error *err);
/* Whether the file's template shows that answers may begin with reasoning (chat_tools.c). */
bool qn_chat_reasons(const quern_model *m);

#endif
