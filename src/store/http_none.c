/* http_none.c: stands in for http_curl.c in a build without libcurl. */
#include "store/http.h"

#include <string.h>

quern_status qn_http_exchange(const qn_http_request *q, qn_http_response *r, bool *again, quern_error *err)
{
    memset(r, 0, sizeof *r);
    *again = false;
    return qn_fail(err, QUERN_ERR_UNSUPPORTED,
                   "%s: this build of quern has no libcurl, so it cannot download (install "
                   "libcurl4-openssl-dev and build again)",
                   qn_quote(q->url, strlen(q->url)).text);
}
