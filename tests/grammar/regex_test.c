/* regex_test.c: regular expressions: what each construct means, what is refused and how that is told, and
 * random ones compared with PCRE2. */
#include "grammar_util.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/random.h"
#include "base/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static void takes(const char *pattern, qn_regex_match match, const char *text, bool wanted)
{
    test_language l = test_regex(pattern, match);
    if (test_takes(l.automaton, text, strlen(text)) != wanted)
        fail_msg("'%s': '%s' should %sbe taken", pattern, text, wanted ? "" : "not ");
    test_language_close(&l);
}

static void whole(const char *pattern, const char *text)
{
    takes(pattern, QN_REGEX_WHOLE, text, true);
}

static void not_whole(const char *pattern, const char *text)
{
    takes(pattern, QN_REGEX_WHOLE, text, false);
}

static void constructs_mean_what_they_say(void **state)
{
    (void)state;
    whole("a|bc|", "bc"), whole("a|bc|", ""), not_whole("a|bc|", "ab");
    whole("(a)(?:b)(?<n>c)(?P<m>d)", "abcd");
    whole("a{2}b{1,}c{0,2}", "aabbb"), not_whole("a{2}b{1,}c{0,2}", "aabccc");
    whole("a+?b*?c??d{1,2}?", "aad");
    whole("a{,2}", "a{,2}"), whole("{", "{"), whole("a{b", "a{b"), whole("]}", "]}");
    whole("[a-cx]+", "abcx"), whole("[^a-c]", "d"), not_whole("[^a-c]", "b"), whole("[-a]", "-"),
        whole("[a-]", "-");
    whole("[\\d\\s_]+", "4 _\t"), not_whole("[^\\d]", "4"), whole("[\\D]", "x"), whole("[\\b]", "\b");
    whole("\\d\\D\\w\\W\\s\\S", "1a_- x"), not_whole("\\w", "\xc3\xa9");
    whole("\\s", "\xe2\x80\xa8"), whole(".", "\xf0\x9f\x98\x80"), not_whole(".", "\n"),
        not_whole(".", "\xe2\x80\xa8");
    whole("[^]", "\n"), not_whole("[]", ""), not_whole("[]", "a");
    whole("\\n\\t\\r\\f\\v\\x41\\u0042\\u{43}\\cJ", "\n\t\r\f\vABC\n");
    whole("\\uD83D\\uDE00", "\xf0\x9f\x98\x80"), whole("[\\u{1F600}-\\u{1F602}]", "\xf0\x9f\x98\x81");
    whole("\\/\\.\\*\\-\\$\\^\\(", "/.*-$^(");
    whole("\\p{Lu}\\p{L}\\P{L}\\p{Nd}", "\xc3\x89z-7"), not_whole("\\p{Lu}", "a");
    whole("^a$|^b", "a"), whole("(^a)(b$)", "ab"), whole("^^a$$", "a");
}

/* Every character in front of or behind which the category changes, all low ones, and some between. */
static bool is_looked_at(uint32_t c)
{
    const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return c < 0x3000 || c % 61 == 0 || category != utf8proc_category((utf8proc_int32_t)c - 1) ||
           category != utf8proc_category((utf8proc_int32_t)c + 1);
}

/* \p{NAME} and \P{NAME} beside the characters that have the category. */
static void category_holds(const char *name, size_t n)
{
    for (int negated = 0; negated < 2; negated++) {
        char pattern[16];
        snprintf(pattern, sizeof pattern, "\\%c{%.*s}", negated != 0 ? 'P' : 'p', (int)n, name);
        test_language l = test_regex(pattern, QN_REGEX_WHOLE);
        for (uint32_t c = 0; c <= 0x10ffff; c++) {
            char text[4];
            if (!is_looked_at(c)) continue;
            const size_t n_bytes = qn_utf8_encode(c, text);
            if (n_bytes == 0) continue; /* a surrogate */
            const bool has = memcmp(utf8proc_category_string((utf8proc_int32_t)c), name, n) == 0;
            if (test_takes(l.automaton, text, n_bytes) != (has != (negated != 0)))
                fail_msg("'%s', U+%04X", pattern, c);
        }
        test_language_close(&l);
    }
}

static void categories_are_those_of_unicode(void **state)
{
    (void)state;
    static const char names[] = "LuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCoCn";
    for (const char *name = names; *name != '\0'; name += 2) category_holds(name, 2);
    for (const char *name = "LMNPSZC"; *name != '\0'; name++) category_holds(name, 1);
}

static void searched(const char *pattern, const char *text, bool wanted)
{
    takes(pattern, QN_REGEX_SEARCH, text, wanted);
}

static void patterns_are_searched_for(void **state)
{
    (void)state;
    searched("b", "abc", true), searched("b", "ac", false), searched("", "anything\n", true);
    searched("^b", "bc", true), searched("^b", "ab", false), searched("b$", "ab", true),
        searched("b$", "ba", false);
    searched("^a|c$", "ab", true), searched("^a|c$", "bc", true), searched("^a|c$", "bab", false);
    searched("(^a|b)c", "xbcx", true), searched("(^a|b)c", "xacx", false), searched("(^a|b)c", "acx", true);
    searched("a(b$|c)", "xacx", true), searched("a(b$|c)", "xabx", false), searched("a(b$|c)", "xab", true);
    searched("^$", "", true), searched("^$", "a", false), searched("^", "a", true),
        searched("(|a)$", "xyz", true);
}

static void refused(const char *pattern, quern_status status, const char *part_of_message)
{
    qn_network n;
    quern_error err = {0};
    const quern_status s = qn_regex_build(&n, pattern, strlen(pattern), QN_REGEX_SEARCH, &err);
    if (s != status) fail_msg("'%s' gives %d", pattern, s);
    if (strstr(err.message, part_of_message) == NULL)
        fail_msg("'%s': '%s' does not say '%s'", pattern, err.message, part_of_message);
}

static void mistakes_are_told_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *message;
    } wrong[] = {{"a(?=b)", "character 2: lookahead"},
                 {"(?!a)", "lookahead"},
                 {"\xc3\xa9(?<=a)", "character 2: lookbehind"},
                 {"(?<!a)", "lookbehind"},
                 {"(a)\\1", "backreferences"},
                 {"(?<n>a)\\k<n>", "backreferences"},
                 {"a\\bc", "word boundaries"},
                 {"\\B", "word boundaries"},
                 {"a^b", "anchor ^"},
                 {"a$b", "anchor $"},
                 {"(a$)b", "anchor $"},
                 {"(a|^b)*", "anchor ^"},
                 {"^*", "cannot be repeated"},
                 {"(?i)a", "kind of group"},
                 {"(a", "')' is missing"},
                 {"a)", "')' without '('"},
                 {"[a", "no end"},
                 {"[z-a]", "ends before it begins"},
                 {"*a", "nothing to repeat"},
                 {"a**", "nothing to repeat"},
                 {"{2}", "nothing to repeat"},
                 {"a{3,2}", "below the least"},
                 {"\\", "nothing is behind"},
                 {"\\q", "unknown escape"},
                 {"\\A", "unknown escape"},
                 {"\\x4g", "hexadecimal"},
                 {"\\u{110000}", "no such character"},
                 {"\\u{}", "hexadecimal"},
                 {"\\u{4g}", "character 5: a hexadecimal"},
                 {"\\u{41", "hexadecimal"},
                 {"\\u{123456789}", "no such character"},
                 {"\\ud800", "surrogate"},
                 {"\\ud800\\u0041", "surrogate"},
                 {"\\c1", "letter is missing"},
                 {"\\p{Greek}", "general category"},
                 {"\\pL", "general category"},
                 {"\\p", "general category"},
                 {"\\p{}", "general category"},
                 {"\\p{L", "general category"},
                 {"(?<>a)", "name"},
                 {"(?<a", "name"},
                 {"\xff", "not UTF-8"},
                 {"\\\xff", "not UTF-8"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        refused(wrong[i].pattern, QUERN_ERR_ARGUMENT, wrong[i].message);
}

static void hostile_patterns_meet_limits(void **state)
{
    (void)state;
    refused("(a{1000}){1000}", QUERN_ERR_LIMIT, "states");
    refused("((((a{100}){100}){100}){100}){100}", QUERN_ERR_LIMIT, "states");
    refused("a{1000000}", QUERN_ERR_LIMIT, "100000");
    refused("\\p{L}\\p{L}\\p{L}\\p{L}\\p{L}\\p{L}\\p{L}\\p{L}\\p{L}", QUERN_ERR_LIMIT, "\\p");
    char deep[2001];
    memset(deep, '(', 1000), memset(deep + 1000, ')', 1000), deep[2000] = '\0';
    refused(deep, QUERN_ERR_ARGUMENT, "within each other");
}

/* ---- compared with PCRE2 ----------------------------------------------------------------------- */

static void random_pattern(qn_random *r, qn_buffer *out, int depth)
{
    static const char *const atoms[] = {"a", "b", "c", "[ab]", "[^a]", ".", "\\w", "\\d", "[b-c]", "\\D"};
    static const char *const repetitions[] = {"*",  "+", "?", "{2}", "{1,2}", "{0,3}",
                                              "*?", "",  "",  "",    "",      ""};
    const unsigned n = 1 + (unsigned)(qn_random_u64(r) % 3);
    for (unsigned i = 0; i < n; i++) {
        if (depth > 0 && qn_random_u64(r) % 3 == 0) {
            qn_buffer_puts(out, qn_random_u64(r) % 2 == 0 ? "(" : "(?:");
            random_pattern(r, out, depth - 1);
            qn_buffer_putc(out, ')');
        } else {
            qn_buffer_puts(out, atoms[qn_random_u64(r) % (sizeof atoms / sizeof *atoms)]);
        }
        qn_buffer_puts(out, repetitions[qn_random_u64(r) % (sizeof repetitions / sizeof *repetitions)]);
        if (qn_random_u64(r) % 5 == 0 && i + 1 < n) qn_buffer_putc(out, '|');
    }
}

static bool pcre_takes(pcre2_code *code, pcre2_match_data *match, const char *text)
{
    return pcre2_match(code, (PCRE2_SPTR)text, strlen(text), 0, 0, match, NULL) >= 0;
}

static void random_patterns_mean_what_pcre_says(void **state)
{
    (void)state;
    qn_random r = {.seed = 11};
    int n_taken = 0;
    for (int round = 0; round < 300; round++) {
        const bool search = round % 2 == 0;
        qn_buffer pattern = {0}, whole_pattern = {0};
        if (search && qn_random_u64(&r) % 3 == 0) qn_buffer_putc(&pattern, '^');
        random_pattern(&r, &pattern, 2);
        if (search && qn_random_u64(&r) % 3 == 0) qn_buffer_putc(&pattern, '$');
        qn_buffer_printf(&whole_pattern, search ? "%s" : "^(?:%s)$", pattern.data);
        int error;
        PCRE2_SIZE where;
        pcre2_code *code = pcre2_compile((PCRE2_SPTR)whole_pattern.data, PCRE2_ZERO_TERMINATED,
                                         PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &error, &where, NULL);
        assert_non_null(code);
        pcre2_match_data *match = pcre2_match_data_create_from_pattern(code, NULL);
        test_language l = test_regex(pattern.data, search ? QN_REGEX_SEARCH : QN_REGEX_WHOLE);
        for (int i = 0; i < 60; i++) {
            char text[10] = {0};
            for (size_t k = qn_random_u64(&r) % 9; k-- > 0;) text[k] = "abc1"[qn_random_u64(&r) % 4];
            const bool wanted = pcre_takes(code, match, text);
            n_taken += wanted;
            if (test_takes(l.automaton, text, strlen(text)) != wanted)
                fail_msg("%s '%s': '%s' should %sbe taken", search ? "search" : "whole", pattern.data, text,
                         wanted ? "" : "not ");
        }
        test_language_close(&l);
        pcre2_match_data_free(match);
        pcre2_code_free(code);
        qn_buffer_deinit(&pattern), qn_buffer_deinit(&whole_pattern);
    }
    assert_in_range(n_taken, 1000, 17000);
}

static void missing_memory_is_an_error(void **state)
{
    (void)state;
    static const char pattern[] = "^(?<a>[a-c\\d]+|x{2,30}|\\p{Lu})*[^q].?$";
    const long live = qn_alloc_live();
    for (long k = 0;; k++) {
        qn_network n;
        quern_error err = {0};
        qn_alloc_fail_at(k);
        const quern_status s = qn_regex_build(&n, pattern, strlen(pattern), QN_REGEX_SEARCH, &err);
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_int_equal(s, failed ? QUERN_ERR_NOMEM : QUERN_OK);
        if (s == QUERN_OK) qn_network_deinit(&n);
        assert_int_equal(qn_alloc_live(), live);
        if (!failed) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(constructs_mean_what_they_say),
                                       cmocka_unit_test(categories_are_those_of_unicode),
                                       cmocka_unit_test(patterns_are_searched_for),
                                       cmocka_unit_test(mistakes_are_told_with_their_place),
                                       cmocka_unit_test(hostile_patterns_meet_limits),
                                       cmocka_unit_test(random_patterns_mean_what_pcre_says),
                                       cmocka_unit_test(missing_memory_is_an_error)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
