/* output_parser_test.c: what models write, by format: whole, byte by byte, and cut at every place. Events are
 * compared as a line: R<reasoning> C<content> name(arguments), and name(arguments where a call broke off. */
#include "chat_test.h"

#include "base/utf8.h"
#include "chat/output_message.h"

typedef struct line {
    qn_buffer text;
    int kind; /* of the delta that goes on; -1: none */
} line;

static bool add_event(void *user, const qn_output_event *e)
{
    line *l = user;
    const bool delta = e->kind != QN_OUTPUT_CALL && e->kind != QN_OUTPUT_CALL_END;
    if (delta) {
        assert_true(e->n_bytes > 0);
        assert_true(qn_utf8_valid(e->text, e->n_bytes)); /* no character is cut */
    }
    if (e->kind != QN_OUTPUT_ARGUMENTS && (int)e->kind != l->kind) {
        if (l->kind == QN_OUTPUT_CONTENT || l->kind == QN_OUTPUT_REASONING) qn_buffer_puts(&l->text, ">");
        if (e->kind == QN_OUTPUT_CONTENT) qn_buffer_puts(&l->text, "C<");
        if (e->kind == QN_OUTPUT_REASONING) qn_buffer_puts(&l->text, "R<");
    }
    if (delta) qn_buffer_append(&l->text, e->text, e->n_bytes);
    if (e->kind == QN_OUTPUT_CALL) {
        assert_int_equal(strlen(e->id), QN_OUTPUT_ID_BYTES);
        qn_buffer_printf(&l->text, "%s(", e->name);
    }
    if (e->kind == QN_OUTPUT_CALL_END) qn_buffer_puts(&l->text, e->complete ? ")" : "");
    l->kind = delta ? (int)e->kind : -1;
    return !l->text.failed;
}

typedef struct feed { /* how the text is cut */
    const char *format, *prompt_end;
    json_t *tools;
    bool reasoning_is_content;
} feed;

/* first: bytes of the first push; step: of each further one. The caller frees. */
static char *read_text(const feed *f, const char *text, size_t first, size_t step)
{
    line l = {.kind = -1};
    const size_t n = strlen(text);
    const qn_output_params params = {.format = qn_output_format_find(f->format),
                                     .tools = f->tools,
                                     .prompt_end = f->prompt_end,
                                     .reasoning_is_content = f->reasoning_is_content,
                                     .emit = add_event,
                                     .user = &l};
    qn_output_parser *p;
    assert_non_null(params.format);
    assert_int_equal(qn_output_parser_create(&p, &params, NULL), QUERN_OK);
    for (size_t at = 0, piece = first; at < n; at += piece, piece = step) {
        if (piece > n - at) piece = n - at;
        char *exact = malloc(piece > 0 ? piece : 1); /* so that a sanitizer sees an over-read */
        memcpy(exact, text + at, piece);
        assert_int_equal(qn_output_parser_push(p, exact, piece, NULL), QUERN_OK);
        free(exact);
    }
    assert_int_equal(qn_output_parser_finish(p, NULL), QUERN_OK);
    assert_int_equal(qn_output_parser_held(p), 0);
    qn_output_parser_destroy(p);
    if (l.kind == QN_OUTPUT_CONTENT || l.kind == QN_OUTPUT_REASONING) qn_buffer_puts(&l.text, ">");
    return l.text.data != NULL ? qn_buffer_take(&l.text, NULL) : qn_strdup("");
}

static void assert_line(const feed *f, const char *text, const char *expected, size_t first, size_t step)
{
    char *is = read_text(f, text, first, step);
    if (strcmp(is, expected) != 0)
        fail_msg("%s, first %zu, step %zu:\n%s\ngives    %s\nexpected %s", f->format, first, step, text, is,
                 expected);
    qn_free(is);
}

static void assert_read(const feed *f, const char *text, const char *expected)
{
    const size_t n = strlen(text);
    assert_line(f, text, expected, n, n);
    for (size_t step = 1; step <= 3; step++) assert_line(f, text, expected, step, step);
    for (size_t first = 0; first < n; first++) assert_line(f, text, expected, first, n);
}

typedef struct read_case {
    const char *format, *text, *expected;
} read_case;

static const read_case cases[] = {
    /* text that is no call, and calls in their usual form */
    {"generic", "", ""},
    {"generic", " Hi, \xF0\x9F\x98\x80 <b>you</b> [1] {x} ", "C< Hi, \xF0\x9F\x98\x80 <b>you</b> [1] {x} >"},
    {"generic", "{\"name\": \"f\", \"parameters\": {\"a\": 1}}", "f({\"a\": 1})"},
    {"generic", "{\"name\": \"Bob\", \"age\": 3}", "C<{\"name\": \"Bob\", \"age\": 3}>"},
    {"generic", "{\"name\": \"f\", \"age\": 3}", "C<{\"name\": \"f\", \"age\": 3}>"},
    {"generic", "Say {\"name\": \"f\", \"parameters\": {}}", "C<Say {\"name\": \"f\", \"parameters\": {}}>"},
    {"hermes", "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}\\\"{é\"}}\n</tool_call>",
     "f({\"a\": \"}\\\"{é\"})"},
    {"hermes",
     "<think>\nHm.\n</think>\n\nLook:\n<tool_call>\n{\"name\": \"f\", \"arguments\": "
     "{}}\n</tool_call>\n<tool_call>\n"
     "{\"name\": \"g\", \"arguments\": {\"b\": [1, 2]}}\n</tool_call>\nDone. ",
     "R<Hm.>C<Look:>f({})g({\"b\": [1, 2]})C<\nDone. >"},
    {"hermes", "{\"name\": \"f\", \"arguments\": {}}", "C<{\"name\": \"f\", \"arguments\": {}}>"},
    {"hermes", "<tool_call>{\"arguments\": {\"a\": 1}, \"name\": \"f\"}</tool_call>", "f({\"a\": 1})"},
    {"hermes", "<tool_call>{\"name\": \"f\"}</tool_call>", "f({})"},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": null}</tool_call>x", "f({})C<x>"},
    {"hermes",
     "<tool_call>{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": {\"a\": "
     "1}}}</tool_call>.",
     "f({\"a\": 1})C<.>"},
    {"hermes",
     "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": "
     "\\\"\\u00e9\\ud83d\\ude00\\\\n\\\"}\"}</tool_call>",
     "f({\"a\": \"é\xF0\x9F\x98\x80\\n\"})"},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"x}\"}</tool_call>",
     "f({\"a\": 1})"},
    {"hermes",
     "<tool_call>[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {}}]</tool_call>",
     "f({})g({})"},
    /* what breaks off, and what is wrong */
    {"hermes", "a <tool_call>{\"name\": \"f", "C<a <tool_call>{\"name\": \"f>"},
    {"hermes", "a <tool_", "C<a <tool_>"},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"Zü", "f({\"a\": \"Zü"},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool", "f({\"a\": 1})"},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1</tool_call> b", "f({\"a\": 1C<b>"},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}} what", "f({\"a\": 1})C<what>"},
    {"hermes", "<tool_call>{\"name\": \"h\", \"arguments\": {}}</tool_call>",
     "C<<tool_call>{\"name\": \"h\", \"arguments\": {}}</tool_call>>"},
    {"hermes", "<tool_call>{\"name\": 1, \"arguments\": {}}</tool_call>",
     "C<<tool_call>{\"name\": 1, \"arguments\": {}}</tool_call>>"},
    {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": 7}</tool_call>",
     "C<<tool_call>{\"name\": \"f\", \"arguments\": 7}</tool_call>>"},
    {"hermes", "<tool_call><tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
     "C<<tool_call>>f({})"},
    {"hermes", "<<tool_call>{\"name\": \"f\", \"arguments\": {}}", "C<<>f({})"},
    /* reasoning */
    {"hermes", "<think>\n\n</think>\n\nYes", "C<Yes>"},
    {"hermes", "<think>a <tool_call>{\"name\": \"f\", \"arguments\": {}} b",
     "R<a <tool_call>{\"name\": \"f\", \"arguments\": {}} b>"},
    {"mistral_args", "[THINK]Hm[/THINK]Yes", "R<Hm>C<Yes>"},
    /* the other families */
    {"llama3", "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"a\": 1}}", "f({\"a\": 1})"},
    {"llama3",
     "\n{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {}}",
     "f({})g({})"},
    {"llama3", "[f(a=1, b='x'), g()]", "f({\"a\": 1, \"b\": \"x\"})g({})"},
    {"llama3", "[f](http://x)", "C<[f](http://x)>"},
    {"llama3", "[f(x)]", "C<[f(x)]>"},
    {"llama4", "<|python_start|>[f(a=[1, 2.50, True], b={'k': None,})]<|python_end|>",
     "f({\"a\": [1, 2.50, true], \"b\": {\"k\": null}})"},
    {"lfm2", "Wait.<|tool_call_start|>[f(a=\"it's\\n\\u00e9 \\\"q\\\"\"), g(b=(1, 'x'))]<|tool_call_end|>Now",
     "C<Wait.>f({\"a\": \"it's\\né \\\"q\\\"\"})g({\"b\": [1, \"x\"]})C<Now>"},
    {"lfm2", "<|tool_call_start|>[f(a=\"\"\"one \"two\"\"\"\", b='')]",
     "f({\"a\": \"one \\\"two\"C<\", b='')]>"},
    {"lfm2", "<|tool_call_start|>[f(a=\"\"\"one\ntwo\"\"\", b='')]",
     "f({\"a\": \"one\\ntwo\", \"b\": \"\"})"},
    {"lfm2", "<|tool_call_start|>[f(a=[1, ", "f({\"a\": [1"},
    {"gemma", "```tool_code\nf(a=1)\n```", "f({\"a\": 1})"},
    {"gemma4",
     "<|channel>thought\nHm\n<channel|><|tool_call>call:f{a:<|\"|>x \"y\" \\ "
     "<b|<|\"|>,b:{c:[1,true]}}<tool_call|><|tool_call>call:g{}"
     "<tool_call|>",
     "R<Hm>f({\"a\": \"x \\\"y\\\" \\\\ <b|\", \"b\": {\"c\": [1, true]}})g({})"},
    {"function_gemma",
     "<start_function_call>call:f{a:<escape>x \"y\" <esc<escape>,b:{c:[1,true]}}<end_function_call>"
     "<start_function_call>call:g{}<end_function_call><start_function_response>",
     "f({\"a\": \"x \\\"y\\\" <esc\", \"b\": {\"c\": [1, true]}})g({})"},
    {"function_gemma", "Sorry, I cannot help with that.", "C<Sorry, I cannot help with that.>"},
    {"mistral",
     "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"123456789\"}, {\"name\": \"g\", "
     "\"arguments\": {}}]",
     "f({\"a\": 1})g({})"},
    {"mistral", "[TOOL_CALLS]{\"name\": \"f\", \"arguments\": {\"a\": 1}}", "f({\"a\": 1})"},
    {"mistral_args", "[TOOL_CALLS]f[CALL_ID]123456789[ARGS]{\"a\": 1}[TOOL_CALLS]g[ARGS]{}",
     "f({\"a\": 1})g({})"},
    {"mistral_args", "[TOOL_CALLS]f {\"a\": 1}", "C<[TOOL_CALLS]f {\"a\": 1}>"},
    {"deepseek_v3.1",
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": "
     "1}<｜tool▁call▁end｜><｜tool▁call▁begin｜>g<｜tool▁sep｜>{}"
     "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     "f({\"a\": 1})g({})"},
    {"deepseek_dsml",
     "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"a\" "
     "string=\"false\">[1]</｜DSML｜parameter>\n"
     "<｜DSML｜parameter name=\"b\" "
     "string=\"true\">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
     "f({\"a\": [1], \"b\": \"1\"})"},
    {"kimi",
     "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"a\": "
     "1}<|tool_call_end|>"
     "<|tool_call_begin|>functions.g:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_"
     "end|>",
     "f({\"a\": 1})g({})"},
    {"qwen3_coder",
     "<tool_call>\n<function=f>\n<parameter=text>\n  x\n "
     "\"y\"\n\n</parameter>\n<parameter=a>\n3\n</parameter>\n<parameter=c>\n"
     "abc\n</parameter>\n</function>\n</tool_call>",
     "f({\"text\": \"  x\\n \\\"y\\\"\\n\", \"a\": 3, \"c\": \"abc\"})"},
    {"qwen3_coder", "<function=g>\n</function>", "g({})"},
    {"qwen3_coder", "<tool_call>\n<function=f>\n<parameter=text>\nab\n</para", "f({\"text\": \"ab"},
    {"qwen3_coder", "<function=f>\n<parameter=a>\n12", "f({\"a\": 12"},
    {"qwen3_coder", "<function=f>\n<parameter=", "f("},
    {"qwen3_coder", "a <function=g>\n</function>\n\nb", "C<a>g({})C<\n\nb>"},
    {"qwen3_coder", "<function=f> is what", "C<<function=f> is what>"},
    {"qwen3_coder", "<function=f>\n<parameter=a>1</parameter> oops", "f({\"a\": 1}C<oops>"},
    {"glm",
     "<think></think>\n<tool_call>f\n<arg_key>text</arg_key>\n<arg_value>1 < "
     "2</arg_value>\n<arg_key>a</arg_key>\n"
     "<arg_value>{\"b\": null}</arg_value>\n</tool_call>\n<tool_call>g\n</tool_call>",
     "f({\"text\": \"1 < 2\", \"a\": {\"b\": null}})g({})"},
    {"glm", "<tool_call>f<arg_key>a</arg_key><arg_value>['x', True]</arg_value></tool_call>",
     "f({\"a\": [\"x\", true]})"},
    {"minicpm5",
     "<function name=\"f\"><param name=\"c\"><![CDATA[3]]></param><param name=\"a\">3</param></function>",
     "f({\"c\": \"3\", \"a\": 3})"},
    {"functionary", "<function=f>{\"a\": 1}</function><function=g>{}</function>", "f({\"a\": 1})g({})"},
    {"functools", "Ok functools[{\"name\": \"f\", \"arguments\": {}}]", "C<Ok>f({})"},
    {"phi4_mini", "<|tool_call|>[{\"name\": \"f\", \"parameters\": {\"a\": 1}}]<|/tool_call|>",
     "f({\"a\": 1})"},
    {"granite", "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]", "f({\"a\": 1})"},
    {"command",
     "<|START_THINKING|>Hm<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": "
     "\"f\", \"parameters\": "
     "{\"a\": 1}}\n]<|END_ACTION|>",
     "R<Hm>f({\"a\": 1})"},
    {"command", "<|START_TEXT|>Hi<|END_TEXT|>", "C<Hi>"},
    {"apertus", "<|tools_prefix|>[{\"f\": {\"a\": 1}}, {\"g\": {}}]<|tools_suffix|>", "f({\"a\": 1})g({})"},
    {"harmony",
     "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>commentary to=functions.f "
     "<|constrain|>json<|message|>"
     "{\"a\": 1}<|call|>",
     "R<Hm>f({\"a\": 1})"},
    {"harmony", "plain text", "C<plain text>"},
    {"harmony", "<|channel|>commentary to=functions.h<|message|>{}<|call|>", "C<{}>"},
};

/* Where the prompt has begun what the model goes on with. */
static const struct {
    const char *prompt_end;
    read_case read;
} prompted[] = {
    {"<|im_start|>assistant\n<think>\n", {"hermes", "Hm.\n</think>\n\nYes", "R<Hm.>C<Yes>"}},
    {"<think>", {"hermes", "<think>\nHm.</think>Yes", "R<Hm.>C<Yes>"}},
    {"<think>\n", {"hermes", "Hm. <think> not", "R<Hm. <think> not>"}},
    {"<|assistant|>", {"hermes", "</think>Yes </think>", "C<Yes </think>>"}},
    {"Here are my reasoning steps:\n", {"apriel", "Hm.\n[BEGIN FINAL RESPONSE]\nYes", "R<Hm.>C<Yes>"}},
    {"<｜Assistant｜><think>\n",
     {"deepseek_json",
      "Hm</think>Ok<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": "
      "1}\n```<｜tool▁call▁end｜>\n"
      "<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
      "R<Hm>C<Ok>f({\"a\": 1})g({})"}},
    {"<|start|>assistant",
     {"harmony", " to=functions.f<|channel|>commentary json<|message|>{\"a\": 1}", "f({\"a\": 1})"}},
    {"<|start|>assistant",
     {"harmony", " to=functions.f<|channel|>commentary json<|message|>{\"a\": ", "f({\"a\": "}},
    {"<|start|>assistant",
     {"harmony", "<|channel|>final<|message|>Hi <|x|> you<|return|>", "C<Hi <|x|> you>"}},
    {"<|start|>assistant<|channel|>analysis<|message|>",
     {"harmony", "Hm<|end|><|start|>assistant<|channel|>final<|message|>Hi", "R<Hm>C<Hi>"}},
    {"<|start|>assistant",
     {"atem", " to=self<|message|>Hm<|eom|><|start|>assistant to=user<|message|>Hi<|eot|>", "R<Hm>C<Hi>"}},
};

static json_t *offered(void)
{
    json_t *tools = json_loads(
        "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\", "
        "\"properties\": {\"text\": {\"type\": \"string\"}, \"a\": {\"type\": \"integer\"}}}}}, "
        "{\"type\": \"function\", \"function\": {\"name\": \"g\"}}]",
        0, NULL);
    assert_non_null(tools);
    return tools;
}

static void assert_case(const read_case *c, const char *prompt_end, json_t *tools)
{
    const feed f = {c->format, prompt_end, tools, false};
    assert_read(&f, c->text, c->expected);
}

static void each_format_is_read_however_it_is_cut(void **state)
{
    (void)state;
    json_t *tools = offered();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) assert_case(&cases[i], NULL, tools);
    for (size_t i = 0; i < sizeof prompted / sizeof prompted[0]; i++)
        assert_case(&prompted[i].read, prompted[i].prompt_end, tools);
    json_decref(tools);
}

/* The text is content to the letter, but in formats that mark content too. */
static void assert_all_content(const read_case *c, json_t *tools)
{
    const feed f = {c->format, NULL, tools, true};
    const qn_output_format *format = qn_output_format_find(c->format);
    if (format->message_begin != NULL || format->skip[0] != NULL || c->text[0] == '\0') return;
    char *expected;
    assert_true(asprintf(&expected, "C<%s>", c->text) > 0);
    assert_read(&f, c->text, expected);
    free(expected);
}

static void without_tools_nothing_is_lost(void **state)
{
    (void)state;
    json_t *none = json_array();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) assert_all_content(&cases[i], none);
    for (size_t i = 0; i < sizeof prompted / sizeof prompted[0]; i++)
        assert_all_content(&prompted[i].read, none);
    json_decref(none);
}

static void any_name_is_a_call_where_no_tools_are_known(void **state)
{
    (void)state;
    const feed f = {"hermes", NULL, NULL, false};
    assert_read(&f, "<tool_call>{\"name\": \"a.b/c-d\", \"arguments\": {}}</tool_call>", "a.b/c-d({})");
    assert_read(&f, "<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>",
                "C<<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>>");
}

static void write_arguments(qn_buffer *text, const qn_output_format *f)
{
    const char *key_end =
        f->string_key_end != NULL && f->string_value_end == NULL ? f->string_key_end : f->key_end;
    if (f->syntax == QN_CALLS_PARAMETERS)
        qn_buffer_printf(text, "%stext%sx y%s", f->parameter_begin, key_end, f->value_end);
    else if (f->syntax == QN_CALLS_PYTHON) qn_buffer_puts(text, "text=\"x y\")");
    else if (f->syntax == QN_CALLS_BARE_KEYS) qn_buffer_printf(text, "text:%sx y%s}", f->quote, f->quote);
    else qn_buffer_puts(text, "{\"text\": \"x y\"}");
}

static void write_call(qn_buffer *text, const qn_output_format *f, const char *name, int number)
{
    if (f->name_begin != NULL) qn_buffer_puts(text, f->name_begin);
    if (f->id_end != NULL) qn_buffer_printf(text, "123456789%s", f->id_end);
    qn_buffer_puts(text, name);
    if (f->numbered) qn_buffer_printf(text, ":%d", number);
    qn_buffer_puts(text, f->arguments_begin);
    write_arguments(text, f);
    if (f->arguments_end != NULL) qn_buffer_puts(text, f->arguments_end);
}

/* The texts of each row, put together as its header says, make calls that are read back. */
static void the_usual_form_of_each_format_is_read(void **state)
{
    (void)state;
    json_t *tools = offered();
    for (size_t i = 0; i < qn_n_output_formats; i++) {
        const qn_output_format *f = &qn_output_formats[i];
        const feed how = {f->name, NULL, tools, false};
        qn_buffer text = {0};
        if (f->syntax == QN_CALLS_NONE) continue;
        if (f->begin[0] != NULL) qn_buffer_puts(&text, f->begin[0]);
        write_call(&text, f, "f", 0);
        if (f->separator != NULL) qn_buffer_puts(&text, f->separator);
        write_call(&text, f, "g", 1);
        if (f->end[0] != NULL) qn_buffer_puts(&text, f->end[0]);
        assert_read(&how, text.data, "f({\"text\": \"x y\"})g({\"text\": \"x y\"})");
        qn_buffer_deinit(&text);
    }
    json_decref(tools);
}

static void only_what_may_be_a_marker_is_held_back(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t held;
    } held[] = {{"Hello", 0},        {"Hello ", 1},        {"a < b", 0},
                {"a <t", 3},         {"a <tool_call", 11}, {"<tool_call>{\"x", 14},
                {"<tool_call>x", 0}, {"\xC3", 1},          {"<think>a", 0}};
    for (size_t i = 0; i < sizeof held / sizeof held[0]; i++) {
        line l = {.kind = -1};
        const qn_output_params params = {
            .format = qn_output_format_find("hermes"), .emit = add_event, .user = &l};
        qn_output_parser *p;
        assert_int_equal(qn_output_parser_create(&p, &params, NULL), QUERN_OK);
        assert_int_equal(qn_output_parser_push(p, held[i].text, strlen(held[i].text), NULL), QUERN_OK);
        if (qn_output_parser_held(p) != held[i].held)
            fail_msg("'%s': %zu bytes are held", held[i].text, qn_output_parser_held(p));
        qn_output_parser_destroy(p);
        qn_buffer_deinit(&l.text);
    }
}

static void repeat(qn_buffer *text, const char *part, int n)
{
    for (int i = 0; i < n; i++) qn_buffer_puts(text, part);
}

/* Reads a text at once, without tools, and deinits it; the caller frees the line. */
static char *read_long(const char *format, qn_buffer *text)
{
    const feed f = {.format = format};
    char *is = read_text(&f, text->data, text->n_bytes, 1);
    qn_buffer_deinit(text);
    return is;
}

static void too_many_calls_are_content(void **state)
{
    (void)state;
    qn_buffer text = {0};
    repeat(&text, "<|tool_call_start|>[f()]<|tool_call_end|>", QN_OUTPUT_MAX_CALLS + 1);
    char *is = read_long("lfm2", &text);
    assert_non_null(strstr(is, "f({})C<<|tool_call_start|>[f()]<|tool_call_end|>>"));
    qn_free(is);
}

static void arguments_that_are_too_deep_end_as_content(void **state)
{
    (void)state;
    qn_buffer text = {0};
    qn_buffer_puts(&text, "<|tool_call_start|>[f(a=");
    repeat(&text, "[", 100000);
    char *is = read_long("lfm2", &text);
    assert_int_equal(strncmp(is, "f({\"a\": [[[", 11), 0);
    assert_non_null(strstr(is, "C<[[["));
    qn_free(is);
}

static void what_is_before_a_name_is_bounded(void **state)
{
    (void)state;
    qn_buffer text = {0};
    qn_buffer_puts(&text, "<tool_call>{\"x\": \"");
    repeat(&text, "x", QN_OUTPUT_MAX_HEAD);
    qn_buffer_puts(&text, "\", \"name\": \"f\", \"arguments\": {}}</tool_call>");
    const size_t n_bytes = text.n_bytes;
    char *is = read_long("hermes", &text);
    assert_int_equal(strncmp(is, "C<<tool_call>{", 14), 0);
    assert_int_equal(strlen(is), n_bytes + 3);
    qn_free(is);
}

static void formats_are_found(void **state)
{
    (void)state;
    assert_null(qn_output_format_find("unknown"));
    assert_string_equal(qn_output_format_detect(NULL)->name, "generic");
    assert_string_equal(qn_output_format_detect("{{ messages }}")->name, "generic");
    assert_string_equal(qn_output_format_detect("..<tool_call>..")->name, "hermes");
    assert_string_equal(
        qn_output_format_detect("{{ '<start_of_turn>' }}{{ '<start_function_call>call:' + name }}")->name,
        "function_gemma");
    assert_string_equal(qn_output_format_detect("..<|start_header_id|>..")->name, "llama3");
    for (size_t i = 0; i < qn_n_output_formats; i++)
        assert_ptr_equal(qn_output_format_find(qn_output_formats[i].name), &qn_output_formats[i]);
}

static void a_message_is_made_of_the_events(void **state)
{
    (void)state;
    static const char text[] =
        "<think>a\xFF</think>b<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": 1}}</tool_call>";
    static const char only_call[] = "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": 1}}</tool_call>";
    const qn_output_params params = {.format = qn_output_format_find("hermes"), .id_seed = 7};
    json_t *message, *again;
    assert_int_equal(qn_output_parse(&message, &params, text, strlen(text), NULL), QUERN_OK);
    assert_int_equal(qn_output_parse(&again, &params, text, strlen(text), NULL), QUERN_OK);
    assert_true(json_equal(message, again));
    const char *id =
        json_string_value(json_object_get(json_array_get(json_object_get(message, "tool_calls"), 0), "id"));
    json_t *expected = json_pack("{s:s, s:s, s:s, s:[{s:s, s:s, s:{s:s, s:s}}]}", "role", "assistant",
                                 "content", "b", "reasoning_content", "a\xEF\xBF\xBD", "tool_calls", "id", id,
                                 "type", "function", "function", "name", "f", "arguments", "{\"x\": 1}");
    assert_true(json_equal(message, expected));
    json_decref(message);
    json_decref(again);
    json_decref(expected);
    assert_int_equal(qn_output_parse(&message, &params, only_call, strlen(only_call), NULL), QUERN_OK);
    assert_true(json_is_null(json_object_get(message, "content")));
    json_decref(message);
}

static void missing_memory_is_an_error(void **state)
{
    (void)state;
    static const char text[] =
        "Hi <tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"x\\\": 1}\"}</tool_call> done";
    const qn_output_params params = {.format = qn_output_format_find("hermes"), .prompt_end = "<think>"};
    const long live = qn_alloc_live();
    bool done = false;
    for (long k = 0; !done; k++) {
        json_t *message;
        quern_error err = {0};
        qn_alloc_fail_at(k);
        const quern_status status = qn_output_parse(&message, &params, text, strlen(text), &err);
        done = !qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_int_equal(status, done ? QUERN_OK : QUERN_ERR_NOMEM);
        assert_true((message != NULL) == done);
        json_decref(message);
        assert_int_equal(qn_alloc_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_format_is_read_however_it_is_cut),
        cmocka_unit_test(without_tools_nothing_is_lost),
        cmocka_unit_test(any_name_is_a_call_where_no_tools_are_known),
        cmocka_unit_test(the_usual_form_of_each_format_is_read),
        cmocka_unit_test(only_what_may_be_a_marker_is_held_back),
        cmocka_unit_test(too_many_calls_are_content),
        cmocka_unit_test(arguments_that_are_too_deep_end_as_content),
        cmocka_unit_test(what_is_before_a_name_is_bounded),
        cmocka_unit_test(formats_are_found),
        cmocka_unit_test(a_message_is_made_of_the_events),
        cmocka_unit_test(missing_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
