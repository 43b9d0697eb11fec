/* regex_fuzz.c: any bytes as a regular expression; the first one tells whether it is searched for. What
 * parses is followed by a walk: each place that is reached can be left or is an end. */
#include "grammar_walk.h"

#include "base/alloc.h"
#include "grammar/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_network n;
    quern_error err = {0};
    const long live = qn_alloc_live();
    if (size < 1) return 0;
    const walk_input in = walk_split(data + 1, size - 1);
    const qn_regex_match match = data[0] % 2 == 0 ? QN_REGEX_WHOLE : QN_REGEX_SEARCH;
    if (qn_regex_build(&n, in.source, in.n_source, match, &err) == QUERN_OK) {
        char text[WALK_STEPS];
        size_t n_bytes;
        walk(&n, &in, text, &n_bytes);
        qn_network_deinit(&n);
    } else {
        walk_require(err.message[0] != '\0', "a refusal without a message");
    }
    walk_require(qn_alloc_live() == live, "memory is left behind");
    return 0;
}
