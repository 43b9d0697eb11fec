/* attention.c: the reference of attention over a paged cache, one query head after the other. attention.h
 * states the order of arithmetic; the variants for instruction sets are held to this bit for bit. */
#include "kernel/ref/math.h"
#include "kernel/table_vector.h"

#include <string.h>

/* The keys or the values of one layer's part of a page. */
typedef struct kv_part {
    qn_tensor_type type;
    size_t n_head_kv, head_dim, offset;
    bool transposed; /* keys */
} kv_part;

static kv_part keys(const qn_kv_layout *l)
{
    return (kv_part){l->type_k, l->n_head_kv, l->head_dim_k, 0, true};
}

static kv_part values(const qn_kv_layout *l)
{
    return (kv_part){l->type_v, l->n_head_kv, l->head_dim_v, l->v_offset, false};
}

static size_t elem_index(const kv_part *p, size_t head, size_t slot, size_t dim)
{
    if (!p->transposed) return (head * QN_PAGE_POSITIONS + slot) * p->head_dim + dim;
    const size_t tile = head * (QN_PAGE_POSITIONS / QN_TILE_POSITIONS) + slot / QN_TILE_POSITIONS;
    return (tile * p->head_dim + dim) * QN_TILE_POSITIONS + slot % QN_TILE_POSITIONS;
}

/* Where the scale of a Q8_0 vector lies, in bytes from the part's begin. */
static size_t scale_offset(const kv_part *p, size_t head, size_t slot)
{
    return p->n_head_kv * QN_PAGE_POSITIONS * p->head_dim + (head * QN_PAGE_POSITIONS + slot) * sizeof(float);
}

/* ---- writing ---- */

static int8_t quantize(float x, float inverse)
{
    float q = rintf(x * inverse);
    q = q > -127.0f ? q : -127.0f; /* NaN too: the scale says that it is not finite */
    q = q < 127.0f ? q : 127.0f;
    return (int8_t)q;
}

/* The greatest magnitude by its bits, where NaN is greater than infinity and that greater than all else. */
static float greatest_magnitude(const float *x, size_t n)
{
    uint32_t greatest = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t magnitude = qn_f32_to_bits(x[i]) & 0x7fffffffu;
        if (magnitude > greatest) greatest = magnitude;
    }
    return qn_f32_from_bits(greatest);
}

static void write_vector(const kv_part *p, char *page, size_t head, size_t slot, const float *x)
{
    float inverse = 0.0f;
    if (p->type == QN_TYPE_Q8_0) {
        const float scale = greatest_magnitude(x, p->head_dim) / 127.0f;
        inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
        memcpy(page + p->offset + scale_offset(p, head, slot), &scale, sizeof scale);
    }
    for (size_t i = 0; i < p->head_dim; i++) {
        char *at = page + p->offset + elem_index(p, head, slot, i) * qn_kv_elem_bytes(p->type);
        const uint16_t half = qn_f32_to_f16(x[i]);
        const int8_t quant = quantize(x[i], inverse);
        if (p->type == QN_TYPE_F32) memcpy(at, &x[i], 4);
        else if (p->type == QN_TYPE_F16) memcpy(at, &half, 2);
        else memcpy(at, &quant, 1);
    }
}

void qn_kv_write_scalar(const qn_kv_layout *l, void *page, size_t slot, const float *k, const float *v)
{
    const kv_part k_part = keys(l), v_part = values(l);
    for (size_t head = 0; head < l->n_head_kv; head++) {
        write_vector(&k_part, page, head, slot, k + head * l->head_dim_k);
        write_vector(&v_part, page, head, slot, v + head * l->head_dim_v);
    }
}

/* ---- reading ---- */

static float read_elem(const kv_part *p, const char *page, size_t head, size_t slot, size_t dim)
{
    const char *at = page + p->offset + elem_index(p, head, slot, dim) * qn_kv_elem_bytes(p->type);
    float value;
    uint16_t half;
    if (p->type == QN_TYPE_Q8_0) return (float)*(const int8_t *)at;
    if (p->type == QN_TYPE_F16) return memcpy(&half, at, 2), qn_f16_to_f32(half);
    return memcpy(&value, at, 4), value;
}

static float read_scale(const kv_part *p, const char *page, size_t head, size_t slot)
{
    float scale;
    memcpy(&scale, page + p->offset + scale_offset(p, head, slot), sizeof scale);
    return scale;
}

static const char *page_of(const qn_attention *a, size_t position)
{
    return a->layer_base + (size_t)a->pages[position / QN_PAGE_POSITIONS] * a->page_stride;
}

static float score(const qn_attention *a, const float *q, size_t head_kv, size_t position)
{
    const kv_part k = keys(&a->layout);
    const char *page = page_of(a, position);
    const size_t slot = position % QN_PAGE_POSITIONS;
    float acc = 0.0f;
    for (size_t i = 0; i < k.head_dim; i++) acc = fmaf(q[i], read_elem(&k, page, head_kv, slot, i), acc);
    if (k.type == QN_TYPE_Q8_0) acc *= read_scale(&k, page, head_kv, slot);
    acc *= a->scale;
    return a->softcap > 0.0f ? qn_softcap(acc, a->softcap, 1.0f / a->softcap) : acc;
}

/* The partial result of positions [begin, end) for one query head: acc [head_dim_v], m, l. */
static void attend_chunk(const qn_attention *a, const float *q, size_t head_kv, size_t begin, size_t end,
                         float *partial)
{
    const kv_part v = values(&a->layout);
    float p[QN_ATTENTION_CHUNK], stripe[16] = {0}, max = -INFINITY;
    for (size_t j = begin; j < end; j++) {
        p[j - begin] = score(a, q, head_kv, j);
        if (p[j - begin] > max) max = p[j - begin];
    }
    memset(partial, 0, v.head_dim * sizeof *partial);
    for (size_t j = begin; j < end; j++) {
        const char *page = page_of(a, j);
        const size_t slot = j % QN_PAGE_POSITIONS;
        float weight = qn_exp(p[j - begin] - max);
        stripe[j % 16] += weight;
        if (v.type == QN_TYPE_Q8_0) weight *= read_scale(&v, page, head_kv, slot);
        for (size_t i = 0; i < v.head_dim; i++)
            partial[i] = fmaf(weight, read_elem(&v, page, head_kv, slot, i), partial[i]);
    }
    partial[v.head_dim] = max;
    partial[v.head_dim + 1] = qn_stripes_sum(stripe);
}

void qn_attention_chunk_scalar(const qn_attention *a, size_t head_kv, size_t token, size_t chunk,
                               float *partial, void *scratch)
{
    (void)scratch;
    const size_t group = a->n_head / a->layout.n_head_kv, last = (size_t)a->position + token;
    size_t begin = qn_attention_first((int32_t)last, a->window), end = last + 1;
    if (begin < chunk * QN_ATTENTION_CHUNK) begin = chunk * QN_ATTENTION_CHUNK;
    if (end > (chunk + 1) * QN_ATTENTION_CHUNK) end = (chunk + 1) * QN_ATTENTION_CHUNK;
    for (size_t i = 0; i < group; i++) {
        const float *q = a->q + token * a->q_stride + (head_kv * group + i) * a->layout.head_dim_k;
        attend_chunk(a, q, head_kv, begin, end, partial + i * qn_attention_partial_floats(&a->layout));
    }
}

/* ---- joining ---- */

/* What has been joined so far, beside the vector O, which lies in out. */
typedef struct joined {
    float max, sum;
} joined;

static void join(joined *state, float *out, size_t n, const float *acc, float max, float sum)
{
    const float new_max = max > state->max ? max : state->max;
    const float f = qn_exp(state->max - new_max), g = qn_exp(max - new_max);
    for (size_t i = 0; i < n; i++) out[i] = fmaf(acc ? acc[i] : 0.0f, g, out[i] * f);
    *state = (joined){new_max, fmaf(sum, g, state->sum * f)};
}

static joined begin_join(float *out, size_t n)
{
    memset(out, 0, n * sizeof *out);
    return (joined){-INFINITY, 0.0f};
}

static void end_join(const qn_attention *a, size_t head, joined *state, float *out)
{
    const size_t n = a->layout.head_dim_v;
    if (a->sinks) join(state, out, n, NULL, a->sinks[head], 1.0f);
    const float scale = 1.0f / state->sum;
    for (size_t i = 0; i < n; i++) out[i] *= scale;
}

void qn_attention_join_scalar(const qn_attention *a, size_t head_kv, size_t token, size_t n_chunks,
                              const float *partials, size_t partial_stride)
{
    const size_t group = a->n_head / a->layout.n_head_kv, n = a->layout.head_dim_v;
    for (size_t i = 0; i < group; i++, partials += qn_attention_partial_floats(&a->layout)) {
        const size_t head = head_kv * group + i;
        float *out = a->out + token * a->out_stride + head * n;
        joined state = begin_join(out, n);
        for (size_t c = 0; c < n_chunks; c++) {
            const float *partial = partials + c * partial_stride;
            join(&state, out, n, partial, partial[n], partial[n + 1]);
        }
        end_join(a, head, &state, out);
    }
}

/* All chunks of one query head. */
static void attend(const qn_attention *a, size_t head_kv, size_t token, size_t head, float *partial)
{
    const size_t n = a->layout.head_dim_v, position = (size_t)a->position + token;
    const float *q = a->q + token * a->q_stride + head * a->layout.head_dim_k;
    float *out = a->out + token * a->out_stride + head * n;
    size_t begin = qn_attention_first((int32_t)position, a->window);
    joined state = begin_join(out, n);
    while (begin <= position) {
        const size_t chunk_end = (begin / QN_ATTENTION_CHUNK + 1) * QN_ATTENTION_CHUNK;
        const size_t end = position + 1 < chunk_end ? position + 1 : chunk_end;
        attend_chunk(a, q, head_kv, begin, end, partial);
        join(&state, out, n, partial, partial[n], partial[n + 1]);
        begin = end;
    }
    end_join(a, head, &state, out);
}

void qn_attention_scalar(const qn_attention *a, size_t head_kv, size_t token_begin, size_t token_end,
                         void *scratch)
{
    const size_t group = a->n_head / a->layout.n_head_kv;
    for (size_t token = token_begin; token < token_end; token++)
        for (size_t i = 0; i < group; i++) attend(a, head_kv, token, head_kv * group + i, scratch);
}
