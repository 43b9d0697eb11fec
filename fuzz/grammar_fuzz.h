/* grammar_fuzz.h: one run of a fuzzer of grammars: what is refused says why; what is not is followed by a
 * walk, on which each place that is reached can be left or is an end; no memory is left behind. */
#ifndef QN_FUZZ_GRAMMAR_FUZZ_H
#define QN_FUZZ_GRAMMAR_FUZZ_H

#include "grammar_walk.h"

#include "base/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct grammar_notation {
    /* flags: what the grammar is read with, as the fuzzer means it */
    quern_status (*build)(qn_network *n, const char *source, size_t n_source, uint8_t flags,
                          quern_error *err);
    bool (*is_right)(const char *text, size_t n_bytes); /* of whole texts of any grammar; NULL: all are */
} grammar_notation;

static inline int fuzz_grammar(const grammar_notation *notation, uint8_t flags, const uint8_t *data,
                               size_t size)
{
    qn_network n;
    quern_error err = {0};
    const long live = qn_alloc_live();
    const walk_input in = walk_split(data, size);
    if (notation->build(&n, in.source, in.n_source, flags, &err) == QUERN_OK) {
        char text[WALK_STEPS];
        size_t n_bytes;
        if (walk(&n, &in, text, &n_bytes) && notation->is_right != NULL)
            walk_require(notation->is_right(text, n_bytes), "a text that cannot be right");
        qn_network_deinit(&n);
    } else {
        walk_require(err.message[0] != '\0', "a refusal without a message");
    }
    walk_require(qn_alloc_live() == live, "memory is left behind");
    return 0;
}

#endif
