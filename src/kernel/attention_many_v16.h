/* attention_many_v16.h: the many rows of attention_v16.h: tokens with the query heads of one kv head, chunk
 * by chunk of keys; or one chunk for queries of several sequences. QN_TILE_WIDTH vectors of keys, or of
 * dimensions of values, meet QN_TILE_ROWS rows in registers.
 *
 * Keys are widened QN_TILE_WIDTH tiles at a time, values as panels of QN_PANEL_POSITIONS positions by as many
 * vectors of dimensions: either stays in the first-level cache while all rows use it. */
#ifndef QN_KERNEL_ATTENTION_MANY_V16_H
#define QN_KERNEL_ATTENTION_MANY_V16_H

typedef struct block {
    const qn_attention *a;
    scratch *s;
    size_t head_kv, group, token, n_rows;
    const qn_attention_query *queries; /* in place of the tokens from `token` on; or NULL */
    span *seen;                        /* [n_rows] in the present chunk */
    span *any, *all; /* what any and what all rows of a register tile see; [n_rows / QN_TILE_ROWS] */
} block;

static size_t row_token(const block *b, size_t row)
{
    return b->queries != NULL ? b->queries[row / b->group].token : b->token + row / b->group;
}
static size_t row_head(const block *b, size_t row)
{
    return b->head_kv * b->group + row % b->group;
}
static float *row_scores(const block *b, size_t row)
{
    return b->s->scores + row * QN_ATTENTION_CHUNK;
}
static float *row_sums(const block *b, size_t row)
{
    return b->s->sums + row * QN_SUM_FLOATS;
}
/* Of a row of a query. */
static float *row_partial(const block *b, size_t row)
{
    return b->queries[row / b->group].partial + row % b->group * qn_attention_partial_floats(&b->a->layout);
}

/* acc[r][w] += sum over k in [begin, end) of left[r][k] * right[w * step_w + k * step_k][16] */
QN_INLINE void tile_product(size_t rows, size_t width, v16 acc[QN_TILE_ROWS][QN_TILE_WIDTH],
                            const float *const left[QN_TILE_ROWS], const float *right, size_t step_w,
                            size_t step_k, size_t begin, size_t end)
{
    for (size_t k = begin; k < end; k++) {
        v16 b[QN_TILE_WIDTH];
        for (size_t w = 0; w < width; w++) b[w] = v16_load(right + w * step_w + k * step_k);
        for (size_t r = 0; r < rows; r++)
            for (size_t w = 0; w < width; w++) acc[r][w] = v16_fma(v16_set1(left[r][k]), b[w], acc[r][w]);
    }
}

/* CALL(width) with a constant, so that each width has loops of its own. */
#if QN_TILE_WIDTH == 4
#define QN_WIDTHS(CALL, width)                                                                               \
    switch (width) {                                                                                         \
    case 1:                                                                                                  \
        CALL(1);                                                                                             \
        break;                                                                                               \
    case 2:                                                                                                  \
        CALL(2);                                                                                             \
        break;                                                                                               \
    case 3:                                                                                                  \
        CALL(3);                                                                                             \
        break;                                                                                               \
    default:                                                                                                 \
        CALL(4);                                                                                             \
    }
#else
#define QN_WIDTHS(CALL, width) CALL(1);
#endif

/* ---- what is seen ---- */

static span span_union(span a, span b)
{
    if (a.begin == a.end) return b;
    if (b.begin == b.end) return a;
    return (span){qn_min_size(a.begin, b.begin), qn_max_size(a.end, b.end)};
}

static span span_common(span a, span b)
{
    const span c = {qn_max_size(a.begin, b.begin), qn_min_size(a.end, b.end)};
    return c.begin < c.end ? c : (span){0, 0};
}

/* Fills in what is seen in a chunk; returns what any row sees. */
static span find_spans(const block *b, size_t chunk)
{
    span whole = {0, 0};
    for (size_t row = 0; row < b->n_rows; row++) {
        const size_t tile = row / QN_TILE_ROWS, first = row % QN_TILE_ROWS == 0;
        const span seen = visible_in_chunk(b->a, row_token(b, row), chunk);
        b->seen[row] = seen;
        b->any[tile] = first ? seen : span_union(b->any[tile], seen);
        b->all[tile] = first ? seen : span_common(b->all[tile], seen);
        whole = span_union(whole, seen);
    }
    return whole;
}

/* ---- scores ---- */

QN_INLINE void widen_tile(qn_tensor_type type, float *to, const char *keys, size_t n)
{
    for (size_t d = 0; d < n; d++) v16_store(to + 16 * d, load_elems(type, keys, 16 * d));
}

static void widen_tile_q4_0(float *to, const uint8_t *keys, const uint16_t *scales, size_t n)
{
    for (size_t d = 0; d < n; d++) {
        const v16 scale = v16_load_bf16(scales + d / QN_KV_GROUP * QN_PAGE_POSITIONS);
        v16_store(to + 16 * d, v16_mul(v16_load_i4(keys + d / 2 * QN_TILE_POSITIONS, d % 2), scale));
    }
}

/* Tiles [tile, end) of a page as float32, one after the other. */
static const float *float_tiles(const block *b, const chunk_pages *pages, size_t tile, size_t end)
{
    const qn_kv_layout *l = &b->a->layout;
    const size_t n = l->head_dim_k;
    float *to = b->s->tiles;
    if (l->type_k == QN_TYPE_F32) return (const float *)(const void *)key_tile(l, pages, b->head_kv, tile);
    for (; tile < end; tile++, to += 16 * n) {
        const char *keys = key_tile(l, pages, b->head_kv, tile);
        if (l->type_k == QN_TYPE_F16) widen_tile(QN_TYPE_F16, to, keys, n);
        else if (l->type_k == QN_TYPE_BF16) widen_tile(QN_TYPE_BF16, to, keys, n);
        else if (l->type_k == QN_TYPE_Q8_0) widen_tile(QN_TYPE_Q8_0, to, keys, n);
        else widen_tile_q4_0(to, (const uint8_t *)keys, tile_scales(l, pages, b->head_kv, tile), n);
    }
    return b->s->tiles;
}

/* The products of the rows of one register tile with `width` tiles of keys. Rows that fill up the last tile
 * are the last row over again; their products go nowhere that is read. */
QN_INLINE void score_tile(size_t width, const block *b, size_t row, const float *keys, float *scores)
{
    const size_t n = b->a->layout.head_dim_k;
    const float *q[QN_TILE_ROWS];
    v16 acc[QN_TILE_ROWS][QN_TILE_WIDTH];
    for (size_t r = 0; r < QN_TILE_ROWS; r++) {
        const size_t real = qn_min_size(row + r, b->n_rows - 1);
        q[r] = q_row(b->a, row_token(b, real), row_head(b, real));
    }
    for (size_t r = 0; r < QN_TILE_ROWS; r++)
        for (size_t w = 0; w < width; w++) acc[r][w] = v16_zero();
    tile_product(QN_TILE_ROWS, width, acc, q, keys, 16 * n, 16, 0, n);
    for (size_t r = 0; r < QN_TILE_ROWS; r++)
        for (size_t w = 0; w < width; w++) v16_store(scores + r * QN_ATTENTION_CHUNK + 16 * w, acc[r][w]);
}

static void block_scores(const block *b, const chunk_pages *pages, span whole)
{
    const size_t n = b->a->layout.head_dim_k, whole_end = (whole.end + 15) / 16;
    for (size_t first = whole.begin / 16, last; first < whole_end; first = last) {
        last = qn_min_size(first / QN_TILE_WIDTH * QN_TILE_WIDTH + QN_TILE_WIDTH, whole_end);
        const float *keys = float_tiles(b, pages, first, last);
        for (size_t row = 0; row < b->n_rows; row += QN_TILE_ROWS) {
            const span any = b->any[row / QN_TILE_ROWS];
            const size_t begin = qn_max_size(first, any.begin / 16),
                         end = qn_min_size(last, (any.end + 15) / 16);
            if (begin >= end) continue;
#define QN_SCORES(width)                                                                                     \
    score_tile(width, b, row, keys + (begin - first) * 16 * n, row_scores(b, row) + 16 * begin)
            QN_WIDTHS(QN_SCORES, end - begin)
#undef QN_SCORES
        }
    }
}

/* ---- softmax ---- */

/* Scores become weights; what is joined so far, and the factors of the join, 16 rows at a time. A row that
 * sees nothing stays as it is: its sum alone is 0, for the greatest score counts 1. */
static void block_weights(const block *b, size_t chunk)
{
    scratch *s = b->s;
    for (size_t row = 0; row < b->n_rows; row++) {
        s->chunk_max[row] = -INFINITY, s->chunk_sum[row] = 0.0f;
        if (b->seen[row].begin >= b->seen[row].end) continue;
        const distance_bias bias = find_bias(b->a, row_token(b, row), row_head(b, row), chunk);
        weigh(b->a, s, row_scores(b, row), b->seen[row], bias, &s->chunk_max[row], &s->chunk_sum[row]);
    }
    for (size_t row = 0; row < b->n_rows; row += 16) {
        const v16 max = v16_load(s->max + row), sum = v16_load(s->sum + row);
        const v16 chunk_max = v16_load(s->chunk_max + row), chunk_sum = v16_load(s->chunk_sum + row);
        const v16 new_max = v16_max(chunk_max, max);
        const v16 keep = v16_exp_bounded(v16_sub(max, new_max)),
                  take = v16_exp_bounded(v16_sub(chunk_max, new_max));
        const v16_mask nothing = v16_equal(chunk_sum, v16_zero());
        v16_store(s->keep + row, keep);
        v16_store(s->take + row, take);
        v16_store(s->max + row, v16_select(nothing, max, new_max));
        v16_store(s->sum + row, v16_select(nothing, sum, v16_fma(chunk_sum, take, v16_mul(sum, keep))));
    }
}

/* ---- values ---- */

QN_INLINE void widen_values(qn_tensor_type type, float *to, const value_page *v, size_t begin, size_t end,
                            size_t n, size_t column, size_t width, size_t lanes)
{
    for (size_t slot = begin; slot < end; slot++, to += 16 * QN_TILE_WIDTH)
        for (size_t w = 0; w < width; w++) {
            const size_t at = slot * n + 16 * (column + w);
            v16_store(to + 16 * w, type == QN_TYPE_Q4_0
                                       ? load_value_q4_0(v, slot, (column + w) / 2, (column + w) % 2)
                                   : w + 1 < width || lanes == 16 ? load_elems(type, v->rows, at)
                                                                  : load_elems_n(type, v->rows, at, lanes));
        }
}

/* `width` vectors of dimensions, from vector `column` on, of the values of positions `part` of a chunk, as
 * float32; of the last vector `lanes`. */
static void float_panel(const block *b, const chunk_pages *pages, span part, size_t column, size_t width,
                        size_t lanes)
{
    const qn_kv_layout *l = &b->a->layout;
    const size_t n = l->head_dim_v;
    float *to = b->s->panel;
    for (size_t j = part.begin, next; j < part.end; j = next) {
        const value_page v = find_values(l, pages->page[j / QN_PAGE_POSITIONS], b->head_kv);
        const size_t begin = j % QN_PAGE_POSITIONS;
        next = qn_min_size(j - begin + QN_PAGE_POSITIONS, part.end);
        const size_t end = begin + (next - j);
        if (l->type_v == QN_TYPE_F16) widen_values(QN_TYPE_F16, to, &v, begin, end, n, column, width, lanes);
        else if (l->type_v == QN_TYPE_BF16)
            widen_values(QN_TYPE_BF16, to, &v, begin, end, n, column, width, lanes);
        else if (l->type_v == QN_TYPE_Q8_0)
            widen_values(QN_TYPE_Q8_0, to, &v, begin, end, n, column, width, lanes);
        else if (l->type_v == QN_TYPE_Q4_0)
            widen_values(QN_TYPE_Q4_0, to, &v, begin, end, n, column, width, lanes);
        else widen_values(QN_TYPE_F32, to, &v, begin, end, n, column, width, lanes);
        to += (next - j) * 16 * QN_TILE_WIDTH;
    }
}

/* Adds the values of positions [begin, end) to the sums of `rows` rows; panel: of position 0. */
QN_INLINE void add_values(size_t rows, size_t width, const block *b, size_t row, const float *panel,
                          size_t begin, size_t end)
{
    float *sums = row_sums(b, row);
    const float *p[QN_TILE_ROWS];
    v16 acc[QN_TILE_ROWS][QN_TILE_WIDTH];
    for (size_t r = 0; r < rows; r++) {
        p[r] = row_scores(b, row + r);
        for (size_t w = 0; w < width; w++) acc[r][w] = v16_load(sums + r * QN_SUM_FLOATS + 16 * w);
    }
    tile_product(rows, width, acc, p, panel, 16, 16 * QN_TILE_WIDTH, begin, end);
    for (size_t r = 0; r < rows; r++)
        for (size_t w = 0; w < width; w++) v16_store(sums + r * QN_SUM_FLOATS + 16 * w, acc[r][w]);
}

/* The positions of `part` for one tile of rows; those before and after what all rows see are added row by
 * row. */
QN_INLINE void tile_values(size_t width, const block *b, size_t row, span part)
{
    const float *panel = b->s->panel - part.begin * 16 * QN_TILE_WIDTH;
    const size_t n_rows = qn_min_size(b->n_rows - row, QN_TILE_ROWS);
    const span common = span_common(b->all[row / QN_TILE_ROWS], part);
    if (n_rows == QN_TILE_ROWS && common.begin == part.begin && common.end == part.end) {
        add_values(QN_TILE_ROWS, width, b, row, panel, part.begin, part.end);
        return;
    }
    for (size_t r = 0; r < n_rows; r++) {
        const span mine = span_common(b->seen[row + r], part);
        const size_t end = common.begin < common.end ? common.begin : mine.end;
        if (mine.begin < end) add_values(1, width, b, row + r, panel, mine.begin, end);
    }
    if (common.begin == common.end) return;
    add_values(QN_TILE_ROWS, width, b, row, panel, common.begin, common.end);
    for (size_t r = 0; r < n_rows; r++) {
        const span mine = span_common(b->seen[row + r], part);
        if (common.end < mine.end) add_values(1, width, b, row + r, panel, common.end, mine.end);
    }
}

/* Joins the sums of the chunk to the outputs. */
QN_INLINE void join_rows(size_t width, const block *b, size_t column, size_t lanes)
{
    for (size_t row = 0; row < b->n_rows; row++) {
        float *out = out_row(b->a, row_token(b, row), row_head(b, row)) + 16 * column;
        const float *sums = row_sums(b, row);
        const v16 keep = v16_set1(b->s->keep[row]), take = v16_set1(b->s->take[row]);
        if (b->seen[row].begin == b->seen[row].end) continue;
        for (size_t w = 0; w < width; w++) {
            const size_t n = w + 1 < width ? 16 : lanes;
            const v16 old = v16_mul(v16_load_n(out + 16 * w, n), keep);
            v16_store_n(out + 16 * w, v16_fma(v16_load(sums + 16 * w), take, old), n);
        }
    }
}

/* The sums of the chunk as partial results. */
QN_INLINE void give_rows(size_t width, const block *b, size_t column, size_t lanes)
{
    for (size_t row = 0; row < b->n_rows; row++) {
        float *out = row_partial(b, row) + 16 * column;
        for (size_t w = 0; w < width; w++)
            v16_store_n(out + 16 * w, v16_load(row_sums(b, row) + 16 * w), w + 1 < width ? 16 : lanes);
    }
}

QN_INLINE void columns_values(size_t width, const block *b, const chunk_pages *pages, span whole,
                              size_t column)
{
    const size_t n = b->a->layout.head_dim_v, lanes = qn_min_size(n - 16 * (column + width - 1), 16);
    memset(b->s->sums, 0, qn_round_up(b->n_rows, QN_TILE_ROWS) * QN_SUM_FLOATS * sizeof(float));
    for (span part = {whole.begin, 0}; part.begin < whole.end; part.begin = part.end) {
        part.end = qn_min_size((part.begin / QN_PANEL_POSITIONS + 1) * QN_PANEL_POSITIONS, whole.end);
        float_panel(b, pages, part, column, width, lanes);
        for (size_t row = 0; row < b->n_rows; row += QN_TILE_ROWS) tile_values(width, b, row, part);
    }
    if (b->queries != NULL) give_rows(width, b, column, lanes);
    else join_rows(width, b, column, lanes);
}

static void block_values(const block *b, const chunk_pages *pages, span whole)
{
    const size_t n_columns = (b->a->layout.head_dim_v + 15) / 16;
    for (size_t column = 0, width; column < n_columns; column += width) {
        width = qn_min_size(n_columns - column, QN_TILE_WIDTH);
#define QN_COLUMNS(width) columns_values(width, b, pages, whole, column)
        QN_WIDTHS(QN_COLUMNS, width)
#undef QN_COLUMNS
    }
}

/* ---- a block ---- */

static void block_chunk(const block *b, size_t chunk)
{
    const span whole = find_spans(b, chunk);
    const chunk_pages pages = find_pages(b->a, chunk, whole);
    gather_scales(&b->a->layout, &pages, b->head_kv, b->s);
    block_scores(b, &pages, whole);
    block_weights(b, chunk);
    block_values(b, &pages, whole);
}

static void attend_block(const qn_attention *a, scratch *s, size_t head_kv, size_t token, size_t n_tokens)
{
    const size_t group = a->n_head / a->layout.n_head_kv;
    const size_t rows = qn_attention_scratch_rows(&a->layout, a->n_head);
    span *spans = (span *)(void *)s->partial; /* at least 16 floats a row; partials are not used here */
    const block b = {a,    s,     head_kv,      group,           token, n_tokens * group,
                     NULL, spans, spans + rows, spans + 2 * rows};
    for (size_t row = 0; row < b.n_rows; row++) {
        s->max[row] = -INFINITY, s->sum[row] = 0.0f;
        memset(out_row(a, row_token(&b, row), row_head(&b, row)), 0, a->layout.head_dim_v * sizeof(float));
    }
    size_t chunk, chunk_end, unused;
    qn_attention_chunks(qn_attention_last(a, token), a->window, &chunk, &unused);
    qn_attention_chunks(qn_attention_last(a, token + n_tokens - 1), a->window, &unused, &chunk_end);
    for (; chunk < chunk_end; chunk++) block_chunk(&b, chunk);
    for (size_t row = 0; row < b.n_rows; row++) {
        const size_t head = row_head(&b, row);
        finish(a, head, out_row(a, row_token(&b, row), head), s->max[row], s->sum[row]);
    }
}

/* The partial results of one chunk, which all queries see whole. */
static void attend_chunk_many(const qn_attention *a, scratch *s, size_t head_kv,
                              const qn_attention_query *queries, size_t n_queries, size_t chunk)
{
    const size_t group = a->n_head / a->layout.n_head_kv, n = a->layout.head_dim_v;
    const size_t rows = qn_attention_scratch_rows(&a->layout, a->n_head);
    const span whole = {0, QN_ATTENTION_CHUNK};
    span *spans = (span *)(void *)s->partial;
    const block b = {a,       s,     head_kv,      group,           0, n_queries * group,
                     queries, spans, spans + rows, spans + 2 * rows};
    const chunk_pages pages = find_pages(a, chunk, whole);
    for (size_t row = 0; row < b.n_rows; row++)
        b.seen[row] = b.any[row / QN_TILE_ROWS] = b.all[row / QN_TILE_ROWS] = whole;
    gather_scales(&a->layout, &pages, head_kv, s);
    block_scores(&b, &pages, whole);
    for (size_t row = 0; row < b.n_rows; row++)
        weigh(a, s, row_scores(&b, row), whole, (distance_bias){0.0f, 0.0f}, &row_partial(&b, row)[n],
              &row_partial(&b, row)[n + 1]);
    block_values(&b, &pages, whole);
}

#endif
