/* call_grammar_util.h: what the tests of the grammar of calls share. */
#ifndef TESTS_CHAT_CALL_GRAMMAR_UTIL_H
#define TESTS_CHAT_CALL_GRAMMAR_UTIL_H

#include "chat_test.h"

#include "chat/call_grammar.h"

/* Building the grammar of calls with each allocation failing in turn: told, and nothing left behind. */
static inline void check_failing_memory(const qn_call_grammar_params *p)
{
    bool done = false;
    for (long k = 0; !done; k++) {
        qn_network n;
        quern_error err = {0};
        const long live = qn_alloc_live();
        qn_alloc_fail_at(k);
        const quern_status s = qn_call_grammar_build(&n, p, NULL, &err);
        done = !qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        assert_int_equal(s, done ? QUERN_OK : QUERN_ERR_NOMEM);
        if (s == QUERN_OK) qn_network_deinit(&n);
        assert_int_equal(qn_alloc_live(), live);
    }
}

#endif
