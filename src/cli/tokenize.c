/* tokenize.c: `quern tokenize` and `quern detokenize`, for people and line by line for programs. */
#include "cli/cli.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *ids_to_json(const quern_token *ids, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(array, json_integer(ids[i]));
    return array;
}

static json_t *tokenize_line(void *user, const json_t *request)
{
    const quern_model *model = user;
    const json_t *text = json_object_get(request, "text");
    if (!json_is_string(text)) return qn_cli_error_line("'text': a string is needed");
    unsigned flags = 0;
    if (json_is_true(json_object_get(request, "add_special"))) flags |= QUERN_TOKENIZE_ADD_SPECIAL;
    if (json_is_true(json_object_get(request, "parse_special"))) flags |= QUERN_TOKENIZE_PARSE_SPECIAL;
    quern_token *ids;
    size_t n;
    quern_error err;
    if (quern_tokenize(model, json_string_value(text), json_string_length(text), flags, &ids, &n, &err) !=
        QUERN_OK)
        return qn_cli_error_line(err.message);
    json_t *reply = json_pack("{s:o}", "ids", ids_to_json(ids, n));
    quern_free(ids);
    return reply;
}

static json_t *detokenize_line(void *user, const json_t *request)
{
    const quern_model *model = user;
    const json_t *ids = json_object_get(request, "ids"), *show = json_object_get(request, "unparse_special");
    if (!json_is_array(ids)) return qn_cli_error_line("'ids': an array is needed");
    const size_t n = json_array_size(ids);
    quern_token *tokens = malloc((n + 1) * sizeof *tokens);
    if (tokens == NULL) return qn_cli_error_line("no memory");
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(ids, i);
        const json_int_t value = json_integer_value(id);
        tokens[i] = json_is_integer(id) && value >= 0 && value <= INT32_MAX ? (quern_token)value : -1;
    }
    char *text;
    size_t n_bytes;
    quern_error err;
    const quern_status s =
        quern_detokenize(model, tokens, n, json_is_true(json_object_get(request, "remove_special")),
                         show == NULL || json_is_true(show), &text, &n_bytes, &err);
    free(tokens);
    if (s != QUERN_OK) return qn_cli_error_line(err.message);
    json_t *string = json_stringn(text, n_bytes); /* NULL where the bytes are not UTF-8 */
    json_t *reply = string != NULL ? json_pack("{s:o}", "text", string) : NULL;
    if (reply == NULL) { /* bytes that are no text are given in hexadecimal */
        char *hex = malloc(2 * n_bytes + 1);
        for (size_t i = 0; hex != NULL && i < n_bytes; i++)
            snprintf(hex + 2 * i, 3, "%02x", (unsigned char)text[i]);
        reply = hex != NULL ? json_pack("{s:s}", "text_hex", hex) : NULL;
        free(hex);
    }
    quern_free(text);
    return reply;
}

static int print_tokens(const quern_model *model, const char *text, size_t n_bytes, unsigned flags,
                        bool as_json)
{
    quern_token *ids;
    size_t n;
    quern_error err;
    if (quern_tokenize(model, text, n_bytes, flags, &ids, &n, &err) != QUERN_OK) return qn_cli_fail(&err);
    if (as_json) {
        json_t *reply = json_pack("{s:o, s:I}", "ids", ids_to_json(ids, n), "count", (json_int_t)n);
        quern_free(ids);
        return qn_cli_print_json(reply);
    }
    for (size_t i = 0; i < n; i++) printf("%d%c", ids[i], i + 1 < n ? ' ' : '\n');
    quern_free(ids);
    return qn_cli_flush();
}

/* The best of several runs, for a second or so. */
static int print_speed(const quern_model *model, const char *text, size_t n_bytes, unsigned flags,
                       bool as_json)
{
    enum { LEAST_RUNS = 5, ENOUGH_NS = 1000000000 };
    uint64_t best_ns = UINT64_MAX, total_ns = 0;
    size_t n = 0;
    int n_runs = 0;
    for (; n_runs < LEAST_RUNS || total_ns < ENOUGH_NS; n_runs++) {
        quern_token *ids;
        quern_error err;
        const uint64_t start = qn_clock_ns();
        if (quern_tokenize(model, text, n_bytes, flags, &ids, &n, &err) != QUERN_OK) return qn_cli_fail(&err);
        const uint64_t ns = qn_clock_ns() - start;
        quern_free(ids);
        total_ns += ns;
        if (ns < best_ns) best_ns = ns;
    }
    const double seconds = (double)(best_ns > 0 ? best_ns : 1) * 1e-9;
    if (as_json)
        return qn_cli_print_json(json_pack("{s:I, s:I, s:f, s:f, s:i}", "bytes", (json_int_t)n_bytes, "count",
                                           (json_int_t)n, "seconds", seconds, "bytes_per_second",
                                           (double)n_bytes / seconds, "runs", n_runs));
    printf("%zu bytes, %zu tokens, best of %d runs: %.6f s, %.1f MB/s\n", n_bytes, n, n_runs, seconds,
           (double)n_bytes / seconds * 1e-6);
    return qn_cli_flush();
}

int qn_cli_tokenize(int argc, char **argv)
{
    bool jsonl = false, as_json = false, no_special = false, plain = false, timed = false;
    const qn_option options[] = {
        {"--jsonl", QN_FLAG, &jsonl, 0, 0, NULL, "one JSON object a line, in and out"},
        {"--json", QN_FLAG, &as_json, 0, 0, NULL, "print JSON"},
        {"--no-bos", QN_FLAG, &no_special, 0, 0, NULL, "do not add begin and end tokens"},
        {"--time", QN_FLAG, &timed, 0, 0, NULL, "print how fast it is instead of the tokens"},
        {"--no-parse-special", QN_FLAG, &plain, 0, 0, NULL, "treat text such as <|im_start|> as plain text"},
    };
    const int code =
        qn_options_parse("tokenize", options, sizeof options / sizeof options[0], &argc, argv, 1, 2);
    if (code >= 0) return code;
    quern_model *model = qn_cli_open(argv[1], QN_OPEN_VOCAB, 1);
    if (model == NULL) return QN_EXIT_FAILURE;
    int result = QN_EXIT_FAILURE;
    if (jsonl) {
        result = qn_cli_each_line("tokenize", tokenize_line, model);
    } else {
        size_t n_bytes = argc > 2 ? strlen(argv[2]) : 0;
        char *text = argc > 2 ? argv[2] : qn_cli_read_text("-", &n_bytes, NULL);
        const unsigned flags = (no_special ? 0u : (unsigned)QUERN_TOKENIZE_ADD_SPECIAL) |
                               (plain ? 0u : (unsigned)QUERN_TOKENIZE_PARSE_SPECIAL);
        if (text != NULL) result = (timed ? print_speed : print_tokens)(model, text, n_bytes, flags, as_json);
        if (argc <= 2) quern_free(text);
    }
    quern_model_close(model);
    return result;
}

/* Ids from the command line. */
static int print_text(const quern_model *model, int n_args, char **args)
{
    quern_token *ids = calloc((size_t)n_args + 1, sizeof *ids);
    if (ids == NULL) return qn_cli_fail_text("no memory");
    for (int i = 0; i < n_args; i++) {
        char *end;
        const long id = strtol(args[i], &end, 10);
        if (*end != '\0' || end == args[i] || id < 0 || id > INT32_MAX) {
            free(ids);
            return qn_cli_usage("detokenize: '%s' is not a token id", args[i]);
        }
        ids[i] = (quern_token)id;
    }
    char *text;
    size_t n_bytes;
    quern_error err;
    const quern_status s = quern_detokenize(model, ids, (size_t)n_args, false, true, &text, &n_bytes, &err);
    free(ids);
    if (s != QUERN_OK) return qn_cli_fail(&err);
    fwrite(text, 1, n_bytes, stdout);
    putchar('\n');
    quern_free(text);
    return qn_cli_flush();
}

int qn_cli_detokenize(int argc, char **argv)
{
    bool jsonl = false;
    const qn_option options[] = {
        {"--jsonl", QN_FLAG, &jsonl, 0, 0, NULL, "one JSON object a line, in and out"}};
    const int code = qn_options_parse("detokenize", options, 1, &argc, argv, 1, 1 << 20);
    if (code >= 0) return code;
    if (!jsonl && argc < 3)
        return qn_cli_usage("detokenize: ids or --jsonl are needed (see quern detokenize --help)");
    quern_model *model = qn_cli_open(argv[1], QN_OPEN_VOCAB, 1);
    if (model == NULL) return QN_EXIT_FAILURE;
    const int result = jsonl ? qn_cli_each_line("detokenize", detokenize_line, model)
                             : print_text(model, argc - 2, argv + 2);
    quern_model_close(model);
    return result;
}
