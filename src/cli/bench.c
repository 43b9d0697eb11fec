/* bench.c: `quern bench`: prompt and generation speed, medians of several runs (contract C7). Options become
 * a list of cases, one a row; every case is run by bench_measure.c and told by bench_report.c. */
#include "cli/bench.h"
#include "cli/bench_load.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REPS = 5, MAX_TOKENS = 1 << 24, MAX_BATCH = 1 << 16, MAX_PARALLEL = 4096, MAX_THREADS = 256 };

typedef struct kv_types {
    quern_kv_type k, v;
} kv_types;

typedef struct lists { /* what the command line asks for */
    bench_numbers prompt, gen, depth, batch, parallel, threads;
    struct {
        uint32_t n_prompt, n_gen;
    } mixed[QN_MAX_TEXTS];
    kv_types kv[QN_MAX_BENCH_LIST];
    size_t n_mixed, n_kv;
} lists;

static int parse_numbers(bench_numbers *list, const char *option, const qn_texts *texts, uint32_t min,
                         uint32_t max, uint32_t otherwise)
{
    for (size_t i = 0; i < texts->n_items; i++) {
        const int code = bench_numbers_parse(list, option, texts->items[i], min, max);
        if (code >= 0) return code;
    }
    if (texts->n_items == 0) list->items[list->n_items++] = otherwise;
    return -1;
}

static int parse_mixed(lists *l, const qn_texts *texts)
{
    for (size_t i = 0; i < texts->n_items; i++) {
        bench_numbers pair = {0};
        const int code = bench_numbers_parse(&pair, "-pg", texts->items[i], 1, MAX_TOKENS);
        if (code >= 0) return code;
        if (pair.n_items != 2)
            return qn_cli_usage("bench: -pg %s: expected two numbers, PROMPT,GEN, such as 512,128",
                                texts->items[i]);
        l->mixed[l->n_mixed].n_prompt = pair.items[0];
        l->mixed[l->n_mixed++].n_gen = pair.items[1];
    }
    return -1;
}

static int parse_cache(lists *l, const qn_texts *texts)
{
    for (size_t i = 0; i < texts->n_items; i++) {
        for (const char *at = texts->items[i];; at++) {
            char name[32];
            const size_t n = strcspn(at, ",");
            snprintf(name, sizeof name, "%.*s", (int)n, at);
            kv_types *kv = &l->kv[l->n_kv < QN_MAX_BENCH_LIST ? l->n_kv : 0];
            if (n >= sizeof name || l->n_kv++ == QN_MAX_BENCH_LIST || !qn_cli_kv_types(name, &kv->k, &kv->v))
                return qn_cli_usage("bench: --cache-type %s: expected " QN_KV_TYPE_NAMES
                                    ", a list of these, or KEYS/VALUES such as q8_0/f16",
                                    texts->items[i]);
            at += n;
            if (*at == '\0') break;
        }
    }
    if (l->n_kv == 0) l->n_kv = 1; /* F16 */
    return -1;
}

/* Adds a case; what was asked for twice is measured twice. Returns false where there are too many. */
static bool add(bench *b, bench_case c)
{
    if (b->n_cases == QN_MAX_BENCH_CASES) return false;
    b->cases[b->n_cases++] = c;
    return true;
}

/* Where an option does not matter to a test, its first value alone is used: --parallel for prompts, -b for
 * generation. */
static bool add_tests(bench *b, const lists *l, bench_case c, bool first_batch)
{
    bool ok = true;
    for (size_t i = 0; i < l->prompt.n_items && ok; i++) {
        bench_case p = c;
        p.n_prompt = l->prompt.items[i];
        p.n_sequences = 1;
        if (p.n_prompt > 0) ok = add(b, p);
    }
    for (size_t s = 0; s < l->parallel.n_items; s++) {
        c.n_sequences = l->parallel.items[s];
        for (size_t i = 0; i < l->gen.n_items && first_batch && ok; i++) {
            bench_case g = c;
            g.n_gen = l->gen.items[i];
            if (g.n_gen > 0) ok = add(b, g);
        }
        for (size_t i = 0; i < l->n_mixed && ok; i++) {
            bench_case m = c;
            m.n_prompt = l->mixed[i].n_prompt;
            m.n_gen = l->mixed[i].n_gen;
            ok = add(b, m);
        }
    }
    return ok;
}

static bool add_cases(bench *b, const lists *l)
{
    bool ok = true;
    for (size_t t = 0; t < l->threads.n_items; t++)
        for (size_t k = 0; k < l->n_kv; k++)
            for (size_t d = 0; d < l->depth.n_items; d++)
                for (size_t n = 0; n < l->batch.n_items && ok; n++)
                    ok =
                        add_tests(b, l,
                                  (bench_case){.depth = l->depth.items[d],
                                               .n_batch = l->batch.items[n],
                                               .n_threads = l->threads.items[t] > 0 ? (int)l->threads.items[t]
                                                                                    : quern_default_threads(),
                                               .type_k = l->kv[k].k,
                                               .type_v = l->kv[k].v},
                                  n == 0);
    return ok;
}

/* The options as cases; -1 to go on. */
static int plan(bench *b, const lists *l)
{
    b->cases = calloc(QN_MAX_BENCH_CASES, sizeof *b->cases);
    if (b->cases == NULL) return qn_cli_fail_text("bench: no memory");
    if (!add_cases(b, l))
        return qn_cli_usage("bench: more than %d rows (ask for fewer combinations)", QN_MAX_BENCH_CASES);
    if (b->n_cases == 0)
        return qn_cli_usage("bench: nothing to measure (-p, -n and -pg are all 0 or missing)");
    b->rows = calloc(b->n_cases, sizeof *b->rows);
    return b->rows != NULL ? -1 : qn_cli_fail_text("bench: no memory");
}

static void describe(const bench *b, size_t i, char *text, size_t size)
{
    const bench_case *c = &b->cases[i];
    char test[48];
    bench_test_name(c, test, sizeof test);
    int n = snprintf(text, size, "%zu of %zu: %s", i + 1, b->n_cases, test);
    if (c->depth > 0 && n > 0 && (size_t)n < size)
        n += snprintf(text + n, size - (size_t)n, ", depth %u", c->depth);
    if (c->n_sequences > 1 && n > 0 && (size_t)n < size)
        n += snprintf(text + n, size - (size_t)n, ", %u sequences", c->n_sequences);
    if (n > 0 && (size_t)n < size)
        snprintf(text + n, size - (size_t)n, ", %d thread%s", c->n_threads, c->n_threads == 1 ? "" : "s");
}

static int run(bench *b)
{
    quern_model_get_info(b->model, &b->info);
    if (b->with_limits) {
        const bool shown = isatty(STDERR_FILENO);
        if (shown) fputs("measuring the machine's limits", stderr);
        const bool ok = bench_limits(b);
        if (shown) fputs("\r\033[K", stderr);
        if (!ok) return QN_EXIT_FAILURE;
    }
    bench_report_begin(b);
    bool ok = true;
    for (size_t i = 0; i < b->n_cases; i++) {
        char progress[128];
        describe(b, i, progress, sizeof progress);
        ok = bench_measure(b, &b->cases[i], progress, &b->rows[i]);
        if (!ok) break;
        b->n_rows++;
        bench_report_row(b, &b->rows[i]);
    }
    if (b->n_rows == 0) return QN_EXIT_FAILURE;
    int code = bench_report_end(b); /* what was measured before a failure is not lost */
    if (code == QN_EXIT_OK && b->plot_path != NULL) code = bench_plot(b);
    return ok ? code : QN_EXIT_FAILURE;
}

/* Before minutes of measuring: can the picture be written? Leaves no file behind that was not there. */
static int check_plot_path(const char *path)
{
    const bool existed = access(path, F_OK) == 0;
    FILE *f = fopen(path, "ab");
    if (f == NULL) return qn_cli_fail_text("%s: %s", path, strerror(errno));
    fclose(f);
    if (!existed) unlink(path);
    return -1;
}

static int choose_format(bench *b, bool json, bool csv, bool markdown)
{
    if (json + csv + markdown > 1) return qn_cli_usage("bench: --json, --csv and --markdown: choose one");
    if (csv && b->profile) return qn_cli_usage("bench: --profile has no place in --csv (use --json)");
    b->format = json ? BENCH_JSON : csv ? BENCH_CSV : markdown ? BENCH_MARKDOWN : BENCH_TEXT;
    return -1;
}

static int open_and_run(bench *b, const char *model, const qn_pack_choice *pack)
{
    int code = b->plot_path != NULL ? check_plot_path(b->plot_path) : -1;
    if (code >= 0) return code;
    const uint64_t start = qn_clock_ns();
    b->model = qn_cli_open_packed(model, QN_OPEN_FULL, b->cases[0].n_threads, pack);
    if (b->model == NULL) return QN_EXIT_FAILURE;
    b->open_seconds = (double)(qn_clock_ns() - start) * 1e-9;
    code = run(b);
    quern_model_close(b->model);
    return code;
}

/* What was asked for that a load has no place for; NULL: nothing. */
static const char *useless_with_load(const bench *b, const qn_texts *depth, const qn_texts *batch,
                                     const qn_texts *mixed, const qn_texts *parallel)
{
    return depth->n_items > 0                                      ? "-d"
           : batch->n_items > 0                                    ? "-b"
           : mixed->n_items > 0                                    ? "-pg"
           : parallel->n_items > 0                                 ? "--parallel (--slots is meant?)"
           : b->reps != REPS                                       ? "-r"
           : b->with_limits                                        ? "--limits"
           : b->profile                                            ? "--profile"
           : b->plot_path != NULL                                  ? "--plot"
           : b->format == BENCH_CSV || b->format == BENCH_MARKDOWN ? "--csv or --markdown"
                                                                   : NULL;
}

/* The lists that a load has a place for hold one number each. */
static int run_load(bench_load *load, const lists *l, const qn_pack_choice *pack, bool json)
{
    if (load->n_clients > 0 && load->trace != NULL)
        return qn_cli_usage("bench: --clients and --trace: choose one");
    const bench_numbers *const given[] = {&l->prompt, &l->gen, &l->threads};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (given[i]->n_items != 1 || l->n_kv != 1)
            return qn_cli_usage("bench: --clients and --trace take one number for -p, -n, -t and one -ctk");
    load->n_prompt = l->prompt.items[0];
    load->n_gen = l->gen.items[0];
    load->n_threads = l->threads.items[0];
    load->type_k = l->kv[0].k;
    load->type_v = l->kv[0].v;
    load->json = json;
    if (load->trace == NULL && (load->n_prompt == 0 || load->n_gen == 0))
        return qn_cli_usage("bench: --clients needs tokens to read (-p) and to generate (-n)");
    if (load->n_common > load->n_prompt)
        return qn_cli_usage("bench: --common %ld is more than a prompt has (-p %ld)", load->n_common,
                            load->n_prompt);
    if (load->n_models > BENCH_MAX_MODELS)
        return qn_cli_usage("bench: %zu models (at most %d are possible)", load->n_models, BENCH_MAX_MODELS);
    if (load->n_models > 1 && load->draft != NULL) return qn_cli_usage("bench: --draft is for one model");
    return bench_load_main(load, pack);
}

int qn_cli_bench(int argc, char **argv)
{
    bench b = {.reps = REPS};
    lists l = {0};
    qn_texts prompt = {0}, gen = {0}, mixed = {0}, depth = {0}, batch = {0}, parallel = {0}, threads = {0},
             cache = {0};
    qn_pack_choice pack = {0};
    bool json = false, csv = false, markdown = false;
    bench_load load = {.n_requests = 4};
    const qn_option options[] = {
        {"-p, --prompt", QN_TEXTS, &prompt, 0, 0, "LIST", "tokens of prompt tests (0: none; default 512)"},
        {"-n, --gen", QN_TEXTS, &gen, 0, 0, "LIST", "tokens of generation tests (0: none; default 128)"},
        {"-pg, --prompt-gen", QN_TEXTS, &mixed, 0, 0, "P,G",
         "a mixed test: P tokens of prompt, then G generated; may be given several times"},
        {"-d, --depth", QN_TEXTS, &depth, 0, 0, "LIST",
         "tokens that the sequence already holds before the timed part (default 0)"},
        {"-b, --batch", QN_TEXTS, &batch, 0, 0, "LIST",
         "tokens that one step of a prompt takes in (default 512)"},
        {"--parallel", QN_TEXTS, &parallel, 0, 0, "LIST",
         "sequences generating at once; the speed is that of all together (default 1)"},
        {"-t, --threads", QN_TEXTS, &threads, 0, 0, "LIST",
         "threads (default: 75 % of the processors, no two on a core)"},
        {"-ctk, --cache-type", QN_TEXTS, &cache, 0, 0, "LIST",
         "cached keys and values (default f16): " QN_KV_TYPE_NAMES ", or KEYS/VALUES"},
        {"-r, --reps", QN_INT, &b.reps, 1, QN_MAX_BENCH_REPS, "N",
         "timed runs of each test; the median is shown (default 5)"},
        {"--limits", QN_FLAG, &b.with_limits, 0, 0, NULL,
         "measure memory bandwidth and vector peaks first; show each result as a share of them"},
        {"--profile", QN_FLAG, &b.profile, 0, 0, NULL, "show where the time goes, by kind of instruction"},
        {"--clients", QN_INT, &load.n_clients, 1, 10000, "N",
         "load instead: N clients send requests of -p and -n tokens to one engine at once"},
        {"--requests", QN_INT, &load.n_requests, 1, 100000, "N",
         "with --clients: requests of each, one after the other (default 4)"},
        {"--common", QN_INT, &load.n_common, 0, MAX_TOKENS, "N",
         "with --clients: tokens that all prompts begin with"},
        {"--trace", QN_TEXT, &load.trace, 0, 0, "FILE",
         "load instead: the requests in a file of JSON lines {\"client\", \"model\", \"at\", \"prompt\", "
         "\"common\", \"gen\", \"priority\"}, or with \"text\", \"temperature\""},
        {"--slots", QN_INT, &load.n_parallel, 1, MAX_PARALLEL, "N",
         "with --clients, --trace: requests that run at once (default 16)"},
        {"-c, --ctx", QN_INT, &load.n_ctx, 1, MAX_TOKENS, "N",
         "with --clients, --trace: positions of each request (default: what they need)"},
        {"--positions", QN_INT, &load.n_positions, 1, 1L << 32, "N",
         "with --clients, --trace: positions that the cache holds in all (default: of all that run at once)"},
        {"--cache-dir", QN_TEXT, &load.directory, 0, 0, "DIR",
         "with --clients, --trace: keep what was computed in files there, for the next run"},
        {"--memory", QN_NUMBER, &load.memory_mb, 0.001, 1e9, "MB",
         "with --clients, --trace: that all models may take, which come and go then (default: what there "
         "is)"},
        {"--apart", QN_FLAG, &load.shares_nothing, 0, 0, NULL,
         "with --clients, --trace: nothing that one request computed is used for another"},
        {"--no-guesses", QN_FLAG, &load.no_guesses, 0, 0, NULL,
         "with --clients, --trace: no tokens are guessed ahead"},
        {"--draft", QN_TEXT, &load.draft, 0, 0, "MODEL",
         "with --clients, --trace: a smaller model of the same vocabulary that guesses ahead"},
        {"--draft-tokens", QN_INT, &load.n_draft, 0, 15, "N",
         "with --draft: tokens that it guesses at once (default 0: as many as save time)"},
        QN_PACK_OPTIONS(&pack),
        {"--json", QN_FLAG, &json, 0, 0, NULL, "print JSON, with every sample"},
        {"--csv", QN_FLAG, &csv, 0, 0, NULL, "print CSV"},
        {"--markdown", QN_FLAG, &markdown, 0, 0, NULL, "print the table as Markdown"},
        {"--plot", QN_TEXT, &b.plot_path, 0, 0, "FILE.svg", "also draw the results"},
    };
    int code =
        qn_options_parse("bench", options, sizeof options / sizeof options[0], &argc, argv, 1, 1 << 20);
    if (code < 0) code = parse_numbers(&l.prompt, "-p", &prompt, 0, MAX_TOKENS, 512);
    if (code < 0) code = parse_numbers(&l.gen, "-n", &gen, 0, MAX_TOKENS, 128);
    if (code < 0) code = parse_numbers(&l.depth, "-d", &depth, 0, MAX_TOKENS, 0);
    if (code < 0) code = parse_numbers(&l.batch, "-b", &batch, 1, MAX_BATCH, 512);
    if (code < 0) code = parse_numbers(&l.parallel, "--parallel", &parallel, 1, MAX_PARALLEL, 1);
    if (code < 0) code = parse_numbers(&l.threads, "-t", &threads, 0, MAX_THREADS, 0);
    if (code < 0) code = parse_mixed(&l, &mixed);
    if (code < 0) code = parse_cache(&l, &cache);
    if (code < 0) code = choose_format(&b, json, csv, markdown);
    const char *cache_said = getenv("QUERN_PACK_CACHE"); /* a directory, or what to do */
    if (pack.mode == NULL && (cache_said == NULL || strchr(cache_said, '/') != NULL))
        pack.mode = "copied"; /* the same memory in every run */
    const bool is_load = load.n_clients > 0 || load.trace != NULL;
    load.models = argv + 1, load.n_models = (size_t)argc - 1;
    const char *useless = is_load ? useless_with_load(&b, &depth, &batch, &mixed, &parallel) : NULL;
    if (code < 0 && useless != NULL)
        code = qn_cli_usage("bench: %s says nothing with --clients and --trace", useless);
    if (code < 0 && is_load) code = run_load(&load, &l, &pack, json);
    if (code < 0 && argc > 2) code = qn_cli_usage("bench: several models are for --clients and --trace");
    if (code < 0) code = plan(&b, &l);
    if (code < 0) code = open_and_run(&b, argv[1], &pack);
    free(b.cases), free(b.rows), free(b.limits);
    return code;
}
