/* embed.c: `quern embed`: texts, or token ids, to vectors. */
#include "cli/embed.h"
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    quern_pooling pooling;
} poolings[] = {{"none", QUERN_POOLING_NONE},
                {"mean", QUERN_POOLING_MEAN},
                {"cls", QUERN_POOLING_CLS},
                {"last", QUERN_POOLING_LAST},
                {"rank", QUERN_POOLING_RANK}};

bool qn_cli_pooling(const char *name, quern_pooling *pooling)
{
    for (size_t i = 0; i < sizeof poolings / sizeof poolings[0]; i++)
        if (strcmp(name, poolings[i].name) == 0) {
            *pooling = poolings[i].pooling;
            return true;
        }
    return false;
}

const char *qn_cli_pooling_name(quern_pooling pooling)
{
    for (size_t i = 0; i < sizeof poolings / sizeof poolings[0]; i++)
        if (poolings[i].pooling == pooling) return poolings[i].name;
    return "default";
}

/* ---- texts -------------------------------------------------------------------------------------- */

bool qn_cli_lines_read(qn_cli_lines *lines, char **arguments, size_t n_arguments, const char *path)
{
    size_t n_bytes = 0, n_lines = 0;
    *lines = (qn_cli_lines){0};
    if (path != NULL && (lines->memory = qn_cli_read_text(path, &n_bytes, NULL)) == NULL) return false;
    if (n_bytes > 0 && memchr(lines->memory, '\0', n_bytes) != NULL) {
        qn_cli_fail_text("%s: has a NUL byte, so it is no text", path);
        qn_cli_lines_free(lines);
        return false;
    }
    for (size_t i = 0; i < n_bytes; i++) n_lines += lines->memory[i] == '\n';
    if (n_bytes > 0 && lines->memory[n_bytes - 1] != '\n') n_lines++;
    lines->texts = calloc(n_arguments + n_lines + 1, sizeof *lines->texts);
    if (lines->texts == NULL) {
        qn_cli_fail_text("%zu texts: no memory", n_arguments + n_lines);
        qn_cli_lines_free(lines);
        return false;
    }
    for (size_t i = 0; i < n_arguments; i++) lines->texts[lines->n++] = arguments[i];
    for (char *at = lines->memory; n_lines > 0; n_lines--) {
        char *end = memchr(at, '\n', n_bytes - (size_t)(at - lines->memory));
        if (end == NULL) end = lines->memory + n_bytes;
        const bool last_return = end > at && end[-1] == '\r';
        *end = '\0';
        if (last_return) end[-1] = '\0';
        lines->texts[lines->n++] = at;
        at = end + 1;
    }
    return true;
}

void qn_cli_lines_free(qn_cli_lines *lines)
{
    quern_free(lines->memory);
    free(lines->texts);
    *lines = (qn_cli_lines){0};
}

quern_context *qn_cli_embed_context(const quern_model *model, const qn_cli_embed_choice *choice,
                                    size_t longest, size_t n_texts)
{
    enum { AT_ONCE = 32, HELD = AT_ONCE * 512 }; /* texts in a step, if they are short; positions held */
    quern_model_info info;
    quern_model_get_info(model, &info);
    quern_context_params params = quern_context_params_default();
    const size_t most = choice->n_ctx > 0 ? (size_t)choice->n_ctx : info.n_ctx_train;
    params.n_ctx = (uint32_t)(longest < 1 ? 1 : longest < most ? longest : most);
    params.n_sequences = n_texts < AT_ONCE ? n_texts < 1 ? 1 : (uint32_t)n_texts : AT_ONCE;
    if (info.generates) /* it has room for each text at its full length; texts seen both ways have not */
        while (params.n_sequences > 1 && (uint64_t)params.n_sequences * params.n_ctx > HELD)
            params.n_sequences--;
    params.n_threads = (int)choice->n_threads;
    params.type_k = choice->type_k, params.type_v = choice->type_v;
    quern_error err;
    quern_context *ctx;
    if (quern_context_create(&ctx, model, &params, &err) == QUERN_OK) return ctx;
    qn_cli_fail(&err);
    return NULL;
}

/* ---- one command -------------------------------------------------------------------------------- */

typedef struct embed_command {
    qn_cli_embed_choice choice;
    const char *ids_path, *out_path, *file_path;
    bool as_json;
    quern_embed_params params;
    const quern_model *model;
    size_t n_texts;
    quern_embed_text *texts; /* tokens are ours */
    float *vectors;
    size_t n_values;
} embed_command;

static bool tokenize_all(embed_command *c, const qn_cli_lines *lines)
{
    quern_error err;
    for (size_t i = 0; i < lines->n; i++) {
        quern_token *tokens;
        if (quern_tokenize(c->model, lines->texts[i], strlen(lines->texts[i]), QUERN_TOKENIZE_ADD_SPECIAL,
                           &tokens, &c->texts[i].n_tokens, &err) != QUERN_OK) {
            qn_cli_fail(&err);
            return false;
        }
        c->texts[i].tokens = tokens;
        c->n_texts++;
    }
    return true;
}

/* What is to be embedded: one text of ids, or texts from arguments and lines. */
static bool read_texts(embed_command *c, char **arguments, size_t n_arguments)
{
    qn_cli_lines lines = {0};
    if (c->ids_path == NULL && !qn_cli_lines_read(&lines, arguments, n_arguments, c->file_path)) return false;
    c->texts = calloc(c->ids_path != NULL ? 1 : lines.n + 1, sizeof *c->texts);
    bool ok = c->texts != NULL;
    if (!ok) qn_cli_fail_text("texts: no memory");
    if (ok && c->ids_path != NULL) {
        c->texts[0].tokens = qn_cli_read_ids(c->ids_path, &c->texts[0].n_tokens);
        ok = c->texts[0].tokens != NULL;
        c->n_texts = ok;
    } else if (ok) {
        ok = tokenize_all(c, &lines);
    }
    if (ok && c->n_texts == 0) {
        qn_cli_fail_text("%s: no texts", c->file_path != NULL ? c->file_path : "embed");
        ok = false;
    }
    qn_cli_lines_free(&lines);
    return ok;
}

static size_t longest_of(const embed_command *c)
{
    size_t longest = 0;
    for (size_t i = 0; i < c->n_texts; i++)
        if (c->texts[i].n_tokens > longest) longest = c->texts[i].n_tokens;
    return longest;
}

/* Tokens of text i that a context of n_ctx positions takes. */
static size_t tokens_taken(const embed_command *c, size_t i, size_t n_ctx)
{
    return c->texts[i].n_tokens < n_ctx ? c->texts[i].n_tokens : n_ctx;
}

static bool compute(embed_command *c, quern_context *ctx)
{
    quern_error err;
    for (size_t i = 0; i < c->n_texts; i++)
        c->n_values +=
            quern_embed_size(c->model, c->params.pooling, tokens_taken(c, i, quern_context_size(ctx)));
    c->vectors = malloc((c->n_values + 1) * sizeof *c->vectors);
    if (c->vectors == NULL) {
        qn_cli_fail_text("%zu values: no memory", c->n_values);
        return false;
    }
    if (quern_embed(ctx, c->texts, c->n_texts, &c->params, c->vectors, c->n_values, &err) == QUERN_OK)
        return true;
    qn_cli_fail(&err);
    return false;
}

static int write_file(const embed_command *c)
{
    FILE *out = fopen(c->out_path, "wb");
    bool ok = out != NULL && fwrite(c->vectors, sizeof *c->vectors, c->n_values, out) == c->n_values;
    if (out != NULL && fclose(out) != 0) ok = false;
    return ok ? QN_EXIT_OK : qn_cli_fail_text("%s: %s", c->out_path, strerror(errno));
}

static json_t *vector_to_json(const float *x, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(array, qn_cli_json_real((double)x[i]));
    return array;
}

/* A text's vector, or all of its tokens', under "embedding". */
static int print_json(const embed_command *c, size_t n_ctx, size_t width, quern_pooling pooling)
{
    json_t *texts = json_array();
    const float *x = c->vectors;
    for (size_t i = 0; i < c->n_texts; i++) {
        const size_t n = quern_embed_size(c->model, pooling, tokens_taken(c, i, n_ctx)) / width;
        json_t *vectors = json_array();
        for (size_t k = 0; k < n; k++, x += width) json_array_append_new(vectors, vector_to_json(x, width));
        json_t *value = n == 1 && pooling != QUERN_POOLING_NONE ? json_incref(json_array_get(vectors, 0))
                                                                : json_incref(vectors);
        json_decref(vectors);
        json_array_append_new(texts, json_pack("{s:i, s:I, s:o}", "index", (int)i, "tokens",
                                               (json_int_t)tokens_taken(c, i, n_ctx), "embedding", value));
    }
    return qn_cli_print_json(json_pack("{s:s, s:b, s:I, s:o}", "pooling", qn_cli_pooling_name(pooling),
                                       "normalized", c->params.normalize, "width", (json_int_t)width,
                                       "embeddings", texts));
}

static int print_lines(const embed_command *c, size_t width)
{
    for (size_t i = 0; i < c->n_values; i++)
        printf("%.9g%c", (double)c->vectors[i], (i + 1) % width == 0 ? '\n' : ' ');
    return qn_cli_flush();
}

static int run(embed_command *c, char **arguments, size_t n_arguments)
{
    if (!read_texts(c, arguments, n_arguments)) return QN_EXIT_FAILURE;
    quern_context *ctx = qn_cli_embed_context(c->model, &c->choice, longest_of(c), c->n_texts);
    if (ctx == NULL) return QN_EXIT_FAILURE;
    int result = QN_EXIT_FAILURE;
    if (compute(c, ctx)) {
        quern_model_info info;
        quern_model_get_info(c->model, &info);
        const quern_pooling pooling =
            c->params.pooling != QUERN_POOLING_DEFAULT ? c->params.pooling : info.pooling;
        const size_t width = pooling == QUERN_POOLING_RANK ? info.n_scores : info.n_embd;
        if (c->out_path != NULL) result = write_file(c);
        else if (c->as_json) result = print_json(c, quern_context_size(ctx), width, pooling);
        else result = print_lines(c, width);
    }
    quern_context_destroy(ctx);
    return result;
}

/* -1: go on, else an exit code. */
static int check_usage(const embed_command *c, const char *pooling_name, const char *kv_name, size_t n_texts)
{
    quern_pooling pooling;
    quern_kv_type type_k, type_v;
    if (pooling_name != NULL && !qn_cli_pooling(pooling_name, &pooling))
        return qn_cli_usage("embed: pooling '%s' (none, mean, cls, last, rank are possible)", pooling_name);
    if (!qn_cli_kv_types(kv_name, &type_k, &type_v))
        return qn_cli_usage("embed: cache type '%s' (" QN_KV_TYPE_NAMES " are possible, or KEYS/VALUES)",
                            kv_name);
    if (c->ids_path != NULL && (n_texts > 0 || c->file_path != NULL))
        return qn_cli_usage("embed: --ids is a text of its own, without others");
    if (c->out_path != NULL && c->as_json) return qn_cli_usage("embed: --out or --json");
    return -1;
}

int qn_cli_embed(int argc, char **argv)
{
    embed_command c = {.params = quern_embed_params_default()};
    const char *pooling_name = NULL, *kv_name = "f16";
    qn_pack_choice pack = {0};
    const qn_option options[] = {
        {"-f, --file", QN_TEXT, &c.file_path, 0, 0, "FILE", "a text on each line (-: standard input)"},
        {"--ids", QN_TEXT, &c.ids_path, 0, 0, "FILE",
         "a text as token ids separated by blanks (-: standard input)"},
        {"--out", QN_TEXT, &c.out_path, 0, 0, "FILE", "where to write raw little-endian float32"},
        {"--pooling", QN_TEXT, &pooling_name, 0, 0, "NAME",
         "none (a vector for each token), mean, cls, last, rank; default: the model's"},
        {"--normalize", QN_FLAG, &c.params.normalize, 0, 0, NULL, "vectors of length 1"},
        {"--truncate", QN_FLAG, &c.params.truncate, 0, 0, NULL, "cut what does not fit, or it is an error"},
        {"-c, --ctx", QN_INT, &c.choice.n_ctx, 1, 1 << 24, "N",
         "the most tokens of a text; default: the model's"},
        {"-t, --threads", QN_INT, &c.choice.n_threads, 0, 256, "N", "threads (changes no bit of the result)"},
        {"-ctk, --cache-type", QN_TEXT, &kv_name, 0, 0, "TYPE",
         "keys and values: " QN_KV_TYPE_NAMES ", or KEYS/VALUES"},
        QN_PACK_OPTIONS(&pack),
        {"--json", QN_FLAG, &c.as_json, 0, 0, NULL, "print JSON"},
    };
    int code =
        qn_options_parse("embed", options, sizeof options / sizeof options[0], &argc, argv, 1, 1 << 20);
    if (code < 0) code = check_usage(&c, pooling_name, kv_name, (size_t)argc - 2);
    if (code >= 0) return code;
    if (pooling_name != NULL) qn_cli_pooling(pooling_name, &c.params.pooling);
    qn_cli_kv_types(kv_name, &c.choice.type_k, &c.choice.type_v);
    if (argc == 2 && c.file_path == NULL && c.ids_path == NULL) c.file_path = "-";
    quern_model *model = qn_cli_open_packed(argv[1], QN_OPEN_FULL, (int)c.choice.n_threads, &pack);
    c.model = model;
    code = model != NULL ? run(&c, argv + 2, (size_t)argc - 2) : QN_EXIT_FAILURE;
    for (size_t i = 0; i < c.n_texts; i++) quern_free((void *)(uintptr_t)c.texts[i].tokens);
    free(c.texts);
    free(c.vectors);
    quern_model_close(model);
    return code;
}
