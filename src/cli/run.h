/* run.h: what the files of `quern run` share: options, one answer, a conversation, its prompt. */
#ifndef QN_CLI_RUN_H
#define QN_CLI_RUN_H

#include "base/buffer.h"
#include "cli/cli.h"
#include "cli/constraint.h"

/* ---- run_options.c ---- */

typedef struct qn_run_options {
    const char *model, *prompt, *prompt_file, *system, *session;
    bool raw, interactive, report, verbose;
    long n_ctx, n_threads, n_batch, n_gpu_layers;
    qn_pack_choice pack;
    const char *type_k, *type_v;
    long max_tokens; /* -1: until the end */
    qn_texts stops;
    qn_constraint_options constraint;
    const char *tools, *tool_choice;
    quern_grammar *grammar; /* opened by qn_cli_run, or NULL */
    bool ignore_end;
    long seed; /* -1: a random one */
    double temperature, dynatemp_range, dynatemp_exponent, top_p, min_p, typical_p, top_n_sigma,
        xtc_probability, xtc_threshold;
    double repeat_penalty, presence_penalty, frequency_penalty, dry_multiplier, dry_base, mirostat_tau,
        mirostat_eta;
    long top_k, repeat_last_n, dry_allowed_length, dry_penalty_last_n, mirostat;
    const char *samplers;
    const char *reasoning; /* "auto", "show", "hide" */
    qn_texts dry_breakers, logit_bias;
} qn_run_options;

qn_run_options qn_run_options_default(void);
/* Reads the command line: model, prompt and options. -1 to go on, else the exit code. */
int qn_run_options_parse(qn_run_options *o, int argc, char **argv);
/* Sets a parameter of answers by name: what /set does. False: message printed, nothing changed. The value is
 * borrowed where it is a text. */
bool qn_run_options_set(qn_run_options *o, const char *name, const char *value);
/* Whether a parameter's value is this text (the same pointer). */
bool qn_run_options_refer(const qn_run_options *o, const char *text);
/* The parameters of answers and their values, a line each. */
void qn_run_options_print(const qn_run_options *o, FILE *out);
uint64_t qn_run_random_seed(void); /* short enough to be typed again */
/* A sampler for these options, with this seed. NULL: message printed. */
quern_sampler *qn_run_sampler(const qn_run_options *o, const quern_model *model, uint64_t seed);
/* False: message printed. */
bool qn_run_context_params(const qn_run_options *o, quern_context_params *params);

/* ---- run_tools.c ---- */

/* An array from a file, or from the text itself if it begins with '['; json_decref it. NULL: message printed.
 */
json_t *qn_run_read_tools(const char *source);
/* What quern_chat_grammar and quern_chat_parse want to know, as JSON; free it. NULL: message printed. */
char *qn_run_tool_options(const qn_run_options *o, const json_t *tools, const char *prompt);
/* Opens o->grammar. False: message printed. */
bool qn_run_bind_tools(qn_run_options *o, const quern_model *model, const json_t *tools, const char *prompt);

/* ---- answer.c ---- */

typedef struct qn_answer {
    qn_buffer text, reasoning; /* reasoning: where it is told apart */
    quern_generated generated;
    uint64_t seed;
    double load_seconds;
    bool interrupted;
} qn_answer;

typedef struct qn_answer_how {
    bool silent;           /* nothing is printed, the text is only kept */
    bool continues_prompt; /* plain completion */
    bool show_special;     /* control tokens as text: tool calls are marked by them */
    const char *prompt;    /* the rendered conversation of a model that reasons; NULL: it does not */
    bool tells_apart;      /* what is said and what is thought, instead of leaving all as it comes */
} qn_answer_how;

/* Ctrl-C from now on ends answers and not the program; the second one does, if `once`. Returns a file
 * descriptor that can be read after a Ctrl-C, until qn_interrupt_seen is called; -1: there is none. */
int qn_interrupt_install(bool once);
bool qn_interrupt_seen(void); /* since the last call */

/* Generates after a prompt, printing as text comes. answer is initialized by the caller ({0}); deinit its
 * texts. Returns an exit code; messages are printed. */
int qn_answer_generate(qn_answer *answer, quern_context *ctx, const qn_run_options *o,
                       const quern_token *prompt, size_t n_prompt, uint64_t seed, qn_answer_how how);
/* Says so if the answer ended before anything was said. */
void qn_answer_warn_of_reasoning(const qn_answer *answer);
/* Durations, counts and rates on stderr. */
void qn_answer_print_timings(const qn_answer *answer);
/* message: what the answer says, taken; or NULL. */
json_t *qn_answer_json(const qn_answer *answer, const char *model, json_t *message);

/* ---- chat_session.c ---- */

typedef struct qn_chat_session {
    quern_context *ctx;
    const quern_model *model;
    qn_run_options *options;
    json_t *messages; /* a system message first, if there is one */
    size_t
        n_forgotten; /* the oldest ones behind it that the model is no longer shown; they are saved as all are
                      */
    uint64_t seed;   /* of this session; the n-th attempt at an answer uses seed + n */
    unsigned attempt; /* how often the last message has been answered */
    bool said_dropped;
    qn_answer last;
} qn_chat_session;

/* False: message printed. ctx and options must outlive the session. */
bool qn_chat_session_init(qn_chat_session *s, quern_context *ctx, qn_run_options *options,
                          double load_seconds);
void qn_chat_session_deinit(qn_chat_session *s);

/* Renders and tokenizes a conversation with the prompt for an answer at its end; quern_free the tokens.
 * tools: or NULL; prompt: NULL, or receives the rendered text, quern_free it. */
quern_status qn_chat_tokens(const quern_model *model, const json_t *messages, const json_t *tools,
                            quern_token **tokens, size_t *n_tokens, char **prompt, quern_error *err);

/* Adds what the user says and prints the answer. False: message printed; the conversation is as it was. */
bool qn_chat_session_say(qn_chat_session *s, const char *text);
/* Answers the last message again, differently. */
bool qn_chat_session_again(qn_chat_session *s);
void qn_chat_session_clear(qn_chat_session *s);                        /* the system message stays */
bool qn_chat_session_set_system(qn_chat_session *s, const char *text); /* "": none */
const char *qn_chat_session_system(const qn_chat_session *s);          /* NULL: none */
void qn_chat_session_print_stats(const qn_chat_session *s);

/* ---- chat_file.c ---- */

/* False: message printed, and the conversation, or the file, is as it was. */
bool qn_chat_session_save(const qn_chat_session *s, const char *path);
bool qn_chat_session_load(qn_chat_session *s, const char *path);
/* Loads if the file is there; the system message of the options stays. */
bool qn_chat_session_resume(qn_chat_session *s, const char *path);

/* ---- repl.c ---- */

/* Talks until the user leaves. Returns the exit code. */
int qn_repl(qn_chat_session *s, const char *model_name);

#endif
