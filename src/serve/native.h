/* native.h: endpoints of quern's own. */
#ifndef QN_SERVE_NATIVE_H
#define QN_SERVE_NATIVE_H

#include "serve/exchange.h"

void qn_native_health(qn_exchange *x); /* GET /health */

#endif
