/* model_shelf.c: see model_shelf.h. What is decided, in this order:
 *
 *     drained for nobody any more -> return     idle for too long, or asked to go -> unload
 *     then, who is parked longest first: can never fit -> refuse     there is room -> load
 *         models without requests make room -> unload one of them     parked too long -> drain one more
 *
 * One model moves at a time. What is drained for one model goes for that one alone, and until it has come
 * nobody is drained for another; but others may take what is free, or what has no requests: in the end they
 * are drained for it as well. */
#include "engine/model_shelf.h"

#include <assert.h>
#include <math.h>

enum { STAY_SHARE = 4, STAY_LOADS = 2, RETRY_LOADS = 4, GUESSED_BYTES_PER_NS = 1 };
static const uint64_t HALF_LIFE_NS = UINT64_C(300) * 1000000000, LEAST_RETRY_NS = 1000000000;

void qn_shelf_init(qn_model_shelf *s, const qn_shelf_params *params)
{
    *s = (qn_model_shelf){
        .params = *params, .moving = QN_SHELF_NONE, .target = QN_SHELF_NONE, .next_ns = UINT64_MAX};
}

size_t qn_shelf_add(qn_model_shelf *s, size_t n_ctx, bool is_pinned, uint64_t idle_ns)
{
    assert(s->n_places < QN_SHELF_PLACES);
    s->places[s->n_places] =
        (qn_shelf_place){.is_pinned = is_pinned, .idle_ns = idle_ns, .full_n_ctx = n_ctx};
    return s->n_places++;
}

size_t qn_shelf_add_fixed(qn_model_shelf *s, size_t n_ctx, uint64_t bytes)
{
    const size_t place = qn_shelf_add(s, n_ctx, true, 0);
    qn_shelf_place *p = &s->places[place];
    p->is_fixed = true;
    p->state = QN_SHELF_IN;
    p->n_ctx = n_ctx;
    p->bytes = bytes;
    return place;
}

uint64_t qn_shelf_used_bytes(const qn_model_shelf *s)
{
    uint64_t used = 0;
    for (size_t i = 0; i < s->n_places; i++) used += s->places[i].bytes;
    return used;
}

bool qn_shelf_is_idle(const qn_shelf_place *p)
{
    return p->state == QN_SHELF_IN && p->n_held + p->n_queued + p->n_parked == 0;
}

/* ---- requests ---------------------------------------------------------------------------------- */

bool qn_shelf_takes(const qn_model_shelf *s, size_t place, size_t n_ctx)
{
    const qn_shelf_place *p = &s->places[place];
    return p->state == QN_SHELF_IN && !p->is_draining && n_ctx <= p->n_ctx;
}

static double heat_at(const qn_shelf_place *p, uint64_t now_ns)
{
    const uint64_t since_ns = now_ns > p->used_ns ? now_ns - p->used_ns : 0;
    return p->heat * exp2(-(double)since_ns / (double)HALF_LIFE_NS);
}

void qn_shelf_use(qn_model_shelf *s, size_t place, uint64_t now_ns)
{
    qn_shelf_place *p = &s->places[place];
    p->heat = heat_at(p, now_ns) + 1.0;
    p->used_ns = now_ns;
    p->unload_asked = false;
}

void qn_shelf_queue(qn_model_shelf *s, size_t place)
{
    s->places[place].n_queued++;
}

static void wait_since(qn_shelf_place *p, uint64_t arrived_ns, uint64_t turn_ns)
{
    const bool is_first = p->n_parked == 0 && !p->load_asked;
    if (is_first || arrived_ns < p->parked_ns) p->parked_ns = arrived_ns;
    if (is_first || turn_ns < p->turn_ns) p->turn_ns = turn_ns;
}

void qn_shelf_park(qn_model_shelf *s, size_t place, size_t n_ctx, uint64_t arrived_ns, uint64_t priority_ns)
{
    qn_shelf_place *p = &s->places[place];
    assert(n_ctx <= p->full_n_ctx);
    wait_since(p, arrived_ns, arrived_ns + priority_ns);
    if (p->n_parked == 0 || n_ctx > p->parked_n_ctx) p->parked_n_ctx = n_ctx;
    p->n_parked++;
    s->has_changed = true;
}

void qn_shelf_ask_load(qn_model_shelf *s, size_t place, uint64_t now_ns)
{
    qn_shelf_place *p = &s->places[place];
    if (p->is_fixed || p->state == QN_SHELF_IN) return;
    wait_since(p, now_ns, now_ns);
    p->load_asked = true;
    p->retry_ns = 0;
    s->has_changed = true;
}

void qn_shelf_ask_unload(qn_model_shelf *s, size_t place)
{
    s->places[place].unload_asked = true;
    s->has_changed = true;
}

void qn_shelf_unqueue(qn_model_shelf *s, size_t place)
{
    assert(s->places[place].n_queued > 0);
    s->places[place].n_queued--;
    s->has_changed = true;
}

void qn_shelf_unpark(qn_model_shelf *s, size_t place)
{
    assert(s->places[place].n_parked > 0);
    s->places[place].n_parked--;
    s->has_changed = true;
}

void qn_shelf_hold(qn_model_shelf *s, size_t place)
{
    assert(s->places[place].state == QN_SHELF_IN);
    s->places[place].n_held++;
}

void qn_shelf_let_go(qn_model_shelf *s, size_t place, uint64_t now_ns)
{
    qn_shelf_place *p = &s->places[place];
    assert(p->n_held > 0 && p->state == QN_SHELF_IN);
    p->heat = heat_at(p, now_ns);
    p->used_ns = now_ns;
    if (--p->n_held == 0) s->has_changed = true;
}

/* ---- worth ------------------------------------------------------------------------------------- */

double qn_shelf_value(const qn_model_shelf *s, size_t place, uint64_t now_ns)
{
    const qn_shelf_place *p = &s->places[place];
    const double bytes = (double)p->bytes + 1.0,
                 load_ns = p->load_ns > 0 ? (double)p->load_ns : bytes / GUESSED_BYTES_PER_NS;
    return heat_at(p, now_ns) * load_ns / bytes;
}

static bool is_worth_less(const qn_model_shelf *s, size_t a, size_t b, uint64_t now_ns)
{
    const double x = qn_shelf_value(s, a, now_ns), y = qn_shelf_value(s, b, now_ns);
    return x != y ? x < y : s->places[a].used_ns < s->places[b].used_ns;
}

/* ---- who can go -------------------------------------------------------------------------------- */

static bool may_go(const qn_model_shelf *s, size_t i, size_t for_place)
{
    const qn_shelf_place *p = &s->places[i];
    return i != for_place && p->state == QN_SHELF_IN && !p->is_fixed && !p->is_pinned;
}

/* Without any request that it could go on with: what is parked for one that is drained waits in any case. */
static bool may_go_now(const qn_model_shelf *s, size_t i, size_t for_place)
{
    const qn_shelf_place *p = &s->places[i];
    if (!may_go(s, i, for_place) || p->n_held + p->n_queued > 0) return false;
    return p->is_draining ? s->target == for_place : p->n_parked == 0;
}

static uint64_t stay_ends_ns(const qn_model_shelf *s, const qn_shelf_place *p)
{
    const uint64_t share = s->params.max_swap_wait_ns / STAY_SHARE, loads = STAY_LOADS * p->load_ns;
    return p->in_ns + (share > loads ? share : loads);
}

/* One that has requests, and has stayed long enough to be drained. */
static bool may_be_drained(const qn_model_shelf *s, size_t i, size_t for_place, uint64_t now_ns)
{
    return may_go(s, i, for_place) && !may_go_now(s, i, for_place) && !s->places[i].is_draining &&
           now_ns >= stay_ends_ns(s, &s->places[i]);
}

/* Whether a is the first to go of the two: not one whose requests wait for it, then the least valuable. */
static bool goes_first(const qn_model_shelf *s, size_t a, size_t b, uint64_t now_ns)
{
    if (b == QN_SHELF_NONE) return true;
    if (s->places[a].is_draining != s->places[b].is_draining) return s->places[b].is_draining;
    return is_worth_less(s, a, b, now_ns);
}

/* Of those that may go now and are not among `others` (NULL: none); QN_SHELF_NONE: there is none. */
static size_t next_to_go(const qn_model_shelf *s, size_t for_place, const bool *others, uint64_t now_ns)
{
    size_t first = QN_SHELF_NONE;
    for (size_t i = 0; i < s->n_places; i++)
        if ((others == NULL || !others[i]) && may_go_now(s, i, for_place) && goes_first(s, i, first, now_ns))
            first = i;
    return first;
}

/* Who goes for so many bytes, which those that may go now have together: the first of them, unless the others
 * that would have to go as well are enough without it. */
static size_t first_to_go(const qn_model_shelf *s, size_t for_place, uint64_t missing, uint64_t now_ns)
{
    bool is_chosen[QN_SHELF_PLACES] = {false};
    size_t order[QN_SHELF_PLACES], n = 0, k = 0;
    uint64_t sum = 0;
    for (size_t i; sum < missing && (i = next_to_go(s, for_place, is_chosen, now_ns)) != QN_SHELF_NONE; n++) {
        is_chosen[i] = true;
        order[n] = i;
        sum += s->places[i].bytes;
    }
    assert(n > 0 && sum >= missing);
    for (; sum - s->places[order[k]].bytes >= missing; k++) sum -= s->places[order[k]].bytes;
    return order[k];
}

/* ---- deciding ---------------------------------------------------------------------------------- */

static bool is_wanted(const qn_shelf_place *p)
{
    return !p->is_fixed && (p->n_parked > 0 || p->load_asked);
}

static bool is_late(const qn_model_shelf *s, const qn_shelf_place *p, uint64_t now_ns)
{
    return now_ns >= p->parked_ns && now_ns - p->parked_ns >= s->params.max_swap_wait_ns;
}

static uint64_t bytes_at(const qn_model_shelf *s, size_t place, size_t n_ctx)
{
    return s->params.bytes_at(s->params.user, place, n_ctx);
}

/* Whether models with requests are to make room for this one. */
static bool may_drain_for(const qn_model_shelf *s, size_t i, uint64_t now_ns)
{
    return is_late(s, &s->places[i], now_ns) && (s->target == QN_SHELF_NONE || s->target == i);
}

/* Bytes that the model could have if all went that may. */
static uint64_t most_there(const qn_model_shelf *s, size_t place)
{
    uint64_t taken = 0;
    for (size_t i = 0; i < s->n_places; i++)
        if (i != place && !may_go(s, i, place)) taken += s->places[i].bytes;
    return taken < s->params.limit_bytes ? s->params.limit_bytes - taken : 0;
}

static size_t least_context(const qn_shelf_place *p)
{
    return p->n_parked > 0 ? p->parked_n_ctx : 1;
}

/* The longest context that fits into so many bytes, from least to the full one. least fits. */
static size_t longest_context(const qn_model_shelf *s, size_t place, size_t least, uint64_t there)
{
    size_t low = least, high = s->places[place].full_n_ctx;
    while (low < high) {
        const size_t middle = high - (high - low) / 2;
        if (bytes_at(s, place, middle) <= there) low = middle;
        else high = middle - 1;
    }
    return low;
}

static qn_shelf_step unload(qn_model_shelf *s, size_t i)
{
    qn_shelf_place *p = &s->places[i];
    p->state = QN_SHELF_GOING;
    p->is_draining = p->unload_asked = false;
    s->moving = i;
    return (qn_shelf_step){.act = QN_SHELF_UNLOAD, .place = i};
}

static qn_shelf_step load(qn_model_shelf *s, size_t i, size_t n_ctx, size_t least)
{
    qn_shelf_place *p = &s->places[i];
    p->state = QN_SHELF_COMING;
    p->n_ctx = n_ctx;
    p->bytes = bytes_at(s, i, n_ctx);
    s->moving = i;
    if (s->target == i) s->target = QN_SHELF_NONE;
    return (qn_shelf_step){
        .act = QN_SHELF_LOAD, .place = i, .n_ctx = n_ctx, .least_n_ctx = p->is_short ? least : n_ctx};
}

/* Drains what is needed beyond those that may go now, or are drained already, one a call. */
static qn_shelf_step drain_for(qn_model_shelf *s, size_t place, uint64_t missing, uint64_t now_ns)
{
    uint64_t sum = 0;
    size_t least = QN_SHELF_NONE;
    for (size_t i = 0; i < s->n_places; i++) {
        if (may_go_now(s, i, place) || (may_go(s, i, place) && s->places[i].is_draining))
            sum += s->places[i].bytes;
        else if (may_be_drained(s, i, place, now_ns) &&
                 (least == QN_SHELF_NONE || is_worth_less(s, i, least, now_ns)))
            least = i;
    }
    s->target = place;
    if (sum >= missing || least == QN_SHELF_NONE) return (qn_shelf_step){.act = QN_SHELF_REST};
    s->places[least].is_draining = true;
    return (qn_shelf_step){.act = QN_SHELF_DRAIN, .place = least};
}

/* A model that is in, but too small for what is parked for it, has to go first. */
static qn_shelf_step make_larger(qn_model_shelf *s, size_t i, uint64_t now_ns)
{
    qn_shelf_place *p = &s->places[i];
    if (p->n_held + p->n_queued == 0) return unload(s, i);
    if (p->is_draining || !may_drain_for(s, i, now_ns)) return (qn_shelf_step){.act = QN_SHELF_REST};
    s->target = i;
    p->is_draining = true;
    return (qn_shelf_step){.act = QN_SHELF_DRAIN, .place = i};
}

/* What brings in a model that is wanted; REST: nothing now. */
static qn_shelf_step bring(qn_model_shelf *s, size_t i, uint64_t now_ns)
{
    const qn_shelf_place *p = &s->places[i];
    const size_t least = least_context(p);
    const uint64_t there = most_there(s, i), needed = bytes_at(s, i, least);
    if (needed > there)
        return (qn_shelf_step){
            .act = QN_SHELF_REFUSE, .place = i, .needed_bytes = needed, .there_bytes = there};
    if (p->state == QN_SHELF_IN && p->is_draining &&
        s->target != i) /* it goes for another, which has its turn */
        return (qn_shelf_step){.act = QN_SHELF_REST};
    if (p->state == QN_SHELF_IN) return make_larger(s, i, now_ns);
    const size_t n_ctx = longest_context(s, i, least, there);
    const uint64_t bytes = bytes_at(s, i, n_ctx), used = qn_shelf_used_bytes(s),
                   room = s->params.limit_bytes > used ? s->params.limit_bytes - used : 0,
                   missing = bytes > room ? bytes - room : 0;
    if (p->short_bytes > 0) {
        const size_t first = next_to_go(s, i, NULL, now_ns);
        if (first != QN_SHELF_NONE) return unload(s, first);
    }
    if (missing == 0) return load(s, i, n_ctx, least);
    uint64_t sum = 0;
    for (size_t k = 0; k < s->n_places; k++) sum += may_go_now(s, k, i) ? s->places[k].bytes : 0;
    if (sum >= missing) return unload(s, first_to_go(s, i, missing, now_ns));
    if (may_drain_for(s, i, now_ns)) return drain_for(s, i, missing, now_ns);
    return (qn_shelf_step){.act = QN_SHELF_REST};
}

/* Of those wanted that were not looked at, the one whose turn comes next. */
static size_t next_wanted(const qn_model_shelf *s, const bool *was_seen)
{
    size_t best = QN_SHELF_NONE;
    for (size_t i = 0; i < s->n_places; i++)
        if (!was_seen[i] && is_wanted(&s->places[i]) &&
            (best == QN_SHELF_NONE || s->places[i].turn_ns < s->places[best].turn_ns))
            best = i;
    return best;
}

static qn_shelf_step bring_next(qn_model_shelf *s, uint64_t now_ns)
{
    bool was_seen[QN_SHELF_PLACES] = {false};
    qn_shelf_step step = {.act = QN_SHELF_REST};
    for (size_t i = s->target; step.act == QN_SHELF_REST; i = QN_SHELF_NONE) {
        if (i == QN_SHELF_NONE) i = next_wanted(s, was_seen);
        if (i == QN_SHELF_NONE) break;
        was_seen[i] = true;
        step = bring(s, i, now_ns);
    }
    return step;
}

/* Time from which a model that is in may go for want of use. */
static uint64_t idle_ends_ns(const qn_shelf_place *p)
{
    if (p->idle_ns == 0 || p->is_pinned || !qn_shelf_is_idle(p)) return UINT64_MAX;
    const uint64_t since = p->used_ns > p->in_ns ? p->used_ns : p->in_ns;
    return p->idle_ns < UINT64_MAX - since ? since + p->idle_ns : UINT64_MAX;
}

static qn_shelf_step let_leave(qn_model_shelf *s, uint64_t now_ns)
{
    for (size_t i = 0; i < s->n_places; i++) {
        qn_shelf_place *p = &s->places[i];
        if (p->is_fixed || !qn_shelf_is_idle(p)) continue;
        if (p->unload_asked || now_ns >= idle_ends_ns(p)) return unload(s, i);
    }
    return (qn_shelf_step){.act = QN_SHELF_REST};
}

static qn_shelf_step return_drained(qn_model_shelf *s)
{
    if (s->target != QN_SHELF_NONE && !is_wanted(&s->places[s->target])) s->target = QN_SHELF_NONE;
    for (size_t i = 0; i < s->n_places && s->target == QN_SHELF_NONE; i++) {
        if (!s->places[i].is_draining) continue;
        s->places[i].is_draining = false;
        return (qn_shelf_step){.act = QN_SHELF_RETURN, .place = i};
    }
    return (qn_shelf_step){.act = QN_SHELF_REST};
}

static uint64_t next_ns(const qn_model_shelf *s, uint64_t now_ns)
{
    uint64_t next = UINT64_MAX;
    bool has_late = false;
    for (size_t i = 0; i < s->n_places; i++) {
        const qn_shelf_place *p = &s->places[i];
        uint64_t at = idle_ends_ns(p);
        has_late |= is_wanted(p) && is_late(s, p, now_ns);
        if (is_wanted(p) && !is_late(s, p, now_ns)) at = p->parked_ns + s->params.max_swap_wait_ns;
        if (at < next) next = at;
    }
    for (size_t i = 0; i < s->n_places && has_late; i++) {
        const uint64_t at = stay_ends_ns(s, &s->places[i]);
        if (s->places[i].state == QN_SHELF_IN && at > now_ns && at < next) next = at;
    }
    return next;
}

qn_shelf_step qn_shelf_decide(qn_model_shelf *s, uint64_t now_ns)
{
    if (!s->has_changed && now_ns < s->next_ns) return (qn_shelf_step){.act = QN_SHELF_REST};
    qn_shelf_step step = return_drained(s);
    if (step.act == QN_SHELF_REST && s->moving == QN_SHELF_NONE) step = let_leave(s, now_ns);
    if (step.act == QN_SHELF_REST && s->moving == QN_SHELF_NONE) step = bring_next(s, now_ns);
    if (step.act != QN_SHELF_REST) {
        s->has_changed = true;
        return step;
    }
    s->has_changed = false;
    s->next_ns = s->moving == QN_SHELF_NONE ? next_ns(s, now_ns) : UINT64_MAX;
    return step;
}

/* ---- what came of it --------------------------------------------------------------------------- */

void qn_shelf_reset_parked(qn_model_shelf *s, size_t place)
{
    qn_shelf_place *p = &s->places[place];
    p->n_parked = 0;
    p->load_asked = false;
    s->has_changed = true;
}

static qn_shelf_place *stop_moving(qn_model_shelf *s, size_t place, qn_shelf_state state)
{
    assert(s->moving == place);
    s->moving = QN_SHELF_NONE;
    s->has_changed = true;
    s->places[place].state = state;
    return &s->places[place];
}

void qn_shelf_loaded(qn_model_shelf *s, size_t place, size_t n_ctx, uint64_t took_ns, uint64_t now_ns)
{
    qn_shelf_place *p = stop_moving(s, place, QN_SHELF_IN);
    p->n_ctx = n_ctx;
    p->bytes = bytes_at(s, place, n_ctx);
    p->load_ns = took_ns > 0 ? took_ns : 1;
    p->in_ns = now_ns;
    p->load_asked = p->unload_asked = p->is_short = false;
    p->short_bytes = 0;
    p->n_loads++;
}

/* Gives back what others were asked for, as far as this one had it. */
static void count_given_back(qn_model_shelf *s, uint64_t bytes)
{
    for (size_t i = 0; i < s->n_places; i++) {
        qn_shelf_place *p = &s->places[i];
        p->short_bytes = p->short_bytes > bytes ? p->short_bytes - bytes : 0;
    }
}

void qn_shelf_unloaded(qn_model_shelf *s, size_t place)
{
    qn_shelf_place *p = stop_moving(s, place, QN_SHELF_OUT);
    count_given_back(s, p->bytes);
    p->bytes = 0;
}

bool qn_shelf_load_failed(qn_model_shelf *s, size_t place, bool for_memory, uint64_t took_ns, uint64_t now_ns)
{
    qn_shelf_place *p = stop_moving(s, place, QN_SHELF_OUT);
    const uint64_t wanted = p->bytes;
    p->bytes = 0;
    if (for_memory && !p->is_short) {
        p->is_short = true;
        p->short_bytes = wanted;
        return true;
    }
    p->is_short = false;
    p->short_bytes = 0;
    p->retry_ns = now_ns + (took_ns > LEAST_RETRY_NS / RETRY_LOADS ? RETRY_LOADS * took_ns : LEAST_RETRY_NS);
    p->n_failed++;
    return false;
}
