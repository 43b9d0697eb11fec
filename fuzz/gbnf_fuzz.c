/* gbnf_fuzz.c: any bytes as a grammar in GBNF. What parses is followed by a walk: each place that is reached
 * can be left or is an end. */
#include "grammar_walk.h"

#include "base/alloc.h"
#include "grammar/gbnf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_network n;
    quern_error err = {0};
    const long live = qn_alloc_live();
    const walk_input in = walk_split(data, size);
    if (qn_gbnf_build(&n, in.source, in.n_source, &err) == QUERN_OK) {
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
