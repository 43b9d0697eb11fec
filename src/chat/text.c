/* text.c: strings as sequences of code points: positions, white space, case, replacing, padding.
 * Unicode properties come from utf8proc; the special upper-case forms are the table of Unicode's
 * SpecialCasing.txt (unconditional mappings). */
#include "base/buffer.h"
#include "base/checked.h"
#include "base/utf8.h"
#include "chat/value.h"

#include <string.h>
#include <utf8proc.h>

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

const char *qn_jfind(const char *text, size_t n_bytes, const char *part, size_t n_part)
{
    if (n_part == 1) return n_bytes > 0 ? memchr(text, part[0], n_bytes) : NULL;
    return memmem(text, n_bytes, part, n_part);
}

size_t qn_jbyte_offset(const qn_jstr *s, size_t char_index)
{
    if (qn_jchars(s) == s->n_bytes) return char_index; /* ASCII */
    size_t i = 0;
    for (; char_index > 0 && i < s->n_bytes; char_index--) {
        i++;
        while (i < s->n_bytes && is_continuation(s->bytes[i])) i++;
    }
    return i;
}

bool qn_jsub(qn_jrender *r, const qn_jstr *s, size_t begin, size_t end, qn_jval *out)
{
    if (begin == 0 && end == s->n_bytes) return *out = qn_jstring(s), true;
    if (!qn_jborrow(r, s->bytes + begin, end - begin, out)) return false;
    qn_jstr *part = (qn_jstr *)(uintptr_t)out->s; /* just made */
    part->markup = s->markup;
    if (s->n_chars == s->n_bytes) part->n_chars = part->n_bytes;
    return true;
}

bool qn_jchar(qn_jrender *r, const char *bytes, size_t n_bytes, qn_jval *out)
{
    if (n_bytes != 1) return qn_jborrow(r, bytes, n_bytes, out);
    const unsigned char c = (unsigned char)bytes[0] & 127;
    if (r->ascii[c] == NULL) {
        if (!qn_jborrow(r, bytes, 1, out)) return false;
        r->ascii[c] = out->s;
    }
    *out = qn_jstring(r->ascii[c]);
    return true;
}

bool qn_jis_space(uint32_t c)
{
    return (c >= 0x1c && c <= 0x1f) || qn_utf8_is_white_space(c); /* Python takes the separators too */
}

bool qn_jis_printable(uint32_t c)
{
    if (c < 0x7f) return c >= 0x20;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}

static bool strips(const char *c, size_t n, const qn_jstr *chars)
{
    uint32_t codepoint = 0;
    if (chars != NULL) return qn_jfind(chars->bytes, chars->n_bytes, c, n) != NULL;
    return qn_utf8_decode(c, n, &codepoint) == n && qn_jis_space(codepoint);
}

void qn_jstrip(const qn_jstr *s, const qn_jstr *chars, int which, size_t *begin, size_t *end)
{
    *begin = 0;
    *end = s->n_bytes;
    while ((which & 1) && *begin < *end) {
        size_t n = 1;
        while (*begin + n < *end && is_continuation(s->bytes[*begin + n])) n++;
        if (!strips(s->bytes + *begin, n, chars)) break;
        *begin += n;
    }
    while ((which & 2) && *begin < *end) {
        size_t n = 1;
        while (n < *end - *begin && is_continuation(s->bytes[*end - n])) n++;
        if (!strips(s->bytes + *end - n, n, chars)) break;
        *end -= n;
    }
}

bool qn_jstrip_string(qn_jrender *r, const qn_jstr *s, const qn_jstr *chars, int which, qn_jval *out)
{
    enum { MAX_STRIPPED_SET = 1024 }; /* every character is looked up in it */
    size_t begin, end;
    if (chars != NULL && chars->n_bytes > MAX_STRIPPED_SET)
        return qn_jlimit(r, "stripping a set of more than %d bytes is over the limit", MAX_STRIPPED_SET);
    qn_jstrip(s, chars, which, &begin, &end);
    return qn_jwork(r, (begin + s->n_bytes - end) / 2) && qn_jsub(r, s, begin, end, out);
}

/* ---- case ---- */

static const struct special {
    uint16_t from, to[3];
} special_upper[] = {
    {0x00df, {0x53, 0x53}},          {0x0149, {0x2bc, 0x4e}},         {0x01f0, {0x4a, 0x30c}},
    {0x0390, {0x399, 0x308, 0x301}}, {0x03b0, {0x3a5, 0x308, 0x301}}, {0x0587, {0x535, 0x552}},
    {0x1e96, {0x48, 0x331}},         {0x1e97, {0x54, 0x308}},         {0x1e98, {0x57, 0x30a}},
    {0x1e99, {0x59, 0x30a}},         {0x1e9a, {0x41, 0x2be}},         {0x1f50, {0x3a5, 0x313}},
    {0x1f52, {0x3a5, 0x313, 0x300}}, {0x1f54, {0x3a5, 0x313, 0x301}}, {0x1f56, {0x3a5, 0x313, 0x342}},
    {0x1f80, {0x1f08, 0x399}},       {0x1f81, {0x1f09, 0x399}},       {0x1f82, {0x1f0a, 0x399}},
    {0x1f83, {0x1f0b, 0x399}},       {0x1f84, {0x1f0c, 0x399}},       {0x1f85, {0x1f0d, 0x399}},
    {0x1f86, {0x1f0e, 0x399}},       {0x1f87, {0x1f0f, 0x399}},       {0x1f88, {0x1f08, 0x399}},
    {0x1f89, {0x1f09, 0x399}},       {0x1f8a, {0x1f0a, 0x399}},       {0x1f8b, {0x1f0b, 0x399}},
    {0x1f8c, {0x1f0c, 0x399}},       {0x1f8d, {0x1f0d, 0x399}},       {0x1f8e, {0x1f0e, 0x399}},
    {0x1f8f, {0x1f0f, 0x399}},       {0x1f90, {0x1f28, 0x399}},       {0x1f91, {0x1f29, 0x399}},
    {0x1f92, {0x1f2a, 0x399}},       {0x1f93, {0x1f2b, 0x399}},       {0x1f94, {0x1f2c, 0x399}},
    {0x1f95, {0x1f2d, 0x399}},       {0x1f96, {0x1f2e, 0x399}},       {0x1f97, {0x1f2f, 0x399}},
    {0x1f98, {0x1f28, 0x399}},       {0x1f99, {0x1f29, 0x399}},       {0x1f9a, {0x1f2a, 0x399}},
    {0x1f9b, {0x1f2b, 0x399}},       {0x1f9c, {0x1f2c, 0x399}},       {0x1f9d, {0x1f2d, 0x399}},
    {0x1f9e, {0x1f2e, 0x399}},       {0x1f9f, {0x1f2f, 0x399}},       {0x1fa0, {0x1f68, 0x399}},
    {0x1fa1, {0x1f69, 0x399}},       {0x1fa2, {0x1f6a, 0x399}},       {0x1fa3, {0x1f6b, 0x399}},
    {0x1fa4, {0x1f6c, 0x399}},       {0x1fa5, {0x1f6d, 0x399}},       {0x1fa6, {0x1f6e, 0x399}},
    {0x1fa7, {0x1f6f, 0x399}},       {0x1fa8, {0x1f68, 0x399}},       {0x1fa9, {0x1f69, 0x399}},
    {0x1faa, {0x1f6a, 0x399}},       {0x1fab, {0x1f6b, 0x399}},       {0x1fac, {0x1f6c, 0x399}},
    {0x1fad, {0x1f6d, 0x399}},       {0x1fae, {0x1f6e, 0x399}},       {0x1faf, {0x1f6f, 0x399}},
    {0x1fb2, {0x1fba, 0x399}},       {0x1fb3, {0x391, 0x399}},        {0x1fb4, {0x386, 0x399}},
    {0x1fb6, {0x391, 0x342}},        {0x1fb7, {0x391, 0x342, 0x399}}, {0x1fbc, {0x391, 0x399}},
    {0x1fc2, {0x1fca, 0x399}},       {0x1fc3, {0x397, 0x399}},        {0x1fc4, {0x389, 0x399}},
    {0x1fc6, {0x397, 0x342}},        {0x1fc7, {0x397, 0x342, 0x399}}, {0x1fcc, {0x397, 0x399}},
    {0x1fd2, {0x399, 0x308, 0x300}}, {0x1fd3, {0x399, 0x308, 0x301}}, {0x1fd6, {0x399, 0x342}},
    {0x1fd7, {0x399, 0x308, 0x342}}, {0x1fe2, {0x3a5, 0x308, 0x300}}, {0x1fe3, {0x3a5, 0x308, 0x301}},
    {0x1fe4, {0x3a1, 0x313}},        {0x1fe6, {0x3a5, 0x342}},        {0x1fe7, {0x3a5, 0x308, 0x342}},
    {0x1ff2, {0x1ffa, 0x399}},       {0x1ff3, {0x3a9, 0x399}},        {0x1ff4, {0x38f, 0x399}},
    {0x1ff6, {0x3a9, 0x342}},        {0x1ff7, {0x3a9, 0x342, 0x399}}, {0x1ffc, {0x3a9, 0x399}},
    {0xfb00, {0x46, 0x46}},          {0xfb01, {0x46, 0x49}},          {0xfb02, {0x46, 0x4c}},
    {0xfb03, {0x46, 0x46, 0x49}},    {0xfb04, {0x46, 0x46, 0x4c}},    {0xfb05, {0x53, 0x54}},
    {0xfb06, {0x53, 0x54}},          {0xfb13, {0x544, 0x546}},        {0xfb14, {0x544, 0x535}},
    {0xfb15, {0x544, 0x53b}},        {0xfb16, {0x54e, 0x546}},        {0xfb17, {0x544, 0x53d}},
};

uint32_t qn_jupper_char(uint32_t c)
{
    return (uint32_t)utf8proc_toupper((utf8proc_int32_t)c);
}

bool qn_jis_cased(uint32_t c, bool *upper)
{
    if (c < 0x80) return *upper = c >= 'A' && c <= 'Z', *upper || (c >= 'a' && c <= 'z');
    const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    const bool changes_down = utf8proc_tolower((utf8proc_int32_t)c) != (utf8proc_int32_t)c;
    const bool changes_up = utf8proc_toupper((utf8proc_int32_t)c) != (utf8proc_int32_t)c;
    *upper = category == UTF8PROC_CATEGORY_LU || (changes_down && !changes_up);
    return *upper || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT || changes_up;
}

bool qn_jis_letter(uint32_t c)
{
    const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

static void append_char(qn_buffer *b, uint32_t c)
{
    char bytes[4];
    qn_buffer_append(b, bytes, qn_utf8_encode(c, bytes));
}

static bool append_special(qn_buffer *b, uint32_t c, bool title)
{
    size_t low = 0, high = sizeof special_upper / sizeof special_upper[0];
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (special_upper[middle].from < c) low = middle + 1;
        else high = middle;
    }
    if (low == sizeof special_upper / sizeof special_upper[0] || special_upper[low].from != c) return false;
    const utf8proc_int32_t single = utf8proc_totitle((utf8proc_int32_t)c);
    if (title && utf8proc_category(single) == UTF8PROC_CATEGORY_LT)
        return append_char(b, (uint32_t)single), true;
    for (int i = 0; i < 3 && special_upper[low].to[i] != 0; i++) {
        const uint32_t part = special_upper[low].to[i];
        append_char(b, title && i > 0 ? (uint32_t)utf8proc_tolower((utf8proc_int32_t)part) : part);
    }
    return true;
}

/* Greek capital sigma becomes the final form after a letter that no letter follows. */
static bool is_final_sigma(const char *bytes, size_t n_bytes, size_t at, size_t length)
{
    bool before = false, upper;
    uint32_t c;
    for (size_t i = 0, n; i < at && (n = qn_utf8_decode(bytes + i, at - i, &c)) > 0; i += n)
        if (utf8proc_category((utf8proc_int32_t)c) != UTF8PROC_CATEGORY_MN) before = qn_jis_cased(c, &upper);
    for (size_t i = at + length, n; i < n_bytes && (n = qn_utf8_decode(bytes + i, n_bytes - i, &c)) > 0;
         i += n) {
        if (utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_MN) continue;
        return before && !qn_jis_cased(c, &upper);
    }
    return before;
}

bool qn_jcase_append(qn_buffer *b, const char *bytes, size_t n_bytes, qn_jcase how)
{
    uint32_t c;
    for (size_t i = 0, n; i < n_bytes && (n = qn_utf8_decode(bytes + i, n_bytes - i, &c)) > 0; i += n) {
        bool is_upper = false;
        qn_jcase to = how;
        if (how == QN_J_SWAP) to = qn_jis_cased(c, &is_upper) && is_upper ? QN_J_LOWER : QN_J_UPPER;
        if (c < 0x80) {
            const bool lower_letter = c >= 'a' && c <= 'z', upper_letter = c >= 'A' && c <= 'Z';
            if ((to == QN_J_UPPER || to == QN_J_TITLE_CHAR) && lower_letter) c -= 32;
            else if ((to == QN_J_LOWER || to == QN_J_FOLD) && upper_letter) c += 32;
            qn_buffer_putc(b, (char)c);
        } else if (to == QN_J_UPPER || to == QN_J_TITLE_CHAR) {
            if (append_special(b, c, to == QN_J_TITLE_CHAR)) continue;
            append_char(b, to == QN_J_UPPER ? qn_jupper_char(c)
                                            : (uint32_t)utf8proc_totitle((utf8proc_int32_t)c));
        } else if (to == QN_J_FOLD) {
            utf8proc_int32_t folded[8];
            const utf8proc_ssize_t count =
                utf8proc_decompose_char((utf8proc_int32_t)c, folded, 8, UTF8PROC_CASEFOLD, NULL);
            for (utf8proc_ssize_t k = 0; k < count && k < 8; k++) append_char(b, (uint32_t)folded[k]);
        } else if (c == 0x130) {
            append_char(b, 'i'), append_char(b, 0x307);
        } else if (c == 0x3a3) {
            append_char(b, n_bytes < 4096 && is_final_sigma(bytes, n_bytes, i, n) ? 0x3c2 : 0x3c3);
        } else {
            append_char(b, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
        }
    }
    return !b->failed;
}

static bool keep_markup(qn_jrender *r, const qn_jstr *from, qn_jval *out)
{
    return !from->markup || qn_jmark(r, out->s, true, out);
}

bool qn_jcase_map(qn_jrender *r, const qn_jstr *s, qn_jcase how, qn_jval *out)
{
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    if (!qn_jwork(r, s->n_bytes)) return false;
    qn_jcase_append(&b, s->bytes, s->n_bytes, how);
    return qn_jtake(r, &b, out) && keep_markup(r, s, out);
}

bool qn_jcapitalize(qn_jrender *r, const qn_jstr *s, qn_jval *out)
{
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    const size_t first = s->n_bytes == 0 ? 0 : qn_jbyte_offset(s, 1);
    if (!qn_jwork(r, s->n_bytes)) return false;
    qn_jcase_append(&b, s->bytes, first, QN_J_TITLE_CHAR);
    qn_jcase_append(&b, s->bytes + first, s->n_bytes - first, QN_J_LOWER);
    return qn_jtake(r, &b, out) && keep_markup(r, s, out);
}

/* ---- building ---- */

bool qn_jreplace(qn_jrender *r, const qn_jstr *s, const qn_jstr *old, const qn_jstr *new_text,
                 int64_t max_count, qn_jval *out)
{
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    size_t at = 0;
    int64_t count = 0;
    if (!qn_jwork(r, s->n_bytes / 8)) return false;
    while (max_count < 0 || count < max_count) {
        size_t next;
        if (old->n_bytes == 0) { /* between all characters, and at both ends */
            if (count > 0 && at >= s->n_bytes) break;
            next = at;
            if (count > 0) {
                next++;
                while (next < s->n_bytes && is_continuation(s->bytes[next])) next++;
            }
        } else {
            const char *hit = qn_jfind(s->bytes + at, s->n_bytes - at, old->bytes, old->n_bytes);
            if (hit == NULL) break;
            next = (size_t)(hit - s->bytes);
        }
        qn_buffer_append(&b, s->bytes + at, next - at);
        qn_buffer_append(&b, new_text->bytes, new_text->n_bytes);
        at = next + old->n_bytes;
        count++;
        if (b.failed || !qn_jwork(r, 1 + new_text->n_bytes / 16)) break;
    }
    if (count == 0) return qn_buffer_deinit(&b), *out = qn_jstring(s), true;
    qn_buffer_append(&b, s->bytes + at, s->n_bytes - at);
    return qn_jtake(r, &b, out) && keep_markup(r, s, out);
}

static void append_repeated(qn_buffer *b, const qn_jstr *fill, size_t n)
{
    for (; n > 0 && !b->failed; n--) qn_buffer_append(b, fill->bytes, fill->n_bytes);
}

bool qn_jcenter(qn_jrender *r, const qn_jstr *s, int64_t width, int which, const qn_jstr *fill, qn_jval *out)
{
    const size_t n_chars = qn_jchars(s);
    if (fill != NULL && qn_jchars(fill) != 1)
        return qn_jfail(r, "the fill character must be exactly one character");
    if (width < 0 || (uint64_t)width <= n_chars) return *out = qn_jstring(s), true;
    if (width > QN_J_MAX_STRING_BYTES)
        return qn_jlimit(r, "padding to %lld characters is over the limit", (long long)width);
    const qn_jstr blank = {.bytes = " ", .n_bytes = 1, .n_chars = 1};
    if (fill == NULL) fill = &blank;
    const size_t pad = (size_t)width - n_chars;
    const size_t left = which == 1 ? 0 : which == 2 ? pad : pad / 2 + (pad & (size_t)width & 1);
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    append_repeated(&b, fill, left);
    qn_buffer_append(&b, s->bytes, s->n_bytes);
    append_repeated(&b, fill, pad - left);
    return qn_jwork(r, pad) && qn_jtake(r, &b, out) && keep_markup(r, s, out);
}

static bool is_line_end(uint32_t c)
{
    return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool qn_jsplit_lines(qn_jrender *r, const qn_jstr *s, bool keep_ends, qn_jlist **out)
{
    qn_jlist *l = *out = qn_jlist_create(r, 0);
    size_t begin = 0;
    uint32_t c;
    if (l == NULL || !qn_jwork(r, s->n_bytes / 4)) return false;
    for (size_t i = 0, n; i < s->n_bytes && (n = qn_utf8_decode(s->bytes + i, s->n_bytes - i, &c)) > 0;) {
        const size_t end = i;
        i += n;
        if (!is_line_end(c)) continue;
        if (c == '\r' && i < s->n_bytes && s->bytes[i] == '\n') i++;
        qn_jval line;
        if (!qn_jsub(r, s, begin, keep_ends ? i : end, &line) || !qn_jlist_push(r, l, line)) return false;
        begin = i;
    }
    qn_jval last;
    return begin == s->n_bytes || (qn_jsub(r, s, begin, s->n_bytes, &last) && qn_jlist_push(r, l, last));
}

bool qn_jescape(qn_jrender *r, const qn_jstr *s, qn_jval *out)
{
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    if (!qn_jwork(r, s->n_bytes)) return false;
    for (size_t i = 0; i < s->n_bytes && !b.failed; i++) {
        switch (s->bytes[i]) {
        case '&':
            qn_buffer_puts(&b, "&amp;");
            break;
        case '<':
            qn_buffer_puts(&b, "&lt;");
            break;
        case '>':
            qn_buffer_puts(&b, "&gt;");
            break;
        case '"':
            qn_buffer_puts(&b, "&#34;");
            break;
        case '\'':
            qn_buffer_puts(&b, "&#39;");
            break;
        default:
            qn_buffer_putc(&b, s->bytes[i]);
        }
    }
    return qn_jtake(r, &b, out) && qn_jmark(r, out->s, true, out);
}
