/* character_map.c: see character_map.h. */
#include "vocab/character_map.h"

#include <string.h>

enum { REPLACEMENT_MAX_BYTES = 1024 }; /* the longest that is published has 33 */

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* A unit: how far its children are, the byte it is reached by, and whether a value stands beside them. */
static uint32_t children_of(uint32_t unit)
{
    return unit >> 10 << ((unit >> 9 & 1) * 8);
}
static uint32_t label_of(uint32_t unit)
{
    return unit & 0x800000ffu; /* a unit that is a value has the upper bit: it is no byte */
}
static bool has_value(uint32_t unit)
{
    return unit >> 8 & 1;
}

static uint32_t unit_at(const qn_character_map *m, size_t index)
{
    return read_u32(m->units + 4 * index);
}

/* Follows bytes from *at on, which is where the children of a unit are. False: nothing replaced begins so.
 * *is_replaced: a beginning of them is. */
static bool follow(const qn_character_map *m, const char *bytes, size_t n_bytes, uint32_t *at,
                   bool *is_replaced)
{
    for (size_t i = 0; i < n_bytes; i++) {
        *at ^= (uint8_t)bytes[i];
        if (*at >= m->n_units || label_of(unit_at(m, *at)) != (uint8_t)bytes[i]) return false;
        const uint32_t unit = unit_at(m, *at);
        *is_replaced |= has_value(unit);
        *at ^= children_of(unit);
    }
    return true;
}

/* Whether a byte below n_bytes may come next. */
static bool goes_on(const qn_character_map *m, uint32_t at, unsigned n_bytes)
{
    for (uint32_t b = 0; b < n_bytes; b++)
        if ((at ^ b) < m->n_units && label_of(unit_at(m, at ^ b)) == b) return true;
    return false;
}

/* The 64 characters that differ in their last byte only. */
static uint64_t find_kept_of(const qn_character_map *m, uint32_t first)
{
    char text[4];
    const bool is_ascii = first < 0x80;
    const size_t n = qn_utf8_encode(first, text);
    uint32_t before = m->n_units > 0 ? children_of(unit_at(m, 0)) : 0;
    bool is_replaced = false;
    if (n == 0 || !follow(m, text, n - 1, &before, &is_replaced)) return UINT64_MAX;
    uint64_t kept = 0;
    for (uint32_t c = first; c < first + 64 && !is_replaced; c++) {
        uint32_t at = before;
        bool ends = false;
        qn_utf8_encode(c, text);
        if (!follow(m, text + n - 1, 1, &at, &ends) || (!ends && !goes_on(m, at, is_ascii ? 0x80 : 256)))
            kept |= UINT64_C(1) << c % 64;
    }
    return kept;
}

static void find_kept(qn_character_map *m)
{
    for (uint32_t c = 0; c < QN_CHARACTER_MAP_KEPT; c += 64) m->kept[c / 64] = find_kept_of(m, c);
    m->kept[0] &= ~(UINT64_C(1) << ' ');
}

quern_status qn_character_map_init(qn_character_map *m, const char *bytes, size_t n_bytes, quern_error *err)
{
    static const char key[] = "tokenizer.ggml.precompiled_charsmap";
    memset(m, 0, sizeof *m);
    if (n_bytes == 0) {
        find_kept(m);
        return QUERN_OK;
    }
    const size_t array_bytes = n_bytes >= 4 ? read_u32((const uint8_t *)bytes) : SIZE_MAX;
    if (n_bytes < 4 || array_bytes % 4 != 0 || array_bytes == 0 || array_bytes >= n_bytes - 4)
        return qn_fail(err, QUERN_ERR_FORMAT, "%s: %zu bytes cannot hold an array and texts", key, n_bytes);
    m->units = (const uint8_t *)bytes + 4;
    m->n_units = array_bytes / 4;
    m->texts = bytes + 4 + array_bytes;
    m->n_text_bytes = n_bytes - 4 - array_bytes;
    if (m->texts[m->n_text_bytes - 1] != '\0')
        return qn_fail(err, QUERN_ERR_FORMAT, "%s: its last text has no end", key);
    for (size_t i = 0; i < m->n_text_bytes;) {
        const size_t n = strlen(m->texts + i);
        if (n > REPLACEMENT_MAX_BYTES)
            return qn_fail(err, QUERN_ERR_FORMAT, "%s: a replacement of %zu bytes, at most %d are allowed",
                           key, n, REPLACEMENT_MAX_BYTES);
        i += n + 1;
    }
    const uint32_t first = children_of(unit_at(m, 0));
    for (uint32_t b = 0; b < 256; b++)
        m->begins[b] = (first ^ b) < m->n_units && label_of(unit_at(m, first ^ b)) == b;
    find_kept(m);
    return QUERN_OK;
}

size_t qn_character_map_find(const qn_character_map *m, const char *text, size_t n_bytes,
                             const char **replacement)
{
    size_t longest = 0;
    if (n_bytes == 0 || !m->begins[(uint8_t)text[0]]) return 0;
    uint32_t at = children_of(unit_at(m, 0));
    for (size_t i = 0; i < n_bytes; i++) {
        const uint8_t byte = (uint8_t)text[i];
        at ^= byte;
        if (at >= m->n_units) break;
        const uint32_t unit = unit_at(m, at);
        if (label_of(unit) != byte) break;
        at ^= children_of(unit);
        if (!has_value(unit) || at >= m->n_units) continue;
        const size_t offset = unit_at(m, at) & 0x7fffffffu;
        if (offset >= m->n_text_bytes) continue;
        longest = i + 1;
        *replacement = m->texts + offset;
    }
    return longest;
}

bool qn_character_map_is_apart(const qn_character_map *m, uint8_t byte)
{
    if (m->n_units == 0) return true;
    const uint32_t alone = children_of(unit_at(m, 0)) ^ byte;
    for (uint32_t i = 0; i < m->n_units; i++) /* whatever is called by the byte counts, reached or not */
        if (i != alone && label_of(unit_at(m, i)) == byte) return false;
    if (!m->begins[byte]) return true;
    const uint32_t next = alone ^ children_of(unit_at(m, alone));
    for (uint32_t b = 1; b < 256; b++)
        if ((next ^ b) < m->n_units && label_of(unit_at(m, next ^ b)) == b) return false;
    return true;
}
