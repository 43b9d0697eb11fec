/* rm.c: `quern rm`: deletes installed models. */
#include "quern.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

int qn_cli_rm(int argc, char **argv);

static const char USAGE[] =
    "usage: quern rm [OPTIONS] MODEL...\n"
    "\n"
    "Deletes installed models from the store, or from the hub cache that is shared with other programs.\n"
    "A file that is given by its path is not touched.\n"
    "\n"
    "options:\n"
    "      --models-dir DIR the store's directory (default: $QUERN_MODELS, or quern/models in the XDG data directory)\n"
    "      --json           one JSON object for each model on standard output\n"
    "  -h, --help           this text\n";

static int remove_all(const quern_store_params *params, char **names, int n, bool json)
{
    quern_store *store = NULL;
    quern_error err;
    int failures = 0;
    if (quern_store_open(&store, params, &err) != QUERN_OK) {
        fprintf(stderr, "quern: %s\n", err.message);
        return 1;
    }
    for (int i = 0; i < n; i++) {
        const bool ok = quern_store_remove(store, names[i], &err) == QUERN_OK;
        if (!ok) fprintf(stderr, "quern: %s\n", err.message);
        if (!ok) failures++;
        json_t *o = json ? json_pack("{s:s, s:b}", "name", names[i], "removed", ok) : NULL;
        char *text = o != NULL ? json_dumps(o, 0) : NULL;
        if (text != NULL) puts(text);
        else if (ok) printf("removed %s\n", names[i]);
        free(text);
        if (o != NULL) json_decref(o);
    }
    quern_store_close(store);
    return failures > 0 || fflush(stdout) != 0 ? 1 : 0;
}

int qn_cli_rm(int argc, char **argv)
{
    enum { OPT_DIR = 256, OPT_JSON };
    static const struct option longs[] = {{"models-dir", required_argument, NULL, OPT_DIR}, {"json", no_argument, NULL, OPT_JSON},
                                          {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    quern_store_params params = quern_store_params_default();
    bool json = false;
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        switch (c) {
        case OPT_DIR: params.directory = optarg; break;
        case OPT_JSON: json = true; break;
        case 'h': fputs(USAGE, stdout); return 0;
        default: fputs("quern: rm: `quern rm --help` shows how\n", stderr); return 2;
        }
    }
    if (optind >= argc) {
        fputs(USAGE, stderr);
        return 2;
    }
    return remove_all(&params, argv + optind, argc - optind, json);
}
