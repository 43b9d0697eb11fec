/* json_notation_test.c: schemas in a notation that is not JSON's: bare keys, and strings between a text that
 * does not come in them. What it takes is held to what JSON's own notation takes of the same values. */
#include "grammar_util.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUOTE "<|\"|>"

static const qn_json_schema_options other = {.notation = {.quote = "\xff" QUOTE, .quote_text = QUOTE}};

/* A text in which ' stands for the quote as it is written. */
static bool takes(const test_language *l, const char *text)
{
    qn_buffer written = {0};
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\'') qn_buffer_puts(&written, other.notation.quote);
        else qn_buffer_putc(&written, *c);
    }
    const bool taken = test_takes(l->automaton, written.data, written.n_bytes);
    qn_buffer_deinit(&written);
    return taken;
}

static void check_texts(const char *schema, const char *const *texts, size_t n, bool wanted)
{
    test_language l = test_schema(schema, &other);
    for (size_t i = 0; i < n; i++)
        if (takes(&l, texts[i]) != wanted)
            fail_msg("%s: %s should %sbe taken", schema, texts[i], wanted ? "" : "not ");
    test_language_close(&l);
}

static void strings_stand_as_they_are(void **state)
{
    (void)state;
    VALID("{\"type\":\"string\"}", "''", "'a \"b\" \\n\n\t\xc3\xa9'", "'<'", "'<|\"|'", "'<<|'",
          "'<|<|\"|a>'", "'|>'");
    INVALID("{\"type\":\"string\"}", "", "a", "'a", "\"a\"", QUOTE "a" QUOTE, "'a" QUOTE, "'" QUOTE "'",
            "'a" QUOTE "b'", "'<" QUOTE "'", "'<|\"" QUOTE "'", "'\x01'", "'\xff'",
            "'\xff"
            "<turn|>'");
    VALID("{}", "1", "-1.5e3", "true", "null", "'x'", "[]", "{}", "[1,'a',{a:{b:[]}}]");
    INVALID("{}", "x", "[a]", "{a}", "{a:}", "{a:1,}", "{'a'}", "[1, 2]", "{a: 1}");
}

static void keys_are_bare_where_they_are_words(void **state)
{
    (void)state;
    static const char named[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b c\":{\"type\":\"integer\"},"
        "\"\":{\"type\":\"integer\"},\"$x-1.y/"
        "\xc3\xa9\":{\"type\":\"integer\"},\"q\\\"\\\\\":{\"type\":\"integer\"},"
        "\"x<|\\\"|>\":{\"type\":\"integer\"}},\"additionalProperties\":false}";
    VALID(named, "{}", "{a:1}", "{'b c':1}", "{'':1}", "{$x-1.y/\xc3\xa9:1}", "{'q\"\\':1}",
          "{a:1,'b c':2,'':3}");
    INVALID(named, "{'a':1}", "{b c:1}", "{:1}", "{\"a\":1}", "{'x" QUOTE "':1}", "{x" QUOTE ":1}",
            "{q\"\\:1}");
    VALID("{\"type\":\"object\"}", "{a:1,a:2,'b c':3,'':4,1.5:6,true:false}", "{'a':1}");
    INVALID("{\"type\":\"object\"}", "{:1}", "{a b:1}", "{'" QUOTE "':1}");
    /* a required one that cannot be written makes all of it impossible */
    qn_network n;
    quern_error err = {0};
    static const char impossible[] = "{\"type\":\"object\",\"required\":[\"<|\\\"|>\"]}";
    assert_int_equal(qn_json_schema_build_text(&n, impossible, strlen(impossible), &other, &err),
                     QUERN_ERR_ARGUMENT);
    char schema[400], key[80], text[120];
    for (int length = 63; length <= 65; length++) {
        memset(key, 'k', sizeof key), key[length] = '\0';
        snprintf(schema, sizeof schema, "{\"type\":\"object\",\"properties\":{\"%s\":true}}", key);
        snprintf(text, sizeof text, length <= 64 ? "{%s:1}" : "{'%s':1}", key);
        VALID(schema, text);
        snprintf(text, sizeof text, length > 64 ? "{%s:1}" : "{'%s':1}", key);
        INVALID(schema, text);
    }
}

static void other_names_have_one_spelling(void **state)
{
    (void)state;
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"ab\":{\"type\":\"null\"},\"a b\":{\"type\":\"null\"}},"
        "\"patternProperties\":{\"^x\":{\"type\":\"boolean\"}},\"additionalProperties\":{\"type\":"
        "\"integer\"}}";
    VALID(schema, "{ab:null,'a b':null,a:1,'a c':2,x:true,'x y':false,'':3}", "{abc:1}", "{'<|\"':1}");
    INVALID(schema, "{ab:1}", "{'ab':1}", "{'ab':null}", "{'a b':1}", "{'abc':1}", "{x:1}", "{'x y':1}",
            "{'x':true}", "{'" QUOTE "':1}", "{'x" QUOTE "':true}", "{a c:2}");
    VALID("{\"type\":\"object\",\"propertyNames\":{\"maxLength\":2}}", "{ab:1}", "{' b':1}");
    INVALID("{\"type\":\"object\",\"propertyNames\":{\"maxLength\":2}}", "{abc:1}", "{'a b':1}", "{'ab':1}");
}

static void constants_that_hold_the_quote_are_missing(void **state)
{
    (void)state;
    static const char schema[] =
        "{\"enum\":[\"a\\\"\\n\\u0001\",\"x<|\\\"|>\",[\"<|\\\"|>\"],{\"a b\":[1.5,\"<|\"],\"c\":{}},"
        "{\"<|\\\"|>\":1},null]}";
    VALID(schema, "'a\"\n\x01'", "{'a b':[1.5,'<|'],c:{}}", "null");
    INVALID(schema, "'x" QUOTE "'", "['" QUOTE "']", "{'" QUOTE "':1}", "[]", "{}", "'x'");
    VALID("{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"enum\":[\"a\",\"<|\\\"|>\",\"b\"]}}",
          "['b','a']", "[]");
    INVALID("{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"enum\":[\"a\",\"<|\\\"|>\",\"b\"]}}",
            "['a','a']", "['" QUOTE "']");
    INVALID("{\"type\":\"string\",\"not\":{\"enum\":[\"a\",\"<\"]}}", "'a'", "'<'", "'" QUOTE "'");
    VALID("{\"type\":\"string\",\"not\":{\"enum\":[\"a\",\"<\"]}}", "'b'", "'<|'", "''");
}

/* ---- strings with demands ---------------------------------------------------------------------- */

/* The string as JSON has it, and as the notation has it. */
static void spell(const char *content, char json[80], char written[80])
{
    char *at = json;
    *at++ = '"';
    for (const char *c = content; *c != '\0'; c++) {
        if (*c == '"') *at++ = '\\';
        *at++ = *c;
    }
    strcpy(at, "\"");
    snprintf(written, 80, "'%s'", content);
}

/* All texts of up to 6 characters of the quote and one more. */
static void demands_hold_beside_the_quote(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        "{\"type\":\"string\"}",
        "{\"type\":\"string\",\"minLength\":2,\"maxLength\":5}",
        "{\"type\":\"string\",\"pattern\":\"^.{1,6}$\"}",
        "{\"type\":\"string\",\"pattern\":\"a\"}",
        "{\"type\":\"string\",\"pattern\":\"^<.*>$\"}",
        "{\"type\":\"string\",\"pattern\":\"^(<|a|[|]\\\"|>)*$\",\"maxLength\":5}",
        "{\"type\":\"string\",\"pattern\":\"^a*$\"}",
        "{\"type\":\"string\",\"pattern\":\"^[^a]*$\",\"not\":{\"const\":\"<\"}}",
        "{\"type\":\"string\",\"pattern\":\"^<[|]\\\"[|]>$|^a\"}",
        "{\"type\":\"string\",\"format\":\"json-pointer\"}",
        "{\"enum\":[\"<|\\\"|>\",\"<|\\\"|\",\"a<\"]}",
    };
    static const char letters[] = "<|\">a";
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        test_language json = test_schema(schemas[i], NULL), l = test_schema(schemas[i], &other);
        size_t n_taken = 0;
        for (int length = 0, count = 1; length <= 6; length++, count *= 5)
            for (int number = 0; number < count; number++) {
                char content[8] = "", as_json[80], written[80];
                for (int k = 0, rest = number; k < length; k++, rest /= 5) content[k] = letters[rest % 5];
                spell(content, as_json, written);
                const bool wanted =
                    strstr(content, QUOTE) == NULL && test_takes(json.automaton, as_json, strlen(as_json));
                if (takes(&l, written) != wanted) fail_msg("%s: %s", schemas[i], content);
                n_taken += wanted;
            }
        assert_true(n_taken > 0);
        test_language_close(&json);
        test_language_close(&l);
    }
}

static void lengths_are_exact_at_every_size(void **state)
{
    (void)state;
    static const struct {
        size_t min, max;
    } sizes[] = {{0, 0},   {0, 1},   {3, 3},     {31, 33},    {500, 512},
                 {0, 513}, {1, 600}, {513, 513}, {640, 1000}, {700, 3000}};
    static const char *const fillings[] = {"a", "<", "<|\"|", "\xc3\xa9", "<|\"|a"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char schema[100];
        snprintf(schema, sizeof schema, "{\"type\":\"string\",\"minLength\":%zu,\"maxLength\":%zu}",
                 sizes[i].min, sizes[i].max);
        test_language l = test_schema(schema, &other);
        const size_t lengths[] = {sizes[i].min, sizes[i].min + 1, (sizes[i].min + sizes[i].max) / 2,
                                  sizes[i].max, sizes[i].max + 1, sizes[i].min > 0 ? sizes[i].min - 1 : 0};
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
            for (size_t f = 0; f < sizeof fillings / sizeof *fillings; f++) {
                qn_buffer text = {0};
                const bool two_bytes = (fillings[f][0] & 0x80) != 0;
                const size_t period = strlen(fillings[f]);
                qn_buffer_putc(&text, '\'');
                for (size_t c = 0; c < lengths[k]; c++)
                    if (two_bytes) qn_buffer_puts(&text, fillings[f]);
                    else qn_buffer_putc(&text, fillings[f][c % period]);
                qn_buffer_putc(&text, '\'');
                if (takes(&l, text.data) != (lengths[k] >= sizes[i].min && lengths[k] <= sizes[i].max))
                    fail_msg("%s: %zu characters of %s", schema, lengths[k], fillings[f]);
                qn_buffer_deinit(&text);
            }
        test_language_close(&l);
    }
    static const char unlimited[] = "{\"type\":\"string\",\"minLength\":600}",
                      beyond[] = "{\"type\":\"string\",\"maxLength\":100000}";
    test_language l = test_schema(unlimited, &other), m = test_schema(beyond, &other);
    char *text = malloc(110003);
    memset(text, 'a', 110002), text[0] = '\'', text[600] = '\'', text[601] = '\0';
    assert_false(takes(&l, text));
    text[600] = 'a', text[601] = '\'', text[602] = '\0';
    assert_true(takes(&l, text));
    text[601] = text[602] = 'a', text[110001] = '\'', text[110002] = '\0';
    assert_true(takes(&l, text) && takes(&m, text));
    free(text);
    test_language_close(&l), test_language_close(&m);
}

/* The quote does not come in at any place, between blocks of characters neither. */
static void no_place_lets_the_quote_in(void **state)
{
    (void)state;
    static const char schema[] = "{\"type\":\"string\",\"minLength\":100,\"maxLength\":700}";
    test_language l = test_schema(schema, &other);
    char text[800];
    for (size_t place = 0; place <= 600; place++) {
        memset(text, 'a', sizeof text);
        memcpy(text, "'", 1), memcpy(text + 1 + place, QUOTE, 5), strcpy(text + 650, "'");
        assert_false(takes(&l, text));
        text[1 + place + 4] = '<';
        assert_true(takes(&l, text));
    }
    test_language_close(&l);
}

static void missing_memory_is_an_error(void **state)
{
    (void)state;
    json_t *schema = json_loads(
        "{\"type\":\"object\",\"properties\":{\"a\":{\"maxLength\":600},\"b\":{\"pattern\":\"^<\"},"
        "\"c d\":{}},\"additionalProperties\":{\"type\":\"string\",\"maxLength\":5}}",
        0, NULL);
    const long live = qn_alloc_live();
    bool failed = true;
    for (long k = 0; failed; k++) {
        qn_network n;
        quern_error err = {0};
        qn_alloc_fail_at(k);
        const quern_status s = qn_json_schema_build(&n, schema, &other, &err);
        failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        if (s != (failed ? QUERN_ERR_NOMEM : QUERN_OK)) fail_msg("allocation %ld: %d %s", k, s, err.message);
        if (s == QUERN_OK) qn_network_deinit(&n);
        assert_int_equal(qn_alloc_live(), live);
    }
    json_decref(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(strings_stand_as_they_are),
                                       cmocka_unit_test(keys_are_bare_where_they_are_words),
                                       cmocka_unit_test(other_names_have_one_spelling),
                                       cmocka_unit_test(constants_that_hold_the_quote_are_missing),
                                       cmocka_unit_test(demands_hold_beside_the_quote),
                                       cmocka_unit_test(lengths_are_exact_at_every_size),
                                       cmocka_unit_test(no_place_lets_the_quote_in),
                                       cmocka_unit_test(missing_memory_is_an_error)};
    return cmocka_run_group_tests_name("notation", tests, NULL, NULL);
}
