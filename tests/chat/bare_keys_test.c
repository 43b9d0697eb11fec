/* bare_keys_test.c: calls whose arguments have bare keys and strings between <|"|> or <escape>. What the
 * grammar allows is read back as arguments that JSON's own notation of the same schema has, and what that has
 * can be written. */
#include "call_grammar_util.h"

#include "base/random.h"
#include "chat/output_message.h"
#include "grammar/automaton.h"
#include "grammar/json_schema.h"
#include "support/golden.h"

#include "../vocab/vocab_util.h"

#include <ctype.h>

#define QUOTE "<|\"|>"
#define BEGIN "<|tool_call>call:f"
#define END   "<tool_call|>"

typedef struct notation {
    const char *format, *quote, *begin, *end;
} notation;

static const notation notations[] = {
    {"gemma4", QUOTE, BEGIN, END},
    {"function_gemma", "<escape>", "<start_function_call>call:f", "<end_function_call>"},
};
enum { N_NOTATIONS = sizeof notations / sizeof *notations };
static const notation *used = &notations[0]; /* those of two tests take turns; the others keep the first */

typedef struct language {
    qn_network network;
    qn_automaton *automaton;
} language;

static void open_automaton(language *l)
{
    quern_error err = {0};
    if (qn_automaton_create(&l->automaton, &l->network, &err) != QUERN_OK) fail_msg("%s", err.message);
}

static void close_language(language *l)
{
    qn_automaton_destroy(l->automaton);
    qn_network_deinit(&l->network);
}

static json_t *tools_of(const json_t *parameters)
{
    return json_pack("[{s:s, s:{s:s, s:O}}]", "type", "function", "function", "name", "f", "parameters",
                     (json_t *)(uintptr_t)parameters);
}

/* The calls of a function f with these parameters. */
static void open_calls(language *l, const json_t *parameters, const qn_vocab *vocab)
{
    quern_error err = {0};
    json_t *tools = tools_of(parameters);
    const qn_call_grammar_params p = {.format = qn_output_format_find(used->format),
                                      .tools = tools,
                                      .required = true,
                                      .whitespace = QN_JSON_FLEXIBLE};
    if (qn_call_grammar_build(&l->network, &p, vocab, &err) != QUERN_OK) fail_msg("%s", err.message);
    open_automaton(l);
    json_decref(tools);
}

/* The objects of the schema as JSON. */
static void open_json(language *l, const json_t *parameters)
{
    quern_error err = {0};
    const qn_json_schema_options options = {
        .whitespace = QN_JSON_FLEXIBLE, .named_only = true, .lenient = true};
    json_t *schema = json_copy((json_t *)(uintptr_t)parameters);
    json_object_set_new(schema, "type", json_string("object"));
    if (qn_json_schema_build(&l->network, schema, &options, &err) != QUERN_OK) fail_msg("%s", err.message);
    open_automaton(l);
    json_decref(schema);
}

static bool takes(language *l, const char *text, size_t n_bytes)
{
    qn_place at = qn_automaton_begin(l->automaton);
    for (size_t i = 0; i < n_bytes; i++) {
        qn_automaton_rest(l->automaton);
        at = qn_automaton_step(l->automaton, at, (uint8_t)text[i]);
        qn_automaton_tidy(l->automaton, &at);
    }
    return qn_automaton_accepts(l->automaton, at);
}

/* A byte that goes on: any, or one of those that matter in the notation. */
static uint8_t any_byte(qn_automaton *a, qn_place at, qn_random *r)
{
    static const char marks[] = "<|\">\\'{}[],: \n\xc3";
    uint8_t first = (uint8_t)(' ' + qn_random_u64(r) % 95);
    unsigned k = 0;
    if (qn_random_u64(r) % 3 == 0) first = (uint8_t)marks[qn_random_u64(r) % (sizeof marks - 1)];
    while (k < 256 && qn_automaton_step(a, at, (uint8_t)(first + k)) == QN_PLACE_DEAD) k++;
    assert_true(k < 256);
    return (uint8_t)(first + k);
}

/* A random text of the language: by turns any byte and some of those that end it soonest. */
static size_t draw(qn_automaton *a, qn_random *r, char *out, size_t most)
{
    qn_place at = qn_automaton_begin(a);
    size_t n = 0, n_ending = 0;
    while (n < most && !(qn_automaton_accepts(a, at) && qn_automaton_is_final(a, at))) {
        if (n_ending == 0 && qn_random_u64(r) % 16 == 0) n_ending = 1 + qn_random_u64(r) % 12;
        const bool ends = (n_ending > 0 || n > most / 2) && qn_automaton_shortest(a, at) > 0;
        n_ending -= n_ending > 0;
        out[n] = (char)(ends ? qn_automaton_shortest_byte(a, at) : any_byte(a, at, r));
        qn_automaton_rest(a);
        at = qn_automaton_step(a, at, (uint8_t)out[n++]);
        qn_automaton_tidy(a, &at);
    }
    assert_true(qn_automaton_accepts(a, at));
    return n;
}

/* What a decoder makes of it: control tokens are their text. */
static size_t as_text(char *bytes, size_t n_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i++)
        if (bytes[i] != '\xff') bytes[n++] = bytes[i];
    bytes[n] = '\0';
    return n;
}

/* The arguments of the one call that the text is. */
static json_t *read_call(const char *text, size_t n_bytes)
{
    const qn_output_params params = {.format = qn_output_format_find(used->format)};
    json_t *message;
    assert_int_equal(qn_output_parse(&message, &params, text, n_bytes, NULL), QUERN_OK);
    const json_t *calls = json_object_get(message, "tool_calls");
    if (json_array_size(calls) != 1 || json_is_string(json_object_get(message, "content")))
        fail_msg("not one call: %s", text);
    const json_t *function = json_object_get(json_array_get(calls, 0), "function");
    json_t *arguments = json_incref(json_object_get(function, "arguments"));
    assert_string_equal(json_string_value(json_object_get(function, "name")), "f");
    json_decref(message);
    return arguments;
}

static void check_draws(const json_t *parameters, const qn_vocab *vocab, int n_rounds, uint64_t seed)
{
    static char text[4096 + 1];
    language calls, json;
    open_calls(&calls, parameters, vocab);
    open_json(&json, parameters);
    qn_random r = {.seed = seed};
    for (int round = 0; round < n_rounds; round++) {
        const size_t n = as_text(text, draw(calls.automaton, &r, text, round % 8 == 0 ? 4096 : 512));
        json_t *arguments = read_call(text, n);
        if (!takes(&json, json_string_value(arguments), json_string_length(arguments)))
            fail_msg("%s\nis read as %s", text, json_string_value(arguments));
        json_decref(arguments);
    }
    close_language(&calls), close_language(&json);
}

/* ---- the other way ----------------------------------------------------------------------------- */

static bool is_word(const char *key)
{
    size_t n = 0;
    for (const char *c = key; *c != '\0'; c++) {
        const bool is_ascii = ((unsigned char)*c & 0x80) == 0;
        if (is_ascii && !isalnum((unsigned char)*c) && strchr("_.+-$/", *c) == NULL) return false;
        n += ((unsigned char)*c & 0xc0) != 0x80;
    }
    return n > 0 && n <= 64;
}

/* false: the notation does not have it. */
static bool write_string(qn_buffer *out, const char *text, size_t n_bytes)
{
    const char *quote = used->quote;
    qn_buffer_puts(out, quote), qn_buffer_append(out, text, n_bytes), qn_buffer_puts(out, quote);
    for (size_t i = 0; i < n_bytes; i++)
        if ((unsigned char)text[i] < ' ' && strchr("\t\n\r", text[i]) == NULL) return false;
    return memchr(text, '\0', n_bytes) == NULL && memmem(text, n_bytes, quote, strlen(quote)) == NULL;
}

static bool write_value(qn_buffer *out, const json_t *value)
{
    bool ok = true;
    if (json_is_string(value)) return write_string(out, json_string_value(value), json_string_length(value));
    if (!json_is_array(value) && !json_is_object(value)) {
        char real[32], *plain = json_dumps(value, JSON_ENCODE_ANY);
        if (json_is_real(value)) qn_json_print_real(real, json_real_value(value) + 0.0); /* no -0 */
        qn_buffer_puts(out, json_is_real(value) ? real : plain);
        free(plain);
        return true;
    }
    const char *key, *comma = "";
    json_t *part;
    size_t i;
    qn_buffer_putc(out, json_is_array(value) ? '[' : '{');
    json_array_foreach(value, i, part)
    {
        qn_buffer_puts(out, i > 0 ? "," : "");
        ok = write_value(out, part) && ok;
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, part)
    {
        qn_buffer_puts(out, comma), comma = ",";
        if (is_word(key)) qn_buffer_puts(out, key);
        else ok = write_string(out, key, strlen(key)) && ok;
        qn_buffer_putc(out, ':');
        ok = write_value(out, part) && ok;
    }
    qn_buffer_putc(out, json_is_array(value) ? ']' : '}');
    return ok;
}

/* Whether the notation has the value. Then it is allowed, and read back as what is written in the same way.
 */
static bool check_value(language *calls, const json_t *value)
{
    qn_buffer text = {0}, again = {0};
    qn_buffer_puts(&text, used->begin), qn_buffer_puts(&again, used->begin);
    const bool can_be = write_value(&text, value);
    qn_buffer_puts(&text, used->end);
    if (takes(calls, text.data, text.n_bytes) != can_be)
        fail_msg("%staken: %s", can_be ? "not " : "", text.data);
    if (can_be) {
        json_t *arguments = read_call(text.data, text.n_bytes);
        json_t *read = json_loads(json_string_value(arguments), 0, NULL);
        assert_non_null(read);
        write_value(&again, read), qn_buffer_puts(&again, used->end);
        assert_string_equal(again.data, text.data);
        json_decref(read), json_decref(arguments);
    }
    qn_buffer_deinit(&text), qn_buffer_deinit(&again);
    return can_be;
}

static void check_values(const json_t *parameters, int n_rounds, uint64_t seed)
{
    static char text[400 + 1];
    language calls, json;
    open_calls(&calls, parameters, NULL);
    open_json(&json, parameters);
    qn_random r = {.seed = seed};
    for (int round = 0; round < n_rounds; round++) {
        const size_t n = draw(json.automaton, &r, text, 400);
        json_t *value = json_loadb(text, n, JSON_ALLOW_NUL, NULL);
        if (value == NULL) continue; /* a key with U+0000, which jansson does not have */
        check_value(&calls, value);
        json_decref(value);
    }
    close_language(&calls), close_language(&json);
}

/* ---- tests ------------------------------------------------------------------------------------- */

static const char *const schemas[] = {
    "{}",
    "{\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\",\"minimum\":1,"
    "\"maximum\":14},"
    "\"exact\":{\"type\":\"boolean\"}},\"required\":[\"city\"]}",
    "{\"properties\":{\"a b\":{},\"\":{},\"c\\\"\":{\"type\":\"array\"},\"d<|\\\"\":{\"type\":\"object\"}},"
    "\"additionalProperties\":{\"type\":\"string\",\"maxLength\":3}}",
    "{\"properties\":{\"p\":{\"type\":\"string\",\"pattern\":\"^<[^a]*>$\"},\"q\":{\"type\":\"string\","
    "\"pattern\":"
    "\"[0-9]\",\"maxLength\":9},\"r\":{\"type\":\"string\",\"format\":\"date\"},\"s\":{\"type\":\"string\","
    "\"minLength\":4,\"maxLength\":9}},\"required\":[\"p\",\"q\",\"r\",\"s\"]}",
    "{\"properties\":{\"e\":{\"enum\":[\"<|\",\"|>\",\"<|\\\"|>\",1,1.5,null,[\"a\",{\"b "
    "c\":\"\"}],{}]},\"f\":{\"const\":"
    "\"\\\\n\"}},\"required\":[\"e\",\"f\"]}",
    "{\"properties\":{\"child\":{\"$ref\":\"#\"},\"n\":{\"type\":[\"number\",\"null\"]}},\"required\":[\"n\"]"
    "}",
    "{\"patternProperties\":{\"^x\":{\"type\":\"boolean\"}},\"propertyNames\":{\"maxLength\":6},"
    "\"minProperties\":1,"
    "\"maxProperties\":3}",
    "{\"anyOf\":[{\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]},{\"properties\":{\"b\":{"
    "\"type\":"
    "\"array\",\"items\":{\"type\":\"string\",\"maxLength\":600},\"minItems\":1}},\"required\":[\"b\"]}],"
    "\"nullable\":true}",
    "{\"properties\":{\"x\":{\"type\":\"array\",\"uniqueItems\":true,\"contains\":{\"multipleOf\":7},"
    "\"items\":{\"type\":"
    "\"integer\"}}},\"required\":[\"x\"]}",
};
enum { N_SCHEMAS = sizeof schemas / sizeof schemas[0] };

static void what_is_allowed_holds_to_the_schema(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_NOTATIONS * N_SCHEMAS; i++) {
        json_t *parameters = json_loads(schemas[i % N_SCHEMAS], 0, NULL);
        used = &notations[i / N_SCHEMAS];
        check_draws(parameters, NULL, 100, i);
        json_decref(parameters);
    }
    used = &notations[0];
}

static void what_holds_to_the_schema_is_allowed(void **state)
{
    (void)state;
    enum { N = N_SCHEMAS - 1 }; /* JSON has more spellings of what the last one leaves out */
    for (size_t i = 0; i < N_NOTATIONS * N; i++) {
        json_t *parameters = json_loads(schemas[i % N], 0, NULL);
        used = &notations[i / N];
        check_values(parameters, 100, i);
        json_decref(parameters);
    }
    used = &notations[0];
}

static void schemas_of_the_reference_hold(void **state)
{
    (void)state;
    char path[1024], *line;
    if (!golden_path(path, "schema/cases.jsonl")) skip();
    size_t n_bytes, n_schemas = 0;
    int n_values = 0;
    char *text = golden_read(path, &n_bytes), *rest = text;
    while ((line = strsep(&rest, "\n")) != NULL) {
        json_t *row = json_loads(line, 0, NULL), *valid, *schema = json_object_get(row, "schema");
        size_t i;
        if (!json_is_object(schema) || strstr(line, "\"$ref\"") != NULL) {
            json_decref(row);
            continue;
        }
        json_t *parameters = json_pack("{s:{s:O},s:[s]}", "properties", "a b", schema, "required", "a b");
        language calls;
        open_calls(&calls, parameters, NULL);
        check_draws(parameters, NULL, 20, n_schemas++);
        json_array_foreach(json_object_get(row, "valid"), i, valid)
        {
            json_t *value = json_loads(json_string_value(valid), JSON_DECODE_ANY, NULL);
            json_t *arguments = json_pack("{s:O}", "a b", value);
            n_values += check_value(&calls, arguments);
            json_decref(arguments), json_decref(value);
        }
        close_language(&calls);
        json_decref(parameters), json_decref(row);
    }
    free(text);
    print_message("%zu schemas, %d values\n", n_schemas, n_values);
    assert_true(n_schemas > 0 && n_values > 0);
}

static void check(const char *schema, const char *arguments, bool wanted)
{
    json_t *parameters = json_loads(schema, 0, NULL);
    language calls;
    open_calls(&calls, parameters, NULL);
    qn_buffer text = {0};
    qn_buffer_printf(&text, "%s%s%s", BEGIN, arguments, END);
    if (takes(&calls, text.data, text.n_bytes) != wanted)
        fail_msg("%s: %s should %sbe taken", schema, arguments, wanted ? "" : "not ");
    qn_buffer_deinit(&text);
    close_language(&calls);
    json_decref(parameters);
}

static void arguments_are_objects_without_white_space(void **state)
{
    (void)state;
    check("{}", "{}", true);
    check("{}", "{a:[1,{b:" QUOTE "x" QUOTE "}]}", true);
    check("{}", "{ a:1}", false);
    check("{}", "{a:1, b:2}", false);
    check("{}", "{\"a\":1}", false);
    check("{}", "{a:x}", false);
    check("{}", "1", false);
    check("{\"nullable\":true}", "null", false);
    check("{\"anyOf\":[{\"type\":\"string\"},{\"required\":[\"a\"]}]}", QUOTE QUOTE, false);
    check("{\"anyOf\":[{\"type\":\"string\"},{\"required\":[\"a\"]}]}", "{a:1}", true);
}

static void patterns_that_are_too_large_are_left_out(void **state)
{
    (void)state;
    static const char two[] = "{\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^.{2,2000}$\"},"
                              "\"b\":{\"type\":\"string\",\"pattern\":\"^.{2,2000}$\"}}}",
                      large[] = "{\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^.{2,50000}$\"},"
                                "\"b\":{\"type\":\"string\",\"pattern\":\"^x\"}}}";
    check(two, "{a:" QUOTE "<|" QUOTE ",b:" QUOTE "12" QUOTE "}", true);
    check(two, "{a:" QUOTE "<" QUOTE "}", false);
    check(large, "{a:" QUOTE "<" QUOTE ",b:" QUOTE "x" QUOTE "}", true);
    check(large, "{a:" QUOTE "12" QUOTE ",b:" QUOTE "y" QUOTE "}", false);
}

static void the_quote_cannot_be_forged(void **state)
{
    (void)state;
    static const char text[] =
        "{\"properties\":{\"t\":{\"type\":\"string\",\"maxLength\":30},\"u\":{\"const\":1}}}";
    check(text, "{t:" QUOTE "a" QUOTE ",u:1}", true);
    check(text, "{t:" QUOTE "a" QUOTE ",v:1}", false);
    check(text, "{t:" QUOTE "a" QUOTE ",u:2" QUOTE "}", false);
    check(text, "{t:" QUOTE "},u:2,\"<|tool_call>" QUOTE "}", true);
    json_t *parameters = json_loads(text, 0, NULL);
    static const char *const words[] = {"<unk>", "<|tool_call>", "<tool_call|>", QUOTE, "</s>", "a"};
    static const int32_t types[] = {QN_TOKEN_UNKNOWN, QN_TOKEN_CONTROL, QN_TOKEN_CONTROL,
                                    QN_TOKEN_CONTROL, QN_TOKEN_CONTROL, QN_TOKEN_NORMAL};
    qn_string strings[6];
    float scores[6] = {0};
    for (size_t i = 0; i < 6; i++) strings[i] = (qn_string){words[i], strlen(words[i])};
    qn_gguf_writer *w;
    test_vocab v;
    assert_int_equal(qn_gguf_writer_create(&w, NULL), QUERN_OK);
    qn_gguf_writer_set_string(w, "tokenizer.ggml.model", "llama");
    qn_gguf_writer_set_array(w, "tokenizer.ggml.scores", QN_GGUF_F32, scores, 6);
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", strings, 6);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.token_type", QN_GGUF_I32, types, 6);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.eos_token_id", 4);
    assert_int_equal(test_vocab_open_writer(&v, w, NULL), QUERN_OK);
    language calls;
    open_calls(&calls, parameters, v.vocab);
#define AS_TOKENS(content) "\xff<|tool_call>call:f{t:\xff" QUOTE content "\xff" QUOTE ",u:1}\xff<tool_call|>"
    assert_true(takes(&calls, AS_TOKENS("a<|\""), strlen(AS_TOKENS("a<|\""))));
    assert_false(takes(&calls, AS_TOKENS("a" QUOTE), strlen(AS_TOKENS("a" QUOTE)))); /* spelled by bytes */
    assert_false(takes(&calls, AS_TOKENS("a" QUOTE ",u:1}"), strlen(AS_TOKENS("a" QUOTE ",u:1}"))));
    assert_false(takes(&calls, AS_TOKENS("\xff</s>"), strlen(AS_TOKENS("\xff</s>"))));
    close_language(&calls);
    for (size_t i = 0; i < N_SCHEMAS; i++) {
        json_t *schema = json_loads(schemas[i], 0, NULL);
        check_draws(schema, v.vocab, 40, 100 + i);
        json_decref(schema);
    }
    test_vocab_close(&v);
    json_decref(parameters);
}

static void deep_arguments_are_read(void **state)
{
    (void)state;
    qn_buffer text = {0};
    qn_buffer_puts(&text, BEGIN "{a:");
    for (int i = 0; i < 1000; i++) qn_buffer_puts(&text, "[{b:");
    qn_buffer_puts(&text, "1");
    for (int i = 0; i < 1000; i++) qn_buffer_puts(&text, "}]");
    qn_buffer_puts(&text, "}" END);
    json_t *parameters = json_object();
    language calls;
    open_calls(&calls, parameters, NULL);
    assert_true(takes(&calls, text.data, text.n_bytes));
    json_t *arguments = read_call(text.data, text.n_bytes),
           *value = json_loads(json_string_value(arguments), 0, NULL);
    assert_non_null(value);
    json_decref(value), json_decref(arguments), json_decref(parameters);
    close_language(&calls);
    qn_buffer_deinit(&text);
}

static void failing_memory_is_told(void **state)
{
    (void)state;
    json_t *parameters = json_loads(schemas[3], 0, NULL), *tools = tools_of(parameters);
    const qn_call_grammar_params p = {.format = qn_output_format_find("gemma4"), .tools = tools};
    check_failing_memory(&p);
    json_decref(tools), json_decref(parameters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_allowed_holds_to_the_schema),
                                       cmocka_unit_test(what_holds_to_the_schema_is_allowed),
                                       cmocka_unit_test(schemas_of_the_reference_hold),
                                       cmocka_unit_test(arguments_are_objects_without_white_space),
                                       cmocka_unit_test(patterns_that_are_too_large_are_left_out),
                                       cmocka_unit_test(the_quote_cannot_be_forged),
                                       cmocka_unit_test(deep_arguments_are_read),
                                       cmocka_unit_test(failing_memory_is_told)};
    return cmocka_run_group_tests_name("bare keys", tests, NULL, NULL);
}
