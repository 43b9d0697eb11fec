/* chat_tools_test.c: answers read back through the public interface, whole and as they come. */
#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "base/buffer.h"
#include "quern.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/quern_chat_tools_XXXXXX", path[64], plain_path[64];
static quern_model *model, *plain;

/* Of the Hermes format, with reasoning that the prompt begins. */
#define TEMPLATE                                                                                             \
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"                                     \
    "{% if tools %}<tool_call>{\"name\": ...}</tool_call>{% endif %}assistant: <think>\n"
#define ANSWER                                                                                               \
    "it may rain</think>\n\nI look it up.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": "             \
    "{\"city\": \"K\u00f6ln\"}}\n</tool_call>"
#define OPTIONS                                                                                              \
    "{\"prompt\": \"user: hi\\nassistant: <think>\\n\", \"id_seed\": 5, \"tools\": [{\"type\": "             \
    "\"function\", \"function\": {\"name\": \"weather\", \"parameters\": {}}}]}"

typedef struct heard {
    qn_buffer text;
    int n_events, stop_at; /* stop_at: the event that is refused; 0: none */
} heard;

/* Everything in one line: deltas of a kind put together, so that it does not depend on how the text was cut.
 */
static bool hear(void *user, const quern_chat_event *event)
{
    static const char *const names[] = {"content", "reasoning", "call", "arguments", "end"};
    heard *h = user;
    if (++h->n_events == h->stop_at) return false;
    char mark[64];
    snprintf(mark, sizeof mark, "|%s:", names[event->part]);
    const char *last = h->text.data;
    for (const char *p = last; p != NULL && (p = strchr(p, '|')) != NULL; p++) last = p;
    const bool goes_on = last != NULL && strncmp(last, mark, strlen(mark)) == 0;
    if (!goes_on) qn_buffer_puts(&h->text, mark);
    if (event->part == QUERN_CHAT_CALL) qn_buffer_printf(&h->text, "%d %s", event->call, event->name);
    else if (event->part == QUERN_CHAT_CALL_END)
        qn_buffer_puts(&h->text, event->is_complete ? "whole" : "part");
    else qn_buffer_append(&h->text, event->text, event->n_bytes);
    return true;
}

static void read_in_pieces(const char *text, const char *options, size_t piece, const char *wanted)
{
    heard h = {0};
    quern_error err = {0};
    quern_chat_reader *reader;
    assert_int_equal(quern_chat_reader_create(&reader, model, options, hear, &h, &err), QUERN_OK);
    for (size_t i = 0, n = strlen(text); i < n; i += piece)
        assert_int_equal(quern_chat_reader_push(reader, text + i, n - i < piece ? n - i : piece, &err),
                         QUERN_OK);
    assert_int_equal(quern_chat_reader_finish(reader, &err), QUERN_OK);
    assert_string_equal(h.text.data, wanted);
    quern_chat_reader_destroy(reader);
    qn_buffer_deinit(&h.text);
}

static void events_do_not_depend_on_the_cuts(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 60; piece += piece < 8 ? 1 : 7) {
        read_in_pieces(ANSWER, OPTIONS, piece,
                       "|reasoning:it may rain|content:I look it up.|call:0 weather|arguments:{\"city\": "
                       "\"K\u00f6ln\"}|end:whole");
        read_in_pieces(ANSWER, "{\"tools\": [], \"prompt\": \"<think>\"}", piece,
                       "|reasoning:it may rain|content:I look it up.\n<tool_call>\n{\"name\": \"weather\", "
                       "\"arguments\": {\"city\": \"K\u00f6ln\"}}\n</tool_call>");
        read_in_pieces("never to its end", "{\"prompt\": \"<think>\"}", piece, "|reasoning:never to its end");
        read_in_pieces("hello", NULL, piece, "|content:hello");
    }
}

static json_t *parse(const char *text, size_t n_bytes, const char *options)
{
    char *message;
    quern_error err = {0};
    assert_int_equal(quern_chat_parse(model, text, n_bytes, options, &message, &err), QUERN_OK);
    json_t *o = json_loads(message, JSON_ALLOW_NUL, NULL);
    assert_non_null(o);
    quern_free(message);
    return o;
}

static void a_whole_answer_becomes_a_message(void **state)
{
    (void)state;
    json_t *o = parse(ANSWER, strlen(ANSWER), OPTIONS), *again = parse(ANSWER, strlen(ANSWER), OPTIONS);
    assert_true(json_equal(o, again)); /* the ids too */
    assert_string_equal(json_string_value(json_object_get(o, "reasoning_content")), "it may rain");
    assert_string_equal(json_string_value(json_object_get(o, "content")), "I look it up.");
    json_t *call = json_array_get(json_object_get(o, "tool_calls"), 0),
           *function = json_object_get(call, "function");
    assert_string_equal(json_string_value(json_object_get(function, "name")), "weather");
    assert_string_equal(json_string_value(json_object_get(function, "arguments")),
                        "{\"city\": \"K\u00f6ln\"}");
    json_decref(o);
    json_decref(again);
    o = parse("a\0b\xff", 4, NULL);
    assert_int_equal(json_string_length(json_object_get(o, "content")), 6); /* U+FFFD for the last byte */
    json_decref(o);
}

static void who_listens_can_end_it(void **state)
{
    (void)state;
    heard h = {.stop_at = 2};
    quern_error err = {0};
    quern_chat_reader *reader;
    assert_int_equal(quern_chat_reader_create(&reader, model, OPTIONS, hear, &h, &err), QUERN_OK);
    assert_int_equal(quern_chat_reader_push(reader, ANSWER, strlen(ANSWER), &err), QUERN_ERR_CANCELED);
    assert_int_equal(h.n_events, 2);
    assert_int_equal(quern_chat_reader_push(reader, "more", 4, &err), QUERN_ERR_CANCELED);
    assert_int_equal(quern_chat_reader_finish(reader, &err), QUERN_ERR_CANCELED);
    assert_int_equal(h.n_events, 2);
    quern_chat_reader_destroy(reader);
    qn_buffer_deinit(&h.text);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "[]", "{\"tools\": 3}", "{\"tools\": [{\"function\": 1}]}", "{"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        quern_error err = {0};
        quern_chat_reader *reader;
        char *message;
        assert_int_equal(quern_chat_reader_create(&reader, model, wrong[i], hear, NULL, &err),
                         QUERN_ERR_ARGUMENT);
        assert_null(reader);
        assert_string_not_equal(err.message, "");
        assert_int_equal(quern_chat_parse(model, "x", 1, wrong[i], &message, &err), QUERN_ERR_ARGUMENT);
        assert_null(message);
    }
    quern_chat_reader_destroy(NULL);
}

static bool matches(const quern_grammar *g, const char *text)
{
    bool matches = false;
    quern_error err = {0};
    assert_int_equal(quern_grammar_matches(g, text, strlen(text), &matches, &err), QUERN_OK);
    return matches;
}

static quern_grammar *grammar_of(const char *regex)
{
    quern_grammar_params params = quern_grammar_params_default();
    quern_grammar *g;
    quern_error err = {0};
    params.kind = QUERN_GRAMMAR_REGEX, params.text = regex, params.n_bytes = strlen(regex);
    assert_int_equal(quern_grammar_create(&g, &params, &err), QUERN_OK);
    return g;
}

/* Only what follows the reasoning is bound. */
static void reasoning_comes_before_what_is_bound(void **state)
{
    (void)state;
    quern_grammar *content = grammar_of("[0-9]+"), *bound;
    quern_error err = {0};
    assert_int_equal(
        quern_chat_grammar_after_reasoning(&bound, model, content, "{\"prompt\": \"x<think>\\n\"}", &err),
        QUERN_OK);
    assert_true(matches(bound, "what <think> may it be?</think>42"));
    assert_true(matches(bound, "</think>\n\n7"));
    assert_false(matches(bound, "42"));
    assert_false(matches(bound, "hm</think>forty-two"));
    assert_false(matches(bound, "hm</think>1</think>2"));
    quern_grammar_destroy(bound);
    assert_int_equal(quern_chat_grammar_after_reasoning(&bound, model, content, NULL, &err), QUERN_OK);
    assert_true(matches(bound, "42"));
    assert_true(matches(bound, "<think>hm</think>42"));
    assert_false(matches(bound, "hm</think>42"));
    quern_grammar_destroy(bound);
    assert_int_equal(quern_chat_grammar_after_reasoning(&bound, plain, content, NULL, &err), QUERN_OK);
    assert_true(matches(bound, "42"));
    assert_false(matches(bound, "<think>hm</think>42"));
    quern_grammar_destroy(bound);
    assert_int_equal(quern_chat_grammar_after_reasoning(&bound, model, content, "[]", &err),
                     QUERN_ERR_ARGUMENT);
    assert_null(bound);
    quern_grammar_destroy(content);
}

static void models_tell_whether_they_reason(void **state)
{
    (void)state;
    quern_model_info info;
    quern_model_get_info(model, &info);
    assert_true(info.reasons);
    quern_model_get_info(plain, &info);
    assert_false(info.reasons);
}

static int set_up(void **state)
{
    (void)state;
    const tiny_model reasoning = {.chat_template = TEMPLATE}, bare = {0};
    const quern_model_params params = quern_model_params_default();
    if (mkdtemp(directory) == NULL) return -1;
    snprintf(path, sizeof path, "%s/reasoning.gguf", directory);
    snprintf(plain_path, sizeof plain_path, "%s/plain.gguf", directory);
    if (!tiny_model_write(path, &reasoning) || !tiny_model_write(plain_path, &bare)) return -1;
    return quern_model_open(&model, path, &params, NULL) == QUERN_OK &&
                   quern_model_open(&plain, plain_path, &params, NULL) == QUERN_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    quern_model_close(model);
    quern_model_close(plain);
    unlink(path), unlink(plain_path), rmdir(directory);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_do_not_depend_on_the_cuts),
        cmocka_unit_test(a_whole_answer_becomes_a_message),
        cmocka_unit_test(who_listens_can_end_it),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(reasoning_comes_before_what_is_bound),
        cmocka_unit_test(models_tell_whether_they_reason),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
