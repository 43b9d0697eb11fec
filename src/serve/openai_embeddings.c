/* openai_embeddings.c: POST /v1/embeddings and POST /v1/rerank: texts to vectors and scores. Each text is a
 * request of its own, which the engine puts into steps with others. */
#include "serve/openai.h"

#include "base/alloc.h"
#include "serve/limits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXTS = 2048 };

typedef struct embed_text {
    quern_token *tokens; /* owned: quern_free */
    size_t n_tokens;
    float *values; /* [n_values] owned; NULL: not there yet */
    size_t n_values;
} embed_text;

typedef struct embed_state {
    json_t *root;
    qn_fields fields;
    const quern_model *model;
    const char *model_name;
    embed_text *texts;
    size_t n_texts;
    bool truncates;
    /* of embeddings */
    bool as_base64;
    int64_t n_dimensions; /* 0: all */
    /* of scores */
    bool ranks, returns_documents;
    const json_t *documents; /* borrowed from root */
    int64_t n_top;
} embed_state;

static void free_state(void *user)
{
    embed_state *s = user;
    for (size_t i = 0; i < s->n_texts; i++) quern_free(s->texts[i].tokens), qn_free(s->texts[i].values);
    qn_free(s->texts);
    json_decref(s->root);
    qn_free(s);
}

static embed_state *create(qn_exchange *x)
{
    embed_state *s = qn_calloc(1, sizeof *s);
    if (s == NULL) return qn_problem_nomem(&x->problem), NULL;
    x->state = s, x->free_state = free_state;
    x->content_type = "application/json";
    s->root = qn_exchange_parse(x);
    if (s->root == NULL) return NULL;
    s->fields = qn_fields_of(s->root, &x->problem);
    s->model = qn_openai_model(x, &s->fields, &s->model_name);
    return s->model != NULL ? s : NULL;
}

/* One vector for a text is what is wanted here, not scores and not one for each token. */
static bool check_pooling(const embed_state *s, const quern_model_info *info)
{
    if (info->pooling != QUERN_POOLING_RANK && info->pooling != QUERN_POOLING_NONE) return true;
    return qn_field_wrong(&s->fields, QN_PROBLEM_UNSUPPORTED, "model",
                          "'%s' does not make one vector of a text", s->model_name);
}

static bool make_texts(embed_state *s, const char *field, size_t n)
{
    if (n == 0) return qn_field_wrong(&s->fields, QN_PROBLEM_MISSING, field, "at least one text is needed");
    if (n > MAX_TEXTS)
        return qn_field_wrong(&s->fields, QN_PROBLEM_WRONG_VALUE, field, "%zu texts, more than %d", n,
                              (int)MAX_TEXTS);
    s->texts = qn_calloc(n, sizeof *s->texts);
    s->n_texts = s->texts != NULL ? n : 0;
    return s->texts != NULL || qn_problem_nomem(s->fields.problem);
}

/* ---- the engine's part -------------------------------------------------------------------------- */

static void fill(qn_exchange *x, size_t part, quern_request_params *p)
{
    const embed_state *s = x->state;
    p->model = s->model_name;
    p->prompt = s->texts[part].tokens, p->n_prompt = s->texts[part].n_tokens;
    p->embeds = true;
    p->truncate = s->truncates;
    p->pooling = s->ranks ? QUERN_POOLING_RANK : QUERN_POOLING_DEFAULT;
    p->normalize = !s->ranks;
}

static void on_event(qn_exchange *x, size_t part, const quern_event *e)
{
    embed_state *s = x->state;
    embed_text *t = &s->texts[part];
    if (e->kind == QUERN_EVENT_FAILED) qn_problem_take(&x->problem, NULL, e->error);
    if (e->kind != QUERN_EVENT_FINISHED) return;
    if (e->embedding == NULL) {
        qn_problem_set(&x->problem, QN_PROBLEM_UNAVAILABLE, NULL, "text %zu was not computed to its end",
                       part);
        return;
    }
    t->values = qn_malloc(e->n_embedding * sizeof *t->values);
    if (t->values == NULL) {
        qn_problem_nomem(s->fields.problem);
        return;
    }
    memcpy(t->values, e->embedding, e->n_embedding * sizeof *t->values);
    t->n_values = e->n_embedding;
}

static size_t count_tokens(const embed_state *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_texts; i++) n += s->texts[i].n_tokens;
    return n;
}

static json_t *usage_of(const embed_state *s)
{
    const json_int_t n = (json_int_t)count_tokens(s);
    return json_pack("{s:I, s:I}", "prompt_tokens", n, "total_tokens", n);
}

/* ---- embeddings --------------------------------------------------------------------------------- */

/* RFC 4648, of little-endian float32. */
static json_t *base64_of(const float *values, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = (const unsigned char *)values;
    const size_t n_bytes = n * sizeof *values;
    qn_buffer out = {0};
    for (size_t i = 0; i < n_bytes; i += 3) {
        const size_t left = n_bytes - i;
        const unsigned three = (unsigned)bytes[i] << 16 | (left > 1 ? (unsigned)bytes[i + 1] << 8 : 0) |
                               (left > 2 ? (unsigned)bytes[i + 2] : 0);
        const char four[] = {digits[three >> 18], digits[three >> 12 & 63],
                             left > 1 ? digits[three >> 6 & 63] : '=', left > 2 ? digits[three & 63] : '='};
        qn_buffer_append(&out, four, sizeof four);
    }
    json_t *text = out.failed ? NULL : json_stringn(out.data, out.n_bytes);
    qn_buffer_deinit(&out);
    return text;
}

/* The first dimensions of models that are trained so mean the same as all (Matryoshka: Kusupati et al. 2022,
 * arXiv:2205.13147); the vector is brought to length 1 again. */
static void cut(embed_text *t, size_t n_dimensions)
{
    double sum = 0;
    if (n_dimensions > t->n_values) return;
    t->n_values = n_dimensions;
    for (size_t i = 0; i < n_dimensions; i++) sum += (double)t->values[i] * (double)t->values[i];
    for (size_t i = 0; i < n_dimensions && sum > 0; i++)
        t->values[i] = (float)((double)t->values[i] / sqrt(sum));
}

static json_t *vector_of(const embed_state *s, embed_text *t)
{
    if (s->n_dimensions > 0) cut(t, (size_t)s->n_dimensions);
    if (s->as_base64) return base64_of(t->values, t->n_values);
    json_t *list = json_array();
    for (size_t i = 0; i < t->n_values; i++) json_array_append_new(list, json_real((double)t->values[i]));
    return list;
}

static void end_embeddings(qn_exchange *x)
{
    embed_state *s = x->state;
    if (x->problem.kind != QN_PROBLEM_NONE) return;
    json_t *data = json_array();
    for (size_t i = 0; i < s->n_texts; i++)
        json_array_append_new(data, json_pack("{s:s, s:I, s:o}", "object", "embedding", "index",
                                              (json_int_t)i, "embedding", vector_of(s, &s->texts[i])));
    qn_reply_json(x, 200,
                  json_pack("{s:s, s:o, s:s, s:o}", "object", "list", "data", data, "model", s->model_name,
                            "usage", usage_of(s)));
}

static const qn_answer_writer embeddings_writer = {fill, NULL, on_event, end_embeddings};

static bool read_text(embed_state *s, size_t i, const json_t *item)
{
    embed_text *t = &s->texts[i];
    quern_error err;
    bool ok = true;
    if (json_is_array(item))
        ok = qn_openai_read_tokens(&s->fields, "input", item, s->model, &t->tokens, &t->n_tokens);
    else if (!json_is_string(item))
        return qn_field_wrong(&s->fields, QN_PROBLEM_WRONG_TYPE, "input",
                              "a string, tokens, or an array of either is expected");
    else if (quern_tokenize(s->model, json_string_value(item), json_string_length(item),
                            QUERN_TOKENIZE_ADD_SPECIAL, &t->tokens, &t->n_tokens, &err) != QUERN_OK)
        return qn_problem_take(s->fields.problem, "input", &err);
    if (ok && t->n_tokens == 0)
        return qn_field_wrong(&s->fields, QN_PROBLEM_WRONG_VALUE, "input", "text %zu has no tokens", i);
    return ok;
}

static bool read_input(embed_state *s)
{
    const json_t *input = qn_field(&s->fields, "input");
    if (input == NULL) return qn_field_wrong(&s->fields, QN_PROBLEM_MISSING, "input", "it is missing");
    const bool is_list = json_is_array(input) && !json_is_integer(json_array_get(input, 0));
    if (!make_texts(s, "input", is_list ? json_array_size(input) : 1)) return false;
    for (size_t i = 0; i < s->n_texts; i++)
        if (!read_text(s, i, is_list ? json_array_get(input, i) : input)) return false;
    return true;
}

void qn_openai_embeddings(qn_exchange *x)
{
    const char *format = "float";
    quern_model_info info;
    embed_state *s = create(x);
    if (s == NULL) return;
    quern_model_get_info(s->model, &info);
    if (!check_pooling(s, &info) || !qn_field_text(&s->fields, "encoding_format", &format) ||
        !qn_field_integer(&s->fields, "dimensions", 1, (int64_t)info.n_embd, &s->n_dimensions) ||
        !qn_field_bool(&s->fields, "truncate", &s->truncates))
        return;
    s->as_base64 = strcmp(format, "base64") == 0;
    if (!s->as_base64 && strcmp(format, "float") != 0) {
        qn_field_wrong(&s->fields, QN_PROBLEM_WRONG_VALUE, "encoding_format",
                       "'%.40s': float and base64 are possible", format);
        return;
    }
    if (read_input(s)) (void)qn_exchange_want(x, s->n_texts, 1, &embeddings_writer, false);
}

/* Ollama's form of the same: vectors alone, and texts that are too long are cut unless that is forbidden. */
static void end_for_ollama(qn_exchange *x)
{
    embed_state *s = x->state;
    if (x->problem.kind != QN_PROBLEM_NONE) return;
    json_t *vectors = json_array();
    for (size_t i = 0; i < s->n_texts; i++) json_array_append_new(vectors, vector_of(s, &s->texts[i]));
    qn_reply_json(x, 200,
                  json_pack("{s:s, s:o, s:I}", "model", s->model_name, "embeddings", vectors,
                            "prompt_eval_count", (json_int_t)count_tokens(s)));
}

static const qn_answer_writer ollama_writer = {fill, NULL, on_event, end_for_ollama};

void qn_openai_embed_for_ollama(qn_exchange *x)
{
    quern_model_info info;
    embed_state *s = create(x);
    if (s == NULL) return;
    s->truncates = true;
    quern_model_get_info(s->model, &info);
    if (check_pooling(s, &info) && qn_field_bool(&s->fields, "truncate", &s->truncates) &&
        qn_field_integer(&s->fields, "dimensions", 1, (int64_t)info.n_embd, &s->n_dimensions) &&
        read_input(s))
        (void)qn_exchange_want(x, s->n_texts, 1, &ollama_writer, false);
}

/* ---- scores ------------------------------------------------------------------------------------- */

static const char *document_text(const json_t *document)
{
    return json_string_value(json_is_object(document) ? json_object_get(document, "text") : document);
}

static bool read_documents(embed_state *s)
{
    const char *query = NULL;
    quern_error err;
    if (!qn_field_text(&s->fields, "query", &query) ||
        !qn_field_array(&s->fields, "documents", MAX_TEXTS, &s->documents))
        return false;
    if (query == NULL) return qn_field_wrong(&s->fields, QN_PROBLEM_MISSING, "query", "it is missing");
    if (!make_texts(s, "documents", json_array_size(s->documents))) return false;
    for (size_t i = 0; i < s->n_texts; i++) {
        const char *text = document_text(json_array_get(s->documents, i));
        embed_text *t = &s->texts[i];
        if (text == NULL)
            return qn_field_wrong(&s->fields, QN_PROBLEM_WRONG_TYPE, "documents",
                                  "number %zu is neither a string nor an object with a text", i);
        if (quern_rank_pair(s->model, query, strlen(query), text, strlen(text), &t->tokens, &t->n_tokens,
                            &err) != QUERN_OK)
            return qn_problem_take(s->fields.problem, "model", &err);
    }
    return true;
}

typedef struct ranked {
    double score;
    size_t index;
} ranked;

static int by_score(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

static void end_scores(qn_exchange *x)
{
    embed_state *s = x->state;
    if (x->problem.kind != QN_PROBLEM_NONE) return;
    ranked *order = qn_calloc(s->n_texts, sizeof *order);
    if (order == NULL) {
        qn_problem_nomem(s->fields.problem);
        return;
    }
    for (size_t i = 0; i < s->n_texts; i++) order[i] = (ranked){(double)s->texts[i].values[0], i};
    qsort(order, s->n_texts, sizeof *order, by_score);
    json_t *results = json_array();
    for (size_t i = 0; i < s->n_texts && (int64_t)i < s->n_top; i++) {
        json_t *result = json_pack("{s:I, s:f}", "index", (json_int_t)order[i].index, "relevance_score",
                                   isfinite(order[i].score) ? order[i].score : 0.0);
        if (s->returns_documents)
            json_object_set_new(
                result, "document",
                json_pack("{s:s}", "text", document_text(json_array_get(s->documents, order[i].index))));
        json_array_append_new(results, result);
    }
    qn_free(order);
    qn_reply_json(
        x, 200,
        json_pack("{s:s, s:o, s:o}", "model", s->model_name, "results", results, "usage", usage_of(s)));
}

static const qn_answer_writer scores_writer = {fill, NULL, on_event, end_scores};

void qn_openai_rerank(qn_exchange *x)
{
    quern_model_info info;
    embed_state *s = create(x);
    if (s == NULL) return;
    quern_model_get_info(s->model, &info);
    s->ranks = true, s->truncates = true, s->n_top = MAX_TEXTS;
    if (info.n_scores == 0) {
        qn_field_wrong(&s->fields, QN_PROBLEM_UNSUPPORTED, "model", "'%s' is no reranker", s->model_name);
        return;
    }
    if (qn_field_integer(&s->fields, "top_n", 1, MAX_TEXTS, &s->n_top) &&
        qn_field_bool(&s->fields, "truncate", &s->truncates) &&
        qn_field_bool(&s->fields, "return_documents", &s->returns_documents) && read_documents(s))
        (void)qn_exchange_want(x, s->n_texts, 1, &scores_writer, false);
}
