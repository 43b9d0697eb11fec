/* anthropic.h: Anthropic's API (https://docs.anthropic.com/en/api/messages). */
#ifndef QN_SERVE_ANTHROPIC_H
#define QN_SERVE_ANTHROPIC_H

#include "serve/exchange.h"

extern const qn_dialect qn_anthropic_dialect;

void qn_anthropic_messages(qn_exchange *x);     /* POST /v1/messages */
void qn_anthropic_count_tokens(qn_exchange *x); /* POST /v1/messages/count_tokens */

#endif
