/* openai.h: what the endpoints of OpenAI's API share (https://platform.openai.com/docs/api-reference). */
#ifndef QN_SERVE_OPENAI_H
#define QN_SERVE_OPENAI_H

#include "serve/exchange.h"
#include "serve/fields.h"

extern const qn_dialect qn_openai_dialect;

/* The model that a request names; without a name the first one. NULL: problem noted. */
const quern_model *qn_openai_model(qn_exchange *x, const qn_fields *f, const char **name);

/* A list of token ids; owned by the caller (quern_free). False: problem noted. */
bool qn_openai_read_tokens(const qn_fields *f, const char *name, const json_t *list, const quern_model *model,
                           quern_token **tokens, size_t *n_tokens);

/* The text of tokens, whole characters, control tokens shown; behind what the buffer holds. False: problem
 * noted. */
bool qn_openai_text_of(const quern_model *model, const quern_token *tokens, size_t n_tokens, qn_buffer *text,
                       qn_problem *problem);

/* "PREFIX-" and 24 digits that nobody else has. */
typedef struct qn_openai_id {
    char text[48];
} qn_openai_id;
qn_openai_id qn_openai_make_id(const char *prefix);

const char *qn_openai_finish(quern_finish finish, bool has_calls); /* finish_reason */
json_t *qn_openai_usage(size_t n_prompt, size_t n_cached, size_t n_generated);
/* How long what took, of one answer. */
json_t *qn_openai_timings(const quern_request_result *result);
/* The items of logprobs.content; NULL: no memory. */
json_t *qn_openai_log_probs(const quern_model *model, const quern_event *event);

void qn_openai_models(qn_exchange *x); /* GET /v1/models */
void qn_openai_chat(qn_exchange *x);   /* POST /v1/chat/completions */
/* The prompt of such a request; owned by the caller (quern_free). NULL: problem noted. */
char *qn_openai_render(qn_exchange *x);
void qn_openai_completions(qn_exchange *x);      /* POST /v1/completions */
void qn_openai_embeddings(qn_exchange *x);       /* POST /v1/embeddings */
void qn_openai_embed_for_ollama(qn_exchange *x); /* POST /api/embed: the same in Ollama's form */
void qn_openai_rerank(qn_exchange *x);           /* POST /v1/rerank: Jina's and Cohere's form */

#endif
