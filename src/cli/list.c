/* list.c: `quern list`: what is installed, or what the catalogue offers. */
#include "cli/cli.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int print_json(const quern_store_entry *const *entries, size_t n)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < n && ok; i++) {
        const quern_store_entry *e = entries[i];
        json_t *o =
            json_pack("{s:s, s:b, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*}", "name", e->name, "installed",
                      e->path != NULL, "path", e->path, "source", e->source, "sha256", e->sha256,
                      "description", e->description, "architecture", e->architecture, "license", e->license);
        ok = o != NULL && json_array_append_new(list, o) == 0;
        if (ok && e->size_bytes > 0)
            ok = json_object_set_new(o, "size_bytes", json_integer((json_int_t)e->size_bytes)) == 0;
        if (ok && e->modified_s != 0)
            ok = json_object_set_new(o, "modified_s", json_integer((json_int_t)e->modified_s)) == 0;
    }
    if (ok) return qn_cli_print_json(list);
    if (list != NULL) json_decref(list);
    return qn_cli_fail_text("list: no memory for the entries");
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
        if (all)
            printf("%-*s    %-9s    %-8s    %s\n", width, e->name, e->path != NULL ? "yes" : "-", shown,
                   e->description != NULL ? e->description : "");
        else
            printf("%-*s    %-12.12s    %-8s    %s\n", width, e->name, e->sha256 != NULL ? e->sha256 : "-",
                   shown, qn_cli_age(e->modified_s, now).text);
    }
}

typedef struct pack_list {
    json_t *json; /* NULL: a table */
    uint64_t n_bytes;
    size_t n_packs;
    bool quiet;
} pack_list;

static bool print_pack(void *user, const quern_pack_entry *e)
{
    pack_list *list = user;
    const char *source = e->source != NULL ? e->source : "(not readable)";
    if (list->json != NULL) {
        json_array_append_new(list->json, json_pack("{s:s, s:s*, s:I, s:I, s:b}", "path", e->path, "source",
                                                    e->source, "size_bytes", (json_int_t)e->size_bytes,
                                                    "used_s", (json_int_t)e->used_s, "stale", (int)e->stale));
        return true;
    }
    if (list->n_packs++ == 0 && !list->quiet)
        printf("%-8s    %-16s    %-5s    %s\n", "SIZE", "USED", "STALE", "MODEL");
    list->n_bytes += e->size_bytes;
    const qn_quoted shown = qn_quote(source, strlen(source));
    if (list->quiet) puts(shown.text);
    else
        printf("%-8s    %-16s    %-5s    %s\n", qn_cli_bytes(e->size_bytes).text,
               qn_cli_age(e->used_s, (int64_t)time(NULL)).text, e->stale ? "yes" : "-", shown.text);
    return true;
}

static int list_packs(bool json, bool quiet)
{
    quern_error err;
    pack_list list = {.json = json ? json_array() : NULL, .quiet = quiet};
    if (quern_packs_list(NULL, print_pack, &list, &err) != QUERN_OK) {
        json_decref(list.json);
        return qn_cli_fail(&err);
    }
    if (json) return qn_cli_print_json(list.json);
    if (!quiet) printf("%zu packs, %s\n", list.n_packs, qn_cli_bytes(list.n_bytes).text);
    return qn_cli_flush();
}

int qn_cli_list(int argc, char **argv)
{
    quern_store_params params = quern_store_params_default();
    bool all = false, json = false, quiet = false, packs = false;
    const qn_option table[] = {
        {"-a, --all", QN_FLAG, &all, 0, 0, NULL, "what the catalogue offers, installed or not"},
        {"--packs", QN_FLAG, &packs, 0, 0, NULL, "the packed weights that are kept for faster starts"},
        {"--models-dir", QN_TEXT, &params.directory, 0, 0, "DIR",
         "the store's directory ($QUERN_MODELS, or quern/models in the XDG data directory)"},
        {"--json", QN_FLAG, &json, 0, 0, NULL, "print a JSON array"},
        {"-q, --quiet", QN_FLAG, &quiet, 0, 0, NULL, "names only"},
    };
    const int code = qn_options_parse("list", table, sizeof table / sizeof table[0], &argc, argv, 0, 0);
    if (code >= 0) return code;
    if (packs) return list_packs(json, quiet);
    quern_store *store = NULL;
    quern_error err;
    const quern_store_entry *const *entries = NULL;
    size_t n = 0;
    int rc;
    if (quern_store_open(&store, &params, &err) != QUERN_OK ||
        quern_store_list(store, all, &entries, &n, &err) != QUERN_OK) {
        rc = qn_cli_fail(&err);
    } else if (json) {
        rc = print_json(entries, n);
    } else {
        if (!quiet) print_table(entries, n, all);
        for (size_t i = 0; quiet && i < n; i++) puts(entries[i]->name);
        rc = qn_cli_flush();
    }
    quern_store_close(store);
    return rc;
}
