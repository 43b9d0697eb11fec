/* checkattention.c: attention over a paged cache. The reference is held against double precision; every
 * variant against the reference bit for bit, in blocks of tokens, token by token, and in chunks that are
 * joined; slots that nobody has written hold NaN. `checkattention --bench` measures. */
#include "check.h"

#include "base/checked.h"

#include <float.h>

/* One sequence's cache of one layer, and queries at its end. */
typedef struct scene {
    qn_attention a;
    size_t n_tokens, group, n_pages, q_floats, out_floats;
    char *pages;
    int32_t *page_table;
    float *q, *sinks, *slopes, *k, *v; /* k, v: [position][n_head_kv][dim], as they were written */
    void *scratch;
} scene;

typedef struct shape {
    qn_tensor_type type_k, type_v;
    size_t n_head_kv, group, head_dim_k, head_dim_v, n_past, n_tokens;
    int32_t window;
    float softcap;
    bool sinks, both_ways, slopes;
    check_kind kind;
} shape;

static void scene_create(scene *s, const shape *h, const qn_kernels *k, qn_random *r)
{
    memset(s, 0, sizeof *s);
    qn_attention *a = &s->a;
    qn_kv_layout *l = &a->layout;
    qn_kv_layout_init(l, h->type_k, h->type_v, h->n_head_kv, h->head_dim_k, h->head_dim_v);
    const size_t n = h->n_past + h->n_tokens, k_floats = h->n_head_kv * h->head_dim_k,
                 v_floats = h->n_head_kv * h->head_dim_v;
    s->n_tokens = h->n_tokens, s->group = h->group;
    s->n_pages = (n + QN_PAGE_POSITIONS - 1) / QN_PAGE_POSITIONS;
    a->page_stride = l->layer_bytes + 64; /* another layer's bytes, NaN */
    s->pages = check_alloc(s->n_pages * a->page_stride);
    s->page_table = check_alloc(s->n_pages * sizeof *s->page_table);
    const size_t first_seen = qn_attention_first((int32_t)h->n_past, h->window);
    for (size_t i = 0; i < s->n_pages; i++) /* backwards, and no page before the window */
        s->page_table[i] = (i + 1) * QN_PAGE_POSITIONS <= first_seen ? -1 : (int32_t)(s->n_pages - 1 - i);
    s->k = check_random(n * k_floats, r, h->kind), s->v = check_random(n * v_floats, r, h->kind);
    for (size_t j = first_seen; j < n; j++) {
        char *page = s->pages + (size_t)s->page_table[j / QN_PAGE_POSITIONS] * a->page_stride;
        k->kv_write(l, page, j % QN_PAGE_POSITIONS, s->k + j * k_floats, s->v + j * v_floats);
    }
    a->layer_base = s->pages;
    a->pages = s->page_table;
    a->n_head = h->n_head_kv * h->group;
    a->scale = 1.0f / sqrtf((float)h->head_dim_k);
    a->softcap = h->softcap, a->window = h->window, a->position = (int32_t)h->n_past;
    a->q_stride = a->n_head * h->head_dim_k + 3, a->out_stride = a->n_head * h->head_dim_v + 5;
    s->q_floats = (h->n_tokens - 1) * a->q_stride + a->n_head * h->head_dim_k;
    s->out_floats = (h->n_tokens - 1) * a->out_stride + a->n_head * h->head_dim_v;
    s->q = check_random(s->q_floats, r, h->kind == CHECK_HOSTILE ? CHECK_NORMAL : h->kind);
    s->sinks = check_random(a->n_head, r, CHECK_NORMAL);
    s->slopes = check_random(a->n_head, r, CHECK_NORMAL);
    for (size_t i = 0; i < a->n_head; i++) s->slopes[i] = fabsf(s->slopes[i]) * 0.1f;
    a->q = s->q, a->sinks = h->sinks ? s->sinks : NULL, a->slopes = h->slopes ? s->slopes : NULL;
    a->length = h->both_ways ? (int32_t)n : 0;
    s->scratch = check_alloc(qn_attention_scratch_bytes(l, a->n_head));
}

static void scene_destroy(scene *s)
{
    free(s->pages), free(s->page_table), free(s->q), free(s->sinks), free(s->slopes), free(s->k), free(s->v);
    free(s->scratch);
}

/* ---- three ways to the same outputs; between rows everything stays NaN ---- */

static float *attend_in_blocks(scene *s, const qn_kernels *k, size_t n_at_once)
{
    s->a.out = check_floats(s->out_floats);
    for (size_t t = 0; t < s->n_tokens; t += n_at_once)
        for (size_t head = 0; head < s->a.layout.n_head_kv; head++)
            k->attention(&s->a, head, t, qn_min_size(t + n_at_once, s->n_tokens), s->scratch);
    return s->a.out;
}

/* Chunks that several tokens see whole are worked on for as many of them as may be, in falling order. */
static float *attend_in_shared_chunks(scene *s, const qn_kernels *k)
{
    const size_t stride = s->group * qn_attention_partial_floats(&s->a.layout) + 7,
                 most = qn_max_size(QN_ATTENTION_ROWS / s->group, 1);
    size_t first_chunk, n_chunks, unused;
    s->a.out = check_floats(s->out_floats);
    qn_attention_chunks(qn_attention_last(&s->a, 0), s->a.window, &first_chunk, &unused);
    qn_attention_chunks(qn_attention_last(&s->a, s->n_tokens - 1), s->a.window, &unused, &n_chunks);
    float *partials = check_floats(s->n_tokens * n_chunks * stride);
    qn_attention_query *queries = check_alloc(most * sizeof *queries);
    for (size_t head = 0; head < s->a.layout.n_head_kv; head++) {
        for (size_t c = first_chunk; c < n_chunks; c++) {
            size_t n_queries = 0;
            for (size_t t = s->n_tokens; t-- > 0;) {
                const size_t last = (size_t)qn_attention_last(&s->a, t);
                size_t begin, end;
                float *partial = partials + (t * n_chunks + c) * stride;
                qn_attention_chunks((int32_t)last, s->a.window, &begin, &end);
                if (c < begin || c >= end) continue;
                const bool sees_all =
                    last + 1 >= (c + 1) * QN_ATTENTION_CHUNK &&
                    qn_attention_first((int32_t)last, s->a.window) <= c * QN_ATTENTION_CHUNK;
                if (!sees_all || s->a.slopes != NULL) {
                    k->attention_chunk(&s->a, head, t, c, partial, s->scratch);
                    continue;
                }
                queries[n_queries++] = (qn_attention_query){t, partial};
                if (n_queries < most) continue;
                k->attention_chunk_many(&s->a, head, queries, n_queries, c, s->scratch);
                n_queries = 0;
            }
            if (n_queries > 0) k->attention_chunk_many(&s->a, head, queries, n_queries, c, s->scratch);
        }
        for (size_t t = 0; t < s->n_tokens; t++) {
            size_t begin, end;
            qn_attention_chunks(qn_attention_last(&s->a, t), s->a.window, &begin, &end);
            k->attention_join(&s->a, head, t, end - begin, partials + (t * n_chunks + begin) * stride,
                              stride);
        }
    }
    free(partials), free(queries);
    return s->a.out;
}

static float *attend_in_chunks(scene *s, const qn_kernels *k)
{
    s->a.out = check_floats(s->out_floats);
    const size_t stride = s->group * qn_attention_partial_floats(&s->a.layout) + 7;
    for (size_t t = 0; t < s->n_tokens; t++) {
        size_t begin, end;
        qn_attention_chunks(qn_attention_last(&s->a, t), s->a.window, &begin, &end);
        float *partials = check_floats((end - begin) * stride);
        for (size_t head = 0; head < s->a.layout.n_head_kv; head++) {
            for (size_t c = end; c-- > begin;)
                k->attention_chunk(&s->a, head, t, c, partials + (c - begin) * stride, s->scratch);
            k->attention_join(&s->a, head, t, end - begin, partials, stride);
        }
        free(partials);
    }
    return s->a.out;
}

/* ---- against double precision ---- */

static void attend_in_double(const scene *s, size_t token, size_t head, double *out)
{
    const qn_attention *a = &s->a;
    const qn_kv_layout *l = &a->layout;
    const size_t position = (size_t)a->position + token, head_kv = head / s->group;
    const float *q = a->q + token * a->q_stride + head * l->head_dim_k;
    double sum = a->sinks ? exp((double)a->sinks[head]) : 0;
    memset(out, 0, l->head_dim_v * sizeof *out);
    for (size_t j = 0; j <= (size_t)qn_attention_last(a, token); j++) {
        if (a->window > 0 && position - j >= (size_t)a->window) continue;
        const float *k = s->k + (j * l->n_head_kv + head_kv) * l->head_dim_k;
        const float *v = s->v + (j * l->n_head_kv + head_kv) * l->head_dim_v;
        double score = 0;
        for (size_t i = 0; i < l->head_dim_k; i++) score += (double)q[i] * (double)k[i];
        score *= (double)a->scale;
        if (a->softcap > 0) score = (double)a->softcap * tanh(score / (double)a->softcap);
        if (a->slopes) score -= (double)a->slopes[head] * fabs((double)j - (double)position);
        const double p = exp(score);
        sum += p;
        for (size_t i = 0; i < l->head_dim_v; i++) out[i] += p * (double)v[i];
    }
    for (size_t i = 0; i < l->head_dim_v; i++) out[i] /= sum;
}

/* Infinite where something is not a number. */
static double greatest_error(const float *row, const double *truth, size_t n)
{
    double greatest = 0;
    for (size_t i = 0; i < n; i++) {
        const double error = fabs((double)row[i] - truth[i]);
        if (isnan(error)) return INFINITY;
        if (error > greatest) greatest = error;
    }
    return greatest;
}

static void check_reference(const qn_kernels *k, const shape *h, double tolerance)
{
    qn_random r = {.seed = 11};
    scene s;
    scene_create(&s, h, k, &r);
    float *out = attend_in_blocks(&s, k, h->n_tokens);
    double *truth = malloc(h->head_dim_v * sizeof *truth), worst = 0;
    for (size_t t = 0; t < h->n_tokens; t++) {
        for (size_t head = 0; head < s.a.n_head; head++) {
            attend_in_double(&s, t, head, truth);
            const float *row = out + t * s.a.out_stride + head * h->head_dim_v;
            const double error = greatest_error(row, truth, h->head_dim_v);
            if (error > worst) worst = error;
        }
    }
    CHECK(worst < tolerance, "type %d past %zu window %d: %g", (int)h->type_k, h->n_past, (int)h->window,
          worst);
    free(truth), free(out);
    scene_destroy(&s);
}

/* ---- variants against the reference ---- */

static void compare(const qn_kernels *ref, const qn_kernels *k, const shape *h, uint64_t seed)
{
    qn_random r = {.seed = seed}, same = {.seed = seed};
    scene s, other;
    scene_create(&s, h, ref, &r);
    scene_create(&other, h, k, &same);
    CHECK(memcmp(s.pages, other.pages, s.n_pages * s.a.page_stride) == 0,
          "%s kv_write, types %d %d, dims %zu %zu", k->isa, (int)h->type_k, (int)h->type_v, h->head_dim_k,
          h->head_dim_v);
    float *want = attend_in_blocks(&s, ref, h->n_tokens);
    const size_t steps[] = {h->n_tokens, 1, 5};
    char what[256];
    snprintf(what, sizeof what,
             "%s types %d %d heads %zu x %zu dims %zu %zu past %zu tokens %zu window %d cap %g kind %d%s%s",
             k->isa, (int)h->type_k, (int)h->type_v, h->n_head_kv, h->group, h->head_dim_k, h->head_dim_v,
             h->n_past, h->n_tokens, (int)h->window, (double)h->softcap, (int)h->kind,
             h->both_ways ? " both ways" : "", h->slopes ? " slopes" : "");
    for (size_t i = 0; i < 3; i++) {
        float *got = attend_in_blocks(&s, k, steps[i]);
        CHECK_SAME(got, want, s.out_floats, "%s, %zu at once", what, steps[i]);
        free(got);
    }
    float *joined = attend_in_chunks(&s, k);
    CHECK_SAME(joined, want, s.out_floats, "%s, chunks", what);
    free(joined);
    joined = attend_in_shared_chunks(&s, k);
    CHECK_SAME(joined, want, s.out_floats, "%s, chunks for several tokens", what);
    free(joined), free(want);
    scene_destroy(&s), scene_destroy(&other);
}

static shape random_shape(qn_random *r)
{
    static const size_t dims[] = {8, 16, 24, 48, 64, 64, 72, 80, 96, 128, 128, 256, 5, 33};
    static const size_t pasts[] = {0, 0, 1, 15, 63, 64, 200, 250, 255, 256, 257, 300, 511, 512, 700};
    static const int32_t windows[] = {0, 0, 0, 1, 2, 7, 16, 64, 100, 256, 300, 1000};
    static const qn_tensor_type types[] = {QN_TYPE_F16,  QN_TYPE_F32,  QN_TYPE_BF16,
                                           QN_TYPE_Q8_0, QN_TYPE_Q4_0, QN_TYPE_Q4_0};
#define PICK(list) list[qn_random_u64(r) % (sizeof list / sizeof *list)]
    shape h = {
        .type_k = PICK(types), .head_dim_k = PICK(dims), .n_past = PICK(pasts), .window = PICK(windows)};
    h.type_v = qn_random_u64(r) % 4 ? h.type_k : PICK(types);
    h.head_dim_v = qn_random_u64(r) % 4 ? h.head_dim_k : PICK(dims);
    h.n_head_kv = 1 + qn_random_u64(r) % 3;
    h.group = 1 + qn_random_u64(r) % 9;
    h.n_tokens = 1 + qn_random_u64(r) % (qn_random_u64(r) % 3 ? 12 : 40);
    h.softcap = qn_random_u64(r) % 3 ? 0.0f : 20.0f;
    h.sinks = qn_random_u64(r) % 3 == 0;
    h.slopes = qn_random_u64(r) % 4 == 0;
    h.both_ways = qn_random_u64(r) % 3 == 0;
    if (h.both_ways) h.window = 0;
    h.kind = qn_random_u64(r) % 3 ? CHECK_NORMAL : (check_kind)(qn_random_u64(r) % CHECK_KINDS);
#undef PICK
    return h;
}

/* A token whose key and value are not finite must not touch those before it. */
static void check_causality(const qn_kernels *k, qn_tensor_type type)
{
    shape h = {.type_k = type,
               .type_v = type,
               .n_head_kv = 1,
               .group = 3,
               .head_dim_k = 64,
               .head_dim_v = 64,
               .n_past = 250,
               .n_tokens = 20,
               .kind = CHECK_NORMAL};
    qn_random r = {.seed = 5};
    scene s;
    scene_create(&s, &h, k, &r);
    float *clean = attend_in_blocks(&s, k, 20), bad[64];
    for (int i = 0; i < 64; i++) bad[i] = i % 2 ? NAN : INFINITY;
    const size_t at = 261;
    k->kv_write(&s.a.layout, s.pages + (size_t)s.page_table[at / 64] * s.a.page_stride, at % 64, bad, bad);
    float *got = attend_in_blocks(&s, k, 20);
    CHECK_SAME(got, clean, (at - 250) * s.a.out_stride, "%s type %d: a later token was seen", k->isa,
               (int)type);
    for (size_t t = at - 250; t < 20; t++)
        CHECK(isnan(got[t * s.a.out_stride + 1]), "%s type %d: token %zu hides a NaN", k->isa, (int)type, t);
    free(clean), free(got);
    scene_destroy(&s);
}

/* Both ways, a key that is not finite touches every query, also those before it. */
static void check_both_ways(const qn_kernels *k)
{
    const shape h = {.type_k = QN_TYPE_F32,
                     .type_v = QN_TYPE_F32,
                     .n_head_kv = 1,
                     .group = 1,
                     .head_dim_k = 16,
                     .head_dim_v = 16,
                     .n_tokens = 300,
                     .both_ways = true,
                     .kind = CHECK_NORMAL};
    qn_random r = {.seed = 6};
    scene s;
    scene_create(&s, &h, k, &r);
    const float bad[16] = {NAN};
    k->kv_write(&s.a.layout, s.pages + (size_t)s.page_table[290 / 64] * s.a.page_stride, 290 % 64, bad, bad);
    float *got = attend_in_blocks(&s, k, 300);
    for (size_t t = 0; t < 300; t++)
        CHECK(isnan(got[t * s.a.out_stride]), "%s: token %zu does not see token 290", k->isa, t);
    free(got);
    scene_destroy(&s);
}

/* ---- all types with all kinds of numbers ---- */

static const qn_tensor_type all_types[] = {QN_TYPE_F32, QN_TYPE_F16, QN_TYPE_BF16, QN_TYPE_Q8_0,
                                           QN_TYPE_Q4_0};
static const size_t all_dims[] = {5, 8, 16, 24, 31, 33, 48, 64, 72, 80, 96, 128, 256};

static void check_extremes(const qn_kernels *ref, const qn_kernels *k)
{
    size_t dim = 0;
    for (size_t t = 0; t < sizeof all_types / sizeof *all_types; t++)
        for (int kind = 0; kind < CHECK_KINDS; kind++)
            for (size_t group = 1; group <= 5; group++) {
                const shape h = {.type_k = all_types[t],
                                 .type_v = all_types[t],
                                 .n_head_kv = 2,
                                 .group = group,
                                 .head_dim_k = all_dims[dim % (sizeof all_dims / sizeof *all_dims)],
                                 .head_dim_v = all_dims[dim % (sizeof all_dims / sizeof *all_dims)],
                                 .n_past = 50,
                                 .n_tokens = 4,
                                 .kind = (check_kind)kind};
                compare(ref, k, &h, dim++);
            }
}

/* The only position's weight is 1, so that its value comes back as it was rounded: in Q4_0 by half a step, or
 * a whole one at the end that has no -8, with what the scale's rounding adds. */
static void check_value_rounding(const qn_kernels *k, qn_tensor_type type, size_t dim, check_kind kind)
{
    const shape h = {.type_k = type,
                     .type_v = type,
                     .n_head_kv = 1,
                     .group = 1,
                     .head_dim_k = 8,
                     .head_dim_v = dim,
                     .n_tokens = 1,
                     .kind = kind};
    qn_random r = {.seed = dim};
    scene s;
    scene_create(&s, &h, k, &r);
    memset(s.q, 0, s.q_floats * sizeof *s.q);
    float *out = attend_in_blocks(&s, k, 1);
    for (size_t i = 0; i < dim; i++) {
        float most = 0, tolerance = 0, want = s.v[i];
        if (type == QN_TYPE_BF16) want = qn_bf16_to_f32(qn_f32_to_bf16(s.v[i]));
        for (size_t j = i / 32 * 32; j < dim && j < i / 32 * 32 + 32; j++) most = fmaxf(most, fabsf(s.v[j]));
        const float step = most / 8 * (fabsf(s.v[i]) > most * 0.92f ? 1.0f : 0.5f);
        if (type == QN_TYPE_Q4_0) tolerance = fmaxf(step, FLT_MIN * 8) * 1.07f;
        CHECK(fabsf(out[i] - want) <= tolerance, "type %d dim %zu kind %d: %g became %g", (int)type, dim,
              (int)kind, (double)s.v[i], (double)out[i]);
    }
    free(out);
    scene_destroy(&s);
}

static void check_rounding(const qn_kernels *k)
{
    static const check_kind kinds[] = {CHECK_NORMAL, CHECK_ZERO, CHECK_TINY, CHECK_HUGE};
    for (size_t d = 0; d < sizeof all_dims / sizeof *all_dims; d++)
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            check_value_rounding(k, QN_TYPE_BF16, all_dims[d], kinds[i]);
            check_value_rounding(k, QN_TYPE_Q4_0, all_dims[d], kinds[i]);
        }
}

/* ---- speed ---- */

static void bench(const qn_kernels *k, qn_tensor_type type, size_t group, size_t dim, size_t n_past)
{
    qn_random r = {.seed = 1};
    const size_t n_tokens = 64;
    const shape h = {.type_k = type,
                     .type_v = type,
                     .n_head_kv = 2,
                     .group = group,
                     .head_dim_k = dim,
                     .head_dim_v = dim,
                     .n_past = n_past,
                     .n_tokens = n_tokens,
                     .kind = CHECK_NORMAL};
    scene s;
    scene_create(&s, &h, k, &r);
    s.a.out = check_floats(s.out_floats);
    double prefill, decode;
    CHECK_TIME(prefill, k->attention(&s.a, 1, 0, n_tokens, s.scratch));
    CHECK_TIME(decode, k->attention(&s.a, 1, n_tokens - 1, n_tokens, s.scratch));
    const double pairs = (double)(n_tokens * group) * ((double)n_past + (double)n_tokens / 2),
                 flops = 4 * (double)dim;
    const double bytes = (double)(n_past + n_tokens) * 2 * (double)qn_kv_row_bytes(type, dim);
    printf("%s type %d group %zu dim %zu past %zu: prefill %.1f GFLOP/s, decode %.1f us = %.1f GB/s, %.1f "
           "GFLOP/s\n",
           k->isa, (int)type, group, dim, n_past, pairs * flops / prefill, decode / 1000, bytes / decode,
           (double)(group * (n_past + n_tokens)) * flops / decode);
    free(s.a.out);
    scene_destroy(&s);
}

static void bench_table(const qn_kernels *k)
{
    static const struct {
        size_t group, dim;
    } sizes[] = {{3, 64}, {1, 64}, {2, 64}, {7, 64}, {4, 256}, {6, 128}, {8, 128}, {1, 80}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t past = 256; past <= 4096; past *= 4)
            bench(k, QN_TYPE_F16, sizes[i].group, sizes[i].dim, past);
    bench(k, QN_TYPE_Q8_0, 3, 64, 1024);
    bench(k, QN_TYPE_F32, 3, 64, 1024);
    bench(k, QN_TYPE_BF16, 3, 64, 1024);
    bench(k, QN_TYPE_Q4_0, 3, 64, 1024);
}

int main(int argc, char **argv)
{
    const qn_kernels *tables[CHECK_TABLES];
    const size_t n_tables = check_vector_tables(tables);
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        for (size_t i = 1; i < n_tables; i++)
            if (argc < 3 || strcmp(argv[2], tables[i]->isa) == 0) bench_table(tables[i]);
        return 0;
    }
    for (int32_t window = 0; window < 400; window += 130) {
        shape h = {.type_k = QN_TYPE_F32,
                   .type_v = QN_TYPE_F32,
                   .n_head_kv = 2,
                   .group = 2,
                   .head_dim_k = 48,
                   .head_dim_v = 24,
                   .n_past = 500,
                   .n_tokens = 30,
                   .window = window,
                   .sinks = window == 130,
                   .slopes = window == 0 || window == 390,
                   .both_ways = window == 0,
                   .softcap = window == 260 ? 5.0f : 0.0f};
        check_reference(tables[0], &h, 1e-6);
        h.type_k = h.type_v = QN_TYPE_F16;
        check_reference(tables[0], &h, 3e-3);
        h.type_k = h.type_v = QN_TYPE_Q8_0;
        check_reference(tables[0], &h, 3e-2);
        h.type_k = h.type_v = QN_TYPE_BF16;
        check_reference(tables[0], &h, 5e-3);
        h.type_k = h.type_v = QN_TYPE_Q4_0;
        check_reference(tables[0], &h, h.slopes ? 0.25 : 0.1); /* few keys count, so little is averaged */
    }
    check_rounding(tables[0]);
    const int n_cases = argc > 1 ? atoi(argv[1]) : 120;
    for (size_t i = 0; i < n_tables; i++) {
        qn_random r = {.seed = 2};
        for (size_t t = 0; t < sizeof all_types / sizeof *all_types; t++)
            check_causality(tables[i], all_types[t]);
        check_both_ways(tables[i]);
        check_extremes(tables[0], tables[i]);
        for (int j = 0; j < n_cases; j++) {
            const shape h = random_shape(&r);
            compare(tables[0], tables[i], &h, (uint64_t)j);
        }
        /* more query heads than a block has rows; a wide head */
        shape wide = {.type_k = QN_TYPE_F16,
                      .type_v = QN_TYPE_F16,
                      .n_head_kv = 1,
                      .group = 100,
                      .head_dim_k = 16,
                      .head_dim_v = 512,
                      .n_past = 250,
                      .n_tokens = 9};
        compare(tables[0], tables[i], &wide, 1);
        printf("%s: held against the reference\n", tables[i]->isa);
    }
    return check_report("checkattention");
}
