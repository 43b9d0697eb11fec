/* repl.c: the prompt of an interactive chat: messages, and commands that begin with a slash. */
#include "cli/run.h"

#include "base/alloc.h"
#include "cli/line_input.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct repl {
    qn_chat_session *session;
    qn_line_input *input;
    qn_texts kept; /* values of parameters that are texts live as long as the chat */
    bool leave;
} repl;

typedef struct repl_command {
    const char *name, *arguments, *help;
    void (*run)(repl *r, const char *argument);
} repl_command;

static void run_help(repl *r, const char *argument);

static void run_bye(repl *r, const char *argument)
{
    (void)argument;
    r->leave = true;
}

static void run_clear(repl *r, const char *argument)
{
    (void)argument;
    qn_chat_session_clear(r->session);
    fputs("the conversation is forgotten\n", stderr);
}

static void run_system(repl *r, const char *argument)
{
    const char *now = qn_chat_session_system(r->session);
    if (argument[0] == '\0') fprintf(stderr, "%s\n", now != NULL ? now : "there is no system message");
    else if (qn_chat_session_set_system(r->session, strcmp(argument, "none") == 0 ? "" : argument))
        fputs("the system message is set\n", stderr);
}

/* Takes value. */
static void change_parameter(repl *r, const char *name, char *value)
{
    qn_run_options *options = r->session->options;
    const qn_run_options before = *options;
    bool ok = qn_run_options_set(options, name, value);
    quern_sampler *sampler =
        ok ? qn_run_sampler(options, r->session->model, 0) : NULL; /* says what cannot be */
    ok = sampler != NULL;
    quern_sampler_destroy(sampler);
    const bool refers = ok && qn_run_options_refer(options, value);
    if (refers && r->kept.n_items == QN_MAX_TEXTS)
        ok = !qn_cli_fail_text("/set: more than %d texts in one chat", QN_MAX_TEXTS);
    if (!ok) *options = before;
    if (ok && options->seed != before.seed)
        r->session->seed = options->seed >= 0 ? (uint64_t)options->seed : qn_run_random_seed();
    if (ok && refers) r->kept.items[r->kept.n_items++] = value;
    else qn_free(value);
}

static void run_set(repl *r, const char *argument)
{
    if (strncmp(argument, "parameter ", 10) == 0) argument += 10;
    if (strncmp(argument, "system ", 7) == 0) {
        run_system(r, argument + 7);
        return;
    }
    if (argument[0] == '\0') {
        qn_run_options_print(r->session->options, stderr);
        return;
    }
    char name[64];
    const size_t n = strcspn(argument, " \t=");
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), argument);
    const char *rest = argument + n;
    while (*rest == ' ' || *rest == '\t' || *rest == '=') rest++;
    char *value = qn_strdup(rest);
    if (value != NULL) change_parameter(r, name, value);
}

/* Takes the grammar; NULL: answers are free. */
static void bind_answers(repl *r, quern_grammar *grammar)
{
    qn_run_options *options = r->session->options;
    quern_grammar_destroy(options->grammar);
    options->grammar = grammar;
    fputs(grammar != NULL ? "answers are bound from now on\n" : "answers are free\n", stderr);
}

static void run_format(repl *r, const char *argument)
{
    static const struct {
        const char *word;
        quern_grammar_kind kind;
    } kinds[] = {{"json", QUERN_GRAMMAR_JSON_OBJECT},
                 {"schema", QUERN_GRAMMAR_JSON_SCHEMA},
                 {"grammar", QUERN_GRAMMAR_GBNF},
                 {"regex", QUERN_GRAMMAR_REGEX}};
    const qn_constraint_options *o = &r->session->options->constraint;
    const size_t n = strcspn(argument, " \t");
    const char *source = argument + n + strspn(argument + n, " \t");
    if (n == 0) {
        fputs(r->session->options->grammar != NULL ? "answers are bound\n" : "answers are free\n", stderr);
        return;
    }
    if (strcmp(argument, "none") == 0) {
        bind_answers(r, NULL);
        return;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const bool needs_source = kinds[i].kind != QUERN_GRAMMAR_JSON_OBJECT;
        if (strlen(kinds[i].word) != n || memcmp(kinds[i].word, argument, n) != 0) continue;
        if (needs_source == (source[0] == '\0') || strcmp(source, "-") == 0) break;
        quern_grammar *grammar = qn_cli_open_grammar(kinds[i].kind, source, o->compact, o->open_objects);
        if (grammar != NULL) bind_answers(r, grammar);
        return;
    }
    qn_cli_fail_text("/format: json, schema FILE, grammar FILE, regex PATTERN or none");
}

static void run_save(repl *r, const char *argument)
{
    if (argument[0] == '\0') qn_cli_fail_text("/save: a file is needed: /save FILE");
    else if (qn_chat_session_save(r->session, argument)) fprintf(stderr, "saved to %s\n", argument);
}

static void run_load(repl *r, const char *argument)
{
    if (argument[0] == '\0') qn_cli_fail_text("/load: a file is needed: /load FILE");
    else if (qn_chat_session_load(r->session, argument))
        fprintf(stderr, "%zu messages from %s\n", json_array_size(r->session->messages), argument);
}

static void run_regen(repl *r, const char *argument)
{
    (void)argument;
    qn_chat_session_again(r->session);
}

static void run_stats(repl *r, const char *argument)
{
    (void)argument;
    qn_chat_session_print_stats(r->session);
}

static const repl_command commands[] = {
    {"/help", "", "this text (also /?)", run_help},
    {"/?", "", NULL, run_help},
    {"/clear", "", "forgets the conversation; the system message stays", run_clear},
    {"/system", "[TEXT]", "sets the system message, or shows it (none: removes it)", run_system},
    {"/set", "[PARAMETER VALUE]",
     "changes a parameter (temperature, top_k, seed, stop, ...), or shows them all", run_set},
    {"/format", "[json|schema FILE|...]",
     "binds answers (also grammar FILE, regex PATTERN; none: frees them)", run_format},
    {"/regen", "", "answers the last message again, differently", run_regen},
    {"/save", "FILE", "writes the conversation, and what was computed of it to FILE.state", run_save},
    {"/load", "FILE", "goes on with a saved conversation", run_load},
    {"/stats", "", "context in use, durations and rates of the last answer", run_stats},
    {"/bye", "", "ends the chat (also /exit, Ctrl-D)", run_bye},
    {"/exit", "", NULL, run_bye},
    {"/quit", "", NULL, run_bye},
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static void run_help(repl *r, const char *argument)
{
    (void)r, (void)argument;
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (commands[i].help != NULL)
            fprintf(stderr, "  %-8s %-23s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
    fputs("\n  \"\"\"      begins and ends a message of several lines\n"
          "  Ctrl-C   stops an answer\n",
          stderr);
}

static void run_command(repl *r, const char *line)
{
    const size_t n = strcspn(line, " \t");
    const char *argument = line + n;
    while (*argument == ' ' || *argument == '\t') argument++;
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strlen(commands[i].name) == n && memcmp(commands[i].name, line, n) == 0) {
            commands[i].run(r, argument);
            return;
        }
    qn_cli_fail_text("unknown command '%.*s' (/help lists them)", (int)(n < 60 ? n : 60), line);
}

/* The rest of a message that began with """; false: it was abandoned. */
static bool read_block(repl *r, const char *first, qn_buffer *message)
{
    const char *line = first;
    for (;;) {
        const char *end = strstr(line, "\"\"\"");
        qn_buffer_append(message, line, end != NULL ? (size_t)(end - line) : strlen(line));
        if (end != NULL || message->failed) return !message->failed;
        qn_buffer_putc(message, '\n');
        const qn_line_result got = qn_line_input_read(r->input, "... ", &line);
        if (got == QN_LINE_END) r->leave = true;
        if (got != QN_LINE) return false;
    }
}

static void take_line(repl *r, const char *line)
{
    qn_buffer message = {0};
    while (isspace((unsigned char)*line)) line++;
    if (line[0] == '/') {
        qn_line_input_remember(r->input, line);
        run_command(r, line);
        return;
    }
    bool whole = true;
    if (strncmp(line, "\"\"\"", 3) == 0) whole = read_block(r, line + 3, &message);
    else qn_buffer_puts(&message, line);
    if (whole && message.n_bytes > 0) {
        qn_line_input_remember(r->input, message.data);
        qn_chat_session_say(r->session, message.data);
    }
    qn_buffer_deinit(&message);
}

int qn_repl(qn_chat_session *s, const char *model_name)
{
    repl r = {.session = s, .input = qn_line_input_open(qn_interrupt_install(false))};
    if (r.input == NULL) return qn_cli_fail_text("no memory");
    const bool terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    if (terminal) fprintf(stderr, "%s: type a message, or /help\n", model_name);
    while (!r.leave && !ferror(stdout)) {
        const char *line;
        const qn_line_result got = qn_line_input_read(r.input, ">>> ", &line);
        if (got == QN_LINE) take_line(&r, line);
        else if (got == QN_LINE_INTERRUPTED) fputs("\n(Ctrl-D or /bye ends the chat)\n", stderr);
        else r.leave = true;
        qn_interrupt_seen();
    }
    if (terminal) fputc('\n', stderr);
    qn_line_input_close(r.input);
    for (size_t i = 0; i < r.kept.n_items; i++) qn_free((void *)(uintptr_t)r.kept.items[i]);
    s->options->stops.n_items = 0; /* they pointed there */
    return ferror(stdout) ? QN_EXIT_FAILURE : QN_EXIT_OK;
}
