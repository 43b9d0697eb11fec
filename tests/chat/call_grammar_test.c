/* call_grammar_test.c: what the grammar of calls allows is what the parser reads back as calls: random texts
 * of the language, for every format. */
#include "call_grammar_util.h"

#include "base/alloc.h"
#include "base/random.h"
#include "chat/output_message.h"
#include "grammar/automaton.h"

static const char tools_text[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"get_weather\", \"parameters\": {\"type\": "
    "\"object\", "
    "\"properties\": {\"city\": {\"type\": \"string\", \"maxLength\": 12}, \"unit\": {\"type\": \"string\", "
    "\"enum\": "
    "[\"C\", \"F\"]}, \"days\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 14}, \"exact\": "
    "{\"type\": "
    "\"boolean\"}}, \"required\": [\"city\", \"days\"]}}}, {\"type\": \"function\", \"function\": {\"name\": "
    "\"stop\"}}, {\"type\": \"function\", \"function\": {\"name\": \"add\", \"parameters\": {\"type\": "
    "\"object\", "
    "\"properties\": {\"a\": {\"type\": \"number\"}, \"b\": {\"type\": \"array\", \"items\": {\"type\": "
    "\"integer\"}, "
    "\"maxItems\": 3}}, \"required\": [\"a\", \"b\"]}}}]";
static json_t *tools;

static int read_tools(void **state)
{
    (void)state;
    tools = json_loads(tools_text, 0, NULL);
    return tools == NULL;
}

static int drop_tools(void **state)
{
    (void)state;
    json_decref(tools);
    return 0;
}

static qn_call_grammar_params params_for(const qn_output_format *format)
{
    return (qn_call_grammar_params){.format = format, .tools = tools, .required = true, .parallel = true};
}

static qn_automaton *open_language(qn_network *n, const qn_call_grammar_params *p)
{
    quern_error err = {0};
    qn_automaton *a;
    if (qn_call_grammar_build(n, p, NULL, &err) != QUERN_OK) fail_msg("%s: %s", p->format->name, err.message);
    assert_int_equal(qn_automaton_create(&a, n, &err), QUERN_OK);
    return a;
}

/* A random text of the language: any byte that goes on, for some time, then the shortest end. */
static size_t draw(qn_automaton *a, qn_random *r, char *out, size_t most)
{
    qn_place at = qn_automaton_begin(a);
    size_t n = 0;
    for (; n < most / 2 && !qn_automaton_is_final(a, at); n++) {
        const uint8_t first = (uint8_t)(' ' + qn_random_u64(r) % 95);
        unsigned k = 0;
        if (qn_automaton_accepts(a, at) && qn_random_u64(r) % 4 == 0) return n;
        while (k < 256 && qn_automaton_step(a, at, (uint8_t)(first + k)) == QN_PLACE_DEAD) k++;
        assert_true(k < 256);
        out[n] = (char)(first + k);
        at = qn_automaton_step(a, at, (uint8_t)(first + k));
    }
    while (n < most && qn_automaton_shortest(a, at) > 0) {
        out[n] = (char)qn_automaton_shortest_byte(a, at);
        at = qn_automaton_step(a, at, (uint8_t)out[n++]);
    }
    assert_true(qn_automaton_accepts(a, at));
    return n;
}

static json_t *parse(const qn_output_format *format, const char *text, size_t n_bytes)
{
    const qn_output_params params = {.format = format, .tools = tools};
    json_t *message;
    quern_error err;
    assert_int_equal(qn_output_parse(&message, &params, text, n_bytes, &err), QUERN_OK);
    return message;
}

static void check_arguments(const char *name, const json_t *arguments, const char *text)
{
    const bool weather = strcmp(name, "get_weather") == 0, add = strcmp(name, "add") == 0;
    assert_true(json_is_object(arguments));
    if (weather) {
        const json_t *days = json_object_get(arguments, "days");
        if (!json_is_string(json_object_get(arguments, "city"))) fail_msg("no city: %s", text);
        if (!json_is_integer(days) || json_integer_value(days) < 1 || json_integer_value(days) > 14)
            fail_msg("days: %s", text);
    }
    if (add &&
        (!json_is_number(json_object_get(arguments, "a")) || !json_is_array(json_object_get(arguments, "b"))))
        fail_msg("a or b: %s", text);
}

static size_t check_message(const json_t *message, const char *text)
{
    const json_t *calls = json_object_get(message, "tool_calls");
    const char *content = json_string_value(json_object_get(message, "content"));
    size_t i;
    json_t *call;
    if (json_array_size(calls) == 0) fail_msg("no call: %s", text);
    if (content != NULL && content[strspn(content, " \n")] != '\0')
        fail_msg("content '%s': %s", content, text);
    json_array_foreach(calls, i, call)
    {
        const json_t *function = json_object_get(call, "function");
        json_t *arguments = json_loads(json_string_value(json_object_get(function, "arguments")), 0, NULL);
        if (arguments == NULL) fail_msg("arguments are no JSON: %s", text);
        check_arguments(json_string_value(json_object_get(function, "name")), arguments, text);
        json_decref(arguments);
    }
    return i;
}

static void what_is_allowed_is_read_back(void **state)
{
    (void)state;
    static char text[1 << 14];
    for (size_t i = 0; i < qn_n_output_formats; i++) {
        const qn_output_format *format = &qn_output_formats[i];
        if (format->syntax == QN_CALLS_NONE) continue;
        const qn_call_grammar_params p = params_for(format);
        qn_network n;
        qn_automaton *a = open_language(&n, &p);
        qn_random r = {.seed = i};
        size_t n_calls = 0;
        for (int round = 0; round < 40; round++) {
            const size_t n_bytes = draw(a, &r, text, sizeof text - 1);
            text[n_bytes] = '\0';
            json_t *message = parse(format, text, n_bytes);
            n_calls += check_message(message, text);
            json_decref(message);
        }
        assert_true(n_calls >= 40);
        qn_automaton_destroy(a);
        qn_network_deinit(&n);
    }
}

static bool takes(const qn_call_grammar_params *p, const char *text)
{
    qn_network n;
    qn_automaton *a = open_language(&n, p);
    qn_place at = qn_automaton_begin(a);
    for (const char *c = text; *c != '\0'; c++) at = qn_automaton_step(a, at, (uint8_t)*c);
    const bool whole = qn_automaton_accepts(a, at);
    qn_automaton_destroy(a);
    qn_network_deinit(&n);
    return whole;
}

#define STOP "<tool_call>\n{\"name\": \"stop\", \"arguments\": {}}\n</tool_call>"

static void calls_are_bound_from_where_they_open(void **state)
{
    (void)state;
    qn_call_grammar_params p = params_for(qn_output_format_find("hermes"));
    assert_true(takes(&p, STOP));
    assert_true(takes(&p, STOP "\n" STOP));
    assert_false(takes(&p, "Well. " STOP));
    assert_false(takes(&p, ""));
    assert_false(takes(&p, "<think>\nstop?\n</think>\n\n" STOP));
    p.allow_reasoning = true;
    assert_true(takes(&p, "<think>\nstop?\n</think>\n\n" STOP));
    p.parallel = false;
    assert_false(takes(&p, STOP "\n" STOP));
    p.only = "add";
    assert_false(takes(&p, STOP));
    p.only = NULL, p.parallel = true, p.required = false;
    assert_true(takes(&p, ""));
    assert_true(takes(&p, "Just text, with < and <tool_ in it."));
    assert_true(takes(&p, "Well. " STOP));
    assert_true(takes(&p, "<<tool_call>\n{\"name\": \"stop\", \"arguments\": {}}\n</tool_call> and more"));
    assert_false(takes(&p, "<tool_call>\n{\"name\": \"start\", \"arguments\": {}}\n</tool_call>"));
    assert_false(takes(&p, "a <tool_call> b"));
    assert_true(takes(&p, "<think>a <tool_call> b</think> c"));
    p.in_reasoning = true, p.required = true;
    assert_true(takes(&p, "a <tool_call> b</think>\n\n" STOP));
    assert_false(takes(&p, STOP));
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    qn_network n;
    quern_error err = {0};
    qn_call_grammar_params p = params_for(qn_output_format_find("minimax_m3"));
    assert_int_equal(qn_call_grammar_build(&n, &p, NULL, &err), QUERN_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "minimax_m3"));
    p = params_for(qn_output_format_find("hermes"));
    p.only = "nothing";
    assert_int_equal(qn_call_grammar_build(&n, &p, NULL, &err), QUERN_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "'nothing'"));
    p.only = NULL, p.tools = NULL;
    assert_int_equal(qn_call_grammar_build(&n, &p, NULL, &err), QUERN_ERR_ARGUMENT);
    json_t *bad = json_loads("[{\"type\": \"function\", \"function\": {}}]", 0, NULL);
    p.tools = bad;
    assert_int_equal(qn_call_grammar_build(&n, &p, NULL, &err), QUERN_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "tools[0]"));
    json_decref(bad);
}

static void failing_memory_is_told(void **state)
{
    (void)state;
    static const char *const formats[] = {"hermes", "glm", "llama4"};
    for (size_t i = 0; i < 3; i++) {
        const qn_call_grammar_params p = params_for(qn_output_format_find(formats[i]));
        check_failing_memory(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_allowed_is_read_back),
                                       cmocka_unit_test(calls_are_bound_from_where_they_open),
                                       cmocka_unit_test(what_cannot_be_is_refused),
                                       cmocka_unit_test(failing_memory_is_told)};
    return cmocka_run_group_tests_name("call grammar", tests, read_tools, drop_tools);
}
