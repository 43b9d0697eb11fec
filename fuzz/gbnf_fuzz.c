/* gbnf_fuzz.c: any bytes as a grammar in GBNF (see grammar_fuzz.h). */
#include "grammar_fuzz.h"

#include "grammar/gbnf.h"

static quern_status build(qn_network *n, const char *source, size_t n_source, uint8_t flags, quern_error *err)
{
    (void)flags;
    return qn_gbnf_build(n, source, n_source, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_grammar(&(grammar_notation){.build = build}, 0, data, size);
}
