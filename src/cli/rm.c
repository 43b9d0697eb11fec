/* rm.c: `quern rm`: deletes installed models. */
#include "cli/cli.h"

#include <stdio.h>

static int remove_all(const quern_store_params *params, char **names, int n, bool json)
{
    quern_store *store = NULL;
    quern_error err;
    int failures = 0;
    if (quern_store_open(&store, params, &err) != QUERN_OK) return qn_cli_fail(&err);
    for (int i = 0; i < n; i++) {
        const bool ok = quern_store_remove(store, names[i], &err) == QUERN_OK;
        if (!ok) qn_cli_fail(&err);
        if (!ok) failures++;
        if (json)
            failures += qn_cli_print_json(json_pack("{s:s, s:b}", "name", names[i], "removed", (int)ok)) !=
                        QN_EXIT_OK;
        else if (ok) printf("removed %s\n", names[i]);
    }
    quern_store_close(store);
    return qn_cli_flush() != QN_EXIT_OK || failures > 0 ? QN_EXIT_FAILURE : QN_EXIT_OK;
}

int qn_cli_rm(int argc, char **argv)
{
    quern_store_params params = quern_store_params_default();
    bool json = false;
    const qn_option table[] = {
        {"--models-dir", QN_TEXT, &params.directory, 0, 0, "DIR",
         "the store's directory ($QUERN_MODELS, or quern/models in the XDG data directory)"},
        {"--json", QN_FLAG, &json, 0, 0, NULL, "print one JSON object for each model"},
    };
    const int code = qn_options_parse("rm", table, sizeof table / sizeof table[0], &argc, argv, 1, 1000);
    return code >= 0 ? code : remove_all(&params, argv + 1, argc - 1, json);
}
