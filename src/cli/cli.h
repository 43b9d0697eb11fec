/* cli.h: what the commands share: options, output, errors. Exit codes: 0 success, 1 failure, 2 wrong
 * usage. Errors are one line on stderr: "quern: what: why (what to do)". */
#ifndef QN_CLI_CLI_H
#define QN_CLI_CLI_H

#include "cli/format.h"
#include "quern.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { QN_EXIT_OK = 0, QN_EXIT_FAILURE = 1, QN_EXIT_USAGE = 2 };

/* One option of a command. `value` points to a variable of the kind's type. */
typedef enum qn_option_kind {
    QN_FLAG,   /* bool: set to true */
    QN_TEXT,   /* const char * */
    QN_INT,    /* long, within [min, max] */
    QN_NUMBER, /* double, within [min, max], finite */
    QN_TEXTS,  /* qn_texts: may be given several times */
} qn_option_kind;

enum { QN_MAX_TEXTS = 64 };
typedef struct qn_texts {
    const char *items[QN_MAX_TEXTS];
    size_t n_items;
} qn_texts;

typedef struct qn_option {
    const char *names; /* "-t, --threads": what may be typed, as the help shows it */
    qn_option_kind kind;
    void *value;
    double min, max;      /* of INT and NUMBER */
    const char *argument; /* "N", NULL for a flag */
    const char *help;
} qn_option;

typedef struct qn_command {
    const char *name;                  /* "bench" */
    const char *arguments;             /* "MODEL [PROMPT]" */
    const char *summary;               /* one line */
    const char *details;               /* paragraphs after the options: examples; or NULL */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
} qn_command;

/* All commands, people's verbs first (commands.c). */
extern const qn_command qn_commands[];
extern const size_t qn_n_commands;
const qn_command *qn_command_find(const char *name);

/* Reads options wherever they stand; "--" ends them; what remains is moved to argv[1..*argc). "--help" prints
 * the help. Returns -1 to go on, else the exit code to return. min_args and max_args count what remains. */
int qn_options_parse(const char *command, const qn_option *options, size_t n_options, int *argc, char **argv,
                     int min_args, int max_args);

/* Sets one option by a name without its dashes ("top_k" is --top-k). -1: done, else an exit code, message
 * printed. */
int qn_options_set(const char *command, const qn_option *options, size_t n_options, const char *name,
                   const char *value);

/* Prints "quern: message" and returns QN_EXIT_FAILURE. */
int qn_cli_fail(const quern_error *err);
__attribute__((format(printf, 1, 2))) int qn_cli_fail_text(const char *format, ...);
__attribute__((format(printf, 1, 2))) int qn_cli_usage(const char *format, ...); /* returns QN_EXIT_USAGE */

/* Prints JSON and a line end; flushes; QN_EXIT_FAILURE with a message if stdout cannot be written. */
int qn_cli_print_json(json_t *value); /* takes the reference */
int qn_cli_flush(void);               /* the same check for text */
json_t *qn_cli_json_real(double x);   /* null where it is no number that JSON has */

/* A model argument (path or a name in the store) to a path owned by the caller (quern_free). Where `may_pull`
 * a catalogued model that is missing is fetched first. On failure prints the message and returns NULL. */
char *qn_cli_model_path(const char *model, bool may_pull);

/* A progress line on stderr, if that is a terminal; rewritten in place at most ten times a second. */
typedef struct qn_progress {
    const char *label;
    uint64_t started_ns, shown_ns;
    bool visible;
} qn_progress;
void qn_progress_update(qn_progress *p, uint64_t done, uint64_t total);
void qn_progress_finish(qn_progress *p); /* erases the line */

/* Opens with progress shown on a terminal; warnings go to stderr. NULL: message printed. */
typedef enum qn_open_how { QN_OPEN_FULL, QN_OPEN_VOCAB, QN_OPEN_HEADER } qn_open_how;
quern_model *qn_cli_open(const char *model, qn_open_how how, int n_threads);

/* The same, with what the user says of packs (quern_pack_mode). */
typedef struct qn_pack_choice {
    const char *mode; /* NULL: as the environment says */
    bool off;
} qn_pack_choice;
#define QN_PACK_OPTIONS(choice)                                                                              \
    {"--pack-cache",                                                                                         \
     QN_TEXT,                                                                                                \
     &(choice)->mode,                                                                                        \
     0,                                                                                                      \
     0,                                                                                                      \
     "MODE",                                                                                                 \
     "packed weights kept on disk: auto, mapped (shared), copied, off"},                                     \
    {                                                                                                        \
        "--no-pack-cache", QN_FLAG, &(choice)->off, 0, 0, NULL, "the same as --pack-cache off"               \
    }
quern_model *qn_cli_open_packed(const char *model, qn_open_how how, int n_threads,
                                const qn_pack_choice *choice);
/* Parameters of a model that warns on stderr and shows how far it is loaded; progress must live as long as
 * they are used. False: message printed. */
bool qn_cli_model_params(quern_model_params *params, int n_threads, const qn_pack_choice *choice,
                         qn_progress *progress);
/* False: there is no such mode; message printed. */
bool qn_cli_pack_mode(const qn_pack_choice *choice, quern_pack_mode *mode);
/* "ready", "none yet (...)" */
const char *qn_cli_pack_state(quern_pack_state state);

/* The whole text of a file ("-": stdin), NUL-terminated, owned by the caller (quern_free). NULL: message
 * printed; if there is no such file, with what may have been meant (NULL: nothing else). */
char *qn_cli_read_text(const char *path, size_t *n_bytes, const char *meant);

/* ---- jsonl.c ---- */

/* A reply to a line's object, which is borrowed; NULL: no memory. */
typedef json_t *qn_answer_line_fn(void *user, const json_t *request);
json_t *qn_cli_error_line(const char *message); /* {"error": message} */
/* Answers each line of standard input with one line, at once and whatever is wrong with it. Returns an exit
 * code; command: its name, for the message. */
int qn_cli_each_line(const char *command, qn_answer_line_fn *answer, void *user);

/* Reads token ids separated by blanks from a file ("-": stdin); owned by the caller (quern_free). */
quern_token *qn_cli_read_ids(const char *path, size_t *n_ids);

/* Cache types by name; one for both, or KEYS/VALUES. */
#define QN_KV_TYPE_NAMES "f16, bf16, f32, q8_0, q4_0"
bool qn_cli_kv_type(const char *name, quern_kv_type *type);
bool qn_cli_kv_types(const char *names, quern_kv_type *type_k, quern_kv_type *type_v);
const char *qn_cli_kv_type_name(quern_kv_type type);

int qn_cli_run(int argc, char **argv);
int qn_cli_pull(int argc, char **argv);
int qn_cli_list(int argc, char **argv);
int qn_cli_show(int argc, char **argv);
int qn_cli_rm(int argc, char **argv);
int qn_cli_bench(int argc, char **argv);
int qn_cli_perplexity(int argc, char **argv);
int qn_cli_verify(int argc, char **argv);
int qn_cli_plan(int argc, char **argv);
int qn_cli_explain(int argc, char **argv);
int qn_cli_embed(int argc, char **argv);
int qn_cli_rerank(int argc, char **argv);
int qn_cli_route(int argc, char **argv);
int qn_cli_serve(int argc, char **argv); /* where it is built in */
int qn_cli_logits(int argc, char **argv);
int qn_cli_tokenize(int argc, char **argv);
int qn_cli_detokenize(int argc, char **argv);
int qn_cli_grammar(int argc, char **argv);
int qn_cli_template(int argc, char **argv);
int qn_cli_parse(int argc, char **argv);

#endif
