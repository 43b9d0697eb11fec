/* special.c: see special.h. */
#include "vocab/special.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "vocab/vocab_private.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *pa, const void *pb)
{
    const qn_special_entry *a = pa, *b = pb;
    const int order = memcmp(a->text.bytes, b->text.bytes, qn_min_size(a->text.n_bytes, b->text.n_bytes));
    if (order != 0) return order;
    if (a->text.n_bytes != b->text.n_bytes) return a->text.n_bytes < b->text.n_bytes ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

static bool is_special(uint8_t kind)
{
    return kind == QN_TOKEN_CONTROL || kind == QN_TOKEN_USER_DEFINED || kind == QN_TOKEN_UNKNOWN;
}

static void note_beginning(qn_special_matcher *m, const qn_special_entry *e, int set)
{
    const unsigned char *b = (const unsigned char *)e->text.bytes;
    if (e->text.n_bytes == 1) { /* whatever follows */
        m->single[set][b[0]] = 1;
        memset(&m->starts[set][b[0] * 32], 0xff, 32);
    } else {
        m->starts[set][b[0] * 32 + b[1] / 8] |= (uint8_t)(1u << b[1] % 8);
    }
}

static void count_first_bytes(qn_special_matcher *m, int set)
{
    static const uint8_t none[32] = {0};
    for (int byte = 0; byte < 256; byte++) {
        if (memcmp(&m->starts[set][byte * 32], none, sizeof none) == 0) continue;
        m->n_first_bytes[set]++;
        m->only_first[set] = (uint8_t)byte;
    }
}

bool qn_special_matcher_init(qn_special_matcher *m, const qn_vocab *v)
{
    memset(m, 0, sizeof *m);
    size_t count = 0;
    for (size_t i = 0; i < v->n_tokens; i++) count += is_special(v->kinds[i]);
    if (count == 0) return true;
    m->entries = qn_calloc(count, sizeof *m->entries);
    if (m->entries == NULL) return false;
    for (size_t i = 0; i < v->n_tokens; i++) {
        const size_t n = v->tokens[i].n_bytes;
        if (!is_special(v->kinds[i]) || n == 0 || n > QN_SPECIAL_MAX_BYTES) continue;
        m->entries[m->n_entries++] =
            (qn_special_entry){v->tokens[i], (quern_token)i, v->kinds[i] != QN_TOKEN_USER_DEFINED};
    }
    qsort(m->entries, m->n_entries, sizeof *m->entries, compare);
    for (size_t i = 0; i < m->n_entries; i++) {
        const qn_special_entry *e = &m->entries[i];
        m->first[(unsigned char)e->text.bytes[0] + 1] = (uint32_t)i + 1;
        note_beginning(m, e, 1);
        if (!e->needs_parsing) note_beginning(m, e, 0);
    }
    count_first_bytes(m, 0);
    count_first_bytes(m, 1);
    for (int b = 1; b <= 256; b++)
        if (m->first[b] < m->first[b - 1]) m->first[b] = m->first[b - 1];
    return true;
}

void qn_special_matcher_deinit(qn_special_matcher *m)
{
    qn_free(m->entries);
    memset(m, 0, sizeof *m);
}

/* The first entry in [low, high), all longer than depth, whose byte at depth is >= b. */
static size_t lower_bound(const qn_special_matcher *m, size_t low, size_t high, size_t depth, unsigned b)
{
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if ((unsigned char)m->entries[middle].text.bytes[depth] < b) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* The longest special token at the beginning of text, or NULL. */
static const qn_special_entry *longest(const qn_special_matcher *m, const char *text, size_t n_bytes,
                                       bool parse_special)
{
    const qn_special_entry *found = NULL;
    size_t low = m->first[(unsigned char)text[0]], high = m->first[(unsigned char)text[0] + 1];
    for (size_t depth = 1; low < high; depth++) { /* all of [low, high) begin with depth bytes of text */
        bool taken = false;
        for (; low < high && m->entries[low].text.n_bytes == depth; low++) {
            if (taken || (m->entries[low].needs_parsing && !parse_special)) continue;
            found = &m->entries[low]; /* of equal texts the first id */
            taken = true;
        }
        if (depth >= n_bytes) break;
        const unsigned b = (unsigned char)text[depth];
        low = lower_bound(m, low, high, depth, b);
        high = lower_bound(m, low, high, depth, b + 1);
    }
    return found;
}

quern_token qn_special_find(const qn_special_matcher *m, const char *text, size_t n_bytes, size_t from,
                            bool parse_special, size_t *at, size_t *token_bytes)
{
    if (m->n_first_bytes[parse_special] == 0) return -1;
    const uint8_t *starts = m->starts[parse_special], *single = m->single[parse_special];
    const unsigned char *b = (const unsigned char *)text;
    for (size_t i = from; i < n_bytes; i++) {
        if (m->n_first_bytes[parse_special] == 1) {
            const char *next = memchr(text + i, m->only_first[parse_special], n_bytes - i);
            if (next == NULL) return -1;
            i = (size_t)(next - text);
        }
        const bool may =
            i + 1 < n_bytes ? starts[b[i] * 32 + b[i + 1] / 8] >> b[i + 1] % 8 & 1 : single[b[i]];
        if (!may) continue;
        const qn_special_entry *e = longest(m, text + i, n_bytes - i, parse_special);
        if (e == NULL) continue;
        *at = i;
        *token_bytes = e->text.n_bytes;
        return e->id;
    }
    return -1;
}
