/* output_golden_test.c: there and back: what published templates make of messages with tool calls and
 * reasoning is read back by the format that the template shows. Skipped without the golden data
 * (QUERN_GOLDEN). */
#include "chat_test.h"

#include "chat/chat.h"
#include "chat/output_message.h"
#include "golden_templates.h"

typedef struct turn { /* of the assistant, as JSON text */
    const char *name, *content, *reasoning, *calls;
} turn;

#define WEATHER                                                                                              \
    "{\"id\": \"aaaaaaaa1\", \"type\": \"function\", \"function\": {\"name\": \"get_weather\", "             \
    "\"arguments\": "                                                                                        \
    "{\"city\": \"Zürich\", \"unit\": \"celsius\"}}}"
#define SEARCH                                                                                               \
    "{\"id\": \"bbbbbbbb2\", \"type\": \"function\", \"function\": {\"name\": \"search_files\", "            \
    "\"arguments\": "                                                                                        \
    "{\"limit\": 3, \"opts\": {\"depth\": 1.5, \"hidden\": true}, \"pattern\": \"a\\\"b<c>&\\\\d+\\n  x\", " \
    "\"tags\": [\"x\", \"y\"]}}}"
static const turn turns[] = {
    {"call", "", NULL, "[" WEATHER "]"},
    {"content and call", "Let me look.", NULL, "[" WEATHER "]"},
    {"two calls", "", NULL, "[" WEATHER "," SEARCH "]"},
    {"one hard call", "", NULL, "[" SEARCH "]"},
    {"reasoning and call", "", "I need the tool.", "[" WEATHER "]"},
    {"reasoning and content", "It is 51.", "17 times 3.\nThat is all.", NULL},
    {"content", "Hello {\"a\": [1]} <b>.\n\nBye", NULL, NULL},
};
enum { N_TURNS = sizeof turns / sizeof turns[0] };

static const char user_json[] = "[{\"role\": \"user\", \"content\": \"Do both.\"}]";
static const char tools_json[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"get_weather\", \"description\": \"d\", "
    "\"parameters\": "
    "{\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\", \"description\": \"d\"}, "
    "\"unit\": {\"type\": \"string\", \"description\": \"d\"}}, \"required\": [\"city\"]}}},"
    "{\"type\": \"function\", \"function\": {\"name\": \"search_files\", \"description\": \"d\", "
    "\"parameters\": "
    "{\"type\": \"object\", \"properties\": {\"pattern\": {\"type\": \"string\", \"description\": \"d\"}, "
    "\"limit\": {\"type\": \"integer\", \"description\": \"d\"}, \"tags\": {\"type\": \"array\", \"items\": "
    "{\"type\": \"string\"}, \"description\": \"d\"}, \"opts\": {\"type\": \"object\", \"description\": "
    "\"d\", "
    "\"properties\": {\"hidden\": {\"type\": \"boolean\", \"description\": \"d\"}, \"depth\": {\"type\": "
    "\"number\", "
    "\"description\": \"d\"}}, \"required\": []}}, \"required\": [\"pattern\"]}}}]";

/* What ends a turn; the texts of the second list are also part of some formats: only at the end. */
static const char *const turn_ends[] = {"<|im_end|>",
                                        "<|eot_id|>",
                                        "<|eom_id|>",
                                        "</s>",
                                        "<|end_of_text|>",
                                        "<seed:eos>",
                                        "<|observation|>",
                                        "<|END_OF_TURN_TOKEN|>",
                                        "<｜end▁of▁sentence｜>",
                                        "<turn|>",
                                        "<|assistant_end|>",
                                        "<|role_end|>",
                                        "</assistant>",
                                        "<SPECIAL_12>",
                                        "[e~[",
                                        "<end_of_turn>",
                                        "<｜hy_eos:opensource｜>",
                                        "<end_of_sentence>",
                                        "<|user|>",
                                        "<|endoftext|>",
                                        "<|assistant|>"};
static const char *const last_ends[] = {"<|end|>", "<|eot|>", "\n\n"};

static json_t *conversation(const turn *t)
{
    json_t *messages = json_loads(user_json, 0, NULL);
    if (t == NULL) return messages;
    json_t *m = json_pack("{s:s, s:s}", "role", "assistant", "content", t->content);
    if (t->reasoning != NULL) json_object_set_new(m, "reasoning_content", json_string(t->reasoning));
    if (t->calls != NULL) json_object_set_new(m, "tool_calls", json_loads(t->calls, 0, NULL));
    json_array_append_new(messages, m);
    return messages;
}

static bool render_turn(const qn_chat_template *t, const turn *assistant, bool prompt, bool tools,
                        qn_buffer *text)
{
    json_t *messages = conversation(assistant), *offered = tools ? json_loads(tools_json, 0, NULL) : NULL;
    json_t *extra = json_pack("{s:b}", "keep_past_thinking", 1);
    const quern_status status = qn_chat_render(t, messages, offered, extra, prompt, TEST_NOW, text, NULL);
    json_decref(messages);
    json_decref(offered);
    json_decref(extra);
    return status == QUERN_OK && text->data != NULL;
}

/* Where the answer begins in `whole`: behind what it has in common with the prompt, but not within a tag or
 * word. */
static size_t answer_start(const char *prompt, const char *whole)
{
    size_t n = 0;
    while (prompt[n] != '\0' && prompt[n] == whole[n]) n++;
    if (prompt[n] == '\0') return n;
    while (n > 0 && prompt[n - 1] != '>' && prompt[n - 1] != '\n' && prompt[n - 1] != '<') n--;
    return n > 0 && prompt[n - 1] == '<' ? n - 1 : n;
}

static void cut_end(char *text)
{
    for (size_t i = 0; i < sizeof turn_ends / sizeof turn_ends[0]; i++) {
        char *end = strstr(text, turn_ends[i]);
        if (end != NULL) *end = '\0';
    }
    for (size_t i = 0; i < sizeof last_ends / sizeof last_ends[0]; i++) {
        const size_t n = strlen(text), n_end = strlen(last_ends[i]);
        const size_t blank = n > 0 && text[n - 1] == '\n' && last_ends[i][0] == '<';
        if (n >= n_end + blank && strncmp(text + n - blank - n_end, last_ends[i], n_end) == 0)
            text[n - blank - n_end] = '\0';
    }
}

/* Blanks around the text aside: many templates add some. */
static bool same_text(const json_t *is, const char *expected)
{
    const char *text = json_is_string(is) ? json_string_value(is) : "";
    text += strspn(text, " \n");
    const size_t n = strlen(expected);
    return strncmp(text, expected, n) == 0 && strspn(text + n, " \n") == strlen(text + n);
}

/* The calls that the text shows: some templates write only the first. */
static json_t *shown_calls(const char *calls_json, const char *text)
{
    json_t *calls = calls_json != NULL ? json_loads(calls_json, 0, NULL) : json_array();
    for (size_t i = json_array_size(calls); i-- > 0;) {
        const json_t *name = json_object_get(json_object_get(json_array_get(calls, i), "function"), "name");
        if (strstr(text, json_string_value(name)) == NULL) json_array_remove(calls, i);
    }
    return calls;
}

static bool same_calls(const json_t *is, const char *expected_json, const char *shown)
{
    json_t *expected = shown_calls(expected_json, shown);
    bool same = json_array_size(is) == json_array_size(expected);
    for (size_t i = 0; same && i < json_array_size(expected); i++) {
        const json_t *a = json_object_get(json_array_get(is, i), "function");
        const json_t *b = json_object_get(json_array_get(expected, i), "function");
        const char *text = json_string_value(json_object_get(a, "arguments"));
        json_t *arguments = json_loads(text != NULL ? text : "", 0, NULL);
        same = json_equal(json_object_get(a, "name"), json_object_get(b, "name")) &&
               json_equal(arguments, json_object_get(b, "arguments"));
        json_decref(arguments);
    }
    json_decref(expected);
    return same;
}

/* What the template shows of a turn is what must be read. */
static bool holds(const json_t *message, const turn *t, const char *text)
{
    const bool shows_content = strstr(text, t->content) != NULL;
    const bool shows_reasoning = t->reasoning != NULL && strstr(text, t->reasoning) != NULL;
    return same_text(json_object_get(message, "content"), shows_content ? t->content : "") &&
           same_text(json_object_get(message, "reasoning_content"), shows_reasoning ? t->reasoning : "") &&
           same_calls(json_object_get(message, "tool_calls"), t->calls, text);
}

/* What templates write that cannot be read back. */
static const struct {
    const char *name, *turn, *why; /* turn: NULL for all with calls */
} excepted[] = {
    {"MiniMax-M3", NULL,
     "arguments are trees of tags that say nothing of types: {\"a\": 1} and {\"a\": \"1\"} are one text"},
    {"openai-gpt-oss-120b", "content and call",
     "what is said before a call is written into the channel of reasoning"},
    {"NVIDIA-Nemotron-Nano-v2", "content", "a last answer is written as if its reasoning were still to come"},
    {"NVIDIA-Nemotron-Nano-v2", "reasoning and content", "likewise"},
};

static bool is_excepted(const char *name, const turn *t)
{
    for (size_t i = 0; i < sizeof excepted / sizeof excepted[0]; i++)
        if (strcmp(excepted[i].name, name) == 0 &&
            (excepted[i].turn != NULL ? strcmp(excepted[i].turn, t->name) == 0 : t->calls != NULL))
            return true;
    return false;
}

typedef struct totals {
    int with_calls, turns, differ, excepted;
} totals;

static bool shows_calls(const char *text)
{
    return strstr(text, "get_weather") != NULL || strstr(text, "search_files") != NULL;
}

/* Whether the text, cut off from the prompt, is read as the turn. */
static bool is_read(const qn_output_format *format, const char *prompt, const char *text, const turn *t,
                    bool tell)
{
    json_t *offered = json_loads(tools_json, 0, NULL), *message = NULL;
    const qn_output_params params = {.format = format, .tools = offered, .prompt_end = prompt};
    assert_int_equal(qn_output_parse(&message, &params, text, strlen(text), NULL), QUERN_OK);
    const bool right = holds(message, t, text);
    char *is = json_dumps(message, JSON_COMPACT);
    if (tell && !right) print_error("%s, %s:\n  %s\n  read as %s\n", format->name, t->name, text, is);
    free(is);
    json_decref(message);
    json_decref(offered);
    return right;
}

/* The answer to the first message, as the template would have it generated. Where the template writes a past
 * answer otherwise than the prompt begins it, either beginning may be the right one. */
static void run_turn(const qn_chat_template *tmpl, const qn_output_format *format, const char *name,
                     const turn *t, totals *n)
{
    qn_buffer prompt = {0}, whole = {0};
    const bool tools = t->calls != NULL;
    if (render_turn(tmpl, NULL, true, tools, &prompt) && render_turn(tmpl, t, false, tools, &whole)) {
        const size_t start = answer_start(prompt.data, whole.data);
        char *text = whole.data + start;
        cut_end(text);
        if (is_excepted(name, t)) {
            n->excepted++;
        } else if (!tools || shows_calls(text)) {
            bool right = is_read(format, prompt.data, text, t, false);
            prompt.data[start] = '\0';
            right = right || is_read(format, prompt.data, text, t, true);
            if (!right) print_error("  (%s)\n", name);
            n->turns++;
            n->differ += !right;
        }
    }
    qn_buffer_deinit(&prompt);
    qn_buffer_deinit(&whole);
}

static void run_template(const golden_template *golden, void *user)
{
    totals *n = user;
    json_t *first_case = json_loadb(golden->cases, strcspn(golden->cases, "\n"), 0, NULL);
    const char *bos = json_string_value(json_object_get(first_case, "bos_token"));
    const char *eos = json_string_value(json_object_get(first_case, "eos_token"));
    const qn_chat_template_params params = {
        .source = golden->source, .bos_token = bos != NULL ? bos : "", .eos_token = eos != NULL ? eos : ""};
    qn_chat_template *t;
    assert_int_equal(qn_chat_template_open(&t, NULL, &params, NULL, NULL), QUERN_OK);
    const qn_output_format *format = qn_output_format_detect(golden->source);
    qn_buffer text = {0};
    n->with_calls += render_turn(t, &turns[0], false, true, &text) && strstr(text.data, "Zürich") != NULL;
    qn_buffer_deinit(&text);
    for (size_t i = 0; i < N_TURNS; i++) run_turn(t, format, golden->name, &turns[i], n);
    qn_chat_template_close(t);
    json_decref(first_case);
}

static void what_templates_write_is_read_back(void **state)
{
    (void)state;
    totals n = {0};
    const int n_templates = each_golden_template(run_template, &n);
    print_message("%d templates, %d write tool calls; %d turns, %d differ, %d excepted\n", n_templates,
                  n.with_calls, n.turns, n.differ, n.excepted);
    assert_true(n_templates > 0 && n.turns > n_templates);
    assert_int_equal(n.differ, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_templates_write_is_read_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
