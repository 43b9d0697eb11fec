/* random.c: SplitMix64's finalizer (Steele, Lea, Flood 2014) applied to a counter, keyed twice. */
#include "base/random.h"

#include <sys/random.h>
#include <time.h>

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t qn_random_u64(qn_random *r)
{
    const uint64_t key =
        mix(r->seed + 0x9e3779b97f4a7c15u) ^ mix(r->stream * 0xd1342543de82ef95u + 0x632be59bd9b4e019u);
    return mix(key + ++r->counter * 0x9e3779b97f4a7c15u);
}

double qn_random_unit(qn_random *r)
{
    return (double)(qn_random_u64(r) >> 11) * 0x1p-53;
}

uint64_t qn_random_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == (long)sizeof seed) return seed;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return mix((uint64_t)t.tv_sec * 1000000007u + (uint64_t)t.tv_nsec);
}
