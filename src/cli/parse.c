/* parse.c: `quern parse --format NAME|--template T.jinja --jsonl`: reads what a model wrote back into a
 * message, for each line of JSON on standard input. A plumbing command: one line out for each line in,
 * whatever is wrong with it. */
#include "base/alloc.h"
#include "base/file.h"
#include "chat/chat.h"
#include "chat/output_message.h"
#include "cli/cli.h"

#include <jansson.h>
#include <stdio.h>

/* The fields of a line, borrowed from it. */
static quern_status read_fields(const json_t *line, const char **text, size_t *n_bytes,
                                qn_output_params *params, quern_error *err)
{
    const json_t *text_field = json_object_get(line, "text"), *tools = json_object_get(line, "tools");
    const json_t *prompt_end = json_object_get(line, "prompt_end");
    if (!json_is_string(text_field))
        return qn_fail(err, QUERN_ERR_ARGUMENT, "'text' is missing or no string");
    if (prompt_end != NULL && !json_is_string(prompt_end))
        return qn_fail(err, QUERN_ERR_ARGUMENT, "'prompt_end' must be a string");
    *text = json_string_value(text_field);
    *n_bytes = json_string_length(text_field);
    params->tools = json_is_array(tools) ? tools : NULL;
    params->prompt_end = json_string_value(prompt_end);
    params->reasoning_is_content = json_is_false(json_object_get(line, "reasoning"));
    return qn_chat_check_tools(tools, err);
}

static json_t *answer_line(void *user, const json_t *request)
{
    qn_output_params params = {.format = user};
    const char *text = NULL;
    size_t n_bytes = 0;
    json_t *message = NULL;
    quern_error err;
    quern_status status = read_fields(request, &text, &n_bytes, &params, &err);
    if (status == QUERN_OK) status = qn_output_parse(&message, &params, text, n_bytes, &err);
    return status == QUERN_OK ? json_pack("{s:o}", "message", message) : qn_cli_error_line(err.message);
}

static int list_formats(void)
{
    for (size_t i = 0; i < qn_n_output_formats; i++) puts(qn_output_formats[i].name);
    return qn_cli_flush();
}

/* The format of the template in a file. */
static quern_status detect(const char *path, const qn_output_format **format, quern_error *err)
{
    char *source = NULL;
    size_t n_bytes = 0;
    const quern_status status = qn_file_read(&source, &n_bytes, path, (size_t)16 << 20, err);
    if (status == QUERN_OK) *format = qn_output_format_detect(source);
    qn_free(source);
    return status;
}

int qn_cli_parse(int argc, char **argv)
{
    const char *name = NULL, *path = NULL;
    bool jsonl = false, list = false;
    const qn_option options[] = {
        {"--format", QN_TEXT, &name, 0, 0, "NAME", "the format"},
        {"--template", QN_TEXT, &path, 0, 0, "FILE", "the chat template that shows the format"},
        {"--jsonl", QN_FLAG, &jsonl, 0, 0, NULL, "one JSON object a line, in and out"},
        {"--list", QN_FLAG, &list, 0, 0, NULL, "print the names of the formats"},
    };
    const int code = qn_options_parse("parse", options, 4, &argc, argv, 0, 0);
    if (code >= 0) return code;
    if (list) return list_formats();
    if ((name == NULL) == (path == NULL) || !jsonl)
        return qn_cli_usage(
            "parse: --jsonl and one of --format and --template are needed (see quern parse --help)");
    const qn_output_format *format = name != NULL ? qn_output_format_find(name) : NULL;
    if (name != NULL && format == NULL)
        return qn_cli_usage("parse: --format: there is no '%s' (see quern parse --list)", name);
    quern_error err = {0};
    if (path != NULL && detect(path, &format, &err) != QUERN_OK) return qn_cli_fail(&err);
    return qn_cli_each_line("parse", answer_line, (void *)(uintptr_t)format);
}
