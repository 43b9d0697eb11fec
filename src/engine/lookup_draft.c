/* lookup_draft.c: see lookup_draft.h. A ring of tokens with hash chains through it, as the match finders of
 * LZ77 compressors have them (Deutsch 1996, RFC 1951, section 4): every place is linked to the one before it
 * that has the same hash of its last few tokens, and the chain begins in a table that the hash selects.
 *
 *     table[hash("of the")] -> place 812 -> place 640 -> place 77
 *
 * Two chains: over the last LONG_RUN tokens, and over as few as a guess needs. Two tokens that are everywhere
 * in a text (a full stop and a line end) have hundreds of places, of which the latest say little; the long
 * chain finds the few where more than that is equal, and the short one is asked only when it finds none.
 *
 * A place gets into the chains once something follows it. Positions only ever grow and are compared with the
 * oldest one kept, so whatever was overwritten, ended or reset is never taken for valid. */
#include "engine/lookup_draft.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/checked.h"
#include "base/error.h"

#include <stdbool.h>

enum {
    LONGEST_RUN = 32, /* tokens compared; more of them say nothing new */
    LONG_RUN = 8,
    MAX_PLACES = 16, /* that vote */
    MAX_LINKS = 64,  /* of a chain that are followed, so that a hostile text cannot make it long */
    MAX_AGE = 255,
    MIN_HEADS = 16,
    MAX_CHAINS = 2
};
static const size_t max_capacity = (size_t)1 << 28;
static const double least_share = 0.25; /* of the vote, that a guess needs to go on */
static const double doubt = 8;          /* the vote against every guess: as a run of nearly three tokens */

typedef struct chain {
    size_t n_equal;  /* tokens that the hash is made of */
    uint64_t *heads; /* by hash: 1 + position of the latest place; 0: none */
    uint32_t *back;  /* [capacity] how many positions before a place the next in its chain is; 0: none */
} chain;

struct qn_lookup_index {
    qn_arena arena;
    size_t capacity;
    quern_token *tokens; /* [capacity] the ring */
    uint8_t *ages;       /* [capacity] how many tokens its text has up to this one, cut at MAX_AGE */
    chain chains[MAX_CHAINS];
    size_t n_chains; /* the one with the shorter runs is first */
    unsigned hash_shift;
    uint64_t n_appended; /* ever: the position of the next token */
    uint64_t floor;      /* positions before it were reset */
    size_t next;         /* slot of the next token: n_appended modulo capacity */
    uint8_t age;         /* of the latest token; 0: the next one begins a text */
};

typedef struct place {
    uint64_t next; /* position of what follows, to be compared with the guess */
    uint32_t weight;
    quern_token token; /* at next */
} place;

static size_t count_heads(size_t capacity)
{
    size_t n_heads = MIN_HEADS;
    while (n_heads < capacity) n_heads *= 2;
    return n_heads;
}

static void layout(qn_lookup_index *x, qn_arena *a, const qn_lookup_params *params)
{
    const size_t n_heads = count_heads(params->capacity);
    x->capacity = params->capacity;
    x->tokens = qn_arena_alloc(a, x->capacity, sizeof *x->tokens);
    x->ages = qn_arena_alloc(a, x->capacity, sizeof *x->ages);
    x->n_chains = params->least < LONG_RUN ? 2 : 1;
    for (size_t i = 0; i < x->n_chains; i++) {
        chain *c = &x->chains[i];
        c->n_equal = i == 0 ? params->least : LONG_RUN;
        c->heads = qn_arena_alloc(a, n_heads, sizeof *c->heads);
        c->back = qn_arena_alloc(a, x->capacity, sizeof *c->back);
    }
    x->hash_shift = 64 - (unsigned)__builtin_ctzll(n_heads);
}

static quern_status check(const qn_lookup_params *params, quern_error *err)
{
    if (params->capacity < 1 || params->capacity > max_capacity)
        return qn_fail(err, QUERN_ERR_ARGUMENT,
                       "lookup index: a capacity of %zu tokens (1 to %zu is possible)", params->capacity,
                       max_capacity);
    if (params->least < 2 || params->least > LONGEST_RUN)
        return qn_fail(err, QUERN_ERR_ARGUMENT,
                       "lookup index: at least %zu equal tokens (2 to %d is possible)", params->least,
                       LONGEST_RUN);
    return QUERN_OK;
}

size_t qn_lookup_index_bytes(const qn_lookup_params *params)
{
    qn_lookup_index x = {0};
    if (check(params, NULL) != QUERN_OK) return 0;
    layout(&x, &x.arena, params);
    return sizeof x + x.arena.used;
}

quern_status qn_lookup_index_create(qn_lookup_index **out, const qn_lookup_params *params, quern_error *err)
{
    *out = NULL;
    quern_status s = check(params, err);
    if (s != QUERN_OK) return s;
    qn_lookup_index *x = qn_calloc(1, sizeof *x);
    if (x == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "lookup index: %zu bytes", sizeof *x);
    s = qn_arena_create(&x->arena, qn_lookup_index_bytes(params) - sizeof *x, "lookup index", err);
    if (s != QUERN_OK) {
        qn_lookup_index_destroy(x);
        return s;
    }
    layout(x, &x->arena, params);
    *out = x;
    return QUERN_OK;
}

void qn_lookup_index_destroy(qn_lookup_index *x)
{
    if (x == NULL) return;
    qn_arena_destroy(&x->arena);
    qn_free(x);
}

void qn_lookup_index_reset(qn_lookup_index *x)
{
    x->floor = x->n_appended;
    x->age = 0;
}

void qn_lookup_index_end(qn_lookup_index *x)
{
    x->age = 0;
}

/* The oldest position whose token is still there; n_appended if there is none. */
static uint64_t oldest(const qn_lookup_index *x)
{
    const uint64_t kept = x->n_appended > x->capacity ? x->n_appended - x->capacity : 0;
    return kept > x->floor ? kept : x->floor;
}

/* Of a position that is still there. */
static size_t slot_of(const qn_lookup_index *x, uint64_t position)
{
    const size_t behind = (size_t)(x->n_appended - position);
    return x->next >= behind ? x->next - behind : x->next + x->capacity - behind;
}

static size_t slot_before(const qn_lookup_index *x, size_t slot)
{
    return slot > 0 ? slot - 1 : x->capacity - 1;
}

/* Multiplies by 2^64 over the golden ratio (Knuth, volume 3, section 6.4) after each token, latest first. */
static uint64_t hash_more(uint64_t hash, quern_token token)
{
    hash = (hash ^ (uint32_t)token) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

static uint64_t *head_of(const qn_lookup_index *x, const chain *c, uint64_t hash)
{
    return &c->heads[hash * UINT64_C(0x9e3779b97f4a7c15) >> x->hash_shift];
}

/* Makes the latest token a place: something is about to follow it. */
static void link_latest(qn_lookup_index *x)
{
    const uint64_t from = oldest(x), position = x->n_appended - 1;
    const size_t slot = slot_before(x, x->next);
    const size_t n_before = x->n_appended - from < x->age ? (size_t)(x->n_appended - from) : x->age;
    uint64_t hash = 0;
    size_t n = 0, at = slot;
    for (size_t i = 0; i < x->n_chains; i++) {
        const chain *c = &x->chains[i];
        if (n_before < c->n_equal) return;
        for (; n < c->n_equal; n++, at = slot_before(x, at)) hash = hash_more(hash, x->tokens[at]);
        uint64_t *head = head_of(x, c, hash);
        c->back[slot] = *head > from ? (uint32_t)(position + 1 - *head) : 0;
        *head = position + 1;
    }
}

void qn_lookup_index_append(qn_lookup_index *x, quern_token token)
{
    if (x->age > 0) link_latest(x);
    if (x->age < MAX_AGE) x->age++;
    x->tokens[x->next] = token;
    x->ages[x->next] = x->age;
    x->n_appended++;
    if (++x->next == x->capacity) x->next = 0;
}

/* How many tokens up to `position` are as the last of tokens, within one text and within what is kept. */
static size_t equal_run(const qn_lookup_index *x, uint64_t position, const quern_token *tokens,
                        size_t n_tokens)
{
    size_t slot = slot_of(x, position), n = 0;
    size_t limit = qn_min_size(n_tokens, LONGEST_RUN);
    limit = qn_min_size(limit, x->ages[slot]);
    const uint64_t n_kept = position - oldest(x) + 1;
    if (n_kept < limit) limit = (size_t)n_kept;
    while (n < limit && x->tokens[slot] == tokens[n_tokens - 1 - n]) {
        slot = slot_before(x, slot);
        n++;
    }
    return n;
}

/* The latest places of a chain whose runs are long enough, latest first. */
static size_t find_places(const qn_lookup_index *x, const chain *c, const quern_token *tokens,
                          size_t n_tokens, place places[MAX_PLACES], size_t *n_longest)
{
    const uint64_t from = oldest(x);
    uint64_t hash = 0;
    size_t n_places = 0;
    if (n_tokens < c->n_equal) return 0;
    for (size_t i = 0; i < c->n_equal; i++) hash = hash_more(hash, tokens[n_tokens - 1 - i]);
    uint64_t next = *head_of(x, c, hash);
    for (size_t n_links = 0; next > from && n_links < MAX_LINKS && n_places < MAX_PLACES; n_links++) {
        const size_t n = equal_run(x, next - 1, tokens, n_tokens);
        if (n >= c->n_equal) {
            places[n_places++] = (place){.next = next, .weight = (uint32_t)(n * n)};
            *n_longest = qn_max_size(*n_longest, n);
        }
        const uint32_t back = c->back[slot_of(x, next - 1)];
        if (back == 0) break;
        next -= back;
    }
    return n_places;
}

/* Reads what comes next at each place; those whose text ends, or has not gone on yet, no longer vote. */
static size_t read_next(const qn_lookup_index *x, place *places, size_t n_places)
{
    size_t n = 0;
    for (size_t i = 0; i < n_places; i++) {
        if (places[i].next == x->n_appended) continue;
        const size_t slot = slot_of(x, places[i].next);
        if (x->ages[slot] == 1) continue; /* it begins another text */
        places[n] = places[i];
        places[n++].token = x->tokens[slot];
    }
    return n;
}

/* The token with the most weight, of equal ones the one with the latest place; n_places is not 0. */
static quern_token elect(const place *places, size_t n_places, uint32_t *weight, uint32_t *all)
{
    quern_token elected = places[0].token;
    *weight = *all = 0;
    for (size_t i = 0; i < n_places; i++) *all += places[i].weight;
    for (size_t i = 0; i < n_places && 2 * *weight < *all; i++) { /* no other has more than half */
        uint32_t sum = 0;
        for (size_t k = 0; k < n_places; k++)
            if (places[k].token == places[i].token) sum += places[k].weight;
        if (sum <= *weight) continue;
        *weight = sum;
        elected = places[i].token;
    }
    return elected;
}

/* Only places that went on like the guess so far have a say in what comes next. */
static size_t keep_elected(place *places, size_t n_places, quern_token elected)
{
    size_t n = 0;
    for (size_t i = 0; i < n_places; i++) {
        if (places[i].token != elected) continue;
        places[n] = places[i];
        places[n++].next++;
    }
    return n;
}

static void vote(const qn_lookup_index *x, place *places, size_t n_places, quern_token *guess, size_t most,
                 qn_lookup_guess *result)
{
    double share = 1; /* of the weight, that goes on like the whole guess */
    while (result->n_tokens < most && (n_places = read_next(x, places, n_places)) > 0) {
        uint32_t weight, all;
        const quern_token elected = elect(places, n_places, &weight, &all);
        share *= (double)weight / all;
        if (share < least_share) break;
        if (result->n_tokens == 0) {
            result->agreement = share;
            result->certainty = weight / (all + doubt);
        }
        guess[result->n_tokens++] = elected;
        n_places = keep_elected(places, n_places, elected);
    }
}

qn_lookup_guess qn_lookup_index_guess(const qn_lookup_index *x, const quern_token *tokens, size_t n_tokens,
                                      quern_token *guess, size_t most)
{
    qn_lookup_guess result = {0};
    place places[MAX_PLACES];
    size_t n_places = 0;
    for (size_t i = x->n_chains; i-- > 0 && n_places == 0;)
        n_places = find_places(x, &x->chains[i], tokens, n_tokens, places, &result.n_equal);
    vote(x, places, n_places, guess, most, &result);
    return result;
}
