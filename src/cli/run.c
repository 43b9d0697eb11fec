/* run.c: `quern run`: answers one prompt, or chats where none is given. */
#include "cli/run.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_INTERRUPTED = 130 }; /* 128 + SIGINT, as shells count */

/* Whether standard input holds a part of the prompt: a pipe or a file does, a terminal or /dev/null does not.
 */
static bool stdin_has_text(void)
{
    struct stat st;
    return fstat(STDIN_FILENO, &st) == 0 &&
           (S_ISFIFO(st.st_mode) || S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode));
}

/* Appends the text of a file ("-": standard input) after a blank line. */
static bool append_file(qn_buffer *prompt, const char *path)
{
    size_t n_bytes;
    char *text = qn_cli_read_text(path, &n_bytes, NULL);
    if (text == NULL) return false;
    while (n_bytes > 0 && (text[n_bytes - 1] == '\n' || text[n_bytes - 1] == '\r')) n_bytes--;
    if (n_bytes > 0 && prompt->n_bytes > 0) qn_buffer_puts(prompt, "\n\n");
    qn_buffer_append(prompt, text, n_bytes);
    quern_free(text);
    return true;
}

/* False: message printed. */
static bool gather_prompt(const qn_run_options *o, qn_buffer *prompt)
{
    if (o->prompt != NULL) qn_buffer_puts(prompt, o->prompt);
    if (o->prompt_file != NULL && !append_file(prompt, o->prompt_file)) return false;
    if (stdin_has_text() && (o->prompt_file == NULL || strcmp(o->prompt_file, "-") != 0) &&
        !append_file(prompt, "-"))
        return false;
    if (prompt->failed) return qn_cli_fail_text("the prompt: no memory"), false;
    return true;
}

static quern_status plain_tokens(const quern_model *model, const qn_buffer *prompt, quern_token **tokens,
                                 size_t *n_tokens, quern_error *err)
{
    return quern_tokenize(model, prompt->data != NULL ? prompt->data : "", prompt->n_bytes,
                          QUERN_TOKENIZE_ADD_SPECIAL | QUERN_TOKENIZE_PARSE_SPECIAL, tokens, n_tokens, err);
}

typedef struct question {
    quern_token *tokens; /* [n_tokens] */
    size_t n_tokens;
    json_t *tools; /* or NULL */
    char *prompt;  /* the rendered conversation; NULL for plain completion */
} question;

static quern_status chat_tokens(const quern_model *model, const qn_run_options *o, const qn_buffer *prompt,
                                question *q, quern_error *err)
{
    json_t *messages = json_array();
    const bool is_text = memchr(prompt->data, '\0', prompt->n_bytes) == NULL;
    json_t *text = is_text ? json_stringn(prompt->data, prompt->n_bytes) : NULL;
    if (text == NULL)
        snprintf(err->message, sizeof err->message, "the prompt is not UTF-8 text (--raw takes any bytes)");
    if (o->system != NULL)
        json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "system", "content", o->system));
    json_array_append_new(messages, json_pack("{s:s, s:o}", "role", "user", "content", text));
    quern_status s =
        text != NULL ? qn_chat_tokens(model, messages, q->tools, &q->tokens, &q->n_tokens, &q->prompt, err)
                     : QUERN_ERR_ARGUMENT;
    json_decref(messages);
    return s;
}

static int print_result(const qn_run_options *o, const qn_answer *answer, const question *q,
                        quern_context *ctx)
{
    json_t *message = NULL;
    int code = QN_EXIT_OK;
    if (o->report && q->prompt != NULL) {
        char *options = qn_run_tool_options(o, q->tools, q->prompt), *json = NULL;
        quern_error err;
        if (options == NULL) return QN_EXIT_FAILURE;
        if (quern_chat_parse(quern_context_model(ctx), answer->text.data, answer->text.n_bytes, options,
                             &json, &err) == QUERN_OK)
            message = json_loads(json, 0, NULL);
        quern_free(json);
        free(options);
    }
    if (o->report) code = qn_cli_print_json(qn_answer_json(answer, o->model, message));
    if (o->verbose) qn_answer_print_timings(answer);
    if (answer->generated.finish == QUERN_FINISH_CONTEXT)
        fprintf(stderr,
                "quern: the context of %u positions is full: the answer ends here (use a larger -c)\n",
                quern_context_size(ctx));
    qn_answer_warn_of_reasoning(answer);
    if (code == QN_EXIT_OK && answer->interrupted) code = EXIT_INTERRUPTED;
    return code;
}

static void free_question(question *q)
{
    json_decref(q->tools);
    quern_free(q->prompt);
    quern_free(q->tokens);
}

/* Tokens of the prompt; false: message printed, *code set. */
static bool make_question(qn_run_options *o, const quern_model *model, const qn_buffer *prompt, bool plain,
                          question *q, int *code)
{
    quern_error err = {0};
    *code = QN_EXIT_FAILURE;
    if (o->tools != NULL && (q->tools = qn_run_read_tools(o->tools)) == NULL) return false;
    const quern_status s = plain ? plain_tokens(model, prompt, &q->tokens, &q->n_tokens, &err)
                                 : chat_tokens(model, o, prompt, q, &err);
    if (s == QUERN_ERR_TEMPLATE || s == QUERN_ERR_UNSUPPORTED)
        qn_cli_fail_text("%s (--raw completes without the template)", err.message);
    else if (s != QUERN_OK) qn_cli_fail(&err);
    return s == QUERN_OK && (q->tools == NULL || qn_run_bind_tools(o, model, q->tools, q->prompt));
}

static int one_shot(qn_run_options *o, quern_context *ctx, const qn_buffer *prompt, uint64_t seed,
                    double load_seconds)
{
    const quern_model *model = quern_context_model(ctx);
    quern_model_info info;
    quern_model_get_info(model, &info);
    const bool plain = o->raw || !info.has_chat_template;
    const bool reasons = info.reasons && !plain && o->tools == NULL;
    question q = {0};
    int code;
    if (plain && (o->system != NULL || o->tools != NULL))
        return qn_cli_fail_text("%s: has no chat template, so %s has no place", o->model,
                                o->system != NULL ? "--system" : "--tools");
    if (!plain && prompt->n_bytes == 0) return qn_cli_usage("run: the prompt is empty");
    if (make_question(o, model, prompt, plain, &q, &code)) {
        qn_answer answer = {.load_seconds = load_seconds};
        qn_interrupt_install(true);
        code = qn_answer_generate(&answer, ctx, o, q.tokens, q.n_tokens, seed,
                                  (qn_answer_how){.silent = o->report,
                                                  .continues_prompt = plain,
                                                  .show_special = q.tools != NULL,
                                                  .prompt = reasons ? q.prompt : NULL,
                                                  .tells_apart = !o->report});
        if (code == QN_EXIT_OK) code = print_result(o, &answer, &q, ctx);
        qn_buffer_deinit(&answer.text);
        qn_buffer_deinit(&answer.reasoning);
    }
    free_question(&q);
    return code;
}

/* One question and its answer within a conversation. */
static int say_once(qn_chat_session *session, const qn_buffer *prompt)
{
    if (prompt->n_bytes == 0) return qn_cli_usage("run: the prompt is empty");
    if (memchr(prompt->data, '\0', prompt->n_bytes) != NULL)
        return qn_cli_fail_text("the prompt is not UTF-8 text");
    qn_interrupt_install(true);
    if (!qn_chat_session_say(session, prompt->data)) return QN_EXIT_FAILURE;
    return session->last.interrupted ? EXIT_INTERRUPTED : QN_EXIT_OK;
}

/* prompt: NULL to talk until the user leaves. */
static int chat(qn_run_options *o, quern_context *ctx, const qn_buffer *prompt, uint64_t seed,
                double load_seconds)
{
    qn_chat_session session;
    int code = QN_EXIT_FAILURE;
    if (!qn_chat_session_init(&session, ctx, o, load_seconds)) return QN_EXIT_FAILURE;
    session.seed = seed;
    if (o->session == NULL || qn_chat_session_resume(&session, o->session)) {
        json_t *before = json_deep_copy(session.messages);
        code = prompt == NULL ? qn_repl(&session, o->model) : say_once(&session, prompt);
        const bool has_changed = before == NULL || !json_equal(before, session.messages);
        json_decref(before);
        if (o->session != NULL && has_changed && !qn_chat_session_save(&session, o->session))
            code = QN_EXIT_FAILURE;
    }
    qn_chat_session_deinit(&session);
    return code;
}

static void warn_of_length(const quern_model *model, const quern_context *ctx)
{
    quern_model_info info;
    quern_model_get_info(model, &info);
    if (quern_context_size(ctx) > info.n_ctx_train)
        fprintf(
            stderr,
            "quern: warning: the model was trained for a context of %u, not %u: answers beyond may be bad\n",
            info.n_ctx_train, quern_context_size(ctx));
}

static int run_model(qn_run_options *o, const qn_buffer *prompt, bool interactive)
{
    const uint64_t start = qn_clock_ns();
    quern_context_params params;
    if (!qn_run_context_params(o, &params)) return QN_EXIT_USAGE;
    quern_model *model = qn_cli_open_packed(o->model, QN_OPEN_FULL, (int)o->n_threads, &o->pack);
    if (model == NULL) return QN_EXIT_FAILURE;
    quern_context *ctx;
    quern_error err;
    int code = QN_EXIT_FAILURE;
    if (quern_context_create(&ctx, model, &params, &err) != QUERN_OK) {
        qn_cli_fail(&err);
    } else {
        const uint64_t seed = o->seed >= 0 ? (uint64_t)o->seed : qn_run_random_seed();
        const double load_seconds = (double)(qn_clock_ns() - start) * 1e-9;
        warn_of_length(model, ctx);
        if (interactive) code = chat(o, ctx, NULL, seed, load_seconds);
        else if (o->session != NULL) code = chat(o, ctx, prompt, seed, load_seconds);
        else code = one_shot(o, ctx, prompt, seed, load_seconds);
    }
    quern_context_destroy(ctx);
    quern_model_close(model);
    return code;
}

int qn_cli_run(int argc, char **argv)
{
    qn_run_options o = qn_run_options_default();
    int code = qn_run_options_parse(&o, argc, argv);
    if (code >= 0) return code;
    const bool has_prompt = o.prompt != NULL || o.prompt_file != NULL;
    const bool interactive = o.interactive || (!has_prompt && !o.raw && !o.report && isatty(STDIN_FILENO));
    if (interactive && has_prompt) return qn_cli_usage("run: --interactive takes no prompt: type it");
    code = qn_constraint_open(&o.constraint, &o.grammar);
    if (code >= 0) return code;
    qn_buffer prompt = {0};
    if (!interactive && !gather_prompt(&o, &prompt)) code = QN_EXIT_FAILURE;
    else if (!interactive && prompt.n_bytes == 0 && !has_prompt)
        code = qn_cli_usage("run: no prompt: give one, pipe one in, or use --interactive");
    else code = run_model(&o, &prompt, interactive);
    qn_buffer_deinit(&prompt);
    quern_grammar_destroy(o.grammar);
    return code;
}
