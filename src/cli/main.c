/* main.c: the command line; one file per command, dispatched here. */
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static int print_help(void)
{
    printf("quern %s: runs language models on this machine\n\nusage: quern COMMAND ...\n\n", quern_version());
    for (size_t i = 0; i < qn_n_commands; i++)
        printf("  %-11s %s\n", qn_commands[i].name, qn_commands[i].summary);
    printf("\nMODEL is a path to a .gguf file or a name such as smollm2. See quern COMMAND --help.\n");
    return qn_cli_flush();
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, and says so */
    if (argc < 2) {
        print_help();
        return QN_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        const qn_command *about = argc > 2 ? qn_command_find(argv[2]) : NULL;
        char *help[] = {argv[1], (char[]){"--help"}, NULL};
        return about != NULL ? about->run(2, help) : print_help();
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
        printf("quern %s\n%s", quern_version(), quern_build_info());
        return qn_cli_flush();
    }
    const qn_command *command = qn_command_find(name);
    if (command == NULL) return qn_cli_usage("unknown command '%.100s' (see quern --help)", name);
    return command->run(argc - 1, argv + 1);
}
