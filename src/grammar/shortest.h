/* shortest.h: how many bytes it takes at least from each state of a network to the end of its rule. */
#ifndef QN_GRAMMAR_SHORTEST_H
#define QN_GRAMMAR_SHORTEST_H

#include "grammar/network.h"

/* Fills n->least_bytes. False: no memory. */
bool qn_network_find_shortest(qn_network *n);

/* a + b, where each may be QN_NO_WAY; sums that are too large stay below it. */
static inline uint32_t qn_add_lengths(uint32_t a, uint32_t b)
{
    if (a == QN_NO_WAY || b == QN_NO_WAY) return QN_NO_WAY;
    return a > QN_NO_WAY - 1 - b ? QN_NO_WAY - 1 : a + b;
}

#endif
