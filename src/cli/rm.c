/* rm.c: `quern rm`: deletes installed models, and the packed weights kept for them. */
#include "cli/cli.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

/* Packs of the file that a name means (NULL: of none), before the name means nothing any more. */
static char *installed_path(quern_store *store, const char *name)
{
    const quern_store_entry *entry = NULL;
    if (quern_store_resolve(store, name, &entry, NULL) != QUERN_OK || entry->path == NULL) return NULL;
    return qn_strdup(entry->path);
}

static bool remove_one(quern_store *store, const char *name, bool packs_only)
{
    quern_error err;
    char *path = installed_path(store, name);
    quern_status s = QUERN_OK;
    if (packs_only && path == NULL)
        s = quern_store_resolve(store, name, &(const quern_store_entry *){NULL}, &err);
    if (path != NULL && packs_only) s = quern_packs_remove(NULL, path, NULL, &err);
    else if (path != NULL)
        quern_packs_remove(NULL, path, NULL, NULL); /* what stays is stale: the first to go */
    if (s == QUERN_OK && !packs_only) s = quern_store_remove(store, name, &err);
    if (s != QUERN_OK) qn_cli_fail(&err);
    qn_free(path);
    return s == QUERN_OK;
}

static int remove_all(const quern_store_params *params, char **names, int n, bool packs_only, bool json)
{
    quern_store *store = NULL;
    quern_error err;
    int failures = 0;
    if (quern_store_open(&store, params, &err) != QUERN_OK) return qn_cli_fail(&err);
    for (int i = 0; i < n; i++) {
        const bool ok = remove_one(store, names[i], packs_only);
        if (!ok) failures++;
        if (json)
            failures += qn_cli_print_json(json_pack("{s:s, s:b}", "name", names[i], "removed", (int)ok)) !=
                        QN_EXIT_OK;
        else if (ok) printf("removed %s%s\n", packs_only ? "the packs of " : "", names[i]);
    }
    quern_store_close(store);
    return qn_cli_flush() != QN_EXIT_OK || failures > 0 ? QN_EXIT_FAILURE : QN_EXIT_OK;
}

static int remove_all_packs(bool json)
{
    quern_error err;
    uint64_t n_bytes;
    if (quern_packs_remove(NULL, NULL, &n_bytes, &err) != QUERN_OK) return qn_cli_fail(&err);
    if (json) return qn_cli_print_json(json_pack("{s:I}", "freed_bytes", (json_int_t)n_bytes));
    printf("removed all packs, %s\n", qn_cli_bytes(n_bytes).text);
    return qn_cli_flush();
}

int qn_cli_rm(int argc, char **argv)
{
    quern_store_params params = quern_store_params_default();
    bool json = false, packs = false;
    const qn_option table[] = {
        {"--packs", QN_FLAG, &packs, 0, 0, NULL,
         "only the packed weights kept for faster starts: of these models, or all"},
        {"--models-dir", QN_TEXT, &params.directory, 0, 0, "DIR",
         "the store's directory ($QUERN_MODELS, or quern/models in the XDG data directory)"},
        {"--json", QN_FLAG, &json, 0, 0, NULL, "print one JSON object for each model"},
    };
    const int code = qn_options_parse("rm", table, sizeof table / sizeof table[0], &argc, argv, 0, 1000);
    if (code >= 0) return code;
    if (argc > 1) return remove_all(&params, argv + 1, argc - 1, packs, json);
    return packs ? remove_all_packs(json)
                 : qn_cli_usage("rm: too few arguments: quern rm MODEL... (see quern rm --help)");
}
