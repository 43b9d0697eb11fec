/* serve.c: `quern serve`: models behind HTTP. */
#include "cli/cli.h"
#include "serve/limits.h"
#include "serve/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MODELS = 64 };

typedef struct serve_command {
    long port, n_ctx, n_parallel, n_threads, n_batch, memory_mb, idle_s, max_stall_ms;
    const char *type_k, *type_v, *cache_directory;
    qn_texts hosts;
    qn_pack_choice pack;
    quern_engine *engine;
    char *paths[MAX_MODELS]; /* owned (quern_free) */
    size_t n_models;
} serve_command;

/* What a model is called by clients: its name in the store, or of a file what it is called without ".gguf".
 */
static void name_of(const char *model, char *name, size_t size)
{
    const size_t n_bytes = strlen(model);
    const bool is_file = n_bytes > 5 && strcmp(model + n_bytes - 5, ".gguf") == 0;
    const char *slash = is_file ? strrchr(model, '/') : NULL;
    const char *begin = slash != NULL ? slash + 1 : model;
    snprintf(name, size, "%.*s", (int)(strlen(begin) - (is_file ? 5 : 0)), begin);
}

static bool model_params(const serve_command *c, quern_engine_model_params *p)
{
    *p = quern_engine_model_params_default();
    p->n_ctx = (uint32_t)c->n_ctx;
    p->n_parallel = (uint32_t)c->n_parallel;
    p->n_batch = (uint32_t)c->n_batch;
    p->idle_unload_ms = (uint32_t)c->idle_s * 1000;
    return qn_cli_kv_type(c->type_k, &p->type_k) && qn_cli_kv_type(c->type_v, &p->type_v);
}

static bool add_model(serve_command *c, const char *model, const char *path)
{
    quern_model_params opened;
    quern_engine_model_params params;
    quern_error err;
    char name[256];
    qn_progress progress = {.label = "loading"};
    if (!qn_cli_model_params(&opened, (int)c->n_threads, &c->pack, &progress)) return false;
    opened.progress = NULL; /* it is called again when the model is loaded anew, from another thread */
    if (!model_params(c, &params)) return false;
    name_of(model, name, sizeof name);
    if (quern_engine_register_model(c->engine, name, path, &opened, &params, &err) != QUERN_OK ||
        quern_engine_load_model(c->engine, name, c->memory_mb == 0, &err) != QUERN_OK) {
        qn_cli_fail(&err);
        return false;
    }
    return true;
}

static bool open_engine(serve_command *c)
{
    quern_engine_params p = quern_engine_params_default();
    quern_error err;
    p.n_threads = (int)c->n_threads;
    p.max_waiting = qn_server_limits_default().n_waiting;
    p.max_stall_ms = (uint32_t)c->max_stall_ms;
    p.memory_limit = (uint64_t)c->memory_mb * 1000000;
    p.cache_directory = c->cache_directory;
    if (quern_engine_create(&c->engine, &p, &err) == QUERN_OK) return true;
    qn_cli_fail(&err);
    return false;
}

/* Until the user, or the system, asks it to end. Signals that end it are blocked in all threads. */
static void wait_for_end(const sigset_t *signals)
{
    int which;
    while (sigwait(signals, &which) != 0) continue;
    fprintf(stderr, "quern: stopping: what runs is finished, for %d s at most (once more: at once)\n",
            (int)QN_DRAIN_SECONDS);
    struct sigaction at_once = {.sa_handler = SIG_DFL};
    sigaction(SIGTERM, &at_once, NULL), sigaction(SIGINT, &at_once, NULL);
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
}

static int serve(serve_command *c, const sigset_t *signals)
{
    qn_server *server;
    quern_error err;
    const qn_server_params params = {.engine = c->engine,
                                     .port = (uint16_t)c->port,
                                     .hosts = c->hosts.items,
                                     .n_hosts = c->hosts.n_items,
                                     .limits = qn_server_limits_default()};
    if (qn_server_create(&server, &params, &err) != QUERN_OK) return qn_cli_fail(&err);
    fprintf(stderr, "quern: listening on http://127.0.0.1:%u (OpenAI: base URL http://127.0.0.1:%u/v1)\n",
            qn_server_port(server), qn_server_port(server));
    wait_for_end(signals);
    qn_server_destroy(server, QN_DRAIN_SECONDS);
    return QN_EXIT_OK;
}

static int parse(serve_command *c, int *argc, char **argv)
{
    const qn_option options[] = {
        {"--port", QN_INT, &c->port, 0, 65535, "N",
         "port of this machine (default 8080; 0: any that is free)"},
        {"--allow-host", QN_TEXTS, &c->hosts, 0, 0, "NAME",
         "a name by which clients may call this machine, beside localhost and addresses; may be repeated"},
        {"-c, --ctx, --ctx-size", QN_INT, &c->n_ctx, 0, 1 << 30, "N",
         "positions of one request (default: the model's, at most 4096)"},
        {"-np, --parallel", QN_INT, &c->n_parallel, 1, 256, "N", "requests that run at once (default 16)"},
        {"-t, --threads", QN_INT, &c->n_threads, 0, 256, "N",
         "threads (default: 75 % of the processors, no two on a core)"},
        {"-b, --batch, --batch-size", QN_INT, &c->n_batch, 1, 65536, "N",
         "tokens that one step takes in (default 512)"},
        {"-ctk, --cache-type-k", QN_TEXT, &c->type_k, 0, 0, "TYPE",
         "cached keys (default f16): " QN_KV_TYPE_NAMES},
        {"-ctv, --cache-type-v", QN_TEXT, &c->type_v, 0, 0, "TYPE", "cached values (default f16), likewise"},
        {"--memory", QN_INT, &c->memory_mb, 0, 1 << 30, "MB",
         "that all models may take: they are loaded when they are asked for, and go when others need the "
         "room "
         "(default: what there is)"},
        {"--idle-unload", QN_INT, &c->idle_s, 0, 1 << 22, "S",
         "seconds without a request after which a model goes"},
        {"--max-stall", QN_INT, &c->max_stall_ms, 1, 60000, "MS",
         "that a running answer may wait while others read their prompts (default 100)"},
        {"--cache-dir", QN_TEXT, &c->cache_directory, 0, 0, "DIR",
         "keeps what was computed in files there, for the time after a restart"},
        QN_PACK_OPTIONS(&c->pack),
    };
    return qn_options_parse("serve", options, sizeof options / sizeof options[0], argc, argv, 1, MAX_MODELS);
}

int qn_cli_serve(int argc, char **argv)
{
    serve_command c = {.port = 8080,
                       .n_parallel = 16,
                       .n_batch = 512,
                       .type_k = "f16",
                       .type_v = "f16",
                       .max_stall_ms = 100};
    int code = parse(&c, &argc, argv);
    if (code >= 0) return code;
    bool ok = true;
    for (int i = 1; i < argc && ok; i++)
        ok = (c.paths[c.n_models++] = qn_cli_model_path(argv[i], true)) != NULL;
    /* in no thread of the engine either: the system would give the signal to one of those */
    sigset_t signals;
    sigemptyset(&signals), sigaddset(&signals, SIGTERM), sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    ok = ok && open_engine(&c);
    for (int i = 1; i < argc && ok; i++) ok = add_model(&c, argv[i], c.paths[i - 1]);
    code = ok ? serve(&c, &signals) : QN_EXIT_FAILURE;
    quern_engine_destroy(c.engine);
    for (size_t i = 0; i < c.n_models; i++) quern_free(c.paths[i]);
    return code;
}
