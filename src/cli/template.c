/* template.c: `quern template --file T.jinja --jsonl`: renders a chat template for each line of JSON on
 * standard input. A plumbing command: one line out for each line in, whatever is wrong with it. */
#include "base/alloc.h"
#include "base/file.h"
#include "chat/chat.h"
#include "cli/cli.h"

#include <jansson.h>
#include <stdio.h>

typedef struct usable_template {
    const qn_jinja *jinja;     /* NULL: there is none */
    const quern_error *broken; /* why */
} usable_template;

static quern_status render(const qn_jinja *t, const json_t *variables, qn_buffer *text, quern_error *err)
{
    int64_t now = INT64_MIN;
    const json_t *clock = json_object_get(variables, "now");
    if (clock != NULL && !json_is_null(clock)) {
        if (!json_is_string(clock))
            return qn_fail(err, QUERN_ERR_ARGUMENT, "'now' must be a string (ISO 8601)");
        const quern_status status = qn_chat_parse_time(json_string_value(clock), &now, err);
        if (status != QUERN_OK) return status;
    }
    return qn_jinja_render(t, variables, now, NULL, text, err);
}

static json_t *answer_line(void *user, const json_t *variables)
{
    const usable_template *t = user;
    qn_buffer text = {0};
    quern_error err = *t->broken;
    json_t *reply;
    if (t->jinja == NULL || render(t->jinja, variables, &text, &err) != QUERN_OK)
        reply = qn_cli_error_line(err.message);
    else reply = json_pack("{s:s%}", "text", text.data != NULL ? text.data : "", text.n_bytes);
    qn_buffer_deinit(&text);
    return reply;
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
    const int result = qn_cli_each_line("template", answer_line, &(usable_template){t, &err});
    qn_jinja_destroy(t);
    if (usable) return result;
    qn_fail_prefix(&err, "%s", path);
    return qn_cli_fail(&err);
}
