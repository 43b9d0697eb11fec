/* native.h: endpoints of quern's own, under the names that llama.cpp's server has made known. */
#ifndef QN_SERVE_NATIVE_H
#define QN_SERVE_NATIVE_H

#include "serve/exchange.h"

void qn_native_health(qn_exchange *x); /* GET /health: 200 while steps are made, else 503 */
void qn_native_props(qn_exchange *x);  /* GET /props */
void qn_native_slots(qn_exchange *x);  /* GET /slots */

void qn_native_tokenize(qn_exchange *x);       /* POST /tokenize */
void qn_native_detokenize(qn_exchange *x);     /* POST /detokenize */
void qn_native_apply_template(qn_exchange *x); /* POST /apply-template */

void qn_native_metrics(qn_exchange *x); /* GET /metrics: for Prometheus (metrics.c) */

#endif
