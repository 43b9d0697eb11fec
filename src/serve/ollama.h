/* ollama.h: Ollama's API (https://docs.ollama.com/api). Streams are lines of JSON. */
#ifndef QN_SERVE_OLLAMA_H
#define QN_SERVE_OLLAMA_H

#include "serve/exchange.h"

extern const qn_dialect qn_ollama_dialect;

/* ---- ollama.c ---- */

void qn_ollama_chat(qn_exchange *x);     /* POST /api/chat */
void qn_ollama_generate(qn_exchange *x); /* POST /api/generate */

/* ---- ollama_models.c ---- */

/* "2026-11-30T20:03:10Z"; seconds since 1970. */
typedef struct qn_ollama_time {
    char text[32];
} qn_ollama_time;
qn_ollama_time qn_ollama_time_of(int64_t seconds);
void qn_ollama_show(qn_exchange *x);    /* POST /api/show */
void qn_ollama_tags(qn_exchange *x);    /* GET /api/tags */
void qn_ollama_ps(qn_exchange *x);      /* GET /api/ps */
void qn_ollama_version(qn_exchange *x); /* GET /api/version */

#endif
