/* state_set.c: see state_set.h. */
#include "grammar/state_set.h"

#include "base/alloc.h"

bool qn_state_set_init(qn_state_set *s, const qn_languages *l)
{
    *s = (qn_state_set){.l = l};
    s->items = qn_calloc(l->n_states + 1, sizeof *s->items);
    s->seen = qn_calloc(l->n_states + 1, sizeof *s->seen);
    s->end_of = qn_calloc(l->n_states + 1, sizeof *s->end_of);
    for (size_t i = 0; i < l->n_languages && s->end_of != NULL; i++) s->end_of[l->ends[i]] |= 1u << i;
    return s->items != NULL && s->seen != NULL && s->end_of != NULL;
}

void qn_state_set_deinit(qn_state_set *s)
{
    qn_free(s->items);
    qn_free(s->seen);
    qn_free(s->end_of);
}

void qn_state_set_close(qn_state_set *s, uint64_t *work)
{
    for (size_t i = 0; i < s->n; i++) {
        s->belongs |= s->end_of[s->items[i]];
        for (uint32_t k = s->l->states[s->items[i]]; k != QN_NO_LANGUAGE_EDGE; k = s->l->edges[k].next) {
            if (s->l->edges[k].n == 0) qn_state_set_add(s, s->l->edges[k].to);
            *work -= *work > 0;
        }
    }
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        bool reads = false;
        for (uint32_t k = s->l->states[s->items[i]]; k != QN_NO_LANGUAGE_EDGE && !reads;
             k = s->l->edges[k].next)
            reads = s->l->edges[k].n > 0;
        if (reads) s->items[n++] = s->items[i];
    }
    s->n = n;
}

void qn_state_set_begin(qn_state_set *s, uint64_t *work)
{
    qn_state_set_clear(s);
    for (size_t i = 0; i < s->l->n_languages; i++) qn_state_set_add(s, s->l->begins[i]);
    qn_state_set_close(s, work);
}
