/* list.c: `quern list`: what is installed, or what the catalogue offers. */
#include "format.h"
#include "quern.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int qn_cli_list(int argc, char **argv);

static const char USAGE[] =
    "usage: quern list [OPTIONS]\n"
    "\n"
    "Lists the models that are installed: in the store, and in the hub cache that is shared with other programs.\n"
    "\n"
    "options:\n"
    "  -a, --all            what the catalogue offers, installed or not\n"
    "      --models-dir DIR the store's directory (default: $QUERN_MODELS, or quern/models in the XDG data directory)\n"
    "      --json           a JSON array on standard output\n"
    "  -q, --quiet          names only\n"
    "  -h, --help           this text\n";

static int print_json(const quern_store_entry *const *entries, size_t n)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < n && ok; i++) {
        const quern_store_entry *e = entries[i];
        json_t *o = json_pack("{s:s, s:b, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*}", "name", e->name, "installed", e->path != NULL, "path", e->path,
                              "source", e->source, "sha256", e->sha256, "description", e->description, "architecture", e->architecture,
                              "license", e->license);
        ok = o != NULL && json_array_append_new(list, o) == 0;
        if (ok && e->size_bytes > 0) ok = json_object_set_new(o, "size_bytes", json_integer((json_int_t)e->size_bytes)) == 0;
        if (ok && e->modified_s != 0) ok = json_object_set_new(o, "modified_s", json_integer((json_int_t)e->modified_s)) == 0;
    }
    char *text = ok ? json_dumps(list, JSON_INDENT(2)) : NULL;
    if (list != NULL) json_decref(list);
    if (text == NULL) {
        fputs("quern: list: the entries cannot be written as JSON\n", stderr);
        return 1;
    }
    puts(text);
    free(text);
    return 0;
}

static void print_table(const quern_store_entry *const *entries, size_t n, bool all)
{
    int width = 4;
    const int64_t now = (int64_t)time(NULL);
    for (size_t i = 0; i < n; i++)
        if ((int)strlen(entries[i]->name) > width) width = (int)strlen(entries[i]->name);
    if (all) printf("%-*s    %-9s    %-8s    %s\n", width, "NAME", "INSTALLED", "SIZE", "DESCRIPTION");
    else printf("%-*s    %-12s    %-8s    %s\n", width, "NAME", "ID", "SIZE", "MODIFIED");
    for (size_t i = 0; i < n; i++) {
        const quern_store_entry *e = entries[i];
        const qn_cli_text size = qn_cli_bytes(e->size_bytes);
        const char *shown = e->size_bytes > 0 ? size.text : "-";
        if (all) printf("%-*s    %-9s    %-8s    %s\n", width, e->name, e->path != NULL ? "yes" : "-", shown, e->description != NULL ? e->description : "");
        else printf("%-*s    %-12.12s    %-8s    %s\n", width, e->name, e->sha256 != NULL ? e->sha256 : "-", shown, qn_cli_age(e->modified_s, now).text);
    }
}

int qn_cli_list(int argc, char **argv)
{
    enum { OPT_DIR = 256, OPT_JSON };
    static const struct option longs[] = {{"all", no_argument, NULL, 'a'}, {"models-dir", required_argument, NULL, OPT_DIR},
                                          {"json", no_argument, NULL, OPT_JSON}, {"quiet", no_argument, NULL, 'q'},
                                          {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    quern_store_params params = quern_store_params_default();
    bool all = false, json = false, quiet = false;
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, "aqh", longs, NULL)) != -1;) {
        switch (c) {
        case 'a': all = true; break;
        case OPT_DIR: params.directory = optarg; break;
        case OPT_JSON: json = true; break;
        case 'q': quiet = true; break;
        case 'h': fputs(USAGE, stdout); return 0;
        default: fputs("quern: list: `quern list --help` shows how\n", stderr); return 2;
        }
    }
    if (optind < argc) {
        fputs("quern: list: takes no names (`quern show MODEL` describes one)\n", stderr);
        return 2;
    }
    quern_store *store = NULL;
    quern_error err;
    const quern_store_entry *const *entries = NULL;
    size_t n = 0;
    int rc = 0;
    if (quern_store_open(&store, &params, &err) != QUERN_OK || quern_store_list(store, all, &entries, &n, &err) != QUERN_OK) {
        fprintf(stderr, "quern: %s\n", err.message);
        rc = 1;
    } else if (json) {
        rc = print_json(entries, n);
    } else if (quiet) {
        for (size_t i = 0; i < n; i++) puts(entries[i]->name);
    } else {
        print_table(entries, n, all);
    }
    quern_store_close(store);
    return rc != 0 || fflush(stdout) != 0 || ferror(stdout) ? 1 : 0;
}
