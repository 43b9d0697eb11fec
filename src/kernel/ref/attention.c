/* attention.c: the reference of attention over a paged cache, one query head after the other. attention.h
 * states the order of arithmetic; the variants for instruction sets are held to this bit for bit. */
#include "kernel/kv_q4_0.h"
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

/* Where the byte of an element lies that has `size` bytes, or shares one with another (Q4_0: size 1). */
static size_t elem_offset(const kv_part *p, size_t head, size_t slot, size_t dim, size_t size)
{
    const size_t row_bytes = qn_kv_row_bytes(p->type, p->head_dim);
    if (!p->transposed) {
        if (p->type == QN_TYPE_Q4_0) dim = dim / QN_KV_GROUP * 16 + dim % 16;
        return p->offset + (head * QN_PAGE_POSITIONS + slot) * row_bytes + dim * size;
    }
    if (p->type == QN_TYPE_Q4_0) dim /= 2;
    const size_t tile = head * (QN_PAGE_POSITIONS / QN_TILE_POSITIONS) + slot / QN_TILE_POSITIONS;
    return p->offset + tile * row_bytes * QN_TILE_POSITIONS +
           (dim * QN_TILE_POSITIONS + slot % QN_TILE_POSITIONS) * size;
}

/* Which half of its byte a Q4_0 code is. */
static unsigned code_shift(const kv_part *p, size_t dim)
{
    return (p->transposed ? dim % 2 : dim % QN_KV_GROUP / 16) ? 4 : 0;
}

/* Where the scale of a Q8_0 vector, or of a group of a Q4_0 vector, lies. */
static size_t scale_offset(const kv_part *p, size_t head, size_t slot, size_t group)
{
    const size_t begin = p->offset + qn_kv_scale_offset(p->type, p->n_head_kv, p->head_dim, head);
    if (p->type == QN_TYPE_Q4_0) return begin + (group * QN_PAGE_POSITIONS + slot) * sizeof(uint16_t);
    return begin + slot * sizeof(float);
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

static void write_q8_0(const kv_part *p, char *page, size_t head, size_t slot, const float *x)
{
    const float scale = greatest_magnitude(x, p->head_dim) / 127.0f;
    const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    memcpy(page + scale_offset(p, head, slot, 0), &scale, sizeof scale);
    for (size_t i = 0; i < p->head_dim; i++) {
        const int8_t quant = quantize(x[i], inverse);
        memcpy(page + elem_offset(p, head, slot, i, 1), &quant, 1);
    }
}

static unsigned q4_0_code(float x, float inverse)
{
    float q = rintf(x * inverse);
    q = q > -8.0f ? q : -8.0f; /* NaN too */
    q = q < 7.0f ? q : 7.0f;
    return (unsigned)(q + 8.0f);
}

static void write_q4_0(const kv_part *p, char *page, size_t head, size_t slot, const float *x)
{
    for (size_t group = 0; group < qn_kv_groups(p->head_dim); group++) {
        float values[QN_KV_GROUP] = {0};
        const size_t first = group * QN_KV_GROUP, rest = p->head_dim - first;
        memcpy(values, x + first, (rest < QN_KV_GROUP ? rest : QN_KV_GROUP) * sizeof *values);
        const float magnitude = greatest_magnitude(values, QN_KV_GROUP);
        bool positive = false;
        for (size_t i = 0; i < QN_KV_GROUP; i++) positive |= values[i] == magnitude;
        const uint16_t scale = qn_kv_q4_0_scale(magnitude, positive);
        const float inverse = qn_kv_q4_0_inverse(scale);
        memcpy(page + scale_offset(p, head, slot, group), &scale, sizeof scale);
        for (size_t i = 0; i < QN_KV_GROUP; i++) {
            unsigned char *at = (unsigned char *)page + elem_offset(p, head, slot, first + i, 1);
            const unsigned shift = code_shift(p, first + i);
            *at = (unsigned char)((*at & ~(15u << shift)) | q4_0_code(values[i], inverse) << shift);
        }
    }
}

static void write_vector(const kv_part *p, char *page, size_t head, size_t slot, const float *x)
{
    if (p->type == QN_TYPE_Q8_0) write_q8_0(p, page, head, slot, x);
    else if (p->type == QN_TYPE_Q4_0) write_q4_0(p, page, head, slot, x);
    else if (p->type == QN_TYPE_F32) {
        for (size_t i = 0; i < p->head_dim; i++) memcpy(page + elem_offset(p, head, slot, i, 4), &x[i], 4);
    } else {
        for (size_t i = 0; i < p->head_dim; i++) {
            const uint16_t half = p->type == QN_TYPE_F16 ? qn_f32_to_f16(x[i]) : qn_f32_to_bf16(x[i]);
            memcpy(page + elem_offset(p, head, slot, i, 2), &half, 2);
        }
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

static uint16_t read_u16(const char *at)
{
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return bits;
}

static float read_elem(const kv_part *p, const char *page, size_t head, size_t slot, size_t dim)
{
    float value;
    switch (p->type) {
    case QN_TYPE_F16:
        return qn_f16_to_f32(read_u16(page + elem_offset(p, head, slot, dim, 2)));
    case QN_TYPE_BF16:
        return qn_bf16_to_f32(read_u16(page + elem_offset(p, head, slot, dim, 2)));
    case QN_TYPE_Q8_0:
        return (float)*(const int8_t *)(page + elem_offset(p, head, slot, dim, 1));
    case QN_TYPE_Q4_0: {
        const unsigned byte = *(const unsigned char *)(page + elem_offset(p, head, slot, dim, 1));
        const int code = (int)(byte >> code_shift(p, dim) & 15);
        return (float)(code - 8) *
               qn_bf16_to_f32(read_u16(page + scale_offset(p, head, slot, dim / QN_KV_GROUP)));
    }
    default:
        memcpy(&value, page + elem_offset(p, head, slot, dim, 4), sizeof value);
        return value;
    }
}

/* Of a Q8_0 vector. */
static float read_scale(const kv_part *p, const char *page, size_t head, size_t slot)
{
    float scale;
    memcpy(&scale, page + scale_offset(p, head, slot, 0), sizeof scale);
    return scale;
}

static const char *page_of(const qn_attention *a, size_t position)
{
    return a->layer_base + (size_t)a->pages[position / QN_PAGE_POSITIONS] * a->page_stride;
}

/* Query `token` of head `head`, and the key at `position`. */
static float score(const qn_attention *a, size_t token, size_t head, size_t position)
{
    const kv_part k = keys(&a->layout);
    const char *page = page_of(a, position);
    const size_t slot = position % QN_PAGE_POSITIONS, head_kv = head / (a->n_head / a->layout.n_head_kv);
    const float *q = a->q + token * a->q_stride + head * k.head_dim;
    float acc = 0.0f;
    for (size_t i = 0; i < k.head_dim; i++) acc = fmaf(q[i], read_elem(&k, page, head_kv, slot, i), acc);
    if (k.type == QN_TYPE_Q8_0) acc *= read_scale(&k, page, head_kv, slot);
    acc *= a->scale;
    if (a->softcap > 0.0f) acc = qn_softcap(acc, a->softcap, 1.0f / a->softcap);
    if (!a->slopes) return acc;
    const float distance = fabsf((float)((int32_t)position - a->position - (int32_t)token));
    return fmaf(-a->slopes[head], distance, acc);
}

/* The partial result of positions [begin, end) for one query head: acc [head_dim_v], m, l. */
static void attend_chunk(const qn_attention *a, size_t token, size_t head, size_t begin, size_t end,
                         float *partial)
{
    const size_t head_kv = head / (a->n_head / a->layout.n_head_kv);
    const kv_part v = values(&a->layout);
    float p[QN_ATTENTION_CHUNK], stripe[16] = {0}, max = -INFINITY;
    for (size_t j = begin; j < end; j++) {
        p[j - begin] = score(a, token, head, j);
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
    const size_t group = a->n_head / a->layout.n_head_kv;
    const int32_t last = qn_attention_last(a, token);
    size_t begin = qn_attention_first(last, a->window), end = (size_t)last + 1;
    if (begin < chunk * QN_ATTENTION_CHUNK) begin = chunk * QN_ATTENTION_CHUNK;
    if (end > (chunk + 1) * QN_ATTENTION_CHUNK) end = (chunk + 1) * QN_ATTENTION_CHUNK;
    for (size_t i = 0; i < group; i++)
        attend_chunk(a, token, head_kv * group + i, begin, end,
                     partial + i * qn_attention_partial_floats(&a->layout));
}

void qn_attention_chunk_many_scalar(const qn_attention *a, size_t head_kv, const qn_attention_query *queries,
                                    size_t n_queries, size_t chunk, void *scratch)
{
    (void)scratch;
    const size_t group = a->n_head / a->layout.n_head_kv, begin = chunk * QN_ATTENTION_CHUNK;
    for (size_t n = 0; n < n_queries; n++)
        for (size_t i = 0; i < group; i++)
            attend_chunk(a, queries[n].token, head_kv * group + i, begin, begin + QN_ATTENTION_CHUNK,
                         queries[n].partial + i * qn_attention_partial_floats(&a->layout));
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
static void attend(const qn_attention *a, size_t token, size_t head, float *partial)
{
    const size_t n = a->layout.head_dim_v, last = (size_t)qn_attention_last(a, token);
    float *out = a->out + token * a->out_stride + head * n;
    size_t begin = qn_attention_first((int32_t)last, a->window);
    joined state = begin_join(out, n);
    while (begin <= last) {
        const size_t chunk_end = (begin / QN_ATTENTION_CHUNK + 1) * QN_ATTENTION_CHUNK;
        const size_t end = last + 1 < chunk_end ? last + 1 : chunk_end;
        attend_chunk(a, token, head, begin, end, partial);
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
        for (size_t i = 0; i < group; i++) attend(a, token, head_kv * group + i, scratch);
}
