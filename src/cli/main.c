/* main.c: the command line; one file per command, dispatched here. */
#include "quern.h"

#include <stdio.h>
#include <string.h>

int qn_cli_pull(int argc, char **argv);
int qn_cli_list(int argc, char **argv);
int qn_cli_rm(int argc, char **argv);

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "pull") == 0) return qn_cli_pull(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "list") == 0) return qn_cli_list(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "rm") == 0) return qn_cli_rm(argc - 1, argv + 1);
    printf("quern %s\n", quern_version());
    return 0;
}
