/* jsonl.c: commands that programs drive: a line of JSON in, a line out. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

json_t *qn_cli_error_line(const char *message)
{
    return json_pack("{s:s}", "error", message);
}

static json_t *answer_line(const char *line, size_t n_bytes, qn_answer_line_fn *answer, void *user)
{
    json_error_t where;
    char problem[sizeof where.text + 32];
    json_t *request = json_loadb(line, n_bytes, JSON_ALLOW_NUL, &where), *reply = NULL;
    if (request == NULL) {
        snprintf(problem, sizeof problem, "column %d: %s", where.column, where.text);
        return qn_cli_error_line(problem);
    }
    reply = json_is_object(request) ? answer(user, request) : qn_cli_error_line("the line is no JSON object");
    json_decref(request);
    return reply;
}

int qn_cli_each_line(const char *command, qn_answer_line_fn *answer, void *user)
{
    char *line = NULL;
    size_t capacity = 0;
    bool ok = true;
    for (ssize_t n; ok && (n = getline(&line, &capacity, stdin)) >= 0;) {
        json_t *reply = answer_line(line, (size_t)n, answer, user);
        char *text = reply != NULL ? json_dumps(reply, 0) : NULL;
        ok = puts(text != NULL ? text : "{\"error\": \"no memory\"}") >= 0 && fflush(stdout) == 0;
        free(text);
        json_decref(reply);
    }
    free(line);
    if (ferror(stdin)) return qn_cli_fail_text("%s: standard input cannot be read", command);
    return qn_cli_flush();
}
