/* long_run.h: how often a test does what it does: a number of its own, or for a long run what a variable of
 * the environment says. */
#ifndef QN_TESTS_LONG_RUN_H
#define QN_TESTS_LONG_RUN_H

#include <stddef.h>
#include <stdlib.h>

static inline size_t long_run(const char *variable, size_t otherwise)
{
    const char *said = getenv(variable);
    return said != NULL ? (size_t)strtoul(said, NULL, 10) : otherwise;
}

#endif
