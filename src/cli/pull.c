/* pull.c: `quern pull`: brings models into the store, with a progress bar on a terminal. */
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

typedef struct bar {
    bool shown; /* a terminal is there to show it on */
    bool drawn; /* a line stands there that must be cleared */
} bar;

static int terminal_width(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 20 ? w.ws_col : 80;
}

static void clear_bar(bar *b)
{
    if (b->drawn) fputs("\r\033[K", stderr);
    b->drawn = false;
}

/* "smollm2:135m  45% [#########           ] 44 MB/98 MB  12 MB/s  4s" */
static void draw_bar(bar *b, const quern_store_progress *p)
{
    static const char *const doing[] = {"waiting for another pull", "connecting", "", "unpacking",
                                        "verifying"};
    char right[128], left[200];
    const int percent = p->total_bytes > 0 ? (int)((double)p->done_bytes * 100 / (double)p->total_bytes) : 0;
    int used = snprintf(right, sizeof right, "%s", qn_cli_bytes(p->done_bytes).text);
    if (p->total_bytes > 0)
        used += snprintf(right + used, sizeof right - (size_t)used, "/%s", qn_cli_bytes(p->total_bytes).text);
    if (p->bytes_per_second > 0)
        used += snprintf(right + used, sizeof right - (size_t)used, "  %s/s",
                         qn_cli_bytes((uint64_t)p->bytes_per_second).text);
    if (p->seconds_left >= 0)
        used += snprintf(right + used, sizeof right - (size_t)used, "  %s",
                         qn_cli_duration(p->seconds_left).text);
    const char *what = doing[p->phase];
    int name_width = terminal_width() - used - (int)strlen(what) - 16;
    if (name_width > 60) name_width = 60;
    if (name_width < 8) name_width = 8;
    const size_t n = strlen(p->file);
    const char *file = n > (size_t)name_width ? p->file + n - (size_t)name_width
                                              : p->file; /* names end alike, but less than they begin */
    int width = snprintf(left, sizeof left, "%s%s%s", file, what[0] != '\0' ? "  " : "", what);
    fprintf(stderr, "\r\033[K%s", left);
    const int room = terminal_width() - width - used - 11;
    if (p->total_bytes > 0 && room >= 5) {
        const int cells = room > 40 ? 40 : room, full = cells * percent / 100;
        fprintf(stderr, " %3d%% [", percent);
        for (int i = 0; i < cells; i++) fputc(i < full ? '#' : ' ', stderr);
        fputs("] ", stderr);
    } else {
        fputs("  ", stderr);
    }
    if (p->done_bytes > 0) fputs(right, stderr);
    fflush(stderr);
    b->drawn = true;
}

static bool on_progress(void *user, const quern_store_progress *p)
{
    bar *b = user;
    if (b->shown) draw_bar(b, p);
    return interrupted == 0;
}

static void on_log(void *user, quern_log_level level, const char *line)
{
    clear_bar(user);
    if (level != QUERN_LOG_DEBUG) fprintf(stderr, "quern: %s\n", line);
}

static int print_json(const quern_store_entry *e)
{
    return qn_cli_print_json(json_pack("{s:s, s:s, s:s*, s:s*, s:I}", "name", e->name, "path", e->path,
                                       "source", e->source, "sha256", e->sha256, "size_bytes",
                                       (json_int_t)e->size_bytes));
}

typedef struct options {
    quern_store_params store;
    quern_store_pull_params pull;
    bool json;
    bar bar;
} options;

static int pull_all(options *o, char **names, int n)
{
    quern_store *store = NULL;
    quern_error err;
    int failures = 0;
    if (quern_store_open(&store, &o->store, &err) != QUERN_OK) return qn_cli_fail(&err);
    for (int i = 0; i < n && interrupted == 0; i++) {
        const quern_store_entry *e;
        const quern_status s = quern_store_pull(store, names[i], &o->pull, &e, &err);
        clear_bar(&o->bar);
        if (s != QUERN_OK) {
            qn_cli_fail(&err);
            failures++;
        } else if (o->json) {
            failures += print_json(e) != QN_EXIT_OK;
        } else {
            printf("%s  %.12s  %s  %s\n", e->name, e->sha256 != NULL ? e->sha256 : "-",
                   qn_cli_bytes(e->size_bytes).text, e->path);
        }
        if (qn_cli_flush() != QN_EXIT_OK) failures++;
    }
    quern_store_close(store);
    return failures > 0 || interrupted != 0 ? QN_EXIT_FAILURE : QN_EXIT_OK;
}

int qn_cli_pull(int argc, char **argv)
{
    options o = {.store = quern_store_params_default(), .pull = quern_store_pull_params_default()};
    bool quiet = false, verbose = false;
    const qn_option table[] = {
        {"-n, --name", QN_TEXT, &o.pull.as_name, 0, 0, "NAME[:TAG]",
         "store it under this name (not for Hugging Face)"},
        {"--sha256", QN_TEXT, &o.pull.sha256, 0, 0, "HEX", "the SHA-256 that the file must have"},
        {"--again", QN_FLAG, &o.pull.again, 0, 0, NULL, "fetch it even if it is installed"},
        {"--models-dir", QN_TEXT, &o.store.directory, 0, 0, "DIR",
         "the store's directory ($QUERN_MODELS, or quern/models in the XDG data directory)"},
        {"--offline", QN_FLAG, &o.store.offline, 0, 0, NULL, "never use the network"},
        {"--json", QN_FLAG, &o.json, 0, 0, NULL, "print one JSON object for each model"},
        {"-q, --quiet", QN_FLAG, &quiet, 0, 0, NULL, "no progress bar"},
        {"-v, --verbose", QN_FLAG, &verbose, 0, 0, NULL, "tell about retries"},
    };
    const int code = qn_options_parse("pull", table, sizeof table / sizeof table[0], &argc, argv, 1, 1000);
    if (code >= 0) return code;
    if (argc > 2 && (o.pull.as_name != NULL || o.pull.sha256 != NULL))
        return qn_cli_usage("pull: --name and --sha256 are for one model at a time");
    o.bar.shown = !quiet && isatty(STDERR_FILENO);
    if (verbose) o.store.log = on_log;
    o.store.log_user = o.pull.progress_user = &o.bar;
    o.pull.progress = on_progress;
    const struct sigaction action = {.sa_handler = on_interrupt};
    struct sigaction before_int, before_term;
    sigaction(SIGINT, &action, &before_int);
    sigaction(SIGTERM, &action, &before_term);
    const int rc = pull_all(&o, argv + 1, argc - 1);
    sigaction(SIGINT, &before_int, NULL);
    sigaction(SIGTERM, &before_term, NULL);
    return rc;
}
