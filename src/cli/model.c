/* model.c: from a MODEL argument to an open model. */
#include "cli/cli.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_log(void *user, quern_log_level level, const char *line)
{
    (void)user;
    if (level == QUERN_LOG_WARN) fprintf(stderr, "quern: warning: %s\n", line);
}

static bool show_pull(void *user, const quern_store_progress *p)
{
    qn_progress_update(user, p->done_bytes, p->total_bytes);
    return true;
}

char *qn_cli_model_path(const char *model, bool may_pull)
{
    if (access(model, F_OK) == 0) return qn_strdup(model); /* a path; the loader says what is wrong with it */
    quern_store *store = NULL;
    const quern_store_entry *entry = NULL;
    quern_error err;
    char *path = NULL;
    quern_store_params params = quern_store_params_default();
    params.log = print_log;
    quern_status s = quern_store_open(&store, &params, &err);
    if (s == QUERN_OK) s = quern_store_resolve(store, model, &entry, &err);
    if (s == QUERN_ERR_NOT_FOUND && entry != NULL && entry->source != NULL && may_pull) {
        qn_progress progress = {.label = "pulling"};
        quern_store_pull_params pull = quern_store_pull_params_default();
        pull.progress = show_pull;
        pull.progress_user = &progress;
        fprintf(stderr, "%s is not installed: pulling it from %s\n", entry->name, entry->source);
        s = quern_store_pull(store, model, &pull, &entry, &err);
        qn_progress_finish(&progress);
    }
    if (s != QUERN_OK) qn_cli_fail(&err);
    else path = qn_strdup(entry->path);
    quern_store_close(store);
    return path;
}

static bool show_progress(void *user, uint64_t done, uint64_t total)
{
    qn_progress_update(user, done, total);
    return true;
}

bool qn_cli_pack_mode(const qn_pack_choice *choice, quern_pack_mode *mode)
{
    static const struct {
        const char *name;
        quern_pack_mode mode;
    } modes[] = {{"off", QUERN_PACK_OFF},
                 {"auto", QUERN_PACK_AUTO},
                 {"mapped", QUERN_PACK_MAPPED},
                 {"copied", QUERN_PACK_COPIED}};
    *mode = choice->off ? QUERN_PACK_OFF : QUERN_PACK_DEFAULT;
    if (choice->off || choice->mode == NULL) return true;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0] && *mode == QUERN_PACK_DEFAULT; i++)
        if (strcmp(choice->mode, modes[i].name) == 0) *mode = modes[i].mode;
    if (*mode == QUERN_PACK_DEFAULT)
        qn_cli_fail_text("--pack-cache %s: auto, mapped, copied or off are possible",
                         qn_quote(choice->mode, strlen(choice->mode)).text);
    return *mode != QUERN_PACK_DEFAULT;
}

const char *qn_cli_pack_state(quern_pack_state state)
{
    switch (state) {
    case QUERN_PACK_IS_OFF:
        return "off";
    case QUERN_PACK_IS_SMALL:
        return "none needed";
    case QUERN_PACK_IS_MISSING:
        return "none yet";
    case QUERN_PACK_IS_THERE:
        return "ready";
    case QUERN_PACK_IS_WRITTEN:
        return "being written";
    case QUERN_PACK_IS_USED:
        return "in use";
    }
    return "unknown";
}

quern_model *qn_cli_open(const char *argument, qn_open_how how, int n_threads)
{
    return qn_cli_open_packed(argument, how, n_threads, &(qn_pack_choice){0});
}

bool qn_cli_model_params(quern_model_params *params, int n_threads, const qn_pack_choice *choice,
                         qn_progress *progress)
{
    *params = quern_model_params_default();
    params->n_threads = n_threads;
    params->log = print_log;
    params->progress = show_progress;
    params->progress_user = progress;
    return qn_cli_pack_mode(choice, &params->pack_mode);
}

quern_model *qn_cli_open_packed(const char *argument, qn_open_how how, int n_threads,
                                const qn_pack_choice *choice)
{
    qn_progress progress = {.label = "loading"};
    quern_model_params params;
    if (!qn_cli_model_params(&params, n_threads, choice, &progress)) return NULL;
    char *path = qn_cli_model_path(argument, how == QN_OPEN_FULL);
    if (path == NULL) return NULL;
    params.vocab_only = how == QN_OPEN_VOCAB;
    params.header_only = how == QN_OPEN_HEADER;
    quern_error err;
    quern_model *model;
    const quern_status s = quern_model_open(&model, path, &params, &err);
    qn_progress_finish(&progress);
    if (s != QUERN_OK) qn_cli_fail(&err);
    quern_free(path);
    return model;
}

char *qn_cli_read_text(const char *path, size_t *n_bytes, const char *meant)
{
    quern_error err;
    char *text = NULL;
    if (strcmp(path, "-") != 0) {
        const quern_status s = qn_file_read(&text, n_bytes, path, (size_t)1 << 30, &err);
        if (s == QUERN_ERR_NOT_FOUND && meant != NULL) qn_cli_fail_text("%s (%s)", err.message, meant);
        else if (s != QUERN_OK) qn_cli_fail(&err);
        return text;
    }
    qn_buffer all = {0};
    char piece[65536];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, stdin)) > 0) qn_buffer_append(&all, piece, n);
    text = qn_buffer_take(&all, n_bytes);
    if (text == NULL) qn_cli_fail_text("standard input: no memory");
    return text;
}

quern_token *qn_cli_read_ids(const char *path, size_t *n_ids)
{
    size_t n_bytes;
    char *text = qn_cli_read_text(path, &n_bytes, NULL);
    if (text == NULL) return NULL;
    quern_token *ids = qn_malloc((n_bytes / 2 + 1) * sizeof *ids); /* an id and a blank take two bytes */
    *n_ids = 0;
    for (char *p = text; ids != NULL;) {
        while (isspace((unsigned char)*p) || *p == ',') p++;
        if (*p == '\0') break;
        char *end;
        errno = 0;
        const long id = strtol(p, &end, 10);
        if (end == p || errno != 0 || id < 0 || id > INT32_MAX ||
            (*end != '\0' && *end != ',' && !isspace((unsigned char)*end))) {
            qn_cli_fail_text("%s: byte %td: not a token id: '%.20s'", path, p - text, p);
            qn_free(ids);
            qn_free(text);
            return NULL;
        }
        ids[(*n_ids)++] = (quern_token)id;
        p = end;
    }
    if (ids == NULL) qn_cli_fail_text("%s: no memory", path);
    qn_free(text);
    return ids;
}
