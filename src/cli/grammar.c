/* grammar.c: `quern grammar`: whether a grammar is sound, which texts belong to it, and what it costs to bind
 * a model to it. */
#include "engine/grammar.h"
#include "base/clock.h"
#include "cli/constraint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct grammar_options {
    bool gbnf, schema, regex, jsonl, compact, closed, as_json, each;
    const char *model;
} grammar_options;

/* ---- line by line ------------------------------------------------------------------------------ */

/* A line that brings its own schema. NULL: *reply says why. */
static quern_grammar *grammar_of_line(const grammar_options *o, const json_t *request, json_t **reply)
{
    const json_t *schema = json_object_get(request, "schema");
    char *text = schema != NULL ? json_dumps(schema, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    quern_grammar_params params = quern_grammar_params_default();
    quern_grammar *grammar = NULL;
    quern_error err = {.message = "'schema' is missing"};
    params.kind = QUERN_GRAMMAR_JSON_SCHEMA;
    params.compact = o->compact;
    params.open_objects = !o->closed;
    params.text = text;
    params.n_bytes = text != NULL ? strlen(text) : 0;
    if (text == NULL || quern_grammar_create(&grammar, &params, &err) != QUERN_OK)
        *reply = qn_cli_error_line(err.message);
    free(text);
    return grammar;
}

typedef struct line_user {
    const grammar_options *options;
    const quern_grammar *grammar; /* NULL: each line has its own schema */
} line_user;

static json_t *answer_line(void *user, const json_t *request)
{
    const line_user *u = user;
    const json_t *text = json_object_get(request, "text");
    json_t *reply = NULL;
    bool matches = false;
    quern_error err;
    if (!json_is_string(text)) return qn_cli_error_line("'text': a string is needed");
    quern_grammar *own = u->grammar == NULL ? grammar_of_line(u->options, request, &reply) : NULL;
    if (reply != NULL) return reply;
    if (quern_grammar_matches(own != NULL ? own : u->grammar, json_string_value(text),
                              json_string_length(text), &matches, &err) != QUERN_OK)
        reply = qn_cli_error_line(err.message);
    else reply = json_pack("{s:b}", "accept", matches);
    quern_grammar_destroy(own);
    return reply;
}

/* ---- cost -------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct mask_times {
    double *us; /* [n] of each token */
    size_t n, n_forced;
    bool accepted;
} mask_times;

/* Follows the tokens of a text, with a mask before each as in generation. */
static quern_status measure_masks(const quern_grammar *grammar, const quern_model *model,
                                  const quern_token *tokens, size_t n_tokens, mask_times *t, quern_error *err)
{
    qn_matcher *m = NULL;
    quern_status s = qn_grammar_borrow(grammar, model, &m, err);
    if (s != QUERN_OK) return s;
    qn_matcher_begin(m, qn_vocab_special_ids(model->vocab)->add_space_prefix);
    t->accepted = true;
    for (size_t i = 0; i <= n_tokens && t->accepted && s == QUERN_OK; i++) {
        const uint64_t start = qn_clock_ns();
        const qn_token_mask *mask = qn_matcher_mask(m);
        t->us[t->n++] = (double)(qn_clock_ns() - start) * 1e-3;
        if (mask == NULL) s = qn_matcher_status(m, err);
        else t->n_forced += mask->only >= 0;
        t->accepted = i < n_tokens ? qn_matcher_accept(m, tokens[i]) : qn_matcher_may_end(m);
    }
    qn_grammar_give_back(grammar, model, m);
    return s;
}

static int print_times(const grammar_options *o, mask_times *t, double compile_ms)
{
    json_t *each = o->each ? json_array() : NULL;
    for (size_t i = 0; i < t->n && each != NULL; i++) json_array_append_new(each, json_real(t->us[i]));
    qsort(t->us, t->n, sizeof *t->us, by_value);
    const double median = t->us[t->n / 2], p99 = t->us[t->n * 99 / 100], most = t->us[t->n - 1];
    if (o->as_json)
        return qn_cli_print_json(json_pack("{s:b, s:f, s:I, s:I, s:f, s:f, s:f, s:o*}", "accept", t->accepted,
                                           "compile_ms", compile_ms, "masks", (json_int_t)t->n, "forced",
                                           (json_int_t)t->n_forced, "mask_us_median", median, "mask_us_p99",
                                           p99, "mask_us_max", most, "mask_us", each));
    json_decref(each);
    printf("compiled in %.2f ms; %zu masks: median %.1f us, 99 of 100 below %.1f us, at most %.1f us;\n"
           "%zu of them allow one token only; the text is %s\n",
           compile_ms, t->n, median, p99, most, t->n_forced, t->accepted ? "accepted" : "rejected");
    return qn_cli_flush();
}

static int measure(const grammar_options *o, const quern_grammar *grammar, const char *text, size_t n_bytes,
                   double compile_ms)
{
    quern_model *model = qn_cli_open(o->model, QN_OPEN_VOCAB, 1);
    if (model == NULL) return QN_EXIT_FAILURE;
    quern_token *tokens = NULL;
    size_t n_tokens = 0;
    quern_error err;
    mask_times t = {0};
    int code = QN_EXIT_FAILURE;
    quern_status s = quern_tokenize(model, text, n_bytes, 0, &tokens, &n_tokens, &err);
    t.us = malloc((n_tokens + 1) * sizeof *t.us);
    if (s == QUERN_OK && t.us != NULL) s = measure_masks(grammar, model, tokens, n_tokens, &t, &err);
    if (t.us == NULL) qn_cli_fail_text("grammar: no memory");
    else code = s == QUERN_OK ? print_times(o, &t, compile_ms) : qn_cli_fail(&err);
    free(t.us);
    quern_free(tokens);
    quern_model_close(model);
    return code;
}

/* ---- for people -------------------------------------------------------------------------------- */

static int check_text(const grammar_options *o, const quern_grammar *grammar, const char *text,
                      size_t n_bytes)
{
    bool matches = false;
    quern_error err;
    if (quern_grammar_matches(grammar, text, n_bytes, &matches, &err) != QUERN_OK) return qn_cli_fail(&err);
    if (o->as_json) return qn_cli_print_json(json_pack("{s:b}", "accept", matches));
    puts(matches ? "accepted" : "rejected");
    const int code = qn_cli_flush();
    return code == QN_EXIT_OK && !matches ? QN_EXIT_FAILURE : code;
}

static int run_with(const grammar_options *o, const quern_grammar *grammar, const char *given,
                    double compile_ms)
{
    size_t n_bytes = given != NULL ? strlen(given) : 0;
    char *read = NULL;
    if (o->jsonl) return qn_cli_each_line("grammar", answer_line, &(line_user){o, grammar});
    if (given == NULL && (read = qn_cli_read_text("-", &n_bytes, NULL)) == NULL) return QN_EXIT_FAILURE;
    const char *text = given != NULL ? given : read;
    while (given == NULL && n_bytes > 0 && text[n_bytes - 1] == '\n')
        n_bytes--; /* as editors and echo leave it */
    const int code = o->model != NULL ? measure(o, grammar, text, n_bytes, compile_ms)
                                      : check_text(o, grammar, text, n_bytes);
    quern_free(read);
    return code;
}

int qn_cli_grammar(int argc, char **argv)
{
    grammar_options o = {0};
    const qn_option options[] = {
        {"--gbnf", QN_FLAG, &o.gbnf, 0, 0, NULL, "SOURCE is a file with a grammar in GBNF"},
        {"--schema", QN_FLAG, &o.schema, 0, 0, NULL,
         "SOURCE is a JSON Schema: a file, or the text in braces"},
        {"--regex", QN_FLAG, &o.regex, 0, 0, NULL, "SOURCE is a regular expression"},
        {"--compact", QN_FLAG, &o.compact, 0, 0, NULL, "JSON without blanks between its parts"},
        {"--closed", QN_FLAG, &o.closed, 0, 0, NULL,
         "objects whose schema names properties have no others, as in `quern run --schema`"},
        {"--model", QN_TEXT, &o.model, 0, 0, "MODEL",
         "measure the masks of this model's tokens along the text"},
        {"--each", QN_FLAG, &o.each, 0, 0, NULL, "with --model and --json: the time of every mask"},
        {"--json", QN_FLAG, &o.as_json, 0, 0, NULL, "print JSON"},
        {"--jsonl", QN_FLAG, &o.jsonl, 0, 0, NULL, "one JSON object a line, in and out"},
    };
    const int parsed =
        qn_options_parse("grammar", options, sizeof options / sizeof options[0], &argc, argv, 0, 2);
    if (parsed >= 0) return parsed;
    if (o.gbnf + o.schema + o.regex != 1)
        return qn_cli_usage(
            "grammar: one of --gbnf, --schema and --regex is needed (see quern grammar --help)");
    const bool own_schemas = o.jsonl && o.schema && argc == 1;
    if (argc < 2 && !own_schemas)
        return qn_cli_usage("grammar: the source is missing (see quern grammar --help)");
    if (o.jsonl && argc > 2) return qn_cli_usage("grammar: with --jsonl the texts come from standard input");
    quern_grammar *grammar = NULL;
    const uint64_t start = qn_clock_ns();
    const quern_grammar_kind kind = o.gbnf     ? QUERN_GRAMMAR_GBNF
                                    : o.schema ? QUERN_GRAMMAR_JSON_SCHEMA
                                               : QUERN_GRAMMAR_REGEX;
    if (!own_schemas && (grammar = qn_cli_open_grammar(kind, argv[1], o.compact, !o.closed)) == NULL)
        return QN_EXIT_FAILURE;
    const double compile_ms = (double)(qn_clock_ns() - start) * 1e-6;
    const int code = run_with(&o, grammar, argc > 2 ? argv[2] : NULL, compile_ms);
    quern_grammar_destroy(grammar);
    return code;
}
