/* native.c: see native.h. */
#include "serve/native.h"

#include "serve/server_parts.h"

void qn_native_health(qn_exchange *x)
{
    if (atomic_load(&x->server->is_draining))
        qn_problem_set(&x->problem, QN_PROBLEM_UNAVAILABLE, NULL, "the server is being stopped");
    else qn_reply_json(x, 200, json_pack("{s:s}", "status", "ok"));
}
