/* pretokenizer_test.c: the rows of patterns: names, words of known texts, the same words as PCRE2 finds,
 * nothing lost on any bytes, and linear time on hostile runs. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "vocab_util.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/random.h"
#include "base/utf8.h"
#include "vocab/pretokenizer.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

typedef struct joined {
    char text[512]; /* the words, each in | | */
    size_t n_bytes, n_words;
    const char *next; /* where the next word must begin */
} joined;

static bool show_word(void *user, const char *word, size_t n_bytes)
{
    joined *j = user;
    if (j->n_bytes + n_bytes + 2 < sizeof j->text)
        j->n_bytes += (size_t)sprintf(j->text + j->n_bytes, "%.*s|", (int)n_bytes, word);
    return true;
}

static bool follow_word(void *user, const char *word, size_t n_bytes)
{
    joined *j = user;
    assert_true(n_bytes > 0);
    assert_ptr_equal(word, j->next);
    j->next = word + n_bytes;
    j->n_words++;
    return true;
}

static void check_words(const char *name, const char *text, const char *wanted)
{
    const qn_pretokenizer_row *row = qn_pretokenizer_find(name, strlen(name));
    assert_non_null(row);
    qn_pretokenizer *p;
    assert_int_equal(qn_pretokenizer_create(&p, row, NULL), QUERN_OK);
    joined j = {.n_bytes = 0};
    assert_true(qn_pretokenizer_split(p, text, strlen(text), show_word, &j));
    assert_string_equal(j.text, wanted);
    qn_pretokenizer_destroy(p);
}

static void words_are_cut_as_published(void **state)
{
    (void)state;
    check_words("gpt-2", "It's 1234 of  them.\n\n  x", "It|'s| 1234| of| | them|.|\n\n | x|");
    check_words("gpt-2", "I'LL", "I|'|LL|");
    check_words("starcoder", "a12 b", "a|1|2| b|");
    check_words("llama-bpe", "I'LL pay 12345 (now)\r\n", "I|'LL| pay| |123|45| (|now|)\r\n|");
    check_words("qwen2", "x=12;\n\ty", "x|=|1|2|;\n|\ty|");
    check_words("gpt-4o", "HelloWorld's fine/\n", "Hello|World's| fine|/\n|");
    check_words("tekken", "HelloWorld's", "Hello|World|'s|");
    check_words("deepseek-coder", "if x1:\n  y", "if| x|1|:|\n| | y|");
    check_words("deepseek-llm", "one  two12  ", "one| | two|12|  |");
    check_words("deepseek-v3", "n=1234, m", "n|=|123|4|,| m|");
    check_words("default", "a=1234!", "a|=|123|4|!|");
    check_words("qwen35", "e\xcc\x81t\xc3\xa9", "e\xcc\x81t\xc3\xa9|");
    check_words("exaone-moe", "ab cd e1 f\n", "ab cd e|1| f|\n|");
    check_words("chameleon", "a    b<sentinel:12>IMGIMGABZ", "a|    |b|<|sentinel|:|1|2|>|IMGIMGABZ|");
    check_words("jais-2", "a       b", "a|    |  | b|");
    check_words("k2-horizon", "\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8d\xe0\xa4\xb7 I'LL 1234",
                "\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8d\xe0\xa4\xb7| I|'LL| |123|4|");
    check_words("spark2_5", "x\n\n12", "x|\n|\n|1|2|");
    check_words("youtu", "\xe6\x97\xa5\xe3\x80\x82x1", "\xe6\x97\xa5|\xe3\x80\x82|x|1|");
    check_words("viking", "one two.3", "one| two|.|3|");
    check_words("tiny_aya", "a 1234567, 12345 x12 1234y", "a| |1|234|567|,| |12|345| x|12| |123|4|y|");
    check_words("cohere2moe", "HelloWorld's 2026", "Hello|World's| |2|026|");
    check_words("afmoe", "n=1234567.5 \xe0\xb8\x81\xe4\xb8\xad",
                "n|=|1|234|567|.|5| |\xe0\xb8\x81|\xe4\xb8\xad|");
    check_words("superbpe", "by the way 12345\xc2\xbd 1 b", "by the way |12|345\xc2\xbd| |1| b|");
    check_words("kimi-k2", "Hi\xe4\xb8\xadHo 1234 \xe4\xb8\xad",
                "Hi|\xe4\xb8\xad|Ho| |123|4| |\xe4\xb8\xad|");
    check_words("sarvam-moe", "a b\n\nc", "a b|\n\n|c|");
    check_words("granite-embed-multi-311m", "a  1\n", "a  1|\n|");
    check_words("llama-bpe",
                "a\xe1\xa0\x8e"
                "b",
                "a|\xe1\xa0\x8e"
                "b|"); /* U+180E is no white space */
}

static void unknown_names_have_no_row(void **state)
{
    (void)state;
    assert_null(qn_pretokenizer_find("gpt-3", 5));
    assert_null(qn_pretokenizer_find("", 0));
    assert_null(qn_pretokenizer_find("gpt-2x", 6));
    assert_non_null(qn_pretokenizer_find("gpt-2x", 5));
}

static void each_name_occurs_once(void **state)
{
    (void)state;
    const qn_pretokenizer_row *row;
    for (size_t i = 0; (row = qn_pretokenizer_row_at(i)) != NULL; i++)
        for (const char *const *n = row->names; *n != NULL; n++)
            assert_ptr_equal(qn_pretokenizer_find(*n, strlen(*n)), row);
}

static void check_nothing_lost(const qn_pretokenizer *p, const char *text, size_t n_bytes)
{
    joined j = {.next = text};
    assert_true(qn_pretokenizer_split(p, text, n_bytes, follow_word, &j));
    assert_ptr_equal(j.next, text + n_bytes);
}

/* Letters, digits, blanks, line ends, punctuation, marks, Chinese, and broken UTF-8 in random order. */
static size_t random_text(qn_random *r, char *out, size_t max)
{
    static const char *const parts[] = {"a",
                                        "Z",
                                        "7",
                                        " ",
                                        "  ",
                                        "\n",
                                        "\r\n",
                                        "\t",
                                        "'s",
                                        "'",
                                        ".",
                                        "\xc3\xa9",
                                        "\xcc\x81",
                                        "\xe4\xb8\xad",
                                        "\xf0\x9f\x98\x80",
                                        "\xe3\x80\x80",
                                        "\xff",
                                        "\xc3",
                                        "\xe4\xb8",
                                        "\xc2\x85",
                                        "_",
                                        "$"};
    size_t n = 0;
    while (n + 4 < max) {
        const char *part = parts[qn_random_u64(r) % (sizeof parts / sizeof *parts)];
        memcpy(out + n, part, strlen(part));
        n += strlen(part);
    }
    return n;
}

static void words_join_to_the_text(void **state)
{
    (void)state;
    qn_random r = {.seed = 1};
    const qn_pretokenizer_row *row;
    for (size_t i = 0; (row = qn_pretokenizer_row_at(i)) != NULL; i++) {
        qn_pretokenizer *p;
        assert_int_equal(qn_pretokenizer_create(&p, row, NULL), QUERN_OK);
        for (int round = 0; round < 50; round++) {
            char text[200];
            check_nothing_lost(p, text, random_text(&r, text, sizeof text));
        }
        qn_pretokenizer_destroy(p);
    }
}

static void hostile_runs_take_linear_time(void **state)
{
    (void)state;
    static const char *const units[] = {"a",  "A",    " ",   "\n",       "1",
                                        ".",  " \n",  "\t ", "\xcc\x81", "\xe4\xb8\xad",
                                        "aA", "\xff", "'",   " x",       "\xe3\x80\x80"};
    enum { BYTES = 200000 };
    char *text = malloc(BYTES + 8);
    assert_non_null(text);
    const qn_pretokenizer_row *row;
    for (size_t i = 0; (row = qn_pretokenizer_row_at(i)) != NULL; i++) {
        qn_pretokenizer *p;
        assert_int_equal(qn_pretokenizer_create(&p, row, NULL), QUERN_OK);
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            size_t n = 0;
            while (n < BYTES) memcpy(text + n, units[u], strlen(units[u])), n += strlen(units[u]);
            check_nothing_lost(p, text, n);
            text[n - 1] = 'x'; /* the run does not end the text */
            check_nothing_lost(p, text, n);
        }
        qn_pretokenizer_destroy(p);
    }
    free(text);
}

/* ---- PCRE2 as the reference ---- */

/* The published patterns mean by \s the Unicode property White_Space; PCRE2 adds U+180E to it. So \s
 * and \S are written out, inside and outside of brackets. By \p{Han} they mean the script of a character;
 * since 10.40 PCRE2 adds those that are used with the script, unless it is told otherwise. */
static void expand_properties(qn_buffer *out, const char *pattern)
{
    static const char members[] = "\\t-\\r\\x{85}\\p{Z}";
    bool in_class = false;
    for (const char *p = pattern; *p != '\0'; p++) {
        if (*p == '\\' && (p[1] == 's' || p[1] == 'S')) {
            p++;
            if (!in_class) qn_buffer_puts(out, *p == 's' ? "[" : "[^");
            qn_buffer_puts(out, members); /* \S does not occur inside brackets */
            if (!in_class) qn_buffer_putc(out, ']');
            continue;
        }
        if (PCRE2_MINOR >= 40 && strncmp(p, "\\p{Han}", 7) == 0) {
            qn_buffer_puts(out, "\\p{sc:Han}");
            p += 6;
            continue;
        }
        if (*p == '\\' && p[1] != '\0') qn_buffer_putc(out, *p++);
        else if (*p == '[') in_class = true;
        else if (*p == ']') in_class = false;
        qn_buffer_putc(out, *p);
    }
    assert_false(out->failed);
}

/* What rows say of digits, as patterns that match no empty text. A word boundary after a digit is what no
 * character of a word follows; those are letters, marks, digits, letter numbers and connecting punctuation
 * (Oniguruma). */
static const char *const digit_patterns[][2] = {
    [QN_DIGITS_GROUPED] = {"\\p{Nd}{1,3}(?=(?:\\p{Nd}{3})*(?!\\p{Nd}))"},
    [QN_DIGITS_GROUPED_AT_WORD_END] =
        {"\\p{Nd}{1,3}(?=(?:\\p{Nd}{3})*(?![\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}]))"},
    [QN_DIGITS_GROUPED_IN_NUMBERS] = {"\\p{N}+", "(?s:.)(?:(?!(?:\\p{Nd}{3})+(?!\\p{Nd}))(?s:.))*"},
};

typedef struct reference { /* some KiB */
    pcre2_code *codes[QN_PRETOKENIZER_PATTERNS + 2];
    pcre2_match_data *data;
    size_t n_levels;
    const char *words[4096]; /* where they end */
    size_t n_words, next;
} reference;

static void reference_add(reference *r, const char *pattern)
{
    qn_buffer expanded = {0};
    int code;
    size_t offset;
    expand_properties(&expanded, pattern);
    r->codes[r->n_levels] = pcre2_compile((PCRE2_SPTR)expanded.data, expanded.n_bytes,
                                          PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &code, &offset, NULL);
    assert_non_null(r->codes[r->n_levels++]);
    qn_buffer_deinit(&expanded);
}

static void reference_init(reference *r, const qn_pretokenizer_row *row)
{
    memset(r, 0, sizeof *r);
    r->data = pcre2_match_data_create(1, NULL);
    assert_non_null(r->data);
    for (size_t i = 0; i < 2 && digit_patterns[row->digits][i] != NULL; i++)
        reference_add(r, digit_patterns[row->digits][i]);
    for (size_t i = 0; i < QN_PRETOKENIZER_PATTERNS && row->patterns[i] != NULL; i++)
        reference_add(r, row->patterns[i]);
}

static void reference_deinit(reference *r)
{
    for (size_t i = 0; i < r->n_levels; i++) pcre2_code_free(r->codes[i]);
    pcre2_match_data_free(r->data);
}

static void reference_split(reference *r, size_t level, const char *text, size_t n_bytes)
{
    if (n_bytes == 0) return;
    if (level == r->n_levels) {
        assert_true(r->n_words < sizeof r->words / sizeof *r->words);
        r->words[r->n_words++] = text + n_bytes;
        return;
    }
    for (size_t from = 0; from < n_bytes;) {
        const int found = pcre2_match(r->codes[level], (PCRE2_SPTR)text, n_bytes, from, 0, r->data, NULL);
        assert_true(found >= 0 || found == PCRE2_ERROR_NOMATCH); /* 0: more groups than are asked for */
        const size_t *match = pcre2_get_ovector_pointer(r->data);
        const size_t begin = found >= 0 ? match[0] : n_bytes, end = found >= 0 ? match[1] : n_bytes;
        reference_split(r, level + 1, text + from, begin - from);
        reference_split(r, level + 1, text + begin, end - begin);
        from = end;
    }
}

static bool compare_word(void *user, const char *word, size_t n_bytes)
{
    reference *r = user;
    return r->next < r->n_words && r->words[r->next++] == word + n_bytes;
}

static void check_against_reference(const qn_pretokenizer *p, reference *r, const char *text, size_t n_bytes)
{
    r->n_words = r->next = 0;
    reference_split(r, 0, text, n_bytes);
    if (!qn_pretokenizer_split(p, text, n_bytes, compare_word, r) || r->next != r->n_words)
        fail_msg("word %zu differs in '%.*s'", r->next, (int)n_bytes, text);
}

/* A character of any script, or one of those that the patterns treat specially. */
static size_t random_character(qn_random *r, char out[4])
{
    static const uint32_t special[] = {
        '\'',  's',    'S',     't',     'l',     'L',     'v',    'e',    'r',    ' ',
        ' ',   ' ',    '\n',    '\r',    '\t',    '1',     '2',    'a',    'B',    '.',
        '/',   '$',    '_',     '|',     '(',     '`',     0x85,   0xa0,   0x17f,  0x212a,
        0x1c5, 0x2b0,  0x300,   0x3000,  0x180e,  0x200b,  0x4e2d, 0x6587, 0x3042, 0xac00,
        0x664, 0x2163, 0x1f600, 0x10400, 0x1d7ce, 0xe0041, 0xff01, 0x3002, 0x964};
    const uint64_t chosen = qn_random_u64(r);
    uint32_t c = special[chosen % (sizeof special / sizeof *special)];
    if (chosen >> 60 == 0) c = (uint32_t)(qn_random_u64(r) % 0x30000);
    if (chosen >> 60 == 1) c = (uint32_t)(qn_random_u64(r) % 0x600);
    return qn_utf8_encode(c, out);
}

/* The libraries know different versions of Unicode: what one of them does not know yet is left out. */
static size_t known_character(qn_random *r, const reference *unassigned, char out[4])
{
    for (;;) {
        uint32_t c;
        const size_t n = random_character(r, out);
        assert_int_equal(qn_utf8_decode(out, n, &c), n);
        if (n > 0 && utf8proc_category((utf8proc_int32_t)c) != UTF8PROC_CATEGORY_CN &&
            pcre2_match(unassigned->codes[0], (PCRE2_SPTR)out, n, 0, 0, unassigned->data, NULL) < 0)
            return n;
    }
}

/* Runs of letters, which are passed over eight at a time, runs of digits, and other ASCII between them. */
static size_t ascii_text(qn_random *r, char *out, size_t n_bytes)
{
    static const char others[] = "  \n\r\t1239.,/$_|(`-'sSlL";
    size_t n = 0;
    while (n < n_bytes) {
        const uint64_t chosen = qn_random_u64(r);
        for (size_t k = chosen % 20; k > 0 && n < n_bytes; k--)
            out[n++] = (char)((chosen >> 20) % 3 == 0 ? 'A' + (chosen >> 8) % 26 : 'a' + (chosen >> k) % 26);
        for (size_t k = chosen >> 60 < 6 ? (chosen >> 48) % 12 : 0; k > 0 && n < n_bytes; k--)
            out[n++] = (char)('0' + (chosen >> k) % 10);
        for (size_t k = (chosen >> 32) % 4; k > 0 && n < n_bytes; k--)
            out[n++] = others[(chosen >> (32 + 4 * k)) % (sizeof others - 1)];
    }
    return n;
}

static void words_are_those_of_the_reference(void **state)
{
    (void)state;
    static const qn_pretokenizer_row unassigned_row = {.patterns = {"\\p{Cn}"}};
    reference *unassigned = malloc(sizeof *unassigned);
    assert_non_null(unassigned);
    reference_init(unassigned, &unassigned_row);
    qn_random r = {.seed = 9};
    const qn_pretokenizer_row *row;
    reference *wanted = malloc(sizeof *wanted);
    assert_non_null(wanted);
    for (size_t i = 0; (row = qn_pretokenizer_row_at(i)) != NULL; i++) {
        qn_pretokenizer *p;
        assert_int_equal(qn_pretokenizer_create(&p, row, NULL), QUERN_OK);
        reference_init(wanted, row);
        for (int round = 0; round < 2000; round++) {
            char text[256];
            size_t n = 0;
            const size_t most = 1 + qn_random_u64(&r) % 120;
            if (round % 3 == 0) n = ascii_text(&r, text, most);
            while (n < most) n += known_character(&r, unassigned, text + n);
            check_against_reference(p, wanted, text, n);
        }
        reference_deinit(wanted);
        qn_pretokenizer_destroy(p);
    }
    free(wanted);
    reference_deinit(unassigned);
    free(unassigned);
}

/* Each character before one that is certainly of another script. */
static void the_script_of_chinese_is_that_of_the_reference(void **state)
{
    (void)state;
    static const qn_pretokenizer_row han_row = {.patterns = {"\\p{Han}"}},
                                     unassigned_row = {.patterns = {"\\p{Cn}"}};
    qn_pretokenizer *p;
    assert_int_equal(qn_pretokenizer_create(&p, &han_row, NULL), QUERN_OK);
    reference *han = malloc(sizeof *han), *unassigned = malloc(sizeof *unassigned);
    assert_true(han != NULL && unassigned != NULL);
    reference_init(han, &han_row);
    reference_init(unassigned, &unassigned_row);
    for (uint32_t c = 0x20; c < 0x40000; c++) {
        char text[8] = {0};
        const size_t n = qn_utf8_encode(c, text);
        if (n == 0 || utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_CN) continue;
        if (pcre2_match(unassigned->codes[0], (PCRE2_SPTR)text, n, 0, 0, unassigned->data, NULL) >= 0)
            continue;
        text[n] = 'x';
        check_against_reference(p, han, text, n + 1);
    }
    reference_deinit(han);
    reference_deinit(unassigned);
    free(han);
    free(unassigned);
    qn_pretokenizer_destroy(p);
}

static void what_patterns_may_not_hold_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"(",      ")",    "[a",      "a{2,1}",   "a{x}",
                                        "*",      "\\d+", "\\p{Xx}", "a|+",      "a\\",
                                        "(?=a)b", "(?:a", "[z-a]",   "a(?<!b)c", "a{3000}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const qn_pretokenizer_row row = {.names = {"test"}, .patterns = {wrong[i]}};
        qn_pretokenizer *p;
        if (qn_pretokenizer_create(&p, &row, NULL) != QUERN_ERR_UNSUPPORTED)
            fail_msg("'%s' was read", wrong[i]);
        assert_null(p);
    }
}

static void creation_survives_each_failing_allocation(void **state)
{
    (void)state;
    const long live = qn_alloc_live();
    bool failed = true;
    for (long k = 0; failed; k++) {
        qn_pretokenizer *p;
        qn_alloc_fail_at(k);
        const quern_status s = qn_pretokenizer_create(&p, qn_pretokenizer_row_at(0), NULL);
        failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_true(s == QUERN_OK || (failed && s == QUERN_ERR_NOMEM && p == NULL));
        qn_pretokenizer_destroy(p);
        assert_int_equal(qn_alloc_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_cut_as_published),
        cmocka_unit_test(unknown_names_have_no_row),
        cmocka_unit_test(each_name_occurs_once),
        cmocka_unit_test(words_join_to_the_text),
        cmocka_unit_test(hostile_runs_take_linear_time),
        cmocka_unit_test(words_are_those_of_the_reference),
        cmocka_unit_test(the_script_of_chinese_is_that_of_the_reference),
        cmocka_unit_test(what_patterns_may_not_hold_is_refused),
        cmocka_unit_test(creation_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests_name("vocab pretokenizer", tests, NULL, NULL);
}
