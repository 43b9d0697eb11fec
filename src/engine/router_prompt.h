/* router_prompt.h: what a router asks its classifier: which of some described routes a text belongs to, to be
 * answered by a letter. */
#ifndef QN_ENGINE_ROUTER_PROMPT_H
#define QN_ENGINE_ROUTER_PROMPT_H

#include "engine/model.h"

enum { QN_LETTER_FORMS = 2 /* tokens that say a letter: as it is, and behind a blank */ };

typedef struct qn_router_prompt {
    const quern_model *model;
    quern_token *before, *behind; /* of the text: [n_before], [n_behind] */
    size_t n_before, n_behind;
    size_t n_choices;
    quern_token letters[QUERN_MAX_DESCRIBED_ROUTES * QN_LETTER_FORMS]; /* [n_choices][QN_LETTER_FORMS] */
} qn_router_prompt;

/* The model outlives it and may have been opened with header_only. QUERN_ERR_UNSUPPORTED: its template does
 * not show the text, or it has no tokens for letters; what templates say. On failure there is nothing to
 * deinit. */
quern_status qn_router_prompt_init(qn_router_prompt *p, const quern_model *model,
                                   const char *const *descriptions, size_t n_descriptions, quern_error *err);
void qn_router_prompt_deinit(qn_router_prompt *p); /* all zeros is fine */

/* The question about a text, of which at most max_bytes are shown; control tokens in it are text. *tokens
 * belongs to the caller (qn_free). */
quern_status qn_router_prompt_fill(const qn_router_prompt *p, const char *text, size_t n_bytes,
                                   size_t max_bytes, quern_token **tokens, size_t *n_tokens,
                                   quern_error *err);

#endif
