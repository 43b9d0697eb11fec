/* lexer.c: template source to tokens, one at a time.
 *
 * Text and tags alternate. The rules of white space are Jinja's with trim_blocks and lstrip_blocks:
 * the line end after %} and #} goes; blanks between a line's start and {% or {# go; a minus inside a
 * tag strips all white space on that side, a plus keeps it. Inside {{ }} brackets are counted, so
 * that }} ends the tag only where no { is open. */
#include "base/hexadecimal.h"
#include "base/utf8.h"
#include "chat/ast.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool qn_jlex_fail(qn_jlexer *x, uint32_t line, const char *format, ...)
{
    char text[448];
    va_list args;
    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0) text[0] = '\0';
    va_end(args);
    x->status = qn_fail(x->err, QUERN_ERR_TEMPLATE, "line %u: %s", line, text);
    return false;
}

static bool at(const qn_jlexer *x, size_t pos, const char *text)
{
    const size_t n = strlen(text);
    return n <= x->n_bytes - pos && memcmp(x->source + pos, text, n) == 0;
}

static void count_lines(qn_jlexer *x, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) x->line += x->source[i] == '\n';
}

static size_t skip_space(const qn_jlexer *x, size_t pos)
{
    uint32_t c;
    for (size_t n; (n = qn_utf8_decode(x->source + pos, x->n_bytes - pos, &c)) > 0 && qn_jis_space(c);)
        pos += n;
    return pos;
}

static size_t skip_space_back(const qn_jlexer *x, size_t begin, size_t end)
{
    const qn_jstr s = {.bytes = x->source + begin, .n_bytes = end - begin};
    size_t from, to;
    qn_jstrip(&s, NULL, 2, &from, &to);
    return begin + to;
}

/* Steps over "%}" and the like at pos (after its sign) and over the white space it takes with it. */
static void end_tag(qn_jlexer *x, size_t pos, char sign, bool trim)
{
    const size_t begin = x->pos;
    pos += 2;
    if (sign == '-') pos = skip_space(x, pos);
    else if (sign != '+' && trim && pos < x->n_bytes && x->source[pos] == '\n') pos++;
    count_lines(x, begin, pos);
    x->pos = pos;
    x->line_start = pos > 0 && x->source[pos - 1] == '\n';
}

/* The position of the next "{{", "{%" or "{#", or the end. */
static size_t find_tag(const qn_jlexer *x)
{
    for (size_t pos = x->pos; pos + 1 < x->n_bytes; pos++) {
        const char *brace = memchr(x->source + pos, '{', x->n_bytes - 1 - pos);
        if (brace == NULL) break;
        pos = (size_t)(brace - x->source);
        if (brace[1] == '{' || brace[1] == '%' || brace[1] == '#') return pos;
    }
    return x->n_bytes;
}

/* Where the text before the tag at `tag` ends once the tag has taken its white space. */
static size_t text_end(const qn_jlexer *x, size_t tag)
{
    const char sign = tag + 2 < x->n_bytes ? x->source[tag + 2] : '\0';
    if (sign == '-') return skip_space_back(x, x->pos, tag);
    if (sign == '+' || x->source[tag + 1] == '{') return tag;
    const char *newline = tag > x->pos ? memrchr(x->source + x->pos, '\n', tag - x->pos) : NULL;
    if (newline == NULL && !x->line_start) return tag;
    const size_t line = newline == NULL ? x->pos : (size_t)(newline - x->source) + 1;
    return skip_space(x, line) >= tag ? line : tag; /* a tag is no white space: the walk stops there */
}

/* If "{% NAME %}" stands at tag: where it ends, and the sign before its %}. */
static bool is_plain_block(const qn_jlexer *x, size_t tag, const char *name, size_t *end, char *sign)
{
    size_t pos = tag + 2;
    if (x->source[tag + 1] != '%') return false;
    if (pos < x->n_bytes && (x->source[pos] == '-' || x->source[pos] == '+')) pos++;
    pos = skip_space(x, pos);
    if (!at(x, pos, name)) return false;
    pos = skip_space(x, pos + strlen(name));
    *sign = pos < x->n_bytes && (x->source[pos] == '-' || x->source[pos] == '+') ? x->source[pos] : '\0';
    *end = pos + (*sign != '\0');
    return at(x, *end, "%}");
}

static bool data_token(qn_jlexer *x, size_t begin, size_t end, qn_jtoken *t)
{
    *t = (qn_jtoken){.kind = QN_T_DATA, .line = x->line, .bytes = x->source + begin, .n_bytes = end - begin};
    return true;
}

/* After "{% raw %}": gives the text up to "{% endraw %}" as it stands. */
static bool raw_text(qn_jlexer *x, qn_jtoken *t)
{
    const uint32_t line = x->line;
    const size_t begin = x->pos;
    for (size_t tag = begin; tag + 1 < x->n_bytes; tag++) {
        size_t end;
        char sign;
        if (x->source[tag] != '{' || !is_plain_block(x, tag, "endraw", &end, &sign)) continue;
        const size_t stop = text_end(x, tag);
        data_token(x, begin, stop, t);
        end_tag(x, end, sign, true);
        return true;
    }
    return qn_jlex_fail(x, line, "{%% raw %%} without {%% endraw %%}");
}

static bool skip_comment(qn_jlexer *x, size_t tag)
{
    const char *end = memmem(x->source + tag + 2, x->n_bytes - tag - 2, "#}", 2);
    if (end == NULL) return qn_jlex_fail(x, x->line, "comment without its end '#}'");
    const size_t pos = (size_t)(end - x->source);
    const char before = pos > tag + 2 ? end[-1] : '\0';
    end_tag(x, pos, before == '-' || before == '+' ? before : '\0', true);
    return true;
}

/* In text: gives the text up to the next tag, or the beginning of a tag. */
static bool lex_data(qn_jlexer *x, qn_jtoken *t)
{
    for (;;) {
        const size_t tag = find_tag(x);
        const size_t stop = tag < x->n_bytes ? text_end(x, tag) : tag;
        const size_t begin = x->pos;
        if (stop > begin) data_token(x, begin, stop, t);
        count_lines(x, begin, tag);
        x->pos = tag;
        if (tag > begin) x->line_start = false;
        if (stop > begin) return true;
        if (tag == x->n_bytes) return *t = (qn_jtoken){.kind = QN_T_END, .line = x->line}, true;
        size_t end;
        char sign;
        if (is_plain_block(x, tag, "raw", &end, &sign)) {
            end_tag(x, end, sign, false);
            if (!raw_text(x, t)) return false;
            if (t->n_bytes > 0) return true;
        } else if (x->source[tag + 1] == '#') {
            if (!skip_comment(x, tag)) return false;
        } else {
            const bool output = x->source[tag + 1] == '{';
            *t = (qn_jtoken){.kind = output ? QN_T_OUTPUT_BEGIN : QN_T_BLOCK_BEGIN, .line = x->line};
            x->pos = tag + 2;
            if (x->pos < x->n_bytes && (x->source[x->pos] == '-' || x->source[x->pos] == '+')) x->pos++;
            x->state = output ? QN_LEX_OUTPUT : QN_LEX_BLOCK;
            x->n_brackets = 0;
            x->line_start = false;
            return true;
        }
    }
}

/* Up to three octal digits at s[*i]. */
static uint32_t read_octal(const char *s, size_t n, size_t *i)
{
    uint32_t value = 0;
    for (int count = 0; count < 3 && *i < n && s[*i] >= '0' && s[*i] <= '7'; count++)
        value = value * 8 + (uint32_t)(s[(*i)++] - '0');
    return value;
}

/* Up to n_digits hexadecimal digits at s[*i]; whether there are as many. */
static bool read_hex(const char *s, size_t n, size_t *i, size_t n_digits, uint32_t *value)
{
    const size_t n_read = qn_hex_read(s + *i, n - *i, n_digits, value);
    *i += n_read;
    return n_read == n_digits;
}

/* One escape sequence after its backslash, as in Python's string literals. */
static bool unescape_one(qn_jlexer *x, const char *s, size_t n, size_t *i, char *out, size_t *used)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    const char c = s[*i];
    const char *simple = strchr(from, c);
    uint32_t value;
    if (c != '\0' && simple != NULL) return out[(*used)++] = to[simple - from], (*i)++, true;
    if (c == '\n') return (*i)++, true;
    if (c >= '0' && c <= '7') {
        value = read_octal(s, n, i);
    } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t wanted = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        (*i)++;
        if (!read_hex(s, n, i, wanted, &value))
            return qn_jlex_fail(x, x->line, "\\%c in a string wants %zu hexadecimal digits", c, wanted);
        if (value >= 0xd800 && value < 0xdc00 && *i + 6 <= n && s[*i] == '\\' && s[*i + 1] == 'u') {
            uint32_t low; /* a pair of surrogates, as JSON writes characters above U+FFFF */
            *i += 2;
            read_hex(s, n, i, 4, &low);
            if (low >= 0xdc00 && low < 0xe000) value = 0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00);
        }
    } else if (c == 'N') {
        return qn_jlex_fail(x, x->line, "\\N{...} in a string is not supported; write the character or \\u");
    } else {
        return out[(*used)++] = '\\', true; /* unknown: the backslash stays */
    }
    const size_t written = qn_utf8_encode(value, out + *used);
    if (written == 0) return qn_jlex_fail(x, x->line, "a string escape names no Unicode character");
    *used += written;
    return true;
}

static bool lex_string(qn_jlexer *x, qn_jtoken *t)
{
    const char quote = x->source[x->pos];
    const size_t begin = x->pos + 1;
    size_t end = begin;
    bool escaped = false;
    while (end < x->n_bytes && x->source[end] != quote) {
        if (x->source[end] == '\\') escaped = true, end++;
        end++;
    }
    if (end >= x->n_bytes) return qn_jlex_fail(x, x->line, "string without its end %c", quote);
    t->kind = QN_T_STRING;
    t->bytes = x->source + begin;
    t->n_bytes = end - begin;
    if (escaped) {
        char *out = qn_jchunk_alloc(&x->tmpl->chunks, &x->tmpl->chunk_bytes, end - begin + 4);
        if (out == NULL) {
            x->status = qn_fail(x->err, QUERN_ERR_NOMEM, "template: out of memory");
            return false;
        }
        size_t used = 0;
        for (size_t i = begin; i < end;) {
            if (x->source[i] != '\\') {
                out[used++] = x->source[i++];
                continue;
            }
            i++;
            if (!unescape_one(x, x->source, end, &i, out, &used)) return false;
        }
        t->bytes = out;
        t->n_bytes = used;
    }
    count_lines(x, begin, end);
    x->pos = end + 1;
    return true;
}

/* Copies digits without their underscores; false if an underscore stands where it must not. */
static bool plain_digits(const char *s, size_t n, char *out, size_t out_size)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '_' && (i + 1 == n || qn_hex_digit(s[i + 1]) < 0)) return false;
        if (s[i] == '_') continue;
        if (used + 1 >= out_size) return false;
        out[used++] = s[i];
    }
    out[used] = '\0';
    return true;
}

static size_t skip_digits(const qn_jlexer *x, size_t pos)
{
    while (pos < x->n_bytes && ((x->source[pos] >= '0' && x->source[pos] <= '9') || x->source[pos] == '_'))
        pos++;
    return pos;
}

static bool is_digit_at(const qn_jlexer *x, size_t pos)
{
    return pos < x->n_bytes && x->source[pos] >= '0' && x->source[pos] <= '9';
}

static bool lex_integer(qn_jlexer *x, size_t begin, qn_jtoken *t)
{
    static const char prefixes[] = "xXoObB";
    char digits[72];
    int base = 10;
    size_t end = skip_digits(x, begin), first = begin;
    const char *prefix = NULL;
    if (x->source[begin] == '0' && begin + 1 < x->n_bytes && x->source[begin + 1] != '\0')
        prefix = strchr(prefixes, x->source[begin + 1]);
    if (prefix != NULL) {
        base = prefix - prefixes < 2 ? 16 : prefix - prefixes < 4 ? 8 : 2;
        first = begin + 2;
        for (end = first; end < x->n_bytes && (qn_hex_digit(x->source[end]) >= 0 || x->source[end] == '_');)
            end++;
    }
    if (end == first || !plain_digits(x->source + first, end - first, digits, sizeof digits))
        return qn_jlex_fail(x, x->line, "malformed number '%s'",
                            qn_quote(x->source + begin, end - begin).text);
    uint64_t value = 0;
    if (prefix == NULL && digits[0] == '0' && strspn(digits, "0") != strlen(digits))
        return qn_jlex_fail(x, x->line, "a number must not begin with 0");
    for (const char *d = digits; *d != '\0'; d++) {
        const int digit = qn_hex_digit(*d);
        if (digit >= base)
            return qn_jlex_fail(x, x->line, "malformed number '%s'",
                                qn_quote(x->source + begin, end - begin).text);
        if (value > ((uint64_t)INT64_MAX - (uint64_t)digit) / (uint64_t)base)
            return qn_jlex_fail(x, x->line, "integer '%s' does not fit 64 bits",
                                qn_quote(x->source + begin, end - begin).text);
        value = value * (uint64_t)base + (uint64_t)digit;
    }
    t->kind = QN_T_INT;
    t->i = (int64_t)value;
    x->pos = end;
    return true;
}

static bool lex_number(qn_jlexer *x, qn_jtoken *t)
{
    const size_t begin = x->pos;
    size_t end = skip_digits(x, begin);
    bool is_float = false;
    if (begin == 0 || x->source[begin - 1] != '.') { /* x.0.1 is two indices */
        if (end < x->n_bytes && x->source[end] == '.' && is_digit_at(x, end + 1))
            is_float = true, end = skip_digits(x, end + 1);
        if (end < x->n_bytes && (x->source[end] == 'e' || x->source[end] == 'E')) {
            const size_t sign =
                end + 1 < x->n_bytes && (x->source[end + 1] == '+' || x->source[end + 1] == '-');
            if (is_digit_at(x, end + 1 + sign)) is_float = true, end = skip_digits(x, end + 1 + sign);
        }
    }
    if (!is_float) return lex_integer(x, begin, t);
    char digits[256];
    size_t used = 0;
    for (size_t i = begin; i < end; i++) {
        if (x->source[i] == '_') continue;
        if (used + 1 >= sizeof digits) return qn_jlex_fail(x, x->line, "number of more than 255 digits");
        digits[used++] = x->source[i];
    }
    digits[used] = '\0';
    t->kind = QN_T_FLOAT;
    t->f = strtod(digits, NULL);
    x->pos = end;
    return true;
}

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static bool lex_operator(qn_jlexer *x, qn_jtoken *t)
{
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    const char c = x->source[x->pos];
    t->kind = QN_T_OP;
    for (size_t i = 0; i < sizeof two / sizeof two[0]; i++) {
        if (!at(x, x->pos, two[i])) continue;
        t->op = QN_OP2(two[i][0], two[i][1]);
        x->pos += 2;
        return true;
    }
    if (c == '\0' || strchr("+-/*%~[](){}><=.:|,;", c) == NULL)
        return qn_jlex_fail(x, x->line, "unexpected character '%s'", qn_quote(&c, 1).text);
    if (strchr("([{", c) != NULL) {
        if (x->n_brackets == sizeof x->brackets)
            return qn_jlex_fail(x, x->line, "brackets nested deeper than %zu", sizeof x->brackets);
        x->brackets[x->n_brackets++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (strchr(")]}", c) != NULL) {
        if (x->n_brackets == 0) return qn_jlex_fail(x, x->line, "unexpected '%c'", c);
        if (x->brackets[x->n_brackets - 1] != c)
            return qn_jlex_fail(x, x->line, "unexpected '%c', expected '%c'", c,
                                x->brackets[x->n_brackets - 1]);
        x->n_brackets--;
    }
    t->op = QN_OP2(c, 0);
    x->pos++;
    return true;
}

/* At the end of the tag, if it is there. */
static bool lex_tag_end(qn_jlexer *x, qn_jtoken *t)
{
    if (x->n_brackets > 0) return false;
    const bool output = x->state == QN_LEX_OUTPUT;
    const char c = x->source[x->pos];
    const char sign = c == '-' || (c == '+' && !output) ? c : '\0';
    const size_t pos = x->pos + (sign != '\0');
    if (!at(x, pos, output ? "}}" : "%}")) return false;
    t->kind = output ? QN_T_OUTPUT_END : QN_T_BLOCK_END;
    end_tag(x, pos, sign, !output);
    x->state = QN_LEX_DATA;
    return true;
}

bool qn_jlex_next(qn_jlexer *x, qn_jtoken *t)
{
    if (x->state == QN_LEX_DATA) return lex_data(x, t);
    const size_t begin = x->pos;
    x->pos = skip_space(x, x->pos);
    count_lines(x, begin, x->pos);
    *t = (qn_jtoken){.line = x->line};
    if (x->pos >= x->n_bytes)
        return qn_jlex_fail(x, x->line, "the template ends inside a tag: %s is missing",
                            x->state == QN_LEX_OUTPUT ? "'}}'" : "'%}'");
    if (lex_tag_end(x, t)) return true;
    const char c = x->source[x->pos];
    if (c >= '0' && c <= '9') return lex_number(x, t);
    if (c == '\'' || c == '"') return lex_string(x, t);
    if (!is_name_byte(c)) return lex_operator(x, t);
    t->kind = QN_T_NAME;
    t->bytes = x->source + x->pos;
    while (x->pos < x->n_bytes && is_name_byte(x->source[x->pos])) x->pos++;
    t->n_bytes = (size_t)(x->source + x->pos - t->bytes);
    return true;
}
