/* json_schema_test.c: JSON schemas keyword by keyword; numbers, dates and lengths held to plain arithmetic;
 * what is refused and how that is told; hostile schemas. */
#include "grammar_util.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/random.h"
#include "grammar/choice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_texts(const char *schema, const char *const *texts, size_t n, bool wanted)
{
    for (int flexible = 0; flexible < 2; flexible++) {
        const qn_json_schema_options options = {.whitespace = flexible ? QN_JSON_FLEXIBLE : QN_JSON_COMPACT};
        test_language l = test_schema(schema, &options);
        for (size_t i = 0; i < n; i++)
            if (test_takes(l.automaton, texts[i], strlen(texts[i])) != wanted)
                fail_msg("%s: %s should %sbe taken", schema, texts[i], wanted ? "" : "not ");
        test_language_close(&l);
    }
}

/* ---- objects ----------------------------------------------------------------------------------- */

static void names_cannot_come_in_twice_by_another_spelling(void **state)
{
    (void)state;
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"ab\":{\"type\":\"null\"},"
        "\"q\\\"\\n\":{\"type\":\"null\"}},\"additionalProperties\":{\"type\":\"integer\"}}";
    VALID(schema, "{}", "{\"ab\":null}", "{\"a\":1}", "{\"abc\":1}", "{\"\":1}",
          "{\"q\\\"\\n\":null,\"q\":2}", "{\"ab\":null,\"ac\":1,\"\xc3\xa9\":2}", "{\"q\\\"\":1}",
          "{\"\\u0001\":1}");
    INVALID(schema, "{\"ab\":1}", "{\"\\u0061b\":1}", "{\"a\\u0062\":1}", "{\"ab\":null,\"ab\":1}",
            "{\"a\":null}", "{\"a\":1,\"ab\":null}", "{\"q\\u0022\\n\":1}", "{\"q\\\"\\u000a\":1}",
            "{\"q\\\"\\n\":1}");
}

static void counts_of_properties_hold(void **state)
{
    (void)state;
    static const char closed[] = "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},"
                                 "\"additionalProperties\":false,\"minProperties\":2}";
    VALID(closed, "{\"a\":1,\"b\":2}", "{\"b\":1,\"c\":2}", "{\"a\":1,\"b\":2,\"c\":3}");
    INVALID(closed, "{}", "{\"b\":1}", "{\"c\":1}");
    static const char open[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1}},\"minProperties\":1,"
        "\"maxProperties\":3}";
    VALID(open, "{\"a\":1}", "{\"x\":null}", "{\"a\":1,\"x\":2,\"y\":3}");
    INVALID(open, "{}", "{\"a\":1,\"x\":2,\"y\":3,\"z\":4}", "{\"w\":1,\"x\":2,\"y\":3,\"z\":4}");
    VALID("{\"type\":\"object\",\"maxProperties\":0}", "{}");
    INVALID("{\"type\":\"object\",\"maxProperties\":0}", "{\"a\":1}");
}

static void names_are_told_apart_by_patterns(void **state)
{
    (void)state;
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"ab\":{\"minimum\":0},\"x\":{\"type\":\"null\"}},"
        "\"patternProperties\":{\"^a\":{\"type\":\"integer\"},\"z$\":{\"maximum\":9}},"
        "\"additionalProperties\":false}";
    VALID(schema, "{\"ab\":1}", "{\"x\":null}", "{\"ac\":-5}", "{\"qz\":\"s\"}", "{\"qz\":8.5}",
          "{\"az\":9}");
    INVALID(schema, "{\"ab\":-1}", "{\"ab\":1.5}", "{\"q\":1}", "{\"ac\":\"s\"}", "{\"qz\":10}",
            "{\"az\":10}", "{\"az\":1.5}");
    static const char names[] =
        "{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-c]+$\",\"maxLength\":2},"
        "\"additionalProperties\":{\"type\":\"null\"}}";
    VALID(names, "{}", "{\"ab\":null,\"c\":null}");
    INVALID(names, "{\"abc\":null}", "{\"d\":null}", "{\"\":null}");
    static const char listed[] = "{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"a\",\"b\"]}}";
    VALID(listed, "{\"a\":1,\"b\":2}", "{\"b\":[]}");
    INVALID(listed, "{\"c\":1}");
}

static void parts_of_an_object_depend_on_others(void **state)
{
    (void)state;
    static const char dependent[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"additionalProperties\":false,"
        "\"dependentRequired\":{\"a\":[\"b\"]},\"dependentSchemas\":{\"c\":{\"properties\":{\"b\":false}}}}";
    VALID(dependent, "{}", "{\"a\":1,\"b\":1}", "{\"b\":1}", "{\"c\":1}");
    INVALID(dependent, "{\"a\":1}", "{\"a\":1,\"c\":1}", "{\"b\":1,\"c\":1}");
    static const char conditional[] =
        "{\"type\":\"object\",\"properties\":{\"k\":{\"enum\":[\"x\",\"y\"]},\"v\":{\"type\":\"integer\"}},"
        "\"required\":[\"k\"],\"additionalProperties\":false,\"if\":{\"properties\":{\"k\":{\"const\":\"x\"}}"
        "},"
        "\"then\":{\"required\":[\"v\"]},\"else\":{\"properties\":{\"v\":false}}}";
    VALID(conditional, "{\"k\":\"x\",\"v\":1}", "{\"k\":\"y\"}");
    INVALID(conditional, "{\"k\":\"x\"}", "{\"k\":\"y\",\"v\":1}");
    static const char unevaluated[] =
        "{\"type\":\"object\",\"allOf\":[{\"properties\":{\"a\":{\"type\":\"null\"}}}],"
        "\"properties\":{\"b\":{}},\"unevaluatedProperties\":false}";
    VALID(unevaluated, "{\"a\":null,\"b\":1}");
    INVALID(unevaluated, "{\"a\":1}", "{\"c\":1}");
}

static void others_are_left_out_when_asked(void **state)
{
    (void)state;
    static const char schema[] = "{\"type\":\"object\",\"properties\":{\"a\":{}}}";
    const qn_json_schema_options options = {.named_only = true};
    test_language l = test_schema(schema, &options);
    assert_true(test_takes(l.automaton, "{\"a\":1}", 7));
    assert_false(test_takes(l.automaton, "{\"b\":1}", 7));
    test_language_close(&l);
    VALID(schema, "{\"b\":1}");
}

/* ---- alternatives ------------------------------------------------------------------------------ */

static void alternatives_combine(void **state)
{
    (void)state;
    static const char either[] = "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}},"
                                 "\"anyOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}";
    VALID(either, "{\"a\":1}", "{\"b\":1}", "{\"a\":1,\"b\":1}");
    INVALID(either, "{}", "{\"c\":1}");
    static const char apart[] =
        "{\"oneOf\":[{\"type\":\"integer\",\"maximum\":3},{\"type\":\"integer\",\"minimum\":5},"
        "{\"type\":\"string\",\"pattern\":\"^a\"},{\"type\":\"string\",\"pattern\":\"^b\"}]}";
    VALID(apart, "3", "5", "-7", "\"a\"", "\"bc\"");
    INVALID(apart, "4", "\"c\"");
    static const char demanding[] =
        "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"a\":{}},\"required\":[\"a\"]},"
        "{\"type\":\"object\",\"properties\":{\"b\":{}},\"required\":[\"b\"]}]}";
    VALID(demanding, "{\"a\":1}", "{\"b\":1}", "{\"a\":1,\"c\":2}");
    INVALID(demanding, "{\"a\":1,\"b\":2}", "{}");
    VALID("{\"allOf\":[{\"minimum\":3},{\"maximum\":7},{\"type\":[\"integer\",\"null\"]}]}", "3", "7",
          "null");
    INVALID("{\"allOf\":[{\"minimum\":3},{\"maximum\":7},{\"type\":[\"integer\",\"null\"]}]}", "2", "8",
            "\"a\"");
    static const char closed[] = "{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{}},"
                                 "\"additionalProperties\":false},{\"properties\":{\"b\":{}}}]}";
    VALID(closed, "{}", "{\"a\":1}");
    INVALID(closed, "{\"b\":1}", "{\"a\":1,\"b\":1}");
}

static void opposites_hold(void **state)
{
    (void)state;
    INVALID("{\"not\":{\"type\":[\"string\",\"object\"]}}", "\"a\"", "{}");
    VALID("{\"not\":{\"type\":[\"string\",\"object\"]}}", "1", "[]", "null");
    VALID("{\"type\":\"integer\",\"not\":{\"enum\":[5,7]},\"minimum\":4,\"maximum\":8}", "4", "6", "8");
    INVALID("{\"type\":\"integer\",\"not\":{\"enum\":[5,7]},\"minimum\":4,\"maximum\":8}", "5", "7");
    VALID("{\"type\":\"string\",\"not\":{\"pattern\":\"b\"}}", "\"a\"", "\"\"");
    INVALID("{\"type\":\"string\",\"not\":{\"pattern\":\"b\"}}", "\"b\"", "\"abc\"", "\"\\u0062\"");
    VALID("{\"type\":\"string\",\"not\":{\"const\":\"a\"}}", "\"aa\"", "\"\"");
    INVALID("{\"type\":\"string\",\"not\":{\"const\":\"a\"}}", "\"a\"", "\"\\u0061\"");
    INVALID("{\"type\":\"object\",\"not\":{\"required\":[\"a\"]}}", "{\"a\":1}");
    VALID("{\"type\":\"object\",\"not\":{\"required\":[\"a\"]}}", "{\"b\":1}", "{}");
    INVALID("{\"type\":\"array\",\"not\":{\"contains\":{\"const\":3}},\"items\":{\"type\":\"integer\"}}",
            "[3]", "[1,3]");
    VALID("{\"not\":{\"type\":\"integer\"}}", "1.5", "null");
    INVALID("{\"not\":{\"type\":\"integer\"}}", "1", "1.0");
    INVALID("{\"type\":[\"boolean\",\"null\"],\"not\":{\"const\":false}}", "false");
}

/* ---- arrays ------------------------------------------------------------------------------------ */

static void arrays_count_their_items(void **state)
{
    (void)state;
    static const char prefix[] =
        "{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"null\"}],"
        "\"items\":{\"type\":\"boolean\"},\"minItems\":1,\"maxItems\":4}";
    VALID(prefix, "[1]", "[1,null]", "[1,null,true]", "[1,null,true,false]");
    INVALID(prefix, "[]", "[null]", "[1,true]", "[1,null,3]", "[1,null,true,true,true]");
    VALID("{\"items\":[{\"type\":\"integer\"}],\"additionalItems\":false}", "[]", "[1]", "{}");
    INVALID("{\"items\":[{\"type\":\"integer\"}],\"additionalItems\":false}", "[1,2]", "[null]");
    static const char contains[] = "{\"type\":\"array\",\"items\":{\"type\":[\"integer\",\"null\"]},"
                                   "\"contains\":{\"type\":\"integer\"},\"minContains\":2,\"maxContains\":3}";
    VALID(contains, "[1,2]", "[null,1,null,2,null]", "[1,2,3]");
    INVALID(contains, "[]", "[1]", "[1,null]", "[1,2,3,4]", "[1,2,\"a\"]");
    VALID("{\"type\":\"array\",\"contains\":{\"const\":5},\"maxItems\":2}", "[5]", "[1,5]", "[5,null]");
    INVALID("{\"type\":\"array\",\"contains\":{\"const\":5},\"maxItems\":2}", "[]", "[1]", "[1,2,5]");
    VALID("{\"type\":\"array\",\"items\":{\"enum\":[1,2,3]},\"uniqueItems\":true,\"minItems\":2}", "[1,2]",
          "[3,1,2]");
    INVALID("{\"type\":\"array\",\"items\":{\"enum\":[1,2,3]},\"uniqueItems\":true,\"minItems\":2}", "[1]",
            "[1,1]", "[1,2,1]");
}

static void lengths_are_exact_at_every_size(void **state)
{
    (void)state;
    static const unsigned limits[][2] = {{0, 5}, {3, 3}, {250, 260}, {1000, 1030}, {1020, 2000}, {1300, 0}};
    char schema[200], *text = malloc(20000);
    assert_non_null(text);
    for (size_t k = 0; k < sizeof limits / sizeof limits[0]; k++) {
        const unsigned min = limits[k][0], max = limits[k][1] > 0 ? limits[k][1] : 1 << 30;
        snprintf(schema, sizeof schema, "{\"type\":\"string\",\"minLength\":%u,\"maxLength\":%u}", min, max);
        test_language l = test_schema(schema, NULL);
        snprintf(schema, sizeof schema,
                 "{\"type\":\"array\",\"items\":{\"const\":1},\"minItems\":%u,\"maxItems\":%u}", min, max);
        test_language a = test_schema(schema, NULL);
        for (unsigned n = 0; n <= 2100; n += n > 10 && n < 240 ? 17 : 1) {
            size_t at = 0;
            text[at++] = '"';
            for (unsigned i = 0; i < n; i++)
                at += (size_t)sprintf(text + at, "%s", i % 3 ? "x" : "\\ud83d\\ude00");
            text[at++] = '"';
            if (test_takes(l.automaton, text, at) != (n >= min && n <= max))
                fail_msg("%u in %u..%u", n, min, max);
            at = 0;
            text[at++] = '[';
            for (unsigned i = 0; i < n; i++) at += (size_t)sprintf(text + at, i > 0 ? ",1" : "1");
            text[at++] = ']';
            if (test_takes(a.automaton, text, at) != (n >= min && n <= max))
                fail_msg("[%u] in %u..%u", n, min, max);
        }
        test_language_close(&l);
        test_language_close(&a);
    }
    free(text);
}

/* ---- numbers ----------------------------------------------------------------------------------- */

static bool takes_text(test_language *l, const char *text)
{
    return test_takes(l->automaton, text, strlen(text));
}

static void integer_bounds_hold_for_every_integer(void **state)
{
    (void)state;
    static const int bounds[][2] = {{1, 100},  {-15, 23}, {-1000, -7}, {0, 0},     {-1, 0},      {0, 1},
                                    {99, 101}, {10, 10},  {-10, -10},  {123, 987}, {-999, 1001}, {9, 1111}};
    char schema[200], text[32];
    for (size_t k = 0; k < sizeof bounds / sizeof bounds[0]; k++)
        for (int kind = 0; kind < 4; kind++) { /* both bounds, either one, and a draft-4 exclusive one */
            const int low = bounds[k][0], high = bounds[k][1];
            if (kind == 0)
                snprintf(schema, sizeof schema, "{\"type\":\"integer\",\"minimum\":%d,\"maximum\":%d}", low,
                         high);
            else if (kind == 3)
                snprintf(schema, sizeof schema,
                         "{\"type\":\"integer\",\"minimum\":%d,\"exclusiveMinimum\":true,\"maximum\":%d.0}",
                         low, high);
            else
                snprintf(schema, sizeof schema, "{\"type\":\"integer\",\"%s\":%d}",
                         kind == 1 ? "minimum" : "exclusiveMaximum", kind == 1 ? low : high);
            if (kind == 3 && low == high) continue; /* nothing is left */
            test_language l = test_schema(schema, NULL);
            for (int i = -1300; i <= 1300; i++) {
                const bool wanted = kind == 0   ? i >= low && i <= high
                                    : kind == 1 ? i >= low
                                    : kind == 2 ? i < high
                                                : i > low && i <= high;
                snprintf(text, sizeof text, "%d", i);
                if (takes_text(&l, text) != wanted) fail_msg("%s: %s", schema, text);
            }
            assert_false(takes_text(&l, "-0"));
            assert_false(takes_text(&l, "00"));
            assert_false(takes_text(&l, "-"));
            assert_false(takes_text(&l, ""));
            test_language_close(&l);
        }
}

static void multiples_are_exact(void **state)
{
    (void)state;
    static const int steps[] = {1, 2, 3, 4, 5, 7, 10, 12, 30, 64, 100, 250, 997};
    char schema[200], text[32];
    for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
        snprintf(schema, sizeof schema, "{\"type\":\"integer\",\"multipleOf\":%d,\"minimum\":-700}",
                 steps[k]);
        test_language l = test_schema(schema, NULL);
        for (int i = -800; i <= 4000; i++) {
            snprintf(text, sizeof text, "%d", i);
            if (takes_text(&l, text) != (i >= -700 && i % steps[k] == 0)) fail_msg("%s: %s", schema, text);
        }
        test_language_close(&l);
    }
    VALID("{\"type\":\"number\",\"multipleOf\":0.01}", "16.47", "0.1", "3", "-2.50");
    INVALID("{\"type\":\"number\",\"multipleOf\":0.01}", "0.001", "1.234", "1.");
    VALID("{\"allOf\":[{\"multipleOf\":0.5},{\"multipleOf\":0.75}],\"type\":\"number\"}", "1.5", "0", "3",
          "-4.5");
    INVALID("{\"allOf\":[{\"multipleOf\":0.5},{\"multipleOf\":0.75}],\"type\":\"number\"}", "0.75", "1",
            "2.25");
}

/* n thousandths with that many digits of a fraction, or 0 if it needs more. */
static size_t print_thousandths(char *out, int n, int digits)
{
    static const int lost[] = {1000, 100, 10, 1, 1, 1}; /* what so few digits cannot say */
    const int magnitude = abs(n);
    if (magnitude % lost[digits] != 0) return 0;
    char whole[32];
    snprintf(whole, sizeof whole, "%s%d.%03d00", n < 0 ? "-" : "", magnitude / 1000, magnitude % 1000);
    const size_t keep = strlen(whole) - 5 + (size_t)digits - (digits == 0);
    memcpy(out, whole, keep);
    out[keep] = '\0';
    return keep;
}

static void real_bounds_hold_for_decimals(void **state)
{
    (void)state;
    qn_random r = {.seed = 3};
    char schema[200], low_text[32], high_text[32], text[32];
    for (int round = 0; round < 60; round++) {
        const int a = (int)(qn_random_u64(&r) % 5000) - 2500, b = (int)(qn_random_u64(&r) % 5000) - 2500;
        const int low = a < b ? a : b, high = a < b ? b : a + 1;
        const bool exclusive_low = qn_random_u64(&r) % 2 == 0, exclusive_high = qn_random_u64(&r) % 2 == 0;
        print_thousandths(low_text, low, 3), print_thousandths(high_text, high, 3);
        snprintf(schema, sizeof schema, "{\"type\":\"number\",\"%s\":%s,\"%s\":%s}",
                 exclusive_low ? "exclusiveMinimum" : "minimum", low_text,
                 exclusive_high ? "exclusiveMaximum" : "maximum", high_text);
        test_language l = test_schema(schema, NULL);
        for (int n = -2600; n <= 2600; n++)
            for (int digits = 0; digits <= 5; digits++) {
                if (print_thousandths(text, n, digits) == 0) continue;
                if (strcmp(text, "-0") == 0) continue;
                const bool wanted =
                    (exclusive_low ? n > low : n >= low) && (exclusive_high ? n < high : n <= high);
                if (takes_text(&l, text) != wanted) fail_msg("%s: %s", schema, text);
            }
        test_language_close(&l);
    }
    VALID("{\"type\":\"number\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":1e-19}",
          "0.00000000000000000001");
    VALID("{\"type\":\"number\",\"maximum\":1e300}", "123", "-0.5");
    INVALID("{\"type\":\"number\",\"maximum\":1e300}", "1e301");
    VALID("{\"type\":\"integer\",\"minimum\":1e25}", "10000000000000000000000000");
}

/* ---- strings ----------------------------------------------------------------------------------- */

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static void dates_have_the_days_of_their_months(void **state)
{
    (void)state;
    static const int years[] = {1,    4,    100,  400,  1582, 1899, 1900, 1996,
                                1999, 2000, 2023, 2024, 2100, 2400, 9999};
    test_language l = test_schema("{\"type\":\"string\",\"format\":\"date\"}", NULL);
    test_language t = test_schema("{\"type\":\"string\",\"format\":\"date-time\"}", NULL);
    char text[64];
    for (size_t k = 0; k < sizeof years / sizeof *years; k++)
        for (int month = 0; month <= 13; month++)
            for (int day = 0; day <= 33; day++) {
                const bool wanted =
                    month >= 1 && month <= 12 && day >= 1 && day <= days_in_month(years[k], month);
                snprintf(text, sizeof text, "\"%04d-%02d-%02d\"", years[k], month, day);
                if (takes_text(&l, text) != wanted) fail_msg("%s", text);
                snprintf(text, sizeof text, "\"%04d-%02d-%02dT12:34:56Z\"", years[k], month, day);
                if (takes_text(&t, text) != wanted) fail_msg("%s", text);
            }
    test_language_close(&l);
    test_language_close(&t);
    INVALID("{\"type\":\"string\",\"format\":\"date\"}", "\"0000-01-01\"");
}

static void formats_hold(void **state)
{
    (void)state;
    VALID("{\"type\":\"string\",\"format\":\"ipv4\"}", "\"0.0.0.0\"", "\"255.249.199.10\"");
    INVALID("{\"type\":\"string\",\"format\":\"ipv4\"}", "\"256.1.1.1\"", "\"01.1.1.1\"", "\"1.1.1\"");
    VALID("{\"type\":\"string\",\"format\":\"ipv6\"}", "\"::\"", "\"::1\"", "\"1:2:3:4:5:6:7:8\"", "\"1::8\"",
          "\"::ffff:1.2.3.4\"", "\"1:2:3:4:5:6:7::\"", "\"1:2:3:4:5:6:1.2.3.4\"");
    INVALID("{\"type\":\"string\",\"format\":\"ipv6\"}", "\":\"", "\"1:2:3:4:5:6:7\"", "\"1::2::3\"",
            "\"1:2:3:4:5:6:7:8:9\"", "\"12345::\"");
    VALID("{\"type\":\"string\",\"format\":\"email\"}", "\"a.b@example.com\"", "\"x+y@h\"");
    INVALID("{\"type\":\"string\",\"format\":\"email\"}", "\"a\"", "\"a@\"", "\"@b\"", "\"a@b..c\"",
            "\"a@-b\"");
    VALID("{\"type\":\"string\",\"format\":\"uri\"}", "\"http://example.com/a?b=c#d\"", "\"mailto:a@b.c\"",
          "\"http://[::1]:80/\"");
    INVALID("{\"type\":\"string\",\"format\":\"uri\"}", "\"/a\"", "\"http://a b\"", "\"%41:a\"");
    VALID("{\"type\":\"string\",\"format\":\"uri-reference\"}", "\"/a\"", "\"a/b\"", "\"\"", "\"#x\"",
          "\"x:y\"");
    VALID("{\"type\":\"string\",\"format\":\"duration\"}", "\"P1Y2M3DT4H5M6S\"", "\"PT1S\"", "\"P4W\"");
    INVALID("{\"type\":\"string\",\"format\":\"duration\"}", "\"P\"", "\"PT\"", "\"P1YT\"", "\"P1H\"",
            "\"P1W2D\"");
    VALID("{\"type\":\"string\",\"format\":\"json-pointer\"}", "\"\"", "\"/a/~0~1\"");
    INVALID("{\"type\":\"string\",\"format\":\"json-pointer\"}", "\"a\"", "\"/~2\"");
    VALID("{\"type\":\"string\",\"format\":\"no-such-format\"}", "\"anything\"");
    VALID("{\"type\":\"string\",\"format\":\"email\",\"minLength\":8,\"maxLength\":254}", "\"ab@ex.org\"");
    INVALID("{\"type\":\"string\",\"format\":\"email\",\"minLength\":8,\"maxLength\":254}", "\"a@b.org\"");
    VALID("{\"type\":\"string\",\"format\":\"uri\",\"maxLength\":2083}", "\"https://example.com/x\"");
    VALID("{\"type\":\"string\",\"pattern\":\"a\",\"minLength\":2,\"maxLength\":3}", "\"ab\"", "\"bba\"",
          "\"\\n\\\"a\"");
    INVALID("{\"type\":\"string\",\"pattern\":\"a\",\"minLength\":2,\"maxLength\":3}", "\"a\"", "\"bbb\"",
            "\"abcd\"");
    VALID("{\"type\":\"string\",\"pattern\":\"^[\\\\x00-\\\\x7f]$\"}", "\"\\u0000\"", "\"\\\\\"", "\"\\\"\"",
          "\"/\"");
}

/* ---- references -------------------------------------------------------------------------------- */

static void references_lead_everywhere(void **state)
{
    (void)state;
    VALID("{\"$defs\":{\"a/b\":{\"c~d\":[{},{\"type\":\"null\"}]}},\"$ref\":\"#/$defs/a~1b/c~0d/1\"}",
          "null");
    INVALID("{\"$defs\":{\"a b\":{\"type\":\"null\"}},\"$ref\":\"#/$defs/a%20b\"}", "1");
    VALID("{\"$defs\":{\"x\":{\"$anchor\":\"here\",\"type\":\"null\"}},\"$ref\":\"#here\"}", "null");
    VALID("{\"$id\":\"http://a/b\",\"$defs\":{\"x\":{\"type\":\"null\"}},\"$ref\":\"http://a/b#/$defs/x\"}",
          "null");
    VALID("{\"$defs\":{\"x\":{\"$id\":\"sub\",\"type\":\"null\"}},\"$ref\":\"sub\"}", "null");
    static const char siblings[] =
        "{\"$defs\":{\"x\":{\"type\":\"integer\"}},\"$ref\":\"#/$defs/x\",\"minimum\":3}";
    VALID(siblings, "3");
    INVALID(siblings, "2", "3.5");
    /* a way that leads to no end is not offered */
    static const char endless[] = "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/"
                                  "e\"},\"b\":{}},\"additionalProperties\":false,"
                                  "\"$defs\":{\"e\":{\"type\":\"object\",\"properties\":{\"x\":{\"$ref\":\"#/"
                                  "$defs/e\"}},\"required\":[\"x\"]}}}";
    VALID(endless, "{}", "{\"b\":1}");
    test_language l = test_schema(endless, NULL);
    qn_place at = qn_automaton_begin(l.automaton);
    at = qn_automaton_step(l.automaton, qn_automaton_step(l.automaton, at, '{'), '"');
    assert_int_equal(qn_automaton_step(l.automaton, at, 'a'), QN_PLACE_DEAD);
    assert_int_not_equal(qn_automaton_step(l.automaton, at, 'b'), QN_PLACE_DEAD);
    test_language_close(&l);
}

/* ---- what is refused --------------------------------------------------------------------------- */

static void refused(const char *schema, quern_status status, const char *part_of_message)
{
    qn_network n;
    quern_error err = {0};
    const quern_status s = qn_json_schema_build_text(&n, schema, strlen(schema), NULL, &err);
    if (s != status) fail_msg("%.200s gives %d: %s", schema, s, err.message);
    if (strstr(err.message, part_of_message) == NULL)
        fail_msg("%.200s: '%s' does not say '%s'", schema, err.message, part_of_message);
    if (s == QUERN_OK) qn_network_deinit(&n);
}

static void mistakes_are_told_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        quern_status status;
        const char *message;
    } wrong[] = {
        {"{\"a\":", QUERN_ERR_FORMAT, "line 1"},
        {"{\"type\":\"null\",\"type\":\"null\"}", QUERN_ERR_FORMAT, "duplicate"},
        {"3", QUERN_ERR_ARGUMENT, "a schema is an object"},
        {"false", QUERN_ERR_ARGUMENT, "no value is valid"},
        {"{\"allOf\":[{\"type\":\"null\"},{\"type\":\"string\"}]}", QUERN_ERR_ARGUMENT, "no value is valid"},
        {"{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", QUERN_ERR_ARGUMENT, "no value is valid"},
        {"{\"type\":\"object\",\"required\":[\"a\"],\"additionalProperties\":false}", QUERN_ERR_ARGUMENT,
         "no value"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}",
         QUERN_ERR_ARGUMENT, "no value"},
        {"{\"properties\":{\"a/b\":{\"type\":\"strin\"}}}", QUERN_ERR_ARGUMENT,
         "#/properties/a~1b: \"type\""},
        {"{\"properties\":[]}", QUERN_ERR_ARGUMENT, "\"properties\" is no object"},
        {"{\"minLength\":-1}", QUERN_ERR_ARGUMENT, "\"minLength\" is no count"},
        {"{\"minimum\":\"1\"}", QUERN_ERR_ARGUMENT, "\"minimum\" is no number"},
        {"{\"multipleOf\":0}", QUERN_ERR_ARGUMENT, "\"multipleOf\""},
        {"{\"enum\":3}", QUERN_ERR_ARGUMENT, "\"enum\" is no array"},
        {"{\"required\":[1]}", QUERN_ERR_ARGUMENT, "\"required\""},
        {"{\"pattern\":1}", QUERN_ERR_ARGUMENT, "\"pattern\" is no string"},
        {"{\"pattern\":\"(?=a)\"}", QUERN_ERR_ARGUMENT, "lookahead"},
        {"{\"$ref\":\"#/$defs/a\"}", QUERN_ERR_ARGUMENT, "there is no schema \"#/$defs/a\""},
        {"{\"$ref\":\"http://example.com/s\"}", QUERN_ERR_ARGUMENT, "there is no schema"},
        {"{\"$ref\":\"#\"}", QUERN_ERR_ARGUMENT, "refers to itself"},
        {"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"b\":{\"allOf\":[{\"$ref\":\"#/"
         "$defs/a\"}]}}}",
         QUERN_ERR_ARGUMENT, "refers to itself"},
        {"{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}", QUERN_ERR_ARGUMENT, "itself"},
        {"{\"items\":{\"$dynamicRef\":\"#a\"}}", QUERN_ERR_UNSUPPORTED, "#/items: \"$dynamicRef\""},
        {"{\"type\":\"array\",\"uniqueItems\":true}", QUERN_ERR_UNSUPPORTED, "\"uniqueItems\""},
        {"{\"oneOf\":[{\"type\":\"number\"},{\"type\":\"integer\"}]}", QUERN_ERR_UNSUPPORTED, "\"oneOf\""},
        {"{\"not\":{\"multipleOf\":2}}", QUERN_ERR_UNSUPPORTED, "#/not: \"multipleOf\""},
        {"{\"not\":{\"format\":\"email\"}}", QUERN_ERR_UNSUPPORTED, "\"format\" within \"not\""},
        {"{\"not\":{\"const\":[]}}", QUERN_ERR_UNSUPPORTED, "\"not\""}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        refused(wrong[i].schema, wrong[i].status, wrong[i].message);
}

static void what_cannot_be_said_may_be_left_out(void **state)
{
    (void)state;
    const qn_json_schema_options options = {.lenient = true};
    test_language l = test_schema("{\"type\":\"array\",\"uniqueItems\":true}", &options);
    assert_true(takes_text(&l, "[1,1]"));
    test_language_close(&l);
}

/* count times text within begin and end. */
static char *repeated(const char *begin, const char *text, int count, const char *middle, const char *after,
                      const char *end)
{
    qn_buffer b = {0};
    qn_buffer_puts(&b, begin);
    for (int i = 0; i < count; i++) qn_buffer_printf(&b, "%s%s", i > 0 && after[0] == ',' ? "," : "", text);
    qn_buffer_puts(&b, middle);
    for (int i = 0; i < count && after[0] != ','; i++) qn_buffer_puts(&b, after);
    qn_buffer_puts(&b, end);
    return qn_buffer_take(&b, NULL);
}

static void refuse_and_free(char *schema, quern_status status)
{
    refused(schema, status, "JSON schema");
    qn_free(schema);
}

static void hostile_schemas_meet_limits(void **state)
{
    (void)state;
    refuse_and_free(repeated("", "[", 10000, "", "]", ""), QUERN_ERR_FORMAT);
    refuse_and_free(repeated("", "{\"items\":", 10000, "{}", "}", ""), QUERN_ERR_FORMAT);
    refuse_and_free(repeated("", "{\"allOf\":[", 500, "{}", "]}", ""), QUERN_ERR_LIMIT);
    refuse_and_free(repeated("{\"const\":", "[", 500, "", "]", "}"), QUERN_ERR_LIMIT);
    refuse_and_free(
        repeated("{\"allOf\":[", "{\"anyOf\":[{\"minimum\":1},{\"maximum\":7}]}", 12, "", ",", "]}"),
        QUERN_ERR_LIMIT);
    refused("{\"type\":\"string\",\"pattern\":\"(a?){1000}(b?){1000}\",\"maxLength\":5000}", QUERN_ERR_LIMIT,
            "complex");
    refused("{\"type\":\"string\",\"pattern\":\"(a|b)*a(a|b){20}\",\"minLength\":1}", QUERN_ERR_LIMIT,
            "complex");
    refused("{\"type\":\"integer\",\"multipleOf\":999983}", QUERN_ERR_LIMIT, "#: \"multipleOf\"");
    refused("{\"minProperties\":1000000}", QUERN_ERR_LIMIT, "too many");
    refused("{\"type\":\"string\",\"minLength\":100000000}", QUERN_ERR_LIMIT, "100000000");
    qn_buffer doubling = {0};
    qn_buffer_puts(&doubling, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{\"d30\":{\"type\":\"null\"}");
    for (int i = 0; i < 30; i++)
        qn_buffer_printf(&doubling,
                         ",\"d%d\":{\"allOf\":[{\"$ref\":\"#/$defs/d%d\"},{\"$ref\":\"#/$defs/d%d\"}]}", i,
                         i + 1, i + 1);
    qn_buffer_puts(&doubling, "}}");
    refused(doubling.data, QUERN_ERR_LIMIT, "too much work");
    qn_buffer_deinit(&doubling);
}

/* ---- other entries ----------------------------------------------------------------------------- */

static void white_space_is_bounded(void **state)
{
    (void)state;
    const qn_json_schema_options options = {.whitespace = QN_JSON_FLEXIBLE};
    test_language l = test_schema("{\"type\":\"object\"}", &options);
    assert_true(takes_text(&l, "{ \"a\": [\n    1, 2\n  ],\n\t\t\"b\": { } }"));
    assert_false(takes_text(&l, "{  \"a\":1}"));
    assert_false(takes_text(&l, "{\n\n\"a\":1}"));
    assert_false(takes_text(&l, "{\"a\" :1}"));
    assert_false(takes_text(&l, " {}"));
    test_language_close(&l);
}

static void values_and_choices_are_languages(void **state)
{
    (void)state;
    qn_network n;
    qn_automaton *a;
    for (int object_only = 0; object_only < 2; object_only++) {
        assert_int_equal(qn_json_any_build(&n, object_only != 0, QN_JSON_COMPACT, NULL), QUERN_OK);
        assert_int_equal(qn_automaton_create(&a, &n, NULL), QUERN_OK);
        assert_true(test_takes(a, "{\"a\":[1,{}]}", 12));
        assert_int_equal(test_takes(a, "-1.5e3", 6), !object_only);
        qn_automaton_destroy(a);
        qn_network_deinit(&n);
    }
    const char *const texts[] = {"yes", "no", "nothing\0!"};
    const size_t n_bytes[] = {3, 2, 9};
    assert_int_equal(qn_choice_build(&n, texts, n_bytes, 3, NULL), QUERN_OK);
    assert_int_equal(qn_automaton_create(&a, &n, NULL), QUERN_OK);
    assert_true(test_takes(a, "no", 2) && test_takes(a, "nothing\0!", 9));
    assert_false(test_takes(a, "noth", 4));
    qn_automaton_destroy(a);
    qn_network_deinit(&n);
    assert_int_equal(qn_choice_build(&n, texts, n_bytes, 0, NULL), QUERN_ERR_ARGUMENT);
}

static void schemas_stand_within_other_text(void **state)
{
    (void)state;
    qn_expressions e = {0};
    qn_network n;
    qn_automaton *a;
    qn_expression value;
    json_t *schema = json_loads("{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}", 0, NULL);
    e.root = qn_expression_new_rule(&e);
    const qn_expression all = qn_expression_group(&e, QN_EXPRESSION_SEQUENCE);
    for (int i = 0; i < 2; i++) {
        qn_expression_append(&e, all, qn_expression_text(&e, "<call>", 6));
        assert_int_equal(qn_json_schema_add(&e, schema, NULL, &value, NULL), QUERN_OK);
        qn_expression_append(&e, all, value);
    }
    qn_expression_define(&e, e.root, all);
    assert_int_equal(qn_network_build(&n, &e, "test", NULL, NULL, NULL), QUERN_OK);
    assert_int_equal(qn_automaton_create(&a, &n, NULL), QUERN_OK);
    assert_true(test_takes(a, "<call>[[],[[]]]<call>[]", 23));
    assert_false(test_takes(a, "<call>[1]<call>[]", 17));
    qn_automaton_destroy(a);
    qn_network_deinit(&n);
    qn_expressions_deinit(&e);
    assert_int_equal(schema->refcount, 1);
    json_decref(schema);
}

static void missing_memory_is_an_error(void **state)
{
    (void)state;
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^a\",\"maxLength\":4},"
        "\"b\":{\"type\":\"number\",\"minimum\":-1.5,\"multipleOf\":0.5},\"c\":{\"enum\":[1,\"x\"],\"type\":"
        "\"string\"},"
        "\"d\":{\"oneOf\":[{\"type\":\"object\",\"required\":[\"p\"]},{\"type\":\"object\",\"required\":["
        "\"q\"]}]},"
        "\"e\":{\"type\":\"array\",\"contains\":{\"const\":1},\"maxItems\":2},\"f\":{\"not\":{\"minLength\":"
        "3}},"
        "\"g\":{\"type\":\"string\",\"format\":\"date\"}},\"patternProperties\":{\"^x\":{\"maxLength\":5000}}"
        ","
        "\"dependentRequired\":{\"a\":[\"b\"]}}";
    json_t *json = json_loads(schema, 0, NULL);
    const qn_json_schema_options options = {.whitespace = QN_JSON_FLEXIBLE};
    const long live = qn_alloc_live();
    long n_failures = 0;
    for (long k = 0;; k++) {
        qn_network n;
        quern_error err = {0};
        qn_alloc_fail_at(k);
        const quern_status s = qn_json_schema_build(&n, json, &options, &err);
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        if (s != (failed ? QUERN_ERR_NOMEM : QUERN_OK)) fail_msg("allocation %ld: %d %s", k, s, err.message);
        if (s == QUERN_OK) qn_network_deinit(&n);
        assert_int_equal(qn_alloc_live(), live);
        if (!failed) break;
        n_failures++;
    }
    json_decref(json);
    print_message("%ld allocations failed in turn\n", n_failures);
    assert_true(n_failures > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_cannot_come_in_twice_by_another_spelling),
                                       cmocka_unit_test(counts_of_properties_hold),
                                       cmocka_unit_test(names_are_told_apart_by_patterns),
                                       cmocka_unit_test(parts_of_an_object_depend_on_others),
                                       cmocka_unit_test(others_are_left_out_when_asked),
                                       cmocka_unit_test(alternatives_combine),
                                       cmocka_unit_test(opposites_hold),
                                       cmocka_unit_test(arrays_count_their_items),
                                       cmocka_unit_test(lengths_are_exact_at_every_size),
                                       cmocka_unit_test(integer_bounds_hold_for_every_integer),
                                       cmocka_unit_test(multiples_are_exact),
                                       cmocka_unit_test(real_bounds_hold_for_decimals),
                                       cmocka_unit_test(dates_have_the_days_of_their_months),
                                       cmocka_unit_test(formats_hold),
                                       cmocka_unit_test(references_lead_everywhere),
                                       cmocka_unit_test(mistakes_are_told_with_their_place),
                                       cmocka_unit_test(what_cannot_be_said_may_be_left_out),
                                       cmocka_unit_test(hostile_schemas_meet_limits),
                                       cmocka_unit_test(white_space_is_bounded),
                                       cmocka_unit_test(values_and_choices_are_languages),
                                       cmocka_unit_test(schemas_stand_within_other_text),
                                       cmocka_unit_test(missing_memory_is_an_error)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
