/* model.c: opening a model: file, tokenizer, numbers, tensors, program, weights, in that order, each
 * step refusing what would hurt the next. */
#include "engine/model.h"

#include "base/alloc.h"
#include "base/memory.h"
#include "engine/file_type.h"
#include "engine/pooling.h"

#include <stdio.h>
#include <string.h>

quern_model_params quern_model_params_default(void)
{
    return (quern_model_params){.struct_bytes = sizeof(quern_model_params)};
}
int quern_default_threads(void)
{
    return qn_default_threads();
}
void quern_free(void *p)
{
    qn_free(p);
}

/* Callers compiled against an older, shorter struct get defaults for what they do not know. */
static quern_model_params complete(const quern_model_params *given)
{
    quern_model_params p = quern_model_params_default();
    if (given != NULL) memcpy(&p, given, given->struct_bytes < sizeof p ? given->struct_bytes : sizeof p);
    if (p.n_threads <= 0) p.n_threads = qn_default_threads();
    return p;
}

static quern_status check_vocabulary(const quern_model *m, quern_error *err)
{
    if (qn_vocab_size(m->vocab) <= m->hparams.n_vocab) return QUERN_OK;
    return qn_fail(err, QUERN_ERR_FORMAT, "tokenizer has %zu tokens but 'token_embd.weight' only %u rows",
                   qn_vocab_size(m->vocab), m->hparams.n_vocab);
}

typedef struct progress_bridge {
    quern_progress_fn *fn;
    void *user;
} progress_bridge;

static bool report(void *user, size_t done, size_t total)
{
    const progress_bridge *b = user;
    return b->fn == NULL || b->fn(b->user, done, total);
}

static quern_status load_weights(quern_model *m, const quern_model_params *p, quern_error *err)
{
    qn_thread_pool *pool = NULL;
    const uint64_t limit = p->memory_limit > 0 ? p->memory_limit : qn_memory_available();
    const bool shared = m->packs.state == QUERN_PACK_IS_THERE && m->packs.cache.mode == QUERN_PACK_MAPPED;
    if (m->weights.arena.used > limit && !shared) /* a mapped pack can be dropped and read again */
        return qn_fail(
            err, QUERN_ERR_NOMEM,
            "weights take %zu bytes, but only %llu are available (use a smaller model or quantization)",
            m->weights.arena.used, (unsigned long long)limit);
    quern_status s = qn_model_use_pack(m, err);
    if (s != QUERN_OK || m->packs.state == QUERN_PACK_IS_USED) return s;
    s = qn_thread_pool_create(&pool, p->n_threads, err);
    if (s != QUERN_OK) return s;
    progress_bridge bridge = {p->progress, p->progress_user};
    s = qn_weights_load(&m->weights, &m->hparams, &m->gguf, pool, report, &bridge, err);
    qn_thread_pool_destroy(pool);
    if (s == QUERN_OK) qn_model_write_pack(m);
    return s;
}

static quern_status keep_names(quern_model *m, quern_error *err)
{
    qn_string arch = {"unknown", 7}, name = {"", 0};
    quern_status s = qn_gguf_get_string(&m->gguf, "general.architecture", false, &arch, err);
    if (s == QUERN_OK) s = qn_gguf_get_string(&m->gguf, "general.name", false, &name, err);
    if (s != QUERN_OK) return s;
    m->architecture = qn_strdup(qn_quote(arch.bytes, arch.n_bytes).text);
    m->name = qn_strdup(qn_quote(name.bytes, name.n_bytes).text);
    m->file_type = qn_strdup(qn_file_type_name(&m->gguf));
    const bool ok = m->architecture != NULL && m->name != NULL && m->file_type != NULL;
    return ok ? QUERN_OK : qn_fail(err, QUERN_ERR_NOMEM, "no memory");
}

static quern_status open_parts(quern_model *m, const quern_model_params *p, quern_error *err)
{
    quern_status s = qn_kernels_choose(&m->kernels, err);
    if (s == QUERN_OK) s = keep_names(m, err);
    if (s == QUERN_OK && !p->vocab_only)
        s = qn_hparams_read(&m->hparams, &m->gguf, err); /* names an unknown family first */
    if (s == QUERN_OK) s = qn_vocab_open(&m->vocab, &m->gguf, &m->log, err);
    if (s != QUERN_OK || p->vocab_only) return s;
    s = qn_model_open_chat(m, err);
    if (s == QUERN_OK) s = qn_weights_bind(&m->weights, &m->hparams, &m->gguf, err);
    if (s == QUERN_OK) s = check_vocabulary(m, err);
    if (s == QUERN_OK) s = qn_model_find_pack(m, p, err);
    if (s == QUERN_OK && !p->header_only) {
        s = load_weights(m, p, err);
        m->loaded = s == QUERN_OK;
    }
    if (s != QUERN_OK) return s;
    m->hparams.rope.freq_factors = m->weights.rope_factors;
    if (m->hparams.arch->window_freq_base == 0) m->hparams.rope_window.freq_factors = m->weights.rope_factors;
    s = qn_program_compile(&m->program, &m->hparams, &m->weights, err);
    m->has_program = s == QUERN_OK;
    return s;
}

quern_status quern_model_open(quern_model **out, const char *path, const quern_model_params *params,
                              quern_error *err)
{
    const quern_model_params p = complete(params);
    quern_model *m = *out = qn_calloc(1, sizeof *m);
    if (m == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "model object: no memory");
    m->log = (qn_log){p.log, p.log_user};
    m->path = qn_strdup(path);
    if (m->path == NULL) {
        quern_model_close(m), *out = NULL;
        return qn_fail(err, QUERN_ERR_NOMEM, "model object: no memory");
    }
    quern_status s = qn_model_tokens_create(&m->tokens, err);
    if (s == QUERN_OK) s = qn_gguf_open(&m->gguf, path, err);
    if (s == QUERN_OK) {
        s = open_parts(m, &p, err);
        if (s != QUERN_OK) qn_fail_prefix(err, "%s", qn_quote(path, strlen(path)).text);
    }
    if (s != QUERN_OK) quern_model_close(m), *out = NULL; /* takes a half-built model */
    return s;
}

void quern_model_close(quern_model *m)
{
    if (m == NULL) return;
    qn_model_close_pack(m);
    qn_program_deinit(&m->program);
    qn_weights_deinit(&m->weights);
    qn_chat_template_close(m->chat);
    qn_chat_template_close(m->chat_fallback);
    qn_model_tokens_destroy(m->tokens);
    qn_vocab_close(m->vocab);
    qn_gguf_close(&m->gguf);
    qn_free(m->path);
    qn_free(m->architecture);
    qn_free(m->name);
    qn_free(m->file_type);
    qn_free(m);
}

void quern_model_get_info(const quern_model *m, quern_model_info *info)
{
    const qn_hparams *h = &m->hparams;
    *info =
        (quern_model_info){.architecture = m->architecture,
                           .name = m->name,
                           .file_type = m->file_type,
                           .n_parameters = m->weights.n_parameters,
                           .file_bytes = m->gguf.total_bytes,
                           .weight_bytes = m->weights.arena.used,
                           .n_layer = h->n_layer,
                           .n_embd = h->n_embd,
                           .n_head = h->n_head,
                           .n_head_kv = h->n_head_kv,
                           .n_vocab = m->has_program ? h->n_vocab : (uint32_t)qn_vocab_size(m->vocab),
                           .n_ctx_train = h->n_ctx_train,
                           .n_expert = h->n_expert,
                           .n_expert_used = h->n_expert_used,
                           .window = h->window,
                           .tokenizer = qn_vocab_kind_name(m->vocab),
                           .instruction_set = m->kernels->isa,
                           .has_chat_template = m->chat != NULL && qn_chat_template_source(m->chat) != NULL};
    if (info->has_chat_template) info->chat_template_problem = qn_chat_template_problem(m->chat);
    info->reasons = qn_chat_reasons(m);
    info->generates = m->has_program && qn_model_generates(m);
    info->pooling = qn_model_pooling(m, QUERN_POOLING_DEFAULT);
    info->n_scores = m->weights.head.n_scores;
}

static void print_scalar(const qn_gguf_value *v, qn_gguf_kind kind, uint64_t i, char *out, size_t size)
{
    if (kind == QN_GGUF_BOOL) snprintf(out, size, "%s", qn_gguf_element_int(v, i) != 0 ? "true" : "false");
    else if (qn_gguf_kind_is_float(kind)) snprintf(out, size, "%g", qn_gguf_element_float(v, i));
    else if (kind == QN_GGUF_U64) snprintf(out, size, "%llu", (unsigned long long)qn_gguf_element_int(v, i));
    else if (kind == QN_GGUF_STRING)
        snprintf(out, size, "%s",
                 qn_quote(v->strings != NULL ? v->strings[i].bytes : v->data,
                          v->strings != NULL ? v->strings[i].n_bytes : v->n_bytes)
                     .text);
    else snprintf(out, size, "%lld", (long long)qn_gguf_element_int(v, i));
}

bool quern_model_metadata(const quern_model *m, size_t index, char *key, size_t key_size, char *value,
                          size_t value_size)
{
    if (index >= m->gguf.n_values) return false;
    const qn_gguf_value *v = &m->gguf.values[index];
    snprintf(key, key_size, "%s", qn_quote(v->key.bytes, v->key.n_bytes).text);
    if (v->kind != QN_GGUF_ARRAY) {
        print_scalar(v, v->kind, 0, value, value_size);
        return true;
    }
    qn_buffer text = {.max_bytes = 1 << 16};
    qn_buffer_printf(&text, "%llu x %s [", (unsigned long long)v->count, qn_gguf_kind_name(v->element_kind));
    for (uint64_t i = 0; i < v->count && i < 6; i++) {
        char element[512];
        print_scalar(v, v->element_kind, i, element, sizeof element);
        qn_buffer_printf(&text, "%s%s", i > 0 ? ", " : "", element);
    }
    qn_buffer_puts(&text, v->count > 6 ? ", ...]" : "]");
    snprintf(value, value_size, "%s", text.data != NULL ? text.data : "");
    qn_buffer_deinit(&text);
    return true;
}

bool quern_model_tensor(const quern_model *m, size_t index, quern_tensor_info *info)
{
    if (index >= m->gguf.n_tensors) return false;
    const qn_gguf_tensor *t = &m->gguf.tensors[index];
    memset(info, 0, sizeof *info);
    const qn_quoted name = qn_quote(t->name.bytes, t->name.n_bytes);
    snprintf(info->name, sizeof info->name, "%.*s", (int)sizeof info->name - 1, name.text);
    info->type = qn_tensor_type_get((uint32_t)t->type)->name;
    info->n_bytes = t->n_bytes;
    memcpy(info->dims, t->dims, sizeof info->dims);
    return true;
}

quern_status quern_model_explain(const quern_model *m, bool fold_layers, char **text, quern_error *err)
{
    *text = NULL;
    if (!m->has_program)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "%s: was opened for its vocabulary only", m->path);
    qn_buffer out = {0};
    qn_program_explain(&m->program, fold_layers, &out);
    *text = qn_buffer_take(&out, NULL);
    return *text != NULL ? QUERN_OK : qn_fail(err, QUERN_ERR_NOMEM, "explanation: no memory");
}
