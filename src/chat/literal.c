/* literal.c: see literal.h. One token a step; a token is read when all of it is there, but strings are read
 * as they come. */
#include "chat/literal.h"

#include "base/hexadecimal.h"
#include "base/utf8.h"
#include "chat/json_text.h"

#include <assert.h>
#include <string.h>

/* A step takes bytes and changes the state; or takes none: it needs more, or the text is broken. */
typedef struct source {
    const char *bytes;
    size_t n_bytes;
    bool final;
    qn_buffer *out;
} source;

void qn_literal_begin(qn_literal *l, const char *quote)
{
    assert(quote == NULL || strlen(quote) < QN_LITERAL_MAX_QUOTE);
    *l = (qn_literal){.quote = quote, .expect = QN_EXPECT_VALUE, .first = true};
}

void qn_literal_begin_object(qn_literal *l, char closes, const char *quote, qn_buffer *out)
{
    qn_literal_begin(l, quote);
    l->expect = QN_EXPECT_KEY, l->arguments = closes == ')';
    l->open[l->depth++] = closes;
    qn_buffer_putc(out, '{');
}

static size_t broken(qn_literal *l)
{
    l->state = QN_LITERAL_BROKEN;
    return 0;
}

/* Whether bytes begin with text: 1 yes, 0 no, -1 not yet known. */
static int begins_with(const source *s, const char *text)
{
    const size_t n = strlen(text);
    if (s->n_bytes < n) return s->final || memcmp(s->bytes, text, s->n_bytes) != 0 ? 0 : -1;
    return memcmp(s->bytes, text, n) == 0;
}

/* ---- strings ---- */

/* \xHH, \uXXXX, \UXXXXXXXX; 0: may be incomplete. */
static size_t python_code(const source *s, size_t n_digits)
{
    uint32_t code = 0;
    char text[4];
    if (s->n_bytes < 2 + n_digits && !s->final) return 0;
    if (s->n_bytes >= 2 + n_digits && qn_hex_read(s->bytes + 2, n_digits, n_digits, &code) == n_digits) {
        const size_t n = qn_utf8_encode(code, text);
        if (n > 0) {
            qn_json_escape(s->out, text, n);
            return 2 + n_digits;
        }
    }
    qn_json_escape(s->out, s->bytes, 1);
    return 1;
}

/* An escape within a string; 0: may be incomplete. JSON writes what lies above U+FFFF as two \u. */
static size_t python_escape(const source *s)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    if (s->n_bytes < 2) {
        if (!s->final) return 0;
        qn_json_escape(s->out, s->bytes, 1);
        return 1;
    }
    const char c = s->bytes[1];
    if (c == 'x') return python_code(s, 2);
    if (c == 'U') return python_code(s, 8);
    if (c == 'u') {
        qn_buffer text = {0};
        const size_t n = qn_json_unescape(&text, s->bytes, s->n_bytes, s->final);
        qn_json_escape(s->out, text.data != NULL ? text.data : "", text.n_bytes);
        s->out->failed = s->out->failed || text.failed;
        qn_buffer_deinit(&text);
        return n;
    }
    if (c == '\n') return 2; /* the line goes on */
    const char *known = c != '\0' ? strchr(from, c) : NULL;
    qn_json_escape(s->out, known != NULL ? &to[known - from] : s->bytes, 1);
    return known != NULL ? 2 : 1;
}

static size_t string_step(qn_literal *l, const source *s)
{
    const int ends = begins_with(s, l->end_quote);
    if (ends < 0) return 0;
    if (ends > 0) {
        qn_buffer_putc(s->out, '"');
        l->in_string = false;
        l->expect = l->expect == QN_EXPECT_KEY ? QN_EXPECT_COLON : QN_EXPECT_COMMA;
        return strlen(l->end_quote);
    }
    if (s->bytes[0] == '\\' && !l->raw) return python_escape(s);
    size_t n = 1;
    while (n < s->n_bytes && s->bytes[n] != l->end_quote[0] && (s->bytes[n] != '\\' || l->raw)) n++;
    if (n == s->n_bytes && !s->final) n -= qn_utf8_incomplete_tail(s->bytes, n);
    qn_json_escape(s->out, s->bytes, n);
    return n;
}

/* The quote that begins a string: the length of it, 0 for none, -1 for not yet known. */
static int opening_quote(qn_literal *l, const source *s)
{
    const char c = s->bytes[0];
    l->raw = false;
    if (l->quote != NULL) {
        const int begins = begins_with(s, l->quote);
        if (begins < 0) return -1;
        if (begins > 0) {
            l->raw = true;
            strcpy(l->end_quote, l->quote);
            return (int)strlen(l->quote);
        }
    }
    if (c != '"' && c != '\'') return 0;
    if (!s->final && s->n_bytes < 3 && (s->n_bytes == 1 || s->bytes[1] == c)) return -1;
    const bool triple = s->n_bytes >= 3 && s->bytes[1] == c && s->bytes[2] == c;
    memset(l->end_quote, 0, sizeof l->end_quote);
    memset(l->end_quote, c, triple ? 3 : 1);
    return triple ? 3 : 1;
}

/* ---- words and brackets ---- */

static bool is_word_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("_.+-$/", c) != NULL) || (unsigned char)c >= 0x80;
}

/* The number grammar of RFC 8259. */
static bool is_json_number(const char *p, size_t n)
{
    size_t i = n > 0 && p[0] == '-';
    const size_t whole = i;
    while (i < n && p[i] >= '0' && p[i] <= '9') i++;
    if (i == whole || (p[whole] == '0' && i > whole + 1)) return false;
    if (i < n && p[i] == '.') {
        const size_t fraction = ++i;
        while (i < n && p[i] >= '0' && p[i] <= '9') i++;
        if (i == fraction) return false;
    }
    if (i < n && (p[i] == 'e' || p[i] == 'E')) {
        i++;
        if (i < n && (p[i] == '+' || p[i] == '-')) i++;
        const size_t exponent = i;
        while (i < n && p[i] >= '0' && p[i] <= '9') i++;
        if (i == exponent) return false;
    }
    return i == n;
}

static void put_word(qn_buffer *out, const char *word, size_t n)
{
    static const char *const constants[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"},
                                               {"true", "true"}, {"false", "false"}, {"null", "null"}};
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++)
        if (n == strlen(constants[i][0]) && memcmp(word, constants[i][0], n) == 0) {
            qn_buffer_puts(out, constants[i][1]);
            return;
        }
    if (is_json_number(word, n)) {
        qn_buffer_append(out, word, n);
        return;
    }
    qn_buffer_putc(out, '"');
    qn_json_escape(out, word, n);
    qn_buffer_putc(out, '"');
}

/* A word is whole when what follows it is seen. */
static size_t word_step(qn_literal *l, const source *s)
{
    size_t n = 0;
    while (n < s->n_bytes && n <= QN_LITERAL_MAX_WORD && is_word_byte(s->bytes[n])) n++;
    if (n == 0 || n > QN_LITERAL_MAX_WORD) return broken(l);
    if (n == s->n_bytes && !s->final) return 0;
    if (l->expect == QN_EXPECT_KEY) {
        qn_buffer_putc(s->out, '"');
        qn_json_escape(s->out, s->bytes, n);
        qn_buffer_putc(s->out, '"');
        l->expect = QN_EXPECT_COLON;
    } else {
        put_word(s->out, s->bytes, n);
        l->expect = QN_EXPECT_COMMA;
    }
    return n;
}

static void open_bracket(qn_literal *l, char c, qn_buffer *out)
{
    if (l->depth == QN_LITERAL_MAX_DEPTH) {
        l->state = QN_LITERAL_BROKEN;
        return;
    }
    l->open[l->depth++] = c == '{' ? '}' : c == '[' ? ']' : ')';
    l->expect = c == '{' ? QN_EXPECT_KEY : QN_EXPECT_VALUE;
    l->first = true;
    qn_buffer_putc(out, c == '{' ? '{' : '[');
}

static bool holds_keys(const qn_literal *l)
{
    return l->depth > 0 && (l->open[l->depth - 1] == '}' || (l->depth == 1 && l->arguments));
}

static void close_bracket(qn_literal *l, qn_buffer *out)
{
    qn_buffer_putc(out, holds_keys(l) ? '}' : ']');
    l->depth--;
    l->expect = QN_EXPECT_COMMA;
    l->first = false;
}

static size_t value_step(qn_literal *l, const source *s)
{
    const char c = s->bytes[0];
    const bool may_close = l->depth > 0 && c == l->open[l->depth - 1]; /* also after a last comma */
    if (may_close) return close_bracket(l, s->out), 1;
    const int quote = opening_quote(l, s);
    if (quote < 0) return 0;
    const bool opens = quote == 0 && l->expect == QN_EXPECT_VALUE && (c == '{' || c == '[' || c == '(');
    if (quote == 0 && !opens && !is_word_byte(c)) return broken(l);
    const size_t before = s->out->n_bytes;
    const bool comma = !l->first && l->depth > 0 && (l->expect == QN_EXPECT_KEY || !holds_keys(l));
    if (comma) qn_buffer_puts(s->out, ", ");
    size_t n;
    if (quote > 0) {
        qn_buffer_putc(s->out, '"');
        l->in_string = true;
        n = (size_t)quote;
    } else if (opens) {
        open_bracket(l, c, s->out);
        return l->state == QN_LITERAL_MORE ? 1 : 0;
    } else {
        n = word_step(l, s);
    }
    if (n > 0) l->first = false;
    else if (!s->out->failed) s->out->n_bytes = before; /* the comma comes with the word */
    return n;
}

static size_t step(qn_literal *l, const source *s)
{
    const char c = s->bytes[0];
    if (l->in_string) return string_step(l, s);
    if (qn_is_blank(c)) return 1;
    if (l->expect == QN_EXPECT_COLON) {
        if (c != ':' && !(c == '=' && l->arguments && l->depth == 1)) return broken(l);
        qn_buffer_puts(s->out, ": ");
        l->expect = QN_EXPECT_VALUE;
        return 1;
    }
    if (l->expect == QN_EXPECT_COMMA) {
        if (l->depth > 0 && c == l->open[l->depth - 1]) return close_bracket(l, s->out), 1;
        if (c != ',') return broken(l);
        l->expect = holds_keys(l) ? QN_EXPECT_KEY : QN_EXPECT_VALUE;
        return 1;
    }
    return value_step(l, s);
}

size_t qn_literal_push(qn_literal *l, const char *bytes, size_t n_bytes, bool final, qn_buffer *out)
{
    size_t taken = 0;
    while (taken < n_bytes && l->state == QN_LITERAL_MORE) {
        const source s = {bytes + taken, n_bytes - taken, final, out};
        const size_t n = step(l, &s);
        if (n == 0) break;
        taken += n;
        if (l->depth == 0 && l->expect == QN_EXPECT_COMMA) l->state = QN_LITERAL_DONE;
    }
    return taken;
}
