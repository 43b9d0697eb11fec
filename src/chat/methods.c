/* methods.c: the methods of strings, as in Python. Positions are counted in characters. */
#include "base/utf8.h"
#include "chat/value.h"

#include <string.h>

#define STR (1u << QN_J_STRING)

static bool bind_str(qn_jrender *r, const qn_jargs *args, const char *name, const qn_jstr **out)
{
    qn_jval v;
    if (!qn_jbind(r, args, name, "value", 1, &v) || !qn_jarg_str(r, v, name, out)) return false;
    return *out != NULL || qn_jfail(r, "%s wants a string", name);
}

/* ---- case ---- */

static bool m_upper(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return qn_jno_args(r, args, "upper") && qn_jcase_map(r, self.s, QN_J_UPPER, out);
}
static bool m_lower(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return qn_jno_args(r, args, "lower") && qn_jcase_map(r, self.s, QN_J_LOWER, out);
}
static bool m_casefold(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return qn_jno_args(r, args, "casefold") && qn_jcase_map(r, self.s, QN_J_FOLD, out);
}
static bool m_swapcase(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return qn_jno_args(r, args, "swapcase") && qn_jcase_map(r, self.s, QN_J_SWAP, out);
}
static bool m_capitalize(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return qn_jno_args(r, args, "capitalize") && qn_jcapitalize(r, self.s, out);
}

/* The first letter of each run of letters becomes a capital. */
static bool m_title(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    bool inside = false, upper;
    uint32_t c;
    if (!qn_jno_args(r, args, "title") || !qn_jwork(r, self.s->n_bytes)) return false;
    for (size_t i = 0, n; i < self.s->n_bytes; i += n) {
        n = qn_utf8_decode(self.s->bytes + i, self.s->n_bytes - i, &c);
        if (n == 0) break;
        qn_jcase_append(&b, self.s->bytes + i, n, inside ? QN_J_LOWER : QN_J_TITLE_CHAR);
        inside = qn_jis_cased(c, &upper);
    }
    return qn_jtake(r, &b, out);
}

/* ---- stripping, padding ---- */

static bool strip(qn_jrender *r, qn_jval self, const qn_jargs *args, const char *name, int which,
                  qn_jval *out)
{
    qn_jval v;
    const qn_jstr *chars;
    return qn_jbind(r, args, name, "chars", 0, &v) && qn_jarg_str(r, v, name, &chars) &&
           qn_jstrip_string(r, self.s, chars, which, out);
}
static bool m_strip(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return strip(r, self, args, "strip", 3, out);
}
static bool m_lstrip(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return strip(r, self, args, "lstrip", 1, out);
}
static bool m_rstrip(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return strip(r, self, args, "rstrip", 2, out);
}

static bool justify(qn_jrender *r, qn_jval self, const qn_jargs *args, const char *name, int which,
                    qn_jval *out)
{
    qn_jval v[2];
    int64_t width;
    const qn_jstr *fill;
    return qn_jbind(r, args, name, "width fillchar", 1, v) && qn_jarg_int(r, v[0], name, 0, &width) &&
           qn_jarg_str(r, v[1], name, &fill) && qn_jcenter(r, self.s, width, which, fill, out);
}
static bool m_center(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return justify(r, self, args, "center", 3, out);
}
static bool m_ljust(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return justify(r, self, args, "ljust", 1, out);
}
static bool m_rjust(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return justify(r, self, args, "rjust", 2, out);
}

static bool m_zfill(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    static const qn_jstr zero = {.bytes = "0", .n_bytes = 1, .n_chars = 1};
    const bool sign = self.s->n_bytes > 0 && (self.s->bytes[0] == '-' || self.s->bytes[0] == '+');
    qn_jval v, digits, padded;
    int64_t width;
    if (!qn_jsub(r, self.s, sign, self.s->n_bytes, &digits)) return false;
    if (!qn_jbind(r, args, "zfill", "width", 1, &v) || !qn_jarg_int(r, v, "zfill's width", 0, &width))
        return false;
    if (!qn_jcenter(r, digits.s, width - sign, 2, &zero, &padded)) return false;
    const qn_jstr head = {.bytes = self.s->bytes, .n_bytes = sign, .n_chars = sign};
    return qn_jconcat(r, &head, padded.s, false, out);
}

static bool m_expandtabs(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v;
    int64_t size;
    size_t column = 0;
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    if (!qn_jbind(r, args, "expandtabs", "tabsize", 0, &v) || !qn_jarg_int(r, v, "tabsize", 8, &size))
        return false;
    if (size > 4096) return qn_jlimit(r, "expandtabs: a tab size of %lld is over the limit", (long long)size);
    for (size_t i = 0; i < self.s->n_bytes && !b.failed && qn_jwork(r, 1); i++) {
        const char c = self.s->bytes[i];
        if (c != '\t') {
            qn_buffer_putc(&b, c);
            column = c == '\n' || c == '\r' ? 0 : column + (((unsigned char)c & 0xc0) != 0x80);
            continue;
        }
        for (size_t pad = size > 0 ? (size_t)size - column % (size_t)size : 0; pad > 0; pad--, column++)
            qn_buffer_putc(&b, ' ');
    }
    return qn_jtake(r, &b, out);
}

/* ---- splitting and joining ---- */

static bool push_part(qn_jrender *r, qn_jlist *l, const qn_jstr *s, size_t begin, size_t end)
{
    qn_jval part;
    return qn_jsub(r, s, begin, end, &part) && qn_jlist_push(r, l, part);
}

/* At runs of white space; nothing empty is given. */
static bool split_blank(qn_jrender *r, const qn_jstr *s, int64_t max, qn_jlist *l)
{
    size_t i, end = s->n_bytes;
    qn_jstrip(s, NULL, 1, &i, &end);
    while (i < end) {
        size_t stop = i, n;
        uint32_t c;
        if (max == 0) { /* the rest, without the blanks at its end */
            const qn_jstr rest = {.bytes = s->bytes + i, .n_bytes = end - i};
            size_t from, to;
            qn_jstrip(&rest, NULL, 2, &from, &to);
            return push_part(r, l, s, i, i + to);
        }
        while (stop < end && (n = qn_utf8_decode(s->bytes + stop, end - stop, &c)) > 0 && !qn_jis_space(c))
            stop += n;
        if (!push_part(r, l, s, i, stop) || !qn_jwork(r, stop - i)) return false;
        for (i = stop; i < end && (n = qn_utf8_decode(s->bytes + i, end - i, &c)) > 0 && qn_jis_space(c);)
            i += n;
        if (max > 0) max--;
    }
    return true;
}

static bool split_blank_right(qn_jrender *r, const qn_jstr *s, int64_t max, qn_jlist *l)
{
    size_t begin, end, none;
    qn_jstrip(s, NULL, 2, &begin, &end);
    while (end > 0) {
        const qn_jstr head = {.bytes = s->bytes, .n_bytes = end};
        if (max == 0) {
            qn_jstrip(&head, NULL, 1, &begin, &none);
            return push_part(r, l, s, begin, end);
        }
        for (begin = end; begin > 0;) { /* back to the blank before this word */
            size_t n = 1;
            uint32_t c = 0;
            while (n < begin && ((unsigned char)s->bytes[begin - n] & 0xc0) == 0x80) n++;
            qn_utf8_decode(s->bytes + begin - n, n, &c);
            if (qn_jis_space(c)) break;
            begin -= n;
        }
        if (!push_part(r, l, s, begin, end) || !qn_jwork(r, end - begin)) return false;
        const qn_jstr rest = {.bytes = s->bytes, .n_bytes = begin};
        qn_jstrip(&rest, NULL, 2, &none, &end);
        if (max > 0) max--;
    }
    return true;
}

static bool split_at(qn_jrender *r, const qn_jstr *s, const qn_jstr *sep, int64_t max, qn_jlist *l)
{
    size_t begin = 0;
    for (; max != 0; max -= max > 0) {
        const char *hit = qn_jfind(s->bytes + begin, s->n_bytes - begin, sep->bytes, sep->n_bytes);
        if (hit == NULL) break;
        const size_t at = (size_t)(hit - s->bytes);
        if (!push_part(r, l, s, begin, at) || !qn_jwork(r, (at - begin) / 16)) return false;
        begin = at + sep->n_bytes;
    }
    return push_part(r, l, s, begin, s->n_bytes);
}

/* The last place of `text` within the first `end` bytes, or NULL (also when out of time). */
static const char *find_last(qn_jrender *r, const qn_jstr *s, size_t end, const qn_jstr *text)
{
    if (text->n_bytes > end) return NULL;
    for (size_t i = end - text->n_bytes + 1; i-- > 0;) {
        if (text->n_bytes > 0 && s->bytes[i] != text->bytes[0]) continue;
        if (!qn_jwork(r, text->n_bytes / 16)) return NULL;
        if (memcmp(s->bytes + i, text->bytes, text->n_bytes) == 0) return s->bytes + i;
    }
    return NULL;
}

static bool split_at_right(qn_jrender *r, const qn_jstr *s, const qn_jstr *sep, int64_t max, qn_jlist *l)
{
    size_t end = s->n_bytes;
    for (; max != 0; max -= max > 0) {
        const char *hit = find_last(r, s, end, sep);
        if (hit == NULL) break;
        const size_t at = (size_t)(hit - s->bytes);
        if (!push_part(r, l, s, at + sep->n_bytes, end) || !qn_jwork(r, (end - at) / 4)) return false;
        end = at;
    }
    return push_part(r, l, s, 0, end);
}

static bool split(qn_jrender *r, qn_jval self, const qn_jargs *args, const char *name, bool right,
                  qn_jval *out)
{
    qn_jval v[2];
    const qn_jstr *sep;
    int64_t max;
    qn_jlist *l = qn_jlist_create(r, 0);
    if (l == NULL || !qn_jbind(r, args, name, "sep maxsplit", 0, v)) return false;
    if (!qn_jarg_str(r, v[0], name, &sep) || !qn_jarg_int(r, v[1], "maxsplit", -1, &max)) return false;
    if (sep != NULL && sep->n_bytes == 0) return qn_jfail(r, "%s: the separator is empty", name);
    if (!qn_jwork(r, self.s->n_bytes / 16)) return false;
    const bool ok = sep != NULL ? (right ? split_at_right : split_at)(r, self.s, sep, max, l)
                                : (right ? split_blank_right : split_blank)(r, self.s, max, l);
    for (size_t i = 0; ok && right && i < l->n / 2; i++) { /* found from the right: now in order */
        const qn_jval swap = l->items[i];
        l->items[i] = l->items[l->n - 1 - i];
        l->items[l->n - 1 - i] = swap;
    }
    return *out = qn_jseq(QN_J_LIST, l), ok;
}
static bool m_split(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return split(r, self, args, "split", false, out);
}
static bool m_rsplit(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return split(r, self, args, "rsplit", true, out);
}

static bool m_splitlines(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v;
    qn_jlist *l;
    if (!qn_jbind(r, args, "splitlines", "keepends", 0, &v)) return false;
    return qn_jsplit_lines(r, self.s, qn_jtrue(v), &l) && (*out = qn_jseq(QN_J_LIST, l), true);
}

static bool partition(qn_jrender *r, qn_jval self, const qn_jargs *args, const char *name, bool right,
                      qn_jval *out)
{
    const qn_jstr *sep;
    qn_jlist *l = qn_jlist_create(r, 3);
    if (l == NULL || !bind_str(r, args, name, &sep)) return false;
    if (sep->n_bytes == 0) return qn_jfail(r, "%s: the separator is empty", name);
    const char *hit = right ? find_last(r, self.s, self.s->n_bytes, sep)
                            : qn_jfind(self.s->bytes, self.s->n_bytes, sep->bytes, sep->n_bytes);
    const size_t at = hit != NULL ? (size_t)(hit - self.s->bytes) : right ? 0 : self.s->n_bytes;
    const size_t after = hit != NULL ? at + sep->n_bytes : at;
    *out = qn_jseq(QN_J_TUPLE, l);
    return qn_jwork(r, self.s->n_bytes / 4) && push_part(r, l, self.s, 0, at) &&
           push_part(r, l, self.s, at, after) && push_part(r, l, self.s, after, self.s->n_bytes);
}
static bool m_partition(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return partition(r, self, args, "partition", false, out);
}
static bool m_rpartition(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return partition(r, self, args, "rpartition", true, out);
}

static bool m_join(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v;
    qn_jlist *l;
    qn_buffer b = {.max_bytes = QN_J_MAX_STRING_BYTES};
    if (!qn_jbind(r, args, "join", "iterable", 1, &v) || !qn_jiterate(r, v, false, &l)) return false;
    for (size_t i = 0; i < l->n && r->status == QUERN_OK; i++) {
        if (i > 0) qn_buffer_append(&b, self.s->bytes, self.s->n_bytes);
        if (l->items[i].kind == QN_J_STRING)
            qn_buffer_append(&b, l->items[i].s->bytes, l->items[i].s->n_bytes);
        else qn_jfail(r, "join: item %zu is of type %s, not a string", i, qn_jtype_name(l->items[i]));
        if (b.failed || !qn_jwork(r, 4)) break;
    }
    return qn_jtake(r, &b, out);
}

/* ---- searching ---- */

/* The part of self between the optional character positions v[0] and v[1], in bytes. */
static bool bounds(qn_jrender *r, qn_jval self, const qn_jval v[2], size_t *begin, size_t *end)
{
    const int64_t n = (int64_t)qn_jchars(self.s);
    int64_t from, to;
    const bool no_from = v[0].kind == QN_J_NONE, no_to = v[1].kind == QN_J_NONE;
    if (!qn_jarg_int(r, no_from ? qn_jmissing() : v[0], "start", 0, &from)) return false;
    if (!qn_jarg_int(r, no_to ? qn_jmissing() : v[1], "end", n, &to)) return false;
    if (from < 0) from = from < -n ? 0 : from + n;
    if (to < 0) to = to < -n ? 0 : to + n;
    if (to > n) to = n;
    *end = qn_jbyte_offset(self.s, (size_t)to);
    *begin = from > n ? SIZE_MAX : qn_jbyte_offset(self.s, (size_t)from);
    return qn_jwork(r, self.s->n_bytes / 16);
}

static bool search(qn_jrender *r, qn_jval self, const qn_jargs *args, const char *name, bool right,
                   int64_t *found)
{
    qn_jval v[3];
    const qn_jstr *text;
    size_t begin, end;
    *found = -1;
    if (!qn_jbind(r, args, name, "sub start end", 1, v) || !qn_jarg_str(r, v[0], name, &text)) return false;
    if (text == NULL) return qn_jfail(r, "%s wants a string", name);
    if (!bounds(r, self, v + 1, &begin, &end)) return false;
    if (begin == SIZE_MAX || begin > end) return true;
    const qn_jstr part = {.bytes = self.s->bytes + begin, .n_bytes = end - begin};
    const char *hit = right ? find_last(r, &part, part.n_bytes, text)
                            : qn_jfind(part.bytes, part.n_bytes, text->bytes, text->n_bytes);
    if (hit == NULL) return true;
    qn_jstr before = {.bytes = self.s->bytes, .n_bytes = (size_t)(hit - self.s->bytes), .n_chars = SIZE_MAX};
    *found = (int64_t)qn_jchars(&before);
    return true;
}
static bool m_find(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    int64_t found;
    return search(r, self, args, "find", false, &found) && (*out = qn_jint(found), true);
}
static bool m_rfind(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    int64_t found;
    return search(r, self, args, "rfind", true, &found) && (*out = qn_jint(found), true);
}
static bool m_index(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    int64_t found;
    if (!search(r, self, args, "index", false, &found)) return false;
    return found >= 0 ? (*out = qn_jint(found), true) : qn_jfail(r, "index: the text is not found");
}
static bool m_rindex(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    int64_t found;
    if (!search(r, self, args, "rindex", true, &found)) return false;
    return found >= 0 ? (*out = qn_jint(found), true) : qn_jfail(r, "rindex: the text is not found");
}

static bool m_count(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v[3];
    const qn_jstr *text;
    size_t begin, end;
    int64_t count = 0;
    if (!qn_jbind(r, args, "count", "sub start end", 1, v) || !qn_jarg_str(r, v[0], "count", &text))
        return false;
    if (text == NULL) return qn_jfail(r, "count wants a string");
    if (!bounds(r, self, v + 1, &begin, &end)) return false;
    if (begin == SIZE_MAX || begin > end) return *out = qn_jint(0), true;
    if (text->n_bytes == 0) {
        qn_jstr part = {.bytes = self.s->bytes + begin, .n_bytes = end - begin, .n_chars = SIZE_MAX};
        return *out = qn_jint((int64_t)qn_jchars(&part) + 1), true;
    }
    for (const char *hit;
         (hit = qn_jfind(self.s->bytes + begin, end - begin, text->bytes, text->n_bytes)) != NULL;) {
        count++;
        begin = (size_t)(hit - self.s->bytes) + text->n_bytes;
        if (!qn_jwork(r, 1)) return false;
    }
    return *out = qn_jint(count), true;
}

static bool has_affix(const qn_jstr *affix, const char *bytes, size_t n_bytes, bool at_end)
{
    if (affix->n_bytes > n_bytes) return false;
    return memcmp(bytes + (at_end ? n_bytes - affix->n_bytes : 0), affix->bytes, affix->n_bytes) == 0;
}

static bool affix(qn_jrender *r, qn_jval self, const qn_jargs *args, const char *name, bool at_end,
                  qn_jval *out)
{
    qn_jval v[3];
    size_t begin, end;
    if (!qn_jbind(r, args, name, "prefix start end", 1, v) || !bounds(r, self, v + 1, &begin, &end))
        return false;
    const bool tuple = v[0].kind == QN_J_TUPLE;
    *out = qn_jbool(false);
    for (size_t i = 0; i < (tuple ? v[0].list->n : 1); i++) {
        const qn_jval one = tuple ? v[0].list->items[i] : v[0];
        if (one.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, one);
        if (one.kind != QN_J_STRING)
            return qn_jfail(r, "%s wants a string or a tuple of strings, not %s", name, qn_jtype_name(one));
        if (begin != SIZE_MAX && begin <= end && has_affix(one.s, self.s->bytes + begin, end - begin, at_end))
            *out = qn_jbool(true);
    }
    return true;
}
static bool m_startswith(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return affix(r, self, args, "startswith", false, out);
}
static bool m_endswith(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return affix(r, self, args, "endswith", true, out);
}

static bool m_removeprefix(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    const qn_jstr *s;
    if (!bind_str(r, args, "removeprefix", &s)) return false;
    const bool has = has_affix(s, self.s->bytes, self.s->n_bytes, false);
    return qn_jsub(r, self.s, has ? s->n_bytes : 0, self.s->n_bytes, out);
}
static bool m_removesuffix(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    const qn_jstr *s;
    if (!bind_str(r, args, "removesuffix", &s)) return false;
    const bool has = has_affix(s, self.s->bytes, self.s->n_bytes, true);
    return qn_jsub(r, self.s, 0, self.s->n_bytes - (has ? s->n_bytes : 0), out);
}

static bool m_replace(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jval v[3];
    const qn_jstr *old, *new_text;
    int64_t count;
    if (!qn_jbind(r, args, "replace", "old new count", 2, v)) return false;
    if (!qn_jarg_str(r, v[0], "replace", &old) || !qn_jarg_str(r, v[1], "replace", &new_text)) return false;
    if (old == NULL || new_text == NULL) return qn_jfail(r, "replace wants two strings");
    return qn_jarg_int(r, v[2], "count", -1, &count) && qn_jreplace(r, self.s, old, new_text, count, out);
}

static bool m_format(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    return qn_jstr_format(r, self.s, args, out);
}

/* ---- questions ---- */

typedef enum question { ALPHA, DIGIT, ALNUM, SPACE, UPPER, LOWER, ASCII, PRINTABLE, IDENTIFIER } question;

static bool char_is(uint32_t c, question what)
{
    switch (what) {
    case SPACE:
        return qn_jis_space(c);
    case ASCII:
        return c < 0x80;
    case PRINTABLE:
        return qn_jis_printable(c);
    case DIGIT:
        return c >= '0' && c <= '9';
    case IDENTIFIER:
        return c == '_' || char_is(c, ALNUM);
    case ALNUM:
        return char_is(c, DIGIT) || char_is(c, ALPHA);
    default: {
        bool upper;
        return c >= 0x80 ? qn_jis_printable(c) && qn_jis_letter(c) : qn_jis_cased(c, &upper);
    }
    }
}

/* All characters are so, and there is at least one; ASCII and PRINTABLE hold for "" too. */
static bool ask(qn_jrender *r, qn_jval self, const qn_jargs *args, const char *name, question what,
                qn_jval *out)
{
    bool all = what == ASCII || what == PRINTABLE || self.s->n_bytes > 0, some_cased = false;
    uint32_t c;
    if (!qn_jno_args(r, args, name) || !qn_jwork(r, self.s->n_bytes)) return false;
    for (size_t i = 0, n; i < self.s->n_bytes && all; i += n) {
        n = qn_utf8_decode(self.s->bytes + i, self.s->n_bytes - i, &c);
        if (n == 0) break;
        if (what == UPPER || what == LOWER) {
            bool upper = false;
            const bool cased = qn_jis_cased(c, &upper);
            some_cased = some_cased || cased;
            all = !cased || upper == (what == UPPER);
        } else {
            all = char_is(c, what) && !(what == IDENTIFIER && i == 0 && char_is(c, DIGIT));
        }
    }
    *out = qn_jbool(all && (some_cased || (what != UPPER && what != LOWER)));
    return true;
}

#define QUESTION(name, what)                                                                                 \
    static bool m_##name(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)                    \
    {                                                                                                        \
        return ask(r, self, args, #name, what, out);                                                         \
    }
QUESTION(isalpha, ALPHA)
QUESTION(isdigit, DIGIT)
QUESTION(isalnum, ALNUM)
QUESTION(isspace, SPACE)
QUESTION(isupper, UPPER)
QUESTION(islower, LOWER)
QUESTION(isascii, ASCII)
QUESTION(isprintable, PRINTABLE)
QUESTION(isidentifier, IDENTIFIER)
#undef QUESTION

const qn_jentry qn_jmethods_str[] = {
    {"strip", m_strip, STR},
    {"split", m_split, STR},
    {"startswith", m_startswith, STR},
    {"endswith", m_endswith, STR},
    {"lstrip", m_lstrip, STR},
    {"rstrip", m_rstrip, STR},
    {"replace", m_replace, STR},
    {"format", m_format, STR},
    {"upper", m_upper, STR},
    {"lower", m_lower, STR},
    {"title", m_title, STR},
    {"capitalize", m_capitalize, STR},
    {"casefold", m_casefold, STR},
    {"swapcase", m_swapcase, STR},
    {"join", m_join, STR},
    {"find", m_find, STR},
    {"rfind", m_rfind, STR},
    {"index", m_index, STR},
    {"rindex", m_rindex, STR},
    {"count", m_count, STR},
    {"rsplit", m_rsplit, STR},
    {"splitlines", m_splitlines, STR},
    {"partition", m_partition, STR},
    {"rpartition", m_rpartition, STR},
    {"removeprefix", m_removeprefix, STR},
    {"removesuffix", m_removesuffix, STR},
    {"center", m_center, STR},
    {"ljust", m_ljust, STR},
    {"rjust", m_rjust, STR},
    {"zfill", m_zfill, STR},
    {"expandtabs", m_expandtabs, STR},
    {"isalpha", m_isalpha, STR},
    {"isdigit", m_isdigit, STR},
    {"isdecimal", m_isdigit, STR},
    {"isnumeric", m_isdigit, STR},
    {"isalnum", m_isalnum, STR},
    {"isspace", m_isspace, STR},
    {"isupper", m_isupper, STR},
    {"islower", m_islower, STR},
    {"isascii", m_isascii, STR},
    {"isprintable", m_isprintable, STR},
    {"isidentifier", m_isidentifier, STR},
    {NULL, NULL, 0},
};
