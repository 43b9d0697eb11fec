/* json_schema_fuzz.c: any bytes as a JSON schema (see grammar_fuzz.h); the first one sets the options. A
 * whole text is JSON. */
#include "grammar_fuzz.h"

#include "grammar/json_schema.h"

static quern_status build(qn_network *n, const char *source, size_t n_source, uint8_t flags, quern_error *err)
{
    const qn_json_schema_options options = {.whitespace = flags & 1 ? QN_JSON_FLEXIBLE : QN_JSON_COMPACT,
                                            .named_only = (flags & 2) != 0,
                                            .lenient = (flags & 4) != 0};
    return qn_json_schema_build_text(n, source, n_source, &options, err);
}

/* Integers may have more digits than fit 64 bits, if a bound has. */
static bool is_json(const char *text, size_t n_bytes)
{
    json_t *value =
        json_loadb(text, n_bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
    json_decref(value);
    return value != NULL || memmem(text, n_bytes, "\\u0000\":", 8) != NULL; /* jansson has no such names */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    return fuzz_grammar(&(grammar_notation){build, is_json}, data[0], data + 1, size - 1);
}
