/* message_test.c: conversations in the form of the APIs, through templates of different abilities. */
#include "chat_test.h"

#include "chat/chat.h"
#include "gguf/writer.h"

static qn_chat_template *open_source(const char *source)
{
    qn_chat_template *t;
    quern_error err = {0};
    const qn_chat_template_params params = {.source = source, .bos_token = "<s>", .eos_token = "</s>"};
    if (qn_chat_template_open(&t, NULL, &params, NULL, &err) != QUERN_OK) fail_msg("%s", err.message);
    if (qn_chat_template_problem(t) != NULL) fail_msg("%s", qn_chat_template_problem(t));
    return t;
}

static quern_status render_chat(const qn_chat_template *t, const char *messages, const char *tools,
                                const char *extra, qn_buffer *text, quern_error *err)
{
    json_t *m = json_loads(messages, JSON_DECODE_ANY, NULL), *before = json_deep_copy(m);
    json_t *v = tools != NULL ? json_loads(tools, JSON_DECODE_ANY, NULL) : NULL;
    json_t *x = extra != NULL ? json_loads(extra, JSON_DECODE_ANY, NULL) : NULL;
    assert_non_null(m);
    *text = (qn_buffer){0};
    const quern_status status = qn_chat_render(t, m, v, x, true, TEST_NOW, text, err);
    assert_true(json_equal(m, before)); /* what is borrowed stays as it was */
    assert_true(m->refcount == 1 || json_is_null(m));
    json_decref(before);
    json_decref(m);
    json_decref(v);
    json_decref(x);
    return status;
}

static void assert_chat(const char *source, const char *messages, const char *tools, const char *extra,
                        const char *expected)
{
    qn_chat_template *t = open_source(source);
    qn_buffer text;
    quern_error err = {0};
    if (render_chat(t, messages, tools, extra, &text, &err) != QUERN_OK)
        fail_msg("%s: %s", messages, err.message);
    assert_string_equal(text.data != NULL ? text.data : "", expected);
    qn_buffer_deinit(&text);
    qn_chat_template_close(t);
}

#define SYSTEM "{\"role\": \"system\", \"content\": \"Be kind.\"}"
#define USER   "{\"role\": \"user\", \"content\": \"Hi\"}"
#define PARTS                                                                                                \
    "{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}, {\"type\": \"image_url\"}, "  \
    "{\"type\": \"text\", \"text\": \"b\"}]}"
#define TEXT_PARTS                                                                                           \
    "{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}, {\"type\": \"text\", "        \
    "\"text\": "                                                                                             \
    "\"b\"}]}"
#define CALL(arguments)                                                                                      \
    "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"1\", \"type\": "               \
    "\"function\", \"function\": {\"name\": \"f\", \"arguments\": " arguments "}}]}"
#define TOOL "{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {}}}"

/* only text, no system role, null content fails, JSON text of arguments shown as it is */
static const char plain[] = "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ "
                            "raise_exception('no system') }}{% endif %}"
                            "<{{ m.role }}>{{ m.content + '' }}{% for c in m.tool_calls %}[{{ "
                            "c.function.name }} {{ c.function.arguments }}]{% endfor %}"
                            "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

/* lists of parts as well as text, a system role, arguments as objects */
static const char able[] =
    "{% for m in messages %}<{{ m.role }}>{% if m.content is string %}{{ m.content }}{% elif m.content is "
    "none %}"
    "{% else %}{% for p in m.content %}{{ p.text if p.type == 'text' else '<' ~ p.type ~ '>' }}{% endfor "
    "%}{% endif %}"
    "{% for c in m.tool_calls %}[{{ c.function.name }} {{ c.function.arguments | tojson }}]{% endfor %}{% "
    "endfor %}"
    "{% if tools %}{{ tools | length }} tools {{ tools[0].function.name }}{% endif %}{{ extra }}";

/* lists of parts only; walks over the tools whether there are some or not */
static const char parts_only[] =
    "{% for t in tools %}{{ t.function.name }}{% endfor %}"
    "{% for m in messages %}<{{ m.role }}>{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}";

/* shows a call only where there is no content, and its arguments as they are */
static const char calls_without_content[] =
    "{% for m in messages %}<{{ m.role }}>{% if m.content is none %}{% for c in m.tool_calls %}"
    "{{ '[' + c.function.name + ' ' + c.function.arguments + ']' }}{% endfor %}{% else %}{{ m.content }}{% "
    "endif %}"
    "{% endfor %}";

static void messages_take_the_form_that_the_template_renders(void **state)
{
    (void)state;
    assert_chat(plain, "[" USER "]", NULL, NULL, "<s><user>Hi<assistant>");
    assert_chat(plain, "[" TEXT_PARTS "]", NULL, NULL, "<s><user>a\nb<assistant>");
    assert_chat(plain, "[" SYSTEM "," USER "]", NULL, NULL, "<s><user>Be kind.\n\nHi<assistant>");
    assert_chat(plain, "[" SYSTEM "," TEXT_PARTS "]", NULL, NULL, "<s><user>Be kind.\n\na\nb<assistant>");
    assert_chat(plain, "[" SYSTEM "]", NULL, NULL, "<s><user>Be kind.<assistant>");
    assert_chat(plain, "[" USER "," CALL("\"{\\\"a\\\": 1}\"") "]", NULL, NULL,
                "<s><user>Hi<assistant>[f {\"a\": 1}]<assistant>");
    assert_chat(plain, "[" USER "," CALL("{\"a\": 1}") "]", NULL, NULL,
                "<s><user>Hi<assistant>[f {\"a\": 1}]<assistant>");
    assert_chat(calls_without_content, "[" USER "," CALL("{\"a\": 1}") "]", NULL, NULL,
                "<user>Hi<assistant>[f {\"a\": 1}]");
    assert_chat(calls_without_content,
                "[" USER
                ",{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"function\": {\"name\": "
                "\"f\", \"arguments\": \"{}\"}}]}]",
                NULL, NULL, "<user>Hi<assistant>[f {}]");
    assert_chat(able, "[" SYSTEM "," USER "]", NULL, NULL, "<system>Be kind.<user>Hi");
    assert_chat(able, "[" SYSTEM "," PARTS "]", NULL, NULL, "<system>Be kind.<user>a<image_url>b");
    assert_chat(able, "[" USER "," CALL("\"{\\\"a\\\": 1}\"") "]", NULL, NULL,
                "<user>Hi<assistant>[f {\"a\": 1}]");
    assert_chat(able, "[" USER "," CALL("\"no json\"") "]", NULL, NULL, "<user>Hi<assistant>[f \"no json\"]");
    assert_chat(able, "[" USER "," CALL("null") "]", NULL, NULL, "<user>Hi<assistant>[f {}]");
    assert_chat(able, "[" USER "]", "[" TOOL "]", "{\"extra\": true}", "<user>Hi1 tools fTrue");
    assert_chat(able, "[" USER "]", "[]", NULL, "<user>Hi");
    assert_chat(parts_only, "[" USER "]", NULL, NULL, "<user>Hi");
    assert_chat(parts_only, "[" TEXT_PARTS "]", "[" TOOL "]", NULL, "f<user>ab");
    assert_chat(
        qn_chat_fallback_source, "[" SYSTEM "," USER "]", NULL, NULL,
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    assert_chat(qn_chat_fallback_source, "[" TEXT_PARTS "]", NULL, NULL,
                "<|im_start|>user\na\nb<|im_end|>\n<|im_start|>assistant\n");
}

/* as Harmony's: reasoning is read from thinking */
static const char thinking[] =
    "{% for m in messages %}<{{ m.role }}>{% if m.thinking %}({{ m.thinking }}){% endif %}"
    "{{ m.content }}{% endfor %}";

static void reasoning_is_found_under_each_name(void **state)
{
    (void)state;
    assert_chat(thinking,
                "[" USER ", {\"role\": \"assistant\", \"content\": \"Yes\", \"reasoning_content\": \"Hm\"}]",
                NULL, NULL, "<user>Hi<assistant>(Hm)Yes");
    assert_chat(thinking,
                "[" USER ", {\"role\": \"assistant\", \"content\": \"Yes\", \"reasoning\": \"Hm\"}]", NULL,
                NULL, "<user>Hi<assistant>(Hm)Yes");
    assert_chat(thinking,
                "[" USER ", {\"role\": \"assistant\", \"content\": \"Yes\", \"reasoning_content\": null}]",
                NULL, NULL, "<user>Hi<assistant>Yes");
}

static void images_need_a_place(void **state)
{
    (void)state;
    static const char *const without[] = {plain, parts_only, NULL};
    static const char by_type[] =
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in "
        "m.content %}{{ p.text }}{% if p.type == 'image' %}[IMG]{% endif %}{% endfor %}{% endif "
        "%}{% endfor %}";
    for (size_t i = 0; i < 3; i++) {
        qn_chat_template *t = open_source(without[i] != NULL ? without[i] : qn_chat_fallback_source);
        qn_buffer text;
        quern_error err = {0};
        assert_int_equal(render_chat(t, "[" USER "," PARTS "]", NULL, NULL, &text, &err), QUERN_ERR_ARGUMENT);
        assert_string_equal(
            err.message,
            "messages[1].content[1]: is an image, and this model's template has no place for images");
        qn_chat_template_close(t);
    }
    assert_chat(by_type, "[" PARTS "]", NULL, NULL,
                "a[IMG]b"); /* image_url is written as the template knows it */
}

static void the_fallback_shows_tools_and_calls(void **state)
{
    (void)state;
    assert_chat(
        qn_chat_fallback_source, "[" SYSTEM "," USER "," CALL("\"{\\\"a\\\": 1}\"") "]", "[" TOOL "]", NULL,
        "<|im_start|>system\nBe kind.\n\nThese functions can be called:\n<tools>\n{\"type\": \"function\", "
        "\"function\": {\"name\": \"f\", \"parameters\": {}}}\n</tools>\nA call is a JSON object between "
        "tags:\n<tool_call>\n{\"name\": <name>, \"arguments\": <object>}\n</tool_call><|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<tool_call>\n{\"name\": \"f\", "
        "\"arguments\": "
        "{\"a\": 1}}\n</tool_call><|im_end|>\n<|im_start|>assistant\n");
}

static void traits_are_found_out(void **state)
{
    (void)state;
    qn_chat_template *t = open_source(plain);
    const qn_chat_traits *a = qn_chat_template_traits(t);
    assert_false(a->takes_parts || a->wants_parts || a->takes_system || a->object_arguments ||
                 a->null_content || a->shows_tools);
    assert_true(a->null_tools);
    qn_chat_template_close(t);
    t = open_source(able);
    a = qn_chat_template_traits(t);
    assert_true(a->takes_parts && a->takes_system && a->object_arguments && a->null_content &&
                a->null_tools && a->shows_tools);
    assert_false(a->wants_parts);
    qn_chat_template_close(t);
    t = open_source(parts_only);
    a = qn_chat_template_traits(t);
    assert_true(a->takes_parts && a->wants_parts && a->takes_system && a->shows_tools);
    assert_false(a->null_tools);
    qn_chat_template_close(t);
}

static void wrong_messages_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *messages, *tools, *extra, *message;
    } cases[] = {
        {"{}", NULL, NULL, "messages: must be an array"},
        {"null", NULL, NULL, "messages: must be an array"},
        {"[]", NULL, NULL, "messages: must not be empty"},
        {"[1]", NULL, NULL, "messages[0]: must be an object with role and content"},
        {"[" USER ", {\"content\": \"x\"}]", NULL, NULL, "messages[1].role: is missing, empty or no string"},
        {"[{\"role\": \"\", \"content\": \"x\"}]", NULL, NULL,
         "messages[0].role: is missing, empty or no string"},
        {"[{\"role\": 3, \"content\": \"x\"}]", NULL, NULL,
         "messages[0].role: is missing, empty or no string"},
        {"[{\"role\": \"user\"}]", NULL, NULL,
         "messages[0].content: is missing (it may be so only beside tool_calls)"},
        {"[{\"role\": \"user\", \"content\": null}]", NULL, NULL, "messages[0].content: is missing"},
        {"[{\"role\": \"user\", \"content\": 5}]", NULL, NULL,
         "messages[0].content: must be a string, an array of parts"},
        {"[{\"role\": \"user\", \"content\": [\"x\"]}]", NULL, NULL,
         "messages[0].content[0]: must be an object with a type"},
        {"[{\"role\": \"user\", \"content\": [{}]}]", NULL, NULL,
         "messages[0].content[0]: the type is missing"},
        {"[{\"role\": \"user\", \"content\": [{\"type\": \"text\"}]}]", NULL, NULL,
         "messages[0].content[0]: the text is missing"},
        {"[{\"role\": \"assistant\", \"tool_calls\": {}}]", NULL, NULL,
         "messages[0].tool_calls: must be an array"},
        {"[{\"role\": \"assistant\", \"tool_calls\": [1]}]", NULL, NULL,
         "messages[0].tool_calls[0]: must be an object"},
        {"[{\"role\": \"assistant\", \"tool_calls\": [{}]}]", NULL, NULL,
         "messages[0].tool_calls[0]: 'function' must be an object"},
        {"[{\"role\": \"assistant\", \"tool_calls\": [{\"function\": {}}]}]", NULL, NULL,
         "messages[0].tool_calls[0]: the function's name is missing"},
        {"[" CALL("5") "]", NULL, NULL,
         "messages[0].tool_calls[0]: the arguments must be JSON text or an object"},
        {"[{\"role\": \"assistant\", \"tool_calls\": []}]", NULL, NULL, "messages[0].content: is missing"},
        {"[" USER "]", "{}", NULL, "tools: must be an array"},
        {"[" USER "]", "[{}]", NULL, "tools[0]: 'function' is missing or no object"},
        {"[" USER "]", "[{\"function\": {}}]", NULL, "tools[0].function.name: is missing or no string"},
        {"[" USER "]", NULL, "[]", "template variables: must be an object"},
        {"[" USER "]", NULL, "{\"messages\": []}", "template variables: 'messages' cannot be set here"},
    };
    qn_chat_template *t = open_source(able);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_buffer text;
        quern_error err = {0};
        assert_int_equal(render_chat(t, cases[i].messages, cases[i].tools, cases[i].extra, &text, &err),
                         QUERN_ERR_ARGUMENT);
        if (strncmp(err.message, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s: %s", cases[i].messages, err.message);
        assert_int_equal(text.n_bytes, 0);
    }
    qn_chat_template_close(t);
}

static void count_warning(void *user, quern_log_level level, const char *line)
{
    assert_int_equal(level, QUERN_LOG_WARN);
    assert_true(strlen(line) > 0);
    ++*(int *)user;
}

/* A model file in memory with the given template (or none) and tokens. */
static char *model_with(const char *source, size_t *n_bytes)
{
    qn_gguf_writer *w;
    char *data;
    const qn_string tokens[] = {{"<unk>", 5}, {"<bos>", 5}, {"<eos>", 5}};
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    qn_gguf_writer_set_string(w, "general.architecture", "llama");
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", tokens, 3);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.bos_token_id", 1);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.eos_token_id", 99);
    if (source != NULL) qn_gguf_writer_set_string(w, "tokenizer.chat_template", source);
    assert_int_equal(qn_gguf_writer_to_memory(w, &data, n_bytes, NULL), QUERN_OK);
    qn_gguf_writer_destroy(w);
    return data;
}

static void assert_model(const char *source, bool use_fallback, const char *problem, const char *prompt,
                         int warnings)
{
    size_t n;
    char *data = model_with(source, &n);
    qn_gguf g;
    qn_chat_template *t;
    qn_buffer text;
    quern_error err = {0};
    int n_warnings = 0;
    const qn_log log = {count_warning, &n_warnings};
    const qn_chat_template_params params = {.use_fallback = use_fallback};
    assert_int_equal(qn_gguf_parse(&g, data, n, &err), QUERN_OK);
    assert_int_equal(qn_chat_template_open(&t, &g, &params, &log, &err), QUERN_OK);
    qn_gguf_close(&g);
    qn_free(data); /* nothing of the file is used later */
    assert_int_equal(n_warnings, warnings);
    const quern_status status = render_chat(t, "[" USER "]", NULL, NULL, &text, &err);
    if (problem != NULL) {
        assert_int_equal(status, QUERN_ERR_UNSUPPORTED);
        if (strstr(err.message, problem) == NULL) fail_msg("%s", err.message);
        assert_string_equal(qn_chat_template_problem(t), err.message);
    } else {
        if (status != QUERN_OK) fail_msg("%s", err.message);
        assert_null(qn_chat_template_problem(t));
        assert_string_equal(text.data, prompt);
    }
    qn_buffer_deinit(&text);
    qn_chat_template_close(t);
}

static void the_template_of_a_model_is_opened(void **state)
{
    (void)state;
    const char *const chatml = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
    assert_model("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", false, NULL, "<bos>Hi", 0);
    assert_model(NULL, false, "the model has no chat template", NULL, 1);
    assert_model("{% if %}", false, "chat template: line 1: unexpected '%}'", NULL, 1);
    assert_model(NULL, true, NULL, chatml, 1);
    assert_model("{% if %}", true, NULL, chatml, 1);
}

static void what_a_template_refuses_is_told(void **state)
{
    (void)state;
    qn_chat_template *t =
        open_source("{% if messages|length > 1 %}{{ raise_exception('one at a time') }}{% endif %}"
                    "{{ messages[0].content }}{% if messages[0].role == 'x' %}{{ 1 + 'a' }}{% endif %}");
    qn_buffer text;
    quern_error err = {0};
    assert_int_equal(render_chat(t, "[" USER "," USER "]", NULL, NULL, &text, &err), QUERN_ERR_TEMPLATE);
    assert_string_equal(err.message, "chat template: one at a time");
    assert_int_equal(render_chat(t, "[{\"role\": \"x\", \"content\": \"y\"}]", NULL, NULL, &text, &err),
                     QUERN_ERR_TEMPLATE);
    assert_string_equal(err.message, "chat template: line 1: '+' is not supported between int and str");
    qn_chat_template_close(t);
}

static void times_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t now;
    } good[] = {
        {"2025-03-14T09:26:53", 1741944413},
        {"2025-03-14 09:26:53Z", 1741944413},
        {"2025-03-14T09:26:53.123+02:00", 1741944413},
        {"2025-03-14T09:26", 1741944360},
        {"2025-03-14", 1741910400},
        {"1970-01-01", 0},
        {"2024-02-29T23:59:60Z", 1709251200},
        {"0001-01-01", -62135596800},
        {"9999-12-31T23:59:59-0100", 253402300799},
    };
    static const char *const bad[] = {"",
                                      "x",
                                      "2025",
                                      "2025-13-01",
                                      "2025-00-01",
                                      "2025-02-29",
                                      "2025-04-31",
                                      "2025-03-14T",
                                      "0000-01-01",
                                      "2025-03-14T24:00",
                                      "2025-03-14T09:60",
                                      "2025-03-14T09:26:61",
                                      "2025-03-14T09:26:53.",
                                      "2025-03-14T09:26:53x",
                                      "2025-03-14T09:26:53+1",
                                      "2025-3-14",
                                      "20250314",
                                      "2025-03-14T09",
                                      "2025-03-14T09:26:53+01:000"};
    quern_error err;
    int64_t now;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (qn_chat_parse_time(good[i].text, &now, &err) != QUERN_OK) fail_msg("%s", err.message);
        assert_int_equal(now, good[i].now);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (qn_chat_parse_time(bad[i], &now, &err) != QUERN_ERR_ARGUMENT) fail_msg("%s is accepted", bad[i]);
}

static void missing_memory_is_an_error(void **state)
{
    (void)state;
    const long live = qn_alloc_live();
    bool done = false;
    for (long k = 0; !done; k++) {
        const qn_chat_template_params params = {.source = able};
        qn_chat_template *t;
        qn_buffer text = {0};
        quern_error err = {0};
        qn_alloc_fail_at(k);
        quern_status status = qn_chat_template_open(&t, NULL, &params, NULL, &err);
        if (status == QUERN_OK)
            status = render_chat(t, "[" SYSTEM "," USER "]", "[" TOOL "]", NULL, &text, &err);
        done = !qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_int_equal(status, done ? QUERN_OK : QUERN_ERR_NOMEM);
        qn_buffer_deinit(&text);
        qn_chat_template_close(t);
        assert_int_equal(qn_alloc_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_take_the_form_that_the_template_renders),
        cmocka_unit_test(reasoning_is_found_under_each_name),
        cmocka_unit_test(images_need_a_place),
        cmocka_unit_test(the_fallback_shows_tools_and_calls),
        cmocka_unit_test(traits_are_found_out),
        cmocka_unit_test(wrong_messages_are_named),
        cmocka_unit_test(the_template_of_a_model_is_opened),
        cmocka_unit_test(what_a_template_refuses_is_told),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(missing_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
