/* regex_fuzz.c: any bytes as a regular expression (see grammar_fuzz.h); the first one tells whether it is
 * searched for. */
#include "grammar_fuzz.h"

#include "grammar/regex.h"

static quern_status build(qn_network *n, const char *source, size_t n_source, uint8_t flags, quern_error *err)
{
    return qn_regex_build(n, source, n_source, flags % 2 == 0 ? QN_REGEX_WHOLE : QN_REGEX_SEARCH, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    return fuzz_grammar(&(grammar_notation){.build = build}, data[0], data + 1, size - 1);
}
