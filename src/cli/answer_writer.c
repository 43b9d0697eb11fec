/* answer_writer.c: see answer_writer.h. */
#include "cli/answer_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool write_to(qn_answer_writer *w, FILE *out, const char *text, size_t n_bytes)
{
    errno = 0;
    if (n_bytes == 0 || (fwrite(text, 1, n_bytes, out) == n_bytes && fflush(out) == 0)) return true;
    w->error = errno;
    w->failed = true;
    return false;
}

static bool write_text(qn_answer_writer *w, FILE *out, const char *text)
{
    return write_to(w, out, text, strlen(text));
}

static bool keep(qn_answer_writer *w, qn_buffer *kept, const char *text, size_t n_bytes)
{
    if (!qn_buffer_append(kept, text, n_bytes)) w->failed = true;
    return !w->failed;
}

/* ---- reasoning --------------------------------------------------------------------------------- */

static bool begin_reasoning(qn_answer_writer *w)
{
    if (w->in_reasoning) return true;
    w->in_reasoning = true;
    if (w->reasoning_out != NULL)
        return write_text(w, w->reasoning_out, w->is_faint ? "\033[2m" : "<think>\n");
    w->has_notice = isatty(STDERR_FILENO) != 0;
    if (w->has_notice) fputs("thinking ...", stderr);
    return true;
}

static bool end_reasoning(qn_answer_writer *w)
{
    const qn_buffer *told = &w->answer->reasoning;
    if (!w->in_reasoning) return true;
    w->in_reasoning = false;
    if (w->has_notice) fputs("\r\033[K", stderr);
    w->has_notice = false;
    if (w->reasoning_out == NULL) return true;
    const char *line_end = told->n_bytes > 0 && told->data[told->n_bytes - 1] == '\n' ? "" : "\n";
    return write_text(w, w->reasoning_out, line_end) &&
           write_text(w, w->reasoning_out, w->is_faint ? "\033[0m\n" : "</think>\n\n");
}

static bool take_event(void *user, const quern_chat_event *event)
{
    qn_answer_writer *w = user;
    if (event->part == QUERN_CHAT_CONTENT)
        return end_reasoning(w) && keep(w, &w->answer->text, event->text, event->n_bytes) &&
               write_to(w, stdout, event->text, event->n_bytes);
    if (event->part != QUERN_CHAT_REASONING) return true;
    if (!begin_reasoning(w) || !keep(w, &w->answer->reasoning, event->text, event->n_bytes)) return false;
    return w->reasoning_out == NULL || write_to(w, w->reasoning_out, event->text, event->n_bytes);
}

static void choose_place(qn_answer_writer *w, const char *place)
{
    const char *no_color = getenv("NO_COLOR");
    const bool may_style = no_color == NULL || no_color[0] == '\0';
    w->reasoning_out = stdout;
    if (strcmp(place, "hide") == 0) w->reasoning_out = NULL;
    else if (strcmp(place, "auto") == 0 && !isatty(STDOUT_FILENO))
        w->reasoning_out = isatty(STDERR_FILENO) ? stderr : NULL;
    w->is_faint = w->reasoning_out != NULL && may_style && isatty(fileno(w->reasoning_out));
}

/* ---- the whole --------------------------------------------------------------------------------- */

char *qn_answer_options(const char *prompt)
{
    enum { ENOUGH = 256 };
    const size_t n = strlen(prompt);
    const char *end = n > ENOUGH ? prompt + n - ENOUGH : prompt;
    while (((unsigned char)*end & 0xc0) == 0x80) end++; /* whole characters */
    json_t *options = json_pack("{s:[], s:s*}", "tools", "prompt", end);
    char *text = options != NULL ? json_dumps(options, JSON_COMPACT) : NULL;
    json_decref(options);
    if (text == NULL) qn_cli_fail_text("the answer: no memory, or the prompt is not UTF-8 text");
    return text;
}

bool qn_answer_writer_begin(qn_answer_writer *w, qn_answer *answer, const quern_model *model,
                            const char *prompt, const char *place, bool silent)
{
    quern_error err;
    *w = (qn_answer_writer){.answer = answer, .silent = silent};
    qn_buffer_clear(&answer->text);
    qn_buffer_clear(&answer->reasoning);
    if (prompt == NULL) return true;
    choose_place(w, place);
    char *options = qn_answer_options(prompt);
    if (options == NULL) return false;
    const quern_status s = quern_chat_reader_create(&w->reader, model, options, take_event, w, &err);
    free(options);
    if (s != QUERN_OK) qn_cli_fail(&err);
    return s == QUERN_OK;
}

bool qn_answer_writer_add(qn_answer_writer *w, const char *text, size_t n_bytes)
{
    if (w->reader != NULL) {
        const quern_status s = quern_chat_reader_push(w->reader, text, n_bytes, NULL);
        w->failed = w->failed || s != QUERN_OK;
        return !w->failed;
    }
    return keep(w, &w->answer->text, text, n_bytes) && (w->silent || write_to(w, stdout, text, n_bytes));
}

static int fail_output(const qn_answer_writer *w)
{
    if (w->error == 0) return qn_cli_fail_text("the answer: no memory");
    return qn_cli_fail_text("standard output: %s", strerror(w->error));
}

int qn_answer_writer_end(qn_answer_writer *w, bool broke_off)
{
    const qn_buffer *said = &w->answer->text;
    if (w->reader != NULL && !w->failed) {
        const quern_status s = quern_chat_reader_finish(w->reader, NULL);
        w->failed = w->failed || s != QUERN_OK || !end_reasoning(w);
    }
    quern_chat_reader_destroy(w->reader);
    w->reader = NULL;
    if (w->failed) return fail_output(w);
    if (w->silent || broke_off) return QN_EXIT_OK;
    if (said->n_bytes == 0 && w->answer->reasoning.n_bytes > 0) return qn_cli_flush();
    if (said->n_bytes == 0 || said->data[said->n_bytes - 1] != '\n') putchar('\n');
    return qn_cli_flush();
}
