/* run_tools.c: the tools that `quern run` offers to a model. */
#include "cli/run.h"

#include <stdlib.h>
#include <string.h>

json_t *qn_run_read_tools(const char *source)
{
    const bool is_text = source[strspn(source, " \t\r\n")] == '[';
    char *read =
        is_text ? NULL : qn_cli_read_text(source, &(size_t){0}, "tools that are no file begin with '['");
    json_error_t where;
    if (!is_text && read == NULL) return NULL;
    json_t *tools = json_loads(is_text ? source : read, JSON_REJECT_DUPLICATES, &where);
    quern_free(read);
    if (json_is_array(tools)) return tools;
    if (tools == NULL)
        qn_cli_fail_text("--tools: line %d, column %d: %s", where.line, where.column, where.text);
    else qn_cli_fail_text("--tools: an array of tools is needed");
    json_decref(tools);
    return NULL;
}

char *qn_run_tool_options(const qn_run_options *o, const json_t *tools, const char *prompt)
{
    const char *choice = o->tool_choice != NULL ? o->tool_choice : "auto";
    const bool is_word = strcmp(choice, "auto") == 0 || strcmp(choice, "required") == 0;
    json_t *chosen = is_word ? json_string(choice)
                             : json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", choice);
    json_t *options = json_pack("{s:O*, s:s, s:o}", "tools", tools, "prompt", prompt, "tool_choice", chosen);
    char *text = options != NULL ? json_dumps(options, JSON_COMPACT) : NULL;
    json_decref(options);
    if (text == NULL) qn_cli_fail_text("tools: no memory, or the prompt is not UTF-8 text");
    return text;
}

bool qn_run_bind_tools(qn_run_options *o, const quern_model *model, const json_t *tools, const char *prompt)
{
    quern_error err;
    if (o->grammar != NULL)
        return qn_cli_usage("run: --tools and --schema, --grammar, --regex or --json exclude each other"),
               false;
    char *options = qn_run_tool_options(o, tools, prompt);
    if (options == NULL) return false;
    const quern_status s = quern_chat_grammar(&o->grammar, model, options, &err);
    free(options);
    if (s != QUERN_OK) qn_cli_fail(&err);
    return s == QUERN_OK;
}
