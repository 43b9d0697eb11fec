/* rerank.c: pairs of a query and a document as rerankers know them, and their scores. */
#include "engine/model.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/checked.h"

#include <string.h>

/* ---- one text of two ---------------------------------------------------------------------------- */

typedef struct pair {
    const quern_model *model;
    const char *query, *document;
    size_t n_query_bytes, n_document_bytes;
} pair;

/* The template with {query} and {document} filled in. */
static void fill_template(const pair *p, qn_string template, qn_buffer *out)
{
    static const struct {
        const char *name;
        size_t n_bytes;
    } names[] = {{"{query}", 7}, {"{document}", 10}};
    for (size_t i = 0; i < template.n_bytes;) {
        size_t k = 0;
        while (k < 2 && (template.n_bytes - i < names[k].n_bytes ||
                         memcmp(template.bytes + i, names[k].name, names[k].n_bytes) != 0))
            k++;
        if (k == 0) qn_buffer_append(out, p->query, p->n_query_bytes);
        else if (k == 1) qn_buffer_append(out, p->document, p->n_document_bytes);
        else qn_buffer_append(out, template.bytes + i, 1);
        i += k < 2 ? names[k].n_bytes : 1;
    }
}

static quern_status by_template(const pair *p, qn_string template, quern_token **tokens, size_t *n_tokens,
                                quern_error *err)
{
    qn_buffer text = {0};
    fill_template(p, template, &text);
    const quern_status s = text.failed
                               ? qn_fail(err, QUERN_ERR_NOMEM, "template of the reranker: no memory")
                               : quern_tokenize(p->model, text.data != NULL ? text.data : "", text.n_bytes,
                                                QUERN_TOKENIZE_PARSE_SPECIAL, tokens, n_tokens, err);
    qn_buffer_deinit(&text);
    return s;
}

/* The tokens before, between and behind the two; -1: none. */
typedef struct frame {
    quern_token begin, between[2], end;
} frame;

/* As the published tokenizers do it for pairs: BERT's [CLS] a [SEP] b [SEP], with pieces of words; RoBERTa's
 * <s> a </s></s> b </s>, with the other vocabularies of models that see both ways; else one separator. */
static quern_status find_frame(const quern_model *m, frame *f, quern_error *err)
{
    const qn_vocab_special *special = qn_vocab_special_ids(m->vocab);
    const quern_token end = special->eos >= 0 ? special->eos : special->sep,
                      separator = special->sep >= 0 ? special->sep : special->eos;
    const bool in_pieces = strcmp(qn_vocab_kind_name(m->vocab), "wordpiece") == 0;
    if (separator < 0)
        return qn_fail(
            err, QUERN_ERR_UNSUPPORTED,
            "%s: no template 'tokenizer.chat_template.rerank', and no token that separates query and "
            "document",
            m->path);
    *f = (frame){.begin = special->add_bos || in_pieces ? special->bos : -1,
                 .between = {in_pieces || m->hparams.causal ? -1 : end, separator},
                 .end = in_pieces ? separator : end};
    return QUERN_OK;
}

static void push(quern_token *tokens, size_t *n, quern_token token)
{
    if (token >= 0) tokens[(*n)++] = token;
}

static void push_all(quern_token *tokens, size_t *n, const quern_token *more, size_t n_more)
{
    memcpy(tokens + *n, more, n_more * sizeof *more);
    *n += n_more;
}

static quern_status by_frame(const pair *p, quern_token **tokens, size_t *n_tokens, quern_error *err)
{
    frame f = {0};
    quern_token *query = NULL, *document = NULL;
    size_t n_query = 0, n_document = 0, n_bytes;
    quern_status s = find_frame(p->model, &f, err);
    if (s == QUERN_OK) s = quern_tokenize(p->model, p->query, p->n_query_bytes, 0, &query, &n_query, err);
    if (s == QUERN_OK)
        s = quern_tokenize(p->model, p->document, p->n_document_bytes, 0, &document, &n_document, err);
    if (s == QUERN_OK) {
        const bool ok = qn_add_size(n_query, n_document, &n_bytes) && qn_add_size(n_bytes, 4, &n_bytes) &&
                        qn_mul_size(n_bytes, sizeof **tokens, &n_bytes);
        *tokens = ok ? qn_malloc(n_bytes) : NULL;
        if (*tokens == NULL) s = qn_fail(err, QUERN_ERR_NOMEM, "pair of query and document: no memory");
    }
    if (s == QUERN_OK) {
        push(*tokens, n_tokens, f.begin);
        push_all(*tokens, n_tokens, query, n_query);
        push(*tokens, n_tokens, f.between[0]);
        push(*tokens, n_tokens, f.between[1]);
        push_all(*tokens, n_tokens, document, n_document);
        push(*tokens, n_tokens, f.end);
    }
    qn_free(query), qn_free(document);
    return s;
}

quern_status quern_rank_pair(const quern_model *model, const char *query, size_t n_query_bytes,
                             const char *document, size_t n_document_bytes, quern_token **tokens,
                             size_t *n_tokens, quern_error *err)
{
    const pair p = {model, query, document, n_query_bytes, n_document_bytes};
    qn_string template = {NULL, 0};
    *tokens = NULL, *n_tokens = 0;
    const quern_status s =
        qn_gguf_get_string(&model->gguf, "tokenizer.chat_template.rerank", false, &template, err);
    if (s != QUERN_OK) return s;
    return template.n_bytes > 0 ? by_template(&p, template, tokens, n_tokens, err)
                                : by_frame(&p, tokens, n_tokens, err);
}

/* ---- scores ------------------------------------------------------------------------------------- */

static quern_status make_pairs(const quern_model *model, const char *query, const char *const *documents,
                               size_t n_documents, quern_embed_text *texts, quern_error *err)
{
    quern_status s = QUERN_OK;
    for (size_t i = 0; i < n_documents && s == QUERN_OK; i++) {
        quern_token *tokens;
        s = quern_rank_pair(model, query, strlen(query), documents[i], strlen(documents[i]), &tokens,
                            &texts[i].n_tokens, err);
        texts[i].tokens = tokens;
        if (s != QUERN_OK) qn_fail_prefix(err, "document %zu", i);
    }
    return s;
}

static quern_status embed_pairs(quern_context *ctx, const quern_embed_text *texts, size_t n_texts,
                                bool truncate, float *scores, quern_error *err)
{
    const size_t n_scores = quern_embed_size(quern_context_model(ctx), QUERN_POOLING_RANK, 1);
    quern_embed_params params = quern_embed_params_default();
    params.pooling = QUERN_POOLING_RANK;
    params.truncate = truncate;
    size_t n_all;
    float *all = qn_mul_size(n_scores, n_texts, &n_all) ? qn_calloc(n_all, sizeof *all) : NULL;
    if (all == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "scores of %zu documents: no memory", n_texts);
    const quern_status s = quern_embed(ctx, texts, n_texts, &params, all, n_all, err);
    for (size_t i = 0; i < n_texts && s == QUERN_OK; i++) scores[i] = all[i * n_scores];
    qn_free(all);
    return s;
}

quern_status quern_rerank(quern_context *ctx, const char *query, const char *const *documents,
                          size_t n_documents, bool truncate, float *scores, quern_error *err)
{
    quern_embed_text *texts = qn_calloc(n_documents, sizeof *texts);
    if (texts == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "%zu documents: no memory", n_documents);
    quern_status s = make_pairs(quern_context_model(ctx), query, documents, n_documents, texts, err);
    if (s == QUERN_OK) s = embed_pairs(ctx, texts, n_documents, truncate, scores, err);
    for (size_t i = 0; i < n_documents; i++) quern_free((void *)(uintptr_t)texts[i].tokens);
    qn_free(texts);
    return s;
}
