/* pretokenizer.c: see pretokenizer.h. The patterns are those that the models were trained with, as
 * published in their tokenizer.json (split rules) or tiktoken definitions. One is written differently, since
 * no state of an automaton searches backwards: \s+$ as (?<!\s)\s++$, which matches the same. */
#include "vocab/pretokenizer.h"

#include "base/alloc.h"
#include "vocab/ascii.h"
#include "vocab/pattern_automaton.h"

#include <string.h>
#include <utf8proc.h>

#define CONTRACTIONS          "'s|'t|'re|'ve|'m|'ll|'d"
#define ANY_CASE_CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
/* GPT-2 (Radford et al. 2019) */
#define GPT2 CONTRACTIONS "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* tiktoken's cl100k_base and its followers; they differ in how many digits stay together */
#define CL100K_HEAD(digits)                                                                                  \
    ANY_CASE_CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                                           \
                          "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+"
#define CL100K(digits) CL100K_HEAD(digits) "|\\s+(?!\\S)|\\s+"
/* Jais 2 takes blanks in powers of two */
#define CASCADE                                                                                              \
    "|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)"          \
    "|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}"
/* tiktoken's o200k_base: words are cut before capitals */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K(suffix, digits)                                                                                \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" suffix \
    "|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
/* Kimi K2: likewise, but Chinese characters stay with none but their like */
#define NOT_HAN(set) "(?:(?!\\p{Han})" set ")"
#define KIMI_K2                                                                                              \
    "\\p{Han}+|[^\\r\\n\\p{L}\\p{N}]?" NOT_HAN(UPPER) "*" NOT_HAN(                                           \
        LOWER) "+" ANY_CASE_CONTRACTIONS                                                                     \
               "?|[^\\r\\n\\p{L}\\p{N}]?" NOT_HAN(UPPER) "+" NOT_HAN(                                        \
                   LOWER) "*" ANY_CASE_CONTRACTIONS                                                          \
                          "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
/* DeepSeek V3: an ASCII mark stays with the letters after it */
#define CJK_AND_KANA "[一-龥぀-ゟ゠-ヿ]+"
#define MARKED_WORDS                                                                                         \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
#define DEEPSEEK_V3 MARKED_WORDS "| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
/* Scripts written without blanks, as AFMoE lists them: Chinese and Japanese, Thai, Lao, Khmer, Burmese,
 * Korean */
#define UNSPACED_SCRIPTS                                                                                     \
    "[\\x{4e00}-\\x{9fff}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}"       \
    "\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}]+|[\\x{e00}-\\x{e7f}]+|[\\x{e80}-\\x{eff}]+"                     \
    "|[\\x{1780}-\\x{17ff}]+|[\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}\\x{a9e0}-\\x{a9ff}]+"                   \
    "|[\\x{ac00}-\\x{d7af}\\x{1100}-\\x{11ff}]+"
#define NO_PUNCTUATION " ?[^(\\s|.,!?…。，、।۔،)]+"
#define CJK_AND_HANGUL "[一-龥ࠀ-一가-퟿]+"
/* The letters that have cases, as deepseek-llm lists them */
#define CASED_LETTERS                                                                                        \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}"                           \
    "\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}"                   \
    "\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}"                            \
    "\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}"                                 \
    "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}"                           \
    "\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}"                           \
    "\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}"                           \
    "\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}"                   \
    "\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}"                  \
    "\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}"                            \
    "\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}"          \
    "\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}"                   \
    "\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}"                   \
    "\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}"                           \
    "\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}"                           \
    "\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}"                       \
    "\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}"                   \
    "\\x{1e900}-\\x{1e943}"

static const qn_pretokenizer_row rows[] = {
    {.names = {"default"},
     .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"},
     .clean_spaces = true},
    {.names = {"gpt-2", "phi-2", "jais", "gigachat", "a.x-4.0", "mellum", "exaone4", "jina-es", "jina-de",
               "jina-v2-es", "jina-v2-de", "jina-v2-code", "jina-v1-en", "roberta-bpe", "modern-bert"},
     .patterns = {GPT2},
     .clean_spaces = true},
    {.names = {"trillion", "granite-docling"}, .patterns = {GPT2}},
    {.names = {"mpt", "olmo"}, .patterns = {GPT2}, .clean_spaces = true, .nfc = true},
    {.names = {"starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"},
     .patterns = {"\\p{N}", GPT2},
     .clean_spaces = true},
    {.names = {"smollm", "command-r"}, .patterns = {"\\p{N}", GPT2}},
    {.names = {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
               "jina-v5-nano"},
     .patterns = {CL100K("\\p{N}{1,3}")},
     .ignore_merges = true,
     .add_bos = true,
     .clean_spaces = true},
    {.names = {"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"},
     .patterns = {CL100K("\\p{N}{1,3}")},
     .clean_spaces = true},
    {.names = {"minicpm5"},
     .patterns = {"\\p{N}{1,3}", CL100K("\\p{N}+")},
     .ignore_merges = true,
     .clean_spaces = true},
    {.names = {"jais-2"}, .patterns = {CL100K_HEAD("\\p{N}{1,3}") CASCADE}, .clean_spaces = true},
    {.names = {"qwen2", "deepseek-r1-qwen", "f2llmv2"}, .patterns = {CL100K("\\p{N}")}, .nfc = true},
    {.names = {"hunyuan", "kormo", "grok-2", "solar-open"}, .patterns = {CL100K("\\p{N}")}},
    {.names = {"laguna"}, .patterns = {"[^\\n]+|[\\n]+", CL100K("\\p{N}")}},
    {.names = {"ufakzeka"},
     .patterns = {"[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
                  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {.names = {"exaone-moe"},
     .patterns = {ANY_CASE_CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}"
                                        "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"},
     .clean_spaces = true},
    {.names = {"stablelm2", "megrez"}, .patterns = {CL100K("\\p{N}")}, .clean_spaces = true},
    {.names = {"qwen35"},
     .patterns = {ANY_CASE_CONTRACTIONS
                  "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
                  "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     .nfc = true},
    {.names = {"k2-horizon"}, /* words hold the marks and joiners of Indic scripts together */
     .patterns = {ANY_CASE_CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}\\x{200c}\\x{200d}]+|\\p{N}{1,3}"
                                        "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     .nfc = true},
    {.names = {"seed-coder"},
     .patterns = {ANY_CASE_CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
                                        "| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {.names = {"bailingmoe", "bailingmoe2", "llada-moe"},
     .patterns = {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}"
                  "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    {.names = {"gpt-4o", "llama4", "minimax-m2", "kanana2", "talkie"},
     .patterns = {O200K(ANY_CASE_CONTRACTIONS "?", "\\p{N}{1,3}")}},
    {.names = {"tiny_aya", "cohere2moe"},
     .patterns = {O200K(ANY_CASE_CONTRACTIONS "?", "\\p{N}{1,3}")},
     .digits = QN_DIGITS_GROUPED_AT_WORD_END},
    {.names = {"kimi-k2"}, .patterns = {KIMI_K2}},
    {.names = {"granite-embed-multi-97m"},
     .patterns = {O200K(ANY_CASE_CONTRACTIONS "?", "\\p{N}{1,3}")},
     .ignore_merges = true},
    {.names = {"youtu"},
     .patterns =
         {"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-"
          "ヿ]"
          "+",
          O200K(ANY_CASE_CONTRACTIONS "?", "\\p{N}")},
     .ignore_merges = true},
    {.names = {"tekken"}, .patterns = {O200K("", "\\p{N}")}, .ignore_merges = true, .add_bos = true},
    {.names = {"deepseek-coder"},
     .patterns = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK_AND_HANGUL, "\\p{N}"}},
    {.names = {"deepseek-llm"},
     .patterns = {"[\\r\\n]", "\\s?[" CASED_LETTERS "]+", "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "(?<!\\s)\\s++$",
                  CJK_AND_HANGUL, "\\p{N}+"}},
    {.names = {"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"},
     .patterns = {"\\p{N}{1,3}", CJK_AND_KANA, DEEPSEEK_V3}},
    {.names = {"afmoe"}, .patterns = {UNSPACED_SCRIPTS, DEEPSEEK_V3}, .digits = QN_DIGITS_GROUPED},
    {.names = {"spark2_5"},
     .patterns = {"\\p{N}{1,3}", CJK_AND_KANA, MARKED_WORDS "| ?[\\p{P}\\p{S}]+|[\\r\\n]|\\s+(?!\\S)|\\s+",
                  "\\p{N}"}},
    {.names = {"chameleon"},
     .patterns = {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}",
                  "[\\p{P}!-/:-@\\[-`{-~]", GPT2},
     .add_bos = true},
    {.names = {"falcon"},
     .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"},
     .clean_spaces = true},
    {.names = {"bloom", "gpt3-finnish"}, .patterns = {NO_PUNCTUATION}, .clean_spaces = true},
    {.names = {"poro-chat"}, .patterns = {NO_PUNCTUATION}},
    {.names = {"viking"}, .patterns = {NO_PUNCTUATION, "\\p{N}"}},
    {.names = {"superbpe"}, .digits = QN_DIGITS_GROUPED_IN_NUMBERS},
    {.names = {"gemma4", "granite-embed-multi-311m"},
     .patterns = {"[^\\n]+|[\\n]+"},
     .is_raw = true,
     .clean_spaces = true},
    {.names = {"sarvam-moe"}, .patterns = {"[^\\n]+|[\\n]+"}, .is_raw = true},
};

enum { N_ROWS = sizeof rows / sizeof *rows };

const qn_pretokenizer_row *qn_pretokenizer_row_at(size_t i)
{
    return i < N_ROWS ? &rows[i] : NULL;
}

const qn_pretokenizer_row *qn_pretokenizer_find(const char *name, size_t n_bytes)
{
    for (size_t i = 0; i < N_ROWS; i++)
        for (const char *const *n = rows[i].names; *n != NULL; n++)
            if (strlen(*n) == n_bytes && memcmp(*n, name, n_bytes) == 0) return &rows[i];
    return NULL;
}

struct qn_pretokenizer {
    qn_digit_rule digits;
    size_t n_levels;
    qn_pattern_automaton levels[QN_PRETOKENIZER_PATTERNS];
    size_t next_level[QN_PRETOKENIZER_PATTERNS]; /* that may cut a match of ASCII of this level */
};

static void find_next_levels(qn_pretokenizer *p)
{
    for (size_t i = 0; i < p->n_levels; i++) {
        size_t next = i + 1;
        while (next < p->n_levels && !qn_pattern_automaton_may_cut(&p->levels[i], &p->levels[next])) next++;
        p->next_level[i] = next;
    }
}

quern_status qn_pretokenizer_create(qn_pretokenizer **out, const qn_pretokenizer_row *row, quern_error *err)
{
    qn_pretokenizer *p = *out = qn_calloc(1, sizeof *p);
    uint8_t *categories = qn_malloc(QN_PATTERN_AUTOMATON_DIRECT);
    quern_status s = QUERN_OK;
    if (p == NULL || categories == NULL) {
        s = qn_fail(err, QUERN_ERR_NOMEM, "pre-tokenizer: out of memory");
    } else {
        for (int32_t c = 0; c < QN_PATTERN_AUTOMATON_DIRECT; c++)
            categories[c] = (uint8_t)utf8proc_category(c);
    }
    for (size_t i = 0; s == QUERN_OK && i < QN_PRETOKENIZER_PATTERNS && row->patterns[i] != NULL; i++)
        s = qn_pattern_automaton_init(&p->levels[p->n_levels++], row->patterns[i], categories, err);
    if (s == QUERN_OK) {
        p->digits = row->digits;
        find_next_levels(p);
    }
    qn_free(categories);
    if (s != QUERN_OK) {
        qn_pretokenizer_destroy(p);
        *out = NULL;
    }
    return s;
}

void qn_pretokenizer_destroy(qn_pretokenizer *p)
{
    if (p == NULL) return;
    for (size_t i = 0; i < p->n_levels; i++) qn_pattern_automaton_deinit(&p->levels[i]);
    qn_free(p);
}

typedef struct splitter {
    const qn_pretokenizer *p;
    qn_word_fn *fn;
    void *user;
} splitter;

/* How many bytes from the start begin no valid character. */
static size_t invalid_bytes(const char *text, size_t n_bytes)
{
    size_t n = 0;
    for (uint32_t c; n < n_bytes && qn_utf8_decode(text + n, n_bytes - n, &c) == 0;) n++;
    return n;
}

static bool split(const splitter *s, size_t level, const char *text, size_t n_bytes);

/* A match of the level goes on to those that may cut it, which for ASCII are few. */
static inline bool split_match(const splitter *s, size_t level, const char *text, size_t n_bytes)
{
    const size_t next = s->p->next_level[level];
    if (next == level + 1 || !qn_ascii_is(text, n_bytes)) return split(s, level + 1, text, n_bytes);
    return split(s, next, text, n_bytes);
}

/* What a level matches and what lies between go to the next. As deep as there are levels. */
static bool split(const splitter *s, size_t level, const char *text, size_t n_bytes)
{
    if (level == s->p->n_levels) return s->fn(s->user, text, n_bytes);
    const qn_pattern_automaton *a = &s->p->levels[level];
    qn_pattern_automaton_place place = {0, QN_PATTERN_AUTOMATON_END};
    size_t done = 0;
    while (done < n_bytes) {
        size_t length;
        qn_pattern_automaton_skip(a, text, n_bytes, &place);
        const size_t begin = place.at;
        const bool matched = qn_pattern_automaton_match(a, text, n_bytes, &place);
        const uint8_t class =
            matched ? 0 : qn_pattern_automaton_class(a, text + begin, n_bytes - begin, &length);
        if (!matched && class != QN_PATTERN_AUTOMATON_END) { /* nothing begins here after all */
            place = (qn_pattern_automaton_place){begin + length, class};
            continue;
        }
        if (begin > done && !split(s, level + 1, text + done, begin - done)) return false;
        if (matched) {
            if (!split_match(s, level, text + begin, place.at - begin)) return false;
        } else { /* the end, or invalid bytes, which are a word of any level */
            const size_t n = invalid_bytes(text + begin, n_bytes - begin);
            if (n > 0 && !s->fn(s->user, text + begin, n)) return false;
            place = (qn_pattern_automaton_place){begin + n, QN_PATTERN_AUTOMATON_END};
        }
        done = place.at;
    }
    return true;
}

/* ---- digits ------------------------------------------------------------------------------------ */

enum { /* sets of general categories */
       DIGITS = 1 << UTF8PROC_CATEGORY_ND,
       NUMBERS = DIGITS | 1 << UTF8PROC_CATEGORY_NL | 1 << UTF8PROC_CATEGORY_NO,
       WORD_CHARACTERS = DIGITS | 1 << UTF8PROC_CATEGORY_NL | 1 << UTF8PROC_CATEGORY_PC |
                         1 << UTF8PROC_CATEGORY_LU | 1 << UTF8PROC_CATEGORY_LL | 1 << UTF8PROC_CATEGORY_LT |
                         1 << UTF8PROC_CATEGORY_LM | 1 << UTF8PROC_CATEGORY_LO | 1 << UTF8PROC_CATEGORY_MN |
                         1 << UTF8PROC_CATEGORY_MC | 1 << UTF8PROC_CATEGORY_ME
};

/* The length of the character that the text begins with, if its category is in the set, or 0. */
static size_t length_in(int set, const char *text, size_t n_bytes)
{
    uint32_t c;
    const size_t n = qn_utf8_decode(text, n_bytes, &c);
    if (n == 1 && (c < '0' || c > '9') && set != WORD_CHARACTERS) return 0; /* the most frequent case */
    return n > 0 && set >> utf8proc_category((utf8proc_int32_t)c) & 1 ? n : 0;
}

/* How many bytes the run of such characters has, and how many characters. */
static size_t run_in(int set, const char *text, size_t n_bytes, size_t *n_characters)
{
    size_t at = 0;
    *n_characters = 0;
    for (size_t n; (n = length_in(set, text + at, n_bytes - at)) > 0; at += n) ++*n_characters;
    return at;
}

/* Cuts a run of numbers before each place that three digits, or six and so on, and then none follow. */
static bool split_number(const splitter *s, const char *text, size_t n_bytes)
{
    size_t begin = 0, n_left = 0; /* digits to the end of their run */
    for (size_t i = 0, n; i < n_bytes; i += n) {
        uint32_t c;
        if (n_left == 0) run_in(DIGITS, text + i, n_bytes - i, &n_left);
        if (n_left > 0 && n_left % 3 == 0 && i > begin) {
            if (!split(s, 0, text + begin, i - begin)) return false;
            begin = i;
        }
        if (n_left > 0) n_left--;
        n = qn_utf8_decode(text + i, n_bytes - i, &c);
    }
    return split(s, 0, text + begin, n_bytes - begin);
}

static bool split_digits(const splitter *s, const char *text, size_t n_bytes)
{
    const int set = s->p->digits == QN_DIGITS_GROUPED_IN_NUMBERS ? NUMBERS : DIGITS;
    size_t begin = 0;
    for (size_t i = 0, n_characters; i < n_bytes;) {
        const size_t n = run_in(set, text + i, n_bytes - i, &n_characters);
        const bool goes_on = s->p->digits == QN_DIGITS_GROUPED_AT_WORD_END &&
                             length_in(WORD_CHARACTERS, text + i + n, n_bytes - i - n) > 0;
        if (n > 0 && !goes_on) {
            if (i > begin && !split(s, 0, text + begin, i - begin)) return false;
            if (!split_number(s, text + i, n)) return false;
            begin = i + n;
        }
        i += n > 0 ? n : 1;
    }
    return begin == n_bytes || split(s, 0, text + begin, n_bytes - begin);
}

bool qn_pretokenizer_split(const qn_pretokenizer *p, const char *text, size_t n_bytes, qn_word_fn *fn,
                           void *user)
{
    const splitter s = {p, fn, user};
    if (p->digits != QN_DIGITS_AS_PATTERNS_SAY) return split_digits(&s, text, n_bytes);
    return split(&s, 0, text, n_bytes);
}
