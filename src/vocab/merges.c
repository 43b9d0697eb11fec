/* merges.c: see merges.h. */
#include "vocab/merges.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "vocab/byte_alphabet.h"

#include <string.h>

/* ---- the table --------------------------------------------------------------------------------- */

static size_t slot_of(const qn_merges *m, uint32_t left, uint32_t right)
{
    __extension__ typedef unsigned __int128 wide;
    const wide product = (wide)(((uint64_t)left << 32 | right) ^ m->seed) * (m->seed | 1);
    return ((size_t)product ^ (size_t)(product >> 64)) & (m->n_slots - 1);
}

static qn_pair look_up(const qn_merges *m, uint32_t left, uint32_t right)
{
    for (size_t at = slot_of(m, left, right);; at = (at + 1) & (m->n_slots - 1)) {
        const qn_merge_slot *s = &m->slots[at];
        if (s->left_plus_one == left + 1 && s->right == right) return s->pair;
        if (s->left_plus_one == 0) return (qn_pair){QN_PAIR_NONE, 0};
    }
}

qn_pair qn_merges_find(const void *user, const char *word, const qn_symbol *left, const qn_symbol *right)
{
    (void)word;
    return look_up(user, left->id, right->id);
}

qn_pair qn_merges_find_bytes(const void *user, const char *word, const qn_symbol *left,
                             const qn_symbol *right)
{
    const qn_merges *m = user;
    if (left->n_bytes + right->n_bytes > 2) return look_up(m, left->id, right->id);
    return m->byte_pairs[(uint8_t)word[left->start] << 8 | (uint8_t)word[right->start]];
}

static void add_pair(qn_merges *m, uint32_t left, uint32_t right, qn_pair pair)
{
    size_t at = slot_of(m, left, right);
    for (; m->slots[at].left_plus_one != 0; at = (at + 1) & (m->n_slots - 1))
        if (m->slots[at].left_plus_one == left + 1 && m->slots[at].right == right)
            return; /* the first rank holds */
    m->slots[at] = (qn_merge_slot){left + 1, right, pair};
}

/* ---- reading ----------------------------------------------------------------------------------- */

/* Ids for texts that are no tokens, while the merges are read. */
typedef struct extra_texts {
    const qn_vocab *vocab;
    qn_hash_map index;
    char **owned; /* joined texts, freed at the end */
    size_t n_owned, capacity;
    uint32_t next_id;
    qn_buffer joined, decoded; /* scratch */
} extra_texts;

static void extra_texts_deinit(extra_texts *x)
{
    for (size_t i = 0; i < x->n_owned; i++) qn_free(x->owned[i]);
    qn_free(x->owned);
    qn_hash_map_deinit(&x->index);
    qn_buffer_deinit(&x->joined);
    qn_buffer_deinit(&x->decoded);
}

/* False: no memory. Texts that are neither tokens nor known get a new id; `copy` says that the bytes
 * do not stay. */
static bool intern(extra_texts *x, const char *text, size_t n_bytes, bool copy, uint32_t *id)
{
    int64_t found = qn_hash_map_get(&x->vocab->index, text, n_bytes);
    if (found == QN_HASH_NONE) found = qn_hash_map_get(&x->index, text, n_bytes);
    if (found != QN_HASH_NONE) {
        *id = (uint32_t)found;
        return true;
    }
    if (copy) {
        if (!qn_grow(&x->owned, &x->capacity, x->n_owned + 1, SIZE_MAX / 16, sizeof *x->owned)) return false;
        char *owned = qn_strndup(text, n_bytes);
        if (owned == NULL) return false;
        x->owned[x->n_owned++] = owned;
        text = owned;
    }
    *id = x->next_id++;
    return qn_hash_map_add(&x->index, text, n_bytes, *id, NULL);
}

/* Whether a byte-level text holds a byte beyond ASCII: U+0100 to U+0121 are ASCII. */
static bool is_beyond_ascii(qn_string text)
{
    for (size_t i = 0; i < text.n_bytes; i++) {
        const uint8_t b = (uint8_t)text.bytes[i];
        if (b < 0x80) continue;
        if (b != 0xc4 || i + 1 == text.n_bytes || (uint8_t)text.bytes[i + 1] > 0xa1) return true;
        i++;
    }
    return false;
}

/* False: no memory. */
static bool note_joins(qn_merges *m, extra_texts *x, qn_string text)
{
    if (m->byte_pairs != NULL) {
        if (!is_beyond_ascii(text)) return true;
        qn_buffer_clear(&x->decoded);
        if (!qn_buffer_append(&x->decoded, text.bytes, text.n_bytes)) return false;
        text = (qn_string){x->decoded.data, qn_byte_decode(text.bytes, text.n_bytes, x->decoded.data)};
    }
    qn_joins_add(&m->joins, text.bytes, text.n_bytes);
    return true;
}

static bool read_joins(qn_merges *m, extra_texts *x)
{
    const qn_vocab *v = x->vocab;
    const bool byte_level = m->byte_pairs != NULL;
    size_t n_bytes = 0;
    for (size_t i = 0; i < v->n_tokens; i++)
        if (!byte_level || is_beyond_ascii(v->tokens[i])) n_bytes += v->tokens[i].n_bytes;
    bool ok = qn_joins_init(&m->joins, byte_level ? n_bytes / 2 : n_bytes, !byte_level);
    for (size_t i = 0; ok && i < v->n_tokens; i++) ok = note_joins(m, x, v->tokens[i]);
    return ok;
}

static bool read_merge(qn_merges *m, extra_texts *x, qn_string merge, uint32_t rank)
{
    if (merge.n_bytes < 3 || merge.n_bytes > 2 * QN_TOKEN_MAX_BYTES) return true; /* useless */
    const char *blank = memchr(merge.bytes + 1, ' ', merge.n_bytes - 1);
    if (blank == NULL) return true;
    const size_t n_left = (size_t)(blank - merge.bytes), n_right = merge.n_bytes - n_left - 1;
    if (n_right == 0) return true;
    qn_buffer_clear(&x->joined);
    qn_buffer_append(&x->joined, merge.bytes, n_left);
    if (!qn_buffer_append(&x->joined, blank + 1, n_right)) return false;
    uint32_t left, right, whole;
    if (!intern(x, merge.bytes, n_left, false, &left) || !intern(x, blank + 1, n_right, false, &right) ||
        !intern(x, x->joined.data, x->joined.n_bytes, true, &whole))
        return false;
    add_pair(m, left, right, (qn_pair){rank, whole});
    return whole < x->vocab->n_tokens || note_joins(m, x, (qn_string){x->joined.data, x->joined.n_bytes});
}

/* Symbols of the single bytes, by their visible character. A byte of which only an added or control
 * token bears the name has no token. */
static bool intern_bytes(qn_merges *m, extra_texts *x)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[4];
        const size_t n = qn_utf8_encode(qn_byte_to_character(byte), text);
        if (!intern(x, text, n, true, &m->byte_symbols[byte])) return false;
        const uint32_t id = m->byte_symbols[byte];
        if (id >= x->vocab->n_tokens) continue;
        const uint8_t kind = x->vocab->kinds[id];
        if (kind == QN_TOKEN_CONTROL || kind == QN_TOKEN_USER_DEFINED) m->byte_symbols[byte] = x->next_id++;
    }
    return true;
}

static bool allocate(qn_merges *m, size_t count, bool byte_level)
{
    for (m->n_slots = 16; m->n_slots / 8 * 5 < count;) m->n_slots *= 2;
    m->slots = qn_alloc_pages(m->n_slots * sizeof *m->slots);
    if (byte_level) m->byte_pairs = qn_malloc(65536 * sizeof *m->byte_pairs);
    return m->slots != NULL && (!byte_level || m->byte_pairs != NULL);
}

static void fill_byte_pairs(qn_merges *m)
{
    for (unsigned left = 0; left < 256; left++)
        for (unsigned right = 0; right < 256; right++)
            m->byte_pairs[left << 8 | right] = look_up(m, m->byte_symbols[left], m->byte_symbols[right]);
}

quern_status qn_merges_read(qn_merges *m, const qn_vocab *v, const qn_gguf *g, bool byte_level,
                            quern_error *err)
{
    const qn_string *merges;
    size_t count;
    const quern_status s = qn_gguf_get_strings(g, "tokenizer.ggml.merges", true, &merges, &count, err);
    if (s != QUERN_OK) return s;
    if (count > UINT32_MAX / 8)
        return qn_fail(err, QUERN_ERR_FORMAT, "tokenizer.ggml.merges: %zu entries are too many", count);
    extra_texts x = {.vocab = v, .next_id = (uint32_t)v->n_tokens};
    m->seed = v->index.key;
    bool ok = allocate(m, count, byte_level) && read_joins(m, &x);
    for (size_t i = 0; ok && i < count; i++) ok = read_merge(m, &x, merges[i], (uint32_t)i);
    if (ok && byte_level) {
        ok = intern_bytes(m, &x);
        fill_byte_pairs(m);
    }
    extra_texts_deinit(&x);
    return ok ? QUERN_OK : qn_fail(err, QUERN_ERR_NOMEM, "tokenizer merges (%zu): out of memory", count);
}

void qn_merges_deinit(qn_merges *m)
{
    if (m->slots != NULL) qn_free_pages(m->slots, m->n_slots * sizeof *m->slots);
    qn_free(m->byte_pairs);
    qn_joins_deinit(&m->joins);
    memset(m, 0, sizeof *m);
}
