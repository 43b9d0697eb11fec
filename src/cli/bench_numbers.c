/* bench_numbers.c: lists and ranges of whole numbers on the command line of `quern bench`. */
#include "cli/bench.h"

#include <ctype.h>
#include <stdlib.h>

static bool read_number(const char **at, uint32_t *number)
{
    char *end;
    if (!isdigit((unsigned char)**at)) return false; /* no sign, no blanks */
    const unsigned long v = strtoul(*at, &end, 10);
    if (end - *at > 9) return false;
    *number = (uint32_t)v;
    *at = end;
    return true;
}

static bool append(bench_numbers *list, uint32_t number, uint32_t min, uint32_t max)
{
    if (number < min || number > max || list->n_items == QN_MAX_BENCH_LIST) return false;
    list->items[list->n_items++] = number;
    return true;
}

/* A number, or FIRST-LAST with +STEP or *FACTOR. */
static bool read_range(bench_numbers *list, const char **at, uint32_t min, uint32_t max)
{
    uint32_t first, last, step = 1;
    if (!read_number(at, &first)) return false;
    if (**at != '-') return append(list, first, min, max);
    ++*at;
    if (!read_number(at, &last) || last < first) return false;
    const char how = **at == '*' ? '*' : '+';
    if (**at == '*' || **at == '+') {
        ++*at;
        if (!read_number(at, &step)) return false;
        if (step == 0 || (how == '*' && (step == 1 || first == 0))) return false; /* would not end */
    }
    for (uint64_t v = first; v <= last; v = how == '*' ? v * step : v + step)
        if (!append(list, (uint32_t)v, min, max)) return false;
    return true;
}

int bench_numbers_parse(bench_numbers *list, const char *option, const char *text, uint32_t min, uint32_t max)
{
    const char *at = text;
    while (read_range(list, &at, min, max)) {
        if (*at == '\0') return -1;
        if (*at++ != ',') break;
    }
    return qn_cli_usage("bench: %s %s: expected whole numbers from %u to %u, at most %d of them, such as "
                        "1,2,4 or 1-16*2",
                        option, text, min, max, QN_MAX_BENCH_LIST);
}
