/* attention_v16.h: attention over a paged cache, written once over v16 and included by one file per
 * instruction set, which defines QN_ISA(name). The order of arithmetic is told in attention.h; every score
 * and every output is one chain in one lane, so any blocking gives the same bits.
 *
 * Two ways through the same arithmetic:
 *   few rows   (a row is a query head of a token) read keys and values as they lie in the page, converting
 *              in registers: this is bound by memory.
 *   many rows  (attention_many_v16.h) convert some keys, or some values, to float32 once and use them for all
 *              rows, in tiles of registers: this is bound by multiply-adds. Rows are the query heads of one
 * kv head for a block of tokens, token by token.
 */
#ifndef QN_KERNEL_ATTENTION_V16_H
#define QN_KERNEL_ATTENTION_V16_H

#include "base/checked.h"
#include "kernel/kv_q4_0.h"
#include "kernel/table_vector.h"
#include "kernel/v16.h"

/* Register tiles of many rows: 6 rows x 4 vectors are 24 accumulators of 32 registers, and 10 loads serve 24
 * multiply-adds; with AVX2 6 x 1 are 12 of 16. */
#if defined(__AVX512F__) || defined(QN_EMULATED)
#define QN_TILE_WIDTH 4
enum { QN_PANEL_POSITIONS = 128 };
#else
#define QN_TILE_WIDTH 1
enum { QN_PANEL_POSITIONS = QN_ATTENTION_CHUNK };
#endif
enum {
    QN_TILE_ROWS = 6,
    QN_SUM_FLOATS = 16 * QN_TILE_WIDTH,
    QN_DIRECT_ROWS = 8,
    QN_TILES_AHEAD = 2, /* of keys, that are asked for while one is used */
    QN_PAGE_TILES = QN_PAGE_POSITIONS / QN_TILE_POSITIONS,
    QN_CHUNK_PAGES = QN_ATTENTION_CHUNK / QN_PAGE_POSITIONS
};

/* Positions [begin, end) of a chunk, counted from its first. */
typedef struct span {
    size_t begin, end;
} span;

static span visible_in_chunk(const qn_attention *a, size_t token, size_t chunk)
{
    const size_t last = (size_t)qn_attention_last(a, token),
                 first = qn_attention_first((int32_t)last, a->window);
    const size_t begin = chunk * QN_ATTENTION_CHUNK, end = begin + QN_ATTENTION_CHUNK;
    if (last < begin || first >= end) return (span){0, 0};
    return (span){first > begin ? first - begin : 0, (last < end ? last + 1 : end) - begin};
}

/* What a thread works in; the parts of the caller's scratch (qn_attention_scratch_bytes). */
typedef struct scratch {
    float *tiles;                   /* [QN_TILE_WIDTH][head_dim_k][16]: keys */
    float *panel;                   /* [QN_PANEL_POSITIONS][QN_TILE_WIDTH][16]: values */
    float *scores;                  /* [rows][256] */
    float *sums;                    /* [rows][QN_TILE_WIDTH][16]: of the values of the chunk */
    float *k_scale, *v_scale;       /* [256] */
    float *max, *sum, *keep, *take; /* [rows]: joined so far, and the factors of the next join */
    float *chunk_max, *chunk_sum;   /* [rows]: of the chunk */
    float *partial;                 /* [rows][qn_attention_partial_floats] */
} scratch;

static scratch scratch_parts(const qn_attention *a, void *memory)
{
    const size_t rows = qn_attention_scratch_rows(&a->layout, a->n_head);
    scratch s;
    float *at = memory;
    s.scores = at, at += rows * QN_ATTENTION_CHUNK;
    s.panel = at, at += QN_ATTENTION_PANEL;
    s.tiles = at, at += a->layout.head_dim_k * QN_PAGE_POSITIONS;
    s.sums = at, at += rows * QN_ATTENTION_SUMS;
    s.k_scale = at, at += QN_ATTENTION_CHUNK;
    s.v_scale = at, at += QN_ATTENTION_CHUNK;
    s.max = at, at += rows;
    s.sum = at, at += rows;
    s.keep = at, at += rows;
    s.take = at, at += rows;
    s.chunk_max = at, at += rows;
    s.chunk_sum = at, at += rows;
    s.partial = at;
    return s;
}

/* ---- keys and values in the page ---- */

/* 16 elements of any type but Q4_0, which goes by groups. */
QN_INLINE v16 load_elems(qn_tensor_type type, const char *base, size_t index)
{
    if (type == QN_TYPE_F16) return v16_load_f16((const uint16_t *)(const void *)base + index);
    if (type == QN_TYPE_BF16) return v16_load_bf16((const uint16_t *)(const void *)base + index);
    if (type == QN_TYPE_Q8_0) return v16_load_i8((const int8_t *)base + index);
    return v16_load((const float *)(const void *)base + index);
}

/* n < 16 elements, the other lanes 0. */
QN_INLINE v16 load_elems_n(qn_tensor_type type, const char *base, size_t index, size_t n)
{
    uint16_t half[16] = {0};
    int8_t quant[16] = {0};
    if (type == QN_TYPE_F16 || type == QN_TYPE_BF16) {
        memcpy(half, base + index * 2, n * 2);
        return type == QN_TYPE_F16 ? v16_load_f16(half) : v16_load_bf16(half);
    }
    if (type == QN_TYPE_Q8_0) {
        memcpy(quant, base + index, n);
        return v16_load_i8(quant);
    }
    return v16_load_partial((const float *)(const void *)base + index, n);
}

/* The four pages of a chunk; only those that hold positions of `seen` are looked up. */
typedef struct chunk_pages {
    const char *page[QN_CHUNK_PAGES];
} chunk_pages;

static chunk_pages find_pages(const qn_attention *a, size_t chunk, span seen)
{
    chunk_pages pages = {{NULL}};
    for (size_t i = seen.begin / QN_PAGE_POSITIONS; i * QN_PAGE_POSITIONS < seen.end; i++)
        pages.page[i] = a->layer_base + (size_t)a->pages[chunk * QN_CHUNK_PAGES + i] * a->page_stride;
    return pages;
}

static const char *key_tile(const qn_kv_layout *l, const chunk_pages *pages, size_t head_kv, size_t tile)
{
    const size_t index = head_kv * QN_PAGE_TILES + tile % QN_PAGE_TILES;
    return pages->page[tile / QN_PAGE_TILES] +
           index * QN_TILE_POSITIONS * qn_kv_row_bytes(l->type_k, l->head_dim_k);
}

/* Scales of the keys of a head in a page. */
static const char *key_scales(const qn_kv_layout *l, const char *page, size_t head_kv)
{
    return page + qn_kv_scale_offset(l->type_k, l->n_head_kv, l->head_dim_k, head_kv);
}

/* The Q4_0 ones of a tile: [n_groups][64], of which 16 are the tile's. */
static const uint16_t *tile_scales(const qn_kv_layout *l, const chunk_pages *pages, size_t head_kv,
                                   size_t tile)
{
    const char *scales = key_scales(l, pages->page[tile / QN_PAGE_TILES], head_kv);
    return (const uint16_t *)(const void *)scales + tile % QN_PAGE_TILES * QN_TILE_POSITIONS;
}

/* Values of the 64 positions of a page, and their scales. */
typedef struct value_page {
    const char *rows, *scales;
    size_t row_bytes;
} value_page;

static value_page find_values(const qn_kv_layout *l, const char *page, size_t head_kv)
{
    const size_t row_bytes = qn_kv_row_bytes(l->type_v, l->head_dim_v);
    const char *values = page + l->v_offset;
    return (value_page){values + head_kv * QN_PAGE_POSITIONS * row_bytes,
                        values + qn_kv_scale_offset(l->type_v, l->n_head_kv, l->head_dim_v, head_kv),
                        row_bytes};
}

/* Half a group of a Q4_0 value: dimensions 32 group + (0..15 or, high, 16..31). */
QN_INLINE v16 load_value_q4_0(const value_page *v, size_t slot, size_t group, bool high)
{
    const uint8_t *codes = (const uint8_t *)v->rows + slot * v->row_bytes + group * (QN_KV_GROUP / 2);
    const uint16_t *scales = (const uint16_t *)(const void *)v->scales + group * QN_PAGE_POSITIONS;
    return v16_mul(v16_load_i4(codes, high), v16_set1(qn_bf16_to_f32(scales[slot])));
}

/* Q8_0: the scales of the chunk, one after the other. */
static void gather_scales(const qn_kv_layout *l, const chunk_pages *pages, size_t head_kv, scratch *s)
{
    for (size_t i = 0; i < QN_CHUNK_PAGES; i++) {
        const size_t at = i * QN_PAGE_POSITIONS, n_bytes = QN_PAGE_POSITIONS * sizeof(float);
        const char *page = pages->page[i];
        if (page == NULL) continue;
        if (l->type_k == QN_TYPE_Q8_0) memcpy(s->k_scale + at, key_scales(l, page, head_kv), n_bytes);
        if (l->type_v == QN_TYPE_Q8_0) memcpy(s->v_scale + at, find_values(l, page, head_kv).scales, n_bytes);
    }
}

/* ---- softmax of one row of scores ---- */

/* What distance takes from the scores of a query in a chunk. */
typedef struct distance_bias {
    float slope, offset; /* 0: nothing; the query's position less that of the chunk's first key */
} distance_bias;

static distance_bias find_bias(const qn_attention *a, size_t token, size_t head, size_t chunk)
{
    if (!a->slopes) return (distance_bias){0.0f, 0.0f};
    const int32_t first = (int32_t)(chunk * QN_ATTENTION_CHUNK);
    return (distance_bias){a->slopes[head], (float)(a->position + (int32_t)token - first)};
}

/* Positions j to j + 15 of the chunk. */
QN_INLINE v16 add_bias(v16 score, distance_bias bias, size_t j)
{
    static const float lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const v16 distance = v16_abs(v16_sub(v16_set1(bias.offset - (float)j), v16_load(lane)));
    return v16_fma(v16_set1(-bias.slope), distance, score);
}

QN_INLINE void weigh_as(bool k_scaled, bool v_scaled, bool capped, bool biased, const qn_attention *a,
                        const scratch *s, float *row, span seen, distance_bias bias, float *max_out,
                        float *sum_out)
{
    const size_t begin = seen.begin / 16 * 16;
    const v16 scale = v16_set1(a->scale), cap = v16_set1(a->softcap), inverse = v16_set1(1.0f / a->softcap);
    const v16 none = v16_set1(-INFINITY);
    v16 max = none, sum = v16_zero();
    for (size_t j = begin; j < seen.end; j += 16) {
        v16 score = v16_load(row + j);
        if (k_scaled) score = v16_mul(score, v16_load(s->k_scale + j));
        score = v16_mul(score, scale);
        if (capped) score = v16_softcap(score, cap, inverse);
        if (biased) score = add_bias(score, bias, j);
        if (j < seen.begin || j + 16 > seen.end) {
            const int first = seen.begin > j ? (int)(seen.begin - j) : 0;
            const int end = seen.end < j + 16 ? (int)(seen.end - j) : 16;
            score = v16_select(v16_lanes(first, end), score, none);
        }
        v16_store(row + j, score);
        max = v16_max(score, max);
    }
    *max_out = v16_max_lane(max);
    max = v16_set1(*max_out);
    for (size_t j = begin; j < seen.end; j += 16) {
        v16 p = v16_exp_bounded(v16_sub(v16_load(row + j), max));
        sum = v16_add(sum, p);
        if (v_scaled) p = v16_mul(p, v16_load(s->v_scale + j));
        v16_store(row + j, p);
    }
    *sum_out = v16_sum(sum);
}

/* Turns the products q.k of positions `seen` into p (times the values' scales), where they stand. */
static void weigh(const qn_attention *a, const scratch *s, float *row, span seen, distance_bias bias,
                  float *max, float *sum)
{
    const bool k_scaled = a->layout.type_k == QN_TYPE_Q8_0, v_scaled = a->layout.type_v == QN_TYPE_Q8_0;
    if (!k_scaled && !v_scaled && a->softcap <= 0.0f && !a->slopes)
        weigh_as(false, false, false, false, a, s, row, seen, bias, max, sum);
    else weigh_as(k_scaled, v_scaled, a->softcap > 0.0f, a->slopes != NULL, a, s, row, seen, bias, max, sum);
}

/* ---- joining partial results ---- */

/* The factors of what has been joined (keep) and of the partial (take); brings max and sum up to date. */
static void join_factors(float *max, float *sum, float partial_max, float partial_sum, float *keep,
                         float *take)
{
    const float new_max = partial_max > *max ? partial_max : *max;
    *keep = qn_exp(*max - new_max);
    *take = qn_exp(partial_max - new_max);
    *max = new_max;
    *sum = fmaf(partial_sum, *take, *sum * *keep);
}

static void join_partial(float *out, size_t n, float *max, float *sum, const float *partial)
{
    float keep, take;
    join_factors(max, sum, partial[n], partial[n + 1], &keep, &take);
    for (size_t i = 0; i < n; i += 16) {
        const size_t lanes = qn_min_size(n - i, 16);
        const v16 old = v16_mul(v16_load_n(out + i, lanes), v16_set1(keep));
        v16_store_n(out + i, v16_fma(v16_load_n(partial + i, lanes), v16_set1(take), old), lanes);
    }
}

/* The sink, if any, and the division by the sum. */
static void finish(const qn_attention *a, size_t head, float *out, float max, float sum)
{
    float keep = 1.0f, take = 0.0f;
    if (a->sinks) join_factors(&max, &sum, a->sinks[head], 1.0f, &keep, &take);
    const v16 kept = v16_set1(keep), scale = v16_set1(1.0f / sum);
    for (size_t i = 0; i < a->layout.head_dim_v; i += 16) {
        const size_t lanes = qn_min_size(a->layout.head_dim_v - i, 16);
        v16 value = v16_load_n(out + i, lanes);
        if (a->sinks) value = v16_fma(v16_zero(), v16_set1(take), v16_mul(value, kept));
        v16_store_n(out + i, v16_mul(value, scale), lanes);
    }
}

static float *out_row(const qn_attention *a, size_t token, size_t head)
{
    return a->out + token * a->out_stride + head * a->layout.head_dim_v;
}

static const float *q_row(const qn_attention *a, size_t token, size_t head)
{
    return a->q + token * a->q_stride + head * a->layout.head_dim_k;
}

/* ---- few rows ---- */

/* What is asked for while a page of keys is used, a line of each sequence with each dimension: memory answers
 * faster when several sequences of addresses come in turns, and not all at once. A sequence has as many lines
 * as a key has dimensions. */
enum { QN_SEQUENCES = 8 };
typedef struct sequences {
    const char *at[QN_SEQUENCES];
    size_t n;
} sequences;

static void add_sequences(sequences *s, const char *at, size_t n_bytes, size_t length)
{
    for (size_t i = 0; i < n_bytes && s->n < QN_SEQUENCES; i += length) s->at[s->n++] = at + i;
}

/* products of `rows` queries (q_stride apart) with `width` tiles of keys that lie one after the other */
QN_INLINE void direct_scores(qn_tensor_type type, size_t rows, size_t width, const float *q, size_t n,
                             const char *tiles, const sequences *ahead, float *scores)
{
    v16 acc[4][4];
    for (size_t r = 0; r < rows; r++)
        for (size_t w = 0; w < width; w++) acc[r][w] = v16_zero();
    for (size_t d = 0; d < n; d++) {
        for (size_t i = 0; i < ahead->n; i++) __builtin_prefetch(ahead->at[i] + 64 * d, 0, 2);
        for (size_t w = 0; w < width; w++) {
            const v16 k = load_elems(type, tiles, (w * n + d) * QN_TILE_POSITIONS);
            for (size_t r = 0; r < rows; r++) acc[r][w] = v16_fma(v16_set1(q[r * n + d]), k, acc[r][w]);
        }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t w = 0; w < width; w++) v16_store(scores + r * QN_ATTENTION_CHUNK + 16 * w, acc[r][w]);
}

/* The same for Q4_0: a line of 16 bytes holds two dimensions of 16 keys; scales: tile_scales. */
QN_INLINE void direct_scores_q4_0(size_t rows, size_t width, const float *q, size_t n, const uint8_t *tiles,
                                  const uint16_t *scales, float *scores)
{
    const size_t tile_bytes = QN_TILE_POSITIONS * qn_kv_row_bytes(QN_TYPE_Q4_0, n);
    v16 acc[4][4], scale[4];
    for (size_t r = 0; r < rows; r++)
        for (size_t w = 0; w < width; w++) acc[r][w] = v16_zero();
    for (size_t d = 0; d < n; scales += QN_PAGE_POSITIONS) {
        const size_t end = qn_min_size(d + QN_KV_GROUP, n);
        for (size_t w = 0; w < width; w++) scale[w] = v16_load_bf16(scales + QN_TILE_POSITIONS * w);
        for (; d + 2 <= end; d += 2) {
            for (size_t w = 0; w < width; w++) {
                const uint8_t *line = tiles + w * tile_bytes + d / 2 * QN_TILE_POSITIONS;
                const v16 even = v16_mul(v16_load_i4(line, false), scale[w]);
                const v16 odd = v16_mul(v16_load_i4(line, true), scale[w]);
                for (size_t r = 0; r < rows; r++)
                    acc[r][w] = v16_fma(v16_set1(q[r * n + d]), even, acc[r][w]);
                for (size_t r = 0; r < rows; r++)
                    acc[r][w] = v16_fma(v16_set1(q[r * n + d + 1]), odd, acc[r][w]);
            }
        }
        for (; d < end; d++) { /* an odd head_dim's last */
            for (size_t w = 0; w < width; w++) {
                const uint8_t *line = tiles + w * tile_bytes + d / 2 * QN_TILE_POSITIONS;
                const v16 k = v16_mul(v16_load_i4(line, false), scale[w]);
                for (size_t r = 0; r < rows; r++) acc[r][w] = v16_fma(v16_set1(q[r * n + d]), k, acc[r][w]);
            }
        }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t w = 0; w < width; w++) v16_store(scores + r * QN_ATTENTION_CHUNK + 16 * w, acc[r][w]);
}

/* Adds the products of p with the values of slots [begin, end) of a page, for dimensions
 * [16 column, 16 (column + width)), or for the last `tail` ones. p: of the first of these slots. */
QN_INLINE void direct_values(qn_tensor_type type, size_t rows, size_t width, size_t tail,
                             const qn_kv_layout *l, const value_page *v, size_t begin, size_t end,
                             const float *p, size_t column, float *partial)
{
    const size_t n = l->head_dim_v, partial_floats = qn_attention_partial_floats(l);
    v16 acc[4][4];
    partial += 16 * column;
    for (size_t r = 0; r < rows; r++)
        for (size_t w = 0; w < width; w++)
            acc[r][w] = v16_load_n(partial + r * partial_floats + 16 * w, tail ? tail : 16);
    for (size_t slot = begin; slot < end; slot++, p++) {
        const size_t at = slot * n + 16 * column;
        for (size_t w = 0; w < width; w++) {
            const bool high = width % 2 == 0 ? w % 2 : column % 2; /* pairs of columns begin groups */
            const v16 value = type == QN_TYPE_Q4_0 ? load_value_q4_0(v, slot, (column + w) / 2, high)
                              : tail               ? load_elems_n(type, v->rows, at, tail)
                                                   : load_elems(type, v->rows, at + 16 * w);
            for (size_t r = 0; r < rows; r++)
                acc[r][w] = v16_fma(v16_set1(p[r * QN_ATTENTION_CHUNK]), value, acc[r][w]);
        }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t w = 0; w < width; w++)
            v16_store_n(partial + r * partial_floats + 16 * w, acc[r][w], tail ? tail : 16);
}

/* How many vectors side by side keep the multiply-add units busy and fit into the registers. */
QN_INLINE size_t direct_width(size_t rows)
{
#if defined(__AVX512F__) || defined(QN_EMULATED)
    return rows == 0 ? 1 : 4;
#else
    return rows == 1 ? 4 : rows == 2 ? 2 : 1;
#endif
}

/* While tile t of the keys is used: the keys of a later one, and the values of t, for the second half. Pages
 * lie apart, so the processor cannot foresee them. */
static void fetch_ahead(const qn_kv_layout *l, const chunk_pages *pages, size_t head_kv, size_t t, size_t end)
{
    const size_t tile_bytes = QN_TILE_POSITIONS * qn_kv_row_bytes(l->type_k, l->head_dim_k);
    if (t + QN_TILES_AHEAD < end) prefetch(key_tile(l, pages, head_kv, t + QN_TILES_AHEAD), tile_bytes);
    const value_page v = find_values(l, pages->page[t / QN_PAGE_TILES], head_kv);
    prefetch(v.rows + t % QN_PAGE_TILES * QN_TILE_POSITIONS * v.row_bytes, QN_TILE_POSITIONS * v.row_bytes);
}

/* While the keys of a page are used: those of the next one, unless this is the last, and the page's values.
 */
static sequences next_page(const qn_kv_layout *l, const chunk_pages *pages, size_t head_kv, size_t page,
                           size_t last)
{
    sequences s = {{NULL}, 0};
    const size_t length = 64 * l->head_dim_k;
    if (page < last)
        add_sequences(&s, key_tile(l, pages, head_kv, (page + 1) * QN_PAGE_TILES),
                      QN_PAGE_POSITIONS * qn_kv_row_bytes(l->type_k, l->head_dim_k), length);
    const value_page v = find_values(l, pages->page[page], head_kv);
    add_sequences(&s, v.rows, QN_PAGE_POSITIONS * v.row_bytes, length);
    return s;
}

/* The products of `rows` queries with all keys that are seen. */
QN_INLINE void direct_keys(qn_tensor_type type, size_t rows, const qn_kv_layout *l, const chunk_pages *pages,
                           size_t head_kv, span seen, const float *q, float *scores)
{
    const size_t width = direct_width(rows), n = l->head_dim_k;
    for (size_t t = seen.begin / 16, end = (seen.end + 15) / 16; t < end;) {
        const char *tiles = key_tile(l, pages, head_kv, t);
        const bool wide = t % QN_PAGE_TILES + width <= QN_PAGE_TILES && t + width <= end;
        sequences ahead = {{NULL}, 0};
        if (wide && width == QN_PAGE_TILES && type != QN_TYPE_Q4_0)
            ahead = next_page(l, pages, head_kv, t / QN_PAGE_TILES, (end - 1) / QN_PAGE_TILES);
        else
            for (size_t i = 0; i < (wide ? width : 1); i++) fetch_ahead(l, pages, head_kv, t + i, end);
        if (type == QN_TYPE_Q4_0) {
            const uint8_t *codes = (const uint8_t *)tiles;
            const uint16_t *scales = tile_scales(l, pages, head_kv, t);
            if (wide) direct_scores_q4_0(rows, width, q, n, codes, scales, scores + 16 * t);
            else direct_scores_q4_0(rows, 1, q, n, codes, scales, scores + 16 * t);
        } else {
            if (wide) direct_scores(type, rows, width, q, n, tiles, &ahead, scores + 16 * t);
            else direct_scores(type, rows, 1, q, n, tiles, &ahead, scores + 16 * t);
        }
        t += wide ? width : 1;
    }
}

/* The sums of all dimensions of the values that are seen: a few positions at a time, all of their dimensions,
 * so that memory is read in order. */
QN_INLINE void direct_columns(qn_tensor_type type, size_t rows, const qn_kv_layout *l,
                              const chunk_pages *pages, size_t head_kv, span seen, const float *p,
                              float *partial)
{
    const size_t width = direct_width(rows), n = l->head_dim_v;
    for (size_t r = 0; r < rows; r++)
        memset(partial + r * qn_attention_partial_floats(l), 0, n * sizeof *partial);
    for (size_t j = seen.begin, next; j < seen.end; j = next) {
        next = qn_min_size((j / QN_TILE_POSITIONS + 1) * QN_TILE_POSITIONS, seen.end);
        const value_page v = find_values(l, pages->page[j / QN_PAGE_POSITIONS], head_kv);
        const size_t begin = j % QN_PAGE_POSITIONS, end = begin + (next - j);
        size_t column = 0;
        for (; 16 * (column + width) <= n; column += width)
            direct_values(type, rows, width, 0, l, &v, begin, end, p + j, column, partial);
        for (; 16 * (column + 1) <= n; column++)
            direct_values(type, rows, 1, 0, l, &v, begin, end, p + j, column, partial);
        if (16 * column < n)
            direct_values(type, rows, 1, n - 16 * column, l, &v, begin, end, p + j, column, partial);
    }
}

/* CALL(type, rows) with both as constants, so that each pair has loops of its own; rows: 1 to 4. */
#define QN_DIRECT_TYPE(CALL, name, rows)                                                                     \
    case QN_TYPE_##name:                                                                                     \
        switch (rows) {                                                                                      \
        case 1:                                                                                              \
            CALL(QN_TYPE_##name, 1);                                                                         \
            break;                                                                                           \
        case 2:                                                                                              \
            CALL(QN_TYPE_##name, 2);                                                                         \
            break;                                                                                           \
        case 3:                                                                                              \
            CALL(QN_TYPE_##name, 3);                                                                         \
            break;                                                                                           \
        default:                                                                                             \
            CALL(QN_TYPE_##name, 4);                                                                         \
        }                                                                                                    \
        break;
#define QN_DIRECT(CALL, type, rows)                                                                          \
    switch (type) {                                                                                          \
        QN_DIRECT_TYPE(CALL, F16, rows)                                                                      \
        QN_DIRECT_TYPE(CALL, BF16, rows)                                                                     \
        QN_DIRECT_TYPE(CALL, Q8_0, rows)                                                                     \
        QN_DIRECT_TYPE(CALL, Q4_0, rows)                                                                     \
        QN_DIRECT_TYPE(CALL, F32, rows)                                                                      \
    default:                                                                                                 \
        break;                                                                                               \
    }

/* The partial results of all query heads of a token and kv head over one chunk. */
static void attend_direct(const qn_attention *a, scratch *s, size_t head_kv, size_t token, size_t chunk,
                          float *partial)
{
    const qn_kv_layout *l = &a->layout;
    const size_t group = a->n_head / l->n_head_kv, n = l->head_dim_v,
                 partial_floats = qn_attention_partial_floats(l);
    const span seen = visible_in_chunk(a, token, chunk);
    const chunk_pages pages = find_pages(a, chunk, seen);
    gather_scales(l, &pages, head_kv, s);
    for (size_t i = 0; i < group;) {
        const float *q = q_row(a, token, head_kv * group + i);
        const size_t rows = qn_min_size(group - i, 4);
#define QN_KEYS(type, n_rows)   direct_keys(type, n_rows, l, &pages, head_kv, seen, q, s->scores)
#define QN_VALUES(type, n_rows) direct_columns(type, n_rows, l, &pages, head_kv, seen, s->scores, partial)
        QN_DIRECT(QN_KEYS, l->type_k, rows)
        for (size_t r = 0; r < rows; r++) {
            float *row = partial + r * partial_floats;
            const distance_bias bias = find_bias(a, token, head_kv * group + i + r, chunk);
            weigh(a, s, s->scores + r * QN_ATTENTION_CHUNK, seen, bias, &row[n], &row[n + 1]);
        }
        QN_DIRECT(QN_VALUES, l->type_v, rows)
#undef QN_KEYS
#undef QN_VALUES
        i += rows;
        partial += rows * partial_floats;
    }
}

static void attend_token(const qn_attention *a, scratch *s, size_t head_kv, size_t token)
{
    const size_t group = a->n_head / a->layout.n_head_kv, n = a->layout.head_dim_v;
    size_t chunk, chunk_end;
    qn_attention_chunks(qn_attention_last(a, token), a->window, &chunk, &chunk_end);
    for (size_t i = 0; i < group; i++) {
        s->max[i] = -INFINITY, s->sum[i] = 0.0f;
        memset(out_row(a, token, head_kv * group + i), 0, n * sizeof(float));
    }
    for (; chunk < chunk_end; chunk++) {
        attend_direct(a, s, head_kv, token, chunk, s->partial);
        for (size_t i = 0; i < group; i++)
            join_partial(out_row(a, token, head_kv * group + i), n, &s->max[i], &s->sum[i],
                         s->partial + i * qn_attention_partial_floats(&a->layout));
    }
    for (size_t i = 0; i < group; i++)
        finish(a, head_kv * group + i, out_row(a, token, head_kv * group + i), s->max[i], s->sum[i]);
}

#include "kernel/attention_many_v16.h"

/* ---- the table's functions ---- */

void QN_ISA(qn_attention)(const qn_attention *a, size_t head_kv, size_t token_begin, size_t token_end,
                          void *memory)
{
    const size_t group = a->n_head / a->layout.n_head_kv;
    const size_t tokens_at_once = qn_max_size(QN_ATTENTION_ROWS / group, 1);
    scratch s = scratch_parts(a, memory);
    for (size_t token = token_begin; token < token_end;) {
        const size_t n_tokens = qn_min_size(token_end - token, tokens_at_once);
        if (n_tokens * group > QN_DIRECT_ROWS) attend_block(a, &s, head_kv, token, n_tokens);
        else
            for (size_t i = 0; i < n_tokens; i++) attend_token(a, &s, head_kv, token + i);
        token += n_tokens;
    }
}

void QN_ISA(qn_attention_chunk)(const qn_attention *a, size_t head_kv, size_t token, size_t chunk,
                                float *partial, void *memory)
{
    scratch s = scratch_parts(a, memory);
    attend_direct(a, &s, head_kv, token, chunk, partial);
}

void QN_ISA(qn_attention_chunk_many)(const qn_attention *a, size_t head_kv, const qn_attention_query *queries,
                                     size_t n_queries, size_t chunk, void *memory)
{
    scratch s = scratch_parts(a, memory);
    attend_chunk_many(a, &s, head_kv, queries, n_queries, chunk);
}

void QN_ISA(qn_attention_join)(const qn_attention *a, size_t head_kv, size_t token, size_t n_chunks,
                               const float *partials, size_t partial_stride)
{
    const size_t group = a->n_head / a->layout.n_head_kv, n = a->layout.head_dim_v;
    for (size_t i = 0; i < group; i++, partials += qn_attention_partial_floats(&a->layout)) {
        float *out = out_row(a, token, head_kv * group + i), max = -INFINITY, sum = 0.0f;
        memset(out, 0, n * sizeof *out);
        for (size_t c = 0; c < n_chunks; c++) join_partial(out, n, &max, &sum, partials + c * partial_stride);
        finish(a, head_kv * group + i, out, max, sum);
    }
}

/* ---- writing ---- */

/* The greatest magnitude by its bits, where NaN is greater than infinity and that greater than all else. */
static float greatest_magnitude(const float *x, size_t n)
{
    v16 greatest = v16_zero();
    float lane[16];
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i += 16)
        greatest = v16_max_bits(v16_abs(v16_load_n(x + i, qn_min_size(n - i, 16))), greatest);
    v16_store(lane, greatest);
    for (int i = 0; i < 16; i++)
        if (qn_f32_to_bits(lane[i]) > bits) bits = qn_f32_to_bits(lane[i]);
    return qn_f32_from_bits(bits);
}

/* Elements x [n] of one vector to where they go, `step` elements apart; inverse: of the Q8_0 scale. */
QN_INLINE void put_elems(qn_tensor_type type, void *to, size_t step, const float *x, size_t n, float inverse)
{
    uint16_t half[16];
    int8_t quant[16];
    for (size_t i = 0; i < n; i += 16) {
        const size_t lanes = qn_min_size(n - i, 16);
        v16 value = v16_load_n(x + i, lanes);
        if (type == QN_TYPE_F16 || type == QN_TYPE_BF16) {
            if (type == QN_TYPE_F16) v16_store_f16(half, value);
            else v16_store_bf16(half, value);
            for (size_t k = 0; k < lanes; k++) ((uint16_t *)to)[(i + k) * step] = half[k];
        } else if (type == QN_TYPE_Q8_0) {
            value = v16_max(v16_round(v16_mul(value, v16_set1(inverse))), v16_set1(-127.0f)); /* NaN: -127 */
            v16_store_i8(quant, v16_min(value, v16_set1(127.0f)));
            for (size_t k = 0; k < lanes; k++) ((int8_t *)to)[(i + k) * step] = quant[k];
        } else {
            for (size_t k = 0; k < lanes; k++) ((float *)to)[(i + k) * step] = x[i + k];
        }
    }
}

/* In [-8, 7]; NaN: -8. */
QN_INLINE v16 q4_0_codes(v16 value, float inverse)
{
    const v16 code = v16_max(v16_round(v16_mul(value, v16_set1(inverse))), v16_set1(-8.0f));
    return v16_min(code, v16_set1(7.0f));
}

/* The codes of one vector to bytes that are `step` apart: those of a key (step > 1) hold neighbours, those of
 * a value dimensions i and i + 16 of a group. Scales of groups lie 64 apart. */
static void put_q4_0(uint8_t *to, size_t step, uint16_t *scales, const float *x, size_t n)
{
    enum { HALF = QN_KV_GROUP / 2 };
    for (; n > 0; to += HALF * step, scales += QN_PAGE_POSITIONS) {
        const size_t dims = qn_min_size(n, QN_KV_GROUP);
        const v16 low = v16_load_n(x, qn_min_size(dims, HALF)),
                  high = dims > HALF ? v16_load_n(x + HALF, dims - HALF) : v16_zero();
        const float magnitude = greatest_magnitude(x, dims);
        const v16 most = v16_set1(magnitude);
        const bool positive =
            (v16_mask_bits(v16_equal(low, most)) | v16_mask_bits(v16_equal(high, most))) != 0;
        *scales = qn_kv_q4_0_scale(magnitude, positive);
        const float inverse = qn_kv_q4_0_inverse(*scales);
        int8_t code[QN_KV_GROUP];
        v16_store_i8(code, q4_0_codes(low, inverse));
        v16_store_i8(code + HALF, q4_0_codes(high, inverse));
        for (size_t i = 0; i < HALF; i++) {
            const int8_t first = code[step == 1 ? i : 2 * i], second = code[step == 1 ? i + HALF : 2 * i + 1];
            to[i * step] = (uint8_t)((first + 8) | (second + 8) << 4);
        }
        x += dims, n -= dims;
    }
}

/* One vector to a part of the page, `step` elements apart; its scales, if it has some, to `scales`. */
static void put_vector(qn_tensor_type type, char *to, size_t step, char *scales, const float *x, size_t n)
{
    if (type == QN_TYPE_F16 && step == 1) put_elems(QN_TYPE_F16, to, 1, x, n, 0.0f);
    else if (type == QN_TYPE_F16) put_elems(QN_TYPE_F16, to, step, x, n, 0.0f);
    else if (type == QN_TYPE_BF16) put_elems(QN_TYPE_BF16, to, step, x, n, 0.0f);
    else if (type == QN_TYPE_F32) put_elems(QN_TYPE_F32, to, step, x, n, 0.0f);
    else if (type == QN_TYPE_Q4_0) put_q4_0((uint8_t *)to, step, (uint16_t *)(void *)scales, x, n);
    else {
        const float value = greatest_magnitude(x, n) / 127.0f;
        memcpy(scales, &value, sizeof value);
        put_elems(QN_TYPE_Q8_0, to, step, x, n, value > 0.0f ? 1.0f / value : 0.0f);
    }
}

/* Where the first scale of a slot lies; slots are side by side. */
static size_t slot_offset(qn_tensor_type type, size_t slot)
{
    return slot * (type == QN_TYPE_Q4_0 ? sizeof(uint16_t) : sizeof(float));
}
static char *key_scale(const qn_kv_layout *l, char *keys, size_t head, size_t slot)
{
    return keys + qn_kv_scale_offset(l->type_k, l->n_head_kv, l->head_dim_k, head) +
           slot_offset(l->type_k, slot);
}
static char *value_scale(const qn_kv_layout *l, char *values, size_t head, size_t slot)
{
    return values + qn_kv_scale_offset(l->type_v, l->n_head_kv, l->head_dim_v, head) +
           slot_offset(l->type_v, slot);
}

void QN_ISA(qn_kv_write)(const qn_kv_layout *l, void *page, size_t slot, const float *k, const float *v)
{
    const size_t n_k = l->head_dim_k, n_v = l->head_dim_v, k_bytes = qn_kv_row_bytes(l->type_k, n_k),
                 v_bytes = qn_kv_row_bytes(l->type_v, n_v);
    char *keys = page, *values = keys + l->v_offset;
    for (size_t head = 0; head < l->n_head_kv; head++) {
        const size_t tile = head * QN_PAGE_TILES + slot / QN_TILE_POSITIONS,
                     row = head * QN_PAGE_POSITIONS + slot;
        char *key = keys + tile * QN_TILE_POSITIONS * k_bytes +
                    slot % QN_TILE_POSITIONS * qn_kv_elem_bytes(l->type_k);
        put_vector(l->type_k, key, QN_TILE_POSITIONS, key_scale(l, keys, head, slot), k + head * n_k, n_k);
        put_vector(l->type_v, values + row * v_bytes, 1, value_scale(l, values, head, slot), v + head * n_v,
                   n_v);
    }
}

#endif
