/* template.c: `quern template --file T.jinja --jsonl`: renders a chat template for each line of JSON on
 * standard input. A plumbing command: one line out for each line in, whatever is wrong with it. */
#include "base/alloc.h"
#include "base/file.h"
#include "chat/chat.h"
#include "cli/cli.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Writes {"name": "text"} as one line. */
static bool write_line(const char *name, const char *text, size_t n_bytes)
{
    json_t *line = json_object();
    json_t *value = json_stringn(text != NULL ? text : "", n_bytes);
    const bool whole = value != NULL && json_object_set_new(line, name, value) == 0;
    const bool ok =
        whole ? json_dumpf(line, stdout, 0) == 0 : fputs("{\"error\": \"no memory\"}", stdout) >= 0;
    json_decref(line);
    return ok && putchar('\n') != EOF && fflush(stdout) == 0;
}

static quern_status render_line(const qn_jinja *t, const char *bytes, size_t n_bytes, qn_buffer *text,
                                quern_error *err)
{
    json_error_t where;
    int64_t now = INT64_MIN;
    json_t *variables = json_loadb(bytes, n_bytes, JSON_ALLOW_NUL, &where);
    if (variables == NULL) return qn_fail(err, QUERN_ERR_ARGUMENT, "column %d: %s", where.column, where.text);
    quern_status status = QUERN_OK;
    if (!json_is_object(variables)) status = qn_fail(err, QUERN_ERR_ARGUMENT, "the line is no JSON object");
    const json_t *clock = status == QUERN_OK ? json_object_get(variables, "now") : NULL;
    if (clock != NULL && !json_is_null(clock)) {
        if (!json_is_string(clock))
            status = qn_fail(err, QUERN_ERR_ARGUMENT, "'now' must be a string (ISO 8601)");
        else status = qn_chat_parse_time(json_string_value(clock), &now, err);
    }
    if (status == QUERN_OK) status = qn_jinja_render(t, variables, now, NULL, text, err);
    json_decref(variables);
    return status;
}

/* Each line of standard input; `broken` is why there is no template. */
static int render_lines(const qn_jinja *t, const quern_error *broken)
{
    char *line = NULL;
    size_t capacity = 0;
    bool ok = true;
    for (ssize_t n; ok && (n = getline(&line, &capacity, stdin)) >= 0;) {
        qn_buffer text = {0};
        quern_error err = *broken;
        if (t != NULL && render_line(t, line, (size_t)n, &text, &err) == QUERN_OK)
            ok = write_line("text", text.data, text.n_bytes);
        else ok = write_line("error", err.message, strlen(err.message));
        qn_buffer_deinit(&text);
    }
    free(line); /* getline's */
    if (ferror(stdin)) return qn_cli_fail_text("template: standard input cannot be read");
    return qn_cli_flush();
}

int qn_cli_template(int argc, char **argv)
{
    const char *path = NULL;
    bool jsonl = false;
    const qn_option options[] = {
        {"--file", QN_TEXT, &path, 0, 0, "FILE", "the template"},
        {"--jsonl", QN_FLAG, &jsonl, 0, 0, NULL, "one JSON object a line, in and out"},
    };
    const int code = qn_options_parse("template", options, 2, &argc, argv, 0, 0);
    if (code >= 0) return code;
    if (path == NULL || !jsonl)
        return qn_cli_usage("template: --file and --jsonl are needed (see quern template --help)");
    quern_error err = {0};
    char *source = NULL;
    size_t n_bytes = 0;
    if (qn_file_read(&source, &n_bytes, path, (size_t)16 << 20, &err) != QUERN_OK) return qn_cli_fail(&err);
    qn_jinja *t = NULL;
    const bool usable = qn_jinja_parse(&t, source, n_bytes, &err) == QUERN_OK;
    qn_free(source);
    const int result = render_lines(t, &err);
    qn_jinja_destroy(t);
    if (usable) return result;
    qn_fail_prefix(&err, "%s", path);
    return qn_cli_fail(&err);
}
