/* cli_util.h: runs the built program as a user does: arguments, standard input, what it says, how it ends. */
#ifndef QN_TESTS_CLI_UTIL_H
#define QN_TESTS_CLI_UTIL_H

#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct cli_result {
    int code; /* exit code; 128 + signal */
    char *out, *err;
    size_t n_out, n_err;
} cli_result;

/* Arguments in one string, separated by \x1f, or by blanks if there is none of these. */
cli_result cli_run(const char *arguments, const char *input);
/* The same with bytes as input (NULL: /dev/null), and standard output opened from a path (NULL: caught). */
cli_result cli_run_to(const char *arguments, const char *input, size_t n_input, const char *out_path);
void cli_free(cli_result *r);

/* Exit code, nothing on stdout, and exactly one line on stderr that begins with "quern: " and holds `said`.
 */
void cli_expect_failure(const char *arguments, const char *input, int code, const char *said);

/* A directory for this test program, made anew; removed by cli_tear_down. */
extern char cli_directory[64];
int cli_set_up(void **state);
int cli_tear_down(void **state);
/* "DIRECTORY/name" in one of eight static buffers. */
const char *cli_path(const char *name);
const char *cli_format(const char *format, ...) __attribute__((format(printf, 1, 2))); /* likewise */
void cli_write(const char *path, const char *bytes, size_t n_bytes);

/* Words that a chat template can be told by. */
#define CLI_TEMPLATE                                                                                         \
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"                                     \
    "{% if add_generation_prompt %}assistant:{% endif %}"

/* The same for a model that reasons, whose marker is "</think>": token 319. */
#define CLI_REASONING_TEMPLATE                                                                               \
    "{% for m in messages %}{{ m.role }}: {{ m.content.split('</think>')[-1] }}\n{% endfor %}"               \
    "{% if add_generation_prompt %}assistant: <think>\n{% endif %}"

#endif
