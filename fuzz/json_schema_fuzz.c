/* json_schema_fuzz.c: any bytes as a JSON schema; the first one sets the options. What compiles is followed
 * by a walk: each place that is reached can be left or is an end, and a whole text is JSON. */
#include "grammar_walk.h"

#include "base/alloc.h"
#include "grammar/json_schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    qn_network n;
    quern_error err = {0};
    const long live = qn_alloc_live();
    if (size < 1) return 0;
    const walk_input in = walk_split(data + 1, size - 1);
    const qn_json_schema_options options = {.whitespace = data[0] & 1 ? QN_JSON_FLEXIBLE : QN_JSON_COMPACT,
                                            .named_only = (data[0] & 2) != 0,
                                            .lenient = (data[0] & 4) != 0};
    if (qn_json_schema_build_text(&n, in.source, in.n_source, &options, &err) == QUERN_OK) {
        char text[WALK_STEPS];
        size_t n_bytes;
        if (walk(&n, &in, text, &n_bytes)) walk_require(is_json(text, n_bytes), "a text is not JSON");
        qn_network_deinit(&n);
    } else {
        walk_require(err.message[0] != '\0', "a refusal without a message");
    }
    walk_require(qn_alloc_live() == live, "memory is left behind");
    return 0;
}
