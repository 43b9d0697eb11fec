/* line_input.c: see line_input.h. Line editing is libedit's, where the program was built with it. */
#include "cli/line_input.h"

#include "base/alloc.h"
#include "base/path.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#ifdef QUERN_HAVE_EDIT
#include <histedit.h>
#endif

enum { HISTORY_ENTRIES = 1000 };

struct qn_line_input {
    bool terminal, interrupted;
    int interrupt_fd;
    char *line; /* getline's, or a copy of the editor's */
    size_t capacity;
    struct termios before; /* how the terminal was found */
    char *history_path;    /* NULL: the history is not kept */
    const char *prompt;
#ifdef QUERN_HAVE_EDIT
    EditLine *editor; /* NULL: plain lines */
    History *history;
#endif
};

static char *history_path(void)
{
    char path[PATH_MAX];
    if (!qn_path_xdg(path, "XDG_STATE_HOME", ".local/state", "quern")) return NULL;
    qn_path_make(path, 0700);
    return qn_path_xdg(path, "XDG_STATE_HOME", ".local/state", "quern/history") ? qn_strdup(path) : NULL;
}

/* Waits for what is typed. False: Ctrl-C was. A signal alone could come just before the wait, and to another
 * thread. */
static bool wait_for_input(qn_line_input *in)
{
    struct pollfd p[2] = {{STDIN_FILENO, POLLIN, 0}, {in->interrupt_fd, POLLIN, 0}};
    while (poll(p, 2, -1) < 0 && errno == EINTR) {
    }
    in->interrupted = p[1].revents != 0;
    return !in->interrupted;
}

#ifdef QUERN_HAVE_EDIT
/* One character, as the editor wants it: 1, 0 at the end, -1 to give up. */
static int read_character(EditLine *editor, wchar_t *character)
{
    qn_line_input *in = NULL;
    mbstate_t state = {0};
    char byte;
    el_get(editor, EL_CLIENTDATA, &in);
    while (wait_for_input(in)) {
        const ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n <= 0) return (int)n;
        const size_t used = mbrtowc(character, &byte, 1, &state);
        if (used == (size_t)-1) memset(&state, 0, sizeof state); /* no character: left out */
        else if (used != (size_t)-2) return 1;
    }
    return -1;
}

static char *editor_prompt(EditLine *editor)
{
    qn_line_input *in = NULL;
    el_get(editor, EL_CLIENTDATA, &in);
    return (char *)(uintptr_t)in->prompt;
}

static void open_editor(qn_line_input *in)
{
    HistEvent event;
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8"); /* else letters beyond ASCII are lost */
    in->editor = el_init("quern", stdin, stdout, stderr);
    in->history = history_init();
    if (in->editor == NULL || in->history == NULL) return;
    el_set(in->editor, EL_CLIENTDATA, in);
    el_set(in->editor, EL_PROMPT, editor_prompt);
    el_set(in->editor, EL_SIGNAL, 0);
    /* The terminal gives single characters between prompts too: what is typed while it gives lines can be
     * stuck until the next key when it changes over. It is shown when the editor reads it, not into an
     * answer. */
    el_set(in->editor, EL_SETTY, "-x", "-icanon", "-echo", NULL);
    el_set(in->editor, EL_GETCFN, read_character);
    el_set(in->editor, EL_EDITOR, "emacs");
    el_set(in->editor, EL_HIST, history, in->history);
    el_set(in->editor, EL_BIND, "^R", "em-inc-search-prev", NULL);
    history(in->history, &event, H_SETSIZE, HISTORY_ENTRIES);
    history(in->history, &event, H_SETUNIQUE, 1);
    if (in->history_path != NULL) history(in->history, &event, H_LOAD, in->history_path);
}

static void close_editor(qn_line_input *in)
{
    HistEvent event;
    if (in->history != NULL) {
        const mode_t before = umask(077); /* what was typed is nobody else's business */
        if (in->history_path != NULL) history(in->history, &event, H_SAVE, in->history_path);
        umask(before);
        history_end(in->history);
    }
    if (in->editor == NULL) return;
    el_end(in->editor);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &in->before);
}

static qn_line_result edit_line(qn_line_input *in, const char **line)
{
    int n = 0;
    in->interrupted = false;
    const char *typed = el_gets(in->editor, &n);
    if (in->interrupted) return QN_LINE_INTERRUPTED;
    if (typed == NULL || n <= 0) return QN_LINE_END;
    free(in->line);
    in->line = strndup(typed, strcspn(typed, "\r\n"));
    *line = in->line;
    return in->line != NULL ? QN_LINE : QN_LINE_END;
}
#endif

qn_line_input *qn_line_input_open(int interrupt_fd)
{
    qn_line_input *in = qn_calloc(1, sizeof *in);
    if (in == NULL) return NULL;
    in->interrupt_fd = interrupt_fd;
    in->terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (in->terminal) in->history_path = history_path();
#ifdef QUERN_HAVE_EDIT
    if (in->terminal && tcgetattr(STDIN_FILENO, &in->before) == 0) open_editor(in);
#endif
    return in;
}

void qn_line_input_close(qn_line_input *in)
{
    if (in == NULL) return;
#ifdef QUERN_HAVE_EDIT
    close_editor(in);
#endif
    free(in->line);
    qn_free(in->history_path);
    qn_free(in);
}

static qn_line_result plain_line(qn_line_input *in, const char **line)
{
    if (in->terminal) fputs(in->prompt, stdout), fflush(stdout);
    if (in->terminal && !wait_for_input(in))
        return QN_LINE_INTERRUPTED; /* a terminal gives a line at a time: none is buffered */
    const ssize_t n = getline(&in->line, &in->capacity, stdin);
    if (n < 0) return QN_LINE_END;
    in->line[strcspn(in->line, "\r\n")] = '\0';
    *line = in->line;
    return QN_LINE;
}

qn_line_result qn_line_input_read(qn_line_input *in, const char *prompt, const char **line)
{
    in->prompt = prompt;
#ifdef QUERN_HAVE_EDIT
    if (in->editor != NULL && in->history != NULL) return edit_line(in, line);
#endif
    return plain_line(in, line);
}

void qn_line_input_remember(qn_line_input *in, const char *text)
{
#ifdef QUERN_HAVE_EDIT
    HistEvent event;
    if (in->history != NULL && text[0] != '\0') history(in->history, &event, H_ENTER, text);
#else
    (void)in, (void)text;
#endif
}
