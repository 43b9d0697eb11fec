/* weights.c: binding tensors by name and loading them. Names are those of the GGUF specification. */
#include "model/weights.h"

#include "base/alloc.h"
#include "quant/decode.h"

#include <stdio.h>
#include <string.h>

typedef struct binder { /* carries the first error */
    qn_weights *w;
    const qn_hparams *h;
    const qn_gguf *g;
    quern_error *err;
    quern_status status;
    bool real; /* second run: memory is there; the first has noted the jobs */
    uint32_t layer;
} binder;

enum { REQUIRED = 1, OPTIONAL = 0 };

static const qn_gguf_tensor *find(binder *b, const char *name, int required)
{
    if (b->status != QUERN_OK) return NULL;
    const qn_gguf_tensor *t = qn_gguf_find_tensor(b->g, name);
    if (t == NULL && required)
        b->status = qn_fail(b->err, QUERN_ERR_FORMAT,
                            "tensor '%s' is missing (architecture '%s' needs it; is the file complete?)",
                            name, b->h->arch->name);
    if (t != NULL && qn_decode_get(t->type) == NULL) {
        b->status = qn_fail(b->err, QUERN_ERR_UNSUPPORTED, "tensor '%s': type %s cannot be used for weights",
                            name, qn_tensor_type_get((uint32_t)t->type)->name);
        return NULL;
    }
    return t;
}

static bool shape_is(binder *b, const qn_gguf_tensor *t, uint64_t d0, uint64_t d1, uint64_t d2)
{
    if (t->dims[0] == d0 && t->dims[1] == d1 && t->dims[2] == d2 && t->dims[3] == 1) return true;
    b->status = qn_fail(
        b->err, QUERN_ERR_FORMAT, "tensor '%s': shape %llu x %llu x %llu x %llu, expected %llu x %llu x %llu",
        qn_quote(t->name.bytes, t->name.n_bytes).text, (unsigned long long)t->dims[0],
        (unsigned long long)t->dims[1], (unsigned long long)t->dims[2], (unsigned long long)t->dims[3],
        (unsigned long long)d0, (unsigned long long)d1, (unsigned long long)d2);
    return false;
}

/* The bytes just taken from the arena are for this tensor. */
static void note_job(binder *b, qn_load_job job, size_t n_bytes)
{
    if (b->real) return;
    qn_weights *w = b->w;
    job.offset = w->arena.used - n_bytes;
    if (!qn_grow(&w->jobs, &w->jobs_capacity, w->n_jobs + 1, SIZE_MAX / sizeof job, sizeof job)) {
        b->status = qn_fail(b->err, QUERN_ERR_NOMEM, "list of tensors: no memory");
        return;
    }
    w->jobs[w->n_jobs++] = job;
}

/* Stands for a vector whose memory is only being measured, so that a program compiled from it has the
 * same instructions as the one that will run. Never read. */
static const float not_loaded[1];

static void bind_vector(binder *b, const float **out, const char *name, uint64_t n, int required)
{
    const qn_gguf_tensor *t = find(b, name, required);
    if (t == NULL || !shape_is(b, t, n, 1, 1)) return;
    float *dst = qn_arena_alloc(&b->w->arena, n, sizeof *dst);
    note_job(b, (qn_load_job){.tensor = t, .n_rows = n}, n * sizeof *dst);
    *out = dst != NULL ? dst : not_loaded;
    if (!b->real) b->w->n_parameters += t->n_values;
}

/* NAME.weight and, where norms have one, NAME.bias. */
static void bind_norm(binder *b, qn_norm *out, const char *name, uint64_t n, int required)
{
    char full[128];
    snprintf(full, sizeof full, "%s.weight", name);
    bind_vector(b, &out->weight, full, n, required);
    if (!b->h->arch->layer_norm || out->weight == NULL) return;
    snprintf(full, sizeof full, "%s.bias", name);
    bind_vector(b, &out->bias, full, n, OPTIONAL);
}

/* Matrices within one tensor: n_matrices of them, one behind the other, or n_rows of one, from first_row on.
 */
typedef struct part {
    size_t n_matrices, first_row, n_rows, n_cols;
} part;

/* Bytes of a row of a tensor of matrices. */
static size_t row_bytes_of(const qn_gguf_tensor *t)
{
    return t->n_bytes / (size_t)(t->dims[1] * t->dims[2]);
}

/* The tensor's shape has been checked. */
static void bind_part(binder *b, qn_expert_matrices *out, const qn_gguf_tensor *t, part p)
{
    const size_t n_matrices = p.n_matrices, n_rows = p.n_rows, n_cols = p.n_cols;
    if (!qn_matrix_supported(t->type, n_cols)) {
        b->status =
            qn_fail(b->err, QUERN_ERR_UNSUPPORTED, "tensor '%s': no product for type %s with %zu columns",
                    qn_quote(t->name.bytes, t->name.n_bytes).text,
                    qn_tensor_type_get((uint32_t)t->type)->name, n_cols);
        return;
    }
    out->first = (qn_matrix){.type = t->type,
                             .n_rows = n_rows,
                             .n_cols = n_cols,
                             .panel_bytes = qn_matrix_panel_bytes(t->type, n_cols)};
    if (qn_matrix_is_packed(t->type)) {
        out->expert_bytes = qn_matrix_panels(n_rows) * out->first.panel_bytes;
        uint8_t *dst = qn_arena_alloc(&b->w->arena, n_matrices, out->expert_bytes);
        out->first.data = dst;
        note_job(b, (qn_load_job){t, 0, n_matrices, n_rows, n_cols, out->expert_bytes, p.first_row},
                 n_matrices * out->expert_bytes);
    } else {
        out->expert_bytes = n_rows * row_bytes_of(t);
        out->first.data = (const uint8_t *)t->data + p.first_row * row_bytes_of(t);
        if (!b->real) b->w->mapped_bytes += n_matrices * out->expert_bytes;
    }
    if (!b->real) b->w->n_parameters += (uint64_t)n_matrices * n_rows * n_cols;
}

/* n_matrices matrices of [n_rows][n_cols] in one tensor. */
static void bind_matrices(binder *b, qn_expert_matrices *out, const qn_gguf_tensor *t, size_t n_matrices,
                          size_t n_rows, size_t n_cols)
{
    if (t == NULL || !shape_is(b, t, n_cols, n_rows, n_matrices)) return;
    bind_part(b, out, t, (part){n_matrices, 0, n_rows, n_cols});
}

/* Rows [first_row, first_row + n_rows) of a tensor whose shape has been checked, as a matrix. */
static void bind_rows(binder *b, qn_matrix *out, const qn_gguf_tensor *t, size_t first_row, size_t n_rows,
                      size_t n_cols)
{
    qn_expert_matrices one = {.first = *out};
    if (b->status == QUERN_OK) bind_part(b, &one, t, (part){1, first_row, n_rows, n_cols});
    *out = one.first;
}

static void bind_matrix(binder *b, qn_matrix *out, const char *name, size_t n_rows, size_t n_cols,
                        int required)
{
    qn_expert_matrices one = {.first = *out};
    bind_matrices(b, &one, find(b, name, required), 1, n_rows, n_cols);
    *out = one.first;
}

static const char *layer_name(const binder *b, const char *name, char buffer[96])
{
    snprintf(buffer, 96, "blk.%u.%s", b->layer, name);
    return buffer;
}

static void layer_vector(binder *b, const float **out, const char *name, uint64_t n, int required)
{
    char buffer[96];
    bind_vector(b, out, layer_name(b, name, buffer), n, required);
}

static void layer_norm(binder *b, qn_norm *out, const char *name, uint64_t n, int required)
{
    char buffer[96];
    bind_norm(b, out, layer_name(b, name, buffer), n, required);
}

static const qn_gguf_tensor *layer_tensor(binder *b, const char *name)
{
    char buffer[96];
    return qn_gguf_find_tensor(b->g, layer_name(b, name, buffer));
}

static void layer_matrix(binder *b, qn_matrix *out, const char *name, size_t n_rows, size_t n_cols)
{
    char buffer[96];
    bind_matrix(b, out, layer_name(b, name, buffer), n_rows, n_cols, REQUIRED);
}

static void layer_experts(binder *b, qn_expert_matrices *out, const char *name, size_t n_rows, size_t n_cols)
{
    char buffer[96];
    const qn_gguf_tensor *t = find(b, layer_name(b, name, buffer), REQUIRED);
    bind_matrices(b, out, t, b->h->n_expert, n_rows, n_cols);
}

/* Queries, keys and values in one tensor, in this order. */
static void bind_qkv(binder *b, qn_layer_weights *l, size_t n_q, size_t n_k, size_t n_v)
{
    char buffer[96];
    const size_t n_embd = b->h->n_embd, n_all = n_q + n_k + n_v;
    const float *bias = NULL;
    const qn_gguf_tensor *t = find(b, layer_name(b, "attn_qkv.weight", buffer), REQUIRED);
    if (t == NULL || !shape_is(b, t, n_embd, n_all, 1)) return;
    bind_rows(b, &l->q, t, 0, n_q, n_embd);
    bind_rows(b, &l->k, t, n_q, n_k, n_embd);
    bind_rows(b, &l->v, t, n_q + n_k, n_v, n_embd);
    layer_vector(b, &bias, "attn_qkv.bias", n_all, OPTIONAL);
    if (bias == NULL) return;
    l->q_bias = bias;
    l->k_bias = bias == not_loaded ? bias : bias + n_q;
    l->v_bias = bias == not_loaded ? bias : bias + n_q + n_k;
}

static void bind_q_k_v(binder *b, qn_layer_weights *l, size_t n_q, size_t n_k, size_t n_v)
{
    const size_t n_embd = b->h->n_embd;
    layer_matrix(b, &l->q, "attn_q.weight", n_q, n_embd);
    layer_matrix(b, &l->k, "attn_k.weight", n_k, n_embd);
    layer_matrix(b, &l->v, "attn_v.weight", n_v, n_embd);
    layer_vector(b, &l->q_bias, "attn_q.bias", n_q, OPTIONAL);
    layer_vector(b, &l->k_bias, "attn_k.bias", n_k, OPTIONAL);
    layer_vector(b, &l->v_bias, "attn_v.bias", n_v, OPTIONAL);
}

static void bind_attention_norms(binder *b, qn_layer_weights *l, size_t n_q, size_t n_k)
{
    const qn_hparams *h = b->h;
    if (h->arch->encoder) {
        layer_norm(b, &l->attn_sum_norm, "attn_output_norm", h->n_embd, REQUIRED);
        layer_norm(b, &l->attn_second_norm, "attn_norm_2", h->n_embd, OPTIONAL);
        layer_norm(b, &l->q_norm, "attn_q_norm", n_q, OPTIONAL);
        layer_norm(b, &l->k_norm, "attn_k_norm", n_k, OPTIONAL);
        return;
    }
    layer_norm(b, &l->attn_norm, "attn_norm", h->n_embd, REQUIRED);
    if (h->arch->qk_norm) {
        layer_norm(b, &l->q_norm, "attn_q_norm", h->head_dim_k, REQUIRED);
        layer_norm(b, &l->k_norm, "attn_k_norm", h->head_dim_k, REQUIRED);
    }
    if (h->arch->post_norms) layer_norm(b, &l->attn_post_norm, "post_attention_norm", h->n_embd, REQUIRED);
}

static void bind_attention(binder *b, qn_layer_weights *l)
{
    const qn_hparams *h = b->h;
    const size_t n_q = (size_t)h->n_head * h->head_dim_k, n_k = (size_t)h->n_head_kv * h->head_dim_k;
    const size_t n_v = (size_t)h->n_head_kv * h->head_dim_v, n_o = (size_t)h->n_head * h->head_dim_v;
    bind_attention_norms(b, l, n_q, n_k);
    if (layer_tensor(b, "attn_qkv.weight") != NULL) bind_qkv(b, l, n_q, n_k, n_v);
    else bind_q_k_v(b, l, n_q, n_k, n_v);
    layer_matrix(b, &l->o, "attn_output.weight", h->n_embd, n_o);
    layer_vector(b, &l->o_bias, "attn_output.bias", h->n_embd, OPTIONAL);
}

static void bind_experts(binder *b, qn_layer_weights *l)
{
    const qn_hparams *h = b->h;
    l->gated = h->arch->gate != QN_UNGATED;
    layer_matrix(b, &l->router, "ffn_gate_inp.weight", h->n_expert, h->n_embd);
    if (l->gated) layer_experts(b, &l->gate_exps, "ffn_gate_exps.weight", h->n_ff_expert, h->n_embd);
    layer_experts(b, &l->up_exps, "ffn_up_exps.weight", h->n_ff_expert, h->n_embd);
    layer_experts(b, &l->down_exps, "ffn_down_exps.weight", h->n_embd, h->n_ff_expert);
}

/* Gate and up in one tensor, in this order. */
static void bind_gate_up(binder *b, qn_layer_weights *l, const qn_gguf_tensor *t)
{
    const size_t n_ff = b->h->n_ff, n_embd = b->h->n_embd;
    const float *bias = NULL;
    if (!shape_is(b, t, n_embd, 2 * n_ff, 1)) return;
    bind_rows(b, &l->gate, t, 0, n_ff, n_embd);
    bind_rows(b, &l->up, t, n_ff, n_ff, n_embd);
    layer_vector(b, &bias, "ffn_up.bias", 2 * n_ff, OPTIONAL);
    if (bias == NULL) return;
    l->gate_bias = bias;
    l->up_bias = bias == not_loaded ? bias : bias + n_ff;
}

static void bind_dense(binder *b, qn_layer_weights *l)
{
    const qn_hparams *h = b->h;
    char buffer[96];
    const qn_gguf_tensor *up = find(b, layer_name(b, "ffn_up.weight", buffer), REQUIRED);
    const bool by_file = h->arch->gate == QN_GATE_OF_FILE,
               has_gate = layer_tensor(b, "ffn_gate.weight") != NULL;
    const bool together = by_file && !has_gate && up != NULL && up->dims[1] == 2 * (uint64_t)h->n_ff;
    l->gated = by_file ? has_gate || together : h->arch->gate == QN_GATED;
    if (together) {
        bind_gate_up(b, l, up);
    } else {
        if (l->gated) {
            layer_matrix(b, &l->gate, "ffn_gate.weight", h->n_ff, h->n_embd);
            layer_vector(b, &l->gate_bias, "ffn_gate.bias", h->n_ff, OPTIONAL);
        }
        layer_matrix(b, &l->up, "ffn_up.weight", h->n_ff, h->n_embd);
        layer_vector(b, &l->up_bias, "ffn_up.bias", h->n_ff, OPTIONAL);
    }
    layer_matrix(b, &l->down, "ffn_down.weight", h->n_embd, h->n_ff);
    layer_vector(b, &l->down_bias, "ffn_down.bias", h->n_embd, OPTIONAL);
}

static void bind_feed_forward(binder *b, qn_layer_weights *l)
{
    const qn_hparams *h = b->h;
    if (h->arch->encoder) {
        layer_norm(b, &l->ffn_sum_norm, "layer_output_norm", h->n_embd, REQUIRED);
    } else {
        layer_norm(b, &l->ffn_norm, "ffn_norm", h->n_embd, REQUIRED);
        if (h->arch->post_norms) layer_norm(b, &l->ffn_post_norm, "post_ffw_norm", h->n_embd, REQUIRED);
    }
    l->has_experts = qn_layer_needs_experts(h, b->layer);
    if (!l->has_experts) {
        bind_dense(b, l);
    } else if (b->status == QUERN_OK && layer_tensor(b, "ffn_gate_inp.weight") == NULL) {
        b->status = qn_fail(b->err, QUERN_ERR_FORMAT,
                            "tensor 'blk.%u.ffn_gate_inp.weight' is missing (expert_count is %u)", b->layer,
                            h->n_expert);
    } else {
        bind_experts(b, l);
    }
}

/* The embedding says how large the vocabulary is; its rows stay in the file. */
static void bind_embedding(binder *b, qn_hparams *h)
{
    const qn_gguf_tensor *t = find(b, "token_embd.weight", REQUIRED);
    if (t == NULL) return;
    if (t->n_dims > 2 || t->dims[0] != h->n_embd || t->dims[1] > (1u << 24)) {
        b->status = qn_fail(b->err, QUERN_ERR_FORMAT,
                            "tensor 'token_embd.weight': shape %llu x %llu, expected %u x the vocabulary",
                            (unsigned long long)t->dims[0], (unsigned long long)t->dims[1], h->n_embd);
        return;
    }
    h->n_vocab = (uint32_t)t->dims[1];
    b->w->embedding = t;
    b->w->embedding_row_bytes = t->n_bytes / h->n_vocab;
    if (!b->real) b->w->n_parameters += t->n_values;
}

/* What is added to embeddings before they are normed: a row for the kind of token, which is always the first,
 * and one for the position. */
static void bind_embedding_parts(binder *b)
{
    const qn_hparams *h = b->h;
    const qn_gguf_tensor *types = find(b, "token_types.weight", OPTIONAL);
    if (types != NULL && shape_is(b, types, h->n_embd, types->dims[1], 1)) {
        float *dst = qn_arena_alloc(&b->w->arena, h->n_embd, sizeof *dst);
        note_job(b, (qn_load_job){.tensor = types, .n_rows = h->n_embd}, h->n_embd * sizeof *dst);
        b->w->token_type = dst != NULL ? dst : not_loaded;
        if (!b->real) b->w->n_parameters += types->n_values;
    }
    if (h->arch->position == QN_POSITION_TABLE) {
        const qn_gguf_tensor *t = find(b, "position_embd.weight", REQUIRED);
        if (t == NULL || !shape_is(b, t, h->n_embd, h->n_ctx_train, 1)) return;
        b->w->position_embedding = t;
        b->w->position_row_bytes = row_bytes_of(t);
        if (!b->real) b->w->n_parameters += t->n_values;
    }
    bind_norm(b, &b->w->embedding_norm, "token_embd_norm", h->n_embd, REQUIRED);
}

static void bind_output(binder *b)
{
    qn_weights *w = b->w;
    const qn_hparams *h = b->h;
    bind_norm(b, &w->output_norm, "output_norm", h->n_embd, REQUIRED);
    w->tied = qn_gguf_find_tensor(b->g, "output.weight") == NULL;
    const uint64_t before = w->n_parameters;
    bind_matrix(b, &w->output, w->tied ? "token_embd.weight" : "output.weight", h->n_vocab, h->n_embd,
                REQUIRED);
    if (w->tied) w->n_parameters = before;
}

/* A matrix of the head, if it is there, whose rows say how many values it gives. */
static void bind_head_matrix(binder *b, qn_matrix *out, const float **bias, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    const qn_gguf_tensor *t = find(b, full, OPTIONAL);
    if (t == NULL) return;
    const uint64_t n = t->dims[1] <= QN_MAX_WIDTH ? t->dims[1] : 1;
    bind_matrix(b, out, full, n, b->h->n_embd, REQUIRED);
    snprintf(full, sizeof full, "%s.bias", name);
    bind_vector(b, bias, full, n, OPTIONAL);
}

static void bind_head(binder *b)
{
    qn_rank_head *head = &b->w->head;
    bind_head_matrix(b, &head->dense, &head->dense_bias, "cls");
    bind_head_matrix(b, &head->out, &head->out_bias, "cls.output");
    if (head->out.n_rows > 0 && head->dense.n_rows > 0 && head->dense.n_rows != b->h->n_embd)
        b->status = qn_fail(b->err, QUERN_ERR_FORMAT,
                            "tensor 'cls.weight': %zu rows, but 'cls.output.weight' has %u columns",
                            head->dense.n_rows, b->h->n_embd);
    head->n_scores = (uint32_t)(head->out.n_rows > 0 ? head->out.n_rows : head->dense.n_rows);
}

static void bind_all(binder *b, qn_hparams *h)
{
    qn_weights *w = b->w;
    bind_embedding(b, h);
    for (b->layer = 0; b->layer < h->n_layer && b->status == QUERN_OK; b->layer++) {
        bind_attention(b, &w->layers[b->layer]);
        bind_feed_forward(b, &w->layers[b->layer]);
    }
    if (h->n_rot > 0) bind_vector(b, &w->rope_factors, "rope_freqs.weight", h->n_rot / 2, OPTIONAL);
    if (h->arch->encoder) bind_embedding_parts(b);
    else bind_output(b);
    bind_head(b);
}

quern_status qn_weights_bind(qn_weights *w, qn_hparams *h, const qn_gguf *g, quern_error *err)
{
    memset(w, 0, sizeof *w);
    w->layers = qn_calloc(h->n_layer, sizeof *w->layers);
    if (w->layers == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "table of %u layers: no memory", h->n_layer);
    binder b = {.w = w, .h = h, .g = g, .err = err};
    bind_all(&b, h);
    return b.status;
}

typedef struct load_run {
    qn_weights *w;
    const qn_gguf *g;
    qn_load_progress_fn *progress;
    void *user;
    size_t total_bytes;
    bool stopped; /* written by worker 0 between barriers */
} load_run;

static void decode_vector(const qn_load_job *j, char *dst)
{
    qn_decode_get(j->tensor->type)(j->tensor->data, (float *)(void *)dst, j->n_rows);
}

static void pack_panels(const qn_load_job *j, char *dst, size_t begin, size_t end)
{
    const size_t panels = qn_matrix_panels(j->n_rows), row_bytes = row_bytes_of(j->tensor);
    while (begin < end) {
        const size_t matrix = begin / panels, first = begin % panels;
        const size_t last = end - begin < panels - first ? first + (end - begin) : panels;
        qn_matrix_pack(j->tensor->type, j->n_rows, j->n_cols,
                       j->tensor->data + (j->first_row + matrix * j->n_rows) * row_bytes,
                       dst + matrix * j->matrix_bytes, first, last);
        begin += last - first;
    }
}

/* Where a panel's rows begin in the tensor, counting the panels of all matrices. */
static size_t source_offset(const qn_load_job *j, size_t panel)
{
    const size_t panels = qn_matrix_panels(j->n_rows);
    return (j->first_row + panel / panels * j->n_rows + panel % panels * QN_PANEL_ROWS) *
           row_bytes_of(j->tensor);
}

/* What a job reads of its tensor. */
static size_t job_bytes(const qn_load_job *j)
{
    return j->n_cols == 0 ? j->tensor->n_bytes : j->n_matrices * j->n_rows * row_bytes_of(j->tensor);
}

/* What was read is not wanted again: the file's pages do not stand beside the packed weights. */
static void release(const load_run *run, const qn_load_job *j, size_t begin, size_t end)
{
    if (run->g->n_files > 0)
        qn_file_map_release(&run->g->files[j->tensor->file], j->tensor->file_offset + begin, end - begin);
}

static void load_all(const qn_worker *worker, void *user)
{
    load_run *run = user;
    size_t done = 0, begin, end;
    for (size_t i = 0; i < run->w->n_jobs && !run->stopped; i++) {
        const qn_load_job *j = &run->w->jobs[i];
        char *dst = run->w->arena.base + j->offset;
        if (j->n_cols == 0) {
            if (qn_worker_take(worker, 1, 1, &begin, &end)) decode_vector(j, dst);
        } else {
            const size_t items = j->n_matrices * qn_matrix_panels(j->n_rows);
            while (qn_worker_take(worker, items, 16, &begin, &end)) {
                pack_panels(j, dst, begin, end);
                release(run, j, source_offset(j, begin), source_offset(j, end));
            }
        }
        qn_worker_barrier(worker);
        done += job_bytes(j);
        if (worker->index == 0) {
            release(run, j, 0, j->tensor->n_bytes); /* and the pages at the borders of pieces */
            if (run->progress != NULL && !run->progress(run->user, done, run->total_bytes))
                run->stopped = true;
        }
        qn_worker_barrier(worker);
    }
}

/* The second run: every pointer to its place in the arena. */
static quern_status place(qn_weights *w, const qn_hparams *h, const qn_gguf *g, quern_error *err)
{
    qn_hparams again = *h;
    binder b = {.w = w, .h = &again, .g = g, .err = err, .real = true};
    bind_all(&b, &again);
    return b.status;
}

quern_status qn_weights_attach(qn_weights *w, const qn_hparams *h, const qn_gguf *g, const char *base,
                               quern_error *err)
{
    w->arena = (qn_arena){.base = (char *)(uintptr_t)base, .size = w->arena.used};
    w->borrowed = true;
    return place(w, h, g, err);
}

quern_status qn_weights_load(qn_weights *w, const qn_hparams *h, const qn_gguf *g, qn_thread_pool *pool,
                             qn_load_progress_fn *progress, void *user, quern_error *err)
{
    w->borrowed = false;
    quern_status s = qn_arena_create(&w->arena, w->arena.used, "weights", err);
    if (s != QUERN_OK) return s;
    s = place(w, h, g, err);
    if (s != QUERN_OK) return s;
    load_run run = {.w = w, .g = g, .progress = progress, .user = user};
    for (size_t i = 0; i < w->n_jobs; i++) run.total_bytes += job_bytes(&w->jobs[i]);
    qn_thread_pool_run(pool, load_all, &run);
    return run.stopped ? qn_fail(err, QUERN_ERR_CANCELED, "loading was stopped") : QUERN_OK;
}

void qn_weights_deinit(qn_weights *w)
{
    if (!w->borrowed) qn_arena_destroy(&w->arena);
    qn_free(w->layers);
    qn_free(w->jobs);
    memset(w, 0, sizeof *w);
}
