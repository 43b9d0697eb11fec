/* rerank.c: `quern rerank`: documents in the order in which they answer a query. */
#include "cli/embed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct ranked {
    size_t index;
    float score;
} ranked;

/* Greatest first; what is not a number last; of equals the first. */
static int compare(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score > y->score || (x->score == x->score && y->score != y->score)) return -1;
    if (x->score < y->score || (x->score != x->score && y->score == y->score)) return 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int print_json(const ranked *order, size_t n, const qn_cli_lines *documents)
{
    json_t *results = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *text = json_string(documents->texts[order[i].index]); /* NULL where it is not UTF-8 */
        json_array_append_new(results,
                              json_pack("{s:I, s:o, s:o*}", "index", (json_int_t)order[i].index, "score",
                                        qn_cli_json_real((double)order[i].score), "document", text));
    }
    return qn_cli_print_json(json_pack("{s:o}", "results", results));
}

static int print_lines(const ranked *order, size_t n, const qn_cli_lines *documents)
{
    for (size_t i = 0; i < n; i++)
        printf("%.6f\t%zu\t%s\n", (double)order[i].score, order[i].index, documents->texts[order[i].index]);
    return qn_cli_flush();
}

/* The longest pair decides how large the context must be. 0: message printed. */
static size_t longest_pair(const quern_model *model, const char *query, const qn_cli_lines *documents)
{
    size_t longest = 0;
    quern_error err;
    for (size_t i = 0; i < documents->n; i++) {
        quern_token *tokens;
        size_t n;
        if (quern_rank_pair(model, query, strlen(query), documents->texts[i], strlen(documents->texts[i]),
                            &tokens, &n, &err) != QUERN_OK) {
            qn_cli_fail(&err);
            return 0;
        }
        quern_free(tokens);
        if (n > longest) longest = n;
    }
    return longest;
}

static int run(const quern_model *model, const char *query, const qn_cli_lines *documents,
               const qn_cli_embed_choice *choice, bool truncate, long top, bool as_json)
{
    const size_t longest = longest_pair(model, query, documents);
    quern_context *ctx = longest > 0 ? qn_cli_embed_context(model, choice, longest, documents->n) : NULL;
    float *scores = malloc(documents->n * sizeof *scores);
    ranked *order = malloc(documents->n * sizeof *order);
    int result = QN_EXIT_FAILURE;
    quern_error err;
    if (ctx != NULL && (scores == NULL || order == NULL)) {
        qn_cli_fail_text("%zu documents: no memory", documents->n);
    } else if (ctx != NULL &&
               quern_rerank(ctx, query, documents->texts, documents->n, truncate, scores, &err) != QUERN_OK) {
        qn_cli_fail(&err);
    } else if (ctx != NULL) {
        for (size_t i = 0; i < documents->n; i++) order[i] = (ranked){i, scores[i]};
        qsort(order, documents->n, sizeof *order, compare);
        const size_t n = top > 0 && (size_t)top < documents->n ? (size_t)top : documents->n;
        result = as_json ? print_json(order, n, documents) : print_lines(order, n, documents);
    }
    free(scores), free(order);
    quern_context_destroy(ctx);
    return result;
}

int qn_cli_rerank(int argc, char **argv)
{
    bool as_json = false, truncate = false;
    long top = 0;
    const char *path = NULL;
    qn_cli_embed_choice choice = {0};
    qn_pack_choice pack = {0};
    const qn_option options[] = {
        {"-f, --file", QN_TEXT, &path, 0, 0, "FILE", "a document on each line (-: standard input)"},
        {"-n, --top", QN_INT, &top, 1, 1 << 20, "N", "the best N only"},
        {"--truncate", QN_FLAG, &truncate, 0, 0, NULL, "cut what does not fit, or it is an error"},
        {"-c, --ctx", QN_INT, &choice.n_ctx, 1, 1 << 24, "N",
         "the most tokens of query and document; default: the model's"},
        {"-t, --threads", QN_INT, &choice.n_threads, 0, 256, "N", "threads (changes no bit of the result)"},
        QN_PACK_OPTIONS(&pack),
        {"--json", QN_FLAG, &as_json, 0, 0, NULL, "print JSON"},
    };
    const int code =
        qn_options_parse("rerank", options, sizeof options / sizeof options[0], &argc, argv, 2, 1 << 20);
    if (code >= 0) return code;
    if (argc == 3 && path == NULL) path = "-";
    qn_cli_lines documents;
    if (!qn_cli_lines_read(&documents, argv + 3, (size_t)argc - 3, path)) return QN_EXIT_FAILURE;
    int result = QN_EXIT_FAILURE;
    quern_model *model =
        documents.n > 0 ? qn_cli_open_packed(argv[1], QN_OPEN_FULL, (int)choice.n_threads, &pack) : NULL;
    if (documents.n == 0) qn_cli_fail_text("%s: no documents", path != NULL ? path : "rerank");
    if (model != NULL) result = run(model, argv[2], &documents, &choice, truncate, top, as_json);
    quern_model_close(model);
    qn_cli_lines_free(&documents);
    return result;
}
