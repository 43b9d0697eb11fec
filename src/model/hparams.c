/* hparams.c: metadata to checked numbers. Keys are "<architecture>.<name>" as the GGUF specification
 * lists them. */
#include "model/hparams.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct reader { /* carries the first error, so that reading goes on without a check per line */
    const qn_gguf *g;
    const char *arch;
    quern_error *err;
    quern_status status;
} reader;

static const char *full_key(const reader *r, const char *name, char buffer[128])
{
    snprintf(buffer, 128, "%s.%s", r->arch, name);
    return buffer;
}

/* A per-layer array is accepted where all its entries agree; families with varying layers are refused. */
static bool uniform_array(reader *r, const char *key, uint64_t n_layer, uint64_t *out)
{
    const qn_gguf_value *v = qn_gguf_find(r->g, key);
    if (v == NULL || v->kind != QN_GGUF_ARRAY) return false;
    if (!qn_gguf_kind_is_integer(v->element_kind) || v->count != n_layer) {
        r->status = qn_fail(r->err, QUERN_ERR_FORMAT,
                            "key '%s': an array of %llu %s, expected %llu integers, one a layer", key,
                            (unsigned long long)v->count, qn_gguf_kind_name(v->element_kind),
                            (unsigned long long)n_layer);
        return true;
    }
    const int64_t first = qn_gguf_element_int(v, 0);
    for (uint64_t i = 1; i < v->count && r->status == QUERN_OK; i++)
        if (qn_gguf_element_int(v, i) != first)
            r->status = qn_fail(r->err, QUERN_ERR_UNSUPPORTED,
                                "key '%s': differs between layers, which this version cannot run", key);
    *out = first < 0 ? 0 : (uint64_t)first;
    return true;
}

static uint32_t read_uint(reader *r, const char *name, bool required, uint64_t min, uint64_t max,
                          uint64_t fallback, uint64_t n_layer)
{
    char key[128];
    uint64_t value = fallback;
    if (r->status != QUERN_OK) return (uint32_t)fallback;
    full_key(r, name, key);
    if (n_layer > 0 && uniform_array(r, key, n_layer, &value)) {
        if (r->status == QUERN_OK && (value < min || value > max))
            r->status = qn_fail(r->err, QUERN_ERR_FORMAT, "key '%s': %llu is outside of %llu..%llu", key,
                                (unsigned long long)value, (unsigned long long)min, (unsigned long long)max);
    } else {
        r->status = qn_gguf_get_uint(r->g, key, required, min, max, &value, r->err);
    }
    return (uint32_t)value;
}

static float read_float(reader *r, const char *name, bool required, float fallback)
{
    char key[128];
    float value = fallback;
    if (r->status == QUERN_OK)
        r->status = qn_gguf_get_float(r->g, full_key(r, name, key), required, &value, r->err);
    return value;
}

static void check(reader *r, bool ok, const char *name, double value, const char *rule)
{
    if (r->status == QUERN_OK && !ok)
        r->status = qn_fail(r->err, QUERN_ERR_FORMAT, "key '%s.%s': %g, but %s", r->arch, name, value, rule);
}

static void read_direction(reader *r, qn_hparams *h)
{
    char key[128];
    h->causal = !h->arch->encoder;
    if (r->status == QUERN_OK)
        r->status = qn_gguf_get_bool(r->g, full_key(r, "attention.causal", key), false, &h->causal, r->err);
    if (r->status == QUERN_OK && !h->causal && h->window > 0)
        r->status = qn_fail(r->err, QUERN_ERR_UNSUPPORTED,
                            "key '%s': false, but this version cannot run windows both ways", key);
}

static void read_attention(reader *r, qn_hparams *h)
{
    h->n_head = read_uint(r, "attention.head_count", true, 1, 4096, 0, h->n_layer);
    h->n_head_kv = read_uint(r, "attention.head_count_kv", false, 1, 4096, h->n_head, h->n_layer);
    if (r->status != QUERN_OK) return;
    check(r, h->n_head_kv <= h->n_head && h->n_head % h->n_head_kv == 0, "attention.head_count_kv",
          h->n_head_kv, "it must divide the number of heads");
    const uint32_t head_dim = h->n_embd / h->n_head;
    const bool named = r->status == QUERN_OK && head_dim * h->n_head == h->n_embd;
    h->head_dim_k = read_uint(r, "attention.key_length", !named, 1, 4096, head_dim, 0);
    h->head_dim_v = read_uint(r, "attention.value_length", !named, 1, 4096, head_dim, 0);
    check(r, h->head_dim_k % 8 == 0 && h->head_dim_k <= 512, "attention.key_length", h->head_dim_k,
          "a head must be a multiple of 8, at most 512");
    check(r, h->head_dim_v % 8 == 0 && h->head_dim_v <= 512, "attention.value_length", h->head_dim_v,
          "a head must be a multiple of 8, at most 512");
    const bool by_embd = h->arch->embd_scaled_attention_layers == h->n_layer;
    h->attn_scale = 1.0f / sqrtf((float)(by_embd ? h->n_embd / h->n_head : h->head_dim_k));
    if (h->arch->scales) {
        const float scale = read_float(r, "attention.scale", false, 0.0f);
        if (scale != 0.0f) h->attn_scale = scale;
    }
    if (h->arch->softcaps) {
        h->attn_softcap = read_float(r, "attn_logit_softcapping", false, h->arch->default_attn_softcap);
        h->final_softcap = read_float(r, "final_logit_softcapping", false, h->arch->default_final_softcap);
        check(r, h->attn_softcap >= 0, "attn_logit_softcapping", h->attn_softcap, "it must not be negative");
        check(r, h->final_softcap >= 0, "final_logit_softcapping", h->final_softcap,
              "it must not be negative");
    }
    if (h->arch->window_period > 0)
        h->window =
            read_uint(r, "attention.sliding_window", false, 1, INT32_MAX / 2, h->arch->default_window, 0);
    read_direction(r, h);
    if (h->arch->position != QN_POSITION_ALIBI) return;
    h->alibi_max_bias = read_float(r, "attention.max_alibi_bias", false, 8.0f);
    check(r, h->alibi_max_bias > 0, "attention.max_alibi_bias", h->alibi_max_bias, "it must be above 0");
}

static void read_rope_scaling(reader *r, qn_hparams *h)
{
    qn_string type = {"none", 4};
    char key[128];
    if (r->status == QUERN_OK)
        r->status = qn_gguf_get_string(r->g, full_key(r, "rope.scaling.type", key), false, &type, r->err);
    if (r->status != QUERN_OK) return;
    float factor = read_float(r, "rope.scale_linear", false, 0.0f); /* the older name */
    const bool old_linear = factor != 0.0f;
    factor = read_float(r, "rope.scaling.factor", false, old_linear ? factor : 1.0f);
    check(r, factor > 0, "rope.scaling.factor", factor, "it must be above 0");
    h->rope.attn_factor = read_float(r, "rope.scaling.attn_factor", false, 1.0f);
    if (qn_string_is(type, "linear") || (old_linear && qn_string_is(type, "none"))) {
        h->rope.freq_scale = 1.0f / factor;
    } else if (qn_string_is(type, "yarn")) {
        h->rope.freq_scale = 1.0f / factor;
        h->rope.ext_factor = read_float(r, "rope.scaling.yarn_ext_factor", false, 1.0f);
        h->rope.beta_fast = read_float(r, "rope.scaling.yarn_beta_fast", false, 32.0f);
        h->rope.beta_slow = read_float(r, "rope.scaling.yarn_beta_slow", false, 1.0f);
        h->rope.n_ctx_orig =
            read_uint(r, "rope.scaling.original_context_length", false, 1, INT32_MAX, h->n_ctx_train, 0);
    } else if (!qn_string_is(type, "none") && !qn_string_is(type, "")) {
        r->status = qn_fail(r->err, QUERN_ERR_UNSUPPORTED,
                            "key '%s': rotary scaling '%s' is not supported (none, linear, yarn are)", key,
                            qn_quote(type.bytes, type.n_bytes).text);
    }
}

static void read_rope(reader *r, qn_hparams *h)
{
    if (h->arch->position != QN_POSITION_ROTARY) return;
    h->n_rot = read_uint(r, "rope.dimension_count", false, 2, 4096, h->head_dim_k, 0);
    check(r, h->n_rot % 2 == 0 && h->n_rot <= h->head_dim_k, "rope.dimension_count", h->n_rot,
          "it must be even and at most the head size");
    h->rope = (qn_rope_params){.n_rot = h->n_rot, .freq_scale = 1.0f, .attn_factor = 1.0f};
    h->rope.freq_base = read_float(r, "rope.freq_base", false, 10000.0f);
    check(r, h->rope.freq_base > 0, "rope.freq_base", h->rope.freq_base, "it must be above 0");
    read_rope_scaling(r, h);
    h->rope_window = h->rope;
    if (h->arch->window_freq_base > 0) { /* windowed layers see near positions only: own base, no scaling */
        h->rope_window = (qn_rope_params){.n_rot = h->n_rot, .freq_scale = 1.0f, .attn_factor = 1.0f};
        h->rope_window.freq_base = read_float(r, "rope.freq_base_swa", false, h->arch->window_freq_base);
        check(r, h->rope_window.freq_base > 0, "rope.freq_base_swa", h->rope_window.freq_base,
              "it must be above 0");
    }
}

static void read_feed_forward(reader *r, qn_hparams *h)
{
    h->n_expert = h->arch->reads_experts ? read_uint(r, "expert_count", false, 0, QN_MAX_EXPERTS, 0, 0) : 0;
    h->n_ff = read_uint(r, "feed_forward_length", h->n_expert == 0, 1, QN_MAX_WIDTH, 0, h->n_layer);
    if (h->n_expert == 0) return;
    h->n_expert_used = read_uint(r, "expert_used_count", true, 1, QN_MAX_EXPERTS_USED, 0, 0);
    check(r, h->n_expert_used <= h->n_expert, "expert_used_count", h->n_expert_used,
          "there are fewer experts than that");
    h->n_ff_expert = read_uint(r, "expert_feed_forward_length", h->n_ff == 0, 1, QN_MAX_WIDTH, h->n_ff, 0);
    if (h->arch->experts_in_turn)
        h->expert_period = read_uint(r, "moe_every_n_layers", true, 2, QN_MAX_LAYERS, 0, 0);
    check(r, h->expert_period == 0 || h->n_ff > 0, "feed_forward_length", h->n_ff,
          "layers without experts need it");
}

/* What becomes of the hidden states, in models that are made for embeddings or scores. */
static void read_pooling(reader *r, qn_hparams *h)
{
    enum { UNSPECIFIED = 5 }; /* behind those that the GGUF specification numbers */
    static const quern_pooling by_number[] = {QUERN_POOLING_NONE, QUERN_POOLING_MEAN, QUERN_POOLING_CLS,
                                              QUERN_POOLING_LAST, QUERN_POOLING_RANK, QUERN_POOLING_DEFAULT};
    h->pooling = by_number[read_uint(r, "pooling_type", false, 0, UNSPECIFIED - 1, UNSPECIFIED, 0)];
}

static void read_scales(reader *r, qn_hparams *h)
{
    h->embed_scale = h->arch->embed_scale ? sqrtf((float)h->n_embd) : 1.0f;
    h->residual_scale = h->logit_scale = 1.0f;
    if (!h->arch->scales) return;
    const float embedding = read_float(r, "embedding_scale", false, 0.0f);
    const float residual = read_float(r, "residual_scale", false, 0.0f);
    const float logit = read_float(r, "logit_scale", false, 0.0f);
    if (embedding != 0.0f) h->embed_scale = embedding;
    if (residual != 0.0f) h->residual_scale = residual;
    if (logit != 0.0f) h->logit_scale = 1.0f / logit;
}

static quern_status find_architecture(qn_hparams *h, const qn_gguf *g, char name[64], quern_error *err)
{
    qn_string arch;
    quern_status s = qn_gguf_get_string(g, "general.architecture", true, &arch, err);
    if (s != QUERN_OK) return s;
    h->arch = qn_architecture_find(arch);
    if (h->arch == NULL) {
        char known[384] = "";
        size_t count;
        const qn_architecture *rows = qn_architecture_all(&count);
        for (size_t i = 0; i < count && strlen(known) + strlen(rows[i].name) + 3 < sizeof known; i++)
            strcat(strcat(known, i > 0 ? ", " : ""), rows[i].name);
        return qn_fail(err, QUERN_ERR_UNSUPPORTED, "architecture '%s' is not supported (these are: %s)",
                       qn_quote(arch.bytes, arch.n_bytes).text, known);
    }
    snprintf(name, 64, "%s", h->arch->name);
    return QUERN_OK;
}

quern_status qn_hparams_read(qn_hparams *h, const qn_gguf *g, quern_error *err)
{
    memset(h, 0, sizeof *h);
    char name[64];
    quern_status s = find_architecture(h, g, name, err);
    if (s != QUERN_OK) return s;
    reader r = {g, name, err, QUERN_OK};
    h->n_layer = read_uint(&r, "block_count", true, 1, QN_MAX_LAYERS, 0, 0);
    h->n_embd = read_uint(&r, "embedding_length", true, 1, QN_MAX_WIDTH, 0, 0);
    h->n_ctx_train = read_uint(&r, "context_length", false, 1, UINT32_MAX, 4096, 0);
    const char *epsilon =
        h->arch->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
    h->norm_eps = read_float(&r, epsilon, true, 0.0f);
    check(&r, h->norm_eps >= 0, epsilon, h->norm_eps, "it must not be negative");
    if (r.status == QUERN_OK) read_attention(&r, h);
    if (r.status == QUERN_OK) read_rope(&r, h);
    if (r.status == QUERN_OK) read_feed_forward(&r, h);
    if (r.status == QUERN_OK) read_scales(&r, h);
    if (r.status == QUERN_OK) read_pooling(&r, h);
    return r.status;
}
