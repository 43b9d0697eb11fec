/* run_options.c: the options of `quern run`, named and defaulted as llama.cpp's. */
#include "cli/run.h"

#include "base/random.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

qn_run_options qn_run_options_default(void)
{
    const quern_sampler_params p = quern_sampler_params_default();
    return (qn_run_options){.n_batch = 512,
                            .type_k = "f16",
                            .type_v = "f16",
                            .max_tokens = -1,
                            .seed = -1,
                            .temperature = 0.8,
                            .dynatemp_exponent = 1,
                            .top_p = 0.95,
                            .min_p = 0.05,
                            .typical_p = 1,
                            .top_n_sigma = -1,
                            .xtc_threshold = 0.1,
                            .repeat_penalty = 1,
                            .reasoning = "auto",
                            .dry_base = 1.75,
                            .mirostat_tau = 5,
                            .mirostat_eta = 0.1,
                            .top_k = p.top_k,
                            .repeat_last_n = p.repeat_last_n,
                            .dry_allowed_length = p.dry_allowed_length,
                            .dry_penalty_last_n = p.dry_penalty_last_n};
}

/* Parameters of answers: what /set can change too. */
/* clang-format off */
#define ANSWER_OPTIONS(o)                                                                                \
    {"-n, --predict, --max-tokens", QN_INT, &(o)->max_tokens, -1, 1 << 30, "N",                          \
     "tokens of an answer at most (0 or -1: until it ends, default)"},                                   \
    {"--stop", QN_TEXTS, &(o)->stops, 0, 0, "TEXT",                                                      \
     "ends the answer before this text; may be repeated"},                                               \
    {"--ignore-eos", QN_FLAG, &(o)->ignore_end, 0, 0, NULL, "never draw a token that ends the answer"},  \
    {"-s, --seed", QN_INT, &(o)->seed, -1, 9.2e18, "N",                                                  \
     "the same seed gives the same answer (-1: a random one, default)"},                                 \
    {"--temp, --temperature", QN_NUMBER, &(o)->temperature, 0, 1000, "X",                                \
     "0 always takes the most probable token (default 0.8)"},                                            \
    {"--top-k", QN_INT, &(o)->top_k, -1, 1 << 30, "N",                                                   \
     "the N most probable tokens (0: all; default 40)"},                                                 \
    {"--top-p", QN_NUMBER, &(o)->top_p, 0, 1, "X",                                                       \
     "the fewest tokens that hold this probability (1: all; default 0.95)"},                             \
    {"--min-p", QN_NUMBER, &(o)->min_p, 0, 1, "X",                                                       \
     "at least this part of the best probability (0: all; default 0.05)"},                               \
    {"--typical, --typical-p", QN_NUMBER, &(o)->typical_p, 0, 1, "X",                                    \
     "locally typical tokens of this probability (1: off)"},                                             \
    {"--top-n-sigma", QN_NUMBER, &(o)->top_n_sigma, -1000, 1000, "X",                                    \
     "within X standard deviations of the best (-1: off)"},                                              \
    {"--xtc-probability", QN_NUMBER, &(o)->xtc_probability, 0, 1, "X",                                   \
     "how often top choices are excluded (0: off)"},                                                     \
    {"--xtc-threshold", QN_NUMBER, &(o)->xtc_threshold, 0, 1, "X",                                       \
     "what counts as a top choice (default 0.1)"},                                                       \
    {"--repeat-penalty", QN_NUMBER, &(o)->repeat_penalty, 0.01, 100, "X",                                \
     "divides logits of tokens that occurred (1: off)"},                                                 \
    {"--repeat-last-n", QN_INT, &(o)->repeat_last_n, -1, 1 << 20, "N",                                   \
     "tokens that penalties look back (-1: all; default 64)"},                                           \
    {"--presence-penalty", QN_NUMBER, &(o)->presence_penalty, -100, 100, "X",                            \
     "taken from logits of tokens that occurred (0: off)"},                                              \
    {"--frequency-penalty", QN_NUMBER, &(o)->frequency_penalty, -100, 100, "X",                          \
     "the same for each occurrence (0: off)"},                                                           \
    {"--dry-multiplier", QN_NUMBER, &(o)->dry_multiplier, 0, 1000, "X",                                  \
     "penalty on prolonging repetitions (0: off)"},                                                      \
    {"--dry-base", QN_NUMBER, &(o)->dry_base, 1, 1000, "X",                                              \
     "how it grows with their length (default 1.75)"},                                                   \
    {"--dry-allowed-length", QN_INT, &(o)->dry_allowed_length, 0, 1 << 20, "N",                          \
     "repetitions this long are free (default 2)"},                                                      \
    {"--dry-penalty-last-n", QN_INT, &(o)->dry_penalty_last_n, -1, 1 << 20, "N",                         \
     "tokens that it looks back (-1: all)"},                                                             \
    {"--dry-sequence-breaker", QN_TEXTS, &(o)->dry_breakers, 0, 0, "TEXT",                               \
     "ends a repetition; may be repeated (none: no text does)"},                                         \
    {"--mirostat", QN_INT, &(o)->mirostat, 0, 2, "N",                                                    \
     "1 or 2: this version of Mirostat in place of the filters (0: off)"},                               \
    {"--mirostat-ent, --mirostat-tau", QN_NUMBER, &(o)->mirostat_tau, 0, 100, "X",                       \
     "the surprise it aims at, in bits (default 5)"},                                                    \
    {"--mirostat-lr, --mirostat-eta", QN_NUMBER, &(o)->mirostat_eta, 0, 1, "X",                          \
     "its learning rate (default 0.1)"},                                                                 \
    {"--dynatemp-range", QN_NUMBER, &(o)->dynatemp_range, 0, 1000, "X",                                  \
     "temperature by entropy, this far around --temp (0: off)"},                                         \
    {"--dynatemp-exp", QN_NUMBER, &(o)->dynatemp_exponent, 0, 100, "X", "its exponent (default 1)"},     \
    {"--samplers", QN_TEXT, &(o)->samplers, 0, 0, "LIST",                                                \
     "order of samplers, separated by semicolons: what is left out is off"},                             \
    {"-l, --logit-bias", QN_TEXTS, &(o)->logit_bias, 0, 0, "ID+BIAS",                                    \
     "changes the logit of a token (ID-inf bans it); may be repeated"},                                  \
    {"--reasoning", QN_TEXT, &(o)->reasoning, 0, 0, "PLACE",                                             \
     "what the model thinks before it answers: show, hide, auto (shown on terminals, default)"},         \
    {"--verbose", QN_FLAG, &(o)->verbose, 0, 0, NULL, "counts, durations, rates and the seed on stderr"}
/* clang-format on */

static int check_reasoning(const char *command, const char *place)
{
    if (strcmp(place, "auto") == 0 || strcmp(place, "show") == 0 || strcmp(place, "hide") == 0) return -1;
    return qn_cli_usage("%s: --reasoning '%.40s': auto, show and hide are possible", command, place);
}

static int from_arguments(qn_run_options *o, int argc, char **argv)
{
    int at = 1;
    if (o->model == NULL && at < argc) o->model = argv[at++];
    if (o->model == NULL)
        return qn_cli_usage("run: too few arguments: quern run MODEL [PROMPT] (see quern run --help)");
    if (at < argc && o->prompt != NULL)
        return qn_cli_usage("run: the prompt is given twice (-p and '%.40s')", argv[at]);
    if (at < argc) o->prompt = argv[at++];
    if (at < argc)
        return qn_cli_usage("run: unexpected argument '%s' (quote a prompt of several words)", argv[at]);
    if (o->raw && o->system != NULL)
        return qn_cli_usage("run: --system has no place in a plain completion (--raw)");
    if (o->raw && o->interactive) return qn_cli_usage("run: --raw and --interactive exclude each other");
    if (o->tools != NULL && (o->raw || o->interactive))
        return qn_cli_usage("run: --tools has no place with --raw or --interactive");
    if (o->tool_choice != NULL && o->tools == NULL) return qn_cli_usage("run: --tool-choice needs --tools");
    if (o->report && o->interactive)
        return qn_cli_usage("run: --report and --interactive exclude each other");
    if (o->session != NULL && (o->raw || o->tools != NULL || o->report))
        return qn_cli_usage("run: --session has no place with --raw, --tools or --report");
    return -1;
}

int qn_run_options_parse(qn_run_options *o, int argc, char **argv)
{
    const qn_option options[] = {
        {"-m, --model", QN_TEXT, &o->model, 0, 0, "MODEL", "the model, in place of the first argument"},
        {"-p, --prompt", QN_TEXT, &o->prompt, 0, 0, "TEXT", "the prompt, in place of the second argument"},
        {"-f, --file", QN_TEXT, &o->prompt_file, 0, 0, "FILE",
         "reads the prompt from a file; what -p and stdin give comes around it"},
        {"-sys, --system, --system-prompt", QN_TEXT, &o->system, 0, 0, "TEXT",
         "system message of the conversation"},
        {"--raw", QN_FLAG, &o->raw, 0, 0, NULL, "plain completion: no chat template"},
        {"-i, --interactive", QN_FLAG, &o->interactive, 0, 0, NULL,
         "chat, also where standard input is no terminal"},
        {"--session", QN_TEXT, &o->session, 0, 0, "FILE",
         "goes on with the conversation in FILE, if there is one, and saves it there at the end; FILE.state "
         "beside it has what was computed"},
        QN_CONSTRAINT_OPTIONS(&o->constraint),
        {"--tools", QN_TEXT, &o->tools, 0, 0, "FILE",
         "tools that the model may call: a JSON array as for the OpenAI API (a file, or the text in "
         "brackets)"},
        {"--tool-choice", QN_TEXT, &o->tool_choice, 0, 0, "NAME",
         "auto (default), required, or the name of the tool that must be called"},
        {"--report", QN_FLAG, &o->report, 0, 0, NULL,
         "print one JSON object: text, message, finish_reason, counts, timings, seed"},
        {"-c, --ctx, --ctx-size", QN_INT, &o->n_ctx, 0, 1 << 30, "N",
         "positions of the context (default: the model's, at most 4096)"},
        {"-t, --threads", QN_INT, &o->n_threads, 0, 256, "N",
         "threads (default: 75 % of the processors, no two on a core)"},
        QN_PACK_OPTIONS(&o->pack),
        {"-b, --batch, --batch-size", QN_INT, &o->n_batch, 1, 65536, "N",
         "tokens of the prompt a step takes in (default 512)"},
        {"-ctk, --cache-type-k", QN_TEXT, &o->type_k, 0, 0, "TYPE",
         "cached keys (default f16): " QN_KV_TYPE_NAMES},
        {"-ctv, --cache-type-v", QN_TEXT, &o->type_v, 0, 0, "TYPE", "cached values (default f16), likewise"},
        {"-ngl, --gpu-layers", QN_INT, &o->n_gpu_layers, -1, 1 << 20, "N",
         "accepted; this build runs every layer on the processor"},
        ANSWER_OPTIONS(o),
    };
    const int code =
        qn_options_parse("run", options, sizeof options / sizeof options[0], &argc, argv, 0, 1 << 20);
    if (code >= 0) return code;
    const int wrong = check_reasoning("run", o->reasoning);
    return wrong >= 0 ? wrong : from_arguments(o, argc, argv);
}

bool qn_run_options_set(qn_run_options *o, const char *name, const char *value)
{
    const qn_option options[] = {ANSWER_OPTIONS(o)};
    if (strcmp(name, "stop") == 0) o->stops.n_items = 0; /* a list of its own here: the last one counts */
    if (strcmp(name, "stop") == 0 && value[0] == '\0') return true;
    return qn_options_set("/set", options, sizeof options / sizeof options[0], name, value) < 0 &&
           check_reasoning("/set", o->reasoning) < 0;
}

static bool refers(const qn_texts *list, const char *text)
{
    for (size_t i = 0; i < list->n_items; i++)
        if (list->items[i] == text) return true;
    return false;
}

bool qn_run_options_refer(const qn_run_options *o, const char *text)
{
    return o->samplers == text || o->reasoning == text || refers(&o->stops, text) ||
           refers(&o->dry_breakers, text) || refers(&o->logit_bias, text);
}

void qn_run_options_print(const qn_run_options *given, FILE *out)
{
    qn_run_options copy = *given;
    const qn_option options[] = {ANSWER_OPTIONS(&copy)};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        const char *name = strstr(options[i].names, "--") + 2;
        char shown[32];
        snprintf(shown, sizeof shown, "%.*s", (int)strcspn(name, ", "), name);
        fprintf(out, "  %-22s ", shown);
        if (options[i].kind == QN_INT) fprintf(out, "%ld\n", *(long *)options[i].value);
        else if (options[i].kind == QN_NUMBER) fprintf(out, "%g\n", *(double *)options[i].value);
        else if (options[i].kind == QN_FLAG)
            fprintf(out, "%s\n", *(bool *)options[i].value ? "true" : "false");
        else if (options[i].kind == QN_TEXT)
            fprintf(out, "%s\n",
                    *(const char **)options[i].value != NULL ? *(const char **)options[i].value : "-");
        else {
            const qn_texts *list = options[i].value;
            for (size_t k = 0; k < list->n_items; k++)
                fprintf(out, "%s'%s'", k > 0 ? " " : "", list->items[k]);
            fputs(list->n_items == 0 ? "-\n" : "\n", out);
        }
    }
}

/* "15043+1.5", "15043-inf" */
static bool read_bias(const char *text, quern_logit_bias *bias)
{
    char *end;
    errno = 0;
    if (text[0] < '0' || text[0] > '9') return false;
    const long id = strtol(text, &end, 10);
    if (errno != 0 || id > INT32_MAX || (*end != '+' && *end != '-')) return false;
    const char *number = end;
    const double value = strtod(number, &end);
    bias->token = (quern_token)id;
    bias->bias = (float)value;
    return end != number && *end == '\0' && !isnan(value) && value < 1e30;
}

static quern_sampler_params sampler_params(const qn_run_options *o, uint64_t seed)
{
    quern_sampler_params p = quern_sampler_params_default();
    p.seed = seed;
    p.temperature = (float)o->temperature, p.dynatemp_range = (float)o->dynatemp_range,
    p.dynatemp_exponent = (float)o->dynatemp_exponent;
    p.top_k = (int32_t)o->top_k, p.top_p = (float)o->top_p, p.min_p = (float)o->min_p,
    p.typical_p = (float)o->typical_p;
    p.top_n_sigma = (float)o->top_n_sigma, p.xtc_probability = (float)o->xtc_probability,
    p.xtc_threshold = (float)o->xtc_threshold;
    p.repeat_penalty = (float)o->repeat_penalty, p.repeat_last_n = (int32_t)o->repeat_last_n;
    p.presence_penalty = (float)o->presence_penalty, p.frequency_penalty = (float)o->frequency_penalty;
    p.dry_multiplier = (float)o->dry_multiplier, p.dry_base = (float)o->dry_base;
    p.dry_allowed_length = (int32_t)o->dry_allowed_length,
    p.dry_penalty_last_n = (int32_t)o->dry_penalty_last_n;
    p.mirostat = (int)o->mirostat, p.mirostat_tau = (float)o->mirostat_tau,
    p.mirostat_eta = (float)o->mirostat_eta;
    p.samplers = o->samplers;
    return p;
}

uint64_t qn_run_random_seed(void)
{
    return qn_random_seed() & UINT32_MAX;
}

quern_sampler *qn_run_sampler(const qn_run_options *o, const quern_model *model, uint64_t seed)
{
    quern_logit_bias bias[QN_MAX_TEXTS];
    quern_sampler_params p = sampler_params(o, seed);
    for (size_t i = 0; i < o->logit_bias.n_items; i++) {
        if (read_bias(o->logit_bias.items[i], &bias[i])) continue;
        qn_cli_fail_text("--logit-bias %s: expected ID+BIAS or ID-BIAS", o->logit_bias.items[i]);
        return NULL;
    }
    p.logit_bias = bias;
    p.n_logit_bias = o->logit_bias.n_items;
    const bool none = o->dry_breakers.n_items == 1 && strcmp(o->dry_breakers.items[0], "none") == 0;
    if (o->dry_breakers.n_items > 0) {
        p.dry_sequence_breakers = o->dry_breakers.items;
        p.n_dry_sequence_breakers = none ? 0 : o->dry_breakers.n_items;
    }
    quern_sampler *sampler;
    quern_error err;
    if (quern_sampler_create(&sampler, model, &p, &err) != QUERN_OK) qn_cli_fail(&err);
    return sampler;
}

bool qn_run_context_params(const qn_run_options *o, quern_context_params *params)
{
    *params = quern_context_params_default();
    params->n_ctx = (uint32_t)o->n_ctx;
    params->n_batch = (uint32_t)o->n_batch;
    params->n_threads = (int)o->n_threads;
    const char *unknown = !qn_cli_kv_type(o->type_k, &params->type_k)   ? o->type_k
                          : !qn_cli_kv_type(o->type_v, &params->type_v) ? o->type_v
                                                                        : NULL;
    if (unknown != NULL) qn_cli_usage("run: cache type '%s' (" QN_KV_TYPE_NAMES " are possible)", unknown);
    return unknown == NULL;
}
