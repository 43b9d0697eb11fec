/* pretokenizer.c: see pretokenizer.h. The patterns are those that the models were trained with, as
 * published in their tokenizer.json (split rules) or tiktoken definitions. One is written differently
 * where the published form would take quadratic time: \s+$ as (?<!\s)\s++$, which matches the same. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "vocab/pretokenizer.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/utf8.h"

#include <pcre2.h>
#include <string.h>

#define CONTRACTIONS          "'s|'t|'re|'ve|'m|'ll|'d"
#define ANY_CASE_CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
/* GPT-2 (Radford et al. 2019) */
#define GPT2 CONTRACTIONS "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* tiktoken's cl100k_base and its followers; they differ in how many digits stay together */
#define CL100K(digits)                                                                                       \
    ANY_CASE_CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                                           \
                          "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
/* tiktoken's o200k_base: words are cut before capitals */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K(suffix, digits)                                                                                \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" suffix \
    "|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
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
    {.names = {"gpt-2", "phi-2", "jais", "gigachat", "a.x-4.0", "mellum", "exaone4"},
     .patterns = {GPT2},
     .clean_spaces = true},
    {.names = {"trillion", "granite-docling"}, .patterns = {GPT2}},
    {.names = {"mpt", "olmo"}, .patterns = {GPT2}, .clean_spaces = true, .nfc = true},
    {.names = {"starcoder", "refact", "codeshell", "exaone", "minerva-7b"},
     .patterns = {"\\p{N}", GPT2},
     .clean_spaces = true},
    {.names = {"smollm", "command-r"}, .patterns = {"\\p{N}", GPT2}},
    {.names = {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
     .patterns = {CL100K("\\p{N}{1,3}")},
     .ignore_merges = true,
     .add_bos = true,
     .clean_spaces = true},
    {.names = {"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"},
     .patterns = {CL100K("\\p{N}{1,3}")},
     .clean_spaces = true},
    {.names = {"qwen2", "deepseek-r1-qwen"}, .patterns = {CL100K("\\p{N}")}, .nfc = true},
    {.names = {"hunyuan", "kormo", "grok-2"}, .patterns = {CL100K("\\p{N}")}},
    {.names = {"stablelm2", "megrez"}, .patterns = {CL100K("\\p{N}")}, .clean_spaces = true},
    {.names = {"qwen35"},
     .patterns = {ANY_CASE_CONTRACTIONS
                  "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
                  "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     .nfc = true},
    {.names = {"seed-coder"},
     .patterns = {ANY_CASE_CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
                                        "| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {.names = {"bailingmoe", "bailingmoe2", "llada-moe"},
     .patterns = {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}"
                  "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    {.names = {"gpt-4o", "llama4", "minimax-m2"},
     .patterns = {O200K(ANY_CASE_CONTRACTIONS "?", "\\p{N}{1,3}")}},
    {.names = {"tekken"}, .patterns = {O200K("", "\\p{N}")}, .ignore_merges = true, .add_bos = true},
    {.names = {"deepseek-coder"},
     .patterns = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK_AND_HANGUL, "\\p{N}"}},
    {.names = {"deepseek-llm"},
     .patterns = {"[\\r\\n]", "\\s?[" CASED_LETTERS "]+", "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "(?<!\\s)\\s++$",
                  CJK_AND_HANGUL, "\\p{N}+"}},
    {.names = {"deepseek-v3", "hunyuan-dense"},
     .patterns = {"\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
                  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
                  "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
                  "| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {.names = {"falcon"},
     .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"},
     .clean_spaces = true},
    {.names = {"bloom", "gpt3-finnish"}, .patterns = {NO_PUNCTUATION}, .clean_spaces = true},
    {.names = {"poro-chat"}, .patterns = {NO_PUNCTUATION}},
    {.names = {"viking"}, .patterns = {NO_PUNCTUATION, "\\p{N}"}},
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
    size_t n_patterns;
    pcre2_code *codes[QN_PRETOKENIZER_PATTERNS];
    bool has_jit[QN_PRETOKENIZER_PATTERNS];
    pcre2_general_context *general;
    pcre2_match_context *match;
};

static void *pcre_malloc(size_t n_bytes, void *user)
{
    (void)user;
    return qn_malloc(n_bytes);
}

static void pcre_free(void *p, void *user)
{
    (void)user;
    qn_free(p);
}

/* The published patterns mean by \s the Unicode property White_Space; PCRE2 adds U+180E to it. So \s
 * and \S are written out, inside and outside of brackets. */
static bool expand_white_space(qn_buffer *out, const char *pattern)
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
        if (*p == '\\' && p[1] != '\0') qn_buffer_putc(out, *p++);
        else if (*p == '[') in_class = true;
        else if (*p == ']') in_class = false;
        qn_buffer_putc(out, *p);
    }
    return !out->failed;
}

static quern_status compile(qn_pretokenizer *p, const char *pattern, bool use_jit, quern_error *err)
{
    qn_buffer expanded = {0};
    if (!expand_white_space(&expanded, pattern)) {
        qn_buffer_deinit(&expanded);
        return qn_fail(err, QUERN_ERR_NOMEM, "pre-tokenizer pattern: out of memory");
    }
    pcre2_compile_context *context = pcre2_compile_context_create(p->general);
    int code = PCRE2_ERROR_NOMEMORY;
    size_t offset = 0;
    if (context != NULL)
        p->codes[p->n_patterns] = pcre2_compile((PCRE2_SPTR)expanded.data, expanded.n_bytes,
                                                PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK |
                                                    PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C,
                                                &code, &offset, context);
    pcre2_compile_context_free(context);
    qn_buffer_deinit(&expanded);
    if (p->codes[p->n_patterns] == NULL)
        return qn_fail(err, QUERN_ERR_NOMEM, "pre-tokenizer pattern %zu: PCRE2 error %d at %zu",
                       p->n_patterns, code, offset);
    p->has_jit[p->n_patterns] =
        use_jit && pcre2_jit_compile(p->codes[p->n_patterns], PCRE2_JIT_COMPLETE) == 0;
    p->n_patterns++;
    return QUERN_OK;
}

quern_status qn_pretokenizer_create(qn_pretokenizer **out, const qn_pretokenizer_row *row, bool use_jit,
                                    quern_error *err)
{
    qn_pretokenizer *p = *out = qn_calloc(1, sizeof *p);
    if (p == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "pre-tokenizer: out of memory");
    quern_status s = QUERN_OK;
    p->general = pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
    p->match = p->general != NULL ? pcre2_match_context_create(p->general) : NULL;
    if (p->match == NULL) {
        s = qn_fail(err, QUERN_ERR_NOMEM, "pre-tokenizer: out of memory");
    } else { /* the patterns need a few steps for each byte of a word */
        pcre2_set_match_limit(p->match, 4 * 1000 * 1000);
        pcre2_set_depth_limit(p->match, 1000);
        pcre2_set_heap_limit(p->match, 1024); /* KiB */
    }
    for (size_t i = 0; s == QUERN_OK && i < QN_PRETOKENIZER_PATTERNS && row->patterns[i] != NULL; i++)
        s = compile(p, row->patterns[i], use_jit, err);
    if (s != QUERN_OK) {
        qn_pretokenizer_destroy(p);
        *out = NULL;
    }
    return s;
}

void qn_pretokenizer_destroy(qn_pretokenizer *p)
{
    if (p == NULL) return;
    for (size_t i = 0; i < p->n_patterns; i++) pcre2_code_free(p->codes[i]);
    pcre2_match_context_free(p->match);
    pcre2_general_context_free(p->general);
    qn_free(p);
}

void *qn_pretokenizer_matcher_create(const qn_pretokenizer *p)
{
    return pcre2_match_data_create(1, p->general);
}

void qn_pretokenizer_matcher_destroy(void *matcher)
{
    pcre2_match_data_free(matcher);
}

typedef struct splitter {
    const qn_pretokenizer *p;
    pcre2_match_data *data;
    qn_word_fn *fn;
    void *user;
} splitter;

/* The next match at or after `from`: [*begin, *end); no match: both are n_bytes. False: a limit was
 * reached. */
static bool next_match(const splitter *s, size_t level, const char *text, size_t n_bytes, size_t from,
                       size_t *begin, size_t *end)
{
    const pcre2_code *code = s->p->codes[level];
    const int found =
        s->p->has_jit[level]
            ? pcre2_jit_match(code, (PCRE2_SPTR)text, n_bytes, from, 0, s->data, s->p->match)
            : pcre2_match(code, (PCRE2_SPTR)text, n_bytes, from, PCRE2_NO_UTF_CHECK, s->data, s->p->match);
    *begin = *end = n_bytes;
    if (found < 0) return found == PCRE2_ERROR_NOMATCH;
    const size_t *offsets = pcre2_get_ovector_pointer(s->data);
    if (offsets[1] > from && offsets[1] > offsets[0]) *begin = offsets[0], *end = offsets[1];
    return true;
}

/* At most QN_PRETOKENIZER_CUT bytes, not ending within a character. */
static size_t window_bytes(const char *text, size_t n_bytes)
{
    if (n_bytes <= QN_PRETOKENIZER_CUT) return n_bytes;
    size_t n = QN_PRETOKENIZER_CUT;
    while (((unsigned char)text[n] & 0xc0) == 0x80) n--;
    return n;
}

/* As deep as there are patterns. What is left when a limit is reached is cut into windows, in which
 * matching is cheap; a window that still reaches it is a word. */
static bool split(const splitter *s, size_t level, bool in_window, const char *text, size_t n_bytes)
{
    if (level == s->p->n_patterns) return s->fn(s->user, text, n_bytes);
    for (size_t from = 0; from < n_bytes;) {
        size_t begin, end;
        if (!next_match(s, level, text, n_bytes, from, &begin, &end)) {
            if (in_window) return s->fn(s->user, text + from, n_bytes - from);
            for (size_t n; from < n_bytes; from += n) {
                n = window_bytes(text + from, n_bytes - from);
                if (!split(s, level, true, text + from, n)) return false;
            }
            return true;
        }
        if (begin > from && !split(s, level + 1, in_window, text + from, begin - from)) return false;
        if (end > begin && !split(s, level + 1, in_window, text + begin, end - begin)) return false;
        from = end;
    }
    return true;
}

/* How many bytes from the start are valid UTF-8. */
static size_t valid_bytes(const char *text, size_t n_bytes)
{
    size_t i = 0;
    while (i < n_bytes) {
        uint64_t eight;
        if (n_bytes - i >= 8 && (memcpy(&eight, text + i, 8), (eight & 0x8080808080808080u) == 0)) {
            i += 8;
            continue;
        }
        uint32_t c;
        const size_t n = qn_utf8_decode(text + i, n_bytes - i, &c);
        if (n == 0) break;
        i += n;
    }
    return i;
}

bool qn_pretokenizer_split(const qn_pretokenizer *p, void *matcher, const char *text, size_t n_bytes,
                           qn_word_fn *fn, void *user)
{
    const splitter s = {p, matcher, fn, user};
    while (n_bytes > 0) {
        const size_t valid = valid_bytes(text, n_bytes);
        if (valid > 0 && !split(&s, 0, false, text, valid)) return false;
        text += valid, n_bytes -= valid;
        size_t invalid = 0;
        for (uint32_t c; invalid < n_bytes && qn_utf8_decode(text + invalid, n_bytes - invalid, &c) == 0;)
            invalid++;
        if (invalid > 0 && !fn(user, text, invalid)) return false;
        text += invalid, n_bytes -= invalid;
    }
    return true;
}
