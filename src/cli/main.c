/* main.c: the command line; one file per command, dispatched here. */
#include "quern.h"

#include <stdio.h>

int main(void)
{
    printf("quern %s\n", quern_version());
    return 0;
}
