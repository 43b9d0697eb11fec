/* route.c: `quern route`: to which model a router sends texts. */
#include "cli/embed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct route_command {
    quern_route routes[QUERN_MAX_ROUTES];
    char *names[QUERN_MAX_ROUTES]; /* of models, owned */
    size_t n_routes;
    quern_model *model; /* the classifier's, or NULL */
    quern_engine *engine;
    quern_router *router;
    bool as_json;
} route_command;

/* ---- routes ------------------------------------------------------------------------------------ */

/* "NAME=VALUE" to a route, whose rest is filled in by the caller. NULL: message printed. */
static quern_route *add_route(route_command *c, const char *option, const char *text, const char **value)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || equals[1] == '\0') {
        qn_cli_usage("route: --%s '%s': MODEL=... is expected", option, text);
        return NULL;
    }
    const size_t n_bytes = (size_t)(equals - text);
    char *name = malloc(n_bytes + 1);
    if (name == NULL) {
        qn_cli_fail_text("routes: no memory");
        return NULL;
    }
    memcpy(name, text, n_bytes);
    name[n_bytes] = '\0';
    *value = equals + 1;
    quern_route *route = &c->routes[c->n_routes];
    route->model = c->names[c->n_routes++] = name;
    return route;
}

static bool add_pattern(route_command *c, const char *text)
{
    const char *value;
    quern_route *route = add_route(c, "match", text, &value);
    if (route != NULL) route->pattern = value;
    return route != NULL;
}

static bool add_length(route_command *c, const char *text)
{
    const char *value;
    char *end;
    quern_route *route = add_route(c, "longer", text, &value);
    if (route == NULL) return false;
    const unsigned long long n = strtoull(value, &end, 10);
    if (*end != '\0' || n == 0 || n > SIZE_MAX || *value == '-') {
        qn_cli_usage("route: --longer '%s': a number of bytes is expected behind the =", text);
        return false;
    }
    route->min_bytes = (size_t)n;
    return true;
}

static bool add_description(route_command *c, const char *text)
{
    const char *value;
    quern_route *route = add_route(c, "to", text, &value);
    if (route != NULL) route->description = value;
    return route != NULL;
}

static bool add_all(route_command *c, const qn_texts *texts, bool (*add)(route_command *, const char *))
{
    for (size_t i = 0; i < texts->n_items; i++)
        if (!add(c, texts->items[i])) return false;
    return true;
}

/* ---- printing ---------------------------------------------------------------------------------- */

static const char *by_name(quern_routed_by by)
{
    return by == QUERN_ROUTED_BY_RULE ? "rule" : by == QUERN_ROUTED_BY_CLASSIFIER ? "classifier" : "fallback";
}

static json_t *shares_of(const route_command *c, const quern_routing *routing)
{
    json_t *shares = json_object();
    for (size_t i = 0; i < c->n_routes && routing->was_asked; i++)
        if (c->routes[i].description != NULL)
            json_object_set_new(shares, c->routes[i].model, qn_cli_json_real((double)routing->shares[i]));
    return shares;
}

static json_t *to_json(const route_command *c, const char *text, const quern_routing *routing)
{
    const bool has_problem = routing->problem.status != QUERN_OK;
    return json_pack("{s:o*, s:s, s:s, s:o, s:f, s:s*}", "text", json_string(text), "model", routing->model,
                     "by", by_name(routing->by), "shares", shares_of(c, routing), "ms",
                     (double)routing->took_ns / 1e6, "problem",
                     has_problem ? routing->problem.message : NULL);
}

static void print_line(const char *text, const quern_routing *routing)
{
    printf("%s\t%s\t", routing->model, by_name(routing->by));
    if (routing->by == QUERN_ROUTED_BY_CLASSIFIER) printf("%.2f", (double)routing->shares[routing->route]);
    printf("\t%.1f ms\t%s\n", (double)routing->took_ns / 1e6, text);
    if (routing->problem.status != QUERN_OK) fprintf(stderr, "quern: %s\n", routing->problem.message);
}

static int route_all(const route_command *c, const qn_cli_lines *lines)
{
    json_t *results = json_array();
    quern_routing *routing = malloc(sizeof *routing);
    for (size_t i = 0; i < lines->n && routing != NULL; i++) {
        quern_router_pick(c->router, lines->texts[i], strlen(lines->texts[i]), routing);
        if (c->as_json) json_array_append_new(results, to_json(c, lines->texts[i], routing));
        else print_line(lines->texts[i], routing);
    }
    const bool ok = routing != NULL;
    free(routing);
    if (!ok) return json_decref(results), qn_cli_fail_text("routes: no memory");
    if (c->as_json) return qn_cli_print_json(json_pack("{s:o}", "results", results));
    json_decref(results);
    return qn_cli_flush();
}

/* ---- command ----------------------------------------------------------------------------------- */

/* The engine with its classifier, if there is one, and the router. */
static int open_router(route_command *c, const char *classifier, long n_threads, const qn_pack_choice *pack,
                       quern_router_params *params)
{
    quern_engine_params ep = quern_engine_params_default();
    quern_engine_model_params mp = quern_engine_model_params_default();
    quern_error err;
    ep.n_threads = (int)n_threads;
    mp.n_parallel = 1;
    params->routes = c->routes, params->n_routes = c->n_routes;
    if (classifier != NULL) {
        c->model = qn_cli_open_packed(classifier, QN_OPEN_FULL, (int)n_threads, pack);
        if (c->model == NULL) return QN_EXIT_FAILURE;
        params->classifier = "classifier";
    }
    if (quern_engine_create(&c->engine, &ep, &err) != QUERN_OK ||
        (c->model != NULL &&
         quern_engine_add_model(c->engine, params->classifier, c->model, &mp, &err) != QUERN_OK) ||
        quern_router_create(&c->router, c->engine, params, &err) != QUERN_OK)
        return qn_cli_fail(&err);
    return QN_EXIT_OK;
}

static void close_all(route_command *c)
{
    quern_router_destroy(c->router);
    quern_engine_destroy(c->engine);
    quern_model_close(c->model);
    for (size_t i = 0; i < c->n_routes; i++) free(c->names[i]);
}

int qn_cli_route(int argc, char **argv)
{
    static const double LONGEST_S = 3600;
    route_command c = {0};
    qn_texts described = {0}, matched = {0}, longer = {0};
    const char *classifier = NULL, *path = NULL;
    long n_threads = 0, max_bytes = 1000;
    double timeout_s = 60;
    quern_router_params params = quern_router_params_default();
    qn_pack_choice pack = {0};
    const qn_option options[] = {
        {"--to", QN_TEXTS, &described, 0, 0, "MODEL=WORDS", "a model, and what it is for"},
        {"--match", QN_TEXTS, &matched, 0, 0, "MODEL=REGEX", "a model for texts in which it is found"},
        {"--longer", QN_TEXTS, &longer, 0, 0, "MODEL=BYTES", "a model for texts of so many bytes or more"},
        {"--classifier", QN_TEXT, &classifier, 0, 0, "MODEL", "which reads the descriptions and chooses"},
        {"--fallback", QN_TEXT, &params.fallback, 0, 0, "MODEL", "for everything else; default: the last"},
        {"--least-share", QN_NUMBER, &params.least_share, 0, 1, "P",
         "of the probability, which the classifier's choice needs"},
        {"--max-bytes", QN_INT, &max_bytes, 16, 1 << 24, "N", "of a text that the classifier sees"},
        {"--timeout", QN_NUMBER, &timeout_s, 0.001, LONGEST_S, "S", "seconds that the classifier may take"},
        {"-f, --file", QN_TEXT, &path, 0, 0, "FILE", "a text on each line (-: standard input)"},
        {"-t, --threads", QN_INT, &n_threads, 0, 256, "N", "threads (changes no bit of the result)"},
        QN_PACK_OPTIONS(&pack),
        {"--json", QN_FLAG, &c.as_json, 0, 0, NULL, "print JSON"},
    };
    int code =
        qn_options_parse("route", options, sizeof options / sizeof options[0], &argc, argv, 0, 1 << 20);
    if (code >= 0) return code;
    if (argc == 1 && path == NULL) path = "-";
    params.max_bytes = (size_t)max_bytes, params.timeout_ms = (uint32_t)(timeout_s * 1000);
    qn_cli_lines lines;
    if (!add_all(&c, &matched, add_pattern) || !add_all(&c, &longer, add_length) ||
        !add_all(&c, &described, add_description)) {
        close_all(&c);
        return QN_EXIT_USAGE;
    }
    if (!qn_cli_lines_read(&lines, argv + 1, (size_t)argc - 1, path)) {
        close_all(&c);
        return QN_EXIT_FAILURE;
    }
    code = open_router(&c, classifier, n_threads, &pack, &params);
    if (code == QN_EXIT_OK) code = route_all(&c, &lines);
    close_all(&c);
    qn_cli_lines_free(&lines);
    return code;
}
